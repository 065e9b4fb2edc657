"""The organiser's tables as text: CSV, TSV and COCO-style JSON, each as a header and rows of strings."""

import csv
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, zip_longest
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from pipeline.competition.archive import Archive
from pipeline.competition.lookup import Lookup
from pipeline.texts import Texts, columns_of_rows

AUTO, NONE = "auto", "none"
TABLE_SUFFIXES = (".csv", ".tsv")
JSON_SUFFIXES = (".json",)
GUESSED_ENCODINGS = ("cp949", "shift_jis", "gb18030", "cp1252")  # to name one in the error, never to go on with
MAX_COLUMNS = 100_000
TRAIN_PARTS = {"train", "training", "val", "valid", "validation", "dev"}  # what a column such as `split` holds
TEST_PARTS = {"test", "testing", "predict"}
COCO_DELIMITER = "|"  # between the categories of one image
CATEGORY_ID, CATEGORY = "category_id", "category"  # columns that a COCO-style file gives


@dataclass(frozen=True)
class Table:
    """A header and text cells, column by column; every column has as many."""

    name: str  # of the member it was read from
    header: tuple[str, ...]
    cells: tuple[Texts, ...]
    delimiter: str = ""  # between the labels of a cell, where the source says so (JSON)

    @classmethod
    def of_rows(cls, name: str, header: Sequence[str], rows: Iterable[Sequence[str]], delimiter: str = "") -> "Table":
        """The table with these rows. Raises ValueError for rows that do not fit the header, by line (header: 1)."""
        cells, odd = columns_of_rows(rows, len(header))
        if odd:
            raise ValueError(
                f"{len(odd)} rows have another number of cells than the header ({len(header)}), first lines "
                f"{[number + 2 for number in odd[:3]]}"
            )
        return cls(name, tuple(header), tuple(cells), delimiter)

    @property
    def num_rows(self) -> int:
        """Rows below the header."""
        return len(self.cells[0])

    @property
    def stem(self) -> str:
        """The file's name without folder and suffixes, lower case."""
        return PurePosixPath(self.name).name.split(".")[0].lower()

    def column(self, name: str) -> Texts:
        """The cells of one column."""
        return self.cells[self.header.index(name)]

    def rows(self) -> Iterator[tuple[str, ...]]:
        """The cells of each row."""
        return zip(*self.cells, strict=True)

    def take(self, rows: np.ndarray) -> "Table":
        """The table of these rows alone, as `Texts.take` takes them."""
        return replace(self, cells=tuple(cells.take(rows) for cells in self.cells))

    def thinned(self, about: int) -> "Table":
        """Every so manieth row, so that `about` to twice as many stay."""
        step = max(1, self.num_rows // about)
        return replace(self, cells=tuple(cells[::step] for cells in self.cells))


def read_tables(archive: Archive, encoding: str = AUTO) -> dict[str, Table]:
    """Member name -> table, for every CSV, TSV, and JSON file that is COCO-style or a list of records.

    encoding: `auto` is UTF-8 (with or without BOM) or UTF-16 with BOM. Raises ValueError for a table that cannot be
    read: encoding, NUL bytes, quotes, ragged rows, two columns of one name.
    """
    tables = {}
    for name in archive.names:
        suffix = PurePosixPath(name).suffix.lower()
        if suffix in TABLE_SUFFIXES:
            tables[name] = read_csv(archive, name, encoding)
        elif suffix in JSON_SUFFIXES:
            found = _json_table(archive, name)
            if found is not None:
                tables[name] = found
    return tables


def read_csv(archive: Archive, name: str, encoding: str = AUTO) -> Table:
    """One CSV or TSV member, its separator found by looking at the header: comma, else tab, else semicolon."""
    where = f"{archive.path}: {name}"
    text = _decoded(archive.read(name), encoding, where)
    if "\0" in text:
        raise ValueError(f"{where} holds NUL bytes; it is not a CSV table")
    first_line = text.split("\n", 1)[0]
    separator = next((mark for mark in ",\t;" if mark in first_line), ",")
    lines = (row for row in csv.reader(_lines(text), strict=True, delimiter=separator) if row)
    try:
        header = tuple(cell.strip() for cell in next(lines, []))
        _check_header(header)
        table = Table.of_rows(name, header, lines) if header else None
    except csv.Error as error:
        raise ValueError(f"{where} is not a readable CSV: {error}") from error
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error
    if table is None or not table.num_rows:
        raise ValueError(f"{where} has {int(bool(header))} lines; it must have a header and at least one row")
    return table


def _lines(text: str) -> Iterator[str]:
    """The lines as csv takes them; io.StringIO would hold four bytes a letter."""
    return (match[0] for match in re.finditer(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+\Z", text))


def _check_header(header: Sequence[str]) -> None:
    if len(header) > MAX_COLUMNS:
        raise ValueError(f"it has {len(header):,} columns, more than {MAX_COLUMNS:,}; is it a table of images?")
    twice = sorted(column for column, count in Counter(header).items() if column and count > 1)
    if twice:
        raise ValueError(f"{len(twice)} columns have one name, first {twice[:3]}; rename one of each")


def _decoded(content: bytes, encoding: str, where: str) -> str:
    if encoding != AUTO:
        try:
            return content.decode(encoding)
        except (UnicodeDecodeError, LookupError) as error:
            raise ValueError(
                f"{where} cannot be read in the encoding {encoding!r} ({error}); see competition.encoding"
            ) from error
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return _decoded(content, "utf-16", where)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        fitting = [name for name in GUESSED_ENCODINGS if _decodes(content, name)]
        hint = "save it as UTF-8"
        if fitting:
            hint = f"it would decode as {', '.join(fitting)}; if that is right: competition.encoding: {fitting[0]}"
        raise ValueError(f"{where} is not UTF-8 ({error}); {hint}") from error


def _decodes(content: bytes, encoding: str) -> bool:
    try:
        content.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def without_index(table: Table) -> Table:
    """The table less a column that only counts its rows: unnamed (pandas' `index=True`), 0, 1, 2, … or 1, 2, 3, …."""
    first = table.header[0]
    if len(table.header) > 1 and (not first or first.startswith("Unnamed:")) and counts_rows(table.cells[0]):
        return replace(table, header=table.header[1:], cells=table.cells[1:])
    return table


def counts_rows(cells: Sequence[str]) -> bool:
    """Whether the cells are 0, 1, 2, … or 1, 2, 3, …."""
    return any(all(cell == str(number) for number, cell in enumerate(cells, start)) for start in (0, 1))


def joined(table: Table, others: Sequence[Table], key: str) -> Table:
    """`table` with the columns of those `others` that have a row for each of its keys, matched by column `key`."""
    for other in others:
        new = [at for at, column in enumerate(other.header) if column and column not in table.header]
        if not new or key not in other.header or not other.column(key).all_distinct():
            continue
        rows = rows_with(other.column(key), table.column(key))
        if (rows >= 0).all():
            added = other.take(rows)
            header = (*table.header, *(other.header[at] for at in new))
            table = replace(table, header=header, cells=(*table.cells, *(added.cells[at] for at in new)))
    return table


def rows_with(cells: Texts, sought: Texts) -> np.ndarray:
    """(N,) int64: in which row of `cells` each of the `sought` stands (the last, of several); -1 for none."""
    lookup = Lookup(cells, lambda cell: (cell,))
    rows = (lookup.rows(cell) for cell in sought)
    return np.fromiter((found[-1] if found else -1 for found in rows), dtype=np.int64, count=len(sought))


def parted(table: Table) -> tuple[Table, Table] | None:
    """(train rows, test rows) of a table that tells them apart in a column such as `split`; None of any other.

    Rows for validation are labelled: they are train rows.
    """
    for cells in table.cells:
        parts = (cell.strip().lower() for cell in cells)
        if not all(part in TRAIN_PARTS | TEST_PARTS for part in parts):
            continue
        parts = (cell.strip().lower() for cell in cells)
        train = np.fromiter((part in TRAIN_PARTS for part in parts), dtype=bool, count=len(cells))
        if train.any() and not train.all():
            return table.take(train), table.take(~train)
    return None


def is_plain_csv(content: bytes, table: Table) -> bool:
    """Whether these bytes are UTF-8 CSV with commas that gives this table."""
    try:
        found = csv.reader(_lines(content.decode("utf-8-sig")), strict=True)
        return all(tuple(row or ()) == own for row, own in zip_longest(found, chain([table.header], table.rows())))
    except (UnicodeDecodeError, csv.Error):
        return False


def _records_table(name: str, found: list[Any]) -> Table | None:
    """A list of flat records with the same fields, as a table."""
    if not found or not all(isinstance(record, dict) and record.keys() == found[0].keys() for record in found):
        return None
    header = [field for field in found[0] if not any(isinstance(record[field], dict | list) for record in found)]
    rows = (tuple(_text(record[field]) for field in header) for record in found)
    return Table.of_rows(name, header, rows) if header else None


def _json_table(archive: Archive, name: str) -> Table | None:
    """A row for each of a COCO-style file's `images`, its categories joined, or for each of a list of records.

    None for JSON of another kind.
    """
    try:
        found = json.loads(archive.read(name))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{archive.path}: {name} is not readable JSON ({error}); download it again") from error
    if isinstance(found, list):
        return _records_table(name, found)
    images = found.get("images") if isinstance(found, dict) else None
    if (
        not isinstance(images, list)
        or not images
        or not all(isinstance(image, dict) and "file_name" in image for image in images)
    ):
        return None
    try:
        return _coco_rows(name, found)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{archive.path}: {name} has `images` but is not COCO-style ({type(error).__name__}: {error}); "
            "images need id and file_name, annotations image_id and category_id, categories id and name"
        ) from error


def _coco_rows(name: str, found: dict[str, Any]) -> Table:
    images = found["images"]
    id_key = "id" if "id" in images[0] else "image_id"
    fields = [
        field
        for field in images[0]
        if field not in (id_key, "file_name") and all(not isinstance(image.get(field), dict | list) for image in images)
    ]
    header = ["image_id", "file_name", *fields]
    rows = [
        [str(image[id_key]), str(image["file_name"]), *(_text(image.get(field)) for field in fields)]
        for image in images
    ]
    ids_of: dict[Any, set[Any]] = {}
    for annotation in found.get("annotations") or []:
        ids_of.setdefault(annotation["image_id"], set()).add(annotation["category_id"])
    if ids_of:
        name_of = _category_names(found.get("categories") or [])
        header += [CATEGORY_ID, CATEGORY] if name_of else [CATEGORY_ID]
        for image, row in zip(images, rows, strict=True):
            ids = sorted(ids_of.get(image[id_key], set()))
            row.append(COCO_DELIMITER.join(map(str, ids)))
            row += [COCO_DELIMITER.join(name_of[category] for category in ids)] if name_of else []
    several = any(len(ids) > 1 for ids in ids_of.values())
    return Table.of_rows(name, header, rows, COCO_DELIMITER if several else "")


def _category_names(categories: Sequence[dict[str, Any]]) -> dict[Any, str]:
    """Category id -> name; empty where categories have none (some have a scientific name and a family instead)."""
    if not all("name" in category for category in categories):
        return {}
    return {category["id" if "id" in category else "category_id"]: str(category["name"]) for category in categories}


def _text(value: Any) -> str:
    return "" if value is None else str(value)
