"""Tables of every dialect give the same cells; what is no table is left aside, and stops only where it is needed."""

import csv
import hashlib
import io
import json

import pytest
from conftest import competition_files, csv_bytes, encoded, image_of, write_zip
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.archive.archive import open_archive
from pipeline.competition.problems import Problems
from pipeline.layout.context import Overrides
from pipeline.layout.layout import read_layout
from pipeline.tables.delimited import read_delimited
from pipeline.tables.table import Table, parted, without_index
from pipeline.tables.table_files import read_tables

HEADER = ("id", "label", "note")
ROWS = [("001", "oak", "x, y"), ("002", "elm", ""), ("003", "a fir", "z"), ("004", "oak", "it's")]


def written(mark=",", newline="\n", header=HEADER, rows=ROWS, quote='"'):
    def cell(text):
        return f"{quote}{text}{quote}" if mark in text or "," in text else text

    return "".join(mark.join(map(cell, row)) + newline for row in (header, *rows))


PLAIN = written()
DIALECTS = {
    "plain": PLAIN,
    "tabs": written("\t"),
    "semicolons": written(";"),
    "pipes": written("|"),
    "carriage returns": written(newline="\r\n"),
    "old Mac": written(newline="\r"),
    "sep line": "sep=;\n" + written(";"),
    "quoted sep line": '"sep=|"\r\n' + written("|", "\r\n"),
    "header with commas, rows with semicolons": "id,label,note\n" + written(";").split("\n", 1)[1],
    "header with semicolons, rows with commas": "id;label;note\n" + PLAIN.split("\n", 1)[1],
    "header with tabs, rows with commas": "id\tlabel\tnote\n" + PLAIN.split("\n", 1)[1],
    "header quoted as a whole": '"id,label,note"\n' + PLAIN.split("\n", 1)[1],
    "lines quoted as a whole": "".join('"' + line.replace('"', '""') + '"\n' for line in PLAIN.splitlines()),
    "comments on top": "# made by a script\n# of ours, in May\n" + PLAIN,
    "blanks after commas": "id, label, note\n001, oak, \"x, y\"\n002, elm, \n003, a fir, z\n004, oak, it's\n",
    "blanks around header cells": PLAIN.replace("id,label,note", " id ,label , note"),
    "blank lines": "\n" + PLAIN.replace("\n", "\n\n"),
    "rows of marks alone": PLAIN + ",,\n,,\n",
    "marks at the end of each row": "id,label,note\n" + "".join(line + ",,,\n" for line in PLAIN.splitlines()[1:]),
    "semicolons at the end of each row": "id;label;note\n" + "".join(line + ";;;\n" for line in written(";").splitlines()[1:]),
    "a mark at the end of each row": "id,label,note\n" + "".join(line + ",\n" for line in PLAIN.splitlines()[1:]),
    "no newline at the end": PLAIN.rstrip("\n"),
}  # fmt: skip


@pytest.mark.parametrize("folder", ["train", "train.csv"])
def test_a_table_once_more_in_a_folder_of_its_name_counts_once_where_all_bytes_are_equal(folder, tmp_path):
    """As Kaggle's sign language MNIST has `sign_mnist_train.csv` and `sign_mnist_train/sign_mnist_train.csv`."""
    for again, names in ((PLAIN, ["train.csv"]), (PLAIN.replace("oak", "ash"), ["train.csv", f"{folder}/train.csv"])):
        files = {"train.csv": PLAIN.encode(), f"{folder}/train.csv": again.encode(), "other/train.txt": b"x"}
        with open_archive(write_zip(tmp_path / "raw.zip", files)) as archive:
            assert list(read_tables(archive).tables) == names


@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_dialect_gives_the_same_cells(dialect):
    table = read_delimited("t.csv", DIALECTS[dialect])
    assert table.header == HEADER
    assert list(table.rows()) == ROWS


SKIPPED = {
    "a sum at the end": (PLAIN + "Total rows: 4\n", ("Total rows: 4",)),
    "a sum at the end, with marks": (PLAIN + "Total rows: 4,,\n", ("Total rows: 4",)),
    "a comment at the end": (PLAIN + "# exported 2024-01-01, by us\n", ("# exported 2024-01-01, by us",)),
    "two lines at the end, by semicolons": (written(";") + "Total: 4\n# checked\n", ("Total: 4", "# checked")),
    "a title on top": ("Survey of May\n\n" + PLAIN, ("Survey of May",)),
    "a title on top, with marks": ("Survey of May,,\n" + PLAIN, ("Survey of May",)),
    "a title and a sum": ("Survey of May\n" + written("\t") + "Total rows: 4\n", ("Survey of May", "Total rows: 4")),
    "a line of units": (PLAIN.replace("001,", "(text),(class),(text)\n001,"), ("(text),(class),(text)",)),
    "the header again, spelled otherwise": (PLAIN.replace("003,", "ID,Label,Note\n003,"), ("ID,Label,Note",)),
    "the header again": (PLAIN.replace("003,", "id,label,note\n003,"), ("id,label,note",)),
}  # fmt: skip


@pytest.mark.parametrize("name", SKIPPED)
def test_lines_that_are_no_rows_are_skipped_and_said(name):
    text, lines = SKIPPED[name]
    table = read_delimited("t.csv", text)
    assert table.header == HEADER and list(table.rows()) == ROWS and table.skipped == lines


