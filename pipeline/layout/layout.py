"""From the organiser's files to rows: which image has which id and label, and what a submission looks like.

Everything is recognised by looking, can be said in params.yaml instead (section `competition`), and is refused where
two readings are possible.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np

from pipeline.archive.archive import Archive
from pipeline.archive.encodings import encoding_of
from pipeline.base.files import table_bytes
from pipeline.base.texts import Texts, thinned
from pipeline.competition.class_findings import TINY_CLASSES
from pipeline.competition.problems import Problems, setting_line
from pipeline.competition.schema import CSV, Make, SubmissionFormat, Target, class_sizes
from pipeline.layout.class_mappings import class_mappings
from pipeline.layout.context import TEST_MISSING, TRAIN_MISSING, Context, Overrides, Side
from pipeline.layout.joint_ids import joint_ids, with_joint_ids
from pipeline.layout.label_rows import MAY_LACK
from pipeline.layout.labels import (
    EMPTY,
    NOT_ZERO_OR_ONE,
    OF_NO_COLUMN,
    OUTER_SPACES,
    WITHOUT_COLUMN,
    WORD_FOR_NONE,
    Labels,
    as_several,
    looks_ordinal,
    no_classes,
)
from pipeline.layout.other_tasks import arrays_line, class_files
from pipeline.layout.path_labels import common_folder
from pipeline.layout.sample_submission import LongIds, Sample, find_sample, long_ids, read_sample, sample_like, with_ids
from pipeline.layout.submission_format import Demands, Known, submission_demands
from pipeline.layout.test_side import find_test_table, testing_side
from pipeline.layout.train_side import training_side
from pipeline.layout.unnamed import unnamed_sample
from pipeline.submission.contract import in_make
from pipeline.submission.make import LIST, LISTED, NUMBER, content_of, found_make
from pipeline.tables.asked import asked_table, column_holding, lead_for_most
from pipeline.tables.image_names import (
    AS_FILES,
    IMAGE_SUFFIXES,
    READ_AS_ARRAYS,
    counted_line,
    image_names,
    suffix_of,
    undecoded_files,
    undecoded_line,
    without_suffix,
)
from pipeline.tables.image_paths import (
    MISSING,
    NEARLY,
    ImageIndex,
    beside_images,
    find_matches,
    images_of,
    plain,
    whole_number,
)
from pipeline.tables.table import AUTO, NONE, Table, all_named, id_table, parted, without_index
from pipeline.tables.table_files import JSON, read_tables
from pipeline.tables.words import TEST, TRAIN, role_of, split_roles

UNDECODED = "undecoded image"
MAX_UNDECODED = 0.02  # of the labelled images in class folders: more are no stray files
ALLOWABLE = (  # competition.allow
    "image without row", "duplicate class spelling", "label that may mean missing", WORD_FOR_NONE,
    "image without label", TINY_CLASSES, EMPTY, OUTER_SPACES, NOT_ZERO_OR_ONE, "repeated row", MAY_LACK,
    WITHOUT_COLUMN, OF_NO_COLUMN, UNDECODED,
    "unreadable training image", "unreadable test image", TRAIN_MISSING, TEST_MISSING,
)  # fmt: skip


NUM_IDS = 100  # of the sample, looked up
DERIVED = ("grades", "positive", "submission", "metric", "spelling")  # keys that follow from the label and the sample
MAX_SHOWN = 0.5  # of the test table's ids, by a sample that is an example of the format
NUM_LEFT_SHOWN = 3  # hidden or service folders that a warning names
DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+")


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

    def class_sizes(self) -> dict[str, int]:
        """Label -> number of training images that have it, in the order of the classes."""
        return class_sizes(self.train_labels, self.target)


def read_layout(archive: Archive, problems: Problems, overrides: Overrides | None = None) -> Layout:
    """Match tables and images. What is wrong with single rows goes to `problems`, by kind.

    Raises ValueError where there is no way to go on: nothing recognised, or two readings possible.
    """
    overrides = overrides or Overrides()
    context = _begun(archive, problems, overrides)
    _find_what_is_asked(context)
    train_tables, test_tables = _by_role(context)
    parts = [name for name in test_tables if test_tables[name] is not train_tables.get(name)]
    context.test_table = find_test_table(context, test_tables, parts)

    _follow_test_table(context)
    train_tables = _less_test_rows(context, train_tables)
    train, labels = training_side(context, train_tables)
    used = context.index.used_by(train.members)
    test = testing_side(context, used)
    _note_undecoded(context, train)
    _note_unused(context, train, test, used | context.index.used_by([*test.members, *context.left_out]))
    demands = _demands(context, labels, test)
    _refuse_all_alike(context, demands)
    _refuse_no_classes(context, demands)
    sample, submission = _sample_bytes(context, demands.submission, test, demands.target.classes)
    return Layout(
        id_column=train.id_column,
        target=demands.target,
        submission=submission,
        metric=demands.metric,
        train_ids=train.ids,
        train_members=train.members,
        train_labels=demands.labels.cells,
        test_ids=test.ids,
        test_members=test.members,
        train_table=train.table,
        sample=sample,
        settings=context.settings,
        notes=context.notes,
        warnings=context.warnings,
    )


def _begun(archive: Archive, problems: Problems, overrides: Overrides) -> Context:
    """Tables and images read. Raises ValueError for no image, and for a table that is needed and cannot be read."""
    index = ImageIndex(image_names(archive))
    named = {key: getattr(overrides, key) for key in ("encoding", "header", "pixels")}
    found = read_tables(archive, index, **named)
    if found.notes:
        index = ImageIndex(image_names(archive))
    context = Context(
        archive,
        problems,
        overrides,
        found.tables | class_files(archive, index),
        index,
        notes=[*archive.notes, *found.notes],
        warnings=found.warnings(),
        unread=found.left_aside(lines=True),
        reasons=found.unread,
    )
    if archive.left_aside:
        hidden = ", ".join(f"{part} ({count:,})" for part, count in archive.left_aside.most_common(NUM_LEFT_SHOWN))
        context.warnings.append(f"{archive.left_aside.total():,} hidden or service files are left aside: {hidden}")
    for encoding, name in archive.guessed.items():
        context.warnings.append(
            f"names in the archive do not say their encoding, and are read as {encoding}: {name}; if that is wrong, "
            "unpack it with the right one (`unzip -O ENCODING`) and give the folder"
        )
    stated = {key: getattr(overrides, key) for key in ("train_table", "test_table", "sample")}
    settled = [key for key, value in stated.items() if value != AUTO]
    needed = found.needed(list(stated.values()), settled, sample_like, context.folders().keys() - {""})
    if needed:
        raise context.stop(needed)
    if not len(context.index.names):
        raise _no_image(context)
    context.settings = {"encoding": overrides.encoding, "test_table": NONE, "test_images": AUTO}
    if overrides.header and not isinstance(overrides.header, str):
        context.settings["header"] = list(overrides.header)
    if overrides.pixels != AUTO:
        context.settings["pixels"] = overrides.pixels
    return context


def _no_image(context: Context) -> ValueError:
    """Says in what else the images may be: a format that is not decoded, addresses, files of other suffixes."""
    archive = context.archive
    undecoded = undecoded_files(archive)
    if undecoded:
        arrays = arrays_line(
            archive, (name for kind, names in undecoded.items() if kind.name == "numpy" for name in names)
        )
        held = f"; there are {arrays}" if arrays else ""
        return context.stop(f"no image among {len(archive.names)} files; {undecoded_line(undecoded)}{held}")
    suffixes = Counter(suffix_of(name).lower() or "no suffix" for name in archive.names)
    there = ", ".join(f"{count:,} {suffix}" for suffix, count in suffixes.most_common(NUM_LEFT_SHOWN))
    for table in context.tables.values():
        for column, cells in zip(table.header, table.cells, strict=True):
            if all(cell.startswith(("http://", "https://")) for cell in cells[:NUM_IDS]):
                return context.stop(
                    f"no image among {len(archive.names)} files ({there}); {column!r} of {table.name} holds addresses: "
                    "download their images first"
                )
    return context.stop(
        f"no image among {len(archive.names)} files ({there}); write each image {AS_FILES}; known suffixes: "
        f"{', '.join(IMAGE_SUFFIXES[:8])}, …"
    )


def _find_what_is_asked(context: Context) -> None:
    """Find the sample submission, and whether its ids are long."""
    name = find_sample(context.archive, context.tables, context.overrides.sample) or unnamed_sample(context)
    context.settings["sample"] = name or NONE
    if name is not None:
        table = context.tables[name]

        def num_images(column: str) -> int:
            found = find_matches(all_named(table), context.index, role="test", columns=[column])
            return found[0].num_found if found else 0

        context.sample = read_sample(
            table, context.overrides.id_column, num_images, lambda: joint_ids(table, context.index)
        )
        if context.sample.joint:
            means = "an image and a class" if context.sample.crossed else "together the name of an image"
            context.notes.append(f"ids of {name}: {context.sample.id_column}, {means}")
        context.long = context.sample.crossed or _long(context, context.sample)


def _long(context: Context, sample: Sample) -> LongIds | None:
    """The sample's ids taken apart, where they lead to no image, so that their first parts may."""
    if len(sample.value_columns) != 1 or context.overrides.submission not in (AUTO, "long"):
        return None
    apart = long_ids(sample.ids())
    if apart is None or context.overrides.submission == "long":
        return apart
    whole = find_matches(id_table(sample.id_column, sample.ids()), context.index, role=TEST)
    if lead_for_most(whole, len(sample.ids())):
        return None
    return None if _are_of_images(context, sample) else apart


