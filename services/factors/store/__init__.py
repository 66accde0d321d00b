"""SQL of what the factors service reads of the others' tables (of prices each column packed), and of its own facts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import NamedTuple, TypeAlias
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.arrays import FloatVector, IntVector
from shared.db import locks, packed
from shared.market.curve import Curve

# Into how many keys symbols fall: one lock a symbol would exhaust the server's lock table.
LOCK_STRIPES = 64

# Bits of `Series.flags`.
AS_DELIVERED = 1  # the close is a file's, its splits unknown
PRICE_ONLY = 2  # the return leaves dividends out
REMARK = 4  # times the position, from 1 on, of the return's remark among those that are asked for


class Holding(NamedTuple):
    """A lot that needs facts: the symbol (of an option, its underlying), from entry to exit, both sessions included."""

    portfolio_id: UUID
    symbol: str
    entry: date
    exit: date | None


@dataclass(frozen=True, slots=True)
class Fact:
    """A stored fact, as far as deciding whether it still stands needs it. `reason` is why there are no joint betas."""

    symbol_id: int
    session: date
    price_version: int
    model_version: str
    has_betas: bool
    reason: str | None


Changes: TypeAlias = tuple[IntVector, IntVector]
"""Days counted from a first one, and the change number of each."""


@dataclass(frozen=True, slots=True)
class Series:
    """Stored prices of one symbol. `days` counts calendar days from the query's first session; order is arbitrary."""

    days: IntVector
    close: FloatVector
    adj_close: FloatVector
    returns: FloatVector
    flags: IntVector


# Private and cash-like holdings have no market and need no facts.
_NAME = "CASE investment_class WHEN 'OPTIONS' THEN coalesce(underlying_symbol, symbol) ELSE symbol END"
_HELD = """
    coordinator.positions
    WHERE portfolio_id = ANY (CAST(:portfolios AS uuid[])) AND deleted_at IS NULL AND investment_class <> 'PRIVATE'
      AND coalesce(investment_subtype, '') NOT IN ('CASH', 'MONEY_MARKET')
      AND entry_session <= :last AND (exit_session IS NULL OR exit_session >= :first)
"""


async def holdings(conn: AsyncConnection, portfolios: Sequence[UUID], first: date, last: date) -> list[Holding]:
    """Lots of the portfolios held on some session of [first, last]."""
    rows = await conn.execute(
        text(f"SELECT DISTINCT portfolio_id, {_NAME}, entry_session, exit_session FROM {_HELD}"),
        {"portfolios": list(portfolios), "first": first, "last": last},
    )
    return [Holding(*row) for row in rows]


async def held_symbols(conn: AsyncConnection, portfolios: Sequence[UUID], first: date, last: date) -> list[str]:
    """What those lots are of, each once."""
    given = {"portfolios": list(portfolios), "first": first, "last": last}
    return list((await conn.execute(text(f"SELECT DISTINCT {_NAME} FROM {_HELD}"), given)).scalars())


async def symbol_ids(conn: AsyncConnection, symbols: Iterable[str]) -> dict[str, int]:
    """Ids of the symbols that ingest knows."""
    rows = await conn.execute(
        text("SELECT symbol, id FROM ingest.symbols WHERE symbol = ANY (CAST(:symbols AS text[]))"),
        {"symbols": sorted(set(symbols))},
    )
    return {row.symbol: row.id for row in rows}


async def lock_symbols(conn: AsyncConnection, ids: Iterable[int]) -> None:
    """Hold the symbols until the transaction ends. Keys are taken in order, so two callers wait but never deadlock."""
    stripes = sorted({symbol_id % LOCK_STRIPES for symbol_id in ids})
    if stripes:
        # A function that changes something is called after the order is made, row by row.
        await conn.execute(
            text("""
                SELECT pg_advisory_xact_lock(CAST(:class AS int), stripe) FROM unnest(CAST(:stripes AS int[])) AS s (stripe)
                ORDER BY stripe
            """),
            {"class": locks.FACTOR_SYMBOLS, "stripes": stripes},
        )


