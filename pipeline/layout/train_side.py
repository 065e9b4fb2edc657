"""The training side of a competition: its table, the id and label columns, and the image of each row."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from itertools import product

import numpy as np

from pipeline.base.texts import Texts, joined_texts
from pipeline.competition.lists import (
    BRACKETS,
    DOUBTFUL_MARKS,
    MARKS,
    bracket_style,
    found_delimiter,
    holds_vectors,
    parts_by_mark,
    split_list,
)
from pipeline.competition.problems import setting_line, written
from pipeline.competition.schema import LabelSets, label_cell
from pipeline.competition.spelling import is_number, rules_for
from pipeline.layout.class_mappings import class_mappings
from pipeline.layout.context import (
    LABEL_STEM,
    TRAIN_MISSING,
    Context,
    Side,
    checked_ids,
    members_of,
    named_table,
    near_miss,
    only_match,
)
from pipeline.layout.label_rows import pivoted, rows_merged
from pipeline.layout.labels import (
    LABEL_NAMES,
    OF_NO_COLUMN,
    WITHOUT_COLUMN,
    Labels,
    empty_rows,
    holds_ones,
    label_choices,
    read_labels,
    says_nothing,
)
from pipeline.layout.other_tasks import asks_otherwise, box_columns, holds_outlines, outline_columns
from pipeline.layout.path_labels import (
    FOLDER,
    LABEL_COLUMN,
    PART_COLUMN,
    PATH_COLUMN,
    class_folder_table,
    file_name_table,
    folder_level,
)
from pipeline.layout.sample_submission import classes_named
from pipeline.layout.tableless import NAMED_LABEL, folders_of_several, leads_to_images, tableless_side
from pipeline.tables.asked import lead_for_most
from pipeline.tables.image_paths import (
    MISSING,
    Match,
    column_of,
    columns_of,
    find_matches,
    holds_file_names,
    images_of,
    paths_of,
)
from pipeline.tables.table import AUTO, NONE, Table, joined, part_columns
from pipeline.tables.words import NEUTRAL, TEST, TRAIN, VALID, is_all_role, rest_of, words_of

ID_NAMES = ("id", "image_id")  # of the id column, where the sample submission calls it otherwise
AND = " + "  # between tables that the user names together


def training_side(context: Context, tables: Mapping[str, Table]) -> tuple[Side, Labels]:
    """The training images and their labels.

    tables: those that may speak of training images. Raises ValueError where labels are nowhere or in two places.
    """
    others = {name: table for name, table in tables.items() if table is not context.test_table}
    others = _with_labels_of_groups(context, _with_named_files(context, others))
    table = _train_table(context, others)
    if table is None:
        return tableless_side(context)
    table, named = _with_validation(context, pivoted(context, table), others)
    table, match = _train_match(context, table)
    id_column = _id_column(context, table, match)
    table = joined(table, _about(table, id_column, others), id_column)
    columns = _label_columns(context, table, {id_column, match.column, *named}, columns_of(match.template))
    table = rows_merged(context, table, id_column, columns, _part_columns(context, table))
    ids = checked_ids(context, table.column(id_column), table.name)
    labels = _labels(context, table, columns, ids)
    _refuse_class_list(context, table, labels)
    side = members_of(context, Side(table, id_column, ids), match.template, "train", context.index)
    side, labels = _labelled(context, *_pictured(context, side, labels))
    _refuse_beside_names(context, side, labels)
    _note_other_folders(context, side, labels)
    context.settings |= {
        "train_table": table.name,
        "id_column": id_column,
        "label": columns[0] if len(columns) == 1 and folder_level(columns[0]) is None else list(columns),
        "delimiter": labels.delimiter or NONE,
    }
    context.notes.append(
        f"train table: {table.name}, {len(ids):,} rows; id column {id_column!r}, images {match.template}"
    )
    return side, labels


def _with_labels_of_groups(context: Context, tables: Mapping[str, Table]) -> dict[str, Table]:
    """The tables; one of images, of which a column comes again (their patient), with the label that another has for
    each of its cells, where the sample or the user asks for a column that no table of images has.
    """
    label = context.overrides.label
    asked = {*context.asked()} if label == AUTO else {label} if isinstance(label, str) else {*label}
    having = {name: table for name, table in tables.items() if asked and asked <= {*table.header}}
    pairs_of = {
        name: [
            (other, key, column)
            for other, key in product(having.values(), table.header)
            if (column := _column_said(table, key, other))
        ]
        for name, table in tables.items()
        if name not in having
    }
    led = {name for name, table in having.items() if any(pairs_of.values()) and leads_to_images(context, table)}
    least = len(context.index.names) / 2  # rows: numbers of classes may lead to images too
    are_images = any(having[name].num_rows >= least for name in led)
    found = dict(tables)
    for name, pairs in pairs_of.items():
        pairs = [(other, key, column) for other, key, column in pairs if key != column or not are_images]
        if pairs and leads_to_images(context, tables[name]):
            other, key, column = pairs[0]
            found[name] = whole = _joined_by(tables[name], other, key, column)
            if whole is not tables[name]:
                context.notes.append(f"images of {name} have the {', '.join(sorted(asked))} of their {key!r}")
                if other.name in led:
                    del found[other.name]
    return found


def _column_said(table: Table, key: str, other: Table) -> str:
    """The column of `other` whose rows say more of what `key` names: several images' patient, a breed; '' for none."""
    if key in other.header:
        return "" if table.column(key).all_distinct() else key
    return next(iter(_columns_of(table, key, other)), "")


