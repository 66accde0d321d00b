"""The golden tests of docs/methods.md §15 that are about snapshots: small stories whose numbers a person can check."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest

from services.snapshots.compute import Basis, Reason, from_units, lot_reasons
from tests.support.worlds import Lot, Portfolio, Rows, Symbol, World, run, weekdays

MONDAY = date(2020, 3, 2)
DAYS = weekdays(MONDAY, 10)
SATURDAY = date(2020, 3, 7)


def prices(*values: float | None) -> dict[date, float]:
    return {day: value for day, value in zip(DAYS, values, strict=False) if value is not None}


def story(symbol: Symbol, *lots: Lot, equity: int = 10_000, flows: dict[date, Decimal] | None = None) -> Rows:
    """Ten sessions of one portfolio in one symbol; the identity is checked in each story."""
    numbered = tuple(replace(lot, number=place + 1) for place, lot in enumerate(lots))
    world = World(DAYS, {symbol.name: symbol}, (Portfolio(Decimal(equity), numbered, flows or {}, 1),))
    rows = run(world)
    s = rows.snapshots
    before = rows.inputs.portfolios.equity[0]
    for row in range(len(DAYS)):
        assert s.nav[row, 0] == before + s.daily_pnl[row, 0] + s.flow[row, 0]
        assert s.nav[row, 0] == s.cash[row, 0] + rows.table.market_value[row].sum()
        before = s.nav[row, 0]
    return rows


def lot(
    quantity: int | str, entry: date, price: str, exit_date: date | None = None, exit_price: str | None = None
) -> Lot:
    return Lot(
        "A", Decimal(quantity), entry, Decimal(price), exit_date, None if exit_price is None else Decimal(exit_price)
    )


def pnl(rows: Rows, row: int, place: int = 0) -> Decimal:
    return from_units(rows.table.daily_pnl[row, place])


FLAT = (100.0,) * 10


def test_buy_earns_close_less_fill_on_the_first_session() -> None:
    rows = story(Symbol("A", prices(101.0, 103.0, *FLAT)), lot(10, DAYS[0], "100.5"))
    assert [pnl(rows, 0), pnl(rows, 1)] == [5, 20]
    assert from_units(rows.snapshots.cash[0, 0]) == Decimal(8995)


def test_partial_close_is_two_lots() -> None:
    symbol = Symbol("A", prices(100.0, 110.0, 120.0, 130.0, *FLAT))
    rows = story(symbol, lot(6, DAYS[0], "100"), lot(4, DAYS[0], "100", DAYS[2], "118"))
    assert [pnl(rows, 2, 0), pnl(rows, 2, 1)] == [60, 32]
    assert [from_units(rows.snapshots.realized_pnl[t, 0]) for t in (1, 2, 3)] == [0, 72, 72]
    assert [from_units(rows.snapshots.cumulative_pnl[t, 0]) for t in (1, 2, 3)] == [100, 192, 252]
    assert rows.snapshots.positions[:4, 0].tolist() == [2, 2, 1, 1]


def test_dividend_is_cash_for_the_long_and_a_cost_for_the_short() -> None:
    symbol = Symbol("A", prices(100.0, 99.0, *FLAT), dividends={DAYS[1]: 1.0})
    long, short = lot(10, DAYS[0], "100"), lot(-10, DAYS[0], "100")
    assert pnl(story(symbol, long), 1) == 0
    assert pnl(story(symbol, short), 1) == 0
    assert from_units(story(symbol, long).snapshots.dividends[1, 0]) == 10
    assert from_units(story(symbol, short).snapshots.dividends[1, 0]) == -10


def test_dividend_is_paid_on_the_shares_of_the_day() -> None:
    symbol = Symbol("A", prices(100.0, 49.5, *FLAT), dividends={DAYS[1]: 0.5}, splits={DAYS[1]: 2.0})
    assert from_units(story(symbol, lot(10, DAYS[0], "100")).snapshots.dividends[1, 0]) == 10


@pytest.mark.parametrize(("exit_date", "paid"), [(DAYS[4], 0), (SATURDAY, 0), (DAYS[5], 10)])
def test_dividend_belongs_to_who_holds_on_the_ex_date(exit_date: date, paid: int) -> None:
    """Sold on Friday or at the weekend, the lot leaves before Monday's ex-date; sold on Monday, it has the dividend."""
    symbol = Symbol("A", prices(*FLAT), dividends={DAYS[5]: 1.0})
    rows = story(symbol, lot(10, DAYS[0], "100", exit_date, "100"))
    assert from_units(rows.snapshots.dividends[-1, 0]) == paid


