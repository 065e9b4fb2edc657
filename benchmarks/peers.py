"""Foldboard beside timm, fastai, Lightning and accelerate: whole process and images/s, same model, same images.

Every contender trains ResNet9 for the same steps on the same made-up JPEG images of 32 px (padded crop and flip),
predicts the same held-out images after each epoch, and runs in a process of its own, in turns. Peers read class
folders; Foldboard reads the store that `ingest` makes once, which is timed by itself. "default" is a peer's own
precision and layout, "tuned" is bf16 and channels_last by its own switch; of 0 and 2 loader workers the one with the
shorter whole process counts. Steady images/s is the median over the epochs after the first, held-out passes left out.
The peers are installed once, exact versions, into an environment that sees this one's torch. Compare ratios.

    python -m benchmarks.peers --venv ~/.cache/foldboard/peers
"""

import argparse
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import yaml

from benchmarks.made_up import NUM_CLASSES, write_competition
from benchmarks.peer_loops import common
from benchmarks.scale import ROOT, commands
from pipeline.base.files import write_table
from pipeline.competition.schema import FOLDS_COLUMNS, read_images, read_train_labels
from pipeline.loop.batches import channel_statistics
from pipeline.loop.device import autocast_dtype, device_named

LOOPS = ROOT / "benchmarks" / "peer_loops"
CONSTRAINTS = LOOPS / "constraints.txt"
OURS = "Foldboard"
PEERS = ("timm", "fastai", "lightning", "accelerate")
WORKERS = (0, 2)
HELD_OUT, TRAINED_ON = "0", "1"  # names of folds
SPEED = re.compile(r"([\d,]+) images/s")
NOTES = {
    "timm": "its loader, optimiser (SGD Nesterov), scheduler (cosine with warm-up, it has no one-cycle) and metrics; "
    "not its script train.py, which neither wheel nor source package holds",
    "fastai": "torch's SGD Nesterov, fastai's one-cycle (it moves the momentum too); its MixedPrecision opens autocast "
    "for CUDA alone, so tuned uses a subclass of five lines that opens it on the model's device",
    "lightning": "torch's SGD Nesterov and OneCycleLR; default logger, checkpoint and progress bar",
    "accelerate": "torch's SGD Nesterov and OneCycleLR",
}


