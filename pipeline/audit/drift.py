"""Whether test images look unlike training images: a classifier that tells them apart, by frozen features.

Its area under the ROC curve, held out, is 0.5 where they are of one kind, 1 where none passes for the other.
"""

from dataclasses import dataclass

import numpy as np

FOLDS, REPEATS = 5, 4
MOST_ROWS = 2000  # of each side: more tell no more of what matters
LEAST_GROUPS = 10  # of images, on each side: with fewer nothing can be told
MOST_CLASSES = 200  # of which the mix of the test images is estimated
STEADY = 0.01  # how much a class that few images look like is left as it is
COMPONENTS = 32  # the directions in which the images differ most
STRENGTH = 0.1  # scikit-learn's C, for features of which the largest component has variance 1


@dataclass(frozen=True)
class Drift:
    """How well the two sides can be told apart."""

    auc: float
    error: float  # by which AUC strays where nothing drifts
    weighted: float | None  # AUC with training images weighted to the test images' mix of classes; None without weights
    scores: np.ndarray  # (M,) of the test images: the higher, the less like a training image

    @property
    def deviations(self) -> float:
        """By which the AUC is above chance."""
        return (self.auc - 0.5) / self.error


def sample(rows: np.ndarray, *, seed: int) -> np.ndarray:
    """At most `MOST_ROWS` of these rows, in their order."""
    if len(rows) <= MOST_ROWS:
        return rows
    return rows[np.sort(np.random.default_rng(seed).choice(len(rows), MOST_ROWS, replace=False))]


def class_weights(truth: np.ndarray, looks: np.ndarray, test_looks: np.ndarray) -> np.ndarray | None:
    """(N,) of the training images, by which their classes are mixed as those of the test images; None of many classes.

    truth (N,): class indices; looks (N,), test_looks (M,): the class that each image looks like, told of both sides by
    one rule, which errs on both sides alike (black box shift estimation: Lipton, Wang, Smola 2018).
    """
    from scipy.optimize import nnls

    count = int(max(truth.max(), looks.max(), test_looks.max(initial=0))) + 1
    if count > MOST_CLASSES or not len(test_looks):
        return None
    confusion = np.zeros((count, count))
    np.add.at(confusion, (looks, truth), 1 / len(truth))
    shares = np.bincount(test_looks, minlength=count) / len(test_looks)
    steady = np.diag(np.sqrt(STEADY * np.bincount(truth, minlength=count) / len(truth)))  # towards the mix as it is
    ratio, _ = nnls(np.concatenate([confusion, steady]), np.concatenate([shares, steady.sum(axis=1)]))
    weights: np.ndarray = ratio[truth]
    return weights / weights.mean() if weights.any() else None


def measure(train: np.ndarray, test: np.ndarray, groups: np.ndarray, weights: np.ndarray | None = None) -> Drift | None:
    """None where there are too few images.

    train, test: features (N, width), (M, width). groups (N + M,): images of one are held out together, so that a copy
    gives none away. weights (N,): by which the training images are mixed as the test images, for a second look.
    """
    sides, numbers = np.repeat([0, 1], [len(train), len(test)]), np.unique(groups, return_inverse=True)[1]
    if min(len(np.unique(numbers[sides == side])) for side in (0, 1)) < LEAST_GROUPS:
        return None
    parts = _components(np.concatenate([train, test]))
    plain = np.ones(len(sides))
    auc, error, scores = _told_apart(parts, sides, numbers, plain)
    weighted = None
    if weights is not None:
        weighted = _told_apart(parts, sides, numbers, np.concatenate([weights, plain[sides == 1]]))[0]
    return Drift(auc=auc, error=error, weighted=weighted, scores=scores[sides == 1])


def _told_apart(
    parts: np.ndarray, sides: np.ndarray, numbers: np.ndarray, weights: np.ndarray
) -> tuple[float, float, np.ndarray]:
    """(AUC, by which it strays by chance, mean scores), held out; the chance is that of equal weights."""
    total, aucs, variances = np.zeros(len(sides)), [], []
    for repeat in range(REPEATS):
        scores, fold_of = _held_out(parts, sides, numbers, weights, seed=repeat)
        total += scores
        auc, variance = _mean_auc(scores, sides, fold_of, weights)
        aucs.append(auc)
        variances.append(variance)
    return float(np.mean(aucs)), float(np.sqrt(np.mean(variances))), total / REPEATS


def _components(features: np.ndarray) -> np.ndarray:
    """(N, d): principal components, the largest of variance 1, so that penalties mean the same for every network."""
    centred = features.astype(np.float64) - features.mean(axis=0, dtype=np.float64)
    left, singular, _ = np.linalg.svd(centred, full_matrices=False)
    parts = (left * singular)[:, :COMPONENTS]
    return parts / max(float(parts[:, 0].std()), 1e-12)


def _held_out(
    parts: np.ndarray, sides: np.ndarray, numbers: np.ndarray, weights: np.ndarray, *, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """((N,) scores by a classifier that the other folds taught, (N,) folds), whole groups to a fold."""
    from sklearn.linear_model import LogisticRegression

    fold_of = _folds(sides, numbers, seed=seed)
    scores = np.zeros(len(sides))
    for fold in range(FOLDS):
        own = fold_of == fold
        if len(np.unique(sides[~own])) == 2 and own.any():
            model = LogisticRegression(C=STRENGTH, class_weight="balanced", max_iter=200)
            scores[own] = model.fit(parts[~own], sides[~own], weights[~own]).decision_function(parts[own])
    return scores, fold_of


def _folds(sides: np.ndarray, numbers: np.ndarray, *, seed: int) -> np.ndarray:
    """(N,): groups dealt in turn, those of training images alone, of test images alone, of both."""
    num_groups = numbers.max() + 1
    has = [np.bincount(numbers[sides == side], minlength=num_groups) > 0 for side in (0, 1)]
    generator = np.random.default_rng(seed)
    fold_of_group = np.zeros(num_groups, dtype=np.int64)
    start = 0
    for kind in (has[0] & ~has[1], has[1] & ~has[0], has[0] & has[1]):
        groups = generator.permutation(np.flatnonzero(kind))
        fold_of_group[groups] = (start + np.arange(len(groups))) % FOLDS
        start += len(groups)
    return fold_of_group[numbers]


def _mean_auc(scores: np.ndarray, sides: np.ndarray, fold_of: np.ndarray, weights: np.ndarray) -> tuple[float, float]:
    """(AUC, its variance by chance) over pairs of one fold: scores of two folds are of two classifiers."""
    pairs, wins, variance = 0.0, 0.0, 0.0
    for fold in range(FOLDS):
        train, test = (np.flatnonzero((fold_of == fold) & (sides == side)) for side in (0, 1))
        order = train[np.argsort(scores[train], kind="stable")]
        below = np.append(0.0, np.cumsum(weights[order]))
        at = [np.searchsorted(scores[order], scores[test], side) for side in ("left", "right")]
        wins += float((below[at[0]] + below[at[1]]).sum()) / 2
        pairs += below[-1] * len(test)
        variance += len(train) * len(test) * (len(train) + len(test) + 1) / 12
    return (wins / pairs, variance / pairs**2) if pairs else (0.5, 1.0)
