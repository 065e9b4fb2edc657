"""A bundle as Kaggle's notebooks take it: a data set that holds it, a script that predicts with it, and their check.

`kaggle datasets create -p DATASET` and `kaggle kernels push -p KERNEL` send the two folders as they are.
"""

import hashlib
import os
import re
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pipeline.archive.archive import open_archive
from pipeline.base.files import write_bytes, write_json
from pipeline.base.params import CompetitionParams, load_section
from pipeline.bundle.bundle import MANIFEST, organisers_sample, run_without_network, unpack
from pipeline.submission.difference import first_difference

SCRIPT_NAME, BUNDLE_NAME, SUBMISSION = "predict_offline.py", "bundle.zip", "submission.csv"
TIME_LIMIT_S = 9 * 3600  # of most competitions; the rules of each say
RESERVE_S = 300  # for Kaggle's own start and end
SLUG = r"[a-z0-9][a-z0-9-]{4,48}[a-z0-9]"  # Kaggle: 6 to 50 characters
SCRIPT = '''"""Predict the competition's test images with the bundle that is attached as a data set; without network."""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

SAMPLE = {sample!r}
MANIFEST_SHA256 = {manifest_sha256!r}  # of the bundle that this script was written for
TIME_LIMIT_S = {time_limit_s}
INPUT = Path(os.environ.get("FOLDBOARD_INPUT", "/kaggle/input"))
WORKING = Path(os.environ.get("FOLDBOARD_WORKING", "/kaggle/working"))
SCRATCH = Path(tempfile.mkdtemp(dir=os.environ.get("FOLDBOARD_SCRATCH"))) / "bundle"
STARTED = time.monotonic()


def only(what, found):
    found = sorted(found)
    if len(found) != 1:
        listed = ", ".join(map(str, found[:3])) or "none"
        raise SystemExit(f"error: {{len(found)}} {{what}} below {{INPUT}} ({{listed}}); attach exactly one")
    return found[0]


# the data set's zip may have been unpacked by Kaggle: a folder cannot be written to there, and Python would want to
manifests = list(INPUT.rglob({manifest!r}))
if manifests:
    shutil.copytree(only("bundles", manifests).parent, SCRATCH)
else:
    with zipfile.ZipFile(only("bundles", INPUT.rglob({bundle!r}))) as archive:
        archive.extractall(SCRATCH)
found = hashlib.sha256((SCRATCH / {manifest!r}).read_bytes()).hexdigest()
if found != MANIFEST_SHA256:
    said = f"error: the bundle is another ({{found[:12]}}) than this kernel was written for"
    raise SystemExit(said + ": attach its data set's newest version, or send both again")
sample = only("samples", (path for path in INPUT.rglob(Path(SAMPLE).name) if path.as_posix().endswith("/" + SAMPLE)))
images = sample.parents[SAMPLE.count("/")]
words = [sys.executable, "predict.py", "--images", str(images), "--sample", str(sample)]
words += ["--out", str(WORKING / {submission!r}), "--unreadable", "prior"]
words += ["--time-limit", str(TIME_LIMIT_S - (time.monotonic() - STARTED)), "--device", "auto"]
print(*words, flush=True)
sys.exit(subprocess.run(words, cwd=SCRATCH).returncode)
'''


@dataclass(frozen=True, kw_only=True)
class Kernel:
    """What the two folders say. Raises ValueError for names that Kaggle does not take."""

    user: str  # at Kaggle
    competition: str  # its slug
    name: str  # slug of the data set and of the kernel
    gpu: bool
    time_limit_s: float

    def __post_init__(self) -> None:
        for key in ("user", "competition", "name"):
            if not re.fullmatch(SLUG if key == "name" else r"[\w.-]+", getattr(self, key)):
                raise ValueError(
                    f"--{key} is {getattr(self, key)!r}; Kaggle takes 6 to 50 small letters, digits and - for --name, "
                    "and for the others the last part of a web address"
                )
        if self.time_limit_s <= RESERVE_S:
            raise ValueError(f"--time-limit is {self.time_limit_s:g} s; it must be above {RESERVE_S} s")


