"""A fold's weights as safetensors, and model.json: all that prediction needs, nothing that can be executed."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import nn

from pipeline.base.files import made_by, read_json, sha256_of, write_bytes, write_json
from pipeline.loop.device import memory_format
from pipeline.loop.objective import num_outputs, objective_for
from pipeline.models.networks import Normalised, OnFeatures, create_model, together

VERSION = 4


@dataclass(frozen=True, kw_only=True)
class ModelCard:
    """model.json."""

    fold: str
    architecture: str
    options: dict[str, Any]  # what `create_model` takes beside
    target_kind: str
    classes: tuple[str, ...]  # classes[class_index] == label
    image_size: int  # pixels
    mean: tuple[float, ...]  # per channel, 0-to-1 scale
    std: tuple[float, ...]
    prior: tuple[float, ...]  # share of its training images that have each class: the answer where no image is seen
    tta: str  # views of an image whose mean probability is the prediction, as train.tta names them
    params: dict[str, Any]  # the sections it was trained with, the fold's overrides applied
    data_fingerprint: str  # sha256 over schema, tables and folds
    code_fingerprint: str  # sha256 over the modules that took part
    torch_version: str
    device: str
    precision: str
    threads: int  # of the CPU, as it ended; another number may round, and in the end answer, otherwise
    ranks: int = 1  # processes that trained it together, each on so many threads; likewise
    loss: str = "auto"  # with target_kind: how logits are read (`objective_for`); cards from before it lack it
    pretrained_fingerprint: str = ""  # sha256 over the cards of pretrained weights and of features
    features: int = 0  # of a linear classifier on frozen features: how many it takes; 0: a network for images
    backbone_sha256: str = ""  # of the safetensors that make them
    networks: int = 1  # whose mean probability is the prediction; likewise
    num_pseudo: int = 0  # test images that it was trained on beside the labelled ones, by a teacher's answers
    pseudo_fingerprint: str = ""  # sha256 of the file with these, if there are any
    weights_sha256: str = ""
    version: int = VERSION


def write_checkpoint(model: Normalised | OnFeatures, card: ModelCard, weights: Path, description: Path) -> None:
    """Weights to `weights` (safetensors, float32, contiguous), the card with their sha256 to `description`."""
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in model.network.state_dict().items()}
    write_bytes(weights, save(state))
    write_json(description, dataclasses.replace(card, weights_sha256=sha256_of(weights)))


def read_checkpoint(weights: Path, description: Path) -> tuple[Normalised | OnFeatures, ModelCard]:
    """The model as it was written, on the CPU. Raises ValueError for damage, mismatch and non-finite weights."""
    card = _read_card(description)
    found = sha256_of(weights)
    if found != card.weights_sha256:
        raise ValueError(
            f"{weights} has sha256 {found[:12]}…, {description} says {card.weights_sha256[:12]}…: they do not belong "
            f"together, or one is damaged; run `dvc repro -f -s train@{card.fold}`"
        )
    outputs = num_outputs(card.target_kind, len(card.classes))
    network: nn.Module
    if card.features:
        network = nn.Linear(card.features, outputs)
    else:
        networks = [
            create_model(card.architecture, num_classes=outputs, options=card.options) for _ in range(card.networks)
        ]
        network = together(networks, objective_for(card.target_kind, loss=card.loss))
    try:
        state = load_file(weights)
        network.load_state_dict(state)
    except (SafetensorError, RuntimeError) as error:
        several = f"{card.networks} networks of " if card.networks > 1 else ""
        raise ValueError(f"{weights} does not fit {several}{card.architecture} of {description}: {error}") from error
    spoilt = [
        name for name, tensor in state.items() if tensor.is_floating_point() and not bool(tensor.isfinite().all())
    ]
    if spoilt:
        raise ValueError(f"{weights}: {len(spoilt)} tensors hold NaN or inf, first {spoilt[:3]}; train the fold again")
    kind = OnFeatures if isinstance(network, nn.Linear) else Normalised
    return kind(network, card.mean, card.std), card  # type: ignore[arg-type]  # the right one of the two


def on_device(model: nn.Module, device: torch.device) -> nn.Module:
    """On `device`, convolutions in its `memory_format`."""
    return model.to(device).to(memory_format=memory_format(device))


def _read_card(path: Path) -> ModelCard:
    with made_by(f"-s train@{path.stem}", path):
        found = read_json(path)
        try:
            if found["version"] != VERSION:
                raise KeyError(f"version {found['version']}")
            numbers = {name: tuple(map(float, found[name])) for name in ("mean", "std", "prior")}
            return ModelCard(**found | numbers | {"classes": tuple(found["classes"])})
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path} is not a model.json of this version ({error})") from error
