"""AutoAugment and TrivialAugment on a whole uint8 batch, each image with its own operation and magnitude.

Operations follow torchvision's tensor implementations (`torchvision.transforms._functional_tensor`, fill 0, nearest
neighbour) and are computed on all images of a batch that drew the same operation at once. They match to rounding:
brightness, colour, sharpness, posterize, solarize, autocontrast, equalize, invert and the translations bit for bit;
contrast within one grey level (a float32 mean summed in another order); shear and rotation take another neighbour
where a source coordinate lies on the half between two pixels, to the last bit of float32 (under 0.5 % of pixels,
see tests/test_autoaugment.py).
"""

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from pipeline.loop.device import to_device

# AutoAugment's CIFAR-10 policy (Cubuk et al. 2018, table 7): two (operation, probability, magnitude bin of 10) each
AUTOAUGMENT_CIFAR10 = (
    (("Invert", 0.1, 0), ("Contrast", 0.2, 6)),
    (("Rotate", 0.7, 2), ("TranslateX", 0.3, 9)),
    (("Sharpness", 0.8, 1), ("Sharpness", 0.9, 3)),
    (("ShearY", 0.5, 8), ("TranslateY", 0.7, 9)),
    (("AutoContrast", 0.5, 0), ("Equalize", 0.9, 0)),
    (("ShearY", 0.2, 7), ("Posterize", 0.3, 7)),
    (("Color", 0.4, 3), ("Brightness", 0.6, 7)),
    (("Sharpness", 0.3, 9), ("Brightness", 0.7, 9)),
    (("Equalize", 0.6, 0), ("Equalize", 0.5, 0)),
    (("Contrast", 0.6, 7), ("Sharpness", 0.6, 5)),
    (("Color", 0.7, 7), ("TranslateX", 0.5, 8)),
    (("Equalize", 0.3, 0), ("AutoContrast", 0.4, 0)),
    (("TranslateY", 0.4, 3), ("Sharpness", 0.2, 6)),
    (("Brightness", 0.9, 6), ("Color", 0.2, 8)),
    (("Solarize", 0.5, 2), ("Invert", 0.0, 0)),
    (("Equalize", 0.2, 0), ("AutoContrast", 0.6, 0)),
    (("Equalize", 0.2, 0), ("Equalize", 0.6, 0)),
    (("Color", 0.9, 9), ("Equalize", 0.6, 0)),
    (("AutoContrast", 0.8, 0), ("Solarize", 0.2, 8)),
    (("Brightness", 0.1, 3), ("Color", 0.7, 0)),
    (("Solarize", 0.4, 5), ("AutoContrast", 0.9, 0)),
    (("TranslateY", 0.9, 9), ("TranslateY", 0.7, 9)),
    (("AutoContrast", 0.9, 0), ("Solarize", 0.8, 3)),
    (("Equalize", 0.8, 0), ("Invert", 0.1, 0)),
    (("TranslateY", 0.7, 9), ("AutoContrast", 0.9, 0)),
)
# TrivialAugment Wide (Müller and Hutter 2021, table 1), one of these, its magnitude one of 31
TRIVIALAUGMENT_WIDE = (
    "Identity", "ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate", "Brightness", "Color", "Contrast",
    "Sharpness", "Posterize", "Solarize", "AutoContrast", "Equalize",
)  # fmt: skip
AUTOAUGMENT_STEPS = np.array(
    [list(pair) for pair in AUTOAUGMENT_CIFAR10],
    dtype=[("name", "U12"), ("probability", np.float64), ("bin", np.int64)],
)
DRAWN = [("name", "U12"), ("bin", np.int64), ("sign", np.float64)]  # an operation, which magnitude, and its sign
SIGNED = {"ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate", "Brightness", "Color", "Contrast", "Sharpness"}
AUTOAUGMENT_BINS, TRIVIALAUGMENT_BINS = 10, 31


