"""Objectives: each loss is what its probabilities say, and the mean of several predictions is the mean."""

import pytest
import torch
from sklearn.metrics import log_loss

from pipeline.loop.objective import CrossEntropy, Grades, IndependentLabels, num_outputs, objective_for

KINDS = {"single_label": CrossEntropy, "binary": CrossEntropy, "multi_label": IndependentLabels, "ordinal": Grades}
NUM_CLASSES, NUM_IMAGES = 4, 50


def logits_for(kind, seed=0, scale=3.0):
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(NUM_IMAGES, num_outputs(kind, NUM_CLASSES), generator=generator)


def targets_for(kind):
    if kind == "multi_label":
        return (torch.arange(NUM_IMAGES * NUM_CLASSES).view(NUM_IMAGES, -1) % 3 == 0).float()
    return torch.arange(NUM_IMAGES) % NUM_CLASSES


@pytest.mark.parametrize("kind", KINDS)
def test_probabilities_are_probabilities_of_every_class(kind):
    assert type(objective_for(kind)) is KINDS[kind]
    for scale in (0.0, 1.0, 200.0):
        probs = objective_for(kind).probs(logits_for(kind, scale=scale))
        assert probs.shape == (NUM_IMAGES, NUM_CLASSES) and probs.dtype == torch.float32
        assert bool(((probs >= 0) & (probs <= 1)).all())
        if kind != "multi_label":
            assert float((probs.sum(dim=1) - 1).abs().max()) < 1e-5


@pytest.mark.parametrize("kind", KINDS)
def test_the_loss_is_the_negative_log_likelihood_of_the_probabilities(kind):
    logits, targets, objective = logits_for(kind), targets_for(kind), objective_for(kind)
    probs = objective.probs(logits).double().numpy()
    if kind == "multi_label":
        expected = sum(
            log_loss(targets[:, at].numpy(), probs[:, at], labels=[0, 1]) for at in range(NUM_CLASSES)
        ) / NUM_CLASSES  # fmt: skip
    else:
        expected = log_loss(targets.numpy(), probs / probs.sum(axis=1, keepdims=True), labels=range(NUM_CLASSES))
    assert float(objective.losses(logits, targets, training=True).mean()) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_the_mean_of_logits_has_the_mean_of_the_probabilities(kind):
    objective = objective_for(kind)
    several = torch.stack([logits_for(kind, seed) for seed in range(3)])
    expected = torch.stack([objective.probs(logits) for logits in several]).mean(dim=0)
    assert float((objective.probs(objective.mean(several)) - expected).abs().max()) < 1e-5


@pytest.mark.parametrize("kind", KINDS)
def test_sure_logits_stay_finite_when_averaged(kind):
    mean = objective_for(kind).mean(torch.stack([logits_for(kind, scale=1000.0), logits_for(kind, 1, scale=1000.0)]))
    assert bool(torch.isfinite(objective_for(kind).losses(mean, targets_for(kind), training=False)).all())


@pytest.mark.parametrize("kind", KINDS)
def test_labels_are_smoothed_in_training_alone(kind):
    logits, targets = logits_for(kind), targets_for(kind)
    hard, soft = objective_for(kind), objective_for(kind, 0.2)
    assert torch.equal(hard.losses(logits, targets, training=False), soft.losses(logits, targets, training=False))
    assert not torch.allclose(hard.losses(logits, targets, training=True), soft.losses(logits, targets, training=True))


def test_a_higher_grade_is_never_likelier_to_be_passed_than_a_lower_one():
    probs = Grades().probs(logits_for("ordinal"))
    beyond = 1 - probs.cumsum(dim=1)
    assert bool((beyond[:, 1:] <= beyond[:, :-1] + 1e-6).all())


def test_of_several_labels_the_share_that_is_right_counts():
    probs = torch.tensor([[0.9, 0.1, 0.6], [0.5, 0.4, 0.2]])
    targets = torch.tensor([[1.0, 0.0, 0.0], [1.0, 1.0, 0.0]])
    assert IndependentLabels().correct(probs, targets).tolist() == pytest.approx([2 / 3, 2 / 3])
