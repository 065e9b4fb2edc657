"""What can happen to a file between two stages: functions that spoil the file at a path."""

import json

import numpy as np

from pipeline.base.files import read_arrays, write_arrays


def truncate(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path):
    path.write_bytes(b"")


def flip(path):
    content = bytearray(path.read_bytes())
    content[-9] ^= 1
    path.write_bytes(content)


def drop_a_line(path):
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))


def drop_a_cell(path):
    path.write_text(path.read_text().rstrip("\n").rpartition(",")[0] + "\n")


def not_utf8(path):
    path.write_bytes(path.read_bytes()[:-4] + b"\xff\xfe\n")


def nul(path):
    path.write_bytes(path.read_bytes()[:-4] + b"\0\0\n")


def binary(path):
    path.write_bytes(bytes(range(256)))


def json_list(path):
    path.write_text("[]")


def other_dtype(path):
    np.save(path, np.load(path).astype(np.int16))


def other_label(path):
    path.write_text(path.read_text().replace("bird", "wolf"))


def objects(path):
    """As numpy pickles them."""
    if path.suffix == ".npy":
        np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    else:
        stored = read_arrays(path, ("image_ids", "probs"))
        np.savez(path, allow_pickle=True, image_ids=stored["image_ids"].astype(object), probs=stored["probs"])


def changed_probs(change):
    def spoil(path):
        stored = read_arrays(path, ("image_ids", "probs"))
        write_arrays(path, change(stored["image_ids"], stored["probs"]))

    return spoil


def with_nan(image_ids, probs):
    probs[3, 0] = np.nan
    return {"image_ids": image_ids, "probs": probs}


def with_inf(image_ids, probs):
    probs[0] = np.inf
    return {"image_ids": image_ids, "probs": probs}


def doubled(image_ids, probs):
    return {"image_ids": image_ids, "probs": 2 * probs}


def a_row_less(image_ids, probs):
    return {"image_ids": image_ids[1:], "probs": probs[1:]}


def a_class_less(image_ids, probs):
    return {"image_ids": image_ids, "probs": probs[:, 1:]}


def flat(image_ids, probs):
    return {"image_ids": image_ids, "probs": probs[:, 0]}


def texts(image_ids, probs):
    return {"image_ids": image_ids, "probs": probs.astype(str)}


def reversed_rows(image_ids, probs):
    return {"image_ids": image_ids[::-1].copy(), "probs": probs}


def other_ids(image_ids, probs):
    return {"image_ids": np.arange(len(image_ids)), "probs": probs}


def other_cell(column, value):
    """The first row's cell of a CSV."""

    def spoil(path):
        header, first, *rest = path.read_text().splitlines()
        cells = first.split(",")
        cells[header.split(",").index(column)] = value
        path.write_text("\n".join([header, ",".join(cells), *rest]) + "\n")

    return spoil


def without_key(key):
    def spoil(path):
        found = json.loads(path.read_text())
        del found[key]
        path.write_text(json.dumps(found))

    return spoil


def other_key(key, value):
    def spoil(path):
        path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))

    return spoil
