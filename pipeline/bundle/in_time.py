"""Predict within a time limit: fewer folds for an image where time is short, and at last no image.

Images are taken block by block: the first loads the models, later ones say how many folds the rest can be given; an
image that is not reached keeps the answer that was there before the first block.
"""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

FIRST_BLOCK, LAST_BLOCK = 16, 4096  # images: short first ones, to load and then to measure by
BLOCK_SHARE = 0.02  # of the time that is left, that a block should take
SPARE = 0.9  # of the time that is left, that is planned with


@dataclass
class Pace:
    """Seconds that an image takes: to be decoded, and in one fold of every run."""

    deadline: float  # as `clock` counts
    num_folds: int
    clock: Callable[[], float] = time.monotonic
    _decoding: list[tuple[int, float]] = field(default_factory=list)  # (images, seconds)
    _predicting: list[tuple[int, float]] = field(default_factory=list)

    def left(self) -> float:
        """Seconds until the deadline."""
        return self.deadline - self.clock()

    def decoded(self, images: int, seconds: float) -> None:
        """What a block took."""
        self._decoding.append((images, seconds))

    def predicted(self, images: int, seconds: float) -> None:
        """What one fold took."""
        self._predicting.append((images, seconds))

    @property
    def measured(self) -> bool:
        """Whether a block was timed that nothing had to be loaded for."""
        return bool(self._predicting)

    def least(self) -> float:
        """Seconds that one image takes in one fold, as far as is known."""
        return _rate(self._decoding) + _rate(self._predicting)

    def rate(self, num_folds: int) -> float:
        """Images a second, each decoded and given so many folds."""
        return 1 / max(_rate(self._decoding) + num_folds * _rate(self._predicting), 1e-9)

    def folds_for(self, images: int) -> int:
        """How many folds all of so many images can be given; 1 where not even that fits: what fits of them gets it."""
        if not self.measured:
            return self.num_folds
        room = SPARE * self.left() / max(images, 1) - _rate(self._decoding)
        return int(min(max(room / max(_rate(self._predicting), 1e-9), 1), self.num_folds))

    def block(self, multiple: int) -> int:
        """Images of the next block: a multiple of `multiple`, or fewer where no more can be given one fold in time."""
        if not self.measured:
            return FIRST_BLOCK
        decoding, predicting = _rate(self._decoding), _rate(self._predicting)
        wanted = BLOCK_SHARE * max(self.left(), 0.0) / max(decoding + self.num_folds * predicting, 1e-9)
        size = max(math.floor(min(wanted, LAST_BLOCK) / multiple), 1) * multiple
        return max(min(size, math.floor(SPARE * max(self.left(), 0.0) / max(decoding + predicting, 1e-9))), 1)


def _rate(noted: list[tuple[int, float]]) -> float:
    """Seconds an image."""
    return sum(seconds for _, seconds in noted) / max(sum(images for images, _ in noted), 1)


@dataclass
class Reached:
    """How many folds each image was given: (N,) int64, 0 for those that were not reached."""

    folds: np.ndarray

    def lines(self, num_folds: int) -> Iterator[str]:
        """What did not get all of it, for a log."""
        none, fewer = int((self.folds == 0).sum()), int(((self.folds > 0) & (self.folds < num_folds)).sum())
        if fewer:
            least = int(self.folds[self.folds > 0].min())
            yield f"warning: time is short: {fewer:,} of {len(self.folds):,} images by {least} of {num_folds} folds"
        if none:
            yield f"warning: time is over: {none:,} of {len(self.folds):,} images get the training images' shares"


def predict_in_time(
    num_images: int,
    pace: Pace,
    *,
    multiple: int,
    decode: Callable[[range], None],
    predict: Callable[[int, range], None],
) -> Reached:
    """Call `decode` with each block of rows, then `predict` with a number of folds' index for as many as time allows.

    multiple: blocks but the first are multiples of it (the batch size, so that batches are as without a limit).
    """
    reached = Reached(np.zeros(num_images, dtype=np.int64))
    start = 0
    while start < num_images and pace.left() > pace.least():
        rows = range(start, min(start + pace.block(multiple), num_images))
        began = pace.clock()
        decode(rows)
        if start:  # the first block also loads what all others use
            pace.decoded(len(rows), pace.clock() - began)
        for fold in range(pace.num_folds):
            if fold and (pace.left() <= 0 or fold >= pace.folds_for(num_images - start)):
                break
            began = pace.clock()
            predict(fold, rows)
            if start:
                pace.predicted(len(rows), pace.clock() - began)
            reached.folds[rows.start : rows.stop] = fold + 1
        start = rows.stop
    return reached
