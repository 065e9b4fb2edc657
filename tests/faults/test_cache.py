"""A blob that was altered in DVC's cache: `dvc checkout` gives it back without complaint, the next stage does not."""

import os
import subprocess

import pytest
from damage import drop_a_line, flip
from refusals import copy_of, refusal

from tests import warm

pytestmark = pytest.mark.slow

# (file, damage, the stage that reads it, the stage that its message names)
BLOBS = [
    ("data/folds.csv", drop_a_line, "train", "split"),
    ("data/images/train.npy", flip, "evaluate", "decode_train"),
    ("data/models/0.safetensors", flip, "infer", "-s train@0"),
    ("data/oof/0.npz", flip, "evaluate", "-s train@0"),
]


def dvc(folder, *words):
    done = subprocess.run(
        [warm.python(), "-m", "dvc", *words],
        cwd=folder,
        env=os.environ | {"DVC_NO_ANALYTICS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize(("name", "damage", "stage", "again"), BLOBS, ids=[blob[0] for blob in BLOBS])
def test_a_damaged_blob_that_dvc_checks_out_is_found(
    finished, tmp_path, capsys, monkeypatch, name, damage, stage, again
):
    place = copy_of(finished, tmp_path)
    place.save()
    dvc(place.root, "init", "--no-scm", "-q")
    dvc(place.root, "add", "-q", name)
    whole = place.path(name).read_bytes()
    (blob,) = (path for path in place.path(".dvc/cache/files/md5").rglob("*") if path.is_file())
    blob.chmod(0o644)
    damage(blob)
    blob.chmod(0o444)
    place.path(name).unlink()
    assert "corrupt" not in dvc(place.root, "checkout").lower()
    assert place.path(name).read_bytes() != whole
    message = refusal(place, stage, capsys, monkeypatch, key="0")
    assert name in message and f"run `dvc repro -f {again}`" in message
