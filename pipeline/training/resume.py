"""A fold that was killed goes on at its last saved step, and ends with the bytes of one that was not.

A checkpoint is what torch.save writes of the train state, in a scratch folder; it is read by torch's unpickler for
tensors and plain values, which runs no code. Its name says whose it is:
<fold>-<fingerprint of all that determines the result>-<network>-<step>-<sha256 of the file>.
"""

import hashlib
import importlib.metadata
import io
import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.base import console
from pipeline.base.files import code_fingerprint, write_bytes
from pipeline.loop.device import random_state, set_random_state
from pipeline.loop.epoch_meter import EpochMeter
from pipeline.loop.memory import MicroBatches
from pipeline.loop.scaling import LossScaler
from pipeline.training.optimisation import AveragedWeights

SUFFIX = ".pt"
GENERATIONS = 2  # checkpoints kept: the newest, and the one before it should that be damaged
DIGITS = 16  # of a sha256 in a file's name
MIN_INTERVAL_S = 2.0  # seconds between saves
TIMES_COST = 33.0  # of what a save cost, until the next: at most 1 / 34 = 2.9 % of the time goes into saving
EXPECTED_RATE = 100e6  # bytes/s and
EXPECTED_S = 0.05  # seconds of a first save, before one was measured
LIBRARIES = ("torch", "numpy", "timm")  # whose versions may change the result


@dataclass(kw_only=True)
class TrainState:
    """Everything that changes while a fold trains."""

    network: nn.Module
    optimizer: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.LRScheduler
    average: AveragedWeights | None
    micro_batches: MicroBatches
    device: torch.device
    steps_per_epoch: int
    scaler: LossScaler | None = None  # for float16
    epoch: int = 1  # the one at work
    meter: EpochMeter = field(default_factory=EpochMeter)  # of that epoch
    history: list[dict[str, Any]] = field(default_factory=list)  # of the epochs before it

    @property
    def kept(self) -> nn.Module:
        """The network to validate and keep: the averaged one where there is one."""
        return self.network if self.average is None else self.average.module

    @property
    def step(self) -> int:
        """Batches that were trained on since the fold began."""
        return (self.epoch - 1) * self.steps_per_epoch + self.meter.num_steps

    def end_epoch(self, record: dict[str, Any]) -> None:
        """The epoch at work is over."""
        self.history.append(record)
        self.epoch += 1
        self.meter = EpochMeter()

    def num_bytes(self) -> int:
        """What a checkpoint will take, about: weights, their average, and as much again for each of two moments."""
        weights = sum(tensor.nbytes for tensor in _tensors(self.network).values())
        return weights * (3 if self.average is None else 4)

    def state_dict(self) -> dict[str, Any]:
        """Tensors, which are those at work and no copies, and plain values. Raises NonFiniteLossError."""
        return {
            "step": self.step,
            "epoch": self.epoch,
            "history": self.history,
            "meter": self.meter.state_dict(),
            "micro_batches": self.micro_batches.number,
            "threads": torch.get_num_threads(),
            "random": random_state(self.device),
            "network": _tensors(self.network),
            "average": None if self.average is None else _tensors(self.average.module),
            "groups": [_without_weights(group) for group in self.optimizer.param_groups],
            "optimizer": [self.optimizer.state.get(weight, {}) for weight in _weights(self.optimizer)],
            "schedule": self.schedule.state_dict(),
            "scaler": None if self.scaler is None else self.scaler.state_dict(),
        }

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Be as `state_dict` was taken, the number of threads included: sums come out in another order on more."""
        torch.set_num_threads(saved["threads"])
        self.epoch, self.history, self.micro_batches.number = saved["epoch"], saved["history"], saved["micro_batches"]
        self.meter = EpochMeter.restored(saved["meter"])
        _fill(self.network, saved["network"])
        if self.average is not None:
            _fill(self.average.module, saved["average"])
            self.average.num_steps = saved["step"]
        # not by the optimiser's load_state_dict: it would keep neither strides nor types, and fused kernels need both
        for group, values in zip(self.optimizer.param_groups, saved["groups"], strict=True):
            group.update(values)
        for weight, values in zip(_weights(self.optimizer), saved["optimizer"], strict=True):
            self.optimizer.state[weight] = values
        self.schedule.load_state_dict(saved["schedule"])
        if self.scaler is not None:
            self.scaler.load_state_dict(saved["scaler"])
        set_random_state(saved["random"], self.device)


def network_title(fold: str, network: int, networks: int) -> str:
    """What messages call it; network: from 1, of `networks` that the fold trains."""
    return f"fold {fold}" if networks == 1 else f"fold {fold} network {network}/{networks}"


class ResumeCheckpoints:
    """The checkpoints of one fold in `folder`, of this run and of earlier ones, network by network.

    ingredients: what determines the result, as JSON, beside our code and the libraries' versions. Checkpoints of the
    fold with another fingerprint are of no use to anyone, and deleted.
    """

    def __init__(self, folder: Path, fold: str, ingredients: dict[str, Any]) -> None:
        self.folder = folder
        self.fold = fold
        self.ingredients = ingredients
        self.network = 1
        self.title = ""
        self.fingerprint = ""
        self.seconds = 0.0  # spent in saving
        self.num_saves = 0
        self._due_at = float("inf")
        self._kept_step = -1
        self._complained = False

    def resume(self, state: TrainState, *, num_steps: int, network: int = 1, networks: int = 1) -> str:
        """Bring `state` to the newest sound checkpoint of this fingerprint, and say so; its file's name, or "".

        From here on checkpoints are those of `network`, from 1. Of all but the last of `networks` the state after the
        last step is saved, whenever that is: a run that is cut short in a later one goes on from there.
        """
        self.network, self.title = network, network_title(self.fold, network, networks)
        self._kept_step = num_steps if network < networks else -1
        self.fingerprint = self.fingerprint or self._found_fingerprint()
        for path in self._paths_of_fold():
            if path.name.split("-")[1] != self.fingerprint or not path.name.endswith(SUFFIX):
                path.unlink(missing_ok=True)
        found = ""
        for path in self._paths():
            try:
                self.follow(state, path.name)
            except ValueError as error:
                console.say(f"{self.title}: {error}; it is not used")
                path.unlink(missing_ok=True)
                continue
            console.say(f"{self.title}: resumed at step {state.step:,} of {num_steps:,}")
            found = path.name
            break
        self._wait(EXPECTED_S + state.num_bytes() / EXPECTED_RATE)
        return found

    def follow(self, state: TrainState, name: str) -> None:
        """Bring `state` to the checkpoint in the file of this name. Raises ValueError where that is damaged."""
        state.load_state_dict(_read(self.folder / name, state.device))

    def due(self, step: int = 0) -> bool:
        """Whether enough time has passed since the last save, or `step` is the last of a network that others follow."""
        return step == self._kept_step or time.perf_counter() >= self._due_at

    def save(self, state: TrainState) -> None:
        """Write a checkpoint. A failure costs nothing but that: it is said once, and training goes on."""
        started = time.perf_counter()
        values = state.state_dict()
        try:
            self._write(values)
        except Exception as error:  # a disk's, or whatever torch and pickle raise for an optimiser's odd values
            if not self._complained:
                console.say(f"{self.title}: the state to resume from cannot be saved ({error}); training goes on")
            self._complained = True
        cost = time.perf_counter() - started
        self.seconds += cost
        self.num_saves += 1
        self._wait(cost)

    def clear(self) -> None:
        """Delete the checkpoints of all the fold's networks: its results are written."""
        for path in self._paths_of_fold():
            path.unlink(missing_ok=True)

    def _found_fingerprint(self) -> str:
        versions = {name: _version(name) for name in LIBRARIES}
        found = json.dumps(self.ingredients | {"code": code_fingerprint(), "versions": versions}, sort_keys=True)
        return hashlib.sha256(found.encode()).hexdigest()[:DIGITS]

    def _write(self, values: dict[str, Any]) -> None:
        buffer = io.BytesIO()
        torch.save(values, buffer)
        content = buffer.getvalue()
        digest = hashlib.sha256(content).hexdigest()[:DIGITS]
        path = self.folder / f"{self._start}{values['step']:09d}-{digest}{SUFFIX}"
        write_bytes(path, content)
        try:
            _read(path, torch.device("cpu"))
        except ValueError:
            path.unlink()
            raise
        for old in self._paths()[GENERATIONS:]:
            old.unlink(missing_ok=True)

    def _wait(self, cost: float) -> None:
        self._due_at = time.perf_counter() + max(MIN_INTERVAL_S, TIMES_COST * cost)

    @property
    def _start(self) -> str:
        """Of the names of the network's files."""
        return f"{self.fold}-{self.fingerprint}-{self.network}-"

    def _paths(self) -> list[Path]:
        """The network's files in the folder, newest checkpoint first."""
        return sorted(self.folder.glob(f"{self._start}*"), reverse=True)

    def _paths_of_fold(self) -> list[Path]:
        return list(self.folder.glob(f"{self.fold}-*"))


