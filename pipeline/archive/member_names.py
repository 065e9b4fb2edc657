"""What a member of the organiser's files may be called and may be: names decoded, checked, junk told apart."""

import re
from collections.abc import Sequence
from pathlib import PurePosixPath

from pipeline.archive.byte_ranges import bomb_message, limit_of
from pipeline.archive.encodings import readings
from pipeline.base.texts import Texts, rows_of_equals

# what systems, servers and notebooks leave beside files: hidden names, thumbnails, bins, caches
SERVICE = re.compile(
    r"(?:^|/)((?:@eaDir|@tmp|@Recycle|@Recently-Snapshot|#recycle|#snapshot|\$RECYCLE\.BIN|RECYCLER|__MACOSX|__pycache__"
    r"|System Volume Information|lost\+found|ehthumbs\w*\.db|Thumbs\.db(?::\w+)?|desktop\.ini)(?=/|$)|\.[^/]|~\$)[^/]*",
    re.IGNORECASE,
)
LITTER = ("__MACOSX", ".DS_Store", "Thumbs.db", "desktop.ini")
# what tools without UTF-8 write; languages of ASCII letters are left to the format's own encoding
OF_NAMES = ("cp949", "gb18030", "shift_jis", "big5", "cp866", "cp1251")
MIN_SCORE = 0.5
RARE_KOREAN = 0.85  # the score of syllables that are all common in the code, and none in what people write
FEW_LETTERS = 4
LINK = "is a link; pack the file itself"
DEVICE = "is a device or a pipe, not a file; pack the competition without it"
ENCRYPTED = "is encrypted; unpack it with its password and give the folder"

# `.tar.gz` before `.gz`: the first that fits is taken off
SUFFIXES = (
    ".tar.gz", ".tar.bz2", ".tar.xz", ".tar.zst", ".tgz", ".tbz2", ".tbz", ".txz", ".tar", ".zip", ".7z", ".rar",
    ".gz", ".bz2", ".xz", ".zst",
)  # fmt: skip
ONE_FILE_SUFFIXES = (".gz", ".bz2", ".xz", ".zst")
UNPACKED_SUFFIXES = ("", ".csv", ".tsv", ".psv", ".txt", ".json", ".jsonl", ".ndjson")
PART = re.compile(
    r"\.(zip|7z|rar|tar|gz|tgz|bz2|tbz2?|xz|txz)\.(\d{2,3}|a[a-z])$|\.z\d\d$|\.part\d+\.rar$", re.IGNORECASE
)


def archive_stem(name: str) -> str | None:
    """`train` for `p/train.zip`, `train.csv` for `train.csv.gz`; None for what is not looked into.

    A compressed single file is looked into where it may be a table or a tar (`train.csv.gz`, `train.gz`); others
    (`scan.nii.gz`) stay the members that they are.
    """
    if not name.lower().endswith(SUFFIXES):
        return None
    base = name.rpartition("/")[2]
    suffix = next((suffix for suffix in SUFFIXES if base.lower().endswith(suffix) and len(base) > len(suffix)), None)
    if suffix is None:
        return None
    stem = base[: -len(suffix)]
    looked_into = suffix not in ONE_FILE_SUFFIXES or PurePosixPath(stem).suffix.lower() in UNPACKED_SUFFIXES
    return stem if looked_into else None


def check_not_in_parts(where: str, name: str) -> None:
    """Raise ValueError for one piece of an archive that was cut in several files."""
    if PART.search(name):
        whole = name if name.lower().endswith(".rar") else name.rpartition(".")[0]
        raise ValueError(
            f"{where} is one part of an archive in several files; join them first: `cat {whole}.* > {whole}` "
            f"for parts .001, .002 or .aa, .ab; `7z x` on the first part (or on the .zip beside .z01) for others; "
            "then take the parts away"
        )


def service_part(name: str) -> str:
    """The hidden or service folder (or file) that a member lies in, or is: `.ipynb_checkpoints`; '' for none."""
    found = SERVICE.search(name)
    return found[0].removeprefix("/") if found else ""


