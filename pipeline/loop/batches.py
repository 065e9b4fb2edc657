"""Batches out of the uint8 store: gather, augment many images at once, hand on in batches."""

import contextlib
import itertools
import math
from collections.abc import Callable, Generator, Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from pipeline.loop import streams
from pipeline.loop.device import memory_format, to_device
from pipeline.loop.prefetch import prefetched

CHUNK_IMAGES = 512  # augmentation groups images by operation: under this, groups are too small to pay
CHUNK_BYTES = 64 << 20
# of the chunks that CUDA augments at once: starting its kernels takes longer than computing 512 images of 32 px
CUDA_IMAGES = 4096
COUNTED_BYTES = 4 << 20  # of pixels counted at once; bincount takes eight times as much
RESIDENT_SHARE = 0.5  # of the free device memory that the store may take

# images (n, S, S, 3) uint8, the number of their first chunk, images of each chunk, position of the first image in the
# pass, and, where `wanted` left some out, which of the chunks' images are there -> the same shape
Transform = Callable[..., Tensor]
# the number of a batch, from 0, and its images -> positions of those to come, in their order
Wanted = Callable[[int, int], np.ndarray]


class _Part(NamedTuple):
    """Chunks that are gathered and transformed together."""

    chunk: int  # number of the first
    sizes: list[int]  # images of each
    ends: list[int]  # in the rows, where its batches begin, and where the last ends
    kept: np.ndarray | None  # positions of the images that are wanted, from its first row on; None: all
    cuts: list[int]  # in these images, where its batches begin, and where the last ends


