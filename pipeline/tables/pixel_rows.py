"""Pixel tables: CSVs in which each row is an image, a column a pixel or one column all of them, become images.

Their bytes are PGM or PPM, without loss for whole numbers from 0 to 255, made when they are read.
"""

import contextlib
import csv
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice

import numpy as np

from pipeline.archive.archive import Archive
from pipeline.archive.formats import Container
from pipeline.base.texts import Texts
from pipeline.tables.delimited import LABEL_COLUMN, PATH_COLUMN, delimited_rows
from pipeline.tables.table import AUTO, Table, first_counted

MIN_PIXELS = 49  # 7 x 7: fewer columns of numbers are features
PIECE = 256  # rows that are Python's strings at once
NUM_COMPARED = 64  # images by which the order of channels is told
CLEARLY = 1.25  # times as rough is one order of channels as the other
TOPS = (1, 16, 64, 255)  # ranges that pixels come in: 0/1 or shares, 4 bits, 6 bits, 8 bits
ID_WORDS = re.compile(r"(image_?)?(ids?|index|idx)", re.IGNORECASE)
NUMBERS = re.compile(r"\s*\[?\s*-?[\d.]+(?:[eE][-+]?\d+)?(?:[\s,;]+-?[\d.]+(?:[eE][-+]?\d+)?)+\s*\]?\s*")
COLUMN_BEFORE_ROW = re.compile(r"(.*[^a-z])?(c|col|column|x)[\W_]*\d+[\W_]*(r|row|y)[\W_]*\d+", re.IGNORECASE)
NUMBER_AT_END = re.compile(r"(\d+)(?:\.[A-Za-z]+)?$")  # 7 of test_7.png
SHAPE = re.compile(r"(?:3x)?(\d{1,4})x(\d{1,4})(?:x3)?")


@dataclass(frozen=True)
class PixelRows:
    """A pixel table as it was read."""

    name: str
    rest: Table  # its other columns
    pixel_names: tuple[str, ...]  # of the columns; none where one column holds all
    values: np.ndarray  # (N, P) uint8, or float32 where a value is no whole number from 0 to 255
    sides: tuple[int, ...] = ()  # of an image, (H, W) or (H, W, 3), where the file says them


def read_pixels(name: str, text: str) -> PixelRows | None:
    """The pixel table in a CSV; None where it is another table. Raises ValueError for rows that do not fit."""
    try:
        return _read(name, *delimited_rows(text))
    except csv.Error as error:
        raise ValueError(f"is not a readable CSV: {error}") from error


def _read(name: str, header: tuple[str, ...], rows: Iterator[list[str]]) -> PixelRows | None:
    first = next(rows, None)
    if first is None or len(first) != len(header):
        return None
    rows = chain([first], rows)
    if (
        len(header) > MIN_PIXELS
        and all(re.fullmatch(r"\d+", cell) for cell in header)
        and len(set(header)) < len(header)
    ):
        rows = chain([list(header)], rows)
        has_label = _side(len(header)) is None and _side(len(header) - 1) is not None
        header = ((LABEL_COLUMN,) if has_label else ()) + tuple(f"pixel{n}" for n in range(len(header) - has_label))
    place = _column_of_all(first)
    start, stop = (place, place + 1) if place is not None else _block(header)
    if stop == start:
        return None
    others = [at for at in range(len(header)) if not start <= at < stop]
    own = [header[at].strip() for at in others]
    cells: list[list[str]] = []
    values = _values(rows, len(header), start, stop, others, cells)
    columns = [Texts(column) for column in zip(*cells, strict=True)] if others else []
    names = header[start:stop] if place is None else ()
    order = _order(names)
    if order != sorted(order):
        values, names = values[:, order], tuple(names[at] for at in order)
    return PixelRows(name, Table(name, tuple(own), tuple(columns)), names, values)


def _column_of_all(row: Sequence[str]) -> int | None:
    """The column whose cell is a list of many numbers."""
    found = (at for at, cell in enumerate(row) if len(cell) > 2 * MIN_PIXELS and NUMBERS.fullmatch(cell))
    return next((at for at in found if len(_numbers(row[at])) >= MIN_PIXELS), None)


def _block(header: Sequence[str]) -> tuple[int, int]:
    """(first, last + 1) of the columns that are called alike but for numbers, in three such blocks for R, G and B."""
    kinds = [re.sub(r"\d+", "#", name.strip()) for name in header]
    counts = Counter(kind for kind in kinds if "#" in kind)
    most = max(counts.values(), default=0)
    alike = {kind for kind, count in counts.items() if count == most}
    places = [at for at, kind in enumerate(kinds) if kind in alike]
    is_block = places and places == list(range(places[0], places[-1] + 1)) and len(alike) in (1, 3)
    return (places[0], places[-1] + 1) if is_block and len(places) >= MIN_PIXELS else (0, 0)