def _read(path: Path, device: torch.device) -> dict[str, Any]:
    """What `_write` wrote, what lay on an accelerator on `device`. Raises ValueError for anything else."""
    content = path.read_bytes()
    step, digest = path.name.removesuffix(SUFFIX).split("-")[3:]
    damaged = f"the state at step {int(step):,} is damaged ({path}: "
    if hashlib.sha256(content).hexdigest()[:DIGITS] != digest:
        raise ValueError(f"{damaged}another sha256 than its name says)")

    def placed(storage: Any, location: str) -> Any:
        return torch.serialization.default_restore_location(storage, "cpu" if location == "cpu" else str(device))

    try:
        return torch.load(io.BytesIO(content), map_location=placed, weights_only=True)
    except Exception as error:  # many kinds, some of which advise to read it with code and all
        raise ValueError(f"{damaged}not only tensors and plain values, {type(error).__name__})") from None


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _tensors(module: nn.Module) -> dict[str, Tensor]:
    """Weights and buffers by name, those that `state_dict` leaves out included."""
    return {name: tensor.detach() for name, tensor in (*module.named_parameters(), *module.named_buffers())}


def _fill(module: nn.Module, tensors: dict[str, Tensor]) -> None:
    for name, tensor in _tensors(module).items():
        tensor.copy_(tensors[name])


def _weights(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    return [weight for group in optimizer.param_groups for weight in group["params"]]


def _without_weights(group: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in group.items() if name != "params"}
