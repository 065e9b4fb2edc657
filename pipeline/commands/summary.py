"""Print the cross-validation score, the submission, and its score where a solution is at hand."""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from pipeline.base import console
from pipeline.base.files import made_by, read_json
from pipeline.commands import places
from pipeline.competition.schema import Schema, class_indices, read_schema, read_test_ids, target_array
from pipeline.scoring.metrics import metric_named, score
from pipeline.submission.answers import Answers, blank_sample, read_answers
from pipeline.submission.contract import parse_table, value_cells


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Command line."""
    places.add_submission(parser)
    places.add_path(parser, "--scores", places.SCORES)
    places.add_path(parser, "--competition", places.COMPETITION, "folder that ingest wrote")
    parser.add_argument("--solution", type=Path, help="CSV of the test images' true labels, laid out as the submission")


def run(args: argparse.Namespace) -> None:
    """Print the lines."""
    if not args.scores.is_file() or not args.submission.is_file():
        raise ValueError(f"{args.scores} or {args.submission} is not there yet; run `dvc repro` first")
    with made_by("-s evaluate", args.scores):
        scores = read_json(args.scores)
    folds = scores["folds"]
    schema = read_schema(args.competition / "schema.json")
    direction = "" if metric_named(schema.metric).higher_is_better else ", lower is better"
    mean, error = folds["score_mean"], folds["score_standard_error"]
    console.say(
        f"cross-validation  out-of-fold {schema.metric} {scores['oof']['score']:.4f}; "
        f"over {len(folds['by_fold'])} folds {mean:.4f} ± {error:.4f} (mean ± standard error{direction})"
    )
    console.say(f"submission        {args.submission}")
    if places.PAGE.is_file():
        console.say(f"page              {places.PAGE}")
    if args.solution is not None and not args.solution.is_file():
        console.say(f"leaderboard       unknown: {args.solution} is not there")
    elif args.solution is not None:
        image_ids = list(read_test_ids(args.competition / "test.csv"))
        console.say(f"leaderboard       {_leaderboard(args.submission, args.solution, image_ids, schema)}")


def _leaderboard(submission: Path, solution: Path, image_ids: list[str], schema: Schema) -> str:
    """The score, in words, or why there is none."""
    sent, known, due = submission.read_bytes(), solution.read_bytes(), blank_sample(schema, image_ids)
    try:
        if parse_table(sent, schema.submission)[0] != parse_table(known, schema.submission)[0]:
            return f"unknown: {solution} has other columns than {submission}"
        truth, predicted = _cells(known, solution, schema), _cells(sent, submission, schema)
        if set(predicted) != set(truth):
            return f"unknown: {solution} is the solution of another competition, whose ids are others"
        if set(truth) != set(value_cells(due, schema)):
            return f"unknown: {submission} is of other test images than ingest read; run `dvc repro`"
        _refuse_unlearnt(truth, image_ids, schema)
        answers, right = (read_answers(cells, image_ids, schema) for cells in (predicted, truth))
        return (
            f"{schema.metric} {score(schema.metric, _truth(right, schema), answers, schema.target):.4f} on {solution}"
        )
    except ValueError as error:
        return f"unknown: {solution} cannot be used: {error}"


def _cells(content: bytes, path: Path, schema: Schema) -> dict[str, tuple[str, ...]]:
    try:
        return value_cells(content, schema)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _refuse_unlearnt(truth: Mapping[str, Sequence[str]], image_ids: Sequence[str], schema: Schema) -> None:
    """Raise where numbers say that images have a class of which there was no training image: no answer has it."""
    asked, is_long = schema.submission, schema.submission.kind == "long"
    names = asked.suffixes if is_long else asked.value_columns
    for at, name in enumerate(names[: len(asked.classes)]):
        if not asked.classes[at]:
            ids = (f"{image_id}{asked.separator}{name}" if is_long else image_id for image_id in image_ids)
            odd = [float(truth[row_id][0 if is_long else at]) != 0 for row_id in ids]
            _refuse(np.array(odd), f"are of {name!r}, of which there is no training image")


def _truth(right: Answers, schema: Schema) -> np.ndarray:
    """What `score` takes as the truth, for a solution in any of the submission's formats.

    Raises ValueError unless it says 0 or 1 in every cell of numbers, and of classes that exclude each other one for
    each image: what it says of a class without training images, or of images that do not count, is no truth here.
    """
    target = schema.target
    if right.labels is not None:
        return target_array(right.labels, target)
    if right.scores is not None:
        odd = np.asarray(~np.isin(right.scores, (0, 1)).all(axis=1))
        if target.exclusive:
            odd |= right.scores.sum(axis=1) != 1
        _refuse(odd, "say anything else than 0 or 1" + (", or not exactly one class" if target.exclusive else ""))
        return right.scores.argmax(axis=1) if target.exclusive else right.scores.astype(np.float32)
    indices = [class_indices(labels, target.classes) for labels in right.lists or ()]
    if target.exclusive:
        _refuse(np.array([len(found) != 1 for found in indices]), "do not say one class")
        return np.array([best[0] for best in indices])
    return np.array([np.isin(np.arange(len(target.classes)), found) for found in indices], dtype=np.float32)


def _refuse(odd: np.ndarray, what: str) -> None:
    """odd (N,) bool: images, in the order of the test table."""
    if odd.any():
        raise ValueError(f"{odd.sum()} of {len(odd)} images {what}, first rows {np.flatnonzero(odd)[:3].tolist()}")
