"""What the organiser gave, in words, and as settings for params.yaml; `ingest` reads it with the same code."""

import contextlib
import dataclasses
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.archive.archive import Archive, open_archive
from pipeline.base import console
from pipeline.base.files import write_bytes
from pipeline.base.params import (
    OWN_NETWORKS,
    CompetitionParams,
    ModelParams,
    SplitParams,
    is_about,
    load_params,
    load_section,
)
from pipeline.base.texts import thinned
from pipeline.base.yamls import rewritten
from pipeline.commands import places
from pipeline.commands.co_occurrence import co_occurring
from pipeline.commands.metric_said import metrics_said
from pipeline.commands.scores_seen import seen_lines
from pipeline.commands.suggestion import (
    DEFAULT_BUDGET,
    DEMO_RECIPE,
    Facts,
    Speed,
    Weights,
    budget_seconds,
    has_gpu,
    network_for,
    suggested_recipe,
)
from pipeline.competition.class_findings import MIN_IMAGES, TINY_CLASSES, add_stopping, class_findings
from pipeline.competition.problems import Problems
from pipeline.competition.schema import LabelSets
from pipeline.images.decode import decode_image, shown_kind
from pipeline.images.store_writer import AUTO_MAX
from pipeline.layout.context import Overrides
from pipeline.layout.inspected import changed_since
from pipeline.layout.layout import Layout, read_layout
from pipeline.models.weights_card import HUB, NONE
from pipeline.scoring.metrics import metric_fits, metric_named

if TYPE_CHECKING:
    from pipeline.commands.symmetry import Symmetry

NUM_LOOKED_AT = 200  # images whose headers are read, spread over all
NUM_TURNED = (200, 400)  # labelled images, spread over all, that show whether they have a top: at least, at most
TURNED_SIDE = 32  # pixels
NUM_CLASSES_SHOWN = 12
MAX_PROBES = 4  # settings timed until the one suggested is among them
NUM_METRICS_SAID = 3
SURELY = 0.1  # of the budget: what is thought to take less is not measured
DEMANDS = {
    "label": "one label a row",
    "score": "the probability of the positive class",
    "columns": "a column for each class",
    "list": "the labels of an image in one cell",
    "ranked": "the likeliest labels in one cell, best first",
    "long": "a row for each image and class",
}


@dataclass(frozen=True)
class Account:
    """What inspect has to say."""

    lines: list[str]
    settings: dict[str, Any]  # of section `competition`, that say the same
    recipe: dict[str, dict[str, Any]]  # section -> key -> value, to start training from
    needs: dict[str, dict[str, Any]]  # the same, without which the stages stop
    expected_s: float  # seconds of all folds with that recipe


def inspect_competition(
    raw: Path, params: Path, *, budget: str = DEFAULT_BUDGET, measure: bool = False, weights: str | None = None,
    fresh: bool = False,
) -> Account:  # fmt: skip
    """Read the competition at `raw` as ingest will, and say what was understood.

    budget: of all folds together, as `budget_seconds` reads it; measure: time some training steps for the recipe, which
    takes some seconds; weights: pretrained ones to begin with, as model.weights has them; None: those of params.yaml.

    What params.yaml says counts if it is about this competition (`competition.raw`), and not `fresh`; otherwise
    everything is looked for. Raises ValueError where the layout is not understood.
    """
    own = load_section(params, "competition", CompetitionParams) if is_about(raw, params) and not fresh else None
    problems = Problems()
    with open_archive(raw) as archive:
        for line in changed_since(places.beside(params, places.INSPECTED), archive, own) if own else []:
            console.say(f"warning      {line}")  # before an error that comes of it
        layout = read_layout(archive, problems, Overrides.among(dataclasses.asdict(own)) if own else Overrides())
        kinds = _looked_at(archive, layout)
        symmetry = _symmetry(archive, layout)
        lines = [*_files(archive), *_images(layout, kinds), *_turned(symmetry)]
        lines += [*_target(layout), *_submission(layout), *_metrics_said(archive, layout)]
    num_folds = load_section(params, "split", SplitParams).num_folds
    given = _weights(params, weights)
    facts = _facts(layout, kinds, num_folds=num_folds, budget=budget, weights=given)
    if symmetry is not None:
        facts = replace(facts, any_way_up=symmetry.any_way_up, one_handed=symmetry.one_handed)
    speed = Speed(gpu=facts.gpu, network=network_for(facts))
    if measure:
        _measure(facts, speed, params, layout)
    recipe, seconds = suggested_recipe(facts, speed)
    at = (recipe["images"]["side"], recipe["model"].get("width", 0))
    lines += _recipe_lines(recipe, seconds, budget, measured=speed.measured(*at))
    lines += seen_lines(facts, budget)
    lines += [f"warning      {warning}" for warning in layout.warnings]
    add_stopping(problems, class_findings(layout.class_sizes(), exclusive=layout.target.exclusive))
    allowed = own.allow if own else ()
    needs, needed = _long_tail(layout, allowed, num_folds=num_folds)
    lines += needed
    found = problems.lines(allowed)
    lines += ["problems     ingest will stop at these:", *found] if found else ["problems     none in tables and names"]
    return Account(lines, layout.settings, recipe, needs, seconds)


