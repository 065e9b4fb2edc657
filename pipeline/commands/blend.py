"""Add past runs to this one's submission, list them, remove them."""

import argparse
import contextlib
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.base import console
from pipeline.base.files import fold_files, write_bytes
from pipeline.base.params import MEMBER_NAME, BlendParams, load_folds, load_section
from pipeline.base.yamls import rewritten
from pipeline.commands import places
from pipeline.commands.member_source import NEEDED, run_files
from pipeline.competition.schema import Dealt, Schema, read_dealt, read_schema, read_test_ids, read_unseen
from pipeline.scoring.blend import OWN, fold_scores, gain
from pipeline.scoring.fold_predictions import gather_oof
from pipeline.scoring.leak import compared, doubt, leak, mean_doubt
from pipeline.scoring.members import (
    Common,
    Member,
    images_digest,
    read_card,
    read_member_oof,
    read_member_test,
    read_run,
    refuse_other_images,
    seen_by,
    write_member,
)
from pipeline.scoring.metrics import mean_and_standard_error


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Command line."""
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    add = actions.add_parser("add", help="check a past run's probabilities and take them in; `dvc repro` blends them")
    add.add_argument("name", help="what the member shall be called: letters, digits, - and _")
    add.add_argument("source", help="git revision, DVC experiment, or folder laid out as a project of ours")
    add.add_argument("--anyway", action="store_true", help="even if it seems to have seen what it should have held out")
    add.set_defaults(action=_add)
    remove = actions.add_parser("remove", help="take a member out; its files go, DVC's cache keeps them")
    remove.add_argument("name")
    remove.set_defaults(action=_remove)
    listing = actions.add_parser("list", help="each member's score, what it is surer of, and where it comes from")
    listing.set_defaults(action=_list)
    for action in (add, remove, listing):
        places.add_path(action, "--params", places.PARAMS)
        for name in ("members", "schema", "train_table", "folds", "test_table", "oof", "test"):
            places.add_path(action, f"--{name.replace('_', '-')}", places.RUN[name])
        places.add_path(action, "--seen", places.SEEN, "from decode_test")


def run(args: argparse.Namespace) -> None:
    """Do what the action says."""
    if not args.params.is_file():
        raise ValueError(f"{args.params} is not there; run this in the project's folder, or name it with --params")
    args.action(args)


@dataclass(frozen=True, kw_only=True)
class _Run:
    """This run: what every member must be about, and its own probabilities where they are there."""

    schema: Schema
    dealt: Dealt
    common: Common
    oof: np.ndarray | None  # (N, C)
    test_doubt: np.ndarray | None  # (T,): the mean over folds of single models' doubts
    seen: np.ndarray  # (T,) bool: the test images of which something is to be seen


def _this_run(args: argparse.Namespace) -> _Run:
    schema, folds = read_schema(args.schema), load_folds(args.params)
    target = schema.target
    dealt = read_dealt(args.train_table, args.folds, target, folds)
    test_ids = list(read_test_ids(args.test_table))
    oof = test_doubt = None
    seen = np.ones(len(test_ids), dtype=bool)
    with contextlib.suppress(ValueError, OSError):  # not trained yet, or not wholly: members can be added before
        oof = gather_oof(
            fold_files(args.oof, ".npz", folds), dealt.fold_of, len(target.classes), exclusive=target.exclusive
        )
    with contextlib.suppress(ValueError, OSError):
        seen = ~read_unseen(args.seen, len(test_ids), args.test_table)
        files = fold_files(args.test, ".npz", folds)
        test_doubt = mean_doubt(files, len(target.classes), exclusive=target.exclusive)
        if len(test_doubt) != len(test_ids):
            test_doubt = None
    common = Common(target=target, fold_of=dealt.fold_of, test_ids=test_ids)
    return _Run(schema=schema, dealt=dealt, common=common, oof=oof, test_doubt=test_doubt, seen=seen)


def _add(args: argparse.Namespace) -> None:
    """Everything is checked before the first byte is written; params.yaml names the member last."""
    asked = load_section(args.params, "blend", BlendParams)
    _refuse_name(args.name, asked.members)
    this = _this_run(args)
    with run_files(args.source, _root(args.params), (*NEEDED, places.RUN["test_table"], places.TEST_LIST)) as found:
        paths = {key: found.path(key) for key in ("target", "folds", "oof", "test")}
        member = read_run(args.name, **paths, common=this.common)
        suspicion = _suspicion(args.name, member.oof, member.test_doubt, this)
        if suspicion and not args.anyway:
            raise ValueError(f"{suspicion}; leave it out, or add it with --anyway")
        seen = images_digest(found.path("test_table"), found.folder / places.TEST_LIST)
        refuse_other_images(args.name, seen, images_digest(args.test_table, places.TEST_LIST))
        about = {"source": found.about, "revision": found.revision, "test_images": seen}
        _write(args, member, about, this)
    _name_members(args.params, [*asked.members, args.name])
    if suspicion:
        console.say(f"warning: {suspicion}")
    for line in _score_lines(args.name, member.oof, this):
        console.say(line)
    if this.oof is not None and np.array_equal(this.oof, member.oof):
        console.say(f"{args.name} predicts exactly what {OWN} does: a blend gains once the run is another")
    if this.oof is None or this.test_doubt is None:
        console.say(
            "whether it has seen what it should have held out is looked at by `dvc repro`, with this run's models"
        )
    console.say(
        f"{args.members / args.name}: from {found.about}; next: dvc repro, and git add {args.members} {args.params}"
    )


def _refuse_name(name: str, members: Sequence[str]) -> None:
    if not re.fullmatch(MEMBER_NAME, name):
        raise ValueError(f"{name!r} is no name for a member; take letters, digits, - and _")
    if name in members:
        raise ValueError(
            f"blend.members names {name} already; take another name, or first `python -m pipeline blend remove {name}`"
        )


def _write(args: argparse.Namespace, member: Member, about: Mapping[str, Any], this: _Run) -> None:
    """The member's folder, whole, and told to DVC; nothing of it is left where that fails."""
    folder = args.members / args.name
    part = folder.with_name(f"{args.name}.part")
    shutil.rmtree(part, ignore_errors=True)  # of one that was killed
    try:
        part.mkdir(parents=True)
        write_member(part, member, this.common, about)
        shutil.rmtree(folder, ignore_errors=True)  # params.yaml does not name it
        part.replace(folder)
        _dvc(args.params, "add", "--quiet", str(folder.resolve()))
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _remove(args: argparse.Namespace) -> None:
    asked = load_section(args.params, "blend", BlendParams)
    folder = args.members / args.name
    note = folder.with_name(f"{args.name}.dvc")
    if args.name not in asked.members and not folder.is_dir() and not note.is_file():
        raise ValueError(f"there is no member {args.name}; blend.members names {list(asked.members)}")
    _name_members(args.params, [name for name in asked.members if name != args.name])
    if note.is_file():
        _dvc(args.params, "remove", "--quiet", str(note.resolve()))
    shutil.rmtree(folder, ignore_errors=True)
    console.say(f"{args.name} is no member any more; next: dvc repro, and git add {args.members} {args.params}")