def _order(names: Sequence[str]) -> list[int]:
    """The places of the pixels' columns by their numbers: pixel2 before pixel10, y0x5 before y1x0, x5y0 before x0y1."""
    numbers = [tuple(map(int, re.findall(r"\d+", name))) for name in names]
    if len(set(map(len, numbers))) != 1 or len(set(numbers)) < len(names):
        return list(range(len(names)))  # of R, G and B, say
    if COLUMN_BEFORE_ROW.fullmatch(names[0].strip()):
        numbers = [number[::-1] for number in numbers]
    return sorted(range(len(names)), key=numbers.__getitem__)


def _values(
    rows: Iterator[list[str]], width: int, start: int, stop: int, others: Sequence[int], cells: list[list[str]]
) -> np.ndarray:
    """(N, P) uint8 or float32, the pixels; the cells of `others` are put into `cells`."""
    pieces: list[np.ndarray] = []
    while some := list(islice(rows, PIECE)):
        texts = [" ".join(row[start:stop]) for row in some]
        if stop - start > 1:  # 0,5 in a cell of its own is no two numbers
            texts = [text.replace(",", ".") for text in texts]
        found = [_numbers(text) if len(row) == width else np.empty(0) for text, row in zip(texts, some, strict=True)]
        due = pieces[0].shape[1] if pieces else len(found[0])
        for row, numbers in zip(some, found, strict=True):
            if len(numbers) != due or due < max(stop - start, MIN_PIXELS):
                raise ValueError(
                    f"has {len(numbers)} numbers in row {len(cells) + 1}, other rows have more or fewer pixels"
                )
            cells.append([row[at].strip() for at in others])
        pieces.append(compact(np.stack(found)))
    return np.concatenate(pieces)


def compact(values: np.ndarray) -> np.ndarray:
    """As uint8, or as float32 where a value is no whole number from 0 to 255."""
    with np.errstate(invalid="ignore"):  # NaN stays in the float32
        whole = values.astype(np.uint8)
    return whole if np.array_equal(whole, values) else values.astype(np.float32)


def _numbers(text: str) -> np.ndarray:
    """(P,) int32 or float32; none where something is no number."""
    with contextlib.suppress(ValueError):
        return np.fromstring(text, dtype=np.int32, sep=" ")  # a third of the time
    try:
        return np.array(re.split(r"[\s,;]+", text.strip(" []\t")), dtype=np.float32)
    except ValueError:
        return np.empty(0, dtype=np.float32)


# -- as images


class PixelImages(Container):
    """The rows of a pixel table, each the bytes of a PGM or PPM file."""

    def __init__(self, where: str, names: Texts, images: np.ndarray) -> None:
        """images: (N, H, W) or (N, H, W, 3) uint8."""
        self.where, self.names, self.left_aside = where, names, Counter()
        self._images = images
        height, width = images.shape[1:3]
        self._head = b"P%d\n%d %d\n255\n" % (5 if images.ndim == 3 else 6, width, height)
        self.sizes = np.full(len(images), len(self._head) + images[0].nbytes, dtype=np.int64)

    def read(self, row: int) -> bytes:
        """The file's bytes."""
        return self._head + self._images[row].tobytes()

    def head(self, row: int, size: int) -> bytes:
        """Its first bytes."""
        return self.read(row)[:size]


def add_images(
    archive: Archive, found: Sequence[PixelRows], tables: Mapping[str, Table], shape: str = AUTO
) -> tuple[dict[str, Table], list[str]]:
    """(tables of the pixel tables' other columns and a path column, notes); the images become members of `archive`.

    They are called `train.csv/1.pgm`, by the table's id column or by their row, from 1; from 0 where another one of
    the `tables` counts as many rows so. shape: HxW, HxWx3 (a pixel's three values side by side), 3xHxW (one colour
    after the other), or `auto`. Raises ValueError where sides, channels or range cannot be told.
    """
    top = float(np.max([rows.values.max() for rows in found]))  # NaN where one is NaN
    low = float(np.min([rows.values.min() for rows in found]))
    shares = [rows.name for rows in found if rows.values.max() <= 1 < top]
    if shares:
        raise ValueError(f"pixels of {shares[0]} go from 0 to 1, those of others to {top:g}; write all in one range")
    odd = next((rows.name for rows in found if not np.isfinite(rows.values).all()), "")
    if odd:
        raise ValueError(f"{odd} has pixels that are no numbers (NaN, inf); write each as 0 to 255")
    factor = _factor(low, top, is_whole=all(rows.values.dtype == np.uint8 for rows in found))
    added: dict[str, Table] = {}
    notes = []
    for rows in found:
        images = _shaped(rows, shape)
        if factor != 1:
            images = np.rint(images * np.float32(factor)).astype(np.uint8)
        numbers = _names(rows, tables)
        suffix = "pgm" if images.ndim == 3 else "ppm"
        paths = Texts(f"{rows.name}/{number}.{suffix}" for number in numbers)
        archive.add(PixelImages(f"{archive.path}/{rows.name}", paths, np.ascontiguousarray(images, dtype=np.uint8)))
        column = PATH_COLUMN if PATH_COLUMN not in rows.rest.header else "pixel_path"
        added[rows.name] = Table(rows.name, (*rows.rest.header, column), (*rows.rest.cells, paths))
        kind = "x".join(map(str, images.shape[1:]))
        said = f", values 0 to {top:g} times {factor:g}" if factor != 1 else ""
        notes.append(f"pixel table: {rows.name}, {len(images):,} images of {kind}{said}")
    return added, notes


