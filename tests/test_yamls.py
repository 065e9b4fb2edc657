"""What is written into params.yaml is what every reader finds there: ours, DVC, and those of YAML 1.1."""

import pytest
import yaml as yaml11
from conftest import ROOT
from dvc.utils.serialize import parse_yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.base.params import SECTIONS, CompetitionParams, load_section
from pipeline.base.yamls import read_yaml, rewritten
from pipeline.commands.inspection import write_settings

SHIPPED = (ROOT / "params.yaml").read_text()
ODD = [
    "yes", "No", "on", "OFF", "y", "1e3", "null", "~", "0o7", "0x1F", "1_000", "12:30:00", "2020-01-01", "=", "<<", "", " ",
    " a ", "a\n", "\na", "a\nb\n\n c", "\x85", "a\u2028b", "\u2029", "\ufeffa", "\t", "a\r\nb", "- a", "? a", ": a", "a: b",
    "a #b", "#", "&a", "*a", "!a", "%a", "@a", "`a", "|", ">", "{a}", "train/{id}.jpg", "[a, b]", "'", '"', "\\", "---",
    "...", ".inf", ".", "1.", "+1", "007", "0", "False", "수달", "\U0001f600", "\x07", "a" * 3000, "ab " * 2000, "$\\frac{$",
]  # fmt: skip
TEXTS = st.sampled_from(ODD) | st.text(max_size=40)


def same_everywhere(text, key, value):
    for found in (read_yaml(text), parse_yaml(text, "params.yaml"), yaml11.safe_load(text)):
        assert found["competition"][key] == value, text[:3000]


@pytest.mark.parametrize("text", ODD, ids=range(len(ODD)))
def test_every_odd_text_comes_back_from_every_reader(text):
    for value in (text, [text], [text, "a", text]):
        same_everywhere(rewritten(SHIPPED, {"competition": {"label": value}}), "label", value)


COMMENTS = [line.rpartition("# ")[2] for line in SHIPPED.splitlines() if "# " in line]


@pytest.mark.slow
@settings(max_examples=100, deadline=None, derandomize=True, database=None)
@given(TEXTS, TEXTS, st.lists(TEXTS, min_size=1, max_size=4))
@example("No", "yes", ["on", "No"])
def test_any_text_comes_back_and_nothing_else_changes(raw, positive, label):
    changes = {"competition": {"raw": raw, "positive": positive, "label": label}}
    text = rewritten(SHIPPED, changes)
    for key, value in changes["competition"].items():
        same_everywhere(text, key, value)
    ends = [line for line in text.split("\n") if line.endswith(tuple(f"# {comment}" for comment in COMMENTS))]
    assert [line.rpartition("# ")[2] for line in ends] == COMMENTS
    before, after = read_yaml(SHIPPED), read_yaml(text)
    assert list(after) == list(before) and list(after["competition"]) == list(before["competition"])
    assert after | {"competition": 0} == before | {"competition": 0}
    assert rewritten(text, changes) == text


@pytest.mark.parametrize(
    ("override", "section", "key", "value"),
    [
        ("model.options=['drop_rate=0.2','cfg={size: 3}']", "model", "options", ("drop_rate=0.2", "cfg={size: 3}")),
        ("images.side=16", "images", "side", 16),
        ("train.peak_lr=1e-3", "train", "peak_lr", 0.001),
        ("competition.label=No", "competition", "label", "No"),
        ("competition.positive='1e3'", "competition", "positive", "1e3"),
    ],
)
def test_what_an_experiment_sets_is_what_a_stage_reads(tmp_path, override, section, key, value):
    """`dvc exp run -S`, without the run."""
    from dvc.utils.hydra import apply_overrides

    path = tmp_path / "params.yaml"
    path.write_text(SHIPPED)
    apply_overrides(str(path), [override])
    assert getattr(load_section(path, section, SECTIONS[section]), key) == value


@pytest.mark.parametrize("text", ["No", "1e3", "null", "2020-01-01", " a\n"])
def test_what_inspect_writes_is_what_ingest_reads(text, tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text(SHIPPED)
    write_settings(path, tmp_path / "raw.zip", {"label": [text, "b"], "positive": text})
    found = load_section(path, "competition", CompetitionParams)
    assert (found.label, found.positive, found.raw) == ((text, "b"), text, str(tmp_path / "raw.zip"))
