"""Reads frozen features, tables, folds, groups and stores. Writes each image's nearest training images, and findings.

Found are copies that the audit misses, and test images unlike training images. It reports: nothing that trains reads
it. Where there are no features it writes files that say so.
"""

import argparse
import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.audit.drift import Drift, class_weights, measure, sample
from pipeline.audit.label_neighbours import VOTERS, Contradictions, contradictions, looks, voters
from pipeline.audit.neighbour_findings import (
    drift_findings,
    joined_groups,
    label_findings,
    pair_findings,
    pair_groups,
)
from pipeline.audit.neighbours import STRANGER, Copies, Nearest, find_copies, merged, nearest, space_of
from pipeline.audit.page import Gallery, Picture, audit_page
from pipeline.base import allocator, console
from pipeline.base.files import made_by, read_json, write_bytes, write_json, write_table
from pipeline.competition.class_findings import Finding
from pipeline.competition.schema import (
    OWN_GROUP,
    TRAIN_COLUMNS,
    LabelSets,
    Target,
    read_folds,
    read_target,
    read_test_ids,
    read_train_table,
    read_unseen,
    target_array,
)
from pipeline.competition.store import read_store

PARTS = ("train", "test")
COLUMNS = ("part", "image_id", "rank", "nearest_id", "label", "fold", "cosine")
KINDS = ("across_folds", "in_one_fold", "train_and_test", "in_test")  # of pairs
NUM_NEAREST = 3  # of each image, in nearest.csv
SEARCHED = max(STRANGER, VOTERS) + 5  # nearest of each image: five more, as its own group has no vote
PICTURED = 12  # groups in a gallery
MOST_IMAGES = 200_000  # time grows as N², 10 minutes of two cores; of more none is compared


@dataclass(frozen=True, kw_only=True)
class Images:
    """The images of which something is to be seen, training images first; numbers count through both."""

    ids: list[str]
    num_train: int
    labels: list[str]  # `label` cells of the training images
    folds: list[str]  # of the training images
    groups: np.ndarray  # (N,) int64: group of copies, -1 for none
    rows: tuple[np.ndarray, np.ndarray]  # of the tables, stores and features
    stores: tuple[np.ndarray, np.ndarray]
    features: tuple[np.ndarray, np.ndarray]

    def pixels(self, numbers: np.ndarray) -> np.ndarray:
        """(M, S, S, 3) uint8, of ascending numbers."""
        start = int(np.searchsorted(numbers, self.num_train))
        own = self.rows[0][numbers[:start]], self.rows[1][numbers[start:] - self.num_train]
        return np.concatenate([store[rows] for store, rows in zip(self.stores, own, strict=True)])


def main(argv: Sequence[str] | None = None) -> None:
    """Command line of the stage; the paths come from dvc.yaml."""
    parser = argparse.ArgumentParser(prog="python -m pipeline.stages.neighbours", description=__doc__)
    parser.add_argument("--target", type=Path, required=True, help="JSON from ingest")
    parser.add_argument("--folds", type=Path, required=True, help="CSV from split")
    parser.add_argument("--groups", type=Path, required=True, help="CSV from audit: groups of copies, what is left out")
    parser.add_argument("--seen", type=Path, required=True, help="CSV from decode_test: what could not be read")
    for part in PARTS:
        parser.add_argument(f"--{part}-table", type=Path, required=True, help="CSV from ingest")
        parser.add_argument(f"--{part}-images", type=Path, required=True, help=f".npy from decode_{part}")
        parser.add_argument(f"--{part}-description", type=Path, required=True, help=f"JSON from decode_{part}")
        parser.add_argument(f"--{part}-features", type=Path, required=True, help=f".npy from embed_{part}")
        parser.add_argument(f"--{part}-features-description", type=Path, required=True, help=f"JSON from embed_{part}")
    parser.add_argument("--summary", type=Path, required=True, help="JSON to write: counts, limits, findings")
    parser.add_argument("--nearest", type=Path, required=True, help="CSV to write: nearest training images of each")
    parser.add_argument("--near-copies", type=Path, required=True, help="CSV to write: groups for split.group to name")
    parser.add_argument("--page", type=Path, required=True, help="HTML to write: the findings with thumbnails")
    args = parser.parse_args(argv)
    allocator.return_freed_memory()

    num_images = sum(_num_features(_path(args, part, "features_description")) for part in PARTS)
    if not num_images or num_images > MOST_IMAGES:
        why = f"{num_images:,} images are more than {MOST_IMAGES:,}" if num_images else "no frozen features"
        if num_images:
            console.say(f"{why}: neighbours are not looked for")
        _write(args, {"features": why, "findings": []}, [], [], audit_page(f"Neighbours: {why}", [], []))
        return
    _look(args, _images(args), read_target(args.target))


def _num_features(description: Path) -> int:
    with made_by(f"-s embed_{description.stem}", description):
        return int(read_json(description)["num_images"])


