"""SQL of the snapshots service: what it reads from the others' schemas, and the two tables it owns.

Set-based throughout: the number of statements does not depend on how many portfolios, lots or sessions a batch has.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db import binary
from shared.db.bulk import copy
from shared.work import UnitKey

Rows = Sequence[Row[Any]]

# Money travels as ten-thousandths in a bigint, which is what was computed; it becomes numeric where it is stored.
_MONEY = (
    "nav", "cash", "long_value", "short_value", "daily_pnl", "cumulative_pnl", "realized_pnl", "unrealized_pnl", "dividends",
    "flow", "cumulative_flow",
)  # fmt: skip
_FLOATS = (
    "daily_return",
    "mtd_return",
    "ytd_return",
    "cumulative_return",
    "peak_index",
    "drawdown",
    "xirr",
    "coverage",
)
_COUNTS = ("positions", "long_positions", "short_positions")
SNAPSHOT_FIGURES = (*_MONEY, *_FLOATS, *_COUNTS)
SNAPSHOT_COLUMNS = ("portfolio_id", "session", "revision", "quality", "reasons", "provisional", *SNAPSHOT_FIGURES)
HOLDINGS_COLUMNS = (
    "portfolio_id", "session", "revision", "position_ids", "symbols", "quantity", "price", "price_session", "price_basis", "stale",
    "market_value", "daily_pnl", "cumulative_pnl", "realized_pnl", "dividends", "reason",
)  # fmt: skip


async def portfolios(conn: AsyncConnection, ids: Sequence[UUID], previous: date, last: date) -> Rows:
    """Living portfolios with the snapshot of the session before (columns of it null where there is none).

    Not those with a lot, entered by `last`, of which it is not settled whether its numbers are as traded: a snapshot of it
    could be wrong by the ratio of a split.
    """
    result = await conn.execute(
        text("""
            SELECT p.id, p.equity_balance, p.first_session, s.nav, s.cash, s.cumulative_flow,
                   s.mtd_return, s.ytd_return, s.cumulative_return, s.peak_index, coalesce(s.provisional, false) AS provisional
            FROM coordinator.portfolios p
            LEFT JOIN snapshots.snapshots s ON s.portfolio_id = p.id AND s.session = :previous
            WHERE p.id = ANY (CAST(:ids AS uuid[])) AND p.deleted_at IS NULL AND p.first_session IS NOT NULL
              AND NOT EXISTS (
                  SELECT 1 FROM coordinator.positions x
                  WHERE x.portfolio_id = p.id AND x.deleted_at IS NULL AND x.basis_awaits IS NOT NULL AND x.entry_session <= :last
                    -- Or it was settled without a close, and now there is one.
                    AND (x.basis_assumed OR EXISTS (
                        SELECT 1 FROM ingest.symbols y JOIN ingest.prices q ON q.symbol_id = y.id
                        WHERE y.symbol = x.symbol AND q.session = x.basis_awaits)))
        """),
        {"ids": list(ids), "previous": previous, "last": last},
    )
    return result.all()


async def positions(conn: AsyncConnection, ids: Sequence[UUID], last: date) -> Rows:
    """Every lot entered by `last`, the closed ones included, in the order of the holdings arrays."""
    result = await conn.execute(
        text("""
            SELECT portfolio_id, id, symbol, investment_class, quantity, entry_price, exit_price,
                   entry_date, exit_date, entry_session, exit_session, investment_subtype, basis_reason, underlying_symbol
            FROM coordinator.positions
            WHERE portfolio_id = ANY (CAST(:ids AS uuid[])) AND deleted_at IS NULL AND entry_session <= :last
            ORDER BY portfolio_id, entry_session, id
        """),
        {"ids": list(ids), "last": last},
    )
    return result.all()


async def closes_at_expiry(conn: AsyncConnection, asked: Sequence[tuple[str, date, date]]) -> Sequence[float | None]:
    """Of each (underlying, last session of a contract, entry) the underlying's close as traded; None without one, and where a split in
    between changed what is delivered."""
    result = await conn.execute(
        text("""
            SELECT p.close FROM unnest(CAST(:symbols AS text[]), CAST(:sessions AS date[]), CAST(:entries AS date[]))
                WITH ORDINALITY AS w (symbol, session, entry, n)
            LEFT JOIN ingest.symbols s ON s.symbol = w.symbol
            LEFT JOIN ingest.prices p ON p.symbol_id = s.id AND p.session = w.session AND p.close > 0
                AND NOT EXISTS (SELECT 1 FROM ingest.actions a WHERE a.symbol_id = s.id AND a.type = 'split'
                                AND a.ex_session > w.entry AND a.ex_session <= w.session)
            ORDER BY w.n
        """),
        {
            "symbols": [symbol for symbol, _, _ in asked],
            "sessions": [session for _, session, _ in asked],
            "entries": [entry for _, _, entry in asked],
        },
    )
    return list(result.scalars())


async def flows(conn: AsyncConnection, ids: Sequence[UUID], last: date) -> Rows:
    """(portfolio, session, amount): all flows from the beginning, for the money-weighted return needs them."""
    result = await conn.execute(
        text("""
            SELECT portfolio_id, session, sum(amount) AS amount FROM coordinator.flows
            WHERE portfolio_id = ANY (CAST(:ids AS uuid[])) AND deleted_at IS NULL AND session <= :last
            GROUP BY portfolio_id, session ORDER BY portfolio_id, session
        """),
        {"ids": list(ids), "last": last},
    )
    return result.all()


async def find_empty_sessions(conn: AsyncConnection, ids: Sequence[UUID], last: date, below: float) -> Rows:
    """(portfolio, session) up to `last` at whose close nothing was left, ascending.

    ids : portfolios that money was taken out of, or that opened with none. below : amounts of less are nothing
    """
    result = await conn.execute(
        text("""
            SELECT portfolio_id, session FROM snapshots.snapshots
            WHERE portfolio_id = ANY (CAST(:ids AS uuid[])) AND session <= :last
              AND abs(nav) < :below AND long_value - short_value < :below
            ORDER BY portfolio_id, session
        """),
        {"ids": list(ids), "last": last, "below": below},
    )
    return result.all()


async def holdings(conn: AsyncConnection, ids: Sequence[UUID], session: date) -> Rows:
    """The lots' rows of one session."""
    result = await conn.execute(
        text("""
            SELECT portfolio_id, position_ids, price, price_session, price_basis, stale, market_value,
                   cumulative_pnl, realized_pnl, dividends
            FROM snapshots.holdings WHERE portfolio_id = ANY (CAST(:ids AS uuid[])) AND session = :session
        """),
        {"ids": list(ids), "session": session},
    )
    return result.all()


