"""How the sample submission spells the labels: as in training, or by a rule, such as `class_{label.number:04d}`.

A rule is text in which `{label}` stands for the training label, less what follows its dots: `head` and `tail` cut at
the first separator, `init` and `last` at the last one; `number` is the one number in it; `lower`, `upper`, `capital`
and `title` change its case; `blanks`, `underscores` and `hyphens` its separators, `joined` takes them out, `bare` the
marks around it and `ascii` the accents; `truth` says False or True, `answer` No or Yes, for 0 or 1, no or yes; `rank`
is its place among all labels in alphabetical order, from 0; `composed` and `decomposed` are Unicode's NFC and NFD. `+1`
adds to a number, `:04d` and `:.1f` write it.
"""

import re
import unicodedata
from collections.abc import Callable, Collection, Iterator, Sequence
from difflib import SequenceMatcher
from functools import cache

AS_TRAINED, UNPADDED = "{label}", "{label.number}"
FORMS = ("{label.composed}", "{label.decomposed}")
RANK, RANKS = ".rank", ("{label.rank}", "{label.rank+1}")
CUT = r"[/\\|:;,._\- ]+"  # separators within a label
WHOLE = re.compile(r"[+-]?\d+(?:\.0*)?")
SAYS = dict.fromkeys(("0", "0.0", "no", "n", "false", "f"), 0) | dict.fromkeys(("1", "1.0", "yes", "y", "true", "t"), 1)
ALIKE = 0.8  # of the letters of two words
MAX_DIGITS = 300  # int() refuses more than 4,300
_FIELD = re.compile(r"\{label((?:\.[a-z]+)*)([+-]\d{1,9})?(?::(?:0?(\d{1,3})d|\.(\d)f))?\}")


def _number(text: str) -> str | None:
    """The one whole number in the text, without leading zeros."""
    found = [text] if WHOLE.fullmatch(text) else re.findall(r"\d+", text)
    if len(found) != 1 or len(found[0]) > MAX_DIGITS:
        return None
    return str(int(found[0].partition(".")[0]))


def _cut(text: str, *, first: bool, before: bool) -> str | None:
    places = list(re.finditer(CUT, text))
    if not places:
        return None
    place = places[0] if first else places[-1]
    return (text[: place.start()] if before else text[place.end() :]) or None


def _ascii(text: str) -> str | None:
    """The text without accents; None where more than accents is not ASCII."""
    found = "".join(letter for letter in unicodedata.normalize("NFKD", text) if not unicodedata.combining(letter))
    return found if found.isascii() else None


_OPERATIONS: dict[str, Callable[[str], str | None]] = {
    "head": lambda text: _cut(text, first=True, before=True),
    "tail": lambda text: _cut(text, first=True, before=False),
    "init": lambda text: _cut(text, first=False, before=True),
    "last": lambda text: _cut(text, first=False, before=False),
    "number": _number,
    "lower": str.lower,
    "upper": str.upper,
    "capital": lambda text: text[:1].upper() + text[1:].lower(),
    "title": lambda text: re.sub(r"[^\W\d_]+", lambda word: word[0].capitalize(), text),
    "blanks": lambda text: re.sub(r"[_\-\s/]+", " ", text),
    "underscores": lambda text: re.sub(r"[_\-\s/]+", "_", text),
    "hyphens": lambda text: re.sub(r"[_\-\s/]+", "-", text),
    "truth": lambda text: ("False", "True", None)[SAYS.get(text.lower(), 2)],
    "answer": lambda text: ("No", "Yes", None)[SAYS.get(text.lower(), 2)],
    "joined": lambda text: re.sub(r"[_\-\s/]+", "", text),
    "ascii": _ascii,
    "bare": lambda text: re.sub(r"^\W+|\W+$", "", text) or None,
    "composed": lambda text: unicodedata.normalize("NFC", text),
    "decomposed": lambda text: unicodedata.normalize("NFD", text),
}
_SEPARATORS, _CASES = (".blanks", ".underscores", ".hyphens"), (".lower", ".upper", ".capital", ".title")
_BOTH = tuple(case + mark for case in _CASES for mark in _SEPARATORS)
_SAID = tuple(word + case for word in (".truth", ".answer") for case in ("", ".lower", ".upper"))
_LAST = tuple(case + change for change in (".joined", ".bare", ".ascii") for case in ("", ".lower"))
_CUTS = (".tail", ".last", ".head", ".init")


