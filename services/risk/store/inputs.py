"""SQL of what risk reads of the others' tables.

Long columns come packed by `string_agg(float8send(…))`: a rectangle of 1,200 symbols by 504 sessions is 600,000 cells, which
as rows would cost seconds of Python objects and so costs one `frombuffer` a symbol.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Literal, TypeAlias
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.arrays import DateVector, FloatMatrix, FloatVector
from shared.db.packed import dates, floats
from shared.market import layouts
from shared.market.layouts import sql_element
from shared.market.reasons import ReasonCode
from shared.market.registry import EMPTY_BELOW, FACTOR_NAMES, SPREAD_NAMES

_DAY = "int4send(session - DATE '2000-01-01')"
_DAYS = f"string_agg({_DAY}, ''::bytea ORDER BY session)"
_UNKNOWN = "'NaN'::float8"

# One number a column of `Facts.values`.
_FACT_COLUMNS = (
    sql_element("market", layouts.MARKET, "beta"),
    "market_shrunk",
    "ir_beta",
    *(sql_element("spreads", layouts.SPREAD, "beta", block=k) for k in range(len(SPREAD_NAMES))),
    *(sql_element("joint", layouts.JOINT, name) for name in FACTOR_NAMES),
    sql_element("joint_fit", layouts.JOINT_FIT, "resid_sd"),
    "CASE quality WHEN 'full' THEN 0 ELSE 1 END",
)
REPORTED = slice(0, 3 + len(SPREAD_NAMES))
JOINT = slice(REPORTED.stop, REPORTED.stop + len(FACTOR_NAMES))
RESIDUAL_SD, LIMITED = JOINT.stop, JOINT.stop + 1


# The day it counts from, asset type, sector.
VendorSectorRow: TypeAlias = tuple[date, str | None, str | None]
DatedValues: TypeAlias = tuple[DateVector, FloatVector]
"""Sessions, and the value of each."""


@dataclass(frozen=True, slots=True)
class BenchmarkRow:
    """Sector weights of a benchmark on its date."""

    code: str
    date: date
    sectors: list[str]
    weights: list[float]


@dataclass(frozen=True, slots=True)
class ReturnHistory:
    """A portfolio's snapshots, oldest first; NaN for no return, as of a session on which nothing was in the account."""

    sessions: DateVector
    daily_return: FloatVector
    drawdown: FloatVector
    coverage: FloatVector
    """Share of each session's gross value at a price that is evidence."""


@dataclass(frozen=True, slots=True)
class Facts:
    """Exposures of one symbol: `values` (n, columns), NaN unknown."""

    sessions: DateVector
    values: FloatMatrix


# A session on which there was nothing to earn on is no observation of the account's volatility.
_RETURN = f"CASE WHEN daily_pnl <> 0 OR abs(nav - least(flow, 0)) >= {EMPTY_BELOW} THEN daily_return END"


async def return_histories(conn: AsyncConnection, portfolios: Sequence[UUID], last: date) -> dict[UUID, ReturnHistory]:
    """Daily returns, drawdowns and coverage of each portfolio from its first snapshot to `last`."""
    rows = await conn.execute(
        text(f"""
            SELECT portfolio_id, {_DAYS}, {_pack(_RETURN)}, {_pack("drawdown")}, {_pack("coverage")}
            FROM snapshots.snapshots WHERE portfolio_id = ANY (CAST(:portfolios AS uuid[])) AND session <= :last
            GROUP BY portfolio_id
        """),
        {"portfolios": list(portfolios), "last": last},
    )
    return {row[0]: ReturnHistory(dates(row[1]), *map(floats, row[2:])) for row in rows}


async def find_symbol_ids(conn: AsyncConnection, symbols: Iterable[str]) -> dict[str, int]:
    """Ingest's number of each symbol it knows."""
    rows = await conn.execute(
        text("SELECT symbol, id FROM ingest.symbols WHERE symbol = ANY (CAST(:symbols AS text[]))"),
        {"symbols": sorted(set(symbols))},
    )
    return {row.symbol: row.id for row in rows}


async def vendor_sectors(conn: AsyncConnection, ids: Sequence[int], last: date) -> dict[int, list[VendorSectorRow]]:
    """By symbol what providers said up to `last`, oldest first; of one day the first provider by name comes last."""
    rows = await conn.execute(
        text("""
            SELECT symbol_id, as_of, asset_type, sector FROM ingest.symbol_profiles
            WHERE symbol_id = ANY (CAST(:ids AS int[])) AND as_of <= :last AND (asset_type IS NOT NULL OR sector IS NOT NULL)
            ORDER BY symbol_id, as_of, provider DESC
        """),
        {"ids": list(ids), "last": last},
    )
    found: dict[int, list[VendorSectorRow]] = {}
    for symbol_id, as_of, asset_type, sector in rows:
        found.setdefault(symbol_id, []).append((as_of, asset_type, sector))
    return found


