"""What else a competition may be than images of classes: boxes, outlines, arrays, shards. Said in refusals.

Files beside images that hold a class each are read as a table: `.cls`, as WebDataset's shards have it, and `.txt` of
one line that names its image, as Huawei's ModelArts writes it.
"""

import io
import re
import zipfile
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import islice
from typing import IO

import numpy as np

from pipeline.archive.archive import Archive
from pipeline.base.texts import Texts
from pipeline.tables.image_names import stem_of, suffix_of
from pipeline.tables.image_paths import ImageIndex, plain
from pipeline.tables.table import Table
from pipeline.tables.words import NEUTRAL, SIDE_WORDS, denied, words_of

CLASS_SUFFIX, NAMING_SUFFIX = ".cls", ".txt"
NAME_AND_CLASS = re.compile(r"(?P<name>[^\n,]+\.\w+),\s*(?P<label>[^\n,]+)")
BESIDE = (CLASS_SUFFIX, NAMING_SUFFIX, ".xml", ".json")  # suffixes of files that speak of the image of their name
NAMING = (".csv", ".tsv", ".xml", ".json", ".jsonl", ".ndjson", ".yaml", ".yml", ".txt", ".lst", ".html")
NAMED = re.compile(r"""[^\s"'<>=,;:|()\[\]{}]+\.(?:jpe?g|png|tiff?|bmp|webp|gif|ppm)\b""", re.IGNORECASE)
NUM_LOOKED_AT, NUM_READ = 64, 8  # files of a suffix: by name, and what they hold
MAX_BYTES, MAX_ARRAY_BYTES, MAX_LINE_BYTES = 1 << 20, 1 << 28, 1 << 8
MIN_SHARE, NEARLY = 0.5, 0.9  # of the files, of the cells looked at
NUMBER, BOX = re.compile(rb"\s*-?\d+\s*"), re.compile(rb"\s*(\d+(\s+-?[\d.]+){4,}\s*)+")
BOXES = re.compile(r"\s*(?:(?=\S*[^\W\d])\S+(?:\s+-?[\d.]+){4,5}\s*)+")
TARGET_WORDS = SIDE_WORDS | {
    "gt", "groundtruth", "truth", "target", "targets", "trimap", "trimaps", "seg", "segs", "matte", "mattes", "outline",
    "outlines", "depth", "edges",
}  # fmt: skip
ASKED_OTHERWISE = {
    "bbox", "boxes", "predictionstring", "rle", "rlemask", "encodedpixels", "segmentation", "mask", "polygon", "xmin",
}  # fmt: skip
NO_RUNS = ("", "-1", "nan", "1 1")  # for nothing
BOX_NAMES = [names.split() for names in ("x y w h", "x y width height", "xmin ymin xmax ymax", "x1 y1 x2 y2")]
NOT_READ = "names images, in a form that is not read here"
IN_A_TABLE = "write a CSV of paths and labels, if each image has its class"


def class_files(archive: Archive, index: ImageIndex) -> dict[str, Table]:
    """The table of the classes in files beside images, `0001.cls` or `0001.txt` of `0001.jpg`; none for none."""
    return {
        f"*{suffix}": Table.of_rows(f"*{suffix}", ("path", "label"), rows)
        for suffix in (CLASS_SUFFIX, NAMING_SUFFIX)
        if (rows := _classes_beside(archive, index, suffix))
    }


def _classes_beside(archive: Archive, index: ImageIndex, suffix: str) -> list[tuple[str, str]]:
    """Path and class of each image with such a file; none where one that should name its image does not."""
    rows: list[tuple[str, str]] = []
    for name in archive.names:
        if suffix_of(name) != suffix or archive.size(name) > MAX_LINE_BYTES:
            continue
        images = [index.names[number] for number in index.with_stem_path(plain(name.removesuffix(suffix)))]
        label = archive.read(name).decode("utf-8", "replace").strip() if images else ""
        if images and suffix == NAMING_SUFFIX:
            named = NAME_AND_CLASS.fullmatch(label)
            if named is None or stem_of(named["name"]) != stem_of(images[0]):
                return []
            label = named["label"]
        rows += [(image, label) for image in images]
    return rows


def beside_line(archive: Archive, index: ImageIndex) -> str:
    """What files of the images' names hold, and what to do; '' where there are none."""
    found: dict[str, list[str]] = defaultdict(list)
    for name in archive.names:
        if suffix_of(name).lower() in BESIDE:
            found[suffix_of(name).lower()].append(name)
    for suffix, names in found.items():
        looked = [name for name in names[:NUM_LOOKED_AT] if archive.size(name) <= MAX_BYTES]
        named = [name for name in looked if index.exact(stem_of(name.removesuffix(suffix_of(name))))]
        if len(named) > 1 and len(named) >= MIN_SHARE * len(looked):
            what = _held_by(suffix, [archive.read(name) for name in named[:NUM_READ]])
            return f"{len(names):,} {suffix} files, called as images are (such as {named[0]}), hold {what}"
    return ""


