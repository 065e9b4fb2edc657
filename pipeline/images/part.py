"""One part of the images, those of training or of test: decoded into its store, and described for later stages."""

import argparse
import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.archive.archive import Archive
from pipeline.base import allocator, console
from pipeline.base.files import sha256_of, whole_file, write_json, write_table
from pipeline.base.params import CompetitionParams, ImagesParams, load_section
from pipeline.base.texts import Texts
from pipeline.competition.schema import NO_IMAGE, SEEN_COLUMNS, read_images
from pipeline.competition.store import Seen, Store, StoreFormat
from pipeline.images.store_batch import StoreReport
from pipeline.images.store_writer import write_store
from pipeline.tables.table_files import open_images

SHA256_DIGITS = 64


def parsed(stage: str, about: str | None, argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line of a stage that decodes, whose docstring is `about`."""
    parser = argparse.ArgumentParser(prog=f"python -m pipeline.stages.{stage}", description=about)
    parser.add_argument("--params", type=Path, required=True, help="params.yaml (sections competition, images)")
    parser.add_argument("--list", type=Path, required=True, help="CSV from ingest: path and fingerprint of each image")
    parser.add_argument("--format", type=Path, required=True, help="JSON: side and bits of the stored images")
    parser.add_argument("--images", type=Path, required=True, help=".npy to write: (N, S, S, 3) uint8")
    parser.add_argument("--description", type=Path, required=True, help="JSON to write: shape and sha256 of the .npy")
    parser.add_argument("--seen", type=Path, required=True, help="CSV to write: sha256 of each file, or what is wrong")
    parser.add_argument("--report", type=Path, required=True, help="JSON to write: formats, modes, sizes, oddities")
    return parser.parse_args(argv)


@dataclass(frozen=True)
class Part:
    """The images that ingest listed, in the archive."""

    archive: Archive
    names: Texts
    fingerprints: Texts
    params: ImagesParams


@contextlib.contextmanager
def opened_part(args: argparse.Namespace) -> Iterator[Part]:
    """args: as `parsed` gives them. Raises ValueError where the archive has a listed image no more."""
    competition = load_section(args.params, "competition", CompetitionParams)
    images = load_section(args.params, "images", ImagesParams)
    allocator.return_freed_memory()
    names, fingerprints = read_images(args.list)
    how = {key: getattr(competition, key) for key in ("encoding", "header", "pixels")}
    with open_images(Path(competition.raw), **how) as archive:
        _refuse_others(args.list, [name for name in names if name and name not in archive])
        yield Part(archive, names, fingerprints, images)


def write_part(args: argparse.Namespace, part: Part, stored: StoreFormat) -> None:
    """Decode the images in order and write what `args` names.

    An image that cannot be read gets a row of zeros and its reason. Raises ValueError where the archive holds other
    files than those that ingest listed.
    """
    role, read, names = args.images.stem, part.archive.read, part.names
    with whole_file(args.images) as path:
        report = write_store(
            path, names, read, size=stored.size, fit=part.params.fit, bits=stored.bits, title=f"{role} images"
        )
        marks = zip(names, part.fingerprints, report.sha256, strict=True)
        _refuse_others(args.list, [name for name, *mark in marks if name and _is_other(part.archive, name, *mark)])
    failures = _failures(names, report)
    seen = ("" if failure else sha256 for sha256, failure in zip(report.sha256, failures, strict=True))
    write_table(args.seen, SEEN_COLUMNS, zip(seen, failures, strict=True))
    write_json(args.report, _seen(report))
    write_json(args.description, Store(num_images=len(names), size=stored.size, sha256=sha256_of(args.images)))
    unread = f"; {len(report.failures):,} cannot be read" if report.failures else ""
    console.say(f"{role}: {len(names):,} images stored at {stored.size} px{unread}")


def _is_other(archive: Archive, name: str, due: str, sha256: str) -> bool:
    """Whether a member is not what it was when it was listed; sha256: of what has just been read, '' for nothing."""
    return (sha256 if len(due) == SHA256_DIGITS and sha256 else archive.fingerprint(name)) != due


def _refuse_others(listed: Path, others: Sequence[str]) -> None:
    if others:
        raise ValueError(
            f"{len(others)} files of the archive are not those that {listed} names, first {others[:3]}: the archive "
            "was changed; run `dvc repro`"
        )


def _failures(names: Sequence[str], report: StoreReport) -> Sequence[str]:
    failures = [("" if name else NO_IMAGE) for name in names]
    for row, reason in report.failures:
        failures[row] = reason
    return failures


def _seen(report: StoreReport) -> Seen:
    return Seen(
        formats=dict(report.formats),
        modes=dict(report.modes),
        sizes={f"{width}x{height}": count for (width, height), count in report.sizes.items()},
        num_constant=report.num_constant,
        oddities={name: list(rows) for name, rows in report.oddities.items()},
    )
