"""What our own networks are built of, and the first layer that is computed from the training images."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": lambda: nn.ReLU(inplace=True),
    "gelu": nn.GELU,
    "silu": lambda: nn.SiLU(inplace=True),
    "celu": lambda: nn.CELU(alpha=0.3, inplace=True),  # Page 2019, "How to train your ResNet 8": alpha 0.3
}
WHITENED_TIMES = 8  # as many channels come out: a direction for each of 2x2 pixels' channels, and its negative
SMALL_MAP = 64  # pixels
WHITENED_IMAGES = 5_000  # enough for a 12 x 12 covariance; airbench94 takes as many
EPSILON = 5e-4  # added to the variances of directions: airbench94's


class Convolution(nn.Conv2d):
    """3x3 convolution, same size, no bias; on CPUs in bfloat16 the weight gradient of small maps by a matrix product.

    oneDNN's own (3.x, AMX) takes 4.5 times as long for 512 channels at 4x4, 7 times for 256 at 3x3, 1.6 times for 256
    at 7x7 (512 images, two cores): `python -m benchmarks.convolution`.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, kernel_size=3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in, H, W) -> (B, out, H, W)."""
        slow = (
            x.device.type == "cpu"
            and torch.is_grad_enabled()
            and torch.is_autocast_enabled("cpu")
            and torch.get_autocast_dtype("cpu") is torch.bfloat16
            and x.shape[2] * x.shape[3] <= SMALL_MAP
            and not torch.compiler.is_compiling()
        )
        if not slow:
            return super().forward(x)
        with torch.autocast("cpu", enabled=False):
            return _SmallMaps.apply(x.bfloat16(), self.weight.bfloat16())


class _SmallMaps(torch.autograd.Function):
    """`conv2d` with padding 1 whose weight gradient is one matrix product over patches."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return nn.functional.conv2d(x, weight, padding=1)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        of_x = of_weight = None
        if ctx.needs_input_grad[0]:
            asked = [True, False, False]
            of_x = torch.ops.aten.convolution_backward(
                gradient, x, weight, [0], [1, 1], [1, 1], [1, 1], False, [0, 0], 1, asked
            )[0]
        if ctx.needs_input_grad[1]:
            of_weight = weight_gradient(gradient, x)
        return of_x, of_weight


def weight_gradient(gradient: Tensor, x: Tensor) -> Tensor:
    """(out, in, 3, 3) of `conv2d` with padding 1, by the gradient (B, out, H, W) of its output and its input x."""
    product = gradient.transpose(0, 1).flatten(1) @ _patches(x)
    return product.view(len(product), 3, 3, -1).permute(0, 3, 1, 2)


def _patches(x: Tensor) -> Tensor:
    """(B, C, H, W) -> (B H W, 9 C): each pixel's 3x3 neighbourhood, zeros outside; row, column, channel."""
    batch, channels, height, width = x.shape
    padded = x.new_zeros(batch, height + 2, width + 2, channels)
    padded[:, 1:-1, 1:-1] = x.permute(0, 2, 3, 1)
    image, row, pixel, _ = padded.stride()
    taps = padded.as_strided((batch, height, width, 3, 3 * channels), (image, row, pixel, row, 1))
    return taps.reshape(batch * height * width, 9 * channels)