def write_kernel(bundle: Path, out: Path, kernel: Kernel, sample: str) -> tuple[Path, Path]:
    """Write `out`/dataset and `out`/kernel, private both; gives these folders.

    sample: the sample submission's place in the competition's files. The bundle is linked, not copied.
    """
    dataset, code = out / "dataset", out / "kernel"
    title = kernel.name.replace("-", " ")
    dataset.mkdir(parents=True, exist_ok=True)
    (dataset / BUNDLE_NAME).unlink(missing_ok=True)
    try:
        os.link(bundle, dataset / BUNDLE_NAME)
    except OSError:  # another disk
        write_bytes(dataset / BUNDLE_NAME, bundle.read_bytes())
    write_json(
        dataset / "dataset-metadata.json",
        {"title": title, "id": f"{kernel.user}/{kernel.name}", "licenses": [{"name": "unknown"}]},
    )
    with zipfile.ZipFile(bundle) as archive:
        manifest_sha256 = hashlib.sha256(archive.read(MANIFEST)).hexdigest()
    write_bytes(code / SCRIPT_NAME, script(sample, manifest_sha256, kernel.time_limit_s).encode())
    write_json(
        code / "kernel-metadata.json",
        {
            "id": f"{kernel.user}/{kernel.name}", "title": title, "code_file": SCRIPT_NAME, "language": "python",
            "kernel_type": "script", "is_private": True, "enable_gpu": kernel.gpu, "enable_internet": False,
            "dataset_sources": [f"{kernel.user}/{kernel.name}"], "competition_sources": [kernel.competition],
        },
    )  # fmt: skip
    return dataset, code


def by_hand(dataset: Path, code: Path) -> list[str]:
    """What to type to send the two folders."""
    return [
        f"next: kaggle datasets create -p {dataset}    (later: kaggle datasets version -p {dataset} -m new)",
        f"then: kaggle kernels push -p {code}, and submit its output on its page once it has run",
    ]


def organisers_sample_name(params: Path, written: Path) -> str:
    """The sample submission's place in the organiser's files; written: what ingest made of it.

    Raises ValueError where there is none: a kernel finds its images and ids by it.
    """
    competition = load_section(params, "competition", CompetitionParams)
    found = organisers_sample(Path(competition.raw), written, competition)
    if found is None:
        raise ValueError(
            f"{competition.raw} holds no sample submission as {written} is: a kernel finds its images and ids by it"
        )
    return found[0]


def script(sample: str, manifest_sha256: str, time_limit_s: float) -> str:
    """The kernel's code."""
    return SCRIPT.format(
        sample=sample, manifest_sha256=manifest_sha256, time_limit_s=time_limit_s - RESERVE_S, manifest=MANIFEST,
        bundle=BUNDLE_NAME,
        submission=SUBMISSION,
    )  # fmt: skip


def verify_kernel(
    folder: Path,
    *,
    competition: CompetitionParams,
    submission: Path,
    python: Path,
    unpacked: bool = False,
    change: Callable[[Path], None] | None = None,
) -> list[str]:
    """Run the kernel's very script in a folder laid out as Kaggle's, read-only, without network; lines for people.

    folder: what `write_kernel` wrote; unpacked: whether the data set's zip lies there unpacked, as Kaggle may do;
    change: of the competition's files before the run, such as hidden test images; the CSV is then not compared.
    Raises ValueError where the script fails or its CSV differs from `submission`.
    """
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        given, working, scratch = root / "input", root / "working", root / "scratch"
        for made in (given / "data", given / "bundle", working, scratch):
            made.mkdir(parents=True)
        _lay_out(Path(competition.raw), given / "data")
        if change:
            change(given / "data")
        if unpacked:
            unpack(folder / "dataset" / BUNDLE_NAME, given / "bundle")
        else:
            (given / "bundle" / BUNDLE_NAME).symlink_to((folder / "dataset" / BUNDLE_NAME).resolve())
        places = {"FOLDBOARD_INPUT": given, "FOLDBOARD_WORKING": working, "FOLDBOARD_SCRATCH": scratch}
        variables = {key: str(place) for key, place in places.items()}
        _set_mode(given, writable=False)
        try:
            how, done = run_without_network(
                working, python, [str((folder / "kernel" / SCRIPT_NAME).resolve())], variables
            )
        finally:
            _set_mode(given, writable=True)
        if done.returncode:
            end = (done.stdout + done.stderr).strip()[-2000:]
            raise ValueError(f"{folder}: the kernel failed (exit code {done.returncode}):\n{end}")
        made_file = (working / SUBMISSION).read_bytes()
    said = [line for line in done.stdout.splitlines() if line.startswith("warning")]
    if change:
        return [how, *said, f"{len(made_file.splitlines()) - 1:,} rows, passed the contract"]
    difference = first_difference(made_file, submission.read_bytes())
    if difference is not None:
        raise ValueError(f"{folder}: the kernel does not make {submission}: {difference}")
    return [how, *said, f"identical: {submission}, {len(made_file):,} bytes"]


def _lay_out(raw: Path, folder: Path) -> None:
    """The competition's files, unpacked, as Kaggle mounts them."""
    with open_archive(raw) as archive:
        for name in archive.names:
            place = folder / name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(archive.read(name))


def _set_mode(folder: Path, *, writable: bool) -> None:
    for path in [folder, *folder.rglob("*")]:
        if not path.is_symlink():
            path.chmod((0o755 if writable else 0o555) if path.is_dir() else (0o644 if writable else 0o444))