async def prices(conn: AsyncConnection, symbols: Sequence[str], first: date, last: date) -> Rows:
    """Per symbol, arrays over its priced sessions: day since 1970, close, adjusted close (NaN where null), from a file."""
    result = await conn.execute(
        text("""
            SELECT s.symbol, array_agg(p.session - DATE '1970-01-01') AS days,
                   array_agg(coalesce(p.close, 'NaN')) AS close, array_agg(coalesce(p.adj_close, 'NaN')) AS adj_close,
                   array_agg(p.basis = 'file') AS from_file
            FROM ingest.symbols s JOIN ingest.prices p ON p.symbol_id = s.id
            WHERE s.symbol = ANY (CAST(:symbols AS text[])) AND p.session BETWEEN :first AND :last
            GROUP BY s.symbol
        """),
        {"symbols": list(symbols), "first": first, "last": last},
    )
    return result.all()


async def actions(
    conn: AsyncConnection, symbols: Sequence[str], *, splits_after: date, first: date, last: date
) -> Rows:
    """(symbol, ex session, type, value) by ex session: the splits since the earliest entry, the dividends of the sessions."""
    result = await conn.execute(
        text("""
            SELECT s.symbol, a.ex_session, a.type, a.value
            FROM ingest.symbols s JOIN ingest.actions a ON a.symbol_id = s.id
            WHERE s.symbol = ANY (CAST(:symbols AS text[])) AND a.ex_session <= :last
              AND a.ex_session > CASE a.type WHEN 'split' THEN CAST(:splits_after AS date) ELSE CAST(:first AS date) - 1 END
            ORDER BY s.symbol, a.ex_session
        """),
        {"symbols": list(symbols), "splits_after": splits_after, "first": first, "last": last},
    )
    return result.all()