def is_litter(part: str) -> bool:
    """Whether a hidden or service file says nothing of a competition: macOS and Windows leave it in every archive."""
    return part in LITTER or part.startswith("._")


def checked_names(where: str, names: Texts) -> Texts:
    """The names in the same order, `./` taken off. Raises ValueError for two that are equal or one that escapes."""
    as_they_are = all(_checked_name(where, name) == name for name in names)
    checked = names if as_they_are else Texts(_checked_name(where, name) for name in names)
    twice = rows_of_equals(checked)
    if twice:
        raise ValueError(f"{where}: two members are called {checked[twice[0][0]]!r}; which one counts cannot be known")
    return checked


def _checked_name(where: str, name: str) -> str:
    parts = name.split("/")
    if name.startswith("/") or ".." in name.replace("\\", "/").split("/") or ":" in parts[0]:
        raise ValueError(f"{where}: member {name!r} would leave the archive's folder; this archive is not safe to read")
    kept = [part for part in parts if part not in ("", ".")]
    if not kept or any(ord(letter) < ord(" ") for letter in name):
        raise ValueError(f"{where}: member {name!r} has no name or control characters in it; rename the file")
    return "/".join(kept)


def decoded(where: str, names: Sequence[bytes | str], otherwise: str = "") -> tuple[Texts, str]:
    """(the names of one container, the encoding that was guessed for those that come as bytes; '' for no guess).

    It is one for all of them: UTF-8 if that fits, else the one in which they are words of a language that has no
    ASCII letters, else `otherwise`. Raises ValueError where two are as likely, or none is.
    """
    odd = [name for name in names if not isinstance(name, str) and not name.isascii()]
    encoding = "utf-8" if _fits("utf-8", odd) else _likeliest(where, odd) or otherwise
    if not encoding:
        raise ValueError(
            f"{where}: {len(odd)} names are in no encoding that is known here, first {odd[:3]}; rename them"
        )
    texts = Texts(name if isinstance(name, str) else name.decode(encoding) for name in names)
    return texts, encoding if encoding != "utf-8" else ""


def _fits(encoding: str, names: Sequence[bytes]) -> bool:
    try:
        b"\n".join(names).decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def _likeliest(where: str, names: Sequence[bytes]) -> str:
    """The encoding in which the names are words without ASCII letters; '' for none. Raises ValueError for two."""
    found = readings(b"\n".join(names))
    scores = {name: found[name][0] for name in OF_NAMES if name in found and not _is_mixed(found[name][1])}
    korean, chinese = scores.get("cp949", 0.0), scores.get("gb18030", 0.0)
    letters = {letter for letter in found["cp949"][1] if not letter.isascii()} if korean else set()
    if chinese > korean == RARE_KOREAN and len(letters) < FEW_LETTERS:
        shown = {name: found[name][1].split("\n")[0] for name in ("gb18030", "cp949")}
        raise ValueError(
            f"{where}: {len(names)} names may be Chinese ({shown['gb18030']}) or Korean ({shown['cp949']}); unpack it "
            "with `unzip -O gb18030` or `unzip -O cp949`, and give the folder"
        )
    best = max(scores, key=lambda name: (scores[name], name == "cp949"), default="")
    best = "cp949" if best == "gb18030" and korean > RARE_KOREAN else best
    return best if best and scores[best] > MIN_SCORE else ""


def _is_mixed(text: str) -> bool:
    """Whether most words with a letter beside ASCII have ASCII letters too, as a European's have."""
    words = [word for word in re.findall(r"[^\W\d_]+", text) if not word.isascii()]
    return 2 * sum(any(letter.isascii() for letter in word) for word in words) > len(words)


def check_total(where: str, total: float, packed: int) -> None:
    """Raise ValueError if members of `total` bytes cannot honestly come from `packed` bytes."""
    if total > limit_of(packed):
        raise ValueError(bomb_message(where, packed, limit_of(packed)))
