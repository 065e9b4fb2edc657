"""What calibration, temperature and thresholds gain, and which labels are suspect: from out-of-fold predictions alone.

Writes the suspect labels as a table and as a page, and with --write as a file to be edited; nothing that stages read. A
gain is fitted on the other folds and measured on the one held out; one that is not above its standard error over folds
is none.
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.audit.page import Gallery, Picture, audit_page
from pipeline.base import console
from pipeline.base.files import fold_files, write_bytes, write_table
from pipeline.base.params import load_folds
from pipeline.commands import places
from pipeline.commands.label_corrections import Learnt
from pipeline.commands.own_files import refuse_copies
from pipeline.commands.verification import check_weights
from pipeline.competition.class_findings import Finding, finding
from pipeline.competition.schema import Dealt, Schema, read_dealt, read_schema
from pipeline.competition.store import read_store
from pipeline.scoring.decision import Decision, choose_decision, cross_fitted, decide
from pipeline.scoring.fold_predictions import gather_oof
from pipeline.scoring.metrics import metric_named
from pipeline.workbench import calibration
from pipeline.workbench.gains import (
    Estimate,
    Gain,
    estimate,
    fold_scores,
    gain,
    jackknife_error,
    metric_gain,
)
from pipeline.workbench.suspects import (
    COLUMNS,
    TRIAL_SHARE,
    Suspect,
    find_suspects,
    rows_of,
    shares,
    suspect_mask,
    trial,
)

READS = (
    "params", "metric", "target", "schema", "train_table", "corrections", "train_images", "train_description", "folds",
    "models", "oof",
)  # fmt: skip
PICTURED = 96  # suspects on the page
WHAT_TO_DO = (
    "look at each: some are right and the models are wrong. `python -m pipeline workbench --write FILE` makes a file "
    "in which you correct the wrong ones, for training alone: the labels that images are scored by stay, so that the "
    "new score can be compared with the old"
)


@dataclass(frozen=True)
class Run:
    """What was predicted out of fold."""

    schema: Schema
    dealt: Dealt
    learnt: Learnt
    oof: np.ndarray  # (N, C) float32
    store: np.ndarray  # (all rows of the train table, S, S, 3) uint8

    @property
    def folds(self) -> list[str]:
        """Those that hold images out, in the order of all figures by fold."""
        return np.unique(self.dealt.held_by).tolist()

    def scores(self, probs: np.ndarray, decided: np.ndarray) -> list[float]:
        """The competition's metric of each fold."""
        return fold_scores(self.dealt.truth, probs, decided, self.dealt.held_by, self.dealt.image_ids, self.schema)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Command line."""
    for name in READS:
        places.add_path(parser, f"--{name.replace('_', '-')}", places.RUN[name])
    places.add_path(parser, "--groups", places.GROUPS)
    parser.add_argument("--write", type=Path, metavar="FILE", help="CSV of the suspect labels to make corrections of")
    places.add_path(parser, "--out", places.WORKBENCH, "folder to write suspects.csv and suspects.html to")


def run(args: argparse.Namespace) -> None:
    """Print the figures, section by section; write the suspects."""
    if args.write and args.write.exists():
        raise ValueError(f"{args.write} is there already and may hold your work: name another file, or delete it")
    found = read_run(args)
    target, metric = found.schema.target, metric_named(found.schema.metric)
    better = "higher" if metric.higher_is_better else "lower"
    _say(
        "out of fold",
        [
            f"{len(found.oof):,} images, {len(target.classes)} classes ({target.kind}), {len(found.folds)} folds; "
            f"{found.schema.metric}, {better} is better; ± is the standard error over folds"
        ],
    )
    _say("corrections", found.learnt.said(args.train_table, args.groups))
    _say("calibration", _calibration(found))
    decided = cross_fitted(found.dealt.truth, found.oof, found.dealt.held_by, target, found.schema.metric)
    scores = found.scores(found.oof, decided)
    _say("temperature", _temperature(found, scores))
    _say("decision", _decision(found, scores))
    _say("suspects", _suspects(found, args.out, args.write))


def read_run(args: argparse.Namespace) -> Run:
    """The run's files. ValueError where there are none, or where they do not belong together."""
    missing = [path for path in (args.schema, args.train_table, args.folds, args.oof) if not path.exists()]
    if missing:
        raise ValueError(f"{missing[0]} is not there yet; run `python -m pipeline folds` first, then `dvc repro`")
    refuse_copies(args.metric.parent)
    schema, folds = read_schema(args.schema), load_folds(args.params)
    target = schema.target
    dealt = read_dealt(args.train_table, args.folds, target, folds)
    data = (args.target, args.train_table, args.corrections, args.folds, args.train_description)
    for fold in folds:
        check_weights(args.models, fold, data)
    files = fold_files(args.oof, ".npz", folds)
    oof = gather_oof(files, dealt.fold_of, len(target.classes), exclusive=target.exclusive)
    store, _ = read_store(args.train_images, args.train_description, num_rows=dealt.num_rows, table=args.train_table)
    return Run(schema, dealt, Learnt.read(args.train_table, args.corrections), oof, store)


