"""How a submission's file is made, as the organiser's sample is: CSV of some kind, or JSON; found, read and written.

Found is the make by which the sample's rows are the sample's text again, so that what is written so is what the
organiser would have written. Newlines, and a byte order mark, are those of the sample at hand.
"""

import contextlib
import csv
import io
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain, islice, zip_longest
from typing import Any

from pipeline.base.files import csv_text
from pipeline.competition.schema import CSV, Make

MARKS = (",", "\t", ";", "|", ", ", "; ", " ", "^", "~", "\x1f")
BOM = "\ufeff"
TOP = re.compile(r'"?sep=.(?:"?)[ \t]*(?:\r\n|\r|\n)', re.IGNORECASE)  # by which Excel knows the mark
NUM_LOOKED_AT = 256  # rows in which quotes are looked at
TEXT, NUMBER, FLAG, LIST = "text", "number", "flag", "list"
LISTED = "|"  # between the labels of a JSON list, as the organiser's tables are read


# -- text to rows and back


def text_of(content: bytes, make: Make) -> str:
    """The file's text, less a byte order mark. Raises ValueError for another encoding."""
    try:
        return content.decode(make.encoding).removeprefix(BOM)
    except UnicodeDecodeError as error:
        raise ValueError(f"not in the encoding {make.encoding}: {error}") from error


def rows_of(content: bytes, make: Make, columns: Sequence[str]) -> Iterator[list[str]]:
    """The header, then the rows, as text.

    columns: the header where the file has none.
    Raises ValueError for what is not of this make.
    """
    text = text_of(content, make)
    if make.form != CSV:
        yield from _rows_of_json(text, make, columns)
        return
    yield from _csv_rows(text, make, columns)


def _csv_rows(text: str, make: Make, columns: Sequence[str]) -> Iterator[list[str]]:
    if not make.headed:
        yield list(columns)
    lines = io.StringIO(text.removeprefix(make.top), newline="")
    try:
        yield from csv.reader(lines, strict=True, delimiter=make.mark[0], skipinitialspace=len(make.mark) > 1)
    except csv.Error as error:
        raise ValueError(str(error)) from error


def content_of(header: Sequence[str], rows: Iterable[Sequence[str]], make: Make, *, like: bytes = b"") -> bytes:
    """The file with these rows. like: one whose newlines and byte order mark it shall have.

    Raises ValueError for a cell that this make cannot hold.
    """
    known = like.decode(make.encoding, "replace") if like else ""
    newline = "\r\n" if "\r\n" in outside_quotes(known) else "\n"
    if make.form == CSV:
        text = make.top + _csv_text(header, rows, make, newline)
    else:
        text = _json_text(header, rows, make, newline)
    try:
        return ((BOM if known.startswith(BOM) else "") + text).encode(make.encoding)
    except UnicodeEncodeError as error:
        raise ValueError(
            f"the sample is in the encoding {make.encoding}, which lacks letters of the labels: {error}"
        ) from error


def outside_quotes(text: str) -> str:
    """The CSV less its quoted cells, in which newlines end no row."""
    return re.sub(r'"[^"]*"', "", text) if '"' in text else text


def _csv_text(header: Sequence[str], rows: Iterable[Sequence[str]], make: Make, newline: str) -> str:
    everything = chain([header] if make.headed else [], rows)
    if len(make.mark) == 1 and not make.quoted and not make.quoted_header:
        return csv_text(everything, newline, make.mark)
    always = [column in make.quoted for column in header]
    needs = _needing_quotes(make)

    def line(cells: Sequence[str], quoted: Sequence[bool]) -> str:
        written = (
            '"' + cell.replace('"', '""') + '"' if is_quoted or needs.search(cell) else cell
            for cell, is_quoted in zip(cells, quoted, strict=True)
        )
        return make.mark.join(written) + newline

    first = [line(header, [make.quoted_header] * len(header))] if make.headed else []
    return "".join(chain(first, (line(row, always) for row in rows)))


# -- JSON: a form is a way to hold rows, as (rows of values -> what JSON holds, and back)

