"""docs/methods.md §6 again, slowly: one lot and one session at a time, in decimals, from the first session on.

Written from the table in the specification and nothing else; it shares no code with the service.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from fractions import Fraction

from tests.support.worlds import Lot, Portfolio, Symbol, World

CENT = Decimal("0.0001")
NOTHING = Symbol("")


def money(*factors: Decimal | float) -> Decimal:
    """The product of the factors as they are written, to four places."""
    with localcontext() as context:
        context.prec = 200
        product = Decimal(1)
        for factor in factors:
            product *= factor if isinstance(factor, Decimal) else Decimal(repr(factor))
        return product.quantize(CENT, rounding=ROUND_HALF_EVEN)


@dataclass
class Shown:
    """The price a lot is shown at."""

    price: float
    price_session: date
    basis: str
    stale: int
    reason: str


@dataclass
class Held(Shown):
    """A lot as it stands after a session."""

    quantity: Decimal
    value: Decimal
    pnl: Decimal
    cumulative: Decimal
    realized: Decimal
    dividends: Decimal
    cash: Decimal


@dataclass
class Day:
    """A portfolio after a session."""

    nav: Decimal
    cash: Decimal
    pnl: Decimal
    flow: Decimal
    cumulative_flow: Decimal
    lots: dict[int, Held]
    daily_return: float | None


def split_factor(symbol: Symbol, after: date, until: date) -> Decimal:
    factor = Decimal(1)
    with localcontext() as context:
        context.prec = 200
        for day in sorted(symbol.splits):
            if after < day <= until:
                whole = Fraction(symbol.splits[day]).limit_denominator(1000)
                near = abs(float(whole) / symbol.splits[day] - 1) <= 1e-9
                new = whole if near else Fraction(repr(symbol.splits[day]))
                factor = factor * new.numerator / new.denominator
    return factor


def times(quantity: Decimal, factor: Decimal) -> Decimal:
    with localcontext() as context:
        context.prec = 200
        return quantity * factor


def lot_history(world: World, lot: Lot) -> dict[date, Held]:
    """The lot on every session from its entry session on."""
    slow = _SlowLot(world, lot)
    previous: Held | None = None
    history: dict[date, Held] = {}
    for place, t in enumerate(world.sessions):
        if t >= slow.e:
            history[t] = previous = slow.day(place, t, previous)
    return history


class _SlowLot:
    def __init__(self, world: World, lot: Lot) -> None:
        self.world, self.lot = world, lot
        self.symbol = NOTHING if lot.private else world.symbols.get(lot.symbol, NOTHING)
        self.e = world.on_or_after(lot.entry_date)
        self.x = world.on_or_after(lot.exit_date) if lot.exit_date else date(2200, 1, 1)
        self.cost = money(lot.multiplier, lot.quantity, lot.entry_price)
        self.on_adjusted: bool | None = None  # not known before the first price

    def day(self, place: int, t: date, previous: Held | None) -> Held:
        if t > self.x:
            assert previous is not None
            return replace(previous, value=Decimal(0), pnl=Decimal(0), cash=Decimal(0))
        close, adjusted = self.symbol.close.get(t), self.symbol.adj_close.get(t)
        known = self.on_adjusted
        if self.on_adjusted is None and (t < self.x or self.e == self.x) and (close or adjusted):
            self.on_adjusted = close is None
        dividend = self._dividend(t)
        if t == self.x:
            return self._leave(t, previous, dividend)
        price, basis = self._price(place, previous, close, adjusted, known)
        if price is None:
            return self._without_a_price(t, previous, dividend)
        value = money(self.lot.multiplier, self._shares(t), price)
        missing = self.symbol.from_file and basis != "adj_close" and self.lot.multiplier == 1
        reason = "no_dividends" if missing else ""
        return self._hold(t, previous, dividend, value, Shown(price, t, basis, 0, reason))

    def _shares(self, until: date) -> Decimal:
        factor = Decimal(1) if self.on_adjusted else split_factor(self.symbol, self.lot.entry_date, until)
        return times(self.lot.quantity, factor)

    def _dividend(self, t: date) -> Decimal:
        there = t < self.x or (self.lot.exit_date is not None and self.lot.exit_date >= t)
        if t == self.e or self.on_adjusted or not there:
            return Decimal(0)
        return money(self.lot.multiplier, self._shares(t), self.symbol.dividends.get(t, 0.0))

    def _price(
        self, place: int, previous: Held | None, close: float | None, adjusted: float | None, known: bool | None
    ) -> tuple[float | None, str]:
        t = self.world.sessions[place]
        if known:
            return adjusted, "adj_close"
        if close is not None:
            return close, "file" if self.symbol.from_file else "close"
        if known is None:
            return adjusted, "adj_close"
        yesterday = self.symbol.adj_close.get(self.world.sessions[place - 1]) if place else None
        if previous is not None and previous.stale == 0 and adjusted is not None and yesterday is not None:
            before = previous.price / self.symbol.splits.get(t, 1.0)
            chained = before * (adjusted / yesterday) - self.symbol.dividends.get(t, 0.0)
            if chained > 0:
                return chained, "chained"
        return None, ""

    def _without_a_price(self, t: date, previous: Held | None, dividend: Decimal) -> Held:
        if previous is None:
            price = float(self.lot.entry_price)
            if self.lot.entry_date < self.e:
                with localcontext() as context:
                    context.prec = 100
                    price /= float(self._shares(t) / self.lot.quantity)
            shown = Shown(price, t, "stated", 0, "unpriceable")
            value = self.cost
        else:
            ratio = 1.0 if self.on_adjusted else self.symbol.splits.get(t, 1.0)
            reason = "unpriceable" if previous.basis == "stated" or previous.stale >= 5 else "stale"
            shown = Shown(previous.price / ratio, previous.price_session, previous.basis, previous.stale + 1, reason)
            value = previous.value
        if self.symbol.gaps.get(t) == "delisted":
            shown = replace(shown, reason="delisted")
        if self.lot.private:
            shown = replace(shown, reason="", stale=0)
        return self._hold(t, previous, dividend, value, shown)

    def _hold(self, t: date, previous: Held | None, dividend: Decimal, value: Decimal, shown: Shown) -> Held:
        """Rows one and two of the table."""
        if previous is None:
            pnl, moved, cumulative, dividends = value - self.cost, -self.cost, Decimal(0), Decimal(0)
        else:
            pnl, moved = value - previous.value + dividend, dividend
            cumulative, dividends = previous.cumulative, previous.dividends + dividend
        return Held(**vars(shown), quantity=self._shares(t), value=value, pnl=pnl, cumulative=cumulative + pnl,
                    realized=Decimal(0), dividends=dividends, cash=moved)  # fmt: skip

    def _leave(self, t: date, previous: Held | None, dividend: Decimal) -> Held:
        """Rows three and four of the table."""
        assert self.lot.exit_date is not None
        assert self.lot.exit_price is not None
        proceeds = money(self.lot.multiplier, self._shares(self.lot.exit_date), self.lot.exit_price)
        if previous is None:
            pnl, moved, cumulative, dividends = proceeds - self.cost, proceeds - self.cost, Decimal(0), Decimal(0)
        else:
            pnl, moved = proceeds - previous.value + dividend, proceeds + dividend
            cumulative, dividends = previous.cumulative, previous.dividends + dividend
        shown = Shown(float(self.lot.exit_price), t, "stated", 0, "")
        return Held(**vars(shown), quantity=Decimal(0), value=Decimal(0), pnl=pnl, cumulative=cumulative + pnl,
                    realized=proceeds - self.cost, dividends=dividends, cash=moved)  # fmt: skip


def simple_return(pnl: Decimal, base: Decimal) -> float | None:
    """Nothing on nothing is 0; a loss of all there was, or on nothing, is no return that could be multiplied."""
    empty = abs(base) < Decimal("0.01")
    if empty and pnl == 0:
        return 0.0
    if empty or base < 0 or pnl <= -base:
        return None
    return float(pnl) / float(base)


def portfolio_history(world: World, portfolio: Portfolio) -> dict[date, Day]:
    lots = {lot.number: lot_history(world, lot) for lot in portfolio.lots}
    first = min(world.on_or_after(lot.entry_date) for lot in portfolio.lots)
    nav = cash = portfolio.equity
    cumulative_flow = Decimal(0)
    days: dict[date, Day] = {}
    for t in world.sessions:
        if t < first:
            continue
        flow = sum((amount for day, amount in portfolio.flows.items() if world.on_or_after(day) == t), Decimal(0))
        here = {number: history[t] for number, history in lots.items() if t in history}
        pnl = sum((held.pnl for held in here.values()), Decimal(0))
        base = nav + max(flow, Decimal(0))
        nav = nav + pnl + flow
        cash = cash + flow + sum((held.cash for held in here.values()), Decimal(0))
        cumulative_flow += flow
        days[t] = Day(nav, cash, pnl, flow, cumulative_flow, here, simple_return(pnl, base))
    return days
