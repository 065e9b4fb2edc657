"""Which images are most like an image, by frozen features; and pairs of them that show the same picture.

Features alone name a copy among an image's nearest, but do not tell it from a stranger: in one set the nearest stranger
has a cosine of 0.6, in another 0.95. So the few nearest of each image are laid over it (`pipeline.audit.alignment`),
and a likeness counts against those of strangers in this very set.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.audit.alignment import Reader, likenesses

DIMENSIONS = 256  # of the space; with all 1,280 of EfficientNet-Lite0 1 in 100 copies more are among the nearest 5
RIDGE = 0.1  # of the mean variance of the features: directions with less of it count less
LEAST_RIDGE = 1e-12
QUERIES, BASE = 1024, 16384  # compared at once: 64 MB
DECIMALS = 5  # of a cosine: more depend on how many are compared at once
CANDIDATES = 5  # nearest of each image that are laid over it
MOST_PAIRS = 40_000  # laid over each other, the most alike first: 2 to 3 minutes of one core
STRANGER = 10  # an image's neighbour number 10 is a stranger, unless most images have 10 copies
STRANGERS = 400  # images whose stranger is looked at
DEVIATIONS = 6.0  # of strangers' likeness (as arctanh) above their median, from which on two are copies
LEAST_LIKENESS, MOST_LIKENESS = 0.5, 0.97  # between which it lies; by eye CIFAR-10 has strangers of 0.48 at most
LARGEST = 0.999999  # of a likeness, so that its arctanh is finite


@dataclass(frozen=True)
class Nearest:
    """The images of a base that are nearest to each query, nearest first."""

    rows: np.ndarray  # (N, k) int64 of the base; -1 where it has fewer
    cosines: np.ndarray  # (N, k) float32; -1 there


@dataclass(frozen=True)
class Copies:
    """Pairs that show the same picture, and how that was decided."""

    pairs: np.ndarray  # (P, 2) int64, lower number first; sorted
    likeness: np.ndarray  # (P,) float32
    limit: float  # likeness from which on two are copies
    num_compared: int
    num_left_out: int  # candidates beyond `MOST_PAIRS`


def space_of(parts: Sequence[tuple[np.ndarray, np.ndarray]]) -> list[np.ndarray]:
    """(n, d) float32 unit rows of each part's features (N, width) and their rows (n,): their product is the cosine.

    Directions in which all images together vary little are scaled up, or what all share would drown what tells two
    apart. An image that is like the mean is all 0. Beside the result memory does not grow with N; d <= `DIMENSIONS`.
    """
    num_rows, width = sum(len(rows) for _, rows in parts), parts[0][0].shape[1]
    total, product = np.zeros(width), np.zeros((width, width))
    for piece in (piece for part in parts for piece in _pieces(*part)):
        total += piece.sum(axis=0)
        product += piece.T @ piece
    mean = total / num_rows
    variances, directions = np.linalg.eigh(product / num_rows - np.outer(mean, mean))
    variances, directions = np.maximum(variances[::-1], 0), directions[:, ::-1][:, :DIMENSIONS]
    ridge = max(RIDGE * float(variances.mean()), LEAST_RIDGE)
    matrix = directions / np.sqrt(variances[:DIMENSIONS] + ridge)
    none = np.zeros((0, matrix.shape[1]), dtype=np.float32)
    return [np.concatenate([none, *(_units((piece - mean) @ matrix) for piece in _pieces(*part))]) for part in parts]


def _pieces(features: np.ndarray, rows: np.ndarray) -> Iterator[np.ndarray]:
    for first in range(0, len(rows), QUERIES):
        yield features[rows[first : first + QUERIES]].astype(np.float64)


def _units(rows: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.divide(rows, length, out=np.zeros_like(rows), where=length > 1e-9).astype(np.float32)


def nearest(queries: np.ndarray, base: np.ndarray, count: int, *, start: int) -> Nearest:
    """The `count` rows of `base` with the largest cosine to each query; unit rows (N, d) both. Equals by their rows.

    start: row of `queries` from which on they are the base's own, which are not their own neighbours. Never holds more
    than a block of cosines.
    """
    rows = np.full((len(queries), count), -1, dtype=np.int64)
    cosines = np.full((len(queries), count), -1, dtype=np.float32)
    for first in range(0, len(queries), QUERIES):
        asked = queries[first : first + QUERIES]
        best, number = np.full((len(asked), 0), -1, dtype=np.float32), np.full((len(asked), 0), -1, dtype=np.int64)
        for begin in range(0, len(base), BASE):
            found = np.round(asked @ base[begin : begin + BASE].T, DECIMALS)
            own = np.arange(first, first + len(asked)) - start - begin
            there = (own >= 0) & (own < found.shape[1])
            found[np.flatnonzero(there), own[there]] = -2
            columns = np.broadcast_to(np.arange(begin, begin + found.shape[1]), found.shape)
            best, number = _best(np.hstack([best, found]), np.hstack([number, columns]), count)
        best, number = best[:, :count], number[:, :count]
        there = best > -2
        rows[first : first + len(asked), : best.shape[1]] = np.where(there, number, -1)
        cosines[first : first + len(asked), : best.shape[1]] = np.where(there, best, -1)
    return Nearest(rows, cosines)


def _best(cosines: np.ndarray, rows: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The `count` largest of each line, by falling cosine, then by rows."""
    if cosines.shape[1] > 4 * count:
        limit = -np.partition(-cosines, count - 1, axis=1)[:, count - 1 : count]
        width = int((cosines >= limit).sum(axis=1).max())
        kept = np.argsort(cosines < limit, axis=1, kind="stable")[:, :width]
        cosines, rows = np.take_along_axis(cosines, kept, axis=1), np.take_along_axis(rows, kept, axis=1)
    order = np.lexsort((rows, -cosines), axis=1)[:, :count]
    return np.take_along_axis(cosines, order, axis=1), np.take_along_axis(rows, order, axis=1)