_Values = list[list[Any]]
FORMS: dict[str, tuple[Callable[[_Values, Sequence[str]], Any], Callable[[Any, Sequence[str]], _Values]]] = {
    "records": (
        lambda rows, columns: [dict(zip(columns, row, strict=True)) for row in rows],
        lambda found, columns: [[record[column] for column in columns] for record in found],
    ),
    "records by id": (
        lambda rows, columns: {row[0]: dict(zip(columns[1:], row[1:], strict=True)) for row in rows},
        lambda found, columns: [[key, *(one[column] for column in columns[1:])] for key, one in found.items()],
    ),
    "cells by id": (lambda rows, _: dict(rows), lambda found, _: [[key, value] for key, value in found.items()]),
    "pairs": (lambda rows, _: list(map(list, rows)), lambda found, _: list(map(list, found))),
    "columns": (
        lambda rows, columns: {column: [row[at] for row in rows] for at, column in enumerate(columns)},
        lambda found, columns: list(map(list, zip(*(found[column] for column in columns), strict=True))),
    ),
    "columns by row": (  # as pandas writes it
        lambda rows, columns: {
            column: {str(number): row[at] for number, row in enumerate(rows)} for at, column in enumerate(columns)
        },
        lambda found, columns: list(map(list, zip(*(found[column].values() for column in columns), strict=True))),
    ),
}
LINES = "lines"  # records, one a line


def _rows_of_json(text: str, make: Make, columns: Sequence[str]) -> Iterator[list[str]]:
    try:
        found = _loaded(text, make)
        records = found if make.form in (LINES, "records") and isinstance(found, list) else []
        header = list(records[0]) if records and isinstance(records[0], dict) else list(columns)
        back = FORMS["records" if make.form == LINES else make.form][1]
        yield header
        for values in back(found, header):
            yield [_as_text(value) for value in values]
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"no JSON made as the sample is ({type(error).__name__}: {error})") from error


def _loaded(text: str, make: Make) -> Any:
    if make.form == LINES:
        return [json.loads(line) for line in text.splitlines() if line.strip()]
    found = json.loads(text)
    return found[make.within] if make.within else found


def _json_text(header: Sequence[str], rows: Iterable[Sequence[str]], make: Make, newline: str) -> str:
    values = [[_as_value(cell, kind) for cell, kind in zip(row, make.kinds, strict=True)] for row in rows]
    form = FORMS["records" if make.form == LINES else make.form][0](values, header)
    if make.form == LINES:
        return "".join(_dumped(record, make) + newline for record in form)
    text = _dumped({make.within: form} if make.within else form, make)
    return text.replace("\n", newline) + (newline if make.ended else "")


def _dumped(value: Any, make: Make) -> str:
    after = "" if make.tight else " "
    marks = ("," if make.indent is not None else f",{after}", f":{after}")
    return json.dumps(value, indent=make.indent, separators=marks, ensure_ascii=make.ascii)


def _as_text(value: Any) -> str:
    """A cell, as the organiser's tables have it."""
    if isinstance(value, list):
        return LISTED.join(map(_as_text, value))
    return "" if value is None else str(value)


def _as_value(cell: str, kind: str) -> Any:
    if kind == LIST:
        return cell.split(LISTED) if cell else []
    if kind == FLAG and cell in ("True", "False"):
        return cell == "True"
    if kind != NUMBER or cell == "":
        return cell if kind == TEXT or cell else None
    try:
        return int(cell) if re.fullmatch(r"-?(0|[1-9]\d*)", cell) else float(cell)
    except ValueError:
        return cell


# -- found

Rows = Callable[[], Iterable[Sequence[str]]]


def are_rows(own: Iterable[Sequence[str]], header: Sequence[str], rows: Rows) -> bool:
    """Whether these are the header and the rows, and no more."""
    pairs = zip_longest(own, chain([header], rows()), fillvalue=())
    return all(one and tuple(one) == tuple(two) for one, two in pairs)


def found_make(text: str, encoding: str, header: Sequence[str], rows: Rows) -> Make:
    """The make of a table's text, but for how it writes decimals.

    header, rows: as the text was read, by whatever way.
    """
    text = text.removeprefix(BOM)
    if text.lstrip()[:1] in ("[", "{"):
        with contextlib.suppress(ValueError, RecursionError):
            return replace(_found_json(text, header, [list(row) for row in rows()]), encoding=encoding)
    return replace(_found_csv(text, header, rows), encoding=encoding)


