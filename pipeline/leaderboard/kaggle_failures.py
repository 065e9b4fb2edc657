"""Kaggle's failures in one sentence each: what happened, and what to do."""

import json
from typing import Any
from urllib.parse import urlsplit

LOGIN = (
    "Kaggle does not know who you are: click Generate New Token at https://www.kaggle.com/settings/api and save the "
    "token in ~/.kaggle/access_token (or in the environment variable KAGGLE_API_TOKEN); an old token may have expired"
)
SAYS_RULES = ("rule", "accept")
SAYS_NOTEBOOK = ("notebook", "kernel", "code competition")
SAYS_CLOSED = ("closed", "ended", "deadline", "disabled", "no longer", "not accepting", "has finished")
SAYS_LIMIT = ("limit", "exceeded", "maximum", "too many submissions", "daily", "allowance", "quota")


def sentence(error: Exception, slug: str, competition: Any = None) -> str:
    """Why Kaggle's client failed.

    error: from requests, or from reading an answer; competition: Kaggle's own facts about `slug`, where they are known.
    """
    response = getattr(error, "response", None)
    if response is None:
        return _without_answer(error)
    said = reason(response)
    quoted = f" (Kaggle says: {said})" if said else ""
    if response.status_code == 401:
        return f"{LOGIN}{quoted}"
    if response.status_code >= 500:
        return f"Kaggle has trouble of its own ({response.status_code}): try again in some minutes{quoted}"
    return f"{_of_competition(response, said.lower(), slug, competition)}{quoted}"


def reason(response: Any) -> str:
    """The server's own words, on one line; '' where there are none."""
    try:
        found = response.json()
    except ValueError:
        return ""
    if not isinstance(found, dict):
        return ""
    inner = found.get("error")
    said = inner.get("message") if isinstance(inner, dict) else found.get("message") or inner
    return " ".join((said if isinstance(said, str) else json.dumps(said or "")).split()).strip('"')


def _of_competition(response: Any, said: str, slug: str, competition: Any) -> str:
    page, status = f"https://www.kaggle.com/competitions/{slug}", response.status_code
    known = competition is not None
    if _has(said, SAYS_NOTEBOOK) or (known and competition.is_kernels_submissions_only):
        return (
            f"{slug} takes notebooks only: pack the models with `python -m pipeline bundle`, add the zip to a notebook "
            f"as a dataset, and submit it at {page}"
        )
    if _has(said, SAYS_CLOSED) or (known and competition.submissions_disabled):
        return f"{slug} takes no submissions any more (or not yet): see {page}/overview"
    if all(word in said for word in SAYS_RULES) or (known and not competition.user_has_entered):
        return f"you have not joined {slug}: accept its rules at {page}/rules, then send this command again"
    if status != 429 and _has(said, SAYS_LIMIT):
        return f"no submission to {slug} is left: the day's count starts again at 00:00 UTC"
    if status == 429:
        wait = response.headers.get("Retry-After", "")
        after = f"in {wait} s" if wait.isdecimal() else "in some minutes"
        return f"Kaggle asks to slow down (429): send this command again {after}"
    if status == 404:
        return f"Kaggle has no competition {slug!r}: give the last part of its web address as --competition"
    if status == 403:
        return (
            f"Kaggle does not let you into {slug!r} (403): if that is the last part of its web address, accept the "
            f"rules at {page}/rules; else give the right one as --competition"
        )
    return f"Kaggle refused ({status}): see {page}"


def _has(said: str, words: tuple[str, ...]) -> bool:
    return any(word in said for word in words)


def _without_answer(error: Exception) -> str:
    host = host_of(error)
    if host is None:
        return (
            "Kaggle's answer cannot be understood (a login page of your network in between, or a newer Kaggle than "
            f"this client: {type(error).__name__}): try again, then `pip install -U kaggle`"
        )
    return f"no answer from {host} ({type(error).__name__}): look at the connection, proxy and firewall, and try again"


def host_of(answer: Any) -> str | None:
    """The host that was asked; answer: an exception or a response of requests."""
    request = getattr(answer, "request", None)
    return urlsplit(request.url).hostname if request is not None else None
