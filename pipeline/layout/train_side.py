"""The training side of a competition: its table, the id and label columns, and the image of each row."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from itertools import permutations, product

import numpy as np

from pipeline.base.texts import Texts, joined_texts, rows_of_equals
from pipeline.competition.lists import (
    BRACKETS,
    DOUBTFUL_MARKS,
    MARKS,
    bracket_style,
    found_delimiter,
    holds_vectors,
    split_list,
)
from pipeline.competition.problems import setting_line, written
from pipeline.competition.spelling import is_number
from pipeline.layout.class_mappings import class_mappings
from pipeline.layout.context import (
    TRAIN_MISSING,
    Context,
    Side,
    checked_ids,
    members_of,
    named_table,
    only_match,
)
from pipeline.layout.labels import (
    LABEL_NAMES,
    MINUS_ONE,
    MISSING_WORDS,
    WITHOUT_COLUMN,
    Labels,
    empty_rows,
    holds_ones,
    label_choices,
    read_labels,
)
from pipeline.layout.other_tasks import asks_otherwise, beside_line, naming_line, pictures_and_targets
from pipeline.layout.path_labels import (
    FOLDER,
    LABEL_COLUMN,
    PART_COLUMN,
    PATH_COLUMN,
    SeveralLevelsError,
    class_folder_table,
    file_name_table,
    folder_level,
    without_asked,
)
from pipeline.layout.sample_submission import LongIds, classes_named, long_ids
from pipeline.layout.test_side import asked_images
from pipeline.tables.asked import MIN_SHARE
from pipeline.tables.image_names import counted_line, undecoded_files
from pipeline.tables.image_paths import (
    MISSING,
    ImageIndex,
    Match,
    beside_images,
    column_of,
    columns_of,
    find_matches,
    images_of,
    paths_of,
)
from pipeline.tables.table import AUTO, NO, NONE, YES, Table, id_table, joined, part_columns
from pipeline.tables.words import TEST, TRAIN, VALID, split_roles, words_of

MANY_REPEATED = 0.25  # of the ids: more than slips of an annotator
ID_NAMES = ("id", "image_id")  # of the id column, where the sample submission calls it otherwise
LABEL_STEM = r"label|ground_?truth"  # in the name of a table of labels
NAME_PARTS = (  # of a file's name: before the first mark, between the first two, behind the last
    r"^(?P<label>[^_\- ]+)[_\- ]", r"^[^_\- ]+[_\- ](?P<label>[^_\- ]+)[_\- ]", r"[_\- ](?P<label>[^_\- ]+)$",
)  # fmt: skip
MAX_PART = 0.5  # of the names, distinct labels: more are no classes
AND = " + "  # between tables that the user names together
MAY_LACK = "row that may lack its label"
PRESENT_WORDS = {"confidence", "present", "presence", "exists"}  # of a 0/1 column beside labels: whether they are there
MIN_GRID = 3  # columns of a row for each image and class
NAMED_LABEL = "(?P<label>"  # in a pattern for file names


def training_side(context: Context, tables: Mapping[str, Table]) -> tuple[Side, Labels]:
    """The training images and their labels.

    tables: those that may speak of training images. Raises ValueError where labels are nowhere or in two places.
    """
    others = {name: table for name, table in tables.items() if table is not context.test_table}
    table = _train_table(context, others)
    if table is None:
        return _tableless_side(context)
    table = _with_validation(context, _pivoted(context, table), others)
    table, match = _train_match(context, table)
    id_column = _id_column(context, table, match)
    table = joined(table, [other for other in others.values() if other.name != table.name], id_column)
    columns = _label_columns(context, table, {id_column, match.column}, columns_of(match.template))
    table = _rows_merged(context, table, id_column, columns)
    ids = checked_ids(context, table.column(id_column), table.name)
    labels = _labels(context, table, columns, ids)
    _refuse_class_list(context, table, labels)
    side = members_of(context, Side(table, id_column, ids), match.template, "train", context.index)
    side, labels = _labelled(context, *_pictured(context, side, labels))
    _note_other_folders(context, side, labels)
    context.settings |= {
        "train_table": table.name,
        "id_column": id_column,
        "label": columns[0] if len(columns) == 1 else list(columns),
        "delimiter": labels.delimiter or NONE,
    }
    context.notes.append(
        f"train table: {table.name}, {len(ids):,} rows; id column {id_column!r}, images {match.template}"
    )
    return side, labels


def _refuse_class_list(context: Context, table: Table, labels: Labels) -> None:
    """Raise for the list of one class that Pascal VOC has of all images: 1 with it, -1 without, 0 hard to see."""
    auto = context.overrides.train_table == AUTO
    if auto and "ImageSets/" in f"/{table.name}" and set(labels.classes) <= {"-1", "0", "1"}:
        raise context.stop(
            f"{table.name} says of one class alone which images have it (1) and which have not (-1), as Pascal VOC "
            "does; make one CSV of all such lists, with a 0/1 column for each class; if this class is all that is "
            "asked for:",
            [setting_line("train_table", table.name)],
        )


def _with_validation(context: Context, table: Table, others: Mapping[str, Table]) -> Table:
    """The train table and, below it, the one of labelled validation images, told apart by a column `part`.

    Only where it has the same columns and all rows lead to images; else the table alone.
    """
    held = [
        other for other in others.values() if context.role_of_table(other) == VALID and other.header == table.header
    ]
    if len(held) != 1 or held[0].name == table.name or PART_COLUMN in table.header:
        return table
    parts = Texts([table.stem] * table.num_rows + [held[0].stem] * held[0].num_rows)
    cells = [joined_texts(pair) for pair in zip(table.cells, held[0].cells, strict=True)]
    whole = replace(table, header=(*table.header, PART_COLUMN), cells=(*cells, parts))
    matches = find_matches(whole, context.index, role=TRAIN)
    if not matches or matches[0].num_found < whole.num_rows:
        return table
    context.notes.append(
        f"{held[0].num_rows:,} labelled validation images of {held[0].name} are used for training too; "
        f"split.fold_column: {PART_COLUMN} keeps them apart"
    )
    return whole


def _train_table(context: Context, tables: Mapping[str, Table]) -> Table | None:
    """The table that has both labels and images; None where labels must come from folders or names."""
    label = context.overrides.label
    if context.overrides.train_table == NONE or folder_level(label) is not None or NAMED_LABEL in label:
        return None
    if context.overrides.train_table != AUTO:
        return _of_parts(context, tables) or named_table(context, tables, "train_table")
    usable = [table for table in tables.values() if _is_train_table(context, table)]
    if usable and _say_less_than_folders(context, usable):
        return None
    asked = set(context.asked())
    for fits in (
        lambda table: bool(asked) and asked <= set(_pivoted(context, table).header),
        lambda table: context.role_of_table(table) == TRAIN,
    ):
        if len(usable) > 1:
            usable = [table for table in usable if fits(table)] or usable
    if len({table.header for table in usable}) > 1:  # else one may be the other corrected
        usable = [table for table in usable if re.search(LABEL_STEM, table.stem)] or usable
    if len(usable) > 1:
        choices = [setting_line("train_table", table.name) for table in usable]
        if len({tuple(sorted(table.header)) for table in usable}) == 1 and _speak_of_different_images(context, usable):
            rows = sum(table.num_rows for table in usable)
            choices.append(setting_line("train_table", AND.join(table.name for table in usable), f"all {rows:,} rows"))
        raise context.stop(f"{len(usable)} tables may be the train table; choose one:", choices)
    return usable[0] if usable else _hopeful_table(context, tables)


def _of_parts(context: Context, tables: Mapping[str, Table]) -> Table | None:
    """The tables that the user names together, of the same columns, as one; None where one is named."""
    parts = [tables[name] for name in context.overrides.train_table.split(AND) if name in tables]
    name, header = AND.join(part.name for part in parts), parts[0].header if parts else ()
    if len(parts) < 2 or name != context.overrides.train_table:
        return None
    other = next((part for part in parts if sorted(part.header) != sorted(header)), None)
    if other is not None:
        raise context.stop(
            f"{parts[0].name} has the columns {list(header)[:6]}, {other.name} {list(other.header)[:6]}; tables named "
            "together must have the same: call them alike, or leave out those that the others lack"
        )
    ordered = (part.cells if part.header == header else map(part.column, header) for part in parts)
    cells = tuple(joined_texts(columns) for columns in zip(*ordered, strict=True))
    context.tables[name] = replace(parts[0], name=name, cells=cells)
    return context.tables[name]


def _speak_of_different_images(context: Context, tables: Sequence[Table]) -> bool:
    matches = [(find_matches(table, context.index, role=TRAIN)[0], table) for table in tables]
    found = [np.unique(images_of(match.template, table, context.index)) for match, table in matches]
    return len(np.unique(np.concatenate(found))) == sum(map(len, found))


def _say_less_than_folders(context: Context, tables: Sequence[Table]) -> bool:
    """Whether tables speak of validation images alone, or hold none of the sample's labels, and class folders do."""
    cells = set(context.sample_cells())
    held = all(context.role_of_table(table) == VALID for table in tables)
    told = (cells <= set(column.distinct()) for table in tables for column in reversed(table.cells))
    if not held and (not cells or any(told)):
        return False
    found = class_folder_table(context.index, level=folder_level(FOLDER))
    labels = set(found[0].column(LABEL_COLUMN).distinct()) if found is not None else set()
    return bool(labels) and (held or cells <= labels)


