"""Arrays of images in numpy's files (MedMNIST) and in IDX files (MNIST) become images and tables as pixel tables do.

`train_images` and `train_labels` of `data.npz` are the table `data.npz/train`; `X_train.npy` and `y_train.npy` are
`X_train.npy`; `images` and `labels` of `train.npz` are `train.npz`. Arrays of Python's objects are not read. MNIST's
IDX files are arrays too: `train-images-idx3-ubyte` is `train-images`, `t10k-images-idx3-ubyte` is `test-images`.
"""

import io
import math
import re
import zipfile
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import PurePosixPath

import numpy as np

from pipeline.base.texts import Texts
from pipeline.tables.delimited import LABEL_COLUMN
from pipeline.tables.pixel_rows import PixelRows, compact
from pipeline.tables.table import Table, without_index
from pipeline.tables.words import ROLE_OF_WORD, SIDE_WORDS, words_of

ARRAYS = (".npz", ".npy")
IDX = re.compile(r"[.\-_]idx[1-4]-\w+$")  # at the end of a name
IDX_TYPES = {8: "u1", 9: "i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}
UNNAMED = "arr_0"  # what numpy calls an array that was saved without a name
TEN_THOUSAND = "t10k"  # how MNIST calls its test images
IMAGE_KEYS = {"image", "images", "img", "imgs", "x", "pixels", "data", "arr"}
LABEL_KEYS = {"label", "labels", "y", "target", "targets", "class", "classes"}
ID_KEYS = {"id", "ids", "index", "idx"}
ID_COLUMN = "id"
MAX_SMALL = 4  # arrays of one shape, whatever that is
MIN_SIDE = 7  # pixels
CHANNELS = (1, 3)
Named = tuple[str, str]  # (member, name of the array in it)


def read_arrays(name: str, content: bytes) -> dict[Named, np.ndarray]:
    """The arrays of a .npz, a .npy or an IDX file. Raises ValueError for what is none, and for arrays of objects."""
    if IDX.search(name):
        return read_idx(name, content)
    try:
        loaded = np.load(io.BytesIO(content), allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return {(name, PurePosixPath(name).stem): loaded}
        if loaded.files == [UNNAMED]:  # called as its file is: `k49-train-imgs.npz`
            called = PurePosixPath(name).with_suffix("")
            return {(str(called), called.name): loaded[UNNAMED]}
        return {(name, key): loaded[key] for key in loaded.files}
    except (ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile) as error:
        # what is none is taken for a pickle by numpy, whose advice would run the code in it
        reason = "it is none, or holds Python's objects" if "pickle" in str(error) else error
        raise ValueError(f"is not readable as numpy's arrays of numbers and texts: {reason}") from error


def holds_arrays(name: str) -> bool:
    """Whether a file of this name may hold arrays."""
    return name.lower().endswith(ARRAYS) or IDX.search(name) is not None


def read_idx(name: str, content: bytes) -> dict[Named, np.ndarray]:
    """The array of an IDX file, under its name less what says so. Raises ValueError for what is none."""
    kind, num_sides = content[2:4].ljust(2, b"\0")
    start = 4 + 4 * num_sides
    sides = np.frombuffer(content[4:start], ">u4").tolist()
    array = np.frombuffer(content[start:], IDX_TYPES.get(kind, "u1"))
    if content[:2] != bytes(2) or kind not in IDX_TYPES or len(sides) != num_sides or math.prod(sides) != len(array):
        raise ValueError(f"is called as IDX files are, and is none or cut short ({len(content):,} bytes)")
    called = IDX.sub("", name).replace(TEN_THOUSAND, "test")
    return {(called, PurePosixPath(called).name): array.reshape(sides)}


def image_arrays(arrays: Mapping[Named, np.ndarray]) -> list[PixelRows]:
    """The arrays of images, each with the columns of those arrays that have as many rows and belong to it.

    They do where no other images of their file (.npy: of their folder) have as many rows, or where both are called
    alike but for words such as `images` and `labels`. Masks beside images are none, nor are files of one image each.
    """
    found = {key: read for key, array in arrays.items() if (read := _as_images(array)) is not None}
    files = Counter(array.shape for array in found.values())  # more than each has rows: a file is one image's channels
    found = {key: array for key, array in found.items() if files[array.shape] <= max(len(array), MAX_SMALL)}
    images = {key: array for key, array in found.items() if not SIDE_WORDS & set(words_of(key[1]))} or found
    names = _names_of(images)
    rows = []
    for key, array in images.items():
        alike = [other for other in images if _place(other) == _place(key) and len(images[other]) == len(array)]
        own = [
            other
            for other, cells in arrays.items()
            if other not in found
            and _place(other) == _place(key)
            and cells.shape[:1] == array.shape[:1]
            and (len(alike) == 1 or _are_of(other, key))
        ]
        labels = [other for other in own if (LABEL_KEYS | {"arr"}) & set(words_of(other[1]))]
        labels = [other for other in labels if _are_of(other, key)] or labels
        columns: dict[str, Texts] = {}
        for other in own:
            name = LABEL_COLUMN if labels == [other] else ID_COLUMN if _says_id(other[1]) else other[1]
            columns |= _columns(other[1] if name in columns else name, arrays[other])
        table = Table(names[key], tuple(columns), tuple(columns.values()))
        values = compact(array).reshape(len(array), -1)
        rows.append(PixelRows(names[key], table, (), values, sides=array.shape[1:]))
    return rows


def with_labels(rows: PixelRows, tables: Mapping[str, Table]) -> PixelRows:
    """With the labels of a table of as many rows and no ids that is called alike: `y_train.csv` of `X_train.npy`."""
    if rows.rest.header:
        return rows
    found = [
        labels
        for table in tables.values()
        if table.num_rows == len(rows.values)
        and len((labels := without_index(table)).header) == 1
        and LABEL_KEYS & set(words_of(table.stem))
        and _place((table.name, "")) == _place((rows.name, ""))
        and _are_of((table.name, table.stem), (rows.name, rows.rest.stem))
    ]
    return replace(rows, rest=replace(found[0], name=rows.name)) if len(found) == 1 else rows


def _names_of(images: Collection[Named]) -> dict[Named, str]:
    """What the table of each is called: `data.npz/train` of `train_images`, its whole name if two are."""
    found = {key: "_".join(_rest(key, numbered=False)) if key[0].lower().endswith(".npz") else "" for key in images}
    counts = Counter((key[0], rest) for key, rest in found.items())
    called = {key: rest if counts[key[0], rest] == 1 else key[1] for key, rest in found.items()}
    return {key: f"{key[0]}/{name}" if name else key[0] for key, name in called.items()}


def _place(key: Named) -> str:
    return key[0] if key[0].lower().endswith(".npz") else key[0].rpartition("/")[0] + "/"


def _are_of(other: Named, images: Named) -> bool:
    """Whether both are called alike, `y_train_2` and `x_train_2`; `y_train` is of `x_train_28` and `x_train_64`."""
    return sorted(_rest(other)) in (sorted(_rest(images)), sorted(_rest(images, numbered=False)))


def _rest(key: Named, *, numbered: bool = True) -> list[str]:
    """The words of an array's name that do not say whether it holds images or labels: `train`; its numbers too."""
    words = (word for word in words_of(key[1]) if word not in IMAGE_KEYS | LABEL_KEYS)
    return [word for word in words if numbered or not word.isdigit()]


def _says_id(name: str) -> bool:
    """Whether an array is called after ids alone: `test_ids`, `image_id`."""
    words = set(words_of(name))
    return bool(ID_KEYS & words) and words <= {*ID_KEYS, *IMAGE_KEYS, *ROLE_OF_WORD}


def _as_images(array: np.ndarray) -> np.ndarray | None:
    """(N, H, W) or (N, H, W, 3); None for an array that holds something else."""
    if array.dtype.kind not in "uifb" or not array.size:
        return None
    if array.ndim == 4 and array.shape[-1] not in CHANNELS and array.shape[1] in CHANNELS:
        array = array.transpose(0, 2, 3, 1)
    if array.ndim == 4 and array.shape[-1] == 1:
        array = array[..., 0]
    is_image = array.ndim == 3 or (array.ndim == 4 and array.shape[-1] == CHANNELS[-1])
    return array if is_image and min(array.shape[1:3]) >= MIN_SIDE else None


def _columns(name: str, array: np.ndarray) -> dict[str, Texts]:
    """Text columns of a (N,) or (N, C) array; none of more dimensions."""
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim > 2:
        return {}
    columns = {name: array} if array.ndim == 1 else {f"{name}_{at}": column for at, column in enumerate(array.T)}
    return {called: Texts(map(_cell, column.tolist())) for called, column in columns.items()}


def _cell(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode()
    return re.sub(r"\.0$", "", str(int(value) if isinstance(value, bool) else value))
