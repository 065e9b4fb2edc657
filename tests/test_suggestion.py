"""The suggested recipe: within its budget where it can be, and valid in params.yaml whatever the competition."""

import json

import numpy as np
import pytest
import yaml
from conftest import ROOT

from pipeline.base.params import AugmentParams, ImagesParams, ModelParams, TrainParams, parse_section
from pipeline.base.texts import Texts
from pipeline.commands.co_occurrence import co_occurring
from pipeline.commands.probe import images_per_second
from pipeline.commands.suggestion import (
    ENOUGH_EPOCHS,
    LONG_DECAY,
    LONG_DECAY_SEVERAL,
    MAX_EPOCHS,
    MIN_EPOCHS,
    SIDES,
    TUNED_STEPS,
    UNCUT_EPOCHS,
    WIDTHS,
    Facts,
    Speed,
    Weights,
    budget_seconds,
    network_for,
    suggested_recipe,
)
from pipeline.competition.schema import Target

BUDGETS = ("90s", "10m", "1h", "3h", "overnight")
SECTIONS = {"images": ImagesParams, "model": ModelParams, "augment": AugmentParams, "train": TrainParams}


def suggested(speed=None, **changes):
    facts = {"num_train": 2000, "side": 100, "classes": ("cat", "dog"), "metric": "accuracy", "several": False}
    facts = Facts(**(facts | {"num_folds": 5} | changes))
    return suggested_recipe(facts, speed or Speed(gpu=facts.gpu, network=network_for(facts)))


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


@pytest.mark.parametrize("trained_at", [0, 160, 224, 300])
@pytest.mark.parametrize("budget", BUDGETS)
@pytest.mark.parametrize("num_train", [3, 244, 1653, 50_000, 1_000_000])
def test_with_weights_too_and_whoever_trains_takes_steps_enough(num_train, budget, trained_at):
    weights = Weights("folder", "tf_efficientnet_lite0", trained_at)
    recipe, seconds = suggested(num_train=num_train, side=300, weights=weights, budget_s=budget_seconds(budget))
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    for name, keys in recipe.items():
        assert set(keys) <= set(params[name])
        parse_section(params[name] | keys, name, SECTIONS[name])
    model, train = recipe["model"], recipe["train"]
    assert model["frozen"] != model["head_first"], "a frozen network has no other head"
    if not model["frozen"]:
        assert seconds <= budget_seconds(budget)
        assert train["epochs"] * (num_train * 4 / 5) / train["batch_size"] >= TUNED_STEPS


def test_the_same_weights_are_trained_on_many_images_and_left_alone_on_few():
    """Of 244 photographs an hour leaves ten epochs, 60 steps; of 1,653 that is 400."""
    weights = Weights("folder", "tf_efficientnet_lite0", 224)
    frozen = [suggested(num_train=count, weights=weights, budget_s=3600)[0]["model"]["frozen"] for count in (244, 1653)]
    assert frozen == [True, False]


def test_a_small_set_sees_more_epochs_and_a_large_one_smaller_images():
    small, _ = suggested(num_train=500)
    large, _ = suggested(num_train=20_000, side=400)
    assert small["train"]["epochs"] > large["train"]["epochs"]
    assert small["images"]["side"] > large["images"]["side"]


