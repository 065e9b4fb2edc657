"""The house: imports go down, stages stay apart, dvc.yaml lists what is reached, paths come from it."""

import ast
import copy
import re
import shutil
import subprocess
import sys

import pytest
import yaml
from conftest import Workplace
from house import ROOT, code_entries, direct_imports, module_files

DVC = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
FLOORS = (  # from the ground up; rooms of one floor do not know each other
    ("base",),
    ("competition", "archive", "loop", "report"),
    ("tables", "models", "submission", "split", "audit", "engines"),
    ("scoring", "training", "images"),
    ("layout", "bundle", "workbench"),
    ("panels",),
    ("stages", "leaderboard"),
    ("commands",),
)
ROOMS = {f"pipeline.{room}": floor for floor, rooms in enumerate(FLOORS) for room in rooms} | {
    "pipeline.__main__": len(FLOORS)
}
MAX_ENTRIES = 8
# of rooms that dvc.yaml names whole, what some stage does not reach: an edit makes it stale without need
FILES_TOO_MANY = {
    "pipeline/audit/duplicates.py", "pipeline/audit/findings.py",
    "pipeline/base/allocator.py", "pipeline/base/lookup.py", "pipeline/competition/class_findings.py",
    "pipeline/competition/lists.py", "pipeline/competition/problems.py", "pipeline/competition/spelling.py",
    "pipeline/competition/store.py", "pipeline/models/embed_part.py", "pipeline/models/prediction.py",
    "pipeline/report/figures.py", "pipeline/scoring/out_of_fold.py", "pipeline/workbench/flattery.py",
    "pipeline/workbench/gains.py",
    "pipeline/submission/difference.py", "pipeline/tables/asked.py",
    "pipeline/submission/report.py",
}  # fmt: skip
TORCH_ROOMS = ("pipeline.loop.", "pipeline.models.", "pipeline.training.", "pipeline.stages.train")
HEAVY = ("torch", "torchvision", "timm", "sklearn", "pandas", "matplotlib", "PIL", "dvc", "kaggle")
# what each stage loads beside numpy and yaml; ResNet9 needs torch alone
LOADED_HEAVY = {
    "digits": {"sklearn", "PIL"},
    "ingest": set(),
    "decode_train": {"PIL"},
    "decode_test": {"PIL"},
    "audit": {"PIL"},
    "split": {"sklearn"},
    "weights": set(),  # these three torch and timm as well, where there are weights
    "embed_train": set(),
    "embed_test": set(),
    "neighbours": set(),  # torch, scikit-learn and Pillow as well, where there are features
    "teach": set(),  # torch as well where it is on
    "train": {"torch"},
    "infer": {"torch"},
    "evaluate": {"sklearn", "matplotlib", "PIL"},
    "submit": set(),
    "report": {"PIL"},
}


def room_of(module):
    return max((room for room in ROOMS if module == room or module.startswith(room + ".")), key=len)


@pytest.mark.parametrize("module", [name for name in module_files() if name != "pipeline"])
def test_imports_go_down_and_rooms_of_one_floor_stay_apart(module):
    room = room_of(module)
    for other in direct_imports(module):
        other_room = room_of(other)
        assert other_room == room or ROOMS[other_room] < ROOMS[room], f"{module} imports {other}"


@pytest.mark.parametrize("module", [name for name in module_files() if name.startswith("pipeline.stages.")])
def test_stages_never_import_stages(module):
    assert not [other for other in direct_imports(module) if other.startswith("pipeline.stages.")]


def test_every_stage_has_its_module_and_every_module_its_stage():
    modules = {name.rsplit(".", 1)[1] for name in module_files() if name.startswith("pipeline.stages.")}
    assert modules == set(DVC)


@pytest.mark.parametrize("stage", DVC)
def test_a_stages_list_of_code_covers_what_it_reaches(stage):
    deps = DVC[stage].get("do", DVC[stage])["deps"]
    listed = [dep for dep in deps if dep.startswith("pipeline/")]
    entries, _ = code_entries(f"pipeline.stages.{stage}")
    assert listed == entries, "put this list into dvc.yaml"
    assert len(entries) <= MAX_ENTRIES


