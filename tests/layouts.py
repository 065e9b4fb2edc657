"""What is understood of a competition, for tests of that alone."""

from pipeline.archive.archive import open_archive
from pipeline.competition.problems import Problems
from pipeline.layout.context import Overrides
from pipeline.layout.layout import read_layout


def sound_layout(path, **settings):
    """The layout of an archive; settings: of section `competition`. Nothing may be wrong with it."""
    problems = Problems()
    with open_archive(path) as archive:
        layout = read_layout(archive, problems, Overrides.among(settings))
    assert problems.lines(settings.get("allow", ())) == []
    return layout
