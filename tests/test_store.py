"""write_store: the same bytes and report on one core and on several, memory that does not grow, no process left."""

import contextlib
import io
import os
import signal
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from conftest import encoded
from house import ROOT
from PIL import Image

from pipeline.images import store_writer
from pipeline.images.store_writer import write_store

LINUX = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="finds processes by /proc")


def children(pid):
    """Processes that `pid` has started to decode."""
    found = []
    for thread in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):
            found += [int(child) for child in (thread / "children").read_text().split()]
    return [child for child in found if b"spawn_main" in command_of(child)]


def command_of(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def mixed_files(count):
    """Name -> content: JPEG and PNG of several sizes and modes, turned ones, and every 17th broken or missing."""
    files = {}
    for number in range(count):
        rng = np.random.default_rng(number)
        pixels = rng.integers(0, 256, (8 + number % 9, 12, 4), dtype=np.uint8)
        image = Image.fromarray(pixels).convert(("RGB", "L", "RGBA")[number % 3])
        stream = io.BytesIO()
        if number % 3 == 2:
            image.save(stream, format="PNG")
        else:
            exif = Image.Exif()
            exif[0x0112] = 1 + number % 8
            image.save(stream, format="JPEG", exif=exif)
        files[f"{number}"] = stream.getvalue()[: 40 if number % 17 == 0 else None]
    return files


@pytest.fixture
def several_cores(monkeypatch):
    """Two processes beside this one, from the second batch on."""
    monkeypatch.setattr(store_writer, "num_cores", lambda: 3)
    monkeypatch.setattr(store_writer, "WORKERS_PAY_FROM", 0)
    monkeypatch.setattr(store_writer, "BATCH_IMAGES", 16)


def test_one_core_and_several_give_the_same_bytes_and_report(tmp_path, monkeypatch, several_cores):
    files = mixed_files(400)
    names = [name if row % 50 else "" for row, name in enumerate(files)]

    def read(name):
        if name == "77":
            raise OSError("77 is away")
        return files[name]

    def written(path):
        report = write_store(path, names, read, size=12, fit="crop", title="")
        seen = report.formats.most_common(), report.modes.most_common(), report.sizes.most_common()
        oddities = {name: list(rows) for name, rows in report.oddities.items()}
        return path.read_bytes(), list(report.sha256), report.failures, seen, oddities

    several = written(tmp_path / "several.npy")
    monkeypatch.setattr(store_writer, "num_cores", lambda: 1)
    assert several == written(tmp_path / "one.npy")

    rows = [row for row, _ in several[2]]
    assert rows == [row for row in range(400) if (row % 17 == 0 or row == 77) and row % 50]
    assert (77, "77 is away") in several[2]
    assert several[1][0] == several[1][77] == "" and len(several[1][1]) == 64


@LINUX
def test_a_process_that_is_killed_stops_ingest_with_its_rows(tmp_path, several_cores):
    content = encoded(np.zeros((12, 12, 3), dtype=np.uint8))

    def read(name):
        if name == "200":
            [os.kill(child, signal.SIGKILL) for child in children(os.getpid())]
        return content

    with pytest.raises(OSError, match=r"ended early, at the images from row [\d,]+ on"):
        write_store(tmp_path / "x.npy", [f"{row}" for row in range(1000)], read, size=12, fit="squash", title="")
    assert not children(os.getpid())


@LINUX
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_however_ingest_ends_no_process_goes_on(tmp_path, how):
    code = f"""
import signal, time
from pathlib import Path
import numpy as np
from conftest import encoded
from pipeline.images import store_writer
signal.signal(signal.SIGINT, signal.default_int_handler)
store_writer.num_cores, store_writer.WORKERS_PAY_FROM, store_writer.BATCH_IMAGES = lambda: 3, 0, 4
content = encoded(np.zeros((12, 12, 3), dtype=np.uint8))
def read(name):
    time.sleep(0.001)
    return content
store_writer.write_store(Path({str(tmp_path / "x.npy")!r}), ["x"] * 100_000, read, size=12, fit="squash", title="")
"""
    environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"}
    with (tmp_path / "stderr").open("w") as stderr:
        run = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, env=environment, stderr=stderr)
    deadline = time.monotonic() + 20
    while len(workers := children(run.pid)) < 2:
        assert time.monotonic() < deadline and run.poll() is None
        time.sleep(0.02)
    time.sleep(0.3)  # they are at work, as a rule
    run.send_signal(how)
    assert run.wait(timeout=20) == -how
    while any(Path(f"/proc/{worker}").exists() and is_running(worker) for worker in workers):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    said = (tmp_path / "stderr").read_text()
    assert said.count("Traceback") == (how == signal.SIGINT), said  # of the one that was interrupted alone


def is_running(pid):
    """Not a zombie that its parent has yet to ask for."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize("cores", [1, 3])
def test_memory_does_not_grow_with_the_number_of_images(tmp_path, monkeypatch, cores):
    monkeypatch.setattr(store_writer, "num_cores", lambda: cores)
    monkeypatch.setattr(store_writer, "WORKERS_PAY_FROM", 0)
    small = encoded(np.zeros((12, 12, 3), dtype=np.uint8), "JPEG")

    def peak(count):
        tracemalloc.start()
        read = lambda name: small + bytes(300_000)  # noqa: E731
        write_store(tmp_path / "x.npy", ["x"] * count, read, size=12, fit="squash", title="")
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    peak(30)  # what is loaded once
    assert peak(600) - peak(120) < 2 * store_writer.BATCH_BYTES
