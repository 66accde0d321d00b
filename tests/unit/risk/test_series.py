"""Filled series and coverage against plain loops."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from services.risk.compute.inputs import Kind, portfolio_groups
from services.risk.compute.series import coverage, fill, market_windows, portfolio_series, real_share
from shared.market.registry import LOOKBACK
from tests.unit.risk import cases

STOCKS = ["AAA", "BBB", "CCC"]


def test_a_missing_return_is_the_shrunk_beta_of_the_session_times_the_market() -> None:
    panel = cases.forget(cases.panel(STOCKS, 3), "BBB", 100, 180)
    row, market = panel.symbols.index("BBB"), panel.returns[panel.symbols.index(cases.MARKET)]
    filled = fill(panel, np.array([0, 1, 2]), np.array([row, row, row]))
    for s in range(3):
        for t in range(LOOKBACK):
            own = panel.returns[row, s + t]
            expected = panel.shrunk[s, row] * market[s + t] if np.isnan(own) else own
            assert filled.values[s, t] == expected
            assert filled.real[s, t] == (not np.isnan(own))


def test_without_a_shrunk_beta_the_market_itself_fills() -> None:
    panel = cases.forget(cases.panel(STOCKS), "BBB", 0, 99)
    shrunk = panel.shrunk.copy()
    shrunk[:] = np.nan
    panel = replace(panel, shrunk=shrunk)
    row = panel.symbols.index("BBB")
    filled = fill(panel, np.array([0]), np.array([row]))
    assert np.array_equal(filled.values[0, :100], panel.returns[panel.symbols.index(cases.MARKET), :100])


def test_a_private_holding_contributes_nothing_and_covers_nothing() -> None:
    panel = cases.panel(STOCKS, kinds={"BBB": Kind.PRIVATE})
    filled = fill(panel, np.array([0]), np.array([panel.symbols.index("BBB")]))
    assert not filled.values.any()
    assert not filled.real.any()


def test_an_option_without_a_delta_moves_nothing_and_covers_nothing() -> None:
    panel = cases.panel(STOCKS, kinds={"BBB": Kind.OPTION})
    filled = fill(panel, np.array([0]), np.array([panel.symbols.index("BBB")]))
    assert not filled.values.any()
    assert not filled.real.any()


def test_sessions_without_a_market_return_are_dropped() -> None:
    panel = cases.forget(cases.panel(STOCKS), cases.MARKET, 7, 9)
    filled = fill(panel, np.array([0]), np.array([panel.symbols.index("AAA")]))
    assert filled.valid.sum() == LOOKBACK - 3
    assert not filled.values[0, 7:10].any()


def test_portfolio_series_against_a_plain_loop() -> None:
    panel = cases.forget(cases.panel(STOCKS, 2), "CCC", 3, 40)
    lots = (cases.Lot("AAA", 600.0), cases.Lot("BBB", -250.0), cases.Lot("CCC", 400.0))
    book = cases.book(panel, [cases.Unit(1000.0, lots), cases.Unit(900.0, lots, session=1)])
    filled = fill(panel, np.repeat(book.session, 3), book.rows)
    (stack,) = portfolio_groups(book, np.arange(2), most=100)
    series = portfolio_series(filled, stack)
    market = market_windows(panel)
    for u, s in enumerate([0, 1]):
        for t in range(LOOKBACK):
            total = 0.0
            for lot in lots:
                row = panel.symbols.index(lot.symbol)
                own = panel.returns[row, s + t]
                total += lot.value / book.nav[u] * (panel.shrunk[s, row] * market[s, t] if np.isnan(own) else own)
            assert series[u, t] == pytest.approx(total, abs=1e-15)


def test_coverage_weights_real_shares_by_gross_value() -> None:
    gross, share = np.array([[300.0, 100.0]]), np.array([[1.0, 0.5]])
    assert coverage(gross, share) == pytest.approx([0.875])


def test_nothing_held_is_wholly_covered() -> None:
    assert coverage(np.empty((2, 0)), np.empty((2, 0))).tolist() == [1.0, 1.0]


def test_real_share_counts_the_windows_own_sessions() -> None:
    panel = cases.forget(cases.panel(STOCKS), "AAA", LOOKBACK - 63, LOOKBACK - 1)
    filled = fill(panel, np.array([0]), np.array([panel.symbols.index("AAA")]))
    assert real_share(filled, 252)[0] == pytest.approx(189 / 252)
    assert real_share(filled, 63)[0] == 0.0
