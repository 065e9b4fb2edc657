"""How probabilities become labels, chosen on out-of-fold predictions alone.

A choice made on some rows flatters the score of the same rows: `choose_decision` on all out-of-fold rows is for the
test images, `cross_fitted` for the score to report.
"""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.base.console import progress_bar
from pipeline.base.files import made_by, read_json, write_json
from pipeline.competition.schema import Target
from pipeline.scoring.metrics import KAPPAS, Metric, metric_named, score
from pipeline.submission.answers import Answers, decided_answers, likeliest

# of two classes, worth a threshold; F1s stand for those of any beta and for jaccard, as `Metric.decided_as` has it
COUNT_METRICS = (
    "macro_f1", "weighted_f1", "binary_f1", "balanced_accuracy", "geometric_mean", "matthews_corrcoef", *KAPPAS,
)  # fmt: skip
SHARE_METRICS = ("accuracy", "micro_f1", "top1_error")  # of two classes, all the share of right answers
# of several classes that exclude each other, where rare ones count as much as others, or nearly
OF_EACH_CLASS = (
    "macro_f1", "weighted_f1", "balanced_accuracy", "geometric_mean", "matthews_corrcoef", "cohen_kappa",
)  # fmt: skip
PRIOR_POWERS = np.arange(16) / 10  # 0: the likeliest class; 1: as if all classes were equally frequent
SHARES_OF_CELLS = ("element_accuracy", "hamming_loss")  # of several labels
COMMON_F1S = ("micro_f1", "samples_f1", "weighted_f1")  # of several labels, with one threshold for all
CUTS_PER_GRADE = 200  # candidates for a cut: steps of 0.005 grades
NOISE_MARGIN = 3.0  # standard errors by which another threshold must beat 0.5 in accuracy
TIE = 1e-12  # scores closer than this are equal: sums of 100,000 float64 are this exact


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What turns probabilities into labels; all empty: the likeliest class, or for multi_label those of at least 0.5.

    A label is given from its threshold on (>=); an expected grade (sum of k * p_k) equal to a cut is above it.
    Raises ValueError for what cannot decide.
    """

    thresholds: tuple[float, ...] = ()  # of multi_label: one for each class; of binary: the positive class's
    cuts: tuple[float, ...] = ()  # of ordinal: K - 1 expected grades, increasing
    at_least: int = 0  # of multi_label: 1 gives an image below all thresholds its likeliest label
    factors: tuple[float, ...] = ()  # of single_label and ordinal: of each class's probabilities, before the likeliest

    def __post_init__(self) -> None:
        if sum(map(bool, (self.thresholds, self.cuts, self.factors))) > 1:
            found = f"{len(self.thresholds)} thresholds, {len(self.cuts)} cuts and {len(self.factors)} factors"
            raise ValueError(f"{found}; one kind at most")
        if not np.isfinite([*self.thresholds, *self.cuts, *self.factors]).all() or min(self.factors, default=1) <= 0:
            raise ValueError(
                f"thresholds {self.thresholds}, cuts {self.cuts} and factors {self.factors} must be finite numbers, "
                "factors above 0"
            )
        if (np.diff(self.cuts) <= 0).any():
            raise ValueError(f"cuts {self.cuts} must increase")
        if self.at_least not in (0, 1):
            raise ValueError(f"at_least is {self.at_least!r}; allowed: 0, 1")


def choose_decision(
    truth: np.ndarray, probs: np.ndarray, target: Target, metric_name: str, folds: np.ndarray | None = None
) -> Decision:
    """The decision that is best for the metric on these rows; no randomness.

    truth: `target_array`'s; probs (N, C), of rows that the models did not learn from; folds (N,): which fold held each
    row out.

    ordinal and quadratic_weighted_kappa: cuts by coordinate ascent, never worse than rounding the expected grade.
    binary and an F score, jaccard, macro recall, balanced_accuracy, geometric_mean, matthews_corrcoef or a kappa: the
    best of all thresholds; of equal ones the nearest to 0.5.
    binary and accuracy: 0.5, unless another threshold gains more than 3 standard errors (see `_accuracy_threshold`).
    multi_label and macro F or jaccard: the best threshold of each class; micro, samples and weighted: the best common
    one; never worse than 0.5. Where every row has a label, `at_least` is 1 if that gains in the metric when each of
    `folds` is decided by what the others choose (without `folds`: on these rows); never for element_accuracy and
    hamming_loss, of which 0.5 is the best decision, nor for metrics of probabilities.
    more than two classes and macro or weighted F or jaccard, macro recall, balanced_accuracy, geometric_mean,
    matthews_corrcoef or cohen_kappa: probabilities are divided by the classes' shares to the best power (see
    `_factors`). Anything else: the likeliest class, or 0.5; precision and recall too, which alone are best where next
    to nothing is called positive, or everything.
    Raises ValueError for probs of another shape or not finite, and as `metric_named` does.
    """
    metric = metric_named(metric_name)
    wide = _checked(probs, target)
    if len(truth) != len(wide):
        raise ValueError(f"{len(truth)} true labels for {len(wide)} rows of probabilities")
    if target.kind == "multi_label":
        return _multi_label_decision(truth.astype(bool), wide, target, metric, folds)
    if target.kind == "ordinal" and metric.name == "quadratic_weighted_kappa":
        return Decision(cuts=_kappa_cuts(truth, _expected_grades(wide), num_grades=len(target.classes)))
    if target.kind == "binary" and metric.decided_as in COUNT_METRICS + SHARE_METRICS:
        positive = target.classes.index(target.positive)
        threshold = _binary_threshold(truth == positive, wide[:, positive], metric.decided_as, metric)
        return Decision(thresholds=(threshold,))
    if target.kind != "binary" and metric.decided_as in OF_EACH_CLASS:
        return Decision(factors=_factors(truth, wide, metric))
    return Decision()


def decide(probs: np.ndarray, target: Target, decision: Decision) -> np.ndarray:
    """(N,) int64 class indices of exclusive targets, (N, C) bool of multi_label; probs (N, C).

    Raises ValueError for a decision that belongs to another target.
    """
    wide = _checked(probs, target)
    _check_decision(decision, target)
    if target.kind == "multi_label":
        decided = wide >= (np.array(decision.thresholds) if decision.thresholds else 0.5)
        if decision.at_least:
            bare = np.flatnonzero(~decided.any(axis=1))
            decided[bare, wide[bare].argmax(axis=1)] = True
        return decided
    if decision.cuts:
        return np.searchsorted(np.array(decision.cuts), _expected_grades(wide), side="right").astype(np.int64)
    if decision.factors:
        return likeliest(wide * np.array(decision.factors), target)
    if decision.thresholds:
        positive = target.classes.index(target.positive)
        return np.where(wide[:, positive] >= decision.thresholds[0], positive, 1 - positive).astype(np.int64)
    return likeliest(wide, target)


def cross_fitted(
    truth: np.ndarray, probs: np.ndarray, folds: np.ndarray, target: Target, metric_name: str
) -> np.ndarray:
    """Decisions of out-of-fold rows, as `decide` gives them, each fold's chosen on the other folds alone.

    folds (N,): the fold that held each row out, at least two. A row's own truth has no part in how it is decided,
    so the score of these decisions is an honest estimate (choosing on all rows and scoring the same ones is not),
    slightly low, as the decision for the test images is chosen on more rows. What remains: the probabilities of the
    other folds come from models that learnt from this one.
    """
    folds = np.asarray(folds)
    names = np.unique(folds)
    if len(names) < 2 or len(folds) != len(probs):
        raise ValueError(
            f"{len(folds)} folds of {len(names)} names for {len(probs)} rows: each row needs one, of at least 2 names"
        )
    decided = np.zeros(probs.shape if target.kind == "multi_label" else len(probs), dtype=np.int64)
    with progress_bar("decisions", total=len(names), unit=" folds", leave=False) as bar:
        for name in names:
            own = folds == name
            decision = choose_decision(truth[~own], probs[~own], target, metric_name, folds[~own])
            decided[own] = decide(probs[own], target, decision)
            bar.update()
    return decided if target.exclusive else decided.astype(bool)


def write_decision(path: Path, decision: Decision) -> None:
    """Write a decision as JSON."""
    write_json(path, decision)


def read_decision(path: Path) -> Decision:
    """The decision that `write_decision` wrote. Raises ValueError where the file is not one."""
    with made_by("-s evaluate", path):
        found = read_json(path)
        names = [field.name for field in dataclasses.fields(Decision)]
        try:
            if list(found) != names:
                raise ValueError(f"its keys are {list(found)}, must be {names}")
            return Decision(
                thresholds=tuple(map(float, found["thresholds"])),
                cuts=tuple(map(float, found["cuts"])),
                at_least=found["at_least"],
                factors=tuple(map(float, found["factors"])),
            )
        except (TypeError, ValueError) as error:
            raise ValueError(f"{path} is not a decision of this version ({error})") from error


def _checked(probs: np.ndarray, target: Target) -> np.ndarray:
    """Probs in float64, so that a threshold divides float32 rows the same way when chosen and when used."""
    if probs.ndim != 2 or probs.shape[1] != len(target.classes):
        raise ValueError(
            f"probabilities are {probs.shape}, must be (N, {len(target.classes)}): a column for each class"
        )
    rows = np.flatnonzero(~np.isfinite(probs).all(axis=1))
    if len(rows):
        raise ValueError(f"{len(rows)} of {len(probs)} rows of probabilities are not finite, first {rows[:3].tolist()}")
    return probs.astype(np.float64)


def _check_decision(decision: Decision, target: Target) -> None:
    num_classes = len(target.classes)
    thresholds = {"multi_label": num_classes, "binary": 1}.get(target.kind, 0)
    cuts = num_classes - 1 if target.kind == "ordinal" else 0
    factors = num_classes if target.kind in ("single_label", "ordinal") else 0
    fits = all(
        len(found) in (0, most)
        for found, most in ((decision.thresholds, thresholds), (decision.cuts, cuts), (decision.factors, factors))
    )
    if not fits or (decision.at_least and target.exclusive):
        raise ValueError(
            f"a {target.kind} target of {num_classes} classes takes no or {thresholds} thresholds, no or {cuts} cuts, "
            f"no or {factors} factors{', at_least 0' if target.exclusive else ''}; the decision has "
            f"{len(decision.thresholds)}, {len(decision.cuts)}, {len(decision.factors)} and at_least "
            f"{decision.at_least}"
        )


def _expected_grades(wide: np.ndarray) -> np.ndarray:
    """(N,): sum over k of k * p_k. Row by row: a matrix product may round a row by what stands around it."""
    return np.asarray((wide * np.arange(wide.shape[1])).sum(axis=1))


def _kappa_cuts(truth: np.ndarray, grades: np.ndarray, *, num_grades: int) -> tuple[float, ...]:
    """The cuts of the best quadratic weighted kappa that moving one cut at a time finds.

    With p the number of cuts at or below an image's expected grade, sum(p), sum(p^2) and sum(t * p) are sums over
    cuts of what one cut adds: N_j images at or above it add N_j, (2j - 1) N_j and their true grades. So all places
    of one cut are scored at once from counts at the candidate places, whatever the number of images.
    """
    places, starts = _cut_places(num_grades)
    order = np.argsort(grades, kind="stable")
    below = np.searchsorted(grades[order], places, side="left")
    true_below = np.concatenate([[0], truth[order].cumsum()])[below]
    counts = np.stack([len(truth) - below, truth.sum() - true_below]).astype(np.float64)
    ascents = [_ascent(start, truth, counts) for start in starts]
    _, chosen = max(ascents, key=lambda ascent: ascent[0])  # of equals the first: from k + 0.5
    return tuple(places[chosen].tolist())


def _cut_places(num_grades: int) -> tuple[np.ndarray, list[np.ndarray]]:
    """Candidate cuts, increasing, and two starts as positions in them: k + 0.5, and what `np.rint` does with ties."""
    halves = np.arange(num_grades - 1) + 0.5
    to_even = np.where(np.arange(num_grades - 1) % 2 == 0, np.nextafter(halves, num_grades), halves)
    steps = np.arange((num_grades - 1) * CUTS_PER_GRADE + 1) / CUTS_PER_GRADE
    places = np.unique(np.concatenate([steps, halves, to_even]))
    return places, [np.searchsorted(places, halves), np.searchsorted(places, to_even)]


def _ascent(start: np.ndarray, truth: np.ndarray, counts: np.ndarray) -> tuple[float, np.ndarray]:
    """(kappa, positions): from `start`, each cut in turn goes to its best place until none gains.

    counts (2, places): images at or above a place, and the sum of their true grades.
    """
    cuts, weights = start.copy(), 2.0 * np.arange(1, len(start) + 1) - 1
    best = -np.inf
    moved = True
    while moved:
        moved = False
        for j in range(len(cuts)):
            low = cuts[j - 1] + 1 if j else 0
            high = cuts[j + 1] if j + 1 < len(cuts) else counts.shape[1]
            others = np.delete(cuts, j)
            sums = counts[:, others].sum(axis=1, keepdims=True) + counts[:, low:high]
            squares = (np.delete(weights, j) * counts[0, others]).sum() + weights[j] * counts[0, low:high]
            kappas = _kappas(truth, predicted=sums[0], squares=squares, products=sums[1])
            best = max(best, float(kappas[cuts[j] - low]))
            if kappas.max() > best + TIE:
                highest = np.flatnonzero(kappas >= kappas.max() - TIE)
                cuts[j], best, moved = low + highest[len(highest) // 2], float(kappas.max()), True
    return best, cuts


def _kappas(truth: np.ndarray, *, predicted: np.ndarray, squares: np.ndarray, products: np.ndarray) -> np.ndarray:
    """Quadratic weighted kappas, given sum(p), sum(p^2) and sum(t * p) for each; 0 where undefined."""
    true, true_squares = float(truth.sum()), float((truth.astype(np.float64) ** 2).sum())
    observed = true_squares + squares - 2 * products
    expected = true_squares + squares - 2 * true * predicted / len(truth)
    return np.asarray(1 - np.divide(observed, expected, out=np.ones_like(expected), where=expected > 0))


def _factors(truth: np.ndarray, wide: np.ndarray, metric: Metric) -> tuple[float, ...]:
    """What divides each class's probabilities by its share of the rows, to the power that is best; empty for 0.

    What counts every class alike is best answered by p / share (Menon et al. 2021, "Long-tail learning via logit
    adjustment", section 4.1); a training that saw rare classes more often has done some of it, and other metrics ask
    for less. So it is one number, whatever the number of classes, that is chosen. A class of no row counts as of one.
    """
    counts = np.bincount(truth, minlength=wide.shape[1]).astype(np.float64)
    shares = counts.clip(1) / counts.clip(1).mean()
    decided = ((wide * shares**-power).argmax(axis=1) for power in PRIOR_POWERS)
    values = np.array([_each_class_value(truth, found, metric) for found in decided])
    best = np.flatnonzero(values >= values.max() - TIE)
    power = PRIOR_POWERS[0 if best[0] == 0 else best[len(best) // 2]]
    return tuple((shares**-power).tolist()) if power else ()


def _each_class_value(truth: np.ndarray, decided: np.ndarray, metric: Metric) -> float:
    """The metric of class indices (N,), as `score` gives it, from counts of each class; 0 where undefined."""
    most = max(truth.max(), decided.max()) + 1
    right = truth == decided
    hits, called, positives = (np.bincount(rows, minlength=most) for rows in (truth[right], decided, truth))
    recalls = hits[positives > 0] / positives[positives > 0]
    if metric.decided_as == "balanced_accuracy":
        return float(recalls.mean())
    if metric.name == "geometric_mean":
        return float(np.prod(recalls ** (1 / len(recalls))))
    if metric.decided_as in ("macro_f1", "weighted_f1"):
        there = called + positives > 0
        weights = positives[there] if metric.decided_as == "weighted_f1" else None
        return float(np.average(_overlap(hits[there], called[there], positives[there], metric), weights=weights))
    return float(_agreement(metric.name, hits, called, positives))


def _agreement(name: str, hits: np.ndarray, called: np.ndarray, positives: np.ndarray) -> np.ndarray:
    """(...,): Matthews' coefficient, or a kappa without weights, of counts (..., C); 0 where undefined."""
    num_rows = positives.sum(axis=-1).astype(np.float64)
    by_chance = (called * positives).sum(axis=-1)
    gained, spread = num_rows * hits.sum(axis=-1) - by_chance, num_rows**2 - by_chance
    if name == "matthews_corrcoef":
        spread = np.sqrt((num_rows**2 - (called**2).sum(axis=-1)) * (num_rows**2 - (positives**2).sum(axis=-1)))
    return np.divide(gained, spread, out=np.zeros_like(gained), where=spread > 0)


def _binary_threshold(truth: np.ndarray, scores: np.ndarray, name: str, metric: Metric) -> float:
    """The threshold for the positive class's scores (N,); truth (N,) bool. 0.5 where one class has no image.

    name: what to decide it as, `Metric.decided_as` or the score of one class that the metric is made of.
    """
    if truth.all() or not truth.any():
        return 0.5
    order = np.argsort(-scores, kind="stable")
    hits = np.concatenate([[0], truth[order].cumsum()])
    if name in SHARE_METRICS:
        return _accuracy_threshold(scores[order], hits)
    return _best_threshold(scores[order], _binary_values(hits.astype(np.float64), name, metric))


def _accuracy_threshold(descending: np.ndarray, hits: np.ndarray) -> float:
    """The threshold of the best accuracy if it beats 0.5 beyond noise, else 0.5.

    Between two thresholds only the m images whose scores lie between them change sides; were the two equally good,
    the gain in right answers would be a sum of m coin flips, with a standard error of sqrt(m). The best of many
    thresholds is lucky more often than one: where 0.5 was right, it gained 2 of these in 9 and 17 of 100 simulated
    cases (200 and 2,000 images), 3 of them in less than 1. So it must gain more than 3 (McNemar's test at 3 sigma).
    """
    right = 2 * hits - np.arange(len(hits))  # and as many as there are negatives
    best = _best_threshold(descending, right.astype(np.float64))
    at_half, at_best = np.searchsorted(-descending, [-0.5, -best], side="right")
    gain, changed = right[at_best] - right[at_half], abs(at_best - at_half)
    return best if gain > NOISE_MARGIN * np.sqrt(changed) else 0.5


def _binary_values(hits: np.ndarray, name: str, metric: Metric) -> np.ndarray:
    """(N + 1,): the metric when the first i of N images are called positive, hits[i] float64 of them rightly."""
    num_images, positives, called = len(hits) - 1, hits[-1], np.arange(len(hits))
    negatives = num_images - positives
    rejected = negatives - (called - hits)
    if name == "balanced_accuracy":
        return np.asarray((hits / positives + rejected / negatives) / 2)
    if name == "geometric_mean":
        return np.asarray(np.sqrt(hits / positives * rejected / negatives))
    if name == "matthews_corrcoef" or name in KAPPAS:  # kappas of two classes are the same, whatever the weights
        both = (hits, rejected), (called, num_images - called), (positives, negatives)
        return _agreement(name, *(np.stack(np.broadcast_arrays(*pair), axis=-1) for pair in both))
    own = _overlap(hits, called, positives, metric)
    if name == "binary_f1":
        return own
    weight = positives / num_images if name == "weighted_f1" else 0.5
    return np.asarray(weight * own + (1 - weight) * _overlap(rejected, num_images - called, negatives, metric))


def _overlap(hits: np.ndarray, called: np.ndarray, positives: np.ndarray, metric: Metric) -> np.ndarray:
    """The F score, or jaccard, of so many hits among those called positive and those that are."""
    if metric.is_jaccard:
        return np.asarray(hits / (called + positives - hits))
    return np.asarray((1 + metric.beta**2) * hits / (called + metric.beta**2 * positives))


def _best_threshold(descending: np.ndarray, values: np.ndarray) -> float:
    """The threshold of the highest value, where values (N + 1,) are for the first i of the scores being above it.

    It lies midway between two scores, for images to come; 0.5 itself stands for all that divide as it does, and of
    equals the nearest to 0.5 wins.
    """
    above_all = 1.0 if descending[0] < 1 else descending[0] + 1
    upper, lower = np.concatenate([[above_all], descending]), np.concatenate([descending, [0.0]])
    middle = (upper + lower) / 2
    thresholds = np.where(middle > lower, middle, upper)
    thresholds[np.searchsorted(-descending, -0.5, side="right")] = 0.5
    possible = np.concatenate([[True], descending[:-1] != descending[1:], [True]])
    best = possible & (values >= values[possible].max() - TIE)
    return float(min(thresholds[best], key=lambda threshold: (abs(threshold - 0.5), threshold)))


def _multi_label_decision(
    truth: np.ndarray, wide: np.ndarray, target: Target, metric: Metric, folds: np.ndarray | None
) -> Decision:
    """See `choose_decision`; truth (N, C) bool."""
    plain = _thresholds(truth, wide, target, metric, at_least=0)
    if metric.takes == "scores" or metric.name in SHARES_OF_CELLS or not truth.any(axis=1).all():
        return plain
    without, ruled = (_out_of_fold_value(truth, wide, target, metric, folds, at_least=rule) for rule in (0, 1))
    gain = ruled - without
    gains = gain > TIE if metric.higher_is_better else gain < -TIE
    return _thresholds(truth, wide, target, metric, at_least=1) if gains else plain


def _out_of_fold_value(
    truth: np.ndarray, wide: np.ndarray, target: Target, metric: Metric, folds: np.ndarray | None, *, at_least: int
) -> float:
    """The metric where the thresholds for each fold come from the others; of one fold or none, from its own rows."""
    names = np.unique([] if folds is None else folds)
    if folds is None or len(names) < 2:
        return _value(truth, wide, target, metric, _thresholds(truth, wide, target, metric, at_least=at_least))
    decided = np.zeros(truth.shape, dtype=bool)
    for name in names:
        own = folds == name
        chosen = _thresholds(truth[~own], wide[~own], target, metric, at_least=at_least)
        decided[own] = decide(wide[own], target, chosen)
    return _value(truth, decided, target, metric, Decision())


def _value(truth: np.ndarray, wide: np.ndarray, target: Target, metric: Metric, decision: Decision) -> float:
    decided = decide(wide, target, decision)
    answers = (
        Answers(scores=decided.astype(np.float64)) if metric.takes == "labels" else decided_answers(decided, target)
    )
    return score(metric.name, truth, answers, target)


def _thresholds(truth: np.ndarray, wide: np.ndarray, target: Target, metric: Metric, *, at_least: int) -> Decision:
    """The best thresholds on these rows, given the rule."""
    default = Decision(thresholds=(0.5,) * len(target.classes), at_least=at_least)
    if metric.decided_as == "macro_f1":
        columns = zip(truth.T, wide.T, strict=True)
        thresholds = tuple(_binary_threshold(column, scores, "binary_f1", metric) for column, scores in columns)
    elif metric.decided_as in COMMON_F1S:
        thresholds = (_common_threshold(truth, wide, metric, at_least=at_least),) * len(target.classes)
    else:
        return default
    chosen = Decision(thresholds=thresholds, at_least=at_least)
    # at_least gives labels that the choice of each class's threshold has not seen
    values = [_value(truth, wide, target, metric, decision) for decision in (chosen, default)]
    return chosen if values[0] >= values[1] else default


def _common_threshold(truth: np.ndarray, wide: np.ndarray, metric: Metric, *, at_least: int) -> float:
    """One threshold for all cells (N, C), the best of all; with `at_least` a row's highest cell is always above it."""
    cells = wide.copy()
    if at_least:
        cells[np.arange(len(cells)), wide.argmax(axis=1)] = 2.0  # all equal, so no threshold parts them
    if metric.decided_as == "micro_f1":
        return _binary_threshold(truth.ravel(), cells.ravel(), "binary_f1", metric)
    if metric.decided_as == "samples_f1":
        gains = _gains(truth, cells, metric) / len(truth)
    else:
        gains = _gains(truth.T, cells.T, metric).T * (truth.sum(axis=0) / max(truth.sum(), 1))
    order = np.argsort(-cells.ravel(), kind="stable")
    return _best_threshold(cells.ravel()[order], np.concatenate([[0.0], gains.ravel()[order].cumsum()]))


def _gains(truth: np.ndarray, cells: np.ndarray, metric: Metric) -> np.ndarray:
    """(N, C): what a cell adds to the `_overlap` of its row when it is called after all higher cells of that row."""
    order = np.argsort(-cells, axis=1, kind="stable")
    hits = np.take_along_axis(truth, order, axis=1).cumsum(axis=1)
    values = _overlap(hits, np.arange(1, cells.shape[1] + 1), truth.sum(axis=1, keepdims=True), metric)
    gains = np.zeros(cells.shape)
    np.put_along_axis(gains, order, np.diff(values, axis=1, prepend=0.0), axis=1)
    return gains
