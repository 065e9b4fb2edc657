"""A user's own metric is watched by links to its files; where one has become a copy, an edit would go unseen."""

from pathlib import Path

from pipeline.commands import places


def refuse_copied_metric(folder: Path = places.RUN["metric"]) -> None:
    """Raise ValueError where a link in `folder`, as ingest made it, is a copy, as `dvc commit` leaves it."""
    copies = [path for path in sorted(folder.glob("*.py")) if not path.is_symlink()]
    if copies:
        raise ValueError(
            f"{copies[0]} is a copy of your metric's file, no link (`dvc commit` leaves one), so that an edit of yours "
            "would go unseen; run `dvc repro -f ingest`"
        )
