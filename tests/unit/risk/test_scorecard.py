"""What is stored for the scorecard: forecasts as answered, and the next day's return of the weights."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from services.risk.compute.inputs import Kind, Panel
from services.risk.compute.report import build_reports
from services.risk.compute.scorecard import realized_returns
from shared.market import layouts
from shared.market.registry import LOOKBACK
from tests.support.risk import answered
from tests.unit.risk import cases
from tests.unit.risk.cases import Lot, Unit

STOCKS = ("AAA", "BBB", "CCC", "DDD")


def plain(panel: Panel, units: list[Unit], u: int) -> float:
    """The definition, a holding at a time; complete data only."""
    unit = units[u]
    [prior] = [of for of in units if (of.portfolio, of.session) == (unit.portfolio, unit.session - 1)]
    total = 0.0
    for lot in sorted(prior.lots, key=lambda lot: lot.symbol):
        total += lot.value / prior.nav * panel.returns[panel.symbols.index(lot.symbol), unit.session + LOOKBACK - 1]
    return total


def trading(sessions: int = 6) -> list[Unit]:
    """Two portfolios whose holdings change from session to session: weights, shorts, an exit, a day in cash."""
    units = []
    for p in range(2):
        for s in range(sessions):
            held = STOCKS[s % 2 : 2 + s % 3]
            lots = tuple(Lot(symbol, (100.0 + 10 * s) * (-1 if k == p else 1)) for k, symbol in enumerate(held))
            units.append(Unit(1000.0 + s, () if s == 3 else lots, portfolio=p, session=s))
    return units


def test_realized_returns_equal_a_plain_loop() -> None:
    units = trading()
    panel = cases.panel(STOCKS, 6)
    found = realized_returns(panel, cases.book(panel, units))
    for u, unit in enumerate(units):
        if unit.session == 0:
            assert np.isnan(found[u])  # nothing was held before
        else:
            assert found[u] == pytest.approx(plain(panel, units, u), rel=1e-12, abs=1e-18)
    assert found[4] == 0.0  # all cash the session before


def test_the_digits_do_not_depend_on_the_units_beside_it() -> None:
    units = trading()
    panel = cases.panel(STOCKS, 6)
    together = realized_returns(panel, cases.book(panel, units))
    for p in range(2):
        own = [unit for unit in units if unit.portfolio == p]
        alone = realized_returns(panel, cases.book(panel, [replace(unit, portfolio=0) for unit in own]))
        mine = together[[i for i, unit in enumerate(units) if unit.portfolio == p]]
        assert np.array_equal(alone, mine, equal_nan=True)


def test_a_missing_return_is_filled_by_the_market_and_gated_by_coverage() -> None:
    lots = (Lot("AAA", 850.0), Lot("BBB", 150.0))
    units = [Unit(1000.0, lots, session=0), Unit(1000.0, lots, session=1)]
    full = cases.panel(STOCKS, 2)
    panel = cases.forget(full, "BBB", LOOKBACK, LOOKBACK)
    market = panel.returns[panel.symbols.index(cases.MARKET), LOOKBACK]
    row = panel.symbols.index("BBB")
    expected = 0.85 * panel.returns[panel.symbols.index("AAA"), LOOKBACK] + 0.15 * panel.shrunk[1, row] * market
    assert realized_returns(panel, cases.book(panel, units))[1] == pytest.approx(expected, rel=1e-12)
    assert np.isnan(
        realized_returns(cases.forget(full, "AAA", LOOKBACK, LOOKBACK), cases.book(full, units))[1]
    )  # 85 % of gross value without a return


def test_without_capital_or_a_market_return_there_is_nothing_to_score() -> None:
    lots = (Lot("AAA", 100.0),)
    panel = cases.panel(STOCKS, 2)
    broke = [Unit(0.0, lots, session=0), Unit(100.0, lots, session=1)]
    assert np.isnan(realized_returns(panel, cases.book(panel, broke))).all()
    fine = [Unit(100.0, lots, session=0), Unit(100.0, lots, session=1)]
    closed = cases.forget(panel, cases.MARKET, LOOKBACK, LOOKBACK)
    assert np.isfinite(realized_returns(panel, cases.book(panel, fine))[1])
    assert np.isnan(realized_returns(closed, cases.book(closed, fine))[1])


def test_a_private_holding_contributes_nothing_and_covers_nothing() -> None:
    panel = cases.panel(STOCKS, 2, kinds={"BBB": Kind.PRIVATE})
    lots = (Lot("AAA", 900.0), Lot("BBB", 100.0))
    units = [Unit(1000.0, lots, session=0), Unit(1000.0, lots, session=1)]
    found = realized_returns(panel, cases.book(panel, units))[1]
    assert found == pytest.approx(0.9 * panel.returns[panel.symbols.index("AAA"), LOOKBACK], rel=1e-12)


def test_the_forecasts_are_those_that_are_answered() -> None:
    panel = cases.panel(STOCKS, 2)
    for picture in build_reports(panel, cases.equal_book(panel, STOCKS, sessions=2), cases.SCENARIOS):
        of = dict(zip(layouts.FORECASTS, picture.columns["forecasts"], strict=True))
        shown = answered(picture, cases.SCENARIOS).risk
        forecast = shown["volatility"]["forecast_21"]
        assert forecast["method"] == "combined"
        assert (of["answered"], of["answered_variance"]) == (forecast["value"], forecast["variance"])
        assert (of["low"], of["high"]) == (forecast["low"], forecast["high"])
        w = forecast["har_weight"]
        assert forecast["value"] == pytest.approx(w * of["har"] + (1 - w) * np.sqrt(of["ewma_variance"]), rel=1e-12)
        assert forecast["variance"] == pytest.approx(w * of["har_variance"] + (1 - w) * of["ewma_variance"], rel=1e-12)
        assert of["ewma_variance"] == forecast["ewma_variance"]
        for tail in shown["var"]:
            assert of[layouts.scored_var(tail["method"], tail["level"])] == tail["var"]


def test_where_the_ewma_stands_in_there_is_no_har_to_score_and_nothing_below_the_gate() -> None:
    panel = cases.panel(STOCKS)
    young = cases.forget(panel, cases.MARKET, 0, 300)
    [picture] = build_reports(young, cases.equal_book(young, STOCKS), cases.SCENARIOS)
    of = dict(zip(layouts.FORECASTS, picture.columns["forecasts"], strict=True))
    assert np.isnan(of["har"])
    assert np.isnan(of["har_variance"])
    assert of["ewma_variance"] > 0.0
    holed = cases.forget(panel, "AAA", 0, LOOKBACK - 1)
    [picture] = build_reports(holed, cases.equal_book(holed, STOCKS), cases.SCENARIOS)
    assert np.isnan(picture.columns["forecasts"]).all()
