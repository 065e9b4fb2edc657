"""near_copies: the same picture in another guise is found, and what is only alike is not."""

import io

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from pipeline.audit.duplicates import near_copies, search_copies, turned_copies


def picture(*seed, size=32, scales=(3, 6, 12, 24)):
    """A smooth random picture with some detail: (size, size, 3) uint8; coarse scales weigh more, colours go along."""
    rng = np.random.default_rng(seed)
    layers = [enlarged(rng.normal(size=(scale, scale, 1)), size) / np.sqrt(scale) for scale in scales]
    tint = enlarged(rng.normal(size=(3, 3, 3)), size)
    return np.clip(128 + 90 * sum(layers) + 15 * tint, 0, 255).astype(np.uint8)


def enlarged(grid, size):
    channels = [Image.fromarray(grid[..., c].astype(np.float32)).resize((size, size), 3) for c in range(grid.shape[2])]
    return np.stack([np.asarray(channel) for channel in channels], axis=-1)


def jpeg(pixels, quality):
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format="JPEG", quality=quality)
    return np.asarray(Image.open(stream))


def resized(pixels, share):
    size = len(pixels)
    other = Image.fromarray(pixels).resize((round(share * size),) * 2, Image.Resampling.BILINEAR)
    return np.asarray(other.resize((size, size), Image.Resampling.BILINEAR))


def brightened(pixels, levels):
    return np.clip(pixels.astype(int) + levels, 0, 255).astype(np.uint8)


CHANGES = {
    "JPEG q50": lambda pixels: jpeg(pixels, 50),
    "JPEG q80": lambda pixels: jpeg(pixels, 80),
    "a tenth smaller": lambda pixels: resized(pixels, 0.9),
    "a tenth larger": lambda pixels: resized(pixels, 1.1),
    "brighter": lambda pixels: brightened(pixels, 8),
    "darker": lambda pixels: brightened(pixels, -8),
    "more contrast": lambda pixels: np.clip(pixels * 1.1 - 12.8, 0, 255).astype(np.uint8),
}


def shifted(pixels, down, across):
    """By whole pixels; what comes in repeats the border."""
    return np.pad(pixels, ((1, 1), (1, 1), (0, 0)), mode="edge")[1 - down :, 1 - across :][: len(pixels), : len(pixels)]


RESIZED_OR_SHIFTED = {
    "a pixel down": lambda pixels: shifted(pixels, 1, 0),
    "a pixel left": lambda pixels: shifted(pixels, 0, -1),
    "a pixel up, and JPEG": lambda pixels: jpeg(shifted(pixels, -1, 0), 80),
    "halved and doubled": lambda pixels: resized(pixels, 0.5),
}


@pytest.mark.parametrize("change", RESIZED_OR_SHIFTED)
def test_a_shifted_or_halved_copy_is_found_more_often_than_not(change):
    """Before: none. What the coarsest waves take for another picture stays apart."""
    store = np.stack([picture(number) for number in range(40)])
    copies = np.stack([RESIZED_OR_SHIFTED[change](pixels) for pixels in store])
    groups = near_copies([store, copies])
    assert all(group == [(0, group[0][1]), (1, group[0][1])] for group in groups) and len(groups) > 20


@pytest.mark.parametrize("size", [32, 100])
@pytest.mark.parametrize("change", CHANGES)
def test_a_copy_in_another_guise_is_found_across_stores(change, size):
    train = np.stack([picture(number, size=size) for number in range(30)])
    test = np.stack([CHANGES[change](train[number]) for number in (7, 3, 21)] + [picture(99, size=size)])
    assert near_copies([train, test]) == [[(0, 3), (1, 1)], [(0, 7), (1, 0)], [(0, 21), (1, 2)]]


def of_one_kind(count):
    """One composition, as of cars on a road, filled with other detail each."""
    shared = picture(0, scales=(3,)).astype(int)
    return np.stack([np.clip(shared + picture(1, n, scales=(6, 12, 24)) - 128, 0, 255) for n in range(count)])


def parts(count):
    """One part on one fixture, each time with a spot of 3 px elsewhere: what such a competition is about."""
    store = np.stack([picture(0)] * count)
    for number in range(count):
        row, column = divmod(number * 7, 29)
        store[number, 4 + row * 3 :, column : column + 3][:3] ^= 128
    return store


