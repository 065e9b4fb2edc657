"""The process between `folds` and a cluster: it sends each fold's stage to a node, brings home what comes of it, and
sends it elsewhere when the node is lost. It is apart from `folds` because a cluster's library may end its process.

    python -m pipeline.engines.bridge KIND ADDRESS CPUS GPUS [OPTION…]

Lines of JSON in: {"start": number, "job": ...}, {"stop": number}; its end stops everything. Out: {"places": how many
folds fit at once}, {"say": line}, {"ended": number, "code": exit code}, {"gone": why nothing can run any more}.
"""

import contextlib
import json
import os
import sys
import threading
import time
import traceback
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline.base import console
from pipeline.engines import placement
from pipeline.engines.clusters import Cluster, connect
from pipeline.engines.errand import Errand, LostError, Traffic, UnwantedError, refuse_others
from pipeline.engines.job import GoneError, Job
from pipeline.engines.placement import Need, NodeState, Patience

WATCH_S = 1.0  # between two looks at which nodes there are
STOPPED = -2  # exit code of a stage that nobody wants any more, as after Ctrl-C


class Dispatcher:
    """Jobs on the nodes of `cluster`; tell: where messages go."""

    def __init__(self, cluster: Cluster, need: Need, tell: Callable[..., None]) -> None:
        self._cluster, self._need, self._tell = cluster, need, tell
        self._nodes: dict[str, NodeState] = {}
        self._changed = threading.Condition()
        self._sending: dict[str, threading.Lock] = defaultdict(threading.Lock)  # inputs go to a node once
        self._unwanted: set[int] = set()
        self._places = -1
        self.traffic = Traffic()
        self.watched = self._fitted = time.monotonic()

    def watch(self) -> None:
        """Look which nodes there are, until none has had room for long; `watched` is when that was last answered."""
        while not self._is_gone():
            found = self._cluster.nodes()
            with self._changed:
                known, self._nodes = self._nodes, {name: self._nodes.get(name, found[name]) for name in found}
                for name in known.keys() & found.keys():
                    if known[name].unfit and self._cluster.is_back(name):
                        known[name].unfit = ""
                self._count()
                self._changed.notify_all()
            self.watched = time.monotonic()
            time.sleep(WATCH_S)
        self._tell(gone=self._why_none())  # also where no fold has been asked for

    def _is_gone(self) -> bool:
        """Whether no node has had room for long: nothing can run any more."""
        with self._changed:
            now = time.monotonic()
            if placement.places(self._nodes, self._need):
                self._fitted = now
            return placement.is_gone(self._fitted, now)

    def carry(self, number: int, job: Job) -> None:
        """Have it done, on one node after the other if need be, and tell how it ended."""
        try:
            code = self._carried(number, job)
        except UnwantedError:
            code = STOPPED
        except (ValueError, OSError) as error:
            self._note(job, f"error: {error}")
            code = console.USER_ERROR
        except BaseException:
            self._note(job, traceback.format_exc())
            code = 1
        self._tell(ended=number, code=code)

    def stop(self, number: int) -> None:
        """Nobody wants it any more."""
        self._unwanted.add(number)

    def _carried(self, number: int, job: Job) -> int:
        patience = Patience()
        while True:
            name = self._take(number)
            self._note(job, f"on {name}")
            try:
                return self._attempt(number, job, name)
            except LostError as error:
                states = self._lose(name, job, str(error))
                if not patience.lost(states):
                    raise ValueError(
                        f"{job.stage} was lost with {placement.MAX_IN_VAIN} nodes in a row and came no further, at "
                        f"last on {name}: {error}"
                    ) from None
            finally:
                self._give_back(name)

    def _attempt(self, number: int, job: Job, name: str) -> int:
        link, end = self._cluster.open(name, self._need)
        wanted: Callable[[], bool] = lambda: number not in self._unwanted  # noqa: E731
        errand = Errand(job, link, Path(job.root), node=name, traffic=self.traffic, wanted=wanted)
        try:
            refuse_others(link("about"))
            with self._sending[name]:
                errand.send()
            self._nodes[name].holds_inputs = True
            code = errand.run()
            link("close")
            return code
        finally:
            with contextlib.suppress(Exception):
                end()

    def _take(self, number: int) -> str:
        """A node with room, from now on with one fold more. Raises GoneError, UnwantedError."""
        with self._changed:
            while True:
                if number in self._unwanted:
                    raise UnwantedError
                name = placement.choose(self._nodes, self._need)
                if name is not None:
                    self._nodes[name].at_work.append(self._need)
                    return name
                if self._is_gone():
                    raise GoneError(self._why_none())
                self._changed.wait(WATCH_S)

    def _give_back(self, name: str) -> None:
        with self._changed:
            if name in self._nodes:
                self._nodes[name].at_work.remove(self._need)
            self._fitted = time.monotonic()
            self._changed.notify_all()

    def _lose(self, name: str, job: Job, why: str) -> list[str]:
        """No fold goes to the node any more. Returns the fold's states that came home."""
        with self._changed:
            if name in self._nodes:
                self._nodes[name].unfit = why
                self._cluster.look_for(name)
                self._count()
        states = Errand(job, _no_link, Path(job.root), node=name, traffic=self.traffic, wanted=bool).states()
        step = max((int(state.rsplit("-", 2)[1]) for state in placement.newest_states(states)), default=0)
        self._note(job, f"warning: {name} is lost: {why}; the fold goes on elsewhere from step {step:,}")
        return states

    def _count(self) -> None:
        found = placement.places(self._nodes, self._need)
        if found != self._places:
            self._tell(places=found)
        self._places = found

    def _why_none(self) -> str:
        nodes = [f"{name}: {node.unfit or f'{node.cpus:g} cores'}" for name, node in sorted(self._nodes.items())]
        return (
            f"no node is left that has room for a fold ({self._need.cpus:g} cores, {self._need.gpus:g} GPUs): "
            f"{'; '.join(nodes) or 'there is none'}. States that came home are kept; run it again when there are nodes"
        )

    def _note(self, job: Job, line: str) -> None:
        with Path(job.log).open("a", encoding="utf-8") as log:
            log.write(f"{line.rstrip()}\n")


