"""Augmentation of whole uint8 batches, with a draw for each image.

All draws of a chunk come from one generator made of (seed, fold, epoch, chunk), on the CPU: every device draws the
same (only floats, of `autoaugment` and of crops by scale, may round otherwise), and fold 3 alone equals fold 3 after 0,
1 and 2.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.base.params import ALTERNATING, DIHEDRAL
from pipeline.loop import streams
from pipeline.loop.device import to_device
from pipeline.training import autoaugment

LEFT_RIGHT, UPSIDE_DOWN, TRANSPOSED = np.array([1, 2, 4], dtype=np.uint8)  # of an image, added up
MOST_RATIO = 4 / 3  # of a crop's sides, either way: Szegedy et al. 2015, and torchvision's and timm's


class Augmentation:
    """Policy, crop by scale, pad-and-crop, flip and cutout, in this order, for one epoch of one fold.

    crop_scale: least share of the area in a random crop that is scaled to the old size, 0 = off. crop_padding: pixels
    added on each side before a random crop of the old size, 0 = off; crop_fill: `reflect`
    (the image goes on as in a mirror, edge pixel not repeated) or `zeros`. flip: left-right, half of the time.
    turned: (images of the epoch,) uint8, in their order: how each is mirrored and turned, as `shift_and_flip` takes
    it; instead of `flip`, which draws it.
    cutout: side in pixels of the square filled with `fill`, its centre anywhere in the image (DeVries and Taylor
    2017), 0 = off. policy: `none`, `autoaugment` or `trivialaugment`.
    """

    def __init__(
        self,
        *,
        crop_scale: float = 0.0,
        crop_padding: int = 0,
        crop_fill: str = "reflect",
        flip: bool = False,
        turned: np.ndarray | None = None,
        cutout: int = 0,
        policy: str = "none",
        fill: tuple[int, ...] = (0, 0, 0),
        key: tuple[int, int, int] = (0, 0, 0),  # seed, fold, epoch
    ) -> None:
        self.crop_scale = crop_scale
        self.crop_padding = crop_padding
        self.crop_fill = crop_fill
        self.flip = flip
        self.turned = turned
        self.cutout = cutout
        self.policy = policy
        self.fill = fill
        self.key = key

    def __call__(
        self, images: Tensor, chunk: int, sizes: Sequence[int] | None = None, first: int = 0,
        kept: np.ndarray | None = None,
    ) -> Tensor:  # fmt: skip
        """images (n, S, S, 3) uint8 -> the same shape; `chunk` numbers the chunks within the epoch.

        sizes: images of each chunk, of which `chunk` is the first, where `images` are those of several. first: the
        position of their first image in the epoch. kept: (n,) which of the chunks' images these are; None: all.
        """
        size = images.shape[1]
        drawn = [self._drawn(number, count, size) for number, count in enumerate(sizes or [len(images)], start=chunk)]
        fields = [_joined(parts, kept) for parts in zip(*drawn, strict=True)]
        draws = _Draws(*fields)
        if draws.policy is not None:
            images = autoaugment.apply_policy(images, self.policy, draws.policy)
        if draws.boxes is not None:
            images = scale_up(images, draws.boxes)
        if draws.offsets is not None and draws.turned is not None:
            turned = draws.turned
            if self.turned is not None:
                positions = np.arange(len(images)) if kept is None else kept
                turned = self.turned[first + positions]
            images = shift_and_flip(images, draws.offsets, turned, fill=self.crop_fill)
        if draws.centres is not None:
            images = cut_out(images, draws.centres, self.cutout, self.fill)
        return images

    def _drawn(self, chunk: int, num_images: int, size: int) -> "_Draws":
        draws = streams.draws("augmentation", *self.key, chunk)
        policy = boxes = offsets = turned = centres = None
        if self.policy != "none":
            policy = autoaugment.draw_policy(self.policy, num_images, draws)
        if self.crop_scale:
            boxes = draw_boxes(num_images, self.crop_scale, draws)
        if self.crop_padding or self.flip or self.turned is not None:
            offsets = draws.integers(-self.crop_padding, self.crop_padding + 1, size=(num_images, 2))
            turned = (
                (draws.random(num_images) < 0.5) * LEFT_RIGHT if self.flip else np.zeros(num_images, dtype=np.uint8)
            )
        if self.cutout:
            centres = draws.integers(0, size, size=(num_images, 2))
        return _Draws(policy, boxes, offsets, turned, centres)


class _Draws(NamedTuple):
    """What the images of a chunk drew, None for what is off; arguments of the functions that use it."""

    policy: np.ndarray | None
    boxes: np.ndarray | None
    offsets: np.ndarray | None
    turned: np.ndarray | None
    centres: np.ndarray | None


def _joined(parts: Sequence[np.ndarray | None], kept: np.ndarray | None) -> np.ndarray | None:
    """One field of several chunks' draws, as of one chunk; it is off in all of them or in none."""
    on = [part for part in parts if part is not None]
    if not on:
        return None
    return np.concatenate(on) if kept is None else np.concatenate(on)[kept]


def alternating(order: np.ndarray, *, seed: int, fold: int, epoch: int) -> np.ndarray:
    """(n,) uint8, in this order: LEFT_RIGHT for images mirrored in this epoch: half of them, the others in the next.

    order: (n,) a permutation of range(n). Every image is seen as it is and mirrored in turn (Jordan 2024), where
    chance would show a quarter of them the same way three times running.
    """
    at_first = streams.draws("alternating flip", seed, fold).random(len(order)) < 0.5
    return (at_first[order] ^ bool(epoch % 2)) * LEFT_RIGHT


