"""Processes that decode batches beside this one, into the same store.

Threads do not do: an image of 32 px takes 15 us, and handing Python's lock over takes as long (two threads: 0.7 times
the speed of one; on images of 100 px 1.3 times; two processes 1.4 and 1.8 times).
"""

import multiprocessing
import os
import signal
import threading
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import NamedTuple

from pipeline.images.store_batch import Batch, StoreFile, StoreReport, decode_batch


class _Task(NamedTuple):
    store: StoreFile
    fit: str
    bits: int


_tasks: list[_Task] = []  # of this process, if it is a worker: the one


def worker_pool(path: Path, fit: str, bits: int, count: int) -> ProcessPoolExecutor:
    """`count` processes for `decode_there`; fit and bits as `decode_batch` takes them."""
    anew = multiprocessing.get_context("spawn")  # a fork of a process with threads may hang
    return ProcessPoolExecutor(count, anew, initializer=_prepare, initargs=(path.resolve(), fit, bits))


def decode_there(batch: Batch) -> StoreReport:
    """`decode_batch`, in a process of a `worker_pool`."""
    ((store, fit, bits),) = _tasks
    return decode_batch(store, batch, fit, bits)


def _prepare(path: Path, fit: str, bits: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that started this one to answer
    parent = multiprocessing.parent_process()
    assert parent is not None
    threading.Thread(target=_end_after, args=(parent,), daemon=True).start()
    _tasks.append(_Task(StoreFile(path), fit, bits))


def _end_after(parent: BaseProcess) -> None:
    """None outlives the one that started it, however that one ends."""
    parent.join()
    os._exit(1)
