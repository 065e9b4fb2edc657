"""The ledger and the site's list brought together: what a crash between upload and row left open is settled."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from pipeline.leaderboard.ledger import FAILED, INTENDED, Entry, Ledger
from pipeline.leaderboard.site import SentSubmission, Site

TOKEN = re.compile(r"\[(fb-[0-9a-f]{8})\]")
NEAR = timedelta(minutes=15)  # between our intent and the server's time, where a description lost its token
UNDER_WAY = timedelta(minutes=60)  # an upload may take so long before its absence from the list means anything


def sync(ledger: Ledger, site: Site) -> list[str]:
    """Enter references, statuses and scores that the site has and the ledger has not; gives lines for people."""
    listed = site.submissions()
    lines: list[str] = []
    strangers: list[SentSubmission] = []
    for sent in listed:
        entry = _entry_of(sent, _of_competition(ledger, site))
        if entry is None:
            strangers.append(sent)
            continue
        if entry.reference != sent.reference:
            ledger.confirm(entry.submission, sent.reference)
            lines.append(f"{sent.reference}: this is {entry.submission}, whose row was never finished")
        ledger.record_score(
            sent.reference, public=sent.public_score, private=sent.private_score, status=sent.status, reason=sent.error
        )
    lines += _settle_absent(ledger, _of_competition(ledger, site))
    lines += [_stranger(sent) for sent in strangers]
    return [f"{len(listed)} submissions on the server, {len(listed) - len(strangers)} of them in the ledger", *lines]


def _of_competition(ledger: Ledger, site: Site) -> list[Entry]:
    return [entry for entry in ledger.submissions() if (entry.site, entry.competition) == (site.name, site.slug)]


def _entry_of(sent: SentSubmission, entries: Sequence[Entry]) -> Entry | None:
    """By reference, by token, else by message and time if that leaves no doubt."""
    for entry in entries:
        if entry.reference and entry.reference == sent.reference:
            return entry
    token = TOKEN.search(sent.description)
    if token:
        return next((entry for entry in entries if entry.submission == token[1]), None)
    text = " ".join(sent.description.split())
    near = [
        entry
        for entry in entries
        if not entry.reference and entry.message == text and abs(_utc(sent.time) - _time(entry)) < NEAR
    ]
    return near[0] if len(near) == 1 else None


def _settle_absent(ledger: Ledger, entries: Sequence[Entry]) -> list[str]:
    """An intent that the server does not list, too old to be under way, never arrived."""
    lines = []
    for entry in entries:
        if entry.status != INTENDED:
            continue
        if datetime.now(UTC) - _time(entry) < UNDER_WAY:
            lines.append(f"{entry.submission}: not listed yet; if nothing is uploading now, sync again in an hour")
        else:
            ledger.fail(entry.submission, "the server does not list it")
            lines.append(f"{entry.submission}: {FAILED}, the server does not list it; the file may be sent again")
    return lines


def _stranger(sent: SentSubmission) -> str:
    token = TOKEN.search(sent.description)
    origin = "from another copy of the ledger: merge that" if token else "sent without Foldboard: not entered"
    return f"{sent.reference}: {sent.description!r} is {origin}"


def _time(entry: Entry) -> datetime:
    return datetime.fromisoformat(entry.time)


def _utc(time: datetime) -> datetime:
    return time if time.tzinfo else time.replace(tzinfo=UTC)
