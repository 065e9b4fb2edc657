"""Nodes of a Ray cluster: an actor a fold, on a node that we choose, with its cores and GPUs taken from Ray's count.

Ray's `runtime_env` is not used: what a node has to know comes as files, and `node.py` by value.
"""

import contextlib
import ctypes
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import ray
from ray._raylet import GcsClient  # type: ignore[attr-defined,unused-ignore]
from ray.core.generated.gcs_pb2 import GcsNodeInfo
from ray.exceptions import GetTimeoutError, RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from pipeline.base import console
from pipeline.engines import node as node_module
from pipeline.engines.errand import Link, LostError
from pipeline.engines.placement import SILENCE_S, Need, NodeState

PR_SET_PDEATHSIG = 1  # prctl(2)
JOIN_S = 60.0  # for this machine to become a member of a cluster elsewhere
STORE_BYTES = 256 << 20  # of shared memory for Ray's objects on this machine: pieces of files pass through it


class RayCluster:
    """The cluster at `address`, HOST:PORT; without one a cluster is begun here, and others may join it."""

    def __init__(self, address: str) -> None:
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        ray.cloudpickle.register_pickle_by_value(node_module)
        self._member: subprocess.Popen[bytes] | None = None
        quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
        own = _own_address(address)
        if address:
            if not _is_member(address, own):
                self._join(address, own)
            ray.init(address=address, _node_ip_address=own, **quiet)
        else:
            ray.init(  # "local": else it would join whatever cluster this machine has, or has had
                address="local", num_cpus=console.num_cores(), include_dashboard=False, object_store_memory=STORE_BYTES,
                _node_ip_address=own, **quiet,
            )  # fmt: skip
        self.address = ray.get_runtime_context().gcs_address
        self._ids: dict[str, str] = {}
        self._asked: dict[str, Any] = {}  # of lost nodes: what will tell that they are back
        self._present = ray.remote(max_retries=0)(node_module.present)
        self._actor = ray.remote(max_restarts=0, max_task_retries=0)(node_module.Node)

    def nodes(self) -> dict[str, NodeState]:
        """Those that Ray believes alive, by address and id, with what nobody else has taken of them."""
        found = {}
        for node in ray.nodes():
            if node["Alive"] and node["Resources"].get("CPU"):
                resources = node["Resources"]
                name = f"{node['NodeManagerAddress']} ({node['NodeID'][:8]})"
                found[name] = NodeState(cpus=resources["CPU"], gpus=resources.get("GPU", 0.0))
                self._ids[name] = node["NodeID"]
        return found

    def about(self) -> str:
        """How others join."""
        return f"ray: the cluster at {self.address}; a machine joins it by `ray start --address={self.address}`"

    def look_for(self, node: str) -> None:
        """Ask it."""
        where = NodeAffinitySchedulingStrategy(self._ids[node], soft=False)
        self._asked[node] = self._present.options(num_cpus=0, scheduling_strategy=where).remote()

    def is_back(self, node: str) -> bool:
        """Whether it has answered. One that Ray says is dead has no chance to."""
        if node not in self._asked or not ray.wait([self._asked[node]], timeout=0)[0]:
            return False
        try:
            return bool(ray.get(self._asked.pop(node)))
        except RayError:
            return False

    def open(self, node: str, need: Need) -> tuple[Link, Callable[[], None]]:
        """An actor there."""
        where = NodeAffinitySchedulingStrategy(self._ids[node], soft=False)
        actor = self._actor.options(num_cpus=need.cpus, num_gpus=need.gpus, scheduling_strategy=where).remote()

        def link(name: str, *args: Any) -> Any:
            try:
                return ray.get(getattr(actor, name).remote(*args), timeout=SILENCE_S)
            except GetTimeoutError:
                raise LostError(f"no answer for {SILENCE_S:.0f} s") from None
            except RayTaskError as error:
                raise LostError(str(error.cause or error).splitlines()[0]) from error
            except RayError as error:
                raise LostError(str(error).splitlines()[0]) from error

        return link, lambda: ray.kill(actor)

    def close(self) -> None:
        """Leave it; one that was begun here ends."""
        ray.shutdown()
        if self._member is not None:
            self._member.terminate()

    def _join(self, address: str, own: str) -> None:
        """Make this machine a member without cores: a driver has to be on a member. Raises ConnectionError."""
        words = ["start", f"--address={address}", f"--node-ip-address={own}", "--num-cpus=0", "--num-gpus=0", "--block",
                 f"--object-store-memory={STORE_BYTES}", "--disable-usage-stats"]  # fmt: skip
        self._member = subprocess.Popen(
            [sys.executable, "-m", "ray.scripts.scripts", *words], stdout=sys.stderr, stderr=sys.stderr,
            preexec_fn=_end_with_parent,
        )  # fmt: skip
        until = time.monotonic() + JOIN_S
        while not _is_member(address, own):
            if self._member.poll() is not None or time.monotonic() > until:
                raise ConnectionError(f"this machine ({own}) could not join the cluster at {address}")
            time.sleep(0.5)


def _is_member(address: str, own: str) -> bool:
    """Whether a node of the cluster is on the machine with the address `own`. RuntimeError where nobody answers."""
    alive = GcsNodeInfo.GcsNodeState.ALIVE
    found = GcsClient(address=address).get_all_node_info(timeout=SILENCE_S, state_filter=alive)
    return any(node.node_manager_address == own for node in found.values())


def _end_with_parent() -> None:
    """In a process that has just begun: SIGTERM when the one that began it ends, however that happens (Linux)."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def _own_address(towards: str = "") -> str:
    """The address of this machine that others see; towards: HOST:PORT of one of them."""
    host, _, port = (towards or "192.0.2.1:9").rpartition(":")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((host, int(port)))  # sends nothing
            return str(probe.getsockname()[0])
        except OSError:
            return "127.0.0.1"
