"""Pictures of a run, as PNG bytes. matplotlib without a display, imported where used.

Texts are the organiser's: they stand in a picture as they are, `$` being no formula there.
"""

import io
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from pipeline.base import console

NUM_LABELLED_CLASSES = 60  # above it tick labels would overlap
DPI = 110
# fonts with Korean, Chinese and Japanese letters, tried after matplotlib's own: a class name may need them
WIDE_FONTS = (
    "Noto Sans CJK KR", "Noto Sans CJK JP", "Noto Sans KR", "NanumGothic", "Malgun Gothic", "Apple SD Gothic Neo",
    "Arial Unicode MS", "WenQuanYi Zen Hei",
)  # fmt: skip


def drawn(name: str, draw: Callable[[], bytes]) -> bytes:
    """The picture that `draw` gives; where it fails a blank one, and a warning: no picture is worth a submission."""
    try:
        return draw()
    except Exception as error:  # whatever it is, the numbers beside the picture are sound
        reason = (str(error).splitlines() or [""])[0]
        console.say(f"warning: {name} could not be drawn ({type(error).__name__}: {reason}); a blank picture stands in")
        return _blank(f"{name} could not be drawn")


def _blank(words: str) -> bytes:
    from PIL import Image, ImageDraw

    image = Image.new("RGB", (480, 120), "#eeeeee")
    ImageDraw.Draw(image).text((16, 54), words.encode("ascii", "replace").decode(), fill="#8f1414")
    stream = io.BytesIO()
    image.save(stream, format="PNG")
    return stream.getvalue()


def curves_figure(epochs_of: Mapping[str, Sequence[Mapping[str, float | None]]]) -> bytes:
    """Loss and accuracy by epoch, one colour a fold, a line for each of its networks: training dashed, held out solid.

    epochs_of: fold -> rows with network, epoch, train_loss, train_accuracy, valid_loss, valid_accuracy (None = not
    looked).
    """
    figure, axes = _new_figure(1, 2, (11, 4))
    lines = [
        (number, fold, network, [row for row in rows if row["network"] == network])
        for number, (fold, rows) in enumerate(epochs_of.items())
        for network in dict.fromkeys(row["network"] for row in rows)
    ]
    for number, fold, network, rows in lines:
        for axis, kind in zip(axes, ("loss", "accuracy"), strict=True):
            for part, style in (("train", "--"), ("valid", "-")):
                points = [(row["epoch"], row[f"{part}_{kind}"]) for row in rows if row[f"{part}_{kind}"] is not None]
                label = f"fold {fold}" if part == "valid" and network == 1 else None
                marker = "o" if part == "valid" else ""
                axis.plot(
                    *zip(*points, strict=True), style, marker=marker, markersize=3, color=f"C{number % 10}", label=label
                )
    for axis, kind in zip(axes, ("loss", "accuracy"), strict=True):
        axis.set(xlabel="epoch", ylabel=kind, title=f"{kind} (dashed: training, solid: held out)")
        axis.grid(alpha=0.3)
    axes[1].legend(fontsize=8)
    return _png(figure)


def confusion_figure(counts: np.ndarray, classes: Sequence[str]) -> bytes:
    """counts (C, C): row = true class, column = predicted; shaded by share of the true class."""
    side = float(np.clip(0.45 * len(classes) + 2, 4, 14))
    figure, axes = _new_figure(1, 1, (side, side))
    axis = axes[0]
    axis.imshow(counts / np.maximum(counts.sum(axis=1, keepdims=True), 1), cmap="Blues", vmin=0, vmax=1)
    axis.set(xlabel="predicted", ylabel="true", title="out-of-fold confusion (images)")
    if len(classes) <= NUM_LABELLED_CLASSES:
        shown = [_short(label) for label in classes]
        axis.set_xticks(range(len(classes)), shown, rotation=90, fontsize=8)
        axis.set_yticks(range(len(classes)), shown, fontsize=8)
    if len(classes) <= NUM_LABELLED_CLASSES // 2:
        for row, column in zip(*np.nonzero(counts), strict=True):
            colour = "white" if counts[row, column] > 0.5 * counts[row].sum() else "black"
            axis.text(column, row, counts[row, column], ha="center", va="center", fontsize=7, color=colour)
    return _png(figure)


