"""Frozen features: what a pretrained network makes of images, and the linear classifier that each fold fits to them."""

import csv
import json

import numpy as np
import pytest
import timm
import torch
from conftest import csv_bytes
from safetensors.torch import load_file, save_file
from sklearn.linear_model import LogisticRegression

from pipeline.loop.device import Compute
from pipeline.loop.objective import objective_for
from pipeline.models import features as made
from pipeline.models.pretrained import resolve
from pipeline.training import linear_head
from pipeline.training.linear_head import fit_head

NAME = "test_resnet"
CPU = Compute(device=torch.device("cpu"), dtype=None, compiled=False)
CONFIG = {"architecture": NAME, "pretrained_cfg": {"mean": [0.5] * 3, "std": [0.25] * 3}}


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    torch.manual_seed(3)
    path = tmp_path_factory.mktemp("weights")
    save_file(timm.create_model(NAME).state_dict(), path / "model.safetensors")
    (path / "config.json").write_text(json.dumps(CONFIG))
    return path


@pytest.fixture
def place(workplace, folder):
    workplace.params["model"] |= {"name": NAME, "weights": str(folder), "frozen": True}
    workplace.params["images"]["side"] = 32
    workplace.params["train"]["tta"] = "mirror"
    return workplace


@pytest.fixture(scope="session")
def embedded(tmp_path_factory, folder):
    """(a network for features of one view, its weights, their card)."""
    out = tmp_path_factory.mktemp("resolved") / "weights.safetensors"
    card, _ = resolve(NAME, {}, str(folder), "auto", out)
    return out, card


def store_of(num_images, size=32, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 256, (num_images, size, size, 3), dtype=np.uint8))


def features_of(embedded, store, tmp_path, tta="none"):
    weights, card = embedded
    network = made.feature_network(NAME, {}, weights, card, tta)
    out = tmp_path / "features.npy"
    made.embed_store(network, store, out, tmp_path / "pieces", compute=CPU, ingredients={}, title="t")
    return np.load(out)


def test_features_are_what_timm_gives_before_its_classifier(embedded, folder, tmp_path):
    store = store_of(5)
    network = timm.create_model(NAME)
    network.load_state_dict(load_file(folder / "model.safetensors"))
    images = (store.permute(0, 3, 1, 2) / 255 - 0.5) / 0.25
    with torch.no_grad():
        expected = network.eval().forward_head(network.forward_features(images), pre_logits=True)
    assert np.allclose(features_of(embedded, store, tmp_path), expected.numpy(), atol=1e-5)


def test_the_mean_over_mirror_images_knows_no_left(embedded, tmp_path):
    store = store_of(4)
    both = [features_of(embedded, part, tmp_path, "mirror") for part in (store, store.flip(2).contiguous())]
    one = features_of(embedded, store, tmp_path)
    assert np.allclose(*both, atol=1e-5) and not np.allclose(one, both[0], atol=1e-4)


def test_a_killed_run_goes_on_and_gives_the_same_bytes(embedded, tmp_path, monkeypatch):
    monkeypatch.setattr(made, "PIECE_IMAGES", 4)
    store, whole = store_of(11), []
    expected = features_of(embedded, store, tmp_path)
    real = made._of_rows

    def killed(network, store, rows, *args):
        if len(whole) == 2:
            raise KeyboardInterrupt
        whole.append(rows)
        return real(network, store, rows, *args)

    monkeypatch.setattr(made, "_of_rows", killed)
    with pytest.raises(KeyboardInterrupt):
        features_of(embedded, store, tmp_path / "killed")
    assert not (tmp_path / "killed/features.npy").exists()
    again = []
    monkeypatch.setattr(made, "_of_rows", lambda n, s, rows, *args: again.append(rows) or real(n, s, rows, *args))
    found = features_of(embedded, store, tmp_path / "killed")
    assert np.array_equal(found, expected) and [rows.tolist() for rows in again] == [[8, 9, 10]]
    assert not (tmp_path / "killed/pieces").exists()


def test_pieces_of_other_images_are_not_used(embedded, tmp_path):
    weights, card = embedded
    network = made.feature_network(NAME, {}, weights, card, "none")
    results = []
    for seed in (0, 1):
        store, out = store_of(3, seed=seed), tmp_path / f"{seed}.npy"
        made.embed_store(network, store, out, tmp_path / "p", compute=CPU, ingredients={"images": seed}, title="t")
        results.append(np.load(out))
    assert not np.allclose(*results)


@pytest.fixture(scope="module")
def separable():
    rng = np.random.default_rng(5)
    targets = rng.integers(0, 3, 300)
    centres = rng.normal(size=(3, 20))
    return (centres[targets] + 1.5 * rng.normal(size=(300, 20)) + 7).astype(np.float32) * 3, targets


def test_the_classifier_is_scikit_learns_at_the_same_penalty(separable):
    features, targets = separable
    inner = [np.arange(0, 150), np.arange(150, 300)]
    layer, strength = fit_head(
        torch.from_numpy(features), torch.from_numpy(targets), inner, objective_for("single_label"), 3
    )
    standard = (features - features.mean(0)) / features.std(0)
    peer = LogisticRegression(C=1 / (len(features) * strength), tol=1e-8, max_iter=5000).fit(standard, targets)
    with torch.no_grad():
        ours = layer(torch.from_numpy(features)).softmax(1).numpy()
    assert np.abs(ours - peer.predict_proba(standard)).max() < 2e-3