def test_no_dividend_on_the_entry_session() -> None:
    symbol = Symbol("A", prices(*FLAT), dividends={DAYS[0]: 1.0})
    assert from_units(story(symbol, lot(10, DAYS[0], "100")).snapshots.dividends[-1, 0]) == 0


def test_split_while_held_moves_no_pnl() -> None:
    symbol = Symbol("A", prices(300.0, 300.0, 100.0, *FLAT), splits={DAYS[2]: 3.0})
    rows = story(symbol, lot("10.5", DAYS[0], "290"))
    assert pnl(rows, 2) == 0
    assert rows.table.quantity[1:3, 0].tolist() == [10.5, 31.5]


def test_split_on_the_entry_session_is_in_the_entry_price_already() -> None:
    symbol = Symbol("A", prices(100.0, *FLAT), splits={DAYS[0]: 4.0})
    rows = story(symbol, lot(10, DAYS[0], "100"))
    assert pnl(rows, 0) == 0
    assert rows.table.quantity[0, 0] == 10


def test_split_over_a_weekend_entry_is_not_in_the_entry_price() -> None:
    """Bought at Friday's price on Saturday; the split is in force on Monday's open."""
    symbol = Symbol("A", prices(*(400.0,) * 5, *(100.0,) * 5), splits={DAYS[5]: 4.0})
    rows = story(symbol, lot(1, DAYS[0], "400"), lot(10, SATURDAY, "400"))
    assert pnl(rows, 5, 1) == 0
    assert rows.table.quantity[5, 1] == 40


def test_split_on_the_exit_day_is_in_the_exit_price() -> None:
    symbol = Symbol("A", prices(400.0, 400.0, *FLAT), splits={DAYS[2]: 4.0})
    rows = story(symbol, lot(10, DAYS[0], "400", DAYS[2], "101"))
    assert pnl(rows, 2) == 40


def test_split_after_a_weekend_exit_is_not_in_the_exit_price() -> None:
    symbol = Symbol("A", prices(*(400.0,) * 5, *FLAT), splits={DAYS[5]: 4.0})
    rows = story(symbol, lot(10, DAYS[0], "400", SATURDAY, "401"))
    assert pnl(rows, 5) == 10


def test_entry_and_exit_on_one_session() -> None:
    rows = story(Symbol("A", prices(*FLAT)), lot(1, DAYS[0], "100"), lot(10, DAYS[3], "99", DAYS[3], "101.5"))
    assert pnl(rows, 3, 1) == 25
    assert from_units(rows.snapshots.realized_pnl[3, 0]) == 25
    assert rows.table.market_value[3, 1] == 0


def test_weekend_entry_counts_on_monday_at_the_stated_price() -> None:
    rows = story(Symbol("A", prices(*FLAT)), lot(1, DAYS[0], "100"), lot(10, SATURDAY, "98"))
    assert rows.snapshots.positions[4:6, 0].tolist() == [1, 2]
    assert pnl(rows, 5, 1) == 20


def test_flow_is_no_pnl() -> None:
    rows = story(Symbol("A", prices(*FLAT)), lot(10, DAYS[0], "100"), flows={DAYS[2]: Decimal("2500.25")})
    assert from_units(rows.snapshots.nav[2, 0]) == Decimal("12500.25")
    assert rows.snapshots.daily_pnl[2, 0] == 0
    assert rows.snapshots.cumulative_pnl[-1, 0] == 0


