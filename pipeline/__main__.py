"""Commands beside the stages: `python -m pipeline <command> --help`."""

import argparse
import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.base import console
from pipeline.base.files import made_by, read_json, read_table
from pipeline.base.params import ComputeParams, ModelParams, check_params, load_params, load_section
from pipeline.competition.schema import PER_CLASS_COLUMNS, Schema, read_schema, read_seen, read_test_ids, target_array
from pipeline.scoring.metrics import metric_named, score
from pipeline.submission.answers import read_answers
from pipeline.submission.contract import REFUSED, parse_table, value_cells, verdict
from pipeline.submission.report import verdict_record, verdict_table

if TYPE_CHECKING:
    from pipeline.leaderboard.kaggle_client import KaggleClient
    from pipeline.leaderboard.site import Client

RUN_PLACES = {
    "params": "params.yaml",
    "lock": "dvc.lock",
    "target": "data/competition/target.json",
    "schema": "data/competition/schema.json",
    "train_table": "data/competition/train.csv",
    "test_table": "data/competition/test.csv",
    "sample": "data/competition/sample_submission.csv",
    "train_images": "data/images/train.npy",
    "train_description": "data/images/train.json",
    "test_images": "data/images/test.npy",
    "test_description": "data/images/test.json",
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
        help="say what is understood of a competition's archive or folder; --write puts it into params.yaml",
    )
    inspect.add_argument("raw", type=Path, help="archive or folder from the organiser")
    inspect.add_argument("--write", action="store_true", help="fill section `competition` of the params file")
    inspect.add_argument("--recipe", action="store_true", help="write the suggested recipe too")
    inspect.add_argument("--demo", default="data/demo/digits.zip", help=argparse.SUPPRESS)
    inspect.add_argument("--params", type=Path, default=Path("params.yaml"), help="default: %(default)s")
    inspect.set_defaults(call=_inspect)

    summary = commands.add_parser(
        "summary", help="cross-validation score, submission, and its score where a solution is at hand"
    )
    summary.add_argument("--scores", type=Path, default=Path("data/report/scores.json"), help="default: %(default)s")
    _submission_arguments(summary)
    summary.add_argument(
        "--solution", type=Path, help="CSV of the test images' true labels, laid out as the submission"
    )
    summary.set_defaults(call=_summary)

    check = commands.add_parser(
        "check", help="check a submission file against the sample submission and the training labels"
    )
    _submission_arguments(check)
    _known_arguments(check)
    check.add_argument("--json", action="store_true", help="the verdict for machines")
    check.set_defaults(call=_check)

    verify = commands.add_parser(
        "verify", help="check a finished run from end to end; at damage, exit code 2 and the stage to run again"
    )
    for name, place in RUN_PLACES.items():
        verify.add_argument(f"--{name.replace('_', '-')}", type=Path, default=Path(place), help="default: %(default)s")
    verify.set_defaults(call=_verify)

    folds = commands.add_parser("folds", help="train and infer all stale folds side by side; DVC is told of each")
    folds.add_argument("--jobs", type=_job_count, help="folds at a time; default: by GPU memory, else one a core")
    folds.add_argument("--params", type=Path, default=Path("params.yaml"), help="default: %(default)s")
    folds.add_argument(
        "--logs", type=Path, default=Path("data/logs"), help="folder for each fold's log; default: %(default)s"
    )
    folds.set_defaults(call=_folds)
    _site_commands(commands)
    _ledger_commands(commands)

    args = parser.parse_args(argv)
    args.call(args)


def _job_count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 up")
    return int(text)


def _folds(args: argparse.Namespace) -> None:
    from pipeline.commands.side_by_side import run_folds  # the other commands need neither DVC nor workers

    check_params(args.params)  # of unquoted fold keys, say, DVC would make no stage, and say nothing
    model = load_section(args.params, "model", ModelParams)
    run_folds(
        jobs=args.jobs,
        device=load_section(args.params, "compute", ComputeParams).device,
        logs=args.logs,
        preload=() if model.name == "resnet9" else ("timm",),
    )


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
    bundle.add_argument("--format", type=Path, default=Path("data/images/format.json"), help="default: %(default)s")
    bundle.add_argument("--seen", type=Path, default=Path("data/images/test.csv"), help="default: %(default)s")
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


def _known_arguments(parser: argparse.ArgumentParser) -> None:
    """What a submission is compared with, where it is there."""
    parser.add_argument(
        "--per-class", type=Path, default=Path("data/report/per_class.csv"), help="from evaluate; default: %(default)s"
    )
    parser.add_argument(
        "--receipt", type=Path, help="from submit; default: receipt.json beside submission.csv, NAME.json beside others"
    )
    parser.add_argument("--seen", type=Path, default=Path("data/images/test.csv"), help="default: %(default)s")
    parser.add_argument("--ledger", type=Path, default=Path("submissions/ledger.csv"), help="default: %(default)s")


