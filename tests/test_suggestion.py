"""The suggested recipe: within its budget where it can be, and valid in params.yaml whatever the competition."""

import pytest
import yaml
from conftest import ROOT

from pipeline.base.params import AugmentParams, ImagesParams, ModelParams, TrainParams, parse_section
from pipeline.commands.suggestion import BUDGET_S, ENOUGH_EPOCHS, MAX_EPOCHS, MIN_EPOCHS, suggested_recipe

SECTIONS = {"images": ImagesParams, "model": ModelParams, "augment": AugmentParams, "train": TrainParams}


def suggested(**changes):
    facts = {"num_train": 2000, "side": 100, "classes": ("cat", "dog"), "metric": "accuracy", "several": False}
    return suggested_recipe(**(facts | {"num_folds": 5, "gpu": False} | changes))


@pytest.mark.parametrize("gpu", [False, True])
@pytest.mark.parametrize("side", [4, 8, 28, 32, 100, 500, 4000])
@pytest.mark.parametrize("num_train", [3, 300, 1653, 50_000, 1_000_000])
def test_every_suggestion_is_valid_and_never_larger_than_the_images(num_train, side, gpu):
    recipe, _ = suggested(num_train=num_train, side=side, gpu=gpu)
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    for name, keys in recipe.items():
        assert set(keys) <= set(params[name]), "only keys that params.yaml has"
        parse_section(params[name] | keys, name, SECTIONS[name])
    assert recipe["images"]["side"] <= max(8, min(side, 128))


def test_a_small_set_sees_more_epochs_and_a_large_one_smaller_images():
    small, _ = suggested(num_train=500)
    large, seconds = suggested(num_train=20_000, side=400)
    assert small["train"]["epochs"] > large["train"]["epochs"]
    assert small["images"]["side"] > large["images"]["side"]
    assert seconds <= BUDGET_S


@pytest.mark.parametrize("gpu", [False, True])
@pytest.mark.parametrize("num_folds", [2, 5, 20])
@pytest.mark.parametrize("side", [8, 32, 100, 2000])
@pytest.mark.parametrize("num_train", [20, 1000, 10_000, 50_000, 1_000_000])
def test_the_budget_is_spent_on_epochs_and_not_passed(num_train, side, num_folds, gpu):
    recipe, seconds = suggested(num_train=num_train, side=side, num_folds=num_folds, gpu=gpu)
    epochs = recipe["train"]["epochs"]
    assert MIN_EPOCHS <= epochs <= MAX_EPOCHS
    assert seconds <= BUDGET_S or epochs == MIN_EPOCHS
    assert seconds * (epochs + 1) / epochs > BUDGET_S or epochs == MAX_EPOCHS


def test_a_wider_network_leaves_enough_epochs():
    for num_train in range(100, 60_000, 500):
        recipe, _ = suggested(num_train=num_train, side=32)
        assert recipe["model"]["width"] == 16 or recipe["train"]["epochs"] >= ENOUGH_EPOCHS


def test_what_mirroring_would_turn_into_another_class_is_not_mirrored():
    for classes in (tuple("0123456789"), ("a", "b", "c"), ("turn left", "turn_right")):
        recipe, _ = suggested(classes=classes)
        assert not recipe["augment"]["flip"] and not recipe["train"]["flip_tta"]
    assert suggested(classes=("0", "1", "2"))[0]["augment"]["flip"], "codes, not digits"


def test_labels_are_not_smoothed_where_probabilities_are_scored():
    assert suggested(metric="log_loss")[0]["train"]["label_smoothing"] == 0
    assert suggested(several=True, metric="mean_column_auc")[0]["train"]["label_smoothing"] == 0


def test_rare_classes_are_drawn_more_often_only_where_the_metric_asks_for_each_class_alike_and_it_was_measured():
    def sampling(**changes):
        return suggested(**changes)[0]["train"]["sampling"]

    for metric in ("macro_f1", "balanced_accuracy"):
        assert sampling(metric=metric, imbalance=10.0) == sampling(metric=metric, imbalance=300.0) == "balanced"
        assert sampling(metric=metric, imbalance=9.0) == sampling(metric=metric) == "none"
        assert sampling(metric=metric, imbalance=50.0, several=True) == "none"
    assert sampling(metric="accuracy", imbalance=50.0) == sampling(metric="log_loss", imbalance=50.0) == "none"
