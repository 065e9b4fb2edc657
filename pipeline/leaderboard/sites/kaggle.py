"""Kaggle through its own client, which is imported when it is needed: it prints, calls the network and may exit."""

import argparse
import contextlib
import functools
import io
import json
import math
import os
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pipeline.base import console
from pipeline.base.console import progress_bar
from pipeline.base.params import load_params
from pipeline.leaderboard.site import (
    BusyError,
    NotebooksOnlyError,
    NotThereError,
    RefusedError,
    SentSubmission,
    Site,
    SiteError,
    UnansweredError,
)
from pipeline.leaderboard.sites._notebooks import Notebooks, with_remedy

EXTRA = "python -m pip install -r requirements-extra.txt"
WAIT_S = 60.0  # for one answer; the client itself would wait for ever
PAGE = 100  # submissions that one request lists
HIDDEN = "***"
SECRET_VARIABLES = ("KAGGLE_API_TOKEN", "KAGGLE_KEY")
SECRET_SETTINGS = ("token", "key")  # of the client, wherever it took them from
LOUD_VARIABLES = ("VERBOSE", "VERBOSE_OUTPUT")  # they make the client print every header, the token's too
LOGIN = (
    "Kaggle does not know who you are: click Generate New Token at https://www.kaggle.com/settings/api and save the "
    "token in ~/.kaggle/access_token (or in the environment variable KAGGLE_API_TOKEN); an old token may have expired"
)
SAYS_RULES = ("rule", "accept")
SAYS_NOTEBOOK = ("notebook", "kernel", "code competition")
TAKES_NOTEBOOKS = "takes notebooks only"  # in our own sentence about it
SAYS_CLOSED = ("closed", "ended", "deadline", "disabled", "no longer", "not accepting", "has finished")
SAYS_LIMIT = ("limit", "exceeded", "maximum", "too many submissions", "daily", "allowance", "quota")


