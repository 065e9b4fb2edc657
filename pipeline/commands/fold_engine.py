"""Where `folds` runs its stages: on this machine, or on the nodes of a cluster.

It decides no byte of a result, so it is an option or a variable of the environment, and neither a parameter nor a
dependency.
"""

import argparse
import math
import os
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pipeline.base import allocator
from pipeline.engines import clusters
from pipeline.engines.placement import Need
from pipeline.engines.remote import RemoteEngine

LOCAL = "local"
ENGINE, ADDRESS, GPUS, SLURM = "FOLDBOARD_ENGINE", "FOLDBOARD_ADDRESS", "FOLDBOARD_GPUS", "FOLDBOARD_SLURM"
LOG = "engine.log"


@dataclass(frozen=True)
class Where:
    """What the user chose. gpus: of a node, for each fold, where the engine is not local; options: of Slurm's jobs."""

    engine: str = LOCAL
    address: str = ""
    gpus: float = 0.0
    options: tuple[str, ...] = ()

    @property
    def is_local(self) -> bool:
        """Whether folds run on this machine."""
        return self.engine == LOCAL

    @property
    def embeds(self) -> bool:
        """Whether features are computed there too. They are done before folds begin, and the cluster is left between:
        of one that begins here, machines that had joined it would be gone.
        """
        return not self.is_local and (self.engine != "ray" or bool(self.address))

    def connect(self, *, threads: int, ranks: int, logs: Path, say: Callable[[str], None]) -> RemoteEngine:
        """The engine elsewhere, for folds of so many threads, all ranks together. Raises ValueError.

        A fold's ranks are on one node, and each has a core at least.
        """
        if 0 < self.gpus < ranks and ranks > 1:
            raise ValueError(
                f"{self.gpus:g} GPUs are too few for a fold of {ranks} ranks (compute.ranks): give --gpus {ranks}, or 0"
            )
        if self.engine == "slurm" and self.gpus % 1:
            raise ValueError(f"{self.gpus:g} GPUs a fold: Slurm gives whole ones; give --gpus 1, or 0")
        need = Need(max(threads, ranks), self.gpus)
        allocator.set_environment()  # what the environment decides is sent along
        return RemoteEngine(self.engine, self.address, need=need, log=logs / LOG, say=say, options=self.options)


HERE = Where()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `folds`."""
    names = (LOCAL, *clusters.KINDS)
    parser.add_argument("--engine", choices=names, help=f"where folds run; default: {ENGINE}, else {LOCAL}")
    parser.add_argument("--address", help=f"of the cluster, HOST:PORT or a folder; default: {ADDRESS}, else none")
    parser.add_argument(
        "--slurm-options", nargs="+", metavar="NAME=VALUE",
        help=f"of each job, as submitit and sbatch name them: partition=gpu account=me time=240; default: {SLURM}",
    )  # fmt: skip
    parser.add_argument("--gpus", type=float, help=f"of a node, for each fold; not of {LOCAL}; default: {GPUS}, else 0")


def where_of(args: argparse.Namespace) -> Where:
    """Options before the environment. Raises ValueError for an engine that cannot be used, with what to do."""
    engine = args.engine or os.environ.get(ENGINE) or LOCAL
    if engine not in (LOCAL, *clusters.KINDS):
        raise ValueError(f"{ENGINE} is {engine!r}; it must be one of {', '.join((LOCAL, *clusters.KINDS))}")
    address = args.address or os.environ.get(ADDRESS, "")
    options = args.slurm_options or (shlex.split(os.environ.get(SLURM, "")) if engine == "slurm" else [])
    if engine != LOCAL or options:
        clusters.refuse_missing(engine, address, options)
    gpus = args.gpus if args.gpus is not None else _number(os.environ.get(GPUS, "0"))
    return Where(engine, address, gpus, tuple(options))


def _number(text: str) -> float:
    try:
        found = float(text)
    except ValueError:
        found = math.nan
    if not 0 <= found < math.inf:
        raise ValueError(f"{GPUS} is {text!r}; it must be a number from 0 up")
    return found
