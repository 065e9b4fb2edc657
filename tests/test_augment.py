"""Crop, flip and cutout: each image by its own draw, reproducibly."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from pipeline.training.augment import (
    Augmentation,
    alternating,
    cut_out,
    dihedral,
    draw_boxes,
    scale_up,
    shift_and_flip,
)


@pytest.fixture
def images():
    return torch.randint(1, 256, (60, 10, 10, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


@pytest.mark.parametrize(("fill", "mode"), [("reflect", "reflect"), ("zeros", "constant")])
def test_a_shift_is_a_crop_of_the_padded_image(images, fill, mode):
    padding = 4
    draws = np.random.default_rng(0)
    offsets = draws.integers(-padding, padding + 1, (len(images), 2))
    mirrored = draws.random(len(images)) < 0.5
    got = shift_and_flip(images, offsets, mirrored, fill=fill)
    padded = F.pad(images.permute(0, 3, 1, 2).float(), (padding,) * 4, mode=mode).byte()
    for image, (row, column), mirror, out in zip(padded, offsets + padding, mirrored, got, strict=True):
        crop = image[:, row : row + 10, column : column + 10]
        assert torch.equal(out.permute(2, 0, 1), crop.flip(2) if mirror else crop)


def test_cutout_blanks_one_square_and_nothing_else(images):
    centres = np.random.default_rng(1).integers(0, 10, (len(images), 2))
    got = cut_out(images, centres, 4, (7, 8, 9))
    for image, (row, column), out in zip(images, centres, got, strict=True):
        expected = image.clone()
        expected[max(row - 2, 0) : row + 2, max(column - 2, 0) : column + 2] = torch.tensor(
            [7, 8, 9], dtype=torch.uint8
        )
        assert torch.equal(out, expected)


def test_a_crop_by_scale_is_the_crop_resized(images):
    """As torch resizes it alone, but for the outermost pixels: there the image goes on, and the crop alone does not."""
    at = np.random.default_rng(2).integers(0, 6, (len(images), 2))  # of crops of 5 x 5 of 10 x 10 pixels
    got = scale_up(images, np.concatenate([at, np.full_like(at, 5)], axis=1) / 10)
    for image, (row, column), out in zip(images, at, got, strict=True):
        crop = image[row : row + 5, column : column + 5].permute(2, 0, 1)[None].float()
        resized = F.interpolate(crop, (10, 10), mode="bilinear", align_corners=False)[0].permute(1, 2, 0)
        assert (out.float() - resized)[1:-1, 1:-1].abs().max() <= 0.51
    whole = np.tile([0.0, 0.0, 1.0, 1.0], (len(images), 1))
    assert torch.equal(scale_up(images, whole), images)


def test_boxes_of_all_areas_and_ratios_lie_within_the_image():
    tops, lefts, heights, widths = draw_boxes(20_000, 0.3, np.random.default_rng(0)).T
    assert min(tops.min(), lefts.min()) >= 0 and max((tops + heights).max(), (lefts + widths).max()) <= 1 + 1e-12
    areas, whole = heights * widths, np.maximum(heights, widths) == 1
    assert areas.min() >= 0.3 * 0.75 and (areas[~whole] >= 0.3).all() and areas.max() <= 1
    assert abs(areas.mean() - 0.65) < 0.05
    assert np.abs(np.log(heights / widths)).max() <= np.log(4 / 3) + 1e-9
    assert (
        abs(np.log(heights / widths).mean()) < 0.01 and abs((tops[~whole] / (1 - heights[~whole])).mean() - 0.5) < 0.02
    )


def test_draws_depend_on_seed_fold_epoch_and_chunk_alone(images):
    settings = {"crop_scale": 0.5, "crop_padding": 2, "flip": True, "cutout": 3, "policy": "trivialaugment"}
    first = Augmentation(**settings, key=(1, 2, 3))(images, 4)
    np.random.default_rng(0).random(5)
    torch.manual_seed(9)
    assert torch.equal(first, Augmentation(**settings, key=(1, 2, 3))(images, 4))
    for key, chunk in (((0, 2, 3), 4), ((1, 0, 3), 4), ((1, 2, 0), 4), ((1, 2, 3), 0)):
        assert not torch.equal(first, Augmentation(**settings, key=key)(images, chunk))


def test_every_image_has_a_draw_of_its_own(images):
    same = images[:1].expand(60, -1, -1, -1).contiguous()
    got = Augmentation(crop_padding=3, flip=True)(same, 0)
    assert len({image.numpy().tobytes() for image in got}) > 30


def test_flips_are_half(images):
    many = images[:1].expand(4000, -1, -1, -1).contiguous()
    flipped = (Augmentation(flip=True)(many, 0) == images[0].flip(1)).all(dim=3).all(dim=2).all(dim=1)
    assert abs(float(flipped.float().mean()) - 0.5) < 0.04


def test_alternating_flips_turn_every_image_every_epoch():
    """Whatever the order of an epoch; half of the images are mirrored in each."""
    orders = [np.random.default_rng(epoch).permutation(1000) for epoch in (1, 2, 3)]
    key = {"seed": 0, "fold": 1}
    mirrored = [alternating(order, **key, epoch=epoch)[np.argsort(order)] for epoch, order in enumerate(orders, 1)]
    assert np.array_equal(mirrored[0], 1 - mirrored[1])
    assert np.array_equal(mirrored[0], mirrored[2])
    assert 450 < mirrored[0].sum() < 550
    assert not np.array_equal(mirrored[0], alternating(np.arange(1000), seed=0, fold=2, epoch=1))


def test_every_image_is_seen_all_eight_ways_in_any_eight_epochs():
    """Whatever the order of an epoch; in every other epoch mirrored, and an eighth of all each way in each."""
    orders = [np.random.default_rng(epoch).permutation(1000) for epoch in range(20)]
    turned = np.stack([dihedral(order, seed=0, fold=1, epoch=at)[np.argsort(order)] for at, order in enumerate(orders)])
    for start in range(12):
        assert (np.sort(turned[start : start + 8], axis=0) == np.arange(8)[:, None]).all()
    assert (turned[:-1] % 2 != turned[1:] % 2).all()
    assert all(np.bincount(epoch, minlength=8).min() > 90 for epoch in turned)
    assert len({tuple(column) for column in turned[:8].T}) == 32, "they follow each other in many orders"
    assert not np.array_equal(turned[1], dihedral(np.arange(1000), seed=0, fold=2, epoch=1))


def test_images_are_turned_by_their_position_in_the_epoch(images):
    """All symmetries of the square, as numpy's own mirrors and turns make them; after the crop."""
    turned = (np.arange(200) % 9 % 8).astype(np.uint8)
    for padding in (0, 2):
        straight = Augmentation(crop_padding=padding)(images, chunk=1)
        got = Augmentation(crop_padding=padding, turned=turned)(images, chunk=1, first=100)
        for image, how, out in zip(straight.numpy(), turned[100:160], got.numpy(), strict=True):
            image = image[:, ::-1] if how & 1 else image
            image = image[::-1] if how & 2 else image
            assert np.array_equal(out, image.transpose(1, 0, 2) if how & 4 else image)
    seen = {
        np.rot90(image, turns).tobytes() for image in (images[0].numpy(), images[0].numpy()[::-1]) for turns in range(4)
    }
    same = images[:1].expand(8, -1, -1, -1).contiguous()
    assert {out.numpy().tobytes() for out in Augmentation(turned=np.arange(8, dtype=np.uint8))(same, 0)} == seen


def test_everything_off_changes_nothing(images):
    assert torch.equal(Augmentation()(images, 0), images)
