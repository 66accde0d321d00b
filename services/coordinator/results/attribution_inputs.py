"""What an attribution of a range is worked out from: P&L and values by symbol, exposures, proxies' returns, a benchmark's sectors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from uuid import UUID

import numpy as np
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.coordinator.errors import NotFound
from services.coordinator.results import factor_returns, history, sector_names
from services.coordinator.results.history import Snapshots
from shared.arrays import DateVector, FloatMatrix, FloatVector
from shared.market import layouts
from shared.market.registry import FACTOR_NAMES, JOINT_FACTORS, SECTOR_FUNDS

UNITS = 10_000  # of money in the arrays of holdings
_MONEY = [
    layouts.EXPOSURES.index(name) * len(layouts.EXPOSURE) + layouts.EXPOSURE.index("money") for name in FACTOR_NAMES
]


@dataclass(frozen=True, slots=True)
class Held:
    """P&L (T, N) and value at the close before (T, N) of the symbols of a range, money."""

    symbols: list[str]
    pnl: FloatMatrix
    before: FloatMatrix


@dataclass(frozen=True, slots=True)
class SectorBenchmark:
    """Sector weights on each session, as of the close before, and what the sectors' funds returned."""

    code: str
    sectors: list[str]
    weights: FloatMatrix
    returns: FloatMatrix


@dataclass(frozen=True, slots=True)
class Inputs:
    found: Snapshots
    part: slice
    held: Held
    sectors: Mapping[str, str]
    exposure: FloatMatrix
    slopes: FloatMatrix
    returns: FloatMatrix
    benchmark: SectorBenchmark | None

    @property
    def base(self) -> FloatVector:
        """(T,) capital of each session: NAV at the close before and what came in at the open."""
        before = np.append(self.found.base(self.part.start), self.found.nav[self.part][:-1])
        return before + np.maximum(np.nan_to_num(self.found.flow[self.part], nan=0.0), 0.0)


async def read(conn: AsyncConnection, portfolio: UUID, first: date | None, last: date | None) -> Inputs:
    found = await history.snapshots(conn, portfolio, last)
    part = found.cut(first, last)
    if part.start >= part.stop:
        raise NotFound(f"Portfolio {portfolio} has no snapshot between {first} and {last or found.sessions[-1]} yet.")
    sessions = found.sessions[part]
    # Of the session before each one; what is before the portfolio's first session held nothing.
    before = found.sessions[max(0, part.start - 1) : part.stop - 1] if part.stop > 1 else found.sessions[:0]
    held = await _find_held(conn, portfolio, sessions, before)
    exposure = await _exposures(conn, portfolio, before)
    names, slopes = (
        await factor_returns.find_proxies(conn, before) if len(before) else ([], np.zeros((0, len(FACTOR_NAMES))))
    )
    proxies = {name for row in names for name in row if name is not None}
    returns = factor_returns.laid_out(
        names, await factor_returns.of_proxies(conn, proxies, sessions[len(sessions) - len(before) :])
    )
    missing = len(sessions) - len(before)
    # Before the first session nothing was held: the market moved nothing, and of the others nothing is said.
    nothing = np.full((missing, len(FACTOR_NAMES)), np.nan)
    nothing[:, 0] = 0.0

    def padded(values: FloatMatrix) -> FloatMatrix:
        return np.concatenate([nothing, values])

    return Inputs(
        found, part, held,
        await sector_names.find_sectors(conn, portfolio, held.symbols, sessions[-1].astype(date)),
        padded(exposure), padded(slopes), padded(returns),
        await _benchmark(conn, sessions),
    )  # fmt: skip


