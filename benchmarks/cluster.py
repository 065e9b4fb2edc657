"""Folds on 1 to 1,000 nodes, on paper: `python -m benchmarks.cluster --failures preemptible`.

A simulation by events. Who decides is the real code (`pipeline/engines/placement.py`); pieces, silences and states to
resume from are the real ones, too. Nodes, their link to the one machine that serves inputs and takes states home, and
failures are made up, from `--seed` alone. A fold's stages are sent as the engines send them: what a node lacks by its
hash, states as they are saved and as the link has room, outputs at the end. It prints a line for each number of nodes.

What fails is a node, after times that are exponentially distributed; it is back after `--repair-h` hours with an empty
disk. Published rates: 419 unexpected interruptions of Llama 3's pre-training in 54 days on 16,384 GPUs, 8 a node (Dubey
et al. 2024, "The Llama 3 Herd of Models"); a job of one node of 8 GPUs failed each 47.7 days (Kokolis et al. 2025,
"Revisiting Reliability in Large-Scale Machine Learning Research Clusters"; the
paper was found, this figure is from memory); Google's preemptible machines last for 24
hours at most (its documentation), here on average.
"""

import argparse
import functools
import heapq
import itertools
import math
import time
from collections import defaultdict, deque
from collections.abc import Callable, Generator
from dataclasses import MISSING, dataclass, field, fields
from types import SimpleNamespace

import numpy as np
from torch import nn

from pipeline.engines import placement
from pipeline.engines.bridge import WATCH_S
from pipeline.engines.errand import PIECE, LostError
from pipeline.engines.job import GoneError
from pipeline.engines.placement import POLL_S, SILENCE_S, Need, NodeState, Patience
from pipeline.training.resume import EXPECTED_RATE, EXPECTED_S, MIN_INTERVAL_S, TIMES_COST, TrainState

HOUR, DAY, MB = 3600.0, 86400.0, 1e6
FAILURES = {"none": 0.0, "llama3": 54 * 16_384 / 8 / 419, "meta": 47.7, "preemptible": 1.0}  # days from one to the next
SIZES = (1, 2, 5, 10, 50, 100, 500, 1000)
FORWARD = 1 / 3  # of the time of a training step
NEED = Need(1.0)  # nodes have room for one fold

Step = Callable[[Callable[[], None]], None]  # arranges that what it is given is called once something is over
Work = Generator[Step, None, None]


@dataclass(frozen=True, kw_only=True)
class World:
    """What is simulated; the defaults are ImageNet-1k and ResNet-50. mttf_days: 0 for nodes that never fail."""

    nodes: int
    folds: int = 5
    seeds: int = 10
    experiments: int = 20
    apart: bool = False  # each seed is an experiment of its own, not one network of several in a fold
    images: int = 1_281_167
    tests: int = 100_000
    side: int = 128
    classes: int = 1000
    weights_mb: float = 102.0  # of one network
    hours: float = 2.0  # that a network trains for on an average node
    epochs: int = 18
    link_mb: float = 1250.0  # a second, each way, at the machine where `folds` runs: 10 Gbit/s
    node_mb: float = 1250.0  # a second, each way, at a node
    spread: float = 0.15  # standard deviation of the logarithm of a node's speed
    mttf_days: float = 0.0
    repair_h: float = 1.0
    start_s: float = 8.0  # of a stage's process, before it works
    seed: int = 0

    @property
    def networks(self) -> int:
        """Of a fold."""
        return 1 if self.apart else self.seeds

    @property
    def state(self) -> int:
        """Bytes of a state to resume from, as the code that saves it expects them."""
        network = nn.Linear(1, round(self.weights_mb * MB / 4), bias=False, device="meta")
        return TrainState.num_bytes(SimpleNamespace(network=network, average=None))  # type: ignore[arg-type]

    @property
    def stages(self) -> "list[Stage]":
        """Of a fold. teach is off, an instant; but it is sent all that it depends on."""
        train, test = (count * self.side**2 * 3 for count in (self.images, self.tests))
        weights = self.networks * self.weights_mb * MB
        step = self.hours * HOUR / (self.epochs * self.images * (1 - 1 / self.folds))  # for one image
        return [
            Stage("teach", {"train store": train, "test store": test}),
            Stage(
                "train", {"train store": train}, self.networks * self.hours * HOUR,
                weights + self.images / self.folds * self.classes * 4, self.networks,
            ),
            Stage(
                "infer", {"test store": test, "weights": weights}, self.networks * self.tests * step * FORWARD,
                self.tests * self.classes * 4,
            ),
        ]  # fmt: skip


