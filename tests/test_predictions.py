"""Gathering folds: one out-of-fold prediction for every image, or a stop."""

import re

import numpy as np
import pytest

from pipeline.base.files import write_arrays
from pipeline.competition.schema import Target
from pipeline.scoring.fold_predictions import confusion_counts, ensemble, gather_oof
from pipeline.scoring.metrics import log_loss, mean_and_standard_error, score
from pipeline.submission.answers import Answers


def probs_of(count, seed=0):
    rows = np.random.default_rng(seed).random((count, 3)).astype(np.float32) + 0.1
    return rows / rows.sum(axis=1, keepdims=True)


@pytest.fixture
def folder(tmp_path):
    """Two folds of three images each."""
    for fold, ids in (("0", ["a", "c", "e"]), ("1", ["b", "d", "f"])):
        write_arrays(tmp_path / f"{fold}.npz", {"image_ids": np.array(ids), "probs": probs_of(3, int(fold))})
    return tmp_path


FOLD_OF = {"a": "0", "b": "1", "c": "0", "d": "1", "e": "0", "f": "1"}


def files(folder):
    return {fold: folder / f"{fold}.npz" for fold in ("0", "1")}


def test_rows_meet_by_id(folder):
    oof = gather_oof(files(folder), FOLD_OF, 3)
    assert np.array_equal(oof[[0, 2, 4]], probs_of(3, 0))
    assert np.array_equal(oof[[1, 3, 5]], probs_of(3, 1))


@pytest.mark.parametrize(
    ("ids", "count", "message"),
    [
        (["b", "d"], 2, "it has 2 rows, not of the fold: [], missing: ['f']; run `dvc repro -f -s train@1`"),
        (["b", "d", "a"], 3, "not of the fold: ['a'], missing: ['f']"),
        (["b", "d", "f", "f"], 4, "it has 4 rows"),
        (["b", "d", "f"], 2, "holds (2, 3) for 3 images of 3 classes"),
    ],
)
def test_anything_but_each_image_once_stops(folder, ids, count, message):
    write_arrays(folder / "1.npz", {"image_ids": np.array(ids), "probs": probs_of(count)})
    with pytest.raises(ValueError, match=re.escape(message)):
        gather_oof(files(folder), FOLD_OF, 3)


def test_a_fold_that_is_not_gathered_leaves_gaps_and_stops(folder):
    with pytest.raises(
        ValueError, match=r"3 of 6 training images have no out-of-fold prediction, first \['b', 'd', 'f'\]"
    ):
        gather_oof({"0": folder / "0.npz"}, FOLD_OF, 3)


@pytest.mark.parametrize("value", [np.nan, -0.1, 0.9])
def test_rows_that_are_no_probabilities_stop(folder, value):
    probs = probs_of(3)
    probs[1, 1] = value
    write_arrays(folder / "1.npz", {"image_ids": np.array(["b", "d", "f"]), "probs": probs})
    with pytest.raises(ValueError, match=r"1 of 3 rows are no probabilities, first \['d'\]"):
        gather_oof(files(folder), FOLD_OF, 3)


def test_a_truncated_file_stops(folder):
    (folder / "1.npz").write_bytes((folder / "1.npz").read_bytes()[:-40])
    with pytest.raises(ValueError, match=r"1.npz is damaged"):
        gather_oof(files(folder), FOLD_OF, 3)


def test_the_ensemble_is_the_mean_and_needs_the_same_images_in_the_same_order(tmp_path):
    for fold in ("0", "1"):
        write_arrays(
            tmp_path / f"{fold}.npz", {"image_ids": np.array(["x", "y", "z"]), "probs": probs_of(3, int(fold))}
        )
    got = ensemble(files(tmp_path), ["x", "y", "z"], 3)
    assert np.allclose(got, (probs_of(3, 0) + probs_of(3, 1)) / 2)
    with pytest.raises(ValueError, match="they part at row 1; run `dvc repro -f -s infer@0`"):
        ensemble(files(tmp_path), ["x", "z", "y"], 3)
    with pytest.raises(ValueError, match="predicts 3 images, the test table has 4; they part at row 3"):
        ensemble(files(tmp_path), ["x", "y", "z", "w"], 3)


def test_scores_by_hand():
    target = Target(kind="single_label", columns=("label",), classes=("a", "b", "c"))
    truth, answers = np.array([0, 0, 1, 2]), Answers(labels=["a", "b", "b", "b"])
    assert score("accuracy", truth, answers, target) == 0.5
    assert score("macro_f1", truth, answers, target) == pytest.approx((2 / 3 + 0.5 + 0) / 3)
    probs = np.array([[0.5, 0.5], [0.25, 0.75]], dtype=np.float32)
    assert log_loss(np.array([0, 1]), probs) == pytest.approx(-(np.log(0.5) + np.log(0.75)) / 2)
    assert np.isfinite(log_loss(np.array([1, 1]), np.array([[1, 0], [0, 1]], dtype=np.float32)))
    assert mean_and_standard_error([0.8, 0.9, 1.0]) == pytest.approx((0.9, 0.1 / np.sqrt(3)))
    assert confusion_counts([0, 0, 1], [0, 1, 1], 2).tolist() == [[1, 1], [0, 1]]
