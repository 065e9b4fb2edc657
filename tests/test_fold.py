"""A fold: same seed, same bytes; the checkpoint gives the model back; the recipe's parts do what they say."""

import json
import platform
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import competition_files, write_zip
from safetensors.torch import load_file, save_file
from timm.optim.muon import _COEFFICIENTS, resolve_ns_coefficients

from pipeline.base import allocator
from pipeline.base.files import read_arrays, read_history
from pipeline.loop.batches import Batches
from pipeline.loop.device import autocast_dtype, device_named, free_memory, memory_format, set_tf32
from pipeline.loop.engine import Mode, run_model
from pipeline.models.checkpoint import read_checkpoint
from pipeline.models.prediction import predict_store
from pipeline.models.resnet9 import ResNet9
from pipeline.stages.evaluate import CURVE_COLUMNS
from pipeline.stages.train import device_bytes
from pipeline.training import muon
from pipeline.training.optimisation import AveragedWeights, create_optimizer, one_cycle

CPU = torch.device("cpu")
FOLD_OUTPUTS = ("models/0.safetensors", "models/0.json", "oof/0.npz", "history/0.csv", "metrics/0.json")


def outputs(place):
    return {name: place.path(f"data/{name}").read_bytes() for name in FOLD_OUTPUTS}


@pytest.mark.parametrize(
    "recipe",
    [
        {"train": {}, "augment": {"cutout": 3, "flip": True, "policy": "trivialaugment"}},
        {
            "train": {"optimizer": "adamw", "peak_lr": 0.005, "ema_decay": 0.9, "tta": "mirror"},
            "augment": {"mixup": 0.4, "cutmix": 1.0},
        },
    ],
    ids=["sgd with a policy", "adamw with averaging"],
)
def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(workplace, recipe):
    for section, values in recipe.items():
        workplace.params[section] |= values
    workplace.run_data()
    workplace.run("split")
    workplace.run("train", key="0")
    first = outputs(workplace)
    torch.manual_seed(123)
    workplace.run("train", key="0")
    assert outputs(workplace) == first
    workplace.params["folds"]["0"] = {"seed": 7}
    workplace.run("train", key="0")
    changed = outputs(workplace)
    assert all(changed[name] != first[name] for name in FOLD_OUTPUTS)


def test_a_reloaded_checkpoint_gives_the_held_out_probabilities_again(finished):
    model, card = read_checkpoint(finished.path("data/models/1.safetensors"), finished.path("data/models/1.json"))
    store = torch.from_numpy(np.load(finished.path("data/images/train.npy")))
    oof = read_arrays(finished.path("data/oof/1.npz"), ("image_ids", "probs"))
    rows = np.array([int(image_id) for image_id in oof["image_ids"]])
    dtype = autocast_dtype("auto", CPU)
    batches = Batches(store, rows, None, batch_size=16, device=CPU)  # as train does: twice its batch size
    again = run_model(model.to(memory_format=torch.channels_last), batches, Mode.TEST, device=CPU, dtype=dtype)
    assert np.array_equal(again.probs, oof["probs"]), "identical logits, so identical probabilities"
    assert card.classes == ("a cat", "bird", "dog, large")


def test_infer_reads_the_card_not_params(finished):
    model, card = read_checkpoint(finished.path("data/models/0.safetensors"), finished.path("data/models/0.json"))
    store = torch.from_numpy(np.load(finished.path("data/images/test.npy")))
    unseen = np.arange(9) == 4
    probs, _ = predict_store(model, card, store, unseen, batch_size=512, device=CPU, precision="auto")
    assert probs[4].tolist() == pytest.approx(card.prior)
    assert np.array_equal(probs[~unseen], read_arrays(finished.path("data/test/0.npz"), ("probs",))["probs"][~unseen])


def test_the_history_has_a_row_an_epoch_and_the_rate_comes_down(finished):
    history = read_history(finished.path("data/history/0.csv"), CURVE_COLUMNS)
    assert [row["epoch"] for row in history] == [1, 2, 3, 4, 5, 6]
    assert [row["valid_loss"] is not None for row in history] == [False, True, False, True, False, True]
    assert history[-1]["learning_rate"] < 0.01 * max(row["learning_rate"] for row in history)


def test_weights_and_card_must_belong_together(finished, tmp_path):
    weights, card = tmp_path / "w.safetensors", tmp_path / "card.json"
    card.write_bytes(finished.path("data/models/0.json").read_bytes())
    weights.write_bytes(finished.path("data/models/1.safetensors").read_bytes())
    with pytest.raises(ValueError, match=r"do not belong together, or one is damaged; run `dvc repro -f -s train@0`"):
        read_checkpoint(weights, card)


