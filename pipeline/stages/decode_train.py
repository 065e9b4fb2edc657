"""Reads the list of training images. Writes their uint8 store, each image decoded once; chooses side and bits.

The list names each file's fingerprint, so that an archive of which only tables changed is not decoded again. What
cannot be read is noted; the audit stops at it.
"""

from collections.abc import Sequence

from pipeline.base import console
from pipeline.base.files import write_json
from pipeline.base.texts import thinned
from pipeline.competition.store import StoreFormat
from pipeline.images.part import opened_part, parsed, write_part
from pipeline.images.store_writer import AUTO_SAMPLE, auto_bits, auto_size


def main(argv: Sequence[str] | None = None) -> None:
    """Command line of the stage; the paths come from dvc.yaml."""
    args = parsed("decode_train", __doc__, argv)
    with opened_part(args) as part:
        some, read, side = thinned([part.names], AUTO_SAMPLE), part.archive.read, part.params.side
        size = side if isinstance(side, int) else auto_size(some, read)
        stored = StoreFormat(size=size, bits=auto_bits(some, read))
        write_part(args, part, stored)
    write_json(args.format, stored)


if __name__ == "__main__":
    console.run(main)
