"""From the organiser's files to rows: which image has which id and label, and what a submission looks like.

The plain Kaggle layout: train.csv (id, label), train/<id>.<ext>, test/<id>.<ext>, sample_submission.csv.
"""

import csv
import io
import unicodedata
from collections import Counter
from dataclasses import dataclass
from pathlib import PurePosixPath

from pipeline.competition.archive import Archive
from pipeline.competition.problems import Problems
from pipeline.competition.schema import SubmissionFormat, Target, sorted_classes

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif")
TRAIN_TABLE, SAMPLE_TABLE = "train.csv", "sample_submission.csv"
TRAIN_FOLDER, TEST_FOLDER = "train", "test"
EMPTY_LABELS = ("", "nan")
DOUBTFUL_LABELS = ("na", "n/a", "null", "none", "<na>")  # pandas reads these as missing; they may be classes
ALLOWABLE = ("image without row", "duplicate class spelling", "label that may mean missing")  # competition.allow


@dataclass(frozen=True, kw_only=True)
class Layout:
    """What was recognised; rows in the tables' order."""

    id_column: str
    target: Target
    submission: SubmissionFormat
    metric: str
    train: list[tuple[str, str, str]]  # image_id, member name, label
    test: list[tuple[str, str]]  # image_id, member name
    sample: bytes  # the sample submission as the organiser wrote it


def read_layout(archive: Archive, problems: Problems) -> Layout:
    """Match tables and images. What is wrong with single rows goes to `problems`, by kind.

    Raises ValueError where there is no way to go on: a table missing or unreadable, unknown columns.
    """
    train_header, train_rows = _read_csv(archive, TRAIN_TABLE)
    sample_header, sample_rows = _read_csv(archive, SAMPLE_TABLE)
    id_column, label_column = _two_columns(archive, train_header, sample_header)

    train_ids = _checked_ids([row[0] for row in train_rows], TRAIN_TABLE, problems)
    test_ids = _checked_ids([row[0] for row in sample_rows], SAMPLE_TABLE, problems)
    labels = _checked_labels(train_ids, [row[1] for row in train_rows], problems)
    train_of = _match_images(archive, TRAIN_FOLDER, train_ids, TRAIN_TABLE, problems)
    test_of = _match_images(archive, TEST_FOLDER, test_ids, SAMPLE_TABLE, problems)
    for image_id in sorted(set(train_ids) & set(test_ids)):
        problems.add("id in both tables", image_id, f"an id may stand in {TRAIN_TABLE} or {SAMPLE_TABLE}, not in both")

    return Layout(
        id_column=id_column,
        target=Target(kind="single_label", columns=(label_column,), classes=sorted_classes(labels)),
        submission=SubmissionFormat(
            kind="label", id_column=id_column, columns=tuple(sample_header), value_columns=(label_column,)
        ),
        metric="accuracy",
        train=[
            (image_id, train_of.get(image_id, ""), label) for image_id, label in zip(train_ids, labels, strict=True)
        ],
        test=[(image_id, test_of.get(image_id, "")) for image_id in test_ids],
        sample=archive.read(SAMPLE_TABLE),
    )


def _read_csv(archive: Archive, name: str) -> tuple[list[str], list[list[str]]]:
    if name not in archive:
        tables = [member for member in archive.names if member.lower().endswith(".csv")]
        raise ValueError(f"{archive.path} has no {name}; its {len(tables)} CSV files are {tables[:5]}")
    where = f"{archive.path}: {name}"
    try:
        text = archive.read(name).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{where} is not UTF-8 ({error}); save it as UTF-8") from error
    if "\0" in text:
        raise ValueError(f"{where} holds NUL bytes; it is not a CSV table")
    try:
        rows = [row for row in csv.reader(io.StringIO(text, newline=""), strict=True) if row]
    except csv.Error as error:
        raise ValueError(f"{where} is not a readable CSV: {error}") from error
    if len(rows) < 2:
        raise ValueError(f"{where} has {len(rows)} lines; it must have a header and at least one row")
    header = rows[0]
    ragged = [number for number, row in enumerate(rows, start=1) if len(row) != len(header)]
    if ragged:
        raise ValueError(
            f"{where}: {len(ragged)} rows have another number of cells than the header "
            f"({len(header)}), first lines {ragged[:3]}"
        )
    return header, rows[1:]


