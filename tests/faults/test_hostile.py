"""Hostile files and settings through the real stages: one clear message, exit code 2, and what was there stays."""

import io
import re
import tarfile
import zipfile
import zlib
from unicodedata import normalize

import numpy as np
import pytest
from archives import tar_bytes, tar_member, zip_bytes
from conftest import competition_files, encoded, image_of, write_zip
from made_images import jpeg_of, png
from PIL import Image
from refusals import copy_of, refusal

FILES = competition_files()
TRAIN = FILES["train.csv"]


def animated(kind):
    stream = io.BytesIO()
    first, *rest = [Image.fromarray(image_of(0, number)) for number in range(3)]
    first.save(stream, format=kind, save_all=True, append_images=rest)
    return stream.getvalue()


def float_tiff():
    stream = io.BytesIO()
    Image.fromarray(np.zeros((9, 9), dtype=np.float32)).save(stream, format="TIFF")
    return stream.getvalue()


def eps():
    stream = io.BytesIO()
    Image.fromarray(image_of(0, 0)).save(stream, format="EPS")
    return stream.getvalue()


# name -> (content of train/004.png, what the message says of it)
IMAGES = {
    "zero bytes": (b"", "the file is empty (0 bytes)"),
    "html": (b"<!DOCTYPE html><title>404</title>", "cannot identify image file"),
    "eps, for which Pillow would run Ghostscript": (eps(), "cannot identify image file"),
    "png of 20,000 x 20,000": (png(20_000, 20_000), "it is above 100,000,000 pixels"),
    "jpeg of 20,000 x 20,000": (jpeg_of(20_000, 20_000), "it is above 100,000,000 pixels"),
    "png of 11,000 x 11,000": (png(11_000, 11_000), "11000x11000 is above 100,000,000 pixels"),
    "png of 0 x 0": (png(0, 0), "cannot identify image file"),
    "png with a bomb of text": (png(9, 9, (b"zTXt", b"a\0\0" + zlib.compress(bytes(80 << 20), 9))), "too large"),
    "animated gif": (animated("GIF"), "it is animated (3 frames)"),
    "animated webp": (animated("WEBP"), "it is animated (3 frames)"),
    "animated png": (animated("PNG"), "it is animated (3 frames)"),
    "tiff of several pages": (animated("TIFF"), "it is a TIFF of 3 pages"),
    "tiff of 32-bit numbers": (float_tiff(), "has no agreed range"),
}


def with_image(name):
    content, said = IMAGES[name]
    return lambda: FILES | {"train/004.png": content}, ["unreadable training image: 1 (train/004.png: ", said]


def with_train(content, *said):
    return lambda: FILES | {"train.csv": content}, ["train.csv", *said]


def with_json(content, *said):
    """The labels are in train.json."""
    rest = {name: own for name, own in FILES.items() if name != "train.csv"}
    return lambda: rest | {"train.json": content}, ["train.json", *said]


def wide(columns):
    header = b"id,label," + b",".join(b"c%d" % number for number in range(columns - 2))
    return header + b"\n000,bird" + b",1" * (columns - 2) + b"\n"