def _are_of_images(context: Context, sample: Sample) -> bool:
    """Whether a table has a row for each of these ids, and another image in each: `10018_L` is an image's id."""
    ids = set(sample.ids())
    for table in context.tables.values():
        if table.name == sample.table.name or column_holding(table, ids) is None:
            continue
        asked = with_joint_ids(asked_table(sample.id_column, sample.ids(), table), context.index)
        matches = find_matches(asked, context.index, role=TEST)
        if matches and matches[0].num_found >= NEARLY * len(ids):
            return True
    return False


def _follow_test_table(context: Context) -> None:
    """Where the sample shows a few of the test table's ids: all of them are asked for, if the user says so."""
    sample, table = context.sample, context.test_table
    if sample is None or table is None or context.long is not None or sample.joint:
        return
    ids = set(sample.ids())
    column = next((name for name in table.header if name and ids <= set(table.column(name))), None)
    if column is None or len(ids) >= MAX_SHOWN * len(table.column(column).distinct()):
        return
    rows = f"{table.num_rows:,} rows of {table.name}, or the {len(ids):,} of {sample.table.name}"
    if context.overrides.test_table != table.name:
        raise context.stop(
            f"{sample.table.name} may be a full list or an example of the format. "
            f"Which images are to be predicted: the {rows}? Choose one:",
            [
                setting_line("test_table", table.name, f"all {table.num_rows:,} rows"),
                setting_line("test_table", NONE, f"the {len(ids):,} rows of {sample.table.name} alone"),
            ],
        )
    context.warnings.append(
        f"the submission has the {table.num_rows:,} ids of {table.name}: {sample.table.name} shows {len(ids):,} of them"
    )
    context.sample = with_ids(sample, table.column(column))


