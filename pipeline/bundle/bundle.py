"""One zip that makes the submission again, offline: for competitions that take code, and for the winners' check.

It holds the modules that `pipeline.bundle.offline` reaches, the folds' weights and cards (a blend's members' too), what
ingest and evaluate decided, exact requirements, and a manifest. Nothing in it depends on when it was made: the same
content gives the same bytes.
"""

import dataclasses
import hashlib
import importlib.metadata
import json
import os
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.archive.archive import open_archive
from pipeline.archive.encodings import decoded
from pipeline.base.files import fold_files, made_by, read_json, sha256_of, table_bytes, whole_file
from pipeline.base.params import (
    OWN_NETWORKS,
    BlendParams,
    CompetitionParams,
    ComputeParams,
    ImagesParams,
    InferParams,
    load_folds,
    load_section,
)
from pipeline.bundle.contents import (
    BLEND,
    FORMAT,
    KNOWN_COLUMNS,
    MEMBERS,
    SETTINGS,
    TEST,
    WEIGHTS,
    WEIGHTS_CARD,
    Settings,
)
from pipeline.bundle.modules import ROOT, imported_names, reached_modules
from pipeline.competition.schema import read_paths, read_schema, read_test_ids, read_unseen
from pipeline.competition.store import read_format
from pipeline.models.weights_card import read_card
from pipeline.scoring.blend import OWN, read_blend
from pipeline.submission.contract import in_make
from pipeline.submission.difference import first_difference
from pipeline.tables.table import AUTO, NONE
from pipeline.tables.table_files import read_tables

ENTRY = "pipeline.bundle.offline"
PREDICT, MANIFEST, REQUIREMENTS = "predict.py", "MANIFEST.json", "requirements.txt"
DATE = (1980, 1, 1, 0, 0, 0)
MODE = 0o100644 << 16  # a plain file that everybody reads
TIMM = "pipeline.models.timm_models"  # imported where a network is timm's
SCRIPT = f'''"""Make the submission: python predict.py --images FOLDER_OR_ARCHIVE --sample sample_submission.csv"""

import sys
from pathlib import Path

HOME = Path(__file__).resolve().parent
if __name__ == "__main__":  # not in the processes that decode images beside it
    sys.path.insert(0, str(HOME))

    from pipeline.base import console
    from {ENTRY} import main

    console.run(lambda argv: main(HOME, argv))
'''
# what may be the same number of threads, and what CUDA and a folder for scratch files need; nothing else is passed on
KEPT_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "CUDA_VISIBLE_DEVICES", "LD_LIBRARY_PATH", "TMPDIR")
REFUSE_NETWORK = """
import sys

def refuse(event, _):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"):
        raise OSError(f"the bundle reached for the network ({event}), which is not there")

sys.addaudithook(refuse)
"""
RUN_SCRIPT = """
import runpy, sys

sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@dataclass(frozen=True, kw_only=True)
class Run:
    """Where a run's files lie that predict."""

    params: Path
    models: Path  # folder of weights and cards
    format: Path  # decode_train's format.json
    known: Sequence[Path]  # ingest's test.csv and test_images.csv, and decode_test's test.csv
    weights: Sequence[Path]  # safetensors and card of stage `weights`: packed where features of theirs are classified
    recognised: Path  # ingest's recognised.json: how test images are found


@dataclass(frozen=True, kw_only=True)
class Packed:
    """What a run brings into the bundle."""

    files: Mapping[str, Path | bytes]  # by their paths below the run's folder
    cards: Sequence[Mapping[str, Any]]  # of the folds' models


def write_bundle(
    out: Path,
    *,
    run: Run,
    members: Mapping[str, Packed],
    records: Mapping[str, Path],
    submission: Path,
    receipt: Path,
    blend: Path,
) -> dict[str, Any]:
    """Write the zip; gives its manifest.

    members: of a blend, all that have weight; records: name in the bundle -> schema.json, decision.json; blend:
    evaluate's blend.json. Raises ValueError where the submission is not its receipt's, and as `packed` does.
    """
    submission_sha256 = sha256_of(submission)
    with made_by("-s submit", receipt):
        described = read_json(receipt)["sha256"]
    if described != submission_sha256:
        raise ValueError(f"{submission} is not the file that {receipt} describes; run `dvc repro` and bundle again")
    read_schema(records["schema.json"])  # that of another version would only stop the bundle when it runs
    mixture = read_blend(blend, load_section(run.params, "blend", BlendParams).members)[0]
    assert set(members) == {name for name, weight in mixture.weights.items() if weight and name != OWN}
    own = packed(run, load_folds(run.params), reading=run.params)
    cards = [card for part in (own, *members.values()) for card in part.cards]
    files: dict[str, Path | bytes] = {
        PREDICT: SCRIPT.encode(),
        REQUIREMENTS: "".join(f"{line}\n" for line in requirements(cards)).encode(),
        BLEND: _json(dataclasses.asdict(mixture)),
        **records,
        **own.files,
        **{f"{MEMBERS}/{name}/{path}": found for name, part in members.items() for path, found in part.files.items()},
        **_code(),
    }
    manifest = {
        "submission_sha256": submission_sha256,
        "files": {name: _digest(content) for name, content in sorted(files.items())},
    }
    _write_zip(out, files | {MANIFEST: _json(manifest)})
    return manifest


