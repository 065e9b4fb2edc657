"""A report as one HTML file: no other file, no network, no script but its own, whose hash the page itself demands."""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

HERE = Path(__file__).resolve().parent
PANELS = (
    "compared", "verdict", "submissions", "learning", "confusion", "classes", "mistakes", "suspects", "reliability",
    "prior", "audit", "provenance",
)  # fmt: skip
TEMPLATE, STYLE, SCRIPT = "page.html.jinja", "page.css", "page.js"


def report_page(title: str, panels: Mapping[str, Any], pictures: Sequence[str], cells: Mapping[str, Any]) -> bytes:
    """UTF-8 HTML, the same bytes for the same arguments; every text is escaped.

    panels: name of `PANELS` -> what it shows; one that is not there, or None, is left out. pictures: data addresses, by
    number; cells: cell of the confusion -> its images.
    """
    style, script = ((HERE / name).read_text(encoding="utf-8") for name in (STYLE, SCRIPT))
    policy = (
        f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    template = _environment().get_template(TEMPLATE)
    text = template.render(
        title=title, policy=policy, style=_ours(style), script=_ours(script), pictures=pictures, cells=cells,
        **dict.fromkeys(PANELS) | dict(panels),
    )  # fmt: skip
    return text.encode()


def _environment() -> Any:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    found = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined
    )
    found.filters["figure"] = _figure
    found.filters["plain_json"] = _plain_json
    return found


def _figure(number: float | None, digits: int = 4) -> str:
    return "–" if number is None else f"{number:.{digits}f}".replace("-", "\N{MINUS SIGN}")


def _plain_json(value: Any) -> Markup:
    """For a script element: no text of it can end the element."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for letter in "<>&\N{LINE SEPARATOR}\N{PARAGRAPH SEPARATOR}":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return _ours(text)


def _ours(text: str) -> Markup:
    """Text that is no user's, or that has no letter of markup left."""
    return Markup(text)  # noqa: S704


def _hash(text: str) -> str:
    """As a content security policy names what stands between the tags."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
