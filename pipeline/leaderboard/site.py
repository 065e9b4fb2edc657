"""What `upload` asks of a site's client, and the two ways in which a site can fail us."""

from collections.abc import Callable
from typing import Protocol

from pipeline.leaderboard.sync import SentSubmission


class SiteError(ValueError):
    """Why a site did not do what was asked; the message is one sentence that says what to do."""


class RefusedError(SiteError):
    """A clear no: what was asked was not done."""


class UnansweredError(SiteError):
    """No answer, or none that can be understood: what was asked may have been done."""


class Client(Protocol):
    """A site, logged in, and one of its competitions."""

    site: str
    slug: str

    def allowance(self) -> str:
        """How many submissions are left, in words. Raises RefusedError where there is none."""

    def deliver(self, content: bytes, file_name: str) -> Callable[[str], str]:
        """Bring the file there, which is no submission yet; gives the call that makes it one.

        That call takes the description and gives the site's reference. It asks the site once, never again. It raises
        RefusedError where no submission was made, UnansweredError where one may have been.
        """

    def outcome(self, reference: str) -> SentSubmission | None:
        """How the submission stands: status pending, complete or error. None: this site never tells."""
