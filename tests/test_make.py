"""A submission is made as the organiser's sample is: the same marks, quotes, encoding, header or none, or JSON."""

import json
import unicodedata

import numpy as np
import pytest
from conftest import csv_bytes, encoded, image_of, write_zip
from layouts import sound_layout

from pipeline.archive.archive import open_archive
from pipeline.competition.problems import Problems
from pipeline.competition.schema import Make, Schema, read_schema, write_schema
from pipeline.layout.layout import read_layout
from pipeline.submission.answers import answers_of, row_cells
from pipeline.submission.contract import check_submission, make_submission, parse_table
from pipeline.submission.difference import first_difference, rows_apart
from pipeline.submission.make import content_of

IDS = [f"9{n:02d}" for n in range(5)]
WORDS = ("elm", "a,b", 'say "x"', "fir; yew", "oak")
PLACEHOLDER = WORDS[:1] * len(IDS)


def lines(form, end="\n"):
    """Rows, a line each, as `form` has an id and a label."""
    return lambda labels: "".join(form.format(*row) + end for row in zip(IDS, labels, strict=True))


def quoted(label, marks):
    return '"' + label.replace('"', '""') + '"' if set(label) & set(f'{marks}"') else label


def always(label):
    return '"' + label.replace('"', '""') + '"'


def csv_of(header, mark=",", end="\n", write=None, write_id=str):
    """What an organiser's own script would have written."""
    write = write or (lambda label: quoted(label, mark[0]))

    def text(labels):
        return header + "".join(
            f"{write_id(row_id)}{mark}{write(label)}{end}" for row_id, label in zip(IDS, labels, strict=True)
        )

    return text


def json_of(hold, **style):
    style = {"ensure_ascii": False} | style
    return lambda labels: json.dumps(hold(list(zip(IDS, labels, strict=True))), **style)


def records(rows):
    return [{"id": row_id, "label": label} for row_id, label in rows]


def by_row(rows):
    return {name: {str(n): row[at] for n, row in enumerate(rows)} for at, name in enumerate(("id", "label"))}


MAKES = {
    "sample_submission.csv": {
        "plain": csv_of("id,label\n"),
        "CR LF and BOM": csv_of("\ufeffid,label\r\n", end="\r\n"),
        "no header": csv_of(""),
        "no header, names of files": csv_of("", write_id="{}.png".format),
        "semicolons": csv_of("id;label\n", ";"),
        "bars": csv_of("id|label\n", "|"),
        "a sep line": csv_of("sep=;\r\nid;label\r\n", ";", "\r\n"),
        "all in quotes": csv_of('"id","label"\n', write=always, write_id=always),
        "texts in quotes, as R has them": csv_of('"id","label"\n', write=always),
        "labels alone in quotes": csv_of("id,label\n", write=always),
        "a blank behind each comma": csv_of("id, label\n", ", "),
    },
    "sample_submission.tsv": {
        "tabs": csv_of("id\tlabel\n", "\t"),
        "tabs, no header": csv_of("", "\t", write_id="{}.png".format),
    },
    "sample_submission.txt": {
        "a list without header": csv_of("", write_id="{}.png".format),
    },
    "sample_submission.json": {
        "records": json_of(records),
        "records, indented, ASCII": json_of(records, indent=2, ensure_ascii=True),
        "records, tight": json_of(records, separators=(",", ":")),
        "records within": json_of(lambda rows: {"predictions": records(rows)}),
        "label by id": json_of(dict),
        "pairs": json_of(lambda rows: list(map(list, rows))),
        "columns": json_of(lambda rows: {"id": [a for a, _ in rows], "label": [b for _, b in rows]}),
        "columns by row": json_of(by_row),
    },
    "sample_submission.jsonl": {
        "lines": lambda labels: "".join(
            json.dumps({"id": row_id, "label": label}) + "\n" for row_id, label in zip(IDS, labels, strict=True)
        ),
    },
}  # fmt: skip
CASES = [(name, make) for name, makes in MAKES.items() for make in makes]


