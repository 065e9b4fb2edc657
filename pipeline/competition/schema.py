"""What a competition asks, in one small record that ingest writes and every later stage reads."""

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pipeline.files import read_json, read_table, write_json, write_table

TRAIN_COLUMNS = ("image_id", "path", "sha256", "label")
TEST_COLUMNS = ("image_id", "path", "sha256")
FOLDS_COLUMNS = ("image_id", "fold")


@dataclass(frozen=True, kw_only=True)
class Target:
    """What is predicted."""

    kind: str  # "single_label": one of K classes which exclude each other
    column: str  # in the organiser's train table
    classes: tuple[str, ...]  # classes[class_index] == label, as the organiser spells it


@dataclass(frozen=True, kw_only=True)
class SubmissionFormat:
    """What the sample submission demands."""

    kind: str  # "label": one label a row
    id_column: str
    columns: tuple[str, ...]  # the header, in order


@dataclass(frozen=True, kw_only=True)
class Store:
    """One uint8 array file of shape (num_images, size, size, 3)."""

    num_images: int
    size: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Schema:
    """data/competition/schema.json."""

    id_column: str  # in the organiser's train table
    target: Target
    submission: SubmissionFormat
    metric: str
    train: Store
    test: Store


def write_schema(path: Path, schema: Schema) -> None:
    """Write schema.json."""
    write_json(path, schema)


def read_schema(path: Path) -> Schema:
    """The schema that ingest wrote. Raises ValueError where the file is not one."""
    found = read_json(path)
    try:
        return Schema(
            id_column=found["id_column"],
            target=Target(**found["target"] | {"classes": tuple(found["target"]["classes"])}),
            submission=SubmissionFormat(**found["submission"] | {"columns": tuple(found["submission"]["columns"])}),
            metric=found["metric"],
            train=Store(**found["train"]),
            test=Store(**found["test"]),
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path} is not a schema of this version ({error}); run `dvc repro -f ingest`") from error


@dataclass(frozen=True)
class TrainRow:
    """A labelled image: row i of train.csv is row i of the train store."""

    image_id: str
    path: str
    sha256: str  # of the organiser's file: equal for byte-identical images
    label: str


@dataclass(frozen=True)
class TestRow:
    """An image to predict: row i of test.csv is row i of the test store."""

    image_id: str
    path: str
    sha256: str


def write_rows(path: Path, rows: Iterable[TrainRow | TestRow], columns: tuple[str, ...]) -> None:
    """Write train.csv (`TRAIN_COLUMNS`) or test.csv (`TEST_COLUMNS`)."""
    write_table(path, columns, [dataclasses.astuple(row) for row in rows])


def read_train_rows(path: Path) -> list[TrainRow]:
    """The rows of data/competition/train.csv."""
    table = read_table(path, TRAIN_COLUMNS)
    return [TrainRow(*cells) for cells in zip(*table.values(), strict=True)]


def read_test_rows(path: Path) -> list[TestRow]:
    """The rows of data/competition/test.csv."""
    table = read_table(path, TEST_COLUMNS)
    return [TestRow(*cells) for cells in zip(*table.values(), strict=True)]


def sorted_classes(labels: Iterable[str]) -> tuple[str, ...]:
    """Distinct labels in order: by value if all are integers ('2' before '10'), else by text."""
    distinct = set(labels)
    numeric = all(label.lstrip("-").isdecimal() for label in distinct)
    return tuple(sorted(distinct, key=lambda label: (int(label), label) if numeric else (0, label)))


def class_indices(labels: Iterable[str], classes: tuple[str, ...]) -> list[int]:
    """The position of each label in `classes`. Raises ValueError for a label that is not there."""
    index_of = {label: index for index, label in enumerate(classes)}
    labels = list(labels)
    unknown = [label for label in labels if label not in index_of]
    if unknown:
        raise ValueError(f"{len(unknown)} labels are not among the {len(classes)} classes, first {unknown[:3]}")
    return [index_of[label] for label in labels]
