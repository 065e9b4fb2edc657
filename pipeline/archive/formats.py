"""One container at a time (folder, zip, tar, 7z, compressed file): its members by name, checked before any is read."""

import bz2
import hashlib
import io
import lzma
import os
import stat
import struct
import tarfile
import zipfile
import zlib
from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

import numpy as np
from tqdm import tqdm

from pipeline.archive.byte_ranges import (
    BROKEN_STREAM,
    DECOMPRESSORS,
    OpenFile,
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
LOCAL_HEADER = b"PK\x03\x04"  # before each member of a zip
ZIP_HEADER = 30  # bytes before a member's name
ZIP_END, ZIP_END_MAGIC = "<4s4H2LH", b"PK\5\6"
ZIP64_END, ZIP64_END_MAGIC = "<4sQ2H2L4Q", b"PK\6\6"
ZIP64_LOCATOR, ZIP64_LOCATOR_MAGIC = "<4sLQL", b"PK\6\7"
DIRECTORY_RECORD, DIRECTORY_MAGIC = 46, b"PK\1\2"  # bytes of a record in a zip's directory before its name
DIRECTORY_PIECE = 1 << 18  # bytes, more than a record can have
FURTHEST = 1 << 60  # bytes from a file's start
DEFLATE_EXTRA = 512  # bytes of Huffman tables before the first byte, and to spare
UTF8_FLAG, ENCRYPTED_FLAG = 0x800, 0x1
UNIX = 3  # the system that wrote a zip's attributes


class Container:
    """Files kept together, each known by its row. `where` is how errors call it."""

    where: str
    names: Texts  # checked, hidden and service files left out, sorted
    sizes: np.ndarray  # (N,) int64, bytes unpacked
    left_aside: Counter[str]  # hidden or service folder or file -> members left out for it

    def region(self, row: int) -> Region:
        """Where a member's unpacked bytes lie."""
        raise NotImplementedError

    def read(self, row: int) -> bytes:
        """A member's bytes. Raises OSError where it cannot be read. Any thread may call it."""
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

    def __init__(self, root: Path) -> None:
        self.where = str(root)
        self._root = root
        sizes, odd = array("q"), {}

        def names() -> Iterator[bytes]:
            for row, path in enumerate(_walk(root)):
                sizes.append((root / path).stat().st_size)
                if not path.isascii():
                    odd[row] = path
                yield os.fsencode(path)

        found = decoded(self.where, names())
        rows = self._rows_kept(found)
        self.names, self.sizes = found.take(rows), np.array(sizes, dtype=np.int64)[rows]
        # as the disk spells them, not `names`
        self._paths = {row: odd[before] for row, before in enumerate(rows.tolist() if odd else []) if before in odd}

    def region(self, row: int) -> Region:
        """The file, opened for as long as the region is held."""
        file = OpenFile.at(self._path(row))
        return Region(file, 0, file.length())

    def read(self, row: int) -> bytes:
        """The file's bytes."""
        return self._path(row).read_bytes()

    def _path(self, row: int) -> Path:
        return self._root / self._paths.get(row, self.names[row])


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
    """Members are read where they lie, without a lock or a handle a thread."""

    def __init__(self, region: Region, where: str, scratch: Scratch) -> None:
        self.where = where
        self._region, self._scratch = region, scratch
        pieces = [np.empty(0, dtype=ZIP_MEMBER)]
        made_on_windows = False  # by a tool that writes backslashes between folders

        def names() -> Iterator[bytes | str]:
            """Those with the UTF-8 flag as they are, the bytes of others: cp437 is what the format demands, at last."""
            nonlocal made_on_windows
            for infos in _zip_directory(region, where):
                files = [info for info in infos if not _is_folder(info)]
                made_on_windows |= any(info.create_system != UNIX and "\\" in info.orig_filename for info in files)
                pieces.append(np.array([_zip_member(where, info) for info in files], dtype=ZIP_MEMBER))
                for info in files:
                    flagged = info.flag_bits & UTF8_FLAG or info.orig_filename.isascii()
                    yield info.orig_filename if flagged else info.orig_filename.encode("cp437")

        found = decoded(where, names(), otherwise="cp437")
        if made_on_windows:
            found = Texts(name.replace("\\", "/") for name in found)
        found = checked_names(where, found)
        members = np.concatenate(pieces)
        pieces.clear()
        rows = self._rows_kept(found)
        self.names, self._members = found.take(rows), members[rows]
        self.sizes = self._members["size"]
        check_total(where, float(self.sizes.sum(dtype=np.float64)), region.length)

    def region(self, row: int) -> Region:
        """The member itself where it is stored, else a copy in the scratch file, made anew each time."""
        member, where = self._member(row), f"{self.where}/{self.names[row]}"
        with broken_is_an_error(where):
            if member.method == zipfile.ZIP_STORED:
                return self._packed(member)
            if member.method != zipfile.ZIP_DEFLATED:  # zipfile's streams of these know no bound
                return self._scratch.keep(self._read(member), where=where)
            handle, info_at = self._directory
            stream = cast(BinaryIO, handle.open(info_at[member.offset]))
        with stream:
            return self._scratch.unpack(stream, where=where, packed=member.packed, declared=member.size)

    @cached_property
    def _directory(self) -> tuple[zipfile.ZipFile, dict[int, zipfile.ZipInfo]]:
        """zipfile's own view, and its members by offset: for packed archives inside, of which most zips have none."""
        handle = zipfile.ZipFile(self._region.opened())
        return handle, {info.header_offset: info for info in handle.infolist()}

    def read(self, row: int) -> bytes:
        """A member's bytes, checked against its checksum."""
        try:
            return self._read(self._member(row))
        except BROKEN_STREAM as error:
            raise OSError(
                f"{self.where}: member {self.names[row]} cannot be read: {error}; download it again"
            ) from error

    def checksum(self, row: int) -> int:
        """As the zip's directory notes it; `read` holds the bytes against it."""
        return self._member(row).crc

    def fingerprint(self, row: int) -> str:
        """By the zip's directory alone: no member is read."""
        member = self._member(row)
        return f"{member.crc:08x}-{member.size}"

    def head(self, row: int, size: int) -> bytes:
        """Unpacks no more than that; its checksum is left for `read`."""
        member = self._member(row)
        if member.method not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            return self.read(row)[:size]
        try:
            return UNZIP[member.method](self._packed(member).head(size + DEFLATE_EXTRA), size)[:size]
        except BROKEN_STREAM as error:
            raise OSError(f"{self.where}: member {self.names[row]} cannot be read: {error}") from error

    def _member(self, row: int) -> "_ZipMember":
        return _ZipMember(*self._members[row].tolist())

    def _read(self, member: "_ZipMember") -> bytes:
        content = UNZIP[member.method](self._packed(member).read(), member.size + 1)
        if len(content) != member.size or zlib.crc32(content) != member.crc:
            raise OSError("its length or checksum is not the one noted")
        return content

    def _packed(self, member: "_ZipMember") -> Region:
        header = self._region.read(member.offset, ZIP_HEADER)
        if not header.startswith(LOCAL_HEADER):
            raise OSError("it is not where the zip's directory says")
        name_and_extra = sum(struct.unpack("<HH", header[26:30]))
        return self._region.part(member.offset + ZIP_HEADER + name_and_extra, member.packed)


class _ZipMember(NamedTuple):
    """Where a member lies, and what it must unpack to."""

    method: int  # of the zip format
    offset: int  # of its header
    packed: int  # bytes
    size: int  # bytes unpacked
    crc: int


# the same for many: zipfile's own records take twenty times the memory
ZIP_MEMBER = np.dtype([("method", "<u2"), ("offset", "<i8"), ("packed", "<i8"), ("size", "<i8"), ("crc", "<u4")])


def _is_folder(info: zipfile.ZipInfo) -> bool:
    return info.filename.endswith("/") or (
        info.create_system != UNIX and info.filename.endswith("\\") and not info.file_size
    )


def _zip_member(where: str, info: zipfile.ZipInfo) -> _ZipMember:
    _check_zip_member(where, info)
    return _ZipMember(info.compress_type, info.header_offset, info.compress_size, info.file_size, info.CRC)


def _unzip_lzma(packed: bytes, most: int) -> bytes:
    """The zip format puts a version before LZMA's properties and leaves out the length that .lzma has after them."""
    properties = packed[4 : 4 + int.from_bytes(packed[2:4], "little")]
    unknown_length = b"\xff" * 8
    stream = properties + unknown_length + packed[4 + len(properties) :]
    return lzma.LZMADecompressor(lzma.FORMAT_ALONE).decompress(stream, most)


# method of the zip format -> (packed bytes, the most bytes to give) -> bytes
UNZIP: dict[int, Callable[[bytes, int], bytes]] = {
    zipfile.ZIP_STORED: lambda packed, most: packed,
    zipfile.ZIP_DEFLATED: lambda packed, most: zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed, most),
    zipfile.ZIP_BZIP2: lambda packed, most: bz2.BZ2Decompressor().decompress(packed, most),
    zipfile.ZIP_LZMA: _unzip_lzma,
}


