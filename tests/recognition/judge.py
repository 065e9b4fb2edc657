"""What the pipeline makes of a competition, compared with what is true of it.

All that this folder knows of the pipeline's code is here: `inspect_competition` and `write_settings` as the command
`inspect --write` calls them, `read_layout` and `Problems` as the stage `ingest` does, `make_submission` as `submit`.
"""

import contextlib
import csv
import importlib
import io
import itertools
import os
import re
import shlex
import traceback
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import yaml

import pipeline
from pipeline.archive.archive import Archive, open_archive
from pipeline.base.params import CompetitionParams, load_section
from pipeline.commands.inspection import inspect_competition, write_settings
from pipeline.competition.problems import Problems
from pipeline.competition.schema import LabelSets, read_schema
from pipeline.layout.context import Overrides
from pipeline.layout.layout import Layout, read_layout
from pipeline.submission.answers import answers_of, row_cells
from pipeline.submission.contract import REFUSED, check_submission, make_submission

from .sheets import codec_name
from .truth import Made, Truth, read_list

ROOT = Path(pipeline.__file__).resolve().parent.parent  # whose params.yaml and dvc.yaml go with this code
RIGHT, QUESTION, REFUSAL = "right", "question", "refusal"
UNCLEAR, BAD_QUESTION = "unclear refusal", "bad question"
WRONG, CRASH, APART = "WRONG", "crash", "not one account"
FAILURES = (WRONG, CRASH, APART)  # these may never happen
OUTCOMES = (RIGHT, QUESTION, REFUSAL, UNCLEAR, BAD_QUESTION, WRONG, CRASH, APART)

STAGES = ("ingest", "decode_train", "decode_test", "audit")  # until one may say that it cannot go on
MAX_QUESTIONS = 3
MAX_LINES = 5  # of one question that are tried
OFFERED = re.compile(r"competition\.([a-z_]+): (\S.*?)(?:\s{2,}#.*)?$")
BLANK_WORDS = re.compile(r"\b(FILE|COLUMN|FOLDER|NAME|CODEC)\b")  # for the user to fill in: no line to paste
SECTIONS = ("competition", "images", "split")


@dataclass
class Verdict:
    """One competition's outcome."""

    outcome: str
    detail: str = ""
    asked: list[str] = field(default_factory=list)  # lines that were pasted
    found: str = ""  # what the pipeline said or made, for people

    @property
    def kind(self) -> str:
        """The detail less what differs from seed to seed: failures of one kind share it."""
        text = re.sub(r"/\S*/(raw|params\d)\S*", "FILE", self.detail.partition("\n")[0])
        return re.sub(r"\d+", "N", re.sub(r"'[^']*'|\[[^\]]*\]|\([^)]*\)", "…", text))[:110]


class NotTrueError(Exception):
    """The pipeline finished with something that is not true."""


class NotOneAccountError(Exception):
    """inspect and ingest say different things."""


def judge(made: Made, folder: Path, *, whole: bool = False) -> Verdict:
    """Write the competition into `folder`, let the pipeline read it, and compare. whole: run the stage ingest too."""
    raw = made.write(folder)
    return _judged(made.truth, raw, folder, pasted=[], whole=whole or "truncated image" in made.plan.values())


def _judged(truth: Truth, raw: Path, folder: Path, *, pasted: list[tuple[str, Any]], whole: bool) -> Verdict:
    params = folder / f"params{len(pasted)}.yaml"
    params.write_text(params_text(raw, pasted), encoding="utf-8")
    asked = [f"competition.{key}: {value}" for key, value in pasted]
    try:
        found = _read_both_ways(truth, raw, params, folder, whole=whole)
        if truth.stops:
            raise NotTrueError(f"finished, though it had to stop: {truth.stops[0]}")
        if truth.must_ask and not {key for key, _ in pasted} & set(truth.ask_about):
            raise NotTrueError(f"finished without a question: {truth.must_ask}")
    except NotTrueError as error:
        return Verdict(WRONG, str(error), asked, _account(raw, params))
    except NotOneAccountError as error:
        return Verdict(APART, str(error), asked)
    except ValueError as error:
        return _after_refusal(truth, raw, folder, str(error), pasted=pasted, whole=whole)
    except Exception as error:
        return Verdict(CRASH, f"{type(error).__name__}: {error}", asked, traceback.format_exc())
    return Verdict(QUESTION if asked else RIGHT, "", asked, found)


def _account(raw: Path, params: Path) -> str:
    """What inspect says, for whoever looks at a failure."""
    with contextlib.suppress(Exception):
        return "\n".join(inspect_competition(raw, params).lines)
    return ""


# -- questions


