"""What each ingredient of a recipe gives: folds of an ingested competition, trained with and without it.

    dvc repro split && python -m benchmarks.ingredients --rows table.yaml --seeds 0 1 2

The params file is the recipe that all rows start from; a row changes keys of it. Every row is trained once a seed on
the same folds, and scored on all that they hold out together. `pflop` is what training takes, 3 forward passes'
multiplications and additions an image, so that rows can be had at equal compute whatever the machine; `seconds` are
this process's on all cores, a GPU waited for included. A gain is the mean over seeds of the difference to the first row
with the same seed, with its standard error. Results are added to `--log` as they come; rows and seeds that it has are
not trained again.
"""

import argparse
import dataclasses
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline.base import allocator

if __name__ == "__main__":
    allocator.restart()  # before torch is imported

import numpy as np
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from pipeline.base.params import AugmentParams, ComputeParams, ModelParams, TrainParams, load_section, parse_section
from pipeline.base.yamls import read_yaml
from pipeline.competition.schema import Target, read_folds, read_target, read_train_labels, target_array
from pipeline.competition.store import read_store
from pipeline.loop.batches import channel_statistics, store_tensor
from pipeline.loop.device import device_named
from pipeline.loop.epoch_meter import Outcome
from pipeline.loop.objective import num_outputs
from pipeline.loop.streams import draws, seed_torch
from pipeline.models.networks import Normalised, compute_for, create_model, whiten_first_layer
from pipeline.scoring.decision import cross_fitted
from pipeline.scoring.metrics import mean_and_standard_error, metric_named, score
from pipeline.submission.answers import Answers, decided_answers
from pipeline.training.fold import EpochRecord, FoldData, train_networks
from pipeline.training.progressive import epoch_side

SECTIONS: dict[str, Any] = {
    "model": ModelParams, "augment": AugmentParams, "train": TrainParams, "compute": ComputeParams,
}  # fmt: skip


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ingredients", description=__doc__)
    parser.add_argument("--project", type=Path, default=Path(), help="where `dvc repro split` was run")
    parser.add_argument("--params", type=Path, default=Path("params.yaml"), help="the recipe that rows change")
    parser.add_argument("--rows", type=Path, help="YAML: a mapping of a row's name to {section.key: value}")
    parser.add_argument("--row", nargs="*", action="append", default=[], metavar="KEY=VALUE", help="a row")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--folds", nargs="+", default=["0"], help="default: 0")
    parser.add_argument("--images", type=int, help="train on so many of a fold's images only, others with each seed")
    parser.add_argument("--held-out", type=int, help="and predict so many of those held out")
    parser.add_argument("--metric", help="as competition.metric; default: the share of right answers, or labels")
    parser.add_argument("--log", type=Path, default=Path("ingredients.jsonl"))
    args = parser.parse_args()
    allocator.keep_freed_memory()
    rows = read_yaml(args.rows.read_text()) if args.rows else {}
    rows |= {" ".join(row) or "base": dict(_key_value(part) for part in row) for row in args.row}
    target, folds = _data(args.project, args.folds)
    done, results = _read(args.log), {}
    for seed in args.seeds:
        for name, changes in rows.items():
            recipe = recipe_of(args.params, changes | {"train.seed": seed})
            sections = {name: dataclasses.asdict(part) for name, part in recipe.items()}
            key = json.dumps([args.folds, args.images, args.held_out, args.metric, sections])
            if key not in done:
                cut = [_cut(fold, args.images, args.held_out, seed) for fold in folds]
                done[key] = {"row": name, "seed": seed} | scored(cut, recipe, target, args.metric)
                with args.log.open("a") as log:
                    log.write(json.dumps({"key": key} | done[key]) + "\n")
            results[name, seed] = done[key] | {"row": name}
            print(json.dumps({name: value for name, value in results[name, seed].items() if name != "key"}), flush=True)
    _print_table(results, list(rows), args.seeds, args.metric or "accuracy")


def _key_value(part: str) -> tuple[str, Any]:
    key, _, value = part.partition("=")
    return key, read_yaml(value)


def _read(log: Path) -> dict[str, dict[str, Any]]:
    lines = log.read_text().splitlines() if log.exists() else []
    return {found["key"]: found for found in map(json.loads, lines)}


def recipe_of(params: Path, changes: dict[str, Any]) -> dict[str, Any]:
    """Sections of the params file, after changes by `section.key`."""
    recipe = {name: dataclasses.asdict(load_section(params, name, section)) for name, section in SECTIONS.items()}
    for key, value in changes.items():
        section, _, name = key.partition(".")
        recipe[section][name] = value
    recipe["model"]["options"] = list(recipe["model"]["options"])  # as YAML gives it
    return {name: parse_section(recipe[name], name, section) for name, section in SECTIONS.items()}


def _data(project: Path, names: list[str]) -> tuple[Target, list[FoldData]]:
    data = project / "data"
    target = read_target(data / "competition/target.json")
    image_ids, labels = read_train_labels(data / "competition/train.csv")
    store, _ = read_store(
        data / "images/train.npy",
        data / "images/train.json",
        num_rows=len(image_ids),
        table=data / "competition/train.csv",
    )
    folds = read_folds(data / "folds.csv", image_ids, data / "competition/train.csv")
    return target, [
        FoldData(
            fold=name, store=torch.from_numpy(store), train_rows=np.flatnonzero(~folds.where(name) & ~folds.where("")),
            valid_rows=np.flatnonzero(folds.where(name)), targets=target_array(labels, target),
            target_kind=target.kind, num_classes=len(target.classes),
        )
        for name in names
    ]  # fmt: skip


