"""The test side of a competition: which images are to be predicted, and under which ids."""

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence

import numpy as np

from pipeline.base.texts import Texts
from pipeline.competition.problems import setting_line
from pipeline.layout.context import (
    Context,
    Side,
    checked_ids,
    lead_apart,
    members_of,
    named_table,
    only_match,
)
from pipeline.layout.joint_ids import joint_ids
from pipeline.layout.path_labels import are_masks, common_folder, in_side_folder
from pipeline.layout.sample_submission import Sample
from pipeline.tables.asked import MIN_SHARE, asked_table, column_holding, lead_for_most, rows_asked, rows_for
from pipeline.tables.image_names import format_of, without_suffix
from pipeline.tables.image_paths import (
    MISSING,
    NEARLY,
    ImageIndex,
    Match,
    beside_images,
    column_of,
    columns_of,
    find_matches,
    holds_file_names,
    images_of,
    plain,
    preference,
)
from pipeline.tables.table import AUTO, NONE, Table, id_table
from pipeline.tables.words import TEST, TRAIN, is_all_role, is_left_over, role_of_folders, split_places

MAX_FOLDERS = 5  # that may hold test images, offered
MIN_POOL = 0.1  # images that nothing uses, for one in a folder called test: fewer are beside the point
MAX_TABLES = 20  # in folders called test: of more, one of each header is looked at
TOP = "."  # as competition.test_images: any folder


def find_test_table(context: Context, tables: Mapping[str, Table], parted: Sequence[str]) -> Table | None:
    """The table of test images: named so, or the test rows of one that has train rows too; None for none.

    tables: those that may be it; parted: names of those whose test rows these are.
    """
    override = context.overrides.test_table
    if override == NONE:
        return None
    if override != AUTO:
        return named_table(context, tables, "test_table")
    named = [table for name, table in tables.items() if name in parted or context.role_of_table(table) == TEST]
    if len(named) > 1 and context.sample is not None:
        ids = set(context.sample_ids())
        named = [table for table in named if column_holding(table, ids)] or named
    if len(named) > 1:
        key = "header" if len(named) > MAX_TABLES else "name"  # of many, one of each header: measurements beside images
        told = {getattr(table, key): table for table in reversed(named)}
        kept = {own for own, table in told.items() if _names_images(context, table)}
        named = [table for table in named if getattr(table, key) in kept]
    if len(named) > 1 and _of_the_same_images(context, named):
        return min(named, key=lambda table: len(table.header))
    if len(named) > 1:
        choices = [setting_line("test_table", table.name) for table in named]
        raise context.stop(f"{len(named)} tables may be the test table; choose one:", choices)
    return named[0] if named else None


def _names_images(context: Context, table: Table) -> bool:
    return lead_for_most(find_matches(table, context.index, role=TEST), table.num_rows)


def _of_the_same_images(context: Context, tables: Sequence[Table]) -> bool:
    """Whether each has one row for each of the same images, called alike: a list of them as text and as JSON."""
    matches = [find_matches(table, context.index, role=TEST)[:1] for table in tables]
    if not all(matches) or len({table.num_rows for table in tables}) > 1:
        return False
    called = [set(table.column(match.column)) for (match,), table in zip(matches, tables, strict=True)]
    return all(names == called[0] and len(names) == tables[0].num_rows for names in called)


def testing_side(context: Context, used: np.ndarray) -> Side:
    """The test images, in the order of the sample submission. used: which images are training images, (N,) bool."""
    index = context.index.without(used)
    learnt = {format_of(name) for name in context.index.names.take(used)}
    if context.test_table is not None:
        name = context.test_table.name
        parted = context.test_table.num_rows < context.tables[name].num_rows and context.settings["train_table"] != name
        # stated, a table of test images alone has all its rows asked for
        context.settings["test_table"] = context.overrides.test_table if parted else name
    side = _sampled_side(context, index, learnt) if context.sample else _sampleless_side(context, index, learnt)
    strange = [name for name in side.members if name and format_of(name) not in learnt]
    if strange:
        context.warnings.append(
            f"{len(strange):,} of {len(side.members):,} test images are of a format that no training image has, such "
            f"as {strange[0]}"
        )
    return side


