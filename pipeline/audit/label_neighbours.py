"""What the nearest training images say of an image: the class that it looks like, and labels that they contradict."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.audit.neighbours import Nearest
from pipeline.competition.schema import Target

VOTERS = 10  # nearest training images of other groups than the image's own
UNANIMOUS = 9  # of them: fewer agree too often where classes are alike (python -m benchmarks.neighbours suspects)
TYPICAL = 0.7  # of several labels: how many of a class's neighbours have it, for one that none has to be odd


@dataclass(frozen=True)
class Contradicted:
    """A label that nearly all neighbours contradict."""

    row: int  # of the training images
    label: str  # of several labels `cat`, or `not cat` where the image does not have it
    suggested: str
    votes: int  # of `VOTERS`


@dataclass(frozen=True)
class Contradictions:
    """Labels that nearly all neighbours contradict, the most votes first, and among how many such neighbourhoods."""

    found: list[Contradicted]
    num_unanimous: int  # images (of several labels: image and class) of which nearly all neighbours agree

    @property
    def share(self) -> float:
        """Of the unanimous neighbourhoods, those that contradict their image."""
        return len(self.found) / max(self.num_unanimous, 1)


def voters(near: Nearest, own: np.ndarray, base: np.ndarray) -> np.ndarray:
    """(N, `VOTERS`) int64: the nearest rows of the base that are not of one's own group, -1 where there are no more.

    own (N,), base (M,): the group of each query and of each of the base, -1 for none.
    """
    groups = base[near.rows] if len(base) else near.rows
    kept = (near.rows >= 0) & ~((groups == own[:, None]) & (own >= 0)[:, None])
    order = np.argsort(~kept, axis=1, kind="stable")[:, :VOTERS]
    return np.where(np.take_along_axis(kept, order, axis=1), np.take_along_axis(near.rows, order, axis=1), -1)


def majority(labels: np.ndarray, voting: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """((N,) the label, of (M,) class indices, that most of the voters have, the lowest of equals, (N,) how many)."""
    cast, counts = _votes(labels, voting)
    most = counts.max(axis=1)
    return _lowest(cast, counts == most[:, None]), most


def looks(labels: np.ndarray, voting: np.ndarray) -> np.ndarray:
    """(N,) the label, of (M,) class indices, that more voters have than of any other, measured by how many there are.

    Of few classes among many a majority would see none.
    """
    cast, counts = _votes(labels, voting)
    shares = counts / np.bincount(labels)[np.maximum(cast, 0)]
    return _lowest(cast, shares == shares.max(axis=1)[:, None])


def _votes(labels: np.ndarray, voting: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """((N, `VOTERS`) the label of each voter, -1 of none, (N, `VOTERS`) how many have the same, 0 of none)."""
    cast = np.where(voting >= 0, labels[voting], -1)
    return cast, np.stack([(cast == one[:, None]).sum(axis=1) * (one >= 0) for one in cast.T], axis=1)


def _lowest(cast: np.ndarray, kept: np.ndarray) -> np.ndarray:
    found: np.ndarray = np.where(kept, np.maximum(cast, 0), np.iinfo(np.int64).max).min(axis=1)
    return found


def contradictions(truth: np.ndarray, voting: np.ndarray, target: Target) -> Contradictions:
    """The labels of the training images that nearly all of their voters contradict.

    truth: `target_array`'s, voting: `voters` of the same images.
    """
    if target.exclusive:
        found, unanimous = _of_exclusive(truth, voting, target.classes)
    else:
        parts = [_of_label(truth[:, at] > 0, voting, target.classes[at]) for at in range(len(target.classes))]
        found, unanimous = [each for part, _ in parts for each in part], sum(number for _, number in parts)
    return Contradictions(sorted(found, key=lambda each: (-each.votes, each.row)), unanimous)


def _of_exclusive(truth: np.ndarray, voting: np.ndarray, classes: Sequence[str]) -> tuple[list[Contradicted], int]:
    suggested, votes = majority(truth, voting)
    unanimous = votes >= UNANIMOUS
    rows = np.flatnonzero(unanimous & (suggested != truth))
    found = [Contradicted(row, classes[truth[row]], classes[suggested[row]], int(votes[row])) for row in rows.tolist()]
    return found, int(unanimous.sum())


def _of_label(has: np.ndarray, voting: np.ndarray, name: str) -> tuple[list[Contradicted], int]:
    """Images that are said to have a label, or not to have it, against nearly all of their voters.

    That no neighbour has it says something of a label alone which neighbours usually share.
    """
    votes = (has[voting] & (voting >= 0)).sum(axis=1)
    full = (voting >= 0).all(axis=1)
    there, absent = full & (votes >= UNANIMOUS), full & (votes <= VOTERS - UNANIMOUS)
    if not has.any() or votes[has].mean() < TYPICAL * VOTERS:
        absent = np.zeros_like(absent)
    odd = [(row, f"not {name}", name, votes[row]) for row in np.flatnonzero(there & ~has).tolist()]
    odd += [(row, name, f"not {name}", VOTERS - votes[row]) for row in np.flatnonzero(absent & has).tolist()]
    found = [Contradicted(row, label, suggested, int(number)) for row, label, suggested, number in odd]
    return found, int(there.sum() + absent.sum())
