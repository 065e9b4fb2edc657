"""ingest: what a good competition becomes, and what each kind of bad one says."""

import csv
import io
import json
import re
import zipfile

import numpy as np
import pytest
from conftest import competition_files, csv_bytes, encoded, image_of, write_zip
from made_images import smooth
from PIL import Image

from pipeline.competition.schema import (
    read_images,
    read_schema,
    read_target,
    read_test_ids,
    read_train_labels,
    read_train_table,
)
from pipeline.competition.store import read_format, read_store
from pipeline.images.decode import decode_image
from pipeline.layout.layout import ALLOWABLE

OUTPUTS = ("data/competition", "data/images")
TRAIN, TEST = (f"data/competition/{name}.csv" for name in ("train", "test"))


def ingest_message(workplace, files):
    """The error that ingest stops with; nothing may have been written."""
    write_zip(workplace.raw, files)
    with pytest.raises(ValueError) as error:
        workplace.run("ingest")
    left = [path for folder in OUTPUTS for path in workplace.path(folder).rglob("*") if path.is_file()]
    assert left == []
    return str(error.value)


def audit_message(workplace, files):
    """The error that the audit stops with, after all images have been decoded; it may have written nothing."""
    write_zip(workplace.raw, files)
    for stage in ("ingest", "decode_train", "decode_test"):
        workplace.run(stage)
    with pytest.raises(ValueError) as error:
        workplace.run("audit")
    assert not workplace.path("data/groups.csv").exists() and not workplace.path("data/report").exists()
    return str(error.value)


def with_rows(files, table, change):
    """The competition with rows of a table changed by `change(list of lines)`."""
    lines = files[table].decode().splitlines()
    return files | {table: ("\n".join(change(lines)) + "\n").encode()}


def test_rows_tables_and_stores_agree(workplace):
    workplace.run_data()
    schema = read_schema(workplace.path("data/competition/schema.json"))
    files = competition_files()
    assert schema.target.classes == ("a cat", "bird", "dog, large")
    assert read_target(workplace.path("data/competition/target.json")) == schema.target
    train_ids, labels = read_train_labels(workplace.path(TRAIN))
    assert list(train_ids) == [f"{number:03d}" for number in range(30)], "leading zeros kept, order kept"
    assert list(labels[:3]) == ["bird", "a cat", "dog, large"]
    assert list(read_test_ids(workplace.path(TEST))) == [f"9{number:02d}" for number in range(9)]
    for part in ("train", "test"):
        paths, _ = read_images(workplace.path(f"data/competition/{part}_images.csv"))
        images, described = (workplace.path(f"data/images/{part}.{kind}") for kind in ("npy", "json"))
        store, _ = read_store(images, described, num_rows=len(paths), table=workplace.path(TRAIN))
        for path, pixels in zip(paths, store, strict=True):
            assert (pixels == np.asarray(Image.open(io.BytesIO(files[path])))).all()
    assert workplace.path("data/competition/sample_submission.csv").read_bytes() == files["sample_submission.csv"]


def test_a_folder_and_a_zip_with_a_folder_around_give_the_same_bytes_but_for_the_fingerprints(workplace, tmp_path):
    def outputs():
        found = [path for folder in OUTPUTS for path in workplace.path(folder).rglob("*") if path.is_file()]
        return {path.name: path.read_bytes() for path in found if not path.name.endswith("_images.csv")}

    workplace.run_data()
    plain = outputs()
    files = competition_files()
    write_zip(workplace.raw, {f"my comp/{name}": content for name, content in files.items()} | {"__MACOSX/x": b"?"})
    workplace.run_data()
    assert outputs() == plain
    workplace.raw = tmp_path / "a folder"
    for name, content in files.items():
        (workplace.raw / name).parent.mkdir(parents=True, exist_ok=True)
        (workplace.raw / name).write_bytes(content)
    workplace.run_data()
    assert outputs() == plain


