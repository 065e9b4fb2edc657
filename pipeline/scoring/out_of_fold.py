"""What was predicted out of fold, blended and decided: the rows that a run is scored by."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.base.files import fold_files
from pipeline.base.params import BlendParams, load_folds, load_section
from pipeline.competition.schema import Dealt, Schema, Target, read_dealt
from pipeline.scoring.blend import OWN, Chosen, choose_blend
from pipeline.scoring.decision import cross_fitted
from pipeline.scoring.fold_predictions import gather_oof
from pipeline.scoring.leak import Doubts
from pipeline.scoring.members import Common, doubts_out_of_fold, read_member_oof
from pipeline.submission.answers import indicators


@dataclass(frozen=True)
class OutOfFold:
    """Every training image with the prediction of the fold that held it out, in the train table's order."""

    dealt: Dealt
    chosen: Chosen  # of this run and the members of its blend
    decided: np.ndarray  # class indices (N,), of several labels (N, C) bool; each fold's as the others choose
    doubts: Mapping[str, Doubts]  # of the blend's members

    @property
    def probs(self) -> np.ndarray:
        """(N, C)."""
        return self.chosen.oof


def read_out_of_fold(
    params: Path, schema: Schema, *, train_table: Path, folds: Path, oof: Path, members: Path
) -> OutOfFold:
    """Gather what the folds and the members predicted.

    params: params.yaml (sections folds, blend); oof: a file a fold. Raises ValueError unless every training image has
    exactly one prediction.
    """
    names, target = load_folds(params), schema.target
    dealt = read_dealt(train_table, folds, target, names)
    own = gather_oof(fold_files(oof, ".npz", names), dealt.fold_of, len(target.classes), exclusive=target.exclusive)
    blend, common = load_section(params, "blend", BlendParams), Common(target=target, fold_of=dealt.fold_of)
    probs_of = {OWN: own} | {name: read_member_oof(members, name, common) for name in blend.members}
    chosen = choose_blend(dealt.truth, probs_of, dealt.held_by, schema, blend.how)
    decided = cross_fitted(dealt.truth, chosen.oof, dealt.held_by, target, schema.metric)
    return OutOfFold(dealt, chosen, decided, doubts_out_of_fold(probs_of, target))


@dataclass(frozen=True)
class Mistake:
    """An image that was decided wrong, by the cell that is most surely so."""

    row: int
    at: int  # the class that was wrongly given, or of several labels wrongly left out
    given: bool
    sureness: float  # the probability of what was said: of the class, or of its absence


def most_confident_mistakes(truth: np.ndarray, decided: np.ndarray, probs: np.ndarray, target: Target) -> list[Mistake]:
    """Every wrong image, the most confident first; of equals in order of rows."""
    given = indicators(decided, target)
    wrong = indicators(truth, target) != given
    sureness = np.where(wrong, np.where(given, probs, 0.0 if target.exclusive else 1.0 - probs), -1.0)
    rows = np.flatnonzero(wrong.any(axis=1))
    rows = rows[np.argsort(-sureness[rows].max(axis=1), kind="stable")]
    places = sureness[rows].argmax(axis=1)
    return [
        Mistake(row, at, bool(given[row, at]), float(sureness[row, at]))
        for row, at in zip(rows.tolist(), places.tolist(), strict=True)
    ]