def _hopeful_table(context: Context, tables: Mapping[str, Table]) -> Table | None:
    """A table that calls itself the train table though few of its rows lead to images: the error shall be about it."""
    named = [table for table in tables.values() if context.role_of_table(table) == TRAIN or "label" in table.stem]
    return named[0] if len(named) == 1 and len(named[0].header) > 1 else None


def _is_train_table(context: Context, table: Table) -> bool:
    table = _pivoted(context, table)
    matches = find_matches(table, context.index, role="train")
    if not matches or matches[0].num_found < MIN_SHARE * table.num_rows:
        return False
    if _is_of_test_images(context, table, matches[0].template):
        return False
    choices = _choices(context, table, {matches[0].column})
    return bool(choices) and not (
        table.num_rows < len(context.index.names) / 2  # a table of the classes, whose numbers some images have too
        and all(len(columns) == 1 and table.column(columns[0]).all_distinct() for columns in choices)
    )


def _is_of_test_images(context: Context, table: Table, template: str) -> bool:
    """Whether all of its images lie in a folder called test, where another is called train: answers, given later."""
    roles = split_roles(context.folders())
    if not {TRAIN, TEST} <= set(roles.values()):
        return False
    found = images_of(template, table, context.index)
    paths = context.index.paths.take(np.unique(found[found >= 0]))
    return all(roles[path.rpartition("/")[0]] == TEST for path in paths)


