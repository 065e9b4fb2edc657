"""Dacon: one multipart POST, answered by a word. No score comes back; the site shows it."""

import argparse
import functools
import os
import secrets
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from pipeline.base import console
from pipeline.leaderboard.site import RefusedError, Site, UnansweredError

ADDRESS = "https://openapi.dacon.io/submission"
ADDRESS_VARIABLE = "DACON_API_URL"  # for a proxy of your own, or a test
TOKEN_VARIABLE, COMPETITION_VARIABLE, TEAM_VARIABLE = "DACON_API_TOKEN", "DACON_CPT_ID", "DACON_TEAM_NAME"
API_VERSION = "2.0"
MAX_BYTES = 100 * 1000 * 1000
HIDDEN = "***"
WRONG = {
    1: "the header is not what the competition wants",
    2: "the file cannot be read as a CSV",
    3: "the number of rows is not what the competition wants",
    4: "a value is not allowed",
    21: "a column has another type than the competition wants",
    9021: "it holds characters that are not allowed",
}
WRONG |= {900 + code: text for code, text in list(WRONG.items())[:4]}
FULL = {
    "over_max_count": "every submission that the competition allows was made",
    "day_max_count": "the day's submissions are used up; the count starts again at midnight in Korea, 15:00 UTC",
}


class Dacon(Site):
    """Dacon, whose competitions have numbers."""

    title = "Dacon"
    competition_help = f"its number; default: the environment's {COMPETITION_VARIABLE}"

    def __init__(self, slug: str, *, team: str, token: str, deadline_s: float = 600.0) -> None:
        self.slug = slug
        self._team = team
        self._token = token
        self._deadline_s = deadline_s
        self._address = os.environ.get(ADDRESS_VARIABLE) or ADDRESS

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        """See `Site`."""
        parser.add_argument("--team", help=f"Dacon: the team's name; default: the environment's {TEAM_VARIABLE}")

    @classmethod
    def connect(cls, args: argparse.Namespace) -> "Dacon":
        """See `Site`. The environment gives what the command line does not, and the token."""
        found = {
            COMPETITION_VARIABLE: args.competition or os.environ.get(COMPETITION_VARIABLE),
            TEAM_VARIABLE: args.team or os.environ.get(TEAM_VARIABLE),
            TOKEN_VARIABLE: os.environ.get(TOKEN_VARIABLE),
        }
        missing = [name for name, value in found.items() if not value]
        if missing:
            raise RefusedError(
                f"Dacon needs {', '.join(missing)}: set them in the environment; the number in the competition's web "
                "address can also be --competition, the team's name --team; the token is on your profile page"
            )
        number, name, token = (value or "" for value in found.values())
        console.say(f"competition  {number} on Dacon")
        return cls(number, team=name, token=token, deadline_s=args.deadline)

    def allowance(self) -> str:
        """Dacon does not tell before it is asked to take a file."""
        return "Dacon does not say before it gets the file"

    def deliver(self, content: bytes, file_name: str) -> Callable[[str], str]:
        """See `Site`. Nothing is sent yet: Dacon takes file and submission in one."""
        if len(content) > MAX_BYTES:
            raise RefusedError(f"{file_name} has {len(content):,} bytes, Dacon takes {MAX_BYTES:,}: write fewer digits")
        return functools.partial(self._submit, content, file_name)

    def _submit(self, content: bytes, file_name: str, description: str) -> str:
        fields = {
            "cpt_id": self.slug,
            "team_name": self._team,
            "file_name": file_name,
            "memo": description,
            "api_token": self._token,
            "api_version": API_VERSION,
        }
        answer = self._post(fields, file_name, content)
        word = answer.get("message")
        if word == "ok":
            return f"dacon-{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(2)}"
        raise RefusedError(self._refusal(word, answer.get("data")))

    def _post(self, fields: Mapping[str, str], file_name: str, content: bytes) -> Mapping[str, Any]:
        """The JSON object that Dacon answers. Asked once; the token never gets into an exception."""
        import requests

        host = urlsplit(self._address).hostname
        form = {"file": (file_name, content, "text/csv")}
        try:
            response = requests.post(
                self._address, data=fields, files=form, timeout=self._deadline_s, allow_redirects=False
            )
        except requests.RequestException as error:
            raise UnansweredError(
                f"no answer from {host} ({type(error).__name__}): look at connection, proxy and firewall; {_perhaps()}"
            ) from None
        if not response.ok:
            refused = response.status_code < 500
            more = "" if refused else f"; {_perhaps()}"
            raise (RefusedError if refused else UnansweredError)(
                f"{host} answers {response.status_code}: look at token, number and team, try again later{more}"
            )
        try:
            answer = response.json()
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            raise UnansweredError(f"{host} answers something that is no JSON object; {_perhaps()}")
        return answer

    def _refusal(self, word: object, code: object) -> str:
        if word in FULL:
            return f"no submission to {self.slug} is left: {FULL[str(word)]}"
        if word == "wrong":
            number = int(str(code)) if str(code).isdecimal() else None
            cause = WRONG.get(number or 0, f"code {self._hidden(str(code))}, which is not documented")
            return f"Dacon refused the file: {cause}; compare it with the sample submission: `python -m pipeline check`"
        return (
            f"Dacon answers {self._hidden(str(word))}: check {TOKEN_VARIABLE}, the team's name (as on the site) and "
            "the competition's number"
        )

    def _hidden(self, text: str) -> str:
        return " ".join(text.replace(self._token, HIDDEN).split())


def _perhaps() -> str:
    return "Dacon may have taken the file: look at the competition's submissions on its site before sending it again"
