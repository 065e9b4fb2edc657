"""What the commands ask of a competition's site, and the sites there are.

A new site is one new file, `sites/NAME.py`: a subclass of `Site`. It is found there and `upload --site NAME` takes it;
nothing else in the project knows a site by its name. A file whose name begins with `_` helps another.
"""

import argparse
import importlib
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

from pipeline.leaderboard import sites


class SiteError(ValueError):
    """Why a site did not do what was asked; the message is one sentence that says what to do."""


class RefusedError(SiteError):
    """A clear no: what was asked was not done."""


class NotThereError(RefusedError):
    """There is no such thing, or it is not ours to see."""


class NotebooksOnlyError(RefusedError):
    """The competition takes no files, but notebooks that make them."""


class BusyError(RefusedError):
    """A no for now: too many requests, or too slow; asked again later, the answer may be another."""


class UnansweredError(SiteError):
    """No answer, or none that can be understood: what was asked may have been done."""


@dataclass(frozen=True, kw_only=True)
class SentSubmission:
    """A submission as the site lists it."""

    reference: str
    description: str
    time: datetime  # with its zone; without one it is UTC
    status: str  # pending, complete or error
    public_score: float | None
    private_score: float | None
    error: str = ""  # the site's reason


class Site(ABC):
    """A site, logged in, and one of its competitions."""

    name: ClassVar[str]  # of its file, for `--site` and in the ledger
    title: ClassVar[str]  # as people write it
    is_default: ClassVar[bool] = False  # the site that is meant where none is named
    competition_help: ClassVar[str]  # what names a competition there
    slug: str

    def __init_subclass__(cls) -> None:
        cls.name = cls.__module__.rpartition(".")[2]

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        """Add to `upload` the options that this site alone has."""
        return

    @classmethod
    @abstractmethod
    def connect(cls, args: argparse.Namespace) -> "Site":
        """Log in, to upload; args: of `upload`. Says which competition it is."""

    @abstractmethod
    def allowance(self) -> str:
        """How many submissions are left, in words. Raises RefusedError where there is none."""

    @abstractmethod
    def deliver(self, content: bytes, file_name: str) -> Callable[[str], str]:
        """Bring the file there, which is no submission yet; gives the call that makes it one.

        That call takes the description and gives the site's reference. It asks the site once, never again. It raises
        RefusedError where no submission was made, UnansweredError where one may have been.
        """

    def outcome(self, reference: str) -> SentSubmission | None:
        """How the submission stands. None: not known, or this site never tells."""
        return None

    def score_hint(self, reference: str) -> str:
        """Where the score is to be had that did not come in time."""
        return f"{self.title} shows it on its site only; enter it: `python -m pipeline ledger score {reference} 0.9312`"

    @classmethod
    def open_list(cls, slug: str) -> "Site":
        """Log in, for `submissions`."""
        raise ValueError(
            f"{cls.title} gives no list of submissions; enter scores with `python -m pipeline ledger score`"
        )

    def submissions(self) -> Sequence[SentSubmission]:
        """All of ours to this competition, newest first."""
        raise NotImplementedError

    def notebooks_only(self) -> bool:
        """Whether the competition is known to take nothing else."""
        return False

    def notebooks(self) -> Any:
        """What sends notebooks, where a competition takes nothing else; see `sites/_notebooks.py`."""
        raise ValueError(f"{self.title} takes no notebooks")

    @classmethod
    def open_files(cls, slug: str) -> "Site":
        """Log in, for `files`."""
        raise ValueError(f"{cls.title} gives no files to programs; download them in the browser")

    def files(self) -> Any:
        """The competition's zip, as an open response of `requests`; nothing of its body is read yet."""
        raise NotImplementedError


def site_names() -> list[str]:
    """The sites there are, by name."""
    return sorted(module.name for module in pkgutil.iter_modules(sites.__path__) if not module.name.startswith("_"))


def site_named(name: str) -> type[Site]:
    """The site of this name. Raises ValueError where there is none."""
    if name not in site_names():
        raise ValueError(f"{name!r} is no site that Foldboard knows; known: {', '.join(site_names())}")
    module = importlib.import_module(f"{sites.__name__}.{name}")
    return next(
        found
        for found in vars(module).values()
        if isinstance(found, type) and issubclass(found, Site) and found.__module__ == module.__name__
    )


def default_site() -> str:
    """The name of the site that is meant where none is named."""
    return next(name for name in site_names() if site_named(name).is_default)
