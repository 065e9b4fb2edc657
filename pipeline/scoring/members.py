"""Members of a blend: past runs' probabilities for the same images, folds and classes, in a folder for each.

oof.npz and test.npz hold the probabilities, card.json says where they come from. `pipeline.commands.blend` writes them
once; evaluate, submit and verify read them, and refuse what is no longer about the same images, folds or classes.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.base.files import fold_files, read_arrays, read_json, read_table, sha256_of, write_arrays, write_json
from pipeline.competition.schema import FOLDS_COLUMNS, Target, read_images, read_target, read_test_ids
from pipeline.scoring.blend import OWN, Blend, mixed
from pipeline.scoring.fold_predictions import ensemble, read_predictions
from pipeline.scoring.leak import Doubts, compared, doubt, leak, mean_doubt

OOF, TEST, CARD = "oof.npz", "test.npz", "card.json"
NUM_SHOWN = 3
COMMAND = "python -m pipeline blend"


@dataclass(frozen=True, kw_only=True)
class Common:
    """What every member must be about."""

    target: Target
    fold_of: Mapping[str, str]  # training image -> the fold that holds it out, in the order of the train table
    test_ids: Sequence[str] = ()  # in the order of the test table; needed where test predictions are read


@dataclass(frozen=True, kw_only=True)
class Member:
    """A run's probabilities, in the order of `Common`."""

    oof: np.ndarray  # (N, C) float32
    test: np.ndarray  # (T, C) float64: the mean over folds
    test_doubt: np.ndarray  # (T,) float64: the mean over folds of single models' doubts (`pipeline.scoring.leak`)


def read_run(name: str, *, target: Path, folds: Path, oof: Path, test: Path, common: Common) -> Member:
    """The probabilities that a finished run left behind, in any order of images.

    target: its target.json; folds: its folds.csv, which may be missing; oof, test: folders with a file a fold. Raises
    ValueError unless it is about the same classes in the same order, the same folds image by image, and the same test
    images, each with probabilities.
    """
    held_out = read_run_oof(name, target=target, folds=folds, oof=oof, common=common)
    _refuse_missing(name, test)
    files = _files_of(name, test, sorted(set(common.fold_of.values())))
    test_ids, test_probs = _mean(name, files, common.target)
    order = _order_of(name, test_ids, common.test_ids)
    doubts = mean_doubt(files, len(common.target.classes), exclusive=common.target.exclusive)
    return Member(oof=held_out, test=test_probs[order], test_doubt=doubts[order])


def read_run_oof(name: str, *, target: Path, folds: Path, oof: Path, common: Common) -> np.ndarray:
    """(N, C) float32 in the order of `common.fold_of`: what a run predicted out of fold; as `read_run`."""
    _refuse_missing(name, target, oof)
    refuse_other_classes(name, read_target(target), common.target)
    files = _files_of(name, oof, sorted(set(common.fold_of.values())))
    found_folds, probs = _held_out(name, files, common.target)
    refuse_other_folds(name, found_folds, common.fold_of)
    if folds.is_file():
        refuse_other_folds(name, dict(_folds_of(folds)), common.fold_of)
    row_of = {image_id: row for row, image_id in enumerate(found_folds)}
    return probs[[row_of[image_id] for image_id in common.fold_of]]


def _refuse_missing(name: str, *paths: Path) -> None:
    missing = [path for path in paths if not path.exists()]
    if missing:
        raise ValueError(
            f"member {name}: {missing[0]} is not there; a run has a target.json, and a file a fold of both"
        )


def write_member(folder: Path, member: Member, common: Common, about: Mapping[str, Any]) -> None:
    """Write a member's files into `folder`, the card last. about: what the card shall say beside."""
    fold_of, target = common.fold_of, common.target
    ids, folds = np.array(list(fold_of)), np.array(list(fold_of.values()))
    write_arrays(folder / OOF, {"image_ids": ids, "folds": folds, "probs": member.oof})
    test = {"image_ids": np.array(list(common.test_ids)), "probs": member.test, "doubt": member.test_doubt}
    write_arrays(folder / TEST, test)
    digests = {"oof_sha256": sha256_of(folder / OOF), "test_sha256": sha256_of(folder / TEST)}
    kind = {"exclusive": target.exclusive, "classes": list(target.classes)}
    write_json(folder / CARD, {**about, **kind, **digests})


