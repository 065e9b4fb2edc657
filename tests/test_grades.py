"""Grades that are words: their order is read, asked or given, never the alphabet's in silence."""

import pytest
from conftest import csv_bytes, encoded, image_of, write_zip
from layouts import sound_layout

GRADES = ("none", "mild", "moderate", "severe")
ALPHABETICAL = ("mild", "moderate", "none", "severe")
ORDINAL, KAPPA = {"target": "ordinal"}, {"metric": "qwk"}


def layout_of(tmp_path, *, words=GRADES, header=("id", "grade"), cells=("none",), more=None, **settings):
    """words: the labels, in turns; cells: of each row of the sample."""
    found = {f"train/{n:02d}.png": encoded(image_of(n, n)) for n in range(24)}
    found["train.csv"] = csv_bytes(("id", "grade"), [(f"{n:02d}", words[n % len(words)]) for n in range(24)])
    found |= {f"test/9{n}.png": encoded(image_of(40 + n, n)) for n in range(6)}
    found["sample_submission.csv"] = csv_bytes(header, [(f"9{n}", *cells) for n in range(6)])
    found |= {name: text.encode() for name, text in (more or {}).items()}
    return sound_layout(write_zip(tmp_path / "raw.zip", found), **settings)


@pytest.mark.parametrize("settings", [ORDINAL, KAPPA], ids=["target", "metric"])
def test_where_the_order_counts_it_is_asked(tmp_path, settings):
    asked = r"the grades are words.*\n    competition.grades: \[mild, moderate, none, severe\] .*by alphabet"
    with pytest.raises(ValueError, match=asked):
        layout_of(tmp_path, **settings)
    assert layout_of(tmp_path, grades=GRADES, **settings).target.classes == GRADES
    assert layout_of(tmp_path).target.classes == ALPHABETICAL, "where it does not count"


def test_columns_of_a_sample_are_offered_in_their_order(tmp_path):
    in_columns = {"header": ("id", *GRADES), "cells": (0.1, 0.2, 0.3, 0.4)}
    with pytest.raises(ValueError, match=r"competition.grades: \[none, mild, moderate, severe\] .*by column"):
        layout_of(tmp_path, **in_columns, **ORDINAL)
    layout = layout_of(tmp_path, **in_columns, grades=GRADES[::-1], **ORDINAL)
    assert layout.target.classes == GRADES[::-1] and layout.submission.classes == GRADES


def test_a_file_that_numbers_them_says_it_and_a_list_in_alphabetical_order_does_not(tmp_path):
    numbered = {"grades.csv": "grade,name\n0,none\n1,mild\n2,moderate\n3,severe\n"}
    layout = layout_of(tmp_path, more=numbered, **ORDINAL)
    assert layout.target.classes == GRADES
    assert "grades are in the order of grades.csv: none, mild, moderate, severe" in layout.notes
    with pytest.raises(ValueError, match="nothing says their order"):
        layout_of(tmp_path, more={"classes.txt": "mild\nmoderate\nnone\nsevere\n"}, **ORDINAL)


@pytest.mark.parametrize("given", [GRADES[:3], (*GRADES, "none"), (*GRADES[:3], "grave")])
def test_what_is_given_names_each_label_once(tmp_path, given):
    with pytest.raises(ValueError, match=r"competition.grades is .*name each once"):
        layout_of(tmp_path, grades=given, **ORDINAL)


def test_numbers_stand_by_value(tmp_path):
    assert layout_of(tmp_path, words=("10", "9", "2"), cells=("9",), **ORDINAL).target.classes == ("2", "9", "10")


def test_probabilities_that_are_asked_of_labels_are_said(tmp_path):
    (said,) = layout_of(tmp_path, metric="log_loss").warnings
    assert said.startswith("metric log_loss is of probabilities, the sample asks for labels")
