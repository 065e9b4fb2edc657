"""What a competition asks, and the tables that stages hand over: records, columns, and how they are read.

Each stage depends only on what it reads: training on target.json, scoring and writing on schema.json.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any, cast

import numpy as np

from pipeline.base.files import made_by, read_json, read_table, write_json
from pipeline.base.texts import Texts

TRAIN_COLUMNS = ("image_id", "label")
OWN_GROUP = "own_group"  # column of a file of corrections, which split.group may name
TEST_COLUMNS = ("image_id",)
IMAGES_COLUMNS = ("path", "fingerprint")  # '' for an image that is missing
SEEN_COLUMNS = ("sha256", "failure")  # failure: why there is nothing to see, '' for a readable image
# group: of copies or near-copies, '' for an image on its own; left_out: 'yes' for one that cannot be read
GROUPS_COLUMNS = ("image_id", "group", "left_out")
NO_IMAGE = "there is no image of it"  # the failure of an image that is missing
FOLDS_COLUMNS = ("image_id", "fold")
PER_CLASS_COLUMNS = ("label", "images", "predicted", "precision", "recall", "f1")

CSV = "csv"
MARK_NAMES = {
    "\t": "tabs",
    ";": "semicolons",
    "|": "vertical bars",
    ", ": "commas and blanks",
    " ": "blanks",
    "; ": "semicolons",
}

NUMBER = r"-?\d{1,300}(\.\d{1,300})?"

TARGET_KINDS = ("single_label", "binary", "multi_label", "ordinal")
SUBMISSION_KINDS = ("label", "score", "columns", "list", "ranked", "long")


@dataclass(frozen=True, kw_only=True)
class Target:
    """What is predicted.

    Kinds: `single_label`, one of K classes which exclude each other; `binary`, two classes of which `positive` is
    the one that a score speaks of; `multi_label`, any number of C independent labels; `ordinal`, K grades in order.
    """

    kind: str
    columns: tuple[str, ...]  # of the organiser's train table, that the labels were read from
    classes: tuple[str, ...]  # classes[class_index] == label, as the organiser spells it; of grades: lowest first
    positive: str = ""  # of `binary`

    def __post_init__(self) -> None:
        if self.kind not in TARGET_KINDS or not self.classes:
            raise TypeError(f"target {self.kind!r} of {len(self.classes)} classes")

    @property
    def exclusive(self) -> bool:
        """Whether an image has exactly one label, so that its probabilities sum to 1."""
        return self.kind != "multi_label"


@dataclass(frozen=True, kw_only=True)
class Make:
    """How a submission's file is written; `pipeline.submission.make` finds, reads and writes it."""

    form: str = CSV  # or a form of JSON
    encoding: str = "utf-8"
    # of CSV
    mark: str = ","  # between cells
    top: str = ""  # a line above the header
    headed: bool = True  # whether there is a header
    quoted: tuple[str, ...] = ()  # columns whose cells are in quotes, whether they need them or not
    quoted_header: bool = False
    decimal: str = "."  # of the numbers that are filled in
    # of JSON
    within: str = ""  # the one key of the object that holds it all
    kinds: tuple[str, ...] = ()  # of each column: text, number, flag, list
    indent: int | None = None
    tight: bool = False  # no blank after `,` and `:`
    ascii: bool = True
    ended: bool = False  # a newline at the end

    @property
    def words(self) -> str:
        """What about it is not plain CSV; '' for nothing."""
        found = []
        if self.form != CSV:
            found.append("JSON")
        if self.mark != ",":
            found.append(f"cells parted by {MARK_NAMES.get(self.mark, repr(self.mark))}")
        if self.top:
            found.append(f"a line {self.top.strip()!r} at the top")
        if not self.headed:
            found.append("no header")
        if self.encoding != "utf-8":
            found.append(f"in the encoding {self.encoding}")
        if self.decimal != ".":
            found.append(f"numbers with a {self.decimal!r} for the point")
        return ", ".join(found)


PLAIN = Make()