def _after_refusal(
    truth: Truth, raw: Path, folder: Path, text: str, *, pasted: list[tuple[str, Any]], whole: bool
) -> Verdict:
    """The outcome after the pipeline refused with this text: paste a line that it offers, or weigh what it says."""
    asked = [f"competition.{key}: {value}" for key, value in pasted]
    said = text.lower().replace(str(raw).lower(), "")
    if truth.stops and any(cause.lower() in said for cause in truth.stops):
        return Verdict(REFUSAL, "", asked, text)
    offered = lines_to_paste(text)
    after = None
    if len(pasted) < MAX_QUESTIONS:
        for line in [line for line in offered if _may_be_right(truth, line) and line not in pasted][:MAX_LINES]:
            verdict = _judged(truth, raw, folder, pasted=_merged(pasted, line), whole=whole)
            if verdict.outcome in (QUESTION, REFUSAL, CRASH, APART):
                return verdict
            known = line[0] in truth.answers
            if after is None or known or verdict.outcome != WRONG:
                after = verdict
            if known:
                return verdict  # the one right line was pasted: what follows is not the user's choice
    if after is not None and after.outcome != WRONG:
        return after
    if any(cause.lower() in said for cause in truth.causes):
        return Verdict(REFUSAL, "", asked, text)
    first = text.partition("\n")[0] if len(text.partition("\n")[0]) > 60 else text.replace("\n", " ")
    return Verdict(BAD_QUESTION if offered else UNCLEAR, first, asked, text)


def lines_to_paste(text: str) -> list[tuple[str, Any]]:
    """(key, value as YAML reads it) of every line for section `competition` in an error's text."""
    lines = []
    for line in text.splitlines():
        match = OFFERED.search(line)
        if match and not BLANK_WORDS.search(match[2]):
            with contextlib.suppress(yaml.YAMLError):
                lines.append((match[1], yaml.safe_load(match[2])))
    return lines


def _may_be_right(truth: Truth, line: tuple[str, Any]) -> bool:
    """Whether somebody who knows the truth might choose this line."""
    key, value = line
    known = truth.answers.get(key)
    if key == "allow":
        return isinstance(value, list) and all(any(word in str(kind) for word in known or ()) for kind in value)
    if key == "encoding":
        return bool(known) and codec_name(str(value)) in {codec_name(name) for name in known}
    if key in ("train_images", "test_images") and truth.files_in:
        return f"{{{truth.files_in}" in str(value)
    if key in ("train_table", "sample") and known:
        return any(str(value).endswith(name) for name in known)
    if key in ("train_images", "test_images") and known and not str(value).startswith("{"):
        folder = str(value).split("{")[0].replace("**/", "").rstrip("/")
        return any(name and ("/" + folder).endswith("/" + name) for name in known)
    return known is None or (isinstance(value, str) and value in known)


def _merged(pasted: list[tuple[str, Any]], line: tuple[str, Any]) -> list[tuple[str, Any]]:
    """`pasted` and one line more; a second list of `allow` is added to the first, as people do."""
    if line[0] != "allow":
        return [*pasted, line]
    before = [value for key, values in pasted if key == "allow" for value in values]
    return [*(entry for entry in pasted if entry[0] != "allow"), ("allow", [*before, *line[1]])]


@cache
def _shipped() -> dict[str, Any]:
    found = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    return {name: found[name] for name in SECTIONS}


def params_text(raw: Path, pasted: list[tuple[str, Any]]) -> str:
    """A params file as shipped, about the competition at `raw`, with these lines put in."""
    sections = {name: dict(section) for name, section in _shipped().items()}
    sections["competition"] |= {"raw": str(raw)} | dict(pasted)
    return yaml.safe_dump(sections, allow_unicode=True, sort_keys=False)


# -- the two ways


def _read_both_ways(truth: Truth, raw: Path, params: Path, folder: Path, *, whole: bool) -> str:
    """inspect, then ingest with what it wrote and with what the user had: one account. Returns what was found.

    Raises NotTrueError where the account is not true, NotOneAccountError where there are two.
    """
    account, refused = None, ""
    try:
        account = inspect_competition(raw, params)
    except ValueError as error:
        refused = str(error)
    with open_archive(raw) as archive:
        layout = _as_ingest(archive, params, refused, account)
        if account is not None:
            write_settings(params, raw, account.settings)
            with _no_other_outcome("what `inspect --write` wrote is refused"), open_archive(raw) as anew:
                again, _ = _layout(anew, params)
                _same(layout, again)
        _compare(truth, archive, layout)
    if whole:
        _through_the_stages(layout, params, folder)
    return "\n".join(account.lines if account else [])


