"""Samples that write numbers for classes that have names: which number is which class is read, asked, never guessed."""

import pytest
from conftest import csv_bytes, encoded, image_of, write_zip
from layouts import sound_layout

from pipeline.archive.archive import open_archive
from pipeline.competition.problems import Problems
from pipeline.layout.layout import read_layout

NAMES = ("sea lion", "cat", "dog")  # in the organiser's order: 0, 1, 2
FILES = {
    "classes.txt": "sea lion\ncat\ndog\n",
    "class_names.txt": "sea lion\r\ncat\r\ndog\r\n",
    "labels.txt": "0 sea lion\n1 cat\n2 dog\n",
    "labels-map.txt": "sea lion 0\ncat 1\ndog 2\n",
    "colons.txt": "0: sea lion\n1: cat\n2: dog\n",
    "equals.txt": "sea lion = 0\ncat = 1\ndog = 2\n",
    "arrows.txt": "0 -> sea lion\n1 -> cat\n2 -> dog\n",
    "tabs.txt": "0\tsea lion\n1\tcat\n2\tdog\n",
    "commas.txt": "0,sea lion\n1,cat\n2,dog\n",
    "class_names.csv": "id,name\n0,sea lion\n1,cat\n2,dog\n",
    "classes.csv": "sea lion,0\ncat,1\ndog,2\n",
    "one_column.csv": "class\nsea lion\ncat\ndog\n",
    "by_name.json": '{"sea lion": 0, "cat": 1, "dog": 2}',
    "by_number.json": '{"0": "sea lion", "1": "cat", "2": "dog"}',
    "list.json": '["sea lion", "cat", "dog"]',
    "under_a_key.json": '{"version": 1, "classes": ["sea lion", "cat", "dog"]}',
    "records.json": '[{"id": 0, "name": "sea lion"}, {"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]',
    "categories.json": '{"categories": [{"id": 0, "name": "sea lion"}, {"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]}',
    "data.yaml": "nc: 3\nnames: [sea lion, cat, dog]\n",
    "numbered.yaml": "names:\n  0: sea lion\n  1: cat\n  2: dog\n",
    "obj.names": "sea lion\ncat\ndog\n",
}  # fmt: skip
LABELS, COLUMNS, CLASS_COLUMNS, ONE = "012", ("0", "1", "2"), ("class_0", "class_1", "class_2"), "0"


def layout_of(tmp_path, written, more=None, names=NAMES, table=False, **settings):
    """written: cells of a sample's one column, or the names of its columns."""
    found = {f"train/{names[n % len(names)]}/{n:02d}.png": encoded(image_of(n, n)) for n in range(24)}
    if table:
        found = {f"train/{n:02d}.png": content for n, content in enumerate(found.values())}
        found["train.csv"] = csv_bytes(("id", "kind"), [(f"{n:02d}", names[n % len(names)]) for n in range(24)])
    found |= {f"test/9{n}.png": encoded(image_of(40 + n, n)) for n in range(6)}
    header, rows = (
        (("id", "label"), [(f"9{n}", written[n % len(written)]) for n in range(6)])
        if isinstance(written, str)
        else (("id", *written), [(f"9{n}", *(0.3 for _ in written)) for n in range(6)])
    )
    found["sample_submission.csv"] = csv_bytes(header, rows)
    found |= {name: text.encode() for name, text in (more or {}).items()}
    return sound_layout(write_zip(tmp_path / "raw.zip", found), **settings)


def labels_of(layout):
    """Of the images by their numbers, as numbers."""
    pairs = zip(layout.train_members, layout.train_labels, strict=True)
    return [int(label) for _, label in sorted((member.rpartition("/")[2], label) for member, label in pairs)]


