"""Provider data behind a figure: prices, splits, dividends, profiles; and the facts computed from them alone."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.coordinator.explain.formulas.model import Source
from services.coordinator.explain.sources import Entry, Scope, entry, rows
from services.coordinator.results import quarantine
from services.coordinator.results.values import to_json
from shared.market.curve import CURVE_MOST_DAYS, Curve, ParBond, long_bond
from shared.market.registry import CURVE_PROXY, FACTOR_NAMES, proxy_legs


async def _ranges(conn: AsyncConnection, source: Source, reach: Mapping[str, tuple[date, date]]) -> list[Entry]:
    """Prices by symbol and provider, and who believed a jump among them."""
    if not reach:
        return []
    found = await rows(
        conn,
        source,
        """
            SELECT s.symbol, min(p.session) AS "from", max(p.session) AS "to", p.provider, max(p.fetched_at) AS fetched_at,
                   max(p.change) AS price_version
            FROM unnest(CAST(:symbols AS text[]), CAST(:firsts AS date[]), CAST(:lasts AS date[])) AS w (symbol, first, last)
            JOIN ingest.symbols s ON s.symbol = w.symbol
            JOIN ingest.prices p ON p.symbol_id = s.id AND p.session BETWEEN w.first AND w.last
            GROUP BY s.symbol, p.provider ORDER BY s.symbol, p.provider
        """,
        symbols=list(reach),
        firsts=[first for first, _ in reach.values()],
        lasts=[last for _, last in reach.values()],
    )
    first, last = min(first for first, _ in reach.values()), max(last for _, last in reach.values())
    jumps = await quarantine.find_between(conn, sorted(reach), first, last)
    return found + [
        _jump(**jump) for jump in jumps if reach[jump["symbol"]][0] <= jump["session"] <= reach[jump["symbol"]][1]
    ]


def _jump(**jump: Any) -> Entry:
    """A price that was held back at first: who says that it is true, or is to be left out, when and why."""
    about = {"symbol": jump["symbol"], "from": jump["session"], "to": jump["session"]}
    said = {key: to_json(jump[key]) for key in ("state", "return", "reason")}
    return entry(Source.JUMPS, **about, provider=jump["decided_by"], fetched_at=jump["decided_at"]) | said


async def prices(conn: AsyncConnection, scope: Scope) -> list[Entry]:
    return await _ranges(conn, Source.PRICES, scope.reach)


async def proxies(conn: AsyncConnection, scope: Scope) -> list[Entry]:
    proxy_symbols = await conn.scalar(
        text("SELECT proxies FROM factors.proxies WHERE session = :session"), {"session": scope.session}
    )
    named = zip(FACTOR_NAMES, proxy_symbols or (), strict=False)
    chosen = {
        leg
        for factor, symbol in named
        if symbol and (not scope.proxies or factor in scope.proxies)
        for leg in proxy_legs(symbol)
        if leg
    }
    found = await _ranges(conn, Source.PROXIES, dict.fromkeys(sorted(chosen), (scope.first, scope.session)))
    return found + (await _curves(conn, scope.first, scope.session) if CURVE_PROXY in chosen else [])


async def actions(conn: AsyncConnection, scope: Scope) -> list[Entry]:
    return await rows(
        conn,
        Source.ACTIONS,
        """
            SELECT s.symbol, min(a.ex_session) AS "from", max(a.ex_session) AS "to", a.provider,
                   max(a.fetched_at) AS fetched_at, max(a.change) AS price_version
            FROM ingest.symbols s JOIN ingest.actions a ON a.symbol_id = s.id
            WHERE s.symbol = ANY (CAST(:symbols AS text[])) AND a.ex_session BETWEEN :first AND :session
            GROUP BY s.symbol, a.provider ORDER BY s.symbol, a.provider
        """,
        symbols=list(scope.symbols),
        first=scope.traded,
        session=scope.session,
    )


async def facts(conn: AsyncConnection, scope: Scope) -> list[Entry]:
    return await rows(
        conn,
        Source.FACTS,
        """
            SELECT s.symbol, e.session AS "from", e.session AS "to", 'factors' AS provider, e.computed_at AS fetched_at,
                   e.price_version
            FROM ingest.symbols s JOIN factors.exposures e ON e.symbol_id = s.id
            WHERE s.symbol = ANY (CAST(:symbols AS text[])) AND e.session = :session ORDER BY s.symbol
        """,
        symbols=list(scope.symbols),
        session=scope.session,
    )


async def profiles(conn: AsyncConnection, scope: Scope) -> list[Entry]:
    """What each provider said last of a symbol, on or before the session. A file says it without a date."""
    return await rows(
        conn,
        Source.PROFILES,
        """
            SELECT DISTINCT ON (s.symbol, p.provider) s.symbol, nullif(p.as_of, '-infinity') AS "from",
                   nullif(p.as_of, '-infinity') AS "to", p.provider, p.fetched_at
            FROM ingest.symbols s JOIN ingest.symbol_profiles p ON p.symbol_id = s.id
            WHERE s.symbol = ANY (CAST(:symbols AS text[])) AND p.as_of <= :session
            ORDER BY s.symbol, p.provider, p.as_of DESC
        """,
        symbols=list(scope.symbols),
        session=scope.session,
    )


async def _curves(conn: AsyncConnection, first: date, last: date) -> list[Entry]:
    """The curves behind returns of long bonds."""
    return await rows(
        conn,
        Source.YIELDS,
        """
            SELECT min(date) AS "from", max(date) AS "to", provider, max(fetched_at) AS fetched_at, max(change) AS price_version
            FROM ingest.yields WHERE date BETWEEN :first AND :last GROUP BY provider ORDER BY provider
        """,
        first=first,
        last=last,
    )


async def yields(conn: AsyncConnection, scope: Scope) -> list[Entry]:
    """The curve that the session's figures use: the newest dated before it, at most a month old."""
    return await rows(
        conn,
        Source.YIELDS,
        """
            SELECT date AS "from", date AS "to", provider, fetched_at, change AS price_version FROM ingest.yields
            WHERE date < :session AND date >= :first ORDER BY date DESC LIMIT 1
        """,
        session=scope.session,
        first=scope.session - timedelta(days=CURVE_MOST_DAYS),
    )


async def bills(conn: AsyncConnection, scope: Scope) -> list[Entry]:
    """The curves that the risk-free returns of the window's sessions are taken from."""
    return await rows(
        conn,
        Source.BILLS,
        """
            SELECT min(date) AS "from", max(date) AS "to", provider, max(fetched_at) AS fetched_at, max(change) AS price_version
            FROM ingest.yields WHERE date < :session AND date >= :first GROUP BY provider ORDER BY provider
        """,
        session=scope.session,
        first=scope.first - timedelta(days=CURVE_MOST_DAYS),
    )


async def par_bond_of(conn: AsyncConnection, day: date) -> ParBond | None:
    """The bond that stands for the rates proxy on the curve of a day; None without one."""
    row = (
        await conn.execute(text("SELECT date, tenors, yields FROM ingest.yields WHERE date = :day"), {"day": day})
    ).one_or_none()
    return None if row is None else long_bond(Curve(row.date, tuple(row.tenors), tuple(row.yields)))
