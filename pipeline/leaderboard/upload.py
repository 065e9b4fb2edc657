"""From a CSV to a score on the leaderboard: checked, sent once, written down at every step."""

import hashlib
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tqdm import tqdm

from pipeline.base import console
from pipeline.competition.schema import Schema
from pipeline.leaderboard.ledger import Ledger, description
from pipeline.leaderboard.site import Client, RefusedError, SiteError
from pipeline.leaderboard.sync import SentSubmission
from pipeline.submission.contract import WARN, refuse, verdict

FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 30.0
SETTLED = ("complete", "error")


def checked(path: Path, book: Ledger, *, sample: bytes, schema: Schema, **known: Any) -> bytes:
    """The bytes to send. Raises ValueError for a file that the contract refuses, and for one that was sent before.

    known: as of `contract.verdict`.
    """
    content = path.read_bytes()
    checks = verdict(content, sample, schema, **known)
    refuse(checks, str(path))
    warnings = [check for check in checks if check.status == WARN]
    for check in warnings:
        console.say(str(check))
    console.say(f"checked      {path}: {len(checks)} checks, {len(warnings)} warnings, {len(content):,} bytes")
    when = book.sent_before(hashlib.sha256(content).hexdigest())
    if when is not None:
        raise ValueError(
            f"{path} was sent at {when} and would get the same score again, so it was not sent now; if the site does "
            "not show it, run `python -m pipeline ledger sync`"
        )
    return content


def upload(
    content: bytes,
    file_name: str,
    message: str,
    *,
    connect: Callable[[], Client],
    book: Ledger,
    receipt: Mapping[str, Any] | None,
    wait_s: float,
) -> None:
    """Send the bytes, once, and print the score.

    receipt: submit's, if it is about this file; wait_s: how long to wait for the score, whose absence is no failure.
    """
    client = connect()
    console.say(f"allowance    {client.allowance()}")
    reference = _send(content, file_name, message, client=client, book=book, receipt=receipt)
    console.say(f"submitted    reference {reference}")
    found = _await_score(client, reference, wait_s=wait_s)
    if found is None or found.status not in SETTLED:
        console.say(f"score        {_later(client.site, reference)}")
        return
    book.record_score(
        reference,
        public=found.public_score,
        private=found.private_score,
        status=found.status,
        reason=found.error,
    )
    if found.status == "error":
        reason = found.error or "it gives no reason"
        raise ValueError(f"{client.site} took {reference} but could not score it: {reason}; mend the file, send again")
    private = "not shown yet" if found.private_score is None else f"{found.private_score:g}"
    public = "not shown" if found.public_score is None else f"{found.public_score:g}"
    console.say(f"score        public {public}, private {private}")


def _send(
    content: bytes, file_name: str, message: str, *, client: Client, book: Ledger, receipt: Mapping[str, Any] | None
) -> str:
    """The site's reference. The intent is in the book before the site is asked, so a crash in between loses nothing."""
    submit = client.deliver(content, file_name)
    sha256 = hashlib.sha256(content).hexdigest()
    intent = book.intend(sha256=sha256, message=message, site=client.site, slug=client.slug, receipt=receipt)
    try:
        reference = submit(description(message, intent))
    except RefusedError as error:
        book.fail(intent, str(error))
        raise
    book.confirm(intent, reference)
    return reference


def _await_score(client: Client, reference: str, *, wait_s: float) -> SentSubmission | None:
    """How it stands when the site has settled it, or when the time is over. Trouble on the way is waited out."""
    end, pause, said = time.monotonic() + wait_s, FIRST_PAUSE_S, ""
    with tqdm(desc="waiting for the score", bar_format="{desc} {elapsed}", disable=None) as bar:
        while True:
            try:
                found = client.outcome(reference)
                if found is None or found.status in SETTLED:
                    return found
            except SiteError as error:
                found = None
                if said != str(error):
                    said = str(error)
                    console.say(f"waiting      {said}")
            if time.monotonic() + pause > end:
                return found
            time.sleep(pause)
            bar.refresh()
            pause = min(pause * 1.5, LONGEST_PAUSE_S)


def _later(site: str, reference: str) -> str:
    if site == "kaggle":
        return "not known yet; `python -m pipeline ledger sync` enters it once Kaggle has it"
    return f"{site} shows it on its site only; enter it: `python -m pipeline ledger score {reference} 0.9312`"
