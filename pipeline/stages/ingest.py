"""Reads the organiser's files, but decodes no image. Writes what is asked, the tables, and lists of images.

Every problem is reported in one go, and then nothing is written. The lists name each image's fingerprint: the images
are decoded again only where these change.
"""

import argparse
import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

from tqdm import tqdm

from pipeline.archive.archive import Archive, open_archive
from pipeline.base import allocator, console
from pipeline.base.console import progress_bar
from pipeline.base.files import link_files, write_bytes, write_json, write_table
from pipeline.base.params import CompetitionParams, load_section
from pipeline.base.texts import Texts
from pipeline.competition.class_findings import add_stopping, class_findings
from pipeline.competition.problems import Problems
from pipeline.competition.schema import (
    IMAGES_COLUMNS,
    NO_IMAGE,
    OWN_GROUP,
    TEST_COLUMNS,
    TRAIN_COLUMNS,
    Schema,
    read_failures,
    write_schema,
    write_target,
)
from pipeline.layout.context import Overrides
from pipeline.layout.corrections import Corrections, read_corrections
from pipeline.layout.inspected import changed_since
from pipeline.layout.layout import ALLOWABLE, Layout, read_layout
from pipeline.scoring.metrics import metric_sources
from pipeline.tables.table import NONE

OUR_METRIC = "The metric is one of ours. Of a metric of your own, here are links to its files.\n"
NO_CORRECTIONS = "No labels are corrected. Of a file of corrections, here is a link to it.\n"


def main(argv: Sequence[str] | None = None) -> None:
    """Command line of the stage; the paths come from dvc.yaml."""
    parser = argparse.ArgumentParser(prog="python -m pipeline.stages.ingest", description=__doc__)
    parser.add_argument("--params", type=Path, required=True, help="params.yaml (competition)")
    parser.add_argument("--target", type=Path, required=True, help="JSON to write: what training needs to know")
    parser.add_argument("--schema", type=Path, required=True, help="JSON to write: what scoring and writing need")
    parser.add_argument("--metric", type=Path, required=True, help="folder to write: links to a user's own metric")
    parser.add_argument("--recognised", type=Path, required=True, help="JSON to write: how it was read, and warnings")
    parser.add_argument("--train-table", type=Path, required=True, help="CSV to write: labelled images")
    parser.add_argument("--train-columns", type=Path, required=True, help="CSV to write: the organiser's own columns")
    parser.add_argument("--train-list", type=Path, required=True, help="CSV to write: path and fingerprint of each")
    parser.add_argument("--corrections", type=Path, required=True, help="CSV to write: labels corrected for training")
    parser.add_argument(
        "--corrections-file", type=Path, required=True, help="folder to write: a link to the user's file"
    )
    parser.add_argument("--test-table", type=Path, required=True, help="CSV to write: images to predict")
    parser.add_argument("--test-list", type=Path, required=True, help="CSV to write: path and fingerprint of each")
    parser.add_argument("--sample", type=Path, required=True, help="CSV to write: the organiser's sample submission")
    parser.add_argument("--inspected", type=Path, required=True, help="JSON that inspect wrote, to warn by")
    parser.add_argument(
        "--seen", type=Path, nargs="*", default=[], help="CSVs of an earlier run's decoding, to warn by"
    )
    args = parser.parse_args(argv)
    competition = load_section(args.params, "competition", CompetitionParams)
    _check_allow(competition.allow)
    allocator.return_freed_memory()

    problems = Problems()
    with open_archive(Path(competition.raw)) as archive:
        changed = changed_since(args.inspected, archive, competition)
        for line in changed:
            console.say(f"warning: {line}")  # before an error that comes of it
        allocator.return_freed_memory()
        layout = read_layout(archive, problems, Overrides.among(dataclasses.asdict(competition)))
        allocator.return_freed_memory()
        add_stopping(problems, class_findings(layout.class_sizes(), exclusive=layout.target.exclusive))
        problems.stop(competition.raw, competition.allow)
        corrections = _corrections(competition.corrections, layout)
        with progress_bar("fingerprints", unit=" images") as bar:
            _write_list(args.train_list, layout.train_members, archive, bar)
            _write_list(args.test_list, layout.test_members, archive, bar)

    write_table(args.train_table, TRAIN_COLUMNS, zip(layout.train_ids, layout.train_labels, strict=True))
    own, groups = layout.train_table, corrections.group_of
    header = ("image_id", *([OWN_GROUP] if groups else []), *own.header)  # of one name the first counts
    beside = [(groups.get(image_id, "") for image_id in layout.train_ids)] if groups else []
    write_table(args.train_columns, header, zip(layout.train_ids, *beside, *own.cells, strict=True))
    write_table(args.test_table, TEST_COLUMNS, zip(layout.test_ids, strict=True))
    write_bytes(args.sample, layout.sample)
    write_target(args.target, layout.target)
    write_table(args.corrections, TRAIN_COLUMNS, corrections.cell_of.items())
    link_files(args.corrections_file, {"corrections.csv": corrections.path} if corrections.path else {}, NO_CORRECTIONS)
    link_files(args.metric, metric_sources(layout.metric), OUR_METRIC)
    test = {key: layout.settings[key] for key in ("test_table", "test_images")}
    said = {
        "recognised": layout.notes,
        "warnings": [*changed, *layout.warnings],
        "allowed_problems": problems.counts(),
        "test": test,
    }
    write_json(args.recognised, said)
    write_schema(args.schema, Schema(target=layout.target, submission=layout.submission, metric=layout.metric))
    _say(competition.raw, layout, problems)
    _warn_of_unread(args.seen)


def _check_allow(allow: Sequence[str]) -> None:
    unknown = [kind for kind in allow if kind not in ALLOWABLE]
    if unknown:
        raise ValueError(f"competition.allow has {unknown}; allowed: {list(ALLOWABLE)}")


def _write_list(path: Path, members: Texts, archive: Archive, bar: tqdm) -> None:
    def rows() -> Iterator[tuple[str, str]]:
        for name in members:
            yield name, archive.fingerprint(name) if name else ""
            bar.update()

    write_table(path, IMAGES_COLUMNS, rows())


def _corrections(path: str, layout: Layout) -> Corrections:
    if path == NONE:
        return Corrections(None, {}, 0)
    found = read_corrections(Path(path), layout)
    console.say(str(found))
    return found


def _warn_of_unread(decoded: Sequence[Path]) -> None:
    """A zip's directory may be the same though its damaged files are sound now: then nothing is decoded again."""
    count = 0
    for path in decoded:
        if path.is_file():
            failures = read_failures(path, f"decode_{path.stem}")
            count += sum(failure not in ("", NO_IMAGE) for failure in failures)
    if count:
        console.say(
            f"warning: {count:,} images could not be read when they were decoded; if the archive was damaged and is "
            "sound now: `dvc repro -f decode_train decode_test`"
        )


def _say(raw: str, layout: Layout, problems: Problems) -> None:
    counts = layout.class_sizes().values()
    console.say(
        f"{raw}: {len(layout.train_ids):,} labelled and {len(layout.test_ids):,} test images, "
        f"{len(counts)} classes of {min(counts):,} to {max(counts):,} images"
    )
    console.say(f"target {layout.target.kind}, submission {layout.submission.kind}, metric {layout.metric}")
    for warning in layout.warnings:
        console.say(f"warning: {warning}")
    for kind, count in problems.counts().items():
        console.say(f"warning: {kind}: {count} (allowed by competition.allow)")


if __name__ == "__main__":
    console.run(main)