async def benchmarks(conn: AsyncConnection, first: date, last: date) -> list[BenchmarkRow]:
    """The chosen benchmark's tables that count within [first, last], by date: the newest one by `first`, and those after it."""
    rows = await conn.execute(
        text("""
            WITH chosen AS (
                SELECT b.* FROM coordinator.benchmarks b
                JOIN coordinator.versions v ON v.name = 'sector_benchmark' AND v.version = b.code
                WHERE b.replaced_at IS NULL AND b.date <= :last
            )
            SELECT code, date, sectors, weights FROM chosen
            WHERE date >= coalesce((SELECT max(date) FROM chosen WHERE date <= :first), :first) ORDER BY date
        """),
        {"first": first, "last": last},
    )
    return [BenchmarkRow(*row) for row in rows]


async def proxies(conn: AsyncConnection, first: date, last: date) -> dict[date, tuple[list[str | None], list[float]]]:
    """Per session the proxy of each factor of the registry, and its slope on the market."""
    rows = await conn.execute(
        text("SELECT session, proxies, slopes FROM factors.proxies WHERE session BETWEEN :first AND :last"),
        {"first": first, "last": last},
    )
    return {row[0]: (list(row[1]), list(row[2])) for row in rows}


async def facts(conn: AsyncConnection, ids: Sequence[int], first: date, last: date) -> dict[int, Facts]:
    """Exposures of the symbols on [first, last], packed row by row."""
    packed = " || ".join(f"float8send(coalesce({column}, {_UNKNOWN}))" for column in _FACT_COLUMNS)
    rows = await conn.execute(
        text(f"""
            SELECT symbol_id, {_DAYS}, string_agg({packed}, ''::bytea ORDER BY session) FROM factors.exposures
            WHERE symbol_id = ANY (CAST(:ids AS int[])) AND session BETWEEN :first AND :last GROUP BY symbol_id
        """),
        {"ids": list(ids), "first": first, "last": last},
    )
    return {row[0]: Facts(dates(row[1]), floats(row[2]).reshape(-1, len(_FACT_COLUMNS))) for row in rows}


async def missing_facts(
    conn: AsyncConnection, ids: Sequence[int], first: date, last: date
) -> list[tuple[int, date, str]]:
    """(symbol, session, reason) of the exposures without joint betas."""
    rows = await conn.execute(
        text(f"""
            SELECT symbol_id, session, coalesce(reasons ->> 'joint', '{ReasonCode.SHORT_HISTORY}') FROM factors.exposures
            WHERE symbol_id = ANY (CAST(:ids AS int[])) AND session BETWEEN :first AND :last AND joint[1] = {_UNKNOWN}
        """),
        {"ids": list(ids), "first": first, "last": last},
    )
    return [(symbol_id, session, reason) for symbol_id, session, reason in rows]


async def prices(
    conn: AsyncConnection, column: Literal["total_return", "close"], ids: Sequence[int], first: date, last: date
) -> dict[int, DatedValues]:
    """Per symbol the sessions of [first, last] that have a total return (or a close as traded), and the values; in any order,
    for sorting them takes the server longer than reading them."""
    rows = await conn.execute(
        text(f"""
            SELECT symbol_id, string_agg({_DAY}, ''::bytea), string_agg(float8send({column}), ''::bytea) FROM ingest.prices
            WHERE symbol_id = ANY (CAST(:ids AS int[])) AND session BETWEEN :first AND :last AND {column} IS NOT NULL
            GROUP BY symbol_id
        """),
        {"ids": list(ids), "first": first, "last": last},
    )
    return {row[0]: (dates(row[1]), floats(row[2])) for row in rows}


async def gaps(conn: AsyncConnection, ids: Sequence[int], first: date, last: date) -> list[tuple[int, date, date, str]]:
    """(symbol, first, last, reason) of the stretches without a price that touch [first, last]."""
    rows = await conn.execute(
        text("""
            SELECT symbol_id, first, last, reason FROM ingest.gaps
            WHERE symbol_id = ANY (CAST(:ids AS int[])) AND first <= :last AND last >= :first ORDER BY symbol_id, first
        """),
        {"ids": list(ids), "first": first, "last": last},
    )
    return [(symbol_id, start, end, reason) for symbol_id, start, end, reason in rows]


def _pack(column: str) -> str:
    return f"string_agg(float8send(coalesce({column}, {_UNKNOWN})), ''::bytea ORDER BY session)"
