"""Labels that stand in no table: in the folders that images lie in, or in their names. Both become a table."""

import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence

from pipeline.competition.tables import AUTO, Table
from pipeline.competition.templates import ImageIndex, without_suffix

FOLDER, FILE_NAME = "folder", "file name"
PATH_COLUMN, LABEL_COLUMN = "path", "label"
TEST_WORDS = ("test", "unlabel", "unseen", "eval", "holdout", "submission")
HELD_WORDS = ("val", "valid", "validation", "dev")
# what stands before a running number: cat.0.jpg, dog_12.png, rose-3.jpg, `sun flower (4).jpg`
NAME_PATTERN = r"^(?P<label>.*?[^\W\d_].*?)[._\- ]*\(?\d+\)?$"
MIN_PER_LABEL = 2


def class_folder_table(index: ImageIndex, root: str = AUTO) -> Table | None:
    """path, label for images in class folders under `root` (found by looking where `auto`); None if there are none.

    A label is the leaf folder's name; where two leaves share a name, every label is the path under the root.
    """
    paths = _training_paths(index, root)
    folder_of = {path: path.rpartition("/")[0] for path in paths}
    folders = sorted(set(folder_of.values()))
    if root == AUTO:
        root = _common_folder(folders)
    labelled = [folder for folder in folders if folder != root]
    if len(labelled) < 2:
        return None
    leaves = Counter(folder.rpartition("/")[2] for folder in labelled)
    whole = max(leaves.values()) > 1
    label_of = {
        folder: folder.removeprefix(root + "/" if root else "") if whole else folder.rpartition("/")[2]
        for folder in labelled
    }
    rows: list[tuple[str, ...]] = [
        (index.by_path[path], label_of[folder_of[path]]) for path in paths if folder_of[path] in label_of
    ]
    return Table(root, (PATH_COLUMN, LABEL_COLUMN), rows)


def file_name_table(index: ImageIndex, pattern: str = AUTO, root: str = AUTO) -> Table | None:
    """path, label for images whose name holds the label; None where the guess does not give classes.

    pattern: a regular expression with a group called `label`, searched in the name without folder and suffix.
    """
    try:
        expression = re.compile(NAME_PATTERN if pattern == AUTO else pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"competition.label {pattern!r} is no regular expression: {error}") from error
    if "label" not in expression.groupindex:
        raise ValueError(f"competition.label {pattern!r} must have a group (?P<label>…), or be a column of the table")
    paths = _training_paths(index, root)
    found = [(path, expression.search(without_suffix(path.rpartition("/")[2]))) for path in paths]
    labelled = [(path, match["label"]) for path, match in found if match]
    counts = Counter(label for _, label in labelled)
    if pattern == AUTO and (len(counts) < 2 or min(counts.values()) < MIN_PER_LABEL or len(labelled) < len(found)):
        return None
    rows: list[tuple[str, ...]] = [(index.by_path[path], label) for path, label in labelled]
    where = root if root != AUTO else _common_folder(sorted({path.rpartition("/")[0] for path, _ in labelled}))
    return Table(where, (PATH_COLUMN, LABEL_COLUMN), rows) if rows else None


def test_like(path: str) -> bool:
    """Whether a folder on this path says that what is in it is not for training."""
    folders = path.lower().split("/")[:-1]
    return any(word in folder for folder in folders for word in TEST_WORDS)


def _training_paths(index: ImageIndex, root: str) -> list[str]:
    if root != AUTO:
        paths = [path for path in index.by_path if path.startswith(root + "/") or not root]
        if not paths:
            raise ValueError(f"competition.train_images is {root!r}, where no image lies; write the folder's path")
        return paths
    paths = [path for path in index.by_path if not test_like(path) and not _held_out(path)]
    named = [path for path in paths if any("train" in folder for folder in path.lower().split("/")[:-1])]
    return named or paths


def _held_out(path: str) -> bool:
    return any(folder in HELD_WORDS for folder in path.lower().split("/")[:-1])


def _common_folder(folders: Sequence[str]) -> str:
    return os.path.commonpath(folders) if folders and all(folders) else ""


def common_folder(paths: Iterable[str]) -> str:
    """The deepest folder that all these paths lie under; '' for none."""
    return _common_folder(sorted({path.rpartition("/")[0] for path in paths}))