def test_the_penalty_is_the_best_of_the_inner_folds(separable, monkeypatch):
    features, targets = map(torch.from_numpy, separable)
    inner = [np.arange(0, 300, 2), np.arange(1, 300, 2)]
    objective = objective_for("single_label")
    _, chosen = fit_head(features, targets, inner, objective, 3)
    losses = {}
    for strength in linear_head.STRENGTHS:
        monkeypatch.setattr(linear_head, "STRENGTHS", (strength,))
        total = 0.0
        for held in inner:
            kept = np.setdiff1d(np.arange(300), held)
            layer, _ = fit_head(features[kept], targets[kept], inner[:0] or [np.arange(5)], objective, 3)
            with torch.no_grad():
                total += float(objective.losses(layer(features[held]), targets[held], training=False).sum())
        losses[strength] = total
    assert losses[chosen] <= min(losses.values()) * 1.01


def test_a_feature_that_does_not_vary_counts_for_nothing(separable):
    features, targets = separable
    constant = np.concatenate([features, np.full((300, 1), 4.0, np.float32)], axis=1)
    inner = [np.arange(0, 300, 3)]
    layer, _ = fit_head(torch.from_numpy(constant), torch.from_numpy(targets), inner, objective_for("single_label"), 3)
    assert bool(layer.weight.isfinite().all()) and layer.weight[:, -1].abs().max() == 0


def test_all_stages_run_and_the_card_says_what_predicts(place):
    place.run_all()
    card = json.loads(place.path("data/models/0.json").read_text())
    described = json.loads(place.path("data/features/train.json").read_text())
    assert card["features"] == described["width"] > 0
    assert card["backbone_sha256"] == json.loads(place.path("data/weights/card.json").read_text())["weights_sha256"]
    assert list(load_file(place.path("data/models/0.safetensors"))) == ["bias", "weight"]
    assert place.path("submissions/submission.csv").is_file()
    history = place.path("data/history/0.csv").read_text().splitlines()
    assert len(history) == 2


def rows_of(path):
    with path.open(newline="") as handle:
        return list(csv.DictReader(handle))


def test_what_is_held_out_does_not_move_the_classifier(place):
    place.run_data()
    place.run("split")
    place.run("train", key="0")
    before = place.path("data/models/0.safetensors").read_bytes()
    held = {row["image_id"] for row in rows_of(place.path("data/folds.csv")) if row["fold"] == "0"}
    table = place.path("data/competition/train.csv")
    cells = rows_of(table)
    labels = sorted({row["label"] for row in cells})
    for row in cells:
        if row["image_id"] in held:
            row["label"] = labels[labels.index(row["label"]) - 1]
    table.write_bytes(csv_bytes(list(cells[0]), [list(row.values()) for row in cells]))
    place.run("train", key="0")
    assert place.path("data/models/0.safetensors").read_bytes() == before


def test_features_of_other_weights_stop_predicting(place, tmp_path):
    place.run_data()
    place.run("split")
    place.run("train", key="0")
    path = place.path("data/features/test.json")
    described = json.loads(path.read_text())
    path.write_text(json.dumps(described | {"weights_sha256": "0" * 64}))
    with pytest.raises(ValueError, match="computed with other weights than"):
        place.run("infer", key="0")


def test_label_smoothing_does_not_count(place):
    place.run_data()
    place.run("split")

    def trained(**settings):
        place.params["train"] |= settings
        place.run("train", key="0")
        return place.path("data/models/0.safetensors").read_bytes()

    plain = trained(label_smoothing=0.0)
    assert trained(label_smoothing=0.2) == plain


@pytest.mark.parametrize("kind", ["multi_label", "ordinal", "binary"])
def test_every_kind_of_target_is_fitted(kind, separable):
    features, targets = separable
    truth = {
        "multi_label": np.eye(3, dtype=np.float32)[targets],
        "ordinal": targets,
        "binary": (targets > 0).astype(np.int64),
    }
    objective, outputs = objective_for(kind), {"multi_label": 3, "ordinal": 2, "binary": 2}[kind]
    aim = torch.from_numpy(truth[kind])
    layer, _ = fit_head(torch.from_numpy(features), aim, [np.arange(0, 300, 3)], objective, outputs)
    with torch.no_grad():
        probs = objective.probs(layer(torch.from_numpy(features)))
    assert float(objective.correct(probs, aim).float().mean()) > 0.85


def test_frozen_without_weights_is_refused(workplace):
    workplace.params["model"] |= {"name": NAME, "frozen": True}
    with pytest.raises(ValueError, match="model.frozen is true, but model.weights is none"):
        workplace.run("weights")


def test_nothing_frozen_writes_nothing(workplace):
    workplace.run_data()
    assert np.load(workplace.path("data/features/train.npy")).shape == (0, 0)


def test_views_of_one_fold_alone_are_refused(place):
    place.run_data()
    place.run("split")
    place.params["folds"]["0"] = {"tta": "none"}
    with pytest.raises(ValueError, match=r"folds.0.tta is none, train.tta mirror"):
        place.run("train", key="0")
