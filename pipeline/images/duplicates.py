"""Near-copies among the images of one or several stores: the same picture encoded, resized or brightened anew.

Three sieves, each finer and dearer than the one before: images whose coarsest waves agree meet in a cell of a grid,
or do not meet at all (so time grows as N log N); of those that meet, all kept waves are compared; what is left is
read from the stores again and compared picture by picture. A false group would pull strangers into one fold and a
missed one only leaves what was there, so every limit errs towards missing.
"""

from collections.abc import Sequence

import numpy as np

from pipeline.texts import sorted_once

Place = tuple[int, int]  # (number of the store, row in it)

SMALLEST_SIZE = 16  # pixels: shrunk to 12 px CIFAR-10 gives 85 groups, to 16 px 24; 22 of each are groups at 32 px
BUDGET = 1 << 18  # pixels in memory at once: 256 images of 32 px, 3 MB as float32

# Between copies and likenesses. Measured on CIFAR-10 (60,000 of 32 px), Sign Language Digits (2,062 of 64 px) and
# scikit-learn's digits enlarged to 32 px; copies made by JPEG of quality 50, and 0.9 and 1.1 of the side and back.
FLATTEST = 8.0  # grey levels of deviation: under it an image is too flat to be told from another
BUSY_STEP = 6.0  # grey levels between neighbouring cells of the thumbnail
LEAST_BUSY = 0.25  # share of such steps; 99 of 100 CIFAR images have more, a digit on plain ground less
FURTHEST_WAVE = 0.06  # of the deviation; copies: 0.02, nine in ten; the furthest pair right by eye: 0.09
FURTHEST_MEAN = 0.2  # mean difference of thumbnails, of the deviation; copies: 0.16, nine in ten
FURTHEST_CELL = 30.0  # grey levels in one cell; copies: 28, nine in ten; different signs 42, different digits 30
CELL_TO_DETAIL = 1.6  # the same, of the detail's deviation: 97 of 100 copies; different digits 2.6
LEAST_DETAIL = 0.85  # correlation of the detail; copies: 0.91, 98 of 100; different signs 0.78 at most
LARGEST_GAIN = 1.25  # of contrast
FURTHEST_SHIFT = 32.0  # grey levels of brightness

COARSE, THUMBNAIL = 8, 16  # cells a side
HIGHEST_WAVE = 5  # waves down and across together
GRID_WAVES = 7  # of the kept waves: how many make the grid's cell
GRID_STEP = 0.15  # of the deviation; a copy's waves move by 0.005
NUM_GRIDS = 6  # each with other borders: a pair that one grid parts meets in another
WINDOW = 32  # neighbours in a cell that an image is compared with: bounds the time where a cell is crowded
CROWD = 24  # meetings of one image: with more it is one of a series (slices, frames, parts on a fixture), not a copy
ONE = 2**14 - 1  # of an amplitude: two of opposite sign differ by less than int16 holds
PAIRS = 1 << 16  # candidates that are compared at once
PAIR_SHARE = 8  # comparing two images takes so many times the memory of shrinking one
GREY = (0.299, 0.587, 0.114)  # ITU-R BT.601, as Pillow's convert("L")


def near_copies(stores: Sequence[np.ndarray], *, budget: int = BUDGET) -> list[list[Place]]:
    """Groups of two and more near-copies, in order of their first member; no image is in two groups.

    stores: (N, S, S, 3) uint8 each, of one S; memory maps are read in pieces of `budget` pixels. A group's first
    member is its leader, and each other member is a near-copy of it: likeness is not passed on from one to the next.
    Flat images and crowds (`CROWD`) are left out; empty for S < `SMALLEST_SIZE`. Raises ValueError where the stores
    differ in size.

    CIFAR-10: 24 groups in 0.8 s of one core, all right by eye; 960,000 images of 32 px: 35 s. Of copies made from
    CIFAR-10 by JPEG of quality 50, a tenth of the side, or 8 levels of brightness it finds 92 to 98 of 100.
    """
    chunk = _chunk(stores, budget)
    if not chunk:
        return []
    waves, numbers = _waves_of(stores, chunk)
    pairs = numbers[_meeting(waves)]
    leaders = _leaders(pairs[_alike(stores, pairs, chunk)])
    members: dict[int, list[int]] = {}
    for number in sorted(leaders):
        members.setdefault(leaders[number], []).append(number)
    return [_places(stores, members[leader]) for leader in sorted(members) if len(members[leader]) > 1]


