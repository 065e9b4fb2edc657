"""Reads a finished run. Writes one page that shows it: index.html, which needs no other file and no network.

It is determined by the run alone: what was sent, what a site said and how long things took are no part of it;
`python -m pipeline show` adds these.
"""

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path

from pipeline.base import console
from pipeline.base.files import write_bytes
from pipeline.panels.report import run_page
from pipeline.panels.run import Sources, read_run

SAID = {
    "params": "params.yaml (sections folds, blend)", "schema": "JSON from ingest", "recognised": "JSON from ingest",
    "train_table": "CSV of labelled images", "test_table": "CSV of images to predict", "folds": "CSV from split",
    "train_images": ".npy from decode_train", "train_description": "JSON from decode_train",
    "test_images": ".npy from decode_test", "test_description": "JSON from decode_test",
    "neighbours": "JSON from neighbours", "nearest": "CSV from neighbours",
    "oof": "folder of out-of-fold predictions, a file a fold",
    "members": "folder of the members of a blend, one each", "models": "folder of the folds' models: their cards",
    "audit": "JSON from audit", "scores": "JSON from evaluate", "decision": "JSON from evaluate",
    "blend": "JSON from evaluate", "curves": "CSV from evaluate", "receipt": "JSON from submit",
}  # fmt: skip


def main(argv: Sequence[str] | None = None) -> None:
    """Command line of the stage; the paths come from dvc.yaml."""
    parser = argparse.ArgumentParser(prog="python -m pipeline.stages.report", description=__doc__)
    names = [item.name for item in dataclasses.fields(Sources)]
    for name in names:
        parser.add_argument(f"--{name.replace('_', '-')}", type=Path, required=True, help=SAID[name])
    parser.add_argument("--page", type=Path, required=True, help="HTML to write")
    args = parser.parse_args(argv)
    content = run_page(read_run(Sources(**{name: getattr(args, name) for name in names})))
    write_bytes(args.page, content)
    console.say(f"{args.page}: {len(content) / 1e6:.1f} MB; `python -m pipeline show` opens it")


if __name__ == "__main__":
    console.run(main)
