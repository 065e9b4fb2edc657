"""A kernel's run before it is sent: its very script, laid out as Kaggle lays it out, with the packages of its image."""

import importlib.metadata
import os
import re
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.archive.archive import open_archive, unpack_outermost
from pipeline.base.params import CompetitionParams
from pipeline.bundle.bundle import PREDICT, REFUSE_NETWORK, run_without_network, unpack
from pipeline.competition.schema import Schema
from pipeline.leaderboard.sites._kernel import BUNDLE_NAME, SCRIPT_NAME, SUBMISSION
from pipeline.submission.contract import parse_table
from pipeline.submission.difference import first_difference, rows_apart

# of what predicts, what Kaggle's image has; what these need comes with them
SHIPPED = ("torch", "torchvision", "timm", "numpy", "pandas", "pillow", "scikit-learn")
KAGGLE_CORES = 4  # of a notebook without a GPU
WORKING_LIMIT = 20e9  # bytes that /kaggle/working may hold
MOST_APART = 0.02  # of the rows: for the same pictures, decoded by another library
ABSENT = """
import importlib.abc, sys

class Absent(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ABSENT:
            raise ModuleNotFoundError(f"No module named {name!r}: it is not in Kaggle's image", name=name)

ABSENT = set(%r)
sys.meta_path.insert(0, Absent())
"""


@dataclass(frozen=True, kw_only=True)
class Rehearsed:
    """What a run left."""

    how: str
    said: list[str]  # its warnings
    content: bytes  # of the submission


def rehearse(
    folder: Path,
    *,
    competition: CompetitionParams,
    python: Path,
    unpacked: bool = False,
    change: Callable[[Path], None] | None = None,
) -> Rehearsed:
    """Run the kernel's very script in a folder laid out as Kaggle's, read-only, without network.

    folder: what `write_kernel` wrote; unpacked: whether the data set's zip lies there unpacked, as Kaggle may do;
    change: of the competition's files before the run, such as hidden test images. Packages that Kaggle's image has not
    are not there. Raises ValueError where the script fails.
    """
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        given, working, scratch = root / "input", root / "working", root / "scratch"
        for made in (given / "data", given / "bundle", working, scratch):
            made.mkdir(parents=True)
        unpack_outermost(Path(competition.raw), given / "data")
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
            how, done = run_as_kaggle(
                working, python, [str((folder / "kernel" / SCRIPT_NAME).resolve())], variables, site=root / "site"
            )
        finally:
            _set_mode(given, writable=True)
        if done.returncode:
            end = (done.stdout + done.stderr).strip()[-2000:]
            raise ValueError(f"{folder}: the kernel failed (exit code {done.returncode}):\n{end}")
        size = sum(path.stat().st_size for path in working.rglob("*") if path.is_file())
        if size > WORKING_LIMIT:
            raise ValueError(f"{folder}: the kernel left {size / 1e9:.1f} GB, and Kaggle keeps {WORKING_LIMIT / 1e9:g}")
        said = [line for line in done.stdout.splitlines() if line.startswith("warning")]
        return Rehearsed(how=how, said=said, content=(working / SUBMISSION).read_bytes())


def verify_kernel(
    folder: Path, *, competition: CompetitionParams, schema: Schema, submission: Path, python: Path
) -> list[str]:
    """Rehearse it with the competition's own files; lines for people.

    Raises ValueError where it fails, or makes another submission than `submission`. Kaggle has no simplejpeg: large
    JPEG images may then round otherwise.
    """
    found = rehearse(folder, competition=competition, python=python)
    sent = submission.read_bytes()
    difference = first_difference(found.content, sent, schema.submission)
    lines = [found.how, *found.said]
    if difference is None:
        return [*lines, f"identical: {submission}, {len(sent):,} bytes"]
    apart = rows_apart(found.content, sent, schema.submission)
    num_rows = max(len(parse_table(sent, schema.submission)[1]), 1)
    if len(apart) > MOST_APART * num_rows:
        raise ValueError(
            f"{folder}: the kernel does not make {submission}: {difference}; {len(apart)} are other answers"
        )
    return [*lines, f"nearly identical: {submission}; {len(apart)} other answers; {difference}"]


def speed_here(
    bundle: Path, *, competition: CompetitionParams, sample: str, python: Path, seconds: float, gpu: bool
) -> tuple[str, float]:
    """(what predict.py says of its speed on this machine, measured for so long, how many times as fast Kaggle's is).

    From CPU to CPU that is the number of cores; of a GPU on one side alone nobody knows it: 1.

    sample: the sample submission's place in the competition's files. Raises ValueError where it fails.
    """
    with tempfile.TemporaryDirectory() as name:
        folder, site = Path(name) / "bundle", Path(name) / "site"
        unpack(bundle, folder)
        with open_archive(Path(competition.raw)) as archive:
            own = Path(name) / sample.rpartition("/")[2]
            own.write_bytes(archive.read(sample))
        words = ["--images", str(Path(competition.raw).resolve()), "--sample", str(own), "--device", "auto"]
        words += ["--unreadable", "prior", "--measure", str(seconds)]
        _, done = run_as_kaggle(folder, python, [PREDICT, *words], {}, site=site)
    found = [line for line in done.stdout.splitlines() if line.startswith("speed ")]
    if done.returncode or not found:
        end = (done.stdout + done.stderr).strip()[-2000:]
        raise ValueError(f"{bundle}: {PREDICT} failed (exit code {done.returncode}):\n{end}")
    scale = KAGGLE_CORES / (os.cpu_count() or KAGGLE_CORES) if "on cpu" in found[0] and not gpu else 1.0
    return found[0], scale


def run_as_kaggle(
    folder: Path, python: Path, words: Sequence[str], variables: Mapping[str, str], *, site: Path
) -> tuple[str, subprocess.CompletedProcess[str]]:
    """As `run_without_network`, where no Python process finds what Kaggle's image has not; site: a new folder.

    The first process, which is isolated, is told so itself; those that it starts by PYTHONPATH, of the network too.
    """
    absent = ABSENT % (absent_modules(),)
    site.mkdir()
    (site / "sitecustomize.py").write_text(REFUSE_NETWORK + absent)
    return run_without_network(folder, python, words, {**variables, "PYTHONPATH": str(site)}, before=absent)


def absent_modules() -> list[str]:
    """Modules of packages that are installed here and that neither are in Kaggle's image nor needed by one that is."""
    owners = importlib.metadata.packages_distributions()
    there = _with_needed(SHIPPED)
    return sorted(
        module for module, packages in owners.items()
        if not there & {_plain(package) for package in packages} and module != "pipeline"
    )  # fmt: skip


def _with_needed(packages: Iterable[str]) -> set[str]:
    todo, found = [_plain(package) for package in packages], set[str]()
    while todo:
        package = todo.pop()
        found.add(package)
        try:
            needed = importlib.metadata.requires(package) or []
        except importlib.metadata.PackageNotFoundError:
            continue
        names = [_plain(re.split(r"[^\w.-]", line, maxsplit=1)[0]) for line in needed if "extra ==" not in line]
        todo += [name for name in names if name not in found]
    return found


def _plain(package: str) -> str:
    return re.sub(r"[-_.]+", "-", package.lower())


def _set_mode(folder: Path, *, writable: bool) -> None:
    for path in [folder, *folder.rglob("*")]:
        if not path.is_symlink():
            path.chmod((0o755 if writable else 0o555) if path.is_dir() else (0o644 if writable else 0o444))
