"""Kinds of input that organisers hand out and that once were answered wrongly or refused, a small competition of each.

Each is read as `inspect --write` and then `ingest` read it, which must say the same; the answers of a model that is
always right must then be the rows that a competitor would expect.
"""

import dataclasses
import gzip
import hashlib
import json

import numpy as np
import pytest
import yaml
from conftest import ROOT, csv_bytes, encoded, image_of, write_zip

from pipeline.archive.archive import open_archive
from pipeline.base.params import CompetitionParams, load_section
from pipeline.commands.inspection import inspect_competition, write_settings
from pipeline.competition.problems import Problems
from pipeline.layout.context import Overrides
from pipeline.layout.layout import read_layout
from pipeline.submission.answers import answers_of, row_cells
from pipeline.submission.contract import check_submission, make_submission, parse_table

NUM_TRAIN, NUM_TEST = 24, 6
TRAIN, TEST = [f"{n:03d}" for n in range(NUM_TRAIN)], [f"9{n:02d}" for n in range(NUM_TEST)]
IMAGE = [encoded(image_of(n, n)) for n in range(NUM_TRAIN + NUM_TEST)]
WORDS = ("oak", "elm", "fir")


def cycle(labels):
    """The label of each training image, in turns."""
    return [labels[n % len(labels)] for n in range(NUM_TRAIN)]


def files(
    labels, sample, *, column="label", asked="label", more=None, train="train/{}.png", ids=TRAIN, extra=None, rows=None
):
    """A table `id, <column>`; sample: the cells of `<asked>`, in turns; rows: of the train table, instead."""
    found = {
        train.format(name, label=label): image for name, label, image in zip(TRAIN, cycle(labels), IMAGE, strict=False)
    }
    found |= {f"test/{name}.png": image for name, image in zip(TEST, IMAGE[NUM_TRAIN:], strict=False)}
    header, cells = extra or ((), [()] * NUM_TRAIN)
    own = [(row_id, label, *cell) for row_id, label, cell in zip(ids, cycle(labels), cells, strict=False)]
    found["train.csv"] = csv_bytes(("id", column, *header), rows or own)
    header = (asked,) if isinstance(asked, str) else asked
    written = [sample[n % len(sample)] for n in range(NUM_TEST)]
    rows = [(name, *(cell if isinstance(cell, tuple) else (cell,))) for name, cell in zip(TEST, written, strict=False)]
    found["sample_submission.csv"] = csv_bytes(("id", *header), rows)
    return found | (more or {})


def folders(labels, sample, *, place="train/{label}/{}.png", more=None):
    found = files(labels, sample, train=place, more=more)
    return {name: content for name, content in found.items() if name != "train.csv"}


def moved(found, old, new):
    """The files with another beginning of their paths."""
    return {new + name[len(old) :] if name.startswith(old) else name: content for name, content in found.items()}


def labels_and_files_apart(labels=WORDS, listed=(*TRAIN, *TEST), column="label"):
    """labels.csv: number, label; images.csv: number, file. The sample asks for numbers."""
    number = {name: 500 + n for n, name in enumerate((*TRAIN, *TEST))}
    found = files(labels, [labels[0]], asked=column, ids=[number[name] for name in TRAIN], column=column)
    rows = [(number[name], f"{name}.png") for name in listed]
    found |= {"labels.csv": found.pop("train.csv"), "images.csv": csv_bytes(("id", "file"), rows)}
    return found | {"sample_submission.csv": csv_bytes(("id", column), [(number[name], labels[0]) for name in TEST])}


def hashed_file(name):
    return f"{hashlib.md5(name.encode()).hexdigest()}.png"


def tables_of_a_database(key="image_id", own="id", numbers=range(1, 100), file_of=hashed_file):
    """images.csv: number (or a name), file; labels.csv: own number, that of the image, label, in another order."""
    number = dict(zip((*TRAIN, *TEST), numbers, strict=False))
    hashed = {name: file_of(name) for name in number}
    pixels = files(WORDS, ["oak"])
    found = {f"train/{hashed[name]}": pixels[f"train/{name}.png"] for name in TRAIN}
    found |= {f"test/{hashed[name]}": pixels[f"test/{name}.png"] for name in TEST}
    found["images.csv"] = csv_bytes(("id", "file"), [(number[name], hashed[name]) for name in number])
    rows = [(number[name], label) for name, label in zip(TRAIN, cycle(WORDS), strict=True)][::-1]
    found |= {"labels.csv": csv_bytes((own, key, "label"), [(n, *row) for n, row in enumerate(rows, 1)])}
    return found | {"sample_submission.csv": csv_bytes(("id", "label"), [(number[name], "oak") for name in TEST])}


def a_folder_for_each_image(names, **more):
    """train/0/photo_1.png, train/1/photo_1.png; names: of the files in their folders, in turns."""
    found = files(WORDS, ["oak"], train="train/{}/file", ids=[str(int(name)) for name in TRAIN], **more)
    pairs = list(zip(found.items(), (names * len(found))[: len(found)], strict=True))
    return {
        f"{path.partition('/')[0]}/{int(path.split('/')[1].split('.')[0])}/{own}" if "/" in path else path: content
        for (path, content), own in pairs
    } | {"sample_submission.csv": csv_bytes(("id", "label"), [(name, "oak") for name in TEST])}


def asked(ids):
    """A sample with these ids for the test images."""
    return {"sample_submission.csv": csv_bytes(("id", "label"), [(row_id, "oak") for row_id in ids])}


def numbered_in_each_class():
    """train/oak/0.png, train/elm/0.png, …"""
    found = {f"train/{label}/{n // 3}.png": IMAGE[n] for n, label in enumerate(cycle(WORDS))}
    rest = files(WORDS, ["oak"], rows=[(f"{n // 3}.png", label) for n, label in enumerate(cycle(WORDS))])
    return found | {name: content for name, content in rest.items() if not name.startswith("train/")}


def sampleless(found, **more):
    return {name: content for name, content in found.items() if name != "sample_submission.csv"} | more


def parts_in_a_column():
    """One table of all, with classes, a group of classes and the part of each row; no sample."""
    names = [
        f"{part}/{name}.png"
        for part, some in (("train", TRAIN[:18]), ("valid", TRAIN[18:]), ("test", TEST))
        for name in some
    ]
    rows = [(name, WORDS[n % 3], ("tree", "bush")[n % 3 > 1], name.split("/")[0]) for n, name in enumerate(names)]
    return dict(zip(names, IMAGE, strict=True)) | {
        "trees.csv": csv_bytes(("filepaths", "labels", "kind", "data set"), rows)
    }


def labels_of_all_in_one_table(train, test):
    """One table with a label for each image, of training and of test; nothing else says which are to be predicted."""
    places = [train.format(name) for name in TRAIN] + [test.format(name) for name in TEST]
    rows = [(place, label) for place, label in zip(places, (*cycle(WORDS), *WORDS, *WORDS), strict=True)]
    return dict(zip(places, IMAGE, strict=True)) | {"metadata.csv": csv_bytes(("file_name", "label"), rows)}


def ids_counted_on_each_side():
    """Tables of ids and paths, on each side counted from 0; a training image is called as a test id is."""
    places = {
        "train": [f"images/00/{n}.png" for n in range(NUM_TRAIN)],
        "test": [f"images/x{n}.png" for n in range(NUM_TEST)],
    }
    found = {
        f"{side}/{path}": image
        for (side, path), image in zip([(side, path) for side in places for path in places[side]], IMAGE, strict=True)
    }
    rows = [(n, path, label) for n, (path, label) in enumerate(zip(places["train"], cycle(WORDS), strict=True))]
    found["train/metadata.csv"] = csv_bytes(("id", "file_name", "label"), rows)
    found["test/metadata.csv"] = csv_bytes(("id", "file_name"), [(n, path) for n, path in enumerate(places["test"])])
    return found | {"sample_submission.csv": csv_bytes(("id", "label"), [(n, "oak") for n in range(NUM_TEST)])}


def a_table_in_each_folder():
    """`_classes.csv` with a 0/1 column for each class in the folders of training, validation and test images."""
    found = {}
    labels = [*cycle(WORDS), *(WORDS[n % 2] for n in range(NUM_TEST))]
    for part, numbers in (
        ("train", range(18)),
        ("valid", range(18, NUM_TRAIN)),
        ("test", range(NUM_TRAIN, NUM_TRAIN + NUM_TEST)),
    ):
        found |= {f"{part}/{n:03d}.png": IMAGE[n] for n in numbers}
        rows = [(f"{n:03d}.png", *(int(labels[n] == word) for word in WORDS)) for n in numbers]
        found[f"{part}/_classes.csv"] = csv_bytes(("filename", *WORDS), rows)
    return found


def renamed(found, names):
    return {names.get(name, name): content for name, content in found.items()}


def lists(labels, mark, *, sample=None, style=None):
    """Every set of one or more of the labels, in turns."""
    sets = [[label for bit, label in enumerate(labels) if (n + 1) >> bit & 1] for n in range(2 ** len(labels) - 1)]
    written = style or mark.join
    return files([written(found) for found in sets], [sample or written(sets[2])], column="labels", asked="labels")


def rows_of(labels):
    return [(name, label) for name, found in zip(TRAIN, labels, strict=False) for label in found]