def test_short_gains_when_the_price_falls() -> None:
    rows = story(Symbol("A", prices(100.0, 90.0, *FLAT)), lot(-10, DAYS[0], "100"))
    assert pnl(rows, 1) == 100
    s = rows.snapshots
    assert [from_units(x[1, 0]) for x in (s.cash, s.short_value, s.nav)] == [11_000, -900, 10_100]
    assert s.short_positions[1, 0] == 1


def test_margin_is_negative_cash() -> None:
    rows = story(Symbol("A", prices(100.0, 110.0, *FLAT)), lot(150, DAYS[0], "100"))
    assert from_units(rows.snapshots.cash[1, 0]) == -5_000
    assert rows.snapshots.daily_return[1, 0] == 0.15


def test_gap_carries_the_price_and_then_catches_up() -> None:
    rows = story(Symbol("A", prices(100.0, None, None, 130.0, *FLAT)), lot(10, DAYS[0], "100"))
    assert [pnl(rows, t) for t in range(4)] == [0, 0, 0, 300]
    assert rows.table.stale[:4, 0].tolist() == [0, 1, 2, 0]
    assert rows.table.reason[:4, 0].tolist() == [Reason.NONE, Reason.STALE, Reason.STALE, Reason.NONE]
    assert rows.snapshots.coverage[:4, 0].tolist() == [1.0] * 4


def test_a_carried_price_goes_through_a_split_without_pnl() -> None:
    symbol = Symbol("A", prices(300.0, None, 100.0, *FLAT), splits={DAYS[1]: 3.0})
    rows = story(symbol, lot("0.3333", DAYS[0], "300"))
    assert [pnl(rows, 1), pnl(rows, 2)] == [0, 0]
    assert rows.table.price[1, 0] == 100.0


def test_after_five_sessions_without_a_price_a_lot_is_unpriceable_and_stays_in_nav() -> None:
    rows = story(Symbol("A", prices(100.0)), lot(10, DAYS[0], "90"))
    assert rows.table.reason[1:, 0].tolist() == [Reason.STALE] * 5 + [Reason.UNPRICEABLE] * 4
    assert rows.snapshots.coverage[:, 0].tolist() == [1.0] * 6 + [0.0] * 4
    assert {from_units(nav) for nav in rows.snapshots.nav[:, 0]} == {Decimal(10_100)}


def test_never_priced_is_worth_its_cost_and_outside_coverage_at_once() -> None:
    rows = story(Symbol("A", {}), lot(10, DAYS[0], "90"))
    assert from_units(rows.snapshots.nav[-1, 0]) == 10_000
    assert from_units(rows.snapshots.long_value[-1, 0]) == 900
    assert rows.snapshots.coverage[0, 0] == 0.0
    assert set(rows.table.reason[:, 0].tolist()) == {Reason.UNPRICEABLE}


def test_delisted_only_from_its_announcement_on() -> None:
    gaps = {DAYS[1]: "no_trade", DAYS[2]: "no_trade"} | dict.fromkeys(DAYS[3:], "delisted")
    rows = story(Symbol("A", prices(100.0), gaps=gaps), lot(10, DAYS[0], "90"))
    assert rows.table.reason[1:, 0].tolist() == [Reason.STALE] * 2 + [Reason.DELISTED] * 7
    assert rows.table.price[-1, 0] == 100.0
    assert not rows.table.daily_pnl[1:].any()


def test_two_of_ten_holdings_without_a_price_lower_coverage_to_what_it_is() -> None:
    known = {f"S{n}": Symbol(f"S{n}", prices(*FLAT) if n else {}) for n in range(9)}
    lots = tuple(Lot(f"S{n}", Decimal(5), DAYS[0], Decimal(100), number=n + 1) for n in range(10))
    snapshots = run(World(DAYS, known, (Portfolio(Decimal(10_000), lots),))).snapshots
    assert snapshots.coverage[:, 0].tolist() == [0.8] * 10
    assert {from_units(nav) for nav in snapshots.nav[:, 0]} == {Decimal(10_000)}


