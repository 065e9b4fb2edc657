"""split: each image in one fold, classes spread, duplicates together."""

import hashlib
import re
from collections import Counter
from datetime import datetime, timedelta
from itertools import pairwise

import numpy as np
import pytest
from conftest import competition_files, write_zip
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.base.files import read_table, write_table
from pipeline.base.params import SplitParams
from pipeline.base.texts import Texts
from pipeline.competition.schema import (
    GROUPS_COLUMNS,
    TRAIN_COLUMNS,
    LabelSets,
    Target,
    TrainTable,
    label_cell,
    write_target,
)
from pipeline.split.folds import (
    deal_folds,
    deal_label_sets,
    deal_rows,
    own_folds,
    refuse_empty_folds,
    time_blocks,
)
from pipeline.split.groups import file_name_prefixes, likely_groups, merged_groups
from pipeline.split.moments import order_in_time
from pipeline.split.train_columns import read_train_columns


def labels_of(sizes):
    return [label for label, count in sizes.items() for _ in range(count)]


def rows_of(labels, near=None):
    rows = range(len(labels))
    ids, near_copies = (f"{row:04d}" for row in rows), ((near or {}).get(row, "") for row in rows)
    return TrainTable(Texts(ids), Texts(labels), Texts(near_copies))


def deal(labels, columns=None, *, kind="single_label", near=None, **keys):
    columns = {name: Texts(cells) for name, cells in (columns or {}).items()}
    params = SplitParams(**{"num_folds": 5, "seed": 0} | keys)
    return deal_rows(rows_of(labels, near), columns, params, kind=kind)


def straddling(groups, dealt):
    """Groups with images in more than one fold."""
    pairs = set(zip(groups, np.asarray(dealt).tolist(), strict=True))
    return [group for group, count in Counter(group for group, _ in pairs).items() if count > 1]


def label_sets_of(num_images, num_labels, seed=0):
    """Labels from frequent to rare; many images have none, many several."""
    draws = np.random.default_rng(seed)
    chances = 0.5 / np.arange(1, num_labels + 1)
    return [[f"l{i}" for i in np.flatnonzero(draws.random(num_labels) < chances)] for _ in range(num_images)]


def furthest_from_due(label_sets, dealt, num_folds):
    """Images by which the worst fold has more or fewer of a label than its even share."""
    totals = Counter(label for labels in label_sets for label in labels)
    have = Counter((label, fold) for labels, fold in zip(label_sets, dealt.tolist(), strict=True) for label in labels)
    return max(abs(have[label, fold] - totals[label] / num_folds) for label in totals for fold in range(num_folds))


def test_each_image_has_one_fold_and_each_class_is_spread_evenly():
    labels = labels_of({"a": 53, "b": 20, "c": 5})
    dealt = deal_folds(labels, [str(row) for row in range(len(labels))], num_folds=5, seed=0)
    assert set(dealt) == set(range(5))
    for label, count in Counter(labels).items():
        per_fold = Counter(fold for fold, found in zip(dealt, labels, strict=True) if found == label)
        assert set(per_fold.values()) <= {count // 5, -(-count // 5)}


def test_the_deal_depends_on_the_seed_alone():
    labels = labels_of({"a": 40, "b": 40})
    groups = [str(row) for row in range(80)]
    first = deal_folds(labels, groups, num_folds=4, seed=1)
    assert (first == deal_folds(labels, groups, num_folds=4, seed=1)).all()
    assert (first != deal_folds(labels, groups, num_folds=4, seed=2)).any()


def test_byte_identical_images_share_a_fold():
    draws = np.random.default_rng(0)
    labels = draws.choice(["a", "b", "c"], 300).tolist()
    groups = [str(group) for group in draws.integers(0, 120, 300)]  # with other labels among them, too
    dealt = deal_folds(labels, groups, num_folds=5, seed=0)
    folds_of = {group: {int(f) for f, g in zip(dealt, groups, strict=True) if g == group} for group in groups}
    assert all(len(folds) == 1 for folds in folds_of.values())


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"a": 9, "rare": 3}, "1 of 2 classes have fewer distinct images than the 5 folds: 'rare' has 3 (in 3 rows); "
                              "take folds out of params.yaml until 3 are left, or add images"),
        ({"a": 9, "one": 1}, "'one' has 1 (in 1 rows); add images of them"),
    ],
)  # fmt: skip
def test_a_class_smaller_than_the_number_of_folds_is_named_with_its_count(sizes, message):
    labels = labels_of(sizes)
    with pytest.raises(ValueError, match=re.escape(message)):
        deal_folds(labels, [str(row) for row in range(len(labels))], num_folds=5, seed=0)


