"""The organiser's tables found and read: CSV, lists, JSON, arrays. What cannot be read is left aside, with a cause."""

import contextlib
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path, PurePosixPath

import numpy as np

from pipeline.archive.archive import Archive, open_archive
from pipeline.archive.encodings import AUTO, checked_encoding, decoded
from pipeline.base.texts import Texts, joined_texts
from pipeline.tables.array_rows import Named, holds_arrays, image_arrays, read_arrays, with_labels
from pipeline.tables.delimited import read_delimited, read_list
from pipeline.tables.image_names import IMAGE_SUFFIXES, image_names, stem_of, suffix_of
from pipeline.tables.image_paths import MISSING, ImageIndex, plain
from pipeline.tables.json_tables import read_json_table, with_objects
from pipeline.tables.pixel_rows import PixelRows, add_images, read_pixels
from pipeline.tables.table import PART_NAME_WORDS, Table
from pipeline.tables.words import NEUTRAL, TEST, TRAIN, role_of, split_roles, without_shared, words_of

DELIMITED = (".csv", ".tsv", ".psv")
LISTS = (".txt", ".lst", ".list")
TEXT_SUFFIXES = (".tab", ".dat", ".data", ".asc", ".prn")  # a list, or anything else
TEXT_LOOKED_AT = 1 << 12  # bytes
OTHER_JSON = (".manifest", ".labels")  # as Amazon's SageMaker and Edge Impulse have it; or anything else
JSON = (".json", ".jsonl", ".ndjson", *OTHER_JSON)
SPREADSHEETS = (".xls", ".xlsx", ".xlsm", ".ods", ".numbers", ".parquet", ".feather")
WITH_IMAGES = (".parquet", ".feather")  # of these, those whose cells may be images
MAX_SHOWN = 3  # files left aside that a warning names
NUM_LOOKED_AT = 64  # cells of a list
MIN_LISTS = 2  # of one class each
MIN_LINES = 8  # of labels alone: fewer may be classes
SIGNS = {"1": "1", "-1": "0", "0": ""}  # of a list that says which images have its class: cells -> 0/1 column
FEW_IMAGES, ROWS_AN_IMAGE = 20, 2  # beside so few, and so many rows for each, rows of pixels are the images
MAX_LIST_BYTES = 1 << 28
SAMPLE_WORDS = {"submission", "submit"}
LABEL_WORDS = {"label", "labels", "annotation", "annotations"}
SAMPLE, LABELS = "sample", "train_table"  # keys of section `competition` that say which table is meant


@dataclass(frozen=True)
class TableFiles:
    """What was found."""

    tables: dict[str, Table]  # by member, or by `FOLDER/*.csv` where a table for each folder makes one
    unread: dict[str, str]  # member -> why it is left aside: "is not UTF-8 …"
    notes: Sequence[str] = ()  # about tables whose rows are images: those are members of the archive now

    def left_aside(self, *, lines: bool = False) -> list[str]:
        """What is left aside, and why; lines: with those for params.yaml that would have it read."""
        shown = [
            f"{name} is left aside: it {reason if lines else reason.splitlines()[0].rstrip(':')}"
            for name, reason in self.unread.items()
        ]
        more = len(shown) - MAX_SHOWN
        last = [f"{more:,} more tables are left aside, as they cannot be read"] if more > 0 else []
        return shown[:MAX_SHOWN] + last

    def warnings(self) -> list[str]:
        """Lines about what is left aside, and about lines of tables that are no rows."""
        skipped = [
            f"{len(table.skipped):,} lines of {table.name} are no rows and are skipped, first {table.skipped[0][:80]!r}"
            for table in self.tables.values()
            if table.skipped
        ]
        return self.left_aside() + skipped[:MAX_SHOWN]

    def needed(
        self,
        wished: Sequence[str],
        settled: Sequence[str],
        is_sample: Callable[[str], bool],
        image_folders: Collection[str],
    ) -> str:
        """Why there is no way on: what is unread but named by the user, or the only one called as a table of its kind.

        wished: names that the user gives; settled: keys of section `competition` that say which table is meant;
        is_sample: whether a name is a sample submission's; image_folders: where images lie: a table beside them
        speaks of them. '' where nothing unread is needed.
        """
        there = {_kind_of(name, is_sample) for name in self.tables}
        lines = []
        for name, reason in self.unread.items():
            kind = _kind_of(name, is_sample) or (LABELS if _folder(name) in image_folders else None)
            if name in wished:
                lines.append(f"{name} {reason}")
            elif kind and kind not in there and kind not in settled:
                lines.append(f"{name} {reason}\n    competition.{kind}: none    # if it is not needed")
        return "\n".join(lines)


