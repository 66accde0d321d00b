"""What is measured on every window of a series, with an order of addition that only dates decide.

Running sums begin anew at fixed sessions: the first of each half-year, or of each year where windows are longer. The last of them in a
window is its anchor. What lies before the anchor is accumulated backwards from it, the rest forwards, and the two are put together. So all
windows with one anchor share two running sums, and the digits of a window are the same whatever range of sessions it was computed among:
nothing outside the window enters, and where sums begin anew is a matter of dates alone. (Not of ordinals: a closure moves those of all
sessions after it.)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from shared.arrays import DateVector, FloatMatrix, IntVector

YEARLY = 400  # windows of so many sessions hold a first session of a year for certain, shorter ones that of a half-year


@dataclass(frozen=True, slots=True)
class Span:
    """Windows with one anchor, as columns of the series."""

    start: int
    """First column of the first window."""
    anchor: int
    low: int
    """Last column of the first window."""
    high: int
    """One beyond the last column of the last window."""

    def less_anchor(self, values: FloatMatrix) -> FloatMatrix:
        """The columns of the span less the anchor's: a series that stands still becomes exact zeros, and little cancels."""
        return values[..., self.start : self.high] - values[..., self.anchor, None]

    def over(self, of: np.ufunc, part: FloatMatrix) -> FloatMatrix:
        """`of` (add, minimum, maximum) over each window of the span; `part` holds the columns from `start` to `high`."""
        split = self.anchor - self.start
        found: FloatMatrix = of.accumulate(part[..., split:], axis=-1)[..., self.low - self.anchor :]
        ahead = min(split, self.high - self.low)
        if ahead:
            before = of.accumulate(part[..., split - 1 :: -1] if split else part[..., :0], axis=-1)[..., ::-1]
            of(before[..., :ahead], found[..., :ahead], out=found[..., :ahead])
        return found


def restarts(days: DateVector, length: int) -> IntVector:
    """Columns at which sums of windows of `length` begin anew: `days` (W,) are the dates of the columns, ascending.

    Every window holds a later one than its own first column, so it does not matter that nobody knows what came before the first day.
    """
    period = days.astype("datetime64[M]").astype(np.int64) // (6 if length < YEARLY else 12)
    return np.flatnonzero(period[1:] != period[:-1]) + 1


def anchors(restarts: IntVector, last: IntVector) -> IntVector:
    """The anchors of the windows that end at the columns `last`."""
    return restarts[np.searchsorted(restarts, last, side="right") - 1]


def spans(restarts: IntVector, width: int, length: int) -> Iterator[Span]:
    """The windows of a series of `width` columns by anchor. Raises `ValueError` where a window has none."""
    low = length - 1
    while low < width:
        k = int(np.searchsorted(restarts, low, side="right"))
        anchor = int(restarts[k - 1]) if k else -1
        if anchor < low - length + 1:
            raise ValueError(f"the window that ends at column {low} holds no session at which sums begin anew")
        high = min(int(restarts[k]), width) if k < len(restarts) else width
        if anchor < high - length:
            raise ValueError(f"the window that ends at column {high - 1} holds no session at which sums begin anew")
        yield Span(low - length + 1, anchor, low, high)
        low = high


def moments(values: FloatMatrix, days: DateVector, length: int) -> tuple[FloatMatrix, FloatMatrix]:
    """(mean less the anchor's value, variance with ddof=1) of each window; values (n, W), results (n, W - length + 1)."""
    mean, variance = np.empty((2, len(values), values.shape[1] - length + 1))
    for span in spans(restarts(days, length), values.shape[1], length):
        part, into = span.less_anchor(values), slice(span.start, span.start + span.high - span.low)
        mean[:, into] = span.over(np.add, part) / length
        squares = span.over(np.add, part * part) - length * mean[:, into] * mean[:, into]
        variance[:, into] = np.maximum(squares, 0.0) / (length - 1.0)
    return mean, variance


def trailing_sums(values: FloatMatrix, *lengths: int) -> list[FloatMatrix]:
    """For each length the sums of so many neighbours along the last axis, (..., W - length + 1): sums of 2, 4, 8, ... put together.

    Elementwise additions of a few shifted copies, so short windows cost a few passes instead of one a session.
    """
    runs, size = {1: values}, 1
    while 2 * size <= max(lengths):
        runs[2 * size] = runs[size][..., :-size] + runs[size][..., size:]
        size *= 2
    return [_concatenate(runs, length) for length in lengths]


def _concatenate(runs: dict[int, FloatMatrix], length: int) -> FloatMatrix:
    count, begin, parts = runs[1].shape[-1] - length + 1, 0, []
    for size, run in runs.items():
        if length & size:
            parts.append(run[..., begin : begin + count])
            begin += size
    total = parts[0] + parts[1] if len(parts) > 1 else parts[0].copy()
    for part in parts[2:]:
        total += part
    return total


def trailing_rms(squares: FloatMatrix, *lengths: int) -> list[FloatMatrix]:
    """For each length the roots of the mean of so many neighbouring squares."""
    return [_rms(total, length) for total, length in zip(trailing_sums(squares, *lengths), lengths, strict=True)]


def _rms(total: FloatMatrix, length: int) -> FloatMatrix:
    total /= length
    return np.sqrt(total, out=total)