def _calibration(found: Run) -> Iterator[str]:
    target, truth, held_by = found.schema.target, found.dealt.truth, found.dealt.held_by
    events = calibration.events(truth, found.oof, target)
    own = [calibration.events(truth[held_by == fold], found.oof[held_by == fold], target) for fold in found.folds]
    rest = [calibration.events(truth[held_by != fold], found.oof[held_by != fold], target) for fold in found.folds]
    error = Estimate(events.error, jackknife_error([part.error for part in rest]))
    chance, most = calibration.calibrated_error(events.probs)
    more = "more than chance" if events.error > most else "no more than chance"
    yield (
        f"expected calibration error {_shown(error)} in {calibration.BINS} bins; a calibrated model would show "
        f"{chance:.4f} with so many images, in 95 of 100 cases at most {most:.4f}: {more}"
    )
    surplus = estimate([part.surplus for part in own])
    of = "the likeliest class's probability" if target.exclusive else "the probability of a label"
    leaning = f"too {'high' if surplus.mean > 0 else 'low'}" if abs(surplus.mean) > surplus.error else "as it should be"
    yield f"{of} less its frequency {surplus.mean:+.4f} ± {surplus.error:.4f}: {leaning}"
    yield f"log loss {_shown(estimate(calibration.log_losses(truth, found.oof, held_by, target)))}"


def _temperature(found: Run, scores: Sequence[float]) -> Iterator[str]:
    """scores: the metric of each fold, as it stands."""
    target, truth, held_by, metric = found.schema.target, found.dealt.truth, found.dealt.held_by, found.schema.metric
    best = calibration.fit_temperature(truth, found.oof, target)
    tempered = calibration.temper(truth, found.oof, held_by, target, metric)
    at_end = best in (calibration.LOWEST, calibration.HIGHEST)
    error = jackknife_error(tempered.temperatures)
    yield (
        f"{_shown(Estimate(best, error))} by log loss; below 1 it sharpens; no stage applies it"
        f"{'; this is the end of its range: no best value was found' if at_end else ''}"
    )
    before, after = (calibration.log_losses(truth, probs, held_by, target) for probs in (found.oof, tempered.probs))
    yield _gained("log loss", before, after, gain(before, after, higher_is_better=False))
    after = found.scores(tempered.probs, tempered.decided)
    gained = metric_gain(scores, after, metric)
    why = " (it keeps the order in which probabilities stand)" if gained.unchanged else ""
    yield _gained(metric, scores, after, gained) + why


def _decision(found: Run, scores: Sequence[float]) -> Iterator[str]:
    """scores: the metric of each fold by its cross-fitted decision."""
    target, metric = found.schema.target, found.schema.metric
    chosen = choose_decision(found.dealt.truth, found.oof, target, metric, found.dealt.held_by)
    plain = "the likeliest class" if target.exclusive else "labels from 0.5 on"
    yield f"{_in_words(chosen) or plain}, as evaluate chose and submit applies it, against {plain}"
    before = found.scores(found.oof, decide(found.oof, target, Decision()))
    yield _gained(metric, before, scores, metric_gain(before, scores, metric))


