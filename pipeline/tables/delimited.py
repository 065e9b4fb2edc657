"""Text of a CSV, TSV or list as a table: what stands between cells, where the header is, and whether there is one."""

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import chain, islice

from pipeline.tables.image_names import IMAGE_SUFFIXES, suffix_of
from pipeline.tables.table import Table
from pipeline.tables.words import is_all_role

MARKS = (",", "\t", ";", "|", "^", "~", "\x1f")
MAX_COLUMNS = 100_000
NUM_LOOKED_AT, LETTERS_LOOKED_AT = 64, 1 << 20  # lines at the start, by which a dialect is found
MAX_NOTES = 8  # lines about a table above its header, or below its last row
PATH_COLUMN, LABEL_COLUMN, ID_COLUMN, PART_COLUMN = "path", "label", "id", "split"
UNNAMED = ("column_1", "column_2")  # columns that have no names, and whose names nobody asks for: they say nothing
SEP_LINE = re.compile(r'"?sep=(.)"?[ \t]*(?:\r\n|\r|\n)', re.IGNORECASE)
QUOTED_TITLE = re.compile(r'\s*"[^"]+ [^"]+"[,;\t|]+\s*')  # cells beside it are empty, as spreadsheets write it
UNIT = re.compile(r"\s*[(\[<].*[)\]>]\s*")  # a cell of the line below a header that says what a column holds
NUM_WITH_MORE = 3  # words of a line that has a number behind the label; with more it is a box
NUM_OF_BOX = 4  # numbers
MAX_WORDS = 8  # of a line of columns
SIGNS = {"1", "-1"}
BOX = re.compile(r"-?[\d.]+(\s+-?[\d.]+)+")  # several numbers are no label
END_OF_DOS = "\x1a"  # Ctrl-Z, by which old programs end a text
NUMBER = re.compile(r"\s*-?[\d.]+\s*")
WHOLE = re.compile(r"\d+(\.0+)?")
NUMBERED = re.compile(r"\d+\s")  # a line that begins with a number of its own, as MXNet's .lst have it
HASH = re.compile(r"(?=[A-Za-z]*\d)[0-9A-Za-z]{8,}")  # a word of an id that nobody thought up: no column is called so
PATH_AND_LABEL = re.compile(
    rf"(.*?\S(?:{'|'.join(map(re.escape, IMAGE_SUFFIXES))}))[\"']?\s+(\S.*)|(\S+)\s+(\S.*)", re.IGNORECASE
)


@dataclass(frozen=True)
class _Dialect:
    """How a text is read."""

    mark: str
    start: int  # where the first row begins, the header is before it
    header: tuple[str, ...]
    width: int  # cells of a row
    some: list[list[str]]  # the first rows
    whole: bool = False  # each line is quoted as a whole
    blanks: bool = False  # a blank follows each mark
    titles: tuple[str, ...] = ()  # lines above the header


def read_delimited(
    name: str,
    text: str,
    names: Sequence[str] = (),
    *,
    is_image: Callable[[str], bool] = lambda cell: False,
    may_lack_header: bool = False,
) -> Table:
    """The table in a CSV or TSV.

    names: of the columns, where there is no header; is_image: whether a cell leads to an image: a header's does not;
    may_lack_header: two columns without a header are then called `UNNAMED`, if there are no `names`. Raises ValueError
    for what is no table: nothing in it, NUL bytes, broken quotes, ragged rows, two columns of one name, no header and
    no `names`.
    """
    if "\0" in text:
        raise ValueError("holds NUL bytes; it is not a CSV table")
    text = text.removesuffix(END_OF_DOS)
    try:
        return _table(name, text, names, is_image, may_lack_header)
    except csv.Error as error:
        mended = _mended(text)
        if mended:
            with suppress(csv.Error, ValueError):
                return _table(name, mended, names, is_image, may_lack_header)
        raise ValueError(f"is not a readable CSV: {error}") from error