@dataclass(frozen=True, kw_only=True)
class SubmissionFormat:
    """What the sample submission demands.

    Kinds: `label`, one label a row; `score`, the positive class's probability; `columns`, a column for each class;
    `list`, the labels of an image in one cell; `ranked`, its likeliest labels in one cell, best first; `long`, a row
    for each image and class, whose id is `<image_id><separator><class>`.
    """

    kind: str
    id_column: str
    columns: tuple[str, ...]  # the header, in order
    value_columns: tuple[str, ...]  # those to fill; what others hold stays as the sample has it
    classes: tuple[str, ...] = ()  # of `columns`: the class of each value column; of `long`: class of each `suffixes`
    suffixes: tuple[str, ...] = ()  # of `long`: how the row ids spell the classes
    separator: str = ""  # of `list` and `ranked` between labels, of `long` between image id and class
    most: int = 0  # of `ranked`: labels in a cell at most
    whole: bool = False  # of `columns` and `long`: 0 or 1 instead of probabilities
    may_be_empty: bool = False  # of `list`: an image may have no label
    make: Make = PLAIN  # how the file is written
    id_columns: tuple[str, ...] = ()  # where the id stands in several: these, with `joint` between their cells
    joint: str = ""

    @cached_property
    def id_places(self) -> tuple[int, ...]:
        """Where in a row its id stands."""
        return tuple(map(self.columns.index, self.id_columns or (self.id_column,)))

    def row_id(self, row: Sequence[str]) -> str:
        """The id of a row; it may stand as a whole in the first of several columns, the others empty."""
        if len(self.id_places) == 1:
            return row[self.id_places[0]]
        return self.joint.join(filter(None, (row[place] for place in self.id_places)))


@dataclass(frozen=True, kw_only=True)
class Schema:
    """data/competition/schema.json: what scoring and writing need."""

    target: Target
    submission: SubmissionFormat
    metric: str  # a name of pipeline.scoring.metrics


def learnt(target: Target) -> Target:
    """What training needs of it: which of two classes a score speaks of is none of its business."""
    return replace(target, kind="single_label" if target.kind == "binary" else target.kind, positive="")


def write_target(path: Path, target: Target) -> None:
    """Write target.json."""
    write_json(path, learnt(target))


def read_target(path: Path) -> Target:
    """data/competition/target.json: kind, columns and classes of the labels, as `learnt` gives them.

    Raises ValueError where the file is not one.
    """
    with made_by("ingest", path):
        found = read_json(path)
        try:
            return Target(**_tuples(found))
        except (AttributeError, TypeError) as error:
            raise ValueError(f"{path} is no target of this version ({error})") from error


def write_schema(path: Path, schema: Schema) -> None:
    """Write schema.json."""
    write_json(path, schema)


def read_schema(path: Path) -> Schema:
    """The schema that ingest wrote. Raises ValueError where the file is not one, or one of an earlier version."""
    with made_by("ingest", path):
        found = read_json(path)
        try:
            return Schema(
                **found
                | {
                    "target": Target(**_tuples(found["target"])),
                    "submission": SubmissionFormat(
                        **_tuples(found["submission"]) | {"make": Make(**_tuples(found["submission"].get("make", {})))}
                    ),
                }
            )
        except (AttributeError, KeyError, TypeError) as error:
            raise ValueError(f"{path} is not a schema of this version ({error})") from error


def _tuples(found: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in found.items()}


@dataclass(frozen=True)
class TrainTable:
    """The labelled images that can be read, in the train table's order."""

    image_ids: Texts
    labels: Texts  # of several labels: a JSON list, in the order of the classes
    groups: Texts  # images of one group are copies or near-copies of each other; empty: on its own


def read_train_labels(path: Path) -> tuple[Texts, Texts]:
    """(image ids, `label` cells) of data/competition/train.csv: row i is row i of the train store."""
    return _read(path, "ingest", TRAIN_COLUMNS)


