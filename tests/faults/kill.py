"""SIGKILL stages at random moments, run them again, and compare every hand-over file with a run never interrupted.

    python -m tests.faults.kill --times 80 --folds-times 20 --dvc-times 20

A stage runs in a forked process that has torch imported but none of our modules; before it runs, its outputs are
deleted, as DVC does. Half of the kills come after a random time, half at a random fsync, that is while a file or a
state is being written. `commands.py` does the same to whole commands: `folds` and `dvc repro` themselves.
"""

import argparse
import importlib
import os
import random
import runpy
import shlex
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import yaml

from pipeline.base import allocator
from tests.conftest import ROOT, Workplace, competition_files, save_weights, write_zip
from tests.faults import commands

RECIPES = {
    "sgd": {"augment": {"flip": True, "cutout": 3}, "model": {"pooling": "csra"}},
    "adamw, average, policy, mixup, two networks": {
        "train": {"optimizer": "adamw", "peak_lr": 0.005, "ema_decay": 0.9, "clip_norm": 1.0, "seeds": 2},
        "augment": {"policy": "trivialaugment", "flip": "dihedral", "mixup": 0.2},
    },
    "weights, head first, rates by layer": {
        "model": {"name": "test_resnet", "weights": "given", "head_first": True},
        "images": {"side": 32},
        "train": {"optimizer": "adamw", "peak_lr": 0.001, "layer_decay": 0.7, "freeze_norms": True, "tta": "mirror"},
    },
}
BEFORE_FOLDS = (
    "ingest", "decode_train", "decode_test", "audit", "weights", "embed_train", "embed_test", "split", "neighbours",
    "teach",
)  # fmt: skip
STAGES = (
    *BEFORE_FOLDS,
    "train",
    "train",
    "train",
    "train",
    "infer",
    "evaluate",
    "submit",
    "report",
)  # train most: it resumes
PRELOAD = ("torch", "torch._dynamo", "numpy", "PIL.Image", "safetensors.torch", "timm.utils", "sklearn.metrics",
           "matplotlib.pyplot", "sklearn.model_selection")  # fmt: skip