def _mended(text: str) -> str:
    """With the quotes doubled that stand within a quoted cell, as captions have them; '' where a line is unclear.

    A line is clear that has one quoted cell, between its first quote and its last, and as many cells as the header.
    """
    dialect = _dialect(text)
    mark, width, lines = re.escape(dialect.mark), len(dialect.header), []
    other = rf'[^"{mark}]*'
    one_quoted = re.compile(rf'((?:{other}{mark})*)"(.*)"((?:{mark}{other})*\s*)')
    for line in lines_of(text):
        try:
            rows = list(csv.reader([line], strict=True, delimiter=dialect.mark))
        except csv.Error:
            found = one_quoted.fullmatch(line)
            if found is None or (found[1] + found[3]).count(dialect.mark) + 1 != width:
                return ""
            lines.append(found[1] + '"' + found[2].replace('""', '"').replace('"', '""') + '"' + found[3])
        else:
            if any(len(row) != width for row in rows):
                return ""
            lines.append(line)
    return "".join(lines)


def _table(name: str, text: str, names: Sequence[str], is_image: Callable[[str], bool], may_lack_header: bool) -> Table:
    dialect = _dialect(text)
    header = dialect.header
    if len(header) > MAX_COLUMNS:
        raise ValueError(f"has {len(header):,} columns, more than {MAX_COLUMNS:,}; is it a table of images?")
    rows, skipped = _rows(text, dialect), list(dialect.titles)
    if _is_data(header, dialect.some) or _leads_as_rows_do(header, dialect.some, is_image):
        names = UNNAMED if may_lack_header and not names and len(header) == len(UNNAMED) else names
        if len(names) < len(header):
            shown = ", ".join(_names_for(header))
            raise ValueError(
                f"has no header: its first line is {dialect.mark.join(header)[:80]!r}; name its columns:\n"
                f"    competition.header: [{shown}]"
            )
        header, rows = tuple(names[: len(header)]), chain([list(header)], rows)
    elif len(header) > 1:
        rows = _less_headers(rows, dialect, skipped)
    header = tuple(cell.strip() for cell in header)
    twice = sorted(column for column, count in Counter(header).items() if column and count > 1)
    if twice and len(set(names)) == len(names) == len(header):
        header = tuple(names)
    elif twice:
        own = [f"{cell or 'column'}_{at + 1}" if cell in ("", *header[:at]) else cell for at, cell in enumerate(header)]
        raise ValueError(
            f"is not clear: {len(twice)} columns have one name, first {twice[:3]}; rename one, or have it done:\n"
            f"    competition.header: {json.dumps(own, ensure_ascii=False)}"
        )
    some = _body(dialect.some)
    if dialect.width == len(header) + 1 and any(row[-1].strip() for row in some) and _counts([row[0] for row in some]):
        header = ("", *header)  # R's row names
    rows = _less_notes(rows, len(header), dialect.mark, skipped)
    try:
        table = Table.of_rows(name, header, rows) if header else None
    except ValueError as error:
        raise ValueError(f"is ragged: {error}") from error
    if table is None or not table.num_rows:
        raise ValueError(f"has {int(bool(header))} lines; it must have a header and at least one row")
    return replace(table, skipped=tuple(skipped))


def _less_headers(rows: Iterable[list[str]], dialect: _Dialect, skipped: list[str]) -> Iterator[list[str]]:
    """Less rows that are the header again, and one below it that says what the columns hold; both go to `skipped`."""
    unlike = [_folded(dialect.header), *(_folded(row) for row in dialect.some[:1] if all(map(UNIT.fullmatch, row)))]
    if len(dialect.some) > 1 and UNIT.fullmatch(dialect.some[1][0]):
        unlike = unlike[:1]
    for row in rows:
        if _folded(row) in unlike:
            skipped.append(dialect.mark.join(row))
        else:
            yield row


def _folded(row: Sequence[str]) -> list[str]:
    return [cell.strip().lower() for cell in row]


def _less_notes(rows: Iterable[list[str]], width: int, mark: str, skipped: list[str]) -> Iterator[list[str]]:
    """Less lines of text at the end, which go to `skipped`, and less empty cells behind the header's last.

    Text is what no row before is like; a line of it that rows follow may be data, and stays.
    """
    held: list[list[str]] = []
    known: set[str] = set()
    for row in rows:
        if width > 1 and _is_note(row) and _look(row) not in known and len(held) < MAX_NOTES:
            held.append(row)
            continue
        known |= {_look(row), *map(_look, held)}
        yield from held
        held.clear()
        yield row[:width] if len(row) > width and not any(cell.strip() for cell in row[width:]) else row
    if not known:
        yield from held
    else:
        skipped += [mark.join(row).rstrip(mark) for row in held]


