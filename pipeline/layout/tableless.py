"""The training side of a competition whose labels are in no table: class folders, or file names."""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import product
from zlib import crc32

import numpy as np

from pipeline.base.texts import Texts, joined_texts
from pipeline.competition.problems import setting_line
from pipeline.layout.context import Context, Side
from pipeline.layout.labels import MINUS_ONE, MISSING_WORDS, WORD_FOR_NONE, Labels, read_labels
from pipeline.layout.other_tasks import IN_A_TABLE, NOT_READ, beside_line, naming_file, pictures_and_targets
from pipeline.layout.path_labels import (
    LABEL_COLUMN,
    PART_COLUMN,
    PATH_COLUMN,
    SeveralLevelsError,
    class_folder_table,
    file_name_table,
    folder_level,
    without_asked,
)
from pipeline.layout.test_side import asked_images
from pipeline.tables.asked import MIN_SHARE, lead_for_most
from pipeline.tables.image_names import counted_line, format_of, stem_of, undecoded_files, without_suffix
from pipeline.tables.image_paths import NEARLY, ImageIndex, beside_images, find_matches, images_of, meant
from pipeline.tables.table import AUTO, NONE, Table
from pipeline.tables.words import TEST, TRAIN, VALID, is_unsorted, role_of

NAME_PARTS = (  # of a file's name: before the first mark, between the first two, behind the last
    r"^(?P<label>[^_\- ]+)[_\- ]", r"^[^_\- ]+[_\- ](?P<label>[^_\- ]+)[_\- ]", r"[_\- ](?P<label>[^_\- ]+)$",
)  # fmt: skip
OF_GROUPS = (
    "groups of images (of a person, a study), or classes. One label for several images cannot be learnt here. If one "
    "image of each will do, labels are in the names of files, or folders are classes:"
)
AN_EXAMPLE = "label: '^(?P<label>[a-z]+)_'"
MAX_PART = 0.5  # of the names, distinct labels: more are no classes
NUM_NAMES = 20_000  # of many images, looked at for others of their names
MAX_BESIDE = 4  # folders of other pictures of the same things
NAMED_LABEL = "(?P<label>"  # in a pattern for file names


def tableless_side(context: Context) -> tuple[Side, Labels]:
    """Labels from class folders, else from file names."""
    table, source = _labels_of_names(context)
    root = table.name
    table = _with_listed_validation(context, _without_unsorted(context, table))
    paths = table.column(PATH_COLUMN)
    ids = Texts(path.removeprefix(root + "/") if root else path for path in paths)
    odd = {label for label in table.column(LABEL_COLUMN).distinct() if label.lower() in (*MISSING_WORDS, *MINUS_ONE)}
    names = context.names_of_classes() | odd  # a folder called none is no missing label
    labels = read_labels(context, table, (LABEL_COLUMN,), ids, delimiter=NONE, told_apart=names)
    named = "file names" if folder_level(source) is None else f"class folders ({source})"
    context.warnings += _of_the_same_names(paths, table.column(LABEL_COLUMN))
    if PART_COLUMN in table.header:
        held = int(table.column(PART_COLUMN).where(VALID).sum())
        context.notes.append(
            f"{held:,} labelled validation images are used for training too; split.fold_column: part keeps them apart"
        )
    context.notes.append(f"labels: from {named} under {root or 'the top folder'}, {len(ids):,} images")
    context.settings |= {"train_table": NONE, "label": source, "train_images": root or AUTO}
    context.settings |= {"id_column": AUTO, "delimiter": NONE}
    return Side(table, PATH_COLUMN, ids, paths), labels


def _without_unsorted(context: Context, table: Table) -> Table:
    """The rows less those of a folder `no_label` and the like, where the user leaves them out."""
    labels = table.column(LABEL_COLUMN)
    unsorted = {label for label in labels.distinct() if is_unsorted(label)} - context.names_of_classes()
    if not unsorted or WORD_FOR_NONE not in context.overrides.allow:
        return table
    gone = np.array([label in unsorted for label in labels], dtype=bool)
    context.left_out += table.column(PATH_COLUMN).take(gone)
    return table.take(~gone)


