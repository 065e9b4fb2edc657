"""A fold that was killed goes on at its last saved step, and ends with the bytes of one that was not.

A state is a safetensors file in a scratch folder: every tensor that moves while a fold trains, and JSON for the rest.
Its name says whose it is: <fold>-<fingerprint of all that determines the result>-<step>-<sha256 of the file>.
"""

import hashlib
import importlib.metadata
import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from pipeline.base import console
from pipeline.base.files import code_fingerprint, sha256_of, write_bytes
from pipeline.loop.device import random_state, set_random_state
from pipeline.loop.epoch_meter import Tally
from pipeline.loop.memory import Parts
from pipeline.training.optimisation import AveragedWeights

SUFFIX = ".safetensors"
GENERATIONS = 2  # states kept: the newest, and the one before it should that be damaged
DIGITS = 16  # of a sha256 in a file's name
LEAST_S = 2.0  # seconds between saves at least
TIMES_COST = 33.0  # of what a save cost, until the next: at most 1 / 34 = 2.9 % of the time goes into saving
EXPECTED_RATE = 100e6  # bytes/s and
EXPECTED_S = 0.05  # seconds of a first save, before one was measured
LIBRARIES = ("torch", "numpy", "timm")  # whose versions may change the result
VALUES = "values"  # the tensor that holds the JSON, as bytes


@dataclass(kw_only=True)
class Moving:
    """Everything that changes while a fold trains."""

    network: nn.Module
    optimizer: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.LRScheduler
    average: AveragedWeights | None
    parts: Parts
    device: torch.device
    steps_per_epoch: int
    epoch: int = 1  # the one at work
    tally: Tally = field(default_factory=Tally)  # of that epoch
    history: list[dict[str, Any]] = field(default_factory=list)  # of the epochs before it

    @property
    def step(self) -> int:
        """Optimiser steps taken since the fold began."""
        return (self.epoch - 1) * self.steps_per_epoch + self.tally.num_steps

    def end_epoch(self, record: dict[str, Any]) -> None:
        """The epoch at work is over."""
        self.history.append(record)
        self.epoch += 1
        self.tally = Tally()

    def num_bytes(self) -> int:
        """What a state will take, about: weights, their average, and as much again for each of two moments."""
        weights = sum(tensor.nbytes for tensor in _tensors(self.network).values())
        return weights * (3 if self.average is None else 4)

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """(tensors, JSON values). Raises NonFiniteLossError, and TypeError for what neither can hold."""
        tensors = {f"tally.{name}": tensor for name, tensor in self.tally.state().items()}
        tensors |= {f"random.{name}": tensor for name, tensor in random_state(self.device).items()}
        tensors |= {f"network.{name}": tensor for name, tensor in _tensors(self.network).items()}
        if self.average is not None:
            tensors |= {f"average.{name}": tensor for name, tensor in _tensors(self.average.module).items()}
        states = [self.optimizer.state.get(weight, {}) for weight in _weights(self.optimizer)]
        values = {
            "epoch": self.epoch,
            "step": self.step,
            "history": self.history,
            "parts": self.parts.number,
            "threads": torch.get_num_threads(),
            "schedule": _packed(self.schedule.state_dict(), tensors),
            "groups": _packed([_without_weights(group) for group in self.optimizer.param_groups], tensors),
            "states": _packed(states, tensors),
        }
        return tensors, values

    def restore(self, tensors: dict[str, Tensor], values: dict[str, Any]) -> None:
        """Be as `state` was taken, the number of threads included: sums come out in another order on more."""
        torch.set_num_threads(values["threads"])
        self.epoch, self.history, self.parts.number = values["epoch"], values["history"], values["parts"]
        self.tally = Tally.restored(_under(tensors, "tally."), self.device)
        _fill(self.network, _under(tensors, "network."))
        if self.average is not None:
            _fill(self.average.module, _under(tensors, "average."))
            self.average.num_steps = values["step"]
        # not by the optimiser's load_state_dict: it would keep neither strides nor types, and fused kernels need both
        groups, states = (_unpacked(values[name], tensors, self.device) for name in ("groups", "states"))
        for group, saved in zip(self.optimizer.param_groups, groups, strict=True):
            group.update(saved)
        for weight, saved in zip(_weights(self.optimizer), states, strict=True):
            self.optimizer.state[weight] = saved
        self.schedule.load_state_dict(_unpacked(values["schedule"], tensors, self.device))
        set_random_state(_under(tensors, "random."), self.device)


