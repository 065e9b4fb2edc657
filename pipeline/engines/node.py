"""What a node does for one stage: files by their hash, a folder of its own, a process in it, and what that wrote.

It imports the standard library alone: Ray and Slurm carry this module itself to nodes, which do not have the project.
"""

import contextlib
import fcntl
import hashlib
import importlib.metadata
import os
import platform
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

CACHE = "FOLDBOARD_CACHE"  # names another folder for a node's cache than ~/.cache/foldboard
STORE = "FOLDBOARD_STORE"  # names a DVC cache or remote that a node sees, as on a mounted disk: what it has is not sent
PART = ".part"
LOCK = ".lock"
UNHEARD_S = 60.0  # without a question from the one who sent the work: then nobody wants it any more
KEEP_S = 14 * 24 * 3600.0  # an input that nobody needed for so long is deleted
AT_HAND_S = 3600.0  # one that was asked for so lately may be about to be used
MAX_READ = 1 << 20  # bytes of a log in one answer
HASHING_S = 1.0  # that an answer waits for the outputs' hashes: those of many GB take longer than a silence may
SAME_VERSIONS = ("torch", "numpy", "timm")  # else the bytes differ: those that a model card names
# beginnings of variables that decide results: the sender's count, the node's do not
DECIDING = ("OMP_", "MKL_", "KMP_", "ATEN_", "ONEDNN_", "DNNL_", "TORCH", "PYTORCH", "CUBLAS_", "CUDNN_", "NVIDIA_TF32",
            "GLIBC_TUNABLES", "MALLOC_")  # fmt: skip
NOT_INHERITED = (*DECIDING, "PYTHON", "DVC_", "RAY_")  # where imports come from; the cluster's token is not a stage's


