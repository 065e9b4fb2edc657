"""Several labels in one cell: how they are told apart, read and written.

A delimiter is a mark between labels (`,`, or `, ` and ` | ` where blanks are always there), or the name of a way to
write lists with brackets: `python` (`['a', 'b']`), `json` (`["a", "b"]`), `brackets` (`[a, b]`, where `[a b]` is one
label) or `spaced` (`[a b]` is two). '' means one label a cell.
"""

import ast
import json
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import chain

from pipeline.competition.spelling import is_number, rules_for

MARKS = (";", "|", ",", "\t", "\n", " ")  # a blank last: names have blanks too
DOUBTFUL_MARKS = ("+", "&", "/", "-", "_")  # names have these too
JOINING = ("+", "&", "/")  # of these, those that say `and`
MIN_COMBINED = 3  # cells of several parts, before these may be labels that never stand alone
BRACKETS = ("python", "json", "brackets", "spaced")
SEEN_AGAIN = 0.8  # of the labels in cells of several must stand in other cells too, or names just share a mark
MANY_CELLS = 3  # times as many distinct cells as words: these are combinations, no names
ONES = {"0", "1", "0.0", "1.0", "0.", "1."}
# round brackets only around quotes: (0, 2) is a range, ('a', 'b') a list
_BRACKETED = re.compile(r"(?:\[(.*)\]|\{([^:]*)\}|\((\s*['\"].*)\))", re.DOTALL)
_QUOTED = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"", re.DOTALL)


def parts_by_mark(cells: Collection[str]) -> Iterator[set[str]]:
    """What all cells together hold: as one label each, then as lists with each of the marks."""
    return ({part for cell in cells for part in split_list(cell, mark)} for mark in ("", *MARKS))


def split_list(cell: str, delimiter: str, *, strict: bool = False) -> list[str]:
    """The labels in a cell; none in an empty one.

    strict: as a leaderboard takes them; else outer blanks are taken off, and nothing between two marks is no label.
    """
    if strict and delimiter not in BRACKETS:
        return cell.split(delimiter) if cell else []
    inside = _inside(cell) if delimiter in BRACKETS else None
    if inside is not None:
        quoted = [_unquoted(part) for part in _QUOTED.findall(inside)]
        parts = quoted or re.split(r"[,\s]+" if delimiter == "spaced" else "[,;|]", inside)
    else:
        mark = delimiter if delimiter not in BRACKETS else ""
        parts = cell.split(mark.strip() or mark) if mark else [cell]
    return [part.strip() for part in parts if part.strip()]


def _inside(cell: str) -> str | None:
    """What stands in a list's brackets; None for no list."""
    found = _BRACKETED.fullmatch(cell.strip())
    return next(part for part in found.groups() if part is not None) if found else None


def _unquoted(part: str) -> str:
    try:
        return str(ast.literal_eval(part))
    except (ValueError, SyntaxError):
        return part[1:-1]


def written_list(labels: Sequence[str], delimiter: str) -> str:
    """The cell that `split_list` takes apart."""
    if delimiter == "python":
        return repr(list(labels))
    if delimiter == "json":
        return json.dumps(list(labels), ensure_ascii=False)
    if delimiter in BRACKETS:
        return f"[{(' ' if delimiter == 'spaced' else ', ').join(labels)}]"
    return delimiter.join(labels)


def bracket_style(cells: Collection[str], labels: Collection[str] = ()) -> str:
    """Which of `BRACKETS` these cells are; '' for none. labels: those known: words that are such are `spaced`."""
    filled = [cell.strip() for cell in cells if cell.strip()]
    inside = [found for cell in filled if (found := _inside(cell)) is not None]
    if not filled or len(inside) < len(filled):
        return ""
    marks = {part[0] for found in inside for part in _QUOTED.findall(found)}
    if marks:
        return "python" if "'" in marks else "json"
    words = {word for found in inside for word in found.split()}
    may_be_spaced = any(map(_has_blanks, inside)) and all(is_number(word) or word in labels for word in words)
    return "spaced" if may_be_spaced else "brackets"


