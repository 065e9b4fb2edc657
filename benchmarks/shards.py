"""One store file, or shards of it: `python -m benchmarks.shards --folder DIR`.

Reads 512 random images of 224 px out of a mapped store, out of shards of it one after the other, and out of shards that
are mapped one behind the other as if they were one file; each kind in turns, in one thread. Then sends the store to a
node's cache, loses the node at nine tenths, and sends it again. With --s3 (requirements-dev.txt) DVC pushes both kinds
to a server on the loopback and pulls them.
"""

import argparse
import contextlib
import ctypes
import hashlib
import importlib
import mmap
import os
import shutil
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pipeline.engines.errand import Errand, LostError, Traffic
from pipeline.engines.job import Job
from pipeline.engines.node import Node

SIDE, SHARDS, ROWS = 224, 16, 512
MAP_FIXED = 0x10  # mmap(2)
Reader = Callable[[np.ndarray], Tensor]


def parse_args() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.shards", description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="to make and to fill with three times the store")
    parser.add_argument("--images", type=int, default=8000, help="a multiple of 64; default: %(default)s")
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--s3", action="store_true", help="push and pull too")
    return parser.parse_args()


def write_stores(folder: Path, num_images: int) -> tuple[Path, list[Path]]:
    """(one .npy, the same images as raw bytes in shards): noise, which nothing packs."""
    rng, whole, shards = np.random.default_rng(0), folder / "whole/train.npy", []
    for path in (whole.parent, folder / "shards"):
        path.mkdir(parents=True)
    store = np.lib.format.open_memmap(whole, mode="w+", dtype=np.uint8, shape=(num_images, SIDE, SIDE, 3))
    for number, rows in enumerate(np.split(np.arange(num_images), SHARDS)):
        store[rows] = rng.integers(0, 256, (len(rows), SIDE, SIDE, 3), dtype=np.uint8)
        shards.append(folder / f"shards/{number:05d}")
        store[rows].tofile(shards[-1])
    return whole, shards


def shard_by_shard(shards: Sequence[Path], rows_each: int) -> Reader:
    """Gathers each shard's rows, and puts them where they belong."""
    shape = (rows_each, SIDE, SIDE, 3)
    maps = [torch.from_numpy(np.memmap(path, mode="c", dtype=np.uint8, shape=shape)) for path in shards]

    def read(rows: np.ndarray) -> Tensor:
        found, shard_of = torch.empty((len(rows), *shape[1:]), dtype=torch.uint8), rows // rows_each
        for shard in np.unique(shard_of):
            places = np.flatnonzero(shard_of == shard)
            images = maps[shard].index_select(0, torch.from_numpy(rows[places] % rows_each))
            found.index_copy_(0, torch.from_numpy(places), images)
        return found

    return read


def end_to_end(shards: Sequence[Path]) -> Tensor:
    """All shards in one range of addresses: each is a whole number of pages."""
    system = ctypes.CDLL(None, use_errno=True)
    system.mmap.restype, ints = ctypes.c_void_p, [ctypes.c_int] * 3
    system.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *ints, ctypes.c_long]
    sizes = [path.stat().st_size for path in shards]
    assert not any(size % mmap.PAGESIZE for size in sizes)
    access = mmap.PROT_READ | mmap.PROT_WRITE
    start = system.mmap(None, sum(sizes), access, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1, 0)
    for path, place in zip(shards, start + np.cumsum([0, *sizes[:-1]]), strict=True):
        with path.open("rb") as file:
            at = system.mmap(int(place), path.stat().st_size, access, mmap.MAP_PRIVATE | MAP_FIXED, file.fileno(), 0)
        assert at == place
    memory: Any = (ctypes.c_uint8 * sum(sizes)).from_address(start)
    return torch.from_numpy(np.frombuffer(memory, dtype=np.uint8).reshape(-1, SIDE, SIDE, 3))


