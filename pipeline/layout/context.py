"""One recognition under way: what it looks at, what it has found out, and how it stops or notes a problem."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any

import numpy as np

from pipeline.archive.archive import Archive
from pipeline.base.texts import Texts, rows_of_equals
from pipeline.competition.problems import Problems, question, setting_line
from pipeline.layout.sample_submission import LongIds, Sample
from pipeline.tables.image_names import IMAGE_SUFFIXES
from pipeline.tables.image_paths import (
    MISSING,
    NEARLY,
    ImageIndex,
    Match,
    candidates_of,
    holds_file_names,
    images_of,
    preference,
    twins_of_images,
)
from pipeline.tables.table import AUTO, Table
from pipeline.tables.words import role_of, split_roles

LABEL_STEM = r"label|ground_?truth"  # in the name of a table of labels
ANSWER_STEM = LABEL_STEM + r"|solution|answer|(^|_)y(_|$)"  # of test images
TRAIN_MISSING, TEST_MISSING = "training image missing", "test image missing"  # in competition.allow


@dataclass(frozen=True, kw_only=True)
class Overrides:
    """What the user says instead of what would be recognised: section `competition` of params.yaml, `auto` = look."""

    encoding: str = AUTO
    header: str | tuple[str, ...] = AUTO  # names of the columns of tables that have no header
    pixels: str = AUTO  # the shape of an image that is a table's row: HxW, HxWx3, 3xHxW
    train_table: str = AUTO  # a member, or none: labels come from folders or file names
    test_table: str = AUTO  # a member, or none
    sample: str = AUTO  # a member, or none
    id_column: str = AUTO
    label: str | tuple[str, ...] = AUTO  # a column, several 0/1 columns, folder, or a pattern with (?P<label>…)
    delimiter: str = AUTO  # between labels in one cell; none = one label a cell
    train_images: str = AUTO  # a template; of folders and file names: the root folder
    test_images: str = AUTO
    target: str = AUTO
    grades: str | tuple[str, ...] = AUTO  # all labels, in the order of the grades that they are
    positive: str = AUTO
    submission: str = AUTO
    metric: str = AUTO
    spelling: str = AUTO  # a rule; see pipeline.competition.spelling
    allow: tuple[str, ...] = ()  # kinds of problem that shall not stop ingest

    @classmethod
    def among(cls, settings: Mapping[str, Any]) -> "Overrides":
        """The overrides among the keys of section `competition`; it has others too."""
        names = {item.name for item in fields(cls)}
        return cls(**{name: value for name, value in settings.items() if name in names})


@dataclass
class Context:
    """The state of one recognition."""

    archive: Archive
    problems: Problems
    overrides: Overrides
    tables: dict[str, Table]
    index: ImageIndex
    sample: Sample | None = None
    long: LongIds | None = None  # the sample's ids taken apart, where they name image and class
    test_table: Table | None = None
    settings: dict[str, str | list[str]] = field(default_factory=dict)  # keys of section `competition`
    unread: list[str] = field(default_factory=list)  # about tables that could not be read, with lines for params.yaml
    reasons: Mapping[str, str] = field(default_factory=dict)  # member -> why it cannot be read as a table
    left_out: list[str] = field(default_factory=list)  # images of rows that are not used
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def stop(self, what: str, choices: Sequence[str] = ()) -> ValueError:
        """An error about this competition, and tables left aside; choices: for params.yaml, one of which settles it."""
        error = question(f"{self.archive.path}: {what}", choices)
        aside = (line for line in self.unread if line.partition(" is left aside")[0] not in what)
        return ValueError("\n".join([str(error), *aside]))

    def asked(self) -> tuple[str, ...]:
        """What the sample submission calls the values it asks for: columns, or the classes of its long ids."""
        if self.long is not None:
            return self.long.suffixes
        return self.sample.value_columns if self.sample else ()

    def sample_cells(self) -> set[str]:
        """What the sample submission writes in its value columns; nothing where its ids are long."""
        return self.sample.cells() if self.sample and not self.long else set()

    def names_of_classes(self) -> set[str]:
        """What the sample submission may call classes: its columns, cells and the ends of its long ids."""
        return {*self.asked(), *self.sample_cells()}

    def sample_ids(self) -> Texts:
        """The image ids that the sample submission asks for."""
        if self.long is not None:
            return self.long.prefixes
        return self.sample.ids() if self.sample else Texts()

    def folders(self) -> dict[str, None]:
        """The folders that images lie in, in order."""
        return {path.rpartition("/")[0]: None for path in self.index.paths}

    @cached_property
    def roles(self) -> dict[str, str | None]:
        """Of the folders that images lie in."""
        return split_roles(self.folders())

    @cached_property
    def twins(self) -> Texts:
        """Images that lie beside others as their masks do: `7_mask.png`. Where no table names images, they are none."""
        return self.index.names.take(twins_of_images(self.index))

    def role_of_table(self, table: Table) -> str | None:
        """What a table's name says, else the folder that it lies in: `train/_classes.csv`, `test/_classes.csv`."""
        return role_of(table.stem) or self._roles_of_folders.get(table.name.rpartition("/")[0])  # not of joined tables

    @cached_property
    def _roles_of_folders(self) -> dict[str, str | None]:
        """Of the folders that tables lie in."""
        return split_roles(name.rpartition("/")[0] for name in self.tables)

    def answers(self) -> set[str]:
        """The columns of a test table that is called as tables of labels are: ids and labels, which came with it."""
        table = self.test_table
        return {*table.header} if table is not None and re.search(ANSWER_STEM, table.stem) else set()

    def test_columns(self) -> set[str]:
        """Columns that say something of test images: a label is none of them; one that is to be filled in may be."""
        table = self.test_table
        if table is None or self.answers():
            return set()
        return {name for name, cells in zip(table.header, table.cells, strict=True) if len(cells.distinct()) > 1}


