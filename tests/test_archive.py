"""archive: every kind of container gives the same members and bytes, and what is unsafe or cut off says so."""

import bz2
import dataclasses
import gc
import gzip
import hashlib
import io
import os
import re
import struct
import sys
import tarfile
import tempfile
import tracemalloc
import types
import zipfile
import zlib
from pathlib import Path

import pytest
from archives import (
    COMPRESS,
    FILES,
    JUNK,
    ONE_FILE,
    bare,
    parted,
    seven_zip_bytes,
    tar_bytes,
    tar_member,
    zip_bytes,
)
from conftest import ROOT, competition_files, write_zip

from pipeline.archive import byte_ranges as regions
from pipeline.archive import formats as containers
from pipeline.archive import member_names as members
from pipeline.archive.archive import open_archive


def folder_of(root, files):
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


IN_A_FOLDER = {
    "files": lambda: FILES | JUNK,
    "zips": lambda: {
        "train.zip": zip_bytes(parted(FILES)[0]["train"] | {"__MACOSX/train/._00.png": b"?"}),
        "test.zip": zip_bytes(bare("test")),
        "train.csv.zip": zip_bytes({"train.csv": FILES["train.csv"]}),
        "sample_submission.csv": FILES["sample_submission.csv"],
    },
    "tgz and gz": lambda: {
        "train.TGZ": tar_bytes(parted(FILES)[0]["train"], "w:gz"),
        "test.tar.xz": tar_bytes(bare("test"), "w:xz"),
        "train.csv.gz": gzip.compress(FILES["train.csv"]),
        "sample_submission.csv.bz2": bz2.compress(FILES["sample_submission.csv"]),
    },
    "wrongly called": lambda: {
        "train.zip": tar_bytes(parted(FILES)[0]["train"], "w:gz"),
        "test.gz": tar_bytes(bare("test"), "w:gz"),
        "train.csv.gz": zip_bytes({"train.csv": FILES["train.csv"]}),
        "sample_submission.csv": FILES["sample_submission.csv"],
    },
    "7z": lambda: {
        "train.7z": seven_zip_bytes(parted(FILES)[0]["train"]),
        "rest/deeper.7z": seven_zip_bytes({"x.csv": b"x"}),
    },
}  # fmt: skip


def contents(archive):
    return {name: archive.read(name) for name in archive.names}


def message(path):
    with pytest.raises(ValueError) as error:
        open_archive(path)
    return str(error.value)


def written(tmp_path, content, name="raw.bin"):
    path = tmp_path / name
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("kind", ONE_FILE)
def test_every_kind_of_archive_gives_the_same_members_and_bytes(kind, tmp_path):
    with open_archive(written(tmp_path, ONE_FILE[kind]())) as archive:
        assert archive.names == sorted(FILES)
        assert contents(archive) == FILES
        assert {name: archive.size(name) for name in archive.names} == {n: len(c) for n, c in FILES.items()}
        assert "train.csv" in archive
        assert "train" not in archive


@pytest.mark.parametrize("kind", ["files", "zips", "tgz and gz", "wrongly called"])
def test_every_kind_of_folder_gives_the_same_members_and_bytes(kind, tmp_path):
    assert contents(open_archive(folder_of(tmp_path / "raw", IN_A_FOLDER[kind]()))) == FILES
    assert contents(open_archive(folder_of(tmp_path / "around" / "my comp", IN_A_FOLDER[kind]()).parent)) == FILES


def test_7z_in_a_folder(tmp_path):
    archive = open_archive(folder_of(tmp_path / "raw", IN_A_FOLDER["7z"]()))
    assert contents(archive) == parted(FILES)[0]["train"] | {"rest/deeper/x.csv": b"x"}


def test_ingest_makes_the_same_of_kaggles_folder(workplace, tmp_path):
    def outputs():
        return {path.name: path.read_bytes() for path in workplace.path("data").rglob("*") if path.is_file()}

    workplace.run_data()
    plain = outputs()
    folders, tables = parted(competition_files())
    packed = {f"{part}.zip": zip_bytes(held) for part, held in folders.items()}
    workplace.raw = folder_of(tmp_path / "raw", packed | {f"{n}.zip": zip_bytes({n: c}) for n, c in tables.items()})
    workplace.run_data()
    assert outputs() == plain