def read_train_table(path: Path, groups: Path) -> tuple[TrainTable, Texts, np.ndarray]:
    """The readable images of data/competition/train.csv, all its image ids, and (M,) int64 the rows of the readable.

    groups: data/groups.csv. Raises ValueError where it is about other images.
    """
    image_ids, labels = read_train_labels(path)
    grouped, groups_of, left_out = _read(groups, "audit", GROUPS_COLUMNS)
    if grouped != image_ids:
        raise ValueError(
            f"{groups} and {path} are not about the same images ({len(grouped)} and {len(image_ids)}); "
            "run `dvc repro -f ingest audit`"
        )
    rows = np.flatnonzero(left_out.where(""))
    return TrainTable(image_ids.take(rows), labels.take(rows), groups_of.take(rows)), image_ids, rows


def read_corrections(path: Path, image_ids: Sequence[str], labels: Sequence[str]) -> dict[int, str]:
    """Row of the train table -> its corrected `label` cell, '' for an image that shall not be trained on.

    path: data/competition/corrections.csv; image_ids, labels: what `read_train_labels` gives.
    Raises ValueError where it corrects an image that is not there, or says what the train table says.
    """
    corrected, cells = _read(path, "ingest", TRAIN_COLUMNS)
    cell_of = dict(zip(corrected, cells, strict=True))
    rows = {row: cell_of[image_id] for row, image_id in enumerate(image_ids) if image_id in cell_of} if cell_of else {}
    with made_by("ingest", path):
        if not len(rows) == len(cell_of) == len(corrected) or any(labels[row] == cell for row, cell in rows.items()):
            raise ValueError(
                f"{path} does not belong to the train table: {len(corrected)} rows correct {len(rows)} of its"
            )
    return rows


def read_test_ids(path: Path) -> Texts:
    """The image ids of data/competition/test.csv: row i is row i of the test store."""
    return _read(path, "ingest", TEST_COLUMNS)[0]


def read_paths(path: Path) -> Texts:
    """The paths that `read_images` gives, alone."""
    return _read(path, "ingest", IMAGES_COLUMNS, only=("path",))[0]


def read_images(path: Path) -> tuple[Texts, Texts]:
    """(paths in the archive, fingerprints of the files) of data/competition/{train,test}_images.csv, row by row."""
    return _read(path, "ingest", IMAGES_COLUMNS)


def read_seen(path: Path, stage: str) -> tuple[Texts, Texts]:
    """(sha256 of the files, why nothing is to be seen) of data/images/{train,test}.csv, row by row of the store."""
    return _read(path, stage, SEEN_COLUMNS)


def read_failures(path: Path, stage: str) -> Texts:
    """Why nothing is to be seen of an image, '' for a readable one: what `read_seen` gives, alone."""
    return _read(path, stage, SEEN_COLUMNS, only=("failure",))[0]


def read_unseen(path: Path, num_rows: int, table: Path) -> np.ndarray:
    """(N,) bool: nothing is to be seen of the image, by data/images/test.csv.

    Raises ValueError unless it has the `num_rows` of the test table.
    """
    failures = read_failures(path, "decode_test")
    if len(failures) != num_rows:
        raise ValueError(
            f"{table} has {num_rows} rows, {path} has {len(failures)}; run `dvc repro -f ingest decode_test`"
        )
    return ~failures.where("")


def _read(path: Path, stage: str, columns: Sequence[str], only: Sequence[str] = ()) -> Any:
    with made_by(stage, path):
        return tuple(read_table(path, columns, only=only).values())


def read_folds(path: Path, image_ids: Texts, table: Path) -> Texts:
    """The fold that holds out each of `image_ids`, as data/folds.csv says; '' for an image that cannot be read.

    Raises ValueError where the file is about other images. table: whose ids these are, for the message.
    """
    dealt, folds = _read(path, "split", FOLDS_COLUMNS)
    with made_by("split", path):
        if dealt != image_ids:
            raise ValueError(
                f"{path} deals {len(dealt)} images into folds, which are not the {len(image_ids)} of {table} in its "
                "order"
            )
    return cast(Texts, folds)