# name -> (() -> files of the zip, texts of the message)
CONTENTS = {f"image: {name}": with_image(name) for name in IMAGES} | {
    "csv: NUL bytes": with_train(TRAIN.replace(b"bird", b"bi\0rd"), "NUL bytes"),
    "csv: a million columns": with_train(wide(1_000_000), "1,000,000 columns, more than 100,000"),
    "csv: an unclosed quote": with_train(TRAIN + b'031,"bird\n', "not a readable CSV: unexpected end of data"),
    "csv: a quote inside a cell": with_train(TRAIN + b'031,"bi"rd\n', "not a readable CSV"),
    "csv: ragged rows": with_train(TRAIN + b"031\n032,bird,x\n", "2 rows have another number of cells", "[32, 33]"),
    "csv: a cell of 2 MB": with_train(TRAIN + b"031," + b"x" * 2_000_000, "field larger than field limit (131072)"),
    "csv: only a header": with_train(b"id,label\n", "has 1 lines"),
    "csv: empty": with_train(b"", "has 0 lines"),
    "csv: blank lines": with_train(b"\n\r\n\n", "has 0 lines"),
    "csv: two columns of one name": with_train(TRAIN.replace(b"id,label", b"id,id"), "1 columns have one name"),
    "csv: UTF-16 cut off": with_train("id,label\n".encode("utf-16") + b"x", "encoding 'utf-16-le'"),
    "csv: half a surrogate": with_train(TRAIN.replace(b"000,", b"\xed\xa0\x80000,"), "is not UTF-8"),
    "csv: an id that leaves the folder": with_train(
        TRAIN.replace(b"000,", b"../../etc/passwd,"), "id without image in train/: 1 (../../etc/passwd)"
    ),
    "csv: one class": (lambda: competition_files(labels=("only",)), ["are of one class, 'only'"]),
    "csv: classes of one image": (lambda: competition_files(per_class=1), ["classes of fewer than 2 images: 3"]),
    "json: nested 100,000 deep": with_json(b"[" * 100_000, "not readable JSON", "recursion"),
    "json: a number of 5,001 digits": with_json(b'[{"a":1' + b"0" * 5000 + b"}]", "not readable JSON", "4300 digits"),
    "json: annotations that are none": with_json(
        b'{"images":[{"id":1,"file_name":"a"}],"annotations":5}', "is not COCO-style"
    ),
    "no test images": (
        lambda: {name: content for name, content in FILES.items() if not name.startswith("test/")},
        ["no id of sample_submission.csv (900, 901, 902, …) leads to an image"],
    ),
    "no images": (
        lambda: {name: content for name, content in FILES.items() if not name.endswith(".png")},
        ["no image among 2 files"],
    ),
    "no labels": (
        lambda: {name: content for name, content in FILES.items() if name != "train.csv"},
        ["no labels found"],
    ),
}


def zip_with(name, content=b"x", **attributes):
    """A zip with one more member, whose ZipInfo has these attributes."""
    stream = io.BytesIO(zip_bytes(FILES))
    member = zipfile.ZipInfo(name)
    for attribute, value in attributes.items():
        setattr(member, attribute, value)
    with zipfile.ZipFile(stream, "a", zipfile.ZIP_DEFLATED) as handle:
        handle.writestr(member, content, zipfile.ZIP_DEFLATED)
    return stream.getvalue()


def encrypted_zip():
    content = bytearray(zip_with("secret.png"))
    place = content.rfind(b"PK\x01\x02")
    content[place + 8] |= 1
    return bytes(content)


def spoilt_zip():
    """Stored members, a byte of the train table altered: its CRC no longer fits."""
    content = zip_bytes(FILES, zipfile.ZIP_STORED)
    return content.replace(b"id,label\n000,bird", b"id,label\n000,bard")


def bomb_of_bombs():
    inner = zip_bytes({f"{number}.bin": bytes(1 << 19) for number in range(64)})
    return zip_bytes({f"{number}.zip": inner for number in range(64)} | FILES, zipfile.ZIP_STORED)


def tar_with(kind):
    return tar_bytes(FILES | {"train/odd.png": tar_member("train/odd.png", kind, "train/000.png")})


