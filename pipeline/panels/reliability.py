"""How far probabilities can be believed: calibration, histograms, thresholds and cuts, ROC and precision-recall."""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from pipeline.panels.run import Run
from pipeline.report.svg import NUM_COLOURS, Bar, Chart, Dot, Line, chart, legend, shown
from pipeline.scoring.decision import Decision, decide
from pipeline.scoring.metrics import metric_named, score
from pipeline.submission.answers import decided_answers
from pipeline.workbench.calibration import BINS, calibrated_error, events

NUM_BINS = 20  # of a histogram of scores
NUM_THRESHOLDS = 50  # of a metric against the threshold
MOST_CELLS = 5_000_000  # images x classes up to which the metric is computed for each threshold
MOST_POINTS = 200  # of a curve
ON_ITS_ROWS = "On the rows it is chosen on: the best of it flatters; the score is that of {} from the other folds."
Figure = tuple[str, Any, str]  # title, chart, note


def reliability(run: Run) -> dict[str, Any] | None:
    """Charts and the figures that go with them; None of a blend by ranks, which gives no probabilities."""
    if run.by_rank:
        return None
    found = events(run.found.dealt.truth, run.found.probs, run.schema.target)
    chance, most = calibrated_error(found.probs)
    charts = [
        _calibration(run), *_histograms(run), *_thresholds(run), *_cuts(run), *_cut_curves(run), *_ranking(run),
    ]  # fmt: skip
    return {
        "charts": charts, "bins": _bins(run), "error": found.error, "surplus": found.surplus, "chance": chance,
        "most": most, "events": len(found.probs), "exclusive": run.schema.target.exclusive,
    }  # fmt: skip


def _bins(run: Run) -> list[tuple[float, float, int, float, float]]:
    """(low, high, events, mean probability, frequency) of each bin that has events."""
    found = events(run.found.dealt.truth, run.found.probs, run.schema.target)
    places = np.clip((found.probs * BINS).astype(np.int64), 0, BINS - 1)
    counts = np.bincount(places, minlength=BINS)
    means = np.bincount(places, weights=found.probs, minlength=BINS) / np.maximum(counts, 1)
    happened = np.bincount(places, weights=found.happened, minlength=BINS) / np.maximum(counts, 1)
    return [
        (at / BINS, (at + 1) / BINS, int(counts[at]), float(means[at]), float(happened[at]))
        for at in range(BINS)
        if counts[at]
    ]


def _calibration(run: Run) -> Figure:
    bins = _bins(run)
    dots = [
        Dot(mean, frequency, f"{count:,} at {mean:.3f} on average: {frequency:.3f} right",
            y_error=float(np.sqrt(max(frequency * (1 - frequency), 0.25 / count) / count)))
        for _, _, count, mean, frequency in bins
    ]  # fmt: skip
    asked = Chart("calibration", "probability", "frequency", dots=dots, diagonal=True, x_range=(0, 1), y_range=(0, 1))
    of = "the likeliest class of each image" if run.schema.target.exclusive else "every image and label"
    return "Calibration", chart(asked), f"Of {of}; on the diagonal a probability is what it says. Bars: standard error."


def _histograms(run: Run) -> Iterator[Figure]:
    target, truth, probs = run.schema.target, run.found.dealt.truth, run.found.probs
    if target.kind == "binary":
        at = target.classes.index(target.positive)
        parts = ((target.positive, truth == at), (target.classes[1 - at], truth != at))
        yield _histogram("Scores", probs[:, at], parts, f"probability of {target.positive}", run.decision.thresholds)
    elif target.exclusive:
        yield _confidence(run)
    else:
        common = set(run.decision.thresholds)
        parts = (("has the label", truth.ravel() > 0), ("has it not", truth.ravel() <= 0))
        marks = tuple(common) if len(common) == 1 else ()
        yield _histogram("Scores", probs.ravel(), parts, "probability of a label", marks)