async def find_incomplete(
    conn: AsyncConnection, ids: Sequence[int], first: date, last: date, sessions: int, model: str, since: date
) -> list[int]:
    """Those of the symbols that lack a fact of this model on some session of [first, last]. Without any price from `since` on they
    are to have none."""
    rows = await conn.execute(
        text("""
            SELECT s.id FROM unnest(CAST(:ids AS int[])) AS s (id)
            LEFT JOIN LATERAL (SELECT count(*) AS n FROM factors.exposures e
                               WHERE e.symbol_id = s.id AND e.session BETWEEN :first AND :last AND e.model_version = :model) f ON true
            WHERE f.n < :sessions
              AND EXISTS (SELECT 1 FROM ingest.prices p WHERE p.symbol_id = s.id AND p.session BETWEEN :since AND :last)
        """),
        {"ids": list(ids), "first": first, "last": last, "sessions": sessions, "model": model, "since": since},
    )
    return [row[0] for row in rows]


async def facts(conn: AsyncConnection, ids: Sequence[int], first: date, last: date) -> list[Fact]:
    """Stored facts of the symbols on [first, last]."""
    rows = await conn.execute(
        text("""
            SELECT symbol_id, session, price_version, model_version, joint[1] <> 'NaN'::float8, reasons ->> 'joint'
            FROM factors.exposures
            WHERE symbol_id = ANY (CAST(:ids AS int[])) AND session BETWEEN :first AND :last
        """),
        {"ids": list(ids), "first": first, "last": last},
    )
    return [Fact(*row) for row in rows]


async def proxy_versions(conn: AsyncConnection, first: date, last: date) -> dict[date, tuple[int, str]]:
    """Price and model version of the stored proxies by session."""
    rows = await conn.execute(
        text(
            "SELECT session, price_version, model_version FROM factors.proxies WHERE session BETWEEN :first AND :last"
        ),
        {"first": first, "last": last},
    )
    return {session: (version, model) for session, version, model in rows}


# Days and change numbers of prices, which are many; and of what else changes how a symbol's prices are read, which is little.
_PRICES = """SELECT symbol_id, session, change FROM ingest.prices
             WHERE symbol_id = ANY (CAST(:ids AS int[])) AND session BETWEEN :first AND :last"""
_OTHERS = """
    SELECT symbol_id, ex_session AS session, change FROM ingest.actions
    WHERE symbol_id = ANY (CAST(:ids AS int[])) AND ex_session BETWEEN :first AND :last
    UNION ALL
    -- Of a symbol that was taken for another security every day is of that change, also one that has no price now.
    SELECT s.id, CAST(d.day AS date), s.replaced FROM ingest.symbols s
    CROSS JOIN generate_series(CAST(:first AS timestamp), CAST(:last AS timestamp), interval '1 day') AS d (day)
    WHERE s.id = ANY (CAST(:ids AS int[])) AND s.replaced IS NOT NULL
"""


async def changes(
    conn: AsyncConnection, ids: Sequence[int], first: date, last: date, *, of_prices: bool
) -> dict[int, Changes]:
    """Per symbol the days (counted from `first`) and change numbers of its prices, or of its actions and of the symbol itself."""
    rows = await conn.execute(
        text(f"""
            SELECT symbol_id, string_agg(int4send(session - CAST(:first AS date)), ''::bytea),
                   string_agg(int8send(change), ''::bytea)
            FROM ({_PRICES if of_prices else _OTHERS}) AS c GROUP BY symbol_id
        """),
        {"ids": list(ids), "first": first, "last": last},
    )
    return {symbol_id: (packed.ints(days, 4), packed.ints(versions, 8)) for symbol_id, days, versions in rows}


