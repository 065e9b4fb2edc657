"""Two runs beside each other: scores fold by fold, images that changed sides, curves, parameters that differ."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.base.files import fold_files, made_by, read_history
from pipeline.base.params import load_params
from pipeline.commands import places
from pipeline.commands.member_source import run_files
from pipeline.competition.schema import Dealt, Schema
from pipeline.leaderboard.ledger import Entry, Ledger
from pipeline.leaderboard.restore import find_source
from pipeline.panels.run import CURVE_COLUMNS
from pipeline.report.page import report_page
from pipeline.report.svg import Chart, Line, chart, legend
from pipeline.report.thumbnails import Thumbnails
from pipeline.scoring.decision import cross_fitted
from pipeline.scoring.members import Common, read_run_oof
from pipeline.scoring.metrics import metric_named
from pipeline.submission.answers import indicators, label_lists
from pipeline.workbench.gains import fold_scores, metric_gain

NEEDED = (*(places.RUN[key] for key in ("target", "folds", "oof")), places.HISTORY)
MOST_SHOWN = 48  # images that changed sides, of each side


@dataclass(frozen=True)
class Compared:
    """One of two runs."""

    name: str
    about: str
    decided: np.ndarray
    scores: list[float]  # of each fold
    curves: Mapping[str, list[dict[str, Any]]]  # fold -> rows of its history
    params: dict[str, Any]


def compared_runs(
    sources: tuple[str, str], ledger: Ledger, root: Path, schema: Schema, dealt: Dealt
) -> tuple[Compared, Compared]:
    """The runs that two names mean: a folder, a git revision, a DVC experiment, or a submission of the ledger.

    Raises ValueError unless both are about this competition's classes and folds.
    """
    first, second = (_read(source, ledger, root, schema, dealt) for source in sources)
    return first, second


def _read(source: str, ledger: Ledger, root: Path, schema: Schema, dealt: Dealt) -> Compared:
    named, doubts = source, tuple[str, ...]()
    if source.isdigit() or source.startswith("fb-"):  # a row or a token of the ledger
        named, doubts = revision_of(ledger.find(source), root)
    with run_files(named, root, NEEDED) as found:
        probs = read_run_oof(
            source, target=found.path("target"), folds=found.path("folds"), oof=found.path("oof"),
            common=Common(target=schema.target, fold_of=dealt.fold_of),
        )  # fmt: skip
        folds = np.unique(dealt.held_by).tolist()
        curves = {}
        for fold, path in fold_files(found.folder / places.HISTORY, ".csv", folds).items():
            with made_by(f"-s train@{fold}", path):
                curves[fold] = read_history(path, CURVE_COLUMNS)
        params = load_params(found.folder / places.PARAMS)
    decided = cross_fitted(dealt.truth, probs, dealt.held_by, schema.target, schema.metric)
    scores = fold_scores(dealt.truth, probs, decided, dealt.held_by, dealt.image_ids, schema)
    members = (params.get("blend") or {}).get("members") or ()
    alone = [f"without {len(members)} members of its blend"] if members else []
    return Compared(source, "; ".join([found.about, *alone, *doubts]), decided, scores, curves, params)


def revision_of(entry: Entry, root: Path) -> tuple[str, tuple[str, ...]]:
    """(the commit of a submission's run, what cannot be known of it, or is another's, in sentences)."""
    found = find_source(entry, root)
    if entry.cv_score is None:  # the receipt was not about it
        another = f"row {entry.number} is a file that the run of that commit did not make (made elsewhere, or edited)"
        return found.commit, (*found.doubts, another)
    return found.commit, found.doubts


def difference_words(first: Compared, second: Compared, metric: str) -> str:
    """What the first gains on the second, fold by fold."""
    gained = metric_gain(second.scores, first.scores, metric)
    return f"{gained.mean:+.4f} ± {gained.error:.4f}, fold by fold: {gained.verdict}"


def comparison_page(first: Compared, second: Compared, schema: Schema, dealt: Dealt, store: np.ndarray) -> bytes:
    """store: the training images of the whole table."""
    pictures, metric = Thumbnails(), metric_named(schema.metric)
    right = [_right(run.decided, dealt.truth, schema) for run in (first, second)]
    cards = functools.partial(_cards, first, second, schema, dealt, store, pictures)
    won, lost = right[0] & ~right[1], right[1] & ~right[0]
    panel = {
        "names": (first.name, second.name),
        "abouts": (first.about, second.about),
        "said": difference_words(first, second, schema.metric),
        "metric": schema.metric,
        "direction": "higher is better" if metric.higher_is_better else "lower is better",
        "folds": list(zip(np.unique(dealt.held_by).tolist(), first.scores, second.scores, strict=True)),
        "legend": legend([(first.name, 0, False), (second.name, 1, False)]),
        "charts": _charts(first, second),
        "num_won": int(won.sum()), "num_lost": int(lost.sum()), "sides": _by_chance(int(won.sum()), int(lost.sum())),
        "won": cards(np.flatnonzero(won)), "lost": cards(np.flatnonzero(lost)),
        "params": differing_params(first.params, second.params),
    }  # fmt: skip
    return report_page(f"{first.name} against {second.name}", {"compared": panel}, pictures.addresses, {})


def _right(decided: np.ndarray, truth: np.ndarray, schema: Schema) -> np.ndarray:
    """(N,) bool: wholly right, with all of its labels."""
    return np.asarray((indicators(decided, schema.target) == indicators(truth, schema.target)).all(axis=1))


def _by_chance(won: int, lost: int) -> str:
    """McNemar's exact test."""
    if not won + lost:
        return ""
    from scipy.stats import binomtest

    value = float(binomtest(won, won + lost).pvalue)
    return f"; of two equally good runs as uneven in {value:.3f} of cases (McNemar's exact test)"


