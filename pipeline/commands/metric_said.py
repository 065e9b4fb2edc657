"""What the organiser's own words say of the metric: `auto` only guesses it by the format of the submission."""

import html
import re
from collections.abc import Iterator
from pathlib import PurePosixPath

from pipeline.archive.archive import Archive
from pipeline.scoring.metrics import metrics_in
from pipeline.tables.words import words_of

ABOUT = {  # words of a document's name
    "about", "challenge", "competition", "description", "evaluation", "info", "instructions", "metric", "metrics",
    "note", "notes", "overview", "readme", "rules", "scoring", "task",
}  # fmt: skip
SUFFIXES = ("", ".htm", ".html", ".md", ".rst", ".txt")
MAX_BYTES, MAX_FILES = 1 << 18, 20
CUE = re.compile(r"metric|evaluat|scor(?:e|ing)|judg|ranked|leaderboard|assess|criteri", re.IGNORECASE)
REACH = 3  # lines: a headline and the sentence below it
MAX_SHOWN = 100  # characters of a sentence


def metrics_said(archive: Archive) -> dict[str, str]:
    """Metric -> the file and the words that speak of it, in the order of the files."""
    found: dict[str, str] = {}
    for name in _documents(archive):
        try:
            text = archive.read(name).decode("utf-8", "replace")
        except OSError:
            continue  # the audit reads images; a document that cannot be read says nothing
        for sentence in _about_scoring(html.unescape(re.sub(r"<[^>]{1,200}>", " ", text))):
            for metric in metrics_in(sentence):
                found.setdefault(metric, f"{name}: {sentence[:MAX_SHOWN]}")
    return found


def _documents(archive: Archive) -> list[str]:
    paths = {str(name): PurePosixPath(str(name)) for name in archive.names}
    named = [
        name
        for name, path in paths.items()
        if path.suffix.lower() in SUFFIXES and ABOUT & set(words_of(path.stem)) and archive.size(name) <= MAX_BYTES
    ]
    return sorted(named, key=lambda name: (name.count("/"), name))[:MAX_FILES]


def _about_scoring(text: str) -> Iterator[str]:
    """Sentences with a word of scoring in them, or close above them."""
    since = REACH
    for line in text.splitlines():
        for sentence in re.split(r"(?<=[.!?;])\s+", " ".join(line.split())):
            since = 0 if CUE.search(sentence) else since
            if sentence and since < REACH:
                yield sentence
        since += bool(line.strip())
