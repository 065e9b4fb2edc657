"""What the ledger's scores say: cross-validation against the leaderboard, noise, and which two to choose as final."""

import math
from collections.abc import Sequence

import numpy as np

from pipeline.leaderboard.ledger import FAILED, INTENDED, Entry
from pipeline.scoring.metrics import metric_named

MIN_FOR_CORRELATION = 3
POINT_COLUMNS = ("submission", "message", "cv_score", "cv_standard_error", "public_score", "private_score")
HEADER = ("row", "time (UTC)", "status", "CV score", "public", "private", "reference", "sha256", "message")


def table_lines(entries: Sequence[Entry]) -> list[str]:
    """The ledger as a table for the terminal, oldest first."""
    rows = [HEADER, *(_shown(entry) for entry in entries)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADER))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _shown(entry: Entry) -> tuple[str, ...]:
    reason = f" ({entry.reason})" if entry.reason else ""
    return (
        str(entry.number),
        entry.time[:16].replace("T", " "),
        entry.status,
        _with_error(entry),
        _number(entry.public_score),
        _number(entry.private_score),
        entry.reference or entry.submission,
        entry.sha256[:12],
        entry.message + reason,
    )


def _with_error(entry: Entry) -> str:
    if entry.cv_score is None:
        return "-"
    return f"{entry.cv_score:.4f} ± {entry.cv_standard_error or 0:.4f}"


def _number(score: float | None) -> str:
    return "-" if score is None else f"{score:.5f}"


def beyond_metric(entry: Entry) -> str | None:
    """What is odd where one of its scores cannot be of its metric: percents, or a loss with the sign turned.

    Of ours, what is better when higher is at most 1, kappas and correlations at least -1; none is a loss below 0.
    """
    if not entry.metric or ":" in entry.metric:
        return None
    lowest, highest = (-1.0, 1.0) if metric_named(entry.metric).higher_is_better else (0.0, math.inf)
    odd = [score for score in (entry.public_score, entry.private_score) if score is not None]
    odd = [score for score in odd if not lowest <= score <= highest]
    return f"{odd[0]:g} is no {entry.metric}, which lies between {lowest:g} and {highest:g}" if odd else None


def judged(entries: Sequence[Entry]) -> list[Entry]:
    """Those that a final choice may name, oldest first: they arrived, were not refused, and have a CV score.

    Each file once, but of every notebook its own, as the hidden images tell apart those with the same public answers;
    and only those of the newest one's metric: scores of two metrics cannot be compared.
    """
    lost = (INTENDED, FAILED, "error")  # of an intent nobody knows yet whether it arrived
    arrived = [entry for entry in entries if entry.status not in lost and entry.cv_score is not None]
    same = [entry for entry in arrived if entry.metric == arrived[-1].metric]
    once = {(entry.sha256, entry.notebook): entry for entry in same}
    return sorted(once.values(), key=lambda entry: entry.number)


def points(entries: Sequence[Entry]) -> list[Entry]:
    """Those with both scores."""
    return [entry for entry in judged(entries) if entry.public_score is not None]


def point_rows(entries: Sequence[Entry]) -> list[list[str]]:
    """`POINT_COLUMNS` of `points`, for the plot."""
    found = [[getattr(entry, name) for name in POINT_COLUMNS] for entry in points(entries)]
    return [["" if cell is None else str(cell) for cell in row] for row in found]


def spearman(xs: Sequence[float], ys: Sequence[float]) -> float | None:
    """Rank correlation, equal values sharing their mean rank; None where all of one side are equal."""
    first, second = _ranks(xs), _ranks(ys)
    return float(np.corrcoef(first, second)[0, 1]) if first.std() and second.std() else None


def _ranks(values: Sequence[float]) -> np.ndarray:
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[places]


def words(entries: Sequence[Entry]) -> list[str]:
    """The judgement of one competition's submissions, a line each."""
    scored = judged(entries)
    if not scored:
        return ["no submission has a cross-validation score yet"]
    better = "higher" if _higher_is_better(scored) else "lower"
    return [
        f"metric       {scored[-1].metric}, {better} is better",
        _correlation_line(points(entries)),
        *_gain_lines(scored),
        *_final_lines(scored),
    ]


