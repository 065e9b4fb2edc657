"""Optimiser, schedule and averaged weights, by name."""

from typing import Any

import torch
from torch import nn

LOOKAHEAD = "lookahead_"
FIRST_SHARE = 1 / 25  # of the peak, at the first step of the warm-up


def create_optimizer(
    model: nn.Module,
    name: str,
    *,
    peak_lr: float,
    momentum: float,
    weight_decay: float,
    fused: bool,
    bias_lr: float = 1.0,
    layer_decay: float = 1.0,
) -> torch.optim.Optimizer:
    """`sgd` (Nesterov), `adamw`, `muon`, or any name timm knows; any of them within timm's Lookahead: `lookahead_sgd`.

    Weight decay leaves biases and norms alone: parameters of one dimension or fewer (Goyal et al. 2017, section 3).
    `fused` uses torch's one-kernel step for the first two. bias_lr: multiple of the rate for the batch norms' shifts
    (Page 2019; 64 in airbench94), of the first three. layer_decay: of timm's networks, with the first two. Raises
    ValueError where it is asked for with another optimiser or network.
    """
    if name.startswith(LOOKAHEAD):
        from timm.optim import Lookahead  # Zhang et al. 2019: half-way back to slow weights at every sixth step

        fast = create_optimizer(
            model, name.removeprefix(LOOKAHEAD), peak_lr=peak_lr, momentum=momentum, weight_decay=weight_decay,
            fused=fused, bias_lr=bias_lr, layer_decay=layer_decay,
        )  # fmt: skip
        slow = Lookahead(fast)
        slow.state = fast.state  # timm keeps an empty one beside it, and a saved state would lack all of it
        return slow
    if bias_lr != 1.0 and (layer_decay != 1.0 or name not in ("sgd", "adamw", "muon")):
        raise ValueError(
            f"train.bias_lr is {bias_lr}, which is for sgd, adamw and muon, and not together with train.layer_decay; "
            "set it to 1"
        )
    if layer_decay != 1.0:
        return _by_layer(
            model,
            name,
            peak_lr=peak_lr,
            momentum=momentum,
            weight_decay=weight_decay,
            layer_decay=layer_decay,
            fused=fused,
        )
    if name not in ("sgd", "adamw", "muon"):
        from pipeline.models.timm_models import create_timm_optimizer

        return create_timm_optimizer(model, name, lr=peak_lr, weight_decay=weight_decay, momentum=momentum)
    shifts = {id(module.bias) for module in model.modules() if bias_lr != 1.0 and isinstance(module, nn.BatchNorm2d)}
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    others = [parameter for parameter in trained if parameter.ndim <= 1]
    groups: list[dict[str, Any]] = [
        {"params": [parameter for parameter in trained if parameter.ndim > 1], "weight_decay": weight_decay},
        {"params": [parameter for parameter in others if id(parameter) not in shifts], "weight_decay": 0.0},
        {
            "params": [parameter for parameter in others if id(parameter) in shifts],
            "weight_decay": 0.0,
            "lr": peak_lr * bias_lr,
        },
    ]
    groups = [group for group in groups if group["params"]]
    if name == "muon":
        return _muon(groups, _classifier(model), peak_lr=peak_lr, momentum=momentum)
    return _plain(groups, name, peak_lr=peak_lr, momentum=momentum, fused=fused)


def _plain(
    groups: list[dict[str, Any]], name: str, *, peak_lr: float, momentum: float, fused: bool
) -> torch.optim.Optimizer:
    if name == "adamw":
        return torch.optim.AdamW(groups, lr=peak_lr, fused=fused)
    return torch.optim.SGD(groups, lr=peak_lr, momentum=momentum, nesterov=momentum > 0, fused=fused)


def _by_layer(
    model: nn.Module,
    name: str,
    *,
    peak_lr: float,
    momentum: float,
    weight_decay: float,
    layer_decay: float,
    fused: bool,
) -> torch.optim.Optimizer:
    network: Any = getattr(model, "network", model)
    if name not in ("sgd", "adamw") or not hasattr(network, "group_matcher"):
        raise ValueError(
            f"train.layer_decay is {layer_decay}, which is for networks of timm's with sgd or adamw; set it to 1"
        )
    from pipeline.models.timm_models import layer_groups

    groups = layer_groups(network, peak_lr=peak_lr, weight_decay=weight_decay, layer_decay=layer_decay)
    return _plain(groups, name, peak_lr=peak_lr, momentum=momentum, fused=fused)


def fill_momentum(optimizer: torch.optim.Optimizer) -> None:
    """Let torch's fused SGD begin from a momentum of zeros, which gives the first step it takes anyway.

    By itself it makes room for it at the first step, and when that one is left out (float16's overflow) the room holds
    whatever was in memory there (torch 2.14's _fused_sgd; LibreYOLO's pull request 771 trained to NaN by it).
    """
    optimizer = getattr(optimizer, "_base_optimizer", optimizer)  # of Lookahead
    for group in optimizer.param_groups:
        if isinstance(optimizer, torch.optim.SGD) and group["momentum"] and group["fused"]:
            for weight in group["params"]:
                optimizer.state[weight]["momentum_buffer"] = torch.zeros_like(weight)


def _classifier(model: nn.Module) -> set[int]:
    """The ids of the last layer's weights, by timm's interface, which ours have too; empty where there is none."""
    found: Any = getattr(getattr(model, "network", model), "get_classifier", tuple)()
    heads = found if isinstance(found, tuple | list) else [found]
    return {id(weight) for head in heads for weight in head.parameters()}


def _muon(
    groups: list[dict[str, Any]], classifier: set[int], *, peak_lr: float, momentum: float
) -> torch.optim.Optimizer:
    """Muon (Jordan et al. 2024) for inner weights; the last layer and one-dimensional parameters by AdamW."""
    from pipeline.training.muon import Muon

    split = []
    for group in groups:
        inner = [weight for weight in group["params"] if weight.ndim > 1 and id(weight) not in classifier]
        outer = [weight for weight in group["params"] if weight.ndim <= 1 or id(weight) in classifier]
        split += [group | {"params": inner}, group | {"params": outer, "use_fallback": True}]
    return Muon([group for group in split if group["params"]], lr=peak_lr, momentum=momentum, nesterov=True)


def one_cycle(
    optimizer: torch.optim.Optimizer, *, num_steps: int, warmup: float
) -> torch.optim.lr_scheduler.LRScheduler:
    """Linear from a 25th of the optimizer's rate up to it over the share `warmup` of all steps, then down to nearly 0.

    Smith 2018, "A disciplined approach to neural network hyper-parameters"; by step, as Page's ResNet9 does it. The
    peak is exactly one step's rate, whatever `num_steps` (torch's OneCycleLR would put it between two steps); where
    there are three steps or more, a warm-up has at least one and leaves two.
    """
    rising = min(max(round(warmup * num_steps), 1), num_steps - 2) if warmup > 0 and num_steps > 2 else 0

    def share_of_peak(step: int) -> float:
        if step < rising:
            return FIRST_SHARE + (1 - FIRST_SHARE) * step / rising
        return max(0.0, (num_steps - step) / (num_steps - rising))

    return torch.optim.lr_scheduler.LambdaLR(optimizer, share_of_peak)


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