# name -> (() -> the archive's bytes, texts of the message)
ARCHIVES = {
    "path escape": (lambda: zip_with("../outside.png"), ["'../outside.png' would leave the archive's folder"]),
    "path escape in the middle": (lambda: zip_with("train/../../x.png"), ["would leave the archive's folder"]),
    "absolute path": (lambda: zip_with("/etc/outside.png"), ["'/etc/outside.png' would leave"]),
    "drive letter": (lambda: zip_with("C:/outside.png"), ["'C:/outside.png' would leave"]),
    "path escape in a tar": (lambda: tar_bytes(FILES | {"../x.png": b"x"}), ["'../x.png' would leave"]),
    "absolute path in a tar": (lambda: tar_bytes(FILES | {"/etc/x.png": b"x"}), ["'/etc/x.png' would leave"]),
    "path escape in a zip in a zip": (
        lambda: zip_bytes(FILES | {"more.zip": zip_bytes({"../x.png": b"x"})}),
        ["more.zip", "'../x.png' would leave"],
    ),
    "symbolic link": (
        lambda: zip_with("train/link.png", b"/etc/passwd", external_attr=0o120777 << 16),
        ["'train/link.png' is a link"],
    ),
    "pipe": (lambda: zip_with("train/p.png", external_attr=0o010644 << 16, create_system=3), ["device or a pipe"]),
    "symbolic link in a tar": (lambda: tar_with(tarfile.SYMTYPE), ["is a link; pack the file itself"]),
    "hard link in a tar": (lambda: tar_with(tarfile.LNKTYPE), ["is a link; pack the file itself"]),
    "device in a tar": (lambda: tar_with(tarfile.CHRTYPE), ["is a device or a pipe"]),
    "bomb": (lambda: zip_with("train/b.png", bytes(8 << 20)), ["'train/b.png'", "decompression bomb"]),
    "bomb of bombs": (bomb_of_bombs, ["bomb"]),
    "control character in a name": (lambda: zip_with("train/a\nb.png"), ["control characters"]),
    "encrypted": (encrypted_zip, ["'secret.png' is encrypted"]),
    "checksum that does not fit": (spoilt_zip, ["train.csv", "Bad CRC-32", "download it again"]),
    "zero bytes": (lambda: b"", ["is neither a zip nor a folder (0 bytes)"]),
    "html": (lambda: b"<!DOCTYPE html><title>Log in</title>", ["is neither a zip nor a folder (36 bytes)"]),
    "empty zip": (lambda: zip_bytes({}), ["is empty"]),
    "rar": (lambda: b"Rar!\x1a\x07\x01\x00" + bytes(99), ["is a RAR archive, which is not read"]),
    "a table instead of an archive": (lambda: TRAIN, ["is neither a zip nor a folder"]),
}


@pytest.fixture
def copied(finished, tmp_path):
    return copy_of(finished, tmp_path)


@pytest.mark.parametrize("name", CONTENTS)
def test_a_hostile_file_in_the_zip(copied, capsys, monkeypatch, name):
    files, said = CONTENTS[name]
    write_zip(copied.raw, files())
    copied.save()
    if name.startswith("image: "):  # ingest decodes none: the audit stops at what cannot be read
        for stage in ("ingest", "decode_train", "decode_test"):
            copied.run(stage)
        message = refusal(copied, "audit", capsys, monkeypatch)
    else:
        message = refusal(copied, "ingest", capsys, monkeypatch)
    assert all(text in message for text in said), message
    assert " at 0x" not in message, "an address in memory"


@pytest.mark.parametrize("name", ARCHIVES)
def test_a_hostile_archive(copied, capsys, monkeypatch, name):
    pack, said = ARCHIVES[name]
    copied.raw.write_bytes(pack())
    copied.save()
    message = refusal(copied, "ingest", capsys, monkeypatch)
    assert str(copied.raw) in message
    assert all(text in message for text in said), message


def test_two_members_of_one_name(copied, capsys, monkeypatch):
    with pytest.warns(UserWarning, match="Duplicate name"):
        copied.raw.write_bytes(zip_with("train.csv"))
    copied.save()
    assert "two members are called 'train.csv'" in refusal(copied, "ingest", capsys, monkeypatch)