def _kind_of(name: str, is_sample: Callable[[str], bool] = lambda name: False) -> str | None:
    """The key of section `competition` that a table called so would answer."""
    stem = _stem(name)
    if is_sample(name) or SAMPLE_WORDS & set(words_of(stem)):
        return SAMPLE
    if role_of(stem) == TEST:
        return "test_table"
    return LABELS if role_of(stem) == TRAIN or LABEL_WORDS & set(words_of(stem)) else None


@contextlib.contextmanager
def open_images(
    path: Path, *, encoding: str = AUTO, header: str | Sequence[str] = AUTO, pixels: str = AUTO
) -> Iterator[Archive]:
    """The archive at `path`, whose members are the images too that are rows of a table. Keywords: as `read_tables`."""
    with open_archive(path) as archive:
        if len(image_names(archive)) <= FEW_IMAGES:
            read_tables(archive, encoding=encoding, header=header, pixels=pixels)
        yield archive


def read_tables(
    archive: Archive,
    index: ImageIndex | None = None,
    *,
    encoding: str = AUTO,
    header: str | Sequence[str] = AUTO,
    pixels: str = AUTO,
) -> TableFiles:
    """Every table; tables of one header beside the images of each folder become one.

    index: of the archive's images; where there is none, a table's rows may be images. encoding: as `decoded` takes it;
    header: names for tables that have none, or `auto`; pixels: the shape of a row's image, as `add_images` takes it.
    """
    checked_encoding(encoding)
    names = () if isinstance(header, str) else header
    index = index or ImageIndex(image_names(archive))
    tables: dict[str, Table] = {}
    unread: dict[str, str] = {}
    pixel_rows: list[PixelRows] = []
    arrays: dict[Named, np.ndarray] = {}

    for name in archive.names:
        if _is_copy(archive, name):
            continue
        try:
            if holds_arrays(name) and len(index.names) <= FEW_IMAGES:
                arrays |= read_arrays(name, archive.read(name))
                continue
            found = _read(archive, name, index, encoding, names)
        except (ValueError, OSError) as error:
            unread[name] = str(error)
            continue
        if isinstance(found, PixelRows):
            pixel_rows.append(found)
        elif found is not None:
            tables[name] = found
    pixel_rows = [with_labels(rows, tables) for rows in (*pixel_rows, *image_arrays(arrays))]
    if not pixel_rows:
        tables, notes = _lists_together(_together(_classes_together(tables), archive), index)
        return TableFiles(tables, unread, notes)
    added, notes = add_images(archive, pixel_rows, tables, pixels)
    return TableFiles(tables | added, unread, notes)


def _is_copy(archive: Archive, name: str) -> bool:
    """Whether a file lies in a folder called as it is, beside which the same file lies: `t/t.csv` of `t.csv`."""
    folder, _, base = name.rpartition("/")
    around, _, last = folder.rpartition("/")
    beside = f"{around}/{base}" if around else base
    called_alike = bool(last) and last in (base, base.removesuffix(suffix_of(base)))
    same = called_alike and beside in archive and archive.size(name) == archive.size(beside)
    return same and archive.fingerprint(name) == archive.fingerprint(beside)


def _leads_to_image(cell: str, index: ImageIndex) -> bool:
    """Whether a cell is an image's path or name, or a whole file name that one's name holds: `7.jpg`, `7_small.jpg`."""
    if not cell or index.tail(cell) != MISSING or index.exact(cell):
        return bool(cell)
    return suffix_of(cell).lower() in IMAGE_SUFFIXES and bool(index.holding(stem_of(cell)))


