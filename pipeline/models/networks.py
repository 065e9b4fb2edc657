"""Networks by name, and what stands between uint8 images and a network."""

import importlib.util
import os
import shutil
import types
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.loop.device import Compute, autocast_dtype, set_tf32
from pipeline.loop.objective import Objective
from pipeline.models.airbench import Airbench
from pipeline.models.layers import whitening_images, whitening_of
from pipeline.models.resnet9 import ResNet9

OWN_NETWORKS: dict[str, type[nn.Module]] = {"resnet9": ResNet9, "airbench": Airbench}
CXX_COMPILERS = ("g++", "clang++")
C_COMPILERS = ("gcc", "clang")  # those that triton looks for


def create_model(name: str, *, num_classes: int, options: dict[str, Any]) -> nn.Module:
    """A network of ours by its constructor's `options`, or any model that timm knows (for `timm.create_model`).

    Raises ValueError, with the way out, for a name timm does not know and options the model does not take.
    """
    if name not in OWN_NETWORKS:
        from pipeline.models.timm_models import create_timm_model  # timm and torchvision take seconds to import

        return create_timm_model(name, num_classes=num_classes, options=options)
    return OWN_NETWORKS[name](num_classes=num_classes, **options)


def bf16_sound_on_cpu(name: str, image_size: int) -> bool:
    """Whether torch's bfloat16 convolutions on CPUs can be trusted with this network on images of this side.

    torch 2.14.1's weight gradient of a strided 3x3 convolution on a 1x1 map reads memory that nobody wrote: NaN, or
    worse, some number (seen in 58 of 60 trials of timm's test_resnet at 12 px, none from 24 px on, none in float32).
    Our networks have no such convolution (none in 36 settings of ResNet9 of 8 to 16 px); timm's have, 32 times smaller
    maps.
    """
    return name in OWN_NETWORKS or image_size >= 32


def compute_for(architecture: str, image_size: int, *, device: torch.device, precision: str, compiled: bool) -> Compute:
    """How this network computes on images of this side, in the precision that params.yaml names; it sets TF32."""
    set_tf32(precision, device)
    dtype = autocast_dtype(precision, device, bf16_sound=bf16_sound_on_cpu(architecture, image_size))
    return Compute(device=device, dtype=dtype, compiled=compiled)


class Normalised(nn.Module):
    """A network that takes uint8 images: it centres and scales pixels itself, so weights and constants travel together.

    mean, std: per channel on the 0-to-1 scale. Both are part of model.json, not of the weights.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, network: nn.Module, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.network, self.mean, self.std = network, mean, std
        # x / 255 normalised = x * scale + shift
        scale = 1.0 / (255.0 * torch.tensor(std, dtype=torch.float64))
        shift = -torch.tensor(mean, dtype=torch.float64) / torch.tensor(std, dtype=torch.float64)
        self.register_buffer("scale", scale.float().view(1, -1, 1, 1), persistent=False)
        self.register_buffer("shift", shift.float().view(1, -1, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) uint8 -> (B, num_classes) logits."""
        return self.network(images.to(self.scale.dtype) * self.scale + self.shift)


