"""Two submissions side by side: identical, or where they part."""

import csv
import io
from collections.abc import Sequence
from itertools import zip_longest


def first_difference(made: bytes, sent: bytes) -> str | None:
    """None where the bytes are equal; else the first row that differs, and how many do."""
    if made == sent:
        return None
    ours, theirs = _rows(made), _rows(sent)
    differing = [at for at, (a, b) in enumerate(zip_longest(ours, theirs)) if a != b]
    if not differing:
        return "every cell is equal; newlines, quotes or a byte order mark differ"
    at = differing[0]
    where = "the header" if at == 0 else f"row {at}"
    return (
        f"{where} is the first of {len(differing)} that differ, of {max(len(ours), len(theirs)) - 1}: "
        f"made {_shown(ours, at)}, sent {_shown(theirs, at)}"
    )


def _rows(content: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(content.decode("utf-8-sig", "replace"), newline="")))


def _shown(rows: Sequence[Sequence[str]], at: int) -> str:
    return ",".join(rows[at]) if at < len(rows) else "nothing (it has fewer rows)"
