"""From a bundle to a scored notebook: data set, kernel, run, output, submission; each step is noted before it is taken.

A command that was killed goes on from its notes when it is given again. Only the last step cannot be taken twice; its
intent is in the ledger first, as of a CSV.
"""

import fcntl
import json
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipeline.base import console
from pipeline.base.files import sha256_of, write_json
from pipeline.leaderboard.ledger import INTENDED, Entry, Ledger, description
from pipeline.leaderboard.notebook_checks import Checks
from pipeline.leaderboard.site import BusyError, NotThereError, RefusedError, Site, UnansweredError
from pipeline.leaderboard.sites._notebooks import DONE, FAILED, NO_GPU, READY, RUNNING, Followed, Notebooks, failure
from pipeline.leaderboard.sync import TOKEN

MIN_PAUSE_S, MAX_PAUSE_S = 1.0, 30.0
SETTLE_S = 60.0  # after an interrupted submission, until its absence from the site's list means that it never arrived
PROCESSING_S = 3600.0  # that a site may take over a data set
OLD_RUN_S = 30.0  # after a push, that an end without a running kernel before it is taken for the older version's
SLOWEST = 250e3  # bytes a second of a slow line
LOG_S = 5.0  # for the last lines of a log, after the run's end
STEPS, LOCK = "steps.json", "lock"


@dataclass
class Steps:
    """What was begun and what was done, of one bundle and one script."""

    ref: str = ""  # of data set and kernel
    bundle_sha256: str = ""
    script_sha256: str = ""
    dataset_before: int | None = None  # its version when sending it was begun; 0: there was none
    dataset_version: int | None = None
    kernel_version: int | None = None
    pushed_at: float = 0.0  # seconds since 1970
    unanswered: str = ""  # token of a submission about which the site gave no clear answer


