"""The ledger of submissions: a CSV in git to which rows are only ever added.

A later fact about a submission (its reference, its score) is a new row of the same `submission` that says only what is
new; on reading, the newest cell of each column counts. Rows are ordered by their time, not their place, so that two
copies of it merge by keeping the lines of both (`merge=union` in .gitattributes).
"""

import contextlib
import csv
import dataclasses
import fcntl
import io
import os
import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO

from pipeline.base import console
from pipeline.base.files import table_bytes
from pipeline.leaderboard.provenance import provenance

INTENDED, SENT, FAILED = "intended", "sent", "failed"  # further statuses are the server's: pending, complete, error
LAYOUT = "1"  # of the columns below; the last cell of a row, so that a row that has it is whole
COLUMNS = (
    "time", "submission", "status", "site", "competition", "message", "reference", "metric", "cv_score",
    "cv_standard_error", "public_score", "private_score", "experiment", "sha256", "git_commit", "git_tree",
    "dvc_lock_sha256", "reason", "layout",
)  # fmt: skip
NUMBERS = ("cv_score", "cv_standard_error", "public_score", "private_score")
# how the message of a notebook's row ends; of two with the same public answers, these tell the notebooks apart
NOTEBOOK = re.compile(
    r"\(notebook \S+ version \d+, data set version \d+, (bundle [0-9a-f]{12}, script [0-9a-f]{12})\)$"
)
MIN_PREFIX = 6  # characters of a sha256 that may name a submission


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A submission, all its rows taken together; empty text and None for what is not known."""

    number: int  # from 1, by time
    time: str  # of the first row, UTC
    submission: str  # its token, such as fb-3f9a1c2e
    status: str
    site: str = ""
    competition: str = ""
    message: str = ""
    reference: str = ""
    metric: str = ""
    cv_score: float | None = None
    cv_standard_error: float | None = None
    public_score: float | None = None
    private_score: float | None = None
    experiment: str = ""
    sha256: str = ""
    git_commit: str = ""
    git_tree: str = ""
    dvc_lock_sha256: str = ""
    reason: str = ""  # why it failed

    @property
    def notebook(self) -> str:
        """Of a submission that a notebook made: its bundle and script; '' of a CSV."""
        found = NOTEBOOK.search(self.message)
        return found[1] if found else ""


def description(message: str, intent: str) -> str:
    """What to send as the submission's description: with the token, the server's list can be matched exactly."""
    return f"{_one_line(message)} [{intent}]"


class Ledger:
    """The ledger at `path`; it need not exist yet. Any number of processes may write at once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._warned = False  # of a torn row

    def submissions(self) -> list[Entry]:
        """Every submission, oldest first. Only reads: a row that a crash cut off is left out, and stays."""
        if not self.path.is_file():
            return []
        with self.path.open("rb") as handle:
            fcntl.flock(handle, fcntl.LOCK_SH)
            rows, torn = _parted(handle.read())
        if torn and not self._warned:
            console.say(f"warning: {self.path} ends in {_torn_row(torn)}; the next command that writes moves it aside")
            self._warned = True
        return _entries(_rows(rows, self.path))

    def submissions_to(self, site: str | None, competition: str | None) -> list[Entry]:
        """Those to one competition of a site, oldest first; None: the newest submission's. Raises where there are none.

        Their numbers are those of the whole ledger.
        """
        entries = [entry for entry in self.submissions() if site in (None, entry.site)]
        entries = [entry for entry in entries if competition in (None, entry.competition)]
        if not entries:
            which = f" to {competition or 'any competition'} of {site or 'any site'}" if site or competition else ""
            raise ValueError(f"{self.path} has no submission{which} yet; `python -m pipeline upload` enters one")
        newest = (entries[-1].site, entries[-1].competition)
        return [entry for entry in entries if (entry.site, entry.competition) == newest]

    def find(self, wanted: str) -> Entry:
        """The one that `wanted` names: reference, token, row number, or the first characters of its sha256.

        Raises ValueError for none and for several.
        """
        entries = self.submissions()
        ways: list[list[Entry]] = [
            [entry for entry in entries if wanted in (entry.reference, entry.submission)],
            [entry for entry in entries if wanted == str(entry.number)],
            [entry for entry in entries if len(wanted) >= MIN_PREFIX and entry.sha256.startswith(wanted)],
        ]
        found = next(filter(None, ways), [])
        if len(found) != 1:
            which = ", ".join(f"row {entry.number}" for entry in found[:3])
            raise ValueError(
                f"{wanted!r} names {len(found)} of {len(entries)} submissions in {self.path} ({which or 'none'}); "
                f"give a reference, a row number, or {MIN_PREFIX} characters or more of the sha256: "
                "`python -m pipeline ledger` shows them"
            )
        return found[0]

    def sent_before(self, sha256: str, *, but: Sequence[str] = (), notebook: str = "") -> str | None:
        """When this very file was sent, or may have been (a crash hides which); None if it was not.

        but: statuses that do not count beside `failed`; notebook: whose output it is, as of `Entry.notebook`.
        """
        passed = (FAILED, *but)
        alike = [entry for entry in self.submissions() if (entry.sha256, entry.notebook) == (sha256, notebook)]
        times = [entry.time for entry in alike if entry.status not in passed]
        return times[-1] if times else None

    def intend(self, *, sha256: str, message: str, site: str, slug: str, receipt: Mapping[str, Any] | None) -> str:
        """Write down that a file is about to be sent, before it is; gives the submission's token.

        receipt: submit's, if it is about this file; it tells metric and cross-validation score.
        """
        intent = f"fb-{secrets.token_hex(4)}"
        facts = dataclasses.asdict(provenance(self.path)) | _cross_validation(receipt, sha256)
        self._append(
            intent, status=INTENDED, site=site, competition=slug, message=_one_line(message), sha256=sha256, **facts
        )
        return intent

    def confirm(self, intent: str, reference: str) -> None:
        """The server took it, and calls it `reference`."""
        self._append(intent, status=SENT, reference=str(reference))

    def fail(self, intent: str, reason: str) -> None:
        """It certainly did not arrive: the same file may be sent again."""
        self._append(intent, status=FAILED, reason=_one_line(reason))

    def record_score(
        self,
        reference: str,
        *,
        public: float | None,
        private: float | None,
        status: str = "complete",
        reason: str = "",
    ) -> None:
        """What the server, or a person, says of the submission that `find(reference)` gives. Known facts add no row."""
        entry = self.find(str(reference))
        facts = {"status": status.lower(), "public_score": public, "private_score": private}
        facts |= {"reason": _one_line(reason)} if reason else {}
        if any(value is not None and getattr(entry, name) != value for name, value in facts.items()):
            self._append(entry.submission, **facts)

    def _append(self, submission: str, **facts: Any) -> None:
        """One row, on the disk when this returns."""
        with self._locked() as handle:
            content = self._without_torn_row(handle)
            cells = {"time": _now(content), "submission": submission, "layout": LAYOUT} | facts
            row = ["" if cells.get(name) is None else str(cells[name]) for name in COLUMNS]
            line = table_bytes(COLUMNS, [row]) if not content else table_bytes(row, [])
            handle.write(line)
            handle.flush()
            os.fsync(handle.fileno())

    @contextlib.contextmanager
    def _locked(self) -> Iterator[BinaryIO]:
        """The ledger, open for appending, held by this process alone."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        while True:
            with self.path.open("a+b") as handle:
                fcntl.flock(handle, fcntl.LOCK_EX)
                # git may have put another file in its place while we waited
                if self.path.exists() and os.path.samestat(os.fstat(handle.fileno()), self.path.stat()):
                    yield handle
                    return

    def _without_torn_row(self, handle: BinaryIO) -> bytes:
        """The ledger's rows; the rest of one that a crash cut off goes into a file beside the ledger."""
        handle.seek(0)
        content = handle.read()
        rows, torn = _parted(content)
        if len(rows) > len(content):
            handle.write(b"\n")
        if torn:
            aside = self.path.with_name(self.path.name + ".torn")
            with aside.open("ab") as kept:
                kept.write(torn + b"\n")
                kept.flush()
                os.fsync(kept.fileno())
            handle.truncate(len(rows))
            console.say(
                f"warning: {self.path} ended in {_torn_row(torn)}: moved to {aside}; "
                "`python -m pipeline ledger sync` asks the site what it was about"
            )
        return rows