def _choices(context: Context, table: Table, taken: set[str]) -> list[tuple[str, ...]]:
    names = context.asked()
    cells = context.sample_cells()
    parts = _part_columns(context, table)
    taken = taken | parts | (context.sample.id_columns if context.sample else set())
    fewer = WITHOUT_COLUMN in context.overrides.allow
    test_header = set(context.test_table.header) if context.test_table is not None else set()
    parted = context.test_table is not None and context.test_table.name == table.name
    labelled = context.sample is None and not parted and set(table.header) - parts <= test_header
    told = set() if labelled else context.test_columns()  # what varies among labelled test images says nothing
    choices: list[tuple[str, ...]] = []
    # test rows of one table may have labels too, and where no sample says what is asked, a test table's
    for shared in [told, *([set()] if parted or context.sample is None else [])]:
        sought = (taken | shared) - set(names)
        choices = choices or label_choices(table, names=names, cells=cells, taken=sought, fewer=fewer)
    return choices


def _part_columns(context: Context, table: Table) -> set[str]:
    """Columns that say of which part a row is, in the organiser's table or added to it: no labels."""
    own = context.tables[table.name]
    return part_columns(own) | ({PART_COLUMN} - set(own.header))


# -- long rows


def _pivoted(context: Context, table: Table) -> Table:
    """A train table with a row for each image and class, as one row an image with a 0/1 column for each class."""
    asked = set(context.long.suffixes) if context.long is not None else set()
    for column in table.header if asked and len(table.header) > 1 else ():
        apart = long_ids(Texts(dict.fromkeys(table.column(column))))
        if apart is not None and set(apart.suffixes) == asked:
            whole = find_matches(id_table(column, table.column(column)), context.index, role=TRAIN)
            if not whole or whole[0].num_found < MIN_SHARE * table.num_rows:  # else P01_0 is an image of its own
                return _wide(context, table, column, apart)
    return _of_grid(context, table)


def _wide(context: Context, table: Table, column: str, apart: LongIds) -> Table:
    rest = [other for other in table.header if other != column]
    values = [other for other in rest if all(cell in ("0", "1", "0.0", "1.0") for cell in table.column(other))]
    if len(values) != 1:
        raise context.stop(
            f"{table.name} has long ids in {column!r}; {len(values)} of its columns {rest} hold 0 and 1, must be 1: "
            "several targets an image, or numbers other than 0 and 1, cannot be learnt here"
        )
    cell_of: dict[str, str] = {}
    for row_id, cell in zip(table.column(column), table.column(values[0]), strict=True):
        if cell_of.setdefault(row_id, cell) != cell:
            context.problems.add("two labels for one id", row_id, f"keep one row of {row_id} in {table.name}")
    rows = (
        (prefix, *(cell_of[f"{prefix}{apart.separator}{suffix}"] for suffix in apart.suffixes))
        for prefix in apart.prefixes
    )
    return Table.of_rows(table.name, (column, *apart.suffixes), rows)


def _of_grid(context: Context, table: Table) -> Table:
    """The same for `id, class, 0 or 1`: every image with every class that the sample submission names."""
    if len(table.header) < MIN_GRID:
        return table
    distinct = {column: table.column(column).distinct() for column in table.header if column}
    ones = [column for column, cells in distinct.items() if len(cells) > 1 and holds_ones(cells)]
    for key, of_class in permutations(distinct, 2) if ones else ():
        ids, classes = distinct[key], distinct[of_class]
        if min(len(ids), len(classes)) < 2 or len(ids) * len(classes) != table.num_rows:
            continue
        for value in ones:
            if value in (key, of_class) or not _names_all(context, set(classes)):
                continue
            pairs = zip(table.column(key), table.column(of_class), strict=True)
            cell_of = dict(zip(pairs, table.column(value), strict=True))
            matches = find_matches(id_table(key, ids), context.index, role=TRAIN)
            if len(cell_of) == table.num_rows and matches and matches[0].num_found >= MIN_SHARE * len(ids):
                note = f"{table.name} has a row for each image and class, and {value!r} says 0 or 1"
                context.notes += [note] if note not in context.notes else []
                rows = ((row_id, *(cell_of[row_id, label] for label in classes)) for row_id in ids)
                return Table.of_rows(table.name, (key, *classes), rows)
    return table