def test_what_a_budget_leaves_over_goes_to_more_networks_and_only_that():
    """Five at most; one where the network could still be larger or trained for longer, or nobody asked for long."""
    for num_train, budget, seeds in (
        (30, "10m", 1),
        (30, "11m", 3),
        (244, "1h", 2),
        (244, "overnight", 5),
        (20_000, "overnight", 1),
    ):
        recipe, seconds = suggested(num_train=num_train, side=300, budget_s=budget_seconds(budget))
        assert recipe["train"]["seeds"] == seeds
        assert seconds <= budget_seconds(budget)
        if seeds > 1:
            assert (recipe["images"]["side"], recipe["model"]["width"]) == (SIDES[0], WIDTHS["airbench"][0])
            assert recipe["train"]["epochs"] == MAX_EPOCHS
    slow = Speed(gpu=False)
    slow.learn(128, 96, 1.0)
    assert suggested(slow, num_train=244, side=300, budget_s=budget_seconds("overnight"))[0]["train"]["seeds"] == 1


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("budget", BUDGETS)
@pytest.mark.parametrize("num_folds", [2, 5, 20])
@pytest.mark.parametrize("side", [8, 32, 100, 2000])
@pytest.mark.parametrize("num_train", [20, 1000, 10_000, 50_000, 1_000_000])
def test_a_budget_is_not_passed_unless_the_cheapest_recipe_does(num_train, side, num_folds, budget, several):
    network = "resnet9" if several or num_train >= 20_000 else "airbench"
    facts = {"num_train": num_train, "side": side, "num_folds": num_folds, "several": several}
    recipe, seconds = suggested(Speed(gpu=False, network=network), budget_s=budget_seconds(budget), **facts)
    assert recipe["model"]["name"] == network
    cheapest = (min(side, *SIDES), min(WIDTHS[network]), MIN_EPOCHS)
    chosen = (recipe["images"]["side"], recipe["model"]["width"], recipe["train"]["epochs"])
    assert seconds <= budget_seconds(budget) or chosen == (max(8, cheapest[0]), *cheapest[1:])


@pytest.mark.parametrize(
    ("budget", "seconds"), [("90s", 90), ("10m", 600), ("1.5h", 5400), ("overnight", 8 * 3600), ("168h", 7 * 86_400)]
)
def test_a_budget_is_any_time_of_half_a_minute_to_a_week(budget, seconds):
    assert budget_seconds(budget) == seconds


@pytest.mark.parametrize(
    "budget", ["", "10", "0m", "29s", "169h", "-5m", "10 m", "1h30m", "1e9h", "nan", "10m\n", "٣h"]
)
def test_any_other_budget_is_refused(budget):
    with pytest.raises(ValueError, match=r"30s to 168h, such as 10m, 1\.5h or overnight \(8h\); not"):
        budget_seconds(budget)


@pytest.mark.parametrize("num_train", [1000, 10_000, 50_000, 200_000])
def test_a_larger_budget_never_buys_less(num_train):
    costs = []
    for budget in BUDGETS:
        recipe, _ = suggested(num_train=num_train, side=32, budget_s=budget_seconds(budget))
        costs.append(recipe["train"]["epochs"] * recipe["model"]["width"])
    assert costs == sorted(costs)


def test_what_was_measured_replaces_what_was_thought():
    """A machine of a tenth of the speed gets less, and the time that is said is that of its own speed."""
    slow, fast = (Speed(gpu=False, network="resnet9") for _ in range(2))
    fast_recipe, _ = suggested(num_train=50_000, side=32, budget_s=3600)
    at = (fast_recipe["images"]["side"], fast_recipe["model"]["width"])
    slow.learn(*at, fast(*at) / 10)
    assert slow.measured(*at)
    assert not slow.measured(at[0], at[1] - 8)
    assert slow(at[0], 16) == pytest.approx(fast(at[0], 16) / 10)
    slow_recipe, seconds = suggested(slow, num_train=50_000, side=32, budget_s=3600)
    assert slow_recipe["model"]["width"] < fast_recipe["model"]["width"]
    assert seconds <= 3600
    images = slow_recipe["train"]["epochs"] * 4 * 50_000
    assert seconds > images / slow(slow_recipe["images"]["side"], slow_recipe["model"]["width"])


@pytest.mark.slow
def test_the_probe_counts_images_that_were_trained_on():
    """Twice the side is at least 1.5 times the work; both figures are of this machine."""
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    small, large = (
        images_per_second(params, side=side, num_classes=3, target_kind=kind, at_once=1)
        for side, kind in ((16, "multi_label"), (64, "single_label"))
    )
    assert small > 1.5 * large > 0


def test_a_square_is_blanked_only_in_trainings_longer_than_those_where_it_cost_accuracy():
    found = {}
    for num_train in (500, 3_000, 50_000):
        for budget in BUDGETS:
            recipe, _ = suggested(num_train=num_train, side=32, budget_s=budget_seconds(budget))
            found[recipe["train"]["epochs"]] = recipe["augment"]["cutout"]
    assert min(found) <= UNCUT_EPOCHS < max(found)
    assert found == {epochs: 8 if epochs > UNCUT_EPOCHS else 0 for epochs in found}


