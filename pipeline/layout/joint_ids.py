"""Ids of two columns that together name an image, such as patient and number of the picture: `P01`, `3`: P01_3.png."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import permutations

from pipeline.base.texts import Texts
from pipeline.tables.asked import lead_for_most
from pipeline.tables.image_paths import ImageIndex, find_matches, meant
from pipeline.tables.table import Table, counts_rows

MAX_COLUMNS = 12  # of which pairs are tried
NUM_LOOKED_AT = 8  # rows, spread over the table, that must all lead to an image
NUM_TRIED = 3  # marks of a pair
MAX_MARK = 8  # letters between the two


@dataclass(frozen=True)
class JointIds:
    """Two columns whose cells, with `mark` between them, are the names of images."""

    columns: tuple[str, str]
    mark: str

    @property
    def name(self) -> str:
        """Of the column that holds both."""
        return "+".join(self.columns)

    def ids(self, table: Table) -> Texts:
        """Of each row."""
        pairs = zip(*map(table.column, self.columns), strict=True)
        return Texts(f"{meant(one)}{self.mark}{meant(two)}" for one, two in pairs)

    def added(self, table: Table) -> Table:
        """The table with these ids in one column more."""
        return replace(table, header=(*table.header, self.name), cells=(*table.cells, self.ids(table)))


def joint_ids(table: Table, index: ImageIndex) -> JointIds | None:
    """The two columns that together name an image, another one in each row; None where there are none."""
    some = table.thinned(NUM_LOOKED_AT)
    columns = [
        (name, list(map(meant, cells)))
        for name, whole, cells in zip(table.header, table.cells, some.cells, strict=True)
        if name and all(cell.strip() for cell in cells) and not (whole.all_distinct() and counts_rows(whole))
    ]
    called = {two: index.holding(right[0]) for two, right in columns[:MAX_COLUMNS]}
    for (one, left), (two, right) in permutations(columns[:MAX_COLUMNS], 2):
        for mark in _marks(left, right, called[two], index):
            found = JointIds((one, two), mark)
            if found.ids(table).all_distinct():
                return found
    return None


def _marks(left: Sequence[str], right: Sequence[str], paths: Sequence[str], index: ImageIndex) -> Iterator[str]:
    """What may stand between the two, as the first row has it in one of the paths, so that all rows lead to images."""
    pattern = re.compile(rf"(?<![^\W_]){re.escape(left[0])}(.{{0,{MAX_MARK}}}?){re.escape(right[0])}(?![^\W_])")
    known = Counter(found[1] for path in paths if left[0] in path for found in pattern.finditer(path))
    for mark, _ in known.most_common(NUM_TRIED):
        if all(index.exact(f"{one}{mark}{two}") for one, two in zip(left, right, strict=True)):
            yield mark


def with_joint_ids(table: Table, index: ImageIndex) -> Table:
    """The table with a column of ids that two of its columns are together, where no column alone leads to images."""
    if len(table.header) < 2:
        return table
    some = table.thinned(1000)
    matches = find_matches(some, index, role="")
    if lead_for_most(matches, some.num_rows):
        return table
    found = joint_ids(table, index)
    return table if found is None else found.added(table)