async def _find_held(conn: AsyncConnection, portfolio: UUID, sessions: DateVector, before: DateVector) -> Held:
    rows = (
        await conn.execute(
            text("""
                SELECT h.session, array_agg(x.symbol) AS symbols, array_agg(x.daily_pnl) AS daily_pnl,
                       array_agg(x.market_value) AS market_value
                FROM snapshots.holdings h CROSS JOIN LATERAL (
                    -- By symbol already: fifty thousand lots on five hundred sessions are gigabytes of values.
                    SELECT u.symbol, CAST(sum(u.daily_pnl) AS bigint) AS daily_pnl, CAST(sum(u.market_value) AS bigint) AS market_value
                    FROM unnest(h.symbols, h.daily_pnl, h.market_value) AS u (symbol, daily_pnl, market_value) GROUP BY u.symbol
                ) x
                WHERE h.portfolio_id = :id AND h.session BETWEEN :first AND :last GROUP BY h.session ORDER BY h.session
            """),
            {
                "id": portfolio,
                "first": (before[0] if len(before) else sessions[0]).astype(date),
                "last": sessions[-1].astype(date),
            },
        )
    ).all()
    symbols = sorted({symbol for row in rows for symbol in row.symbols})
    place = {symbol: at for at, symbol in enumerate(symbols)}
    pnl = np.zeros((len(sessions), len(symbols)), dtype=np.int64)
    value = np.zeros_like(pnl)
    missing = len(sessions) - len(before)
    for row in rows:
        own = [place[symbol] for symbol in row.symbols]
        session = np.datetime64(row.session, "D")
        at = int(np.searchsorted(sessions, session))
        if at < len(sessions) and sessions[at] == session:
            np.add.at(pnl[at], own, row.daily_pnl)
        after = int(np.searchsorted(before, session)) + missing
        if after < len(sessions) and before[after - missing] == session:
            np.add.at(value[after], own, row.market_value)
    return Held(symbols, pnl / UNITS, value / UNITS)


async def _exposures(conn: AsyncConnection, portfolio: UUID, sessions: DateVector) -> FloatMatrix:
    """(T, F) money of each factor at the close of the sessions; NaN unknown, 0 where nothing was held."""
    money = np.full((len(sessions), len(FACTOR_NAMES)), np.nan)
    if not len(sessions):
        return money
    rows = await conn.execute(
        text("""
            SELECT session, exposures, cardinality(symbols) = 0 AS empty FROM risk.results
            WHERE portfolio_id = :id AND session BETWEEN :first AND :last AND exposures IS NOT NULL
        """),
        {"id": portfolio, "first": sessions[0].astype(date), "last": sessions[-1].astype(date)},
    )
    for row in rows:
        at = int(np.searchsorted(sessions, np.datetime64(row.session, "D")))
        if at < len(sessions) and sessions[at] == np.datetime64(row.session, "D"):
            # What an older model stored may be laid out otherwise: then it is unknown.
            known = np.array(row.exposures, dtype=np.float64)
            if row.empty or len(known) == len(layouts.EXPOSURES) * len(layouts.EXPOSURE):
                money[at] = 0.0 if row.empty else known[_MONEY]
    # A factor that is only reported earns nothing: it is in the others already.
    return np.where(JOINT_FACTORS, money, np.nan)


async def _benchmark(conn: AsyncConnection, sessions: DateVector) -> SectorBenchmark | None:
    """The chosen benchmark, where its weights are dated before every session of the range."""
    rows = (
        await conn.execute(
            text("""
                SELECT b.code, b.date, b.sectors, b.weights FROM coordinator.benchmarks b
                JOIN coordinator.versions v ON v.name = 'sector_benchmark' AND v.version = b.code
                WHERE b.replaced_at IS NULL AND b.date < :last ORDER BY b.date
            """),
            {"last": sessions[-1].astype(date)},
        )
    ).all()
    if not rows or np.datetime64(rows[0].date, "D") >= sessions[0]:
        return None
    sectors = sorted({name for row in rows for name in row.sectors})
    tables = np.array([[dict(zip(row.sectors, row.weights, strict=True)).get(s, 0.0) for s in sectors] for row in rows])
    dates = np.array([row.date for row in rows], dtype="datetime64[D]")
    weights = tables[np.searchsorted(dates, sessions) - 1]
    funds = await factor_returns.of_proxies(conn, set(SECTOR_FUNDS.values()), sessions)
    nothing = np.full(len(sessions), np.nan)
    returns = np.column_stack([funds.get(SECTOR_FUNDS.get(name, ""), nothing) for name in sectors])
    total = weights.sum(axis=1, keepdims=True)
    return SectorBenchmark(str(rows[-1].code), sectors, weights / np.where(total > 0.0, total, 1.0), returns)