def read_card(members: Path, name: str) -> dict[str, Any]:
    """A member's card. Raises ValueError where it is not there, with what to do."""
    path = members / name / CARD
    if not path.is_file():
        raise ValueError(
            f"{path} is not there, and blend.members of params.yaml names {name}; `dvc checkout {members / name}.dvc` "
            f"(or `dvc pull`) brings it back, or `{COMMAND} remove {name}` takes the name out"
        )
    card = read_json(path)
    if not isinstance(card, dict) or not {"exclusive", "classes", "oof_sha256", "test_sha256"} <= set(card):
        raise ValueError(f"{path} is not a member's card; `dvc checkout --force {members / name}.dvc`")
    return card


def seen_by(members: Path, name: str) -> str:
    """What `images_digest` said when the member was added; '' where nothing was known."""
    return str(read_card(members, name).get("test_images", ""))


def read_member_oof(members: Path, name: str, common: Common) -> np.ndarray:
    """(N, C) float32 in the order of `common.fold_of`. Raises ValueError unless it is about these folds and classes."""
    arrays = _read(members, name, OOF, ("image_ids", "folds", "probs"), common.target)
    ids = arrays["image_ids"].tolist()
    refuse_other_folds(name, dict(zip(ids, arrays["folds"].tolist(), strict=True)), common.fold_of)
    if ids == list(common.fold_of):
        return arrays["probs"]
    row_of = {image_id: row for row, image_id in enumerate(ids)}
    return np.asarray(arrays["probs"][[row_of[image_id] for image_id in common.fold_of]])


def read_member_test(
    members: Path, name: str, test_ids: Sequence[str], target: Target
) -> tuple[np.ndarray, np.ndarray]:
    """((T, C) float64 probabilities, (T,) float64 doubts), in the order of `test_ids`; raises as `read_member_oof`."""
    arrays = _read(members, name, TEST, ("image_ids", "probs", "doubt"), target)
    order = _order_of(name, arrays["image_ids"].tolist(), test_ids)
    return arrays["probs"][order], arrays["doubt"][order]


def blended_test(
    files: Mapping[str, Path], members: Path, blend: Blend, image_ids: Sequence[str], target: Target
) -> np.ndarray:
    """(T, C) float64: what this run's files, fold -> path, and the members say of the test images, mixed.

    Raises ValueError as `ensemble` and `read_member_test` do.
    """
    probs_of = {OWN: ensemble(files, image_ids, len(target.classes), exclusive=target.exclusive)}
    for name in blend.weights:
        if name != OWN:
            probs_of[name] = read_member_test(members, name, image_ids, target)[0]
    return mixed(blend, probs_of, exclusive=target.exclusive)


def doubts_out_of_fold(probs_of: Mapping[str, np.ndarray], target: Target) -> dict[str, Doubts]:
    """Member -> its doubts about the held-out images beside this run's. probs_of: as of `choose_blend`."""
    own = doubt(probs_of[OWN], exclusive=target.exclusive)
    others = {name: probs for name, probs in probs_of.items() if name != OWN}
    return {name: compared(own, doubt(probs, exclusive=target.exclusive)) for name, probs in others.items()}


def leaks(
    files: Mapping[str, Path],
    members: Path,
    held_out: Mapping[str, Doubts],
    image_ids: Sequence[str],
    unseen: np.ndarray,
    target: Target,
) -> list[str]:
    """What speaks against members that seem to have seen what they should have held out; empty for honest ones.

    files: fold -> this run's predictions of the test images; held_out: of `doubts_out_of_fold`; unseen (T,) bool: test
    images of which nothing was to be seen, about which no model can be sure.
    """
    if not held_out or unseen.all():
        return []
    own = mean_doubt(files, len(target.classes), exclusive=target.exclusive)[~unseen]
    sentences = []
    for name, found in held_out.items():
        _, member = read_member_test(members, name, image_ids, target)
        sentences.append(leak(name, found, compared(own, member[~unseen])))
    return [sentence for sentence in sentences if sentence is not None]


