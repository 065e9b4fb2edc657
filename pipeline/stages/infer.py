"""Reads one fold's checkpoint and the test store. Writes a probability row for every test image, in order.

Classes, normalisation, image size and architecture come from model.json, as they were in training:
a later edit of params.yaml must not reinterpret old weights.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from pipeline.base import allocator, console

if __name__ == "__main__":
    allocator.restart()  # before torch is imported

import numpy as np

from pipeline.base.files import write_arrays
from pipeline.base.params import ComputeParams, InferParams, load_section
from pipeline.competition.schema import read_target, read_test_ids, read_unseen
from pipeline.competition.store import read_store
from pipeline.loop.batches import store_tensor
from pipeline.loop.device import device_named
from pipeline.models.checkpoint import read_checkpoint
from pipeline.models.features import read_features
from pipeline.models.networks import OnFeatures
from pipeline.models.prediction import predict_features, predict_store

NUM_SHOWN = 6  # classes in a message


def main(argv: Sequence[str] | None = None) -> None:
    """Command line of the stage; the paths come from dvc.yaml."""
    parser = argparse.ArgumentParser(prog="python -m pipeline.stages.infer", description=__doc__)
    parser.add_argument("--params", type=Path, required=True, help="params.yaml (sections compute, infer)")
    parser.add_argument("--target", type=Path, required=True, help="JSON from ingest")
    parser.add_argument("--test-table", type=Path, required=True, help="CSV of images to predict")
    parser.add_argument("--test-images", type=Path, required=True, help=".npy from decode_test")
    parser.add_argument("--description", type=Path, required=True, help="JSON from decode_test")
    parser.add_argument("--seen", type=Path, required=True, help="CSV from decode_test: what is not to be seen")
    parser.add_argument("--features", type=Path, required=True, help=".npy from embed_test")
    parser.add_argument("--features-description", type=Path, required=True, help="JSON from embed_test")
    parser.add_argument("--weights", type=Path, required=True, help="safetensors from train")
    parser.add_argument("--card", type=Path, required=True, help="model.json from train")
    parser.add_argument("--out", type=Path, required=True, help=".npz to write: image_ids, probs (N, C)")
    args = parser.parse_args(argv)
    params = load_section(args.params, "infer", InferParams)
    compute = params.compute(load_section(args.params, "compute", ComputeParams))
    allocator.keep_freed_memory()
    device = device_named(compute.device)

    target, image_ids = read_target(args.target), read_test_ids(args.test_table)
    store, stored = read_store(args.test_images, args.description, num_rows=len(image_ids), table=args.test_table)
    unseen = read_unseen(args.seen, len(image_ids), args.test_table)
    model, card = read_checkpoint(args.weights, args.card)
    asked = (target.kind, target.classes, stored.size)
    if (card.target_kind, card.classes, card.image_size) != asked:
        raise ValueError(
            f"{args.card} was trained on {_described(card.target_kind, card.classes, card.image_size)}; the "
            f"competition has {_described(*asked)}; run `dvc repro -f -s train@{card.fold}`"
        )
    if isinstance(model, OnFeatures):
        features, described = read_features(args.features, args.features_description, num_rows=len(image_ids))
        if (described.weights_sha256, described.width) != (card.backbone_sha256, card.features):
            raise ValueError(
                f"{args.features} was computed with other weights than {args.card} was trained on; run "
                f"`dvc repro -f -s embed_test`, then `dvc repro train@{card.fold}`"
            )
        probs, speed = predict_features(model, card, features, unseen), ""
    else:
        probs, outcome = predict_store(
            model, card, store_tensor(store, device), unseen, batch_size=params.batch_size, device=device,
            precision=compute.precision, compiled=compute.compile,
        )  # fmt: skip
        speed = f", {outcome.num_images / outcome.seconds:,.0f} images/s"
    write_arrays(args.out, {"image_ids": np.array(list(image_ids)), "probs": probs})
    console.say(f"fold {card.fold}: {len(probs):,} test images predicted{speed}")


def _described(kind: str, classes: Sequence[str], size: int) -> str:
    more = ", …" if len(classes) > NUM_SHOWN else ""
    names = ", ".join(map(repr, classes[:NUM_SHOWN]))
    return f"{len(classes)} classes ({names}{more}; {kind}) at {size} px"


if __name__ == "__main__":
    console.run(main)
