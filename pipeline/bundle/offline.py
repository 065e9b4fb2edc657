"""Test images and a sample submission in, a submission out, by the models of all folds: what a bundle runs, offline.

The same steps as ingest (decode), infer and submit take, through the same functions; nothing is trained or downloaded.
Each run of a blend predicts as it did by itself, from images that are stored as its own were.
"""

import argparse
import shutil
import signal
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.archive.archive import Archive, open_archive
from pipeline.archive.encodings import decoded
from pipeline.base import allocator, console
from pipeline.base.files import read_json, write_bytes
from pipeline.base.texts import Texts
from pipeline.bundle.contents import (
    BLEND,
    FORMAT,
    MEMBERS,
    SETTINGS,
    TEST,
    WEIGHTS,
    WEIGHTS_CARD,
    Settings,
)
from pipeline.bundle.image_members import members_of_ids
from pipeline.bundle.in_time import Pace, Reached, predict_in_time
from pipeline.competition.schema import Schema, read_schema
from pipeline.competition.store import StoreFormat, read_format
from pipeline.images.store_writer import write_store
from pipeline.loop.batches import store_tensor
from pipeline.loop.device import device_named
from pipeline.models.checkpoint import read_checkpoint
from pipeline.models.features import features_of
from pipeline.models.networks import OnFeatures
from pipeline.models.prediction import predict_features, predict_store
from pipeline.scoring.blend import OWN, Blend, mixed
from pipeline.scoring.fold_predictions import written_submission
from pipeline.submission.contract import check_submission, in_make, parse_table, refuse
from pipeline.tables.table import INDEX
from pipeline.tables.table_files import open_images, read_tables

NUM_MEASURED = 20_000  # images at most, to measure the speed by


@dataclass(frozen=True, kw_only=True)
class _Run:
    """A run that predicts."""

    home: Path  # folder of its models
    settings: Settings
    stored: StoreFormat  # how it takes images
    members: Sequence[str]  # the image of each id, '' where there is none

    @property
    def takes(self) -> tuple[Any, ...]:
        """Runs that take images alike share what is decoded."""
        return self.stored, self.settings.fit, tuple(self.members)


def main(home: Path, argv: Sequence[str] | None = None) -> None:
    """Command line of a bundle's predict.py. home: the unpacked bundle."""
    parser = argparse.ArgumentParser(prog="predict.py", description=__doc__)
    parser.add_argument("--images", type=Path, required=True, help="folder or archive with the test images")
    parser.add_argument("--sample", type=Path, required=True, help="the sample submission: its ids are predicted")
    parser.add_argument("--out", type=Path, default=Path("submission.csv"), help="default: %(default)s")
    parser.add_argument("--device", help="auto, cpu, cuda, cuda:1, mps; default: as the submission was made")
    parser.add_argument(
        "--time-limit", type=float, metavar="SECONDS",
        help="be done in time: fewer folds where it is short, at last the training images' shares; default: no limit",
    )  # fmt: skip
    parser.add_argument(
        "--unreadable", choices=("stop", "prior"), default="stop",
        help="images that are missing or cannot be read: stop, or answer with the training images' shares (for a "
        "notebook, whose test images nobody can mend); default: %(default)s",
    )  # fmt: skip
    parser.add_argument(
        "--measure", type=float, metavar="SECONDS",
        help="write nothing: predict the images over and over for so long, and say how fast",
    )  # fmt: skip
    args = parser.parse_args(argv)
    began = time.monotonic()
    settings = Settings(**read_json(home / SETTINGS))
    blend = Blend(**read_json(home / BLEND))
    schema = read_schema(home / "schema.json")
    allocator.keep_freed_memory()

    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        plain = _own_sample(args.sample, scratch, settings, schema)
        sample = scratch / "sample_submission.csv"
        write_bytes(sample, plain)
        image_ids = _image_ids(plain, schema)
        named = {key: getattr(settings, key) for key in ("encoding", "header", "pixels")}
        with open_images(args.images, **named) as archive:
            column = schema.submission.id_column or INDEX
            runs = _runs(home, blend, archive, image_ids, column, settings, lenient=args.unreadable == "prior")
            if args.measure is not None:
                console.say(_speed(runs, archive, scratch, args.device, args.measure))
                return
            work = _Work(runs, archive, scratch, device=args.device, lenient=args.unreadable == "prior")
            if args.time_limit is None:
                work.predict_all()
            else:
                _write(args.out, work, image_ids, blend, schema, sample, plain, home)
                console.say(f"{args.out}: the training images' shares for now")
                for line in work.predict_within(began + args.time_limit)[1].lines(work.num_folds):
                    console.say(line)
        _write(args.out, work, image_ids, blend, schema, sample, plain, home)
    num_models = sum(len(run.settings.folds) for run in runs.values())
    console.say(f"{args.out}: {len(image_ids):,} images predicted by {num_models} models, passed the contract")


