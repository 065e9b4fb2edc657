"""Images that belong together: copies, one patient, one place. And where such a group may have been overlooked."""

import re
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.base.texts import Texts, rows_of_equals

FILE_NAME_PREFIX = "file_name_prefix"  # what split.group may name beside a column

GROUP_WORDS = (
    r"animal|artist|author|batch|building|burst|cam(era)?|center|centre|clinic|clip|cluster|device|exam|experiment|farm|"
    r"field|group|home|hospital|house|individual|instance|institution|lesion|loc(ation)?|owner|participant|patient|"
    r"person|photographer|place|plant|plate|plot|room|scanner|scene|seq(uence)?|series|session|site|slide|specimen|"
    r"station|study|subject|user|vehicle|video|visit|well|writer"
)
NAMED_GROUP = re.compile(rf"(?:{GROUP_WORDS})s?(?:u?id)?|u?id")  # one word of a column's name
CUT = re.compile(r"(?<=[^_\-./\\\s])[_\-./\\\s]")  # of a name, before what tells images of a group apart
CODE = re.compile(r"[A-Za-z]+[-_]?\d[\w-]*|(?=.*\d)(?=.*[A-Fa-f])[0-9A-Fa-f-]{6,}")  # P001, site-3, ID_0a84, a uuid


@dataclass(frozen=True)
class GroupFinding:
    """A column (or file-name prefix) that may say which images belong together, and what heeding it would change."""

    name: str  # as split.group takes it
    num_groups: int
    num_straddling: int  # groups with images in more than one fold now
    share_straddling: float  # of all images, those in such groups

    def __str__(self) -> str:
        one = "file-name prefix" if self.name == FILE_NAME_PREFIX else self.name
        return (
            f"{self.num_straddling:,} of {self.num_groups:,} values of {one} lie in several folds "
            f"({self.share_straddling:.0%} of the images); set split.group: {self.name} if images of one {one} "
            "must share a fold"
        )


def merged_groups(*keys: Sequence[str]) -> np.ndarray:
    """(N,) int64 group numbers, by first appearance: rows that share a cell of any key share a group.

    Empty cells tie nothing together.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    ties = [np.empty((2, 0), dtype=np.int64)]
    for texts in map(Texts, keys):
        filled = np.flatnonzero(~texts.where(""))
        equal = rows_of_equals(texts.take(filled))
        ties += [np.stack([np.repeat(rows[0], len(rows)), rows]) for rows in (filled[rows] for rows in equal)]
    pairs, num_rows = np.concatenate(ties, axis=1), len(keys[0])
    graph = coo_array((np.ones(pairs.shape[1], dtype=bool), tuple(pairs)), shape=(num_rows, num_rows))
    return numbered(connected_components(graph, directed=False)[1])


def numbered(groups: Sequence[Hashable] | np.ndarray) -> np.ndarray:
    """(N,) int64: the same groups, numbered by first appearance, so that their names say nothing."""
    _, first, number = np.unique(np.asarray(groups), return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[number]


def likely_groups(
    columns: Mapping[str, Texts], image_ids: Sequence[str], folds: np.ndarray, *, labels: Texts
) -> list[GroupFinding]:
    """Columns, and the file-name prefix, whose values look like groups of images and now straddle `folds`.

    A column has a group's word or `id` in its name, or holds codes such as P001; it has two images a value or more,
    and at least as many values as there are folds. What the label decides (a second spelling of the class, its family)
    is no group. Of columns that group the images alike the first is named.
    """
    num_folds = len(np.unique(folds))
    candidates = {
        name: cells
        for name, cells in columns.items()
        if (_named_like_a_group(name) or _holds_codes(cells)) and _has_group_shape(cells, labels, num_folds)
    }
    prefixes = file_name_prefixes(image_ids, labels, num_folds=num_folds)
    if len(prefixes):
        candidates[FILE_NAME_PREFIX] = prefixes
    alike = {merged_groups(cells).tobytes(): name for name, cells in reversed(candidates.items())}
    found = [_finding(name, cells, folds) for name, cells in candidates.items() if name in alike.values()]
    return [finding for finding in found if finding.num_straddling]


def file_name_prefixes(image_ids: Sequence[str], labels: Texts, *, num_folds: int) -> Texts:
    """The prefix of each image's name that looks like a group (`P001_03.png`: P001), or none at all.

    Names are cut at `_ - . / \\` and blanks. The prefix is the shortest that has the shape of a group: a word that all
    names begin with, or the class, is not one yet.
    """
    names = Texts(re.sub(r"\.[A-Za-z]{3,4}$", "", name) for name in image_ids)
    for depth in range(max((len(_cuts(name)) for name in names), default=0)):
        prefixes = Texts(_prefix(name, depth) for name in names)
        if _has_group_shape(prefixes, labels, num_folds):
            return prefixes
    return Texts()


def _cuts(name: str) -> list[int]:
    return [match.start() for match in CUT.finditer(name)]


def _prefix(name: str, depth: int) -> str:
    """The name up to its cut number `depth`; all of it where it has fewer."""
    cuts = _cuts(name)
    return name[: cuts[depth]] if depth < len(cuts) else name


def _named_like_a_group(name: str) -> bool:
    words = re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)
    return any(NAMED_GROUP.fullmatch(word.lower()) for word in words)


def _holds_codes(cells: Texts) -> bool:
    distinct = [cell for cell in cells.distinct() if cell]
    return sum(CODE.fullmatch(cell) is not None for cell in distinct) >= max(10, 0.9 * len(distinct))


def _has_group_shape(cells: Texts, labels: Texts, num_folds: int) -> bool:
    num_filled = sum(bool(cell) for cell in cells)
    num_values = sum(bool(cell) for cell in cells.distinct())
    if num_values < max(2, num_folds) or num_filled < 2 * num_values:
        return False
    classes = len(labels.distinct())
    return 2 * classes > len(labels) or _more_pairs_than(classes, labels, cells)  # else the label decides


def _more_pairs_than(most: int, *columns: Texts) -> bool:
    seen: set[tuple[str, ...]] = set()
    for cells in zip(*columns, strict=True):
        seen.add(cells)
        if len(seen) > most:
            return True
    return False


def _finding(name: str, cells: Texts, folds: np.ndarray) -> GroupFinding:
    filled = np.fromiter((bool(cell) for cell in cells), dtype=bool, count=len(cells))
    values, value_of_row = np.unique(cells.array[filled], return_inverse=True)
    lowest, highest = np.full(len(values), len(cells)), np.full(len(values), -1)
    np.minimum.at(lowest, value_of_row, folds[filled])
    np.maximum.at(highest, value_of_row, folds[filled])
    straddling = lowest < highest
    return GroupFinding(
        name=name,
        num_groups=len(values),
        num_straddling=int(straddling.sum()),
        share_straddling=float(straddling[value_of_row].sum() / len(cells)),
    )
