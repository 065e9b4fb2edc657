"""How much the score would be flattered if groups (copies, patients, …) straddled the folds: trains one fold once more.

The images are dealt anew without groups, as many to a fold, and one fold's model is trained on that deal: same recipe,
same seed. What it holds out was predicted by the run as well, image by image, by models that had none of its group; so
both are scored on the very same images. Nothing of the run is written.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

from pipeline.base import console
from pipeline.base.files import read_json, write_arrays, write_table
from pipeline.base.params import SplitParams, load_folds, load_section
from pipeline.base.texts import Texts
from pipeline.commands import places
from pipeline.commands.workbench import READS, Run, read_run
from pipeline.competition.schema import FOLDS_COLUMNS, TrainTable, read_train_table
from pipeline.scoring.decision import choose_decision
from pipeline.scoring.fold_predictions import gather_oof
from pipeline.split.folds import NONE, deal_rows, image_groups
from pipeline.split.train_columns import read_train_columns
from pipeline.stages import teach, train
from pipeline.workbench.flattery import flattery

SURE = 2  # standard errors


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Command line."""
    parser.add_argument("--fold", help="the fold whose recipe and seed are trained once more; default: the first")
    for name in READS:
        places.add_path(parser, f"--{name.replace('_', '-')}", places.RUN[name])
    places.add_path(parser, "--groups", places.GROUPS)
    places.add_path(parser, "--columns", places.TRAIN_COLUMNS)
    places.add_path(parser, "--seconds", places.SECONDS)
    places.add_path(parser, "--out", places.LEAK, "folder for the deal and the model that is trained on it")


def run(args: argparse.Namespace) -> None:
    """Say what will be trained and how long it takes, train it, say what it scores."""
    found, names = read_run(args), load_folds(args.params)
    fold = names[0] if args.fold is None else args.fold
    if fold not in names:
        raise ValueError(f"--fold is {fold}; {args.params} names the folds {', '.join(names)}")
    params = load_section(args.params, "split", SplitParams)
    table, _, rows = read_train_table(args.train_table, args.groups)
    if not np.array_equal(rows, found.dealt.rows):
        raise ValueError(f"{args.groups} leaves other images out than {args.folds}; run `dvc repro`")
    whole = read_train_columns(args.columns, found.learnt.image_ids)
    columns = {name: cells.take(rows) for name, cells in whole.items()}
    groups = image_groups(table, columns, params)
    held_by = np.array(names)[_dealt_alone(table, params, found.schema.target.kind)]

    apart = np.isin(groups, groups[held_by == fold]) & (held_by != fold)
    shared = np.isin(groups, groups[apart])[held_by == fold]
    said = {key: getattr(params, key) for key in ("group", "time", "fold_column")}
    by = ", ".join(f"split.{key}: {value}" for key, value in said.items() if value != NONE)
    console.say(
        f"{len(groups):,} images in {groups.max() + 1:,} groups (copies{', ' if by else ''}{by}); dealt without them, "
        f"{shared.mean():.1%} of what fold {fold} holds out would have one of their group in training"
    )
    if not shared.any() and not by:
        console.say("no group would straddle the folds: the score cannot be flattered so, and nothing is trained")
        return
    console.say(f"fold {fold} is trained once more on such a deal; {_duration(args.seconds / f'{fold}.json')}")
    chosen = np.flatnonzero(held_by == fold)
    again = _trained(args, fold, dict(zip(table.image_ids, held_by.tolist(), strict=True)), found)
    _say_difference(found, chosen, again, groups)


def _dealt_alone(table: TrainTable, params: SplitParams, kind: str) -> np.ndarray:
    """(N,) fold numbers, each image dealt by its label alone."""
    free = replace(params, group=NONE, time=NONE, fold_column=NONE, small_classes="allow")
    return deal_rows(replace(table, groups=Texts([""] * len(table.image_ids))), {}, free, kind=kind).fold_of_row


def _duration(seconds: Path) -> str:
    if not seconds.is_file():
        return f"how long it takes is not known ({seconds} is not there)"
    return f"it took {read_json(seconds)['seconds'] / 60:.1f} minutes in the run, and will take about as long"


def _trained(args: argparse.Namespace, fold: str, fold_of: dict[str, str], found: Run) -> np.ndarray:
    """(M, C) float32: what the fold's model, trained on this deal, says of what it holds out, in the deal's order."""
    folds, oof, pseudo = args.out / "folds.csv", args.out / f"{fold}.npz", args.out / "pseudo.npz"
    write_arrays(pseudo, teach.NONE)  # a teacher of the run's folds saw labels that this deal holds out
    write_table(folds, FOLDS_COLUMNS, ((name, fold_of.get(name, "")) for name in found.learnt.image_ids))
    paths = {
        "params": args.params, "target": args.target, "train-table": args.train_table, "corrections": args.corrections,
        "folds": folds, "train-images": args.train_images, "description": args.train_description,
        "pretrained": places.WEIGHTS[0], "pretrained-card": places.WEIGHTS[1], "features": places.FEATURES[0],
        "features-description": places.FEATURES[1], "pseudo": pseudo,
        "weights": args.out / f"{fold}.safetensors", "card": args.out / f"{fold}.json", "oof": oof,
        "history": args.out / f"{fold}.csv", "metrics": args.out / "metrics.json",
        "seconds": args.out / "seconds.json", "scratch": args.out / "scratch",
    }  # fmt: skip
    train.main(["--fold", fold, *(word for name, path in paths.items() for word in (f"--{name}", str(path)))])
    target, own = found.schema.target, {name: held for name, held in fold_of.items() if held == fold}
    return gather_oof({fold: oof}, own, len(target.classes), exclusive=target.exclusive)


def _say_difference(found: Run, chosen: np.ndarray, again: np.ndarray, groups: np.ndarray) -> None:
    """chosen: rows of the out-of-fold predictions; again: the same images' by the model trained without groups."""
    dealt, schema = found.dealt, found.schema
    decision = choose_decision(dealt.truth, found.oof, schema.target, schema.metric, dealt.held_by)
    before, after, better = flattery(
        dealt.truth[chosen], (found.oof[chosen], again), groups[chosen], dealt.image_ids.take(chosen), schema, decision
    )
    sure = "more than chance" if better.mean > SURE * better.error else "no more than chance"
    console.say(
        f"{schema.metric} of the same {len(chosen):,} images: {before:.4f} by the run's folds, {after:.4f} by folds "
        f"that groups straddle: flattered by {better.mean:+.4f} ± {better.error:.4f}, {sure} "
        f"(± by groups of images; another seed moves both scores, too)"
    )