@dataclass(frozen=True)
class Stage:
    """inputs: name -> bytes, those of `weights` a fold's own; work: seconds on an average node; networks: whose states
    are saved."""

    name: str
    inputs: dict[str, float]
    work: float = 0.0
    outputs: float = 0.0
    networks: int = 0


class Clock:
    """Does things in the order of their times, those of one time in the order in which they were asked for."""

    def __init__(self) -> None:
        self.now = 0.0
        self._plans: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()

    def at(self, when: float, do: Callable[[], None]) -> None:
        """Then, do that."""
        heapq.heappush(self._plans, (when, next(self._numbers), do))

    def run(self, is_over: Callable[[], bool]) -> None:
        """Until it is over."""
        while not is_over():
            self.now, _, do = heapq.heappop(self._plans)
            do()

    def pause(self, seconds: float) -> Step:
        """So long."""
        return lambda go: self.at(self.now + seconds, go)


@dataclass(eq=False)
class Flow:
    """A file that is under way. ends: when, in bytes that each flow of the pipe has had since the pipe began."""

    size: float
    ends: float
    arrived: Callable[[], None]
    lost: Callable[[], None]


class Pipe:
    """One direction of the link, which all flows share evenly, none faster than its node can.

    A piece that takes longer than the silence after which a node counts as lost loses it; which of them, is drawn.
    """

    def __init__(self, clock: Clock, rate: float, each: float, draws: np.random.Generator) -> None:
        self._clock, self._rate, self._each, self._draws = clock, rate, each, draws
        self._flows: dict[int, Flow] = {}
        self._order: list[tuple[float, int]] = []
        self._numbers, self._turn, self._slow_since = itertools.count(), 0, math.inf
        self._had, self._at = 0.0, 0.0  # bytes of each flow, and when
        self.carried = self.busy = 0.0  # bytes; seconds

    def begin(self, size: float, arrived: Callable[[], None], lost: Callable[[], None]) -> int:
        """Its number, for `drop`."""
        self._move()
        number = next(self._numbers)
        self._flows[number] = Flow(size, self._had + size, arrived, lost)
        heapq.heappush(self._order, (self._had + size, number))
        self._plan()
        return number

    def drop(self, number: int) -> float:
        """It is cut off, if it is still under way; its bytes that went."""
        if number not in self._flows:
            return 0.0
        self._move()
        flow = self._flows.pop(number)
        self._plan()
        return flow.size - (flow.ends - self._had)

    def _share(self) -> float:
        return min(self._each, self._rate / len(self._flows)) if self._flows else 0.0

    def _move(self) -> None:
        """Up to now."""
        each = self._share() * (self._clock.now - self._at)
        self.carried += each * len(self._flows)
        self.busy += each * len(self._flows) / self._rate
        self._had, self._at = self._had + each, self._clock.now

    def _plan(self) -> None:
        """What comes next: an arrival, or the loss of a node that a piece has not reached in time."""
        self._turn += 1
        turn, now = self._turn, self._clock.now
        while self._order and self._order[0][1] not in self._flows:
            heapq.heappop(self._order)
        if not self._flows:
            self._slow_since = math.inf
            return
        left = max(0.0, self._order[0][0] - self._had) / self._share()
        self._clock.at(now + left, lambda: self._arrive() if turn == self._turn else None)
        self._slow_since = min(self._slow_since, now) if PIECE / self._share() > SILENCE_S else math.inf
        if self._slow_since < math.inf:
            late = self._slow_since + SILENCE_S
            self._clock.at(max(now, late), lambda: self._lose_one() if turn == self._turn else None)

    def _arrive(self) -> None:
        self._move()
        flow = self._flows.pop(heapq.heappop(self._order)[1])
        self._plan()
        flow.arrived()

    def _lose_one(self) -> None:
        self._flows[int(self._draws.choice(list(self._flows)))].lost()


class Task:
    """Work that waits for one thing after the other; a LostError can be thrown into it. ended: told how it ended."""

    def __init__(self, work: Work, ended: Callable[[Exception | None], None]) -> None:
        self._work, self._ended, self._turn = work, ended, 0

    def go(self, error: Exception | None = None) -> None:
        """On, up to the next thing to wait for."""
        self._turn += 1
        try:
            step = self._work.throw(error) if error else next(self._work)
        except StopIteration:
            self._ended(None)
        except (GoneError, LostError) as why:
            self._ended(why)
        else:
            self.wait_for(step)

    def wait_for(self, step: Step, error: Exception | None = None) -> None:
        """That, and for nothing that it waited for before; then go on, or have `error` thrown into it."""
        self._turn += 1
        turn = self._turn
        step(lambda: self.go(error) if turn == self._turn else None)


