"""Fetch a competition's zip from its site and put it into params.yaml."""

import argparse
import shlex

from pipeline.base import console
from pipeline.commands import places
from pipeline.commands.inspection import write_settings
from pipeline.leaderboard.download import download
from pipeline.leaderboard.site import default_site, site_named, site_names


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Command line."""
    parser.add_argument("slug", help="last part of the competition's web address")
    parser.add_argument("--site", choices=site_names(), default=default_site(), help="default: %(default)s")
    places.add_path(parser, "--into", places.RAW, "folder")
    places.add_path(parser, "--params", places.PARAMS)


def run(args: argparse.Namespace) -> None:
    """Fetch it, or go on with what an earlier attempt fetched."""
    if not args.params.is_file():
        raise ValueError(f"{args.params} is not there; run this in the project's folder, or name it with --params")
    path = args.into / f"{args.slug}.zip"
    download(site_named(args.site).open_files(args.slug), path)
    write_settings(args.params, path, {})
    console.say(
        f"competition.raw in {args.params} is {path}; next: python -m pipeline inspect {shlex.quote(str(path))}"
    )