def _list(args: argparse.Namespace) -> None:
    """Each member against this run; one that does not fit any more is named with its reason, and the exit code is 2."""
    asked = load_section(args.params, "blend", BlendParams)
    if not asked.members:
        console.say("no members; python -m pipeline blend add NAME SOURCE")
        return
    this = _this_run(args)
    if this.oof is not None:
        console.say(f"{OWN}: {_score(this.oof, this)}")
    wrong, here = [], images_digest(args.test_table, places.TEST_LIST)
    for name in asked.members:
        try:
            refuse_other_images(name, seen_by(args.members, name), here)
            oof = read_member_oof(args.members, name, this.common)
            _, test_doubt = read_member_test(args.members, name, this.common.test_ids, this.common.target)
        except ValueError as error:
            wrong.append(str(error))
            continue
        for line in _score_lines(name, oof, this):
            console.say(line)
        console.say(f"  from {read_card(args.members, name).get('source')}")
        suspicion = _suspicion(name, oof, test_doubt, this)
        if suspicion:
            console.say(f"  warning: {suspicion}")
    if wrong:
        raise ValueError("\n".join(wrong))


def _suspicion(name: str, oof: np.ndarray, test_doubt: np.ndarray, this: _Run) -> str | None:
    """See `leak`; None where this run has no models yet to compare with."""
    if this.oof is None or this.test_doubt is None or not this.seen.any():
        return None
    exclusive = this.common.target.exclusive
    held_out = compared(doubt(this.oof, exclusive=exclusive), doubt(oof, exclusive=exclusive))
    return leak(name, held_out, compared(this.test_doubt[this.seen], test_doubt[this.seen]))


def _score_lines(name: str, oof: np.ndarray, this: _Run) -> list[str]:
    lines = [f"{name}: {_score(oof, this)}"]
    if this.oof is not None:
        truth, held_by = this.dealt.truth, this.dealt.held_by
        theirs, ours = (fold_scores(truth, probs, held_by, this.schema) for probs in (oof, this.oof))
        better, error = gain(theirs, ours, this.schema)
        lines.append(f"  better than {OWN} by {better:+.4f} ± {error:.4f}, fold by fold")
    return lines


def _score(oof: np.ndarray, this: _Run) -> str:
    mean, error = mean_and_standard_error(fold_scores(this.dealt.truth, oof, this.dealt.held_by, this.schema).tolist())
    return f"{this.schema.metric} over folds {mean:.4f} ± {error:.4f} (mean ± standard error)"


def _name_members(params: Path, members: Sequence[str]) -> None:
    text = params.read_text(encoding="utf-8")
    write_bytes(params, rewritten(text, {"blend": {"members": list(members)}}).encode())


def _root(params: Path) -> Path:
    return params.resolve().parent


def _dvc(params: Path, *words: str) -> None:
    """DVC of this interpreter, in the project."""
    done = subprocess.run([sys.executable, "-m", "dvc", *words], cwd=_root(params), capture_output=True, text=True)
    if done.returncode:
        raise ValueError(f"`dvc {' '.join(words)}` failed: {(done.stderr or done.stdout).strip()}")