def competition(tmp_path, sample, name, labels=WORDS, **settings):
    """The layout of class folders (by a table) with this sample."""
    files = {f"train/{n:02d}.png": encoded(image_of(n, n)) for n in range(20)}
    files |= {f"test/{row_id}.png": encoded(image_of(30 + n, n)) for n, row_id in enumerate(IDS)}
    files["train.csv"] = csv_bytes(("id", "label"), [(f"{n:02d}", labels[n % len(labels)]) for n in range(20)])
    return sound_layout(write_zip(tmp_path / "raw.zip", files | {name: sample}), **settings)


def submission_of(layout, labels):
    """The submission of a model that is sure of these labels, one an image."""
    classes = layout.target.classes
    probs = np.array([[float(label == name) for name in classes] for label in labels])
    answers = answers_of(probs, probs.argmax(axis=1), layout.target, layout.submission)
    return make_submission(layout.sample, layout, row_cells(answers, list(layout.test_ids), layout))


def again(content, layout):
    """A submission read and written once more."""
    form = layout.submission
    header, rows = parse_table(content, form)
    return content_of(header, rows, form.make, like=layout.sample)


@pytest.mark.parametrize(("name", "make"), CASES, ids=[f"{make} {name}" for name, make in CASES])
def test_a_submission_is_what_the_organisers_own_script_would_have_written(tmp_path, name, make):
    write = MAKES[name][make]
    sample = write(PLACEHOLDER).encode()
    layout = competition(tmp_path, sample, name, delimiter="none")
    content = submission_of(layout, WORDS)
    assert content == write(WORDS).encode()
    assert layout.sample == sample and again(content, layout) == content
    assert not [check for check in check_submission(content, layout.sample, layout) if check.refused]
    is_plain = make in (
        "plain",
        "CR LF and BOM",
        *(other for other in MAKES["sample_submission.csv"] if "quotes" in other),
    )
    assert bool(layout.warnings) != is_plain
    path = tmp_path / "schema.json"
    write_schema(path, Schema(target=layout.target, submission=layout.submission, metric=layout.metric))
    assert read_schema(path).submission == layout.submission


def test_where_all_cells_are_in_quotes_those_are_too_of_which_the_samples_own_all_need_them(tmp_path):
    write = MAKES["sample_submission.csv"]["all in quotes"]
    layout = competition(tmp_path, write(("a,b",) * len(IDS)).encode(), "sample_submission.csv", delimiter="none")
    assert submission_of(layout, WORDS) == write(WORDS).encode()


@pytest.mark.parametrize(("name", "make"), CASES, ids=[f"{make} {name}" for name, make in CASES])
def test_check_reads_the_make_and_refuses_another(tmp_path, name, make):
    """As pandas would have written it: with commas and a header."""
    write = MAKES[name][make]
    layout = competition(tmp_path, write(PLACEHOLDER).encode(), name, delimiter="none")
    plain = csv_of("id,label\n")(WORDS).encode()
    refused = [check for check in check_submission(plain, layout.sample, layout) if check.refused]
    is_read = layout.submission.make.mark[0] == "," and layout.submission.make.headed and "json" not in name
    assert bool(refused) != is_read
    good = submission_of(layout, WORDS)
    other = submission_of(layout, (*WORDS[:4], "elm"))
    assert rows_apart(good, other, layout.submission) == [5]
    assert "row 5 is the first of 1" in (first_difference(good, other, layout.submission) or "")


def test_the_encoding_of_the_sample_is_kept_and_a_letter_that_it_lacks_is_said(tmp_path):
    sample = "id,label\n" + "".join(f"{row_id},새\n" for row_id in IDS)
    layout = competition(tmp_path, sample.encode("cp949"), "sample_submission.csv", ("새", "꽃"), encoding="cp949")
    content = submission_of(layout, ["꽃"] * 5)
    assert content.decode("cp949") == sample.replace("새", "꽃")
    assert "in the encoding cp949" in layout.warnings[0]
    with pytest.raises(ValueError, match="in the encoding cp949, which lacks letters of the labels"):
        content_of(("id", "label"), [("1", "Ж\u0306")], layout.submission.make)
    silent = b"id,label\n" + b"".join(f"{row_id},\n".encode() for row_id in IDS)
    layout = competition(tmp_path, silent, "sample_submission.csv", ("새", "꽃"), encoding="cp949")
    assert any("labels are written in UTF-8, though other tables are in cp949" in line for line in layout.warnings)
    for kind in ("utf-16-le", "utf-16-be"):
        layout = competition(tmp_path, f"\ufeff{sample}".encode(kind), "sample_submission.csv", ("새", "꽃"))
        assert submission_of(layout, ["꽃"] * 5) == ("\ufeff" + sample.replace("새", "꽃")).encode(kind)


