"""One part of the images, those of training or of test: decoded into its store, and described for later stages."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from pipeline.archive.archive import Archive
from pipeline.base import console
from pipeline.base.files import sha256_of, whole_file, write_json, write_table
from pipeline.base.texts import Texts
from pipeline.competition.schema import NO_IMAGE, SEEN_COLUMNS, read_images
from pipeline.competition.store import Seen, Store, StoreFormat
from pipeline.images.store_batch import StoreReport
from pipeline.images.store_writer import write_store

SHA256_DIGITS = 64


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The files that both stages read and write, for a command line."""
    parser.add_argument("--params", type=Path, required=True, help="params.yaml (sections competition, images)")
    parser.add_argument("--list", type=Path, required=True, help="CSV from ingest: path and fingerprint of each image")
    parser.add_argument("--format", type=Path, required=True, help="JSON: side and bits of the stored images")
    parser.add_argument("--images", type=Path, required=True, help=".npy to write: (N, S, S, 3) uint8")
    parser.add_argument("--description", type=Path, required=True, help="JSON to write: shape and sha256 of the .npy")
    parser.add_argument("--seen", type=Path, required=True, help="CSV to write: sha256 of each file, or what is wrong")
    parser.add_argument("--report", type=Path, required=True, help="JSON to write: formats, modes, sizes, oddities")


def listed_images(listed: Path, archive: Archive) -> tuple[Texts, Texts]:
    """(names, fingerprints) of the images in ingest's list; ValueError where the archive has them no more."""
    names, fingerprints = read_images(listed)
    _refuse_others(listed, [name for name in names if name and name not in archive])
    return names, fingerprints


def write_part(
    args: argparse.Namespace, archive: Archive, names: Texts, fingerprints: Texts, stored: StoreFormat, fit: str
) -> None:
    """Decode the images `names` in order and write what `add_arguments` names.

    An image that cannot be read gets a row of zeros and its reason. Raises ValueError where the archive holds other
    files than those that ingest listed.
    """
    part = args.images.stem
    with whole_file(args.images) as path:
        report = write_store(
            path, names, archive.read, size=stored.size, fit=fit, bits=stored.bits, title=f"{part} images"
        )
        marks = zip(names, fingerprints, report.sha256, strict=True)
        others = [name for name, due, sha256 in marks if name and _is_other(archive, name, due, sha256)]
        _refuse_others(args.list, others)
    failures = _failures(names, report)
    seen = ("" if failure else sha256 for sha256, failure in zip(report.sha256, failures, strict=True))
    write_table(args.seen, SEEN_COLUMNS, zip(seen, failures, strict=True))
    write_json(args.report, _seen(report))
    write_json(args.description, Store(num_images=len(names), size=stored.size, sha256=sha256_of(args.images)))
    unread = f"; {len(report.failures):,} cannot be read" if report.failures else ""
    console.say(f"{part}: {len(names):,} images stored at {stored.size} px{unread}")


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
