"""The columns of the organiser's own train table, as text."""

import csv
import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path

from pipeline.base.files import made_by, read_cells
from pipeline.base.texts import Texts

IMAGE_ID = "image_id"


def read_train_columns(path: Path, image_ids: Sequence[str]) -> dict[str, Texts]:
    """Column name -> cells, rows in the order of `image_ids`; the ids that ingest puts first are left out.

    Of columns with the same name the first counts.
    """
    with made_by("ingest", path), path.open(encoding="utf-8", newline="") as handle:
        lines = csv.reader(handle)
        header = next(lines, [])
        if header[:1] != [IMAGE_ID]:
            raise ValueError(f"{path} has the columns {header[:5]}, the first must be {IMAGE_ID}")
        ids, *cells = read_cells(path, lines, len(header))
    if ids != image_ids:
        raise ValueError(
            f"{path} has {len(ids)} rows that are not those of the train table ({len(image_ids)}) in its order; "
            "run `dvc repro -f ingest`"
        )
    columns: dict[str, Texts] = {}
    for name, column in zip(header[1:], cells, strict=True):
        columns.setdefault(name, column)
    return columns


def column_named(columns: Mapping[str, Texts], name: str, key: str) -> Texts:
    """The cells of the column that params key `key` names."""
    if name in columns:
        return columns[name]
    by_lower = {column.lower(): column for column in columns}
    close = [by_lower[found] for found in difflib.get_close_matches(name.lower(), list(by_lower), n=3)]
    hint = f"did you mean {' or '.join(close)}? " if close else ""
    raise ValueError(
        f"{key} is {name!r}, which the organiser's train table does not have; {hint}"
        f"its {len(columns)} columns: {', '.join(columns) or 'none'}"
    )
