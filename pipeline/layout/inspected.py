"""What `inspect` wrote of an archive, and whether it would be read so still.

Settings in params.yaml are the same tomorrow, which a run should be. An organiser who replaces the archive under its
name may call the classes 1 and 2 where they were 0 and 1: `positive: 1` then says the other one, and nothing stops.
"""

import dataclasses
import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pipeline.archive.archive import Archive
from pipeline.base.files import read_json, write_json
from pipeline.base.params import CompetitionParams
from pipeline.competition.problems import Problems
from pipeline.layout.context import Overrides
from pipeline.layout.layout import read_layout

STATE, SETTINGS = "state", "settings"


def write_inspected(path: Path, raw: Path, settings: Mapping[str, Any]) -> None:
    """Note what was written of the archive as it is now."""
    write_json(path, {STATE: _state_of(raw), SETTINGS: dict(settings)})


def changed_since(path: Path, archive: Archive, section: CompetitionParams) -> list[str]:
    """A warning where the archive is another by now, and without the settings of then is read otherwise.

    path: of `write_inspected`; section: `competition` of params.yaml. What the user changed since is not looked at. The
    archive is read once more, but only if it was written since.
    """
    try:
        found = read_json(path)
        before, written = found[STATE], found[SETTINGS].items()
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return []  # it only informs
    if before == _state_of(archive.path):
        return []
    said = dataclasses.asdict(section)
    kept = {
        key: value for key, value in written if said.get(key) == (tuple(value) if isinstance(value, list) else value)
    }
    try:
        overrides = Overrides.among({key: value for key, value in said.items() if key not in kept})
        afresh = read_layout(archive, Problems(), overrides).settings
    except ValueError as error:
        told = f"asks: {str(error).splitlines()[0]}"
    else:
        others = {key: afresh[key] for key, value in kept.items() if afresh.get(key, value) != value}
        if not others:
            return []
        told = "would be " + ", ".join(f"competition.{key}: {value} (is {kept[key]})" for key, value in others.items())
    return [
        f"{archive.path} has changed since `inspect` wrote params.yaml; read afresh it {told}. `python -m pipeline "
        f"inspect {archive.path} --fresh --write` reads it so, and without --fresh keeps what stands there"
    ]


def _state_of(raw: Path) -> str:
    """A digest of each file's name, size and time, which for most files changes with their content."""
    return hashlib.sha256(repr(list(_files_of(raw))).encode()).hexdigest()


def _files_of(raw: Path) -> Iterator[tuple[str, int, int]]:
    for path in sorted(raw.rglob("*")) if raw.is_dir() else [raw]:
        if path.is_file():
            found = path.stat()
            yield path.name, found.st_size, found.st_mtime_ns
