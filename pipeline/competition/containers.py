"""One container at a time (folder, zip, tar, 7z, compressed file): its members by name, checked before any is read."""

import bz2
import itertools
import lzma
import os
import stat
import struct
import tarfile
import zipfile
import zlib
from array import array
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

from tqdm import tqdm

from pipeline.competition.members import (
    DEVICE,
    ENCRYPTED,
    LINK,
    archive_stem,
    check_total,
    checked_names,
    decoded,
    is_junk,
)
from pipeline.competition.regions import (
    BROKEN_STREAM,
    DECOMPRESSORS,
    OpenFile,
    Region,
    Scratch,
    broken_is_an_error,
    progress,
)

# DEFLATE's bound is 1:1032, which constant bytes reach; a sample submission of 1,000 equal columns packs to 1:356
# (measured), images to about 1:1. What many members add up to has the stricter bound of `limit_of`.
MAX_RATIO = 900
MAX_MEMBER_BYTES = 4 << 30
PY7ZR = "py7zr==1.1.4"  # as in requirements-extra.txt

MAGIC = {
    b"PK\x03\x04": "zip", b"PK\x05\x06": "zip", b"PK\x07\x08": "zip", b"7z\xbc\xaf\x27\x1c": "7z",
    b"\x1f\x8b": "gz", b"BZh": "bz2", b"\xfd7zXZ\0": "xz", b"Rar!\x1a\x07": "RAR", b"\x28\xb5\x2f\xfd": "Zstandard",
}  # fmt: skip
BLOCK = 512  # of a tar
LOCAL_HEADER = b"PK\x03\x04"  # before each member of a zip
ZIP_HEADER = 30  # bytes before a member's name
UTF8_FLAG, ENCRYPTED_FLAG = 0x800, 0x1
UNIX = 3  # the system that wrote a zip's attributes


class Container:
    """Files kept together. `sizes`: checked name -> bytes unpacked, junk left out; `where`: how errors call it."""

    where: str
    sizes: dict[str, int]

    def region(self, name: str) -> Region:
        """Where a member's unpacked bytes lie."""
        raise NotImplementedError

    def read(self, name: str) -> bytes:
        """A member's bytes. Raises OSError where it cannot be read. Any thread may call it."""
        return self.region(name).read()


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
        found = sorted(_walk(root))
        raw = [os.fsencode(path.relative_to(root).as_posix()) for path in found]
        names = decoded(self.where, raw)
        self._paths = {name: path for name, path in zip(names, found, strict=True) if not is_junk(name)}
        self.sizes = {name: path.stat().st_size for name, path in self._paths.items()}

    def region(self, name: str) -> Region:
        """The file, opened for as long as the region is held."""
        file = OpenFile.at(self._paths[name])
        return Region(file, 0, file.length())

    def read(self, name: str) -> bytes:
        """The file's bytes."""
        return self._paths[name].read_bytes()


def _walk(root: Path) -> Iterator[Path]:
    real_root = root.resolve()
    for folder, folders, files in os.walk(root, onerror=_raise):
        for name in [*files, *(name for name in folders if (Path(folder) / name).is_symlink())]:
            path = Path(folder) / name
            if path.is_symlink():
                _check_link(path, real_root)
            if not path.is_file():
                raise ValueError(f"{root}: {path.relative_to(root).as_posix()!r} {DEVICE}")
            yield path


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
        infos = [info for info in _zip_file(region, where).infolist() if not info.filename.endswith("/")]
        names = checked_names(where, _zip_names(where, infos))
        for name, info in zip(names, infos, strict=True):
            _check_zip_member(where, name, info)
        kept = [(name, info) for name, info in zip(names, infos, strict=True) if not is_junk(name)]
        # five numbers a member, in one array: zipfile's own records are a dozen times larger
        self._rows = {name: row for row, (name, _) in enumerate(kept)}
        self._numbers = array("Q", itertools.chain.from_iterable(_ZipMember.of(info) for _, info in kept))
        self.sizes = {name: info.file_size for name, info in kept}
        check_total(where, sum(self.sizes.values()), region.length)

    def region(self, name: str) -> Region:
        """The member itself where it is stored, else a copy in the scratch file, made anew each time."""
        member, where = self._member(name), f"{self.where}/{name}"
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
        handle = _zip_file(self._region, self.where)
        return handle, {info.header_offset: info for info in handle.infolist()}

    def read(self, name: str) -> bytes:
        """A member's bytes, checked against its checksum."""
        try:
            return self._read(self._member(name))
        except BROKEN_STREAM as error:
            raise OSError(f"{self.where}: member {name} cannot be read: {error}; download it again") from error

    def _member(self, name: str) -> "_ZipMember":
        start = self._rows[name] * len(_ZipMember._fields)
        return _ZipMember(*self._numbers[start : start + len(_ZipMember._fields)])

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

    @classmethod
    def of(cls, info: zipfile.ZipInfo) -> "_ZipMember":
        return cls(info.compress_type, info.header_offset, info.compress_size, info.file_size, info.CRC)


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