def test_a_compressed_file_that_is_no_table_stays_as_it_is(tmp_path):
    packed = gzip.compress(b"voxels")
    files = {"train/scan.nii.gz": packed, "labels.csv.gz": gzip.compress(b"id\n")}
    archive = open_archive(folder_of(tmp_path / "raw", files))
    assert contents(archive) == {"train/scan.nii.gz": packed, "labels.csv": b"id\n"}


FINGERPRINT_OF = {
    "zip": lambda content: f"{zlib.crc32(content):08x}-{len(content)}",
    "other": lambda content: hashlib.sha256(content).hexdigest(),
}


@pytest.mark.parametrize("kind", ["zip stored", "zip deflated", "zips in a deflated zip", "zips in a tar.gz"])
def test_fingerprints_in_zips_are_the_directorys(kind, tmp_path, monkeypatch):
    monkeypatch.setattr(containers.Zip, "read", lambda *args: pytest.fail("a member was read"))
    with open_archive(written(tmp_path, ONE_FILE[kind]())) as archive:
        found = {name: archive.fingerprint(name) for name in archive.names}
    assert found == {name: FINGERPRINT_OF["zip"](content) for name, content in FILES.items()}


@pytest.mark.parametrize("kind", ["tar", "tar.gz", "7z", "tars and tables in a tar"])
def test_fingerprints_elsewhere_are_of_the_bytes(kind, tmp_path):
    expected = {name: FINGERPRINT_OF["other"](content) for name, content in FILES.items()}
    with open_archive(written(tmp_path, ONE_FILE[kind]())) as archive:
        assert {name: archive.fingerprint(name) for name in archive.names} == expected
        assert {name: archive.fingerprint(name) for name in archive.names} == expected, "a second time"


def test_fingerprints_in_a_folder_tell_bytes_and_not_times(tmp_path):
    root = folder_of(tmp_path / "raw", FILES)
    with open_archive(root) as archive:
        before = {name: archive.fingerprint(name) for name in archive.names}
        os.utime(root / "train/00.png", (1, 1))
        (root / "train/01.png").write_bytes(FILES["train/01.png"][:-1] + b"?")
        (root / "train/02.png").unlink()
        after = {name: archive.fingerprint(name) for name in archive.names}
    assert before == {name: FINGERPRINT_OF["other"](content) for name, content in FILES.items()}
    assert [name for name in before if before[name] != after[name]] == ["train/01.png", "train/02.png"]
    assert after["train/02.png"] == containers.UNREADABLE


def num_open_files():
    return len(list(Path("/dev/fd").iterdir()))


@pytest.mark.parametrize("way", ["close", "with", "let go"])
def test_scratch_and_files_are_given_back(way, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "scratch"))
    (tmp_path / "scratch").mkdir()
    path = written(tmp_path, ONE_FILE["zips in a tar.gz"]())
    gc.collect()  # what earlier tests left to it
    before = num_open_files()
    archive = open_archive(path)
    assert num_open_files() == before + 2, "the archive and the scratch file"
    assert list((tmp_path / "scratch").iterdir()) == [], "the scratch file has no name that could be left behind"
    if way == "close":
        archive.close()
        with pytest.raises(ValueError, match="the archive is closed"):
            archive.read("train.csv")
    elif way == "with":
        with archive:
            pass
    else:
        del archive
        gc.collect()
    assert num_open_files() == before


def test_what_is_read_in_place_needs_no_scratch(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda: pytest.fail("a scratch file was made"))
    for kind in ("zip deflated", "tar"):
        assert contents(open_archive(written(tmp_path, ONE_FILE[kind]()))) == FILES
    inner = zip_bytes(FILES)
    assert contents(open_archive(written(tmp_path, zip_bytes({"a.zip": inner, "b.csv": b""}, zipfile.ZIP_STORED))))
    assert contents(open_archive(folder_of(tmp_path / "raw", IN_A_FOLDER["zips"]()))) == FILES


