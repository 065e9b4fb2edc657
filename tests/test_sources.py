"""Labels in folders: the level of the classes, validation folders, and words inside class names."""

from dataclasses import replace

import pytest
from conftest import csv_bytes, encoded, image_of, write_zip

from pipeline.archive.archive import open_archive
from pipeline.competition.problems import Problems
from pipeline.layout.context import Overrides
from pipeline.layout.layout import read_layout

TREES = ("oak", "elm", "fir")


def images(template, count, first=0, classes=TREES):
    """`count` images under names with {label} and {n}, {rec} being another folder for every two images of a class."""
    return {
        template.format(label=classes[n % 3], n=n, rec=n // 6 * 3 + n % 3): encoded(image_of(n % 3, first + n))
        for n in range(count)
    }


def asked(folder="test", count=6, cells=TREES):
    cells = cells or ()
    files = {f"{folder}/{900 + n}.png": encoded(image_of(n % 3, 900 + n)) for n in range(count)} if folder else {}
    rows = [(900 + n, cells[n % len(cells)]) for n in range(count) if cells]
    return files | ({"sample_submission.csv": csv_bytes(("id", "kind"), rows)} if cells else {})


def read(path, files, **wishes):
    """The layout, read once more with the settings that it gives: both must say the same."""
    with open_archive(write_zip(path / "raw.zip", files)) as archive:
        first = read_layout(archive, Problems(), Overrides(**wishes))
        again = read_layout(archive, Problems(), Overrides.among(first.settings))
    assert (first.train_members, first.train_labels) == (again.train_members, again.train_labels)
    assert (first.train_ids, first.test_members, first.settings) == (
        again.train_ids,
        again.test_members,
        again.settings,
    )
    return first


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("train/{label}/{n}.png", "folder"),
        ("train/{label}/images/{n}.png", "folder"),
        ("seg_train/seg_train/{label}/{n}.png", "folder"),
        ("{label}/{n}.png", "folder"),
        ("train/{label}/rec{rec}/{n}.png", "folder 1"),
        ("train/rec{rec}/{label}/{n}.png", "folder 2"),
        ("a/train/rec{rec}/images/{label}/raw/{n}.png", "folder 3"),
    ],
)
def test_the_level_that_the_sample_names_is_the_class(template, said, tmp_path):
    layout = read(tmp_path, images(template, 24) | asked())
    assert len(layout.train_ids) == 24 and layout.target.classes == tuple(sorted(TREES))
    assert layout.settings["label"] == said


@pytest.mark.parametrize("cells", [None, ("?",), ("0", "1", "2")])
def test_several_levels_are_asked_about_and_each_line_settles_it(cells, tmp_path):
    files = images("train/{label}/rec{rec}/{n}.png", 24) | asked(cells=cells)
    with pytest.raises(ValueError) as caught:
        read(tmp_path, files)
    assert "competition.label: folder 1    # 3 classes: elm, fir, oak" in str(caught.value)
    assert "competition.label: folder 2    # 12 classes" in str(caught.value)
    if cells is None:
        assert read(tmp_path, files, label="folder 1").target.classes == ("elm", "fir", "oak")
        assert len(read(tmp_path, files, label="folder 2").target.classes) == 12
        assert len(read(tmp_path, files, label="folder").target.classes) == 12


def test_padded_numbers_name_a_level(tmp_path):
    layout = read(
        tmp_path,
        images("train/{label}/rec{rec}/{n}.png", 24, classes=("00", "01", "02")) | asked(cells=("0", "1", "2")),
    )
    assert layout.settings["label"] == "folder 1"


def test_class_folders_at_several_depths_are_asked_about(tmp_path):
    files = images("train/{label}/{n}.png", 12) | images("train/yew/more/{n}.png", 6) | asked(cells=None)
    with pytest.raises(
        ValueError, match=r"competition.label: folder 1    # 4 classes.*\n.*competition.label: folder    # 4"
    ):
        read(tmp_path, files)
    assert read(tmp_path, files, label="folder 1").target.classes == ("elm", "fir", "oak", "yew")


CLASSES_WITH_WORDS = (
    ("intestine", "liver", "kidney"), ("baroque", "medieval", "modern"), ("latest", "contest", "oak"),
    ("retrieval_bird", "interval", "evaluator"), ("test tube", "beaker", "flask"), ("train", "bus", "car"),
    ("valid", "invalid", "blank"), ("holdout", "submission", "devil"),
)  # fmt: skip


@pytest.mark.parametrize("classes", CLASSES_WITH_WORDS)
@pytest.mark.parametrize("template", ["train/{label}/{n}.png", "data/train/{label}/images/{n}.png"])
@pytest.mark.parametrize("has_sample", [True, False])
def test_words_inside_class_names_mean_nothing(classes, template, has_sample, tmp_path):
    layout = read(tmp_path, images(template, 36, classes=classes) | asked(cells=classes if has_sample else None))
    assert (len(layout.train_ids), len(layout.test_ids)) == (36, 6)
    assert set(layout.target.classes) == set(classes)


