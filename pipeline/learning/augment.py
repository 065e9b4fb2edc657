"""Augmentation of whole uint8 batches, with a draw for each image.

All draws of a chunk come from one generator made of (seed, fold, epoch, chunk), on the CPU: the images are the
same on every device, and fold 3 alone equals fold 3 after 0, 1 and 2.
"""

import numpy as np
import torch
from torch import Tensor

from pipeline.learning import policies


class Augmentation:
    """Policy, pad-and-crop, flip and cutout, in this order, for one epoch of one fold.

    crop_padding: pixels added on each side before a random crop of the old size, 0 = off; crop_fill: `reflect`
    (the image goes on as in a mirror, edge pixel not repeated) or `zeros`. flip: left-right, half of the time.
    cutout: side in pixels of the square filled with `fill`, its centre anywhere in the image (DeVries and Taylor
    2017), 0 = off. policy: `none`, `autoaugment` or `trivialaugment`.
    """

    def __init__(
        self,
        *,
        crop_padding: int = 0,
        crop_fill: str = "reflect",
        flip: bool = False,
        cutout: int = 0,
        policy: str = "none",
        fill: tuple[int, int, int] = (0, 0, 0),
        key: tuple[int, int, int] = (0, 0, 0),  # seed, fold, epoch
    ) -> None:
        self.crop_padding = crop_padding
        self.crop_fill = crop_fill
        self.flip = flip
        self.cutout = cutout
        self.policy = policy
        self.fill = fill
        self.key = key

    def __call__(self, images: Tensor, chunk: int) -> Tensor:
        """images (n, S, S, 3) uint8 -> the same shape; `chunk` numbers the calls within the epoch."""
        draws = np.random.default_rng([*self.key, chunk])
        num_images, size = images.shape[:2]
        if self.policy != "none":
            images = policies.apply_policy(images, self.policy, draws)
        if self.crop_padding or self.flip:
            offsets = draws.integers(-self.crop_padding, self.crop_padding + 1, size=(num_images, 2))
            mirrored = draws.random(num_images) < 0.5 if self.flip else np.zeros(num_images, dtype=bool)
            images = shift_and_flip(images, offsets, mirrored, fill=self.crop_fill)
        if self.cutout:
            images = cut_out(images, draws.integers(0, size, size=(num_images, 2)), self.cutout, self.fill)
        return images


def shift_and_flip(images: Tensor, offsets: np.ndarray, mirrored: np.ndarray, *, fill: str) -> Tensor:
    """Crop each padded image at its own place, and mirror it where asked, in one gather.

    images (n, S, S, 3) uint8; offsets (n, 2) int, (row, column) of the crop relative to the image; mirrored (n,)
    bool, left-right after the crop; fill `reflect` or `zeros` for what lies outside.
    """
    num_images, size = images.shape[:2]
    steps = np.arange(size)
    rows = offsets[:, :1] + steps
    columns = offsets[:, 1:] + np.where(mirrored[:, None], steps[::-1], steps)
    firsts = size * size * np.arange(num_images)[:, None, None]
    index = firsts + _reflected(rows, size)[:, :, None] * size + _reflected(columns, size)[:, None, :]
    pixels = images.reshape(-1, 3)
    if fill == "zeros":
        pixels = torch.cat([pixels, pixels.new_zeros(1, 3)])  # the last is the black that lies outside
        index = np.where(_inside(rows, columns, size), index, len(pixels) - 1)
    moved = torch.from_numpy(index.ravel()).to(images.device, non_blocking=True)
    return pixels.index_select(0, moved).view_as(images)


def cut_out(images: Tensor, centres: np.ndarray, side: int, fill: tuple[int, int, int]) -> Tensor:
    """Fill a square of each image; it may lie partly outside.

    images (n, S, S, 3) uint8; centres (n, 2) int (row, column); the square is rows centre - side // 2 to
    centre - side // 2 + side - 1, columns alike.
    """
    num_images, size = images.shape[:2]
    starts = (centres - side // 2)[:, :, None]
    ends = np.minimum(starts + side, size)
    positions = np.minimum(np.maximum(starts, 0) + np.arange(min(side, size)), ends - 1)  # (n, 2, side), some twice
    firsts = size * size * np.arange(num_images)[:, None, None]
    index = firsts + positions[:, 0, :, None] * size + positions[:, 1, None, :]
    hit = torch.from_numpy(index.ravel()).to(images.device, non_blocking=True)
    colour = torch.tensor(fill, dtype=torch.uint8).to(images.device, non_blocking=True)
    return images.reshape(-1, 3).index_copy(0, hit, colour.expand(len(hit), 3)).view_as(images)


def _reflected(positions: np.ndarray, size: int) -> np.ndarray:
    """Positions outside 0..size-1 folded back as in a mirror whose edge pixel is not repeated."""
    period = max(1, 2 * (size - 1))
    folded = np.abs(positions) % period
    return np.minimum(folded, period - folded)


def _inside(rows: np.ndarray, columns: np.ndarray, size: int) -> np.ndarray:
    row_in = (rows >= 0) & (rows < size)
    column_in = (columns >= 0) & (columns < size)
    return row_in[:, :, None] & column_in[:, None, :]