def _names_all(context: Context, classes: set[str]) -> bool:
    """Whether the sample submission has a column for each of these, or writes some of them."""
    asked, cells = context.asked(), context.sample_cells()
    if len(asked) > 1:
        return classes_named(asked, sorted(classes)) is not None
    return any(
        cells and {part for cell in cells for part in split_list(cell, mark)} <= classes for mark in ("", *MARKS)
    )


# -- columns


def _train_match(context: Context, table: Table) -> tuple[Table, Match]:
    """The template of the training images, and the table, with their paths where the cells that name them repeat."""
    override = context.overrides.train_images
    if override != AUTO:
        found = images_of(override, table, context.index)
        return _with_paths(table, Match(override, column_of(override), int((found != MISSING).sum())))
    matches = find_matches(table, context.index, role=TRAIN)
    if not matches:
        raise context.stop(
            f"no column of {table.name} ({', '.join(table.header[:8])}) leads to an image; images are such as "
            f"{', '.join(context.index.names[:3])}; write where they are:",
            [setting_line("train_images", f"FOLDER/{{{table.header[0]}}}.jpg")],
        )
    asked = context.test_columns() | (context.sample.id_columns if context.sample else set())
    return _with_paths(table, only_match(context, matches, table, TRAIN, shared=asked))


def _with_paths(table: Table, match: Match) -> tuple[Table, Match]:
    """A column of paths, which are the ids, for `1.png` in several folders that another column names."""
    paths = [path or "" for path in paths_of(match.template, table)] if len(columns_of(match.template)) > 1 else []
    repeated = table.num_rows - len(table.column(match.column).distinct())
    if PATH_COLUMN in table.header or table.num_rows - len(set(paths)) >= repeated:
        return table, match
    return replace(table, header=(*table.header, PATH_COLUMN), cells=(*table.cells, Texts(paths))), match


def _labels(context: Context, table: Table, columns: tuple[str, ...], ids: Texts) -> Labels:
    """The labels of the rows. Raises ValueError where cells may be lists and may be names that share words."""
    delimiter = context.overrides.delimiter
    if len(columns) == 1 and not table.delimiter and delimiter == AUTO:
        cells = table.column(columns[0]).distinct()
        if holds_vectors(cells):
            raise context.stop(
                f"cells of {columns[0]!r} in {table.name}, such as {cells[0]!r}, hold a 0 or 1 for each class; which "
                "one stands for which class nobody says here: make it a 0/1 column for each class"
            )
        found = found_delimiter(cells, names=context.asked(), written=context.sample_cells())
        if found is None:
            raise _list_or_name(context, table, columns[0])
        delimiter = found or NONE
    return read_labels(context, table, columns, ids, delimiter=delimiter, told_apart=context.names_of_classes())


def _list_or_name(context: Context, table: Table, column: str) -> ValueError:
    """Asks which mark parts labels, if any: with how many labels these then are."""
    cells = table.column(column).distinct()
    lines = []
    marks = ("spaced", "brackets") if bracket_style(cells) else (*MARKS, *DOUBTFUL_MARKS)
    for mark in marks:
        if mark in BRACKETS or any(mark in cell for cell in cells):
            labels = sorted({label for cell in cells for label in split_list(cell, mark)})
            what = f"several labels an image: {len(labels):,}, such as {', '.join(labels[:3])}"
            lines.append(setting_line("delimiter", mark, what))
    lines.append(setting_line("delimiter", NONE, f"each cell is one label: {len(cells):,}"))
    return context.stop(
        f"cells of {column!r} in {table.name}, such as {', '.join(map(repr, cells[:3]))}, may be lists of labels and "
        "may be names that share words; choose one:",
        lines,
    )


def _labelled(context: Context, side: Side, labels: Labels) -> tuple[Side, Labels]:
    """The rows that have a label; the others are a problem that `labels` noted, and no training images."""
    filled = ~empty_rows(context, labels)
    if filled.all():
        return side, labels
    if not filled.any():
        raise context.stop(
            f"all {len(filled):,} cells of {', '.join(map(repr, labels.columns[:3]))} in {side.table.name} are empty; "
            "if the labels are elsewhere:",
            ["label: COLUMN", "train_table: FILE"],
        )
    context.left_out += side.members.take(~filled)
    return _with_rows(side, filled), labels.take(filled)