def _cards(
    first: Compared, second: Compared, schema: Schema, dealt: Dealt, store: np.ndarray, pictures: Thumbnails,
    rows: np.ndarray,
) -> list[dict[str, Any]]:  # fmt: skip
    rows = rows[:MOST_SHOWN]
    said = [label_lists(found[rows], schema.target) for found in (dealt.truth, first.decided, second.decided)]
    return [
        {
            "picture": pictures.add(store, "train", int(dealt.rows[row])), "id": dealt.image_ids[row],
            "label": ", ".join(own) or "no label", "first": ", ".join(one) or "no label",
            "second": ", ".join(other) or "no label",
        }
        for row, own, one, other in zip(rows.tolist(), *said, strict=True)
    ]  # fmt: skip


def _charts(first: Compared, second: Compared) -> list[tuple[str, Any, str]]:
    found = []
    for title, column in (("Held-out loss", "valid_loss"), ("Held-out accuracy", "valid_accuracy")):
        lines = [
            Line(f"{run.name}, fold {fold}, network {network}", points, colour)
            for colour, run in enumerate((first, second))
            for fold, rows in run.curves.items()
            for network in dict.fromkeys(row["network"] for row in rows)
            if (points := [(row["epoch"], row[column]) for row in rows
                           if row["network"] == network and row[column] is not None])
        ]  # fmt: skip
        if lines:
            asked = Chart(f"{title.lower()} by epoch", "epoch", title.lower(), lines=lines, whole_x=True)
            found.append((title, chart(asked), "A line for each fold and network."))
    return found


def differing_params(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """(section.key, its value in the first, in the second) of all that differs."""
    one, other = _flat(first), _flat(second)
    keys = list(dict.fromkeys([*one, *other]))
    return [
        (key, one.get(key, "not there"), other.get(key, "not there")) for key in keys if one.get(key) != other.get(key)
    ]


def _flat(params: Mapping[str, Any], before: str = "") -> dict[str, str]:
    found: dict[str, str] = {}
    for key, value in params.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{before}{key}.")
        else:
            found[f"{before}{key}"] = str(value)
    return found
