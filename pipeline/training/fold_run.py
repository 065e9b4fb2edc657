"""A fold from the files that stages hand over to its networks: what `train` and `teach` do alike."""

import contextlib
import dataclasses
import functools
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from pipeline.base import console
from pipeline.base.files import code_fingerprint, made_by, read_arrays, sha256_of
from pipeline.base.params import ModelParams
from pipeline.base.texts import Texts
from pipeline.competition.schema import (
    Target,
    read_corrections,
    read_folds,
    read_target,
    read_train_labels,
    target_array,
)
from pipeline.competition.store import read_store
from pipeline.loop.batches import channel_statistics, store_tensor
from pipeline.loop.device import device_named
from pipeline.loop.epoch_meter import Outcome
from pipeline.loop.memory import out_of_memory_said
from pipeline.loop.objective import num_outputs
from pipeline.loop.streams import seed_torch
from pipeline.models.checkpoint import ModelCard
from pipeline.models.features import read_features
from pipeline.models.networks import (
    Normalised,
    OnFeatures,
    begin_with_head,
    compute_for,
    create_model,
    keep_statistics,
    refuse_side,
    whiten_first_layer,
)
from pipeline.models.pretrained import load_backbone
from pipeline.models.weights_card import NONE, WeightsCard, read_card
from pipeline.training.fold import EpochRecord, FoldData, TrainedFold, train_networks
from pipeline.training.fold_files import FoldFiles, Recipe
from pipeline.training.linear_head import fold_head, trained_head
from pipeline.training.resume import ResumeCheckpoints, network_title

if TYPE_CHECKING:
    from pipeline.training.peers import Peers


@dataclass(frozen=True, kw_only=True)
class FoldRun:
    """A fold that was trained."""

    trained: TrainedFold
    card: ModelCard
    held_out_ids: np.ndarray  # (n,) text
    checkpoints: ResumeCheckpoints  # to be cleared once the results are written


def network_of(params: ModelParams, target: Target) -> nn.Module:
    """A network for this target, its weights as torch's generator gives them."""
    outputs = num_outputs(target.kind, len(target.classes))
    network = create_model(params.name, num_classes=outputs, options=params.network_options)
    if params.checkpointing:
        try:
            network.set_grad_checkpointing(True)  # type: ignore[operator]  # timm's
        except (AttributeError, AssertionError) as error:
            raise ValueError(
                f"model.checkpointing is true, which {params.name} does not have; set it to false"
            ) from error
    return network


def in_ranks(recipe: Recipe, module: str, argv: Sequence[str] | None, *, fold: str) -> bool:
    """Whether ranks that this process started have done the stage; else it has to, alone or as one of them.

    module, argv: of the stage's command. Raises ValueError and SystemExit where they could not.
    """
    if recipe.num_ranks == 1:
        return False
    from pipeline.training.launch import is_rank, run_ranks

    if is_rank():
        return False
    given = sys.argv[1:] if argv is None else argv
    run_ranks(module, given, recipe.num_ranks, title=f"fold {fold}", threads=torch.get_num_threads())
    return True


@contextlib.contextmanager
def peers_of(recipe: Recipe) -> Iterator["Peers | None"]:
    """The ranks of which this process is one; None where the fold trains in one process."""
    if recipe.num_ranks == 1:
        yield None
        return
    from pipeline.training.peers import peers  # what one process does not need is not imported

    with peers(recipe.num_ranks, recipe.compute.device) as found:
        yield found


