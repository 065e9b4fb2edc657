"""Fine-tuning the same pretrained weights, side by side: Foldboard's runs, fastai, AutoGluon.

    python -m benchmarks.same_weights --weights FOLDER --projects FROZEN TUNED --autogluon /path/to/its/bin/python

`--projects` are where `dvc repro` has ended, each with another recipe on the same folds; their out-of-fold scores are
ours. The peers fine-tune FOLDER's network on each fold's training images and predict what the first project's folds
hold out, from the archive's own files. AutoGluon needs an environment of its own (torch below 2.14); without
`--autogluon` it is left out. Results go to `--log` as they come, and what it has is not run again. Then the table:
accuracy over all folds with the standard error of the folds' mean, CPU seconds of all folds.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.league import lay_out, read_log
from benchmarks.peers import install, machine
from benchmarks.scale import ROOT
from pipeline.base.files import read_json
from pipeline.competition.schema import read_folds, read_train_labels


def parse_args() -> argparse.Namespace:
    """Command line."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "foldboard" / "peers"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, required=True, help="folder with config.json and model.safetensors")
    parser.add_argument("--projects", type=Path, nargs="+", required=True, help="where `dvc repro` has ended")
    parser.add_argument("--side", type=int, default=160, help="of fastai's images; default: %(default)s pixels")
    parser.add_argument("--venv", type=Path, default=cache, help="fastai's environment; default: %(default)s")
    parser.add_argument("--autogluon", type=Path, help="python of an environment with autogluon.multimodal")
    parser.add_argument("--log", type=Path, default=Path("same_weights.jsonl"), help="default: %(default)s")
    return parser.parse_args()


def row(name: str, accuracies: list[float], sizes: list[int], seconds: float | None) -> str:
    """Of the table; accuracies and sizes by fold."""
    whole = sum(part * size for part, size in zip(accuracies, sizes, strict=True)) / sum(sizes)
    error = statistics.stdev(accuracies) / len(accuracies) ** 0.5 if len(accuracies) > 1 else 0.0
    return f"| {name} | {whole:.4f} ± {error:.4f} | {'' if seconds is None else f'{seconds:.0f}'} |"


def ours(project: Path, folds: list[str]) -> list[float]:
    """Accuracy of each fold."""
    by_fold = {fold: read_json(project / "data/metrics" / f"{fold}.json") for fold in folds}
    return [float(found["valid_accuracy"]) for found in by_fold.values()]


def main() -> None:
    """Run the peers on every fold, print."""
    args = parse_args()
    fastai, failures = install(args.venv, ["fastai"])
    pythons = {"fastai": fastai, "autogluon": args.autogluon}
    first = args.projects[0]
    competition = first / "data/competition"
    image_ids, _ = read_train_labels(competition / "train.csv")
    of_images = read_folds(first / "data/folds.csv", image_ids, competition / "train.csv")
    folds = sorted({*of_images} - {""})
    sizes = [of_images.count(fold) for fold in folds]
    print(machine(), file=sys.stderr)
    found: dict[str, list[dict[str, Any]]] = {}
    for fold in folds:
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            name, held_out, _ = lay_out(first, fold, folder)
            for contender, python in pythons.items():
                if python is None or contender in failures:
                    continue
                key = {"set": name, "fold": fold, "contender": contender, "weights": args.weights.name}
                known = next((one for one in read_log(args.log) if key.items() <= one.items()), None)
                if known is None:
                    command = [python, "-m", "benchmarks.peer_loops.from_weights", contender, "--images", folder]
                    command += ["--weights", args.weights.resolve(), "--side", args.side]
                    alone = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
                    done = subprocess.run(
                        list(map(str, command)), cwd=folder, env=alone, capture_output=True, text=True
                    )
                    if done.returncode:
                        failures[contender] = (done.stderr.strip().splitlines() or ["no message"])[-1]
                        continue
                    known = key | {"held_out": held_out} | json.loads(done.stdout.strip().splitlines()[-1])
                    with args.log.open("a") as log:
                        log.write(json.dumps(known) + "\n")
                    print(json.dumps(known), file=sys.stderr)
                found.setdefault(contender, []).append(known)
    print("| contender | accuracy | CPU s |\n|---|---|---|")
    for project in args.projects:
        print(row(f"ours: {project.name}", ours(project, folds), sizes, None))
    for contender, parts in found.items():
        if len(parts) == len(folds):
            accuracies = [part["correct"] / part["held_out"] for part in parts]
            print(row(contender, accuracies, sizes, sum(part["cpu_s"] for part in parts)))
    for what, why in failures.items():
        print(f"failed: {what}: {why}")


if __name__ == "__main__":
    main()