def test_the_files_that_some_stage_lists_but_does_not_reach_are_these():
    assert set().union(*(code_entries(f"pipeline.stages.{stage}")[1] for stage in DVC)) == FILES_TOO_MANY


@pytest.mark.parametrize("stage", DVC)
def test_a_stages_command_names_exactly_its_files(stage):
    found = DVC[stage].get("do", DVC[stage])
    deps = {dep for dep in found["deps"] if not dep.startswith("pipeline/")}
    outs = {
        next(iter(out)) if isinstance(out, dict) else out for out in found.get("outs", []) + found.get("metrics", [])
    }
    words = set(re.findall(r"(?:data|submissions)/\S+", found["cmd"]))
    assert set(re.findall(r"\$\{.*?\}", found["cmd"])) <= {"${key}"}, "what users choose must not reach a shell"
    not_tracked = {"submissions/archive", "data/scratch", "data/seconds", "data/seconds/${key}.json",
                   "data/report/seconds.json"}  # fmt: skip
    if stage == "ingest":
        # of an earlier run, of inspect: it warns by them
        not_tracked |= {"data/images/train.csv", "data/images/test.csv", "data/inspected.json"}
    if stage == "split":
        not_tracked |= {"data/models", "data/oof", "data/history", "data/metrics", "data/pseudo", "data/test"}
    imported = {"data/competition/metric"} if stage == "evaluate" else set()  # by its own name
    assert words - not_tracked == (deps | outs) - {"${competition.raw}"} - imported


@pytest.mark.parametrize("module", [name for name in module_files() if name != "pipeline.commands.places"])
def test_no_path_literals_in_code(module):
    tree = ast.parse(module_files()[module].read_text())
    docs = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    texts = [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs
    ]
    assert not [
        text
        for text in texts
        if re.match(r"\.?/?(data|submissions|recipes)/", text) or text in ("params.yaml", "dvc.lock")
    ]


@pytest.mark.slow
@pytest.mark.parametrize("stage", LOADED_HEAVY)
def test_a_stage_that_runs_loads_exactly_the_heavy_packages_it_uses(stage, finished, tmp_path):
    """The whole stage in a fresh interpreter: imports inside functions count when they happen."""
    place = Workplace(tmp_path / "copy")
    place.params = copy.deepcopy(finished.params)
    shutil.copytree(finished.root, place.root)
    place.raw = place.root / finished.raw.name
    code = (
        f"import sys\nfrom pipeline.stages.{stage} import main\nmain(sys.argv[1:])\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    place.save()
    words = [sys.executable, "-c", code, *place.words(stage, key="0")]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = set(ast.literal_eval(done.stdout.splitlines()[-1]))
    if "sklearn" in loaded:
        loaded.discard("pandas")  # scikit-learn loads it where it is installed
    assert loaded == LOADED_HEAVY[stage]


def test_every_stage_has_its_list_of_heavy_packages():
    assert set(LOADED_HEAVY) == set(DVC)


def test_every_room_has_its_floor():
    there = {name.split(".")[1] for name in module_files() if name.count(".") > 1}
    assert sorted(room for floor in FLOORS for room in floor) == sorted(there)


def test_no_room_but_those_of_networks_knows_torch():
    for name, path in module_files().items():
        imported = {
            alias.name.split(".")[0]
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Import)
            for alias in node.names
        }
        imported |= {
            node.module.split(".")[0]
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.ImportFrom) and node.module
        }
        if "torch" in imported:
            assert name.startswith(TORCH_ROOMS) or name == "pipeline.commands.probe", name


def test_the_top_level_holds_what_the_readme_says():
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split(
        "\n"
    )
    top = {name.split("/")[0] for name in listed if name}
    assert top <= {
        ".ci", ".dvc", ".dvcignore", ".gitattributes", ".gitignore", "Makefile", "README.md", "benchmarks", "constraints.txt", "data", "docs",
        "dvc.yaml", "params.yaml", "pipeline", "pyproject.toml", "recipes", "requirements-dev.txt",
        "requirements-extra.txt", "requirements-ray.txt", "requirements-s3.txt", "requirements-slurm.txt", "requirements.txt",
        "submissions", "tests", "dvc.lock",
    }  # fmt: skip
