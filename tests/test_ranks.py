"""Several processes train one fold: on the images, and with the results, of one."""

import dataclasses
import hashlib
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
from conftest import ROOT, image_of
from cut_short import made_ready, outputs
from torch import nn

from pipeline.base.files import read_arrays, read_history
from pipeline.base.params import AugmentParams, TrainParams
from pipeline.commands.folds import grouped, num_at_once
from pipeline.loop import scaling
from pipeline.loop.device import Compute
from pipeline.loop.epoch_meter import BatchResults
from pipeline.loop.streams import seed_torch
from pipeline.models.networks import Normalised, create_model
from pipeline.stages.evaluate import CURVE_COLUMNS
from pipeline.training import fold, launch, peers, resume
from pipeline.training.fold_files import read_recipe
from pipeline.training.joint_norm import join_norms
from pipeline.training.optimisation import create_optimizer

CPU = torch.device("cpu")
NUM_TRAIN, NUM_VALID, NUM_CLASSES = 54, 21, 4
OFF = {"crop_padding": 0, "crop_fill": "zeros", "flip": False, "cutout": 0, "policy": "none"}
PLAIN = {
    "seed": 0, "epochs": 3, "batch_size": 16, "optimizer": "sgd", "peak_lr": 0.05, "momentum": 0.9,
    "weight_decay": 0.0005, "warmup": 0.2, "label_smoothing": 0.1, "ema_decay": 0.0, "tta": "none", "valid_every": 1,
}  # fmt: skip
RECIPES = {
    "sgd": {},
    "adamw, averaged, clipped, weighed, mixed": {
        "train": {"optimizer": "adamw", "peak_lr": 0.005, "ema_decay": 0.9, "clip_norm": 0.5, "tta": "mirror",
                  "loss": "focal", "class_weights": "sqrt", "sampling": "sqrt"},
        "augment": {"mixup": 0.4, "cutmix": 1.0, "policy": "trivialaugment", "crop_padding": 2},
    },
    "airbench, growing": {
        "model": ("airbench", {"width": 8, "norm_scale": "fixed", "pooling": "csra"}),
        "train": {"bias_lr": 8.0, "start_side": 8, "tta": "mirror_shift", "epochs": 4},
        "augment": {"flip": "alternating", "cutout": 3},
    },
    "muon": {"train": {"optimizer": "muon", "peak_lr": 0.001}},
    "batch norms of timm's": {"model": ("test_resnet", {}), "train": {"peak_lr": 0.01}},
}  # fmt: skip
ROUNDING, MUON_ROUNDING = 1e-5, 1e-3  # muon turns gradients in bfloat16: a last bit counts for more, an answer may flip


class Dropping(nn.Module):
    """The smallest network with a batch norm and dropout."""

    def __init__(self):
        super().__init__()
        layers = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.3), nn.AdaptiveAvgPool2d(1)
        self.layers = nn.Sequential(*layers, nn.Flatten(), nn.Linear(8, NUM_CLASSES))

    def forward(self, images):
        return self.layers(images)


def made_data():
    """Images of 12 px of four classes of which one is rare; the last 21 are held out."""
    classes = np.arange(NUM_TRAIN + NUM_VALID) % NUM_CLASSES
    classes[1:NUM_TRAIN:8] = 0
    store = np.stack([image_of(int(label), number) for number, label in enumerate(classes)])
    rows = np.arange(NUM_TRAIN + NUM_VALID)
    return fold.FoldData(
        fold="0", store=torch.from_numpy(store), train_rows=rows[:NUM_TRAIN], valid_rows=rows[NUM_TRAIN:],
        targets=classes, target_kind="single_label", num_classes=NUM_CLASSES,
    )  # fmt: skip


