"""Pictures: whatever the names are, there is one, and the one that fails costs nothing else."""

import io

import numpy as np
import pytest
from conftest import competition_files, write_zip
from PIL import Image

from pipeline.audit.page import Gallery, Picture, audit_page
from pipeline.report import figures

ODD = [
    r"$\frac{$", "$", "$$", r"\$x^$", "a\nb", "\t", "\x00", "\ud800", "\u2028", "수달", "\U0001f9a6", "\ufeff", "", " ",
    "x" * 5000, "<b>&amp;", "%s {0}", "_^", "\u202eabc", "e\u0301" * 40,
]  # fmt: skip


def picture(content):
    image = Image.open(io.BytesIO(content))
    image.load()
    assert image.format == "PNG" and min(image.size) > 50
    return np.asarray(image.convert("L"))


@pytest.mark.parametrize("names", [ODD, [r"$\frac{$", "a"], ODD * 4], ids=["all", "formula", "many"])
def test_any_class_name_can_be_drawn(names):
    counts = np.random.default_rng(0).integers(0, 9, (len(names), len(names)))
    picture(figures.confusion_figure(counts, names))
    picture(figures.rates_figure([(name, 0.5, 0.25) for name in names]))
    picture(figures.mistakes_figure(np.zeros((24, 8, 8, 3), np.uint8), [(name, name, "at 0.9") for name in names[:24]]))
    picture(figures.agreement_figure([(name, 0.5, 0.1, 0.4) for name in names], names[0]))


def test_a_formula_stands_as_it_is():
    shown = [picture(figures.confusion_figure(np.eye(2), [name, "b"])) for name in ("$x$", "x")]
    assert shown[0].shape != shown[1].shape or (shown[0] != shown[1]).any(), "the dollars are there"


def test_a_picture_that_fails_is_a_blank_one_and_a_warning(capsys):
    assert figures.drawn("curves", lambda: b"as drawn") == b"as drawn"
    picture(figures.drawn("수달 curves", lambda: 1 / 0))
    assert "warning: 수달 curves could not be drawn (ZeroDivisionError: division by zero)" in capsys.readouterr().out


@pytest.mark.parametrize("fails", [False, True])
def test_evaluate_and_submit_go_on_whatever_the_names(workplace, monkeypatch, capsys, fails):
    def broken(figure):
        raise RuntimeError("no font")

    labels = (r"$\frac{$", "<script>$x^$", "%d\\")
    write_zip(workplace.raw, competition_files(labels=labels))
    workplace.params["train"]["epochs"] = 1
    if fails:
        monkeypatch.setattr(figures, "_png", broken)
    workplace.run_all()
    out = capsys.readouterr().out
    for name in ("curves", "confusion", "mistakes"):
        picture(workplace.path(f"data/report/{name}.png").read_bytes())
        assert (f"warning: {name} could not be drawn (RuntimeError: no font)" in out) == fails
    assert workplace.path("submissions/submission.csv").is_file()
    assert "<script>" not in workplace.path("data/report/audit.html").read_text()


def test_the_audit_page_escapes_every_text():
    page = audit_page("<i>", [], [Gallery("<i>", "<i>", [[Picture(np.zeros((8, 8, 3), np.uint8), '"<i>')]])]).decode()
    assert "<i>" not in page and '""' not in page
