"""Reads the organiser's files. Writes schema, tables, the sample submission, two uint8 stores, and an audit.

Each image is decoded once. Every problem is reported in one go, and then nothing is written.
"""

import argparse
import dataclasses
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.archive.archive import Archive, open_archive
from pipeline.audit import findings as audit
from pipeline.audit.duplicates import Search, mirrored_copies, search_copies
from pipeline.audit.findings import AuditFinding, Place
from pipeline.audit.page import Gallery, Picture, audit_page
from pipeline.base import allocator, console
from pipeline.base.files import sha256_of, whole_file, write_bytes, write_json, write_table
from pipeline.base.params import CompetitionParams, ImagesParams, load_section
from pipeline.base.texts import Texts, thinned
from pipeline.competition.problems import Problems
from pipeline.competition.schema import (
    TEST_COLUMNS,
    TRAIN_COLUMNS,
    LabelSets,
    Schema,
    Store,
    write_schema,
)
from pipeline.competition.store import read_store
from pipeline.images.store_writer import AUTO_SAMPLE, StoreReport, auto_bits, auto_size, drop_rows, write_store
from pipeline.layout.context import Wishes
from pipeline.layout.layout import ALLOWABLE, Layout, read_layout

NUM_CLASSES_PICTURED = 60
MOST_CONSTANT = 0.9  # of all images


def main(argv: Sequence[str] | None = None) -> None:
    """Command line of the stage; the paths come from dvc.yaml."""
    parser = argparse.ArgumentParser(prog="python -m pipeline.stages.ingest", description=__doc__)
    parser.add_argument("--params", type=Path, required=True, help="params.yaml (competition, images)")
    parser.add_argument("--schema", type=Path, required=True, help="JSON to write: what the competition asks")
    parser.add_argument("--train-table", type=Path, required=True, help="CSV to write: labelled images")
    parser.add_argument("--train-columns", type=Path, required=True, help="CSV to write: the organiser's own columns")
    parser.add_argument("--test-table", type=Path, required=True, help="CSV to write: images to predict")
    parser.add_argument("--sample", type=Path, required=True, help="CSV to write: the organiser's sample submission")
    parser.add_argument("--audit", type=Path, required=True, help="JSON to write: what was seen")
    parser.add_argument("--audit-page", type=Path, required=True, help="HTML to write: the same with thumbnails")
    parser.add_argument("--train-images", type=Path, required=True, help=".npy to write: (N, S, S, 3) uint8")
    parser.add_argument("--test-images", type=Path, required=True, help=".npy to write: (N, S, S, 3) uint8")
    args = parser.parse_args(argv)
    competition = load_section(args.params, "competition", CompetitionParams)
    images = load_section(args.params, "images", ImagesParams)
    _check_allow(competition.allow)
    allocator.return_freed_memory()

    problems = Problems()
    stored = _read(args, competition, images, problems)
    layout, size, train, test, findings = stored.layout, stored.size, stored.train, stored.test, stored.findings
    schema = Schema(
        id_column=layout.id_column,
        target=layout.target,
        submission=layout.submission,
        metric=layout.metric,
        train=Store(num_images=len(layout.train_ids), size=size, sha256=sha256_of(args.train_images), bits=stored.bits),
        test=Store(num_images=len(layout.test_ids), size=size, sha256=sha256_of(args.test_images), bits=stored.bits),
    )
    train_store = read_store(args.train_images, num_images=len(layout.train_ids), size=size)
    test_store = read_store(args.test_images, num_images=len(layout.test_ids), size=size)
    copies = _copies(layout, (train_store, test_store), train, test, near=competition.near_copies == "group")
    findings = findings + copies.findings
    group_of = _group_of(copies.groups, layout.train_ids)
    groups = (group_of.get(row, "") for row in range(len(layout.train_ids)))

    of_train = (layout.train_ids, layout.train_members, train.sha256, layout.train_labels, groups)
    write_table(args.train_table, TRAIN_COLUMNS, zip(*of_train, strict=True))
    own = layout.train_table
    write_table(args.train_columns, ("image_id", *own.header), zip(layout.train_ids, *own.cells, strict=True))
    of_test = (layout.test_ids, layout.test_members, test.sha256)
    write_table(args.test_table, TEST_COLUMNS, zip(*of_test, strict=True))
    write_bytes(args.sample, layout.sample)
    write_json(args.audit, _summary(schema, layout, train, test, problems, findings))
    galleries = _galleries(layout, copies, (train_store, test_store), train, test)
    write_bytes(args.audit_page, audit_page(_title(layout), findings, galleries))
    write_schema(args.schema, schema)
    _say(competition.raw, schema, layout, problems, findings)


@dataclass(frozen=True)
class _Stored:
    """What was read, when the stores are written."""

    layout: Layout
    size: int  # of the stores, pixels
    bits: int  # used of 16-bit grey
    train: StoreReport
    test: StoreReport
    findings: list[AuditFinding]  # those that need no pixels


