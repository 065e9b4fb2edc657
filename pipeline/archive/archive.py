"""The organiser's files, read in place: folders, archives, archives inside them, as one mapping of names."""

import contextlib
import re
import weakref
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np

from pipeline.archive.byte_ranges import Region, Scratch
from pipeline.archive.formats import Container, Folder, open_container
from pipeline.archive.member_names import archive_stem, check_not_in_parts, check_total, is_litter
from pipeline.base.lookup import Lookup
from pipeline.base.texts import Texts, joined_texts, rows_of_equals

ADDRESS = re.compile(r"\w{2,}:/")  # of a `Path`, which makes one slash of two
BRING = (
    "images are read from a disk: `dvc import-url ADDRESS FILE` brings the archive here and notes where it is from; "
    "then give FILE (docs/scaling.md, Data elsewhere)"
)
REPEATED = re.compile(r"(?:^|.*?/)([^/]+)/(?=\1(?:/|$))")  # what stands before the second `x` of a folder `a/x/x`
MAX_NESTING = 2  # archives around a member, beside the one that was given


@dataclass(frozen=True)
class _Part:
    """Members of one container, under the names they have in the competition."""

    container: Container
    names: Texts
    rows: np.ndarray  # (N,) int64, where the container has them

    def where(self, at: int) -> str:
        """How errors call one of them."""
        return f"{self.container.where}/{self.container.names[int(self.rows[at])]}"

    def sizes(self) -> np.ndarray:
        """(N,) int64 bytes unpacked."""
        return self.container.sizes[self.rows]

    def checksum(self, at: int) -> int:
        """CRC-32 of the bytes of one of them."""
        return self.container.checksum(int(self.rows[at]))

    def take(self, kept: np.ndarray) -> "_Part":
        """Those of them that are kept, (N,) bool."""
        return _Part(self.container, self.names.take(kept), self.rows[kept])

    def within(self, folder: str) -> "_Part":
        """The same under names that begin with `folder`."""
        return _Part(self.container, Texts(folder + name for name in self.names), self.rows) if folder else self


class Archive:
    """Members by name (posix, relative to the competition's root), sorted; `read` gives their bytes.

    Closing it frees its directory and the scratch file that some kinds need; so does letting go of it, and the end of
    the process.
    """

    def __init__(
        self,
        path: Path,
        names: Texts,
        parts: Sequence[_Part],
        closing: contextlib.ExitStack,
        notes: Sequence[str] = (),
    ) -> None:
        """names: of all members of all `parts`, in their order; notes: on what was found twice."""
        self.path, self.notes = path, tuple(notes)
        self._closing = weakref.finalize(self, closing.close)
        self._containers = [part.container for part in parts]
        # hidden or service folder or file (`.ipynb_checkpoints`) -> its members, which are not in `names`; less what
        # systems leave everywhere
        found = sum((container.left_aside for container in self._containers), Counter())
        self.left_aside = Counter({part: count for part, count in found.items() if not is_litter(part)})
        numbers = [np.full(len(part.rows), number, dtype=np.int32) for number, part in enumerate(parts)]
        self._sort(names, np.concatenate(numbers), np.concatenate([part.rows for part in parts]))

    def _sort(self, names: Texts, container_of: np.ndarray, row_of: np.ndarray) -> None:
        order = np.argsort(names.array, kind="stable")
        self.names = names.take(order)
        self._lookup = Lookup(self.names, lambda name: (name,))
        self._container_of = container_of[order]
        self._row_of = row_of[order].astype(np.int32)

    def __contains__(self, name: str) -> bool:
        return bool(self._lookup.rows(name))

    def __enter__(self) -> "Archive":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def read(self, name: str) -> bytes:
        """The bytes of one member. Raises OSError where it cannot be read."""
        container, row = self._place(name)
        return container.read(row)

    def head(self, name: str, size: int) -> bytes:
        """The first `size` bytes of one member. Raises OSError as `read` does."""
        container, row = self._place(name)
        return container.head(row, size)

    def size(self, name: str) -> int:
        """The number of bytes that `read` gives."""
        container, row = self._place(name)
        return int(container.sizes[row])

    def fingerprint(self, name: str) -> str:
        """A short text that changes when the member's bytes do; cheap in zips, elsewhere all bytes are read.

        The same on every machine, whenever the files were written. "unreadable" where `read` would raise OSError, but
        in zips, whose directory is believed.
        """
        container, row = self._place(name)
        return container.fingerprint(row)

    def add(self, container: Container) -> None:
        """Make the files of one more container members, under the names they have there."""
        count = len(container.names)
        container_of = np.append(self._container_of, np.full(count, len(self._containers), dtype=np.int32))
        self._containers.append(container)
        self._sort(joined_texts([self.names, container.names]), container_of, np.append(self._row_of, np.arange(count)))

    def close(self) -> None:
        """Free the scratch space and the directory, some 0.1 kB a member; to be called after the last `read`."""
        self._closing()
        self._containers.clear()
        self.names = Texts()
        self._lookup = Lookup(self.names, lambda name: (name,))

    def _place(self, name: str) -> tuple[Container, int]:
        """Raises KeyError for a name that is none of them, ValueError after `close`."""
        if not self._containers:
            raise ValueError("the archive is closed")
        rows = self._lookup.rows(name)
        if not rows:
            raise KeyError(name)
        return self._containers[self._container_of[rows[0]]], int(self._row_of[rows[0]])


