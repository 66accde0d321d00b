"""SQL of the risk service: what it reads of the others' tables, and the results it owns.

Long columns come packed by `string_agg(float8send(…))`: a rectangle of 1,200 symbols by 504 sessions is 600,000 cells, which
as rows would cost seconds of Python objects and so costs one `frombuffer` a symbol.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Literal
from uuid import UUID

import numpy as np
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.arrays import DateVector, FloatMatrix, FloatVector
from shared.db import binary
from shared.market.registry import FACTOR_NAMES, SPREAD_NAMES
from shared.work import Key

_FIRST_DAY = date(2000, 1, 1)  # of PostgreSQL's dates
_EPOCH = np.datetime64(_FIRST_DAY, "D")
_DAYS = "string_agg(int4send(session - DATE '2000-01-01'), ''::bytea ORDER BY session)"
_UNKNOWN = "'NaN'::float8"

# One number a column of `Facts.values`. A spread's coefficient is the first of its three numbers.
_FACT_COLUMNS = (
    "market[1]",
    "market_shrunk",
    "ir_beta",
    *(f"spreads[{3 * k + 1}]" for k in range(len(SPREAD_NAMES))),
    *(f"joint[{k + 1}]" for k in range(len(FACTOR_NAMES))),
    "joint_fit[3]",
    "CASE quality WHEN 'full' THEN 0 ELSE 1 END",
)
REPORTED = slice(0, 3 + len(SPREAD_NAMES))
JOINT = slice(REPORTED.stop, REPORTED.stop + len(FACTOR_NAMES))
RESIDUAL_SD, LIMITED = JOINT.stop, JOINT.stop + 1


@dataclass(frozen=True, slots=True)
class HeldRow:
    """The lots of one portfolio on one session; values signed, in ten-thousandths. Closed lots have quantity 0."""

    portfolio_id: UUID
    session: date
    nav: float
    symbols: list[str]
    quantity: list[float]
    market_value: list[int]
    reason: list[str]


@dataclass(frozen=True, slots=True)
class Stated:
    """What the user says of a symbol in a portfolio."""

    portfolio_id: UUID
    symbol: str
    investment_class: str
    sector: str | None
    underlying: str | None


@dataclass(frozen=True, slots=True)
class Known:
    """What ingest knows of a symbol."""

    id: int
    symbol: str
    asset_type: str
    sector: str | None
    sector_as_of: date | None


@dataclass(frozen=True, slots=True)
class Track:
    """A portfolio's snapshots, oldest first; NaN for no return."""

    sessions: DateVector
    daily_return: FloatVector
    drawdown: FloatVector


@dataclass(frozen=True, slots=True)
class Facts:
    """Exposures of one symbol: `values` (n, columns), NaN unknown."""

    sessions: DateVector
    values: FloatMatrix


async def held(conn: AsyncConnection, portfolios: Sequence[UUID], first: date, last: date) -> list[HeldRow]:
    """Lots and NAV of every snapshot of the portfolios in [first, last]."""
    rows = await conn.execute(
        text("""
            SELECT h.portfolio_id, h.session, CAST(s.nav AS float8), h.symbols, h.quantity, h.market_value, h.reason
            FROM snapshots.holdings h JOIN snapshots.snapshots s USING (portfolio_id, session)
            WHERE h.portfolio_id = ANY (CAST(:portfolios AS uuid[])) AND h.session BETWEEN :first AND :last
            ORDER BY h.portfolio_id, h.session
        """),
        {"portfolios": list(portfolios), "first": first, "last": last},
    )
    return [HeldRow(*row) for row in rows]


async def tracks(conn: AsyncConnection, portfolios: Sequence[UUID], last: date) -> dict[UUID, Track]:
    """Daily returns and drawdowns of each portfolio from its first snapshot to `last`."""
    rows = await conn.execute(
        text(f"""
            SELECT portfolio_id, {_DAYS}, {_packed("daily_return")}, {_packed("drawdown")}
            FROM snapshots.snapshots WHERE portfolio_id = ANY (CAST(:portfolios AS uuid[])) AND session <= :last
            GROUP BY portfolio_id
        """),
        {"portfolios": list(portfolios), "last": last},
    )
    return {row[0]: Track(_dates(row[1]), _floats(row[2]), _floats(row[3])) for row in rows}


async def stated(conn: AsyncConnection, portfolios: Sequence[UUID]) -> list[Stated]:
    """The distinct statements about the portfolios' symbols."""
    rows = await conn.execute(
        text("""
            SELECT DISTINCT portfolio_id, symbol, investment_class, sector, underlying_symbol FROM coordinator.positions
            WHERE portfolio_id = ANY (CAST(:portfolios AS uuid[])) AND deleted_at IS NULL
        """),
        {"portfolios": list(portfolios)},
    )
    return [Stated(*row) for row in rows]


async def known(conn: AsyncConnection, symbols: Iterable[str]) -> dict[str, Known]:
    """What ingest knows of the symbols."""
    rows = await conn.execute(
        text("""
            SELECT id, symbol, asset_type, sector, sector_as_of FROM ingest.symbols
            WHERE symbol = ANY (CAST(:symbols AS text[]))
        """),
        {"symbols": sorted(set(symbols))},
    )
    return {row[1]: Known(*row) for row in rows}


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
    return {row[0]: Facts(_dates(row[1]), _floats(row[2]).reshape(-1, len(_FACT_COLUMNS))) for row in rows}


async def missing_facts(
    conn: AsyncConnection, ids: Sequence[int], first: date, last: date
) -> list[tuple[int, date, str]]:
    """(symbol, session, reason) of the exposures without joint betas."""
    rows = await conn.execute(
        text(f"""
            SELECT symbol_id, session, coalesce(reasons ->> 'joint', 'short_history') FROM factors.exposures
            WHERE symbol_id = ANY (CAST(:ids AS int[])) AND session BETWEEN :first AND :last AND joint[1] = {_UNKNOWN}
        """),
        {"ids": list(ids), "first": first, "last": last},
    )
    return [(symbol_id, session, reason) for symbol_id, session, reason in rows]


