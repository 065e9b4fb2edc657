"""Tiny pictures, each unlike all others, in every format that organisers hand out; encoded once a process."""

import functools
import io

import numpy as np
from PIL import Image

SIDE = 8
KINDS = {  # suffix -> what Pillow calls the format
    ".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".JPG": "JPEG", ".jfif": "JPEG", ".bmp": "BMP", ".ppm": "PPM",
    ".pgm": "PPM", ".gif": "GIF", ".webp": "WEBP", ".tif": "TIFF", "": "PNG",
}  # fmt: skip
MIXED = (".png", ".jpg", ".jfif")


@functools.cache
def pixels(number: int) -> np.ndarray:
    """(SIDE, SIDE, 3) uint8, random by `number` alone."""
    return np.random.default_rng(number).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)


@functools.cache
def picture(number: int, suffix: str = ".png") -> bytes:
    """The picture of this number as a file of this suffix; no two numbers give the same bytes."""
    shown = Image.fromarray(pixels(number)[:, :, 0] if suffix == ".pgm" else pixels(number))
    stream = io.BytesIO()
    shown.save(stream, KINDS[suffix])
    return stream.getvalue()


def truncated(content: bytes) -> bytes:
    """A file that begins as a picture and ends too early."""
    return content[: len(content) // 2]