def _has_blanks(inside: str) -> bool:
    return re.search("[,;|]", inside) is None and len(inside.split()) > 1


def holds_vectors(cells: Collection[str]) -> bool:
    """Whether cells in brackets have a 0 or 1 for each class: `[0 1 0]`, `[1, 0, 0]`."""
    style = bracket_style(cells)
    rows = [split_list(cell, style) for cell in cells] if style else []
    is_vector = bool(rows) and len(set(map(len, rows))) == 1 and {part for row in rows for part in row} <= ONES
    return is_vector and (len(rows[0]) > 2 or (len(rows[0]) == 2 and len(rows) > 1))


def as_written(mark: str, cells: Iterable[str]) -> str:
    """The mark, with the blanks that follow it, and stand before it too, in all these cells."""
    parted = [cell.strip().split(mark) for cell in cells]
    after, before = ([piece for found in parted for piece in found[part]] for part in (slice(1, None), slice(-1)))
    if not mark.strip() or not after or not all(piece[:1] == " " for piece in after):
        return mark
    return f" {mark} " if all(piece[-1:] == " " for piece in before) else f"{mark} "


def found_delimiter(cells: Iterable[str], *, names: Collection[str] = (), written: Collection[str] = ()) -> str | None:
    """What separates labels within a cell; '' where each cell is one label; None where nothing tells.

    names: what the sample submission calls its columns, where it has one for each class; written: its cells.
    """
    distinct = sorted({cell.strip() for cell in cells} - {""})
    style = bracket_style(distinct) or _style_of_some(distinct)
    insides = [_inside(cell) or "" for cell in distinct]
    blanks = [inside for inside in insides if _has_blanks(inside)] if style == "brackets" else []
    if blanks and len(names) < 2:
        shown = [_inside(cell) or cell for cell in written]
        is_list = _is_list(insides, blanks, " ", names=names, written=shown)
        return style if is_list is False else "spaced" if is_list else None
    if style and (style != "brackets" or not _are_names(distinct)):
        return style
    if len(names) > 1 and rules_for(set(names), distinct, every=True):
        return ""
    doubt = False
    for mark in MARKS:
        longer = [cell for cell in distinct if mark in cell]
        if longer:
            is_list = _is_list(distinct, longer, mark, names=names, written=written)
            if is_list:
                return as_written(mark, longer)
            doubt |= is_list is None
    for mark in DOUBTFUL_MARKS if len(names) > 1 else ():
        parts = {label for cell in distinct for label in split_list(cell, mark)}
        is_joined = all(map(str.strip, chain.from_iterable(cell.split(mark) for cell in distinct)))  # -1 is no list
        if is_joined and parts != set(distinct) and rules_for(set(names), parts, every=True):
            return mark
    return None if doubt or any(may_be_joined(distinct, mark) for mark in DOUBTFUL_MARKS) else ""


def _style_of_some(distinct: Sequence[str]) -> str:
    """The style of those in brackets, where the others are parts of them: `[scab, rust]` beside `rust`; '' for none."""
    some = [cell for cell in distinct if _inside(cell) is not None]
    style = bracket_style(some)
    parts = {part for cell in some for part in split_list(cell, style)} if style else set()
    return style if parts and set(distinct) - set(some) <= parts else ""


def may_be_joined(distinct: Sequence[str], mark: str) -> bool:
    """Whether a mark that names have too may part labels: these stand alone, or each with several others."""
    return _are_joined(distinct, mark) or _are_combined(distinct, mark)


def _are_joined(distinct: Sequence[str], mark: str) -> bool:
    """Whether several cells are others joined: `rust`, `scab`, `spot`, `rust+scab`, `scab+spot`; a few parts may not
    stand alone."""
    longer = [{part.strip() for part in cell.split(mark)} for cell in distinct if mark in cell]
    parts = set[str]().union(*longer)
    return sum(found <= set(distinct) for found in longer) > 1 and (
        len(parts & set(distinct)) >= SEEN_AGAIN * len(parts)
    )