def _histogram(title: str, scores: np.ndarray, parts: Any, x_label: str, marks: tuple[float, ...]) -> Figure:
    bars, edges = [], np.linspace(0.0, 1.0, NUM_BINS + 1)
    for colour, (name, mine) in enumerate(parts):
        counts = np.histogram(np.clip(scores[mine], 0.0, 1.0), bins=edges)[0]
        for at, count in enumerate(counts.tolist()):
            if count:
                low = edges[at] + colour * 0.5 / NUM_BINS
                tip = f"{name}: {count:,} from {edges[at]:.2f} to {edges[at + 1]:.2f}"
                share = count / max(int(np.sum(mine)), 1)
                bars.append(Bar(float(low), float(low + 0.5 / NUM_BINS), share, tip, colour))
    verticals = [(mark, f"threshold {shown(mark)}") for mark in marks]
    asked = Chart(title, x_label, "share of its own", bars=bars, verticals=verticals, x_range=(0, 1))
    names = legend((f"{name} ({int(np.sum(mine)):,})", colour, False) for colour, (name, mine) in enumerate(parts))
    return title, names + chart(asked), "The bars of each colour add up to 1."


def _confidence(run: Run) -> Figure:
    """Of classes that exclude each other: the probability of the answer, of right and of wrong ones."""
    rows = np.arange(len(run.found.decided))
    right = run.found.decided == run.found.dealt.truth
    sureness = run.found.probs[rows, run.found.decided]
    return _histogram("Confidence", sureness, (("right", right), ("wrong", ~right)), "probability of the answer", ())


def _is_drawn(run: Run) -> bool:
    """Whether the metric is one of decided labels, and quick enough to be computed for every place of a cut."""
    metric = metric_named(run.schema.metric)
    return ":" not in metric.name and metric.takes != "scores" and run.found.probs.size <= MOST_CELLS


def _scored(run: Run, decision: Decision) -> float:
    target, found = run.schema.target, run.found
    answers = decided_answers(decide(found.probs, target, decision), target)
    return score(metric_named(run.schema.metric).name, found.dealt.truth, answers, target)


def _thresholds(run: Run) -> Iterator[Figure]:
    """What a threshold does out of fold: of one for all to the metric, of one a class to the F1 of each."""
    chosen = run.decision.thresholds
    if chosen and _is_drawn(run):
        places = np.linspace(0, 1, NUM_THRESHOLDS + 1)[1:-1].tolist()
        yield _common_threshold(run, places) if len(set(chosen)) == 1 else _own_thresholds(run, places)


def _common_threshold(run: Run, places: Sequence[float]) -> Figure:
    chosen, metric = run.decision.thresholds, metric_named(run.schema.metric)
    points = [
        (place, _scored(run, dataclasses.replace(run.decision, thresholds=(place,) * len(chosen)))) for place in places
    ]
    asked = Chart("metric by threshold", "threshold", metric.name, lines=[Line(metric.name, points)],
                  verticals=[(chosen[0], f"chosen: {shown(chosen[0])}")])  # fmt: skip
    return "Threshold", chart(asked), ON_ITS_ROWS.format("thresholds")


def _own_thresholds(run: Run, places: Sequence[float]) -> Figure:
    truth, classes = run.found.dealt.truth > 0, run.schema.target.classes
    curves, dots = [], []
    for colour, at in enumerate(np.argsort(-truth.sum(axis=0), kind="stable")[:NUM_COLOURS].tolist()):
        true, probs, chosen = truth[:, at], run.found.probs[:, at].astype(np.float64), run.decision.thresholds[at]
        curves.append(Line(classes[at], [(place, _f1(true, probs >= place)) for place in places], colour, marked=False))
        value = _f1(true, probs >= chosen)
        dots.append(Dot(chosen, value, f"{classes[at]}: {shown(chosen)} chosen, F1 {value:.3f}", colour))
    asked = Chart("F1 by threshold", "threshold", "F1", lines=curves, dots=dots, x_range=(0, 1), y_range=(0, 1.02))
    names = legend((line.name, line.colour, False) for line in curves)
    more = f" The {len(curves)} most frequent of {len(classes)} classes." if len(curves) < len(classes) else ""
    return "Thresholds", names + chart(asked), f"Dots: chosen.{more} {ON_ITS_ROWS.format('thresholds')}"


