"""Confusion, figures by class, and the classes of the test images beside those of the training images."""

import math
from typing import Any

import numpy as np

from pipeline.panels.run import Run
from pipeline.report.svg import share_bar
from pipeline.report.thumbnails import raster_address
from pipeline.scoring.fold_predictions import confusion_counts
from pipeline.submission.answers import answers_of, indicators, predicted_counts

MOST_IN_MATRIX = 40  # classes; above, the worst pairs and a picture
NUM_PAIRS = 60
Z_95 = 1.96  # of the normal distribution: intervals of 95 %
ODD_Z = 4.0  # standard errors by which a class's share must differ to be named: one of 30,000 by chance
NUM_SHARES = 60  # classes of the prior that are shown, those that differ most first


def confusion(run: Run) -> dict[str, Any]:
    """`matrix`, `pairs` or, of several labels, `labels`."""
    target, truth, decided = run.schema.target, run.found.dealt.truth, run.found.decided
    classes = target.classes
    if not target.exclusive:
        true, given = truth > 0, decided
        rows = [
            (at, label, int((true[:, at] & given[:, at]).sum()), int((~true[:, at] & given[:, at]).sum()),
             int((true[:, at] & ~given[:, at]).sum()), int((~true[:, at] & ~given[:, at]).sum()))
            for at, label in enumerate(classes)
        ]  # fmt: skip
        return {"kind": "labels", "rows": rows, "distances": []}
    counts = confusion_counts(truth, decided, len(classes))
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    wrong = counts - np.diag(np.diag(counts))
    order = np.argsort(-wrong, axis=None, kind="stable")[:NUM_PAIRS]
    places = [(int(at) // len(classes), int(at) % len(classes)) for at in order]
    pairs = [(i, j, classes[i], classes[j], int(wrong[i, j]), float(shares[i, j])) for i, j in places if wrong[i, j]]
    found = {"pairs": pairs, "num_pairs": int((wrong > 0).sum()), "distances": _distances(run)}
    if len(classes) > MOST_IN_MATRIX:
        return found | {"kind": "pairs", "raster": raster_address(shares), "side": len(classes)}
    matrix = [
        (label, [(i, j, int(counts[i, j]), float(shares[i, j])) for j in range(len(classes))])
        for i, label in enumerate(classes)
    ]
    return found | {"kind": "matrix", "classes": classes, "rows": matrix}


def _distances(run: Run) -> list[tuple[int, int, float]]:
    """Of grades: (how far the answer is from the truth, images, share)."""
    if run.schema.target.kind != "ordinal":
        return []
    apart = np.abs(run.found.decided - run.found.dealt.truth)
    return [(int(far), int((apart == far).sum()), float((apart == far).mean())) for far in np.unique(apart)]


def by_class(run: Run) -> dict[str, Any]:
    """Support, precision, recall and F1 with intervals of 95 %, and the folds without the class."""
    target, truth, decided = run.schema.target, run.found.dealt.truth, run.found.decided
    true, given = indicators(truth, target), indicators(decided, target)
    support, predicted, hits = true.sum(axis=0), given.sum(axis=0), (true & given).sum(axis=0)
    held_by = run.found.dealt.held_by
    missing = sum((~true[held_by == fold].any(axis=0)).astype(int) for fold in run.folds)
    thresholds = run.decision.thresholds if target.kind == "multi_label" else ()
    marks = thresholds or run.decision.factors
    rows = []
    for at, label in enumerate(target.classes):
        n, called, right = int(support[at]), int(predicted[at]), int(hits[at])
        rows.append(
            {
                "label": label, "images": n, "predicted": called,
                "precision": _with_interval(right, called), "recall": _with_interval(right, n),
                "f1": _f1_with_interval(right, called + n - right), "missing": int(np.asarray(missing)[at]),
                "mark": marks[at] if marks else None,
            }
        )  # fmt: skip
    return {"rows": rows, "folds": len(run.folds), "mark": "threshold" if thresholds else "factor" if marks else ""}


def wilson(right: int, of: int) -> tuple[float, float]:
    """The interval of 95 % of a share (Wilson 1927); (0, 1) of none."""
    if not of:
        return 0.0, 1.0
    share, extra = right / of, Z_95**2 / of
    middle = (share + extra / 2) / (1 + extra)
    half = Z_95 * math.sqrt(share * (1 - share) / of + extra / (4 * of)) / (1 + extra)
    return max(middle - half, 0.0), min(middle + half, 1.0)


def _with_interval(right: int, of: int) -> tuple[float, float, float]:
    """(share, low, high), the share 0 where there is nothing to divide by, as in per_class.csv."""
    return right / max(of, 1), *wilson(right, of)


def _f1_with_interval(right: int, of: int) -> tuple[float, float, float]:
    """F1 is 2 J / (1 + J), where J is the share of right images among those that have the class or were given it."""
    return tuple(2 * share / (1 + share) for share in _with_interval(right, of))  # type: ignore[return-value]


def prior(run: Run) -> dict[str, Any]:
    """Shares of the classes: in training, as predicted out of fold, and as predicted for the test images."""
    target, found = run.schema.target, run.found
    num_train, num_test = len(found.dealt.truth), len(run.image_ids["test"])
    labels = run.receipt["labels"]
    in_training = indicators(found.dealt.truth, target).mean(axis=0)
    answers = answers_of(found.probs, found.decided, target, run.schema.submission)  # as those of the test images are
    out_of_fold = np.array(list(predicted_counts(answers, target).values())) / num_train
    largest = max(float(in_training.max()), float(out_of_fold.max()), *(n / max(num_test, 1) for n in labels.values()))
    rows = []
    for at, label in enumerate(target.classes):
        in_test = labels[label] / max(num_test, 1)
        common = (out_of_fold[at] * num_train + labels[label]) / (num_train + num_test)
        noise = math.sqrt(max(common * (1 - common), 0.0) * (1 / num_train + 1 / max(num_test, 1)))
        apart = (in_test - out_of_fold[at]) / noise if noise else 0.0
        shares = (float(in_training[at]), float(out_of_fold[at]), in_test)
        rows.append(
            {
                "label": label, "training": float(in_training[at]), "out_of_fold": float(out_of_fold[at]),
                "test": in_test, "test_images": labels[label], "apart": apart, "odd": abs(apart) >= ODD_Z,
                "bars": share_bar([(share / largest, colour) for colour, share in enumerate(shares)]),
            }
        )  # fmt: skip
    odd = sum(row["odd"] for row in rows)
    if len(rows) > NUM_SHARES:
        rows = sorted(rows, key=lambda row: -abs(row["apart"]))[:NUM_SHARES]
    return {
        "rows": rows, "classes": len(target.classes), "odd": odd, "odd_z": ODD_Z, "num_test": num_test,
        "num_train": num_train, "drift": run.neighbours.get("drift"),
    }  # fmt: skip
