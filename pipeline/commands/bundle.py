"""Pack one zip that makes the submission again, offline."""

import argparse
import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path

from pipeline.base import console
from pipeline.base.files import fold_files
from pipeline.base.params import BlendParams, CompetitionParams, load_folds, load_section
from pipeline.bundle.bundle import Packed, Run, packed, verify_bundle, write_bundle
from pipeline.commands import places
from pipeline.commands.member_source import NEEDED, run_files, source_again
from pipeline.competition.schema import Target, read_schema
from pipeline.leaderboard.sites._kernel import (
    TIME_LIMIT_S,
    Kernel,
    by_hand,
    default_name,
    organisers_sample_name,
    write_kernel,
)
from pipeline.leaderboard.sites._rehearsal import verify_kernel
from pipeline.scoring.blend import OWN, read_blend
from pipeline.scoring.members import read_card, refuse_another_run

KNOWN = places.RUN["test_table"], places.TEST_LIST, places.SEEN
RECOGNISED = places.REPORTED.recognised


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Command line."""
    places.add_path(parser, "--out", places.BUNDLE)
    places.add_path(parser, "--params", places.PARAMS)
    places.add_path(parser, "--models", places.MODELS)
    places.add_path(parser, "--competition", places.COMPETITION)
    places.add_path(parser, "--format", places.FORMAT)
    places.add_path(parser, "--seen", places.SEEN, "from decode_test")
    places.add_path(parser, "--decision", places.RUN["decision"])
    places.add_path(parser, "--blend", places.RUN["blend"])
    places.add_path(parser, "--members", places.RUN["members"])
    places.add_path(parser, "--submission", places.RUN["submission"], "its own CSV")
    places.add_path(parser, "--receipt", places.RUN["receipt"])
    parser.set_defaults(action=_write)
    actions = parser.add_subparsers(title="instead of making it")
    kernel = actions.add_parser(
        "kernel", help="the bundle as notebooks take it: two folders for the site's own client; --verify runs them"
    )
    places.add_path(kernel, "--zip", places.BUNDLE)
    places.add_path(kernel, "--folder", places.KERNEL, "folder to write dataset/ and kernel/ to")
    kernel.add_argument("--user", required=True, help="your name at the site, as in your profile's address")
    kernel.add_argument("--competition", required=True, dest="slug", help="last part of its web address")
    kernel.add_argument("--name", help="of data set and kernel; default: that of the competition, and -foldboard")
    kernel.add_argument("--gpu", action="store_true", help="ask for one; default: the CPU")
    kernel.add_argument(
        "--time-limit", type=float, default=TIME_LIMIT_S, help="seconds that the rules allow; default: %(default)g"
    )
    kernel.add_argument(
        "--verify", action="store_true",
        help="run it here in a folder laid out as the site's, without the packages that the site has not, and compare",
    )  # fmt: skip
    kernel.set_defaults(action=_kernel)
    verify = actions.add_parser(
        "verify", help="run the bundle in an empty environment without network, compare with the submission"
    )
    places.add_path(verify, "--zip", places.BUNDLE)
    verify.add_argument("--venv", type=Path, help="environment with the bundle's requirements; default: this one")
    verify.add_argument("--images", type=Path, help="test images; default: competition.raw of the params file")
    verify.set_defaults(action=_verify)


def run(args: argparse.Namespace) -> None:
    """Make it, or verify it."""
    args.action(args)


def _write(args: argparse.Namespace) -> None:
    run = Run(
        params=args.params,
        models=args.models,
        format=args.format,
        known=[args.competition / "test.csv", args.competition / "test_images.csv", args.seen],
        weights=places.WEIGHTS,
        recognised=args.competition / RECOGNISED.name,
    )
    with contextlib.ExitStack() as stack:
        manifest = write_bundle(
            args.out,
            run=run,
            members=_members(args, stack),
            records={"schema.json": args.competition / "schema.json", "decision.json": args.decision},
            submission=args.submission,
            receipt=args.receipt,
            blend=args.blend,
        )
    size = args.out.stat().st_size / 1e6
    console.say(f"{args.out}: {len(manifest['files'])} files, {size:,.1f} MB; next: python -m pipeline bundle verify")


def _members(args: argparse.Namespace, stack: contextlib.ExitStack) -> dict[str, Packed]:
    """The models of each member that has weight, from where `blend add` took it; linked until `stack` closes.

    Raises ValueError that names all members whose models cannot be had, each with its reason.
    """
    asked = load_section(args.params, "blend", BlendParams).members
    if not asked:
        return {}
    target, folds = read_schema(args.competition / "schema.json").target, load_folds(args.params)
    found, reasons = {}, []
    for name, weight in read_blend(args.blend, asked)[0].weights.items():
        if not weight or name == OWN:
            continue
        try:
            found[name] = _member(name, args, stack, target, folds)
        except (ValueError, OSError) as error:
            reasons.append(f"  {name}: {error}")
    if reasons:
        listed = "\n".join(reasons)
        raise ValueError(
            f"the submission is a blend, and the models of {len(reasons)} of its members cannot be had:\n{listed}\n"
            "a bundle predicts with models: bundle each run by itself, or take the members out (`python -m pipeline "
            "blend remove NAME`) and run `dvc repro`"
        )
    return found


def _member(
    name: str, args: argparse.Namespace, stack: contextlib.ExitStack, target: Target, folds: Sequence[str]
) -> Packed:
    """What the member's run brings, if it still is the run that was added and its models can be read here."""
    from pipeline.models.checkpoint import read_checkpoint  # torch, which a run alone does without

    source, root = source_again(read_card(args.members, name)), args.params.resolve().parent
    needed = (*NEEDED, places.MODELS, places.FORMAT, *KNOWN, *places.WEIGHTS, RECOGNISED)
    folder = stack.enter_context(run_files(source, root, needed)).folder
    refuse_another_run(name, folder / places.RUN["test"], args.members, folds, target)
    run = Run(
        params=folder / places.PARAMS,
        models=folder / places.MODELS,
        format=folder / places.FORMAT,
        known=[folder / path for path in KNOWN],
        weights=[folder / path for path in places.WEIGHTS],
        recognised=folder / RECOGNISED,
    )
    for fold, path in fold_files(run.models, ".safetensors", folds).items():
        _, card = read_checkpoint(path, run.models / f"{fold}.json")
        if card.classes != target.classes:
            raise ValueError(f"{path} predicts the classes {card.classes[:3]}…, must be {target.classes[:3]}…")
    return packed(run, sorted(folds), reading=args.params)  # added up in the order in which `blend add` did


def _kernel(args: argparse.Namespace) -> None:
    """Write the folders; run them where asked."""
    if not args.zip.is_file():
        raise ValueError(f"{args.zip} is not there yet; run `python -m pipeline bundle` first")
    competition = load_section(places.PARAMS, "competition", CompetitionParams)
    sample = organisers_sample_name(places.PARAMS, places.RUN["sample"])
    name = args.name or default_name(args.slug)
    kernel = Kernel(user=args.user, competition=args.slug, name=name, gpu=args.gpu, time_limit_s=args.time_limit)
    dataset, code = write_kernel(args.zip, args.folder, kernel, sample)
    if args.verify:
        for line in verify_kernel(
            args.folder,
            competition=competition,
            schema=read_schema(places.RUN["schema"]),
            submission=places.RUN["submission"],
            python=Path(sys.executable),
        ):
            console.say(line)
    for line in by_hand(dataset, code):
        console.say(line)


def _verify(args: argparse.Namespace) -> None:
    lines = verify_bundle(
        args.zip,
        params=args.params,
        images=args.images,
        sample=args.competition / "sample_submission.csv",
        submission=args.submission,
        python=args.venv / "bin" / "python" if args.venv else Path(sys.executable),
    )
    for line in lines:
        console.say(line)
