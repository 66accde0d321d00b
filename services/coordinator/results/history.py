"""Series behind figures of a range: a portfolio's snapshots, symbols' returns, bills. Arrays, NaN where there is nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from uuid import UUID

import numpy as np
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.coordinator.compute.performance import Range
from services.coordinator.errors import NotFetched, NotFound
from services.coordinator.results.portfolios import require_portfolio
from shared.arrays import BoolMatrix, DateVector, FloatMatrix, FloatVector
from shared.market import curve
from shared.market.calendar import calendar
from shared.market.curve import Curve
from shared.market.internal_rate import merge_stretches
from shared.market.registry import COVERAGE_GATE, EMPTY_BELOW
from shared.market.symbols import normalise
from shared.text import printable

_EPOCH = np.datetime64("2000-01-01", "D")  # of PostgreSQL's dates
_DAYS = "string_agg(int4send(session - DATE '2000-01-01'), ''::bytea ORDER BY session)"


@dataclass(frozen=True, slots=True)
class Snapshots:
    """All sessions of a portfolio up to a day; NaN where a session has no snapshot, or one without the figure."""

    sessions: DateVector
    nav: FloatVector
    returns: FloatVector
    pnl: FloatVector
    flow: FloatVector
    coverage: FloatVector
    there: BoolMatrix
    stale: BoolMatrix
    gross: FloatVector
    """Long value less short value."""
    equity: float

    def idle(self) -> BoolMatrix:
        """Sessions with nothing to earn on: nothing from the session before, and nothing came in."""
        with np.errstate(invalid="ignore"):
            capital = np.abs(self.nav - self.pnl - np.minimum(self.flow, 0.0))
            nothing: BoolMatrix = (capital < EMPTY_BELOW) & (self.pnl == 0.0)
        return nothing

    def empty_stretches(self) -> list[tuple[int, int]]:
        """Days since 1970 from a close after which nothing was left to the next session; merged."""
        days = (self.sessions - np.datetime64(0, "D")).astype(np.int64)
        with np.errstate(invalid="ignore"):
            nothing = np.flatnonzero((np.abs(self.nav[:-1]) < EMPTY_BELOW) & (self.gross[:-1] < EMPTY_BELOW))
        return merge_stretches(list(zip(days[nothing].tolist(), days[nothing + 1].tolist(), strict=True)))

    def cut(self, first: date | None, last: date | None) -> slice:
        """The positions of the sessions in [first, last]."""
        low = 0 if first is None else int(np.searchsorted(self.sessions, np.datetime64(first, "D")))
        high = len(self.sessions)
        if last is not None:
            high = int(np.searchsorted(self.sessions, np.datetime64(last, "D"), side="right"))
        return slice(low, high)

    def base(self, low: int) -> float:
        """NAV before the session at a position: of the session before, or the opening equity."""
        return float(self.nav[low - 1]) if low else self.equity

    def range(self, part: slice, risk_free: FloatVector) -> Range:
        covered = part.start == 0 or bool(self.coverage[part.start - 1] >= COVERAGE_GATE)
        return Range(
            self.sessions[part], self.returns[part], self.coverage[part], covered, risk_free, ~self.there[part],
            self.idle()[part],
        )  # fmt: skip


async def snapshots(conn: AsyncConnection, portfolio: UUID, last: date | None) -> Snapshots:
    """Every session up to `last`, or to the newest that has a snapshot. `NotFound` where there is none at all."""
    await require_portfolio(conn, portfolio)
    rows = (
        await conn.execute(
            text("""
                SELECT u.session, CAST(s.nav AS float8), s.daily_return, CAST(s.daily_pnl AS float8), CAST(s.flow AS float8),
                       s.coverage, CAST(s.long_value - s.short_value AS float8), s.session IS NOT NULL,
                       u.completed_revision < u.required_revision
                FROM ledger.units u
                LEFT JOIN snapshots.snapshots s ON s.portfolio_id = u.portfolio_id AND s.session = u.session
                WHERE u.portfolio_id = :id AND u.phase = 'snapshots' AND (CAST(:last AS date) IS NULL OR u.session <= :last)
                ORDER BY u.session
            """),
            {"id": portfolio, "last": last},
        )
    ).all()
    while rows and not rows[-1][7]:
        rows = rows[:-1]
    if not rows:
        until = "" if last is None else f" up to {last}"
        raise NotFound(
            f"Portfolio {portfolio} has no snapshot{until} yet. GET /api/v1/portfolios/{portfolio}/status says what is missing and "
            "when it will be there."
        )
    equity = await conn.scalar(
        text("SELECT CAST(equity_balance AS float8) FROM coordinator.portfolios WHERE id = :id"), {"id": portfolio}
    )
    columns = list(zip(*rows, strict=True))

    def numbers(values: Sequence[float | None]) -> FloatVector:
        return np.array([np.nan if value is None else value for value in values], dtype=np.float64)

    nav, returns, pnl, flow, coverage, gross = (numbers(column) for column in columns[1:7])
    return Snapshots(
        sessions=np.array(columns[0], dtype="datetime64[D]"),
        nav=nav,
        returns=returns,
        pnl=pnl,
        flow=flow,
        coverage=coverage,
        there=np.array(columns[7], dtype=np.bool_),
        stale=np.array(columns[8], dtype=np.bool_),
        gross=gross,
        equity=float(equity or 0.0),
    )


async def require_symbol_ids(conn: AsyncConnection, symbols: Sequence[str], column: str) -> dict[str, int]:
    """Ingest's number of each symbol as normalised. Raises `NotFetched` naming those that it does not know."""
    names = [normalise(symbol) for symbol in symbols]
    rows = await conn.execute(
        text("SELECT symbol, id FROM ingest.symbols WHERE symbol = ANY (CAST(:symbols AS text[]))"),
        {"symbols": [name for name in names if name.isprintable()]},
    )
    known = {row.symbol: int(row.id) for row in rows}
    if missing := sorted({name for name in names if name not in known}):
        raise NotFetched([printable(name) for name in missing], column)
    return {name: known[name] for name in names}