@pytest.mark.parametrize("line", ["Total rows: 2\n", "002\n", "# exported\n", "002,elm,x,y\n"])
def test_a_line_that_does_not_fit_is_no_note_where_rows_follow(line):
    with pytest.raises(ValueError, match="ragged"):
        read_delimited("t.csv", PLAIN.replace("003,", line + "003,"))


@pytest.mark.parametrize(
    "text",
    ["name,label\na 1,\na 2,\n", "name,label\na 1,x\na 2,\n", "name,label\n1,x\nsea lion.png,\n", "#,label\n#1,x\n#2,y\n"],
)  # fmt: skip
def test_rows_that_end_blank_are_rows(text):
    table = read_delimited("t.csv", text)
    assert table.num_rows == 2 and not table.skipped


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("{}.jpg,oak", "path, label"),
        ("{}.jpg,7", "path, label"),
        ("0{},a/{}.jpg,oak", "id, path, label"),
        ("{}.jpg,3,0.5", "path, label, column_3"),
        ("{}.jpg,10,20,110,{}20,oak", "path, column_2, column_3, column_4, column_5, label"),
        ("{}.jpg,10,20,110,{}20,14", "path, column_2, column_3, column_4, column_5, column_6"),
        ("{}.jpg,10.0,20.0,110.0,{}20.0,oak,", "path, column_2, column_3, column_4, column_5, label, column_7"),
    ],
)
def test_names_that_are_offered_call_no_number_of_a_box_the_label(line, names):
    text = "".join(line.replace("{}", str(number)) + "\n" for number in range(1, 6))
    with pytest.raises(ValueError, match=rf"competition\.header: \[{names}\]"):
        read_delimited("t.csv", text)


QUOTED = {
    'a sign reads "exit", red': '1,"a sign reads "exit", red"',
    'the "exit"': '1,"the "exit""',
    '"exit" here, left': '1,""exit" here, left"',
    'both "kinds" of "quotes"': '1,"both ""kinds"" of "quotes""',
}


@pytest.mark.parametrize(("caption", "line"), QUOTED.items())
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_quotes_within_a_quoted_cell_are_its_own_where_the_line_has_one(caption, line, newline):
    """Captions have them: those of COMP5329's images of COCO."""
    text = newline.join(("id,label,note", '0.jpg,8,"plain, as it should be"', f"1.jpg,{line}", "2.jpg,3,none", ""))
    table = read_delimited("t.csv", text)
    assert table.column("id") == ["0.jpg", "1.jpg", "2.jpg"] and table.column("label") == ["8", "1", "3"]
    assert table.column("note") == ["plain, as it should be", caption, "none"]


@pytest.mark.parametrize(
    "line", ['"a "b" c","d, e"', 'a,"b "c" d', '"a "b", c",d,e', '"bi"rd,x', '"a "b" c",d\n"two', '"a "b" c" d,e']
)
def test_quotes_that_may_be_read_in_two_ways_are_refused(line):
    with pytest.raises(ValueError, match="is not a readable CSV"):
        read_delimited("t.csv", f"id,label,note\n0,8,plain\n1,{line}\n2,x,y\n")


def test_decimal_commas_are_not_taken_for_marks():
    rows = "".join(f"{n};0,{n};1,5\n" for n in range(9))
    assert read_delimited("t.csv", "id;w;h\n" + rows).rows().__next__() == ("0", "0,0", "1,5")
    with pytest.raises(ValueError, match="ragged"):
        read_delimited("t.csv", "id;w;h\n" + rows + "10;1,5\n")


CELLS = st.text(st.characters(blacklist_categories=("Cs", "Cc")) | st.sampled_from(',;|\t"\n#= '), max_size=8)


@pytest.mark.parametrize("mark", [",", ";", "\t", "|"])
@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(data=st.data())
def test_whatever_csv_writes_is_read_back(mark, data):
    rows = data.draw(st.lists(st.lists(CELLS, min_size=2, max_size=2), min_size=1, max_size=6))
    rows = [(f"i{n}", "x" + first, "y" + second) for n, (first, second) in enumerate(rows)]
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=mark, quoting=csv.QUOTE_ALL).writerows([("id", "a b", "c"), *rows])
    table = read_delimited("t.csv", text.getvalue())
    assert table.header == ("id", "a b", "c") and list(table.rows()) == rows


def test_row_names_of_r_are_an_index():
    text = "id,label\n" + "".join(f'"{n + 1}",{n:03d},{label}\n' for n, label in enumerate("aabb"))
    table = read_delimited("t.csv", text)
    assert table.header == ("", "id", "label")
    assert without_index(table).header == ("id", "label")


@pytest.mark.parametrize(
    ("header", "kept"),
    [
        (("", "name", "label"), ("name", "label")), (("Unnamed: 0", "name", "label"), ("name", "label")),
        (("Unnamed: 0.1", "name", "label"), ("name", "label")), (("index", "name", "label"), ("name", "label")),
        (("index", "label"), ("index", "label")), (("id", "name", "label"), ("id", "name", "label")),
    ],
)  # fmt: skip
def test_an_index_column_goes_unless_it_may_be_the_id(header, kept):
    rows = [
        (str(n), f"img{n}", "ab"[n % 2])[-len(header) :] if len(header) == 3 else (str(n), "ab"[n % 2])
        for n in range(6)
    ]
    assert without_index(Table.of_rows("t.csv", header, rows)).header == kept


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("000.png,oak\n001.png,elm\n", "competition.header: [path, label]"),
        ("train/a.jpg\tcat\ntrain/b.jpg\tdog\n", "competition.header: [path, label]"),
        ("001,oak\n002,elm\n003,oak\n", "competition.header: [id, label]"),
        ("900.png\n901.png\n", "competition.header: [path]"),
    ],
)
def test_a_table_without_a_header_says_which_setting_names_its_columns(text, line):
    with pytest.raises(ValueError, match="has no header") as caught:
        read_delimited("t.csv", text)
    assert str(caught.value).endswith(line)
    names = line.partition("[")[2].rstrip("]").split(", ")
    table = read_delimited("t.csv", text, names)
    assert table.num_rows == len(text.splitlines()) and table.header == tuple(names)


