"""Which column holds the label, what kind of target it is, and what each row's label is."""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from pipeline.base.texts import Texts
from pipeline.competition.lists import BRACKETS, MARKS, bracket_style, found_delimiter, parts_by_mark, split_list
from pipeline.competition.schema import LabelSets, label_cell, sorted_classes
from pipeline.competition.spelling import folded, is_number, rules_for
from pipeline.layout.context import Context
from pipeline.layout.other_tasks import holds_runs
from pipeline.layout.sample_submission import classes_named
from pipeline.tables.image_paths import whole_number
from pipeline.tables.table import AUTO, CATEGORY, CATEGORY_ID, NO, NONE, YES, Table, first_counted
from pipeline.tables.words import is_unsorted, length_in, words_of

EMPTY_LABELS = ("", "nan")
EMPTY, MAY_MEAN_MISSING, OUTER_SPACES = "empty label", "label that may mean missing", "label with outer spaces"
WORD_FOR_NONE = "word for no label"
# pandas reads the first as missing, people the others; they may be classes
DOUBTFUL_LABELS = ("na", "n/a", "null", "none", "<na>", "unlabeled", "unlabelled", "?", "-")
MISSING_WORDS = (*DOUBTFUL_LABELS, *EMPTY_LABELS[1:])
LABEL_NAMES = (
    "label", "labels", "class", "category", "target", "species", "breed", "diagnosis", "class_name", "classname",
    "category_id", "class_id", "label_name", "tags", "y",
)  # fmt: skip
NO_LABELS = ("fold", "folds", "kfold", "width", "height")
ORDINAL_NAMES = {"diagnosis", "grade", "level", "severity", "rating", "stage", "score"}  # the last word of a column's
MAX_GRADES = 12
MIN_LABELS = 8  # images, before the number of different labels says anything
NUMBER_NAMES = {
    "age", "count", "counts", "yield", "price", "weight", "years", "months", "height", "mass", "temperature",
    "speed", "depth", "distance", "angle", "area", "volume",
}  # fmt: skip
SURELY_LABEL = ("label", "labels", "target")  # columns called so hold it, where the sample says nothing of which
CROSS = "x"  # of a column that has nothing else
ONE = dict.fromkeys(NO - {""}, 0) | dict.fromkeys((*YES, CROSS), 1)
MINUS_ONE = ("-1", "-1.0")
UNSURE = ("", *MINUS_ONE, "nan", "na")  # beside 0 and 1: unknown, as radiologists' reports have it
WITHOUT_LABEL = "image without label"
WITHOUT_COLUMN, OF_NO_COLUMN = "class without column", "row of a class without column"
NOT_ZERO_OR_ONE = "label cell that is not 0 or 1"


@dataclass(frozen=True)
class Labels:
    """The labels of a table's rows."""

    columns: tuple[str, ...]
    several: bool  # an image may have several labels, or none
    cells: Texts  # as train.csv holds them: the label, or a JSON list where `several`
    classes: tuple[str, ...]
    delimiter: str  # between labels in the organiser's cells; '' where there is one label or one column for each

    def take(self, rows: np.ndarray) -> "Labels":
        """The labels of these rows alone, as `Texts.take` takes them; an emptied class is none."""
        cells = self.cells.take(rows)
        gone = not self.several and len(self.columns) == 1
        return replace(self, cells=cells, classes=sorted_classes(cells.distinct()) if gone else self.classes)


def label_choices(
    table: Table, *, names: Sequence[str], cells: Collection[str], taken: Collection[str], fewer: bool = False
) -> list[tuple[str, ...]]:
    """The columns that could hold the label, as the submission sees it; one choice means that there is no doubt.

    names: what the submission calls its value columns (or the suffixes of its long ids); cells: what the sample
    writes there; taken: columns with another role (ids, paths, columns that the test table has too); fewer: classes
    may lack a name.
    """
    if names and all(name in table.header for name in names):
        if len(names) > 1 or not cells or _writes(table, names[0], cells, by_rule=True):
            return [tuple(names)]
        return _beside_header(table, names[0], cells, taken)
    free = [column for column in table.header if column and column not in taken and not column.startswith("Unnamed:")]
    if len(names) > 1:
        return _columns_for_names(table, free, names, fewer=fewer)
    plausible = [column for column in free if column.lower() not in NO_LABELS and _plausible(table, column)]
    indicators = [column for column in free if holds_ones(table.column(column))]
    tokens = set[str]().union(*parts_by_mark(cells))
    if len(indicators) > 2 and (tokens & set(indicators) or len(indicators) == len(free)):
        return [tuple(indicators)]
    choices = _narrowed(table, plausible, cells, names)
    if not names and len(indicators) > 2 and len(choices) > 1 and _is_one_hot(table, indicators):
        return [tuple(indicators)]
    return [(column,) for column in choices]