class Node:
    """One stage's work; files stay in the cache for the next.

    cache: a folder, by default this machine's; work: the folder of one that another `Node` of the same cache prepared,
    and will remove.
    """

    def __init__(self, cache: str = "", work: str = "") -> None:
        self._cache = Path(cache or os.environ.get(CACHE) or Path.home() / ".cache" / "foldboard")
        self._blobs, self._works = self._cache / "files", self._cache / "work"
        for folder in (self._blobs, self._works):
            folder.mkdir(parents=True, exist_ok=True)
        self._process: subprocess.Popen[bytes] | None = None
        self._reading: tuple[str, Any] | None = None
        self._hashes: Future[dict[str, tuple[int, str]]] | None = None
        self._given: set[str] = set()
        self._digest = hashlib.md5(usedforsecurity=False)  # of the pieces of the file that is being sent
        self._kept = False  # whether some of them were here before
        self._heard = time.monotonic()
        self._root, self._lock = Path(work), None
        if not work:
            self._clear_away()
            self._root, self._lock = self._new_folder()

    def about(self) -> dict[str, str]:
        """See `about`."""
        self._heard = time.monotonic()
        return about()

    def missing(self, digests: Sequence[str]) -> dict[str, int]:
        """Those of the files with these md5s that have to be sent, and how many bytes of each are here already."""
        self._heard = time.monotonic()
        for digest in digests:
            with contextlib.suppress(OSError):
                os.utime(self._blob(digest))
        return {digest: self._take_over(digest) for digest in digests if not self._place(digest).is_file()}

    def make_room(self, num_bytes: int, wanted: Sequence[str]) -> int:
        """Bytes that are free, once the oldest inputs that nothing uses are deleted, as far as `num_bytes` takes it.

        wanted: md5s of files that must stay.
        """
        self._heard = time.monotonic()
        linked = {path.resolve() for path in self._works.rglob("*") if path.is_symlink()}
        for path in sorted(self._blobs.glob("??/*"), key=_age, reverse=True):
            if shutil.disk_usage(self._cache).free >= num_bytes:
                break
            with contextlib.suppress(FileNotFoundError):
                is_linked = path.stat().st_nlink > 1 or path.resolve() in linked
                if _age(path) > AT_HAND_S and not is_linked and path.name.split(".")[0] not in wanted:
                    path.unlink()
        return shutil.disk_usage(self._cache).free

    def keep(self, digest: str, offset: int, size: int) -> None:
        """These bytes of a file, which `missing` said are here, are as if they were sent."""
        self._heard = time.monotonic()
        with self._part(digest).open("rb") as handle:
            handle.seek(offset)
            self._count(offset, handle.read(size), kept=True)

    def put(self, digest: str, offset: int, content: bytes, last: bool) -> bool:
        """A piece of a file that is missing, in their order: False if all of it has to be sent again.

        Raises ValueError if all that was sent has another md5.
        """
        self._heard = time.monotonic()
        part = self._part(digest)
        part.parent.mkdir(exist_ok=True)
        self._count(offset, content)
        with part.open("r+b" if offset else "wb") as handle:
            handle.seek(offset)
            handle.write(content)
        if last and self._digest.hexdigest() != digest:
            part.unlink()
            if self._kept:
                return False
            raise ValueError(f"of {digest} was sent what has the md5 {self._digest.hexdigest()}: the file has changed")
        if last:
            part.replace(self._blob(digest))
        return True

    def give(self, path: str, offset: int, content: bytes) -> None:
        """A piece of a file of this work alone: a state to go on from."""
        self._heard = time.monotonic()
        target = self._root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("r+b" if offset else "wb") as handle:
            handle.seek(offset)
            handle.write(content)

    def begin(self, files: Mapping[str, str], module: str, argv: Sequence[str], environment: Mapping[str, str]) -> None:
        """Start `python -m module argv` in a folder with `files` (path -> md5), which the cache holds."""
        self._heard = time.monotonic()
        for path, digest in files.items():
            self._link(digest, self._root / path)
        self._given = set(files)
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(NOT_INHERITED)}
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", module, *argv], cwd=self._root, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env=inherited | {"PYTHONDONTWRITEBYTECODE": "1", "DVC_ROOT": str(self._root)} | dict(environment),
                start_new_session=True,
            )  # fmt: skip
        threading.Thread(target=self._end_unheard, daemon=True).start()

    def poll(self, log_from: int, scratch: str) -> dict[str, Any]:
        """How it stands: `log`, new bytes; `states`, name -> size of the files in `scratch`; and once it has ended,
        the log has been read to its end and outputs are hashed, `code` and, at exit code 0, `outputs`, path -> (size,
        sha256).
        """
        code = self.code()
        with self._log.open("rb") as handle:
            handle.seek(log_from)
            log = handle.read(MAX_READ)
        answer: dict[str, Any] = {"log": log, "states": self._states(scratch) if scratch else {}, "code": None}
        if code is not None and len(log) < MAX_READ:
            outputs = {} if code else self._hashed(scratch)
            answer |= {} if outputs is None else {"code": code, "outputs": outputs}
        return answer

    def code(self) -> int | None:
        """The stage's exit code, None while it runs."""
        self._heard = time.monotonic()
        assert self._process
        return self._process.poll()

    def outputs(self, scratch: str) -> dict[str, tuple[int, str]]:
        """All that it wrote, but for states: path -> (size, sha256)."""
        found = {}
        for path in self._root.rglob("*"):
            name = path.relative_to(self._root).as_posix()
            if path.is_file() and name not in self._given and not (scratch and name.startswith(f"{scratch}/")):
                with path.open("rb") as handle:
                    found[name] = path.stat().st_size, hashlib.file_digest(handle, "sha256").hexdigest()
        return found

    def read(self, path: str, offset: int, size: int) -> bytes | None:
        """A piece of a file that the stage wrote; None if it is gone. One that was begun can be read to its end."""
        self._heard = time.monotonic()
        if self._reading is None or self._reading[0] != path:
            self._close_reading()
            try:
                self._reading = path, (self._root / path).open("rb")
            except FileNotFoundError:
                return None
        handle = self._reading[1]
        handle.seek(offset)
        return handle.read(size)

    def end(self) -> None:
        """End the stage if it is at work."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def close(self) -> None:
        """End the stage if it is at work, and remove its folder."""
        self._close_reading()
        self.end()
        shutil.rmtree(self._root, ignore_errors=True)
        self._log.unlink(missing_ok=True)
        self._root.with_suffix(LOCK).unlink(missing_ok=True)
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    @property
    def _log(self) -> Path:
        return self._root.with_suffix(".log")

    def _blob(self, digest: str) -> Path:
        return self._blobs / digest[:2] / digest

    def _place(self, digest: str) -> Path:
        """Where the file is, or will be."""
        shared = Path(os.environ.get(STORE, ""), "files", "md5", digest[:2], digest[2:]).absolute()  # as DVC has them
        return shared if STORE in os.environ and shared.is_file() else self._blob(digest)

    def _part(self, digest: str) -> Path:
        """What has come of it by now."""
        return self._blobs / digest[:2] / f"{digest}.{self._root.name}{PART}"

    def _take_over(self, digest: str) -> int:
        """The size of what attempts that are over have left of it; it is ours from now on."""
        part = self._part(digest)
        for left in part.parent.glob(f"{digest}.*{PART}"):
            owner = left.name.split(".")[1]
            if not (self._works / f"{owner}{LOCK}").exists():
                with contextlib.suppress(FileNotFoundError):  # another was faster
                    left.replace(part)
        return part.stat().st_size if part.exists() else 0

    def _count(self, offset: int, content: bytes, *, kept: bool = False) -> None:
        if not offset:
            self._digest, self._kept = hashlib.md5(usedforsecurity=False), kept
        self._digest.update(content)

    def _new_folder(self) -> tuple[Path, Any]:
        """A work folder, and the lock that says that it is in use."""
        name = f"{_host()}-{os.getpid()}-{time.time_ns()}"
        lock = (self._works / f"{name}{LOCK}").open("wb")
        fcntl.flock(lock, fcntl.LOCK_EX)
        (self._works / name).mkdir()
        return self._works / name, lock

    def _clear_away(self) -> None:
        """Folders of those who were killed, and inputs that nobody needed for long.

        Where machines share the folder, another's locks need not be seen: of its folders only those of old.
        """
        for path in self._works.glob(f"*{LOCK}"):
            with contextlib.suppress(OSError), path.open("r+b") as handle:  # NFS locks only what is open for writing
                if not path.name.startswith(f"{_host()}-") and _age(path) < KEEP_S:
                    continue
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path.with_suffix(""), ignore_errors=True)
                path.with_suffix(".log").unlink(missing_ok=True)
                path.unlink()
        for path in self._works.glob("*[0-9]"):
            if not path.with_suffix(LOCK).exists():  # ranks may outlive by a moment who started them, and write on
                shutil.rmtree(path, ignore_errors=True)
        for path in self._blobs.glob("??/*"):
            with contextlib.suppress(OSError):
                if _age(path) > KEEP_S:
                    path.unlink()

    def _link(self, digest: str, target: Path) -> None:
        """The file at `target`: no stage writes into its inputs, so a link will do."""
        target.parent.mkdir(parents=True, exist_ok=True)
        place = self._place(digest)
        try:
            if place != self._blob(digest):
                target.symlink_to(place)
            else:
                os.utime(place)
                os.link(place, target)
        except FileExistsError:
            pass
        except OSError:  # a disk that has no hard links
            target.symlink_to(place.absolute())

    def _states(self, scratch: str) -> dict[str, int]:
        found = {}
        for path in (self._root / scratch).glob("*"):
            with contextlib.suppress(OSError):
                if path.is_file() and not path.name.endswith(PART):
                    found[path.name] = path.stat().st_size
        return found

    def _end_unheard(self) -> None:
        """End the stage once nobody asks for it: the one who sent it has given this node up."""
        assert self._process
        while self._process.poll() is None:
            if time.monotonic() - self._heard > UNHEARD_S:
                self.close()
            time.sleep(1.0)

    def _hashed(self, scratch: str) -> dict[str, tuple[int, str]] | None:
        """`outputs`; None until they are."""
        if self._hashes is None:
            self._hashes = ThreadPoolExecutor(1).submit(self.outputs, scratch)
        with contextlib.suppress(TimeoutError):
            return self._hashes.result(HASHING_S)
        return None

    def _close_reading(self) -> None:
        if self._reading is not None:
            self._reading[1].close()
        self._reading = None


def _age(path: Path) -> float:
    """Seconds since it was written, or needed; none of a file that is gone."""
    with contextlib.suppress(OSError):
        return time.time() - path.stat().st_mtime
    return 0.0


def about() -> dict[str, str]:
    """What decides the bytes of results on this machine: versions of Python and of libraries."""
    return {"python": platform.python_version()} | {name: _version(name) for name in SAME_VERSIONS}


def present() -> bool:
    """An answer, whatever it is, shows that the node is there."""
    return True


def _host() -> str:
    """The machine's name without its domain: files named by it have one dot."""
    return socket.gethostname().partition(".")[0]


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "none"
