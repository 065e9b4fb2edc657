"""What the user sees of a bad input: the real `main` of a stage, called as `python -m pipeline.stages.…` calls it."""

import importlib
import shutil
import sys

import pytest

from pipeline.base import console


def outputs(place):
    """Path -> bytes of everything that stages have written."""
    folders = (place.path("data"), place.path("submissions"))
    return {path: path.read_bytes() for folder in folders for path in sorted(folder.rglob("*")) if path.is_file()}


def refusal(place, stage, capsys, monkeypatch, **items):
    """The one message that the stage ends with. Exit code 2, no traceback, and nothing written, changed or deleted."""
    before = outputs(place)
    capsys.readouterr()
    monkeypatch.setattr(sys, "argv", [stage, *place.words(stage, **items)])
    with pytest.raises(SystemExit) as stop:
        console.run(importlib.import_module(f"pipeline.stages.{stage}").main)
    said = capsys.readouterr().err
    assert stop.value.code == console.USER_ERROR == 2
    assert said.startswith("error: ") and said.count("\nerror: ") == 0, said
    assert "Traceback" not in said and "bug" not in said, said
    after = outputs(place)
    assert after.keys() == before.keys()
    assert after == before
    return said.removeprefix("error: ").rstrip("\n")


def copy_of(finished, folder):
    """The finished workplace, to be spoilt."""
    place = type(finished)(folder)
    shutil.copytree(finished.root, folder, dirs_exist_ok=True)
    return place