async def find_symbol_ids(conn: AsyncConnection, symbols: Sequence[str]) -> dict[str, int]:
    """Ingest's numbers of those symbols that it knows."""
    rows = await conn.execute(
        text("SELECT symbol, id FROM ingest.symbols WHERE symbol = ANY (CAST(:symbols AS text[]))"),
        {"symbols": list(symbols)},
    )
    return {row.symbol: int(row.id) for row in rows}


def window(length: int, first: date, last: date) -> DateVector:
    """The sessions of all windows of `length` sessions that end in [first, last], ascending."""
    days = calendar()
    return np.array(days.between(days.back(first, length - 1), last), dtype="datetime64[D]")


async def of_prices(conn: AsyncConnection, column: str, ids: Sequence[int], sessions: DateVector) -> FloatMatrix:
    """(n, T) a column of ingest.prices of n symbols on ascending sessions; NaN where there is none.

    column : such as `total_return`, `close`, `volume`; one of our own names, never a caller's
    """
    found = np.full((len(ids), len(sessions)), np.nan)
    if not len(sessions) or not ids:
        return found
    rows = await conn.execute(
        text(f"""
            SELECT symbol_id, {_DAYS}, string_agg(float8send(coalesce({column}, 'NaN')), ''::bytea ORDER BY session)
            FROM ingest.prices WHERE symbol_id = ANY (CAST(:ids AS int[])) AND session BETWEEN :first AND :last GROUP BY symbol_id
        """),
        {"ids": list(ids), "first": sessions[0].astype(date), "last": sessions[-1].astype(date)},
    )
    row_of = {identity: row for row, identity in enumerate(ids)}
    for identity, packed, values in rows:
        days = _EPOCH + np.frombuffer(packed, dtype=">i4").astype("timedelta64[D]")
        at = np.searchsorted(sessions, days)
        fits = (at < len(sessions)) & (sessions[np.minimum(at, len(sessions) - 1)] == days)
        found[row_of[identity], at[fits]] = np.frombuffer(values, dtype=">f8").astype(np.float64)[fits]
    return found


async def curves(conn: AsyncConnection, first: date, last: date) -> list[Curve]:
    """Yield curves that sessions of [first, last] may look at, ascending."""
    rows = await conn.execute(
        text("SELECT date, tenors, yields FROM ingest.yields WHERE date BETWEEN :first AND :last ORDER BY date"),
        {"first": first - timedelta(days=curve.CURVE_MOST_DAYS), "last": last},
    )
    return [Curve(day, tuple(tenors), tuple(yields)) for day, tenors, yields in rows]


def risk_free(curves_: Sequence[Curve], sessions: DateVector) -> FloatVector:
    """(n,) the daily risk-free return of each session, of the newest curve dated before it; NaN without one within a month."""
    if not curves_:
        return np.full(len(sessions), np.nan)
    dates = np.array([of.date for of in curves_], dtype="datetime64[D]")
    daily = np.array(
        [(1.0 + of.at(curve.BILL)) ** (1.0 / curve.SESSIONS_A_YEAR) - 1.0 if of.has_bills else np.nan for of in curves_]
    )
    at = np.searchsorted(dates, sessions) - 1
    near = (at >= 0) & (sessions - dates[np.maximum(at, 0)] <= np.timedelta64(curve.CURVE_MOST_DAYS, "D"))
    return np.where(near, daily[np.maximum(at, 0)], np.nan)