def test_a_full_disk_is_noticed_before_it_is_full(tmp_path, monkeypatch):
    free = types.SimpleNamespace(f_bavail=regions.ROOM_TO_LEAVE + 100, f_frsize=1)
    monkeypatch.setattr(os, "fstatvfs", lambda descriptor: free)
    assert "and 268,435,556 are free in" in message(written(tmp_path, ONE_FILE["tar.gz"]()))


def test_an_archive_keeps_its_name_as_folder_unless_its_members_bring_it(tmp_path):
    files = {
        "train.zip": zip_bytes({"train/1.jpg": b"1", "train/2.jpg": b"2"}),
        "test.zip": zip_bytes({"1.jpg": b"1", "a/2.jpg": b"2"}),
        "p/more.zip": zip_bytes({"other.csv": b"3"}),
        "p/t.csv.zip": zip_bytes({"t.csv": b"4"}),
    }
    assert open_archive(folder_of(tmp_path / "raw", files)).names == [
        "p/more/other.csv", "p/t.csv", "test/1.jpg", "test/a/2.jpg", "train/1.jpg", "train/2.jpg",
    ]  # fmt: skip


def test_nesting_ends_after_two_levels(tmp_path):
    one = zip_bytes({"a.csv": b"a"})
    two = zip_bytes({"one.zip": one})
    three = zip_bytes({"two.zip": two})
    four = zip_bytes({"three.zip": three})
    assert open_archive(written(tmp_path, three)).names == ["two/one/a.csv"]
    assert "three.zip/two.zip/one.zip lies 3 archives deep; 2 are looked into" in message(written(tmp_path, four))


def test_a_folder_beside_its_archive_is_an_error_that_names_both(tmp_path):
    files = IN_A_FOLDER["zips"]() | parted(FILES)[0]["train"] | {"train/03.png": b"another"}
    said = message(folder_of(tmp_path / "raw", files))
    assert "12 members are there twice (11 of the same size), first 'train/00.png'" in said
    assert f"{tmp_path}/raw/train.zip/train/00.png" in said
    assert f"{tmp_path}/raw/train/00.png" in said
    assert "delete one of the two" in said


@pytest.mark.parametrize("other", ["zip", "tar", "partly unpacked"])
def test_a_folder_beside_its_archive_is_taken_once_where_all_bytes_are_equal(other, tmp_path):
    train = parted(FILES)[0]["train"]
    packed = {"train.tar": tar_bytes(train)} if other == "tar" else {"train.zip": zip_bytes(train)}
    rest = {name: content for name, content in FILES.items() if not name.startswith("train/")}
    beside = dict(list(train.items())[: 3 if other == "partly unpacked" else None])
    with open_archive(folder_of(tmp_path / "raw", rest | packed | beside)) as archive:
        assert {name: archive.read(name) for name in archive.names} == FILES
        assert f"{len(beside)} files are there twice, byte for byte, and are taken once" in archive.notes[0]


@pytest.mark.parametrize("fuller", ["neither", "outer", "inner"])
def test_a_folder_that_holds_a_copy_of_itself_counts_once(fuller, tmp_path):
    """As the Kaggle data sets of malaria cells, flowers and chest radiographs do."""
    once = {f"cells/{name}/{number}.png": f"{name}{number}".encode() for name in "ab" for number in range(3)}
    more = {"cells/notes.txt": b"one more"}
    kept = once | (more if fuller == "outer" else {})
    inner = {name.replace("cells/", "cells/cells/", 1): content for name, content in (once | more).items()}
    if fuller != "inner":
        del inner["cells/cells/notes.txt"]
    with open_archive(written(tmp_path, zip_bytes(kept | inner | {"about.txt": b"x"}))) as archive:
        assert {name: archive.read(name) for name in archive.names} == (inner if fuller == "inner" else kept) | {
            "about.txt": b"x"
        }
        assert archive.notes == ("cells/cells/ and cells/ hold the same 6 files, byte for byte, and are taken once",)


