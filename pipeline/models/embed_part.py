"""The features of the images of one store: what embed_train and embed_test share.

They are the mean over the views that `train.tta` names. Where nothing is frozen, an array of nothing is written.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pipeline.base import allocator, console
from pipeline.base.files import sha256_of, whole_file, write_json
from pipeline.base.params import ComputeParams, ModelParams, TrainParams, load_section
from pipeline.competition.store import read_description, read_store
from pipeline.models.weights_card import read_card


def run_part(stage: str, about: str | None, argv: Sequence[str] | None) -> None:
    """Command line of a stage that embeds the training or the test images; the paths come from dvc.yaml."""
    parser = argparse.ArgumentParser(prog=f"python -m pipeline.stages.{stage}", description=about)
    parser.add_argument("--params", type=Path, required=True, help="params.yaml (model, train.tta, compute)")
    parser.add_argument("--pretrained", type=Path, required=True, help="safetensors from weights")
    parser.add_argument("--pretrained-card", type=Path, required=True, help="JSON from weights")
    parser.add_argument("--images", type=Path, required=True, help=".npy from decode_train or decode_test")
    parser.add_argument("--description", type=Path, required=True, help="JSON from the same")
    parser.add_argument("--features", type=Path, required=True, help=".npy to write: (N, width) float32")
    parser.add_argument("--features-description", type=Path, required=True, help="JSON to write")
    parser.add_argument("--scratch", type=Path, required=True, help="folder for pieces; untracked, emptied on success")
    args = parser.parse_args(argv)
    model = load_section(args.params, "model", ModelParams)
    model.network_options  # noqa: B018  (raises for what does not go together)
    if model.frozen or model.head_first:
        _embed(args, model, load_section(args.params, "train", TrainParams).tta)
    else:
        _write_none(args)


def _write_none(args: argparse.Namespace) -> None:
    with whole_file(args.features) as part, part.open("wb") as handle:
        np.save(handle, np.zeros((0, 0), dtype=np.float32))
    found = {"num_images": 0, "width": 0, "sha256": sha256_of(args.features), "weights_sha256": ""}
    write_json(args.features_description, found)


def _embed(args: argparse.Namespace, model: ModelParams, tta: str) -> None:
    from pipeline.loop.batches import store_tensor
    from pipeline.loop.device import device_named
    from pipeline.models.features import embed_store, feature_network, write_features
    from pipeline.models.networks import compute_for, refuse_side

    allocator.keep_freed_memory()
    params = load_section(args.params, "compute", ComputeParams)
    stored, card = read_description(args.description), read_card(args.pretrained_card)
    store, _ = read_store(args.images, args.description, num_rows=stored.num_images, table=args.images)
    device = device_named(params.device)
    compute = compute_for(model.name, stored.size, device=device, precision=params.precision, compiled=params.compile)
    ingredients = {
        "images": stored.sha256, "architecture": model.name, "options": model.network_options,
        "weights": card.weights_sha256, "mean": card.mean, "std": card.std, "tta": tta, "device": device.type,
        "precision": str(compute.dtype),
    }  # fmt: skip
    network = feature_network(model.name, model.network_options, args.pretrained, card, tta)
    refuse_side(network, model.name, stored.size)
    part = args.features.stem
    width = embed_store(
        network, store_tensor(store, device), args.features, args.scratch / f"embed_{part}", compute=compute,
        ingredients=ingredients, title=f"features {part}",
    )  # fmt: skip
    write_features(args.features, args.features_description, stored.num_images, width, card.weights_sha256)
    console.say(f"{stored.num_images:,} {part} images, {width:,} features each")
