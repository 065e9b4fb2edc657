"""The uint8 store: all images of one table in one .npy of shape (N, S, S, 3), written once, mapped ever after."""

import contextlib
import hashlib
import os
import statistics
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from tqdm import tqdm

from pipeline.images.decode import Decoded, decode_image, shown_kind

CHUNK = 256  # images whose bytes are in memory at once
THREADS_PAY_FROM = 30_000  # bytes a file: under it Pillow's threads cost more than they gain (measured: 0.43x)
AUTO_SAMPLE = 256
AUTO_LARGEST = 128  # pixels: what a ResNet9 trained from scratch makes use of on one machine
AUTO_SMALLEST = 8


@dataclass
class StoreReport:
    """What was seen while a store was written."""

    sha256: list[str] = field(default_factory=list)  # of each file's bytes, row by row
    failures: list[tuple[int, str]] = field(default_factory=list)  # (row, reason)
    formats: Counter[str] = field(default_factory=Counter)
    modes: Counter[str] = field(default_factory=Counter)
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)  # (width, height) before resizing
    oddities: dict[str, list[int]] = field(default_factory=dict)  # name of an oddity -> rows that have it


def auto_size(names: Sequence[str], read: Callable[[str], bytes]) -> int:
    """Median shorter side of up to 256 images spread over `names`, held between 8 and 128 pixels."""
    step = max(1, len(names) // AUTO_SAMPLE)
    sides: list[int] = []
    for name in names[::step]:
        with contextlib.suppress(OSError):  # reported when it is decoded
            kind = shown_kind(read(name)) if name else None
            sides += [min(kind[:2])] if kind is not None else []
    return min(max(int(statistics.median(sides)), AUTO_SMALLEST), AUTO_LARGEST) if sides else AUTO_LARGEST


def write_store(
    path: Path, names: Sequence[str], read: Callable[[str], bytes], *, size: int, fit: str, title: str
) -> StoreReport:
    """Decode `names` in order into a (N, size, size, 3) uint8 memory map, written straight to `path`.

    Memory stays bounded: `CHUNK` files at a time, pages written back by the system. A file that cannot be read or
    decoded is noted in the report with its row, and that row is left zero: a caller must not keep the file then.
    Empty names are passed over (the caller knows why they are empty).
    """
    report = StoreReport()
    pixels = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=(len(names), size, size, 3))
    _reserve(path)
    rows = _decoded_rows(names, read, size=size, fit=fit)
    for row, (digest, decoded) in enumerate(tqdm(rows, title, total=len(names), unit=" images", disable=None)):
        report.sha256.append(digest)
        if isinstance(decoded, Decoded):
            pixels[row] = decoded.pixels
            report.formats[decoded.format] += 1
            report.modes[decoded.mode] += 1
            report.sizes[(decoded.width, decoded.height)] += 1
            for oddity in decoded.oddities:
                report.oddities.setdefault(oddity, []).append(row)
        elif names[row]:
            report.failures.append((row, decoded))
    pixels.flush()
    return report


def _reserve(path: Path) -> None:
    """Raise OSError now if the disk has no room: a write to a memory map that finds none kills the process."""
    if not hasattr(os, "posix_fallocate"):
        return
    num_bytes = path.stat().st_size
    with path.open("r+b") as handle:
        try:
            os.posix_fallocate(handle.fileno(), 0, num_bytes)
        except OSError as error:
            raise OSError(error.errno, f"{num_bytes:,} bytes are needed") from error


def _decoded_rows(
    names: Sequence[str], read: Callable[[str], bytes], *, size: int, fit: str
) -> Iterator[tuple[str, Decoded | str]]:
    """(sha256 of the file, the decoded image or the reason why there is none), in order."""

    def decoded(name: str) -> tuple[str, Decoded | str]:
        if not name:
            return "", ""
        try:
            content = read(name)
        except OSError as error:
            return "", str(error)
        digest = hashlib.sha256(content).hexdigest()
        try:
            return digest, decode_image(content, size, fit)
        except ValueError as error:
            return digest, str(error)

    threads = _threads_that_pay(names, read)
    if threads == 1:
        yield from map(decoded, names)
        return
    with ThreadPoolExecutor(threads) as pool:
        for start in range(0, len(names), CHUNK):
            yield from pool.map(decoded, names[start : start + CHUNK])


def _threads_that_pay(names: Sequence[str], read: Callable[[str], bytes]) -> int:
    sizes = []
    for name in names[:: max(1, len(names) // 16)]:
        with contextlib.suppress(OSError):  # reported when its turn comes
            sizes.append(len(read(name)) if name else 0)
    return (os.cpu_count() or 1) if sizes and statistics.fmean(sizes) > THREADS_PAY_FROM else 1


def read_store(path: Path, *, num_images: int, size: int) -> np.ndarray:
    """The store at `path` as a memory map (N, S, S, 3) uint8; writing to it would not reach the file.

    Raises ValueError where it is not the store that the schema describes.
    """
    try:
        store = np.load(path, mmap_mode="c", allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        if isinstance(error, FileNotFoundError):
            raise
        raise ValueError(f"{path} is damaged ({error}); run `dvc repro -f ingest`") from error
    expected = (num_images, size, size, 3)
    if store.shape != expected or store.dtype != np.uint8:
        raise ValueError(
            f"{path} holds {store.dtype} {store.shape}, the schema says uint8 {expected}; run `dvc repro -f ingest`"
        )
    return store
