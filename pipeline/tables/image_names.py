"""Which of the organiser's files are images: by suffix, and by their first bytes where a suffix says nothing.

Also which files hold images that are not decoded here.
"""

import contextlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.archive.archive import Archive
from pipeline.base.texts import Texts

# of the formats that pipeline.images.decode reads, plug-ins included; tests/test_pictures.py compares the two lists
IMAGE_SUFFIXES = (
    ".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".jfif", ".jpe", ".apng", ".jp2", ".j2k", ".jpc",
    ".jpf", ".jpx", ".j2c", ".avif", ".avifs", ".pgm", ".ppm", ".pbm", ".pnm", ".pfm", ".ico", ".pcx", ".qoi", ".sgi",
    ".bw", ".rgb", ".rgba", ".tga", ".icb", ".vda", ".vst", ".heic", ".heics", ".heif", ".heifs", ".hif", ".jxl",
)  # fmt: skip
OTHER_SUFFIXES = frozenset((
    ".csv", ".tsv", ".txt", ".json", ".jsonl", ".ndjson", ".xml", ".html", ".htm", ".md", ".rst", ".pdf", ".doc",
    ".docx", ".xls", ".xlsx", ".ods", ".ppt", ".pptx", ".py", ".ipynb", ".sh", ".yaml", ".yml", ".toml", ".ini",
    ".cfg", ".log", ".names", ".npy", ".npz", ".mat", ".pkl", ".pickle", ".h5", ".hdf5", ".parquet",
    ".feather", ".arrow", ".bson", ".tfrecord", ".tfrec", ".lmdb", ".mdb", ".db", ".sqlite", ".pt", ".pth", ".onnx",
    ".safetensors", ".mp4", ".avi", ".mov", ".mkv", ".mp3", ".wav", ".zip", ".tar", ".gz", ".bz2", ".xz",
    ".7z", ".rar", ".zst", ".svg", ".eps", ".ps", ".wmf", ".emf", ".css", ".js", ".dcm", ".nii", ".dbf", ".shp",
    ".shx", ".prj", ".geojson",
))  # fmt: skip
# of images whose content says so; a cell may say another suffix, or none
UNSURE_SUFFIXES = (
    ".dib", ".pjpeg", ".pjp", ".jif", ".jfi", ".mpo", ".dat", ".data", ".img", ".image", ".bin", ".raw", ".blob",
    ".file", ".unknown", ".tmp", ".cache",
)  # fmt: skip
# as websites leave it: `.jpg_large`, `.jpg!d`, `.png?w=200`
CLUTTERED = re.compile(r"\.(?:jpe?g|png|webp|gif|bmp|tiff?)[^a-z0-9]")
NUM_LOOKED_AT = 64  # bytes at a file's start
SIGNATURE = re.compile(
    rb"\xff\xd8\xff|\x89PNG\r\n\x1a\n|GIF8[79]a|BM.{12}[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0|II[*+]\0|MM\0[*+]"
    rb"|RIFF.{4}WEBP|.{4}ftypavi[fs]|\0\0\0\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51|P[1-6fF]\s(?:\s|#[^\n]*\n)*\d+\s"
    rb"|\0\0\x01\0[^\0]\0|\x0a[\0\x02\x03\x05]\x01[\x01\x02\x04\x08]|qoif|\x01\xda[\0\x01][\x01\x02]"
    rb"|.{4}ftyp(?:hei|hev|mif1|msf1)|\0\0\0\x0cJXL ",
    re.DOTALL,
)


@dataclass(frozen=True)
class Undecoded:
    """A format of images that is not decoded. Each file is one image, or holds `several`."""

    name: str
    suffixes: tuple[str, ...]
    signature: bytes = rb"(?!)"  # a pattern for the first bytes; none by default
    several: bool = False


