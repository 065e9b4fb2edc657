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

    def __call__(
        self, images: Tensor, targets: Tensor, step: int, others: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """images (B, 3, S, S) uint8, targets (B,) int64 or (B, C) float -> images alike, targets (B, C) float32.

        others: of some images of the batch, those that they are mixed with (`partners`); targets are the batch's.
        """
        way, share, partners, draws = self._drawn(step, len(targets))
        order = to_device(partners, images.device)
        others = images[order] if others is None else others
        soft = F.one_hot(targets, self.num_classes).float() if targets.ndim == 1 else targets
        if way == "mixup":
            mixed = torch.lerp(others.float(), images.float(), share).round_().to(torch.uint8)
        else:
            rows, columns = _box(draws, images.shape[2], share)
            mixed = images.clone()
            mixed[:, :, rows, columns] = others[:, :, rows, columns]
            share = 1.0 - (rows.stop - rows.start) * (columns.stop - columns.start) / images.shape[2] ** 2
        return mixed, torch.lerp(soft[order], soft, share)

    def partners(self, step: int, num_images: int) -> np.ndarray:
        """(num_images,) the position of the image that each one of this batch is mixed with."""
        return self._drawn(step, num_images)[2]

    def _drawn(self, step: int, num_images: int) -> tuple[str, float, np.ndarray, np.random.Generator]:
        """The way, an image's own share, partners, and the generator, which then draws the box."""
        draws = streams.draws("mixing", *self.key, step)
        way = list(self.alphas)[draws.integers(len(self.alphas))]
        share = float(draws.beta(self.alphas[way], self.alphas[way]))
        return way, share, draws.permutation(num_images), draws


class Mixed:
    """The batches of a training epoch, each mixed; a source for the loop.

    Of batches that give a part of their images, the second half of these are the others' `partners`.
    """

    def __init__(self, batches: Batches, mixing: Mixing) -> None:
        self.batches, self.mixing = batches, mixing
        self.num_images = batches.num_images

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for step, (images, targets) in enumerate(self.batches, start=self.batches.skip):
            if self.batches.wanted is None:
                yield self.mixing(images, targets, step)
            else:
                own, others = images.tensor_split(2)
                yield self.mixing(own, targets, step, others)


def _box(draws: np.random.Generator, size: int, share: float) -> tuple[slice, slice]:
    """Rows and columns of the other image's square: 1 - share of the area, its centre anywhere, cut at the border."""
    side = size * np.sqrt(1.0 - share)
    rows, columns = (
        slice(max(0, round(centre - side / 2)), min(size, round(centre + side / 2)))
        for centre in draws.uniform(0, size, 2)
    )
    return rows, columns