def _joined_by(table: Table, other: Table, key: str, column: str) -> Table:
    """The table with the columns of `other`, of which `column` has what `key` of the table names."""
    header = tuple(key if name == column else name for name in other.header)
    return joined(table, [replace(other, header=header)], key)


def _about(table: Table, id_column: str, others: Mapping[str, Table]) -> list[Table]:
    """The other tables, less those whose rows another column of the table names: `id` of breeds.csv is its breed_id."""
    found = [other for other in others.values() if other.name != table.name]
    keys = [key for key in table.header if key != id_column]
    return [other for other in found if not any(_columns_of(table, key, other) for key in keys)]


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


def _with_validation(context: Context, table: Table, others: Mapping[str, Table]) -> tuple[Table, set[str]]:
    """(the train table and, below it, the one of labelled validation images, told apart by a column `part`; columns of
    ids that begin anew in each).

    Only where it has the same columns and all rows lead to images; else the table alone.
    """
    held = [
        other for other in others.values() if context.role_of_table(other) == VALID and other.header == table.header
    ]
    if len(held) > 1:  # images_family_val.txt and images_variant_val.txt
        held = [other for other in held if rest_of(other.stem) == rest_of(table.stem)]
    if len(held) != 1 or held[0].name == table.name or PART_COLUMN in table.header:
        return table, set()
    parts = Texts([table.stem] * table.num_rows + [held[0].stem] * held[0].num_rows)
    cells = [joined_texts(pair) for pair in zip(table.cells, held[0].cells, strict=True)]
    whole, named = replace(table, header=(*table.header, PART_COLUMN), cells=(*cells, parts)), set[str]()
    matches = find_matches(whole, context.index, role=TRAIN)
    if not matches or matches[0].num_found < whole.num_rows or not whole.column(matches[0].column).all_distinct():
        paths, named = _paths_in_parts(context, {TRAIN: table, VALID: held[0]})
        own = PATH_COLUMN in table.header  # of lists, whose paths are those below the folder of each
        if not paths or (own and named != {PATH_COLUMN}):
            return table, set()
        place = whole.header.index(PATH_COLUMN) if own else len(whole.header)
        header = (*whole.header[:place], PATH_COLUMN, *whole.header[place + own :])
        cells = [*whole.cells[:place], paths, *whole.cells[place + own :]]
        whole, named = replace(whole, header=header, cells=tuple(cells)), named - {PATH_COLUMN}
    context.notes.append(
        f"{held[0].num_rows:,} labelled validation images of {held[0].name} are used for training too; "
        f"split.fold_column: {PART_COLUMN} keeps them apart"
    )
    return whole, named


