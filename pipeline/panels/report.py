"""All panels of a run, and the page made of them."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import PurePath
from typing import Any

from pipeline.base.console import progress_bar
from pipeline.panels import classes, pictures
from pipeline.panels.learning import learning
from pipeline.panels.provenance import provenance
from pipeline.panels.reliability import reliability
from pipeline.panels.run import Run
from pipeline.panels.verdict import verdict
from pipeline.report.page import report_page
from pipeline.report.thumbnails import Thumbnails


def run_page(
    run: Run,
    *,
    submissions: Mapping[str, Any] | None = None,
    sent: Sequence[str] = (),
    clock: Mapping[str, str] | None = None,
    compared: Mapping[str, Any] | None = None,
    thumbnails: Thumbnails | None = None,
) -> bytes:
    """The page of a run; what is not of the run itself only where it is given.

    submissions, sent: of the ledger; clock: name -> text; compared: with another run, its pictures in `thumbnails`.
    """
    thumbnails = thumbnails or Thumbnails()
    makers: dict[str, Callable[[], Any]] = {
        "compared": lambda: compared,
        "verdict": lambda: verdict(run, sent),
        "submissions": lambda: submissions,
        "learning": lambda: learning(run),
        "confusion": lambda: classes.confusion(run),
        "classes": lambda: classes.by_class(run),
        "mistakes": lambda: pictures.mistakes(run, thumbnails),
        "suspects": lambda: None if run.by_rank else pictures.suspects(run, thumbnails),
        "reliability": lambda: reliability(run),
        "prior": lambda: classes.prior(run),
        "audit": lambda: pictures.audited(run, thumbnails),
        "provenance": lambda: provenance(run, clock),
    }
    panels = {}
    with progress_bar("page", total=len(makers), unit=" panels", leave=False) as bar:
        for name, make in makers.items():
            panels[name] = make()
            bar.update()
    cells = pictures.of_cells(run, thumbnails)
    name = PurePath(str(run.receipt["params"]["competition"]["raw"])).name
    title = f"{name}: {run.schema.metric} {run.scores['oof']['score']:.4f}"
    return report_page(title, panels, thumbnails.addresses, cells)
