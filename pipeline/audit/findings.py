"""What may spoil a competition though every file is readable: names, classes, copies and formats. No pixels here."""

import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from pipeline.base.texts import rows_of_equals
from pipeline.competition.class_findings import NUM_SHOWN, Finding, finding

Place = tuple[int, int]  # (0 = train or 1 = test, row of its table)

TRAIN, TEST = 0, 1
FORMAT_REMEDIES = {
    "16-bit": "only the upper 8 of 16 bits are kept; if the images look dark, stretch their range before zipping",
    **{
        f"{bits}-bit in 16": f"the set uses {bits} of 16 bits, by a look at some of it: the upper 8 of these are kept"
        for bits in (8, 10, 12, 14)
    },
    "16-bit above the range": "brighter than all that were looked at, and cut there; stretch the range before zipping",
    "shaped by alpha": "of one colour: painted on white or black by alpha, which holds the picture",
    "CMYK": "colours are converted without a profile; convert to RGB if they look wrong in the audit page",
    "with a band left out": "beside grey or colours, TIFFs have a band that is no alpha; what it shows is not learnt",
    "transparent": "alpha is dropped and hidden colours show; paint the images on one background before zipping",
    "EXIF-rotated": "shown upright here; a notebook that reads them without EXIF orientation sees them turned",
    "upscaled": "over half are smaller than the store; images.side of their size trains faster (weights may want more)",
    "extreme aspect": "longer than 3:1; with images.fit squash they lose their shape, pad keeps it",
}


def name_findings(paths: Sequence[str]) -> list[Finding]:
    """Image paths that a file system or an editor may take for one another."""
    by_form = _alike(paths, _composed)
    by_case = [names for names in _alike(paths, _folded) if len({_composed(name) for name in names}) > 1]
    by_leaf = _alike(paths, lambda path: _folded(PurePosixPath(path).name))
    several = [names for names in by_leaf if len({PurePosixPath(_folded(name)).parent for name in names}) > 1]
    found = (
        ("names that differ by case alone", by_case, "unzipped on Windows or macOS one replaces the other; rename"),
        (
            "names that differ by Unicode form alone",
            [[f"{name} ({_form(name)})" for name in names] for names in by_form],
            "they look the same and macOS takes them for one; rename to one form (NFC)",
        ),
        (
            "one file name in several folders",
            several,
            "ids must tell the folders apart; never flatten the folders into one",
        ),
    )
    return [
        finding(kind, "warn", [" / ".join(names[:NUM_SHOWN]) for names in groups], remedy)
        for kind, groups, remedy in found
        if groups
    ]


def same_bytes(digests: Sequence[Sequence[str]]) -> list[list[Place]]:
    """Groups of byte-identical images, from the sha256 of each row of train and of test; '' is no digest."""
    rows = _RowsOfParts(digests)
    return [[rows.place(row) for row in group] for group in rows_of_equals(rows) if rows[group[0]]]


class _RowsOfParts(Sequence[str]):
    """The texts of several sequences, one sequence after the other; none is copied."""

    def __init__(self, parts: Sequence[Sequence[str]]) -> None:
        self._parts = parts
        self._starts = np.cumsum([0, *map(len, parts)])

    def place(self, row: int) -> Place:
        """(number of the sequence, row in it)."""
        part = int(np.searchsorted(self._starts, row, "right")) - 1
        return part, row - int(self._starts[part])

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __getitem__(self, row: Any) -> Any:
        part, row = self.place(row)
        return self._parts[part][row]

    def __iter__(self) -> Iterator[str]:
        return chain.from_iterable(self._parts)


def joined(*groupings: Sequence[Sequence[Place]]) -> list[list[Place]]:
    """Groups that share an image become one; members and groups in order. For `same_bytes` and near-copies."""
    group_of: dict[Place, list[Place]] = {}
    for group in (list(group) for grouping in groupings for group in grouping):
        whole = list(dict.fromkeys(place for member in group for place in group_of.get(member, [member])))
        group_of |= dict.fromkeys(whole, whole)
    distinct = {id(group): sorted(group) for group in group_of.values()}
    return sorted(distinct.values())


def conflicting(groups: Sequence[Sequence[Place]], labels: Sequence[str]) -> list[list[Place]]:
    """The groups whose training images have more than one `label` cell; test images are left out."""
    trained = [[place for place in group if place[0] == TRAIN] for group in groups]
    return [group for group in trained if len({labels[row] for _, row in group}) > 1]


def leaked(groups: Sequence[Sequence[Place]]) -> list[list[Place]]:
    """The groups that hold training and test images."""
    return [list(group) for group in groups if {part for part, _ in group} == {TRAIN, TEST}]


