"""Check a submission file against the sample submission, the training labels, and what was sent before."""

import argparse
import json
from pathlib import Path
from typing import Any

from pipeline.base import console
from pipeline.base.files import made_by, read_json
from pipeline.commands import places
from pipeline.commands.of_this_run import refuse_other_competition, stages_behind, stale_lines
from pipeline.commands.own_files import refuse_copies
from pipeline.competition.schema import Schema, read_schema, read_test_ids, read_unseen
from pipeline.leaderboard.ledger import FAILED, Ledger
from pipeline.scoring.fold_predictions import read_oof_counts
from pipeline.submission.contract import REFUSED, verdict
from pipeline.submission.report import verdict_record, verdict_table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Command line."""
    places.add_submission(parser)
    places.add_path(parser, "--competition", places.COMPETITION, "folder that ingest wrote")
    add_known_arguments(parser)
    parser.add_argument("--json", action="store_true", help="the verdict for machines")


def add_known_arguments(parser: argparse.ArgumentParser) -> None:
    """What a submission is compared with, where it is there."""
    places.add_path(parser, "--per-class", places.PER_CLASS, "from evaluate")
    parser.add_argument(
        "--receipt", type=Path, help="from submit; default: receipt.json beside submission.csv, NAME.json beside others"
    )
    places.add_path(parser, "--seen", places.SEEN, "from decode_test")
    places.add_path(parser, "--ledger", places.LEDGER)


def run(args: argparse.Namespace) -> None:
    """Print the verdict. ValueError for a file that must not be sent."""
    content = content_of(args.submission)
    schema, sample = demands(args.competition)
    refuse_copies(args.competition)
    stages = stages_behind(args.competition)
    refuse_other_competition(stages)
    arrived = (entry for entry in Ledger(args.ledger).submissions() if entry.status != FAILED)
    earlier = {entry.sha256: f"row {entry.number} of {args.ledger}" for entry in arrived}
    checks = verdict(content, sample, schema, earlier=earlier, **known_of(args, schema, args.competition))
    if args.json:
        console.say(json.dumps(verdict_record(str(args.submission), checks), indent=2, ensure_ascii=False))
    else:
        for line in [*verdict_table(str(args.submission), checks), *stale_lines(content, stages)]:
            console.say(line)
    refusals = [f"{check.check}: {check.count}" for check in checks if check.status == REFUSED]
    if refusals:
        raise ValueError(f"{args.submission} breaks the submission format ({'; '.join(refusals)}): do not send it")


def content_of(submission: Path) -> bytes:
    """The file's bytes."""
    if not submission.is_file():
        raise ValueError(f"{submission} is not there; `dvc repro` makes it, or name another file")
    return submission.read_bytes()


def demands(ingested: Path) -> tuple[Schema, bytes]:
    """(schema, sample submission) of the competition that ingest read."""
    paths = ingested / "schema.json", ingested / "sample_submission.csv"
    missing = [str(path) for path in paths if not path.is_file()]
    if missing:
        raise ValueError(f"{' and '.join(missing)} not there; `dvc repro ingest` reads the competition first")
    return read_schema(paths[0]), paths[1].read_bytes()


def known_of(args: argparse.Namespace, schema: Schema, ingested: Path) -> dict[str, Any]:
    """What is known of the submission beside its content, as `contract.verdict` takes it."""
    known: dict[str, Any] = {}
    if (ingested / "test.csv").is_file() and args.seen.is_file():
        image_ids = read_test_ids(ingested / "test.csv")
        known["unseen"] = image_ids.take(read_unseen(args.seen, len(image_ids), ingested / "test.csv"))
    if args.per_class.is_file():
        counts = read_oof_counts(args.per_class)
        if tuple(counts) == schema.target.classes:
            known["oof_counts"] = counts
    receipt = receipt_of(args)
    return known | ({"written_sha256": receipt["sha256"]} if receipt else {})


def receipt_of(args: argparse.Namespace) -> dict[str, Any] | None:
    """What submit wrote about the file, None for one made elsewhere. Raises ValueError for another kind of JSON."""
    name = "receipt.json" if args.submission.name == "submission.csv" else f"{args.submission.stem}.json"
    path = args.receipt or args.submission.with_name(name)
    if not path.is_file():
        return None
    with made_by("-s submit", path):
        found = read_json(path)
    if not isinstance(found, dict) or not {"sha256", "metric", "folds"} <= found.keys():
        raise ValueError(f"{path} is no receipt of `submit`; name that of {args.submission} by --receipt, or rename it")
    return dict(found)
