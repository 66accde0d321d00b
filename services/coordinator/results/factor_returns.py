"""Returns of the factors' proxies, as each session's figures name them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import date

import numpy as np
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.coordinator.results import history
from shared.arrays import DateVector, FloatMatrix, FloatVector
from shared.market.calendar import calendar
from shared.market.curve import MOST_SESSIONS_WITHOUT, Curve, long_bond_returns
from shared.market.registry import CURVE_PROXY, FACTOR_NAMES, proxy_legs


async def find_proxies(conn: AsyncConnection, sessions: DateVector) -> tuple[list[list[str | None]], FloatMatrix]:
    """By session the proxy of each factor, and their slopes on the market (T, F); none and NaN where nothing was chosen."""
    rows = await conn.execute(
        text("SELECT session, proxies, slopes FROM factors.proxies WHERE session BETWEEN :first AND :last"),
        {"first": sessions[0].astype(date), "last": sessions[-1].astype(date)},
    )
    stored = {np.datetime64(row.session, "D"): row for row in rows}
    width = len(FACTOR_NAMES)
    names: list[list[str | None]] = [[None] * width for _ in sessions]
    slopes = np.full((len(sessions), width), np.nan)
    for at, session in enumerate(sessions):
        if (row := stored.get(session)) is not None:
            names[at], slopes[at] = list(row.proxies), row.slopes
    return names, slopes


async def of_proxies(conn: AsyncConnection, proxies: Collection[str], sessions: DateVector) -> dict[str, FloatVector]:
    """Daily returns (T,) of each proxy; NaN where a session has none. What is not stored is not there."""
    funds = {fund for proxy in proxies for fund in proxy_legs(proxy) if fund is not None and fund != CURVE_PROXY}
    identities = await history.find_symbol_ids(conn, sorted(funds))
    rows = await history.of_prices(conn, "total_return", list(identities.values()), sessions)
    of_funds: dict[str, FloatVector] = dict(zip(identities, rows, strict=True))
    if CURVE_PROXY in proxies:
        known = await history.curves(conn, sessions[0].astype(date), sessions[-1].astype(date))
        of_funds[CURVE_PROXY] = of_curve(known, sessions)
    result = {}
    for proxy in proxies:
        long, short = proxy_legs(proxy)
        if long in of_funds and (short is None or short in of_funds):
            result[proxy] = of_funds[long] - (0.0 if short is None else of_funds[short])
    return result


def of_curve(curves: Sequence[Curve], sessions: DateVector) -> FloatVector:
    """(T,) returns of the bond on the yield curve on consecutive sessions, the first one's from the curve before it; NaN unknown.

    curves : ascending by date, from a few sessions before the first on, since one may be carried over as many
    """
    days = [day.astype(date) for day in sessions]
    grid = calendar().between(calendar().back(days[0], MOST_SESSIONS_WITHOUT + 1), days[-1])
    found = long_bond_returns(curves, grid)[len(grid) - len(days) :]
    return np.array([np.nan if each.value is None else each.value for each in found])


def laid_out(names: Sequence[Sequence[str | None]], returns: Mapping[str, FloatVector]) -> FloatMatrix:
    """(T, F) the returns on each session of the proxies that were chosen for it; NaN without one."""
    found = np.full((len(names), len(FACTOR_NAMES)), np.nan)
    for proxy, values in returns.items():
        where = np.array([[name == proxy for name in row] for row in names])
        found = np.where(where, values[:, None], found)
    return found
