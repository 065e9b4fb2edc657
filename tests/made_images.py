"""Images as bytes: like photographs, or with a header that claims too much."""

import io
import struct
import zlib

import numpy as np
from conftest import encoded, image_of
from PIL import Image


def smooth(height, width, seed=0):
    """(height, width, 3) uint8: a photograph's likeness, so that JPEG and scaling behave as on photographs."""
    coarse = np.random.default_rng(seed).integers(60, 200, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def jpeg(image, **options):
    stream = io.BytesIO()
    image.save(stream, format="JPEG", **options)
    return stream.getvalue()


def png(width, height, *chunks):
    """A valid black PNG of one bit a pixel, of few bytes, further (kind, content) chunks before its pixels."""
    packer = zlib.compressobj(9)
    row = bytes((width + 7) // 8 + 1)
    pixels = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    parts = [(b"IHDR", header), *chunks, (b"IDAT", pixels), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(part)) + kind + part + struct.pack(">I", zlib.crc32(kind + part)) for kind, part in parts
    )


def jpeg_of(width, height):
    """A JPEG whose header says it is so large."""
    content = bytearray(encoded(image_of(0, 0), "JPEG"))
    start = content.find(b"\xff\xc0")
    content[start + 5 : start + 9] = struct.pack(">HH", height, width)
    return bytes(content)
