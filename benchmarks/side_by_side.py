"""Seconds until every fold is trained, inferred and recorded: `dvc repro` against `python -m pipeline folds`.

Each runs in its own fresh copy of the project, in turns within one run; what the folds need from upstream is made
before the clock starts. Figures of one machine, one day: compare ratios, not numbers.

    python -m benchmarks.side_by_side
    python -m benchmarks.side_by_side --images 600 --size 32 --width 64 --epochs 2
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

from benchmarks.made_up import write_competition
from pipeline.base.console import num_cores

ROOT = Path(__file__).resolve().parent.parent
COMMANDS = {
    "one after the other": ["dvc", "repro", "train", "infer"],
    "side by side": ["python", "-m", "pipeline", "folds"],
}


def parse_args() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=0, help="made-up ones; default: 0 = the digits")
    parser.add_argument("--size", type=int, default=32, help="of made-up images, pixels; default: %(default)s")
    parser.add_argument("--width", type=int, help="of ResNet9; default: as params.yaml says")
    parser.add_argument("--epochs", type=int, help="default: as params.yaml says")
    parser.add_argument("--rounds", type=int, default=1, help="turns for each; default: %(default)s")
    return parser.parse_args()


def fresh_project(root: Path, args: argparse.Namespace) -> None:
    """The project's tracked files at `root`, its params as `args` asks, everything above the folds made."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in listed.splitlines():
        if (ROOT / name).is_file() and name != "dvc.lock":
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, root / name)
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    if args.images:
        write_competition(root / "raw.zip", args.images, size=args.size)
        params["competition"]["raw"] = "raw.zip"
    params["model"]["width"] = args.width or params["model"]["width"]
    params["train"]["epochs"] = args.epochs or params["train"]["epochs"]
    (root / "params.yaml").write_text(yaml.safe_dump(params))
    call(["git", "init", "-q"], root)
    call(["dvc", "repro", "split"], root)


def call(command: list[str], root: Path) -> float:
    """Seconds that `command` takes in `root`; this interpreter's `python` and `dvc`."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    started = time.perf_counter()
    done = subprocess.run(
        command, cwd=root, env=os.environ | {"PATH": path}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed in {root}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return time.perf_counter() - started


def main() -> None:
    """Measure in turns, print the table."""
    args = parse_args()
    seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(args.rounds):
        for name, command in COMMANDS.items():
            with tempfile.TemporaryDirectory() as folder:
                fresh_project(Path(folder), args)
                seconds[name].append(call(command, Path(folder)))

    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    images = f"{args.images:,} made-up images of {args.size} px" if args.images else "the digits"
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    print(
        f"{len(params['folds'])} folds of {images}, width {args.width or params['model']['width']}, "
        f"{args.epochs or params['train']['epochs']} epochs, {num_cores()} cores{load}, median of {args.rounds}"
    )
    ours = statistics.median(seconds["side by side"])
    print(f"{'':28}{'seconds':>10}{'side by side is':>18}")
    for name, taken in seconds.items():
        print(f"{name:28}{statistics.median(taken):10.1f}{statistics.median(taken) / ours:15.2f} x")


if __name__ == "__main__":
    main()
