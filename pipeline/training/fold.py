"""One fold from start to end: train on its training part, predict the part held out."""

import dataclasses
import functools
import gc
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.base.params import AugmentParams, TrainParams
from pipeline.loop.batches import Batches, epoch_order
from pipeline.loop.device import Compute, set_cudnn_benchmark
from pipeline.loop.engine import BatchSource, Mode, Stepper, run_model
from pipeline.loop.epoch_meter import EpochMeter, Outcome
from pipeline.loop.memory import MicroBatches
from pipeline.loop.objective import Objective, objective_for
from pipeline.loop.scaling import LossScaler
from pipeline.loop.streams import seed_torch
from pipeline.models.checkpoint import on_device
from pipeline.models.networks import Ensemble, Normalised, OnFeatures, compile_forward, predictor
from pipeline.training.augment import TURNED_BY, Augmentation
from pipeline.training.balance import class_weights, drawn_order, expected_draws
from pipeline.training.mixing import Mixed, Mixing
from pipeline.training.optimisation import AveragedWeights, create_optimizer, fill_momentum, one_cycle
from pipeline.training.progressive import Resized, epoch_side
from pipeline.training.resume import ResumeCheckpoints, TrainState, network_title

if TYPE_CHECKING:
    from pipeline.training.peers import Peers  # imported by who has some


@dataclass(frozen=True, kw_only=True)
class FoldData:
    """What a fold trains on and what it holds out."""

    fold: str
    store: Tensor  # (N, S, S, 3) uint8
    train_rows: np.ndarray  # row numbers
    valid_rows: np.ndarray
    targets: np.ndarray  # a row for each row of the store, as `objective_for(target_kind)` takes them
    target_kind: str
    num_classes: int


@dataclass(frozen=True, kw_only=True)
class EpochRecord:
    """One row of data/history/k.csv; losses are means over images, in nats."""

    fold: str
    network: int  # from 1, of the `train.seeds` that the fold trains
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
    """What train_fold and train_networks give."""

    model: Normalised | OnFeatures  # on the CPU; the averaged weights where there are any
    history: list[EpochRecord]
    held_out: Outcome  # of the images held out, predicted as the test set will be


def train_networks(
    create: Callable[[int], Normalised],
    data: FoldData,
    *,
    train: TrainParams,
    augment: AugmentParams,
    compute: Compute,
    report: Callable[[EpochRecord, Outcome], None],
    checkpoints: ResumeCheckpoints | None = None,
    peers: "Peers | None" = None,
) -> TrainedFold:
    """`train.seeds` networks, each as `train_fold` trains it with its own seed, and what they predict together.

    create(seed): a network with the first weights of that seed. Those that are trained wait on the CPU. The history has
    the rows of all, one network after the other. peers: the processes that do this together; all get what one would.
    """
    parts = []
    for number in range(train.seeds):
        one = dataclasses.replace(train, seed=train.seed + number)
        parts.append(
            train_fold(
                create(one.seed), data, train=one, augment=augment, compute=compute, report=report,
                checkpoints=checkpoints, network=1 + number, peers=peers,
            )
        )  # fmt: skip
        if compute.device.type != "cpu":  # what a GPU holds of it hangs in cycles, at least where weights are averaged
            gc.collect()
    if train.seeds == 1:
        return parts[0]
    objective = objective_of(data, train)
    model = Normalised(
        Ensemble([part.model.network for part in parts], objective), parts[0].model.mean, parts[0].model.std
    )
    on_device(model, compute.device)
    if compute.compiled:
        compile_forward(model, device=compute.device)
    held_out = run_model(
        predictor(model, objective, train.tta), _valid_batches(data, train, compute, peers), Mode.VALID,
        device=compute.device, dtype=compute.dtype, objective=objective,
        meter=EpochMeter(f"fold {data.fold} held out"), ranks=peers,
    )  # fmt: skip
    return TrainedFold(model.cpu(), [record for part in parts for record in part.history], held_out)