def _sampled_side(context: Context, index: ImageIndex, learnt: Collection[str]) -> Side:
    """The images of the sample's ids. learnt: the formats of training images."""
    assert context.sample is not None
    sample, ids = context.sample, context.sample_ids()
    checked_ids(context, sample.ids(), sample.table.name)
    _refuse_several(context, sample, index)
    index = _of_learnt_formats(context, _asked_table(context, sample), index, learnt)
    table, match = _test_match(context, sample, index)
    column = sample.id_column
    if table is context.test_table:
        held, rows = column_holding(table, set(ids)), rows_asked(table, ids)
        column = held or match.column
        table = rows_for(table, column, ids) if rows is None else rows
        if held is None and rows is not None:
            context.warnings.append(
                f"the ids of {sample.table.name} are taken for numbers of rows of {table.name}, as they count them"
            )
    context.notes.append(f"test images: {len(ids):,} ids of {sample.table.name}, images {match.template}")
    return members_of(context, Side(table, column, ids), match.template, TEST, index)


def _refuse_several(context: Context, sample: Sample, index: ImageIndex) -> None:
    """Raise where the test table has several rows for one id, and in them several images: views of a patient."""
    table, ids = context.test_table, context.sample_ids()
    column = column_holding(table, set(ids)) if table is not None else None
    if table is None or column is None or context.overrides.test_images != AUTO or table.column(column).all_distinct():
        return
    matches = [match for match in find_matches(table, index, role=TEST) if match.column != column]
    if not matches:
        return
    images_of_id: dict[str, set[int]] = {image_id: set() for image_id in ids}
    for row_id, number in zip(table.column(column), images_of(matches[0].template, table, index), strict=True):
        if number >= 0 and row_id in images_of_id:
            images_of_id[row_id].add(int(number))
    several = [image_id for image_id, numbers in images_of_id.items() if len(numbers) > 1]
    if several:
        shown = ", ".join(sorted(index.names[number] for number in images_of_id[several[0]])[:2])
        raise context.stop(
            f"{len(several):,} of the {len(ids):,} ids of {sample.table.name} have several images in {table.name} "
            f"({several[0]}: {shown}, …): one answer for several images cannot be made here. Make a sample submission "
            "with a row for each image, and of its answers one for each id yourself; or name one image for each:",
            [setting_line("test_images", f"FOLDER/{{{column}}}.jpg")],
        )


def _of_learnt_formats(context: Context, table: Table, index: ImageIndex, learnt: Collection[str]) -> ImageIndex:
    """The index less the images of other formats than training images have, where the rows have both.

    Raises ValueError where those of other formats answer more rows.
    """
    strange = np.array([format_of(name) not in learnt for name in index.names], dtype=bool)
    if context.overrides.test_images != AUTO or not strange.any() or strange.all():
        return index
    own = index.without(strange)
    whole, known = find_matches(table, index, role=TEST), find_matches(table, own, role=TEST)
    if not known or preference(known[0].template, TEST)[0] > preference(whole[0].template, TEST)[0]:
        return index
    found = images_of(whole[0].template, table, index), images_of(known[0].template, table, index)
    if known[0].num_found >= whole[0].num_found:
        context.notes.append(f"{int(strange.sum()):,} images of formats that no training image has are left aside")
        return own
    if lead_apart(*found):
        raise context.stop(
            f"the test images are there in a format that training images have, for {known[0].num_found:,} rows, and in "
            f"another, for {whole[0].num_found:,}; choose one:",
            [setting_line("test_images", match.template) for match in (known[0], whole[0])],
        )
    return index


def _asked_table(context: Context, sample: Sample) -> Table:
    """The sample's ids, a row each, and what the test table says of them, where it does."""
    return asked_table(sample.id_column, context.sample_ids(), context.test_table)