def test_copies_do_not_make_a_class_larger():
    labels = labels_of({"a": 9, "b": 6})
    groups = [str(row) for row in range(9)] + ["same"] * 6
    with pytest.raises(ValueError, match=re.escape("'b' has 1 (in 6 rows)")):
        deal_folds(labels, groups, num_folds=2, seed=0)


def test_without_new_keys_the_deal_is_the_one_of_before():
    """The digest of what the first version dealt of the digits' labels."""
    from sklearn.datasets import load_digits

    def digest(dealt):
        return hashlib.sha256(dealt.astype(np.int64).tobytes()).hexdigest()

    labels = [str(label) for label in load_digits().target]
    whole = deal(labels)
    assert digest(whole.fold_of_row) == "837b9820d83a8eb3565eb72ec7d9ed27ab44fc1408c947d9f3959f98ef979517"
    assert (whole.method, whole.warnings) == ("stratified by label", [])


def test_rows_that_share_any_key_share_a_group():
    assert merged_groups(["a", "b", "a", "c", "d"], ["", "x", "", "x", ""], ["", "", "", "p", "p"]).tolist() == [
        0,
        1,
        0,
        1,
        1,
    ]
    assert merged_groups(["", "", ""]).tolist() == [0, 1, 2]


@pytest.mark.parametrize("kind", ["single_label", "ordinal", "multi_label"])
def test_user_groups_near_copies_and_copies_merged_never_straddle(kind):
    draws = np.random.default_rng(1)
    labels = draws.choice(["a", "b", "c"], 300).tolist()
    patients = [f"p{number}" for number in draws.integers(0, 90, 300)]
    near = {row: f"near{row // 2}" for row in range(40, 60)} | dict.fromkeys((3, 150, 299), "same")
    cells = [label_cell([label, "d"]) for label in labels] if kind == "multi_label" else labels
    dealt = deal(cells, {"patient": patients}, kind=kind, near=near, group="patient")
    merged = merged_groups(rows_of(cells, near).groups, patients)
    assert set(dealt.fold_of_row) == set(range(5)) and len(dealt.fold_of_row) == 300
    assert not straddling(merged, dealt.fold_of_row)
    assert len(set(merged)) < len(set(patients))  # the copies did tie patients together
    assert dealt.method.endswith(", grouped by patient")


def test_grouped_folds_keep_the_shares_of_classes():
    draws = np.random.default_rng(2)
    labels = draws.choice(["a", "b"], 1000, p=[0.8, 0.2]).tolist()
    dealt = deal_label_sets(
        LabelSets(labels, several=False),
        merged_groups(draws.integers(0, 250, 1000).astype(str).tolist()),
        num_folds=5,
        seed=0,
    )
    assert furthest_from_due([[label] for label in labels], dealt, 5) <= 5  # of 160 and 40