def test_every_problem_is_reported_at_once_with_counts_and_the_first_three(workplace):
    files = competition_files()
    del files["train/010.png"], files["test/901.png"]
    files["train/stray.png"] = encoded(image_of(0, 0))
    files = with_rows(files, "train.csv", lambda lines: [*lines, "020,bird", "029x,"])
    message = ingest_message(workplace, files)
    assert "problems" in message.splitlines()[0]
    for expected in (
        r"id without image in train/: 2 \(010, 029x\)",
        r"test image missing: 1 \(901\)",
        r"image without row: 1 \(train/stray.png\)",
        r"duplicate id: 1 \(020 x2 in train.csv\)",
        r"empty label: 1 \(029x = ''\)",
    ):
        assert re.search(expected, message), (expected, message)


def test_all_images_that_cannot_be_read_are_reported_at_once(workplace):
    files = competition_files()
    for name in [*(f"train/{number:03d}.png" for number in range(5)), "test/903.png"]:
        files[name] = files[name][:80]
    message = audit_message(workplace, files)
    assert "6 problems" in message.splitlines()[0]
    for expected in (
        r"unreadable training image: 5 \(train/000.png: OSError: .*, train/001.png: .*, train/002.png: .*, …\)",
        r"unreadable test image: 1 \(test/903.png: OSError: ",
        r"allow: \[unreadable test image\]",
    ):
        assert re.search(expected, message), (expected, message)


def test_an_archive_that_changed_since_it_was_listed_is_not_decoded(workplace):
    workplace.run("ingest")
    write_zip(workplace.raw, competition_files() | {"train/004.png": encoded(image_of(2, 5))})
    with pytest.raises(
        ValueError, match=r"1 files of the archive are not those that .*train_images.csv names, first .'train/004.png"
    ):
        workplace.run("decode_train")
    assert not workplace.path("data/images/train.npy").exists()


@pytest.mark.parametrize("keep", [0.02, 0.3, 0.6, 0.9])
def test_a_truncated_jpeg_is_named(workplace, keep):
    files = competition_files()
    whole = encoded(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8), "JPEG")
    files["train/004.png"] = whole[: int(keep * len(whole))]
    assert "unreadable training image: 1 (train/004.png: " in audit_message(workplace, files)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "the file is empty (0 bytes)"),
        (b"<html>404</html>", "cannot identify image file"),
        (b"\xff\xd8\xff", "train/004.png"),
    ],
)
def test_what_is_no_image_is_named(workplace, content, reason):
    message = audit_message(workplace, competition_files() | {"train/004.png": content})
    assert "unreadable training image: 1 (train/004.png" in message
    assert reason in message


def test_an_animated_image_is_refused():
    stream = io.BytesIO()
    frames = [Image.fromarray(image_of(0, number)) for number in range(3)]
    frames[0].save(stream, format="GIF", save_all=True, append_images=frames[1:])
    with pytest.raises(ValueError, match="it is animated"):
        decode_image(stream.getvalue(), 12, "squash")


def test_a_missing_image_is_named(workplace):
    files = competition_files()
    del files["train/007.png"]
    message = ingest_message(workplace, files)
    assert "id without image in train/: 1 (007)" in message
    assert "each id of train.csv needs train/{id}.png (an image with one of .jpg" in message


def test_a_duplicate_id_is_named(workplace):
    files = with_rows(competition_files(), "train.csv", lambda lines: [*lines, "003,a cat"])
    assert "duplicate id: 1 (003 x2 in train.csv)" in ingest_message(workplace, files)


def test_a_row_that_comes_again_is_named_and_may_be_left_out(workplace):
    files = with_rows(competition_files(), "train.csv", lambda lines: [*lines, lines[4], lines[4]])
    assert "repeated row: 2 (003 in train.csv, 003 in train.csv)" in ingest_message(workplace, files)
    workplace.params["competition"]["allow"] = ["repeated row"]
    workplace.run_data()
    assert len(read_train_labels(workplace.path(TRAIN))[0]) == 30


@pytest.mark.parametrize("label", ["", "NaN", " "])
def test_a_nan_label_is_named(workplace, label):
    files = with_rows(competition_files(), "train.csv", lambda lines: [*lines[:-1], f"029,{label}"])
    assert f"empty label: 1 (029 = {label!r})" in ingest_message(workplace, files)