def _look(row: Sequence[str]) -> str:
    """How a row's first cell is unlike most ids: `#` for one that begins so, a blank for several words; else ''."""
    first = row[0].strip()
    return "#" if first.startswith("#") else " " if " " in first else ""


def _is_note(row: Sequence[str]) -> bool:
    """Whether a row may be text about the table: a comment, or several words with no cell filled beside them."""
    look = _look(row)
    is_words = look == " " and not any(cell.strip() for cell in row[1:])
    return look == "#" or (is_words and suffix_of(row[0].strip()).lower() not in IMAGE_SUFFIXES)


def _body(rows: list[list[str]]) -> list[list[str]]:
    """The rows less those at the end that are notes."""
    end = len(rows)
    while end > 1 and _is_note(rows[end - 1]) and _look(rows[end - 1]) != _look(rows[0]):
        end -= 1
    return rows[:end]


def delimited_rows(text: str) -> tuple[tuple[str, ...], Iterator[list[str]]]:
    """(header, rows) of a CSV or TSV, unchecked. Raises csv.Error while it is read."""
    dialect = _dialect(text)
    return dialect.header, _rows(text, dialect)


def _rows(text: str, dialect: _Dialect) -> Iterator[list[str]]:
    lines: Iterator[str] = lines_of(text, dialect.start)
    if dialect.whole:
        lines = (row[0] for row in csv.reader(lines, strict=True) if row)
    found = csv.reader(lines, strict=True, delimiter=dialect.mark, skipinitialspace=dialect.blanks)
    return (row for row in found if any(cell and not cell.isspace() for cell in row))


def lines_of(text: str, start: int = 0) -> Iterator[str]:
    """The lines from `start` on as csv takes them; io.StringIO would hold four bytes a letter."""
    return io.TextIOWrapper(io.BytesIO(text[start:].encode()), "utf-8", newline="")


def _dialect(text: str) -> _Dialect:
    """Found by the first lines: the mark by which all have as many cells, two or more; else the header's first mark."""
    said = SEP_LINE.match(text)
    start, marks = (said.end(), (said[1],)) if said else (0, MARKS)
    lines = list(islice(lines_of(text, start), NUM_LOOKED_AT))
    while sum(map(len, lines)) > LETTERS_LOOKED_AT and len(lines) > 2:
        lines.pop()
    top = next((number for number, line in enumerate(lines) if not line.startswith("#")), 0)
    if top and any(_widths(lines[top - 1 : top + 1], mark) in ([n, n] for n in range(2, 99)) for mark in marks):
        top = 0  # the last of these lines is the header
    top = next((number for number in range(top, len(lines)) if lines[number].strip()), len(lines))
    header = top + _num_above(lines[top:], marks)
    titles = tuple(line.strip().rstrip("".join(marks)) for line in lines[top:header] if line.strip())
    return replace(_found(lines[header:], marks, start + sum(map(len, lines[:header]))), titles=titles)


def _num_above(lines: Sequence[str], marks: Sequence[str]) -> int:
    """How many lines stand above the header: text of several words, over a header and rows of several cells."""
    number = next((at for at, line in enumerate(lines) if line.strip() and not _is_title(line, marks)), 0)
    if not 0 < number <= MAX_NOTES:
        return 0
    for mark in marks:
        header, *rows = _body(_reader(lines[number:], mark)) or [[]]
        full = len(header) > 1 and all(cell.strip() for cell in header)
        alike = rows and {len(header)} == set(map(len, rows)) and not _counts([header[0], *(row[0] for row in rows)])
        if full and alike and not _is_data(header, rows):
            return number
    return 0


def _is_title(line: str, marks: Sequence[str]) -> bool:
    quoted = QUOTED_TITLE.fullmatch(line)
    text = line.strip().rstrip("".join(marks)).strip()
    return quoted is not None or (" " in text and not any(mark in text for mark in (*marks, '"')))


