"""Commands beside the stages: `python -m pipeline COMMAND --help`."""

import argparse
import importlib
import sys
from collections.abc import Sequence

from pipeline.base import console

COMMANDS = {  # name, which is its module's in `commands` -> what it does
    "inspect": "say what is understood of a competition's archive or folder; --write puts it into params.yaml",
    "weights": "pretrained weights from elsewhere as a folder for model.weights; check those of params.yaml",
    "folds": "train and infer all stale folds side by side; DVC is told of each",
    "repro": "`dvc repro` with one line a stage and its seconds; the whole output goes to a log",
    "summary": "cross-validation score, submission, and its score where a solution is at hand",
    "show": "one page that shows this run, or two runs beside each other: python -m pipeline show [RUN [RUN]]",
    "workbench": "what calibration, temperature and thresholds gain, and suspect labels; from out-of-fold alone",
    "leak": "how much the score would be flattered if groups straddled the folds; trains one fold once more",
    "check": "check a submission file against the sample submission and the training labels",
    "verify": "check a finished run from end to end; at damage, exit code 2 and the stage to run again",
    "upload": "check a submission, send it once, wait for its score, write it down",
    "download": "fetch a competition's zip and put it into params.yaml",
    "ledger": "the ledger of submissions: table, plot, noise, which two to choose",
    "restore": "a past submission's code and artefacts in a worktree; its CSV again",
    "blend": "add past runs to this one's submission, list or remove them",
    "bundle": "one zip that makes the submission again, offline",
}


def main(argv: Sequence[str] | None = None) -> None:
    """Call the command that the first word names; only its module is imported."""
    argv = sys.argv[1:] if argv is None else list(argv)
    parser = argparse.ArgumentParser(prog="python -m pipeline", description=__doc__)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for name, about in COMMANDS.items():
        if argv[:1] != [name]:
            commands.add_parser(name, help=about)
            continue
        module = importlib.import_module(f"pipeline.commands.{name}")
        module.add_arguments(commands.add_parser(name, help=about, description=module.__doc__))
        parser.set_defaults(run=module.run)
    args = parser.parse_args(argv)
    args.run(args)


if __name__ == "__main__":
    console.run(main)
