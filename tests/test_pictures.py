"""Images are found by suffix or content, whatever the decoder reads; hidden and service files never are."""

import io
import sys
import zipfile

import numpy as np
import pytest
from conftest import competition_files, csv_bytes, encoded, image_of, write_zip
from PIL import Image

from pipeline.archive.archive import Archive, open_archive
from pipeline.competition.problems import Problems
from pipeline.images import decode
from pipeline.images.decode import FORMATS, PLUGINS, TGA, decode_image
from pipeline.layout.layout import read_layout
from pipeline.tables import image_names as pictures
from pipeline.tables.image_names import IMAGE_SUFFIXES, image_names, stem_of, without_suffix

TREES = ("oak", "elm", "fir")


def picture(kind):
    pixels = image_of(1, 5)
    if kind == "ICO":
        pixels = np.kron(pixels, np.ones((2, 2, 1), dtype=np.uint8))[:16, :16]
        return encoded(pixels, kind, sizes=[(16, 16)])
    return encoded(pixels, kind)


def test_the_suffixes_are_those_of_the_formats_that_are_decoded():
    Image.init()
    by_pillow = {suffix for suffix, kind in Image.registered_extensions().items() if kind in (*FORMATS, TGA)}
    by_plugin = {".heic", ".heics", ".heif", ".heifs", ".hif", ".jxl"}  # as pillow-heif and pillow-jxl-plugin have them
    assert set(IMAGE_SUFFIXES) == by_pillow | by_plugin


@pytest.mark.parametrize("kind", (*FORMATS, TGA))
def test_what_the_decoder_reads_is_found_under_its_suffixes_and_by_content(kind, tmp_path):
    Image.init()
    content = picture(kind)
    suffixes = [suffix for suffix, own in Image.registered_extensions().items() if own == kind]
    names = [f"a/1{suffix}" for suffix in suffixes] + [f"a/2{suffix.upper()}" for suffix in suffixes]
    by_content = [] if kind == TGA else ["a/without", "a/other.dat", "a/id.017"]  # TGA begins with nothing of its own
    files = dict.fromkeys(names + by_content, content) | {"a/readme": b"P5 is a format", "x.csv": content}
    with open_archive(write_zip(tmp_path / "raw.zip", files)) as archive:
        assert sorted(image_names(archive)) == sorted(names + by_content)
    assert decode_image(content, 12, "squash").pixels.shape == (12, 12, 3)


OF_PLUGINS = {
    "a/1.HEIC": (b"\0\0\0\x18ftypheic", "pillow-heif"), "a/2.heif": (b"\0\0\0\x18ftypmif1", "pillow-heif"),
    "a/3": (b"\0\0\0\x18ftyphevc", "pillow-heif"), "a/4.jxl": (b"\xff\x0a\0", "pillow-jxl-plugin"),
    "a/5": (b"\0\0\0\x0cJXL \r\n", "pillow-jxl-plugin"), "a/6.jpg": (b"\0\0\0\x18ftypheic", "pillow-heif"),
}  # fmt: skip


@pytest.fixture
def no_plugins(monkeypatch):
    """As if none were installed; Pillow forgets a made-up one."""
    for _, module, _ in PLUGINS.values():
        monkeypatch.setitem(sys.modules, module, None)
    Image.init()
    monkeypatch.setattr(Image, "OPEN", dict(Image.OPEN))
    decode._is_registered.cache_clear()
    yield
    decode._is_registered.cache_clear()


@pytest.mark.parametrize("name", OF_PLUGINS)
def test_an_image_that_needs_a_plugin_is_found_and_names_it(name, tmp_path, no_plugins):
    content, package = OF_PLUGINS[name]
    with open_archive(write_zip(tmp_path / "raw.zip", {name: content, "x.csv": b"a"})) as archive:
        assert list(image_names(archive)) == [name]
    with pytest.raises(ValueError, match=rf"images need a plug-in: pip install {package}, and run again"):
        decode_image(content, 12, "squash")


