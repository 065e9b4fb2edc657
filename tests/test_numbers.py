"""Numbers that go wrong: clipping, classes and images that are not there, memory that runs out, disks that are full."""

import errno
import os
import resource
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import competition_files, csv_bytes, write_zip
from torch import nn

from pipeline.base.files import read_history, whole_file, write_bytes
from pipeline.images.store_writer import write_store
from pipeline.loop.batches import Batches
from pipeline.loop.engine import Mode, Stepper, run_model
from pipeline.loop.epoch_meter import EpochMeter
from pipeline.loop.memory import MicroBatches, OutOfMemoryError, out_of_memory_said, step_bytes
from pipeline.models.resnet9 import ResNet9
from pipeline.stages.evaluate import CURVE_COLUMNS

CPU = torch.device("cpu")
STORE = torch.randint(0, 256, (64, 8, 8, 3), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
TARGETS = np.arange(64) % 4


class Small(nn.Module):
    """Without batch norm: an image's logits do not depend on its batch. Memory for `most` images."""

    def __init__(self, most=1000, norm=False):
        super().__init__()
        torch.manual_seed(0)
        self.most = most
        self.seen = []
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(192, 16), nn.ReLU(), nn.Linear(16, 4))
        self.norm = nn.BatchNorm1d(192) if norm else nn.Identity()

    def forward(self, images):
        flat = self.norm(images.float().flatten(1) / 255)
        if len(images) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        self.seen.append(len(images))
        return self.layers(flat)


def trained(model, *, micro_batches=None, clip_norm=0.0, batch_size=32, rate=0.1):
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    batches = Batches(STORE, np.arange(64), TARGETS, batch_size=batch_size, device=CPU)
    stepper = Stepper(optimizer, clip_norm=clip_norm, micro_batches=micro_batches)
    return run_model(model, batches, Mode.TRAIN, device=CPU, stepper=stepper, meter=EpochMeter("fold 0"))


def test_a_gradient_is_scaled_down_to_the_norm_and_reported_as_it_was():
    model = Small()
    before = [weight.detach().clone() for weight in model.parameters()]
    outcome = trained(model, clip_norm=1e-3, batch_size=64, rate=1.0)
    moved = torch.sqrt(sum(((weight - old) ** 2).sum() for weight, old in zip(model.parameters(), before, strict=True)))
    assert moved.item() == pytest.approx(1e-3, rel=1e-3)
    assert outcome.gradient_norm_max > 0.05
    assert outcome.gradient_norm_mean == outcome.gradient_norm_max
    assert trained(Small()).gradient_norm_max is None


def test_norms_are_in_the_history_only_when_clipping(workplace):
    workplace.run_data()
    workplace.run("split")
    workplace.params["train"]["epochs"] = 2
    workplace.run("train", key="0")
    assert {row["gradient_norm_max"] for row in read_history(workplace.path("data/history/0.csv"), CURVE_COLUMNS)} == {
        None
    }
    workplace.params["train"]["clip_norm"] = 0.5
    workplace.run("train", key="0")
    for row in read_history(workplace.path("data/history/0.csv"), CURVE_COLUMNS):
        assert 0 < row["gradient_norm_mean"] <= row["gradient_norm_max"]


def test_out_of_memory_says_which_batch_size_fits():
    with pytest.raises(
        OutOfMemoryError,
        match=r"fold 0: out of memory with a batch of 32 images; 8 fit \(tried\). Set train.batch_size to 8",
    ):
        trained(Small(most=10))
    with pytest.raises(OutOfMemoryError, match="not even 1 image fit"):
        trained(Small(most=0), micro_batches=MicroBatches(may_cut=True))


@pytest.mark.parametrize(
    "message",
    [
        "MPS backend out of memory (MPS allocated: 17.9 GiB, other allocations: 1.1 MiB, max allowed: 18.1 GiB)",
        "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "DefaultCPUAllocator: can't allocate memory: you tried to allocate 64 bytes. Error code 12 (Cannot allocate memory)",
    ],
)
def test_every_backends_words_for_it_are_out_of_memory(message):
    def attempt(number):
        if number == 1:
            raise RuntimeError(message)
        return number

    micro_batches = MicroBatches(may_cut=True)
    assert micro_batches.compute(attempt, num_images=4, smallest=1, undo=lambda: None, title="fold 0") == 2


def test_out_of_memory_outside_a_batch_names_the_fold_and_the_way_out():
    message = r"fold 3: out of memory \(CUDA out of memory. Tried to allocate 2 GiB\); .*fewer folds"
    with pytest.raises(OutOfMemoryError, match=message), out_of_memory_said("fold 3"):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB\nmore")
    with pytest.raises(RuntimeError, match="a bug"), out_of_memory_said("fold 3"):
        raise RuntimeError("a bug")


