"""Reads the out-of-fold predictions of all folds. Writes scores, curves, the confusion matrix, and the worst mistakes.

Stops unless every training image has exactly one out-of-fold prediction.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import console
from pipeline.competition.metrics import label_scores, log_loss, mean_and_standard_error
from pipeline.competition.predictions import confusion_counts, gather_oof
from pipeline.competition.schema import FOLDS_COLUMNS, class_indices, read_schema, read_train_rows
from pipeline.files import fold_files, read_history, read_table, write_bytes, write_json, write_table
from pipeline.images.store import read_store
from pipeline.params import load_folds
from pipeline.report.figures import confusion_figure, curves_figure, mistakes_figure

NUM_MISTAKES = 24
CURVE_COLUMNS = ("fold", "epoch", "learning_rate", "train_loss", "train_accuracy", "valid_loss", "valid_accuracy")


def main(argv: Sequence[str] | None = None) -> None:
    """Command line of the stage; the paths come from dvc.yaml."""
    parser = argparse.ArgumentParser(prog="python -m pipeline.stages.evaluate", description=__doc__)
    parser.add_argument("--params", type=Path, required=True, help="params.yaml (section folds)")
    parser.add_argument("--schema", type=Path, required=True, help="JSON from ingest")
    parser.add_argument("--train-table", type=Path, required=True, help="CSV of labelled images")
    parser.add_argument("--folds", type=Path, required=True, help="CSV from split")
    parser.add_argument("--train-images", type=Path, required=True, help=".npy from ingest")
    parser.add_argument("--oof", type=Path, required=True, help="folder of out-of-fold predictions, a file a fold")
    parser.add_argument("--history", type=Path, required=True, help="folder of histories, a file a fold")
    parser.add_argument("--metrics", type=Path, required=True, help="JSON to write: the scores")
    parser.add_argument("--per-class", type=Path, required=True, help="CSV to write: a row a class")
    parser.add_argument("--curves", type=Path, required=True, help="CSV to write: a row an epoch and fold")
    parser.add_argument("--curves-figure", type=Path, required=True, help="PNG to write")
    parser.add_argument("--confusion", type=Path, required=True, help="CSV to write: true, predicted, images")
    parser.add_argument("--confusion-figure", type=Path, required=True, help="PNG to write")
    parser.add_argument("--mistakes-figure", type=Path, required=True, help="PNG to write: most confidently wrong")
    args = parser.parse_args(argv)
    folds = load_folds(args.params)
    schema = read_schema(args.schema)
    classes = schema.target.classes
    rows = read_train_rows(args.train_table)
    labels = [row.label for row in rows]
    truth = np.array(class_indices(labels, classes))
    fold_of = _fold_of(args.folds, [row.image_id for row in rows], folds)

    oof = gather_oof(fold_files(args.oof, ".npz", folds), fold_of, len(classes))
    predicted = oof.argmax(axis=1)
    scores = _scores(truth, predicted, oof, classes, np.array(list(fold_of.values())), folds)
    counts = confusion_counts(truth, predicted, len(classes))
    histories = {
        fold: read_history(path, CURVE_COLUMNS) for fold, path in fold_files(args.history, ".csv", folds).items()
    }

    write_json(args.metrics, scores)
    write_table(
        args.per_class, ("label", "images", "predicted", "precision", "recall", "f1"), _per_class(counts, classes)
    )
    write_table(args.confusion, ("true", "predicted", "images"), _confusion_rows(counts, classes))
    write_bytes(args.confusion_figure, confusion_figure(counts, classes))
    curve_rows = [
        ["" if cell is None else cell for cell in row.values()] for rows in histories.values() for row in rows
    ]
    write_table(args.curves, CURVE_COLUMNS, curve_rows)
    write_bytes(args.curves_figure, curves_figure(histories))
    store = read_store(args.train_images, num_images=schema.train.num_images, size=schema.train.size)
    write_bytes(args.mistakes_figure, _mistakes(truth, predicted, oof, store, classes, list(fold_of)))
    folds_line = f"{scores['folds']['accuracy_mean']:.4f} ± {scores['folds']['accuracy_standard_error']:.4f}"
    console.say(
        f"out of fold: accuracy {scores['oof']['accuracy']:.4f}, macro F1 {scores['oof']['macro_f1']:.4f}, "
        f"log loss {scores['oof']['log_loss']:.4f}; folds {folds_line} (mean ± standard error)"
    )


def _fold_of(path: Path, image_ids: Sequence[str], folds: Sequence[str]) -> dict[str, str]:
    table = read_table(path, FOLDS_COLUMNS)
    if table["image_id"] != list(image_ids) or set(table["fold"]) != set(folds):
        raise ValueError(f"{path} is not about these {len(image_ids)} images and the folds {folds}; run `dvc repro`")
    return dict(zip(table["image_id"], table["fold"], strict=True))


def _scores(
    truth: np.ndarray,
    predicted: np.ndarray,
    oof: np.ndarray,
    classes: Sequence[str],
    held_by: np.ndarray,
    folds: Sequence[str],
) -> dict[str, Any]:
    def scores_of(rows: np.ndarray) -> dict[str, float]:
        true_labels = [classes[index] for index in truth[rows]]
        predicted_labels = [classes[index] for index in predicted[rows]]
        return label_scores(true_labels, predicted_labels) | {"log_loss": log_loss(truth[rows], oof[rows])}

    by_fold = {fold: scores_of(np.flatnonzero(held_by == fold)) for fold in folds}
    mean, error = mean_and_standard_error([scores["accuracy"] for scores in by_fold.values()])
    return {
        "oof": scores_of(np.arange(len(truth))),
        "folds": {"accuracy_mean": mean, "accuracy_standard_error": error, "by_fold": by_fold},
    }


def _per_class(counts: np.ndarray, classes: Sequence[str]) -> list[list[Any]]:
    table = []
    for index, label in enumerate(classes):
        right, true, predicted = int(counts[index, index]), int(counts[index].sum()), int(counts[:, index].sum())
        precision, recall = right / max(predicted, 1), right / max(true, 1)
        table.append([label, true, predicted, precision, recall, 2 * right / max(true + predicted, 1)])
    return table


def _confusion_rows(counts: np.ndarray, classes: Sequence[str]) -> list[list[Any]]:
    return [
        [true, predicted, int(counts[i, j])] for i, true in enumerate(classes) for j, predicted in enumerate(classes)
    ]


def _mistakes(
    truth: np.ndarray,
    predicted: np.ndarray,
    oof: np.ndarray,
    store: np.ndarray,
    classes: Sequence[str],
    image_ids: Sequence[str],
) -> bytes:
    wrong = np.flatnonzero(predicted != truth)
    worst = wrong[np.argsort(-oof[wrong, predicted[wrong]], kind="stable")][:NUM_MISTAKES]
    captions = [
        f"{image_ids[row]}\n{classes[truth[row]]} taken for {classes[guess]}\nat {oof[row, guess]:.3f}"
        for row, guess in zip(worst, predicted[worst], strict=True)
    ]
    return mistakes_figure(store[worst], captions)


if __name__ == "__main__":
    console.run(main)
