"""From a CSV to a score on the leaderboard: checked, sent once, written down at every step."""

import contextlib
import hashlib
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tqdm import tqdm

from pipeline.base import console
from pipeline.competition.schema import Schema
from pipeline.leaderboard.ledger import Ledger, description
from pipeline.leaderboard.site import RefusedError, SentSubmission, Site, SiteError
from pipeline.submission.contract import WARN, refuse, verdict

MIN_PAUSE_S, MAX_PAUSE_S = 1.0, 30.0
SETTLED = ("complete", "error")


def refuse_invalid(content: bytes, path: Path, *, sample: bytes, schema: Schema, **known: Any) -> None:
    """Raise ValueError for a file that the contract refuses. known: as of `contract.verdict`."""
    checks = verdict(content, sample, schema, **known)
    refuse(checks, str(path))
    warnings = [check for check in checks if check.status == WARN]
    for check in warnings:
        console.say(str(check))
    console.say(f"checked      {path}: {len(checks)} checks, {len(warnings)} warnings, {len(content):,} bytes")


def refuse_again(content: bytes, path: Path, ledger: Ledger) -> None:
    """Raise ValueError for a file that was sent before."""
    when = ledger.sent_before(hashlib.sha256(content).hexdigest())
    if when is not None:
        raise ValueError(
            f"{path} was sent at {when} and would get the same score again, so it was not sent now; if the site does "
            "not show it, run `python -m pipeline ledger sync`"
        )


def upload(
    content: bytes,
    file_name: str,
    message: str,
    *,
    site: Site,
    ledger: Ledger,
    receipt: Mapping[str, Any] | None,
    wait_s: float,
) -> None:
    """Send the bytes, once, and print the score.

    receipt: submit's, if it is about this file; wait_s: how long to wait for the score, whose absence is no failure.
    """
    with _interrupted("nothing was submitted"):
        console.say(f"allowance    {site.allowance()}")
        submit = site.deliver(content, file_name)
    reference = _submit(submit, content, message, site=site, ledger=ledger, receipt=receipt)
    say_score(reference, site=site, ledger=ledger, wait_s=wait_s)


def say_score(reference: str, *, site: Site, ledger: Ledger, wait_s: float) -> None:
    """Wait for a submission's score, enter it and print it. Raises ValueError where the site could not score it."""
    console.say(f"submitted    reference {reference}")
    with _interrupted(f"{site.title} has the submission, reference {reference}; {site.score_hint(reference)}"):
        found = _await_score(site, reference, wait_s=wait_s)
    if found is None or found.status not in SETTLED:
        console.say(f"score        {site.score_hint(reference)}")
        return
    ledger.record_score(
        reference,
        public=found.public_score,
        private=found.private_score,
        status=found.status,
        reason=found.error,
    )
    if found.status == "error":
        reason = found.error or "it gives no reason"
        raise ValueError(
            f"{site.title} took {reference} but could not score it: {reason}; correct it and send it again"
        )
    private = "not shown yet" if found.private_score is None else f"{found.private_score:g}"
    public = "not shown" if found.public_score is None else f"{found.public_score:g}"
    console.say(f"score        public {public}, private {private}")


def _submit(
    submit: Callable[[str], str],
    content: bytes,
    message: str,
    *,
    site: Site,
    ledger: Ledger,
    receipt: Mapping[str, Any] | None,
) -> str:
    """The site's reference. The intent is in the ledger before the site is asked: a crash in between loses nothing."""
    sha256 = hashlib.sha256(content).hexdigest()
    intent = ledger.intend(sha256=sha256, message=message, site=site.name, slug=site.slug, receipt=receipt)
    unknown = f"{site.title} may have taken the file ({intent} in the ledger): look there before you send it again"
    try:
        with _interrupted(unknown):
            reference = submit(description(message, intent))
            ledger.confirm(intent, reference)
    except RefusedError as error:
        ledger.fail(intent, str(error))
        raise
    return reference


@contextlib.contextmanager
def _interrupted(state: str) -> Iterator[None]:
    """Ctrl-C inside ends the command with `state`: how things stand at the site."""
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt(state) from None


def _await_score(site: Site, reference: str, *, wait_s: float) -> SentSubmission | None:
    """How it stands when the site has settled it, or when the time is over. Trouble on the way is waited out."""
    end, pause, said = time.monotonic() + wait_s, MIN_PAUSE_S, ""
    with tqdm(desc="waiting for the score", bar_format="{desc} {elapsed}", disable=None) as bar:
        while True:
            try:
                found = site.outcome(reference)
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
            pause = min(pause * 1.5, MAX_PAUSE_S)
