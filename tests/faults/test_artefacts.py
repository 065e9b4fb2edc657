"""A file between two stages that is cut short, altered or another's: the next stage finds it and names the way out."""

import json

import pytest
import torch
from damage import (
    a_class_less,
    a_row_less,
    binary,
    changed_probs,
    doubled,
    drop_a_cell,
    drop_a_line,
    empty,
    flat,
    flip,
    json_list,
    not_utf8,
    nul,
    objects,
    other_cell,
    other_dtype,
    other_ids,
    other_key,
    other_label,
    reversed_rows,
    texts,
    truncate,
    with_inf,
    with_nan,
    without_key,
)
from refusals import copy_of, refusal
from safetensors.torch import load_file, save_file

from pipeline.base.files import sha256_of

DECODE_TRAIN, DECODE_TEST = "-f decode_train`", "-f decode_test`"
INGEST, TRAIN, INFER, EVALUATE = "-f ingest`", "-f -s train@0`", "-f -s infer@0`", "-f -s evaluate`"
TRAIN_STORE, TEST_STORE = "data/images/train.npy", "data/images/test.npy"
TARGET, SCHEMA, TABLE, COLUMNS = (
    f"data/competition/{name}" for name in ("target.json", "schema.json", "train.csv", "train_columns.csv")
)
GROUPS, DESCRIPTION, SEEN = "data/groups.csv", "data/images/train.json", "data/images/test.csv"
TEST_TABLE, SAMPLE = "data/competition/test.csv", "data/competition/sample_submission.csv"
FOLDS, WEIGHTS, CARD = "data/folds.csv", "data/models/0.safetensors", "data/models/0.json"
OOF, HISTORY, TEST, DECISION = "data/oof/0.npz", "data/history/0.csv", "data/test/0.npz", "data/report/decision.json"

