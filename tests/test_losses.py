"""Losses for rare classes: the values and gradients of their papers' formulas, and probabilities read as trained."""

import json
import math
import re

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import competition_files, write_zip

from pipeline.base.files import read_arrays
from pipeline.loop.objective import (
    LOSSES,
    CrossEntropy,
    CumulativeGrades,
    Focal,
    Grades,
    IndependentLabels,
    num_outputs,
    objective_for,
)
from pipeline.models.checkpoint import read_checkpoint
from pipeline.models.prediction import predict_store

NUM_CLASSES, NUM_IMAGES = 4, 60
NEW = [(kind, loss) for loss, kinds in LOSSES.items() for kind in kinds if loss != "auto"]
ALL = [(kind, loss) for loss, kinds in LOSSES.items() for kind in kinds]


def logits_for(kind, seed=0, scale=3.0):
    generator = torch.Generator().manual_seed(seed)
    outputs = num_outputs(kind, NUM_CLASSES)
    return scale * torch.randn(NUM_IMAGES, outputs, generator=generator, dtype=torch.float64)


def targets_for(kind):
    if kind == "multi_label":
        return (torch.arange(NUM_IMAGES * NUM_CLASSES).view(NUM_IMAGES, -1) % 3 == 0).float()
    return torch.arange(NUM_IMAGES) % NUM_CLASSES


def mixed(kind):
    hard = targets_for(kind)
    shares = hard if hard.ndim == 2 else F.one_hot(hard, NUM_CLASSES).float()
    return torch.lerp(shares.roll(1, dims=0), shares, 0.7)


# -- by hand


def test_focal_by_hand():
    logits = torch.tensor([[0.7, 0.2, 0.1]]).log()
    for gamma in (0.0, 0.5, 1.0, 2.0):
        loss = Focal(gamma).losses(logits, torch.tensor([0]), training=True)
        assert loss.item() == pytest.approx(-(0.3**gamma) * math.log(0.7), rel=1e-5)
    shares = torch.tensor([[0.6, 0.4, 0.0]])
    by_hand = -0.6 * 0.3**2 * math.log(0.7) - 0.4 * 0.8**2 * math.log(0.2)
    assert Focal(2.0).losses(logits, shares, training=True).item() == pytest.approx(by_hand, rel=1e-5)


def test_focal_and_asymmetric_of_several_labels_by_hand():
    logits = torch.tensor([[0.8, 0.3, 0.04]]).logit()
    targets = torch.tensor([[1.0, 0.0, 0.0]])
    focal = objective_for("multi_label", loss="focal", focal_gamma=2.0).losses(logits, targets, training=True)
    by_hand = [-(0.2**2) * math.log(0.8), -(0.3**2) * math.log(0.7), -(0.04**2) * math.log(0.96)]
    assert focal.item() == pytest.approx(np.mean(by_hand), rel=1e-5)
    asymmetric = objective_for("multi_label", loss="asymmetric").losses(logits, targets, training=True)
    by_hand = [-math.log(0.8), -(0.25**4) * math.log(0.75), 0.0]
    assert asymmetric.item() == pytest.approx(np.mean(by_hand), rel=1e-5), "absent labels below the margin cost nothing"


def test_cumulative_by_hand():
    score, distance = 0.3, math.log(1 + math.exp(1.5))
    above_0, above_1 = (1 / (1 + math.exp(-score - shift)) for shift in (distance / 2, -distance / 2))
    by_hand = [1 - above_0, above_0 - above_1, above_1]
    logits = torch.tensor([[0.3, 1.5]])
    assert CumulativeGrades().probs(logits)[0].tolist() == pytest.approx(by_hand, abs=1e-6)
    losses = CumulativeGrades().losses(logits.repeat(3, 1), torch.arange(3), training=True)
    assert losses.tolist() == pytest.approx([-math.log(p) for p in by_hand], abs=1e-6)
    two_grades = CumulativeGrades().probs(torch.tensor([[0.4]]))
    assert two_grades[0, 1].item() == pytest.approx(1 / (1 + math.exp(-0.4)), abs=1e-6), "logistic regression"


# -- against a plain formula


def plain_formula(kind, loss, logits, soft, gamma):
    """(B,) as the papers write it; float64, soft (B, C)."""
    if loss == "cumulative":
        distances = torch.log(1 + torch.exp(logits[:, 1:]))
        thresholds = torch.cat([torch.zeros_like(logits[:, :1]), distances.cumsum(1)], dim=1)
        above = torch.sigmoid(logits[:, :1] - thresholds + thresholds.mean(dim=1, keepdim=True))
        one = torch.ones_like(above[:, :1])
        probs = torch.cat([one, above], dim=1) - torch.cat([above, 0 * one], dim=1)
        return -(soft * probs.log()).sum(dim=1)
    if kind != "multi_label":
        probs = torch.exp(logits) / torch.exp(logits).sum(dim=1, keepdim=True)
        return -(soft * (1 - probs) ** gamma * probs.log()).sum(dim=1)
    probs = 1 / (1 + torch.exp(-logits))
    if loss == "focal":
        return -(soft * (1 - probs) ** gamma * probs.log() + (1 - soft) * probs**gamma * (1 - probs).log()).mean(dim=1)
    lowered = torch.clamp(probs - 0.05, min=0)
    return -(soft * probs.log() + (1 - soft) * lowered**4 * (1 - lowered).log()).mean(dim=1)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("gamma", [1.0, 2.5])