MADE_UP_PLUGIN = """
from PIL import Image, ImageFile
class File(ImageFile.ImageFile):
    format = "HEIF"
    def _open(self):
        self._size, self._mode, self.tile = (4, 4), "L", [("raw", (0, 0, 4, 4), 12, ("L", 0, 1))]
def register_heif_opener():
    Image.register_open("HEIF", File, lambda start: start[4:12] == b"ftypheic")
"""


def test_a_plugin_that_is_installed_is_used(tmp_path, monkeypatch, no_plugins):
    (tmp_path / "pillow_heif.py").write_text(MADE_UP_PLUGIN)
    monkeypatch.delitem(sys.modules, "pillow_heif")
    monkeypatch.syspath_prepend(tmp_path)
    found = decode_image(b"\0\0\0\x18ftypheic" + bytes([7]) * 16, 4, "squash")
    assert (found.format, found.mode) == ("HEIF", "L")
    assert (found.pixels == 7).all()


UNDECODED = {
    "data_batch_1": (b"\x80\x02}q\x01", "1 pickle"),
    "a.tfrec": (b"\x18", "1 TFRecord"),
    "train.h5": (b"\x89HDF\r\n\x1a\n", "1 HDF5"), "a/1.DCM": (b"", "1 DICOM"), "a/IM0001": (bytes(128) + b"DICM", "1 DICOM"),
    "a/1.nii.gz": (b"\x1f\x8b", "1 NIfTI"), "a/1.mp4": (b"", "1 video"),
    "a.parquet": (b"PAR1", "1 Parquet"), "train.bson": (b"\x16\0\0\0", "1 BSON"),
}  # fmt: skip


@pytest.mark.parametrize("name", UNDECODED)
def test_without_images_the_formats_that_are_not_decoded_are_named(name, tmp_path):
    content, said = UNDECODED[name]
    files = {name: content, "notes.txt": b"x", "sample_submission.csv": b"id,label\n1,0\n2,0\n"}
    with pytest.raises(ValueError, match=rf"no image among 3 files; {said}[^\n]* \(such as {name}\)[^\n]*PNG[^\n]*$"):
        layout_of(tmp_path, files)


def test_an_idx_file_that_is_cut_short_is_named(tmp_path):
    files = {"train-images-idx3-ubyte": b"\0\0\x08\x03" + bytes(90), "sample_submission.csv": b"id,label\n1,0\n2,0\n"}
    with pytest.raises(
        ValueError, match=r"train-images-idx3-ubyte is called as IDX files are, and is none or cut short \("
    ):
        layout_of(tmp_path, files)


@pytest.mark.parametrize(("name", "content"), [("train.npz", b"PK"), ("x_train.npy", b"\x93NUMPY")])
def test_arrays_that_are_broken_are_named_and_nobody_is_told_to_unpickle_them(name, content, tmp_path):
    with pytest.raises(ValueError, match=rf"{name} is not readable as numpy's arrays") as caught:
        layout_of(tmp_path, {name: content, "sample_submission.csv": b"id,label\n1,0\n2,0\n"})
    assert "allow_pickle" not in str(caught.value)


def test_without_images_other_suffixes_are_counted_and_addresses_named(tmp_path):
    batches = {"data_batch_1.bin": bytes(range(256)), "data_batch_2.bin": bytes(range(256)), "names.txt": b"a\nb\n"}
    with pytest.raises(ValueError, match=r"no image among 3 files \(2 .bin, 1 .txt\); write each image as a PNG"):
        layout_of(tmp_path, batches)
    table = b"id,url,label\n" + b"".join(b"%d,http://a.b/%d.jpg,%d\n" % (n, n, n % 2) for n in range(9))
    with pytest.raises(ValueError, match=r"'url' of train.csv holds addresses: download their images first"):
        layout_of(tmp_path, {"train.csv": table})


