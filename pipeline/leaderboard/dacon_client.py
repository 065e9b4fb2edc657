"""Dacon: one multipart POST, answered by a word. No score comes back; it stands on the site."""

import functools
import json
import os
import secrets
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from pipeline.leaderboard.site import RefusedError, UnansweredError
from pipeline.leaderboard.sync import SentSubmission

ADDRESS = "https://openapi.dacon.io/submission"
ADDRESS_VARIABLE = "DACON_API_URL"  # for a proxy of your own, or a test
TOKEN_VARIABLE, COMPETITION_VARIABLE, TEAM_VARIABLE = "DACON_API_TOKEN", "DACON_CPT_ID", "DACON_TEAM_NAME"
API_VERSION = "2.0"
MOST_BYTES = 100 * 1000 * 1000
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


class DaconClient:
    """One competition of Dacon, by its number."""

    site = "dacon"

    def __init__(self, slug: str, *, team: str, token: str, deadline_s: float = 600.0) -> None:
        self.slug = slug
        self._team = team
        self._token = token
        self._deadline_s = deadline_s
        self._address = os.environ.get(ADDRESS_VARIABLE) or ADDRESS

    @classmethod
    def from_environment(cls, slug: str | None, team: str | None, *, deadline_s: float) -> "DaconClient":
        """The environment gives what the command line does not, and the token. Raises RefusedError for a gap."""
        found = {
            COMPETITION_VARIABLE: slug or os.environ.get(COMPETITION_VARIABLE),
            TEAM_VARIABLE: team or os.environ.get(TEAM_VARIABLE),
            TOKEN_VARIABLE: os.environ.get(TOKEN_VARIABLE),
        }
        missing = [name for name, value in found.items() if not value]
        if missing:
            raise RefusedError(
                f"Dacon needs {', '.join(missing)}: set them in the environment; the number in the competition's web "
                "address can also be --competition, the team's name --team; the token stands on your profile page"
            )
        number, name, token = (value or "" for value in found.values())
        return cls(number, team=name, token=token, deadline_s=deadline_s)

    def allowance(self) -> str:
        """Dacon does not tell before it is asked to take a file."""
        return "Dacon tells none before it gets the file"

    def deliver(self, content: bytes, file_name: str) -> Callable[[str], str]:
        """See `site.Client`. Nothing is sent yet: Dacon takes file and submission in one."""
        if len(content) > MOST_BYTES:
            raise RefusedError(
                f"{file_name} has {len(content):,} bytes, Dacon takes {MOST_BYTES:,}: write fewer digits"
            )
        return functools.partial(self._submit, content, file_name)

    def outcome(self, reference: str) -> SentSubmission | None:
        """Dacon tells no score."""
        return None

    def _submit(self, content: bytes, file_name: str, description: str) -> str:
        fields = {
            "cpt_id": self.slug,
            "team_name": self._team,
            "file_name": file_name,
            "memo": description,
            "api_token": self._token,
            "api_version": API_VERSION,
        }
        answer = self._post(*multipart(fields, file_name, content))
        word = answer.get("message")
        if word == "ok":
            return f"dacon-{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(2)}"
        raise RefusedError(self._refusal(word, answer.get("data")))

    def _post(self, body: bytes, content_type: str) -> Mapping[str, Any]:
        """The JSON object that Dacon answers. Asked once; the token never gets into an exception."""
        host = urlsplit(self._address).hostname
        request = urllib.request.Request(self._address, data=body, headers={"Content-Type": content_type})  # noqa: S310
        try:
            with urllib.request.urlopen(request, timeout=self._deadline_s) as response:  # noqa: S310
                text = response.read()
        except urllib.error.HTTPError as error:
            kind = RefusedError if 400 <= error.code < 500 else UnansweredError
            more = "" if kind is RefusedError else f"; {_perhaps()}"
            raise kind(f"{host} answers {error.code}: look at token, number and team, try again later{more}") from None
        except OSError as error:
            raise UnansweredError(
                f"no answer from {host} ({type(error).__name__}): look at connection, proxy and firewall; {_perhaps()}"
            ) from None
        try:
            answer = json.loads(text)
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


def multipart(fields: Mapping[str, str], file_name: str, content: bytes) -> tuple[bytes, str]:
    """(body, content type) of a form with these fields and the file as `file`."""
    boundary = secrets.token_hex(16)
    lines = []
    for name, value in fields.items():
        lines += [f"--{boundary}", f'Content-Disposition: form-data; name="{name}"', "", value]
    quoted = file_name.replace("\\", "_").replace('"', "%22")
    lines += [f"--{boundary}", f'Content-Disposition: form-data; name="file"; filename="{quoted}"']
    head = "\r\n".join([*lines, "Content-Type: text/csv", "", ""]).encode()
    return head + content + f"\r\n--{boundary}--\r\n".encode(), f"multipart/form-data; boundary={boundary}"


def _perhaps() -> str:
    return "Dacon may have taken the file: look at the competition's submissions on its site before sending it again"