def asked_images(context: Context) -> np.ndarray:
    """(N,) bool: the images that the sample, else the test table, else the user's folder asks for, before it is known
    which are for training.

    None where a folder called test holds them, or it is unclear: no place, or two that differ, has an image for many of
    the ids.
    """
    used = np.zeros(len(context.index.names), dtype=bool)
    table = _asked_table(context, context.sample) if context.sample is not None else context.test_table
    override = context.overrides.test_images
    if TEST in context.roles.values() or (table is None and override in (AUTO, TOP)):
        return used
    if table is None:
        return np.array([path.startswith(f"{override}/") for path in context.index.paths])
    if override == AUTO:
        matches = find_matches(table, context.index, role=TEST)
        least = max(MIN_SHARE * table.num_rows, NEARLY * (matches[0].num_found if matches else 0))
        likely = [match for match in matches if match.num_found >= least]
        whole = [match for match in likely if holds_file_names(table.column(match.column))]
        templates = [match.template for match in whole or likely]
    else:
        templates = [override] if set(columns_of(override)) <= set(table.header) else []
    found = [images_of(template, table, context.index) for template in templates]
    if found and not any(lead_apart(found[0], other) for other in found):
        used[found[0][found[0] >= 0]] = True
    return used


def _test_match(context: Context, sample: Sample, index: ImageIndex) -> tuple[Table, Match]:
    """The table, sample or test, and the template that lead to most test images."""
    asked, test_table, override = _asked_table(context, sample), context.test_table, context.overrides.test_images
    own = id_table(sample.id_column, context.sample_ids())
    if test_table is None:
        asked = _with_files(context, sample, index) or asked
    if override != AUTO:
        table = _with_columns(override, own, test_table, asked)
        return table, _stated(override, table, index)
    matches = find_matches(asked, index, role=TEST)
    if not matches:
        raise context.stop(
            f"no id of {sample.table.name} ({', '.join(own.cells[0][:3])}, …) leads to an image that is not a training "
            f"image; {_others(index)}; write where they are:",
            [setting_line("test_images", _by_number(own, index) or f"FOLDER/{{{sample.id_column}}}.jpg")],
        )
    match = only_match(context, matches, asked, TEST, index=index, shared={sample.id_column})
    if test_table is not None and column_holding(test_table, set(own.cells[0])) is None:
        _refuse_numbers(context, asked, matches, sample.id_column, index)
    return _with_columns(match.template, own, test_table, asked), match


def _with_files(context: Context, sample: Sample, index: ImageIndex) -> Table | None:
    """The sample's ids with the columns of a table that names the file of each, and has training images too, perhaps.

    Ids may lead to images by their numbers as well, and to others: 7 of images.csv need not be 7.png.
    """
    ids = {*context.sample_ids()}
    for table in context.tables.values():
        held = column_holding(table, ids) if table.name != sample.table.name else None
        columns = zip(table.header, table.cells, strict=True) if held is not None else ()
        files = {name for name, cells in columns if holds_file_names(cells)}
        if files and held not in files:
            asked = asked_table(sample.id_column, context.sample_ids(), table)
            matches = find_matches(asked, index, role=TEST)
            if any(match.column in files and match.num_found == asked.num_rows for match in matches):
                return asked
    return None


def _with_columns(template: str, own: Table, test_table: Table | None, asked: Table) -> Table:
    """The first of these that has all columns of the template; `asked`, which has those of both, where none has."""
    tables = filter(None, (own, test_table))
    return next((table for table in tables if {*columns_of(template)} <= {*table.header}), asked)


def _by_number(ids: Table, index: ImageIndex) -> str:
    """The template by which ids are the numbers at the end of images' names: 7 of test_0007.jpg; '' for none."""
    (column,) = ids.header
    like: dict[tuple[int, int], str] = {}
    for name in index.names:
        number = re.search(r"(\d+)\.\w+$", name)
        if number is not None:
            like.setdefault(number.span(1), name)
    for (start, end), name in like.items():
        template = f"{name[:start]}{{{column}:0{end - start}d}}{name[end:]}"
        if (images_of(template, ids, index) >= 0).all():
            return template
    return ""


def _others(index: ImageIndex) -> str:
    names = index.names
    return f"{len(names):,} others are such as {', '.join(names[:3])}" if len(names) else "there are no others"


