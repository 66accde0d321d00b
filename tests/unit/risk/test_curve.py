"""What the yield curve changes in risk: durations, the rate of options, the risk-free return. A day's own curve changes nothing."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import pytest

from services.risk.compute.curve import risk_free_returns, with_curve_durations
from services.risk.compute.report import build_reports
from services.risk.compute.scenarios import Duration, Scenarios
from shared.market.curve import Curve, par_bond
from shared.market.option_greeks import greeks, option_rate
from shared.market.registry import OPTION_RATE
from tests.support import chain
from tests.support.chain import SCENARIOS, Unit
from tests.support.risk import answered
from tests.unit.risk.test_options import SPOT, black_scholes, contract

DAY = date(2025, 6, 3)
BEFORE = DAY - timedelta(days=1)


def flat(value: float, day: date = BEFORE) -> Curve:
    return Curve(day, (0.25, 20.0, 30.0), (value,) * 3)


def chosen(curves: list[Curve], stated: tuple[Duration, ...] = SCENARIOS.durations, day: date = DAY) -> Duration | None:
    return with_curve_durations(Scenarios((), stated), curves, [day]).duration_on(day)


def test_the_par_bond_on_the_newest_curve_before_the_session_counts() -> None:
    bond = par_bond(0.048)
    assert chosen([flat(0.05, DAY - timedelta(days=9)), flat(0.048)]) == Duration(BEFORE, bond.duration, bond.convexity)


def test_the_sessions_own_curve_changes_nothing_whether_it_is_there_or_not() -> None:
    assert chosen([flat(0.048), flat(0.06, DAY)]) == chosen([flat(0.048)])


def test_a_duration_written_down_within_the_month_goes_before_the_curve_and_an_older_one_behind() -> None:
    own = Duration(DAY - timedelta(days=31), 16.0, 300.0)
    assert chosen([flat(0.048)], (own,)) == own
    assert chosen([flat(0.048)], (replace(own, as_of=DAY - timedelta(days=32)),)).as_of == BEFORE  # type: ignore[union-attr]


def test_where_curves_are_fetched_no_duration_is_older_than_a_month() -> None:
    """The newest curve stayed away, or has no long bonds: what was written down years ago does not stand in for it."""
    assert chosen([flat(0.048, DAY - timedelta(days=31))]) is not None
    assert chosen([flat(0.048, DAY - timedelta(days=32))]) is None
    assert chosen([Curve(BEFORE, (0.25, 10.0), (0.04, 0.04))]) is None
    assert chosen([flat(0.048, DAY - timedelta(days=32))], ()) is None


def test_before_the_first_curve_what_is_written_down_stands() -> None:
    assert chosen([flat(0.048, DAY)]) == SCENARIOS.durations[-1]
    days = [DAY, DAY + timedelta(days=1)]
    found = with_curve_durations(Scenarios((), SCENARIOS.durations), [flat(0.048, DAY)], days)
    assert [of and of.as_of for of in map(found.duration_on, days)] == [SCENARIOS.durations[-1].as_of, DAY]


def test_a_scenario_on_a_curve_that_stayed_away_is_null_with_its_reason() -> None:
    panel = chain.panel(chain.market(21, 504, ["AAA"]), labels=[DAY])
    book = chain.book(panel, [Unit(1000.0, {"AAA": 1000.0})])
    scenarios = with_curve_durations(SCENARIOS, [flat(0.048, DAY - timedelta(days=40))], panel.sessions)
    of = answered(build_reports(panel, book, scenarios)[0], scenarios)
    told = next(row for row in of.stress["scenarios"] if row["id"] == "rates_up_100")
    assert (told["duration_as_of"], told["reason"], told["direct"]) == (None, "no_duration", None)


def test_without_curves_nothing_is_different() -> None:
    assert with_curve_durations(SCENARIOS, (), [DAY]) is SCENARIOS


def test_a_move_of_yields_goes_through_the_curve_and_is_stale_no_more() -> None:
    returns = chain.market(21, 504, ["AAA", "BBB"])
    panel = chain.panel(returns, labels=[DAY])
    book = chain.book(panel, [Unit(1000.0, {"AAA": 500.0, "BBB": 500.0})])
    scenarios = with_curve_durations(SCENARIOS, [flat(0.048)], panel.sessions)
    told = {}
    for name, used in (("table", SCENARIOS), ("curve", scenarios)):
        of = answered(build_reports(panel, book, used)[0], used)
        told[name] = next(row for row in of.stress["scenarios"] if row["id"] == "rates_up_100")
        stale = {(r["figure"], r["reason"]) for r in of.reasons} & {("stress.rates_up_100", "stale_duration")}
        assert bool(stale) is (name == "table")
    bond = par_bond(0.048)
    shock = -bond.duration * 0.01 + 0.5 * bond.convexity * 0.0001
    assert told["curve"]["duration_as_of"] == BEFORE.isoformat()
    assert told["curve"]["shocks"]["rates"] == pytest.approx(shock, rel=1e-12)
    assert told["table"]["shocks"]["rates"] != pytest.approx(shock, rel=1e-3)


def test_each_session_of_a_batch_has_its_own_duration() -> None:
    """A batch of three has the digits of three batches of one."""
    days = [DAY, DAY + timedelta(days=1), DAY + timedelta(days=2)]
    curves = [flat(0.048), flat(0.052, days[0]), flat(0.04, days[1])]
    found = with_curve_durations(SCENARIOS, curves, days)
    assert [found.duration_on(day) for day in days] == [chosen(curves, day=day) for day in days]
    returns = chain.market(21, 506, ["AAA"])
    panel = chain.panel(returns, 3, labels=days)
    book = chain.book(panel, [Unit(1000.0, {"AAA": 500.0}, session=s) for s in range(3)])
    scripts = [
        next(row for row in answered(report, found).stress["scenarios"] if row["id"] == "rates_down_50")["shocks"][
            "rates"
        ]
        for report in build_reports(panel, book, found)
    ]
    expected = [with_curve_durations(SCENARIOS, curves, [day]).duration_on(day) for day in days]
    assert scripts == [of.proxy_return(-50.0) for of in expected if of is not None]
    assert len(set(scripts)) == 3


def test_an_options_rate_is_the_curves_at_its_expiry() -> None:
    curve = Curve(BEFORE, (0.25, 1.0, 20.0), (0.04, 0.05, 0.06))
    assert option_rate([curve], DAY, 0.625) == pytest.approx(2 * np.log(1 + 0.045 / 2))
    assert option_rate([curve], BEFORE, 0.625) == OPTION_RATE
    assert option_rate([], DAY, 0.625) == OPTION_RATE


def test_greeks_are_those_of_the_curves_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    """The textbook with the curve's rate gives the price; its volatility and delta come back."""
    curve = flat(0.05)
    expiry = DAY + timedelta(days=180)
    of = contract("CALL", expiry=expiry)
    monkeypatch.setattr("tests.unit.risk.test_options.OPTION_RATE", 2 * np.log(1 + 0.05 / 2))
    true = black_scholes(True, SPOT, 105.0, 180 / 365, 0.25)
    found = greeks(of, DAY, true["price"], SPOT, [curve])
    assert found is not None
    assert found.volatility == pytest.approx(0.25, rel=1e-9)
    assert found.delta == pytest.approx(true["delta"], rel=1e-9)
    without = greeks(of, DAY, true["price"], SPOT)
    assert without is not None
    assert without.volatility != pytest.approx(0.25, rel=1e-3)


def test_risk_free_returns_by_session_are_unknown_without_a_curve() -> None:
    found = risk_free_returns([flat(0.05)], [BEFORE, DAY, DAY + timedelta(days=40)])
    assert np.isnan(found).tolist() == [True, False, True]
    assert (1 + found[1]) ** 252 == pytest.approx(1.05)
