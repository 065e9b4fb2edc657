"""From a bundle to a scored notebook: data set, kernel, run, output, submission; each step is noted before it is taken.

A command that was killed goes on from its notes when it is given again. Only the last step cannot be taken twice; its
intent is in the ledger first, as of a CSV.
"""

import fcntl
import hashlib
import json
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from pipeline.base import console
from pipeline.base.files import sha256_of, write_json
from pipeline.leaderboard.ledger import INTENDED, Entry, Ledger, description
from pipeline.leaderboard.site import RefusedError, Site, SiteError
from pipeline.leaderboard.sites._notebooks import DONE, FAILED, READY, RUNNING, Notebooks, failure
from pipeline.leaderboard.sync import TOKEN

MIN_PAUSE_S, MAX_PAUSE_S = 1.0, 30.0
SETTLE_S = 60.0  # after an interrupted submission, until its absence from the site's list means that it never arrived
OLD_RUN_S = 30.0  # after a push, that an end without a running kernel before it is taken for the older version's
STEPS, LOCK = "steps.json", "lock"


@dataclass
class Steps:
    """What was begun and what was done, of one bundle and one script."""

    bundle_sha256: str = ""
    script_sha256: str = ""
    dataset_before: int | None = None  # its version when sending it was begun; 0: there was none
    dataset_version: int | None = None
    kernel_version: int | None = None


@dataclass(frozen=True, kw_only=True)
class Sending:
    """What is sent, and where."""

    folder: Path  # holds dataset/ and kernel/
    ref: str  # OWNER/NAME, of data set and kernel
    file_name: str  # of the kernel's output that is submitted
    time_limit_s: float
    message: str
    submission: bytes  # the CSV made here


def send_notebook(
    sending: Sending,
    *,
    site: Site,
    notebooks: Notebooks,
    ledger: Ledger,
    receipt: Mapping[str, Any] | None,
    check: Callable[[bytes], None],
    settle_s: float = SETTLE_S,
) -> str:
    """Take all steps that are not taken yet; gives the submission's reference.

    check: raises ValueError for an output that the contract refuses, and says how it differs from our own file.
    """
    with _alone(sending.folder / LOCK):
        settled = _settle(hashlib.sha256(sending.submission).hexdigest(), site, ledger, settle_s)
        if settled:
            return settled
        steps = _read(sending)
        _dataset(steps, sending, notebooks)
        pushed = _kernel(steps, sending, notebooks)
        _await_run(sending, notebooks, pushed=pushed)
        check(_output(sending, notebooks))
        return _submit(steps, sending, site, notebooks, ledger, receipt)


@contextmanager
def _alone(path: Path) -> Any:
    """Held by this process until it ends, however that is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as handle:
        _lock(handle, path)
        yield


def _lock(handle: IO[str], path: Path) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise ValueError(f"another process is sending this notebook ({path} is locked); wait for it to end") from None


def _settle(sha256: str, site: Site, ledger: Ledger, settle_s: float) -> str | None:
    """The reference of a submission whose command was killed in the last step; None where none arrived."""
    open_ones = [entry for entry in ledger.submissions() if entry.sha256 == sha256 and entry.status == INTENDED]
    for entry in open_ones:
        console.say(f"unfinished   {entry.submission}: asking the site whether it arrived")
        reference = _listed(site, entry)
        if reference is None:
            time.sleep(max(0.0, settle_s - (datetime.now(UTC) - datetime.fromisoformat(entry.time)).total_seconds()))
            reference = _listed(site, entry)
        if reference is not None:
            ledger.confirm(entry.submission, reference)
            return reference
        ledger.fail(entry.submission, "the site does not list it")
    return None


def _listed(site: Site, entry: Entry) -> str | None:
    for sent in site.submissions():
        token = TOKEN.search(sent.description)
        if token and token[1] == entry.submission:
            return sent.reference
    return None


def _read(sending: Sending) -> Steps:
    """The notes, as far as they are about this bundle and this script."""
    path = sending.folder / STEPS
    bundle = sha256_of(next((sending.folder / "dataset").glob("*.zip")))
    script = sha256_of(*sorted((sending.folder / "kernel").iterdir()))
    found = Steps()
    if path.is_file():
        try:
            noted = json.loads(path.read_text(encoding="utf-8"))
            found = Steps(**{item.name: noted[item.name] for item in fields(Steps)})
        except (ValueError, KeyError, TypeError):
            console.say(f"warning: {path} cannot be read; the steps are taken anew")
    if found.bundle_sha256 != bundle:
        found = Steps(bundle_sha256=bundle, script_sha256=script)
    elif found.script_sha256 != script:
        found.script_sha256, found.kernel_version = script, None
    return found


def _note(steps: Steps, sending: Sending) -> None:
    write_json(sending.folder / STEPS, asdict(steps))


def _dataset(steps: Steps, sending: Sending, notebooks: Notebooks) -> None:
    """The bundle as a data set's version; what is there already is not sent again."""
    there = notebooks.dataset(sending.ref)
    version = there.version if there else 0
    if steps.dataset_version is not None and version == steps.dataset_version:
        console.say(f"data set     {sending.ref} version {version} has this bundle already")
        return _await_dataset(sending, notebooks)
    arrived = steps.dataset_version is None and steps.dataset_before is not None and version == steps.dataset_before + 1
    if not arrived:  # or another version has come since
        steps.dataset_before, steps.dataset_version, steps.kernel_version = version, None, None
        _note(steps, sending)
        size = next((sending.folder / "dataset").glob("*.zip")).stat().st_size
        console.say(f"data set     sending {size / 1e6:,.1f} MB to {sending.ref}, private")
        notebooks.send_dataset(sending.folder / "dataset", sending.message, new=there is None)
    _await_dataset(sending, notebooks)
    there = notebooks.dataset(sending.ref)
    steps.dataset_version = there.version if there else 1
    _note(steps, sending)
    console.say(f"data set     {sending.ref} version {steps.dataset_version} is ready")
    return None


