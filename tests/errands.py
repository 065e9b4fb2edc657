"""A stage of a few lines that an errand carries somewhere, and what it reads and writes."""

import hashlib
import os

from pipeline.engines.job import Job

STAGE = """
import os, sys, time
from pathlib import Path
scratch, out = Path(sys.argv[1]), Path(sys.argv[2])
print("from", *sorted(path.name for path in scratch.glob("*")), flush=True)
print(Path("data/in.bin").stat().st_size, os.environ["OMP_NUM_THREADS"], os.environ.get("RAY_AUTH_TOKEN"), flush=True)
scratch.mkdir(parents=True, exist_ok=True)
(scratch / "0-f-1-000000005-b.pt").write_bytes(b"five")
while len(sys.argv) > 5 and not Path(sys.argv[5]).exists():
    time.sleep(0.02)
(scratch / "0-f-1-000000005-b.pt").unlink()
out.write_bytes(b"out")
Path("beside").write_bytes(b"not asked for")
"""


def make_home(root):
    """The project's folder, with inputs of several pieces, an empty one and a state of step 3."""
    (root / "data/scratch").mkdir(parents=True)
    (root / "data/in.bin").write_bytes(os.urandom(10_000_000))
    (root / "data/empty").write_bytes(b"")
    (root / "stage.py").write_text(STAGE)
    (root / "data/scratch/0-f-1-000000003-a.pt").write_bytes(b"three")
    (root / "data/scratch/1-f-1-000000003-a.pt").write_bytes(b"another fold's")
    (root / "log").touch()
    return root


def job_of(root, *words):
    """words: of its command; the fifth is a file that it waits for."""
    inputs = {
        name: hashlib.md5((root / name).read_bytes()).hexdigest() for name in ("data/in.bin", "data/empty", "stage.py")
    }
    argv = ["data/scratch", "data/out", "--scratch", "data/scratch", *words]
    return Job(stage="train@0", fold="0", module="stage", argv=argv, threads=3, log="log",
               environment={"OMP_NUM_THREADS": "3"}, inputs=inputs, outputs=["data/out"])  # fmt: skip


def states(root):
    return sorted(path.name for path in (root / "data/scratch").iterdir())