class Project(Workplace):
    """A small competition, its stages run in processes of their own."""

    def __init__(self, root, recipe):
        super().__init__(root)
        for section, values in recipe.items():
            self.params[section] |= values
        if self.params["model"]["weights"] != "none":
            self._give_weights()
        write_zip(self.raw, competition_files(per_class=20))
        self.save()
        self.stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]

    def _give_weights(self):
        model = self.params["model"]
        model["weights"] = str(save_weights(self.root / model["weights"], model["name"]))

    def moved(self, text):
        return text.replace("${key}", "0")

    def begin(self, stage, fsync=0):
        """The process that runs `stage`; it kills itself at the fsync of that number, if it gets there."""
        found = self.stages[stage].get("do", self.stages[stage])
        for out in [*found.get("outs", []), *found.get("metrics", [])]:
            name = next(iter(out)) if isinstance(out, dict) else out
            path = self.path(self.moved(name))
            if path.is_dir():  # the links to a user's own metric
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        words = shlex.split(self.moved(found["cmd"]))[2:]
        process = os.fork()
        if process:
            return process
        code = 1
        try:
            self._work(words, fsync)
            code = 0
        except SystemExit as stop:
            code = stop.code or 0
        except BaseException as error:
            print(repr(error), file=sys.stderr)
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def _work(self, words, fsync):
        os.chdir(self.root)
        log = os.open(self.root / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        for name in [name for name in sys.modules if name.split(".", maxsplit=1)[0] == "pipeline"]:
            del sys.modules[name]
        if words[0].endswith(("teach", "train")):
            resume = importlib.import_module("pipeline.training.resume")
            resume.MIN_INTERVAL_S = resume.TIMES_COST = 0.0  # a state at every step
        if fsync:
            _kill_at(fsync)
        sys.argv = words
        runpy.run_module(words[0], run_name="__main__", alter_sys=True)

    def finish(self, stage):
        """Run to the end."""
        code = os.waitstatus_to_exitcode(os.waitpid(self.begin(stage), 0)[1])
        assert code == 0, f"{stage} ended with {code}:\n{(self.root / 'log').read_text()[-2000:]}"

    def handed_over(self):
        """Path -> sha256 of all that stages hand on."""
        return commands.handed_over(self.root)


def _kill_at(number):
    """At the fsync of this number, before or after it, SIGKILL."""
    left, fsync = [number], os.fsync

    def fatal(handle):
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        fsync(handle)

    os.fsync = fatal


def run_whole(project):
    """Seconds of each stage, uninterrupted; fold 1 stays as it is from here on."""
    seconds = {}
    for stage in (*BEFORE_FOLDS, "train", "infer"):
        started = time.perf_counter()
        project.finish(stage)
        seconds[stage] = time.perf_counter() - started
    other = Workplace(project.root)
    other.params = project.params
    for stage in ("train", "infer"):
        other.run(stage, key="1")
    for stage in ("evaluate", "submit", "report"):
        started = time.perf_counter()
        project.finish(stage)
        seconds[stage] = time.perf_counter() - started
    return seconds


def kill_once(project, stage, seconds, draws):
    """How the kill went: `killed`, or `too late` where the stage was through."""
    fsync = draws.randint(1, 60 if stage == "train" else 6) if draws.random() < 0.5 else 0
    process = project.begin(stage, fsync)
    if not fsync:
        time.sleep(draws.uniform(0.0, 0.95 * seconds[stage]))
        os.kill(process, signal.SIGKILL)
    ended = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    assert ended in (0, -signal.SIGKILL), f"{stage} ended with {ended}:\n{(project.root / 'log').read_text()[-2000:]}"
    return "killed" if ended else "too late"


def campaign(root, recipe, *, times, draws, deadline=float("inf")):
    """(stage, outcome) -> count, of `times` kills; raises AssertionError at the first difference."""
    allocator.set_environment()  # else a stage would begin this command again, with the setting
    for name in PRELOAD:
        importlib.import_module(name)
    project = Project(root, recipe)
    seconds = run_whole(project)
    whole, counts = project.handed_over(), Counter()
    while sum(count for (_, how), count in counts.items() if how == "killed") < times and time.time() < deadline:
        stage = draws.choice(STAGES)
        log = (project.root / "log").stat().st_size
        for _ in range(draws.randint(1, 2)):
            counts[stage, kill_once(project, stage, seconds, draws)] += 1
        project.finish(stage)
        said = (project.root / "log").read_bytes()[log:].decode()
        counts[stage, "resumed"] += "resumed at step" in said
        assert "damaged" not in said, said
        found = project.handed_over()
        differing = sorted(name for name in whole.keys() | found.keys() if whole.get(name) != found.get(name))
        assert not differing, f"after {stage} was killed {sum(counts.values())}: {differing}\n{said}"
        assert not list((project.root / "data/scratch").glob("*")), "a state outlived its success"
    return counts


def kill_stages(recipe, args, deadline):
    """Kill single stages, and print how it went."""
    if not args.times:
        return
    with tempfile.TemporaryDirectory() as folder:
        times = args.times // len(RECIPES)
        counts = campaign(Path(folder), recipe, times=times, draws=random.Random(args.seed), deadline=deadline)
    killed = sum(count for (_, how), count in counts.items() if how == "killed")
    print(f"  stages: {killed} kills, every hand-over file as in the uninterrupted run")
    for stage in dict.fromkeys(STAGES):
        print(f"    {stage:12}" + ", ".join(f"{how} {counts[stage, how]}" for how in ("killed", "resumed", "too late")))


def kill_commands(recipe, args, deadline):
    """Kill `folds` and `dvc repro`, and print how it went."""
    # the checkout has no weights
    recipes = [other for other in RECIPES.values() if "weights" not in other.get("model", {})][: args.checkouts]
    if recipe not in recipes:
        return
    each = {"folds": args.folds_times // len(recipes), "dvc": args.dvc_times // len(recipes)}
    wanted = {kind: times for kind, times in each.items() if times}
    if not wanted:
        return
    with tempfile.TemporaryDirectory() as folder:
        checkout = commands.Checkout(Path(folder), recipe)
        for kind, times in wanted.items():
            counts = commands.campaign(checkout, kind, times, random.Random(args.seed), deadline)
            kills, how = counts.pop("kills", 0), ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))
            print(f"  {kind}: {kills} kills, every hand-over file and dvc.lock as in the uninterrupted run; {how}")
        print(f"  verify: {commands.verified(checkout)}", flush=True)


def main():
    """Run the campaign for each recipe in turn."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.kill", description=__doc__)
    parser.add_argument("--times", type=int, default=80, help="kills of single stages in all; default: %(default)s")
    parser.add_argument("--folds-times", type=int, default=20, help="kills in `folds`; default: %(default)s")
    parser.add_argument("--dvc-times", type=int, default=20, help="kills of `dvc repro`; default: %(default)s")
    parser.add_argument("--checkouts", type=int, default=len(RECIPES), help="of how many recipes; default: all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=60.0, help="stop after so long")
    args = parser.parse_args()
    started = time.time()
    for number, (name, recipe) in enumerate(RECIPES.items(), start=1):
        deadline = started + 60 * args.minutes * number / len(RECIPES)
        print(f"{name}:", flush=True)
        kill_stages(recipe, args, deadline)
        kill_commands(recipe, args, deadline)
    print(f"{time.time() - started:.0f} s")


if __name__ == "__main__":
    main()
