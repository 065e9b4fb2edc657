"""Reads labels, folds and the train store. Trains one fold; writes its weights, model card, out-of-fold
probabilities, a history row an epoch, and metrics.

A fold that was killed goes on at its last saved step, and gives the same bytes.
"""

import argparse
import dataclasses
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.base import allocator, console

if __name__ == "__main__":
    allocator.restart()  # before torch is imported

import numpy as np
import torch
from torch import nn

from pipeline.base.files import (
    code_fingerprint,
    made_by,
    sha256_of,
    write_arrays,
    write_json,
    write_table,
)
from pipeline.base.params import (
    AugmentParams,
    ComputeParams,
    ModelParams,
    TrainParams,
    load_folds,
    load_section,
    load_train,
)
from pipeline.base.texts import Texts
from pipeline.competition.schema import (
    Target,
    read_corrections,
    read_folds,
    read_target,
    read_train_labels,
    target_array,
)
from pipeline.competition.store import read_description, read_store
from pipeline.loop.batches import channel_statistics, store_tensor
from pipeline.loop.device import device_named
from pipeline.loop.epoch_meter import Outcome
from pipeline.loop.memory import out_of_memory_said, step_bytes
from pipeline.loop.objective import num_outputs
from pipeline.loop.streams import seed_torch
from pipeline.models.checkpoint import ModelCard, write_checkpoint
from pipeline.models.networks import (
    Normalised,
    compute_for,
    create_model,
    pretrained_constants,
    whiten_first_layer,
)
from pipeline.training.fold import EpochRecord, FoldData, TrainedFold, train_fold
from pipeline.training.resume import ResumeCheckpoints


def device_bytes(argv: Sequence[str]) -> int:
    """About what the stage with these arguments keeps in a GPU's memory; CUDA's own part is left out."""
    args = _parsed(argv)
    recipe, stored = _read_recipe(args.params, args.fold), read_description(args.description)
    network = _network(recipe.model, read_target(args.target), pretrained=False)
    step = step_bytes(network, batch_size=recipe.train.batch_size, size=stored.size)
    return step + stored.num_images * 3 * stored.size**2