def test_numbers_of_json_stay_numbers_and_texts_stay_texts(tmp_path):
    for first, labels in ((0, ("0", "1", "2")), ("0", ("0", "1", "2")), (1.0, ("1.0", "2.0", "3.0"))):
        sample = json.dumps([{"id": int(row_id), "label": first} for row_id in IDS])
        layout = competition(tmp_path, sample.encode(), "sample_submission.json", labels)
        found = json.loads(submission_of(layout, [labels[2]] * 5))
        assert found == [{"id": int(row_id), "label": type(first)(labels[2])} for row_id in IDS]


def test_probabilities_of_json_are_numbers_of_each_class_by_name(tmp_path):
    labels = ("elm", "fir", "oak")
    sample = json.dumps({f"{row_id}.png": {"oak": 0.3, "elm": 0.3, "fir": 0.4} for row_id in IDS})
    layout = competition(tmp_path, sample.encode(), "sample_submission.json", labels)
    found = json.loads(submission_of(layout, ["fir"] * 5))
    assert found == {f"{row_id}.png": {"oak": 0.0, "elm": 0.0, "fir": 1.0} for row_id in IDS}
    assert list(found["900.png"]) == ["oak", "elm", "fir"]


def test_nulls_everywhere_are_filled_with_numbers_where_these_are_asked_for(tmp_path):
    sample = json.dumps([{"id": row_id, "p_yes": None} for row_id in IDS]).encode()
    layout = competition(tmp_path, sample, "sample_submission.json", ("no", "yes"), metric="auc")
    assert json.loads(submission_of(layout, ["yes"] * 5))[0] == {"id": "900", "p_yes": 1.0}


def test_a_list_of_labels_in_json_is_a_list_again(tmp_path):
    sample = json.dumps([{"id": row_id, "label": ["black spot", "elm"]} for row_id in IDS]).encode()
    labels = ("elm", "black spot", "elm;black spot")
    layout = competition(tmp_path, sample, "sample_submission.json", labels, delimiter=";")
    probs = np.ones((5, 2))
    answers = answers_of(probs, probs > 0.5, layout.target, layout.submission)
    content = make_submission(layout.sample, layout, row_cells(answers, list(layout.test_ids), layout))
    assert json.loads(content)[0] == {"id": "900", "label": ["black spot", "elm"]}
    assert again(content, layout) == content


def test_decimals_have_the_mark_that_the_sample_writes(tmp_path):
    for cell, number in (("0,5", "1,0"), ("0.5", "1.0"), ("0", "1.0")):
        sample = "id;p_yes\n" + "".join(f"{row_id};{cell}\n" for row_id in IDS)
        layout = competition(tmp_path, sample.encode(), "sample_submission.csv", ("no", "yes"), metric="auc")
        content = submission_of(layout, ["yes"] * 5)
        assert content.decode().splitlines()[1] == f"900;{number}"
        assert not [check for check in check_submission(content, layout.sample, layout) if check.refused]
        assert any("a point will be written" in line for line in layout.warnings) == (cell == "0")
        near = content.replace(b"900;1", b"900;0")
        assert rows_apart(content, near, layout.submission) == [1]


@pytest.mark.parametrize(
    ("name", "sample"),
    [
        ("sample_submission.csv", "The form\nid,label\n" + "".join(f"{row_id},elm\n" for row_id in IDS)),
        ("sample_submission.csv", "id,label\n" + "".join(f"{row_id},elm\n" for row_id in IDS) + "\n\n"),
        ("sample_submission.json", json.dumps([{"id": row_id, "label": "elm", "box": {"x": 1}} for row_id in IDS])),
    ],
    ids=["title", "blank lines", "fields"],
)
def test_what_is_no_row_is_not_kept_and_that_is_said(tmp_path, name, sample):
    layout = competition(tmp_path, sample.encode(), name, delimiter="none")
    assert any("holds more than its rows" in line for line in layout.warnings)
    content = submission_of(layout, WORDS)
    assert again(content, layout) == content and "elm" in content.decode()
    assert "box" not in content.decode() and "form" not in content.decode()