def copy_findings(
    in_train: Sequence[Sequence[Place]],
    across: Sequence[Sequence[Place]],
    *,
    train_ids: Sequence[str],
    test_ids: Sequence[str],
    labels: Sequence[str],
) -> list[Finding]:
    """What groups of copies mean: for the folds, for the labels (`label` cells by row of train), for the test set.

    across: the groups that hold training and test images.
    """
    repeated = [" = ".join(train_ids[row] for _, row in group[:NUM_SHOWN]) for group in in_train]
    known = [(min(group)[1], row) for group in across for part, row in group if part == TEST]
    copied = [f"{test_ids[row]} = {train_ids[train_row]}" for train_row, row in known]
    found = (
        ("copies in train", repeated, "split keeps each group in one fold; nothing to do"),
        (
            "copies with other labels",
            _disputed(in_train, labels, train_ids),
            "look at the audit page and correct the labels, or take the images out",
        ),
        (
            "test images also in train",
            copied,
            "the leaderboard rewards remembering them; tell the organiser, and trust out-of-fold scores",
        ),
    )
    return [finding(kind, "warn", offenders, remedy) for kind, offenders, remedy in found if offenders]


def _disputed(groups: Sequence[Sequence[Place]], labels: Sequence[str], train_ids: Sequence[str]) -> list[str]:
    """Of each group with more than one label, the first image of each."""
    shown = []
    for group in conflicting(groups, labels):
        first_of = {labels[row]: train_ids[row] for _, row in reversed(group)}
        sides = [f"{image_id} ({label})" for label, image_id in sorted(first_of.items())]
        shown.append(" / ".join(sides[:NUM_SHOWN]))
    return shown


def search_findings(
    series: Sequence[Sequence[Place]],
    cut: Sequence[Place],
    plain: Sequence[Place],
    *,
    train_ids: Sequence[str],
    test_ids: Sequence[str],
) -> list[Finding]:
    """What a search for near-copies leaves apart (`pipeline.audit.duplicates.Search`): it may straddle folds."""
    found = (
        (
            "near-copies that are not kept together",
            "warn",
            [place for group in series for place in group],
            "they hang together as one series of more than half of all images (frames, slices, parts on a fixture), "
            "which no folds can hold apart: name what belongs together by split.group, or the score flatters",
        ),
        (
            "images too much like many others to look for all near-copies",
            "warn",
            cut,
            "those that were found are kept together, others may straddle folds; name what belongs together by "
            "split.group",
        ),
        (
            "images not compared for near-copies",
            "note",
            plain,
            "flat, plain or stored below 16 px, they cannot be told apart by what is left; only copies of the same "
            "bytes among them are kept together",
        ),
    )
    ids = (train_ids, test_ids)
    return [
        Finding(kind, severity, len(places), tuple(ids[part][row] for part, row in places[:NUM_SHOWN]), remedy)
        for kind, severity, places, remedy in found
        if places
    ]


def turned_findings(
    pairs: Sequence[Sequence[Place]],
    *,
    kept: bool,
    train_ids: Sequence[str],
    test_ids: Sequence[str],
    labels: Sequence[str],
) -> list[Finding]:
    """Images that are others mirrored or turned. kept: whether those in train share a fold."""
    ids = (train_ids, test_ids)
    offenders = [" = ".join(ids[part][row] for part, row in pair) for pair in pairs]
    series = "they hang together as more than half of all images, which no folds can hold apart: name what belongs "
    series += "together by split.group, or the score flatters"
    remedy = "split keeps those in train in one fold" if kept else series
    found = (
        ("copies that are turned or mirrored", offenders, remedy),
        (
            "turned or mirrored copies with other labels",
            _disputed(pairs, labels, train_ids),
            "where left and right, or up and down, are classes, keep augment.flip off; else look at the audit page and "
            "correct the labels",
        ),
    )
    return [finding(kind, "warn", offenders, remedy) for kind, offenders, remedy in found if offenders]


def format_findings(oddities: Mapping[str, Sequence[int]], names: Sequence[str]) -> list[Finding]:
    """Findings from the oddities of a `StoreReport`: rows by oddity; names[row] is the image.

    `upscaled` counts only where more than half are: `images.side: auto` is the median side, which leaves half below.
    """
    return [
        finding(f"{oddity} images", "warn", [names[row] for row in rows], FORMAT_REMEDIES[oddity])
        for oddity, rows in sorted(oddities.items())
        if rows and (oddity != "upscaled" or 2 * len(rows) > len(names))
    ]


def class_examples(labels: Collection[Sequence[str]], classes: Sequence[str], *, seed: int) -> dict[str, int]:
    """Class -> the row of one image of it, drawn by `seed`; labels[row] holds one or several. Without, left out."""
    counts = Counter(label for of_row in labels for label in of_row)
    wanted = {
        label: int(np.random.default_rng([seed, index]).integers(counts[label]))
        for index, label in enumerate(classes)
        if counts[label]
    }
    seen: Counter[str] = Counter()
    found: dict[str, int] = {}
    for row, of_row in enumerate(labels):
        for label in of_row:
            if seen[label] == wanted.get(label):
                found[label] = row
            seen[label] += 1
    return {label: found[label] for label in wanted}


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _form(name: str) -> str:
    return "NFC" if unicodedata.is_normalized("NFC", name) else "not NFC"


def _folded(name: str) -> str:
    return _composed(_composed(name).casefold())


def _alike(names: Sequence[str], key: Callable[[str], str]) -> list[list[str]]:
    """Groups of two and more distinct names that have one key, in order."""
    groups = [sorted({names[row] for row in rows}) for rows in rows_of_equals(names, key)]
    return sorted(group for group in groups if len(group) > 1)
