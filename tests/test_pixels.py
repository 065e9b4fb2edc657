"""Pixel tables: each row is an image, bit for bit, whatever the columns are called."""

import hashlib
import io
import struct

import numpy as np
import pytest
from conftest import csv_bytes, write_zip
from PIL import Image

from pipeline.archive.archive import open_archive
from pipeline.bundle.bundle import _known_test_images as known_test_images
from pipeline.bundle.contents import Settings
from pipeline.bundle.image_members import members_of_ids
from pipeline.competition.problems import Problems
from pipeline.competition.schema import read_test_ids
from pipeline.competition.store import read_store
from pipeline.layout.context import Overrides
from pipeline.layout.layout import read_layout
from pipeline.tables.table_files import open_images

SIDE, NUM_TRAIN, NUM_TEST = 8, 36, 12


def smooth(count, shape, seed=0):
    """(count, *shape) uint8, neighbours alike, channels apart."""
    draws = np.random.default_rng(seed)
    height, width = shape[:2]
    rows, columns = np.mgrid[:height, :width]
    parts = []
    for _ in range(int(np.prod(shape[2:]))):
        slopes = draws.uniform(1, 4, (count, 2, 1, 1))
        parts.append(draws.integers(0, 190, (count, 1, 1)) + slopes[:, 0] * rows + slopes[:, 1] * columns)
    return np.clip(np.stack(parts, axis=-1), 0, 255).astype(np.uint8).reshape(count, *shape)


GREY = smooth(NUM_TRAIN + NUM_TEST, (SIDE, SIDE))
COLOUR = smooth(NUM_TRAIN + NUM_TEST, (SIDE, SIDE, 3))
NAMES = [f"pixel{n}" for n in range(SIDE * SIDE)]


def competition(flat=None, names=NAMES, ids=None, first=1, id_columns=("ImageId",)):
    flat = GREY.reshape(len(GREY), -1) if flat is None else flat
    train, test = flat[:NUM_TRAIN].tolist(), flat[NUM_TRAIN:].tolist()
    own = ("id",) if ids else ()
    rows = [((ids[n],) if ids else ()) + tuple(row) for n, row in enumerate(test)]
    sample = ids or range(first, first + NUM_TEST)
    return {
        "train.csv": csv_bytes(("label", *names), [("abc"[n % 3], *row) for n, row in enumerate(train)]),
        "test.csv": csv_bytes((*own, *names), rows),
        "sample_submission.csv": csv_bytes((*id_columns, "Label"), [(name, "a") for name in sample]),
    }


