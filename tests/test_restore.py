"""`restore` with real git and DVC on a copy of the project: identical, or the first differing row and the cause."""

import hashlib
import subprocess

import numpy as np
import pytest
import yaml
from conftest import competition_files, encoded, image_of, write_zip
from project import Project

from pipeline.base.files import read_arrays, read_json, sha256_of, write_arrays
from pipeline.leaderboard.ledger import Ledger
from pipeline.leaderboard.restore import Source, _verdict, find_source, restore
from pipeline.submission.difference import first_difference


def test_the_first_differing_row_is_named_with_the_count():
    sent = b"id,label\n1,a\n2,b\n3,a\n"
    assert first_difference(sent, sent) is None
    assert first_difference(b"id,label\n1,a\n2,a\n3,b\n", sent) == (
        "row 2 is the first of 2 that differ, of 3: made 2,a, sent 2,b"
    )
    assert "made nothing (it has fewer rows), sent 3,a" in first_difference(sent[:-4], sent)
    assert "the header is the first of 1 that differ" in first_difference(sent.replace(b"label", b"Label"), sent)
    assert first_difference(sent.replace(b"\n", b"\r\n"), sent).startswith("every cell is equal; newlines")


@pytest.mark.parametrize("kept", [b"id,label\n1,b\n", b"id,label\n1,c\n"])
def test_an_archived_copy_is_compared_only_where_it_is_what_was_sent(tmp_path, kept):
    made, sent = b"id,label\n1,a\n", b"id,label\n1,b\n"
    ledger = Ledger(tmp_path / "ledger.csv")
    ledger.intend(sha256=hashlib.sha256(sent).hexdigest(), message="one", site="s", slug="c", receipt=None)
    [entry] = ledger.submissions()
    (tmp_path / "made.csv").write_bytes(made)
    (tmp_path / f"{entry.sha256[:12]}.csv").write_bytes(kept)
    lock = {"submit": {"outs": [{"path": "made.csv", "md5": "0" * 32}]}}
    said = "\n".join(_verdict(entry, Source("0" * 40, ()), tmp_path, tmp_path, lock, made_again=False).lines)
    assert ("made 1,a, sent 1,b" in said) == (kept == sent)
    assert (f"{entry.sha256[:12]}.csv is not what was sent" in said) == (kept != sent)


def git(root, *words):
    named = ["-c", "user.name=t", "-c", "user.email=t@t"]
    done = subprocess.run(["git", *named, *words], cwd=root, capture_output=True, text=True, check=True)
    return done.stdout.strip()


class Story:
    """A project with submissions in its ledger."""

    def __init__(self, root):
        self.project = Project(root, num_folds=2)
        self.project.params["train"]["epochs"] = 6
        self.raw = root / "data/raw/made-up.zip"  # which git ignores
        self.raw.parent.mkdir(parents=True)
        (root / "raw.zip").rename(self.raw)
        self.project.params["competition"]["raw"] = "data/raw/made-up.zip"
        self.project.save()
        self.root = root
        self.ledger = Ledger(root / "submissions" / "ledger.csv")

    def run(self):
        self.project.dvc("repro")

    def commit(self):
        git(self.root, "add", "-A")
        git(self.root, "commit", "-qm", "results")

    def send(self, reference):
        receipt = read_json(self.root / "submissions/receipt.json")
        sha256 = sha256_of(self.root / "submissions/submission.csv")
        intent = self.ledger.intend(sha256=sha256, message=reference, site="kaggle", slug="made-up", receipt=receipt)
        self.ledger.confirm(intent, reference)

    def edit_the_csv(self):
        path = self.root / "submissions/submission.csv"
        rows = path.read_text().splitlines()
        label = "bird" if not rows[4].endswith("bird") else "a cat"
        edited = "\n".join([*rows[:4], f"{rows[4].split(',')[0]},{label}", *rows[5:], ""]).encode()
        path.unlink()
        path.write_bytes(edited)
        (self.root / f"submissions/archive/{hashlib.sha256(edited).hexdigest()[:12]}.csv").write_bytes(edited)

    def restore(self, reference, folder, **options):
        return restore(
            self.ledger.find(reference),
            root=self.root,
            folder=folder,
            archive=self.root / "submissions/archive",
            **options,
        )

    def fingerprint(self):
        """Every file of the user's tree with its bytes, git's and DVC's own left out."""
        files = (path for path in sorted(self.root.rglob("*")) if path.is_file())
        kept = [path for path in files if not {".git", "tmp", "cache"} & set(path.relative_to(self.root).parts)]
        return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in kept}