def spelled(rule: str, labels: Collection[str]) -> dict[str, str]:
    """Label -> how the rule spells it. Raises ValueError for a rule that is none, fails for a label, or merges two."""
    field = _FIELD.search(rule)
    unknown = [name for name in field[1].split(".")[1:] if name not in (*_OPERATIONS, RANK[1:])] if field else []
    if field is None or unknown:
        raise ValueError(
            f"competition.spelling is {rule!r}; write {AS_TRAINED} for the label as in training, "
            f"'class_{{label.number:04d}}', '{{label.lower}}', …; known: {', '.join(_OPERATIONS)}; or '{{label.rank}}'"
        )
    rank = field[1] == RANK  # of a label among all, which no rule is found by: it is offered alone
    places = {label: str(place) for place, label in enumerate(sorted(set(labels)))} if rank else {}
    found = {label: _written(field, places.get(label, label)) for label in labels}
    lacking = [label for label, text in found.items() if text is None]
    if lacking:
        raise ValueError(f"competition.spelling {rule!r} does not fit {len(lacking)} labels, first {lacking[:3]}")
    texts = {label: rule[: field.start()] + str(text) + rule[field.end() :] for label, text in found.items()}
    if len(set(texts.values())) < len(texts):
        raise ValueError(f"competition.spelling {rule!r} spells two labels alike, among {list(texts)[:5]}")
    return texts


def _written(field: re.Match[str], label: str) -> str | None:
    text: str | None = label
    for name in field[1].removesuffix(RANK).split(".")[1:]:
        text = _OPERATIONS[name](text) if text is not None else None
    if text is None or field.groups()[1:] == (None, None, None):
        return text
    if not WHOLE.fullmatch(text):
        return None
    if field[2]:
        text = str(int(text.partition(".")[0]) + int(field[2]))
    whole = text.partition(".")[0]
    return f"{int(whole):0{field[3]}d}" if field[3] else f"{whole}.{'0' * int(field[4])}" if field[4] else whole


def rules_for(cells: Collection[str], labels: Collection[str], *, every: bool = False) -> list[str]:
    """The rules by which these cells are labels, each cell another one; the simplest kind of rule alone.

    cells: distinct, of the sample submission. every: all labels must be among the cells. Several rules come back
    where they spell some label differently: nothing tells which is meant.
    """
    ours, wanted = tuple(sorted(labels)), tuple(sorted(cells))
    if not wanted or len(wanted) > len(ours) or (every and len(wanted) < len(ours)):
        return []
    for with_affixes in (False, True):
        for tier in _tiers(wanted):
            found: dict[tuple[str, ...], str] = {}
            for rule in tier:
                texts = _texts(rule, ours)
                whole = _around(rule, texts, wanted, affixes_beside=ours if with_affixes else None) if texts else None
                if whole is not None:
                    found.setdefault(tuple(map(composed, _texts(whole, ours) or ())), whole)
            if found:
                rules = list(found.values())
                return rules + _unpadded(ours, wanted) if rules == [AS_TRAINED] else rules
    return []


def _unpadded(labels: tuple[str, ...], cells: Sequence[str]) -> list[str]:
    """The rule that takes zeros off, where it gives these cells as the labels themselves do: `10` of `02, 10`."""
    texts = _texts(UNPADDED, labels)
    padded = any(re.fullmatch(r"0\d+", label) for label in labels)
    return [UNPADDED] if padded and texts and set(texts).issuperset(cells) else []


def shift_rule(cells: Collection[str], labels: Collection[str]) -> str:
    """The rule by which whole numbers that are counted from elsewhere are these labels; '' for none."""
    if not all(map(WHOLE.fullmatch, (*cells, *labels))):
        return ""
    first = min(int(cell.partition(".")[0]) for cell in cells) - min(int(label.partition(".")[0]) for label in labels)
    rule = f"{{label.number{first:+d}}}"
    return rule if first and set(cells) <= set(_texts(rule, tuple(sorted(labels))) or ()) else ""


def rank_rules(cells: Collection[str], labels: Collection[str]) -> list[str]:
    """The rules by which whole numbers are places of these labels in alphabetical order, from 0 or from 1."""
    ours = tuple(sorted(labels))
    return [rule for rule in RANKS if set(cells) <= set(_texts(rule, ours) or ())]