def test_a_label_that_may_mean_missing_stops_unless_allowed(workplace):
    files = with_rows(competition_files(), "train.csv", lambda lines: [line.replace("a cat", "None") for line in lines])
    message = ingest_message(workplace, files)
    assert "label that may mean missing: 10 (001 = 'None', 004 = 'None', 007 = 'None', …)" in message
    workplace.params["competition"]["allow"] = ["label that may mean missing"]
    workplace.run_data()
    assert "None" in read_schema(workplace.path("data/competition/schema.json")).target.classes


def test_two_spellings_of_one_class_are_named(workplace):
    files = with_rows(competition_files(), "train.csv", lambda lines: [*lines[:-1], "029,Bird"])
    assert "duplicate class spelling: 1 (Bird / bird)" in ingest_message(workplace, files)


def test_an_image_without_row_stops_unless_allowed(workplace):
    files = competition_files() | {"test/extra.png": encoded(image_of(0, 0))}
    assert "competition.allow: [image without row]" in ingest_message(workplace, files)
    workplace.params["competition"]["allow"] = ["image without row"]
    workplace.run_data()
    recognised = json.loads(workplace.path("data/competition/recognised.json").read_text())
    assert recognised["allowed_problems"] == {"image without row": 1}


def test_what_may_not_be_allowed_cannot_be(workplace):
    workplace.params["competition"]["allow"] = ["unreadable image"]
    with pytest.raises(
        ValueError, match=r"competition.allow has \['unreadable image'\]; allowed: \['image without row'"
    ):
        workplace.run_data()


def test_a_sample_id_that_is_not_in_test_is_named(workplace):
    files = with_rows(competition_files(), "sample_submission.csv", lambda lines: [*lines, "999,bird"])
    assert "test image missing: 1 (999)" in ingest_message(workplace, files)


def test_one_id_in_both_tables_means_two_images(workplace):
    files = with_rows(competition_files(), "sample_submission.csv", lambda lines: [*lines, "001,bird"])
    assert "test image missing: 1 (001)" in ingest_message(workplace, files), "never the training image"
    files["test/001.png"] = encoded(image_of(2, 77))
    write_zip(workplace.raw, files)
    workplace.run_data()
    assert read_images(workplace.path("data/competition/test_images.csv"))[0][-1] == "test/001.png"
    assert read_images(workplace.path("data/competition/train_images.csv"))[0][1] == "train/001.png"


def test_unknown_columns_are_named(workplace):
    files = competition_files()
    lines = files["sample_submission.csv"].decode().splitlines()[1:]
    more = "\n".join(f"{line.partition(',')[0]},0.5,0.5" for line in lines)
    files["sample_submission.csv"] = f"id,answer,confidence\n{more}".encode()
    message = ingest_message(workplace, files)
    assert "unknown columns: no column of train.csv (id, label) could be the label" in message
    assert "the sample submission calls 'answer', 'confidence'" in message
    assert "competition.label: COLUMN" in message
    for header in ("label", "answer"):
        files["sample_submission.csv"] = (
            f"id,{header},confidence\n" + "\n".join(f"{line},0.5" for line in lines)
        ).encode()
        assert f"the sample asks for '{header}', 'confidence': several answers an image" in ingest_message(
            workplace, files
        )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"id,label\n000,bird\n001\n", "1 rows have another number of cells than the header (2), first lines [3]"),
        (b"id,label\n", "train.csv has 1 lines; it must have a header and at least one row"),
        ("id,label\n000,새\n".encode("cp949"), "train.csv is not UTF-8"),
        (b"id,label\n000,\0\n", "train.csv holds NUL bytes"),
        (b'id,label\n000,"bird\n', "train.csv is not a readable CSV"),
    ],
)
def test_a_broken_table_is_named(workplace, content, message):
    assert message in ingest_message(workplace, competition_files() | {"train.csv": content})


def test_labels_that_are_nowhere_list_the_ways_to_say_where_they_are(workplace):
    files = competition_files()
    del files["train.csv"]
    message = ingest_message(workplace, files)
    assert "no labels found: its 1 tables are ['sample_submission.csv']" in message
    assert "competition.train_table: FILE" in message and "competition.label: folder" in message


