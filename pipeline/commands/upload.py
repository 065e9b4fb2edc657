"""Check a submission, send it once, wait for its score, write it down."""

import argparse

from pipeline.commands import places
from pipeline.commands.check import add_known_arguments, content_of, demands, known_of, receipt_of
from pipeline.leaderboard.ledger import Ledger
from pipeline.leaderboard.site import default_site, site_named, site_names
from pipeline.leaderboard.upload import refuse_sending, upload


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Command line."""
    sites = [site_named(name) for name in site_names()]
    places.add_submission(parser)
    parser.add_argument("-m", "--message", required=True, help="what is new in it; the site shows it, the ledger too")
    parser.add_argument("--site", choices=site_names(), default=default_site(), help="default: %(default)s")
    parser.add_argument("--competition", help="; ".join(f"{site.title}: {site.competition_help}" for site in sites))
    for site in sites:
        site.add_arguments(parser)
    parser.add_argument("--wait", type=float, default=900.0, help="seconds to wait for the score; default: %(default)g")
    parser.add_argument(
        "--deadline", type=float, default=600.0, help="seconds that sending the file may take; default: %(default)g"
    )
    places.add_path(parser, "--ingested", places.COMPETITION, "folder that ingest wrote")
    places.add_path(parser, "--params", places.PARAMS)
    add_known_arguments(parser)


def run(args: argparse.Namespace) -> None:
    """Send it, unless it is refused here."""
    ledger = Ledger(args.ledger)
    schema, sample = demands(args.ingested)
    content = content_of(args.submission)
    refuse_sending(
        content, args.submission, ledger, sample=sample, schema=schema, **known_of(args, schema, args.ingested)
    )
    upload(
        content,
        args.submission.name,
        args.message,
        site=site_named(args.site).connect(args),
        ledger=ledger,
        receipt=receipt_of(args),
        wait_s=args.wait,
    )
