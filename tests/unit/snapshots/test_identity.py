"""Every lot and every portfolio against the slow version, to the last ten-thousandth."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import numpy as np
from hypothesis import given, settings

from services.snapshots.compute import Basis, Reason, from_units
from tests.support.examples import examples
from tests.support.worlds import World, day_number, run
from tests.unit.snapshots.oracle import lot_history, portfolio_history
from tests.unit.snapshots.strategies import worlds

EXAMPLES = settings(max_examples=examples(40), deadline=None)


@EXAMPLES
@given(worlds())
def test_lots_equal_the_slow_version(world: World) -> None:
    rows = run(world)
    table, lots = rows.table, rows.inputs.lots
    by_number = {lot.number: lot for lot in world.portfolios[0].lots}
    assert {position.int for position in lots.position_id} <= set(by_number)
    for place, position in enumerate(lots.position_id):
        history = lot_history(world, by_number[position.int])
        for row, session in enumerate(world.sessions):
            held = history.get(session)
            where = (by_number[position.int], session)
            if held is None:
                assert (
                    table.market_value[row, place] == table.cumulative_pnl[row, place] == table.cash[row, place] == 0
                ), where
                continue
            assert from_units(table.market_value[row, place]) == held.value, where
            assert from_units(table.daily_pnl[row, place]) == held.pnl, where
            assert from_units(table.cumulative_pnl[row, place]) == held.cumulative, where
            assert from_units(table.realized_pnl[row, place]) == held.realized, where
            assert from_units(table.dividends[row, place]) == held.dividends, where
            assert from_units(table.cash[row, place]) == held.cash, where
            assert table.quantity[row, place] == float(held.quantity), where
            assert table.price[row, place] == held.price, where
            assert table.price_day[row, place] == day_number(held.price_session), where
            assert Basis(table.basis[row, place]).name.lower() == held.basis, where
            assert table.stale[row, place] == held.stale, where
            assert Reason(table.reason[row, place]).name.lower() == (held.reason or "none"), where


@EXAMPLES
@given(worlds(portfolios=3, max_lots=3))
def test_portfolios_equal_the_slow_version(world: World) -> None:
    snapshots = run(world).snapshots
    for column, portfolio in enumerate(world.portfolios):
        history = portfolio_history(world, portfolio)
        for row, session in enumerate(world.sessions):
            day = history[session]
            held = day.lots.values()
            gross = sum((abs(lot.value) for lot in held), Decimal(0))
            good = sum((abs(lot.value) for lot in held if lot.reason in {"", "stale", "no_dividends"}), Decimal(0))
            expected = {
                "nav": day.nav,
                "cash": day.cash,
                "daily_pnl": day.pnl,
                "flow": day.flow,
                "cumulative_flow": day.cumulative_flow,
                "long_value": sum((lot.value for lot in held if lot.quantity > 0), Decimal(0)),
                "short_value": sum((lot.value for lot in held if lot.quantity < 0), Decimal(0)),
                "cumulative_pnl": day.nav - portfolio.equity - day.cumulative_flow,
                "realized_pnl": sum((lot.realized for lot in held), Decimal(0)),
                "dividends": sum((lot.dividends for lot in held), Decimal(0)),
            }
            for figure, value in expected.items():
                assert from_units(getattr(snapshots, figure)[row, column]) == value, (figure, session)
            assert snapshots.long_positions[row, column] == sum(lot.quantity > 0 for lot in held)
            assert snapshots.short_positions[row, column] == sum(lot.quantity < 0 for lot in held)
            assert snapshots.positions[row, column] == sum(lot.quantity != 0 for lot in held)
            assert snapshots.coverage[row, column] == (float(good * 10_000) / float(gross * 10_000) if gross else 1.0)
            if day.daily_return is None:
                assert np.isnan(snapshots.daily_return[row, column])
            else:
                np.testing.assert_allclose(snapshots.daily_return[row, column], day.daily_return, rtol=1e-12)


@EXAMPLES
@given(worlds(portfolios=2))
def test_the_nav_identity_holds_in_integers(world: World) -> None:
    rows = run(world)
    s = rows.snapshots
    before = np.vstack([rows.inputs.portfolios.equity, s.nav[:-1]])
    assert np.array_equal(s.nav, before + s.daily_pnl + s.flow)
    assert np.array_equal(s.nav, s.cash + s.long_value + s.short_value)
    assert (s.short_value <= 0).all()
    assert (s.long_value >= 0).all()
    values = [rows.table.market_value[:, rows.inputs.lots.portfolio == p].sum(axis=1) for p in range(2)]
    assert np.array_equal(s.nav - s.cash, np.stack(values, axis=1))


@EXAMPLES
@given(worlds(portfolios=2))
def test_cumulative_pnl_is_realised_and_unrealised_and_dividends(world: World) -> None:
    rows = run(world)
    s = rows.snapshots
    assert np.array_equal(s.cumulative_pnl, s.realized_pnl + s.unrealized_pnl + s.dividends)
    assert np.array_equal(s.cumulative_pnl, np.cumsum(s.daily_pnl, axis=0))
    assert np.array_equal(s.cumulative_pnl, s.nav - rows.inputs.portfolios.equity - s.cumulative_flow)


def test_random_worlds_hold_what_they_are_meant_to() -> None:
    """The year's end is inside, and entries may fall on a weekend."""
    world_sessions = run(_plain()).inputs.market.days[1:].astype("datetime64[D]").tolist()
    assert world_sessions[0] < date(2020, 1, 1) <= world_sessions[-1]


def _plain() -> World:
    from tests.support.worlds import Lot, Portfolio, weekdays
    from tests.unit.snapshots.strategies import FIRST, SESSIONS

    lot = Lot("PRIV", Decimal(1), FIRST, Decimal(1), private=True)
    return World(weekdays(FIRST, SESSIONS), {}, (Portfolio(Decimal(10), (lot,)),))
