"""What is no classification of image files is refused by what it is; class numbers beside images are read."""

import io
import json
import tarfile

import numpy as np
import pytest
from conftest import csv_bytes, encoded, image_of, write_zip

from pipeline.archive.archive import open_archive
from pipeline.competition.problems import Problems
from pipeline.layout.context import Overrides
from pipeline.layout.layout import read_layout

LABELS = ("oak", "elm", "fir")
SAMPLE = {"sample_submission.csv": csv_bytes(("id", "label"), [(f"9{n}", "oak") for n in range(6)])}


def pictures(form, count=12, first=0):
    """form: of paths, with a place for a number of two digits."""
    return {form.format(f"{n:02d}"): encoded(image_of(first + n, n)) for n in range(count)}


TEST = pictures("test/9{}.png", 6, 60)
BOX = "<annotation><object><name>oak</name><bndbox><xmin>1</xmin></bndbox></object></annotation>"


def packed(files):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return stream.getvalue()


def shards(suffix, held):
    """Two shards of WebDataset, and one of the test images."""
    found = {}
    for shard in range(2):
        images = pictures(f"{shard}{{}}.png", 12, 12 * shard)
        beside = {f"{shard}{n:02d}{suffix}": held(n).encode() for n in range(12)}
        found[f"train-{shard:06d}.tar"] = packed(images | beside)
    return found | {"test-000000.tar": packed({f"9{n}.png": encoded(image_of(60 + n, n)) for n in range(6)})}


def saved(*arrays, **named):
    stream = io.BytesIO()
    np.savez(stream, **named) if named else np.save(stream, arrays[0])
    return stream.getvalue()


def coco():
    images = [{"id": n, "file_name": f"{n:02d}.png"} for n in range(12)]
    boxes = [{"id": n, "image_id": n, "category_id": 1 + n % 2, "bbox": [1, 1, 2, 2]} for n in range(12)]
    categories = [{"id": 1, "name": "oak"}, {"id": 2, "name": "elm"}]
    return json.dumps({"images": images, "annotations": boxes, "categories": categories}).encode()


def both(one, two):
    return pictures(f"{one}/{{}}.png") | pictures(f"{two}/{{}}.png", 12, 30)


def runs(first):
    """Run lengths: a start and a length, three times."""
    return f"{first + 1} 4 {first + 20} 3 {first + 31} 9"


