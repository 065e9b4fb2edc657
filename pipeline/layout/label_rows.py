"""Train tables with several rows for an image: one for each class, or for each label that it has."""

from collections.abc import Collection
from dataclasses import replace
from itertools import permutations

import numpy as np

from pipeline.base.texts import Texts, rows_of_equals
from pipeline.competition.lists import BRACKETS, MARKS, bracket_style, parts_by_mark, split_list
from pipeline.layout.context import Context
from pipeline.layout.labels import holds_ones
from pipeline.layout.other_tasks import outline_columns
from pipeline.layout.sample_submission import LongIds, classes_named, long_ids
from pipeline.tables.asked import lead_for_most
from pipeline.tables.image_paths import find_matches
from pipeline.tables.table import AUTO, NO, NONE, YES, Table, id_table
from pipeline.tables.words import TRAIN, words_of

MANY_REPEATED = 0.25  # of the ids: more than slips of an annotator
MAY_LACK = "row that may lack its label"
PRESENT_WORDS = {"confidence", "present", "presence", "exists"}  # of a 0/1 column beside labels: whether they are there
MIN_GRID = 3  # columns of a row for each image and class


def pivoted(context: Context, table: Table) -> Table:
    """A train table with a row for each image and class, as one row an image with a 0/1 column for each class."""
    asked = set(context.long.suffixes) if context.long is not None else set()
    for column in table.header if asked and len(table.header) > 1 else ():
        apart = long_ids(Texts(dict.fromkeys(table.column(column))))
        if apart is not None and set(apart.suffixes) == asked:
            whole = find_matches(id_table(column, table.column(column)), context.index, role=TRAIN)
            if not lead_for_most(whole, table.num_rows):  # else P01_0 is an image of its own
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
            if len(cell_of) == table.num_rows and lead_for_most(matches, len(ids)):
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
    return bool(cells) and any(parts <= classes for parts in parts_by_mark(cells))


def rows_merged(
    context: Context, table: Table, id_column: str, columns: tuple[str, ...], parts: Collection[str]
) -> Table:
    """The table with one row for each id: rows of one id and label once, a row for each label as a list of them."""
    ids = table.column(id_column)
    if ids.all_distinct():
        return table
    boxes = outline_columns(table)
    if boxes and context.overrides.target == AUTO and not _lists_asked(context, table.column(columns[0]), ids):
        raise context.stop(
            f"{table.name} has {table.num_rows:,} rows for {len(ids.distinct()):,} images, with boxes or outlines "
            f"({', '.join(boxes[:4])}): detection and segmentation cannot be learnt here. If all classes of an image "
            "are asked for:",
            ["target: multi_label"],
        )
    table = _affirmed(context, table, id_column, columns, parts)
    ids = table.column(id_column)
    said = [table.header.index(column) for column in dict.fromkeys((id_column, *columns))]
    first, kept = set(), []
    for row, cells in enumerate(table.rows()):
        own = tuple(cells[place] for place in said)
        if own not in first:
            first.add(own)
            kept.append(row)
        elif not boxes:  # else another box of the same class
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


def _affirmed(
    context: Context, table: Table, id_column: str, columns: tuple[str, ...], parts: Collection[str]
) -> Table:
    """The rows that say that an image has a label, where it has several and a 0/1 column says of which it has none.

    By the column's name; by any other it is a problem. An image without any label keeps a row, whose label is empty.
    """
    ids, cells = table.column(id_column), dict(zip(table.header, table.cells, strict=True))
    taken = {id_column, *columns, *parts}
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
    kept, bare = ~denied, set(first_of.values())
    kept[list(bare)] = True
    cells[columns[0]] = Texts("" if row in bare else label for row, label in enumerate(cells[columns[0]]))
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
