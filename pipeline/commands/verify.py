"""Check a finished run from end to end; at damage, exit code 2 and the stage to run again."""

import argparse

from pipeline.base import console
from pipeline.commands import places
from pipeline.commands.verification import Places, verify_run


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Command line."""
    for name, place in places.RUN.items():
        places.add_path(parser, f"--{name.replace('_', '-')}", place)


def run(args: argparse.Namespace) -> None:
    """Print what was checked, line by line."""
    for checked, found in verify_run(Places(**{name: getattr(args, name) for name in places.RUN})):
        console.say(f"{checked:<12}  ok  {found}")
