"""The first panel: the score, what was made of it, and what to do next."""

from collections.abc import Sequence
from typing import Any

from pipeline.panels.run import Run
from pipeline.report.svg import Chart, Dot, chart, shown
from pipeline.scoring.metrics import metric_named

UPLOAD = 'python -m pipeline upload -m "what is new"'


def verdict(run: Run, sent: Sequence[str] = ()) -> dict[str, Any]:
    """Score, folds, submission, warnings; sent: what the ledger says of this very submission, a line each."""
    metric, folds, receipt = metric_named(run.schema.metric), run.scores["folds"], run.receipt
    mean, error = folds["score_mean"], folds["score_standard_error"]
    by_fold = {fold: scores["score"] for fold, scores in folds["by_fold"].items()}
    dots = [Dot(value, 0.0, f"fold {fold}: {shown(value)}", colour=0) for fold, value in by_fold.items()]
    dots.append(Dot(mean, 1.0, f"mean {shown(mean)} ± {shown(error)}", colour=1, x_error=error))
    warnings = _warnings(run)
    return {
        "metric": run.schema.metric,
        "direction": "higher is better" if metric.higher_is_better else "lower is better",
        "score": run.scores["oof"]["score"], "mean": mean, "error": error,
        "others": [pair for pair in run.scores["oof"].items() if pair[0] not in ("score", run.schema.metric)],
        "folds": [(fold, len(_rows_of(run, fold)), value) for fold, value in by_fold.items()],
        "strip": chart(
            Chart("score of each fold, and their mean with its standard error", run.schema.metric, "",
                  dots=dots, y_range=(-0.6, 1.6), plain_y=True)
        ),
        "images": len(run.found.dealt.image_ids), "classes": len(run.schema.target.classes),
        "kind": run.schema.target.kind, "rows": receipt["rows"], "sha256": receipt["sha256"],
        "by_prior": len(receipt["predicted_by_prior"]), "warnings": warnings, "sent": list(sent),
        "members": _members(run), "how": run.blend["how"], "next": _next(warnings, sent),
    }  # fmt: skip


def _rows_of(run: Run, fold: str) -> Any:
    return (run.found.dealt.held_by == fold).nonzero()[0]


def _members(run: Run) -> list[tuple[str, float]]:
    weights = run.blend["weights"]
    return list(weights.items()) if len(weights) > 1 else []


def _warnings(run: Run) -> list[str]:
    """Of the contract, of how the files were read, and of the audit."""
    of_audit = [
        f"{finding['kind']}: {finding['count']:,} ({', '.join(finding['first'])}); {finding['remedy']}"
        for finding in (*run.audit["findings"], *run.neighbours["findings"])
        if finding["severity"] != "note"
    ]
    problems = {**run.recognised["allowed_problems"], **run.audit["allowed_problems"]}
    allowed = [f"{kind}: {count:,} (allowed by competition.allow)" for kind, count in problems.items()]
    return [*run.receipt["warnings"], *run.recognised["warnings"], *allowed, *of_audit]


def _next(warnings: Sequence[str], sent: Sequence[str]) -> tuple[str, str]:
    """(what to type, why)."""
    if sent:
        return "python -m pipeline ledger", "what the leaderboard says of all submissions, and which two to choose"
    if warnings:
        return UPLOAD, "sends it; look at the warnings first"
    return UPLOAD, "checks it once more, sends it once, and waits for its score"
