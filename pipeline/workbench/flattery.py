"""How much better images are answered by another model than out of fold, with the error of that difference."""

from collections.abc import Sequence

import numpy as np

from pipeline.competition.schema import Schema
from pipeline.scoring.decision import Decision, decide
from pipeline.scoring.metrics import metric_named, score
from pipeline.submission.answers import answers_of
from pipeline.submission.contract import through_the_writer
from pipeline.workbench.gains import Estimate, jackknife_error

BLOCKS = 20  # of the jackknife, of whole groups


def flattery(
    truth: np.ndarray,
    probs: tuple[np.ndarray, np.ndarray],
    groups: np.ndarray,
    image_ids: Sequence[str],
    asked: Schema,
    decision: Decision,
) -> tuple[float, float, Estimate]:
    """(score of the first, of the second, by how much the second is better) of two predictions of the same images.

    probs: (M, C) each; groups (M,): images of one are no independent witnesses, so that the standard error is a
    jackknife's that leaves whole groups out, in 20 blocks drawn always in the same way. Both are decided by `decision`.
    """
    written = [
        through_the_writer(
            answers_of(each, decide(each, asked.target, decision), asked.target, asked.submission), image_ids, asked
        )
        for each in probs
    ]

    def scores(rows: np.ndarray) -> list[float]:
        return [
            score(asked.metric, truth[rows], answers.of_rows(rows), asked.target, skip_one_sided=True)
            for answers in written
        ]

    sign = 1 if metric_named(asked.metric).higher_is_better else -1
    numbers = np.unique(groups, return_inverse=True)[1]
    block_of = np.random.default_rng(0).permutation(numbers.max() + 1)[numbers] % BLOCKS
    without = [scores(np.flatnonzero(block_of != block)) for block in np.unique(block_of)]
    before, after = scores(np.arange(len(truth)))
    error = jackknife_error([sign * (second - first) for first, second in without])
    return before, after, Estimate(sign * (after - before), error)