UNDECODED = (
    Undecoded("DICOM", (".dcm", ".dicom", ".ima"), rb".{128}DICM"),
    Undecoded("NIfTI", (".nii", ".nii.gz", ".mha", ".nrrd"), rb".{64}.*\0(?:n\+1|ni1)\0"),
    Undecoded("camera raw", (".cr2", ".cr3", ".nef", ".arw", ".dng", ".orf", ".rw2", ".raf"), rb".{4}ftypcrx"),
    Undecoded("OpenEXR", (".exr",), rb"\x76\x2f\x31\x01"),
    Undecoded("Photoshop", (".psd",), rb"8BPS"),
    Undecoded("numpy", (".npy", ".npz"), rb"\x93NUMPY", several=True),
    Undecoded("IDX (as MNIST has it)", (".idx", ".ubyte"), rb"\0\0[\x08-\x0e][\x01-\x04]", several=True),
    Undecoded("pickle", (".pkl", ".pickle"), rb"\x80[\x02-\x05][}\]c(\x95]", several=True),
    Undecoded("TFRecord", (".tfrecord", ".tfrecords", ".tfrec"), several=True),
    Undecoded("HDF5", (".h5", ".hdf5"), rb"\x89HDF\r\n", several=True),
    Undecoded("MATLAB", (".mat",), rb"MATLAB 5", several=True),
    Undecoded("Parquet or Arrow", (".parquet", ".feather", ".arrow"), rb"PAR1|ARROW1", several=True),
    Undecoded("BSON", (".bson",), several=True),
    Undecoded("SQLite", (".sqlite", ".sqlite3"), rb"SQLite format 3", several=True),
    Undecoded("LMDB", (".lmdb", ".mdb"), several=True),
    Undecoded("video", (".mp4", ".avi", ".mov", ".mkv", ".webm"), rb".{4}ftyp(?:mp4|isom|qt  )", several=True),
)
READ_AS_ARRAYS = ("numpy", "IDX (as MNIST has it)")  # of these, what is read where there are no images
_UNDECODED_BY_SUFFIX = {suffix: kind for kind in UNDECODED for suffix in kind.suffixes}
_SIGNATURES = tuple((re.compile(kind.signature, re.DOTALL), kind) for kind in UNDECODED)
AS_FILES = "as a PNG of its own, and a CSV of names and labels"
NUM_LOOKED_AT_DEEPER = 352  # bytes: as many as NIfTI's first part has


def undecoded_files(archive: Archive) -> dict[Undecoded, list[str]]:
    """The members of each such format. Content is looked at only where a suffix is missing or unknown."""
    found: dict[Undecoded, list[str]] = {}
    for name in archive.names:
        kind = _undecoded(archive, name)
        if kind is not None:
            found.setdefault(kind, []).append(name)
    return found


def _undecoded(archive: Archive, name: str) -> Undecoded | None:
    suffix = suffix_of(name).lower()
    if suffix in _IMAGE_SUFFIXES:
        return None
    by_suffix = _UNDECODED_BY_SUFFIX.get(".nii.gz" if name.lower().endswith(".nii.gz") else suffix)
    if by_suffix or suffix in OTHER_SUFFIXES:
        return by_suffix
    with contextlib.suppress(OSError):
        head = archive.head(name, NUM_LOOKED_AT_DEEPER)
        return next((kind for signature, kind in _SIGNATURES if signature.match(head)), None)
    return None


def undecoded_line(found: Mapping[Undecoded, Sequence[str]]) -> str:
    """How many files of which formats, such as which, and what to do with them; one line."""
    several, single = (any(kind.several is side for kind in found) for side in (True, False))
    ways = ["save each image as PNG under the same name"] * single
    ways += [f"write each image in them {AS_FILES}"] * several
    return f"{counted_line(found)}: not decoded here; {' or '.join(ways)}"


def counted_line(found: Mapping[Undecoded, Sequence[str]]) -> str:
    """How many files of which formats, such as which."""
    return ", ".join(f"{len(names):,} {kind.name} (such as {names[0]})" for kind, names in found.items())


def image_names(archive: Archive) -> Texts:
    """The members that are images. Content is looked at only where a suffix is missing or unknown."""
    images = np.fromiter((_is_image(archive, name) for name in archive.names), dtype=bool, count=len(archive.names))
    return archive.names.take(images)


def _is_image(archive: Archive, name: str) -> bool:
    suffix = suffix_of(name).lower()
    if suffix in _IMAGE_SUFFIXES:
        return True
    if suffix in OTHER_SUFFIXES:
        return False
    with contextlib.suppress(OSError):
        return SIGNATURE.match(archive.head(name, NUM_LOOKED_AT)) is not None
    return False


_IMAGE_SUFFIXES = frozenset(IMAGE_SUFFIXES)
_SAME_FORMAT = {".jpeg": ".jpg", ".jfif": ".jpg", ".jpe": ".jpg", ".tiff": ".tif", ".apng": ".png"}
_TAKEN_OFF = _IMAGE_SUFFIXES | set(UNSURE_SUFFIXES)


def suffix_of(path: str) -> str:
    """What follows the last dot of a file's name, with the dot; '' for none, or where nothing stands before it."""
    dot = path.rfind(".")
    return path[dot:] if dot > path.rfind("/") + 1 else ""


def stem_of(path: str) -> str:
    """The path less folders and image suffix."""
    return without_suffix(path.rsplit("/", 1)[-1])


def without_suffix(path: str) -> str:
    """The path less an image suffix, or one that says nothing, if it has one (dots inside an id stay)."""
    dot = path.rfind(".")  # as `suffix_of`, without its call: this is asked for millions of times
    if dot <= path.rfind("/") + 1:
        return path
    suffix = path[dot:].lower()
    return path[:dot] if suffix in _TAKEN_OFF or CLUTTERED.match(suffix) else path


def format_of(path: str) -> str:
    """The suffix in lower case, one for each format: `.jpg` for `a.JPEG`; '' where it says nothing."""
    suffix = suffix_of(path).lower()
    return _SAME_FORMAT.get(suffix, suffix) if suffix in _IMAGE_SUFFIXES else ""
