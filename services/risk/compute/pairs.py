"""The distinct (session, symbol) pairs of a batch, and what is measured on each of them.

A pair is *whole* where the symbol and the session's market have every return of LOOKBACK sessions. All windows of one symbol that are
whole share running sums; the series of the others are filled, and measured one by one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.risk.compute import covariance, har, rolling, volatility
from services.risk.compute.depth import of_shares
from services.risk.compute.inputs import Panel, has_series
from services.risk.compute.series import Filled, blocks, fill, real_shares
from shared.arrays import FloatMatrix, FloatVector, IntVector
from shared.market.registry import CORRELATION_WINDOW, COVERAGE_GATE, LOOKBACK

YEAR = CORRELATION_WINDOW


@dataclass(frozen=True, slots=True)
class Pairs:
    """n pairs, ascending by session and symbol. Figures are NaN where they are withheld for want of real returns."""

    keys: IntVector
    """(n,) `session * symbols + row`."""
    symbols: int
    whole: NDArray[np.bool_]
    shares: dict[int, FloatVector]
    """By window, the share of its sessions with a return of the symbol's own."""
    realized_252: FloatVector
    forecast: FloatVector
    har: NDArray[np.bool_]
    """Whether the HAR is in `forecast`, a half of it."""
    mean: FloatVector
    """Daily, over 252 sessions, less the return at the window's anchor."""
    sd: FloatVector
    """Daily, over 252 sessions, ddof=1; 0 where the series does not move."""
    own: IntVector
    """Sessions of the 252 with a return of the symbol's own."""

    def find(self, sessions: IntVector, rows: IntVector) -> IntVector:
        """Positions of (session, row) pairs, which must be there."""
        return np.searchsorted(self.keys, sessions * self.symbols + rows)


def measure(panel: Panel, sessions: IntVector, rows: IntVector, windows: Sequence[int]) -> Pairs:
    """The pairs (sessions[i], rows[i]) and their figures; `windows` are those that shares are wanted of."""
    count = len(panel.symbols)
    keys = np.unique(sessions * count + rows)
    session, row = np.divmod(keys, count)
    whole = whole_windows(panel)[row, session]
    figures = np.full((4, len(keys)), np.nan)
    by_har, own = np.zeros(len(keys), dtype=np.bool_), np.full(len(keys), YEAR)
    shares = {window: np.ones(len(keys)) for window in windows}
    if whole.any():
        figures[:, whole], by_har[whole] = _measure_whole(panel, session[whole], row[whole])
    if not whole.all():
        holed = fill(panel, session[~whole], row[~whole])
        figures[:, ~whole], by_har[~whole], own[~whole], found = _measure_filled(holed, windows)
        for window, share in found.items():
            shares[window][~whole] = share
    realized, forecast, mean, sd = figures
    return Pairs(keys, count, whole, shares, realized, forecast, by_har, mean, sd, own)


def whole_windows(panel: Panel) -> NDArray[np.bool_]:
    """(N, S) whether a public symbol and the session's market have all returns of LOOKBACK sessions."""
    known = np.zeros((len(panel.symbols), panel.returns.shape[1] + 1), dtype=np.int32)
    np.cumsum(np.isfinite(panel.returns), axis=1, out=known[:, 1:])
    there: NDArray[np.bool_] = known[:, LOOKBACK:] - known[:, :-LOOKBACK] == LOOKBACK
    market = panel.proxies[:, 0]
    there &= there[np.maximum(market, 0), np.arange(len(market))] & (market >= 0)
    there &= has_series(panel.kinds)[:, None]
    return there


def _measure_whole(panel: Panel, session: IntVector, row: IntVector) -> tuple[FloatMatrix, NDArray[np.bool_]]:
    """((realised, forecast, mean, sd) by pair, whether the HAR is in the forecast) of whole pairs, all windows of a symbol at once."""
    begin, end = int(session.min()), int(session.max()) + LOOKBACK
    distinct = np.unique(row)
    returns, days = panel.returns[distinct, begin:end], panel.days[begin:end]
    at = np.searchsorted(distinct, row), session - begin
    year, recent = returns[:, LOOKBACK - YEAR :], days[LOOKBACK - YEAR :]
    with np.errstate(invalid="ignore"):
        parts = [
            (
                har.on_windows(returns[part], days).value,
                volatility.ewma_of_windows(returns[part]),
                *rolling.moments(year[part], recent, YEAR),
            )
            for part in blocks(len(distinct))
        ]
    ahead, smoothed, mean, variance = (np.concatenate(figures)[at] for figures in zip(*parts, strict=True))
    by_har = np.isfinite(ahead)
    forecast = volatility.combine(ahead, smoothed, 0.5)
    sd = np.sqrt(variance)
    return np.stack([volatility.ANNUAL * sd, forecast, mean, covariance.zero_where_constant(sd, YEAR)]), by_har


def _measure_filled(
    of: Filled, windows: Sequence[int]
) -> tuple[FloatMatrix, NDArray[np.bool_], IntVector, dict[int, FloatVector]]:
    """((realised, forecast, NaN, sd), whether the HAR is in the forecast, own returns in 252, shares) of filled pairs."""
    shares = real_shares(of, windows)
    depth = of_shares(of.real.astype(np.float64))
    realized, forecast = (
        volatility.realized_volatility(of.values, of.valid, YEAR),
        volatility.forecast(of.values, depth.of(of.valid), judged=False),
    )
    columns = covariance.columns(of.values, of.real, of.valid)
    figures = np.stack(
        [
            np.where(shares[YEAR] >= COVERAGE_GATE, realized, np.nan),
            np.where(depth.covered >= COVERAGE_GATE, forecast.value, np.nan),
            np.full(len(of.keys), np.nan),
            columns.sd,
        ]
    )
    return figures, forecast.har, columns.own, shares