def _by_role(context: Context) -> tuple[dict[str, Table], dict[str, Table]]:
    """(tables that may speak of training images, of test images); one that parts its rows speaks of both."""
    train, test = {}, {}
    told = context.sample is not None or any(context.role_of_table(table) == TEST for table in context.tables.values())
    for name, table in context.tables.items():
        if context.sample is not None and name == context.sample.table.name:
            continue
        if sample_like(name) and name not in (context.overrides.train_table, context.overrides.test_table):
            continue
        table = with_joint_ids(all_named(without_index(table)), context.index)
        by_cells = parted(table) or _parted_by_sample(context, table) or _parted_by_blanks(context, table)
        train[name], test[name] = by_cells or _parted_by_place(context, table, told=told) or (table, table)
    return train, test


def _parted_by_sample(context: Context, table: Table) -> tuple[Table, Table] | None:
    """(train rows, test rows) of one table for both: the rows of the sample's ids.

    Only where these are the same images: each id is the name of one image, or of none and each row leads to its own; or
    a column has one cell that no other row has (the label's, blank where it is to be predicted). Ids of training images
    may be called alike. A table that is called test speaks of test images alone, as does one that the user calls so
    but for rows of images that lie elsewhere or are another table's.
    """
    asked = None if role_of(table.stem) == TEST or len(table.header) < 2 else _rows_asked(context.sample_ids(), table)
    stated = table.name == context.overrides.test_table != context.overrides.train_table
    if asked is None or (stated and not _others_are_apart(context, table, asked)):
        return None
    called = {_num_called(context.index, cell) for cell in thinned([context.sample_ids()], NUM_IDS)}
    are_names = called == {1} or (called == {0} and _all_lead(context, table.take(asked)))
    if are_names and not _are_for_training(context, table.take(asked)):
        return table.take(~asked), table.take(asked)
    for cells in table.cells:
        said = cells.take(asked).distinct()
        if len(said) == 1 and said[0] not in set(cells.take(~asked).distinct()):
            return table.take(~asked), table.take(asked)
    return None