def _pictured(context: Context, side: Side, labels: Labels) -> tuple[Side, Labels]:
    """The rows that have an image, where the user lets the others go."""
    there = ~side.members.where("")
    if TRAIN_MISSING not in context.overrides.allow or there.all() or not there.any():
        return side, labels
    ids = side.ids.take(~there)
    context.warnings.append(
        f"{len(ids):,} rows of {side.table.name} have no image and are left out, such as {', '.join(ids[:3])}"
    )
    return _with_rows(side, there), labels.take(there)


def _note_other_folders(context: Context, side: Side, labels: Labels) -> None:
    """Warn of images in a folder that is called as another class than the table says."""
    for level in (-2, -3) if not labels.several else ():
        folders = [(member.split("/")[level : level + 1] or [""])[0] for member in side.members]
        if set(folders) != set(labels.classes):
            continue
        other = [at for at, (folder, label) in enumerate(zip(folders, labels.cells, strict=True)) if folder != label]
        if other:
            context.warnings.append(
                f"{len(other):,} of {len(folders):,} images lie in the folder of another class than {side.table.name} "
                f"says, such as {side.members[other[0]]} = {labels.cells[other[0]]!r}: the table counts"
            )


def _with_rows(side: Side, rows: np.ndarray) -> Side:
    """The side less all but these rows, (N,) bool."""
    return replace(side, table=side.table.take(rows), ids=side.ids.take(rows), members=side.members.take(rows))


def _rows_merged(context: Context, table: Table, id_column: str, columns: tuple[str, ...]) -> Table:
    """The table with one row for each id: rows of one id and label once, a row for each label as a list of them."""
    ids = table.column(id_column)
    if ids.all_distinct():
        return table
    table = _affirmed(context, table, id_column, columns)
    ids = table.column(id_column)
    said = [table.header.index(column) for column in dict.fromkeys((id_column, *columns))]
    first, kept = set(), []
    for row, cells in enumerate(table.rows()):
        own = tuple(cells[place] for place in said)
        if own not in first:
            first.add(own)
            kept.append(row)
        else:
            context.problems.add(
                "repeated row",
                f"{ids[row]} in {table.name}",
                "keep one of the rows, or have it done: competition.allow: [repeated row]",
            )
    table = table.take(np.array(kept))
    ids = table.column(id_column)
    if ids.all_distinct() or len(columns) > 1 or not _lists_asked(context, table.column(columns[0]), ids):
        return table
    at = table.header.index(columns[0])
    labels_of: dict[str, tuple[int, list[str]]] = {}
    for row, (row_id, label) in enumerate(zip(table.column(id_column), table.cells[at], strict=True)):
        labels_of.setdefault(row_id, (row, []))[1].append(label)
    known = set(table.cells[at].distinct())
    if len(known) > 1 and all(known == set(labels) for _, labels in labels_of.values()):
        raise context.stop(
            f"{table.name} has a row for each image and each of the {len(known)} labels in {columns[0]!r}, so that "
            "every image would have all of them; make it a row an image, with a 0/1 column for each class"
        )
    override = context.overrides.delimiter
    free = [mark for mark in MARKS if not any(mark in label for label in table.cells[at].distinct())]
    mark = override if override not in (AUTO, NONE, *BRACKETS) else free[0] if free else MARKS[0]
    merged = table.take(np.array([row for row, _ in labels_of.values()]))
    joined_cells = Texts(mark.join(dict.fromkeys(labels)) for _, labels in labels_of.values())
    columns_cells = [joined_cells if place == at else own for place, own in enumerate(merged.cells)]
    context.notes.append(f"{table.name} has a row for each label of an image: {len(labels_of):,} images")
    return replace(merged, cells=tuple(columns_cells), delimiter=mark)


def _affirmed(context: Context, table: Table, id_column: str, columns: tuple[str, ...]) -> Table:
    """The rows that say that an image has a label, where it has several and a 0/1 column says of which it has none.

    By the column's name; by any other it is a problem. An image without any label keeps a row, whose label is empty.
    """
    ids, cells = table.column(id_column), dict(zip(table.header, table.cells, strict=True))
    taken = {id_column, *columns} | _part_columns(context, table)
    flags = [column for column in cells if column not in taken and _says_both(cells[column])]
    if not flags or len(columns) > 1 or not _lists_asked(context, cells[columns[0]], ids):
        return table
    sure = [column for column in flags if PRESENT_WORDS & set(words_of(column))]
    flag = (sure or flags)[0]
    denied = np.array([cell.strip().lower() in NO for cell in cells[flag]])
    if not sure:
        for row in np.flatnonzero(denied).tolist():
            context.problems.add(
                MAY_LACK,
                f"{ids[row]} = {cells[columns[0]][row]!r}",
                f"{flag!r} of {table.name} is 0 there: if it says that the image lacks this label, take the row out; "
                f"if it says something else: competition.allow: [{MAY_LACK}]",
            )
        return table
    context.notes.append(
        f"the rows of {table.name} with 0 in {flag!r} say that the image lacks the label: {denied.sum():,} are left out"
    )
    labelled = set(ids.take(~denied))
    first_of = {row_id: row for row, row_id in reversed(list(enumerate(ids))) if row_id not in labelled}
    kept = ~denied
    kept[list(first_of.values())] = True
    labels = ["" if row in set(first_of.values()) else label for row, label in enumerate(cells[columns[0]])]
    cells[columns[0]] = Texts(labels)
    return replace(table, cells=tuple(cells.values())).take(kept)


