"""Labels that stand in no table: in the folders that images lie in, or in their names. Both become a table."""

import os
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import product

import numpy as np

from pipeline.base.texts import Texts
from pipeline.competition.lists import MARKS, split_list
from pipeline.competition.spelling import folded, rules_for
from pipeline.layout.sample_submission import classes_named
from pipeline.tables.image_names import without_suffix
from pipeline.tables.image_paths import TWIN, ImageIndex, stem_of
from pipeline.tables.table import AUTO, Table
from pipeline.tables.words import TEST, TRAIN, VALID, denied, is_left_over, is_side_folder, split_places

FOLDER, FILE_NAME = "folder", "file name"
PATH_COLUMN, LABEL_COLUMN, PART_COLUMN = "path", "label", "part"
# what stands before a running number: cat.0.jpg, dog_12.png, rose-3.jpg, `sun flower (4).jpg`
NAME_PATTERN = r"^(?P<label>.*?[^\W\d_].*?)[._\- ]*\(?\d+\)?$"
MIN_PER_LABEL = 2
MIN_CLASSES = 2
WHOLE = -1  # as a level of folders: all that tell images apart, as a path
LEAF = 0  # as a level of folders: the one next to the images
NUM_SHOWN = 3  # classes of a level


class SeveralLevelsError(ValueError):
    """Folders of several levels may be the classes. `choices`: values of competition.label, with what they mean."""

    def __init__(self, choices: Iterable[str]) -> None:
        self.choices = list(choices)
        super().__init__(f"{len(self.choices)} levels of folders may be the classes; choose one:")


def folder_level(label: str | tuple[str, ...]) -> int | None:
    """What competition.label says of folders: n of `folder n`, 0 of `folder` alone; None where it says other things.

    `folders` is their whole path, -1.
    """
    if label == f"{FOLDER}s":
        return WHOLE
    found = re.fullmatch(FOLDER + r"(?: (\d{1,2}))?", label) if isinstance(label, str) else None
    return int(found[1] or 0) if found else None


def class_folder_table(
    index: ImageIndex, root: str = AUTO, *, level: int | None = None, asked: Collection[str] = ()
) -> tuple[Table, str] | None:
    """(path, label of images in class folders, what competition.label says of it); None if there are none.

    root: where they lie, found by looking where `auto`; the table is called so. level: 1 is the topmost folder that
    tells images apart, 0 the one next to the images, None whichever is plain: the only level, or the one that the
    sample's cells `asked` name. A folder called alike in every class (`images`) is no level. Validation images in the
    same class folders are labelled too: a column `part` then says `train` or `valid`. Raises SeveralLevelsError.
    """
    places = _labelled_places(index, root, {folded(cell) for cell in asked})
    parts = {folder: VALID if role == VALID else TRAIN for folder, (role, _) in places.items()}
    below = {folder: _below(folder, base, root) for folder, (_, base) in places.items()}
    less = _without_sides(index, below, asked)
    below = less if level is None or len(set(less.values())) >= MIN_CLASSES else below
    own = {folder: names for folder, names in below.items() if parts[folder] == TRAIN}
    lead = _num_shared(list(own.values()))
    for part in (TRAIN, VALID):  # train/train/cat beside val/val/cat
        leads = {names[:lead] for folder, names in below.items() if parts[folder] == part}
        if len(leads) == 1:
            below |= {folder: names[lead:] for folder, names in below.items() if parts[folder] == part}
    found = _level([below[folder] for folder in own], level, asked)
    if found is None:
        return None
    label_of = _labels_at({folder: below[folder] for folder in own}, found)
    if len(set(label_of.values())) < MIN_CLASSES:
        return None
    label_of_held = _labels_at({folder: names for folder, names in below.items() if folder not in own}, found)
    dealt_in = bool(label_of_held) and set(label_of_held.values()) <= set(label_of.values())
    if dealt_in:
        label_of |= label_of_held
    if root == AUTO:
        root = common_folder(f"{folder}/" for folder in (label_of if dealt_in else own))
    header = (PATH_COLUMN, LABEL_COLUMN, PART_COLUMN)[: 3 if dealt_in else 2]
    rows = (
        (name, label_of[folder], parts[folder])[: len(header)]
        for path, name in zip(index.paths, index.names, strict=True)
        if (folder := _folder(path)) in label_of
    )
    plain = _level([below[folder] for folder in own], LEAF, ())
    return Table.of_rows(root, header, rows), _said(found) if level or found != plain else FOLDER


