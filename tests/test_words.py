"""Words such as test and train count as whole words, at the split's level, and never inside a class."""

import pytest

from pipeline.tables.words import role_of, role_of_folders, split_roles


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("test", "test"), ("Testing", "test"), ("test2", "test"), ("test_images", "test"), ("testImages", "test"),
        ("TESTSET", "test"), ("X_test", "test"), ("Final_Training", "train"), ("train-val", "train"), ("VALID", "valid"),
        ("trainImages", "train"), ("stage_1_train_images", "train"), ("测试集", "test"), ("학습", "train"),
        ("labels_latest", None), ("contest", None), ("retrieval_bird", None), ("interval", None), ("evaluator", None),
        ("medieval", None), ("intestine", None), ("testa", None), ("restrained", None), ("devil", None),
        ("validity", None), ("train_test", None), ("images", None), ("", None),
    ],
)  # fmt: skip
def test_a_role_is_a_whole_word(name, role):
    assert role_of(name) == role


def test_the_deepest_folder_that_says_a_role_counts_for_a_template():
    assert role_of_folders("train_data/images/test") == "test"
    assert role_of_folders("images/latest") is None


def roles(*folders):
    return list(split_roles(folders).values())


@pytest.mark.parametrize(
    ("folders", "expected"),
    [
        (["train/oak", "train/test tube", "to_predict"], ["train", "train", "test"]),
        (["styles/baroque", "styles/medieval", "to_predict"], [None, None, None]),
        (["images/intestine", "images/liver", "test"], [None, None, "test"]),
        (["images/beaker", "images/test tube", "images/flask"], [None, None, None]),
        (["car", "bus", "train", "to_predict"], [None, None, None, None]),
        (["images/car", "images/bus", "images/train", "test"], [None, None, None, "test"]),
        (["valid", "invalid", "to_predict"], [None, None, None]),
        (["train/a", "valid/a", "test"], ["train", "valid", "test"]),
        (["tiny/train/a/images", "tiny/val/images", "tiny/test/images"], ["train", "valid", "test"]),
        (["seg_train/seg_train/sea", "seg_test/seg_test/sea", "seg_pred"], ["train", "test", None]),
        (["data/images/train", "data/images/val", "data/test"], ["train", "valid", "test"]),
        (["Final_Training/Images/0", "Final_Test/Images"], ["train", "test"]),
        (["", "test"], [None, "test"]),
        (["train_a", "test_a", "docs", "more"], ["train", "test", None, None]),
        (["car", "bus", "train", "test"], [None, None, "train", "test"]),
        (["cat_train", "cat_test", "dog_train", "dog_test"], ["train", "test", "train", "test"]),
    ],
)
def test_words_count_at_the_splits_level_alone(folders, expected):
    assert roles(*folders) == expected