def parse_args() -> argparse.Namespace:
    """Command line."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "foldboard" / "peers"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--venv", type=Path, default=cache, help="the peers' environment; default: %(default)s")
    parser.add_argument("--only", nargs="+", choices=PEERS, default=list(PEERS), help="peers; default: all")
    parser.add_argument("--rounds", type=int, default=1, help="turns for each; default: %(default)s")
    parser.add_argument("--width", type=int, default=16, help="of ResNet9; default: %(default)s")
    parser.add_argument("--train", type=int, default=3072, help="images; default: %(default)s")
    parser.add_argument("--valid", type=int, default=768, help="held-out images; default: %(default)s")
    parser.add_argument("--batch-size", type=int, default=128, help="default: %(default)s")
    parser.add_argument("--epochs", type=int, default=3, help="at least 2; default: %(default)s")
    args = parser.parse_args()
    if args.epochs < 2:
        parser.error(f"--epochs is {args.epochs}; steady state needs an epoch after the first")
    if args.train % args.batch_size:  # timm and fastai drop a last short batch, the others do not
        parser.error(f"--train is {args.train}; equal steps for all need a multiple of --batch-size {args.batch_size}")
    return args


def install(venv: Path, peers: list[str]) -> tuple[Path, dict[str, str]]:
    """(python of the peers' environment, peer -> why it could not be installed). Reused where the pins are the same."""
    venv = venv.absolute()
    python = venv / "bin" / "python"
    done = venv / "installed.json"
    wanted = {"pins": CONSTRAINTS.read_text(), "torch from": sysconfig.get_path("purelib")}
    known = json.loads(done.read_text()) if done.exists() else {}
    if {key: known.get(key) for key in wanted} != wanted:
        _make(venv, wanted["torch from"])
        known = wanted | {"peers": []}
    failures = {}
    for peer in peers:
        if peer in known["peers"] or peer == "timm":  # timm is a requirement of the pipeline
            continue
        command = [str(python), "-m", "pip", "install", "--quiet", "-c", str(CONSTRAINTS), peer]
        tried = subprocess.run(command, capture_output=True, text=True)
        if tried.returncode:
            errors = [line for line in tried.stderr.splitlines() if line.startswith("ERROR")]
            failures[peer] = f"pip install {peer}: {errors[0] if errors else _last_line(tried.stderr)}"
        else:
            known["peers"].append(peer)
    done.write_text(json.dumps(known))
    return python, failures


def _make(venv: Path, packages: str) -> None:
    """An empty environment that sees the folder `packages`. Replaces an older environment, and no other folder."""
    if venv.exists() and any(venv.iterdir()) and not (venv / "pyvenv.cfg").exists():
        raise SystemExit(f"error: --venv {venv} holds other files; name a new folder")
    print(f"making {venv}", file=sys.stderr)
    subprocess.run([sys.executable, "-m", "venv", "--clear", venv], check=True)
    where = [str(venv / "bin" / "python"), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    own = Path(subprocess.check_output(where, text=True).strip())
    (own / "pipeline.pth").write_text(packages + "\n")


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1].strip() if lines else "no message"


def lay_out(folder: Path, args: argparse.Namespace) -> float:
    """Images and params.yaml for all contenders, through `ingest`, whose seconds it returns.

    folder/raw.zip; folder/images/{train,valid}/CLASS/ID.jpg for the peers; folder/data with the store for Foldboard.
    """
    raw = folder / "raw.zip"
    write_competition(raw, args.train + args.valid, size=common.SIZE, test_share=0)
    _write_params(folder, args)
    started = time.perf_counter()
    for stage in ("ingest", "decode_train", "decode_test"):
        _run(commands()[stage], folder)
    seconds = time.perf_counter() - started

    image_ids, labels = read_train_labels(folder / "data/competition/train.csv")
    paths, _ = read_images(folder / "data/competition/train_images.csv")
    folds = [TRAINED_ON] * args.train + [HELD_OUT] * args.valid
    write_table(folder / "data/folds.csv", FOLDS_COLUMNS, zip(image_ids, folds, strict=True))
    part_of = {TRAINED_ON: "train", HELD_OUT: "valid"}
    with zipfile.ZipFile(raw) as archive:
        for image_id, member, label, fold in zip(image_ids, paths, labels, folds, strict=True):
            path = folder / "images" / part_of[fold] / label / f"{image_id}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(archive.read(member))
    return seconds


def _write_params(folder: Path, args: argparse.Namespace) -> None:
    """params.yaml with the recipe of benchmarks.peer_loops.common; all else as shipped."""
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    params["competition"]["raw"] = str(folder / "raw.zip")
    params["model"]["width"] = args.width
    params["split"]["num_folds"] = 2
    params["folds"] = {HELD_OUT: {}, TRAINED_ON: {}}
    params["augment"] |= {"crop_padding": common.PADDING, "crop_fill": "zeros", "flip": True, "cutout": 0}
    params["train"] |= {
        "epochs": args.epochs,
        "batch_size": args.batch_size,
        "valid_every": 1,
        "optimizer": "sgd",
        "peak_lr": common.PEAK_LR,
        "momentum": common.MOMENTUM,
        "weight_decay": common.WEIGHT_DECAY,
        "warmup": common.WARMUP,
        "label_smoothing": 0.0,
    }
    for precision in ("auto", "fp32"):
        params["compute"]["precision"] = precision
        (folder / f"{precision}.yaml").write_text(yaml.safe_dump(params))
    (folder / "params.yaml").write_text((folder / "auto.yaml").read_text())


def _run(command: list[str], folder: Path) -> str:
    """Standard output. Raises CalledProcessError."""
    environment = _environment()
    return subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True, text=True).stdout


def _environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(ROOT)}


@dataclass(frozen=True)
class Contender:
    """One way to train."""

    name: str
    setting: str
    workers: int | None  # of the data loader; None: it has none
    command: list[str]


@dataclass(frozen=True)
class Result:
    """What one process took and reached."""

    seconds: float  # from start to end of the process
    images_per_s: float  # median of the epochs after the first
    accuracy: float  # of the held-out images, at the end


def contenders(folder: Path, args: argparse.Namespace, python: Path, peers: list[str]) -> list[Contender]:
    """All that take turns."""
    train = commands(fold=HELD_OUT)["train"]
    place = train.index("--params") + 1
    found = [
        Contender(OURS, setting, None, [*train[:place], f"{precision}.yaml", *train[place + 1 :]])
        for setting, precision in (("default", "auto"), ("fp32", "fp32"))
    ]
    store = np.load(folder / "data/images/train.npy", mmap_mode="r")
    mean, std = channel_statistics(store, np.arange(args.train))
    shared = ["--images", "images", "--width", args.width, "--epochs", args.epochs, "--batch-size", args.batch_size]
    shared += ["--mean", *mean, "--std", *std]
    for peer in peers:
        for setting, switch in (("default", []), ("tuned", ["--tuned"])):
            for workers in WORKERS:
                loop = [python, "-m", f"benchmarks.peer_loops.{peer}_loop", *shared, "--workers", workers, *switch]
                found.append(Contender(peer, setting, workers, [str(word) for word in loop]))
    return found