def _no_link(*_: Any) -> Any:
    raise LostError("given up")


def _main(kind: str, address: str, cpus: str, gpus: str, *options: str) -> None:
    messages = os.fdopen(os.dup(1), "w", buffering=1, encoding="utf-8")
    os.dup2(2, 1)  # what a library prints is no message
    lock = threading.Lock()

    def tell(**message: Any) -> None:
        with lock, contextlib.suppress(OSError):
            messages.write(json.dumps(message) + "\n")

    try:
        cluster = connect(kind, address, options)
        dispatcher = Dispatcher(cluster, Need(float(cpus), float(gpus)), tell)
    except Exception as error:
        traceback.print_exc()
        tell(gone=f"the cluster cannot be reached: {str(error).strip().splitlines()[0] or type(error).__name__}")
        os._exit(1)
    tell(say=cluster.about())
    threading.Thread(target=dispatcher.watch, daemon=True).start()
    threading.Thread(target=_end_when_silent, args=(dispatcher, tell), daemon=True).start()
    workers = []
    for line in sys.stdin:
        message = json.loads(line)
        if "stop" in message:
            dispatcher.stop(message["stop"])
        else:
            job = Job(**message["job"])
            workers.append(threading.Thread(target=dispatcher.carry, args=(message["start"], job), daemon=True))
            workers[-1].start()
    for number in range(len(workers)):
        dispatcher.stop(number)
    for worker in workers:
        worker.join(2.0)
    tell(say=_traffic(kind, dispatcher.traffic))
    cluster.close()
    os._exit(0)  # threads that wait for a silent node must not keep it


def _end_when_silent(dispatcher: Dispatcher, tell: Callable[..., None]) -> None:
    """End this process once nobody says which nodes there are: the head is gone, and with it all."""
    while not placement.is_lost(dispatcher.watched, time.monotonic()):
        time.sleep(WATCH_S)
    tell(gone=f"the cluster's head gives no answer for {placement.SILENCE_S:.0f} s")
    os._exit(1)


def _traffic(kind: str, traffic: Traffic) -> str:
    sent = sum(traffic.sent.values()) / 1e6
    return f"{kind}: {sent:,.1f} MB sent to {len(traffic.sent)} nodes, {traffic.received / 1e6:,.1f} MB came back"


if __name__ == "__main__":
    _main(*sys.argv[1:])
