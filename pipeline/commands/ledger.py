"""The ledger of submissions: table, plot, noise, which two to choose."""

import argparse
import math

from pipeline.base import console
from pipeline.base.files import write_bytes, write_table
from pipeline.commands import places
from pipeline.leaderboard.judgement import POINT_COLUMNS, beyond_metric, point_rows, points, table_lines, words
from pipeline.leaderboard.ledger import Ledger
from pipeline.leaderboard.site import site_named, site_names
from pipeline.leaderboard.sync import sync
from pipeline.report.figures import agreement_figure, drawn

NEWEST = "default: that of the newest submission"
REFERENCE_HELP = "reference, row number, token, or 6 characters or more of the sha256"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Command line."""
    places.add_path(parser, "--ledger", places.LEDGER)
    places.add_path(parser, "--points", places.POINTS, "CSV of the DVC plot")
    places.add_path(parser, "--figure", places.FIGURE)
    parser.add_argument("--site", help=f"{' or '.join(site_names())}; {NEWEST}")
    parser.add_argument("--competition", help=f"its slug or number; {NEWEST}")
    parser.set_defaults(action=_show)
    actions = parser.add_subparsers(title="instead of showing it")
    sync_parser = actions.add_parser("sync", help="settle with the site's list what a crash left open; fetch scores")
    sync_parser.set_defaults(action=_sync)
    score_parser = actions.add_parser("score", help="enter a score by hand")
    score_parser.add_argument("reference", help=REFERENCE_HELP)
    score_parser.add_argument("public", type=float, help="the public score")
    score_parser.add_argument("--private", type=float, help="the private score, once it is known")
    score_parser.set_defaults(action=_score)


def run(args: argparse.Namespace) -> None:
    """Show it, or what else is asked for."""
    args.action(args, Ledger(args.ledger))


def _show(args: argparse.Namespace, ledger: Ledger) -> None:
    entries = ledger.submissions_to(args.site, args.competition)
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


def _sync(args: argparse.Namespace, ledger: Ledger) -> None:
    newest = ledger.submissions_to(args.site, args.competition)[-1]
    for line in sync(ledger, site_named(newest.site).open_list(newest.competition)):
        console.say(line)


def _score(args: argparse.Namespace, ledger: Ledger) -> None:
    odd = [score for score in (args.public, args.private) if score is not None and not math.isfinite(score)]
    if odd:
        raise ValueError(f"{odd[0]} is no score; give what the site shows, nothing where it shows none")
    ledger.record_score(args.reference, public=args.public, private=args.private)
    entry = ledger.find(args.reference)
    if doubt := beyond_metric(entry):
        console.say(f"warning: {doubt}; enter it again if it was mistyped, the newest counts")
    console.say(f"row {entry.number} ({entry.message}): public {entry.public_score}, private {entry.private_score}")
