"""Training in float16: what fp32 learns, true norms, overflowed steps left out, and nothing read back at each step."""

import copy
import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from pipeline.base.params import AugmentParams, ComputeParams, InferParams, TrainParams, parse_section
from pipeline.loop import scaling
from pipeline.loop.batches import Batches
from pipeline.loop.device import Compute, autocast_dtype, cuda_dtype, set_cudnn_benchmark
from pipeline.loop.engine import Mode, Stepper, run_model
from pipeline.loop.epoch_meter import EpochMeter, NonFiniteLossError
from pipeline.loop.memory import MicroBatches
from pipeline.loop.scaling import FIRST_SCALE, LossScaler
from pipeline.models.networks import Normalised
from pipeline.models.resnet9 import ResNet9
from pipeline.training.fold import FoldData, train_fold
from pipeline.training.optimisation import create_optimizer, fill_momentum, one_cycle

CPU = torch.device("cpu")
HALF = torch.float16
OPTIMIZERS = ("sgd", "adamw", "muon", "lamb", "madgrad")
FUSED = ("sgd", "adamw")


class Planted(nn.Module):
    """A ResNet9 whose head's gradient is infinite in the batches (from 1) that `at` names; its loss is not."""

    def __init__(self, at=()):
        super().__init__()
        torch.manual_seed(0)
        self.network, self.at, self.batch = ResNet9(num_classes=4, width=8), at, 0
        self.network.head.weight.register_hook(lambda gradient: gradient * (np.inf if self.batch in self.at else 1))

    def forward(self, images):
        self.batch += 1
        return self.network(images.float() / 64 - 2)


@pytest.fixture
def store():
    """40 images of 8 px in 4 classes, each of its own colour under noise."""
    rng = np.random.default_rng(0)
    colours = np.array([[200, 60, 60], [60, 200, 60], [60, 60, 200], [200, 200, 60]])
    images = colours[np.arange(40) % 4][:, None, None] + rng.integers(-40, 40, (40, 8, 8, 3))
    return torch.from_numpy(images.astype(np.uint8))


def batches(store, size=10):
    return Batches(store, np.arange(len(store)), np.arange(len(store)) % 4, batch_size=size, device=CPU)


def optimizer_for(model, name="sgd", rate=0.01):
    optimizer = create_optimizer(model, name, peak_lr=rate, momentum=0.9, weight_decay=0.0, fused=True)
    fill_momentum(optimizer)
    return optimizer


def trained(model, source, optimizer, *, meter=None, dtype=HALF, scaled=True, **settings):
    stepper = Stepper(optimizer, scaler=LossScaler(CPU) if scaled else None, **settings)
    outcome = run_model(model, source, Mode.TRAIN, device=CPU, dtype=dtype, stepper=stepper, meter=meter)
    return outcome, stepper


def weights_of(model):
    return [weight.detach().clone() for weight in model.parameters()]


@pytest.mark.parametrize("dtype", [None, HALF], ids=["fp32", "fp16"])
@pytest.mark.parametrize("optimizer", ["sgd", "muon"])
def test_a_fold_in_float16_learns_what_one_in_float32_does(store, optimizer, dtype):
    data = FoldData(
        fold="0", store=store, train_rows=np.arange(28), valid_rows=np.arange(28, 40), targets=np.arange(40) % 4,
        target_kind="single_label", num_classes=4,
    )  # fmt: skip
    section = {"epochs": 8, "batch_size": 14, "optimizer": optimizer, "peak_lr": 0.02, "ema_decay": 0.5}
    shipped = {"momentum": 0.9, "weight_decay": 0.0, "warmup": 0.3, "label_smoothing": 0.0, "seed": 1}
    train = parse_section(shipped | {"tta": "none", "valid_every": 8} | section, "train", TrainParams)
    augment = parse_section(
        {"crop_padding": 0, "crop_fill": "zeros", "flip": False, "cutout": 0, "policy": "none", "mixup": 0.0, "cutmix": 0.0},
        "augment", AugmentParams,
    )  # fmt: skip
    torch.manual_seed(0)
    model = Normalised(ResNet9(num_classes=4, width=8), (0.5,) * 3, (0.25,) * 3)
    how = Compute(device=CPU, dtype=dtype)
    fold = train_fold(model, data, train=train, augment=augment, compute=how, report=lambda record, outcome: None)
    assert fold.held_out.accuracy >= 0.95
    assert {weight.dtype for weight in fold.model.parameters()} == {torch.float32}


