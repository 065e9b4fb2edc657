"""Frozen features: what a pretrained network makes of each image before its classifier, once, in a file."""

import hashlib
import inspect
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.base import console
from pipeline.base.files import code_fingerprint, made_by, read_json, refuse_altered, sha256_of, whole_file, write_json
from pipeline.loop.batches import Batches
from pipeline.loop.device import Compute
from pipeline.loop.engine import Mode, run_model
from pipeline.loop.epoch_meter import EpochMeter
from pipeline.models.checkpoint import ModelCard, on_device
from pipeline.models.networks import (
    Normalised,
    compute_for,
    create_model,
    features_before_classifier,
    predictor,
)
from pipeline.models.pretrained import load_backbone
from pipeline.models.weights_card import WeightsCard, read_card

PIECE_IMAGES = 2048  # of a file of its own until all are there: what a kill costs at most, and what is in memory
BATCH_PIXELS = 64 * 224 * 224  # that a network for large images takes at once on a laptop
MIN_BATCH, MAX_BATCH = 8, 512
DIGITS = 16  # of a sha256 in a folder's name


@dataclass(frozen=True, kw_only=True)
class Features:
    """data/features/{train,test}.json: an array file of (num_images, width) float32; (0, 0) where there are none."""

    num_images: int
    width: int
    sha256: str  # of the array file
    weights_sha256: str = ""  # of the safetensors that they were computed with


class _Pooled(nn.Module):
    """A timm network up to its classifier."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, width)."""
        return features_before_classifier(self.network, images)


class _Plain:
    """Outputs that are no logits, for the shared loop and for the mean over views."""

    def probs(self, outputs: Tensor) -> Tensor:
        """As they are."""
        return outputs

    def mean(self, outputs: Tensor) -> Tensor:
        """(n, B, width) -> (B, width)."""
        return outputs.mean(dim=0)


def feature_network(name: str, options: dict[str, Any], weights: Path, card: WeightsCard, tta: str) -> nn.Module:
    """uint8 images (B, 3, H, W) -> features (B, width), the mean over the views that `tta` names."""
    network = create_model(name, num_classes=1, options=options)
    asked = inspect.signature(network.forward_head).parameters if hasattr(network, "forward_head") else ()  # type: ignore[arg-type]
    if "pre_logits" not in asked:
        raise ValueError(f"{name} does not give what it makes of an image before its classifier; take another network")
    load_backbone(network, weights, card)
    return predictor(Normalised(_Pooled(network), card.mean, card.std), _Plain(), tta)  # type: ignore[arg-type]


def embed_store(
    network: nn.Module, store: Tensor, out: Path, scratch: Path, *, compute: Compute, ingredients: dict[str, Any],
    title: str,
) -> int:  # fmt: skip
    """Write the features of every row of `store` (N, S, S, 3) uint8 to `out`, .npy (N, width) float32; gives the width.

    Pieces lie in `scratch` until all are there, under a name made of `ingredients` (what determines the features, as
    JSON, beside our code), so that a killed run goes on. Memory does not grow with N.
    """
    key = json.dumps(ingredients | {"code": code_fingerprint(), "torch": torch.__version__}, sort_keys=True)
    folder = scratch / hashlib.sha256(key.encode()).hexdigest()[:DIGITS]
    if scratch.is_dir():
        for other in scratch.iterdir():
            if other != folder:
                shutil.rmtree(other)
    network = on_device(network, compute.device)
    starts = range(0, len(store), PIECE_IMAGES)
    pieces = [folder / f"{start:09d}.npy" for start in starts]
    kept = sum(path.is_file() for path in pieces)
    if kept:
        console.say(f"{title}: {kept} of {len(pieces)} pieces are there from a run before")
    for number, (start, path) in enumerate(zip(starts, pieces, strict=True), start=1):
        if not path.is_file():
            rows = np.arange(start, min(start + PIECE_IMAGES, len(store)))
            named = f"{title} {number}/{len(pieces)}" if len(pieces) > 1 else title
            found = _of_rows(network, store, rows, compute, named)
            _refuse_overflow(found, rows, compute)
            with whole_file(path) as part, part.open("wb") as handle:
                np.save(handle, found)
    width = _joined(pieces, len(store), out)
    if scratch.is_dir():
        shutil.rmtree(scratch)
    return width