def _site_commands(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """What talks to a competition's site."""
    upload = commands.add_parser("upload", help="check a submission, send it once, wait for its score, write it down")
    upload.add_argument(
        "submission", type=Path, nargs="?", default=Path("submissions/submission.csv"), help="default: %(default)s"
    )
    upload.add_argument("-m", "--message", required=True, help="what is new in it; the site shows it, the ledger too")
    upload.add_argument("--site", choices=("kaggle", "dacon"), default="kaggle", help="default: %(default)s")
    upload.add_argument(
        "--competition", help="last part of its web address, of Dacon its number; default: name of competition.raw"
    )
    upload.add_argument("--team", help="Dacon: the team's name; default: the environment's DACON_TEAM_NAME")
    upload.add_argument("--wait", type=float, default=900.0, help="seconds to wait for the score; default: %(default)g")
    upload.add_argument(
        "--deadline", type=float, default=600.0, help="seconds that sending the file may take; default: %(default)g"
    )
    upload.add_argument(
        "--ingested", type=Path, default=Path("data/competition"), help="folder that ingest wrote; default: %(default)s"
    )
    upload.add_argument("--params", type=Path, default=Path("params.yaml"), help="default: %(default)s")
    _known_arguments(upload)
    upload.set_defaults(call=_upload)

    download = commands.add_parser("download", help="fetch a Kaggle competition's zip and put it into params.yaml")
    download.add_argument("slug", help="last part of the competition's web address")
    download.add_argument("--into", type=Path, default=Path("data/raw"), help="folder; default: %(default)s")
    download.add_argument("--params", type=Path, default=Path("params.yaml"), help="default: %(default)s")
    download.set_defaults(call=_download)


def _inspect(args: argparse.Namespace) -> None:
    from pipeline.commands.inspection import holds_demos_recipe, in_git, inspect_competition, is_about, write_settings

    same = is_about(args.raw, args.params)
    other = "" if same else f"{args.params} still names another competition, which `dvc repro` would train; "
    try:
        account = inspect_competition(args.raw, args.params)
    except ValueError as error:
        if same or not args.raw.exists():
            raise
        if not args.write:
            raise ValueError(f"{error}\n{other}--write puts this one there") from error
        write_settings(args.params, args.raw, {})
        raise ValueError(
            f"{error}\n{args.params} names this competition from now on, all else in section `competition` as before "
            "any: put what settles the question there, then run this again"
        ) from error
    for line in account.lines:
        console.say(line)
    if other and not (args.write or args.recipe):
        console.say(f"note         {other}--write puts this one there")
    demos = str(args.raw) != args.demo and holds_demos_recipe(args.params)
    with_recipe = args.recipe or (args.write and demos)
    if args.write or args.recipe:
        settings = account.settings | account.needs.get("competition", {})
        sections = {name: keys for name, keys in account.needs.items() if name != "competition"}
        write_settings(args.params, args.raw, settings, sections | (account.recipe if with_recipe else {}))
        why = "" if args.recipe else " (the recipe because what was there was made for the demo's 8-pixel digits)"
        wrote = f"section `competition` and the recipe{why}" if with_recipe else "section `competition`"
        git = "" if in_git(args.params) else "git init && "
        console.say(f"wrote {wrote} of {args.params}; next: {git}python -m pipeline folds && dvc repro")


def _verify(args: argparse.Namespace) -> None:
    from pipeline.commands.verification import Places, verify_run

    for checked, found in verify_run(Places(**{name: getattr(args, name) for name in RUN_PLACES})):
        console.say(f"{checked:<12}  ok  {found}")


def _check(args: argparse.Namespace) -> None:
    from pipeline.leaderboard.ledger import Ledger

    content = _content(args.submission)
    schema, sample = _demands(args.competition)
    earlier = {entry.sha256: f"row {entry.number} of {args.ledger}" for entry in Ledger(args.ledger).submissions()}
    checks = verdict(content, sample, schema, earlier=earlier, **_known(args, schema, args.competition))
    if args.json:
        console.say(json.dumps(verdict_record(str(args.submission), checks), indent=2, ensure_ascii=False))
    else:
        for line in verdict_table(str(args.submission), checks):
            console.say(line)
    refusals = [f"{check.check}: {check.count}" for check in checks if check.status == REFUSED]
    if refusals:
        raise ValueError(f"{args.submission} breaks the submission format ({'; '.join(refusals)}): do not send it")


def _content(submission: Path) -> bytes:
    if not submission.is_file():
        raise ValueError(f"{submission} is not there; `dvc repro` makes it, or name another file")
    return submission.read_bytes()


def _demands(ingested: Path) -> tuple[Schema, bytes]:
    """(schema, sample submission) of the competition that ingest read."""
    paths = ingested / "schema.json", ingested / "sample_submission.csv"
    missing = [str(path) for path in paths if not path.is_file()]
    if missing:
        raise ValueError(f"{' and '.join(missing)} not there; `dvc repro ingest` reads the competition first")
    return read_schema(paths[0]), paths[1].read_bytes()


def _known(args: argparse.Namespace, schema: Schema, ingested: Path) -> dict[str, Any]:
    """What is known of the submission beside its content, as `contract.verdict` takes it."""
    known: dict[str, Any] = {}
    if (ingested / "test.csv").is_file() and args.seen.is_file():
        _, failures = read_seen(args.seen, "decode_test")
        known["unseen"] = read_test_ids(ingested / "test.csv").take(~failures.where(""))
    if args.per_class.is_file():
        with made_by("-s evaluate", args.per_class):
            table = read_table(args.per_class, PER_CLASS_COLUMNS)
            counts = dict(zip(table["label"], map(int, table["predicted"]), strict=True))
        if tuple(counts) == schema.target.classes:
            known["oof_counts"] = counts
    receipt = _receipt(args)
    return known | ({"written_sha256": receipt["sha256"]} if receipt else {})


def _receipt(args: argparse.Namespace) -> dict[str, Any] | None:
    """What submit wrote about the file, None for one made elsewhere."""
    name = "receipt.json" if args.submission.name == "submission.csv" else f"{args.submission.stem}.json"
    path = args.receipt or args.submission.with_name(name)
    with made_by("-s submit", path):
        return read_json(path) if path.is_file() else None


def _upload(args: argparse.Namespace) -> None:
    from pipeline.leaderboard.ledger import Ledger
    from pipeline.leaderboard.upload import checked, upload

    book = Ledger(args.ledger)
    schema, sample = _demands(args.ingested)
    _content(args.submission)
    content = checked(args.submission, book, sample=sample, schema=schema, **_known(args, schema, args.ingested))
    upload(
        content,
        args.submission.name,
        args.message,
        connect=lambda: _client(args),
        book=book,
        receipt=_receipt(args),
        wait_s=args.wait,
    )


def _client(args: argparse.Namespace) -> "Client":
    if args.site == "dacon":
        from pipeline.leaderboard.dacon_client import DaconClient

        dacon = DaconClient.from_environment(args.competition, args.team, deadline_s=args.deadline)
        console.say(f"competition  {dacon.slug} on Dacon")
        return dacon
    from pipeline.leaderboard.kaggle_client import KaggleClient

    whence = "from --competition"
    if args.competition is None:
        args.competition = Path(load_params(args.params)["competition"]["raw"]).name.split(".")[0]
        whence = f"from competition.raw in {args.params}; --competition names another"
    console.say(f"competition  {args.competition} on Kaggle ({whence})")
    return KaggleClient(args.competition, deadline_s=args.deadline)


def _download(args: argparse.Namespace) -> None:
    from pipeline.commands.inspection import write_settings
    from pipeline.leaderboard.download import download
    from pipeline.leaderboard.kaggle_client import KaggleClient

    if not args.params.is_file():
        raise ValueError(f"{args.params} is not there; run this in the project's folder, or name it with --params")
    path = args.into / f"{args.slug}.zip"
    download(KaggleClient(args.slug), path)
    write_settings(args.params, path, {})
    console.say(
        f"competition.raw in {args.params} is {path}; next: python -m pipeline inspect {shlex.quote(str(path))}"
    )


def _summary(args: argparse.Namespace) -> None:
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
    if args.solution is None or not args.solution.is_file():
        return
    reached = _solution_score(args.submission.read_bytes(), args.solution.read_bytes(), schema)
    if reached is None:
        console.say(f"leaderboard       unknown: {args.solution} is the solution of another competition")
    else:
        console.say(f"leaderboard       {schema.metric} {reached:.4f} on {args.solution}")


def _ledger(args: argparse.Namespace) -> None:
    from pipeline.base.files import write_bytes, write_table
    from pipeline.leaderboard.judgement import POINT_COLUMNS, point_rows, points, table_lines, words
    from pipeline.leaderboard.ledger import Ledger
    from pipeline.report.figures import agreement_figure, drawn

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
        write_bytes(args.figure, drawn("agreement", lambda: agreement_figure(named, both[-1].metric)))
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


def _submission_list(site: str, slug: str) -> "KaggleClient":
    if site != "kaggle":
        raise ValueError(f"{site} gives no list of submissions; enter scores with `python -m pipeline ledger score`")
    from pipeline.leaderboard.kaggle_client import KaggleClient

    return KaggleClient(slug)


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
    from pipeline.bundle.bundle import write_bundle

    records = {"schema.json": args.competition / "schema.json", "format.json": args.format}
    manifest = write_bundle(
        args.out,
        params=args.params,
        models=args.models,
        records=records | {"decision.json": args.decision},
        known=(args.competition / "test.csv", args.competition / "test_images.csv", args.seen),
        submission=args.submission,
        receipt=args.receipt,
    )
    size = args.out.stat().st_size / 1e6
    console.say(f"{args.out}: {len(manifest['files'])} files, {size:,.1f} MB; next: python -m pipeline bundle verify")


def _bundle_verify(args: argparse.Namespace) -> None:
    from pipeline.bundle.bundle import verify_bundle

    lines = verify_bundle(
        args.zip,
        params=args.params,
        images=args.images,
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