def _unquoted(lines: Sequence[str], marks: Sequence[str]) -> list[str] | None:
    """The lines less the quotes around them, where each is one quoted cell with as many marks in it; else None."""
    is_quoted = len(lines) > 1 and all(line.startswith('"') for line in lines if line.strip())
    if not is_quoted or any(set(_widths(lines, mark)) != {1} for mark in marks):
        return None
    inner = [row[0] for row in csv.reader(lines) if row]
    return inner if any(len(found := set(_widths(inner, mark))) == 1 and found != {1} for mark in marks) else None


def _found(lines: Sequence[str], marks: Sequence[str], start: int) -> _Dialect:
    """lines: from the header on, which begins at `start`."""
    unquoted = _unquoted(lines, marks)
    plain = lines if unquoted is None else unquoted
    num_lines = _lines_of_header(lines)
    text, rest = "".join(plain[:num_lines]), plain[num_lines:]

    def dialect(mark: str, header: Sequence[str]) -> _Dialect:
        blanks = len(header) > 1 and all(cell.startswith(" ") for cell in _cells(text, mark)[1:]) and mark in text
        rows = _reader(rest, mark, blanks=blanks)
        widths = set(map(len, _body(rows)))
        width = widths.pop() if len(widths) == 1 else len(header)
        after = start + sum(map(len, lines[:num_lines]))
        return _Dialect(mark, after, tuple(header), width, rows, unquoted is not None, blanks)

    for mark in marks:
        header = _cells(text, mark)
        if len(header) > 1 and set(_widths(rest, mark)) == {len(header)}:
            return dialect(mark, header)
    for mark in marks:
        widths = _widths(rest, mark)
        if len(set(widths)) == 1 and widths[0] > 1:
            readings = (cells for other, cells in _header_readings(text) if _is_free_of(rest, other, mark))
            header = next((cells for cells in readings if len(cells) == widths[0]), _cells(text, mark))
            counted = _counts([row[0] for row in _reader(rest, mark)])
            if len(header) == widths[0] - counted:  # R's row names have none
                return dialect(mark, header)
    first = next((mark for mark in marks if mark in text), marks[0])
    return dialect(first, _cells(text, first))


def _counts(cells: Sequence[str]) -> bool:
    return list(cells) == [str(number + 1) for number in range(len(cells))]


def _header_readings(text: str) -> Iterator[tuple[str, list[str]]]:
    """The header by each mark, also where it is quoted as a whole."""
    for mark in MARKS:
        cells = _cells(text, mark)
        yield mark, cells
        if len(cells) == 1:
            yield mark, _cells(cells[0], mark)


def _is_free_of(lines: Sequence[str], other: str, mark: str) -> bool:
    """Whether rows may be parted by `mark` though the header is by another: they have the other in quotes alone."""
    return other == mark or not any(other in re.sub(r'"[^"]*"', "", line) for line in lines)


def _lines_of_header(lines: Sequence[str]) -> int:
    """A header's quoted cell may go over several lines."""
    for number in range(1, len(lines)):
        if "".join(lines[:number]).count('"') % 2 == 0:
            return number
    return min(1, len(lines))


def _cells(line: str, mark: str) -> list[str]:
    return next(iter(_reader(list(lines_of(line)), mark)), [])


def _widths(lines: Sequence[str], mark: str) -> list[int]:
    return [len(row) for row in _body(_reader(lines, mark))]


def _reader(lines: Sequence[str], mark: str, *, blanks: bool = False) -> list[list[str]]:
    """The rows of these lines as far as they can be read; the last may be cut off."""
    found = []
    try:
        for row in csv.reader(lines, strict=True, delimiter=mark, skipinitialspace=blanks):
            if any(cell.strip() for cell in row):
                found.append(row)
    except csv.Error:
        pass
    return found


