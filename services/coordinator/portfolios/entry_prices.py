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
    filled: list[Position] = []
    of_file: list[str] = []
    for position in positions:
        if not position.at_close:
            filled.append(position)
            continue
        market = next(markets)
        close = None if market is None else market.close
        if close is None and (position.file_price is None or position.file_day is not None):
            issues.error(
                position.row,
                "entry_price",
                "ERR_POS_027",
                f"No close of {position.symbol} on {position.entry_date} is stored, so its entry price is not known. {_remedy(position)}",
                position.symbol,
            )
            continue
        if close is None:
            # The user says of which day the file is, and so are its prices.
            of_file.append(position.symbol)
            price = position.file_price or Decimal(0)
        else:
            price = Decimal(repr(close)).quantize(_KEPT)
        stated = basis.AS_TRADED if basis.applies(position) else None
        filled.append(replace(position, entry_price=price, price_basis=stated, at_close=False))
    if of_file:
        named = ", ".join(of_file[:10]) + (f" and {len(of_file) - 10} more" if len(of_file) > 10 else "")
        issues.warn(
            None, "entry_price", "entered_at_file_price",
            f"No close of {asked[0].entry_date} is stored of {named}: they enter at the price the file gives, as if it were of that day. "
            "If it is of another day, give that as entry_date.", named,
        )  # fmt: skip
    return tuple(filled)


def _remedy(position: Position) -> str:
    own = "Give it in the file, in a column entry_price"
    if position.file_price is None or position.file_day is None:
        return f"{own}."
    return f"{own}, or leave entry_date away: it enters on {position.file_day}, the day the file is of, at {position.file_price}."
