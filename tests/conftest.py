"""Made-up competitions: small images whose class a network can learn."""

import copy
import csv
import functools
import io
import json
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

os.environ.setdefault(
    "OMP_NUM_THREADS", "1"
)  # small networks; threads that wait for each other cost more than they give
# reruns are compared to the bit, which is promised on a CPU alone; CUDA_VISIBLE_DEVICES=0 runs them on a GPU all the
# same, where (H100, torch 2.11) those that ask for equal bits fail
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

ROOT = Path(__file__).resolve().parent.parent
LABELS = ("bird", "a cat", "dog, large")

# files that take a minute or more: one that began last would leave the other cores idle
LONGEST = (
    "test_kill.py", "test_dvc_params.py", "test_experiments.py", "test_dvc_stages.py", "test_fold_pool.py",
    "test_engines.py", "test_blend.py", "test_any_competition.py", "test_dvc_weights.py", "test_dvc.py",
    "test_two_at_once.py", "test_kernel_formats.py",
)  # fmt: skip


def pytest_collection_modifyitems(items):
    """Begin with the longest files, else in order: `--dist loadfile --no-loadscope-reorder` deals files as they come."""
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))


def image_of(class_index, number, size=12):
    """One colour channel bright, the others noise: (size, size, 3) uint8."""
    pixels = np.random.default_rng([class_index, number]).integers(0, 90, (size, size, 3), dtype=np.uint8)
    pixels[:, :, class_index % 3] += 120
    return pixels


def encoded(pixels, kind="PNG", **options):
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format=kind, **options)
    return stream.getvalue()


def csv_bytes(header, rows):
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue().encode()


def competition_files(per_class=10, num_test=9, labels=LABELS):
    """Member name -> bytes of a competition in the plain Kaggle layout, ids with leading zeros."""
    files, train, test = {}, [], []
    for number in range(per_class * len(labels)):
        class_index = number % len(labels)
        train.append((f"{number:03d}", labels[class_index]))
        files[f"train/{number:03d}.png"] = encoded(image_of(class_index, number))
    for number in range(num_test):
        test.append((f"9{number:02d}", labels[0]))
        files[f"test/9{number:02d}.png"] = encoded(image_of(number % len(labels), 1000 + number))
    files["train.csv"] = csv_bytes(("id", "label"), train)
    files["sample_submission.csv"] = csv_bytes(("id", "label"), test)
    return files


def write_zip(path, files):
    with zipfile.ZipFile(path, "w") as handle:
        for name, content in files.items():
            handle.writestr(name, content)
    return path


def save_weights(folder, name):
    """Weights of timm's network, drawn at random, in a new folder of timm's layout."""
    import timm
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(3)
    folder.mkdir()
    save_file(timm.create_model(name).state_dict(), folder / "model.safetensors")
    constants = {"mean": [0.5] * 3, "std": [0.25] * 3}
    (folder / "config.json").write_text(json.dumps({"architecture": name, "pretrained_cfg": constants}))
    return folder


@functools.cache
def shipped(name):
    """The content of a YAML file in the root, read once: it takes 10 ms, and stages are called a thousand times."""
    return yaml.safe_load((ROOT / name).read_text())


class Workplace:
    """A folder with params.yaml in which stages are called as dvc.yaml calls them."""

    def __init__(self, root):
        self.root = root
        self.params = copy.deepcopy(shipped("params.yaml"))
        self.params["model"]["width"] = 8
        self.params["train"] |= {"epochs": 6, "batch_size": 8, "peak_lr": 0.05, "valid_every": 2}
        self.params["folds"] = {"0": {}, "1": {}}
        self.params["split"]["num_folds"] = 2
        self.raw = root / "raw.zip"

    @property
    def raw(self):
        """The organiser's archive, which stages find in params.yaml."""
        return Path(self.params["competition"]["raw"])

    @raw.setter
    def raw(self, path):
        self.params["competition"]["raw"] = str(path)

    def save(self):
        (self.root / "params.yaml").write_text(yaml.dump(self.params, Dumper=yaml.CSafeDumper))

    def words(self, stage, **items):
        """A stage's command line as in dvc.yaml, after the module's name, paths moved under this folder."""
        import shlex

        found = shipped("dvc.yaml")["stages"][stage]
        command = found.get("do", found)["cmd"]
        for name, value in items.items():
            command = command.replace("${" + name + "}", value)
        places = ("data/", "submissions/", "params.yaml", "dvc.lock")
        words = shlex.split(command)[3:]
        return [str(self.root / word) if word.startswith(places) else word for word in words]

    def run(self, stage, **items):
        """Call a stage's main with the command line of dvc.yaml."""
        import importlib

        self.save()
        if stage == "train" and not self.path(f"data/pseudo/{items['key']}.npz").exists():
            self.run("teach", **items)  # its input, an empty file as shipped
        importlib.import_module(f"pipeline.stages.{stage}").main(self.words(stage, **items))

    def run_data(self):
        """The stages before split, and what of weights is ready before it: read, decoded and looked at."""
        for stage in ("ingest", "decode_train", "decode_test", "audit", "weights", "embed_train", "embed_test"):
            self.run(stage)

    def run_all(self):
        self.run_data()
        self.run("split")
        self.run("neighbours")
        for fold in self.params["folds"]:
            self.run("train", key=fold)
            self.run("infer", key=fold)
        self.run("evaluate")
        self.run("submit")

    def path(self, name):
        return self.root / name


@pytest.fixture
def workplace(tmp_path):
    place = Workplace(tmp_path)
    write_zip(place.raw, competition_files())
    return place


@pytest.fixture
def undrawn(monkeypatch):
    """Without evaluate's pictures, of which no failure reaches a submission: they take more than a second of CPU time."""
    from pipeline.stages import evaluate

    monkeypatch.setattr(evaluate, "drawn", lambda name, draw: b"")


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """A workplace in which every stage has run; for reading, not for changing."""
    place = Workplace(tmp_path_factory.mktemp("finished"))
    write_zip(place.raw, competition_files())
    place.run_all()
    return place