def packed(run: Run, folds: Sequence[str], *, reading: Path) -> Packed:
    """What predicts as `run` did: its models, how its images were stored, which test images it saw.

    folds: in the order in which their probabilities are added up; reading: params.yaml that says how the tables are
    read. Raises ValueError where weights are not their card's, or features were made by others.
    """
    cards = _checked_cards(run.models, folds)
    frozen = bool(cards[0].get("features"))
    read_format(run.format)
    files: dict[str, Path | bytes] = {
        SETTINGS: _json(dataclasses.asdict(_settings(run, folds, reading, frozen=frozen))),
        FORMAT: run.format,
        TEST: _known_test_images(*run.known),
        **{f"models/{path.name}": path for path in sorted(run.models.iterdir()) if path.name.split(".")[0] in folds},
        **(_backbone(run.weights, cards) if frozen else {}),
    }
    return Packed(files=files, cards=cards)


def _backbone(pretrained: Sequence[Path], cards: Sequence[Mapping[str, Any]]) -> dict[str, Path | bytes]:
    """The frozen network's weights. Raises ValueError where the folds were trained with others."""
    weights, card = pretrained
    sha256 = sha256_of(weights)
    odd = [found["fold"] for found in cards if found["backbone_sha256"] != sha256]
    if odd or read_card(card).weights_sha256 != sha256:
        raise ValueError(
            f"{weights}: folds {odd} were trained with other weights, or the card is another's; `dvc repro`"
        )
    return {WEIGHTS: weights, WEIGHTS_CARD: card}


def _known_test_images(table: Path, images: Path, seen: Path) -> bytes:
    """A bundle's test.csv: the path of each test image, '' for those of which nothing was to be seen.

    table, images, seen: what ingest and decode_test wrote about them.
    """
    image_ids, paths = read_test_ids(table), read_paths(images)
    rows = zip(image_ids, paths, read_unseen(seen, len(image_ids), table), strict=True)
    return table_bytes(KNOWN_COLUMNS, ([image_id, "" if unseen else path] for image_id, path, unseen in rows))


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


def _settings(run: Run, folds: Sequence[str], reading: Path, *, frozen: bool) -> Settings:
    """frozen: features are computed where and as section `compute` says, whatever `infer` does.

    Of a run whose ingest was an earlier version's, nobody knows where it found its test images.
    """
    params = run.params
    with made_by("ingest", run.recognised):
        found = read_json(run.recognised).get("test", {"test_table": NONE, "test_images": AUTO})
    competition = load_section(reading, "competition", CompetitionParams)
    infer = load_section(params, "infer", InferParams)
    compute = load_section(params, "compute", ComputeParams)
    compute = compute if frozen else infer.compute(compute)
    return Settings(
        folds=list(folds),
        encoding=competition.encoding,
        header=competition.header,
        pixels=competition.pixels,
        **found,
        fit=load_section(params, "images", ImagesParams).fit,
        batch_size=infer.batch_size,
        device=compute.device,
        precision=compute.precision,
    )


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
    for path in reached_modules(ENTRY).values():
        inside = path.relative_to(ROOT)
        found |= {(folder / "__init__.py").as_posix(): ROOT / folder / "__init__.py" for folder in inside.parents[:-1]}
        found[inside.as_posix()] = path
    return found


def requirements(cards: Sequence[Mapping[str, Any]]) -> list[str]:
    """`package==version`, as installed here, of what predicting imports; timm only for networks that are timm's.

    What modules import inside functions (scikit-learn for metrics, py7zr for .7z) is not needed to predict.
    """
    modules = reached_modules(ENTRY, everywhere=False)
    if any(card["architecture"] not in OWN_NETWORKS for card in cards):
        modules |= reached_modules(TIMM, everywhere=False)
    tops = {name.split(".")[0] for path in modules.values() for name in imported_names(path, everywhere=False)}
    owners = importlib.metadata.packages_distributions()
    packages = {owners[top][0] for top in tops - set(sys.stdlib_module_names) if top in owners}
    return sorted(f"{package.lower()}=={importlib.metadata.version(package)}" for package in packages)


