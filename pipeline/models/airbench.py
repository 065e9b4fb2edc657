"""airbench94's network (Jordan 2024, "94% on CIFAR-10 in 3.29 Seconds on a Single GPU"), any width and size."""

import itertools

from torch import Tensor, nn

from pipeline.models.layers import WHITENED_TIMES, Whitening, conv_bn, start

LOGIT_SCALE = 1 / 9  # airbench94's


class Airbench(nn.Module):
    """Whitening, then w, 4w and 4w channels by two convolutions each, the first pooled; global max pool, scaled linear.

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
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.num_features = self.head_hidden_size = 4 * width
        channels = (WHITENED_TIMES * in_chans if whitening else in_chans, width, 4 * width, 4 * width)
        groups = [
            nn.Sequential(
                conv_bn(before, after, pool=True, activation=activation), conv_bn(after, after, activation=activation)
            )
            for before, after in itertools.pairwise(channels)
        ]
        self.features = nn.Sequential(*([Whitening(in_chans, activation)] if whitening else []), *groups)
        self.head = nn.Linear(self.num_features, num_classes, bias=False)
        start(self, init=init, norm_scale=norm_scale)

    def forward_features(self, images: Tensor) -> Tensor:
        """(B, in_chans, H, W) -> (B, 4 width, about H // 8, W // 8)."""
        return self.features(images)

    def forward_head(self, features: Tensor, pre_logits: bool = False) -> Tensor:
        """(B, 4 width, h, w) -> (B, num_classes), or the pooled (B, 4 width) if `pre_logits`."""
        pooled = features.amax(dim=(2, 3))
        return pooled if pre_logits else self.head(pooled) * LOGIT_SCALE

    def forward(self, images: Tensor) -> Tensor:
        """(B, in_chans, H, W) -> (B, num_classes) logits."""
        return self.forward_head(self.forward_features(images))
