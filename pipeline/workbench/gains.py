"""A figure over folds with its standard error, and whether a change gains more than that."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.competition.schema import Schema
from pipeline.scoring.metrics import mean_and_standard_error, metric_named, score
from pipeline.submission.answers import answers_of
from pipeline.submission.contract import through_the_writer


@dataclass(frozen=True)
class Estimate:
    """A mean over folds with its standard error."""

    mean: float
    error: float


@dataclass(frozen=True)
class Gain(Estimate):
    """What a change gains, in the direction in which the metric is better: the mean of each fold's own difference.

    Paired: what makes one fold harder than another is in both of its scores, and falls out.
    """

    unchanged: bool  # not one fold's score differs

    @property
    def verdict(self) -> str:
        """A gain is one above its standard error."""
        if self.unchanged:
            return "no gain: nothing changes"
        if self.mean > self.error:
            return "gain"
        return "no gain: worse" if self.mean < -self.error else "no gain"


def estimate(of_folds: Sequence[float]) -> Estimate:
    """Mean and standard error of one figure a fold, at least two."""
    return Estimate(*mean_and_standard_error(of_folds))


def jackknife_error(without: Sequence[float]) -> float:
    """Standard error of a figure of all rows, from the same figure `without` each fold in turn."""
    return float(np.std(without) * np.sqrt(len(without) - 1))


def gain(before: Sequence[float], after: Sequence[float], *, higher_is_better: bool) -> Gain:
    """What `after` gains on `before`, a score a fold each, in the same order."""
    differences = np.subtract(after, before) * (1 if higher_is_better else -1)
    return Gain(*mean_and_standard_error(differences.tolist()), unchanged=not differences.any())


def fold_scores(
    truth: np.ndarray,
    probs: np.ndarray,
    decided: np.ndarray,
    held_by: np.ndarray,
    image_ids: Sequence[str],
    asked: Schema,
) -> list[float]:
    """The competition's metric of each fold, folds in order, of answers written in the submission's format and read.

    truth, probs (N, C) and held_by (N,) out of fold; decided: as `decision.decide` gives it. The score of a fold is the
    one that evaluate writes.
    """
    written = through_the_writer(answers_of(probs, decided, asked.target, asked.submission), image_ids, asked)
    parts = [np.flatnonzero(held_by == fold) for fold in np.unique(held_by)]
    return [
        score(asked.metric, truth[rows], written.of_rows(rows), asked.target, skip_one_sided=True) for rows in parts
    ]


def metric_gain(before: Sequence[float], after: Sequence[float], metric_name: str) -> Gain:
    """`gain` in the direction of this metric."""
    return gain(before, after, higher_is_better=metric_named(metric_name).higher_is_better)
