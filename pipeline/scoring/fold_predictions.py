"""Per-fold predictions gathered: out of fold for training images; for test images their mean, and the submission."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from pipeline.base.files import made_by, read_arrays, read_table
from pipeline.competition.schema import PER_CLASS_COLUMNS
from pipeline.scoring.decision import decide, read_decision
from pipeline.submission.answers import Answers, Asked, answers_of, row_cells
from pipeline.submission.contract import make_submission

NAMES = ("image_ids", "probs")
ROW_SUM_TOLERANCE = 1e-3  # float32 softmax rows sum to 1 within 1e-6; bfloat16 would miss by 1e-2


def read_predictions(path: Path, num_classes: int, *, exclusive: bool = True) -> tuple[list[str], np.ndarray]:
    """(image ids, probabilities (N, C) float32) of one fold's file.

    Raises ValueError for damage, another number of classes, NaN, values outside 0..1, and, of classes that exclude each
    other, rows that do not sum to 1.
    """
    arrays = read_arrays(path, NAMES)
    probs, image_ids = arrays["probs"], arrays["image_ids"].tolist()
    if not np.issubdtype(probs.dtype, np.floating):
        raise ValueError(f"{path} holds {probs.dtype}, must be float32")
    if probs.shape != (len(image_ids), num_classes):
        raise ValueError(f"{path} holds {probs.shape} for {len(image_ids)} images of {num_classes} classes")
    wrong = ~np.isfinite(probs).all(axis=1) | (probs < 0).any(axis=1) | (probs > 1 + ROW_SUM_TOLERANCE).any(axis=1)
    if exclusive:
        wrong |= np.abs(probs.sum(axis=1) - 1) > ROW_SUM_TOLERANCE
    if wrong.any():
        first = [image_ids[row] for row in np.flatnonzero(wrong)[:3]]
        raise ValueError(f"{path}: {wrong.sum()} of {len(probs)} rows are no probabilities, first {first}")
    return image_ids, probs


def gather_oof(
    files: Mapping[str, Path], fold_of: Mapping[str, str], num_classes: int, *, exclusive: bool = True
) -> np.ndarray:
    """(N, C) float32: for each training image, in the order of `fold_of`, the prediction of the fold that held it out.

    Raises ValueError unless each file holds exactly the images of its fold, so that each image has one prediction.
    """
    row_of = {image_id: row for row, image_id in enumerate(fold_of)}
    oof = np.full((len(fold_of), num_classes), np.nan, dtype=np.float32)
    for fold, path in files.items():
        with made_by(f"-s train@{fold}", path):
            image_ids, probs = read_predictions(path, num_classes, exclusive=exclusive)
        expected = {image_id for image_id, held_out in fold_of.items() if held_out == fold}
        if set(image_ids) != expected or len(image_ids) != len(expected):
            strangers = sorted(set(image_ids) - expected)[:3]
            missing = sorted(expected - set(image_ids))[:3]
            raise ValueError(
                f"{path} must hold each of the {len(expected)} images of fold {fold} once; it has {len(image_ids)} "
                f"rows, not of the fold: {strangers}, missing: {missing}; run `dvc repro -f -s train@{fold}`"
            )
        oof[[row_of[image_id] for image_id in image_ids]] = probs
    gaps = np.asarray(np.isnan(oof).any(axis=1))
    if gaps.any():
        first = [image_id for image_id, gap in zip(fold_of, gaps, strict=True) if gap][:3]
        raise ValueError(f"{gaps.sum()} of {len(oof)} training images have no out-of-fold prediction, first {first}")
    return oof


def ensemble(
    files: Mapping[str, Path], image_ids: Sequence[str], num_classes: int, *, exclusive: bool = True
) -> np.ndarray:
    """(N, C) float64: mean over folds of the probabilities of each test image, in the order of `image_ids`.

    Raises ValueError unless every fold predicted exactly these images in this order.
    """
    total = np.zeros((len(image_ids), num_classes))
    for fold, path in files.items():
        with made_by(f"-s infer@{fold}", path):
            found, probs = read_predictions(path, num_classes, exclusive=exclusive)
        if found != list(image_ids):
            differing = next(
                (row for row, pair in enumerate(zip(found, image_ids, strict=False)) if pair[0] != pair[1]),
                min(len(found), len(image_ids)),
            )
            raise ValueError(
                f"{path} predicts {len(found)} images, the test table has {len(image_ids)}; they part at "
                f"row {differing}; run `dvc repro -f -s infer@{fold}`"
            )
        total += probs
    return total / len(files)


def written_submission(
    probs: np.ndarray, image_ids: Sequence[str], *, asked: Asked, sample: Path, decision: Path
) -> tuple[bytes, Answers]:
    """(the submission's bytes, its answers): the probabilities (N, C), decided, in the sample's rows.

    probs: of `ensemble`, or blended; sample, decision: what ingest and evaluate wrote. Raises ValueError with the stage
    to run again.
    """
    target = asked.target
    chosen = read_decision(decision)
    with made_by("-s evaluate", decision):
        decided = decide(probs, target, chosen)
    answers = answers_of(probs, decided, target, asked.submission)
    with made_by("ingest", sample):
        return make_submission(sample.read_bytes(), asked, row_cells(answers, image_ids, asked)), answers


def read_oof_counts(per_class: Path) -> dict[str, int]:
    """Label -> how often it was predicted out of fold, from evaluate's table."""
    with made_by("-s evaluate", per_class):
        table = read_table(per_class, PER_CLASS_COLUMNS)
        return dict(zip(table["label"], map(int, table["predicted"]), strict=True))


def confusion_counts(class_indices: ArrayLike, predicted: ArrayLike, num_classes: int) -> np.ndarray:
    """(C, C) int64: row = true class, column = predicted class."""
    flat = np.asarray(class_indices) * num_classes + np.asarray(predicted)
    return np.bincount(flat, minlength=num_classes**2).reshape(num_classes, num_classes)