@pytest.mark.parametrize(("num_images", "images_a_group", "bound"), [(1500, 1, 2), (1500, 3, 4)])
def test_each_of_several_labels_is_shared_out(num_images, images_a_group, bound):
    label_sets = label_sets_of(num_images, 20)
    groups = [row // images_a_group for row in range(num_images)]
    dealt = deal_label_sets(label_sets, groups, num_folds=5, seed=0)
    assert not straddling(groups, dealt)
    assert furthest_from_due(label_sets, dealt, 5) <= bound
    sizes = np.bincount(dealt, minlength=5)
    assert sizes.max() - sizes.min() <= 2 * bound


def test_groups_and_several_labels_depend_on_the_seed_alone():
    label_sets = label_sets_of(400, 5)
    labels, groups = [str(len(labels)) for labels in label_sets], [row // 2 for row in range(400)]
    for labelled in (label_sets, LabelSets(labels, several=False)):
        deals = [deal_label_sets(labelled, groups, num_folds=4, seed=seed, small_classes="allow") for seed in (1, 1, 2)]
        assert (deals[0] == deals[1]).all() and (deals[0] != deals[2]).any()


@pytest.mark.parametrize("sizes", [{"a": 40, "rare": 3}, {"a": 3, "b": 2, "c": 1, "d": 4}])
def test_small_classes_can_be_allowed_and_are_named(sizes):
    labels = labels_of(sizes)
    for keys in ({}, {"group": "own"}):
        dealt = deal(labels, {"own": [str(row) for row in range(len(labels))]}, small_classes="allow", **keys)
        for label, count in sizes.items():
            per_fold = Counter(f for f, found in zip(dealt.fold_of_row, labels, strict=True) if found == label)
            assert max(per_fold.values()) == -(-count // 5)  # as far as it goes
        small = sorted((count, label) for label, count in sizes.items() if count < 5)
        named = ", ".join(f"{label!r} (in {count} of 5)" for count, label in small)
        warning, *unseen = dealt.warnings
        assert warning == f"{len(small)} of {len(sizes)} classes are missing from some folds: {named}"
        assert len(unseen) == (1 in sizes.values())


def test_a_class_of_one_image_is_dealt_where_allowed_and_its_price_is_said():
    labels = labels_of({"a": 60, "b": 37, "one": 1, "other": 2})
    for near in (None, {97: "x", 98: "x", 99: "x"}):  # near: all rare images are copies of each other
        dealt = deal(labels, small_classes="allow", near=near)
        assert np.ptp(np.bincount(dealt.fold_of_row)) <= 2
        unseen, images, bound = (1, 1, "0.7500") if near is None else (2, 3, "0.5000")
        assert dealt.warnings[1].startswith(
            f"{unseen} of 4 classes ({images} of 100 images) are held out by one fold alone, whose model never saw "
            f"them: out of fold they are never found (macro F1 at most {bound}), though 4 of the 5 models"
        )


def by_images_and_shares(labels, dealt, num_folds=5):
    """(fewest, most) images of a fold; by which part of its even share the worst class of a fold is off."""
    sizes, totals = np.bincount(dealt, minlength=num_folds), Counter(labels)
    off = furthest_from_due([[label] for label in labels], np.asarray(dealt), num_folds)
    return sizes.min(), sizes.max(), off * num_folds / min(totals.values())


@pytest.mark.parametrize(("groups_of", "each", "singles", "most"), [(40, 25, 200, 243), (100, 5, 500, 202)])
@pytest.mark.parametrize("kind", ["single_label", "ordinal", "multi_label"])
@pytest.mark.parametrize("seed", range(3))
def test_groups_of_copies_count_by_their_images(groups_of, each, singles, most, kind, seed):
    """Before: 120 to 360 images where 240 are due, and 168 to 232 where 200 are."""
    draws = np.random.default_rng(seed)
    groups = [f"g{number}" for number in range(groups_of) for _ in range(each)] + [""] * singles
    labels = draws.choice(["a", "b"], len(groups)).tolist()
    cells = [label_cell([label]) for label in labels] if kind == "multi_label" else labels
    dealt = deal(cells, near=dict(enumerate(groups)), kind=kind).fold_of_row
    fewest, largest, off = by_images_and_shares(labels, dealt)
    assert 2 * most - largest - fewest >= 0 and largest <= most and off < 0.03
    assert not straddling(groups[: groups_of * each], dealt[: groups_of * each])


@pytest.mark.parametrize("keys", [{}, {"group": "own"}])
def test_folds_are_as_even_as_scikit_learns_for_groups(keys):
    from sklearn.model_selection import StratifiedGroupKFold

    for seed in range(5):
        draws = np.random.default_rng(seed)
        groups = draws.integers(0, 200, 2000) ** 2 // 200  # some of 30 images and more
        labels = draws.choice(list("abcde"), 2000, p=[0.4, 0.3, 0.15, 0.1, 0.05]).tolist()
        near = {row: f"g{group}" for row, group in enumerate(groups)}
        dealt = deal(labels, {"own": list(near.values())}, near=near if not keys else None, **keys).fold_of_row
        theirs = np.empty(2000, dtype=int)
        splitter = StratifiedGroupKFold(5, shuffle=True, random_state=seed)
        for fold, (_, rows) in enumerate(splitter.split(labels, labels, groups)):
            theirs[rows] = fold
        own, other = by_images_and_shares(labels, dealt), by_images_and_shares(labels, theirs)
        assert own[1] - own[0] <= max(4, other[1] - other[0]) and own[2] <= max(0.1, other[2])


def test_copies_of_several_classes_count_for_each():
    """The same photograph processed four ways, each way a class: no class has an image of its own."""
    labels = ["sharp", "blurred", "noisy", "dark"] * 50
    near = {row: f"photo{row // 4}" for row in range(200)}
    for kind in ("single_label", "multi_label"):
        cells = [label_cell([label]) for label in labels] if kind == "multi_label" else labels
        dealt = deal(cells, near=near, kind=kind).fold_of_row
        assert not straddling(list(near.values()), dealt)
        assert set(Counter(zip(labels, dealt.tolist(), strict=True)).values()) == {10}


def test_a_group_larger_than_a_fold_is_counted():
    dealt = deal(["a", "b"] * 50, near=dict.fromkeys(range(30), "series"))
    assert dealt.warnings == [
        "1 of 71 groups of images that belong together hold more than a fold's share of 20 images, the largest 30: "
        "folds are uneven; competition.near_copies: ignore lets them lie in several folds"
    ]
    assert sorted(np.bincount(dealt.fold_of_row)) == [17, 17, 18, 18, 30]


MODES = {
    "plain": {},
    "group": {"group": "patient"},
    "prefix": {"group": "file_name_prefix"},
    "time": {"time": "day"},
    "fold_column": {"fold_column": "mine", "num_folds": 3},
}


@pytest.mark.parametrize("kind", ["single_label", "ordinal", "multi_label"])
@pytest.mark.parametrize("copies", [False, True])
@pytest.mark.parametrize("mode", MODES)
@given(order=st.permutations(range(120)))
@settings(max_examples=10, deadline=None)
def test_the_order_of_the_rows_does_not_move_an_image(kind, copies, mode, order):
    draws = np.random.default_rng(0)
    labels = draws.choice(["a", "b", "c"], 120).tolist()
    cells = [label_cell(sorted({label, "a"})) for label in labels] if kind == "multi_label" else labels
    ids = [f"P{number:02d}_{row:03d}" for row, number in enumerate(draws.integers(0, 40, 120))]
    columns = {"patient": draws.integers(0, 40, 120).astype(str).tolist(),
               "day": draws.integers(0, 50, 120).astype(str).tolist(),
               "mine": draws.integers(0, 3, 120).astype(str).tolist()}  # fmt: skip
    near = [f"n{row // 3}" if copies and row < 60 else "" for row in range(120)]

    def dealt_of(order):
        take = [Texts(part[row] for row in order) for part in (ids, cells, near)]
        params = SplitParams(**{"num_folds": 4, "seed": 0} | MODES[mode])
        taken = {name: Texts(column[row] for row in order) for name, column in columns.items()}
        folds = deal_rows(TrainTable(*take), taken, params, kind=kind).fold_of_row
        return dict(zip(take[0], folds.tolist(), strict=True))

    assert dealt_of(order) == dealt_of(range(120))


def test_blocks_of_time_are_in_order_even_and_keep_a_moment_together():
    days = np.random.default_rng(0).integers(1, 29, 400)
    cells = [f"2024-02-{day:02d}" for day in days]
    dealt = deal(["a", "b"] * 200, {"taken": cells}, time="taken")
    by_fold = [sorted(day for day, f in zip(days, dealt.fold_of_row, strict=True) if f == fold) for fold in range(5)]
    assert all(one[-1] < other[0] for one, other in pairwise(by_fold))
    assert max(map(len, by_fold)) - min(map(len, by_fold)) <= 30  # a day has about 14 images
    assert (dealt.method, dealt.warnings) == ("blocks of time by taken", [])


def test_no_block_of_time_is_empty_where_one_moment_has_most_images():
    for moments in ([0, 1, 2] + [3] * 50, [0] * 50 + [1, 2, 3], [0, 1] + [2] * 50 + [3]):
        assert time_blocks(np.array(moments), range(len(moments)), num_folds=4).tolist() == moments


def test_a_group_lies_in_the_block_of_its_earliest_image_and_split_says_so():
    times = [str(row) for row in range(50)]
    dealt = deal(["a"] * 50, {"when": times}, time="when", near={5: "burst", 45: "burst"})
    assert dealt.fold_of_row[5] == dealt.fold_of_row[45] == 0
    assert dealt.warnings == ["1 of 50 images lie in an earlier block of when than their own, with their group"]


@pytest.mark.parametrize(
    "cells",
    [
        ["9", "10", "1e2", "1700000000000000001", "1700000000000000002"],
        ["2023-12-31", "2024-01-01 08:00", "2024-01-01T09:30:00Z", "2024-01-02"],
        ["12/31/2023", "01/15/2024", "02/01/2024"],
        ["31/12/2023", "15/01/2024", "01/02/2024"],
        ["31 Dec 2023", "01 Jan 2024", "15 Feb 2024"],
        ["99-12-31", "00-01-01", "24-01-05 08:00", "68-12-31"],
        ["12/31/23", "01/15/24", "02/01/24"],
        ["2023:12:31 23:00:00", "2024:01:01 09:05:00", "2024:01:02 09:05:00"],
        ["2023. 12. 31.", "2024. 1. 4.", "2024. 1. 15."],
        ["4 May 2024", "9 Jun 2024", "01 Jul 2024"],
        ["2023-12-31 ", " 2024-01-01", "2024-01-02"],
    ],
)
def test_moments_are_ordered_as_numbers_or_dates(cells):
    assert order_in_time(cells, "taken").tolist() == list(range(len(cells)))
    assert order_in_time(cells[::-1] + cells[:1], "taken").tolist() == [*reversed(range(len(cells))), 0]


@pytest.mark.parametrize("cells", [["T1", "T2"], ["1-2", "1-10"], ["may 3", "june 4"], ["08:30:00", "9:30 PM"]])
def test_what_says_no_year_is_no_date(cells):
    """pandas takes T2 for two o'clock of today, and 1-10, a number within a session, for the tenth of January."""
    with pytest.raises(ValueError, match="2 of its 2 cells read neither as a number nor as a date"):
        order_in_time(cells, "taken")


@pytest.mark.parametrize("form", ["%H:%M %d/%m/%Y", "%d-%m/%Y", "%d'%m'%Y"])
def test_what_may_be_one_of_two_dates_in_an_unknown_form_is_none(form):
    """Left alone, pandas takes the first number for the month."""
    cells = [cell for cell, day in zip(days(form), days("%d"), strict=True) if int(day) <= 12]
    with pytest.raises(ValueError, match=f"of its {len(cells)} cells read neither as a number nor as a date"):
        order_in_time(cells, "taken")


def days(form):
    """A date every 11 days through three years, in order, as `form` writes them."""
    return [(datetime(2020, 11, 29, 7, 5) + timedelta(days=11 * n)).strftime(form) for n in range(100)]


FORMS = {
    "%d%m%Y": "dmy", "%m%d%Y": "mdy", "%Y%m%d": "ymd", "%d%m%Y%H%M": "dmy", "%d%m%Y %H:%M:%S": "dmy", "%m%Y": "mdy",
    "%d%m%Y.0": "dmy", "%d/%m/%Y": "dmy", "%m/%d/%Y %H:%M": "mdy", "%d_%m_%Y": "dmy", "%Y_%m_%d": "ymd",
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_dates_of_one_order_are_read_with_and_without_separators(form):
    cells = days(form)
    due = [sorted(set(cells), key=cells.index).index(cell) for cell in cells]
    for own in (cells, [cell.removeprefix("0") for cell in cells] if form in ("%d%m%Y", "%m%d%Y") else cells):
        assert order_in_time(own, "taken").tolist() == order_in_time(own, "taken", FORMS[form]).tolist() == due
    if form[1] != "Y":
        with pytest.raises(ValueError, match=r"of its 100 cells read neither .* \(split.date_order: ymd\)"):
            order_in_time(cells, "taken", "ymd")


@pytest.mark.parametrize(
    ("forms", "keep"),
    [
        ({"%d/%m/%Y": "dmy", "%m/%d/%Y": "mdy"}, 12), ({"%d%m%Y": "dmy", "%m%d%Y": "mdy"}, 12),
        ({"%y-%m-%d": "ymd", "%d-%m-%y": "dmy"}, 31), ({"%y%m%d": "ymd", "%d%m%y": "dmy"}, 31),
        ({"%d.%m.%Y %H:%M": "dmy", "%m.%d.%Y %H:%M": "mdy"}, 12), ({"%d. %m. %Y": "dmy", "%m. %d. %Y": "mdy"}, 12),
        ({"%d,%m,%Y": "dmy", "%m,%d,%Y": "mdy"}, 12), ({"%d:%m:%Y %H:%M": "dmy", "%m:%d:%Y %H:%M": "mdy"}, 12),
    ],
)  # fmt: skip
def test_dates_of_which_two_orders_fit_are_asked_about_and_each_line_settles_it(forms, keep):
    """keep: days of the month that are left, so that they may be months too."""
    for form, order in forms.items():
        cells = [cell for cell, day in zip(days(form), days("%d"), strict=True) if int(day) <= keep]
        with pytest.raises(ValueError, match="the order of day, month and year in its dates cannot be told") as error:
            order_in_time(cells, "taken")
        lines = [line.strip().partition("    # ") for line in str(error.value).splitlines()[1:]]
        assert {line[0] for line in lines} >= {f"split.date_order: {own}" for own in forms.values()}
        assert order_in_time(cells, "taken", order).tolist() == list(range(len(cells)))
        meant = next(line[2] for line in lines if line[0].endswith(order))
        assert f"{cells[0]!r} is 20" in meant or cells[0] not in meant


def test_orders_that_say_the_same_of_all_images_are_no_question():
    assert order_in_time(["01/02/03", "01/02/04"], "taken").tolist() == [0, 1]


def test_numbers_whose_order_says_nothing_of_time_are_refused():
    seconds = [f"{1700000000 + 86400 * n}" for n in range(5)]
    assert (
        order_in_time(seconds, "taken").tolist() == order_in_time([f"{cell}000" for cell in seconds], "taken").tolist()
    )
    with pytest.raises(ValueError, match=r"from 1,700,086,400 to 1,700,000,000,000; if they are seconds and millisec"):
        order_in_time([f"{seconds[0]}000", seconds[1]], "taken")
    with pytest.raises(ValueError, match="split.date_order: number    # '2021.9' is 2021.9"):
        order_in_time(["2021.9", "2021.12"], "taken")
    assert order_in_time(["2021.9", "2021.12"], "taken", "ymd").tolist() == [0, 1]
    assert order_in_time(["2021.9", "2021.12"], "taken", "number").tolist() == [1, 0]


def test_the_users_folds_are_mapped_in_order_and_copies_across_them_named():
    cells = ["10", "2", "33", "2"] * 5
    dealt = deal(["a", "b"] * 10, {"my_fold": cells}, num_folds=3, fold_column="my_fold", near={0: "same", 1: "same"})
    assert dealt.fold_of_row.tolist() == [1, 0, 2, 0] * 5
    assert dealt.warnings == [
        "1 sets of copies or near-copies lie in several folds of my_fold; the score will look better than it is",
        "2 of 2 classes are missing from some folds: 'b' (in 1 of 3), 'a' (in 2 of 3)",
        "1 of 2 classes (10 of 20 images) are held out by one fold alone, whose model never saw them: out of fold they "
        "are never found (macro F1 at most 0.5000), though 2 of the 3 models that predict the test images know them",
    ]
    assert own_folds(["b", "a", "b"], "f", num_folds=2).tolist() == [1, 0, 1]
    assert own_folds(["10.0", "-0.5", "2.0", "-1.0"], "f", num_folds=4).tolist() == [3, 1, 2, 0]


def test_empty_cells_of_a_group_column_tie_nothing_together():
    patients = ["", "p1", "p1", ""] * 10
    dealt = deal(["a"] * 40, {"patient": patients}, num_folds=2, group="patient")
    assert dealt.warnings == ["patient is empty for 20 of 40 images; each of these counts as a group of its own"]
    assert np.bincount(dealt.fold_of_row).min() >= 18


COLUMNS = {
    "Patient_ID": [f"p{row % 3}" for row in range(40)],
    "taken": ["2024-01-01"] * 39 + ["soon"],
    "year": ["2023", "2024"] * 20,
    "mine": ["x", "y"] * 20,
    "gaps": ["x", ""] * 20,
}


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"group": "patient"}, "split.group is 'patient', which the organiser's train table does not have; did you mean Patient_ID? its 5 columns: Patient_ID, taken, year, mine, gaps"),
        ({"time": "zzz"}, "split.time is 'zzz', which the organiser's train table does not have; its 5 columns: "),
        ({"fold_column": "min"}, "split.fold_column is 'min', which the organiser's train table does not have; did you mean mine?"),
        ({"group": "Patient_ID"}, "40 images form 3 groups, fewer than the 5 folds; the largest has 14 images; take folds out of params.yaml"),
        ({"group": "file_name_prefix"}, "split.group is file_name_prefix, but the 40 image names, first '0000', have no prefix"),
        ({"time": "taken"}, "split.time is 'taken': 1 of its 40 cells read neither as a number nor as a date, first 'soon' in row 40"),
        ({"time": "year"}, "split.time tells 2 moments apart (40 images, groups at their earliest), fewer than the 5 folds"),
        ({"fold_column": "mine"}, "split.fold_column is 'mine', which has 2 distinct values ('x', 'y') for 5 folds; set"),
        ({"fold_column": "gaps"}, "split.fold_column is 'gaps', which is empty for 20 of 40 images; every image needs a fold"),
    ],
)  # fmt: skip
def test_a_column_that_does_not_serve_is_named_with_its_counts(keys, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        deal(["a"] * 40, COLUMNS, **keys)


def test_a_class_in_fewer_groups_than_folds_stops_the_split():
    labels, patients = labels_of({"a": 40, "b": 10}), [f"p{row // 5}" for row in range(50)]
    message = re.escape(
        "1 of 2 classes have fewer groups than the 5 folds: 'b' has 2 (in 10 rows); take folds out of params.yaml until 2 are left, or add images of them, or set split.small_classes: allow"
    )
    for keys in ({"group": "patient"}, {"group": "patient", "time": "when"}):
        with pytest.raises(ValueError, match=message):
            deal(labels, {"patient": patients, "when": patients}, **keys)
    with pytest.raises(ValueError, match="'rare' has 1"):
        deal([label_cell(["a"])] * 9 + [label_cell(["rare", "a"])], kind="multi_label")


def test_a_group_so_large_that_folds_stay_empty_is_counted():
    with pytest.raises(
        ValueError, match=r"1 of 3 folds would be empty \(2\): 12 images form 4 groups, the largest has 9"
    ):
        refuse_empty_folds(np.array([0] * 9 + [1] * 3), [0] * 9 + [1, 2, 3], 3)


def test_likely_groups_are_found_and_plain_columns_are_not():
    draws = np.random.default_rng(0)
    owners = draws.integers(0, 60, 300)
    labels = draws.choice(["cat", "dog"], 300).tolist()
    image_ids = [f"img_P{owner:03d}_{row}.png" for row, owner in enumerate(owners)]
    columns = {
        "id": image_ids,
        "PatientID": [str(owner) for owner in owners],  # groups alike: the file names say nothing new
        "width": draws.integers(100, 140, 300).astype(str).tolist(),
        "category_id": [str(len(label) + ord(label[0])) for label in labels],  # the label, spelled otherwise
        "dataset": ["one"] * 300,
        "origin": [f"S-{number:02d}" for number in draws.integers(0, 20, 300)],
    }
    folds = deal(labels).fold_of_row
    columns, labels = {name: Texts(cells) for name, cells in columns.items()}, Texts(labels)
    found = {finding.name: finding for finding in likely_groups(columns, image_ids, folds, labels=labels)}
    assert list(found) == ["PatientID", "origin"]
    names_alone = likely_groups({"id": columns["id"]}, image_ids, folds, labels=labels)
    assert [finding.name for finding in names_alone] == ["file_name_prefix"]
    counts = straddling(owners.tolist(), folds.tolist())
    share = sum(owner in counts for owner in owners.tolist()) / 300
    for finding in (found["PatientID"], names_alone[0]):
        assert (finding.num_groups, finding.num_straddling) == (len(set(owners)), len(counts))
        assert finding.share_straddling == share
    assert str(names_alone[0]).endswith(
        "% of the images); set split.group: file_name_prefix if images of one file-name prefix must share a fold"
    )


def test_groups_that_are_heeded_are_not_pointed_out():
    patients = [f"p{row // 4}" for row in range(200)]
    labels = Texts(["a", "b"] * 100)
    dealt = deal(labels, {"patient_id": patients}, group="patient_id").fold_of_row
    assert not likely_groups({"patient_id": Texts(patients)}, patients, dealt, labels=labels)


@pytest.mark.parametrize("form", ["{0:04d}", "img_{0:04d}.png", "{0:08x}-ab12", "{1}_{0:03d}.jpg", "train/{0}.png"])
def test_plain_names_have_no_prefix(form):
    labels = ["cat", "dog", "cow", "owl", "ant"] * 40
    names = [form.format(row, label) for row, label in enumerate(labels)]
    assert not len(file_name_prefixes(names, Texts(labels), num_folds=5))


def test_the_prefix_is_the_shortest_that_tells_groups_apart():
    names = [f"train_P{row // 4:02d}_L_{row}.png" for row in range(80)]
    prefixes = file_name_prefixes(names, Texts(["a", "b"] * 40), num_folds=5)
    assert (prefixes[0], prefixes[-1], len(set(prefixes))) == ("train_P00", "train_P19", 20)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,label\n1,a\n", "has the columns ['id', 'label'], the first must be image_id; run `dvc repro -f ingest`"),
        ("image_id,x\n1,a\n2\n", "is damaged: 1 lines lack cells, first [3]"),
        ("image_id,x\n2,a\n1,b\n", "has 2 rows that are not those of the train table (2) in its order"),
    ],
)
def test_a_columns_file_that_does_not_fit_the_train_table_stops(tmp_path, text, message):
    (tmp_path / "columns.csv").write_text(text)
    with pytest.raises(ValueError, match=re.escape(message)):
        read_train_columns(tmp_path / "columns.csv", ["1", "2"])