def _are_combined(distinct: Sequence[str], mark: str) -> bool:
    """Whether cells are the same few parts in ever other company: `a-b`, `b-c`, `a-c`.

    Not `left-top`, `left-low`, `right-low`, where each part has its place, unless the mark joins things (`salt&oil`);
    nor `left-right`, `right-left`, where order says something; nor `red-fox`, `fox-terrier`, where most parts stand in
    one cell; nor `10-20`, `20-30`, nor dates.
    """
    longer = [[part.strip() for part in cell.split(mark)] for cell in distinct if mark in cell]
    sets, parts = set(map(frozenset, longer)), Counter(part for found in longer for part in found)
    if len(longer) < MIN_COMBINED or len(sets) < len(longer) or not all(map(all, longer)):
        return False
    if any(len(set(found)) < len(found) for found in longer) or _are_ranges(longer):
        return False
    again = sum(count > 1 for count in parts.values())
    return again >= SEEN_AGAIN * len(parts) and (mark in JOINING or _change_places(longer))


def _are_ranges(cells: Sequence[Sequence[str]]) -> bool:
    """Whether numbers follow each other, each once at the begin and once at the end, or cells are dates."""
    if not all(part.isdecimal() for found in cells for part in found):
        return False
    ends = [[found[0] for found in cells], [found[-1] for found in cells]]
    is_chain = all(len(found) == 2 for found in cells) and all(len(set(end)) == len(end) for end in ends)
    return is_chain or all(sorted(map(len, found))[-1] == 4 and len(found) == 3 for found in cells)


def _are_names(distinct: Sequence[str]) -> bool:
    """Whether cells such as `[0, 2]` are names of classes: no part stands in two of them."""
    sets = [split_list(cell, "brackets") for cell in distinct]
    parts = Counter(part for found in sets for part in set(found))
    return max(map(len, sets), default=0) > 1 and max(parts.values()) == 1


def _is_list(
    distinct: Sequence[str], longer: Sequence[str], mark: str, *, names: Collection[str], written: Collection[str]
) -> bool | None:
    """Whether this mark parts labels; None where the cells may be lists and may be names that share words.

    `scab`, `rust`, `scab rust` are lists; `Tomato Late Blight`, `Potato Late Blight`, `Tomato Healthy` are names.
    """
    sets = [split_list(cell, mark) for cell in distinct]
    labels = Counter(label for found in sets for label in set(found))
    if len(names) > 1 and rules_for(set(names), set(labels), every=True):
        return True
    parts = {label for cell in longer for label in split_list(cell, mark)}
    again = sum(labels[label] > 1 for label in parts)
    others = [split_list(cell, mark) for cell in written if mark in cell and cell.strip() not in distinct]
    shown = any(labels.keys() >= set(found) for found in others)
    alone = sum(label in distinct for label in parts) >= SEEN_AGAIN * len(parts)
    twice = any(len(set(found)) < len(found) for found in sets)
    if again < SEEN_AGAIN * len(parts) or (twice and not (alone and mark != " ")):
        return None if shown and not set(written) & set(distinct) else False
    if alone:
        return None if twice else True  # `owl|owl` may be a slip
    if shown and (mark != " " or _change_places(sets)):
        return True
    if len({len(found) for found in sets}) > 1 and len(distinct) >= MANY_CELLS * len(labels):
        return True
    few = len({len(found) for found in sets}) == 1 or len(distinct) <= len(labels)
    in_order = all(found == sorted(found) for found in sets)
    return False if mark == " " and few and not in_order and not shown else None


def _change_places(sets: Sequence[Sequence[str]]) -> bool:
    """Whether some part stands at several places, from the front and from the back: words of a name seldom do."""
    places: dict[str, set[int]] = {}
    for found in sets:
        for at, part in enumerate(found):
            places.setdefault(part, set()).update((at, at - len(found)))
    return any(sum(place >= 0 for place in own) > 1 < sum(place < 0 for place in own) for own in places.values())
