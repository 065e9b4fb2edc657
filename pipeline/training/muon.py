"""timm's Muon, with its matrix products in float32 where the hardware does not multiply bfloat16.

timm makes each step orthogonal in bfloat16 and leaves no choice.
"""

from typing import Any

import torch
from timm.optim import Muon, muon
from torch import Tensor

from pipeline.loop.device import autocast_dtype

_timms = muon.zeropower_via_newtonschulz

__all__ = ["Muon"]


def _orthogonal(gradient: Tensor, *args: Any, **settings: Any) -> Tensor:
    """As timm's: (m, n) with all singular values near 1."""
    emulated = gradient.device.type == "cpu" and autocast_dtype("auto", gradient.device) is None
    settings["dtype"] = torch.float32 if emulated else torch.bfloat16
    return _timms(gradient, *args, **settings)


muon.zeropower_via_newtonschulz = _orthogonal  # type: ignore[assignment]  # looked up there at every step