class Kaggle(Site):
    """Kaggle. Whatever fails raises a SiteError of one sentence, without a credential in it."""

    title = "Kaggle"
    is_default = True
    competition_help = "last part of its web address; default: name of competition.raw"

    def __init__(self, slug: str, *, deadline_s: float = 600.0) -> None:
        self.slug = slug
        self._deadline_s = deadline_s  # for bringing a file to the upload host
        with _one_sentence(lambda error: _hidden(sentence(error, slug), {})):
            self._api = _logged_in()

    @classmethod
    def connect(cls, args: argparse.Namespace) -> "Kaggle":
        """See `Site`."""
        slug, source = args.competition, "from --competition"
        if slug is None:
            slug = Path(load_params(args.params)["competition"]["raw"]).name.split(".")[0]
            source = f"from competition.raw in {args.params}; --competition names another"
        console.say(f"competition  {slug} on Kaggle ({source})")
        return cls(slug, deadline_s=args.deadline)

    @classmethod
    def open_list(cls, slug: str) -> "Kaggle":
        """See `Site`."""
        return cls(slug)

    open_files = open_list

    def allowance(self) -> str:
        """Kaggle's count of today. All zeros is what somebody has who is on no team yet: the server decides then."""
        limits = self._ask("get_submission_limits", "ApiGetSubmissionLimitsRequest", competition_name=self.slug)
        left, today, total = limits.num_allowed_now, limits.num_today, limits.num_total
        if left or not (today or total):
            return f"{left} submissions left today" if left else "Kaggle counts no submission of yours here yet"
        if limits.limited_by_total:
            raise RefusedError(
                f"no submission to {self.slug} is left: all {total} that the competition allows were made"
            )
        raise RefusedError(
            f"no submission to {self.slug} is left today ({today} were made): the count starts again at 00:00 UTC, "
            f"in {_until_midnight(datetime.now(UTC))}"
        )

    def deliver(self, content: bytes, file_name: str) -> Callable[[str], str]:
        """See `Site`."""
        place = self._ask(
            "start_submission_upload",
            "ApiStartSubmissionUploadRequest",
            competition_name=self.slug,
            file_name=file_name,
            content_length=len(content),
            last_modified_epoch_seconds=int(time.time()),
        )
        self._put(place.create_url, content)
        return functools.partial(self._submit, place.token)

    def outcome(self, reference: str) -> SentSubmission | None:
        """See `Site`."""
        try:
            return self._read(self._ask("get_submission", "ApiGetSubmissionRequest", ref=int(reference)))
        except RefusedError:
            return next((sent for sent in self.submissions() if sent.reference == reference), None)

    def score_hint(self, reference: str) -> str:
        """See `Site`."""
        return "not known yet; `python -m pipeline ledger sync` enters it once Kaggle has it"

    def submissions(self) -> list[SentSubmission]:
        """See `Site`."""
        found: list[SentSubmission] = []
        token = ""
        while True:
            request = {"competition_name": self.slug, "page_size": PAGE, "page_token": token}
            listed = self._ask("list_submissions", "ApiListSubmissionsRequest", **request)
            found += [self._read(sent) for sent in listed.submissions]
            token = listed.next_page_token
            if not token or not listed.submissions:
                return found

    def files(self) -> Any:
        """See `Site`."""
        return self._ask("download_data_files", "ApiDownloadDataFilesRequest", competition_name=self.slug)

    def notebooks_only(self) -> bool:
        """See `Site`."""
        try:
            with _one_sentence(lambda error: self.hidden(sentence(error, self.slug))):
                found = self._call("get_competition", "ApiGetCompetitionRequest", competition_name=self.slug)
        except SiteError:
            return False  # what is asked next says what the trouble is
        return bool(found.is_kernels_submissions_only)

    def notebooks(self) -> Notebooks:
        """See `Site`."""

        def ask(call: Callable[[], Any]) -> Any:
            with _one_sentence(self._notebook_sentence), _silent():
                return call()

        return Notebooks(self._api, ask)

    def _notebook_sentence(self, error: Exception) -> str:
        response = response_of(error)
        said = reason(response) if response is not None else ""
        text = sentence(error, self.slug, of_file=False)
        return self.hidden(with_remedy(text, said) if said else text)

    def hidden(self, text: str) -> str:
        """The text without any credential that this client knows."""
        return _hidden(text, self._api.config_values)

    def _ask(self, call: str, request_name: str, **fields: Any) -> Any:
        try:
            with _one_sentence(lambda error: self.hidden(sentence(error, self.slug, self._competition(error)))):
                return self._call(call, request_name, **fields)
        except RefusedError as error:
            if TAKES_NOTEBOOKS in str(error):
                raise NotebooksOnlyError(str(error)) from None
            raise

    def _call(self, call: str, request_name: str, **fields: Any) -> Any:
        from kagglesdk.competitions.types import competition_api_service

        request = getattr(competition_api_service, request_name)()
        for name, value in fields.items():
            setattr(request, name, value)
        with _silent(), self._api.build_kaggle_client() as client:
            return getattr(client.competitions.competition_api_client, call)(request)

    def _competition(self, error: Exception) -> Any:
        """Kaggle's facts about the competition, to explain a refusal by; None where it does not tell."""
        if getattr(getattr(error, "response", None), "status_code", 0) not in (400, 403, 404):
            return None
        try:
            return self._call("get_competition", "ApiGetCompetitionRequest", competition_name=self.slug)
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return None

    def _put(self, url: str, content: bytes) -> None:
        """The file to the upload host. Its address is a secret: whoever has it may write there."""
        import requests

        try:
            with progress_bar("upload", total=len(content), unit="B", unit_scale=True) as bar:
                body = _Watched(content, bar, deadline_s=self._deadline_s)
                response = requests.put(url, data=body, timeout=(WAIT_S, min(WAIT_S, self._deadline_s)))
        except requests.RequestException as error:
            raise UnansweredError(_blocked(host_of(error), type(error).__name__, self.slug)) from None
        if not response.ok:
            raise RefusedError(_blocked(host_of(response), f"it answers {response.status_code}", self.slug))

    def _submit(self, token: str, description: str) -> str:
        fields = {"competition_name": self.slug, "blob_file_tokens": token, "submission_description": description}
        try:
            reference = self._ask("create_submission", "ApiCreateSubmissionRequest", **fields).ref
            trouble = "Kaggle gave the submission no reference number"
        except UnansweredError as error:
            reference, trouble = 0, str(error)
        return str(reference) if reference else self._reference_of(description, trouble)

    def _reference_of(self, description: str, trouble: str) -> str:
        """Of a submission that Kaggle did not clearly answer about, from its list. It is never sent a second time."""
        with contextlib.suppress(SiteError):
            for sent in self.submissions():
                if sent.description == description:
                    return sent.reference
        raise UnansweredError(
            f"{trouble}. The file was there already, so Kaggle may have taken it: see "
            f"https://www.kaggle.com/competitions/{self.slug}/submissions, then run `python -m pipeline ledger sync`"
        )

    def _read(self, sent: Any) -> SentSubmission:
        return SentSubmission(
            reference=str(sent.ref),
            description=sent.description,
            time=sent.date or datetime.now(UTC),
            status=sent.status.name.lower(),
            public_score=_score(sent.public_score),
            private_score=_score(sent.private_score),
            error=self.hidden(sent.error_description),
        )


class _Watched(io.BytesIO):
    """What is read from it moves a progress bar; past the deadline reading it fails."""

    def __init__(self, content: bytes, bar: Any, *, deadline_s: float) -> None:
        super().__init__(content)
        self._bar = bar
        self._end = time.monotonic() + deadline_s

    def read(self, size: int | None = -1) -> bytes:
        """The next bytes. Raises TimeoutError once the deadline has passed."""
        if time.monotonic() > self._end:
            raise TimeoutError("the upload took too long")
        piece = super().read(size)
        self._bar.update(len(piece))
        return piece