def test_an_empty_zip_says_so(workplace):
    assert "is empty: no file in it" in ingest_message(workplace, {})


@pytest.mark.parametrize(
    "name", ["../outside.png", "/etc/outside.png", "train/../../outside.png", "C:/outside.png", "a\\..\\b.png"]
)
def test_a_member_that_escapes_stops_before_anything_is_read(workplace, name):
    message = ingest_message(workplace, competition_files() | {name: b"x"})
    assert "would leave the archive's folder" in message


def test_links_bombs_and_two_members_of_one_name_are_refused(workplace):
    files = competition_files()

    def message_with(add):
        write_zip(workplace.raw, files)
        with zipfile.ZipFile(workplace.raw, "a", zipfile.ZIP_DEFLATED) as handle:
            add(handle)
        with pytest.raises(ValueError) as error:
            workplace.run_data()
        return str(error.value)

    link = zipfile.ZipInfo("train/link.png")
    link.external_attr = 0o120777 << 16
    assert "'train/link.png' is a link" in message_with(lambda handle: handle.writestr(link, "/etc/passwd"))
    assert "decompression bomb" in message_with(lambda handle: handle.writestr("train/b.png", bytes(8 << 20)))
    with pytest.warns(UserWarning, match="Duplicate name"):
        assert "two members are called 'train.csv'" in message_with(lambda handle: handle.writestr("train.csv", "x"))


def test_what_is_no_archive_says_what_it_found(workplace):
    workplace.raw.write_bytes(b"PK broken")
    with pytest.raises(ValueError, match=r"is neither a zip nor a folder \(9 bytes\)"):
        workplace.run_data()
    workplace.raw.unlink()
    with pytest.raises(ValueError, match="does not exist"):
        workplace.run_data()


def test_duplicates_within_train_and_across_are_noted(workplace, capsys):
    files = competition_files()
    files["train/003.png"] = files["train/000.png"]
    files["train/001.png"] = files["train/000.png"]
    files["test/900.png"] = files["train/000.png"]
    write_zip(workplace.raw, files)
    workplace.run_data()
    audit = json.loads(workplace.path("data/report/audit.json").read_text())
    first_of = {finding["kind"]: (finding["count"], finding["first"]) for finding in audit["findings"]}
    assert first_of["copies in train"] == (1, ["000 = 001 = 003"])
    assert first_of["copies with other labels"] == (1, ["001 (a cat) / 000 (bird)"])
    assert first_of["test images also in train"] == (1, ["900 = 000"])
    assert "warning: copies with other labels: 1" in capsys.readouterr().out
    train, _, _ = read_train_table(workplace.path(TRAIN), workplace.path("data/groups.csv"))
    assert set(train.image_ids.take(train.groups.where("000"))) == {"000", "001", "003"}
    assert set(train.groups) == {"", "000"}
    assert b"test images also in train" in workplace.path("data/report/audit.html").read_bytes()


def test_turned_and_mirrored_copies_share_a_fold_and_are_said(workplace):
    """What flips and turns in training would show the network of a held-out image; test images change no group."""
    files = competition_files()
    for number in range(30):
        files[f"train/{number:03d}.png"] = encoded(np.asarray(smooth(40, 40, seed=number)))
    for copy, turned in (("004", lambda pixels: pixels[:, ::-1]), ("008", np.rot90)):  # of other classes than 000
        files[f"train/{copy}.png"] = encoded(np.ascontiguousarray(turned(np.asarray(smooth(40, 40, seed=0)))))
    files["test/900.png"] = encoded(np.ascontiguousarray(np.asarray(smooth(40, 40, seed=1))[::-1]))
    write_zip(workplace.raw, files)
    workplace.run_data()
    found = {
        finding["kind"]: (finding["count"], finding["first"])
        for finding in json.loads(workplace.path("data/report/audit.json").read_text())["findings"]
    }
    assert found["copies that are turned or mirrored"] == (4, ["000 = 004", "000 = 008", "004 = 008"])
    assert b"900: test" in workplace.path("data/report/audit.html").read_bytes()
    disputed = ["004 (a cat) / 000 (bird)", "000 (bird) / 008 (dog, large)", "004 (a cat) / 008 (dog, large)"]
    assert found["turned or mirrored copies with other labels"] == (3, disputed)
    assert "copies with other labels" not in found and "test images also in train" not in found
    train, _, _ = read_train_table(workplace.path(TRAIN), workplace.path("data/groups.csv"))
    assert {*zip(train.image_ids, train.groups, strict=True)} >= {
        ("000", "000"),
        ("004", "000"),
        ("008", "000"),
        ("001", ""),
    }