def _others_are_apart(context: Context, table: Table, asked: np.ndarray) -> bool:
    """Whether the other rows are of images in other folders, or another table has all of them. asked: (N,) bool."""
    rows, others = table.take(asked), table.take(~asked)
    one, two = (_folders(context, part, role) for part, role in ((rows, TEST), (others, TRAIN)))
    if two and not one & two:
        return True
    names = [set(cells) for cells in others.cells if cells.all_distinct()]
    known = [other for other in context.tables.values() if other.name not in (table.name, context.settings["sample"])]
    return any(column_holding(other, own) for other in known for own in names)


def _folders(context: Context, table: Table, role: str) -> set[str]:
    """Those of the images that the rows lead to."""
    matches = find_matches(table, context.index, role=role)
    found = images_of(matches[0].template, table, context.index) if matches else np.empty(0)
    return {path.rpartition("/")[0] for path in context.index.paths.take(found[found >= 0])}


def _parted_by_blanks(context: Context, table: Table) -> tuple[Table, Table] | None:
    """(train rows, test rows) of one table that the user names as the test table: those without a label, in the one
    column that some rows leave blank, or in the one that is named as the label."""
    if context.sample is not None or context.overrides.test_table != table.name:
        return None
    blank = {column: cells.where("") for column, cells in zip(table.header, table.cells, strict=True)}
    some = [column for column, rows in blank.items() if rows.any() and not rows.all()]
    told = [column for column in some if column == context.overrides.label] or some
    return (table.take(~blank[told[0]]), table.take(blank[told[0]])) if len(told) == 1 else None


def _parted_by_place(context: Context, table: Table, *, told: bool) -> tuple[Table, Table] | None:
    """(train rows, test rows) of one table for both, with labels for all: its images lie in a folder called test, or in
    none that is called so and are all called train or test themselves: `test_7.png`.

    Only where neither a sample nor another table says what is asked, which is `told`.
    """
    stated = context.overrides.test_table
    if stated not in (AUTO, table.name) or (stated == AUTO and told) or context.role_of_table(table) is not None:
        return None
    roles = context.roles
    by_folder = TEST in roles.values()

    def role(path: str) -> str | None:
        folder, _, name = path.rpartition("/")
        return roles[folder] if by_folder else role_of(without_suffix(name))

    if not by_folder and not all(map(role, thinned([context.index.paths], NUM_IDS))):
        return None
    matches = find_matches(table, context.index, role="")
    found = images_of(matches[0].template, table, context.index) if matches else np.array([MISSING])
    said = {number: role(context.index.paths[number]) for number in np.unique(found[found >= 0]).tolist()}
    tested = np.array([said.get(number) == TEST for number in found.tolist()])
    if not 0 < tested.sum() < len(tested) or not (by_folder or {TRAIN, TEST} <= set(said.values())):
        return None
    where = "lie in a folder called test" if by_folder else "are called test"
    context.notes.append(f"{tested.sum():,} rows of {table.name} are of images that {where}: to predict")
    return table.take(~tested), table.take(tested)