@pytest.mark.parametrize(("several", "decay"), [(False, LONG_DECAY), (True, LONG_DECAY_SEVERAL)])
def test_weights_decay_more_in_trainings_longer_than_those_where_it_gained_nothing(several, decay):
    found = {}
    for num_train in (3_000, 50_000):
        for budget in BUDGETS:
            recipe, _ = suggested(num_train=num_train, side=32, several=several, budget_s=budget_seconds(budget))
            found[recipe["train"]["epochs"]] = recipe["train"]["weight_decay"]
    assert min(found) < ENOUGH_EPOCHS <= max(found)
    assert found == {epochs: decay if epochs >= ENOUGH_EPOCHS else 0.02 for epochs in found}


def test_what_mirroring_would_turn_into_another_class_is_not_mirrored():
    for classes in (tuple("0123456789"), ("a", "b", "c"), ("turn left", "turn_right")):
        recipe, _ = suggested(classes=classes)
        assert not recipe["augment"]["flip"] and recipe["train"]["tta"] == "shift"
    assert suggested(classes=("0", "1", "2"))[0]["augment"]["flip"], "codes, not digits"


def test_labels_are_not_smoothed_where_probabilities_are_scored():
    assert suggested(metric="log_loss")[0]["train"]["label_smoothing"] == 0
    assert suggested(several=True, metric="mean_column_auc")[0]["train"]["label_smoothing"] == 0


def test_rare_classes_are_drawn_more_often_only_where_the_metric_asks_for_each_class_alike_and_it_was_measured():
    def sampling(**changes):
        return suggested(**changes)[0]["train"]["sampling"]

    for metric in ("macro_f1", "macro_f0.5", "balanced_accuracy"):
        assert sampling(metric=metric, imbalance=10.0) == sampling(metric=metric, imbalance=300.0) == "balanced"
        assert sampling(metric=metric, imbalance=9.0) == sampling(metric=metric) == "none"
        assert sampling(metric=metric, imbalance=50.0, several=True) == "none"
    assert sampling(metric="accuracy", imbalance=50.0) == sampling(metric="log_loss", imbalance=50.0) == "none"


def test_labels_are_smoothed_less_where_there_are_several_and_not_where_probabilities_are_scored():
    found = {
        (metric, several): suggested(metric=metric, several=several)[0]["train"]["label_smoothing"]
        for metric in ("accuracy", "macro_f1", "samples_f2", "log_loss", "mean_column_auc")
        for several in (False, True)
    }
    assert {metric: smoothing for (metric, several), smoothing in found.items() if several} == {
        "accuracy": 0.0, "macro_f1": 0.1, "samples_f2": 0.1, "log_loss": 0.0, "mean_column_auc": 0.0,
    }  # fmt: skip
    assert found["accuracy", False] == found["macro_f1", False] == 0.2 and found["log_loss", False] == 0.0


def labels_of(rows):
    """(cells as train.csv has them, their target), of sets of labels."""
    target = Target(kind="multi_label", columns=("labels",), classes=tuple(sorted(set().union(*rows))), positive="")
    return Texts(json.dumps(sorted(row)) for row in rows), target


def test_labels_that_stand_in_any_company_are_told_from_attributes_that_exclude_each_other():
    draws = np.random.default_rng(0)
    words = ("cat", "dog", "owl", "fox", "hen", "elk")
    things = [{word for word in words if draws.random() < 0.4} or {"cat"} for _ in range(300)]
    kinds = [{word, *({"bright"} if draws.random() < 0.5 else set())} for word in draws.choice(words, 300)]
    rare = [*things, {"gnu"}, {"gnu", "cat"}]
    assert co_occurring(*labels_of(things)) and co_occurring(*labels_of(rare))
    assert not co_occurring(*labels_of(kinds))
    assert not co_occurring(*labels_of([{"cat"}, {"dog"}, {"cat", "dog"}])), "too few to tell"
    pooling = [suggested(several=True, co_occurring=found)[0]["model"]["pooling"] for found in (True, False)]
    assert pooling == ["csra", "max"]
