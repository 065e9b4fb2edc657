"""Whether a submission is of the competition that params.yaml names, and of what is there now, as dvc.lock tells it."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.base.params import CompetitionParams, is_about, load_section
from pipeline.commands import places
from pipeline.leaderboard.provenance import recorded_stages
from pipeline.leaderboard.restore import stale_inputs


def stages_behind(ingested: Path) -> dict[str, Any]:
    """Stage -> what dvc.lock recorded; empty where it does not tell of `ingested`."""
    return recorded_stages(places.LOCK) if ingested == places.COMPETITION else {}


def refuse_other_competition(stages: Mapping[str, Any]) -> None:
    """Raise ValueError where what is here was read from another archive than params.yaml names: `inspect --write` alone
    names the next competition, whose files are not here yet."""
    competition = stages.get("ingest", {}).get("params", {}).get(str(places.PARAMS), {}).get("competition")
    if not competition or not places.PARAMS.is_file():
        return
    read = str(competition["raw"])
    if not is_about(Path(read), places.PARAMS):
        raw = load_section(places.PARAMS, "competition", CompetitionParams).raw
        raise ValueError(
            f"what is here, the submission too, is of {read}, but {places.PARAMS} names {raw} by now: run `dvc repro`, "
            f"or put back `competition.raw: {read}`"
        )


def stale_lines(content: bytes, stages: Mapping[str, Any]) -> list[str]:
    """Warnings where `content` is the run's own submission, and what it was made of has changed since."""
    outs = stages.get("submit", {}).get("outs", ())
    if hashlib.md5(content, usedforsecurity=False).hexdigest() not in [out["md5"] for out in outs]:
        return []
    found = stale_inputs(stages, places.LOCK.parent)
    for dep in stages.get("ingest", {}).get("deps", ()):
        path = Path(dep["path"])
        if path.is_file() and path.stat().st_size != dep.get("size"):
            found.append(f"{path} is another file than ingest read")
    return [f"warning: this submission is of an earlier state: {line}; run `dvc repro`" for line in found[:1]]
