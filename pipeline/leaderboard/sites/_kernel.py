"""A bundle as Kaggle's notebooks take it: a data set that holds it, a script that predicts with it, and their check.

`kaggle datasets create -p DATASET` and `kaggle kernels push -p KERNEL` send the two folders as they are.
"""

import hashlib
import math
import os
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path

from pipeline.base.files import write_bytes, write_json
from pipeline.base.params import CompetitionParams, load_section
from pipeline.bundle.bundle import MANIFEST, organisers_sample

SCRIPT_NAME, BUNDLE_NAME, SUBMISSION = "predict_offline.py", "bundle.zip", "submission.csv"
TIME_LIMIT_S = 9 * 3600  # of most competitions; the rules of each say
RESERVE_S = 300  # for Kaggle's own start and end
SLUG = r"(?=.{6,50}$)[a-z0-9]+(-[a-z0-9]+)*"  # Kaggle makes it of the title, which has blanks for hyphens
SCRIPT = '''"""Predict the competition's test images with the bundle that is attached as a data set; without network."""

import glob
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
PROBE_S = {probe_s}  # for which the speed is measured here, but not where it is scored
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


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


# the data set's zip may have been unpacked by Kaggle: a folder cannot be written to there, and Python would want to;
# a competition may have a file of that name, too
manifests = list(INPUT.rglob({manifest!r}))
manifests = [path for path in manifests if digest(path) == MANIFEST_SHA256] or manifests
if manifests:
    shutil.copytree(only("bundles", manifests).parent, SCRATCH)
else:
    with zipfile.ZipFile(only("bundles", INPUT.rglob({bundle!r}))) as archive:
        archive.extractall(SCRATCH)
found = digest(SCRATCH / {manifest!r})
if found != MANIFEST_SHA256:
    said = f"error: the bundle is another ({{found[:12]}}) than this kernel was written for"
    raise SystemExit(said + ": attach its data set's newest version, or send both again")
# the site may mount the files without the outer folders that they were handed out in, and leaves archives packed
name, place, end = Path(SAMPLE).name, SAMPLE, ""
alike = list(INPUT.rglob(glob.escape(name)))
if not alike:
    alike, end = list(INPUT.rglob(glob.escape(name + ".zip"))), ".zip"
while "/" in place and not [path for path in alike if path.as_posix().endswith("/" + place + end)]:
    place = place.partition("/")[2]
alike = [path for path in alike if path.as_posix().endswith("/" + place + end)]
outermost = min((len(path.parts) for path in alike), default=0)
sample = only("samples", (path for path in alike if len(path.parts) == outermost))
images = sample.parents[place.count("/")]
if end:
    with zipfile.ZipFile(sample) as archive:
        sample = archive.extract(name, SCRATCH.parent)
words = [sys.executable, "predict.py", "--images", str(images), "--sample", str(sample), "--device", "auto"]
if PROBE_S and not os.environ.get("KAGGLE_IS_COMPETITION_RERUN"):
    subprocess.run([*words, "--unreadable", "prior", "--measure", str(PROBE_S)], cwd=SCRATCH)
words += ["--out", str(WORKING / {submission!r}), "--unreadable", "prior"]
words += ["--time-limit", str(TIME_LIMIT_S - (time.monotonic() - STARTED))]
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
    probe_s: float = 0.0  # to measure the speed there

    def __post_init__(self) -> None:
        for key in ("user", "competition", "name"):
            if not re.fullmatch(SLUG if key == "name" else r"[\w.-]+", getattr(self, key)):
                raise ValueError(
                    f"--{key} is {getattr(self, key)!r}; Kaggle takes 6 to 50 small letters, digits and - for --name, "
                    "and for the others the last part of a web address"
                )
        if not RESERVE_S < self.time_limit_s < math.inf:
            raise ValueError(f"--time-limit is {self.time_limit_s:g} s; it must be above {RESERVE_S} s, and a number")


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
    write_bytes(code / SCRIPT_NAME, script(sample, manifest_sha256, kernel.time_limit_s, kernel.probe_s).encode())
    write_json(
        code / "kernel-metadata.json",
        {
            "id": f"{kernel.user}/{kernel.name}", "title": title, "code_file": SCRIPT_NAME, "language": "python",
            "kernel_type": "script", "is_private": True, "enable_gpu": kernel.gpu, "enable_internet": False,
            "dataset_sources": [f"{kernel.user}/{kernel.name}"], "competition_sources": [kernel.competition],
        },
    )  # fmt: skip
    return dataset, code


def plan(kernel: Kernel, size: int, out: Path) -> list[str]:
    """What sending it does at Kaggle, before anything is sent. size: of the bundle, in bytes."""
    ref, where = f"{kernel.user}/{kernel.name}", "a GPU" if kernel.gpu else "the CPU"
    return [
        f"1. the bundle, {size / 1e6:,.1f} MB of your models and code, becomes the data set {ref}, private",
        f"2. the script {out / 'kernel' / SCRIPT_NAME} becomes the notebook {ref}, private and without network",
        f"3. it runs on {where} for {kernel.time_limit_s / 3600:g} hours at most; its output is checked here",
        f"4. then it is submitted to {kernel.competition}: one of the day's submissions (Ctrl-C stops before)",
    ]


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


def default_name(competition: str) -> str:
    """Of the data set and of the kernel, where none is given."""
    return re.sub("[^a-z0-9]+", "-", competition.lower())[:39].strip("-") + "-foldboard"


def script(sample: str, manifest_sha256: str, time_limit_s: float, probe_s: float = 0.0) -> str:
    """The kernel's code."""
    return SCRIPT.format(
        sample=sample, manifest_sha256=manifest_sha256, time_limit_s=time_limit_s - RESERVE_S, manifest=MANIFEST,
        bundle=BUNDLE_NAME, submission=SUBMISSION, probe_s=probe_s,
    )  # fmt: skip