@dataclass(eq=False)
class Machine:
    """A node as it is, whatever the placement knows of it. held: what its cache has, (input, whose) -> bytes."""

    name: str
    speed: float
    alive: bool = True
    held: dict[tuple[str, str], float] = field(default_factory=dict)
    fold: "Fold | None" = None


@dataclass(eq=False)
class Fold:
    """home: its states there -> seconds of an average node's work that they hold; done: those of the stage at work."""

    name: str
    stages: deque[Stage]
    home: dict[str, float] = field(default_factory=dict)
    task: "Task | None" = None
    flow: tuple[Pipe, int] | None = None
    done: Callable[[], float] = float


@dataclass(kw_only=True)
class Result:
    """moved: what -> bytes; carried: by the link's own count, out and home; busy: its share of the time."""

    hours: float = 0.0
    work_h: float = 0.0  # of an average node, for all that was asked for
    again_h: float = 0.0  # of it, what had to be done again
    lost: int = 0  # nodes that failed at work
    starved: int = 0  # nodes that counted as lost because the link was too slow
    given_up: int = 0  # folds
    runs: int = 1  # how often `folds` had to be typed
    moved: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    carried: tuple[float, float] = (0.0, 0.0)
    busy: tuple[float, float] = (0.0, 0.0)
    most_states: int = 0  # at home at one time
    cached: float = 0.0  # bytes of inputs that nodes have, or had when they failed
    attempts: list[tuple[str, str, float, float]] = field(default_factory=list)  # fold, node, from, until