@pytest.mark.parametrize("fit", ["squash", "crop", "pad"])
@pytest.mark.parametrize(
    ("kind", "mode"),
    [*((("PNG", mode)) for mode in ("RGB", "L", "P", "RGBA", "I;16")), ("JPEG", "RGB"), ("JPEG", "L"), ("JPEG", "CMYK"),
     ("BMP", "RGB"), ("WEBP", "RGB"), ("TIFF", "RGB")],
)  # fmt: skip
def test_every_kind_of_image_becomes_rgb_of_the_stores_size(kind, mode, fit):
    grey = np.arange(30 * 20, dtype=np.uint16).reshape(20, 30) * 100
    image = Image.fromarray(grey) if mode == "I;16" else Image.fromarray(image_of(1, 1, 30)[:20]).convert(mode)
    stream = io.BytesIO()
    image.save(stream, format=kind)
    decoded = decode_image(stream.getvalue(), 16, fit)
    assert decoded.pixels.shape == (16, 16, 3)
    assert decoded.pixels.dtype == np.uint8
    assert (decoded.width, decoded.height) == (30, 20)
    if mode == "I;16" and fit == "squash":
        assert abs(float(decoded.pixels.mean()) - float((grey >> 8).mean())) < 1, "16 bits are scaled, not cut off"


def test_exif_orientation_is_applied():
    upright = image_of(0, 0, 16)
    upright[:4] = 255
    image = Image.fromarray(np.rot90(upright))  # stored lying on its side
    exif = Image.Exif()
    exif[0x0112] = 6  # "rotate 90 clockwise to show"
    stream = io.BytesIO()
    image.save(stream, format="PNG", exif=exif)
    assert (decode_image(stream.getvalue(), 16, "squash").pixels == upright).all()


def test_auto_size_is_the_median_shorter_side_held_between_8_and_128(workplace):
    workplace.params["images"]["side"] = "auto"
    workplace.run_data()
    assert read_format(workplace.path("data/images/format.json")).size == 12


def test_a_damaged_store_is_not_read(workplace):
    workplace.run_data()
    path, described = workplace.path("data/images/train.npy"), workplace.path("data/images/train.json")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"train.npy is damaged: .*dvc repro -f decode_train"):
        read_store(path, described, num_rows=30, table=workplace.path(TRAIN))
    with pytest.raises(
        ValueError, match=r"holds uint8 \(9, 12, 12, 3\), .*train.json says uint8 \(30, 12, 12, 3\); .* -f decode_test"
    ):
        read_store(workplace.path("data/images/test.npy"), described, num_rows=30, table=workplace.path(TRAIN))
    with pytest.raises(ValueError, match=r"test.csv has 30 rows, its store .*test.npy has 9 images"):
        read_store(
            *(workplace.path(f"data/images/test.{kind}") for kind in ("npy", "json")),
            num_rows=30,
            table=workplace.path(TEST),
        )


def scans(shift, depth=np.uint16):
    """A competition of 16-bit grey scans whose brightest value is 255 << shift, or a little less."""
    files = competition_files()
    for name in [name for name in files if name.endswith(".png")]:
        pixels = np.asarray(Image.open(io.BytesIO(files[name]))).max(axis=2).astype(np.uint16)
        pixels[0, 0] = 255
        files[name] = encoded((pixels << shift).astype(depth))
    return files


