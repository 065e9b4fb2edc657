"""The sample submission: which file it is, which column holds ids, which are to be filled, and whether it is long."""

import re
import unicodedata
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import permutations
from pathlib import PurePosixPath

import numpy as np

from pipeline.archive.archive import Archive
from pipeline.base.texts import Texts
from pipeline.competition.problems import question, setting_line
from pipeline.competition.spelling import composed, folded, is_number, rules_for, spelled
from pipeline.layout.joint_ids import JointIds
from pipeline.tables.asked import MIN_SHARE
from pipeline.tables.image_paths import meant
from pipeline.tables.table import AUTO, NONE, Table, all_named, counts_rows
from pipeline.tables.words import without_shared

# stems, letters and digits alone, from the surest sign to the weakest; the first level that any table reaches counts
NAME_LEVELS = (
    r"sample.*sub|sub.*sample|submission.?format|example.*sub|sub.*example|template.*sub|sub.*template"
    r"|(ejemplo|muestra|exemple|beispiel|exemplo).*(env[ií]o|entrega|rendu|soumission|submiss[aã]o|abgabe|einreichung)"
    r"|(env[ií]o|entrega|rendu|soumission|submiss[aã]o|abgabe|einreichung).*(ejemplo|muestra|exemple|beispiel|exemplo)"
    r"|(提交|提出|応募).*(示例|样例|范例|範例|样本|格式|サンプル|例$)|(示例|样例|范例|サンプル).*(提交|提出|応募)",
    r"(sample|example|format|template).*(answer|result|pred|solution)"
    r"|(answer|result|pred|upload).*(sample|example|format|template|sheet)",
    r"submission|submit|benchmark|baseline|제출|提交|提出|応募|soumission|submiss[aã]o|abgabe|einreichung|env[ií]o|entrega|rendu",
    r"^sample$|^example$|샘플|サンプル|样例|示例",
)
SEPARATORS = ("_", "-", ":", "/", "|", " ")
MARKS_OF_TWO = (*SEPARATORS, "::", ":::")  # what stands between id and class of two columns, if neither holds it
LEADERBOARDS = {"public", "private", "ignored"}  # what a column such as `Usage` holds
MAX_SPLITS = 4  # how many separators a class name in a long id may hold, less one


@dataclass(frozen=True)
class LongIds:
    """Row ids of a long submission taken apart: `<image_id><separator><suffix>`."""

    separator: str
    suffixes: tuple[str, ...]
    prefixes: Texts  # image ids, in order of first appearance


@dataclass(frozen=True)
class Sample:
    """The sample submission, read as text."""

    table: Table  # every column, an index column too
    id_column: str
    value_columns: tuple[str, ...]
    whole: bool = True  # whether its rows are those asked for; else the test table's were put in their place
    joint: JointIds | None = None  # two columns that together are the id; `id_column` is what both are called
    crossed: LongIds | None = None  # of `joint`, where the two are the image and the class of a row
    unnamed: bool = False  # whether the file gives the ids' column, its first, no name; here it has one

    @property
    def header(self) -> tuple[str, ...]:
        """The columns as the file calls them."""
        return ("", *self.table.header[1:]) if self.unnamed else self.table.header

    def ids(self) -> Texts:
        """The id cells, in order."""
        return self.joint.ids(self.table) if self.joint else self.table.column(self.id_column)

    @property
    def id_columns(self) -> set[str]:
        """The columns of ids, and what two are called together."""
        columns = self.joint.columns if self.joint else ()
        return {self.id_column, *(columns[:1] if self.crossed else columns)}

    def cells(self) -> set[str]:
        """Distinct cells of the value columns, empty ones left out."""
        return {cell.strip() for column in self.value_columns for cell in self.table.column(column).distinct()} - {""}


def find_sample(archive: Archive, tables: Mapping[str, Table], override: str) -> str | None:
    """The member name of the sample submission; None where there is none. Raises ValueError where it may be several."""
    if override == NONE:
        return None
    if override != AUTO:
        if override not in tables:
            raise ValueError(f"competition.sample is {override!r}, which is not among the tables {sorted(tables)[:10]}")
        return override
    for level in NAME_LEVELS:
        found = [name for name in tables if _named(name, level)]
        if len(found) > 1:
            raise question(
                f"{archive.path}: {len(found)} files may be the sample submission; choose one:",
                [setting_line("sample", name) for name in found],
            )
        if found:
            return found[0]
    return None


def sample_like(name: str) -> bool:
    """Whether a file is surely called as sample submissions are: where there are several, none holds labels."""
    return _named(name, NAME_LEVELS[0])


def _named(name: str, level: str) -> bool:
    stem = unicodedata.normalize("NFC", PurePosixPath(name).stem.lower())
    letters = re.sub(r"[\W_]", "", stem)
    return re.search(level, letters) is not None and "train" not in letters