class Simulation:
    """One run of all folds in a world."""

    def __init__(self, world: World) -> None:
        self.world, self.clock, self.result = world, Clock(), Result()
        self._draws = np.random.default_rng(world.seed)
        rates = world.link_mb * MB, world.node_mb * MB
        self._out, self._home = (Pipe(self.clock, *rates, self._draws) for _ in range(2))
        self._nodes: dict[str, NodeState] = {}
        self._machines: dict[str, Machine] = {}
        self._state, cost = world.state, EXPECTED_S + world.state / EXPECTED_RATE
        self._interval = max(MIN_INTERVAL_S, TIMES_COST * cost)  # between two saves
        self._period = self._interval + cost
        seeds = range(world.seeds if world.apart else 1)
        names = itertools.product(range(world.experiments), seeds, range(world.folds))
        self._waiting = deque(Fold(f"e{e}s{s}f{f}", deque(world.stages)) for e, s, f in names)
        self._for_room: deque[Callable[[], None]] = deque()
        self._running, self._left, self._fitted = 0, len(self._waiting), 0.0
        self._num_states = 0

    def run(self) -> Result:
        """Until all folds have ended, well or not."""
        world, result = self.world, self.result
        result.work_h = sum(stage.work for fold in self._waiting for stage in fold.stages) / HOUR
        for number, speed in enumerate(
            np.exp(np.random.default_rng(world.seed).normal(0, 1, world.nodes) * world.spread)
        ):
            self._join(f"{number:04d}", float(speed))
        self._admit()
        self.clock.run(lambda: not self._left)
        result.hours = self.clock.now / HOUR
        result.carried = (self._out.carried, self._home.carried)
        result.busy = (self._out.busy / self.clock.now, self._home.busy / self.clock.now)
        result.cached += sum(sum(machine.held.values()) for machine in self._machines.values())
        return result

    def _join(self, name: str, speed: float) -> None:
        """A node is there, with an empty disk."""
        machine = self._machines[name] = Machine(name, speed)
        self._nodes[name] = NodeState(cpus=NEED.cpus)
        if self.world.mttf_days:
            lasts = self._draws.exponential(self.world.mttf_days * DAY)
            self.clock.at(self.clock.now + lasts, lambda: self._fail(machine))

    def _fail(self, machine: Machine) -> None:
        """The node is gone. Whoever waits for an answer waits for it as long as the placement says."""
        machine.alive, fold = False, machine.fold
        if fold is not None:
            assert fold.task
            self.result.lost += 1
            self._cut(fold)
            step = self.clock.pause(SILENCE_S)
            fold.task.wait_for(step, LostError(machine.name))
        self.clock.at(self.clock.now + self.world.repair_h * HOUR, lambda: self._replace(machine))

    def _replace(self, machine: Machine) -> None:
        self.result.cached += sum(machine.held.values())
        del self._machines[machine.name]
        self._nodes.pop(machine.name)
        if not self._running and placement.is_gone(self._fitted, self.clock.now):
            self.result.runs += 1
        self._join(f"{machine.name[:4]}.{self.clock.now:.0f}", machine.speed)
        self._tell_room()

    def _starve(self, fold: Fold) -> None:
        """A piece of a file was under way for too long."""
        assert fold.task
        self.result.starved += 1
        self._cut(fold)
        fold.task.go(LostError("no answer"))

    def _cut(self, fold: Fold) -> None:
        """What its stage has done since its last state at home is to be done again."""
        if fold.flow is not None:
            pipe, number = fold.flow
            self.result.moved["cut off"] += pipe.drop(number)
            fold.flow = None
        self.result.again_h += max(0.0, fold.done() - max(fold.home.values(), default=0.0)) / HOUR
        fold.done = float

    def _admit(self) -> None:
        """Begin folds, in their order, while there are places: as the pool of `folds` does."""
        while self._waiting and self._running < placement.places(self._nodes, NEED):
            fold = self._waiting.popleft()
            self._running += 1
            fold.task = Task(self._carry(fold), functools.partial(self._end, fold))
            fold.task.go()

    def _end(self, fold: Fold, error: Exception | None) -> None:
        self._running -= 1
        if isinstance(error, GoneError):
            self._waiting.appendleft(fold)  # for whoever types it again
        else:
            self._left -= 1
            self.result.given_up += error is not None
        self._admit()

    def _tell_room(self) -> None:
        none_left = not placement.places(self._nodes, NEED)
        while self._for_room and (none_left or placement.choose(self._nodes, NEED) is not None):
            self._for_room.popleft()()
        self._admit()

    def _carry(self, fold: Fold) -> Work:
        """Its stages, each on one node after the other if need be: as the bridge does."""
        while fold.stages:
            patience = Patience()
            while True:
                machine = yield from self._take()
                try:
                    yield from self._attempt(fold, fold.stages[0], machine)
                    break
                except LostError:
                    self._lose(machine)
                    if not patience.lost(fold.home):
                        raise
                finally:
                    self._give_back(machine)
            fold.stages.popleft()

    def _take(self) -> Generator[Step, None, Machine]:
        while True:
            name = placement.choose(self._nodes, NEED)
            if name is not None:
                self._nodes[name].at_work.append(NEED)
                return self._machines[name]
            now = self.clock.now
            if placement.places(self._nodes, NEED):
                self._fitted = now
                yield self._for_room.append
            elif placement.is_gone(self._fitted, now):
                raise GoneError("no node is left")
            else:
                yield self.clock.pause(WATCH_S)

    def _lose(self, machine: Machine) -> None:
        """No fold goes there, unless it turns out to be alive."""
        if machine.name in self._nodes:
            self._nodes[machine.name].unfit = "lost"
        if machine.alive:
            self.clock.at(self.clock.now + WATCH_S, lambda: self._see_again(machine))

    def _see_again(self, machine: Machine) -> None:
        if machine.name in self._nodes and machine.alive:
            self._nodes[machine.name].unfit = ""
            self._tell_room()

    def _give_back(self, machine: Machine) -> None:
        if machine.name in self._nodes:
            self._nodes[machine.name].at_work.remove(NEED)
        self._fitted = self.clock.now
        self.clock.at(self.clock.now, self._tell_room)

    def _attempt(self, fold: Fold, stage: Stage, machine: Machine) -> Work:
        began, machine.fold = self.clock.now, fold
        try:
            if not machine.alive:
                yield self.clock.pause(SILENCE_S)
                raise LostError(machine.name)
            for name, size in stage.inputs.items():
                key = (name, fold.name if name == "weights" else "")
                if key not in machine.held:
                    yield self._move(self._out, fold, "inputs", size)
                    machine.held[key] = size
            for _ in placement.newest_states(fold.home):
                yield self._move(self._out, fold, "states out", self._state)
            self._nodes[machine.name].holds_inputs = True
            self.clock.at(self.clock.now + WATCH_S, self._tell_room)
            yield self.clock.pause(self.world.start_s)
            yield from self._work(fold, stage, machine)
            yield self._move(self._home, fold, "outputs", stage.outputs)
            self._count_states(-len(fold.home))
            fold.home.clear()
        finally:
            machine.fold, fold.done = None, float
            self.result.attempts.append((fold.name, machine.name, began, self.clock.now))

    def _work(self, fold: Fold, stage: Stage, machine: Machine) -> Work:
        """Until a poll finds that it has ended; states go home as they are found, as the errand has it."""
        began, start = self.clock.now, max(fold.home.values(), default=0.0)
        pace = machine.speed * (self._interval / self._period if stage.networks else 1.0)
        ends = began + (stage.work - start) / pace
        fold.done = lambda: min(stage.work, start + pace * (self.clock.now - began))
        while self.clock.now < ends:
            passed = self.clock.now - began
            found = fold.home | (self._saved(fold, stage, start, machine.speed, passed) if stage.networks else {})
            newest = placement.newest_states(found)
            absent = [name for name in newest if name not in fold.home]
            for name in absent:
                yield self._move(self._home, fold, "states home", self._state)
                self._count_states(1)
                fold.home[name] = found[name]
            if absent:
                self._count_states(len(newest) - len(fold.home))
                fold.home = {name: fold.home[name] for name in newest}
                continue
            save = (math.floor(passed / self._period) + 1) * self._period if stage.networks else math.inf
            polls = math.ceil(min(save, ends - began) / POLL_S)
            yield self.clock.pause(max(POLL_S, began + polls * POLL_S - self.clock.now))

    def _saved(self, fold: Fold, stage: Stage, start: float, speed: float, passed: float) -> dict[str, float]:
        """States that its node has saved since it began: the last of each network that has ended, and the newest."""
        each, now = stage.work / stage.networks, fold.done()
        ended = [number for number in range(1, stage.networks) if start < number * each <= now]
        found = {_state_name(fold, number, each): number * each for number in ended}
        saves = math.floor(passed / self._period)
        if saves:
            point = min(start + saves * self._interval * speed, now)
            number = min(math.floor(point / each), stage.networks - 1)
            found[_state_name(fold, number + 1, point - number * each)] = point
        return found

    def _count_states(self, more: int) -> None:
        self._num_states += more
        self.result.most_states = max(self.result.most_states, self._num_states)

    def _move(self, pipe: Pipe, fold: Fold, what: str, size: float) -> Step:
        def step(go: Callable[[], None]) -> None:
            def arrived() -> None:
                fold.flow = None
                self.result.moved[what] += size
                go()

            fold.flow = pipe, pipe.begin(size, arrived, lambda: self._starve(fold))

        return step


