"""The members of all containers of a competition, and which of them are there twice."""

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.archive.formats import Container
from pipeline.base.texts import Texts, joined_texts, rows_of_equals

# what systems add to the name of a folder that is there already: `data - Copy`, `Copy of data`, `data (1)`
COPY_MARKS = re.compile(r"(?: - copy)?(?: \(\d+\))?$|^copy of ")


@dataclass(frozen=True)
class Part:
    """Members of one container, under the names they have in the competition."""

    container: Container
    names: Texts
    rows: np.ndarray  # (N,) int64, where the container has them

    def where(self, at: int) -> str:
        """How errors call one of them."""
        return f"{self.container.where}/{self.container.names[int(self.rows[at])]}"

    def sizes(self) -> np.ndarray:
        """(N,) int64 bytes unpacked."""
        return self.container.sizes[self.rows]

    def checksum(self, at: int) -> int:
        """CRC-32 of the bytes of one of them."""
        return self.container.checksum(int(self.rows[at]))

    def take(self, kept: np.ndarray) -> "Part":
        """Those of them that are kept, (N,) bool."""
        return Part(self.container, self.names.take(kept), self.rows[kept])

    def within(self, folder: str) -> "Part":
        """The same under names that begin with `folder`."""
        return Part(self.container, Texts(folder + name for name in self.names), self.rows) if folder else self


def once(path: Path, parts: Sequence[Part]) -> tuple[list[Part], list[str]]:
    """(the parts less members that are there before with the same bytes, a line that says so).

    Raises ValueError where two archives, or an archive and a folder, hold different files of one name.
    """
    names = joined_texts(part.names for part in parts)
    twice = rows_of_equals(names)
    if not twice:
        return list(parts), []
    first, second = (part.where(at) for part, at in (_place(parts, row) for row in twice[0][:2]))
    alike = _of_one_size(parts, twice)
    if len(alike) < len(twice) or not _of_equal_bytes(parts, alike):
        raise ValueError(
            f"{path}: {len(twice)} members are there twice ({len(alike)} of the same size), first "
            f"{names[twice[0][0]]!r}: as {first} and as {second}; delete one of the two (the archive or the folder)"
        )
    kept = _without(parts, [row for rows in twice for row in rows[1:]])
    return kept, [f"{len(twice):,} files are there twice, byte for byte, and are taken once: {first} is {second}"]


def less_copies_of_folders(parts: list[Part]) -> tuple[list[Part], list[str]]:
    """(the parts less folders that are copies by name and by all their bytes, a line for each).

    By name: `x/x` of what else is in `x`, `Data` of `data` beside it, `data - Copy`, `data (1)`.
    """
    notes = []
    for folder, copy in _alike_by_name(parts):
        rows, note = _copies(parts, folder, copy)
        if len(rows):
            parts = _without(parts, rows)
            notes.append(note)
    return parts, notes


def _alike_by_name(parts: Sequence[Part]) -> list[tuple[str, str]]:
    """Pairs of folders, with a slash behind, the shorter name first."""
    above = {""}
    for part in parts:
        for folder in {name.rpartition("/")[0] for name in part.names}:
            while folder not in above:
                above.add(folder)
                folder = folder.rpartition("/")[0]
    alike: dict[tuple[str, str], list[str]] = defaultdict(list)
    for folder in sorted(above - {""}, key=lambda folder: (len(folder), folder)):
        around, _, name = folder.rpartition("/")
        alike[around, COPY_MARKS.sub("", name.lower())].append(folder)
        if name == around.rpartition("/")[2]:
            alike[folder, ""] = [around, folder]
    return [(f"{first}/", f"{other}/") for first, *others in alike.values() for other in others]


def _copies(parts: Sequence[Part], folder: str, copy: str) -> tuple[np.ndarray, str]:
    """(the rows of `copy`, or of what is in `folder` alone if the copy has more; a line that says so).

    No rows where one of the two does not hold all files of the other, byte for byte.
    """
    names = joined_texts(part.names for part in parts)
    copied = names.beginning(copy)
    rows = np.flatnonzero(copied | names.beginning(folder))
    within = copied[rows]
    counts = {copy: int(within.sum()), folder: int((~within).sum())}
    if not all(counts.values()):
        return rows[:0], ""
    twice = rows_of_equals(names.take(rows), lambda name: name.removeprefix(copy if name.startswith(copy) else folder))
    pairs = [rows[pair].tolist() for pair in twice]
    dropped = next((place for place, count in counts.items() if count == len(pairs)), None)
    if dropped is None or len(_of_one_size(parts, pairs)) < len(pairs) or not _of_equal_bytes(parts, pairs):
        return rows[:0], ""
    note = f"{copy} and {folder} hold the same {len(pairs):,} files, byte for byte, and are taken once"
    return rows[within if dropped == copy else ~within], note


def _place(parts: Sequence[Part], row: int) -> tuple[Part, int]:
    """Where the member of a row of all parts' lies."""
    for part in parts:
        if row < len(part.names):
            return part, row
        row -= len(part.names)
    raise IndexError(row)


def _of_one_size(parts: Sequence[Part], groups: Sequence[list[int]]) -> list[list[int]]:
    """The groups of rows of all parts whose members have as many bytes."""
    sizes = np.concatenate([part.sizes() for part in parts])
    return [rows for rows in groups if len(set(sizes[rows].tolist())) == 1]


def _of_equal_bytes(parts: Sequence[Part], groups: Sequence[list[int]]) -> bool:
    """Whether the members of each group are the same, by their checksums."""
    return all(len({part.checksum(at) for part, at in (_place(parts, row) for row in rows)}) == 1 for rows in groups)


def _without(parts: Sequence[Part], rows: Sequence[int] | np.ndarray) -> list[Part]:
    """The parts less the members of these rows."""
    kept = np.ones(sum(len(part.names) for part in parts), dtype=bool)
    kept[rows] = False
    ends = np.cumsum([len(part.names) for part in parts])
    return [part.take(own) for part, own in zip(parts, np.split(kept, ends[:-1]), strict=True)]