def test_without_a_close_on_entry_a_lot_stays_on_adjusted_closes_for_life() -> None:
    """A close that comes later is of another level; dividends and splits are in the adjusted price already."""
    symbol = Symbol(
        "A", prices(None, 400.0, 102.0, *FLAT), prices(50.0, 51.0, 52.0, *FLAT), {DAYS[1]: 1.0}, {DAYS[2]: 4.0}
    )
    rows = story(symbol, lot(10, DAYS[0], "50"))
    assert [pnl(rows, t) for t in range(3)] == [0, 10, 10]
    assert set(rows.table.basis[:, 0].tolist()) == {Basis.ADJ_CLOSE}
    assert rows.snapshots.dividends[-1, 0] == 0
    assert rows.table.quantity[3, 0] == 10


def test_a_missing_close_is_chained_by_the_ratio_of_adjusted_closes() -> None:
    """Total return 5 %, of which a dividend of 2 is paid in cash: the price is 100 · 1.05 - 2."""
    symbol = Symbol("A", prices(100.0, None, 104.0, *FLAT), prices(50.0, 52.5, 53.0), {DAYS[1]: 2.0})
    rows = story(symbol, lot(10, DAYS[0], "100"))
    assert rows.table.price[1, 0] == 103.0
    assert rows.table.basis[:3, 0].tolist() == [Basis.CLOSE, Basis.CHAINED, Basis.CLOSE]
    assert [pnl(rows, 1), pnl(rows, 2)] == [50, 10]


def test_a_chained_price_is_on_the_shares_of_a_split() -> None:
    symbol = Symbol("A", prices(400.0, None, *FLAT), prices(10.0, 10.5), splits={DAYS[1]: 4.0})
    rows = story(symbol, lot(10, DAYS[0], "400"))
    assert rows.table.price[1, 0] == 105.0
    assert pnl(rows, 1) == 200


def test_private_stands_at_its_stated_value() -> None:
    rows = story(Symbol("A", prices(*FLAT)), replace(lot(3, DAYS[0], "250000"), symbol="HOME", private=True))
    assert from_units(rows.snapshots.long_value[-1, 0]) == 750_000
    assert rows.snapshots.coverage[-1, 0] == 1.0
    assert not rows.table.reason.any()


def test_option_counts_a_hundred_shares_and_is_unpriceable_without_a_price() -> None:
    contract = replace(lot(-2, DAYS[0], "3.5"), multiplier=100)
    priced = story(Symbol("A", prices(3.5, 3.0, *FLAT)), contract)
    assert pnl(priced, 1) == 100
    unpriced = story(Symbol("B", {}), contract)
    assert from_units(unpriced.snapshots.short_value[-1, 0]) == -700
    assert set(unpriced.table.reason[:, 0].tolist()) == {Reason.UNPRICEABLE}


def test_an_option_that_expired_without_an_exit_says_so_from_the_day_after() -> None:
    name = f"AAPL{DAYS[3]:%y%m%d}C00100000"
    contract = replace(lot(1, DAYS[0], "3.5"), symbol=name, multiplier=100)
    rows = story(Symbol(name, prices(3.5, 3.0)), contract)
    said = [
        {found["reason"] for found in lot_reasons(rows.inputs, rows.table, row, slice(0, 1))}
        for row in range(len(DAYS))
    ]
    assert said == [set(), set(), {"stale"}, {"stale"}, *[{"stale", "expired"}] * 3, *[{"unpriceable", "expired"}] * 3]


def test_a_file_without_actions_says_that_dividends_are_missing() -> None:
    rows = story(Symbol("A", prices(*FLAT), from_file=True), lot(10, DAYS[0], "100"))
    assert set(rows.table.reason[:, 0].tolist()) == {Reason.NO_DIVIDENDS}
    option = story(Symbol("A", prices(*FLAT), from_file=True), replace(lot(1, DAYS[0], "3.5"), multiplier=100))
    assert set(option.table.reason[:, 0].tolist()) == {Reason.NONE}, "a contract pays none"
    assert rows.snapshots.coverage[-1, 0] == 1.0