def _read(
    args: argparse.Namespace, competition: CompetitionParams, images: ImagesParams, problems: Problems
) -> _Stored:
    """Recognise, decode and store. Raises ValueError with all problems at once."""
    with (
        open_archive(Path(competition.raw)) as archive,
        whole_file(args.train_images) as train_part,
        whole_file(args.test_images) as test_part,
    ):
        allocator.return_freed_memory()
        layout = read_layout(archive, problems, Wishes.among(dataclasses.asdict(competition)))
        allocator.return_freed_memory()
        size = _image_size(archive, layout, images.side)
        bits = auto_bits(thinned([layout.train_members, layout.test_members], AUTO_SAMPLE), archive.read)
        train = write_store(
            train_part, layout.train_members, archive.read, size=size, fit=images.fit, bits=bits, title="train images"
        )
        test = write_store(
            test_part, layout.test_members, archive.read, size=size, fit=images.fit, bits=bits, title="test images"
        )
        archive.close()
        allocator.return_freed_memory()
        _add_constant(problems, train, test)
        _add_failures(problems, "training", layout.train_members, train, "the rows are left out")
        _add_failures(problems, "test", layout.test_members, test, "they are predicted by the training prior")
        if train.failures and "unreadable training image" in competition.allow:
            layout, train = _without_unreadable(layout, train, train_part)
        layout = replace(layout, test_members=_seen(layout.test_members, test))
        findings = _findings_without_pixels(layout, train, test)
        audit.add_stopping(problems, findings)
        problems.stop(competition.raw, competition.allow)
    return _Stored(layout, size, bits, train, test, findings)


def _check_allow(allow: Sequence[str]) -> None:
    unknown = [kind for kind in allow if kind not in ALLOWABLE]
    if unknown:
        raise ValueError(f"competition.allow has {unknown}; allowed: {list(ALLOWABLE)}")


def _image_size(archive: Archive, layout: Layout, size: int | str) -> int:
    if isinstance(size, int):
        return size
    return auto_size(thinned([layout.train_members, layout.test_members], AUTO_SAMPLE), archive.read)


def _add_failures(problems: Problems, role: str, names: Sequence[str], report: StoreReport, then: str) -> None:
    kind = f"unreadable {role} image"
    remedy = f"put a sound copy of the file in its place; or, and {then}: competition.allow: [{kind}]"
    for row, reason in report.failures:
        problems.add(kind, f"{names[row]}: {reason}", remedy)


def _without_unreadable(layout: Layout, train: StoreReport, store: Path) -> tuple[Layout, StoreReport]:
    """Layout and report without the training images that cannot be read; their rows leave the store too."""
    rows = [row for row, _ in train.failures]
    if len(rows) == len(layout.train_ids):
        raise ValueError(f"none of the {len(rows)} training images can be read")
    kept = np.delete(np.arange(len(layout.train_ids)), rows)
    drop_rows(store, rows)
    readable = replace(
        layout,
        train_ids=layout.train_ids.take(kept),
        train_members=layout.train_members.take(kept),
        train_labels=layout.train_labels.take(kept),
        train_table=layout.train_table.take(kept),
    )
    return readable, train.without(rows)


def _seen(members: Texts, test: StoreReport) -> Texts:
    """The members, '' for what cannot be read, as for what is missing: there is nothing to see of either."""
    rows = [row for row, _ in test.failures]
    return members.with_others(rows, [""] * len(rows)) if rows else members


def _add_constant(problems: Problems, train: StoreReport, test: StoreReport) -> None:
    """A store in which next to nothing is to be seen stops whatever is allowed: there is nothing to learn."""
    count, seen = train.num_constant + test.num_constant, (train.formats + test.formats).total()
    if count > MOST_CONSTANT * seen:
        problems.add(
            "images nearly all constant",
            f"{count:,} of {seen:,} are of one value as stored; modes {', '.join(train.modes + test.modes)}",
            "look at the originals: convert them to 8-bit images in which the difference can be seen",
        )


def _findings_without_pixels(layout: Layout, train: StoreReport, test: StoreReport) -> list[AuditFinding]:
    return [
        *audit.name_findings(layout.train_members),
        *audit.name_findings(layout.test_members),
        *audit.class_findings(layout.class_sizes(), exclusive=layout.target.exclusive),
        *audit.format_findings(train.oddities, layout.train_members),
        *audit.format_findings(test.oddities, layout.test_members),
    ]


@dataclass(frozen=True)
class _Copies:
    """Copies of images, byte-identical or near, within train and across to test."""

    groups: list[list[Place]]
    mirrored: list[list[Place]]
    findings: list[AuditFinding]


def _copies(
    layout: Layout, stores: tuple[np.ndarray, np.ndarray], train: StoreReport, test: StoreReport, *, near: bool
) -> _Copies:
    ids = {"train_ids": layout.train_ids, "test_ids": layout.test_ids}
    same = audit.same_bytes([train.sha256, test.sha256])
    allocator.return_freed_memory()
    found = search_copies(stores) if near else Search([], [], [], [])
    groups = audit.joined(same, _of_seen(found.groups, layout))
    allocator.return_freed_memory()
    mirrored = _of_seen(mirrored_copies(stores), layout) if near else []
    findings = [
        *audit.copy_findings(groups, **ids, labels=layout.train_labels),
        *audit.search_findings(found.series, found.cut, _seen_places(found.plain, layout), **ids),
        *audit.mirror_findings(mirrored, **ids),
    ]
    return _Copies(groups, mirrored, findings)