def read_sample(
    table: Table, id_override: str, num_images: Callable[[str], int], joint_ids: Callable[[], JointIds | None]
) -> Sample:
    """Its id column and those to fill.

    The id column is the one that `id_override` names, else the first whose cells are all distinct; one that only counts
    the rows must lead to more images than the others. Where there is none, two columns may be the id together.
    num_images: how many images a column leads to; joint_ids: the two. An index column and one that parts the
    leaderboard stay as they are; the first without a name is the id where no other can be.
    """
    columns = [column for column in table.header if column and not column.startswith("Unnamed:")]
    distinct = [column for column in columns if table.column(column).all_distinct()] if table.num_rows > 1 else []
    first = table.header[0]
    others = [column for column in distinct if _may_be_ids(table.column(column))]
    is_index = bool(others) if counts_rows(table.cells[0]) else any(map(num_images, others))
    if first not in columns and id_override not in columns and table.cells[0].all_distinct() and not is_index:
        table = all_named(table)
        columns, distinct = [table.header[0], *columns], [table.header[0]]
    if id_override in columns:
        id_column = id_override
    elif len(distinct) > 1 and counts_rows(table.column(distinct[0])):
        id_column = max(distinct, key=lambda column: (num_images(column), not counts_rows(table.column(column))))
    else:
        id_column = distinct[0] if distinct else columns[0]
    crossed = _crossed(table, columns, num_images) if len(columns) > 2 else None
    if crossed is not None and (id_override not in columns or id_override in crossed.id_columns):
        return crossed
    joint = None
    most = max((num_images(column) for column in distinct if not counts_rows(table.column(column))), default=0)
    if len(columns) > 2 and id_override not in columns and most < table.num_rows:
        joint = joint_ids()
    if joint is not None:
        id_column = joint.name
    given = {column for column in distinct if counts_rows(table.column(column))} if len(columns) > 2 else set()
    taken = {id_column, *given, *(joint.columns if joint else ())}
    rest = [column for column in columns if column not in taken]
    values = tuple(column for column in rest if not _parts(table, column))  # classes may be public, private
    values = values or tuple(column for column in rest if column.lower() != "usage")
    if not values:
        raise question(
            f"{table.name} has the columns {list(table.header)}; a sample submission has an id and another one. A "
            "column of ids without a name must have one here: name it in the file, and take it out before you upload; "
            "or go without:",
            [setting_line("sample", NONE)],
        )
    return Sample(table, id_column, values, joint=joint, unnamed=not first and id_column == table.header[0])


def _crossed(table: Table, columns: Sequence[str], num_images: Callable[[str], int]) -> Sample | None:
    """The sample with a row for each image and class, of which one column names the image, another the class."""
    distinct = {column: table.column(column).distinct() for column in columns}
    for one, two in permutations(columns, 2):
        ids, classes = distinct[one], distinct[two]
        if min(len(ids), len(classes)) < 2 or len(ids) * len(classes) != table.num_rows:
            continue
        rest = [column for column in columns if column not in (one, two) and not _parts(table, column)]
        rest = [column for column in rest if not _tells_rows(table.column(column))]
        if (
            len(rest) != 1
            or not all(map(_may_be_score, distinct[rest[0]]))
            or num_images(one) < MIN_SHARE * len(ids)
            or num_images(two) >= num_images(one)
        ):
            continue
        free = (mark for mark in MARKS_OF_TWO if not any(mark in text for text in (*ids, *classes)))
        joint = JointIds((one, two), next(free, MARKS_OF_TWO[-1]))
        if joint.ids(table).all_distinct():
            suffixes, prefixes = (Texts(map(meant, texts)) for texts in (classes, ids))
            return Sample(
                table, joint.name, tuple(rest), joint=joint, crossed=LongIds(joint.mark, tuple(suffixes), prefixes)
            )
    return None


def _may_be_score(cell: str) -> bool:
    return not cell.strip() or (is_number(cell) and 0 <= float(cell) <= 1)


def _tells_rows(cells: Texts) -> bool:
    """Whether cells number the rows, or call each otherwise."""
    return cells.all_distinct() and (counts_rows(cells) or _may_be_ids(cells))


def _may_be_ids(cells: Texts) -> bool:
    """Whether distinct cells are more than probabilities that somebody filled in."""
    return not all(is_number(cell) and not cell.isdecimal() for cell in cells)