def _beside_header(table: Table, name: str, cells: Collection[str], taken: Collection[str]) -> list[tuple[str, ...]]:
    """The columns of which the sample's cells may be, where they are none of the column that its header names.

    `label` with `elm` in the sample is `label_name` of a table in which `label` is a number.
    """
    others = [column for column in table.header if column and column not in taken and column != name]
    indicators = [column for column in table.header if column and holds_ones(table.column(column))]
    if len(indicators) > 2 and set(cells) <= set(indicators):
        return [tuple(indicators)]
    is_word = bool(cells) and not any(is_number(cell) or cell.strip().lower() in ONE for cell in cells)
    if len(indicators) > 2 and name in indicators and is_word:  # it is called as one of the classes is
        return [tuple(indicators)] if _is_one_hot(table, indicators) else [tuple(indicators), (name,)]
    own = table.column(name)
    partner: list[tuple[str, ...]] = [
        (column,)
        for column in others
        if _one_to_one(own, table.column(column)) and _writes(table, column, cells, by_rule=False)
    ]
    return [(name,), *partner] if says_nothing(cells) else partner or [(name,)]


def _is_one_hot(table: Table, columns: Sequence[str]) -> bool:
    """Whether each row has 1 in one of these 0/1 columns and in no other."""
    chosen = Table(table.name, tuple(columns), tuple(table.column(column) for column in columns))
    return all(len(ones) == 1 for ones in _ones(chosen))


def _one_to_one(one: Texts, two: Texts) -> bool:
    pairs = set(zip(one, two, strict=True))
    return len(pairs) == len(one.distinct()) == len(two.distinct())


def _columns_for_names(
    table: Table, free: Sequence[str], names: Sequence[str], *, fewer: bool
) -> list[tuple[str, ...]]:
    choices: list[tuple[str, ...]] = []
    for column in free:
        labels = _labels_in(table, column, names=names)
        if classes_named(names, sorted(labels - _empty_labels(labels, (), names)), fewer=fewer):
            choices.append((column,))
    indicators = [column for column in free if holds_ones(table.column(column))]
    if not choices and classes_named(names, indicators, fewer=fewer):
        choices.append(tuple(indicators))
    return choices


def _labels_in(table: Table, column: str, *, names: Collection[str] = (), written: Collection[str] = ()) -> set[str]:
    """The labels in a column, lists of them taken apart."""
    found = table.column(column).distinct()
    mark = table.delimiter or found_delimiter(found, names=names, written=written) or ""
    return {label for cell in found for label in split_list(cell, mark)}


def holds_ones(cells: Texts) -> bool:
    """Whether a column says 0 or 1 of each row, or leaves it open."""
    distinct = {cell.strip().lower() for cell in cells.distinct()}
    known = {CROSS, ""} if CROSS in distinct else ONE.keys() | set(UNSURE)
    return bool(distinct & ONE.keys()) and distinct <= known