def _refuse_numbers(
    context: Context, asked: Table, matches: Sequence[Match], id_column: str, index: ImageIndex
) -> None:
    """Raise where ids may be numbers of the test table's rows, and of other images: 3 of its third row and of 3.png."""
    likely = [match for match in matches if match.num_found >= MIN_SHARE * asked.num_rows]
    by_id, by_row = ([match for match in likely if (match.column == id_column) is own][:1] for own in (True, False))
    for one, two in zip(by_id, by_row, strict=False):
        if one.num_found >= NEARLY * two.num_found and lead_apart(
            images_of(one.template, asked, index), images_of(two.template, asked, index)
        ):
            raise context.stop(
                "the ids to predict may be numbers of images, or of rows of the test table, which has them in another "
                "order; choose one:",
                [setting_line("test_images", match.template) for match in (one, two)],
            )


def _sampleless_side(context: Context, index: ImageIndex, learnt: Collection[str]) -> Side:
    """Test images where no sample submission says which: the test table's, or all in a folder called test."""
    context.warnings.append(
        "no sample submission: its columns and its ids are a guess; compare with the competition's page"
    )
    table, override = context.test_table, context.overrides.test_images
    if table is None:
        return _side_of_folders(context, index, learnt)
    index = _of_learnt_formats(context, table, index, learnt)
    matches = [_stated(override, table, index)] if override != AUTO else find_matches(table, index, role=TEST)
    trained = find_matches(table, context.index, role=TEST) if not matches else []
    if trained:
        raise context.stop(
            f"all {trained[0].num_found:,} images that {table.name} names are training images; if it does not say what "
            "to predict:",
            [setting_line("test_table", NONE)],
        )
    if not matches:
        raise context.stop(
            f"no column of {table.name} leads to an image; write where they are:",
            [setting_line("test_images", f"FOLDER/{{{table.header[0]}}}.jpg")],
        )
    match = only_match(context, matches, table, TEST, index=index)
    distinct = [column for column in table.header if table.column(column).all_distinct()]
    own = str(context.settings["id_column"])  # a column of other things may have as many different cells
    column = next((column for column in (own, *distinct) if column in distinct), match.column)
    joint = None if distinct else joint_ids(table, index)
    if joint is not None:
        table, column = joint.added(table), joint.name
    ids = checked_ids(context, table.column(column), table.name)
    return members_of(context, Side(table, column, ids), match.template, TEST, index)


def _stated(template: str, table: Table, index: ImageIndex) -> Match:
    """What the user names."""
    return Match(template, column_of(template), int((images_of(template, table, index) != MISSING).sum()))


def _side_of_folders(context: Context, index: ImageIndex, learnt: Collection[str]) -> Side:
    """All images in the folder that the user names, else in those called test; one there in two formats counts once."""
    root = context.overrides.test_images
    base_of = {folder: base for folder, (role, base) in split_places(context.folders()).items() if role == TEST}
    if root != AUTO:
        context.settings["test_images"] = root
        inside = {folder for folder in context.folders() if root == TOP or f"{folder}/".startswith(f"{root}/")}
        base_of = {folder: base for folder, base in base_of.items() if folder in inside} or dict.fromkeys(inside, root)
    else:
        places = ((path.rpartition("/")[0], path) for path in index.paths)
        known = {base_of[folder] for folder, path in places if folder in base_of and format_of(path) in learnt}
        _refuse_other_folders(context, known or {*base_of.values()})
    index = index.without(index.used_by(context.twins))
    pairs = zip(index.names, index.paths, strict=True)
    found = {name: base for name, path in pairs if (base := base_of.get(path.rpartition("/")[0])) is not None}
    sides = [name for name in found if in_side_folder(name)]
    if root == AUTO and sides and are_masks(sides, rest := [name for name in found if not in_side_folder(name)]):
        found = {name: found[name] for name in rest}
    if not found:
        if root != AUTO and base_of:
            raise _all_trained_on(context, root)
        index = index.without(index.used_by(context.left_out))
        unused = Counter(path.rpartition("/")[0] for path in index.paths if not beside_images(path))
        lines = [
            setting_line("test_images", folder, f"{count:,} images that no training row names")
            for folder, count in unused.most_common(MAX_FOLDERS)
            if folder
        ]
        if not lines:  # among the classes, for all that is known
            named = [folder for folder in context.folders() if role_of_folders(folder) == TEST]
            lines = [setting_line("test_images", folder) for folder in named[:MAX_FOLDERS]]
        train_table, label = str(context.settings["train_table"]), context.settings.get("label")
        if (
            not lines
            and train_table in context.tables
            and isinstance(label, str)
            and label in context.tables[train_table].header
        ):
            count = int(context.tables[train_table].column(label).where("").sum())
            lines += [setting_line("test_table", train_table, f"its {count:,} rows without a label")] if count else []
        raise context.stop(
            "no test images: no sample submission, no test table, and no image in a folder called test; name them:",
            lines or ["sample: FILE", "test_table: FILE", "test_images: FOLDER"],
        )
    if root == AUTO:
        _refuse_labelled(context, index, found)
    called = {name: without_suffix(plain(name).removeprefix(base)) for name, base in found.items()}
    known = {called[name] for name in found if format_of(name) in learnt}
    members = Texts(name for name in found if format_of(name) in learnt or called[name] not in known)
    if len(members) < len(found):
        context.notes.append(
            f"{len(found) - len(members):,} test images are there in a format of training images too: left aside"
        )
    column, ids = _called_as_trained(context, members)
    return Side(id_table(column, ids), column, ids, members)


