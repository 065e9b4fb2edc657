"""One fold from start to end: train on its training part, predict the part held out."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pipeline.loop.batches import Batches, epoch_order
from pipeline.loop.engine import Mode, run_model
from pipeline.loop.epoch_meter import Outcome
from pipeline.loop.memory import Parts
from pipeline.loop.objective import objective_for
from pipeline.loop.streams import seed_torch
from pipeline.models.checkpoint import on_device
from pipeline.models.networks import MirrorAveraged, Normalised, compile_forward
from pipeline.training.augment import Augmentation
from pipeline.training.mixing import Mixed, Mixing
from pipeline.training.optimisation import averaging, create_optimizer, one_cycle
from pipeline.training.resume import Moving, Saves


@dataclass(frozen=True, kw_only=True)
class EpochRecord:
    """One row of data/history/k.csv; losses are means over images, in nats."""

    fold: str
    epoch: int  # from 1
    learning_rate: float  # at the epoch's last step
    train_loss: float  # with label smoothing, on augmented images, while weights move
    train_accuracy: float
    valid_loss: float | None  # None where this epoch was not validated
    valid_accuracy: float | None
    gradient_norm_mean: float | None = None  # over the epoch's steps, before clipping; None without clipping
    gradient_norm_max: float | None = None


@dataclass(frozen=True)
class TrainedFold:
    """What train_fold gives."""

    model: Normalised  # on the CPU; the averaged weights where there are any
    history: list[EpochRecord]
    held_out: Outcome  # of the images held out, predicted as the test set will be


def train_fold(
    model: Normalised,
    store: Tensor,
    *,
    fold: str,
    train_rows: np.ndarray,
    valid_rows: np.ndarray,
    targets: np.ndarray,
    target_kind: str,
    augmentation: dict[str, Any],
    mixing: dict[str, Any],
    seed: int,
    epochs: int,
    batch_size: int,
    optimizer: str,
    peak_lr: float,
    momentum: float,
    weight_decay: float,
    warmup: float,
    label_smoothing: float,
    ema_decay: float,
    flip_tta: bool,
    valid_every: int,
    clip_norm: float,
    fit_memory: bool,
    device: torch.device,
    dtype: torch.dtype | None,
    compiled: bool,
    report: Callable[[EpochRecord, Outcome], None],
    saves: Saves | None = None,
) -> TrainedFold:
    """Train for `epochs` and keep the last weights (choosing an epoch by its score would flatter the score).

    store (N, S, S, 3) uint8; train_rows, valid_rows: row numbers; targets: a row for each row of
    the store, as `objective_for(target_kind)` takes them.
    mixing: arguments of `Mixing`, empty = images are not mixed.
    Every random number derives from (seed, fold, epoch): on a CPU with as many threads, the same arguments give
    the same bytes. With `saves` it goes on where an earlier run of the same fold was cut short.
    Raises NonFiniteLossError and OutOfMemoryError.
    """
    network = on_device(model, device)
    objective = objective_for(target_kind, label_smoothing)
    moves = create_optimizer(
        network, optimizer, peak_lr=peak_lr, momentum=momentum, weight_decay=weight_decay, fused=device.type != "mps"
    )
    steps_per_epoch = Batches(store, train_rows, None, batch_size=batch_size, device=device, pairs=True).num_batches
    num_steps = epochs * steps_per_epoch
    schedule = one_cycle(moves, num_steps=num_steps, warmup=warmup)
    kept, average = averaging(network, ema_decay)
    if compiled:
        compile_forward(*{network, kept}, device=device)
    valid = Batches(store, valid_rows, targets[valid_rows], batch_size=2 * batch_size, device=device)
    loop: dict[str, Any] = {"device": device, "dtype": dtype, "objective": objective}
    moving = Moving(
        network=network,
        optimizer=moves,
        schedule=schedule,
        average=average,
        parts=Parts(may_cut=fit_memory),
        device=device,
        steps_per_epoch=steps_per_epoch,
    )
    if saves is not None:
        saves.resume(moving, num_steps)

    def after_step() -> None:
        if average is not None:
            average()
        if saves is not None and saves.due():
            saves.save(moving)

    for epoch in range(moving.epoch, epochs + 1):
        key = (seed, int(fold), epoch)
        if moving.tally.num_steps == 0:  # else the generator goes on from where it was
            seed_torch("epoch", *key)
        rows = train_rows[epoch_order(len(train_rows), seed=seed, fold=int(fold), epoch=epoch)]
        transform = Augmentation(**augmentation, key=key)
        train = Batches(
            store, rows, targets[rows], batch_size=batch_size, device=device, transform=transform, pairs=True,
            skip=moving.tally.num_steps,
        )  # fmt: skip
        source = Mixed(train, Mixing(**mixing, key=key)) if mixing else train
        title = f"fold {fold} epoch {epoch}/{epochs}"
        trained = run_model(
            network, source, Mode.TRAIN, optimizer=moves, schedule=schedule, after_step=after_step, clip_norm=clip_norm,
            parts=moving.parts, tally=moving.tally, title=title, **loop,
        )  # fmt: skip
        validated = None
        if epoch % valid_every == 0 and epoch < epochs:
            validated = run_model(kept, valid, Mode.VALID, title=f"{title} valid", **loop)
        if epoch == epochs:
            predictor = MirrorAveraged(kept, objective) if flip_tta else kept
            validated = held_out = run_model(predictor, valid, Mode.VALID, title=f"{title} held out", **loop)
        record = _record(fold, epoch, float(moves.param_groups[0]["lr"]), trained, validated)
        moving.end_epoch(dataclasses.asdict(record))
        report(record, trained)
    history = [EpochRecord(**record) for record in moving.history]
    return TrainedFold(kept.cpu(), history, held_out)  # type: ignore[arg-type]  # a copy of Normalised is one


def _record(fold: str, epoch: int, learning_rate: float, trained: Outcome, validated: Outcome | None) -> EpochRecord:
    assert trained.loss is not None and trained.accuracy is not None
    return EpochRecord(
        fold=fold,
        epoch=epoch,
        learning_rate=learning_rate,
        train_loss=trained.loss,
        train_accuracy=trained.accuracy,
        valid_loss=None if validated is None else validated.loss,
        valid_accuracy=None if validated is None else validated.accuracy,
        gradient_norm_mean=trained.gradient_norm_mean,
        gradient_norm_max=trained.gradient_norm_max,
    )
