"""The Chromium that is installed, without network: what a page shows, asks for, and complains of."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
REQUIRED = "FOLDBOARD_BROWSER"  # set where the tests must not be skipped
OPTIONS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip


class Looked:
    """A page as a browser has it, with all that it asked for beyond itself and all that it complained of."""

    def __init__(self, tab: Any, path: Path) -> None:
        self.tab = tab
        self.asked: list[str] = []
        self.complaints: list[str] = []
        self.dialogs: list[str] = []
        tab.on("console", self._complain)
        tab.on("pageerror", self._complain)
        tab.on("dialog", self._dismiss)
        own = path.resolve().as_uri()
        tab.on("request", lambda request: self._note(request.url, own))
        tab.goto(own)

    def _complain(self, found: Any) -> None:
        self.complaints.append(getattr(found, "text", str(found)))

    def _dismiss(self, dialog: Any) -> None:
        self.dialogs.append(dialog.message)
        dialog.dismiss()

    def _note(self, address: str, own: str) -> None:
        if address.partition("#")[0] != own and not address.startswith("data:"):
            self.asked.append(address)

    def texts(self, selector: str) -> list[str]:
        found: list[str] = self.tab.eval_on_selector_all(selector, "found => found.map(one => one.innerText.trim())")
        return found

    def rows(self, table: str) -> list[list[str]]:
        """Cells as text, row by row, of the rows that are to be seen."""
        cells = "rows => rows.map(row => Array.from(row.children).map(cell => cell.innerText.trim()))"
        found: list[list[str]] = self.tab.eval_on_selector_all(f"{table} tbody tr:not([hidden])", cells)
        return found


@contextmanager
def opened_browser() -> Iterator[Any]:
    if CHROMIUM is None and not os.environ.get(REQUIRED):
        pytest.skip("no Chromium here; `apt-get install chromium` runs these tests too")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        found = play.chromium.launch(executable_path=CHROMIUM, args=list(OPTIONS))
        yield found
        found.close()


@contextmanager
def looked_at(browser: Any, path: Path, *, width: int = 1200, dark: bool = False) -> Iterator[Looked]:
    context = browser.new_context(
        viewport={"width": width, "height": 900}, offline=True, color_scheme="dark" if dark else "light"
    )
    yield Looked(context.new_page(), path)
    context.close()