def test_what_a_step_keeps_is_counted_without_computing_it():
    for batch_size in (4, 10):
        model = nn.Sequential(nn.Flatten(), nn.Linear(48, 5), nn.ReLU(), nn.Linear(5, 2))
        floats = batch_size * (48 + 5) + 4 * sum(weight.numel() for weight in model.parameters())
        assert step_bytes(model, batch_size=batch_size, size=4) == 4 * floats


def test_fit_memory_gives_the_whole_batchs_result_to_rounding(capsys):
    whole, cut, micro_batches = Small(), Small(most=10), MicroBatches(may_cut=True)
    expected, got = trained(whole, clip_norm=0.1), trained(cut, micro_batches=micro_batches, clip_norm=0.1)
    assert set(cut.seen) == {8}
    assert micro_batches.number == 4
    assert got.loss == pytest.approx(expected.loss, abs=1e-6)
    assert got.accuracy == expected.accuracy
    assert got.gradient_norm_max == pytest.approx(expected.gradient_norm_max, rel=1e-4)
    for one, other in zip(whole.parameters(), cut.parameters(), strict=True):
        assert torch.allclose(one, other, atol=1e-6)
    assert (
        capsys.readouterr().out
        == "fold 0: out of memory with 32 images at once; from here on 4 micro-batches a batch\n"
    )


def test_a_failed_attempt_leaves_no_trace_in_running_statistics():
    cut, known = Small(most=10, norm=True), Small(most=10, norm=True)
    trained(cut, micro_batches=MicroBatches(may_cut=True))
    trained(known, micro_batches=MicroBatches(may_cut=True, number=4))
    assert all(
        torch.equal(one, other)
        for one, other in zip(cut.state_dict().values(), known.state_dict().values(), strict=True)
    )


def test_batch_norm_never_gets_a_micro_batch_of_one_image():
    with pytest.raises(OutOfMemoryError, match="not even 2 images at once fit"):
        trained(Small(most=1, norm=True), micro_batches=MicroBatches(may_cut=True))


@pytest.mark.parametrize("mode", [Mode.VALID, Mode.TEST])
def test_predictions_are_computed_in_micro_batches_without_asking(mode):
    labels = TARGETS if mode is Mode.VALID else None
    batches = Batches(STORE, np.arange(64), labels, batch_size=64, device=CPU)
    expected, got = (run_model(Small(most=most).eval(), batches, mode, device=CPU) for most in (1000, 5))
    assert np.abs(got.probs - expected.probs).max() < 1e-6


@pytest.mark.parametrize("num_rows", [3, 5, 7])
def test_no_training_batch_has_one_image(num_rows):
    batches = Batches(STORE, np.arange(num_rows), TARGETS[:num_rows], batch_size=2, device=CPU, pairs=True)
    sizes = [len(images) for images, _ in batches]
    assert sum(sizes) == num_rows
    assert min(sizes) >= 2
    assert max(sizes) == 3
    optimizer = torch.optim.SGD((model := ResNet9(num_classes=4, width=8)).parameters(), lr=0.1)
    normed = nn.Sequential(_Floats(), model)
    assert run_model(normed, batches, Mode.TRAIN, device=CPU, stepper=Stepper(optimizer)).num_images == num_rows


class _Floats(nn.Module):
    def forward(self, images):
        return images.float() / 255