def train_fold(
    model: Normalised,
    data: FoldData,
    *,
    train: TrainParams,
    augment: AugmentParams,
    compute: Compute,
    report: Callable[[EpochRecord, Outcome], None],
    checkpoints: ResumeCheckpoints | None = None,
    network: int = 1,
    peers: "Peers | None" = None,
) -> TrainedFold:
    """Train for `train.epochs` and keep the last weights (choosing an epoch by its score would flatter the score).

    One network, by `train.seed` alone; network: which of the fold's it is called, from 1, of `train.seeds`.
    Every random number derives from (seed, fold, epoch): on a CPU with as many threads, the same arguments give
    the same bytes. With `checkpoints` it goes on where an earlier run of the same fold was cut short.
    peers: as of `train_networks`; the first of them saves the state of all. Raises NonFiniteLossError,
    OutOfMemoryError, and ValueError for batches of fewer images than peers.
    """
    set_cudnn_benchmark(compute.device, constant_shapes=train.start_side == 0)
    valid = _valid_batches(data, train, compute, peers)
    num_steps = Batches(
        data.store, data.train_rows, None, batch_size=train.batch_size, device=compute.device, pairs=True
    ).num_batches
    on_device(model, compute.device)
    if peers is not None:
        peers.join(model, smallest=min(len(data.train_rows) // num_steps, valid.num_images // valid.num_batches))
    state = _first_state(model, num_steps, train, compute)
    if checkpoints is not None:
        _resume(state, checkpoints, train, network, peers)
    stepper = _stepper(state, checkpoints if peers is None or peers.first else None, train.clip_norm)
    objective = objective_of(data, train)
    one_pass = functools.partial(
        run_model, device=compute.device, dtype=compute.dtype, objective=objective, ranks=peers
    )
    for epoch in range(state.epoch, train.epochs + 1):
        title = f"{network_title(data.fold, network, train.seeds)} epoch {epoch}/{train.epochs}"
        if state.meter.num_steps == 0:  # else the generator goes on from where it was
            seed_torch("epoch", train.seed, int(data.fold), epoch)
        state.meter.title = title
        batches = _train_batches(model, data, train, augment, state, peers)
        trained = one_pass(state.network, batches, Mode.TRAIN, stepper=stepper, meter=state.meter)
        validated = None
        if epoch == train.epochs:
            final = predictor(state.kept, objective, train.tta)
            validated = held_out = one_pass(final, valid, Mode.VALID, meter=EpochMeter(f"{title} held out"))
        elif epoch % train.valid_every == 0:
            validated = one_pass(state.kept, valid, Mode.VALID, meter=EpochMeter(f"{title} valid"))
        record = _record(data.fold, network, epoch, stepper.learning_rate, trained, validated)
        state.end_epoch(dataclasses.asdict(record))
        report(record, trained)
    history = [EpochRecord(**record) for record in state.history]
    return TrainedFold(state.kept.cpu(), history, held_out)  # type: ignore[arg-type]  # a copy of Normalised is one


def _resume(
    state: TrainState, checkpoints: ResumeCheckpoints, train: TrainParams, network: int, peers: "Peers | None"
) -> None:
    """Where an earlier run left it; with peers, where the first of them finds that to be."""
    found = ""
    if peers is None or peers.first:
        found = checkpoints.resume(
            state, num_steps=train.epochs * state.steps_per_epoch, network=network, networks=train.seeds
        )
    if peers is not None and (found := peers.told(f"network {network} goes on from", found)) and not peers.first:
        checkpoints.follow(state, found)


def _valid_batches(data: FoldData, train: TrainParams, compute: Compute, peers: "Peers | None") -> Batches:
    return Batches(
        data.store, data.valid_rows, data.targets[data.valid_rows], batch_size=2 * train.batch_size,
        device=compute.device, wanted=None if peers is None else peers.wanted(),
    )  # fmt: skip


def _first_state(network: nn.Module, steps_per_epoch: int, train: TrainParams, compute: Compute) -> TrainState:
    optimizer = create_optimizer(
        network, train.optimizer, peak_lr=train.peak_lr, momentum=train.momentum, weight_decay=train.weight_decay,
        bias_lr=train.bias_lr, layer_decay=train.layer_decay, fused=compute.device.type != "mps",
    )  # fmt: skip
    state = TrainState(
        network=network,
        optimizer=optimizer,
        schedule=one_cycle(optimizer, num_steps=train.epochs * steps_per_epoch, warmup=train.warmup),
        average=AveragedWeights(network, train.ema_decay) if train.ema_decay else None,
        micro_batches=MicroBatches(may_cut=train.fit_memory),
        device=compute.device,
        steps_per_epoch=steps_per_epoch,
        scaler=LossScaler(compute.device) if compute.dtype is torch.float16 else None,
    )
    if state.scaler is not None:
        fill_momentum(optimizer)
    if compute.compiled:
        compile_forward(*{network, state.kept}, device=compute.device)
    return state


def _stepper(state: TrainState, checkpoints: ResumeCheckpoints | None, clip_norm: float) -> Stepper:
    def after_step() -> None:
        if state.average is not None:
            state.average()
        if checkpoints is not None and checkpoints.due(state.step):
            checkpoints.save(state)

    return Stepper(state.optimizer, state.schedule, after_step, clip_norm, state.micro_batches, state.scaler)


def _train_batches(
    model: Normalised, data: FoldData, train: TrainParams, augment: AugmentParams, state: TrainState,
    peers: "Peers | None",
) -> BatchSource:  # fmt: skip
    """The epoch at work, from its next step on."""
    key = (train.seed, int(data.fold), state.epoch)
    order = _epoch_order(data, train, state.epoch)
    rows = data.train_rows[order]
    turned = None
    if isinstance(augment.flip, str):
        turned = TURNED_BY[augment.flip](order, seed=key[0], fold=key[1], epoch=key[2])
    transform = Augmentation(
        crop_scale=augment.crop_scale, crop_padding=augment.crop_padding, crop_fill=augment.crop_fill,
        flip=augment.flip is True, turned=turned, cutout=augment.cutout, policy=augment.policy,
        fill=tuple(round(255 * channel) for channel in model.mean), key=key,
    )  # fmt: skip
    mixing = Mixing(mixup=augment.mixup, cutmix=augment.cutmix, num_classes=data.num_classes, key=key)
    batches = Batches(
        data.store, rows, data.targets[rows], batch_size=train.batch_size, device=state.device, transform=transform,
        pairs=True, skip=state.meter.num_steps,
        wanted=None if peers is None else peers.wanted(mixing.partners if mixing.alphas else None),
    )  # fmt: skip
    mixed = Mixed(batches, mixing) if mixing.alphas else batches
    side = epoch_side(state.epoch, train.epochs, start=train.start_side, full=data.store.shape[1])
    source = mixed if side == data.store.shape[1] else Resized(mixed, side)
    return source if peers is None else peers.with_own_draws(source, key, first=state.meter.num_steps)


def objective_of(data: FoldData, train: TrainParams) -> Objective:
    """What the fold's target and `train` ask for, with class weights by the images to train on."""
    weights = None
    if train.class_weights != "none":
        targets = data.targets[data.train_rows]
        weights = class_weights(targets, data.num_classes, train.class_weights, draws=_draws(data, train))
    return objective_for(
        data.target_kind, train.label_smoothing, loss=train.loss, focal_gamma=train.focal_gamma, class_weights=weights
    )


def _epoch_order(data: FoldData, train: TrainParams, epoch: int) -> np.ndarray:
    """Positions in `data.train_rows`, as many as there are."""
    key = {"seed": train.seed, "fold": int(data.fold), "epoch": epoch}
    draws = _draws(data, train)
    return epoch_order(len(data.train_rows), **key) if draws is None else drawn_order(draws, **key)


def _draws(data: FoldData, train: TrainParams) -> np.ndarray | None:
    """How often each image to train on is drawn; None: once."""
    if train.sampling == "none":
        return None
    return expected_draws(data.targets[data.train_rows], data.num_classes, train.sampling)


def _record(
    fold: str, network: int, epoch: int, learning_rate: float, trained: Outcome, validated: Outcome | None
) -> EpochRecord:
    assert trained.loss is not None and trained.accuracy is not None
    return EpochRecord(
        fold=fold,
        network=network,
        epoch=epoch,
        learning_rate=learning_rate,
        train_loss=trained.loss,
        train_accuracy=trained.accuracy,
        valid_loss=None if validated is None else validated.loss,
        valid_accuracy=None if validated is None else validated.accuracy,
        gradient_norm_mean=trained.gradient_norm_mean,
        gradient_norm_max=trained.gradient_norm_max,
    )