@dataclass(frozen=True, kw_only=True)
class Sending:
    """What is sent, and where."""

    folder: Path  # holds dataset/ and kernel/
    ref: str  # OWNER/NAME, of data set and kernel
    file_name: str  # of the kernel's output that is submitted
    time_limit_s: float
    message: str
    deadline_s: float  # for sending the bundle, beside what a slow line takes
    gpu: bool = False
    probe: bool = False  # the kernel measures its speed
    public: bool = False  # a data set that everybody sees may be written to


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """From before the first file is written: `folder` is held by this process until it ends, however that is."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("a") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ValueError(f"another process is sending this notebook ({folder / LOCK} is locked)") from None
        yield


def send_notebook(
    sending: Sending,
    *,
    site: Site,
    notebooks: Notebooks,
    ledger: Ledger,
    receipt: Mapping[str, Any] | None,
    checks: Checks,
    settle_s: float = SETTLE_S,
) -> str:
    """Take all steps that are not taken yet; gives the submission's reference. To be called inside `alone`.

    Raises ValueError for a notebook that was submitted before, and as `checks` do.
    """
    steps = _read(sending)
    when = ledger.sent_before(checks.sha256, but=(INTENDED, "error"), notebook=_notebook(steps))
    if when is not None:
        raise ValueError(
            f"this very notebook was sent at {when} and would get the same score again, so it was not sent now; if the "
            "site does not show it, run `python -m pipeline ledger sync`"
        )
    settled = _settle(steps, checks, site, ledger, settle_s)
    if settled:
        return settled
    if sending.gpu and steps.kernel_version is None:
        said, is_left = notebooks.gpu_time()
        console.say(f"quota        {said}")
        if not is_left:
            raise RefusedError(f"{said}: {NO_GPU}")
    _dataset(steps, sending, notebooks)
    _kernel(steps, sending, notebooks)
    speeds = [line for line in _await_run(steps, sending, notebooks) if line.startswith("speed ")]
    for line in speeds or (["the kernel's log does not tell its speed"] if sending.probe else []):
        checks.speed(line)
    made = _output(sending, notebooks)
    _refuse_another(steps, sending, notebooks)
    checks.output(made)
    return _submit(steps, sending, checks, site, notebooks, ledger, receipt)


def _settle(steps: Steps, checks: Checks, site: Site, ledger: Ledger, settle_s: float) -> str | None:
    """The reference of a submission whose command was killed in the last step; None where none arrived.

    Raises ValueError where the site was asked, gave no clear answer, and does not list it: it may do so later.
    """
    own = checks.sha256, _notebook(steps), INTENDED, site.name, site.slug
    for entry in ledger.submissions():
        if (entry.sha256, entry.notebook, entry.status, entry.site, entry.competition) != own:
            continue
        console.say(f"unfinished   {entry.submission}: asking the site whether it arrived")
        reference = _listed(site, entry)
        if reference is None and entry.submission == steps.unanswered:
            raise ValueError(
                f"the site gave no clear answer about {entry.submission} and does not list it yet; "
                "`python -m pipeline ledger sync` in an hour says whether it arrived, and sending it then is safe"
            )
        if reference is None:
            since = (datetime.now(UTC) - datetime.fromisoformat(entry.time)).total_seconds()
            time.sleep(max(0.0, settle_s - max(since, 0.0)))  # a clock that was set back is not waited for
            reference = _listed(site, entry)
        if reference is not None:
            ledger.confirm(entry.submission, reference)
            return reference
        ledger.fail(entry.submission, "the site does not list it")
    return None


def _notebook(steps: Steps) -> str:
    """As `Entry.notebook` reads it."""
    return f"bundle {steps.bundle_sha256[:12]}, script {steps.script_sha256[:12]}"


def _listed(site: Site, entry: Entry) -> str | None:
    for sent in site.submissions():
        token = TOKEN.search(sent.description)
        if token and token[1] == entry.submission:
            return sent.reference
    return None


def _read(sending: Sending) -> Steps:
    """The notes, as far as they are about this bundle, this script and this place."""
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
    if (found.ref, found.bundle_sha256) != (sending.ref, bundle):
        found = Steps(ref=sending.ref, bundle_sha256=bundle, script_sha256=script, unanswered=found.unanswered)
    elif found.script_sha256 != script:
        found.script_sha256, found.kernel_version = script, None
    return found


def _note(steps: Steps, sending: Sending) -> None:
    write_json(sending.folder / STEPS, asdict(steps))


def _dataset(steps: Steps, sending: Sending, notebooks: Notebooks) -> None:
    """The bundle as a data set's newest version; what is there already is not sent again.

    The kernel itself refuses a bundle that is another than it was written for.
    """
    there = notebooks.dataset(sending.ref)
    if there and not (there.is_private or sending.public):
        raise RefusedError(
            f"the data set {sending.ref} is public: everybody would have your models; make it private at its page, "
            "give another --name, or say --public"
        )
    version = there.version if there else 0
    if steps.dataset_version is not None and version == steps.dataset_version:
        console.say(f"data set     {sending.ref} version {version} has this bundle already")
    else:
        arrived = steps.dataset_version is None and version - 1 == (steps.dataset_before or 0) and version > 1
        if steps.dataset_before is None or not arrived:  # or another version has come since
            steps.dataset_before, steps.dataset_version, steps.kernel_version = version, None, None
            _note(steps, sending)
            size = next((sending.folder / "dataset").glob("*.zip")).stat().st_size
            console.say(f"data set     sending {size / 1e6:,.1f} MB to {sending.ref}, private")
            try:
                notebooks.send_dataset(
                    sending.folder / "dataset", sending.message, new=there is None,
                    deadline_s=sending.deadline_s + size / SLOWEST,
                )  # fmt: skip
            except RefusedError:
                steps.dataset_before = None
                _note(steps, sending)
                raise
    steps.dataset_version = _await_dataset(steps, sending, notebooks)
    _note(steps, sending)
    console.say(f"data set     {sending.ref} version {steps.dataset_version} is ready")


def _await_dataset(steps: Steps, sending: Sending, notebooks: Notebooks) -> int:
    """The version that can be read: a newer one than was there before. Raises RefusedError where it cannot be."""
    least = steps.dataset_version or (steps.dataset_before or 0) + 1
    found = None

    def ready() -> bool:
        nonlocal found
        found = notebooks.dataset(sending.ref)
        if found is None:
            return False
        newer = found.version >= least
        if found.status in FAILED and (newer or least == 1):  # the first of all gets no number then
            steps.dataset_before = steps.dataset_version = None
            _note(steps, sending)
            raise RefusedError(
                f"the site could not read the data set {sending.ref} ({found.status}); send it once more"
            )
        return newer and found.status == READY

    _poll(ready, PROCESSING_S, "data set     it is still being processed")
    assert found is not None
    return found.version


def _kernel(steps: Steps, sending: Sending, notebooks: Notebooks) -> None:
    """The kernel's version that reads this bundle, pushed now or before; pushed twice it would only run twice."""
    if steps.kernel_version is None:
        console.say(f"kernel       pushing {sending.ref}")
        steps.kernel_version = notebooks.push(sending.folder / "kernel", sending.time_limit_s)
        steps.pushed_at = time.time()
        _note(steps, sending)
    console.say(f"kernel       {sending.ref} version {steps.kernel_version}")