@pytest.fixture(scope="module")
def story(tmp_path_factory):
    """first: committed and sent. dirty: sent before its params and dvc.lock were committed. later: committed after."""
    story = Story(tmp_path_factory.mktemp("ledger") / "project")
    story.run()
    story.commit()
    story.send("first")
    story.project.params["train"]["seed"] = 99
    story.project.params["train"]["epochs"] = 5
    story.project.save()
    story.run()
    story.send("dirty")
    story.commit()
    (story.root / "dvc.lock").write_text(
        (story.root / "dvc.lock").read_text() + "# of a run that was never committed\n"
    )
    story.edit_the_csv()
    story.send("never committed")
    git(story.root, "checkout", "-q", "--", "dvc.lock")
    return story


@pytest.mark.slow
def test_an_older_submission_comes_out_identical_and_the_users_tree_is_not_touched(story, tmp_path):
    before, status = story.fingerprint(), git(story.root, "status", "--porcelain")
    restored = story.restore("first", tmp_path / "again")
    assert restored.identical, restored.lines
    assert restored.lines[-1].startswith("identical: sha256 ")
    assert story.fingerprint() == before
    assert git(story.root, "status", "--porcelain") == status
    params = yaml.safe_load((restored.folder / "params.yaml").read_text())
    assert params["train"]["epochs"] == 6, "the params of that submission"
    assert (restored.folder / "data/models/0.safetensors").is_file(), "and its weights"
    with pytest.raises(ValueError, match="is there already; give another folder"):
        story.restore("first", tmp_path / "again")


@pytest.mark.slow
def test_a_submission_from_an_unclean_tree_is_found_by_its_lock_or_said_to_be_unknown(story, tmp_path):
    entry = story.ledger.find("dirty")
    assert "params.yaml" in entry.git_tree and "dvc.lock" in entry.git_tree
    restored = story.restore("dirty", tmp_path / "again")
    assert restored.identical, restored.lines
    assert "holds the same dvc.lock" in restored.source.doubts[0]
    source = find_source(story.ledger.find("never committed"), story.root)
    assert "what those files held cannot be known" in source.doubts[0]
    restored = story.restore("never committed", tmp_path / "unknown")
    assert not restored.identical
    assert any(line.startswith("differs: row 4 is the first of 1 that differ, of 9") for line in restored.lines)
    assert any("what was sent is not what submit wrote at this commit" in line for line in restored.lines)


@pytest.mark.slow
def test_a_result_damaged_in_the_cache_is_the_cause(story, tmp_path):
    lock = yaml.safe_load((story.root / "dvc.lock").read_text())
    md5 = lock["stages"]["infer@0"]["outs"][0]["md5"]
    blob = story.root / ".dvc/cache/files/md5" / md5[:2] / md5[2:]
    whole = blob.read_bytes()
    blob.chmod(0o644)
    stored = read_arrays(blob, ("image_ids", "probs"))
    write_arrays(blob, stored | {"probs": np.roll(stored["probs"], 1, axis=1)})
    blob.chmod(0o444)
    try:
        restored = story.restore("dirty", tmp_path / "again")
    finally:
        blob.unlink()
        blob.write_bytes(whole)
        blob.chmod(0o444)
    assert not restored.identical
    assert any(line.startswith("differs: row ") for line in restored.lines), restored.lines
    cause = "likely cause: data/test/0.npz is not what dvc.lock recorded (a result, damaged in the cache"
    assert any(line.startswith(cause) for line in restored.lines), restored.lines


@pytest.mark.slow
def test_after_a_changed_image_and_an_emptied_cache_the_first_row_and_the_archive_are_named(story, tmp_path):
    files = competition_files()
    for number in range(9):  # every test image now shows the next class
        files[f"test/9{number:02d}.png"] = encoded(image_of((number + 1) % 3, 1000 + number))
    write_zip(story.raw, files)
    story.run()
    story.project.dvc("gc", "-w", "-f")
    with pytest.raises(
        ValueError, match=r"of the files that submit reads are neither in git nor in DVC's cache.*--remake"
    ):
        story.restore("first", tmp_path / "short")
    restored = story.restore("first", tmp_path / "again", remake=True)
    assert not restored.identical
    assert any(line.startswith("differs: row ") and "made 9" in line for line in restored.lines), restored.lines
    causes = [line for line in restored.lines if line.startswith("likely cause")]
    assert causes == [
        "likely cause: data/raw/made-up.zip is not what dvc.lock recorded (the organiser's files: images or tables)"
    ]
