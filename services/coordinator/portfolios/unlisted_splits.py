"""Splits that only the broker lists: whether the price source's closes are adjusted for one all the same.

A file of prices without its actions often is. Its closes of before the split are then a fraction of what was paid, by the very ratio
that the broker booked, and the trades of before are counted on the shares of after, as the closes are.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import date
from decimal import Decimal
from fractions import Fraction
from statistics import fmean

from sqlalchemy.ext.asyncio import AsyncConnection

from services.coordinator.importer import basis
from services.coordinator.importer.fifo import Received
from services.coordinator.importer.model import Issues
from services.coordinator.importer.trades import Trade
from services.coordinator.portfolios import entry_closes
from shared.clock import Clock

_KEPT = Decimal(1).scaleb(-10)
# Below it an ordinary distance of a price from its close says as much.
_TOLD = math.log(1.0 + basis.PLAUSIBLE)


async def in_the_closes(
    conn: AsyncConnection, trades: Sequence[Trade], received: Sequence[Received], clock: Clock
) -> list[Received]:
    """Those of `received` that the stored closes are adjusted for; none where no close of a trade before is stored."""
    doubted = [each for each in received if each.ratio and math.log(each.ratio) > _TOLD]
    of = {each.trade.symbol for each in doubted}
    priced = [trade for trade in trades if trade.symbol in of and trade.price]
    if not priced:
        return []
    markets = await entry_closes.read_days(conn, [(trade.symbol, trade.day) for trade in priced], clock.calendar())
    distances = [
        (trade.symbol, trade.day, math.log(float(trade.price) / market.close))
        for trade, market in zip(priced, markets, strict=True)
        if market is not None and market.close and trade.price
    ]
    return told_by(doubted, distances)


def told_by(doubted: Sequence[Received], distances: Sequence[tuple[str, date, float]]) -> list[Received]:
    """Those whose ratio is the distance between prices and closes of before.

    doubted   : by day
    distances : (symbol, day, logarithm of price over close) of trades
    """
    found: list[Received] = []
    # The latest first: what lies before an earlier one is adjusted for the later ones too.
    for split in reversed(doubted):
        symbol, day = split.trade.symbol, split.trade.day
        last = max(
            (each.trade.day for each in doubted if each.trade.symbol == symbol and each.trade.day < day),
            default=date.min,
        )
        own = [distance for name, of, distance in distances if name == symbol and last <= of < day]
        later = sum(math.log(each.ratio) for each in found if each.trade.symbol == symbol)
        told = fmean(own) - later if own else 0.0
        if told > _TOLD and abs(told - math.log(split.ratio)) < told / 2:
            found.append(split)
    return found


def on_their_shares(trades: Sequence[Trade], adjusted_for: Sequence[Received]) -> list[Trade]:
    """The trades without these splits, those of before on the shares of after."""
    gone: Collection[str] = {each.trade.key for each in adjusted_for}
    result = []
    for trade in trades:
        if trade.key in gone:
            continue
        factor = math.prod(
            (each.ratio for each in adjusted_for if each.trade.symbol == trade.symbol and trade.day < each.trade.day),
            start=Fraction(1),
        )
        if factor != 1 and trade.quantity is not None:
            trade = replace(  # noqa: PLW2901 (the same trade in other numbers)
                trade,
                quantity=_times(trade.quantity, factor),
                price=None if trade.price is None else _times(trade.price, 1 / factor),
            )
        result.append(trade)
    return result


def warn(adjusted_for: Sequence[Received], issues: Issues) -> None:
    for split in adjusted_for:
        trade = split.trade
        issues.warn(
            trade.row, "quantity", "split_in_prices",
            f"Row {trade.row}: the price source lists no split of {trade.symbol} near {trade.day}, and its closes are adjusted for it: "
            f"before, what was paid is {float(split.ratio):.4g} times the close. Trades of before are counted on the shares of after. "
            "List the split beside the prices to keep them as traded.", str(trade.quantity),
        )  # fmt: skip


def _times(value: Decimal, factor: Fraction) -> Decimal:
    exact = Fraction(value) * factor
    return (Decimal(exact.numerator) / Decimal(exact.denominator)).quantize(_KEPT)
