"""Commands beside the stages: `python -m pipeline <command> --help`."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from pipeline import console
from pipeline.competition.contract import check_submission, parse_table, refuse
from pipeline.competition.metrics import label_scores
from pipeline.competition.schema import read_schema
from pipeline.files import read_json
from pipeline.params import ComputeParams, ModelParams, load_folds, load_section


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the command line and call the command."""
    parser = argparse.ArgumentParser(prog="python -m pipeline", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)

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

    folds = commands.add_parser("folds", help="train and infer all stale folds side by side; DVC is told of each")
    folds.add_argument("--jobs", type=_job_count, help="folds at a time; default: one for each GPU, else each CPU core")
    folds.add_argument("--params", type=Path, default=Path("params.yaml"), help="default: %(default)s")
    folds.add_argument(
        "--logs", type=Path, default=Path("data/logs"), help="folder for each fold's log; default: %(default)s"
    )
    folds.set_defaults(call=_folds)

    args = parser.parse_args(argv)
    args.call(args)


def _job_count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 up")
    return int(text)


def _folds(args: argparse.Namespace) -> None:
    from pipeline.side_by_side import run_folds  # the other commands need neither DVC nor workers

    load_folds(args.params)  # of unquoted keys DVC would make no stage, and say nothing
    model = load_section(args.params, "model", ModelParams)
    run_folds(
        jobs=args.jobs,
        device=load_section(args.params, "compute", ComputeParams).device,
        logs=args.logs,
        preload=() if model.name == "resnet9" else ("timm",),
    )


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
    console.say(
        f"cross-validation  out-of-fold accuracy {scores['oof']['accuracy']:.4f}; over {len(folds['by_fold'])} folds "
        f"{folds['accuracy_mean']:.4f} ± {folds['accuracy_standard_error']:.4f} (mean ± standard error)"
    )
    console.say(f"submission        {args.submission}")
    if args.solution is None or not args.solution.is_file():
        return
    score = _score(args.submission, args.solution)
    if score is None:
        console.say(f"leaderboard       unknown: {args.solution} is the solution of another competition")
    else:
        console.say(f"leaderboard       accuracy {score:.4f} on {args.solution}")


def _score(submission: Path, solution: Path) -> float | None:
    """Accuracy of the submission; None where the solution is about other ids."""
    header, rows = parse_table(submission.read_bytes())
    solution_header, truth = parse_table(solution.read_bytes())
    predicted = {row[0]: row[1] for row in rows}
    if header != solution_header or set(predicted) != {row[0] for row in truth}:
        return None
    return label_scores([row[1] for row in truth], [predicted[row[0]] for row in truth])["accuracy"]


if __name__ == "__main__":
    console.run(main)
