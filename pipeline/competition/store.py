"""The uint8 store of one table's images, and what was seen in them: what decoding hands over."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.base.files import made_by, read_json, refuse_altered


@dataclass(frozen=True, kw_only=True)
class Store:
    """data/images/{train,test}.json: one uint8 array file of shape (num_images, size, size, 3)."""

    num_images: int
    size: int  # pixels
    sha256: str

    def __post_init__(self) -> None:
        if not isinstance(self.num_images, int) or not isinstance(self.size, int):
            raise TypeError(f"a store of {self.num_images!r} images of {self.size!r} pixels")


@dataclass(frozen=True, kw_only=True)
class StoreFormat:
    """data/images/format.json: how the training images were stored, so that the test images are stored alike."""

    size: int  # pixels
    bits: int  # that 16-bit grey uses: the upper 8 of these are stored


@dataclass(frozen=True, kw_only=True)
class Seen:
    """data/images/{train,test}_report.json: what was seen while the store was written."""

    formats: dict[str, int]
    modes: dict[str, int]
    sizes: dict[str, int]  # such as 640x480, before resizing
    num_constant: int  # stored images that show nothing
    oddities: dict[str, list[int]]  # name of an oddity -> rows that have it


def read_format(path: Path) -> StoreFormat:
    """format.json. Raises ValueError where it is not one."""
    return _record(path, "decode_train", StoreFormat)


def read_report(path: Path, stage: str) -> Seen:
    """What `stage` saw. Raises ValueError where the file does not say it."""
    found: Seen = _record(path, stage, Seen)
    return found


def read_description(path: Path) -> Store:
    """What a store holds. Raises ValueError where the file does not say it."""
    return _record(path, f"decode_{path.stem}", Store)


def _record(path: Path, stage: str, record: Callable[..., Any]) -> Any:
    with made_by(stage, path):
        try:
            return record(**read_json(path))
        except TypeError as error:
            raise ValueError(f"{path} is not of this version ({error})") from error


def read_store(images: Path, description: Path, *, num_rows: int, table: Path) -> tuple[np.ndarray, Store]:
    """The store at `images` as a memory map (N, S, S, 3) uint8, and its description.

    Writing to the array would not reach the file. Raises ValueError where the file is not as it was described when it
    was written (the digest takes 0.8 s a GB), or has not the `num_rows` of its `table`.
    """
    stage, described = f"decode_{images.stem}", read_description(description)
    with made_by(stage, images):
        try:
            store = np.load(images, mmap_mode="c", allow_pickle=False)
        except EOFError as error:
            raise ValueError(f"{images} is damaged ({error})") from error
        expected = (described.num_images, described.size, described.size, 3)
        if store.shape != expected or store.dtype != np.uint8:
            raise ValueError(f"{images} holds {store.dtype} {store.shape}, {description} says uint8 {expected}")
    if num_rows != len(store):
        raise ValueError(
            f"{table} has {num_rows} rows, its store {images} has {len(store)} images; "
            f"run `dvc repro -f ingest {stage}`"
        )
    refuse_altered(images, described.sha256, stage=stage)
    return store, described