def _less_test_rows(context: Context, tables: dict[str, Table]) -> dict[str, Table]:
    """The tables less the rows whose images the test table names, where no sample submission says what is asked."""
    listed = context.test_table if context.sample is None else None
    matches = find_matches(listed, context.index, role=TEST) if listed is not None else []
    if listed is None or not matches:
        return tables
    wanted = images_of(matches[0].template, listed, context.index)
    kept = {}
    for name, table in tables.items():
        own = find_matches(table, context.index, role=TRAIN) if name != listed.name else []
        found = images_of(own[0].template, table, context.index) if own else np.empty(0)
        rows = (found >= 0) & np.isin(found, wanted)
        if 0 < rows.sum() < len(rows):
            kept[name] = table.take(~rows)
            context.notes.append(f"{rows.sum():,} rows of {name} are those of test images, by {listed.name}")
    return tables | kept


def _rows_asked(ids: Texts, table: Table) -> np.ndarray | None:
    """(N,) bool: the rows of these ids, where a column has each of them once (12.0 is 12) and other ids too."""
    if not 0 < len(ids) < table.num_rows:
        return None
    spellings = {ids[0], whole_number(ids[0]) or ids[0], f"{whole_number(ids[0])}.0"}
    wanted = {whole_number(cell) or cell for cell in ids}
    for cells in table.cells:
        if any(cells.where(spelling).any() for spelling in spellings):
            keys = [whole_number(cell) or cell for cell in cells]
            asked = np.array([key in wanted for key in keys])
            if asked.sum() == len(wanted) == len(wanted.intersection(keys)):
                return asked
    return None


def _all_lead(context: Context, rows: Table) -> bool:
    """Whether each row leads to an image of its own."""
    matches = find_matches(rows, context.index, role=TEST)
    return bool(matches) and matches[0].num_found == rows.num_rows


def _are_for_training(context: Context, rows: Table) -> bool:
    """Whether rows lead to images in a folder called as training data is, where another is called test."""
    if TEST not in context.roles.values():
        return False
    return {context.roles[folder] for folder in _folders(context, rows, TRAIN)} == {TRAIN}


def _num_called(index: ImageIndex, image_id: str) -> int:
    """How many images have this id for a name."""
    return len({*index.exact(plain(image_id)), *index.numbered(plain(image_id))})


def _note_unused(context: Context, train: Side, test: Side, used: np.ndarray) -> None:
    """Images that no row names: a problem in the folders that rows do name, else a warning. used: (N,) bool."""
    unused = context.index.names.take(~used)
    places = [(common_folder(member for member in side.members if member), side) for side in (train, test)]
    elsewhere, twins = [], set(context.twins)
    for name in unused:
        inside = [
            (len(folder), place) for place, (folder, _) in enumerate(places) if folder and name.startswith(folder + "/")
        ]
        if inside and name not in twins and not beside_images(name):
            table = places[max(inside)[1]][1].table.name
            context.problems.add(
                "image without row",
                name,
                f"add its row to {table}, or, if it shall not be used: competition.allow: [image without row]",
            )
        else:
            elsewhere.append(name)
    if elsewhere:
        context.warnings.append(f"{len(elsewhere):,} images are not used, such as {', '.join(elsewhere[:3])}")


