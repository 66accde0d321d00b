"""NAV_t = NAV_{t-1} + pnl_t + flow_t and NAV_t = cash_t + Σ market value, exactly, over everything that can happen to a lot."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.snapshots.compute import from_units
from tests.golden.ledger import cash, value
from tests.support.examples import examples
from tests.support.worlds import Lot, Portfolio, Rows, Symbol, World, run, weekdays

MONDAY = date(2020, 3, 2)
DAYS = weekdays(MONDAY, 10)
SATURDAY = date(2020, 3, 7)
NO_FLOWS: Mapping[date, Decimal] = {}


def check(world: World) -> Rows:
    """Both identities on every session, and cash and every market value as the cash book has them."""
    rows = run(world)
    lots = {lot.number: (p, lot) for p in world.portfolios for lot in p.lots}
    for column, portfolio in enumerate(world.portfolios):
        before, book = portfolio.equity, cash(world, portfolio)
        for t, session in enumerate(world.sessions):
            nav, pnl, flow, held = (
                from_units(figure[t, column])
                for figure in (rows.snapshots.nav, rows.snapshots.daily_pnl, rows.snapshots.flow, rows.snapshots.cash)
            )
            assert nav == before + pnl + flow, session
            assert held == book[session], session
            assert nav == held + sum((value(world, lot, session) for lot in portfolio.lots), Decimal(0)), session
            before = nav
    for place, position in enumerate(rows.inputs.lots.position_id):
        _, lot = lots[position.int]
        for t, session in enumerate(world.sessions):
            assert from_units(rows.table.market_value[t, place]) == value(world, lot, session), (position.int, session)
    return rows


def lot(quantity: str, entry: date, price: str, exit_date: date | None = None, exit_price: str | None = None) -> Lot:
    return Lot("A", Decimal(quantity), entry, Decimal(price), exit_date, Decimal(exit_price) if exit_price else None)


def story(*lots: Lot, symbol: Symbol, equity: str = "10000", flows: Mapping[date, Decimal] = NO_FLOWS) -> World:
    numbered = tuple(replace(each, number=k + 1) for k, each in enumerate(lots))
    return World(DAYS, {"A": symbol}, (Portfolio(Decimal(equity), numbered, dict(flows), 1),))


def symbol(*, dividends: dict[date, float] | None = None, splits: dict[date, float] | None = None) -> Symbol:
    """Prices that move by a cent or two a day and halve where a split doubles the shares."""
    close = {}
    for k, day in enumerate(DAYS):
        factor = 1.0
        for ex, ratio in (splits or {}).items():
            factor *= ratio if day >= ex else 1.0
        close[day] = round((100.37 + 1.13 * k - 0.4 * (k % 3)) / factor, 4)
    return Symbol("A", close, dividends=dividends or {}, splits=splits or {})


PLAIN = symbol()
HELD = lot("10.37", DAYS[0], "99.993")
GAP = replace(PLAIN, close={day: price for day, price in PLAIN.close.items() if day not in DAYS[3:6]})
STORIES = {
    "buy": story(HELD, symbol=PLAIN),
    "partial close": story(
        lot("6.12", DAYS[0], "99.993"), lot("4.25", DAYS[0], "99.993", DAYS[4], "104.117"), symbol=PLAIN
    ),
    "dividend": story(HELD, symbol=symbol(dividends={DAYS[3]: 0.7731})),
    "split on entry": story(HELD, lot("3.3", DAYS[2], "50.1"), symbol=symbol(splits={DAYS[2]: 2.0})),
    "split while held": story(HELD, symbol=symbol(splits={DAYS[4]: 3.0})),
    "split on the exit day": story(
        lot("10.37", DAYS[0], "99.993", DAYS[4], "26.3"), symbol=symbol(splits={DAYS[4]: 4.0})
    ),
    "split over a weekend entry": story(HELD, lot("7.7", SATURDAY, "104.9"), symbol=symbol(splits={DAYS[5]: 4.0})),
    "reverse split": story(HELD, symbol=symbol(splits={DAYS[4]: 0.125})),
    "flow": story(HELD, symbol=PLAIN, flows={DAYS[2]: Decimal("2500.2525"), SATURDAY: Decimal("-1200.0001")}),
    "short": story(lot("-10.37", DAYS[0], "99.993"), symbol=symbol(dividends={DAYS[3]: 0.7731})),
    "margin": story(lot("150.5", DAYS[0], "99.993"), symbol=PLAIN),
    "gap": story(HELD, symbol=GAP),
    # 0.205 / 3 * 254.01 is 17.35735: a tie only if the third is one.
    "one for three": story(
        lot("0.205", DAYS[0], "99.993"),
        symbol=Symbol("A", dict.fromkeys(DAYS, 254.01), dividends={}, splits={DAYS[1]: 1 / 3}),
    ),
}


@pytest.mark.parametrize("name", list(STORIES))
def test_nav_identity_is_exact(name: str) -> None:
    rows = check(STORIES[name])
    assert rows.snapshots.nav.shape == (10, 1)


def test_what_each_story_is_about_does_happen() -> None:
    """Otherwise the identity would hold over nothing."""
    found = {name: run(world) for name, world in STORIES.items()}
    assert found["dividend"].snapshots.dividends[-1, 0] == 10.37 * 0.7731 // 0.0001
    assert found["short"].snapshots.dividends[-1, 0] < 0
    assert found["margin"].snapshots.cash[-1, 0] < 0
    assert found["flow"].snapshots.cumulative_flow[-1, 0] == 13002524
    assert found["partial close"].snapshots.realized_pnl[-1, 0] == round(4.25 * (104.117 - 99.993) * 10_000)
    assert found["split while held"].table.quantity[-1, 0] == pytest.approx(31.11)
    assert found["split over a weekend entry"].table.quantity[-1, 1] == pytest.approx(30.8)
    assert found["split on entry"].table.quantity[-1].tolist() == pytest.approx([20.74, 3.3])
    assert found["gap"].table.stale[3:6, 0].tolist() == [1, 2, 3]
    for name, at in (("split while held", 4), ("reverse split", 4), ("split on entry", 2)):
        # Prices halve as shares double: only the day's own cents are earned.
        assert abs(found[name].snapshots.daily_pnl[at, 0]) < 10.37 * 2 * 10_000 * 1.2


# --- any trades, splits, dividends, flows, gaps ------------------------------------------------------------------------

FIRST = date(2019, 12, 23)
SESSIONS = weekdays(FIRST, 12)
quantities = st.integers(-(10**9), 10**9).filter(bool).map(lambda n: Decimal(n).scaleb(-5))
prices = st.integers(1, 10**8).map(lambda n: Decimal(n).scaleb(-5))
offsets = st.integers(0, (SESSIONS[-1] - FIRST).days)


@st.composite
def symbols(draw: st.DrawFn, name: str) -> Symbol:
    chance = Random(draw(st.integers(0, 2**32)))
    gaps = draw(st.sampled_from([0.0, 0.2, 0.8]))
    close = {
        day: round(chance.uniform(0.5, 900.0), chance.choice([2, 4, 7])) for day in SESSIONS if chance.random() >= gaps
    }
    dividends = {chance.choice(SESSIONS): chance.randint(1, 90_000) / 10_000 for _ in range(chance.randint(0, 3))}
    splits = {
        day: draw(st.sampled_from([2.0, 4.0, 20.0, 1.5, 0.125, 1 / 3]))
        for day in draw(st.sets(st.sampled_from(SESSIONS), max_size=2))
    }
    return Symbol(name, close, dividends=dividends, splits=splits)


@st.composite
def worlds(draw: st.DrawFn) -> World:
    known = {name: draw(symbols(name)) for name in ("AAA", "BBB")}
    lots = []
    for number in range(1, draw(st.integers(1, 5)) + 1):
        entry = FIRST + timedelta(days=draw(offsets) if number > 1 else 0)
        stay = draw(st.one_of(st.none(), st.integers(0, 9)))
        left = None if stay is None else entry + timedelta(days=stay)
        left = left if left is not None and left <= SESSIONS[-1] else None
        lots.append(
            Lot(
                draw(st.sampled_from(["AAA", "BBB"])), draw(quantities), entry, draw(prices), left,
                None if left is None else draw(prices), multiplier=draw(st.sampled_from([1, 1, 100])), number=number,
            )
        )  # fmt: skip
    days = offsets.map(lambda days: FIRST + timedelta(days=days))
    flows = draw(st.dictionaries(days, quantities.map(lambda money: money.quantize(Decimal("0.0001"))), max_size=3))
    equity = draw(st.integers(1, 10**11).map(lambda n: Decimal(n).scaleb(-4)))
    return World(SESSIONS, known, (Portfolio(equity, tuple(lots), flows, 1),))


@settings(max_examples=examples(120), deadline=None)
@given(worlds())
def test_nav_identity_is_exact_over_any_trades_splits_dividends_flows_and_gaps(world: World) -> None:
    check(world)


@settings(max_examples=examples(60), deadline=None)
@given(worlds(), st.sampled_from([2.0, 4.0, 10.0, 0.125]), st.integers(1, 11))
def test_a_split_moves_no_pnl(world: World, ratio: float, at: int) -> None:
    """The same lots in a world where one more split divides every later price, dividend and exit price: P&L to the rounding."""
    day = SESSIONS[at]
    name = world.portfolios[0].lots[0].symbol
    plain = world.symbols[name]
    split = replace(
        plain,
        close={t: price / ratio if t >= day else price for t, price in plain.close.items()},
        dividends={t: money / ratio if t >= day else money for t, money in plain.dividends.items()},
        splits={**plain.splits, day: plain.splits.get(day, 1.0) * ratio},
    )
    exact = Decimal(repr(ratio))
    lots = tuple(
        replace(
            each,
            quantity=each.quantity * exact if each.entry_date >= day else each.quantity,
            entry_price=each.entry_price / exact if each.entry_date >= day else each.entry_price,
            exit_price=each.exit_price / exact
            if each.exit_price and each.exit_date and each.exit_date >= day
            else each.exit_price,
        )
        if each.symbol == name
        else each
        for each in world.portfolios[0].lots
    )
    other = replace(
        world, symbols={**world.symbols, name: split}, portfolios=(replace(world.portfolios[0], lots=lots),)
    )
    before, after = run(world).snapshots.daily_pnl, run(other).snapshots.daily_pnl
    # A value of 1e9 units of money has its price at 17 digits: the quotient's last one is worth 1e-3 of a ten-thousandth a share.
    tolerance = 40 + 1e-13 * float(abs(run(world).table.market_value).max(initial=0))
    assert abs(before - after).max() <= tolerance
