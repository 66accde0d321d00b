"""What ingest has stored about the days of entry and exit: what a position's basis is decided by, and its prices compared with."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.coordinator.importer.basis import Market
from services.coordinator.importer.model import Position
from shared.market.calendar import Calendar


async def read(conn: AsyncConnection, entries: Sequence[Position], calendar: Calendar) -> list[Market | None]:
    """What ingest has stored about each entry's day, in order; None where it knows neither a price of it nor a split."""
    return await read_days(conn, [(position.symbol, position.entry_date) for position in entries], calendar)


async def read_days(
    conn: AsyncConnection, asked: Sequence[tuple[str, date]], calendar: Calendar
) -> list[Market | None]:
    """The same of any symbols and days. Each is read once, however many lots ask: fifty thousand may share one day."""
    session_of = {day: calendar.on_or_before(day) for day in {day for _, day in asked}}
    numbers: dict[tuple[str, date], int] = {}
    order = [numbers.setdefault((symbol, session_of[day]), len(numbers)) for symbol, day in asked]
    symbols, sessions = [symbol for symbol, _ in numbers], [session for _, session in numbers]
    rows = await conn.execute(
        text("""
            SELECT a.n, p.close, p.adj_close, p.low, p.high
            FROM unnest(CAST(:symbols AS text[]), CAST(:sessions AS date[])) WITH ORDINALITY AS a (symbol, session, n)
            JOIN ingest.symbols s ON s.symbol = a.symbol
            JOIN ingest.prices p ON p.symbol_id = s.id AND p.session = a.session
        """),
        {"symbols": symbols, "sessions": sessions},
    )
    prices = {int(n) - 1: tuple(day) for n, *day in rows}
    splits: dict[str, list[tuple[date, float]]] = {}
    listed = await conn.execute(
        text("""
            SELECT s.symbol, a.ex_session, a.value FROM ingest.actions a JOIN ingest.symbols s ON s.id = a.symbol_id
            WHERE a.type = 'split' AND s.symbol = ANY (CAST(:symbols AS text[])) ORDER BY s.symbol, a.ex_session
        """),
        {"symbols": sorted(set(symbols))},
    )
    for symbol, ex_session, value in listed:
        splits.setdefault(symbol, []).append((ex_session, value))
    found: list[Market | None] = []
    for index, symbol in enumerate(symbols):
        close, adjusted, low, high = prices.get(index, (None, None, None, None))
        known = index in prices or symbol in splits
        found.append(Market(close, adjusted, tuple(splits.get(symbol, ())), low, high) if known else None)
    return [found[number] for number in order]
