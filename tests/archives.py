"""The files of a small competition, packed in every way that is read."""

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile

import numpy as np
import pytest

NOISE = np.random.default_rng(0)
FILES = {
    **{f"train/{number:02d}.png": NOISE.bytes(900 + 37 * number) for number in range(12)},
    **{f"test/9{number}.png": NOISE.bytes(700 + number) for number in range(5)},
    "test/empty.png": b"",
    "train.csv": b"id,label\n" + b"".join(b"%02d,bird\n" % number for number in range(12)),
    "sample_submission.csv": b"id,label\n90,bird\n",
}
JUNK = {"__MACOSX/._train.zip": b"?", ".DS_Store": b"?", "train/._00.png": b"?", "test/Thumbs.db": b"?"}
COMPRESS = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}


def zip_bytes(files, method=zipfile.ZIP_DEFLATED):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as handle:
        for name, content in files.items():
            handle.writestr(name, content)
    return stream.getvalue()


def tar_bytes(files, mode="w", **options):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=mode, **options) as handle:
        for name, content in files.items():
            member = content if isinstance(content, tarfile.TarInfo) else tarfile.TarInfo(name)
            if content is not member:
                member.size = len(content)
            handle.addfile(member, None if content is member else io.BytesIO(content))
    return stream.getvalue()


def tar_member(name, kind, target=""):
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member


def seven_zip_bytes(files, **options):
    py7zr = pytest.importorskip("py7zr", reason="py7zr is an extra")
    stream = io.BytesIO()
    with py7zr.SevenZipFile(stream, "w", **options) as handle:
        for name, content in files.items():
            handle.writestr(content, name)
    return stream.getvalue()


def parted(files):
    """As Kaggle packs it: the folders and the tables each in an archive of their own."""
    folders = {
        part: {name: content for name, content in files.items() if name.startswith(part + "/")}
        for part in ("train", "test")
    }
    return folders, {name: content for name, content in files.items() if "/" not in name}


def nested(method_inside, method_outside):
    folders, tables = parted(FILES)
    packed = {f"{part}.zip": zip_bytes(held, method_inside) for part, held in folders.items()}
    packed["train.csv.zip"] = zip_bytes({"train.csv": tables["train.csv"]})
    packed["sample_submission.csv"] = tables["sample_submission.csv"]
    return zip_bytes(packed, method_outside)


def bare(part):
    """The files of a part under their own names, without the folder around them."""
    return {name.removeprefix(part + "/"): content for name, content in parted(FILES)[0][part].items()}


def three_tars():
    train, test = parted(FILES)[0].values()
    tables = {f"{name}.{kind}": COMPRESS[kind](FILES[name])
              for name, kind in (("train.csv", "gz"), ("sample_submission.csv", "xz"))}  # fmt: skip
    return tar_bytes({"train.tar.bz2": tar_bytes(train, "w:bz2"), "test.tar": tar_bytes(test)} | tables)


ONE_FILE = {
    "zip stored": lambda: zip_bytes(FILES, zipfile.ZIP_STORED),
    "zip deflated": lambda: zip_bytes(FILES),
    "zip bzip2": lambda: zip_bytes(FILES, zipfile.ZIP_BZIP2),
    "zip lzma": lambda: zip_bytes(FILES, zipfile.ZIP_LZMA),
    "zip with a program in front": lambda: b"#!/bin/sh\n" * 9 + zip_bytes(FILES),
    "tar": lambda: tar_bytes(FILES),
    "tar gnu": lambda: tar_bytes(FILES, format=tarfile.GNU_FORMAT),
    "tar with ./": lambda: tar_bytes({f"./{name}": content for name, content in FILES.items()}),
    "tar.gz": lambda: tar_bytes(FILES, "w:gz"),
    "tar.bz2": lambda: tar_bytes(FILES, "w:bz2"),
    "tar.xz": lambda: tar_bytes(FILES, "w:xz"),
    "7z": lambda: seven_zip_bytes(FILES),
    "zips stored in a stored zip": lambda: nested(zipfile.ZIP_STORED, zipfile.ZIP_STORED),
    "zips deflated in a stored zip": lambda: nested(zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED),
    "zips stored in a deflated zip": lambda: nested(zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED),
    "zips in a deflated zip": lambda: nested(zipfile.ZIP_DEFLATED, zipfile.ZIP_DEFLATED),
    "zips in a tar.gz": lambda: tar_bytes({"comp.zip": nested(zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED)}, "w:gz"),
    "tars and tables in a tar": three_tars,
    "a folder around and junk": lambda: zip_bytes({f"my comp/{n}": c for n, c in (FILES | JUNK).items()} | JUNK),
    "junk in a tar": lambda: tar_bytes(FILES | JUNK),
}  # fmt: skip
