"""From the organiser's files to rows: which image has which id and label, and what a submission looks like.

Everything is recognised by looking, can be said in params.yaml instead (section `competition`), and is refused where
two readings are possible.
"""

from dataclasses import dataclass

import numpy as np

from pipeline.competition.archive import Archive
from pipeline.competition.demands import submission_format
from pipeline.competition.labels import Labels, looks_ordinal
from pipeline.competition.problems import Problems
from pipeline.competition.reading import LEAST_SHARE, Reading, Side, Wishes
from pipeline.competition.sample import LongIds, Sample, find_sample, long_ids, read_sample, sample_like
from pipeline.competition.schema import SubmissionFormat, Target
from pipeline.competition.sources import common_folder
from pipeline.competition.tables import AUTO, NONE, Table, is_plain_csv, parted, read_tables, without_index
from pipeline.competition.templates import IMAGE_SUFFIXES, ImageIndex, beside_images, find_matches
from pipeline.competition.testing import find_test_table, id_table, testing_side
from pipeline.competition.training import training_side
from pipeline.files import table_bytes
from pipeline.texts import Texts

ALLOWABLE = (  # competition.allow
    "image without row", "duplicate class spelling", "label that may mean missing", "image without label",
    "classes of fewer than 2 images", "unreadable training image", "unreadable test image", "test image missing",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Layout:
    """What was recognised; rows in the tables' order."""

    id_column: str
    target: Target
    submission: SubmissionFormat
    metric: str
    train_ids: Texts
    train_members: Texts  # name of each one's image
    train_labels: Texts  # `label` cell of train.csv
    test_ids: Texts
    test_members: Texts
    train_table: Table  # the organiser's, a row for each of `train_ids`
    sample: bytes  # the sample submission as the organiser wrote it
    settings: dict[str, str | list[str]]  # keys of section `competition` that say the same
    notes: list[str]  # how it was recognised
    warnings: list[str]


def read_layout(archive: Archive, problems: Problems, wishes: Wishes | None = None) -> Layout:
    """Match tables and images. What is wrong with single rows goes to `problems`, by kind.

    Raises ValueError where there is no way to go on: nothing recognised, or two readings possible.
    """
    wishes = wishes or Wishes()
    reading = Reading(archive, problems, wishes, read_tables(archive, wishes.encoding), ImageIndex(archive.names))
    if not len(reading.index.names):
        raise reading.stop(f"no image among {len(archive.names)} files; known suffixes: {', '.join(IMAGE_SUFFIXES)}")
    reading.settings = {"encoding": wishes.encoding, "test_table": NONE, "test_images": AUTO}
    _find_what_is_asked(reading)
    train_tables, test_tables = _by_role(reading)
    parts = [name for name in test_tables if test_tables[name] is not train_tables.get(name)]
    reading.test_table = find_test_table(reading, test_tables, parts)

    train, labels = training_side(reading, train_tables)
    used = reading.index.used_by(train.members)
    test = testing_side(reading, used)
    _note_unused(reading, train, test, used | reading.index.used_by(test.members))
    target, submission, metric = _demands(reading, labels)
    return Layout(
        id_column=train.id_column,
        target=target,
        submission=submission,
        metric=metric,
        train_ids=train.ids,
        train_members=train.members,
        train_labels=labels.cells,
        test_ids=test.ids,
        test_members=test.members,
        train_table=train.table,
        sample=_sample_bytes(reading, submission, test),
        settings=reading.settings,
        notes=reading.notes,
        warnings=reading.warnings,
    )


def _find_what_is_asked(reading: Reading) -> None:
    """Find the sample submission, and whether its ids are long."""
    name = find_sample(reading.archive, reading.tables, reading.wishes.sample)
    reading.settings["sample"] = name or NONE
    if name is not None:
        reading.sample = read_sample(reading.tables[name], reading.wishes.id_column)
        reading.long = _long(reading, reading.sample)


def _long(reading: Reading, sample: Sample) -> LongIds | None:
    """The sample's ids taken apart, where they lead to no image, so that their first parts may."""
    if len(sample.value_columns) != 1 or reading.wishes.submission not in (AUTO, "long"):
        return None
    apart = long_ids(sample.ids())
    if apart is None or reading.wishes.submission == "long":
        return apart
    whole = find_matches(id_table(sample.id_column, sample.ids()), reading.index, role="test")
    return None if whole and whole[0].num_found >= LEAST_SHARE * len(sample.ids()) else apart


def _by_role(reading: Reading) -> tuple[dict[str, Table], dict[str, Table]]:
    """(tables that may speak of training images, of test images); one that parts its rows speaks of both."""
    train, test = {}, {}
    for name, table in reading.tables.items():
        if reading.sample is not None and table is reading.sample.table:
            continue
        wished = name in (reading.wishes.train_table, reading.wishes.test_table)
        if sample_like(name) and not wished:
            continue
        table = without_index(table)
        train[name], test[name] = parted(table) or (table, table)
    return train, test


def _note_unused(reading: Reading, train: Side, test: Side, used: np.ndarray) -> None:
    """Images that no row names: a problem in the folders that rows do name, else a warning. used: (N,) bool."""
    unused = reading.index.names.take(~used)
    places = [(common_folder(member for member in side.members if member), side) for side in (train, test)]
    elsewhere = []
    for name in unused:
        inside = [
            (len(folder), place) for place, (folder, _) in enumerate(places) if folder and name.startswith(folder + "/")
        ]
        if inside and not beside_images(name):
            table = places[max(inside)[1]][1].table.name
            reading.problems.add(
                "image without row",
                name,
                f"add its row to {table}, or, if it shall not be used: competition.allow: [image without row]",
            )
        else:
            elsewhere.append(name)
    if elsewhere:
        reading.warnings.append(f"{len(elsewhere):,} images are not used, such as {', '.join(elsewhere[:3])}")


# -- what is asked


def _demands(reading: Reading, labels: Labels) -> tuple[Target, SubmissionFormat, str]:
    wishes = reading.wishes
    kind, asked = wishes.target, reading.sample.value_columns if reading.sample else ()
    if kind == AUTO:
        kind = "multi_label" if labels.several else "ordinal" if looks_ordinal(labels, asked) else "single_label"
    if (kind == "multi_label") != labels.several:
        have = "several labels an image" if labels.several else "one label an image"
        raise reading.stop(f"competition.target is {kind}, but {', '.join(labels.columns[:3])} holds {have}")
    try:
        target, submission, metric, warnings = submission_format(
            reading.sample,
            reading.long,
            labels,
            kind=kind,
            positive=wishes.positive,
            submission=wishes.submission,
            metric=wishes.metric,
        )
    except ValueError as error:
        raise reading.stop(str(error)) from error
    reading.warnings += warnings
    reading.settings |= {"target": target.kind, "submission": submission.kind, "metric": metric}
    reading.settings["positive"] = target.positive or AUTO
    return target, submission, metric


def _sample_bytes(reading: Reading, submission: SubmissionFormat, test: Side) -> bytes:
    """The sample submission as the organiser wrote it, or as UTF-8 with commas where it is of another make."""
    if reading.sample is None:
        blank = ["" for _ in submission.value_columns]
        return table_bytes(submission.columns, ([image_id, *blank] for image_id in test.ids))
    table = reading.sample.table
    content = reading.archive.read(table.name)
    if is_plain_csv(content, table):
        return content
    reading.warnings.append(
        f"{table.name} is no CSV in UTF-8 with commas: the submission will be one; ask whether it is accepted"
    )
    return table_bytes(table.header, table.rows())
