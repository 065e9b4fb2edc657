"""README.md and docs/: links lead somewhere, what is named exists, the tables are those of the code."""

import re

import pytest
from conftest import ROOT

from docs import parameters
from pipeline.__main__ import main
from pipeline.competition.schema import TARGET_KINDS
from pipeline.layout.layout import ALLOWABLE
from pipeline.scoring import metrics

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "tests").glob("*/README.md"))]
NAMES = [page.relative_to(ROOT).as_posix() for page in PAGES]
MOST_README = 8_000  # bytes: a screen and a half
FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def without_code(text):
    return re.sub(r"`[^`\n]*`", "", FENCED.sub("", text))


def anchors(path):
    """As GitHub makes them: lower case, blanks to hyphens, other marks left out, a number where one comes again."""
    found = []
    for line in FENCED.sub("", path.read_text(encoding="utf-8")).splitlines():
        title = re.match(r"#+ (.*)", line)
        if title:
            plain = re.sub(r"[^\w\- ]", "", re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title[1])).lower().replace(" ", "-")
            found.append(f"{plain}-{found.count(plain)}" if plain in found else plain)
    return found


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_links_lead_to_files_and_headlines(page):
    text = without_code(page.read_text(encoding="utf-8"))
    links = re.findall(r"\]\(([^)\s]+)\)|src=\"([^\"]+)\"", text)
    for link in [first or second for first, second in links]:
        if link.startswith("https://"):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.is_file() and target.is_relative_to(ROOT), link
        assert not anchor or anchor in anchors(target), link


def test_the_readme_is_short_and_leads_to_every_page():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.encode()) <= MOST_README
    linked = set(re.findall(r"\]\((docs/[^)#]+)", text))
    assert linked == {name for name in NAMES if name.startswith("docs/")}


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_files_that_are_named_exist(page):
    text = page.read_text(encoding="utf-8")
    named = re.findall(r"`((?:pipeline|tests|benchmarks|docs|recipes)/[\w./-]+)", text)
    assert not [name for name in named if "NAME" not in name and not (ROOT / name).exists()]


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_commands_that_are_named_exist(page, capsys):
    text = page.read_text(encoding="utf-8")
    for module in set(re.findall(r"python -m ((?:benchmarks|tests|docs|pipeline\.stages)\.[\w.]+\w)", text)):
        path = ROOT / module.replace(".", "/")
        assert path.with_suffix(".py").is_file(), module
    for target in set(re.findall(r"`(?:make )([a-z-]+)", text)):
        assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE), target
    for command in set(re.findall(r"python -m pipeline ([a-z]+)", text)):
        with pytest.raises(SystemExit) as ended:
            main([command, "--help"])
        assert ended.value.code == 0, command
        capsys.readouterr()


# -- pages that repeat what the code says


def test_the_page_of_parameters_is_that_of_the_dataclasses():
    assert parameters.PAGE.read_text(encoding="utf-8") == parameters.page(), "run `python -m docs.parameters`"
    unsaid = [
        f"{name}.{key}"
        for name, section in parameters.SECTIONS.items()
        for key, text in parameters.comments(section).items()
        if not text
    ]
    assert not unsaid, "a comment beside each key, or above it, says what it means"


def test_the_page_of_parameters_lists_the_problems_that_can_be_allowed():
    part = parameters.PAGE.read_text(encoding="utf-8").split("### Kinds of problem")[1].split("\n\n")[1]
    assert re.findall(r"`([^`]+)`", part) == list(ALLOWABLE)


def test_the_page_of_formats_lists_the_metrics():
    row = r"^\| (`\w+`(?:, `\w+`)*)(?: \((?!any)[^|]*\))? \| (\w+) \| (.+) \|$"
    rows = re.findall(row, (ROOT / "docs/formats.md").read_text(), re.MULTILINE)
    kinds = {"all": set(TARGET_KINDS), "all but multi_label": set(TARGET_KINDS) - {"multi_label"}}
    listed = {
        name: (better == "higher", kinds.get(targets, {targets}))
        for names, better, targets in rows
        for name in re.findall(r"\w+", names)
    }
    assert listed == {name: (known.metric.higher_is_better, set(known.kinds)) for name, known in metrics._KNOWN.items()}