def _without_sides(
    index: ImageIndex, below: Mapping[str, tuple[str, ...]], asked: Collection[str]
) -> dict[str, tuple[str, ...]]:
    """Less folders called `unlabeled` and the like beside the classes, unless the sample names them, or a class that
    is in them alone; and less `masks` and the like where the sample names the classes without them or their files are
    called as those of the classes, one for each; `mask` beside `no_mask` is a class."""
    named = {folded(cell) for cell in asked}
    over = {folder for folder in below if any(map(is_left_over, below[folder]))}
    sure = {folded(name) for folder, names in below.items() if folder not in over for name in names}
    over = {folder for folder in over if all(folded(name) not in named - sure for name in below[folder])}
    below = {folder: names for folder, names in below.items() if folder not in over} if over != set(below) else below
    classes = denied({name for names in below.values() for name in names})
    words = {
        folder: {name for name in {*names, *folder.split("/")} - classes if is_side_folder(name)}
        for folder, names in below.items()
    }
    sides = {folder for folder in below if words[folder]}
    if not sides or sides == set(below) or any(folded(name) in named for name in set().union(*words.values())):
        return dict(below)
    inside = [path for path in index.paths if _folder(path) in below]
    own, rest = ([path for path in inside if (_folder(path) in sides) is side] for side in (True, False))
    told = len(named) > 1
    left = sides if told or are_masks(own, rest) else set()
    return {folder: names for folder, names in below.items() if folder not in left}


def are_masks(paths: Iterable[str], pictures: Iterable[str]) -> bool:
    """Whether each of the paths is called as one of the pictures (`7.png`, or `7_mask.png` of it), one for each."""
    stems = Counter(map(stem_of, pictures))
    twins = ((stem, TWIN.fullmatch(stem)) for stem in map(stem_of, paths))
    called = Counter(twin[1] if twin and stem not in stems else stem for stem, twin in twins)
    return all(0 < stems[stem] <= count for stem, count in called.items())


def in_side_folder(path: str) -> bool:
    """Whether a folder on the path is called as those of masks, thumbnails and the like are."""
    return _is_side(_folder(path))


def _level(below: Collection[tuple[str, ...]], level: int | None, asked: Collection[str]) -> int | None:
    """The level of the classes, from 1; `LEAF` where they lie at several depths; None where nothing tells apart.

    below: the folders that hold images, each as the names on its path.
    """
    labelled = [names for names in below if names]
    if level or not labelled:
        return level or None
    even = {len(names) for names in labelled}
    levels = [number for number in range(1, min(even) + 1) if len({names[number - 1] for names in labelled}) > 1]
    levels += [LEAF] if len(even) > 1 else []
    if level == LEAF or len(levels) < 2:
        return levels[0] if len(levels) == 1 else LEAF if levels else None
    names_at = {number: set(_names_at(labelled, number)) for number in (*levels, WHOLE)}
    cells = [set(asked), *({label for cell in asked for label in split_list(cell, mark)} for mark in MARKS)]
    for fits, names in product((_are_names, _are_spelled), cells):
        fitting = [number for number in names_at if names and fits(names, names_at[number])]
        if fitting and (len(fitting) == 1 or names_at[fitting[0]] == names_at[fitting[1]]):
            return fitting[0]
    raise SeveralLevelsError(
        f"{_said(number)}    # {len(names)} classes: {', '.join(sorted(names)[:NUM_SHOWN])}, …"
        for number, names in names_at.items()
        if number != WHOLE or LEAF not in names_at
    )


def _said(level: int) -> str:
    """The level as competition.label names it."""
    return f"{FOLDER}s" if level == WHOLE else f"{FOLDER} {level}" if level else FOLDER


def _are_names(asked: Collection[str], names: Collection[str]) -> bool:
    return set(map(folded, asked)) <= set(map(folded, names))


def _are_spelled(asked: Collection[str], names: Collection[str]) -> bool:
    return bool(rules_for(set(asked), names) or classes_named(list(asked), sorted(names)))


def _num_shared(below: Sequence[tuple[str, ...]]) -> int:
    """How many names all these paths begin with."""
    together = enumerate(zip(*below, strict=False))
    return next((number for number, names in together if len(set(names)) > 1), min(map(len, below), default=0))


def _names_at(below: Collection[tuple[str, ...]], level: int) -> list[str]:
    """The name that each path has at this level; '' where it is not as deep. Of leaves that share a name: the path."""
    if level == WHOLE:
        return ["/".join(names) for names in below]
    if level != LEAF:
        return [names[level - 1] if len(names) >= level else "" for names in below]
    leaves = Counter(names[-1] for names in set(below) if names)
    whole = max(leaves.values(), default=0) > 1
    return ["" if not names else "/".join(names) if whole else names[-1] for names in below]


def _labels_at(below: Mapping[str, tuple[str, ...]], level: int) -> dict[str, str]:
    """Folder -> label, for those that lie as deep as this."""
    labels = _names_at(list(below.values()), level)
    return {folder: label for folder, label in zip(below, labels, strict=True) if label}


def _below(folder: str, base: str, root: str) -> tuple[str, ...]:
    """The names on the path from the split's folder, or from `root` where that is deeper."""
    start = root if root != AUTO and len(root) > len(base) else base
    return tuple(folder[len(start) :].strip("/").split("/")) if folder != start else ()


