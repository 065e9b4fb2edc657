"""Reads the list of test images. Writes their uint8 store, as decode_train does that of the training images.

Side and bits are those that it chose.
"""

from collections.abc import Sequence

from pipeline.base import console
from pipeline.competition.store import read_format
from pipeline.images.part import opened_part, parsed, write_part


def main(argv: Sequence[str] | None = None) -> None:
    """Command line of the stage; the paths come from dvc.yaml."""
    args = parsed("decode_test", __doc__, argv)
    stored = read_format(args.format)
    with opened_part(args) as part:
        write_part(args, part, stored)


if __name__ == "__main__":
    console.run(main)
