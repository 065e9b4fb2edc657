"""Several networks a fold: each is the one of its own seed, and what is predicted is the mean of their probabilities."""

import gc
import json
import weakref

import numpy as np
import pytest
import torch
from bundles import bundled, verified
from conftest import Workplace, competition_files, csv_bytes, write_zip
from safetensors.torch import load_file

from pipeline.base.files import read_arrays, read_history, read_json
from pipeline.models.checkpoint import read_checkpoint
from pipeline.models.prediction import predict_store
from pipeline.stages.evaluate import CURVE_COLUMNS
from pipeline.training import fold as training

RECIPES = {
    "as shipped": {},
    "averaged, mixed, sampled, three views": {
        "train": {"optimizer": "adamw", "peak_lr": 0.005, "ema_decay": 0.9, "tta": "mirror", "sampling": "sqrt"},
        "augment": {"mixup": 0.4, "cutout": 3, "flip": "dihedral"},
    },
    "whitened airbench by muon": {
        "model": {"name": "airbench", "whitening": True, "activation": "gelu", "init": "dirac", "norm_scale": "fixed"},
        "train": {"optimizer": "muon", "tta": "mirror_shift", "class_weights": "sqrt"},
    },
    "grades": {"competition": {"target": "ordinal"}, "train": {"loss": "cumulative", "tta": "mirror"}},
    "several labels": {
        "competition": {"target": "multi_label"},
        "train": {"loss": "asymmetric"},
        "model": {"pooling": "csra"},
    },
    "timm with dropout": {
        "model": {"name": "test_resnet", "options": ["drop_rate=0.4"]},
        "train": {"optimizer": "lamb", "peak_lr": 0.0005, "epochs": 3},
        "compute": {"precision": "fp32"},
    },
}


def made_ready(root, recipe):
    """A workplace in which train is next."""
    place = Workplace(root)
    for section, values in recipe.items():
        place.params[section] |= values
    target = place.params["competition"]["target"]
    files = competition_files(labels=("0", "1", "2")) if target == "ordinal" else competition_files()
    if target == "multi_label":
        labels = ("bird", "cat", "bird dog")
        files["train.csv"] = csv_bytes(("id", "label"), [(f"{row:03d}", labels[row % 3]) for row in range(30)])
        files["sample_submission.csv"] = csv_bytes(("id", "label"), [(f"9{row:02d}", "bird dog") for row in range(9)])
        place.params["competition"]["delimiter"] = " "
    write_zip(place.raw, files)
    place.run_data()
    place.run("split")
    return place


def trained(place, **train):
    """What fold 0 and infer write with these keys of `train`: oof, test, weights by name, rows of the history."""
    place.params["train"] |= train
    place.run("train", key="0")
    place.run("infer", key="0")
    oof, test = (read_arrays(place.path(f"data/{name}/0.npz"), ("probs",))["probs"] for name in ("oof", "test"))
    history = read_history(place.path("data/history/0.csv"), CURVE_COLUMNS)
    return oof, test, load_file(place.path("data/models/0.safetensors")), history


@pytest.mark.parametrize("recipe", RECIPES)
def test_networks_are_those_of_single_runs_and_predict_the_mean(tmp_path, recipe):
    place = made_ready(tmp_path, RECIPES[recipe])
    single = [trained(place, seed=seed) for seed in (5, 6)]
    oof, test, weights, history = trained(place, seed=5, seeds=2)
    assert np.abs(single[0][0] - single[1][0]).max() > 1e-3, "two networks, not one twice"
    for at, found in enumerate((oof, test)):
        assert np.abs(found - np.mean([part[at].astype(np.float64) for part in single], axis=0)).max() < 1e-6
    expected = {f"{number}.{name}": values for number, part in enumerate(single) for name, values in part[2].items()}
    assert weights.keys() == expected.keys()
    assert all(torch.equal(weights[name], values) for name, values in expected.items()), "bit for bit"
    assert history == [row | {"network": 1 + number} for number, part in enumerate(single) for row in part[3]]