class Pool(nn.MaxPool2d):
    """2x2 max pool; of a map that is one pixel high, or wide, that pixel is left."""

    def __init__(self) -> None:
        super().__init__(2)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, max(1, H // 2), max(1, W // 2))."""
        return nn.functional.max_pool2d(x, 2, ceil_mode=min(x.shape[2:]) < 2)


class Whitening(nn.Sequential):
    """2x2 convolution to principal directions of image patches, each of variance 1, both signs; then the activation.

    Page 2019 ("How to train your ResNet 8"), here as in airbench94 (Jordan 2024): the weights are frozen, a bias is
    trained. `whiten` computes them; until then they are random, which serves to have shapes for a file's weights.
    """

    def __init__(self, in_channels: int, activation: str) -> None:
        convolution = nn.Conv2d(in_channels, WHITENED_TIMES * in_channels, kernel_size=2)
        convolution.weight.requires_grad_(False)
        nn.init.zeros_(convolution.bias)  # type: ignore[arg-type]  # there is one
        super().__init__(convolution, ACTIVATIONS[activation]())

    @torch.no_grad()
    def whiten(self, images: Tensor) -> None:
        """Weights from `images` (N, C, H, W) float32 as the network sees them, H and W at least 2."""
        channels = images.shape[1]
        patches = images.unfold(2, 2, 1).unfold(3, 2, 1).permute(0, 2, 3, 1, 4, 5).reshape(-1, 4 * channels).double()
        variances, directions = torch.linalg.eigh(patches.T @ patches / len(patches))
        scaled = (directions / (variances + EPSILON).sqrt()).T.reshape(-1, channels, 2, 2).flip(0)
        self[0].weight.copy_(torch.cat([scaled, -scaled]))  # type: ignore[operator]  # a parameter


def conv_bn(in_channels: int, out_channels: int, *, pool: bool = False, activation: str = "relu") -> nn.Sequential:
    """3x3 convolution, a 2x2 max pool if `pool`, batch norm, and the activation.

    With ReLU the pool stands behind the norm: there it gives what a pool after the ReLU would, gradients too, bit for
    bit, on a quarter of the pixels. Others have it before the norm, as airbench94.
    """
    before, behind = ([], [Pool()]) if activation == "relu" else ([Pool()], [])
    layers = [
        Convolution(in_channels, out_channels),
        *(before if pool else []),
        nn.BatchNorm2d(out_channels),
        *(behind if pool else []),
        ACTIVATIONS[activation](),
    ]
    return nn.Sequential(*layers)


class OwnNetwork(nn.Module):
    """Features, global pool, scaled linear layer without bias; the methods are timm's interface.

    pooling `max`: of the features. `csra`: the layer scores each place of the map, and a class's mean over all places
    and its highest score add up; so classes in different parts of an image do not share one vector (class-specific
    residual attention, Zhu and Wu 2021, here with lambda 1 and temperature infinite).
    """

    def __init__(
        self, features: nn.Module, num_features: int, num_classes: int, logit_scale: float, pooling: str
    ) -> None:
        super().__init__()
        self.num_classes, self.logit_scale, self.pooling = num_classes, logit_scale, pooling
        self.num_features = self.head_hidden_size = num_features
        self.features = features
        self.head = nn.Linear(num_features, num_classes, bias=False)

    def forward_features(self, images: Tensor) -> Tensor:
        """(B, in_chans, H, W) -> (B, num_features, about H // 8, W // 8)."""
        return self.features(images)

    def forward_head(self, features: Tensor, pre_logits: bool = False) -> Tensor:
        """(B, num_features, h, w) -> (B, num_classes), or the largest of each, (B, num_features), if `pre_logits`."""
        if pre_logits or self.pooling == "max":
            pooled = features.amax(dim=(2, 3))
            return pooled if pre_logits else self.head(pooled) * self.logit_scale
        scores = self.head(features.flatten(2).transpose(1, 2))  # (B, h w, num_classes)
        return (scores.mean(1) + scores.amax(1)) * self.logit_scale

    def forward(self, images: Tensor) -> Tensor:
        """(B, in_chans, H, W) -> (B, num_classes) logits."""
        return self.forward_head(self.forward_features(images))

    def get_classifier(self) -> nn.Module:
        """The last layer."""
        return self.head

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """A new last layer for `num_classes`."""
        self.num_classes = num_classes
        self.head = nn.Linear(self.num_features, num_classes, bias=False)


def start(network: nn.Module, *, init: str, norm_scale: str) -> None:
    """First weights and what is trained of a network of ours.

    init `dirac`: each convolution begins by passing its channels on (the first in_channels filters; airbench94,
    after Zagoruyko and Komodakis 2017, "DiracNets"), the others as torch draws them. norm_scale `fixed`: batch norms
    keep the scale 1, their shift alone is trained (Page 2019).
    """
    for module in network.modules():
        if init == "dirac" and isinstance(module, nn.Conv2d) and module.kernel_size == (3, 3):
            nn.init.dirac_(module.weight[: module.in_channels].data)
        if norm_scale == "fixed" and isinstance(module, nn.BatchNorm2d):
            module.weight.requires_grad_(False)


def whitening_of(network: nn.Module) -> Whitening | None:
    """The layer to be computed from images, where the network has one."""
    return next((module for module in network.modules() if isinstance(module, Whitening)), None)


def whitening_images(store: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """(n, S, S, 3) uint8: evenly spaced among these rows of the store, at most WHITENED_IMAGES."""
    chosen = np.unique(np.linspace(0, len(rows) - 1, min(len(rows), WHITENED_IMAGES)).round().astype(np.int64))
    return store[np.sort(rows[chosen])]