def merged(one: Nearest, two: Nearest, start: int) -> Nearest:
    """The nearest of both; start: the number of the second base's first row."""
    rows = np.hstack([one.rows, np.where(two.rows >= 0, two.rows + start, -1)])
    cosines, rows = _best(np.hstack([one.cosines, two.cosines]), rows, max(one.rows.shape[1], two.rows.shape[1]))
    return Nearest(rows, cosines)


def find_copies(read: Reader, found: Nearest, known: np.ndarray) -> Copies:
    """Pairs of images that show the same picture and are not of one group of copies already.

    found: the nearest of all images among all (`STRANGER` of each, or more); known (N,) int64: the group of each image,
    -1 for none.
    """
    limit = _limit(read, found)
    pairs, left_out = _candidates(found, known)
    alike = likenesses(read, pairs)
    copies = np.flatnonzero(alike >= limit)
    copies = copies[np.lexsort((pairs[copies, 1], pairs[copies, 0]))]
    return Copies(pairs[copies], alike[copies], limit, len(pairs), left_out)


def _limit(read: Reader, found: Nearest) -> float:
    """Likeness that no stranger has: by the spread of what strangers in this set have."""
    column = min(STRANGER, found.rows.shape[1]) - 1
    asked = np.flatnonzero(found.rows[:, column] >= 0)
    asked = asked[np.unique(np.linspace(0, len(asked) - 1, STRANGERS).astype(np.int64))] if len(asked) else asked
    strange = likenesses(read, np.stack([asked, found.rows[asked, column]], axis=1))
    strange = np.arctanh(np.clip(strange[strange > -1], -LARGEST, LARGEST))
    if not len(strange):
        return MOST_LIKENESS
    median = np.median(strange)
    deviation = 1.4826 * np.median(np.abs(strange - median))  # of a normal distribution
    return float(np.clip(np.tanh(median + DEVIATIONS * deviation), LEAST_LIKENESS, MOST_LIKENESS))


def _candidates(found: Nearest, known: np.ndarray) -> tuple[np.ndarray, int]:
    """((P, 2) int64 pairs of which one is among the nearest of the other, how many were left out)."""
    numbers = found.rows[:, :CANDIDATES]
    ones = np.repeat(np.arange(len(numbers)), numbers.shape[1])
    twos, cosines = numbers.ravel(), found.cosines[:, :CANDIDATES].ravel()
    wanted = (twos >= 0) & ~((known[ones] == known[twos]) & (known[ones] >= 0))
    pairs = np.sort(np.stack([ones[wanted], twos[wanted]], axis=1), axis=1)
    pairs, first = np.unique(pairs, axis=0, return_index=True)
    order = np.argsort(-cosines[wanted][first], kind="stable")
    return pairs[order[:MOST_PAIRS]], max(0, len(order) - MOST_PAIRS)
