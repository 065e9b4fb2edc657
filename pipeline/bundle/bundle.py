"""One zip that makes the submission again, offline: for competitions that take code, and for the winners' check.

It holds the modules that `pipeline.bundle.offline` reaches, the folds' weights and cards, what ingest and evaluate
decided, exact requirements, and a manifest. Nothing in it depends on when it was made: the same content gives the same
bytes.
"""

import ast
import hashlib
import importlib.metadata
import json
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from pipeline.base.files import fold_files, made_by, read_json, sha256_of, table_bytes, whole_file
from pipeline.base.params import load_folds, load_params
from pipeline.bundle.offline import KNOWN_COLUMNS
from pipeline.competition.schema import read_images, read_seen, read_test_ids
from pipeline.submission.difference import first_difference

ENTRY = "pipeline.bundle.offline"
PREDICT, MANIFEST, SETTINGS, REQUIREMENTS = "predict.py", "MANIFEST.json", "settings.json", "requirements.txt"
DATE = (1980, 1, 1, 0, 0, 0)
MODE = 0o100644 << 16  # a plain file that everybody reads
OWN_NETWORK = "resnet9"  # the one that needs torch alone
ZOO = "pipeline.models.timm_models"  # imported where a network is timm's
SCRIPT = f'''"""Make the submission: python predict.py --images FOLDER_OR_ARCHIVE --sample sample_submission.csv"""

import sys
from pathlib import Path

HOME = Path(__file__).resolve().parent
sys.path.insert(0, str(HOME))

from pipeline.base import console
from {ENTRY} import main

console.run(lambda argv: main(HOME, argv))
'''
# what may be the same number of threads, and what CUDA and a folder for scratch files need; nothing else is passed on
KEPT_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "CUDA_VISIBLE_DEVICES", "LD_LIBRARY_PATH", "TMPDIR")
WITHOUT_NETWORK = """
import runpy, sys

def refuse(event, _):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"):
        raise OSError(f"the bundle reached for the network ({event}), which is not there")

sys.addaudithook(refuse)
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def write_bundle(
    out: Path,
    *,
    params: Path,
    models: Path,
    records: Mapping[str, Path | bytes],
    submission: Path,
    receipt: Path,
) -> dict[str, Any]:
    """Write the zip; gives its manifest.

    models: folder of weights and cards; records: name in the bundle -> schema.json, format.json,
    decision.json, test.csv. Raises ValueError where the submission is not its receipt's, or weights not their card's.
    """
    submission_sha256 = sha256_of(submission)
    with made_by("-s submit", receipt):
        described = read_json(receipt)["sha256"]
    if described != submission_sha256:
        raise ValueError(f"{submission} is not the file that {receipt} describes; run `dvc repro` and bundle again")
    folds = load_folds(params)
    cards = _checked_cards(models, folds)
    files: dict[str, Path | bytes] = {
        PREDICT: SCRIPT.encode(),
        SETTINGS: _json(_settings(params, folds)),
        REQUIREMENTS: "".join(f"{line}\n" for line in requirements(cards)).encode(),
        **records,
        **{f"models/{path.name}": path for path in sorted(models.iterdir()) if path.name.split(".")[0] in folds},
        **_code(),
    }
    manifest = {
        "submission_sha256": submission_sha256,
        "files": {name: _digest(content) for name, content in sorted(files.items())},
    }
    _write_zip(out, files | {MANIFEST: _json(manifest)})
    return manifest


def known_test_images(table: Path, images: Path, seen: Path) -> bytes:
    """A bundle's test.csv: the path of each test image, '' for those of which nothing was to be seen.

    table, images, seen: what ingest and decode_test wrote about them.
    """
    _, failures = read_seen(seen, "decode_test")
    rows = zip(read_test_ids(table), read_images(images)[0], failures, strict=True)
    return table_bytes(KNOWN_COLUMNS, ([image_id, "" if failure else path] for image_id, path, failure in rows))


def _checked_cards(models: Path, folds: Sequence[str]) -> list[dict[str, Any]]:
    cards = {}
    for fold in folds:
        with made_by(f"-s train@{fold}", models / f"{fold}.json"):
            cards[fold] = read_json(models / f"{fold}.json")
    odd = [fold for fold, path in _weights(models, folds).items() if sha256_of(path) != cards[fold]["weights_sha256"]]
    if odd:
        raise ValueError(
            f"{models}: the weights of {len(odd)} folds are not their cards', first {odd[:3]}; `dvc repro`"
        )
    return list(cards.values())


def _weights(models: Path, folds: Sequence[str]) -> dict[str, Path]:
    return fold_files(models, ".safetensors", folds)


def _settings(params: Path, folds: Sequence[str]) -> dict[str, Any]:
    """What infer took from params.yaml; all else is in the models' cards."""
    found = load_params(params)
    return {
        "folds": list(folds),
        "fit": found["images"]["fit"],
        "batch_size": found["infer"]["batch_size"],
        "device": found["compute"]["device"],
        "precision": found["compute"]["precision"],
    }


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()


def _digest(content: Path | bytes) -> str:
    return hashlib.sha256(content).hexdigest() if isinstance(content, bytes) else sha256_of(content)


def _write_zip(out: Path, files: Mapping[str, Path | bytes]) -> None:
    """Stored, not packed: weights hardly pack, and zlib's bytes depend on its version."""
    with whole_file(out) as part, zipfile.ZipFile(part, "w", zipfile.ZIP_STORED) as archive:
        for name, content in sorted(files.items()):
            member = zipfile.ZipInfo(name, DATE)
            member.external_attr = MODE
            with archive.open(member, "w", force_zip64=True) as handle:
                for piece in _pieces(content):
                    handle.write(piece)