def _zip_file(region: Region, where: str) -> zipfile.ZipFile:
    tail = region.read(max(0, region.length - (1 << 16) - 22))
    end = tail.rfind(b"PK\x05\x06")
    if end < 0:
        raise ValueError(f"{where} is a zip without its end ({region.length:,} bytes are here); download it again")
    if tail[end + 4 : end + 6] not in (b"\0\0", b"\xff\xff", b""):  # the number of this disk; zip64 has it elsewhere
        raise ValueError(
            f"{where} is the last part of a zip in several files (.z01, .z02, …); put all of them into one folder, "
            "unpack them with `7z x` on this one, and give the folder with the result"
        )
    try:
        handle = zipfile.ZipFile(region.opened())
    except (zipfile.BadZipFile, NotImplementedError, UnicodeDecodeError, OSError, EOFError, struct.error) as error:
        raise ValueError(f"{where} is a broken zip ({error}); download it again") from error
    left_out = min((info.header_offset for info in handle.infolist()), default=0)
    if left_out and region.head(4) == LOCAL_HEADER:
        raise ValueError(
            f"{where} is a zip that is cut off: the end that is there belongs to a zip inside it and knows nothing of "
            f"the first {left_out:,} bytes; download it again"
        )
    return handle


def _zip_names(where: str, infos: list[zipfile.ZipInfo]) -> list[str]:
    """Names with the UTF-8 flag as they are, the others by `decoded`, at last in cp437, which the format demands."""
    unflagged = [info.orig_filename.encode("cp437") for info in infos if not info.flag_bits & UTF8_FLAG]
    rest = iter(decoded(where, unflagged, otherwise="cp437"))
    return [info.orig_filename if info.flag_bits & UTF8_FLAG else next(rest) for info in infos]


def _check_zip_member(where: str, name: str, info: zipfile.ZipInfo) -> None:
    if not 0 <= info.header_offset < 1 << 63:
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
    """Members that each are a region: of a tar, whose offsets are noted once, or of what was unpacked."""

    def __init__(self, where: str, regions: dict[str, Region]) -> None:
        self.where = where
        self._regions = {name: region for name, region in regions.items() if not is_junk(name)}
        self.sizes = {name: region.length for name, region in self._regions.items()}

    def region(self, name: str) -> Region:
        """Where the member lies."""
        return self._regions[name]


def _open_compressed(region: Region, kind: str, *, where: str, name: str, scratch: Scratch) -> Container:
    """A compressed tar, unpacked once; else a compressed single file, called `name`."""
    with broken_is_an_error(where), DECOMPRESSORS[kind](region.opened()) as stream:
        head = stream.read(BLOCK)
    with DECOMPRESSORS[kind](region.opened()) as stream:
        unpacked = scratch.unpack(cast(BinaryIO, stream), where=where, packed=region.length)
    return _open_tar(unpacked, where) if _is_tar_header(head) else Pieces(where, {name: unpacked})


def _open_tar(region: Region, where: str) -> Pieces:
    members = [member for member in _tar_members(region, where) if not member.isdir()]
    raw = [member.name.encode("utf-8", "surrogateescape") for member in members]
    names = checked_names(where, decoded(where, raw))
    for name, member in zip(names, members, strict=True):
        _check_tar_member(where, name, member)
    pairs = zip(names, members, strict=True)
    return Pieces(where, {name: region.part(member.offset_data, member.size) for name, member in pairs})


def _tar_members(region: Region, where: str) -> list[tarfile.TarInfo]:
    """All members. tarfile takes a missing end and a damaged header for the end of the tar; here both are errors."""
    try:
        with tarfile.open(fileobj=region.opened(buffer=8 * BLOCK), mode="r:", encoding="utf-8") as handle:
            members = handle.getmembers()
            end = region.part(handle.offset, BLOCK).read()
    except (tarfile.TarError, OSError, EOFError, ValueError, OverflowError) as error:
        raise ValueError(f"{where} is a tar that is cut off or damaged ({error}); download it again") from error
    if any(end):
        raise ValueError(f"{where} is a tar with a damaged header at byte {handle.offset:,}; download it again")
    return members


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
            places = _places(handle.list(), region.length, where=where, scratch=scratch)
            with progress(where, total=sum(place.length for place in places.values()), packed=region.length) as bar:
                handle.extractall(factory=_Writers(places, bar))  # noqa: S202  # into regions, not to paths
    except py7zr.PasswordRequired:
        raise ValueError(f"{where} {ENCRYPTED}") from None
    except (py7zr.exceptions.ArchiveError, *BROKEN_STREAM) as error:
        raise ValueError(f"{where} is a broken 7z archive ({error}); download it again") from error
    return Pieces(where, places)


def _check_seven_zip_length(region: Region, where: str) -> None:
    start = region.head(32)
    needed = 32 + sum(struct.unpack("<QQ", start[12:28])) if len(start) == 32 else 32
    if region.length < needed:
        raise ValueError(
            f"{where} is a 7z archive that is cut off ({region.length:,} of {needed:,} bytes); download it again"
        )


def _places(files: list[Any], packed: int, *, where: str, scratch: Scratch) -> dict[str, Region]:
    """Name -> where its bytes shall go, for py7zr's list of `files`."""
    files = [file for file in files if not file.is_directory]
    names = checked_names(where, [file.filename for file in files])
    for name, file in zip(names, files, strict=True):
        if not file.is_file:
            raise ValueError(f"{where}: member {name!r} {LINK if file.is_symlink else DEVICE}")
    total = sum(file.uncompressed for file in files)
    check_total(where, total, packed)
    region, offset, places = scratch.reserve(total, where=where), 0, {}
    for name, file in zip(names, files, strict=True):
        places[name] = region.part(offset, file.uncompressed)
        offset += file.uncompressed
    return places


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