def _zip_directory(region: Region, where: str) -> Iterator[list[zipfile.ZipInfo]]:
    """zipfile's records of all members, in pieces: whole, its directory takes 600 bytes a member."""
    try:
        start, length, before = _directory_place(region, where)
        least = None
        for piece in _directory_pieces(region.part(start, length)):
            end = struct.pack(ZIP_END, ZIP_END_MAGIC, 0, 0, 0, 0, len(piece), 0, 0)
            infos = zipfile.ZipFile(io.BytesIO(piece + end)).infolist()
            for info in infos:
                info.header_offset += before
            least = min([info.header_offset for info in infos] + ([] if least is None else [least]))
            yield infos
    except (zipfile.BadZipFile, NotImplementedError, UnicodeDecodeError, OSError, EOFError, struct.error) as error:
        raise ValueError(f"{where} is a broken zip ({error}); download it again") from error
    if least and region.head(4) == LOCAL_HEADER:
        raise ValueError(
            f"{where} is a zip that is cut off: the end that is there belongs to a zip inside it and knows nothing of "
            f"the first {least:,} bytes; download it again"
        )


def _directory_place(region: Region, where: str) -> tuple[int, int, int]:
    """(first byte of the directory, bytes in it, bytes before the zip: a program, say), by the end record or zip64's.

    APPNOTE.TXT of PKWARE, 4.3.14 to 4.3.16; as zipfile does, zip64's is looked for right before the other.
    """
    end_length = struct.calcsize(ZIP_END)
    tail_start = max(0, region.length - (1 << 16) - end_length)
    tail = region.read(tail_start)
    at = tail.rfind(ZIP_END_MAGIC)
    if at < 0:
        raise ValueError(f"{where} is a zip without its end ({region.length:,} bytes are here); download it again")
    if tail[at + 4 : at + 6] not in (b"\0\0", b"\xff\xff", b""):  # this disk's number; zip64 has it elsewhere
        raise ValueError(
            f"{where} is the last part of a zip in several files (.z01, .z02, …); put all of them into one folder, "
            "unpack them with `7z x` on this one, and give the folder with the result"
        )
    *_, length, offset, _ = struct.unpack_from(ZIP_END, tail, at)
    after = tail_start + at
    wide_length, locator_length = struct.calcsize(ZIP64_END), struct.calcsize(ZIP64_LOCATOR)
    wide_start = after - locator_length - wide_length
    if wide_start >= 0 and region.read(after - locator_length, 4) == ZIP64_LOCATOR_MAGIC:
        wide = struct.unpack(ZIP64_END, region.read(wide_start, wide_length))
        if wide[0] == ZIP64_END_MAGIC:
            *_, length, offset = wide
            after = wide_start
    if offset + length > after:
        raise zipfile.BadZipFile("Bad offset for central directory")
    return after - length, length, after - length - offset


