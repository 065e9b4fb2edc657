"""Frozen features: what a pretrained network makes of images, and the linear classifier that each fold fits to them."""

import csv
import dataclasses
import json

import numpy as np
import pytest
import timm
import torch
from conftest import Workplace, csv_bytes, save_weights, shipped
from safetensors.torch import load_file, save_file
from sklearn.linear_model import LogisticRegression

from pipeline.base.params import TrainParams, parse_section
from pipeline.bundle import bundle
from pipeline.loop.device import Compute
from pipeline.loop.objective import objective_for
from pipeline.models import features as made
from pipeline.models.networks import begin_with_head
from pipeline.models.pretrained import backbone_of, resolve
from pipeline.training import linear_head
from pipeline.training.fold import FoldData
from pipeline.training.linear_head import fit_head

NAME = "test_resnet"
CPU = Compute(device=torch.device("cpu"), dtype=None, compiled=False)


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return save_weights(tmp_path_factory.mktemp("weights") / "given", NAME)


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


def test_features_of_other_weights_stop_training(place):
    place.run_data()
    place.run("split")
    path = place.path("data/features/train.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"weights_sha256": "0" * 64}))
    with pytest.raises(ValueError, match="computed with other weights than .*embed_train"):
        place.run("train", key="0")


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


def test_images_drawn_more_often_do_not_weaken_class_weights(separable):
    """A linear classifier draws no images, so that what drawing would make up for has to be in the weights."""
    features, targets = separable
    rows = np.flatnonzero((targets != 0) | (np.arange(300) % 5 == 0))
    data = FoldData(
        fold="0", store=torch.zeros(300, 8, 8, 3, dtype=torch.uint8), train_rows=rows, valid_rows=rows[:0],
        targets=targets, target_kind="single_label", num_classes=3,
    )  # fmt: skip
    folds, shipped_train = (
        np.array(["1", "2"] * 150),
        parse_section(shipped("params.yaml")["train"], "train", TrainParams),
    )

    def fitted(**settings):
        train = dataclasses.replace(shipped_train, **settings)
        return linear_head.fold_head(data, features, folds, train=train, device=torch.device("cpu")).weight

    weighted = fitted(class_weights="balanced")
    assert torch.equal(fitted(class_weights="balanced", sampling="balanced"), weighted)
    assert not torch.allclose(weighted, fitted())


def killed(*args):
    raise KeyboardInterrupt


def test_pieces_by_another_setting_of_the_network_are_not_used(place, monkeypatch):
    """global_pool changes no weight, only what is made of them."""
    place.params["images"]["side"] = 64  # at 32 the last map is a pixel
    found = []
    for options in ([], ["global_pool=max"]):
        place.params["model"]["options"] = options
        place.run_data()
        found.append(np.load(place.path("data/features/test.npy")))
    place.params["model"]["options"] = []
    place.run("weights")
    with monkeypatch.context() as patch:
        patch.setattr(made, "_joined", killed)
        with pytest.raises(KeyboardInterrupt):
            place.run("embed_test")
    place.params["model"]["options"] = ["global_pool=max"]
    place.run("weights")
    place.run("embed_test")
    assert not np.allclose(*found) and np.array_equal(np.load(place.path("data/features/test.npy")), found[1])


def test_features_that_overflow_stop(embedded, tmp_path, monkeypatch):
    real = made._of_rows

    def overflown(*args):
        features = real(*args)
        features[2, 5] = np.inf
        return features

    monkeypatch.setattr(made, "_of_rows", overflown)
    with pytest.raises(ValueError, match="features of 1 of 4 images are NaN or inf, first of row 2.*precision"):
        features_of(embedded, store_of(4), tmp_path)
    assert not (tmp_path / "features.npy").exists()


def test_frozen_and_head_first_exclude_each_other(place):
    place.params["model"]["head_first"] = True
    with pytest.raises(ValueError, match=r"model.frozen and model.head_first are both true"):
        place.run("weights")


def test_a_bundle_computes_features_as_they_were_computed(tmp_path):
    place, params = Workplace(tmp_path), tmp_path / "params.yaml"
    place.params["compute"]["precision"], place.params["infer"]["precision"] = "bf16", "fp32"
    place.save()
    recognised = tmp_path / "recognised.json"
    recognised.write_text("{}")
    run = bundle.Run(params=params, models=tmp_path, format=tmp_path, known=(), weights=(), recognised=recognised)
    asked = [bundle._settings(run, ["0", "1"], params, frozen=frozen).precision for frozen in (True, False)]
    assert asked == ["bf16", "fp32"]


@pytest.mark.parametrize(("name", "fits"), [(NAME, True), ("test_vit", True), ("shvit_s1", False)])
def test_a_classifier_behind_a_norm_is_not_begun_with(name, fits):
    """The head is fitted to what comes before that norm: behind it the same weights mean something else."""
    side = 160 if name == "test_vit" else 64
    network = timm.create_model(name, num_classes=3)
    for module in network.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            module.running_mean.fill_(0.5)
    head = torch.nn.Linear(network.get_classifier().in_features, 3)
    if not fits:
        with pytest.raises(ValueError, match="stands another layer"):
            begin_with_head(network, head, side)
        return
    begin_with_head(network, head, side)
    images = torch.rand(2, 3, side, side)
    with torch.no_grad():
        features = made._Pooled(network.eval())(images)
        assert torch.allclose(network(images), head(features), atol=1e-4)


def test_a_side_that_the_network_does_not_take_is_said(place, tmp_path):
    torch.manual_seed(3)
    save_file(timm.create_model("test_vit").state_dict(), tmp_path / "vit.safetensors")
    place.params["model"] |= {
        "name": "test_vit", "weights": str(tmp_path / "vit.safetensors"), "normalisation": "half",
        "options": ["dynamic_img_size=false"],
    }  # fmt: skip
    with pytest.raises(ValueError, match=r"test_vit does not take images of 32 px .*img_size=32"):
        place.run_data()


def test_a_classifier_beside_the_classifier_is_none_of_the_backbone():
    with torch.device("meta"):
        names = [set(backbone_of(timm.create_model("volo_d1_224", num_classes=classes))) for classes in (2, 1000)]
    assert names[0] == names[1] and not any("head" in name.split(".")[0] for name in names[0])


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("train.npy", b"", "train.npy is empty; run `dvc repro -f -s embed_train`"),
        ("train.json", b"[]", "train.json is not of this version .*; run `dvc repro -f -s embed_train`"),
    ],
)
def test_damaged_features_say_which_stage_makes_them(place, name, content, said):
    place.run_data()
    place.run("split")
    place.path(f"data/features/{name}").write_bytes(content)
    with pytest.raises(ValueError, match=said):
        place.run("train", key="0")
