"""Dealing training images into folds."""

from collections import Counter
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.base.params import SplitParams
from pipeline.base.texts import Texts
from pipeline.competition.schema import LabelSets, TrainTable, sorted_classes
from pipeline.split.groups import FILE_NAME_PREFIX, file_name_prefixes, merged_groups, numbered
from pipeline.split.moments import order_in_time
from pipeline.split.stratify import iterative_folds, label_pairs
from pipeline.split.train_columns import column_named

NONE = "none"  # of a params key that names a column: there is none


@dataclass(frozen=True)
class Deal:
    """Which fold holds out which row, how that came about, and what the user should know of it."""

    fold_of_row: np.ndarray  # (N,) int, 0 to num_folds - 1
    method: str
    warnings: list[str]


def deal_rows(train: TrainTable, columns: Mapping[str, Texts], params: SplitParams, *, kind: str) -> Deal:
    """Deal the rows of `train` as `params` say; `columns` are the organiser's, `kind` is the target's.

    Copies and near-copies never straddle folds, except where the user's own `fold_column` puts them so. An image's
    fold depends on which images there are, not on the order of their rows: they are dealt in the order of their ids.
    """
    group, num_folds, small_classes = params.group, params.num_folds, params.small_classes
    label_sets = LabelSets(train.labels, several=kind == "multi_label")
    grouped = _group_cells(group, columns, train, num_folds)
    groups = merged_groups(train.groups, grouped)
    unit = "distinct images" if group == NONE else "groups"
    suffix = "" if group == NONE else f", grouped by {group}"
    warnings = _without_group(grouped, group)

    if params.fold_column != NONE:
        column = params.fold_column
        dealt = own_folds(column_named(columns, column, "split.fold_column"), column, num_folds=num_folds)
        method = f"your own column {column}"
        warnings += _straddling_copies(groups, dealt, column)
    elif params.time != NONE:
        _find_small_classes(_num_groups(label_sets, groups), label_sets, num_folds, small_classes, unit)
        cells = column_named(columns, params.time, "split.time")
        moments = order_in_time(cells, params.time, params.date_order)
        dealt = time_blocks(moments, groups, num_folds=num_folds)
        method = f"blocks of time by {params.time}{suffix}"
        warnings += _out_of_block(moments, dealt, params.time)
    else:
        order = np.argsort(train.image_ids.array, kind="stable")
        labels, dealt = train.labels.take(order), np.empty_like(groups)
        options: dict[str, Any] = {"num_folds": num_folds, "seed": params.seed, "small_classes": small_classes}
        if kind == "multi_label" or group != NONE:
            sets = LabelSets(labels, several=kind == "multi_label")
            dealt[order] = deal_label_sets(sets, groups[order], unit=unit, **options)
        else:
            dealt[order] = deal_folds(labels, groups[order], **options)
        method = ("iterative stratification" if kind == "multi_label" else "stratified") + f" by label{suffix}"
    refuse_empty_folds(dealt, groups, num_folds)
    warnings += _large_groups(groups, num_folds)
    return Deal(dealt, method, warnings + _lacking_classes(label_sets, dealt, num_folds))


def image_groups(train: TrainTable, columns: Mapping[str, Texts], params: SplitParams) -> np.ndarray:
    """(N,) int64 group numbers by which `deal_rows` keeps images together: copies, merged with what `params` name."""
    return merged_groups(train.groups, _group_cells(params.group, columns, train, params.num_folds))


def deal_folds(
    labels: Sequence[str],
    groups: Sequence[Hashable] | np.ndarray,
    *,
    num_folds: int,
    seed: int,
    small_classes: str = "stop",
) -> np.ndarray:
    """(N,) int fold numbers, 0 to num_folds - 1, for images with these labels.

    Images of one group (copies share a group) fall into one fold, and folds get the same number of images and of each
    class all the same: scikit-learn's StratifiedKFold where each image is its own group, else `iterative_folds`.
    A group counts for each class in it. Classes with fewer groups than folds raise ValueError, or with `small_classes`
    "allow" are dealt by `iterative_folds` too, as scikit-learn refuses some of these.
    """
    from sklearn.model_selection import StratifiedKFold

    label_sets, numbers = LabelSets(labels, several=False), numbered(groups)
    counts = _num_groups(label_sets, numbers)
    small = _find_small_classes(counts, label_sets, num_folds, small_classes, "distinct images")
    if small or numbers.max() + 1 < len(numbers):
        return iterative_folds(label_sets, numbers, num_folds=num_folds, seed=seed)
    fold_of_row = np.full(len(labels), -1, dtype=np.int64)
    splitter = StratifiedKFold(n_splits=num_folds, shuffle=True, random_state=seed)
    for fold, (_, held_out) in enumerate(splitter.split(numbers, _codes(labels))):
        fold_of_row[held_out] = fold
    return fold_of_row