def _path(args: argparse.Namespace, part: str, name: str) -> Path:
    found: Path = vars(args)[f"{part}_{name}"]
    return found


def _images(args: argparse.Namespace) -> Images:
    table, train_ids, train_rows = read_train_table(args.train_table, args.groups)
    test_ids = read_test_ids(args.test_table)
    test_rows = np.flatnonzero(~read_unseen(args.seen, len(test_ids), args.test_table))
    number_of = {group: number for number, group in enumerate(filter(None, table.groups.distinct()))}
    groups = [number_of.get(group, -1) for group in table.groups]
    parts = [_part(args, part, num_rows) for part, num_rows in zip(PARTS, map(len, (train_ids, test_ids)), strict=True)]
    return Images(
        ids=[*table.image_ids, *test_ids.take(test_rows)],
        num_train=len(train_rows),
        labels=list(table.labels),
        folds=list(read_folds(args.folds, train_ids, args.train_table).take(train_rows)),
        groups=np.array(groups + [-1] * len(test_rows), dtype=np.int64),
        rows=(train_rows, test_rows),
        stores=(parts[0][0], parts[1][0]),
        features=(parts[0][1], parts[1][1]),
    )


def _part(args: argparse.Namespace, part: str, num_rows: int) -> tuple[np.ndarray, np.ndarray]:
    """(the store, the features) of all rows of a table."""
    from pipeline.models.features import read_features  # loads torch

    images, description = _path(args, part, "images"), _path(args, part, "description")
    store, _ = read_store(images, description, num_rows=num_rows, table=_path(args, part, "table"))
    features, _ = read_features(
        _path(args, part, "features"), _path(args, part, "features_description"), num_rows=num_rows
    )
    return store, features


@dataclass(frozen=True, kw_only=True)
class Found:
    """What features say of the images."""

    near: Nearest  # training images of every image
    copies: Copies
    suspects: Contradictions
    drift: Drift | None
    unlike: list[int]  # test images that look least like training images, these first; none without `drift`
    findings: list[Finding]


def _look(args: argparse.Namespace, images: Images, target: Target) -> None:
    """Find it, write it, say it."""
    found = _found(images, target, str(args.near_copies))
    in_train = found.copies.pairs[found.copies.pairs[:, 1] < images.num_train]
    rows = [(images.ids[row], images.labels[row], group) for row, group in pair_groups(in_train, images.ids).items()]
    num_test = len(images.ids) - images.num_train
    title = f"Neighbours by features: {images.num_train:,} labelled images, {num_test:,} to predict"
    page = audit_page(title, found.findings, _galleries(images, found, target))
    _write(args, _summary(images, found), _nearest_rows(images, found.near), rows, page)
    _say(found)


def _found(images: Images, target: Target, groups_file: str) -> Found:
    units = space_of(list(zip(images.features, images.rows, strict=True)))
    every = np.concatenate(units)
    near = nearest(every, units[0], SEARCHED, start=0)
    among_all = merged(near, nearest(every, units[1], SEARCHED, start=images.num_train), images.num_train)
    copies = find_copies(images.pixels, among_all, images.groups)
    groups, truth = joined_groups(images.groups, copies.pairs), target_array(images.labels, target)
    voting = voters(near, groups, groups[: images.num_train])
    suspects = contradictions(truth, voting[: images.num_train], target)
    drift, unlike = _drift(images, groups, truth, looks(truth, voting) if target.exclusive else None)
    findings = [
        *pair_findings(
            copies.pairs.tolist(), ids=images.ids, num_train=images.num_train, folds=images.folds,
            labels=images.labels, groups_file=groups_file, group_column=OWN_GROUP,
        ),
        *label_findings(suspects, images.ids),
        *drift_findings(drift, [images.ids[number] for number in unlike]),
    ]  # fmt: skip
    return Found(near=near, copies=copies, suspects=suspects, drift=drift, unlike=unlike, findings=findings)


def _drift(
    images: Images, groups: np.ndarray, truth: np.ndarray, seem: np.ndarray | None
) -> tuple[Drift | None, list[int]]:
    """(the drift, numbers of the test images that look least like training images, these first).

    groups (N,): of images that show one picture; truth: `target_array`'s; seem (N,): the class that each looks like.
    """
    by_id = np.array(sorted(range(len(images.ids)), key=images.ids.__getitem__), dtype=np.int64)
    train = sample(by_id[by_id < images.num_train], seed=0)
    test = sample(by_id[by_id >= images.num_train], seed=1)
    kept, chosen = np.concatenate([train, test]), (train, test - images.num_train)
    of_train, of_test = (
        np.asarray(features[rows[numbers]])
        for features, rows, numbers in zip(images.features, images.rows, chosen, strict=True)
    )
    weights = None if seem is None else class_weights(truth[train], seem[train], seem[test])
    found = measure(of_train, of_test, groups[kept], weights)
    return found, test[np.argsort(-found.scores, kind="stable")].tolist() if found else []


