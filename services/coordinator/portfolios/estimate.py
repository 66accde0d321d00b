"""What an onboarding would ask of the providers, before it does: symbols, calls, seconds."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.coordinator.importer.model import Position
from shared.clock import Clock
from shared.market.registry import LOOKBACK, PROXY_SYMBOLS, REFERENCE_ETFS
from shared.market.symbols import is_cash_like

# What a backfill may use of each window; the rest is left to today's prices (docs/providers.md, Quotas).
BACKFILL_SHARE = 0.8
# A vendor's answer, with the network between; four are asked for at once, or one after the other by the keyed ones.
SECONDS_A_CALL = 0.5


@dataclass(frozen=True, slots=True)
class Estimate:
    """symbols: to be fetched; known: needed and already there; calls and seconds: of the first provider on the network, at most."""

    symbols: int
    known: int
    calls: int
    seconds: float
    provider: str | None

    def document(self) -> dict[str, Any]:
        return asdict(self)


async def estimate(conn: AsyncConnection, clock: Clock, positions: Sequence[Position]) -> Estimate:
    calendar, last = clock.calendar(), clock.last_due()
    entries = [position.entry_session for position in positions]
    if not entries or min(entries) > last:
        return Estimate(0, 0, 0, 0.0, None)
    needed = {symbol: calendar.back(min(entries), LOOKBACK) for symbol in (*PROXY_SYMBOLS, *REFERENCE_ETFS)}
    for symbol, entry in _priced_symbols(positions):
        first = calendar.back(min(entry, last), LOOKBACK)
        needed[symbol] = min(first, needed.get(symbol, first))
    lacking = await conn.scalar(
        text("""
            SELECT count(*) FROM unnest(CAST(:symbols AS text[]), CAST(:firsts AS date[])) AS n (symbol, first)
            LEFT JOIN ingest.symbols s ON s.symbol = n.symbol
            WHERE s.covered_from IS NULL OR s.covered_from > n.first OR s.covered_to < :last
        """),
        {"symbols": list(needed), "firsts": list(needed.values()), "last": last},
    )
    symbols = int(lacking or 0)
    return await _cost(conn, symbols, len(needed) - symbols)


def backfill_share(limit: int) -> int:
    """Calls of a window of `limit` that an onboarding has."""
    return max(1, math.floor(limit * BACKFILL_SHARE))


def _priced_symbols(positions: Iterable[Position]) -> Iterable[tuple[str, date]]:
    for position in positions:
        if position.investment_class == "PRIVATE" or is_cash_like(position.investment_subtype):
            continue
        yield position.symbol, position.entry_session
        if position.investment_class == "OPTIONS" and position.underlying_symbol:
            yield position.underlying_symbol, position.entry_session


async def _cost(conn: AsyncConnection, symbols: int, known: int) -> Estimate:
    provider = (
        await conn.execute(
            text("""
                SELECT provider, limits, seconds, calls_each, calls_fifty,
                       ARRAY(SELECT (SELECT coalesce(sum(calls), 0) FROM ingest.quota_uses
                                     WHERE account = c.account AND at > clock_timestamp() - make_interval(secs => w.s))
                             FROM unnest(c.seconds) WITH ORDINALITY AS w (s, n) ORDER BY w.n) AS used
                FROM ingest.chain c WHERE account IS NOT NULL ORDER BY rank LIMIT 1
            """)
        )
    ).one_or_none()
    if provider is None or not symbols:
        return Estimate(symbols, known, 0, 0.0, None)
    calls = math.ceil(symbols * provider.calls_each + math.ceil(symbols / 50) * provider.calls_fifty)
    waits = [
        math.ceil(max(0, calls - max(0, backfill_share(limit) - int(used))) / backfill_share(limit)) * seconds
        for limit, seconds, used in zip(provider.limits, provider.seconds, provider.used, strict=True)
    ]
    return Estimate(symbols, known, calls, round(max([0.0, *waits]) + calls * SECONDS_A_CALL, 1), provider.provider)
