"""Data sets and notebooks at Kaggle, through its own client's calls: what a code competition takes instead of a CSV."""

import contextlib
import json
import queue
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from pipeline.leaderboard.site import NotThereError, RefusedError, UnansweredError

READY, FAILED = "ready", ("failed", "deleted")
RUNNING, DONE = ("queued", "running", "new_script"), "complete"
KERNEL_METADATA = "kernel-metadata.json"
STREAM_TRIES, STREAM_PAUSE_S = 5, 1.0
TAIL = 6  # lines of a failed run's log that are shown
NO_GPU = "this week's GPU time is used up: leave --gpu out, or wait until Kaggle counts anew"
BUSY = "too many notebooks are running: wait for one to end, or stop it at https://www.kaggle.com/code"
LATE = "it ran out of time: give the competition's own limit by --time-limit, or ask for a --gpu"
FULL = "its disk is full: pack fewer folds, or smaller networks"
# what Kaggle says, all of these words in it -> what to do
REMEDIES = (
    (("memory",), "it ran out of memory: lower infer.batch_size in params.yaml, run `dvc repro`, and send again"),
    (("gpu", "quota"), NO_GPU),
    (("gpu", "weekly"), NO_GPU),
    (("phone",), "verify your phone number at https://www.kaggle.com/settings: Kaggle runs no notebook before"),
    (("internet",), "the competition's notebooks must have no network: do not switch it on in the kernel's settings"),
    (("maximum", "session"), BUSY),
    (("already", "use"), "that name is taken: give another by --name"),
    (("disk",), FULL),
    (("no space left",), FULL),
    (("timed out",), LATE),
    (("time limit",), LATE),
    (("cancel",), "it was stopped at Kaggle's site: push it again"),
)


@dataclass(frozen=True)
class DatasetState:
    """A data set as Kaggle has it."""

    status: str
    version: int
    is_private: bool


class Notebooks:
    """The calls of one user; each raises a SiteError of one sentence.

    ask: runs a call of the client silently, and turns what it raises into such a sentence.
    """

    def __init__(self, api: Any, ask: Callable[[Callable[[], Any]], Any]) -> None:
        self._api, self._ask = api, ask

    @property
    def user(self) -> str:
        """Whose data sets and notebooks they are."""
        return str(self._api.get_config_value("username") or "")

    def dataset(self, ref: str) -> DatasetState | None:
        """None: there is none of this name, or it is not yours to see."""
        try:
            status = self._ask(lambda: self._api.dataset_status(ref))
            found = self._ask(lambda: self._found(ref))
        except NotThereError:
            return None
        return DatasetState(str(status), int(found.current_version_number or 0), bool(found.is_private))

    def _found(self, ref: str) -> Any:
        from kagglesdk.datasets.types.dataset_api_service import ApiGetDatasetRequest

        request = ApiGetDatasetRequest()
        request.owner_slug, request.dataset_slug = ref.split("/")
        with self._api.build_kaggle_client() as client:
            return client.datasets.dataset_api_client.get_dataset(request)

    def gpu_time(self) -> tuple[str, bool]:
        """(this week's GPU time in words, whether any is left)."""
        try:
            found = self._ask(self._api.quota_view)
        except RefusedError as error:  # what is asked next says whether that matters
            return f"not known: {error}", True
        quota, anew = found.gpu_quota, found.quota_refresh_time
        if quota is None or not quota.total_time_allowed:
            return "Kaggle does not tell how much GPU time is left", True
        used, most = ((quota.time_used or timedelta()), quota.total_time_allowed)
        hours = f"{used.total_seconds() / 3600:.1f} of {most.total_seconds() / 3600:.1f} hours"
        return f"GPU {hours} used this week" + (f", anew {anew:%Y-%m-%d %H:%M}" if anew else ""), used < most

    def send_dataset(self, folder: Path, notes: str, *, new: bool, deadline_s: float) -> None:
        """Create it, private, or send a new version of it. The client itself would try again for very long."""
        with _within(deadline_s), _own_notes(folder.parent):
            if new:
                answer = self._ask(lambda: self._api.dataset_create_new(str(folder), public=False, quiet=True))
            else:
                answer = self._ask(lambda: self._api.dataset_create_version(str(folder), notes, quiet=True))
        if answer.error or answer.status.lower() == "error":
            raise RefusedError(with_remedy(f"Kaggle did not take the data set: {answer.error or answer.status}"))

    def push(self, folder: Path, time_limit_s: float) -> int:
        """Send the kernel, which then runs; gives its version."""
        answer = self._ask(lambda: self._api.kernels_push(str(folder), timeout=str(int(time_limit_s))))
        hints = {"dataset": "look at its name", "competition": "join it and accept its rules first"}
        for what, hint in hints.items():
            invalid = getattr(answer, f"invalid_{what}_sources")
            if invalid:
                raise RefusedError(f"Kaggle does not let the kernel read the {what} {', '.join(invalid)}: {hint}")
        if answer.error:
            raise RefusedError(with_remedy(f"Kaggle did not take the kernel: {answer.error}"))
        name, own = json.loads((folder / KERNEL_METADATA).read_text(encoding="utf-8"))["id"], answer.ref or ""
        if own and own.rstrip("/").rpartition("/")[2] != name.rpartition("/")[2]:
            raise RefusedError(
                f"Kaggle calls the kernel {own}, not {name}, so that its run cannot be followed: give another --name"
            )
        if not answer.version_number:
            raise UnansweredError("Kaggle took the kernel and gave it no version number; send this command again")
        return int(answer.version_number)

    def status(self, kernel: str) -> tuple[str, str]:
        """(status of its newest run in small letters, why it failed)."""
        found = self._ask(lambda: self._api.kernels_status(kernel))
        return found.status.name.lower(), found.failure_message or ""

    def newest(self, kernel: str) -> int:
        """The version that `status`, `log` and `output` are about: they take none; 0: Kaggle does not tell."""
        return int(self._ask(lambda: self._kernel(kernel)).metadata.current_version_number or 0)

    def _kernel(self, ref: str) -> Any:
        from kagglesdk.kernels.types.kernels_api_service import ApiGetKernelRequest

        request = ApiGetKernelRequest()
        request.user_name, request.kernel_slug = ref.split("/")
        with self._api.build_kaggle_client() as client:
            return client.kernels.kernels_api_client.get_kernel(request)

    def log(self, kernel: str) -> list[str]:
        """The lines of its newest run's log so far."""
        text = self._ask(lambda: self._api.kernels_logs(kernel))
        return "".join(_data(event) for event in _events(text or "")).splitlines()

    def follow(self, kernel: str) -> "Followed":
        """The lines of its running log, as they come."""
        return Followed(lambda: self._api.kernels_logs_stream(kernel))

    def output(self, kernel: str, folder: Path) -> None:
        """Download what it wrote."""
        self._ask(lambda: self._api.kernels_output(kernel, str(folder), force=True, quiet=True))

    def submit(self, competition: str, kernel: str, version: int, file_name: str, description: str) -> str:
        """Submit a version's output; gives the submission's reference. Asks once, never again."""
        answer = self._ask(
            lambda: self._api.competition_submit_code(
                file_name, description, competition=competition, kernel=kernel, kernel_version=version, quiet=True
            )
        )
        if not answer.ref:
            raise UnansweredError("Kaggle gave the submission no reference; run `python -m pipeline ledger sync`")
        return str(answer.ref)


