"""Where the pretrained weights of a run come from: what stage `weights` writes beside them."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.base.files import made_by, read_json

NONE, HUB = "none", "hub"  # of `model.weights`; all else is a path


@dataclass(frozen=True, kw_only=True)
class WeightsCard:
    """data/weights/card.json: where the weights of `data/weights/` come from, and what images they expect."""

    source: str  # none, or as params.yaml names it
    source_sha256: str = ""
    architecture: str = ""
    options: dict[str, Any] = field(default_factory=dict)  # of model.options, by which timm builds it
    normalisation: str = ""  # as params.yaml has it
    num_tensors: int = 0
    mean: tuple[float, ...] = ()  # per channel, 0-to-1 scale
    std: tuple[float, ...] = ()
    constants_from: str = ""
    image_size: int = 0  # pixels that the weights were trained with; 0 = not known
    interpolation: str = ""
    weights_sha256: str = ""  # of the safetensors file beside


def read_card(path: Path) -> WeightsCard:
    """The card that stage `weights` wrote. Raises ValueError where it is not one."""
    with made_by("-s weights", path):
        found = read_json(path)
        try:
            return WeightsCard(**found | {name: tuple(found[name]) for name in ("mean", "std")})
        except (KeyError, TypeError) as error:
            raise ValueError(f"{path} is not of this version ({error})") from error
