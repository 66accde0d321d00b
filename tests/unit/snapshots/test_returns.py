"""The return chains against plain loops over the definition."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import date
from decimal import Decimal

import numpy as np
import pytest
import pyxirr
from hypothesis import given, settings

from tests.support.examples import examples
from tests.support.worlds import Lot, Portfolio, Symbol, World, run, weekdays
from tests.unit.snapshots.strategies import worlds


def product(returns: list[float]) -> float:
    index = 1.0
    for r in returns:
        index *= 1.0 + r
    return index - 1.0


def close(found: float, expected: float) -> bool:
    return (math.isnan(found) and math.isnan(expected)) or math.isclose(found, expected, rel_tol=1e-9, abs_tol=1e-11)


@settings(max_examples=examples(50), deadline=None)
@given(worlds(portfolios=2, max_lots=3))
def test_month_year_total_and_drawdown_equal_loops(world: World) -> None:
    snapshots = run(world).snapshots
    for column in range(2):
        daily = snapshots.daily_return[:, column].tolist()
        if any(not math.isnan(r) and abs(r) > 1e3 for r in daily):
            continue  # a tiny equity under a large lot: the digits of a product of such factors say nothing
        for row, session in enumerate(world.sessions):
            earlier = list(zip(world.sessions[: row + 1], daily[: row + 1], strict=True))
            month = [r for day, r in earlier if (day.year, day.month) == (session.year, session.month)]
            year = [r for day, r in earlier if day.year == session.year]
            assert close(snapshots.mtd_return[row, column], product(month))
            assert close(snapshots.ytd_return[row, column], product(year))
            assert close(snapshots.cumulative_return[row, column], product(daily[: row + 1]))
            indices = [1.0 + product(daily[: k + 1]) for k in range(row + 1)]
            peak = math.nan if any(map(math.isnan, indices)) else max(1.0, *indices)
            assert close(snapshots.peak_index[row, column], peak)
            assert close(snapshots.drawdown[row, column], indices[-1] / peak - 1.0)


def one_lot(
    prices: list[float], *, equity: int = 1000, quantity: int = 10, flows: dict[date, Decimal] | None = None
) -> World:
    sessions = weekdays(date(2020, 1, 27), len(prices))
    symbol = Symbol("AAA", dict(zip(sessions, prices, strict=True)))
    lot = Lot("AAA", Decimal(quantity), sessions[0], Decimal(repr(prices[0])))
    return World(sessions, {"AAA": symbol}, (Portfolio(Decimal(equity), (lot,), flows or {}),))


def test_a_flow_counts_at_the_open_when_it_comes_in_and_at_the_close_when_it_goes_out() -> None:
    world = one_lot([10.0, 11.0, 12.0])
    paid_in = replace(world.portfolios[0], flows={world.sessions[1]: Decimal(500)})
    paid_out = replace(world.portfolios[0], flows={world.sessions[1]: Decimal(-500)})
    assert run(replace(world, portfolios=(paid_in,))).snapshots.daily_return[1, 0] == 10 / 1500
    assert run(replace(world, portfolios=(paid_out,))).snapshots.daily_return[1, 0] == 10 / 1000
    assert run(replace(world, portfolios=(paid_out,))).snapshots.daily_return[2, 0] == 10 / 510


def test_a_flow_on_a_weekend_counts_on_the_next_session() -> None:
    world = one_lot([10.0] * 7, flows={date(2020, 2, 1): Decimal(7), date(2020, 2, 2): Decimal(8)})
    snapshots = run(world).snapshots
    assert world.sessions[5] == date(2020, 2, 3)
    assert snapshots.flow[:, 0].tolist() == [0, 0, 0, 0, 0, 150_000, 0]
    assert snapshots.cumulative_flow[-1, 0] == 150_000
    assert snapshots.cumulative_pnl[-1, 0] == 0


def test_without_capital_returns_are_null_and_money_goes_on() -> None:
    """Margin eats the equity and more; the total is null from there on, the month only until the next begins with capital."""
    world = one_lot([100.0, 40.0, 50.0, 50.0, 50.0, 50.0, 55.0], equity=500, flows={date(2020, 2, 1): Decimal(10_000)})
    s = run(world).snapshots
    assert s.nav[1, 0] == -100 * 10_000
    assert np.isnan(s.daily_return[1:3, 0]).all()
    assert np.isnan(s.cumulative_return[1:, 0]).all()
    assert np.isnan(s.drawdown[1:, 0]).all()
    assert np.isnan(s.mtd_return[1:5, 0]).all()
    assert s.mtd_return[5:, 0].tolist() == [0.0, (1.0 + 0.0) * (1.0 + 50 / 10_000) - 1.0]
    assert np.isnan(s.ytd_return[1:, 0]).all()
    assert s.daily_pnl[:, 0].tolist() == [0, -6_000_000, 1_000_000, 0, 0, 0, 500_000]


def test_after_a_loss_of_more_than_all_no_gain_lowers_the_return() -> None:
    """Ten at 120 on 150 close at 100: NAV -50. Money comes in the next day, and the price goes on: no sign is turned, all is null."""
    sessions = weekdays(date(2020, 1, 27), 7)
    symbol = Symbol("AAA", dict(zip(sessions, [100.0, 98.0, 99.0, 103.0, 101.0, 104.0, 105.0], strict=True)))
    lot = Lot("AAA", Decimal(10), sessions[0], Decimal(120))
    s = run(
        World(sessions, {"AAA": symbol}, (Portfolio(Decimal(150), (lot,), {sessions[1]: Decimal(10_000)}),))
    ).snapshots
    assert s.nav[0, 0] == -50 * 10_000
    for figure in (s.daily_return[:1], s.cumulative_return, s.drawdown, s.ytd_return, s.mtd_return[:5]):
        assert np.isnan(figure[:, 0]).all()
    assert s.daily_return[1, 0] == -20 / 9_950
    assert s.mtd_return[5, 0] == (1.0 + 30 / 9_960) - 1.0, "February begins anew"


def test_a_loss_of_exactly_all_is_the_end_too() -> None:
    s = run(one_lot([100.0, 50.0, 60.0], equity=500)).snapshots
    assert s.nav[:, 0].tolist() == [5_000_000, 0, 1_000_000]
    assert np.isnan(s.cumulative_return[1:, 0]).all()


def test_an_emptied_account_goes_on_when_money_comes_back() -> None:
    """Sold, paid out, three sessions of nothing, half as much paid in, 10 % gained: the money that was there earned 10 %."""
    sessions = weekdays(date(2020, 3, 2), 8)
    symbol = Symbol("AAA", dict(zip(sessions, [100.0] * 6 + [105.0, 110.0], strict=True)))
    lots = (
        Lot("AAA", Decimal(100), sessions[0], Decimal(100), sessions[1], Decimal(100), number=1),
        Lot("AAA", Decimal(50), sessions[5], Decimal(100), number=2),
    )
    flows = {sessions[2]: Decimal(-10_000), sessions[5]: Decimal(5_000)}
    s = run(World(sessions, {"AAA": symbol}, (Portfolio(Decimal(10_000), lots, flows),))).snapshots
    assert s.nav[2:5, 0].tolist() == [0, 0, 0]
    assert s.daily_return[2:6, 0].tolist() == [0.0, 0.0, 0.0, 0.0]
    assert math.isclose(s.cumulative_return[-1, 0], 0.1, rel_tol=1e-12)
    assert s.drawdown[:, 0].tolist() == [0.0] * 8


@pytest.mark.parametrize("left", ["-0.0033", "0.0049"])
def test_what_a_cent_is_rounded_by_ends_no_product(left: str) -> None:
    """All is paid out, to the cent: NAV is a fraction of one below or above nothing until money comes back, and nobody lost it."""
    sessions = weekdays(date(2020, 3, 2), 8)
    symbol = Symbol("AAA", dict(zip(sessions, [100.0] * 6 + [105.0, 110.0], strict=True)))
    lots = (
        Lot("AAA", Decimal(100), sessions[0], Decimal(100), sessions[1], Decimal(100), number=1),
        Lot("AAA", Decimal(50), sessions[5], Decimal(100), number=2),
    )
    flows = {sessions[2]: Decimal(-10_000) + Decimal(left), sessions[5]: Decimal(5_000)}
    s = run(World(sessions, {"AAA": symbol}, (Portfolio(Decimal(10_000), lots, flows),))).snapshots
    assert s.nav[3, 0] == int(Decimal(left) * 10_000)
    assert s.daily_return[2:6, 0].tolist() == [0.0] * 4
    assert math.isclose(s.cumulative_return[-1, 0], 0.1, rel_tol=1e-5)
    # What is earned on less than a cent is no return on capital.
    early = (*lots[:1], Lot("AAA", Decimal(50), sessions[3], Decimal(99), number=2))
    s = run(World(sessions, {"AAA": symbol}, (Portfolio(Decimal(10_000), early, flows),))).snapshots
    assert np.isnan(s.daily_return[3, 0])


@pytest.mark.parametrize("cut", [None, 9, 12, 268])
def test_the_money_weighted_return_is_known_once_money_was_at_work_for_a_year(cut: int | None) -> None:
    """Held for ten sessions, emptied for 250, held for 300 more: computed at once, or going on from what is stored."""
    sessions = weekdays(date(2018, 1, 1), 560)
    price = [100.0] * 260 + [100.0 + 0.1 * k for k in range(300)]
    lots = (
        Lot("AAA", Decimal(100), sessions[0], Decimal(100), sessions[9], Decimal(100), number=1),
        Lot("AAA", Decimal(50), sessions[260], Decimal(100), number=2),
    )
    flows = {sessions[9]: Decimal(-10_000), sessions[260]: Decimal(5_000)}
    world = World(
        sessions,
        {"AAA": Symbol("AAA", dict(zip(sessions, price, strict=True)))},
        (Portfolio(Decimal(10_000), lots, flows),),
    )
    s = run(world).snapshots if cut is None else run(world, cut + 1, after=run(world, last=cut)).snapshots
    gone = (sessions[260] - sessions[9]).days
    worked = (sessions[-1] - sessions[0]).days - gone
    assert s.days_at_work[-1, 0] == worked
    theirs = pyxirr.xirr(
        [sessions[0], sessions[9], sessions[260], sessions[-1]],
        [-10_000.0, 10_000.0, -5_000.0, float(s.nav[-1, 0]) / 10_000],
    )
    assert s.xirr[-1, 0] == pytest.approx(theirs, abs=1e-8)
    young = np.flatnonzero(np.isfinite(s.xirr[:, 0]))[0]
    assert s.days_at_work[young, 0] >= 365 > s.days_at_work[young - 1, 0]
