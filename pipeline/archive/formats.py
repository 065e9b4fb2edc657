"""One container at a time (folder, zip, tar, 7z, compressed file): its members by name, checked before any is read."""

import contextlib
import hashlib
import math
import os
import stat
import struct
import tarfile
import zipfile
import zlib
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
from tqdm import tqdm

from pipeline.archive.byte_ranges import (
    BROKEN_STREAM,
    DECOMPRESSORS,
    Region,
    Scratch,
    broken_is_an_error,
    progress,
)
from pipeline.archive.member_names import (
    DEVICE,
    ENCRYPTED,
    LINK,
    archive_stem,
    check_total,
    checked_names,
    decoded,
    service_part,
)
from pipeline.base.texts import Texts

# DEFLATE's bound is 1:1032, which constant bytes reach; a sample submission of 1,000 equal columns packs to 1:356
# (measured), images to about 1:1. What many members add up to has the stricter bound of `limit_of`.
MAX_RATIO = 900
MAX_MEMBER_BYTES = 4 << 30
UNREADABLE = "unreadable"  # fingerprint of a member that `read` raises OSError for
PY7ZR = "py7zr==1.1.4"  # as in requirements-extra.txt

MAGIC = {
    b"PK\x03\x04": "zip", b"PK\x05\x06": "zip", b"PK\x07\x08": "zip", b"7z\xbc\xaf\x27\x1c": "7z",
    b"\x1f\x8b": "gz", b"BZh": "bz2", b"\xfd7zXZ\0": "xz", b"Rar!\x1a\x07": "RAR", b"\x28\xb5\x2f\xfd": "Zstandard",
}  # fmt: skip
BLOCK = 512  # of a tar
LOCAL_HEADER, ZIP_HEADER = b"PK\x03\x04", 30  # before each member of a zip; bytes before the member's name
ZIP_END_MAGIC, ZIP_END = b"PK\5\6", 22
ZIP_BUFFER = 1 << 14  # bytes: a small image with its header
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
BOUNDED_PIECE = 1 << 12  # packed bytes; bzip2's unpack to 130 MB at most
FURTHEST = 1 << 60  # bytes from a file's start
UTF8_FLAG, ENCRYPTED_FLAG = 0x800, 0x1
UNIX = 3  # the system that wrote a zip's attributes


class Container:
    """Files kept together, each known by its row. `where` is how errors call it."""

    where: str
    names: Texts  # checked, hidden and service files left out, sorted
    sizes: np.ndarray  # (N,) int64, bytes unpacked
    left_aside: Counter[str]  # hidden or service folder or file -> members left out for it
    guessed = ""  # the encoding of the names, where nothing says it

    def region(self, row: int) -> Region:
        """Where a member's unpacked bytes lie."""
        raise NotImplementedError

    def read(self, row: int) -> bytes:
        """A member's bytes. Raises OSError where it cannot be read."""
        return self.region(row).read()

    def head(self, row: int, size: int) -> bytes:
        """A member's first `size` bytes, or all where there are fewer. Raises OSError as `read` does."""
        return self.region(row).head(size)

    def checksum(self, row: int) -> int:
        """CRC-32 of a member's bytes. Raises OSError as `read` does."""
        return zlib.crc32(self.read(row))

    def fingerprint(self, row: int) -> str:
        """A short text that changes when a member's bytes do, the same on every machine; "unreadable" for no bytes."""
        try:
            return hashlib.sha256(self.read(row)).hexdigest()
        except OSError:
            return UNREADABLE

    def _rows_kept(self, names: Texts) -> np.ndarray:
        """(N,) int64: where the names stand that are no hidden or service files, sorted by name."""
        parts = list(map(service_part, names))
        self.left_aside = Counter(filter(None, parts))
        kept = np.fromiter((not part for part in parts), dtype=bool, count=len(names))
        return np.flatnonzero(kept)[np.argsort(names.take(kept).array, kind="stable")]