def _paths_in_parts(context: Context, parts: Mapping[str, Table]) -> tuple[Texts, set[str]]:
    """(the image of each row, of tables whose ids begin anew in each; columns of these ids); nothing where they do not
    lead to images of their own.

    parts: role -> the table of that part.
    """
    own = [PATH_COLUMN] if all(PATH_COLUMN in table.header for table in parts.values()) else []
    best = [find_matches(table, context.index, role=role, columns=own)[:1] for role, table in parts.items()]
    pairs = [(match, table) for found, table in zip(best, parts.values(), strict=True) for match in found]
    numbers = np.concatenate(
        [np.empty(0, int), *(images_of(match.template, table, context.index) for match, table in pairs)]
    )
    if len(pairs) < len(parts) or (numbers < 0).any() or len(np.unique(numbers)) < len(numbers):
        return Texts(), set()
    return context.index.paths.take(numbers), {match.column for match, _ in pairs}


def _train_table(context: Context, tables: Mapping[str, Table]) -> Table | None:
    """The table that has both labels and images; None where labels must come from folders or names."""
    label = context.overrides.label
    if context.overrides.train_table == NONE or folder_level(label) is not None or NAMED_LABEL in label:
        return None
    if context.overrides.train_table != AUTO:
        named = _of_parts(context, tables) or named_table(context, tables, "train_table")
        wholes, doubts = _with_files(context, tables, [named])
        if doubts:
            raise context.stop(doubts[0])
        return wholes[0] if wholes else named
    usable = [table for table in tables.values() if _is_train_table(context, table)]
    if not usable:
        wholes, doubts = _with_files(context, tables, list(tables.values()))
        usable = [table for table in wholes if _is_train_table(context, table)]
        if doubts and not usable:
            raise context.stop(doubts[0])
    usable = _with_named_label(context, tables, usable)
    if usable and _say_less_than_folders(context, usable):
        return None
    _refuse_to_pass_over(context, tables, usable)
    usable = _less_answers(context, _less_sums(context, tables, usable))
    asked, fuller = set(context.asked()), [table.name for table in usable if _says_more(table, usable)]
    for fits in (
        lambda table: bool(asked) and asked <= set(pivoted(context, table).header),
        lambda table: context.role_of_table(table) == TRAIN or table.name in fuller,
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


def _with_files(context: Context, tables: Mapping[str, Table], some: Sequence[Table]) -> tuple[list[Table], list[str]]:
    """(those of `some` that lead to no images, with the columns of the one table that has all their ids, and does; what
    is said of those of which several columns are such ids, and lead to different images).
    """
    unled = [table for table in some if _led(context, table) is None]
    files = [table for table in tables.values() if _led(context, table) is not None] if unled else []
    found = [_with_files_of(context, table, files) for table in unled]
    return [whole for wholes, _ in found for whole in wholes], [doubt for _, doubt in found if doubt]


def _with_named_files(context: Context, tables: Mapping[str, Table]) -> dict[str, Table]:
    """The tables; one without files that names each row of one with files, by a column of its name or by what they are
    (`image_id` of images.csv), with that one's columns.

    Though its numbers may lead to images: the first annotation is not the first image, nor number 7 the file 7.png.
    """
    stated = {*columns_of(context.overrides.train_images)}
    files = [table for table in tables.values() if _names_files(table)] if len(tables) > 1 else []

    def leads(table: Table) -> bool:  # stated: most rows of a table with test images too may lead elsewhere
        return bool(stated and stated <= {*table.header}) or _led(context, table) is not None

    found = dict(tables)
    for name, table in tables.items():
        keys = () if any(table is other for other in files) else table.header
        named = [
            other
            for other in files
            if any(_columns_of(table, key, other) or _has_all(other, key, table.column(key)) for key in keys)
        ]
        for whole in _with_files_of(context, table, list(filter(leads, named)))[0]:
            found[name] = whole
    return found


def _names_files(table: Table) -> bool:
    return any(map(holds_file_names, table.cells))


def _with_files_of(context: Context, table: Table, files: Sequence[Table]) -> tuple[list[Table], str]:
    """(the table with the columns of the one that has its files, or none; why not, where two columns tell of them)."""
    found: dict[bool, dict[str, tuple[Table, bytes]]] = {True: {}, False: {}}  # what is said -> table, images
    for other, key in product(files, table.header):
        for column in _columns_of_ids(table, key, other):
            whole = _joined_by(table, other, key, column)
            match = _led(context, whole) if whole is not table else None
            if match is not None:
                numbers = images_of(match.template, whole, context.index)
                said = f"{key!r} of {table.name} is {column!r} of {other.name}"
                found[_is_of(other, key, column)][said] = whole, numbers.tobytes()
    best = found[True] or found[False]
    if len({numbers for _, numbers in best.values()}) > 1:
        said = f"{' or '.join(best)}: that leads to different images; leave but one of these columns in {table.name}"
        return [], said
    return [whole for whole, _ in best.values()][:1], ""


def _columns_of_ids(table: Table, key: str, other: Table) -> list[str]:
    """The columns of `other` that may hold what `key` of the table names: the one of its name, else by what it is of.

    Of another name altogether it must be no number, and name every row once: numbers stand among any others.
    """
    if key in other.header:
        return [key]
    own = table.column(key)
    is_name = own.all_distinct() and not all(map(is_number, own))
    return _columns_of(table, key, other) or (
        [name for name in other.header if _has_all(other, name, own)] if is_name else []
    )


def _columns_of(table: Table, key: str, other: Table) -> list[str]:
    """The columns whose rows `key` of the table names by what they are of: `image_id` the `id` of images.csv."""
    if key in other.header:
        return []
    return [name for name in other.header if _is_of(other, key, name) and _has_all(other, name, table.column(key))]


def _has_all(table: Table, column: str, cells: Texts) -> bool:
    """Whether the column has a row for each of these, and none twice; False where there is no such column."""
    return (
        column in table.header
        and table.column(column).all_distinct()
        and {*cells.distinct()} <= {*table.column(column)}
    )


def _is_of(table: Table, key: str, column: str) -> bool:
    """Whether a key names rows of the table by its column: `image_id` those of images.csv by `id`."""
    own = set(words_of(table.stem))
    return any(word in own or f"{word}s" in own for word in words_of(key) if word not in words_of(column))


def _less_answers(context: Context, usable: list[Table]) -> list[Table]:
    """Less tables that are what the sample is, with answers: of its header and ids, if other tables have labels too."""
    sample, ids = context.sample, set(context.sample_ids())
    if sample is None or len(usable) < 2:
        return usable

    def is_answer(table: Table) -> bool:
        named = table.header == sample.header and sample.id_column in table.header
        return named and set(table.column(sample.id_column)) == ids

    return [table for table in usable if not is_answer(table)] or usable


def _says_more(table: Table, others: Sequence[Table]) -> bool:
    """Whether it has all rows of another of these tables, and more."""
    like = [other for other in others if other.header == table.header and other.num_rows < table.num_rows]
    return any(set(other.rows()) < set(table.rows()) for other in like)


def _less_sums(context: Context, tables: Mapping[str, Table], usable: list[Table]) -> list[Table]:
    """Less tables that have the rows of another and of one of validation images, and no more: `trainval.txt`."""
    held = [table for table in tables.values() if context.role_of_table(table) == VALID] if len(usable) > 1 else []
    rows = {table.name: set(table.rows()) for table in (*usable, *held)} if held else {}

    def is_sum(whole: Table) -> bool:
        return any(
            one.header == other.header == whole.header
            and other is not whole
            and rows[one.name] < rows[whole.name] == rows[one.name] | rows[other.name]
            for one, other in product(usable, held)
        )

    return [table for table in usable if not is_sum(table)]


def _with_named_label(context: Context, tables: Mapping[str, Table], usable: list[Table]) -> list[Table]:
    """The tables of images with the columns that the user names as the label, where no usable one has them."""
    label = context.overrides.label
    named = {label} if isinstance(label, str) else set(label)
    own = [table for table in usable if named <= set(table.header)]
    if label == AUTO or own:
        return own or usable
    having = [table for table in tables.values() if named <= set(table.header)]
    return [table for table in having if leads_to_images(context, table)] or usable


def _refuse_to_pass_over(context: Context, tables: Mapping[str, Table], usable: Sequence[Table]) -> None:
    """Raise where no table with labels is called as training data is, and one without, and with more than ids, is."""
    if not usable or context.overrides.label != AUTO or any(context.role_of_table(table) == TRAIN for table in usable):
        return
    known = {column for table in usable for column in table.header} | context.test_columns()
    for table in tables.values():
        matches = find_matches(table, context.index, role=TRAIN) if is_all_role(table.stem) else []
        own = [column for column in table.header if column and column not in known]
        if context.role_of_table(table) == TRAIN and matches and set(own) - {matches[0].column}:
            lines = [setting_line("train_table", other.name) for other in usable]
            raise context.stop(
                f"{table.name} names images and has no column that could be the label ({', '.join(own[:4])}); "
                f"{', '.join(other.name for other in usable[:3])} may have one. Texts, numbers and outlines cannot be "
                "learnt here; if the labels are elsewhere, say where:",
                [*lines, *(setting_line("label", column) for column in own if column != matches[0].column)],
            )


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
    labels = _names_of_class_folders(context)
    by_rule = not says_nothing(cells)
    written = (own <= labels or (by_rule and bool(rules_for(own, labels))) for own in parts_by_mark(cells))
    return bool(labels) and (held or any(written))


def _names_of_class_folders(context: Context) -> set[str]:
    """The labels that the folders next to the images would give; nothing where these are no classes."""
    found = class_folder_table(context.index, level=folder_level(FOLDER))
    return set(found[0].column(LABEL_COLUMN).distinct()) if found is not None else set()


def _hopeful_table(context: Context, tables: Mapping[str, Table]) -> Table | None:
    """A table that calls itself the train table though few of its rows lead to images: the error shall be about it.

    One that says more of each class folder is none.
    """
    named = [table for table in tables.values() if context.role_of_table(table) == TRAIN or "label" in table.stem]
    if len(named) != 1 or len(named[0].header) < 2:
        return None
    folders = _names_of_class_folders(context)
    told = ({cell.strip() for cell in cells} for cells in named[0].cells if cells.all_distinct())
    of_classes = folders and any(folders <= names for names in told)
    return None if of_classes else named[0]


def _is_train_table(context: Context, table: Table) -> bool:
    table = pivoted(context, table)
    match = _led(context, table)
    if match is None or _is_of_test_images(context, table, match.template):
        return False
    choices = _choices(context, table, {match.column})
    return bool(choices) and not (
        table.num_rows < len(context.index.names) / 2  # a table of the classes, whose numbers some images have too
        and all(len(columns) == 1 and table.column(columns[0]).all_distinct() for columns in choices)
    )


def _is_of_test_images(context: Context, table: Table, template: str) -> bool:
    """Whether all of its images lie in a folder called test, where another is called train: answers, given later."""
    roles = context.roles
    if not {TRAIN, TEST} <= set(roles.values()):
        return False
    found = images_of(template, table, context.index)
    paths = context.index.paths.take(np.unique(found[found >= 0]))
    return all(roles[path.rpartition("/")[0]] == TEST for path in paths)


def _choices(context: Context, table: Table, taken: set[str]) -> list[tuple[str, ...]]:
    names = context.asked()
    cells = context.sample_cells()
    parts = _part_columns(context, table)
    taken = taken | parts | {*box_columns(table.header)} | (context.sample.id_columns if context.sample else set())
    if answers := {*table.header} & context.answers() - taken:
        taken |= {*table.header} - answers
    fewer = bool({WITHOUT_COLUMN, OF_NO_COLUMN} & {*context.overrides.allow})
    test_header = set(context.test_table.header) if context.test_table is not None else set()
    parted = context.test_table is not None and context.test_table.name == table.name
    labelled = context.sample is None and not parted and set(table.header) - parts <= test_header
    asked = {name.lower() for name in names}
    # what varies among labelled test images says nothing
    told = set() if labelled else {name for name in context.test_columns() if name.lower() not in asked}
    choices: list[tuple[str, ...]] = []
    # test rows of one table may have labels too, and where no sample says what is asked, a test table's; so may one
    # that has all columns in which labels may be: answers that came with it
    answered = parted or context.sample is None or set(table.header) - taken <= test_header
    for shared in [told, *([set()] if answered else [])]:
        sought = (taken | shared) - set(names)
        choices = choices or label_choices(table, names=names, cells=cells, taken=sought, fewer=fewer)
    return choices


def _part_columns(context: Context, table: Table) -> set[str]:
    """Columns that say of which part a row is, in the organiser's table or added to it: no labels."""
    own = context.tables[table.name]
    return part_columns(own) | ({PART_COLUMN} - set(own.header))


# -- columns


def _matches(context: Context, table: Table) -> list[Match]:
    """The templates that may lead to training images, best first: what the user says, where the table can follow it."""
    stated = context.overrides.train_images
    columns = columns_of(stated)
    if not columns or not set(columns) <= set(table.header):
        matches = find_matches(table, context.index, role=TRAIN)
        told = context.sample is not None and context.sample.id_columns <= {*table.header}
        return [match for match in matches if not told or match.column not in context.asked()]  # grade 2 is no 2.png
    found = images_of(stated, table, context.index)
    return [Match(stated, column_of(stated), int((found != MISSING).sum()))]


def _led(context: Context, table: Table) -> Match | None:
    """The best template, where it has an image for most rows."""
    matches = _matches(context, table)
    return matches[0] if lead_for_most(matches, table.num_rows) else None


def _train_match(context: Context, table: Table) -> tuple[Table, Match]:
    """The template of the training images, and the table, with their paths where the cells that name them repeat."""
    override = context.overrides.train_images
    if override != AUTO:
        found = images_of(override, table, context.index)
        return _with_paths(table, Match(override, column_of(override), int((found != MISSING).sum())))
    matches = _matches(context, table)
    if not matches:
        _refuse_folders(context, table)
        near = next(filter(None, (near_miss(cells[0], context.index) for cells in table.cells)), "")
        raise context.stop(
            f"no column of {table.name} ({', '.join(table.header[:8])}) leads to an image{near}; images are such as "
            f"{', '.join(context.index.names[:3])}; write where they are:",
            [setting_line("train_images", f"FOLDER/{{{table.header[0]}}}.jpg")],
        )
    by_path = next((match for match in matches if match.column == PATH_COLUMN), None)
    if by_path is not None and by_path.num_found == table.num_rows and _has_given_paths(context, table):
        return table, by_path
    asked = context.test_columns() | (context.sample.id_columns if context.sample else set())
    return _with_paths(table, only_match(context, matches, table, TRAIN, shared=asked))


def _has_given_paths(context: Context, table: Table) -> bool:
    """Whether `_with_validation` gave the table its column of paths, or made those of a list whole."""
    own = context.tables[table.name]
    return PATH_COLUMN in table.header and (PATH_COLUMN not in own.header or table.num_rows > own.num_rows)


def _refuse_folders(context: Context, table: Table) -> None:
    """Raise where the cells of a column name folders that hold several images each: slices, frames, views."""
    found = folders_of_several(context, table)
    if found is not None:
        raise context.stop(
            f"{found.said}: one label for several images cannot be learnt here. If one image of each will do:",
            found.lines or [setting_line("train_images", f"FOLDER/{{{table.header[0]}}}/FILE.jpg")],
        )


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
    own = [cell.strip() for cell in table.column(columns[0]).distinct()] if len(columns) == 1 else []
    known = context.names_of_classes() | _of_no_column(context, own)
    return read_labels(context, table, columns, ids, delimiter=delimiter, told_apart=known)


def _of_no_column(context: Context, labels: Collection[str]) -> set[str]:
    """The labels that the sample has no column for, where the user leaves their rows out."""
    allowed = OF_NO_COLUMN in context.overrides.allow
    named = classes_named(context.asked(), sorted(labels), fewer=True) if allowed else None
    return set(labels).difference(named.values()) if named else set()


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
    gone = _of_no_column(context, labels.classes) if len(labels.columns) == 1 else set()
    for label in gone:
        filled &= ~labels.cells.where(label_cell([label]) if labels.several else label)
    if filled.all():
        return side, labels
    if not filled.any():
        raise context.stop(
            f"all {len(filled):,} cells of {', '.join(map(repr, labels.columns[:3]))} in {side.table.name} are empty; "
            "if the labels are elsewhere:",
            ["label: COLUMN", "train_table: FILE"],
        )
    context.left_out += side.members.take(~filled)
    labels = labels.take(filled)
    if gone and labels.several:
        used = {label for row in LabelSets(labels.cells, several=True) for label in row}
        labels = replace(labels, classes=tuple(label for label in labels.classes if label in used or label not in gone))
    return _with_rows(side, filled), labels


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


def _refuse_beside_names(context: Context, side: Side, labels: Labels) -> None:
    """Raise where images lie in folders, or are called by words, that may be classes, and a table says something else
    of them that may be, too.

    Not where the table or the column is called as those of labels are, nor where a sample submission tells.
    """
    stated = context.overrides.train_table != AUTO or context.overrides.label != AUTO
    if stated or _told_by_sample(context, labels) or labels.several or {*labels.columns} & {*LABEL_NAMES}:
        return
    if re.search(LABEL_STEM, side.table.stem) or context.role_of_table(side.table) == TRAIN:
        return
    folders = [member.split("/")[-2] if "/" in member else "" for member in side.members]
    names = {folder: {word for word in words_of(folder) if not word.isdigit()} for folder in folders}
    apart = len({frozenset(words) for words in names.values()}) == len(names)  # not p_01, p_02
    are_words = all(not is_all_role(name) and any(map(_may_be_class, words)) for name, words in names.items())
    named = file_name_table(context.index) if not (apart and are_words) else None
    if named is not None:
        word_of = dict(zip(named.column(PATH_COLUMN), named.column(LABEL_COLUMN), strict=True))
        folders = [word_of.get(member, "") for member in side.members]
    elif not (apart and are_words):
        return
    words, pairs = set(folders), set(zip(folders, labels.cells, strict=True))
    if 1 < len(words) <= len(folders) / 2 and "" not in words and len(pairs) > min(len(words), len(labels.classes)):
        shown, kinds = (", ".join(sorted(some)[:3]) for some in (words, labels.classes))
        what, way = ("are called by", "names") if named is not None else ("lie in", "folders")
        raise context.stop(
            f"the images {what} {len(words)} {'words' if named is not None else way} that may be classes, and "
            f"{side.table.name} says something else of them in {labels.columns[0]!r}; choose one:",
            [
                setting_line("train_table", side.table.name, f"{len(labels.classes)} labels: {kinds}"),
                setting_line("train_table", NONE, f"the {way}: {shown}"),
            ],
        )


def _told_by_sample(context: Context, labels: Labels) -> bool:
    """Whether the sample submission asks for these labels: by its columns, or by what it writes."""
    asked, cells = context.asked(), context.sample_cells()
    if len(asked) > 1 or {*asked} & {*labels.columns}:
        return True
    return not says_nothing(cells) and bool(cells <= {*labels.classes} or rules_for(cells, labels.classes))


def _may_be_class(word: str) -> bool:
    """Whether a folder's word may say what is in its images: no `images`, no part of a hash."""
    return len(word) > 2 and word not in NEUTRAL


def _note_other_folders(context: Context, side: Side, labels: Labels) -> None:
    """Warn of images in a folder that is called as another class than the table says.

    Raises ValueError where each image lies in the folder of one of its several labels, and nobody says which count.
    """
    for level in (-2, -3):
        folders = [(member.split("/")[level : level + 1] or [""])[0] for member in side.members]
        if set(folders) != set(labels.classes):
            continue
        if labels.several:
            lists = LabelSets(labels.cells, several=True)
            asked = context.sample is not None or context.overrides.train_table != AUTO
            if not asked and all(folder in own for folder, own in zip(folders, lists, strict=True)):
                raise context.stop(
                    f"{side.table.name} has several labels for an image ({side.members[0]}: {labels.cells[0]}), and "
                    "the folder of each image is one of them; choose one:",
                    [
                        setting_line("train_table", side.table.name, "all labels of an image"),
                        setting_line("train_table", NONE, "the label that its folder is called by"),
                    ],
                )
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


def _id_column(context: Context, table: Table, match: Match) -> str:
    override = context.overrides.id_column
    if override != AUTO:
        if override not in table.header:
            raise context.stop(f"competition.id_column is {override!r}; {table.name} has {list(table.header)}")
        return override
    if match.column == PATH_COLUMN and _has_given_paths(context, table):
        return PATH_COLUMN
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
            line = setting_line("label", column, f"{len(values)} values, such as {', '.join(values[:3])}")
            is_word = folder_level(column) is not None  # `label: folder` means class folders
            lines.append(line.replace(column, f"[{column}]", 1) if is_word else line)
        lines += [line for columns in choices for line in _lines_of_groups(context, table, columns[0])]
        if context.overrides.train_table == AUTO and not ({*context.asked()} & {*table.header}):
            folders = sorted(_names_of_class_folders(context))
            last += [setting_line("train_table", NONE, f"the folders: {', '.join(folders[:3])}")] if folders else []
        raise context.stop(f"{len(choices)} columns of {table.name} could be the label; choose one:", lines + last)
    _refuse_names_of_groups(context, table, choices[0])
    return choices[0]


def _refuse_names_of_groups(context: Context, table: Table, columns: tuple[str, ...]) -> None:
    """Raise where the one column that may hold labels is explained by another table, as patients of images are."""
    column, cells = columns[0], context.sample_cells()
    told = {column} & {*context.asked()} or (not says_nothing(cells) and cells <= set(table.column(column).distinct()))
    lines = [] if told or column.lower() in LABEL_NAMES else _lines_of_groups(context, table, column)
    if lines:
        values = table.column(column).distinct()
        own = setting_line("label", column, f"{len(values)} values, such as {', '.join(values[:3])}")
        raise context.stop(
            f"{column!r} of {table.name} may be the label, or what the images are of (another table says more of it); "
            "choose one:",
            [*lines, own],
        )


def _lines_of_groups(context: Context, table: Table, column: str) -> list[str]:
    """Lines for labels of groups of images: columns of another table that has a row for each cell of this one."""
    cells = table.column(column)
    own, sampled = {*cells.distinct()}, context.sample.table.name if context.sample else ""
    return [
        setting_line("label", name, f"{len(said.distinct())} values in {other.name}, a row for each {column!r}")
        for other in context.tables.values()
        if other.name not in (table.name, sampled) and column in other.header and len(own) < len(cells)
        if other.column(column).all_distinct() and own <= {*other.column(column)}
        for name, said in zip(other.header, other.cells, strict=True)
        if name and name not in table.header and 1 < len(said.distinct()) <= other.num_rows / 2
    ]


def _refuse_boxes(context: Context, table: Table, choices: Sequence[tuple[str, ...]]) -> None:
    """Raise where the sample's column is called as boxes and outlines are, and holds no labels of the table's."""
    known = {label for columns in choices for cell in table.column(columns[0]).distinct() for label in cell.split("|")}
    boxed = {column for column in outline_columns(table) if holds_outlines(table.column(column))}
    named = ({*table.header} - boxed) | ({*context.asked()} & known)  # one of the classes may be called mask
    asked, cells = context.asked(), context.sample_cells()
    if context.sample and context.long and not all(map(is_number, context.sample.cells() or [""])):
        asked = context.sample.value_columns
    otherwise = [column for column in asks_otherwise(asked) if column not in named]
    if otherwise and not (cells and any(labels <= known for labels in parts_by_mark(cells))):
        lines = [setting_line("label", columns[0]) for columns in choices if columns[0] not in boxed]
        folders = [setting_line("train_table", NONE, "class folders")] if _names_of_class_folders(context) else []
        raise context.stop(
            f"the sample submission asks for {', '.join(map(repr, otherwise))}: boxes or outlines (detection, "
            f"segmentation), which cannot be learnt here. If labels alone are asked for, a column of {table.name} "
            f"({', '.join(table.header[:8])}) holds them; name it:",
            [*lines, *folders] or ["label: COLUMN"],
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
            + [f"allow: [{WITHOUT_COLUMN}]    # the others are never written"]
            + [f"allow: [{OF_NO_COLUMN}]    # their images are left out"] * (not strange),
        )
    free = [column for column in table.header if column and column not in taken]
    free = [column for column in free if len(names) < 2 or 1 < len(table.column(column).distinct()) <= len(names)]
    called = f" that the sample submission calls {', '.join(map(repr, names[:5]))}" if names else ""
    return context.stop(
        f"unknown columns: no column of {table.name} ({', '.join(table.header[:12])}) could be the label{called}; name "
        "it:",
        [setting_line("label", column) for column in free[:8] if names] or ["label: COLUMN"],
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
