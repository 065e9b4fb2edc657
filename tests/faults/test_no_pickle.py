"""Nothing that we read can run code: no pickle, no YAML objects, in our source and in files that pretend."""

import ast
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from house import module_files
from refusals import copy_of, refusal

from pipeline.base.files import sha256_of, write_json
from pipeline.training import resume

FORBIDDEN = {
    "pickle.load", "pickle.loads", "joblib.load", "dill.load", "dill.loads", "marshal.load",
    "marshal.loads", "shelve.open", "yaml.load", "yaml.unsafe_load", "yaml.full_load", "yaml.load_all",
    "pandas.read_pickle", "eval", "exec", "os.system", "np.fromfile",
}  # fmt: skip
MODULES = {"pickle", "cPickle", "dill", "joblib", "marshal", "shelve", "cloudpickle"}


def forbidden_in(source):
    """What the source calls or imports of the above, and arrays read with pickle allowed."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if alias.name.split(".")[0] in MODULES]
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] in MODULES:
            found.append(node.module)
        elif isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            allowed = {word.arg: ast.unparse(word.value) for word in node.keywords}
            if (
                name in FORBIDDEN
                or allowed.get("shell") == "True"
                or (name.endswith("torch.load") and allowed.get("weights_only") != "True")
                or allowed.get("weights_only") == "False"
                or (name in ("np.load", "numpy.load") and allowed.get("allow_pickle") != "False")
                or allowed.get("allow_pickle") == "True"
            ):
                found.append(name)
    return found


@pytest.mark.parametrize("name", module_files())
def test_no_module_reads_what_could_run(name):
    source = module_files()[name].read_text()
    found = forbidden_in(source)
    if "from ruamel.yaml import YAML" in source:  # its `yaml.load` makes no objects of Python
        found = [call for call in found if call != "yaml.load"]
    assert found == []


@pytest.mark.parametrize(
    "source",
    ["import pickle", "from joblib import load", "torch.load(x)", "torch.load(x, weights_only=False)", "np.load(x)", "np.load(x, allow_pickle=True)",
     "yaml.load(x, Loader)", "subprocess.run(x, shell=True)", "eval('1')"],
)  # fmt: skip
def test_the_search_finds_what_it_looks_for(source):
    assert forbidden_in(source)


class Trap:
    """Unpickled, it leaves a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def trap_at(path, sprung):
    path.write_bytes(pickle.dumps(Trap(sprung)))


def array_trap(path, sprung):
    np.save(path, np.array([Trap(sprung)], dtype=object), allow_pickle=True)


def arrays_trap(path, sprung):
    trap = np.array([Trap(sprung)], dtype=object)
    np.savez(path, allow_pickle=True, image_ids=trap, probs=trap)


# name -> (file, how it is spoilt, stage)
PICKLES = {
    "weights": ("data/models/0.safetensors", trap_at, "infer"),
    "card": ("data/models/0.json", trap_at, "infer"),
    "train store": ("data/images/train.npy", array_trap, "train"),
    "test store": ("data/images/test.npy", trap_at, "infer"),
    "out-of-fold file": ("data/oof/0.npz", arrays_trap, "evaluate"),
    "test probabilities": ("data/test/0.npz", trap_at, "submit"),
    "schema": ("data/competition/schema.json", trap_at, "evaluate"),
    "folds": ("data/folds.csv", trap_at, "train"),
}


@pytest.mark.parametrize("name", PICKLES)
def test_a_pickle_in_the_place_of_a_file_is_refused_and_not_opened(finished, tmp_path, capsys, monkeypatch, name):
    path, spoil, stage = PICKLES[name]
    place, sprung = copy_of(finished, tmp_path / "place"), tmp_path / "sprung"
    spoil(place.path(path), sprung)
    if name == "weights":  # with a card that vouches for it
        import json

        card = place.path("data/models/0.json")
        write_json(card, json.loads(card.read_text()) | {"weights_sha256": sha256_of(place.path(path))})
    place.save()
    assert path in refusal(place, stage, capsys, monkeypatch, key="0")
    assert not sprung.exists()


@pytest.mark.parametrize("honest", [True, False], ids=["its sha256 in its name", "another sha256"])
def test_a_pickle_as_state_to_resume_from_is_thrown_away(workplace, tmp_path, monkeypatch, capsys, honest):
    workplace.params["train"]["epochs"] = 2
    workplace.run_data()
    workplace.run("split")
    scratch, sprung, written = workplace.path("data/scratch"), tmp_path / "sprung", []

    def plant(checkpoints):
        scratch.mkdir()
        bare = scratch / "bare"
        torch.save({"step": 3, "network": Trap(sprung)}, bare)
        shutil.copy(bare, workplace.path("kept"))
        digest = sha256_of(bare)[: resume.DIGITS] if honest else "0" * resume.DIGITS
        written.append(bare.rename(scratch / f"0-{checkpoints.fingerprint}-1-000000003-{digest}{resume.SUFFIX}"))

    find, planted = resume.ResumeCheckpoints._paths, []

    def paths(checkpoints):
        if checkpoints.fingerprint and not planted:
            planted.append(True)
            plant(checkpoints)
        return find(checkpoints)

    monkeypatch.setattr(resume.ResumeCheckpoints, "_paths", paths)
    workplace.run("train", key="0")
    assert written and not written[0].exists() and not sprung.exists()
    torch.load(workplace.path("kept"), weights_only=False)
    assert sprung.exists(), "it was a trap"
    assert "the state at step 3 is damaged" in capsys.readouterr().out
    assert workplace.path("data/oof/0.npz").is_file()