@pytest.mark.parametrize("number", [1, 2])
def test_norms_are_those_of_float32_to_rounding_whatever_the_scale(store, number):
    found = []
    for dtype, scaled in ((None, False), (HALF, True)):
        micro_batches = MicroBatches(may_cut=True, number=number)
        model = Planted()
        outcome, _ = trained(
            model, batches(store, 20), optimizer_for(model, rate=1e-9), dtype=dtype, scaled=scaled, clip_norm=1e-3,
            micro_batches=micro_batches,
        )  # fmt: skip
        found.append((outcome.gradient_norm_mean, outcome.gradient_norm_max))
    # float16 has 11 bits; a CPU without units for it rounds within sums too (AVX2 alone: 0.8 % apart)
    assert found[1] == pytest.approx(found[0], rel=2e-2)
    assert found[1] != found[0]
    assert found[0][0] > 0.1


@pytest.mark.parametrize("clip_norm", [0.0, 1.0])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_step_that_overflows_is_left_out_and_halves_the_scale(store, name, clip_norm):
    """Wherever it is: weights and moments end as if the batch had not been there, the schedule as if it had."""
    for at in (1, 3):
        model = Planted(at={at})
        optimizer = optimizer_for(model, name)
        schedule = one_cycle(optimizer, num_steps=6, warmup=0.5)
        states = []
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            meter = EpochMeter("fold 0")
            outcome, _ = trained(
                model, batches(store), optimizer, schedule=schedule, clip_norm=clip_norm, meter=meter,
                after_step=lambda model=model, states=states: states.append(weights_of(model)),
            )  # fmt: skip
        before = weights_of(Planted()) if at == 1 else states[at - 2]
        assert all(torch.equal(old, new) for old, new in zip(before, states[at - 1], strict=True))
        assert not any(torch.equal(old, new) for old, new in zip(states[at - 1][:3], states[at][:3], strict=True))
        assert all(weight.isfinite().all() for weight in model.parameters())
        assert [float(scale) for scale in meter.scales] == [FIRST_SCALE] * (at - 1) + [FIRST_SCALE / 2] * (5 - at)
        assert schedule.last_epoch == 4
        if clip_norm:
            assert len(meter.norms) == 4
            assert np.isfinite([outcome.gradient_norm_mean, outcome.gradient_norm_max]).all(), "of the steps taken"


@pytest.mark.parametrize("name", FUSED)
def test_a_first_step_left_out_leaves_no_trace_in_the_moments(name):
    """Moments end as those of a run that never had the overflow."""
    moments = []
    for overflows in (True, False):
        junk = [torch.full((64, 64), 1e30) for _ in range(50)]
        weight = nn.Parameter(torch.ones(64, 64))
        optimizer, scaler = optimizer_for(nn.ParameterList([weight]), name), LossScaler(CPU)
        del junk  # memory that is handed out again as it is
        for factor in ([np.inf] if overflows else []) + [1.0, 2.0]:
            optimizer.zero_grad()
            scaler.scale((weight * factor).sum()).backward()
            scaler.step(optimizer)
        moments.append([weight.detach(), *optimizer.state[weight].values()])
    assert all(torch.equal(*pair) for pair in zip(*moments, strict=True))


def test_gradients_that_are_never_finite_stop_the_run_at_a_named_step(store, monkeypatch):
    model = Planted(at=range(1, 100))
    last = int(np.log2(FIRST_SCALE)) + 1
    with pytest.raises(NonFiniteLossError, match=rf"fold 2: gradients are not finite at step {last}, .*to fp32"):
        trained(model, batches(store, 2), optimizer_for(model), meter=EpochMeter("fold 2"))
    assert model.batch == last + 1, "on a CPU at the next batch"
    assert all(torch.equal(old, new) for old, new in zip(weights_of(Planted()), model.parameters(), strict=True))
    fewer = Planted(at=range(1, last))
    trained(fewer, batches(store, 2), optimizer_for(fewer))


def test_a_loss_that_diverges_stops_rather_than_being_skipped(store):
    images = store.permute(0, 3, 1, 2).float()
    images[25] = torch.inf

    class Listed:
        num_images = 40

        def __iter__(self):
            return zip(images.split(10), (torch.arange(40) % 4).split(10), strict=True)

    model = Planted()
    with pytest.raises(NonFiniteLossError, match="loss is not finite at step 3, .*compute.precision to fp32"):
        trained(model, Listed(), optimizer_for(model))


@pytest.mark.parametrize("mode", [Mode.VALID, Mode.TEST])
def test_an_overflow_in_predicting_is_said_with_the_way_out(store, mode):
    class Loud(nn.Linear):
        def forward(self, images):
            return super().forward(images.float().flatten(1))

    model = Loud(192, 4)
    nn.init.constant_(model.weight, 100.0)
    source = batches(store) if mode is Mode.VALID else Batches(store, np.arange(40), None, batch_size=10, device=CPU)
    assert np.isfinite(run_model(model, source, mode, device=CPU).probs).all()
    with pytest.raises(NonFiniteLossError, match=r"(loss is|40 of 40 images are) not finite.*precision to fp32"):
        run_model(model, source, mode, device=CPU, dtype=HALF)