def trained(joined, recipe, *, network=None, dtype=None, checkpoints=None):
    """(history, held-out probabilities, digest of all weights and buffers) of a fold."""
    seed_torch("first weights", 0 if joined is None else joined.rank)  # they are the first rank's
    if network is None:
        name, options = recipe.get("model", ("resnet9", {"width": 8}))
        network = create_model(name, num_classes=NUM_CLASSES, options=options)
    done = fold.train_fold(
        Normalised(network, (0.5,) * 3, (0.25,) * 3), made_data(), train=TrainParams(**PLAIN | recipe.get("train", {})),
        augment=AugmentParams(**OFF | recipe.get("augment", {})), compute=Compute(device=CPU, dtype=dtype),
        report=lambda record, outcome: None, checkpoints=checkpoints, peers=joined,
    )  # fmt: skip
    digest = hashlib.sha256(b"".join(value.numpy().tobytes() for value in done.model.state_dict().values()))
    return [dataclasses.asdict(record) for record in done.history], done.held_out.probs, digest.hexdigest()


def together(number, work, tmp_path):
    """What `work(peers)` gives in each of `number` processes."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch", "torch._dynamo", "timm.optim", "timm.utils"])
    with ProcessPoolExecutor(number, mp_context=context) as pool:
        ranks = [pool.submit(_as_rank, rank, number, str(tmp_path / work.__name__), work) for rank in range(number)]
        return [rank.result() for rank in ranks]


def _as_rank(rank, number, store, work):
    torch.set_num_threads(1)
    os.environ |= {
        launch.RANK: str(rank), launch.RENDEZVOUS: store, launch.LAUNCHER: str(os.getppid()), "GLOO_SOCKET_IFNAME": "lo"
    }  # fmt: skip
    with peers.peers(number, "cpu") as joined:
        return work(joined)


# -- the same numbers


def train_all(joined):
    return {name: trained(joined, recipe) for name, recipe in RECIPES.items()}


def train_some(joined):
    return {name: trained(joined, RECIPES[name]) for name in [*RECIPES][:2]}


@pytest.mark.slow
@pytest.mark.parametrize(("number", "work"), [(2, train_all), (4, train_some)])
def test_curves_and_held_out_rows_are_those_of_one_process_to_rounding(number, work, tmp_path):
    alone, ranks = work(None), together(number, work, tmp_path)
    for name, (history, probs, _) in alone.items():
        assert len({rank[name][2] for rank in ranks}) == 1, "all ranks have the same weights, to the bit"
        rounding = MUON_ROUNDING if name == "muon" else ROUNDING
        for rank in ranks:
            found_history, found_probs, _ = rank[name]
            assert found_probs.shape == probs.shape == (NUM_VALID, NUM_CLASSES)
            assert np.abs(found_probs - probs).max() < 10 * rounding, name
            for found, known in zip(found_history, history, strict=True):
                assert found.keys() == known.keys()
                keys = [key for key in known if known[key] is not None and (name != "muon" or "loss" in key)]
                expected = [pytest.approx(known[key], abs=rounding) for key in keys]
                assert [found[key] for key in keys] == expected, name


def norm_shares(joined):
    """Of uneven shares of one batch: output, gradients and running statistics."""
    torch.manual_seed(0)
    found = {}
    for shape, kind in {(7, 5, 3, 4): nn.BatchNorm2d, (7, 5): nn.BatchNorm1d}.items():
        x, direction = torch.randn(shape) * 3 + 1, torch.randn(shape)
        norm = kind(5)
        norm.weight.data.uniform_(0.5, 2.0)
        if joined is not None:
            join_norms(norm)
            own = joined.share(len(x))
            x, direction = x[own], direction[own]
        x.requires_grad_()
        out = norm(x)
        out.backward(direction)
        found[kind.__name__] = [out, x.grad], [norm.weight.grad, norm.bias.grad], [*norm.buffers()]
        assert torch.equal(norm.eval()(x), kind.forward(norm, x))
    return {name: [[value.detach().numpy() for value in part] for part in parts] for name, parts in found.items()}


@pytest.mark.parametrize("number", [2, 3])
def test_a_joint_norm_normalises_by_the_whole_batch(number, tmp_path):
    ranks = together(number, norm_shares, tmp_path)
    for name, (by_image, by_channel, buffers) in norm_shares(None).items():
        for at, known in enumerate(by_image):
            found = np.concatenate([rank[name][0][at] for rank in ranks])
            np.testing.assert_allclose(found, known, atol=2e-6)
        for at, known in enumerate(by_channel):
            np.testing.assert_allclose(sum(rank[name][1][at] for rank in ranks), known, rtol=1e-5, atol=1e-5)
        for rank in ranks:
            for found, known in zip(rank[name][2], buffers, strict=True):
                np.testing.assert_allclose(found, known, rtol=1e-6, atol=1e-6)


def test_a_norm_that_does_more_than_normalise_is_refused():
    class Odd(nn.BatchNorm2d):
        def __init__(self):
            super().__init__(3)
            self.more = nn.Linear(1, 1)

    with pytest.raises(ValueError, match=r"this network has a Odd with \['more'\].*; set compute.ranks to 1"):
        join_norms(nn.Sequential(Odd()))


# -- the same images


def epoch_batches(joined, recipe):
    train, augment = TrainParams(**PLAIN | recipe.get("train", {})), AugmentParams(**OFF | recipe["augment"])
    model = Normalised(nn.Flatten(), (0.5,) * 3, (0.25,) * 3)
    model.network.weight = nn.Parameter(torch.zeros(1))
    optimizer = create_optimizer(model, "sgd", peak_lr=0.1, momentum=0.9, weight_decay=0.0, fused=False)
    state = resume.TrainState(
        network=model, optimizer=optimizer, schedule=None, average=None, micro_batches=None, device=CPU,
        steps_per_epoch=4, epoch=recipe.get("epoch", 2),
    )  # fmt: skip
    state.meter.losses = [torch.zeros(1)] * recipe.get("skip", 0)
    return list(fold._train_batches(model, made_data(), train, augment, state, joined))


@pytest.mark.parametrize("number", [2, 3, 4])
@pytest.mark.parametrize(
    "recipe",
    [
        {"augment": {"policy": "autoaugment", "crop_padding": 2, "flip": True, "cutout": 3}},
        {"augment": {"policy": "trivialaugment", "crop_fill": "reflect", "crop_padding": 1, "flip": "alternating"}},
        {"augment": {"crop_scale": 0.4, "flip": "dihedral"}, "skip": 1},
        {"augment": {"mixup": 0.4, "flip": True}, "skip": 2},
        {"augment": {"cutmix": 1.0, "cutout": 4}, "train": {"sampling": "balanced"}, "epoch": 3},
        {"augment": {"mixup": 0.2, "cutmix": 1.0, "flip": "alternating"}, "train": {"start_side": 8}, "skip": 1},
    ],
    ids=lambda recipe: str(recipe["augment"]),
)
def test_the_images_of_a_batch_do_not_depend_on_the_number_of_ranks(recipe, number, monkeypatch):
    monkeypatch.setattr("pipeline.loop.batches.CHUNK_IMAGES", 32)  # two batches, and two chunks
    alone = epoch_batches(None, recipe)
    shares = [epoch_batches(peers.Peers(rank, number, CPU, None), recipe) for rank in range(number)]
    assert len(alone) == 4 - recipe.get("skip", 0)
    for (images, targets), *parts in zip(alone, *shares, strict=True):
        assert max(len(part) for part, _ in parts) - min(len(part) for part, _ in parts) <= 1
        assert torch.equal(torch.cat([part for part, _ in parts]), images)
        assert all(torch.equal(labels, targets) for _, labels in parts)


def test_dropout_is_of_the_share_and_of_the_step():
    draws = {}
    for rank in (0, 1):
        joined = peers.Peers(rank, 2, CPU, None)
        for step, _ in enumerate(
            joined.with_own_draws(
                fold.Batches(made_data().store, np.arange(6), None, batch_size=2, device=CPU), (0, 0, 1), first=3
            )
        ):
            draws[rank, step] = torch.rand(()).item()
    assert len(set(draws.values())) == 6


# -- float16, interruptions


def scaled_training(joined):
    """With a first scale at which steps are left out."""
    scaling.FIRST_SCALE, scaling.DOUBLED_AFTER = 2.0**22, 2
    history, probs, digest = trained(joined, {"train": {"epochs": 2}}, network=Dropping(), dtype=torch.float16)
    scaler = scaling.LossScaler(CPU)
    weight = nn.Parameter(torch.ones(2))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    scaler.scale(weight.sum()).backward()
    if joined.rank == 1:
        weight.grad[0] = torch.inf  # of its share alone
    rows = torch.zeros(1, 3)
    joined.joined(BatchResults(rows, rows[:, 0], rows[:, 0]), 2, [weight.grad])
    scale = scaler.step(optimizer).item()
    return digest, np.isfinite(probs).all(), history[-1]["train_loss"], scale, weight.tolist()


def test_ranks_agree_on_the_steps_that_float16_leaves_out(tmp_path):
    first, second = together(2, scaled_training, tmp_path)
    assert first == second
    assert first[1]
    assert first[3:] == (2.0**21, [1.0, 1.0])


def cut_anywhere(joined):
    """Digests of a fold, and of those that went on from each of its saved states."""
    resume.GENERATIONS, resume.MIN_INTERVAL_S, resume.TIMES_COST = 100, 0.0, 0.0
    recipe = {"train": {"epochs": 2, "clip_norm": 1.0}, "augment": {"policy": "trivialaugment", "mixup": 0.4}}
    folder = launch_folder(joined)
    whole = trained(joined, recipe, network=Dropping(), checkpoints=resume.ResumeCheckpoints(folder, "0", {}))
    saved = sorted(folder.iterdir())
    found = []
    for number, path in enumerate(saved):
        joined.told(f"all listed {number}", "")
        apart = folder.with_name(f"{folder.name}{number}")
        if joined.first:
            apart.mkdir()
            os.link(path, apart / path.name)
        again = dataclasses.replace(joined, store=dist.PrefixStore(str(number), joined.store))
        torch.manual_seed(99 + joined.rank)
        found.append(trained(again, recipe, network=Dropping(), checkpoints=resume.ResumeCheckpoints(apart, "0", {})))
    return whole, found


def launch_folder(joined):
    folder = Path(f"{os.environ[launch.RENDEZVOUS]}.states")
    folder.mkdir(exist_ok=True)
    return folder


def test_a_fold_goes_on_from_any_step_with_the_same_bytes(tmp_path):
    for (history, probs, digest), found in together(2, cut_anywhere, tmp_path):
        assert len(found) == 8, "of each step, by the first rank alone"
        for again in found:
            assert again[2] == digest
            assert np.array_equal(again[1], probs)
            assert again[0] == history


@pytest.fixture
def in_root(monkeypatch):
    monkeypatch.chdir(ROOT)


@pytest.mark.slow
def test_a_stage_whose_rank_is_killed_ends_with_the_bytes_of_one_that_was_left_alone(
    tmp_path, in_root, monkeypatch, capfd
):
    recipe = {"compute": {"ranks": 2}, "train": {"clip_norm": 1.0}, "augment": {"mixup": 0.4, "flip": True}}
    place = made_ready(tmp_path, recipe)
    said = capfd.readouterr().out
    assert said.count("fold 0 epoch 6: ") == said.count("fold 0: 15 images held out, accuracy ") == 1
    card = json.loads(place.path("data/models/0.json").read_text())
    assert (card["ranks"], card["params"]["compute"]["ranks"]) == (2, 2)
    assert read_arrays(place.path("data/oof/0.npz"), ("probs",))["probs"].shape == (15, 3)
    assert len(read_history(place.path("data/history/0.csv"), CURVE_COLUMNS)) == 6

    monkeypatch.setenv("MORTAL_RANK_DEAD", str(tmp_path / "dead"))
    for path in (tmp_path / "data").glob("*/0.*"):
        if path.parent.name in ("models", "oof", "history", "metrics"):
            path.unlink()
    launch.run_ranks("tests.mortal_rank", place.words("train", key="0"), 2, title="fold 0", threads=2)
    assert outputs(place) == place.whole
    out, errors = capfd.readouterr()
    died = "rank 1 of 2 was ended by signal 9; all 2 start again from the last saved state (restart 1 of 3)"
    assert f"fold 0: {died}\nfold 0: resumed at step 6 of 12\n" in out
    assert "Traceback" not in errors
    assert not list(tmp_path.glob("data/scratch/*"))
    assert not list(tmp_path.glob("data/*/*.part"))


@pytest.mark.slow
def test_a_teacher_is_trained_by_ranks(tmp_path, in_root, capfd):
    place = made_ready(tmp_path, {"compute": {"precision": "fp32"}, "augment": {"crop_padding": 0}})
    place.params["pseudo"]["confidence"] = 0.34
    place.run("teach", key="0")
    alone = read_arrays(place.path("data/pseudo/0.npz"), ("images", "targets"))
    place.params["compute"]["ranks"] = 2
    capfd.readouterr()
    place.run("teach", key="0")
    assert capfd.readouterr().out.count("its teacher is sure of 9 of 9 test images") == 1
    together = read_arrays(place.path("data/pseudo/0.npz"), ("images", "targets"))
    assert np.array_equal(together["images"], alone["images"])
    assert np.abs(together["targets"] - alone["targets"]).max() < 1e-3


# -- ranks that end

CREW = """
import os, signal, sys, time
from pathlib import Path
from pipeline.training import launch

