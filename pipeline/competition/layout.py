"""From the organiser's files to rows: which image has which id and label, and what a submission looks like.

Everything is recognised by looking, can be said in params.yaml instead (section `competition`), and is refused where
two readings are possible.
"""

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pipeline.competition.archive import Archive
from pipeline.competition.demands import submission_format
from pipeline.competition.labels import Labels, label_choices, looks_ordinal, read_labels
from pipeline.competition.problems import Problems
from pipeline.competition.sample import LongIds, Sample, find_sample, long_ids, read_sample
from pipeline.competition.schema import SubmissionFormat, Target, label_cell
from pipeline.competition.sources import (
    FOLDER,
    LABEL_COLUMN,
    PATH_COLUMN,
    class_folder_table,
    common_folder,
    file_name_table,
)
from pipeline.competition.tables import AUTO, Table, joined, read_tables, without_index
from pipeline.competition.templates import (
    IMAGE_SUFFIXES,
    ImageIndex,
    Match,
    find_matches,
    images_of,
    preference,
    without_suffix,
)
from pipeline.files import table_bytes

NONE = "none"
LEAST_SHARE = 0.5  # of a table's rows must lead to images, or the table is about something else
ALLOWABLE = (  # competition.allow
    "image without row", "duplicate class spelling", "label that may mean missing", "image without label",
    "classes of fewer than 2 images",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Wishes:
    """What the user says instead of what would be recognised: section `competition` of params.yaml, `auto` = look."""

    encoding: str = AUTO
    train_table: str = AUTO  # a member, or none: labels come from folders or file names
    test_table: str = AUTO  # a member, or none
    sample: str = AUTO  # a member, or none
    id_column: str = AUTO
    label: str | tuple[str, ...] = AUTO  # a column, several 0/1 columns, folder, or a pattern with (?P<label>…)
    delimiter: str = AUTO  # between labels in one cell; none = one label a cell
    train_images: str = AUTO  # a template; of folders and file names: the root folder
    test_images: str = AUTO
    target: str = AUTO
    positive: str = AUTO
    submission: str = AUTO
    metric: str = AUTO

    @classmethod
    def among(cls, settings: Mapping[str, Any]) -> "Wishes":
        """The wishes among the keys of section `competition`; it has others too."""
        names = {item.name for item in dataclasses.fields(cls)}
        return cls(**{name: value for name, value in settings.items() if name in names})


@dataclass(frozen=True, kw_only=True)
class Layout:
    """What was recognised; rows in the tables' order."""

    id_column: str
    target: Target
    submission: SubmissionFormat
    metric: str
    train: list[tuple[str, str, str]]  # image_id, member name, label cell of train.csv
    test: list[tuple[str, str]]  # image_id, member name
    columns: tuple[str, ...]  # of the organiser's train table
    column_rows: list[tuple[str, ...]]  # its cells, a row for each of `train`
    sample: bytes  # the sample submission as the organiser wrote it
    settings: dict[str, str | list[str]]  # keys of section `competition` that say the same
    notes: list[str]  # how it was recognised
    warnings: list[str]


@dataclass
class _Reading:
    """The state of one recognition."""

    archive: Archive
    problems: Problems
    wishes: Wishes
    tables: dict[str, Table]
    index: ImageIndex
    settings: dict[str, str | list[str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def stop(self, what: str, choices: Sequence[str] = ()) -> ValueError:
        """An error about this competition; choices: lines for params.yaml, one of which settles it."""
        lines = [f"{self.archive.path}: {what}", *(f"    competition.{choice}" for choice in choices)]
        return ValueError("\n".join(lines))


@dataclass(frozen=True)
class _Side:
    """Training or test images."""

    table: Table
    id_column: str
    ids: list[str]
    members: list[str]  # '' where there is none


def read_layout(archive: Archive, problems: Problems, wishes: Wishes | None = None) -> Layout:
    """Match tables and images. What is wrong with single rows goes to `problems`, by kind.

    Raises ValueError where there is no way to go on: nothing recognised, or two readings possible.
    """
    wishes = wishes or Wishes()
    tables = read_tables(archive, wishes.encoding)
    reading = _Reading(archive, problems, wishes, tables, ImageIndex(archive.names))
    if not reading.index.names:
        raise reading.stop(f"no image among {len(archive.names)} files; known suffixes: {', '.join(IMAGE_SUFFIXES)}")
    sample_name = find_sample(archive, tables, wishes.sample)
    sample = None if sample_name is None else read_sample(tables[sample_name], wishes.id_column)
    rest = {name: without_index(table) for name, table in tables.items() if name != sample_name}
    long = _long(reading, sample)
    test_table = _test_table(reading, rest, sample, long)

    train, labels = _train_side(reading, rest, sample, long, test_table)
    test = _test_side(reading, sample, long, test_table, set(train.members))
    _note_unused(reading, train, test)
    target, submission, metric = _demands(reading, sample, long, labels)
    content = _sample_bytes(reading, sample, sample_name, submission, test)
    reading.settings["sample"] = sample_name or NONE
    return Layout(
        id_column=train.id_column,
        target=target,
        submission=submission,
        metric=metric,
        train=list(zip(train.ids, train.members, labels.cells, strict=True)),
        test=list(zip(test.ids, test.members, strict=True)),
        columns=train.table.header,
        column_rows=train.table.rows,
        sample=content,
        settings=reading.settings,
        notes=reading.notes,
        warnings=reading.warnings,
    )


# -- the sample and the test table


def _long(reading: _Reading, sample: Sample | None) -> LongIds | None:
    """The sample's ids taken apart, where they name image and class: they lead to no image, their first part does."""
    if sample is None or len(sample.value_columns) != 1 or reading.wishes.submission not in (AUTO, "long"):
        return None
    apart = long_ids(sample.ids())
    if apart is None:
        return None
    whole = find_matches(_id_table(sample.id_column, sample.ids()), reading.index, role="test")
    if whole and whole[0].num_found >= LEAST_SHARE * len(sample.ids()) and reading.wishes.submission == AUTO:
        return None
    return apart


def _id_table(column: str, ids: Sequence[str]) -> Table:
    return Table("the sample submission", (column,), [(image_id,) for image_id in ids])


def _test_table(
    reading: _Reading, tables: Mapping[str, Table], sample: Sample | None, long: LongIds | None
) -> Table | None:
    """The table of test images: named so, or holding the sample's ids; None where there is none."""
    wished = reading.wishes.test_table
    if wished == NONE:
        return None
    if wished != AUTO:
        return _wished_table(reading, tables, "test_table", wished)
    named = [table for table in tables.values() if "test" in table.stem and "train" not in table.stem]
    if len(named) > 1 and sample is not None:
        ids = set(long.prefixes if long else sample.ids())
        named = [table for table in named if _column_holding(table, ids)] or named
    if len(named) > 1:
        choices = [f"test_table: {table.name}" for table in named]
        raise reading.stop(f"{len(named)} tables may be that of the test images; choose one:", choices)
    return named[0] if named else None


def _wished_table(reading: _Reading, tables: Mapping[str, Table], key: str, wished: str) -> Table:
    if wished not in tables:
        raise reading.stop(f"competition.{key} is {wished!r}, which is not among the tables {sorted(tables)[:10]}")
    return tables[wished]


def _column_holding(table: Table, ids: set[str]) -> str | None:
    """The column that holds these ids: all of them, or at least half, whichever column has most."""
    counts = {column: len(ids & set(table.column(column))) for column in table.header if column}
    best = max(counts, key=lambda column: counts[column], default=None)
    return best if best is not None and counts[best] >= LEAST_SHARE * len(ids) else None


# -- training images and labels


def _train_side(
    reading: _Reading,
    tables: Mapping[str, Table],
    sample: Sample | None,
    long: LongIds | None,
    test_table: Table | None,
) -> tuple[_Side, Labels]:
    others = {name: table for name, table in tables.items() if test_table is None or name != test_table.name}
    table = _train_table(reading, others, sample, long, test_table)
    if table is None:
        return _tableless_side(reading)
    reading.settings["train_table"] = table.name
    table = _pivoted(reading, table, long)
    match = _train_match(reading, table)
    id_column = _id_column(reading, table, sample, match)
    table = joined(table, [other for other in others.values() if other.name != table.name], id_column)
    ids = _checked_ids(reading, table.column(id_column), table.name)
    members = _members(reading, table, match.template, ids, "train")
    columns = _label_columns(reading, table, sample, long, {id_column, match.column}, test_table)
    labels = read_labels(table, columns, ids, reading.problems, delimiter=reading.wishes.delimiter)
    reading.settings |= {
        "id_column": id_column,
        "label": columns[0] if len(columns) == 1 else list(columns),
        "delimiter": labels.delimiter or NONE,
        "train_images": match.template,
    }
    reading.notes.append(
        f"train table: {table.name}, {len(ids):,} rows; id column {id_column!r}, images {match.template}"
    )
    return _Side(table, id_column, ids, members), labels


def _train_table(
    reading: _Reading,
    tables: Mapping[str, Table],
    sample: Sample | None,
    long: LongIds | None,
    test_table: Table | None,
) -> Table | None:
    """The table that has both labels and images; None where labels must come from folders or names."""
    wished = reading.wishes.train_table
    label = reading.wishes.label
    if wished == NONE or label == FOLDER or (isinstance(label, str) and "(?P<label>" in label):
        return None
    if wished != AUTO:
        return _wished_table(reading, tables, "train_table", wished)
    usable = [table for table in tables.values() if _is_train_table(reading, table, sample, long, test_table)]
    for word in ("train", "label"):
        if len(usable) > 1:
            usable = [table for table in usable if word in table.stem] or usable
    if len(usable) > 1:
        choices = [f"train_table: {table.name}" for table in usable]
        raise reading.stop(f"{len(usable)} tables may be that of the training images; choose one:", choices)
    return usable[0] if usable else _hopeful_table(reading, tables)


def _hopeful_table(reading: _Reading, tables: Mapping[str, Table]) -> Table | None:
    """A table that calls itself the train table though few of its rows lead to images: the error shall be about it."""
    named = [table for table in tables.values() if "train" in table.stem or "label" in table.stem]
    return named[0] if len(named) == 1 else None


def _is_train_table(
    reading: _Reading, table: Table, sample: Sample | None, long: LongIds | None, test_table: Table | None
) -> bool:
    table = _pivoted(reading, table, long)
    matches = find_matches(table, reading.index, role="train")
    if not matches or matches[0].num_found < LEAST_SHARE * len(table.rows):
        return False
    taken = {matches[0].column} | (set(test_table.header) if test_table else set())
    return bool(_choices(table, sample, long, taken))


def _choices(table: Table, sample: Sample | None, long: LongIds | None, taken: set[str]) -> list[tuple[str, ...]]:
    if PIVOTED in table.header:
        return [(PIVOTED,)]
    names = long.suffixes if long else sample.value_columns if sample else ()
    cells = sample.cells() if sample and not long else set()
    if sample:
        taken = taken | {sample.id_column}
    return label_choices(table, names=names, cells=cells, taken=taken - set(names))


PIVOTED = "labels of the long rows"


def _pivoted(reading: _Reading, table: Table, long: LongIds | None) -> Table:
    """A train table whose rows are long as the sample's are, as one row an image; any other table as it is."""
    if long is None or len(table.header) < 2:
        return table
    for column in table.header:
        apart = long_ids(table.column(column))
        if apart is None or set(apart.suffixes) != set(long.suffixes):
            continue
        values = [
            other for other in table.header if other != column and set(table.column(other)) <= {"0", "1", "0.0", "1.0"}
        ]
        if len(values) != 1:
            raise reading.stop(
                f"{table.name} has long ids in {column!r}; {len(values)} other columns hold 0 and 1, not 1"
            )
        labels: dict[str, list[str]] = {prefix: [] for prefix in apart.prefixes}
        for name, value in zip(table.column(column), table.column(values[0]), strict=True):
            suffix = next(suffix for suffix in apart.suffixes if name.endswith(apart.separator + suffix))
            if value in ("1", "1.0"):
                labels[name.removesuffix(apart.separator + suffix)].append(suffix)
        rows: list[tuple[str, ...]] = [(prefix, label_cell(found)) for prefix, found in labels.items()]
        return Table(table.name, (column, PIVOTED), rows)
    return table


def _train_match(reading: _Reading, table: Table) -> Match:
    wished = reading.wishes.train_images
    if wished != AUTO:
        found = images_of(wished, table, reading.index)
        return Match(wished, wished.split("{")[1].split("}")[0].split(":")[0], sum(map(len, found)))
    matches = find_matches(table, reading.index, role="train")
    if not matches:
        raise reading.stop(
            f"no column of {table.name} ({', '.join(table.header[:8])}) leads to an image; images are such as "
            f"{', '.join(reading.index.names[:3])}; say how:",
            [f"train_images: FOLDER/{{{table.header[0]}}}.jpg"],
        )
    return _only(reading, matches, table, "train_images", "train")


def _only(reading: _Reading, matches: Sequence[Match], table: Table, key: str, role: str) -> Match:
    """The first of `matches`, if no other leads to as many, and other, images by a name that is no worse."""
    best = matches[0]
    rank = preference(best.template, role)[0]
    first = images_of(best.template, table, reading.index)
    rivals = [
        match
        for match in matches[1:]
        if match.num_found == best.num_found
        and preference(match.template, role)[0] == rank
        and _lead_apart(first, images_of(match.template, table, reading.index))
    ]
    if rivals:
        choices = [f"{key}: {match.template!r}" for match in (best, *rivals)]
        raise reading.stop(f"{1 + len(rivals)} places may hold the {role} images of {table.name}; choose one:", choices)
    return best


def _lead_apart(first: Sequence[Sequence[str]], second: Sequence[Sequence[str]]) -> bool:
    return any(mine and other and mine[0] != other[0] for mine, other in zip(first, second, strict=True))


def _id_column(reading: _Reading, table: Table, sample: Sample | None, match: Match) -> str:
    wished = reading.wishes.id_column
    if wished != AUTO:
        if wished not in table.header:
            raise reading.stop(f"competition.id_column is {wished!r}; {table.name} has {list(table.header)}")
        return wished
    if sample is not None and sample.id_column in table.header:
        return sample.id_column
    distinct = [column for column in table.header if column and len(set(table.column(column))) == len(table.rows)]
    if match.column in distinct or not distinct:
        return match.column
    return distinct[0]


def _label_columns(
    reading: _Reading,
    table: Table,
    sample: Sample | None,
    long: LongIds | None,
    taken: set[str],
    test_table: Table | None,
) -> tuple[str, ...]:
    wished = reading.wishes.label
    if wished != AUTO:
        columns = (wished,) if isinstance(wished, str) else wished
        unknown = [column for column in columns if column not in table.header]
        if unknown:
            raise reading.stop(f"competition.label names {unknown}; {table.name} has {list(table.header)}")
        return columns
    shared = set(test_table.header) if test_table else set()
    choices = _choices(table, sample, long, taken | shared)
    if len(choices) == 1:
        return choices[0]
    asked = long.suffixes if long else sample.value_columns if sample else ()
    if not choices:
        raise reading.stop(
            f"unknown columns: no column of {table.name} ({', '.join(table.header[:12])}) could be the label that the "
            f"sample submission calls {', '.join(map(repr, asked[:5]))}; name it:",
            ["label: COLUMN"],
        )
    lines = []
    for columns in choices:
        values = sorted(set(table.column(columns[0])))
        lines.append(f"label: {columns[0]}    # {len(values)} values, such as {', '.join(values[:3])}")
    raise reading.stop(f"{len(choices)} columns of {table.name} could be the label; choose one:", lines)


def _tableless_side(reading: _Reading) -> tuple[_Side, Labels]:
    """Labels from class folders, else from file names."""
    wishes = reading.wishes
    pattern = wishes.label if isinstance(wishes.label, str) and "(?P<label>" in wishes.label else AUTO
    table = None
    if wishes.label in (AUTO, FOLDER):
        table = class_folder_table(reading.index, wishes.train_images)
        reading.settings["label"] = FOLDER
    if table is None and wishes.label != FOLDER:
        table = file_name_table(reading.index, pattern, wishes.train_images)
        reading.settings["label"] = pattern
    if table is None:
        names = sorted(reading.tables)
        raise reading.stop(
            f"no labels found: its {len(names)} tables are {names[:5]}, none leads to images and has a label column; "
            f"no class folders and no labels in file names among {len(reading.index.names):,} images such as "
            f"{', '.join(reading.index.names[:3])}; say where the labels are, in one of these ways:",
            ["train_table: FILE", "label: COLUMN", "label: folder", "label: '^(?P<label>[a-z]+)_'"],
        )
    root = table.name
    ids = [path.removeprefix(root + "/") if root else path for path in table.column(PATH_COLUMN)]
    labels = read_labels(table, (LABEL_COLUMN,), ids, reading.problems, delimiter=NONE)
    named = "class folders" if reading.settings["label"] == FOLDER else "file names"
    reading.notes.append(f"labels: from {named} under {root or 'the top folder'}, {len(ids):,} images")
    reading.settings |= {"train_table": NONE, "train_images": root or AUTO, "id_column": AUTO, "delimiter": NONE}
    return _Side(table, PATH_COLUMN, ids, table.column(PATH_COLUMN)), labels


# -- test images


def _test_side(
    reading: _Reading, sample: Sample | None, long: LongIds | None, test_table: Table | None, used: set[str]
) -> _Side:
    index = reading.index.without(used)
    if test_table is not None:
        reading.settings["test_table"] = test_table.name
    if sample is None:
        return _sampleless_test_side(reading, index, test_table)
    ids = list(long.prefixes) if long else sample.ids()
    _checked_ids(reading, sample.ids(), sample.table.name)
    table, match = _test_match(reading, sample, ids, index, test_table)
    column = sample.id_column if table is not test_table else _column_holding(table, set(ids)) or match.column
    if table is test_table:
        row_of = dict(zip(table.column(column), table.rows, strict=True))
        blank = tuple("" for _ in table.header)
        table = Table(table.name, table.header, [row_of.get(image_id, blank) for image_id in ids])
    members = _members(reading, table, match.template, ids, "test", index)
    reading.settings["test_images"] = match.template
    reading.notes.append(f"test images: {len(ids):,} ids of {sample.table.name}, images {match.template}")
    return _Side(table, column, ids, members)


def _test_match(
    reading: _Reading, sample: Sample, ids: list[str], index: ImageIndex, test_table: Table | None
) -> tuple[Table, Match]:
    """The table, sample or test, and the template that lead to most test images."""
    own = _id_table(sample.id_column, ids)
    wished = reading.wishes.test_images
    if wished != AUTO:
        columns = {part.split("}")[0].split(":")[0] for part in wished.split("{")[1:]}
        table = own if columns <= {sample.id_column} or test_table is None else test_table
        found = images_of(wished, table, index)
        return table, Match(wished, next(iter(columns)), sum(map(len, found)))
    matches = find_matches(own, index, role="test")
    best = matches[0].num_found if matches else 0
    if test_table is not None and best < len(set(ids)) and _column_holding(test_table, set(ids)):
        column = _column_holding(test_table, set(ids))
        rows = [row for row in test_table.rows if row[test_table.header.index(str(column))] in set(ids)]
        narrowed = dataclasses.replace(test_table, rows=rows)
        others = find_matches(narrowed, index, role="test")
        if others and others[0].num_found > best:
            return test_table, _only(reading, others, narrowed, "test_images", "test")
    if not matches:
        raise reading.stop(
            f"no id of {sample.table.name} ({', '.join(ids[:3])}, …) leads to an image that is not a training image; "
            f"{len(index.names):,} others are such as {', '.join(index.names[:3])}; say how:",
            [f"test_images: FOLDER/{{{sample.id_column}}}.jpg"],
        )
    return own, _only(reading, matches, own, "test_images", "test")


def _sampleless_test_side(reading: _Reading, index: ImageIndex, test_table: Table | None) -> _Side:
    """Test images where no sample submission says which: the test table's, or all in a folder called test."""
    reading.warnings.append(
        "no sample submission: its columns (id, label) and its ids are a guess; compare with the competition's page"
    )
    if test_table is not None:
        matches = find_matches(test_table, index, role="test")
        if not matches:
            raise reading.stop(f"no column of {test_table.name} leads to an image; say how:", ["test_images: …"])
        match = _only(reading, matches, test_table, "test_images", "test")
        distinct = [
            column for column in test_table.header if len(set(test_table.column(column))) == len(test_table.rows)
        ]
        column = distinct[0] if distinct else match.column
        ids = _checked_ids(reading, test_table.column(column), test_table.name)
        members = _members(reading, test_table, match.template, ids, "test", index)
        reading.settings["test_images"] = match.template
        return _Side(test_table, column, ids, members)
    members = [name for name in index.names if "test" in name.lower().rpartition("/")[0]]
    if not members:
        raise reading.stop(
            "no test images: no sample submission, no test table, and no image in a folder called test; name them:",
            ["sample: FILE", "test_table: FILE"],
        )
    root = common_folder(members)
    ids = [without_suffix(name.removeprefix(root + "/")) for name in members]
    return _Side(_id_table("id", ids), "id", ids, members)


# -- rows, images and problems


def _checked_ids(reading: _Reading, ids: list[str], table: str) -> list[str]:
    for image_id, count in Counter(ids).items():
        if not image_id.strip():
            reading.problems.add("empty id", f"{count} rows of {table}", f"give each row of {table} its id")
        elif count > 1:
            reading.problems.add("duplicate id", f"{image_id} x{count} in {table}", "keep one row for each id")
    return ids


def _members(
    reading: _Reading, table: Table, template: str, ids: Sequence[str], role: str, index: ImageIndex | None = None
) -> list[str]:
    """The member that each row means, '' where there is none or several: both are noted as problems."""
    index = index or reading.index
    found = images_of(template, table, index)
    folder = _place(template)
    members, noted = [], set()
    for image_id, names in zip(ids, found, strict=True):
        members.append(names[0] if len(names) == 1 else "")
        if image_id in noted:
            continue
        if not names:
            remedy = f"each id of {table.name} needs {template} (an image with one of {', '.join(IMAGE_SUFFIXES)})"
            reading.problems.add(
                f"id without image in {folder}",
                image_id + _near_miss(image_id, index),
                f"{remedy}; or name another place: competition.{role}_images",
            )
            noted.add(image_id)
        elif len(names) > 1:
            reading.problems.add(
                "id with several images",
                f"{image_id}: {', '.join(names[:3])}",
                f"keep one of them, or say which: competition.{role}_images: {template.removesuffix('.*')}.jpg",
            )
            noted.add(image_id)
    return members


def _place(template: str) -> str:
    before = template.split("{")[0].rpartition("/")[0]
    return before + "/" if before else "the archive"


def _near_miss(image_id: str, index: ImageIndex) -> str:
    """An image whose name differs from the id by case or leading zeros alone, for the message."""
    numbered = index.numbered(image_id)
    if numbered:
        return f" (there is {numbered[0]}: leading zeros differ)"
    folded = index.folded(image_id)
    return f" (there is {folded}: case differs)" if folded else ""


def _note_unused(reading: _Reading, train: _Side, test: _Side) -> None:
    """Images that no row names: a problem in the folders that rows do name, else a warning."""
    used = {*train.members, *test.members} - {""}
    unused = [name for name in reading.index.names if name not in used]
    places = [(common_folder(member for member in side.members if member), side) for side in (train, test)]
    elsewhere = []
    for name in unused:
        inside = [
            (len(folder), place) for place, (folder, _) in enumerate(places) if folder and name.startswith(folder + "/")
        ]
        if inside:
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


def _demands(
    reading: _Reading, sample: Sample | None, long: LongIds | None, labels: Labels
) -> tuple[Target, SubmissionFormat, str]:
    wishes = reading.wishes
    kind, asked = wishes.target, sample.value_columns if sample else ()
    if kind == AUTO:
        kind = "multi_label" if labels.several else "ordinal" if looks_ordinal(labels, asked) else "single_label"
    if (kind == "multi_label") != labels.several:
        have = "several labels an image" if labels.several else "one label an image"
        raise reading.stop(f"competition.target is {kind}, but {', '.join(labels.columns[:3])} holds {have}")
    try:
        target, submission, metric, warnings = submission_format(
            sample,
            long,
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


def _sample_bytes(
    reading: _Reading, sample: Sample | None, name: str | None, submission: SubmissionFormat, test: _Side
) -> bytes:
    if sample is not None and name is not None:
        if reading.wishes.encoding == AUTO and name.lower().endswith(".csv"):
            return reading.archive.read(name)
        return table_bytes(sample.table.header, sample.table.rows)
    blank = ["" for _ in submission.value_columns]
    return table_bytes(submission.columns, [[image_id, *blank] for image_id in test.ids])