def dihedral(order: np.ndarray, *, seed: int, fold: int, epoch: int) -> np.ndarray:
    """(n,) uint8, in this order: the symmetry of the square that each image is seen by in this epoch, 0 to 7.

    Every image is seen by all of them in any eight epochs, in an order of its own, mirrored in every other epoch as
    with `alternating`.
    """
    draws = streams.draws("dihedral flip", seed, fold)
    first, step = draws.integers(0, 8, len(order)), 2 * draws.integers(0, 4, len(order)) + 1
    return ((first + step * epoch)[order] % 8).astype(np.uint8)


TURNED_BY = {ALTERNATING: alternating, DIHEDRAL: dihedral}


def draw_boxes(num_images: int, least: float, draws: np.random.Generator) -> np.ndarray:
    """(n, 4) float64: top, left, height and width of a crop, as shares of the side.

    Of its area from `least` to 1, and of its ratio's logarithm, every value is as likely (Szegedy et al. 2015, "Going
    Deeper with Convolutions"); where a side would be longer than the image's, it is the image's.
    """
    areas = draws.uniform(least, 1.0, num_images)
    ratios = np.exp(draws.uniform(-math.log(MOST_RATIO), math.log(MOST_RATIO), num_images))
    extents = np.minimum(1.0, np.sqrt(np.stack([areas / ratios, areas * ratios], axis=1)))
    return np.concatenate([draws.random((num_images, 2)) * (1.0 - extents), extents], axis=1)


def scale_up(images: Tensor, boxes: np.ndarray) -> Tensor:
    """Each image's own crop, (n, 4) of `draw_boxes`, scaled to the old size, bilinear.

    images (n, S, S, 3) uint8 -> the same shape.
    """
    size = images.shape[1]
    starts, extents = to_device(boxes.astype(np.float32), images.device)[:, :, None].tensor_split(2, dim=1)
    centres = (torch.arange(size, device=images.device) + 0.5) / size
    rows, columns = (2 * (starts + extents * centres) - 1).unbind(dim=1)  # from -1, the first edge, to 1, the last
    grid = torch.stack(torch.broadcast_tensors(columns[:, None], rows[:, :, None]), dim=3)
    planes = images.permute(0, 3, 1, 2).float()
    found = F.grid_sample(planes, grid, mode="bilinear", padding_mode="border", align_corners=False)
    return found.round_().to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def shift_and_flip(images: Tensor, offsets: np.ndarray, turned: np.ndarray, *, fill: str) -> Tensor:
    """Crop each padded image at its own place, then mirror and turn it as asked, in one gather.

    images (n, S, S, 3) uint8; offsets (n, 2) int, (row, column) of the crop relative to the image; turned (n,) uint8,
    the sum of what is done to it: LEFT_RIGHT, UPSIDE_DOWN, then TRANSPOSED (rows become columns): together the eight
    symmetries of the square; fill `reflect` or `zeros` for what lies outside.
    """
    size = images.shape[1]
    moves = to_device(offsets, images.device)
    steps = torch.arange(size, device=images.device)

    def along(axis: int, flip: int) -> Tensor:
        flipped = to_device(turned & flip > 0, images.device)
        return moves[:, axis, None] + torch.where(flipped[:, None], steps.flip(0), steps)

    rows, columns = along(0, UPSIDE_DOWN), along(1, LEFT_RIGHT)
    index = _first_pixels(images) + (_reflected(rows, size) * size)[:, :, None] + _reflected(columns, size)[:, None]
    pixels = images.reshape(-1, 3)
    if fill == "zeros":
        pixels = torch.cat([pixels, pixels.new_zeros(1, 3)])  # the last is the black that lies outside
        index = torch.where(_inside(rows, size)[:, :, None] & _inside(columns, size)[:, None], index, len(pixels) - 1)
    if (transposed := turned & TRANSPOSED > 0).any():
        index = torch.where(to_device(transposed, images.device)[:, None, None], index.transpose(1, 2), index)
    return pixels.index_select(0, index.flatten()).view_as(images)


def cut_out(images: Tensor, centres: np.ndarray, side: int, fill: tuple[int, ...]) -> Tensor:
    """Fill a square of each image; it may lie partly outside.

    images (n, S, S, 3) uint8; centres (n, 2) int (row, column); the square is rows centre - side // 2 to
    centre - side // 2 + side - 1, columns alike.
    """
    size = images.shape[1]
    starts = to_device(centres - side // 2, images.device)[:, :, None]
    ends = (starts + side).clamp(max=size)
    steps = torch.arange(min(side, size), device=images.device)
    positions = torch.minimum(starts.clamp(min=0) + steps, ends - 1)  # (n, 2, side), at the border some twice
    index = _first_pixels(images) + (positions[:, 0] * size)[:, :, None] + positions[:, 1, None]
    colour = to_device(torch.tensor(fill, dtype=torch.uint8), images.device)
    pixels = images.reshape(-1, 3)
    return pixels.index_copy(0, index.flatten(), colour.expand(index.numel(), 3)).view_as(images)


def _first_pixels(images: Tensor) -> Tensor:
    """(n, 1, 1) int64: where each of (n, S, S, 3) images begins in a list of all their pixels."""
    return (torch.arange(len(images), device=images.device) * images.shape[1] * images.shape[2])[:, None, None]


def _reflected(positions: Tensor, size: int) -> Tensor:
    """Positions outside 0..size-1 folded back as in a mirror whose edge pixel is not repeated."""
    period = max(1, 2 * (size - 1))
    folded = positions.abs() % period
    return torch.minimum(folded, period - folded)


def _inside(positions: Tensor, size: int) -> Tensor:
    return (positions >= 0) & (positions < size)
