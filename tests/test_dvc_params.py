"""Every key of params.yaml, changed after a finished run and back, with the real `dvc` and its run-cache.

Exactly the stages that the key governs become stale, under another key of the run-cache; what they write carries the
new value; and going back restores the old files without running anything.
"""

import copy
import hashlib
import io
import json
import os
import shutil
from contextlib import chdir

import numpy as np
import pytest
import yaml
from conftest import ROOT, competition_files, csv_bytes, write_zip
from project import Project

from pipeline.base.params import SECTIONS
from pipeline.base.yamls import read_yaml
from tests import quick_yaml, warm

pytestmark = pytest.mark.slow

TAUGHT = {"teach@0", "teach@1"}
TRAINED = {"train@0", "train@1"}
INFERRED = {"infer@0", "infer@1"}
EMBEDDED = {"embed_train", "embed_test"}
GOVERNED = {  # section -> the stages that read it
    "competition": {"ingest"}, "images": {"decode_train"}, "split": {"split"}, "model": {"weights"} | EMBEDDED | TAUGHT | TRAINED,
    "augment": TAUGHT | TRAINED, "train": TAUGHT | TRAINED, "pseudo": TAUGHT,
    "compute": EMBEDDED | TAUGHT | TRAINED | INFERRED, "infer": INFERRED,
    "blend": {"evaluate", "submit", "report"},
}  # fmt: skip
GOVERNED_TOO = {
    "allow": {"audit"},
    "near_copies": {"audit"},
    "fit": {"decode_test"},
    "tta": EMBEDDED,
}  # key -> other stages that read it
# key -> another valid value; in each list those that can be run together
OTHER = {
    "competition": {
        "raw": "other.zip", "allow": ["image without row"], "near_copies": "ignore", "encoding": "utf-8",
        "train_table": "train.csv", "test_table": "none", "sample": "sample_submission.csv", "id_column": "id",
        "label": "label", "delimiter": "none", "train_images": "train/{id}.png", "test_images": "test/{id}.png",
        "target": "single_label", "grades": ["dog", "bird", "cat"], "positive": "bird", "submission": "label", "metric": "macro_f1",
        "corrections": "fixes.csv", "spelling": "{label}", "header": ["id", "label"], "pixels": "12x12",
    },
    "images": {"side": 16, "fit": "pad"},
    "split": {"num_folds": 3, "seed": 1, "group": "site", "time": "day", "date_order": "dmy", "fold_column": "mine", "small_classes": "allow"},
    "model": {
        "name": "test_resnet", "width": 9, "options": ["drop_rate=0.1"], "whitening": True,
        "weights": "hub", "normalisation": "half", "frozen": True, "head_first": True, "checkpointing": True,
        "activation": "gelu", "init": "dirac", "norm_scale": "fixed", "pooling": "csra",
    },
    "augment": {
        "crop_padding": 2, "crop_fill": "reflect", "crop_scale": 0.5, "flip": True, "cutout": 3,
        "policy": "autoaugment", "mixup": 0.2, "cutmix": 0.5,
    },
    "train": {
        "seed": 1, "seeds": 2, "epochs": 2, "batch_size": 9, "optimizer": "adamw", "peak_lr": 0.01, "momentum": 0.8,
        "weight_decay": 0.001, "warmup": 0.3, "label_smoothing": 0.2, "ema_decay": 0.5, "tta": "mirror",
        "valid_every": 1, "clip_norm": 1.0, "fit_memory": True, "start_side": 8, "bias_lr": 2.0,
        "layer_decay": 0.7, "freeze_norms": True,
        "loss": "focal", "focal_gamma": 1.0, "class_weights": "balanced", "sampling": "sqrt",
    },
    "pseudo": {"confidence": 0.5},
    "compute": {"device": "cpu", "precision": "fp32", "compile": True, "ranks": 2},
    "infer": {"batch_size": 7, "device": "cpu", "precision": "fp32", "compile": True},
    "blend": {"members": ["other"], "how": "mean"},
}  # fmt: skip
KEYS = [(section, key) for section, keys in OTHER.items() for key in keys]
# DVC keeps no run with outputs out of its cache (cache: false), except metrics and plots: results that git holds, and
# the link to a user's own metric; both stages take seconds
NEVER_CACHED = {"evaluate", "ingest", "weights"}
NOT_RUN = {  # only whether they are stale is looked at: what they ask for is not at hand, or takes long
    ("competition", "corrections"), ("split", "num_folds"), ("model", "name"), ("model", "weights"), ("model", "frozen"), ("model", "head_first"), ("model", "checkpointing"), ("model", "options"), ("compute", "compile"), ("compute", "ranks"),
    ("train", "layer_decay"), ("train", "freeze_norms"),
    ("infer", "compile"),
}  # fmt: skip


