"""The columns of the organiser's own train table, as text, and the order in time that one of them tells."""

import csv
import difflib
import re
import warnings
from collections.abc import Callable, Hashable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.base.files import made_by, read_cells
from pipeline.base.texts import Texts

IMAGE_ID = "image_id"
EXIF = "%Y:%m:%d %H:%M:%S"  # of which pandas, left alone, reads the time of day
SHORT = re.compile(r"\s*(\d{1,2})([-/. ])(\d{1,2})\2(\d{1,2})(?!\d)(.*)", re.DOTALL)  # a year of two digits, somewhere


def read_train_columns(path: Path, image_ids: Sequence[str]) -> dict[str, Texts]:
    """Column name -> cells, rows in the order of `image_ids`; the ids that ingest puts first are left out.

    Of columns with the same name the first counts.
    """
    with made_by("ingest", path), path.open(encoding="utf-8", newline="") as handle:
        lines = csv.reader(handle)
        header = next(lines, [])
        if header[:1] != [IMAGE_ID]:
            raise ValueError(f"{path} has the columns {header[:5]}, the first must be {IMAGE_ID}")
        ids, *cells = read_cells(path, lines, len(header))
    if ids != image_ids:
        raise ValueError(
            f"{path} has {len(ids)} rows that are not those of the train table ({len(image_ids)}) in its order; "
            "run `dvc repro -f ingest`"
        )
    columns: dict[str, Texts] = {}
    for name, column in zip(header[1:], cells, strict=True):
        columns.setdefault(name, column)
    return columns


def column_named(columns: Mapping[str, Texts], name: str, key: str) -> Texts:
    """The cells of the column that params key `key` names."""
    if name in columns:
        return columns[name]
    by_lower = {column.lower(): column for column in columns}
    close = [by_lower[found] for found in difflib.get_close_matches(name.lower(), list(by_lower), n=3)]
    hint = f"did you mean {' or '.join(close)}? " if close else ""
    raise ValueError(
        f"{key} is {name!r}, which the organiser's train table does not have; {hint}"
        f"its {len(columns)} columns: {', '.join(columns) or 'none'}"
    )


def order_in_time(cells: Sequence[str], column: str) -> np.ndarray:
    """(N,) int ranks, equal for the same moment: cells all numbers, all ISO dates, or all dates of one other format.

    Where day and month cannot be told apart, the month comes first. Raises ValueError for a cell that does not fit, and
    for dates of which nobody can tell whether they begin or end with a year of two digits.
    """
    distinct = list(dict.fromkeys(cells))
    best = _moments(_with_whole_years(distinct, column))
    unread = {cell for cell, moment in zip(distinct, best, strict=True) if moment is None}
    if unread:
        rows = [row for row, cell in enumerate(cells) if cell in unread]
        raise ValueError(
            f"split.time is {column!r}: {len(rows)} of its {len(cells)} cells read neither as a number nor as a date, "
            f"first {cells[rows[0]]!r} in row {rows[0] + 1}; name another column or none"
        )
    rank_of = {moment: rank for rank, moment in enumerate(sorted(set(best)))}
    rank_of_cell = {cell: rank_of[moment] for cell, moment in zip(distinct, best, strict=True)}
    return np.array([rank_of_cell[cell] for cell in cells], dtype=np.int64)


def _with_whole_years(cells: Sequence[str], column: str) -> Sequence[str]:
    """The cells, but dates that begin with a year of two digits as ISO dates; pandas would take it for the day."""
    found = {cell: match for cell in cells if (match := SHORT.fullmatch(cell))}
    parts = [tuple(map(int, match.group(1, 3, 4))) for match in found.values()]
    first = all(1 <= month <= 12 and 1 <= day <= 31 for _, month, day in parts)
    last = any(all(1 <= part[at] <= 12 and 1 <= part[1 - at] <= 31 for part in parts) for at in (0, 1))
    if parts and first and last:
        raise ValueError(
            f"split.time is {column!r}: whether its dates, such as {next(iter(found))!r}, begin or end with the year "
            "cannot be told, as it has two digits; name a column with years of four, or your own split.fold_column"
        )
    if not first:
        return cells
    whole = {
        cell: f"{year + (1900 if year >= 69 else 2000)}-{month:02d}-{day:02d}{match[5]}"  # as POSIX has it
        for (cell, match), (year, month, day) in zip(found.items(), parts, strict=True)
    }
    return [whole.get(cell, cell) for cell in cells]


def _moments(cells: Sequence[str]) -> list[Any]:
    """As the first kind of number or date that reads all cells, else the one that reads most; None where it fails."""
    best: list[Any] = [None] * len(cells)
    for read in (_numbers, _dates("ISO8601"), _dates(EXIF), _dates(None), _dates(None, day_first=True)):
        best = max(best, read(cells), key=lambda found: sum(moment is not None for moment in found))
        if all(moment is not None for moment in best):
            break
    return best


def _numbers(cells: Sequence[str]) -> list[Any]:
    """Exact, so that nanoseconds since 1970 keep their order; None for what is no finite number."""
    return [_number(cell) for cell in cells]


def _number(cell: str) -> Decimal | None:
    try:
        found = Decimal(cell)
    except InvalidOperation:
        return None
    return found if found.is_finite() else None


def _dates(form: str | None, *, day_first: bool = False) -> Callable[[Sequence[str]], list[Any]]:
    """A reader of dates in pandas' format `form`, None for the one that the first cell shows."""

    def read(cells: Sequence[str]) -> list[Hashable]:
        import pandas

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # what cannot be read comes back as NaT, and is named above
            found = pandas.to_datetime(
                pandas.Series(cells, dtype=object), format=form, errors="coerce", utc=True, dayfirst=day_first
            )
        return [
            # "now" and "may" are no dates, nor is what pandas gives the year 1, as it saw none in it
            moment if moment is not pandas.NaT and re.search(r"\d", cell) and moment.year > 1 else None
            for moment, cell in zip(found, cells, strict=True)
        ]

    return read
