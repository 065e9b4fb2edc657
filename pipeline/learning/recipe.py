"""Optimiser, schedule and averaged weights, by name."""

import torch
from torch import nn


def create_optimizer(
    model: nn.Module, name: str, *, peak_lr: float, momentum: float, weight_decay: float, fused: bool
) -> torch.optim.Optimizer:
    """`sgd` (Nesterov), `adamw`, or any name timm knows.

    Weight decay leaves biases and norms alone: parameters of one dimension or fewer (Goyal et al. 2017, section 3).
    `fused` uses torch's one-kernel step for the first two.
    """
    if name not in ("sgd", "adamw"):
        from pipeline.learning.zoo import create_timm_optimizer

        return create_timm_optimizer(model, name, lr=peak_lr, weight_decay=weight_decay, momentum=momentum)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [parameter for parameter in trained if parameter.ndim > 1], "weight_decay": weight_decay},
        {"params": [parameter for parameter in trained if parameter.ndim <= 1], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if name == "adamw":
        return torch.optim.AdamW(groups, lr=peak_lr, fused=fused)
    return torch.optim.SGD(groups, lr=peak_lr, momentum=momentum, nesterov=momentum > 0, fused=fused)


def one_cycle(
    optimizer: torch.optim.Optimizer, *, peak_lr: float, num_steps: int, warmup: float
) -> torch.optim.lr_scheduler.LRScheduler:
    """Linear from peak / 25 up to the peak over the share `warmup` of all steps, then linear down to nearly 0.

    Smith 2018, "A disciplined approach to neural network hyper-parameters"; by step, as Page's ResNet9 does it.
    """
    if warmup * num_steps < 2:  # torch's OneCycleLR divides by the number of rising steps
        return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: max(0.0, 1.0 - step / num_steps))
    return torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        max_lr=peak_lr,
        total_steps=num_steps + 1,  # the scheduler is stepped once more than there are steps to set
        pct_start=warmup,
        anneal_strategy="linear",
        cycle_momentum=False,
    )


class AveragedWeights:
    """An exponential moving average of a model's weights and buffers: timm's, its decay warmed up.

    Without the warm-up a short run would still carry its random start.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        from timm.utils import ModelEmaV3  # seconds to import: only who averages pays

        self._average = ModelEmaV3(model, decay=decay, use_warmup=True)
        self._model = model
        self.num_steps = 0

    def __call__(self) -> None:
        """After each optimiser step."""
        self._average.update(self._model, step=self.num_steps)
        self.num_steps += 1

    @property
    def module(self) -> nn.Module:
        """The averaged model."""
        return self._average.module


def averaging(model: nn.Module, decay: float) -> tuple[nn.Module, AveragedWeights | None]:
    """(the model to validate and keep, what to call after each step): itself and None where decay is 0."""
    if decay == 0:
        return model, None
    average = AveragedWeights(model, decay)
    return average.module, average
