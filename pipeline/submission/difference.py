"""Two submissions side by side: identical, or where they part."""

import contextlib
import csv
import io
from collections.abc import Sequence
from itertools import zip_longest

from pipeline.competition.lists import split_list
from pipeline.competition.schema import SubmissionFormat
from pipeline.submission.contract import parse_table

NEAR = 0.05  # numbers that other hardware or another decoder may give for the same picture


def first_difference(made: bytes, sent: bytes, asked: SubmissionFormat | None = None) -> str | None:
    """None where the bytes are equal; else the first row that differs, and how many do; asked: by both, where known."""
    if made == sent:
        return None
    ours, theirs = _rows(made, asked), _rows(sent, asked)
    differing = [at for at, (a, b) in enumerate(zip_longest(ours, theirs)) if a != b]
    if not differing:
        return "every cell is equal; newlines, quotes or a byte order mark differ"
    at = differing[0]
    where = "the header" if at == 0 else f"row {at}"
    return (
        f"{where} is the first of {len(differing)} that differ, of {max(len(ours), len(theirs)) - 1}: "
        f"made {_shown(ours, at)}, sent {_shown(theirs, at)}"
    )


def rows_apart(made: bytes, sent: bytes, asked: SubmissionFormat) -> list[int]:
    """The rows, from 1, that are another answer and not the same one rounded otherwise.

    Another label, a number more than `NEAR` away, a list of which less than half is shared; asked: by both.
    """
    header, *ours = _rows(made, asked)
    _, *theirs = _rows(sent, asked)
    places = [header.index(column) for column in asked.value_columns]
    nothing: list[str] = []
    pairs = enumerate(zip_longest(ours, theirs, fillvalue=nothing), 1)
    return [at for at, (a, b) in pairs if a != b and not _alike(a, b, places, asked)]


def _alike(ours: Sequence[str], theirs: Sequence[str], places: Sequence[int], asked: SubmissionFormat) -> bool:
    if len(ours) != len(theirs):
        return False
    both = list(zip(ours, theirs, strict=True))
    if any(a != b for at, (a, b) in enumerate(both) if at not in places):
        return False
    cells = [both[at] for at in places]
    if asked.kind == "label":
        return all(a == b for a, b in cells)
    if asked.kind in ("list", "ranked"):
        sets = [(set(split_list(a, asked.separator)), set(split_list(b, asked.separator))) for a, b in cells]
        return all(2 * len(a & b) >= len(a | b) for a, b in sets)
    numbers = [[float(cell.replace(asked.make.decimal, ".")) for cell in pair] for pair in cells]
    return all(abs(a - b) <= NEAR for a, b in numbers)


def _rows(content: bytes, asked: SubmissionFormat | None) -> list[list[str]]:
    """The header and the rows; as lines of CSV where they are of another make."""
    if asked is not None:
        with contextlib.suppress(ValueError):
            header, rows = parse_table(content, asked)
            return [header, *rows]
    return list(csv.reader(io.StringIO(content.decode("utf-8-sig", "replace"), newline="")))


def _shown(rows: Sequence[Sequence[str]], at: int) -> str:
    return ",".join(rows[at]) if at < len(rows) else "nothing (it has fewer rows)"