def _f1(true: np.ndarray, given: np.ndarray) -> float:
    return float(2 * (true & given).sum() / max(true.sum() + given.sum(), 1))


def _cuts(run: Run) -> Iterator[Figure]:
    """Of grades: expected grades by true grade, with the cuts."""
    target, truth, probs = run.schema.target, run.found.dealt.truth, run.found.probs
    if target.kind != "ordinal":
        return
    grades = (probs.astype(np.float64) * np.arange(probs.shape[1])).sum(axis=1)
    grades = np.clip(grades, 0, len(target.classes) - 1)  # rows of float32 sum to 1 but for their last bits
    edges = np.linspace(0, len(target.classes) - 1, 2 * NUM_BINS + 1)
    lines = []
    for at, label in enumerate(target.classes):
        counts = np.histogram(grades[truth == at], bins=edges)[0]
        middles = (edges[:-1] + edges[1:]) / 2
        lines.append(Line(f"grade {label}", list(zip(middles.tolist(), counts.tolist(), strict=True)), at))
    cuts = [(cut, f"cut {shown(cut)}") for cut in run.decision.cuts]
    asked = Chart("expected grades", "expected grade", "images", lines=lines, verticals=cuts)
    said = "A line for each true grade; upright: the cuts between answers." if cuts else "A line for each true grade."
    yield "Expected grades", chart(asked), said


def _cut_curves(run: Run) -> Iterator[Figure]:
    """Of grades: the metric while one cut moves between its neighbours and the others stay."""
    cuts, metric, most = run.decision.cuts, metric_named(run.schema.metric), len(run.schema.target.classes) - 1
    if not cuts or not _is_drawn(run):
        return
    ends = (0.0, *cuts, float(most))
    lines = []
    for at, cut in enumerate(cuts):
        moved = np.linspace(ends[at], ends[at + 2], NUM_THRESHOLDS // len(cuts) + 4)[1:-1].tolist()
        tried = sorted([*moved, cut])
        points = [
            (place, _scored(run, dataclasses.replace(run.decision, cuts=(*cuts[:at], place, *cuts[at + 1 :]))))
            for place in tried
        ]
        lines.append(Line(f"cut {at + 1}", points, at))
    asked = Chart("metric by cut", "cut, in expected grades", metric.name, lines=lines,
                  verticals=[(cut, f"chosen: {shown(cut)}") for cut in cuts])  # fmt: skip
    names = legend((line.name, line.colour, False) for line in lines)
    yield "Cuts", names + chart(asked), f"One cut moves, the others stay. {ON_ITS_ROWS.format('cuts')}"


def _ranking(run: Run) -> Iterator[Figure]:
    """Of two classes: ROC and precision-recall."""
    target = run.schema.target
    if target.kind != "binary":
        return
    from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score, roc_curve

    at = target.classes.index(target.positive)
    positive, scores = run.found.dealt.truth == at, run.found.probs[:, at]
    if positive.all() or not positive.any():
        return
    false, true, _ = roc_curve(positive, scores)
    area = float(roc_auc_score(positive, scores))
    asked = Chart("ROC", "false positive rate", "true positive rate", lines=[Line("ROC", _thinned(false, true))],
                  diagonal=True, x_range=(0, 1), y_range=(0, 1.02))  # fmt: skip
    yield "ROC", chart(asked), f"Area {area:.4f} over all held-out images."
    precision, recall, _ = precision_recall_curve(positive, scores)
    asked = Chart("precision and recall", "recall", "precision", lines=[Line("precision", _thinned(recall, precision))],
                  x_range=(0, 1), y_range=(0, 1.02))  # fmt: skip
    average = float(average_precision_score(positive, scores))
    yield "Precision and recall", chart(asked), f"Average precision {average:.4f}; {positive.mean():.4f} are positive."


def _thinned(xs: np.ndarray, ys: np.ndarray) -> list[tuple[float, float]]:
    at = np.unique(np.linspace(0, len(xs) - 1, min(len(xs), MOST_POINTS)).astype(np.int64))
    return list(zip(xs[at].tolist(), ys[at].tolist(), strict=True))
