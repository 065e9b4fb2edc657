"""Labels that the held-out probabilities contradict: confident learning (Northcutt, Jiang, Chuang 2021).

A class's threshold is the mean probability of the class over the images labelled so: what the models give such an image
when it is held out. A label is suspect where its own probability is below its class's threshold, another class's is
above that one's own, and the likeliest class is another (the last as cleanlab has it). Of several labels each class is
a question of its own, whether an image has it or not.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.competition.schema import Target

COLUMNS = ("image_id", "label", "suggested", "label_probability", "suggested_probability", "fold")
TRIAL_SHARE = 0.05  # of the labels, that `trial` makes wrong


@dataclass(frozen=True)
class Suspect:
    """A label that the probabilities contradict."""

    row: int  # of the out-of-fold rows
    label: str  # of several labels `cat`, or `not cat` where the image does not have it
    suggested: str
    label_probability: float
    suggested_probability: float


def find_suspects(truth: np.ndarray, probs: np.ndarray, target: Target) -> list[Suspect]:
    """The suspect labels, the most contradicted first: by what the suggestion's probability is above the label's.

    truth: `target_array`'s; probs (N, C), of models that did not learn from the row. Equals stand in order of rows.
    """
    if target.exclusive:
        found = _of_exclusive(truth, probs, target.classes)
    else:
        found = [
            suspect for at in range(len(target.classes)) for suspect in _of_label(truth, probs, target.classes, at)
        ]
    return sorted(found, key=lambda suspect: (suspect.label_probability - suspect.suggested_probability, suspect.row))


def _of_exclusive(truth: np.ndarray, probs: np.ndarray, classes: Sequence[str]) -> list[Suspect]:
    suggested = contradicted(truth, probs)
    found = []
    for row in np.flatnonzero(suggested >= 0).tolist():
        own, other = int(truth[row]), int(suggested[row])
        found.append(Suspect(row, classes[own], classes[other], float(probs[row, own]), float(probs[row, other])))
    return found


def _of_label(truth: np.ndarray, probs: np.ndarray, classes: Sequence[str], at: int) -> list[Suspect]:
    """Of several labels: the images that are said to have class `at`, or not to have it, against the probabilities."""
    names, found = (f"not {classes[at]}", classes[at]), []
    for row in np.flatnonzero(_of_column(truth, probs, at) >= 0).tolist():
        has, there = bool(truth[row, at] > 0), float(probs[row, at])
        own, other = (there, 1 - there) if has else (1 - there, there)
        found.append(Suspect(row, names[has], names[not has], own, other))
    return found


def contradicted(truth: np.ndarray, probs: np.ndarray) -> np.ndarray:
    """(N,) int64: the class that each row's probabilities speak for instead of its own, -1 where its label stands.

    truth (N,) class indices, probs (N, C).
    """
    rows, num_classes = np.arange(len(probs)), probs.shape[1]
    own = probs[rows, truth].astype(np.float64)
    images = np.bincount(truth, minlength=num_classes)
    sums = np.bincount(truth, weights=own, minlength=num_classes)
    thresholds = np.divide(sums, images, out=np.full(num_classes, np.inf), where=images > 0)
    above = probs >= thresholds
    above[rows, truth] = False
    suspect = (own < thresholds[truth]) & above.any(axis=1) & (probs.argmax(axis=1) != truth)
    return np.where(suspect, np.where(above, probs, -1.0).argmax(axis=1), -1)


def suspect_mask(truth: np.ndarray, probs: np.ndarray, target: Target) -> np.ndarray:
    """Which labels are suspect: (N,) bool, of several labels (N, C)."""
    if target.exclusive:
        return contradicted(truth, probs) >= 0
    return np.stack([_of_column(truth, probs, at) >= 0 for at in range(len(target.classes))], axis=1)


def shares(mask: np.ndarray, held_by: np.ndarray) -> list[float]:
    """The share of each fold's labels that `mask` (N,) or (N, C) marks, folds in order."""
    return [float(mask[held_by == fold].mean()) for fold in np.unique(held_by)]


def trial(truth: np.ndarray, probs: np.ndarray, held_by: np.ndarray, target: Target) -> list[float]:
    """The share that is found, in each fold, of `TRIAL_SHARE` of its labels (at least one) made wrong for trial.

    Drawn always in the same way, among all labels: those that are not suspect are the ones that the models agree with,
    and would be found too easily. To be read beside the share of all labels that is suspect: where nothing is known,
    both are the same. The models did not learn from these wrong labels, as they did from those in the table.
    """
    generator = np.random.default_rng(0)
    planted = np.zeros(truth.shape, dtype=bool)
    for fold in np.unique(held_by):
        own = held_by == fold
        places = np.argwhere(own if target.exclusive else np.broadcast_to(own[:, None], truth.shape))
        number = max(1, round(TRIAL_SHARE * len(places)))
        planted[tuple(generator.choice(places, size=number, replace=False).T)] = True
    steps = generator.integers(1, max(len(target.classes), 2), size=truth.shape)
    wrong = (truth + steps) % len(target.classes) if target.exclusive else 1 - truth
    found = suspect_mask(np.where(planted, wrong, truth), probs, target) & planted
    return [float(found[held_by == fold].sum() / planted[held_by == fold].sum()) for fold in np.unique(held_by)]


def rows_of(suspects: Sequence[Suspect], image_ids: Sequence[str], held_by: np.ndarray) -> list[list[object]]:
    """Rows of suspects.csv, in `COLUMNS`."""
    return [
        [
            image_ids[suspect.row], suspect.label, suspect.suggested,
            f"{suspect.label_probability:.4f}", f"{suspect.suggested_probability:.4f}", held_by[suspect.row],
        ]
        for suspect in suspects
    ]  # fmt: skip


def _of_column(truth: np.ndarray, probs: np.ndarray, at: int) -> np.ndarray:
    """`contradicted` for one of several labels: class 0 is not having it, 1 is having it."""
    there = probs[:, at].astype(np.float64)
    return contradicted((truth[:, at] > 0).astype(np.int64), np.stack([1 - there, there], axis=1))
