"""What `inspect` planned: how long the folds of its recipe should take. `folds` says how far that holds.

It stands beside params.yaml's data, not in it: a budget changes no result.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from pipeline.base.files import read_json, write_json
from pipeline.base.params import load_params
from pipeline.commands import places
from pipeline.commands.suggestion import budget_seconds
from pipeline.commands.time_left import against, spell

TIMED = ("images", "split", "model", "augment", "train", "pseudo", "compute", "folds")  # sections that decide the time


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Of all folds together."""

    budget: str  # as `budget_seconds` reads it
    expected_s: float  # seconds
    of: str  # sha256 of the recipe

    @property
    def budget_s(self) -> float:
        """The budget in seconds."""
        return budget_seconds(self.budget)

    def kept(self, seconds: float) -> str:
        """How the time of a whole run compares, for people."""
        found = against(seconds, self.budget_s)
        return f"{spell(seconds)} in all; {spell(self.expected_s)} were expected, {found} the budget of {self.budget}"


def write_plan(params: Path, *, budget: str, expected_s: float) -> None:
    """Write down, beside the params file, what the recipe in it should take."""
    write_json(
        places.beside(params, places.PLAN), Plan(budget=budget, expected_s=round(expected_s, 1), of=_recipe(params))
    )


def read_plan(params: Path) -> Plan | None:
    """The plan of the recipe that the params file holds; None where there is none, as after an edit."""
    try:
        found = Plan(**read_json(places.beside(params, places.PLAN)))
        return found if found.of == _recipe(params) and found.budget_s else None
    except (OSError, TypeError, ValueError):
        return None  # it only informs


def _recipe(params: Path) -> str:
    found = load_params(params)
    timed = [found.get("competition", {}).get("raw"), *(found.get(section) for section in TIMED)]
    return hashlib.sha256(json.dumps(timed, sort_keys=True, default=str).encode()).hexdigest()
