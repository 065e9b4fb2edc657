"""Where dvc.yaml puts a run's files: what the options of commands name unless the user does."""

import argparse
from pathlib import Path

from pipeline.panels.run import Sources

PARAMS, LOCK = Path("params.yaml"), Path("dvc.lock")
DEMO, RAW, LOGS = Path("data/demo/digits.zip"), Path("data/raw"), Path("data/logs")
MODELS, PLAN, INSPECTED = Path("data/models"), Path("data/plan.json"), Path("data/inspected.json")
COMPETITION, IMAGES = Path("data/competition"), Path("data/images")
RUN = {  # what `verify` checks
    "params": PARAMS,
    "lock": LOCK,
    "metric": COMPETITION / "metric",
    "target": COMPETITION / "target.json",
    "schema": COMPETITION / "schema.json",
    "train_table": COMPETITION / "train.csv",
    "corrections": COMPETITION / "corrections.csv",
    "test_table": COMPETITION / "test.csv",
    "sample": COMPETITION / "sample_submission.csv",
    "train_images": IMAGES / "train.npy",
    "train_description": IMAGES / "train.json",
    "test_images": IMAGES / "test.npy",
    "test_description": IMAGES / "test.json",
    "folds": Path("data/folds.csv"),
    "models": MODELS,
    "oof": Path("data/oof"),
    "test": Path("data/test"),
    "members": Path("data/members"),
    "blend": Path("data/report/blend.json"),
    "decision": Path("data/report/decision.json"),
    "submission": Path("submissions/submission.csv"),
    "receipt": Path("submissions/receipt.json"),
}
WEIGHTS = Path("data/weights/weights.safetensors"), Path("data/weights/card.json")
OWN_CORRECTIONS, GROUPS = COMPETITION / "corrections", Path("data/groups.csv")
FEATURES = Path("data/features/train.npy"), Path("data/features/train.json")
FORMAT, SEEN, TEST_LIST = IMAGES / "format.json", IMAGES / "test.csv", COMPETITION / "test_images.csv"
SCORES, PER_CLASS = Path("data/report/scores.json"), Path("data/report/per_class.csv")
BUNDLE, ARCHIVE, LEDGER = Path("submissions/bundle.zip"), Path("submissions/archive"), Path("submissions/ledger.csv")
KERNEL, WORKBENCH = Path("submissions/kernel"), Path("data/workbench")
LEAK, SECONDS, TRAIN_COLUMNS = WORKBENCH / "leak", Path("data/seconds"), COMPETITION / "train_columns.csv"
REPORTED = Sources(  # what the page of a run is made of
    **{
        name: RUN[name]
        for name in (
            "params", "schema", "train_table", "test_table", "folds", "train_images", "train_description",
            "test_images", "test_description", "oof", "members", "models", "decision", "blend", "receipt",
        )
    },
    recognised=COMPETITION / "recognised.json",
    neighbours=Path("data/report/neighbours.json"), nearest=Path("data/report/nearest.csv"),
    audit=Path("data/report/audit.json"), scores=SCORES, curves=Path("data/report/curves.csv"),
)  # fmt: skip
PAGE, SHOWN, HISTORY = Path("data/report/index.html"), Path("data/show/index.html"), Path("data/history")
POINTS, FIGURE = Path("submissions/leaderboard.csv"), Path("submissions/leaderboard.png")


def beside(params: Path, place: Path) -> Path:
    """Where `place` lies in the project of a params file."""
    return params.resolve().parent / place


def add_path(parser: argparse.ArgumentParser, option: str, default: Path, about: str = "") -> None:
    """An option that takes a path."""
    shown = f"{about}; default: %(default)s" if about else "default: %(default)s"
    parser.add_argument(option, type=Path, default=default, help=shown)


def add_submission(parser: argparse.ArgumentParser) -> None:
    """The submission, which needs no option."""
    parser.add_argument("submission", type=Path, nargs="?", default=RUN["submission"], help="default: %(default)s")