def test_a_header_that_leads_to_an_image_as_its_rows_do_is_none(tmp_path):
    """Hashes have no shape in common, by which a number would be known."""
    names = ["a9", "bb7", "0c", "d1d", "e"]
    files = {f"train/{n:02d}.png": encoded(image_of(n, n)) for n in range(20)}
    files |= {f"test/{name}.png": encoded(image_of(30 + n, n)) for n, name in enumerate(names)}
    files["train.csv"] = csv_bytes(("id", "label"), [(f"{n:02d}", ("oak", "elm")[n % 2]) for n in range(20)])
    files["submission_sample.csv"] = "".join(f"{name},oak\n" for name in names).encode()
    with open_archive(write_zip(tmp_path / "raw.zip", files)) as archive:
        layout = read_layout(archive, Problems())
    assert list(layout.test_ids) == names and not layout.submission.make.headed
    assert layout.submission.make == Make(headed=False)


def test_a_list_with_blanks_is_a_list_with_blanks_again(tmp_path):
    write = lines("{}.png {}")
    layout = competition(tmp_path, write(["elm"] * 5).encode(), "sample_submission.txt", ("elm", "oak"))
    assert submission_of(layout, ["oak"] * 5) == write(["oak"] * 5).encode()


def test_json_of_another_form_becomes_csv_and_that_is_said(tmp_path):
    sample = json.dumps({"elm": IDS[:3], "oak": IDS[3:]}).encode()
    layout = competition(tmp_path, sample, "sample_submission.json", ("elm", "oak"))
    assert any(
        "JSON of a form that is not written here: the submission is plain CSV" in line for line in layout.warnings
    )
    assert submission_of(layout, ["oak"] * 5).startswith(b"path,label\n900,oak\n")


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_labels_have_the_samples_form_of_unicode(tmp_path, form):
    """The eye sees no difference, a leaderboard does."""
    there, other = (unicodedata.normalize(kind, "épicéa") for kind in (form, {"NFC": "NFD", "NFD": "NFC"}[form]))
    sample = csv_bytes(("id", "label"), [(row_id, (there, "oak")[n % 2]) for n, row_id in enumerate(IDS)])
    layout = competition(tmp_path, sample, "sample_submission.csv", (other, "oak"))
    assert submission_of(layout, [there] * 5) == csv_bytes(("id", "label"), [(row_id, there) for row_id in IDS])
    again = competition(tmp_path, sample, "sample_submission.csv", (other, "oak"), spelling=layout.settings["spelling"])
    assert again.target.classes == layout.target.classes


@pytest.mark.parametrize(
    ("hold", "write"),
    [
        (lambda row_id: f"{row_id}.0", lambda label: label),  # ids as floats: they lead to images by their number
        (lambda row_id: f"{row_id}.0", lambda label: {"elm": float(label == "elm"), "oak": float(label == "oak")}),
    ],
    ids=["labels", "probabilities"],
)
def test_keys_of_a_json_sample_may_be_ids_that_are_no_names(tmp_path, hold, write):
    sample = json.dumps({hold(row_id): write("elm") for row_id in IDS}).encode()
    layout = competition(tmp_path, sample, "sample_submission.json", ("elm", "oak"))
    assert json.loads(submission_of(layout, ["oak"] * 5)) == {hold(row_id): write("oak") for row_id in IDS}


def test_long_ids_may_be_the_keys_of_a_json_sample(tmp_path):
    sample = {f"{row_id}_{label}": 0.5 for row_id in IDS for label in ("elm", "oak")}
    layout = competition(tmp_path, json.dumps(sample).encode(), "sample_submission.json", ("elm", "oak"))
    expected = {key: float(key.endswith("oak")) for key in sample}
    assert json.loads(submission_of(layout, ["oak"] * 5)) == expected


def test_a_json_sample_in_which_nothing_is_known_stops(tmp_path):
    with pytest.raises(
        ValueError, match=r"sample_submission.json is JSON in which no ids(?s:.*)competition.sample: none"
    ):
        competition(tmp_path, b"[[1, 2, 3], [4, 5, 6]]", "sample_submission.json", ("elm", "oak"))
