"""The organiser's files, read in place: folders, archives, archives inside them, as one mapping of names."""

import contextlib
import re
import weakref
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

import numpy as np

from pipeline.archive.byte_ranges import Region, Scratch
from pipeline.archive.formats import Container, Folder, open_container
from pipeline.archive.member_names import archive_stem, check_not_in_parts, check_total, is_litter
from pipeline.archive.parts import Part, less_copies_of_folders, once
from pipeline.base.lookup import Lookup
from pipeline.base.texts import Texts, joined_texts

ADDRESS = re.compile(r"\w{2,}:/")  # of a `Path`, which makes one slash of two
BRING = (
    "images are read from a disk: `dvc import-url ADDRESS FILE` brings the archive here and notes where it is from; "
    "then give FILE (docs/scaling.md, Data elsewhere)"
)
MAX_NESTING = 2  # archives around a member, beside the one that was given


class Archive:
    """Members by name (posix, relative to the competition's root), sorted; `read` gives their bytes.

    Closing it frees its directory and the scratch file that some kinds need; so does letting go of it, and the end of
    the process.
    """

    def __init__(
        self,
        path: Path,
        names: Texts,
        parts: Sequence[Part],
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
        # the encoding that was guessed for names -> one of them
        guessed = [one for one in self._containers if one.guessed]
        odd = {one.guessed: next((name for name in one.names if not name.isascii()), "") for one in guessed}
        self.guessed = {encoding: name for encoding, name in odd.items() if name}
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
        parts, notes = once(path, parts)
        parts, more = less_copies_of_folders(parts)
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


def _parts(container: Container, scratch: Scratch, depth: int) -> list[Part]:
    """All members, those of archives inside included, under names relative to `container`.

    `depth` is the number of archives around `container`.
    """
    if not len(container.names):
        if container.left_aside:
            hidden = ", ".join(container.left_aside)
            raise ValueError(f"{container.where} is empty: no file in it but hidden ones ({hidden}); rename them")
        raise ValueError(f"{container.where} is empty: no file in it; download it again")
    inside: list[Part] = []
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
    return [Part(container, container.names.take(own), np.flatnonzero(own)), *inside]


def _folder_around(stem: str, parts: Sequence[Part]) -> str:
    """The folder that stands for the archive called `stem`; none where its one file, or its folder, is called so."""
    around = stem + "/"
    is_named_alike = [name for part in parts for name in part.names[:2]] == [stem]
    has_folder_around = all(name.startswith(around) for part in parts for name in part.names)
    return "" if is_named_alike or has_folder_around else around


def _common_folder(names: Texts) -> str:
    """`mycomp/` where every member lies in that one folder and it holds files of its own, else ''."""
    first = names[0].split("/")[0] + "/"
    if "/" not in names[0] or not all(name.startswith(first) for name in names):
        return ""
    return first if any("/" not in name.removeprefix(first) for name in names) else ""
