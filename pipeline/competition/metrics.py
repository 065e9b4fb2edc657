"""Scores by name. scikit-learn's, with one direction each; imported where used (it costs a second)."""

from collections.abc import Sequence

import numpy as np


def label_scores(labels: Sequence[str], predicted: Sequence[str]) -> dict[str, float]:
    """`accuracy` and `macro_f1` of labels against labels, both 0 to 1, higher is better."""
    from sklearn.metrics import accuracy_score, f1_score

    return {
        "accuracy": float(accuracy_score(labels, predicted)),
        "macro_f1": float(f1_score(labels, predicted, average="macro", zero_division=0)),
    }


def log_loss(class_indices: np.ndarray, probs: np.ndarray) -> float:
    """Mean negative log probability of the true class; lower is better.

    class_indices (N,) int; probs (N, C), rows renormalised in float64, clipped at float32's epsilon as
    scikit-learn's `log_loss` does for float32 input.
    """
    from sklearn.metrics import log_loss as sklearn_log_loss

    wide = probs.astype(np.float64)
    wide = np.clip(wide, np.finfo(np.float32).eps, None)
    wide /= wide.sum(axis=1, keepdims=True)
    return float(sklearn_log_loss(class_indices, wide, labels=np.arange(probs.shape[1])))


def mean_and_standard_error(scores: Sequence[float]) -> tuple[float, float]:
    """Mean over folds, and its standard error: sample standard deviation (n - 1) over the root of n, n >= 2."""
    values = np.asarray(scores, dtype=np.float64)
    return float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values)))
