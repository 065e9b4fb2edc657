"""Reads nothing. Writes the competition that ships with scikit-learn: its zip, and its solution beside it."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from pipeline import console
from pipeline.competition.digits import write_digits


def main(argv: Sequence[str] | None = None) -> None:
    """Command line of the stage; the paths come from dvc.yaml."""
    parser = argparse.ArgumentParser(prog="python -m pipeline.stages.digits", description=__doc__)
    parser.add_argument("--archive", type=Path, required=True, help="zip to write, as a leaderboard site hands it out")
    parser.add_argument("--solution", type=Path, required=True, help="CSV to write: the labels of the test images")
    args = parser.parse_args(argv)

    write_digits(args.archive, args.solution)
    console.say(f"wrote {args.archive} and {args.solution}")


if __name__ == "__main__":
    console.run(main)
