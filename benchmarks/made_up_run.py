"""What training leaves behind, made up: a competition of any target and size with held-out and test predictions.

Nothing is trained. Probabilities are right about as often as `skill` says, so that scoring, submitting and the page of
the report have something of every kind to work on; the stages from `evaluate` on then run as they are.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.base.files import sha256_of, write_arrays, write_bytes, write_json, write_table
from pipeline.base.params import SECTIONS, SHIPPED
from pipeline.competition.schema import Schema, SubmissionFormat, Target, label_cell, write_schema
from pipeline.panels.run import CURVE_COLUMNS, NEAREST_COLUMNS
from pipeline.submission.answers import blank_sample

NUM_EPOCHS = 6
METRICS = {
    "single_label": "accuracy",
    "binary": "binary_f1",
    "multi_label": "micro_f1",
    "ordinal": "quadratic_weighted_kappa",
}
FORMATS = {
    "single_label": SubmissionFormat(kind="label", id_column="id", columns=("id", "label"), value_columns=("label",)),
    "multi_label": SubmissionFormat(
        kind="list", id_column="id", columns=("id", "label"), value_columns=("label",), separator=" ", may_be_empty=True
    ),
}


def write_run(
    root: Path,
    classes: Sequence[str],
    *,
    kind: str = "single_label",
    metric: str = "",
    num_train: int = 120,
    num_test: int = 40,
    side: int = 16,
    num_folds: int = 3,
    skill: float = 0.8,
    nearest: int = 0,
    drift: dict[str, Any] | None = None,
    findings: Sequence[dict[str, Any]] = (),
    prefix: str = "",
) -> dict[str, Any]:
    """Write under `root` all that evaluate, submit and report read; gives params.yaml's content.

    metric: METRICS has those that are taken else.
    prefix: of every image id. nearest: training images that each is said to be like; drift: of neighbours.json.
    """
    generator = np.random.default_rng([len(classes), num_train, num_test])
    target = Target(
        kind=kind, columns=("label",), classes=tuple(classes), positive=classes[-1] if kind == "binary" else ""
    )
    schema = Schema(
        target=target, submission=FORMATS.get(kind, FORMATS["single_label"]), metric=metric or METRICS[kind]
    )
    data, folds = root / "data", [str(fold) for fold in range(num_folds)]
    competition = data / "competition"
    ids = {
        "train": [f"{prefix}{n:06d}" for n in range(num_train)],
        "test": [f"{prefix}9{n:06d}" for n in range(num_test)],
    }
    truth = _truth(generator, num_train, len(classes), kind)
    held_by = np.array([folds[n % num_folds] for n in generator.permutation(num_train)])
    write_schema(competition / "schema.json", schema)
    recognised = {"recognised": ["made up"], "warnings": [], "allowed_problems": {}}
    write_json(competition / "recognised.json", recognised)
    labels = [_cell(row, target) for row in truth]
    write_table(competition / "train.csv", ("image_id", "label"), zip(ids["train"], labels, strict=True))
    write_table(competition / "test.csv", ("image_id",), [(name,) for name in ids["test"]])
    write_bytes(competition / "sample_submission.csv", blank_sample(schema, ids["test"]))
    write_table(data / "folds.csv", ("image_id", "fold"), zip(ids["train"], held_by.tolist(), strict=True))
    for part, of_part in ids.items():
        _write_store(data / "images", part, len(of_part), side)
    write_table(data / "images/test.csv", ("sha256", "failure"), [("0" * 64, "")] * num_test)
    write_json(data / "report/neighbours.json", {"findings": [], **({"drift": drift} if drift else {})})
    nearest_rows = (
        ("train", ids["train"][row], rank, ids["train"][other], labels[other], "0", f"{1 - rank / 10:.4f}")
        for row in range(num_train)
        for rank in range(1, nearest + 1)
        for other in [(row + rank) % num_train]
    )
    write_table(data / "report/nearest.csv", NEAREST_COLUMNS, nearest_rows)
    write_json(data / "report/audit.json", _audit(num_train, num_test, side, list(findings), ids))
    (data / "members").mkdir(parents=True, exist_ok=True)
    params, of_test = _params(num_folds), _truth(generator, num_test, len(classes), kind)
    for fold in folds:
        own = np.flatnonzero(held_by == fold)
        write_arrays(
            data / f"oof/{fold}.npz",
            {
                "image_ids": np.array(ids["train"])[own],
                "probs": _probs(generator, truth[own], len(classes), kind, skill),
            },
        )
        probs = _probs(generator, of_test, len(classes), kind, skill)
        write_arrays(data / f"test/{fold}.npz", {"image_ids": np.array(ids["test"]), "probs": probs})
        apart = 1 + int(fold) / 20  # so that no two folds' curves are one
        rows = [
            [fold, 1, epoch + 1, 0.1 * (1 - epoch / NUM_EPOCHS), 2 * apart / (epoch + 1), 1 - 0.5 * apart / (epoch + 1),
             1.5 * apart / (epoch + 1) if epoch % 2 else "", 1 - 0.6 * apart / (epoch + 1) if epoch % 2 else "",
             apart / (epoch + 1), 2.0]
            for epoch in range(NUM_EPOCHS)
        ]  # fmt: skip
        write_table(data / f"history/{fold}.csv", CURVE_COLUMNS, rows)
        write_json(data / f"models/{fold}.json", _card(fold, params, target, side))
    return params


def _truth(generator: np.random.Generator, count: int, num_classes: int, kind: str) -> np.ndarray:
    """(N,) class indices, every class at least once where there are enough images; of several labels (N, C) bool."""
    if kind == "multi_label":
        return generator.random((count, num_classes)) < min(0.3, 3 / num_classes)
    return generator.permutation(np.arange(count) % num_classes)


def _probs(generator: np.random.Generator, truth: np.ndarray, num_classes: int, kind: str, skill: float) -> np.ndarray:
    """(N, C) float32, of a model that is right in about `skill` of cases."""
    noise = generator.normal(size=(len(truth), num_classes))
    if kind == "multi_label":
        return (1 / (1 + np.exp(-(4 * truth - 2 + noise * 8 * (1 - skill))))).astype(np.float32)
    seen = np.where(generator.random(len(truth)) < skill, truth, generator.integers(0, num_classes, len(truth)))
    logits = noise * 0.5
    logits[np.arange(len(truth)), seen] += 3.0 + np.log(num_classes)
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)


def _cell(row: Any, target: Target) -> str:
    if target.exclusive:
        return target.classes[int(row)]
    return label_cell(target.classes[at] for at in np.flatnonzero(row))


def _write_store(folder: Path, part: str, count: int, side: int) -> None:
    """Images of one colour each with a brighter square, written piece by piece."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{part}.npy"
    store = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=(count, side, side, 3))
    for row in range(count):
        store[row] = np.random.default_rng(row).integers(0, 200, 3, dtype=np.uint8)
        store[row, : side // 2, : side // 2] += 55
    store.flush()
    write_json(folder / f"{part}.json", {"num_images": count, "size": side, "sha256": sha256_of(path)})


def _audit(num_train: int, num_test: int, side: int, findings: list[Any], ids: dict[str, list[str]]) -> dict[str, Any]:
    return {
        "num_train": num_train, "num_test": num_test, "classes": {}, "formats": {"PNG": num_train + num_test},
        "modes": {"RGB": num_train + num_test}, "original_sizes": {f"{side}x{side}": num_train + num_test},
        "num_original_sizes": 1, "stored_size": side, "findings": findings,
        "allowed_problems": {}, "galleries": [
            {"title": "Test images also in train", "note": "", "count": 1,
             "groups": [[["train", 0, f"{ids['train'][0]}: x"], ["test", 0, f"{ids['test'][0]}: test"]]]}
        ],
    }  # fmt: skip


def _params(num_folds: int) -> dict[str, Any]:
    """As shipped, of so many folds."""
    found: dict[str, Any] = {}
    for name, section in SECTIONS.items():
        defaults = {
            item.name: item.default for item in dataclasses.fields(section) if item.default is not dataclasses.MISSING
        }
        found[name] = defaults | SHIPPED.get(name, {})
    found["competition"] |= {"raw": "made_up.zip"}
    found["split"] |= {"num_folds": num_folds}
    listed = {
        name: {key: list(v) if isinstance(v, tuple) else v for key, v in of.items()} for name, of in found.items()
    }
    return listed | {"folds": {str(fold): {} for fold in range(num_folds)}}


def _card(fold: str, params: dict[str, Any], target: Target, side: int) -> dict[str, Any]:
    return {
        "fold": fold, "architecture": "resnet9", "target_kind": target.kind, "classes": target.classes,
        "image_size": side, "tta": "none", "torch_version": "none", "device": "cpu", "precision": "fp32", "threads": 1,
        "networks": 1, "num_pseudo": 0, "weights_sha256": "0" * 64,
        "params": {name: params[name] for name in ("model", "augment", "compute", "train")},
    }  # fmt: skip
