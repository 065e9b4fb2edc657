"""Several labels in a cell: what is a list, what is a name, and what nobody can tell."""

import pytest

from pipeline.competition.lists import found_delimiter, split_list, written_list

DOUBTFUL = {
    "each with each": "a-b b-c a-c",
    "some alone": "rust a-b b-c a-c",
    "eye diseases": "AMD-CNV AMD-DME CNV-DME",
    "plus": "scab+rust scab+spot mildew+rust mildew+spot",
    "slash": "a/b b/c c/a",
    "and": "oil&salt oil&fat salt&fat",
    "underscores": "cat_dog dog_owl cat_owl",
    "codes": "1-2 2-3 1-3",
    "numbers, one of which never stands alone": "0 1 2 5 7 1/6 2/5 5/7",
    "words that also stand alone": "up left up-left down down-left",
    "a label twice in one cell": "cat cat|owl dog dog|owl owl owl|owl",
}
NAMES = {
    "one with a hyphen": "t-shirt jeans coat",
    "a negation": "recyclable non-recyclable trash",
    "order says something": "left-right right-left up-down down-up",
    "each part has its place": "left-top left-low right-top right-low",
    "attribute and thing": "middle-aged-man middle-aged-woman young-man young-woman old-man old-woman",
    "most parts stand once": "red-fox fox-terrier wolf",
    "ranges": "0-10 10-20 20-30 30-40 40-50 50-60 60-70 70-80 80-90 90-100",
    "dates": "2020-01-02 2020-02-01 2020-01-03 2020-03-02",
    "plant and disease": "Tomato___Early_blight Tomato___Late_blight Potato___Early_blight Potato___Late_blight",
    "synsets": "n02085620-Chihuahua n02085782-Japanese n02085936-Maltese",
    "negative numbers": "-2 -1 0 1 2",
    "numbered": "class_1 class_2 class_3",
    "two of them": "a-b b-c",
}


@pytest.mark.parametrize("name", DOUBTFUL)
def test_parts_in_ever_other_company_are_asked_about(name):
    assert found_delimiter(DOUBTFUL[name].split()) is None


@pytest.mark.parametrize("name", NAMES)
def test_a_name_with_a_mark_in_it_is_a_name(name):
    assert found_delimiter(NAMES[name].split()) == ""


def test_words_of_names_that_the_sample_writes_in_other_company_are_asked_about():
    """`animal fur` is no label: the sample's cell may be a list, of which each word stands in some label."""
    cells = ["animal flies", "animal fur hooves", "animal pet fur", "vehicle road", "vehicle flies"]
    assert found_delimiter(cells, written=["animal fur"]) is None
    assert found_delimiter(cells, written=["animal pet fur"]) == found_delimiter(cells, written=["none yet"]) == ""
    assert found_delimiter(cells, written=["animal fur", "animal flies"]) == "", "it writes whole labels too"
    assert found_delimiter(cells) == ""


def test_columns_of_the_sample_say_which_parts_are_labels():
    cells = ["a-b", "b-c", "a-c"]
    assert found_delimiter(cells, names=("a", "b", "c")) == "-"
    assert found_delimiter(cells, names=("a-b", "b-c", "a-c")) == ""


@pytest.mark.parametrize("mark", ["|", ", ", " | ", " ; ", "\n", "\t", " "])
def test_a_list_is_written_as_it_was_read(mark):
    rows = [["scab"], ["rust"], ["scab", "rust"], ["rust", "mildew"], ["mildew"]]
    cells = [mark.join(row) for row in rows]
    found = found_delimiter(cells)
    assert found is not None
    assert [split_list(cell, found) for cell in cells] == rows
    assert [written_list(row, found) for row in rows] == cells
