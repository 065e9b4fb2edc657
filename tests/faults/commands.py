"""SIGKILL the real `python -m pipeline folds` and the real `dvc repro`, run them again, and compare.

In a finished checkout some stages are made stale: their outputs, their entries in dvc.lock, in DVC's cache and in its
run-cache are gone. A command is killed while it makes them again, and another brings the rest up to date.
"""

import contextlib
import difflib
import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import psutil
import yaml

from tests import warm
from tests.conftest import competition_files, write_zip
from tests.project import Project

FOLDS = [sys.executable, "-m", "pipeline", "folds", "--jobs", "2"]
REPRO = [sys.executable, "-m", "dvc", "repro"]
FOLD_STAGES = ("teach@0", "teach@1", "train@0", "train@1", "infer@0", "infer@1")
ALL_STAGES = (
    "ingest", "decode_train", "decode_test", "audit", "weights", "embed_train", "embed_test", "split", "neighbours",
    *FOLD_STAGES,
    "evaluate", "submit", "report",
)  # fmt: skip
KINDS = {  # command, stages to make stale, whom to kill, share of their time in the first `dvc repro` that they take
    "folds": (FOLDS, FOLD_STAGES, ("parent", "worker", "server", "group", "all"), 0.6),
    "dvc": (REPRO, ALL_STAGES, ("parent", "group", "writer"), 1.0),  # writer: while it writes dvc.lock
}
MAX_STALE = 3  # stages at once
EDITS = (
    ("pipeline/training/resume.py", "\nMIN_INTERVAL_S = 2.0", "\nMIN_INTERVAL_S = 0.0"),  # a state at every step
    ("pipeline/training/resume.py", "\nTIMES_COST = 33.0", "\nTIMES_COST = 0.0"),
    ("dvc.yaml", "  digits:\n.*(?=  ingest:)", ""),  # nothing depends on it here
)
NOT_HANDED_OVER = ("scratch", "archive", "logs", "seconds", "seconds.json")
NO_HASH = "0" * 32
LAST_BREATH_S = 30  # an orphan that imports torch on a loaded machine sees its parent's end only after that
# what DVC's message has when it stops at what a killed DVC left cut off
TORN = ("dvc.lock", "RWLock-file", "join() argument")


def handed_over(root):
    """Path -> sha256 of all that stages hand on."""
    paths = [path for folder in ("data", "submissions") for path in (root / folder).rglob("*")]
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in paths
        if path.is_file() and not set(NOT_HANDED_OVER) & set(path.relative_to(root).parts)
    }