@pytest.mark.parametrize(("kind", "loss"), NEW)
def test_values_and_gradients_are_those_of_the_plain_formula(kind, loss, gamma, smoothing):
    soft = mixed(kind).double()
    even = 0.5 if kind == "multi_label" else 1 / NUM_CLASSES
    objective = objective_for(kind, smoothing, loss=loss, focal_gamma=gamma)
    ours, plain = (logits_for(kind).requires_grad_() for _ in range(2))
    losses = objective.losses(ours, soft, training=True)
    expected = plain_formula(kind, loss, plain, soft * (1 - smoothing) + even * smoothing, gamma)
    assert torch.allclose(losses, expected, rtol=1e-9, atol=1e-12)
    losses.mean().backward()
    expected.mean().backward()
    assert torch.allclose(ours.grad, plain.grad, rtol=1e-7, atol=1e-12)


@pytest.mark.parametrize("kind", ["single_label", "multi_label"])
def test_focal_with_gamma_0_is_cross_entropy(kind):
    logits = logits_for(kind).float()
    for targets in (targets_for(kind), mixed(kind)):
        plain, focal = objective_for(kind, 0.1), objective_for(kind, 0.1, loss="focal", focal_gamma=0.0)
        expected = plain.losses(logits, targets, training=True)
        assert torch.allclose(focal.losses(logits, targets, training=True), expected, atol=1e-5)


@pytest.mark.parametrize(("kind", "loss"), ALL)
def test_hard_targets_are_mixed_ones_of_a_single_share(kind, loss):
    hard = targets_for(kind)
    shares = hard if hard.ndim == 2 else F.one_hot(hard, NUM_CLASSES).float()
    weights = np.array([0.5, 1.0, 2.0, 4.0], dtype=np.float32)
    weights = np.stack([weights, 1 / weights]) if kind == "multi_label" else weights
    for class_weights in (None, weights):
        objective = objective_for(kind, 0.1, loss=loss, class_weights=class_weights)
        whole, parts = (objective.losses(logits_for(kind), targets, training=True) for targets in (hard, shares))
        assert torch.allclose(whole, parts, rtol=1e-6)


@pytest.mark.parametrize("scale", [30.0, 1000.0])
@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0])
@pytest.mark.parametrize(("kind", "loss"), NEW)
def test_sure_logits_leave_losses_and_gradients_finite(kind, loss, gamma, scale):
    logits = logits_for(kind, scale=scale).float().requires_grad_()
    losses = objective_for(kind, 0.1, loss=loss, focal_gamma=gamma).losses(logits, targets_for(kind), training=True)
    losses.mean().backward()
    assert bool(losses.isfinite().all()) and bool(logits.grad.isfinite().all())


# -- what is read, and compared


