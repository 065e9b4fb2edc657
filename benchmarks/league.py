"""A league at equal compute: Foldboard and other libraries on a real competition, each from random weights.

    python -m benchmarks.league --project PATH --budgets 5 15

`--project` is where `dvc repro split` was run; its archive is read, and nothing there is changed. Every contender
trains on the same images and predicts the same held-out fold, in its own way: Foldboard with the recipe that `inspect`
suggests for the budget, the others with what their documentation shows (`benchmarks/peer_loops/from_scratch.py`). A
budget is CPU minutes of one process on one core, not wall time; each contender measures its speed and sets its
epochs so that its schedule ends at the budget. Results go to `--log` as they come, and what it has is not run again.
Then the table of all that the log has is printed, with the binomial standard error of the held-out images: one seed.
"""

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import quote

from benchmarks.peers import install, machine, versions
from benchmarks.scale import ROOT
from pipeline.archive.archive import open_archive
from pipeline.base.params import CompetitionParams, load_section
from pipeline.competition.schema import read_folds, read_images, read_train_labels

CONTENDERS = {  # -> the package that it needs beyond the pipeline's own
    "ours": "", "timm": "", "timm bf16": "", "fastai": "fastai", "fastai xresnet18": "fastai",
    "lightning": "lightning", "lightning bf16": "lightning",
}  # fmt: skip


def parse_args() -> argparse.Namespace:
    """Command line."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "foldboard" / "peers"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--project", type=Path, required=True, help="where `dvc repro split` was run")
    parser.add_argument("--fold", default="0", help="held out; default: %(default)s")
    parser.add_argument("--budgets", type=float, nargs="+", default=[5, 15, 60], help="CPU minutes; default: 5 15 60")
    parser.add_argument("--contenders", nargs="+", choices=CONTENDERS, default=list(CONTENDERS), help="default: all")
    parser.add_argument("--side", type=int, help="of the peers' images, pixels; default: the files' own")
    parser.add_argument("--venv", type=Path, default=cache, help="the peers' environment; default: %(default)s")
    parser.add_argument("--log", type=Path, default=Path("league.jsonl"), help="default: %(default)s")
    return parser.parse_args()


def lay_out(project: Path, fold: str, folder: Path) -> tuple[str, int, int]:
    """Write the archive's files as `folder`/{train,valid}/CLASS/ROW.SUFFIX: (its name, images held out, folds)."""
    competition = project / "data/competition"
    image_ids, labels = read_train_labels(competition / "train.csv")
    paths, _ = read_images(competition / "train_images.csv")
    folds = read_folds(project / "data/folds.csv", image_ids, competition / "train.csv")
    raw = project / load_section(project / "params.yaml", "competition", CompetitionParams).raw
    classes: dict[str, set[str]] = {"train": set(), "valid": set()}
    held_out = 0
    with open_archive(raw) as archive:
        for number, (path, label, own) in enumerate(zip(paths, labels, folds, strict=True)):
            if not own:  # of no fold: trained on by nobody
                continue
            part = "valid" if own == fold else "train"
            held_out += part == "valid"
            classes[part].add(label)
            place = folder / part / quote(label, safe=" ") / f"{number}{Path(path).suffix}"
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(archive.read(path))
    if classes["train"] != classes["valid"]:  # peers number the classes that they see
        odd = sorted(classes["train"] ^ classes["valid"])
        raise SystemExit(f"error: {len(odd)} classes are not both in fold {fold} and outside, first {odd[:3]}")
    return raw.name, held_out, len({*folds} - {""})


def read_log(log: Path) -> list[dict[str, Any]]:
    """Every result so far."""
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


def table(results: list[dict[str, Any]]) -> str:
    """Markdown, a row for each result: by set and budget, the best first."""
    lines = [
        "| set | CPU minutes | contender | px | accuracy | epochs | CPU s | PFLOP |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for found in sorted(results, key=lambda found: (found["set"], found["budget"], -found["accuracy"])):
        right = found["accuracy"]
        error = math.sqrt(right * (1 - right) / found["held_out"])
        cells = (
            found["set"], f"{found['budget']:g}", found["contender"], found["side"], f"{right:.4f} ± {error:.4f}",
            f"{found['epochs']:g}", f"{found['cpu_s']:.0f}", f"{found['pflop']:.4f}",
        )  # fmt: skip
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def main() -> None:
    """Install, lay out, train one after the other, print."""
    args = parse_args()
    needed = sorted({CONTENDERS[name] for name in args.contenders} - {""})
    python, failures = install(args.venv, needed)
    print(machine(), file=sys.stderr)
    where = versions(python, ["timm", *(name for name in needed if name not in failures)])
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        name, held_out, num_folds = lay_out(args.project, args.fold, folder)
        for budget in args.budgets:
            for contender in args.contenders:
                side = None if contender == "ours" else args.side
                key = {"set": name, "fold": args.fold, "budget": budget, "contender": contender, "asked_side": side}
                if any(key.items() <= found.items() for found in read_log(args.log)):
                    continue
                command = [python, "-m", "benchmarks.peer_loops.from_scratch", contender, "--images", folder]
                command += ["--budget", 60 * budget, "--num-folds", num_folds, *(["--side", side] if side else [])]
                alone = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
                done = subprocess.run(list(map(str, command)), cwd=folder, env=alone, capture_output=True, text=True)
                if done.returncode:
                    failures[f"{contender}, {budget:g} min"] = (done.stderr.strip().splitlines() or ["no message"])[-1]
                    continue
                said = json.loads(done.stdout.strip().splitlines()[-1])
                with args.log.open("a") as log:
                    log.write(json.dumps(key | {"held_out": held_out} | said | {"versions": where}) + "\n")
                print(json.dumps(key | said), file=sys.stderr)
    print(table(read_log(args.log)))
    for what, why in failures.items():
        print(f"failed: {what}: {why}")


if __name__ == "__main__":
    main()
