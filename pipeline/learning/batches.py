"""Batches out of the uint8 store: gather, augment many images at once, hand on in batches."""

import itertools
import math
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

CHUNK_IMAGES = 512  # augmentation groups images by operation: under this, groups are too small to pay
CHUNK_BYTES = 64 << 20
COUNTED_BYTES = 4 << 20  # of pixels counted at once; bincount takes eight times as much
RESIDENT_SHARE = 0.5  # of the free device memory that the store may take

Transform = Callable[[Tensor, int], Tensor]  # ((n, S, S, 3) uint8, chunk number) -> the same shape


class Batches:
    """One pass over `rows` of a store, in that order, as `images` or `(images, targets)`.

    store (N, S, S, 3) uint8, in memory, mapped from disk, or already on the device; images come out as
    (B, 3, S, S) uint8 in channels_last order, on `device`. Batches are as even as they can be (sizes differ by one
    at most, none above `batch_size`): no image is left out. With `pairs` no batch has one image, which a batch norm
    could not take: of an odd number of rows in batches of 2, one has 3.
    `skip`: leave out so many batches of the start; those that follow are what they would have been.
    """

    def __init__(
        self,
        store: Tensor,
        rows: np.ndarray,
        targets: np.ndarray | None,
        *,
        batch_size: int,
        device: torch.device,
        transform: Transform | None = None,
        pairs: bool = False,
        skip: int = 0,
    ) -> None:
        self.store = store
        self.rows = torch.from_numpy(rows.astype(np.int64))
        self.targets = None if targets is None else torch.from_numpy(targets).to(device)
        self.device = device
        self.transform = transform
        self.num_images = len(rows)
        self.num_batches = math.ceil(len(rows) / batch_size)
        if pairs and len(rows) > 1:
            self.num_batches = min(self.num_batches, len(rows) // 2)
        self.skip = skip
        self.batches_a_chunk = _batches_a_chunk(store, batch_size)

    def __len__(self) -> int:
        return self.num_batches

    def __iter__(self) -> Iterator[Tensor | tuple[Tensor, Tensor]]:
        ends = [(step * self.num_images) // self.num_batches for step in range(self.num_batches + 1)]
        for chunk, first in enumerate(range(0, self.num_batches, self.batches_a_chunk)):
            bounds = ends[first : first + self.batches_a_chunk + 1]
            left_out = max(0, self.skip - first)
            if left_out >= len(bounds) - 1:
                continue
            images = self._gather(self.rows[bounds[0] : bounds[-1]])
            if self.transform is not None:
                images = self.transform(images, chunk)
            for start, end in itertools.pairwise(bounds[left_out:]):
                batch = images[start - bounds[0] : end - bounds[0]].permute(0, 3, 1, 2)
                yield batch if self.targets is None else (batch, self.targets[start:end])

    def _gather(self, rows: Tensor) -> Tensor:
        if self.store.device == self.device:
            return self.store.index_select(0, rows.to(self.device, non_blocking=True))
        images = self.store.index_select(0, rows)
        if self.device.type == "cuda":
            images = images.pin_memory()
        return images.to(self.device, non_blocking=True)


def store_tensor(store: np.ndarray, device: torch.device) -> Tensor:
    """The store as a tensor: on a CUDA device where it fits into half of the free memory, else where it lies.

    store (N, S, S, 3) uint8, mapped copy-on-write or in memory.
    """
    tensor = torch.from_numpy(store)
    if device.type == "cuda" and tensor.nbytes < RESIDENT_SHARE * torch.cuda.mem_get_info(device)[0]:
        return tensor.to(device)
    return tensor


def epoch_order(num_images: int, *, seed: int, fold: int, epoch: int) -> np.ndarray:
    """A shuffle of range(num_images) that depends on nothing but its arguments."""
    return np.random.default_rng([seed, fold, epoch]).permutation(num_images)


def channel_statistics(store: np.ndarray, rows: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """(mean, std) of each channel over these rows' pixels, on the 0-to-1 scale, exact (integer sums).

    A channel without any variation gets the standard deviation 1.
    """
    sums, squares, count = np.zeros(3), np.zeros(3), 0
    step = max(1, COUNTED_BYTES // store[0].nbytes)
    levels = np.arange(256, dtype=np.float64)
    for start in range(0, len(rows), step):
        pixels = store[np.sort(rows[start : start + step])].reshape(-1, 3)
        for channel in range(3):
            histogram = np.bincount(pixels[:, channel], minlength=256)
            sums[channel] += histogram @ levels
            squares[channel] += histogram @ levels**2
        count += len(pixels)
    mean = sums / count
    std = np.sqrt(np.maximum(squares / count - mean**2, 0.0))
    std[std < 1e-6] = 255.0
    return tuple((mean / 255).tolist()), tuple((std / 255).tolist())


def _batches_a_chunk(store: Tensor, batch_size: int) -> int:
    images = min(CHUNK_IMAGES, CHUNK_BYTES // max(1, store[0].nbytes))
    return max(1, math.ceil(images / batch_size))
