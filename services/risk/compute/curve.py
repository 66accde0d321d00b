"""What risk takes from the yield curve: durations of the rates proxy, the risk-free rate (docs/methods.md §9).

Every figure of a session uses the newest curve dated before it, at most a month old (`shared.market.curve.before`), so it does not
depend on whether the session's own curve, published after the close, was there already.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import date, timedelta

import numpy as np

from services.risk.compute.scenarios import Duration, Scenarios
from shared.arrays import FloatVector
from shared.market.curve import CURVE_MOST_DAYS, Curve, before, long_bond, risk_free


def with_curve_durations(scenarios: Scenarios, curves: Sequence[Curve], sessions: Iterable[date]) -> Scenarios:
    """The scenarios with the duration that counts on each of the sessions.

    One that is written down and dated within the month before the session counts first: it may be the fund's own. Then the par bond
    on a curve of that month. Where curves are fetched nothing older counts: the newest one may have stayed away, and what is written
    down may be of another decade. Without any, an older one that is written down does, and is answered with a remark.

    curves : ascending by date, with the newest one there is before the first session, however old
    """
    return (
        scenarios
        if not curves
        else replace(scenarios, by_session={session: _duration(scenarios, curves, session) for session in sessions})
    )


def _duration(scenarios: Scenarios, curves: Sequence[Curve], session: date) -> Duration | None:
    stated = scenarios.duration_on(session)
    if stated is not None and session - stated.as_of <= timedelta(days=CURVE_MOST_DAYS):
        return stated
    if curves[0].date >= session:
        return stated
    curve = before(curves, session)
    bond = None if curve is None else long_bond(curve)
    return None if curve is None or bond is None else Duration(curve.date, bond.duration, bond.convexity)


def risk_free_returns(curves: Sequence[Curve], sessions: Sequence[date]) -> FloatVector:
    """(S,) daily risk-free returns, decimal; NaN where no curve is dated within the month before. curves: ascending by date."""
    found = (risk_free(curves, session) for session in sessions)
    return np.array([np.nan if value is None else value for value in found])
