"""Whole windows in runs of sessions: against single windows and a plain loop, and with the same digits however runs are cut."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from services.risk.compute import consecutive_windows, covariance, pairs, series, volatility
from services.risk.compute.inputs import Book, Kind, Panel, portfolio_groups
from services.risk.compute.rolling import restarts
from services.risk.compute.series_report import WINDOWS
from shared.arrays import IntVector
from shared.market.registry import LOOKBACK
from tests.support.shrinkage import moved, quadratic_inverse
from tests.unit.risk import cases
from tests.unit.risk.cases import Lot, Unit

STOCKS = ["AAA", "BBB", "CCC", "DDD"]
SESSIONS = 9


def market() -> Panel:
    """Four stocks, of which the last is a fund that earns far more than it moves; an anchor falls on the fourth session."""
    panel = cases.panel(STOCKS, SESSIONS)
    returns = panel.returns.copy()
    returns[panel.symbols.index("DDD")] = 2e-4 + 1e-3 * returns[panel.symbols.index("DDD")]
    return replace(panel, returns=returns)


def book(panel: Panel, sessions: range) -> Book:
    lots = tuple(Lot(symbol, value) for symbol, value in zip(STOCKS, (500.0, -200.0, 300.0, 90.0), strict=True))
    return cases.book(panel, [Unit(1000.0, lots, session=s) for s in sessions])


def measured(panel: Panel, of: Book) -> pairs.Pairs:
    owner = np.repeat(np.arange(len(of.nav)), np.diff(of.starts))
    return pairs.measure(panel, of.session[owner], of.rows, WINDOWS)


def covariances(panel: Panel, of: Book) -> dict[int, covariance.Covariance]:
    """By session."""
    found, figures = {}, measured(panel, of)
    [stack] = portfolio_groups(of, np.arange(len(of.nav)), most=1000)
    for run in consecutive_windows.cut(panel, of.portfolio, stack.sessions, stack.source, 252):
        part = run.units.reshape(-1)
        at = figures.find(stack.sessions[part, None], stack.source[part])
        matrix = covariance.covariance_of_windows(run, figures.mean[at], figures.sd[at])
        for i, s in enumerate(stack.sessions[part].tolist()):
            found[s] = covariance.Covariance(
                matrix.correlation[i : i + 1],
                matrix.sd[i : i + 1],
                matrix.shrinkage[i : i + 1],
                matrix.joint_obs[i : i + 1],
            )
    return found


def rows(panel: Panel) -> IntVector:
    return np.array([panel.symbols.index(symbol) for symbol in STOCKS])


def test_shrinkage_of_overlapping_windows_against_a_plain_loop() -> None:
    panel = market()
    for s, found in covariances(panel, book(panel, range(SESSIONS))).items():
        window = panel.returns[rows(panel), s + LOOKBACK - 252 : s + LOOKBACK].T
        expected = quadratic_inverse(window)
        assert found.shrinkage[0] == pytest.approx(moved(expected, window), rel=1e-7)
        assert found.correlation[0] == pytest.approx(expected, abs=1e-10)
        assert found.sd[0] == pytest.approx(window.std(axis=0, ddof=1), rel=1e-11)
        assert (found.joint_obs == 252.0).all()


def test_a_session_has_the_same_digits_alone_in_a_run_and_beside_an_anchor() -> None:
    panel = market()
    together = covariances(panel, book(panel, range(SESSIONS)))
    assert sorted(together) == list(range(SESSIONS))
    for s in range(SESSIONS):
        for alone in (
            covariances(panel, book(panel, range(s, s + 1)))[s],
            covariances(cases.one_session(panel, s), book(panel, range(1)))[0],
        ):
            assert np.array_equal(alone.correlation, together[s].correlation)
            assert np.array_equal(alone.shrinkage, together[s].shrinkage)
            assert np.array_equal(alone.sd, together[s].sd)


def test_runs_end_where_holdings_sessions_portfolios_or_anchors_change() -> None:
    panel = market()
    sessions = np.array([0, 1, 2, 3, 4, 5, 7, 8, 0, 1])
    portfolio = np.array([0] * 8 + [1] * 2)
    source = np.tile(rows(panel)[:2], (10, 1))
    source[5] = rows(panel)[2:]
    assert LOOKBACK - 1 + 3 in restarts(panel.days, 252).tolist()
    found = sorted(
        run.units[i].tolist()
        for run in consecutive_windows.cut(panel, portfolio, sessions, source, 252)
        for i in range(len(run.units))
    )
    assert found == [[0, 1, 2], [3, 4], [5], [6, 7], [8, 9]]


def test_series_of_runs_are_those_of_single_windows() -> None:
    panel = market()
    of = book(panel, range(SESSIONS))
    [stack] = portfolio_groups(of, np.arange(SESSIONS), most=1000)
    found = consecutive_windows.steady_series(panel, of, stack)
    expected = series.portfolio_series(series.fill(panel, np.repeat(of.session, 4), of.rows), stack)
    assert found == pytest.approx(expected, abs=1e-16)
    for s in range(SESSIONS):
        alone, one = cases.one_session(panel, s), book(panel, range(1))
        assert np.array_equal(
            consecutive_windows.steady_series(alone, one, next(portfolio_groups(one, np.arange(1), most=9)))[0],
            found[s],
        )


def test_figures_of_whole_pairs_are_those_of_their_series() -> None:
    panel = market()
    of = measured(panel, book(panel, range(SESSIONS)))
    assert of.whole.all()
    filled = series.fill(panel, *np.divmod(of.keys, of.symbols))
    assert of.realized_252 == pytest.approx(volatility.realized_volatility(filled.values, filled.valid, 252), rel=1e-11)
    assert of.forecast == pytest.approx(volatility.forecast(filled.values, filled.valid, judged=False).value, rel=1e-9)
    assert of.har.all()
    assert of.sd == pytest.approx(covariance.columns(filled.values, filled.real, filled.valid).sd, rel=1e-11)


def test_only_windows_with_every_return_of_a_public_symbol_and_the_market_are_whole() -> None:
    panel = cases.panel(STOCKS, 4, kinds={"CCC": Kind.PRIVATE})
    holed = cases.forget(panel, "BBB", 1, 1)
    expected = np.ones((len(panel.symbols), 4), dtype=np.bool_)
    expected[panel.symbols.index("CCC")] = False
    assert np.array_equal(pairs.whole_windows(panel), expected)
    expected[panel.symbols.index("BBB"), :2] = False
    assert np.array_equal(pairs.whole_windows(holed), expected)
    assert not pairs.whole_windows(cases.forget(panel, cases.MARKET, LOOKBACK - 1, LOOKBACK - 1)).any()


def test_a_fund_that_stands_still_is_forecast_to_go_on_and_has_no_spread() -> None:
    panel = market()
    returns = panel.returns.copy()
    returns[panel.symbols.index("DDD")] = 0.0
    of = measured(replace(panel, returns=returns), book(panel, range(2)))
    row = of.find(np.array([0, 1]), np.full(2, panel.symbols.index("DDD")))
    assert of.forecast[row].tolist() == of.realized_252[row].tolist() == of.sd[row].tolist() == [0.0, 0.0]
    assert not of.har[row].any()