def rates_figure(rates: Sequence[tuple[str, float, float]]) -> bytes:
    """(label, precision, recall) of each class, as two bars."""
    height = float(np.clip(0.32 * len(rates) + 1.5, 3, 20))
    figure, axes = _new_figure(1, 1, (7, height))
    places = np.arange(len(rates))
    for shift, name, at in ((-0.2, "precision", 1), (0.2, "recall", 2)):
        axes[0].barh(places + shift, [rate[at] for rate in rates], height=0.4, label=name)
    if len(rates) <= NUM_LABELLED_CLASSES:
        axes[0].set_yticks(places, [_short(rate[0]) for rate in rates], fontsize=8)
    axes[0].set(xlim=(0, 1), title="out-of-fold precision and recall by label")
    axes[0].invert_yaxis()
    axes[0].legend(fontsize=8)
    return _png(figure)


def mistakes_figure(images: np.ndarray, captions: Sequence[Sequence[str]]) -> bytes:
    """images (N, S, S, 3) uint8, the most confidently wrong first; captions: the lines of each."""
    columns = 6
    rows = max(1, -(-len(images) // columns))
    figure, axes = _new_figure(rows, columns, (2 * columns, 2.5 * rows))
    for axis in axes:
        axis.axis("off")
    for axis, image, caption in zip(axes, images, captions, strict=False):
        axis.imshow(image, interpolation="nearest")
        axis.set_title("\n".join(_short(line, 32) for line in caption), fontsize=8)
    if not len(images):
        figure.suptitle("every held-out image was predicted right")
    return _png(figure)


def agreement_figure(points: Sequence[tuple[str, float, float, float]], metric: str) -> bytes:
    """Cross-validation against the leaderboard. points: (name, CV score, its standard error, public score)."""
    figure, axes = _new_figure(1, 1, (6, 5))
    axis = axes[0]
    for name, cv_score, error, public in points:
        axis.errorbar(cv_score, public, xerr=error, fmt="o", color="C0", ecolor="0.7", capsize=2)
        axis.annotate(_short(name), (cv_score, public), textcoords="offset points", xytext=(5, 4), fontsize=8)
    if points:
        both = [score for _, cv_score, _, public in points for score in (cv_score, public)]
        axis.plot([min(both), max(both)], [min(both), max(both)], "--", color="0.6", label="equal")
        axis.legend(fontsize=8)
    shown = _short(metric, 40)
    axis.set(xlabel=f"{shown}, cross-validation (± standard error)", ylabel=f"{shown}, public leaderboard")
    axis.grid(alpha=0.3)
    return _png(figure)


def _new_figure(rows: int, columns: int, size: tuple[float, float]) -> tuple[Any, list[Any]]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, list(np.atleast_1d(figure.subplots(rows, columns)).ravel())


def _short(label: str, most: int = 16) -> str:
    """On one line; what has no shape (controls, halves of a character) is a box."""
    plain = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in label[: most + 1])
    return plain if len(plain) <= most else plain[: most - 1] + "…"


def _png(figure: Any) -> bytes:
    import matplotlib
    from matplotlib import font_manager

    installed = {font.name for font in font_manager.fontManager.ttflist}
    families = ["DejaVu Sans", *(name for name in WIDE_FONTS if name in installed)]
    stream = io.BytesIO()
    with (
        matplotlib.rc_context({"font.family": families, "text.parse_math": False}),
        warnings.catch_warnings(),
    ):
        warnings.filterwarnings(
            "ignore", "Glyph .* missing from"
        )  # a box in the picture; the CSV beside it has the name
        for text in figure.findobj(lambda artist: hasattr(artist, "set_fontfamily")):
            text.set_fontfamily(families)
            text.set_parse_math(False)
        figure.savefig(stream, format="png", dpi=DPI, metadata={"Software": None})  # no version: the same bytes
    return stream.getvalue()