def open_container(region: Region, *, where: str, name: str, scratch: Scratch) -> Container:
    """The container in `region`, recognised by its content; `name` is what a compressed single file is called.

    Raises ValueError for anything that is none, is cut off, or holds what a sound one does not.
    """
    kind = _kind_of(region)
    if kind in DECOMPRESSORS:
        return _open_compressed(region, kind, where=where, name=name, scratch=scratch)
    if kind == "zip":
        return Zip(region, where, scratch)
    if kind == "tar":
        return _open_tar(region, where)
    if kind == "7z":
        return _open_seven_zip(region, where, scratch)
    found = f"is a {kind} archive, which is not read" if kind else "is neither a zip nor a folder"
    raise ValueError(
        f"{where} {found} ({region.length:,} bytes), nor a tar or 7z; if it is a download that broke off, "
        "download it again; unpack other archives and give the folder"
    )


def _kind_of(region: Region) -> str | None:
    head = region.head(BLOCK)
    for magic, kind in MAGIC.items():
        if head.startswith(magic):
            return kind
    if _is_tar_header(head):
        return "tar"
    return "zip" if zipfile.is_zipfile(region.opened()) else None  # one with a program in front, for instance


def _is_tar_header(head: bytes) -> bool:
    try:
        tarfile.TarInfo.frombuf(head[:BLOCK], "utf-8", "surrogateescape")
    except tarfile.TarError:
        return False
    return True


class Folder(Container):
    """A folder on the disk; links to files inside are followed, others are refused."""

    def __init__(self, root: Path, closing: contextlib.ExitStack) -> None:
        self.where = str(root)
        self._root, self._closing = root, closing
        paths = list(_walk(root))
        found, self.guessed = decoded(self.where, list(map(os.fsencode, paths)))
        rows = self._rows_kept(found)
        self.names = found.take(rows)
        self._paths = [paths[row] for row in rows.tolist()]  # as the disk spells them
        self.sizes = np.array([(root / path).stat().st_size for path in self._paths], dtype=np.int64)

    def region(self, row: int) -> Region:
        """The file, which stays open until the archive is closed."""
        return Region.whole(self._path(row), self._closing)

    def read(self, row: int) -> bytes:
        """The file's bytes."""
        return self._path(row).read_bytes()

    def head(self, row: int, size: int) -> bytes:
        """Its first bytes."""
        with self._path(row).open("rb") as handle:
            return handle.read(size)

    def _path(self, row: int) -> Path:
        return self._root / self._paths[row]


def _walk(root: Path) -> Iterator[str]:
    """The paths of all files, relative to `root`, with forward slashes."""
    real_root = root.resolve()
    for folder, folders, files in os.walk(root, onerror=_raise):
        folders.sort()
        linked = [name for name in folders if Path(folder, name).is_symlink()]
        for name in [*sorted(files), *linked]:
            path = Path(folder, name)
            if path.is_symlink():
                _check_link(path, real_root)
            inside = path.relative_to(root).as_posix()
            if not path.is_file():
                raise ValueError(f"{root}: {inside!r} {DEVICE}")
            yield inside


def _raise(error: OSError) -> None:
    """os.walk passes over a folder that it may not list, unless told otherwise."""
    raise error


def _check_link(path: Path, root: Path) -> None:
    target = path.resolve()
    if not target.is_relative_to(root):
        raise ValueError(f"{path} is a link that leads outside, to {target}; put a copy of the file in its place")
    if not target.is_file():
        raise ValueError(f"{path} is a link to {target}, which is no file; put what it stands for in its place")


