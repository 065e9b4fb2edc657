"""What it costs to send a fold elsewhere: `python -m benchmarks.engines --project DIR --epochs 20 200`.

In a checkout that may be spoilt, in which `folds` has run: trains fold 0 anew, with another seed each time, on this
machine and through a Ray cluster that begins here, in turns. Prints seconds of the whole command, the ratio of the
medians, bytes that went and came, and the memory of Ray's processes (proportional set size, the stage's own left out).
"""

import argparse
import itertools
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import psutil
import yaml

ENGINES = ("local", "ray")
RAYS_OWN = re.compile(r"ray::|/ray/|engines\.bridge")
LOOK_S = 0.5


def parse_args() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.engines", description=__doc__)
    parser.add_argument("--project", type=Path, required=True, help="the checkout")
    parser.add_argument("--epochs", type=int, nargs="+", default=[20], help="of the fold; default: %(default)s")
    parser.add_argument("--rounds", type=int, default=3)
    return parser.parse_args()


def run(command: Sequence[str], folder: Path) -> tuple[float, int, str]:
    """Seconds that it took, the most bytes that Ray's processes held, and what it said."""
    began, most = time.perf_counter(), 0
    with tempfile.TemporaryFile("w+") as output:
        folds = subprocess.Popen(command, cwd=folder, stdout=output, stderr=output)
        while folds.poll() is None:
            most = max(most, ray_bytes(folds.pid))
            time.sleep(LOOK_S)
        took = time.perf_counter() - began
        output.seek(0)
        said = output.read()
    if folds.returncode:
        raise SystemExit(said)
    return took, most, said


def ray_bytes(pid: int) -> int:
    """Of the processes below `pid` that are Ray's own, or hold its library."""
    found = 0
    for process in psutil.Process(pid).children(recursive=True):
        try:
            words = " ".join(process.cmdline())
            if "pipeline.stages" not in words and RAYS_OWN.search(words):
                found += process.memory_full_info().pss
        except psutil.Error:
            continue
    return found


def main() -> None:
    """A line for each number of epochs."""
    args = parse_args()
    path, seeds = args.project / "params.yaml", itertools.count(1000)
    for epochs in args.epochs:
        took: dict[str, list[float]] = {engine: [] for engine in ENGINES}
        most, sent = 0, ""
        for _, engine in itertools.product(range(args.rounds), ENGINES):
            params = yaml.safe_load(path.read_text(encoding="utf-8"))
            params["folds"]["0"] = {"epochs": epochs, "seed": next(seeds)}
            path.write_text(yaml.safe_dump(params), encoding="utf-8")
            words = ["-m", "pipeline", "folds", "--jobs", "1", "--threads", "1", "--engine", engine]
            seconds, held, said = run([sys.executable, *words], args.project)
            took[engine].append(seconds)
            most = max(most, held)
            sent = "".join(re.findall(r"ray: (.* sent .*)", said)) or sent
        local, ray = (statistics.median(took[engine]) for engine in ENGINES)
        ratio = f"{ray / local:.2f} ({ray:.1f} to {local:.1f} s)"
        each = {engine: [round(seconds, 1) for seconds in found] for engine, found in took.items()}
        print(f"{epochs} epochs: {ratio}, each {each}; {sent}; {most / 1e6:,.0f} MB held")


if __name__ == "__main__":
    main()
