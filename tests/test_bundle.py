"""The bundle: the same bytes every time, and the same submission in an empty environment without network."""

import json
import shutil
import socket
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from bundles import bundled, verified
from conftest import competition_files, csv_bytes, write_zip
from house import module_files

from pipeline import __main__ as command
from pipeline.archive.archive import open_archive
from pipeline.base.files import read_json
from pipeline.bundle.bundle import ENTRY, REFUSE_NETWORK, RUN_SCRIPT, SCRIPT, requirements
from pipeline.bundle.contents import Settings
from pipeline.bundle.image_members import members_of_ids
from pipeline.bundle.modules import reached_modules


@pytest.fixture(scope="module")
def bundle(finished, tmp_path_factory):
    return bundled(finished, tmp_path_factory.mktemp("bundle") / "bundle.zip")


def test_the_same_content_gives_the_same_bytes(finished, bundle, tmp_path):
    assert bundled(finished, tmp_path / "again.zip").read_bytes() == bundle.read_bytes()


def test_it_holds_code_weights_records_and_exact_requirements_and_no_more(bundle):
    with zipfile.ZipFile(bundle) as archive:
        names = set(archive.namelist())
        lines = archive.read("requirements.txt").decode().split()
    assert {
        "predict.py",
        "MANIFEST.json",
        "schema.json",
        "format.json",
        "decision.json",
        "test.csv",
        "settings.json",
    } <= names
    assert {f"models/{fold}.{kind}" for fold in "01" for kind in ("json", "safetensors")} <= names
    assert {"pipeline/models/resnet9.py", "pipeline/images/decode.py", "pipeline/submission/contract.py"} <= names
    assert not [name for name in names if "stages" in name or "leaderboard" in name or "report" in name]
    packages = {line.split("==")[0] for line in lines}
    assert packages == {"torch", "numpy", "pillow", "safetensors", "simplejpeg", "tqdm"}
    assert all("==" in line for line in lines)
    assert {"timm", "torchvision"} & {line.split("==")[0] for line in requirements([{"architecture": "resnet18"}])}


def test_it_makes_the_submission_again_in_an_empty_environment_without_network(finished, bundle, capsys):
    verified(finished, bundle)
    out = capsys.readouterr().out
    assert "identical: " in out and "network refused" in out


