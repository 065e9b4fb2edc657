"""Which column holds the label, what kind of target it is, and what each row's label is."""

import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

from pipeline.competition.problems import Problems
from pipeline.competition.sample import match_names
from pipeline.competition.schema import LabelSets, label_cell, sorted_classes
from pipeline.competition.tables import AUTO, CATEGORY, CATEGORY_ID, NONE, Table
from pipeline.texts import Texts

EMPTY_LABELS = ("", "nan")
DOUBTFUL_LABELS = ("na", "n/a", "null", "none", "<na>")  # pandas reads these as missing; they may be classes
DELIMITERS = (" ", ",", ";", "|")
LABEL_NAMES = ("label", "labels", "class", "category", "target", "species", "breed", "diagnosis", "class_name",
               "classname", "category_id", "class_id", "label_name", "tags", "y")  # fmt: skip
ORDINAL_NAMES = (
    "diagnosis",
    "grade",
    "level",
    "severity",
    "isup_grade",
    "rating",
    "stage",
    "dr_grade",
    "kl_grade",
    "score",
)
MAX_GRADES = 12
ONE = {"0": 0, "1": 1, "0.0": 0, "1.0": 1, "False": 0, "True": 1}


@dataclass(frozen=True)
class Labels:
    """The labels of a table's rows."""

    columns: tuple[str, ...]
    several: bool  # an image may have several labels, or none
    cells: Texts  # as train.csv holds them: the label, or a JSON list where `several`
    classes: tuple[str, ...]
    delimiter: str  # between labels in the organiser's cells; '' where there is one label or one column for each


def label_choices(
    table: Table, *, names: Sequence[str], cells: Collection[str], taken: Collection[str]
) -> list[tuple[str, ...]]:
    """The columns that could hold the label, as the submission sees it; one choice means that there is no doubt.

    names: what the submission calls its value columns (or the suffixes of its long ids); cells: what the sample
    writes there; taken: columns with another role (ids, paths, columns that the test table has too).
    """
    if names and all(name in table.header for name in names):
        return [tuple(names)]
    free = [column for column in table.header if column and column not in taken and not column.startswith("Unnamed:")]
    if len(names) > 1:
        return _columns_for_names(table, free, names)
    plausible = [column for column in free if _plausible(table.column(column))]
    indicators = [column for column in free if all(cell in ONE for cell in table.column(column))]
    tokens = {token for cell in cells for mark in DELIMITERS for token in cell.split(mark)}
    if len(indicators) > 2 and (tokens & set(indicators) or len(indicators) == len(free)):
        return [tuple(indicators)]
    return [(column,) for column in _narrowed(table, plausible, cells, asked=bool(names))]


def _columns_for_names(table: Table, free: Sequence[str], names: Sequence[str]) -> list[tuple[str, ...]]:
    choices: list[tuple[str, ...]] = []
    for column in free:
        found = table.column(column).distinct()
        delimiter = table.delimiter or found_delimiter(found)
        classes = {token for cell in found for token in _tokens(cell, delimiter)}
        if match_names(names, sorted(classes)):
            choices.append((column,))
    indicators = [column for column in free if all(cell in ONE for cell in table.column(column))]
    if not choices and match_names(names, indicators):
        choices.append(tuple(indicators))
    return choices


