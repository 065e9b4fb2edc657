"""Items found by a key that is computed from them: 8 bytes an item and key, where a dict of lists takes hundreds."""

from array import array
from bisect import bisect_left
from collections.abc import Callable, Collection, Hashable, Sequence

import numpy as np

HASH_BITS = 2**32 - 1  # kept of a hash; some items share them by chance, so that a key found is computed again


class Lookup:
    """items: kept by reference. keys: the keys of one item, the same at every call."""

    def __init__(self, items: Sequence[str], keys: Callable[[str], Collection[Hashable]]) -> None:
        self._items, self._keys = items, keys
        hashes, rows = array("I"), array("i")
        for row, item in enumerate(items):
            for key in keys(item):
                hashes.append(hash(key) & HASH_BITS)
                rows.append(row)
        if hashes:
            in_place, rows_in_place = np.frombuffer(hashes, dtype=np.uint32), np.frombuffer(rows, dtype=np.int32)
            order = np.argsort(in_place, kind="stable")
            rows_in_place[:] = rows_in_place[order]
            in_place.sort()
        self._hashes, self._rows = hashes, rows

    def rows(self, key: Hashable) -> list[int]:
        """The places of the items that have this key, in order."""
        sought, found = hash(key) & HASH_BITS, []
        at = bisect_left(self._hashes, sought)
        while at < len(self._hashes) and self._hashes[at] == sought:
            row = self._rows[at]
            if key in self._keys(self._items[row]):
                found.append(row)
            at += 1
        return found

    def find(self, key: Hashable) -> list[str]:
        """The items that have this key, in their order."""
        return [self._items[row] for row in self.rows(key)]