class Batches:
    """One pass over `rows` of a store, in that order, as `images` or `(images, targets)`.

    store (N, S, S, 3) uint8, in memory, mapped from disk, or already on the device; images come out as
    (B, 3, S, S) uint8 in the `memory_format` of `device`, on it. Batches are as even as they can be (sizes differ by
    one at most, none above `batch_size`): no image is left out. With `pairs` no batch has one image, which a batch norm
    could not take: of an odd number of rows in batches of 2, one has 3.
    `skip`: leave out so many batches of the start; those that follow are what they would have been.
    `prefetch`: a thread gathers the next chunk of images while the present one is computed; None: where the store lies
    elsewhere than the device. Batches are the same either way.
    `wanted`: the images of each batch that shall come, of a part of it; targets come all the same, and what a transform
    draws for an image does not depend on it.
    `transform` gets whole chunks, several at once on CUDA. For MPS it works on the CPU, in that thread: Metal compiles
    anew for each number of images that drew an operation, and lacked some of the functions used.
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
        prefetch: bool | None = None,
        wanted: Wanted | None = None,
    ) -> None:
        self.store = store
        self.rows = torch.from_numpy(rows.astype(np.int64))
        self.targets = None if targets is None else to_device(targets, device)
        self.device = device
        self.transform = transform
        self.wanted = wanted
        self.num_images = len(rows)
        self.num_batches = math.ceil(len(rows) / batch_size)
        if pairs and len(rows) > 1:
            self.num_batches = min(self.num_batches, len(rows) // 2)
        self.skip = skip
        self.prefetch = store.device != device if prefetch is None else prefetch
        self.transform_first = device.type == "mps"
        self.batches_a_chunk = _batches_a_chunk(store, batch_size, CHUNK_IMAGES)
        whole = _batches_a_chunk(store, batch_size, CUDA_IMAGES) if device.type == "cuda" else 1
        self.chunks_at_once = max(1, whole // self.batches_a_chunk)

    def __iter__(self) -> Iterator[Tensor | tuple[Tensor, Tensor]]:
        order = memory_format(self.device)
        parts = self._parts()
        with contextlib.closing(self._images(parts)) as made:
            for part, images in zip(parts, made, strict=True):
                passed_over = max(0, self.skip - part.chunk * self.batches_a_chunk)
                bounds = zip(itertools.pairwise(part.ends), itertools.pairwise(part.cuts), strict=True)
                for (start, end), (low, high) in itertools.islice(bounds, passed_over, None):
                    batch = images[low:high].permute(0, 3, 1, 2).contiguous(memory_format=order)
                    yield batch if self.targets is None else (batch, self.targets[start:end])

    def _parts(self) -> list[_Part]:
        """Of the chunks from that of the first batch on."""
        ends = [(step * self.num_images) // self.num_batches for step in range(self.num_batches + 1)]
        width = self.batches_a_chunk
        parts = []
        for first in range(self.skip - self.skip % width, self.num_batches, width * self.chunks_at_once):
            bounds = ends[first : first + width * self.chunks_at_once + 1]
            sizes = [end - start for start, end in itertools.pairwise([*bounds[:-1:width], bounds[-1]])]
            parts.append(_Part(first // width, sizes, bounds, *self._kept(first, bounds)))
        return parts

    def _kept(self, first: int, bounds: list[int]) -> tuple[np.ndarray | None, list[int]]:
        """`kept` and `cuts` of the part whose batches, the first of them number `first`, lie between these bounds."""
        if self.wanted is None:
            return None, [end - bounds[0] for end in bounds]
        kept = [
            start - bounds[0] + self.wanted(step, end - start)
            for step, (start, end) in enumerate(itertools.pairwise(bounds), start=first)
        ]
        return np.concatenate(kept), [0, *itertools.accumulate(map(len, kept))]

    def _images(self, parts: list[_Part]) -> Generator[Tensor]:
        """(n, S, S, 3) transformed, on the device, of each part."""
        if not self.prefetch:
            for part in parts:
                yield self._transformed(self.store.index_select(0, to_device(self._rows(part), self.device)), part)
            return
        for part, images in zip(parts, prefetched(self._fetch, parts), strict=True):
            here = to_device(images, self.device)
            yield here if self.transform_first else self._transformed(here, part)

    def _rows(self, part: _Part) -> Tensor:
        rows = self.rows[part.ends[0] : part.ends[-1]]
        return rows if part.kept is None else rows[part.kept]

    def _transformed(self, images: Tensor, part: _Part) -> Tensor:
        if self.transform is None:
            return images
        kept = () if part.kept is None else (part.kept,)
        return self.transform(images, part.chunk, part.sizes, part.ends[0], *kept)

    def _fetch(self, part: _Part) -> Tensor:
        """Images of a store in memory or on disk, for CUDA in pinned memory. Runs in a thread."""
        rows = self._rows(part)
        if self.device.type != "cuda":
            images = self.store.index_select(0, rows)
            return self._transformed(images, part) if self.transform_first else images
        with torch.cuda.device(self.device):  # a thread starts on device 0, and pinning would occupy that
            images = torch.empty((len(rows), *self.store.shape[1:]), dtype=torch.uint8, pin_memory=True)
            return torch.index_select(self.store, 0, rows, out=images)


def store_tensor(store: np.ndarray, device: torch.device) -> Tensor:
    """The store as a tensor: on a CUDA device where it fits into half of the free memory, else where it lies.

    store (N, S, S, 3) uint8, mapped copy-on-write or in memory.
    """
    tensor = torch.from_numpy(store)
    if device.type == "cuda" and tensor.nbytes < RESIDENT_SHARE * torch.cuda.mem_get_info(device)[0]:
        with contextlib.suppress(torch.OutOfMemoryError):  # another fold may have taken it meanwhile
            return tensor.to(device)
    return tensor


def epoch_order(num_images: int, *, seed: int, fold: int, epoch: int) -> np.ndarray:
    """A shuffle of range(num_images) that depends on nothing but its arguments."""
    return streams.draws("order", seed, fold, epoch).permutation(num_images)


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


def _batches_a_chunk(store: Tensor, batch_size: int, most_images: int) -> int:
    images = min(most_images, CHUNK_BYTES // max(1, store[0].nbytes))
    return max(1, math.ceil(images / batch_size))
