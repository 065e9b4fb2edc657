"""The organiser's files, read in place: a zip or a folder, as one mapping from member name to bytes."""

import os
import stat
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

# A zip stores at most about 1:1000 (DEFLATE's bound); images and tables stay far below 1:200.
MAX_RATIO = 200
MAX_MEMBER_BYTES = 4 << 30
JUNK_PARTS = ("__MACOSX", ".DS_Store", "Thumbs.db", "desktop.ini")


class Archive:
    """Members by name (posix, relative to the competition's root), sorted; `read` gives their bytes."""

    def __init__(self, path: Path, names: list[str]) -> None:
        self.path = path
        self.names = sorted(names)
        self._known = set(names)

    def __contains__(self, name: str) -> bool:
        return name in self._known

    def read(self, name: str) -> bytes:
        """The bytes of one member. Raises OSError where it cannot be read. Any thread may call it."""
        raise NotImplementedError

    def under(self, folder: str) -> Iterator[str]:
        """Names of the members directly or deeper in `folder`, in order."""
        return (name for name in self.names if name.startswith(folder + "/"))


class _Folder(Archive):
    def read(self, name: str) -> bytes:
        return (self.path / name).read_bytes()


class _Zip(Archive):
    """One handle a thread: zipfile serialises readers that share one."""

    def __init__(self, path: Path, members: dict[str, zipfile.ZipInfo]) -> None:
        super().__init__(path, list(members))
        self._members = members
        self._local = threading.local()

    def read(self, name: str) -> bytes:
        if not hasattr(self._local, "handle"):
            self._local.handle = zipfile.ZipFile(self.path)
        try:
            return self._local.handle.read(self._members[name])
        except (zipfile.BadZipFile, RuntimeError, NotImplementedError, EOFError) as error:
            raise OSError(f"{self.path}: member {name} cannot be read: {error}") from error


def open_archive(path: Path) -> Archive:
    """The competition at `path`, its members checked.

    A single folder around everything (`mycomp/train.csv`, …) is looked through. Raises ValueError for a path
    that is neither zip nor folder, for no files, and for members that a sound archive does not have: paths that
    leave the archive, links, encryption, two members of one name, a decompression bomb.
    """
    if path.is_dir():
        return _Folder(*_inner_root(path, _walk(path)))
    if not path.exists():
        raise ValueError(f"competition.raw is {path}, which does not exist; give the organiser's zip or folder")
    if not zipfile.is_zipfile(path):
        raise ValueError(
            f"{path} is neither a zip nor a folder ({path.stat().st_size:,} bytes); if it is a download that "
            "broke off, download it again; unpack other archives and give the folder"
        )
    with zipfile.ZipFile(path) as handle:
        infos = [info for info in handle.infolist() if not info.is_dir()]
    _check_members(path, infos)
    members = {info.filename: info for info in infos if not _is_junk(info.filename)}
    if not members:
        raise ValueError(f"{path} is empty: no file in it; download it again")
    prefix = _common_folder(list(members))
    return _Zip(path, {name.removeprefix(prefix): info for name, info in members.items()})


def _walk(root: Path) -> list[str]:
    names = []
    for folder, _, files in os.walk(root):
        names += [(Path(folder) / file).relative_to(root).as_posix() for file in files]
    names = [name for name in names if not _is_junk(name)]
    if not names:
        raise ValueError(f"{root} is empty: no file in it; give the organiser's zip or folder")
    return names


def _inner_root(root: Path, names: list[str]) -> tuple[Path, list[str]]:
    prefix = _common_folder(names)
    return root / prefix, [name.removeprefix(prefix) for name in names]


def _common_folder(names: list[str]) -> str:
    """`mycomp/` where every member lies in that one folder and it holds files of its own, else ''."""
    first = names[0].split("/")[0] + "/"
    inside = [name for name in names if name.startswith(first)]
    holds_files = any("/" not in name.removeprefix(first) for name in inside)
    return first if len(inside) == len(names) and "/" in names[0] and holds_files else ""


def _is_junk(name: str) -> bool:
    return any(part in JUNK_PARTS or part.startswith("._") for part in name.split("/"))


def _check_members(path: Path, infos: list[zipfile.ZipInfo]) -> None:
    seen: set[str] = set()
    for info in infos:
        name = info.filename
        if PurePosixPath(name).is_absolute() or ".." in name.split("/") or "\\" in name or ":" in name.split("/")[0]:
            raise ValueError(f"{path}: member {name!r} would leave the archive's folder; this zip is not safe to read")
        if stat.S_ISLNK(info.external_attr >> 16):
            raise ValueError(f"{path}: member {name!r} is a link; pack the file itself")
        if info.flag_bits & 0x1:
            raise ValueError(f"{path}: member {name!r} is encrypted; unpack it with its password and give the folder")
        if name in seen:
            raise ValueError(f"{path}: two members are called {name!r}; which one counts cannot be known")
        if info.file_size > MAX_MEMBER_BYTES or (
            info.file_size > 1 << 20 and (info.file_size > MAX_RATIO * max(info.compress_size, 1))
        ):
            raise ValueError(
                f"{path}: member {name!r} unpacks from {info.compress_size:,} to {info.file_size:,} bytes; "
                "that is a decompression bomb, not an image or a table"
            )
        seen.add(name)
