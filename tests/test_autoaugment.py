"""The batched operations give torchvision's images."""

import numpy as np
import pytest
import torch
from torchvision.transforms import AutoAugment, AutoAugmentPolicy, InterpolationMode, TrivialAugmentWide
from torchvision.transforms.autoaugment import _apply_op

from pipeline.training import autoaugment

EXACT = {
    "TranslateX", "TranslateY", "Brightness", "Color", "Sharpness", "Posterize", "Solarize", "AutoContrast",
    "Equalize", "Invert",
}  # fmt: skip
NEAREST_TIES = 0.005  # share of pixels that may come from the other neighbour


def varied_images(size):
    """Noise, a smooth ramp, a flat image, and one of two levels: (n, size, size, 3) uint8."""
    generator = torch.Generator().manual_seed(size)
    noise = torch.randint(0, 256, (6, size, size, 3), generator=generator, dtype=torch.uint8)
    ramp = (torch.arange(size * size * 3) % 256).to(torch.uint8).view(1, size, size, 3)
    flat = torch.full((1, size, size, 3), 77, dtype=torch.uint8)
    low_contrast = torch.randint(100, 140, (2, size, size, 3), generator=generator, dtype=torch.uint8)
    return torch.cat([noise, ramp, flat, low_contrast, (noise[:1] > 127) * torch.tensor(200, dtype=torch.uint8)])


@pytest.mark.parametrize("size", [9, 32])
@pytest.mark.parametrize("space", ["autoaugment", "trivialaugment"])
@pytest.mark.parametrize("name", sorted(autoaugment.OPERATIONS))
def test_operation_matches_torchvision(name, space, size):
    images = varied_images(size)
    table = autoaugment.magnitudes_of(space, size)
    differing = total = 0
    for magnitude in table[name]:
        for signed in {magnitude, -magnitude} if name in autoaugment.SIGNED else {magnitude}:
            ours = autoaugment.OPERATIONS[name](images, np.full(len(images), signed))
            for image, got in zip(images, ours, strict=True):
                nearest = InterpolationMode.NEAREST
                theirs = _apply_op(image.permute(2, 0, 1), name, float(signed), nearest, None).permute(1, 2, 0)
                if name == "Contrast":
                    assert (theirs.int() - got.int()).abs().max() <= 1
                differing += int((theirs != got).any(dim=2).sum())
                total += size * size
    assert differing == 0 if name in EXACT else differing <= NEAREST_TIES * total


def test_spaces_and_policy_are_torchvisions():
    reference = AutoAugment(AutoAugmentPolicy.CIFAR10)
    theirs = [[(name, p, level or 0) for name, p, level in pair] for pair in reference.policies]
    assert [list(map(tuple, pair)) for pair in autoaugment.AUTOAUGMENT_CIFAR10] == theirs
    for spaces, ours in (
        (reference._augmentation_space(10, (32, 32)), autoaugment.magnitudes_of("autoaugment", 32)),
        (TrivialAugmentWide()._augmentation_space(31), autoaugment.magnitudes_of("trivialaugment", 32)),
    ):
        for name, (magnitudes, signed) in spaces.items():
            assert signed == (name in autoaugment.SIGNED), name
            if magnitudes.ndim:
                assert magnitudes.double().tolist() == ours[name].tolist(), name
    assert tuple(TrivialAugmentWide()._augmentation_space(31)) == autoaugment.TRIVIALAUGMENT_WIDE


@pytest.mark.parametrize("policy", ["autoaugment", "trivialaugment"])
def test_each_image_is_drawn_for_itself_and_the_draw_is_reproducible(policy):
    images = varied_images(32)[:1].expand(64, -1, -1, -1).contiguous()
    before = images.clone()
    drawn, same = (autoaugment.draw_policy(policy, len(images), np.random.default_rng(3)) for _ in range(2))
    once, again = autoaugment.apply_policy(images, policy, drawn), autoaugment.apply_policy(images, policy, same)
    assert torch.equal(once, again)
    assert torch.equal(images, before), "the input may be the store itself"
    assert len({image.numpy().tobytes() for image in once}) > 20


def test_operations_occur_as_often_as_the_policy_says():
    flat = torch.full((20_000, 4, 4, 3), 10, dtype=torch.uint8)
    drawn = autoaugment.draw_policy("autoaugment", len(flat), np.random.default_rng(0))
    bright = (autoaugment.apply_policy(flat, "autoaugment", drawn)[:, 1, 1, 0] > 200).float().mean()
    # Invert 0.1 in the first sub-policy and 0.1 in the last but one; in the last, TranslateY 0.7 brings black in,
    # and AutoContrast 0.9 then lifts 10 to 255. Nothing else brightens a flat dark image.
    assert abs(float(bright) - (0.1 + 0.1 + 0.7 * 0.9) / 25) < 0.005


@pytest.mark.parametrize("policy", ["autoaugment", "trivialaugment"])
def test_a_single_image_can_draw_any_operation(policy):
    image = varied_images(16)[:1]
    for seed in range(60):
        drawn = autoaugment.draw_policy(policy, 1, np.random.default_rng(seed))
        assert set(drawn["name"].flat) <= {*autoaugment.OPERATIONS, "Identity"}
        assert autoaugment.apply_policy(image, policy, drawn).shape == image.shape
