"""Data sets as they are distributed, in miniature, read as torchvision reads them: a truth that nobody here wrote.

Image for image the labels must be torchvision's, one to one, and the test images those of its test split. Its checks of
checksums are set aside; the images are made up.
"""

import csv
import gzip
import io
import json
import struct
from itertools import count

import numpy as np
import pytest
from conftest import encoded
from layouts import sound_layout
from PIL import Image
from torchvision import datasets

from pipeline.tables.table_files import open_images

SIDE = 12
PARTS = {"train": 4, "val": 2, "test": 3}  # images of each class
NAMES = ("banded", "blotchy", "braided", "bubbly")


def picture(number, suffix="JPEG"):
    """An image that no other number has."""
    return encoded(np.random.default_rng(number).integers(0, 255, (SIDE, SIDE, 3), dtype=np.uint8), suffix)


def members(place, names=NAMES, parts=PARTS, suffix="JPEG"):
    """(path, part, class, bytes) of each image; place: with `{part}`, `{name}`, `{n}`, `{of}` (in its class and part)."""
    numbers = count(1)
    return [
        (place.format(part=part, name=name, n=n, of=of), part, name, picture(n, suffix))
        for part, each in parts.items()
        for name in names
        for of, n in zip(range(each), numbers, strict=False)
    ]


def files_of(images):
    return {path: content for path, _, _, content in images}


def lines(rows):
    return "".join(f"{row}\n" for row in rows).encode()


def dtd():
    images = members("dtd/dtd/images/{name}/{name}_{n:04d}.jpg")
    own = {part: lines(path[15:] for path, of, *_ in images if of == part) for part in PARTS}
    return files_of(images) | {f"dtd/dtd/labels/{part}1.txt": text for part, text in own.items()}


def food():
    images = members("food-101/images/{name}/{n:07d}.jpg", parts={"train": 6, "test": 3})
    found = files_of(images)
    for part in ("train", "test"):
        own = [(path[16:-4], name) for path, of, name, _ in images if of == part]
        listed = {name: [path for path, other in own if other == name] for name in NAMES}
        found[f"food-101/meta/{part}.json"] = json.dumps(listed).encode()
        found[f"food-101/meta/{part}.txt"] = lines(path for path, _ in own)
    return found | {"food-101/meta/classes.txt": lines(NAMES)}


def aircraft():
    """The lists by variant alone: with those by family and manufacturer it is asked which."""
    base = "fgvc-aircraft-2013b/data"
    images = members(base + "/images/{n:07d}.jpg", ("737-700", "A310", "Saab 340"))
    rows = {part: [f"{path[-11:-4]} {name}" for path, of, name, _ in images if of == part] for part in PARTS}
    rows["trainval"] = rows["train"] + rows["val"]
    found = files_of(images) | {f"{base}/images_variant_{part}.txt": lines(own) for part, own in rows.items()}
    boxes = lines(f"{path[-11:-4]} 3 144 998 431" for path, *_ in images)
    return found | {f"{base}/variants.txt": lines(["737-700", "A310", "Saab 340"]), f"{base}/images_box.txt": boxes}


def signs():
    head, rows = "Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId", "{};12;12;1;1;9;9;{}"
    images = members("gtsrb/GTSRB/Training/{name}/{n:05d}.ppm", ("00000", "00001", "00002"), {"train": 5}, "PPM")
    tests = {f"{n:05d}.ppm": picture(900 + n, "PPM") for n in range(6)}
    found = files_of(images) | {f"gtsrb/GTSRB/Final_Test/Images/{name}": content for name, content in tests.items()}
    for folder in ("00000", "00001", "00002"):
        own = [rows.format(path[-9:], int(folder)) for path, _, name, _ in images if name == folder]
        found[f"gtsrb/GTSRB/Training/{folder}/GT-{folder}.csv"] = lines([head, *own])
    return found | {
        "gtsrb/GT-final_test.csv": lines([head, *(rows.format(name, n % 3) for n, name in enumerate(tests))])
    }


def places():
    images = members("{part}_256/{name}/{n:08d}.jpg", ("a/airfield", "b/bathroom", "c/canyon"))
    number = {name: at for at, name in enumerate(("a/airfield", "b/bathroom", "c/canyon"))}
    found, rows = {}, {part: [] for part in PARTS}
    for path, part, name, content in images:
        own = f"/{path.partition('/')[2]}" if part == "train" else f"Places365_{part}_{path[-12:]}"
        found[f"data_256_standard{own}" if part == "train" else f"{part}_256/{own}"] = content
        rows[part].append(own if part == "test" else f"{own} {number[name]}")
    listed = {"train": "train_standard", "val": "val", "test": "test"}
    found |= {f"places365_{listed[part]}.txt": lines(own) for part, own in rows.items()}
    return found | {"categories_places365.txt": lines(f"/{name} {at}" for name, at in number.items())}


def pets():
    names = ("Abyssinian", "Bengal", "basset_hound")
    images = members("oxford-iiit-pet/images/{name}_{n}.jpg", names, {"trainval": 6, "test": 3})
    own = {
        part: [f"{path[23:-4]} {1 + names.index(name)} {1 + (name == 'basset_hound')} 1" for path, of, name, _ in images if of == part]
        for part in ("trainval", "test")
    }  # fmt: skip
    return files_of(images) | {f"oxford-iiit-pet/annotations/{part}.txt": lines(rows) for part, rows in own.items()}


