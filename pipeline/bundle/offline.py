"""Test images and a sample submission in, a submission out, by the models of all folds: what a bundle runs, offline.

The same steps as ingest (decode), infer and submit take, through the same functions; nothing is trained or downloaded.
Each run of a blend predicts as it did by itself, from images that are stored as its own were.
"""

import argparse
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.archive.archive import Archive, open_archive
from pipeline.base import allocator, console
from pipeline.base.files import read_json, read_table, write_arrays, write_bytes
from pipeline.base.texts import Texts
from pipeline.bundle.contents import (
    BLEND,
    FORMAT,
    KNOWN_COLUMNS,
    MEMBERS,
    SETTINGS,
    TEST,
    WEIGHTS,
    WEIGHTS_CARD,
    Settings,
)
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
from pipeline.scoring.fold_predictions import ensemble, written_submission
from pipeline.submission.contract import check_submission, parse_table, plain_sample, refuse
from pipeline.tables.image_names import image_names
from pipeline.tables.image_paths import ImageIndex, find_matches, images_of
from pipeline.tables.table import id_table
from pipeline.tables.table_files import open_images, read_tables


@dataclass(frozen=True, kw_only=True)
class _Run:
    """A run that predicts, and the images as it takes them."""

    home: Path  # folder of its models
    settings: Settings
    store: np.ndarray  # (N, S, S, 3) uint8
    unseen: np.ndarray  # (N,) bool: there is no image


def main(home: Path, argv: Sequence[str] | None = None) -> None:
    """Command line of a bundle's predict.py. home: the unpacked bundle."""
    parser = argparse.ArgumentParser(prog="predict.py", description=__doc__)
    parser.add_argument("--images", type=Path, required=True, help="folder or archive with the test images")
    parser.add_argument("--sample", type=Path, required=True, help="the sample submission: its ids are predicted")
    parser.add_argument("--out", type=Path, default=Path("submission.csv"), help="default: %(default)s")
    parser.add_argument("--device", help="auto, cpu, cuda, cuda:1, mps; default: as the submission was made")
    args = parser.parse_args(argv)
    settings = Settings(**read_json(home / SETTINGS))
    blend = Blend(**read_json(home / BLEND))
    schema = read_schema(home / "schema.json")
    allocator.keep_freed_memory()

    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        plain = _plain_sample(args.sample, scratch, settings)
        sample = scratch / "sample_submission.csv"
        write_bytes(sample, plain)
        image_ids = _image_ids(plain, schema)
        named = {key: getattr(settings, key) for key in ("encoding", "header", "pixels")}
        with open_images(args.images, **named) as archive:
            runs = _runs(home, blend, archive, image_ids, scratch)
        probs_of, exclusive = {}, schema.target.exclusive
        for name, run in runs.items():
            files = _predictions(run, image_ids, scratch / name, device=args.device or run.settings.device)
            probs_of[name] = ensemble(files, image_ids, len(schema.target.classes), exclusive=exclusive)
        probs = mixed(blend, probs_of, exclusive=exclusive)
        content, _ = written_submission(probs, image_ids, asked=schema, sample=sample, decision=home / "decision.json")
    findings = check_submission(content, plain, schema)
    refuse(findings, str(args.out))
    write_bytes(args.out, content)
    num_models = sum(len(run.settings.folds) for run in runs.values())
    console.say(f"{args.out}: {len(image_ids):,} images predicted by {num_models} models, passed the contract")


def _runs(home: Path, blend: Blend, archive: Archive, image_ids: Sequence[str], scratch: Path) -> dict[str, _Run]:
    """Name -> each run that has weight; images that several take alike are decoded once."""
    runs, stores = {}, {}
    for name in (name for name, weight in blend.weights.items() if weight):
        folder = home if name == OWN else home / MEMBERS / name
        settings, stored = Settings(**read_json(folder / SETTINGS)), read_format(folder / FORMAT)
        members = _members(archive, image_ids, folder / TEST)
        alike = (stored, settings.fit, tuple(members))
        if alike not in stores:
            stores[alike] = _decoded(archive, members, scratch / f"{name}.npy", stored, settings.fit)
        runs[name] = _Run(home=folder, settings=settings, store=stores[alike], unseen=Texts(members).where(""))
    return runs