@dataclass(frozen=True)
class Side:
    """Training or test images."""

    table: Table
    id_column: str
    ids: Texts
    members: Texts = field(default_factory=Texts)  # '' where there is none


def named_table(context: Context, tables: Mapping[str, Table], key: str) -> Table:
    """The table that `competition.<key>` names."""
    override = getattr(context.overrides, key)
    if override not in tables:
        raise context.stop(f"competition.{key} is {override!r}, which is not among the tables {sorted(tables)[:10]}")
    return tables[override]


def only_match(
    context: Context,
    matches: Sequence[Match],
    table: Table,
    role: str,
    *,
    index: ImageIndex | None = None,
    shared: Collection[str] = (),
) -> Match:
    """The first of `matches`, unless another leads to other images and speaks as loudly: then the user is asked.

    As many images of the same column count where their place is called no worse. Another column's speak less loudly
    where they are bare ids and this one holds whole file names; of two that do so, the one that training and test
    `shared` counts. index: that in which the matches were found; default: all images.
    """
    index = index or context.index
    whole = {column for column in {match.column for match in matches} if holds_file_names(table.column(column))}
    most = matches[0].num_found
    complete = [match for match in matches if match.num_found >= NEARLY * most]
    named = {(match.template.rpartition(".")[0], match.num_found) for match in complete if match.template[-2:] != ".*"}
    complete = [match for match in complete if (match.template[:-2], match.num_found) not in named]
    if len(complete) == 1:
        return complete[0]
    found = {match: images_of(match.template, table, index) for match in complete}
    best = next((match for match in found if match.num_found == most and match.column in shared), matches[0])
    if not any(lead_apart(found[best], other) for other in found.values()):
        return best

    def place(match: Match) -> tuple[bool, bool, bool]:
        wrong = preference(match.template, role)[0] > 0
        return wrong, match.column not in whole, match.column in whole and match.column not in shared

    best = min(found, key=place)
    rivals = [best]
    for match in found:
        rank, best_rank = (preference(item.template, role)[0] for item in (match, best))
        found_by = match.num_found, best.num_found
        if match.column == best.column:
            as_good = min(found_by) >= NEARLY * max(found_by) and rank <= best_rank
        else:
            as_good = place(match) == place(best) or (rank < best_rank and not place(best)[0])
        if as_good and all(lead_apart(found[other], found[match]) for other in rivals):
            rivals.append(match)
    if len(rivals) > 1:
        choices = [setting_line(f"{role}_images", match.template) for match in rivals]
        raise context.stop(f"{len(rivals)} places may hold the {role} images of {table.name}; choose one:", choices)
    return best


