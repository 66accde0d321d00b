"""What other tools were reported to get wrong and is right here by the definition: docs/public-reports.md names each report."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest

from services.snapshots.compute import from_units
from tests.support.worlds import Lot, Portfolio, Rows, Symbol, World, run, weekdays

DAYS = weekdays(date(2020, 3, 2), 8)


def quoted(*values: float) -> dict[date, float]:
    """The last one goes on."""
    return {day: values[min(place, len(values) - 1)] for place, day in enumerate(DAYS)}


def story(symbol: Symbol, *lots: Lot, equity: int = 10_000, flows: dict[date, Decimal] | None = None) -> Rows:
    numbered = tuple(replace(lot, number=place + 1) for place, lot in enumerate(lots))
    return run(World(DAYS, {symbol.name: symbol}, (Portfolio(Decimal(equity), numbered, flows or {}),)))


def nav(rows: Rows, row: int = -1) -> Decimal:
    return from_units(rows.snapshots.nav[row, 0])


@pytest.mark.parametrize(("before", "after", "paid"), [(25.0, 4.5, 20.0), (10.0, 0.6, 12.0)], ids=["of it", "over it"])
def test_a_dividend_of_nearly_or_more_than_the_price_is_income_and_no_loss(
    before: float, after: float, paid: float
) -> None:
    symbol = Symbol("A", quoted(before, before, after), dividends={DAYS[2]: paid})
    rows = story(symbol, Lot("A", Decimal(100), DAYS[0], Decimal(repr(before))))
    assert nav(rows) == 10_000 + round(100 * (after + paid - before), 4)
    assert from_units(rows.snapshots.dividends[-1, 0]) == 100 * Decimal(repr(paid))


def test_a_short_over_a_reverse_split_of_a_hundred_is_a_hundredth() -> None:
    symbol = Symbol("A", quoted(12.5, 12.5, 1250.0), splits={DAYS[2]: 0.01})
    rows = story(symbol, Lot("A", Decimal(-9), DAYS[0], Decimal("12.5")), equity=1000)
    assert rows.table.quantity[2, 0] == pytest.approx(-0.09, abs=1e-15)
    assert {nav(rows, row) for row in range(len(DAYS))} == {Decimal(1000)}


def test_a_deposit_ten_thousand_times_the_value_is_no_return() -> None:
    """All of it is invested at once, and earns one percent the next day."""
    symbol = Symbol("A", quoted(100.0, 100.0, 101.0))
    lots = Lot("A", Decimal(1), DAYS[0], Decimal(100)), Lot("A", Decimal(10_000), DAYS[1], Decimal(100))
    rows = story(symbol, *lots, equity=100, flows={DAYS[1]: Decimal(1_000_000)})
    assert rows.snapshots.daily_return[:3, 0].tolist() == [0.0, 0.0, pytest.approx(0.01)]
    assert rows.snapshots.cumulative_return[-1, 0] == pytest.approx(0.01)


def test_bought_and_sold_in_a_day_with_a_deposit_on_it() -> None:
    lot = Lot("A", Decimal(10), DAYS[1], Decimal(100), DAYS[1], Decimal(103))
    rows = story(
        Symbol("A", quoted(100.0)), Lot("A", Decimal(1), DAYS[0], Decimal(100)), lot, flows={DAYS[1]: Decimal(500)}
    )
    assert nav(rows, 1) == 10_530
    assert rows.snapshots.daily_return[1, 0] == pytest.approx(30 / 10_500)


def test_closed_and_opened_again_is_two_lots_and_two_equal_fills_are_both_held() -> None:
    symbol = Symbol("A", quoted(100.0, 110.0, 120.0, 130.0))
    closed = Lot("A", Decimal(10), DAYS[0], Decimal(100), DAYS[1], Decimal(110))
    again = Lot("A", Decimal(10), DAYS[2], Decimal(120))
    rows = story(symbol, closed, again, again)
    assert [nav(rows, row) for row in (0, 1, 2, 3)] == [10_000, 10_100, 10_100, 10_300]
    assert rows.snapshots.positions[:4, 0].tolist() == [1, 0, 2, 2]


@pytest.mark.parametrize(
    ("quantity", "entry", "close", "value"),
    [
        ("0.12345678", "13999.373482", 16715.84, "2063.6838"),
        ("5000000", "0.0001", 0.00012, "600"),
        ("123456789", "0.00001234", 0.00001111, "1371.6049"),
        ("0.001", "600000", 601_234.5, "601.2345"),
    ],
    ids=["eight decimals", "below a cent", "below a thousandth of one", "a share of 600,000"],
)
def test_small_quantities_and_prices_of_any_size_keep_their_digits(
    quantity: str, entry: str, close: float, value: str
) -> None:
    rows = story(Symbol("A", quoted(close)), Lot("A", Decimal(quantity), DAYS[0], Decimal(entry)))
    assert from_units(rows.table.market_value[0, 0]) == Decimal(value)


def test_a_book_of_one_session_has_a_value_and_a_return_of_that_session() -> None:
    rows = story(Symbol("A", quoted(10.5)), Lot("A", Decimal(100), DAYS[-1], Decimal("10.50")), equity=2000)
    assert nav(rows) == 2000
    assert rows.snapshots.daily_return[-1, 0] == 0.0


def test_a_merger_is_an_exit_and_an_entry_without_a_gain() -> None:
    old = Lot("A", Decimal(100), DAYS[0], Decimal(30), DAYS[3], Decimal(30))
    new = Lot("B", Decimal("66.6666666667"), DAYS[3], Decimal(45))
    symbols = {"A": Symbol("A", dict.fromkeys(DAYS[:3], 30.0)), "B": Symbol("B", quoted(45.0))}
    lots = tuple(replace(lot, number=place + 1) for place, lot in enumerate((old, new)))
    rows = run(World(DAYS, symbols, (Portfolio(Decimal(10_000), lots),)))
    assert {nav(rows, row) for row in range(len(DAYS))} == {Decimal(10_000)}
