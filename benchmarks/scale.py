"""How time, memory and disk grow with the number of images: from reading to splitting, an epoch of one fold, to submit.

For each N a made-up competition of N labelled and N / 10 other images of 32 px goes through the real stages, each in
a process of its own. `own MB` is the peak of what a process and those it starts hold for themselves (RssAnon of /proc,
sampled); `with pages` adds those of mapped files, such as the image store, which the system takes back when it needs
room.

    python -m benchmarks.scale --images 10000 100000 1000000
    python -m benchmarks.scale --weights FOLDER --stages ingest decode_train audit split weights embed_train train

--weights: of a timm network that stays frozen, so that embed_train and train work on its features.
"""

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil  # DVC's own dependency
import yaml

from benchmarks.made_up import write_competition

ROOT = Path(__file__).resolve().parent.parent
SAMPLE_S = 0.02
MEASURED = (
    "ingest",
    "decode_train",
    "decode_test",
    "audit",
    "split",
    "weights",
    "embed_train",
    "embed_test",
    "teach",
    "train",
    "infer",
    "evaluate",
    "submit",
    "report",
)
MB = 1_000_000


def parse_args() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, nargs="+", default=[10_000, 100_000], help="default: %(default)s")
    parser.add_argument("--stages", nargs="+", default=list(MEASURED), choices=MEASURED, help="default: all")
    parser.add_argument("--width", type=int, default=8, help="of ResNet9; default: %(default)s")
    parser.add_argument(
        "--weights", type=Path, help="folder with config.json, as model.weights takes it; default: none"
    )
    parser.add_argument("--folder", type=Path, help="keep everything here; default: a temporary folder")
    return parser.parse_args()


def commands(fold: str = "0") -> dict[str, list[str]]:
    """Stage -> its command line in dvc.yaml."""
    found = {}
    for name, stage in yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"].items():
        text = stage.get("do", stage)["cmd"].replace("${key}", fold)
        found[name] = [sys.executable, *shlex.split(text)[1:]]
    return found


def write_params(folder: Path, raw: Path, width: int, weights: Path | None) -> None:
    """params.yaml with two folds and one epoch, or a linear classifier on frozen features."""
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    params["competition"]["raw"] = str(raw)
    params["model"]["width"] = width
    params["split"]["num_folds"] = 2
    params["folds"] = {"0": {}, "1": {}}
    params["train"] |= {"epochs": 1, "batch_size": 512, "valid_every": 1}
    params["augment"] |= {"crop_padding": 4, "flip": True}
    if weights is not None:
        name = json.loads((weights / "config.json").read_text())["architecture"]
        params["model"] |= {"name": name, "weights": str(weights.resolve()), "frozen": True}
    (folder / "params.yaml").write_text(yaml.safe_dump(params))


def measured(command: list[str], folder: Path) -> tuple[float, float, float]:
    """(seconds, peak MB of its own, peak MB with mapped pages) of one stage, its children's share included."""
    log = (folder / "log").open("a")
    started = time.perf_counter()
    process = subprocess.Popen(command, cwd=folder, env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=log, stderr=log)
    own = resident = 0.0
    while process.poll() is None:
        anonymous, mapped = map(sum, zip(*map(_memory, _family(process.pid)), strict=True))
        own, resident = max(own, anonymous), max(resident, anonymous + mapped)
        time.sleep(SAMPLE_S)
    if process.returncode:
        raise SystemExit(f"{shlex.join(command)} ended with {process.returncode}; see {folder / 'log'}")
    return time.perf_counter() - started, own, resident


def _family(pid: int) -> list[int]:
    """A process and those that it started."""
    try:
        return [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]
    except psutil.NoSuchProcess:
        return [pid]


def _memory(pid: int) -> tuple[float, float]:
    """MB of anonymous and of file-backed pages that a process holds now."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0, 0.0
    found = dict(line.split(":", 1) for line in lines)
    pages = [found.get(name, "0 kB").split()[0] for name in ("RssAnon", "RssFile")]
    return int(pages[0]) * 1024 / MB, int(pages[1]) * 1024 / MB


def run(
    folder: Path, num_images: int, stages: list[str], width: int, weights: Path | None
) -> dict[str, tuple[float, float, float]]:
    """Stage -> what `measured` says, for a competition of so many images."""
    folder.mkdir(parents=True, exist_ok=True)
    raw = folder / "raw.zip"
    if not raw.exists():
        write_competition(raw, num_images)
    write_params(folder, raw, width, weights)
    first, second = commands(), commands(fold="1")
    found = {}
    for stage in stages:
        found[stage] = measured(first[stage], folder)
        print(f"  {num_images:>9,} {stage:12}{found[stage][0]:9.1f} s{found[stage][1]:9.0f} MB", file=sys.stderr)
        if stage in ("teach", "train", "infer") and "evaluate" in stages:
            measured(second[stage], folder)
    return found


def disk(folder: Path) -> float:
    """MB of the image stores and of all tables, weights and predictions."""
    return sum(path.stat().st_size for path in (folder / "data").rglob("*") if path.is_file()) / MB


def main() -> None:
    """Measure, print the table."""
    args = parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        root = args.folder or Path(temporary)
        print(f"{'images':>10} {'stage':12}{'seconds':>9}{'own MB':>9}{'with pages':>12}")
        for count in args.images:
            found = run(root / str(count), count, args.stages, args.width, args.weights)
            for stage, (seconds, own, resident) in found.items():
                print(f"{count:>10,} {stage:12}{seconds:9.1f}{own:9.0f}{resident:12.0f}")
            print(f"{count:>10,} disk     {disk(root / str(count)):18.0f} MB under data/")


if __name__ == "__main__":
    main()
