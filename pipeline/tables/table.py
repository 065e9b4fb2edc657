"""The organiser's tables as text, each a header and columns of strings; `table_files` reads them."""

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

import numpy as np

from pipeline.base.lookup import Lookup
from pipeline.base.texts import Texts, columns_of_rows
from pipeline.tables.words import TEST, TRAIN, VALID, is_all_role, role_of, words_of

AUTO, NONE = "auto", "none"
INDEX = "index"  # how a first column without a name is called
CATEGORY_ID, CATEGORY = "category_id", "category"  # columns that a COCO-style file gives
INDEX_NAMES = re.compile(r"|Unnamed: ?\d+(\.\d+)?|index|idx|row|rownames?|row_?number", re.IGNORECASE)
FLAG_WORDS = {"is", "in", "set", "flag", "split"}
PART_NAME_WORDS = {"split", "subset", "set", "part", "partition", "usage", "phase", "fold", "dataset", "group"}
YES = {
    "1", "1.0", "1,0", "true", "yes", "y", "t", "wahr", "ja", "vrai", "oui", "verdadero", "verdadeiro", "sí", "sim",
    "vero", "sì", "waar", "prawda", "tak", "истина", "да", "真", "是", "はい", "참", "예", "✓", "✔", "☑", "√",
}  # fmt: skip
NO = {
    "0", "0.0", "0,0", "false", "no", "n", "f", "falsch", "nein", "faux", "non", "falso", "não", "onwaar", "nee",
    "fałsz", "nie", "ложь", "нет", "假", "否", "いいえ", "거짓", "아니오", "✗", "✘", "☐", "",
}  # fmt: skip
MAX_DIGITS = 10  # of a number that may be a row's
MAX_PARTS = 20  # distinct cells of a column that parts the rows


@dataclass(frozen=True)
class Table:
    """A header and text cells, column by column; every column has as many."""

    name: str  # of the member it was read from
    header: tuple[str, ...]
    cells: tuple[Texts, ...]
    delimiter: str = ""  # between the labels of a cell, where the source says so (JSON)
    skipped: tuple[str, ...] = ()  # lines of the source that are no rows

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
        return PurePosixPath(self.name).stem.lower()

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
        """Every n-th row, so that `about` to twice as many stay."""
        step = max(1, self.num_rows // about)
        return replace(self, cells=tuple(cells[::step] for cells in self.cells))


def without_index(table: Table) -> Table:
    """The table less a first column that only counts its rows: unnamed, or called as pandas and R call it.

    One that has a name goes only where another column tells all rows apart: it may be the id.
    """
    first = table.header[0]
    if len(table.header) < 2 or not INDEX_NAMES.fullmatch(first) or not counts_rows(table.cells[0]):
        return table
    unnamed = not first or first.lower().startswith("unnamed")
    if unnamed or any(cells.all_distinct() for cells in table.cells[1:]):
        return replace(table, header=table.header[1:], cells=table.cells[1:])
    return table


def all_named(table: Table) -> Table:
    """The table with a name for its first column: pandas writes an index of file names without one."""
    if table.header[0] or INDEX in table.header:
        return table
    return replace(table, header=(INDEX, *table.header[1:]))


def counts_rows(cells: Sequence[str]) -> bool:
    """Whether the cells are 0, 1, 2, … or 1, 2, 3, …."""
    return any(all(cell == str(number) for number, cell in enumerate(cells, start)) for start in (0, 1))


def first_counted(cells: Collection[str]) -> int | None:
    """From where these are whole numbers that count, 0 or 1, in whatever order; None where they are not."""
    if not all(cell.isdecimal() and len(cell) < MAX_DIGITS for cell in cells):
        return None
    numbers = sorted(map(int, cells))
    return next((start for start in (0, 1) if numbers and numbers == list(range(start, start + len(numbers)))), None)


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
    """(train rows, test rows) of a table that tells them apart in a column such as `split` or `is_train`; else None.

    Rows for validation are labelled: they are train rows. Rows of which the column says nothing are test rows: they
    are never trained on, and predicted only where they are asked for.
    """
    for name, cells in zip(table.header, table.cells, strict=True):
        distinct = cells.distinct()
        if len(distinct) > MAX_PARTS:
            continue
        labelled = _labelled_cells(name, [cell.strip() for cell in distinct])
        train = np.fromiter((cell.strip() in labelled for cell in cells), dtype=bool, count=len(cells))
        if labelled and not train.all():
            return table.take(train), table.take(~train)
    return None


def part_columns(table: Table) -> set[str]:
    """The columns that say of which part of the data a row is, whether some are test rows or not."""
    found = set()
    for name, cells in zip(table.header, table.cells, strict=True):
        distinct = [cell.strip() for cell in cells.distinct()]
        if len(distinct) <= MAX_PARTS and (
            _is_flag(name, distinct)
            or _labelled_cells(name, distinct)
            or (any(distinct) and all(is_all_role(cell) for cell in distinct if cell))
        ):
            found.add(name)
    return found


def _is_flag(name: str, cells: Sequence[str]) -> bool:
    """Whether a column says yes or no of one part: `is_train`, `is_valid`."""
    has_role = role_of(name) is not None and bool(FLAG_WORDS & set(words_of(name)))
    return has_role and {cell.lower() for cell in cells} <= YES | NO


def _labelled_cells(name: str, cells: Sequence[str]) -> set[str]:
    """Which of a column's distinct cells mark rows with labels; empty where the column parts no rows."""
    role = role_of(name)
    if _is_flag(name, cells):
        meant = YES if role == TRAIN else NO if role == TEST else ()  # what is not for validation is for training
        return {cell for cell in cells if cell.lower() in meant}
    is_named = bool(PART_NAME_WORDS & set(words_of(name)))
    roles = {cell: role_of(cell) if is_named or is_all_role(cell) else None for cell in cells}
    if TEST not in roles.values() or not (is_named or all(roles[cell] for cell in cells if cell)):
        return set()
    return {cell for cell, part in roles.items() if part in (TRAIN, VALID)}


def id_table(column: str, ids: Texts) -> Table:
    """Ids alone, as a table."""
    return Table("the sample submission", (column,), (ids,))