def _factor(low: float, top: float, *, is_whole: bool) -> float:
    """What pixels are multiplied by, to go from 0 to 255."""
    most = next((limit for limit in TOPS if top <= limit), 0)
    is_sized = most in (TOPS[0], TOPS[-1]) or (most and is_whole)  # 0 to 1.02, rounded, would be black
    if low < 0 or not is_sized:
        fractions = " with fractions" if most else ""
        raise ValueError(f"pixels go from {low:g} to {top:g}{fractions}; must be 0 to 255, or 0 to 1: write them so")
    return 255 / most


def _names(rows: PixelRows, tables: Mapping[str, Table]) -> Sequence[str]:
    for column, cells in zip(rows.rest.header, rows.rest.cells, strict=True):
        if ID_WORDS.fullmatch(column) and cells.all_distinct() and not any("/" in cell or not cell for cell in cells):
            return cells
    count = len(rows.values)
    alike = [cells for table in tables.values() for cells in table.cells if table.num_rows == count]
    numbers = ([NUMBER_AT_END.search(cell) for cell in cells] for cells in alike)
    firsts = {first_counted([found[1] for found in some if found]) for some in numbers if all(some)}
    start = 0 if firsts - {None} == {0} else 1  # an index column may stand beside the ids
    return [str(number) for number in range(start, start + count)]


def _side(num_pixels: int) -> int | None:
    side = math.isqrt(num_pixels)
    return side if side * side == num_pixels and num_pixels >= MIN_PIXELS else None


def _shaped(rows: PixelRows, shape: str) -> np.ndarray:
    """(N, H, W) or (N, H, W, 3), of the dtype of the values."""
    values, count = rows.values, rows.values.shape[1]
    if rows.sides:
        return values.reshape(-1, *rows.sides)
    if shape != AUTO:
        found = SHAPE.fullmatch(shape)
        height, width = (int(found[1]), int(found[2])) if found else (0, 0)
        channels = 3 if shape.startswith("3x") or shape.endswith("x3") else 1
        if height * width * channels != count:
            raise ValueError(
                f"competition.pixels is {shape!r}; {rows.name} has {count} pixels a row: HxW, HxWx3 or 3xHxW"
            )
        if channels == 1:
            return values.reshape(-1, height, width)
        return _in_channels(values, height, width, planes=shape.startswith("3x"))
    sides = _sides_by_name(rows.pixel_names)
    if sides is not None:
        return values.reshape(-1, *sides)
    side, side_of_three = _side(count), _side(count // 3) if count % 3 == 0 else None
    if side is not None:
        return values.reshape(-1, side, side)
    if side_of_three is None:
        height = next(divisor for divisor in range(math.isqrt(count), 0, -1) if count % divisor == 0)
        lines = [
            f"    competition.pixels: {height}x{count // height}",
            f"    competition.pixels: {count // height}x{height}",
        ]
        raise ValueError("\n".join([f"{rows.name} has {count} pixels a row, no square; say height x width:", *lines]))
    planes = _has_planes(rows, side_of_three)
    return _in_channels(values, side_of_three, side_of_three, planes=planes)


def _in_channels(values: np.ndarray, height: int, width: int, *, planes: bool) -> np.ndarray:
    if planes:
        return values.reshape(-1, 3, height, width).transpose(0, 2, 3, 1)
    return values.reshape(-1, height, width, 3)


def _sides_by_name(names: Sequence[str]) -> tuple[int, int] | None:
    """(height, width) where columns are called by row and column: `1x1`, `1x2`, …."""
    found = [re.findall(r"\d+", name) for name in names]
    if not found or any(len(numbers) != 2 for numbers in found):
        return None
    height, width = (len({numbers[at] for numbers in found}) for at in (0, 1))
    return (height, width) if height * width == len(names) else None


def _has_planes(rows: PixelRows, side: int) -> bool:
    """Whether one colour comes after the other: by the columns' names, else by which order gives smoother images."""
    kinds = {re.sub(r"\d+", "#", name) for name in rows.pixel_names}
    if len(kinds) == 3:
        return re.sub(r"\d+", "#", rows.pixel_names[0]) == re.sub(r"\d+", "#", rows.pixel_names[1])
    some = rows.values[:NUM_COMPARED].astype(np.float32)
    rough = [
        float(np.abs(np.diff(_in_channels(some, side, side, planes=planes), axis=axis)).mean())
        for planes in (True, False)
        for axis in (1, 2)
    ]
    of_planes, of_pixels = sum(rough[:2]), sum(rough[2:])
    if max(of_planes, of_pixels) < CLEARLY * min(of_planes, of_pixels):
        lines = [
            f"    competition.pixels: 3x{side}x{side}    # red, then green, then blue",
            f"    competition.pixels: {side}x{side}x3",
        ]
        raise ValueError("\n".join([f"{rows.name}: the order of three colours cannot be told; say it:", *lines]))
    return of_planes < of_pixels