async def prices(
    conn: AsyncConnection, column: Literal["total_return", "close"], ids: Sequence[int], first: date, last: date
) -> dict[int, tuple[DateVector, FloatVector]]:
    """Per symbol the sessions of [first, last] that have a total return (or a close as traded), and the values."""
    rows = await conn.execute(
        text(f"""
            SELECT symbol_id, {_DAYS}, {_packed(column)} FROM ingest.prices
            WHERE symbol_id = ANY (CAST(:ids AS int[])) AND session BETWEEN :first AND :last AND {column} IS NOT NULL
            GROUP BY symbol_id
        """),
        {"ids": list(ids), "first": first, "last": last},
    )
    return {row[0]: (_dates(row[1]), _floats(row[2])) for row in rows}


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


KEY_COLUMNS = ("portfolio_id", "session", "revision", "model_version")
WHOLE: dict[str, Callable[[Any], bytes]] = {
    "quality": binary.text, "coverage": binary.float8, "reasons": binary.jsonb, "risk": binary.jsonb,
    "scenario_set": binary.text,
}  # fmt: skip
FIGURES: dict[str, Callable[[Any], bytes]] = {
    **dict.fromkeys(
        ("weights", "exposure_values", "betas", "greeks", "realized_252", "forecast_21"), binary.float8_array
    ),
    **dict.fromkeys(("symbols", "beta_reasons", "series_reasons", "excluded"), binary.text_array),
    "har": binary.bool_array,
    **dict.fromkeys(("contributions", "contribution_shares", "exposures"), binary.float8_array),
    "exposure_limited": binary.bool_array,
    **dict.fromkeys(("proxies", "exposure_reasons", "model_factors", "stress_reasons"), binary.text_array),
    **dict.fromkeys(("factor_shares", "factor_correlations", "correlations"), binary.float8_array),
    **dict.fromkeys(("correlation_n_obs", "clusters", "stress_capped"), binary.int2_array),
    **dict.fromkeys(("stress_shocks", "stress_direct", "stress_propagated"), binary.float8_array),
    **dict.fromkeys(("shrinkage", "mean_correlation", "uncovered_value"), binary.float8),
    "forecasts": binary.float8_array,
    "realized_return": binary.float8,
}
FIGURE_COLUMNS = tuple(FIGURES)
RESULT_COLUMNS = (*KEY_COLUMNS, *WHOLE, *FIGURES)


def encoded(whole: Mapping[str, Any], figures: Mapping[str, Any]) -> bytes:
    """A row without its key columns, as `save` takes it. Documents come as JSON text."""
    return b"".join(
        [encode(of[name]) for of, columns in ((whole, WHOLE), (figures, FIGURES)) for name, encode in columns.items()]
    )


async def save_scenarios(conn: AsyncConnection, digest: str, scenarios: str) -> None:
    """Keep the scenarios that results refer to; JSON text."""
    await conn.execute(
        text("""
            INSERT INTO risk.scenario_sets (digest, scenarios) VALUES (:digest, CAST(:scenarios AS jsonb))
            ON CONFLICT (digest) DO NOTHING
        """),
        {"digest": digest, "scenarios": scenarios},
    )


async def save(conn: AsyncConnection, results: Mapping[Key, bytes], revisions: Mapping[Key, int], version: str) -> None:
    """Replace the results of the units with a revision. What a higher revision replaces goes to the history."""
    if not revisions:
        return
    keys = sorted(revisions)
    model = binary.text(version)
    records = [
        binary.field(key.portfolio_id.bytes)
        + struct.pack("!iiiq", 4, (key.session - _FIRST_DAY).days, 8, revisions[key])
        + model
        + results[key]
        for key in keys
    ]
    before = await conn.scalar(
        text("""
            SELECT EXISTS (SELECT FROM risk.results JOIN unnest(CAST(:portfolios AS uuid[]), CAST(:sessions AS date[]))
                           AS own (portfolio_id, session) USING (portfolio_id, session))
        """),
        {"portfolios": [key.portfolio_id for key in keys], "sessions": [key.session for key in keys]},
    )
    if not before:
        # The units are ours until this transaction ends, so nobody else can put results there meanwhile.
        await binary.copy(conn, "results", RESULT_COLUMNS, records, schema="risk")
        return
    await conn.execute(
        text("CREATE TEMP TABLE staged_results (LIKE risk.results INCLUDING STORAGE INCLUDING DEFAULTS) ON COMMIT DROP")
    )
    await binary.copy(conn, "staged_results", RESULT_COLUMNS, records)
    listed = ", ".join(RESULT_COLUMNS)
    updates = ", ".join(f"{column} = excluded.{column}" for column in RESULT_COLUMNS[2:])
    await conn.execute(
        text(f"""
            INSERT INTO risk.results ({listed}) SELECT {listed} FROM staged_results ORDER BY portfolio_id, session
            ON CONFLICT (portfolio_id, session) DO UPDATE SET {updates}, computed_at = clock_timestamp()
        """)
    )


def _packed(column: str) -> str:
    return f"string_agg(float8send(coalesce({column}, {_UNKNOWN})), ''::bytea ORDER BY session)"


def _dates(packed: bytes) -> DateVector:
    days: DateVector = _EPOCH + np.frombuffer(packed, dtype=">i4").astype("timedelta64[D]")
    return days


def _floats(packed: bytes) -> FloatVector:
    return np.frombuffer(packed, dtype=">f8").astype(np.float64)