def file_name_table(index: ImageIndex, pattern: str = AUTO, root: str = AUTO) -> Table | None:
    """path, label for images whose name holds the label; None where the guess does not give classes.

    pattern: a regular expression with a group called `label`, searched in the name without folder and suffix.
    """
    try:
        expression = re.compile(NAME_PATTERN if pattern == AUTO else pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"competition.label {pattern!r} is no regular expression: {error}") from error
    if "label" not in expression.groupindex:
        raise ValueError(f"competition.label {pattern!r} must have a group (?P<label>…), or be a column of the table")
    paths = _training_paths(index, root)

    def labelled() -> Iterator[tuple[str, str]]:
        for path in paths:
            match = expression.search(without_suffix(path.rpartition("/")[2]))
            if match:
                yield path, match["label"]

    counts = Counter(label for _, label in labelled())
    if pattern == AUTO and (len(counts) < 2 or min(counts.values()) < MIN_PER_LABEL or counts.total() < len(paths)):
        return None
    where = root if root != AUTO else common_folder(path for path, _ in labelled())
    rows = ((index.names[index.number(path)], label) for path, label in labelled())
    return Table.of_rows(where, (PATH_COLUMN, LABEL_COLUMN), rows) if counts else None


def _training_paths(index: ImageIndex, root: str) -> Texts:
    folders = {folder for folder, (role, _) in _labelled_places(index, root).items() if role != VALID}
    folders = {folder for folder in folders if not _is_side(folder)} or folders
    return Texts(path for path in index.paths if _folder(path) in folders)


def _labelled_places(index: ImageIndex, root: str, named: Collection[str] = ()) -> dict[str, tuple[str | None, str]]:
    """`split_places` of the folders of images under `root` that may be labelled.

    Where one is called train: those, and those for validation; else all that no word keeps for the test. named: what
    the sample submission calls classes, `folded`: where `train` lies beside `bus` and `car`, that is a class.
    """
    places = split_places({_folder(path): None for path in index.paths})
    are_classes = {folder for folder, (_, base) in places.items() if folder == base and folded(_name(folder)) in named}
    places |= dict.fromkeys(are_classes, (None, ""))
    inside = {
        folder: place for folder, place in places.items() if root in (AUTO, "", folder) or folder.startswith(root + "/")
    }
    if not inside and root != AUTO:
        raise ValueError(f"competition.train_images is {root!r}, where no image lies; write the folder's path")
    roles = {role for role, _ in inside.values()}
    if TRAIN in roles:
        return {folder: place for folder, place in inside.items() if place[0] in (TRAIN, VALID)}
    labelled = {folder: place for folder, place in inside.items() if place[0] != TEST}
    return labelled or (inside if root != AUTO else {})


def without_asked(index: ImageIndex, used: np.ndarray) -> ImageIndex:
    """The index less the images that are asked for, (N,) bool, the folder that is there for them alone, and masks of
    such images."""
    if not used.any():
        return index
    kept = Counter(_folder(path) for path in index.without(used).paths)
    place = _place_of_asked(kept, {_folder(path) for path, is_used in zip(index.paths, used, strict=True) if is_used})
    in_place = (f"{_folder(path)}/".startswith(place) for path in index.paths)
    used = used | np.fromiter(in_place, bool, len(index.paths)) if place else used
    stems = {stem_of(path) for path, is_used in zip(index.paths, used, strict=True) if is_used}
    masks = (_is_side(_folder(path)) and stem_of(path) in stems for path in index.paths)
    return index.without(used | np.fromiter(masks, bool, len(index.paths)))


def _place_of_asked(kept: Mapping[str, int], asked: Collection[str]) -> str:
    """The deepest folder around the images asked for, with a `/`; '' where others in it may be for training.

    kept: number of the other images in each folder. They are not for training where no folder of others alone lies in
    the place, and outside are class folders, or at least as many images.
    """
    place = f"{common_folder(f'{folder}/' for folder in asked)}/"
    inside = {folder: count for folder, count in kept.items() if f"{folder}/".startswith(place)}
    outside = {folder: count for folder, count in kept.items() if folder not in inside and not _is_side(folder)}
    apart = len(outside) >= MIN_CLASSES or (outside and sum(inside.values()) <= sum(outside.values()))
    return place if place != "/" and apart and set(inside) <= set(asked) else ""


def _is_side(folder: str) -> bool:
    return any(map(is_side_folder, folder.split("/")))


def _name(folder: str) -> str:
    return folder.rpartition("/")[2]


def _folder(path: str) -> str:
    return path.rpartition("/")[0]


def common_folder(paths: Iterable[str]) -> str:
    """The deepest folder that all these paths lie under; '' for none."""
    folders = {_folder(path) for path in paths}
    return os.path.commonpath(folders) if folders and all(folders) else ""
