"""A sample submission that is not called so, known by what it holds: ids of images to predict, and cells to fill in."""

from collections.abc import Collection, Mapping

import numpy as np

from pipeline.base.texts import Texts
from pipeline.competition.problems import setting_line
from pipeline.layout.context import Context
from pipeline.tables.asked import lead_for_most
from pipeline.tables.image_paths import find_matches, holds_file_names, images_of
from pipeline.tables.table import AUTO, NONE, Table, counts_rows, without_index
from pipeline.tables.words import TEST, TRAIN, VALID, role_of, split_roles, words_of

FORM_WORDS = {"template", "sample", "format", "example", "sheet", "form"}  # beside `test`: no table of test images
MAX_LABELS = 0.5  # distinct cells of a column, of its rows: more are no labels


def unnamed_sample(context: Context) -> str | None:
    """The one table that must be the sample submission, which is said in a note; None for none.

    Raises ValueError where several may be it, or one whose cells are numbers that may say something else.
    """
    if context.overrides.sample != AUTO:
        return None
    found = {name: _images(context, table) for name, table in context.tables.items()}
    images = {name: numbers for name, numbers in found.items() if numbers is not None}
    forms = [table for name, table in context.tables.items() if name in images and _may_be(context, table)]
    is_sure = {table.name: _is_form(context, table, images) for table in forms}
    sure, doubtful = ([name for name, own in is_sure.items() if own is kind] for kind in (True, False))
    if len(sure) == 1:
        context.notes.append(f"{sure[0]} is taken for the sample submission, as it holds one; else: competition.sample")
        return sure[0]
    if not sure and not doubtful:
        return None
    choices = [setting_line("sample", name) for name in sure or doubtful]
    raise context.stop(
        f"no file is named like a sample submission, and {len(choices)} may be one; choose one:",
        [*choices, setting_line("sample", NONE, "its columns are then a guess")],
    )


def _may_be(context: Context, table: Table) -> bool:
    """Whether a table is not the train or test table by its name; in a test folder, it has one answer for all."""
    role, words = context.role_of_table(table), words_of(table.stem)
    is_wished = table.name in (context.overrides.train_table, context.overrides.test_table)
    same = any(len(cells.distinct()) == 1 for cells in table.cells) and table.num_rows > 1
    is_form = bool(FORM_WORDS & set(words)) or (role_of(table.stem) is None and len(table.header) == 2 and same)
    return not is_wished and (role is None or (role == TEST and is_form))


def _images(context: Context, table: Table) -> np.ndarray | None:
    """Numbers of the images that a table speaks of, sorted; None where it speaks of something else."""
    table = without_index(table)
    matches = find_matches(table, context.index, role=TEST)
    matches = [match for match in matches if holds_file_names(table.column(match.column))] or matches
    if not lead_for_most(matches, table.num_rows):
        return None
    found = images_of(matches[0].template, table, context.index)
    return np.unique(found[found >= 0])


def _is_form(context: Context, table: Table, images: Mapping[str, np.ndarray]) -> bool | None:
    """Whether its ids are those of images outside training, and its other cells are to be filled in.

    False where these are one number that may say something else; None for no.
    """
    columns = [cells for cells in without_index(table).cells if not counts_rows(cells)]
    values = [cells for cells in columns if not cells.all_distinct() or table.num_rows == 1]
    if len(values) == len(columns) or not values:
        return None
    constant = all(len(cells.distinct()) == 1 for cells in values)
    if not _is_to_predict(context, table, images, constant=constant):
        return None
    labels = _labels(context, [name for name in images if name != table.name])
    if all(_is_filled_in(cells.distinct(), labels) for cells in values):
        return True
    return False if constant else None


def _is_filled_in(cells: Texts, labels: Collection[str]) -> bool:
    """Whether a column's distinct cells are labels, probabilities, or one text for all."""
    found = {cell.strip() for cell in cells} - {""}
    numbers = [_number(cell) for cell in found]
    is_text = len(found) == 1 and None in numbers
    return is_text or found <= set(labels) or all(number is not None and 0 <= number <= 1 for number in numbers)


def _number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None


def _is_to_predict(context: Context, table: Table, images: Mapping[str, np.ndarray], *, constant: bool) -> bool:
    """Whether the table's images lie in a test folder, or outside the training one, or another table has the labels."""
    folders = [path.rpartition("/")[0] for path in context.index.paths]
    roles = split_roles(dict.fromkeys(folders))
    own = {roles[folders[number]] for number in images[table.name].tolist()}
    if TEST in own and own <= {TEST, VALID}:
        return True
    if TEST in roles.values():
        return False  # pictures of the classes, beside `test`
    if TRAIN in roles.values() and TRAIN not in own:
        return True
    others = [name for name in images if name != table.name and role_of(context.tables[name].stem) != TEST]
    apart = [name for name in others if not np.intersect1d(images[name], images[table.name]).size]
    return constant and any(_labels(context, [name]) for name in apart)


def _labels(context: Context, tables: Collection[str]) -> set[str]:
    """Cells of columns that may be labels of these tables, and the names of folders where there is no table."""
    labels = set()
    for name in tables:
        for cells in context.tables[name].cells:
            distinct = cells.distinct()
            if 1 < len(distinct) <= MAX_LABELS * len(cells):
                labels |= set(distinct)
    return labels | {part for folder in context.folders() if not tables for part in folder.split("/")}