class Reads(TorchDispatchMode):
    """Counts values handed to Python: off the CPU each waits for the device."""

    count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.count += function is torch.ops.aten._local_scalar_dense.default
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("clip_norm", [0.0, 1.0])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_scaled_step_reads_nothing_back_with_a_fused_optimizer_and_one_value_with_others(store, name, clip_norm):
    counts = []
    for scaled in (False, True):
        model = Planted()
        stepper = Stepper(optimizer_for(model, name), clip_norm=clip_norm, scaler=LossScaler(CPU) if scaled else None)
        meter = EpochMeter()
        for _ in range(2):  # the second has moments
            loss = nn.functional.cross_entropy(model(store.permute(0, 3, 1, 2)), torch.arange(40) % 4)
            (stepper.scaler.scale(loss) if scaled else loss).backward()
            with Reads() as reads:
                stepper.step(meter)
        counts.append(reads.count)
    assert counts[1] - counts[0] == (0 if name in FUSED else 1)


def test_without_a_scaler_no_bit_is_other_than_a_plain_loop_gives(store):
    ours, plain = Planted(), Planted()
    outcome, _ = trained(ours, batches(store), optimizer_for(ours), dtype=None, scaled=False)
    optimizer = create_optimizer(plain, "sgd", peak_lr=0.01, momentum=0.9, weight_decay=0.0, fused=True)
    for images, targets in batches(store):
        optimizer.zero_grad()
        nn.functional.cross_entropy(plain(images), targets).backward()
        optimizer.step()
    assert all(torch.equal(*pair) for pair in zip(ours.parameters(), plain.parameters(), strict=True))
    assert outcome.gradient_norm_mean is None


def test_the_scale_is_kept_and_taken_up_again(store, monkeypatch):
    monkeypatch.setattr(scaling, "DOUBLED_AFTER", 2)
    model = Planted(at={1})
    _, stepper = trained(model, batches(store), optimizer_for(model))
    saved = copy.deepcopy(stepper.scaler.state_dict())
    assert (saved["scale"], saved["_growth_tracker"]) == (FIRST_SCALE, 1), "halved, doubled, and a step beyond"
    for used in (False, True):
        fresh = LossScaler(CPU)
        if used:
            fresh.scale(torch.ones(()))
        fresh.load_state_dict(saved)
        assert fresh.state_dict() == saved
        assert float(fresh.scale(torch.ones(()))) == FIRST_SCALE


def test_auto_takes_of_each_gpu_what_it_multiplies_fast():
    half = {(6, 0): "P100", (7, 0): "V100", (7, 2): "Xavier", (7, 5): "T4"}
    single = {(3, 7): "K80", (5, 2): "M40", (6, 1): "P4, GTX 1080", (6, 2): "TX2"}
    brain = {(8, 0): "A100", (8, 6): "RTX 3090", (8, 9): "L4", (9, 0): "H100", (12, 0): "RTX 5090"}
    assert {cuda_dtype(capability) for capability in half} == {HALF}
    assert {cuda_dtype(capability) for capability in single} == {None}
    assert {cuda_dtype(capability) for capability in brain} == {torch.bfloat16}


def test_auto_asks_the_card_it_computes_on(monkeypatch):
    asked = []
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: asked.append(device) or (7, 5))
    card = torch.device("cuda:1")
    assert autocast_dtype("auto", card) is HALF
    assert asked == [card]
    assert autocast_dtype("fp16", CPU) is HALF
    assert autocast_dtype("bf16", card) is torch.bfloat16
    assert autocast_dtype("fp32", card) is autocast_dtype("tf32", card) is None


def test_fp16_is_allowed_in_training_and_for_prediction_alone():
    compute = parse_section({"device": "auto", "precision": "fp16"}, "compute", ComputeParams)
    infer = parse_section({"batch_size": 8}, "infer", InferParams)
    assert infer.compute(compute).precision == "fp16"
    assert parse_section({"batch_size": 8, "precision": "fp16"}, "infer", InferParams).precision == "fp16"


def test_cudnn_searches_on_cuda_alone_and_where_shapes_are_constant(monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", False)
    set_cudnn_benchmark(CPU, constant_shapes=True)
    assert not torch.backends.cudnn.benchmark
    set_cudnn_benchmark(torch.device("cuda"), constant_shapes=True)
    assert torch.backends.cudnn.benchmark
    set_cudnn_benchmark(torch.device("cuda"), constant_shapes=False)
    assert not torch.backends.cudnn.benchmark
