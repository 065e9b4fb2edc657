"""Who decides, and nothing else: which node a fold goes to, when a node counts as lost, what a fold goes on from.

No clock, no network and no Ray: the real run and `benchmarks/cluster.py` call the same functions.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

SILENCE_S = 12.0  # without an answer: the node is lost. Ray itself takes minutes
GONE_S = 30.0  # without a node that a fold fits on: then there will be none
POLL_S = 0.25  # between two questions, each of which is a sign of life
SENDS_AT_ONCE = 16  # nodes that are sent inputs; of a thousand at once none would begin before all have everything
MAX_IN_VAIN = 5  # nodes in a row that a fold was lost with, without having come further


@dataclass(frozen=True)
class Need:
    """What a fold takes of a node."""

    cpus: float
    gpus: float = 0.0


@dataclass
class NodeState:
    """A node as the placement knows it."""

    cpus: float
    gpus: float = 0.0
    unfit: str = ""  # why no fold goes there
    at_work: list[Need] = field(default_factory=list)
    holds_inputs: bool = False  # whether some fold's inputs were sent there already

    def places(self, need: Need) -> int:
        """How many folds that need so much it has room for, beside those at work."""
        if self.unfit:
            return 0
        free = self.cpus - sum(other.cpus for other in self.at_work)
        free_gpus = self.gpus - sum(other.gpus for other in self.at_work)
        by_cpus = int(free / need.cpus + 1e-6)
        return max(0, min(by_cpus, int(free_gpus / need.gpus + 1e-6)) if need.gpus else by_cpus)


def choose(nodes: Mapping[str, NodeState], need: Need) -> str | None:
    """The node for one fold more; None while there is no room.

    The one with the smallest share of its cores at work, so that folds share neither memory nor caches while others are
    idle; among equals one that has been sent inputs before, then by name. While `SENDS_AT_ONCE` are being sent their
    first inputs, an idle one without any waits: the fold may be done earlier where they are.
    """
    sends = sum(bool(node.at_work) and not node.holds_inputs and not node.unfit for node in nodes.values())

    def order(name: str) -> tuple[float, bool, str]:
        node = nodes[name]
        return sum(other.cpus for other in node.at_work) / node.cpus, not node.holds_inputs, name

    def is_ready(node: NodeState) -> bool:
        return node.holds_inputs or bool(node.at_work) or sends < SENDS_AT_ONCE

    fit = (name for name, node in nodes.items() if node.places(need) and is_ready(node))
    return min(fit, key=order, default=None)


def places(nodes: Mapping[str, NodeState], need: Need) -> int:
    """How many folds fit at once, those at work among them."""
    return sum(node.places(need) + len(node.at_work) for node in nodes.values() if not node.unfit)


def is_lost(heard: float, now: float) -> bool:
    """Whether a node that was last heard of at `heard` (seconds) counts as lost."""
    return now - heard > SILENCE_S


def is_gone(fitted: float, now: float) -> bool:
    """Whether a cluster is gone that last had a node with room for a fold, taken or not, at `fitted` (seconds)."""
    return now - fitted > GONE_S


def newest_states(names: Iterable[str]) -> list[str]:
    """Of states to resume from, the newest of each network: what a fold goes on from.

    Their names are <fold>-<fingerprint>-<network>-<step>-<digest>.pt, steps with leading zeros.
    """
    newest: dict[str, str] = {}
    for name in sorted(name for name in names if name.count("-") >= 4):
        newest[name.rsplit("-", 2)[0]] = name
    return sorted(newest.values())


@dataclass
class Patience:
    """Of a fold whose nodes are lost one after the other."""

    in_vain: int = 0
    newest: tuple[str, ...] = ()

    def lost(self, states: Iterable[str]) -> bool:
        """A node was lost when `states` had come home; whether to go on elsewhere."""
        found = tuple(newest_states(states))
        self.in_vain = 0 if found != self.newest else self.in_vain + 1
        self.newest = found
        return self.in_vain < MAX_IN_VAIN