def test_files_that_may_hold_the_labels_are_named_where_none_are_found(tmp_path):
    files = {f"jpg/{n}.png": encoded(image_of(0, n)) for n in range(9)} | {"imagelabels.mat": b"MATLAB 5.0 MAT-file"}
    with pytest.raises(ValueError, match=r"no labels found.*1 MATLAB \(such as imagelabels.mat\) may hold them"):
        layout_of(tmp_path, files)


def class_folders(more):
    files = {f"train/{TREES[n % 3]}/{n:02d}.png": encoded(image_of(n % 3, n)) for n in range(24)}
    files |= {f"test/{n}.png": encoded(image_of(n % 3, n)) for n in range(90, 96)}
    return files | more | {"sample_submission.csv": csv_bytes(("id", "label"), [(n, "oak") for n in range(90, 96)])}


@pytest.mark.parametrize(
    ("names", "stops"),
    [
        (["train/elm/a.dng", "train/oak/b.DNG"], True), (["train/yew/a.dcm"], True),
        (["train/a.dng", "docs/b.dng", "test/c.dng"], False), (["train/oak/00.dng", "train/elm/01.dng"], None),
    ],
)  # fmt: skip
def test_images_in_class_folders_that_are_not_decoded_are_counted(names, stops, tmp_path):
    problems = Problems()
    with open_archive(write_zip(tmp_path / "raw.zip", class_folders(dict.fromkeys(names, b"")))) as archive:
        layout = read_layout(archive, problems)
    assert len(layout.train_ids) == 24
    said = [line for line in layout.warnings if "not decoded here" in line]
    assert len(said) == (stops is not None) and all(f"{len(names)} " in line for line in said)
    assert problems.counts() == ({"undecoded image": len(names)} if stops else {})
    assert not problems.lines(["undecoded image"])


def test_content_is_not_looked_at_where_suffixes_say_all(tmp_path, monkeypatch):
    monkeypatch.setattr(Archive, "head", lambda *args: pytest.fail("content was read"))
    files = {"a/1.png": b"", "a/2.JFIF": b"", "train.csv": b"a,b\n1,2\n", "notes.txt": b"x"}
    with open_archive(write_zip(tmp_path / "raw.zip", files)) as archive:
        assert list(image_names(archive)) == ["a/1.png", "a/2.JFIF"]


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_the_head_of_a_member_is_its_first_bytes(method, tmp_path):
    content = np.random.default_rng(0).integers(0, 200, 70_000, dtype=np.uint8).tobytes()
    with zipfile.ZipFile(tmp_path / "raw.zip", "w", method) as handle:
        handle.writestr("a/long", content)
        handle.writestr("a/short", content[:5])
        handle.writestr("x.csv", "a")
    (tmp_path / "folder" / "a").mkdir(parents=True)
    (tmp_path / "folder" / "a" / "long").write_bytes(content)
    (tmp_path / "folder" / "a" / "short").write_bytes(content[:5])
    (tmp_path / "folder" / "x.csv").write_text("a")
    for path in (tmp_path / "raw.zip", tmp_path / "folder"):
        with open_archive(path) as archive:
            assert archive.head("a/long", 64) == content[:64]
            assert archive.head("a/short", 64) == content[:5]


def test_a_suffix_is_the_same_to_all():
    for suffix in IMAGE_SUFFIXES:
        assert without_suffix(f"a.b/c.d{suffix.upper()}") == "a.b/c.d"
    assert [without_suffix(name) for name in ("tr.001", ".jpg", "a.png/b", "a")] == ["tr.001", ".jpg", "a.png/b", "a"]
    assert stem_of("p/q.jfif") == "q"


def layout_of(path, files):
    problems = Problems()
    with open_archive(write_zip(path / "raw.zip", files)) as archive:
        layout = read_layout(archive, problems)
    assert not problems.lines()
    return layout


