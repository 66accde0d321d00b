"""The return chains against plain loops over the definition."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import date
from decimal import Decimal

import numpy as np
from hypothesis import given, settings

from tests.support.worlds import Lot, Portfolio, Symbol, World, run, weekdays
from tests.unit.snapshots.strategies import worlds


def product(returns: list[float]) -> float:
    index = 1.0
    for r in returns:
        index *= 1.0 + r
    return index - 1.0


def close(found: float, expected: float) -> bool:
    return (math.isnan(found) and math.isnan(expected)) or math.isclose(found, expected, rel_tol=1e-9, abs_tol=1e-11)


@settings(max_examples=50, deadline=None)
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
    """Margin eats the equity; the total is null for good, the month only until the next begins with capital."""
    world = one_lot([100.0, 40.0, 50.0, 50.0, 50.0, 50.0, 55.0], equity=500, flows={date(2020, 2, 1): Decimal(10_000)})
    s = run(world).snapshots
    assert s.nav[1, 0] == -100 * 10_000
    assert s.daily_return[1, 0] == -600 / 500
    assert np.isnan(s.daily_return[2, 0])
    assert np.isnan(s.cumulative_return[2:, 0]).all()
    assert np.isnan(s.drawdown[2:, 0]).all()
    assert np.isnan(s.mtd_return[2:5, 0]).all()
    assert s.mtd_return[5:, 0].tolist() == [0.0, (1.0 + 0.0) * (1.0 + 50 / 10_000) - 1.0]
    assert np.isnan(s.ytd_return[2:, 0]).all()
    assert s.daily_pnl[:, 0].tolist() == [0, -6_000_000, 1_000_000, 0, 0, 0, 500_000]
