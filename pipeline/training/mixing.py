"""Mixup and CutMix: a batch mixed with itself in another order, labels in the same shares.

Draws come from (seed, fold, epoch, step), on the CPU: a run that goes on after a kill mixes as it would have.
"""

from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.loop import streams
from pipeline.loop.batches import Batches
from pipeline.loop.device import to_device


class Mixing:
    """mixup (Zhang et al. 2018), cutmix (Yun et al. 2019), or one of both by a coin's toss for each batch.

    mixup, cutmix: alpha of the Beta(alpha, alpha) that an image's own share is drawn from, 0 = off; one share a batch
    (as `mode="batch"` of timm's Mixup). num_classes: of targets that are class indices.
    """

    def __init__(
        self, *, mixup: float = 0.0, cutmix: float = 0.0, num_classes: int = 0, key: tuple[int, int, int] = (0, 0, 0)
    ) -> None:
        self.alphas = {name: alpha for name, alpha in (("mixup", mixup), ("cutmix", cutmix)) if alpha}
        self.num_classes = num_classes
        self.key = key  # seed, fold, epoch

    def __call__(self, images: Tensor, targets: Tensor, step: int) -> tuple[Tensor, Tensor]:
        """images (B, 3, S, S) uint8, targets (B,) int64 or (B, C) float -> images alike, targets (B, C) float32."""
        draws = streams.draws("mixing", *self.key, step)
        way = list(self.alphas)[draws.integers(len(self.alphas))]
        share = float(draws.beta(self.alphas[way], self.alphas[way]))
        order = to_device(draws.permutation(len(images)), images.device)
        soft = F.one_hot(targets, self.num_classes).float() if targets.ndim == 1 else targets
        if way == "mixup":
            mixed = torch.lerp(images[order].float(), images.float(), share).round_().to(torch.uint8)
        else:
            rows, columns = _box(draws, images.shape[2], share)
            mixed = images.clone()
            mixed[:, :, rows, columns] = images[order][:, :, rows, columns]
            share = 1.0 - (rows.stop - rows.start) * (columns.stop - columns.start) / images.shape[2] ** 2
        return mixed, torch.lerp(soft[order], soft, share)


class Mixed:
    """The batches of a training epoch, each mixed; a source for the loop."""

    def __init__(self, batches: Batches, mixing: Mixing) -> None:
        self.batches, self.mixing = batches, mixing
        self.num_images = batches.num_images

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for step, (images, targets) in enumerate(self.batches, start=self.batches.skip):
            yield self.mixing(images, targets, step)


def _box(draws: np.random.Generator, size: int, share: float) -> tuple[slice, slice]:
    """Rows and columns of the other image's square: 1 - share of the area, its centre anywhere, cut at the border."""
    side = size * np.sqrt(1.0 - share)
    rows, columns = (
        slice(max(0, round(centre - side / 2)), min(size, round(centre + side / 2)))
        for centre in draws.uniform(0, size, 2)
    )
    return rows, columns
