"""split: each image in one fold, classes spread, duplicates together."""

import re
from collections import Counter

import numpy as np
import pytest
from conftest import competition_files, write_zip

from pipeline.competition.folds import deal_folds
from pipeline.files import read_table


def labels_of(sizes):
    return [label for label, count in sizes.items() for _ in range(count)]


def test_each_image_has_one_fold_and_each_class_is_spread_evenly():
    labels = labels_of({"a": 53, "b": 20, "c": 5})
    dealt = deal_folds(labels, [str(row) for row in range(len(labels))], num_folds=5, seed=0)
    assert set(dealt) == set(range(5))
    for label, count in Counter(labels).items():
        per_fold = Counter(fold for fold, found in zip(dealt, labels, strict=True) if found == label)
        assert set(per_fold.values()) <= {count // 5, -(-count // 5)}


def test_the_deal_depends_on_the_seed_alone():
    labels = labels_of({"a": 40, "b": 40})
    groups = [str(row) for row in range(80)]
    first = deal_folds(labels, groups, num_folds=4, seed=1)
    assert (first == deal_folds(labels, groups, num_folds=4, seed=1)).all()
    assert (first != deal_folds(labels, groups, num_folds=4, seed=2)).any()


def test_byte_identical_images_share_a_fold():
    draws = np.random.default_rng(0)
    labels = draws.choice(["a", "b", "c"], 300).tolist()
    groups = [str(group) for group in draws.integers(0, 120, 300)]  # with other labels among them, too
    dealt = deal_folds(labels, groups, num_folds=5, seed=0)
    folds_of = {group: {int(f) for f, g in zip(dealt, groups, strict=True) if g == group} for group in groups}
    assert all(len(folds) == 1 for folds in folds_of.values())


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"a": 9, "rare": 3}, "1 of 2 classes have fewer distinct images than the 5 folds: 'rare' has 3 (in 3 rows); "
                              "take folds out of params.yaml until 3 are left, or add images"),
        ({"a": 9, "one": 1}, "'one' has 1 (in 1 rows); add images of them"),
    ],
)  # fmt: skip
def test_a_class_smaller_than_the_number_of_folds_is_named_with_its_count(sizes, message):
    labels = labels_of(sizes)
    with pytest.raises(ValueError, match=re.escape(message)):
        deal_folds(labels, [str(row) for row in range(len(labels))], num_folds=5, seed=0)


def test_copies_do_not_make_a_class_larger():
    labels = labels_of({"a": 9, "b": 6})
    groups = [str(row) for row in range(9)] + ["same"] * 6
    with pytest.raises(ValueError, match=re.escape("'b' has 1 (in 6 rows)")):
        deal_folds(labels, groups, num_folds=2, seed=0)


def test_split_writes_a_fold_for_every_row_and_keeps_duplicates_together(workplace):
    files = competition_files()
    files["train/003.png"] = files["train/009.png"] = files["train/000.png"]
    write_zip(workplace.raw, files)
    workplace.run("ingest")
    workplace.run("split")
    table = read_table(workplace.path("data/folds.csv"), ("image_id", "fold"))
    fold_of = dict(zip(table["image_id"], table["fold"], strict=True))
    assert len(fold_of) == 30
    assert len({fold_of[name] for name in ("000", "003", "009")}) == 1


def test_split_refuses_files_of_a_fold_that_params_no_longer_names(workplace):
    workplace.run("ingest")
    for name in ("data/oof/1.npz", "data/oof/2.npz", "data/models/2.safetensors"):
        workplace.path(name).parent.mkdir(exist_ok=True, parents=True)
        workplace.path(name).write_bytes(b"")
    with pytest.raises(
        ValueError, match=r"2 files belong to no fold that params.yaml names \(0, 1\).*rm .*2.safetensors .*2.npz"
    ):
        workplace.run("split")