# (file, damage, the stage that must notice, what its message says beside the file's name)
DAMAGE = [
    (TRAIN_STORE, truncate, "train", DECODE_TRAIN),
    (TRAIN_STORE, empty, "train", DECODE_TRAIN),
    (TRAIN_STORE, flip, "train", DECODE_TRAIN),
    (TRAIN_STORE, other_dtype, "train", DECODE_TRAIN),
    (TRAIN_STORE, objects, "train", DECODE_TRAIN),
    (TRAIN_STORE, truncate, "evaluate", DECODE_TRAIN),
    (TRAIN_STORE, flip, "evaluate", DECODE_TRAIN),
    (TEST_STORE, truncate, "infer", DECODE_TEST),
    (TEST_STORE, flip, "infer", DECODE_TEST),
    (TEST_STORE, objects, "infer", DECODE_TEST),
    (DESCRIPTION, truncate, "train", DECODE_TRAIN),
    (DESCRIPTION, other_key("size", "12"), "evaluate", DECODE_TRAIN),
    (SEEN, truncate, "infer", DECODE_TEST),
    (SEEN, drop_a_line, "infer", "-f ingest decode_test`"),
    (SEEN, drop_a_line, "submit", "-f ingest decode_test`"),
    (GROUPS, drop_a_cell, "split", "-f audit`"),
    (GROUPS, drop_a_line, "split", "-f ingest audit`"),
    (GROUPS, other_cell("image_id", "9"), "split", "-f ingest audit`"),
    (TARGET, truncate, "split", INGEST),
    (TARGET, empty, "train", INGEST),
    (TARGET, json_list, "train", INGEST),
    (TARGET, not_utf8, "infer", INGEST),
    (SCHEMA, other_key("target", None), "evaluate", INGEST),
    (TARGET, other_key("kind", "other"), "train", INGEST),
    (SCHEMA, truncate, "submit", INGEST),
    (SCHEMA, other_key("target", {"kind": "other", "columns": [], "classes": []}), "submit", INGEST),
    (TABLE, truncate, "split", "-f ingest audit`"),
    (TABLE, drop_a_cell, "train", INGEST),
    (TABLE, empty, "train", INGEST),
    (TABLE, not_utf8, "train", INGEST),
    (TABLE, drop_a_line, "evaluate", "dvc repro"),
    (TABLE, other_label, "train", INGEST),
    (COLUMNS, drop_a_line, "split", INGEST),
    (COLUMNS, not_utf8, "split", INGEST),
    (TEST_TABLE, drop_a_line, "infer", "-f ingest decode_test`"),
    (TEST_TABLE, drop_a_line, "submit", "dvc repro"),
    (TEST_TABLE, binary, "infer", INGEST),
    (FOLDS, truncate, "train", "-f split`"),
    (FOLDS, drop_a_line, "train", "-f split`"),
    (FOLDS, empty, "evaluate", "-f split`"),
    (FOLDS, nul, "train", "-f split`"),
    (FOLDS, other_cell("fold", "9"), "evaluate", "-f split`"),
    (FOLDS, other_cell("image_id", "9"), "train", "-f split`"),
    (WEIGHTS, truncate, "infer", TRAIN),
    (WEIGHTS, flip, "infer", TRAIN),
    (WEIGHTS, empty, "infer", TRAIN),
    (CARD, truncate, "infer", TRAIN),
    (CARD, json_list, "infer", TRAIN),
    (CARD, other_key("mean", 3), "infer", TRAIN),
    (OOF, truncate, "evaluate", TRAIN),
    (OOF, empty, "evaluate", TRAIN),
    (OOF, flip, "evaluate", TRAIN),
    (OOF, objects, "evaluate", TRAIN),
    (OOF, changed_probs(with_nan), "evaluate", TRAIN),
    (OOF, changed_probs(with_inf), "evaluate", TRAIN),
    (OOF, changed_probs(doubled), "evaluate", TRAIN),
    (OOF, changed_probs(a_row_less), "evaluate", TRAIN),
    (OOF, changed_probs(a_class_less), "evaluate", TRAIN),
    (OOF, changed_probs(flat), "evaluate", TRAIN),
    (OOF, changed_probs(texts), "evaluate", TRAIN),
    (OOF, changed_probs(other_ids), "evaluate", TRAIN),
    (HISTORY, truncate, "evaluate", TRAIN),
    (HISTORY, empty, "evaluate", TRAIN),
    (HISTORY, other_cell("train_loss", "many"), "evaluate", TRAIN),
    (HISTORY, other_cell("epoch", "1.5"), "evaluate", TRAIN),
    (TEST, truncate, "submit", INFER),
    (TEST, empty, "submit", INFER),
    (TEST, objects, "submit", INFER),
    (TEST, changed_probs(with_nan), "submit", INFER),
    (TEST, changed_probs(a_row_less), "submit", INFER),
    (TEST, changed_probs(a_class_less), "submit", INFER),
    (TEST, changed_probs(reversed_rows), "submit", INFER),
    (DECISION, truncate, "submit", EVALUATE),
    (DECISION, json_list, "submit", EVALUATE),
    (DECISION, other_key("cuts", [0.5]), "submit", EVALUATE),
    ("data/report/scores.json", truncate, "submit", EVALUATE),
    ("data/report/per_class.csv", truncate, "submit", EVALUATE),
    ("data/report/per_class.csv", other_cell("predicted", "x"), "submit", EVALUATE),
    (SAMPLE, truncate, "submit", INGEST),
    ("data/report/audit.json", json_list, "report", "-f audit`"),
    ("data/report/audit.json", without_key("galleries"), "report", "-f audit`"),
    ("data/report/curves.csv", truncate, "report", EVALUATE),
    ("data/competition/recognised.json", truncate, "report", INGEST),
    ("submissions/receipt.json", without_key("params"), "report", "-s submit`"),
    ("data/report/nearest.csv", truncate, "report", "-f -s neighbours`"),
    ("data/report/neighbours.json", without_key("findings"), "report", "-f -s neighbours`"),
    (CARD, json_list, "report", TRAIN),
    (SAMPLE, empty, "submit", INGEST),
    (SAMPLE, not_utf8, "submit", INGEST),
]