def _note_undecoded(context: Context, train: Side) -> None:
    """Images of formats that are not decoded, less those that lie there in another format too: a warning.

    A problem where they are many of the images in class folders, or all of a class. Files that hold several images, or
    lists of them, are a warning too.
    """
    undecoded = undecoded_files(context.archive)
    closed = {kind: names for kind, names in undecoded.items() if kind.several and kind.name not in READ_AS_ARRAYS}
    if closed:
        context.warnings.append(f"{counted_line(closed)}: not read here; labels, lists or images may be in them")
    found = {
        kind: [name for name in names if not context.index.with_stem_path(plain(name.removesuffix(suffix_of(name))))]
        for kind, names in undecoded.items()
        if not kind.several
    }
    found = {kind: names for kind, names in found.items() if names}
    if not found:
        return
    context.warnings.append(undecoded_line(found))
    if context.settings["train_table"] != NONE:
        return
    root, folders = train.table.name, {name.rpartition("/")[0] for name in train.members}
    place_of = {name: name.rpartition("/")[0] for names in found.values() for name in names}
    roles = split_roles(folders | set(place_of.values()))
    inside = [
        name
        for name, place in place_of.items()
        if place.startswith(root + "/" if root else "") and place and roles[place] != TEST
    ]
    if len(inside) > MAX_UNDECODED * len(train.ids) or not folders.issuperset(map(place_of.get, inside)):
        for name in inside:
            context.problems.add(
                UNDECODED, name, f"save them as PNG; or, to do without them: competition.allow: [{UNDECODED}]"
            )


# -- what is asked


def _refuse_all_alike(context: Context, demands: Demands) -> None:
    """Raise where there is one class alone, or no image has any."""
    target, cells = demands.target, demands.labels.cells
    if target.exclusive and len(target.classes) < 2:
        found = f"all {len(cells)} labelled images are of one class, {target.classes[0]!r}"
    elif target.classes and not any(class_sizes(cells, target).values()):
        found = f"none of {len(cells)} images has a label: each cell of {', '.join(demands.labels.columns[:4])} says no"
    else:
        return
    context.problems.stop(str(context.archive.path), context.overrides.allow)
    raise context.stop(f"{found}: there is nothing to tell apart; see competition.label and competition.train_table")


def _refuse_no_classes(context: Context, demands: Demands) -> None:
    """Raise where the labels look like something else than classes, unless the user says that they are the labels."""
    target, labels = demands.target, demands.labels
    stated = context.overrides.target != AUTO or context.overrides.label != AUTO
    if stated or not target.exclusive or len(labels.columns) > 1:
        return
    cause = no_classes(labels, context.sample_cells())
    if cause:
        raise context.stop(
            f"{labels.columns[0]!r} holds {cause}: numbers (regression), texts and outlines cannot be learnt here. If "
            "they are classes:",
            ["target: single_label"],
        )


def _demands(context: Context, labels: Labels, test: Side) -> Demands:
    overrides = context.overrides
    kind, asked = overrides.target, context.sample.value_columns if context.sample else ()
    if kind == AUTO:
        kind = "multi_label" if labels.several else "ordinal" if looks_ordinal(labels, asked) else "single_label"
    if kind != "multi_label" and labels.several:
        raise context.stop(
            f"competition.target is {kind}, but {', '.join(labels.columns[:3])} holds several labels an image. If each "
            "cell is one label:",
            ["delimiter: none"],
        )
    if kind == "multi_label" and not labels.several:
        labels = as_several(labels)
    if kind == "binary" and len(labels.classes) != 2:
        kind = "single_label"  # from settings that an earlier label column had
    known = Known(
        labels=labels,
        kind=kind,
        sample=context.sample,
        long=context.long,
        overrides=overrides,
        sampleless_columns=_sampleless_columns(context, labels, test),
        mappings=cache(lambda: class_mappings(context.archive, context.tables, labels.classes)),
    )
    try:
        demands = submission_demands(known)
    except ValueError as error:
        raise context.stop(f"{error}{_stale_lines(known)}") from error
    context.warnings += demands.warnings
    context.notes += demands.notes
    target = demands.target
    context.settings |= {"target": target.kind, "submission": demands.submission.kind, "metric": demands.metric}
    context.settings |= {"positive": target.positive or AUTO, "spelling": demands.spelling}
    return demands


