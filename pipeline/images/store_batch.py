"""A batch of image files -> rows of the store, and what was seen in them."""

import hashlib
from array import array
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pipeline.images.decode import Decoded, decode_image

CONSTANT_WITHIN = 1  # grey levels between the brightest and the darkest value of an image


class Batch(NamedTuple):
    """Files that follow one another in the store."""

    first: int  # row
    contents: list[bytes | str]  # of each file; or why there is none, "" where none is expected


@dataclass
class StoreReport:
    """What was seen while rows of a store were written."""

    sha256: list[str] = field(default_factory=list)  # of each file's bytes, row by row; "" where there was no file
    failures: list[tuple[int, str]] = field(default_factory=list)  # (row, reason)
    formats: Counter[str] = field(default_factory=Counter)
    modes: Counter[str] = field(default_factory=Counter)
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)  # (width, height) before resizing
    num_constant: int = 0  # stored images that show nothing
    oddities: "dict[str, array[int]]" = field(default_factory=dict)  # name of an oddity -> rows that have it

    def note(self, row: int, decoded: Decoded) -> None:
        """Count one image."""
        self.formats[decoded.format] += 1
        self.modes[decoded.mode] += 1
        self.sizes[(decoded.width, decoded.height)] += 1
        for oddity in decoded.oddities:
            self.oddities.setdefault(oddity, array("q")).append(row)

    def add(self, part: "StoreReport") -> None:
        """Take in the report of the rows that follow."""
        self.sha256 += part.sha256
        self.failures += part.failures
        self.formats.update(part.formats)
        self.modes.update(part.modes)
        self.sizes.update(part.sizes)
        self.num_constant += part.num_constant
        for oddity, rows in part.oddities.items():
            self.oddities.setdefault(oddity, array("q")).extend(rows)


class StoreFile:
    """A store of shape (N, S, S, 3) that is there already, to be written a batch at a time, also by several processes.

    Not by a memory map: the first touch of each of its pages takes as long as decoding half an image of 32 px.
    """

    def __init__(self, path: Path) -> None:
        mapped = np.load(path, mmap_mode="r", allow_pickle=False)
        self.num_rows, self.size = mapped.shape[:2]
        self._start, self._row_bytes = mapped.offset, self.size * self.size * mapped.shape[3]
        self._handle = path.open("r+b")

    def write(self, first: int, pixels: np.ndarray) -> None:
        """Put (B, S, S, 3) uint8 `pixels` into the rows from `first` on. Raises OSError where the disk has no room."""
        self._handle.seek(self._start + first * self._row_bytes)
        self._handle.write(pixels.data)
        self._handle.flush()

    def close(self) -> None:
        """After the last `write`."""
        self._handle.close()


def decode_batch(store: StoreFile, batch: Batch, fit: str, bits: int) -> StoreReport:
    """Decode `batch` into its rows of `store`; fit and bits as `decode_image` takes them.

    A file that cannot be read or decoded is noted with its row, which becomes zero. Raises OSError as `write` does.
    """
    report = StoreReport()
    pixels = np.zeros((len(batch.contents), store.size, store.size, 3), dtype=np.uint8)
    for number, content in enumerate(batch.contents):
        row = batch.first + number
        if isinstance(content, str):
            report.sha256.append("")
            report.failures += [(row, content)] if content else []
            continue
        report.sha256.append(hashlib.sha256(content).hexdigest())
        try:
            decoded = decode_image(content, store.size, fit, bits)
        except ValueError as error:
            report.failures.append((row, str(error)))
            continue
        pixels[number] = decoded.pixels
        report.note(row, decoded)
        report.num_constant += int(decoded.pixels.max()) - int(decoded.pixels.min()) <= CONSTANT_WITHIN
    store.write(batch.first, pixels)
    return report