def _says_both(cells: Texts) -> bool:
    """Whether a column holds yes and no, and nothing else."""
    said = {cell.strip().lower() for cell in cells.distinct()}
    return said <= YES | NO and bool(said & YES) and bool(said & NO)


def _lists_asked(context: Context, labels: Texts, ids: Texts) -> bool:
    """Whether several rows of one id mean several labels.

    The user says so; or many images have several rows, and the sample writes lists of labels or asks for a number for
    each class.
    """
    if context.overrides.target != AUTO:
        return context.overrides.target == "multi_label"
    if len(rows_of_equals(ids)) < MANY_REPEATED * len(ids.distinct()):
        return False
    if len(context.asked()) > 1:
        return True
    known = set(labels.distinct())
    lists = [cell for cell in context.sample_cells() if cell not in known]
    style = bracket_style(lists, known)
    marks = (style,) if style else tuple(mark for mark in MARKS if any(mark in cell for cell in lists))
    return any(all(set(split_list(cell, mark)) <= known for cell in lists) for mark in marks)


def _id_column(context: Context, table: Table, match: Match) -> str:
    override = context.overrides.id_column
    if override != AUTO:
        if override not in table.header:
            raise context.stop(f"competition.id_column is {override!r}; {table.name} has {list(table.header)}")
        return override
    if len(columns_of(match.template)) > 1 and table.header[-1] == PATH_COLUMN:
        return PATH_COLUMN
    if context.sample is not None and context.sample.id_column in table.header:
        return context.sample.id_column
    distinct = [column for column in table.header if column and table.column(column).all_distinct()]
    named = [column for column in distinct if column.lower() in ID_NAMES]
    if named or match.column in distinct or not distinct:
        return named[0] if named else match.column
    return distinct[0]


def _label_columns(context: Context, table: Table, taken: set[str], folders: Sequence[str]) -> tuple[str, ...]:
    """folders: columns that name image folders; one that is called as labels are goes before them."""
    override = context.overrides.label
    if override != AUTO:
        columns = (override,) if isinstance(override, str) else override
        unknown = [column for column in columns if column not in table.header]
        if unknown:
            raise context.stop(f"competition.label names {unknown}; {table.name} has {list(table.header)}")
        return columns
    choices = _choices(context, table, taken)
    _refuse_boxes(context, table, choices)
    of_ids = {part for name in set(table.header) - set(context.tables[table.name].header) for part in name.split("+")}
    choices = [columns for columns in choices if not of_ids.intersection(columns)] or choices  # `joint_ids`
    named = [columns for columns in choices if columns[0].lower() in LABEL_NAMES]
    if len(named) == 1 and all(columns == named[0] or columns[0] in folders for columns in choices):
        choices = named
    if not choices:
        choices = _choices_by_mapping(context, table, taken)
    choices = _with_numbered_twins(table, choices, taken)
    if not choices:
        raise _no_label_column(context, table, taken)
    if len(choices) > 1:
        ones = [column for (column, *_) in choices if holds_ones(table.column(column))]
        several = f"label: [{', '.join(written(column) for column in ones)}]    # each is a class, 1 where it is there"
        lines = [several] if len(ones) > 2 and context.sample is None else []
        last = [several] if len(ones) == 2 and context.sample is None else []
        for (column, *_), values in ((columns, table.column(columns[0]).distinct()) for columns in choices):
            lines.append(setting_line("label", column, f"{len(values)} values, such as {', '.join(values[:3])}"))
        raise context.stop(f"{len(choices)} columns of {table.name} could be the label; choose one:", lines + last)
    return choices[0]


def _refuse_boxes(context: Context, table: Table, choices: Sequence[tuple[str, ...]]) -> None:
    """Raise where the sample's column is called as boxes and outlines are, and holds no labels of the table's."""
    known = {label for columns in choices for cell in table.column(columns[0]).distinct() for label in cell.split("|")}
    named = {*table.header, *context.asked()} & {*table.header, *known}  # one of the classes may be called mask
    otherwise = [column for column in asks_otherwise(context.asked()) if column not in named]
    cells = context.sample_cells()
    written = ({label for cell in cells for label in split_list(cell, mark)} for mark in ("", *MARKS))
    if otherwise and not (cells and any(labels <= known for labels in written)):
        raise context.stop(
            f"the sample submission asks for {', '.join(map(repr, otherwise))}: boxes or outlines (detection, "
            f"segmentation), which cannot be learnt here. If labels alone are asked for, a column of {table.name} "
            f"({', '.join(table.header[:8])}) holds them; name it:",
            [setting_line("label", columns[0]) for columns in choices] or ["label: COLUMN"],
        )