def _two_columns(archive: Archive, train_header: list[str], sample_header: list[str]) -> tuple[str, str]:
    """(id column, label column). The sample names both; the train table must have the same two."""
    if len(sample_header) != 2 or train_header != sample_header:
        unknown = [column for column in train_header if column not in sample_header[:2]]
        raise ValueError(
            f"{archive.path}: unknown columns {unknown or sample_header[2:]}: {TRAIN_TABLE} has {train_header}, "
            f"{SAMPLE_TABLE} has {sample_header}; both must be an id and a label column of the same names"
        )
    return sample_header[0], sample_header[1]


def _checked_ids(ids: list[str], table: str, problems: Problems) -> list[str]:
    for image_id, count in Counter(ids).items():
        if not image_id.strip():
            problems.add("empty id", f"{count} rows of {table}", f"give each row of {table} its id")
        elif count > 1:
            problems.add("duplicate id", f"{image_id} x{count} in {table}", "keep one row for each id")
    return ids


def _checked_labels(ids: list[str], labels: list[str], problems: Problems) -> list[str]:
    for image_id, label in zip(ids, labels, strict=True):
        if label.strip().lower() in EMPTY_LABELS:
            problems.add("empty label", f"{image_id} = {label!r}", f"label the row in {TRAIN_TABLE}, or take it out")
        elif label.strip().lower() in DOUBTFUL_LABELS:
            problems.add(
                "label that may mean missing",
                f"{image_id} = {label!r}",
                f"label the row in {TRAIN_TABLE}; if it is a class: competition.allow: [label that may mean missing]",
            )
        elif label != label.strip():
            problems.add("label with outer spaces", f"{image_id} = {label!r}", f"take the spaces out of {TRAIN_TABLE}")

    spellings: dict[str, set[str]] = {}
    for label in labels:
        spellings.setdefault(unicodedata.normalize("NFC", label).strip().casefold(), set()).add(label)
    for variants in spellings.values():
        if len({variant.strip() for variant in variants}) > 1:
            problems.add(
                "duplicate class spelling",
                " / ".join(sorted(variants)),
                "spell the class one way; if they are two classes: competition.allow: [duplicate class spelling]",
            )
    return labels


def _match_images(archive: Archive, folder: str, ids: list[str], table: str, problems: Problems) -> dict[str, str]:
    """image_id -> member name, for images named <folder>/<id> with or without an image suffix in the id."""
    members = [name for name in archive.under(folder) if name.lower().endswith(IMAGE_SUFFIXES)]
    if not members:
        raise ValueError(f"{archive.path} has no image in {folder}/; known suffixes: {', '.join(IMAGE_SUFFIXES)}")

    by_key: dict[str, list[str]] = {}
    for name in members:
        relative = PurePosixPath(name).relative_to(folder)
        for key in {relative.as_posix(), relative.with_suffix("").as_posix()}:
            by_key.setdefault(key, []).append(name)

    image_of = {}
    for image_id in dict.fromkeys(ids):
        candidates = by_key.get(image_id, [])
        if not candidates:
            problems.add(
                f"id without image in {folder}/",
                image_id,
                f"each id of {table} needs {folder}/<id> with one of {', '.join(IMAGE_SUFFIXES)}",
            )
        elif len(candidates) > 1:
            problems.add("id with several images", f"{image_id}: {', '.join(candidates[:3])}", "keep one of them")
        else:
            image_of[image_id] = candidates[0]

    used = {name for image_id in dict.fromkeys(ids) for name in by_key.get(image_id, [])}
    for name in members:
        if name not in used:
            problems.add(
                "image without row",
                name,
                f"add its row to {table}, or, if it shall not be used: competition.allow: [image without row]",
            )
    return image_of