def _with_listed_validation(context: Context, table: Table) -> Table:
    """The rows of class folders, and those of a list of validation images elsewhere, which says the folders' labels."""
    listed = [other for other in context.tables.values() if context.role_of_table(other) == VALID]
    if PART_COLUMN in table.header or not listed:
        return table
    labels, index = set(table.column(LABEL_COLUMN).distinct()), context.index
    used = index.used_by(table.column(PATH_COLUMN)) | asked_images(context)
    for other in listed:
        matches = find_matches(other, index, role=VALID)
        told = [cells for cells in other.cells if set(cells.distinct()) <= labels]
        if not matches or len(told) != 1:
            continue
        found = images_of(matches[0].template, other, index)
        if (found < 0).any() or used[found].any() or len(np.unique(found)) < len(found):
            continue
        columns = ((index.names.take(found), table.column(PATH_COLUMN)), (told[0], table.column(LABEL_COLUMN)))
        parts = Texts([TRAIN] * table.num_rows + [VALID] * other.num_rows)
        paths, cells = (joined_texts((own, theirs)) for theirs, own in columns)
        return Table(table.name, (PATH_COLUMN, LABEL_COLUMN, PART_COLUMN), (paths, cells, parts))
    return table


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
            lines = [setting_line("label", *choice.split("    # ")) for choice in error.choices]
            groups = _groups(context)
            if groups is not None:
                raise context.stop(f"{groups.said}: {OF_GROUPS}", [*groups.lines, *lines]) from error
            raise context.stop(str(error), lines) from error
        if found is not None and label == AUTO and _named_in_files(context, found[0], index, root):
            found = None
        if found is not None:
            found = (_of_one_format(context, *found), found[1])
            paths, labels = found[0].column(PATH_COLUMN), found[0].column(LABEL_COLUMN)
            if label == AUTO and pictures_and_targets(labels, paths, context.names_of_classes()):
                raise context.stop(
                    f"the folders {', '.join(sorted(set(labels))[:3])} hold images of the same {len(paths) // 2:,} "
                    "names: pictures and what is to be drawn of them (segmentation), which cannot be learnt here. If "
                    "the folders are classes:",
                    [setting_line("label", found[1])],
                )
            if label == AUTO:
                _refuse_groups(context, found[0], found[1], _likely_patterns(index, root))
            return found
    flat = [
        name for name, table in context.tables.items() if ".json" not in name or context.role_of_table(table) == TEST
    ]
    if level is None:
        table = file_name_table(index, pattern, root)
        if AUTO == label == context.overrides.train_table:
            _refuse_unread(context, flat, table)
            if table is not None:
                _refuse_to_pass_over(context, table)
        if table is not None:
            return table, pattern
    names = sorted(context.tables)
    closed = {kind: files for kind, files in undecoded_files(context.archive).items() if kind.several}
    may_hold = f" {counted_line(closed)} may hold them and cannot be read: save them as CSV;" if closed else ""
    naming = naming_file(context.archive, context.index, flat)
    named = f"{naming} {NOT_READ}; {IN_A_TABLE}" if naming else ""
    hints = (beside_line(context.archive, context.index), named, _of_groups(context))
    may_hold += "".join(f" {hint};" for hint in hints if hint)
    sides = [name for name in context.index.names if beside_images(name)]
    if sides:
        may_hold += f" {len(sides):,} images, such as {sides[0]}, are outlines by their folder's name (segmentation);"
    raise context.stop(
        f"no labels found: its {len(names)} tables are {names[:5]}, none leads to images and has a label column; "
        f"no class folders and no labels in file names among {len(context.index.names):,} images such as "
        f"{', '.join(context.index.names[:3])};{may_hold} say where the labels are, in one of these ways:",
        ["train_table: FILE", "label: COLUMN", "label: folder", *(_likely_patterns(index, root) or [AN_EXAMPLE])],
    )


def _some_named_alike(paths: Texts) -> np.ndarray:
    """(N,) bool: of many paths, those of some names: of files called alike, less folders and suffix, all or none."""
    every = 1 + len(paths) // NUM_NAMES
    return np.array([every == 1 or crc32(stem_of(path).encode()) % every == 0 for path in paths], dtype=bool)


