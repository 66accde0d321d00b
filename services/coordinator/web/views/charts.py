"""Geometry of the drawings that are made here: points, bars and ticks in a box of the drawing's own units. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Scale:
    """Linear, from [low, high] to [start, end]."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        span = self.high - self.low
        share = 0.5 if span == 0 else (value - self.low) / span
        return round(self.start + share * (self.end - self.start), 2)


def scale(values: Iterable[float | None], start: float, end: float, *, zero: bool = False, pad: float = 0.0) -> Scale:
    """Covers the values that are known; with `zero` also the nothing that bars begin at."""
    known = [value for value in values if value is not None and math.isfinite(value)]
    if zero or not known:
        known.append(0.0)
    low, high = min(known), max(known)
    room = (high - low) * pad
    return Scale(low - room, high + room, start, end)


def path(values: Sequence[float | None], width: float, height: float, *, over: Scale | None = None) -> str:
    """The `d` of a line; where a value is not known the line is broken, not drawn through."""
    y = over or scale(values, height - 1, 1)
    step = width / max(1, len(values) - 1)
    parts, pen = [], "M"
    for index, value in enumerate(values):
        if value is None:
            pen = "M"
            continue
        parts.append(f"{pen}{round(index * step, 2):g} {y(value):g}")
        pen = "L"
    return "".join(parts)


def band(low: Sequence[float | None], high: Sequence[float | None], width: float, over: Scale) -> str:
    """The `d` of the area between two lines, in pieces where one of them is not known."""
    step = width / max(1, len(low) - 1)
    pieces: list[list[tuple[float, float, float]]] = []
    piece: list[tuple[float, float, float]] = []
    for index, (bottom, top) in enumerate(zip(low, high, strict=True)):
        if bottom is None or top is None:
            pieces.append(piece)
            piece = []
        else:
            piece.append((round(index * step, 2), over(bottom), over(top)))
    pieces.append(piece)
    drawn = []
    for points in pieces:
        if len(points) < 2:
            continue
        upper = "L".join(f"{x:g} {top:g}" for x, _, top in points)
        lower = "L".join(f"{x:g} {bottom:g}" for x, bottom, _ in reversed(points))
        drawn.append(f"M{upper}L{lower}Z")
    return "".join(drawn)


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round numbers within [low, high], about as many as asked for."""
    if high <= low:
        return [low]
    rough = (high - low) / max(1, count)
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(size * factor for factor in (1, 2, 2.5, 5, 10) if size * factor >= rough)
    first = math.ceil(low / step)
    return [round(step * index, 12) for index in range(first, math.floor(high / step) + 1)]


def months(sessions: Sequence[str], width: float, most: int = 8) -> list[tuple[float, str]]:
    """Where a month begins, with its name as YYYY-MM; as many as there is room for."""
    step = width / max(1, len(sessions) - 1)
    begins = [
        (round(index * step, 2), session[:7])
        for index, session in enumerate(sessions)
        if index and session[:7] != sessions[index - 1][:7]
    ]
    every = max(1, math.ceil(len(begins) / most))
    return begins[::every]


def shade(value: float | None, full: float) -> int:
    """One of nine steps of blue or orange: -4 to 4. What is not known has none."""
    if value is None or full <= 0:
        return 0
    return max(-4, min(4, round(4 * value / full)))


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a chart: its name, its class (the colour is the style sheet's) and its values by session."""

    name: str
    style: str
    values: Sequence[float | None]


@dataclass(frozen=True, slots=True)
class Drawing:
    """A chart ready to be written down, in units of its own box."""

    width: float
    height: float
    lines: list[tuple[str, str, str]]
    areas: list[tuple[str, str]]
    rules: list[tuple[float, str, bool]]
    months: list[tuple[float, str]]
    marks: list[tuple[float, str, str]]
    title: str


WIDTH, HEIGHT = 960.0, 260.0


def draw(
    sessions: Sequence[str],
    lines: Sequence[Line],
    form: Callable[[float], str],
    *,
    title: str,
    height: float = HEIGHT,
    zero: bool = False,
    between: tuple[Line, Line] | None = None,
    filled: bool = False,
    marks: Sequence[tuple[int, str, str]] = (),
) -> Drawing:
    """Lines over sessions.

    between : two lines whose area is shaded, such as the limits of a forecast
    filled  : the first line down to zero is shaded
    marks   : (position in `sessions`, class, words) of what is ticked on the axis
    """
    drawn = [*lines, *(between or ())]
    y = scale([value for line in drawn for value in line.values], height - 6, 6, zero=zero, pad=0.02)
    step = WIDTH / max(1, len(sessions) - 1)
    areas = []
    if between is not None:
        areas.append((band(between[0].values, between[1].values, WIDTH, y), between[0].style))
    if filled:
        base: list[float | None] = [None if value is None else 0.0 for value in lines[0].values]
        areas.append((band(lines[0].values, base, WIDTH, y), lines[0].style))
    return Drawing(
        width=WIDTH,
        height=height,
        lines=[(path(line.values, WIDTH, height, over=y), line.style, line.name) for line in lines],
        areas=areas,
        rules=[(y(value), form(value), value == 0) for value in ticks(y.low, y.high, 3 if height < 150 else 4)],
        months=months(sessions, WIDTH),
        marks=[(round(index * step, 2), style, words) for index, style, words in marks],
        title=title,
    )