def _plausible(cells: Texts) -> bool:
    distinct = {cell.strip() for cell in cells.distinct()} - set(EMPTY_LABELS)
    fractions = sum(re.fullmatch(r"-?\d*\.\d*[1-9]\d*", cell) is not None for cell in distinct)  # 1.0 is none
    return 2 <= len(distinct) <= max(2, len(cells) // 2) and fractions <= len(distinct) // 2


def _narrowed(table: Table, columns: list[str], cells: Collection[str], *, asked: bool) -> list[str]:
    """Columns narrowed by what the sample writes, or by name where there is no sample (not `asked`).

    Of columns that say the same, the first is enough.
    """
    if {CATEGORY_ID, CATEGORY} & set(columns):
        columns = [column for column in (CATEGORY_ID, CATEGORY) if column in columns]
    if len(columns) > 1:
        fitting = [column for column in columns if cells and _writes(table, column, cells)]
        columns = fitting or columns
    if len(columns) > 1 and all(table.column(column) == table.column(columns[0]) for column in columns):
        columns = columns[:1]
    if len(columns) > 1 and not asked:
        named = [column for column in columns if column.lower() in LABEL_NAMES]
        columns = named if len(named) == 1 else columns
    if set(columns) == {CATEGORY_ID, CATEGORY}:
        columns = [CATEGORY_ID]  # leaderboards of COCO-style competitions ask for the number, if the sample is silent
    return columns


def _writes(table: Table, column: str, cells: Collection[str]) -> bool:
    """Whether the sample's cells hold nothing but labels of this column, one or several in a cell."""
    found = table.column(column).distinct()
    delimiter = table.delimiter or found_delimiter(found)
    labels = {token for cell in found for token in _tokens(cell, delimiter)}
    return any(
        {token for cell in cells for token in _tokens(cell, mark)} <= labels for mark in ("", delimiter, *DELIMITERS)
    )


def found_delimiter(cells: Sequence[str]) -> str:
    """What separates labels within a cell; '' where each cell is one label.

    Cells are lists where they hold different numbers of parts, and nearly all parts of the longer ones come back in
    other cells: `scab`, `scab rust`, `rust`. `a cat`, `bird` are not.
    """
    distinct = sorted({cell.strip() for cell in cells} - {""})
    for mark in DELIMITERS:
        longer = [cell for cell in distinct if mark in cell]
        if not longer or len({cell.count(mark) for cell in distinct}) == 1:
            continue
        seen = Counter(token for cell in distinct for token in set(_tokens(cell, mark)))
        parts = {token for cell in longer for token in _tokens(cell, mark)}
        if sum(seen[token] > 1 for token in parts) >= 0.8 * len(parts):
            return mark
    return ""


def _tokens(cell: str, delimiter: str) -> list[str]:
    parts = cell.split(delimiter) if delimiter else [cell]
    return [part.strip() for part in parts if part.strip()]


def read_labels(
    table: Table, columns: tuple[str, ...], ids: Sequence[str], problems: Problems, *, delimiter: str = AUTO
) -> Labels:
    """The labels of every row. What is wrong with single cells goes to `problems`."""
    if len(columns) > 1:
        return _indicator_labels(table, columns, ids, problems)
    cells = table.column(columns[0])
    mark = (
        table.delimiter or found_delimiter(cells.distinct())
        if delimiter == AUTO
        else ""
        if delimiter == NONE
        else delimiter
    )
    if not mark:
        check_labels(table.name, ids, cells, problems)
        return Labels(columns, False, cells, sorted_classes(cells.distinct()), "")
    classes = sorted_classes(token for cell in cells for token in _tokens(cell, mark))
    order = {label: place for place, label in enumerate(classes)}
    written = Texts(label_cell(sorted(set(_tokens(cell, mark)), key=order.__getitem__)) for cell in cells)
    _note_unlabelled(table.name, ids, written, problems)
    return Labels(columns, True, written, classes, mark)


def _indicator_labels(table: Table, columns: tuple[str, ...], ids: Sequence[str], problems: Problems) -> Labels:
    chosen = Table(table.name, columns, tuple(table.column(column) for column in columns))
    strange = sorted({cell for cells in chosen.cells for cell in cells.distinct() if cell.strip() not in ONE})
    if sum(any(cell.strip() not in ONE for cell in row) for row in chosen.rows()) > table.num_rows / 2:
        raise ValueError(
            f"{table.name}: the columns {list(columns)[:5]} hold {', '.join(map(repr, strange[:4]))}, not 0 and 1: "
            "several targets an image, or numbers (regression), are not learnt here"
        )
    for image_id, row in zip(ids, chosen.rows(), strict=True):
        for column, cell in zip(columns, row, strict=True):
            if cell.strip() not in ONE:
                problems.add(
                    "label cell that is not 0 or 1",
                    f"{image_id}: {column} = {cell!r}",
                    f"columns {list(columns)[:3]} of {table.name} say 0 or 1",
                )
    if all(len(labels) == 1 for labels in _ones(chosen)):
        return Labels(columns, False, Texts(labels[0] for labels in _ones(chosen)), tuple(columns), "")
    return Labels(columns, True, Texts(map(label_cell, _ones(chosen))), tuple(columns), "")


def _ones(table: Table) -> Iterator[list[str]]:
    """The columns in which each row has 1."""
    for row in table.rows():
        yield [column for column, cell in zip(table.header, row, strict=True) if ONE.get(cell.strip(), 0)]


def _note_unlabelled(table: str, ids: Sequence[str], cells: Sequence[str], problems: Problems) -> None:
    """cells: as train.csv holds several labels."""
    none = label_cell([])
    for image_id, cell in zip(ids, cells, strict=True):
        if cell == none:
            problems.add(
                "image without label",
                image_id,
                f"label the row in {table}; if an image may have none: competition.allow: [image without label]",
            )


def check_labels(table: str, ids: Sequence[str], labels: Texts, problems: Problems) -> None:
    """Note empty labels, outer spaces, labels that may mean missing, and two spellings of one class."""
    for image_id, label in zip(ids, labels, strict=True):
        if label.strip().lower() in EMPTY_LABELS:
            problems.add("empty label", f"{image_id} = {label!r}", f"label the row in {table}, or take it out")
        elif label.strip().lower() in DOUBTFUL_LABELS:
            problems.add(
                "label that may mean missing",
                f"{image_id} = {label!r}",
                f"label the row in {table}; if it is a class: competition.allow: [label that may mean missing]",
            )
        elif label != label.strip():
            problems.add("label with outer spaces", f"{image_id} = {label!r}", f"take the spaces out of {table}")

    spellings: dict[str, set[str]] = {}
    for label in labels.distinct():
        spellings.setdefault(unicodedata.normalize("NFC", label).strip().casefold(), set()).add(label)
    for variants in spellings.values():
        if len({variant.strip() for variant in variants}) > 1:
            problems.add(
                "duplicate class spelling",
                " / ".join(sorted(variants)),
                "spell the class one way; if they are two classes: competition.allow: [duplicate class spelling]",
            )


def looks_ordinal(labels: Labels, asked: Sequence[str]) -> bool:
    """Whether the labels are grades: 0 … K-1 or 1 … K, K from 3, in a column called as grades are.

    asked: what the sample submission calls its value columns; that name counts too.
    """
    names = {name.lower() for name in (*labels.columns, *asked)}
    if labels.several or len(labels.columns) != 1 or not names & set(ORDINAL_NAMES):
        return False
    if (
        not all(label.isdecimal() and len(label) < 18 for label in labels.classes)
        or not 3 <= len(labels.classes) <= MAX_GRADES
    ):
        return False
    grades = [int(label) for label in labels.classes]
    return grades in (list(range(len(grades))), list(range(1, len(grades) + 1)))


def label_counts(cells: Sequence[str], *, several: bool) -> Counter[str]:
    """Label -> number of `label` cells of train.csv that have it."""
    return Counter(chain.from_iterable(LabelSets(cells, several=several)))
