"""Writes the tables of docs/parameters.md from the dataclasses of params.yaml: `python -m docs.parameters`.

A key's text is the comment beside it or above it, as tyro and simple-parsing read it too.
"""

import dataclasses
import inspect
import json
import re
from pathlib import Path
from typing import Any

from pipeline.base.params import SECTIONS, allowed, load_params

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "parameters.md"
START, END = "<!-- made by `python -m docs.parameters`: -->\n", "<!-- until here -->\n"


def page() -> str:
    """The page with its tables as they should be: what stands outside the two marks is kept."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(START)
    return before + START + tables() + END + rest.partition(END)[2]


def tables() -> str:
    """A headline and a table for each section."""
    shipped = load_params(ROOT / "params.yaml")
    lines: list[str] = []
    for name, section in SECTIONS.items():
        lines += [f"\n### {name}\n", _what(section), "\n| key | meaning | allowed | shipped |", "|---|---|---|---|"]
        texts = comments(section)
        for field in dataclasses.fields(section):
            optional = "" if field.default is dataclasses.MISSING else "°"
            cells = texts[field.name], allowed(section, field.name), _yaml(shipped[name].get(field.name, field.default))
            row = [f"`{field.name}`{optional}", *(cell.replace("|", "\\|") for cell in cells)]
            lines.append(f"| {' | '.join(row)} |")
    return "\n".join(lines).lstrip("\n") + "\n\n"


def comments(section: type) -> dict[str, str]:
    """Key -> its comment; '' where it has none."""
    found, above = {}, []
    for line in inspect.getsource(section).splitlines():
        field = re.match(r" {4}(\w+): ", line)
        if line.startswith("    # "):
            above.append(line.removeprefix("    # "))
        elif field:
            found[field[1]] = " ".join([*above, *re.findall(r"  # (.*)$", line)])
            above = []
    return found


def _what(section: type) -> str:
    """The first sentence of the section's docstring, after the name."""
    text = inspect.getdoc(section) or ""
    what = text.split("\n\n")[0].partition(": ")[2].replace("\n", " ")
    return what[:1].upper() + what[1:]


def _yaml(value: Any) -> str:
    """As params.yaml writes it."""
    return f"`{value}`" if isinstance(value, str) else f"`{json.dumps(value)}`"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