def _long_tail(
    layout: Layout, allowed: Sequence[str], *, num_folds: int
) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """(what classes of fewer images than folds need, in section -> key -> value, lines that say so)."""
    sizes = layout.class_sizes() if layout.target.exclusive else {}
    few = {label: count for label, count in sizes.items() if count < num_folds}
    if not few:
        return {}, []
    single = sum(count < MIN_IMAGES for count in few.values())
    needs: dict[str, dict[str, Any]] = {"split": {"small_classes": "allow"}}
    if single:
        needs["competition"] = {"allow": [*dict.fromkeys((*allowed, TINY_CLASSES))]}
    written = [f"{section}.{key}: {value}" for section, keys in needs.items() for key, value in keys.items()]
    shown = ", ".join(f"{label} {count}" for label, count in list(few.items())[:3])
    return needs, [
        f"long tail    {len(few):,} of {len(sizes):,} classes have fewer images than folds: {shown};",
        f"             {single:,} of them one: where a fold holds out all images of a class, its model never saw it,",
        "             so that the score is a lower bound. They need (--write puts them there):",
        *(f"             {line}" for line in written),
    ]


def in_git(params: Path) -> bool:
    """Whether the params file lies in a git repository: DVC works in one alone."""
    return any((folder / ".git").exists() for folder in params.resolve().parents)


def _looked_at(archive: Archive, layout: Layout) -> list[tuple[int, int, str, str]]:
    """(width, height, format, mode) of images spread over training and test."""
    members = thinned([layout.train_members, layout.test_members], NUM_LOOKED_AT)
    return [kind for kind in (shown_kind(archive.read(member)) for member in members if member) if kind is not None]


def _symmetry(archive: Archive, layout: Layout) -> "Symmetry | None":
    """How well labelled images are told from the same ones turned; None of too few to say."""
    fewest, most = NUM_TURNED
    count = len(layout.train_members)
    if count < fewest:
        return None
    rows = np.linspace(0, count - 1, min(count, most)).astype(int)
    images, cells = [], []
    with console.progress_bar("which way up", total=len(rows), unit=" images", leave=False) as bar:
        for member, cell in zip(layout.train_members.take(rows), layout.train_labels.take(rows), strict=True):
            with contextlib.suppress(OSError, ValueError):  # the audit reports it
                images.append(decode_image(archive.read(member), TURNED_SIDE, "crop").pixels)
                cells.append(cell)
            bar.update()
    if len(images) < fewest:
        return None
    from sklearn.preprocessing import MultiLabelBinarizer  # takes a second to import

    from pipeline.commands.symmetry import symmetry_of

    labels = MultiLabelBinarizer().fit_transform(LabelSets(cells, several=not layout.target.exclusive))
    return symmetry_of(np.stack(images), labels)


