"""One stage on one node, from this side: inputs go out, lines and states come home while it runs, outputs at the end.

Nothing of an attempt that was given up can arrive late: answers are asked for, by the attempt that wants them.
"""

import contextlib
import hashlib
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.base.files import whole_file
from pipeline.engines.job import Job
from pipeline.engines.node import CACHE, STORE, about
from pipeline.engines.placement import POLL_S, newest_states

PIECE = 4 << 20  # bytes of a file in one message

Link = Callable[..., Any]  # (name of a method of Node, its arguments) -> its answer; raises LostError


class LostError(Exception):
    """The node gives no answer, or one after which it is of no use."""


def refuse_others(there: Mapping[str, str], name: str = "it") -> None:
    """Raise LostError where a node has other versions than this machine: its bytes would be others."""
    odd = [f"{what} {there[what]} (here {found})" for what, found in about().items() if there[what] != found]
    if odd:
        raise LostError(f"{name} has {', '.join(odd)}; install the same there")


class UnwantedError(Exception):
    """Nobody wants the stage any more."""


class Traffic:
    """Bytes that went to each node, and that came back from any."""

    def __init__(self) -> None:
        self.sent: dict[str, int] = {}
        self.received = 0
        self._lock = threading.Lock()

    def add(self, node: str, *, sent: int = 0, received: int = 0) -> None:
        """So many more."""
        with self._lock:
            self.sent[node] = self.sent.get(node, 0) + sent
            self.received += received


class Errand:
    """The job on the node behind `link`. root: of the project here; wanted: False once nobody wants the stage."""

    def __init__(
        self, job: Job, link: Link, root: Path, *, node: str, traffic: Traffic, wanted: Callable[[], bool]
    ) -> None:
        self._job, self._link, self._root = job, link, root
        self._node, self._traffic, self._wanted = node, traffic, wanted
        self._brought: set[str] = set()  # states that came home

    def send(self) -> None:
        """Whatever of the inputs the node lacks, and the newest states of the fold. Raises LostError without room."""
        path_of = {digest: self._root / path for path, digest in self._job.inputs.items()}
        missing = self._link("missing", sorted(path_of))
        needed = sum(path_of[digest].stat().st_size - held for digest, held in missing.items())
        free = self._link("make_room", needed, sorted(path_of))
        if free < needed:
            raise LostError(
                f"the inputs take {needed:,} bytes more in its cache, and {free:,} are free; make room there, or have "
                f"{CACHE} name a folder on another disk, or {STORE} one that holds them (docs/scaling.md)"
            )
        for digest, held in missing.items():
            if not self._put(digest, path_of[digest], held):
                self._put(digest, path_of[digest], 0)
        for name in newest_states(self.states()):
            with contextlib.suppress(FileNotFoundError):
                for offset, piece, _ in self._pieces(self._root / self._job.scratch / name):
                    self._link("give", f"{self._job.scratch}/{name}", offset, piece)

    def run(self) -> int:
        """The stage's exit code; its outputs are at home then, all or none.

        Raises LostError, UnwantedError, and OSError or ValueError for what no other node would do better.
        """
        job, log_size = self._job, 0
        self._link("begin", dict(job.inputs), job.module, list(job.argv), dict(job.environment))
        while True:
            answer = self._link("poll", log_size, job.scratch)
            if answer["log"]:
                with (self._root / job.log).open("ab") as log:
                    log.write(answer["log"])
                log_size += len(answer["log"])
            if answer["code"] is not None:
                break
            self._bring_states(answer["states"])
            self._check_wanted()
            time.sleep(POLL_S)
        if answer["code"] == 0:
            self._bring_outputs(answer["outputs"])
            for path in self._of_fold("*"):  # and what killed errands had half brought
                path.unlink(missing_ok=True)
        return int(answer["code"])

    def states(self) -> list[str]:
        """The fold's states at home, none where the stage saves none."""
        return [path.name for path in self._of_fold("*.pt")]

    def _of_fold(self, names: str) -> list[Path]:
        scratch = self._job.scratch
        return list((self._root / scratch).glob(f"{self._job.fold}-{names}")) if scratch else []

    def _put(self, digest: str, path: Path, held: int) -> bool:
        """Send the file but for the first `held` bytes, which are there: False if it has to be sent again."""
        for offset in range(0, held, PIECE):
            self._check_wanted()
            self._link("keep", digest, offset, min(PIECE, held - offset))
        pieces = self._pieces(path, held)
        return all(self._link("put", digest, offset, piece, last) for offset, piece, last in pieces)

    def _check_wanted(self) -> None:
        if not self._wanted():
            raise UnwantedError

    def _pieces(self, path: Path, offset: int = 0) -> Any:
        """(offset, bytes, whether it is the last) of a file from `offset` on; there is one piece at least."""
        size = path.stat().st_size
        with path.open("rb") as handle:
            handle.seek(offset)
            while True:
                self._check_wanted()
                piece = handle.read(PIECE)
                self._traffic.add(self._node, sent=len(piece))
                yield offset, piece, offset + len(piece) >= size
                offset += len(piece)
                if offset >= size or not piece:
                    return

    def _bring_states(self, found: Mapping[str, int]) -> None:
        """Be as the node is: its newest states here, and of the fold no others."""
        newest = newest_states(found)
        home = set(self.states())
        for name in [name for name in newest if name not in home]:
            path = f"{self._job.scratch}/{name}"
            with contextlib.suppress(FileNotFoundError), whole_file(self._root / path, found[name]) as part:
                self._bring(path, found[name], part)
        if newest and set(newest) <= set(self.states()):
            for name in set(self.states()) - set(newest):
                (self._root / self._job.scratch / name).unlink(missing_ok=True)

    def _bring_outputs(self, found: Mapping[str, Sequence[Any]]) -> None:
        """Put all outputs in place, or none. Raises ValueError where they are not those of the stage."""
        missing = [path for path in self._job.outputs if path not in found]
        if missing:
            raise ValueError(f"{self._job.stage} on {self._node} did not write {len(missing)} outputs: {missing[:3]}")
        with contextlib.ExitStack() as stack:
            for path in (path for path in found if path in self._job.argv or path in self._job.outputs):
                size, sha256 = found[path]
                part = stack.enter_context(whole_file(self._root / path, size))
                if self._bring(path, size, part) != sha256:
                    raise LostError(f"{path} came home with other bytes than it had there")

    def _bring(self, path: str, size: int, part: Path) -> str:
        """The file as it is on the node, into `part`: its sha256. Raises FileNotFoundError."""
        digest, offset = hashlib.sha256(), 0
        with part.open("wb") as handle:
            while True:
                self._check_wanted()
                piece = self._link("read", path, offset, PIECE)
                if piece is None or (not piece and offset < size):
                    raise FileNotFoundError(f"{path} is gone on {self._node}")
                handle.write(piece)
                digest.update(piece)
                offset += len(piece)
                self._traffic.add(self._node, received=len(piece))
                if offset >= size:
                    return digest.hexdigest()