def read(path, files, **wishes):
    """(layout, train images, test images), by Pillow from the members' bytes."""
    problems = Problems()
    with open_archive(write_zip(path / "raw.zip", files)) as archive:
        layout = read_layout(archive, problems, Overrides(**wishes))
        sides = [
            np.stack([np.asarray(Image.open(io.BytesIO(archive.read(name)))) for name in names])
            for names in (layout.train_members, layout.test_members)
        ]
        assert all(archive.size(name) == len(archive.read(name)) for name in layout.test_members)
        for name in layout.test_members:
            assert archive.fingerprint(name) == hashlib.sha256(archive.read(name)).hexdigest()
    assert not problems.lines()
    assert layout.target.kind == "multi_label" or list(layout.train_labels) == list("abc" * (NUM_TRAIN // 3))
    return layout, *sides


def check(found, images):
    layout, train, test = found
    assert np.array_equal(train, images[:NUM_TRAIN]) and np.array_equal(test, images[NUM_TRAIN:])
    return layout


@pytest.mark.parametrize(
    "names",
    [
        NAMES, [f"pixel{n + 1}" for n in range(64)], [str(n) for n in range(64)], [f"{r}x{c}" for r in range(1, 9) for c in range(1, 9)],
        [f"px_{n:03d}" for n in range(64)],
    ],
)  # fmt: skip
def test_each_row_is_an_image(names, tmp_path):
    layout = check(read(tmp_path, competition(names=names)), GREY)
    assert list(layout.test_ids) == [str(n) for n in range(1, NUM_TEST + 1)]
    assert layout.target.classes == ("a", "b", "c") and any("36 images of 8x8" in note for note in layout.notes)


BY_NAME = {
    "as words are sorted": sorted(NAMES), "backwards": NAMES[::-1],
    "column after column": [f"x{x}y{y}" for x in range(SIDE) for y in range(SIDE)],
    "column after column, with words": [f"col_{x}_row_{y}" for x in range(SIDE) for y in range(SIDE)],
    "row after row": [f"y{y}x{x}" for y in range(SIDE) for x in range(SIDE)],
}  # fmt: skip


@pytest.mark.parametrize("name", BY_NAME)
def test_pixels_stand_where_their_columns_names_say(name, tmp_path):
    names = BY_NAME[name]
    if name.startswith("column"):
        flat = GREY.transpose(0, 2, 1).reshape(len(GREY), -1)
    else:
        flat = GREY.reshape(len(GREY), -1)[
            :, [NAMES.index(name) for name in names] if names[0] in NAMES else slice(None)
        ]
    check(read(tmp_path, competition(flat, names)), GREY)


@pytest.mark.parametrize("first", [0, 1])
def test_rows_are_numbered_as_the_sample_numbers_them(first, tmp_path):
    layout = check(read(tmp_path, competition(first=first)), GREY)
    assert layout.test_members[0] == f"test.csv/{first}.pgm"


def test_a_few_pictures_beside_the_tables_are_not_the_images(tmp_path):
    picture = io.BytesIO()
    Image.fromarray(COLOUR[0]).save(picture, format="PNG")
    files = competition() | {"alphabet.png": picture.getvalue(), "about/gestures.PNG": picture.getvalue()}
    layout = check(read(tmp_path, files), GREY)
    with open_images(tmp_path / "raw.zip") as archive:
        assert all(archive.size(member) for member in (*layout.train_members, *layout.test_members))


def test_an_id_column_names_the_rows(tmp_path):
    ids = [f"t{n:03d}" for n in reversed(range(NUM_TEST))]
    layout = check(read(tmp_path, competition(ids=ids)), GREY)
    assert list(layout.test_ids) == ids


def test_a_table_without_a_header_is_read(tmp_path):
    flat = GREY.reshape(len(GREY), -1)
    files = competition()
    files["train.csv"] = files["train.csv"].split(b"\n", 1)[1]
    numbers = {b"a": b"0", b"b": b"1", b"c": b"2"}
    files["train.csv"] = b"".join(numbers[line[:1]] + line[1:] + b"\n" for line in files["train.csv"].splitlines())
    files["test.csv"] = b"\n".join(b",".join(b"%d" % cell for cell in row) for row in flat[NUM_TRAIN:])
    with open_archive(write_zip(tmp_path / "raw.zip", files)) as archive:
        layout = read_layout(archive, Problems())
        assert len(layout.train_ids) == NUM_TRAIN and len(layout.test_ids) == NUM_TEST
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(archive.read(layout.train_members[5])))), GREY[5])


def test_one_column_may_hold_all_pixels_and_another_the_part(tmp_path):
    rows = [
        (
            "abc"[n % 3] if n < NUM_TRAIN else "a",
            " ".join(map(str, image.ravel())),
            "Training" if n < NUM_TRAIN else "PublicTest",
        )
        for n, image in enumerate(GREY)
    ]
    sample = csv_bytes(("id", "emotion"), [(n + 1, "a") for n in range(NUM_TRAIN, len(GREY))])
    files = {"faces.csv": csv_bytes(("emotion", "pixels", "Usage"), rows), "sample_submission.csv": sample}
    check(read(tmp_path, files), GREY)


PLANES = COLOUR.transpose(0, 3, 1, 2).reshape(len(COLOUR), -1)
PIXELS = COLOUR.reshape(len(COLOUR), -1)
MANY = [f"p{n}" for n in range(192)]


