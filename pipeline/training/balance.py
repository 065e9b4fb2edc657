"""Rare classes made to count for more: by weights in the loss, or by drawing their images more often.

`balanced`: every class counts the same; `sqrt`: as the square root of its number of images, half-way between that and
`none`. Both look at the images that a fold learns from, never at those held out.
"""

import numpy as np

from pipeline.loop import streams

HOW = ("none", "balanced", "sqrt")
POWERS = {"balanced": 1.0, "sqrt": 0.5}  # a class of n images gets weights that go with n ** -power


def class_weights(targets: np.ndarray, num_classes: int, how: str, *, draws: np.ndarray | None = None) -> np.ndarray:
    """float32 weights whose mean over these images is 1, so that a learning rate keeps its meaning.

    targets (N,) int class indices -> (C,), one for each class; targets (N, C) float of 0 and 1 -> (2, C): for each
    label that of the images without it and that of those with it, mean 1 label by label. 0 for what no image has.
    draws (N,): how often an epoch draws each image, as `expected_draws` gives it; None: once. Weights make up for what
    sampling leaves, so that with both nothing counts twice. `balanced` of classes is scikit-learn's
    `compute_class_weight`.
    """
    each = np.ones(len(targets)) if draws is None else draws
    if targets.ndim == 1:
        counts = np.bincount(targets, weights=each, minlength=num_classes)
    else:
        counts = np.stack([each @ (1.0 - targets), each @ targets])
    weights = _rarity(counts, how)
    sums = (counts * weights).sum(axis=0)
    return (weights * counts.sum(axis=0) / sums).astype(np.float32)


def expected_draws(targets: np.ndarray, num_classes: int, how: str) -> np.ndarray:
    """(N,) float64 that sum to N: how often an epoch draws each image, on average.

    Images of one class are drawn equally often. An image of several labels (targets (N, C)) is drawn as its rarest one
    asks (Gupta et al. 2019, LVIS: repeat factor sampling), one without any label as the most frequent label asks.
    """
    if targets.ndim == 1:
        weights = _rarity(np.bincount(targets, minlength=num_classes), how)[targets]
    else:
        rarity = _rarity(targets.sum(axis=0), how)
        weights = np.where(targets > 0, rarity, rarity[rarity > 0].min(initial=1.0)).max(axis=1)
    return weights * (len(targets) / weights.sum())


def drawn_order(draws: np.ndarray, *, seed: int, fold: int, epoch: int) -> np.ndarray:
    """(N,) positions in range(N), shuffled; position i comes floor(draws[i]) or one more times.

    draws (N,) sum to N. It depends on nothing but its arguments. Systematic sampling (Madow 1949) over images sorted by
    how often they are drawn: of all images drawn equally often (a class) the number is its expectation, to one.
    """
    stream = streams.draws("sampling", seed, fold, epoch)
    mixed = stream.permutation(len(draws))
    mixed = mixed[np.argsort(draws[mixed], kind="stable")]
    ends = draws[mixed].cumsum()
    ticks = (np.arange(len(draws)) + stream.random()) * (ends[-1] / len(draws))
    drawn = np.searchsorted(ends, ticks, side="right")
    return stream.permutation(mixed[np.minimum(drawn, len(draws) - 1)])


def _rarity(counts: np.ndarray, how: str) -> np.ndarray:
    """counts ** -power; 0 for what is not there."""
    wide = counts.astype(np.float64)
    return np.power(wide, -POWERS[how], out=np.zeros_like(wide), where=wide > 0)
