"""Whether one image shows what another does: laid over each other as well as they go, then compared in detail.

For the few pairs that something else names (`pipeline.audit.neighbours`): it finds a copy that was cropped, turned,
mirrored, brightened, written over or stored anew, at 3 to 4 ms a pair.
"""

from collections.abc import Callable

import numpy as np

from pipeline.audit.thumbnails import grey_of, shrinking

Reader = Callable[[np.ndarray], np.ndarray]  # ascending image numbers (M,) -> (M, S, S, 3) uint8

COARSE, MIDDLE, FINE = 16, 32, 64  # cells a side of the thumbnails that are laid over each other
# where laying over begins: the other's size, and degrees that it is turned by; shifts are all tried
SIZES, TURNS = (0.8, 1.0, 1.25), (-8.0, 0.0, 8.0)
MOST_SHIFT = 0.34  # of the side
BEGINNINGS = 2  # of these that are followed, of the other as it is and mirrored together
STEPS = 8  # of each
FINE_STEPS = 4  # of the best, on the finer thumbnails
FURTHEST_STEP = 0.15  # of half the side
HIGHEST = 2.5  # of a detail that is laid over another
LEAST_OVERLAP = 0.55  # of the image
MOST_SIZE, MOST_STRETCH = 1.5, 1.25  # of the other, and of one of its directions against the other
REACH = 2  # cells: the detail is what differs from the mean of so many to each side
BLOCKS = 8  # a side, each compared by itself
COMMON = 0.8  # share of the blocks: none counts for more than one that lies there, be it a watermark on all images
LOW_SHARE = 0.3  # of the image's contrast: what differs there may be text, or a hand
CHUNK = 256  # pairs at once: 50 MB


def likenesses(read: Reader, pairs: np.ndarray) -> np.ndarray:
    """(P,) float32, -1 to 1: how alike the details of each pair (P, 2) of image numbers are.

    A correlation in blocks: blocks with 0.7 of the image's contrast are at least so alike. 1 of the same picture; -1
    where the two cannot be laid over each other.
    """
    found = np.empty(len(pairs), dtype=np.float32)
    for first in range(0, len(pairs), CHUNK):
        numbers, places = np.unique(pairs[first : first + CHUNK], return_inverse=True)
        ones, twos = places.reshape(-1, 2).T
        pixels = grey_of(read(numbers).astype(np.float32))
        found[first : first + CHUNK] = _likenesses(pixels, ones, twos)
    return found


def _likenesses(pixels: np.ndarray, ones: np.ndarray, twos: np.ndarray) -> np.ndarray:
    """(P,), of positions in `pixels` (M, S, S)."""
    coarse, middle, fine = (_thumbnails(pixels, cells) for cells in (COARSE, MIDDLE, FINE))
    rough, details = _detail(coarse), _detail(middle)
    laid, likeness = _beginnings(rough[ones], rough[twos]), np.full(len(ones), -2.0)
    best = laid[0]
    for beginning in laid:
        moved = _follow(details[ones], details[twos], beginning, STEPS)
        alike = _overall(details[ones], details[twos], moved)
        best = np.where((alike > likeness)[:, None, None], moved, best)
        likeness = np.maximum(likeness, alike)
    details = _detail(fine)
    best = _follow(details[ones], details[twos], best, FINE_STEPS)
    return _in_blocks(fine[ones], fine[twos], best)


def _thumbnails(pixels: np.ndarray, cells: int) -> np.ndarray:
    shrink = shrinking(pixels.shape[1], cells)
    return shrink @ pixels @ shrink.T


def _averaging(cells: int, reach: int) -> np.ndarray:
    """(cells, cells) float32: row i averages the cells up to `reach` from i."""
    order = np.arange(cells)
    near = (np.abs(order[:, None] - order) <= reach).astype(np.float32)
    return near / near.sum(axis=1, keepdims=True)