@pytest.mark.parametrize("classes", CLASSES_WITH_WORDS[:4])
@pytest.mark.parametrize("folder", ["test", "to_predict"])
def test_words_inside_class_names_mean_nothing_where_no_folder_is_called_train(classes, folder, tmp_path):
    layout = read(tmp_path, images("styles/{label}/{n}.png", 36, classes=classes) | asked(folder, cells=classes))
    assert (len(layout.train_ids), len(layout.test_ids)) == (36, 6)
    assert set(layout.target.classes) == set(classes)


@pytest.mark.parametrize("held", ["valid", "val", "validation", "dev"])
@pytest.mark.parametrize("inner", ["{label}/{n}.png", "{label}/images/{n}.png"])
def test_labelled_validation_folders_are_dealt_in_and_named(held, inner, tmp_path):
    files = images(f"d/train/{inner}", 24) | images(f"d/{held}/{inner}", 12, first=100) | asked("d/test")
    layout = read(tmp_path, files)
    assert len(layout.train_ids) == 36 and set(layout.target.classes) == set(TREES)
    assert list(layout.train_table.column("part")).count("valid") == 12
    assert any("12 labelled validation images" in note for note in layout.notes)
    assert len(read(tmp_path, files, train_images="d/train").train_ids) == 24


def test_validation_images_without_classes_are_not_dealt_in(tmp_path):
    files = (
        images("train/{label}/{n}.png", 24)
        | {f"val/images/{n}.png": encoded(image_of(0, n)) for n in range(6)}
        | asked()
    )
    layout = read(tmp_path, files)
    assert len(layout.train_ids) == 24 and layout.train_table.header == ("path", "label")


def test_the_folder_that_the_sample_asks_for_is_no_class(tmp_path):
    files = images("{label}/{n}.png", 36) | asked("inbox")
    assert read(tmp_path, files).target.classes == ("elm", "fir", "oak")
    assert replace(read(tmp_path, files)).test_members[0] == "inbox/900.png"


def test_a_table_of_validation_images_alone_does_not_stand_before_class_folders(tmp_path):
    files = images("train/{label}/{n}.png", 24) | asked()
    files |= {f"val/v{n}.png": encoded(image_of(n % 3, 50 + n)) for n in range(9)}
    files["val.csv"] = csv_bytes(("file", "label"), [(f"v{n}.png", TREES[n % 3]) for n in range(9)])
    layout = read(tmp_path, files)
    assert layout.settings["label"] == "folder" and len(layout.train_ids) == 24 + 9, "validation images join"


def test_tables_of_other_things_beside_images_do_not_stand_before_class_folders(tmp_path):
    files = images("train/{label}/{n}.png", 24) | asked()
    for at, label in enumerate(TREES):
        rows = [(f"{n}.png", n % 4, n % 5) for n in range(at, 24, 3)]
        files[f"train/{label}/boxes.csv"] = csv_bytes(("file", "x", "y"), rows)
    layout = read(tmp_path, files)
    assert layout.settings["label"] == "folder" and layout.target.classes == ("elm", "fir", "oak")


@pytest.mark.parametrize("has_sample", [True, False])
def test_one_table_whose_test_rows_have_labels_too_is_read(has_sample, tmp_path):
    files = {f"img/{n:03d}.png": encoded(image_of(n % 3, n)) for n in range(30)}
    rows = [(f"{n:03d}", TREES[n % 3], "train" if n < 24 else "test") for n in range(30)]
    files["data.csv"] = csv_bytes(("id", "label", "split"), rows)
    if has_sample:
        files["sample_submission.csv"] = csv_bytes(("id", "kind"), [(f"{n:03d}", "oak") for n in range(24, 30)])
    layout = read(tmp_path, files)
    assert (len(layout.train_ids), len(layout.test_ids)) == (24, 6) and layout.settings["label"] == "label"


def test_what_is_left_aside_is_said_once(tmp_path):
    files = images("train/{label}/{n}.png", 24) | images("train/.ipynb_checkpoints/{n}.png", 6) | asked()
    (line,) = (warning for warning in read(tmp_path, files).warnings if "left aside" in warning)
    assert line == "6 hidden or service files are left aside: .ipynb_checkpoints (6)"


def test_a_competition_of_hidden_files_alone_is_refused_in_these_words(tmp_path):
    with pytest.raises(ValueError, match=r"no file in it but hidden ones \(.mine\); rename them"):
        open_archive(write_zip(tmp_path / "raw.zip", {".mine/a.png": b"", ".mine/train.csv": b"a\n"}))


# -- which column names the image

FILE_NAMES = ("{}.png", "{:04d}.png", "img_{}.png", "img_{:04d}.png", "set/{:04d}.png")


def shuffled(n, count):
    return (n * 5 + 3) % count