def compare_readers(whole: Path, shards: Sequence[Path], *, rounds: int) -> None:
    """Milliseconds of each, and the median of its ratio to one file in the same round."""

    def rows_of(store: Tensor) -> Reader:
        return lambda rows: store.index_select(0, torch.from_numpy(rows))

    store = torch.from_numpy(np.load(whole, mmap_mode="c"))
    readers = {
        "one file": rows_of(store),
        "shard by shard": shard_by_shard(shards, len(store) // SHARDS),
        "shards end to end": rows_of(end_to_end(shards)),
    }
    for rows in np.split(np.arange(len(store)), SHARDS):  # so that later reads meet no page for the first time
        expected, *others = [read(rows) for read in readers.values()]
        assert all(torch.equal(expected, other) for other in others)
    rng, seconds = np.random.default_rng(0), {name: np.zeros(rounds) for name in readers}
    for turn in range(rounds):
        rows = rng.permutation(len(store))[:ROWS]
        for name in rng.permutation(list(readers)):
            began = time.perf_counter()
            readers[name](rows)
            seconds[name][turn] = time.perf_counter() - began
    for name, taken in seconds.items():
        ratio = np.median(taken / seconds["one file"])
        print(f"{name:18}{1000 * statistics.median(taken):8.1f} ms{ratio:8.3f} x")


def lose_a_node(whole: Path, cache: Path) -> None:
    """Bytes that two attempts send."""
    with whole.open("rb") as file:
        digest = hashlib.file_digest(file, "md5").hexdigest()
    job = Job(stage="train@0", fold="0", module="", argv=[], threads=1, log="", environment={},
              inputs={whole.name: digest})  # fmt: skip
    for most in (0.9 * whole.stat().st_size, np.inf):
        node, traffic = Node(str(cache)), Traffic()

        def link(name: str, *args: Any, node: Node = node, traffic: Traffic = traffic, most: float = most) -> Any:
            if sum(traffic.sent.values()) > most:
                raise LostError("no answer")
            return getattr(node, name)(*args)

        began = time.perf_counter()
        with contextlib.suppress(LostError):
            Errand(job, link, whole.parent, node="", traffic=traffic, wanted=lambda: True).send()
        sent = sum(traffic.sent.values()) / 1e6
        print(f"to a node: {sent:8,.0f} MB sent in {time.perf_counter() - began:.1f} s")
        node.close()


@contextlib.contextmanager
def s3_server() -> Iterator[None]:
    """An empty bucket on the loopback, for all that this process starts."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-p", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    time.sleep(5.0)
    os.environ |= {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}", "AWS_ACCESS_KEY_ID": "none", "AWS_SECRET_ACCESS_KEY": "none",
        "AWS_DEFAULT_REGION": "us-east-1",
    }  # fmt: skip
    try:
        importlib.import_module("boto3").client("s3").create_bucket(Bucket="bucket")
        yield
    finally:
        server.kill()
        server.wait()


def push_and_pull(folder: Path) -> None:
    """Seconds of both, of the folder with one file and of the one with shards."""

    def run(*words: str) -> float:
        began = time.perf_counter()
        subprocess.run(words, cwd=folder, check=True, stdout=subprocess.DEVNULL)
        return time.perf_counter() - began

    run("git", "init", "-q")
    run("dvc", "init", "-q")
    run("dvc", "remote", "add", "-d", "results", "s3://bucket/results")
    for name in ("whole", "shards"):
        run("dvc", "add", "-q", name)
        pushed = run("dvc", "push", "-q", f"{name}.dvc")
        shutil.rmtree(folder / name)
        shutil.rmtree(folder / ".dvc/cache")
        print(f"{name:8} pushed in {pushed:6.1f} s, pulled in {run('dvc', 'pull', '-q', f'{name}.dvc'):6.1f} s")


def main() -> None:
    """Print all."""
    args = parse_args()
    torch.set_num_threads(1)
    whole, shards = write_stores(args.folder, args.images)
    print(
        f"{whole.stat().st_size / 1e9:.2f} GB, {SHARDS} shards, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    )
    compare_readers(whole, shards, rounds=args.rounds)
    lose_a_node(whole, args.folder / "cache")
    if args.s3:
        shutil.rmtree(args.folder / "cache")
        with s3_server():
            push_and_pull(args.folder)


if __name__ == "__main__":
    main()