def deal_label_sets(
    label_sets: Collection[Sequence[str]],
    groups: Sequence[int] | np.ndarray,
    *,
    num_folds: int,
    seed: int,
    small_classes: str = "stop",
    unit: str = "distinct images",
) -> np.ndarray:
    """As `deal_folds`, for images with any number of labels."""
    numbers = numbered(groups)
    refuse_few_groups(numbers, num_folds)
    _find_small_classes(_num_groups(label_sets, numbers), label_sets, num_folds, small_classes, unit)
    return iterative_folds(label_sets, numbers, num_folds=num_folds, seed=seed)


def _codes(labels: Sequence[str]) -> np.ndarray:
    """(N,) int64: each label's place among the sorted ones."""
    return np.unique(Texts(labels).array, return_inverse=True)[1]


def time_blocks(moments: np.ndarray, groups: Sequence[int] | np.ndarray, *, num_folds: int) -> np.ndarray:
    """(N,) int fold numbers: fold 0 the earliest block of time, about as many images in each.

    Images of one moment share a fold. A group lies where its earliest image does, even if others of it are later.
    """
    group_of_row = np.asarray(groups)
    earliest = np.full(group_of_row.max() + 1, np.iinfo(np.int64).max)
    np.minimum.at(earliest, group_of_row, moments)
    starts, start_of_row, images = np.unique(earliest[group_of_row], return_inverse=True, return_counts=True)
    if len(starts) < num_folds:
        raise ValueError(
            f"split.time tells {len(starts)} moments apart ({len(moments)} images, groups at their earliest), fewer "
            f"than the {num_folds} folds; take folds out of params.yaml, or name a finer column"
        )
    until, order = np.cumsum(images), np.arange(1, num_folds)
    due = len(moments) * order / num_folds
    cut = np.searchsorted(until, due)  # the moment in which a block is full goes to the side that is nearer to its due
    cut = cut + (until[cut] - due <= due - (until[cut] - images[cut]))
    cut = np.maximum.accumulate(cut - order) + order  # no block without a moment
    cut = np.clip(cut, order, len(starts) - num_folds + order)
    return np.searchsorted(cut, start_of_row, side="right")


def own_folds(cells: Sequence[str], column: str, *, num_folds: int) -> np.ndarray:
    """(N,) int fold numbers: the distinct cells in order (by value if all are numbers) are the folds 0, 1, …"""
    values = sorted_classes(cells)
    if "" in values:
        raise ValueError(
            f"split.fold_column is {column!r}, which is empty for {list(cells).count('')} of {len(cells)} images; "
            "every image needs a fold"
        )
    if len(values) != num_folds:
        named = ", ".join(map(repr, values[:8])) + (", …" if len(values) > 8 else "")
        raise ValueError(
            f"split.fold_column is {column!r}, which has {len(values)} distinct values ({named}) for {num_folds} "
            "folds; set split.num_folds and folds to as many, or name another column"
        )
    return np.array([values.index(cell) for cell in cells], dtype=np.int64)


def refuse_few_groups(groups: Sequence[int] | np.ndarray, num_folds: int) -> None:
    """Raise ValueError if there are fewer groups than folds."""
    images = np.bincount(groups)
    if len(images) < num_folds:
        raise ValueError(
            f"{len(groups)} images form {len(images)} groups, fewer than the {num_folds} folds; the largest has "
            f"{images.max()} images; take folds out of params.yaml, or set split.group to a finer column"
        )


def refuse_empty_folds(dealt: np.ndarray, groups: Sequence[int] | np.ndarray, num_folds: int) -> None:
    """Raise ValueError if a fold holds out no image."""
    images = np.bincount(dealt, minlength=num_folds)
    empty = np.flatnonzero(images == 0)
    if len(empty):
        of_group = np.bincount(groups)
        raise ValueError(
            f"{len(empty)} of {num_folds} folds would be empty ({', '.join(map(str, empty[:5]))}): "
            f"{len(dealt)} images form {len(of_group)} groups, the largest has {of_group.max()}; "
            "take folds out of params.yaml, or set split.group to a finer column"
        )


def _group_cells(group: str, columns: Mapping[str, Texts], train: TrainTable, num_folds: int) -> Sequence[str]:
    """What `split.group` says of each row; an empty cell ties a row to no other."""
    if group == NONE:
        return [""] * len(train.image_ids)
    if group != FILE_NAME_PREFIX:
        return column_named(columns, group, "split.group")
    prefixes = file_name_prefixes(train.image_ids, train.labels, num_folds=num_folds)
    if not len(prefixes):
        raise ValueError(
            f"split.group is {FILE_NAME_PREFIX}, but the {len(train.image_ids)} image names, first "
            f"{train.image_ids[0]!r}, have no "
            f"prefix that groups of images share ({num_folds} groups or more, two images each on average)"
        )
    return prefixes


