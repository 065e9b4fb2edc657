"""Take machines away from `folds --engine ray` at random moments, and compare what is left with a run on this machine.

    python -m tests.faults.nodes --times 30 --seed 1

A head and two nodes, each a core, in network namespaces (it takes root), and two folds. Each time the head or a node is
killed (SIGKILL to all of its processes at once), frozen (SIGSTOP) or cut off (its packets are lost), half of the frozen
and cut off come back once they are given up; whoever was touched then begins anew. Without its head a run must end
within 30 s, with an error, and the next goes on from the states. Each time: the sha256 of all that stages hand on and
dvc.lock as after a local run, `dvc status` clean, and of the epochs that had come home no more steps made again than
there are between two states.
"""

import itertools
import re
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

from tests.elsewhere import Competition, Run, campaign_args, folds, go_through
from tests.machines import Lan, missing

DEEDS = ("kill", "freeze", "unplug")
BACK = {"freeze": "thaw", "unplug": "plug"}
WITHIN_S = 30
PATIENT_S = 600  # for folds to end, on a machine with other work
STALE = ("train@0", "train@1", "infer@0")


class States(threading.Thread):
    """The states of a run as they come home: fold -> [(when, step)], until `end`."""

    def __init__(self, project):
        super().__init__(daemon=True)
        self._project, self._over = project, threading.Event()
        self.seen = {fold: [(time.monotonic(), 0)] for fold in "01"}  # a fold's first step is a state too
        self.start()

    def run(self):
        while not self._over.wait(0.02):
            for fold, seen in self.seen.items():
                newest = max(self._project.steps(fold), default=0)
                if newest > seen[-1][1]:
                    seen.append((time.monotonic(), newest))

    def interval(self):
        """The most steps between two states that followed each other."""
        pairs = [pair for seen in self.seen.values() for pair in itertools.pairwise(seen)]
        return max((after[1] - before[1] for before, after in pairs), default=0)

    def end(self):
        self._over.set()
        self.join()


class Campaign:
    """The competition and its machines."""

    def __init__(self, project, lan, folder):
        self.project, self.lan, self.folder = project, lan, folder
        self.counts, self.num_lost = Counter(), 0
        self.home = lan.machine()
        self.head, *self.nodes = self.machines = [lan.machine(folder / name) for name in ("head", "a", "b")]
        self.steps_per_epoch = _steps_per_epoch(project)
        self.begin()

    @property
    def address(self):
        return f"{self.head.address}:6379"

    def begin(self):
        """All machines, anew."""
        for machine in self.machines:
            machine.plug()
            machine.end()
        self.head.start_ray("--head", "--port=6379", "--include-dashboard=false")
        self.head.wait()
        for node in self.nodes:
            node.start_ray(f"--address={self.address}")

    def start(self):
        command = self.home.words(folds("--engine", "ray", "--address", self.address))
        return Run(self.project, command, self.lan.environment())

    def once(self, chance):
        """One deed; what it was, in words."""
        deed, victim = chance.choice(DEEDS), chance.choice(self.machines)
        back = deed in BACK and chance.random() < 0.5
        self.project.forget(*STALE)
        run, states = self.start(), None
        try:
            run.wait_for(r"epoch \d+:", "0", "1")
            states = States(self.project)
            time.sleep(chance.uniform(0, 6))
            was = {fold: _epochs(self.project.log(fold)) for fold in "01"}
            at = [fold for fold in "01" if self.project.node(fold) == victim.address]
            getattr(victim, deed)()
            began = time.monotonic()
            if victim is self.head:
                said = self._without_head(run, began)
            else:
                said = self._without_node(run, victim, at, was, BACK[deed] if back else "", states)
        finally:
            if states:
                states.end()
            if run.process.poll() is None:
                run.process.kill()
        self.project.check()
        name = "head" if victim is self.head else "node"
        self.counts[f"{deed} {name}"] += 1
        self.restore(victim)
        return f"{deed} {name}{' with fold ' + ' and '.join(at) if at else ''}: {said}"

    def _without_head(self, run, began):
        """It ends soon, and once there is a head again another run goes on from the states."""
        code = run.process.wait(WITHIN_S)
        took = time.monotonic() - began
        assert code in (0, 2), run.said()
        if code == 0:
            return "all had been done"
        assert "were not recorded: " in run.said()
        kept = [fold for fold in "01" if self.project.steps(fold)]
        self.begin()
        self.start().end(within=PATIENT_S)
        resumed = [fold for fold in kept if "resumed at step" in self.project.log(fold)]
        assert resumed == kept, self.project.log("0") + self.project.log("1")
        return f"ended with an error after {took:.0f} s; fold {' and '.join(resumed) or 'none'} went on from its state"

    def _without_node(self, run, victim, at, was, back, states):
        """Folds that were there go on elsewhere."""
        lost_at = time.monotonic()
        noticed, came_back = {}, not back
        while run.process.poll() is None:
            for fold in at:
                if fold not in noticed and f"{victim.address} " in "".join(_losses(self.project.log(fold))):
                    noticed[fold] = time.monotonic() - lost_at
            if not came_back and (noticed or time.monotonic() - lost_at > WITHIN_S):
                getattr(victim, back)()
                came_back = True
            assert time.monotonic() - lost_at < PATIENT_S, run.said()
            time.sleep(0.05)
        assert run.process.returncode == 0, run.said()
        assert all(took < WITHIN_S for took in noticed.values()), noticed
        said = []
        for fold, took in noticed.items():
            log = self.project.log(fold)
            resumed = [int(step.replace(",", "")) for step in re.findall(r"resumed at step ([\d,]+) of", log)]
            again = was[fold] * self.steps_per_epoch - (resumed[0] if resumed else 0)
            most = states.interval()
            assert again <= most, f"{again} steps were lost, and at most {most} are between two states\n{log}"
            said.append(f"fold {fold} given up after {took:.0f} s, {max(again, 0)} steps again ({most} between states)")
            self.num_lost += 1
        return ", ".join(said) + (f", then {back}" if back and noticed else "") or "nothing was there"

    def restore(self, victim):
        """Whoever was touched begins anew; with the head all do."""
        if victim is self.head:
            self.begin()
            return
        victim.plug()
        victim.end()
        victim.start_ray(f"--address={self.address}")


def _epochs(log):
    """How many of them a fold's log says have ended."""
    return max(map(int, re.findall(r"epoch (\d+):", log)), default=0)


def _losses(log):
    return re.findall(r"(?m)^warning: .* is lost: .*$", log)


def _steps_per_epoch(project):
    """As a fold's finished log has them."""
    rows = len((project.root / "data/folds.csv").read_text().splitlines()) - 1
    return -(-(rows // 2) // project.params["train"]["batch_size"])


def main():
    args = campaign_args(__doc__, missing)  # machines are removed at SIGTERM too
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        project = Competition(folder / "hidden/project", epochs=args.epochs)
        with Lan(project.root.parent) as lan:
            campaign = Campaign(project, lan, folder)
            go_through(campaign, args)
    print(f"{campaign.num_lost} folds went on elsewhere, each at most a state's interval back")


if __name__ == "__main__":
    main()
