"""`python -m pipeline verify`: a whole run passes, every kind of damage is found and names the stage to run again."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from conftest import Workplace

from pipeline import __main__ as command
from pipeline.base.files import md5_of, read_arrays, write_arrays


@pytest.fixture
def copied(finished, tmp_path, monkeypatch):
    shutil.copytree(finished.root, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return Workplace(tmp_path)


def test_a_sound_run_passes(copied, capsys):
    command.main(["verify"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in lines] == [
        "tables", "train store", "test store", "folds", "weights", "out of fold", "test", "decision", "submission",
        "DVC",
    ]  # fmt: skip
    assert all("  ok  " in line for line in lines)


def flip_a_byte(path):
    content = bytearray(path.read_bytes())
    content[-9] ^= 1
    path.write_bytes(content)


def truncate(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def drop_a_line(path):
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))


def swap_folds(path):
    path.write_text(path.read_text().replace(",0\n", ",x\n").replace(",1\n", ",0\n").replace(",x\n", ",1\n"))


def lose_a_prediction(path):
    stored = read_arrays(path, ("image_ids", "probs"))
    write_arrays(path, {name: array[1:] for name, array in stored.items()})


def spoil_a_prediction(path):
    stored = read_arrays(path, ("image_ids", "probs"))
    stored["probs"][0, 0] = np.nan
    write_arrays(path, stored)


def other_sha256(path):
    path.write_text(json.dumps(json.loads(path.read_text()) | {"sha256": "0" * 64}))


def other_decision(path):
    path.write_text(json.dumps(json.loads(path.read_text()) | {"at_least": 1}))


DAMAGE = [
    ("data/images/train.npy", flip_a_byte, "-f decode_train`"),
    ("data/images/train.npy", truncate, "-f decode_train`"),
    ("data/images/test.npy", flip_a_byte, "-f decode_test`"),
    ("data/competition/train.csv", drop_a_line, "-f split`"),
    ("data/folds.csv", drop_a_line, "-f split`"),
    ("data/folds.csv", swap_folds, "train@0`"),
    ("data/models/1.safetensors", flip_a_byte, "-f -s train@1`"),
    ("data/models/0.safetensors", truncate, "-f -s train@0`"),
    ("data/oof/1.npz", truncate, "-f -s train@1`"),
    ("data/oof/1.npz", lose_a_prediction, "-f -s train@1`"),
    (
        "data/oof/0.npz",
        spoil_a_prediction,
        "1 of 15 rows are no probabilities, first ['000']; run `dvc repro -f -s train@0`",
    ),
    ("data/test/0.npz", lose_a_prediction, "-f -s infer@0`"),
    ("data/models/1.json", truncate, "-f -s train@1`"),
    ("data/report/decision.json", other_decision, "-f -s evaluate`"),
    ("data/report/decision.json", truncate, "-f -s evaluate`"),
    ("data/report/decision.json", Path.unlink, "decision.json is not there; run `dvc repro -f -s evaluate`"),
    ("submissions/submission.csv", flip_a_byte, "-f -s submit`"),
    ("submissions/receipt.json", other_sha256, "-f -s submit`"),
    ("submissions/receipt.json", truncate, "-f -s submit`"),
]


@pytest.mark.parametrize(("name", "damage", "said"), DAMAGE)
def test_damage_is_found_and_the_stage_named(copied, name, damage, said):
    damage(copied.path(name))
    with pytest.raises(ValueError) as error:
        command.main(["verify"])
    assert said in str(error.value)
    assert str(error.value).count("dvc repro") == 1


def test_what_dvc_recorded_is_compared(copied):
    lock = {"stages": {"split": {"outs": [{"path": "data/folds.csv", "md5": "0" * 32}]}}}
    copied.path("dvc.lock").write_text(json.dumps(lock))
    with pytest.raises(ValueError, match=r"folds.csv was altered since split made it; run `dvc repro -f -s split`"):
        command.main(["verify"])


def write_lock(copied, without=(), params=None):
    """A dvc.lock that records all files of the run but some, as of one stage."""
    files = [path for folder in ("data", "submissions") for path in copied.path(folder).rglob("*") if path.is_file()]
    names = [path.relative_to(copied.root).as_posix() for path in files]
    outs = [{"path": name, "md5": md5_of(copied.path(name))} for name in names if name not in without]
    stage = {"outs": outs, "params": {"params.yaml": params or {}}}
    copied.path("dvc.lock").write_text(json.dumps({"stages": {"all": stage}}))


def test_a_lock_that_lacks_a_stage_is_no_record_of_the_run(copied, capsys):
    """As a merge of dvc.lock, an edit, or DVC killed while it wrote it may leave it."""
    write_lock(copied)
    command.main(["verify"])
    assert "outputs as DVC recorded them" in capsys.readouterr().out
    write_lock(copied, without=("data/test/1.npz", "data/oof/1.npz"))
    said = r"does not record 2 of 23 files of the run, first \['data/oof/1.npz', 'data/test/1.npz'\]"
    with pytest.raises(ValueError, match=said):
        command.main(["verify"])
    for content in ("", "schema: '2.0'\n", "stages:\n"):
        copied.path("dvc.lock").write_text(content)
        with pytest.raises(ValueError, match="does not record 23 of 23 files"):
            command.main(["verify"])


def test_a_run_of_other_parameters_is_not_the_one_that_is_asked_for(copied):
    params = yaml.safe_load(copied.path("params.yaml").read_text())
    write_lock(copied, params={"split": params["split"], "train": params["train"]})
    command.main(["verify"])
    params["train"]["epochs"] += 1
    copied.path("params.yaml").write_text(yaml.safe_dump(params))
    with pytest.raises(
        ValueError, match=r"other parameters: params.yaml: train.epochs is 7, all ran with 6 .*, 1 in all"
    ):
        command.main(["verify"])


@pytest.mark.parametrize(("stage", "name"), [("train", "train"), ("infer", "test")])
def test_an_altered_store_is_not_used(copied, stage, name):
    flip_a_byte(copied.path(f"data/images/{name}.npy"))
    with pytest.raises(
        ValueError, match=rf"was altered or damaged since decode_{name} wrote it.*run `dvc repro -f decode_{name}`"
    ):
        copied.run(stage, key="0")
