"""The shared loop's properties."""

import copy

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from pipeline.loop import batches as batches_module
from pipeline.loop import engine
from pipeline.loop.batches import Batches
from pipeline.loop.engine import Mode, Stepper, run_model
from pipeline.loop.epoch_meter import EpochMeter, NonFiniteLossError
from pipeline.loop.objective import CrossEntropy
from pipeline.models.networks import Normalised, predictor
from pipeline.models.resnet9 import ResNet9
from pipeline.training import augment, autoaugment, mixing
from pipeline.training.mixing import Mixed, Mixing

CPU = torch.device("cpu")
NUM_IMAGES = 103


class Listed:
    """Ready-made batches, as a test wants them."""

    def __init__(self, batches, num_images):
        self.batches = batches
        self.num_images = num_images

    def __iter__(self):
        return iter(self.batches)


class Untouchable:
    """A target that must not be looked at."""

    def __getattr__(self, name):
        raise AssertionError(f"TEST touched the targets: {name}")


@pytest.fixture
def store():
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (NUM_IMAGES, 8, 8, 3), generator=generator, dtype=torch.uint8)


@pytest.fixture
def model():
    torch.manual_seed(0)
    return Normalised(ResNet9(num_classes=4, width=8), (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))


def targets():
    return np.arange(NUM_IMAGES) % 4


def batches(store, size, labelled=True):
    labels = targets() if labelled else None
    return Batches(store, np.arange(NUM_IMAGES), labels, batch_size=size, device=CPU)


@pytest.mark.parametrize("size", [1, 7, 50, NUM_IMAGES])
def test_results_do_not_depend_on_the_batch_size(store, model, size):
    whole = run_model(model, batches(store, NUM_IMAGES), Mode.VALID, device=CPU)
    got = run_model(model, batches(store, size), Mode.VALID, device=CPU)
    assert got.loss == pytest.approx(whole.loss, abs=1e-6)
    assert got.accuracy == whole.accuracy
    assert np.abs(got.probs - whole.probs).max() < 1e-6


def test_loss_is_the_mean_over_images_and_accuracy_is_scikit_learns(store, model):
    outcome = run_model(model, batches(store, 10), Mode.VALID, device=CPU)
    model.eval()
    with torch.no_grad():
        logits = model(store.permute(0, 3, 1, 2))
    expected = nn.functional.cross_entropy(logits, torch.from_numpy(targets()))
    assert outcome.loss == pytest.approx(float(expected), rel=1e-5)
    assert outcome.accuracy == accuracy_score(targets(), outcome.probs.argmax(axis=1))
    assert outcome.accuracy == accuracy_score(targets(), logits.argmax(dim=1))


def test_an_uneven_last_batch_counts_by_its_images(store, model):
    images, labels = store.permute(0, 3, 1, 2), torch.from_numpy(targets())
    uneven = Listed([(images[:100], labels[:100]), (images[100:], labels[100:])], NUM_IMAGES)
    whole = run_model(model, batches(store, NUM_IMAGES), Mode.VALID, device=CPU)
    assert run_model(model, uneven, Mode.VALID, device=CPU).loss == pytest.approx(whole.loss, abs=1e-6)


@pytest.mark.parametrize("mode", [Mode.VALID, Mode.TEST])
@pytest.mark.parametrize("left_in", [True, False])
def test_valid_and_test_leave_the_state_bit_identical(store, model, mode, left_in):
    model.train(left_in)
    before = copy.deepcopy(model.state_dict())
    run_model(model, batches(store, 7, labelled=mode is Mode.VALID), mode, device=CPU)
    after = model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_test_never_touches_targets(store, model):
    images = store.permute(0, 3, 1, 2)
    trapped = Listed([(part, Untouchable()) for part in images.split(20)], NUM_IMAGES)
    outcome = run_model(model, trapped, Mode.TEST, device=CPU)
    assert outcome.loss is None
    assert outcome.accuracy is None


def test_test_keeps_order_and_gives_probabilities(store, model):
    order = np.random.default_rng(0).permutation(NUM_IMAGES)
    straight = run_model(model, batches(store, 9, labelled=False), Mode.TEST, device=CPU)
    shuffled = run_model(model, Batches(store, order, None, batch_size=13, device=CPU), Mode.TEST, device=CPU)
    assert np.abs(straight.probs[order] - shuffled.probs).max() < 1e-6
    assert straight.probs.dtype == np.float32
    assert np.abs(straight.probs.sum(axis=1) - 1).max() < 1e-6