def verify_bundle(
    bundle: Path, *, params: Path, images: Path | None, sample: Path, submission: Path, python: Path
) -> list[str]:
    """Unpack the bundle elsewhere, run it without network and compare; lines for people, the last one `identical`.

    images: default: the competition's raw archive; sample: as ingest wrote it: the organiser's own is used where it is
    found there; python: the interpreter that has the bundle's requirements. Raises ValueError where a file is not the
    manifest's, the run fails, or the CSV differs.
    """
    competition = load_section(params, "competition", CompetitionParams)
    raw = Path(competition.raw)
    with tempfile.TemporaryDirectory() as unpacked, tempfile.TemporaryDirectory() as given:
        folder = Path(unpacked)
        unpack(bundle, folder)
        own = organisers_sample(raw, sample, competition)
        if own is not None:
            name, content = own
            sample = Path(given) / name.rpartition("/")[2]
            sample.write_bytes(content)
        words = ["--images", str((images or raw).resolve()), "--sample", str(sample.resolve()), "--out", "made.csv"]
        how, done = run_without_network(folder, python, [PREDICT, *words])
        lines = [how, f"sample: {own[0]} of {raw}" if own else f"sample: {sample}, as the archive holds no such table"]
        if done.returncode:
            raise ValueError(
                f"{bundle}: {PREDICT} failed (exit code {done.returncode}):\n{done.stderr.strip()[-2000:]}"
            )
        made = (folder / "made.csv").read_bytes()
        asked = read_schema(folder / "schema.json").submission
    difference = first_difference(made, submission.read_bytes(), asked)
    if difference is not None:
        raise ValueError(
            f"{bundle} does not make {submission}: {difference}; if the bundle is of this submission, look for another "
            "device, number of threads (OMP_NUM_THREADS) or package version"
        )
    return [*lines, f"identical: {submission}, {len(made):,} bytes"]


def organisers_sample(raw: Path, written: Path, competition: CompetitionParams) -> tuple[str, bytes] | None:
    """(name, content) of the file in the archive that ingest wrote the sample from; None for none."""
    if not raw.exists():
        return None
    due, make = written.read_bytes(), read_schema(written.with_name("schema.json")).submission.make
    with open_archive(raw) as archive:
        found = read_tables(
            archive, encoding=competition.encoding, header=competition.header, pixels=competition.pixels
        )
        for name, table in found.tables.items():
            if name in archive:
                content = archive.read(name)
                text = decoded(content, name, competition.encoding)
                if in_make(content, text, table.header, table.rows, make) == due:
                    return name, content
    return None


def unpack(bundle: Path, folder: Path) -> None:
    """Into `folder`. Raises ValueError where a file is not as the manifest says."""
    with zipfile.ZipFile(bundle) as archive:
        archive.extractall(folder)  # zipfile keeps members inside the folder
    manifest = read_json(folder / MANIFEST)["files"]
    present = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} - {MANIFEST}
    odd = sorted(present ^ set(manifest)) + [
        name for name in sorted(present & set(manifest)) if sha256_of(folder / name) != manifest[name]
    ]
    if odd:
        raise ValueError(f"{bundle}: {len(odd)} files are not as its manifest says, first {odd[:3]}; bundle again")


def run_without_network(
    folder: Path, python: Path, words: Sequence[str], variables: Mapping[str, str] | None = None, *, before: str = ""
) -> "tuple[str, subprocess.CompletedProcess[str]]":
    """A script and its arguments in isolated mode, in `folder`, with almost no other variables.

    before: code that its process runs first. (how, what came of it).
    """
    cut = _cuts_the_network()
    environment = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ} | {"HOME": str(folder)}
    began = time.monotonic()
    done = subprocess.run(
        [*(["unshare", "-rn"] if cut else []), str(python), "-I", "-c", REFUSE_NETWORK + before + RUN_SCRIPT, *words],
        cwd=folder, env=environment | {"PATH": os.defpath} | dict(variables or {}), capture_output=True, text=True,
    )  # fmt: skip
    how = "by the kernel (unshare -n) and by a hook in Python" if cut else "by a hook in Python"
    seconds = f"{time.monotonic() - began:.1f} s"
    return f"{python} -I, in an empty environment, network refused {how}: {seconds} on this machine", done


def _cuts_the_network() -> bool:
    """Whether this machine lets a user make a network namespace of their own, with nothing in it."""
    try:
        return subprocess.run(["unshare", "-rn", "true"], capture_output=True).returncode == 0
    except OSError:
        return False
