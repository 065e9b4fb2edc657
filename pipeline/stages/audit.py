"""Reads tables and stores. Writes what was found in the images, as JSON and as a page, and which are copies.

Stops where images cannot be read, or show nothing, with all of them in one go; what competition.allow allows is left
out. Copies and near-copies of an image share a group, which no two folds may share.
"""

import argparse
import dataclasses
import functools
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.audit import findings as audit
from pipeline.audit.duplicates import CROWD, Search, search_copies, turned_copies
from pipeline.audit.findings import Place
from pipeline.audit.page import Gallery, Picture, audit_page, first_groups
from pipeline.base import allocator, console
from pipeline.base.files import write_bytes, write_json, write_table
from pipeline.base.params import CompetitionParams, load_section
from pipeline.base.texts import Texts
from pipeline.competition.class_findings import Finding, add_stopping, class_findings
from pipeline.competition.problems import Problems
from pipeline.competition.schema import (
    GROUPS_COLUMNS,
    LabelSets,
    Target,
    class_sizes,
    read_paths,
    read_seen,
    read_target,
    read_test_ids,
    read_train_labels,
)
from pipeline.competition.store import Seen, read_report, read_store

NUM_CLASSES_PICTURED = 60
MAX_CONSTANT = 0.9  # of all images
PARTS = ("train", "test")
THEN = {"train": "the rows are left out", "test": "they are predicted by the training prior"}


@dataclass(frozen=True, kw_only=True)
class Part:
    """The training images or the test images, row by row."""

    image_ids: Texts
    paths: Texts
    sha256: Texts
    failures: Texts
    store: np.ndarray
    seen: Seen

    @functools.cached_property
    def is_seen(self) -> np.ndarray:
        """(N,) bool."""
        return self.failures.where("")


def main(argv: Sequence[str] | None = None) -> None:
    """Command line of the stage; the paths come from dvc.yaml."""
    parser = argparse.ArgumentParser(prog="python -m pipeline.stages.audit", description=__doc__)
    parser.add_argument("--params", type=Path, required=True, help="params.yaml (competition.allow, near_copies)")
    parser.add_argument("--target", type=Path, required=True, help="JSON from ingest")
    for part in PARTS:
        parser.add_argument(f"--{part}-table", type=Path, required=True, help="CSV from ingest")
        parser.add_argument(f"--{part}-list", type=Path, required=True, help="CSV from ingest: paths")
        parser.add_argument(f"--{part}-images", type=Path, required=True, help=f".npy from decode_{part}")
        parser.add_argument(f"--{part}-description", type=Path, required=True, help=f"JSON from decode_{part}")
        parser.add_argument(f"--{part}-seen", type=Path, required=True, help=f"CSV from decode_{part}")
        parser.add_argument(f"--{part}-report", type=Path, required=True, help=f"JSON from decode_{part}")
    parser.add_argument("--groups", type=Path, required=True, help="CSV to write: group of copies, what is left out")
    parser.add_argument("--findings", type=Path, required=True, help="JSON to write: what was found")
    parser.add_argument("--page", type=Path, required=True, help="HTML to write: the same with thumbnails")
    args = parser.parse_args(argv)
    competition = load_section(args.params, "competition", CompetitionParams)
    allocator.return_freed_memory()

    target = read_target(args.target)
    train_ids, labels = read_train_labels(args.train_table)
    train = _part(args, "train", train_ids)
    test = _part(args, "test", read_test_ids(args.test_table))
    problems = Problems()
    _add_constant(problems, train.seen, test.seen)
    _add_failures(problems, "training", train, THEN["train"])
    _add_failures(problems, "test", test, THEN["test"])
    readable = np.flatnonzero(train.is_seen)
    if not len(readable):
        problems.stop(competition.raw, competition.allow)
        raise ValueError(
            f"none of the {len(train_ids)} training images can be read, first {train.paths[0]}: {train.failures[0]}"
        )
    sizes = class_sizes(labels.take(readable), target)
    findings = _findings_without_pixels(sizes, target, train, test)
    add_stopping(problems, findings)
    problems.stop(competition.raw, competition.allow)

    copies = _copies(train, test, labels, near=competition.near_copies == "group")
    findings += copies.findings
    group_of = _group_of(copies.in_folds, train_ids)
    seen = enumerate(train.is_seen.tolist())
    groups = ((train_ids[row], group_of.get(row, ""), "" if is_seen else "yes") for row, is_seen in seen)
    write_table(args.groups, GROUPS_COLUMNS, groups)
    shown = _places(target, labels, copies, train, test)
    captioned = functools.partial(_caption, target, labels, train, test)
    write_json(
        args.findings,
        _summary(sizes, train, test, findings)
        | {"allowed_problems": dict(problems.counts()), "galleries": _as_json(shown, captioned)},
    )
    stores = (train.store, test.store)
    galleries = [
        Gallery(
            places.title,
            places.note,
            [[Picture(stores[part][row], captioned((part, row))) for part, row in group] for group in _first(places)],
            places.most,
            len(places.groups),
        )
        for places in shown
    ]
    write_bytes(args.page, audit_page(_title(train, test), findings, galleries))
    _say(problems, findings)