def _in_words(chosen: Decision) -> str:
    """Empty where nothing was chosen."""
    thresholds, cuts, factors = chosen.thresholds, chosen.cuts, chosen.factors
    found = thresholds or cuts or factors
    numbers, rest = ", ".join(f"{number:.3f}" for number in found[:8]), ", …" if len(found) > 8 else ""
    least = "; at least one label an image" if chosen.at_least else ""
    if thresholds:
        return f"threshold{'s' if len(thresholds) > 1 else ''} {numbers}{rest}{least}"
    if factors:
        return f"the likeliest class, probabilities times {numbers}{rest}"
    return f"cuts {numbers}{rest}" if cuts else least.removeprefix("; ")


def _suspects(found: Run, out: Path, corrections: Path | None) -> Iterator[str]:
    """out: folder for the table and the page; corrections: file to write for the user to edit."""
    target, truth, held_by = found.schema.target, found.dealt.truth, found.dealt.held_by
    suspects = find_suspects(truth, found.oof, target)
    table, page = out / "suspects.csv", out / "suspects.html"
    write_table(table, COLUMNS, rows_of(suspects, found.dealt.image_ids, held_by))
    write_bytes(page, _page(found, suspects))
    share = estimate(shares(suspect_mask(truth, found.oof, target), held_by))
    of = "labels" if target.exclusive else "labels (image and class)"
    yield f"{len(suspects):,} of {truth.size:,} {of}, {_percent(share)}: {table}, {page}"
    seen = estimate(trial(truth, found.oof, held_by, target))
    yield (
        f"of {TRIAL_SHARE:.0%} made wrong for trial, {_percent(seen)} are found (the models did not learn from these)"
    )
    if corrections:
        yield found.learnt.write(corrections, suspects, found.dealt.rows.tolist())
    elif suspects:
        yield f"the training data is as it was; {WHAT_TO_DO}"


def _page(found: Run, suspects: Sequence[Suspect]) -> bytes:
    """The suspects as HTML, the most contradicted first."""
    ids = found.dealt.image_ids
    said = [f"{ids[suspect.row]}: {suspect.label}, rather {suspect.suggested}" for suspect in suspects]
    findings: list[Finding] = []
    if suspects:
        findings = [finding("labels that the held-out probabilities contradict", "warn", said, WHAT_TO_DO)]
    pictures = [[_picture(found, suspect, text)] for suspect, text in zip(suspects[:PICTURED], said, strict=False)]
    note = f"The most contradicted first; {len(suspects):,} in all, in suspects.csv."
    title = f"Suspect labels: {len(suspects):,} of {found.dealt.truth.size:,}"
    return audit_page(title, findings, [Gallery("Suspect labels", note, pictures, most=PICTURED)])


def _picture(found: Run, suspect: Suspect, said: str) -> Picture:
    caption = f"{said} ({suspect.label_probability:.3f}, {suspect.suggested_probability:.3f})"
    return Picture(found.store[found.dealt.rows[suspect.row]], caption)


def _gained(name: str, before: Sequence[float], after: Sequence[float], gained: Gain) -> str:
    means = f"{estimate(before).mean:.4f} to {estimate(after).mean:.4f}"
    return f"{name} {means}, gain {gained.mean:+.4f} ± {gained.error:.4f}: {gained.verdict}"


def _shown(found: Estimate) -> str:
    return f"{found.mean:.4f} ± {found.error:.4f}"


def _percent(found: Estimate) -> str:
    return f"{100 * found.mean:.2f} ± {100 * found.error:.2f} %"


def _say(section: str, lines: Sequence[str] | Iterator[str]) -> None:
    for number, line in enumerate(lines):
        console.say(f"{'' if number else section:<12}  {line}")