class Zip(Container):
    """Read by zipfile, in place; its records of members take 0.5 kB each."""

    def __init__(self, region: Region, where: str, scratch: Scratch) -> None:
        self.where = where
        self._region, self._scratch = region, scratch
        _check_zip_end(region, where)
        try:
            self._handle = zipfile.ZipFile(region.opened(buffer=ZIP_BUFFER))
        except (zipfile.BadZipFile, NotImplementedError, UnicodeDecodeError, OSError, EOFError, struct.error) as error:
            raise ValueError(f"{where} is a broken zip ({error}); download it again") from error
        infos = self._handle.infolist()
        first = min((info.header_offset for info in infos), default=0)
        if first > 0 and region.head(len(LOCAL_HEADER)) == LOCAL_HEADER:
            raise ValueError(
                f"{where} is a zip that is cut off: the end that is there belongs to a zip inside it and knows nothing "
                f"of the first {first:,} bytes; download it again"
            )
        names, self.guessed = _zip_names(where, infos)
        is_file = np.fromiter((not name.endswith("/") for name in names), dtype=bool, count=len(names))
        infos = [infos[row] for row in np.flatnonzero(is_file).tolist()]
        for info in infos:
            _check_zip_member(where, info)
        names = checked_names(where, names.take(is_file))
        rows = self._rows_kept(names)
        self.names, self._infos = names.take(rows), [infos[row] for row in rows.tolist()]
        self.sizes = np.array([info.file_size for info in self._infos], dtype=np.int64)
        check_total(where, float(self.sizes.sum(dtype=np.float64)), region.length)

    def region(self, row: int) -> Region:
        """The member itself where it is stored, else a copy in the scratch file, made anew each time."""
        info, where = self._infos[row], f"{self.where}/{self.names[row]}"
        with broken_is_an_error(where):
            if info.compress_type == zipfile.ZIP_STORED:
                header = self._region.read(info.header_offset, ZIP_HEADER)
                name_and_extra = sum(struct.unpack("<HH", header[26:30]))
                return self._region.part(info.header_offset + ZIP_HEADER + name_and_extra, info.file_size)
            if info.compress_type != zipfile.ZIP_DEFLATED:
                return self._scratch.keep(self.read(row), where=where)
            stream = self._handle.open(info)
        with stream:
            unpack = self._scratch.unpack
            return unpack(cast(BinaryIO, stream), where=where, packed=info.compress_size, declared=info.file_size)

    def read(self, row: int) -> bytes:
        """A member's bytes, checked against its checksum."""
        content = self.head(row, int(self.sizes[row]))
        if len(content) < self.sizes[row]:
            raise OSError(f"{self.where}: member {self.names[row]} is shorter than noted; download it again")
        return content

    def head(self, row: int, size: int) -> bytes:
        """Unpacks no more than that; the checksum is looked at where that is all."""
        info = self._infos[row]
        # zipfile unpacks as many packed bytes as are asked for, and of these methods all that they hold
        at_once = size if info.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) else BOUNDED_PIECE
        try:
            with self._handle.open(info) as stream:
                pieces = iter(lambda: stream.read(at_once), b"")
                return b"".join(islice(pieces, math.ceil(size / at_once)))[:size] if size else b""
        except BROKEN_STREAM as error:
            raise OSError(
                f"{self.where}: member {self.names[row]} cannot be read: {error}; download it again"
            ) from error

    def checksum(self, row: int) -> int:
        """As the zip's directory notes it; `read` holds the bytes against it."""
        return self._infos[row].CRC

    def fingerprint(self, row: int) -> str:
        """By the zip's directory alone: no member is read."""
        return f"{self._infos[row].CRC:08x}-{self._infos[row].file_size}"


def _check_zip_end(region: Region, where: str) -> None:
    """Raise ValueError where the end record is missing, or that of another part (APPNOTE.TXT of PKWARE, 4.3.16)."""
    tail = region.read(max(0, region.length - (1 << 16) - ZIP_END))
    at = tail.rfind(ZIP_END_MAGIC)
    if at < 0:
        raise ValueError(f"{where} is a zip without its end ({region.length:,} bytes are here); download it again")
    if tail[at + 4 : at + 6] not in (b"\0\0", b"\xff\xff", b""):  # this disk's number; zip64 has it elsewhere
        raise ValueError(
            f"{where} is the last part of a zip in several files (.z01, .z02, …); put all of them into one folder, "
            "unpack them with `7z x` on this one, and give the folder with the result"
        )


def _zip_names(where: str, infos: Sequence[zipfile.ZipInfo]) -> tuple[Texts, str]:
    """Those with the UTF-8 flag as they are, the bytes of others: cp437 is what the format demands, at last. And the
    encoding, if it was guessed.

    A backslash parts folders where a system other than Unix wrote the zip, or no name has a slash: tools on Windows
    make such zips. Beside slashes it is a letter, as Unix has it: a folder of formulas may be called `\\alpha`.
    """
    originals = (info.orig_filename for info in infos)
    as_stored = [
        name if info.flag_bits & UTF8_FLAG or name.isascii() else name.encode("cp437")
        for info, name in zip(infos, originals, strict=True)
    ]
    names, guessed = decoded(where, as_stored, otherwise="cp437")
    on_windows = any(info.create_system != UNIX and "\\" in info.orig_filename for info in infos)
    if on_windows or not any("/" in name for name in names):
        names = Texts(name.replace("\\", "/") for name in names)
    return names, guessed


