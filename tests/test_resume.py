"""Exact resume: wherever a fold is cut short, it ends with the bytes of a fold that was not."""

import hashlib
import io
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import Workplace, competition_files, write_zip
from cut_short import cut_short, made_ready, outputs
from safetensors.torch import load_file

from pipeline.base.files import read_arrays
from pipeline.loop import scaling
from pipeline.models.networks import CXX_COMPILERS, compile_forward
from pipeline.training import resume

RECIPES = {
    "sgd": {"augment": {"cutout": 3, "flip": True, "policy": "trivialaugment"}},
    "adamw with averaging, mixed": {
        "train": {"optimizer": "adamw", "peak_lr": 0.005, "ema_decay": 0.9, "tta": "mirror", "clip_norm": 1.0},
        "augment": {"policy": "autoaugment", "crop_scale": 0.4, "mixup": 0.4, "cutmix": 1.0},
    },
    "airbench with muon": {
        "model": {
            "name": "airbench",
            "whitening": True,
            "activation": "gelu",
            "init": "dirac",
            "norm_scale": "fixed",
            "pooling": "csra",
        },
        "train": {"optimizer": "muon", "bias_lr": 8.0, "start_side": 8, "tta": "mirror_shift"},
        "augment": {"flip": "alternating", "cutout": 3},
    },
    "lookahead": {"train": {"optimizer": "lookahead_sgd", "bias_lr": 8.0}},
    "focal, weighed and sampled, turned": {
        "train": {"loss": "focal", "class_weights": "balanced", "sampling": "sqrt", "tta": "dihedral"},
        "augment": {"flip": "dihedral"},
    },
    "float16": {"compute": {"precision": "fp16"}, "train": {"ema_decay": 0.9, "clip_norm": 1.0}},
    "timm with dropout": {
        "model": {"name": "test_resnet", "options": ["drop_rate=0.4", "drop_path_rate=0.2"]},
        "train": {"optimizer": "lamb", "peak_lr": 0.0005, "epochs": 3},
        "compute": {"precision": "fp32"},  # in bfloat16 oneDNN gives this network other bytes (or NaN) at every run
    },
}
NUM_STEPS = {name: 6 if "timm" in name else 12 for name in RECIPES}


@pytest.fixture(params=["sgd", *(pytest.param(name, marks=pytest.mark.slow) for name in RECIPES if name != "sgd")])
def ready(request, tmp_path, monkeypatch):
    """A workplace in which train is next, with the bytes of a fold that was not cut short, saving at every step.

    In float16 the loss scale changes all the time, and so do the steps that are left out.
    """
    monkeypatch.setattr(scaling, "FIRST_SCALE", 2.0**22)
    monkeypatch.setattr(scaling, "DOUBLED_AFTER", 2)
    return made_ready(tmp_path, RECIPES[request.param])


@pytest.fixture(autouse=True)
def save_at_every_step(monkeypatch):
    monkeypatch.setattr(resume, "MIN_INTERVAL_S", 0.0)
    monkeypatch.setattr(resume, "TIMES_COST", 0.0)


def states(place):
    return sorted(place.path("data/scratch").glob("*"))


