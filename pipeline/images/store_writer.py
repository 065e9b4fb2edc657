"""The uint8 store: all images of one table in one .npy of shape (N, S, S, 3), written once, mapped ever after."""

import contextlib
import functools
import os
import statistics
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import numpy as np

from pipeline.base import console
from pipeline.base.console import num_cores, progress_bar
from pipeline.images.decode import SIMPLEJPEG, bits_used, shown_kind
from pipeline.images.store_batch import Batch, StoreFile, StoreReport, decode_batch
from pipeline.images.workers import decode_there, worker_pool

BATCH_IMAGES, BATCH_BYTES = 256, 2 << 20  # whichever is reached first
WORKERS_PAY_FROM = 0.5  # seconds of decoding that are left; a process is there after 0.3 s
MAX_WORKERS = 15  # one thread reads the files for all: more would wait for it
QUEUED = 2  # batches for each process: one in work, one waiting
MAX_AHEAD = 64  # batches decoded while an earlier one is still in work
AUTO_SAMPLE = 256
AUTO_MAX = 128  # pixels: what a ResNet9 trained from scratch makes use of on one machine
AUTO_MIN = 8
PILLOW_ALONE = (
    "warning: simplejpeg is not installed, so Pillow alone decodes JPEG, in twice the time: images of four times the "
    "stored side and more come out otherwise, by 0.6 grey levels on average at most"
)
DEPTHS = (8, 10, 12, 14, 16)  # bits that cameras and scanners write


def auto_size(names: Sequence[str], read: Callable[[str], bytes]) -> int:
    """Median shorter side of up to 256 images spread over `names`, held between 8 and 128 pixels."""
    sides = [min(kind[:2]) for kind in map(shown_kind, _some(names, read)) if kind is not None]
    return min(max(int(statistics.median(sides)), AUTO_MIN), AUTO_MAX) if sides else AUTO_MAX


def auto_bits(names: Sequence[str], read: Callable[[str], bytes]) -> int:
    """How many bits 16-bit images use, by 256 of them spread over `names`: the least of `DEPTHS` that hold them."""
    used = max(map(bits_used, _some(names, read)), default=0)
    return next(bits for bits in DEPTHS if used <= bits) if used else DEPTHS[-1]


def _some(names: Sequence[str], read: Callable[[str], bytes]) -> Iterator[bytes]:
    """The files that can be read; others are reported when they are decoded."""
    contents = (_content(name, read) for name in names[:: max(1, len(names) // AUTO_SAMPLE)])
    return (content for content in contents if isinstance(content, bytes))


def write_store(
    path: Path, names: Sequence[str], read: Callable[[str], bytes], *, size: int, fit: str, title: str, bits: int = 16
) -> StoreReport:
    """Decode `names` in order into a (N, size, size, 3) uint8 array, written straight to `path`.

    size, fit, bits: as `decode_image` takes them.

    Memory stays bounded: a few batches at a time. A file that cannot be read or decoded is noted in the report with
    its row, and that row is left zero: a caller must not keep the file then. Empty names are passed over (the caller
    knows why they are empty). `read` is called in this thread alone. Other processes decode too where that saves
    time; nothing but the time depends on it. Raises OSError where one of them ends early, or the disk is full.
    """
    report = StoreReport()
    if not SIMPLEJPEG:
        _say_once(PILLOW_ALONE)
    np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=(len(names), size, size, 3))
    _reserve(path)
    with (
        contextlib.closing(_decoded(_batches(names, read, size), path, fit, bits)) as parts,
        progress_bar(title, total=len(names), unit=" images") as bar,
    ):
        try:
            for part in parts:
                report.add(part)
                bar.update(len(part.sha256))
        except BrokenProcessPool:
            raise OSError(
                f"a process that decodes images ended early, at the images from row {len(report.sha256):,} on; if the "
                "memory ran out, close other programs and run again"
            ) from None
    return report


@functools.cache
def _say_once(line: str) -> None:
    console.say(line)


def _reserve(path: Path) -> None:
    """Raise OSError now if the disk has no room, not after an hour of decoding."""
    if not hasattr(os, "posix_fallocate"):
        return
    num_bytes = path.stat().st_size
    with path.open("r+b") as handle:
        try:
            os.posix_fallocate(handle.fileno(), 0, num_bytes)
        except OSError as error:
            raise OSError(error.errno, f"{num_bytes:,} bytes are needed") from error


def _batches(names: Sequence[str], read: Callable[[str], bytes], size: int) -> Iterator[Batch]:
    """The files, in order: `BATCH_IMAGES` at a time, or fewer where files and pixels take `BATCH_BYTES` before."""
    first, contents, num_bytes = 0, [], 0
    for row, name in enumerate(names):
        contents.append(_content(name, read))
        num_bytes += len(contents[-1]) + 3 * size * size
        if len(contents) == BATCH_IMAGES or num_bytes >= BATCH_BYTES:
            yield Batch(first, contents)
            first, contents, num_bytes = row + 1, [], 0
    if contents:
        yield Batch(first, contents)


def _content(name: str, read: Callable[[str], bytes]) -> bytes | str:
    """A file's bytes, or the reason why there are none."""
    try:
        return read(name) if name else ""
    except OSError as error:
        return str(error) or type(error).__name__


def _decoded(batches: Iterator[Batch], path: Path, fit: str, bits: int) -> Generator[StoreReport, None, None]:
    """Reports of `batches`, in order. Decodes here, and on the other cores too from when on that pays."""
    started, num_workers = time.perf_counter(), min(num_cores() - 1, MAX_WORKERS)
    reports: deque[Future[StoreReport]] = deque()
    pool: ProcessPoolExecutor | None = None
    with contextlib.closing(StoreFile(path)) as store, contextlib.ExitStack() as ending:
        for batch in batches:
            if pool is None and num_workers and _seconds_left(started, batch.first, store.num_rows) > WORKERS_PAY_FROM:
                pool = worker_pool(path, fit, bits, num_workers)
                ending.callback(pool.shutdown, cancel_futures=True)
            if pool is not None and sum(not report.done() for report in reports) < QUEUED * num_workers:
                reports.append(pool.submit(decode_there, batch))
            else:
                reports.append(Future())
                reports[-1].set_result(decode_batch(store, batch, fit, bits))
            while reports and (reports[0].done() or len(reports) > MAX_AHEAD):
                yield reports.popleft().result()
        while reports:
            yield reports.popleft().result()


def _seconds_left(started: float, num_done: int, num_all: int) -> float:
    """By what the first `num_done` images took."""
    return (time.perf_counter() - started) / num_done * (num_all - num_done) if num_done else 0.0
