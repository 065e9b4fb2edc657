"""Reads the list of training images. Writes their uint8 store, each image decoded once; chooses side and bits.

The list names each file's fingerprint, so that an archive of which only tables changed is not decoded again. What
cannot be read is noted; the audit stops at it.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from pipeline.base import allocator, console
from pipeline.base.files import write_json
from pipeline.base.params import CompetitionParams, ImagesParams, load_section
from pipeline.base.texts import thinned
from pipeline.competition.store import StoreFormat
from pipeline.images.part import add_arguments, listed_images, write_part
from pipeline.images.store_writer import AUTO_SAMPLE, auto_bits, auto_size
from pipeline.tables.table_files import open_images


def main(argv: Sequence[str] | None = None) -> None:
    """Command line of the stage; the paths come from dvc.yaml."""
    parser = argparse.ArgumentParser(prog="python -m pipeline.stages.decode_train", description=__doc__)
    add_arguments(parser)
    args = parser.parse_args(argv)
    competition = load_section(args.params, "competition", CompetitionParams)
    images = load_section(args.params, "images", ImagesParams)
    allocator.return_freed_memory()

    named = {key: getattr(competition, key) for key in ("encoding", "header", "pixels")}
    with open_images(Path(competition.raw), **named) as archive:
        names, fingerprints = listed_images(args.list, archive)
        some = thinned([names], AUTO_SAMPLE)
        side = images.side if isinstance(images.side, int) else auto_size(some, archive.read)
        stored = StoreFormat(size=side, bits=auto_bits(some, archive.read))
        write_part(args, archive, names, fingerprints, stored, images.fit)
    write_json(args.format, stored)


if __name__ == "__main__":
    console.run(main)