def numbered(template, side, *, id_column="id"):
    """Images 0, 1, … of one side, whose table names others by row number than by file name; of the other side t0, …"""
    names = {name: template if name == side else "t{}.png" for name in ("train", "test")}
    ids = {name: "{}" if name == side else "t{}" for name in names}
    files, rows = {}, {}
    for first, (name, count) in enumerate((("train", 24), ("test", 12))):
        files |= {f"{name}/{names[name].format(n)}": encoded(image_of(n % 3, 100 * first + n)) for n in range(count)}
        meant = [shuffled(n, count) if name == side else n for n in range(count)]
        rows[name] = [(ids[name].format(n), names[name].format(file)) for n, file in enumerate(meant)]
    labelled = [(*row, TREES[n % 3]) for n, row in enumerate(rows["train"])]
    sample = [(row_id, "oak") for row_id, _ in rows["test"]]
    tables = {"train.csv": (("id", "file", "label"), labelled), "test.csv": (("id", "file"), rows["test"])}
    tables["sample_submission.csv"] = ((id_column, "label"), sample)
    return files | {name: csv_bytes(*table) for name, table in tables.items()}


@pytest.mark.parametrize("id_column", ["id", "ImageId"])
@pytest.mark.parametrize("template", FILE_NAMES)
def test_file_names_in_the_test_table_go_before_ids_that_lead_elsewhere(template, id_column, tmp_path):
    layout = read(tmp_path, numbered(template, "test", id_column=id_column))
    assert list(layout.test_members) == [f"test/{template.format(shuffled(n, 12))}" for n in range(12)]
    assert list(layout.test_ids) == [str(n) for n in range(12)]


@pytest.mark.parametrize("template", FILE_NAMES)
def test_file_names_in_the_train_table_go_before_ids_that_lead_elsewhere(template, tmp_path):
    layout = read(tmp_path, numbered(template, "train"))
    assert list(layout.train_members) == [f"train/{template.format(shuffled(n, 24))}" for n in range(24)]


@pytest.mark.parametrize("side", ["train", "test"])
def test_file_names_go_before_ids_though_an_image_is_missing(side, tmp_path):
    files = numbered("{:04d}.png", side)
    del files[f"{side}/0003.png"]
    layout = read(tmp_path, files)
    members = layout.train_members if side == "train" else layout.test_members
    assert members[0] == "" and members[1] == f"{side}/0008.png"


def test_two_columns_of_numbers_that_lead_apart_are_asked_about(tmp_path):
    files = numbered("{}.png", "train")
    rows = [(n, shuffled(n, 24), TREES[n % 3]) for n in range(24)]
    files["train.csv"] = csv_bytes(("id", "image_no", "label"), rows)
    del files["test.csv"]
    with pytest.raises(ValueError) as caught:
        read(tmp_path, files)
    assert "competition.train_images: 'train/{id}.png'" in str(caught.value)
    assert "competition.train_images: 'train/{image_no}.png'" in str(caught.value)
    layout = read(tmp_path, files, train_images="train/{image_no}.png")
    assert layout.train_members[0] == "train/3.png"


def test_a_missing_image_is_not_looked_for_among_those_of_the_other_side(tmp_path):
    files = {f"train/{n}.png": encoded(image_of(n % 3, n)) for n in range(23)} | asked("test", cells=("oak",))
    files["test/23.png"] = encoded(image_of(0, 23))
    files["train.csv"] = csv_bytes(("id", "label"), [(n, TREES[n % 3]) for n in range(24)])
    assert list(read(tmp_path, files).train_members).count("") == 1


@pytest.mark.parametrize("num_classes", [3, 20])
def test_test_images_spread_over_the_class_folders_are_not_trained_on(num_classes, tmp_path):
    classes = [chr(97 + n) * 3 for n in range(num_classes)]
    files = {f"a/{classes[n % num_classes]}/{n}.png": encoded(image_of(n % 3, n)) for n in range(8 * num_classes)}
    files |= {f"a/{classes[n % num_classes]}/x{n}.png": encoded(image_of(n % 3, 900 + n)) for n in range(12)}
    files["sample_submission.csv"] = csv_bytes(("id", "kind"), [(f"x{n}", "aaa") for n in range(12)])
    layout = read(tmp_path, files)
    assert len(layout.train_ids) == 8 * num_classes and "" not in layout.test_members


@pytest.mark.parametrize("folder", ["data/new", "data/all", "data/inference/images", "new"])
@pytest.mark.parametrize("num_missing", [0, 1, 3])
def test_the_folder_of_the_images_asked_for_is_no_class_though_some_are_missing(folder, num_missing, tmp_path):
    files = images("data/{label}/{n}.png", 24) | asked(folder, count=12)
    for n in range(num_missing):
        del files[f"{folder}/{900 + n}.png"]
    layout = read(tmp_path, files)
    assert layout.target.classes == ("elm", "fir", "oak") and len(layout.train_ids) == 24
    assert list(layout.test_members).count("") == num_missing