@pytest.mark.parametrize(("kind", "loss"), ALL)
def test_the_validation_loss_is_the_likelihood_whatever_trains(kind, loss):
    logits, targets = logits_for(kind).float(), targets_for(kind)
    weights = np.ones((2, NUM_CLASSES) if kind == "multi_label" else NUM_CLASSES, dtype=np.float32) * 3
    objective = objective_for(kind, 0.2, loss=loss, class_weights=weights)
    probs = objective.probs(logits).double()
    if kind == "multi_label":
        expected = F.binary_cross_entropy(probs, targets.double(), reduction="none").mean(dim=1)
    else:
        expected = F.nll_loss(probs.log(), targets, reduction="none")
    assert torch.allclose(objective.losses(logits, targets, training=False).double(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["single_label", "multi_label", "ordinal"])
def test_class_weights_multiply_the_loss_of_the_images_or_labels_they_are_for(kind):
    logits, targets = logits_for(kind).float(), targets_for(kind)
    weights = np.array([0.5, 1.0, 2.0, 4.0], dtype=np.float32)
    if kind == "multi_label":
        weights = np.stack([weights, 10 * weights])
        plain = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
        each = torch.where(targets > 0, torch.tensor(weights[1]), torch.tensor(weights[0]))
        expected = (plain * each).mean(dim=1)
    else:
        expected = objective_for(kind).losses(logits, targets, training=True) * torch.tensor(weights)[targets]
    objective = objective_for(kind, class_weights=weights)
    assert torch.allclose(objective.losses(logits, targets, training=True), expected)
    assert torch.equal(objective.probs(logits), objective_for(kind).probs(logits))


@pytest.mark.parametrize(("kind", "loss"), [(kind, loss) for kind in LOSSES["auto"] for loss in LOSSES])
def test_a_loss_that_is_not_for_the_target_is_refused_with_those_that_are(kind, loss):
    if (kind, loss) in ALL:
        objective_for(kind, loss=loss)
        return
    fitting = ", ".join(name for name, kinds in LOSSES.items() if kind in kinds)
    message = f"train.loss is {loss}, which is for targets that are {' or '.join(LOSSES[loss])}; this one is {kind}; "
    with pytest.raises(ValueError, match=re.escape(f"{message}allowed: {fitting}")):
        objective_for(kind, loss=loss)


def test_auto_is_what_it_was():
    kinds = {"single_label": CrossEntropy, "multi_label": IndependentLabels, "ordinal": Grades}
    for kind, expected in kinds.items():
        assert type(objective_for(kind)) is expected


@pytest.mark.parametrize("num_grades", [2, 3, 9])
@pytest.mark.parametrize("scale", [0.0, 1.0, 200.0])
def test_cumulative_probabilities_sum_to_1_and_thresholds_do_not_cross(num_grades, scale):
    logits = scale * torch.randn(200, num_grades - 1, generator=torch.Generator().manual_seed(0))
    probs = CumulativeGrades().probs(logits)
    assert probs.shape == (200, num_grades) and bool((probs >= 0).all())
    assert float((probs.sum(dim=1) - 1).abs().max()) < 1e-5
    higher = CumulativeGrades().probs(logits + torch.tensor([1.0] + [0.0] * (num_grades - 2)))
    beyond, higher = 1 - probs.cumsum(dim=1), 1 - higher.cumsum(dim=1)
    assert bool((beyond[:, 1:] <= beyond[:, :-1] + 1e-6).all()), "P(grade > k) falls with k"
    assert bool((higher >= beyond - 1e-6).all()), "a higher score makes every higher grade likelier"


def test_the_mean_of_cumulative_logits_has_the_mean_of_the_probabilities_down_to_the_smallest():
    objective = CumulativeGrades()
    for scale in (0.5, 3.0, 10.0):
        several = scale * torch.randn(3, 300, 5, generator=torch.Generator().manual_seed(1))
        expected = torch.stack([objective.probs(logits.double()) for logits in several]).mean(dim=0)
        got = objective.probs(objective.mean(several)).double()
        assert float((got - expected).abs().max()) < 1e-5
        assert torch.allclose(got.log(), expected.clamp_min(1e-30).log(), rtol=1e-3, atol=1e-3), "relative, too"
    sure = objective.mean(1000.0 * torch.randn(2, 50, 5, generator=torch.Generator().manual_seed(2)))
    assert bool(sure.isfinite().all()) and bool(objective.probs(sure).isfinite().all())


# -- through the stages


@pytest.fixture
def graded(workplace):
    """A small competition of three grades."""
    write_zip(workplace.raw, competition_files(labels=("0", "1", "2")))
    workplace.params["competition"]["target"] = "ordinal"
    workplace.run_data()
    workplace.run("split")
    return workplace


def test_infer_reads_logits_by_the_objective_of_the_card_whatever_params_say_later(graded):
    graded.params["train"] |= {"loss": "cumulative", "tta": "mirror", "class_weights": "sqrt", "sampling": "sqrt"}
    graded.run("train", key="0")
    weights, description = graded.path("data/models/0.safetensors"), graded.path("data/models/0.json")
    model, card = read_checkpoint(weights, description)
    assert card.loss == "cumulative"
    held_out = read_arrays(graded.path("data/oof/0.npz"), ("image_ids", "probs"))
    rows = [int(image_id) for image_id in held_out["image_ids"]]
    store = torch.from_numpy(np.load(graded.path("data/images/train.npy"))[rows])
    probs, _ = predict_store(model, card, store, np.zeros(len(rows), bool), batch_size=16, device=torch.device("cpu"),
                             precision="auto")  # fmt: skip
    assert np.array_equal(probs, held_out["probs"]) and np.allclose(probs.sum(axis=1), 1, atol=1e-5)
    graded.params["train"] |= {"loss": "auto"}
    graded.run("infer", key="0")
    test = read_arrays(graded.path("data/test/0.npz"), ("probs",))["probs"]
    assert (test.argmax(axis=1) == np.arange(len(test)) % 3).mean() > 0.6

    older = json.loads(description.read_text())
    del older["loss"]
    description.write_text(json.dumps(older))
    assert read_checkpoint(weights, description)[1].loss == "auto", "a card from before it"


def test_a_loss_of_another_target_stops_training_before_it_starts(graded):
    graded.params["train"] |= {"loss": "asymmetric"}
    with pytest.raises(ValueError, match="train.loss is asymmetric, .* this one is ordinal; allowed: auto, cumulative"):
        graded.run("train", key="0")
    assert not graded.path("data/models/0.json").exists()