def _detail(thumbnails: np.ndarray) -> np.ndarray:
    """(P, T, T) less the mean of an eighth of the side around each cell, in mean deviations up to `HIGHEST`.

    Or what is written over an image, and the corners of a turned one, would pull it away from where it fits.
    """
    cells = thumbnails.shape[1]
    mean = _averaging(cells, cells // 8)
    detail = thumbnails - mean @ thumbnails @ mean.T
    deviation = np.maximum(np.abs(detail).mean(axis=(1, 2), keepdims=True), 1e-6)
    return np.clip(detail / deviation, -HIGHEST, HIGHEST)


def _beginnings(ones: np.ndarray, twos: np.ndarray) -> list[np.ndarray]:
    """`BEGINNINGS` times (P, 2, 3) float32, the likeliest first: where in `twos` a point of `ones` lies (`_laid`)."""
    count, cells = ones.shape[:2]
    size, most = 2 * cells, int(MOST_SHIFT * cells)
    wanted = np.conj(np.fft.rfft2(ones, (size, size)))
    energy = np.sqrt((ones**2).sum(axis=(1, 2)))
    shifts = np.r_[0 : most + 1, -most:0]
    found, scores = [], []
    for mirrored in (1.0, -1.0):
        for scale in SIZES:
            for turn in np.deg2rad(TURNS):
                matrix = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
                matrix = matrix * np.array([[mirrored], [1.0]])
                begun = np.zeros((count, 2, 3), dtype=np.float32)
                begun[:, :, :2] = matrix
                values, inside = _laid(twos, begun)
                values = (values * inside).reshape(count, cells, cells)
                likeness = np.fft.irfft2(np.fft.rfft2(values, (size, size)) * wanted, (size, size))
                likeness = likeness[:, shifts][:, :, shifts].reshape(count, -1)
                at = likeness.argmax(axis=1)
                shift = np.stack([shifts[at % len(shifts)], shifts[at // len(shifts)]])
                begun[:, :, 2] = (matrix @ shift * 2 / cells).T
                found.append(begun)
                scores.append(likeness.max(axis=1) / np.maximum(energy * np.sqrt((values**2).sum(axis=(1, 2))), 1e-6))
    order = np.argsort(-np.stack(scores), axis=0, kind="stable")
    begun = np.stack(found)
    return [begun[order[place], np.arange(count)] for place in range(BEGINNINGS)]


def _points(cells: int) -> tuple[np.ndarray, np.ndarray]:
    """Two (cells²,) float32: across and down, -1 to 1, of the middle of each cell."""
    along = ((np.arange(cells) + 0.5) * 2 / cells - 1).astype(np.float32)
    return np.tile(along, cells), np.repeat(along, cells)


def _laid(images: np.ndarray, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(P, T²) values of the images (P, T, T) at the places that `places` (P, 2, 3) gives each cell; which are inside.

    Bilinear; a place is the matrix times (across, down, 1), each -1 to 1.
    """
    cells = images.shape[1]
    across, down = _points(cells)
    column, row = (
        (places[:, axis, :1] * across + places[:, axis, 1:2] * down + places[:, axis, 2:] + 1) * (cells / 2) - 0.5
        for axis in (0, 1)
    )
    inside = (column >= 0) & (column <= cells - 1) & (row >= 0) & (row <= cells - 1)
    column, row = np.clip(column, 0, cells - 1.001), np.clip(row, 0, cells - 1.001)
    left, above = column.astype(np.int32), row.astype(np.int32)
    column -= left
    row -= above
    at = above * cells + left
    flat = images.reshape(len(images), -1)
    corners = [np.take_along_axis(flat, at + step, axis=1) for step in (0, 1, cells, cells + 1)]
    upper = corners[0] + (corners[1] - corners[0]) * column
    lower = corners[2] + (corners[3] - corners[2]) * column
    return upper + (lower - upper) * row, inside.astype(np.float32)


def _follow(ones: np.ndarray, twos: np.ndarray, places: np.ndarray, steps: int) -> np.ndarray:
    """`places` after so many steps towards where the images differ least: Lucas and Kanade, inverse and affine."""
    count, cells = ones.shape[:2]
    across, down = _points(cells)
    slope_down, slope_across = (slope.reshape(count, -1) * (cells / 2) for slope in np.gradient(ones, axis=(1, 2)))
    slopes = np.stack(
        [slope * part for slope in (slope_across, slope_down) for part in (across, down, np.float32(1))], axis=1
    )  # (P, 6, T²): how each number of a matrix moves each cell
    curvature = slopes @ slopes.transpose(0, 2, 1)
    ridge = 1e-3 * np.trace(curvature, axis1=1, axis2=2) / 6 + 1e-6
    solve = np.linalg.inv(curvature + ridge[:, None, None] * np.eye(6, dtype=np.float32))
    flat = ones.reshape(count, -1)
    for _ in range(steps):
        values, inside = _laid(twos, places)
        wanted, there = _centred(flat, inside), _centred(values, inside)
        gain = (wanted * there).sum(axis=1) / np.maximum((there**2).sum(axis=1), 1e-6)
        error = np.clip(gain, 0.2, 5)[:, None] * there - wanted
        step = np.clip((solve @ (slopes @ error[:, :, None]))[:, :, 0], -FURTHEST_STEP, FURTHEST_STEP)
        places = np.clip(_composed(places, np.linalg.inv(_square(step.reshape(-1, 2, 3), identity=True))), -2, 2)
    return places


def _square(places: np.ndarray, *, identity: bool = False) -> np.ndarray:
    """(P, 3, 3) of (P, 2, 3); identity: with 1 added on the diagonal."""
    whole = np.zeros((len(places), 3, 3), dtype=np.float32)
    whole[:, :2] = places
    whole[:, 2, 2] = 0 if identity else 1
    return whole + np.eye(3, dtype=np.float32) if identity else whole


def _composed(places: np.ndarray, inner: np.ndarray) -> np.ndarray:
    return (_square(places) @ inner)[:, :2]


def _centred(values: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """(P, n) less their mean over what is inside; 0 elsewhere."""
    mean = (values * inside).sum(axis=1) / np.maximum(inside.sum(axis=1), 1)
    return (values - mean[:, None]) * inside


def _overall(ones: np.ndarray, twos: np.ndarray, places: np.ndarray) -> np.ndarray:
    """(P,) correlation where they overlap; -1 where `_fits` says no."""
    values, inside = _laid(twos, places)
    one, two = _centred(ones.reshape(len(ones), -1), inside), _centred(values, inside)
    energy = (one**2).sum(axis=1) * (two**2).sum(axis=1)
    return np.where(_fits(places, inside), (one * two).sum(axis=1) / np.sqrt(np.maximum(energy, 1e-6)), -1)


def _fits(places: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """(P,) bool: they overlap, and neither is shrunk nor stretched beyond what a copy would be."""
    sizes = np.linalg.svd(places[:, :, :2], compute_uv=False)
    return (
        (inside.mean(axis=1) >= LEAST_OVERLAP)
        & (sizes[:, 0] <= MOST_SIZE)
        & (sizes[:, 1] >= 1 / MOST_SIZE)
        & (sizes[:, 0] <= MOST_STRETCH * sizes[:, 1])
    )


def _in_blocks(ones: np.ndarray, twos: np.ndarray, places: np.ndarray) -> np.ndarray:
    """(P,) the likeness of the thumbnails' details, block by block."""
    count, cells = ones.shape[:2]
    values, inside = _laid(twos, places)
    inside = inside.reshape(count, cells, cells)
    mean = _averaging(cells, REACH)
    covered = np.maximum(mean @ inside @ mean.T, 1e-6)

    def blocks(image: np.ndarray) -> np.ndarray:
        """(P, B², n): the detail within what is inside."""
        detail = (image - mean @ (image * inside) @ mean.T / covered) * inside
        return _blocks(detail)

    one, two = blocks(ones), blocks(values.reshape(count, cells, cells))
    contrasts = np.sqrt((one**2).sum(axis=2)), np.sqrt((two**2).sum(axis=2))
    alike = (one * two).sum(axis=2) / np.maximum(contrasts[0] * contrasts[1], 1e-6)
    weight = np.minimum(*contrasts)
    weight = np.minimum(weight, np.quantile(weight, COMMON, axis=1, keepdims=True)) * (
        _blocks(inside).mean(axis=2) > 0.5
    )
    order = np.argsort(alike, axis=1, kind="stable")
    share = np.take_along_axis(weight, order, axis=1).cumsum(axis=1)
    at = (share < LOW_SHARE * share[:, -1:]).sum(axis=1).clip(max=BLOCKS**2 - 1)
    low = np.take_along_axis(alike, order, axis=1)[np.arange(count), at]
    return np.where(_fits(places, inside.reshape(count, -1)) & (share[:, -1] > 0), low, -1)


def _blocks(images: np.ndarray) -> np.ndarray:
    """(P, B², n) of (P, T, T)."""
    count, cells = images.shape[:2]
    side = cells // BLOCKS
    return images.reshape(count, BLOCKS, side, BLOCKS, side).transpose(0, 1, 3, 2, 4).reshape(count, BLOCKS**2, side**2)
