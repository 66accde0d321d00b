"""What a batch lacks, and which questions that makes."""

from collections.abc import Mapping, Sequence
from datetime import date

from sqlalchemy.ext.asyncio import AsyncEngine

from services.ingest.compute.requests import carry_forward_gaps, gap_requests
from services.ingest.compute.rows import FILE
from services.ingest.model.stored import SymbolCoverage
from services.ingest.model.write_set import CarriedForwardGap, FetchRequest
from services.ingest.store import prices, universe
from shared.db.engine import snapshot
from shared.market.calendar import Calendar
from shared.market.registry import LOOKBACK, PROXY_SYMBOLS, REFERENCE_ETFS
from shared.work import Batch


async def uncovered_symbols(
    engine: AsyncEngine, batch: Batch, calendar: Calendar, everybodys: Sequence[str] = ()
) -> dict[str, tuple[date, date]]:
    """Find symbols without coverage of the needed range, with that range.

    everybodys : symbols that are needed whoever holds them, beside the factors' proxies and the reference funds
    """
    everyone = (calendar.back(batch.first, LOOKBACK), batch.last)
    needed = dict.fromkeys((*PROXY_SYMBOLS, *REFERENCE_ETFS, *everybodys), everyone)
    async with snapshot(engine) as conn:
        held = await universe.required_coverage(conn, batch.portfolios, batch.first, batch.last)
        for symbol, (first, last) in held.items():
            low, high = needed.get(symbol, (first, last))
            needed[symbol] = (min(low, calendar.back(first, LOOKBACK)), max(high, last))
        known = {symbol.symbol: symbol for symbol in await universe.find_coverage(conn, list(needed))}
    return {
        symbol: (first, last) for symbol, (first, last) in needed.items() if not _covers(known.get(symbol), first, last)
    }


async def plan_requests(
    engine: AsyncEngine,
    claimed: Sequence[SymbolCoverage],
    lacking: Mapping[str, tuple[date, date]],
    chain: str,
    calendar: Calendar,
) -> tuple[list[FetchRequest], list[CarriedForwardGap]]:
    """Plan requests, and absences that are carried forward without one."""
    async with engine.connect() as conn:
        gaps = await universe.gaps(conn, [symbol.id for symbol in claimed], calendar)
        now = await prices.database_time(conn)
    asks, absent = [], []
    for symbol in claimed:
        first, last = lacking[symbol.symbol]
        of_symbol = gaps.get(symbol.id, ())
        # A file is asked for nothing.
        found = [] if chain == FILE else carry_forward_gaps(symbol, first, last, of_symbol, calendar, now)
        absent += found
        settled = [span for known in found for span in known.ask.checked]
        asks += [ask for ask in gap_requests(symbol, first, last, of_symbol, calendar)
                 if not any(low <= a and b <= high for a, b in settled for low, high in ask.checked)]  # fmt: skip
    # Proxies first: a unit that is complete before they are asked for computes its factors twice.
    return sorted(asks, key=lambda ask: ask.symbol not in PROXY_SYMBOLS), absent


def _covers(symbol: SymbolCoverage | None, first: date, last: date) -> bool:
    return (
        symbol is not None
        and symbol.covered_from is not None
        and symbol.covered_to is not None
        and symbol.covered_from <= first
        and symbol.covered_to >= last
    )