@pytest.mark.parametrize(
    "text", ["id,0,1,2\n7,1,0,0\n8,0,1,0\n", "label,x\nlabel,1\nother,2\n", "0,1\n0.5,0.5\n", "id,label\n1,2\n3,4\n"]
)
def test_a_header_of_numbers_or_of_a_labels_name_is_a_header(text):
    assert read_delimited("t.csv", text).num_rows == len(text.splitlines()) - 1


def layout_of(path, files, **wishes):
    with open_archive(write_zip(path / "raw.zip", files)) as archive:
        return read_layout(archive, Problems(), Overrides(**wishes))


PLAIN_FILES = competition_files()


IMAGE = encoded(image_of(0, 0))


def same(first, other):
    return (first.train_ids, first.train_labels, first.test_ids, first.test_members) == (
        other.train_ids, other.train_labels, other.test_ids, other.test_members,
    )  # fmt: skip


HASHED = [hashlib.md5(str(n).encode()).hexdigest() for n in range(6)]


@pytest.mark.parametrize(
    "cells", [("oak",) * 6, ("0.5",) * 6, [f"0.{n}1" for n in range(6)]], ids=["a label", "a score", "other scores"]
)
@pytest.mark.parametrize("form", ["{}", "{}.r", "ID_{}_any", "{}_oak"])
def test_a_first_line_with_a_hash_as_long_as_those_below_is_no_header(form, cells):
    """Also where no image says so: it is missing, or called otherwise, or the hash is the beginning of a long id."""
    text = "".join(f"{form.format(name)},{cell}\n" for name, cell in zip(HASHED, cells, strict=True))
    table = read_delimited("sample_submission.csv", text, may_lack_header=True)
    assert list(table.cells[0]) == [form.format(name) for name in HASHED] and list(table.cells[1]) == list(cells)
    named = read_delimited("t.csv", f"id_{HASHED[0][:7]},label\n{text}", may_lack_header=True)
    assert named.header == (f"id_{HASHED[0][:7]}", "label")


def test_a_sample_of_hashes_without_header_asks_for_its_first_image_too(tmp_path):
    files = {f"train/{n}.png": PLAIN_FILES[f"train/00{n}.png"] for n in range(9)}
    files |= {f"test/img_{name}.png": PLAIN_FILES[f"test/90{n}.png"] for n, name in enumerate(HASHED)}
    files["train.csv"] = csv_bytes(("id", "label"), [(n, ["oak", "elm"][n % 2]) for n in range(9)])
    answers = "".join(f"{name},oak\n" for name in HASHED)
    layout = layout_of(tmp_path, files | {"sample_submission.csv": answers})
    assert list(layout.test_ids) == HASHED
    with pytest.raises(ValueError, match=r"submission.txt has two words a line(?s:.*)\n    competition.sample: none"):
        layout_of(tmp_path, files | {"sample_submission.txt": answers.replace(",", " ")})
    files = {name.replace("img_", ""): image for name, image in files.items()}
    assert list(layout_of(tmp_path, files | {"sample_submission.txt": answers.replace(",", " ")}).test_ids) == HASHED


def test_the_setting_that_names_columns_reads_the_competition(tmp_path):
    train = PLAIN_FILES["train.csv"].split(b"\n", 1)[1]
    with pytest.raises(ValueError, match=r"train.csv has no header(?s:.*)competition.header: \[id, label\]"):
        layout_of(tmp_path, PLAIN_FILES | {"train.csv": train})
    layout = layout_of(tmp_path, PLAIN_FILES | {"train.csv": train}, header=("id", "label"))
    assert same(layout, layout_of(tmp_path, PLAIN_FILES))
    assert layout.settings["header"] == ["id", "label"]


STRAY = {
    "empty.csv": (b"", "has 0 lines"), "ragged.csv": (b"camera,lens\nA,50\nB\nC,50\n", "ragged"),
    "other.csv": ("id,name\n1,été\n".encode("latin-1"), "is not UTF-8"), "nul.csv": (b"a,b\n1,\0\n", "NUL"),
    "odd.json": (b"{nothing", "not readable JSON"), "twice.csv": (b"a,a\n1,2\n", "one name"),
    "book.xlsx": (b"PK", "save it as CSV"), "coco.json": (b'{"images":[{"file_name":"a"}]}', "COCO"),
    "list.csv": (b"999.png,1\n998.png,2\n", "no header"), "deep.json": (b"[" * 90_000, "JSON"),
}  # fmt: skip


