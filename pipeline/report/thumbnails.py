"""Small pictures for a page, each held once, as WebP in data addresses."""

import base64
import io

import numpy as np

SIDE = 64  # pixels at most; a store of smaller images is shown as it is, enlarged by the browser
QUALITY = 72


class Thumbnails:
    """The pictures of a page by what they show; `addresses[number]` is a data address."""

    def __init__(self) -> None:
        self.addresses: list[str] = []
        self._number_of: dict[tuple[str, int], int] = {}

    def add(self, store: np.ndarray, part: str, row: int) -> int:
        """The number of the picture of this row of a store (N, S, S, 3) uint8; part: whose store it is."""
        key = (part, row)
        if key not in self._number_of:
            self._number_of[key] = len(self.addresses)
            self.addresses.append(address(store[row]))
        return self._number_of[key]


def address(pixels: np.ndarray) -> str:
    """`data:image/webp;base64,…` of an image (S, S, 3) uint8, shrunk to `SIDE`; small ones without loss."""
    from PIL import Image

    image = Image.fromarray(np.asarray(pixels))
    small = image.width <= SIDE // 2
    if image.width > SIDE:
        image = image.resize((SIDE, SIDE), Image.Resampling.BOX)
    return _address(image, lossless=small)


def raster_address(shares: np.ndarray) -> str:
    """The same of a matrix of shares from 0 to 1, (H, W): white is 0, dark blue 1, by the root of the share."""
    from PIL import Image

    strength = np.sqrt(np.clip(shares, 0.0, 1.0))[:, :, None]
    pixels = 255 + strength * (np.array([8, 48, 107]) - 255)
    return _address(Image.fromarray(np.rint(pixels).astype(np.uint8)), lossless=True)


def _address(image: "object", *, lossless: bool) -> str:
    stream = io.BytesIO()
    image.save(stream, format="WEBP", lossless=lossless, quality=QUALITY, method=4)  # type: ignore[attr-defined]
    return f"data:image/webp;base64,{base64.b64encode(stream.getvalue()).decode()}"