def open_archive(path: Path) -> Archive:
    """The competition at `path`, its members checked.

    Archives inside are looked into: those of `p/NAME.zip` are called `p/NAME/…` (a folder `NAME/` around all of them
    is not repeated), or `p/NAME` where that is the only file in it (`train.csv.zip`). A single folder around
    everything (`mycomp/train.csv`, …) is looked through.

    Raises ValueError for a path that is neither archive nor folder, for no files, and for what a sound archive does
    not have: paths that leave the archive, links, devices, encryption, two members of one name, a decompression
    bomb, an end that is missing.
    """
    if not path.exists():
        instead = BRING if ADDRESS.match(str(path)) else "give the organiser's zip or folder"
        raise ValueError(f"competition.raw is {path}, which does not exist; {instead}")
    check_not_in_parts(str(path), path.name)
    with contextlib.ExitStack() as closing:
        packed = _packed_bytes(path)
        scratch = Scratch(packed, closing)
        outer = _outermost(path, scratch)
        parts = _parts(outer, scratch, depth=0)
        unpacked = sum(float(part.sizes().sum()) for part in parts if not isinstance(part.container, Folder))
        check_total(str(path), unpacked, packed)
        parts, notes = _once(path, parts)
        parts, more = _less_nested_copies(parts)
        names = joined_texts(part.names for part in parts)
        prefix = _common_folder(names)
        if prefix:
            names = Texts(name.removeprefix(prefix) for name in names)
        return Archive(path, names, parts, closing.pop_all(), notes + more)


def unpack_outermost(path: Path, folder: Path) -> None:
    """Write the files of the competition at `path` as sites mount them: archives inside it stay packed."""
    with contextlib.ExitStack() as closing:
        outer = _outermost(path, Scratch(_packed_bytes(path), closing))
        for row, name in enumerate(outer.names):
            place = folder / name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(outer.read(row))


def _packed_bytes(path: Path) -> int:
    """Bytes of the archive at `path`, or of all archives in the folder there."""
    if not path.is_dir():
        return path.stat().st_size
    return sum(inner.stat().st_size for inner in path.rglob("*") if archive_stem(inner.name) and inner.is_file())


def _outermost(path: Path, scratch: Scratch) -> Container:
    if path.is_dir():
        folder = Folder(path, scratch.closing)
        if not len(folder.names):
            raise ValueError(f"{path} is empty: no file in it; give the organiser's zip or folder")
        return folder
    region = Region.whole(path, scratch.closing)
    return open_container(region, where=str(path), name=archive_stem(path.name) or path.name, scratch=scratch)


def _parts(container: Container, scratch: Scratch, depth: int) -> list[_Part]:
    """All members, those of archives inside included, under names relative to `container`.

    `depth` is the number of archives around `container`.
    """
    if not len(container.names):
        if container.left_aside:
            hidden = ", ".join(container.left_aside)
            raise ValueError(f"{container.where} is empty: no file in it but hidden ones ({hidden}); rename them")
        raise ValueError(f"{container.where} is empty: no file in it; download it again")
    inside: list[_Part] = []
    own = np.ones(len(container.names), dtype=bool)
    for row, name in enumerate(container.names):
        place = f"{container.where}/{name}"
        check_not_in_parts(place, name)
        stem = archive_stem(name)
        if stem is None:
            continue
        own[row] = False
        if depth == MAX_NESTING:
            raise ValueError(
                f"{place} lies {depth + 1} archives deep; {MAX_NESTING} are looked into; unpack the outer ones and "
                "give the folder"
            )
        inner = open_container(container.region(row), where=place, name=stem, scratch=scratch)
        parts = _parts(inner, scratch, depth + 1)
        folder = name[: name.rfind("/") + 1]
        inside += [part.within(folder + _folder_around(stem, parts)) for part in parts]
    return [_Part(container, container.names.take(own), np.flatnonzero(own)), *inside]


