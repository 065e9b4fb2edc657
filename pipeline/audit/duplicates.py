"""Near-copies among the images of one or several stores: the same picture encoded, resized or brightened anew.

Three sieves, each finer and slower than the one before: images whose coarsest waves agree meet in a cell of a grid,
or do not meet at all (so time grows as N log N); of those that meet, all kept waves are compared; what is left is
read from the stores again and compared picture by picture. A false group would pull strangers into one fold and a
missed one only leaves what was there, so every limit errs towards missing.

What is called a near-copy is in one group, by chains if need be: of pictures at brightness 0, +25 and +50 the first
and the last are in one group though they are too far apart to be called copies of each other. Two images of one group
are not compared any more, so a crowd of N copies costs about N comparisons; of a crowd that is alike but no copies, an
image gets `PATIENCE`. What that leaves out, and what cannot be compared, is counted.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from pipeline.audit.thumbnails import grey_of, shrinking
from pipeline.base.texts import sorted_once

Place = tuple[int, int]  # (number of the store, row in it)

MIN_SIZE = 16  # pixels: shrunk to 12 px CIFAR-10 gives 85 groups, to 16 px 24; 22 of each are groups at 32 px
BUDGET = 1 << 18  # pixels in memory at once: 256 images of 32 px, 3 MB as float32

# Between copies and likenesses. Measured on CIFAR-10 (60,000 of 32 px), Sign Language Digits (2,062 of 64 px) and
# scikit-learn's digits enlarged to 32 px; copies made by JPEG of quality 50, and 0.9 and 1.1 of the side and back.
FLATTEST = 8.0  # grey levels of deviation: under it an image is too flat to be told from another
BUSY_STEP = 6.0  # grey levels between neighbouring cells of the thumbnail
MIN_BUSY = 0.25  # share of such steps; 99 of 100 CIFAR images have more, a digit on plain ground less
FURTHEST_WAVE = 0.06  # of the deviation; copies: 0.02, nine in ten; the furthest pair right by eye: 0.09
# The same as a root of the sum of squares: 0.03 for nine in ten copies, 0.24 where shifted by 1 of 32 px. With 0.18 the
# copies found that are shifted by a pixel are 59 of 100 instead of 79, in 0.9 s instead of 1.05 for 50,000 images.
FURTHEST_WAVES = 0.22
FURTHEST_MEAN = 0.2  # mean difference of thumbnails, of the deviation; copies: 0.16, nine in ten
FURTHEST_CELL = 30.0  # grey levels in one cell; copies: 28, nine in ten; different signs 42, different digits 30
CELL_TO_DETAIL = 1.6  # the same, of the detail's deviation: 97 of 100 copies; different digits 2.6
MIN_DETAIL = 0.85  # correlation of the detail; copies: 0.91, 98 of 100; different signs 0.78 at most
MIN_BLURRED_DETAIL = 0.8  # the same, blurred, to be looked at again: 95 of 100 cropped on all sides; CIFAR: 1 in 10
MAX_GAIN = 1.25  # of contrast
FURTHEST_SHIFT = 32.0  # grey levels of brightness

COARSE, THUMBNAIL = 8, 16  # cells a side
HIGHEST_WAVE = 5  # waves down and across together
# (how many of the kept waves make a grid's cell, its side of the deviation), each grid with other borders: a pair that
# one grid parts meets in another. A copy's waves move by 0.005 each, by 0.03 where it is shifted by a pixel of 32.
GRIDS = ((7, 0.15), (7, 0.15), (7, 0.15), (8, 0.35), (8, 0.35), (8, 0.35), (8, 0.35))
# of turned copies, which are not shifted too: made of 1,000 CIFAR-10 images by JPEG of quality 50, these find 967 and
# all seven 969, in two and a half times the time
NUM_GRIDS_TURNED = 3
WINDOW = 32  # neighbours in a cell that an image is compared with: bounds the time where a cell is crowded
CLOSE_LOOKS = 1  # comparisons in vain of one image that try shifts and other sizes: they take five times as long
PATIENCE = 24  # comparisons of one image that found no copy: then it is compared only with those that had fewer
CROWD = 24  # images: a group of more, and of more than half of all images, is a series (frames, slices, parts)
ONE = 2**14 - 1  # of an amplitude: two of opposite sign differ by less than int16 holds
PAIRS = 1 << 16  # candidates that are compared at once
PAIR_SHARE = 2  # comparing two images takes so many times the memory of shrinking one, of what `BUDGET` is
SHIFTS = tuple((down, across) for down in (-1, 0, 1) for across in (-1, 0, 1) if down or across)  # pixels


@dataclass(frozen=True)
class Turn:
    """A symmetry of the square: what is done to an image, in this order."""

    across: bool = False  # mirrored left to right
    down: bool = False  # upside down
    transposed: bool = False  # rows become columns

    @property
    def undoes_itself(self) -> bool:
        """All but the quarter turns, of which one is the other backwards."""
        return not self.transposed or self.across == self.down

    def of_pixels(self, images: np.ndarray) -> np.ndarray:
        """(P, S, S, ...) so turned."""
        images = images[:, :: -1 if self.down else 1, :: -1 if self.across else 1]
        return images.swapaxes(1, 2) if self.transposed else images

    def of_waves(self) -> tuple[np.ndarray, np.ndarray]:
        """(W,) where each kept wave of the turned image stands among those of the image, (W,) int16 its sign there."""
        lowest = _lowest_waves()
        before = [(across, down) if self.transposed else (down, across) for down, across in lowest]
        odd = np.array([down * self.down + across * self.across for down, across in before])
        return np.array([lowest.index(wave) for wave in before]), (1 - 2 * (odd % 2)).astype(np.int16)


AS_IT_IS = Turn()
TURNS = (
    Turn(across=True), Turn(down=True), Turn(across=True, down=True), Turn(transposed=True),
    Turn(across=True, down=True, transposed=True), Turn(across=True, transposed=True),
)  # fmt: skip


@dataclass(frozen=True)
class Search:
    """What a search for near-copies found, and what it left out."""

    groups: list[list[Place]]  # of two and more near-copies, in order of their first; no image is in two
    series: list[list[Place]]  # would be groups, but hold more than half of all images: see `CROWD`
    plain: list[Place]  # not compared: too flat or plain to be told apart, or stored below `MIN_SIZE`
    cut: list[Place]  # of crowds, for which the search ended before all that are like them had been compared


def near_copies(stores: Sequence[np.ndarray], *, budget: int = BUDGET) -> list[list[Place]]:
    """The groups that `search_copies` finds."""
    return search_copies(stores, budget=budget).groups


def search_copies(stores: Sequence[np.ndarray], *, known: int = 0, budget: int = BUDGET) -> Search:
    """Groups of near-copies: two images that are called so are in one group, whatever the order of the images.

    stores: (N, S, S, 3) uint8 each, of one S; memory maps are read in pieces of `budget` pixels. Raises ValueError
    where the stores differ in size. known: so many images, from the first on, have been compared with each other.

    CIFAR-10 (60,000): 28 groups in 1.6 s of one core, all right by eye; 240,000 images of 32 px: 8 s. Of copies made of
    2,000 images of it, where no group is found, 96 of 100 are found by JPEG of quality 50, 97 where scaled by 0.9 and
    back or halved and doubled, 79 where shifted by a pixel (43 diagonally). None is where a pixel is cropped and the
    rest enlarged: to try that too took 20 s for CIFAR-10, and a minute for 1,797 enlarged digits. 30,000 images of one
    kind (90 patterns, shifted at random under noise) take 5.4 s, 1 s of it without looking for shifts and halves.
    """
    chunk, num_images = _chunk(stores, budget), sum(map(len, stores))
    if not chunk:
        return Search([], [], _places(stores, range(num_images)), [])
    waves, numbers = _waves_of(stores, chunk)
    chains = _Chains(len(waves))
    for distance, one, two, tight in _meeting(waves):
        if known:
            new = numbers[two] >= known
            one, two, tight = one[new], two[new], tight[new]
        one, two, closely = chains.worth_comparing(one, two, tight, distance)
        pairs = np.stack([numbers[one], numbers[two]], axis=1)
        chains.add(one, two, _alike(stores, pairs, chunk, closely=closely))
    found = [_places(stores, numbers[rows]) for rows in chains.groups()]
    largest = max(CROWD, num_images // 2)
    return Search(
        groups=[group for group in found if len(group) <= largest],
        series=[group for group in found if len(group) > largest],
        plain=_places(stores, np.setdiff1d(np.arange(num_images), numbers, assume_unique=True)),
        cut=_places(stores, numbers[chains.cut()]),
    )


def turned_copies(stores: Sequence[np.ndarray], *, known: int = 0, budget: int = BUDGET) -> list[list[Place]]:
    """Pairs of which one image is a near-copy of the other mirrored, upside down or turned by quarters; sorted.

    Stores, errors and known as for `search_copies`; no shifts or other sizes are tried. CIFAR-10 (60,000): 29 pairs in
    3 s, 28 of them mirrored.
    """
    chunk = _chunk(stores, budget)
    if not chunk:
        return []
    waves, numbers = _waves_of(stores, chunk)
    found = np.empty((0, 2), np.int32)
    for turn in TURNS:
        met = _Meetings(len(waves))
        for _, one, two, tight in _meeting(waves, turn):
            tight &= np.maximum(numbers[one], numbers[two]) >= known
            one, two = one[tight], two[tight]
            met.add(*(np.minimum(one, two), np.maximum(one, two)) if turn.undoes_itself else (one, two))
        pairs = numbers[met.pairs()]
        alike = _alike(stores, pairs, chunk, closely=np.zeros(len(pairs), dtype=bool), turn=turn)
        found = np.concatenate([found, np.sort(pairs[alike], axis=1)])
    return [_places(stores, pair) for pair in np.unique(found, axis=0).tolist()]


def _chunk(stores: Sequence[np.ndarray], budget: int) -> int:
    """How many images fit into `budget` pixels; 0 where there is nothing to compare."""
    sizes = sorted({store.shape[1] for store in stores})
    if len(sizes) > 1:
        raise ValueError(f"stores of {len(sizes)} sizes {sizes} px cannot be compared; write them at one images.side")
    return max(1, budget // sizes[0] ** 2) if sizes and sizes[0] >= MIN_SIZE else 0


def _lowest_waves() -> list[tuple[int, int]]:
    """(waves down, waves across) of the 20 kept ones, lowest first."""
    found = [(down, across) for down in range(COARSE) for across in range(COARSE) if 0 < down + across <= HIGHEST_WAVE]
    return sorted(found, key=lambda wave: (sum(wave), abs(wave[0] - wave[1]), wave))


def _waves_of(stores: Sequence[np.ndarray], chunk: int) -> tuple[np.ndarray, np.ndarray]:
    """(M, W) int16 cosine amplitudes, lowest first, of the M images neither flat nor plain; (M,) int32 their numbers.

    An image is shrunk to 8x8 grey cells, centred and divided by its deviation: brightness and contrast drop out. The
    squares of all amplitudes then sum to 1, which is stored as `ONE`.
    """
    basis, lowest, pool = _cosines(COARSE), _lowest_waves(), shrinking(THUMBNAIL, COARSE)
    num_images = sum(map(len, stores))
    waves, numbers = np.empty((num_images, len(lowest)), np.int16), np.empty(num_images, np.int32)
    start = until = 0
    for store in stores:
        shrink = shrinking(store.shape[1], THUMBNAIL)
        for first in range(0, len(store), chunk):
            fine = shrink @ grey_of(store[first : first + chunk].astype(np.float32)) @ shrink.T
            cells = pool @ fine @ pool.T
            deviation = cells.std(axis=(1, 2))
            amplitudes = basis @ cells @ basis.T / (COARSE * np.maximum(deviation, 1e-6))[:, None, None]
            kept = np.flatnonzero((deviation >= FLATTEST) & (_busy(fine) >= MIN_BUSY))
            here = slice(until, until := until + len(kept))
            waves[here] = np.rint(ONE * np.stack([amplitudes[kept, down, across] for down, across in lowest], axis=1))
            numbers[here] = start + first + kept
        start += len(store)
    return waves[:until], numbers[:until]


def _meeting(waves: np.ndarray, turn: Turn = AS_IT_IS) -> Iterator[tuple[int, np.ndarray, np.ndarray, np.ndarray]]:
    """(places apart, two (P,) int32 of rows, (P,) bool) of pairs that agree about; many come again.

    Without `turn` the first row is the lower one; with it the second agrees when it is so turned.

    The bool: which of them agree in every wave so well that they may be copies that are not shifted or halved.

    Places are those in a cell's order, 1 to `WINDOW` + 1: the last are for knowing that there would be more.
    """
    ways = [way.of_waves() for way in dict.fromkeys((AS_IT_IS, turn))]
    orders, signs = map(np.stack, zip(*ways, strict=True))
    num_rows, furthest = len(waves), ONE * FURTHEST_WAVES

    def waves_at(rows: np.ndarray) -> np.ndarray:
        """Row r from `num_rows` on is row r - num_rows when turned."""
        if len(ways) == 1:
            return waves[rows]
        which = rows // num_rows
        return np.take_along_axis(waves[rows % num_rows], orders[which], axis=1) * signs[which]

    rng = np.random.default_rng(0)
    for grid, (num_waves, step) in enumerate(GRIDS if turn == AS_IT_IS else GRIDS[:NUM_GRIDS_TURNED]):
        border = rng.random(num_waves)
        keys = np.concatenate([_cells_of(waves, way, border, step) for way in ways])
        apart = np.concatenate([waves[:, order[num_waves + grid]] * sign[num_waves + grid] for order, sign in ways])
        order = np.lexsort((apart, keys)).astype(np.int32)  # in a cell by a wave that the grid does not see
        keys, apart = keys[order], apart[order]
        for distance in range(1, WINDOW + 2):
            for first in range(0, len(order) - distance, PAIRS):
                here = slice(first, min(first + PAIRS, len(order) - distance))
                there = slice(here.start + distance, here.stop + distance)
                near = (keys[here] == keys[there]) & (apart[there] - apart[here] < furthest)
                one, two = np.minimum(order[here], order[there])[near], np.maximum(order[here], order[there])[near]
                if len(ways) > 1:
                    across = (one < num_rows) & (two >= num_rows)
                    one, two = one[across], two[across]
                between = (waves_at(one) - waves_at(two)).astype(np.float32)
                near = np.einsum("pw,pw->p", between, between) < furthest**2
                one, two = one[near], two[near] % num_rows
                tight = np.abs(between[near]).max(axis=1, initial=0)[one != two] < ONE * FURTHEST_WAVE
                yield distance, one[one != two], two[one != two], tight


class _Chains:
    """Rows that hang together by pairs called near-copies, and what was compared in vain."""

    def __init__(self, num_rows: int) -> None:
        self._parent = np.arange(num_rows, dtype=np.int32)  # the lowest row that a row is known to hang together with
        self._in_vain = np.zeros(num_rows, dtype=np.uint8)  # comparisons
        self._strangers = np.empty(0, dtype=np.int64)  # pairs compared in vain: lower row * number of rows + higher row
        self._new: list[np.ndarray] = []  # the same, not sorted in yet
        self._cut = np.zeros(num_rows, dtype=bool)

    def worth_comparing(
        self, one: np.ndarray, two: np.ndarray, tight: np.ndarray, distance: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Those of the pairs that are not in one chain yet, unless both were compared in vain for long; which closely.

        distance, tight: as `_meeting` says; of the last distance none is to be compared, only counted as left out.
        Pairs that are not tight are compared only if closely.
        """
        if not len(one):
            return one, two, tight
        last = distance > WINDOW
        apart = (self._root(one) != self._root(two)) & ~self._are_strangers(one, two, settle=last or distance == 1)
        in_vain = np.minimum(self._in_vain[one], self._in_vain[two])
        closely, impatient = in_vain < CLOSE_LOOKS, in_vain >= PATIENCE
        left_out = apart & tight & (impatient | last)
        self._cut[one[left_out]] = self._cut[two[left_out]] = True
        wanted = apart & (tight | closely) & ~impatient & (not last)
        return one[wanted], two[wanted], closely[wanted]

    def add(self, one: np.ndarray, two: np.ndarray, alike: np.ndarray) -> None:
        """What comparing the pairs gave: (P,) rows, (P,) rows, (P,) bool."""
        if not alike.all():
            self._new.append(self._keys(one[~alike], two[~alike]))
            for rows in (one[~alike], two[~alike]):
                self._in_vain[rows] = np.minimum(self._in_vain[rows] + np.bincount(rows)[rows], PATIENCE)
        one, two = one[alike], two[alike]
        while len(one):
            lower, higher = np.sort(np.stack([self._root(one), self._root(two)]), axis=0)
            open_ = lower < higher
            one, two, lower, higher = one[open_], two[open_], lower[open_], higher[open_]
            np.minimum.at(self._parent, higher, lower)
            self._settle(np.unique(np.concatenate([lower, higher])))

    def groups(self) -> list[np.ndarray]:
        """Rows of each chain of two and more, sorted, the chains by their first."""
        roots = self._root(np.arange(len(self._parent), dtype=np.int32))
        counts = np.bincount(roots, minlength=len(roots))
        members = np.flatnonzero(counts[roots] > 1)
        members = members[np.argsort(roots[members], kind="stable")]
        return np.split(members, np.cumsum(counts[counts > 1])[:-1]) if len(members) else []

    def cut(self) -> np.ndarray:
        """Rows for which a pair was left out."""
        return np.flatnonzero(self._cut)

    def _keys(self, one: np.ndarray, two: np.ndarray) -> np.ndarray:
        return one.astype(np.int64) * len(self._parent) + two

    def _are_strangers(self, one: np.ndarray, two: np.ndarray, *, settle: bool) -> np.ndarray:
        few = sum(map(len, self._new)) <= max(PAIRS, len(self._strangers) // 2)
        if self._new and (settle or not few):  # in one grid no pair comes twice
            self._strangers = sorted_once(np.concatenate([self._strangers, *self._new]))
            self._new = []
        keys = self._keys(one, two)
        places = np.searchsorted(self._strangers, keys)
        return np.asarray(np.append(self._strangers, -1)[places] == keys)

    def _root(self, rows: np.ndarray) -> np.ndarray:
        root = self._parent[rows]
        while ((above := self._parent[root]) != root).any():
            root = above
        self._parent[rows] = root
        return root

    def _settle(self, roots: np.ndarray) -> None:
        """Halve the ways up from what were roots until all are one step."""
        while ((above := self._parent[self._parent[roots]]) != self._parent[roots]).any():
            self._parent[roots] = above


class _Meetings:
    """Pairs of rows that met, each once. Of rows that meet more than `CROWD` others the pairs are forgotten."""

    def __init__(self, num_rows: int) -> None:
        self._num_rows = num_rows
        self._crowded = np.zeros(num_rows, dtype=bool)
        self._kept = np.empty(0, dtype=np.int64)  # first row * num_rows + second row
        self._new: list[np.ndarray] = []
        self._num_new = 0

    def add(self, one: np.ndarray, two: np.ndarray) -> None:
        """Two (P,) arrays of rows."""
        self._new.append(one.astype(np.int64) * self._num_rows + two)
        self._num_new += len(one)
        if self._num_new > max(PAIRS, len(self._kept) // 2):
            self._settle()

    def pairs(self) -> np.ndarray:
        """(P, 2) int32, sorted, none with a row that met more than `CROWD` others."""
        self._settle()
        self._kept = self._kept[~(self._crowded[self._first()] | self._crowded[self._second()])]
        return np.stack([self._first().astype(np.int32), self._second().astype(np.int32)], axis=1)

    def _first(self) -> np.ndarray:
        """(P,) int64, of the kept pairs; made anew each time, for both at once would be what takes most memory."""
        return self._kept // self._num_rows

    def _second(self) -> np.ndarray:
        return self._kept % self._num_rows

    def _settle(self) -> None:
        met = np.concatenate([self._kept, *self._new])
        self._kept, self._new, self._num_new = met[:0], [], 0  # their memory is free before sorting takes more
        self._kept = sorted_once(met)
        del met
        counts = np.bincount(self._first(), minlength=self._num_rows)
        counts += np.bincount(self._second(), minlength=self._num_rows)
        self._crowded |= counts > CROWD
        # a pair still counts for the one of its two that is in no crowd
        self._kept = self._kept[~(self._crowded[self._first()] & self._crowded[self._second()])]


def _cells_of(waves: np.ndarray, way: tuple[np.ndarray, np.ndarray], border: np.ndarray, step: float) -> np.ndarray:
    """(M,) int64: a hash of the grid's cell that each row lies in; border: where cells begin, of a cell."""
    factors = 1_000_003 ** np.arange(len(border), dtype=np.int64)
    order, sign = (part[: len(border)] for part in way)
    keys = np.empty(len(waves), np.int64)
    for first in range(0, len(waves), PAIRS):
        piece = waves[first : first + PAIRS, order] * sign
        cells = np.floor(piece / (ONE * step) + border).astype(np.int64)
        keys[first : first + PAIRS] = cells @ factors  # wraps around
    return keys


def _alike(
    stores: Sequence[np.ndarray], pairs: np.ndarray, chunk: int, *, closely: np.ndarray, turn: Turn = AS_IT_IS
) -> np.ndarray:
    """(P,) bool: which pairs of image numbers are near-copies, by their pixels, the second turned.

    closely (P,) bool: for which of them shifts and other sizes are tried.
    """
    alike = np.zeros(len(pairs), dtype=bool)
    chunk = max(1, chunk // PAIR_SHARE)
    for first in range(0, len(pairs), chunk):
        piece = pairs[first : first + chunk]
        ones, twos = _read(stores, piece[:, 0]), _read(stores, piece[:, 1])
        twos = turn.of_pixels(twos)
        alike[first : first + chunk] = _same_picture(ones, twos)
        rows = np.flatnonzero(~alike[first : first + chunk] & closely[first : first + chunk])
        if len(rows):
            alike[first + rows] = _changed_copies(ones[rows], twos[rows])
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


def _changed_copies(ones: np.ndarray, twos: np.ndarray) -> np.ndarray:
    """(P,) bool for two (P, S, S, 3) float32 batches: the same picture but shifted by a pixel, or halved in size."""
    found = np.zeros(len(ones), dtype=bool)
    details = [_detail(pixels) for pixels in (ones, twos)]
    blurred = [_blurred(detail) for detail in details]
    shifts = [(_beside(blurred[0], *by), _beside(blurred[1], -by[0], -by[1])) for by in SHIFTS]
    likeness = np.stack([_correlation(*shift) for shift in shifts])
    near = np.maximum(likeness.max(axis=0), _correlation(*blurred)) > MIN_BLURRED_DETAIL
    for number, (down, across) in enumerate(SHIFTS):
        rows = np.flatnonzero(near & (likeness.argmax(axis=0) == number))
        if len(rows):
            found[rows] = _same_picture(_beside(ones[rows], down, across), _beside(twos[rows], -down, -across))
    for halving in _halvings(ones.shape[1]):
        for kept, other in ((0, 1), (1, 0)):
            rows = np.flatnonzero(near & ~found)
            likeness = _correlation(details[kept][rows], halving @ details[other][rows] @ halving.T)
            rows = rows[likeness > MIN_DETAIL]
            if len(rows):
                halved = np.einsum("yh,phwc,xw->pyxc", halving, (ones, twos)[other][rows], halving, optimize=True)
                found[rows] = _same_picture((ones, twos)[kept][rows], halved)
    return found


@lru_cache(maxsize=4)
def _halvings(size: int) -> list[np.ndarray]:
    """(S, S) float32 each: what halving an image's side and doubling it again makes of a line, by Pillow's filters."""
    from PIL import Image

    def resizing(before: int, after: int, kind: Image.Resampling) -> np.ndarray:
        return np.asarray(Image.fromarray(np.eye(before, dtype=np.float32)).resize((after, before), kind)).T

    kinds = (Image.Resampling.BILINEAR, Image.Resampling.BICUBIC)
    return [resizing(size // 2, size, kind) @ resizing(size, size // 2, kind) for kind in kinds]


def _beside(images: np.ndarray, down: int, across: int) -> np.ndarray:
    """(P, S - 1, S - 1, ...): what an image shares with one shifted by -1, 0 or 1 pixel each way."""
    down, across, side = max(0, down), max(0, across), images.shape[1] - 1
    return images[:, down : down + side, across : across + side]


def _blurred(grey: np.ndarray) -> np.ndarray:
    """(P, S, S): means over 3x3 pixels."""
    side = grey.shape[1]
    wide = np.pad(grey, ((0, 0), (1, 1), (1, 1)), mode="edge")
    lines = wide[:, :side] + wide[:, 1:-1] + wide[:, 2:]
    return np.asarray((lines[:, :, :side] + lines[:, :, 1:-1] + lines[:, :, 2:]) / 9)


def _same_picture(ones: np.ndarray, twos: np.ndarray) -> np.ndarray:
    """(P,) bool for two (P, S, S, 3) float32 batches: alike in every part, in colour and in fine detail.

    The same for the two the other way round, or what is called a copy would depend on the order of the images.
    """
    shrink = shrinking(ones.shape[1], THUMBNAIL)
    one, two = _shrunk(ones, shrink), _shrunk(twos, shrink)
    greys = grey_of(one), grey_of(two)
    deviations = [np.maximum(grey.std(axis=(1, 2)), 1e-6) for grey in greys]
    gain = deviations[0] / deviations[1]
    shift = one.mean(axis=(1, 2, 3)) - two.mean(axis=(1, 2, 3))
    units = [(part - part.mean(axis=(1, 2, 3), keepdims=True)) / deviation[:, None, None, None]
             for part, deviation in zip((one, two), deviations, strict=True)]  # fmt: skip
    difference = np.abs(units[0] - units[1]).mean(axis=3)  # of the deviation
    details = [_detail(pixels) for pixels in (ones, twos)]
    deviation = np.sqrt(deviations[0] * deviations[1])
    detail = np.sqrt(details[0].std(axis=(1, 2)) * details[1].std(axis=(1, 2)))
    return (
        (difference.mean(axis=(1, 2)) < FURTHEST_MEAN)
        & (difference.max(axis=(1, 2)) * deviation < np.minimum(FURTHEST_CELL, CELL_TO_DETAIL * detail))
        & (np.maximum(gain, 1 / gain) < MAX_GAIN)
        & (np.abs(shift) < FURTHEST_SHIFT)
        & (_correlation(*details) > MIN_DETAIL)
    )


def _busy(grey: np.ndarray) -> np.ndarray:
    """(P,) share of the steps between neighbouring cells of (P, T, T) thumbnails that are above `BUSY_STEP`."""
    down, across = np.abs(np.diff(grey, axis=1)), np.abs(np.diff(grey, axis=2))
    return ((down > BUSY_STEP).mean(axis=(1, 2)) + (across > BUSY_STEP).mean(axis=(1, 2))) / 2


def _detail(pixels: np.ndarray) -> np.ndarray:
    """(P, S, S) float32: grey pixels less their mean over a square window of about an eighth of the side."""
    grey = grey_of(pixels)
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


def _places(stores: Sequence[np.ndarray], numbers: Sequence[int] | np.ndarray) -> list[Place]:
    starts = np.cumsum([0, *map(len, stores)])
    numbers = np.asarray(numbers, dtype=np.int64)
    of_store = np.searchsorted(starts, numbers, side="right") - 1
    return list(zip(of_store.tolist(), (numbers - starts[of_store]).tolist(), strict=True))


def _shrunk(pixels: np.ndarray, shrink: np.ndarray) -> np.ndarray:
    """(N, T, T, 3) float32 cell means of (N, S, S, 3) pixels; each image by itself, whatever N is."""
    count, size = pixels.shape[:2]
    cells = shrink.shape[0]
    lines = shrink @ pixels.reshape(count, size, size * 3).astype(np.float32)
    return shrink @ lines.reshape(count, cells, size, 3)


def _cosines(size: int) -> np.ndarray:
    """(size, size) float32: row k is the k-th wave of the orthonormal discrete cosine transform (DCT-II)."""
    angles = np.pi * np.arange(size)[:, None] * (np.arange(size) + 0.5) / size
    scale = np.where(np.arange(size) == 0, 1, 2)[:, None] / size
    return (np.sqrt(scale) * np.cos(angles)).astype(np.float32)
