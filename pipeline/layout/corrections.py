"""A user's own corrections of training labels: a CSV of ids and labels, checked and spelt as train.csv has them."""

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.competition.lists import split_list
from pipeline.competition.problems import Problems
from pipeline.competition.schema import OWN_GROUP, TRAIN_COLUMNS, Target, label_cell
from pipeline.layout.layout import Layout
from pipeline.tables.table import NONE

NUM_SHOWN = 8


@dataclass(frozen=True)
class Corrections:
    """What shall be learnt instead of the organiser's labels."""

    path: Path | None  # the user's file
    cell_of: dict[str, str]  # image id -> `label` cell of train.csv, '' for one that shall not be trained on
    unchanged: int  # rows that say what the organiser says
    group_of: dict[str, str] = field(default_factory=dict)  # image id -> cell of column `OWN_GROUP`

    def __str__(self) -> str:
        left_out = sum(cell == "" for cell in self.cell_of.values())
        return (
            f"{self.path}: {len(self.cell_of) - left_out:,} labels corrected and {left_out:,} images left out, in "
            f"training alone; {self.unchanged:,} rows are as the organiser has them"
        )


def read_corrections(path: Path, layout: Layout) -> Corrections:
    """The corrections in the CSV at `path`: `image_id,label`, then columns of the user's own.

    Of these `OWN_GROUP` alone is read: which images belong together. A label is spelt as a class is; several as the
    organiser's cell has them, or as a JSON list, `[]` for none. Raises ValueError for another header, and for rows that
    lack cells, ids and classes that are not there, and two labels or groups for one id: for all of them at once.
    """
    problems, (header, rows) = Problems(), _rows(path)
    column = header.index(OWN_GROUP) if OWN_GROUP in header else None
    label_of = dict(zip(layout.train_ids, layout.train_labels, strict=True))
    said: dict[str, tuple[int, str, str]] = {}  # image id -> (line, label cell, group)
    for number, row in rows:
        if len(row) < len(TRAIN_COLUMNS):
            problems.add(
                "row that lacks cells", f"line {number}", "write image_id,label; to leave an image out: image_id,"
            )
            continue
        image_id, text = row[0], row[1].strip()
        cell = _cell(text, layout, problems) if text else ""
        group = row[column].strip() if column is not None and column < len(row) else ""
        line, *first = said.setdefault(image_id, (number, cell, group))
        if image_id not in label_of:
            known = f"ids are as the organiser's train table has them, such as {layout.train_ids[0]}"
            problems.add("unknown id", image_id, f"{known}; a spreadsheet may have cut leading zeros off")
        for what, one, other in zip(("labels", f"cells of {OWN_GROUP}"), first, (cell, group), strict=True):
            if one != other:
                problems.add(
                    f"two {what} for one id", f"{image_id} in lines {line} and {number}", "keep one row of each id"
                )
    problems.stop(str(path))
    cell_of = {image_id: cell for image_id, (_, cell, _) in said.items()}
    group_of = {image_id: group for image_id, (*_, group) in said.items()} if column is not None else {}
    changed = {image_id: cell for image_id, cell in cell_of.items() if cell != label_of[image_id]}
    return Corrections(path, changed, len(cell_of) - len(changed), group_of)


def _rows(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """(the header, (line, cells) below it, empty lines left out)."""
    if not path.is_file():
        raise ValueError(f"competition.corrections is {path}, which is no file; write its path, or none")
    try:
        with path.open(encoding="utf-8-sig", newline="") as handle:
            lines = csv.reader(handle, strict=True)
            header = next(lines, [])
            rows = [(lines.line_num, row) for row in lines if any(cell.strip() for cell in row)]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} is no CSV in UTF-8 ({error}); save it as one") from error
    if tuple(header[: len(TRAIN_COLUMNS)]) != TRAIN_COLUMNS:
        wanted = ",".join(TRAIN_COLUMNS)
        raise ValueError(f"{path} has the columns {header[:NUM_SHOWN]}; the first must be {wanted}, parted by a comma")
    return header, rows


def _cell(text: str, layout: Layout, problems: Problems) -> str:
    """The `label` cell of train.csv that `text` means; classes that are not there are noted as problems."""
    target, mark = layout.target, str(layout.settings.get("delimiter", NONE))
    labels = [text] if target.exclusive else _several(text, "" if mark == NONE else mark)
    for label in labels:
        if label not in target.classes:
            problems.add("unknown class", label, _known(target))
    if target.exclusive:
        return text
    order = {label: place for place, label in enumerate(target.classes)}
    return label_cell(sorted(set(labels) & order.keys(), key=order.__getitem__))


def _several(text: str, mark: str) -> Sequence[str]:
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    return list(map(str, found)) if isinstance(found, list) else split_list(text, mark)


def _known(target: Target) -> str:
    several = "" if target.exclusive else "; several labels stand as the organiser has them, or as a JSON list"
    more = ", …" if len(target.classes) > NUM_SHOWN else ""
    return f"there are {len(target.classes)}: {', '.join(target.classes[:NUM_SHOWN])}{more}{several}"