def run_fold(
    fold: str, recipe: Recipe, files: FoldFiles, *, scratch: Path, pseudo: Path | None = None,
    peers: "Peers | None" = None,
) -> FoldRun:  # fmt: skip
    """Train the fold's networks on all labelled images but those it holds out.

    pseudo: of `teach`: images that join them, with soft targets. First weights, normalisation, whitening and the card's
    shares of the classes are those of the labelled images alone. peers: as of `train_networks`. Raises ValueError where
    there is nothing to learn.
    """
    device = device_named(recipe.compute.device) if peers is None else peers.device
    target = read_target(files.target)
    image_ids, labels = read_train_labels(files.train_table)
    with made_by("ingest", files.train_table):
        targets = target_array(labels, target)
    fold_of_row = read_folds(files.folds, image_ids, files.train_table)
    train_rows, valid_rows = _split_rows(fold_of_row, files.folds, fold)
    train_rows = _correct(targets, train_rows, read_corrections(files.corrections, image_ids, labels), target, fold)
    held_out_ids = np.array(list(image_ids.take(valid_rows)))
    store, stored = read_store(files.train_images, files.description, num_rows=len(image_ids), table=files.train_table)
    del image_ids, labels  # of a million images they are most of what this process would hold
    images = _images_of_classes(targets[train_rows], len(target.classes))
    _check_classes(images, len(train_rows), target, fold)
    pretrained = read_card(files.pretrained_card)
    features, described = read_features(
        files.features, files.features_description,
        num_rows=len(store) if recipe.model.frozen or recipe.model.head_first else 0,
    )  # fmt: skip
    if len(features) and described.weights_sha256 != pretrained.weights_sha256:
        raise ValueError(
            f"{files.features} was computed with other weights than {files.pretrained} holds; run `dvc repro -f -s "
            "embed_train`"
        )
    compute = compute_for(
        recipe.model.name, stored.size, device=device, precision=recipe.compute.precision,
        compiled=recipe.compute.compile,
    )  # fmt: skip
    ingredients: dict[str, Any] = {  # what determines the result beside code and versions; the card repeats it
        "params": dataclasses.asdict(recipe),
        "data_fingerprint": sha256_of(
            files.target, files.train_table, files.corrections, files.folds, files.description
        ),
        "pretrained_fingerprint": sha256_of(files.pretrained_card, files.features_description),
        "device": device.type,
        "ranks": recipe.num_ranks,
        "precision": "fp32" if compute.dtype is None else str(compute.dtype).removeprefix("torch."),
    }
    all_images, all_targets, all_rows = store, targets, train_rows
    if pseudo is not None:
        all_images, all_targets, all_rows = _joined(store, targets, train_rows, pseudo, target, fold)
        if len(all_rows) > len(train_rows):
            ingredients |= {"num_pseudo": len(all_rows) - len(train_rows), "pseudo_fingerprint": sha256_of(pseudo)}
    checkpoints = ResumeCheckpoints(scratch, fold, ingredients)
    with out_of_memory_said(f"fold {fold}"):
        data = FoldData(
            fold=fold, store=store_tensor(all_images, device), train_rows=all_rows, valid_rows=valid_rows,
            targets=all_targets, target_kind=target.kind, num_classes=len(target.classes),
        )  # fmt: skip
        head = None
        if len(features):
            labelled = dataclasses.replace(data, train_rows=train_rows, targets=targets)
            head = fold_head(labelled, features, np.array(list(fold_of_row)), train=recipe.train, device=device)
        if head is not None and recipe.model.frozen:
            on_features = OnFeatures(head, pretrained.mean, pretrained.std)
            trained = trained_head(on_features, labelled, features, train=recipe.train, device=device)
        else:
            trained = train_networks(
                lambda seed: _create(
                    recipe, fold, seed, target, store, train_rows, (files.pretrained, pretrained), head
                ),
                data, train=recipe.train, augment=recipe.augment, compute=compute,
                report=functools.partial(_say_epoch, recipe.train.seeds), checkpoints=checkpoints, peers=peers,
            )  # fmt: skip
    kind: dict[str, Any] = {"networks": recipe.train.seeds}
    if recipe.model.frozen:
        kind = {"features": described.width, "backbone_sha256": described.weights_sha256}
    card = _card(fold, recipe, target, stored.size, trained.model, images / len(train_rows), ingredients | kind)
    return FoldRun(trained=trained, card=card, held_out_ids=held_out_ids, checkpoints=checkpoints)


def _joined(
    store: np.ndarray, targets: np.ndarray, train_rows: np.ndarray, pseudo: Path, target: Target, fold: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(store, targets, rows to train on) with the pseudo-labelled images behind the others; as they are without any.

    Targets become shares of the classes, (N + M, C) float32. The joined store lies in memory.
    """
    with made_by(f"-s teach@{fold}", pseudo):
        found = read_arrays(pseudo, ("images", "targets"))
        images, soft = found["images"], found["targets"]
        if not len(images):
            return store, targets, train_rows
        shapes = (len(images), *store.shape[1:]), (len(images), len(target.classes))
        if (images.shape, soft.shape) != shapes or images.dtype != np.uint8 or not np.isfinite(soft).all():
            raise ValueError(f"{pseudo} holds {images.dtype} {images.shape} and {soft.shape}; must be uint8 {shapes}")
    hard = targets if targets.ndim == 2 else np.eye(len(target.classes), dtype=np.float32)[targets]
    console.say(f"fold {fold}: {len(images):,} pseudo-labelled test images join {len(train_rows):,} labelled ones")
    rows = np.concatenate([train_rows, len(store) + np.arange(len(images))])
    return np.concatenate([store, images]), np.concatenate([hard, soft.astype(np.float32)]), rows


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
    recipe: Recipe, fold: str, seed: int, target: Target, store: np.ndarray, train_rows: np.ndarray,
    pretrained: tuple[Path, WeightsCard], head: nn.Linear | None,
) -> Normalised:  # fmt: skip
    """The model with its first weights; it normalises as its pretrained weights expect, else by the images."""
    seed_torch("first weights", seed, int(fold))
    network = network_of(recipe.model, target)
    refuse_side(network, recipe.model.name, store.shape[1])
    weights, card = pretrained
    if card.source == NONE:
        model = Normalised(network, *channel_statistics(store, train_rows))
        whiten_first_layer(model, store, train_rows)
        return model
    load_backbone(network, weights, card)
    if head is not None:
        begin_with_head(network, head, store.shape[1])
    if recipe.train.freeze_norms:
        keep_statistics(network)
    return Normalised(network, card.mean, card.std)


def _card(
    fold: str, recipe: Recipe, target: Target, size: int, model: Normalised | OnFeatures, prior: np.ndarray,
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