def mirrored_copies(stores: Sequence[np.ndarray], *, budget: int = BUDGET) -> list[list[Place]]:
    """Pairs of which one image is a near-copy of the other's mirror image, left to right; sorted.

    Stores and errors as for `near_copies`. Not for grouping without a look: of symmetric things, a copy is both.
    """
    chunk = _chunk(stores, budget)
    if not chunk:
        return []
    waves, numbers = _waves_of(stores, chunk)
    pairs = numbers[_meeting(waves, mirror=True)]
    return [_places(stores, pair) for pair in pairs[_alike(stores, pairs, chunk, mirror=True)].tolist()]


def _chunk(stores: Sequence[np.ndarray], budget: int) -> int:
    """How many images fit into `budget` pixels; 0 where there is nothing to compare."""
    sizes = sorted({store.shape[1] for store in stores})
    if len(sizes) > 1:
        raise ValueError(f"stores of {len(sizes)} sizes {sizes} px cannot be compared; write them at one images.side")
    return max(1, budget // sizes[0] ** 2) if sizes and sizes[0] >= SMALLEST_SIZE else 0


def _lowest_waves() -> list[tuple[int, int]]:
    """(waves down, waves across) of the 20 kept ones, lowest first."""
    found = [(down, across) for down in range(COARSE) for across in range(COARSE) if 0 < down + across <= HIGHEST_WAVE]
    return sorted(found, key=lambda wave: (sum(wave), abs(wave[0] - wave[1]), wave))


def _waves_of(stores: Sequence[np.ndarray], chunk: int) -> tuple[np.ndarray, np.ndarray]:
    """(M, W) int16 cosine amplitudes, lowest first, of the M images that are not flat; (M,) int32 their numbers.

    An image is shrunk to 8x8 grey cells, centred and divided by its deviation: brightness and contrast drop out. The
    squares of all amplitudes then sum to 1, which is stored as `ONE`.
    """
    basis, lowest = _cosines(COARSE), _lowest_waves()
    num_images = sum(map(len, stores))
    waves, numbers = np.empty((num_images, len(lowest)), np.int16), np.empty(num_images, np.int32)
    start = until = 0
    for store in stores:
        shrink = _shrinking(store.shape[1], COARSE)
        for first in range(0, len(store), chunk):
            cells = _grey(_shrunk(store[first : first + chunk], shrink))
            deviation = cells.std(axis=(1, 2))
            amplitudes = basis @ cells @ basis.T / (COARSE * np.maximum(deviation, 1e-6))[:, None, None]
            kept = np.flatnonzero(deviation >= FLATTEST)
            here = slice(until, until := until + len(kept))
            waves[here] = np.rint(ONE * np.stack([amplitudes[kept, down, across] for down, across in lowest], axis=1))
            numbers[here] = start + first + kept
        start += len(store)
    return waves[:until], numbers[:until]


def _meeting(waves: np.ndarray, *, mirror: bool = False) -> np.ndarray:
    """(P, 2) int32 pairs of rows of `waves` that agree in every wave, lower first; unique, sorted, none of a crowd.

    mirror: pairs of which the second agrees when it is mirrored left to right, which turns the waves odd across.
    """
    turned = np.array([-1 if across % 2 else 1 for _, across in _lowest_waves()], np.int16)
    signs = np.stack([np.ones_like(turned), turned] if mirror else [np.ones_like(turned)])
    num_rows, furthest = len(waves), round(ONE * FURTHEST_WAVE)

    def waves_at(rows: np.ndarray) -> np.ndarray:
        """Row r from `num_rows` on is the mirror image of row r - num_rows."""
        return waves[rows % num_rows] * signs[rows // num_rows]

    rng = np.random.default_rng(0)
    met = _Meetings(num_rows)
    for grid in range(NUM_GRIDS):
        border = rng.random(GRID_WAVES)
        keys = np.concatenate([_cells_of(waves, sign, border) for sign in signs])
        apart = np.concatenate([waves[:, GRID_WAVES + grid] * sign[GRID_WAVES + grid] for sign in signs])
        order = np.lexsort((apart, keys)).astype(np.int32)  # in a cell by a wave that the grid does not see
        keys, apart = keys[order], apart[order]
        for distance in range(1, WINDOW + 1):
            for first in range(0, len(order) - distance, PAIRS):
                here = slice(first, min(first + PAIRS, len(order) - distance))
                there = slice(here.start + distance, here.stop + distance)
                near = (keys[here] == keys[there]) & (apart[there] - apart[here] < furthest)
                one, two = np.minimum(order[here], order[there])[near], np.maximum(order[here], order[there])[near]
                if mirror:
                    across = (one < num_rows) & (two >= num_rows)
                    one, two = one[across], two[across]
                near = np.abs(waves_at(one) - waves_at(two)).max(axis=1, initial=0) < furthest
                one, two = one[near], two[near] % num_rows
                met.add(np.minimum(one, two)[one != two], np.maximum(one, two)[one != two])
    return met.pairs()


class _Meetings:
    """Pairs of rows that met, each once. Pairs of a crowd are forgotten on the way: there may be thousands an image."""

    def __init__(self, num_rows: int) -> None:
        self._num_rows = num_rows
        self._crowded = np.zeros(num_rows, dtype=bool)
        self._kept = np.empty(0, dtype=np.int64)  # lower row * num_rows + higher row
        self._new: list[np.ndarray] = []
        self._num_new = 0

    def add(self, lower: np.ndarray, higher: np.ndarray) -> None:
        """Two (P,) arrays of rows."""
        self._new.append(lower.astype(np.int64) * self._num_rows + higher)
        self._num_new += len(lower)
        if self._num_new > max(PAIRS, len(self._kept) // 2):
            self._settle()

    def pairs(self) -> np.ndarray:
        """(P, 2) int32, sorted, none with a row that met more than `CROWD` others."""
        self._settle()
        self._kept = self._kept[~(self._crowded[self._lower()] | self._crowded[self._higher()])]
        return np.stack([self._lower().astype(np.int32), self._higher().astype(np.int32)], axis=1)

    def _lower(self) -> np.ndarray:
        """(P,) int64, of the kept pairs; made anew each time, for both at once would be what takes most memory."""
        return self._kept // self._num_rows

    def _higher(self) -> np.ndarray:
        return self._kept % self._num_rows

    def _settle(self) -> None:
        met = np.concatenate([self._kept, *self._new])
        self._kept, self._new, self._num_new = met[:0], [], 0  # their memory is free before sorting takes more
        self._kept = sorted_once(met)
        del met
        counts = np.bincount(self._lower(), minlength=self._num_rows)
        counts += np.bincount(self._higher(), minlength=self._num_rows)
        self._crowded |= counts > CROWD
        # a pair still counts for the one of its two that is in no crowd
        self._kept = self._kept[~(self._crowded[self._lower()] & self._crowded[self._higher()])]


def _cells_of(waves: np.ndarray, sign: np.ndarray, border: np.ndarray) -> np.ndarray:
    """(M,) int64: a hash of the grid's cell that each row lies in; border: where cells begin, of a cell."""
    factors = 1_000_003 ** np.arange(GRID_WAVES, dtype=np.int64)
    keys = np.empty(len(waves), np.int64)
    for first in range(0, len(waves), PAIRS):
        piece = waves[first : first + PAIRS, :GRID_WAVES] * sign[:GRID_WAVES]
        cells = np.floor(piece / (ONE * GRID_STEP) + border).astype(np.int64)
        keys[first : first + PAIRS] = cells @ factors  # wraps around
    return keys


def _alike(stores: Sequence[np.ndarray], pairs: np.ndarray, chunk: int, *, mirror: bool = False) -> np.ndarray:
    """(P,) bool: which pairs of image numbers are near-copies, by their pixels (`mirror`: the second mirrored)."""
    alike = np.zeros(len(pairs), dtype=bool)
    chunk = max(1, chunk // PAIR_SHARE)
    for first in range(0, len(pairs), chunk):
        piece = pairs[first : first + chunk]
        ones, twos = _read(stores, piece[:, 0]), _read(stores, piece[:, 1])
        alike[first : first + chunk] = _same_picture(ones, twos[:, :, ::-1] if mirror else twos)
    return alike


def _read(stores: Sequence[np.ndarray], numbers: np.ndarray) -> np.ndarray:
    """(P, S, S, 3) float32 pixels of the images with these numbers, counted through all stores."""
    pixels = np.empty((len(numbers), *stores[0].shape[1:]), dtype=np.float32)
    start = 0
    for store in stores:
        here = np.flatnonzero((numbers >= start) & (numbers < start + len(store)))
        pixels[here] = store[numbers[here] - start]
        start += len(store)
    return pixels


def _same_picture(ones: np.ndarray, twos: np.ndarray) -> np.ndarray:
    """(P,) bool for two (P, S, S, 3) float32 batches: alike in every part, in colour and in fine detail."""
    shrink = _shrinking(ones.shape[1], THUMBNAIL)
    one, two = _shrunk(ones, shrink), _shrunk(twos, shrink)
    grey = _grey(one)
    deviation, other = grey.std(axis=(1, 2)), _grey(two).std(axis=(1, 2))
    gain = deviation / np.maximum(other, 1e-6)
    shift = one.mean(axis=(1, 2, 3)) - two.mean(axis=(1, 2, 3))
    matched = (two - two.mean(axis=(1, 2, 3), keepdims=True)) * gain[:, None, None, None]
    difference = np.abs(one - one.mean(axis=(1, 2, 3), keepdims=True) - matched).mean(axis=3)
    detail, other_detail = _detail(ones), _detail(twos)
    furthest = np.minimum(FURTHEST_CELL, CELL_TO_DETAIL * detail.std(axis=(1, 2)))
    return (
        (difference.mean(axis=(1, 2)) < FURTHEST_MEAN * deviation)
        & (difference.max(axis=(1, 2)) < furthest)
        & (np.maximum(gain, 1 / np.maximum(gain, 1e-6)) < LARGEST_GAIN)
        & (np.abs(shift) < FURTHEST_SHIFT)
        & (_busy(grey) >= LEAST_BUSY)
        & (_correlation(detail, other_detail) > LEAST_DETAIL)
    )


def _busy(grey: np.ndarray) -> np.ndarray:
    """(P,) share of the steps between neighbouring cells of (P, T, T) thumbnails that are above `BUSY_STEP`."""
    down, across = np.abs(np.diff(grey, axis=1)), np.abs(np.diff(grey, axis=2))
    return ((down > BUSY_STEP).mean(axis=(1, 2)) + (across > BUSY_STEP).mean(axis=(1, 2))) / 2


def _detail(pixels: np.ndarray) -> np.ndarray:
    """(P, S, S) float32: grey pixels less their mean over a square window of about an eighth of the side."""
    grey = _grey(pixels)
    reach = max(1, grey.shape[1] // 16)
    width = 2 * reach + 1
    sums = np.pad(grey, ((0, 0), (reach + 1, reach), (reach + 1, reach)), mode="edge")
    sums[:, 0] = sums[:, :, 0] = 0.0
    sums = sums.cumsum(axis=1, dtype=np.float64).cumsum(axis=2)
    window = sums[:, width:, width:] - sums[:, :-width, width:] - sums[:, width:, :-width] + sums[:, :-width, :-width]
    return grey - (window / width**2).astype(np.float32)


def _correlation(ones: np.ndarray, twos: np.ndarray) -> np.ndarray:
    energy = (ones**2).sum(axis=(1, 2)) * (twos**2).sum(axis=(1, 2))
    return (ones * twos).sum(axis=(1, 2)) / np.sqrt(np.maximum(energy, 1e-6))


def _leaders(near: np.ndarray) -> dict[int, int]:
    """Image number -> its group's leader, for the images in the pairs `near` (P, 2), sorted, lower number first.

    In order of number, each image joins the lowest leader it is near to, or else leads.
    """
    leaders: dict[int, int] = {}
    for one, two in near.tolist():
        if leaders.setdefault(one, one) == one:
            leaders.setdefault(two, one)
    return leaders


def _places(stores: Sequence[np.ndarray], numbers: Sequence[int]) -> list[Place]:
    starts = np.cumsum([0, *map(len, stores)])
    of_store = np.searchsorted(starts, numbers, side="right") - 1
    return list(zip(of_store.tolist(), (numbers - starts[of_store]).tolist(), strict=True))


def _shrinking(size: int, cells: int) -> np.ndarray:
    """(cells, size) float32: row i averages the pixels that cell i covers, a border pixel by its covered share."""
    borders = np.linspace(0, size, cells + 1)
    covered = np.minimum(borders[1:, None], np.arange(1, size + 1)) - np.maximum(borders[:-1, None], np.arange(size))
    return (np.maximum(covered, 0) * (cells / size)).astype(np.float32)


def _shrunk(pixels: np.ndarray, shrink: np.ndarray) -> np.ndarray:
    """(N, T, T, 3) float32 cell means of (N, S, S, 3) pixels; each image by itself, whatever N is."""
    count, size = pixels.shape[:2]
    cells = shrink.shape[0]
    lines = shrink @ pixels.reshape(count, size, size * 3).astype(np.float32)
    return shrink @ lines.reshape(count, cells, size, 3)


def _grey(pixels: np.ndarray) -> np.ndarray:
    red, green, blue = GREY
    return pixels[..., 0] * red + pixels[..., 1] * green + pixels[..., 2] * blue


def _cosines(size: int) -> np.ndarray:
    """(size, size) float32: row k is the k-th wave of the orthonormal discrete cosine transform (DCT-II)."""
    angles = np.pi * np.arange(size)[:, None] * (np.arange(size) + 0.5) / size
    scale = np.where(np.arange(size) == 0, 1, 2)[:, None] / size
    return (np.sqrt(scale) * np.cos(angles)).astype(np.float32)