def test_held_out_images_are_predicted_as_infer_would_and_scored_by_the_mean(tmp_path):
    place = made_ready(tmp_path, RECIPES["averaged, mixed, sampled, three views"])
    place.params["train"]["label_smoothing"] = 0.0
    oof, _, _, history = trained(place, seeds=3)
    model, card = read_checkpoint(place.path("data/models/0.safetensors"), place.path("data/models/0.json"))
    rows = [int(name) for name in read_arrays(place.path("data/oof/0.npz"), ("image_ids",))["image_ids"]]
    store = torch.from_numpy(np.load(place.path("data/images/train.npy"))[rows])
    probs, _ = predict_store(model, card, store, np.zeros(len(rows), bool), batch_size=16, device=torch.device("cpu"),
                             precision="auto")  # fmt: skip
    assert card.networks == 3 and np.array_equal(probs, oof)
    truth = np.array(rows) % 3  # the classes are sorted: a cat, bird, dog
    truth = np.array([1, 0, 2])[truth]
    metrics = read_json(place.path("data/metrics/0.json"))
    assert metrics["valid_accuracy"] == pytest.approx((oof.argmax(axis=1) == truth).mean())
    assert metrics["valid_loss"] == pytest.approx(-np.log(oof[np.arange(len(rows)), truth]).mean(), rel=1e-5)
    last = [row for row in history if row["epoch"] == 6]
    assert [row["network"] for row in last] == [1, 2, 3] and len(history) == 18
    assert metrics["train_loss"] == pytest.approx(np.mean([row["train_loss"] for row in last]))


def test_a_card_that_counts_other_networks_than_the_file_has_is_refused(tmp_path):
    place = made_ready(tmp_path, {})
    trained(place, seeds=2)
    weights, card = place.path("data/models/0.safetensors"), place.path("data/models/0.json")
    found = json.loads(card.read_text())
    for networks, message in ((3, "does not fit 3 networks of resnet9"), (1, "does not fit resnet9")):
        card.write_text(json.dumps(found | {"networks": networks}))
        with pytest.raises(ValueError, match=message):
            read_checkpoint(weights, card)


@pytest.mark.parametrize("ema_decay", [0.0, 0.9])
def test_of_a_network_that_is_trained_nothing_is_kept_but_its_weights(tmp_path, monkeypatch, ema_decay):
    """What a GPU holds of it is free before the next one begins."""
    place, alive, seen = made_ready(tmp_path, {"train": {"ema_decay": ema_decay}}), [], []
    first_state = training._first_state

    def watched(*args):
        seen.append([kept() is not None for kept in alive])
        state = first_state(*args)
        alive.extend([weakref.ref(state.optimizer), weakref.ref(state)])
        return state

    monkeypatch.setattr(training, "_first_state", watched)
    gc.disable()
    try:
        trained(place, seeds=3)
    finally:
        gc.enable()
    assert seen == [[], [False] * 2, [False] * 4]


def test_a_fold_of_its_own_number_of_networks_goes_through_all_stages_and_the_bundle(tmp_path, capsys):
    place = Workplace(tmp_path)
    write_zip(place.raw, competition_files())
    place.params["folds"]["1"] = {"seeds": 2, "epochs": 4}
    place.run_all()
    curves = read_history(place.path("data/report/curves.csv"), CURVE_COLUMNS)
    counted = {
        key: sum((row["fold"], row["network"]) == key for row in curves) for key in (("0", 1), ("1", 1), ("1", 2))
    }
    assert counted == {("0", 1): 6, ("1", 1): 4, ("1", 2): 4} and len(curves) == 14
    bundle = bundled(place, tmp_path / "bundle.zip")
    capsys.readouterr()
    verified(place, bundle)
    assert "identical: " in capsys.readouterr().out