def test_train_moves_weights_and_statistics_and_reports_the_loss_before_each_step(store, model):
    before = copy.deepcopy(model.state_dict())
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-12)
    outcome = run_model(model, batches(store, NUM_IMAGES), Mode.TRAIN, device=CPU, stepper=Stepper(optimizer))
    model.train()
    expected = nn.functional.cross_entropy(model(store.permute(0, 3, 1, 2)), torch.from_numpy(targets()))
    assert outcome.loss == pytest.approx(expected.item(), rel=1e-5)
    changed = {name for name, value in model.state_dict().items() if not torch.equal(before[name], value)}
    assert any("running_mean" in name for name in changed)
    assert outcome.probs is None


def test_the_schedule_moves_by_step_and_after_the_optimizer(store, model):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 / (step + 1))
    calls = []
    stepper = Stepper(optimizer, schedule, after_step=lambda: calls.append(stepper.learning_rate))
    run_model(model, batches(store, 20), Mode.TRAIN, device=CPU, stepper=stepper)
    assert calls == pytest.approx([0.1 / n for n in (2, 3, 4, 5, 6, 7)])


def test_modes_and_steppers_must_fit(store, model):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(ValueError, match="TRAIN takes one, other modes take none"):
        run_model(model, batches(store, 7), Mode.VALID, device=CPU, stepper=Stepper(optimizer))
    with pytest.raises(ValueError, match="TRAIN takes one, other modes take none"):
        run_model(model, batches(store, 7), Mode.TRAIN, device=CPU)


def test_no_images_is_an_error_not_a_score_of_nothing(model):
    with pytest.raises(ValueError, match="no images"):
        run_model(model, Listed([], 0), Mode.VALID, device=CPU)


@pytest.mark.parametrize("poison", [float("nan"), float("inf")])
def test_a_non_finite_loss_stops_with_step_and_rate(store, model, poison):
    images, labels = store.permute(0, 3, 1, 2).float(), torch.from_numpy(targets())
    spoilt = images.clone()
    spoilt[45] = poison  # in the third batch of 20
    parts = Listed(list(zip(spoilt.split(20), labels.split(20), strict=True)), NUM_IMAGES)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0125)
    with pytest.raises(
        NonFiniteLossError, match=r"fold 2 epoch 5/9: loss is not finite at step 3, learning rate 0.0125"
    ):
        run_model(
            model, parts, Mode.TRAIN, device=CPU, stepper=Stepper(optimizer), meter=EpochMeter("fold 2 epoch 5/9")
        )


def test_bfloat16_autocast_gives_float32_probabilities_near_the_float32_ones(store, model):
    exact = run_model(model, batches(store, 20), Mode.VALID, device=CPU)
    rough = run_model(model, batches(store, 20), Mode.VALID, device=CPU, dtype=torch.bfloat16)
    assert rough.probs.dtype == np.float32
    assert np.abs(rough.probs.sum(axis=1) - 1).max() < 1e-6, "softmax was taken in float32"
    assert np.abs(rough.probs - exact.probs).max() < 0.05