def checkerboards():
    rows, columns = np.indices((32, 32))
    return np.stack([((rows + shift) // 4 + (columns + shift) // 4) % 2 * 200 for shift in (0, 2)])[..., None]


def slices(count):
    """A bright ring on black whose inside changes from image to image, as in a body seen slice by slice."""
    rows, columns = np.indices((64, 64)) - 31.5
    distance = np.hypot(rows, columns)
    inside = np.stack([picture(2, n, size=64, scales=(4, 8, 16)) for n in range(count)]).mean(axis=3)
    return np.where(distance < 22, inside, np.where(distance < 27, 230, 0))[..., None]


def digits(size):
    images = (load_digits().images * 15.9).astype(np.uint8)
    return np.stack([np.asarray(Image.fromarray(image).resize((size, size), 2)) for image in images])[..., None]


ALIKE = {
    "other pictures": lambda: np.stack([picture(number) for number in range(300)]),
    "one kind": lambda: of_one_kind(300),
    "noise": lambda: np.random.default_rng(0).integers(0, 256, (300, 32, 32, 3)),
    "flat": lambda: np.arange(200).repeat(32 * 32).reshape(-1, 32, 32, 1),
    "black": lambda: np.zeros((50, 32, 32, 1)),
    "nearly flat": lambda: np.random.default_rng(0).integers(98, 103, (300, 32, 32, 3)),
    "slices": lambda: slices(100),
    "checkerboards": checkerboards,
    "parts with a spot": lambda: parts(15),
    "digits of 8 px": lambda: digits(8),
    "digits of 8 px, enlarged": lambda: digits(32),
}


@pytest.mark.parametrize("kind", ALIKE)
def test_what_is_only_alike_is_not_grouped(kind):
    images = ALIKE[kind]()
    store = np.broadcast_to(images, (*images.shape[:3], 3)).astype(np.uint8)
    assert near_copies([store]) == []


def test_groups_do_not_depend_on_how_much_is_read_at_once():
    store = np.stack([jpeg(picture(number % 37), 50 + number // 37 * 10) for number in range(100)])
    whole = near_copies([store[:60], store[60:]])
    assert [group[0] for group in whole] == [(0, number) for number in range(37)]
    for budget in (1, 5_000, 33_000):
        assert near_copies([store[:60], store[60:]], budget=budget) == whole


def in_order(count, kind):
    return {"forth": np.arange(count), "back": np.arange(count)[::-1]}.get(
        kind, np.random.default_rng(0).permutation(count)
    )


@pytest.mark.parametrize("order", ["forth", "back", "mixed"])
def test_what_is_called_alike_is_in_one_group_in_any_order(order):
    """Pictures at brightness 0, +25 and +50: the first and the last are no copies of each other, but of the second."""
    muted = [contrasted(picture(number), 0.5) for number in range(60)]
    store = np.stack([brightened(one, levels) for levels in (0, 25, 50) for one in muted])
    assert near_copies([store[[0, 120]]]) == [] and near_copies([store[[0, 60]]]) == [[(0, 0), (0, 1)]]
    rows = in_order(180, order)
    groups = [sorted(rows[row] for _, row in group) for group in near_copies([store[rows]])]
    assert sorted(groups) == [[number, number + 60, number + 120] for number in range(60)]


def test_two_images_are_copies_or_not_whichever_comes_first():
    one, other = picture(1).astype(float), picture(2).astype(float)
    for share in np.linspace(0, 0.3, 40):
        for changed in (one + (other - one) * share, one * (1 - share) + 128 * share):
            pair = np.stack([one, changed]).clip(0, 255).astype(np.uint8)
            assert len(near_copies([pair])) == len(near_copies([pair[::-1]]))


@pytest.mark.parametrize("copies", [25, 26, 100])
def test_copies_of_a_picture_are_found_however_many_there_are(copies):
    """What an organiser who augments hands out; with 26 of each none were found before."""
    draws = np.random.default_rng(0)
    store = np.stack([
        jpeg(brightened(picture(number), draws.integers(-10, 11)), int(draws.integers(50, 96)))
        for number in range(10) for _ in range(copies)
    ])  # fmt: skip
    rows = draws.permutation(len(store))
    found = search_copies([store[rows]])
    groups = sorted(sorted(rows[row] for _, row in group) for group in found.groups)
    assert groups == [list(range(number * copies, (number + 1) * copies)) for number in range(10)]
    assert not found.series and not found.cut and not found.plain


def test_a_series_of_more_than_half_of_all_images_is_no_group_but_is_named():
    rng = np.random.default_rng(0)
    series = np.clip(picture(1) + rng.integers(-4, 5, (40, 32, 32, 3)), 0, 255).astype(np.uint8)
    whole = [(0, row) for row in range(40)]
    assert near_copies([series[:20]]) == [whole[:20]]
    found = search_copies([series])
    assert (found.groups, found.series) == ([], [whole]), "parts on a fixture, slices or frames"
    others = np.stack([picture(2, number) for number in range(40)])
    found = search_copies([np.concatenate([series, others])])
    assert (found.groups, found.series) == ([whole], [])


def test_a_crowd_that_is_alike_but_no_copies_is_given_up_and_counted():
    found = search_copies([parts(40)])
    assert not found.groups and 0 < len(found.cut) <= 40
    assert len(search_copies([parts(15)]).cut) == 0, "15 have been compared, each with each"


def test_images_that_are_not_compared_are_counted():
    flat = np.zeros((3, 32, 32, 3), np.uint8)
    store = np.stack([picture(1), *flat, picture(2)])
    assert search_copies([store]).plain == [(0, 1), (0, 2), (0, 3)]
    small = np.stack([picture(1, size=15)] * 2)
    assert search_copies([small[:1], small]).plain == [(0, 0), (1, 0), (1, 1)]


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("mirrored", [False, True])
def test_turned_and_mirrored_copies_are_told_apart_from_copies(turns, mirrored):
    """Whichever of the two comes first, by all symmetries but the one that is none."""
    store = np.stack([picture(number) for number in range(20)])
    for original, copy in ((4, 13), (17, 6)):
        store[copy] = jpeg(np.rot90(store[original][:, ::-1] if mirrored else store[original], turns), 80)
    groups, pairs = near_copies([store]), turned_copies([store[:10], store[10:]])
    if turns or mirrored:
        assert (groups, pairs) == ([], [[(0, 4), (1, 3)], [(0, 6), (1, 7)]])
    else:
        assert (groups, pairs) == ([[(0, 4), (0, 13)], [(0, 6), (0, 17)]], [])
    assert turned_copies([store[:10], store[10:]], known=18) == []
    assert turned_copies([store[:10], store[10:]], known=14) == pairs[1:]


def test_a_thing_that_is_its_own_mirror_image_is_one_pair_with_its_copy():
    half = picture(1)[:, :16]
    whole = np.concatenate([half, half[:, ::-1]], axis=1)
    assert turned_copies([np.stack([whole, picture(2), jpeg(whole, 80)])]) == [[(0, 0), (0, 2)]]


def test_stores_that_cannot_be_compared():
    small, large = np.zeros((2, 16, 16, 3), np.uint8), np.zeros((2, 32, 32, 3), np.uint8)
    with pytest.raises(ValueError, match=r"stores of 2 sizes \[16, 32\] px cannot be compared"):
        near_copies([small, large])
    assert near_copies([]) == near_copies([small[:0]]) == near_copies([small[:1], small[:0]]) == []
    assert turned_copies([small[:0]]) == []


def contrasted(pixels, factor):
    return np.clip(128 + (pixels.astype(float) - 128) * factor, 0, 255).round().astype(np.uint8)


def grained(pixels, seed):
    """With grain of 2 px that no thumbnail of 16 cells sees."""
    signs = np.random.default_rng(seed).choice([-1, 1], (16, 16)).repeat(2, 0).repeat(2, 1)
    grain = 14 * signs * np.tile([[1, -1], [-1, 1]], (16, 16))
    return np.clip(pixels + grain[..., None], 0, 255).astype(np.uint8)


def other_colours(pixels):
    """Blue for red in the left half and the reverse in the right: as grey, the same."""
    tint = np.where(np.arange(32) < 16, 1, -1)[None, :, None] * np.array([-12 * 0.114 / 0.299, 0, 12])
    return (pixels + tint).round().astype(np.uint8)


def with_a_spot(pixels):
    pixels = pixels.copy()
    pixels[16:18, 16:18] = np.where(pixels[16:18, 16:18] < 128, 45, -45) + pixels[16:18, 16:18]
    return pixels


def on_plain_ground(pixels):
    ground = np.full_like(pixels, 10)
    ground[:12, :12] = pixels[:12, :12]
    return ground


@pytest.mark.parametrize(
    ("one", "change"),
    [
        (contrasted(picture(1), 0.6), lambda pixels: contrasted(pixels, 0.75)),
        (contrasted(picture(1), 0.6), lambda pixels: brightened(pixels, 40)),
        (
            grained(contrasted(picture(1, scales=(3, 4)), 0.7), 1),
            lambda _: grained(contrasted(picture(1, scales=(3, 4)), 0.7), 2),
        ),
        (contrasted(picture(1), 0.3), other_colours),
        (contrasted(picture(1), 1.8), with_a_spot),
        (on_plain_ground(picture(1)), lambda pixels: jpeg(pixels, 90)),
        (contrasted(picture(1), 0.08), lambda pixels: pixels),
    ],
    ids=["contrast", "brightness", "detail", "colours", "spot", "plain ground", "flat"],
)
def test_one_difference_is_enough_to_be_no_copy(one, change):
    assert near_copies([np.stack([one, change(one)])]) == []


def test_small_stores_are_not_compared():
    for size, groups in ((15, []), (16, [[(0, 0), (0, 1)]])):
        assert near_copies([np.stack([picture(1, size=size)] * 2)]) == groups


def test_images_that_were_compared_are_not_compared_again():
    """The search among all, after one among the first: what it adds is pairs with the others."""
    pictures = (
        np.random.default_rng(3).integers(0, 256, (40, 8, 8, 3)).astype(np.uint8).repeat(4, axis=1).repeat(4, axis=2)
    )
    train = np.concatenate([pictures[:30], pictures[:5]])
    test = np.concatenate([pictures[30:], pictures[10:13]])
    alone = search_copies([train]).groups
    added = search_copies([train, test], known=len(train)).groups
    assert alone == [[(0, row), (0, 30 + row)] for row in range(5)]
    assert added == [[(0, 10 + row), (1, 10 + row)] for row in range(3)]
    assert sorted(alone + added) == search_copies([train, test]).groups
