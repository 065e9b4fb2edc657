"""Pretrained weights: all of the backbone, or a stop with the names of what does not fit; never a part in silence."""

import json
import shutil

import numpy as np
import pytest
import timm
import torch
from conftest import encoded, image_of
from safetensors.torch import load_file, save_file

from pipeline.commands import weights as command
from pipeline.models import pretrained
from pipeline.models.weights_card import read_card

NAME = "test_resnet"  # timm's, for tests: 0.5 M weights
CONFIG = {"architecture": NAME, "pretrained_cfg": {"mean": [0.5] * 3, "std": [0.25] * 3, "input_size": [3, 160, 160]}}


def network(num_classes=1000, name=NAME, seed=7):
    torch.manual_seed(seed)
    return timm.create_model(name, num_classes=num_classes)


def state_of(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


@pytest.fixture
def file(tmp_path):
    """A folder in timm's layout; its file of weights."""
    folder = tmp_path / "given"
    folder.mkdir()
    save_file(state_of(network()), folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(CONFIG))
    return folder / "model.safetensors"


def resolved(tmp_path, named, name=NAME, normalisation="auto", options=None):
    out = tmp_path / "out.safetensors"
    card, _ = pretrained.resolve(name, options or {}, str(named), normalisation, out)
    return load_file(out), card


def backbone_of(model):
    return {name: value for name, value in state_of(model).items() if not name.startswith("fc.")}


def assert_equal(found, expected):
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_a_folder_gives_the_whole_backbone_and_its_constants(tmp_path, file, capsys):
    found, card = resolved(tmp_path, file.parent)
    expected = backbone_of(network())
    assert_equal(found, expected)
    assert (card.mean, card.std, card.image_size) == ((0.5,) * 3, (0.25,) * 3, 160)
    assert f"{len(expected)} of {len(expected)} backbone tensors, head new" in capsys.readouterr().out


@pytest.mark.parametrize("prefix", ["module.", "model.", "backbone.", "module.model.", "timm_model."])
def test_prefixes_of_wrappers_are_stripped_and_said(tmp_path, file, prefix, capsys):
    save_file({prefix + name: value for name, value in state_of(network()).items()}, file)
    found, _ = resolved(tmp_path, file)
    assert_equal(found, backbone_of(network()))
    assert "stripped" in capsys.readouterr().out


@pytest.mark.parametrize("nest", pretrained.NESTS)
@pytest.mark.parametrize("suffix", [".pth", ".pth.tar", ".pt", ".ckpt", ".bin"])
def test_what_training_scripts_save_is_taken_out_of_its_nest(tmp_path, nest, suffix):
    path = tmp_path / f"checkpoint{suffix}"
    torch.save({"epoch": 3, nest: state_of(network()), "optimizer": {"state": {}}}, path)
    found, _ = resolved(tmp_path, path, normalisation="imagenet")
    assert_equal(found, backbone_of(network()))


def test_averaged_weights_are_preferred_to_those_they_average(tmp_path):
    path = tmp_path / "checkpoint.pth"
    torch.save({"state_dict": state_of(network(seed=1)), "state_dict_ema": state_of(network())}, path)
    assert_equal(resolved(tmp_path, path, normalisation="half")[0], backbone_of(network()))


@pytest.mark.parametrize("num_classes", [10, 1000])
def test_the_classifier_is_never_taken_whatever_its_size(tmp_path, file, num_classes):
    save_file(state_of(network(num_classes)), file)
    assert not any(name.startswith("fc.") for name in resolved(tmp_path, file)[0])


def test_a_deeper_networks_weights_do_not_pass_for_a_shallower_ones(tmp_path):
    path = tmp_path / "weights.safetensors"
    save_file(state_of(network(name="resnet34")), path)
    with pytest.raises(ValueError, match=r"122 of 120 backbone|not of resnet18 \d+, first .*layer"):
        resolved(tmp_path, path, name="resnet18", normalisation="imagenet")


def spoilt(change):
    def made(state):
        change(state)
        return state

    return made


def nan(state):
    state["conv1.0.weight" if "conv1.0.weight" in state else next(iter(state))].view(-1)[0] = float("nan")


def without_one(state):
    del state[[name for name in state if name.endswith("weight")][3]]


def strange_names(state):
    for name in list(state):
        state["encoder_" + name] = state.pop(name)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (nan, "1 tensors hold NaN or inf, first"),
        (without_one, "missing 1, first"),
        (strange_names, r"0 of \d+ backbone tensors of test_resnet are in the file; missing .* not of test_resnet"),
    ],
)
def test_a_file_that_does_not_fit_stops_with_names(tmp_path, file, change, said):
    state = state_of(network())
    change(state)
    save_file(state, file)
    with pytest.raises(ValueError, match=said) as error:
        resolved(tmp_path, file)
    assert str(file) in str(error.value) and "\n" not in str(error.value)
    assert not (tmp_path / "out.safetensors").exists()