def _is_data(header: Sequence[str], rows: Sequence[Sequence[str]]) -> bool:
    """Whether the header is a row like all others: it names an image, or begins as rows do and holds a label.

    A number alone is no sign, as a column may be called so; a hash as long as those below is.
    """
    rows = [row for row in rows if len(row) == len(header)]
    if any(len(suffix_of(cell.strip())) > 1 and suffix_of(cell.strip()).lower() in IMAGE_SUFFIXES for cell in header):
        return True
    columns = list(zip(*rows, strict=True))
    begins = bool(columns) and _shape(header[0]) in set(map(_shape, columns[0])) and any(map(str.isdigit, header[0]))
    is_hash = len(header) > 1 and HASH.search(header[0]) is not None
    return begins and (is_hash or any(cell in column for cell, column in zip(header[1:], columns[1:], strict=True)))


def _leads_as_rows_do(header: Sequence[str], rows: Sequence[Sequence[str]], is_image: Callable[[str], bool]) -> bool:
    """Whether a column's header leads to an image, as all of the cells below it do, written alike."""
    columns = list(zip(*(row for row in rows if len(row) == len(header)), strict=True))
    return any(
        bool(suffix_of(cell)) == bool(suffix_of(below[0])) and all(map(is_image, (cell, *below)))
        for cell, below in zip(header, columns, strict=False)
    )


def _shape(cell: str) -> str:
    return re.sub(r"\d+", "0", HASH.sub(lambda found: "#" * len(found[0]), cell.strip()))


def _names_for(header: Sequence[str]) -> list[str]:
    """Names for the columns of a table whose first row is `header`; none of a box's numbers is called the label."""
    paths = [suffix_of(cell.strip()).lower() in IMAGE_SUFFIXES for cell in header]
    others = [place for place, is_path in enumerate(paths) if not is_path and place] or [0] * any(paths)
    words = [place for place in others if header[place].strip() and not NUMBER.fullmatch(header[place])]
    label = next(iter(words or others[: len(others) < NUM_OF_BOX]), None)
    names: list[str] = []
    for place, is_path in enumerate(paths):
        first = PART_COLUMN if is_all_role(header[0]) else ID_COLUMN
        name = PATH_COLUMN if is_path else LABEL_COLUMN if place == label else "" if names else first
        names.append(name if name and name not in names else f"column_{place + 1}")
    return names


# -- lists


def read_list(name: str, text: str, is_image: Callable[[str], bool]) -> Table | None:
    """The table in a .txt file: one with a header, or a list of images; else None.

    A line of the list is `path`, `path label`, `path label n`, or of more words, one of which is the path.
    is_image: whether a cell leads to an image.
    """
    lines = _less_top([line.strip() for line in text.splitlines() if line.strip()])
    if "\0" in text or len(lines) < 2:
        return None
    text = "\n".join(lines)
    dialect = _dialect(text)
    widths = {len(row) for row in dialect.some}
    if len(dialect.header) > 1 and widths == {len(dialect.header)} and not _is_data(dialect.header, dialect.some):
        try:
            if not is_image(dialect.header[0]):
                return read_delimited(name, text)
        except ValueError:
            return None
    return _list(name, lines, is_image)


def _less_top(lines: list[str]) -> list[str]:
    """Less comments at the top that are no header, and less a line that counts those below, a header's or not."""
    rows = next((at for at, line in enumerate(lines) if not line.startswith("#")), 0)
    is_header = rows and len(lines[rows - 1].split()) == len(lines[rows].split())
    lines = lines[rows - 1 if is_header else rows :]
    is_count = len(lines) > 2 and lines[0].isdecimal() and len(lines) - int(lines[0]) in (1, 2)
    return lines[1:] if is_count else lines


def _list(name: str, lines: Sequence[str], is_image: Callable[[str], bool]) -> Table | None:
    some = lines[1:NUM_LOOKED_AT]
    numbered = all(NUMBERED.match(line) and is_image(line.split()[-1]) for line in some)
    if not numbered and all(is_image(line) for line in some):
        skipped = 0 if is_image(lines[0]) else 1
        return Table.of_rows(name, (PATH_COLUMN,), ((line,) for line in lines[skipped:]))
    for split in (*(_splitter(mark) for mark in MARKS), _by_blank):
        pairs = [split(line) for line in some]
        for place in (0, 1):
            if all(pair is not None and is_image(pair[place]) for pair in pairs):
                return _pairs(name, [split(line) for line in lines], place, is_image)
    signs = _signs(name, [line.split() for line in lines], is_image)
    if signs is not None:
        return signs
    tabs = {line.count("\t") for line in lines}
    rows = [line.split("\t" if len(tabs) == 1 and min(tabs) > 1 else None) for line in lines]
    if all(len(row) == NUM_WITH_MORE for row in rows) and all(is_image(row[0]) for row in rows[1:NUM_LOOKED_AT]):
        if not is_image(rows[0][0]):
            return Table.of_rows(name, rows[0], rows[1:])
        return Table.of_rows(name, (PATH_COLUMN, LABEL_COLUMN, f"column_{NUM_WITH_MORE}"), rows)
    return _columns(name, rows, is_image)


