"""Images that are cut off, of every format: refused at any tenth, however large they say they are."""

import io
import subprocess
import sys

import pytest
from conftest import ROOT
from made_images import smooth

from pipeline.images.decode import FORMATS, decode_image

KINDS = {kind: {} for kind in FORMATS if kind != "JPEG2000"} | {
    "JPEG progressive": {"progressive": True},
    "PNG of a palette": {},
    "TIFF lzw": {"compression": "tiff_lzw"},
    "TIFF deflate": {"compression": "tiff_deflate"},
    "TIFF jpeg": {"compression": "jpeg"},
    "WEBP lossless": {"lossless": True},
}


def encoded(name):
    image = smooth(60, 80)
    if "palette" in name:
        image = image.convert("P")
    stream = io.BytesIO()
    image.save(stream, format=name.split()[0], **KINDS[name])
    return stream.getvalue()


@pytest.mark.parametrize("kind", KINDS)
def test_a_whole_image_is_read(kind):
    assert decode_image(encoded(kind), 12, "squash").pixels.shape == (12, 12, 3)


@pytest.mark.parametrize("tenth", range(10))
@pytest.mark.parametrize("kind", KINDS)
def test_an_image_cut_at_any_tenth_is_refused(kind, tenth):
    whole = encoded(kind)
    with pytest.raises(ValueError) as error:
        decode_image(whole[: len(whole) * tenth // 10], 12, "squash")
    assert str(error.value)


LARGE = """
import resource, sys
sys.path[:0] = ["tests", "tests/faults"]
from made_images import jpeg_of, png
from pipeline.images.decode import decode_image
content = {"png": png, "jpeg": jpeg_of}[sys.argv[1]](20_000, 20_000)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    decode_image(content, 32, "squash")
except ValueError as error:
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(len(content), grown, error)
"""


@pytest.mark.parametrize("kind", ["png", "jpeg"])
def test_an_image_of_20000_by_20000_takes_no_memory(kind):
    done = subprocess.run([sys.executable, "-c", LARGE, kind], cwd=ROOT, capture_output=True, text=True, check=True)
    size, grown, message = done.stdout.split(" ", 2)
    assert int(size) < 60_000 and int(grown) < 20_000, "KiB; its pixels are 400 MB"
    assert "above 100,000,000 pixels" in message