what, folder, rank = sys.argv[1], Path(sys.argv[2]), int(os.environ[launch.RANK])
launch.end_with_launcher()
(folder / str(os.getpid())).touch()
if rank == 1 and what == "dies":
    os.kill(os.getpid(), signal.SIGKILL)
if rank == 1 and what == "is refused":
    sys.exit(print("error: no such device", file=sys.stderr) or 2)
if rank == 1 and what == "breaks":
    raise RuntimeError("a bug")
if what != "works":
    time.sleep(60)
"""


@pytest.fixture
def crew(tmp_path, in_root, monkeypatch):
    """Ranks without torch; their process ids become files here."""
    (tmp_path / "crew.py").write_text(CREW)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{ROOT}")
    monkeypatch.setattr(launch, "GRACE_S", 0.3)
    folder = tmp_path / "pids"
    folder.mkdir()
    return folder


def run_crew(what, folder):
    launch.run_ranks("crew", [what, str(folder)], 2, title="fold 3", threads=1)


def running(folder):
    return [pid for pid in map(int, (path.name for path in folder.iterdir())) if is_running(pid)]


def is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_rank_that_dies_again_and_again_is_given_up(crew, capsys):
    run_crew("works", crew)
    assert capsys.readouterr().out == ""
    with pytest.raises(ValueError, match="fold 3: rank 1 of 2 was ended by signal 9, the last of 4 times; saved"):
        run_crew("dies", crew)
    restarts = [line.partition(" (")[2] for line in capsys.readouterr().out.splitlines()]
    assert restarts == [f"restart {number} of 3)" for number in (1, 2, 3)]
    assert len(list(crew.iterdir())) == 10, "two, then four times two"
    assert running(crew) == []


@pytest.mark.parametrize(("what", "code", "said"), [("is refused", 2, "error: no such device"), ("breaks", 1, "a bug")])
def test_what_a_rank_says_is_passed_on_and_ends_all_without_a_restart(crew, capsys, what, code, said):
    with pytest.raises(SystemExit) as ended:
        run_crew(what, crew)
    assert ended.value.code == code
    assert said in capsys.readouterr().err
    assert len(list(crew.iterdir())) == 2
    assert running(crew) == []


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_rank_outlives_the_process_that_started_it(crew, signal_number):
    code = f"from pipeline.training.launch import run_ranks\nrun_ranks('crew', ['sleeps', {str(crew)!r}], 2, title='', threads=1)"
    launcher = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while len(running(crew)) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    launcher.send_signal(signal_number)
    launcher.wait()
    while running(crew) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert time.monotonic() < deadline


# -- what is refused, and what takes its part


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"compute": {"compile": True}}, "compute.ranks is 4 and compute.compile true: what processes tell each other"),
        ({"train": {"fit_memory": True}}, "compute.ranks is 4 and train.fit_memory true: "),
        ({"train": {"batch_size": 3}}, "compute.ranks is 4, and train.batch_size 3: each takes at least one image"),
    ],
)
def test_what_ranks_cannot_do_is_refused(workplace, changes, message):
    for section, values in changes.items():
        workplace.params[section] |= values
    workplace.save()
    read_recipe(workplace.root / "params.yaml", "0")
    workplace.params["compute"]["ranks"] = 4
    workplace.save()
    with pytest.raises(ValueError, match=message):
        read_recipe(workplace.root / "params.yaml", "0")


def test_a_batch_must_have_an_image_for_each_rank():
    with pytest.raises(ValueError, match="compute.ranks is 4, but the smallest batch of this fold has 3 images"):
        peers.Peers(0, 4, CPU, None).join(nn.Identity(), smallest=3)


@pytest.mark.parametrize(
    ("name", "found", "count", "message"),
    [
        (
            "auto",
            "cuda:0",
            2,
            "compute.ranks is 3, a device each, but 2 CUDA devices are visible; set compute.ranks to 2",
        ),
        ("cuda:1", "cuda:1", 4, "compute.ranks is 3, but compute.device cuda:1 is one device"),
        ("auto", "mps:0", 0, "compute.ranks is 3, but compute.device auto is one device, mps:0"),
    ],
)
def test_more_ranks_than_devices_are_refused(monkeypatch, name, found, count, message):
    monkeypatch.setattr(peers, "device_named", lambda name: torch.device(found))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    with pytest.raises(ValueError, match=message):
        peers._own_device(0, 3, name)


def test_a_frozen_network_is_not_trained_by_ranks(workplace):
    workplace.params["compute"]["ranks"] = 4
    workplace.params["model"] |= {"frozen": True, "name": "test_resnet", "weights": "hub"}
    workplace.save()
    assert read_recipe(workplace.root / "params.yaml", "0").num_ranks == 1


def test_folds_give_each_fold_as_many_devices_as_it_has_ranks():
    assert grouped(["0", "1", "2", "3", "4"], 2) == ["0,1", "2,3"]
    assert grouped(["5", "7"], 1) == ["5", "7"]
    assert num_at_once([1, 1, 1, 1, 1], 16, ranks=2) == 2
    assert num_at_once([], 8, ranks=3) == 2
    assert num_at_once([], 2, ranks=4) == 1
    assert num_at_once([], 8, ranks=1) == 8
    assert num_at_once([], 8, ranks=1, threads=3) == 2
    assert num_at_once([], 8, ranks=4, threads=2) == 2, "a rank has a core at least"
    assert num_at_once([2, 2], 16, ranks=1) == 4


def test_one_process_imports_nothing_of_it():
    code = "import sys, pipeline.stages.train\nprint([name for name in sys.modules if name in {names!r}])"
    names = [f"pipeline.training.{name}" for name in ("peers", "launch", "joint_norm")]
    done = subprocess.run(
        [sys.executable, "-c", code.format(names=names)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"
