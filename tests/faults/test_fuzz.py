"""Random and mutated input: whatever comes, ValueError or OSError (one message for the user) or a sound result.

The slow versions are the same properties with more examples.
"""

import io
import tempfile
from pathlib import Path

import pytest
import yaml
from archives import ONE_FILE
from conftest import ROOT
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_images import smooth
from made_submissions import KINDS, made

from pipeline.archive.archive import open_archive
from pipeline.base import params
from pipeline.images.decode import FORMATS, decode_image
from pipeline.submission.contract import check_submission, refuse
from pipeline.tables.table_files import read_tables

SECTIONS = {
    "competition": params.CompetitionParams, "images": params.ImagesParams, "split": params.SplitParams,
    "model": params.ModelParams, "augment": params.AugmentParams, "train": params.TrainParams,
    "compute": params.ComputeParams, "infer": params.InferParams,
}  # fmt: skip
SHIPPED = yaml.safe_load((ROOT / "params.yaml").read_text())
ARCHIVES = {name: ONE_FILE[name] for name in ("zip stored", "zip deflated", "zip bzip2", "zip lzma", "tar", "tar gnu",
                                              "tar.gz", "tar.xz", "zips in a deflated zip", "tars and tables in a tar")}  # fmt: skip


def sometimes(examples):
    """`examples` of a property in the fast tests, fifteen times as many where it is slow."""

    def of(test):
        return settings(
            max_examples=examples, deadline=None, derandomize=True, database=None,
            suppress_health_check=list(HealthCheck),
        )(test)  # fmt: skip

    return of


def image_bytes(kind):
    stream = io.BytesIO()
    smooth(30, 40).save(stream, format=kind)
    return stream.getvalue()


IMAGES = {kind: image_bytes(kind) for kind in FORMATS}
PACKED = {name: pack() for name, pack in ARCHIVES.items()}


@st.composite
def mutated(draw, sounds):
    """One of `sounds`, a few of its bytes replaced, taken out or put in, mostly near its start or end."""
    content = bytearray(sounds[draw(st.sampled_from(sorted(sounds)))])
    for _ in range(draw(st.integers(1, 6))):
        reach = min(len(content), draw(st.sampled_from([32, 400, len(content) or 1])))
        at = draw(st.integers(0, max(reach - 1, 0)))
        at = len(content) - 1 - at if content and draw(st.booleans()) else at
        size = draw(st.sampled_from([0, 1, 1, 1, 4, 30]))
        content[at : at + size] = draw(st.binary(max_size=6))
    return bytes(content)


def check_image(content):
    try:
        found = decode_image(content, 12, "squash")
    except ValueError:
        return
    assert found.pixels.shape == (12, 12, 3)


def check_archive(content):
    """Every member is read, and what is read is as long as the directory said."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "raw"
        path.write_bytes(content)
        try:
            with open_archive(path) as archive:
                for name in archive.names:
                    archive.read(name)
        except (ValueError, OSError) as error:
            assert str(path) in str(error)


CELLS = st.one_of(
    st.text(st.characters(codec="utf-8"), max_size=8),
    st.sampled_from(['"', '""', '"a\nb"', "=1+1", "+1", "@x", "NaN", "", " ", "000", "1e400", "\0", "\r", "é" * 3]),
)
CSVS = st.one_of(
    st.binary(max_size=200),
    st.lists(st.lists(CELLS, max_size=5).map(",".join), max_size=6).map(lambda rows: "\n".join(rows).encode()),
    st.lists(st.lists(CELLS, max_size=5).map("\t".join), max_size=6).map(
        lambda rows: "\r\n".join(rows).encode("utf-16")
    ),
)
JSONS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["images", "annotations", "categories", "id", "image_id", "file_name", "category_id", "name"]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)


def check_tables(csv_content, json_content):
    """Tables are read with every row as wide as the header, or the file is named."""
    import json

    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "train.csv").write_bytes(csv_content)
        Path(folder, "boxes.json").write_text(json.dumps(json_content))
        try:
            with open_archive(Path(folder)) as archive:
                found = read_tables(archive)
        except (ValueError, OSError) as error:
            assert "train.csv" in str(error) or "boxes.json" in str(error), error
            return
    assert {*found.tables, *found.unread} <= {"train.csv", "boxes.json"} and all(found.unread.values())
    for table in found.tables.values():
        assert len(table.cells) == len(table.header) and {len(cells) for cells in table.cells} == {table.num_rows}
        assert all(isinstance(cell, str) for row in table.rows() for cell in row)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6)
    | st.sampled_from(["auto", "none", "1e400", "-1", "1e-3", 10**400, -(10**30), 0.1, "cpu", "sgd"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4) | st.integers(), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip


@st.composite
def params_texts(draw):
    """The shipped file with values changed, or any text."""
    found = {name: dict(section) for name, section in SHIPPED.items()}
    for _ in range(draw(st.integers(1, 4))):
        section = draw(st.sampled_from(sorted(found)))
        if draw(st.integers(0, 9)) == 0:
            found[section] = draw(VALUES)
        elif isinstance(found[section], dict):
            key = draw(st.sampled_from(sorted(map(str, SHIPPED[section]))) | st.text(max_size=5))
            found[section][key] = draw(VALUES)
    text = yaml.safe_dump(found, allow_unicode=True)
    if draw(st.integers(0, 3)) == 0:
        at = draw(st.integers(0, len(text)))
        text = text[:at] + draw(st.text(st.sampled_from("{}[]&*!|>%@`#:-?, \t\n'\"aé0"), max_size=4)) + text[at:]
    return text


def check_params(text):
    """Every section is of its class and in range, or the file is named in a message that can be read."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "params.yaml"
        path.write_bytes(text.encode("utf-8", "surrogateescape"))
        readers = [
            lambda name=name, kind=kind: params.load_section(path, name, kind) for name, kind in SECTIONS.items()
        ]
        for read in [*readers, lambda: params.load_folds(path), lambda: params.load_train(path, "0")]:
            try:
                read()
            except ValueError as error:
                assert str(path) in str(error)
                assert len(str(error)) < 5000


SUBMISSIONS = {kind: made(kind) for kind in KINDS}


def check_contract(kind, content):
    """Bytes in a submission's place pass or are refused by name."""
    schema, sample, _ = SUBMISSIONS[kind]
    try:
        refuse(check_submission(content, sample, schema), "submission.csv")
    except ValueError as error:
        assert "submission.csv" in str(error)


FUZZED = {
    "image": (check_image, (mutated(IMAGES),), 400),
    "archive": (check_archive, (mutated(PACKED),), 150),
    "tables": (check_tables, (CSVS, JSONS), 200),
    "contract": (
        check_contract,
        (st.sampled_from(KINDS), mutated({kind: good for kind, (_, _, good) in SUBMISSIONS.items()}) | CSVS),
        200,
    ),
    "params": (check_params, (params_texts(),), 40),
}


@pytest.mark.parametrize("name", FUZZED)
def test_fuzzed(name):
    check, strategies, examples = FUZZED[name]
    sometimes(examples)(given(*strategies)(check))()


@pytest.mark.slow
@pytest.mark.parametrize("name", FUZZED)
def test_fuzzed_for_longer(name):
    check, strategies, examples = FUZZED[name]
    sometimes(4 * examples)(given(*strategies)(check))()