def _check_zip_member(where: str, info: zipfile.ZipInfo) -> None:
    name = info.orig_filename
    if not 0 <= info.header_offset <= FURTHEST or max(info.compress_size, info.file_size) > FURTHEST:
        raise ValueError(f"{where}: member {name!r} lies outside the file, as its directory says; download it again")
    mode = info.external_attr >> 16
    if stat.S_ISLNK(mode):
        raise ValueError(f"{where}: member {name!r} {LINK}")
    if info.create_system == UNIX and stat.S_IFMT(mode) not in (0, stat.S_IFREG):
        raise ValueError(f"{where}: member {name!r} {DEVICE}")
    if info.flag_bits & ENCRYPTED_FLAG:
        raise ValueError(f"{where}: member {name!r} {ENCRYPTED}")
    if info.compress_type not in METHODS:
        raise ValueError(
            f"{where}: member {name!r} is packed by method {info.compress_type} of the zip format, which is not read; "
            "unpack it with `7z x` and give the folder"
        )
    too_large = info.file_size > MAX_MEMBER_BYTES and archive_stem(name) is None
    if too_large or (info.file_size > 1 << 20 and info.file_size > MAX_RATIO * max(info.compress_size, 1)):
        raise ValueError(
            f"{where}: member {name!r} unpacks from {info.compress_size:,} to {info.file_size:,} bytes; "
            "that is a decompression bomb, not an image or a table"
        )


class Pieces(Container):
    """Members that lie whole in one region: of a tar, whose offsets are noted once, or of what was unpacked."""

    def __init__(self, where: str, names: Texts, region: Region, offsets: Sequence[int], sizes: Sequence[int]) -> None:
        self.where = where
        self._region = region
        rows = self._rows_kept(names)
        self.names = names.take(rows)
        self._offsets, self.sizes = (np.array(numbers, dtype=np.int64)[rows] for numbers in (offsets, sizes))

    def region(self, row: int) -> Region:
        """Where the member lies."""
        return self._region.part(int(self._offsets[row]), int(self.sizes[row]))


def _open_compressed(region: Region, kind: str, *, where: str, name: str, scratch: Scratch) -> Container:
    """A compressed tar, unpacked once; else a compressed single file, called `name`."""
    with broken_is_an_error(where), DECOMPRESSORS[kind](region.opened()) as stream:
        head = stream.read(BLOCK)
    with DECOMPRESSORS[kind](region.opened()) as stream:
        unpacked = scratch.unpack(cast(BinaryIO, stream), where=where, packed=region.length)
    if _is_tar_header(head):
        return _open_tar(unpacked, where)
    return Pieces(where, Texts([name]), unpacked, [0], [unpacked.length])


def _open_tar(region: Region, where: str) -> Pieces:
    names, offsets, sizes = [], array("q"), array("q")
    for member in _tar_members(region, where):
        if not member.isdir():
            _check_tar_member(where, member.name, member)
            names.append(member.name.encode("utf-8", "surrogateescape"))
            offsets.append(member.offset_data)
            sizes.append(member.size)
    texts, guessed = decoded(where, names)
    tar = Pieces(where, checked_names(where, texts), region, offsets, sizes)
    tar.guessed = guessed
    return tar


def _tar_members(region: Region, where: str) -> Iterator[tarfile.TarInfo]:
    """All members. tarfile takes a missing end and a damaged header for the end of the tar; here both are errors."""
    try:
        with tarfile.open(fileobj=region.opened(buffer=8 * BLOCK), mode="r:", encoding="utf-8") as handle:
            while (member := handle.next()) is not None:
                yield member
                handle.members.clear()  # type: ignore[attr-defined]  # it would keep 1 kB of each
            end = region.part(handle.offset, BLOCK).read()
    except (tarfile.TarError, OSError, EOFError, ValueError, OverflowError) as error:
        raise ValueError(f"{where} is a tar that is cut off or damaged ({error}); download it again") from error
    if any(end):
        raise ValueError(f"{where} is a tar with a damaged header at byte {handle.offset:,}; download it again")