@pytest.mark.parametrize("name", STRAY)
@pytest.mark.parametrize("folder", ["", "docs/"])
def test_a_stray_table_is_left_aside_with_a_warning(name, folder, tmp_path):
    content, cause = STRAY[name]
    layout = layout_of(tmp_path, PLAIN_FILES | {folder + name: content})
    assert same(layout, layout_of(tmp_path, PLAIN_FILES))
    (warning,) = (warning for warning in layout.warnings if name in warning)
    assert cause in warning and "left aside" in warning


@pytest.mark.parametrize("name", sorted(set(STRAY) - {"coco.json"}))
def test_the_same_table_stops_where_it_is_needed(name, tmp_path):
    content, cause = STRAY[name]
    suffix = name.partition(".")[2]
    rest = {own: bytes_ for own, bytes_ in PLAIN_FILES.items() if own != "train.csv"}
    for key, needed in ((("train_table", f"train.{suffix}")), ("train_table", f"labels.{suffix}")):
        with pytest.raises(ValueError, match=rf"{needed}(?s:.*){cause}(?s:.*)competition.{key}: none"):
            layout_of(tmp_path, rest | {needed: content})
    rest = {own: bytes_ for own, bytes_ in PLAIN_FILES.items() if own != "sample_submission.csv"}
    cause_of_sample = cause if name != "list.csv" else "leads to an image"  # a sample may lack its header
    with pytest.raises(ValueError, match=rf"sample_submission.{suffix}(?s:.*){cause_of_sample}"):
        layout_of(tmp_path, rest | {f"sample_submission.{suffix}": content})
    with pytest.raises(ValueError, match=rf"{name}.*{cause}"):
        layout_of(tmp_path, PLAIN_FILES | {name: content}, train_table=name)


def test_many_stray_tables_take_few_lines(tmp_path):
    layout = layout_of(tmp_path, PLAIN_FILES | {f"docs/{n}.csv": b"" for n in range(30)})
    assert len([warning for warning in layout.warnings if "left aside" in warning]) == 4
    assert any("27 more tables" in warning for warning in layout.warnings)


TRAIN = [tuple(line.split(",", 1)) for line in PLAIN_FILES["train.csv"].decode().splitlines()[1:]]
PAIRS = [(image_id, label.strip('"')) for image_id, label in TRAIN]
NUMBERED = [(f"train/{image_id}.png", str(number % 3)) for number, (image_id, _) in enumerate(PAIRS)]
RECORDS = [{"file_name": f"{image_id}.png", "label": label} for image_id, label in PAIRS]
OTHER_TABLES = {
    "train.txt": "".join(f"train/{image_id}.png {label}\n" for image_id, label in PAIRS),
    "train_list.txt": "".join(f"{image_id}.png\t{label}\n" for image_id, label in PAIRS),
    "labels.txt": "".join(f'{image_id}.png,"{label}"\n' for image_id, label in PAIRS),
    "counted.txt": f"{len(PAIRS)}\npath    label\n" + "".join(f"{image_id}.png    {own}\n" for image_id, own in PAIRS),
    "noted.txt": "#path label\n#classes: three birds\n" + "".join(f"{image_id}.png {own}\n" for image_id, own in PAIRS),
    "train.lst": "path label\n" + "".join(f"{image_id}.png {label}\n" for image_id, label in PAIRS),
    "mxnet.lst": "".join(f"{3 * n}\t{label}\ttrain/{image_id}.png\n" for n, (image_id, label) in enumerate(PAIRS)),
    "train/metadata.jsonl": "".join(json.dumps(record) + "\n" for record in RECORDS),
    "train/lines.json": "".join(json.dumps(record) + "\n" for record in RECORDS),
    "labels.json": json.dumps({f"{image_id}.png": label for image_id, label in PAIRS}),
    "fields.json": json.dumps({f"{image_id}.png": {"label": label, "w": 3} for image_id, label in PAIRS}),
    "pairs.json": json.dumps({"labels": [[f"{image_id}.png", label] for image_id, label in PAIRS]}),
    "wrapped.json": json.dumps({"data": [{"id": image_id, "label": label} for image_id, label in PAIRS]}),
    "gaps.json": json.dumps([record | ({"by": "me"} if n % 2 else {}) for n, record in enumerate(RECORDS)]),
    "files.json": json.dumps(
        {label: [f"{image_id}.png" for image_id, own in PAIRS if own == label] for _, label in PAIRS}
    ),
    "label_studio.json": json.dumps(
        [
            {
                "id": n,
                "annotations": [{"result": [{"value": {"choices": [label]}, "type": "choices"}]}],
                "drafts": [],
                "data": {"image": f"/data/upload/{image_id}.png"},
            }
            for n, (image_id, label) in enumerate(PAIRS)
        ]
    ),
    "uploads.csv": "image,choice,id\n"
    + "".join(f'/data/upload/3/{n:08x}-{image_id}.png,"{label}",{n}\n' for n, (image_id, label) in enumerate(PAIRS)),
    "vertex.jsonl": "".join(
        json.dumps(
            {
                "imageGcsUri": f"gs://b/train/{image_id}.png",
                "classificationAnnotation": {"displayName": label, "by": {"set": "8"}},
            }
        )
        + "\n"
        for image_id, label in PAIRS
    ),
    "ground_truth.manifest": "".join(
        json.dumps({"source-ref": f"s3://b/{image_id}.png", "class": label}) + "\n" for image_id, label in PAIRS
    ),
    "scale.json": json.dumps(
        [
            {
                "status": "done",
                "params": {"attachment": f"https://b.c/d/{image_id}.png?key=1"},
                "response": {"category": label},
            }
            for image_id, label in PAIRS
        ]
    ),
    "fiftyone.json": json.dumps({"classes": sorted({label for _, label in PAIRS}), "labels": dict(PAIRS)}),
    "mmpretrain.json": json.dumps(
        {
            "metainfo": {"classes": ["bird", "cat"]},
            "data_list": [{"img_path": f"{image_id}.png", "gt_label": label} for image_id, label in PAIRS],
        }
    ),
    "via.json": json.dumps(
        {
            f"{image_id}.png709": {"filename": f"{image_id}.png", "regions": [], "file_attributes": {"kind": label}}
            for image_id, label in PAIRS
        }
    ),
    "via.csv": "filename,file_attributes,regions\n"
    + "".join(f'{image_id}.png,"{{""kind"":""{label}""}}","{{}}"\n' for image_id, label in PAIRS),
    "columns.json": json.dumps({"id": [image_id for image_id, _ in PAIRS], "label": [label for _, label in PAIRS]}),
    "pandas.json": json.dumps(
        {
            "id": {n: image_id for n, (image_id, _) in enumerate(PAIRS)},
            "label": {n: label for n, (_, label) in enumerate(PAIRS)},
        }
    ),
    "parts.json": json.dumps({"train": RECORDS, "test": [{"file_name": f"90{n}.png"} for n in range(9)]}),
    "train.psv": "id|label\n" + "".join(f"{image_id}|{label}\n" for image_id, label in PAIRS),
}