@pytest.mark.parametrize("tenth", range(10))
@pytest.mark.parametrize("pack", ["zip", "stored zip", "tar", "tar.gz", "tar.bz2", "tar.xz"])
def test_an_archive_cut_at_any_tenth(copied, capsys, monkeypatch, pack, tenth):
    whole = {
        "zip": lambda: zip_bytes(FILES),
        "stored zip": lambda: zip_bytes(FILES, zipfile.ZIP_STORED),
        "tar": lambda: tar_bytes(FILES),
        "tar.gz": lambda: tar_bytes(FILES, "w:gz"),
        "tar.bz2": lambda: tar_bytes(FILES, "w:bz2"),
        "tar.xz": lambda: tar_bytes(FILES, "w:xz"),
    }[pack]()
    length = len(whole.rstrip(b"\0"))  # a tar ends in zeros, which nobody misses
    copied.raw.write_bytes(whole[: length * tenth // 10])
    copied.save()
    message = refusal(copied, "ingest", capsys, monkeypatch)
    assert str(copied.raw) in message
    assert "download it again" in message


# what is odd and right all the same: name -> (files of the zip, competition.allow, texts said)
ODD = {
    "two names that differ in case": (
        {"train/X.png": FILES["train/000.png"], "train/x.png": FILES["train/001.png"]},
        ["image without row"],
        ["image without row: 2 (allowed"],
    ),
    "two names that differ in their unicode form": (
        {f"train/{normalize(form, 'é')}.png": FILES["train/000.png"] for form in ("NFC", "NFD")},
        ["image without row"],
        ["image without row: 2 (allowed"],
    ),
    "carriage returns alone": ({"train.csv": TRAIN.replace(b"\n", b"\r")}, [], []),
    "UTF-16": ({"train.csv": TRAIN.decode().encode("utf-16")}, [], []),
    "an image of 1 x 1": ({"train/004.png": png(1, 1)}, [], []),
    "a WebP called png": ({"train/004.png": encoded(image_of(1, 4), "WEBP", lossless=True)}, [], []),
    "a JPEG called png": ({"train/004.png": encoded(image_of(1, 4), "JPEG")}, [], []),
    "JSON that says nothing of images": ({"boxes.json": b'{"images":[1]}'}, [], []),
}


@pytest.mark.parametrize("name", ODD)
def test_what_is_odd_but_sound_is_read(workplace, capsys, name):
    changes, allowed, said = ODD[name]
    write_zip(workplace.raw, FILES | changes)
    workplace.params["competition"]["allow"] = allowed
    workplace.run_data()
    out = capsys.readouterr().out
    assert "30 labelled and 9 test images, 3 classes of 10 to 10 images" in out
    assert all(text in out for text in said)


FORMULAS = ("=cmd|' /C calc'!A0", "+1", "@SUM(A1:A9)")


def test_cells_like_formulas_stay_text_up_to_the_submission(workplace):
    write_zip(workplace.raw, competition_files(labels=FORMULAS))
    workplace.params["train"]["epochs"] = 1
    workplace.run_all()
    written = workplace.path("submissions/submission.csv").read_text().splitlines()[1:]
    assert {line.partition(",")[2] for line in written} <= set(FORMULAS)
    assert re.search(r"(?m)^000,=cmd\|' /C calc'!A0$", workplace.path("data/competition/train.csv").read_text())


# name -> (stage, text of params.yaml, what replaces it, texts of the message)
PARAMS = {
    "an object of Python": ("ingest", "side: auto", "side: !!python/object/apply:os.system ['true']", ["constructor"]),
    "a key that is there twice": ("split", "  seed: 0\n  small", "  seed: 0\n  seed: 1\n  small", ['found duplicate key "seed"']),
    "a section that is there twice": ("split", "split:", "split: {}\nsplit:", ['found duplicate key "split"']),
    "nested 3,000 deep": ("ingest", "side: auto", "side: " + "[" * 3000, ["nested too deep"]),
    "a tab": ("ingest", "competition:", "competition:\n\tx: 1", ["not valid YAML"]),
    "empty": ("ingest", None, "", ["must be a mapping of sections"]),
    "a list": ("ingest", None, "- competition\n", ["holds list, must be a mapping of sections"]),
    "not UTF-8": ("ingest", None, "competition: \udcff\n", ["not valid YAML", "can't decode byte 0xff"]),
    "a date of month 13": ("ingest", "side: auto", "side: 2024-13-01", ["not valid YAML"]),
    "an impossible letter": ("ingest", "side: auto", 'side: "\\UFFFFFFFF"', ["not valid YAML"]),
    "a tag that does not fit": ("ingest", "side: auto", "side: !!bool x", ["not valid YAML"]),
    "1e400": ("train", "peak_lr: 0.05", "peak_lr: 1e400", ["train.peak_lr is inf", "1e-09 to 1000.0"]),
    "infinity": ("train", "peak_lr: 0.05", "peak_lr: .inf", ["train.peak_lr is inf"]),
    "NaN": ("train", "peak_lr: 0.05", "peak_lr: .nan", ["train.peak_lr is nan"]),
    "10**400": ("train", "peak_lr: 0.05", f"peak_lr: 1{'0' * 400}", ["train.peak_lr is 1000"]),
    "10**5000": ("train", "epochs: 6", f"epochs: 1{'0' * 5000}", ["not valid YAML", "4300 digits"]),
    "10**30": ("train", "epochs: 6", f"epochs: 1{'0' * 30}", ["an integer from 1 to 100000"]),
    "a negative number": ("train", "batch_size: 8", "batch_size: -8", ["train.batch_size is -8"]),
    "a truth for a number": ("train", "epochs: 6", "epochs: true", ["train.epochs is True"]),
    "a mapping for a number": ("train", "epochs: 6", "epochs: {a: 1}", ["train.epochs is {'a': 1}"]),
    "a number for a section": ("split", "num_folds: 2", "num_folds: [2]", ["split.num_folds is [2]"]),
    "an unknown key": ("train", "epochs: 6", "epoch: 6", ["train.epoch (= 6) is not known; did you mean epochs?"]),
    "a missing section": ("split", "split:", "splot:", ["has no section `split`"]),
    "a fold without quotes": ("split", "'0': {}", "0: {}", ["fold keys are not quoted"]),
    "an unknown device": ("train", "device: auto", "device: abacus", ["abacus"]),
    "an unknown model": ("train", "name: resnet9", "name: no_such_model", ["no_such_model"]),
    "a path for a model": ("train", "name: resnet9", "name: hf-hub:someone/model", ["hf-hub:someone/model"]),
    "a pattern that is none": ("ingest", "label: auto", "label: '(?P<label>'", ["is no regular expression"]),
    "a template a billion wide": (
        "ingest", "train_images: auto", "train_images: 'train/{id:1000000000d}.png'", ["names ['id:1000000000d']"],
    ),
    "a template with an attribute": (
        "ingest", "train_images: auto", "train_images: 'train/{id.__class__}.png'", ["id.__class__"],
    ),
    "an encoding that is none": ("ingest", "encoding: auto", "encoding: rot13", ["rot13", "competition.encoding"]),
    "a metric that is none": ("ingest", "metric: auto", "metric: 'no_such_module:f'", ["no_such_module"]),
    "an archive that is not there": ("ingest", None, None, ["does not exist"]),
}  # fmt: skip


@pytest.mark.parametrize("name", PARAMS)
def test_a_hostile_params_file(copied, capsys, monkeypatch, name):
    stage, old, new, said = PARAMS[name]
    path = copied.path("params.yaml")
    if new is None:
        copied.raw = copied.path("nowhere.zip")
        copied.save()
    elif old is None:
        path.write_bytes(new.encode("utf-8", "surrogateescape"))
    else:
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))
    message = refusal(copied, stage, capsys, monkeypatch, key="0")
    assert all(text in message for text in said), message
    assert len(message) < 1000