def _speed(runs: Mapping[str, _Run], archive: Archive, scratch: Path, device: str | None, seconds: float) -> str:
    """How fast the images are predicted, measured on them again and again."""
    began = time.monotonic()
    many = {name: replace(run, members=list(islice(cycle(run.members), NUM_MEASURED))) for name, run in runs.items()}
    work = _Work(many, archive, scratch, device=device, lenient=True)
    pace, reached = work.predict_within(began + seconds)
    count = int((reached.folds > 0).sum())
    where = ", ".join(sorted(work.devices))
    if not pace.measured:
        seconds = time.monotonic() - began
        return f"speed        unknown: {count} images took {seconds:.0f} s on {where}, loading included; measure longer"
    return (
        f"speed        {pace.rate(work.num_folds):.4g} images/s by {work.num_folds} folds, {pace.rate(1):.4g} by one, "
        f"on {where} (measured on {count:,})"
    )


def _write(
    out: Path, work: "_Work", image_ids: Sequence[str], blend: Blend, schema: Schema, sample: Path,
    plain: bytes, home: Path,
) -> None:  # fmt: skip
    """Mix, decide, check, write. Where a list may not be empty, the likeliest label stands for what was not reached."""
    probs = mixed(blend, work.probs, exclusive=schema.target.exclusive)
    if schema.submission.kind == "list" and not schema.submission.may_be_empty:
        rows = np.flatnonzero(work.unreached)
        probs[rows, probs[rows].argmax(axis=1)] = 1.0
    content, _ = written_submission(probs, image_ids, asked=schema, sample=sample, decision=home / "decision.json")
    refuse(check_submission(content, plain, schema), str(out))
    write_bytes(out, content)


def _runs(
    home: Path, blend: Blend, archive: Archive, image_ids: Sequence[str], column: str, asked: Settings, *,
    lenient: bool,
) -> dict[str, _Run]:  # fmt: skip
    """Name -> each run that has weight. column: of the ids; asked: of the run whose submission it is."""
    runs = {}
    for name in (name for name, weight in blend.weights.items() if weight):
        folder = home if name == OWN else home / MEMBERS / name
        members = members_of_ids(archive, image_ids, column, folder / TEST, asked, lenient=lenient)
        settings = Settings(**read_json(folder / SETTINGS))
        runs[name] = _Run(home=folder, settings=settings, stored=read_format(folder / FORMAT), members=members)
    return runs


class _Work:
    """The images, block by block, through the models of all runs."""

    def __init__(
        self, runs: Mapping[str, _Run], archive: Archive, scratch: Path, *, device: str | None, lenient: bool
    ) -> None:
        self._runs, self._archive, self._scratch, self._lenient = runs, archive, scratch, lenient
        self._device = {name: device_named(device or run.settings.device) for name, run in runs.items()}
        self.num_images = len(next(iter(runs.values())).members)
        self.num_folds = max(len(run.settings.folds) for run in runs.values())
        self._priors = {name: _prior(run) for name, run in runs.items()}
        self._totals = {name: np.zeros((self.num_images, len(prior))) for name, prior in self._priors.items()}
        self._counts = {name: np.zeros(self.num_images, dtype=np.int64) for name in runs}
        self._no_image = np.zeros(self.num_images, dtype=bool)
        self._stores: dict[tuple[Any, ...], np.ndarray] = {}  # of the block
        self._unseen: dict[tuple[Any, ...], np.ndarray] = {}
        self._features: dict[str, np.ndarray] = {}
        self._models: dict[tuple[str, str], Any] | None = None  # kept where there are several blocks

    @property
    def devices(self) -> set[str]:
        """Where the runs predict: cpu, cuda, mps."""
        return {device.type for device in self._device.values()}

    @property
    def unreached(self) -> np.ndarray:
        """(N,) bool: answered by the training images' shares, as no fold, or no image, was there."""
        none = np.any([counts == 0 for counts in self._counts.values()], axis=0)
        return np.asarray(none | self._no_image)

    @property
    def probs(self) -> dict[str, np.ndarray]:
        """Name -> (N, C) float64: the mean over the folds that an image got, or the training images' shares."""
        found = {}
        for name, counts in self._counts.items():
            found[name] = self._totals[name] / np.maximum(counts, 1)[:, None]
            found[name][counts == 0] = self._priors[name]
        return found

    def predict_all(self) -> None:
        """All images by all folds, as infer does."""
        rows = range(self.num_images)
        self._decode(rows)
        for fold in range(self.num_folds):
            self._predict(fold, rows)

    def predict_within(self, deadline: float) -> tuple[Pace, Reached]:
        """As much of it as there is time for. SIGTERM ends it early."""
        self._models = {}
        pace = Pace(deadline, self.num_folds)

        def end(*_: Any) -> None:
            pace.deadline = 0.0

        kept = signal.signal(signal.SIGTERM, end)
        multiple = next(iter(self._runs.values())).settings.batch_size
        try:
            reached = predict_in_time(
                self.num_images, pace, multiple=multiple, decode=self._decode, predict=self._predict
            )
        finally:
            signal.signal(signal.SIGTERM, kept)
        return pace, reached

    def _decode(self, rows: range) -> None:
        self._stores, self._features = {}, {}
        for run in self._runs.values():
            if run.takes not in self._stores:
                members = run.members[rows.start : rows.stop]
                path = self._scratch / f"{len(self._stores)}.npy"
                store, failed = _decoded(self._archive, members, path, run, lenient=self._lenient)
                self._stores[run.takes] = store
                self._unseen[run.takes] = Texts(members).where("") | failed
                self._no_image[rows.start : rows.stop] |= self._unseen[run.takes]

    def _predict(self, fold: int, rows: range) -> None:
        """By the fold of this number, of every run that has as many."""
        for name, run in self._runs.items():
            if fold < len(run.settings.folds):
                self._totals[name][rows.start : rows.stop] += self._by_model(name, run, run.settings.folds[fold])
                self._counts[name][rows.start : rows.stop] += 1

    def _by_model(self, name: str, run: _Run, fold: str) -> np.ndarray:
        """(M, C) float32 for the block, as infer gives them."""
        where, settings, unseen = self._device[name], run.settings, self._unseen[run.takes]
        model, card = self._model(name, run, fold)
        if isinstance(model, OnFeatures):
            if name not in self._features:
                self._features[name] = features_of(
                    store_tensor(self._stores[run.takes], where), card, run.home / WEIGHTS, run.home / WEIGHTS_CARD,
                    self._scratch / name, device=where, precision=settings.precision,
                )  # fmt: skip
            return predict_features(model, card, self._features[name], unseen)
        probs, _ = predict_store(
            model, card, store_tensor(self._stores[run.takes], where), unseen, batch_size=settings.batch_size,
            device=where, precision=settings.precision,
        )  # fmt: skip
        return probs

    def _model(self, name: str, run: _Run, fold: str) -> Any:
        if self._models is not None and (name, fold) in self._models:
            return self._models[name, fold]
        models = run.home / "models"
        found = read_checkpoint(models / f"{fold}.safetensors", models / f"{fold}.json")
        if self._models is not None:
            self._models[name, fold] = found
        return found


