"""The volatility that was forecast of a symbol, and the one that came."""

from __future__ import annotations

import numpy as np

from services.risk.compute import volatility
from services.risk.compute.volatility import Forecast
from shared.arrays import BoolVector, FloatVector
from shared.market.registry import LOOKBACK
from tests.support.pricefiles import Grid


def forecast_and_came(of: Grid, symbol: str) -> tuple[Forecast, FloatVector, BoolVector]:
    """Of every fifth session: the forecast on the LOOKBACK sessions before, the annual volatility of the 21 after, and where both are
    known and the forecast is HAR's."""
    r = of.of(symbol)[1:]
    ends = np.arange(LOOKBACK, len(r) - 21, 5)
    past = np.lib.stride_tricks.sliding_window_view(r, LOOKBACK)[ends - LOOKBACK]
    there = np.isfinite(past)
    found = volatility.forecast(np.where(there, past, 0.0), there)
    later = np.sqrt((np.lib.stride_tricks.sliding_window_view(r, 21)[ends] ** 2).mean(axis=1) * 252)
    return found, later, found.har & np.isfinite(later)
