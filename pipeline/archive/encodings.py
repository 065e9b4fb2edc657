"""Bytes of a table as text: UTF-8 and UTF-16 by themselves, others by name; what they may be is ranked, not guessed."""

import codecs
import re
import unicodedata
from collections.abc import Callable
from itertools import pairwise

AUTO = "auto"
BOMS = (
    (codecs.BOM_UTF32_LE, "utf-32-le"), (codecs.BOM_UTF32_BE, "utf-32-be"), (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)  # fmt: skip
NUM_SHOWN = 4  # encodings that are offered
SHOWN_LETTERS = 60  # of the line that shows how each reads
LOOKED_AT = 1 << 20  # bytes
FREQUENT_SYLLABLES = frozenset(
    "이다는에의가을하고지를은한로도기사어서시대자인들리일아제있정수나그전부조스상해보경원국장주구라성동여만마우비생신소적방공관과안"
    "유선중학회민무명미등당현분용문세개거오화물체요발실계내심식반결연간산강치위교되건행작저드바모양음진출업단초트르니레러크프테타"
    "포파카토차처최추남북석류금목배백박불병별변버번범복본량상토끼새꽃말소돼닭개벌잎줄뿌열매흰검붉푸노란색형종"
)


class EncodingError(ValueError):
    """A table's bytes are not in the encoding that holds for it."""


def decoded(content: bytes, name: str, encoding: str = AUTO) -> str:
    """The text of the table called `name`.

    encoding: `auto`; an encoding for the tables that are not UTF-8; or `FILE=ENCODING, FILE=ENCODING`, whatever the
    bytes of these files look like. Raises EncodingError with lines for params.yaml, the likeliest encoding first.
    """
    return _decoded_as(content, encoding_of(content, name, encoding))


def encoding_of(content: bytes, name: str, encoding: str = AUTO) -> str:
    """The encoding in which `decoded` reads the table; of UTF-16 its order too. Arguments and errors as there."""
    forced, otherwise = _wished(encoding, name)
    if forced:
        return forced
    found = next((kind for mark, kind in BOMS if content.startswith(mark)), None) or _without_bom(content)
    if found:
        return found
    try:
        content.decode("utf-8")
        return "utf-8"
    except UnicodeDecodeError as error:
        if otherwise:
            return otherwise
        line = content.count(b"\n", 0, error.start) + 1
        raise EncodingError(
            f"is not UTF-8 (byte {content[error.start]:#04x} in line {line}); {_hint(content)}"
        ) from error


def checked_encoding(encoding: str) -> None:
    """Raise ValueError unless competition.encoding names encodings that there are."""
    for _, name in _pairs(encoding):
        try:
            b"a".decode(name)
        except (LookupError, UnicodeDecodeError) as error:
            raise ValueError(
                f"competition.encoding is {encoding!r}: {error}; name one such as gb18030 or cp1252"
            ) from error


def _pairs(encoding: str) -> list[tuple[str, str]]:
    """(file or '', encoding) of each item of the setting."""
    if encoding == AUTO:
        return []
    items = (item.strip().rpartition("=") for item in encoding.split(", "))
    return [(file.strip(), name.strip()) for file, _, name in items]


def _wished(encoding: str, name: str) -> tuple[str, str]:
    """(the encoding of just this table, that of all which are not UTF-8); '' for none."""
    pairs = dict(_pairs(encoding))
    return pairs.get(name, ""), pairs.get("", "")


def _decoded_as(content: bytes, encoding: str) -> str:
    try:
        return content.decode(encoding).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise EncodingError(
            f"cannot be read in the encoding {encoding!r} ({error}); see competition.encoding"
        ) from error


def _without_bom(content: bytes) -> str | None:
    """UTF-16 that begins with ASCII letters tells its order by where the zero bytes are."""
    start = content[:200]
    if len(start) >= 4 and len(start) % 2 == 0:
        for first, kind in ((1, "utf-16-le"), (0, "utf-16-be")):
            if not any(start[first::2]) and all(start[1 - first :: 2]):
                return kind
    return None


# -- which encoding it may be


def _hint(content: bytes) -> str:
    ranked = ranked_encodings(content)
    if not ranked:
        return "save it as UTF-8"
    lines = [f"    competition.encoding: {name}    # {line}" for name, line in ranked]
    return "\n".join(["save it as UTF-8, or choose the line that reads as it should:", *lines])


def ranked_encodings(content: bytes) -> list[tuple[str, str]]:
    """(encoding, how it reads a line that is not ASCII) of the likeliest encodings, best first.

    Likely is one in which the letters beside ASCII are those that its language uses most, in places where they stand.
    """
    content = content[:LOOKED_AT].rpartition(b"\n")[0] if len(content) > LOOKED_AT else content
    found = []
    for name, (_, text) in sorted(readings(content).items(), key=lambda entry: -entry[1][0])[:NUM_SHOWN]:
        line = next(line for line in text.splitlines() if not line.isascii())
        found.append((name, line.strip()[:SHOWN_LETTERS]))
    return found


def readings(content: bytes) -> dict[str, tuple[float, str]]:
    """Encoding -> (0 to 1, how likely it is; the text in it), of those in which the bytes are text beside ASCII."""
    found = {}
    for name, score in SCORES.items():
        try:
            text = content.decode(name)
        except UnicodeDecodeError:
            continue
        words = re.findall(r"[^\W\d_]*[^\W\d_\x00-\x7f]+[^\W\d_]*", text)
        odd = sum(not letter.isascii() for letter in text)
        letters = sum(not letter.isascii() for word in words for letter in word)
        if odd and all(unicodedata.category(letter) != "Cc" or letter in "\r\n\t" for letter in text):
            found[name] = round(sum(map(score, words)) / max(letters, 1) * letters / odd, 3), text
    return found


def _in_rows(encoding: str, first: int, last: int) -> Callable[[str], float]:
    """Counts letters whose first byte in a two-byte encoding is in these rows: where it has its common letters."""

    def score(word: str) -> float:
        return sum(
            len(code) == 2 and first <= code[0] <= last
            for letter in word
            if not letter.isascii()
            for code in [letter.encode(encoding, "ignore")]
        )

    return score


def _korean(word: str) -> float:
    """The 2,350 common syllables; most of what is written is of far fewer."""
    return sum(letter in FREQUENT_SYLLABLES for letter in word) * 0.15 + 0.85 * _in_rows("euc-kr", 0xB0, 0xC8)(word)


def _japanese(word: str) -> float:
    """Kana of full width, and the kanji of level 1 less for being Chinese as often."""
    kana = sum("\u3041" <= letter <= "\u30fa" for letter in word)
    return kana + 0.9 * _in_rows("euc-jp", 0xB0, 0xCF)(word) + 0.9 * word.count("ー")


def _alphabet(frequent: str, others: str, *, mixed: bool = False) -> Callable[[str], float]:
    """Counts letters of an alphabet, those that are frequent whole, others for less; capitals stand first or together.

    mixed: words are mostly of ASCII letters, with one of these here and there.
    """

    def score(word: str) -> float:
        odd = [letter for letter in word if not letter.isascii()]
        strange = 2 * len(odd) > len(word) > 1 if mixed else len(odd) < len(word)
        if strange or any(before.islower() and after.isupper() for before, after in pairwise(word)):
            return 0.1 * len(odd)
        lower = [letter.lower() for letter in odd]
        total = sum(1.0 if letter in frequent else 0.7 if letter in others else 0.0 for letter in lower)
        return total * (0.9 if word.isupper() else 1.0)

    return score


_POLISH = _alphabet("ąęłóżśćźńáéíěščřžýůúăîâșțőű", "ďťňľĺŕôäöüđ", mixed=True)
_RUSSIAN = _alphabet("оеаинтсрвлкмдпу", "яыьгзбчйхжшюцщэфъёіїєґў")
# encoding -> how many of a word's letters beside ASCII are common in its language; of equals the first is best
SCORES: dict[str, Callable[[str], float]] = {
    "cp949": _korean,
    "gb18030": lambda word: 0.95 * _in_rows("gb2312", 0xB0, 0xD7)(word),
    "shift_jis": _japanese,
    "euc_jp": _japanese,
    "big5": lambda word: 0.9 * _in_rows("big5", 0xA4, 0xC6)(word),
    "cp1252": _alphabet("éèàçêñóíáäöüßåæøôâîûùïëãõú", "œìòýÿðþš€", mixed=True),
    "cp1251": _RUSSIAN,
    "koi8_r": _RUSSIAN,
    "cp866": lambda word: 0.95 * _RUSSIAN(word),
    "cp1250": lambda word: 0.95 * _POLISH(word),
    "cp1254": _alphabet("ıişğüöç", "âî", mixed=True),
    "cp1253": _alphabet("αοιετσνηυρπκλς", "μγδωβθχφξζψάέήίόύώϊϋΐΰ"),
    "cp874": lambda word: sum("\u0e01" <= letter <= "\u0e4c" for letter in word) * 0.8,
    "cp1256": lambda word: sum("\u0621" <= letter <= "\u064a" for letter in word) * 0.8,
    "mac_roman": _alphabet("éèàçêñóíáäöüßåæøôâîûùïëãõú", "œìòÿ", mixed=True),
    "cp1255": lambda word: sum("\u05d0" <= letter <= "\u05ea" for letter in word) * 0.8,
}