def refuse_another_run(name: str, test: Path, members: Path, folds: Sequence[str], target: Target) -> None:
    """Raise ValueError unless the files in `test`, one of each fold, predict what the member did when it was added."""
    image_ids, probs = _mean(name, _files_of(name, test, sorted(folds)), target)
    kept, _ = read_member_test(members, name, image_ids, target)
    num_other = int((probs != kept).any(axis=1).sum())
    if num_other:
        raise ValueError(
            f"{test} predicts {num_other} of {len(probs)} test images otherwise than when the member was added: that "
            f"run is another now; `{COMMAND} remove {name}` and add it again"
        )


def images_digest(table: Path, images: Path) -> str:
    """Which test images a run predicts: a digest of each id with its file's fingerprint, whatever their order.

    table, images: test.csv and test_images.csv of ingest; '' where they are not there, as of a folder made elsewhere.
    """
    if not (table.is_file() and images.is_file()):
        return ""
    fingerprints = read_images(images)[1]
    listed = sorted(zip(read_test_ids(table), fingerprints, strict=True))
    kind = "zip" if any("-" in fingerprint for fingerprint in fingerprints) else "bytes"  # as the archive tells them
    return f"{kind}:{hashlib.sha256(repr(listed).encode()).hexdigest()}"


def refuse_other_images(name: str, there: str, here: str) -> None:
    """Raise ValueError where a member predicted other test images under the same ids than are here.

    there, here: of `images_digest`; what a zip and a folder say of their files cannot be compared, and passes.
    """
    if there != here and there.partition(":")[0] == here.partition(":")[0]:
        raise ValueError(
            f"member {name} predicted other test images under the same ids: the organiser's files have changed since; "
            f"infer it on these and add it again, or `{COMMAND} remove {name}`"
        )


def refuse_other_classes(name: str, found: Target, asked: Target) -> None:
    """Raise ValueError unless both have the same classes in the same order, exclusive in both or in none."""
    there, here = found.classes, asked.classes
    remedy = "probabilities of other classes cannot be blended; take another run"
    if set(there) != set(here):
        strange, missing = sorted(set(there) - set(here)), sorted(set(here) - set(there))
        raise ValueError(
            f"member {name} has {len(there)} classes, this competition {len(here)}: {len(strange)} are not here "
            f"{strange[:NUM_SHOWN]}, {len(missing)} are missing there {missing[:NUM_SHOWN]}; {remedy}"
        )
    if there != here:
        odd = [at for at, pair in enumerate(zip(there, here, strict=True)) if pair[0] != pair[1]]
        raise ValueError(
            f"member {name} has its {len(here)} classes in another order: {len(odd)} columns differ, first column "
            f"{odd[0]}: {there[odd[0]]!r} there, {here[odd[0]]!r} here; put its columns and target.json in this order"
        )
    if found.exclusive != asked.exclusive:
        words = {True: "exactly one label an image", False: "any number of labels an image"}
        raise ValueError(
            f"member {name} predicts {words[found.exclusive]}, this competition asks for {words[asked.exclusive]}; "
            "take another run"
        )


def refuse_other_folds(name: str, found: Mapping[str, str], asked: Mapping[str, str]) -> None:
    """Raise ValueError unless both say the same fold for the same images. found, asked: image id -> fold."""
    strange, missing = (
        [image for image in found if image not in asked],
        [image for image in asked if image not in found],
    )
    if strange or missing:
        raise ValueError(
            f"member {name} held out {len(found)} images, this run {len(asked)}: {len(missing)} are missing there"
            f" {missing[:NUM_SHOWN]}, {len(strange)} are not here {strange[:NUM_SHOWN]}; train it on these images"
        )
    odd = [image for image, fold in asked.items() if found[image] != fold]
    if odd:
        first = ", ".join(f"{image} (fold {found[image]} there, {asked[image]} here)" for image in odd[:NUM_SHOWN])
        raise ValueError(
            f"member {name} was trained on other folds: {len(odd)} of {len(asked)} images are held out by another "
            f"fold, first {first}; its predictions of them come from models that saw what this run holds out; train it "
            "again on these folds (data/folds.csv; `split` deals them, otherwise where another images.side finds other "
            "near-copies: docs/blend.md), or leave it out"
        )


