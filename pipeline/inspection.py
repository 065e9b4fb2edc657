"""What the organiser gave, in words, and as settings for params.yaml; `ingest` reads it with the same code."""

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from pipeline.competition.archive import Archive, open_archive
from pipeline.competition.labels import label_counts
from pipeline.competition.layout import Layout, read_layout
from pipeline.competition.metrics import metric_named
from pipeline.competition.problems import Problems
from pipeline.competition.reading import Wishes
from pipeline.files import whole_file
from pipeline.images.decode import shown_kind
from pipeline.params import CompetitionParams, load_section

NUM_LOOKED_AT = 200  # images whose headers are read, spread over all
NUM_CLASSES_SHOWN = 12
DEMANDS = {
    "label": "one label a row",
    "score": "the probability of the positive class",
    "columns": "a column for each class",
    "list": "the labels of an image in one cell",
    "ranked": "the likeliest labels in one cell, best first",
    "long": "a row for each image and class",
}


def inspect_competition(raw: Path, params: Path) -> tuple[list[str], dict[str, Any]]:
    """(lines of an account, keys of section `competition` that say the same).

    What params.yaml says counts if it is about this competition (`competition.raw`); otherwise everything is looked
    for. Raises ValueError where the layout is not understood.
    """
    settings = load_section(params, "competition", CompetitionParams) if params.is_file() else None
    own = settings is not None and Path(settings.raw).resolve() == raw.resolve()
    wishes = Wishes.among(dataclasses.asdict(settings)) if own and settings is not None else Wishes()
    problems = Problems()
    with open_archive(raw) as archive:
        layout = read_layout(archive, problems, wishes)
        lines = [*_files(archive), *_images(archive, layout), *_target(layout), *_submission(layout)]
    lines += [f"warning      {warning}" for warning in layout.warnings]
    found = problems.lines(settings.allow if own and settings is not None else ())
    lines += ["problems     ingest will stop at these:", *found] if found else ["problems     none in tables and names"]
    return lines, layout.settings


def _files(archive: Archive) -> list[str]:
    suffixes = Counter(PurePosixPath(name).suffix.lower() or "no suffix" for name in archive.names)
    kinds = ", ".join(f"{count:,} {suffix}" for suffix, count in suffixes.most_common(8))
    return [f"files        {archive.path}: {len(archive.names):,} ({kinds})"]


def _images(archive: Archive, layout: Layout) -> list[str]:
    members = [member for _, member, _ in layout.train if member] + [member for _, member in layout.test if member]
    looked_at = members[:: max(1, len(members) // NUM_LOOKED_AT)]
    kinds = [kind for kind in (shown_kind(archive.read(member)) for member in looked_at) if kind is not None]
    sizes = Counter((kind[0], kind[1]) for kind in kinds)
    shown = ", ".join(f"{width}x{height} ({count})" for (width, height), count in sizes.most_common(4))
    more = f" and {len(sizes) - 4} more sizes" if len(sizes) > 4 else ""
    formats = ", ".join(f"{name} {mode}" for (name, mode), _ in Counter(kind[2:] for kind in kinds).most_common(4))
    return [
        f"images       {len(layout.train):,} labelled, {len(layout.test):,} to predict",
        f"             of {len(kinds)} looked at: {shown}{more}; {formats}",
        *(f"             {note}" for note in layout.notes),
    ]


def _target(layout: Layout) -> list[str]:
    target = layout.target
    counts = label_counts([label for _, _, label in layout.train], several=not target.exclusive)
    sizes = [f"{label} {counts[label]:,}" for label in target.classes]
    more = f", … ({len(sizes)} in all)" if len(sizes) > NUM_CLASSES_SHOWN else ""
    positive = f", positive: {target.positive}" if target.positive else ""
    return [
        f"target       {target.kind}{positive}, from {', '.join(target.columns[:4])}",
        f"classes      {len(target.classes)}: {', '.join(sizes[:NUM_CLASSES_SHOWN])}{more}",
    ]


def _submission(layout: Layout) -> list[str]:
    submission = layout.submission
    columns = ", ".join(submission.columns[:6]) + (", …" if len(submission.columns) > 6 else "")
    details = [DEMANDS[submission.kind]]
    if submission.separator:
        details.append(f"separated by {submission.separator!r}")
    if submission.most:
        details.append(f"at most {submission.most}")
    if submission.whole:
        details.append("0 or 1")
    better = "higher" if metric_named(layout.metric).higher_is_better else "lower"
    return [
        f"submission   {submission.kind}: {', '.join(details)}; columns {columns}",
        f"metric       {layout.metric} ({better} is better); if the organiser's is another: competition.metric",
    ]


def write_settings(params: Path, raw: Path, settings: Mapping[str, Any]) -> None:
    """Put `raw` and the settings into section `competition` of the params file; comments and all else stay.

    Of another competition's section, what was allowed there does not stay.
    """
    from ruamel.yaml import YAML  # DVC's own dependency

    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 1000
    document = yaml.load(params.read_text(encoding="utf-8"))
    section = document["competition"]
    if Path(str(section["raw"])).resolve() != raw.resolve():
        section["allow"] = []
    section["raw"] = str(raw)
    for key, value in settings.items():
        section[key] = _yaml_value(value)
    with whole_file(params) as part, part.open("w", encoding="utf-8") as handle:
        yaml.dump(document, handle)


def _yaml_value(value: Any) -> Any:
    return list(value) if isinstance(value, Sequence) and not isinstance(value, str) else value
