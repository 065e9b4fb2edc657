"""Pack one zip that makes the submission again, offline."""

import argparse
import sys
from pathlib import Path

from pipeline.base import console
from pipeline.bundle.bundle import verify_bundle, write_bundle
from pipeline.commands import places


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
    places.add_path(parser, "--submission", places.RUN["submission"], "its own CSV")
    places.add_path(parser, "--receipt", places.RUN["receipt"])
    parser.set_defaults(action=_write)
    verify = parser.add_subparsers(title="instead of making it").add_parser(
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
    records = {"schema.json": args.competition / "schema.json", "format.json": args.format}
    manifest = write_bundle(
        args.out,
        params=args.params,
        models=args.models,
        records=records | {"decision.json": args.decision},
        known=(args.competition / "test.csv", args.competition / "test_images.csv", args.seen),
        submission=args.submission,
        receipt=args.receipt,
        blend=args.blend,
        weights=places.WEIGHTS,
    )
    size = args.out.stat().st_size / 1e6
    console.say(f"{args.out}: {len(manifest['files'])} files, {size:,.1f} MB; next: python -m pipeline bundle verify")


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