@pytest.mark.parametrize("flat", [PLANES, PIXELS])
@pytest.mark.parametrize("names", [MANY, None])
def test_the_order_of_three_colours_is_told_by_names_or_smoothness(flat, names, tmp_path):
    own = (
        [f"{c}{n}" for c in "RGB" for n in range(64)]
        if flat is PLANES
        else [f"{c}{n}" for n in range(64) for c in "RGB"]
    )
    check(read(tmp_path, competition(flat, names or own)), COLOUR)


def test_an_order_that_cannot_be_told_is_asked_for_and_each_line_settles_it(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (48, 192), dtype=np.uint8)
    with pytest.raises(ValueError, match=r"(?s)competition.pixels: 3x8x8 .*competition.pixels: 8x8x3"):
        read(tmp_path, competition(noise, MANY))
    check(read(tmp_path, competition(noise, MANY), pixels="8x8x3"), noise.reshape(48, 8, 8, 3))
    layout = check(
        read(tmp_path, competition(noise, MANY), pixels="3x8x8"), noise.reshape(48, 3, 8, 8).transpose(0, 2, 3, 1)
    )
    assert layout.settings["pixels"] == "3x8x8"


def test_pixels_that_are_no_square_are_asked_about(tmp_path):
    flat = smooth(48, (6, 10)).reshape(48, -1)
    names = [f"p{n}" for n in range(60)]
    with pytest.raises(ValueError, match=r"(?s)60 pixels a row, no square.*competition.pixels: 6x10"):
        read(tmp_path, competition(flat, names))
    check(read(tmp_path, competition(flat, names), pixels="6x10"), flat.reshape(48, 6, 10))
    with pytest.raises(ValueError, match=r"competition.pixels is '5x5'; t\w+.csv has 60"):
        read(tmp_path, competition(flat, names), pixels="5x5")