def name_of(case):
    path, damage, stage, _ = case
    spoil = damage.__qualname__ if "<locals>" not in damage.__qualname__ else damage.__closure__[0].cell_contents
    how = getattr(spoil, "__name__", str(spoil))
    return f"{path.removeprefix('data/')} {how} {stage}"


@pytest.mark.parametrize("case", DAMAGE, ids=name_of)
def test_damage_is_found_by_the_stage_that_reads_it(finished, tmp_path, capsys, monkeypatch, case):
    path, damage, stage, said = case
    place = copy_of(finished, tmp_path)
    damage(place.path(path))
    place.save()
    message = refusal(place, stage, capsys, monkeypatch, key="0")
    assert path in message and said in message, message
    assert message.count("dvc repro") == 1, message


def foreign(finished, tmp_path, change, **card):
    """Weights altered by `change`, and a card that fits them but for `card`."""
    place = copy_of(finished, tmp_path)
    weights = place.path(WEIGHTS)
    state = load_file(weights)
    change(state)
    save_file(state, weights)
    found = json.loads(place.path(CARD).read_text()) | {"weights_sha256": sha256_of(weights)} | card
    place.path(CARD).write_text(json.dumps(found))
    place.save()
    return place


def nothing(state):
    pass


def spoilt_by(value):
    def spoil(state):
        state["head.weight"].view(-1)[0] = value

    return spoil


def without_head(state):
    del state["head.weight"]


def with_more(state):
    state["more.weight"] = torch.zeros(3)


def wider_head(state):
    state["head.weight"] = torch.zeros(7, state["head.weight"].shape[1])


# name -> (change of the weights, change of the card, texts of the message)
FOREIGN = {
    "NaN weights": (spoilt_by(float("nan")), {}, ["1 tensors hold NaN or inf, first ['head.weight']"]),
    "infinite weights": (spoilt_by(float("inf")), {}, ["1 tensors hold NaN or inf, first ['head.weight']"]),
    "a tensor missing": (without_head, {}, ["does not fit resnet9", "head.weight", "data/models/0.json"]),
    "a tensor too many": (with_more, {}, ["does not fit resnet9", "more.weight"]),
    "another shape": (wider_head, {}, ["does not fit resnet9", "7", "3"]),
    "another width": (nothing, {"options": {"width": 16}}, ["does not fit resnet9"]),
    "another architecture": (nothing, {"architecture": "resnet10t", "options": {}}, ["does not fit resnet10t"]),
    "an architecture nobody knows": (nothing, {"architecture": "no_such"}, ["no_such"]),
    "other classes": (
        nothing, {"classes": ["a", "b", "c"]}, ["was trained on", "'a', 'b', 'c'", "'a cat', 'bird', 'dog, large'"],
    ),
    "another target": (nothing, {"target_kind": "multi_label"}, ["multi_label", "single_label"]),
    "another image size": (nothing, {"image_size": 99}, ["at 99 px", "at 12 px"]),
    "another version": (nothing, {"version": 99}, ["is not a model.json of this version", "99"]),
    "a mean of text": (nothing, {"mean": ["a", "b", "c"]}, ["is not a model.json of this version"]),
    "options that no model takes": (nothing, {"architecture": "resnet10t", "options": {"no_such": 1}}, ["no_such"]),
}  # fmt: skip


@pytest.mark.parametrize("name", FOREIGN)
def test_a_foreign_checkpoint_is_refused_with_both_sides(finished, tmp_path, capsys, monkeypatch, name):
    change, card, said = FOREIGN[name]
    place = foreign(finished, tmp_path, change, **card)
    message = refusal(place, "infer", capsys, monkeypatch, key="0")
    assert all(text in message for text in said), message