def _await_run(steps: Steps, sending: Sending, notebooks: Notebooks) -> list[str]:
    """Until it is complete; gives its log. Raises RefusedError with its end where it fails; then it is pushed again.

    For some seconds after it was pushed, an end may still be that of the version before.
    """
    followed: Followed | None = None
    said, shown = "", 0

    def show(lines: list[str]) -> None:
        nonlocal shown
        for line in filter(None, map(str.strip, lines)):
            console.say(f"kernel       {line}")
            shown += 1

    def done() -> bool:
        nonlocal followed, said
        just_pushed = 0 <= time.time() - steps.pushed_at < OLD_RUN_S
        try:
            status, reason = notebooks.status(sending.ref)
        except NotThereError as error:
            if just_pushed:
                return False
            steps.kernel_version = None
            _note(steps, sending)
            raise RefusedError(f"{error}; send this command again: the kernel is pushed anew") from None
        if followed is None and status not in RUNNING and just_pushed:
            return False
        if status != said:
            said = status
            quota = f"; {notebooks.gpu_time()[0]}" if sending.gpu else ""
            minutes = (time.time() - steps.pushed_at) / 60
            console.say(f"kernel       is {status}, {minutes:.0f} min after it was pushed{quota}")
        if status in RUNNING:
            followed = followed or notebooks.follow(sending.ref)
            show(followed.new())
            return False
        if status == DONE:
            return True
        steps.kernel_version = None
        _note(steps, sending)
        raise RefusedError(failure(status, reason, notebooks.log(sending.ref)))

    _poll(done, sending.time_limit_s + SETTLE_S, f"kernel       {sending.ref} has not ended")
    log = notebooks.log(sending.ref)
    show(followed.ended(LOG_S) if followed else [])
    if not shown:
        show(log)
    return log


def _poll(ready: Callable[[], bool], most_s: float, late: str) -> None:
    """Ask until it is so; trouble on the way is waited out. Raises RefusedError once `most_s` are over."""
    end, pause = time.monotonic() + most_s, MIN_PAUSE_S
    said = ""
    while True:
        try:
            if ready():
                return
        except (BusyError, UnansweredError) as error:
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


def _refuse_another(steps: Steps, sending: Sending, notebooks: Notebooks) -> None:
    """Raise RefusedError where the run and output that the site told of are another version's, pushed by hand since."""
    newest, own = notebooks.newest(sending.ref), steps.kernel_version
    if own is not None and newest > own:
        steps.kernel_version = None
        _note(steps, sending)
        raise RefusedError(
            f"version {newest} of {sending.ref} was pushed since version {own}, and the site tells of the newest one's "
            "run alone: nothing was submitted; send this command again: the kernel is pushed anew"
        )


def _submit(
    steps: Steps,
    sending: Sending,
    checks: Checks,
    site: Site,
    notebooks: Notebooks,
    ledger: Ledger,
    receipt: Mapping[str, Any] | None,
) -> str:
    console.say(f"allowance    {site.allowance()}")
    about = (
        f"{sending.message} (notebook {sending.ref} version {steps.kernel_version}, data set version "
        f"{steps.dataset_version}, {_notebook(steps)})"
    )
    intent = ledger.intend(sha256=checks.sha256, message=about, site=site.name, slug=site.slug, receipt=receipt)
    assert steps.kernel_version is not None
    try:
        reference = notebooks.submit(
            site.slug, sending.ref, steps.kernel_version, sending.file_name, description(sending.message, intent)
        )
    except RefusedError as error:
        ledger.fail(intent, str(error))
        raise
    except UnansweredError:
        steps.unanswered = intent
        _note(steps, sending)
        raise
    ledger.confirm(intent, reference)
    return reference