FORMS = {  # of one sample that ingest accepts
    "sample_submission.csv": lambda text: f"{text}\n\n".encode(),  # blank last lines
    "sample_submission.tsv": lambda text: text.replace(",", "\t").encode(),
    "sample.utf16.csv": lambda text: text.encode("utf-16"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMS)
def test_a_sample_of_any_form_that_ingest_accepts_is_read(finished, bundle, tmp_path, name):
    sample = tmp_path / name
    sample.write_bytes(FORMS[name](finished.path("data/competition/sample_submission.csv").read_text()))
    made = predicted(bundle, tmp_path / "run", finished.raw, sample)
    assert made == finished.path("submissions/submission.csv").read_text()


@pytest.mark.slow
def test_verify_feeds_the_organisers_own_sample(finished, bundle, tmp_path, capsys):
    files = competition_files()
    name = "sample_submission.tsv"
    files[name] = FORMS[name](files.pop("sample_submission.csv").decode())
    place = shutil.copytree(finished.root, tmp_path / "place")
    raw = write_zip(place / "raw.zip", files)
    params = place / "params.yaml"
    params.write_text(params.read_text().replace(str(finished.raw), str(raw)))
    bundled(finished, bundle, "--params", str(params), "verify", "--zip", str(bundle))
    assert f"sample: {name} of {raw}\nidentical: " in capsys.readouterr().out


@pytest.mark.slow
def test_verify_names_the_first_differing_row_and_a_file_that_is_not_the_manifests(finished, bundle, tmp_path):
    place = shutil.copytree(finished.root, tmp_path / "place")
    csv = place / "submissions/submission.csv"
    rows = csv.read_text().splitlines()
    csv.write_text("\n".join([*rows[:3], "902,nothing", *rows[4:], ""]))
    with pytest.raises(ValueError, match=r"row 3 is the first of 1 that differ, of 9: made 902,.*, sent 902,nothing"):
        command.main(
            ["bundle", "--params", str(place / "params.yaml"), "--submission", str(csv), "--competition", str(place / "data/competition"), "verify", "--zip",
             str(bundle), "--images", str(finished.raw)]
        )  # fmt: skip
    changed = tmp_path / "changed.zip"
    with zipfile.ZipFile(bundle) as old, zipfile.ZipFile(changed, "w") as new:
        for name in old.namelist():
            new.writestr(name, old.read(name) + (b" " if name == "decision.json" else b""))
    with pytest.raises(ValueError, match=r"1 files are not as its manifest says, first \['decision.json'\]"):
        verified(finished, changed)


def test_a_bundle_needs_the_submission_of_its_receipt(finished, tmp_path):
    place = shutil.copytree(finished.root, tmp_path / "place")
    (place / "submissions/submission.csv").write_text("id,label\n")
    with pytest.raises(ValueError, match="is not the file that .*receipt.json describes"):
        command.main(
            ["bundle", "--params", str(place / "params.yaml"), "--submission", str(place / "submissions/submission.csv"),
             "--competition", str(place / "data/competition"), "--seen", str(place / "data/images/test.csv"),
             "--receipt", str(place / "submissions/receipt.json")]
        )  # fmt: skip


def predicted(bundle, folder, images, sample, *, fails=False):
    with zipfile.ZipFile(bundle) as archive:
        archive.extractall(folder)
    words = [sys.executable, "-I", "predict.py", "--images", images, "--sample", sample]
    done = subprocess.run(list(map(str, words)), cwd=folder, capture_output=True, text=True)
    assert (done.returncode != 0) == fails, done.stderr
    return done.stderr if fails else (folder / "submission.csv").read_text()


@pytest.mark.slow
def test_hidden_test_images_of_other_ids_in_a_plain_folder_are_predicted_by_id(finished, bundle, tmp_path):
    expected = dict(
        line.split(",", 1) for line in finished.path("submissions/submission.csv").read_text().splitlines()[1:]
    )
    images = tmp_path / "images"
    images.mkdir()
    for name, content in competition_files().items():
        if name.startswith("test/"):
            (images / name.removeprefix("test/9")).write_bytes(content)  # 900.png becomes 00.png
    ids = [name[1:] for name in reversed(expected)]
    sample = tmp_path / "sample.csv"
    sample.write_bytes(csv_bytes(("id", "label"), [(name, "bird") for name in ids]))
    made = predicted(bundle, tmp_path / "run", images, sample).splitlines()
    assert made == ["id,label", *(f"{name},{expected['9' + name]}" for name in ids)]


def without_test_table(test_images):
    return Settings(
        folds=["0"], encoding="utf-8", header="auto", pixels="auto", test_table="none", test_images=test_images,
        fit="squash", batch_size=1, device="cpu", precision="fp32",
    )  # fmt: skip


def test_an_image_that_ingest_did_not_see_is_predicted_where_a_rerun_has_it(finished, tmp_path):
    """As where the public test images are absent or broken, and the hidden ones are there under the same ids."""
    files = {name: content for name, content in competition_files().items() if not name.startswith("train")}
    known = tmp_path / "test.csv"
    known.write_text("image_id,path\n900,test/900.png\n901,\n902,\n")
    settings = without_test_table("test/{id}.png")
    del files["test/902.png"]
    with open_archive(write_zip(tmp_path / "hidden.zip", files)) as archive:
        for lenient, second in ((True, "test/901.png"), (False, "")):
            found = members_of_ids(archive, ["900", "901", "902"], "id", known, settings, lenient=lenient)
            assert found == ["test/900.png", second, ""]


def test_ids_lead_to_the_files_that_a_table_of_all_images_names_for_them(tmp_path):
    """Number 901 is 900.png there, though 901.png is there too."""
    files = {name: content for name, content in competition_files().items() if name.startswith("test/")}
    files["images.csv"] = csv_bytes(("id", "file"), [(901 + n, f"{900 + n}.png") for n in range(len(files))])
    known = tmp_path / "test.csv"
    known.write_text("image_id,path\n")
    settings = without_test_table("test/{file}")
    with open_archive(write_zip(tmp_path / "hidden.zip", files)) as archive:
        found = members_of_ids(archive, ["901", "903"], "id", known, settings, lenient=False)
    assert found == ["test/900.png", "test/902.png"]


@pytest.mark.slow
def test_an_id_without_image_and_a_broken_image_stop_it_by_name(finished, bundle, tmp_path):
    files = {name: content for name, content in competition_files().items() if name.startswith("test/")}
    sample = finished.path("data/competition/sample_submission.csv")
    short = write_zip(tmp_path / "short.zip", {name: files[name] for name in list(files)[1:]})
    assert "1 of 9 ids of the sample have no image" in predicted(bundle, tmp_path / "a", short, sample, fails=True)
    broken = write_zip(tmp_path / "broken.zip", files | {"test/903.png": b"no image"})
    assert "first 903.png: cannot identify image file" in predicted(bundle, tmp_path / "b", broken, sample, fails=True)


def test_the_hook_refuses_every_connection(tmp_path):
    script = tmp_path / "script.py"
    with socket.create_server(("127.0.0.1", 0)) as server:
        script.write_text(f"import socket; socket.create_connection(('127.0.0.1', {server.getsockname()[1]}))")
        done = subprocess.run(
            [sys.executable, "-I", "-c", REFUSE_NETWORK + RUN_SCRIPT, str(script)], capture_output=True, text=True
        )
    assert done.returncode != 0 and "reached for the network" in done.stderr


def test_the_reached_modules_are_those_that_are_imported():
    code = f"import sys, {ENTRY}; print(*sorted(name for name in sys.modules if name.startswith('pipeline')))"
    done = subprocess.run([sys.executable, "-c", code], cwd=Path(command.__file__).parents[1], capture_output=True, text=True, check=True)  # fmt: skip
    packages = {name for name, path in module_files().items() if path.name == "__init__.py"}
    assert set(done.stdout.split()) - packages == set(reached_modules(ENTRY, everywhere=False)) - packages


def test_the_manifest_names_every_file_and_the_submission(finished, bundle):
    with zipfile.ZipFile(bundle) as archive:
        manifest = json.loads(archive.read("MANIFEST.json"))
        assert set(manifest["files"]) == set(archive.namelist()) - {"MANIFEST.json"}
    assert manifest["submission_sha256"] == read_json(finished.path("submissions/receipt.json"))["sha256"]


def test_a_process_that_decodes_beside_predict_runs_nothing_of_it():
    names = {"__name__": "__mp_main__", "__file__": "predict.py"}  # as multiprocessing imports what started it
    exec(SCRIPT, names)
    assert "main" not in names and "console" not in names