def _refuse_overflow(features: np.ndarray, rows: np.ndarray, compute: Compute) -> None:
    """Raise ValueError for NaN and inf, which a classifier fitted to them would hide until it predicts."""
    odd = rows[~np.isfinite(features).all(axis=1)]
    if len(odd):
        raise ValueError(
            f"the features of {len(odd)} of {len(rows)} images are NaN or inf, first of row {odd[0]}, in "
            f"{compute.dtype or torch.float32}; set compute.precision to fp32, or take other weights"
        )


def _of_rows(network: nn.Module, store: Tensor, rows: np.ndarray, compute: Compute, title: str) -> np.ndarray:
    size = store.shape[1]
    batch_size = min(max(BATCH_PIXELS // size**2, MIN_BATCH), MAX_BATCH)
    batches = Batches(store, rows, None, batch_size=batch_size, device=compute.device)
    outcome = run_model(
        network, batches, Mode.TEST, device=compute.device, dtype=compute.dtype,
        objective=_Plain(),  # type: ignore[arg-type]  # TEST asks for nothing else
        meter=EpochMeter(title),
    )  # fmt: skip
    assert outcome.probs is not None
    return outcome.probs.astype(np.float32, copy=False)


def _joined(pieces: list[Path], num_images: int, out: Path) -> int:
    width = np.load(pieces[0], mmap_mode="r", allow_pickle=False).shape[1] if pieces else 0
    with whole_file(out) as part, part.open("wb") as handle:
        np.lib.format.write_array_header_1_0(
            handle, {"descr": "<f4", "fortran_order": False, "shape": (num_images, width)}
        )
        for path in pieces:
            handle.write(np.load(path, allow_pickle=False).tobytes())
    return width


def write_features(out: Path, description: Path, num_images: int, width: int, weights_sha256: str) -> None:
    """Describe what `embed_store` wrote."""
    write_json(
        description,
        Features(num_images=num_images, width=width, sha256=sha256_of(out), weights_sha256=weights_sha256),
    )


def read_features(path: Path, description: Path, *, num_rows: int) -> tuple[np.ndarray, Features]:
    """(the features as a memory map (N, width) float32, their description). Raises ValueError for damage."""
    stage = f"embed_{path.stem}"
    with made_by(f"-s {stage}", path):
        try:
            described = Features(**read_json(description))
            found = np.load(path, mmap_mode="c", allow_pickle=False)  # as the store: torch warns of what is read-only
        except TypeError as error:
            raise ValueError(f"{description} is not of this version ({error})") from error
        except EOFError as error:  # numpy's for a file of nothing
            raise ValueError(f"{path} is empty") from error
        if found.shape != (described.num_images, described.width) or found.shape[0] != num_rows:
            raise ValueError(f"{path} holds {found.shape}, must be ({num_rows}, {described.width})")
    refuse_altered(path, described.sha256, stage=stage)
    return found, described


def features_of(
    store: Tensor, model: ModelCard, weights: Path, card: Path, scratch: Path, *, device: torch.device, precision: str
) -> np.ndarray:
    """(N, width) float32 of the images of `store`, as the fold of `model` was trained on; what embed_test would write.

    weights, card: of stage `weights`. Raises ValueError where they are not those that the fold was trained with.
    """
    described = read_card(card)
    if described.weights_sha256 != model.backbone_sha256:
        raise ValueError(f"{weights} are not the weights that fold {model.fold} was trained with; bundle again")
    network = feature_network(model.architecture, model.options, weights, described, model.tta)
    compute = compute_for(model.architecture, model.image_size, device=device, precision=precision, compiled=False)
    out = scratch / "features.npy"
    embed_store(network, store, out, scratch / "pieces", compute=compute, ingredients={}, title="features")
    return np.load(out, allow_pickle=False)