def _found_csv(text: str, header: Sequence[str], rows: Rows) -> Make:
    said = TOP.match(text)
    top = said[0] if said else ""
    for mark in MARKS:
        for headed in (True, False):
            make = Make(mark=mark, top=top, headed=headed)
            with contextlib.suppress(ValueError):
                if are_rows(_csv_rows(text, make, header), header, rows):
                    return _with_quotes(make, text.removeprefix(top), header, rows)
    first = text.removeprefix(top).lstrip().split("\n", 1)[0]
    parted = (mark for mark in MARKS if [cell.strip(' "\r') for cell in first.split(mark[0])] == list(header))
    return Make(mark=next(parted, ","))


def _with_quotes(make: Make, text: str, header: Sequence[str], rows: Rows) -> Make:
    """The make with what is in quotes though it need not be; text: less what is above the header."""
    above = [header] if make.headed else []
    found = list(islice(_quotes(text, make, chain(above, rows())), NUM_LOOKED_AT))
    first, columns = found[: len(above)], list(zip(*found[len(above) :], strict=True))
    all_cells = [cell for row in found for cell in row]
    everywhere = all(quoted for quoted, _ in all_cells) and not all(needed for _, needed in all_cells)
    always = tuple(
        name
        for name, cells in zip(header, columns, strict=False)
        if everywhere or (all(quoted for quoted, _ in cells) and not all(needed for _, needed in cells))
    )
    return replace(make, quoted=always, quoted_header=bool(first) and all(quoted for quoted, _ in first[0]))


def _quotes(text: str, make: Make, rows: Iterable[Sequence[str]]) -> Iterator[list[tuple[bool, bool]]]:
    """Of each cell of the rows, as they stand in the text: (it is in quotes, it needs them)."""
    at, needs = 0, _needing_quotes(make)
    for row in rows:
        found = []
        for cell in row:
            is_quoted = text.startswith('"', at)
            at += len(cell) + is_quoted * (2 + cell.count('"')) + len(make.mark)
            found.append((is_quoted, needs.search(cell) is not None))
        at -= len(make.mark)
        if text[at : at + 1] not in ("", "\r", "\n"):
            return
        yield found
        at += 2 if text.startswith("\r\n", at) else 1


def _needing_quotes(make: Make) -> re.Pattern[str]:
    return re.compile(rf'[{re.escape(make.mark[0])}"\r\n]')


def _found_json(text: str, header: Sequence[str], rows: list[list[str]]) -> Make:
    """Raises ValueError for JSON that holds rows in a way that is not known."""
    try:
        found = json.loads(text)
    except ValueError:
        found = [json.loads(line) for line in text.splitlines() if line.strip()]
        forms, within = [LINES], ""
    else:
        forms, within = list(FORMS), ""
        if isinstance(found, dict) and len(found) == 1:
            within, found = next(iter(found.items()))
    for form in forms:
        back = FORMS["records" if form == LINES else form][1]
        with contextlib.suppress(KeyError, TypeError, AttributeError, ValueError):
            values = back(found, header)
            if [[_as_text(value) for value in row] for row in values] == rows:
                kinds = tuple(map(_kind_of, zip(*values, strict=True)))
                whole = {within: found} if within else found
                return _styled(Make(form=form, within=within, kinds=kinds), text, whole)
    raise ValueError("holds rows in a way that is not known")


def _kind_of(values: Sequence[Any]) -> str:
    """Of a column; null says nothing."""
    there = [value for value in values if value is not None]
    if any(isinstance(value, list) for value in there):
        return LIST
    if there and all(isinstance(value, bool) for value in there):
        return FLAG
    return NUMBER if there and all(isinstance(value, int | float) for value in there) else TEXT


def _styled(make: Make, text: str, found: Any) -> Make:
    """The make with the blanks of this text, where it has them as one of the usual ways to write JSON does."""
    plain = text.replace("\r\n", "\n")
    ended = replace(make, ended=plain.endswith("\n"))
    for indent in (None, 2, 4, 1, 0):
        for tight in (False, True):
            for ascii_ in (True, False):
                styled = replace(ended, indent=indent, tight=tight, ascii=ascii_)
                shown = (
                    "".join(_dumped(record, styled) + "\n" for record in found)
                    if make.form == LINES
                    else _dumped(found, styled) + "\n" * ended.ended
                )
                if shown == plain:
                    return styled
    return replace(ended, ascii=plain.isascii())
