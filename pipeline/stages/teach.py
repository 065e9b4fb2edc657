"""Reads what train reads, and the test store. Trains the fold's teacher, as train would train the fold; writes the test
images that it is sure of, with its probabilities. With pseudo.confidence 0 it writes an empty file at once.

The teacher never saw a label of the images that its fold holds out. The other folds' models did, all of them, and where
a test image is like one of these images, their answers would carry its label into the fold.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.base import allocator, console

if __name__ == "__main__":
    allocator.restart()  # before torch is imported

import numpy as np

from pipeline.base.files import write_arrays
from pipeline.base.params import PseudoParams, TrainParams, load_section
from pipeline.competition.schema import read_test_ids, read_unseen
from pipeline.competition.store import read_store
from pipeline.training.fold_files import Recipe, add_arguments, files_of, read_recipe

if TYPE_CHECKING:
    from pipeline.training.fold_run import FoldRun

# whatever the images' size and classes, so that train is not stale by it
NONE: dict[str, np.ndarray] = {"images": np.zeros((0, 1, 1, 3), np.uint8), "targets": np.zeros((0, 0), np.float32)}


def main(argv: Sequence[str] | None = None) -> None:
    """Command line of the stage; the paths come from dvc.yaml."""
    parser = argparse.ArgumentParser(prog="python -m pipeline.stages.teach", description=__doc__)
    parser.add_argument(
        "--params", type=Path, required=True, help="params.yaml (model, augment, train, pseudo, compute, folds)"
    )
    add_arguments(parser)
    parser.add_argument("--test-table", type=Path, required=True, help="CSV of images to predict")
    parser.add_argument("--test-images", type=Path, required=True, help=".npy from decode_test")
    parser.add_argument("--test-description", type=Path, required=True, help="JSON from decode_test")
    parser.add_argument("--seen", type=Path, required=True, help="CSV from decode_test: what is not to be seen")
    parser.add_argument("--out", type=Path, required=True, help=".npz to write: images (M, S, S, 3), targets (M, C)")
    args = parser.parse_args(argv)
    confidence = load_section(args.params, "pseudo", PseudoParams).confidence
    if not confidence:
        write_arrays(args.out, NONE)
        console.say(f"fold {args.fold}: no teacher (pseudo.confidence is 0)")
        return
    recipe = read_recipe(args.params, args.fold)
    _refuse_counts(recipe.train)
    if recipe.model.frozen:
        raise ValueError(
            "model.frozen is true and pseudo.confidence is not 0: pseudo-labels are for networks that are trained; set "
            "pseudo.confidence to 0"
        )
    allocator.keep_freed_memory()
    image_ids = read_test_ids(args.test_table)
    unseen = read_unseen(args.seen, len(image_ids), args.test_table)
    store, _ = read_store(args.test_images, args.test_description, num_rows=len(image_ids), table=args.test_table)
    from pipeline.training.fold_run import in_ranks, peers_of, run_fold  # torch, which takes seconds to import

    if in_ranks(recipe, "pipeline.stages.teach", argv, fold=args.fold):
        return
    with peers_of(recipe) as peers:
        run = run_fold(args.fold, recipe, files_of(args), scratch=args.scratch, peers=peers)
    if peers is not None and not peers.first:
        return
    probs = _predicted(run, recipe, store, unseen)
    sure = ~unseen & (sureness(probs, several=run.card.target_kind == "multi_label") >= confidence)
    write_arrays(args.out, {"images": store[sure], "targets": probs[sure]} if sure.any() else NONE)
    run.checkpoints.clear()
    found = f"fold {args.fold}: its teacher is sure of {sure.sum():,} of {len(probs):,} test images"
    console.say(found if sure.any() else f"warning: {found}; lower pseudo.confidence ({confidence:g})")


def _predicted(run: "FoldRun", recipe: Recipe, store: np.ndarray, unseen: np.ndarray) -> np.ndarray:
    """(N, C) float32 of every test image, as `infer` would predict it."""
    from pipeline.loop.batches import store_tensor
    from pipeline.loop.device import device_named
    from pipeline.models.networks import Normalised
    from pipeline.models.prediction import predict_store

    device, network = device_named(recipe.compute.device), run.trained.model
    assert isinstance(network, Normalised)  # none that is frozen comes here
    probs, _ = predict_store(
        network, run.card, store_tensor(store, device), unseen, batch_size=2 * recipe.train.batch_size,
        device=device, precision=recipe.compute.precision, compiled=recipe.compute.compile,
    )  # fmt: skip
    return probs


def sureness(probs: np.ndarray, *, several: bool) -> np.ndarray:
    """(N,) of probs (N, C): the highest; of several labels that of the label that is the least sure, there or not."""
    return np.maximum(probs, 1.0 - probs).min(axis=1) if several else probs.max(axis=1)


def _refuse_counts(train: TrainParams) -> None:
    """Raise ValueError for what counts the images of each class: a soft label has no class to be counted by."""
    for key in ("class_weights", "sampling"):
        if getattr(train, key) != "none":
            raise ValueError(
                f"train.{key} is {getattr(train, key)} and pseudo.confidence is not 0: pseudo-labels are shares of the "
                f"classes, which {key} cannot count; set one of the two to none, or 0"
            )


if __name__ == "__main__":
    console.run(main)
