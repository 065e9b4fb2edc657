"""Commands beside the stages: `python -m pipeline <command> --help`."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from pipeline import console
from pipeline.competition.answers import read_answers
from pipeline.competition.contract import check_submission, parse_table, refuse, value_cells
from pipeline.competition.metrics import metric_named, score
from pipeline.competition.schema import Schema, read_schema, target_array
from pipeline.files import read_json

RUN_PLACES = {
    "params": "params.yaml",
    "lock": "dvc.lock",
    "schema": "data/competition/schema.json",
    "train_table": "data/competition/train.csv",
    "test_table": "data/competition/test.csv",
    "sample": "data/competition/sample_submission.csv",
    "train_images": "data/images/train.npy",
    "test_images": "data/images/test.npy",
    "folds": "data/folds.csv",
    "models": "data/models",
    "oof": "data/oof",
    "test": "data/test",
    "decision": "data/report/decision.json",
    "submission": "submissions/submission.csv",
    "receipt": "submissions/receipt.json",
}


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the command line and call the command."""
    parser = argparse.ArgumentParser(prog="python -m pipeline", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)

    inspect = commands.add_parser(
        "inspect",
        help="say what is understood of a competition's zip or folder; --write puts it into params.yaml",
    )
    inspect.add_argument("raw", type=Path, help="zip or folder from the organiser")
    inspect.add_argument("--write", action="store_true", help="fill section `competition` of the params file")
    inspect.add_argument("--params", type=Path, default=Path("params.yaml"), help="default: %(default)s")
    inspect.set_defaults(call=_inspect)

    summary = commands.add_parser(
        "summary", help="cross-validation score, submission, and its score where a solution is at hand"
    )
    summary.add_argument("--metrics", type=Path, default=Path("data/report/metrics.json"), help="default: %(default)s")
    _submission_arguments(summary)
    summary.add_argument(
        "--solution", type=Path, help="CSV of the test images' true labels, laid out as the submission"
    )
    summary.set_defaults(call=_summary)

    check = commands.add_parser(
        "check", help="check a submission file against the sample submission and the training labels"
    )
    _submission_arguments(check)
    check.set_defaults(call=_check)

    verify = commands.add_parser(
        "verify", help="check a finished run from end to end; at damage, exit code 2 and the stage to run again"
    )
    for name, place in RUN_PLACES.items():
        verify.add_argument(f"--{name.replace('_', '-')}", type=Path, default=Path(place), help="default: %(default)s")
    verify.set_defaults(call=_verify)

    args = parser.parse_args(argv)
    args.call(args)


def _submission_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "submission", type=Path, nargs="?", default=Path("submissions/submission.csv"), help="default: %(default)s"
    )
    parser.add_argument(
        "--competition",
        type=Path,
        default=Path("data/competition"),
        help="folder that ingest wrote; default: %(default)s",
    )


def _inspect(args: argparse.Namespace) -> None:
    from pipeline.inspection import inspect_competition, write_settings

    account, settings = inspect_competition(args.raw, args.params)
    for line in account:
        console.say(line)
    if args.write:
        write_settings(args.params, args.raw, settings)
        console.say(f"wrote section `competition` of {args.params}; next: dvc repro")


def _verify(args: argparse.Namespace) -> None:
    from pipeline.verification import Places, verify_run

    for checked, found in verify_run(Places(**{name: getattr(args, name) for name in RUN_PLACES})):
        console.say(f"{checked:<12}  ok  {found}")


def _check(args: argparse.Namespace) -> None:
    schema = read_schema(args.competition / "schema.json")
    sample = (args.competition / "sample_submission.csv").read_bytes()
    findings = check_submission(args.submission.read_bytes(), sample, schema)
    refuse(findings, str(args.submission))
    for finding in findings:
        console.say(str(finding))
    console.say(f"{args.submission}: OK, the leaderboard's format holds")


def _summary(args: argparse.Namespace) -> None:
    if not args.metrics.is_file() or not args.submission.is_file():
        raise ValueError(f"{args.metrics} or {args.submission} is not there yet; run `dvc repro` first")
    scores = read_json(args.metrics)
    folds = scores["folds"]
    schema = read_schema(args.competition / "schema.json")
    direction = "" if metric_named(schema.metric).higher_is_better else ", lower is better"
    mean, error = folds["score_mean"], folds["score_standard_error"]
    console.say(
        f"cross-validation  out-of-fold {schema.metric} {scores['oof']['score']:.4f}; "
        f"over {len(folds['by_fold'])} folds {mean:.4f} ± {error:.4f} (mean ± standard error{direction})"
    )
    console.say(f"submission        {args.submission}")
    if args.solution is None or not args.solution.is_file():
        return
    reached = _solution_score(args.submission.read_bytes(), args.solution.read_bytes(), schema)
    if reached is None:
        console.say(f"leaderboard       unknown: {args.solution} is the solution of another competition")
    else:
        console.say(f"leaderboard       {schema.metric} {reached:.4f} on {args.solution}")


def _solution_score(submission: bytes, solution: bytes, schema: Schema) -> float | None:
    """The metric of a label submission; None where the solution is about other ids, or the format is another."""
    if parse_table(submission)[0] != parse_table(solution)[0] or schema.submission.kind != "label":
        return None
    predicted, truth = value_cells(submission, schema), value_cells(solution, schema)
    if set(predicted) != set(truth):
        return None
    image_ids = list(truth)
    labels = target_array([truth[image_id][0] for image_id in image_ids], schema.target)
    return score(schema.metric, labels, read_answers(predicted, image_ids, schema), schema.target)


if __name__ == "__main__":
    console.run(main)