def _as_ingest(archive: Archive, params: Path, refused: str, account: Any) -> Layout:
    """The layout as ingest reads it. Raises ValueError as ingest stops; NotOneAccountError unless inspect said the same."""
    try:
        layout, problems = _layout(archive, params)
    except ValueError as error:
        if not refused:
            raise NotOneAccountError(f"ingest refuses what inspect took: {error}") from error
        if str(error) != refused:
            raise NotOneAccountError(f"inspect and ingest refuse otherwise: {refused} / {error}") from error
        raise
    if refused:
        raise NotOneAccountError(f"inspect refuses what ingest takes: {refused}")
    own = load_section(params, "competition", CompetitionParams)
    if problems.lines(own.allow):
        unsaid = [line for line in problems.lines(own.allow) if line not in account.lines]
        if unsaid:
            raise NotOneAccountError(f"ingest stops at what inspect did not say: {unsaid[0].strip()}")
        problems.stop(str(archive.path), own.allow)
    return layout


@contextlib.contextmanager
def _no_other_outcome(what: str) -> Any:
    try:
        yield
    except ValueError as error:
        raise NotOneAccountError(f"{what}: {error}") from error


def _layout(archive: Archive, params: Path) -> tuple[Layout, Problems]:
    own = load_section(params, "competition", CompetitionParams)
    problems = Problems()
    return read_layout(archive, problems, Overrides.among(vars(own))), problems


def _same(first: Layout, second: Layout) -> None:
    for name in ("target", "submission", "metric", "sample", "train_ids", "train_members", "train_labels",
                 "test_ids", "test_members"):  # fmt: skip
        a, b = getattr(first, name), getattr(second, name)
        if a != b and not (isinstance(a, Sequence) and list(a) == list(b)):
            raise NotOneAccountError(f"with what `inspect --write` wrote, ingest finds another {name}: {a} / {b}")


def _through_the_stages(layout: Layout, params: Path, folder: Path) -> None:
    """The stages themselves, on files: what they wrote must be what was judged. Raises ValueError as they stop."""
    found = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]

    def place(word: str) -> str:
        return str(params) if word == "params.yaml" else str(folder / word) if word.startswith("data/") else word

    for stage in STAGES:
        with contextlib.redirect_stdout(io.StringIO()):
            importlib.import_module(f"pipeline.stages.{stage}").main(
                [place(word) for word in shlex.split(found[stage]["cmd"])[3:]]
            )
    schema = read_schema(folder / "data/competition/schema.json")
    if (schema.target, schema.submission, schema.metric) != (layout.target, layout.submission, layout.metric):
        raise NotOneAccountError("the schema that ingest wrote is not the layout's")
    with (folder / "data/competition/train.csv").open(encoding="utf-8", newline="") as handle:
        rows = [(row["image_id"], row["label"]) for row in csv.DictReader(handle)]
    if rows != list(zip(layout.train_ids, layout.train_labels, strict=True)):
        raise NotOneAccountError("the train table that ingest wrote is not the layout's")


# -- the comparison


def _compare(truth: Truth, archive: Archive, layout: Layout) -> None:
    """Raise NotTrueError unless images, labels and the submission of a perfect model are the true ones."""
    train = _seen(truth, archive, layout.train_members, list(truth.train))
    test = _seen(truth, archive, layout.test_members, list(truth.test))
    names = _true_names(truth, layout, train)
    labels = {**truth.train, **truth.optional, **truth.test}
    strangers = [member for member, key in zip(layout.test_members, test, strict=True) if key not in truth.test]
    if strangers:
        raise NotTrueError(f"{len(strangers)} of {len(test)} images to predict are others, such as {strangers[0]}")
    if len(set(test)) != len(truth.test):
        raise NotTrueError(f"{len(set(test))} of {len(truth.test)} images to predict")
    _compare_submission(truth, _perfect(layout, names, [labels[key] for key in test]), layout, archive, test)


def _seen(truth: Truth, archive: Archive, members: Any, in_order: list[bytes]) -> list[bytes]:
    """The bytes of each member; of images that stand in tables, the n-th true one."""
    if not truth.in_order:
        return [archive.read(member) if member else b"" for member in members]
    if len(members) != len(in_order):
        raise NotTrueError(f"{len(members)} rows of {len(in_order)} in the table of pixels")
    return in_order


