"""ResNet9: the DAWNBench network of Myrtle.ai (David Page, "How to train your ResNet", 2018), any width and size."""

from torch import Tensor, nn

from pipeline.models.layers import WHITENED_TIMES, OwnNetwork, Whitening, conv_bn, start

LOGIT_SCALE = 0.125  # Page's choice: a linear layer on unscaled maxima starts with logits that saturate


class Residual(nn.Module):
    """x + two `conv_bn` of x."""

    def __init__(self, channels: int, activation: str = "relu") -> None:
        super().__init__()
        self.first = conv_bn(channels, channels, activation=activation)
        self.second = conv_bn(channels, channels, activation=activation)

    def forward(self, x: Tensor) -> Tensor:
        """x (B, C, H, W) -> (B, C, H, W)."""
        return x + self.second(self.first(x))


class ResNet9(OwnNetwork):
    """3 -> w, w -> 2w pool, residual, 2w -> 4w pool, 4w -> 8w pool, residual, global pool, scaled linear.

    Takes (B, in_chans, H, W) floats, H and W at least 8 (three pools), gives (B, num_classes) logits. With
    `whitening` that layer comes first (see `layers`), and its output is one pixel lower and narrower.
    """

    def __init__(
        self,
        num_classes: int = 10,
        in_chans: int = 3,
        width: int = 64,
        *,
        whitening: bool = False,
        activation: str = "relu",
        init: str = "default",
        norm_scale: str = "trained",
        pooling: str = "max",
    ) -> None:
        features = nn.Sequential(
            *([Whitening(in_chans, activation)] if whitening else []),
            conv_bn(WHITENED_TIMES * in_chans if whitening else in_chans, width, activation=activation),
            conv_bn(width, 2 * width, pool=True, activation=activation),
            Residual(2 * width, activation),
            conv_bn(2 * width, 4 * width, pool=True, activation=activation),
            conv_bn(4 * width, 8 * width, pool=True, activation=activation),
            Residual(8 * width, activation),
        )
        super().__init__(features, 8 * width, num_classes, LOGIT_SCALE, pooling)
        start(self, init=init, norm_scale=norm_scale)
