"""Where two readings are possible, recognition stops with the candidates, and writing one of its lines settles it.

And the fault table of docs/layouts.md: what happens to each common fault, with the message.
"""

import json
import re
import sys

import pytest
import yaml
from conftest import competition_files, csv_bytes, encoded, image_of, write_zip

from pipeline.archive.archive import open_archive
from pipeline.base.files import read_json
from pipeline.competition.problems import Problems
from pipeline.competition.schema import read_train_labels
from pipeline.layout.context import Overrides
from pipeline.layout.layout import read_layout

IMAGE = encoded(image_of(0, 0))
TRAIN, TEST = [f"{number:03d}" for number in range(18)], [f"9{number:02d}" for number in range(6)]


def competition(*, train, sample=("label", "cat"), places=("train/{}.png", "test/{}.png"), more=None):
    """A small competition; train: header of its table beside the id, and the cells of row n."""
    files = {places[0].format(name): IMAGE for name in TRAIN} | {places[1].format(name): IMAGE for name in TEST}
    header, cells = train
    files["train.csv"] = csv_bytes(("id", *header), [(name, *cells(number)) for number, name in enumerate(TRAIN)])
    files["sample_submission.csv"] = csv_bytes(("id", sample[0]), [(name, sample[1]) for name in TEST])
    return files | (more or {})


def health(number):
    return (("normal", "abnormal")[number % 2],)


def animals(number):
    return (("cat", "dog", "owl")[number % 3],)


