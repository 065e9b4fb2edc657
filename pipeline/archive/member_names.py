"""What a member of the organiser's files may be called and may be: names decoded, checked, junk told apart."""

import re
from collections.abc import Sequence
from pathlib import PurePosixPath

from pipeline.archive.byte_ranges import bomb_message, limit_of
from pipeline.base.texts import Texts, rows_of_equals

# what systems, servers and notebooks leave beside files: hidden names, thumbnails, bins, caches
SERVICE = re.compile(
    r"(?:^|/)((?:@eaDir|@tmp|@Recycle|@Recently-Snapshot|#recycle|#snapshot|\$RECYCLE\.BIN|RECYCLER|__MACOSX|__pycache__"
    r"|System Volume Information|lost\+found|ehthumbs\w*\.db|Thumbs\.db(?::\w+)?|desktop\.ini)(?=/|$)|\.[^/]|~\$)[^/]*",
    re.IGNORECASE,
)
LITTER = ("__MACOSX", ".DS_Store", "Thumbs.db", "desktop.ini")
LINK = "is a link; pack the file itself"
DEVICE = "is a device or a pipe, not a file; pack the competition without it"
ENCRYPTED = "is encrypted; unpack it with its password and give the folder"

# `.tar.gz` before `.gz`: the first that fits is taken off
SUFFIXES = (
    ".tar.gz", ".tar.bz2", ".tar.xz", ".tar.zst", ".tgz", ".tbz2", ".tbz", ".txz", ".tar", ".zip", ".7z", ".rar",
    ".gz", ".bz2", ".xz", ".zst",
)  # fmt: skip
ONE_FILE_SUFFIXES = (".gz", ".bz2", ".xz", ".zst")
UNPACKED_SUFFIXES = ("", ".csv", ".tsv")
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


def decoded(where: str, names: Sequence[bytes | str], otherwise: str = "utf-8") -> Texts:
    """The names of one container; those that come as bytes are in one encoding, decided by all of them.

    UTF-8 if that fits all; else cp949 (Korean Windows) if that fits all and most of what is not ASCII then is
    among the 2,350 common syllables; else `otherwise`. Raises ValueError where that does not fit.
    """
    odd = [name for name in names if not isinstance(name, str) and not name.isascii()]
    encoding = next((encoding for encoding in ("utf-8", "cp949") if _fits(encoding, odd)), otherwise)
    try:
        return Texts(name if isinstance(name, str) else name.decode(encoding) for name in names)
    except UnicodeDecodeError:
        raise ValueError(
            f"{where}: {len(odd)} names are neither UTF-8 nor Korean (cp949), first {odd[:3]}; rename them"
        ) from None


def _fits(encoding: str, names: Sequence[bytes]) -> bool:
    try:
        texts = [name.decode(encoding) for name in names]
    except UnicodeDecodeError:
        return False
    return encoding != "cp949" or _reads_as_korean(texts)


def _reads_as_korean(names: Sequence[str]) -> bool:
    letters = [letter for name in names for letter in name if not letter.isascii()]
    common = sum("가" <= letter <= "힣" and len(letter.encode("euc-kr", "ignore")) == 2 for letter in letters)
    return 2 * common > len(letters)


def check_total(where: str, total: float, packed: int) -> None:
    """Raise ValueError if members of `total` bytes cannot honestly come from `packed` bytes."""
    if total > limit_of(packed):
        raise ValueError(bomb_message(where, packed, limit_of(packed)))