def _true_names(truth: Truth, layout: Layout, train: list[bytes]) -> dict[str, str]:
    """Found class -> true label. Raises NotTrueError unless the images of each class are those of one label."""
    others = [member for member, key in zip(layout.train_members, train, strict=True) if key not in truth.train]
    wild = [name for name in others if archive_key(train, layout.train_members, name) not in truth.optional]
    if wild:
        raise NotTrueError(f"{len(wild)} training images are none, such as {wild[0]}")
    missing = set(truth.train) - set(train)
    if missing:
        raise NotTrueError(f"only {len(set(train) & set(truth.train))} of {len(truth.train)} training images are used")
    several = not layout.target.exclusive
    found: dict[str, set[bytes]] = {label: set() for label in layout.target.classes}
    for key, labels in zip(train, LabelSets(layout.train_labels, several=several), strict=True):
        for label in labels:
            found[label].add(key)
    true: dict[frozenset[bytes], str] = {}
    everything = {**truth.train, **{key: truth.optional[key] for key in train if key in truth.optional}}
    for label in {label for labels in everything.values() for label in labels}:
        true[frozenset(key for key, labels in everything.items() if label in labels)] = label
    names = {label: true.get(frozenset(keys), "") for label, keys in found.items()}
    odd = [label for label, name in names.items() if not name and found[label]]
    if odd:
        raise NotTrueError(f"{len(odd)} classes are none, such as {odd[0]!r}; true are {sorted(true.values())}")
    if len(set(filter(None, names.values()))) != len(true):
        raise NotTrueError(f"{len(true)} labels, {len(names)} classes: {sorted(names)}")
    empty = [label for label, name in names.items() if not name]
    if len(empty) > len(truth.sample_only):
        raise NotTrueError(f"{len(empty)} classes without an image: {empty}")
    return names


def archive_key(keys: list[bytes], members: Any, member: str) -> bytes:
    """The bytes of this member, of those that were read."""
    return keys[list(members).index(member)]


def _perfect(layout: Layout, names: dict[str, str], labels: list[frozenset[str]]) -> bytes:
    """The submission that a perfect model gets, by the way that `submit` goes."""
    classes = layout.target.classes
    probs = np.array([[float(names[label] in true) for label in classes] for true in labels])
    decided = probs.argmax(axis=1) if layout.target.exclusive else probs >= 0.5
    answers = answers_of(probs, decided, layout.target, layout.submission)
    content = make_submission(layout.sample, layout, row_cells(answers, list(layout.test_ids), layout))
    refusals = [str(found) for found in check_submission(content, layout.sample, layout) if found.status == REFUSED]
    if refusals:
        raise NotOneAccountError(f"the submission of a perfect model is refused: {refusals[0]}")
    return content


def _compare_submission(truth: Truth, content: bytes, layout: Layout, archive: Archive, test: list[bytes]) -> None:
    text = content.decode(truth.encoding)
    if text.startswith("\ufeff") != truth.mark:
        raise NotTrueError("the BOM is not the sample's")
    text = text.removeprefix("\ufeff")
    if not text.startswith(truth.top):
        raise NotTrueError(f"{truth.top!r} is not above the header")
    body = text.removeprefix(truth.top)
    if truth.quoted and not all(line.startswith('"') and line.endswith('"') for line in body.splitlines()):
        raise NotTrueError("cells are not in quotes, as the sample's are")
    header, *rows = list(csv.reader(io.StringIO(body, newline=""), delimiter=truth.separator))
    if truth.header is None:
        return _compare_sampleless(truth, rows, layout, test)
    if header != truth.header:
        raise NotTrueError(f"the header is {header}, must be {truth.header}")
    if ("\r\n" in body) != (truth.newline == "\r\n"):
        raise NotTrueError("the newlines are not the sample's")
    if len(rows) != len(truth.rows):
        raise NotTrueError(f"{len(rows)} rows, must be {len(truth.rows)}")
    for row, true in zip(rows, truth.rows, strict=True):
        for place, (cell, right) in enumerate(itertools.zip_longest(row, true)):
            if place not in truth.values and cell != right:
                raise NotTrueError(f"a cell that is not to be filled is {cell!r}, must be {right!r}")
            if place in truth.values and not _cell_is_right(truth, cell or "", right):
                raise NotTrueError(f"a cell of {header[place]!r} is {cell!r}, must be {right!r}: {row}")
    return None


def _compare_sampleless(truth: Truth, rows: list[list[str]], layout: Layout, test: list[bytes]) -> None:
    label_of = dict(zip(layout.test_ids, (next(iter(truth.test[key])) for key in test), strict=True))
    for row in rows:
        if row[-1] != label_of.get(row[0]):
            raise NotTrueError(f"without sample, {row[0]!r} is {row[-1]!r}, must be {label_of.get(row[0])!r}")


def _cell_is_right(truth: Truth, cell: str, right: str) -> bool:
    if truth.kind == "numbers":
        with contextlib.suppress(ValueError):
            return abs(float(cell) - float(right)) <= truth.tolerance
        return False
    if truth.kind == "list":
        labels = read_list(cell, truth.delimiter)
        true = read_list(right, truth.delimiter)
        return labels is not None and true is not None and sorted(labels) == sorted(true)
    if truth.kind == "ranked":
        labels = cell.split(truth.delimiter)
        return labels[0] == right and len(set(labels)) == len(labels)
    return unicodedata.normalize("NFC", cell) == unicodedata.normalize("NFC", right)


os.environ.setdefault("OMP_NUM_THREADS", "1")
