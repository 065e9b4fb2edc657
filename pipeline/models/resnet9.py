"""ResNet9: the DAWNBench network of Myrtle.ai (David Page, "How to train your ResNet", 2018), any width and size."""

from torch import Tensor, nn

LOGIT_SCALE = 0.125  # Page's choice: a linear layer on unscaled maxima starts with logits that saturate


def conv_bn(in_channels: int, out_channels: int, *, pool: bool = False) -> nn.Sequential:
    """3x3 convolution, batch norm, a 2x2 max pool if `pool`, and ReLU.

    ReLU after the pool gives what the pool after ReLU would, gradients too, bit for bit, on a quarter of the pixels.
    """
    layers = [
        nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1, bias=False),
        nn.BatchNorm2d(out_channels),
        *([nn.MaxPool2d(2)] if pool else []),
        nn.ReLU(inplace=True),
    ]
    return nn.Sequential(*layers)


class Residual(nn.Module):
    """x + two `conv_bn` of x."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = conv_bn(channels, channels)
        self.second = conv_bn(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """x (B, C, H, W) -> (B, C, H, W)."""
        return x + self.second(self.first(x))


class ResNet9(nn.Module):
    """3 -> w, w -> 2w pool, residual, 2w -> 4w pool, 4w -> 8w pool, residual, global max pool, scaled linear.

    Takes (B, in_chans, H, W) floats, H and W at least 8 (three pools), gives (B, num_classes) logits.
    `forward_features`, `forward_head`, `get_classifier` and `reset_classifier` are timm's interface.
    """

    def __init__(self, num_classes: int = 10, in_chans: int = 3, width: int = 64) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.num_features = self.head_hidden_size = 8 * width
        self.features = nn.Sequential(
            conv_bn(in_chans, width),
            conv_bn(width, 2 * width, pool=True),
            Residual(2 * width),
            conv_bn(2 * width, 4 * width, pool=True),
            conv_bn(4 * width, 8 * width, pool=True),
            Residual(8 * width),
        )
        self.head = nn.Linear(self.num_features, num_classes, bias=False)

    def forward_features(self, images: Tensor) -> Tensor:
        """(B, in_chans, H, W) -> (B, 8 width, H // 8, W // 8)."""
        return self.features(images)

    def forward_head(self, features: Tensor, pre_logits: bool = False) -> Tensor:
        """(B, 8 width, h, w) -> (B, num_classes), or the pooled (B, 8 width) if `pre_logits`."""
        pooled = features.amax(dim=(2, 3))
        return pooled if pre_logits else self.head(pooled) * LOGIT_SCALE

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