@pytest.mark.parametrize("name", ["data - Copy", "Copy of data", "data (1)", "data - Copy (2)"])
def test_a_copy_of_a_folder_beside_it_counts_once(name, tmp_path):
    files = {f"data/{part}/{number}.png": b"%d" % number for part in ("train", "test") for number in range(3)}
    beside = {f"{name}/{path.partition('/')[2]}": content for path, content in files.items()}
    with open_archive(written(tmp_path, zip_bytes(files | beside))) as archive:
        assert {path: archive.read(path) for path in archive.names} == files
        assert archive.notes == (f"{name}/ and data/ hold the same 6 files, byte for byte, and are taken once",)
    changed = beside | {f"{name}/test/2.png": b"3"}
    with open_archive(written(tmp_path, zip_bytes(files | changed))) as archive:
        assert len(archive.names) == 12


@pytest.mark.parametrize("two", [("train", "valid"), ("A", "B"), ("x", "y/x")])
def test_folders_with_the_same_bytes_that_are_not_called_alike_are_two(two, tmp_path):
    files = {f"{folder}/{number}.png": b"%d" % number for folder in two for number in range(3)}
    with open_archive(written(tmp_path, zip_bytes(files))) as archive:
        assert len(archive.names) == 6 and not archive.notes


@pytest.mark.parametrize("changed", ["a byte", "a file more on both sides", "nothing outside"])
def test_a_folder_in_one_of_its_name_with_other_files_is_no_copy(changed, tmp_path):
    files = {f"{folder}{number}.png": b"%d" % number for folder in ("cells/", "cells/cells/") for number in range(3)}
    if changed == "a byte":
        files["cells/cells/2.png"] = b"3"
    elif changed == "a file more on both sides":
        files |= {"cells/3.png": b"3", "cells/cells/4.png": b"4"}
    else:
        files = {name: content for name, content in files.items() if name.startswith("cells/cells/")}
    with open_archive(written(tmp_path, zip_bytes(files | {"about.txt": b"x"}))) as archive:
        assert sorted(archive.names) == sorted(files | {"about.txt": b"x"})
        assert not archive.notes


ESCAPES = ["../out.png", "/etc/out.png", "train/../../out.png", "C:/out.png", "a\\..\\b.png"]


@pytest.mark.parametrize("name", ESCAPES)
@pytest.mark.parametrize("pack", [zip_bytes, tar_bytes, lambda files: zip_bytes({"in.zip": zip_bytes(files)})])
def test_a_member_that_escapes_is_refused(pack, name, tmp_path):
    packed = pack({"a/train.csv": b"x", name: b"x"})
    assert f"member {name!r} would leave the archive's folder" in message(written(tmp_path, packed))


