"""Labels that stand in no table: in the folders that images lie in, or in their names. Both become a table."""

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from pipeline.competition.pictures import without_suffix
from pipeline.competition.tables import AUTO, Table
from pipeline.competition.templates import ImageIndex
from pipeline.texts import Texts

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
    folders = sorted({_folder(path) for path in paths})
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
    rows = ((index.names[index.number(path)], label_of[_folder(path)]) for path in paths if _folder(path) in label_of)
    return Table.of_rows(root, (PATH_COLUMN, LABEL_COLUMN), rows)


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

    def labelled() -> Iterator[tuple[str, str]]:
        for path in paths:
            match = expression.search(without_suffix(path.rpartition("/")[2]))
            if match:
                yield path, match["label"]

    counts = Counter(label for _, label in labelled())
    if pattern == AUTO and (len(counts) < 2 or min(counts.values()) < MIN_PER_LABEL or counts.total() < len(paths)):
        return None
    where = root if root != AUTO else common_folder(path for path, _ in labelled())
    rows = ((index.names[index.number(path)], label) for path, label in labelled())
    return Table.of_rows(where, (PATH_COLUMN, LABEL_COLUMN), rows) if counts else None


def test_like(path: str) -> bool:
    """Whether a folder on this path says that what is in it is not for training."""
    folders = path.lower().split("/")[:-1]
    return any(word in folder for folder in folders for word in TEST_WORDS)


def _training_paths(index: ImageIndex, root: str) -> Texts:
    if root != AUTO:
        paths = Texts(path for path in index.paths if path.startswith(root + "/") or not root)
        if not len(paths):
            raise ValueError(f"competition.train_images is {root!r}, where no image lies; write the folder's path")
        return paths
    paths = Texts(path for path in index.paths if not test_like(path) and not _held_out(path))
    named = Texts(path for path in paths if any("train" in folder for folder in path.lower().split("/")[:-1]))
    return named if len(named) else paths


def _folder(path: str) -> str:
    return path.rpartition("/")[0]


def _held_out(path: str) -> bool:
    return any(folder in HELD_WORDS for folder in path.lower().split("/")[:-1])


def _common_folder(folders: Sequence[str]) -> str:
    return os.path.commonpath(folders) if folders and all(folders) else ""


def common_folder(paths: Iterable[str]) -> str:
    """The deepest folder that all these paths lie under; '' for none."""
    return _common_folder(sorted({_folder(path) for path in paths}))