@pytest.mark.parametrize("skip", [0, 1, 4, 5, 12])
def test_batches_that_start_late_are_those_they_would_have_been(skip):
    chunks = []

    def transform(images, chunk, sizes, first):
        chunks.append(chunk)
        return images + chunk

    store = STORE.repeat(20, 1, 1, 1)
    options = {"batch_size": 100, "device": CPU, "transform": transform}
    whole = list(Batches(store, np.arange(1280), np.arange(1280), **options))
    chunks.clear()
    late = list(Batches(store, np.arange(1280), np.arange(1280), skip=skip, **options))
    assert len(late) == 13 - skip
    assert all(
        torch.equal(one[0], other[0]) and torch.equal(one[1], other[1])
        for one, other in zip(whole[skip:], late, strict=True)
    )
    assert chunks == list(range(skip // 6, 3)), "chunks before the start are not computed"


def test_a_batch_larger_than_the_fold_is_the_fold(workplace):
    workplace.params["train"] |= {"batch_size": 4096, "epochs": 2}
    workplace.run_data()
    workplace.run("split")
    workplace.run("train", key="0")
    assert len(read_history(workplace.path("data/history/0.csv"), CURVE_COLUMNS)) == 2


def dealt(workplace, fold_of):
    """Ingest, and folds as `fold_of(row number)` says."""
    workplace.run_data()
    workplace.run("split")
    workplace.params["train"]["epochs"] = 1
    rows = [(f"{number:03d}", fold_of(number)) for number in range(30)]
    workplace.path("data/folds.csv").write_bytes(csv_bytes(("image_id", "fold"), rows))


def test_a_class_that_a_fold_cannot_learn_is_named(workplace, capsys):
    dealt(workplace, lambda number: 0 if number % 3 == 0 else number % 2)
    workplace.run("train", key="0")
    assert "warning: fold 0 has no image to learn 1 of 3 classes from, first ['bird']" in capsys.readouterr().out


def test_one_class_or_one_image_to_train_on_is_refused(workplace):
    dealt(workplace, lambda number: 1 if number % 3 == 0 else 0)
    with pytest.raises(
        ValueError, match=r"fold 0 would train on 10 images of 1 of 3 classes: there is nothing to tell"
    ):
        workplace.run("train", key="0")
    dealt(workplace, lambda number: 1 if number == 4 else 0)
    with pytest.raises(ValueError, match=r"fold 0 would train on 1 images of 1 of 3 classes"):
        workplace.run("train", key="0")


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 256 KiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "none", folder], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting needs root")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_full_disk_is_named_with_the_room_needed_and_the_earlier_file_stays(small_disk):
    path = small_disk / "oof.npz"
    write_bytes(path, b"earlier")
    with pytest.raises(
        OSError,
        match=r"small/oof.npz cannot be written: the disk is full \(1,000,000 bytes are needed, \d{3},\d{3} are free\); make room",
    ):
        write_bytes(path, bytes(1_000_000))
    assert path.read_bytes() == b"earlier"
    assert [item.name for item in small_disk.iterdir()] == ["oof.npz"]


def test_a_store_that_does_not_fit_stops_before_the_first_image(small_disk):
    read = []
    path = small_disk / "train.npy"
    write_bytes(path, b"earlier")
    with (
        pytest.raises(OSError, match=r"train.npy cannot be written: the disk is full \(30,720,128 bytes are needed"),
        whole_file(path) as part,
    ):
        write_store(part, ["x"] * 10_000, lambda name: read.append(name) or b"", size=32, fit="squash", title="")
    assert len(read) == 0
    assert path.read_bytes() == b"earlier"


def test_a_full_disk_for_states_does_not_stop_training(workplace, small_disk, monkeypatch, capsys):
    from pipeline.training import resume

    monkeypatch.setattr(resume, "MIN_INTERVAL_S", 0.0)
    monkeypatch.setattr(resume, "TIMES_COST", 0.0)
    workplace.run_data()
    workplace.run("split")
    workplace.path("data/scratch").symlink_to(small_disk)
    workplace.run("train", key="0")
    assert capsys.readouterr().out.count("the state to resume from cannot be saved") == 1
    assert workplace.path("data/oof/0.npz").is_file()
    assert list(small_disk.iterdir()) == []


def test_a_read_only_disk_is_named(small_disk):
    path = small_disk / "folds.csv"
    write_bytes(path, b"earlier")
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    with pytest.raises(OSError, match=r"folds.csv cannot be written: Read-only file system; make .*small writable"):
        write_bytes(path, b"later")
    assert path.read_bytes() == b"earlier"


def test_a_file_larger_than_allowed_is_named(tmp_path):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(OSError, match=r"larger than this system lets a process write \(2,000 bytes are needed"):
            write_bytes(tmp_path / "x", bytes(2000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(tmp_path.iterdir()) == []


def test_what_killed_processes_left_half_written_is_removed(tmp_path):
    dead = subprocess.Popen(["true"])
    dead.wait()
    stale, alive = tmp_path / f"x.csv.{dead.pid}.part", tmp_path / f"x.csv.{os.getppid()}.part"
    stale.touch()
    alive.touch()
    write_bytes(tmp_path / "x.csv", b"1")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["x.csv", alive.name])


def test_another_kind_of_oserror_is_left_as_it_is(tmp_path: Path):
    with pytest.raises(OSError, match="^other$") as error, whole_file(tmp_path / "x"):
        raise OSError("other")
    assert error.value.errno not in (errno.ENOSPC, errno.EACCES)


def test_one_class_data_is_refused_at_the_start(workplace):
    write_zip(workplace.raw, competition_files(labels=("only",)))
    with pytest.raises(ValueError, match=r"class"):
        workplace.run_data()
        workplace.run("split")
        workplace.run("train", key="0")
