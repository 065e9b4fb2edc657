"""Which way up images come: told from pictures alone, and what inspect then suggests."""

import numpy as np
import pytest
from conftest import ROOT, csv_bytes, encoded, write_zip
from PIL import Image

from pipeline.commands.inspection import inspect_competition
from pipeline.commands.symmetry import symmetry_of

NUM_IMAGES = 240


def pictures(lit, *, any_way_up, from_left=0):
    """(32, 32, 3) uint8, brighter by `lit` at the top, `from_left` at the left; `any_way_up`: each turned by chance."""
    light = np.linspace(lit, 0, 32)[:, None, None] + np.linspace(from_left, 0, 32)[:, None]
    draws = np.random.default_rng(5)
    for _ in range(NUM_IMAGES):
        coarse = Image.fromarray(draws.integers(60, 190, (6, 6, 3), dtype=np.uint8))
        pixels = (np.asarray(coarse.resize((32, 32), Image.Resampling.BICUBIC)) + light).clip(0, 255).astype(np.uint8)
        turns, mirrored = draws.integers(4), draws.integers(2)
        yield np.rot90(pixels[:, ::-1] if mirrored else pixels, turns) if any_way_up else pixels


def arrows():
    """((N, 32, 32, 3) uint8, (N, 4) the way they point): as many each way, on a grey ground."""
    draws = np.random.default_rng(5)
    images = draws.integers(60, 120, (NUM_IMAGES, 32, 32, 3), dtype=np.uint8)
    rows, columns = np.mgrid[:32, :32]
    head = (rows >= 6) & (rows < 18) & (abs(columns - 16) <= rows - 6)
    shaft = (rows >= 18) & (rows < 26) & (abs(columns - 16) <= 3)
    for number, image in enumerate(images):
        arrow = np.roll(head | shaft, -draws.integers(2), axis=1)  # its middle lies between two pixels
        image[np.rot90(arrow, number % 4)] = draws.integers(150, 255, 3)
    return images, np.eye(4)[np.arange(NUM_IMAGES) % 4]


@pytest.mark.parametrize("num_labels", [1, 3])
def test_pictures_lit_from_above_have_a_top_and_the_same_ones_turned_have_none(num_labels):
    labels = np.eye(num_labels)[np.arange(NUM_IMAGES) % num_labels]
    upright = symmetry_of(np.stack([*pictures(60, any_way_up=False)]), labels)
    assert min(upright.upside_down, upright.turned) > 0.8 and upright.mirrored < 0.6
    assert not upright.any_way_up
    assert symmetry_of(np.stack([*pictures(60, any_way_up=True)]), labels).any_way_up
    assert symmetry_of(np.stack([*pictures(0, any_way_up=False)]), labels).any_way_up


def test_pictures_lit_from_the_left_are_one_handed_and_the_same_ones_mirrored_by_chance_are_not():
    lit = np.stack([*pictures(60, any_way_up=False, from_left=120)])
    labels = np.ones((NUM_IMAGES, 1))
    assert symmetry_of(lit, labels).one_handed
    lit[::8] = lit[::8, :, ::-1]
    assert not symmetry_of(lit, labels).one_handed


def test_what_is_up_in_one_class_and_down_in_another_is_found_by_the_labels():
    images, pointing = arrows()
    assert symmetry_of(images, np.ones((NUM_IMAGES, 1))).any_way_up, "all together come every way up"
    told = symmetry_of(images, pointing)
    assert not told.any_way_up and min(told.upside_down, told.turned) > 0.7


def test_pictures_of_one_colour_are_told_from_nothing():
    assert symmetry_of(np.zeros((NUM_IMAGES, 32, 32, 3), dtype=np.uint8), np.ones((NUM_IMAGES, 1))).any_way_up


def competition(folder, images, classes=("moss", "sand")):
    files, rows = {}, []
    for number, pixels in enumerate(images):
        files[f"train/{number:03d}.png"] = encoded(np.ascontiguousarray(pixels))
        rows.append((f"{number:03d}", classes[number % 2]))
    files["train.csv"] = csv_bytes(("id", "label"), rows)
    files["test/900.png"] = files["train/000.png"]
    files["sample_submission.csv"] = csv_bytes(("id", "label"), [("900", classes[0])])
    return write_zip(folder / "raw.zip", files)


@pytest.mark.parametrize(
    ("any_way_up", "from_left", "classes", "suggested", "said"),
    [
        (True, 0, ("moss", "sand"), ("dihedral", "dihedral"), "they come any way up: of 240 labelled ones"),
        (True, 120, ("left shoe", "right shoe"), (False, "shift"), "they come any way up: of 240 labelled ones"),
        (False, 0, ("moss", "sand"), ("alternating", "mirror_shift"), None),
        (
            False,
            120,
            ("moss", "sand"),
            (False, "shift"),
            "their mirror images are of another kind: of 240 labelled ones",
        ),
    ],
)
def test_inspect_suggests_to_turn_and_mirror_as_images_come(tmp_path, any_way_up, from_left, classes, suggested, said):
    params = tmp_path / "params.yaml"
    params.write_text((ROOT / "params.yaml").read_text())
    images = pictures(60, any_way_up=any_way_up, from_left=from_left)
    account = inspect_competition(competition(tmp_path, images, classes), params)
    assert (account.recipe["augment"]["flip"], account.recipe["train"]["tta"]) == suggested
    assert [said] * (said is not None) == [
        line.split(" ones ")[0].strip() + " ones" for line in account.lines if " are told " in line
    ]


def test_images_of_all_parts_of_the_table_are_asked(tmp_path):
    """Here the first two thirds come any way up."""
    params = tmp_path / "params.yaml"
    params.write_text((ROOT / "params.yaml").read_text())
    images = [*pictures(90, any_way_up=True)] * 2 + [*pictures(90, any_way_up=False)]
    assert inspect_competition(competition(tmp_path, images), params).recipe["augment"]["flip"] == "alternating"


def test_too_few_images_are_not_asked(tmp_path):
    params = tmp_path / "params.yaml"
    params.write_text((ROOT / "params.yaml").read_text())
    few = [*pictures(60, any_way_up=True)][:199]
    assert inspect_competition(competition(tmp_path, few), params).recipe["augment"]["flip"] == "alternating"
