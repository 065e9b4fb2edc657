"""Where nodes come from. `folder`: folders of this machine that stand for nodes; `ray`: `ray_cluster.py`; `slurm`:
`slurm_cluster.py`.
"""

import importlib
import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from pipeline.base import console
from pipeline.engines.errand import Link
from pipeline.engines.node import Node
from pipeline.engines.placement import Need, NodeState

RAY = "ray==2.60.0"  # as requirements-ray.txt has it
SLURM = "submitit==1.5.4"  # as requirements-slurm.txt has it
KINDS = ("folder", "ray", "slurm")


class Cluster(Protocol):
    """Nodes that work can be sent to."""

    def nodes(self) -> dict[str, NodeState]:
        """Those that are there now, `at_work` empty. Raises LostError where nobody answers."""

    def about(self) -> str:
        """For people: where it is."""

    def look_for(self, node: str) -> None:
        """It counts as lost: ask it whether it is there again, without a wait."""

    def is_back(self, node: str) -> bool:
        """Whether it has answered since."""

    def open(self, node: str, need: Need) -> tuple[Link, Callable[[], None]]:
        """A new `Node` there, as a link to it, and what ends it without waiting for an answer."""

    def close(self) -> None:
        """Leave it."""


class Folders:
    """Each of the folders, named with commas between them, is a node with this machine's cores."""

    def __init__(self, address: str) -> None:
        self._folders = [Path(name) for name in address.split(",")]

    def nodes(self) -> dict[str, NodeState]:
        """As many as there are folders."""
        return {str(folder): NodeState(cpus=console.num_cores()) for folder in self._folders}

    def about(self) -> str:
        """How many."""
        return f"folder: {len(self._folders)} of them stand for nodes"

    def look_for(self, node: str) -> None:
        """What failed in a folder would fail there again."""

    def is_back(self, node: str) -> bool:
        """Never."""
        return False

    def open(self, node: str, need: Need) -> tuple[Link, Callable[[], None]]:
        """In this process."""
        there = Node(str(Path(node).resolve()))

        def link(name: str, *args: Any) -> Any:
            return getattr(there, name)(*args)

        return link, there.close

    def close(self) -> None:
        """Nothing is held."""


def refuse_missing(kind: str, address: str, options: Sequence[str] = ()) -> None:
    """Raise ValueError for an engine that cannot be used here, with what to install or to name."""
    if kind == "ray" and importlib.util.find_spec("ray") is None:
        raise ValueError(f"the engine ray needs Ray: pip install {RAY} (requirements-ray.txt)")
    if kind == "slurm" and importlib.util.find_spec("submitit") is None:
        raise ValueError(f"the engine slurm needs submitit: pip install {SLURM} (requirements-slurm.txt)")
    if kind == "folder" and not address:
        raise ValueError("the engine folder needs --address FOLDER[,FOLDER…]: a folder for each node")
    if kind == "slurm":
        if not address:
            raise ValueError("the engine slurm needs --address FOLDER, on a file system that all nodes see")
        importlib.import_module("pipeline.engines.slurm_options").Options(options)
    elif options:
        raise ValueError(f"--slurm-options {' '.join(options)}: the engine is {kind}, and only slurm has jobs")


def connect(kind: str, address: str, options: Sequence[str]) -> Cluster:
    """The cluster; its libraries are imported only now."""
    if kind == "folder":
        return Folders(address)
    if kind == "slurm":
        return importlib.import_module("pipeline.engines.slurm_cluster").SlurmCluster(address, options)
    return importlib.import_module("pipeline.engines.ray_cluster").RayCluster(address)