def _plain_sample(path: Path, scratch: Path, settings: Settings) -> bytes:
    """The sample, in whatever form ingest takes, as ingest hands it over."""
    folder = scratch / "sample"
    folder.mkdir()
    shutil.copy(path, folder)
    with open_archive(folder) as archive:
        found = read_tables(archive, encoding=settings.encoding, header=settings.header)
    if path.name not in found.tables:
        raise ValueError(f"{path} {found.unread.get(path.name, 'is no table that can be read here')}")
    table = found.tables[path.name]
    return plain_sample(path.read_bytes(), table.header, table.rows)


def _image_ids(sample: bytes, schema: Schema) -> list[str]:
    """The ids to predict, in the sample's order; a long submission's rows are taken apart."""
    header, rows = parse_table(sample)
    if tuple(header) != schema.submission.columns:
        raise ValueError(f"the sample has the columns {header}, the models were made for {schema.submission.columns}")
    row_ids = [row[header.index(schema.submission.id_column)] for row in rows]
    if schema.submission.kind != "long":
        return row_ids
    ends = [schema.submission.separator + suffix for suffix in schema.submission.suffixes]
    return list(dict.fromkeys(_without_end(row_id, ends) for row_id in row_ids))


def _without_end(row_id: str, ends: Sequence[str]) -> str:
    end = max((end for end in ends if row_id.endswith(end)), key=len, default="")
    if not end:
        raise ValueError(f"the sample's id {row_id!r} ends in none of the classes {list(ends)[:3]}")
    return row_id.removesuffix(end)


def _members(archive: Archive, image_ids: Sequence[str], known: Path) -> list[str]:
    """The image of each id: at the path that ingest found, else where ids like these lead to images.

    '' for those of which ingest saw none. Raises ValueError unless each other id has exactly one.
    """
    table = read_table(known, KNOWN_COLUMNS)
    path_of = dict(zip(*table.values(), strict=True))
    members = [path_of[name] if path_of.get(name, "") in archive else "" for name in image_ids]
    unseen = {name for name, path in path_of.items() if not path}
    if not all(member or name in unseen for name, member in zip(image_ids, members, strict=True)):
        asked = id_table("id", Texts(image_ids))
        index = ImageIndex(image_names(archive))
        matches = find_matches(asked, index, role="test")
        if matches:
            numbers = images_of(matches[0].template, asked, index)
            members = [index.names[number] if number >= 0 else "" for number in numbers.tolist()]
    odd = [image_id for image_id, member in zip(image_ids, members, strict=True) if not (member or image_id in unseen)]
    if odd:
        raise ValueError(
            f"{archive.path}: {len(odd)} of {len(image_ids)} ids of the sample have no image, or several, first "
            f"{odd[:3]}; give the folder or archive that holds the test images"
        )
    return members


def _decoded(archive: Archive, members: Sequence[str], path: Path, stored: StoreFormat, fit: str) -> np.ndarray:
    report = write_store(path, members, archive.read, size=stored.size, fit=fit, bits=stored.bits, title="test images")
    if report.failures:
        row, reason = report.failures[0]
        raise ValueError(
            f"{len(report.failures)} of {len(members)} images cannot be read, first {members[row]}: {reason}; put "
            "sound copies in their place"
        )
    return np.load(path, mmap_mode="c", allow_pickle=False)


def _predictions(run: _Run, image_ids: Sequence[str], scratch: Path, *, device: str) -> dict[str, Path]:
    """Fold -> its probabilities, as infer writes them."""
    home, settings, where = run.home, run.settings, device_named(device)
    pixels = store_tensor(run.store, where)
    files, features = {}, None
    for fold in settings.folds:
        model, card = read_checkpoint(home / "models" / f"{fold}.safetensors", home / "models" / f"{fold}.json")
        if isinstance(model, OnFeatures):
            if features is None:
                features = features_of(
                    pixels, card, home / WEIGHTS, home / WEIGHTS_CARD, scratch, device=where,
                    precision=settings.precision,
                )  # fmt: skip
            probs = predict_features(model, card, features, run.unseen)
        else:
            probs, _ = predict_store(
                model, card, pixels, run.unseen, batch_size=settings.batch_size, device=where,
                precision=settings.precision,
            )  # fmt: skip
        files[fold] = scratch / f"{fold}.npz"
        write_arrays(files[fold], {"image_ids": np.array(image_ids), "probs": probs})
    return files
