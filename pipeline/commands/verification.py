"""A finished run checked from end to end; at the first damage, which stage to run again."""

import hashlib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.base.files import fold_files, made_by, md5_of, read_json, sha256_of
from pipeline.base.params import BlendParams, load_folds, load_section
from pipeline.commands.own_files import refuse_copies
from pipeline.competition.schema import read_dealt, read_schema, read_test_ids
from pipeline.competition.store import read_store
from pipeline.leaderboard.provenance import recorded_stages
from pipeline.leaderboard.restore import other_params, stale_inputs
from pipeline.scoring.blend import ALONE, OWN, choose_blend, read_blend
from pipeline.scoring.decision import choose_decision, read_decision
from pipeline.scoring.fold_predictions import gather_oof, written_submission
from pipeline.scoring.members import Common, blended_test, read_member_oof

NUM_SHOWN = 3
MADE = (  # by stages, one file each
    "target", "schema", "train_table", "corrections", "test_table", "sample", "train_images", "train_description",
    "test_images", "test_description", "folds", "blend", "decision", "submission", "receipt",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Places:
    """Where a run's files lie."""

    params: Path
    lock: Path
    metric: Path
    target: Path
    schema: Path
    train_table: Path
    corrections: Path
    test_table: Path
    sample: Path
    train_images: Path
    train_description: Path
    test_images: Path
    test_description: Path
    folds: Path
    models: Path
    oof: Path
    test: Path
    members: Path
    blend: Path
    decision: Path
    submission: Path
    receipt: Path


def verify_run(places: Places) -> Iterator[tuple[str, str]]:
    """(what was checked, what was found) one by one; at the first damage ValueError with the stage to run again."""
    refuse_copies(places.metric.parent)
    schema = read_schema(places.schema)
    target = schema.target
    folds = load_folds(places.params)
    dealt = read_dealt(places.train_table, places.folds, target, folds)
    test_ids = read_test_ids(places.test_table)
    yield "tables", f"{dealt.num_rows:,} labelled images, {len(test_ids):,} to predict"
    yield "train store", _store(places.train_images, places.train_description, dealt.num_rows, places.train_table)
    yield "test store", _store(places.test_images, places.test_description, len(test_ids), places.test_table)
    num_unread = dealt.num_rows - len(dealt.rows)
    unread = f", {num_unread:,} that cannot be read in none" if num_unread else ""
    yield "folds", f"each image in one of {len(folds)}{unread}"
    data = (places.target, places.train_table, places.corrections, places.folds, places.train_description)
    for fold in folds:
        check_weights(places.models, fold, data)
    yield "weights", f"{len(folds)} as their cards say, trained on these tables and folds"

    oof_files = fold_files(places.oof, ".npz", folds)
    oof = gather_oof(oof_files, dealt.fold_of, len(target.classes), exclusive=target.exclusive)
    yield "out of fold", f"{len(oof):,} predictions, each by the model that never saw the image"
    asked = load_section(places.params, "blend", BlendParams)
    blend, _ = read_blend(places.blend, asked.members)
    common = Common(target=target, fold_of=dealt.fold_of)
    members = {name: read_member_oof(places.members, name, common) for name in asked.members}
    chosen = choose_blend(dealt.truth, {OWN: oof, **members}, dealt.held_by, schema, asked.how)
    if blend != chosen.blend:
        raise ValueError(f"{places.blend} is not what the out-of-fold predictions give; run `dvc repro -f -s evaluate`")
    oof = chosen.oof
    if blend.how != ALONE:
        yield "blend", f"by {blend.how} of {len(blend.weights)}, as the out-of-fold predictions give it"
    test_files = fold_files(places.test, ".npz", folds)
    probs = blended_test(test_files, places.members, blend, test_ids, target)
    due, _ = written_submission(probs, test_ids, asked=schema, sample=places.sample, decision=places.decision)
    yield "test", f"{len(test_ids):,} images predicted by {len(folds)} models"

    if read_decision(places.decision) != choose_decision(dealt.truth, oof, target, schema.metric, dealt.held_by):
        raise ValueError(
            f"{places.decision} is not what the out-of-fold predictions give; run `dvc repro -f -s evaluate`"
        )
    yield "decision", "as the out-of-fold predictions give it"
    yield "submission", _submission(places, due)
    yield "DVC", _recorded(places, folds)


def _store(images: Path, description: Path, num_rows: int, table: Path) -> str:
    _, store = read_store(images, description, num_rows=num_rows, table=table)
    return f"{store.num_images:,} images of {store.size} px, sha256 as decode_{images.stem} noted it"


def check_weights(models: Path, fold: str, data: Sequence[Path]) -> None:
    """Raise ValueError unless the card of `fold` belongs to its weights, and to the `data` that is there now.

    data: target.json, train.csv, corrections.csv, folds.csv and the store's description, in this order.
    """
    stage, path, beside = f"-s train@{fold}", models / f"{fold}.safetensors", models / f"{fold}.json"
    with made_by(stage, beside):
        card = read_json(beside)
        if not isinstance(card, dict) or card.get("fold") != fold:
            raise ValueError(f"{beside} is not the card of fold {fold}")
    with made_by(stage, path):
        found = sha256_of(path)
        if found != card.get("weights_sha256"):
            raise ValueError(f"{path} has sha256 {found[:12]}…, not the one in its card")
        if sha256_of(*data) != card.get("data_fingerprint"):
            raise ValueError(
                f"{path} was trained on another target, train table, corrections, folds or store than are there now"
            )


def _submission(places: Places, due: bytes) -> str:
    """Whether the submission is `due`, and its receipt about it."""
    digest = hashlib.sha256(due).hexdigest()
    with made_by("-s submit", places.submission):
        if places.submission.read_bytes() != due:
            raise ValueError(f"{places.submission} is not what the stored probabilities give")
    with made_by("-s submit", places.receipt):
        receipt = read_json(places.receipt)
        if not isinstance(receipt, dict) or receipt.get("sha256") != digest:
            raise ValueError(f"{places.receipt} is not the receipt of {places.submission}")
    return f"{len(due):,} bytes, equal to what the stored probabilities give; sha256 {digest[:12]}…"


def _recorded(places: Places, folds: Sequence[str]) -> str:
    """Every output and parameter that DVC recorded, against what is there; what evaluate read of a metric's code, too.

    Whether the archive or the code were changed since is DVC's to say (`dvc status`).
    """
    lock, metric = places.lock, places.metric
    if not lock.is_file():
        return f"no {lock}: outputs are not compared with what DVC recorded"
    stages = recorded_stages(lock)
    outs = [(stage, out) for stage, entry in stages.items() for out in entry.get("outs", [])]
    of_metric = [dep for dep in stages.get("evaluate", {}).get("deps", []) if lock.parent / dep["path"] == metric]
    for dep in of_metric:
        if not metric.is_dir() or md5_of(metric) != dep["md5"]:
            raise ValueError(f"the code of the metric was edited since it scored ({metric}); run `dvc repro`")
    for stage, out in outs:
        path = lock.parent / out["path"]
        if not path.exists():
            raise ValueError(f"{path}, which {stage} made, is not there; run `dvc repro {stage}`")
        if md5_of(path) != out["md5"]:
            if stage == "ingest" and path.is_dir():
                raise ValueError(f"your own file was edited since ingest read it ({path}); run `dvc repro`")
            raise ValueError(f"{path} was altered since {stage} made it; run `dvc repro -f -s {stage}`")
    _refuse_unrecorded(places, folds, {(lock.parent / out["path"]).resolve() for _, out in outs})
    others = other_params(stages, lock.parent)
    if others:
        raise ValueError(f"the run is of other parameters: {others[0]}, {len(others)} in all; run `dvc repro`")
    stale = stale_inputs(stages, lock.parent)
    if stale:
        raise ValueError(f"not all of this is of one run: {stale[0]}, {len(stale)} in all; run `dvc repro`")
    return f"{len(outs)} outputs as DVC recorded them, of these parameters"


def _refuse_unrecorded(places: Places, folds: Sequence[str], recorded: Collection[Path]) -> None:
    """Raise ValueError where dvc.lock lacks files that were looked at here, as a merge of it may leave it."""
    by_fold = [places.models / f"{fold}{suffix}" for fold in folds for suffix in (".safetensors", ".json")]
    by_fold += [folder / f"{fold}.npz" for folder in (places.oof, places.test) for fold in folds]
    looked_at = [*(getattr(places, name) for name in MADE), *by_fold]
    unknown = [str(path) for path in looked_at if path.resolve() not in recorded]
    if unknown:
        raise ValueError(
            f"{places.lock} does not record {len(unknown)} of {len(looked_at)} files of the run, first "
            f"{unknown[:NUM_SHOWN]}: whether they were altered cannot be known; run `dvc repro`"
        )
