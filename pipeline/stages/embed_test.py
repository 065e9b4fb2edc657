"""Reads pretrained weights and the test store. Writes every image's features, where `model.frozen` asks."""

from collections.abc import Sequence

from pipeline.base import allocator, console

if __name__ == "__main__":
    allocator.restart()  # before torch is imported

from pipeline.models.embed_part import run_part


def main(argv: Sequence[str] | None = None) -> None:
    """Command line of the stage; the paths come from dvc.yaml."""
    run_part("embed_test", __doc__, argv)


if __name__ == "__main__":
    console.run(main)
