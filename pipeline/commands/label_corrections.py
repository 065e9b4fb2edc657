"""The corrections at work in a finished run, and a file of suspect labels to make corrections of."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.base.files import write_table
from pipeline.base.texts import Texts
from pipeline.competition.schema import TRAIN_COLUMNS, read_corrections, read_train_labels, read_train_table
from pipeline.workbench.suspects import Suspect

NUM_SHOWN = 3


@dataclass(frozen=True)
class Learnt:
    """The train table and what is learnt instead of its labels."""

    image_ids: Texts
    labels: Texts  # `label` cells
    corrected: Mapping[int, str]  # row -> `label` cell, '' for an image left out

    @classmethod
    def read(cls, train_table: Path, corrections: Path) -> "Learnt":
        """What ingest wrote."""
        image_ids, labels = read_train_labels(train_table)
        return cls(image_ids, labels, read_corrections(corrections, image_ids, labels))

    def said(self, train_table: Path, groups: Path) -> Iterator[str]:
        """How many labels are corrected, and which copies of such images are not; nothing where none is."""
        if not self.corrected:
            return
        left_out = sum(cell == "" for cell in self.corrected.values())
        yield (
            f"{len(self.corrected) - left_out:,} labels corrected and {left_out:,} images left out, in training alone; "
            "all figures here are by the organiser's labels"
        )
        copies = self._copies(train_table, groups)
        if copies:
            more = ", …" if len(copies) > NUM_SHOWN else ""
            yield (
                f"{len(copies):,} copies or near-copies of these images have no row in the file and keep their labels: "
                f"{', '.join(copies[:NUM_SHOWN])}{more}"
            )

    def _copies(self, train_table: Path, groups: Path) -> list[str]:
        """Ids of images without a correction in a group in which another has one, if they had the label it had."""
        table, _, rows = read_train_table(train_table, groups)
        touched = {
            (table.groups[at], table.labels[at]) for at, row in enumerate(rows.tolist()) if row in self.corrected
        }
        return [
            table.image_ids[at]
            for at, row in enumerate(rows.tolist())
            if row not in self.corrected and table.groups[at] and (table.groups[at], table.labels[at]) in touched
        ]

    def write(self, path: Path, suspects: Sequence[Suspect], rows: Sequence[int]) -> str:
        """Write a file for `competition.corrections`, with the label of each image as it is learnt now; what to say.

        The corrections at work come first, then the images with suspects, the most contradicted first, and what is
        suggested beside. rows: of the train table, for `Suspect.row`.
        """
        suggested: dict[int, list[str]] = {row: [] for row in self.corrected}
        for suspect in suspects:
            suggested.setdefault(rows[suspect.row], []).append(suspect.suggested)
        table = (
            (self.image_ids[row], self.corrected.get(row, self.labels[row]), "; ".join(texts))
            for row, texts in suggested.items()
        )
        write_table(path, (*TRAIN_COLUMNS, "suggested"), table)
        return (
            f"{path}: {len(suggested):,} images, each with the label that is learnt now. Change the wrong ones (an "
            f"empty label: not trained on), then in params.yaml `corrections: {path}` in section competition, and "
            "`python -m pipeline folds`"
        )
