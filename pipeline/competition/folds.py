"""Dealing training images into folds."""

from collections import Counter
from collections.abc import Sequence

import numpy as np


def deal_folds(labels: Sequence[str], groups: Sequence[str], *, num_folds: int, seed: int) -> np.ndarray:
    """(N,) int fold numbers, 0 to num_folds - 1, for images with these labels.

    Images of one group (byte-identical ones share a group) fall into one fold: scikit-learn's StratifiedKFold deals
    the first image of each group, the others follow it. Raises ValueError for classes with fewer groups than folds.
    """
    from sklearn.model_selection import StratifiedKFold

    first_of: dict[str, int] = {}
    for row, group in enumerate(groups):
        first_of.setdefault(group, row)
    leaders = np.fromiter(first_of.values(), dtype=np.int64)
    leader_labels = [labels[row] for row in leaders]
    _check_class_sizes(labels, leader_labels, num_folds)

    fold_of_row = np.full(len(labels), -1, dtype=np.int64)
    splitter = StratifiedKFold(n_splits=num_folds, shuffle=True, random_state=seed)
    for fold, (_, held_out) in enumerate(splitter.split(leaders, leader_labels)):
        fold_of_row[leaders[held_out]] = fold
    return fold_of_row[[first_of[group] for group in groups]]


def _check_class_sizes(labels: Sequence[str], leader_labels: Sequence[str], num_folds: int) -> None:
    distinct, images = Counter(leader_labels), Counter(labels)
    small = sorted((distinct[label], label) for label in images if distinct[label] < num_folds)
    if small:
        named = ", ".join(f"{label!r} has {count} (in {images[label]} rows)" for count, label in small[:3])
        way_out = f"take folds out of params.yaml until {small[0][0]} are left, or " if small[0][0] >= 2 else ""
        raise ValueError(
            f"{len(small)} of {len(images)} classes have fewer distinct images than the {num_folds} folds: {named}; "
            f"{way_out}add images of them"
        )