def zip_of(system, names):
    """A zip stamped by this system (0 for Windows, 3 for Unix), each file's content its name."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as handle:
        for name in names:
            info = zipfile.ZipInfo(name)
            info.create_system, info.filename = system, name
            handle.writestr(info, b"" if name.endswith("\\") else name.encode())
    return stream.getvalue()


WINDOWS, UNIX = 0, 3
SLASHED = {
    "Windows": (WINDOWS, ["train\\", "train\\1.png", "train\\훈련\\2.png", "train.csv"], "\\"),
    "Windows, both ways": (WINDOWS, ["test/9.png", "train\\1.png"], "\\"),
    "stamped Unix without a slash": (UNIX, ["train\\", "train\\1.png", "train.csv"], "\\"),
    "Unix": (UNIX, ["train/\\alpha/1.png", "train/\\alpha/a\\b.png", "train.csv"], "/"),
}


@pytest.mark.parametrize("kind", SLASHED)
def test_backslashes_part_folders_where_windows_wrote_the_zip(kind, tmp_path):
    system, names, separator = SLASHED[kind]
    files = {name.replace(separator, "/"): name.encode() for name in names if not name.endswith(separator)}
    with open_archive(written(tmp_path, zip_of(system, names))) as archive:
        assert contents(archive) == files


@pytest.mark.parametrize("name", ["..\\out.png", "train\\..\\..\\out.png", "\\out.png", "C:\\out.png"])
@pytest.mark.parametrize("system", [WINDOWS, UNIX])
def test_backslashes_that_escape_are_refused(system, name, tmp_path):
    said = message(written(tmp_path, zip_of(system, ["train\\1.png", name])))
    assert f"member {name.replace(chr(92), '/')!r} would leave the archive's folder" in said


def test_a_folder_with_backslashes_and_its_twin_with_slashes_are_two_members_of_one_name(tmp_path):
    said = message(written(tmp_path, zip_of(WINDOWS, ["train\\1.png", "train/1.png"])))
    assert "two members are called 'train/1.png'" in said


@pytest.mark.parametrize("name", ESCAPES)
def test_a_member_of_a_7z_that_escapes_is_refused(name, tmp_path, monkeypatch):
    packed = seven_zip_bytes(FILES)
    import py7zr

    listed = py7zr.SevenZipFile.list

    def renamed(handle):
        first, *rest = listed(handle)
        return [dataclasses.replace(first, filename=name), *rest]

    monkeypatch.setattr(py7zr.SevenZipFile, "list", renamed)  # py7zr itself writes no such name
    assert f"member {name!r} would leave the archive's folder" in message(written(tmp_path, packed))


def test_links_in_a_7z_are_refused(tmp_path):
    py7zr = pytest.importorskip("py7zr", reason="py7zr is an extra")
    (tmp_path / "link.png").symlink_to("raw.7z")
    with py7zr.SevenZipFile(tmp_path / "raw.7z", "w") as handle:
        handle.write(tmp_path / "link.png", "train/link.png")
        handle.writestr(b"x", "train.csv")
    assert "member 'train/link.png' is a link" in message(tmp_path / "raw.7z")


@pytest.mark.parametrize(
    ("kind", "reason"),
    [(tarfile.SYMTYPE, "is a link"), (tarfile.LNKTYPE, "is a link"), (tarfile.FIFOTYPE, "is a device or a pipe"),
     (tarfile.CHRTYPE, "is a device or a pipe"), (b"M", "is a device or a pipe")],
)  # fmt: skip
@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_links_and_devices_in_a_tar_are_refused(kind, reason, mode, tmp_path):
    packed = tar_bytes(FILES | {"train/odd.png": tar_member("train/odd.png", kind, "train/00.png")}, mode)
    assert f"member 'train/odd.png' {reason}" in message(written(tmp_path, packed))


@pytest.mark.parametrize(("mode", "reason"), [(0o120777, "is a link"), (0o010644, "is a device or a pipe")])
def test_links_and_pipes_in_a_zip_are_refused(mode, reason, tmp_path):
    odd = zipfile.ZipInfo("train/odd.png")
    odd.external_attr = mode << 16
    path = write_zip(tmp_path / "raw.zip", FILES)
    with zipfile.ZipFile(path, "a") as handle:
        handle.writestr(odd, "/etc/passwd")
    assert f"member 'train/odd.png' {reason}" in message(path)


def test_links_in_a_folder_may_stay_inside_and_not_leave(tmp_path):
    root = folder_of(tmp_path / "raw", FILES)
    (root / "train/inside.png").symlink_to(root / "train/00.png")
    assert open_archive(root).read("train/inside.png") == FILES["train/00.png"]
    (tmp_path / "secret").write_bytes(b"x")
    for target, reason in (
        ("../../secret", "leads outside"),
        ("gone.png", "is no file"),
        (root / "test", "is no file"),
    ):
        (root / "train/link.png").symlink_to(target)
        assert reason in message(root)
        (root / "train/link.png").unlink()
    os.mkfifo(root / "train/pipe.png")
    assert "'train/pipe.png' is a device or a pipe" in message(root)


def test_encrypted_members_are_refused(tmp_path):
    packed = bytearray(zip_bytes({"train.csv": b"secret"}))
    packed[packed.index(b"PK\x01\x02") + 8] |= 1
    assert "'train.csv' is encrypted; unpack it with its password" in message(written(tmp_path, packed))


@pytest.mark.parametrize("options", [{}, {"header_encryption": True}])
def test_an_encrypted_7z_is_refused(options, tmp_path):
    packed = seven_zip_bytes(FILES, password="x", **options)
    assert "is encrypted; unpack it with its password" in message(written(tmp_path, packed))


@pytest.mark.parametrize("second", ["train.csv", "./train.csv"])
def test_two_members_of_one_name_are_refused(second, tmp_path):
    twice = [tarfile.TarInfo("train.csv"), tarfile.TarInfo(second)]
    packed = tar_bytes({str(number): member for number, member in enumerate(twice)})
    assert "two members are called 'train.csv'" in message(written(tmp_path, packed))


def test_a_member_that_is_a_bomb_is_refused(tmp_path):
    said = message(written(tmp_path, zip_bytes({"train.csv": bytes(8 << 20)})))
    assert "'train.csv' unpacks from" in said
    assert "decompression bomb" in said


def test_a_sample_submission_of_many_equal_columns_is_no_bomb(tmp_path):
    table = b"".join(b"%032x" % (number * 2654435761) + b",0.001" * 1000 + b"\n" for number in range(300))
    packed = zip_bytes({"sample_submission.csv": table})
    assert len(table) > 200 * len(packed)
    assert open_archive(written(tmp_path, packed)).read("sample_submission.csv") == table


@pytest.mark.parametrize("kind", ["gz", "bz2", "xz"])
def test_a_stream_that_is_a_bomb_is_stopped_while_it_is_unpacked(kind, tmp_path, monkeypatch):
    monkeypatch.setattr(regions, "SMALL_TOTAL_BYTES", 3 << 20)
    pieces = []
    write = regions.Region.write
    monkeypatch.setattr(regions.Region, "write", lambda *args: (pieces.append(len(args[2])), write(*args)))
    packed = COMPRESS[kind](tar_bytes({"train.csv": bytes(20 << 20)}))
    assert "to more than" in message(written(tmp_path, packed))
    assert sum(pieces) <= max(3 << 20, regions.MAX_TOTAL_RATIO * len(packed))


def test_members_that_are_a_bomb_together_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(regions, "SMALL_TOTAL_BYTES", 1 << 20)
    monkeypatch.setattr(regions, "MAX_TOTAL_RATIO", 20)
    files = {f"{number}.csv": bytes(1 << 16) for number in range(40)}
    assert "decompression bomb" in message(written(tmp_path, zip_bytes(files)))


def test_a_bomb_of_bombs_is_stopped_by_the_sum(tmp_path, monkeypatch):
    monkeypatch.setattr(regions, "SMALL_TOTAL_BYTES", 1 << 16)
    monkeypatch.setattr(regions, "MAX_TOTAL_RATIO", 8)
    table = b"".join(b"%06d,%s\n" % (number, b"a" * 24) for number in range(8000))
    inner = gzip.compress(table)
    packed = bz2.compress(tar_bytes({f"{number}.csv.gz": inner for number in range(9)}))
    said = message(written(tmp_path, packed))
    assert "decompression bomb" in said


def test_a_wrong_length_or_checksum_is_told_when_it_is_read(tmp_path):
    packed = bytearray(zip_bytes(FILES, zipfile.ZIP_STORED))
    packed[packed.index(FILES["train/03.png"]) + 5] ^= 1
    archive = open_archive(written(tmp_path, packed))
    assert archive.read("train/02.png") == FILES["train/02.png"]
    with pytest.raises(OSError, match=r"member train/03.png cannot be read: .*download it again"):
        archive.read("train/03.png")


def test_a_member_of_more_bytes_than_noted_does_not_fill_the_memory(tmp_path):
    packed = bytearray(zip_bytes({"a.png": bytes(32 << 20)}))
    at = packed.rindex(b"PK\1\2") + 24
    packed[at : at + 4] = struct.pack("<I", 1000)
    with open_archive(written(tmp_path, packed)) as archive:
        tracemalloc.start()
        with pytest.raises(OSError, match=r"a\.png cannot be read: Bad CRC-32"):
            archive.read("a.png")
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 1 << 20


@pytest.mark.parametrize("before", [b"", b"#!/bin/sh\n" * 9])
@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("comment", [b"", b"by the organiser" * 99])
def test_a_zip_may_have_a_program_in_front_a_comment_and_a_wide_directory(before, wide, comment, tmp_path, monkeypatch):
    if wide:
        monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 2)  # more files than this, and zipfile writes zip64's end
    stream = io.BytesIO(zip_bytes(FILES))
    with zipfile.ZipFile(stream, "a") as handle:
        handle.comment = comment
        handle.writestr("one more.csv", b"id,label\n")
    packed = stream.getvalue()
    assert (b"PK\6\6" in packed) == wide
    assert contents(open_archive(written(tmp_path, before + packed))) == FILES | {"one more.csv": b"id,label\n"}


@pytest.mark.parametrize("at", ["directory", "length", "offset"])
def test_a_zips_damaged_directory_is_told(at, tmp_path):
    packed = bytearray(zip_bytes(FILES))
    end = packed.rindex(b"PK\5\6")
    place = {"directory": packed.rindex(b"PK\1\2"), "length": end + 12, "offset": end + 16}[at]
    packed[place : place + 4] = b"\x7f\x7f\x7f\x7f"
    said = message(written(tmp_path, packed))
    assert re.search(r"is a broken zip|lies outside the file, as its directory says", said)
    assert "download it again" in said


def unflagged_zip(names):
    """A zip whose names are these bytes, without the flag that says UTF-8."""
    stand_ins = {f"{number:03d}".ljust(len(name), "_"): name for number, name in enumerate(names)}
    packed = zip_bytes(dict.fromkeys(stand_ins, b"x"))
    for stand_in, name in stand_ins.items():
        assert len(stand_in) == len(name)
        packed = packed.replace(stand_in.encode(), name)
    return packed


@pytest.mark.parametrize(
    ("encoding", "names"),
    [
        ("cp949", ["훈련/고양이 사진.png", "훈련/똠방각하.png", "plain.csv"]),
        ("utf-8", ["훈련/고양이.png", "naïve.png"]),
        ("cp949", ["쇠/1.png", "뼈/사과.png"]),
        ("gb18030", ["苹果/1.png", "香蕉/2.png", "葡萄/3.png"]),
        ("gb18030", ["健康/1.png", "病害/2.png"]),
        ("shift_jis", ["正常/1.png", "異常/2.png", "plain.csv"]),
        ("big5", ["貓/1.png", "狗/2.png"]),
        ("cp866", ["кошка/1.png", "собака/2.png"]),
        ("cp437", ["piñata.png", "Äpfel.png"]),
        ("cp437", ["général.png", "Größe.png", "niño.png", "très.csv"]),
    ],
)
def test_names_in_a_zip_without_flag(encoding, names, tmp_path):
    archive = open_archive(written(tmp_path, unflagged_zip([name.encode(encoding) for name in names])))
    assert archive.names == sorted(names)
    assert archive.guessed.keys() == {encoding} - {"utf-8"}


def test_few_names_that_may_be_chinese_or_korean_stop(tmp_path):
    said = message(written(tmp_path, unflagged_zip([name.encode("gbk") for name in ("猫/1.png", "狗/2.png")])))
    assert "may be Chinese (" in said and "unzip -O gb18030" in said


def test_names_in_a_tar_are_utf8_or_korean_or_an_error(tmp_path):
    for encoding in ("utf-8", "cp949"):
        names = ["훈련.csv", "훈련/고양이.png"]
        packed = tar_bytes(dict.fromkeys(names, b"x"), format=tarfile.GNU_FORMAT, encoding=encoding)
        assert open_archive(written(tmp_path, packed)).names == names
    packed = tar_bytes({"gr\xf6\xdfe.png": b"x"}, format=tarfile.GNU_FORMAT, encoding="latin-1")
    assert "1 names are in no encoding that is known here, first [b'gr\\xf6\\xdfe.png']" in message(
        written(tmp_path, packed)
    )


@pytest.mark.parametrize("keep", [0.03, 0.3, 0.6, 0.9, 0.99])
@pytest.mark.parametrize(
    "kind", ["zip stored", "zip deflated", "tar", "tar.gz", "tar.bz2", "tar.xz", "7z", "zips in a deflated zip"]
)
def test_an_archive_that_is_cut_off_says_so(kind, keep, tmp_path):
    whole = ONE_FILE[kind]()
    if kind == "tar":
        whole = whole[: tar_end(whole)]
    path = written(tmp_path, whole[: int(keep * len(whole))])
    said = message(path)
    assert str(path) in said
    assert "download it again" in said


def tar_end(packed):
    """Where the zeros after the last member begin."""
    with tarfile.open(fileobj=io.BytesIO(packed)) as handle:
        handle.getmembers()
        return handle.offset


def test_a_zip_cut_behind_a_zip_inside_it_is_not_taken_for_that_zip(tmp_path):
    whole = ONE_FILE["zips stored in a stored zip"]()
    for following in (b"test.zip", b"train.csv.zip", b"sample_submission.csv"):
        cut = whole.index(following) - 30
        said = message(written(tmp_path, whole[:cut]))
        assert "is a zip that is cut off: the end that is there belongs to a zip inside it" in said


@pytest.mark.parametrize("cut", [0, 1, 512, 513])
def test_a_tar_cut_between_members_says_so(cut, tmp_path):
    packed = tar_bytes(FILES)
    assert "download it again" in message(written(tmp_path, packed[: tar_end(packed) - cut]))


def test_an_inner_archive_that_is_cut_off_is_named(tmp_path):
    files = IN_A_FOLDER["zips"]()
    files["test.zip"] = files["test.zip"][:-40]
    said = message(folder_of(tmp_path / "raw", files))
    assert f"{tmp_path}/raw/test.zip is a zip without its end" in said


def test_a_damaged_header_in_a_tar_is_no_end(tmp_path):
    packed = bytearray(tar_bytes(FILES))
    with tarfile.open(fileobj=io.BytesIO(packed)) as handle:
        start = handle.getmember("train/05.png").offset
    packed[start + 3] ^= 1
    assert f"damaged header at byte {start:,}; download it again" in message(written(tmp_path, packed))


@pytest.mark.parametrize(
    "name", ["train.zip.001", "train.zip.002", "train.z01", "train.7z.001", "train.tar.gz.aa", "train.part1.rar"]
)
def test_archives_in_parts_say_how_to_join_them(name, tmp_path):
    for path in (written(tmp_path, b"x", name), folder_of(tmp_path / "raw", {name: b"x", "train.csv": b"x"})):
        said = message(path)
        assert f"{name} is one part of an archive in several files" in said
        assert "cat " in said
        assert "7z x" in said


def test_the_last_part_of_a_split_zip_says_so(tmp_path):
    packed = bytearray(zip_bytes(FILES))
    packed[-18:-16] = struct.pack("<H", 3)
    assert "is the last part of a zip in several files" in message(written(tmp_path, packed))


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"Rar!\x1a\x07\x00 and so on", "is a RAR archive, which is not read (17 bytes)"),
        (b"<html>404</html>", "is neither a zip nor a folder (16 bytes), nor a tar or 7z"),
        (b"", "is neither a zip nor a folder (0 bytes)"),
    ],
)
def test_what_is_no_archive_says_what_it_found(content, found, tmp_path):
    assert found in message(written(tmp_path, content))
    assert found in message(folder_of(tmp_path / "raw", {"train.zip": content, "train.csv": b"x"}))


@pytest.mark.parametrize("pack", [zip_bytes, tar_bytes])
def test_an_empty_archive_says_so(pack, tmp_path):
    packed = pack({"__MACOSX/x": b"?"})
    assert "is empty: no file in it" in message(written(tmp_path, packed))
    assert "train.zip is empty: no file in it" in message(folder_of(tmp_path / "raw", {"train.zip": packed}))


def test_7z_without_the_extra_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "py7zr", None)
    packed = b"7z\xbc\xaf\x27\x1c" + bytes(26)
    assert (
        f"is a 7z archive; pip install {containers.PY7ZR} (requirements-extra.txt) or unpack it and give the folder"
        in message(written(tmp_path, packed))
    )
    assert containers.PY7ZR in (ROOT / "requirements-extra.txt").read_text().splitlines()


def test_stems():
    stems = {
        "p/train.zip": "train", "a.b.tar.gz": "a.b", "TRAIN.TGZ": "TRAIN", "t.csv.xz": "t.csv", "train.gz": "train",
        "scan.nii.gz": None, "1.jpg": None, ".zip": None, "zip": None,
    }  # fmt: skip
    assert {name: members.archive_stem(name) for name in stems} == stems


def test_an_address_is_answered_with_what_brings_the_archive_here():
    with pytest.raises(
        ValueError, match=r"s3:/bucket/raw\.zip, which does not exist; .* `dvc import-url ADDRESS FILE`"
    ):
        open_archive(Path("s3://bucket/raw.zip"))