def _parted(content: bytes) -> tuple[bytes, bytes]:
    """(whole rows, the rest of one that a crash cut off). A row that lacks its newline alone is whole: an editor."""
    rows, newline, rest = content.rpartition(b"\n")
    return (content + b"\n", b"") if rest and _is_row(rest) else (rows + newline, rest)


def _torn_row(torn: bytes) -> str:
    return f"a torn row of {len(torn)} bytes (a crash while it was written)"


def _one_line(text: str) -> str:
    """A row is a line: git merges lines, and a torn one shows at once."""
    return " ".join(text.split())


def _is_row(line: bytes) -> bool:
    try:
        cells = next(csv.reader([line.decode("utf-8")], strict=True))
    except (UnicodeDecodeError, csv.Error, StopIteration):
        return False
    return len(cells) == len(COLUMNS) and cells[-1] in (LAYOUT, COLUMNS[-1])


def _now(content: bytes) -> str:
    """The time in UTC to the millisecond, later than the newest row's even if the clock was set back."""
    now = datetime.now(UTC)
    with contextlib.suppress(ValueError):
        newest = max(line.split(b",", 1)[0] for line in content.splitlines() if line[:1].isdigit())
        now = max(now, datetime.fromisoformat(newest.decode()) + timedelta(milliseconds=1))
    return now.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _cross_validation(receipt: Mapping[str, Any] | None, sha256: str) -> dict[str, Any]:
    if receipt is None or receipt.get("sha256") != sha256:
        return {}
    folds = receipt["folds"]
    return {
        "metric": receipt["metric"],
        "cv_score": folds["score_mean"],
        "cv_standard_error": folds["score_standard_error"],
    }


