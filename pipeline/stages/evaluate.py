"""Reads the out-of-fold predictions of all folds. Writes scores, decision, curves, confusion and the worst mistakes.

Stops unless every training image has exactly one out-of-fold prediction. Members of a blend join this run's. The score
is the competition's metric of the predictions written in the submission's format and read back.
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.base import console
from pipeline.base.files import (
    fold_files,
    made_by,
    read_history,
    read_json,
    sha256_of,
    write_bytes,
    write_json,
    write_table,
)
from pipeline.base.params import load_folds
from pipeline.competition.schema import (
    PER_CLASS_COLUMNS,
    Schema,
    Target,
    read_schema,
)
from pipeline.competition.store import read_store
from pipeline.report.figures import confusion_figure, curves_figure, drawn, mistakes_figure, rates_figure
from pipeline.scoring.blend import RANK, account_lines, write_blend
from pipeline.scoring.decision import choose_decision, write_decision
from pipeline.scoring.fold_predictions import confusion_counts
from pipeline.scoring.metrics import can_score, mean_and_standard_error, metric_named, score
from pipeline.scoring.out_of_fold import OutOfFold, most_confident_mistakes, read_out_of_fold
from pipeline.submission.answers import Answers, answers_of, decided_answers, indicators
from pipeline.submission.contract import through_the_writer

NUM_MISTAKES = 24
CURVE_COLUMNS = (
    "fold", "network", "epoch", "learning_rate", "train_loss", "train_accuracy", "valid_loss", "valid_accuracy",
    "gradient_norm_mean", "gradient_norm_max",
)  # fmt: skip
BESIDE = {True: ("accuracy", "macro_f1", "log_loss"), False: ("element_accuracy", "macro_f1", "log_loss")}  # exclusive?


def main(argv: Sequence[str] | None = None) -> None:
    """Command line of the stage; the paths come from dvc.yaml."""
    parser = argparse.ArgumentParser(prog="python -m pipeline.stages.evaluate", description=__doc__)
    parser.add_argument("--params", type=Path, required=True, help="params.yaml (sections folds, blend)")
    parser.add_argument("--schema", type=Path, required=True, help="JSON from ingest")
    parser.add_argument("--train-table", type=Path, required=True, help="CSV of labelled images")
    parser.add_argument("--folds", type=Path, required=True, help="CSV from split")
    parser.add_argument("--train-images", type=Path, required=True, help=".npy from decode_train")
    parser.add_argument("--description", type=Path, required=True, help="JSON from decode_train")
    parser.add_argument("--oof", type=Path, required=True, help="folder of out-of-fold predictions, a file a fold")
    parser.add_argument("--members", type=Path, required=True, help="folder of the members of a blend, one each")
    parser.add_argument("--history", type=Path, required=True, help="folder of histories, a file a fold")
    parser.add_argument("--seconds", type=Path, required=True, help="folder of the seconds that folds took; untracked")
    parser.add_argument("--metrics", type=Path, required=True, help="JSON to write: the score that counts")
    parser.add_argument("--scores", type=Path, required=True, help="JSON to write: all scores, also by fold")
    parser.add_argument("--total-seconds", type=Path, required=True, help="JSON to write: of all folds; untracked")
    parser.add_argument("--decision", type=Path, required=True, help="JSON to write: how probabilities become labels")
    parser.add_argument("--blend", type=Path, required=True, help="JSON to write: how the members are mixed, and why")
    parser.add_argument("--per-class", type=Path, required=True, help="CSV to write: a row a class")
    parser.add_argument("--curves", type=Path, required=True, help="CSV to write: a row an epoch and network")
    parser.add_argument("--curves-figure", type=Path, required=True, help="PNG to write")
    parser.add_argument("--confusion", type=Path, required=True, help="CSV to write: true, predicted, images")
    parser.add_argument("--confusion-figure", type=Path, required=True, help="PNG to write")
    parser.add_argument("--mistakes-figure", type=Path, required=True, help="PNG to write: most confidently wrong")
    args = parser.parse_args(argv)
    folds = load_folds(args.params)
    schema = read_schema(args.schema)
    target = schema.target
    found = read_out_of_fold(
        args.params, schema, train_table=args.train_table, folds=args.folds, oof=args.oof, members=args.members
    )
    dealt, oof, decided = found.dealt, found.probs, found.decided
    image_ids, truth, held_by = dealt.image_ids, dealt.truth, dealt.held_by
    store, _ = read_store(args.train_images, args.description, num_rows=dealt.num_rows, table=args.train_table)
    if len(image_ids) < dealt.num_rows:
        store = store[dealt.rows]
    decision = choose_decision(truth, oof, target, schema.metric, held_by)
    others = [name for name in BESIDE[target.exclusive] if name != "log_loss" or found.chosen.blend.how != RANK]
    scores = _scores(truth, oof, decided, schema, image_ids, held_by, folds, others)
    counts = _counts(truth, decided, target)
    histories = _histories(fold_files(args.history, ".csv", folds))

    error = scores["folds"]["score_standard_error"]
    write_json(args.metrics, {"oof_score": scores["oof"]["score"], "standard_error": error})
    write_json(args.scores, scores)
    _sum_seconds(args.seconds, args.total_seconds, fold_files(args.oof, ".npz", folds))
    write_blend(args.blend, found.chosen, found.doubts)
    write_decision(args.decision, decision)
    per_class = _per_class(counts, target.classes)
    write_table(args.per_class, PER_CLASS_COLUMNS, per_class)
    write_table(args.confusion, ("true", "predicted", "images"), _confusion_rows(truth, decided, target))
    confusion = drawn("confusion", lambda: _confusion_figure(truth, decided, per_class, target))
    write_bytes(args.confusion_figure, confusion)
    curve_rows = [
        ["" if cell is None else cell for cell in row.values()] for rows in histories.values() for row in rows
    ]
    write_table(args.curves, CURVE_COLUMNS, curve_rows)
    write_bytes(args.curves_figure, drawn("curves", lambda: curves_figure(histories)))
    mistakes = drawn("mistakes", lambda: _mistakes(found, store, target))
    write_bytes(args.mistakes_figure, mistakes)
    _say(scores, schema)
    for line in account_lines(found.chosen, schema):
        console.say(line)


def _sum_seconds(folder: Path, out: Path, oof: Mapping[str, Path]) -> None:
    """Seconds of all folds, where each was trained here: no output, so that equal runs have equal outputs."""
    noted = [read_json(path) for path in (folder / f"{fold}.json" for fold in oof) if path.is_file()]
    if [note["oof_sha256"] for note in noted] == [sha256_of(path) for path in oof.values()]:
        write_json(out, {"train_seconds": round(sum(note["seconds"] for note in noted), 1)})
    else:
        out.unlink(missing_ok=True)


def _histories(files: Mapping[str, Path]) -> dict[str, list[dict[str, Any]]]:
    histories = {}
    for fold, path in files.items():
        with made_by(f"-s train@{fold}", path):
            histories[fold] = read_history(path, CURVE_COLUMNS)
    return histories


def _scores(
    truth: np.ndarray,
    oof: np.ndarray,
    decided: np.ndarray,
    schema: Schema,
    image_ids: Sequence[str],
    held_by: np.ndarray,
    folds: Sequence[str],
    beside_it: Sequence[str],
) -> dict[str, Any]:
    """beside_it: metrics to compute beside the competition's; no log loss of mean ranks, which are no probabilities."""
    target = schema.target
    written = through_the_writer(answers_of(oof, decided, target, schema.submission), image_ids, schema)
    beside = {"labels": decided_answers(decided, target), "scores": Answers(scores=oof.astype(np.float64))}

    def scores_of(rows: np.ndarray, *, skip: bool) -> dict[str, float]:
        own = score(schema.metric, truth[rows], written.of_rows(rows), target, skip_one_sided=skip)
        others = {
            name: score(name, truth[rows], beside[metric_named(name).takes].of_rows(rows), target, skip_one_sided=skip)
            for name in beside_it
        }
        return {"score": own} | others

    rows_of = {fold: np.flatnonzero(held_by == fold) for fold in folds}
    alike = [fold for fold, rows in rows_of.items() if not can_score(schema.metric, truth[rows], target)]
    if len(folds) - len(alike) < 2:
        raise ValueError(
            f"{schema.metric} is undefined where all images have the same labels, and so they have in {len(alike)} of "
            f"{len(folds)} folds; deal them otherwise (section split), or take another metric: competition.metric"
        )
    if alike:
        console.say(
            f"warning: {schema.metric} is undefined where all images have the same labels: folds {', '.join(alike)} "
            "are left out of the mean over folds"
        )
    by_fold = {}
    with console.progress_bar("scores", total=len(folds) + 1, unit=" folds", leave=False) as bar:
        for fold, rows in rows_of.items():
            if fold not in alike:
                by_fold[fold] = scores_of(rows, skip=True)
            bar.update()
        over_all = scores_of(np.arange(len(truth)), skip=False)
    mean, error = mean_and_standard_error([scores["score"] for scores in by_fold.values()])
    return {
        "oof": over_all,
        "folds": {"score_mean": mean, "score_standard_error": error, "by_fold": by_fold},
    }