def test_a_checkpoint_with_nan_weights_or_of_another_shape_is_refused(finished, tmp_path):
    from pipeline.base.files import sha256_of

    state = load_file(finished.path("data/models/0.safetensors"))
    found = json.loads(finished.path("data/models/0.json").read_text())
    weights, card = tmp_path / "w.safetensors", tmp_path / "card.json"

    def message(state, **changes):
        save_file(state, weights)
        card.write_text(json.dumps(found | {"weights_sha256": sha256_of(weights)} | changes))
        with pytest.raises(ValueError) as error:
            read_checkpoint(weights, card)
        return str(error.value)

    spoilt = state | {"head.weight": torch.full_like(state["head.weight"], float("nan"))}
    assert "1 tensors hold NaN or inf, first ['head.weight']" in message(spoilt)
    assert "does not fit resnet9" in message(state, classes=["a", "b"])
    assert "is not a model.json of this version" in message(state, version=99)


def test_an_unknown_fold_is_refused(workplace):
    workplace.run_data()
    workplace.run("split")
    with pytest.raises(ValueError, match=re.escape("--fold is 7;")):
        workplace.run("train", key="7")


def test_a_diverging_fold_stops_and_overwrites_nothing(workplace):
    workplace.params["compute"]["precision"] = "fp32"
    workplace.run_data()
    workplace.run("split")
    workplace.run("train", key="0")
    before = outputs(workplace)
    workplace.params["train"] |= {"peak_lr": 1000.0, "weight_decay": 10.0, "epochs": 60}
    with pytest.raises(
        ValueError, match=r"fold 0 epoch \d+/60.*: loss is not finite at step \d+.*; nothing was written"
    ):
        workplace.run("train", key="0")
    assert outputs(workplace) == before


def test_weight_decay_leaves_biases_and_norms_alone():
    model = ResNet9(num_classes=3, width=8)
    for name in ("sgd", "adamw", "lamb", "lookahead_muon"):
        optimizer = create_optimizer(model, name, peak_lr=0.1, momentum=0.9, weight_decay=0.01, fused=False)
        decayed = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
        assert len(decayed) == len(list(model.parameters()))
        for parameter in model.parameters():
            assert decayed[id(parameter)] == (0.01 if parameter.ndim > 1 else 0.0)


@pytest.mark.parametrize(("multiplied", "error"), [(None, 1e-5), (torch.bfloat16, 2e-2)])
def test_muon_steps_in_float32_unless_the_cpu_multiplies_bfloat16(multiplied, error, monkeypatch):
    """Where it is emulated, steps of a network of width 64 took 28 times as long (AMD EPYC, AVX2)."""
    monkeypatch.setattr(muon, "autocast_dtype", lambda *_: multiplied)
    model = torch.nn.Linear(16, 8, bias=False)
    before, gradient = model.weight.detach().clone(), torch.randn(8, 16, generator=torch.Generator().manual_seed(0))
    optimizer = create_optimizer(model, "muon", peak_lr=1.0, momentum=0.6, weight_decay=0.0, fused=False)
    model.weight.grad = gradient.clone()
    optimizer.step()
    change = torch.nn.functional.normalize((before - model.weight.detach()).double().flatten(), dim=0)
    exact = muon._timms(gradient, 5, resolve_ns_coefficients("quintic", _COEFFICIENTS), dtype=torch.float64)
    off = float((change - torch.nn.functional.normalize(exact.flatten(), dim=0)).norm())
    assert error / 50 < off < error if multiplied else off < error


def test_an_unknown_optimizer_lists_those_timm_knows():
    with pytest.raises(ValueError, match=r"train.optimizer is 'sgdd', which timm .* does not know; known: .*lion"):
        create_optimizer(ResNet9(width=8), "sgdd", peak_lr=0.1, momentum=0.9, weight_decay=0.0, fused=False)


