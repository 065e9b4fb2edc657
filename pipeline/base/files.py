"""Reading and writing hand-over files: whole or not at all, the same bytes for the same content."""

import contextlib
import csv
import dataclasses
import errno
import glob
import hashlib
import io
import json
import os
import shutil
import sys
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from pipeline.base.texts import Texts, columns_of_rows

PIECE = 1 << 20  # bytes of a file in memory while it is hashed
PART = ".part"  # <name>.<process>.part is being written


@contextlib.contextmanager
def whole_file(path: Path, num_bytes: int | None = None) -> Iterator[Path]:
    """A path to write to; `path` holds all of it afterwards, or stays as it was if the block raises.

    num_bytes: what will be written, where it is known, for the message if the disk is full. Raises OSError that names
    the path and what is missing.
    """
    part = path.with_name(f"{path.name}.{os.getpid()}{PART}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_parts_of_the_dead(path)
        yield part
        with part.open("rb") as handle:
            os.fsync(handle.fileno())
        part.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)  # now, for its room counts as free
        reason = _reason(error, path, num_bytes)
        if reason:
            raise OSError(f"{path} cannot be written: {reason}; what was there before is untouched") from error
        raise
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)


def _reason(error: OSError, path: Path, num_bytes: int | None) -> str:
    """What keeps us from writing, and the way out; empty for an error of another kind."""
    needed = error.strerror if num_bytes is None else f"{num_bytes:,} bytes are needed"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"the disk is full ({needed}, {shutil.disk_usage(path.parent).free:,} are free); make room and run again"
    if error.errno == errno.EFBIG:
        return f"the file is larger than this system lets a process write ({needed}; see `ulimit -f`)"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"{error.strerror}; make {path.parent} writable"
    return ""


def _remove_parts_of_the_dead(path: Path) -> None:
    """Half-written files that killed processes left beside `path`; they would fill the disk."""
    for part in path.parent.glob(f"{glob.escape(path.name)}.*{PART}"):
        owner = part.name.removesuffix(PART).rpartition(".")[2]
        if owner.isdecimal() and int(owner) != os.getpid() and not _alive(int(owner)):
            part.unlink(missing_ok=True)


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        pass
    return True


def _sync_folder(folder: Path) -> None:
    """Make a new name in `folder` outlast a power cut, where the system can."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@contextlib.contextmanager
def made_by(stage: str, path: Path) -> Iterator[None]:
    """Around the reading of `path`: whatever is wrong with it becomes a ValueError that says to run `stage` again.

    The readers below only say what is wrong: whose output they read is known to the caller alone.
    stage: as `dvc repro -f` takes it. By itself `dvc repro` would not make a file again that its cache holds damaged.
    """
    try:
        yield
    except FileNotFoundError as error:
        raise ValueError(f"{error.filename} is not there; run `dvc repro -f {stage}`") from error
    except (ValueError, csv.Error, RecursionError) as error:
        where = "" if str(path) in str(error) else f"{path} is damaged: "
        raise ValueError(f"{where}{error}; run `dvc repro -f {stage}`") from error


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content` to `path`, whole or not at all."""
    with whole_file(path, len(content)) as part:
        part.write_bytes(content)


def link_files(folder: Path, sources: Mapping[str, Path], without: str) -> None:
    """Fill `folder` with links to a user's own files, by name, so that DVC sees when one is edited or replaced.

    without: the text of none.txt, which is there where there are no files, as DVC takes no empty folder.
    """
    if folder.is_dir():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    for name, source in sources.items():
        (folder / name).symlink_to(os.path.relpath(source, folder.resolve()))
    if not sources:
        write_bytes(folder / "none.txt", without.encode())


def json_bytes(value: Any) -> bytes:
    """UTF-8 JSON, indented, keys in the order given; NaN and inf are refused (no JSON reader takes them)."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = dataclasses.asdict(value)
    return (json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def write_json(path: Path, value: Any) -> None:
    """Write `json_bytes` of the value."""
    write_bytes(path, json_bytes(value))


def read_json(path: Path) -> Any:
    """The value in a JSON hand-over file; `ValueError` names the file when it is damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is damaged ({error})") from error


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """A CSV with a header: UTF-8, comma, newline `\\n`, cells as `str`; rows are written as they come."""
    with whole_file(path) as part, part.open("w", encoding="utf-8", newline="") as handle:
        _write_csv(handle, chain([columns], rows))


def table_bytes(columns: Sequence[str], rows: Iterable[Sequence[Any]], newline: str = "\n") -> bytes:
    """The CSV that `write_table` writes."""
    return csv_text(chain([columns], rows), newline).encode("utf-8")


def csv_text(rows: Iterable[Sequence[Any]], newline: str = "\n", mark: str = ",") -> str:
    """Rows, a line each. mark: between cells."""
    text = io.StringIO(newline="")
    _write_csv(text, rows, newline, mark)
    return text.getvalue()


def _write_csv(handle: TextIO, rows: Iterable[Sequence[Any]], newline: str = "\n", mark: str = ",") -> None:
    # CR LF, so that a cell with either mark is quoted
    csv.writer(_Lines(handle, newline), delimiter=mark, lineterminator="\r\n").writerows(rows)


class _Lines:
    """Lines that end in CR LF, written on with another end."""

    def __init__(self, handle: TextIO, end: str) -> None:
        self._write, self._end = handle.write, end

    def write(self, line: str) -> int:
        """A line and its end."""
        return self._write(line[:-2] + self._end)