@pytest.mark.parametrize("table", [False, True], ids=["folders", "table"])
@pytest.mark.parametrize("written", [LABELS, COLUMNS, CLASS_COLUMNS], ids=["labels", "columns", "class columns"])
@pytest.mark.parametrize("name", FILES)
def test_a_file_of_the_archive_says_which_number_is_which_class(tmp_path, name, written, table):
    layout = layout_of(tmp_path, written, {name: FILES[name]}, table=table)
    assert labels_of(layout) == [n % 3 for n in range(24)]
    assert layout.settings["spelling"] == name
    assert any("'0' for 'sea lion'" in note and f"({name})" in note for note in layout.notes)


@pytest.mark.parametrize("written", [LABELS, "123", COLUMNS, CLASS_COLUMNS], ids=str)
def test_without_one_it_is_asked_and_the_alphabetical_order_is_a_line(tmp_path, written):
    with pytest.raises(ValueError, match="in alphabetical order: [01] is 'cat', [12] is 'dog'") as error:
        layout_of(tmp_path, written)
    lines = [line.strip() for line in str(error.value).splitlines() if "spelling" in line]
    rule = next(line.split("'")[1] for line in lines if "rank" in line)
    layout = layout_of(tmp_path, written, spelling=rule)
    first = 1 if written == "123" else 0
    assert labels_of(layout) == [first + (2, 0, 1)[n % 3] for n in range(24)]


def test_files_that_differ_are_asked_about_and_files_that_agree_are_not(tmp_path):
    with pytest.raises(ValueError, match=r"spelling: a.txt(?s:.*)spelling: b.txt"):
        layout_of(tmp_path, LABELS, {"a.txt": "sea lion\ncat\ndog\n", "b.txt": "cat\nsea lion\ndog\n"})
    with pytest.raises(ValueError, match=r"2 files say it(?s:.*)spelling: a.txt(?s:.*)spelling: b.txt"):
        layout_of(tmp_path, COLUMNS, {"a.txt": "sea lion\ncat\ndog\n", "b.txt": "cat\nsea lion\ndog\n"})
    for written in (LABELS, COLUMNS):
        layout = layout_of(tmp_path, written, {"a.txt": "sea lion\ncat\ndog\n", "b.json": FILES["by_name.json"]})
        assert layout.settings["spelling"] == "a.txt"


def test_one_number_everywhere_is_said_with_the_line(tmp_path):
    layout = layout_of(tmp_path, ONE)
    assert set(layout.target.classes) == set(NAMES)
    [warning] = [line for line in layout.warnings if "taken for a placeholder" in line]
    assert "competition.spelling: '{label.rank}'    # in alphabetical order: 0 is 'cat'" in warning


def test_of_two_classes_a_file_says_which_is_1(tmp_path):
    for text, positive in (("dog\ncat\n", "cat"), ("cat\ndog\n", "dog")):
        for metric in ("auc", "accuracy"):
            layout = layout_of(tmp_path, "01", {"classes.txt": text}, names=("dog", "cat"), metric=metric)
            assert (layout.target.positive, layout.submission.whole) == (positive, metric == "accuracy")
            assert f"1 means {positive!r}, by classes.txt" in layout.notes
    with pytest.raises(ValueError, match="which class does 1 mean"):
        layout_of(tmp_path, "01", names=("dog", "cat"), metric="auc")


def test_a_table_of_images_is_no_list_of_classes(tmp_path):
    """Its second line is not what class 1 is called."""
    rows = [(f"{n:02d}", "LR"[n % 2], n % 2) for n in range(24)]
    files = {f"train/{name}.png": encoded(image_of(n, n)) for n, (name, *_) in enumerate(rows)}
    files |= {f"test/9{n}.png": encoded(image_of(40 + n, n)) for n in range(6)}
    files["train.csv"] = csv_bytes(("image", "side", "cancer"), rows)
    files["test.csv"] = csv_bytes(("image", "side"), [(f"9{n}", "LR"[n % 2]) for n in range(6)])
    files["sample_submission.csv"] = csv_bytes(("image", "L", "R"), [(f"9{n}", 0.1, 0.2) for n in range(6)])
    path = write_zip(tmp_path / "raw.zip", files)
    with open_archive(path) as archive, pytest.raises(ValueError, match="unknown columns"):
        read_layout(archive, Problems())
