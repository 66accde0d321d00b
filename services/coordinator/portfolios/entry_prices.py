"""Lots that a file leaves without a price: they enter at the stored close of their day, or are refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal

from sqlalchemy.ext.asyncio import AsyncConnection

from services.coordinator.importer import basis
from services.coordinator.importer.model import Issues, Position
from services.coordinator.portfolios import entry_closes
from shared.clock import Clock

_KEPT = Decimal(1).scaleb(-10)


async def fill(
    conn: AsyncConnection, positions: Sequence[Position], clock: Clock, issues: Issues
) -> tuple[Position, ...]:
    """The same lots with a price each; reports those whose day has no stored close."""
    asked = [position for position in positions if position.at_close]
    if not asked:
        return tuple(positions)
    markets = iter(await entry_closes.read(conn, asked, clock.calendar()))
    filled = []
    for position in positions:
        if not position.at_close:
            filled.append(position)
            continue
        market = next(markets)
        if market is None or market.close is None:
            issues.error(
                position.row,
                "entry_price",
                "ERR_POS_027",
                f"No close of {position.symbol} on {position.entry_date} is stored, so its entry price is not known. Give "
                "entry_price in the file, or enter the lots on the day the file is of, at the price it gives.",
                position.symbol,
            )
            continue
        price = Decimal(repr(market.close)).quantize(_KEPT)
        stated = basis.AS_TRADED if basis.applies(position) else None
        filled.append(replace(position, entry_price=price, price_basis=stated, at_close=False))
    return tuple(filled)