def listed(name, header=""):
    """The plain competition with all images in one folder, and a list for each class."""
    files = {own.replace("test/", "train/"): content for own, content in PLAIN_FILES.items() if own != "train.csv"}
    lists = {label: "".join(f"{image_id}.png\n" for image_id, own in PAIRS if own == label) for _, label in PAIRS}
    return files | {name.format(label): (header + rows).encode() for label, rows in lists.items()}


@pytest.mark.parametrize("name", ["{}.txt", "lists/train_{}.txt", "{}.csv", "{}_list.lst"])
def test_a_list_for_each_class_gives_the_labels(name, tmp_path):
    layout = layout_of(tmp_path, listed(name, header="image\n" if name.endswith("csv") else ""))
    assert sorted(zip(layout.train_members, layout.train_labels, strict=True)) == [
        (f"train/{image_id}.png", label) for image_id, label in sorted(PAIRS)
    ]
    assert any("labels are the names of 3 lists" in note for note in layout.notes)


@pytest.mark.parametrize(
    "more", [{"train.csv": PLAIN_FILES["train.csv"]}, {"part_2.txt": b"900.png\n901.png\n"}, {"other.txt": b"000.png\n001.png\n"}]
)  # fmt: skip
def test_lists_that_may_be_of_something_else_give_none(more, tmp_path):
    with open_archive(write_zip(tmp_path / "raw.zip", listed("{}.txt") | more)) as archive:
        assert "*.txt" not in read_tables(archive).tables


def test_a_number_behind_the_label_is_a_column_of_its_own(tmp_path):
    files = {own: content for own, content in PLAIN_FILES.items() if own != "train.csv"}
    rows = "".join(f"train/{image_id}.png {n % 3} {n % 2}\n" for n, (image_id, _) in enumerate(PAIRS))
    layout = layout_of(tmp_path, files | {"train.txt": rows.encode()}, label="label")
    assert list(layout.train_labels) == [str(n % 3) for n in range(len(PAIRS))]


def test_of_lines_of_more_words_each_is_a_column(tmp_path):
    """`patient path label source` a line, as collections of X-rays have it; test images listed alike."""
    files = {own: content for own, content in PLAIN_FILES.items() if not own.endswith(".csv")}
    kinds = [("oak", "elm", "fir")[n % 3] for n in range(len(PAIRS))]
    rows = zip(PAIRS, kinds, strict=True)
    train = "".join(f"{n // 3} {own}.png {kind} {'ab'[n % 2]}\n" for n, ((own, _), kind) in enumerate(rows))
    test = [own.partition("/")[2] for own in files if own.startswith("test/")]
    files |= {"train.txt": train.encode(), "test.txt": "".join(f"7 {name} ? a\n" for name in test).encode()}
    with pytest.raises(ValueError, match=r"(?s)columns of train.txt could be the label.*label: column_3"):
        layout_of(tmp_path, files)
    layout = layout_of(tmp_path, files, label="column_3")
    assert [own.partition("/")[2] for own in layout.train_members] == [f"{own}.png" for own, _ in PAIRS]
    assert list(layout.train_labels) == kinds and list(layout.test_ids) == test


def test_a_few_whole_numbers_that_come_back_are_columns_and_no_box(tmp_path):
    """As the list of Oxford's pets has them: number of the class, of the species, of the breed."""
    files = {own: content for own, content in PLAIN_FILES.items() if not own.endswith(".csv")}
    files["train.txt"] = "".join(f"{own} {n % 3} {n % 2} {n % 5}\n" for n, (own, _) in enumerate(PAIRS)).encode()
    with pytest.raises(ValueError, match=r"(?s)3 columns of train.txt could be the label.*label: column_4"):
        layout_of(tmp_path, files)
    assert list(layout_of(tmp_path, files, label="column_4").train_labels) == [str(n % 5) for n in range(len(PAIRS))]
    files["train.txt"] = "".join(f"{own} {n} {2 * n + 1} {n}\n" for n, (own, _) in enumerate(PAIRS)).encode()
    with open_archive(write_zip(tmp_path / "raw.zip", files)) as archive:  # points
        assert "train.txt" not in read_tables(archive).tables


