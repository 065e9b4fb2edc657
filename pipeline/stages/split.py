"""Reads the labelled images, their groups and the organiser's columns. Writes which fold holds out which image.

Stratified by label and seeded, by blocks of time, or as the user's own column says; copies and groups share a fold.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from pipeline.base import allocator, console
from pipeline.base.files import refuse_leftovers, write_table
from pipeline.base.params import SplitParams, load_folds, load_section
from pipeline.competition.schema import FOLDS_COLUMNS, read_target, read_train_table
from pipeline.split.folds import deal_rows
from pipeline.split.groups import likely_groups
from pipeline.split.train_columns import read_train_columns


def main(argv: Sequence[str] | None = None) -> None:
    """Command line of the stage; the paths come from dvc.yaml."""
    parser = argparse.ArgumentParser(prog="python -m pipeline.stages.split", description=__doc__)
    parser.add_argument("--params", type=Path, required=True, help="params.yaml (sections split, folds)")
    parser.add_argument("--target", type=Path, required=True, help="JSON from ingest")
    parser.add_argument("--train-table", type=Path, required=True, help="CSV of labelled images")
    parser.add_argument("--groups", type=Path, required=True, help="CSV from audit: groups of copies, what is left out")
    parser.add_argument("--columns", type=Path, required=True, help="CSV: image_id, then the organiser's columns")
    parser.add_argument("--per-fold", type=Path, nargs="*", default=[], help="folders that hold a file for each fold")
    parser.add_argument("--out", type=Path, required=True, help="CSV to write: image_id, fold")
    args = parser.parse_args(argv)
    allocator.return_freed_memory()
    folds = load_folds(args.params)
    params = load_section(args.params, "split", SplitParams)
    refuse_leftovers(args.per_fold, folds)  # now, not when all folds have trained

    target = read_target(args.target)
    train, image_ids, rows = read_train_table(args.train_table, args.groups)
    columns = {name: cells.take(rows) for name, cells in read_train_columns(args.columns, image_ids).items()}
    deal = deal_rows(train, columns, params, kind=target.kind)
    dealt = deal.fold_of_row
    fold_of_row = dict(zip(rows.tolist(), dealt.tolist(), strict=True))
    table = ((image_id, fold_of_row.get(row, "")) for row, image_id in enumerate(image_ids))
    write_table(args.out, FOLDS_COLUMNS, table)  # '' for an image that cannot be read: it is in no fold

    sizes = [int((dealt == int(fold)).sum()) for fold in folds]
    console.say(f"{len(dealt):,} images dealt into {len(folds)} folds of {min(sizes):,} to {max(sizes):,}")
    console.say(f"method: {deal.method}")
    console.say("images by fold: " + ", ".join(f"{fold}: {size:,}" for fold, size in zip(folds, sizes, strict=True)))
    beside_labels = {name: cells for name, cells in columns.items() if name not in target.columns}
    overlooked = likely_groups(beside_labels, train.image_ids, dealt, labels=train.labels)
    for warning in [*deal.warnings, *map(str, overlooked)]:
        console.say(f"warning: {warning}")


if __name__ == "__main__":
    console.run(main)