def test_columns_keep_their_text_and_the_first_of_a_name(tmp_path):
    (tmp_path / "columns.csv").write_text('image_id,image_id,a,a\n1,x,"0,1",p\n2,y,,q\n')
    found = read_train_columns(tmp_path / "columns.csv", ["1", "2"])
    assert found == {"image_id": ["x", "y"], "a": ["0,1", ""]}
    (tmp_path / "columns.csv").write_text("image_id\n1\n2\n")
    assert read_train_columns(tmp_path / "columns.csv", ["1", "2"]) == {}


def test_the_stage_states_method_and_sizes_and_warns_until_the_group_is_set(workplace, capsys):
    labels = ["a", "b"] * 60
    folder = workplace.path("data/competition")
    folder.mkdir(parents=True)
    table = rows_of(labels)
    write_target(folder / "target.json", Target(kind="single_label", columns=("label",), classes=("a", "b")))
    rows = list(zip(table.image_ids, table.labels, strict=True))
    write_table(folder / "train.csv", TRAIN_COLUMNS, rows)
    write_table(
        workplace.path("data/groups.csv"),
        GROUPS_COLUMNS,
        zip(table.image_ids, table.groups, [""] * len(labels), strict=True),
    )
    cells = [(name, label, f"p{row // 4}") for row, (name, label) in enumerate(rows)]
    write_table(folder / "train_columns.csv", ("image_id", "label", "patient_id"), cells)

    workplace.run("split")
    said = capsys.readouterr().out.splitlines()
    assert said[:3] == [
        "120 images dealt into 2 folds of 60 to 60",
        "method: stratified by label",
        "images by fold: 0: 60, 1: 60",
    ]
    assert re.fullmatch(r"warning: \d+ of 30 values of patient_id lie in several folds \(\d+% of the images\); set "
                        "split.group: patient_id if images of one patient_id must share a fold", said[3])  # fmt: skip
    workplace.params["split"]["group"] = "patient_id"
    workplace.run("split")
    said = capsys.readouterr().out.splitlines()
    assert said[1:] == ["method: stratified by label, grouped by patient_id", "images by fold: 0: 60, 1: 60"]
    table = read_table(workplace.path("data/folds.csv"), ("image_id", "fold"))
    assert not straddling([cell[2] for cell in cells], [int(fold) for fold in table["fold"]])


def test_split_writes_a_fold_for_every_row_and_keeps_duplicates_together(workplace):
    files = competition_files()
    files["train/003.png"] = files["train/009.png"] = files["train/000.png"]
    write_zip(workplace.raw, files)
    for stage in ("ingest", "decode_train", "decode_test", "audit", "split"):
        workplace.run(stage)
    table = read_table(workplace.path("data/folds.csv"), ("image_id", "fold"))
    fold_of = dict(zip(table["image_id"], table["fold"], strict=True))
    assert len(fold_of) == 30
    assert len({fold_of[name] for name in ("000", "003", "009")}) == 1


def test_split_refuses_files_of_a_fold_that_params_no_longer_names(workplace):
    workplace.run("ingest")
    for name in ("data/oof/1.npz", "data/oof/2.npz", "data/models/2.safetensors"):
        workplace.path(name).parent.mkdir(exist_ok=True, parents=True)
        workplace.path(name).write_bytes(b"")
    with pytest.raises(
        ValueError, match=r"2 files belong to no fold that params.yaml names \(0, 1\).*rm .*2.safetensors .*2.npz"
    ):
        workplace.run("split")