def test_of_two_validation_lists_the_one_called_as_the_train_list_is_joins_it(tmp_path):
    """As FGVC's aircraft have them: by family and by variant."""
    files = {own: content for own, content in PLAIN_FILES.items() if own != "train.csv"}
    for kind, labels in (("family", ("a", "b")), ("variant", ("oak", "elm", "fir"))):
        rows = [f"{own} {labels[n % len(labels)]}\n" for n, (own, _) in enumerate(PAIRS)]
        files |= {
            f"{kind}_{part}.txt": "".join(some).encode() for part, some in (("train", rows[:20]), ("val", rows[20:]))
        }
    layout = layout_of(tmp_path, files, train_table="variant_train.txt")
    assert len(layout.train_ids) == 30 and layout.target.classes == ("elm", "fir", "oak")


def test_a_list_of_training_and_validation_images_is_no_third_reading(tmp_path):
    """`train.txt`, `val.txt` and `trainval.txt`: the sum of the two; one with less than all of them is asked about."""
    files = {own: content for own, content in PLAIN_FILES.items() if own != "train.csv"}
    rows = [f"{own} {('oak', 'elm', 'fir')[n % 3]}\n" for n, (own, _) in enumerate(PAIRS)]
    parts = {"train": rows[:20], "val": rows[20:], "trainval": rows}
    files |= {f"images_{part}.txt": "".join(some).encode() for part, some in parts.items()}
    layout = layout_of(tmp_path, files)
    assert (len(layout.train_ids), layout.settings["train_table"]) == (30, "images_train.txt")
    files["images_trainval.txt"] = "".join(rows[:-1]).encode()
    with pytest.raises(ValueError, match=r"(?s)2 tables may be the train table.*images_train.txt.*images_trainval"):
        layout_of(tmp_path, files)


def test_lists_of_who_has_a_class_and_who_has_not_are_columns(tmp_path):
    """As Pascal VOC has them: 1 with the class, -1 without, 0 where it is hard to see, which stops."""
    files = {own: content for own, content in PLAIN_FILES.items() if "csv" not in own}
    ids = [image_id for image_id, _ in PAIRS]
    has = {
        "cat": [n % 2 for n in range(30)],
        "dog": [n % 3 == 0 for n in range(30)],
        "tv_set": [n % 5 > 2 for n in range(30)],
    }
    for label, cells in has.items():
        rows = [f"{own} {1 if cell else -1:2d}" for own, cell in zip(ids, cells, strict=True)]
        for part, some in (("train", rows[:20]), ("val", rows[20:]), ("trainval", rows)):
            files[f"Sets/Main/{label}_{part}.txt"] = "\n".join(some).encode()
    layout = layout_of(tmp_path, files)
    wanted = [[label for label, cells in has.items() if cells[n]] for n in range(30)]
    assert [json.loads(cell) for cell in layout.train_labels] == wanted and layout.target.kind == "multi_label"
    assert layout_of(tmp_path, files, label="cat").target.kind == "binary"
    files["Sets/Main/cat_train.txt"] = files["Sets/Main/cat_train.txt"].replace(b"-1", b" 0", 1)
    files["Sets/Main/cat_trainval.txt"] = files["Sets/Main/cat_trainval.txt"].replace(b"-1", b" 0", 1)
    problems = Problems()
    with open_archive(write_zip(tmp_path / "raw.zip", files)) as archive:
        read_layout(archive, problems)
    assert "label cell that is not 0 or 1: 1 (000: cat = ''" in problems.lines()[0]


@pytest.mark.parametrize("first", ["", "image_id "])
def test_signs_below_names_are_a_column_for_each(tmp_path, first):
    """As CelebA has its attributes: their number, their names, then an image a line and 1 or -1 for each."""
    files = {own: content for own, content in PLAIN_FILES.items() if "csv" not in own}
    has = [[n % 2, n % 3 == 0, n % 5 > 2] for n in range(30)]
    rows = [
        f"{own}.png " + " ".join(f"{1 if one else -1:2d}" for one in ones)
        for (own, _), ones in zip(PAIRS, has, strict=True)
    ]
    files["attributes.txt"] = "\n".join(["30", f"{first}Bald Smiling Young ", *rows]).encode()
    names = ["Bald", "Smiling", "Young"]
    layout = layout_of(tmp_path, files)
    wanted = [[name for name, one in zip(names, ones, strict=True) if one] for ones in has]
    assert [json.loads(cell) for cell in layout.train_labels] == wanted


def test_a_validation_list_of_paths_below_a_folder_of_its_own_joins_the_train_list(tmp_path):
    """As Places365 has them: `/a/airfield/1.jpg 0` in data_large, `val_1.jpg 0` in val_large."""
    files = {own: content for own, content in PLAIN_FILES.items() if "/" not in own and "csv" not in own}
    files |= {f"data_large/{n % 3}/{own}.png": IMAGE for n, (own, _) in enumerate(PAIRS)}
    files |= {f"val_large/val_{n}.png": IMAGE for n in range(9)} | {f"test_large/{n}.png": IMAGE for n in range(5)}
    files["train_standard.txt"] = "".join(f"/{n % 3}/{own}.png {n % 3}\n" for n, (own, _) in enumerate(PAIRS)).encode()
    files["val.txt"] = "".join(f"val_{n}.png {n % 3}\n" for n in range(9)).encode()
    layout = layout_of(tmp_path, files)
    label_of = dict(zip(layout.train_members, layout.train_labels, strict=True))
    assert len(label_of) == len(PAIRS) + 9 and label_of["val_large/val_7.png"] == "1"
    assert same(layout, layout_of(tmp_path, files, **layout.settings))


