"""Reads labels, folds, the train store and the teacher's pseudo-labels. Trains one fold; writes its weights (of all its
networks), model card, out-of-fold probabilities, a history row an epoch, and metrics.

A fold that was killed goes on at its last saved step, and gives the same bytes.
"""

import argparse
import dataclasses
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

from pipeline.base import allocator, console

if __name__ == "__main__":
    allocator.restart()  # before torch is imported

from pipeline.base.files import sha256_of, write_arrays, write_json, write_table
from pipeline.competition.schema import read_target
from pipeline.competition.store import read_description
from pipeline.loop.memory import step_bytes
from pipeline.models.checkpoint import write_checkpoint
from pipeline.models.features import read_features
from pipeline.training.fold import EpochRecord
from pipeline.training.fold_files import add_arguments, files_of, read_recipe
from pipeline.training.fold_run import FoldRun, in_ranks, network_of, peers_of, run_fold


def device_bytes(argv: Sequence[str]) -> int:
    """About what the stage with these arguments keeps in a GPU's memory; CUDA's own part is left out."""
    args = _parsed(argv)
    recipe, stored = read_recipe(args.params, args.fold), read_description(args.description)
    if recipe.model.frozen:
        return read_features(args.features, args.features_description, num_rows=stored.num_images)[0].nbytes
    network = network_of(recipe.model, read_target(args.target))
    share = -(-recipe.train.batch_size // recipe.num_ranks)
    step = step_bytes(network, batch_size=share, size=stored.size)
    return step + stored.num_images * 3 * stored.size**2


def _parsed(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m pipeline.stages.train", description=__doc__)
    parser.add_argument(
        "--params", type=Path, required=True, help="params.yaml (model, augment, train, compute, folds)"
    )
    add_arguments(parser)
    parser.add_argument(
        "--pseudo", type=Path, required=True, help=".npz from teach: images that join the labelled ones"
    )
    parser.add_argument("--weights", type=Path, required=True, help="safetensors to write")
    parser.add_argument("--card", type=Path, required=True, help="model.json to write")
    parser.add_argument("--oof", type=Path, required=True, help=".npz to write: image_ids, probs (N, C)")
    parser.add_argument("--history", type=Path, required=True, help="CSV to write: a row an epoch")
    parser.add_argument("--metrics", type=Path, required=True, help="JSON to write")
    parser.add_argument("--seconds", type=Path, required=True, help="JSON to write: how long it took; untracked")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Command line of the stage; the paths come from dvc.yaml."""
    args, started = _parsed(argv), time.perf_counter()
    recipe = read_recipe(args.params, args.fold)
    if in_ranks(recipe, "pipeline.stages.train", argv, fold=args.fold):
        return
    allocator.keep_freed_memory()
    with peers_of(recipe) as peers:
        run = run_fold(args.fold, recipe, files_of(args), scratch=args.scratch, pseudo=args.pseudo, peers=peers)
    if peers is not None and not peers.first:
        return
    _write(args, run)
    write_json(args.seconds, {"seconds": round(time.perf_counter() - started, 1), "oof_sha256": sha256_of(args.oof)})
    run.checkpoints.clear()


def _write(args: argparse.Namespace, run: FoldRun) -> None:
    trained, held_out = run.trained, run.trained.held_out
    assert held_out.probs is not None
    write_checkpoint(trained.model, run.card, args.weights, args.card)
    write_arrays(args.oof, {"image_ids": run.held_out_ids, "probs": held_out.probs})
    columns = [item.name for item in dataclasses.fields(EpochRecord)]
    write_table(args.history, columns, map(dataclasses.astuple, trained.history))
    last = [record for record in trained.history if record.epoch == trained.history[-1].epoch]  # of each network
    write_json(
        args.metrics,
        {
            "train_loss": statistics.fmean(record.train_loss for record in last),
            "train_accuracy": statistics.fmean(record.train_accuracy for record in last),
            "valid_loss": held_out.loss,
            "valid_accuracy": held_out.accuracy,
        },
    )
    console.say(f"fold {args.fold}: {held_out.num_images:,} images held out, accuracy {held_out.accuracy:.4f}")


if __name__ == "__main__":
    console.run(main)
