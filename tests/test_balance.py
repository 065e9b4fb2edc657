"""Class weights and balanced sampling: what they sum to, how often an image is drawn, and by which images."""

import numpy as np
import pytest
from sklearn.utils.class_weight import compute_class_weight

from pipeline.base.params import TrainParams
from pipeline.training import fold as fold_module
from pipeline.training.balance import class_weights, drawn_order, expected_draws
from pipeline.training.fold import FoldData

COUNTS = (120, 40, 9, 1)
TAIL = np.random.default_rng(0).permutation(np.repeat(np.arange(len(COUNTS)), COUNTS))
LABELS = (np.random.default_rng(1).random((300, 4)) < [0.6, 0.3, 0.1, 0.02]).astype(np.float32)
TRAIN = {
    "seed": 0, "epochs": 2, "batch_size": 8, "optimizer": "sgd", "peak_lr": 0.1, "momentum": 0.9, "weight_decay": 0.0,
    "warmup": 0.2, "label_smoothing": 0.0, "ema_decay": 0.0, "tta": "none", "valid_every": 1,
}  # fmt: skip


def test_balanced_weights_are_scikit_learns_and_those_of_sqrt_go_with_the_root():
    balanced, root = (class_weights(TAIL, 4, how) for how in ("balanced", "sqrt"))
    assert balanced.dtype == np.float32
    assert balanced == pytest.approx(compute_class_weight("balanced", classes=np.arange(4), y=TAIL), rel=1e-6)
    assert root / root[3] == pytest.approx(np.array(COUNTS) ** -0.5, rel=1e-6)


@pytest.mark.parametrize("how", ["balanced", "sqrt"])
def test_the_mean_weight_of_an_image_is_1_and_a_class_without_images_has_none(how):
    weights = class_weights(TAIL, 6, how)
    assert weights[TAIL].mean() == pytest.approx(1, rel=1e-6) and weights[4:].tolist() == [0, 0]
    with_nothing = np.concatenate([LABELS, np.zeros((300, 1), np.float32)], axis=1)
    absent, present = class_weights(with_nothing, 5, how)
    assert np.where(with_nothing > 0, present, absent).mean(axis=0, dtype=float) == pytest.approx(np.ones(5), rel=1e-6)
    assert present[4] == 0 and absent[4] == 1, "nothing to weigh"


def test_weights_of_several_labels_make_both_sides_of_each_count_alike():
    absent, present = class_weights(LABELS, 4, "balanced")
    counts = LABELS.sum(axis=0)
    assert counts * present == pytest.approx(np.full(4, 150), rel=1e-6)
    assert (300 - counts) * absent == pytest.approx(np.full(4, 150), rel=1e-6)


def test_weights_make_up_for_what_sampling_leaves():
    balanced, root = (expected_draws(TAIL, 4, how) for how in ("balanced", "sqrt"))
    assert class_weights(TAIL, 4, "balanced", draws=balanced) == pytest.approx(np.ones(4), rel=1e-6)
    left = class_weights(TAIL, 4, "balanced", draws=root)
    assert np.bincount(TAIL, weights=root) * left == pytest.approx(np.full(4, len(TAIL) / 4), rel=1e-6)


def test_classes_are_drawn_alike_or_as_the_root_of_their_images():
    for how, shares in (("balanced", np.ones(4)), ("sqrt", np.sqrt(COUNTS))):
        draws = expected_draws(TAIL, 4, how)
        assert draws.sum() == pytest.approx(len(TAIL))
        assert np.bincount(TAIL, weights=draws) == pytest.approx(len(TAIL) * shares / shares.sum())


def test_an_image_of_several_labels_is_drawn_as_its_rarest_asks():
    draws = expected_draws(LABELS, 4, "balanced")
    rarest = np.where(LABELS.any(axis=1), 3 - LABELS[:, ::-1].argmax(axis=1), 0)  # labels get rarer to the right
    assert draws.sum() == pytest.approx(len(LABELS))
    counts = LABELS.sum(axis=0)
    for label in range(4):
        own = draws[rarest == label] / draws[rarest == 0][0]
        assert own == pytest.approx(np.full(len(own), counts[0] / counts[label])), (
            "without labels: as the most frequent"
        )


@pytest.mark.parametrize("how", ["balanced", "sqrt"])
def test_an_epoch_has_as_many_images_each_as_often_as_expected_to_one(how):
    draws = expected_draws(TAIL, 4, how)
    total = np.zeros(len(TAIL))
    for epoch in range(1, 301):
        order = drawn_order(draws, seed=3, fold=1, epoch=epoch)
        times = np.bincount(order, minlength=len(TAIL))
        assert len(order) == len(TAIL) == times.sum()
        assert (times >= np.floor(draws - 1e-9)).all() and (times <= np.ceil(draws + 1e-9)).all()
        classes = np.bincount(TAIL[order], minlength=4)
        assert np.abs(classes - np.bincount(TAIL, weights=draws)).max() < 1 + 1e-9, "each class's number, to one"
        total += times
    assert np.abs(total / 300 - draws).max() < 5 * 0.5 / np.sqrt(300), "5 standard errors of a coin's toss"


def test_an_order_depends_on_seed_fold_and_epoch_and_is_shuffled():
    draws = expected_draws(TAIL, 4, "sqrt")
    first = drawn_order(draws, seed=0, fold=0, epoch=1)
    assert np.array_equal(first, drawn_order(draws, seed=0, fold=0, epoch=1))
    for key in ((1, 0, 1), (0, 1, 1), (0, 0, 2)):
        assert not np.array_equal(first, drawn_order(draws, **dict(zip(("seed", "fold", "epoch"), key, strict=True))))
    halves = [np.bincount(TAIL[half], minlength=4) for half in np.array_split(first, 2)]
    assert np.abs(halves[0] - halves[1]).max() < 30, "classes come in no order"


def test_where_every_class_is_as_large_every_image_comes_once():
    draws = expected_draws(np.arange(60) % 3, 3, "balanced")
    assert sorted(drawn_order(draws, seed=0, fold=0, epoch=1)) == list(range(60))


def data_with(targets, train_rows):
    rows = np.arange(len(targets))
    return FoldData(
        fold="0", store=None, train_rows=train_rows, valid_rows=np.setdiff1d(rows, train_rows), targets=targets,
        target_kind="single_label" if targets.ndim == 1 else "multi_label", num_classes=4,
    )  # fmt: skip


@pytest.mark.parametrize("targets", [TAIL, LABELS], ids=["classes", "labels"])
def test_weights_and_draws_come_from_the_images_to_train_on_alone(targets):
    train_rows = np.flatnonzero(np.arange(len(targets)) % 3)
    other = targets.copy()
    other[::3] = other[::3][::-1] * 0
    train = TrainParams(**TRAIN, class_weights="balanced", sampling="sqrt")
    one, two = (data_with(labels, train_rows) for labels in (targets, other))
    assert np.array_equal(fold_module.objective_of(one, train).weights, fold_module.objective_of(two, train).weights)
    orders = [fold_module._epoch_order(data, train, 1) for data in (one, two)]
    assert np.array_equal(*orders) and orders[0].max() < len(train_rows)


def test_off_means_off():
    train = TrainParams(**TRAIN)
    data = data_with(TAIL, np.arange(100))
    assert type(fold_module.objective_of(data, train)).__name__ == "CrossEntropy"
    assert sorted(fold_module._epoch_order(data, train, 1)) == list(range(100))