def with_ids(sample: Sample, ids: Texts) -> Sample:
    """The sample with a row for each of these ids; its cells come again in turn, a column that counts goes on."""
    table = sample.table
    rows = table.take(np.arange(len(ids)) % table.num_rows)
    cells = [
        ids
        if column == sample.id_column
        else Texts(str(int(own[0]) + number) for number in range(len(ids)))
        if len(own) > 1 and counts_rows(own)
        else again
        for column, own, again in zip(table.header, table.cells, rows.cells, strict=True)
    ]
    return replace(sample, table=replace(table, cells=tuple(cells)), whole=False)


def _parts(table: Table, column: str) -> bool:
    """Whether a column says which rows count for the public leaderboard."""
    return {cell.strip().lower() for cell in table.column(column).distinct()} <= LEADERBOARDS


def long_ids(ids: Texts) -> LongIds | None:
    """The ids taken apart, if every image id comes with the same suffixes, two or more; else None."""
    for splits in range(1, MAX_SPLITS + 1):
        for separator in SEPARATORS:
            suffixes_of = _suffixes_of(ids, separator, splits)
            if not suffixes_of:
                continue
            expected = next(iter(suffixes_of.values()))
            regular = all(found == expected for found in suffixes_of.values())
            if regular and len(expected) > 1 and len(suffixes_of) * len(expected) == len(ids) and len(suffixes_of) > 1:
                parts = (_split(name, separator, splits) for name in ids)
                ordered = dict.fromkeys(part[1] for part in parts if part is not None)
                return LongIds(separator, tuple(ordered), Texts(suffixes_of))
    return _uneven_long_ids(ids)


def _uneven_long_ids(ids: Texts) -> LongIds | None:
    """The same for suffixes that hold separators, some more than others: `7_ok`, `7_black_spot`."""
    for separator in SEPARATORS if len(ids) else ():
        parts = ids[0].split(separator)
        for cut in range(len(parts) - 1, 0, -1):
            lead = separator.join(parts[:cut]) + separator
            suffixes = dict.fromkeys(name[len(lead) :] for name in ids if name.startswith(lead))
            if not 1 < len(suffixes) <= len(ids) / 2 or len(ids) % len(suffixes):
                continue
            prefixes = dict.fromkeys(_before_suffix(name, separator, suffixes) for name in ids)
            every = (f"{prefix}{separator}{suffix}" for prefix in prefixes for suffix in suffixes)
            if "" not in prefixes and len(prefixes) == len(ids) // len(suffixes) and set(every) == set(ids):
                return LongIds(separator, tuple(suffixes), Texts(prefixes))
    return None


def _before_suffix(name: str, separator: str, suffixes: Container[str]) -> str:
    """What stands before the longest of these suffixes; '' where the name ends in none."""
    at = name.find(separator)
    while at > 0 and name[at + len(separator) :] not in suffixes:
        at = name.find(separator, at + len(separator))
    return name[: max(at, 0)]


def _suffixes_of(ids: Texts, separator: str, splits: int) -> dict[str, set[str]]:
    """Image id -> its suffixes; empty where an id has none."""
    suffixes_of: dict[str, set[str]] = {}
    for name in ids:
        part = _split(name, separator, splits)
        if part is None:
            return {}
        suffixes_of.setdefault(part[0], set()).add(part[1])
    return suffixes_of


def _split(name: str, separator: str, splits: int) -> tuple[str, str] | None:
    """(image id, suffix), the suffix holding `splits` - 1 separators."""
    parts = name.rsplit(separator, splits)
    return (parts[0], separator.join(parts[1:])) if len(parts) == splits + 1 and all(parts) else None


def classes_named(names: Sequence[str], classes: Sequence[str], *, fewer: bool = False) -> dict[str, str] | None:
    """Which class each of the submission's names means; '' for a name of which there is no training image.

    Names are spelled as the classes are, by one rule for all of them (`prob_cat, prob_dog`), or but for case and
    blanks. None unless every class has one name; names without class must be fewer than the classes. fewer: some
    classes may have no name.
    """
    distinct = set(names)
    if len(distinct) < len(names) or not classes:
        return None
    rules = rules_for(distinct, classes, every=True)
    if rules:
        label_of = {composed(text): label for label, text in spelled(rules[0], classes).items()}
        return {name: label_of[composed(name)] for name in names} if len(rules) == 1 else None
    inner = without_shared(names)
    for key, spellings in ((composed, names), (_as_words, names), (composed, inner), (_as_words, inner)):
        by_key = {key(label): label for label in classes}
        found = {name: by_key.get(key(spelling), "") for name, spelling in zip(names, spellings, strict=True)}
        named = list(filter(None, found.values()))
        one_each = len(by_key) == len(classes) and len(set(named)) == len(named) > 1
        if one_each and (len(named) == len(classes) or fewer) and len(names) < 2 * len(named):
            return found
    return None


def _as_words(text: str) -> str:
    return folded(text.replace("_", " "))