@pytest.mark.parametrize(("shift", "bits"), [(0, 8), (2, 10), (4, 12), (6, 14), (8, 16)])
def test_the_bits_that_scans_use_are_found_kept_and_said(shift, bits, workplace, capsys):
    write_zip(workplace.raw, scans(shift))
    workplace.params["images"]["side"] = 12
    workplace.run_data()
    assert read_format(workplace.path("data/images/format.json")).bits == bits
    store = np.load(workplace.path("data/images/train.npy"))
    plain = np.asarray(Image.open(io.BytesIO(scans(0)["train/000.png"])))
    assert np.array_equal(store[0, :, :, 0], plain.astype(np.uint8))
    assert ("16-bit images" if bits == 16 else f"{bits}-bit in 16 images: 30") in capsys.readouterr().out


@pytest.mark.parametrize("value", [0, 255, 7])
def test_a_store_in_which_nothing_is_seen_always_stops(value, workplace):
    files = competition_files()
    images = [name for name in files if name.endswith(".png")]
    files |= {name: encoded(np.full((12, 12), value, dtype=np.uint8)) for name in images[2:]}
    write_zip(workplace.raw, files)
    workplace.params["competition"]["allow"] = list(ALLOWABLE)
    with pytest.raises(
        ValueError, match=r"images nearly all constant: 1 \(37 of 39 are of one value as stored; modes RGB, L"
    ):
        workplace.run_data()
    assert not workplace.path("data/groups.csv").exists()


def test_many_blank_images_beside_others_do_not_stop(workplace):
    files = competition_files()
    images = [name for name in files if name.endswith(".png")]
    files |= {name: encoded(np.zeros((12, 12), dtype=np.uint8)) for name in images[: len(images) // 2]}
    write_zip(workplace.raw, files)
    workplace.run_data()


def test_a_file_that_is_gone_since_it_was_listed_is_named(workplace):
    workplace.run("ingest")
    files = competition_files()
    del files["train/004.png"]
    write_zip(workplace.raw, files)
    with pytest.raises(ValueError, match=r"1 files of the archive are not those .*first .'train/004.png'.*`dvc repro`"):
        workplace.run("decode_train")


def test_images_that_cannot_be_read_are_no_copies_of_each_other(workplace, capsys):
    files = competition_files() | {f"train/{number:03d}.png": b"" for number in (0, 1, 2)} | {"test/900.png": b""}
    write_zip(workplace.raw, files)
    workplace.params["competition"]["allow"] = ["unreadable training image", "unreadable test image"]
    workplace.run_data()
    assert "copies" not in capsys.readouterr().out and "also in train" not in capsys.readouterr().out


@pytest.mark.parametrize("note", ["a\rb", "a\nb", "a\r\nb", '"'])
def test_cells_with_any_mark_of_a_line_go_through(workplace, note):
    files = competition_files()
    text = io.StringIO(newline="")
    writer = csv.writer(text, quoting=csv.QUOTE_ALL)
    writer.writerow(("id", "label", "note"))
    writer.writerows((f"{number:03d}", ("bird", "a cat", "dog, large")[number % 3], note) for number in range(30))
    write_zip(workplace.raw, files | {"train.csv": text.getvalue().encode()})
    workplace.run_data()
    workplace.run("split")


def test_a_class_whose_column_params_yaml_does_not_name_is_told(workplace, capsys):
    """As an organiser adds one to the same zip after `inspect --write`; a list of labels in the sample names none."""
    files = competition_files()
    rows = [(f"{number:03d}", number % 2, number % 3 == 0, number % 5 == 0) for number in range(30)]
    files["train.csv"] = csv_bytes(("id", "cat", "dog", "fish"), [(name, *map(int, ones)) for name, *ones in rows])
    files["sample_submission.csv"] = csv_bytes(("id", "labels"), [(f"90{at}", "cat dog") for at in range(9)])
    write_zip(workplace.raw, files)
    workplace.params["competition"] |= {"label": ["cat", "dog"], "allow": ["empty label"]}
    workplace.run("ingest")
    said = "1 more columns of 0 and 1 than competition.label names, such as 'fish'"
    assert said in capsys.readouterr().out
    workplace.params["competition"]["label"] = ["cat", "dog", "fish"]
    workplace.run("ingest")
    assert said not in capsys.readouterr().out