def _files_of(name: str, folder: Path, folds: Sequence[str]) -> dict[str, Path]:
    try:
        return fold_files(folder, ".npz", folds)
    except ValueError:
        there = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
        raise ValueError(
            f"member {name} was trained on other folds: {folder} has the files {there[:10]}, this run's folds are "
            f"{', '.join(folds)}, which need {folds[0]}.npz to {folds[-1]}.npz; train it again on these folds"
        ) from None


def _held_out(name: str, files: Mapping[str, Path], target: Target) -> tuple[dict[str, str], np.ndarray]:
    """(image id -> the fold whose file has it, (N, C) float32 in that order)."""
    fold_of: dict[str, str] = {}
    parts = []
    for fold, path in files.items():
        image_ids, probs = _probabilities(name, path, target)
        again = [image_id for image_id in image_ids if image_id in fold_of]
        fold_of |= dict.fromkeys(image_ids, fold)
        if again or len(set(image_ids)) < len(image_ids):
            raise ValueError(
                f"member {name}: {path} has images that are in it twice or in another fold's file, first "
                f"{again[:NUM_SHOWN]}; each must be held out once"
            )
        parts.append(probs)
    return fold_of, np.concatenate(parts)


def _mean(name: str, files: Mapping[str, Path], target: Target) -> tuple[list[str], np.ndarray]:
    """(test image ids, (T, C) float64), added up as `ensemble` does: the same bits for a run of ours."""
    ids: list[str] = []
    total = np.zeros((0, 0))
    for path in files.values():
        found, probs = _probabilities(name, path, target)
        if not ids:
            ids, total = found, np.zeros(probs.shape)
        if found != ids:
            raise ValueError(
                f"member {name}: {path} predicts {len(found)} images, {next(iter(files.values()))} {len(ids)}, not the "
                "same in the same order; infer its test images again"
            )
        total += probs
    return ids, total / len(files)


def _probabilities(name: str, path: Path, target: Target) -> tuple[list[str], np.ndarray]:
    try:
        return read_predictions(path, len(target.classes), exclusive=target.exclusive)
    except ValueError as error:
        sums = " and sum to 1 in a row" if target.exclusive else ""
        raise ValueError(
            f"member {name}: {error}; probabilities must be numbers from 0 to 1{sums}: write that file again"
        ) from error


def _folds_of(path: Path) -> list[tuple[str, str]]:
    table = read_table(path, FOLDS_COLUMNS)
    return [(image_id, fold) for image_id, fold in zip(*table.values(), strict=True) if fold]


def _order_of(name: str, found: Sequence[str], asked: Sequence[str]) -> np.ndarray:
    """(T,) int64: the row in `found` of each of `asked`. Raises ValueError unless they are the same images."""
    row_of = {image_id: row for row, image_id in enumerate(found)}
    missing = [image_id for image_id in asked if image_id not in row_of]
    strange = sorted(set(found) - set(asked))
    if missing or strange or len(found) != len(asked):
        raise ValueError(
            f"member {name} predicts {len(found)} test images, the test table has {len(asked)}: {len(missing)} are "
            f"missing there {missing[:NUM_SHOWN]}, {len(strange)} are not here {strange[:NUM_SHOWN]}; infer it on these"
        )
    return np.array([row_of[image_id] for image_id in asked], dtype=np.int64)


def _read(members: Path, name: str, file: str, arrays: Sequence[str], target: Target) -> dict[str, np.ndarray]:
    """The arrays of a member's file, which must be the one that its card is about."""
    card, path = read_card(members, name), members / name / file
    exclusive = "single_label" if card["exclusive"] else "multi_label"
    refuse_other_classes(name, Target(kind=exclusive, columns=(), classes=tuple(card["classes"])), target)
    found = sha256_of(path) if path.is_file() else "missing"
    due = card[f"{file.partition('.')[0]}_sha256"]
    if found != due:
        raise ValueError(
            f"{path} was altered or damaged since `blend add` wrote it: its sha256 is {found[:12]}, the card says "
            f"{due[:12]}; `dvc checkout --force {members / name}.dvc`, or `{COMMAND} remove {name}` and add it again"
        )
    return read_arrays(path, arrays)
