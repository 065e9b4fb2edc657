"""Reads the test predictions of all folds and the sample submission. Writes the submission and its receipt.

Mean of the folds' probabilities, blended with the members' as evaluate chose, the decision that evaluate chose (argmax,
unless the metric gains by another), the organiser's spelling, the sample's rows; refused unless the contract holds. A
copy stays under submissions/archive, named by its content: a later run overwrites nothing.
"""

import argparse
import hashlib
import itertools
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline.base import console
from pipeline.base.files import fold_files, json_bytes, made_by, read_json, sha256_of, write_bytes, write_json
from pipeline.base.params import BlendParams, load_folds, load_params, load_section
from pipeline.competition.schema import Schema, read_schema, read_test_ids, read_unseen
from pipeline.scoring.blend import Blend, read_blend
from pipeline.scoring.fold_predictions import read_oof_counts, written_submission
from pipeline.scoring.members import blended_test, images_digest, leaks, read_card, refuse_other_images, seen_by
from pipeline.submission.answers import predicted_counts
from pipeline.submission.contract import check_submission, parse_table, refuse


def main(argv: Sequence[str] | None = None) -> None:
    """Command line of the stage; the paths come from dvc.yaml."""
    parser = argparse.ArgumentParser(prog="python -m pipeline.stages.submit", description=__doc__)
    parser.add_argument(
        "--params", type=Path, required=True, help="params.yaml (sections folds, blend; all to the receipt)"
    )
    parser.add_argument("--schema", type=Path, required=True, help="JSON from ingest")
    parser.add_argument("--test-table", type=Path, required=True, help="CSV of images to predict")
    parser.add_argument("--test-list", type=Path, required=True, help="CSV from ingest: fingerprints of the images")
    parser.add_argument("--seen", type=Path, required=True, help="CSV from decode_test: what is not to be seen")
    parser.add_argument("--sample", type=Path, required=True, help="the organiser's sample submission")
    parser.add_argument("--test", type=Path, required=True, help="folder of test predictions, a file a fold")
    parser.add_argument("--members", type=Path, required=True, help="folder of the members of a blend, one each")
    parser.add_argument("--cards", type=Path, required=True, help="folder of the folds' models: how they were trained")
    parser.add_argument("--scores", type=Path, required=True, help="JSON from evaluate: those for the receipt")
    parser.add_argument("--blend", type=Path, required=True, help="JSON from evaluate: how the members are mixed")
    parser.add_argument("--decision", type=Path, required=True, help="JSON from evaluate: how labels are decided")
    parser.add_argument("--per-class", type=Path, required=True, help="CSV from evaluate: what to expect")
    parser.add_argument("--lock", type=Path, required=True, help="dvc.lock, whose sha256 goes to the receipt")
    parser.add_argument("--archive", type=Path, required=True, help="folder that keeps a copy of every submission")
    parser.add_argument("--out", type=Path, required=True, help="CSV to write")
    parser.add_argument("--receipt", type=Path, required=True, help="JSON to write")
    args = parser.parse_args(argv)
    folds = load_folds(args.params)
    schema = read_schema(args.schema)
    image_ids = read_test_ids(args.test_table)
    unseen = read_unseen(args.seen, len(image_ids), args.test_table)

    files = fold_files(args.test, ".npz", folds)
    members = load_section(args.params, "blend", BlendParams).members
    blend, doubts = read_blend(args.blend, members)
    here = images_digest(args.test_table, args.test_list) if members else ""
    for member in members:
        refuse_other_images(member, seen_by(args.members, member), here)
    probs = blended_test(files, args.members, blend, image_ids, schema.target)
    leaky = leaks(files, args.members, doubts, image_ids, unseen, schema.target)
    content, answers = written_submission(probs, image_ids, asked=schema, sample=args.sample, decision=args.decision)
    known = {"oof_counts": read_oof_counts(args.per_class), "unseen": image_ids.take(unseen)}
    findings = check_submission(content, args.sample.read_bytes(), schema, **known)
    refuse(findings, str(args.out))

    warnings = [*map(str, findings), *(f"WARN  {sentence}" for sentence in leaky)]
    receipt = _receipt(args, content, schema, predicted_counts(answers, schema.target), warnings)
    receipt |= {"predicted_by_prior": list(known["unseen"]), "threads": _threads(args.cards, folds)}
    if members:
        receipt["blend"] = _members(blend, args.members)
    name = hashlib.sha256(content).hexdigest()[:12]
    write_bytes(args.archive / f"{name}.csv", content)
    _keep_receipt(args.archive, name, receipt)
    write_bytes(args.out, content)
    write_json(args.receipt, receipt)
    for warning in warnings:
        console.say(warning)
    console.say(f"{args.out}: {len(image_ids):,} rows, passed the contract; copy in {args.archive / name}.csv")


def _keep_receipt(archive: Path, name: str, receipt: dict[str, Any]) -> None:
    """Write NAME.json; that of another run with the same file stays, as NAME.1.json and so on."""
    path = archive / f"{name}.json"
    if path.is_file() and path.read_bytes() != json_bytes(receipt):
        numbers = itertools.count(1)
        path.rename(next(kept for kept in (archive / f"{name}.{n}.json" for n in numbers) if not kept.exists()))
    write_json(path, receipt)


def _threads(cards: Path, folds: Sequence[str]) -> dict[str, int]:
    """Fold -> the number of threads that it was trained with."""
    found = {}
    for fold, path in fold_files(cards, ".json", folds).items():
        with made_by(f"-s train@{fold}", path):
            found[fold] = read_json(path)["threads"]
    return found


def _members(blend: Blend, folder: Path) -> dict[str, Any]:
    """What went into the blend: of this run its weight, of each member its card as well."""
    cards = {name: read_card(folder, name) for name in blend.weights if (folder / name).is_dir()}
    weights = {name: {"weight": weight, **cards.get(name, {})} for name, weight in blend.weights.items()}
    return {"how": blend.how, "members": weights}


def _receipt(
    args: argparse.Namespace, content: bytes, schema: Schema, counts: dict[str, int], warnings: list[str]
) -> dict[str, Any]:
    with made_by("-s evaluate", args.scores):
        scores = read_json(args.scores)
    return {
        "sha256": hashlib.sha256(content).hexdigest(),
        "rows": len(parse_table(content, schema.submission)[1]),
        "labels": counts,
        "metric": schema.metric,
        "oof": scores["oof"],
        "folds": {name: scores["folds"][name] for name in ("score_mean", "score_standard_error")},
        "warnings": warnings,
        "git_commit": _git("rev-parse", "HEAD"),
        "git_clean": _git("status", "--porcelain", "--untracked-files=no") == "",
        "dvc_lock_sha256": sha256_of(args.lock) if args.lock.is_file() else None,
        "params": load_params(args.params),
    }


def _git(*words: str) -> str | None:
    """git's answer, None where there is no git or no commit."""
    try:
        done = subprocess.run(["git", *words], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


if __name__ == "__main__":
    console.run(main)
