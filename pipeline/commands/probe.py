"""How fast a recipe trains on this machine: a few of its steps, timed, on made-up images."""

import contextlib
import dataclasses
import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import numpy as np
import torch

from pipeline.base import allocator, console
from pipeline.base.params import AugmentParams, ComputeParams, ModelParams, TrainParams, parse_section
from pipeline.loop.device import device_named, limit_threads
from pipeline.loop.epoch_meter import Outcome
from pipeline.loop.objective import num_outputs
from pipeline.models.networks import Normalised, compute_for, create_model
from pipeline.training.fold import EpochRecord, FoldData, train_fold

MANY = 100_000
WARM_S, WARM_STEPS = 1.0, 2  # the first two steps take up to three times as long: memory, kernels made for the shapes
TIMED_S = 2.5  # longer than a hiccup of the machine
LIMIT_S = 10.0  # then the step that ends counts, whichever it is


class _EnoughError(Exception):
    """What was to be timed is timed."""


def images_per_second(
    sections: dict[str, dict[str, Any]], *, side: int, num_classes: int, target_kind: str, at_once: int
) -> float:
    """Training images of a second, all folds together, `at_once` of them as `folds` runs them.

    sections: `model`, `augment`, `train` and `compute` of params.yaml. On an accelerator one fold is timed. Folds on
    the CPU are processes of one thread, as many as there are cores; each is timed while the others run.
    """
    device = device_named(sections["compute"]["device"])
    allocator.set_environment()
    jobs = min(at_once, console.num_cores()) if device.type == "cpu" else 1
    threads = max(1, console.num_cores() // jobs)
    task = (sections, side, num_classes, target_kind, threads)
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        return sum(pool.map(_timed, [task] * jobs))


def _timed(task: tuple[dict[str, dict[str, Any]], int, int, str, int]) -> float:
    sections, side, num_classes, target_kind, threads = task
    console.end_with_parent()
    allocator.keep_freed_memory()
    limit_threads(threads)
    model = parse_section(sections["model"], "model", ModelParams)
    augment = parse_section(sections["augment"], "augment", AugmentParams)
    train = parse_section(sections["train"], "train", TrainParams)
    compute = parse_section(sections["compute"], "compute", ComputeParams)
    train = dataclasses.replace(train, epochs=MANY, valid_every=MANY)  # until the clock ends it
    rng = np.random.default_rng(0)
    count = train.batch_size  # an epoch is a step, so that the clock is looked at after each
    several = target_kind == "multi_label"
    targets = rng.integers(0, 2, (count, num_classes)) if several else rng.integers(0, num_classes, count)
    device = device_named(compute.device)
    data = FoldData(
        fold="0", store=torch.from_numpy(rng.integers(0, 256, (count, side, side, 3), dtype=np.uint8)).to(device),
        train_rows=np.arange(count), valid_rows=np.arange(2),
        targets=targets.astype(np.float32 if several else np.int64), target_kind=target_kind, num_classes=num_classes,
    )  # fmt: skip
    network = create_model(model.name, num_classes=num_outputs(target_kind, num_classes), options=model.network_options)
    how = compute_for(model.name, side, device=device, precision=compute.precision, compiled=compute.compile)
    clock = _Clock()
    with contextlib.suppress(_EnoughError):
        train_fold(
            Normalised(network, (0.5,) * 3, (0.25,) * 3), data, train=train, augment=augment, compute=how, report=clock
        )
    return clock.images / max(clock.seconds, 1e-9)


class _Clock:
    """Counts images and seconds of steps after the warm-up; ends training when it has enough."""

    def __init__(self) -> None:
        self.images, self.seconds, self._steps = 0, 0.0, 0
        self._started = time.perf_counter()

    def __call__(self, record: EpochRecord, trained: Outcome) -> None:
        self._steps += 1
        elapsed = time.perf_counter() - self._started
        if elapsed < LIMIT_S and (elapsed < WARM_S or self._steps <= WARM_STEPS):
            return
        self.images, self.seconds = self.images + trained.num_images, self.seconds + trained.seconds
        if self.seconds >= TIMED_S or elapsed > LIMIT_S:
            raise _EnoughError