def _part(args: argparse.Namespace, part: str, image_ids: Texts) -> Part:
    def path(name: str) -> Path:
        return vars(args)[f"{part}_{name}"]

    sha256, failures = read_seen(path("seen"), f"decode_{part}")
    store, _ = read_store(path("images"), path("description"), num_rows=len(image_ids), table=path("table"))
    return Part(
        image_ids=image_ids,
        paths=read_paths(path("list")),
        sha256=sha256,
        failures=failures,
        store=store,
        seen=read_report(path("report"), f"decode_{part}"),
    )


def _add_failures(problems: Problems, role: str, part: Part, then: str) -> None:
    kind = f"unreadable {role} image"
    remedy = (
        f"put a sound copy of the file in its place; or, and {then}: competition.allow: [{kind}]\nif the archive was "
        "damaged and is another now: `dvc repro -f decode_train decode_test`"
    )
    for row in np.flatnonzero(~part.is_seen).tolist():
        if part.paths[row]:  # else it is missing, as ingest has said
            problems.add(kind, f"{part.paths[row]}: {part.failures[row]}", remedy)


def _add_constant(problems: Problems, train: Seen, test: Seen) -> None:
    """Stores in which next to nothing is to be seen stop whatever is allowed: there is nothing to learn."""
    count, seen = train.num_constant + test.num_constant, _both(train.formats, test.formats).total()
    if count > MAX_CONSTANT * seen:
        problems.add(
            "images nearly all constant",
            f"{count:,} of {seen:,} are of one value as stored; modes {', '.join(_both(train.modes, test.modes))}",
            "look at the originals: convert them to 8-bit images in which the difference can be seen",
        )


def _both(of_train: Mapping[str, int], of_test: Mapping[str, int]) -> Counter[str]:
    return Counter(of_train) + Counter(of_test)


def _findings_without_pixels(sizes: Mapping[str, int], target: Target, train: Part, test: Part) -> list[Finding]:
    return [
        *audit.name_findings(train.paths),
        *audit.name_findings(test.paths),
        *class_findings(sizes, exclusive=target.exclusive),
        *audit.format_findings(train.seen.oddities, train.paths),
        *audit.format_findings(test.seen.oddities, test.paths),
    ]


@dataclass(frozen=True)
class _Copies:
    """Copies of images, byte-identical or near."""

    in_train: list[list[Place]]  # found among the training images alone: what no test image changes
    in_folds: list[list[Place]]  # the same with those that are turned or mirrored: what shares a fold
    groups: list[list[Place]]  # found among all images
    turned: list[list[Place]]  # pairs
    findings: list[Finding]


