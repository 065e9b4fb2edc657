"""What classes are called, and how ids are spelled in file names, tables and the sample submission."""

import random
import unicodedata
import uuid
from collections.abc import Callable
from datetime import date, timedelta
from urllib.parse import quote

FAMILIES: dict[str, tuple[str, ...]] = {  # of three classes or more
    "words": ("oak", "elm", "fir", "yew", "ash"),
    "capitals": ("Oak", "Elm", "Fir", "Yew"),
    "numbers": ("0", "1", "2", "3", "4"),
    "grades": ("0", "1", "2", "3", "4"),
    "shared words": ("Tomato Early Blight", "Tomato Late Blight", "Tomato Healthy", "Potato Early Blight", "Potato Healthy"),
    "blanks": ("red fox", "grey wolf", "bear", "sea otter"),
    "digits inside": ("B52", "F16", "MiG 29", "A380"),
    "wordnet": ("n01443537", "n02056570", "n07747607", "n09193705"),
    "commas": ("owl, barn", "fox, red", "bear", "otter, sea"),
    "chinese": ("苹果", "香蕉", "葡萄", "西瓜"),
    "korean": ("수달", "여우", "곰돌이", "늑대"),
    "turkish": ("ığdır", "çam ağacı", "köknar", "ışık"),
    "german": ("Bär", "Füchse", "Größe", "Maß"),
    "split words": ("test tube", "medieval", "training shoe", "latest", "validator", "evaluation"),
    "missing words": ("none", "apple", "pear", "null"),
    "nan": ("nan", "apple", "pear"),
    "latex": ("\\sum", "$x_1$", "\\frac{", "\\$", "a_b^c"),
    "case": ("a", "A", "b", "B"),
    "zero-padded": ("01", "02", "03", "09", "10", "12"),
    "floats": ("0.0", "1.0", "2.0", "3.0"),
    "hierarchical": ("animals/cat", "animals/dog", "plants/rose", "plants/fern"),
    "prefixed": ("class_0001", "class_0002", "class_0003", "class_0010"),
    "yaml words": ("on", "off", "maybe", "1e3"),
}  # fmt: skip
PAIRS: dict[str, tuple[str, str]] = {  # (negative, positive) where the words tell
    "0 1": ("0", "1"), "no yes": ("no", "yes"), "n y": ("n", "y"), "False True": ("False", "True"),
    "normal abnormal": ("normal", "abnormal"), "benign malignant": ("benign", "malignant"), "real fake": ("real", "fake"),
    "negative positive": ("negative", "positive"), "cat dog": ("cat", "dog"), "healthy sick": ("healthy", "sick"),
    "off on": ("off", "on"),
}  # fmt: skip
UNTOLD = ("cat dog", "healthy sick", "off on")  # pairs whose words do not tell which of the two a score speaks of

# how the sample submission respells the labels, for the families that have such a habit
RESPELLED: dict[str, dict[str, Callable[[str], str]]] = {
    "numbers": {"padded": lambda label: label.zfill(2)},
    "zero-padded": {"stripped": lambda label: str(int(label))},
    "floats": {"whole": lambda label: str(int(float(label)))},
    "words": {"title case": str.title, "upper case": str.upper},
    "capitals": {"lower case": str.lower},
    "prefixed": {"unprefixed": lambda label: str(int(label.rpartition("_")[2]))},
    "hierarchical": {"leaf": lambda label: label.rpartition("/")[2]},
}

ID_STYLES = (
    "padded", "plain", "suffix", "folder", "float", "thousands", "uuid", "percent", "unicode", "date", "lost zeros",
)  # fmt: skip
OWN_CODECS = {"chinese": "gb18030", "korean": "cp949", "turkish": "cp1254", "german": "cp1252"}


def stem(style: str, number: int) -> str:
    """The file's name without suffix."""
    if style == "uuid":
        return str(uuid.UUID(int=random.Random(number).getrandbits(128), version=4))
    if style == "date":
        return (date(2020, 1, 1) + timedelta(number)).isoformat()
    if style == "unicode":
        return unicodedata.normalize("NFD" if number % 2 else "NFC", f"séance_{number}")
    return {
        "plain": f"{number}", "float": f"{number}", "thousands": f"{number + 1000}", "percent": f"scan {number}",
    }.get(style, f"{number:05d}")  # fmt: skip


def cell(style: str, path: str, name: str, *, in_sample: bool = False) -> str:
    """How a table, or the sample submission, writes the id of the image `name` that lies at `path`."""
    if style == "suffix":
        return path.rpartition("/")[2]
    if style == "folder":
        return path
    if style == "float":
        return name if in_sample else f"{name}.0"
    if style == "thousands":
        return f"{int(name):,}"
    if style == "percent":
        return quote(name)
    if style == "unicode":
        return unicodedata.normalize("NFC", name)
    return str(int(name)) if style == "lost zeros" else name