def _say(scores: dict[str, Any], schema: Schema) -> None:
    folds_line = f"{scores['folds']['score_mean']:.4f} ± {scores['folds']['score_standard_error']:.4f}"
    others = ", ".join(
        f"{name} {value:.4f}" for name, value in scores["oof"].items() if name not in ("score", schema.metric)
    )
    direction = "" if metric_named(schema.metric).higher_is_better else " (lower is better)"
    console.say(
        f"out of fold: {schema.metric} {scores['oof']['score']:.4f}{direction}; folds {folds_line} "
        f"(mean ± standard error); {others}"
    )


def _counts(truth: np.ndarray, decided: np.ndarray, target: Target) -> np.ndarray:
    """(C, 3) int64: images of each class, images it was given to, and both."""
    true, predicted = indicators(truth, target), indicators(decided, target)
    return np.stack([true.sum(axis=0), predicted.sum(axis=0), (true & predicted).sum(axis=0)], axis=1)


def _per_class(counts: np.ndarray, classes: Sequence[str]) -> list[list[Any]]:
    table = []
    for label, (true, predicted, right) in zip(classes, counts.tolist(), strict=True):
        precision, recall = right / max(predicted, 1), right / max(true, 1)
        table.append([label, true, predicted, precision, recall, 2 * right / max(true + predicted, 1)])
    return table