def draw_policy(policy: str, num_images: int, draws: np.random.Generator) -> np.ndarray:
    """What `policy`, `autoaugment` or `trivialaugment`, does with each of `num_images` images.

    (n, P) of `DRAWN`: P operations, one after the other, 2 in AutoAugment and 1 in TrivialAugment.
    """
    signs = np.where(draws.random((num_images, 2)) < 0.5, -1.0, 1.0)
    if policy == "trivialaugment":
        drawn = np.empty((num_images, 1), dtype=DRAWN)
        drawn["name"] = np.array(TRIVIALAUGMENT_WIDE)[draws.integers(0, len(TRIVIALAUGMENT_WIDE), (num_images, 1))]
        drawn["bin"] = draws.integers(0, TRIVIALAUGMENT_BINS, (num_images, 1))
        drawn["sign"] = signs[:, :1]
        return drawn

    drawn = np.empty((num_images, 2), dtype=DRAWN)
    steps = AUTOAUGMENT_STEPS[draws.integers(0, len(AUTOAUGMENT_STEPS), num_images)]
    chances = draws.random((num_images, 2))
    drawn["name"] = np.where(chances > steps["probability"], "Identity", steps["name"])
    drawn["bin"], drawn["sign"] = steps["bin"], signs
    return drawn


def apply_policy(images: Tensor, policy: str, drawn: np.ndarray) -> Tensor:
    """images (n, S, S, 3) uint8 -> the same shape; the policy's operations that were drawn for them."""
    magnitudes = magnitudes_of(policy, images.shape[1])
    for operations in drawn.T:
        images = _apply_by_operation(images, operations, magnitudes)
    return images


def magnitudes_of(policy: str, size: int) -> dict[str, np.ndarray]:
    """Operation -> its magnitudes by bin, float64, 10 of AutoAugment and 31 of TrivialAugment.

    Translations are in pixels: AutoAugment's by the image's `size`, TrivialAugment's up to 32 whatever it is.
    """
    if policy == "autoaugment":
        bins, shear, translate, rotate, colour, fewest_bits = AUTOAUGMENT_BINS, 0.3, 150 / 331 * size, 30.0, 0.9, 4
    else:
        bins, shear, translate, rotate, colour, fewest_bits = TRIVIALAUGMENT_BINS, 0.99, 32.0, 135.0, 0.99, 2

    def up_to(most: float) -> np.ndarray:
        return torch.linspace(0.0, most, bins).double().numpy()  # torchvision takes them from float32 as well

    bits = 8 - np.round(np.arange(bins) / ((bins - 1) / (8 - fewest_bits)))
    return {
        **dict.fromkeys(("ShearX", "ShearY"), up_to(shear)),
        **dict.fromkeys(("TranslateX", "TranslateY"), up_to(translate)),
        "Rotate": up_to(rotate),
        **dict.fromkeys(("Brightness", "Color", "Contrast", "Sharpness"), up_to(colour)),
        "Posterize": bits,
        "Solarize": torch.linspace(255.0, 0.0, bins).double().numpy(),
        **dict.fromkeys(("AutoContrast", "Equalize", "Invert", "Identity"), np.zeros(bins)),
    }


def _apply_by_operation(images: Tensor, drawn: np.ndarray, magnitudes: dict[str, np.ndarray]) -> Tensor:
    """Each image through its own operation, (n,) of `DRAWN`; one call for all images that share one."""
    names = sorted(set(drawn["name"].tolist()))
    rows = [np.flatnonzero(drawn["name"] == name) for name in names]
    order = np.concatenate(rows)
    parts = []
    sorted_images = images.index_select(0, to_device(order, images.device))
    for name, of_name, part in zip(names, rows, sorted_images.split([*map(len, rows)]), strict=True):
        if name == "Identity":
            parts.append(part)
        else:
            values = magnitudes[name][drawn["bin"][of_name]] * (drawn["sign"][of_name] if name in SIGNED else 1.0)
            parts.append(OPERATIONS[name](part, values))
    return torch.cat(parts).index_select(0, to_device(np.argsort(order), images.device))


def _column(values: np.ndarray, like: Tensor) -> Tensor:
    """(n,) -> (n, 1, 1, 1) float32 on the device of `like`."""
    return to_device(values.astype(np.float32), like.device).view(-1, 1, 1, 1)


def _blend(images: Tensor, other: Tensor | None, magnitudes: np.ndarray) -> Tensor:
    """(1 + m) images - m other, cut to 0..255 and truncated; `other` None is black."""
    ratio = 1.0 + magnitudes
    mixed = _column(ratio, images) * images
    if other is not None:
        mixed += _column(1.0 - ratio, images) * other
    return mixed.clamp_(0, 255).to(torch.uint8)