def read_table(path: Path, columns: Sequence[str], *, only: Sequence[str] = ()) -> dict[str, Texts]:
    """Column name -> cells as text, for a CSV that one of our stages wrote with exactly `columns`.

    only: the columns to keep, if not all. Raises ValueError for another header and for lines that lack cells.
    """
    with path.open(encoding="utf-8", newline="") as handle:
        lines = csv.reader(handle)
        header = next(lines, [])
        if header != list(columns):
            raise ValueError(f"{path} has the columns {header}, must be {list(columns)}")
        names = only or columns
        return dict(
            zip(names, read_cells(path, lines, len(header), [columns.index(name) for name in names]), strict=True)
        )


def read_cells(path: Path, lines: Iterable[Sequence[str]], width: int, keep: Sequence[int] = ()) -> list[Texts]:
    """The columns below a header of `width` names; ValueError for lines that lack cells. keep: as `columns_of_rows`."""
    cells, odd = columns_of_rows(lines, width, keep)
    if odd:
        numbers = [number + 2 for number in odd[:3]]
        raise ValueError(f"{path} is damaged: {len(odd)} lines lack cells, first {numbers}")
    return cells


def read_history(path: Path, columns: Sequence[str]) -> list[dict[str, Any]]:
    """The rows of a history CSV: `fold` as text, `network`, `epoch` as int, the rest as float, None for empty cells."""
    table = read_table(path, columns)
    kinds = {name: {"fold": str, "network": int, "epoch": int}.get(name, float) for name in columns}
    try:
        return [
            {name: kinds[name](cell) if cell else None for name, cell in zip(columns, cells, strict=True)}
            for cells in zip(*table.values(), strict=True)
        ]
    except ValueError as error:
        raise ValueError(f"{path} is damaged ({error})") from error


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """An .npz without pickle; the same arrays give the same bytes (zip dates are fixed at 1980)."""
    num_bytes = sum(array.nbytes for array in arrays.values())
    with whole_file(path, num_bytes) as part, part.open("wb") as handle:
        np.savez(handle, allow_pickle=False, **dict(arrays))


def read_arrays(path: Path, names: Sequence[str]) -> dict[str, np.ndarray]:
    """The arrays `names` of an .npz that one of our stages wrote; pickled content is refused."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            return {name: stored[name] for name in names}
    except (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        if isinstance(error, FileNotFoundError):
            raise
        raise ValueError(f"{path} is damaged ({error})") from error


def sha256_of(*paths: Path) -> str:
    """Hex digest of the bytes of one file, or of several, one after the other."""
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as handle:
            while piece := handle.read(PIECE):
                digest.update(piece)
    return digest.hexdigest()


def md5_of(path: Path) -> str:
    """The MD5 by which DVC knows a file, or a folder (of the list of its files), and Google's storage a file."""
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.is_file())
        listed = [{"md5": md5_of(file), "relpath": file.relative_to(path).as_posix()} for file in files]
        return hashlib.md5(json.dumps(listed, sort_keys=True).encode(), usedforsecurity=False).hexdigest() + ".dir"
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def refuse_altered(path: Path, sha256: str, *, stage: str) -> None:
    """Raise ValueError unless the file has the digest that `stage`, which wrote it, noted (0.8 s a GB)."""
    found = sha256_of(path)
    if found != sha256:
        raise ValueError(
            f"{path} was altered or damaged since {stage} wrote it: its sha256 is {found[:12]}…, {stage} noted "
            f"{sha256[:12]}…; run `dvc repro -f {stage}`"
        )


def code_fingerprint() -> str:
    """Hex sha256 over the source of every module of this package that has been imported, by name.

    A module that was started as `python -m` counts under its own name.
    """
    digest = hashlib.sha256()
    package = __name__.split(".", maxsplit=1)[0]
    sources = {_own_name(name, module): getattr(module, "__file__", None) for name, module in sys.modules.items()}
    for name, source in sorted(sources.items()):
        if (name == package or name.startswith(package + ".")) and source:
            digest.update(Path(source).read_bytes())
    return digest.hexdigest()


def _own_name(name: str, module: Any) -> str:
    spec = getattr(module, "__spec__", None) if name == "__main__" else None
    return spec.name if spec is not None else name


def fold_files(folder: Path, suffix: str, folds: Sequence[str]) -> dict[str, Path]:
    """Fold -> its file in `folder`, exactly for `folds`.

    Raises ValueError for a fold without file, and for a file of a fold that params.yaml no longer names
    (DVC leaves it behind when a fold is taken away; gathered in silence it would vote).
    """
    refuse_leftovers([folder], folds)
    paths = {fold: folder / f"{fold}{suffix}" for fold in folds}
    missing = [fold for fold, path in paths.items() if not path.is_file()]
    if missing:
        raise ValueError(f"{folder} lacks {len(missing)} of {len(folds)} folds: {missing[:3]}; run `dvc repro`")
    return paths


def refuse_leftovers(folders: Sequence[Path], folds: Sequence[str]) -> None:
    """Raise ValueError if a folder of per-fold files holds one of a fold that `folds` does not name."""
    found = [path for folder in folders if folder.is_dir() for path in sorted(folder.iterdir())]
    leftovers = [path for path in found if not path.name.startswith(".") and path.name.split(".")[0] not in folds]
    if leftovers:
        gone = {path.name.split(".")[0] for path in leftovers}
        beside = [path for path in leftovers[0].parent.parent.glob("*/[0-9]*.*") if path.name.split(".")[0] in gone]
        leftovers = sorted({*leftovers, *beside})  # of the other folders too, which the next stages would name
        names = " ".join(map(str, leftovers))
        raise ValueError(
            f"{len(leftovers)} files belong to no fold that params.yaml names ({', '.join(folds)}); "
            f"DVC left them behind when the fold was taken away. Delete them: rm {names}"
        )