def lead_apart(first: np.ndarray, second: np.ndarray) -> bool:
    """Whether a row means one image by the first and another by the second."""
    return bool(((first != second) & (first != MISSING) & (second != MISSING)).any())


def checked_ids(context: Context, ids: Texts, table: str) -> Texts:
    """The ids; empty and repeated ones are noted as problems."""
    empty = sum(not image_id.strip() for image_id in ids)
    if empty:
        context.problems.add("empty id", f"{empty} rows of {table}", f"give each row of {table} its id")
    for rows in rows_of_equals(ids):
        image_id = ids[rows[0]]
        if image_id.strip():
            context.problems.add(
                "duplicate id",
                f"{image_id} x{len(rows)} in {table}",
                "keep one row for each id; if each row is one of its labels: competition.target: multi_label",
            )
    return ids


def members_of(context: Context, side: Side, template: str, role: str, index: ImageIndex) -> Side:
    """The side with the member that each row means, '' where there is none or several: both are problems."""
    found = images_of(template, side.table, index)
    context.settings[f"{role}_images"] = template
    unclear = np.flatnonzero(found < 0)
    last_of = dict(zip(side.ids.take(unclear), unclear.tolist(), strict=True))  # of an id in several rows
    candidates = candidates_of(template, side.table.take(unclear), index)
    names_of = {
        row: [index.names[number] for number in numbers[:3]]
        for row, numbers in zip(unclear.tolist(), candidates, strict=True)
    }
    for image_id, row in last_of.items():
        if names_of[row]:
            context.problems.add(
                "id with several images",
                f"{image_id}: {', '.join(names_of[row])}",
                f"keep one of them, or say which: competition.{role}_images: {template.removesuffix('.*')}.jpg",
            )
        else:
            of_test = role == "test"
            allowed = of_test or TRAIN_MISSING in context.overrides.allow
            kind = TEST_MISSING if of_test else TRAIN_MISSING
            then = "predict them by the training prior" if of_test else "leave such rows out"
            context.problems.add(
                kind if allowed else f"id without image in {_place(template)}",
                image_id + near_miss(image_id, index),
                f"each id of {side.table.name} needs {template} (an image with one of {', '.join(IMAGE_SUFFIXES[:8])}, "
                f"…); or name another place: competition.{role}_images; or, to {then}: competition.allow: [{kind}]",
            )
    _note_shared(context, side, found, index)
    if len(unclear):  # text by text; else as one, which takes half the memory
        members = Texts(index.names[number] if number >= 0 else "" for number in found.tolist())
    else:
        members = index.names.take(found)
    return Side(side.table, side.id_column, side.ids, members)


def _note_shared(context: Context, side: Side, found: np.ndarray, index: ImageIndex) -> None:
    """Note images that several ids lead to, by the numbers `found` of each row."""
    numbers, counts = np.unique(found[found >= 0], return_counts=True)
    shared = np.flatnonzero(np.isin(found, numbers[counts > 1]))
    ids_of: dict[int, list[str]] = {}
    for row in shared.tolist():
        ids_of.setdefault(int(found[row]), []).append(side.ids[row])
    for number, ids in ids_of.items():
        distinct = list(dict.fromkeys(ids))
        if len(distinct) > 1:
            context.problems.add(
                "several ids for one image",
                f"{index.names[number]}: {', '.join(distinct[:3])}",
                f"give {side.table.name} one row for each image",
            )


def _place(template: str) -> str:
    before = template.split("{")[0].rpartition("/")[0]
    return before + "/" if before else "the archive"


def near_miss(image_id: str, index: ImageIndex) -> str:
    """An image whose name differs from the id by case or leading zeros alone, for the message."""
    numbered = index.numbered(image_id)
    if numbered:
        return f" (there is {numbered[0]}: leading zeros differ)"
    folded = index.folded(image_id)
    return f" (there is {folded}: case differs)" if folded else ""
