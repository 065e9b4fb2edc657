"""pipeline.training.mixing: images and labels in the same shares, draws that a resumed run repeats."""

import numpy as np
import pytest
import torch

from pipeline.loop.batches import Batches
from pipeline.loop.objective import CrossEntropy, Grades, IndependentLabels
from pipeline.training.mixing import Mixed, Mixing

NUM_CLASSES = 8


def flat_batch():
    """Image i is all of grey level 30 * i and of class i, so that pixels say whose they are."""
    levels = torch.arange(NUM_CLASSES, dtype=torch.uint8) * 30
    return levels[:, None, None, None].expand(-1, 3, 16, 16).contiguous(), torch.arange(NUM_CLASSES)


def mixings(**alphas):
    return Mixing(**alphas, num_classes=NUM_CLASSES, key=(0, 1, 2))


@pytest.mark.parametrize("step", range(6))
@pytest.mark.parametrize("alphas", [{"mixup": 0.4}, {"cutmix": 1.0}, {"mixup": 0.4, "cutmix": 1.0}], ids=str)
def test_the_labels_are_mixed_in_the_shares_of_the_pixels(alphas, step):
    images, targets = flat_batch()
    mixed, soft = mixings(**alphas)(images, targets, step)
    mean_level = mixed.double().mean(dim=(1, 2, 3))
    expected = (soft.double() * 30 * torch.arange(NUM_CLASSES)).sum(dim=1)
    assert mixed.dtype == torch.uint8
    assert torch.allclose(mean_level, expected, atol=0.51)  # rounding of mixup to whole levels
    assert torch.allclose(soft.sum(dim=1), torch.ones(NUM_CLASSES))


def test_cutmix_leaves_every_pixel_whole_and_mixup_blends_them():
    images, targets = flat_batch()
    levels = set(images.unique().tolist())
    cut = [mixings(cutmix=1.0)(images, targets, step)[0] for step in range(5)]
    blended = [mixings(mixup=1.0)(images, targets, step)[0] for step in range(5)]
    assert all(set(batch.unique().tolist()) <= levels for batch in cut)
    assert any(len(image.unique()) == 2 for batch in cut for image in batch)
    assert not all(set(batch.unique().tolist()) <= levels for batch in blended)
    assert all(len(image.unique()) == 1 for batch in blended for image in batch)


def test_both_ways_come_up_where_both_are_on():
    images, targets = flat_batch()
    draws = [mixings(mixup=1.0, cutmix=1.0)(images, targets, step)[0] for step in range(30)]
    cut = sum(any(len(image.unique()) == 2 for image in batch) for batch in draws)
    assert 5 <= cut <= 25


def test_the_batch_that_was_given_is_left_as_it_was():
    images, targets = flat_batch()
    before = images.clone()
    for step in range(4):
        mixings(mixup=1.0, cutmix=1.0)(images, targets, step)
    assert torch.equal(images, before)


def test_batches_that_follow_skipped_ones_are_mixed_as_they_would_have_been():
    store = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (50, 8, 8, 3), dtype=np.uint8))
    targets = np.arange(50) % NUM_CLASSES

    def batches(skip):
        source = Batches(store, np.arange(50), targets, batch_size=8, device=torch.device("cpu"), pairs=True, skip=skip)
        return list(Mixed(source, mixings(mixup=0.3, cutmix=1.0)))

    whole, rest = batches(0), batches(3)
    assert len(rest) == len(whole) - 3
    for (images, soft), (same_images, same_soft) in zip(whole[3:], rest, strict=True):
        assert torch.equal(images, same_images)
        assert torch.equal(soft, same_soft)


@pytest.mark.parametrize(
    "objective", [CrossEntropy(0.1), IndependentLabels(), Grades()], ids=lambda one: type(one).__name__
)
def test_the_loss_of_pure_soft_targets_is_that_of_the_labels(objective):
    logits = torch.randn(
        NUM_CLASSES, NUM_CLASSES - isinstance(objective, Grades), generator=torch.Generator().manual_seed(0)
    )
    soft = torch.eye(NUM_CLASSES)
    hard = soft if isinstance(objective, IndependentLabels) else torch.arange(NUM_CLASSES)
    assert torch.allclose(
        objective.losses(logits, soft, training=True), objective.losses(logits, hard, training=True), atol=1e-6
    )


def test_the_loss_of_mixed_grades_is_the_mixture_of_their_losses():
    logits = torch.randn(1, 4, generator=torch.Generator().manual_seed(1))
    soft = torch.tensor([[0.0, 0.3, 0.0, 0.7, 0.0]])
    low, high = (Grades().losses(logits, torch.tensor([grade]), training=True) for grade in (1, 3))
    assert torch.allclose(Grades().losses(logits, soft, training=True), 0.3 * low + 0.7 * high, atol=1e-6)