def sorted_classes(labels: Iterable[str]) -> tuple[str, ...]:
    """Distinct labels in order: by value if all are numbers ('2' before '10', '-1.0' before '-0.5'), else by text."""
    distinct = set(labels)
    numeric = all(re.fullmatch(NUMBER, label) for label in distinct)
    return tuple(sorted(distinct, key=lambda label: (Decimal(label) if numeric else 0, label)))


def class_indices(labels: Iterable[str], classes: Sequence[str]) -> list[int]:
    """The position of each label in `classes`. Raises ValueError for a label that is not there."""
    index_of = {label: index for index, label in enumerate(classes)}
    unknown: list[str] = []

    def index(label: str) -> int:
        if label not in index_of:
            unknown.append(label)
        return index_of.get(label, -1)

    indices = [index(label) for label in labels]
    if unknown:
        raise ValueError(f"{len(unknown)} labels are not among the {len(classes)} classes, first {unknown[:3]}")
    return indices


def several_labels(cell: str) -> list[str]:
    """The labels in a `label` cell of a multi_label train.csv."""
    return list(json.loads(cell))


class LabelSets(Sequence[list[str]]):
    """The labels of each row, read from its `label` cell when asked for."""

    def __init__(self, cells: Sequence[str], *, several: bool) -> None:
        self._cells, self._several = cells, several

    def __len__(self) -> int:
        return len(self._cells)

    def __getitem__(self, row: Any) -> Any:
        """Of one row: a slice has no use here."""
        return several_labels(self._cells[row]) if self._several else [self._cells[row]]

    def __iter__(self) -> Iterator[list[str]]:
        return map(several_labels, self._cells) if self._several else ([cell] for cell in self._cells)


def class_sizes(labels: Sequence[str], target: Target) -> dict[str, int]:
    """Label -> images that have it, in the order of the classes; labels: `label` cells."""
    counts = Counter(chain.from_iterable(LabelSets(labels, several=not target.exclusive)))
    return {label: counts[label] for label in target.classes}


def label_cell(labels: Iterable[str]) -> str:
    """How train.csv holds several labels; `several_labels` reads it."""
    return json.dumps(list(labels), ensure_ascii=False)


def target_array(labels: Sequence[str], target: Target) -> np.ndarray:
    """What the loop trains on, for the `label` cells of train.csv.

    (N,) int64 class indices, or for `multi_label` (N, C) float32 of 0 and 1.
    """
    if target.exclusive:
        return np.array(class_indices(labels, target.classes), dtype=np.int64)
    array = np.zeros((len(labels), len(target.classes)), dtype=np.float32)
    for row, cell in enumerate(labels):
        array[row, class_indices(several_labels(cell), target.classes)] = 1.0
    return array


@dataclass(frozen=True)
class Dealt:
    """The labelled images that folds hold out, in the train table's order: all but those that cannot be read."""

    image_ids: Texts
    truth: np.ndarray  # as `target_array` gives it
    held_by: np.ndarray  # (N,) str: the fold that holds each out
    rows: np.ndarray  # (N,) int64: of the train table and the train store
    num_rows: int  # of the train table

    @property
    def fold_of(self) -> dict[str, str]:
        """Image id -> the fold that holds it out."""
        return dict(zip(self.image_ids, self.held_by.tolist(), strict=True))


def read_dealt(train_table: Path, folds_table: Path, target: Target, folds: Sequence[str]) -> Dealt:
    """What train.csv and folds.csv say.

    Raises ValueError unless `folds`, and no others, hold out images.
    """
    image_ids, labels = read_train_labels(train_table)
    with made_by("ingest", train_table):
        truth = target_array(labels, target)
    held_by = read_folds(folds_table, image_ids, train_table)
    found = [fold for fold in held_by.distinct() if fold]
    if set(found) != set(folds):
        raise ValueError(
            f"{folds_table} deals the images into the folds {found}; it must deal them into {list(folds)}; "
            "run `dvc repro -f split`"
        )
    rows = np.flatnonzero(~held_by.where(""))
    return Dealt(image_ids.take(rows), truth[rows], np.array(list(held_by.take(rows))), rows, len(image_ids))
