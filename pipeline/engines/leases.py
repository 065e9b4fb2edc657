"""Who may use a device of this machine: a locked file for each, in a folder that all checkouts share.

The system takes a lock away with the process that holds it, however that ends.
"""

import contextlib
import fcntl
import os
import re
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

FOLDER = "FOLDBOARD_LEASES"  # names another folder than the one in the system's for temporary files
CPU_SLOTS = "FOLDBOARD_CPU_SLOTS"  # how many folds the checkouts of this machine may run on its cores, all together
POLL_S = 0.5


class Lease:
    """One locked file."""

    def __init__(self, name: str, handle: int) -> None:
        self.name, self._handle = name, handle

    def release(self) -> None:
        """Others may have it."""
        if self._handle >= 0:
            os.close(self._handle)
        self._handle = -1


class Leases:
    """Those of `names`: devices or slots."""

    def __init__(self, names: Sequence[str], folder: Path | None = None) -> None:
        self.names, self._folder = list(names), folder or leases_folder()

    def take(self, name: str) -> Lease | None:
        """The lease of `name`, or None while another process (or another part of this one) has it."""
        path = self._path(name)
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            return None
        os.ftruncate(handle, 0)
        os.write(handle, f"process {os.getpid()} in {Path.cwd()}\n".encode())
        return Lease(name, handle)

    def take_any(self) -> Lease | None:
        """The first that is free."""
        return next(filter(None, map(self.take, self.names)), None)

    def take_free(self, say: Callable[[str], None], *, at_least: int = 1) -> list[Lease]:
        """All that are free. While they are fewer than `at_least`, it holds none, waits, and says once who has them."""
        said = False
        while len(found := [lease for lease in map(self.take, self.names) if lease]) < at_least:
            free = {lease.name for lease in found}
            for lease in found:
                lease.release()
            if not said:
                holders = [f"{name} is used by {self._holder(name)}" for name in self.names if name not in free]
                say(f"waiting for {'a device' if at_least == 1 else f'{at_least} devices'}: {'; '.join(holders)}")
            said = True
            time.sleep(POLL_S)
        return found

    def _path(self, name: str) -> Path:
        return self._folder / f"{re.sub('[^A-Za-z0-9.-]', '_', name)}.lease"

    def _holder(self, name: str) -> str:
        with contextlib.suppress(OSError):
            return self._path(name).read_text(encoding="utf-8", errors="replace").strip() or "another process"
        return "another process"


def leases_folder() -> Path:
    """Where leases lie; made, for all users of the machine, if it is not there. Raises OSError."""
    folder = Path(os.environ.get(FOLDER) or Path(tempfile.gettempdir()) / "foldboard-leases")
    if not folder.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o1777)
    return folder


def cpu_slots() -> Leases | None:
    """The slots that FOLDBOARD_CPU_SLOTS counts, or None. Raises ValueError where it is no number from 1 up."""
    given = os.environ.get(CPU_SLOTS, "")
    if not given:
        return None
    if not given.isdecimal() or int(given) < 1:
        raise ValueError(f"{CPU_SLOTS} is {given!r}; it must be a number from 1 up")
    return Leases([f"cpu-{number}" for number in range(int(given))])