def _rows(content: bytes, path: Path) -> list[dict[str, str]]:
    """The rows by time, each once. A header in the middle, as a merge of two new ledgers leaves it, is passed over."""
    try:
        lines = list(csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} cannot be read ({error}); `git diff {path}` shows what changed") from error
    if lines and tuple(lines[0]) != COLUMNS:
        raise ValueError(f"{path} begins with {lines[0]}, must be {list(COLUMNS)}; `git checkout` the header line")
    damaged = [
        at for at, cells in enumerate(lines, 1) if cells and not (len(cells) == len(COLUMNS) and _is_layout(cells))
    ]
    if damaged:
        raise ValueError(
            f"{path}: {len(damaged)} lines are not rows, first {damaged[:3]} (an edit, or the marks of a merge: "
            f"delete lines such as <<<<<<<, keep the rows of both sides); `git diff {path}` shows what changed"
        )
    distinct = dict.fromkeys(tuple(cells) for cells in lines if tuple(cells) not in ((), COLUMNS))
    rows = [dict(zip(COLUMNS, cells, strict=True)) for cells in distinct]
    return sorted(rows, key=lambda row: row["time"])


def _is_layout(cells: Sequence[str]) -> bool:
    return cells[-1] == LAYOUT or tuple(cells) == COLUMNS


def _entries(rows: Sequence[Mapping[str, str]]) -> list[Entry]:
    known: dict[str, dict[str, str]] = {}
    for row in rows:
        cells = known.setdefault(row["submission"], {"time": row["time"]})
        cells |= {name: cell for name, cell in row.items() if cell and name not in ("time", "layout")}
    return [_entry(number, cells) for number, cells in enumerate(known.values(), start=1)]


def _entry(number: int, cells: Mapping[str, str]) -> Entry:
    try:
        numbers = {name: float(cells[name]) for name in NUMBERS if name in cells}
    except ValueError as error:
        raise ValueError(
            f"the ledger's submission {cells['submission']} has a score that is not a number: {error}"
        ) from error
    return Entry(number=number, **(dict(cells) | numbers))  # type: ignore[arg-type]  # text but for NUMBERS