def _num_groups(label_sets: Collection[Sequence[str]], groups: Sequence[int] | np.ndarray) -> dict[str, int]:
    """Label -> in how many groups it is."""
    labels, _, places, _ = label_pairs(label_sets, np.asarray(groups))
    return dict(zip(labels, np.bincount(places).tolist(), strict=True))


def _find_small_classes(
    distinct: Mapping[str, int],
    label_sets: Iterable[Sequence[str]],
    num_folds: int,
    small_classes: str,
    unit: str,
) -> bool:
    """Whether a class is in fewer units (groups of images) than there are folds; ValueError unless allowed.

    distinct: label -> in how many units it is.
    """
    images = Counter(label for labels in label_sets for label in labels)
    small = sorted((distinct[label], label) for label in images if distinct[label] < num_folds)
    if small and small_classes == "stop":
        named = ", ".join(f"{label!r} has {count} (in {images[label]} rows)" for count, label in small[:3])
        way_out = f"take folds out of params.yaml until {small[0][0]} are left, or " if small[0][0] >= 2 else ""
        raise ValueError(
            f"{len(small)} of {len(images)} classes have fewer {unit} than the {num_folds} folds: {named}; "
            f"{way_out}add images of them, or set split.small_classes: allow (some folds then lack them)"
        )
    return bool(small)


def _without_group(grouped: Sequence[str], group: str) -> list[str]:
    alone = sum(not cell for cell in grouped)
    if group == NONE or not alone:
        return []
    return [f"{group} is empty for {alone:,} of {len(grouped):,} images; each of these counts as a group of its own"]


def _straddling_copies(groups: np.ndarray, dealt: np.ndarray, column: str) -> list[str]:
    pairs = np.unique(np.stack([groups, dealt], axis=1), axis=0)
    straddling = int((np.bincount(pairs[:, 0]) > 1).sum())
    if not straddling:
        return []
    return [
        f"{straddling:,} sets of copies or near-copies lie in several folds of {column}; the score "
        "will look better than it is"
    ]


def _large_groups(groups: np.ndarray, num_folds: int) -> list[str]:
    images = np.bincount(groups)
    large = images[images > -(-len(groups) // num_folds)]
    if not len(large):
        return []
    return [
        f"{len(large)} of {len(images):,} groups of images that belong together hold more than a fold's share of "
        f"{len(groups) // num_folds:,} images, the largest {large.max():,}: folds are uneven; "
        "competition.near_copies: ignore lets them lie in several folds"
    ]


def _out_of_block(moments: np.ndarray, dealt: np.ndarray, column: str) -> list[str]:
    starts = [moments[dealt == fold].min() for fold in range(1, dealt.max() + 1)]
    late = int((np.searchsorted(starts, moments, side="right") != dealt).sum())
    if not late:
        return []
    return [f"{late:,} of {len(dealt):,} images lie in an earlier block of {column} than their own, with their group"]


def _lacking_classes(label_sets: Iterable[Sequence[str]], dealt: np.ndarray, num_folds: int) -> list[str]:
    """Classes of which some fold holds out no image: their out-of-fold score rests on fewer folds."""
    folds_of: dict[str, set[int]] = {}
    images: Counter[str] = Counter()
    for labels, fold in zip(label_sets, dealt.tolist(), strict=True):
        images.update(labels)
        for label in labels:
            folds_of.setdefault(label, set()).add(fold)
    lacking = sorted((len(folds), label) for label, folds in folds_of.items() if len(folds) < num_folds)
    if not lacking:
        return []
    named = ", ".join(f"{label!r} (in {count} of {num_folds})" for count, label in lacking[:10])
    more = f" and {len(lacking) - 10} more" if len(lacking) > 10 else ""
    unseen = [label for count, label in lacking if count == 1]
    warnings = [f"{len(lacking)} of {len(folds_of)} classes are missing from some folds: {named}{more}"]
    if unseen:
        warnings.append(
            f"{len(unseen)} of {len(folds_of)} classes ({sum(images[label] for label in unseen):,} of {len(dealt):,} "
            "images) are held out by one fold alone, whose model never saw them: out of fold they are never found "
            f"(macro F1 at most {1 - len(unseen) / len(folds_of):.4f}), though {num_folds - 1} of the {num_folds} "
            "models that predict the test images know them"
        )
    return warnings