def rates_of(num_steps, warmup):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.4)
    schedule = one_cycle(optimizer, num_steps=num_steps, warmup=warmup)
    rates = []
    for _ in range(num_steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return np.array(rates)


@pytest.mark.parametrize("warmup", [0.0, 0.01, 0.2, 0.5, 0.9])
def test_one_cycle_reaches_its_peak_at_one_step_however_few_there_are_and_ends_low(warmup):
    for num_steps in range(2, 201):
        rates = rates_of(num_steps, warmup)
        peak = int(rates.argmax())
        assert rates[peak] == 0.4 and (rates == 0.4).sum() == 1, num_steps
        assert (peak >= 1) == (warmup > 0 and num_steps >= 3), num_steps
        assert abs(peak - warmup * num_steps) <= 2, num_steps
        assert 0 < rates[-1] <= 0.4 / 2 and rates[0] in (0.4, pytest.approx(0.4 / 25)), num_steps
        for line in (np.diff(rates[: peak + 1]), np.diff(rates[peak:])):
            assert np.allclose(line, line[:1], atol=1e-12), "straight lines"
    assert rates[-1] < 0.06 * 0.4


def test_averaged_weights_follow_the_model_and_are_kept_apart():
    model = ResNet9(num_classes=3, width=8)
    update = AveragedWeights(model, 0.9)
    kept = update.module
    before = kept.head.weight.clone()
    with torch.no_grad():
        model.head.weight += 1.0
    for _ in range(200):
        update()
    assert torch.allclose(kept.head.weight, before + 1.0, atol=1e-3)
    assert kept is not model


def test_devices_by_name():
    assert device_named("cpu") == CPU
    assert torch.empty(1, device=device_named("auto")).device == device_named("auto")
    assert device_named("auto").type in ("cpu", "cuda", "mps")
    with pytest.raises(ValueError, match="compute.device is 'gpu', which cannot be used here .*use auto"):
        device_named("gpu")
    assert autocast_dtype("fp32", CPU) is None
    assert autocast_dtype("tf32", CPU) is None
    assert autocast_dtype("bf16", CPU) is torch.bfloat16


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="settings of glibc's allocator")
def test_freed_memory_is_used_again_without_a_page_fault_and_the_heap_asks_for_huge_pages(monkeypatch):
    code = """
import resource, torch
from pipeline.base.allocator import keep_freed_memory
keep_freed_memory()
for _ in range(3):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    block = torch.ones(128 << 20, dtype=torch.uint8)
    middle, faults = block.data_ptr() + block.nbytes // 2, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
    del block
print(middle, faults)
print(open("/proc/self/smaps").read())
"""
    monkeypatch.delenv(allocator.VARIABLE, raising=False)
    assert allocator.set_environment()
    assert not allocator.set_environment(), "it is set"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    printed, smaps = done.stdout.split("\n", 1)
    middle, faults = map(int, printed.split())
    assert faults < 32, "of 64 huge pages, or 32,768 others"
    areas = re.findall(r"^([0-9a-f]+)-([0-9a-f]+) .*?^VmFlags: (.*?)$", smaps, re.MULTILINE | re.DOTALL)
    flags = next(flags for start, end, flags in areas if int(start, 16) <= middle < int(end, 16))
    has_huge_pages = Path("/sys/kernel/mm/transparent_hugepage").exists()
    assert not has_huge_pages or "hg" in flags.split(), "madvise(MADV_HUGEPAGE) marks the area so"


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="settings of glibc's allocator")
@pytest.mark.parametrize("stage", ["teach", "train", "infer"])
def test_a_stage_with_a_model_starts_again_with_the_allocators_setting_and_its_import_does_not(stage, monkeypatch):
    monkeypatch.delenv(allocator.VARIABLE, raising=False)
    code = f"""
import os, runpy, sys
def execv(path, words):
    print(path == sys.executable, words[1:] == sys.orig_argv[1:], "torch" in sys.modules, os.environ["{allocator.VARIABLE}"])
    raise SystemExit
os.execv = execv
if sys.argv[1:]:
    import pipeline.stages.{stage}
else:
    runpy.run_module("pipeline.stages.{stage}", run_name="__main__")
"""
    words = [sys.executable, "-c", code]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stdout == f"True True False {allocator.TUNABLE}=0\n"
    assert subprocess.run([*words, "import"], capture_output=True, text=True, check=True).stdout == ""


def test_tf32_is_allowed_on_cuda_unless_float32_is_asked_for_and_never_changes_a_cpu():
    matmul, convolution = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    try:
        for precision, allowed in (("auto", True), ("bf16", True), ("tf32", True), ("fp32", False)):
            set_tf32(precision, torch.device("cuda"))
            assert torch.backends.cuda.matmul.allow_tf32 == torch.backends.cudnn.allow_tf32 == allowed
        set_tf32("tf32", CPU)
        assert not torch.backends.cuda.matmul.allow_tf32
        assert torch.get_float32_matmul_precision() == "highest"
    finally:
        torch.set_float32_matmul_precision(matmul)
        torch.backends.cudnn.allow_tf32 = convolution


def test_convolutions_are_channels_last_but_on_mps():
    assert memory_format(torch.device("mps")) is torch.contiguous_format
    assert {memory_format(torch.device(name)) for name in ("cpu", "cuda", "cuda:1")} == {torch.channels_last}


def test_free_memory_is_asked_of_accelerators_alone():
    assert free_memory("cpu") == []
    assert len(free_memory("auto")) == (torch.cuda.device_count() or int(torch.backends.mps.is_available()))
    assert free_memory("mps") == [0]
    assert len(free_memory("cuda:0")) == 1, "a device that is not there, too: the stage says why"


def test_the_training_stage_estimates_what_it_takes_of_a_gpu(workplace):
    workplace.run_data()
    few = device_bytes(workplace.words("train", key="0"))
    workplace.params["train"]["batch_size"] *= 2
    workplace.save()
    many = device_bytes(workplace.words("train", key="0"))
    store = np.load(workplace.path("data/images/train.npy"), mmap_mode="r").nbytes
    assert few < many < 2 * few - store


def test_a_timm_model_goes_through_the_same_stages(workplace):
    workplace.params["model"] |= {"name": "test_resnet", "options": []}
    workplace.params["train"]["epochs"] = 1
    write_zip(workplace.raw, competition_files())
    workplace.run_data()
    workplace.run("split")
    workplace.run("train", key="0")
    workplace.run("infer", key="0")
    assert read_arrays(workplace.path("data/test/0.npz"), ("probs",))["probs"].shape == (9, 3)
