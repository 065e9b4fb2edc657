"""Which of the organiser's files are images: by suffix, and by their first bytes where a suffix says nothing."""

import contextlib
import re

import numpy as np

from pipeline.competition.archive import Archive
from pipeline.texts import Texts

# of the formats that pipeline.images.decode reads; tests/test_pictures.py holds the two lists together
IMAGE_SUFFIXES = (
    ".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".jfif", ".jpe", ".apng", ".jp2", ".j2k", ".jpc",
    ".jpf", ".jpx", ".j2c", ".avif", ".avifs", ".pgm", ".ppm", ".pbm", ".pnm", ".pfm", ".ico", ".pcx", ".qoi", ".sgi",
    ".bw", ".rgb", ".rgba", ".tga", ".icb", ".vda", ".vst",
)  # fmt: skip
OTHER_SUFFIXES = frozenset((
    ".csv", ".tsv", ".txt", ".json", ".jsonl", ".ndjson", ".xml", ".html", ".htm", ".md", ".rst", ".pdf", ".doc",
    ".docx", ".xls", ".xlsx", ".ods", ".ppt", ".pptx", ".py", ".ipynb", ".sh", ".yaml", ".yml", ".toml", ".ini",
    ".cfg", ".log", ".names", ".npy", ".npz", ".mat", ".pkl", ".pickle", ".h5", ".hdf5", ".parquet",
    ".feather", ".arrow", ".tfrecord", ".tfrec", ".lmdb", ".mdb", ".db", ".sqlite", ".pt", ".pth", ".onnx",
    ".safetensors", ".mp4", ".avi", ".mov", ".mkv", ".mp3", ".wav", ".zip", ".tar", ".gz", ".bz2", ".xz",
    ".7z", ".rar", ".zst", ".svg", ".eps", ".ps", ".wmf", ".emf", ".css", ".js", ".dcm", ".nii", ".dbf", ".shp",
    ".shx", ".prj", ".geojson",
))  # fmt: skip
# of images whose content says so; a cell may say another suffix, or none
UNSURE_SUFFIXES = (".dat", ".data", ".img", ".image", ".bin", ".raw", ".blob", ".file", ".unknown", ".tmp", ".cache")
NUM_LOOKED_AT = 64  # bytes at a file's start
SIGNATURE = re.compile(
    rb"\xff\xd8\xff|\x89PNG\r\n\x1a\n|GIF8[79]a|BM.{12}[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0|II[*+]\0|MM\0[*+]"
    rb"|RIFF.{4}WEBP|.{4}ftypavi[fs]|\0\0\0\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51|P[1-6fF]\s(?:\s|#[^\n]*\n)*\d+\s"
    rb"|\0\0\x01\0[^\0]\0|\x0a[\0\x02\x03\x05]\x01[\x01\x02\x04\x08]|qoif|\x01\xda[\0\x01][\x01\x02]",
    re.DOTALL,
)


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
    return path[:dot] if dot > path.rfind("/") + 1 and path[dot:].lower() in _TAKEN_OFF else path