async def prices(
    conn: AsyncConnection, ids: Sequence[int], first: date, last: date, remarks: Sequence[str]
) -> dict[int, Series]:
    """Stored prices of the symbols on [first, last]. No order within the aggregates: `days` says where a value belongs.

    remarks : about returns, in the order of the numbers they have in the flags
    """
    rows = await conn.execute(
        text(f"""
            SELECT symbol_id,
                   string_agg(int4send(session - CAST(:first AS date)), ''::bytea),
                   string_agg(float8send(coalesce(close, 'NaN')), ''::bytea),
                   string_agg(float8send(coalesce(adj_close, 'NaN')), ''::bytea),
                   string_agg(float8send(coalesce(total_return, 'NaN')), ''::bytea),
                   string_agg(int4send(CASE basis WHEN 'file' THEN {AS_DELIVERED} ELSE 0 END
                                       + CASE return_basis WHEN 'price_only' THEN {PRICE_ONLY} ELSE 0 END
                                       + {REMARK} * coalesce(array_position(CAST(:remarks AS text[]), return_remark), 0)), ''::bytea)
            FROM ingest.prices
            WHERE symbol_id = ANY (CAST(:ids AS int[])) AND session BETWEEN :first AND :last
            GROUP BY symbol_id
        """),
        {"ids": list(ids), "first": first, "last": last, "remarks": list(remarks)},
    )
    return {
        symbol_id: Series(
            packed.ints(days, 4),
            packed.floats(close),
            packed.floats(adjusted),
            packed.floats(returns),
            packed.ints(flags, 4),
        )
        for symbol_id, days, close, adjusted, returns, flags in rows
    }


async def splits(conn: AsyncConnection, ids: Sequence[int], first: date, last: date) -> list[tuple[int, date, float]]:
    """Splits as (symbol, ex-session, new shares per old)."""
    rows = await conn.execute(
        text("""
            SELECT symbol_id, ex_session, value FROM ingest.actions
            WHERE type = 'split' AND symbol_id = ANY (CAST(:ids AS int[])) AND ex_session BETWEEN :first AND :last
        """),
        {"ids": list(ids), "first": first, "last": last},
    )
    return [(symbol_id, session, value) for symbol_id, session, value in rows]


async def gaps(conn: AsyncConnection, ids: Sequence[int], first: date, last: date) -> list[tuple[int, date, date, str]]:
    """Why there are no prices: (symbol, first session, last session, reason) that touch [first, last]."""
    rows = await conn.execute(
        text("""
            SELECT symbol_id, first, last, reason FROM ingest.gaps
            WHERE symbol_id = ANY (CAST(:ids AS int[])) AND first <= :last AND last >= :first
        """),
        {"ids": list(ids), "first": first, "last": last},
    )
    return [(symbol_id, start, end, reason) for symbol_id, start, end, reason in rows]


async def waiting_gaps(
    conn: AsyncConnection, symbols: Sequence[str], first: date, last: date
) -> list[tuple[str, date, date, str]]:
    """What of the symbols is still waited for on [first, last]: (symbol, first session, last session, reason)."""
    rows = await conn.execute(
        text("""
            SELECT s.symbol, g.first, g.last, g.reason FROM ingest.gaps g JOIN ingest.symbols s ON s.id = g.symbol_id
            WHERE NOT g.terminal AND s.symbol = ANY (CAST(:symbols AS text[])) AND g.first <= :last AND g.last >= :first
        """),
        {"symbols": list(symbols), "first": first, "last": last},
    )
    return [(symbol, start, end, reason) for symbol, start, end, reason in rows]


async def curves(conn: AsyncConnection, first: date, last: date) -> tuple[list[Curve], list[int]]:
    """Yield curves from a week before the first session to a week after the last, ascending, and their change numbers.

    Before, because the first session's return rests on two; after, because a later curve tells that one does not come.
    """
    rows = await conn.execute(
        text(
            "SELECT date, tenors, yields, change FROM ingest.yields WHERE date BETWEEN :first AND :last ORDER BY date"
        ),
        {"first": first - timedelta(days=7), "last": last + timedelta(days=7)},
    )
    found = [(Curve(day, tuple(tenors), tuple(yields)), change) for day, tenors, yields, change in rows]
    return [curve for curve, _ in found], [change for _, change in found]
