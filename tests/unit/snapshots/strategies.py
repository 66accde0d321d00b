"""Random worlds: lots of all kinds over a few weeks that hold a month's and a year's end."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from random import Random

from hypothesis import strategies as st

from tests.support.worlds import Lot, Portfolio, Symbol, World, weekdays

FIRST = date(2019, 12, 16)  # a Monday
SESSIONS = 18
NAMES = ("AAA", "BBB", "CCC", "LIST")

# Fractions of a share make products end in five: the ties of the rounding rule.
quantities = st.one_of(
    st.integers(1, 5_000).map(Decimal),
    st.integers(1, 10**9).map(lambda n: Decimal(n).scaleb(-4)),
    st.integers(1, 10**12).map(lambda n: Decimal(n).scaleb(-10)),
)
signed_quantities = st.tuples(quantities, st.booleans()).map(lambda pair: -pair[0] if pair[1] else pair[0])
entry_prices = st.integers(1, 10**9).map(lambda n: Decimal(n).scaleb(-6))
ratios = st.sampled_from([2.0, 4.0, 20.0, 1.5, 0.125, 0.1, 1 / 3, 1.0027])


@st.composite
def symbols(draw: st.DrawFn, name: str, sessions: tuple[date, ...]) -> Symbol:
    """Prices from a seed rather than draw by draw: a hundred draws a symbol would make the suite slow."""
    chance = Random(draw(st.integers(0, 2**32)))
    close, adjusted, gaps = {}, {}, {}
    has_close = chance.random() < 0.75
    # A year's worth of luck in one dial: from a symbol without a hole to one that has hardly a price.
    holes = draw(st.sampled_from([0.0, 0.1, 0.3, 0.9]))
    delisted_from = draw(st.one_of(st.none(), st.integers(6, len(sessions))))
    for place, day in enumerate(sessions):
        what = chance.choice(["both", "both", "close", "adjusted"])
        if delisted_from is not None and place >= delisted_from - 2:
            what = "none"
            gaps[day] = "delisted" if place >= delisted_from else "no_trade"
        elif chance.random() < holes:
            what = "none"
            gaps[day] = chance.choice(["no_trade", "provider_down", "not_found"])
        if what in {"both", "close"} and has_close:
            close[day] = _price(chance)
        if what in {"both", "adjusted"}:
            adjusted[day] = _price(chance)
    dividends = {chance.choice(sessions): chance.randint(1, 50_000) / 10_000 for _ in range(chance.randint(0, 3))}
    splits = {day: draw(ratios) for day in draw(st.sets(st.sampled_from(sessions), max_size=2))}
    return Symbol(name, close, adjusted, dividends, splits, gaps, from_file=chance.random() < 0.25)


def _price(chance: Random) -> float:
    return chance.randint(100, 500_000) / 100 if chance.random() < 0.5 else round(chance.uniform(0.5, 900.0), 6)


@st.composite
def lots(draw: st.DrawFn, sessions: tuple[date, ...], number: int) -> Lot:
    span = (sessions[-1] - sessions[0]).days
    # From the Saturday before on; entries and exits fall on weekends too.
    entry = sessions[0] + timedelta(days=draw(st.integers(-2, span)))
    exit_date = draw(st.one_of(st.none(), st.integers(0, span + 4).map(lambda days: entry + timedelta(days=days))))
    if exit_date is not None and exit_date > sessions[-1]:
        exit_date = None
    kind = draw(st.sampled_from(["public", "public", "public", "public", "option", "private"]))
    return Lot(
        symbol="PRIV" if kind == "private" else draw(st.sampled_from(NAMES)),
        quantity=draw(signed_quantities),
        entry_date=entry,
        entry_price=draw(entry_prices),
        exit_date=exit_date,
        exit_price=None if exit_date is None else draw(entry_prices),
        private=kind == "private",
        multiplier=100 if kind == "option" else 1,
        number=number,
    )


@st.composite
def worlds(draw: st.DrawFn, portfolios: int = 1, max_lots: int = 5) -> World:
    """Each portfolio has a lot on the first session, so that it begins there."""
    sessions = weekdays(FIRST, SESSIONS)
    known = {name: draw(symbols(name, sessions)) for name in NAMES[:3]}
    made = []
    number = 1
    for place in range(portfolios):
        chosen: list[Lot] = []
        for _ in range(draw(st.integers(1, max_lots))):
            lot = draw(lots(sessions, number))
            if not chosen:
                lot = replace(lot, entry_date=min(lot.entry_date, sessions[0]))
            chosen.append(lot)
            number += 1
        flow_days = st.integers(0, (sessions[-1] - sessions[0]).days).map(
            lambda days: sessions[0] + timedelta(days=days)
        )
        amounts = st.integers(-(10**9), 10**9).filter(bool).map(lambda n: Decimal(n).scaleb(-4))
        flows = draw(st.dictionaries(flow_days, amounts, max_size=4))
        # Small equities against large positions: margin, and sessions without any capital.
        equity = draw(st.integers(1, 10**11).map(lambda n: Decimal(n).scaleb(-4)))
        made.append(Portfolio(equity, tuple(chosen), flows, place + 1))
    return World(sessions, known, tuple(made))