class Checkout(Project):
    """A clone with a small competition of two folds, one thread each, in which everything has run.

    timed: in processes of their own, so that `seconds` are those of a command that will be killed.
    """

    def __init__(self, root, recipe, *, timed=True):
        super().__init__(root, num_folds=2)
        self.params["train"]["epochs"] = 4
        for section, values in recipe.items():
            self.params[section] |= values
        write_zip(root / "raw.zip", competition_files(per_class=20))
        self.save()
        for name, pattern, text in EDITS:
            path = root / name
            changed, count = re.subn(pattern, text, path.read_text(), flags=re.DOTALL)
            assert count == 1, (name, pattern)
            path.write_text(changed)
        self.environment = os.environ | {
            "OMP_NUM_THREADS": "1",
            "DVC_NO_ANALYTICS": "1",
            "DVC_SITE_CACHE_DIR": str(root / ".dvc/site"),
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        }
        if timed:
            self.seconds = self._run_whole()
        else:
            self.must(REPRO)
        self.whole, self.lock = self.result(), self._lock_lines()

    def _run_whole(self):
        """Stage -> seconds, of an uninterrupted `dvc repro`, and `start` for what comes before the first."""
        run, seconds, stage, since = self.start(REPRO), {}, "start", time.monotonic()
        for line in run.stdout:
            found = re.match("Running stage '(.+?)'", line)
            if found:
                seconds[stage] = time.monotonic() - since
                stage, since = found[1], time.monotonic()
        assert run.wait() == 0
        seconds[stage] = time.monotonic() - since
        return seconds

    def start(self, command, output=subprocess.PIPE, environment=None):
        """The command at work, the first of a process group of its own."""
        return subprocess.Popen(
            command,
            cwd=self.root,
            env=environment or self.environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def call(self, command):
        """(exit code, output) of a command that is left to end."""
        run = self.start([warm.python(), *command[1:]], environment=warm.environment(self.environment))
        output = run.communicate()[0]
        return run.returncode, output

    def must(self, command):
        """The output of a command that must succeed."""
        code, output = self.call(command)
        assert code == 0, f"{command[2:]} ended with {code}:\n{output}"
        return output

    def make_stale(self, stages):
        forget(self.root, stages)

    def result(self):
        """What must be the same: hand-over files and dvc.lock, by sha256."""
        return handed_over(self.root) | {"dvc.lock": hashlib.sha256((self.root / "dvc.lock").read_bytes()).hexdigest()}

    def _lock_lines(self):
        return (self.root / "dvc.lock").read_text().splitlines()

    def _put_in_order(self):
        """A lock that was made anew has the folds before what they do not need, and the receipt has its sha256."""
        lock, before = self.root / "dvc.lock", "\n".join(self.lock[: self.lock.index("  submit:")]) + "\n"
        self.make_stale(["submit"])
        if yaml.safe_load(lock.read_text()) == yaml.safe_load(before):
            lock.write_text(before)

    def processes(self):
        """Those at work in the checkout."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.status() != psutil.STATUS_ZOMBIE and process.cwd() == str(self.root):
                    found.append(process)
        return found

    def finish(self, commands):
        """Bring everything up to date. The number of times that `folds` had to clear away what a killed DVC left."""
        cleared = 0
        for command in commands:
            code, output = self.call(command)
            if code and command == REPRO and any(name in output for name in TORN):
                self.must(FOLDS)  # as docs/interrupted.md says
                self.must(REPRO)
                self._put_in_order()
                self.must(REPRO)
                cleared += 1
            else:
                assert code == 0, f"{command[2:]} ended with {code}:\n{output}"
        return cleared

    def compare(self):
        """Raise AssertionError unless all is as in the uninterrupted run, and nobody works on."""
        found = self.result()
        differing = sorted(name for name in self.whole.keys() | found.keys() if self.whole.get(name) != found.get(name))
        lock = "\n".join(difflib.unified_diff(self.lock, self._lock_lines(), "uninterrupted", "now", lineterm=""))
        assert not differing, f"{differing}\n{lock}"
        status = self.must([sys.executable, "-m", "dvc", "status"])
        assert "up to date" in status, status
        assert not list((self.root / "data/scratch").glob("*")), "a state outlived its success"
        _, alive = psutil.wait_procs(self.processes(), timeout=LAST_BREATH_S)
        assert not alive, [process.as_dict(["pid", "ppid", "cmdline", "status"]) for process in alive]
        for blob in (self.root / ".dvc/cache/files/md5").glob("??/*"):
            if len(blob.name) == len(NO_HASH) - 2:  # else a temporary name
                assert hashlib.md5(blob.read_bytes()).hexdigest() == blob.parent.name + blob.name, blob


def forget(root, stages):
    """Forget that `stages` ran, everywhere that DVC knows it, and delete what they wrote."""
    from dvc.utils.serialize import modify_yaml

    commands, outs = set(), []
    with modify_yaml(root / "dvc.lock") as lock:
        for stage in stages:
            entry = lock["stages"][stage]
            commands.add(entry["cmd"])
            outs += [(out["path"], out["md5"]) for out in entry["outs"]]
            for out in entry["outs"]:
                out["md5"] = NO_HASH
        if "submit" in stages:
            del lock["stages"]["submit"]  # receipt.json has the sha256 of dvc.lock as it was before
            lock["stages"].pop("report", None)  # and its page shows that
    for path, md5 in outs:
        out = root / path
        if out.is_dir():  # the links to a user's own metric
            shutil.rmtree(out)
        else:
            out.unlink()
        (root / ".dvc/cache/files/md5" / md5[:2] / md5[2:]).unlink(missing_ok=True)  # metrics are not there
    for run in list((root / ".dvc/cache/runs").rglob("*")):
        if run.is_file() and yaml.safe_load(run.read_text())["cmd"] in commands:
            shutil.rmtree(run.parent)


def _family(run):
    """(parent, servers, workers) of a `folds` at work, as psutil's processes."""
    parent = psutil.Process(run.pid)
    servers = [child for child in parent.children() if any("forkserver" in word for word in child.cmdline())]
    return parent, servers, [child for server in servers for child in server.children()]


def _wait_for_worker(run):
    while run.poll() is None and not _family(run)[2]:
        time.sleep(0.02)


def _wait_for_writing(run, lock):
    size = lock.stat().st_size
    while run.poll() is None and lock.stat().st_size >= size:
        time.sleep(0.001)


def _kill(run, victim, draws):
    """SIGKILL. Raises psutil.Error or ProcessLookupError where what should be killed has ended."""
    parent, servers, workers = _family(run)
    everyone = [parent, *parent.children(recursive=True)]
    targets = {
        "parent": [parent],
        "writer": [parent],
        "worker": [draws.choice(workers)] if workers else [],
        "server": servers,
        "group": [process for process in everyone if os.getpgid(process.pid) == run.pid],
        "all": everyone,
    }[victim]
    for target in targets:
        target.kill()


def kill_once(checkout, command, victim, *, seconds, draws):
    """Kill `victim` at a random moment of the `seconds` that `command` takes. Whether it came to that."""
    log = checkout.root / "log"
    with log.open("wb") as output:  # no pipe: an orphan may also end because nobody reads what it writes
        run = checkout.start(command, output)
    try:
        if victim in ("worker", "server"):
            _wait_for_worker(run)
            time.sleep(draws.uniform(0.0, seconds / 2))
        elif victim == "writer":
            _wait_for_writing(run, checkout.root / "dvc.lock")
        else:
            time.sleep(draws.uniform(0.2, seconds))
        _kill(run, victim, draws)
    except (psutil.Error, ProcessLookupError):
        pass  # the one to be killed was through
    code, said = run.wait(), log.read_text()
    if code not in (0, -signal.SIGKILL):
        assert code in (1, 2), f"{code}: {said}"
        assert re.search("(?m)^error: ", said), f"{code}: {said}"
    return code != 0


def campaign(checkout, kind, times, draws, deadline=float("inf")):
    """(victim or outcome) -> count, of `times` kills of `folds` or `dvc repro`. AssertionError at a difference.

    `cleared`: how often `dvc repro` stopped at what a killed DVC had left cut off, and `folds` cleared it away.
    """
    counts = Counter()
    command, names, victims, share = KINDS[kind]
    while counts["kills"] < times and time.time() < deadline:
        stale = draws.sample(names, draws.randint(1, MAX_STALE))
        checkout.make_stale(stale)
        seconds = checkout.seconds["start"] + share * sum(checkout.seconds[stage] for stage in stale)
        victim = victims[counts["kills"] % len(victims)]
        killed = kill_once(checkout, command, victim, seconds=seconds, draws=draws)
        again = [FOLDS, REPRO] if kind == "folds" and draws.random() < 0.5 else [REPRO]
        try:
            counts["cleared"] += checkout.finish(again)
            checkout.compare()
        except AssertionError as error:
            raise AssertionError(f"after {victim} of {kind} was killed with {stale} stale: {error}") from error
        counts[victim if killed else "too late"] += 1
        counts["kills"] += killed
    return counts


def verified(checkout):
    """The last line of `python -m pipeline verify`, which must pass."""
    return checkout.must([sys.executable, "-m", "pipeline", "verify"]).splitlines()[-1]
