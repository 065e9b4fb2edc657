"""airbench94's network (Jordan 2024, "94% on CIFAR-10 in 3.29 Seconds on a Single GPU"), any width and size."""

import itertools

from torch import nn

from pipeline.models.layers import WHITENED_TIMES, OwnNetwork, Whitening, conv_bn, start

LOGIT_SCALE = 1 / 9  # airbench94's


class Airbench(OwnNetwork):
    """Whitening, then w, 4w and 4w channels by two convolutions each, the first pooled; global pool, scaled linear.

    airbench94 is width 64 with whitening, GELU, `dirac` and norms of fixed scale; a 3x3 max pool before its linear
    layer is the global one for 32 px. Takes (B, in_chans, H, W) floats, H and W at least 8, gives (B, num_classes).
    """

    def __init__(
        self,
        num_classes: int = 10,
        in_chans: int = 3,
        width: int = 64,
        *,
        whitening: bool = True,
        activation: str = "gelu",
        init: str = "dirac",
        norm_scale: str = "fixed",
        pooling: str = "max",
    ) -> None:
        channels = (WHITENED_TIMES * in_chans if whitening else in_chans, width, 4 * width, 4 * width)
        groups = [
            nn.Sequential(
                conv_bn(before, after, pool=True, activation=activation), conv_bn(after, after, activation=activation)
            )
            for before, after in itertools.pairwise(channels)
        ]
        features = nn.Sequential(*([Whitening(in_chans, activation)] if whitening else []), *groups)
        super().__init__(features, 4 * width, num_classes, LOGIT_SCALE, pooling)
        start(self, init=init, norm_scale=norm_scale)