def _grey(images: Tensor) -> Tensor:
    """(n, S, S, 3) uint8 -> (n, S, S, 1) uint8, ITU-R 601 luma with torchvision's four digits."""
    red, green, blue = images.unbind(dim=3)
    return (0.2989 * red + 0.587 * green + 0.114 * blue).to(torch.uint8).unsqueeze(3)


def brightness(images: Tensor, magnitudes: np.ndarray) -> Tensor:
    """Towards black (-1) or away from it."""
    return _blend(images, None, magnitudes)


def color(images: Tensor, magnitudes: np.ndarray) -> Tensor:
    """Towards the grey image (-1) or away from it."""
    return _blend(images, _grey(images), magnitudes)


def contrast(images: Tensor, magnitudes: np.ndarray) -> Tensor:
    """Towards the image's mean grey (-1) or away from it."""
    return _blend(images, _grey(images).float().mean(dim=(1, 2, 3), keepdim=True), magnitudes)


def sharpness(images: Tensor, magnitudes: np.ndarray) -> Tensor:
    """Towards a 3x3 blur whose centre weighs 5 of 13 (-1) or away from it; the border stays."""
    if images.shape[1] <= 2:
        return images
    wide = images.to(torch.int16)
    rows = wide[:, :-2] + wide[:, 1:-1] + wide[:, 2:]
    total = rows[:, :, :-2] + rows[:, :, 1:-1] + rows[:, :, 2:] + 4 * wide[:, 1:-1, 1:-1]
    blurred = images.clone()
    blurred[:, 1:-1, 1:-1] = ((total + 6.5) / 13).to(torch.uint8)  # floor((total + 6) / 13): never near a whole number
    return _blend(images, blurred, magnitudes)


def posterize(images: Tensor, magnitudes: np.ndarray) -> Tensor:
    """Keep the magnitude's number of high bits."""
    masks = (256 - 2 ** (8 - magnitudes.astype(np.int64))).astype(np.uint8)
    return images & to_device(masks, images.device).view(-1, 1, 1, 1)


def solarize(images: Tensor, magnitudes: np.ndarray) -> Tensor:
    """Invert what is at or above the threshold."""
    thresholds = to_device(np.ceil(magnitudes).astype(np.uint8), images.device).view(-1, 1, 1, 1)
    return torch.where(images >= thresholds, 255 - images, images)


def _planes(images: Tensor) -> Tensor:
    """(n, S, S, 3) -> (n, 3, S * S): what is done channel by channel is several times faster on these."""
    return images.flatten(1, 2).transpose(1, 2).contiguous()


def _pixels(planes: Tensor, like: Tensor) -> Tensor:
    """`_planes` undone."""
    return planes.transpose(1, 2).contiguous().view_as(like)


def autocontrast(images: Tensor, magnitudes: np.ndarray) -> Tensor:
    """Stretch each channel to 0..255; a flat channel stays."""
    planes = _planes(images)
    low, high = (edge.float() for edge in (planes.amin(dim=2, keepdim=True), planes.amax(dim=2, keepdim=True)))
    flat = low == high
    scale = torch.where(flat, 1.0, 255.0 / (high - low))
    stretched = (planes.float() - torch.where(flat, 0.0, low)).mul_(scale)
    return _pixels(stretched.clamp_(0, 255).to(torch.uint8), images)


