"""pipeline.base.lookup: as a dict of lists, at any size, also where hashes fall together."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.base.lookup import Lookup


def keys_of(item):
    return {item, item[:2]}


@given(st.lists(st.text("abé", max_size=4), max_size=60), st.text("abé", max_size=4))
def test_it_finds_what_a_dict_of_lists_finds(items, sought):
    expected = {}
    for item in items:
        for key in keys_of(item):
            expected.setdefault(key, []).append(item)
    lookup = Lookup(items, keys_of)
    for key in [sought, *expected]:
        assert lookup.find(key) == expected.get(key, [])


def test_keys_of_one_hash_are_told_apart():
    assert hash(-1) == hash(-2)  # CPython's, for -1 is its error value
    lookup = Lookup(["-1", "-2", "-1"], lambda item: (int(item),))
    assert lookup.find(-2) == ["-2"]
    assert lookup.find(-1) == ["-1", "-1"]


@pytest.mark.parametrize("items", [[], ["a"]])
def test_nothing_is_found_where_nothing_is(items):
    assert Lookup(items, keys_of).find("zz") == []
