"""Many texts in little memory: a column of a table, the names in an archive. A million of them take 16 to 60 MB.

numpy's StringDType keeps 16 bytes a text, and the text itself elsewhere where it has more than 15 bytes in UTF-8; a
list of Python's strings takes 70 bytes and more. With numpy 1, as a bundle may find it, they are Python's strings.
"""

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import Any, overload

import numpy as np

TEXT: Any = np.dtypes.StringDType() if hasattr(np.dtypes, "StringDType") else np.dtype(object)
PIECE = 4096  # texts that are Python's strings at once
FEW = 10_000  # distinct texts: a set of more takes longer, and more memory, than sorting
PIECE_OF_CELLS, MIN_ROWS = 1 << 16, 64  # the same for rows of a table


class Texts(Sequence[str]):
    """A sequence of texts that does not change. Raises UnicodeEncodeError for half a surrogate pair."""

    __hash__ = None  # type: ignore[assignment]  # as a list's
    _array: np.ndarray

    def __init__(self, texts: Iterable[str] = ()) -> None:
        if isinstance(texts, Texts):  # they do not change: shared
            self._array = texts.array
            return
        rest = iter(texts)
        self._array = _whole([_array_of(piece) for piece in iter(lambda: list(islice(rest, PIECE)), [])])

    @classmethod
    def of_array(cls, array: np.ndarray) -> "Texts":
        """array: (N,) of StringDType, which must not be changed any more."""
        texts = cls()
        texts._array = array
        return texts

    @property
    def array(self) -> np.ndarray:
        """(N,) of StringDType; not to be changed."""
        return self._array

    def __len__(self) -> int:
        return len(self._array)

    @overload
    def __getitem__(self, at: int) -> str: ...

    @overload
    def __getitem__(self, at: slice) -> "Texts": ...

    def __getitem__(self, at: int | slice) -> "str | Texts":
        return Texts.of_array(self._array[at]) if isinstance(at, slice) else self._array[at]

    def __iter__(self) -> Iterator[str]:
        for start in range(0, len(self._array), PIECE):
            yield from self._array[start : start + PIECE].tolist()

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Texts):
            return np.array_equal(self._array, other._array)
        return isinstance(other, list | tuple) and len(self) == len(other) and all(map(str.__eq__, self, other))

    def __repr__(self) -> str:
        shown = ", ".join(map(repr, self._array[:3].tolist()))
        return f"Texts({len(self):,}: {shown}{', …' if len(self) > 3 else ''})"

    def take(self, rows: np.ndarray) -> "Texts":
        """Those at the places `rows` (int), or where `rows` (bool) is true."""
        all_of_them = rows.all() if rows.dtype == bool else np.array_equal(rows, np.arange(len(self)))
        return self if all_of_them else Texts.of_array(self._array[rows])

    def where(self, text: str) -> np.ndarray:
        """(N,) bool: which of them are this one."""
        return np.asarray(self._array == _array_of([text]))

    def holding(self, part: str) -> np.ndarray:
        """(N,) bool: in which of them this one stands."""
        if not hasattr(np, "strings"):
            return np.fromiter((part in text for text in self), dtype=bool, count=len(self))
        return np.asarray(np.strings.find(self._array, part) >= 0)

    def beginning(self, start: str) -> np.ndarray:
        """(N,) bool: which of them begin with this one."""
        if not hasattr(np, "strings"):
            return np.fromiter((text.startswith(start) for text in self), dtype=bool, count=len(self))
        return np.asarray(np.strings.startswith(self._array, start))

    def distinct(self) -> "Texts":
        """Each text once, sorted."""
        found: set[str] = set()
        for start in range(0, len(self._array), PIECE):
            found.update(self._array[start : start + PIECE].tolist())
            if len(found) > FEW:
                return Texts.of_array(sorted_once(self._array.copy()))
        return Texts(sorted(found))

    def all_distinct(self) -> bool:
        """Whether no text comes twice."""
        first = self._array[:PIECE].tolist()
        return len(set(first)) == len(first) and len(self.distinct()) == len(self)


def _array_of(texts: list[str]) -> np.ndarray:
    return np.array(texts, dtype=TEXT)


def _whole(pieces: list[np.ndarray]) -> np.ndarray:
    return pieces[0] if len(pieces) == 1 else np.concatenate(pieces) if pieces else _array_of([])


def sorted_once(array: np.ndarray) -> np.ndarray:
    """`array` (N,), which is sorted in place, less what repeats; np.unique takes 50 bytes an item, for hashes."""
    array.sort()
    first = np.ones(len(array), dtype=bool)
    np.not_equal(array[1:], array[:-1], out=first[1:])
    return array[first]


def joined_texts(parts: Iterable[Texts]) -> Texts:
    """All of them, one after the other."""
    return Texts.of_array(_whole([part.array for part in parts]))


def thinned(parts: Sequence[Texts], about: int) -> Texts:
    """Every n-th text of each part, so that `about` to twice as many stay in all."""
    step = max(1, sum(map(len, parts)) // about)
    return joined_texts(part[::step] for part in parts)


def columns_of_rows(
    rows: Iterable[Sequence[str]], width: int, keep: Sequence[int] = ()
) -> tuple[list[Texts], list[int]]:
    """(the columns of the rows that have `width` cells, the numbers from 0 of the rows that have more or fewer).

    keep: the places of the columns wanted, if not all.
    """
    places = keep or range(width)
    pieces: list[list[np.ndarray]] = [[] for _ in places]
    odd: list[int] = []
    rest = enumerate(rows)
    while piece := list(islice(rest, max(MIN_ROWS, PIECE_OF_CELLS // max(width, 1)))):
        odd += [number for number, row in piece if len(row) != width]
        columns = list(zip(*(row for _, row in piece if len(row) == width), strict=True)) or [()] * width
        for of_column, place in zip(pieces, places, strict=True):
            of_column.append(_array_of(list(columns[place])))
    return [Texts.of_array(_whole(of_column)) for of_column in pieces], odd


def rows_of_equals(items: Sequence[str], key: Callable[[str], Hashable] | None = None) -> list[list[int]]:
    """Groups of two and more rows whose items, or keys of items, are equal, in order of their first rows.

    Takes 16 bytes an item: hashes are sorted, and only items with equal hashes are looked at again.
    """
    keys: Iterable[Hashable] = items if key is None else map(key, items)
    hashes = np.fromiter(map(hash, keys), dtype=np.int64, count=len(items))
    order = np.argsort(hashes, kind="stable")
    again = np.flatnonzero(hashes[order[1:]] == hashes[order[:-1]])
    found: dict[Any, list[int]] = {}
    for row in sorted(set(chain(order[again].tolist(), order[again + 1].tolist()))):
        found.setdefault(items[row] if key is None else key(items[row]), []).append(row)
    return sorted(rows for rows in found.values() if len(rows) > 1)
