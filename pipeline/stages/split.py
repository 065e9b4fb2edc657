"""Reads the table of labelled images. Writes which fold holds out which image.

Stratified by label, seeded; byte-identical images share a fold.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from pipeline import console
from pipeline.competition.folds import deal_folds
from pipeline.competition.schema import FOLDS_COLUMNS, read_train_rows
from pipeline.files import refuse_leftovers, write_table
from pipeline.params import SplitParams, load_folds, load_section


def main(argv: Sequence[str] | None = None) -> None:
    """Command line of the stage; the paths come from dvc.yaml."""
    parser = argparse.ArgumentParser(prog="python -m pipeline.stages.split", description=__doc__)
    parser.add_argument("--params", type=Path, required=True, help="params.yaml (sections split, folds)")
    parser.add_argument("--train-table", type=Path, required=True, help="CSV of labelled images")
    parser.add_argument("--per-fold", type=Path, nargs="*", default=[], help="folders that hold a file for each fold")
    parser.add_argument("--out", type=Path, required=True, help="CSV to write: image_id, fold")
    args = parser.parse_args(argv)
    folds = load_folds(args.params)
    params = load_section(args.params, "split", SplitParams)
    refuse_leftovers(args.per_fold, folds)  # now, not when all folds have trained

    rows = read_train_rows(args.train_table)
    dealt = deal_folds(
        [row.label for row in rows], [row.sha256 for row in rows], num_folds=len(folds), seed=params.seed
    )
    write_table(args.out, FOLDS_COLUMNS, [(row.image_id, fold) for row, fold in zip(rows, dealt, strict=True)])
    counts = [int((dealt == int(fold)).sum()) for fold in folds]
    console.say(f"{len(rows):,} images dealt into {len(folds)} folds of {min(counts):,} to {max(counts):,}")


if __name__ == "__main__":
    console.run(main)