def _weights(params: Path, named: str | None) -> Weights | None:
    """The pretrained weights to suggest a recipe for. Raises ValueError where nothing says whose they are."""
    if named is None and "model" not in load_params(params):
        return None
    model = load_section(params, "model", ModelParams)
    source = model.weights if named is None else named
    if source == NONE:
        return None
    name, side = model.name, 0
    if source != HUB:
        from pipeline.models.pretrained import find_source, trained_as  # torch takes seconds to import

        said, side = trained_as(find_source(source))
        name = said or name
    if name in OWN_NETWORKS:
        raise ValueError(
            f"nothing says of which network the weights {source} are: model.name is {name}, which has none; set "
            "model.name to timm's name of it"
        )
    return Weights(source, name, side)


def _facts(
    layout: Layout,
    kinds: Sequence[tuple[int, int, str, str]],
    *,
    num_folds: int,
    budget: str,
    weights: Weights | None,
) -> Facts:
    sizes = [size for size in layout.class_sizes().values() if size]
    return Facts(
        num_train=max(1, len(layout.train_ids)),
        side=int(statistics.median(min(kind[:2]) for kind in kinds)) if kinds else AUTO_MAX,
        classes=layout.target.classes,
        metric=layout.metric,
        several=not layout.target.exclusive,
        num_folds=num_folds,
        num_test=len(layout.test_ids),
        imbalance=max(sizes) / min(sizes) if sizes else 1.0,
        co_occurring=not layout.target.exclusive and co_occurring(layout.train_labels, layout.target),
        gpu=has_gpu(),
        weights=weights,
        budget_s=budget_seconds(budget),
    )


def _measure(facts: Facts, speed: Speed, params: Path, layout: Layout) -> None:
    """Time what is suggested until it is what was timed; nothing where the budget is far away, or nothing can be.

    The cheapest recipe comes first: where this machine is slow, a step of what a fast one could do may take minutes.
    """
    if suggested_recipe(facts, speed)[1] < SURELY * facts.budget_s:
        return
    for budget_s in (0.0, *(facts.budget_s,) * MAX_PROBES):
        recipe, _ = suggested_recipe(replace(facts, budget_s=budget_s), speed)
        at = (recipe["images"]["side"], recipe["model"].get("width", 0))
        if speed.measured(*at):
            return
        try:
            speed.learn(*at, _measured(recipe, params, layout, facts.num_folds))
        except (OSError, RuntimeError, ValueError) as error:  # memory, a device that is not there
            console.say(f"             not measured ({error}); the recipe is for two fast cores")
            return


def _measured(recipe: Mapping[str, Mapping[str, Any]], params: Path, layout: Layout, num_folds: int) -> float:
    """Training images of a second on this machine, said."""
    from pipeline.commands.probe import images_per_second  # torch takes seconds to import

    side, width = recipe["images"]["side"], recipe["model"].get("width")
    console.say(f"measuring    {recipe['model']['name']}{f' of width {width}' if width else ''} at {side} px …")
    here = load_params(params)
    sections = {name: {**here[name], **recipe.get(name, {})} for name in ("model", "augment", "train", "compute")}
    target = layout.target
    found = images_per_second(
        sections, side=side, num_classes=len(target.classes), target_kind=target.kind, at_once=num_folds
    )
    console.say(f"             {found:,.0f} images/s in training, all cores at work")
    return found


def _recipe_lines(recipe: Mapping[str, Mapping[str, Any]], seconds: float, budget: str, *, measured: bool) -> list[str]:
    sections = [
        f"{section} " + ", ".join(f"{key} {_spelled(value)}" for key, value in keys.items())
        for section, keys in recipe.items()
    ]
    minutes = max(1, round(seconds / 60))
    where = (
        "as measured here"
        if measured
        else "on two fast cores (--recipe writes it, measured on this machine where it may not fit)"
    )
    return [
        f"recipe       for {budget} (--budget), about {minutes} min for all folds {where}:",
        *(f"             {section}" for section in sections),
    ]


