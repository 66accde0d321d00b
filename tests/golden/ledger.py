"""A portfolio's NAV as a cash book, from the statement of what each trade, dividend and flow moves, in fractions.

Nothing is rolled forward: every session is worked out from the beginning. It shares no code with the service.
"""

from __future__ import annotations

import math
from datetime import date
from decimal import Decimal
from fractions import Fraction

from tests.support.worlds import Lot, Portfolio, Symbol, World

PLACES = 4
# A split is announced in whole shares: 0.3333333333333333 stands for one for three.
MOST_SHARES = 1000


def rational(number: Decimal | float | Fraction) -> Fraction:
    """The number as it is written."""
    return Fraction(repr(number)) if isinstance(number, float) else Fraction(number)


def amount(*factors: Decimal | float | Fraction) -> Decimal:
    """The exact product, to four places, half to even."""
    return Decimal(round(math.prod(map(rational, factors)) * 10**PLACES)).scaleb(-PLACES)


def shares(symbol: Symbol, lot: Lot, until: date) -> Fraction:
    """Signed shares at the end of a day, through the splits since the entry date."""
    held = rational(lot.quantity)
    for day in sorted(symbol.splits):
        if lot.entry_date < day <= until:
            held *= Fraction(symbol.splits[day]).limit_denominator(MOST_SHARES)
    return held


def cost(lot: Lot) -> Decimal:
    return amount(lot.multiplier, lot.quantity, lot.entry_price)


def cash_moves(world: World, lot: Lot) -> dict[date, Decimal]:
    """What the lot pays (negative) and receives, by session."""
    symbol = world.symbols[lot.symbol]
    entry, out = world.on_or_after(lot.entry_date), date.max
    moves = {session: Decimal(0) for session in world.sessions}
    moves[entry] -= cost(lot)
    if lot.exit_date is not None and lot.exit_price is not None:
        out = world.on_or_after(lot.exit_date)
        if out in moves:
            moves[out] += amount(lot.multiplier, shares(symbol, lot, lot.exit_date), lot.exit_price)
    for day, per_share in symbol.dividends.items():
        held = entry < day < out or (entry < day == out and lot.exit_date is not None and lot.exit_date >= day)
        if held:
            moves[day] += amount(lot.multiplier, shares(symbol, lot, day), per_share)
    return moves


def value(world: World, lot: Lot, session: date) -> Decimal:
    """Market value at a session's close: the last price since entry, on the shares of that day; the cost before the first."""
    symbol = world.symbols[lot.symbol]
    entry = world.on_or_after(lot.entry_date)
    out = date.max if lot.exit_date is None else world.on_or_after(lot.exit_date)
    if not entry <= session < out:
        return Decimal(0)
    priced = [day for day in symbol.close if entry <= day <= session]
    if not priced:
        return cost(lot)
    last = max(priced)
    return amount(lot.multiplier, shares(symbol, lot, last), symbol.close[last])


def cash(world: World, portfolio: Portfolio) -> dict[date, Decimal]:
    """Cash at the close of every session."""
    running, book = portfolio.equity, {}
    moves = [cash_moves(world, lot) for lot in portfolio.lots]
    for session in world.sessions:
        flows = (money for day, money in portfolio.flows.items() if world.on_or_after(day) == session)
        running += sum(flows, Decimal(0)) + sum((move[session] for move in moves), Decimal(0))
        book[session] = running
    return book