def equalize(images: Tensor, magnitudes: np.ndarray) -> Tensor:
    """Flatten each channel's histogram, as Pillow does; a channel too flat for a step stays."""
    planes = _planes(images).flatten(0, 1)
    num_rows = len(planes)
    levels = planes.long()
    histogram = torch.zeros((num_rows, 256), dtype=torch.int32, device=images.device)
    ones = torch.ones((), dtype=torch.int32, device=images.device).expand_as(levels)
    histogram.scatter_add_(1, levels, ones)  # bincount waits for a GPU
    last = planes.amax(dim=1, keepdim=True).long()
    step = (planes.shape[1] - histogram.gather(1, last)) // 255
    safe = step.clamp(min=1)
    before = torch.cumsum(histogram, dim=1, dtype=torch.int32) - histogram  # of darker pixels: a table moved by one
    table = before.add_(safe // 2).floor_divide_(safe).clamp_(0, 255)
    table[:, 0] = 0
    table = torch.where(step == 0, torch.arange(256, dtype=torch.int32, device=images.device), table)
    return _pixels(table.to(torch.uint8).gather(1, levels).view(len(images), 3, -1), images)


def invert(images: Tensor, magnitudes: np.ndarray) -> Tensor:
    """255 minus the pixel."""
    return 255 - images


def shear_x(images: Tensor, magnitudes: np.ndarray) -> Tensor:
    """Shift each row by magnitude x its distance from the top edge."""
    half = 0.5 * images.shape[1]
    return _affine(images, [(1.0, m, m * half, 0.0, 1.0, 0.0) for m in map(_sheared, magnitudes)])


def shear_y(images: Tensor, magnitudes: np.ndarray) -> Tensor:
    """Shift each column by magnitude x its distance from the left edge."""
    half = 0.5 * images.shape[2]
    return _affine(images, [(1.0, 0.0, 0.0, m, 1.0, m * half) for m in map(_sheared, magnitudes)])


def _sheared(magnitude: float) -> float:
    return math.tan(math.radians(math.degrees(math.atan(magnitude))))  # the way torchvision's numbers go


def translate_x(images: Tensor, magnitudes: np.ndarray) -> Tensor:
    """Whole pixels to the right."""
    return _shifted(images.transpose(1, 2), magnitudes).transpose(1, 2)


def translate_y(images: Tensor, magnitudes: np.ndarray) -> Tensor:
    """Whole pixels down."""
    return _shifted(images, magnitudes)


def _shifted(images: Tensor, magnitudes: np.ndarray) -> Tensor:
    """Each image moved along dimension 1 by its own number of places, truncated; black where nothing comes from."""
    num_images, size = images.shape[:2]
    lines = images.reshape(num_images * size, -1)
    lines = torch.cat([lines, lines.new_zeros(1, lines.shape[1])])  # the last is the black that lies outside
    places = np.arange(size) - magnitudes.astype(np.int64)[:, None]
    inside = (places >= 0) & (places < size)
    index = np.where(inside, places + size * np.arange(num_images)[:, None], len(lines) - 1)
    return lines.index_select(0, to_device(index.ravel(), images.device)).view_as(images)


def rotate(images: Tensor, magnitudes: np.ndarray) -> Tensor:
    """Degrees, counter-clockwise, around the centre."""
    turns = [(math.cos(r), math.sin(r)) for r in np.radians(-magnitudes)]
    return _affine(images, [(cos, sin, 0.0, -sin, cos, 0.0) for cos, sin in turns])


def _affine(images: Tensor, matrices: list[tuple[float, ...]]) -> Tensor:
    """Each image through its own inverse map, nearest neighbour, black outside.

    matrices: n rows (a, b, c, d, e, f): output pixel (x, y), measured from the centre, comes from
    (a x + b y + c, d x + e y + f). float32, with torchvision's normalisation to -1..1 and back, so that halves
    round alike.
    """
    num_images, height, width = images.shape[:3]
    device = images.device
    theta = to_device(torch.tensor(matrices, dtype=torch.float32), device)[:, :, None, None]
    x = torch.linspace(-width * 0.5 + 0.5, width * 0.5 - 0.5, width, device=device).view(1, 1, -1)
    y = torch.linspace(-height * 0.5 + 0.5, height * 0.5 - 0.5, height, device=device).view(1, -1, 1)

    def source(a: Tensor, b: Tensor, c: Tensor, size: int) -> Tensor:
        half = 0.5 * size
        return ((((a / half) * x + (b / half) * y + c / half + 1) * size - 1) / 2).round_()

    column = source(theta[:, 0], theta[:, 1], theta[:, 2], width)
    row = source(theta[:, 3], theta[:, 4], theta[:, 5], height)
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    firsts = (height * width * torch.arange(num_images, device=device)).view(-1, 1, 1)
    pixels = torch.cat([images.reshape(-1, 3), images.new_zeros(1, 3)])  # the last is the black that lies outside
    index = torch.where(inside, row.mul_(width).add_(column).long().add_(firsts), len(pixels) - 1)
    return pixels.index_select(0, index.flatten()).view_as(images)


OPERATIONS: dict[str, Callable[[Tensor, np.ndarray], Tensor]] = {
    "ShearX": shear_x,
    "ShearY": shear_y,
    "TranslateX": translate_x,
    "TranslateY": translate_y,
    "Rotate": rotate,
    "Brightness": brightness,
    "Color": color,
    "Contrast": contrast,
    "Sharpness": sharpness,
    "Posterize": posterize,
    "Solarize": solarize,
    "AutoContrast": autocontrast,
    "Equalize": equalize,
    "Invert": invert,
}
