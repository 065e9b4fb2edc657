"""Progress of long work: a bar on a terminal; elsewhere, in a log or in a notebook's output, a line a minute."""

import sys
from typing import Any

from tqdm import tqdm

SAY_EVERY_S = 60.0
PREFIX = "progress: "  # of such a line
KNOWN = PREFIX + "{desc}: {n_fmt} of {total_fmt}{unit}, {elapsed} so far, {remaining} left"
UNKNOWN = PREFIX + "{desc}: {n_fmt}{unit}, {elapsed} so far"  # how many there will be


class _Lines:
    """What tqdm writes over and over into one line of a terminal, as lines of its own."""

    def write(self, text: str) -> None:
        """tqdm clears a line by blanks: these are no line."""
        if text.strip():
            sys.stderr.write(text.strip() + "\n")

    def flush(self) -> None:
        """At once."""
        sys.stderr.flush()


def progress_bar(
    desc: str, *, total: int | None = None, leave: bool = True, disable: bool = False, **options: Any
) -> tqdm:
    """tqdm's bar, or what takes its place; options: as tqdm takes them.

    leave: whether a terminal keeps the bar at its end. Work of less than a minute says nothing where there is none.
    """
    if disable or sys.stderr.isatty():
        return tqdm(desc=desc, total=total, leave=leave, disable=disable, **options)
    return tqdm(
        desc=desc, total=total, leave=False, file=_Lines(), mininterval=SAY_EVERY_S, maxinterval=2 * SAY_EVERY_S,
        delay=SAY_EVERY_S, bar_format=UNKNOWN if total is None else KNOWN, **options,
    )  # fmt: skip