def test_a_wrong_shape_is_named_with_both_shapes(tmp_path, file):
    state = state_of(network())
    name = [name for name, value in state.items() if value.ndim == 4][1]
    state[name] = state[name][:, :1].contiguous()
    save_file(state, file)
    with pytest.raises(ValueError, match=r"of another shape 1, first .* for \("):
        resolved(tmp_path, file)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".npz"])
def test_a_file_that_was_cut_short_is_one_line(tmp_path, suffix):
    whole, path = tmp_path / "whole", tmp_path / f"cut{suffix}"
    if suffix == ".safetensors":
        save_file(state_of(network()), whole)
    else:
        torch.save(state_of(network()), whole)
    path.write_bytes(whole.read_bytes()[:5000])
    with pytest.raises(ValueError, match=r"cut\S*") as error:
        resolved(tmp_path, path, normalisation="half")
    assert "\n" not in str(error.value)


class Runs:
    def __reduce__(self):
        return (print, ("code of the file ran",))


def test_a_pickle_with_code_is_refused_and_not_run(tmp_path, capsys):
    path = tmp_path / "model.pth"
    torch.save({"state_dict": state_of(network()), "callback": Runs()}, path)
    with pytest.raises(ValueError, match="holds more than tensors, or is damaged"):
        resolved(tmp_path, path, normalisation="half")
    assert "ran" not in capsys.readouterr().out


def test_a_folder_of_several_files_asks_which(tmp_path, file):
    file.rename(file.with_name("first.safetensors"))
    shutil.copy(file.with_name("first.safetensors"), file.with_name("second.safetensors"))
    with pytest.raises(ValueError, match=r"holds 2 files of weights, \['first.safetensors', 'second.safetensors'\]"):
        resolved(tmp_path, file.parent)


def test_without_a_config_it_asks_for_the_constants(tmp_path, file):
    (file.parent / "config.json").unlink()
    with pytest.raises(ValueError, match="set model.normalisation to imagenet"):
        resolved(tmp_path, file)
    assert resolved(tmp_path, file, normalisation="0.1 0.2 0.3 0.4 0.5 0.6")[1].std == (0.4, 0.5, 0.6)


def test_a_config_of_another_architecture_stops(tmp_path, file):
    (file.parent / "config.json").write_text(json.dumps(CONFIG | {"architecture": "test_vit"}))
    with pytest.raises(ValueError, match="says that the weights are of test_vit, model.name is test_resnet"):
        resolved(tmp_path, file.parent)


def test_huggingface_constants_are_read(tmp_path, file):
    (file.parent / "config.json").write_text("{}")
    (file.parent / "preprocessor_config.json").write_text(json.dumps({"image_mean": [0.1] * 3, "image_std": [0.2] * 3}))
    assert resolved(tmp_path, file.parent)[1].mean == (0.1,) * 3