def _confusion_rows(truth: np.ndarray, decided: np.ndarray, target: Target) -> list[list[Any]]:
    """true, predicted, images: every pair of classes; of several labels each class against `not` it."""
    classes = target.classes
    if target.exclusive:
        counts = confusion_counts(truth, decided, len(classes))
        pairs = [(i, j) for i in range(len(classes)) for j in range(len(classes))]
        return [[classes[i], classes[j], int(counts[i, j])] for i, j in pairs]
    rows = []
    for at, label in enumerate(classes):
        for true, predicted in ((True, True), (True, False), (False, True), (False, False)):
            images = int(((truth[:, at] > 0) == true)[(decided[:, at] > 0) == predicted].sum())
            names = [label if there else f"not {label}" for there in (true, predicted)]
            rows.append([*names, images])
    return rows


def _confusion_figure(truth: np.ndarray, decided: np.ndarray, per_class: list[list[Any]], target: Target) -> bytes:
    if target.exclusive:
        return confusion_figure(confusion_counts(truth, decided, len(target.classes)), target.classes)
    return rates_figure([(row[0], row[3], row[4]) for row in per_class])


def _mistakes(found: OutOfFold, store: np.ndarray, target: Target) -> bytes:
    """The most confidently wrong images: by the probability of the wrong answer, or against the right one."""
    classes, truth, image_ids = target.classes, found.dealt.truth, found.dealt.image_ids
    worst = most_confident_mistakes(truth, found.decided, found.probs, target)[:NUM_MISTAKES]
    captions = []
    for mistake in worst:
        label = classes[mistake.at]
        if target.exclusive:
            said = f"{classes[int(truth[mistake.row])]} taken for {label}"
        else:
            said = label if mistake.given else f"not {label}"
        captions.append((image_ids[mistake.row], said, f"at {found.probs[mistake.row, mistake.at]:.3f}"))
    return mistakes_figure(store[[mistake.row for mistake in worst]], captions)


if __name__ == "__main__":
    console.run(main)
