"""What `train` and `teach` are told of a fold: its files and its recipe; no torch."""

import argparse
import dataclasses
from dataclasses import dataclass
from pathlib import Path

from pipeline.base.params import (
    AugmentParams,
    ComputeParams,
    ModelParams,
    TrainParams,
    load_folds,
    load_section,
    load_train,
)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """The sections of params.yaml that make a fold."""

    model: ModelParams
    augment: AugmentParams
    compute: ComputeParams
    train: TrainParams  # the fold's own overrides applied

    @property
    def num_ranks(self) -> int:
        """Processes that train the fold together; a frozen network is not trained."""
        return 1 if self.model.frozen else self.compute.ranks


@dataclass(frozen=True, kw_only=True)
class FoldFiles:
    """What a fold is trained from."""

    target: Path
    train_table: Path
    corrections: Path
    folds: Path
    train_images: Path
    description: Path
    pretrained: Path
    pretrained_card: Path
    features: Path
    features_description: Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What both stages are told."""
    parser.add_argument("--fold", required=True, help="the fold to hold out, as params.yaml names it")
    parser.add_argument("--target", type=Path, required=True, help="JSON from ingest")
    parser.add_argument("--train-table", type=Path, required=True, help="CSV of labelled images")
    parser.add_argument("--corrections", type=Path, required=True, help="CSV from ingest: labels to train by")
    parser.add_argument("--folds", type=Path, required=True, help="CSV from split")
    parser.add_argument("--train-images", type=Path, required=True, help=".npy from decode_train")
    parser.add_argument("--description", type=Path, required=True, help="JSON from decode_train")
    parser.add_argument("--pretrained", type=Path, required=True, help="safetensors from weights")
    parser.add_argument("--pretrained-card", type=Path, required=True, help="JSON from weights")
    parser.add_argument("--features", type=Path, required=True, help=".npy from embed_train")
    parser.add_argument("--features-description", type=Path, required=True, help="JSON from embed_train")
    parser.add_argument(
        "--scratch", type=Path, required=True, help="folder for states to resume from; untracked, emptied on success"
    )


def files_of(args: argparse.Namespace) -> FoldFiles:
    """Of what `add_arguments` asked for."""
    return FoldFiles(**{item.name: getattr(args, item.name) for item in dataclasses.fields(FoldFiles)})


def read_recipe(params: Path, fold: str) -> Recipe:
    """The recipe of `fold`. Raises ValueError for one that params.yaml does not name, or that contradicts itself."""
    folds = load_folds(params)
    if fold not in folds:
        raise ValueError(f"--fold is {fold}; {params} names the folds {', '.join(folds)}")
    recipe = Recipe(
        model=load_section(params, "model", ModelParams),
        augment=load_section(params, "augment", AugmentParams),
        compute=load_section(params, "compute", ComputeParams),
        train=load_train(params, fold),
    )
    shared = load_section(params, "train", TrainParams).tta
    if recipe.model.frozen and recipe.train.tta != shared:
        raise ValueError(
            f"folds.{fold}.tta is {recipe.train.tta}, train.tta {shared}: frozen features are the mean over its views, "
            "computed once for all folds; take it out of the fold"
        )
    if recipe.train.freeze_norms and recipe.model.weights == "none":
        raise ValueError(
            "train.freeze_norms is true, but model.weights is none: there are no statistics to keep; set it to false"
        )
    if recipe.num_ranks > 1:
        _refuse_ranks(recipe)
    return recipe


def _refuse_ranks(recipe: Recipe) -> None:
    """Raise ValueError for what several processes cannot do together."""
    asked = f"compute.ranks is {recipe.num_ranks}"
    if recipe.compute.compile:
        raise ValueError(
            f"{asked} and compute.compile true: what processes tell each other cannot be compiled; set compile to "
            "false, or ranks to 1"
        )
    if recipe.train.fit_memory:
        raise ValueError(
            f"{asked} and train.fit_memory true: processes that cut their shares differently would wait for each "
            "other; set fit_memory to false, and more ranks or a smaller train.batch_size where memory runs out"
        )
    if recipe.train.batch_size < recipe.num_ranks:
        raise ValueError(
            f"{asked}, and train.batch_size {recipe.train.batch_size}: each takes at least one image of every batch; "
            f"set ranks to {recipe.train.batch_size} at most"
        )