def test_zeros_and_ones_before_a_path_are_columns_and_no_box(tmp_path):
    """As MXNet's lists have them, of several labels: a number, a 0 or 1 for each class, the path."""
    files = {own: content for own, content in PLAIN_FILES.items() if not own.endswith(".csv")}
    rows = [(5 * n, n % 2, (n // 2) % 2, 1, f"train/{own}.png") for n, (own, _) in enumerate(PAIRS)]
    files["train.lst"] = "".join("{}\t{}\t{}\t{}\t{}\n".format(*row) for row in rows).encode()
    with open_archive(write_zip(tmp_path / "raw.zip", files)) as archive:
        assert read_tables(archive).tables["train.lst"].header[1:] == ("column_2", "column_3", "column_4", "path")


def test_two_lists_of_the_same_test_images_are_one(tmp_path):
    files = {own: content for own, content in PLAIN_FILES.items() if "sample" not in own}
    test = [own.partition("/")[2] for own in files if own.startswith("test/")]
    files |= {
        "test.txt": "".join(f"{name}\n" for name in test).encode(),
        "test.json": json.dumps([{"file_name": name, "by": "me"} for name in test]).encode(),
    }
    assert list(layout_of(tmp_path, files).test_ids) == test
    files["test.txt"] = b"\n".join(name.encode() for name in test[:-1])
    with pytest.raises(ValueError, match="2 tables may be the test table"):
        layout_of(tmp_path, files)


@pytest.mark.parametrize("name", OTHER_TABLES)
def test_other_kinds_of_tables_give_the_same_labels(name, tmp_path):
    files = {own: content for own, content in PLAIN_FILES.items() if own != "train.csv"} | {
        name: OTHER_TABLES[name].encode()
    }
    layout = layout_of(tmp_path, files)
    plain = layout_of(tmp_path, PLAIN_FILES)
    pairs = zip(layout.train_members, layout.train_labels, strict=True)
    assert sorted(pairs) == sorted(zip(plain.train_members, plain.train_labels, strict=True))


@pytest.mark.parametrize("kind", ["csv", "json"])
def test_choices_that_stand_alone_or_in_an_object_are_lists(tmp_path, kind):
    """As Label Studio exports them: one choice as it is, several as `{"choices": [...]}`."""
    chosen = [["bird"], ["cat", "dog"], ["bird", "cat", "dog"], ["dog"]]
    wanted = [chosen[n % 4] for n in range(len(PAIRS))]
    cells = [labels[0] if len(labels) == 1 else {"choices": labels} for labels in wanted]
    names = [f"{image_id}.png" for image_id, _ in PAIRS]
    rows = [
        (name, cell if isinstance(cell, str) else json.dumps(cell)) for name, cell in zip(names, cells, strict=True)
    ]
    records = [{"image": name, "choice": cell} for name, cell in zip(names, cells, strict=True)]
    text = csv_bytes(("image", "choice"), rows) if kind == "csv" else json.dumps(records).encode()
    files = {own: content for own, content in PLAIN_FILES.items() if "submission" not in own and own != "train.csv"}
    layout = layout_of(tmp_path, files | {f"project.{kind}": text})
    assert [json.loads(cell) for cell in layout.train_labels] == wanted


def test_fields_of_a_record_are_asked_about_with_those_deeper_down(tmp_path):
    """Counts and users of Label Studio are no labels in silence, where the choice lies below them."""
    records = [
        {
            "image": f"{image_id}.png",
            "updated_by": 1 + n % 2,
            "annotations": [{"result": [{"value": {"choices": [label]}}]}],
        }
        for n, (image_id, label) in enumerate(PAIRS)
    ]
    files = {own: content for own, content in PLAIN_FILES.items() if "submission" not in own and own != "train.csv"}
    with pytest.raises(ValueError, match=r"(?s)label: updated_by.*label: annotations.result.value.choices"):
        layout_of(tmp_path, files | {"project.json": json.dumps(records).encode()})


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("classes.txt", "0 bird\n1 cat\n2 dog\n"), ("README.txt", "Images of birds.\nSee train.csv, and test.\n"),
        ("boxes.txt", "train/000.png 0 0 9 9\ntrain/001.png 0 0 9 9\n"),
        ("train_boxes.txt", "train/000.png 1 0 0 9 9\ntrain/001.png 2 0 0 9 9\n"), ("notes.txt", ""), ("one.txt", "000.png\n"),
        ("names.json", '{"0": "bird", "1": "cat"}'), ("config.json", '{"a": {"b": 1}}'), ("words.json", '["a", "b"]'),
        ("config.json", '{"a": [1, 2], "b": ["x", "y"]}'),
        ("boxes.json", json.dumps({"info": {}, "items": [{"id": name, "label": "bird", "boxes": [{"x": 1, "width": 2}]} for name in ("000", "001")]})),
        ("outlines.json", json.dumps({"info": {}, "items": [{"id": name, "label": "bird", "parts": {"at": [[1, 2], [3, 4]]}} for name in ("000", "001")]})),
        ("questions.json", json.dumps({"info": {}, "questions": [{"image": f"{name}.png", "question": "Is it?", "answer": name[-1]} for name in ("000", "001")]})),
    ],
)  # fmt: skip
def test_what_is_no_table_of_images_is_none_and_says_nothing(name, text, tmp_path):
    with open_archive(write_zip(tmp_path / "raw.zip", PLAIN_FILES | {name: text.encode()})) as archive:
        found = read_tables(archive)
    assert set(found.tables) == {"train.csv", "sample_submission.csv"} and not found.unread


def test_a_sample_in_a_text_file_is_the_sample(tmp_path):
    files = PLAIN_FILES | {"sample_submission.txt": PLAIN_FILES["sample_submission.csv"]}
    del files["sample_submission.csv"]
    assert same(layout_of(tmp_path, files), layout_of(tmp_path, PLAIN_FILES))


def signs(suffix="csv", mark=";"):
    """A table beside the images of each class, as of traffic signs."""
    files, header = {}, ("Filename", "Width", "ClassId")
    for label in range(3):
        names = [f"{number:02d}.ppm" for number in range(8)]
        rows = [(name, 12, label) for name in names]
        files |= {
            f"Final_Training/Images/{label:05d}/{name}": encoded(image_of(label, n), "PPM")
            for n, name in enumerate(names)
        }
        files[f"Final_Training/Images/{label:05d}/GT-{label:05d}.csv"] = csv_bytes(header, rows).replace(
            b",", mark.encode()
        )
    files |= {f"Final_Test/Images/{n:02d}.ppm": encoded(image_of(n % 3, 90 + n), "PPM") for n in range(6)}
    test = csv_bytes(header[:2], [(f"{n:02d}.ppm", 12) for n in range(6)]).replace(b",", mark.encode())
    return files | {"Final_Test/Images/GT-final_test.test.csv": test}


def test_tables_beside_the_images_of_each_class_are_one(tmp_path):
    layout = layout_of(tmp_path, signs())
    assert len(layout.train_ids) == 24 and layout.target.classes == ("0", "1", "2")
    assert layout.settings["train_table"] == "Final_Training/Images/*.csv"
    expected = [str(int(name.split("/")[2])) for name in layout.train_members]
    assert list(layout.train_labels) == expected
    again = layout_of(
        tmp_path, signs(), **{key: layout.settings[key] for key in ("train_table", "label", "train_images")}
    )
    assert same(layout, again)


def test_tables_of_train_and_test_folders_stay_apart(tmp_path):
    files = {
        f"{part}/{n:02d}.png": encoded(image_of(n % 3, n + 50 * (part == "test")))
        for part in ("train", "test")
        for n in range(12)
    }
    for part in ("train", "test"):
        files[f"{part}/meta.csv"] = csv_bytes(("file", "label"), [(f"{n:02d}.png", "abc"[n % 3]) for n in range(12)])
    with open_archive(write_zip(tmp_path / "raw.zip", files)) as archive:
        assert set(read_tables(archive).tables) == {"train/meta.csv", "test/meta.csv"}


ODD_COLUMNS = ("scale 1:10", "a:b:stem", "{odd}", "x{y", "n:05d", "größe", "a/b", "%s", "")


@pytest.mark.parametrize("column", ODD_COLUMNS)
@pytest.mark.parametrize("is_id", [True, False])
def test_a_columns_name_may_be_any(column, is_id, tmp_path):
    if is_id and (set(column) & {"{", "}"} or not column or (":" in column[1:] and column != "scale 1:10")):
        pytest.skip("a template cannot name it")
    header = (column, "label", "n") if is_id else ("id", column, "label")
    rows = [
        (number, label, n % 4 + 1) if is_id else (number, n % 4 + 1, label) for n, (number, label) in enumerate(PAIRS)
    ]
    layout = layout_of(tmp_path, PLAIN_FILES | {"train.csv": csv_bytes(header, rows)}, label="label")
    assert same(layout, layout_of(tmp_path, PLAIN_FILES)) and layout.train_members[3] == "train/003.png"


PARTS = [
    ("split", ("train", "test")), ("Usage", ("Training", "PublicTest")), ("is_train", ("1", "0")),
    ("is_test", ("False", "True")), ("subset", ("Train", "TEST")), ("phase", ("val", "predict")),
    ("anything", ("training", "testing")),
]  # fmt: skip


@pytest.mark.parametrize(("name", "cells"), PARTS)
def test_a_column_parts_labelled_rows_from_those_to_predict(name, cells):
    rows = [(str(n), cells[n % 3 == 0]) for n in range(12)]
    train, test = parted(Table.of_rows("t.csv", ("id", name), rows))
    assert list(test.column("id")) == [str(n) for n in range(0, 12, 3)]
    assert train.num_rows == 8


@pytest.mark.parametrize(
    ("name", "cells"),
    [
        ("label", ("train car", "test tube")), ("train", ("1", "0")), ("test_result", ("1", "0")),
        ("Usage", ("Public", "Private")), ("label", ("latest", "oak")), ("kind", ("test", "oak")), ("split", ("a", "b")),
        ("is_valid", ("True", "False")), ("val_set", ("0", "1")),
    ],
)  # fmt: skip
def test_a_column_of_other_things_parts_nothing(name, cells):
    rows = [(str(n), cells[n % 2]) for n in range(12)]
    assert parted(Table.of_rows("t.csv", ("id", name), rows)) is None
