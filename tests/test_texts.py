"""pipeline.base.texts: as a list of strings is, at any length, for any text that UTF-8 can hold."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.base import texts
from pipeline.base.texts import Texts, columns_of_rows, joined_texts, rows_of_equals

ANY = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)  # "Cs": halves of surrogate pairs
LISTS = st.lists(ANY | st.sampled_from(["", "a", "\0", "007", "한글", "longer than fifteen bytes"]), max_size=30)


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch):
    """So that a few texts take several pieces."""
    monkeypatch.setattr(texts, "PIECE", 7)
    monkeypatch.setattr(texts, "PIECE_OF_CELLS", 12)
    monkeypatch.setattr(texts, "MIN_ROWS", 2)


@given(LISTS, ANY, st.slices(30))
def test_it_reads_as_the_list_does(plain, sought, some):
    packed = Texts(iter(plain))
    assert list(packed) == plain and len(packed) == len(plain)
    assert [packed[row] for row in range(len(plain))] == plain
    assert list(packed[some]) == plain[some]
    assert all(text in packed for text in plain) and (sought in packed) == (sought in plain) and 7 not in packed
    assert packed.where(sought).tolist() == [text == sought for text in plain]
    assert list(packed.distinct()) == sorted(set(plain))
    assert packed.all_distinct() == (len(set(plain)) == len(plain))
    assert list(joined_texts([packed, Texts(), packed])) == plain * 2


@given(LISTS, LISTS)
def test_it_equals_what_has_the_same_texts(one, other):
    assert (Texts(one) == Texts(other)) == (one == other) == (Texts(one) == other)
    assert (Texts(one) == one) and (Texts(one) == tuple(one)) and Texts(one) != 7


@given(LISTS.filter(len), st.randoms())
def test_rows_are_taken_by_place_and_by_choice(plain, random):
    rows = [random.randrange(len(plain)) for _ in range(random.randrange(12))]
    packed, chosen = Texts(plain), np.array([random.random() < 0.5 for _ in plain])
    assert list(packed.take(np.array(rows, dtype=np.int64))) == [plain[row] for row in rows]
    assert list(packed.take(chosen)) == [text for text, taken in zip(plain, chosen, strict=True) if taken]
    assert list(packed.take(np.arange(len(plain)))) == plain


@given(LISTS)
def test_equal_rows_are_grouped_as_a_dict_groups_them(plain):
    for key in (None, len):
        groups = {}
        for row, text in enumerate(plain):
            groups.setdefault(text if key is None else key(text), []).append(row)
        expected = [rows for rows in groups.values() if len(rows) > 1]
        assert rows_of_equals(plain, key) == rows_of_equals(Texts(plain), key) == expected


def test_keys_of_one_hash_are_told_apart():
    assert hash(-1) == hash(-2)  # CPython's, for -1 is its error value
    assert rows_of_equals(["-1", "-2", "-1"], int) == [[0, 2]]


@given(st.lists(st.lists(ANY, min_size=2, max_size=4), max_size=20))
def test_rows_become_columns_and_odd_ones_are_counted(rows):
    columns, odd = columns_of_rows(rows, 3)
    fitting = [row for row in rows if len(row) == 3]
    assert [list(column) for column in columns] == [[row[place] for row in fitting] for place in range(3)]
    assert odd == [number for number, row in enumerate(rows) if len(row) != 3]
    assert [list(column) for column in columns_of_rows(rows, 3, keep=(2, 0))[0]] == [
        [row[place] for row in fitting] for place in (2, 0)
    ]


def test_half_a_surrogate_pair_is_refused():
    with pytest.raises(UnicodeEncodeError, match="surrogates not allowed"):
        Texts(["a", "\ud800"])
