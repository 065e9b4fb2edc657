"""Progressive resizing: the first epochs see smaller images, which cost less (Howard 2018, DAWNBench)."""

from collections.abc import Iterator

import torch.nn.functional as F
from torch import Tensor

from pipeline.loop.engine import BatchSource

GROWING = 2 / 3  # of the epochs; the rest has images of their own side
STEP = 4  # pixels: sides that are no multiple of it cost convolutions more than they save


def epoch_side(epoch: int, epochs: int, *, start: int, full: int) -> int:
    """The side in pixels of the images of `epoch` (from 1): from `start` up to `full` within GROWING of the epochs."""
    if not 0 < start < full or epoch == epochs:
        return full
    grown = start + (full - start) * min(1.0, (epoch - 1) / (GROWING * epochs))
    return full if grown >= full else max(start, int(grown) // STEP * STEP)


class Resized:
    """The batches of a training epoch, each scaled to `side`; a source for the loop."""

    def __init__(self, batches: BatchSource, side: int) -> None:
        self.batches, self.side = batches, side
        self.num_images = batches.num_images

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """images (B, 3, side, side) float32 from 0 to 255, and targets as they were."""
        for images, targets in self.batches:
            size = (self.side, self.side)
            yield F.interpolate(images.float(), size, mode="bilinear", antialias=True), targets
