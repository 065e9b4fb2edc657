"""One image file's bytes -> one (S, S, 3) uint8 RGB array.

Pillow decodes and resizes; JPEG files of the plain kind go through libjpeg-turbo by simplejpeg, which takes half of
Pillow's time for the same pixels, and less where the image can be decoded at a fraction of its size. One resampling
holds for all formats and sizes: Pillow's bilinear antialiasing, of the whole image or of one that is `MIN_LEFT` times
as large as the store at least.
"""

import importlib
import io
import math
import re
import struct
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from pipeline.images.tiff import BANDS, described, is_deep_colour, why_not

try:
    import simplejpeg

    SIMPLEJPEG = True
except ImportError:  # a competition's notebook may lack it: Pillow then decodes all
    SIMPLEJPEG = False

MAX_PIXELS = 100_000_000  # 10,000 x 10,000: beyond it a small file can fill the memory
# not EPS: Pillow runs Ghostscript for it
FORMATS = (
    "AVIF", "BMP", "GIF", "ICO", "JPEG", "JPEG2000", "PCX", "PNG", "PPM", "QOI", "SGI", "TIFF", "WEBP",
)  # fmt: skip
# with a plug-in of Pillow: format -> (how a file begins, the plug-in's module, its package)
PLUGINS = {
    "HEIF": (re.compile(rb".{4}ftyp(?:hei|hev|mif1|msf1)", re.DOTALL), "pillow_heif", "pillow-heif"),
    "JXL": (re.compile(rb"\xff\x0a|\0\0\0\x0cJXL "), "pillow_jxl", "pillow-jxl-plugin"),
}
TGA, TGA_END = "TGA", b"TRUEVISION-XFILE.\0"  # it has no magic number in front: any noise could pass for one
PNG_START, COLOURS = b"\x89PNG\r\n\x1a\n", (2, 4, 6)  # PNG, section 11.2.2: all but grey alone
DEPTH_AT, COLOUR_AT = 24, 25
MIN_SHADES_BITS = 12  # of 16-bit colour, of which Pillow keeps the upper 8: at most 16 shades would be left
JPEG_START, EXIF_START = b"\xff\xd8\xff", b"Exif\0\0"
EXIF_WITHIN = 1 << 16  # bytes: the segment stands before the pixels, and is no longer than this
# Times the store's side that decoding leaves to Pillow at least. scikit-learn's two photographs (640x427) at 32 to 320
# px then differ from Pillow's by 0.6 grey levels on average at most, 99 of 100 pixels by 4, and are as sharp to 4 %;
# with 1 by 2.1, 14 and 13 %.
MIN_LEFT = 2
EIGHTHS = (1, 2, 3, 4)  # by which libjpeg-turbo scales; 5 to 7 take longer than all 8 (1.0 to 1.4 ms for 0.8)
UPRIGHT, SIDEWAYS = 1, (5, 6, 7, 8)  # EXIF orientations; the latter swap width and height
UPRIGHT_BY = {
    1: None, 2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # fmt: skip
PLAIN_JPEG = {"YCbCr": "RGB", "Gray": "L"}  # simplejpeg's name of the colours -> Pillow's mode
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
    if why_not(content):  # Pillow logs what it does not know
        return None
    try:
        with Image.open(io.BytesIO(content), formats=_formats(content)) as image:
            return image.width, image.height, image.format or "", image.mode
    except Exception:  # any decoder's error: `decode_image` reports it properly
        return None


def _formats(content: bytes) -> tuple[str, ...]:
    """The formats that these bytes may be in."""
    if content.endswith(TGA_END):
        return (TGA,)
    plugin = _plugin(content)
    return (*FORMATS, plugin) if plugin and _is_registered(plugin) else FORMATS


def _plugin(content: bytes) -> str | None:
    """The format of `PLUGINS` that these bytes begin as."""
    return next((kind for kind, (start, _, _) in PLUGINS.items() if start.match(content)), None)


@cache
def _is_registered(kind: str) -> bool:
    """Makes Pillow read this format of `PLUGINS`, if the plug-in is installed."""
    try:
        module = importlib.import_module(PLUGINS[kind][1])
    except ImportError:
        return False
    getattr(module, "register_heif_opener", lambda: None)()  # the other one registers itself
    return True


def decode_image(content: bytes, size: int, fit: str, bits: int = 16) -> Decoded:
    """Decode, orient by EXIF, make RGB, resize with antialiasing.

    fit: `squash` (aspect ratio given up), `crop` (centre square), `pad` (black borders). bits: of 16-bit grey, how many
    the set uses (`bits_used`); the upper 8 of these are kept. Alpha is dropped (Pillow's `convert("RGB")`), but for
    images of one colour, whose shapes are in it. Raises ValueError, with the decoder's reason, for what is no image,
    truncated, animated, of several pages or bands, of 16-bit colours that use few of the bits, or above `MAX_PIXELS`.
    """
    if not content:
        raise ValueError("the file is empty (0 bytes)")
    plain = _decode_plain_jpeg(content, size, fit)
    if plain is not None:
        return plain
    refused, is_deep = why_not(content), _is_deep_colour(content)
    if is_deep and bits <= MIN_SHADES_BITS:
        refused = f"its colours have 16 bits, of which the set uses {bits}, and the upper 8 alone can be read; stretch "
        refused += "their range and write 8-bit PNG"
    if refused:
        raise ValueError(refused)
    try:
        with Image.open(io.BytesIO(content), formats=_formats(content)) as image:
            if image.width * image.height > MAX_PIXELS:
                raise ValueError(f"{image.width}x{image.height} is above {MAX_PIXELS:,} pixels; scale it down")
            num_frames = getattr(image, "n_frames", 1)
            # MPO: a phone's JPEG with a preview or depth map behind it; TIFF: smaller copies of the first page
            if num_frames > 1 and image.format not in ("MPO", "TIFF"):
                raise ValueError(f"it is animated ({num_frames} frames): which one counts cannot be known")
            kind, mode = image.format or "", image.mode
            image.load()
            oriented = ImageOps.exif_transpose(image)
            shape = _shape_in_alpha(oriented)
            used = bits if _is_16_bit(image) else 0
            pixels = np.asarray(_resized(_as_rgb(oriented, used, shape), oriented.size, size, fit))
            depth = ("16-bit",) if is_deep else ()
            oddities = (*depth, *_mode_oddities(image, used, shape), *_size_oddities(*oriented.size, size))
    except ValueError:
        raise
    except Image.DecompressionBombError as error:
        raise ValueError(f"it is above {MAX_PIXELS:,} pixels ({error}); scale it down") from error
    except UnidentifiedImageError:  # whose message is an address in memory
        if described(content):
            raise ValueError(f"this kind of TIFF is not read (bands: {described(content)}); write 8-bit PNG") from None
        plugin = _plugin(content)
        if plugin and not _is_registered(plugin):
            raise ValueError(
                f"{plugin} images need a plug-in: pip install {PLUGINS[plugin][2]}, and run again"
            ) from None
        raise ValueError(f"cannot identify image file: it is none of {', '.join(FORMATS)}") from None
    except Exception as error:  # Pillow's plugins raise OSError, SyntaxError, struct.error, …
        raise ValueError(f"{type(error).__name__}: {error}") from error
    return Decoded(pixels, oriented.width, oriented.height, kind, mode, oddities)


def _decode_plain_jpeg(content: bytes, size: int, fit: str) -> Decoded | None:
    """A JPEG of three colours or grey; None for all else, Pillow has the word on it then.

    libjpeg-turbo scales by eighths while it decodes, to `MIN_LEFT` times `size` at least; the rest is Pillow's.
    """
    orientation = _orientation(content) if SIMPLEJPEG and content.startswith(JPEG_START) else 0
    if orientation not in UPRIGHT_BY:
        return None
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(content)
        if colours not in PLAIN_JPEG or height * width > MAX_PIXELS:
            return None
        scale = _scale(width, height, size)
        least = {"min_height": math.ceil(height * scale), "min_width": math.ceil(width * scale)}
        stored = simplejpeg.decode_jpeg(content, "RGB", **least)
    except ValueError:
        return None
    turn = UPRIGHT_BY[orientation]
    if turn is None and (height, width) == (size, size):
        pixels = stored
    else:
        pixels = np.asarray(_resized(Image.fromarray(stored), (width, height), size, fit, scale=scale, turn=turn))
    width, height = (height, width) if orientation in SIDEWAYS else (width, height)
    rotated = ("EXIF-rotated",) if turn is not None else ()
    oddities = (*rotated, *_size_oddities(width, height, size))
    return Decoded(pixels, width, height, "JPEG", PLAIN_JPEG[colours], oddities)


def _orientation(content: bytes) -> int:
    """The EXIF orientation of a JPEG, 1 to 8; 1 where it says nothing, 0 where it cannot be read.

    Read from the first directory alone (TIFF 6.0, section 2): Pillow reads every tag, which takes as long as decoding.
    """
    at = content.find(EXIF_START, 0, EXIF_WITHIN) + len(EXIF_START)
    if at < len(EXIF_START):
        return UPRIGHT
    order = {b"II": "<", b"MM": ">"}.get(content[at : at + 2])
    if order is None:
        return 0
    try:
        (start,) = struct.unpack_from(order + "I", content, at + 4)
        (num_tags,) = struct.unpack_from(order + "H", content, at + start)
        for place in range(at + start + 2, at + start + 2 + 12 * num_tags, 12):
            tag, kind, count, number = struct.unpack_from(order + "HHIH", content, place)
            if tag == ExifTags.Base.Orientation:
                return number if (kind, count) == (3, 1) and number in UPRIGHT_BY else 0
    except struct.error:
        return 0
    return UPRIGHT


def _mode_oddities(image: Any, bits: int, shape: Any) -> tuple[str, ...]:
    """Names that `pipeline.audit.findings` gives a remedy for; image as stored, bits and shape as `_as_rgb` has."""
    orientation = image.getexif().get(ExifTags.Base.Orientation, UPRIGHT)
    found = {
        "16-bit": bits == 16,
        f"{bits}-bit in 16": 0 < bits < 16,
        "16-bit above the range": 0 < bits < 16 and int(np.asarray(image).max()) >> bits > 0,
        "CMYK": image.mode == "CMYK",
        "with a band left out": image.format == "TIFF" and image.tag_v2.get(BANDS, 1) > len(image.getbands()),
        "shaped by alpha": shape is not None,
        "transparent": shape is None and _is_transparent(image),
        "EXIF-rotated": orientation in range(2, 9),
    }
    return tuple(name for name, seen in found.items() if seen)


def _size_oddities(width: int, height: int, size: int) -> tuple[str, ...]:
    """The same, of an image shown this wide and high."""
    shorter, longer = sorted((width, height))
    found = {"upscaled": shorter < size, "extreme aspect": longer > EXTREME_ASPECT * shorter}
    return tuple(name for name, seen in found.items() if seen)


def _is_transparent(image: Any) -> bool:
    """Whether any pixel may let through what is behind it: its colour is then what the encoder left there."""
    if image.mode in ("LA", "PA", "RGBA"):
        return bool(image.getchannel("A").getextrema()[0] < 255)
    return "transparency" in image.info


def _is_16_bit(image: Any) -> bool:
    return image.mode.startswith("I;16") or (image.format == "PPM" and image.mode == "I")


def _is_deep_colour(content: bytes) -> bool:
    """Whether these are colours, or grey with alpha, of 16 bits."""
    if content.startswith(PNG_START):
        return len(content) > COLOUR_AT and content[DEPTH_AT] == 16 and content[COLOUR_AT] in COLOURS
    return is_deep_colour(content)


def bits_used(content: bytes) -> int:
    """How many bits the brightest pixel of a 16-bit image needs, 8 to 16; 0 for another kind of image, or for none."""
    if why_not(content):
        return 0
    try:
        with Image.open(io.BytesIO(content), formats=_formats(content)) as image:
            is_deep = _is_deep_colour(content)
            if not (is_deep or _is_16_bit(image)) or image.width * image.height > MAX_PIXELS:
                return 0
            if is_deep:
                return 8 + int(np.asarray(image.convert("RGB")).max()).bit_length()
            return max(8, int(np.asarray(image).max()).bit_length())
    except Exception:  # any decoder's error: `decode_image` reports it properly
        return 0


def _shape_in_alpha(image: Any) -> Any:
    """The alpha of an image that has one colour and several alphas, a drawing on nothing; None for any other."""
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")
    if image.mode not in ("LA", "PA", "RGBA"):
        return None
    *colours, alpha = image.convert("RGBA").split()
    low, high = alpha.getextrema()
    return alpha if low < high and all(least == most for least, most in (c.getextrema() for c in colours)) else None


def _painted(image: Any, alpha: Any) -> Any:
    """The one colour, where alpha shows it, on white if it is dark, on black if it is bright."""
    colour = image.convert("RGBA").convert("RGB")
    ground = Image.new("RGB", image.size, "black" if colour.convert("L").getpixel((0, 0)) >= 128 else "white")
    return Image.composite(colour, ground, alpha)


def _as_rgb(image: Any, bits: int, shape: Any) -> Any:
    """bits: used of 16-bit grey, 0 for other images; shape: the alpha that holds the picture, if it does."""
    if bits:
        upper = np.minimum(np.asarray(image).astype(np.uint16) >> (bits - 8), 255)
        return Image.fromarray(upper.astype(np.uint8)).convert("RGB")
    if shape is not None:
        return _painted(image, shape)
    if image.mode in ("I", "F"):
        raise ValueError(f"pixel type {image.mode} (32-bit) has no agreed range; convert the image to 8 or 16 bits")
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")
    return image if image.mode == "RGB" else image.convert("RGB")


def _scale(width: int, height: int, size: int) -> float:
    """By how much decoding may scale an image; see `MIN_LEFT`."""
    enough = (k / 8 for k in EIGHTHS if math.ceil(min(width, height) * k / 8) >= MIN_LEFT * size)
    return next(enough, 1.0)


def _resized(
    image: Any, original: tuple[int, int], size: int, fit: str, *, scale: float = 1.0, turn: Any = None
) -> Any:
    """(S, S) of an image that was `original` (width, height) before decoding scaled it; `turn` comes last.

    What decoding scales is rounded up to whole pixels, the last of which reach beyond the image: 427 lines times 3/8
    are 160.125 and come as 161. So the part to keep is counted in pixels of the original. Without that the picture is
    stretched by up to a pixel, which costs 5 grey levels at 160 px.
    """
    box, inner = _kept_part(original, size, fit)
    if image.size != inner or box != (0, 0, *original):
        image = image.resize(inner, Image.Resampling.BILINEAR, box=tuple(scale * border for border in box))
    if turn is not None:
        image = image.transpose(turn)
    if image.size == (size, size):
        return image
    padded = Image.new("RGB", (size, size))
    padded.paste(image, tuple(round((size - side) / 2) for side in image.size))
    return padded


def _kept_part(
    original: tuple[int, int], size: int, fit: str
) -> tuple[tuple[float, float, float, float], tuple[int, int]]:
    """(left, upper, right, lower) in pixels of the original, and its (width, height) in the store; as ImageOps."""
    width, height = original
    if fit == "crop":
        side = min(width, height)
        left, upper = (width - side) / 2, (height - side) / 2
        return (left, upper, left + side, upper + side), (size, size)
    longer = max(width, height)
    inner = (
        (max(1, round(width / longer * size)), max(1, round(height / longer * size))) if fit == "pad" else (size,) * 2
    )
    return (0, 0, width, height), inner