@pytest.mark.parametrize(
    ("named", "said"),
    [("test_resnet", "no such file or folder; allowed: none, hub"), ("notes.txt", "files that end in")],
)
def test_a_name_that_is_no_file_of_weights(tmp_path, monkeypatch, named, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(ValueError, match=said):
        resolved(tmp_path, named)


@pytest.mark.parametrize("left", ["half the file, called whole", "half the file, called incomplete", "the whole file"])
def test_a_cache_that_was_half_downloaded(tmp_path, file, monkeypatch, left):
    """The layout of Hugging Face's cache, without a network; the whole file shows that it is this cache that is read."""
    from huggingface_hub import constants

    cache = tmp_path / "cache"
    of_model = cache / "models--timm--test_resnet.r160_in1k"
    blob, snapshot = of_model / "blobs/d1", of_model / "snapshots/a0"
    for folder in (of_model / "refs", blob.parent, snapshot):
        folder.mkdir(parents=True)
    (of_model / "refs/main").write_text(snapshot.name)
    content = file.read_bytes()
    blob.write_bytes(content if left == "the whole file" else content[: len(content) // 2])
    if "incomplete" in left:
        blob.rename(blob.with_suffix(".incomplete"))
    else:
        (snapshot / "model.safetensors").symlink_to(blob)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    if left == "the whole file":
        assert_equal(resolved(tmp_path, "hub", name="test_resnet.r160_in1k")[0], backbone_of(network()))
    else:
        with pytest.raises(ValueError, match="cannot be had from the hub .*; connect once so that they lie whole"):
            resolved(tmp_path, "hub", name="test_resnet.r160_in1k")
    assert (tmp_path / "out.safetensors").exists() == (left == "the whole file")


def test_a_path_called_hub_is_not_taken_for_the_hub(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hub").mkdir()
    with pytest.raises(ValueError, match="write ./hub or rename it"):
        resolved(tmp_path, "hub")


def test_a_path_that_equals_a_registry_name_is_the_path(tmp_path, monkeypatch, file):
    shutil.copytree(file.parent, tmp_path / "resnet18")
    monkeypatch.chdir(tmp_path)
    assert_equal(resolved(tmp_path, "resnet18")[0], backbone_of(network()))


def test_positions_are_fitted_to_the_size_that_options_name_and_it_is_said(tmp_path, capsys):
    path = tmp_path / "weights.safetensors"
    save_file(state_of(network(name="test_vit")), path)
    found, _ = resolved(tmp_path, path, name="test_vit", normalisation="half", options={"img_size": 96})
    due = timm.create_model("test_vit", img_size=96).state_dict()
    assert {name: value.shape for name, value in found.items()} == {
        name: due[name].shape for name in found
    } and "pos_embed" in found
    assert "timm fitted 1 tensors to this size, first pos_embed" in capsys.readouterr().out


class TestStage:
    @pytest.fixture
    def place(self, workplace, file):
        workplace.params["model"] |= {"name": NAME, "weights": str(file.parent), "width": 8}
        workplace.params["images"]["side"] = 32
        workplace.params["train"] |= {"epochs": 1, "optimizer": "adamw", "peak_lr": 1e-4}
        return workplace

    def test_training_begins_with_the_weights(self, place):
        place.params["train"]["peak_lr"] = 1e-9
        place.run_data()
        place.run("split")
        place.run("train", key="0")
        found, expected = load_file(place.path("data/models/0.safetensors")), backbone_of(network())
        weights = [name for name in expected if name.endswith("weight")]
        assert all(torch.allclose(found[name], expected[name], atol=1e-6) for name in weights)
        card = json.loads(place.path("data/models/0.json").read_text())
        assert (card["mean"], card["std"]) == ([0.5] * 3, [0.25] * 3)

    def test_a_replaced_file_is_another_fingerprint_for_resuming(self, place, file):
        place.run_data()
        place.run("split")
        place.run("train", key="0")
        before = json.loads(place.path("data/models/0.json").read_text())["pretrained_fingerprint"]
        state = state_of(network())
        state[next(iter(state))].view(-1)[0] += 1e-3
        save_file(state, file)
        place.run("weights")
        place.run("train", key="0")
        assert json.loads(place.path("data/models/0.json").read_text())["pretrained_fingerprint"] != before

    def test_what_was_resolved_is_kept_where_the_file_is_gone(self, place, file, capsys):
        place.run("weights")
        before = place.path("data/weights/weights.safetensors").read_bytes()
        shutil.rmtree(file.parent)
        place.run("weights")
        assert place.path("data/weights/weights.safetensors").read_bytes() == before
        assert "is no longer there; what was read from it before" in capsys.readouterr().out
        place.params["model"]["normalisation"] = "imagenet"
        with pytest.raises(ValueError, match="no such file or folder"):
            place.run("weights")

    def test_weights_that_were_altered_since_stop_training(self, place):
        place.run_data()
        place.run("split")
        path = place.path("data/weights/weights.safetensors")
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(bytes(content))
        with pytest.raises(ValueError, match="dvc repro -f weights"):
            place.run("train", key="0")

    def test_none_writes_a_file_that_is_safetensors(self, workplace):
        workplace.run("weights")
        assert load_file(workplace.path("data/weights/weights.safetensors")) == {}
        assert read_card(workplace.path("data/weights/card.json")).source == "none"

    def test_networks_of_ours_have_none(self, workplace):
        workplace.params["model"]["weights"] = "hub"
        with pytest.raises(ValueError, match="resnet9 has no pretrained weights; set it to none"):
            workplace.run("weights")


class TestImport:
    def imported(self, source, out, *words):
        import argparse

        parser = argparse.ArgumentParser()
        command.add_arguments(parser)
        args = parser.parse_args(["import", str(source), "--architecture", NAME, "--out", str(out), *words])
        command.run(args)

    def test_tensors_in_order_under_other_names(self, tmp_path):
        model = network(10)
        path, out = tmp_path / "other.pth", tmp_path / "out"
        torch.save({f"layer{at}": value for at, value in enumerate(network().state_dict().values())}, path)
        self.imported(path, out, "--in-order", "--normalisation", "half")
        found, card = resolved(tmp_path, out)
        assert_equal(found, backbone_of(network()))
        assert card.constants_from.endswith("config.json") and model.num_classes == 10

    def test_another_order_stops(self, tmp_path):
        path = tmp_path / "other.pth"
        state = list(network().state_dict().values())
        torch.save({f"layer{at}": value for at, value in enumerate(state[::-1])}, path)
        with pytest.raises(ValueError, match="in order differ in shape, first layer0 for"):
            self.imported(path, tmp_path / "out", "--in-order", "--normalisation", "half")
        assert not (tmp_path / "out").exists()

    def test_earlier_weights_are_not_replaced(self, tmp_path, file):
        with pytest.raises(ValueError, match="holds model.safetensors and config.json already"):
            self.imported(file, file.parent)

    def test_the_classifier_comes_along_under_a_wrappers_prefix(self, tmp_path):
        path, out = tmp_path / "other.pth", tmp_path / "out"
        torch.save({"module." + name: value for name, value in state_of(network()).items()}, path)
        self.imported(path, out, "--normalisation", "half")
        assert_equal(load_file(out / "model.safetensors"), state_of(network()))

    def test_no_picture_is_classified_by_a_classifier_that_is_random(self, tmp_path, capsys):
        path, picture = tmp_path / "other.pth", tmp_path / "picture.png"
        torch.save(state_of(network(7)), path)
        picture.write_bytes(encoded(image_of(0, 0)))
        self.imported(path, tmp_path / "out", "--normalisation", "half", "--pictures", str(picture))
        said = capsys.readouterr().out
        assert f"no classifier of {path} fits" in said and "picture.png: classes" not in said

    def test_what_lies_beside_the_weights_goes_along(self, tmp_path, file):
        self.imported(file, tmp_path / "out")
        found = json.loads((tmp_path / "out/config.json").read_text())["pretrained_cfg"]
        assert (found["input_size"], found["std"]) == ([3, 160, 160], [0.25] * 3)

    def test_an_earlier_config_is_not_replaced(self, tmp_path, file):
        (tmp_path / "out").mkdir()
        (tmp_path / "out/config.json").write_text("mine")
        with pytest.raises(ValueError, match="holds config.json already"):
            self.imported(file, tmp_path / "out")

    def test_pictures_are_classified_by_the_imported_network(self, tmp_path, file, capsys):
        picture = tmp_path / "picture.png"
        picture.write_bytes(encoded(image_of(0, 0)))
        self.imported(file, tmp_path / "out", "--normalisation", "half", "--pictures", str(picture))
        shares = pretrained.class_shares(
            network(), CONFIG | {"pretrained_cfg": {**CONFIG["pretrained_cfg"], "std": [0.5] * 3}}, picture
        )
        assert f"{picture}: classes {int(np.argmax(shares))} ({shares.max():.3f})" in capsys.readouterr().out


class TestDownloads:
    """What lies in the place of weights, or is not quite them."""

    @pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".bin"])
    @pytest.mark.parametrize(
        ("content", "said"),
        [
            (b"", "is empty"),
            (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12\n", "git-LFS's pointer"),
            (b"\n<!DOCTYPE html><html></html>", "is a web page, not weights"),
        ],
    )
    def test_what_is_no_file_of_weights_is_called_what_it_is(self, tmp_path, suffix, content, said):
        path = tmp_path / f"model{suffix}"
        path.write_bytes(content)
        with pytest.raises(ValueError, match=said):
            resolved(tmp_path, path, normalisation="half")

    def test_safetensors_are_read_under_another_name(self, tmp_path, file):
        shutil.copy(file, tmp_path / "pytorch_model.bin")
        found, _ = resolved(tmp_path, tmp_path / "pytorch_model.bin", normalisation="half")
        assert_equal(found, backbone_of(network()))

    def test_a_tensor_beside_the_nest_does_not_hide_it(self, tmp_path):
        path = tmp_path / "model.pth"
        torch.save({"best_acc1": torch.tensor(71.3), "state_dict": state_of(network())}, path)
        assert_equal(resolved(tmp_path, path, normalisation="half")[0], backbone_of(network()))

    def test_tensors_that_share_memory_are_written_each_by_itself(self, tmp_path):
        state, path = state_of(network()), tmp_path / "model.pth"
        first, second = [name for name in state if name.endswith("running_mean") and len(state[name]) == 16][:2]
        state[second] = state[first]
        torch.save(state, path)
        found, _ = resolved(tmp_path, path, normalisation="half")
        assert torch.equal(found[second], state[first])

    @pytest.mark.parametrize(
        "change",
        [
            lambda value: (value * 10).to(torch.int8),
            lambda value: value.to(torch.complex64),
            lambda value: value.to_sparse(),
        ],
    )
    @pytest.mark.filterwarnings("ignore")
    def test_quantised_and_sparse_weights_are_refused(self, tmp_path, change):
        state, path = state_of(network()), tmp_path / "model.pth"
        state["conv1.0.weight"] = change(state["conv1.0.weight"])
        torch.save(state, path)
        with pytest.raises(ValueError, match="quantised, sparse or no real numbers, first conv1.0.weight"):
            resolved(tmp_path, path, normalisation="half")

    def test_two_networks_are_not_mixed_where_prefixes_fall_together(self, tmp_path):
        names, path = list(state_of(network())), tmp_path / "model.pth"
        half = len(names) // 2
        one, two = state_of(network(seed=1)), state_of(network(seed=2))
        mixed = {f"model.{name}": one[name] for name in names[: half + 9]}
        mixed |= {f"backbone.{name}": two[name] for name in names[half:]}
        torch.save(mixed, path)
        with pytest.raises(ValueError, match="missing .* not of test_resnet"):
            resolved(tmp_path, path, normalisation="half")

    @pytest.mark.parametrize(
        ("described", "said"),
        [
            ({"mean": 0.5, "std": 0.5}, "must be three numbers each"),
            ({"image_mean": [0.5] * 3, "image_std": [0.5] * 3, "do_normalize": False}, "has do_normalize False"),
            ({"image_mean": [0.5] * 3, "image_std": [0.5] * 3, "rescale_factor": 1 / 127.5}, "has rescale_factor"),
        ],
    )
    def test_constants_that_do_not_mean_what_they_seem_are_asked_for(self, tmp_path, file, described, said):
        (file.parent / "config.json").write_text(json.dumps(described))
        with pytest.raises(ValueError, match=said):
            resolved(tmp_path, file.parent)

    def test_huggingfaces_usual_scale_is_taken(self, tmp_path, file):
        described = {"image_mean": [0.4] * 3, "image_std": [0.2] * 3, "rescale_factor": 0.00392156862745098}
        (file.parent / "config.json").write_text(json.dumps(described | {"do_normalize": True, "do_rescale": True}))
        assert resolved(tmp_path, file.parent)[1].mean == (0.4,) * 3

    @pytest.mark.parametrize(
        ("name", "options"), [("test_resnet.nope", {}), (NAME, {"global_pool": "nope"}), (NAME, {"output_stride": 3})]
    )
    def test_what_timm_cannot_make_is_one_line(self, tmp_path, file, name, options):
        with pytest.raises(ValueError, match=f"timm cannot make {name} with model.options"):
            resolved(tmp_path, file, name=name, options=options)

    def test_what_is_of_another_network_does_not_hide_a_reading_without_it(self, tmp_path, file, monkeypatch):
        state = state_of(network()) | {"relative_position_index": torch.zeros(3)}
        save_file(state, file)
        monkeypatch.setattr(
            pretrained,
            "_conversion",
            lambda name: lambda found: {k: v for k, v in found.items() if "position" not in k},
        )
        assert_equal(resolved(tmp_path, file)[0], backbone_of(network()))


@pytest.mark.parametrize("option", ["num_classes=5", "in_chans=1", "checkpoint_path=a.pth"])
def test_options_that_are_not_the_users_are_refused(workplace, option):
    workplace.params["model"] |= {"name": NAME, "options": [option]}
    with pytest.raises(ValueError, match=f"model.options has {option.split('=')[0]}, which is not an option"):
        workplace.run("weights")


def test_check_says_that_what_was_read_before_is_kept(workplace, file, monkeypatch, capsys):
    import argparse

    workplace.params["model"] |= {"name": NAME, "weights": str(file.parent)}
    workplace.run("weights")
    shutil.rmtree(file.parent)
    monkeypatch.chdir(workplace.root)
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    command.run(parser.parse_args(["check"]))
    assert "is no longer there; what was read from it before" in capsys.readouterr().out
