"""Lots that have a price and deserve a look all the same, and amounts that no ledger holds."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal

import numpy as np
import pytest

from services.snapshots.compute import Doubts, LotTable, Reason, from_units, lot_reasons, roll_forward
from services.snapshots.compute.model import Inputs
from tests.support.worlds import Lot, Portfolio, Rows, Symbol, World, day_number, run, weekdays

DAYS = weekdays(date(2020, 3, 2), 10)


def story(symbol: Symbol, *lots: Lot, equity: int = 10_000) -> Rows:
    numbered = tuple(replace(lot, number=place + 1) for place, lot in enumerate(lots))
    return run(World(DAYS, {symbol.name: symbol}, (Portfolio(Decimal(equity), numbered),)))


def flat(price: float, *, without: tuple[int, ...] = ()) -> dict[date, float]:
    return {day: price for place, day in enumerate(DAYS) if place not in without}


def lot(symbol: str = "A", **change: object) -> Lot:
    return replace(Lot(symbol, Decimal(10), DAYS[0], Decimal(100)), **change)  # type: ignore[arg-type]  # by name


def found(
    inputs: Inputs, table: LotTable, row: int
) -> tuple[list[tuple[str | None, str]], list[tuple[str | None, str]]]:
    """(what makes the unit partial, remarks), each (symbol, reason)."""
    doubts, lots = Doubts(inputs, table), slice(0, len(inputs.lots))
    return (
        [(of["symbol"], of["reason"]) for of in doubts.shortfalls(row, lots)],
        [(of["symbol"], of["reason"]) for of in doubts.remarks(row, lots)],
    )


def with_doubt(rows: Rows, *doubts: str) -> Inputs:
    return replace(rows.inputs, lots=replace(rows.inputs.lots, doubt=doubts))


def test_a_price_far_from_its_day_makes_the_unit_partial_while_the_lot_is_held() -> None:
    rows = story(Symbol("A", flat(38.0)), lot(exit_date=DAYS[4], exit_price=Decimal(40)), lot())
    inputs = with_doubt(rows, "price_basis_mismatch", "")
    assert [found(inputs, rows.table, row)[0] for row in (0, 3, 4)] == [
        [("A", "price_basis_mismatch")],
        [("A", "price_basis_mismatch")],
        [],
    ]


@pytest.mark.parametrize(
    ("price", "far"), [("18.9", True), ("19", False), ("76", False), ("76.1", True), ("380", True), ("0", False)]
)
def test_an_exit_far_from_the_close_makes_its_session_partial(price: str, far: bool) -> None:
    rows = story(Symbol("A", flat(38.0)), lot(exit_date=DAYS[4], exit_price=Decimal(price)), lot())
    short = [found(rows.inputs, rows.table, row)[0] for row in (3, 4, 5)]
    assert short == [[], [("A", "exit_price_mismatch")] if far else [], []]


def test_an_exit_without_a_close_of_its_session_is_not_compared() -> None:
    rows = story(Symbol("A", flat(38.0, without=(4,))), lot(exit_date=DAYS[4], exit_price=Decimal(380)), lot())
    assert found(rows.inputs, rows.table, 4)[0] == []
    closed = replace(rows.inputs, lots=replace(rows.inputs.lots, exit_day=rows.inputs.lots.exit_day - 1))
    assert found(closed, rows.table, 4)[0] == [], "its day is no session"


def test_a_basis_that_is_ambiguous_is_a_remark() -> None:
    rows = story(Symbol("A", flat(100.0)), lot())
    assert found(with_doubt(rows, "price_basis_ambiguous"), rows.table, 2) == ([], [("A", "price_basis_ambiguous")])


def test_the_first_price_after_a_long_absence_is_remarked_from_its_session_on() -> None:
    rows = story(Symbol("A", flat(100.0, without=tuple(range(1, 8)))), lot())
    market = replace(rows.inputs.market, absences=(((day_number(DAYS[1]), day_number(DAYS[7])),), ()))
    inputs = replace(rows.inputs, market=market)
    assert [found(inputs, rows.table, row)[1] for row in (0, 7, 8, 9)] == [[], [], *[[("A", "priced_after_gap")]] * 2]
    later = replace(inputs, lots=replace(inputs.lots, entry_session=np.array([day_number(DAYS[8])])))
    assert found(later, rows.table, 9)[1] == [], "bought afterwards"


def test_an_option_that_was_held_over_a_split_of_its_underlying_is_another_contract() -> None:
    option = lot("XYZ201218C00400000", multiplier=100, entry_price=Decimal(30))
    rows = story(Symbol("XYZ201218C00400000", flat(30.0, without=(5, 6, 7, 8, 9))), option, equity=100_000)
    market = replace(rows.inputs.market, underlying_splits={"XYZ": (day_number(DAYS[0]), day_number(DAYS[5]))})
    inputs = replace(rows.inputs, market=market)
    assert [found(inputs, rows.table, row)[0] for row in (4, 5)] == [[], [("XYZ201218C00400000", "option_over_split")]]


@pytest.mark.parametrize("adjusted", [False, True])
def test_a_price_at_which_nobody_could_hold_the_lot_is_left_aside_and_named(adjusted: bool) -> None:
    """A thousand million shares at 0.01, and then at 600,000: the last value stays, the other lot and the portfolio go on."""
    prices = flat(0.01) | dict.fromkeys(DAYS[3:], 600_000.0)
    symbol = Symbol("A", adj_close=prices) if adjusted else Symbol("A", prices)
    rows = story(
        symbol, lot(quantity=Decimal(10**9), entry_price=Decimal("0.01")), lot(quantity=Decimal(1)), equity=10**8
    )
    assert [from_units(rows.table.market_value[row, 0]) for row in (2, 3, 9)] == [10**7] * 3
    assert rows.table.reason[2:, 0].tolist() == [Reason.NONE, *[Reason.AMOUNT_TOO_LARGE] * 7]
    assert from_units(rows.table.market_value[9, 1]) == 600_000
    reasons = lot_reasons(rows.inputs, rows.table, 9, slice(0, 2))
    assert [(of["symbol"], of["reason"]) for of in reasons] == [("A", "amount_too_large")]
    assert rows.snapshots.coverage[9, 0] == pytest.approx(600_000 / (600_000 + 10**7))


def test_what_cost_nothing_is_gain_on_its_first_day_and_what_brings_nothing_is_lost_on_its_last() -> None:
    symbol = Symbol("A", flat(100.0))
    granted = story(symbol, lot(entry_price=Decimal(0)))
    assert [from_units(granted.table.daily_pnl[row, 0]) for row in (0, 1)] == [1000, 0]
    cancelled = story(symbol, lot(exit_date=DAYS[3], exit_price=Decimal(0)))
    assert [from_units(cancelled.table.daily_pnl[row, 0]) for row in (2, 3, 4)] == [0, -1000, 0]
    assert from_units(cancelled.snapshots.nav[-1, 0]) == 9000
    unpriced = story(Symbol("A"), lot(entry_price=Decimal(0)))
    assert [from_units(value) for value in unpriced.snapshots.nav[:, 0]] == [10_000] * 10


def test_a_third_is_a_third_whatever_digits_a_source_cuts_off() -> None:
    """Three for one and, later, one for three: 119 shares are 119 again."""
    splits = {DAYS[2]: 3.0, DAYS[5]: 0.3333333333333333}
    rows = story(Symbol("A", flat(10.0), splits=splits), lot(quantity=Decimal(119), entry_price=Decimal(10)))
    assert rows.table.quantity[[0, 3, 6], 0].tolist() == [119.0, 357.0, 119.0]
    odd = {DAYS[2]: 1.281234}
    rows = story(Symbol("A", flat(10.0), splits=odd), lot(quantity=Decimal(10**6), entry_price=Decimal(10)))
    assert rows.table.quantity[3, 0] == 1_281_234.0, "a ratio of no whole shares is what is written"


def test_going_on_from_a_refused_price_is_going_on_from_the_row() -> None:
    prices = flat(0.01) | dict.fromkeys(DAYS[3:6], 600_000.0)
    world = World(
        DAYS,
        {"A": Symbol("A", prices)},
        (Portfolio(Decimal(10**8), (lot(quantity=Decimal(10**9), entry_price=Decimal("0.01"), number=1),)),),
    )
    whole = run(world)
    part = run(world, 4, 9, after=run(world, 0, 3))
    assert part.table.market_value.tolist() == whole.table.market_value[4:].tolist()
    assert part.table.reason.tolist() == whole.table.reason[4:].tolist()
    assert roll_forward(whole.inputs)[1].nav.tolist() == whole.snapshots.nav.tolist()