def _spelled(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _files(archive: Archive) -> list[str]:
    suffixes = Counter(PurePosixPath(name).suffix.lower() or "no suffix" for name in archive.names)
    kinds = ", ".join(f"{count:,} {suffix}" for suffix, count in suffixes.most_common(8))
    return [f"files        {archive.path}: {len(archive.names):,} ({kinds})"]


def _images(layout: Layout, kinds: Sequence[tuple[int, int, str, str]]) -> list[str]:
    sizes = Counter((kind[0], kind[1]) for kind in kinds)
    shown = ", ".join(f"{width}x{height} ({count})" for (width, height), count in sizes.most_common(4))
    more = f" and {len(sizes) - 4} more sizes" if len(sizes) > 4 else ""
    formats = ", ".join(f"{name} {mode}" for (name, mode), _ in Counter(kind[2:] for kind in kinds).most_common(4))
    return [
        f"images       {len(layout.train_ids):,} labelled, {len(layout.test_ids):,} to predict",
        f"             of {len(kinds)} looked at: {shown}{more}; {formats}",
        *(f"             {note}" for note in layout.notes),
    ]


def _turned(symmetry: "Symmetry | None") -> list[str]:
    if symmetry is None or not (symmetry.any_way_up or symmetry.one_handed):
        return []
    what = "they come any way up" if symmetry.any_way_up else "their mirror images are of another kind"
    told = f"{symmetry.upside_down:.0%} are told from themselves upside down, {symmetry.turned:.0%} turned by a quarter"
    told += f", {symmetry.mirrored:.0%} mirrored (50% by chance)"
    return [f"             {what}: of {symmetry.num_images} labelled ones {told}"]


def _target(layout: Layout) -> list[str]:
    target = layout.target
    sizes = [f"{label} {count:,}" for label, count in layout.class_sizes().items()]
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


def _metrics_said(archive: Archive, layout: Layout) -> list[str]:
    """Where the organiser's own words speak of other metrics than the one that is taken.

    A mean F1 is that over images only where they have several labels.
    """
    kind = layout.target.kind
    meant = {
        name if metric_fits(name, kind) else name.replace("samples_", "macro_"): words
        for name, words in metrics_said(archive).items()
    }
    said = {name: words for name, words in meant.items() if name != layout.metric and metric_fits(name, kind)}
    lines = [f"             {words!r} may ask for another: competition.metric: {name}" for name, words in said.items()]
    return lines[:NUM_METRICS_SAID]


def holds_demos_recipe(params: Path) -> bool:
    """Whether the params file still has the recipe that it shipped with, key by key."""
    found = load_params(params)
    return all(
        isinstance(found.get(section), dict) and found[section].get(key) == value
        for section, keys in DEMO_RECIPE.items()
        for key, value in keys.items()
    )


def lost_lines(params: Path, settings: Mapping[str, Any], *, with_recipe: bool) -> list[str]:
    """Before another competition's settings are written: what a user may have set that goes, and the recipe that stays.

    with_recipe: the recipe goes too.
    """
    section = load_section(params, "competition", CompetitionParams)
    defaults = {item.name: item.default for item in dataclasses.fields(CompetitionParams)}
    kept = {key: getattr(section, key) for key in ("allow", "corrections", "metric", "near_copies")}
    others = {key: value for key, value in kept.items() if value not in (defaults[key], settings.get(key))}
    gone = ", ".join(f"{key}: {list(value) if isinstance(value, tuple) else value}" for key, value in others.items())
    lines = [f"note         what stood there for {section.raw} counts no more: {gone}"] if gone else []
    if not with_recipe:
        lines.append(f"note         the recipe stays as it was for {section.raw}; --recipe writes the one above")
    return lines


def write_settings(
    params: Path, raw: Path, settings: Mapping[str, Any], recipe: Mapping[str, Mapping[str, Any]] | None = None, *,
    fresh: bool = False,
) -> None:  # fmt: skip
    """Put `raw`, the settings and the recipe into the params file; comments and all other keys stay.

    Of section `competition`, what another competition had set goes back to its default; if `fresh`, what this one had.
    """
    section = load_params(params)["competition"]
    if fresh or Path(str(section.get("raw"))).resolve() != raw.resolve():
        defaults = {item.name: item.default for item in dataclasses.fields(CompetitionParams)}
        settings = {key: value for key, value in defaults.items() if key in section and key != "raw"} | dict(settings)
    changes = {"competition": {"raw": str(raw), **settings}, **(recipe or {})}
    write_bytes(params, rewritten(params.read_text(encoding="utf-8"), changes).encode())