def test_a_fold_cut_short_at_any_step_ends_with_the_same_bytes(ready, monkeypatch, capsys, request):
    num_steps = NUM_STEPS[request.node.callspec.params["ready"]]
    for step in sorted({1, 2, num_steps // 2, num_steps - 1, num_steps}):
        cut_short(ready, monkeypatch, after=step)
        torch.manual_seed(99)
        ready.run("train", key="0")
        assert outputs(ready) == ready.whole, f"after step {step}"
        assert f"fold 0: resumed at step {step} of {num_steps}\n" in capsys.readouterr().out
        assert states(ready) == [], "removed on success"


@pytest.mark.slow
def test_a_fold_cut_short_in_any_of_its_networks_goes_on_in_that_one(tmp_path, monkeypatch, capsys):
    train = {"seeds": 3, "optimizer": "adamw", "peak_lr": 0.005, "ema_decay": 0.9, "tta": "mirror"}
    place = made_ready(tmp_path, {"train": train, "augment": {"mixup": 0.4}})
    for step in (5, 12, 13, 24, 31, 36):
        cut_short(place, monkeypatch, after=step)
        capsys.readouterr()
        torch.manual_seed(99)
        place.run("train", key="0")
        assert outputs(place) == place.whole, f"after step {step}"
        said = re.findall(r"fold 0 network (\d)/3: resumed at step (\d+) of 12\n", capsys.readouterr().out)
        steps = [(str(network), str(min(12, step - 12 * (network - 1)))) for network in (1, 2, 3)]
        assert said == [(network, at) for network, at in steps if int(at) > 0]
        assert states(place) == [], "of all networks, removed on success"


def test_a_network_that_is_trained_is_saved_however_short_its_training_was(tmp_path, monkeypatch, capsys):
    place = made_ready(tmp_path, {"train": {"seeds": 2}})
    monkeypatch.setattr(resume, "MIN_INTERVAL_S", 1e9)
    cut_short(place, monkeypatch, after=1)
    place.run("train", key="0")
    assert "fold 0 network 1/2: resumed at step 12 of 12\nfold 0 network 1/2 epoch 6:" in capsys.readouterr().out
    assert outputs(place) == place.whole


def test_compiling_without_a_compiler_stops_with_the_way_out(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(
        ValueError, match=r"a C\+\+ compiler \(g\+\+\) is missing; install it or set compute.compile: false"
    ):
        compile_forward(torch.nn.Identity(), device=torch.device("cpu"))
    monkeypatch.delenv("CC", raising=False)
    with pytest.raises(ValueError, match=r"(a C compiler \(gcc\)|the package triton) is missing"):
        compile_forward(torch.nn.Identity(), device=torch.device("cuda"))


@pytest.mark.slow
@pytest.mark.skipif(not any(map(shutil.which, CXX_COMPILERS)), reason="torch.compile needs a C++ compiler")
def test_a_compiled_fold_resumes_with_the_same_bytes_and_differs_from_an_eager_one_by_rounding(tmp_path, monkeypatch):
    train = {
        "ema_decay": 0.9,
        "epochs": 4,
        "valid_every": 4,
        "batch_size": 15,
        "warmup": 0.0,
    }  # one size to compile for
    recipe = {"train": train, "compute": {"precision": "fp32"}}
    eager = made_ready(tmp_path / "eager", recipe)
    recipe["compute"]["compile"] = True
    compiled = made_ready(tmp_path / "compiled", recipe)
    cut_short(compiled, monkeypatch, after=2)
    compiled.run("train", key="0")
    assert outputs(compiled) == compiled.whole
    probs = []
    for place in (eager, compiled):
        place.run("infer", key="0")
        probs.append(read_arrays(place.path("data/test/0.npz"), ("probs",))["probs"])
    assert not np.array_equal(*probs), "it was compiled"
    assert np.abs(probs[0] - probs[1]).max() < 1e-3
    names = [set(load_file(place.path("data/models/0.safetensors"))) for place in (eager, compiled)]
    assert names[0] == names[1]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A workplace of the shipped recipe in which fold 0 has trained; for reading, not for changing."""
    return made_ready(tmp_path_factory.mktemp("whole"), {})


@pytest.fixture
def plain(whole, tmp_path):
    shutil.copytree(whole.root, tmp_path, dirs_exist_ok=True)
    place = Workplace(tmp_path)
    place.whole = whole.whole
    return place


def test_cut_short_again_and_again(plain, monkeypatch):
    for _ in range(4):
        cut_short(plain, monkeypatch, after=2)
    plain.run("train", key="0")
    assert outputs(plain) == plain.whole


@pytest.mark.slow
def test_as_many_threads_as_before(plain, monkeypatch):
    threads = torch.get_num_threads()
    plain.params["train"]["epochs"] = 2
    try:
        torch.set_num_threads(2)
        plain.run("train", key="0")
        on_two = outputs(plain)
        cut_short(plain, monkeypatch)
        torch.set_num_threads(1)
        plain.run("train", key="0")
        assert torch.get_num_threads() == 2
        assert outputs(plain) == on_two
    finally:
        torch.set_num_threads(threads)


def change_parameter(place, monkeypatch):
    place.params["folds"]["0"] = {"peak_lr": 0.03}


def change_image(place, monkeypatch):
    files = competition_files()
    files["train/001.png"] = files["train/004.png"]
    write_zip(place.raw, files)
    place.run_data()


def change_code(place, monkeypatch):
    monkeypatch.setattr(resume, "code_fingerprint", lambda: "other code")


def change_version(place, monkeypatch):
    monkeypatch.setattr(resume.importlib.metadata, "version", lambda name: "0.0")


@pytest.mark.parametrize("change", [change_parameter, change_image, change_code, change_version])
def test_a_change_starts_afresh_and_deletes_the_stale_state(plain, monkeypatch, capsys, change):
    cut_short(plain, monkeypatch)
    kept = [path.name for path in states(plain)]
    change(plain, monkeypatch)
    plain.run("train", key="0")
    changed = outputs(plain)
    assert "resumed" not in capsys.readouterr().out
    assert states(plain) == []
    assert len(kept) == 2
    plain.run("train", key="0")
    assert outputs(plain) == changed


def test_other_folds_states_are_left_alone(plain, monkeypatch):
    cut_short(plain, monkeypatch)
    kept = states(plain)
    plain.run("train", key="1")
    assert states(plain) == kept


@pytest.mark.parametrize("damage", ["truncated", "altered", "empty", "half-written"])
def test_a_damaged_state_falls_back_to_the_one_before_and_then_to_the_start(plain, monkeypatch, capsys, damage):
    def spoil(path):
        content = path.read_bytes()
        if damage == "half-written":
            path.rename(path.with_name(f"{path.name}.1.part"))
        else:
            path.write_bytes(
                {"truncated": content[: len(content) // 2], "altered": content[:-1] + b"\x55", "empty": b""}[damage]
            )

    cut_short(plain, monkeypatch, after=5)
    spoil(states(plain)[-1])
    plain.run("train", key="0")
    said = capsys.readouterr().out
    assert "resumed at step 4 of 12" in said
    assert ("the state at step 5 is damaged" in said) == (damage != "half-written")
    assert outputs(plain) == plain.whole

    cut_short(plain, monkeypatch, after=5)
    for path in states(plain):
        spoil(path)
    plain.run("train", key="0")
    assert "resumed" not in capsys.readouterr().out
    assert outputs(plain) == plain.whole
    assert states(plain) == []


def test_a_state_that_cannot_be_saved_costs_nothing_but_the_state(plain, capsys):
    plain.path("data/scratch").write_text("a file where the folder should be")
    plain.run("train", key="0")
    assert capsys.readouterr().out.count("the state to resume from cannot be saved") == 1
    assert outputs(plain) == plain.whole


def test_what_lay_on_another_card_is_read_onto_the_device_there_is(tmp_path, monkeypatch):
    content = io.BytesIO()
    with monkeypatch.context() as patched:
        patched.setattr(torch.serialization, "location_tag", lambda storage: "cuda:63")
        torch.save({"weight": torch.arange(3.0)}, content)
    digest = hashlib.sha256(content.getvalue()).hexdigest()[: resume.DIGITS]
    path = tmp_path / f"0-fingerprint-1-000000001-{digest}{resume.SUFFIX}"
    path.write_bytes(content.getvalue())
    assert resume._read(path, torch.device("cpu"))["weight"].tolist() == [0.0, 1.0, 2.0]


def test_values_that_could_not_be_read_back_are_said_at_saving(plain, monkeypatch, capsys):
    plain_values = resume.TrainState.state_dict
    monkeypatch.setattr(resume.TrainState, "state_dict", lambda state: plain_values(state) | {"odd": Path("x")})
    plain.run("train", key="0")
    said = capsys.readouterr().out
    assert said.count("cannot be saved") == said.count("not only tensors and plain values, UnpicklingError") == 1
    assert outputs(plain) == plain.whole
    assert states(plain) == []


def test_two_generations_are_kept(plain, monkeypatch):
    cut_short(plain, monkeypatch, after=1)
    assert len(states(plain)) == 1
    plain.path("data/scratch").joinpath("0-stale-000000001-0.pt").touch()
    cut_short(plain, monkeypatch, after=6)
    assert [path.name.split("-")[3] for path in states(plain)] == ["000000006", "000000007"]


def test_saving_waits_33_times_what_the_last_save_cost(plain, monkeypatch):
    monkeypatch.setattr(resume, "TIMES_COST", 33.0)
    now = [0.0]
    monkeypatch.setattr(resume.time, "perf_counter", lambda: now[0])
    checkpoints = resume.ResumeCheckpoints(Path("unused"), "0", {})

    def write(values):
        now[0] += 2.0

    class Still:
        def state_dict(self):
            return {}

    monkeypatch.setattr(checkpoints, "_write", write)
    assert not checkpoints.due(), "not before resume was called"
    checkpoints.save(Still())
    now[0] += 65.9
    assert not checkpoints.due()
    now[0] += 0.2
    assert checkpoints.due()
    assert checkpoints.seconds / now[0] < 0.03
