"""What is true of a made-up competition: labels, images and the one right submission; and how it is handed out."""

import ast
import io
import json
import random
import tarfile
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

Plan = dict[str, str]  # dimension -> value; failures are counted by these


@dataclass
class Truth:
    """What recognition must arrive at. Images are known by their bytes: no two of a competition are alike."""

    train: dict[bytes, frozenset[str]] = field(default_factory=dict)  # labels as the training side spells them
    test: dict[bytes, frozenset[str]] = field(default_factory=dict)
    optional: dict[bytes, frozenset[str]] = field(default_factory=dict)  # labelled images that may be left out
    in_order: bool = False  # images stand in tables: the n-th row is the n-th image
    header: list[str] | None = None  # of the submission; None: nobody said it
    rows: list[list[str]] = field(default_factory=list)  # of a perfect model, in order
    values: list[int] = field(default_factory=list)  # places of the cells that the model fills
    kind: str = "label"  # label, numbers, list or ranked: how the filled cells are compared
    tolerance: float = 1e-6  # of numbers
    delimiter: str = ""  # of list and ranked
    mark: bool = False  # the submission begins with a BOM, as the sample does
    newline: str = "\n"
    encoding: str = "utf-8"  # of the submission, and what else its make is: as the sample's
    separator: str = ","
    top: str = ""  # a line above the header
    quoted: bool = False  # every cell
    sample_only: frozenset[str] = frozenset()  # classes that no training image has
    answers: dict[str, set[str]] = field(default_factory=dict)  # key of `competition` -> values that are right
    files_in: str = ""  # the column that alone says which image is which, though numbers may be those of others
    must_ask: str = ""  # why nobody could know: finishing without a question is a guess
    ask_about: tuple[str, ...] = ("metric", "submission", "positive")  # one of these keys settles it
    stops: tuple[str, ...] = ()  # words, one of which the refusal must have; finishing is wrong
    causes: tuple[str, ...] = ()  # words of a refusal that is acceptable though the competition could be read


@dataclass
class Made:
    """One competition, ready to be written."""

    seed: int
    plan: Plan
    files: dict[str, bytes]
    truth: Truth

    def write(self, folder: Path) -> Path:
        """The competition under `folder`, as its plan's container; returns where."""
        container = self.plan["container"]
        if container == "folder":
            return _folder(folder / "raw", self.files)
        if container == "tar.gz":
            return _packed(folder / "raw.tar.gz", self.files)
        files = _nested(self.files) if container == "nested zip" else self.files
        place = folder / "raw.zip"
        place.write_bytes(_zipped(files, backslash=container == "backslash zip"))
        return place


def _folder(place: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        path = place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return place


def _packed(place: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(place, "w:gz") as handle:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            handle.addfile(info, io.BytesIO(content))
    return place


def _nested(files: dict[str, bytes]) -> dict[str, bytes]:
    """Each top folder as a zip of its own."""
    apart = [name for name in files if "/" in name and not name.startswith("__MACOSX/")]
    outer = {name: content for name, content in files.items() if name not in apart}
    for top in sorted({name.partition("/")[0] for name in apart}):
        inner = {name.removeprefix(top + "/"): content for name, content in files.items() if name.startswith(top + "/")}
        outer[f"{top}.zip"] = _zipped(inner)
    return outer


def _zipped(files: dict[str, bytes], *, backslash: bool = False) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as handle:
        for name, content in files.items():
            info = zipfile.ZipInfo("x")
            info.filename = name.replace("/", "\\") if backslash else name
            info.create_system = 0 if backslash else 3
            handle.writestr(info, content)
    return stream.getvalue()


def written_list(labels: list[str], delimiter: str) -> str:
    """Several labels in one cell; `python` and `json` are lists as these languages write them."""
    if delimiter == "python":
        return repr(labels)
    return json.dumps(labels, ensure_ascii=False) if delimiter == "json" else delimiter.join(labels)


def read_list(cell: str, delimiter: str) -> list[str] | None:
    """The labels of a cell that is written exactly as `written_list` would; None for any other."""
    try:
        labels = ast.literal_eval(cell) if delimiter in ("python", "json") else cell.split(delimiter) if cell else []
    except (ValueError, SyntaxError):
        return None
    return labels if isinstance(labels, list) and written_list(labels, delimiter) == cell else None


def pick(rng: random.Random, plain: str, others: tuple[str, ...], *, awkward: float) -> str:
    """`plain`, or with probability `awkward` one of the others."""
    return rng.choice(others) if others and rng.random() < awkward else plain
