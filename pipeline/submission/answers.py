"""From probabilities to a submission's cells and back, for every format.

The out-of-fold predictions go the same way: written in the submission's format, read back, scored. So a column
mix-up cannot hide from the cross-validation score.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Protocol

import numpy as np

from pipeline.competition.lists import split_list, written_list
from pipeline.competition.schema import SubmissionFormat, Target
from pipeline.submission.make import content_of

DIGITS = 9  # significant digits of a probability; float32 has 7.2


class Asked(Protocol):
    """What a submission is written and read by: any record that has these two."""

    @property
    def target(self) -> Target:
        """What is predicted."""

    @property
    def submission(self) -> SubmissionFormat:
        """How it is written."""


@dataclass(frozen=True, kw_only=True)
class Answers:
    """The answers for N images, in their order; exactly one of the three is there."""

    labels: list[str] | None = None  # one label an image
    scores: np.ndarray | None = None  # (N, C) float64, a column for each class
    lists: list[list[str]] | None = None  # labels of an image; best first where the format is `ranked`

    def of_rows(self, rows: np.ndarray) -> "Answers":
        """The answers for these row numbers."""
        return Answers(
            labels=None if self.labels is None else [self.labels[row] for row in rows],
            scores=None if self.scores is None else self.scores[rows],
            lists=None if self.lists is None else [self.lists[row] for row in rows],
        )


def answers_of(probs: np.ndarray, decided: np.ndarray, target: Target, submission: SubmissionFormat) -> Answers:
    """What the submission shall say.

    probs (N, C); decided: (N,) class indices or (N, C) bool, from `decision.decide`. Rows of an exclusive target are
    made to sum to 1 in float64.
    """
    classes = target.classes
    if submission.kind == "label":
        return decided_answers(decided, target)
    if submission.kind == "ranked":
        order = np.argsort(-probs, axis=1, kind="stable")[:, : submission.most]
        return Answers(lists=[[classes[index] for index in row] for row in order])
    if submission.kind == "list":
        return Answers(lists=label_lists(decided, target))
    if submission.whole:
        return Answers(scores=indicators(decided, target).astype(np.float64))
    wide = probs.astype(np.float64)
    kept = np.array([label in submission.classes for label in classes])
    if submission.classes and not kept.all():  # of a class without column nothing can be said
        wide[:, ~kept] = 0.0
        wide[wide.sum(axis=1) == 0] = kept
    return Answers(scores=wide / wide.sum(axis=1, keepdims=True) if target.exclusive else wide)


def likeliest(scores: np.ndarray, target: Target) -> np.ndarray:
    """(N,) int64 class indices; of multi_label (N, C) bool: at least 0.5."""
    return scores.argmax(axis=1).astype(np.int64) if target.exclusive else scores >= 0.5


def indicators(decided: np.ndarray, target: Target) -> np.ndarray:
    """(N, C) bool, for class indices (N,) or (N, C) of 0 and 1."""
    return decided.astype(bool) if decided.ndim == 2 else np.arange(len(target.classes)) == decided[:, None]


def label_lists(decided: np.ndarray, target: Target) -> list[list[str]]:
    """The labels of each image, in the order of the classes."""
    return [[target.classes[index] for index in np.flatnonzero(row)] for row in indicators(decided, target)]


def decided_answers(decided: np.ndarray, target: Target) -> Answers:
    """What `decide` gave, spelled: a label an image, or for multi_label a list."""
    if target.exclusive:
        return Answers(labels=[target.classes[index] for index in decided])
    return Answers(lists=label_lists(decided, target))


def row_cells(answers: Answers, image_ids: Sequence[str], asked: Asked) -> dict[str, tuple[str, ...]]:
    """Row id -> the cells of its value columns. In a long submission every image has a row for each class."""
    submission, target = asked.submission, asked.target
    if answers.labels is not None:
        return {image_id: (label,) for image_id, label in zip(image_ids, answers.labels, strict=True)}
    if answers.lists is not None:
        lists = zip(image_ids, answers.lists, strict=True)
        return {image_id: (written_list(labels, submission.separator),) for image_id, labels in lists}
    assert answers.scores is not None
    written = _whole if submission.whole else _probability
    spelled = [[written(number) for number in row] for row in answers.scores.tolist()]
    if submission.kind == "score":
        at = target.classes.index(target.positive)
        return {image_id: (row[at],) for image_id, row in zip(image_ids, spelled, strict=True)}
    places = [target.classes.index(label) if label else len(target.classes) for label in submission.classes]
    for row in spelled:
        row.append("0")  # of a class without training images
    if submission.kind == "columns":
        return {image_id: tuple(row[at] for at in places) for image_id, row in zip(image_ids, spelled, strict=True)}
    return {
        f"{image_id}{submission.separator}{suffix}": (row[at],)
        for image_id, row in zip(image_ids, spelled, strict=True)
        for suffix, at in zip(submission.suffixes, places, strict=True)
    }


def _probability(number: float) -> str:
    """At least 7 digits, never in exponent form."""
    return np.format_float_positional(number, precision=DIGITS, fractional=False, unique=False, trim="0")


def _whole(number: float) -> str:
    return str(int(number))


def blank_sample(asked: Asked, image_ids: Sequence[str]) -> bytes:
    """A sample submission for other images (the training images), its cells empty."""
    submission = asked.submission
    if submission.kind == "long":
        ids = [f"{image_id}{submission.separator}{suffix}" for image_id in image_ids for suffix in submission.suffixes]
    else:
        ids = list(image_ids)
    at = submission.id_places[0]
    rows = [["" if place != at else row_id for place in range(len(submission.columns))] for row_id in ids]
    return content_of(submission.columns, rows, submission.make)


def read_answers(cells_of: Mapping[str, Sequence[str]], image_ids: Sequence[str], asked: Asked) -> Answers:
    """The answers that a submission's rows (row id -> cells of the value columns) give for `image_ids`, in this order.

    Raises KeyError for an image without row, ValueError for a cell that is no number where one must be.
    """
    submission, target = asked.submission, asked.target
    if submission.kind == "label":
        return Answers(labels=[cells_of[image_id][0] for image_id in image_ids])
    if submission.kind in ("list", "ranked"):
        separator = submission.separator
        return Answers(lists=[split_list(cells_of[image_id][0], separator, strict=True) for image_id in image_ids])
    scores = np.full((len(image_ids), len(target.classes)), np.nan)
    if submission.classes:
        scores[:, [index for index, label in enumerate(target.classes) if label not in submission.classes]] = 0.0
    if submission.kind == "score":
        positive = np.array([float(cells_of[image_id][0]) for image_id in image_ids])
        at = target.classes.index(target.positive)
        scores[:, at], scores[:, 1 - at] = positive, 1.0 - positive
        return Answers(scores=scores)
    kept = [place for place, label in enumerate(submission.classes) if label]
    places = [target.classes.index(submission.classes[place]) for place in kept]
    for row, image_id in enumerate(image_ids):
        if submission.kind == "columns":
            cells = list(cells_of[image_id])
        else:
            cells = [cells_of[f"{image_id}{submission.separator}{suffix}"][0] for suffix in submission.suffixes]
        scores[row, places] = [float(cells[place]) for place in kept]
    return Answers(scores=scores)


def predicted_counts(answers: Answers, target: Target) -> dict[str, int]:
    """label -> number of images for which it is the answer (of scores: the likeliest, or every one from 0.5)."""
    if answers.scores is not None:
        counts = indicators(likeliest(answers.scores, target), target).sum(axis=0)
        return dict(zip(target.classes, counts.tolist(), strict=True))
    found = Counter(answers.labels if answers.labels is not None else chain.from_iterable(answers.lists or []))
    return {label: found[label] for label in target.classes}
