"""Weights from elsewhere as a folder that `model.weights` takes; whether those of params.yaml fit."""

import argparse
import tempfile
from pathlib import Path

from pipeline.base import console
from pipeline.base.params import ModelParams, load_section
from pipeline.commands import places
from pipeline.models.weights_card import NONE
from pipeline.stages.weights import is_kept

NUM_CLASSES_SHOWN = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Command line."""
    kinds = parser.add_subparsers(metavar="import|check", required=True)
    taken = kinds.add_parser(
        "import",
        help="write a folder with them",
        description="Read a file of weights, fit it to a network of timm's; write model.safetensors, config.json.",
    )
    taken.add_argument("source", help="file or folder of weights")
    taken.add_argument("--architecture", required=True, help="timm's name of the network: tf_efficientnet_lite0, …")
    taken.add_argument("--out", type=Path, required=True, help="folder to write; it must not hold weights yet")
    taken.add_argument(
        "--in-order", action="store_true",
        help="take the tensors one after the other, whatever their names: all must be there, in the same shapes",
    )  # fmt: skip
    taken.add_argument(
        "--normalisation",
        default="auto",
        help="of the images they expect: as model.normalisation; default: %(default)s",
    )
    taken.add_argument(
        "--pictures", type=Path, nargs="*", default=[], help="images to classify, as a check that a person reads"
    )
    taken.set_defaults(act=_import)
    checked = kinds.add_parser(
        "check",
        help="whether those of params.yaml can be read and fit",
        description="What stage `weights` will do with model.weights, without doing it.",
    )
    places.add_path(checked, "--params", places.PARAMS)
    checked.set_defaults(act=_check)


def run(args: argparse.Namespace) -> None:
    """Import, or check."""
    args.act(args)


def _import(args: argparse.Namespace) -> None:
    from pipeline.models import pretrained  # torch takes seconds to import

    network, config, with_classifier = pretrained.import_weights(
        args.source, args.architecture, args.out, in_order=args.in_order, normalisation=args.normalisation
    )
    if args.pictures and not with_classifier:
        console.say(f"warning: no classifier of {args.source} fits, so that no picture can be classified")
    for picture in args.pictures if with_classifier else ():
        shares = pretrained.class_shares(network, config, picture)
        best = shares.argsort()[::-1][:NUM_CLASSES_SHOWN].tolist()
        console.say(f"{picture}: classes " + ", ".join(f"{at} ({shares[at]:.3f})" for at in best))
    console.say(f"wrote {args.out}; in params.yaml: model.name: {args.architecture}, model.weights: {args.out}")


def _check(args: argparse.Namespace) -> None:
    from pipeline.models.pretrained import resolve

    model = load_section(args.params, "model", ModelParams)
    model.network_options  # noqa: B018  (raises for what does not go together)
    if model.weights == NONE:
        console.say(f"{args.params}: model.weights is none")
        return
    if is_kept(model, *places.WEIGHTS):
        console.say(f"{model.weights} is no longer there; what was read from it before, {places.WEIGHTS[0]}, is kept")
        return
    with tempfile.TemporaryDirectory() as scratch:
        resolve(
            model.name, model.network_options, model.weights, model.normalisation, Path(scratch) / "weights.safetensors"
        )