@contextlib.contextmanager
def _own_notes(folder: Path) -> Iterator[None]:
    """Where the client notes what it has sent: else in a folder that all users and projects share, by relative path."""
    kept, tempfile.tempdir = tempfile.tempdir, str(folder.resolve())
    try:
        yield
    finally:
        tempfile.tempdir = kept


@contextlib.contextmanager
def _within(seconds: float) -> Iterator[None]:
    """Raise UnansweredError once so many seconds are over, again and again until what is inside gives way."""
    over = False

    def end(*_: Any) -> None:
        nonlocal over
        over = True
        raise TimeoutError("the deadline has passed")

    kept = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, seconds, 1.0)
    try:
        yield
    except UnansweredError:
        if not over:
            raise
        raise UnansweredError(
            f"the data set was not there after {seconds:,.0f} s: the line is slow, or a proxy or firewall blocks the "
            "upload host; allow it or give a longer --deadline, and send this command again"
        ) from None
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, kept)


def _events(text: str) -> list[Any]:
    """Of a log that is a JSON array, or has one event a line, as an array that a run's end has cut off has."""
    try:
        found = json.loads(text)
    except ValueError:
        found = [_event(line) for line in text.splitlines()]
    return found if isinstance(found, list) else [found]


def _event(line: str) -> Any:
    try:
        found = json.loads(line.strip("[], "))
    except ValueError:
        found = None
    return found if isinstance(found, dict) else f"{line}\n"


def _data(event: Any) -> str:
    """What a running log's event, or a line that is none, has to say."""
    return str(event.get("data") or "") if isinstance(event, dict) else str(event)


class Followed:
    """Lines of a log that a thread reads. It begins again where the line breaks, and the site then from the start."""

    def __init__(self, stream: Callable[[], Iterable[Mapping[str, Any]]]) -> None:
        self._stream = stream
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def new(self) -> list[str]:
        """Those that came since they were last asked for."""
        return [self._lines.get() for _ in range(self._lines.qsize())]

    def ended(self, wait_s: float) -> list[str]:
        """The last ones, of a run that is over."""
        self._thread.join(wait_s)
        return self.new()

    def _read(self) -> None:
        seen, tries = 0, 0
        while tries < STREAM_TRIES:
            try:
                for at, event in enumerate(self._stream()):
                    if at >= seen:
                        seen, tries = at + 1, 0
                        for line in _data(event).splitlines():
                            self._lines.put(line)
                return
            except (OSError, ValueError):  # its progress is not worth a failure; the run's end is asked for elsewhere
                tries += 1
                time.sleep(STREAM_PAUSE_S)


def failure(status: str, reason: str, log: list[str]) -> str:
    """Why a run did not end well, and what to do."""
    tail = " / ".join(line.strip() for line in log[-TAIL:] if line.strip())
    said = f"the kernel ended with {status}" + (f": {reason}" if reason else "")
    return with_remedy(f"{said}; its log ends: {tail or 'in nothing'}", f"{status} {reason} {tail}")


def with_remedy(said: str, about: str = "") -> str:
    """The sentence, with what to do where that is known; about: where to look for it, default: in `said`."""
    low = (about or said).lower()
    remedy = next((remedy for words, remedy in REMEDIES if all(word in low for word in words)), "")
    return f"{said}; {remedy}" if remedy else said
