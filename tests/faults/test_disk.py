"""Every stage on a disk that is full or read-only: one message, and the outputs of before are as they were."""

import subprocess

import pytest
from refusals import copy_of, outputs, refusal

STAGES = ("ingest", "split", "teach", "train", "infer", "evaluate", "submit", "report")


@pytest.fixture
def disk(finished, tmp_path):
    """The finished workplace on a file system of its own; it is unmounted afterwards."""
    folder = tmp_path / "disk"
    folder.mkdir()
    made = ["mount", "-t", "tmpfs", "-o", "size=64m", "none", folder]
    if subprocess.run(made, capture_output=True, check=False).returncode:
        pytest.skip("mounting needs root")
    try:
        place = copy_of(finished, folder)
        place.params["train"]["epochs"] = 1
        place.save()
        yield place
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)  # a store may still be mapped


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_on_a_read_only_disk(disk, capsys, monkeypatch, stage):
    subprocess.run(["mount", "-o", "remount,ro", disk.root], check=True)
    message = refusal(disk, stage, capsys, monkeypatch, key="0")
    assert "cannot be written: Read-only file system; make" in message
    assert str(disk.root) in message


def fill(folder):
    """Leave no room at all on the disk of `folder`."""
    with (folder / "ballast").open("wb", buffering=0) as handle:
        for size in (1 << 16, 1 << 12):
            try:
                while handle.write(bytes(size)) == size:
                    pass
            except OSError:
                continue


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_on_a_full_disk(disk, capsys, monkeypatch, stage):
    fill(disk.root)
    before = outputs(disk)
    message = refusal(disk, stage, capsys, monkeypatch, key="0")
    assert "cannot be written: the disk is full" in message and "make room and run again" in message
    (disk.root / "ballast").unlink()
    disk.run(stage, key="0")
    assert outputs(disk).keys() >= before.keys()