def _parsed(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m pipeline.stages.train", description=__doc__)
    parser.add_argument("--fold", required=True, help="the fold to hold out, as params.yaml names it")
    parser.add_argument(
        "--params", type=Path, required=True, help="params.yaml (model, augment, train, compute, folds)"
    )
    parser.add_argument("--target", type=Path, required=True, help="JSON from ingest")
    parser.add_argument("--train-table", type=Path, required=True, help="CSV of labelled images")
    parser.add_argument(
        "--corrections", type=Path, required=True, help="CSV from ingest: labels corrected for training"
    )
    parser.add_argument("--folds", type=Path, required=True, help="CSV from split")
    parser.add_argument("--train-images", type=Path, required=True, help=".npy from decode_train")
    parser.add_argument("--description", type=Path, required=True, help="JSON from decode_train")
    parser.add_argument("--weights", type=Path, required=True, help="safetensors to write")
    parser.add_argument("--card", type=Path, required=True, help="model.json to write")
    parser.add_argument("--oof", type=Path, required=True, help=".npz to write: image_ids, probs (N, C)")
    parser.add_argument("--history", type=Path, required=True, help="CSV to write: a row an epoch")
    parser.add_argument("--metrics", type=Path, required=True, help="JSON to write")
    parser.add_argument("--seconds", type=Path, required=True, help="JSON to write: how long it took; untracked")
    parser.add_argument(
        "--scratch", type=Path, required=True, help="folder for states to resume from; untracked, emptied on success"
    )
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Command line of the stage; the paths come from dvc.yaml."""
    args, started = _parsed(argv), time.perf_counter()
    recipe = _read_recipe(args.params, args.fold)
    allocator.keep_freed_memory()
    device = device_named(recipe.compute.device)
    target = read_target(args.target)
    image_ids, labels = read_train_labels(args.train_table)
    with made_by("ingest", args.train_table):
        targets = target_array(labels, target)
    train_rows, valid_rows = _split_rows(args.folds, image_ids, args.train_table, args.fold)
    train_rows = _correct(targets, train_rows, read_corrections(args.corrections, image_ids, labels), target, args.fold)
    held_out_ids = np.array(list(image_ids.take(valid_rows)))
    store, stored = read_store(args.train_images, args.description, num_rows=len(image_ids), table=args.train_table)
    del image_ids, labels  # of a million images they are most of what this process would hold
    images = _images_of_classes(targets[train_rows], len(target.classes))
    _check_classes(images, len(train_rows), target, args.fold)

    model = _create(recipe, args.fold, target, store, train_rows)
    compute = compute_for(
        recipe.model.name, stored.size, device=device, precision=recipe.compute.precision,
        compiled=recipe.compute.compile,
    )  # fmt: skip
    ingredients: dict[str, Any] = {  # what determines the result beside code and versions; the card repeats it
        "params": dataclasses.asdict(recipe),
        "data_fingerprint": sha256_of(args.target, args.train_table, args.corrections, args.folds, args.description),
        "device": device.type,
        "precision": "fp32" if compute.dtype is None else str(compute.dtype).removeprefix("torch."),
    }
    checkpoints = ResumeCheckpoints(args.scratch, args.fold, ingredients)
    with out_of_memory_said(f"fold {args.fold}"):
        data = FoldData(
            fold=args.fold, store=store_tensor(store, device), train_rows=train_rows, valid_rows=valid_rows,
            targets=targets, target_kind=target.kind, num_classes=len(target.classes),
        )  # fmt: skip
        trained = train_fold(
            model, data, train=recipe.train, augment=recipe.augment, compute=compute, report=_say_epoch,
            checkpoints=checkpoints,
        )  # fmt: skip
    card = _card(args.fold, recipe, target, stored.size, model, images / len(train_rows), ingredients)
    _write(args, card, trained, held_out_ids)
    write_json(args.seconds, {"seconds": round(time.perf_counter() - started, 1), "oof_sha256": sha256_of(args.oof)})
    checkpoints.clear()


@dataclass(frozen=True, kw_only=True)
class _Recipe:
    """The sections of params.yaml that make a fold."""

    model: ModelParams
    augment: AugmentParams
    compute: ComputeParams
    train: TrainParams  # the fold's own overrides applied


def _read_recipe(params: Path, fold: str) -> _Recipe:
    folds = load_folds(params)
    if fold not in folds:
        raise ValueError(f"--fold is {fold}; {params} names the folds {', '.join(folds)}")
    return _Recipe(
        model=load_section(params, "model", ModelParams),
        augment=load_section(params, "augment", AugmentParams),
        compute=load_section(params, "compute", ComputeParams),
        train=load_train(params, fold),
    )


def _split_rows(folds: Path, image_ids: Texts, table: Path, fold: str) -> tuple[np.ndarray, np.ndarray]:
    """(rows to train on, rows held out), looked up in the table that split wrote."""
    fold_of_row = read_folds(folds, image_ids, table)
    held_out = fold_of_row.where(fold)
    if not held_out.any():
        raise ValueError(
            f"{folds} has no image of fold {fold}, only of {list(fold_of_row.distinct())}; run `dvc repro -f split`"
        )
    return np.flatnonzero(~held_out & ~fold_of_row.where("")), np.flatnonzero(held_out)


def _correct(
    targets: np.ndarray, train_rows: np.ndarray, corrections: Mapping[int, str], target: Target, fold: str
) -> np.ndarray:
    """Write corrected labels into the rows of `targets` that are trained on; the rows to train on less those left out.

    Rows that are held out, or in no fold, keep the organiser's label whatever the user's file says.
    """
    learnt = {row: corrections[row] for row in train_rows.tolist() if row in corrections} if corrections else {}
    relabelled = {row: cell for row, cell in learnt.items() if cell}
    if relabelled:
        targets[list(relabelled)] = target_array(list(relabelled.values()), target)
    if learnt:
        console.say(
            f"fold {fold}: {len(relabelled):,} labels corrected and {len(learnt) - len(relabelled):,} images left out "
            "in training; what it holds out keeps the organiser's labels"
        )
    return train_rows[~np.isin(train_rows, [row for row, cell in learnt.items() if not cell])]


def _images_of_classes(targets: np.ndarray, num_classes: int) -> np.ndarray:
    """(C,) images that have each class; targets as `target_array` gives them."""
    return targets.sum(axis=0) if targets.ndim == 2 else np.bincount(targets, minlength=num_classes)


def _check_classes(images: np.ndarray, num_images: int, target: Target, fold: str) -> None:
    """Say which classes a fold cannot learn. Raises ValueError where there is nothing to learn at all."""
    absent = [label for label, count in zip(target.classes, images.tolist(), strict=True) if count == 0]
    if num_images < 2 or (target.exclusive and len(target.classes) - len(absent) < 2):
        raise ValueError(
            f"fold {fold} would train on {num_images} images of {len(target.classes) - len(absent)} of "
            f"{len(target.classes)} classes: there is nothing to tell apart. Take folds out of params.yaml, or let "
            "split deal them otherwise (split.group, split.time, split.fold_column)"
        )
    if absent:
        console.say(
            f"warning: fold {fold} has no image to learn {len(absent)} of {len(target.classes)} classes from, "
            f"first {absent[:3]}: it will hardly ever predict them"
        )


def _create(recipe: _Recipe, fold: str, target: Target, store: np.ndarray, train_rows: np.ndarray) -> Normalised:
    """The model with its first weights; it normalises as its pretrained weights expect, else by the images."""
    seed_torch("first weights", recipe.train.seed, int(fold))
    network = _network(recipe.model, target, pretrained=recipe.model.pretrained)
    constants = pretrained_constants(network) if recipe.model.pretrained else channel_statistics(store, train_rows)
    model = Normalised(network, *constants)
    whiten_first_layer(model, store, train_rows)
    return model


def _network(params: ModelParams, target: Target, *, pretrained: bool) -> nn.Module:
    outputs = num_outputs(target.kind, len(target.classes))
    return create_model(params.name, num_classes=outputs, pretrained=pretrained, options=params.network_options)


def _card(
    fold: str, recipe: _Recipe, target: Target, size: int, model: Normalised, prior: np.ndarray,
    ingredients: dict[str, Any],
) -> ModelCard:  # fmt: skip
    return ModelCard(
        fold=fold,
        architecture=recipe.model.name,
        options=recipe.model.network_options,
        target_kind=target.kind,
        classes=target.classes,
        image_size=size,
        mean=model.mean,
        std=model.std,
        prior=tuple(prior.tolist()),
        tta=recipe.train.tta,
        loss=recipe.train.loss,
        code_fingerprint=code_fingerprint(),
        torch_version=torch.__version__,
        threads=torch.get_num_threads(),
        **ingredients,
    )


def _say_epoch(record: EpochRecord, trained: Outcome) -> None:
    valid = ""
    if record.valid_accuracy is not None:
        valid = f", valid_loss {record.valid_loss:.4f}, valid_accuracy {record.valid_accuracy:.4f}"
    console.say(
        f"fold {record.fold} epoch {record.epoch}: train_loss {record.train_loss:.4f}, "
        f"train_accuracy {record.train_accuracy:.4f}{valid}, {trained.num_images / trained.seconds:,.0f} images/s"
    )


def _write(args: argparse.Namespace, card: ModelCard, trained: TrainedFold, image_ids: np.ndarray) -> None:
    held_out = trained.held_out
    assert held_out.probs is not None
    write_checkpoint(trained.model, card, args.weights, args.card)
    write_arrays(args.oof, {"image_ids": image_ids, "probs": held_out.probs})
    columns = [item.name for item in dataclasses.fields(EpochRecord)]
    write_table(args.history, columns, map(dataclasses.astuple, trained.history))
    last = trained.history[-1]
    write_json(
        args.metrics,
        {
            "train_loss": last.train_loss,
            "train_accuracy": last.train_accuracy,
            "valid_loss": held_out.loss,
            "valid_accuracy": held_out.accuracy,
        },
    )
    console.say(f"fold {args.fold}: {held_out.num_images:,} images held out, accuracy {held_out.accuracy:.4f}")


if __name__ == "__main__":
    console.run(main)