def _nearest_rows(images: Images, near: Nearest) -> Iterator[Sequence[object]]:
    """Rows of nearest.csv, in `COLUMNS`."""
    for number, image_id in enumerate(images.ids):
        part = PARTS[number >= images.num_train]
        for rank, row in enumerate(near.rows[number, :NUM_NEAREST].tolist()):
            if row >= 0:
                cosine = f"{near.cosines[number, rank]:.4f}"
                yield part, image_id, rank + 1, images.ids[row], images.labels[row], images.folds[row], cosine


def _summary(images: Images, found: Found) -> dict[str, Any]:
    """neighbours.json: counts, limits, and everything found, the first three of each kind by name."""
    copies, drift = found.copies, found.drift
    kinds = [_kind(images, *pair) for pair in copies.pairs.tolist()]
    drifted = drift and {
        "auc": round(drift.auc, 4),
        "error_by_chance": round(drift.error, 4),
        "auc_with_classes_mixed_alike": None if drift.weighted is None else round(drift.weighted, 4),
    }
    return {
        "features": f"{images.features[0].shape[1]:,} of each image",
        "num_train": images.num_train,
        "num_test": len(images.ids) - images.num_train,
        "near_copies": {
            "pairs_compared": copies.num_compared,
            "pairs_left_out": copies.num_left_out,
            "likeness_limit": round(copies.limit, 4),
            **{kind: kinds.count(kind) for kind in KINDS},
        },
        "labels": {"contradicted": len(found.suspects.found), "neighbours_agree": found.suspects.num_unanimous},
        "drift": drifted,
        "findings": [dataclasses.asdict(finding) for finding in found.findings],
    }


def _kind(images: Images, one: int, two: int) -> str:
    """Of `KINDS`, of a pair of which the first has the lower number."""
    if two < images.num_train:
        return "across_folds" if images.folds[one] != images.folds[two] else "in_one_fold"
    return "train_and_test" if one < images.num_train else "in_test"


def _galleries(images: Images, found: Found, target: Target) -> list[Gallery]:
    labels, near, copies = LabelSets(images.labels, several=not target.exclusive), found.near, found.copies
    pairs: dict[str, list[list[int]]] = {kind: [] for kind in KINDS}
    for pair in copies.pairs[np.argsort(-copies.likeness, kind="stable")].tolist():
        pairs[_kind(images, *pair)].append(pair)

    def picture(number: int) -> Picture:
        said = "test"
        if number < images.num_train:
            said = f"{', '.join(labels[number]) or 'no label'} (fold {images.folds[number]})"
        return Picture(images.pixels(np.array([number]))[0], f"{images.ids[number]}: {said}")

    def with_nearest(number: int, count: int) -> list[int]:
        return [number, *(row for row in near.rows[number, :count].tolist() if row >= 0)]

    test = np.arange(images.num_train, len(images.ids))
    far = test[np.argsort(near.cosines[test, 0], kind="stable")][:PICTURED].tolist()
    galleries: tuple[tuple[str, str, list[list[int]]], ...] = (
        ("Near-copies in different folds", "the most alike first", pairs["across_folds"]),
        ("Near-copies in one fold", "the most alike first", pairs["in_one_fold"]),
        ("Test images also in train", "the most alike first", pairs["train_and_test"]),
        (
            "Labels that nearly all neighbours contradict",
            "each with its nearest two",
            [with_nearest(each.row, 2) for each in found.suspects.found[:PICTURED]],
        ),
        ("Test images least like training images", "what drifts, if anything does", [[one] for one in found.unlike]),
        (
            "Test images furthest from any training image",
            "each with its nearest",
            [with_nearest(one, 1) for one in far],
        ),
    )
    return [
        Gallery(title, note, [list(map(picture, group)) for group in groups[:PICTURED]], 3 * PICTURED, len(groups))
        for title, note, groups in galleries
    ]


def _say(found: Found) -> None:
    copies, drift = found.copies, found.drift
    told = f"; train against test: AUC {drift.auc:.2f} ± {drift.error:.2f}, 0.5 is chance" if drift else ""
    console.say(f"{copies.num_compared:,} pairs of neighbours compared, {len(copies.pairs):,} show one picture{told}")
    for finding in found.findings:
        if finding.severity == "warn":
            console.say(f"warning: {finding.kind}: {finding.count:,} ({', '.join(finding.first)}); {finding.remedy}")


def _write(
    args: argparse.Namespace, summary: dict[str, Any], rows: Iterable[Sequence[object]],
    groups: Iterable[Sequence[object]], page: bytes,
) -> None:  # fmt: skip
    write_json(args.summary, summary)
    write_table(args.nearest, COLUMNS, rows)
    write_table(args.near_copies, (*TRAIN_COLUMNS, OWN_GROUP), groups)
    write_bytes(args.page, page)


if __name__ == "__main__":
    console.run(main)