async def gaps(conn: AsyncConnection, symbols: Sequence[str], first: date, last: date) -> Rows:
    """(symbol, first, last, reason) of the ranges without a price that touch the sessions."""
    result = await conn.execute(
        text("""
            SELECT s.symbol, g.first, g.last, g.reason FROM ingest.symbols s JOIN ingest.gaps g ON g.symbol_id = s.id
            WHERE s.symbol = ANY (CAST(:symbols AS text[])) AND g.first <= :last AND g.last >= :first
        """),
        {"symbols": list(symbols), "first": first, "last": last},
    )
    return result.all()


async def absences(conn: AsyncConnection, symbols: Sequence[str], first: date, last: date) -> Rows:
    """(symbol, first, last) of the ranges without a price that lie within [first, last], by symbol and day; what is not yet listed
    and what only waits is left out."""
    result = await conn.execute(
        text("""
            SELECT s.symbol, g.first, g.last FROM ingest.symbols s JOIN ingest.gaps g ON g.symbol_id = s.id
            WHERE s.symbol = ANY (CAST(:symbols AS text[])) AND g.first > :first AND g.first <= :last
              AND g.reason <> 'not_yet_listed' AND g.last > g.first
            ORDER BY s.symbol, g.first
        """),
        {"symbols": list(symbols), "first": first, "last": last},
    )
    return result.all()


async def replace(
    conn: AsyncConnection,
    *,
    snapshots: Iterable[Sequence[Any]],
    holdings: Mapping[UnitKey, bytes],
    revisions: Mapping[UnitKey, int],
    model_version: str,
) -> None:
    """Write rows of `SNAPSHOT_COLUMNS` (money in ten-thousandths, reasons as JSON text) and of `HOLDINGS_COLUMNS`.

    holdings  : the columns after the key, as `shared.db.binary` encodes them
    revisions : the units to write
    What a higher revision replaces moves to the history tables, by trigger.
    """
    money = ", ".join(f"{column} bigint" for column in _MONEY)
    floats = ", ".join(f"{column} float8" for column in _FLOATS)
    counts = ", ".join(f"{column} integer" for column in _COUNTS)
    await conn.execute(
        text(f"""
            CREATE TEMP TABLE new_snapshots (portfolio_id uuid, session date, revision bigint, quality text, reasons text,
                                             provisional boolean, {money}, {floats}, {counts}) ON COMMIT DROP
        """)
    )
    await conn.execute(
        text("CREATE TEMP TABLE new_holdings (LIKE snapshots.holdings INCLUDING DEFAULTS) ON COMMIT DROP")
    )
    await copy(conn, "new_snapshots", SNAPSHOT_COLUMNS, snapshots)
    rows = (binary.uuid(key.portfolio_id) + binary.day(key.session) + binary.int8(revision) + holdings[key]
            for key, revision in revisions.items())  # fmt: skip
    await binary.copy(conn, "new_holdings", HOLDINGS_COLUMNS, rows)
    stored = [*SNAPSHOT_COLUMNS, "gross_exposure", "net_exposure", "model_version", "computed_at"]
    values = ", ".join(
        f"{column} * 0.0001" if column in _MONEY else "CAST(reasons AS jsonb)" if column == "reasons" else column
        for column in SNAPSHOT_COLUMNS
    )
    await conn.execute(
        text(f"""
            INSERT INTO snapshots.snapshots ({", ".join(stored)})
            SELECT {values}, (long_value - short_value) * 0.0001, (long_value + short_value) * 0.0001, :model_version, clock_timestamp()
            FROM new_snapshots
            ON CONFLICT (portfolio_id, session) DO UPDATE SET {_assignments(stored)}
        """),
        {"model_version": model_version},
    )
    await conn.execute(
        text(f"""
            INSERT INTO snapshots.holdings ({", ".join(HOLDINGS_COLUMNS)}, provisional)
            SELECT {", ".join(f"h.{column}" for column in HOLDINGS_COLUMNS)}, s.provisional
            FROM new_holdings h JOIN new_snapshots s ON s.portfolio_id = h.portfolio_id AND s.session = h.session
            ON CONFLICT (portfolio_id, session) DO UPDATE SET {_assignments([*HOLDINGS_COLUMNS, "provisional"])}
        """)
    )


def _assignments(columns: Iterable[str]) -> str:
    return ", ".join(f"{column} = excluded.{column}" for column in columns if column not in {"portfolio_id", "session"})
