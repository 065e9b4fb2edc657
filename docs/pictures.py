"""Makes the picture of the README from the page of a finished run: `python -m docs.pictures PROJECT`.

It needs the Chromium that tests/browser.py finds.
"""

import sys
from pathlib import Path

from tests.browser import looked_at, opened_browser

PICTURE = Path(__file__).resolve().parent / "page.png"
WIDTH, HEIGHT = 1000, 1120


def main() -> None:
    """Take the top of data/report/index.html, as a person sees it first."""
    page = Path(sys.argv[1]) / "data/report/index.html"
    with opened_browser() as browser, looked_at(browser, page, width=WIDTH) as looked:
        looked.tab.set_viewport_size({"width": WIDTH, "height": HEIGHT})
        looked.tab.screenshot(path=PICTURE)
    print(PICTURE)


if __name__ == "__main__":
    main()
