"""Loss scaling: what float16, whose smallest number is 6e-8, needs lest small gradients become zero."""

from typing import Any

import torch
from torch import Tensor

FIRST_SCALE = 65_536.0  # torch's own
DOUBLED_AFTER = 2_000  # steps taken in a row


class LossScaler:
    """Multiplies the loss, divides the gradients, and leaves a step out where they overflowed.

    Micikevicius et al. 2018, "Mixed precision training", section 3.2, by torch's GradScaler: the scale halves when a
    gradient is not finite, and doubles after DOUBLED_AFTER steps without. None of it waits for the device, but `step`
    with an optimiser that is not fused: it asks once a step whether to go.
    """

    def __init__(self, device: torch.device) -> None:
        self._scaler = torch.amp.GradScaler(device.type, init_scale=FIRST_SCALE, growth_interval=DOUBLED_AFTER)
        self._one = torch.ones((), device=device)

    def scale(self, loss: Tensor) -> Tensor:
        """The loss to go backward from."""
        return self._scaler.scale(loss)

    def unscale(self, optimizer: torch.optim.Optimizer) -> None:
        """Make gradients what they would be of the plain loss; at most once before each `step`, which else does it."""
        self._scaler.unscale_(optimizer)

    def step(self, optimizer: torch.optim.Optimizer) -> Tensor:
        """By gradients of a scaled loss, unless one is not finite. The next step's scale, () float32 on the device."""
        self._scaler.step(optimizer)
        self._scaler.update()
        return self._scaler.scale(self._one)

    def state_dict(self) -> dict[str, Any]:
        """Plain values; waits for the device."""
        return self._scaler.state_dict()

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Go on from `state_dict`."""
        self._scaler.load_state_dict(saved)