def _higher_is_better(scored: Sequence[Entry]) -> bool:
    return metric_named(scored[-1].metric).higher_is_better


def _correlation_line(both: Sequence[Entry]) -> str:
    if len(both) < MIN_FOR_CORRELATION:
        return f"correlation  {len(both)} submissions have both scores; from {MIN_FOR_CORRELATION} on it is computed"
    value = spearman([entry.cv_score or 0.0 for entry in both], [entry.public_score or 0.0 for entry in both])
    if value is None:
        return f"correlation  undefined: the scores of {len(both)} submissions are all equal"
    chance = min(1.0, 1.96 / math.sqrt(len(both) - 1))
    said = "cross-validation and leaderboard agree" if value > chance else "no more than chance gives"
    if value < -chance:
        said = "they contradict each other: look for a leak in the folds, or a shift between train and test"
    return (
        f"correlation  {value:+.2f} (Spearman, CV against public, {len(both)} submissions): {said} "
        f"(±{chance:.2f} happens by chance)"
    )


def _gain_lines(scored: Sequence[Entry]) -> list[str]:
    """The newest submission against the best one before it."""
    if len(scored) < 2:
        return []
    newest, before = scored[-1], best_by_cv(scored[:-1])
    gain = (newest.cv_score or 0.0) - (before.cv_score or 0.0)
    error = math.hypot(newest.cv_standard_error or 0.0, before.cv_standard_error or 0.0)
    improved = gain > 0 if _higher_is_better(scored) else gain < 0
    if abs(gain) <= error:
        said = "inside the standard error: it may be chance"
    else:
        said = f"{'better' if improved else 'worse'} by more than the standard error"
    return [
        f"newest       row {newest.number}, CV {gain:+.4f} against row {before.number}, the best before it; standard "
        f"error of the difference {error:.4f}: {said}",
        "             (as if their folds were independent; on the same folds the noise is smaller: look at the folds)",
    ]


def best_by_cv(scored: Sequence[Entry]) -> Entry:
    """The best cross-validation score; of equal ones the earliest."""
    sign = 1 if _higher_is_better(scored) else -1
    return max(scored, key=lambda entry: (sign * (entry.cv_score or 0.0), -entry.number))


def final_two(scored: Sequence[Entry]) -> tuple[Entry, Entry | None, list[Entry]]:
    """(best by CV, best public score among those that CV cannot tell from it, those).

    Without a public score among those, the second is the next best by CV.
    """
    best = best_by_cv(scored)
    sign = 1 if _higher_is_better(scored) else -1
    others = [entry for entry in scored if entry is not best]
    noise = best.cv_standard_error or 0.0
    alike = [entry for entry in others if abs((entry.cv_score or 0.0) - (best.cv_score or 0.0)) <= noise]
    with_public = [entry for entry in alike if entry.public_score is not None]
    if with_public:
        return best, max(with_public, key=lambda entry: (sign * (entry.public_score or 0.0), -entry.number)), alike
    return best, best_by_cv(alike or others) if others else None, alike


def _final_lines(scored: Sequence[Entry]) -> list[str]:
    best, second, alike = final_two(scored)
    lines = [f"final        1st: row {best.number}, the best CV score, {_with_error(best)}"]
    if second is None:
        return [*lines, "             2nd: there is no other submission yet"]
    if second.public_score is not None and second in alike:
        why = (
            f"the best public score, {_number(second.public_score)}, of the {len(alike)} whose CV score lies "
            "within one standard error of the best"
        )
    else:
        why = "the next best CV score: no other with a public score lies within one standard error of the best"
    return [
        *lines,
        f"             2nd: row {second.number}, {why}",
        "             (the public score is measured on part of the test images; it may decide among submissions that",
        "             cross-validation cannot tell apart, and nothing more: chasing it beyond the noise is a lottery)",
    ]
