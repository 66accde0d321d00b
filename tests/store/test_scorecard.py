"""The scorecard's inputs in the database: the same in any order and any cut, and read as of a session."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from decimal import Decimal
from uuid import UUID, uuid4

import numpy as np
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection
from vollib.black_scholes import black_scholes  # type: ignore[import-untyped]

from services.coordinator.compute.scorecard import Scorecard
from services.coordinator.results import scorecard
from shared.market import layouts
from shared.market.calendar import calendar
from shared.market.registry import OPTION_DAYS_A_YEAR, OPTION_RATE
from shared.market.symbols import occ_symbol
from shared.work import UnitKey
from tests.store.test_risk import HELD, LAST, World, compute, save, stored, world

__all__ = ["world"]
PORTFOLIO = UUID(int=9)
DAYS = calendar().between(date(2020, 6, 1), date(2020, 12, 30))


async def test_the_return_of_the_weights_is_that_of_a_plain_sum(world: World) -> None:
    results = await compute(world, [world.portfolio])
    await save(world, results, dict.fromkeys(results.outcomes, 5))
    rows = await stored(world)
    assert rows[UnitKey(world.portfolio, HELD[0])].realized_return is None
    weight = {"AAA": 0.4, "BBB": 0.2, "CCC": 0.1}
    for k in (1, 2):
        expected = sum(w * world.returns[symbol][k - 3] for symbol, w in weight.items())
        row = rows[UnitKey(world.portfolio, HELD[k])]
        assert row.realized_return == pytest.approx(expected, rel=1e-12)
        found = dict(zip(layouts.FORECASTS, row.forecasts, strict=True))
        # Too young for a HAR: what is not there is not scored either. What was answered is.
        assert np.isnan([found["har"], found["har_variance"]]).all()
        assert found["answered"] == row.risk["volatility"]["forecast_21"]["value"]


@pytest.mark.parametrize("cut", [[(2,), (1,), (0,)], [(0,), (1, 2)], [(1, 2), (0,)], [(0, 1), (2,)]])
async def test_any_order_and_any_cut_store_the_same(world: World, cut: Sequence[Sequence[int]]) -> None:
    whole = await compute(world, [world.portfolio])
    for part in cut:
        found = await compute(world, [world.portfolio], [HELD[k] for k in part])
        assert all(whole.rows[key] == row for key, row in found.rows.items())


async def test_an_option_is_priced_from_the_closes_that_are_stored(world: World) -> None:
    """A contract in the money on AAA: its delta, its exposure, and its part in what came of the weights."""
    db, expiry = world.db, LAST + timedelta(days=120)
    closes = await db.execute(
        text("""SELECT p.session, p.close FROM ingest.prices p JOIN ingest.symbols s ON s.id = p.symbol_id
                WHERE s.symbol = 'AAA' AND p.session >= :first"""),
        {"first": HELD[0]},
    )
    spot = {row.session: row.close for row in closes}
    strike = Decimal(round(spot[LAST] * 0.9))
    symbol = occ_symbol("AAA", expiry, "CALL", strike)
    lot = uuid4()
    price = {session: max(close - float(strike), 0.0) + 0.06 * close for session, close in spot.items()}
    symbol_id = await db.scalar(
        text("INSERT INTO ingest.symbols (symbol) VALUES (:symbol) RETURNING id"),
        {"symbol": symbol},
    )
    for session, close in price.items():
        await db.execute(
            text("""INSERT INTO ingest.prices (symbol_id, session, close, basis, provider, fetched_at, change)
                    VALUES (:id, :session, :close, 'file', 'file', now(), 1)"""),
            {"id": symbol_id, "session": session, "close": close},
        )
    await db.execute(
        text("""INSERT INTO coordinator.positions (id, portfolio_id, symbol, quantity, entry_date, entry_session, entry_price,
                    investment_class, underlying_symbol, stated_quantity, stated_entry_price)
                VALUES (:lot, :id, :symbol, 1, :first, :first, 1, 'OPTIONS', 'AAA', 1, 1)"""),
        {"lot": lot, "id": world.portfolio, "symbol": symbol, "first": HELD[0]},
    )
    await db.execute(
        text("""UPDATE snapshots.holdings SET position_ids = position_ids || CAST(:lot AS uuid), symbols = symbols || CAST(:symbol AS text),
                    quantity = quantity || 1::float8, market_value = market_value || 2000000::bigint, reason = reason || ''::text
                WHERE portfolio_id = :id"""),
        {"id": world.portfolio, "symbol": symbol, "lot": lot},
    )
    results = await compute(world, [world.portfolio])
    await save(world, results, dict.fromkeys(results.outcomes, 5))
    rows = await stored(world)
    row = rows[UnitKey(world.portfolio, LAST)]
    at = row.symbols.index(symbol)
    volatility, delta = row.greeks[5 * at : 5 * at + 2]
    assert 0.05 < volatility < 1.0
    assert 0.5 < delta < 1.0
    assert row.exposure_values[at] == pytest.approx(200.0 * delta * spot[LAST] / price[LAST], rel=1e-12)
    assert row.beta_reasons[at] is None
    assert np.isnan(row.greeks[: 5 * at]).all()
    own = rows[UnitKey(world.portfolio, HELD[1])]
    weight = {"AAA": 0.4, "BBB": 0.2, "CCC": 0.1}
    expected = sum(w * world.returns[name][-1] for name, w in weight.items())
    # In full, at the volatility of the close before. 1e-9: the formula is vollib's, the normal's tail another one's.
    years = (expiry - HELD[1]).days / OPTION_DAYS_A_YEAR
    moved = spot[HELD[1]] * (1.0 + world.returns["AAA"][-1])
    worth = black_scholes("c", moved, float(strike), years, OPTION_RATE, own.greeks[5 * at])
    expected += 0.2 * (worth / price[HELD[1]] - 1.0)
    assert row.realized_return == pytest.approx(expected, rel=1e-9)
    alone = await compute(world, [world.portfolio], [LAST])
    assert alone.rows[UnitKey(world.portfolio, LAST)] == results.rows[UnitKey(world.portfolio, LAST)]


async def keep(db: AsyncConnection, session: date, variance: float, came: float | None) -> None:
    forecasts = [variance**0.5, variance, variance * 1.1, 0.015, 0.02]
    await db.execute(
        text("""INSERT INTO risk.results (portfolio_id, session, revision, model_version, quality, coverage, risk, forecasts,
                    realized_return)
                VALUES (:id, :session, 1, '1', 'complete', 1, '{}', CAST(:forecasts AS float8[]), :came)
                ON CONFLICT (portfolio_id, session) DO UPDATE SET forecasts = excluded.forecasts,
                    realized_return = excluded.realized_return, revision = 2"""),
        {"id": PORTFOLIO, "session": session, "forecasts": forecasts, "came": came},
    )
    await db.execute(
        text("""INSERT INTO ledger.units (portfolio_id, session, phase, required_revision, completed_revision)
                VALUES (:id, :session, 'risk', 1, 1) ON CONFLICT DO NOTHING"""),
        {"id": PORTFOLIO, "session": session},
    )


async def lived(db: AsyncConnection, days: Sequence[date]) -> None:
    rng = np.random.default_rng(4)
    table = {
        day: (0.04 * float(np.exp(0.3 * rng.standard_normal())), 0.012 * float(rng.standard_normal())) for day in DAYS
    }
    for day in days:
        await keep(db, day, *table[day])


async def test_the_scorecard_of_a_session_is_the_one_it_had_when_it_was_the_newest(db: AsyncConnection) -> None:
    then: dict[date, Scorecard] = {}
    for k, day in enumerate(DAYS):
        await lived(db, [day])
        if k % 20 == 0:
            then[day] = await scorecard.read(db, PORTFOLIO, day)
    for day, of in then.items():
        assert await scorecard.read(db, PORTFOLIO, day) == of
    assert then[DAYS[140]].har.n == 140 - 20
    assert then[DAYS[140]].historical.n == 140


async def test_an_earlier_session_that_completes_later_is_in_every_later_scorecard(db: AsyncConnection) -> None:
    await lived(db, DAYS)
    whole = await scorecard.read(db, PORTFOLIO, DAYS[-1])
    await db.execute(text("DELETE FROM risk.results WHERE session = :day"), {"day": DAYS[50]})
    holed = await scorecard.read(db, PORTFOLIO, DAYS[-1])
    # Its own forecast, and those of the 21 sessions before it, whose horizon it belongs to.
    assert holed.har.n == whole.har.n - 22
    assert holed.historical.n == whole.historical.n - 2
    await lived(db, [DAYS[50]])
    assert await scorecard.read(db, PORTFOLIO, DAYS[-1]) == whole
    # A restated return, too.
    await keep(db, DAYS[50], 0.04, -0.08)
    restated = await scorecard.read(db, PORTFOLIO, DAYS[-1])
    assert restated.historical.n == whole.historical.n
    assert restated.har.qlike != whole.har.qlike


async def test_sessions_that_are_no_longer_the_portfolios_are_left_out(db: AsyncConnection) -> None:
    await lived(db, DAYS)
    await db.execute(text("DELETE FROM ledger.units WHERE session < :day"), {"day": DAYS[100]})
    of = await scorecard.read(db, PORTFOLIO, DAYS[-1])
    assert of.historical.n == len(DAYS) - 101