def _state_name(fold: Fold, network: int, seconds: float) -> str:
    """As the code that saves states calls them, with milliseconds for steps."""
    return f"{fold.name}-f-{network:03d}-{round(seconds * 1000):012d}-d.pt"


COLUMNS = ("nodes", "hours", "at work", "out TB", "states TB", "outputs TB", "link out", "home", "lost", "again h",
           "too slow", "given up", "typed")  # fmt: skip


def row(world: World, result: Result) -> list[str]:
    """A line of the table; see `COLUMNS`."""
    moved, capacity = result.moved, world.nodes * result.hours
    return [
        f"{world.nodes:,}", f"{result.hours:,.1f}", f"{result.work_h / capacity:.0%}",
        *(f"{size / 1e12:,.2f}" for size in (result.carried[0], moved["states home"], moved["outputs"])),
        *(f"{share:.0%}" for share in result.busy), f"{result.lost:,}", f"{result.again_h:,.1f}", f"{result.starved:,}",
        f"{result.given_up:,}", f"{result.runs:,}",
    ]  # fmt: skip


def parse_args() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.cluster", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="numbers of nodes; default: %(default)s")
    parser.add_argument("--failures", choices=FAILURES, default="none", help="of nodes; default: %(default)s")
    for field_of in fields(World):
        name, default = f"--{field_of.name.replace('_', '-')}", field_of.default
        if field_of.type == "bool" or field_of.type is bool:
            parser.add_argument(name, action="store_true", help="each seed is an experiment of its own")
        elif default is not MISSING and field_of.name != "mttf_days":
            parser.add_argument(name, type=type(default), default=default, help="default: %(default)s")
    return parser.parse_args()


def main() -> None:
    """A line for each number of nodes."""
    args = vars(parse_args())
    sizes, mttf_days, since = args.pop("sizes"), FAILURES[args.pop("failures")], time.perf_counter()
    rows = [list(COLUMNS)]
    for nodes in sizes:
        world = World(nodes=nodes, mttf_days=mttf_days, **args)
        rows.append(row(world, Simulation(world).run()))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for line in rows:
        print("  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)))
    print(f"simulated in {time.perf_counter() - since:.0f} s")


if __name__ == "__main__":
    main()
