"""Reads the list of test images. Writes their uint8 store, each image decoded once, as the training images were.

The list names each file's fingerprint, so that an archive of which only tables changed is not decoded again. What
cannot be read is noted; the audit stops at it.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from pipeline.base import allocator, console
from pipeline.base.params import CompetitionParams, ImagesParams, load_section
from pipeline.competition.store import read_format
from pipeline.images.part import add_arguments, listed_images, write_part
from pipeline.tables.table_files import open_images


def main(argv: Sequence[str] | None = None) -> None:
    """Command line of the stage; the paths come from dvc.yaml."""
    parser = argparse.ArgumentParser(prog="python -m pipeline.stages.decode_test", description=__doc__)
    add_arguments(parser)
    args = parser.parse_args(argv)
    competition = load_section(args.params, "competition", CompetitionParams)
    images = load_section(args.params, "images", ImagesParams)
    allocator.return_freed_memory()

    stored = read_format(args.format)
    named = {key: getattr(competition, key) for key in ("encoding", "header", "pixels")}
    with open_images(Path(competition.raw), **named) as archive:
        names, fingerprints = listed_images(args.list, archive)
        write_part(args, archive, names, fingerprints, stored, images.fit)


if __name__ == "__main__":
    console.run(main)