def _no_label_column(context: Context, table: Table, taken: set[str]) -> ValueError:
    names = context.asked()
    taken = taken | (context.test_columns() - set(names))
    several = _several_answers(context, table, names, taken)
    if several:
        return context.stop(several)
    known = label_choices(table, names=names, cells=(), taken=taken, fewer=True) if len(names) > 1 else []
    if known:
        named = classes_named(names, table.column(known[0][0]).distinct(), fewer=True) or {}
        strange = [name for name, label in named.items() if not label]
        odd = f"; {', '.join(map(repr, strange[:3]))} of its columns is none of them: does it count from elsewhere?"
        return context.stop(
            f"the sample has columns for {len(names) - len(strange)} of the classes in {known[0][0]!r} of "
            f"{table.name}, not for all{odd if strange else ''}; choose one:",
            [setting_line("label", known[0][0], "each of them has a column, called otherwise")] * bool(strange)
            + [f"allow: [{WITHOUT_COLUMN}]    # the others are never written"],
        )
    free = [column for column in table.header if column and column not in taken] if len(names) == 1 else []
    called = f" that the sample submission calls {', '.join(map(repr, names[:5]))}" if names else ""
    return context.stop(
        f"unknown columns: no column of {table.name} ({', '.join(table.header[:12])}) could be the label{called}; name "
        "it:",
        [setting_line("label", column) for column in free[:8]] or ["label: COLUMN"],
    )


def _several_answers(context: Context, table: Table, names: Sequence[str], taken: Collection[str]) -> str:
    """What speaks for several answers an image, where the sample's columns are no classes; '' for nothing."""
    if context.sample is None or context.long is not None or len(names) < 2:
        return ""
    known = {label for column in table.header if column not in taken for label in table.column(column).distinct()}
    words = {
        name: {cell for cell in context.sample.table.column(name).distinct() if not is_number(cell)} for name in names
    }
    told = [name for name in names if words[name] & known]
    called = ", ".join(map(repr, names[:5]))
    if told and all(words.values()):
        return (
            f"the sample asks for {called}, and writes labels there ({', '.join(sorted(words[told[0]])[:3])}): several "
            "guesses, one a column, or several targets cannot be written here"
        )
    if told or len(set(names) & set(table.header)) == 1:
        return (
            f"the sample asks for {called}: several answers an image, such as a label and its probability, cannot be "
            "written here. Take all columns but one out of the sample, and put them back before you upload"
        )
    return ""


def _with_numbered_twins(table: Table, choices: list[tuple[str, ...]], taken: Collection[str]) -> list[tuple[str, ...]]:
    """One choice and those called so but for a number, whose labels are among its own: `label1`, `label2`."""
    if len(choices) != 1 or len(choices[0]) != 1:
        return choices
    (chosen,) = choices[0]
    stem, labels = re.sub(r"\d+", "", chosen), set(table.column(chosen).distinct())
    twins: list[tuple[str, ...]] = [
        (column,)
        for column in table.header
        if column != chosen
        and column not in taken
        and re.sub(r"\d+", "", column) == stem
        and set(table.column(column).distinct()) - {""} <= labels
    ]
    return choices + twins if re.search(r"\d", chosen) else choices


def _choices_by_mapping(context: Context, table: Table, taken: Collection[str]) -> list[tuple[str, ...]]:
    """The columns whose labels some file calls as the sample's columns are called."""
    names = context.asked()
    found: list[tuple[str, ...]] = []
    for column in table.header if len(names) > 1 else ():
        labels = table.column(column).distinct() if column and column not in taken else []
        if 1 < len(labels) <= len(names):
            ways = class_mappings(context.archive, context.tables, labels).values()
            if any(classes_named(names, list(way.values())) for few in ways for way in few):
                found.append((column,))
    return found


# -- without a table


def _tableless_side(context: Context) -> tuple[Side, Labels]:
    """Labels from class folders, else from file names."""
    table, source = _labels_of_names(context)
    root = table.name
    paths = table.column(PATH_COLUMN)
    ids = Texts(path.removeprefix(root + "/") if root else path for path in paths)
    odd = {label for label in table.column(LABEL_COLUMN).distinct() if label.lower() in (*MISSING_WORDS, *MINUS_ONE)}
    names = context.names_of_classes() | odd  # a folder called none is no missing label
    labels = read_labels(context, table, (LABEL_COLUMN,), ids, delimiter=NONE, told_apart=names)
    named = "file names" if folder_level(source) is None else f"class folders ({source})"
    if PART_COLUMN in table.header:
        held = int(table.column(PART_COLUMN).where(VALID).sum())
        context.notes.append(
            f"{held:,} labelled validation images are used for training too; split.fold_column: part keeps them apart"
        )
    context.notes.append(f"labels: from {named} under {root or 'the top folder'}, {len(ids):,} images")
    context.settings |= {"train_table": NONE, "label": source, "train_images": root or AUTO}
    context.settings |= {"id_column": AUTO, "delimiter": NONE}
    return Side(table, PATH_COLUMN, ids, paths), labels