def _read(
    archive: Archive, name: str, index: ImageIndex, encoding: str, header: Sequence[str]
) -> Table | PixelRows | None:
    """None for what is no table: of a list, also what is no text, unless it is called as a table is."""
    suffix = suffix_of(name).lower()
    is_list = suffix in LISTS or _is_list_by_name(archive, name, index)
    if suffix in SPREADSHEETS:
        images = ", and images that are in it (bytes in a column, as Hugging Face has them) as a PNG each"
        images = images if suffix in WITH_IMAGES else ""
        raise ValueError(f"is {suffix}, which is not read; save it as CSV beside it{images}")
    if not (is_list or suffix in (*DELIMITED, *JSON)) or (is_list and archive.size(name) > MAX_LIST_BYTES):
        return None
    # a list of numbers or words is one of images only where its name says so, or the cells are paths
    any_cell = not is_list or role_of(_stem(name)) is not None or _kind_of(name) is not None

    def is_image(cell: str) -> bool:
        return (any_cell or "/" in cell or "." in cell) and _leads_to_image(plain(cell), index)

    try:
        text = decoded(archive.read(name), name, encoding)
        if suffix in JSON:
            found = read_json_table(name, text, is_image, may_be_ids=_kind_of(name) == SAMPLE)
            if found is None and _kind_of(name) == SAMPLE:
                raise ValueError("is JSON in which no ids and answers are known here; make it records of both")
            return found
        if is_list:
            found = read_list(name, text, is_image)
            if found is None:
                _refuse_other_answers(name, text)
            if found is None or len(found.header) == 1:
                _refuse_labels_alone(name, text, index)
            return found
        are_rows = len(index.names) <= FEW_IMAGES and text.count("\n") > ROWS_AN_IMAGE * len(index.names)
        is_sample = _kind_of(name) == SAMPLE
        pixels = read_pixels(name, text) if are_rows else None
        if pixels is not None:
            return pixels
        table = read_delimited(name, text, header, is_image=is_image, may_lack_header=is_sample)
        return with_objects(table) if '{"' in text else table
    except ValueError:
        if (is_list or suffix in OTHER_JSON) and _kind_of(name) is None:
            return None
        raise


def _is_list_by_name(archive: Archive, name: str, index: ImageIndex) -> bool:
    """Whether a file of no suffix, or one that says nothing, is called as a table is and begins as text does."""
    if suffix_of(name).lower() not in ("", *TEXT_SUFFIXES) or _kind_of(name) is None:
        return False
    if index.number(plain(name)) != MISSING:
        return False
    head = archive.head(name, TEXT_LOOKED_AT)
    return b"\0" not in head and b"\n" in head


def _refuse_other_answers(name: str, text: str) -> None:
    """Raise ValueError for a list that is called a submission and has answers alone, or ids that lead to no image."""
    if _kind_of(name) != SAMPLE:
        return
    lines = text.split("\n")
    words = [line.split() for line in lines if line.strip()]
    if {len(row) for row in words} == {2} and len({row[0] for row in words}) == len(words):
        raise ValueError(
            f"has two words a line, first {lines[0].strip()[:80]!r}, and the first leads to no image; make it a CSV of "
            "ids and answers"
        )
    if len(lines) > 2 and not any(" " in line.strip() for line in lines):
        raise ValueError(
            f"has an answer a line and no ids, first {lines[0].strip()[:80]!r}: which image a line speaks of cannot be "
            "known here, nor such a file written; make it a CSV of ids and answers"
        )


