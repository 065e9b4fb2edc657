"""What a competition asks, in one small record that ingest writes and every later stage reads."""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.base.files import made_by, read_json, read_table, write_json
from pipeline.base.texts import Texts

TRAIN_COLUMNS = ("image_id", "path", "sha256", "label", "group")
TEST_COLUMNS = ("image_id", "path", "sha256")
FOLDS_COLUMNS = ("image_id", "fold")
PER_CLASS_COLUMNS = ("label", "images", "predicted", "precision", "recall", "f1")

INTEGER = r"-?\d{1,300}"  # int() refuses more than 4,300 digits

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


@dataclass(frozen=True, kw_only=True)
class Store:
    """One uint8 array file of shape (num_images, size, size, 3)."""

    num_images: int
    size: int
    sha256: str
    bits: int = 16  # that 16-bit grey uses: the upper 8 of these are stored

    def __post_init__(self) -> None:
        if not isinstance(self.num_images, int) or not isinstance(self.size, int):
            raise TypeError(f"a store of {self.num_images!r} images of {self.size!r} pixels")


@dataclass(frozen=True, kw_only=True)
class Schema:
    """data/competition/schema.json."""

    id_column: str  # in the organiser's train table
    target: Target
    submission: SubmissionFormat
    metric: str  # a name of pipeline.scoring.metrics
    train: Store
    test: Store


def write_schema(path: Path, schema: Schema) -> None:
    """Write schema.json."""
    write_json(path, schema)


def read_schema(path: Path) -> Schema:
    """The schema that ingest wrote. Raises ValueError where the file is not one."""
    with made_by("ingest", path):
        found = read_json(path)
        try:
            return Schema(
                id_column=found["id_column"],
                target=Target(**_tuples(found["target"])),
                submission=SubmissionFormat(**_tuples(found["submission"])),
                metric=found["metric"],
                train=Store(**found["train"]),
                test=Store(**found["test"]),
            )
        except (AttributeError, KeyError, TypeError) as error:
            raise ValueError(f"{path} is not a schema of this version ({error})") from error


def _tuples(found: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in found.items()}


@dataclass(frozen=True)
class TestTable:
    """The images to predict: row i of test.csv is row i of the test store."""

    image_ids: Texts
    paths: Texts  # '' for one that was missing or cannot be read: its row in the store is zero
    sha256: Texts  # of the organiser's file: equal for byte-identical images


@dataclass(frozen=True)
class TrainTable(TestTable):
    """The labelled images: row i of train.csv is row i of the train store."""

    labels: Texts  # of several labels: a JSON list, in the order of the classes
    groups: Texts  # images of one group are copies or near-copies of each other; empty: on its own


def read_train_table(path: Path) -> TrainTable:
    """data/competition/train.csv."""
    with made_by("ingest", path):
        return TrainTable(*read_table(path, TRAIN_COLUMNS).values())


def read_test_table(path: Path) -> TestTable:
    """data/competition/test.csv."""
    with made_by("ingest", path):
        return TestTable(*read_table(path, TEST_COLUMNS).values())


def read_train_labels(path: Path) -> tuple[Texts, Texts]:
    """(image ids, `label` cells) of data/competition/train.csv: what training needs, in a fifth of the memory."""
    with made_by("ingest", path):
        table = read_table(path, TRAIN_COLUMNS, only=("image_id", "label"))
    return table["image_id"], table["label"]


def read_test_ids(path: Path) -> Texts:
    """The image ids of data/competition/test.csv."""
    with made_by("ingest", path):
        return read_table(path, TEST_COLUMNS, only=("image_id",))["image_id"]


def read_test_rows(path: Path) -> tuple[Texts, np.ndarray]:
    """(image ids, (N,) bool: there was no image to see) of data/competition/test.csv."""
    with made_by("ingest", path):
        table = read_table(path, TEST_COLUMNS, only=("image_id", "path"))
    return table["image_id"], table["path"].where("")


def refuse_rows(table: Path, num_rows: int, store: Store) -> None:
    """Raise ValueError unless the table has a row for each image of its store."""
    if num_rows != store.num_images:
        raise ValueError(f"{table} has {num_rows} rows, its store {store.num_images} images; run `dvc repro -f ingest`")


def read_folds(path: Path, image_ids: Sequence[str]) -> Texts:
    """The fold that holds out each of `image_ids`, as data/folds.csv says; ValueError if it is about others."""
    with made_by("split", path):
        table = read_table(path, FOLDS_COLUMNS)
        if table["image_id"] != image_ids:
            raise ValueError(
                f"{path} deals {len(table['image_id'])} images into folds, which are not the {len(image_ids)} of the "
                "train table in its order"
            )
    return table["fold"]


def read_fold_of(path: Path, image_ids: Sequence[str], folds: Sequence[str]) -> dict[str, str]:
    """Image id -> the fold that holds it out. Raises ValueError unless `folds`, and no others, hold out images."""
    held_by = read_folds(path, image_ids)
    found = held_by.distinct()
    if set(found) != set(folds):
        raise ValueError(
            f"{path} deals the images into the folds {list(found)}; it must deal them into {list(folds)}; "
            "run `dvc repro -f split`"
        )
    return dict(zip(image_ids, held_by, strict=True))


def sorted_classes(labels: Iterable[str]) -> tuple[str, ...]:
    """Distinct labels in order: by value if all are integers ('2' before '10'), else by text."""
    distinct = set(labels)
    numeric = all(re.fullmatch(INTEGER, label) for label in distinct)
    return tuple(sorted(distinct, key=lambda label: (int(label), label) if numeric else (0, label)))


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
