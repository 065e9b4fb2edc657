"""One image file's bytes -> one (S, S, 3) uint8 RGB array. Pillow decodes and resizes."""

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import ExifTags, Image, ImageOps

MAX_PIXELS = 100_000_000  # 10,000 x 10,000: beyond it a small file can fill the memory
EXTREME_ASPECT = 3.0  # longer side to shorter: squashed to a square, nothing keeps its shape


@dataclass(frozen=True)
class Decoded:
    """An image in the store's size, and what it was before."""

    pixels: np.ndarray  # (S, S, 3) uint8
    width: int  # of the original as it is shown (EXIF orientation applied), pixels
    height: int
    format: str  # Pillow's name: JPEG, PNG, …
    mode: str  # Pillow's name: RGB, L, P, I;16, CMYK, …
    oddities: tuple[str, ...] = ()  # what the conversion had to change, or may have spoilt


def shown_kind(content: bytes) -> tuple[int, int, str, str] | None:
    """(width, height, format, mode) from the header alone, Pillow's names; None where it cannot be read."""
    try:
        with Image.open(io.BytesIO(content)) as image:
            return image.width, image.height, image.format or "", image.mode
    except Exception:  # any decoder's error: `decode_image` reports it properly
        return None


def decode_image(content: bytes, size: int, fit: str) -> Decoded:
    """Decode, orient by EXIF, make RGB, resize with antialiasing.

    fit: `squash` (aspect ratio given up), `crop` (centre square), `pad` (black borders). 16-bit grey is scaled to
    8 bits; alpha is dropped (Pillow's `convert("RGB")`). Raises ValueError, with the decoder's reason, for what
    is no image, truncated, animated, or above `MAX_PIXELS`.
    """
    if not content:
        raise ValueError("the file is empty (0 bytes)")
    try:
        with Image.open(io.BytesIO(content)) as image:
            if image.width * image.height > MAX_PIXELS:
                raise ValueError(f"{image.width}x{image.height} is above {MAX_PIXELS:,} pixels")
            num_frames = getattr(image, "n_frames", 1)
            if num_frames > 1:
                raise ValueError(f"it is animated ({num_frames} frames): which one counts cannot be known")
            kind, mode = image.format or "", image.mode
            image.load()
            oriented = ImageOps.exif_transpose(image)
            pixels = np.asarray(_resized(_as_rgb(oriented), size, fit))
            oddities = _oddities(image, oriented, size)
    except ValueError:
        raise
    except Exception as error:  # Pillow's plugins raise OSError, SyntaxError, struct.error, …
        raise ValueError(f"{type(error).__name__}: {error}") from error
    return Decoded(pixels, oriented.width, oriented.height, kind, mode, oddities)


def _oddities(image: Any, oriented: Any, size: int) -> tuple[str, ...]:
    """Names that `pipeline.competition.audit` gives a remedy for; image as stored, oriented as shown."""
    shorter, longer = sorted(oriented.size)
    orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    found = {
        "16-bit": image.mode.startswith("I;16"),
        "CMYK": image.mode == "CMYK",
        "transparent": _is_transparent(image),
        "EXIF-rotated": orientation in range(2, 9),
        "upscaled": shorter < size,
        "extreme aspect": longer > EXTREME_ASPECT * shorter,
    }
    return tuple(name for name, seen in found.items() if seen)


def _is_transparent(image: Any) -> bool:
    """Whether any pixel may let through what is behind it: its colour is then what the encoder left there."""
    if image.mode in ("LA", "PA", "RGBA"):
        return bool(image.getchannel("A").getextrema()[0] < 255)
    return "transparency" in image.info


def _as_rgb(image: Any) -> Any:
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        raise ValueError(f"pixel type {image.mode} (32-bit) has no agreed range; convert the image to 8 or 16 bits")
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")
    return image if image.mode == "RGB" else image.convert("RGB")


def _resized(image: Any, size: int, fit: str) -> Any:
    if image.size == (size, size):
        return image
    if fit == "crop":
        return ImageOps.fit(image, (size, size), Image.Resampling.BILINEAR)
    if fit == "pad":
        return ImageOps.pad(image, (size, size), Image.Resampling.BILINEAR)
    return image.resize((size, size), Image.Resampling.BILINEAR)
