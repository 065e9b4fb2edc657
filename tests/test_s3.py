"""The organiser's archive and the results of a run on S3, through DVC alone: the documents' commands against a server."""

import logging
import os
import re
import secrets
import subprocess
import sys
from pathlib import Path

import pytest

from tests import warm
from tests.conftest import ROOT
from tests.project import NAMES, Project

boto3 = pytest.importorskip("boto3", reason="the S3 client is not installed (requirements-s3.txt)")
moto = pytest.importorskip("moto.server", reason="the S3 server is not installed (requirements-dev.txt)")

pytestmark = pytest.mark.slow

KEY, SECRET, LOCAL_SECRET = (f"PLANTED{secrets.token_hex(12)}" for _ in range(3))  # none of them in this file
HERE, ELSEWHERE, RESULTS = re.findall(r"```sh\n(.*?)```", (ROOT / "docs/scaling.md").read_text().split("## Data elsewhere")[1],
                             re.DOTALL)[:3]  # fmt: skip


@pytest.fixture(scope="module")
def variables():
    """What AWS's own clients go by; the bucket holds nothing."""
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    server.start()
    host, port = server.get_host_and_port()
    keys = {"aws_access_key_id": KEY, "aws_secret_access_key": SECRET}
    found = {name.upper(): value for name, value in keys.items()}
    found |= {"AWS_ENDPOINT_URL": f"http://{host}:{port}", "AWS_DEFAULT_REGION": "us-east-1"}
    boto3.client("s3", endpoint_url=found["AWS_ENDPOINT_URL"], region_name="us-east-1", **keys).create_bucket(
        Bucket="my-bucket"
    )
    yield found
    server.stop()


class Machine:
    """A user's: a home folder, and the shell in the project's folder."""

    def __init__(self, home, variables):
        self.home, self.said = home, ""
        (home / "bin").mkdir(parents=True)
        (home / "bin/dvc").write_text('#!/bin/sh\nexec python -m dvc "$@"\n')  # that `python` is warm
        (home / "bin/dvc").chmod(0o755)
        path = os.pathsep.join([str(home / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]])
        self.environment = warm.environment(os.environ | NAMES | {"PATH": path} | variables | {"HOME": str(home)})

    def types(self, commands, folder, code=0):
        done = subprocess.run(
            ["bash", "-ec", commands], cwd=folder, env=self.environment, capture_output=True, text=True, check=False
        )
        self.said += done.stdout + done.stderr
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr


def without_installing(commands):
    return "".join(line for line in commands.splitlines(keepends=True) if " pip install " not in line)


def files_with(text, *folders):
    paths = [path for folder in folders for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    assert len(paths) > 100
    return [str(path) for path in paths if text.encode() in path.read_bytes()]


def test_the_documents_commands_from_a_bucket_to_another_machine(tmp_path, variables):
    """docs/scaling.md, "Data elsewhere", word by word: from raw.zip in a bucket to a finished clone."""
    here, there = Machine(tmp_path / "a", variables), Machine(tmp_path / "b", variables)
    (tmp_path / "project").mkdir()
    project = Project(tmp_path / "project", num_folds=2)
    client = boto3.client("s3", endpoint_url=variables["AWS_ENDPOINT_URL"], aws_access_key_id=KEY,
                          aws_secret_access_key=SECRET, region_name="us-east-1")  # fmt: skip
    client.upload_file(str(project.root / "raw.zip"), "my-bucket", "organiser/raw.zip")
    (project.root / "raw.zip").unlink()

    here.types(without_installing(HERE), project.root)
    origin = (project.root / "data/raw/raw.zip.dvc").read_text()
    assert "path: s3://my-bucket/organiser/raw.zip" in origin
    made = (project.root / "submissions/submission.csv").read_bytes()

    clone = tmp_path / "clone"
    there.types(f"git clone -q {project.root} {clone}", tmp_path)
    assert re.findall("Running stage '(.+)'", there.types(ELSEWHERE, clone)) == ["ingest", "weights"]
    assert (clone / "submissions/submission.csv").read_bytes() == made
    assert "up to date" in there.types("dvc status", clone)

    third = tmp_path / "third"
    there.types(f"git clone -q {project.root} {third}", tmp_path)
    assert "Running stage" not in there.types(RESULTS, third)
    assert (third / "submissions/submission.csv").read_bytes() == made
    assert not list(third.rglob("*.npy")) + list(third.rglob("raw.zip"))

    client.put_object(Bucket="my-bucket", Key="organiser/raw.zip", Body=b"another archive")
    there.types("dvc update data/raw/raw.zip.dvc", clone)
    assert (clone / "data/raw/raw.zip").read_bytes() == b"another archive"
    assert "data/raw/raw.zip" in there.types("dvc status ingest", clone), "and DVC sees it"

    there.types(f"dvc remote modify --local results secret_access_key {LOCAL_SECRET}", clone)
    assert "config.local" not in there.types("git status --short --untracked-files=all", clone)
    assert not re.search(f"{re.escape(SECRET)}|{KEY}", here.said + there.said)
    assert not files_with(SECRET, tmp_path)
    assert not files_with(KEY, tmp_path)
    assert files_with(LOCAL_SECRET, tmp_path) == [str(clone / ".dvc/config.local")]