@contextlib.contextmanager
def _one_sentence(explain: Callable[[Exception], str]) -> Iterator[None]:
    """Turn what the client raises into RefusedError (a clear no) or UnansweredError, and forget the original.

    Requests' exceptions hold the request with its headers, and their messages the address.
    """
    try:
        yield
    except SiteError:
        raise  # in a sentence already
    except SystemExit:
        raise RefusedError(LOGIN) from None
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        status = getattr(response_of(error), "status_code", 0)
        kind: type[SiteError] = RefusedError if 400 <= status < 500 else UnansweredError
        kind = BusyError if status in (408, 429) else NotThereError if status in (403, 404) else kind
        raise kind(explain(error)) from None


@functools.cache
def _client_class() -> Any:
    """Kaggle's KaggleApi. Its import logs in and so calls the network: waits are bounded before."""
    for name in LOUD_VARIABLES:
        os.environ.pop(name, None)
    try:
        _bound_waits()
        with _silent():
            from kaggle.api.kaggle_api_extended import KaggleApi
    except ImportError as error:
        raise RefusedError(f"Kaggle's client is not installed ({error.name} is missing): {EXTRA}") from None
    return KaggleApi


def _logged_in() -> Any:
    api = _client_class()()
    with _silent():
        api.authenticate()  # SystemExit where there are no credentials
    return api


def _bound_waits() -> None:
    """Let no request of this process wait for ever: the client names no timeout, and has no place to name one."""
    import requests

    send = requests.Session.send

    @functools.wraps(send)
    def bounded(self: Any, request: Any, **options: Any) -> Any:
        return send(self, request, **(options if options.get("timeout") else options | {"timeout": WAIT_S}))

    requests.Session.send = bounded  # type: ignore[method-assign]


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """The client prints help, warnings and reasons, signed addresses among them: nobody shall see that."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield


def _hidden(text: str, settings: dict[str, str]) -> str:
    secrets = [os.environ.get(name) for name in SECRET_VARIABLES] + [settings.get(name) for name in SECRET_SETTINGS]
    for secret in filter(None, secrets):
        text = text.replace(secret, HIDDEN)
    return text


def _blocked(host: str | None, found: str, slug: str) -> str:
    return (
        f"the upload host {host} does not take the file ({found}) though Kaggle itself answers: a proxy or firewall "
        f"blocks it, or the line is too slow. Nothing was submitted; allow that host, or upload in the browser at "
        f"https://www.kaggle.com/competitions/{slug}/submit"
    )


def _score(text: str) -> float | None:
    """Kaggle's scores are text, empty while it does not know them."""
    try:
        score = float(text)
    except ValueError:
        return None
    return score if math.isfinite(score) else None


def _until_midnight(now: datetime) -> str:
    midnight = (now + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
    minutes = int((midnight - now).total_seconds()) // 60
    return f"{minutes // 60} h {minutes % 60} min"


def sentence(error: Exception, slug: str, competition: Any = None, *, of_file: bool = True) -> str:
    """Why Kaggle's client failed.

    error: from requests, or from reading an answer; competition: Kaggle's own facts about `slug`, where they are known;
    of_file: what was asked for was a competition's, not a data set or a notebook.
    """
    response = response_of(error)
    if response is None:
        return _without_answer(error)
    said = reason(response)
    quoted = f" (Kaggle says: {said})" if said else ""
    if response.status_code == 401:
        return f"{LOGIN}{quoted}"
    if response.status_code >= 500:
        return f"Kaggle has trouble of its own ({response.status_code}): try again in some minutes{quoted}"
    if response.status_code == 429:
        wait = response.headers.get("Retry-After", "")
        after = f"in {wait} s" if wait.isdecimal() else "in some minutes"
        return f"Kaggle asks to slow down (429): send this command again {after}{quoted}"
    if not of_file:
        return f"Kaggle refused ({response.status_code}): see https://www.kaggle.com/competitions/{slug}{quoted}"
    return f"{_of_competition(response, said.lower(), slug, competition)}{quoted}"


def response_of(error: Exception) -> Any:
    """What the server answered, None where it did not; the client hides some behind a ValueError of its own."""
    response = getattr(error, "response", None)
    if response is None and isinstance(error, ValueError):
        response = getattr(error.__context__, "response", None)
    return response


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
            f"{slug} {TAKES_NOTEBOOKS}: `python -m pipeline upload --notebook -m MESSAGE` sends a bundle and a "
            f"kernel, runs it and submits its output (docs/code-competitions.md); by hand: {page}"
        )
    if _has(said, SAYS_CLOSED) or (known and competition.submissions_disabled):
        return f"{slug} takes no submissions any more (or not yet): see {page}/overview"
    if all(word in said for word in SAYS_RULES) or (known and not competition.user_has_entered):
        return f"you have not joined {slug}: accept its rules at {page}/rules, then send this command again"
    if _has(said, SAYS_LIMIT):
        return f"no submission to {slug} is left: the day's count starts again at 00:00 UTC"
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
