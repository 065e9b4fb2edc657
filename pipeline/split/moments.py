"""The order in time that a column tells: numbers, ISO dates, or dates whose parts stand in one other order."""

import re
import warnings
from collections.abc import Callable, Hashable, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

import numpy as np

AUTO, NUMBER = "auto", "number"
ORDERS = ("ymd", "dmy", "mdy")  # of year, month and day
EXIF = "%Y:%m:%d %H:%M:%S"  # of which pandas, left alone, reads the time of day
APART = re.compile(r"\s*(\d{1,4})(\s*[-/.,_:]\s*| )(\d{1,2})\2(\d{1,4})(?!\d)\.?(.*)", re.DOTALL)  # 2021. 3. 9.
WITH_CLOCK = re.compile(r"\s*(\d{8})[ T_-]?(\d\d):?(\d\d)(?::?(\d\d))?\s*")
WHOLE = re.compile(r"\s*(\d+)(?:\.0*)?\s*")  # as pandas may write whole numbers
WIDTHS = (6, 8, 10, 12, 14)  # digits of dates without separators, with hour, minute and second
YEAR_MONTH = re.compile(r"((?:19|20)\d\d)\.(\d{1,2})")  # 2021.9 comes before 2021.12, but not as a number
CLOCK = re.compile(r"\s*\d{1,2}:\d\d(:\d\d([.,]\d+)?)?\s*([ap]\.?m\.?)?\s*", re.IGNORECASE)  # pandas adds today's date
YEAR_FIRST = re.compile(r"\d{4}")
MAY = re.compile(r"\bmay\b", re.IGNORECASE)  # a short name and a long one
YEARS = range(1900, 2101)
SINCE_1970, UNITS_APART = 8, 3  # digits, less one, from which numbers may be seconds; digits that milliseconds add


def order_in_time(cells: Sequence[str], column: str, order: str = AUTO) -> np.ndarray:
    """(N,) int ranks, equal for the same moment: cells all numbers, all ISO dates, or all dates of one other format.

    order: how year, month and day follow each other (of `ORDERS`) in dates that are no ISO dates, or `NUMBER`. Raises
    ValueError for a cell that does not fit, and where several orders fit and tell images apart differently.
    """
    cells = [cell.strip() for cell in cells]
    distinct = list(dict.fromkeys(cells))
    if order == AUTO:
        best = _only_way(distinct, column)
    else:
        best = _numbers(distinct) if order == NUMBER else _by(order, distinct)[1]
    unread = {cell for cell, moment in zip(distinct, best, strict=True) if moment is None}
    if unread:
        rows = [row for row, cell in enumerate(cells) if cell in unread]
        raise ValueError(
            f"split.time is {column!r}: {len(rows)} of its {len(cells)} cells read neither as a number nor as a date"
            f"{'' if order == AUTO else f' (split.date_order: {order})'}, first {cells[rows[0]]!r} in row "
            f"{rows[0] + 1}; name another column or none"
        )
    _refuse_two_units(best, column)
    rank_of_cell = dict(zip(distinct, _ranks(best), strict=True))
    return np.array([rank_of_cell[cell] for cell in cells], dtype=np.int64)


def _only_way(cells: Sequence[str], column: str) -> list[Any]:
    """The moments; None for a cell that is none. Raises ValueError, with the lines that settle it, for two orders."""
    ways = {order: way for order in ORDERS if None not in (way := _by(order, cells))[1]}
    if all(map(YEAR_MONTH.fullmatch, cells)) and len(set(map(len, cells))) > 1:
        ways[NUMBER] = list(cells), _numbers(cells)
    if not ways:
        return _moments(cells)
    first, *others = ways
    told = _ranks(ways[first][1])
    rivals = [order for order in others if _ranks(ways[order][1]) != told]
    if rivals:
        if NUMBER not in ways and None not in (numbers := _numbers(cells)):
            ways[NUMBER] = list(cells), numbers
        at = next(n for n in range(len(cells)) if ways[first][0][n] != ways[rivals[0]][0][n])
        lines = [f"    split.date_order: {order}    # {cells[at]!r} is {ways[order][0][at]}" for order in ways]
        asked = f"split.time is {column!r}: the order of day, month and year in its dates cannot be told; say it:"
        raise ValueError("\n".join([asked, *lines]))
    return ways[first][1]


def _ranks(moments: Sequence[Any]) -> list[int]:
    rank_of = {moment: rank for rank, moment in enumerate(sorted(set(moments)))}
    return [rank_of[moment] for moment in moments]


def _refuse_two_units(moments: Sequence[Any], column: str) -> None:
    """Raise where some numbers may be seconds since 1970 and others milliseconds."""
    sizes = {moment.adjusted() for moment in moments if isinstance(moment, Decimal)}
    if sizes and min(sizes) >= SINCE_1970 and max(sizes) - min(sizes) >= UNITS_APART:
        raise ValueError(
            f"split.time is {column!r}: its numbers go from {min(moments):,} to {max(moments):,}; if they are seconds "
            "and milliseconds since 1970, their order says nothing: name another column or none"
        )