def _directory_pieces(region: Region) -> Iterator[bytes]:
    """The directory in runs of whole records."""
    done, rest = 0, b""
    while done < region.length or rest:
        more = region.read(done, min(DIRECTORY_PIECE, region.length - done))
        done += len(more)
        rest += more
        until = _whole_records(rest)
        if not until:
            raise zipfile.BadZipFile("Truncated central directory")
        yield rest[:until]
        rest = rest[until:]


def _whole_records(content: bytes) -> int:
    """How many of these bytes are whole records of a zip's directory."""
    at = 0
    while at + DIRECTORY_RECORD <= len(content):
        if content[at : at + 4] != DIRECTORY_MAGIC:
            raise zipfile.BadZipFile("Bad magic number for central directory")
        end = at + DIRECTORY_RECORD + sum(struct.unpack_from("<3H", content, at + 28))
        if end > len(content):
            break
        at = end
    return at


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
    if info.compress_type not in UNZIP:
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
    offsets, sizes = array("q"), array("q")

    def names() -> Iterator[bytes]:
        for member in _tar_members(region, where):
            if not member.isdir():
                _check_tar_member(where, member.name, member)
                offsets.append(member.offset_data)
                sizes.append(member.size)
                yield member.name.encode("utf-8", "surrogateescape")

    return Pieces(where, checked_names(where, decoded(where, names())), region, offsets, sizes)


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

    def seek(self, offset: int, whence: int = 0) -> int:
        """py7zr rewinds what it has written; pieces are appended all the same."""
        return 0

    def flush(self) -> None:
        """Nothing is held back."""

    def close(self) -> None:
        """The region stays open."""

    def size(self) -> int:
        """Bytes written so far."""
        return self._written
