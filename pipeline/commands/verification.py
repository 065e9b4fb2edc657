"""A finished run checked from end to end; at the first damage, which stage to run again."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.base.files import fold_files, made_by, read_json, refuse_altered, sha256_of
from pipeline.base.params import load_folds
from pipeline.base.yamls import read_yaml
from pipeline.competition.schema import (
    Store,
    read_fold_of,
    read_schema,
    read_test_ids,
    read_train_labels,
    refuse_rows,
    target_array,
)
from pipeline.competition.store import read_store
from pipeline.scoring.decision import choose_decision, read_decision
from pipeline.scoring.fold_predictions import gather_oof, written_submission


@dataclass(frozen=True, kw_only=True)
class Places:
    """Where a run's files lie."""

    params: Path
    lock: Path
    schema: Path
    train_table: Path
    test_table: Path
    sample: Path
    train_images: Path
    test_images: Path
    folds: Path
    models: Path
    oof: Path
    test: Path
    decision: Path
    submission: Path
    receipt: Path


def verify_run(places: Places) -> Iterator[tuple[str, str]]:
    """(what was checked, what was found) one by one; at the first damage ValueError with the stage to run again."""
    schema = read_schema(places.schema)
    target = schema.target
    folds = load_folds(places.params)
    yield "train store", _store(places.train_images, schema.train)
    yield "test store", _store(places.test_images, schema.test)

    train_ids, labels = read_train_labels(places.train_table)
    test_ids = read_test_ids(places.test_table)
    refuse_rows(places.train_table, len(train_ids), schema.train)
    refuse_rows(places.test_table, len(test_ids), schema.test)
    yield "tables", f"{len(train_ids):,} labelled images, {len(test_ids):,} to predict"

    fold_of = read_fold_of(places.folds, train_ids, folds)
    yield "folds", f"each image in one of {len(folds)}"
    for fold in folds:
        _weights(places, fold)
    yield "weights", f"{len(folds)} as their cards say, trained on these tables and folds"

    truth = target_array(labels, target)
    oof_files = fold_files(places.oof, ".npz", folds)
    oof = gather_oof(oof_files, fold_of, len(target.classes), exclusive=target.exclusive)
    yield "out of fold", f"{len(oof):,} predictions, each by the model that never saw the image"
    test_files = fold_files(places.test, ".npz", folds)
    due, _ = written_submission(test_files, test_ids, asked=schema, sample=places.sample, decision=places.decision)
    yield "test", f"{len(test_ids):,} images predicted by {len(folds)} models"

    held_by = np.array(list(fold_of.values()))
    if read_decision(places.decision) != choose_decision(truth, oof, target, schema.metric, held_by):
        raise ValueError(
            f"{places.decision} is not what the out-of-fold predictions give; run `dvc repro -f -s evaluate`"
        )
    yield "decision", "as the out-of-fold predictions give it"
    yield "submission", _submission(places, due)
    yield "DVC", _recorded(places.lock)


def _store(path: Path, store: Store) -> str:
    read_store(path, num_images=store.num_images, size=store.size)
    refuse_altered(path, store.sha256, stage="ingest")
    return f"{store.num_images:,} images of {store.size} px, sha256 as ingest noted it"


def _weights(places: Places, fold: str) -> None:
    """The card belongs to the weights, and to the schema, table and folds that are there now."""
    stage, path, beside = f"-s train@{fold}", places.models / f"{fold}.safetensors", places.models / f"{fold}.json"
    with made_by(stage, beside):
        card = read_json(beside)
        if not isinstance(card, dict) or card.get("fold") != fold:
            raise ValueError(f"{beside} is not the card of fold {fold}")
    with made_by(stage, path):
        found = sha256_of(path)
        if found != card.get("weights_sha256"):
            raise ValueError(f"{path} has sha256 {found[:12]}…, not the one in its card")
        if sha256_of(places.schema, places.train_table, places.folds) != card.get("data_fingerprint"):
            raise ValueError(f"{path} was trained on another schema, train table or folds than are there now")


def _submission(places: Places, due: bytes) -> str:
    """Whether the submission is `due`, and its receipt about it."""
    digest = hashlib.sha256(due).hexdigest()
    with made_by("-s submit", places.submission):
        if places.submission.read_bytes() != due:
            raise ValueError(f"{places.submission} is not what the stored probabilities give")
    with made_by("-s submit", places.receipt):
        receipt = read_json(places.receipt)
        if not isinstance(receipt, dict) or receipt.get("sha256") != digest:
            raise ValueError(f"{places.receipt} is not the receipt of {places.submission}")
    return f"{len(due):,} bytes, equal to what the stored probabilities give; sha256 {digest[:12]}…"


def _recorded(lock: Path) -> str:
    """Every output that DVC recorded, against the MD5 it recorded."""
    if not lock.is_file():
        return f"no {lock}: outputs are not compared with what DVC recorded"
    stages: Mapping[str, Any] = read_yaml(lock.read_text(encoding="utf-8"))["stages"]
    outs = [(stage, out) for stage, entry in stages.items() for out in entry.get("outs", [])]
    for stage, out in outs:
        path = lock.parent / out["path"]
        if not path.is_file():
            raise ValueError(f"{path}, which {stage} made, is not there; run `dvc repro {stage}`")
        found = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
        if found != out["md5"]:
            raise ValueError(f"{path} was altered since {stage} made it; run `dvc repro -f -s {stage}`")
    return f"{len(outs)} outputs as DVC recorded them"