def renamed(files, name_of):
    return {name_of(name) if name.endswith(".png") else name: content for name, content in files.items()}


@pytest.mark.parametrize("suffix", ["", ".dat", ".image", ".jfif", ".PPM"])
def test_a_competition_with_other_suffixes_is_read_as_the_plain_one(suffix, tmp_path):
    plain = layout_of(tmp_path, competition_files())
    other = layout_of(tmp_path, renamed(competition_files(), lambda name: name.removesuffix(".png") + suffix))
    assert [other.train_ids, other.train_labels, other.test_ids] == [
        plain.train_ids, plain.train_labels, plain.test_ids,
    ]  # fmt: skip
    assert list(other.train_members) == [name.removesuffix(".png") + suffix for name in plain.train_members]


def test_a_few_files_of_another_suffix_among_class_folders_count(tmp_path):
    files = {
        f"train/{TREES[n % 3]}/{n:02d}.{'jfif' if n % 9 == 4 else 'jpg'}": encoded(image_of(n % 3, n), "JPEG")
        for n in range(27)
    }
    files |= {f"test/{n}.jpg": encoded(image_of(n % 3, n), "JPEG") for n in range(90, 96)}
    files["sample_submission.csv"] = csv_bytes(("id", "label"), [(n, "oak") for n in range(90, 96)])
    assert len(layout_of(tmp_path, files).train_ids) == 27


SERVICE = (
    ".ipynb_checkpoints", "@eaDir", ".thumbnails", "__MACOSX", "#recycle", "$RECYCLE.BIN", "System Volume Information",
    "lost+found", "__pycache__", ".git", ".svn", "._oak", ".Trash-1000",
)  # fmt: skip


@pytest.mark.parametrize("folder", SERVICE)
def test_hidden_and_service_folders_are_no_classes_and_are_counted(folder, tmp_path):
    sound = {f"train/{TREES[n % 3]}/{n:02d}.png": encoded(image_of(n % 3, n)) for n in range(24)}
    sound |= {f"test/{n}.png": encoded(image_of(n % 3, n)) for n in range(90, 96)}
    sound["sample_submission.csv"] = csv_bytes(("id", "label"), [(n, "oak") for n in range(90, 96)])
    junk = {f"train/{folder}/{n}.png": encoded(image_of(n % 3, n)) for n in range(3)}
    junk |= {f"train/elm/{folder}/{n}.png": encoded(image_of(1, n)) for n in range(4)}
    plain = layout_of(tmp_path, sound)
    assert layout_of(tmp_path, sound | junk).train_members == plain.train_members
    with open_archive(write_zip(tmp_path / "raw.zip", sound | junk)) as archive:
        assert archive.left_aside == ({} if folder in ("__MACOSX", "._oak") else {folder: 7})
        assert not [name for name in archive.names if folder in name]


@pytest.mark.parametrize(
    "name", ["a.b/c.png", "elm/~x.png", "@home/1.png", "lost+found images/1.png", "$5/1.png", "#1/1.png"]
)
def test_names_that_only_look_like_service_names_stay(name, tmp_path):
    with open_archive(write_zip(tmp_path / "raw.zip", {name: b"1", "x.csv": b"a\n1\n"})) as archive:
        assert name in archive


def test_noise_passes_for_no_image(tmp_path):
    draws = np.random.default_rng(0)
    files = {f"a/{n}": draws.integers(0, 256, 300, dtype=np.uint8).tobytes() for n in range(200)}
    files |= {
        "x.csv": b"",
        "a/text": b"BM is what a bitmap begins with, and text may begin so too",
        "a/P1": b"P1 and more\n",
        "a/empty": b"",
    }
    with open_archive(write_zip(tmp_path / "raw.zip", files)) as archive:
        assert not list(image_names(archive))
    assert pictures.SIGNATURE.match(io.BytesIO(encoded(image_of(0, 0))).read(64))