def _of_the_same_names(paths: Texts, labels: Texts) -> list[str]:
    """A warning where nearly all images of each class are called as others in a folder beside: `rgb` and `depth`."""
    some = _some_named_alike(paths)
    if not some.any():
        return []
    paths, labels = paths.take(some), labels.take(some)
    split = [without_suffix(path).split("/") for path in paths]
    for level in range(min(map(len, split)) - 1):
        beside: dict[tuple[str, ...], set[str]] = {}
        for parts, label in zip(split, labels, strict=True):
            beside.setdefault((label, *parts[:level], *parts[level + 1 :]), set()).add(parts[level])
        names = sorted(set().union(*beside.values()))
        several = sum(len(found) > 1 for found in beside.values())
        if len(names) <= MAX_BESIDE and several >= NEARLY * len(beside) and not all(map(role_of, names)):
            return [
                f"folders {' and '.join(names)} hold images of the same names, such as {paths[0]}: all of them are "
                "taken for images of the class. If one holds something else (masks, depth), take it out of the archive"
            ]
    return []


def _of_one_format(context: Context, table: Table, source: str) -> Table:
    """The rows less those of images that are there in the format of the test images too: masks, or copies.

    Only where nearly all are there in two formats. Raises ValueError where the test images do not tell.
    """
    paths = table.column(PATH_COLUMN)
    for some in (paths.take(_some_named_alike(paths)), paths):  # all of many are looked at only where some say so
        beside: dict[str, set[str]] = {}
        for path in some:
            beside.setdefault(without_suffix(path), set()).add(format_of(path))
        if not beside or sum(len(formats) > 1 for formats in beside.values()) < NEARLY * len(beside):
            return table
    used = asked_images(context) | np.array(
        [context.roles[path.rpartition("/")[0]] == TEST for path in context.index.paths]
    )
    wanted = {format_of(name) for name in context.index.names.take(used)}
    kept = np.array([format_of(path) in wanted or len(beside[without_suffix(path)]) == 1 for path in paths])
    if len(wanted) != 1 or kept.sum() < len(beside):
        if context.overrides.label != AUTO:
            return table
        raise context.stop(
            f"nearly all of the {len(beside):,} images in class folders are there in two formats, such as {paths[0]}, "
            f"{paths[1]}: copies, or masks of the others. Take those of one format out (zip -d); if all are pictures:",
            [setting_line("label", source, f"{len(paths):,} images")],
        )
    context.notes.append(f"{len(paths) - kept.sum():,} images of another format than the test images' are left aside")
    return table.take(kept)


def _named_in_files(context: Context, folders: Table, index: ImageIndex, root: str) -> bool:
    """Whether the sample writes the labels that files' names have, and none of the folders': of sessions, say."""
    cells = context.sample_cells()
    table = file_name_table(index, AUTO, root)
    known = set(table.column(LABEL_COLUMN).distinct()) if table is not None else set()
    return len(cells) > 1 and cells <= known and not cells & set(folders.column(LABEL_COLUMN).distinct())


@dataclass(frozen=True)
class Folders:
    """Folders of several images each that a table has a row for."""

    names: set[str]
    said: str
    lines: list[str]  # for params.yaml: one image of each


def folders_of_several(context: Context, table: Table) -> Folders | None:
    """The folders of several images that a column's cells name, one each; None for none."""
    held: dict[str, list[str]] = {}
    for path in context.index.paths:
        for part in dict.fromkeys(path.split("/")[:-1]):
            held.setdefault(part, []).append(path)
    for column, cells in zip(table.header, table.cells, strict=True):
        there = [cell for cell in map(meant, cells) if cell in held]
        names = [cell for cell in there if len(held[cell]) > 1]
        if column and len(names) > MIN_SHARE * len(cells) and cells.all_distinct():
            first = held[names[0]][0]
            said = (
                f"{column!r} of {table.name} names {len(names):,} folders of several images, a row each "
                f"({names[0]}: {len(held[names[0]]):,}, such as {first})"
            )
            template = f"/{first}".replace(f"/{names[0]}/", f"/{{{column}}}/", 1)[1:]
            leads = (images_of(template, table, context.index) >= 0).mean() >= MIN_SHARE
            return Folders(set(there), said, [setting_line("train_images", template)] if leads else [])
    return None


