"""The organiser's tables as text: CSV, TSV and COCO-style JSON, each as a header and rows of strings."""

import csv
import io
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any

from pipeline.competition.archive import Archive
from pipeline.files import Once

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
    """A header and rows of text cells; every row has as many as the header."""

    name: str  # of the member it was read from
    header: tuple[str, ...]
    rows: list[tuple[str, ...]]
    delimiter: str = ""  # between the labels of a cell, where the source says so (JSON)

    def column(self, name: str) -> list[str]:
        """The cells of one column."""
        position = self.header.index(name)
        return [row[position] for row in self.rows]

    @property
    def stem(self) -> str:
        """The file's name without folder and suffixes, lower case."""
        return PurePosixPath(self.name).name.split(".")[0].lower()


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
    lines = (row for row in csv.reader(io.StringIO(text, newline=""), strict=True, delimiter=separator) if row)
    try:
        header = tuple(cell.strip() for cell in next(lines, []))
        once = [Once() for _ in header]
        rows = [_kept_once(row, once) for row in lines]
    except csv.Error as error:
        raise ValueError(f"{where} is not a readable CSV: {error}") from error
    if not rows:
        raise ValueError(f"{where} has {int(bool(header))} lines; it must have a header and at least one row")
    return _checked(Table(name, header, rows), where)


def _kept_once(row: list[str], once: list[Once]) -> tuple[str, ...]:
    """The cells, equal ones of a column as one text; a row of another length stays as it is, for the error."""
    return tuple(row) if len(row) != len(once) else tuple(keep(cell) for keep, cell in zip(once, row, strict=True))


def _checked(table: Table, where: str) -> Table:
    header = table.header
    if len(header) > MAX_COLUMNS:
        raise ValueError(f"{where} has {len(header):,} columns, more than {MAX_COLUMNS:,}; is it a table of images?")
    twice = sorted(column for column, count in Counter(header).items() if column and count > 1)
    if twice:
        raise ValueError(f"{where}: {len(twice)} columns have one name, first {twice[:3]}; rename one of each")
    ragged = [number for number, row in enumerate(table.rows, start=2) if len(row) != len(header)]
    if ragged:
        raise ValueError(
            f"{where}: {len(ragged)} rows have another number of cells than the header "
            f"({len(header)}), first lines {ragged[:3]}"
        )
    return table


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
    cells = [row[0] for row in table.rows]
    counts = [[str(start + number) for number in range(len(cells))] for start in (0, 1)]
    if len(table.header) > 1 and (not first or first.startswith("Unnamed:")) and cells in counts:
        return replace(table, header=table.header[1:], rows=[row[1:] for row in table.rows])
    return table


def joined(table: Table, others: Sequence[Table], key: str) -> Table:
    """`table` with the columns of those `others` that have a row for each of its keys, matched by column `key`."""
    for other in others:
        if key not in other.header or len(set(other.column(key))) != len(other.rows):
            continue
        row_of = dict(zip(other.column(key), other.rows, strict=True))
        new = [at for at, column in enumerate(other.header) if column and column not in table.header]
        keys = table.column(key)
        if new and all(value in row_of for value in keys):
            header = (*table.header, *(other.header[at] for at in new))
            rows = [(*row, *(row_of[value][at] for at in new)) for row, value in zip(table.rows, keys, strict=True)]
            table = replace(table, header=header, rows=rows)
    return table


def parted(table: Table) -> tuple[Table, Table] | None:
    """(train rows, test rows) of a table that tells them apart in a column such as `split`; None of any other.

    Rows for validation are labelled: they are train rows.
    """
    for column in table.header:
        parts = [cell.strip().lower() for cell in table.column(column)]
        distinct = set(parts)
        if distinct <= TRAIN_PARTS | TEST_PARTS and distinct & TRAIN_PARTS and distinct & TEST_PARTS:
            rows = list(zip(parts, table.rows, strict=True))
            train = [row for part, row in rows if part in TRAIN_PARTS]
            return replace(table, rows=train), replace(table, rows=[row for part, row in rows if part in TEST_PARTS])
    return None


def is_plain_csv(content: bytes, table: Table) -> bool:
    """Whether these bytes are UTF-8 CSV with commas that gives this table."""
    try:
        rows = list(csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True))
    except (UnicodeDecodeError, csv.Error):
        return False
    return [tuple(row) for row in rows] == [table.header, *table.rows]


def _records_table(name: str, found: list[Any]) -> Table | None:
    """A list of flat records with the same fields, as a table."""
    if not found or not all(isinstance(record, dict) and record.keys() == found[0].keys() for record in found):
        return None
    header = [field for field in found[0] if not any(isinstance(record[field], dict | list) for record in found)]
    rows = [tuple(_text(record[field]) for field in header) for record in found]
    return Table(name, tuple(header), rows) if header else None


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
    return Table(name, tuple(header), [tuple(row) for row in rows], COCO_DELIMITER if several else "")


def _category_names(categories: Sequence[dict[str, Any]]) -> dict[Any, str]:
    """Category id -> name; empty where categories have none (some have a scientific name and a family instead)."""
    if not all("name" in category for category in categories):
        return {}
    return {category["id" if "id" in category else "category_id"]: str(category["name"]) for category in categories}


def _text(value: Any) -> str:
    return "" if value is None else str(value)
