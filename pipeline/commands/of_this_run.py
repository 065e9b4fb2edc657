"""Whether a submission is of the competition that params.yaml names, and of what is there now, as dvc.lock tells it."""

import hashlib
from pathlib import Path
from typing import Any

from pipeline.base.params import CompetitionParams, load_section
from pipeline.base.yamls import read_yaml
from pipeline.commands import places
from pipeline.leaderboard.restore import stale_inputs


def refuse_other_competition(ingested: Path) -> None:
    """Raise ValueError where `ingested` was read from another archive than params.yaml names: `inspect --write` alone
    names the next competition, whose files are not here yet."""
    competition = _stages(ingested).get("ingest", {}).get("params", {}).get(str(places.PARAMS), {}).get("competition")
    if not competition or not places.PARAMS.is_file():
        return
    raw, read = load_section(places.PARAMS, "competition", CompetitionParams).raw, str(competition["raw"])
    if Path(raw).resolve() != Path(read).resolve():
        raise ValueError(
            f"what is here, the submission too, is of {read}, but {places.PARAMS} names {raw} by now: run `dvc repro`, "
            f"or put back `competition.raw: {read}`"
        )


def stale_lines(content: bytes, ingested: Path) -> list[str]:
    """Warnings where `content` is the run's own submission, and what it was made of has changed since."""
    stages = _stages(ingested)
    outs = stages.get("submit", {}).get("outs", ())
    if hashlib.md5(content, usedforsecurity=False).hexdigest() not in [out["md5"] for out in outs]:
        return []
    found = stale_inputs(stages, places.LOCK.parent)
    for dep in stages.get("ingest", {}).get("deps", ()):
        path = Path(dep["path"])
        if path.is_file() and path.stat().st_size != dep.get("size"):
            found.append(f"{path} is another file than ingest read")
    return [f"warning: this submission is of an earlier state: {line}; run `dvc repro`" for line in found[:1]]


def _stages(ingested: Path) -> dict[str, Any]:
    """Stage -> what dvc.lock recorded; empty where it does not tell of `ingested`."""
    if ingested != places.COMPETITION or not places.LOCK.is_file():
        return {}
    found = read_yaml(places.LOCK.read_text(encoding="utf-8"))
    return (found.get("stages") if isinstance(found, dict) else None) or {}
