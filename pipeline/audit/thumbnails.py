"""Grey thumbnails of stored images: each cell the mean of the pixels that it covers."""

import numpy as np

GREY = (0.299, 0.587, 0.114)  # ITU-R BT.601, as Pillow's convert("L")


def shrinking(size: int, cells: int) -> np.ndarray:
    """(cells, size) float32: row i averages the pixels that cell i covers, a border pixel by its covered share."""
    borders = np.linspace(0, size, cells + 1)
    covered = np.minimum(borders[1:, None], np.arange(1, size + 1)) - np.maximum(borders[:-1, None], np.arange(size))
    return (np.maximum(covered, 0) * (cells / size)).astype(np.float32)


def grey_of(pixels: np.ndarray) -> np.ndarray:
    """(...) of (..., 3) pixels."""
    red, green, blue = GREY
    return pixels[..., 0] * red + pixels[..., 1] * green + pixels[..., 2] * blue