def _tiers(cells: Sequence[str]) -> Iterator[list[str]]:
    """Rules without text around the label, from the plainest kind on."""
    numbers = [f".number{form}" for form in _numbers(cells)]
    for kinds in (("",), numbers, _CASES, _SEPARATORS, _BOTH):
        yield [f"{{label{kind}}}" for kind in kinds]
    yield from ([f"{{label{kind}}}"] for kind in _LAST)
    for kinds in (("",), numbers, _CASES, _SEPARATORS, _BOTH):
        yield [f"{{label{cut}{kind}}}" for cut in _CUTS for kind in kinds]
    yield [f"{{label{kind}}}" for kind in _SAID]


def _numbers(cells: Sequence[str]) -> list[str]:
    """How a number in the cells may be formatted."""
    digits = {len(run) for cell in cells for run in re.findall(r"\d+", cell)}
    widths = [f":0{width}d" for width in sorted(digits) if width > 1]
    return ["", *widths, *([":.1f", ":.2f"] if len(cells) > 1 else [])]  # one 0.0 everywhere is a placeholder


def _texts(rule: str, labels: tuple[str, ...]) -> tuple[str, ...] | None:
    """The labels as the rule spells them; None where it does not fit."""
    try:
        return tuple(spelled(rule, labels).values())
    except ValueError:
        return None


def _around(
    rule: str, texts: tuple[str, ...], cells: Sequence[str], *, affixes_beside: Sequence[str] | None
) -> str | None:
    """The rule, or it with what all cells have around it, where it then gives every cell.

    affixes_beside: the labels, of which no word may stand around the rule; None for nothing around it.
    """
    known, wanted = {composed(text) for text in texts}, [composed(cell) for cell in cells]
    if known.issuperset(wanted):
        return rule
    first = wanted[0]
    if affixes_beside is None or is_number(first):
        return None
    for start in range(len(first)):
        for end in range(len(first), start, -1):
            before, inner, after = first[:start], first[start:end], first[end:]
            if (
                inner in known
                and _is_border(before, inner, after)
                and _may_stand_around(before, after, (*known, *affixes_beside), wanted)
            ):
                cut = [cell[len(before) : len(cell) - len(after)] for cell in wanted]
                alike = all(cell == before + part + after for cell, part in zip(wanted, cut, strict=True))
                if alike and known.issuperset(cut):
                    return before + rule + after
    return None


def _may_stand_around(before: str, after: str, labels: Collection[str], cells: Sequence[str]) -> bool:
    """Whether this text is no part of the answer: no word of labels, no number of one cell alone (`cat 0.7`)."""
    around = f"{before} {after}"
    if "{label" in around or (len(cells) == 1 and re.search(r"\d", around)):
        return False
    words = {*labels, *(word for label in labels for word in re.split(r"\W+", label))}
    return words.isdisjoint(filter(None, re.split(r"\W+", around)))


def _is_border(before: str, inner: str, after: str) -> bool:
    """Whether a word or number ends where `inner` begins, and begins where it ends."""

    def apart(one: str, two: str) -> bool:
        return not (one.isalnum() and two.isalnum()) or one.isdigit() != two.isdigit()

    return (not before or apart(before[-1], inner[0])) and (not after or apart(inner[-1], after[0]))


@cache
def composed(text: str) -> str:
    """The text as spellings are compared: Unicode NFC."""
    return unicodedata.normalize("NFC", text)


def folded(text: str) -> str:
    """What spellings of one name share: the letters as people see them, without case; of a number, its value."""
    seen = "".join(letter for letter in unicodedata.normalize("NFKC", text) if unicodedata.category(letter) != "Cf")
    text = " ".join(seen.split()).casefold()
    return f"{float(text):g}" if is_number(text) and len(text) < 16 else text


def is_nearly(cell: str, labels: Collection[str]) -> bool:
    """Whether the cell is one of the labels, and of no other, but for a letter or an ending: `cat` of `cats`."""
    words = folded(cell).split()
    others = (folded(label).split() for label in labels)
    ratios = [SequenceMatcher(None, " ".join(words), " ".join(own)).ratio() for own in others if len(own) == len(words)]
    return not is_number(cell) and sum(ratio >= ALIKE for ratio in ratios) == 1


def is_number(text: str) -> bool:
    """Whether the text is a number, whole or not."""
    return re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", text.strip().lower()) is not None