def _await_dataset(sending: Sending, notebooks: Notebooks) -> None:
    def ready() -> bool:
        found = notebooks.dataset(sending.ref)
        if found and found.status in FAILED:
            raise RefusedError(
                f"the site could not read the data set {sending.ref} ({found.status}); send it once more"
            )
        return found is not None and found.status == READY

    _poll(ready, sending.time_limit_s, "data set     it is still being processed")


def _kernel(steps: Steps, sending: Sending, notebooks: Notebooks) -> bool:
    """The kernel's version that reads this bundle, pushed now or before; pushed twice it would only run twice."""
    pushed = steps.kernel_version is None
    if pushed:
        console.say(f"kernel       pushing {sending.ref}")
        steps.kernel_version = notebooks.push(sending.folder / "kernel", sending.time_limit_s)
        _note(steps, sending)
    console.say(f"kernel       {sending.ref} version {steps.kernel_version}")
    return pushed


def _await_run(sending: Sending, notebooks: Notebooks, *, pushed: bool) -> None:
    """Until it is complete. Raises RefusedError with the end of its log where it fails.

    pushed: just now, so that an end may still be that of the version before.
    """
    seen, began, was_running = 0, time.monotonic(), not pushed

    def done() -> bool:
        nonlocal seen, was_running
        status, reason = notebooks.status(sending.ref)
        was_running = was_running or status in RUNNING
        if not was_running and time.monotonic() - began < OLD_RUN_S:
            return False
        if status == DONE:
            return True
        if status not in RUNNING:
            raise RefusedError(failure(status, reason, notebooks.log(sending.ref)))
        lines = notebooks.log(sending.ref)
        for line in lines[seen:]:
            if line.strip():
                console.say(f"kernel       {line.strip()}")
        seen = max(seen, len(lines))
        return False

    _poll(done, sending.time_limit_s + SETTLE_S, f"kernel       {sending.ref} has not ended")


def _poll(ready: Callable[[], bool], most_s: float, late: str) -> None:
    """Ask until it is so; trouble on the way is waited out. Raises RefusedError once `most_s` are over."""
    end, pause = time.monotonic() + most_s, MIN_PAUSE_S
    said = ""
    while True:
        try:
            if ready():
                return
        except RefusedError:
            raise
        except SiteError as error:
            if str(error) != said:
                said = str(error)
                console.say(f"waiting      {said}")
        if time.monotonic() + pause > end:
            raise RefusedError(f"{late} after {most_s:,.0f} s; send this command again: it goes on from here")
        time.sleep(pause)
        pause = min(pause * 1.5, MAX_PAUSE_S)


def _output(sending: Sending, notebooks: Notebooks) -> bytes:
    with tempfile.TemporaryDirectory() as name:
        notebooks.output(sending.ref, Path(name))
        found = Path(name) / sending.file_name
        if not found.is_file():
            there = sorted(path.name for path in Path(name).iterdir())
            raise RefusedError(f"the kernel wrote no {sending.file_name}; it wrote {there[:5]}")
        return found.read_bytes()


def _submit(
    steps: Steps,
    sending: Sending,
    site: Site,
    notebooks: Notebooks,
    ledger: Ledger,
    receipt: Mapping[str, Any] | None,
) -> str:
    console.say(f"allowance    {site.allowance()}")
    about = (
        f"{sending.message} (notebook {sending.ref} version {steps.kernel_version}, data set version "
        f"{steps.dataset_version}, bundle {steps.bundle_sha256[:12]}, script {steps.script_sha256[:12]})"
    )
    sha256 = hashlib.sha256(sending.submission).hexdigest()
    intent = ledger.intend(sha256=sha256, message=about, site=site.name, slug=site.slug, receipt=receipt)
    assert steps.kernel_version is not None
    try:
        reference = notebooks.submit(
            site.slug, sending.ref, steps.kernel_version, sending.file_name, description(sending.message, intent)
        )
    except RefusedError as error:
        ledger.fail(intent, str(error))
        raise
    ledger.confirm(intent, reference)
    return reference
