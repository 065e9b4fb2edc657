"""Say what is understood of a competition's archive or folder; put it into params.yaml."""

import argparse
from pathlib import Path

from pipeline.base import console
from pipeline.base.params import is_about
from pipeline.commands import places
from pipeline.commands.inspection import (
    holds_demos_recipe,
    in_git,
    inspect_competition,
    lost_lines,
    write_settings,
)
from pipeline.commands.plan import write_plan
from pipeline.commands.suggestion import DEFAULT_BUDGET, budget_seconds
from pipeline.layout.inspected import write_inspected


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Command line."""
    parser.add_argument("raw", type=Path, help="archive or folder from the organiser")
    parser.add_argument("--write", action="store_true", help="fill section `competition` of the params file")
    parser.add_argument(
        "--recipe", action="store_true", help="measure this machine, and write the suggested recipe too"
    )
    parser.add_argument(
        "--budget",
        type=_budget,
        default=DEFAULT_BUDGET,
        help=f"time that the recipe may take for all folds: 90s, 30m, 1.5h, overnight … (default: {DEFAULT_BUDGET})",
    )
    parser.add_argument("--fresh", action="store_true", help="as if the params file said nothing of this competition")
    parser.add_argument(
        "--no-probe", action="store_true", help="take the speed of two fast cores instead of measuring this machine"
    )
    parser.add_argument(
        "--weights", help="suggest a recipe that begins with these: hub (of model.name), or a file or folder"
    )
    places.add_path(parser, "--params", places.PARAMS)


def run(args: argparse.Namespace) -> None:
    """Print the account; write what is asked for."""
    named = is_about(args.raw, args.params)
    same = named and not args.fresh
    other = "" if named else f"{args.params} still names another competition, which `dvc repro` would train; "
    try:
        demos = args.write and args.raw != places.DEMO and holds_demos_recipe(args.params)
        with_recipe = args.recipe or demos
        account = inspect_competition(
            args.raw, args.params, budget=args.budget, measure=with_recipe and not args.no_probe, weights=args.weights,
            fresh=args.fresh,
        )  # fmt: skip
    except ValueError as error:
        if same or not args.raw.exists():
            raise
        if not args.write:
            raise ValueError(f"{error}\n{other}--write puts this one there") from error
        for line in lost_lines(args.params, {}, with_recipe=True):
            console.say(line)
        write_settings(args.params, args.raw, {}, fresh=True)
        raise ValueError(
            f"{error}\n{args.params} names this competition from now on, all else in section `competition` is as if "
            "it were new: put there what settles the question, then run this again"
        ) from error
    for line in account.lines:
        console.say(line)
    if args.weights and not with_recipe:
        console.say("note         --recipe writes this recipe, with model.weights, to the params file")
    if args.write or args.recipe:
        sections = {name: keys for name, keys in account.needs.items() if name != "competition"}
        sections |= account.recipe if with_recipe else {}
        for line in [] if same else lost_lines(args.params, account.settings, with_recipe=with_recipe):
            console.say(line)
        settings = account.settings | account.needs.get("competition", {})
        write_settings(args.params, args.raw, settings, sections, fresh=args.fresh)
        write_inspected(places.beside(args.params, places.INSPECTED), args.raw, account.settings)
        if with_recipe:
            write_plan(args.params, budget=args.budget, expected_s=account.expected_s)
        why = "" if args.recipe else " (the recipe because the one that was there is for the demo's 8-pixel digits)"
        wrote = f"section `competition` and the recipe{why}" if with_recipe else "section `competition`"
        git = "" if in_git(args.params) else "git init && "
        console.say(f"wrote {wrote} of {args.params}; next: {git}python -m pipeline folds && dvc repro")
    elif other:
        console.say(f"note         {other}--write puts this one there")


def _budget(text: str) -> str:
    try:
        budget_seconds(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return text
