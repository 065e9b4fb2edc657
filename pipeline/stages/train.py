"""Reads labels, folds and the train store. Trains one fold; writes its weights (of all its networks), model
card, out-of-fold probabilities, a history row an epoch, and metrics.

A fold that was killed goes on at its last saved step, and gives the same bytes.
"""

import argparse
import dataclasses
import functools
import statistics
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
from pipeline.models.features import read_features
from pipeline.models.networks import (
    Normalised,
    OnFeatures,
    begin_with_head,
    compute_for,
    create_model,
    keep_statistics,
    whiten_first_layer,
)
from pipeline.models.pretrained import load_backbone
from pipeline.models.weights_card import NONE, WeightsCard, read_card
from pipeline.training.fold import EpochRecord, FoldData, TrainedFold, train_networks
from pipeline.training.linear_head import fold_head, trained_head
from pipeline.training.resume import ResumeCheckpoints, network_title


def device_bytes(argv: Sequence[str]) -> int:
    """About what the stage with these arguments keeps in a GPU's memory; CUDA's own part is left out."""
    args = _parsed(argv)
    recipe, stored = _read_recipe(args.params, args.fold), read_description(args.description)
    if recipe.model.frozen:
        return read_features(args.features, args.features_description, num_rows=stored.num_images)[0].nbytes
    network = _network(recipe.model, read_target(args.target))
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
    parser.add_argument("--pretrained", type=Path, required=True, help="safetensors from weights")
    parser.add_argument("--pretrained-card", type=Path, required=True, help="JSON from weights")
    parser.add_argument("--features", type=Path, required=True, help=".npy from embed_train")
    parser.add_argument("--features-description", type=Path, required=True, help="JSON from embed_train")
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
    fold_of_row = read_folds(args.folds, image_ids, args.train_table)
    train_rows, valid_rows = _split_rows(fold_of_row, args.folds, args.fold)
    train_rows = _correct(targets, train_rows, read_corrections(args.corrections, image_ids, labels), target, args.fold)
    held_out_ids = np.array(list(image_ids.take(valid_rows)))
    store, stored = read_store(args.train_images, args.description, num_rows=len(image_ids), table=args.train_table)
    del image_ids, labels  # of a million images they are most of what this process would hold
    images = _images_of_classes(targets[train_rows], len(target.classes))
    _check_classes(images, len(train_rows), target, args.fold)

    shared = load_section(args.params, "train", TrainParams).tta
    if recipe.model.frozen and recipe.train.tta != shared:
        raise ValueError(
            f"folds.{args.fold}.tta is {recipe.train.tta}, train.tta {shared}: frozen features are the mean over its views, "
            "computed once for all folds; take it out of the fold"
        )
    pretrained = read_card(args.pretrained_card)
    features, described = read_features(
        args.features,
        args.features_description,
        num_rows=len(store) if recipe.model.frozen or recipe.model.head_first else 0,
    )
    compute = compute_for(
        recipe.model.name, stored.size, device=device, precision=recipe.compute.precision,
        compiled=recipe.compute.compile,
    )  # fmt: skip
    ingredients: dict[str, Any] = {  # what determines the result beside code and versions; the card repeats it
        "params": dataclasses.asdict(recipe),
        "data_fingerprint": sha256_of(
            args.target,
            args.train_table,
            args.corrections,
            args.folds,
            args.description,
            args.pretrained_card,
            args.features_description,
        ),
        "device": device.type,
        "precision": "fp32" if compute.dtype is None else str(compute.dtype).removeprefix("torch."),
    }
    checkpoints = ResumeCheckpoints(args.scratch, args.fold, ingredients)
    if recipe.train.freeze_norms and pretrained.source == NONE:
        raise ValueError(
            "train.freeze_norms is true, but model.weights is none: there are no statistics to keep; set it to false"
        )
    with out_of_memory_said(f"fold {args.fold}"):
        data = FoldData(
            fold=args.fold, store=store_tensor(store, device), train_rows=train_rows, valid_rows=valid_rows,
            targets=targets, target_kind=target.kind, num_classes=len(target.classes),
        )  # fmt: skip
        head = None
        if len(features):
            head = fold_head(data, features, np.array(list(fold_of_row)), train=recipe.train, device=device)
        if head is not None and recipe.model.frozen:
            on_features = OnFeatures(head, pretrained.mean, pretrained.std)
            trained = trained_head(on_features, data, features, train=recipe.train, device=device)
        else:
            trained = train_networks(
                lambda seed: _create(
                    recipe, args.fold, seed, target, store, train_rows, (args.pretrained, pretrained), head
                ),
                data, train=recipe.train, augment=recipe.augment, compute=compute,
                report=functools.partial(_say_epoch, recipe.train.seeds), checkpoints=checkpoints,
            )  # fmt: skip
    kind: dict[str, Any] = {"networks": recipe.train.seeds}
    if recipe.model.frozen:
        kind = {"features": described.width, "backbone_sha256": described.weights_sha256}
    card = _card(args.fold, recipe, target, stored.size, trained.model, images / len(train_rows), ingredients | kind)
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


def _split_rows(fold_of_row: Texts, folds: Path, fold: str) -> tuple[np.ndarray, np.ndarray]:
    """(rows to train on, rows held out) of the table at `folds`."""
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


def _create(
    recipe: _Recipe, fold: str, seed: int, target: Target, store: np.ndarray, train_rows: np.ndarray,
    pretrained: tuple[Path, WeightsCard], head: nn.Linear | None,
) -> Normalised:  # fmt: skip
    """The model with its first weights; it normalises as its pretrained weights expect, else by the images."""
    seed_torch("first weights", seed, int(fold))
    network = _network(recipe.model, target)
    weights, card = pretrained
    if card.source == NONE:
        model = Normalised(network, *channel_statistics(store, train_rows))
        whiten_first_layer(model, store, train_rows)
        return model
    load_backbone(network, weights, card)
    if head is not None:
        begin_with_head(network, head)
    if recipe.train.freeze_norms:
        keep_statistics(network)
    return Normalised(network, card.mean, card.std)


def _network(params: ModelParams, target: Target) -> nn.Module:
    outputs = num_outputs(target.kind, len(target.classes))
    network = create_model(params.name, num_classes=outputs, options=params.network_options)
    if params.checkpointing:
        network.set_grad_checkpointing(True)  # type: ignore[operator]  # timm's
    return network


def _card(
    fold: str, recipe: _Recipe, target: Target, size: int, model: Normalised | OnFeatures, prior: np.ndarray,
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


def _say_epoch(networks: int, record: EpochRecord, trained: Outcome) -> None:
    valid = ""
    if record.valid_accuracy is not None:
        valid = f", valid_loss {record.valid_loss:.4f}, valid_accuracy {record.valid_accuracy:.4f}"
    title = network_title(record.fold, record.network, networks)
    console.say(
        f"{title} epoch {record.epoch}: train_loss {record.train_loss:.4f}, "
        f"train_accuracy {record.train_accuracy:.4f}{valid}, {trained.num_images / trained.seconds:,.0f} images/s"
    )


def _write(args: argparse.Namespace, card: ModelCard, trained: TrainedFold, image_ids: np.ndarray) -> None:
    held_out = trained.held_out
    assert held_out.probs is not None
    write_checkpoint(trained.model, card, args.weights, args.card)
    write_arrays(args.oof, {"image_ids": image_ids, "probs": held_out.probs})
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