def _pieces(content: Path | bytes) -> Iterator[bytes]:
    if isinstance(content, bytes):
        yield content
        return
    with content.open("rb") as handle:
        while piece := handle.read(1 << 20):
            yield piece


def _code() -> dict[str, Path | bytes]:
    """Path in the bundle -> the module, for all that the entry reaches, and the package files above them."""
    found: dict[str, Path | bytes] = {}
    for module in reached_modules(ENTRY):
        path = _file_of(module)
        assert path is not None
        for folder in list(PurePosixPath(module.replace(".", "/")).parents)[:-1]:
            found[f"{folder}/__init__.py"] = _package_root() / folder / "__init__.py"
        found[path.relative_to(_package_root()).as_posix()] = path
    return found


def _package_root() -> Path:
    """The folder that holds the package `pipeline`."""
    return Path(__file__).resolve().parents[2]


def _file_of(module: str) -> Path | None:
    base = _package_root() / module.replace(".", "/")
    return next((path for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file()), None)


def reached_modules(entry: str, *, everywhere: bool = True) -> list[str]:
    """`entry` and every module of ours that it imports, at any depth; `everywhere`: inside functions too."""
    todo, seen = [entry], {entry}
    while todo:
        for name in _imported(todo.pop(), everywhere=everywhere):
            if name.startswith(entry.split(".")[0] + ".") and name not in seen and _file_of(name):
                seen.add(name)
                todo.append(name)
    return sorted(seen)


def _imported(module: str, *, everywhere: bool) -> set[str]:
    """Names that a module imports; `everywhere`: inside functions too."""
    path = _file_of(module)
    assert path is not None
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found: set[str] = set()
    for node in ast.walk(tree) if everywhere else tree.body:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def requirements(cards: Sequence[Mapping[str, Any]]) -> list[str]:
    """`package==version`, as installed here, of what predicting imports; timm only for networks that are timm's.

    What modules import inside functions (scikit-learn for metrics, py7zr for .7z) is not needed to predict.
    """
    modules = set(reached_modules(ENTRY, everywhere=False))
    if any(card["architecture"] != OWN_NETWORK for card in cards):
        modules |= set(reached_modules(ZOO, everywhere=False))
    tops = {name.split(".")[0] for module in modules for name in _imported(module, everywhere=False)}
    owners = importlib.metadata.packages_distributions()
    packages = {owners[top][0] for top in tops - set(sys.stdlib_module_names) if top in owners}
    return sorted(f"{package.lower()}=={importlib.metadata.version(package)}" for package in packages)


def verify_bundle(bundle: Path, *, images: Path, sample: Path, submission: Path, python: Path) -> list[str]:
    """Unpack the bundle elsewhere, run it without network and compare; lines for people, the last one `identical`.

    python: the interpreter that has the bundle's requirements. Raises ValueError where a file is not the manifest's,
    the run fails, or the CSV differs.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _unpack(bundle, folder)
        lines, done = _run_offline(folder, python, images=images.resolve(), sample=sample.resolve())
        if done.returncode:
            raise ValueError(
                f"{bundle}: {PREDICT} failed (exit code {done.returncode}):\n{done.stderr.strip()[-2000:]}"
            )
        made = (folder / "made.csv").read_bytes()
    difference = first_difference(made, submission.read_bytes())
    if difference is not None:
        raise ValueError(
            f"{bundle} does not make {submission}: {difference}; if the bundle is of this submission, look for another "
            "device, number of threads (OMP_NUM_THREADS) or package version"
        )
    return [*lines, f"identical: {submission}, {len(made):,} bytes"]


def _unpack(bundle: Path, folder: Path) -> None:
    with zipfile.ZipFile(bundle) as archive:
        archive.extractall(folder)  # zipfile keeps members inside the folder
    manifest = read_json(folder / MANIFEST)["files"]
    present = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} - {MANIFEST}
    odd = sorted(present ^ set(manifest)) + [
        name for name in sorted(present & set(manifest)) if sha256_of(folder / name) != manifest[name]
    ]
    if odd:
        raise ValueError(f"{bundle}: {len(odd)} files are not as its manifest says, first {odd[:3]}; bundle again")


def _run_offline(
    folder: Path, python: Path, *, images: Path, sample: Path
) -> "tuple[list[str], subprocess.CompletedProcess[str]]":
    """predict.py in isolated mode, with an environment of almost nothing; (how, what came of it)."""
    cut = _cuts_the_network()
    words = [str(python), "-I", "-c", WITHOUT_NETWORK, PREDICT, "--images", str(images), "--sample", str(sample)]
    environment = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ} | {"HOME": str(folder)}
    done = subprocess.run(
        [*(["unshare", "-rn"] if cut else []), *words, "--out", "made.csv"],
        cwd=folder, env=environment | {"PATH": os.defpath}, capture_output=True, text=True,
    )  # fmt: skip
    how = "by the kernel (unshare -n) and by a hook in Python" if cut else "by a hook in Python"
    return [f"{python} -I, in an empty environment, network refused {how}"], done


def _cuts_the_network() -> bool:
    """Whether this machine lets a user make a network namespace of their own, with nothing in it."""
    try:
        return subprocess.run(["unshare", "-rn", "true"], capture_output=True).returncode == 0
    except OSError:
        return False
