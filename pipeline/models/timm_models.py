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


def create_timm_model(name: str, *, num_classes: int, pretrained: bool, options: dict[str, Any]) -> nn.Module:
    """Any timm model. Raises ValueError with the way out; see `models.create_model`."""
    if not timm.is_model(name):
        close = difflib.get_close_matches(name.split(".")[0], timm.list_models(), n=5, cutoff=0.5)
        raise ValueError(f"model.name is {name!r}, which timm {timm.__version__} does not know; close: {close}")
    try:
        return timm.create_model(name, pretrained=pretrained, num_classes=num_classes, **options)
    except TypeError as error:
        raise ValueError(f"model.options is {options}, which {name} does not take: {error}") from error
    except Exception as error:  # the hub's client raises what its HTTP library raises
        if not pretrained:
            raise
        raise ValueError(
            f"the pretrained weights of {name} cannot be had ({type(error).__name__}: {str(error).splitlines()[0]}); "
            "set model.pretrained to false, or connect once so that the weights lie in the Hugging Face cache, or name "
            "a file of them: model.options: ['pretrained_cfg_overlay={file: path/to/weights.safetensors}']"
        ) from error


def input_constants(model: nn.Module) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """(mean, std) on the 0-to-1 scale that a timm model's pretrained weights were trained with."""
    config = timm.data.resolve_model_data_config(model)
    return tuple(config["mean"]), tuple(config["std"])


def create_timm_optimizer(model: nn.Module, name: str, **settings: Any) -> torch.optim.Optimizer:
    """Any optimiser that timm knows, weight decay kept off biases and norms."""
    from timm.optim import create_optimizer_v2, list_optimizers

    known = [str(found) for found in list_optimizers()]
    if name not in known:
        raise ValueError(
            f"train.optimizer is {name!r}, which timm {timm.__version__} does not know; known: {', '.join(known)}"
        )
    return create_optimizer_v2(model, opt=name, filter_bias_and_bn=True, **settings)