def numbered_alike(labels, asked, *, place="{}/{}.png"):
    """A folder of 0.png, 1.png, … for each class."""
    found = {place.format(label, n // len(labels)): IMAGE[n] for n, label in enumerate(cycle(labels))}
    rest = {name: content for name, content in files(labels, asked).items() if name[:5] != "train"}
    return found | rest


def affirmed(*, denied=True):
    """id, label, 1 or 0: two labels of each image; denied: those with 0 are the ones that it lacks."""
    rows = [(name, TAGS[(n + k) % 3], int(k < 2)) for n, name in enumerate(TRAIN) for k in range(3 if n % 2 else 2)]
    return rows if denied else [(name, TAGS[(n + k) % 3], k) for n, name in enumerate(TRAIN) for k in range(2)]


def in_two_formats(*, lacking=0):
    """Every image as PNG and as TIFF, in folders of their own; lacking: how many test images are not there as PNG."""
    found = {}
    for side, names, images in (("train", TRAIN, IMAGE), ("test", TEST, IMAGE[NUM_TRAIN:])):
        for n, (name, image) in enumerate(zip(names, images, strict=False)):
            found[f"{side}-tif-v2/{name}.tif"] = encoded(image_of(n, n), "TIFF")
            if side == "train" or n >= lacking:
                found[f"{side}-png/{name}.png"] = image
    return found | {name: content for name, content in files(WORDS, ["oak"]).items() if "/" not in name}


@dataclasses.dataclass(frozen=True)
class Kind:
    """What a competition must be read as."""

    files: dict
    classes: tuple = WORDS
    written: tuple = ()  # cells of the value columns of a row whose image is of the first class (or has it alone)
    asks: tuple = ()  # lines that are offered, the right one first
    says: str = ""  # in the warnings or notes
    stops: str = ""
    allow: tuple = ()
    num_train: int = NUM_TRAIN


SHARED_WORDS = ("Tomato Early Blight", "Tomato Late Blight", "Tomato Healthy", "Potato Early Blight", "Potato Healthy")
TAGS = ("scab", "rust", "mildew")
KINDS = {
    # -- lists and names
    "names that share words": Kind(files(SHARED_WORDS, ["Tomato Healthy"]), SHARED_WORDS, (SHARED_WORDS[0],)),
    "lists with comma and blank": Kind(lists(TAGS, ", "), TAGS, ("scab",)),
    "lists with blanks": Kind(lists(TAGS, " "), TAGS, ("scab",)),
    "lists with a bar between blanks": Kind(lists(TAGS, " | "), TAGS, ("scab",)),
    "lists of a label a line": Kind(lists(TAGS, "\n"), TAGS, ("scab",)),
    "lists of names with blanks": Kind(lists(("leaf scab", "leaf rust", "mildew"), ", "), ("leaf scab", "leaf rust", "mildew"), ("leaf scab",)),
    "lists as Python writes them": Kind(lists(TAGS, "", style=repr), TAGS, ("['scab']",)),
    "lists as JSON has them": Kind(lists(TAGS, "", style=lambda found: str(found).replace("'", '"')), TAGS, ('["scab"]',)),
    "lists of numbers in brackets": Kind(lists(("4", "5", "6"), "", style=lambda found: f"[{', '.join(found)}]"), ("4", "5", "6"), ("[4]",)),
    "lists with a trailing mark": Kind(files([f"{'|'.join(found)}|" for found in (["scab"], ["scab", "rust"], ["rust"])], ["scab|rust"]), ("scab", "rust"), ("scab",)),
    "lists or names": Kind(
        files(["a red cat", "red cat", "a red dog", "red dog", "a blue dog", "blue dog", "a blue cat", "blue cat"], [""]),
        ("a red cat", "red cat", "a red dog", "red dog", "a blue dog", "blue dog", "a blue cat", "blue cat"), ("a red cat",), asks=("delimiter: none", "delimiter: ' '"),
    ),
    "names of which the sample writes one more": Kind(
        files((*SHARED_WORDS[:3], "Potato Late Blight", "Potato Healthy"), ["Potato Early Blight"]), (*SHARED_WORDS[:3], "Potato Late Blight", "Potato Healthy"), (SHARED_WORDS[0],),
        asks=("delimiter: none", "delimiter: ' '"), says="taken for a placeholder",
    ),
    "a column for each class, one of which the sample's is called": Kind(
        files(WORDS, ["label"], asked=WORDS[0], more={"train.csv": csv_bytes(("id", *WORDS), [(name, *(int(label == word) for word in WORDS)) for name, label in zip(TRAIN, cycle(WORDS), strict=False)])}),
        WORDS, ("oak",), says="taken for a placeholder",
    ),
    **{
        f"a column for each class with {yes} and {no or 'nothing'}": Kind(
            files(WORDS, [(0.2, 0.3, 0.5)], asked=WORDS, more={"train.csv": csv_bytes(("id", *WORDS), [(name, *(yes if label == word else no for word in WORDS)) for name, label in zip(TRAIN, cycle(WORDS), strict=True)])}),
            WORDS, ("1.0", "0.0", "0.0"),
        )
        for yes, no in (("WAHR", "FALSCH"), ("oui", "non"), ("ИСТИНА", "ЛОЖЬ"), ("是", "否"), ("X", ""), ("✓", ""), ("1,0", "0,0"))
    },
    "a row for each image and class": Kind(
        files(TAGS, [(0.5, 0.5, 0.5)], asked=TAGS, more={"train.csv": csv_bytes(("id", "tag", "there"), [(name, tag, int(k in (n % 3, n % 2))) for n, name in enumerate(TRAIN) for k, tag in enumerate(TAGS)])}),
        TAGS, ("1.0", "0.0", "0.0"), says="has a row for each image and class, and 'there' says 0 or 1",
    ),
    "labels joined by a mark that names have too": Kind(
        files(["oak", "elm", "oak+elm", "fir", "elm+fir"], ["elm"]), WORDS, ("oak",), asks=("delimiter: '+'", "delimiter: none"), stops="may be lists of labels and may be names",
    ),
    "labels joined by a hyphen that never stand alone": Kind(
        files(["elm-oak", "fir-oak", "elm-fir"], ["elm-oak", "fir-oak"]), WORDS, ("oak",), asks=("delimiter: '-'", "delimiter: none"), stops="may be lists of labels and may be names",
    ),
    "labels joined by a hyphen, the sample names each": Kind(
        files(["elm-oak", "fir-oak", "elm-fir"], [(0.5, 0.5, 0.5)], asked=WORDS), WORDS, ("1.0", "0.0", "0.0")
    ),
    "rows of labels that are there or not": Kind(
        files(TAGS, ["scab rust"], more={"train.csv": csv_bytes(("id", "label", "Confidence"), affirmed())}), TAGS, ("scab",),
        says="the rows of train.csv with 0 in 'Confidence' say that the image lacks the label: 12 are left out",
    ),
    "rows of labels with a flag that may deny them": Kind(
        files(TAGS, ["scab rust"], more={"train.csv": csv_bytes(("id", "label", "verified"), affirmed(denied=False))}), TAGS, ("scab",),
        stops="row that may lack its label: 24 (000 = 'scab'", allow=("row that may lack its label",),
    ),
    "a row for each label": Kind(
        files(TAGS, ["scab rust"], rows=rows_of([[TAGS[n % 3], *(["rust"] if n % 3 == 0 else [])] for n in range(NUM_TRAIN)])), TAGS, ("scab",), says="a row for each label"
    ),
    "ranges in brackets": Kind(files(("(0, 2)", "(4, 6)", "(8, 12)"), ["(0, 2)"]), ("(0, 2)", "(4, 6)", "(8, 12)"), ("(0, 2)",)),
    "ranges in square brackets": Kind(files(("[0, 2]", "[4, 6]", "[8, 12]"), ["[0, 2]"]), ("[0, 2]", "[4, 6]", "[8, 12]"), ("[0, 2]",)),
    "half-open ranges": Kind(files(("(0.0, 0.5]", "(0.5, 1.0]"), ["(0.0, 0.5]", "(0.5, 1.0]"]), ("(0.0, 0.5]", "(0.5, 1.0]"), ("(0.0, 0.5]",)),
    "one label in brackets": Kind(files([f"['{label}']" for label in WORDS], ["oak"]), WORDS, ("oak",)),
    "one label of two words in brackets": Kind(files(["[a cat]", "[a dog]", "[an owl]"], [""]), ("a cat", "a dog", "an owl"), ("a cat",)),
    "one label of two words in brackets, in the sample too": Kind(files(["[a cat]", "[a dog]", "[an owl]"], ["[a dog]"]), ("[a cat]", "[a dog]", "[an owl]"), ("[a cat]",)),
    "one label in Python's brackets, in the sample too": Kind(files(["['a cat']", "['a dog']", "['an owl']"], ["['a dog']"]), ("['a cat']", "['a dog']", "['an owl']"), ("['a cat']",)),
    "one label of two words in braces": Kind(files(["{a cat}", "{a dog}", "{an owl}"], ["a dog"]), ("a cat", "a dog", "an owl"), ("a cat",)),
    "lists in brackets of names with blanks": Kind(files(["[a cat, a dog]", "[a dog]", "[a cat]", "[an owl]"], ["[an owl]"]), ("a cat", "a dog", "an owl"), ("[a cat]",)),
    "lists in brackets, parted by blanks": Kind(files(["[scab]", "[rust]", "[scab rust]", "[rust mildew]", "[mildew]"], ["[rust]"]), TAGS, ("[scab]",)),
    "words in brackets that may be lists": Kind(
        files(["[red cat]", "[red dog]", "[blue cat]", "[blue dog]", "[cat]"], [""]), ("red cat", "red dog", "blue cat", "blue dog", "cat"), ("red cat",),
        asks=("delimiter: brackets", "delimiter: spaced", "delimiter: none"),
    ),
    "some lists in brackets": Kind(files(["[scab, rust]", "rust", "scab"], ["[scab, rust]"]), ("rust", "scab"), ("[rust]",)),
    "lists in braces": Kind(files(["{scab,rust}", "{rust}", "{scab}"], ["{scab,rust}"]), ("scab", "rust"), ("[scab]",), says="lists are written otherwise than in the sample, {scab,rust} as [scab, rust]"),
    # -- folders that are called as something else, and that the sample calls classes
    "a class called mask, numbered as the others are": Kind(numbered_alike(("mask", "helmet"), ["helmet", "mask"]), ("mask", "helmet"), ("mask",)),
    "two classes called labels and tags": Kind(numbered_alike(("labels", "tags"), ["labels", "tags"], place="train/{}/{}.png"), ("labels", "tags"), ("labels",)),
    "a class called train beside others": Kind(numbered_alike(("train", "bus", "car"), ["bus", "train"]), ("train", "bus", "car"), ("train",)),
    "a class called holdout beside others": Kind(numbered_alike(("holdout", "oak", "elm"), ["holdout", "oak"]), ("holdout", "oak", "elm"), ("holdout",)),
    "classes called public and private": Kind(folders(("public", "private"), ["private", "public"]), ("public", "private"), ("public",)),
    # -- ids without a name, or in two columns with the class
    "a sample whose ids have no name": Kind(files(WORDS, [""], more={"sample_submission.csv": csv_bytes(("", "label"), [(name, "elm") for name in TEST])}), WORDS, ("oak",)),
    "two tables whose ids have no name": Kind(files(WORDS, [""], more={
        "train.csv": csv_bytes(("", "label"), zip(TRAIN, cycle(WORDS), strict=True)), "sample_submission.csv": csv_bytes(("", "label"), [(name, "elm") for name in TEST])}), WORDS, ("oak",)),
    "ids without a name before a column for each class": Kind(files(WORDS, [""], more={
        "sample_submission.csv": csv_bytes(("", *WORDS), [(name, f"0.{n}17", f"0.{n}2", f"0.{n + 1}") for n, name in enumerate(TEST)])}), WORDS, ("1.0", "0.0", "0.0")),
    "a sample of scores without header": Kind(files(("0", "1"), [""], column="flag", more={"sample_submission.csv": "".join(f"{name}.png,0.{n}\n" for n, name in enumerate(TEST))}), ("1", "0"), ("1.0",)),
    "files of which some end otherwise than listed": Kind(
        {name.replace("00.png", "00.jpeg").replace("5.png", "5.JPG"): content for name, content in files(WORDS, [""], ids=[f"{name}.png" for name in TRAIN], more={
            "sample_submission.csv": csv_bytes(("id", "label"), [(f"{name}.png", "elm") for name in TEST])}).items()}, WORDS, ("oak",)
    ),
    "a shuffled index before ids": Kind(files(WORDS, [""], more={"sample_submission.csv": csv_bytes(("", "id", "label"), [(7 * n % 11, name, "elm") for n, name in enumerate(TEST)])}), WORDS, ("oak",)),
    **{
        f"image and class in two columns, {name}": Kind(files(labels, [""], column="class", more={"sample_submission.csv": csv_bytes(header, rows)}), labels, ("1.0",))
        for labels in (("oak_1", "elm_1", "fir"),)
        for name, header, rows in (
            ("image first", ("id", "class", "prob"), [(name, label, 0.5) for name in TEST for label in labels]),
            ("class first", ("class", "image", "score"), [(label, name, "") for label in labels for name in TEST]),
            ("behind a row's number", ("row", "id", "class", "prob"), [(n, TEST[n // 3], labels[n % 3], 0.25) for n in range(3 * NUM_TEST)]),
            ("behind a row's id", ("row_id", "id", "class", "prob"), [(f"{name}_{label}", name, label, f"0.{n}{k}3") for n, name in enumerate(TEST) for k, label in enumerate(labels)]),
        )
    },
    "N and Y": Kind(files(("N", "Y"), ["0.5"], column="infected", asked="infected"), ("Y", "N"), ("1.0",)),
    "-1 and 1": Kind(files(("-1", "1"), ["0.5"], column="infected", asked="infected"), ("1", "-1"), ("1.0",)),
    "neg and pos": Kind(files(("neg", "pos"), ["0.5"], column="infected", asked="infected"), ("pos", "neg"), ("1.0",)),
    "columns of Y and N": Kind(files(TAGS, [(0.5, 0.5, 0.5)], asked=TAGS, more={"train.csv": csv_bytes(("id", *TAGS), [(name, *("NY"[k in (n % 3, n % 2)] for k in range(3))) for n, name in enumerate(TRAIN)])}), TAGS, ("1.0", "0.0", "0.0")),
    # -- which class a score speaks of
    "the score's column names the class": Kind(files(("fake", "real"), ["0.5"], asked="real"), ("real", "fake"), ("1.0",)),
    "a word beside prob": Kind(files(("abnormal", "normal"), ["0.5"], asked="normal_probability"), ("normal", "abnormal"), ("1.0",)),
    "camel case names the class": Kind(files(("fake", "real"), ["0.5"], asked="isReal"), ("real", "fake"), ("1.0",)),
    "the longer of two names": Kind(files(("real", "not real"), ["0.5"], asked="prob_not_real"), ("not real", "real"), ("1.0",)),
    "a pair without known order": Kind(files(("real", "fake"), ["0.5"], asked="score"), ("fake", "real"), ("1.0",), asks=("positive: fake", "positive: real")),
    "a column that speaks of something else": Kind(files(("0", "1"), ["0.5"], column="infected", asked="healthy"), ("0", "1"), ("1.0",), asks=("positive: '0'", "positive: '1'")),
    "a negation in the column": Kind(files(("benign", "malignant"), ["0.5"], asked="non_malignant"), ("benign", "malignant"), ("1.0",), asks=("positive: benign", "positive: malignant")),
    "another word for the negative class in the column": Kind(files(("neg", "pos"), ["0.5"], asked="p_negative"), ("neg", "pos"), ("1.0",), asks=("positive: neg", "positive: pos")),
    "another way to write the negative number in the column": Kind(files(("0.0", "1.0"), ["0.5"], asked="class_0"), ("0.0", "1.0"), ("1.0",), asks=("positive: '0.0'", "positive: '1.0'")),
    "a sign in the column": Kind(files(("-1", "1"), ["0.5"], asked="p_-1"), ("-1", "1"), ("1.0",), asks=("positive: '-1'", "positive: '1'")),
    "a score in the label's own column, whose name denies": Kind(files(("no", "yes"), ["0.5"], column="no_findings", asked="no_findings"), ("no", "yes"), ("0.0",)),
    "a score in a column called mask, as a class is": Kind(files(("mask", "no_mask"), ["0.5"], asked="mask"), ("mask", "no_mask"), ("1.0",)),
    "a column for each class, one called mask": Kind(files(("mask", "no_mask", "mask_below_nose"), [(0.3, 0.3, 0.4)], asked=("mask", "no_mask", "mask_below_nose")), ("mask", "no_mask", "mask_below_nose"), ("1.0", "0.0", "0.0")),
    "columns for 0 and 1, and rows of -1": Kind(files(("0", "1", "-1"), [(0.5, 0.5)], asked=("0", "1")), ("0", "1"), ("1.0", "0.0"), stops="empty label: 8 (002 = '-1'", allow=("empty label",), num_train=16),
    "rows of -1 beside whole numbers": Kind(files(("0", "1", "2", "-1"), ["0", "1"]), ("0", "1", "2", "-1"), ("0",), stops="empty label: 6 (003 = '-1'", allow=("label that may mean missing",)),
    "rows of -1 that are left out": Kind(files(("1", "2", "3", "-1"), ["1", "2"]), ("1", "2", "3"), ("1",), stops="empty label: 6 (003 = '-1'", allow=("empty label",), num_train=18),
    "a class -1 that the sample writes": Kind(files(("0", "1", "-1"), ["-1", "0"]), ("0", "1", "-1"), ("0",)),
    "a score with a decimal comma": Kind(files(("0", "1"), ["0,5"]), ("1", "0"), ("1,0",)),
    "words that YAML takes for true and false": Kind(files(("no", "yes"), ["0.5"], column="infected", asked="infected"), ("yes", "no"), ("1.0",)),
    # -- labels or probabilities
    "one constant over 0 and 1": Kind(files(("0", "1"), ["0"]), ("1", "0"), ("1.0",), asks=("metric: auc", "metric: accuracy")),
    "0.0 over 0 and 1, labels wanted": Kind(files(("0", "1"), ["0.0"]), ("1", "0"), ("1",), asks=("metric: accuracy", "metric: auc")),
    "nothing over 0 and 1": Kind(files(("0", "1"), [""]), ("0", "1"), ("0",), asks=("metric: accuracy", "metric: auc")),
    "0 over cat and dog, with the name of dog": Kind(files(("cat", "dog"), ["0"], asked="dog"), ("dog", "cat"), ("1.0",), asks=("metric: auc", "metric: accuracy")),
    "0 and 1 over 0 and 1": Kind(files(("0", "1"), ["0", "1"]), ("0", "1"), ("0",)),
    "0 and 1 over words": Kind(files(("no", "yes"), ["0", "1"], column="sick", asked="answer"), ("yes", "no"), ("1.0",), asks=("metric: auc", "metric: accuracy")),
    "one number that is neither label": Kind(files(("0", "1"), ["99"]), ("1", "0"), ("1.0",), asks=("metric: auc", "metric: accuracy")),
    "0 over the labels 1 and 2": Kind(files(("1", "2"), ["0"]), ("1", "2"), ("1",), asks=("metric: accuracy", "metric: auc")),
    # -- spelling
    "folders padded, the sample not": Kind(folders([f"{n:02d}" for n in range(1, 12)], ["1", "11"]), ("1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11"), ("1",), says="as the sample spells them"),
    "labels padded in the sample": Kind(files(("1", "2", "10"), ["01", "10"]), ("01", "02", "10"), ("01",)),
    "labels as floats": Kind(files(("0.0", "1.0", "2.0"), ["0"]), ("0", "1", "2"), ("0",)),
    "another case": Kind(files(("Oak", "Elm", "FIR"), ["oak", "fir"]), WORDS, ("oak",)),
    "underscores for blanks": Kind(files(("sea lion", "fir tree"), ["sea_lion"]), ("sea_lion", "fir_tree"), ("sea_lion",)),
    "a prefix in the sample": Kind(files(("2", "7", "9"), ["class_0002", "class_0009"]), ("class_0002", "class_0007", "class_0009"), ("class_0002",)),
    "a prefix in training": Kind(folders(("class_0002", "class_0007"), ["2", "7"]), ("2", "7"), ("2",)),
    "numbered folders, names in the sample": Kind(folders(("001.Oak_tree", "002.Elm"), ["Oak_tree", "Elm"]), ("Oak_tree", "Elm"), ("Oak_tree",)),
    "two spellings fit": Kind(files(("oak", "sea elm"), ["Oak"]), ("Oak", "Sea Elm"), ("Oak",), asks=("spelling: '{label.title}'", "spelling: '{label.capital}'")),
    "several cells that are no labels": Kind(files(WORDS, ["pine", "yew"]), WORDS, ("oak",), asks=("spelling: '{label}'",), stops="2 different cells that are no training labels"),
    "y and n, and rows without label": Kind(files(("n", "y"), ["y"], more={"train.csv": csv_bytes(("id", "label"), [(name, "ny"[n % 2] if n else "") for n, name in enumerate(TRAIN)])}), ("n", "y"), ("n",), stops="empty label: 1", allow=("empty label",), num_train=NUM_TRAIN - 1),
    "a table of boxes beside class folders": Kind(folders(WORDS, ["oak"], more={"boxes.csv": csv_bytes(("id", "x", "y", "w", "h"), [(name, n, 2, 3, 4) for n, name in enumerate(TRAIN) for _ in range(2)])}), WORDS, ("oak",)),
    "one number that is a label among words": Kind(
        files(("1e3", "off", "on"), ["1e3"], column="name", asked="kind", extra=(("code",), [(n % 3,) for n in range(NUM_TRAIN)])), ("1e3", "off", "on"), ("1e3",),
    ),
    "False over 0 and 1": Kind(files(("1", "0"), ["False"]), ("True", "False"), ("True",), says="'False' for '0', 'True' for '1'"),
    "no and yes over N and Y": Kind(files(("Y", "N"), ["no", "yes"]), ("yes", "no"), ("yes",), says="({label.answer.lower})"),
    "False over cat and dog": Kind(files(("cat", "dog"), ["False"], asked="is_cat"), ("cat", "dog"), ("cat",), asks=("spelling: '{label}'",), stops="cells that are no training labels"),
    **{
        f"one constant, the label {rule}": Kind(files(labels, [written[-1]]), written, written[:1])
        for rule, labels, written in (
            ("without blanks", ("Early Blight", "Late Blight", "Healthy"), ("EarlyBlight", "Healthy", "LateBlight")), ("without accents", ("hêtre", "chêne"), ("hetre", "chene")),
            ("without marks", ("'oak'", "'elm'"), ("oak", "elm")),
        )
    },
    "one constant that is nearly a label": Kind(files(("cats", "dogs", "owls"), ["dog"]), ("cats", "dogs", "owls"), ("cats",), asks=("spelling: '{label}'", "spelling: FILE")),
    "words for probabilities": Kind(files(WORDS, [("FALSE", "FALSE", "FALSE")], asked=WORDS), WORDS, ("1.0", "0.0", "0.0"), says="the sample writes 'FALSE': numbers from 0 to 1 will be written"),
    "percents with their sign": Kind(files(WORDS, [("33%", "33%", "34%")], asked=WORDS), WORDS, ("1.0", "0.0", "0.0"), says="the sample writes '33%', '34%': numbers from 0 to 1 will be written"),
    "one constant that is no label": Kind(files(WORDS, ["unknown"]), WORDS, ("oak",), says="taken for a placeholder"),
    "percents": Kind(files(WORDS, [(33, 33, 34)], asked=WORDS), WORDS, ("1.0", "0.0", "0.0"), says="numbers from 0 to 1 will be written"),
    "columns padded": Kind(folders(("01", "02", "03"), [(0.3, 0.3, 0.4)], more={"sample_submission.csv": csv_bytes(("id", "1", "2", "3"), [(name, 0.3, 0.3, 0.4) for name in TEST])}), ("01", "02", "03"), ("1.0", "0.0", "0.0")),
    "classes that differ by case": Kind(files(("a", "A", "b", "B"), [(0.2, 0.2, 0.2, 0.2)], asked=("a", "A", "b", "B")), ("a", "A", "b", "B"), ("1.0", "0.0", "0.0", "0.0")),
    "a table that names the classes' numbers": Kind(files(WORDS, ["7", "9"], more={"class_map.csv": csv_bytes(("name", "code"), [("elm", 8), ("fir", 9), ("oak", 7)])}), ("7", "8", "9"), ("7",), says="'7' for 'oak' (class_map.csv)"),
    "a table that names the numbers in the folders": Kind(
        folders(("class-7", "class-8", "class-9"), [(0.3, 0.3, 0.4)], more={"class_idx_mapping.csv": csv_bytes(("name", "idx"), [("elm", 8), ("fir", 9), ("oak", 7)]), "sample_submission.csv": csv_bytes(("id", *WORDS), [(name, 0.3, 0.3, 0.4) for name in TEST])}),
        WORDS, ("1.0", "0.0", "0.0"),
    ),
    "JSON of records that name the numbers": Kind(
        files(("0", "1", "2"), ["elm"], more={"label_map.json": b'{"0": {"name": "oak"}, "1": {"name": "elm"}, "2": {"name": "fir"}}'}), ("oak", "elm", "fir"), ("oak",), says="label_map.json",
    ),
    "JSON that numbers the classes": Kind(folders(WORDS, ["0", "2"], more={"class_to_idx.json": b'{"elm": 0, "fir": 1, "oak": 2}'}), ("2", "0", "1"), ("2",), says="class_to_idx.json"),
    **{
        f"{what} for numbered classes": Kind(files(("0", "1", "2"), sample, asked=asked_for, more=more), WORDS, cells)
        for what, sample, asked_for, more, cells in (
            ("ranked names", ["oak fir", "elm oak"], "label", {"classes.txt": b"oak\nelm\nfir\n"}, ("oak elm",)),
            ("columns of names that a list numbers", [(0.3, 0.3, 0.4)], WORDS, {"classes.txt": b"0 oak\n1 elm\n2 fir\n"}, ("1.0", "0.0", "0.0")),
        )
    },
    "columns of names that a table numbers": Kind(files(("1", "2", "3"), [(0.3, 0.3, 0.4)], asked=WORDS, more={"class_names.csv": csv_bytes(("name", "label"), [("oak", 1), ("elm", 2), ("fir", 3)])}), WORDS, ("1.0", "0.0", "0.0")),
    "a list of names for numbered classes": Kind(files(("0", "1", "2"), ["oak", "fir"], more={"classes.txt": b"oak\nelm\nfir\n"}), WORDS, ("oak",), says="classes.txt"),
    "one number where a file numbers the classes": Kind(files(WORDS, ["7"], more={"class_map.csv": csv_bytes(("name", "code"), [("elm", 8), ("fir", 9), ("oak", 7)])}), ("7", "8", "9"), ("7",), asks=("spelling: class_map.csv", "spelling: '{label}'")),
    "columns called by numbers that a file gives": Kind(files(WORDS, [(0.3, 0.3, 0.4)], asked=("c7", "c8", "c9"), more={"class_map.csv": csv_bytes(("name", "code"), [("elm", 8), ("fir", 9), ("oak", 7)])}), ("7", "8", "9"), ("1.0", "0.0", "0.0")),
    "a label with a confidence": Kind(files(WORDS, ["oak 0.93"]), WORDS, ("oak",), asks=("submission: label", "submission: ranked"), stops="a label with a confidence"),
    "names of two words with a confidence": Kind(files(("sea lion", "fir tree"), ["sea lion: 0.9"]), ("sea lion", "fir tree"), ("sea lion",), asks=("submission: label", "submission: ranked"), stops="a label with a confidence"),
    "lists with a confidence behind each label": Kind(lists(TAGS, ", ", sample="scab 0.9, rust 0.1"), TAGS, ("scab",), asks=("submission: list", "submission: ranked"), stops="a label with a confidence"),
    "words of labels are no text around a label": Kind(files(("clear primary", "haze water", "clear water"), ["clear water primary"]), ("clear primary", "haze water", "clear water"), ("clear primary",), asks=("delimiter: none", "delimiter: ' '"), stops="may be lists of labels and may be names"),
    # -- columns
    "a placeholder chooses no label column": Kind(
        files(("pug", "husky", "boxer"), ["0"], column="breed", asked="prediction", extra=(("sterile",), [(n // 3 % 2,) for n in range(NUM_TRAIN)])),
        ("pug", "husky", "boxer"), ("pug",), asks=("label: breed", "label: sterile"),
    ),
    "two path columns, one as in the test table": Kind(
        files(WORDS, ["oak"], extra=(("path", "thumb"), [(f"train/{name}.png", f"small/{name}.png") for name in TRAIN]), more={f"small/{name}.png": image for name, image in zip(TRAIN, IMAGE, strict=False)}
              | {"test.csv": csv_bytes(("id", "path"), [(name, f"test/{name}.png") for name in TEST])}),
        WORDS, ("oak",),
    ),
    "two numbered columns of labels": Kind(
        files(WORDS, ["oak"], column="label1", asked="kind", extra=(("label2",), [(WORDS[n % 3] if n % 4 else "",) for n in range(1, NUM_TRAIN + 1)])), WORDS, ("oak",),
        asks=("label: label1", "label: label2"),
    ),
    **{
        f"answers that came with the test images, {what}": Kind(
            files(("0", "1", "2"), cells, column="grade", asked=asked_for, extra=(("sex", "age"), [("mf"[n % 2], 20 + n % 30) for n in range(NUM_TRAIN)]), more={"test_labels.csv": csv_bytes(("id", "grade"), [(name, n % 3) for n, name in enumerate(TEST)])}),
            ("0", "1", "2"), first,
        )
        for what, cells, asked_for, first in (
            ("called otherwise than the sample", ["0", "1", "2"], "prediction", ("0",)),
            ("a column for each class", [(0.3, 0.3, 0.4)], ("0", "1", "2"), ("1.0", "0.0", "0.0")),
        )
    },
    "labels in one table, files in another": Kind(labels_and_files_apart(), WORDS, ("oak",)),
    "labels in one table, files of training in another": Kind(
        labels_and_files_apart(listed=TRAIN) | {"test.csv": csv_bytes(("id", "file"), [(500 + NUM_TRAIN + n, f"{name}.png") for n, name in enumerate(TEST)])}, WORDS, ("oak",),
    ),
    "grades that are as numbers of images": Kind(labels_and_files_apart(("0", "1", "2"), column="level"), ("0", "1", "2"), ("0",)),
    "a folder for each image, of one file name": Kind(a_folder_for_each_image(["photo_1.png"]), WORDS, ("oak",)),
    "a folder for each image, of two formats": Kind(a_folder_for_each_image(["photo_1.png", "photo_1.jpg"]), WORDS, ("oak",)),
    "a folder and a file for each id, which the tables call otherwise": Kind(
        a_folder_for_each_image([f"{int(name)}.png" for name in (*TRAIN, *TEST)]) | {"sample_submission.csv": csv_bytes(("row", "label"), [(name, "oak") for name in TEST]), "test.csv": csv_bytes(("id",), [(name,) for name in TEST])}, WORDS, ("oak",),
    ),
    "an index column with a name": Kind(files(WORDS, ["oak"], more={"sample_submission.csv": csv_bytes(("row", "id", "label"), [(n, name, "oak") for n, name in enumerate(TEST)])}), WORDS, ("oak",)),
    "a Usage column": Kind(files(WORDS, ["oak"], more={"sample_submission.csv": csv_bytes(("id", "label", "Usage"), [(name, "oak", ("Public", "Private")[n % 2]) for n, name in enumerate(TEST)])}), WORDS, ("oak",)),
    **{
        f"tables called {' and '.join(names.values())}": Kind(renamed(files(WORDS, ["oak"]), names), WORDS, ("oak",), says="columns id, label")
        for names in ({"train.csv": "labels", "sample_submission.csv": "sample_submission.dat"}, {"train.csv": "train.tab", "sample_submission.csv": "submission_format"})
    },
    "a packed list of labels": Kind((found := files(WORDS, ["oak"])) | {"train.csv": b"", "train.jsonl.gz": gzip.compress("".join(json.dumps({"id": name, "label": label}) + "\n" for name, label in zip(TRAIN, cycle(WORDS), strict=True)).encode())}, WORDS, ("oak",)),
    "JSON as pandas splits it": Kind(files(WORDS, ["oak"], more={"train.csv": b"", "train.json": json.dumps({"columns": ["id", "label"], "index": [0], "data": [*zip(TRAIN, cycle(WORDS), strict=True)]}).encode()}), WORDS, ("oak",)),
    **{
        f"cells parted by {mark!r}": Kind((found := files(WORDS, ["oak"])) | {name: found[name].replace(b",", mark.encode()) for name in ("train.csv", "sample_submission.csv")}, WORDS, ("oak",), says=f"cells parted by {mark!r}")
        for mark in ("^", "~", "\x1f")
    },
    "a table that ends as DOS ends texts": Kind((found := files(WORDS, ["oak"])) | {"train.csv": found["train.csv"] + b"\x1a"}, WORDS, ("oak",)),
    "two columns of one name": Kind(files(WORDS, ["oak"], extra=(("x: 1", "", "x: 1"), [(n % 5, n, n % 7) for n in range(NUM_TRAIN)])), WORDS, ("oak",), asks=('header: ["id", "label", "x: 1", "column_4", "x: 1_5"]', "train_table: none")),
    "a table called latest": Kind({("labels_latest.csv" if name == "train.csv" else name): content for name, content in files(WORDS, ["oak"]).items()}, WORDS, ("oak",)),
    "the sample's cells are those of another column": Kind(
        files(("0", "1", "2"), ["elm"], extra=(("label_name",), [(WORDS[n % 3],) for n in range(NUM_TRAIN)])), WORDS, ("oak",),
    ),
    "a number of another column under the label's name": Kind(
        files(WORDS, ["0"], extra=(("code",), [(n % 3,) for n in range(NUM_TRAIN)])), WORDS, ("oak",), asks=("label: label", "label: code"),
    ),
    "one number that a name holds": Kind(files(("Audi A4", "BMW X1", "VW T2"), ["1"]), ("Audi A4", "BMW X1", "VW T2"), ("Audi A4",), asks=("spelling: '{label}'", "spelling: '{label.number}'")),
    "labels counted from 1, the sample from 0": Kind(files(("1", "2", "3"), ["0", "1", "2"]), ("0", "1", "2"), ("0",), asks=("spelling: '{label.number-1}'", "spelling: '{label}'")),
    "a class in two spellings": Kind(files(("1", "1.0", "2"), ["1", "2"]), ("1", "1.0", "2"), ("1",), stops="duplicate class spelling: 1 (1 / 1.0)", allow=("duplicate class spelling",)),
    "a class with an invisible letter": Kind(files(("oak", "oak\u200b", "elm"), ["oak"]), ("oak", "oak\u200b", "elm"), ("oak",), stops="duplicate class spelling: 1", allow=("duplicate class spelling",)),
    "ages": Kind(files([str(20 + n % 7) for n in range(7)], ["20", "21"], column="age", asked="age"), tuple(str(20 + n) for n in range(7)), ("20",), asks=("target: single_label",), stops="numbers in a column called age"),
    "as many labels as images": Kind(
        files([f"word {n} of {n * n}" for n in range(NUM_TRAIN)], [""]), tuple(f"word {n} of {n * n}" for n in range(NUM_TRAIN)), ("word 0 of 0",), asks=("target: single_label",),
        allow=("classes of fewer than 2 images",), stops="24 different labels for 24 images",
    ),
    "labels of all in one table, the images in train and test folders": Kind(
        labels_of_all_in_one_table("data/train/{}.png", "data/test/{}.png"), WORDS, ("oak",), says="6 rows of metadata.csv are of images that lie in a folder called test",
    ),
    "labels of all in one table, the images called train and test": Kind(
        labels_of_all_in_one_table("faces/train_{}_aligned.png", "faces/test_{}_aligned.png"), WORDS, ("oak",), says="6 rows of metadata.csv are of images that are called test",
    ),
    "a column that says train, valid and test": Kind(parts_in_a_column(), WORDS, ("oak",)),
    "a 0/1 column for each class and none more": Kind(
        sampleless(files(WORDS, ["oak"], more={"train.csv": csv_bytes(("id", *WORDS, "lesion"), [(name, *(int(n % 3 == k) for k in range(3)), f"L{n // 2}") for n, name in enumerate(TRAIN)])})),
        WORDS, ("oak",),
    ),
    "0/1 columns of which several may be 1, and no sample": Kind(
        sampleless(files(WORDS, ["oak"], more={"train.csv": csv_bytes(("id", *WORDS, "site"), [(name, *((1 + n % 7) >> k & 1 for k in range(3)), "abc"[n % 3]) for n, name in enumerate(TRAIN)])})),
        WORDS, ("oak",), asks=("label: [oak, elm, fir]", "label: oak", "label: elm", "label: fir", "label: site"), stops="4 columns of train.csv could be the label", allow=("image without label",),
    ),
    "a table in the folder of each part": Kind(a_table_in_each_folder(), WORDS, ("oak",), says="6 labelled validation images of valid/_classes.csv"),
    "ids counted from 0 on each side": Kind(ids_counted_on_each_side(), WORDS, ("oak",)),
    "test images that a list names, with labels in the one table": Kind(
        sampleless({name.replace("train/", "images/").replace("test/", "images/"): content for name, content in files(WORDS, ["oak"]).items()}
        | {"train.csv": csv_bytes(("image", "label"), [(f"{name}.png", WORDS[n % 3]) for n, name in enumerate(TRAIN + TEST)]), "test_list.txt": "\n".join(f"{name}.png" for name in TEST).encode()}),
        WORDS, ("oak",),
    ),
    # -- images
    "folders of the parts with a word in front": Kind(
        moved(moved(sampleless(files(WORDS, ["oak"])), "train/", "leaf_trainingset/images/"), "test/", "leaf_testA/images/"), WORDS, ("oak",),
    ),
    "test images beside the class folders": Kind(moved(folders(WORDS, ["oak"], place="data/{label}/{}.png"), "test/", "data/unknown/"), WORDS, ("oak",)),
    "test images deep beside the class folders": Kind(moved(folders(WORDS, ["oak"], place="data/{label}/{}.png"), "test/", "data/inference/images/"), WORDS, ("oak",)),
    "test images of which the sample asks for some": Kind(
        moved(folders(WORDS, ["oak"], place="data/{label}/{}.png", more={f"test/x{n}.png": IMAGE[n] for n in range(9)}), "test/", "data/new/"), WORDS, ("oak",),
        stops="image without row: 9", allow=("image without row",),
    ),
    "test images missing beside the class folders": Kind(
        {name: content for name, content in moved(folders(WORDS, ["oak"], place="data/{label}/{}.png"), "test/", "data/unknown/").items() if name[-7:-4] not in TEST[:3]},
        WORDS, ("oak",), stops="test image missing: 3", allow=("test image missing",),
    ),
    "test images among those with labels in their names": Kind(moved(folders(WORDS, ["oak"], place="images/{label}_{}.png"), "test/", "images/"), WORDS, ("oak",)),
    "masks called as images with labels in their names": Kind(
        (found := moved(folders(WORDS, ["oak"], place="images/{label}_{}.png"), "test/", "images/")) | {f"annotations/trimaps/{name[7:]}": IMAGE[0] for name in found if name.startswith("images/")},
        WORDS, ("oak",),
    ),
    "images in several parts": Kind(files(WORDS[:2], ["oak"], train="part_{label}/{}.png"), WORDS[:2], ("oak",)),
    "paths of folders that the archive lacks": Kind(files(WORDS, ["oak"], train="train/p{}/s1/view.png", rows=[(f"C-1/train/p{name}/s1/view.png", label) for name, label in zip(TRAIN, cycle(WORDS), strict=True)]), WORDS, ("oak",)),
    "paths of folders that the archive calls otherwise": Kind(files(WORDS, ["oak"], train="data/train/p{}/s1/view.png", rows=[(f"C-1/train/p{name}/s1/view.png", label) for name, label in zip(TRAIN, cycle(WORDS), strict=True)]), WORDS, ("oak",)),
    "names that repeat in each class folder": Kind(numbered_in_each_class(), WORDS, ("oak",)),
    "ids with the marks of spreadsheets": Kind(files(WORDS, ["oak"], ids=[f"'{name}" for name in TRAIN], more=asked(f'="{name}"' for name in TEST)), WORDS, ("oak",)),
    "ids with a decimal comma": Kind(files(WORDS, ["oak"], ids=[f"{n},0" for n in range(NUM_TRAIN)]), WORDS, ("oak",)),
    "a list of ids called labels": Kind((found := files(WORDS, ["oak"])) | {"train.csv": b"", "labels.txt": b"".join(f"{name}\t{label}\n".encode() for name, label in zip(TRAIN, cycle(WORDS), strict=True))}, WORDS, ("oak",)),
    "folders of sessions, labels that the sample writes in the names": Kind(
        renamed(found := folders(("happy", "sad"), ["sad", "happy"], place="train/{label}_{}.png"), {name: f"train/s{n % 3}/{name[6:]}" for n, name in enumerate(found) if "train/" in name}), ("happy", "sad"), ("happy",),
    ),
    "a test table with labels, in a column that the sample spells otherwise": Kind(
        files(WORDS, ["oak"], asked="Label", more={"test.csv": csv_bytes(("id", "label"), [(name, WORDS[n % 3]) for n, name in enumerate(TEST)])}), WORDS, ("oak",),
    ),
    "no header, and the label first": Kind((found := files(WORDS, ["oak"])) | {"train.csv": csv_bytes((WORDS[0], "000.png"), [(label, f"{name}.png") for name, label in zip(TRAIN[1:], cycle(WORDS)[1:], strict=True)])}, WORDS, ("oak",), asks=("header: [label, path]", "train_table: none")),
    "numbers that are padded in the folder of another column": Kind(
        renamed(files(WORDS, ["oak"], rows=[(n // 2, label, n % 2 + 1) for n, label in enumerate(cycle(WORDS))], extra=(("cam",), [])), {f"train/{name}.png": f"train/{n % 2 + 1}/{n // 2:03d}.png" for n, name in enumerate(TRAIN)}), WORDS, ("oak",),
    ),
    "numbers that are padded below padded folders": Kind(
        renamed(files(WORDS, ["oak"], rows=[(n // 2, label, n % 2 + 1) for n, label in enumerate(cycle(WORDS))], extra=(("cam",), [])), {f"train/{name}.png": f"train/{n % 2 + 1:02d}/{n // 2:03d}.png" for n, name in enumerate(TRAIN)}), WORDS, ("oak",),
    ),
    "ids that are folders of one image": Kind(
        renamed(files(WORDS, ["oak"], train="train/{}/view.png"), {f"test/{name}.png": f"test/{name}/view.png" for name in TEST}), WORDS, ("oak",),
    ),
    "ids in braces": Kind(
        renamed(files(WORDS, ["oak"], train="train/{{{}}}.png", ids=[f"{{{name}}}" for name in TRAIN], more=asked(f"{{{name}}}" for name in TEST)), {f"test/{name}.png": f"test/{{{name}}}.png" for name in TEST}),
        WORDS, ("oak",),
    ),
    **{
        f"images whose suffixes are {' and '.join(suffixes)}": Kind(
            renamed(folders(WORDS, ["oak"]), {f"test/{name}.png": f"test/{name}{suffixes[n % 2]}" for n, name in enumerate(TEST)}), WORDS, ("oak",), says="6 to predict",
        )
        for suffixes in ((".png", ".png_large"), (".png!d", ".PNG?w=200"), (".pjpeg", ".dib"), (".dat", ".img"))
    },
    "ids with the folder in front": Kind(files(WORDS, ["oak"], more=asked(f"test_{name}" for name in TEST)), WORDS, ("oak",)),
    "ids with a word in front": Kind(moved(files(WORDS, ["oak"], more=asked(f"query_{name}" for name in TEST)), "test/", "test/images/"), WORDS, ("oak",)),
    "ids of folder and name": Kind(
        files(WORDS, ["oak"], train="site{label}/{}.png", rows=[(f"site{label}_{name}", label) for name, label in zip(TRAIN, cycle(WORDS), strict=True)]), WORDS, ("oak",),
    ),
    "images of class folders in two formats, one the test's": Kind(
        (found := folders(WORDS, ["oak"])) | {name.replace(".png", ".tif"): encoded(image_of(3, 3), "TIFF") for name in found if "train/" in name}, WORDS, ("oak",), says="24 images of another format than the test images' are left aside",
        stops="image without row: 24", allow=("image without row",),
    ),
    "images of class folders in two formats, none the test's": Kind(
        (found := renamed(folders(WORDS, ["oak"]), {f"test/{name}.png": f"test/{name}.bmp" for name in TEST})) | {name.replace(".png", ".tif"): encoded(image_of(3, 3), "TIFF") for name in found if "train/" in name},
        WORDS, ("oak",), asks=("label: folder",), num_train=48,
    ),
    "images in two formats": Kind(in_two_formats(), WORDS, ("oak",), asks=("train_images: 'train-png/{id}.png'", "train_images: 'train-tif-v2/{id}.tif'"), says="images of formats that no training image has are left aside"),
    "test images of the training format alone": Kind(
        {name: content for name, content in in_two_formats().items() if "train-tif" not in name}, WORDS, ("oak",), says="6 images of formats that no training image has are left aside",
    ),
    "more test images of another format": Kind(
        {name: content for name, content in in_two_formats(lacking=2).items() if "train-tif" not in name}, WORDS, ("oak",), asks=("test_images: 'test-tif-v2/{id}.tif'", "test_images: 'test-png/{id}.png'"),
        says="6 of 6 test images are of a format that no training image has, such as test-tif-v2/900.tif",
    ),
    "test images of another format alone": Kind(
        {name: content for name, content in in_two_formats(lacking=NUM_TEST).items() if "train-tif" not in name}, WORDS, ("oak",), says="6 of 6 test images are of a format that no training image has",
    ),
    "test images in two formats, no table": Kind(
        {name: content for name, content in in_two_formats().items() if "/" in name and "train" not in name} | {name: content for name, content in folders(WORDS, ["oak"]).items() if "train" in name},
        WORDS, ("oak",), says="6 test images are there in a format of training images too",
    ),
    "a folder called test and something else": Kind(
        sampleless(folders(WORDS, ["oak"]), **{f"test-several_trees/{n}.png": IMAGE[n] for n in range(4)}), WORDS, ("oak",),
        asks=("test_images: test", "test_images: test-several_trees", "test_images: '.'"), says="6 to predict",
    ),
    "masks beside the images in class folders": Kind(
        (found := folders(WORDS, ["oak"])) | {name.replace(".png", "_mask.png"): IMAGE[0] for name in found if "train/" in name}, WORDS, ("oak",), says="24 images are not used, such as train/elm/001_mask.png",
    ),
    "masks beside the images of a table": Kind(
        (found := files(WORDS, ["oak"])) | {name.replace(".png", " seg 1.png"): IMAGE[0] for name in found if "/" in name}, WORDS, ("oak",), says="30 images are not used",
    ),
    "masks beside the images to predict": Kind(
        sampleless(found := folders(WORDS, ["oak"])) | {name.replace(".png", "_mask.png"): IMAGE[0] for name in found if "/" in name}, WORDS, ("oak",), says="6 to predict",
    ),
    **{
        f"masks called {mask}": Kind(
            (found := folders(WORDS, ["oak"], place="train/{label}/images/{}.png")) | {mask.format(name.split("/")[1], name[-7:-4]): IMAGE[0] for name in found if "train/" in name},
            WORDS, ("oak",), says="24 images are not used",
        )
        for mask in ("train/{}/masks/{}.png", "train/{}/masks/{}_mask.png", "train_masks/{}/{}.png")
    },
    "other pictures of the same names beside the images of each class": Kind(
        (found := folders(WORDS, ["oak"], place="train/{label}/rgb/{}.png")) | {name.replace("rgb", "depth"): encoded(image_of(5, n)) for n, name in enumerate(found) if "train/" in name},
        WORDS, ("oak",), says="folders depth and rgb hold images of the same names, such as train/elm/depth/001.png", num_train=48,
    ),
    "masks in a folder beside the images to predict": Kind(
        (found := moved(sampleless(folders(WORDS, ["oak"])), "test/", "test/images/")) | {name.replace("images", "masks"): IMAGE[0] for name in found if "test/" in name}, WORDS, ("oak",), says="6 to predict",
    ),
    "class folders in two levels that the sample joins": Kind(folders(("Audi/A4", "Audi/Q5", "BMW/A4"), ["BMW A4", "Audi Q5"]), ("Audi A4", "Audi Q5", "BMW A4"), ("Audi A4",)),
    "answers for the test images beside class folders": Kind(
        folders(WORDS, ["oak"], more={"solution.csv": csv_bytes(("id", "label", "Usage"), [(name, WORDS[n % 3], ("Public", "Private")[n % 2]) for n, name in enumerate(TEST)])}), WORDS, ("oak",), says="24 labelled",
    ),
    "class folders of which lists say what is for training and what for the test": Kind(
        {f"images/{label}/{n:03d}.png": IMAGE[n] for n, label in enumerate([*cycle(WORDS), *WORDS, *WORDS])}
        | {f"meta/{part}.txt": "\n".join(f"{WORDS[n % 3]}/{n:03d}" for n in numbers).encode() for part, numbers in (("train", range(NUM_TRAIN)), ("test", range(NUM_TRAIN, NUM_TRAIN + NUM_TEST)))},
        WORDS, ("oak",), says="6 to predict",
    ),
    "pictures of the classes, numbered as test images are": Kind(
        sampleless(files(("0", "1", "2"), ["0"], column="ClassId"), **{"test.csv": csv_bytes(("id",), [(name,) for name in TEST])}) | {f"meta/{n}.png": IMAGE[0] for n in range(3)}
        | {f"test/{n:03d}.png": IMAGE[n] for n in range(3)} | {"meta.csv": csv_bytes(("Path", "ClassId", "ShapeId"), [(f"meta/{n}.png", n, n % 2) for n in range(3)])},
        ("0", "1", "2"), ("0",), stops="image without row: 3", allow=("image without row",),
    ),
    "ids that count the rows of the test table": Kind(
        files(WORDS, ["oak"], more=asked(range(NUM_TEST)) | {"test.csv": csv_bytes(("file",), [(f"{name}.png",) for name in reversed(TEST)])}), WORDS, ("oak",), says="are taken for numbers of rows of test.csv",
    ),
    "ids that count the rows of the test table, and images that are numbered otherwise": Kind(
        {name: content for name, content in files(WORDS, ["oak"], more=asked(range(NUM_TEST))).items() if not name.startswith("test/")}
        | {f"test/{n}.png": IMAGE[NUM_TRAIN + n] for n in range(NUM_TEST)} | {"test.csv": csv_bytes(("file",), [(f"{n}.png",) for n in reversed(range(NUM_TEST))])},
        WORDS, ("oak",), asks=("test_images: 'test/{file}'", "test_images: 'test/{id}.png'"), stops="may be numbers of images, or of rows",
    ),
    "file names in a column without a name": Kind(files(WORDS, ["oak"], more={"train.csv": csv_bytes(("", "label"), [(f"{name}.png", label) for name, label in zip(TRAIN, cycle(WORDS), strict=True)])}), WORDS, ("oak",)),
    # -- samples
    "long ids whose classes hold the separator": Kind(
        files(("ok", "black_spot", "rust"), [0.3], more={"sample_submission.csv": csv_bytes(("row_id", "prob"), [(f"{name}_{label}", 0.3) for name in TEST for label in ("ok", "black_spot", "rust")])}), ("ok", "black_spot", "rust"), ("1.0",),
    ),
    **{
        f"a sample called {name}": Kind(renamed(files(WORDS, ["oak"], asked="Prediction"), {"sample_submission.csv": name}), WORDS, ("oak",), says=f"ids of {name}")
        for name in ("ejemplo_envio.csv", "rendu_exemple.csv", "Abgabe_Beispiel.csv", "MuestraEntrega.csv", "提交示例.csv", "応募用サンプル.csv", "result_template.csv", "answer_sheet.csv", "upload_format.csv")
    },
    **{
        f"a sample called {name}, known by what it holds": Kind(renamed(files(WORDS, ["oak"], asked="Prediction"), {"sample_submission.csv": name}), WORDS, ("oak",), says=f"{name} is taken for the sample")
        for name in ("output.csv", "predictions.csv", "my_sub.csv", "test_template.csv", "test_sample.csv")
    },
    "a sample of scores by another name": Kind(renamed(files(WORDS, [(0.3, 0.3, 0.4)], asked=WORDS), {"sample_submission.csv": "output.csv"}), WORDS, ("1.0", "0.0", "0.0"), says="output.csv is taken for the sample"),
    "a sample by another name beside class folders": Kind(renamed(folders(WORDS, ["oak", "fir"]), {"sample_submission.csv": "out.csv"}), WORDS, ("oak",), says="out.csv is taken for the sample"),
    "a sample by another name, images in one folder": Kind(
        {name.replace("test/", "images/").replace("train/", "images/").replace("sample_submission", "out"): content for name, content in files(WORDS, ["oak"]).items()}, WORDS, ("oak",), says="out.csv is taken for the sample",
    ),
    "a sample without a header": Kind(
        files(WORDS, ["oak"], more={"sample_submission.csv": "".join(f"{name}.png,oak\n" for name in TEST).encode()}), WORDS, ("oak",), says="sample_submission.csv is not plain CSV (no header): the submission is written alike",
    ),
    "a sample in JSON": Kind(
        {name: content for name, content in files(WORDS, ["oak"]).items() if "sample" not in name} | {"sample_submission.json": b"[%s]" % b",".join(b'{"id": "%s", "label": "oak"}' % name.encode() for name in TEST)},
        WORDS, ("oak",), says="sample_submission.json is not plain CSV (JSON): the submission is written alike, under the name submission.csv",
    ),
    "two tables that may be the sample": Kind(
        renamed(files(WORDS, ["oak"], more={"ours.csv": csv_bytes(("id", "label"), [(name, "elm") for name in TEST])}), {"sample_submission.csv": "theirs.csv"}),
        WORDS, ("oak",), asks=("sample: theirs.csv", "sample: ours.csv", "sample: none"),
    ),
    "two rows as an example, all ids in the test table": Kind(
        files(WORDS, ["oak"], more={"test.csv": csv_bytes(("id",), [(name,) for name in TEST]), "sample_submission.csv": csv_bytes(("id", "label"), [(name, "oak") for name in TEST[:2]])}),
        WORDS, ("oak",), asks=("test_table: test.csv", "test_table: none"), says="the submission has the 6 ids of test.csv",
    ),
    "sizes of the test images are no sample": Kind(
        renamed(files(WORDS, ["oak"], more={"sizes.csv": csv_bytes(("id", "width"), [(name, 100 + n // 2) for n, name in enumerate(TEST)])}), {"sample_submission.csv": "test.csv"}),
        WORDS, ("oak",), says="no sample submission",
    ),
    # -- rows
    "TRUE and FALSE": Kind(files(WORDS, [(0.3, 0.3, 0.4)], asked=WORDS, more={"train.csv": csv_bytes(("id", *WORDS), [(name, *("TRUE" if n % 3 == k else "FALSE" for k in range(3))) for n, name in enumerate(TRAIN)])}), WORDS, ("1.0", "0.0", "0.0")),
    "1 and blank": Kind(files(WORDS, [(0.3, 0.3, 0.4)], asked=WORDS, more={"train.csv": csv_bytes(("id", *WORDS), [(name, *(1 if n % 3 == k else "" for k in range(3))) for n, name in enumerate(TRAIN)])}), WORDS, ("1.0", "0.0", "0.0")),
    "-1 for unsure": Kind(
        files(WORDS, [(0.3, 0.3, 0.4)], asked=WORDS, more={"train.csv": csv_bytes(("id", *WORDS), [(name, *(1 if n % 3 == k else -1 if n % 3 == 2 and k == 1 else 0 for k in range(3))) for n, name in enumerate(TRAIN)])}),
        WORDS, ("1.0", "0.0", "0.0"), stops="label cell that is not 0 or 1: 8", allow=("label cell that is not 0 or 1",),
    ),
    "labelled and blank rows in one table": Kind(
        {name.replace("train/", "images/").replace("test/", "images/"): content for name, content in files(WORDS, ["oak"]).items()}
        | {"train.csv": csv_bytes(("id", "label"), [*zip(TRAIN, cycle(WORDS), strict=False), *((name, "") for name in TEST)])},
        WORDS, ("oak",),
    ),
    "labelled validation images in a table of their own": Kind(
        {("val/" + name[6:] if name in {f"train/{row}.png" for row in TRAIN[-6:]} else name): content for name, content in files(WORDS, ["oak"]).items()}
        | {"train.csv": csv_bytes(("id", "label"), [*zip(TRAIN, cycle(WORDS), strict=True)][:-6]), "val.csv": csv_bytes(("id", "label"), [*zip(TRAIN, cycle(WORDS), strict=True)][-6:])},
        WORDS, ("oak",), says="6 labelled validation images of val.csv are used for training too",
    ),
    "unlabelled images beside the test images, and no sample": Kind(
        sampleless(folders(WORDS, ["oak"])) | {f"unlabeled/{n}.png": encoded(image_of(80 + n, n)) for n in range(4)}, WORDS, ("oak",),
        asks=("test_images: test", "test_images: unlabeled", "test_images: '.'"), stops="2 folders may hold the test images",
    ),
    "unlabelled images in a folder called as a class is": Kind(
        moved(folders(("00", "01", "02"), ["0"]), "train/", "train/labeled/")
        | {f"train/unlabeled/00/x{n}.png": IMAGE[n] for n in range(4)} | {f"val/{n:02d}/v.png": IMAGE[n] for n in range(3)},
        ("0", "1", "2"), ("0",), num_train=NUM_TRAIN + 3, says="3 labelled validation images are used for training too",
    ),
    "tables whose names begin with a letter and a point": Kind(
        sampleless(renamed(files(WORDS, [""], more={"b. Testing Labels.csv": csv_bytes(("id", "label"), [(name, WORDS[n % 3]) for n, name in enumerate(TEST)])}), {"train.csv": "a. Training Labels.csv"})),
        WORDS, ("oak",), says="no sample submission",
    ),
    "a table of measurements beside each test image": Kind(
        {name.replace("test/", f"test/{name[5:8]}/") if name.startswith("test/") else name: content for name, content in files(WORDS, ["oak"]).items()}
        | {f"test/{name}/{name}.csv": csv_bytes(("time", "temperature"), [(f"2020-01-0{n}", 20 + n) for n in range(1, 9)]) for name in TEST},
        WORDS, ("oak",),
    ),
    "rows of 0/1 columns that are all blank": Kind(
        files(WORDS, [(0.3, 0.3, 0.4)], asked=WORDS, more={"train.csv": csv_bytes(("id", *WORDS), [(name, *(int(n % 3 == k) if n < 20 else "" for k in range(3))) for n, name in enumerate(TRAIN)])}),
        WORDS, ("1.0", "0.0", "0.0"), stops="empty label: 4 (020, 021, 022, …)", allow=("empty label",), num_train=20,
    ),
    "folders in folders of the same name, and a table of what the classes are": Kind(
        folders(WORDS, ["oak"], place="training/training/{label}/{}.png", more={f"validation/validation/{label}/v{label}.png": IMAGE[0] for label in WORDS}
                | {"tree_labels.csv": csv_bytes(("Label  ", "Latin name"), [(f"{label}  ", f"{label}us") for label in WORDS])}),
        WORDS, ("oak",), num_train=27, says="3 labelled validation images are used for training too",
    ),
    "validation images whose ids begin anew": Kind(
        files(WORDS, ["oak"], more={f"val/{name}.png": IMAGE[0] for name in TRAIN[:6]} | {"val.csv": csv_bytes(("id", "label"), zip(TRAIN[:6], cycle(WORDS), strict=False))}),
        WORDS, ("oak",), num_train=30, says="6 labelled validation images of val.csv are used for training too",
    ),
    "a sample in the folder of the test images": Kind(
        moved(files(WORDS, ["oak"]), "sample_submission.csv", "test/info.csv"), WORDS, ("oak",), says="test/info.csv is taken for the sample submission",
    ),
    "one list of all images, whose names hold more": Kind(
        {f"all/{name}_small.png": image for name, image in zip([*TRAIN, *TEST], IMAGE, strict=True)}
        | {"list.txt": "".join(f"{name}.jpg {WORDS[n % 3]}\n" for n, name in enumerate([*TRAIN, *TEST])).encode(), "sample_submission.csv": csv_bytes(("name", "label"), [(f"{name}.jpg", "oak") for name in TEST])},
        WORDS, ("oak",),
    ),
    "rows flagged as validation": Kind(
        files(WORDS, ["oak"], extra=(("is_valid",), [(str(n >= 18),) for n in range(NUM_TRAIN)])), WORDS, ("oak",),
    ),
    "test rows with a placeholder for the label in the one table": Kind(
        files(WORDS, ["oak"], more={"train.csv": csv_bytes(("id", "label"), [*zip(TRAIN, cycle(WORDS), strict=True), *((name, "oak") for name in TEST)])}), WORDS, ("oak",),
    ),
    "rows without label to predict, no sample": Kind(
        moved(moved(sampleless(files(WORDS, ["oak"], more={"train.csv": csv_bytes(("id", "label", "place"), [*((name, label, n % 2) for n, (name, label) in enumerate(zip(TRAIN, cycle(WORDS), strict=True))), *((name, "", 1) for name in TEST)])})), "test/", "images/"), "train/", "images/"),
        WORDS, ("oak",), asks=("test_table: train.csv",), says="6 to predict",
    ),
    "rows without label": Kind(files(WORDS, ["oak"], rows=[*zip(TRAIN, cycle(WORDS), strict=False)][:-4] + [(name, "") for name in TRAIN[-4:]]), WORDS, ("oak",), stops="empty label: 4", allow=("empty label",), num_train=20),
    "a row whose image is missing": Kind(
        {name: content for name, content in files(WORDS, ["oak"]).items() if name != "train/005.png"}, WORDS, ("oak",), stops="id without image in train/: 1 (005)", allow=("training image missing",),
        says="1 rows of train.csv have no image and are left out, such as 005", num_train=23,
    ),
    "labels with outer blanks": Kind(files(WORDS, ["oak"], rows=[(name, f" {label}" if n < 3 else label) for n, (name, label) in enumerate(zip(TRAIN, cycle(WORDS), strict=False))]), WORDS, ("oak",), stops="label with outer spaces: 3", allow=("label with outer spaces",)),
    **{
        f"rows whose label {word} means none": Kind(files((*WORDS, word), ["oak"]), WORDS, ("oak",), stops="label that may mean missing: 6", allow=("word for no label",), num_train=18)
        for word in ("N/A", "None", "unlabeled", "?")
    },
    "a class called ? beside other marks": Kind(files(("?", "!", "oak"), ["oak"]), ("?", "!", "oak"), ("?",)),
    "blanks beside True and False": Kind(files(("True", "False", ""), ["True"]), ("True", "False"), ("True",), stops="empty label: 8", allow=("empty label",), num_train=16),
    "a class called nan": Kind(files(("oak", "elm", "nan"), ["oak"]), ("oak", "elm", "nan"), ("oak",), stops="empty label: 8", allow=("label that may mean missing",)),
    "a class called nan that the sample names": Kind(files(("oak", "nan"), ["oak", "nan"]), ("oak", "nan"), ("oak",)),
    "repeated rows": Kind(files(WORDS, ["oak"], rows=[*zip(TRAIN, cycle(WORDS), strict=False), *zip(TRAIN[:2], WORDS, strict=False)]), WORDS, ("oak",), stops="repeated row: 2", allow=("repeated row",)),
    "a class that the sample alone has": Kind(files(WORDS, [(0.2, 0.3, 0.3, 0.2)], asked=(*WORDS, "yew")), WORDS, ("1.0", "0.0", "0.0", "0"), says="'yew', of which there is no training image"),
    "columns counted from elsewhere": Kind(
        files(("0", "1", "2", "3"), [(0.2, 0.2, 0.3, 0.3)], asked=("Class_1", "Class_2", "Class_3", "Class_4")), ("1", "0", "2", "3"), ("1.0", "0.0", "0.0", "0"),
        asks=("allow: [class without column]", "label: label"), stops="has columns for 3 of the classes in 'label' of train.csv, not for all; 'Class_4' of its columns is none of them",
    ),
    "a table that says otherwise than the folders": Kind(
        files(WORDS, ["oak"], train="train/{label}/{}.png", rows=[(f"{label}/{name}.png", WORDS[(n + (n < 2)) % 3]) for n, (name, label) in enumerate(zip(TRAIN, cycle(WORDS), strict=True))]),
        WORDS, ("oak",), says="2 of 24 images lie in the folder of another class than train.csv says, such as train/oak/000.png = 'elm'",
    ),
    "a class without column": Kind(
        files((*WORDS, "yew"), [(0.3, 0.3, 0.3)], asked=WORDS), (*WORDS, "yew"), ("1.0", "0.0", "0.0"), asks=("allow: [class without column]", "allow: [row of a class without column]"), says="no column for 'yew'",
    ),
    "rows of lists labelled N/A, for which there is no column": Kind(
        files(["scab", "rust", "scab,rust", "mildew", "N/A", "rust,mildew"], [(0.3, 0.3, 0.3)], asked=TAGS), TAGS, ("1.0", "0.0", "0.0"), asks=("allow: [row of a class without column]", "allow: [class without column]"), num_train=20,
    ),
    **{
        f"rows labelled {word}, for which there is no column": Kind(
            files((*WORDS, word), [(0.3, 0.3, 0.3)], asked=WORDS), WORDS, ("1.0", "0.0", "0.0"), asks=("allow: [row of a class without column]", "allow: [class without column]"), num_train=18,
        )
        for word in ("?", "N/A", "unlabelled")
    },
    "one number where a list of classes may count from 0 or from 1": Kind(
        files(WORDS, ["1"], more={"classes.txt": "elm\nfir\noak\n"}), ("1", "2", "3"), ("1",), asks=("spelling: '{label.rank+1}'", "spelling: classes.txt", "spelling: '{label.rank}'", "spelling: '{label}'"),
    ),
    # -- words of the split in other languages; labels of what several images are of
    **{
        f"folders and tables called {own} and {other}, and the same names in both": Kind(
            {f"{own}/{name}.png": IMAGE[n] for n, name in enumerate(TRAIN)} | {f"{other}/{name}.png": IMAGE[NUM_TRAIN + n] for n, name in enumerate(TRAIN[:NUM_TEST])}
            | {f"{own}.csv": csv_bytes(("id", "label"), zip(TRAIN, cycle(WORDS), strict=True)), f"{other}.csv": csv_bytes(("id",), [(name,) for name in TRAIN[:NUM_TEST]])}, WORDS, ("oak",),
        )
        for own, other in (("treino", "teste"), ("обучение", "тест"), ("entrenamiento", "pruebas"))
    },
    **{
        f"the {asked} of patients of several images": Kind(
            files(WORDS, ["elm"], asked=asked, rows=[(name, f"P{n % 8}") for n, name in enumerate(TRAIN)], column="patient", more={"patients.csv": csv_bytes(("patient", "stage"), [(f"P{n}", WORDS[n // 3]) for n in range(8)])}),
            WORDS, ("oak",), asks=asks, says="have the stage of their 'patient'",
        )
        for asked, asks in (("stage", ()), ("answer", ("label: stage", "label: patient")))
    },
    "names of labels that a table of their numbers has, asked for by its column": Kind(
        files(("1", "2", "3"), [""], column="label_id", asked="label_name", more={"classes.csv": csv_bytes(("label_id", "label_name"), [(n + 1, word) for n, word in enumerate(WORDS)])}), WORDS, ("oak",),
    ),
    "a table of folders of several images, of frames that a model is asked for": Kind(
        {f"frames/v{n // 4}/{n % 4}.png": IMAGE[n] for n in range(NUM_TRAIN)} | {name: content for name, content in files(WORDS, [""], more={"videos.csv": csv_bytes(("video", "label"), [(f"v{n}", WORDS[n // 2]) for n in range(6)])}).items() if not name.startswith("train")},
        tuple(f"v{n}" for n in range(6)), ("v0",), asks=("label: folder", "train_images: 'frames/{video}/0.png'"), stops="names 6 folders of several images, a row each",
    ),
    "a table of folders of one image or more": Kind(
        {f"train/P{n % 7 if n else 7}/{n}.png": IMAGE[n] for n in range(15)}
        | {name: content for name, content in files(WORDS, [""], rows=[(f"P{n}", WORDS[n % 3]) for n in range(8)]).items() if not name.startswith("train/")},
        tuple(f"P{n}" for n in range(8)), ("P0",), asks=("label: folder",), stops="names 7 folders of several images, a row each", num_train=15,
    ),
    "labels as Edge Impulse has them": Kind(
        {f"{part}/{n}.png": IMAGE[n] for n, part in enumerate(("training",) * NUM_TRAIN + ("testing",) * NUM_TEST)}
        | {"info.labels": json.dumps({"version": 1, "files": [{"path": f"{'training' if n < NUM_TRAIN else 'testing'}/{n}.png", "category": "training" if n < NUM_TRAIN else "testing", "label": {"type": "label", "label": WORDS[n % 3]}} for n in range(NUM_TRAIN + NUM_TEST)]})}, WORDS, ("oak",),
    ),
    "a label a line beside names that may be labels": Kind(
        {f"train/{('left', 'right')[n % 2]}_{n}.png": IMAGE[n] for n in range(NUM_TRAIN)} | {"train_labels.txt": "".join(f"{n % 3}\n" for n in range(NUM_TRAIN))}
        | {name: content for name, content in files(WORDS, [""]).items() if not name.startswith("train")}, ("left", "right"), ("left",),
        asks=("train_table: none",), stops="train_labels.txt has 24 lines, first '0', as many as a folder has images, and names none",
    ),
    "a title in quotes above the header": Kind(files(WORDS, ["oak"], more={"train.csv": '"Survey 2021, plot B",\n' + "id,label\n" + "".join(f"{name},{label}\n" for name, label in zip(TRAIN, cycle(WORDS), strict=True))}), WORDS, ("oak",), says="1 lines of train.csv are no rows and are skipped, first '\"Survey 2021, plot B\"'"),
    # -- what tools and teams leave beside the labels
    **{
        f"a class folder {folder}": Kind(
            folders((*WORDS, folder), ["oak", "elm"]), WORDS, ("oak",), stops="label that may mean missing: 6 (", allow=("word for no label",), num_train=18,
        )
        for folder in ("Untagged", "no_label", "_unsorted")
    },
    "a class folder called unsorted, which the sample names": Kind(folders((*WORDS, "unsorted"), ["oak", "unsorted"]), (*WORDS, "unsorted"), ("oak",)),
    "validation images in a list beside class folders": Kind(
        folders(WORDS, ["oak", "elm"], more={f"val/images/{n}.png": encoded(image_of(n, 50 + n)) for n in range(6)} | {"val/val_annotations.txt": "".join(f"{n}.png\t{WORDS[n % 3]}\t0\t0\t8\t8\n" for n in range(6))}),
        WORDS, ("oak",), says="6 labelled validation images are used for training too", num_train=NUM_TRAIN + 6,
    ),
    "lists of numbers, labels and names of training and of validation images": Kind(
        folders(WORDS, ["0", "1"], place="train/{}.png", more={f"validation/{n:03d}.png": encoded(image_of(n, 50 + n)) for n in range(6)} | {
            "train.lst": "".join(f"{n}\t{n % 3}\t{name}.png\n" for n, name in enumerate(TRAIN)), "validation.lst": "".join(f"{n}\t{n % 3}\t{n:03d}.png\n" for n in range(6))}),
        ("0", "1", "2"), ("0",), says="6 labelled validation images of validation.lst", num_train=NUM_TRAIN + 6,
    ),
    "a number and deeper its name, which the sample writes": Kind(
        folders(WORDS, ["elm"], place="train/{}.png", more={"output.manifest": "".join(json.dumps({"source-ref": f"s3://b/train/{name}.png", "job": n % 3, "job-metadata": {"class-name": WORDS[n % 3], "at": f"2020-01-{n + 1}"}}) + "\n" for n, name in enumerate(TRAIN))}),
        WORDS, ("oak",),
    ),
    "names that begin anew in folders of two columns": Kind(
        {name: content for name, content in files(WORDS, ["oak"], asked="answer").items() if not name.startswith("train")}
        | {"train.csv": csv_bytes(("day", "site", "photo", "answer"), [(f"05-{n // 12}", f"site {n % 12 // 6}", f"{n % 6}.png", WORDS[n % 3]) for n in range(NUM_TRAIN)])}
        | {f"photos/05-{n // 12}/site {n % 12 // 6}/{n % 6}.png": IMAGE[n] for n in range(NUM_TRAIN)}, WORDS, ("oak",),
    ),
    "parts in JSON beside labels of all": Kind(
        {f"images/{name}.png": image for name, image in zip((*TRAIN, *TEST), IMAGE, strict=True)}
        | {"labels.json": json.dumps({f"{name}.png": WORDS[n % 3] for n, name in enumerate((*TRAIN, *TEST))}), "splits.json": json.dumps({"train": [f"{name}.png" for name in TRAIN], "test": [f"{name}.png" for name in TEST]})},
        WORDS, ("oak",), says="6 rows of labels.json are those of test images, by splits.json",
    ),
}  # fmt: skip


@pytest.fixture
def params(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text((ROOT / "params.yaml").read_text())
    return path


def ingested(raw, params):
    """The layout that ingest reads, what it notes, and its problems that stop."""
    competition = load_section(params, "competition", CompetitionParams)
    problems = Problems()
    with open_archive(raw) as archive:
        layout = read_layout(archive, problems, Overrides.among(dataclasses.asdict(competition)))
    return layout, problems.lines(competition.allow)


@pytest.mark.parametrize(
    ("column", "kind"), [("Retinopathy grade", "ordinal"), ("kl_grade", "ordinal"), ("level of wear", "single_label")]
)
def test_a_column_whose_last_word_speaks_of_grades_holds_them(tmp_path, params, column, kind):
    found = sampleless(files(("0", "1", "2", "3"), [""], column=column))
    write_settings(params, write_zip(tmp_path / "raw.zip", found), {})
    assert ingested(tmp_path / "raw.zip", params)[0].target.kind == kind


@pytest.mark.parametrize(("listed", "first"), [("{}", "900"), ("{}.png", "900.png"), ("train/{}.png", "test/900.png")])
def test_without_sample_and_test_table_ids_are_those_that_the_train_table_would_have(tmp_path, params, listed, first):
    rows = [(listed.format(name), label) for name, label in zip(TRAIN, cycle(WORDS), strict=True)]
    found = sampleless(files(WORDS, [""])) | {"train.csv": csv_bytes(("file", "kind"), rows)}
    write_settings(params, write_zip(tmp_path / "raw.zip", found), {})
    layout, problems = ingested(tmp_path / "raw.zip", params)
    assert (layout.submission.columns, layout.test_ids[0], problems) == (("file", "kind"), first, [])


def test_without_sample_a_test_tables_ids_stand_in_the_column_of_the_train_tables(tmp_path, params):
    rows = [(100 + n, f"{name}.png") for n, name in enumerate(TEST)]
    found = sampleless(files(WORDS, [""], extra=(("place",), [(100 + n % 3,) for n in range(NUM_TRAIN)])))
    found |= {"test.csv": csv_bytes(("place", "id"), rows)}
    write_settings(params, write_zip(tmp_path / "raw.zip", found), {})
    layout, _ = ingested(tmp_path / "raw.zip", params)
    assert (layout.submission.columns[0], layout.test_ids[0]) == ("id", "900.png")


def test_a_row_for_each_image_and_class_that_says_nothing_of_either_stops(tmp_path, params):
    rows = [(name, tag, 0.3 + n / 100) for n, name in enumerate(TRAIN) for tag in TAGS]
    found = files(TAGS, [(0.5, 0.5, 0.5)], asked=TAGS, more={"train.csv": csv_bytes(("id", "tag", "share"), rows)})
    with pytest.raises(ValueError, match="a row for each image and each of the 3 labels in 'tag'"):
        inspect_competition(write_zip(tmp_path / "raw.zip", found), params)


@pytest.mark.parametrize(
    "cells", [["[0 0 1]", "[0 1 0]", "[1 0 0]"], ["[1, 0]", "[0, 1]"], ["[1. 0. 1.]", "[0. 1. 1.]"]]
)
def test_zeros_and_ones_in_one_cell_are_no_labels(tmp_path, params, cells):
    with pytest.raises(ValueError, match="hold a 0 or 1 for each class.*make it a 0/1 column for each class"):
        inspect_competition(write_zip(tmp_path / "raw.zip", files(cells, [""])), params)


def first_row(layout, kind):
    """The submission's value cells of an image that is surely of the kind's first class, checked by the contract."""
    target, submission = layout.target, layout.submission
    at = target.classes.index(kind.classes[0])
    probs = np.tile(np.eye(len(target.classes))[at], (len(layout.test_ids), 1))
    decided = np.full(len(probs), at) if target.exclusive else probs > 0.5
    cells = row_cells(answers_of(probs, decided, target, submission), layout.test_ids, layout)
    content = make_submission(layout.sample, layout, cells)
    assert not [check for check in check_submission(content, layout.sample, layout) if check.refused]
    header, rows = parse_table(content, submission)
    return tuple(rows[0][header.index(column)] for column in submission.value_columns)


@pytest.mark.parametrize("name", KINDS)
def test_a_kind_is_read_right_and_inspect_and_ingest_are_one_account(tmp_path, params, name):
    kind = KINDS[name]
    raw = write_zip(tmp_path / "raw.zip", kind.files)
    if kind.asks:
        with pytest.raises(ValueError) as error:
            inspect_competition(raw, params)
        lines = [line.strip() for line in str(error.value).splitlines() if line.startswith("    competition.")]
        assert {line.removeprefix("competition.").partition("    #")[0] for line in lines} == set(kind.asks), (
            error.value
        )
        assert kind.stops in str(error.value)
        write_settings(params, raw, yaml.safe_load(kind.asks[0]))
    account = inspect_competition(raw, params)
    write_settings(params, raw, account.settings)
    before, problems = ingested(raw, params)
    said = "\n".join(account.lines)
    assert [line for line in said.splitlines() if line.strip() in {line.strip() for line in problems}] == problems
    if kind.stops and not kind.asks:
        assert problems and kind.stops in problems[0]
        write_settings(params, raw, {"allow": list(kind.allow)})
        before, problems = ingested(raw, params)
    assert not problems
    again = inspect_competition(raw, params)
    assert kind.says in "\n".join([*account.lines, *again.lines])
    assert {key: value for key, value in again.settings.items() if account.settings[key] != value} == {}
    assert set(before.target.classes) == set(kind.classes) and len(before.train_ids) == kind.num_train
    assert first_row(before, kind) == kind.written


NAMED_OTHERWISE = [
    {},
    {"key": "image", "numbers": range(40, 100)},
    {"key": "sample", "numbers": [f"x{n}" for n in range(100)]},
    {"numbers": [int(name) + 1 for name in (*TRAIN, *TEST)], "file_of": "{}.png".format},
    {"key": "id", "own": "row", "numbers": [int(name) + 1 for name in (*TRAIN, *TEST)], "file_of": "{}.png".format},
]


@pytest.mark.parametrize("how", NAMED_OTHERWISE)
def test_numbers_of_labels_are_not_those_of_images_nor_these_those_in_file_names(tmp_path, params, how):
    """As COCO's tables are: images (id, file), annotations (id, image_id, label)."""
    raw = write_zip(tmp_path / "raw.zip", tables_of_a_database(**how))
    write_settings(params, raw, inspect_competition(raw, params).settings)
    found, problems = ingested(raw, params)
    labels = dict(zip(found.train_members, found.train_labels, strict=True))
    file_of = how.get("file_of", hashed_file)
    assert not problems and labels == dict(zip([f"train/{file_of(name)}" for name in TRAIN], cycle(WORDS), strict=True))
    assert list(found.test_members) == [f"test/{file_of(name)}" for name in TEST]


def test_numbers_of_rows_are_not_those_of_their_classes(tmp_path, params):
    """train.csv: id, file, breed_id; breeds.csv: id, name, group. The sample asks for the group of each row's breed."""
    groups = dict(zip(WORDS, ("wood", "shrub", "wood"), strict=True))
    rows = [(n, f"{name}.png", 1 + n % 3) for n, name in enumerate(TRAIN, 1)]
    found = files(WORDS, ["wood"], asked="group") | {"train.csv": csv_bytes(("id", "file", "breed_id"), rows)}
    more = [f"breed {n}" for n in range(4, 40)]
    breeds = [(n, word, groups.get(word, "wood")) for n, word in enumerate((*WORDS, *more), 1)]
    raw = write_zip(tmp_path / "raw.zip", found | {"breeds.csv": csv_bytes(("id", "name", "group"), breeds)})
    write_settings(params, raw, inspect_competition(raw, params).settings)
    read, problems = ingested(raw, params)
    due = {f"train/{name}.png": groups[WORDS[n % 3]] for n, name in enumerate(TRAIN, 1)}
    assert not problems and dict(zip(read.train_members, read.train_labels, strict=True)) == due


def test_two_columns_that_may_number_the_images_stop(tmp_path, params):
    raw = write_zip(tmp_path / "raw.zip", tables_of_a_database(own="image"))
    with pytest.raises(ValueError, match="'image' of labels.csv is 'id' of images.csv or 'image_id' of labels.csv is"):
        inspect_competition(raw, params)


@pytest.mark.parametrize("metric", ["map@2", "top-2 error", "top2_accuracy"])
def test_a_metric_of_the_first_labels_has_so_many_written(tmp_path, params, metric):
    raw = write_zip(tmp_path / "raw.zip", files(WORDS, ["oak"]))
    write_settings(params, raw, {"metric": metric})
    submission = ingested(raw, params)[0].submission
    assert (submission.kind, submission.most) == ("ranked", 2)