def _cut(fold: FoldData, images: int | None, held_out: int | None, seed: int) -> FoldData:
    """Some of its images alone; those held out are the same whatever the seed."""
    chance = draws("images to train on", seed, int(fold.fold)), draws("images held out", int(fold.fold))
    rows = zip((fold.train_rows, fold.valid_rows), (images, held_out), chance, strict=True)
    train_rows, valid_rows = (np.sort(own.permutation(some)[: count or len(some)]) for some, count, own in rows)
    return dataclasses.replace(fold, train_rows=train_rows, valid_rows=valid_rows)


def _say_epoch(record: EpochRecord, trained: Outcome) -> None:
    speed = trained.num_images / trained.seconds
    print(
        f"epoch {record.epoch}: training accuracy {record.train_accuracy:.4f}, {speed:,.0f} images/s", file=sys.stderr
    )


def trained(
    data: tuple[FoldData, np.ndarray],
    recipe: dict[str, Any],
    report: Callable[[EpochRecord, Outcome], None] = _say_epoch,
) -> dict[str, Any]:
    """Train the fold, of a store (N, S, S, 3) uint8, once; what the log says of it."""
    found, _ = _trained(*data, recipe, report)
    return found


def scored(folds: list[FoldData], recipe: dict[str, Any], target: Target, metric: str | None) -> dict[str, Any]:
    """Train them one after the other; what the log says of all together."""
    found, probs = zip(*(_trained(fold, fold.store.numpy(), recipe, _say_epoch) for fold in folds), strict=True)
    sizes = [len(fold.valid_rows) for fold in folds]
    together = {
        name: round(float(np.average([part[name] for part in found], weights=sizes)), 5)
        for name in ("accuracy", "loss", "train_accuracy")
    } | {name: round(sum(part[name] for part in found), 6) for name in ("pflop", "seconds")}
    if metric is not None:
        truth = np.concatenate([fold.targets[fold.valid_rows] for fold in folds])
        parts = np.repeat(np.arange(len(folds)), sizes) if len(folds) > 1 else np.arange(len(truth)) % 2
        together["accuracy"] = round(_score(metric, truth, np.concatenate(probs), parts, target), 5)
    return together


def _score(metric: str, truth: np.ndarray, probs: np.ndarray, parts: np.ndarray, target: Target) -> float:
    """Labels of each part (of one fold: half) decided by what is best for the metric on the others."""
    if metric_named(metric).takes != "labels":
        return score(metric, truth, Answers(scores=probs.astype(np.float64)), target)
    decided = cross_fitted(truth, probs, parts, target, metric)
    return score(metric, truth, decided_answers(decided, target), target)


def _trained(
    fold: FoldData, store: np.ndarray, recipe: dict[str, Any], report: Callable[[EpochRecord, Outcome], None]
) -> tuple[dict[str, Any], np.ndarray]:
    """(what the log says, (n, C) probabilities of the images held out)."""

    outputs, statistics = num_outputs(fold.target_kind, fold.num_classes), channel_statistics(store, fold.train_rows)

    def network() -> nn.Module:
        return create_model(recipe["model"].name, num_classes=outputs, options=recipe["model"].network_options)

    def create(seed: int) -> Normalised:
        seed_torch("first weights", seed, int(fold.fold))
        model = Normalised(network(), *statistics)
        whiten_first_layer(model, store, fold.train_rows)
        return model

    train, side = recipe["train"], store.shape[1]
    sides = [epoch_side(epoch, train.epochs, start=train.start_side, full=side) for epoch in range(1, train.epochs + 1)]
    flop = {side: forward_flop(network(), side) for side in set(sides)}
    pflop = 3e-15 * sum(flop[side] for side in sides) * len(fold.train_rows) * train.seeds
    asked = recipe["compute"]
    compute = compute_for(
        recipe["model"].name, side, device=device_named(asked.device), precision=asked.precision, compiled=asked.compile
    )
    here = dataclasses.replace(fold, store=store_tensor(store, compute.device))
    started = time.process_time()
    found = train_networks(create, here, train=train, augment=recipe["augment"], compute=compute, report=report)
    seconds, last = time.process_time() - started, found.history[-1]
    assert found.held_out.probs is not None
    return {
        "accuracy": round(found.held_out.accuracy or 0.0, 5), "loss": round(found.held_out.loss or 0.0, 4),
        "train_accuracy": round(last.train_accuracy, 4), "pflop": round(pflop, 6), "seconds": round(seconds, 1),
    }, found.held_out.probs  # fmt: skip


def forward_flop(network: nn.Module, side: int) -> int:
    """Multiplications and additions of one image's forward pass; the network stays as it is."""
    network.eval()
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        network(torch.zeros(1, 3, side, side))
    return int(counter.get_total_flops())


def _print_table(
    results: dict[tuple[str, int], dict[str, Any]], rows: list[str], seeds: list[int], metric: str
) -> None:
    print(f"\n| recipe | {metric} | gain | training accuracy | PFLOP | seconds |\n|---|---|---|---|---|---|")
    for row in rows:
        found = [results[row, seed] for seed in seeds]
        gains = [a["accuracy"] - results[rows[0], seed]["accuracy"] for a, seed in zip(found, seeds, strict=True)]
        columns = [mean_and_standard_error([a[name] for a in found]) for name in ("accuracy", "train_accuracy")]
        gain = mean_and_standard_error(gains)
        pflop, seconds = (np.mean([a[name] for a in found]) for name in ("pflop", "seconds"))
        print(
            f"| {row} | {columns[0][0]:.4f} ± {columns[0][1]:.4f} | {gain[0]:+.4f} ± {gain[1]:.4f} | "
            f"{columns[1][0]:.4f} | {pflop:.5f} | {seconds:.0f} |"
        )


if __name__ == "__main__":
    main()