def _prior(run: _Run) -> np.ndarray:
    """(C,) float64: the training images' shares of the classes, the mean over folds."""
    cards = [read_json(run.home / "models" / f"{fold}.json") for fold in run.settings.folds]
    return np.asarray(np.mean([card["prior"] for card in cards], axis=0))


def _own_sample(path: Path, scratch: Path, settings: Settings, schema: Schema) -> bytes:
    """The sample, in whatever form ingest takes, as ingest hands it over."""
    folder = scratch / "sample"
    folder.mkdir()
    shutil.copy(path, folder)
    with open_archive(folder) as archive:
        found = read_tables(archive, encoding=settings.encoding, header=settings.header)
    if path.name not in found.tables:
        raise ValueError(f"{path} {found.unread.get(path.name, 'is no table that can be read here')}")
    table, content = found.tables[path.name], path.read_bytes()
    text = decoded(content, path.name, settings.encoding)
    return in_make(content, text, table.header, table.rows, schema.submission.make)


def _image_ids(sample: bytes, schema: Schema) -> list[str]:
    """The ids to predict, in the sample's order; a long submission's rows are taken apart."""
    header, rows = parse_table(sample, schema.submission)
    if tuple(header) != schema.submission.columns:
        raise ValueError(f"the sample has the columns {header}, the models were made for {schema.submission.columns}")
    row_ids = list(map(schema.submission.row_id, rows))
    if schema.submission.kind != "long":
        return row_ids
    ends = [schema.submission.separator + suffix for suffix in schema.submission.suffixes]
    return list(dict.fromkeys(_without_end(row_id, ends) for row_id in row_ids))


def _without_end(row_id: str, ends: Sequence[str]) -> str:
    end = max((end for end in ends if row_id.endswith(end)), key=len, default="")
    if not end:
        raise ValueError(f"the sample's id {row_id!r} ends in none of the classes {list(ends)[:3]}")
    return row_id.removesuffix(end)


def _decoded(
    archive: Archive, members: Sequence[str], path: Path, run: _Run, *, lenient: bool
) -> tuple[np.ndarray, np.ndarray]:
    """((M, S, S, 3) uint8, (M,) bool: it cannot be read). Raises ValueError for such images unless `lenient`."""
    size, fit, bits = run.stored.size, run.settings.fit, run.stored.bits
    report = write_store(path, members, archive.read, size=size, fit=fit, bits=bits, title="test images")
    failed = np.zeros(len(members), dtype=bool)
    if report.failures:
        row, reason = report.failures[0]
        said = f"{len(report.failures)} of {len(members)} images cannot be read, first {members[row]}: {reason}"
        if not lenient:
            raise ValueError(f"{said}; put sound copies in their place")
        console.say(f"warning: {said}; they get the training images' shares")
        failed[[row for row, _ in report.failures]] = True
    return np.load(path, mmap_mode="c", allow_pickle=False), failed