def views(header=("id", "patient", "label")):
    """Tables of images, two of each patient, with an answer for each patient asked for."""
    train = [(f"{n:02d}", f"P{n // 2}", LABELS[n // 2 % 3]) for n in range(12)]
    return (
        pictures("train/{}.png")
        | pictures("test/9{}.png", 6, 60)
        | {
            "train.csv": csv_bytes(header, train),
            "test.csv": csv_bytes(header[:2], [(f"9{n:02d}", f"Q{n // 2}") for n in range(6)]),
            "sample_submission.csv": csv_bytes(header[1:], [(f"Q{n}", "oak") for n in range(3)]),
        }
    )


def sequences():
    """The same with the labels in a table of the patients alone."""
    rows = [(f"P{n}", LABELS[n % 3]) for n in range(6)]
    found = views() | {"train_labels.csv": csv_bytes(("patient", "label"), rows)}
    return found | {"train.csv": csv_bytes(("id", "patient"), [(f"{n:02d}", f"P{n // 2}") for n in range(12)])}


def asking(columns, row, labels=LABELS):
    """A table of labels, and a sample that asks for these columns."""
    rows = [(f"{n:02d}", labels[n % len(labels)]) for n in range(12)]
    return (
        pictures("train/{}.png")
        | pictures("test/9{}.png", 6, 60)
        | {
            "train.csv": csv_bytes(("id", "label"), rows),
            "sample_submission.csv": csv_bytes(("id", *columns), [(f"9{n:02d}", *row) for n in range(6)]),
        }
    )


def of_tool(name, content):
    """Images and what a tool for labelling says of them; the test images apart."""
    return pictures("train/{}.png") | TEST | SAMPLE | {name: content.encode()}


def outlined(n):
    region = {"type": "rectanglelabels", "value": {"x": n, "y": 2, "rectanglelabels": [LABELS[n % 3]]}}
    return {"id": n, "data": {"image": f"/data/upload/{n:02d}.png"}, "annotations": [{"result": [region]}]}


GREY = np.zeros((4, 8, 8), np.uint8)
REFUSED = {
    "WebDataset, JSON": (shards(".json", lambda n: '{"label": "oak"}') | SAMPLE, r'24 .json files, called as images are .*"label": "oak".*write a CSV of paths'),
    "WebDataset, texts": (shards(".txt", lambda n: "a photo of an oak") | SAMPLE, r"24 .txt files, called as images are .*a photo of an oak"),
    "a number beside each": (pictures("train/{}.png") | {f"train/{n:02d}.txt": f"{n % 3}\n".encode() for n in range(12)} | TEST | SAMPLE, "hold a number each, which may be the class"),
    "Pascal VOC": (pictures("JPEGImages/{}.png") | {f"Annotations/{n:02d}.xml": BOX.encode() for n in range(12)} | TEST, r"12 .xml files.*boxes, as Pascal VOC has them: detection cannot"),
    "outlines asked for, a row for each image and class": (pictures("train/{}.png") | TEST | {"train.csv": csv_bytes(("ImageId", "ClassId", "EncodedPixels"), [(f"{n:02d}.png", 1 + n % 3, runs(n)) for n in range(12)]), "sample_submission.csv": csv_bytes(("ImageId_ClassId", "EncodedPixels"), [(f"9{n:02d}.png_{k}", "1 1") for n in range(6) for k in (1, 2, 3)])}, "asks for 'EncodedPixels': boxes or outlines"),
    "outlines in the train table alone, several of an image": (pictures("train/{}.png") | TEST | {"train.csv": csv_bytes(("id", "annotation", "cell_type"), [(f"{n:02d}", runs(2 * n + k), LABELS[n % 3]) for n in range(12) for k in (0, 1)]), "sample_submission.csv": csv_bytes(("id", "predicted"), [(f"9{n:02d}", "") for n in range(6)])}, r"24 rows for 12 images, with boxes or outlines \(annotation\)"),
    "columns of classes that no image has": (pictures("train/{}.png") | {"train.csv": csv_bytes(("id", "oak", "elm"), [(f"{n:02d}", 0, 0) for n in range(12)]), "sample_submission.csv": csv_bytes(("id", "oak", "elm"), [(f"9{n:02d}", 0.5, 0.5) for n in range(6)])} | TEST, "none of 12 images has a label"),
    "a list of Pascal VOC": (pictures("JPEGImages/{}.png") | {"ImageSets/Main/oak_train.txt": "".join(f"{n:02d} {1 - n % 2 * 2}\n" for n in range(12)).encode()} | TEST, "of one class alone which images have it"),
    "YOLO": (pictures("images/train/{}.png") | {f"labels/train/{n:02d}.txt": b"1 0.5 0.5 0.2 0.2\n0 0.1 0.1 0.2 0.2\n" for n in range(12)} | {f"images/{name}": image for name, image in TEST.items()}, "a class and the numbers of a box a line, as YOLO"),
    "COCO, boxes asked for": (pictures("train/{}.png") | TEST | {"a.json": coco(), "sample_submission.csv": csv_bytes(("image_id", "PredictionString"), [(f"9{n:02d}", "1 0.5 10 10 20 20") for n in range(6)])}, "asks for 'PredictionString': boxes or outlines"),
    "COCO, boxes asked for, cells empty": (pictures("train/{}.png") | TEST | {"a.json": coco(), "sample_submission.csv": csv_bytes(("image_id", "PredictionString"), [(f"9{n:02d}", "") for n in range(6)])}, "asks for 'PredictionString': boxes or outlines"),
    "masks beside": (both("train/images", "train/masks") | TEST, r"12 images, such as train/masks/00.png, are outlines by their folder's name"),
    "features in one file": ({"data.npz": saved(x_train=GREY[0], y_train=np.arange(8))} | SAMPLE, r"x_train of data.npz \(8, 8\) uint8, y_train of data.npz \(8,\) int64"),
    "features in a file": ({"X.npy": saved(GREY[0])} | SAMPLE, r"X.npy \(8, 8\) uint8"),
    "an image in each file, its channels first": ({f"train/{n:02d}.npy": saved(np.stack([GREY[0]] * 3)) for n in range(12)} | SAMPLE, r"train/00.npy \(3, 8, 8\) uint8"),
    "arrays of objects": ({"X.npy": saved(np.array([{1: 2}], object))} | SAMPLE, r"X.npy \(1,\) objects"),
    "parquet": ({"data/train-00000-of-00001.parquet": b"PAR1"} | SAMPLE, r"train-00000-of-00001.parquet is .parquet, which is not read; save it as CSV .*images that are in it .*as a PNG each"),
    "an answer for several images": (views(), r"3 of the 3 ids of sample_submission.csv have several images in test.csv \(Q0: test/900.png, test/901.png, …\): one answer for several images"),
    "boxes in the train table's cells too": (
        pictures("train/{}.png") | TEST | {"train.csv": csv_bytes(("id", "PredictionString"), [(f"{n:02d}", f"{LABELS[n % 3]} 1 2 {n} 9 ") for n in range(12)]), "sample_submission.csv": csv_bytes(("id", "PredictionString"), [(f"9{n:02d}", "oak 0 0 5 5") for n in range(6)])},
        "asks for 'PredictionString': boxes or outlines",
    ),
    "labels of several images each": (sequences(), "3 of the 3 ids of sample_submission.csv have several images in test.csv .*one answer for several images"),
    "several guesses, a column each": (asking(("first", "second"), ("oak", "yew")), "asks for 'first', 'second', and writes labels there .*several guesses"),
    "a label and its probability": (asking(("label", "proba"), (1, 0.5), "01"), "asks for 'label', 'proba': several answers"),
    "CVAT": (of_tool("annotations.xml", "".join(f'<image name="{n:02d}.png"><tag label="oak"/></image>' for n in range(12))), "annotations.xml names images, in a form that is not read"),
    "boxes of Label Studio": (of_tool("project.json", json.dumps([outlined(n) for n in range(12)])), "project.json names images, in a form that is not read"),
    "labels that are all blank": (asking(("label",), ("oak",), [""]), "all 12 cells of 'label' in train.csv are empty"),
    "TFRecord": ({"train.tfrecords": bytes(64)} | SAMPLE, r"1 TFRecord \(such as train.tfrecords\)"),
} | {
    f"{one} and {two}": (both(one, two) | TEST, "pictures and what is to be drawn of them")
    for one, two in (("JPEGImages", "SegmentationClass"), ("train/images", "train/gt"), ("images", "targets"), ("train/img", "train/trimaps"))
}  # fmt: skip


def layout_of(tmp_path, files, **settings):
    with open_archive(write_zip(tmp_path / "raw.zip", files)) as archive:
        return read_layout(archive, Problems(), Overrides.among(settings))


@pytest.mark.parametrize("name", REFUSED)
def test_it_is_refused_by_what_it_is(tmp_path, name):
    files, said = REFUSED[name]
    with pytest.raises(ValueError, match=f"(?s){said}"):
        layout_of(tmp_path, files)


def test_several_guesses_are_refused_with_the_label_named_too(tmp_path):
    files = asking(("first", "second"), ("oak", "yew"))
    with pytest.raises(ValueError, match="several guesses|ranked guesses"):
        layout_of(tmp_path, files, label="label")


def test_class_numbers_of_webdataset_are_labels(tmp_path):
    layout = layout_of(tmp_path, shards(".cls", lambda n: f"{n % 3}\n") | SAMPLE)
    assert [(int(name[-5]) + 10 * int(name[-6])) % 3 for name in layout.train_members] == [
        int(label) for label in layout.train_labels
    ]
    assert len(layout.train_ids) == 24 and list(layout.test_ids) == [f"9{n}" for n in range(6)]
    again = layout_of(
        tmp_path, shards(".cls", lambda n: f"{n % 3}\n") | SAMPLE, train_table=layout.settings["train_table"]
    )
    assert again.train_labels == layout.train_labels


def test_classes_in_text_files_that_name_their_images_are_labels(tmp_path):
    """Huawei's ModelArts writes them (the contest of sorted rubbish): one that does not name its image is shown."""
    images = pictures("train_data/img_{}.jpg", 24)
    beside = {f"train_data/img_{n:02d}.txt": f"img_{n:02d}.jpg, {n % 3}{chr(10) * (n % 2)}".encode() for n in range(24)}
    files = images | beside | {f"test/9{n}.png": encoded(image_of(60 + n, n)) for n in range(6)}
    files["sample_submission.csv"] = csv_bytes(("id", "label"), [(f"9{n}", n % 3) for n in range(6)])
    layout = layout_of(tmp_path, files)
    numbers = [int(name.rsplit("_", 1)[-1][:2]) for name in layout.train_members]
    assert layout.target.kind == "single_label" and layout.train_table.name == "*.txt"
    assert sorted(numbers) == list(range(24)) and list(layout.train_labels) == [str(n % 3) for n in numbers]
    again = layout_of(tmp_path, files, train_table=layout.settings["train_table"])
    assert again.train_labels == layout.train_labels
    with pytest.raises(ValueError, match=r"24 \.txt files, called as images are .* hold what is not read here"):
        layout_of(tmp_path, files | {"train_data/img_07.txt": b"img_08.jpg, 1"})


@pytest.mark.parametrize("folders", [("cat", "dog"), ("noisy", "clean"), ("target", "decoy")])
def test_folders_of_classes_whose_images_are_numbered_alike_are_classes(tmp_path, folders):
    """Masks and outlines are known by a word of the folder's name; the sample, or the user, says that it is a class."""
    files = both(*(f"train/{folder}" for folder in folders)) | TEST
    sample = {"sample_submission.csv": csv_bytes(("id", "label"), [(f"9{n:02d}", folders[n % 2]) for n in range(6)])}
    assert set(layout_of(tmp_path, files | sample).target.classes) == set(folders)
    said = {"label": "folder"} if "target" in folders else {}
    assert set(layout_of(tmp_path, files, **said).target.classes) == set(folders)


@pytest.mark.parametrize(
    "folders",
    [("mask", "no_mask"), ("Mask", "NoMask"), ("with_mask", "without_mask"), ("masks", "not masks"), ("box", "nobox"),
     ("mask", "no_mask", "worn_wrongly")],
)  # fmt: skip
def test_a_folder_beside_its_denial_is_a_class_though_masks_are_called_so(tmp_path, folders):
    """The images of both are numbered alike, as masks and their pictures are."""
    files = {f"train/{name}": image for folder in folders for name, image in pictures(f"{folder}/{{}}.png").items()}
    layout = layout_of(tmp_path, files | TEST)
    assert set(layout.target.classes) == set(folders) and len(layout.train_ids) == 12 * len(folders)
    assert [path.split("/")[1] for path in layout.train_members] == list(layout.train_labels)


def test_a_folder_called_mask_that_may_be_a_class_is_no_folder_of_outlines_in_silence(tmp_path):
    """One outline for the pictures of two classes, which are numbered alike, can be of neither."""
    files = both("train/oak", "train/elm") | pictures("train/mask/{}.png", 12, 60) | TEST
    with pytest.raises(
        ValueError, match=r"(?s)elm, mask, oak hold images.*If the folders are classes:\n.*label: folder"
    ):
        layout_of(tmp_path, files)
    assert set(layout_of(tmp_path, files, label="folder").target.classes) == {"oak", "elm", "mask"}
    own = {name.replace("elm/", "elm/1"): image for name, image in files.items() if "mask" not in name}
    masks = {name.replace("oak", "mask").replace("elm", "mask"): own[name] for name in own if "train/" in name}
    assert set(layout_of(tmp_path, own | masks).target.classes) == {"oak", "elm"}
