"""Take jobs away from `folds --engine slurm` at random moments, and compare what is left with a run on this machine.

    python -m tests.faults.jobs --times 20 --seed 1

A Slurm of one node begins here (as root; see `tests/slurm.py`), with two folds. Each time a fold's job is requeued,
cancelled, told to end, killed or frozen, or the controller is killed and begun anew, or `folds` is interrupted (the
queue must be empty then) and begun again. Each time: the sha256 of all that stages hand on and dvc.lock as after a
local run, `dvc status` clean, no job left, and each fold that lost its job went on from its newest state.
"""

import os
import re
import signal
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.elsewhere import Competition, Run, campaign_args, folds, go_through, until
from tests.project import NAMES
from tests.slurm import Slurm, missing

PATIENT_S = 600  # for folds to end, on a machine with other work
DEEDS = ("requeue", "cancel", "end", "kill", "freeze", "controller", "interrupt")


class Campaign:
    """The competition and its Slurm."""

    def __init__(self, project, slurm, shared):
        self.project, self.slurm, self.counts = project, slurm, Counter()
        self.command = folds("--engine", "slurm", "--address", str(shared))

    def start(self):
        return Run(self.project, self.command, os.environ | NAMES | self.slurm.environment)

    def once(self, chance):
        """One deed; what it was, in words."""
        deed, fold = chance.choice(DEEDS), chance.choice("01")
        self.project.forget("train@0", "train@1")
        run = self.start()
        try:
            run.wait_for(r"epoch \d+:", fold)
            time.sleep(chance.uniform(0, 6))
            job = re.findall(r"(?m)^job (\d+) on", self.project.log(fold))[-1]
            was_there = job in self.slurm.queue() and not re.search("held out", self.project.log(fold))
            began = time.monotonic()
            run = getattr(self, deed)(run, job) or run
            run.end(within=PATIENT_S)
        finally:
            if run.process.poll() is None:
                run.process.kill()
        self.project.check()
        until(lambda: not self.slurm.queue())
        self.counts[deed] += 1
        said = re.findall(r"(?m)^warning: (.*)$", self.project.log(fold))
        resumed = re.findall(r"resumed at step \S+ of", self.project.log(fold))
        assert len(resumed) >= len([line for line in said if not line.endswith("from step 0")]), self.project.log(fold)
        return f"{deed}{'' if was_there else ' (its job had ended)'}: {said or resumed or 'nothing was lost'}, {time.monotonic() - began:.0f} s"

    def requeue(self, run, job):
        self.slurm.says("scontrol", "requeue", job, check=False)

    def cancel(self, run, job):
        self.slurm.says("scancel", job, check=False)

    def end(self, run, job):
        self.slurm.says("scancel", "--signal=TERM", "--full", job, check=False)

    def kill(self, run, job):
        for process in self.slurm.processes(job):
            process.kill()

    def freeze(self, run, job):
        for process in self.slurm.processes(job):
            process.suspend()

    def controller(self, run, job):
        self.slurm.begin_controller_anew()

    def interrupt(self, run, job):
        run.process.send_signal(signal.SIGINT)
        if run.process.wait(PATIENT_S) == 0:
            return run
        assert run.process.returncode == 130, run.said()
        until(lambda: not self.slurm.queue())
        return self.start()


def main():
    args = campaign_args(__doc__, missing)  # Slurm ends at SIGTERM too
    with tempfile.TemporaryDirectory() as name, Slurm(f"{name}/slurm") as slurm:
        campaign = Campaign(Competition(Path(name) / "project", epochs=args.epochs), slurm, Path(name) / "shared")
        go_through(campaign, args)


if __name__ == "__main__":
    main()