def _folder_around(stem: str, parts: Sequence[_Part]) -> str:
    """The folder that stands for the archive called `stem`; none where its one file, or its folder, is called so."""
    around = stem + "/"
    is_named_alike = [name for part in parts for name in part.names[:2]] == [stem]
    has_folder_around = all(name.startswith(around) for part in parts for name in part.names)
    return "" if is_named_alike or has_folder_around else around


def _once(path: Path, parts: Sequence[_Part]) -> tuple[list[_Part], list[str]]:
    """(the parts less members that are there before with the same bytes, a line that says so).

    Raises ValueError where two archives, or an archive and a folder, hold different files of one name.
    """
    names = joined_texts(part.names for part in parts)
    twice = rows_of_equals(names)
    if not twice:
        return list(parts), []
    first, second = (part.where(at) for part, at in (_place(parts, row) for row in twice[0][:2]))
    alike = _of_one_size(parts, twice)
    if len(alike) < len(twice) or not _of_equal_bytes(parts, alike):
        raise ValueError(
            f"{path}: {len(twice)} members are there twice ({len(alike)} of the same size), first "
            f"{names[twice[0][0]]!r}: as {first} and as {second}; delete one of the two (the archive or the folder)"
        )
    once = _without(parts, [row for rows in twice for row in rows[1:]])
    return once, [f"{len(twice):,} files are there twice, byte for byte, and are taken once: {first} is {second}"]


def _less_nested_copies(parts: list[_Part]) -> tuple[list[_Part], list[str]]:
    """(the parts less what a folder holds twice, once in a folder of its own name, `x/x/1.png`; a line for each)."""
    notes = []
    folders = {name.rpartition("/")[0] for part in parts for name in part.names}
    for outer in sorted({found[0] for found in map(REPEATED.match, folders) if found}):
        copies, note = _nested_copies(parts, outer)
        if len(copies):
            parts = _without(parts, copies)
            notes.append(note)
    return parts, notes


def _nested_copies(parts: Sequence[_Part], outer: str) -> tuple[np.ndarray, str]:
    """(the rows of the copy within the folder, or of what lies outside if the copy has more; a line that says so).

    No rows where one of the two does not hold all files of the other, byte for byte.
    """
    inner = outer + outer.removesuffix("/").rpartition("/")[2] + "/"
    names = joined_texts(part.names for part in parts)
    rows = np.flatnonzero(np.fromiter((name.startswith(outer) for name in names), dtype=bool, count=len(names)))
    within = np.array([name.startswith(inner) for name in names.take(rows)])
    counts = {inner: int(within.sum()), outer: int((~within).sum())}
    if not all(counts.values()):
        return rows[:0], ""
    twice = rows_of_equals(
        names.take(rows), lambda name: outer + name[len(inner if name.startswith(inner) else outer) :]
    )
    pairs = [rows[pair].tolist() for pair in twice]
    copy = next((folder for folder, count in counts.items() if count == len(pairs)), None)
    if copy is None or len(_of_one_size(parts, pairs)) < len(pairs) or not _of_equal_bytes(parts, pairs):
        return rows[:0], ""
    note = f"{inner} and {outer} hold the same {len(pairs):,} files, byte for byte, and are taken once"
    return rows[within if copy == inner else ~within], note


def _place(parts: Sequence[_Part], row: int) -> tuple[_Part, int]:
    """Where the member of a row of all parts' lies."""
    for part in parts:
        if row < len(part.names):
            return part, row
        row -= len(part.names)
    raise IndexError(row)


def _of_one_size(parts: Sequence[_Part], groups: Sequence[list[int]]) -> list[list[int]]:
    """The groups of rows of all parts whose members have as many bytes."""
    sizes = np.concatenate([part.sizes() for part in parts])
    return [rows for rows in groups if len(set(sizes[rows].tolist())) == 1]


def _of_equal_bytes(parts: Sequence[_Part], groups: Sequence[list[int]]) -> bool:
    """Whether the members of each group are the same, by their checksums."""
    return all(len({part.checksum(at) for part, at in (_place(parts, row) for row in rows)}) == 1 for rows in groups)


def _without(parts: Sequence[_Part], rows: Sequence[int] | np.ndarray) -> list[_Part]:
    """The parts less the members of these rows."""
    kept = np.ones(sum(len(part.names) for part in parts), dtype=bool)
    kept[rows] = False
    ends = np.cumsum([len(part.names) for part in parts])
    return [part.take(own) for part, own in zip(parts, np.split(kept, ends[:-1]), strict=True)]


def _common_folder(names: Texts) -> str:
    """`mycomp/` where every member lies in that one folder and it holds files of its own, else ''."""
    first = names[0].split("/")[0] + "/"
    if "/" not in names[0] or not all(name.startswith(first) for name in names):
        return ""
    return first if any("/" not in name.removeprefix(first) for name in names) else ""
