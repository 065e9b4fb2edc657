"""decode: every kind of JPEG gives Pillow's pixels, or its error, whichever decoder took it."""

import io
import struct
import zlib

import numpy as np
import pytest
from conftest import encoded
from made_images import jpeg, smooth
from PIL import Image, ImageOps, TiffImagePlugin
from sklearn.datasets import load_sample_images

from pipeline.images.decode import bits_used, decode_image, shown_kind


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


def deep(values):
    """A 16-bit grey PNG."""
    return encoded(np.asarray(values, dtype=np.uint16))


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_the_upper_8_of_the_bits_that_are_used_are_kept(bits):
    values = np.random.default_rng(bits).integers(0, 1 << bits, (16, 16)).astype(np.uint16)
    decoded = decode_image(deep(values), 16, "squash", bits)
    assert np.array_equal(decoded.pixels[:, :, 0], values >> (bits - 8))
    assert decoded.oddities == (("16-bit",) if bits == 16 else (f"{bits}-bit in 16",))


def test_what_is_brighter_than_the_bits_is_white_and_said():
    decoded = decode_image(deep(np.full((16, 16), 5000)), 16, "squash", 12)
    assert decoded.pixels.min() == 255 and "16-bit above the range" in decoded.oddities


def deep_colours(values):
    """A 16-bit PNG of three colours, which Pillow cannot write (PNG, section 11.2)."""
    height, width, _ = values.shape
    lines = b"".join(b"\0" + line.astype(">u2").tobytes() for line in values)
    head = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(lines)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


@pytest.mark.parametrize("bits", [10, 12, 14, 16])
def test_colours_of_16_bits_that_use_few_of_them_are_refused_and_no_black_images(bits):
    values = np.random.default_rng(bits).integers(0, 1 << bits, (16, 16, 3))
    content = deep_colours(values)
    used = bits_used(content)
    assert used == bits
    if bits <= 12:
        with pytest.raises(ValueError, match=f"colours have 16 bits, of which the set uses {bits}"):
            decode_image(content, 16, "squash", used)
    else:
        decoded = decode_image(content, 16, "squash", used)
        assert np.array_equal(decoded.pixels, values >> 8) and decoded.oddities == ("16-bit",)


def test_8_bit_images_do_not_depend_on_the_bits():
    for content in (
        jpeg(smooth(40, 30)),
        encoded(np.asarray(smooth(40, 30))),
        encoded(np.asarray(smooth(40, 30).convert("L"))),
    ):
        assert len({decode_image(content, 24, "squash", bits).pixels.tobytes() for bits in (8, 12, 16)}) == 1


@pytest.mark.parametrize("colour", [0, 90, 255])
@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_a_drawing_in_alpha_alone_is_seen(colour, mode):
    alpha = np.zeros((16, 16), dtype=np.uint8)
    alpha[4:12, 6:9] = 255
    image = Image.fromarray(np.dstack([np.full((16, 16, 3), colour, dtype=np.uint8), alpha]), "RGBA")
    stream = io.BytesIO()
    if mode == "P":
        palette = Image.fromarray(alpha // 255)
        palette.putpalette([colour] * 6)
        palette.save(stream, "PNG", transparency=b"\0\xff")
    else:
        image.convert(mode).save(stream, "PNG")
    decoded = decode_image(stream.getvalue(), 16, "squash")
    seen = decoded.pixels[:, :, 0].astype(int)
    assert seen[6, 7] == colour and abs(seen[0, 0] - colour) > 120
    assert np.array_equal(seen == colour, alpha == 255) and decoded.oddities == ("shaped by alpha",)


def tiff(bands, dtype, *, planar=1, photometric=1, extra_samples=()):
    """An uncompressed TIFF of 6 x 5, written by hand: Pillow writes few kinds. extra_samples: 0 or 1 of such tags."""
    array = np.arange(6 * 5 * bands).reshape(6, 5, bands).astype(dtype)
    kind, bits = {"u": 1, "i": 2, "f": 3}[array.dtype.kind], array.dtype.itemsize * 8
    tags = [
        (256, 5), (257, 6), (258, bits), (259, 1), (262, photometric), (273, 0), (277, bands), (278, 6),
        (279, array.nbytes), (284, planar), *((338, value) for value in extra_samples), (339, kind),
    ]  # fmt: skip
    start = 8 + 2 + 12 * len(tags) + 4
    extra = b""
    entries = []
    for tag, value in tags:
        if tag in (258, 339) and bands == 2:
            entries.append(struct.pack("<HHIHH", tag, 3, 2, value, value))
        elif tag in (258, 339) and bands > 2:
            entries.append(struct.pack("<HHII", tag, 3, bands, start + len(extra)))
            extra += struct.pack(f"<{bands}H", *[value] * bands)
        else:
            entries.append(struct.pack("<HHII", tag, 4, 1, value))
    entries[5] = struct.pack("<HHII", 273, 4, 1, start + len(extra))
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + b"".join(entries) + bytes(4) + extra + array.tobytes()


@pytest.mark.parametrize(
    ("bands", "photometric", "meaning", "odd"),
    [(2, 1, 0, True), (4, 2, 0, True), (4, 2, 2, False), (3, 2, None, False)],
)
def test_a_tiffs_band_that_is_no_alpha_is_said_to_be_left_out(bands, photometric, meaning, odd):
    content = tiff(bands, np.uint8, photometric=photometric, extra_samples=[meaning] if meaning is not None else [])
    assert ("with a band left out" in decode_image(content, 4, "squash").oddities) == odd


def pages(*images, **options):
    stream = io.BytesIO()
    images[0].save(stream, "TIFF", save_all=True, append_images=images[1:], **options)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (tiff(13, np.uint16), r"^it is a TIFF of 13 bands \(13 of 16 bits, unsigned\); pick three"),
        (tiff(5, np.uint8), r"^it is a TIFF of 5 bands"),
        (tiff(1, np.int16), r"^it is a TIFF of signed numbers \(1 of 16 bits, signed\)"),
        (tiff(3, np.uint8), r"^this kind of TIFF is not read \(bands: 3 of 8 bits, unsigned\)"),
        (pages(*[Image.new("L", (20, 20), n) for n in range(3)]), r"^it is a TIFF of 3 pages \(20x20, 20x20, 20x20\)"),
        (pages(*[Image.new("L", (20 >> n, 20 >> n), n) for n in range(3)]), r"3 pages \(20x20, 10x10, 5x5\)"),
    ],
)  # fmt: skip
def test_a_tiff_that_is_no_picture_is_refused_in_one_line(content, words, capfd):
    with pytest.raises(ValueError, match=words) as caught:
        decode_image(content, 12, "squash")
    assert "\n" not in str(caught.value)
    shown_kind(content), bits_used(content)
    assert capfd.readouterr() == ("", "")


def test_smaller_copies_behind_the_first_page_of_a_tiff_do_not_matter():
    first, copy = smooth(40, 40), smooth(40, 40).resize((20, 20))
    stream = io.BytesIO()
    with TiffImagePlugin.AppendingTiffWriter(stream, True) as writer:
        for image, kind in ((first, 0), (copy, 1)):
            image.save(writer, "TIFF", tiffinfo={254: kind})
            writer.newFrame()
    plain = io.BytesIO()
    first.save(plain, "TIFF")
    assert np.array_equal(
        decode_image(stream.getvalue(), 24, "squash").pixels, decode_image(plain.getvalue(), 24, "squash").pixels
    )


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
