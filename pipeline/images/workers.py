"""Processes that decode batches beside this one. Reads batches from a pipe, writes into the store, reports by the pipe.

Threads do not do: an image of 32 px takes 15 us, and handing Python's lock over takes as long (two threads: 0.7 times
the speed of one; on images of 100 px 1.3 times; two processes 1.4 and 1.8 times). A process ends when its pipe does,
so none outlives the one that started it, however that one ends.
"""

import contextlib
import subprocess
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType

from pipeline.images.store_batch import Batch, StoreFile, StoreReport, decode_batch

ROOT = Path(__file__).resolve().parents[2]
QUEUED = 2  # batches for each process: one in work, one waiting


class Worker:
    """One process that decodes into the store at `path`."""

    def __init__(self, path: Path, fit: str, bits: int) -> None:
        self._connection, theirs = Pipe()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", __name__, str(theirs.fileno()), str(path.resolve()), fit, str(bits)],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                process_group=0,  # Ctrl-C is ours to answer
            )

    def decode(self, batch: Batch) -> StoreReport:
        """What `decode_batch` returns or raises. Raises OSError, too, where the process has ended."""
        try:
            self._connection.send(batch)
            answer: StoreReport | OSError = self._connection.recv()
        except (EOFError, BrokenPipeError, ConnectionResetError):
            raise OSError(
                f"a process that decodes images ended early (exit code {self._process.wait()}), at the images from row "
                f"{batch.first:,} on; if the memory ran out, close other programs and run again"
            ) from None
        if isinstance(answer, OSError):
            raise answer
        return answer

    def kill(self) -> None:
        """At once: what it has written is in the file."""
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        """To be called after `kill`, when no thread waits for it any more."""
        self._connection.close()


class Workers:
    """Several processes. They are fed by a thread each, so that a large batch keeps nobody waiting."""

    def __init__(self, path: Path, fit: str, bits: int, count: int) -> None:
        self._all = [Worker(path, fit, bits) for _ in range(count)]
        self._idle: SimpleQueue[Worker] = SimpleQueue()
        for worker in self._all:
            self._idle.put(worker)
        self._threads = ThreadPoolExecutor(count)
        self._unfinished: list[Future[StoreReport]] = []

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """End all of them, whatever they are at."""
        for worker in self._all:
            worker.kill()
        self._threads.shutdown(cancel_futures=True)
        for worker in self._all:
            worker.close()

    def have_room(self) -> bool:
        """Whether a batch more would not wait for long."""
        self._unfinished = [future for future in self._unfinished if not future.done()]
        return len(self._unfinished) < QUEUED * len(self._all)

    def submit(self, batch: Batch) -> "Future[StoreReport]":
        """The report of `batch` to come; OSError where the process that had it has ended."""
        self._unfinished.append(self._threads.submit(self._decode, batch))
        return self._unfinished[-1]

    def _decode(self, batch: Batch) -> StoreReport:
        worker = self._idle.get()
        try:
            return worker.decode(batch)
        finally:
            self._idle.put(worker)


def serve(connection: Connection, path: Path, fit: str, bits: int) -> None:
    """Decode what comes until nothing comes any more."""
    store = StoreFile(path)
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        while True:
            connection.send(_answer(store, connection.recv(), fit, bits))


def _answer(store: StoreFile, batch: Batch, fit: str, bits: int) -> StoreReport | OSError:
    try:
        return decode_batch(store, batch, fit, bits)
    except OSError as error:
        return error


def main() -> None:
    """Command line, for `Worker` alone: the pipe's number, the store, how to fit, bits of 16-bit grey."""
    descriptor, path, fit, bits = sys.argv[1:]
    serve(Connection(int(descriptor)), Path(path), fit, int(bits))


if __name__ == "__main__":
    main()
