"""Every layout, target and format, from the zip to a submission that an independent checker grades above chance."""

import pytest
import yaml
from conftest import ROOT, Workplace, write_zip
from made_up import CELLS, LAYOUTS, graded, make

from pipeline import __main__ as command


@pytest.fixture
def quick(tmp_path, undrawn):
    place = Workplace(tmp_path)
    place.params["train"] |= {"epochs": 8, "batch_size": 8, "valid_every": 8}
    place.params["compute"]["precision"] = "fp32"
    return place


def few():
    """Cells in which every layout is, and every format of every target."""
    found, left = [], {part for layout, *form in CELLS for part in (layout, tuple(form))}
    while left:
        found.append(max(CELLS, key=lambda cell: len({cell[0], cell[1:]} & left)))
        left -= {found[-1][0], found[-1][1:]}
    return found


FEW = few()


@pytest.mark.parametrize(
    ("layout", "target", "kind"),
    [pytest.param(*cell, marks=[] if cell in FEW else pytest.mark.slow, id="-".join(cell)) for cell in CELLS],
)
def test_from_zip_to_a_graded_submission(quick, capsys, layout, target, kind):
    """As a user goes: what `inspect --write` puts into params.yaml means what was recognised, and leads to a score."""
    made = make(layout, target, kind)
    write_zip(quick.raw, made.files)
    quick.params["competition"] |= made.settings
    quick.run("ingest")
    recognised = {path.name: path.read_bytes() for path in quick.path("data/competition").rglob("*") if path.is_file()}

    command.main(["inspect", str(quick.raw), "--write", "--no-probe", "--params", str(quick.path("params.yaml"))])
    out = capsys.readouterr().out
    assert f"target       {target}" in out and f"submission   {kind}" in out
    quick.params = yaml.safe_load(quick.path("params.yaml").read_text())
    assert "auto" not in {quick.params["competition"][key] for key in ("submission", "metric", "target", "sample")}

    quick.run_all()
    assert {
        path.name: path.read_bytes() for path in quick.path("data/competition").rglob("*") if path.is_file()
    } == recognised
    score, chance = graded(made, quick.path("submissions/submission.csv").read_bytes())
    assert score > chance + 0.15


def test_the_page_lists_exactly_these_cells():
    rows = [line.split(" | ") for line in (ROOT / "docs/formats.md").read_text(encoding="utf-8").splitlines()]
    header = next(row for row in rows if row[0] == "| layout")
    listed = set()
    for row in rows[rows.index(header) + 2 :][: len(LAYOUTS)]:
        for target, cell in zip(header[1:], row[1:], strict=True):
            formats = cell.rstrip(" |").split(", ")
            listed |= {(row[0][2:].split(":")[0], target.rstrip(" |"), kind) for kind in formats if kind != "–"}
    assert listed == set(CELLS)
