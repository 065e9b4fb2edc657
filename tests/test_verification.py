"""`python -m pipeline verify`: a whole run passes, every kind of damage is found and names the stage to run again."""

import json
import shutil

import numpy as np
import pytest
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


def test_a_lock_that_lacks_a_stage_is_no_record_of_the_run(copied, capsys):
    """As a merge of dvc.lock, or an edit, may leave it."""
    files = [path for folder in ("data", "submissions") for path in copied.path(folder).rglob("*") if path.is_file()]
    outs = [{"path": path.relative_to(copied.root).as_posix(), "md5": md5_of(path)} for path in files]
    copied.path("dvc.lock").write_text(json.dumps({"stages": {"all": {"outs": outs}}}))
    command.main(["verify"])
    assert f"{len(outs)} outputs as DVC recorded them" in capsys.readouterr().out
    kept = [out for out in outs if out["path"] not in ("data/test/1.npz", "data/oof/1.npz")]
    copied.path("dvc.lock").write_text(json.dumps({"stages": {"all": {"outs": kept}}}))
    with pytest.raises(
        ValueError, match=r"does not record 2 of 23 files of the run, first \['data/oof/1.npz', 'data/te"
    ):
        command.main(["verify"])


@pytest.mark.parametrize(("stage", "name"), [("train", "train"), ("infer", "test")])
def test_an_altered_store_is_not_used(copied, stage, name):
    flip_a_byte(copied.path(f"data/images/{name}.npy"))
    with pytest.raises(
        ValueError, match=rf"was altered or damaged since decode_{name} wrote it.*run `dvc repro -f decode_{name}`"
    ):
        copied.run(stage, key="0")
