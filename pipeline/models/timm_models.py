"""timm: our ResNet9 in its registry, and every other network out of it."""

import difflib
from typing import Any

import timm
import torch
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from torch import nn

from pipeline.models.resnet9 import ResNet9

default_cfgs = generate_default_cfgs(
    {
        "resnet9.untrained": {
            "input_size": (3, 32, 32),
            "min_input_size": (3, 8, 8),
            "fixed_input_size": False,
            "num_classes": 10,
            "pool_size": None,
            "first_conv": "features.0.0",
            "classifier": "head",
        }
    }
)


@register_model
def resnet9(pretrained: bool = False, **kwargs: Any) -> ResNet9:
    """`timm.create_model("resnet9", num_classes=30, width=64)`, once this module is imported."""
    return build_model_with_cfg(ResNet9, "resnet9", pretrained, **kwargs)


def create_timm_model(name: str, *, num_classes: int | None, hub: bool = False, options: dict[str, Any]) -> nn.Module:
    """Any timm model; num_classes None: as many as timm's weights have; hub: with these.

    Raises ValueError, with the way out, for a name timm does not know, options the model does not take, and weights
    that cannot be had.
    """
    if not timm.is_model(name):
        close = difflib.get_close_matches(name.split(".")[0], timm.list_models(), n=5, cutoff=0.5)
        raise ValueError(f"model.name is {name!r}, which timm {timm.__version__} does not know; close: {close}")
    classes: dict[str, Any] = {} if num_classes is None else {"num_classes": num_classes}
    try:
        return timm.create_model(name, pretrained=hub, **classes, **options)
    except TypeError as error:
        raise ValueError(f"model.options is {options}, which {name} does not take: {error}") from error
    except Exception as error:  # the hub's client raises what its HTTP library raises
        if not hub:
            raise ValueError(
                f"timm cannot make {name} with model.options {options}: {type(error).__name__} {error}"
            ) from error
        raise ValueError(
            f"the weights of {name} cannot be had from the hub ({type(error).__name__}: "
            f"{str(error).splitlines()[0]}); connect once so that they lie whole in the Hugging Face cache, or name a "
            "file or folder of them in model.weights (docs/weights.md), or set it to none"
        ) from error


def config_of(network: nn.Module) -> dict[str, Any]:
    """What timm knows of the weights that a network of its own was made for: mean, std, input_size, interpolation."""
    return dict(network.pretrained_cfg)  # type: ignore[arg-type]  # a mapping


def layer_groups(model: nn.Module, *, peak_lr: float, weight_decay: float, layer_decay: float) -> list[dict[str, Any]]:
    """Groups of a timm network's parameters whose rate falls by `layer_decay` from each block to the one before it.

    By timm's list of an architecture's blocks. Biases, norms and what the network itself excludes have no decay.
    """
    from timm.optim import param_groups_layer_decay

    excluded = model.no_weight_decay() if hasattr(model, "no_weight_decay") else ()  # type: ignore[operator]
    groups = param_groups_layer_decay(
        model, weight_decay=weight_decay, no_weight_decay_list=excluded, layer_decay=layer_decay
    )
    for group in groups:
        group["lr"] = peak_lr * group.pop("lr_scale")
        group.pop("param_names", None)  # of other versions of timm
    return groups


def create_timm_optimizer(model: nn.Module, name: str, **settings: Any) -> torch.optim.Optimizer:
    """Any optimiser that timm knows, weight decay kept off biases and norms."""
    from timm.optim import create_optimizer_v2, list_optimizers

    known = [str(found) for found in list_optimizers()]
    if name not in known:
        raise ValueError(
            f"train.optimizer is {name!r}, which timm {timm.__version__} does not know; known: {', '.join(known)}"
        )
    return create_optimizer_v2(model, opt=name, filter_bias_and_bn=True, **settings)
