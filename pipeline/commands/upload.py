"""Check a submission, send it once, wait for its score, write it down."""

import argparse
from collections.abc import Mapping
from typing import Any

from pipeline.base import console
from pipeline.commands import bundle, places
from pipeline.commands.check import add_known_arguments, content_of, demands, known_of, receipt_of
from pipeline.leaderboard.ledger import Ledger
from pipeline.leaderboard.notebook_upload import SETTLE_S, Sending, alone, send_notebook
from pipeline.leaderboard.site import default_site, site_named, site_names
from pipeline.leaderboard.sites._kernel import SUBMISSION, TIME_LIMIT_S, Kernel, organisers_sample_name, write_kernel
from pipeline.leaderboard.upload import refuse_sending, say_score, upload
from pipeline.submission.contract import refuse, verdict
from pipeline.submission.difference import first_difference


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
    notebook = parser.add_argument_group("competitions that take notebooks only")
    notebook.add_argument(
        "--notebook", action="store_true", help="send a bundle and a kernel, run it, submit its output"
    )
    notebook.add_argument("--name", help="of data set and kernel; default: that of the competition, and -foldboard")
    notebook.add_argument("--gpu", action="store_true", help="run it on a GPU; default: the CPU")
    notebook.add_argument(
        "--time-limit", type=float, default=TIME_LIMIT_S, help="seconds that the rules allow; default: %(default)g"
    )
    notebook.add_argument(
        "--settle", type=float, default=SETTLE_S, metavar="SECONDS",
        help="after an interrupted submission: when the site's not listing it means that it never arrived; "
        "default: %(default)g",
    )  # fmt: skip
    places.add_path(parser, "--folder", places.KERNEL, "with --notebook: what is sent of it")
    places.add_path(parser, "--ingested", places.COMPETITION, "folder that ingest wrote")
    places.add_path(parser, "--params", places.PARAMS)
    add_known_arguments(parser)


def run(args: argparse.Namespace) -> None:
    """Send it, unless it is refused here."""
    ledger = Ledger(args.ledger)
    schema, sample = demands(args.ingested)
    content = content_of(args.submission)
    known = {"sample": sample, "schema": schema, **known_of(args, schema, args.ingested)}
    if args.notebook:
        with alone(args.folder):
            refuse_sending(content, args.submission, ledger, resumes=True, **known)
            _send_notebook(args, content, ledger, known)
        return
    refuse_sending(content, args.submission, ledger, **known)
    upload(
        content,
        args.submission.name,
        args.message,
        site=site_named(args.site).connect(args),
        ledger=ledger,
        receipt=receipt_of(args),
        wait_s=args.wait,
    )


def _send_notebook(args: argparse.Namespace, content: bytes, ledger: Ledger, known: Mapping[str, Any]) -> None:
    """Bundle, write the two folders, send them, run, submit, wait for the score."""
    site = site_named(args.site).connect(args)
    notebooks = site.notebooks()
    _bundle()
    name = args.name or f"{site.slug[:39]}-foldboard"
    kernel = Kernel(user=notebooks.user, competition=site.slug, name=name, gpu=args.gpu, time_limit_s=args.time_limit)
    sample = organisers_sample_name(places.PARAMS, places.RUN["sample"])
    write_kernel(places.BUNDLE, args.folder, kernel, sample)

    def check(output: bytes) -> None:
        refuse(verdict(output, known["sample"], known["schema"]), "the kernel's output")
        difference = first_difference(output, content)
        same = "the same rows as the submission made here" if difference is None else f"not as made here: {difference}"
        console.say(f"output       {len(output):,} bytes, {same}")

    sending = Sending(
        folder=args.folder, ref=f"{notebooks.user}/{name}", file_name=SUBMISSION, time_limit_s=args.time_limit,
        message=args.message, submission=content,
    )  # fmt: skip
    reference = send_notebook(
        sending, site=site, notebooks=notebooks, ledger=ledger, receipt=receipt_of(args), check=check,
        settle_s=args.settle,
    )  # fmt: skip
    say_score(reference, site=site, ledger=ledger, wait_s=args.wait)


def _bundle() -> None:
    """As `python -m pipeline bundle` does."""
    parser = argparse.ArgumentParser()
    bundle.add_arguments(parser)
    bundle.run(parser.parse_args([]))