def _labels_of_names(context: Context) -> tuple[Table, str]:
    """(table of paths and labels, what `competition.label` says of it)."""
    label, root = context.overrides.label, context.overrides.train_images
    pattern = label if isinstance(label, str) and NAMED_LABEL in label else AUTO
    index, level = without_asked(context.index, asked_images(context)), folder_level(label)
    index = index.without(index.used_by(context.twins))
    if pattern == AUTO:
        columns = context.asked()
        asked = context.sample.cells() if context.sample and len(columns) == 1 else set(columns)
        try:
            found = class_folder_table(index, root, level=level, asked=asked)
        except SeveralLevelsError as error:
            raise context.stop(
                str(error), [setting_line("label", *choice.split("    # ")) for choice in error.choices]
            ) from error
        if found is not None:
            paths, labels = found[0].column(PATH_COLUMN), found[0].column(LABEL_COLUMN)
            if label == AUTO and pictures_and_targets(labels, paths, context.names_of_classes()):
                raise context.stop(
                    f"the folders {', '.join(sorted(set(labels))[:3])} hold images of the same {len(paths) // 2:,} "
                    "names: pictures and what is to be drawn of them (segmentation), which cannot be learnt here. If "
                    "the folders are classes:",
                    [setting_line("label", found[1])],
                )
            return found
    if level is None:
        table = file_name_table(index, pattern, root)
        if table is not None:
            return table, pattern
    names = sorted(context.tables)
    closed = {kind: files for kind, files in undecoded_files(context.archive).items() if kind.several}
    may_hold = f" {counted_line(closed)} may hold them and cannot be read: save them as CSV;" if closed else ""
    flat = [
        name for name, table in context.tables.items() if ".json" not in name or context.role_of_table(table) == TEST
    ]
    hints = (beside_line(context.archive, context.index), naming_line(context.archive, context.index, flat))
    may_hold += "".join(f" {hint};" for hint in (*hints, _of_groups(context)) if hint)
    sides = [name for name in context.index.names if beside_images(name)]
    if sides:
        may_hold += f" {len(sides):,} images, such as {sides[0]}, are outlines by their folder's name (segmentation);"
    raise context.stop(
        f"no labels found: its {len(names)} tables are {names[:5]}, none leads to images and has a label column; "
        f"no class folders and no labels in file names among {len(context.index.names):,} images such as "
        f"{', '.join(context.index.names[:3])};{may_hold} say where the labels are, in one of these ways:",
        ["train_table: FILE", "label: COLUMN", "label: folder", *_likely_patterns(index, root)],
    )


def _of_groups(context: Context) -> str:
    """Says that labels are of groups of images (sequences, patients), as a table has it; '' where none are."""
    tables = [table for table in context.tables.values() if context.role_of_table(table) != TEST]
    leading = [table for table in tables if _leads(context, table)]
    for one, other in product(tables, leading):
        for key in set(one.header) & set(other.header) - {""} if len(one.header) > 1 else ():
            ids, cells = one.column(key), other.column(key)
            if ids.all_distinct() and not cells.all_distinct() and set(cells.distinct()) <= set(ids):
                return (
                    f"{key!r} of {one.name}, where the labels are, stands in {other.name} for {len(cells):,} images "
                    f"in {len(ids):,} rows: labels and answers are of several images each, which cannot be learnt "
                    f"here; if each image has the label of its row, put it into a column of {other.name}"
                )
    return ""


def _leads(context: Context, table: Table) -> bool:
    matches = find_matches(table, context.index, role=TRAIN)
    return bool(matches) and matches[0].num_found >= MIN_SHARE * table.num_rows


def _likely_patterns(index: ImageIndex, root: str) -> list[str]:
    """Lines for patterns by which a part of every file's name is a label that comes again; else one as an example."""
    lines = []
    whole = file_name_table(index, "(?P<label>.*)", root)
    for pattern in NAME_PARTS if whole is not None else ():
        table = file_name_table(index, pattern, root)
        if whole is not None and table is not None and table.num_rows == whole.num_rows:
            labels = table.column(LABEL_COLUMN).distinct()
            if 1 < len(labels) <= MAX_PART * table.num_rows:
                lines.append(setting_line("label", pattern, f"{len(labels)} labels: {', '.join(labels[:3])}"))
    return lines or ["label: '^(?P<label>[a-z]+)_'"]
