"""`python -m pipeline repro`: one line a stage, and on failure the stage's own error and where the log is."""

import re
import shutil
import subprocess
import sys

import pytest
from project import Project

from pipeline.commands.repro import Screen

OUTPUT = """Stage 'digits' didn't change, skipping
Running stage 'ingest':
> python -m pipeline.stages.ingest --params params.yaml
warning: 3 rows have no image
read 30 images
Updating lock file 'dvc.lock'

Stage 'split' is cached - skipping run, checking out outputs
Updating lock file 'dvc.lock'
Running stage 'train@0':
> python -m pipeline.stages.train --fold 0
epoch 1: loss 2.0
error: params.yaml: 2 things are wrong:
  one
  two
ERROR: failed to reproduce 'train@0': failed to run: python -m pipeline.stages.train --fold 0, exited with 2
"""


def test_the_screen_has_a_line_a_stage_and_its_warnings(capsys):
    with Screen() as screen:
        for line in OUTPUT.splitlines():
            screen.read(line)
    out = capsys.readouterr().out.splitlines()
    assert out[0] == "ingest: warning: 3 rows have no image"
    assert re.fullmatch(r"ingest +\d+\.\d s  read 30 images", out[1])
    assert out[2:] == ["split: was run before, taken from DVC's cache"]
    assert (screen.num_unchanged, screen.stage) == (1, "train@0")
    assert screen.lines == ["epoch 1: loss 2.0", "error: params.yaml: 2 things are wrong:", "  one", "  two"]


def repro(project, *words):
    command = [sys.executable, "-m", "pipeline", "repro", *words]
    return subprocess.run(command, cwd=project.root, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_it_is_dvc_repro_with_a_short_screen_and_a_long_log(tmp_path):
    project = Project(tmp_path)
    shutil.rmtree(tmp_path / "data")
    done = repro(project, "ingest")
    assert (tmp_path / "data/members").is_dir(), "which `dvc repro` cannot do without"
    assert done.returncode == 0 and re.fullmatch(r"(digits .*\n)?ingest +\d+\.\d s  \S.*\n", done.stdout), done.stdout
    log = (tmp_path / "data/logs/repro.log").read_text()
    assert "> python -m pipeline.stages.ingest --params params.yaml" in log
    assert "ingest" not in project.dvc("status", "ingest")
    assert re.fullmatch(r"\d stages unchanged\n", repro(project, "ingest").stdout)

    (tmp_path / "raw.zip").write_bytes(b"no archive")
    done = repro(project, "ingest")
    bare = subprocess.run(
        [sys.executable, "-m", "dvc", "repro", "ingest"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == bare.returncode != 0
    errors = done.stderr.splitlines()
    assert errors[0].startswith("error: ") and "raw.zip" in errors[0], done.stderr
    assert errors[-1] == "ingest failed; all that was run and written is in data/logs/repro.log"
    assert "--params" not in done.stderr

    project.params["folds"] = {"0": {}, 1: {}}
    project.save()
    done = repro(project)
    assert done.returncode == 2 and "fold keys are not quoted" in done.stderr


def test_a_stage_whose_lock_did_not_change_has_its_line_and_submits_warnings_show(capsys):
    with Screen() as screen:
        for line in ("Running stage 'ingest':", "> python …", "read it", "Stage 'split' didn't change, skipping",
                     "Running stage 'submit':", "> python …", "wrote it", "WARNING constant: 9"):  # fmt: skip
            screen.read(line)
        screen.finish()
    out = capsys.readouterr().out
    assert "ingest" in out and "read it" in out and "submit: WARNING constant: 9" in out and "wrote it" in out
    assert out.count("WARNING constant") == 1 and screen.num_unchanged == 1
