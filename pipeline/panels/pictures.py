"""Images worth a look: mistakes, suspect labels, those behind a cell of the confusion, and what the audit found."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from pipeline.competition.schema import LabelSets
from pipeline.panels.run import Run
from pipeline.report.thumbnails import Thumbnails
from pipeline.scoring.out_of_fold import Mistake, most_confident_mistakes
from pipeline.workbench.suspects import find_suspects

NUM_MISTAKES, NUM_SUSPECTS = 60, 48
NUM_IN_CELLS, NUM_IN_CELL = 300, 6  # of the confusion: pictures in all, and of one cell
NUM_WITH_NEAREST = 24  # mistakes that show the training images most like them
NUM_OF_GALLERY = 24


def mistakes(run: Run, pictures: Thumbnails) -> dict[str, Any]:
    """The most confidently wrong images, and how many there are."""
    found = run.found
    wrong = most_confident_mistakes(found.dealt.truth, found.decided, found.probs, run.schema.target)
    shown = [_card(run, pictures, mistake) for mistake in wrong[:NUM_MISTAKES]]
    for card, mistake in zip(shown[:NUM_WITH_NEAREST], wrong, strict=False):
        card["nearest"] = _nearest(run, pictures, mistake.row)
    return {"cards": shown, "count": len(wrong), "of": len(found.dealt.truth), "folds": run.folds,
            "exclusive": run.schema.target.exclusive, "labels": sorted({card["label"] for card in shown})}  # fmt: skip


def _card(run: Run, pictures: Thumbnails, mistake: Mistake) -> dict[str, Any]:
    target, row = run.schema.target, mistake.row
    label = target.classes[mistake.at]
    if target.exclusive:
        own, said = target.classes[int(run.found.dealt.truth[row])], label
    else:
        own, said = (f"not {label}", label) if mistake.given else (label, f"not {label}")
    return {
        "picture": _picture(run, pictures, row), "id": run.found.dealt.image_ids[row], "label": own, "said": said,
        "probability": mistake.sureness, "fold": str(run.found.dealt.held_by[row]), "nearest": [],
    }  # fmt: skip


def _picture(run: Run, pictures: Thumbnails, row: int) -> int:
    """row: of the out-of-fold rows."""
    return pictures.add(run.stores["train"], "train", int(run.found.dealt.rows[row]))


def _nearest(run: Run, pictures: Thumbnails, row: int) -> list[dict[str, Any]]:
    """The training images whose features are most like this one's."""
    found = []
    for other, label, cosine in run.nearest.get(run.found.dealt.image_ids[row], []):
        said = ", ".join(LabelSets([label], several=not run.schema.target.exclusive)[0])
        picture = pictures.add(run.stores["train"], "train", run.row_of[other])
        found.append({"picture": picture, "id": other, "label": said, "cosine": cosine})
    return found


def suspects(run: Run, pictures: Thumbnails) -> dict[str, Any]:
    """Labels that the held-out probabilities contradict, the most contradicted first."""
    found = run.found
    suspected = find_suspects(found.dealt.truth, found.probs, run.schema.target)
    cards = [
        {
            "picture": _picture(run, pictures, suspect.row), "id": found.dealt.image_ids[suspect.row],
            "label": suspect.label, "said": suspect.suggested, "probability": suspect.suggested_probability,
            "own": suspect.label_probability, "fold": str(found.dealt.held_by[suspect.row]), "nearest": [],
        }
        for suspect in suspected[:NUM_SUSPECTS]
    ]  # fmt: skip
    return {"cards": cards, "count": len(suspected), "of": found.dealt.truth.size, "folds": run.folds,
            "labels": sorted({card["label"] for card in cards})}  # fmt: skip


def of_cells(run: Run, pictures: Thumbnails) -> dict[str, list[dict[str, Any]]]:
    """`i,j` -> images of class i that were taken for class j, the most confident first.

    Of several labels `fp,i` and `fn,i`: those that were given class i without having it, and the reverse. Cells of many
    images come first, until there are `NUM_IN_CELLS` pictures.
    """
    rows_of = _rows_of_cells(run)
    room, found = NUM_IN_CELLS, {}
    for name, rows in sorted(rows_of.items(), key=lambda item: (-len(item[1]), item[0])):
        shown = rows[: min(NUM_IN_CELL, room)]
        if not shown:
            break
        room -= len(shown)
        found[name] = [
            {"picture": _picture(run, pictures, row), "id": run.found.dealt.image_ids[row],
             "fold": str(run.found.dealt.held_by[row]), "probability": round(float(run.found.probs[row, at]), 4)}
            for row, at in shown
        ]  # fmt: skip
    return found


def _rows_of_cells(run: Run) -> dict[str, list[tuple[int, int]]]:
    """Cell -> (row, class whose probability is shown), sorted by how sure the wrong answer was."""
    found, target = run.found, run.schema.target
    if target.exclusive:
        cells: dict[str, list[tuple[int, int]]] = {}
        for mistake in most_confident_mistakes(found.dealt.truth, found.decided, found.probs, target):
            name = f"{int(found.dealt.truth[mistake.row])},{mistake.at}"
            cells.setdefault(name, []).append((mistake.row, mistake.at))
        return cells
    return dict(_rows_of_labels(found.dealt.truth > 0, found.decided, found.probs))


def _rows_of_labels(
    true: np.ndarray, given: np.ndarray, probs: np.ndarray
) -> Iterator[tuple[str, list[tuple[int, int]]]]:
    for at in range(true.shape[1]):
        for name, wrong, sign in (("fp", ~true[:, at] & given[:, at], -1), ("fn", true[:, at] & ~given[:, at], 1)):
            rows = np.flatnonzero(wrong)
            rows = rows[np.argsort(sign * probs[rows, at], kind="stable")]
            if len(rows):
                yield f"{name},{at}", [(row, at) for row in rows.tolist()]


def audited(run: Run, pictures: Thumbnails) -> dict[str, Any]:
    """What the audit found, and its galleries."""
    order = ("stop", "warn", "note")
    findings = sorted(
        [*run.audit["findings"], *run.neighbours["findings"]], key=lambda finding: order.index(finding["severity"])
    )
    galleries = [
        {
            "title": gallery["title"], "note": gallery["note"], "count": gallery["count"],
            "groups": [[_audited_picture(run, pictures, place) for place in group] for group in gallery["groups"]],
        }
        for gallery in run.audit["galleries"]
    ]  # fmt: skip
    counts = {name: run.audit[name] for name in ("num_train", "num_test", "formats", "modes", "original_sizes",
                                                 "num_original_sizes", "stored_size")}  # fmt: skip
    return {"findings": findings, "galleries": galleries, "counts": counts, "recognised": run.recognised["recognised"]}


def _audited_picture(run: Run, pictures: Thumbnails, place: Sequence[Any]) -> dict[str, Any]:
    part, row, caption = place
    return {"picture": pictures.add(run.stores[part], part, row), "caption": caption}