def _plausible(table: Table, column: str) -> bool:
    """Whether a column could hold labels: words or whole numbers that come back, alone or in lists."""
    cells = table.column(column)
    if holds_runs(cells):
        return False
    distinct = {cell.strip() for cell in cells.distinct()} - set(EMPTY_LABELS)
    if len(distinct) > max(2, len(cells) // 2):
        distinct = _labels_in(table, column)
    fractions = sum(re.fullmatch(r"-?\d*\.\d*[1-9]\d*", cell) is not None for cell in distinct)  # 1.0 is none
    return 2 <= len(distinct) <= max(2, len(cells) // 2) and fractions <= len(distinct) // 2


def _narrowed(table: Table, columns: list[str], cells: Collection[str], names: Sequence[str]) -> list[str]:
    """Columns narrowed by what the sample writes, or by name where there is no sample (no `names`).

    Of columns that say the same, the first is enough.
    """
    if CATEGORY_ID in columns:  # a category alone may be of photographs, or of anything
        columns = [column for column in (CATEGORY_ID, CATEGORY) if column in columns]
    if len(columns) > 1 and cells and says_nothing(cells):  # one number that is a label among words is no placeholder
        held = ((column, _labels_in(table, column)) for column in columns)
        columns = [name for name, own in held if {*cells} <= own and not all(map(is_number, own))] or columns
    if len(columns) > 1 and not says_nothing(cells):
        for by_rule in (False, True):
            fitting = [column for column in columns if _writes(table, column, cells, by_rule=by_rule)]
            if fitting:
                columns = fitting
                break
    if len(columns) > 1 and all(table.column(column) == table.column(columns[0]) for column in columns):
        columns = columns[:1]
    if len(columns) > 1 and len(names) == 1:
        words = words_of(names[0])
        columns = [column for column in columns if _is_named(words, table, column)] or columns
    if len(columns) > 1:
        known = SURELY_LABEL if names else LABEL_NAMES
        named = [column for column in columns if column.lower() in known]
        columns = named if len(named) == 1 else columns
    if set(columns) == {CATEGORY_ID, CATEGORY}:
        # leaderboards of COCO-style competitions ask for the number, if the sample is silent; a score has no spelling
        columns = [CATEGORY if len(table.column(CATEGORY).distinct()) == 2 else CATEGORY_ID]
    return columns


def _is_named(words: Sequence[str], table: Table, column: str) -> bool:
    """Whether a column of two values has one that is among the words: `p_malignant` asks for one of them."""
    found = table.column(column).distinct()
    return len(found) == 2 and any(length_in(words, label) and not is_number(label) for label in found)


def says_nothing(cells: Collection[str]) -> bool:
    """Whether the sample's cells cannot tell labels from a placeholder: nothing at all, or one number everywhere."""
    return not cells or (len(cells) == 1 and all(map(is_number, cells)))


def _writes(table: Table, column: str, cells: Collection[str], *, by_rule: bool) -> bool:
    """Whether the sample's cells hold nothing but labels of this column, one or several in a cell.

    by_rule: spelled by a rule as well.
    """
    labels = _labels_in(table, column, written=cells)
    for mark in dict.fromkeys(("", bracket_style(cells, labels), *MARKS)):
        written = {label for cell in cells for label in split_list(cell, mark)}
        if written <= labels or (by_rule and rules_for(written, labels)):
            return True
    return False


def read_labels(
    context: Context,
    table: Table,
    columns: tuple[str, ...],
    ids: Texts,
    *,
    delimiter: str = AUTO,
    told_apart: Collection[str] = (),
) -> Labels:
    """The labels of every row. What is wrong with single cells goes to the context's problems.

    delimiter: as `lists` has it, or none; told_apart: names of classes as the sample submission spells them: two of
    them are two classes, however alike.
    """
    allow = context.overrides.allow
    if len(columns) > 1:
        return _indicator_labels(context, table, columns, ids)
    cells = table.column(columns[0])
    mark = (table.delimiter or found_delimiter(cells.distinct()) or "") if delimiter == AUTO else delimiter
    if mark in ("", NONE):
        _check_labels(context, table.name, ids, cells, told_apart)
        cells = Texts(cell.strip() for cell in cells)
        return Labels(columns, False, cells, sorted_classes(cells.distinct()), "")
    rows = [split_list(cell, mark) for cell in cells]
    classes = sorted_classes(label for row in rows for label in row)
    if mark in BRACKETS and all(len(row) == 1 for row in rows):
        return Labels(columns, False, Texts(row[0] for row in rows), classes, mark)
    order = {label: place for place, label in enumerate(classes)}
    written = Texts(label_cell(sorted(set(row), key=order.__getitem__)) for row in rows)
    for row in np.flatnonzero(written.where(label_cell([]))).tolist():
        context.problems.add(
            EMPTY if EMPTY in allow else WITHOUT_LABEL,
            ids[row],
            f"label the row in {table.name}; to leave such rows out: competition.allow: [{EMPTY}]\n"
            f"if an image may have none: competition.allow: [{WITHOUT_LABEL}]",
        )
    return Labels(columns, True, written, classes, mark)


def respelled(labels: Labels, spelling: Mapping[str, str]) -> Labels:
    """The same labels, each as `spelling` has it."""
    several = labels.several
    rows = LabelSets(labels.cells, several=several)
    cells = Texts(label_cell(spelling[label] for label in row) if several else spelling[row[0]] for row in rows)
    return replace(labels, cells=cells, classes=sorted_classes(spelling.values()))


def as_several(labels: Labels) -> Labels:
    """One label an image, as sets of labels."""
    return replace(labels, several=True, cells=Texts(label_cell([label]) for label in labels.cells))


def empty_rows(context: Context, labels: Labels) -> np.ndarray:
    """(N,) bool: which rows have no label where each should have one."""
    allow, told_apart = context.overrides.allow, context.names_of_classes()
    if len(labels.columns) > 1:
        return labels.cells.where("")
    if labels.several and EMPTY not in allow:
        return np.zeros(len(labels.cells), dtype=bool)
    if labels.several:
        return labels.cells.where(label_cell([]))
    empty = _empty_labels(labels.cells.distinct(), allow, told_apart)
    return np.array([cell in empty for cell in labels.cells], dtype=bool)


def _empty_labels(cells: Iterable[str], allow: Collection[str], told_apart: Collection[str]) -> set[str]:
    """Those cells that stand for no label: blank, NaN, or -1 beside numbers that count from 0 or 1."""
    text_of = {cell: cell.strip().lower() for cell in cells}
    numbers = {whole_number(text) or text for text in text_of.values() if text not in (*EMPTY_LABELS, *MINUS_ONE)}
    words = EMPTY_LABELS + (MINUS_ONE if len(numbers) > 1 and first_counted(numbers) is not None else ())
    words += DOUBTFUL_LABELS if WORD_FOR_NONE in allow else ()
    empty = {cell for cell, text in text_of.items() if not text}
    if MAY_MEAN_MISSING in allow:
        return empty
    unsorted = {cell for cell in text_of if WORD_FOR_NONE in allow and is_unsorted(cell)}
    return empty | (unsorted.union(cell for cell, text in text_of.items() if text in words) - set(told_apart))


def _indicator_labels(context: Context, table: Table, columns: tuple[str, ...], ids: Texts) -> Labels:
    chosen = Table(table.name, columns, tuple(table.column(column) for column in columns))
    written = {cell.strip().lower() for cells in chosen.cells for cell in cells.distinct()}
    is_zero = {""} if not any(ONE.get(cell) == 0 for cell in written) else set()  # 1 and nothing else
    known = ONE.keys() | set(UNSURE)
    strange = sorted({cell for cells in chosen.cells for cell in cells.distinct() if cell.strip().lower() not in known})
    if sum(any(cell.strip().lower() not in known for cell in row) for row in chosen.rows()) > table.num_rows / 2:
        raise ValueError(
            f"{table.name}: the columns {list(columns)[:5]} hold {', '.join(map(repr, strange[:4]))}, not 0 and 1: "
            "several targets an image, or numbers (regression), cannot be learnt here, nor ids of several columns read"
        )
    blank = [not is_zero and not any(cell.strip() for cell in row) for row in chosen.rows()]
    for image_id, row, is_blank in zip(ids, chosen.rows(), blank, strict=True):
        if is_blank:
            remedy = f"label the row in {table.name}; to leave such rows out: competition.allow: [{EMPTY}]"
            context.problems.add(EMPTY, image_id, remedy)
            continue
        for column, cell in zip(columns, row, strict=True):
            if cell.strip().lower() not in ONE.keys() | is_zero:
                context.problems.add(
                    NOT_ZERO_OR_ONE,
                    f"{image_id}: {column} = {cell!r}",
                    f"columns {list(columns)[:3]} of {table.name} say 0 or 1; to take these cells for 0: "
                    f"competition.allow: [{NOT_ZERO_OR_ONE}]",
                )
    _warn_of_columns_left_out(context, table, columns)
    several = any(len(labels) != 1 for labels, is_blank in zip(_ones(chosen), blank, strict=True) if not is_blank)
    cells = (label_cell(labels) if several else labels[0] if labels else "" for labels in _ones(chosen))
    cells = ("" if is_blank else cell for cell, is_blank in zip(cells, blank, strict=True))
    return Labels(columns, several, Texts(cells), tuple(columns), "")


def _warn_of_columns_left_out(context: Context, table: Table, columns: Sequence[str]) -> None:
    """Where params.yaml names the classes' columns: the organiser may have added a class since."""
    if list(columns) != list(context.overrides.label):
        return
    others = [name for name in table.header if name and name not in columns and holds_ones(table.column(name))]
    if others:
        context.warnings.append(
            f"{table.name} has {len(others)} more columns of 0 and 1 than competition.label names, such as "
            f"{', '.join(map(repr, others[:3]))}: if they are classes too, set it to auto"
        )


def _ones(table: Table) -> Iterator[list[str]]:
    """The columns in which each row has 1."""
    for row in table.rows():
        yield [column for column, cell in zip(table.header, row, strict=True) if ONE.get(cell.strip().lower(), 0)]


def may_mean_missing(label: str) -> bool:
    """Whether a label may say that there is none: `none`, `?`, `NaN`, `no_label`."""
    return label.strip().lower() in MISSING_WORDS or is_unsorted(label)


def _check_labels(context: Context, table: str, ids: Texts, labels: Texts, told_apart: Collection[str]) -> None:
    """Note empty labels, outer spaces, labels that may mean missing, and two spellings of one class."""
    problems = context.problems
    empty = _empty_labels(labels.distinct(), context.overrides.allow, told_apart)
    are_marks = sum(bool(label.strip()) and not re.search(r"\w", label) for label in labels.distinct()) > 1
    for image_id, label in zip(ids, labels, strict=True):
        shown, text = f"{image_id} = {label!r}", label.strip().lower()
        if label in empty:
            remedy = f"label the row in {table}; to leave such rows out: competition.allow: [{EMPTY}]"
            if text:
                remedy += f"\nif {label.strip()} is a class: competition.allow: [{MAY_MEAN_MISSING}]"
            is_word = text in DOUBTFUL_LABELS or is_unsorted(text)
            problems.add(WORD_FOR_NONE if is_word else EMPTY, shown, remedy)
        elif may_mean_missing(label) and label not in told_apart and (re.search(r"\w", text) or not are_marks):
            remedy = (
                f"label the row in {table}; if it is a class: competition.allow: [{MAY_MEAN_MISSING}]\n"
                f"to leave such rows out: competition.allow: [{WORD_FOR_NONE}]"
            )
            problems.add(MAY_MEAN_MISSING, shown, remedy)
        elif label != label.strip():
            remedy = f"take the spaces out of {table}, or have it done: competition.allow: [{OUTER_SPACES}]"
            problems.add(OUTER_SPACES, shown, remedy)

    told = [label for label in labels.distinct() if label.strip()]
    lower = {label.lower() for label in told}
    are_ones = len(set(map(folded, lower))) > 2 and lower <= ONE.keys() - {CROSS}
    spellings: dict[str | int, set[str]] = {}
    for label in told:  # True beside 1, as tables put together have them
        spellings.setdefault(ONE[label.lower()] if are_ones else folded(label), set()).add(label)
    for variants in spellings.values():
        if len({variant.strip() for variant in variants}) > 1 and not variants <= set(told_apart):
            problems.add(
                "duplicate class spelling",
                " / ".join(sorted(variants)),
                "spell the class one way; if they are two classes: competition.allow: [duplicate class spelling]",
            )


def no_classes(labels: Labels, written: Collection[str]) -> str:
    """What speaks against these labels being classes; '' for nothing. written: the sample's cells."""
    classes, num_images = labels.classes, len(labels.cells)
    shown = ", ".join(map(repr, classes[:3]))
    if num_images >= MIN_LABELS and len(classes) > num_images / 2:
        return f"{len(classes):,} different labels for {num_images:,} images ({shown}, …)"
    if len(classes) > 2 and any(is_number(label) and not float(label).is_integer() for label in classes):
        return f"numbers with fractions ({shown}, …)"
    if len(classes) > MAX_GRADES and all(map(is_number, {*classes, *written})):
        values = {float(cell) for cell in written}
        if len(values) == 1 and not values & {float(label) for label in classes}:
            return f"{len(classes):,} whole numbers ({shown}, …), and the sample writes another ({min(written)!r})"
    named = NUMBER_NAMES & {word for column in labels.columns for word in words_of(column)}
    if named and len(classes) > 2 and all(map(is_number, classes)):
        return f"numbers in a column called {min(named)} ({shown}, …)"
    return ""


def looks_ordinal(labels: Labels, asked: Sequence[str]) -> bool:
    """Whether the labels are grades: 0 … K-1 or 1 … K, K from 3, in a column called as grades are.

    asked: what the sample submission calls its value columns; that name counts too.
    """
    last = {words_of(name)[-1] for name in (*labels.columns, *asked) if words_of(name)}
    if labels.several or len(labels.columns) != 1 or not last & ORDINAL_NAMES:
        return False
    if (
        not all(label.isdecimal() and len(label) < 18 for label in labels.classes)
        or not 3 <= len(labels.classes) <= MAX_GRADES
    ):
        return False
    grades = [int(label) for label in labels.classes]
    return grades in (list(range(len(grades))), list(range(1, len(grades) + 1)))
