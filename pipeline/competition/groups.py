"""Images that belong together: copies, one patient, one place. And where such a group may have been overlooked."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

FILE_NAME_PREFIX = "file_name_prefix"  # what split.group may name beside a column

GROUP_WORDS = (
    r"animal|artist|author|batch|building|burst|cam(era)?|center|centre|clinic|clip|cluster|device|exam|experiment|farm|"
    r"field|group|home|hospital|house|individual|instance|institution|lesion|loc(ation)?|owner|participant|patient|"
    r"person|photographer|place|plant|plate|plot|room|scanner|scene|seq(uence)?|series|session|site|slide|specimen|"
    r"station|study|subject|user|vehicle|video|visit|well|writer"
)
NAMED_GROUP = re.compile(rf"(?:{GROUP_WORDS})s?(?:u?id)?|u?id")  # one word of a column's name
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
            "must not straddle folds"
        )


def merged_groups(*keys: Sequence[str]) -> list[int]:
    """A group number for each row, in order of first appearance: rows that share a cell of any key share a group.

    Empty cells tie nothing together.
    """
    parent = list(range(len(keys[0])))

    def root(row: int) -> int:
        while parent[row] != row:
            parent[row] = row = parent[parent[row]]
        return row

    for cells in keys:
        first_of: dict[str, int] = {}
        for row, cell in enumerate(cells):
            if cell:
                one, other = sorted((root(first_of.setdefault(cell, row)), root(row)))
                parent[other] = one
    number_of: dict[int, int] = {}
    return [number_of.setdefault(root(row), len(number_of)) for row in range(len(parent))]


def likely_groups(
    columns: Mapping[str, Sequence[str]], image_ids: Sequence[str], folds: Sequence[int], *, labels: Sequence[str]
) -> list[GroupFinding]:
    """Columns, and the file-name prefix, whose values look like groups of images and now straddle `folds`.

    A column has a group's word or `id` in its name, or holds codes such as P001; it has two images a value or more,
    and at least as many values as there are folds. What the label decides (a second spelling of the class, its family)
    is no group. Of columns that group the images alike the first is named.
    """
    num_folds = len(set(folds))
    candidates = {
        name: cells
        for name, cells in columns.items()
        if (_named_like_a_group(name) or _holds_codes(cells)) and _has_group_shape(cells, labels, num_folds)
    }
    prefixes = file_name_prefixes(image_ids, labels, num_folds=num_folds)
    if prefixes:
        candidates[FILE_NAME_PREFIX] = prefixes
    alike = {tuple(merged_groups(cells)): name for name, cells in reversed(candidates.items())}
    found = [_finding(name, cells, folds) for name, cells in candidates.items() if name in alike.values()]
    return [finding for finding in found if finding.num_straddling]


def file_name_prefixes(image_ids: Sequence[str], labels: Sequence[str], *, num_folds: int) -> list[str]:
    """The prefix of each image's name that looks like a group (`P001_03.png`: P001), or an empty list.

    Names are cut at `_ - . / \\` and blanks. The prefix is the shortest that has the shape of a group: a word that all
    names begin with, or the class, is not one yet.
    """
    names = [re.sub(r"\.[A-Za-z]{3,4}$", "", name) for name in image_ids]
    cuts = [[match.start() for match in re.finditer(r"(?<=[^_\-./\\\s])[_\-./\\\s]", name)] for name in names]
    for depth in range(max(map(len, cuts), default=0)):
        prefixes = [name[: ends[depth]] if depth < len(ends) else name for name, ends in zip(names, cuts, strict=True)]
        if _has_group_shape(prefixes, labels, num_folds):
            return prefixes
    return []


def _named_like_a_group(name: str) -> bool:
    words = re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)
    return any(NAMED_GROUP.fullmatch(word.lower()) for word in words)


def _holds_codes(cells: Sequence[str]) -> bool:
    distinct = set(cells) - {""}
    return sum(CODE.fullmatch(cell) is not None for cell in distinct) >= max(10, 0.9 * len(distinct))


def _has_group_shape(cells: Sequence[str], labels: Sequence[str], num_folds: int) -> bool:
    filled = [cell for cell in cells if cell]
    num_values = len(set(filled))
    if num_values < max(2, num_folds) or len(filled) < 2 * num_values:
        return False
    classes = len(set(labels))
    return len(set(zip(labels, cells, strict=True))) > classes or 2 * classes > len(labels)  # else the label decides


def _finding(name: str, cells: Sequence[str], folds: Sequence[int]) -> GroupFinding:
    filled = np.array([cell != "" for cell in cells])
    values, value_of_row = np.unique(np.array(cells)[filled], return_inverse=True)
    lowest, highest = np.full(len(values), len(cells)), np.full(len(values), -1)
    np.minimum.at(lowest, value_of_row, np.asarray(folds)[filled])
    np.maximum.at(highest, value_of_row, np.asarray(folds)[filled])
    straddling = lowest < highest
    return GroupFinding(
        name=name,
        num_groups=len(values),
        num_straddling=int(straddling.sum()),
        share_straddling=float(straddling[value_of_row].sum() / len(cells)),
    )