def _stale_lines(known: Known) -> str:
    """The lines to reset, where what params.yaml says fits other labels and without it all is clear; else ''."""
    said = {name: getattr(known.overrides, name) for name in (*DERIVED, "target")}
    kept = [f"competition.{name} ({value})" for name, value in said.items() if value != AUTO]
    kind = "multi_label" if known.labels.several else "single_label"
    auto: dict[str, Any] = dict.fromkeys(DERIVED, AUTO)
    try:
        submission_demands(replace(known, kind=kind, overrides=replace(known.overrides, **auto)))
    except ValueError:
        return ""
    return f". If they were written for another label, set to auto: {', '.join(kept)}"


def _sampleless_columns(context: Context, labels: Labels, test: Side) -> tuple[str, str]:
    """(id, label) as the organiser's own tables call them; a submission is called so most likely."""
    own = len(labels.columns) == 1 and context.settings["train_table"] != NONE
    return test.id_column, labels.columns[0] if own else "label"


def _sample_bytes(
    context: Context, submission: SubmissionFormat, test: Side, labels: Sequence[str]
) -> tuple[bytes, SubmissionFormat]:
    """(the sample submission as the organiser wrote it, less what is no row; the format with its make).

    labels: that may be written.
    """
    if context.sample is None:
        blank = ["" for _ in submission.value_columns]
        return table_bytes(submission.columns, ([image_id, *blank] for image_id in test.ids)), submission
    table = context.sample.table
    source = context.tables[table.name]
    content = context.archive.read(table.name)
    encoding = encoding_of(content, table.name, context.overrides.encoding)
    text = content.decode(encoding)
    make = _filled(context, found_make(text, encoding, source.header, source.rows), submission)
    own = in_make(content, text, source.header, source.rows, make)
    foreign = context.overrides.encoding != AUTO and submission.kind in ("label", "list", "ranked")
    if foreign and content.isascii() and not all(map(str.isascii, labels)):
        context.warnings.append(
            f"{table.name} has ASCII letters alone: labels are written in UTF-8, though other tables are in "
            f"{context.overrides.encoding}; ask which is wanted"
        )
    if make.words:
        suffix = suffix_of(table.name).lower()
        renamed = f", under the name submission.csv: before you upload it, let it end in {suffix}"
        context.warnings.append(
            f"{table.name} is not plain CSV ({make.words}): the submission is written alike"
            + (renamed if suffix != ".csv" else "")
        )
    if own != content and suffix_of(table.name).lower() in JSON and make.form == CSV:
        context.warnings.append(
            f"{table.name} is JSON of a form that is not written here: the submission is plain CSV with the columns "
            f"{', '.join(table.header)}; make it so before you upload it"
        )
    elif own != content:
        context.warnings.append(
            f"{table.name} holds more than its rows (lines above or below them, blank lines, R's row names, or other "
            "fields of JSON), which the submission will not: ask whether it is accepted so, or add them"
        )
    of_lists = LIST in make.kinds and submission.kind in ("list", "ranked")
    submission = replace(submission, make=make, separator=LISTED if of_lists else submission.separator)
    if context.sample.whole:
        return own, submission
    return content_of(context.sample.header, table.rows(), make, like=content), submission


def _filled(context: Context, make: Make, submission: SubmissionFormat) -> Make:
    """The make of what is filled in: how numbers are written."""
    assert context.sample is not None
    if submission.kind in ("label", "list", "ranked"):
        return make
    cells = context.sample.cells()
    if any(DECIMAL_COMMA.fullmatch(cell) for cell in cells):
        return replace(make, decimal=",")
    if make.mark.startswith(";") and not any("." in cell for cell in cells):
        context.warnings.append(
            f"{context.sample.table.name} parts cells by semicolons and shows no decimals: a point will be written"
        )
    if make.form == CSV or cells:
        return make
    kinds = zip(submission.columns, make.kinds, strict=True)  # null everywhere
    return replace(make, kinds=tuple(NUMBER if name in submission.value_columns else kind for name, kind in kinds))
