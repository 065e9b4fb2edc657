"""Reads the organiser's zip or folder. Writes schema, tables, the sample submission, an audit and two uint8 stores.

Each image is decoded once. Every problem is reported in one go, and then nothing is written.
"""

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline import console
from pipeline.competition.archive import Archive, open_archive
from pipeline.competition.labels import label_counts
from pipeline.competition.layout import ALLOWABLE, Layout, Wishes, read_layout
from pipeline.competition.problems import Problems
from pipeline.competition.schema import (
    TEST_COLUMNS,
    TRAIN_COLUMNS,
    Schema,
    Store,
    TestRow,
    TrainRow,
    write_rows,
    write_schema,
)
from pipeline.files import sha256_of, whole_file, write_bytes, write_json, write_table
from pipeline.images.store import StoreReport, auto_size, write_store
from pipeline.params import CompetitionParams, ImagesParams, load_section


def main(argv: Sequence[str] | None = None) -> None:
    """Command line of the stage; the paths come from dvc.yaml."""
    parser = argparse.ArgumentParser(prog="python -m pipeline.stages.ingest", description=__doc__)
    parser.add_argument("--params", type=Path, required=True, help="params.yaml (sections competition, images)")
    parser.add_argument("--raw", type=Path, required=True, help="zip or folder from the organiser")
    parser.add_argument("--schema", type=Path, required=True, help="JSON to write: what the competition asks")
    parser.add_argument("--train-table", type=Path, required=True, help="CSV to write: labelled images")
    parser.add_argument("--train-columns", type=Path, required=True, help="CSV to write: the organiser's own columns")
    parser.add_argument("--test-table", type=Path, required=True, help="CSV to write: images to predict")
    parser.add_argument("--sample", type=Path, required=True, help="CSV to write: the organiser's sample submission")
    parser.add_argument("--audit", type=Path, required=True, help="JSON to write: what was seen")
    parser.add_argument("--train-images", type=Path, required=True, help=".npy to write: (N, S, S, 3) uint8")
    parser.add_argument("--test-images", type=Path, required=True, help=".npy to write: (N, S, S, 3) uint8")
    args = parser.parse_args(argv)
    competition = load_section(args.params, "competition", CompetitionParams)
    images = load_section(args.params, "images", ImagesParams)
    _check_allow(competition.allow)

    problems = Problems()
    with (
        open_archive(args.raw) as archive,
        whole_file(args.train_images) as train_part,
        whole_file(args.test_images) as test_part,
    ):
        layout = read_layout(archive, problems, Wishes.among(dataclasses.asdict(competition)))
        size = _image_size(archive, layout, images.size)
        train_names = [name for _, name, _ in layout.train]
        test_names = [name for _, name in layout.test]
        train = write_store(train_part, train_names, archive.read, size=size, fit=images.fit, title="train images")
        test = write_store(test_part, test_names, archive.read, size=size, fit=images.fit, title="test images")
        _add_failures(problems, train_names, train)
        _add_failures(problems, test_names, test)
        problems.stop(str(args.raw), competition.allow)

    schema = Schema(
        id_column=layout.id_column,
        target=layout.target,
        submission=layout.submission,
        metric=layout.metric,
        train=Store(num_images=len(layout.train), size=size, sha256=sha256_of(args.train_images)),
        test=Store(num_images=len(layout.test), size=size, sha256=sha256_of(args.test_images)),
    )
    train_rows = [TrainRow(*row[:2], digest, row[2]) for row, digest in zip(layout.train, train.sha256, strict=True)]
    test_rows = [TestRow(*row, digest) for row, digest in zip(layout.test, test.sha256, strict=True)]
    audit = _audit(schema, train_rows, test_rows, train, test, problems)
    write_rows(args.train_table, train_rows, TRAIN_COLUMNS)
    own_rows = [[row.image_id, *cells] for row, cells in zip(train_rows, layout.column_rows, strict=True)]
    write_table(args.train_columns, ("image_id", *layout.columns), own_rows)
    write_rows(args.test_table, test_rows, TEST_COLUMNS)
    write_bytes(args.sample, layout.sample)
    write_json(args.audit, audit)
    write_schema(args.schema, schema)
    _summarise(args.raw, schema, audit)


def _check_allow(allow: Sequence[str]) -> None:
    unknown = [kind for kind in allow if kind not in ALLOWABLE]
    if unknown:
        raise ValueError(f"competition.allow has {unknown}; allowed: {list(ALLOWABLE)}")


def _image_size(archive: Archive, layout: Layout, size: int | str) -> int:
    if isinstance(size, int):
        return size
    return auto_size([name for _, name, _ in layout.train] + [name for _, name in layout.test], archive.read)


def _add_failures(problems: Problems, names: Sequence[str], report: StoreReport) -> None:
    for row, reason in report.failures:
        problems.add("unreadable image", f"{names[row]}: {reason}", "put a sound copy of the file in its place")


def _audit(
    schema: Schema,
    train_rows: Sequence[TrainRow],
    test_rows: Sequence[TestRow],
    train: StoreReport,
    test: StoreReport,
    problems: Problems,
) -> dict[str, Any]:
    """Counts, formats and byte-identical duplicates; the first three of each kind by name."""
    by_digest: dict[str, list[TrainRow]] = {}
    for row in train_rows:
        by_digest.setdefault(row.sha256, []).append(row)
    repeated = [rows for rows in by_digest.values() if len(rows) > 1]
    conflicting = [rows for rows in repeated if len({row.label for row in rows}) > 1]
    leaked = [row for row in test_rows if row.sha256 in by_digest]
    original = train.sizes + test.sizes
    sizes = label_counts([row.label for row in train_rows], several=not schema.target.exclusive)
    return {
        "num_train": len(train_rows),
        "num_test": len(test_rows),
        "classes": {label: sizes[label] for label in schema.target.classes},
        "formats": dict((train.formats + test.formats).most_common()),
        "modes": dict((train.modes + test.modes).most_common()),
        "original_sizes": {f"{width}x{height}": count for (width, height), count in original.most_common(10)},
        "num_original_sizes": len(original),
        "stored_size": schema.train.size,
        "allowed_problems": problems.counts(),
        "duplicates_in_train": _shown([[row.image_id for row in rows] for rows in repeated]),
        "duplicates_with_other_label": _shown([[row.image_id for row in rows] for rows in conflicting]),
        "test_images_also_in_train": _shown([[row.image_id, by_digest[row.sha256][0].image_id] for row in leaked]),
    }


def _shown(groups: list[list[str]]) -> dict[str, Any]:
    return {"groups": len(groups), "first": groups[:3]}


def _summarise(raw: Path, schema: Schema, audit: dict[str, Any]) -> None:
    counts = audit["classes"].values()
    console.say(
        f"{raw}: {schema.train.num_images:,} labelled and {schema.test.num_images:,} test images, "
        f"{len(counts)} classes of {min(counts):,} to {max(counts):,} images, stored at {schema.train.size} px"
    )
    for kind, count in audit["allowed_problems"].items():
        console.say(f"warning: {kind}: {count} (allowed by competition.allow)")
    for kind in ("duplicates_in_train", "duplicates_with_other_label", "test_images_also_in_train"):
        if audit[kind]["groups"]:
            console.say(f"warning: {kind.replace('_', ' ')}: {audit[kind]['groups']} ({audit[kind]['first']})")


if __name__ == "__main__":
    console.run(main)