def test_each_way_of_averaging_views_is_the_mean_of_their_probabilities(store, model):
    straight = run_model(model, batches(store, 20), Mode.VALID, device=CPU)
    mirrored = run_model(model, batches(store.flip(2), 20), Mode.VALID, device=CPU)
    both = run_model(predictor(model, CrossEntropy(), "mirror"), batches(store, 20), Mode.VALID, device=CPU)
    assert np.abs(both.probs - (straight.probs + mirrored.probs) / 2).max() < 1e-6
    padded = np.pad(store.numpy(), ((0, 0), (1, 1), (1, 1), (0, 0)), mode="reflect")
    views = [torch.from_numpy(moved.copy()) for moved in (padded[:, :-2, :-2], padded[:, 2:, 2:])]
    moved = [run_model(model, batches(v, 20), Mode.VALID, device=CPU).probs for x in views for v in (x, x.flip(2))]
    all_views = run_model(predictor(model, CrossEntropy(), "mirror_shift"), batches(store, 20), Mode.VALID, device=CPU)
    assert np.abs(all_views.probs - (both.probs + sum(moved) / 4) / 2).max() < 1e-6
    three = run_model(predictor(model, CrossEntropy(), "shift"), batches(store, 20), Mode.VALID, device=CPU)
    assert np.abs(three.probs - (2 * straight.probs + moved[0] + moved[2]) / 4).max() < 1e-6
    turns = [torch.from_numpy(np.rot90(store.numpy(), by, (1, 2)).copy()) for by in range(4)]
    turned = [
        run_model(model, batches(view, 20), Mode.VALID, device=CPU).probs for x in turns for view in (x, x.flip(2))
    ]
    all_ways = run_model(predictor(model, CrossEntropy(), "dihedral"), batches(store, 20), Mode.VALID, device=CPU)
    assert np.abs(all_ways.probs - sum(turned) / 8).max() < 1e-6
    assert predictor(model, CrossEntropy(), "none") is model


@pytest.mark.parametrize("mode", list(Mode))
def test_the_loop_waits_for_nothing_within_an_epoch_off_the_cpu(store, model, mode):
    """A tensor on the meta device has no values: reading one raises. All batches must be through before that."""
    meta, seen = torch.device("meta"), []

    def on_meta():
        for images, labels in zip(
            store.permute(0, 3, 1, 2).split(20), torch.from_numpy(targets()).split(20), strict=True
        ):
            seen.append(len(images))
            yield images.to(meta), labels.to(meta)

    model = model.to(meta)
    stepper = Stepper(torch.optim.SGD(model.parameters(), lr=0.1)) if mode is Mode.TRAIN else None
    with pytest.raises((NotImplementedError, RuntimeError), match=r"no data|meta"):
        run_model(model, Listed(on_meta(), NUM_IMAGES), mode, device=meta, stepper=stepper)
    assert sum(seen) == NUM_IMAGES


class Watch(TorchDispatchMode):
    """Counts copies from the CPU to the meta device, and notes tensors of 64-bit floats there."""

    def __init__(self):
        super().__init__()
        self.copies = 0
        self.doubles = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor) and result.device.type == "meta":
            came = [arg for arg in args if isinstance(arg, torch.Tensor) and arg.device.type == "cpu" and arg.ndim]
            self.copies += function.overloadpacket is torch.ops.aten._to_copy and bool(came)
            if result.dtype is torch.float64:
                self.doubles.append(function)
        return result


@pytest.mark.parametrize("resident", [True, False])
@pytest.mark.parametrize("policy", ["none", "autoaugment", "trivialaugment"])
def test_an_epoch_off_the_cpu_reads_nothing_back_sends_by_to_device_alone_and_has_no_float64(
    store, model, monkeypatch, policy, resident
):
    """The whole TRAIN path on the meta device, whose tensors have no values; MPS has no float64."""
    meta, sends, steps = torch.device("meta"), [], []

    def counted(tensor, device):
        sends.append(tensor.device != device)
        return send(tensor, device)

    send = engine.to_device
    for module in (augment, batches_module, engine, mixing, autoaugment):
        monkeypatch.setattr(module, "to_device", counted)
    model = model.to(meta)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    source = store.repeat(7, 1, 1, 1)  # two chunks
    rows = np.arange(len(source))
    with Watch() as watch:
        train = Batches(
            source.to(meta) if resident else source, rows, rows % 4, batch_size=100, device=meta,
            transform=augment.Augmentation(crop_padding=2, crop_fill="zeros", flip=True, cutout=3, policy=policy),
        )  # fmt: skip
        train.chunks_at_once = 2 if resident else 1
        mixed = Mixed(train, Mixing(mixup=0.4, cutmix=1.0, num_classes=4)) if policy == "none" else train
        watch.copies = 0
        sends.clear()
        with pytest.raises((NotImplementedError, RuntimeError), match=r"no data|meta"):
            stepper = Stepper(optimizer, after_step=lambda: steps.append(None), clip_norm=1.0)
            run_model(model, mixed, Mode.TRAIN, device=meta, stepper=stepper)
    assert len(steps) == train.num_batches, "only the end of the epoch asked for values"
    assert watch.copies == sum(sends) > 0
    assert watch.doubles == []