def _refuse_labels_alone(name: str, text: str, index: ImageIndex) -> None:
    """Raise ValueError for a list called one of labels that has as many lines as a folder has images, and no names."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if _kind_of(name) != LABELS or len(lines) < MIN_LINES or len(set(lines)) > len(lines) / 2:
        return
    if len(lines) in Counter(map(_folder, index.paths)).values():
        raise ValueError(
            f"has {len(lines):,} lines, first {lines[0][:80]!r}, as many as a folder has images, and names none: "
            "which line is of which image cannot be known here; make it a CSV of names and labels"
        )


# -- a table for each folder


def _together(tables: dict[str, Table], archive: Archive) -> dict[str, Table]:
    """The tables, those of one header that lie beside the images of which they speak, a folder each, as one.

    Its path column then holds whole paths. Tables of training, validation and test folders stay apart.
    """
    roles = split_roles({_folder(name): None for name in tables})
    alike: dict[tuple[object, ...], dict[str, tuple[Table, int]]] = defaultdict(dict)
    for name, table in tables.items():
        place = _beside_images(table, _folder(name), archive)
        if place is not None:
            key = (table.header, table.delimiter, roles[_folder(name)], suffix_of(name), place)
            alike[key][name] = (table, place)
    for group in alike.values():
        folders = {_folder(name) for name in group}
        if 1 < len(group) == len(folders):
            whole = _joined_group(group)
            tables = {name: table for name, table in tables.items() if name not in group} | {whole.name: whole}
    return tables


def _folder(name: str) -> str:
    return name.rpartition("/")[0]


def _beside_images(table: Table, folder: str, archive: Archive) -> int | None:
    """The column whose first cells are files in this folder; None for none, or in the top folder."""
    if not folder:
        return None
    for place, cells in enumerate(table.cells):
        if all(cell and f"{folder}/{plain(cell)}" in archive for cell in islice(cells, MAX_SHOWN)):
            return place
    return None


def _joined_group(group: dict[str, tuple[Table, int]]) -> Table:
    (first, place), *_ = group.values()
    columns = []
    for at in range(len(first.header)):
        parts = [
            Texts(f"{_folder(name)}/{plain(cell)}" for cell in table.cells[at]) if at == place else table.cells[at]
            for name, (table, _) in group.items()
        ]
        columns.append(joined_texts(parts))
    folders = [_folder(name).split("/") for name in group]
    shared = [names[0] for names in zip(*folders, strict=False) if len(set(names)) == 1]
    name = "/".join([*shared, f"*{suffix_of(first.name)}"])
    return replace(first, name=name, cells=tuple(columns))


# -- a list for each class


def _classes_together(tables: dict[str, Table]) -> dict[str, Table]:
    """The tables, the lists that say of one class each which of the same images have it as one, a column for each.

    As Pascal VOC has them: `cat_train.txt` and `dog_train.txt` are `*_train.txt`. 1 stays 1, -1 becomes 0, and 0 (hard
    to see) is left blank.
    """
    alike: dict[str, dict[str, Table]] = defaultdict(dict)
    for name, table in tables.items():
        path = PurePosixPath(name)
        label, _, part = path.stem.rpartition("_")
        signs = set(table.cells[1].distinct()) if len(table.header) == 2 and path.suffix in LISTS else set()
        if label and role_of(part) and "-1" in signs and signs <= SIGNS.keys():
            alike[str(path.with_name(f"*_{part}{path.suffix}"))][label] = table
    for name, group in alike.items():
        first, *rest = group.values()
        if rest and all((table.header, table.cells[0]) == (first.header, first.cells[0]) for table in rest):
            gone = {table.name for table in group.values()}
            columns = (Texts(SIGNS[cell] for cell in group[label].cells[1]) for label in sorted(group))
            tables = {own: table for own, table in tables.items() if own not in gone}
            tables[name] = Table(name, (first.header[0], *sorted(group)), (first.cells[0], *columns))
    return tables


def _lists_together(tables: dict[str, Table], index: ImageIndex) -> tuple[dict[str, Table], list[str]]:
    """(the tables, a list of images for each class as one with a label column; a note that says so).

    Only where nothing else may hold labels: the lists share no image, the images lie in one folder, and no other table
    but a sample submission or one of test images speaks of images.
    """
    lists = {name: table for name, table in tables.items() if _may_be_of_class(table, index)}
    labels = without_shared([_stem(name) for name in lists])
    others = [table for name, table in tables.items() if name not in lists and _speaks_of_labels(table, index)]
    if len(lists) < MIN_LISTS or others or not all(map(_may_be_class, labels)):
        return tables, []
    first = next(iter(lists.values()))
    cells = joined_texts(table.cells[0] for table in lists.values())
    folders = {_folder(path) for cell in cells for path in _paths_of(plain(cell), index)}
    if not cells.all_distinct() or len(folders) > 1 or len({table.header for table in lists.values()}) > 1:
        return tables, []
    label_of = Texts(label for label, table in zip(labels, lists.values(), strict=True) for _ in range(table.num_rows))
    whole = Table(f"*{suffix_of(first.name)}", (*first.header, "label"), (cells, label_of))
    rest = {name: table for name, table in tables.items() if name not in lists}
    return rest | {whole.name: whole}, [f"labels are the names of {len(lists):,} lists, such as {first.name}"]


def _may_be_of_class(table: Table, index: ImageIndex) -> bool:
    """Whether a table is a list of images and nothing else, not called as one of validation or test images."""
    return len(table.header) == 1 and role_of(_stem(table.name)) in (None, TRAIN) and _leads(table.cells[0], index)


def _speaks_of_labels(table: Table, index: ImageIndex) -> bool:
    kind = _kind_of(table.name)
    return kind == LABELS or (kind is None and any(_leads(cells, index) for cells in table.cells))


def _may_be_class(label: str) -> bool:
    """Whether what a list is called may be a class: `oak`; not `2`, `part_b`, `images`."""
    words = words_of(label)
    return any(word not in NEUTRAL and not word.isdigit() for word in words) and not PART_NAME_WORDS & set(words)


def _leads(cells: Texts, index: ImageIndex) -> bool:
    """Whether cells, as far as is looked, lead to images."""
    return all(_leads_to_image(plain(cell), index) for cell in islice(cells, NUM_LOOKED_AT))


def _paths_of(cell: str, index: ImageIndex) -> list[str]:
    number = index.tail(cell)
    return index.exact(cell) if number == MISSING else [index.paths[number]]


def _stem(name: str) -> str:
    return PurePosixPath(name).stem