def _signs(name: str, rows: Sequence[list[str]], is_image: Callable[[str], bool]) -> Table | None:
    """Lines of an image and as many of 1 and -1 as a line above them has names, as CelebA's attributes are; else None.

    -1 becomes 0, as a column of 0 and 1 is one of who has it.
    """
    header, *body = rows
    header = header[len(header) - len(body[0]) + 1 :] if len(header) >= len(body[0]) else header
    are_signs = all(len(row) == 1 + len(header) and SIGNS.issuperset(row[1:]) for row in body)
    are_names = len(set(header)) == len(header) >= NUM_WITH_MORE - 1 and not SIGNS & set(header)
    if not are_signs or not are_names or not all(is_image(row[0]) for row in body[:NUM_LOOKED_AT]):
        return None
    zeros = ([row[0], *("1" if cell == "1" else "0" for cell in row[1:])] for row in body)
    return Table.of_rows(name, (PATH_COLUMN, *header), zeros)


def _columns(name: str, rows: Sequence[list[str]], is_image: Callable[[str], bool]) -> Table | None:
    """Lines of as many words each, one of them an image's: a column for each word; None for boxes and texts."""
    width = len(rows[0])
    if not NUM_WITH_MORE <= width <= MAX_WORDS or any(len(row) != width for row in rows):
        return None
    some = rows[:NUM_LOOKED_AT]
    places = sorted(range(width), key=lambda place: "." not in some[0][place])  # 7.png before 7
    place = next((place for place in places if all(is_image(row[place]) for row in some)), None)
    if place is None:
        return None
    others = [row[:place] + row[place + 1 :] for row in some]
    if any(BOX.fullmatch(" ".join(row)) for row in others) and not _may_be_classes(others):
        return None
    header = [f"column_{at + 1}" if at != place else PATH_COLUMN for at in range(width)]
    return Table.of_rows(name, header, rows)


def _may_be_classes(rows: Sequence[Sequence[str]]) -> bool:
    """Whether numbers are too few for a box, and one place has whole ones that come back; or all are 0 and 1."""
    columns = list(zip(*rows, strict=True))
    whole = [set(cells) for cells in columns if all(map(WHOLE.fullmatch, cells))]
    ones = sum(cells <= {"0", "1"} for cells in whole)
    few = len(columns) < NUM_OF_BOX and any(1 < len(cells) <= len(rows) / 2 for cells in whole)
    return few or ones >= max(2, len(columns) - 1)  # of these the first may count the rows


def _pairs(
    name: str, pairs: Sequence[tuple[str, str] | None], place: int, is_image: Callable[[str], bool]
) -> Table | None:
    """place: of the image in each pair. The first pair may be a header."""
    first, *rest = pairs
    if first is None or None in rest:
        return None
    header = (PATH_COLUMN, LABEL_COLUMN) if place == 0 else (LABEL_COLUMN, PATH_COLUMN)
    if not is_image(first[place]):
        header = first
        pairs = rest
    return Table.of_rows(name, header, (pair for pair in pairs if pair is not None))


def _splitter(mark: str) -> Callable[[str], tuple[str, str] | None]:
    def split(line: str) -> tuple[str, str] | None:
        cells = _reader([line], mark)
        return (cells[0][0].strip(), cells[0][1].strip()) if cells and len(cells[0]) == 2 else None

    return split


def _by_blank(line: str) -> tuple[str, str] | None:
    found = PATH_AND_LABEL.fullmatch(line)
    if found is None:
        return None
    label = (found[2] or found[4]).strip()
    return None if "\t" in label or BOX.fullmatch(label) else (found[1] or found[3], label)