def scenes():
    names = ("a/abbey", "a/apse/indoor", "c/church/indoor", "c/church/outdoor")
    images = members("SUN397/{name}/sun_{n:05d}.jpg", names, {"all": 6})
    tests = {f"test/{n}.jpg": picture(900 + n) for n in range(4)}
    return files_of(images) | tests | {"SUN397/ClassName.txt": lines(f"/{name}" for name in names)}


def faces(name, header):
    """48 x 48 pixels in one column."""
    rng, rows = np.random.default_rng(3), []
    for n, part in enumerate(["Training"] * 12 + ["PublicTest"] * 4 + ["PrivateTest"] * 4):
        pixels = " ".join(map(str, rng.integers(0, 256, 48 * 48)))
        rows.append({"emotion": n % 3, "Usage": part, "pixels": pixels})
    stream = io.StringIO()
    csv.writer(stream).writerows([header, *([row[column.strip()] for column in header] for row in rows)])
    return {f"fer2013/{name}": stream.getvalue().encode()}


def idx(array):
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def digits(place, *, packed):
    """IDX files as MNIST has them; place: with `{part}`, `{kind}` and `{sides}`."""
    rng, found = np.random.default_rng(4), {}
    for part, rows in (("train", 24), ("t10k", 8)):
        pairs = rng.integers(0, 256, (rows, 28, 28), dtype=np.uint8), np.arange(rows, dtype=np.uint8) % 4
        for kind, array in zip(("images", "labels"), pairs, strict=True):
            content = idx(array)
            found[place.format(part=part, kind=kind, sides=array.ndim)] = content
            if packed:
                found[place.format(part=part, kind=kind, sides=array.ndim) + ".gz"] = gzip.compress(content)
    return found


def parts(reader, train=("train", "val"), test="test", **more):
    """The reader of these splits."""
    return lambda root: ([reader(root, part, **more) for part in train], reader(root, test, **more))


MNIST_PLACE = "/raw/{part}-{kind}-idx{sides}-ubyte"
ORACLES = {
    "Country211": (lambda: files_of(members("country211/{part}/{name}/{n}.jpg", parts={"train": 4, "valid": 2, "test": 3})), parts(datasets.Country211, ("train", "valid")), {}),
    "RenderedSST2": (lambda: files_of(members("rendered-sst2/{part}/{name}/{n}.png", ("negative", "positive"), {"train": 6, "valid": 3, "test": 3}, "PNG")), parts(datasets.RenderedSST2), {}),
    "DTD": (dtd, parts(datasets.DTD), {}),
    "Food101": (food, parts(datasets.Food101, ("train",)), {}),
    "FGVCAircraft": (aircraft, parts(datasets.FGVCAircraft), {}),
    "GTSRB": (signs, parts(datasets.GTSRB, ("train",)), {}),
    "Places365": (places, parts(datasets.Places365, ("train-standard", "val"), small=True), {}),
    "OxfordIIITPet, breeds": (pets, parts(datasets.OxfordIIITPet, ("trainval",)), {"label": "column_2"}),
    "OxfordIIITPet, species": (pets, parts(datasets.OxfordIIITPet, ("trainval",), target_types="binary-category"), {"label": "column_3"}),
    "SUN397": (scenes, lambda root: ([datasets.SUN397(root)], None), {"label": "folder"}),
    "FER2013": (lambda: faces("fer2013.csv", ["emotion", "pixels", "Usage"]), parts(datasets.FER2013, ("train",)), {}),
    "FER2013, blanks in the header": (lambda: faces("icml_face_data.csv", ["emotion", " Usage", " pixels"]), parts(datasets.FER2013, ("train",)), {}),
    "MNIST": (lambda: digits("MNIST" + MNIST_PLACE, packed=False), parts(datasets.MNIST, (True,), test=False), {}),
    "KMNIST, packed too": (lambda: digits("KMNIST" + MNIST_PLACE, packed=True), parts(datasets.KMNIST, (True,), test=False), {}),
}  # fmt: skip


def pixels(image):
    return np.asarray(image.convert("RGB")).tobytes()


@pytest.mark.parametrize("name", ORACLES)
def test_torchvision_reads_the_same_images_and_labels(tmp_path, monkeypatch, name):
    make, read, settings = ORACLES[name]
    for path, content in make().items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(content)
    for module in ("places365", "fer2013", "mnist"):
        monkeypatch.setattr(getattr(datasets, module), "check_integrity", lambda *_, **__: True)
    trained, tested = read(tmp_path)
    layout = sound_layout(tmp_path, **settings)
    with open_images(tmp_path) as archive:
        train, test = (
            [pixels(Image.open(io.BytesIO(archive.read(member)))) for member in side]
            for side in (layout.train_members, layout.test_members)
        )
    label_of = dict(zip(train, layout.train_labels, strict=True))
    truth = {pixels(image): target for split in trained for image, target in split}
    assert len(train) == len(truth) and label_of.keys() == truth.keys()
    pairs = {(label_of[image], target) for image, target in truth.items()}
    assert len(pairs) == len(set(label_of.values())) == len(set(truth.values())) > 1
    if tested is not None:
        assert sorted(test) == sorted(pixels(image) for image, _ in tested)
