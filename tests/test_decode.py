"""decode: every kind of JPEG gives Pillow's pixels, or its error, whichever decoder took it."""

import io

import numpy as np
import pytest
from PIL import Image, ImageOps
from sklearn.datasets import load_sample_images

from pipeline.images.decode import decode_image


def smooth(height, width, seed=0):
    """(height, width, 3) uint8: a photograph's likeness, so that JPEG and scaling behave as on photographs."""
    coarse = np.random.default_rng(seed).integers(60, 200, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def jpeg(image, **options):
    stream = io.BytesIO()
    image.save(stream, format="JPEG", **options)
    return stream.getvalue()


def by_pillow(content, size):
    with Image.open(io.BytesIO(content)) as image:
        upright = ImageOps.exif_transpose(image).convert("RGB")
        return np.asarray(upright.resize((size, size), Image.Resampling.BILINEAR))


KINDS = {
    "plain": {},
    "progressive": {"progressive": True},
    "colours at full size": {"subsampling": 0},
    "colours at a quarter": {"subsampling": 2},
    "fine": {"quality": 98},
    "coarse": {"quality": 20},
    "optimised": {"optimize": True},
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_jpeg_in_the_stores_size_has_pillows_pixels_bit_for_bit(kind, mode):
    options = {} if mode == "L" and "subsampling" in KINDS[kind] else KINDS[kind]
    content = jpeg(smooth(48, 48).convert(mode), **options)
    decoded = decode_image(content, 48, "squash")
    assert np.array_equal(decoded.pixels, by_pillow(content, 48))
    assert (decoded.format, decoded.mode, decoded.width, decoded.height) == ("JPEG", mode, 48, 48)


@pytest.mark.parametrize("shape", [(400, 533), (533, 400), (100, 100), (31, 64), (7, 9), (1, 1)])
@pytest.mark.parametrize("size", [8, 32, 100, 224])
def test_a_scaled_jpeg_is_within_two_grey_levels_of_pillow(shape, size):
    content = jpeg(smooth(*shape), quality=90)
    difference = np.abs(decode_image(content, size, "squash").pixels.astype(int) - by_pillow(content, size))
    assert difference.mean() < 2


@pytest.mark.parametrize("fit", ["squash", "crop", "pad"])
def test_every_fit_gives_the_stores_shape(fit):
    decoded = decode_image(jpeg(smooth(90, 200)), 40, fit)
    assert decoded.pixels.shape == (40, 40, 3) and decoded.pixels.flags.c_contiguous
    assert (decoded.width, decoded.height) == (200, 90)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_jpeg_is_shown_as_exif_says(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = jpeg(smooth(40, 40), exif=exif, quality=95)
    decoded = decode_image(content, 40, "squash")
    assert np.array_equal(decoded.pixels, by_pillow(content, 40))
    assert ("EXIF-rotated" in decoded.oddities) == (orientation > 1)


def test_damaged_exif_does_not_cost_the_image():
    exif = Image.Exif()
    exif[0x0112] = 6
    content = bytearray(jpeg(smooth(40, 40), exif=exif))
    at = content.index(b"Exif\0\0")
    content[at + 6 : at + 14] = b"\xff" * 8
    assert decode_image(bytes(content), 40, "squash").pixels.shape == (40, 40, 3)


@pytest.mark.parametrize("tenth", range(1, 10))
def test_a_jpeg_cut_at_any_tenth_is_refused(tenth):
    content = jpeg(Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)))
    with pytest.raises(ValueError):
        decode_image(content[: tenth * len(content) // 10], 64, "squash")


def test_a_phones_jpeg_with_a_second_picture_behind_it_is_its_first():
    first, second = smooth(48, 64, 1), smooth(48, 64, 2)
    stream = io.BytesIO()
    first.save(stream, format="MPO", save_all=True, append_images=[second])
    decoded = decode_image(stream.getvalue(), 32, "squash")
    alone = np.asarray(first.resize((32, 32), Image.Resampling.BILINEAR)).astype(int)
    assert np.abs(decoded.pixels - alone).mean() < 4


@pytest.mark.parametrize(
    ("kind", "mode"),
    [("PNG", mode) for mode in ("RGB", "L", "LA", "P", "RGBA", "1", "I;16")]
    + [("BMP", mode) for mode in ("RGB", "L", "P", "1")]
    + [("TIFF", mode) for mode in ("RGB", "L", "P", "RGBA", "CMYK", "I;16")]
    + [("WEBP", mode) for mode in ("RGB", "RGBA")]
    + [("JPEG", "CMYK"), ("GIF", "P")],
)
def test_every_other_format_in_the_stores_size_has_pillows_pixels_bit_for_bit(kind, mode):
    draws = np.random.default_rng(5)
    deep = draws.integers(0, 1 << 16, (24, 24), dtype=np.uint16)
    colours = Image.fromarray(draws.integers(0, 256, (24, 24, 4), dtype=np.uint8))
    opaque = colours.convert("RGB")
    image = {"I;16": Image.fromarray(deep), "RGBA": colours}.get(mode) or opaque.convert(mode)
    stream = io.BytesIO()
    image.save(stream, format=kind)
    with Image.open(io.BytesIO(stream.getvalue())) as stored:
        shown = (
            stored.convert("RGB") if mode != "I;16" else Image.fromarray((deep >> 8).astype(np.uint8)).convert("RGB")
        )
    assert np.array_equal(decode_image(stream.getvalue(), 24, "squash").pixels, np.asarray(shown))


def sharpness(pixels):
    """Mean step between a pixel and the mean of its four neighbours, grey levels."""
    grey = pixels.astype(float).mean(axis=2)
    around = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:]
    return np.abs(grey[1:-1, 1:-1] - around / 4).mean()


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("size", [32, 64, 96, 107, 128, 129, 156, 160, 192, 213, 214, 224, 256, 288, 312, 320])
def test_a_photograph_looks_the_same_as_jpeg_and_as_png(number, size):
    photograph = Image.open(io.BytesIO(jpeg(Image.fromarray(load_sample_images().images[number]), quality=90)))
    stream = io.BytesIO()
    photograph.save(stream, format="PNG")
    other = decode_image(stream.getvalue(), size, "squash").pixels
    for turn in (1, 6):  # EXIF: upright; to be turned by a quarter
        exif = Image.Exif()
        exif[0x0112] = turn
        content = jpeg(
            photograph if turn == 1 else photograph.transpose(Image.Transpose.ROTATE_90), quality=98, exif=exif
        )
        own = decode_image(content, size, "squash").pixels
        difference = np.abs(own.astype(int) - other)
        assert difference.mean() < 1 and np.percentile(difference, 99) <= 5
        assert 0.95 < sharpness(own) / sharpness(other) < 1.05


@pytest.mark.parametrize("fit", ["squash", "crop", "pad"])
@pytest.mark.parametrize("shape", [(400, 533), (533, 400), (90, 200), (31, 64), (61, 20), (7, 9)])
@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_every_fit_of_a_jpeg_is_pillows(fit, shape, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = jpeg(smooth(*shape), quality=95, exif=exif)
    with Image.open(io.BytesIO(content)) as image:
        upright = ImageOps.exif_transpose(image).convert("RGB")
    by = {"crop": ImageOps.fit, "pad": ImageOps.pad}.get(fit, Image.Image.resize)
    for size in (24, 47):
        expected = np.asarray(by(upright, (size, size), Image.Resampling.BILINEAR)).astype(int)
        difference = np.abs(decode_image(content, size, fit).pixels - expected)
        assert difference.mean() < 0.7 and np.percentile(difference, 99) <= 6, (difference.mean(), difference.max())