def _groups(context: Context) -> Folders | None:
    """The folders of several images that the train table, or one of labels asked for, has a row for; None for none."""
    sampled, asked = context.sample.table.name if context.sample else "", context.asked()

    def may_label(table: Table) -> bool:
        told = (table.column(name) for name in asked if name in table.header)
        return role_of(table.stem) == TRAIN or any(1 < len(cells.distinct()) < len(cells) for cells in told)

    tables = [table for table in context.tables.values() if table.name != sampled and len(table.header) > 1]
    tables = [table for table in tables if may_label(table)]
    found = (folders_of_several(context, table) for table in tables if context.overrides.train_table == AUTO)
    return next((folders for folders in found if folders is not None), None)


def _refuse_groups(context: Context, folders: Table, source: str, patterns: Sequence[str]) -> None:
    """Raise where the train table has a row for each class folder: folders of a person's images, with what they are."""
    groups = _groups(context)
    if groups is not None and set(folders.column(LABEL_COLUMN).distinct()) <= groups.names:
        raise context.stop(f"{groups.said}: {OF_GROUPS}", [*groups.lines, *patterns, setting_line("label", source)])


def _refuse_unread(context: Context, tables: Collection[str], named: Table | None) -> None:
    """Raise where a file that names many of the images is left aside, and their own names would give the labels, or
    nothing would. tables: those that need no such look; named: what the images' names give.
    """
    least = math.ceil(MIN_SHARE * len(context.index.names))
    name = naming_file(context.archive, context.index, tables, least=least)
    if not name or (named is None and name not in context.reasons):
        return  # the latter is said with all else that may hold labels
    labels = named.column(LABEL_COLUMN).distinct() if named is not None else []
    told = f"{len(labels):,} labels, from the names of the images: {', '.join(labels[:3])}"
    raise context.stop(
        f"{name} {context.reasons.get(name, f'{NOT_READ}; {IN_A_TABLE}')}",
        [setting_line("train_table", NONE, told)] if labels else [],
    )


def _refuse_to_pass_over(context: Context, named: Table) -> None:
    """Raise where a table speaks of as many things as images have labels in their names, and leads to none of them.

    Several of its columns may together be in a file's name: `1,10,3` of `input_1_10_3.jpg`.
    """
    for table in context.tables.values():
        sampled = context.sample is not None and table.name == context.sample.table.name
        apart = sampled or context.role_of_table(table) == TEST or leads_to_images(context, table)
        if (
            apart
            or len(table.header) < 2
            or not MIN_SHARE * named.num_rows <= table.num_rows <= named.num_rows / MIN_SHARE
        ):
            continue
        labels = named.column(LABEL_COLUMN).distinct()
        raise context.stop(
            f"the images' names may hold labels ({', '.join(labels[:3])}); {table.name} has {table.num_rows:,} rows "
            f"for {named.num_rows:,} images, such as {named.column(PATH_COLUMN)[0]}, and no column that leads to them "
            f"({', '.join(table.header[:8])}). If it holds the labels, write how its columns make a path; choose one:",
            [
                setting_line("train_images", f"FOLDER/{{{table.header[0]}}}_{{{table.header[1]}}}.jpg"),
                setting_line("train_table", NONE, f"{len(labels):,} labels, from the names: {', '.join(labels[:3])}"),
            ],
        )


def _of_groups(context: Context) -> str:
    """Says that labels are of groups of images (sequences, patients), as a table has it; '' where none are."""
    tables = [table for table in context.tables.values() if context.role_of_table(table) != TEST]
    leading = [table for table in tables if leads_to_images(context, table)]
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


def leads_to_images(context: Context, table: Table) -> bool:
    """Whether a column leads to images in most rows."""
    return lead_for_most(find_matches(table, context.index, role=TRAIN), table.num_rows)


def _likely_patterns(index: ImageIndex, root: str) -> list[str]:
    """Lines for patterns by which a part of every file's name is a label that comes again."""
    lines = []
    whole = file_name_table(index, "(?P<label>.*)", root)
    for pattern in NAME_PARTS if whole is not None else ():
        table = file_name_table(index, pattern, root)
        if whole is not None and table is not None and table.num_rows == whole.num_rows:
            labels = table.column(LABEL_COLUMN).distinct()
            if 1 < len(labels) <= MAX_PART * table.num_rows:
                lines.append(setting_line("label", pattern, f"{len(labels)} labels: {', '.join(labels[:3])}"))
    return lines