PLAIN = competition(train=(("label",), animals))
SECOND = PLAIN["train.csv"].replace(b"cat", b"lynx")
# name -> (files, what the message says, the line that settles it)
AMBIGUOUS = {
    "two columns that could be the label": (
        competition(train=(("species", "coat"), lambda n: (*animals(n), ("long", "short")[n % 2])), sample=("answer", "")),
        "2 columns of train.csv could be the label; choose one:",
        ["label: species    # 3 values, such as cat, dog, owl", "label: coat    # 2 values, such as long, short"],
    ),
    "a column called as class folders are in params.yaml": (
        competition(train=(("species", "folder"), lambda n: (*animals(n), ("a", "b")[n % 2])), sample=("answer", "")),
        "2 columns of train.csv could be the label; choose one:",
        ["label: species    # 3 values, such as cat, dog, owl", "label: [folder]    # 2 values, such as a, b"],
    ),
    "rows without label, and no test images": (
        {name.replace("test/", "more/"): content for name, content in competition(train=(("label",), lambda n: ("" if n < 4 else animals(n)[0],))).items() if "sample" not in name},
        "no test images: no sample submission, no test table, and no image in a folder called test; name them",
        ["test_images: more    # 6 images that no training row names"],
    ),
    "a sample with an unknown column": (
        competition(train=(("name",), lambda n: (f"{animals(n)[0]} {n // 2}",)), sample=("answer", "")),
        "unknown columns: no column of train.csv (id, name) could be the label that the sample submission calls 'answer'",
        ["label: name"],
    ),
    "many numbers of which the sample writes none": (
        {f"train/{n:03d}.png": IMAGE for n in range(60)} | {name: image for name, image in PLAIN.items() if name.startswith("test/")}
        | {"train.csv": csv_bytes(("id", "wind"), [(f"{n:03d}", 30 + n % 20) for n in range(60)]), "sample_submission.csv": csv_bytes(("id", "wind"), [(name, 0) for name in TEST])},
        "'wind' holds 20 whole numbers ('30', '31', '32', …), and the sample writes another ('0')",
        ["target: single_label"],
    ),
    "two 0/1 columns and no sample": (
        {name: content for name, content in competition(train=(("melanoma", "keratosis"), lambda n: (int(n % 3 == 0), int(n % 3 == 1)))).items() if "sample" not in name},
        "2 columns of train.csv could be the label; choose one:",
        ["label: melanoma    # 2 values, such as 0, 1", "label: keratosis    # 2 values, such as 0, 1",
         "label: [melanoma, keratosis]    # each is a class, 1 where it is there"],
    ),
    "class folders called test, and images that are in none": (
        {f"seg_{part}/{animals(n)[0]}/{part}{n}.png": IMAGE for part in ("train", "test") for n in range(12)} | {f"seg_pred/{n}.png": IMAGE for n in range(5)},
        "the images of folders called test lie in folders called as the classes are, and others are used nowhere; which are to be predicted?",
        ["test_images: seg_pred    # 5 images, no label known", "test_images: seg_test    # 12 images in folders of classes"],
    ),
    "images to predict in a folder of another name": (
        {name.replace("test/", "Task3_Validation_Input/"): content for name, content in PLAIN.items() if "sample" not in name},
        "no test images: no sample submission, no test table, and no image in a folder called test; name them",
        ["test_images: Task3_Validation_Input    # 6 images that no training row names"],
    ),
    "a test table of training images": (
        {name: content for name, content in PLAIN.items() if "sample" not in name} | {"eval_partition.csv": csv_bytes(("id", "partition"), [(name, n % 3) for n, name in enumerate(TRAIN)])},
        "all 18 images that eval_partition.csv names are training images",
        ["test_table: none"],
    ),
    "two folders that could be test": (
        PLAIN | {f"test_b/{name}.png": IMAGE for name in TEST},
        "2 places may hold the test images of the sample submission; choose one:",
        ["test_images: 'test/{id}.png'", "test_images: 'test_b/{id}.png'"],
    ),
    "two folders that could be train": (
        PLAIN | {f"train_b/{name}.png": IMAGE for name in TRAIN},
        "2 places may hold the train images of train.csv; choose one:",
        ["train_images: 'train/{id}.png'", "train_images: 'train_b/{id}.png'"],
    ),
    "a folder whose name speaks of training, and of something else": (
        {name.replace("train/", "images/"): content for name, content in PLAIN.items()} | {f"train_depth/{name}.png": IMAGE for name in TRAIN},
        "2 places may hold the train images of train.csv; choose one:",
        ["train_images: 'images/{id}.png'", "train_images: 'train_depth/{id}.png'"],
    ),
    "two sample submissions": (
        PLAIN | {"sample_submission_stage2.csv": PLAIN["sample_submission.csv"]},
        "2 files may be the sample submission; choose one:",
        ["sample: sample_submission.csv", "sample: sample_submission_stage2.csv"],
    ),
    "two train tables": (
        PLAIN | {"train_cleaned.csv": SECOND},
        "2 tables may be the train table; choose one:",
        ["train_table: train.csv", "train_table: train_cleaned.csv"],
    ),
    "two test tables": (
        {name: content for name, content in PLAIN.items() if "sample" not in name} | {name: csv_bytes(("id", "site"), [(called.format(row), "x") for row in TEST]) for name, called in (("test.csv", "{}"), ("test_b.csv", "{}.png"))},
        "2 tables may be the test table; choose one:",
        ["test_table: test.csv", "test_table: test_b.csv"],
    ),
    "the positive class of a score": (
        competition(train=(("label",), lambda n: (("cat", "dog")[n % 2],)), sample=("label", "0.5")),
        "the sample's column 'label' holds one score an image; which class does 1 mean? Choose one:",
        ["positive: cat", "positive: dog"],
    ),
    "the positive class of a score, where an export numbers its categories 0 and 1": (
        {name: content for name, content in competition(train=(("label",), animals), sample=("kind", "0.5")).items() if name != "train.csv"}
        | {"train.json": json.dumps({"images": [{"id": n, "file_name": f"{name}.png"} for n, name in enumerate(TRAIN)], "annotations": [{"id": n, "image_id": n, "category_id": n % 2} for n in range(len(TRAIN))], "categories": [{"id": 0, "name": "cat"}, {"id": 1, "name": "dog"}]}).encode()},
        "the sample's column 'kind' holds one score an image; which class does 1 mean? Choose one:",
        ["positive: cat", "positive: dog"],
    ),
    "several images an id": (
        competition(train=(("label",), animals), places=("train/{}_red.png", "test/{}_red.png"),
                    more={f"train/{name}_blue.png": IMAGE for name in TRAIN}),
        "2 places may hold the train images of train.csv; choose one:",
        ["train_images: 'train/{id}_blue.png'", "train_images: 'train/{id}_red.png'"],
    ),
    "a number where a label was to be expected": (
        competition(train=(("label",), lambda n: (n % 9,)), sample=("label", "4.5")),
        "the sample writes '4.5' in 'label', a number where one of 9 labels, such as '0', was expected: regression",
        ["submission: label"],
    ),
    "a train table of outlines, and another table with something else of each image": (
        competition(train=(("outline",), lambda n: (f"{n} 7 {n + 40} 9",)), sample=("answer", ""), more={"people.csv": csv_bytes(("file", "sex"), [(f"{name}.png", "fm"[n % 2]) for n, name in enumerate(TRAIN)])}),
        "train.csv names images and has no column that could be the label (id, outline); people.csv may have one",
        ["train_table: people.csv", "label: outline"],
    ),
    "a table of studies, each a folder of series": (
        {name: content for name, content in PLAIN.items() if not name.startswith("train")} | {f"train/{name}/{7000 + n}/{slice_}.png": IMAGE for n, name in enumerate(TRAIN) for slice_ in range(2)}
        | {"train.csv": csv_bytes(("id", "kind"), [(name, *animals(n)) for n, name in enumerate(TRAIN)]), "train_series.csv": csv_bytes(("id", "series", "plane"), [(name, 7000 + n, "sagittal") for n, name in enumerate(TRAIN)])},
        "'id' of train.csv names 18 folders of several images, a row each (000: 2, such as train/000/7000/0.png): groups of images (of a person, a study), or",
        ["label: folder 1    # 18 classes: 000, 001, 002, …", "label: folder 2    # 18 classes: 7000, 7001, 7002, …", "label: folders    # 18 classes: 000/7000, 001/7001, 002/7002, …"],
    ),
    "ids that are the numbers in the names of test images": (
        {name: content for name, content in PLAIN.items() if not name.startswith("test/")} | {f"test/t_{n:06d}.png": IMAGE for n in range(1, 7)}
        | {"sample_submission.csv": csv_bytes(("id", "label"), [(n, "cat") for n in range(1, 7)])},
        "no id of sample_submission.csv (1, 2, 3, …) leads to an image that is not a training image; 6 others are such as test/t_000001.png",
        ["test_images: 'test/t_{id:06d}.png'"],
    ),
    "a column called category beside one of class names": (
        {name: content for name, content in competition(train=(("class_name", "category"), lambda n: (*animals(n), "AB"[n % 2]))).items() if "sample" not in name},
        "2 columns of train.csv could be the label; choose one:",
        ["label: class_name    # 3 values, such as cat, dog, owl", "label: category    # 2 values, such as A, B"],
    ),
    "a row for each box": (
        PLAIN | {"train.csv": csv_bytes(("id", "label", "xmin", "ymax"), [(name, *animals(n + box), box, n) for n, name in enumerate(TRAIN) for box in range(1 + n % 3)])},
        "train.csv has 36 rows for 18 images, with boxes or outlines (xmin): detection and segmentation cannot be learnt here",
        ["target: multi_label"],
    ),
    "ids that are folders of several images": (
        {name: content for name, content in PLAIN.items() if not name.startswith("train/")} | {f"train/{name}/{view}/1.png": IMAGE for name in TRAIN for view in "ab"},
        "'id' of train.csv names 18 folders of several images, a row each (000: 2, such as train/000/a/1.png): one label for several images cannot",
        ["train_images: 'train/{id}/a/1.png'"],
    ),
    "a train table with a row for each folder": (
        {name: content for name, content in PLAIN.items() if not name.startswith("train")} | {f"train/p{name}/{view}_a.png": IMAGE for name in TRAIN for view in ("cat", "dog", "owl")}
        | {"train.csv": csv_bytes(("id", "kind", "path"), [(name, *animals(n), f"p{name}") for n, name in enumerate(TRAIN)])},
        "'path' of train.csv names 18 folders of several images, a row each (p000: 3, such as train/p000/cat_a.png): groups of images (of a person, a study), or classes",
        ["train_images: 'train/{path}/cat_a.png'", r"label: '^(?P<label>[^_\- ]+)[_\- ]'    # 3 labels: cat, dog, owl", "label: folder"],
    ),
    "a table of several labels, and a folder for one of them": (
        {f"images/{animal}/{n}.png": IMAGE for n in range(18) for animal in animals(n)} | {f"test/{n}.png": IMAGE for n in range(6)}
        | {"joint.csv": csv_bytes(("path", "labels"), [(f"{animal}/{n}.png", "|".join(dict.fromkeys(animals(n) + animals(n + n // 3)))) for n in range(18) for animal in animals(n)])},
        """joint.csv has several labels for an image (images/cat/0.png: ["cat"]), and the folder of each image is one of them""",
        ["train_table: joint.csv    # all labels of an image", "train_table: none    # the label that its folder is called by"],
    ),
    "class folders, and a table that says something else of the images": (
        {f"images/{animal}/{n}.png": IMAGE for n in range(18) for animal in animals(n)} | {f"test/{n}.png": IMAGE for n in range(6)}
        | {"meta.json": json.dumps([{"file_name": f"{animal}/{n}.png", "exif": {"iso": 100 * (1 + n // 6)}} for n in range(18) for animal in animals(n)]).encode()},
        "the images lie in 3 folders that may be classes, and meta.json says something else of them in 'exif.iso'",
        ["train_table: meta.json    # 3 labels: 100, 200, 300", "train_table: none    # the folders: cat, dog, owl"],
    ),
    "class folders, a table that says something else of the images, and a sample that says nothing": (
        {f"images/{animal}/{n}.png": IMAGE for n in range(18) for animal in health(n)} | {f"test/{n + 50}.png": IMAGE for n in range(6)}
        | {"metadata.csv": csv_bytes(("id", "flash"), [(n, ("no", "yes")[n // 9]) for n in range(18)]), "sample_submission.csv": csv_bytes(("id", "target"), [(n + 50, 0.5) for n in range(6)])},
        "the images lie in 2 folders that may be classes, and metadata.csv says something else of them in 'flash'",
        ["train_table: metadata.csv    # 2 labels: no, yes", "train_table: none    # the folders: abnormal, normal"],
    ),
    "words in the images' names, a table that says something else of them, and a sample that says nothing": (
        {f"images/{animal}_{n}.png": IMAGE for n in range(18) for animal in health(n)} | {f"test/{n + 50}.png": IMAGE for n in range(6)}
        | {"metadata.csv": csv_bytes(("file", "flash"), [(f"{animal}_{n}.png", ("no", "yes")[n // 9]) for n in range(18) for animal in health(n)]), "sample_submission.csv": csv_bytes(("id", "target"), [(n + 50, 0.5) for n in range(6)])},
        "the images are called by 2 words that may be classes, and metadata.csv says something else of them in 'flash'",
        ["train_table: metadata.csv    # 2 labels: no, yes", "train_table: none    # the names: abnormal, normal"],
    ),
    "a label with something beside it": (
        competition(train=(("label",), animals), sample=("label", "cat 0.7")),
        "the sample writes 'cat 0.7' in 'label', a label with a confidence",
        ["submission: label", "submission: ranked"],
    ),
}  # fmt: skip


def layout_of(path, settings):
    with open_archive(path) as archive:
        return read_layout(archive, Problems(), Overrides.among(settings))


@pytest.mark.parametrize("name", AMBIGUOUS)
def test_two_readings_stop_and_each_line_of_the_message_settles_it(tmp_path, name):
    files, message, lines = AMBIGUOUS[name]
    path = write_zip(tmp_path / "raw.zip", files)
    with pytest.raises(ValueError) as error:
        layout_of(path, {})
    assert message in str(error.value)
    offered = [line.strip() for line in str(error.value).splitlines() if line.startswith("    competition.")]
    assert offered == [f"competition.{line}" for line in lines]
    for line in lines:
        wish = yaml.safe_load(line)
        key, value = next(iter(wish.items()))
        assert layout_of(path, wish).settings[key] == value


def test_labels_in_file_names_do_not_pass_over_a_table_of_as_many_rows(tmp_path):
    """Suite, sample and code of a character stand in the names, and in a table beside them that says which it is."""
    rows = [(suite, number, code, "零一二"[code]) for suite in (1, 2, 5) for number in (1, 10) for code in range(3)]
    files = {"data/input_{}_{}_{}.png".format(*row): IMAGE for row in rows} | {"test/input_9_1_1.png": IMAGE}
    path = write_zip(
        tmp_path / "raw.zip", files | {"list.csv": csv_bytes(("suite", "sample", "code", "character"), rows)}
    )
    with pytest.raises(ValueError) as error:
        layout_of(path, {})
    assert "list.csv has 18 rows for 18 images" in str(error.value) and "competition.train_table: none" in str(
        error.value
    )
    settings = {"label": "character", "train_images": "data/input_{suite}_{sample}_{code}.png"}
    assert list(layout_of(path, settings).train_labels) == [row[-1] for row in rows]
    with pytest.raises(ValueError, match="3 columns of list.csv could be the label"):
        layout_of(path, settings | {"label": "auto"})
    assert layout_of(path, {"train_table": "none"}).target.classes[:2] == ("input_1_1", "input_1_10")


def test_of_two_tables_the_one_with_the_named_label_is_the_train_table(tmp_path):
    """A list of boxes has findings too, of a few of the images (chest X-rays of NIH)."""
    boxes = csv_bytes(("id", "finding", "x"), [(name, ("lump", "spot")[n % 2], n) for n, name in enumerate(TRAIN)])
    rows = [(name, *animals(n), n // 3) for n, name in enumerate(TRAIN)]
    files = {name: content for name, content in PLAIN.items() if not name.endswith(".csv")}
    path = write_zip(
        tmp_path / "raw.zip",
        files | {"boxes.csv": boxes, "entries.csv": csv_bytes(("id", "findings", "patient"), rows)},
    )
    with pytest.raises(ValueError, match="2 tables may be the train table"):
        layout_of(path, {})
    assert layout_of(path, {"label": "findings"}).settings["train_table"] == "entries.csv"


def test_labelled_validation_folders_may_be_what_is_to_be_predicted(tmp_path):
    """As ImageNet comes, without test images: the folder that is named is none of training images then."""
    files = {f"{part}/{animal}/{n}.png": IMAGE for part in ("train", "val") for n in range(9) for animal in animals(n)}
    path = write_zip(tmp_path / "raw.zip", files)
    for more in ({}, {"train_images": "train"}):
        layout = layout_of(path, {"test_images": "val", **more})
        assert {member[:3] for member in layout.train_members} == {"tra"} and len(layout.test_ids) == 9


def test_a_folder_to_predict_that_was_taken_for_a_class_is_offered_and_none_then(tmp_path):
    places = [f"images/{animal}/{n}.png" for n in range(9) for animal in animals(n)]
    path = write_zip(tmp_path / "raw.zip", dict.fromkeys([*places, "to_predict/1.png", "to_predict/2.png"], IMAGE))
    with pytest.raises(ValueError, match="no test images(?s:.*)competition.test_images: to_predict"):
        layout_of(path, {"label": "folder"})
    layout = layout_of(path, {"label": "folder", "test_images": "to_predict"})
    assert (len(layout.train_members), len(layout.test_ids)) == (len(places), 2)


@pytest.mark.parametrize("name", ["import.csv", "annotations.xml"])
def test_labels_in_file_names_do_not_pass_over_a_file_that_names_the_images(tmp_path, name):
    """As Google's AutoML and CVAT have them; the images are called img_7 and t_3."""
    files = {f"images/{'img' if n < 12 else 't'}_{n}.png": IMAGE for n in range(18)} | {"test/0.png": IMAGE}
    rows = [
        ("TEST" if "/t" in path else "TRAIN", f"gs://b/{path}", ("oak", "elm")[n % 2]) for n, path in enumerate(files)
    ]
    tags = "".join(f'<image name="{path[5:]}"><tag label="{label}"/></image>' for _, path, label in rows[:-1])
    text = csv_bytes(rows[0], rows[1:-1]) if name.endswith(".csv") else tags.encode()
    path = write_zip(tmp_path / "raw.zip", files | {name: text})
    with pytest.raises(ValueError) as error:
        layout_of(path, {})
    assert name in str(error.value) and "competition.train_table: none    # 2 labels, from the names" in str(
        error.value
    )
    assert layout_of(path, {"train_table": "none"}).target.classes == ("img", "t")
    if name.endswith(".csv"):
        assert "competition.header: [split, path, label]" in str(error.value)
        layout = layout_of(path, {"header": ["split", "path", "label"]})
        assert (list(layout.train_labels), len(layout.test_ids)) == (["oak", "elm"] * 6, 6)


def test_an_error_says_which_table_was_left_aside(tmp_path):
    """As Google's AutoML has them: parts, addresses and labels without a header."""
    files = {f"{label}/{n}.png": IMAGE for label in ("oak", "elm") for n in range(6)}
    rows = [("TEST" if name[4] == "5" else "TRAIN", f"gs://bucket/{name}", name[:3]) for name in files]
    path = write_zip(tmp_path / "raw.zip", files | {"all.csv": csv_bytes(*rows[:1], rows[1:])})
    with pytest.raises(
        ValueError,
        match=r"(?s)no test images.*\nall.csv is left aside: it has no header.*\n    competition.header: \[split, path, label\]",
    ):
        layout_of(path, {})
    layout = layout_of(path, {"header": ["part", "path", "label"]})
    assert list(layout.test_members) == ["oak/5.png", "elm/5.png"] and len(layout.train_ids) == 10


def test_a_submission_of_an_answer_a_line_is_no_sample_that_may_be_passed_over(tmp_path):
    files = {name: content for name, content in PLAIN.items() if name != "sample_submission.csv"}
    path = write_zip(tmp_path / "raw.zip", files | {"sample_submission.txt": b"cat\n" * 6})
    with pytest.raises(ValueError, match=r"sample_submission.txt has an answer a line and no ids, first 'cat'"):
        layout_of(path, {})
    assert layout_of(path, {"sample": "none"}).settings["sample"] == "none"


def test_ids_that_end_in_cells_of_another_column_are_those_of_images_where_the_test_table_says_so(tmp_path):
    """Breast cancer of RSNA: `10018_L` is no class L of a long submission."""
    rows = [(name, "LR"[n % 2], n // 3 % 2) for n, name in enumerate(TRAIN)]
    test = [(name, "LR"[n % 2], f"p{n // 2}_{'LR'[n % 2]}") for n, name in enumerate(TEST)]
    files = PLAIN | {
        "train.csv": csv_bytes(("image", "side", "cancer"), rows),
        "test.csv": csv_bytes(("image", "side", "prediction_id"), test),
        "sample_submission.csv": csv_bytes(("prediction_id", "cancer"), [(row[-1], 0.1) for row in test]),
    }
    layout = layout_of(write_zip(tmp_path / "raw.zip", files), {})
    assert list(layout.test_ids) == [row[-1] for row in test] and layout.submission.kind == "score"
    assert list(layout.test_members) == [f"test/{name}.png" for name in TEST] and layout.target.columns == ("cancer",)


@pytest.mark.parametrize(
    ("places", "header"), [("train/{}.png", ("id", "label")), ("more/{}.png", ("id", "label")), ("train/{}.png", ("label", "id"))]
)  # fmt: skip
def test_train_tables_of_different_images_may_be_named_together(tmp_path, places, header):
    more = {places.format(f"x{n}"): IMAGE for n in range(9)}
    rows = [{"id": f"x{n}", "label": animals(n)[0]} for n in range(9)]
    more["train_extra.csv"] = csv_bytes(header, [[row[column] for column in header] for row in rows])
    path = write_zip(tmp_path / "raw.zip", PLAIN | more)
    with pytest.raises(ValueError, match=r"2 tables may be the train table; choose one:(?s:.*)# all 27 rows") as error:
        layout_of(path, {})
    line = next(line for line in str(error.value).splitlines() if "all 27 rows" in line)
    wish = yaml.safe_load(line.strip().removeprefix("competition."))
    layout = layout_of(path, wish)
    assert layout.settings["train_table"] == wish["train_table"] == "train.csv + train_extra.csv"
    rows = dict(zip(layout.train_ids, layout.train_labels, strict=True))
    assert rows == {name: animals(n)[0] for ids in (TRAIN, [f"x{n}" for n in range(9)]) for n, name in enumerate(ids)}
    assert set(layout.train_members) == {f"train/{name}.png" for name in TRAIN} | set(more) - {"train_extra.csv"}
    with pytest.raises(ValueError, match="is 'train.csv [+] typo.csv', which is not among the tables"):
        layout_of(path, {"train_table": "train.csv + typo.csv"})


def test_tables_of_other_columns_cannot_be_named_together(tmp_path):
    more = {"train_extra.csv": csv_bytes(("id", "label", "site"), [(f"x{n}", *animals(n), "here") for n in range(9)])}
    said = r"train.csv has the columns \['id', 'label'\], train_extra.csv \['id', 'label', 'site'\]; tables named together must"
    with pytest.raises(ValueError, match=said):
        layout_of(write_zip(tmp_path / "raw.zip", PLAIN | more), {"train_table": "train.csv + train_extra.csv"})


@pytest.mark.parametrize("cells", [("1", "0", "True", "False"), ("yes", "no", "Y")])
def test_two_ways_to_write_yes_and_no_in_one_column_are_no_four_classes(tmp_path, cells):
    rows = [(name, cells[n % len(cells)]) for n, name in enumerate(TRAIN)]
    files = PLAIN | {"train.csv": csv_bytes(("id", "label"), rows)}
    problems = Problems()
    with open_archive(write_zip(tmp_path / "raw.zip", files)) as archive:
        read_layout(archive, problems, Overrides.among({"spelling": "{label}"}))
    assert f"duplicate class spelling: {len(cells) - 2}" in problems.lines()[0]


@pytest.mark.parametrize("num_lost", [1, 5])
@pytest.mark.parametrize("suffix", ["", ".png"])
@pytest.mark.parametrize("other", ["train/masks/{}.jpg", "train/masks/{}.png", "train/thumbnails/{}.png"])
def test_masks_do_not_stand_in_for_images_that_are_lost(tmp_path, num_lost, suffix, other):
    files = competition(train=(("label",), animals), places=("train/images/{}.png", "test/images/{}.png"))
    files |= {other.format(name): IMAGE for name in TRAIN}
    for name in ("train.csv", "sample_submission.csv"):
        files[name] = re.sub(rb"(?m)^(\d+),", rb"\1" + suffix.encode() + rb",", files[name])
    for name in TRAIN[3 : 3 + num_lost]:
        del files[f"train/images/{name}.png"]
    problems = Problems()
    with open_archive(write_zip(tmp_path / "raw.zip", files)) as archive:
        layout = read_layout(archive, problems)
    assert problems.counts() == {"id without image in train/images/": num_lost}
    assert {path.rpartition("/")[0] for path in layout.train_members if path} == {"train/images"}


@pytest.mark.parametrize("num_lost", [0, 2])
def test_a_second_folder_of_images_is_asked_about_though_the_first_has_lost_some(tmp_path, num_lost):
    files = PLAIN | {f"small/{name}.png": IMAGE for name in TRAIN}
    files = {name: image for name, image in files.items() if name not in [f"train/{n}.png" for n in TRAIN[:num_lost]]}
    assert len(files) == len(PLAIN) + len(TRAIN) - num_lost
    files = {name.replace("test/", "images/").replace("train/", "pictures/"): image for name, image in files.items()}
    with pytest.raises(ValueError, match="2 places may hold the train images of train.csv; choose one:"):
        layout_of(write_zip(tmp_path / "raw.zip", files), {})


@pytest.mark.parametrize("other", ["depth", "128", "backup"])
def test_a_complete_folder_does_not_stand_in_for_one_called_train_that_lost_an_image(tmp_path, other):
    files = PLAIN | {f"{other}/{name}.png": IMAGE for name in TRAIN}
    files = {name: image for name, image in files.items() if name != f"train/{TRAIN[3]}.png"}
    with pytest.raises(ValueError, match="2 places may hold the train images of train.csv; choose one:"):
        layout_of(write_zip(tmp_path / "raw.zip", files), {})


def test_labels_somewhere_in_file_names_are_offered_as_patterns_that_work(tmp_path):
    """Person, gender and race in the names of UTKFace; a class behind the number."""
    files = {f"train/{10 + n}_{n % 2}_{animals(n)[0]}.png": IMAGE for n in range(18)}
    files |= {name: PLAIN[name] for name in (*(f"test/{name}.png" for name in TEST), "sample_submission.csv")}
    path = write_zip(tmp_path / "raw.zip", files)
    with pytest.raises(ValueError, match="no labels found") as error:
        layout_of(path, {})
    lines = [line.strip().removeprefix("competition.") for line in str(error.value).splitlines() if "labels: " in line]
    found = [layout_of(path, yaml.safe_load(line)) for line in lines]
    assert [layout.target.classes for layout in found] == [("0", "1"), ("cat", "dog", "owl")]
    assert list(found[1].train_labels) == [name.split("_")[2].removesuffix(".png") for name in found[1].train_members]


@pytest.mark.parametrize(("names", "labels"), [(("c0", "c1", "c2"), (1, 2, 3)), (("p0", "p1", "p2"), ("A", "B", "C"))])
def test_columns_that_count_the_classes_are_asked_about_with_lines_that_lead_on(tmp_path, names, labels):
    files = competition(train=(("density",), lambda n: (labels[n % 3],)))
    files["sample_submission.csv"] = csv_bytes(("id", *names), [(name, 0.3, 0.3, 0.4) for name in TEST])
    path, settings = write_zip(tmp_path / "raw.zip", files), {}
    for key in ("label", "spelling"):
        with pytest.raises(ValueError) as error:
            layout_of(path, settings)
        line = next(line for line in str(error.value).splitlines() if line.startswith(f"    competition.{key}: "))
        settings |= yaml.safe_load(line.strip().removeprefix("competition."))
    layout = layout_of(path, settings)
    assert layout.submission.classes == layout.target.classes == ("0", "1", "2")
    assert list(layout.train_labels) == [str(n % 3) for n in range(len(TRAIN))]


# -- faults


def changed(old, new, *, table="train.csv"):
    files = competition_files()
    assert old in files[table]
    return files | {table: files[table].replace(old, new, 1)}


def without(name):
    return {key: content for key, content in competition_files().items() if key != name}


# fault -> (files, the message), of the table in docs/layouts.md
FAULTS = {
    "missing image": (without("train/007.png"), r"id without image in train/: 1 \(007\)"),
    "corrupt image": (
        competition_files() | {"train/004.png": competition_files()["train/004.png"][:80]},
        r"unreadable training image: 1 \(train/004.png: OSError: .*\)",
    ),
    "duplicate id": (changed(b"004,a cat\n", b"004,a cat\n004,bird\n"), r"duplicate id: 1 \(004 x2 in train.csv\)"),
    "label with trailing space": (changed(b"000,bird", b"000,bird "), r"label with outer spaces: 1 \(000 = 'bird '\)"),
    "NaN label": (changed(b"000,bird", b"000,NaN"), r"empty label: 1 \(000 = 'NaN'\)"),
    "an id differing in case": (
        {name.replace("train/0", "train/A0"): content for name, content in competition_files().items()}
        | {"train.csv": re.sub(rb"(?m)^00([0-2]),", rb"a00\1,", re.sub(rb"(?m)^0", b"A0", competition_files()["train.csv"])).replace(b"A007,", b"a007,")},
        r"id without image in train/: 1 \(a007 \(there is train/A007.png: case differs\)\)",
    ),
    "an id differing in leading zeros": (
        without("train/007.png") | {"train/00007.png": competition_files()["train/007.png"]},
        r"id without image in train/: 1 \(007 \(there is train/00007.png: leading zeros differ\)\)",
    ),
    "two ids for one image": (
        changed(b"007,a cat\n", b"007,a cat\n7,bird\n"), r"several ids for one image: 1 \(train/007.png: 007, 7\)",
    ),
    "stale sample": (
        changed(b"907,bird\n908,bird\n", b"", table="sample_submission.csv"),
        r"image without row: 2 \(test/907.png, test/908.png\)\n.*add its row to the sample submission, or, .* competition.allow: \[image without row\]",
    ),
    "cp949-encoded CSV": (
        changed(b"bird", b"bird") | {"train.csv": competition_files()["train.csv"].replace(b"bird", "새".encode("cp949"))},
        r"train.csv is not UTF-8 .*; save it as UTF-8, or choose the line .*:\n    competition.encoding: cp949    # 000,새",
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_stops_ingest_and_is_named(workplace, fault):
    files, message = FAULTS[fault]
    write_zip(workplace.raw, files)
    with pytest.raises(ValueError) as error:
        workplace.run_data()
    assert re.search(message, str(error.value)), error.value
    assert not workplace.path("data/groups.csv").exists()  # without which nothing is dealt nor trained


def test_an_unknown_label_in_the_sample_is_asked_about(workplace):
    write_zip(workplace.raw, changed(b",bird", b",wolf", table="sample_submission.csv"))
    with pytest.raises(ValueError, match=r"the sample writes 'wolf' in 'label': 1 .*such as 'a cat', 'dog, large'"):
        workplace.run_data()
    workplace.params["competition"]["spelling"] = "{label}"
    workplace.run_data()
    assert "wolf" not in read_json(workplace.path("data/competition/schema.json"))["target"]["classes"]


def test_the_line_for_the_encoding_works(workplace):
    files, _ = FAULTS["cp949-encoded CSV"]
    write_zip(workplace.raw, files)
    workplace.params["competition"]["encoding"] = "cp949"
    workplace.run_data()
    assert "새" in read_train_labels(workplace.path("data/competition/train.csv"))[1]


def test_ids_that_lost_their_zeros_in_a_spreadsheet_are_matched_by_number(tmp_path):
    lost = re.sub(rb"(?m)^0+(\d)", rb"\1", competition_files()["train.csv"])
    layout = layout_of(write_zip(tmp_path / "raw.zip", competition_files() | {"train.csv": lost}), {})
    assert layout.settings["train_images"] == "train/{id:03d}.png"
    assert (layout.train_ids[7], layout.train_members[7]) == ("7", "train/007.png")


def test_ids_that_all_differ_in_case_from_their_images_are_told(tmp_path):
    files = {name.replace("train/", "train/IMG_"): content for name, content in PLAIN.items()}
    files["train.csv"] = PLAIN["train.csv"].replace(b"\n0", b"\nimg_0")
    with pytest.raises(ValueError, match=r"leads to an image \(there is train/IMG_000.png: case differs\)"):
        layout_of(write_zip(tmp_path / "raw.zip", files), {})


def test_the_line_for_a_stale_sample_works(workplace):
    write_zip(workplace.raw, FAULTS["stale sample"][0])
    workplace.params["competition"]["allow"] = ["image without row"]
    workplace.run_data()


def test_7z_without_its_package_says_what_to_install(workplace, monkeypatch):
    monkeypatch.setitem(sys.modules, "py7zr", None)
    workplace.raw = workplace.raw.with_suffix(".7z")
    workplace.raw.write_bytes(b"7z\xbc\xaf\x27\x1c" + bytes(100))
    with pytest.raises(
        ValueError,
        match=r"7z archive; pip install py7zr==.* \(requirements-extra.txt\) or unpack it and give the folder",
    ):
        workplace.run_data()
