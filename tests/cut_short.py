"""A fold that is cut short in training: what stands for a kill, and the bytes to compare."""

import pytest
from conftest import Workplace, competition_files, write_zip

from pipeline.training import resume

FOLD_OUTPUTS = ("models/0.safetensors", "models/0.json", "oof/0.npz", "history/0.csv", "metrics/0.json")


class KilledError(BaseException):
    """What stands for SIGKILL within a process; tests/faults sends the real one."""


def made_ready(root, recipe):
    root.mkdir(exist_ok=True)
    place = Workplace(root)
    for section, values in recipe.items():
        place.params[section] |= values
    write_zip(place.raw, competition_files())
    place.run_data()
    place.run("split")
    place.run("train", key="0")
    place.whole = outputs(place)
    return place


def outputs(place):
    return {name: place.path(f"data/{name}").read_bytes() for name in FOLD_OUTPUTS}


def cut_short(place, monkeypatch, *, after=3, stages=("train",)):
    """Run these stages of fold 0 until `after` states are saved, then die."""
    left, save = [after], resume.ResumeCheckpoints.save

    def dying(checkpoints, state):
        save(checkpoints, state)
        left[0] -= 1
        if not left[0]:
            raise KilledError

    with monkeypatch.context() as patched:
        patched.setattr(resume.ResumeCheckpoints, "save", dying)
        with pytest.raises(KilledError):
            for stage in stages:
                place.run(stage, key="0")
