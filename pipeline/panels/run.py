"""A finished run as the page's panels read it: its files, each read once."""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.base.files import fold_files, made_by, read_history, read_json, read_table
from pipeline.base.params import load_folds
from pipeline.competition.schema import Schema, read_schema, read_test_ids, read_train_labels
from pipeline.competition.store import read_store
from pipeline.scoring.decision import Decision, read_decision
from pipeline.scoring.out_of_fold import OutOfFold, read_out_of_fold

NEAREST_COLUMNS = ("part", "image_id", "rank", "nearest_id", "label", "fold", "cosine")
CURVE_COLUMNS = (
    "fold", "network", "epoch", "learning_rate", "train_loss", "train_accuracy", "valid_loss", "valid_accuracy",
    "gradient_norm_mean", "gradient_norm_max",
)  # fmt: skip
KEYS = {  # file -> the stage that writes it, and the keys that the panels need
    "recognised": ("ingest", ("recognised", "warnings", "allowed_problems")),
    "audit": (
        "audit",
        ("findings", "galleries", "allowed_problems", "num_train", "num_test", "formats", "modes", "original_sizes",
         "num_original_sizes", "stored_size"),
    ),
    "neighbours": ("-s neighbours", ("findings",)),
    "scores": ("-s evaluate", ("oof", "folds")),
    "blend": ("-s evaluate", ("how", "weights")),
    "receipt": (
        "-s submit",
        ("sha256", "rows", "labels", "warnings", "predicted_by_prior", "git_commit", "git_clean", "dvc_lock_sha256",
         "params"),
    ),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Sources:
    """Where a run's files lie."""

    params: Path
    schema: Path
    recognised: Path
    train_table: Path
    test_table: Path
    folds: Path
    train_images: Path
    train_description: Path
    test_images: Path
    test_description: Path
    neighbours: Path
    nearest: Path
    oof: Path
    members: Path
    models: Path
    audit: Path
    scores: Path
    decision: Path
    blend: Path
    curves: Path
    receipt: Path


@dataclass(frozen=True, kw_only=True)
class Run:
    """What the panels show."""

    schema: Schema
    found: OutOfFold
    decision: Decision  # that the test images were decided by
    stores: Mapping[str, np.ndarray]  # "train", "test": (N, S, S, 3) uint8, a row for each row of the table
    image_ids: Mapping[str, Any]  # the same: their ids
    nearest: Mapping[str, list[tuple[str, str, float]]]  # image id -> its nearest training images: id, label, cosine
    curves: list[dict[str, Any]]  # rows of curves.csv
    cards: Mapping[str, dict[str, Any]]  # fold -> its model's card
    recognised: dict[str, Any]
    audit: dict[str, Any]
    neighbours: dict[str, Any]
    scores: dict[str, Any]
    blend: dict[str, Any]
    receipt: dict[str, Any]

    @functools.cached_property
    def row_of(self) -> dict[str, int]:
        """Image id -> its row of the train table."""
        return {image_id: row for row, image_id in enumerate(self.image_ids["train"])}

    @property
    def by_rank(self) -> bool:
        """Whether the numbers of a blend are mean ranks, no probabilities."""
        return bool(self.blend["how"] == "rank")

    @property
    def folds(self) -> list[str]:
        """In the order of params.yaml."""
        return list(self.cards)


def read_run(sources: Sources) -> Run:
    """Read all of it. Raises ValueError for what is damaged or does not belong together."""
    schema, folds = read_schema(sources.schema), load_folds(sources.params)
    found = read_out_of_fold(
        sources.params, schema, train_table=sources.train_table, folds=sources.folds, oof=sources.oof,
        members=sources.members,
    )  # fmt: skip
    ids = {"train": read_train_labels(sources.train_table)[0], "test": read_test_ids(sources.test_table)}
    stores = {
        part: read_store(
            getattr(sources, f"{part}_images"), getattr(sources, f"{part}_description"), num_rows=len(of_part),
            table=getattr(sources, f"{part}_table"),
        )[0]
        for part, of_part in ids.items()
    }  # fmt: skip
    cards = {}
    for fold, path in fold_files(sources.models, ".json", folds).items():
        cards[fold] = _json(path, f"-s train@{fold}", ("params",))
    with made_by("-s evaluate", sources.curves):
        curves = read_history(sources.curves, CURVE_COLUMNS)
    return Run(
        schema=schema, found=found, decision=read_decision(sources.decision), stores=stores, image_ids=ids,
        nearest=_nearest(sources.nearest), curves=curves, cards=cards,
        **{name: _json(getattr(sources, name), stage, keys) for name, (stage, keys) in KEYS.items()},
    )  # fmt: skip


def _json(path: Path, stage: str, keys: Sequence[str]) -> dict[str, Any]:
    """The object in a JSON hand-over file, with at least these keys."""
    with made_by(stage, path):
        found = read_json(path)
        missing = [key for key in keys if not isinstance(found, dict) or key not in found]
        if missing:
            raise ValueError(f"{path} is not of this version: it has no {missing[0]}")
        return dict(found)


def _nearest(path: Path) -> dict[str, list[tuple[str, str, float]]]:
    """Of the training images; empty where there are no features."""
    found: dict[str, list[tuple[str, str, float]]] = {}
    with made_by("-s neighbours", path):
        for part, image_id, _, other, label, _, cosine in zip(*read_table(path, NEAREST_COLUMNS).values(), strict=True):
            if part == "train":
                found.setdefault(image_id, []).append((other, label, float(cosine)))
    return found