# -- dates whose parts may stand in several orders


def _by(order: str, cells: Sequence[str]) -> tuple[list[str], list[Any]]:
    """(ISO dates, moments) by this order of parts; moments are None where they do not fit."""
    joined = _digits(cells)
    if all(map(YEAR_MONTH.fullmatch, cells)):
        parts = [(*cell.split("."), "1", "") if order == "ymd" else None for cell in cells]
    elif joined is None:
        parts = [_apart(cell, order) for cell in cells]
    else:
        readings = ([cut(text, order) for text in joined] for cut in (_year_and_month, _cut))
        parts = next((found for found in readings if all(map(_is_date, found))), [None] * len(cells))
    dates = [found for found in parts if found is not None and _is_date(found)]
    if len(dates) < len(cells):
        return list(cells), [None] * len(cells)
    iso = [f"{_year(year)}-{int(month):02d}-{int(day):02d}{rest}" for year, month, day, rest in dates]
    return iso, _moments(iso)


def _digits(cells: Sequence[str]) -> list[str] | None:
    """Dates without separators as digits, all as long; leading zeros that a spreadsheet lost are put back."""
    found = [
        "".join(filter(None, match.groups()))
        for cell in cells
        if (match := WITH_CLOCK.fullmatch(cell) or WHOLE.fullmatch(cell))
    ]
    width = max(map(len, found), default=0)
    width += width % 2
    if len(found) < len(cells) or width not in WIDTHS or min(map(len, found)) < width - 1:
        return None
    return [text.zfill(width) for text in found]


def _cut(text: str, order: str) -> tuple[str, ...]:
    """(year, month, day, what follows) of digits."""
    sizes = [(2 if len(text) == WIDTHS[0] else 4) if part == "y" else 2 for part in order]
    ends = np.cumsum(sizes).tolist()
    part_of = {part: text[end - size : end] for part, end, size in zip(order, ends, sizes, strict=True)}
    clock = ":".join(re.findall("..", text[ends[-1] :]))
    return part_of["y"], part_of["m"], part_of["d"], f" {clock}" if clock else ""


def _year_and_month(text: str, order: str) -> tuple[str, ...] | None:
    if len(text) != WIDTHS[0]:
        return None
    return (text[:4], text[4:], "1", "") if order == "ymd" else (text[2:], text[:2], "1", "")


def _apart(cell: str, order: str) -> tuple[str, ...] | None:
    """The same of a date with separators."""
    match = APART.fullmatch(cell)
    if match is None or (":" in match[2] and not any(len(part) == 4 for part in match.group(1, 4))):  # 10:20:30 is none
        return None
    part_of = dict(zip(order, match.group(1, 3, 4), strict=True))
    return part_of["y"], part_of["m"], part_of["d"], match[5]


def _is_date(parts: Sequence[str] | None) -> bool:
    if parts is None:
        return False
    year, month, day = parts[:3]
    return (
        (len(year) <= 2 or (len(year) == 4 and int(year) in YEARS))
        and len(day) <= 2
        and 1 <= int(month) <= 12
        and 1 <= int(day) <= 31
    )


def _year(year: str) -> int:
    """Of two digits as POSIX has it."""
    return int(year) + (0 if len(year) > 2 else 1900 if int(year) >= 69 else 2000)


# -- readers


def _moments(cells: Sequence[str]) -> list[Any]:
    """As the first kind of number or date that reads all cells, else the one that reads most; None where it fails."""
    best: list[Any] = [None] * len(cells)
    for read in (_numbers, _dates("ISO8601"), _dates(EXIF), _dates(None)):
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
    return found if found.is_finite() and "_" not in cell else None  # 05_12_2021 is a date


def _dates(form: str | None) -> Callable[[Sequence[str]], list[Any]]:
    """A reader of dates in pandas' format `form`, None for the one that the first cell shows."""

    def read(cells: Sequence[str]) -> list[Hashable]:
        import pandas

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # what cannot be read comes back as NaT, and is named above
            series = pandas.Series(cells, dtype=object)
            series = series.sort_index(key=lambda rows: [bool(MAY.search(cells[row])) for row in rows], kind="stable")
            found, other = (
                pandas.to_datetime(series, format=form, errors="coerce", utc=True, dayfirst=day_first).sort_index()
                for day_first in (False, True)
            )
        other = found.where([bool(YEAR_FIRST.match(cell)) for cell in cells], other)  # of 2021-03-09, too, pandas turns
        return [
            # "now" and "may" are no dates, nor is what pandas gives the year 1, as it saw none in it, or today's date;
            # what may be one of two dates is none
            moment
            if moment == same and re.search(r"\d", cell) and moment.year > 1 and not CLOCK.fullmatch(cell)
            else None
            for moment, same, cell in zip(found, other, cells, strict=True)
        ]

    return read