def _copies(train: Part, test: Part, labels: Texts, *, near: bool) -> _Copies:
    ids = {"train_ids": train.image_ids, "test_ids": test.image_ids}
    seen = (train.is_seen, test.is_seen)
    stores = (train.store, test.store)
    alone = search_copies(stores[:1]) if near else Search([], [], [], [])
    in_train = audit.joined(audit.same_bytes([train.sha256]), _of_seen(alone.groups, seen))
    allocator.return_freed_memory()
    with_test = search_copies(stores, known=len(train.store)).groups if near else []
    groups = audit.joined(in_train, audit.same_bytes([train.sha256, test.sha256]), _of_seen(with_test, seen))
    allocator.return_freed_memory()
    turned = _of_seen(turned_copies(stores[:1]), seen) if near else []
    in_folds = audit.joined(in_train, turned)
    kept = max(map(len, in_folds), default=0) <= max(CROWD, len(train.store) // 2)  # else a series, which no fold holds
    in_folds = in_folds if kept else in_train
    turned += _of_seen(turned_copies(stores, known=len(train.store)), seen) if near else []
    findings = [
        *audit.copy_findings(in_train, audit.leaked(groups), **ids, labels=labels),
        *audit.search_findings(alone.series, alone.cut, _seen_places(alone.plain, seen), **ids),
        *audit.turned_findings(turned, kept=kept, **ids, labels=labels),
    ]
    return _Copies(in_train, in_folds, groups, turned, findings)


def _of_seen(groups: list[list[Place]], seen: tuple[np.ndarray, np.ndarray]) -> list[list[Place]]:
    """The groups without images of which nothing was seen: their rows of zeros are alike."""
    found = [_seen_places(group, seen) for group in groups]
    return [group for group in found if len(group) > 1]


def _seen_places(places: Sequence[Place], seen: tuple[np.ndarray, np.ndarray]) -> list[Place]:
    return [(part, row) for part, row in places if seen[part][row]]


def _group_of(groups: Sequence[Sequence[Place]], train_ids: Sequence[str]) -> dict[int, str]:
    """Row of train -> the name of its group (its first image's id), for rows that have a copy in train."""
    return {row: train_ids[group[0][1]] for group in groups for _, row in group}


def _title(train: Part, test: Part) -> str:
    return f"Audit: {len(train.image_ids):,} labelled images, {len(test.image_ids):,} to predict"


@dataclass(frozen=True)
class _Places:
    """Images to be shown under one heading, in groups; the same for the page of the audit and for the report's."""

    title: str
    note: str
    groups: Sequence[Sequence[Place]]
    most: int = 24  # pictures


def _first(places: _Places) -> list[Sequence[Place]]:
    return first_groups(places.groups, places.most)


def _as_json(shown: Sequence[_Places], captioned: Callable[[Place], str]) -> list[dict[str, Any]]:
    """For the page of the report: part, row of its table and caption of each picture."""
    return [
        {
            "title": places.title, "note": places.note, "count": len(places.groups),
            "groups": [[[PARTS[part], row, captioned((part, row))] for part, row in group] for group in _first(places)],
        }
        for places in shown
    ]  # fmt: skip


def _places(target: Target, cells: Texts, copies: _Copies, train: Part, test: Part) -> list[_Places]:
    labels = LabelSets(cells, several=not target.exclusive)
    extreme = [
        (part, row)
        for part, images in enumerate((train, test))
        for row in images.seen.oddities.get("extreme aspect", [])
    ]
    examples = audit.class_examples(labels, target.classes[:NUM_CLASSES_PICTURED], seed=0)
    by_class = [[(audit.TRAIN, row)] for row in examples.values()]
    found = [
        _Places("Copies with other labels", "", audit.conflicting(copies.in_train, cells)),
        _Places("Test images also in train", "", audit.leaked(copies.groups)),
        _Places("Copies", "byte-identical or nearly; those in train share a fold", copies.groups),
        _Places("Copies that are turned or mirrored", "", copies.turned),
        _Places("Extreme aspect ratios", "", [[place] for place in extreme]),
        _Places("One image of each class", "", by_class, most=NUM_CLASSES_PICTURED),
    ]
    return [places for places in found if places.groups]


def _caption(target: Target, cells: Texts, train: Part, test: Part, place: Place) -> str:
    part, row = place
    if part == audit.TEST:
        return f"{test.image_ids[row]}: test"
    said = LabelSets(cells, several=not target.exclusive)[row]
    return f"{train.image_ids[row]}: {', '.join(said) or 'no label'}"


def _summary(sizes: Mapping[str, int], train: Part, test: Part, findings: Sequence[Finding]) -> dict[str, Any]:
    """audit.json: counts, formats, and everything found, the first three of each kind by name."""
    original = _both(train.seen.sizes, test.seen.sizes)
    return {
        "num_train": int(train.is_seen.sum()),
        "num_test": len(test.image_ids),
        "classes": sizes,
        "formats": dict(_both(train.seen.formats, test.seen.formats).most_common()),
        "modes": dict(_both(train.seen.modes, test.seen.modes).most_common()),
        "original_sizes": dict(original.most_common(10)),
        "num_original_sizes": len(original),
        "stored_size": train.store.shape[1],
        "findings": [dataclasses.asdict(finding) for finding in findings],
    }


def _say(problems: Problems, findings: Sequence[Finding]) -> None:
    for kind, count in problems.counts().items():
        console.say(f"warning: {kind}: {count} (allowed by competition.allow)")
    for finding in findings:
        if finding.severity == "warn":
            console.say(f"warning: {finding.kind}: {finding.count:,} ({', '.join(finding.first)}); {finding.remedy}")


if __name__ == "__main__":
    console.run(main)
