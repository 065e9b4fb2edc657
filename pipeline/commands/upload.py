"""Check a submission, send it once, wait for its score, write it down."""

import argparse
import sys
from pathlib import Path

from pipeline.base import console
from pipeline.base.params import CompetitionParams, load_section
from pipeline.commands import bundle, places
from pipeline.commands.check import add_known_arguments, content_of, demands, known_of, receipt_of
from pipeline.commands.of_this_run import refuse_other_competition, stages_behind, stale_lines
from pipeline.competition.schema import Schema, read_test_ids, read_train_labels
from pipeline.leaderboard.ledger import Ledger
from pipeline.leaderboard.notebook_checks import Checks
from pipeline.leaderboard.notebook_upload import SETTLE_S, Sending, alone, send_notebook
from pipeline.leaderboard.site import NotebooksOnlyError, Site, default_site, site_named, site_names
from pipeline.leaderboard.sites._kernel import (
    RESERVE_S,
    SUBMISSION,
    TIME_LIMIT_S,
    Kernel,
    default_name,
    organisers_sample_name,
    plan,
    write_kernel,
)
from pipeline.leaderboard.sites._rehearsal import speed_here
from pipeline.leaderboard.upload import refuse_again, refuse_invalid, say_score, upload

MEASURE_S = 10.0  # to measure the speed in
MAX_MESSAGE = 400  # characters; where a site cuts is not written anywhere


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Command line."""
    sites = [site_named(name) for name in site_names()]
    places.add_submission(parser)
    parser.add_argument(
        "-m", "--message", type=_message, required=True, help="what is new in it; the site shows it, the ledger too"
    )
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
        "--expect", type=int, metavar="IMAGES",
        help="how many images are hidden, as the rules say; default: as many as there are to train on or to predict",
    )  # fmt: skip
    notebook.add_argument(
        "--measure", type=float, default=MEASURE_S, metavar="SECONDS",
        help="how long to measure the speed here before anything is sent; 0: not at all; default: %(default)g",
    )  # fmt: skip
    notebook.add_argument(
        "--probe", action="store_true", help="have the kernel measure its speed there, before it is submitted"
    )
    notebook.add_argument(
        "--differing", action="store_true", help="submit it although its answers here and there are not the same"
    )
    notebook.add_argument("--public", action="store_true", help="write to a data set that everybody sees")
    notebook.add_argument(
        "--settle", type=float, default=SETTLE_S, metavar="SECONDS",
        help="after an interrupted submission: when the site's not listing it means that it never arrived; "
        "default: %(default)g",
    )  # fmt: skip
    places.add_path(parser, "--folder", places.KERNEL, "with --notebook: what is sent of it")
    places.add_path(parser, "--ingested", places.COMPETITION, "folder that ingest wrote")
    places.add_path(parser, "--params", places.PARAMS)
    add_known_arguments(parser)


def _message(text: str) -> str:
    if len(text) > MAX_MESSAGE:
        raise argparse.ArgumentTypeError(
            f"it has {len(text):,} characters, at most {MAX_MESSAGE}: a site that cuts it would cut off the token "
            "behind it, by which the submission is found again after a crash"
        )
    return text


def run(args: argparse.Namespace) -> None:
    """Send it, unless it is refused here; as a notebook where the competition takes nothing else."""
    ledger = Ledger(args.ledger)
    schema, sample = demands(args.ingested)
    content = content_of(args.submission)
    stages = stages_behind(args.ingested)
    if args.competition is None:
        refuse_other_competition(stages)
    for line in stale_lines(content, stages):
        console.say(line)
    known = {"sample": sample, "schema": schema, **known_of(args, schema, args.ingested)}
    refuse_invalid(content, args.submission, **known)
    if not args.notebook:
        refuse_again(content, args.submission, ledger)
    site = site_named(args.site).connect(args)
    if not (args.notebook or site.notebooks_only()):
        try:
            upload(
                content,
                args.submission.name,
                args.message,
                site=site,
                ledger=ledger,
                receipt=receipt_of(args),
                wait_s=args.wait,
            )
            return
        except NotebooksOnlyError as error:
            console.say(f"refused      {error}")
    with alone(args.folder):
        _send_notebook(args, content, site, ledger, schema, sample)


def _send_notebook(
    args: argparse.Namespace, content: bytes, site: Site, ledger: Ledger, schema: Schema, sample: bytes
) -> None:
    """Bundle, write the two folders, say what will happen, send them, run, submit, wait for the score."""
    notebooks = site.notebooks()
    if (
        not places.RUN["blend"].is_file()
        or not places.RUN["submission"].is_file()
        or places.RUN["submission"].read_bytes() != content
    ):
        raise ValueError(
            f"{site.slug} takes notebooks only, and there is none that makes {args.submission}: it is sent of the run "
            f"that made {places.RUN['submission']}, with its models; `python -m pipeline upload --notebook -m MESSAGE`"
        )
    try:
        _bundle()
    except (ValueError, OSError) as error:
        raise ValueError(f"{site.slug} takes notebooks only, and this run cannot be packed for one: {error}") from error
    name = args.name or default_name(site.slug)
    kernel = Kernel(
        user=notebooks.user, competition=site.slug, name=name, gpu=args.gpu, time_limit_s=args.time_limit,
        probe_s=MEASURE_S if args.probe else 0.0,
    )  # fmt: skip
    place = organisers_sample_name(places.PARAMS, places.RUN["sample"])
    write_kernel(places.BUNDLE, args.folder, kernel, place)
    if not args.notebook:
        console.say(f"notebook     {site.slug} takes notebooks only: what makes the CSV is sent, not the CSV")
    for line in plan(kernel, places.BUNDLE.stat().st_size, args.folder):
        console.say(f"notebook     {line}")

    num_images = max(len(read_train_labels(places.RUN["train_table"])[0]), len(read_test_ids(places.RUN["test_table"])))
    checks = Checks(
        content=content, sample=sample, schema=schema, differing=args.differing,
        num_hidden=args.expect or num_images, is_stated=bool(args.expect), time_limit_s=args.time_limit - RESERVE_S,
    )  # fmt: skip
    if args.measure:
        competition = load_section(args.params, "competition", CompetitionParams)
        line, scale = speed_here(
            places.BUNDLE, competition=competition, sample=place, python=Path(sys.executable), seconds=args.measure,
            gpu=args.gpu,
        )  # fmt: skip
        console.say(f"{line} here")
        checks.speed(line, scale)
    sending = Sending(
        folder=args.folder, ref=f"{notebooks.user}/{name}", file_name=SUBMISSION, time_limit_s=args.time_limit,
        message=args.message, deadline_s=args.deadline, gpu=args.gpu, probe=args.probe,
        public=args.public,
    )  # fmt: skip
    reference = send_notebook(
        sending, site=site, notebooks=notebooks, ledger=ledger, receipt=receipt_of(args), checks=checks,
        settle_s=args.settle,
    )  # fmt: skip
    say_score(reference, site=site, ledger=ledger, wait_s=args.wait)


def _bundle() -> None:
    """As `python -m pipeline bundle` does."""
    parser = argparse.ArgumentParser()
    bundle.add_arguments(parser)
    bundle.run(parser.parse_args([]))