def test_the_list_has_every_key_and_other_values():
    shipped = read_yaml((ROOT / "params.yaml").read_text())
    assert {section: set(keys) for section, keys in OTHER.items()} == {
        section: set(shipped[section]) for section in SECTIONS
    }
    assert set(shipped) == {*OTHER, "folds"}


class Watched(Project):
    """A finished project of two folds; `dvc` is called within this process."""

    def __init__(self, root):
        super().__init__(root, num_folds=2)
        files = competition_files(labels=("bird", "cat", "dog"))
        table = [(f"{n:03d}", ("bird", "cat", "dog")[n % 3], f"s{n // 6}", n, n % 2) for n in range(30)]
        files["train.csv"] = csv_bytes(("id", "label", "site", "day", "mine"), table)
        write_zip(root / "raw.zip", files)
        del files["train/029.png"]
        files["train.csv"] = csv_bytes(("id", "label", "site", "day", "mine"), table[:-1])
        write_zip(root / "other.zip", files)
        self.params["augment"]["crop_padding"] = 1
        self.start = copy.deepcopy(self.params)
        self.ran = []

    def repo(self):
        from dvc.repo import Repo

        return Repo(str(self.root))

    def set(self, **sections):
        """The first values but for these."""
        self.params = copy.deepcopy(self.start)
        for section, values in sections.items():
            self.params[section] |= values
        self.save()

    def repro(self, *targets):
        """The stages that ran, those that the run-cache gave left out."""
        self.ran.clear()
        self.worked = True
        with chdir(self.root):
            self.repo().reproduce(list(targets) or None)
        return set(self.ran)

    def keys(self):
        """Stage -> (its parameters are as they were when it last ran, its key in the run-cache)."""
        import dvc.output
        from dvc.dependency import ParamsDependency
        from dvc.stage.cache import _can_hash, _get_stage_hash

        found = {}
        with chdir(self.root), pytest.MonkeyPatch.context() as patch:
            patch.setattr(dvc.output, "build", built_once(dvc.output.build))
            for stage in self.repo().index.stages:
                stale = any(dep.status() for dep in stage.deps if isinstance(dep, ParamsDependency))
                stage.save_deps()
                cached = _can_hash(stage)  # of weights never: what is in their file is in no key
                found[stage.addressing] = (not stale, _get_stage_hash(stage) if cached else None)
        return found

    def files(self):
        """Path -> sha256 of all that stages hand on."""
        paths = [
            path for folder in ("data", "submissions") for path in (self.root / folder).rglob("*") if path.is_file()
        ]
        return {
            path.relative_to(self.root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in paths
            if not {"scratch", "archive", "demo", "seconds", "seconds.json"} & set(path.relative_to(self.root).parts)
        }

    def json(self, name):
        return json.loads((self.root / name).read_text())


def built_once(build):
    """DVC's hashing of a file or folder, which gives what it found the first time: stages name the same ones again."""
    known = {}

    def built(odb, path, fs, name, **options):
        key = path, name, options.get("dry_run")
        if key not in known:
            known[key] = build(odb, path, fs, name, **options)
        return known[key]

    return built


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    import dvc.stage.run as run
    from dvc.env import DVC_SITE_CACHE_DIR

    patch = pytest.MonkeyPatch()
    root = tmp_path_factory.mktemp("project")
    patch.setenv("DVC_NO_ANALYTICS", "1")
    patch.setenv(DVC_SITE_CACHE_DIR, str(root / ".dvc/site"))
    for name, value in warm.environment(dict(os.environ)).items():
        patch.setenv(name, value)
    project = Watched(root)
    call = run.cmd_run

    def noted(stage, *args, **kwargs):
        project.ran.append(stage.addressing)
        return call(stage, *args, **kwargs)

    patch.setattr(run, "cmd_run", noted)
    undo = quick_yaml.install(tmp_path_factory.mktemp("yaml"))
    project.set()
    assert {"ingest", "split", *TRAINED, *INFERRED, "evaluate", "submit", "report"} <= project.repro()
    project.first, project.first_keys = project.files(), project.keys()
    yield project
    undo()
    patch.undo()


@pytest.fixture(autouse=True)
def back(project):
    """After each test the first values again: nothing runs, and every file is as it was."""
    project.worked = False
    yield
    project.set()
    if not project.worked:
        return
    assert project.repro() <= NEVER_CACHED, "going back is free"
    now = project.files()
    receipts = {"submissions/receipt.json"}
    assert {name for name in project.first | now if project.first.get(name) != now.get(name)} <= receipts
    assert project.keys() == project.first_keys


def test_dvc_lock_is_what_dvc_writes_and_is_read_as_dvc_reads_it(project):
    """Through all of quick_yaml.py, which wrote it stage by stage."""
    from dvc.utils.serialize import _yaml

    path = project.root / "dvc.lock"
    text, stream = path.read_text(), io.StringIO()
    yaml = _yaml._get_yaml()
    yaml.dump(yaml.load(text), stream)
    assert stream.getvalue() == text
    assert _yaml.parse_yaml(text, path) == type(yaml)(typ="safe").load(text)


@pytest.mark.parametrize("section", OTHER)
def test_each_changed_key_makes_stale_exactly_what_it_governs(project, section):
    for key, value in OTHER[section].items():
        project.set(**{section: {key: value}})
        now = project.keys()
        due = GOVERNED[section] | GOVERNED_TOO.get(key, set())
        assert {name for name, (fresh, _) in now.items() if not fresh} == due, key
        changed = {name for name in now if now[name][1] != project.first_keys[name][1]}
        assert changed == due - {"weights"}, f"{key}: the run-cache's key"


def test_each_of_a_folds_overrides_makes_stale_that_fold_alone(project):
    for number, (key, value) in enumerate(OTHER["train"].items()):
        fold = str(number % 2)
        project.set(folds={fold: {key: value}})
        now = project.keys()
        changed = {name for name in now if now[name][1] != project.first_keys[name][1]}
        assert changed == {f"teach@{fold}", f"train@{fold}", "evaluate", "submit", "report"}, key


SEEN = {  # key -> what a file says of its new value
    "raw": lambda project: len((project.root / "data/competition/train.csv").read_text().splitlines()) == 30,
    "metric": lambda project: project.json("data/competition/schema.json")["metric"] == "macro_f1",
    "side": lambda project: np.load(project.root / "data/images/train.npy").shape[1:] == (16, 16, 3),
    **dict.fromkeys(
        ("seed", "group", "time", "fold_column"),
        lambda project: project.files()["data/folds.csv"] != project.first["data/folds.csv"],
    ),
}
ALONE = {"raw": "ingest", "metric": "ingest", "side": "decode_train", "fit": "decode_train"} | dict.fromkeys(
    ("seed", "group", "time", "date_order", "fold_column", "small_classes"), "split"
)


@pytest.mark.parametrize("key", [*ALONE, "all others of competition"])
def test_the_stage_runs_again_and_back_again_it_does_not(project, key):
    alone = [(section, name) for section, name in KEYS if name == key and section in ("competition", "images", "split")]
    others = [("competition", name) for name in OTHER["competition"] if name not in ("raw", "metric", "corrections")]
    stage = ALONE.get(key, "ingest")
    changes = {}
    for section, name in alone or others:
        changes.setdefault(section, {})[name] = OTHER[section][name]
    project.set(**changes)
    assert project.repro(stage) == {stage}
    assert SEEN.get(key, lambda project: True)(project)
    project.set()
    assert project.repro(stage) <= NEVER_CACHED


@pytest.mark.parametrize("sections", ["model, train", "augment, compute, infer, images"])
def test_every_trained_fold_carries_its_new_parameters(project, sections):
    changed = {
        section: {key: value for key, value in OTHER[section].items() if (section, key) not in NOT_RUN}
        for section in sections.split(", ")
    }
    project.set(**changed)
    due = set().union(*(GOVERNED[section] for section in changed)) | INFERRED
    assert (
        due
        <= project.repro()
        <= due | EMBEDDED | {"decode_test", "audit", "split", "neighbours", "evaluate", "submit", "report"}
    )
    receipt = project.json("submissions/receipt.json")["params"]
    for section, values in changed.items():
        assert {key: receipt[section][key] for key in values} == values
    for fold in "01":
        card = project.json(f"data/models/{fold}.json")
        for section in set(card["params"]) & set(changed):
            assert {key: card["params"][section][key] for key in changed[section]} == changed[section]
        assert card["image_size"] == (16 if "images" in changed else 12)


@pytest.mark.parametrize(
    "same",
    [lambda text: text.replace("mixup: 0.0", "mixup: 0"), lambda text: text.replace("mixup: 0.0", "mixup: 0.00"),
     lambda text: yaml.safe_dump(dict(reversed(yaml.safe_load(text).items())), sort_keys=False),
     lambda text: yaml.safe_dump({name: dict(reversed(keys.items())) for name, keys in yaml.safe_load(text).items()}, sort_keys=False),
     lambda text: text + "# a comment\n"],
    ids=["0", "0.00", "order of sections", "order of keys", "comment"],
)  # fmt: skip
def test_another_spelling_of_the_same_values_makes_nothing_stale(project, same):
    path = project.root / "params.yaml"
    text = path.read_text()
    path.write_text(same(text))
    assert path.read_text() != text
    assert project.repro() == set()


@pytest.mark.parametrize(
    ("section", "key", "value"), [("augment", "flip", 0), ("train", "seed", False), ("augment", "mixup", False)]
)
def test_what_dvc_takes_for_equal_but_is_of_another_type_is_found_by_folds(project, section, key, value):
    """False == 0 in Python, so that DVC runs no stage, which would refuse it."""
    project.set(**{section: {key: value}})
    assert all(fresh for fresh, _ in project.keys().values()), "else the stages refuse it: this test can go"
    from pipeline.base.params import check_params

    with pytest.raises(ValueError, match=f"{section}.{key} is {value!r}"):
        check_params(project.root / "params.yaml")


def test_options_of_other_types_differ_for_dvc(project):
    keys = set()
    for option in (
        "a=1",
        "a=1.0",
        "a=true",
        "a=null",
        "size=1",
        "size=2",
        "a={size: 1}",
        "a={size: 2}",
        "a={nfiles: 2}",
    ):
        project.set(model={"options": [option]})
        keys.add(project.keys()["train@0"][1])
    assert len(keys) == 9


def test_two_checkouts_may_share_a_cache(project, tmp_path):
    """What one ran the other takes, by its own parameters: of the same ones all, of others nothing that they govern."""
    other = tmp_path / "other"
    shutil.copytree(
        project.root, other, ignore=shutil.ignore_patterns("data", "submissions", "cache", "tmp", "site", "dvc.lock")
    )
    for name in ("data/members", "submissions"):
        (other / name).mkdir(parents=True)
    (other / "data/members/.gitkeep").touch()
    (other / ".dvc/config.local").write_text(f"[cache]\n    dir = {project.root / '.dvc/cache'}\n")
    mine = project.root
    project.root = other
    try:
        assert project.repro() <= NEVER_CACHED
        name = "data/images/train.npy"
        assert hashlib.sha256((other / name).read_bytes()).hexdigest() == project.first[name]
        project.set(images={"side": 20})
        assert "decode_train" in project.repro("decode_train")
        assert np.load(other / name).shape[1] == 20
    finally:
        project.root = mine


def test_dvc_checkout_after_going_back_gives_the_old_store(project):
    lock = (project.root / "dvc.lock").read_bytes()
    project.set(images={"side": 24})
    project.repro("decode_train")
    assert np.load(project.root / "data/images/train.npy").shape[1] == 24
    project.set()
    (project.root / "dvc.lock").write_bytes(lock)
    with chdir(project.root):
        project.repo().checkout(force=True)
    assert project.files()["data/images/train.npy"] == project.first["data/images/train.npy"]