@pytest.mark.parametrize(
    ("change", "back"),
    [
        (lambda flat: np.round(flat / 255, 6), lambda flat: flat), (lambda flat: flat // 128, lambda flat: flat // 128 * 255),
        (lambda flat: flat // 16, lambda flat: np.rint(flat // 16 * (255 / 16))),
        (lambda flat: flat.astype(float), lambda flat: flat), (lambda flat: flat + 0.25 * (flat < 255), lambda flat: flat),
    ],
)  # fmt: skip
def test_other_ranges_become_0_to_255(change, back, tmp_path):
    flat = GREY.reshape(len(GREY), -1).copy()
    flat[0, 0], flat[0, 1] = 255, 0
    check(read(tmp_path, competition(change(flat))), back(flat).astype(np.uint8).reshape(-1, SIDE, SIDE))


def test_a_decimal_comma_is_a_point(tmp_path):
    files = competition(np.round(GREY.reshape(len(GREY), -1) / 255, 4))
    spelled = {name: content.replace(b",", b";").replace(b".", b",") for name, content in files.items()}
    check(read(tmp_path, spelled), GREY)


@pytest.mark.parametrize("odd", [-1, 300, 0.5 - 3, np.nan])
def test_a_range_that_says_nothing_stops(odd, tmp_path):
    flat = GREY.reshape(len(GREY), -1).astype(float)
    flat[3, 5] = odd
    with pytest.raises(ValueError, match=r"pixels go from .*must be 0 to 255|train.csv has pixels that are no numbers"):
        read(tmp_path, competition(flat))


@pytest.mark.parametrize("top", [1.02, 2, 16, 60])
def test_fractions_beyond_1_that_do_not_fill_0_to_255_stop(top, tmp_path):
    """Resizing leaves shares of 1.02: rounded as they are, all images would be black."""
    shares = GREY / 255
    shares[0, 0], shares[-1, 0] = 1, 1
    with pytest.raises(ValueError, match=f"pixels go from .* to {top:g} with fractions; must be 0 to 255, or 0 to 1"):
        read(tmp_path, of_files(shares * top))


@pytest.mark.parametrize("broken", ["", "x", "1,2"])
def test_a_broken_row_is_named(broken, tmp_path):
    files = competition()
    lines = files["train.csv"].split(b"\n")
    lines[4] = b",".join([*lines[4].split(b",")[:-1], broken.encode()])
    with pytest.raises(ValueError, match=r"train.csv has \d+ numbers in row 4"):
        read(tmp_path, files | {"train.csv": b"\n".join(lines)})


def test_tables_of_features_beside_images_are_no_pixels(tmp_path):
    from conftest import competition_files

    files = competition_files()
    rows = [(f"{n:03d}", *range(64)) for n in range(30)]
    files["features.csv"] = csv_bytes(("id", *(f"margin{n}" for n in range(64))), rows)
    with open_archive(write_zip(tmp_path / "raw.zip", files)) as archive:
        assert len(read_layout(archive, Problems()).train_ids) == 30


def saved(*array, **arrays):
    """The bytes of a .npy, or of a .npz."""
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays) if arrays else np.save(stream, *array)
    return stream.getvalue()


def halves(array):
    return array[:NUM_TRAIN], array[NUM_TRAIN:]


WORDS = np.array(["a", "b", "c"])[np.arange(NUM_TRAIN + NUM_TEST) % 3]
SAMPLE = {"sample_submission.csv": csv_bytes(("id", "label"), [(n, "a") for n in range(NUM_TEST)])}


def of_files(images, labels=WORDS, sample=SAMPLE):
    """X_train.npy, y_train.npy, X_test.npy."""
    (train, test), (own, _) = halves(images), halves(labels)
    return {"X_train.npy": saved(train), "y_train.npy": saved(own), "X_test.npy": saved(test)} | sample


ARRAYS = {
    "a .npz each": ({"train.npz": saved(images=GREY[:NUM_TRAIN], labels=WORDS[:NUM_TRAIN]), "test.npz": saved(images=GREY[NUM_TRAIN:])} | SAMPLE, GREY),
    "without names": ({"train.npz": saved(arr_0=GREY[:NUM_TRAIN], arr_1=WORDS[:NUM_TRAIN]), "test.npz": saved(arr_0=GREY[NUM_TRAIN:])} | SAMPLE, GREY),
    "one without a name in each .npz, as Kuzushiji-49 has them": (
        {"k49-train-imgs.npz": saved(arr_0=GREY[:NUM_TRAIN]), "k49-train-labels.npz": saved(arr_0=WORDS[:NUM_TRAIN]), "k49-test-imgs.npz": saved(arr_0=GREY[NUM_TRAIN:])} | SAMPLE, GREY,
    ),
    "a .npy each": (of_files(COLOUR), COLOUR),
    "one colour after the other, with fractions": (of_files(np.moveaxis(COLOUR, 3, 1) / np.float32(255)), COLOUR),
    "one channel, labels in a column": (of_files(GREY[..., None], WORDS[:, None]), GREY),
    "labels in a CSV": ({name: content for name, content in of_files(GREY).items() if "y_" not in name} | {"train.csv": csv_bytes(("id", "label"), enumerate(WORDS[:NUM_TRAIN]))}, GREY),
    "labels as numbers": (of_files(GREY, np.arange(NUM_TRAIN + NUM_TEST) % 3, {"sample_submission.csv": csv_bytes(("id", "label"), [(n, "a") for n in range(NUM_TEST)]), "classes.txt": "a\nb\nc\n"}), GREY),
    "ids": ({"train.npz": saved(images=GREY[:NUM_TRAIN], labels=WORDS[:NUM_TRAIN]), "test.npz": saved(images=GREY[NUM_TRAIN:][::-1], ids=np.arange(NUM_TEST)[::-1])} | SAMPLE, GREY),
}  # fmt: skip


SHUFFLED = np.random.default_rng(5).permutation(NUM_TRAIN)
BACK = np.random.default_rng(6).permutation(NUM_TEST)
ARRAYS |= {
    "ids that begin with words": (of_files(GREY, sample={"sample_submission.csv": csv_bytes(("id", "label"), [(f"test_{n}", "a") for n in range(NUM_TEST)])}), GREY),
    "ids in an array of their own": (
        of_files(GREY, sample=SAMPLE) | {"X_test.npy": saved(GREY[NUM_TRAIN:][BACK]), "test_ids.npy": saved(BACK)}, GREY,
    ),
    "masks beside the images": ({"d.npz": saved(train_images=GREY[:NUM_TRAIN], train_labels=WORDS[:NUM_TRAIN], train_masks=GREY[:NUM_TRAIN] > 9, test_images=GREY[NUM_TRAIN:])} | SAMPLE, GREY),
    "labels of another kind, called less alike": ({"d.npz": saved(labels=np.roll(WORDS[:NUM_TRAIN], 1), train_labels=WORDS[:NUM_TRAIN], train_images=GREY[:NUM_TRAIN], test_images=GREY[NUM_TRAIN:])} | SAMPLE, GREY),
    "labels in a CSV without ids": ({name: content for name, content in of_files(GREY).items() if "y_" not in name} | {"y_train.csv": csv_bytes(("label",), [(word,) for word in WORDS[:NUM_TRAIN]])}, GREY),
    "labels in a CSV beside an index": ({name: content for name, content in of_files(GREY).items() if "y_" not in name} | {"train_labels.csv": csv_bytes(("", "class"), enumerate(WORDS[:NUM_TRAIN]))}, GREY),
    "rows of pixels, labels without ids": ({"X_train.csv": csv_bytes(NAMES, GREY[:NUM_TRAIN].reshape(NUM_TRAIN, -1).tolist()), "y_train.csv": csv_bytes(("label",), [(word,) for word in WORDS[:NUM_TRAIN]]), "X_test.csv": csv_bytes(NAMES, GREY[NUM_TRAIN:].reshape(NUM_TEST, -1).tolist())} | SAMPLE, GREY),
    "one archive without names": ({"d.npz": saved(arr_0=GREY[:NUM_TRAIN], arr_1=WORDS[:NUM_TRAIN], arr_2=GREY[NUM_TRAIN:])} | SAMPLE, GREY),
}  # fmt: skip


@pytest.mark.parametrize("name", ARRAYS)
def test_arrays_of_images_are_read_with_their_labels(name, tmp_path):
    files, images = ARRAYS[name]
    check(read(tmp_path, files), images)


def idx(array):
    """The bytes of an IDX file of whole numbers."""
    kind = {"uint8": 8, "int32": 12}[str(array.dtype)]
    sides = struct.pack(f">{array.ndim}I", *array.shape)
    return bytes([0, 0, kind, array.ndim]) + sides + array.astype(array.dtype.newbyteorder(">")).tobytes()


@pytest.mark.parametrize("form", ["{}-{}-idx{}-ubyte", "raw/{}-{}.idx{}-ubyte"])
@pytest.mark.parametrize("kind", ["uint8", "int32"])
def test_idx_files_are_arrays(form, kind, tmp_path):
    """As MNIST has them; labels of 32 bits as QMNIST has them. The sample counts the test images."""
    numbers = np.arange(NUM_TRAIN).astype(kind) % 3
    files = {form.format("train", "images", 3): idx(GREY[:NUM_TRAIN]), form.format("train", "labels", 1): idx(numbers)}
    files |= {form.format("t10k", "images", 3): idx(GREY[NUM_TRAIN:]), "classes.txt": b"a\nb\nc\n"}
    check(read(tmp_path, files | SAMPLE), GREY)


def test_an_idx_file_cut_short_is_named(tmp_path):
    files = {"train-images-idx3-ubyte": idx(GREY[:NUM_TRAIN])[:-1], "t10k-images-idx3-ubyte": idx(GREY[NUM_TRAIN:])}
    with pytest.raises(
        ValueError, match="train-images-idx3-ubyte is called as IDX files are, and is none or cut short"
    ):
        read(tmp_path, files | SAMPLE)


def label_of_pixels(path, **wishes):
    """The bytes of a training image's pixels -> its label."""
    problems = Problems()
    with open_archive(path) as archive:
        layout = read_layout(archive, problems, Overrides(**wishes))
        contents = [archive.read(name) for name in layout.train_members]
    assert not problems.lines()
    return {content[-SIDE * SIDE :]: label for content, label in zip(contents, layout.train_labels, strict=True)}


@pytest.mark.parametrize("form", ["X_train_{}.npy", "d.npz/images_{}"])
def test_batches_of_one_size_have_each_its_own_labels(form, tmp_path):
    labels = WORDS[:NUM_TRAIN][SHUFFLED].reshape(3, -1)
    parts = list(zip(GREY[:NUM_TRAIN].reshape(3, -1, SIDE, SIDE), labels, strict=True))
    files = {f"X_train_{n}.npy": saved(images) for n, (images, _) in enumerate(parts)}
    files |= {f"y_train_{n}.npy": saved(own) for n, (_, own) in enumerate(parts)} | {
        "X_test.npy": saved(GREY[NUM_TRAIN:])
    }
    if "npz" in form:
        arrays = {f"images_{n}": images for n, (images, _) in enumerate(parts)} | {"test": GREY[NUM_TRAIN:]}
        files = {"d.npz": saved(**arrays, **{f"labels_{n}": own for n, (_, own) in enumerate(parts)})}
    together = " + ".join(form.format(n) for n in range(3))
    with open_archive(write_zip(tmp_path / "raw.zip", files | SAMPLE)) as archive:
        with pytest.raises(ValueError, match="3 tables may be the train table; choose one") as error:
            read_layout(archive, Problems())
        assert f"competition.train_table: '{together}'" in str(error.value)
    found = label_of_pixels(tmp_path / "raw.zip", train_table=together)
    assert found == {image.tobytes(): label for image, label in zip(GREY, labels.reshape(-1), strict=False)}


@pytest.mark.parametrize("first", [0, 1])
def test_labels_in_a_shuffled_csv_are_those_of_the_rows_that_their_ids_count(first, tmp_path):
    files = {name: content for name, content in of_files(GREY).items() if not name.startswith("y_")}
    rows = [(n + first, WORDS[n]) for n in SHUFFLED]
    found = label_of_pixels(write_zip(tmp_path / "raw.zip", files | {"train.csv": csv_bytes(("id", "label"), rows)}))
    assert found == {image.tobytes(): label for image, label in zip(GREY[:NUM_TRAIN], WORDS, strict=False)}


def test_two_arrays_of_labels_are_asked_about(tmp_path):
    coarse = np.array(["x", "y"])[np.arange(NUM_TRAIN) % 2]
    arrays = {"train_images": GREY[:NUM_TRAIN], "train_coarse_labels": coarse, "train_fine_labels": WORDS[:NUM_TRAIN]}
    sample = {"sample_submission.csv": csv_bytes(("id", "label"), [(n, "") for n in range(NUM_TEST)])}
    with pytest.raises(ValueError, match="(?s)could be the label.*train_coarse_labels.*train_fine_labels"):
        read(tmp_path, {"d.npz": saved(**arrays, test_images=GREY[NUM_TRAIN:])} | sample)


def test_shares_beside_whole_values_are_refused(tmp_path):
    """Of one range, or the test images would be black to a network that learnt from bright ones."""
    files = of_files(GREY) | {"X_test.npy": saved(GREY[NUM_TRAIN:] / 255)}
    with pytest.raises(ValueError, match="pixels of X_test.npy go from 0 to 1, those of others to 2"):
        read(tmp_path, files)


def test_one_file_of_training_validation_and_test_arrays_is_read_as_medmnist_has_it(tmp_path):
    cut = {"train": slice(0, 28), "val": slice(28, NUM_TRAIN), "test": slice(NUM_TRAIN, None)}
    arrays = {f"{part}_images": COLOUR[rows] for part, rows in cut.items()}
    arrays |= {f"{part}_labels": WORDS[rows, None] for part, rows in cut.items()}
    layout, train, test = read(tmp_path, {"bloodmnist.npz": saved(**arrays)})
    assert np.array_equal(train, COLOUR[:NUM_TRAIN]) and np.array_equal(test, COLOUR[NUM_TRAIN:])
    assert list(layout.train_table.column("part")) == ["train"] * 28 + ["val"] * 8


def test_a_column_of_ones_for_each_class_in_an_array_is_several_labels(tmp_path):
    ones = np.arange(NUM_TRAIN)[:, None] >> np.arange(3) & 1
    files = {"d.npz": saved(train_images=GREY[:NUM_TRAIN], train_labels=ones, test_images=GREY[NUM_TRAIN:])}
    layout, _, _ = read(tmp_path, files)
    assert layout.target.classes == ("label_0", "label_1", "label_2") and layout.target.kind == "multi_label"
    assert list(layout.train_labels)[5] == '["label_0", "label_2"]'


@pytest.mark.parametrize("files", [competition, lambda: of_files(GREY)], ids=["rows", "arrays"])
def test_ingest_stores_them_bit_for_bit(workplace, files):
    write_zip(workplace.raw, files())
    workplace.params["images"]["side"] = SIDE
    workplace.run_data()
    images, description = (workplace.path(f"data/images/train.{suffix}") for suffix in ("npy", "json"))
    table = workplace.path("data/competition/train.csv")
    store, _ = read_store(images, description, num_rows=NUM_TRAIN, table=table)
    assert np.array_equal(store, np.repeat(GREY[:NUM_TRAIN, :, :, None], 3, axis=3))


def test_a_bundle_finds_the_rows_of_a_pixel_table(workplace):
    write_zip(workplace.raw, competition())
    workplace.params["images"]["side"] = SIDE
    workplace.run_data()
    listed = [
        workplace.path(f"data/{name}.csv") for name in ("competition/test", "competition/test_images", "images/test")
    ]
    ids = list(read_test_ids(listed[0]))
    known = workplace.root / "known.csv"
    known.write_bytes(known_test_images(*listed))
    settings = Settings(
        folds=["0"], encoding="auto", header="auto", pixels="auto", test_table="none", test_images="auto", fit="squash",
        batch_size=8, device="cpu", precision="fp32",
    )  # fmt: skip
    with open_images(write_zip(workplace.root / "again.zip", competition())) as archive:
        assert members_of_ids(archive, ids, "ImageId", known, settings, lenient=False) == [
            f"test.csv/{image_id}.pgm" for image_id in ids
        ]
    only_test = {"test.csv": competition()["test.csv"], "README.md": b"x"}
    with open_images(write_zip(workplace.root / "new.zip", only_test)) as archive:
        members = members_of_ids(archive, ids, "ImageId", known, settings, lenient=False)
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(archive.read(members[3])))), GREY[NUM_TRAIN + 3])


def test_rows_are_counted_alike_by_reading_and_by_decoding_where_labels_have_no_header(workplace):
    """How a pixel table's rows are counted depends on the other tables, so on the names given for their columns."""
    rng = np.random.default_rng(0)
    rows = [rng.integers(0, 256, 784).tolist() for _ in range(40)]
    pixels = [f"pixel{number}" for number in range(784)]
    files = {
        "train.csv": csv_bytes(pixels, rows[:30]),
        "test.csv": csv_bytes(pixels, rows[30:]),
        "train_labels.csv": "".join(f"{row},{'abc'[row % 3]}\n" for row in range(30)).encode(),
        "sample_submission.csv": csv_bytes(("id", "label"), [(row, "a") for row in range(10)]),
    }
    write_zip(workplace.raw, files)
    workplace.params["competition"]["header"] = ["id", "label"]
    workplace.run_data()
    for part, due in (("train", rows[:30]), ("test", rows[30:])):
        store = np.load(workplace.path(f"data/images/{part}.npy"))
        assert np.array_equal(store[:, :, :, 0].reshape(len(due), -1), due)
