"""A user's own files (a metric, corrections) are watched by links; where one is a copy, an edit would go unseen."""

from pathlib import Path

from pipeline.commands import places


def refuse_copies(competition: Path = places.COMPETITION) -> None:
    """Raise ValueError where a link that ingest made in `competition` is a copy, as `dvc commit` leaves it."""
    for name in (places.RUN["metric"].name, places.OWN_CORRECTIONS.name):
        files = sorted((competition / name).glob("*"))
        copies = [path for path in files if path.name != "none.txt" and not path.is_symlink()]
        if copies:
            raise ValueError(
                f"{copies[0]} is a copy of your file, no link (`dvc commit` leaves one), so that an edit of yours "
                "would go unseen; run `dvc repro -f ingest`"
            )