class OnFeatures(nn.Module):
    """A linear classifier for features that another network, which stays as it is, makes of images."""

    def __init__(self, network: nn.Linear, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.network, self.mean, self.std = network, mean, std  # the latter two of the images, for the other network

    def forward(self, features: Tensor) -> Tensor:
        """(B, width) float32 -> (B, num_outputs) logits."""
        return self.network(features)


def compile_forward(*models: nn.Module, device: torch.device) -> None:
    """From its next call on, each computes by `torch.compile`; modules, weights and their names stay as they are.

    The first batch then takes as long as compiling does, the first of another size once more, which serves all sizes,
    and so the first that is predicted. Raises ValueError where what torch compiles with is missing.
    """
    missing = _missing_compiler(device)
    if missing:
        raise ValueError(f"compute.compile is true, but {missing} is missing; install it or set compute.compile: false")
    for model in models:
        model.compile()


def _missing_compiler(device: torch.device) -> str:
    """What torch.compile needs and does not find here; empty if nothing."""
    if device.type == "cuda" and importlib.util.find_spec("triton") is None:
        return "the package triton"
    language, variable, names = ("C", "CC", C_COMPILERS) if device.type == "cuda" else ("C++", "CXX", CXX_COMPILERS)
    found = any(map(shutil.which, filter(None, (os.environ.get(variable), *names))))
    return "" if found else f"a {language} compiler ({names[0]})"


def refuse_side(network: nn.Module, name: str, side: int) -> None:
    """Raise ValueError where a network of timm's does not take images of this side, found by one that is blank."""
    if name in OWN_NETWORKS:
        return
    training = network.training
    try:
        with torch.no_grad():
            network.eval()(torch.zeros(1, 3, side, side))
    except (AssertionError, RuntimeError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ValueError(
            f"{name} does not take images of {side} px ({reason}); set images.side to what it is made for, or "
            f"model.options: [img_size={side}] where it has that"
        ) from error
    network.train(training)


def keep_statistics(network: nn.Module) -> None:
    """From now on batch norms normalise by the statistics they have, in training too; their scale and shift move."""
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()
            module.train = types.MethodType(lambda self, mode=True: self, module)  # type: ignore[method-assign]


def features_before_classifier(network: Any, images: Tensor) -> Tensor:
    """(B, 3, H, W) -> (B, width): what a network with timm's interface makes of images, pooled."""
    return network.forward_head(network.forward_features(images), pre_logits=True).flatten(1)


def begin_with_head(network: nn.Module, head: nn.Linear, side: int) -> None:
    """Give the classifier the weights of `head`, fitted to features of images of `side` pixels.

    Raises ValueError where it is not one linear layer of that width, or does not take the features as they are.
    """
    found = network.get_classifier() if hasattr(network, "get_classifier") else None  # type: ignore[operator]
    if not isinstance(found, nn.Linear) or found.weight.shape != head.weight.shape or found.bias is None:
        raise ValueError(
            f"model.head_first is true, but the classifier of this network, {found}, is not one linear layer of "
            f"{head.in_features} features; set it to false"
        )
    if not _takes_features(network, found, side):
        raise ValueError(
            "model.head_first is true, but between this network's features and its classifier stands another layer, "
            "such as a norm; set it to false"
        )
    found.load_state_dict(head.state_dict())


def _takes_features(network: Any, classifier: nn.Module, side: int) -> bool:
    """Whether what comes into the classifier are the features, by a striped image."""
    taken: list[Tensor] = []
    hook = classifier.register_forward_pre_hook(lambda _, given: taken.append(given[0]))
    training, image = network.training, torch.linspace(-1, 1, 3 * side * side).sin().view(1, 3, side, side)
    with torch.no_grad():
        network.eval()(image)
        features = features_before_classifier(network, image)
    network.train(training)
    hook.remove()
    return len(taken) == 1 and taken[0].shape == features.shape and torch.allclose(taken[0], features, 1e-3, 1e-4)


def whiten_first_layer(model: Normalised, store: np.ndarray, rows: np.ndarray) -> None:
    """Compute the whitening layer, where there is one, from these rows of `store` (N, S, S, 3) uint8."""
    layer = whitening_of(model.network)
    if layer is not None:
        images = torch.from_numpy(whitening_images(store, rows)).permute(0, 3, 1, 2)
        layer.whiten(images.float() * model.scale + model.shift)


class Ensemble(nn.ModuleList):
    """Networks whose mean probability is the prediction; weights are named `0.…`, `1.…`, network by network."""

    def __init__(self, networks: Sequence[nn.Module], objective: Objective) -> None:
        super().__init__(networks)
        self.objective = objective

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, num_outputs) float32, whose probabilities are the mean."""
        return self.objective.mean(torch.stack([network(images).float() for network in self]))


def together(networks: Sequence[nn.Module], objective: Objective) -> nn.Module:
    """The only one, or an Ensemble of them."""
    return networks[0] if len(networks) == 1 else Ensemble(networks, objective)


class TestTimeAveraged(nn.Module):
    """Test-time augmentation: the mean of an image's probabilities over some views of it.

    tta `mirror`: the image and its left-right mirror image. `mirror_shift`: these, and both moved by one pixel up and
    left, and down and right (edges reflected); the unmoved count for half (airbench94, Jordan 2024). `shift`: the same
    without mirror images. `dihedral`: `mirror`, turned by quarters.
    """

    __test__ = False  # not a test, whatever pytest takes its name for

    def __init__(self, network: nn.Module, objective: Objective, tta: str) -> None:
        super().__init__()
        self.network = network
        self.objective = objective
        self.tta = tta

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, num_outputs) float32, whose probabilities are the mean."""
        straight = self._seen(images)
        if self.tta == "mirror":
            return self.objective.mean(straight)
        if self.tta == "dihedral":
            turned = images.transpose(2, 3)  # rows become columns; with flips of each, all symmetries of the square
            return self.objective.mean(
                torch.cat([straight, *map(self._seen, (images.flip(2), turned, turned.flip(2)))])
            )
        moved = [self._seen(_moved(images, by)) for by in (1, -1)]
        return self.objective.mean(torch.cat([straight, straight, *moved]))

    def _seen(self, images: Tensor) -> Tensor:
        """(1 or 2, B, num_outputs): as they are, and mirrored."""
        views = (images,) if self.tta == "shift" else (images, images.flip(3))
        return torch.stack([self.network(view).float() for view in views])


def _moved(images: Tensor, by: int) -> Tensor:
    """Down and right by `by` pixels; what comes in is the mirror image of the edge, its pixel not repeated."""
    rows, columns = (_reflected(size, by, images.device) for size in images.shape[2:])
    return images.index_select(2, rows).index_select(3, columns)


def _reflected(size: int, by: int, device: torch.device) -> Tensor:
    positions = (torch.arange(size, device=device) - by).abs()
    return torch.minimum(positions, 2 * (size - 1) - positions)


def predictor(network: nn.Module, objective: Objective, tta: str) -> nn.Module:
    """The network as it predicts: alone, or averaged over the views that `tta` asks for."""
    return network if tta == "none" else TestTimeAveraged(network, objective, tta)