def _check_tar_member(where: str, name: str, member: tarfile.TarInfo) -> None:
    if member.issym() or member.islnk():
        raise ValueError(f"{where}: member {name!r} {LINK} (tar --dereference --hard-dereference)")
    if not member.isfile() or member.type not in tarfile.SUPPORTED_TYPES:
        raise ValueError(f"{where}: member {name!r} {DEVICE}")
    if member.issparse():
        raise ValueError(f"{where}: member {name!r} is stored sparse, which is not read; pack it without --sparse")


def _open_seven_zip(region: Region, where: str, scratch: Scratch) -> Pieces:
    """Its members, unpacked once, as 7z packs many into one stream as a rule."""
    _check_seven_zip_length(region, where)
    packed = region.length
    try:
        import py7zr
    except ImportError:
        raise ValueError(
            f"{where} is a 7z archive; pip install {PY7ZR} (requirements-extra.txt) or unpack it and give the folder"
        ) from None
    try:
        with py7zr.SevenZipFile(region.opened()) as handle:
            if handle.needs_password():
                raise py7zr.PasswordRequired
            places, region = _places(handle.list(), region.length, where=where, scratch=scratch)
            with progress(where, total=region.length, packed=packed) as bar:
                handle.extractall(factory=_Writers(places, bar))  # noqa: S202  # into regions, not to paths
    except py7zr.PasswordRequired:
        raise ValueError(f"{where} {ENCRYPTED}") from None
    except (py7zr.exceptions.ArchiveError, *BROKEN_STREAM) as error:
        raise ValueError(f"{where} is a broken 7z archive ({error}); download it again") from error
    offsets = [place.start - region.start for place in places.values()]
    return Pieces(where, Texts(places), region, offsets, [place.length for place in places.values()])


def _check_seven_zip_length(region: Region, where: str) -> None:
    start = region.head(32)
    needed = 32 + sum(struct.unpack("<QQ", start[12:28])) if len(start) == 32 else 32
    if region.length < needed:
        raise ValueError(
            f"{where} is a 7z archive that is cut off ({region.length:,} of {needed:,} bytes); download it again"
        )


def _places(files: list[Any], packed: int, *, where: str, scratch: Scratch) -> tuple[dict[str, Region], Region]:
    """(name -> where its bytes shall go, for py7zr's list of `files`; the region of all of them)."""
    files = [file for file in files if not file.is_directory]
    names = checked_names(where, Texts(file.filename for file in files))
    for name, file in zip(names, files, strict=True):
        if not file.is_file:
            raise ValueError(f"{where}: member {name!r} {LINK if file.is_symlink else DEVICE}")
    total = sum(file.uncompressed for file in files)
    check_total(where, total, packed)
    region, offset, places = scratch.reserve(total, where=where), 0, {}
    for name, file in zip(names, files, strict=True):
        places[name] = region.part(offset, file.uncompressed)
        offset += file.uncompressed
    return places, region


class _Writers:
    """py7zr's WriterFactory: one writer a member."""

    def __init__(self, places: dict[str, Region], bar: tqdm) -> None:
        self._places, self._bar = places, bar

    def create(self, filename: str) -> "_Writer":
        """The writer for the member py7zr is about to unpack."""
        return _Writer(self._places[filename], self._bar)


class _Writer:
    """py7zr's Py7zIO: appends to a region, raises OSError past its end."""

    def __init__(self, place: Region, bar: tqdm) -> None:
        self._place, self._bar = place, bar
        self._written = 0

    def write(self, content: bytes) -> int:
        """Called piece by piece, in order."""
        self._place.write(self._written, content)
        self._written += len(content)
        self._bar.update(len(content))
        return len(content)

    def read(self, size: int | None = None) -> bytes:
        """Never needed; nothing is read back through a writer."""
        return b""

    def seek(self, offset: int, origin: int = 0) -> int:
        """py7zr rewinds what it has written; pieces are appended all the same."""
        return 0

    def flush(self) -> None:
        """Nothing is held back."""

    def close(self) -> None:
        """The region stays open."""

    def size(self) -> int:
        """Bytes written so far."""
        return self._written
