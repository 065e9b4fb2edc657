"""Charts as inline SVG: text in, markup out, no script. Every text is escaped; colours are the page's classes s0 to s7.

What has a `data-tip` shows it on hover (page.js); the numbers stand in a table beside each chart as well.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

NUM_COLOURS = 8  # of the palette in page.css; colours come again with other dashes
WIDTH, HEIGHT = 460, 250
LEFT, RIGHT, TOP, BOTTOM = 70, 12, 12, 42
STRIP_HEIGHT = 110  # of a chart whose y axis says nothing
MOST_MARKED = 40  # points of a line that carry a tip
NUM_TICKS = 5
DIGITS = 5  # significant, of a number in a tip


@dataclass(frozen=True)
class Line:
    """A line through points; of one point a dot."""

    name: str
    points: Sequence[tuple[float, float]]
    colour: int = 0
    dashed: bool = False
    marked: bool = True  # with dots that show their values


@dataclass(frozen=True)
class Dot:
    """A point, with horizontal and vertical error bars where they are above 0."""

    x: float
    y: float
    tip: str
    colour: int = 0
    x_error: float = 0.0
    y_error: float = 0.0


@dataclass(frozen=True)
class Bar:
    """A rectangle from `low` to `high` on the x axis, standing on 0."""

    low: float
    high: float
    height: float
    tip: str
    colour: int = 0


@dataclass(frozen=True)
class Chart:
    """What a chart shows; its ranges are those of what it holds, unless given."""

    title: str  # said to who cannot see it
    x_label: str
    y_label: str
    lines: Sequence[Line] = ()
    dots: Sequence[Dot] = ()
    bars: Sequence[Bar] = ()
    verticals: Sequence[tuple[float, str]] = ()  # (x, tip)
    diagonal: bool = False
    x_range: tuple[float, float] | None = None
    y_range: tuple[float, float] | None = None
    whole_x: bool = False  # ticks at whole numbers
    plain_y: bool = False  # no ticks on the y axis, and half as high


def chart(asked: Chart) -> Markup:
    """The SVG of a chart; what has no point at all says so."""
    xs, ys = _values(asked)
    if not xs:
        return Markup('<p class="note">{}: nothing to draw.</p>').format(asked.title)
    x_range = asked.x_range or _padded(min(xs), max(xs))
    y_range = asked.y_range or _padded(min(ys), max(ys))
    axes = _Axes(x_range, y_range, STRIP_HEIGHT if asked.plain_y else HEIGHT)
    parts = [
        *_grid(axes, asked),
        *(_bar(axes, bar) for bar in asked.bars),
        *([_diagonal(axes)] if asked.diagonal else []),
        *(_line(axes, line, asked) for line in asked.lines),
        *(_vertical(axes, x, tip) for x, tip in asked.verticals),
        *(_dot(axes, dot) for dot in asked.dots),
    ]
    return Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}" class="chart">{}</svg>').format(
        WIDTH, axes.height, asked.title, Markup("").join(parts)
    )


def shown(number: float) -> str:
    """A number as a tip shows it."""
    return f"{number:.{DIGITS}g}"


def legend(names: Iterable[tuple[str, int, bool]]) -> Markup:
    """(name, colour, dashed) of each line, as a list."""
    items = [
        Markup(
            '<li><svg viewBox="0 0 24 8" class="key" aria-hidden="true">'
            '<path d="M0 4H24" class="line s{}{}"/></svg> {}</li>'
        ).format(colour % NUM_COLOURS, _dashes(colour, dashed), name)
        for name, colour, dashed in names
    ]
    return Markup('<ul class="legend">{}</ul>').format(Markup("").join(items))


def share_bar(shares: Sequence[tuple[float, int]]) -> Markup:
    """Bars above each other, of (share from 0 to 1, colour) each: for a cell of a table."""
    height = 7 * len(shares)
    bars = [
        Markup('<rect x="0" y="{}" width="{}" height="6" class="fill s{}"/>').format(
            7 * at, _number(120 * min(max(share, 0.0), 1.0)), colour
        )
        for at, (share, colour) in enumerate(shares)
    ]
    return Markup('<svg viewBox="0 0 120 {}" class="bars" aria-hidden="true">{}</svg>').format(
        height, Markup("").join(bars)
    )


@dataclass(frozen=True)
class _Axes:
    x_range: tuple[float, float]
    y_range: tuple[float, float]
    height: int

    @property
    def bottom(self) -> int:
        return self.height - BOTTOM

    def x(self, value: float) -> str:
        low, high = self.x_range
        return _number(LEFT + (value - low) / (high - low) * (WIDTH - LEFT - RIGHT))

    def y(self, value: float) -> str:
        low, high = self.y_range
        return _number(self.bottom - (value - low) / (high - low) * (self.bottom - TOP))


def _values(asked: Chart) -> tuple[list[float], list[float]]:
    pairs = [point for line in asked.lines for point in line.points]
    pairs += [(dot.x + sign * dot.x_error, dot.y + sign * dot.y_error) for dot in asked.dots for sign in (-1, 1)]
    pairs += [place for bar in asked.bars for place in ((bar.low, 0.0), (bar.high, bar.height))]
    pairs = [pair for pair in pairs if math.isfinite(pair[0]) and math.isfinite(pair[1])]
    xs = [x for x, _ in pairs] + ([x for x, _ in asked.verticals] if pairs else [])
    return xs, [y for _, y in pairs]


def _padded(low: float, high: float) -> tuple[float, float]:
    """A little wider than what lies in it, so that a dot at the rim is whole."""
    margin = (high - low) * 0.04 or max(abs(high) * 0.05, 1e-3)
    return low - margin if low != 0 else low, high + margin


def _ticks(low: float, high: float, *, whole: bool) -> list[float]:
    raw = (high - low) / NUM_TICKS
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= raw * (1 - 1e-9))
    if whole:
        step = max(1.0, round(step))
    first = math.ceil(low / step - 1e-9)
    return [number * step for number in range(first, math.floor(high / step + 1e-9) + 1)]


def _grid(axes: _Axes, asked: Chart) -> list[Markup]:
    parts = []
    bottom, right = axes.bottom, WIDTH - RIGHT
    for tick in [] if asked.plain_y else _ticks(*axes.y_range, whole=False):
        y = axes.y(tick)
        parts.append(Markup('<path d="M{} {}H{}" class="grid"/>').format(LEFT, y, right))
        parts.append(
            Markup('<text x="{}" y="{}" class="tick end" dy=".32em">{}</text>').format(LEFT - 6, y, _tick(tick))
        )
    for tick in _ticks(*axes.x_range, whole=asked.whole_x):
        x = axes.x(tick)
        parts.append(Markup('<path d="M{} {}V{}" class="grid"/>').format(x, TOP, bottom))
        parts.append(Markup('<text x="{}" y="{}" class="tick middle">{}</text>').format(x, bottom + 15, _tick(tick)))
    middle = (LEFT + right) / 2
    parts.append(
        Markup('<text x="{}" y="{}" class="middle">{}</text>').format(_number(middle), axes.height - 6, asked.x_label)
    )
    height = _number((TOP + bottom) / 2)
    parts.append(
        Markup('<text x="12" y="{}" class="middle" transform="rotate(-90 12 {})">{}</text>').format(
            height, height, asked.y_label
        )
    )
    return parts


def _line(axes: _Axes, line: Line, asked: Chart) -> Markup:
    points = [(x, y) for x, y in line.points if math.isfinite(x) and math.isfinite(y)]
    path = " ".join(f"{'L' if at else 'M'}{axes.x(x)} {axes.y(y)}" for at, (x, y) in enumerate(points))
    colour = line.colour % NUM_COLOURS
    drawn = Markup('<path d="{}" class="line s{}{}"/>').format(path, colour, _dashes(line.colour, line.dashed))
    if not line.marked:
        return drawn
    every = max(1, math.ceil(len(points) / MOST_MARKED))
    marked = [point for at, point in enumerate(points) if at % every == 0 or at == len(points) - 1]
    return drawn + Markup("").join(
        _mark(axes, x, y, f"{line.name}, {asked.x_label} {shown(x)}: {shown(y)}", colour) for x, y in marked
    )


def _mark(axes: _Axes, x: float, y: float, tip: str, colour: int) -> Markup:
    return Markup('<circle cx="{}" cy="{}" r="3" class="fill s{}" data-tip="{}"/>').format(
        axes.x(x), axes.y(y), colour, tip
    )


def _dot(axes: _Axes, dot: Dot) -> Markup:
    colour = dot.colour % NUM_COLOURS
    bars = Markup("")
    if dot.x_error:
        ends = axes.x(dot.x - dot.x_error), axes.y(dot.y), axes.x(dot.x + dot.x_error)
        bars += Markup('<path d="M{} {}H{}" class="error"/>').format(*ends)
    if dot.y_error:
        ends = axes.x(dot.x), axes.y(dot.y - dot.y_error), axes.y(dot.y + dot.y_error)
        bars += Markup('<path d="M{} {}V{}" class="error"/>').format(*ends)
    place = axes.x(dot.x), axes.y(dot.y), colour, dot.tip
    return bars + Markup('<circle cx="{}" cy="{}" r="5" class="fill s{}" data-tip="{}"/>').format(*place)


def _bar(axes: _Axes, bar: Bar) -> Markup:
    left, top = axes.x(bar.low), axes.y(max(bar.height, 0.0))
    width = _number(float(axes.x(bar.high)) - float(left))
    height = _number(abs(float(axes.y(0.0)) - float(top)))
    return Markup('<rect x="{}" y="{}" width="{}" height="{}" class="fill s{} bar" data-tip="{}"/>').format(
        left, top, width, height, bar.colour % NUM_COLOURS, bar.tip
    )


def _vertical(axes: _Axes, x: float, tip: str) -> Markup:
    return Markup('<path d="M{} {}V{}" class="mark" data-tip="{}"/>').format(axes.x(x), TOP, axes.bottom, tip)


def _diagonal(axes: _Axes) -> Markup:
    low = max(axes.x_range[0], axes.y_range[0])
    high = min(axes.x_range[1], axes.y_range[1])
    if high <= low:
        return Markup("")
    return Markup('<path d="M{} {}L{} {}" class="grid strong"/>').format(
        axes.x(low), axes.y(low), axes.x(high), axes.y(high)
    )


def _dashes(colour: int, dashed: bool) -> str:
    return " dashed" if dashed else " dotted" if colour % (2 * NUM_COLOURS) >= NUM_COLOURS else ""


def _tick(value: float) -> str:
    return f"{value:.6g}".replace("-", "\N{MINUS SIGN}") if value else "0"


def _number(value: float) -> str:
    """A coordinate: two digits, so that a page is small and its bytes do not hang on the last bit."""
    return f"{value:.2f}".rstrip("0").rstrip(".")
