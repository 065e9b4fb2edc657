"""Commands beside the stages: `python -m pipeline <command> --help`."""

import argparse
import importlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline import console
from pipeline.competition.answers import read_answers
from pipeline.competition.contract import check_submission, parse_table, refuse, value_cells
from pipeline.competition.metrics import metric_named, score
from pipeline.competition.schema import Schema, read_schema, target_array
from pipeline.files import read_json


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

    _ledger_commands(commands)

    args = parser.parse_args(argv)
    args.call(args)


def _ledger_commands(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """The book of submissions, and what gives their files again."""
    ledger = commands.add_parser("ledger", help="the book of submissions: table, plot, noise, which two to choose")
    ledger.add_argument("--ledger", type=Path, default=Path("submissions/ledger.csv"), help="default: %(default)s")
    ledger.add_argument("--points", type=Path, default=Path("submissions/leaderboard.csv"), help="CSV of the DVC plot")
    ledger.add_argument("--figure", type=Path, default=Path("submissions/leaderboard.png"), help="default: %(default)s")
    ledger.add_argument("--site", help="kaggle or dacon; default: that of the newest submission")
    ledger.add_argument("--competition", help="its slug or number; default: that of the newest submission")
    ledger.set_defaults(call=_ledger)
    actions = ledger.add_subparsers(title="instead of showing it")
    sync = actions.add_parser("sync", help="settle with the site's list what a crash left open; fetch scores")
    sync.set_defaults(call=_ledger_sync)
    score_parser = actions.add_parser("score", help="enter a score by hand")
    score_parser.add_argument("reference", help="reference, row number, token, or 6 characters or more of the sha256")
    score_parser.add_argument("public", type=float, help="the public score")
    score_parser.add_argument("--private", type=float, help="the private score, once it is known")
    score_parser.set_defaults(call=_ledger_score)

    restore = commands.add_parser("restore", help="a past submission's code and artefacts in a worktree; its CSV again")
    restore.add_argument("reference", help="reference, row number, token, or 6 characters or more of the sha256")
    restore.add_argument("--out", type=Path, help="folder to make; default: beside the project, named by the sha256")
    restore.add_argument("--remake", action="store_true", help="train again what DVC's cache no longer has")
    restore.add_argument("--ledger", type=Path, default=Path("submissions/ledger.csv"), help="default: %(default)s")
    restore.add_argument("--archive", type=Path, default=Path("submissions/archive"), help="default: %(default)s")
    restore.set_defaults(call=_restore)

    bundle = commands.add_parser("bundle", help="one zip that makes the submission again, offline")
    bundle.add_argument("--out", type=Path, default=Path("submissions/bundle.zip"), help="default: %(default)s")
    bundle.add_argument("--params", type=Path, default=Path("params.yaml"), help="default: %(default)s")
    bundle.add_argument("--models", type=Path, default=Path("data/models"), help="default: %(default)s")
    bundle.add_argument("--competition", type=Path, default=Path("data/competition"), help="default: %(default)s")
    bundle.add_argument("--decision", type=Path, default=Path("data/report/decision.json"), help="default: %(default)s")
    bundle.add_argument("--submission", type=Path, default=Path("submissions/submission.csv"), help="its own CSV")
    bundle.add_argument("--receipt", type=Path, default=Path("submissions/receipt.json"), help="default: %(default)s")
    bundle.set_defaults(call=_bundle)
    verify = bundle.add_subparsers(title="instead of making it").add_parser(
        "verify", help="run the bundle in an empty environment without network, compare with the submission"
    )
    verify.add_argument("--zip", type=Path, default=Path("submissions/bundle.zip"), help="default: %(default)s")
    verify.add_argument("--venv", type=Path, help="environment with the bundle's requirements; default: this one")
    verify.add_argument("--images", type=Path, help="test images; default: competition.raw of the params file")
    verify.set_defaults(call=_bundle_verify)


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


def _ledger(args: argparse.Namespace) -> None:
    from pipeline.files import write_bytes, write_table
    from pipeline.leaderboard.judgement import POINT_COLUMNS, point_rows, points, table_lines, words
    from pipeline.leaderboard.ledger import Ledger
    from pipeline.report.figures import agreement_figure

    entries = Ledger(args.ledger).submissions_to(args.site, args.competition)
    for line in [*table_lines(entries), "", *words(entries)]:
        console.say(line)
    both = points(entries)
    write_table(args.points, POINT_COLUMNS, point_rows(entries))
    if both:
        named = [
            (f"row {entry.number}", entry.cv_score or 0.0, entry.cv_standard_error or 0.0, entry.public_score or 0.0)
            for entry in both
        ]
        write_bytes(args.figure, agreement_figure(named, both[-1].metric))
        console.say(f"plot         {args.figure}, and `dvc plots show`")


def _ledger_score(args: argparse.Namespace) -> None:
    from pipeline.leaderboard.ledger import Ledger

    book = Ledger(args.ledger)
    book.record_score(args.reference, public=args.public, private=args.private)
    entry = book.find(args.reference)
    console.say(f"row {entry.number} ({entry.message}): public {entry.public_score}, private {entry.private_score}")


def _ledger_sync(args: argparse.Namespace) -> None:
    from pipeline.leaderboard.ledger import Ledger
    from pipeline.leaderboard.sync import sync

    book = Ledger(args.ledger)
    newest = book.submissions_to(args.site, args.competition)[-1]
    client = _submission_list(newest.site, newest.competition)
    for line in sync(book, client, site=newest.site, slug=newest.competition):
        console.say(line)


def _submission_list(site: str, slug: str) -> Any:
    if site != "kaggle":
        raise ValueError(f"{site} gives no list of submissions; enter scores with `python -m pipeline ledger score`")
    return importlib.import_module("pipeline.leaderboard.kaggle_client").KaggleClient(slug)


def _restore(args: argparse.Namespace) -> None:
    from pipeline.leaderboard.ledger import Ledger
    from pipeline.leaderboard.provenance import project_root
    from pipeline.leaderboard.restore import restore

    entry = Ledger(args.ledger).find(args.reference)
    root = project_root(args.ledger)
    folder = args.out or root.with_name(f"{root.name}-{entry.sha256[:12]}")
    restored = restore(entry, root=root, folder=folder.resolve(), archive=args.archive, remake=args.remake)
    for line in restored.lines:
        console.say(line)
    console.say(f"when you are done: git worktree remove --force {restored.folder}")
    if not restored.identical:
        raise SystemExit(1)


def _bundle(args: argparse.Namespace) -> None:
    from pipeline.leaderboard.bundle import write_bundle

    records = {name: args.competition / name for name in ("schema.json", "test.csv")}
    manifest = write_bundle(
        args.out,
        params=args.params,
        models=args.models,
        records=records | {"decision.json": args.decision},
        submission=args.submission,
        receipt=args.receipt,
    )
    size = args.out.stat().st_size / 1e6
    console.say(f"{args.out}: {len(manifest['files'])} files, {size:,.1f} MB; next: python -m pipeline bundle verify")


def _bundle_verify(args: argparse.Namespace) -> None:
    from pipeline.leaderboard.bundle import verify_bundle
    from pipeline.params import load_params

    lines = verify_bundle(
        args.zip,
        images=args.images or Path(load_params(args.params)["competition"]["raw"]),
        sample=args.competition / "sample_submission.csv",
        submission=args.submission,
        python=args.venv / "bin" / "python" if args.venv else Path(sys.executable),
    )
    for line in lines:
        console.say(line)


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
