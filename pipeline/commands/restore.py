"""Bring back a past submission: its code and artefacts in a worktree, its CSV made again."""

import argparse
from pathlib import Path

from pipeline.base import console
from pipeline.commands import places
from pipeline.commands.ledger import REFERENCE_HELP
from pipeline.leaderboard.ledger import Ledger
from pipeline.leaderboard.provenance import project_root
from pipeline.leaderboard.restore import restore


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Command line."""
    parser.add_argument("reference", help=REFERENCE_HELP)
    parser.add_argument("--out", type=Path, help="folder to make; default: beside the project, named by the sha256")
    parser.add_argument("--remake", action="store_true", help="train again what DVC's cache no longer has")
    places.add_path(parser, "--ledger", places.LEDGER)
    places.add_path(parser, "--archive", places.ARCHIVE)


def run(args: argparse.Namespace) -> None:
    """Say what came of it; exit code 1 where the CSV differs."""
    entry = Ledger(args.ledger).find(args.reference)
    root = project_root(args.ledger)
    folder = args.out or root.with_name(f"{root.name}-{entry.sha256[:12]}")
    restored = restore(entry, root=root, folder=folder.resolve(), archive=args.archive, remake=args.remake)
    for line in restored.lines:
        console.say(line)
    console.say(f"when you are done: git worktree remove --force {restored.folder}")
    if not restored.identical:
        raise SystemExit(1)
