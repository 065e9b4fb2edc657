"""The organiser's files, read in place: folders, archives, archives inside them, as one mapping of names."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from pipeline.competition.containers import Container, Folder, open_container
from pipeline.competition.members import archive_stem, check_not_in_parts, check_total
from pipeline.competition.regions import OpenFile, Region, Scratch

MAX_NESTING = 2  # archives around a member, beside the one that was given


@dataclass(frozen=True, slots=True)
class Place:
    """Where a member of the competition lies: in which container, under which name there."""

    container: Container
    name: str

    def __str__(self) -> str:
        return f"{self.container.where}/{self.name}"

    @property
    def size(self) -> int:
        """Bytes unpacked."""
        return self.container.sizes[self.name]


class Archive:
    """Members by name (posix, relative to the competition's root), sorted; `read` gives their bytes.

    Closing it frees the scratch file that some kinds need; so does letting go of it, and the end of the process.
    """

    def __init__(self, path: Path, places: dict[str, Place], closing: contextlib.ExitStack) -> None:
        self.path = path
        self.names = sorted(places)
        self._places = places
        self._closing = closing

    def __contains__(self, name: str) -> bool:
        return name in self._places

    def __enter__(self) -> "Archive":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def read(self, name: str) -> bytes:
        """The bytes of one member. Raises OSError where it cannot be read. Any thread may call it."""
        place = self._places[name]
        return place.container.read(place.name)

    def size(self, name: str) -> int:
        """The number of bytes that `read` gives."""
        return self._places[name].size

    def under(self, folder: str) -> Iterator[str]:
        """Names of the members directly or deeper in `folder`, in order."""
        return (name for name in self.names if name.startswith(folder + "/"))

    def close(self) -> None:
        """Free the scratch space; to be called after the last `read`."""
        self._closing.close()


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
        raise ValueError(f"competition.raw is {path}, which does not exist; give the organiser's zip or folder")
    check_not_in_parts(str(path), path.name)
    with contextlib.ExitStack() as closing:
        packed = _packed_bytes(path)
        scratch = Scratch(packed)
        closing.callback(scratch.close)
        outer = _outermost(path, scratch, closing)
        places = _unique(path, _members(outer, scratch, depth=0))
        unpacked = sum(place.size for place in places.values() if not isinstance(place.container, Folder))
        check_total(str(path), unpacked, packed)
        prefix = _common_folder(list(places))
        return Archive(path, {name.removeprefix(prefix): place for name, place in places.items()}, closing.pop_all())


def _packed_bytes(path: Path) -> int:
    """Bytes of the archive at `path`, or of all archives in the folder there."""
    if not path.is_dir():
        return path.stat().st_size
    return sum(inner.stat().st_size for inner in path.rglob("*") if archive_stem(inner.name) and inner.is_file())


def _outermost(path: Path, scratch: Scratch, closing: contextlib.ExitStack) -> Container:
    if path.is_dir():
        folder = Folder(path)
        if not folder.sizes:
            raise ValueError(f"{path} is empty: no file in it; give the organiser's zip or folder")
        return folder
    file = OpenFile.at(path)
    closing.callback(file.close)
    region = Region(file, 0, file.length())
    return open_container(region, where=str(path), name=archive_stem(path.name) or path.name, scratch=scratch)


def _members(container: Container, scratch: Scratch, depth: int) -> Iterator[tuple[str, Place]]:
    """(name relative to `container`, place) of all members, those of archives inside it included.

    `depth` is the number of archives around `container`.
    """
    if not container.sizes:
        raise ValueError(f"{container.where} is empty: no file in it; download it again")
    for name in container.sizes:
        place = Place(container, name)
        check_not_in_parts(str(place), name)
        stem = archive_stem(name)
        if stem is None:
            yield name, place
            continue
        if depth == MAX_NESTING:
            raise ValueError(
                f"{place} lies {depth + 1} archives deep; {MAX_NESTING} are looked into; unpack the outer ones and "
                "give the folder"
            )
        region = container.region(name)
        inner = open_container(region, where=str(place), name=stem, scratch=scratch)
        folder = name.rpartition("/")[0]
        for inner_name, inner_place in _inside(stem, list(_members(inner, scratch, depth + 1))):
            yield f"{folder}/{inner_name}".removeprefix("/"), inner_place


def _inside(stem: str, members: list[tuple[str, Place]]) -> list[tuple[str, Place]]:
    """The members of the archive called `stem`, under the names they have beside it."""
    around = stem + "/"
    is_named_alike = [name for name, _ in members] == [stem]
    has_folder_around = all(name.startswith(around) for name, _ in members)
    return members if is_named_alike or has_folder_around else [(around + name, place) for name, place in members]


def _unique(path: Path, members: Iterator[tuple[str, Place]]) -> dict[str, Place]:
    """The members by name. Raises ValueError where two archives, or an archive and a folder, hold the same."""
    places: dict[str, Place] = {}
    twice: list[tuple[str, Place, Place]] = []
    for name, place in members:
        if name in places:
            twice.append((name, places[name], place))
        places[name] = place
    if twice:
        name, first, second = twice[0]
        alike = sum(one.size == other.size for _, one, other in twice)
        raise ValueError(
            f"{path}: {len(twice)} members are there twice ({alike} of the same size), first {name!r}: "
            f"as {first} and as {second}; delete one of the two (the archive or the folder)"
        )
    return places


def _common_folder(names: list[str]) -> str:
    """`mycomp/` where every member lies in that one folder and it holds files of its own, else ''."""
    first = names[0].split("/")[0] + "/"
    inside = [name for name in names if name.startswith(first)]
    holds_files = any("/" not in name.removeprefix(first) for name in inside)
    return first if len(inside) == len(names) and "/" in names[0] and holds_files else ""