def measured(contender: Contender, folder: Path) -> Result:
    """One process from start to end. Raises CalledProcessError."""
    started = time.perf_counter()
    output = _run(contender.command, folder)
    seconds = time.perf_counter() - started
    if contender.name == OURS:
        speeds = [float(speed.replace(",", "")) for speed in SPEED.findall(output)]
        accuracy = json.loads((folder / f"data/metrics/{HELD_OUT}.json").read_text())["valid_accuracy"]
    else:
        said = json.loads(_last_line(output))
        speeds, accuracy = said["images_per_s"], said["accuracy"]
    return Result(seconds, statistics.median(speeds[1:]), accuracy)


def warm_up(entries: list[Contender], folder: Path) -> None:
    """Read every contender's modules from disk once, so that the first turn does not pay for it."""
    for python, module in sorted({(entry.command[0], entry.command[2]) for entry in entries}):
        subprocess.run([python, "-c", f"import {module}"], cwd=folder, env=_environment(), capture_output=True)


def take_turns(entries: list[Contender], folder: Path, rounds: int) -> tuple[dict, dict[str, str]]:
    """({(name, setting): {workers: median Result}}, {what failed: why})."""
    results: dict[tuple, list[Result]] = {}
    failures = {}
    for entry in [entry for _ in range(rounds) for entry in entries]:
        title = f"{entry.name} {entry.setting}" + ("" if entry.workers is None else f", {entry.workers} workers")
        try:
            result = measured(entry, folder)
        except subprocess.CalledProcessError as error:
            if entry.name == OURS:
                raise SystemExit(error.stderr) from error
            failures[title] = _last_line(error.stderr)
            continue
        results.setdefault((entry.name, entry.setting, entry.workers), []).append(result)
        print(f"  {title:32}{result.seconds:8.1f} s{result.images_per_s:8,.0f} images/s", file=sys.stderr)
    by_setting: dict[tuple[str, str], dict] = {}
    for (name, setting, workers), found in results.items():
        medians = (statistics.median(getattr(result, field) for result in found) for field in Result.__annotations__)
        by_setting.setdefault((name, setting), {})[workers] = Result(*medians)
    return by_setting, failures


def machine() -> str:
    """Processor, cores, load."""
    info = Path("/proc/cpuinfo")
    names = re.findall(r"model name\s*: (.*)", info.read_text()) if info.exists() else []
    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    name = names[0] if names else platform.processor() or platform.machine()
    return f"{name}, {os.cpu_count()} cores{gpu}, load {os.getloadavg()[0]:.1f} at the start"


def versions(python: Path, peers: list[str]) -> str:
    """`name version` of torch and the peers, as their environment has them."""
    code = "import sys, importlib.metadata as m; print(', '.join(f'{n} {m.version(n)}' for n in sys.argv[1:]))"
    return subprocess.check_output([python, "-c", code, "torch", "torchvision", *peers], text=True).strip()


def print_table(results: dict, ingest_s: float) -> None:
    """A row for each contender and setting: the better workers, and how many times faster Foldboard is."""
    ours = results[OURS, "default"][None]
    print(f"{'':22}{'workers':>8}{'process':>10}{'ours is':>10}{'+ ingest':>10}{'images/s':>10}{'ours is':>10}", end="")
    print(f"{'accuracy':>10}")
    for (name, setting), by_workers in results.items():
        workers, best = min(by_workers.items(), key=lambda item: item[1].seconds)
        print(
            f"{name + ' ' + setting:22}{'–' if workers is None else workers:>8}{best.seconds:>8.1f} s"
            f"{best.seconds / ours.seconds:>8.2f} x{best.seconds / (ours.seconds + ingest_s):>8.2f} x"
            f"{best.images_per_s:>10,.0f}{ours.images_per_s / best.images_per_s:>8.2f} x{best.accuracy:>10.4f}"
        )


def main() -> None:
    """Install, lay out, measure in turns, print."""
    args = parse_args()
    python, failures = install(args.venv, args.only)
    peers = [peer for peer in args.only if peer not in failures]
    print(machine())
    print(versions(python, peers))
    print(
        f"ResNet9 width {args.width}, {args.train:,} training and {args.valid:,} held-out JPEG images of "
        f"{common.SIZE} px, {NUM_CLASSES} classes, "
        f"batch {args.batch_size}, {args.epochs} epochs, median of {args.rounds}",
        flush=True,
    )
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        ingest_s = lay_out(folder, args)
        entries = contenders(folder, args, python, peers)
        warm_up(entries, folder)
        results, failed = take_turns(entries, folder, args.rounds)
    print_table(results, ingest_s)
    print(f"Foldboard's ingest, once: {ingest_s:.1f} s; column `+ ingest` counts it as Foldboard's")
    print(f"{OURS}: channels_last; by default in {autocast_dtype('auto', device_named('auto')) or 'fp32'} here")
    for peer in peers:
        print(f"{peer}: {NOTES[peer]}")
    for what, why in (failures | failed).items():
        print(f"failed: {what}: {why}")


if __name__ == "__main__":
    main()