def naming_file(archive: Archive, index: ImageIndex, tables: Collection[str], *, least: int = 2) -> str:
    """The largest file that names so many images and is no table, as tools for labelling write it; '' for none.

    tables: what is one. Only the first names in a file are looked at.
    """
    own = [name for name in archive.names if suffix_of(name).lower() in NAMING and name not in tables]
    for name in sorted(own, key=archive.size, reverse=True)[:NUM_LOOKED_AT]:
        words = NAMED.findall(archive.head(name, MAX_BYTES).decode("utf-8", "replace"))
        named = list(islice(dict.fromkeys(stem_of(plain(word)) for word in words), NUM_LOOKED_AT))
        known = [stem for stem in named if index.exact(stem)]
        if len(known) >= min(least, NUM_LOOKED_AT) and len(known) >= MIN_SHARE * len(named):
            return name
    return ""


def _held_by(suffix: str, contents: Sequence[bytes]) -> str:
    filled = [content for content in contents if content.strip()]
    if suffix == ".xml" and any(b"<bndbox" in content for content in filled):
        return f"boxes, as Pascal VOC has them: detection cannot be learnt here; {IN_A_TABLE}"
    if suffix == ".txt" and filled and all(map(BOX.fullmatch, filled)):
        return (
            f"a class and the numbers of a box a line, as YOLO has them: detection cannot be learnt here; {IN_A_TABLE}"
        )
    if filled and all(map(NUMBER.fullmatch, filled)):
        return "a number each, which may be the class: write them into a CSV of paths and labels"
    return f"what is not read here ({filled[0][:40]!r}, …); {IN_A_TABLE}" if filled else "nothing"


def arrays_line(archive: Archive, names: Iterable[str]) -> str:
    """The arrays in numpy's files, with shapes and types; '' for none that can be read without their code."""
    said = []
    for name in islice(names, NUM_READ):
        if archive.size(name) > MAX_ARRAY_BYTES:
            continue
        content = archive.read(name)
        try:
            if zipfile.is_zipfile(io.BytesIO(content)):
                with zipfile.ZipFile(io.BytesIO(content)) as arrays:
                    parts = {part.removesuffix(".npy"): arrays.open(part) for part in arrays.namelist()[:NUM_READ]}
                    said += [f"{part} of {name} {_shape(handle)}" for part, handle in parts.items()]
            else:
                said.append(f"{name} {_shape(io.BytesIO(content))}")
        except (ValueError, OSError, zipfile.BadZipFile, EOFError):
            continue
    return ", ".join(said)


def _shape(handle: IO[bytes]) -> str:
    version = np.lib.format.read_magic(handle)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, kind = read(handle)
    return f"{shape} {'objects' if kind.hasobject else kind}"


def asks_otherwise(columns: Iterable[str]) -> list[str]:
    """Those of the sample's columns that boxes or outlines are asked in."""
    return [column for column in columns if re.sub(r"[\W_]", "", column.lower()) in ASKED_OTHERWISE]


def outline_columns(table: Table) -> list[str]:
    """The columns that hold boxes or outlines, by their names or as run lengths."""
    named = asks_otherwise(table.header) + box_columns(table.header)
    return [column for column in table.header if column in named or holds_runs(table.column(column))]


def box_columns(header: Collection[str]) -> list[str]:
    """The four columns that are a box by their names, `x, y, w, h`; none for none."""
    own = {column.lower().replace("_", ""): column for column in header}
    return next(([own[name] for name in names] for names in BOX_NAMES if own.keys() >= set(names)), [])


def holds_runs(cells: Texts) -> bool:
    """Whether cells are run lengths: starts that ascend, a length behind each (`12 3 40 5`)."""
    num_runs = 0
    filled = list(islice((cell.split() for cell in cells if cell.strip() not in NO_RUNS), NUM_LOOKED_AT))
    for words in filled:
        if len(words) % 2 or not all(word.isascii() and word.isdecimal() and len(word) < 12 for word in words):
            return False
        own, lengths = list(map(int, words[::2])), map(int, words[1::2])
        if any(start + length > after for start, length, after in zip(own, lengths, own[1:], strict=False)):
            return False
        num_runs += len(own)
    return num_runs > 2 * len(filled) and len(set(map(tuple, filled))) > NEARLY * len(filled)


def holds_outlines(cells: Texts) -> bool:
    """Whether cells are boxes or run lengths."""
    return _holds_boxes(cells) or holds_runs(cells)


def _holds_boxes(cells: Texts) -> bool:
    """Whether each cell that is filled is words with the four numbers of a box behind each: `cat 1 2 30 40`."""
    filled = [cell for cell in islice(cells, NUM_LOOKED_AT) if cell.strip()]
    return bool(filled) and all(map(BOXES.fullmatch, filled))


def pictures_and_targets(labels: Texts, paths: Texts, asked: Collection[str]) -> bool:
    """Whether folders that may be classes hold pictures and, under the same names, their outlines.

    By the words of their names; not where the sample (`asked`) names them, or one denies another (`no_mask`).
    """
    stems: Mapping[str, set[str]] = defaultdict(set)
    for label, path in zip(labels, paths, strict=True):
        stems[label].add(stem_of(path))
    words = {label: set(words_of(label.rpartition("/")[2])) for label in stems}
    told = any(own & TARGET_WORDS or own <= {*NEUTRAL, "jpeg"} for own in words.values())
    alike = len(stems) > 1 and len(set(map(frozenset, stems.values()))) == 1
    return told and alike and not set(stems) & set(asked) and not denied(label.rpartition("/")[2] for label in stems)