class Saves:
    """The states of one fold in `folder`, of this run and of earlier ones.

    ingredients: what determines the result, as JSON, beside our code and the libraries' versions. States of the fold
    with another fingerprint are of no use to anyone, and deleted.
    """

    def __init__(self, folder: Path, fold: str, ingredients: dict[str, Any]) -> None:
        self.folder = folder
        self.fold = fold
        self.ingredients = ingredients
        self.fingerprint = ""
        self.seconds = 0.0  # spent in saving
        self.num_saves = 0
        self._due_at = float("inf")
        self._complained = False

    def resume(self, moving: Moving, num_steps: int) -> None:
        """Bring `moving` to the newest sound state, if there is one of this fingerprint, and say so."""
        found = json.dumps(self.ingredients | {"code": code_fingerprint(), "versions": _versions()}, sort_keys=True)
        self.fingerprint = hashlib.sha256(found.encode()).hexdigest()[:DIGITS]
        for path in self._paths():
            if path.name.split("-")[1] != self.fingerprint or not path.name.endswith(SUFFIX):
                path.unlink(missing_ok=True)
        for path in self._paths():
            try:
                moving.restore(*_read(path))
            except ValueError as error:
                console.say(f"fold {self.fold}: {error}; it is not used")
                path.unlink(missing_ok=True)
                continue
            console.say(f"fold {self.fold}: resumed at step {moving.step:,} of {num_steps:,}")
            break
        self._wait(EXPECTED_S + moving.num_bytes() / EXPECTED_RATE)

    def due(self) -> bool:
        """Whether enough time has passed since the last save."""
        return time.perf_counter() >= self._due_at

    def save(self, moving: Moving) -> None:
        """Write the state. A failure costs nothing but the state: it is said once, and training goes on."""
        started = time.perf_counter()
        try:
            self._write(*moving.state())
        except (OSError, TypeError) as error:
            if not self._complained:
                console.say(f"fold {self.fold}: the state to resume from cannot be saved ({error}); training goes on")
            self._complained = True
        cost = time.perf_counter() - started
        self.seconds += cost
        self.num_saves += 1
        self._wait(cost)

    def clear(self) -> None:
        """Delete the fold's states: its results are written."""
        for path in self._paths():
            path.unlink(missing_ok=True)

    def _write(self, tensors: dict[str, Tensor], values: dict[str, Any]) -> None:
        content = save(
            {name: _in_rows(tensor) for name, tensor in tensors.items()}
            | {VALUES: torch.frombuffer(bytearray(json.dumps(values).encode()), dtype=torch.uint8)}
        )
        digest = hashlib.sha256(content).hexdigest()[:DIGITS]
        path = self.folder / f"{self.fold}-{self.fingerprint}-{values['step']:09d}-{digest}{SUFFIX}"
        write_bytes(path, content)
        if sha256_of(path)[:DIGITS] != digest:
            path.unlink()
            raise OSError(f"{path} reads back otherwise than it was written")
        for old in self._paths()[GENERATIONS:]:
            old.unlink(missing_ok=True)

    def _wait(self, cost: float) -> None:
        self._due_at = time.perf_counter() + max(LEAST_S, TIMES_COST * cost)

    def _paths(self) -> list[Path]:
        """The fold's files in the folder, newest state first."""
        return sorted(self.folder.glob(f"{self.fold}-*"), key=lambda path: path.name.split("-")[2:], reverse=True)


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    content = path.read_bytes()
    step, digest = path.name.removesuffix(SUFFIX).split("-")[2:]
    if hashlib.sha256(content).hexdigest()[:DIGITS] != digest:
        raise ValueError(f"the state at step {int(step):,} is damaged ({path}: another sha256 than its name says)")
    try:
        tensors = load(content)
    except SafetensorError as error:
        raise ValueError(f"the state at step {int(step):,} is damaged ({path}: {error})") from error
    return tensors, json.loads(tensors.pop(VALUES).numpy().tobytes())


def _versions() -> dict[str, str | None]:
    return {name: _version(name) for name in LIBRARIES}


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _tensors(module: nn.Module) -> dict[str, Tensor]:
    """Weights and buffers by name, those that `state_dict` leaves out included."""
    return dict(module.named_parameters()) | dict(module.named_buffers())


def _packed(value: Any, tensors: dict[str, Tensor]) -> Any:
    """`value` as JSON, its tensors put among `tensors`. Raises TypeError for what is neither."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Tensor):
        name = f"packed.{len(tensors)}"
        tensors[name] = value
        return {"tensor": name, "strides": value.stride(), "on_cpu": value.device.type == "cpu"}
    if isinstance(value, dict):
        return {"dict": [[key, _packed(part, tensors)] for key, part in value.items()]}
    if isinstance(value, list | tuple):
        return {type(value).__name__: [_packed(part, tensors) for part in value]}
    raise TypeError(f"the optimiser or the schedule keeps a {type(value).__name__}")


def _unpacked(packed: Any, tensors: dict[str, Tensor], device: torch.device) -> Any:
    """The value that `_packed` took, its tensors on the device and in the memory order they had."""
    if not isinstance(packed, dict):
        return packed
    if "tensor" in packed:
        stored = tensors[packed["tensor"]]
        place = torch.device("cpu") if packed["on_cpu"] else device
        return torch.empty_strided(stored.shape, packed["strides"], dtype=stored.dtype, device=place).copy_(stored)
    if "dict" in packed:
        return {key: _unpacked(part, tensors, device) for key, part in packed["dict"]}
    (kind, parts), *_ = packed.items()
    return (tuple if kind == "tuple" else list)(_unpacked(part, tensors, device) for part in parts)


def _in_rows(tensor: Tensor) -> Tensor:
    """A copy on the CPU as files hold it."""
    return tensor.detach().cpu().clone(memory_format=torch.contiguous_format)


def _fill(module: nn.Module, tensors: dict[str, Tensor]) -> None:
    with torch.no_grad():
        for name, tensor in _tensors(module).items():
            tensor.copy_(tensors[name])


def _under(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _weights(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    return [weight for group in optimizer.param_groups for weight in group["params"]]


def _without_weights(group: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in group.items() if name != "params"}
