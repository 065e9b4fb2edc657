"""Bytes by position: regions of the organiser's file and of one anonymous scratch file."""

import bz2
import contextlib
import gzip
import io
import lzma
import os
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO, cast

from tqdm import tqdm

from pipeline.base.console import progress_bar

PIECE = 1 << 20  # bytes in memory at once while something is unpacked
PROGRESS_FROM = 256 << 20  # packed bytes; less is unpacked before a bar would be read
ROOM_TO_LEAVE = 256 << 20  # bytes of the scratch disk that stay free for others

# What a sound competition stays below, with room to spare: images pack to about 1:1, tables to 1:10. Small totals
# pass whatever their ratio (a sample submission of zeros packs to 1:100 and more).
MAX_TOTAL_BYTES = 1 << 40
MAX_TOTAL_RATIO = 200
SMALL_TOTAL_BYTES = 64 << 20

DECOMPRESSORS: dict[str, Callable[[BinaryIO], Any]] = {"gz": gzip.open, "bz2": bz2.open, "xz": lzma.open}
# what decompressors raise; zipfile decodes a member's name once more when it is opened
BROKEN_STREAM = (
    EOFError, OSError, NotImplementedError, UnicodeDecodeError, lzma.LZMAError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip


@dataclass(frozen=True)
class Region:
    """`length` bytes of an open file from `start` on."""

    file: BinaryIO
    start: int
    length: int

    @classmethod
    def whole(cls, path: Path, closing: contextlib.ExitStack) -> "Region":
        """All of the file at `path`, which `closing` closes."""
        file = closing.enter_context(path.open("rb"))
        return cls(file, 0, os.fstat(file.fileno()).st_size)

    def read(self, offset: int = 0, size: int | None = None) -> bytes:
        """`size` bytes from `offset` on, all that follow without `size`. Raises OSError past the end."""
        part = self.part(offset, self.length - offset if size is None else size)
        self.file.seek(part.start)
        content = self.file.read(part.length)
        if len(content) < part.length:
            missing = part.length - len(content)
            raise OSError(f"{missing:,} of {part.length:,} bytes are missing at the end of the file")
        return content

    def head(self, size: int) -> bytes:
        """The first `size` bytes, or all where there are fewer."""
        return self.read(0, min(size, self.length))

    def part(self, offset: int, length: int) -> "Region":
        """A region of this region. Raises OSError where it does not lie inside."""
        if offset < 0 or length < 0 or offset + length > self.length:
            raise OSError(f"bytes {offset:,} to {offset + length:,} of {self.length:,} were asked for")
        return Region(self.file, self.start + offset, length)

    def write(self, offset: int, content: bytes) -> None:
        """Put `content` at `offset`. Raises OSError past the region's end."""
        part = self.part(offset, len(content))
        part.file.seek(part.start)
        part.file.write(content)

    def opened(self, buffer: int = 1 << 16) -> BinaryIO:
        """A seekable file object over the region, with a position of its own."""
        return cast(BinaryIO, io.BufferedReader(_RegionReader(self), buffer))


class _RegionReader(io.RawIOBase):
    def __init__(self, region: Region) -> None:
        self._region = region
        self._position = 0

    def readable(self) -> bool:
        """As io asks; so below."""
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, origin: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._region.length}[origin]
        if base + offset < 0:
            raise OSError(f"position {base + offset:,} lies before the start")
        self._position = base + offset
        return self._position

    def readinto(self, buffer) -> int:  # type: ignore[no-untyped-def]  # the buffer protocol has no name before 3.12
        size = max(0, min(len(buffer), self._region.length - self._position))
        buffer[:size] = self._region.read(self._position, size) if size else b""
        self._position += size
        return size


class Scratch:
    """One anonymous file, made when first needed, for what cannot be read in place; it only grows.

    `packed` is the size of all that the competition came in: a bomb of bombs is stopped by the sum. `closing` closes
    the file, which frees its disk space.
    """

    def __init__(self, packed: int, closing: contextlib.ExitStack) -> None:
        self.closing = closing
        self._packed, self._end = packed, 0

    def reserve(self, length: int, *, where: str) -> Region:
        """A region to be filled. Raises ValueError where the disk has no room for it."""
        self._check_room(length, where)
        self._check_sum(length, where)
        region = Region(self._file, self._end, length)
        self._end += length
        return region

    def keep(self, content: bytes, *, where: str) -> Region:
        """A region that holds `content`."""
        region = self.reserve(len(content), where=where)
        region.write(0, content)
        return region

    def unpack(self, stream: BinaryIO, *, where: str, packed: int, declared: int | None = None) -> Region:
        """The bytes of `stream`, made from `packed` bytes; a progress bar shows where they are many.

        Raises ValueError when they are more than `declared`, or than a sound archive of `packed` bytes holds, and
        before the disk is full.
        """
        start, most = self._end, limit_of(packed) if declared is None else declared
        self._check_room(packed if declared is None else declared, where)
        with progress(where, total=declared, packed=packed) as bar:
            for piece in _pieces(stream, where):
                if self._end + len(piece) - start > most:
                    raise ValueError(bomb_message(where, packed, most))
                self.keep(piece, where=where)
                bar.update(len(piece))
        return Region(self._file, start, self._end - start)

    @cached_property
    def _file(self) -> BinaryIO:
        return cast(BinaryIO, self.closing.enter_context(tempfile.TemporaryFile()))

    def _check_sum(self, added: int, where: str) -> None:
        if self._end + added > limit_of(self._packed):
            raise ValueError(bomb_message(f"what holds {where}", self._packed, limit_of(self._packed)))

    def _check_room(self, needed: int, where: str) -> None:
        disk = os.fstatvfs(self._file.fileno())
        free = disk.f_bavail * disk.f_frsize
        if needed + ROOM_TO_LEAVE > free:
            raise ValueError(
                f"{where} cannot be read in place; unpacking it takes {needed:,} bytes or more, and {free:,} are free "
                f"in {tempfile.gettempdir()}; make room there, or set TMPDIR to a folder on another disk"
            )


def progress(where: str, *, total: int | None, packed: int) -> tqdm:
    """A bar while many `packed` bytes are unpacked to `total`."""
    few = packed < PROGRESS_FROM
    return progress_bar(f"unpacking {where}", total=total, unit="B", unit_scale=True, disable=few)


def _pieces(stream: BinaryIO, where: str) -> Iterator[bytes]:
    with broken_is_an_error(where):
        while piece := stream.read(PIECE):
            yield piece


@contextlib.contextmanager
def broken_is_an_error(where: str) -> Iterator[None]:
    """Turns what decompressors raise into a ValueError that says what to do."""
    try:
        yield
    except BROKEN_STREAM as error:
        raise ValueError(f"{where} is cut off or damaged ({error}); download it again") from error


def limit_of(packed: int) -> int:
    """The bytes that a sound archive of `packed` bytes may unpack to."""
    return min(MAX_TOTAL_BYTES, max(SMALL_TOTAL_BYTES, MAX_TOTAL_RATIO * packed))


def bomb_message(where: str, packed: int, most: int) -> str:
    """What is said of an archive that unpacks to more than `most` bytes."""
    return (
        f"{where} unpacks from {packed:,} to more than {most:,} bytes; that is a decompression bomb, not a "
        "competition; if you trust it, unpack it and give the folder"
    )