def _refuse_labelled(context: Context, index: ImageIndex, found: Mapping[str, str]) -> None:
    """Raise where the test images lie in folders called as the classes' are, and a folder without any has images that
    nothing uses: `seg_pred` beside `seg_train/sea` and `seg_test/sea`.

    found: test image -> the folder called test that it is in.
    """
    roles = context.roles
    classes = {folder.rpartition("/")[2] for folder, role in roles.items() if role == TRAIN}
    if not all(set(plain(name).removeprefix(base).split("/")[:-1]) & classes for name, base in found.items()):
        return
    rest = Counter(path.rpartition("/")[0] for path in index.without(index.used_by(found)).paths)
    pools = {
        folder: count
        for folder, count in rest.items()
        if count >= max(2, MIN_POOL * len(found))
        and roles[folder] is None
        and not is_left_over(folder.rpartition("/")[2])
    }
    if not pools:
        return
    raise context.stop(
        "the images of folders called test lie in folders called as the classes are, and others are used nowhere; "
        "which are to be predicted? Choose one:",
        [setting_line("test_images", folder, f"{count:,} images, no label known") for folder, count in pools.items()]
        + [
            setting_line("test_images", base, f"{count:,} images in folders of classes")
            for base, count in Counter(found.values()).items()
        ],
    )


def _all_trained_on(context: Context, root: str) -> ValueError:
    """Says how to keep the images in the folder that the user wants predicted out of training."""
    said, table = f"all images in {root} are training images; to predict them", context.settings["train_table"]
    if table != NONE:
        return context.stop(f"{said}, take their rows out of {table}")
    bases = {base for role, base in split_places(context.folders()).values() if role == TRAIN}
    return context.stop(
        f"{said}, say which folder alone is for training:",
        [setting_line("train_images", base) for base in sorted(bases) or ["FOLDER"]],
    )


def _called_as_trained(context: Context, members: Texts) -> tuple[str, Texts]:
    """(id column, ids of these images) as the train table has them: whole file names or paths; else names alone."""
    root, column = common_folder(members), str(context.settings["id_column"])
    folder, _, last = str(context.settings["train_images"]).rpartition("/")
    if context.settings["train_table"] == NONE or columns_of(last) != [column]:
        return "id", Texts(without_suffix(name.removeprefix(root + "/")) for name in members)
    if last != f"{{{column}}}":
        return column, Texts(without_suffix(name.removeprefix(root + "/")) for name in members)
    return column, Texts(name.removeprefix(root + "/") if folder else plain(name) for name in members)


def _refuse_other_folders(context: Context, bases: Collection[str]) -> None:
    """Raise where several folders are called test: `test-multiple_fruits`, `unlabeled`, `test_b`."""
    others = [base for base in bases if not is_all_role(base.rpartition("/")[2])]
    if 1 < len(bases) > len(others):
        raise context.stop(
            f"{len(bases)} folders may hold the test images; choose one:",
            [setting_line("test_images", base) for base in sorted(bases, key=lambda base: (base in others, base))]
            + [setting_line("test_images", common_folder(f"{base}/" for base in bases) or TOP, "all of them")],
        )