def _of_seen(groups: list[list[Place]], layout: Layout) -> list[list[Place]]:
    """The groups without test images of which nothing was seen: their rows of zeros are alike."""
    seen = [_seen_places(group, layout) for group in groups]
    return [group for group in seen if len(group) > 1]


def _seen_places(places: Sequence[Place], layout: Layout) -> list[Place]:
    unseen = layout.test_members.where("")
    return [(part, row) for part, row in places if part == audit.TRAIN or not unseen[row]]


def _group_of(groups: Sequence[Sequence[Place]], train_ids: Sequence[str]) -> dict[int, str]:
    """Row of train -> the name of its group (its first image's id), for rows that have a copy in train."""
    group_of: dict[int, str] = {}
    for group in groups:
        rows = [row for part, row in group if part == audit.TRAIN]
        if len(rows) > 1:
            group_of |= dict.fromkeys(rows, train_ids[rows[0]])
    return group_of


def _title(layout: Layout) -> str:
    return f"Audit: {len(layout.train_ids):,} labelled images, {len(layout.test_ids):,} to predict"


def _galleries(
    layout: Layout, copies: _Copies, stores: tuple[np.ndarray, np.ndarray], train: StoreReport, test: StoreReport
) -> list[Gallery]:
    ids = (layout.train_ids, layout.test_ids)
    labels = LabelSets(layout.train_labels, several=not layout.target.exclusive)

    def picture(place: Place) -> Picture:
        part, row = place
        said = ", ".join(labels[row]) or "no label" if part == audit.TRAIN else "test"
        return Picture(stores[part][row], f"{ids[part][row]}: {said}")

    def pictures(groups: Sequence[Sequence[Place]]) -> list[list[Picture]]:
        return [[picture(place) for place in group] for group in groups[:24]]

    extreme = [
        (part, row) for part, report in enumerate((train, test)) for row in report.oddities.get("extreme aspect", [])
    ]
    examples = audit.class_examples(labels, layout.target.classes[:NUM_CLASSES_PICTURED], seed=0)
    by_class = [[picture((audit.TRAIN, row))] for row in examples.values()]
    return [
        Gallery("Copies with other labels", "", pictures(audit.conflicting(copies.groups, layout.train_labels))),
        Gallery("Test images also in train", "", pictures(audit.leaked(copies.groups))),
        Gallery("Copies", "byte-identical or nearly; those in train share a fold", pictures(copies.groups)),
        Gallery("Mirror images of one another", "", pictures(copies.mirrored)),
        Gallery("Extreme aspect ratios", "", pictures([[place] for place in extreme])),
        Gallery("One image of each class", "", by_class, most=NUM_CLASSES_PICTURED),
    ]


def _summary(
    schema: Schema,
    layout: Layout,
    train: StoreReport,
    test: StoreReport,
    problems: Problems,
    findings: Sequence[AuditFinding],
) -> dict[str, Any]:
    """audit.json: counts, formats, and everything found, the first three of each kind by name."""
    original: Counter[tuple[int, int]] = train.sizes + test.sizes
    return {
        "num_train": len(layout.train_ids),
        "num_test": len(layout.test_ids),
        "classes": layout.class_sizes(),
        "formats": dict((train.formats + test.formats).most_common()),
        "modes": dict((train.modes + test.modes).most_common()),
        "original_sizes": {f"{width}x{height}": count for (width, height), count in original.most_common(10)},
        "num_original_sizes": len(original),
        "stored_size": schema.train.size,
        "recognised": layout.notes,
        "warnings": layout.warnings,
        "allowed_problems": problems.counts(),
        "findings": [dataclasses.asdict(finding) for finding in findings],
    }


def _say(raw: str, schema: Schema, layout: Layout, problems: Problems, findings: Sequence[AuditFinding]) -> None:
    target = schema.target
    counts = layout.class_sizes().values()
    console.say(
        f"{raw}: {schema.train.num_images:,} labelled and {schema.test.num_images:,} test images, "
        f"{len(counts)} classes of {min(counts):,} to {max(counts):,} images, stored at {schema.train.size} px"
    )
    console.say(f"target {target.kind}, submission {schema.submission.kind}, metric {schema.metric}")
    for warning in layout.warnings:
        console.say(f"warning: {warning}")
    for kind, count in problems.counts().items():
        console.say(f"warning: {kind}: {count} (allowed by competition.allow)")
    for finding in findings:
        if finding.severity == "warn":
            first = ", ".join(finding.first)
            console.say(f"warning: {finding.kind}: {finding.count:,} ({first}); {finding.remedy}")


if __name__ == "__main__":
    console.run(main)
