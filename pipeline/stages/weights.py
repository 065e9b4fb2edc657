"""Reads the pretrained weights that params.yaml names. Writes them as safetensors, with a card of where they come from.

Only what fits the network to its last tensor goes on. `none` writes a file without tensors.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from pipeline.base import console
from pipeline.base.files import link_files, sha256_of, write_bytes, write_json
from pipeline.base.params import ModelParams, load_section
from pipeline.models.weights_card import HUB, NONE, WeightsCard, read_card

NO_TENSORS = b"\x02\x00\x00\x00\x00\x00\x00\x00{}"  # safetensors: the header's length, and a header of nothing
NO_FILES = "No file is named by model.weights, or it is no longer there.\n"


def main(argv: Sequence[str] | None = None) -> None:
    """Command line of the stage; the paths come from dvc.yaml."""
    parser = argparse.ArgumentParser(prog="python -m pipeline.stages.weights", description=__doc__)
    parser.add_argument("--params", type=Path, required=True, help="params.yaml (section model)")
    parser.add_argument("--source", type=Path, required=True, help="folder to write: links to the files named")
    parser.add_argument("--weights", type=Path, required=True, help="safetensors to write")
    parser.add_argument("--card", type=Path, required=True, help="JSON to write: source, constants, digests")
    args = parser.parse_args(argv)
    model = load_section(args.params, "model", ModelParams)
    model.network_options  # noqa: B018  (raises for weights of networks that have none)
    link_files(args.source, {}, NO_FILES)
    if model.weights == NONE:
        write_bytes(args.weights, NO_TENSORS)
        card = WeightsCard(source=NONE, weights_sha256=sha256_of(args.weights))
        write_json(args.card, card)
        return
    if is_kept(model, args.weights, args.card):
        console.say(f"{model.weights} is no longer there; what was read from it before, {args.weights}, is kept")
        return
    _resolve(model, args)


def is_kept(model: ModelParams, weights: Path, card: Path) -> bool:
    """Whether the file named is gone, as on another machine, and what was read from it is here."""
    if model.weights == HUB or Path(model.weights).exists() or not (weights.is_file() and card.is_file()):
        return False
    found = read_card(card)
    as_before = (found.source, found.architecture, found.options, found.normalisation)
    same = as_before == (model.weights, model.name, model.network_options, model.normalisation)
    return same and sha256_of(weights) == found.weights_sha256


def _resolve(model: ModelParams, args: argparse.Namespace) -> None:
    from pipeline.models.pretrained import resolve  # torch takes seconds to import

    found, files = resolve(model.name, model.network_options, model.weights, model.normalisation, args.weights)
    link_files(args.source, {file.name: file for file in files}, NO_FILES)
    write_json(args.card, found)


if __name__ == "__main__":
    console.run(main)
