"""The window that an explanation names is the one that the figure was computed on."""

from __future__ import annotations

from datetime import date

import numpy as np

from services.coordinator.explain.symbols import base_of
from services.factors.compute.metrics import bases
from shared.market.calendar import calendar
from shared.market.registry import RETURN_HORIZONS


def test_base_sessions_are_those_that_returns_are_computed_from() -> None:
    sessions = calendar().between(date(2018, 12, 3), date(2020, 12, 31))
    days = np.array(sessions, dtype="datetime64[D]")
    at = np.arange(sessions.index(date(2019, 12, 31)), len(sessions))
    rows = bases(days, at)
    assert (rows >= 0).all()
    for row, found in zip(at.tolist(), rows.tolist(), strict=True):
        told = [base_of(horizon, sessions[row]) for horizon in RETURN_HORIZONS]
        assert told == [sessions[base] for base in found], sessions[row]


def test_a_base_before_the_calendar_is_its_first_session() -> None:
    first = calendar().first
    assert base_of("12m", calendar().forward(first, 5)) == first
    assert base_of("1d", first) == first
