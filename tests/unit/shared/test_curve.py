"""The par curve against a price that is differentiated by hand, and against durations that were written down before there was a curve."""

from __future__ import annotations

import csv
import math
from datetime import date, timedelta
from pathlib import Path

import pytest
import yaml

from shared.market.curve import (
    CURVE_MOST_DAYS,
    Curve,
    before,
    continuous_rate,
    is_bank_holiday,
    long_bond,
    long_bond_return,
    long_bond_returns,
    par_bond,
    risk_free,
)

ROOT = Path(__file__).parents[3]
TENORS = {"1month": 1 / 12, "3month": 0.25, "6month": 0.5, "1year": 1, "2year": 2, "3year": 3, "5year": 5, "7year": 7,
          "10year": 10, "20year": 20, "30year": 30}  # fmt: skip
DAY = date(2026, 1, 5)


def bundled() -> list[Curve]:
    """Yields of 2010 to March 2017, with dates and a licence."""
    with (ROOT / "deploy" / "embedded" / "data" / "treasury_curves.csv").open() as file:
        found = []
        for row in csv.DictReader(file):
            known = {years: float(row[name]) for name, years in TENORS.items() if row[name]}
            if known:
                found.append(Curve(date.fromisoformat(row["date"][:10]), tuple(known), tuple(known.values())))
        return found


def flat(value: float, day: date = DAY, tenors: tuple[float, ...] = (0.25, 20.0, 30.0)) -> Curve:
    return Curve(day, tenors, (value,) * len(tenors))


def price(coupon: float, yield_: float, maturity: float) -> float:
    periods = int(2 * maturity)
    paid = [coupon / 2 + (k == periods) for k in range(1, periods + 1)]
    return sum(amount / math.pow(1 + yield_ / 2, k) for k, amount in enumerate(paid, start=1))


@pytest.mark.parametrize("maturity", [0.5, 10.0, 25.0])
@pytest.mark.parametrize("yield_", [0.0, 0.011, 0.0478, 0.15])
def test_duration_and_convexity_are_the_derivatives_of_the_price(yield_: float, maturity: float) -> None:
    step = 1e-4
    up, at, down = (price(yield_, yield_ + move, maturity) for move in (step, 0.0, -step))
    bond = par_bond(yield_, maturity)
    assert at == pytest.approx(1.0)
    assert bond.duration == pytest.approx((down - up) / (2 * step), rel=1e-5)
    assert bond.convexity == pytest.approx((up + down - 2 * at) / step**2, rel=1e-4)


def test_the_durations_that_are_written_down_are_those_of_the_bundled_curves() -> None:
    """The table of scenarios.yaml was made by other means from the same yields; it is printed with two and one decimals."""
    curves = {curve.date: curve for curve in bundled()}
    listed = yaml.safe_load((ROOT / "services" / "risk" / "scenarios.yaml").read_text())["rates"]["durations"]
    assert len(listed) > 5
    for row in listed:
        bond = long_bond(curves[row["as_of"]])
        assert bond is not None
        assert bond.duration == pytest.approx(row["duration"], abs=0.0051), row["as_of"]
        assert bond.convexity == pytest.approx(row["convexity"], abs=0.051), row["as_of"]


def test_the_bundled_curves_end_before_the_bundled_prices_so_that_the_demo_has_no_rates() -> None:
    assert bundled()[-1].date == date(2017, 3, 29)


def test_yields_between_tenors_are_linear_and_flat_beyond() -> None:
    curve = Curve(DAY, (0.25, 20.0, 30.0), (0.03, 0.04, 0.05))
    assert (curve.at(0.1), curve.at(20.0), curve.at(25.0), curve.at(40.0)) == pytest.approx((0.03, 0.04, 0.045, 0.05))


@pytest.mark.parametrize(
    ("tenors", "yields"),
    [((), ()), ((1.0,), ()), ((2.0, 1.0), (0.03, 0.03)), ((1.0, 1.0), (0.03, 0.03)), ((1.0,), (3.65,)), ((1.0,), (float("nan"),)),
     ((31.0,), (0.03,)), ((0.0,), (0.03,))],
)  # fmt: skip
def test_a_curve_that_can_not_be_is_refused(tenors: tuple[float, ...], yields: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="2026-01-05"):
        Curve(DAY, tenors, yields)


def test_a_curve_without_long_bonds_has_no_duration_and_one_of_february_2002_to_2006_has() -> None:
    assert long_bond(flat(0.04, tenors=(0.25, 10.0))) is None
    assert long_bond(flat(0.04, tenors=(0.25, 10.0, 20.0))) == par_bond(0.04)


def test_the_newest_curve_before_a_session_counts_for_a_month_and_that_of_the_day_does_not() -> None:
    old, new = flat(0.03, DAY), flat(0.04, DAY + timedelta(days=1))
    assert before([old, new], DAY) is None
    assert before([old, new], DAY + timedelta(days=1)) == old
    assert before([old, new], DAY + timedelta(days=2)) == new
    assert before([old], DAY + timedelta(days=CURVE_MOST_DAYS)) == old
    assert before([old], DAY + timedelta(days=CURVE_MOST_DAYS + 1)) is None
    assert before([], DAY) is None


def test_a_year_of_the_risk_free_return_is_the_yield() -> None:
    daily = risk_free([flat(0.0365)], DAY + timedelta(days=1))
    assert daily is not None
    assert (1 + daily) ** 252 - 1 == pytest.approx(0.0365)
    assert risk_free([flat(0.0365)], DAY) is None, "the session's own curve is not out"
    assert risk_free([flat(0.0365, tenors=(1.0, 20.0))], DAY + timedelta(days=1)) is None


def test_a_continuous_rate_grows_as_the_bond_equivalent_yield() -> None:
    assert math.exp(continuous_rate(flat(0.05), 3.0) * 3.0) == pytest.approx((1 + 0.05 / 2) ** 6)


def test_a_days_return_of_long_bonds_is_that_of_the_bond_repriced() -> None:
    """Against the price of the coupon bond at the new yield, and a day's yield: the second order leaves next to nothing."""
    old, new = flat(0.0478), flat(0.0490, DAY + timedelta(days=1))
    repriced = price(0.0478, 0.0490, 25.0) - 1.0 + 0.0478 / 252
    assert long_bond_return(old, new) == pytest.approx(repriced, abs=1e-5)
    assert long_bond_return(old, flat(0.0478, DAY + timedelta(days=1))) == pytest.approx(0.0478 / 252)
    assert long_bond_return(flat(0.04, tenors=(0.25, 10.0)), new) is None


@pytest.mark.parametrize(
    ("day", "holiday"),
    [(date(2026, 10, 12), True), (date(2026, 10, 13), False), (date(2024, 10, 14), True), (date(2026, 11, 11), True),
     (date(2023, 11, 10), True), (date(2023, 11, 11), False), (date(2018, 11, 12), True), (date(2026, 11, 10), False)],
)  # fmt: skip
def test_days_on_which_the_exchange_is_open_and_the_banks_are_not(day: date, holiday: bool) -> None:
    assert is_bank_holiday(day) is holiday


def days(*numbers: int) -> list[date]:
    return [date(2026, 1, number) for number in numbers]


def values(curves: list[Curve], sessions: list[date]) -> list[float | None]:
    return [of.value for of in long_bond_returns(curves, sessions)]


def test_returns_of_sessions_are_those_between_their_curves() -> None:
    curves = [flat(0.04 + 0.001 * i, day) for i, day in enumerate(days(5, 6, 7))]
    found = long_bond_returns(curves, days(5, 6, 7))
    assert [of.value for of in found] == [
        None, long_bond_return(curves[0], curves[1]), long_bond_return(curves[1], curves[2]),
    ]  # fmt: skip
    assert [of.curves for of in found] == [(), (0, 1), (1, 2)]


def test_a_session_whose_curve_may_still_come_has_no_return() -> None:
    assert values([flat(0.04, day) for day in days(5, 6)], days(5, 6, 7))[2] is None


def test_a_hole_takes_the_curve_before_once_a_later_one_is_there_and_rests_on_that_one_too() -> None:
    curves = [flat(0.04, date(2026, 1, 5)), flat(0.041, date(2026, 1, 7))]
    found = long_bond_returns(curves, days(5, 6, 7))
    assert found[1].value == pytest.approx(0.04 / 252)
    assert found[1].curves == (0, 0, 1)
    assert found[2].value == long_bond_return(*curves)


def test_a_bank_holiday_takes_the_curve_before_at_once() -> None:
    friday, holiday = date(2026, 10, 9), date(2026, 10, 12)
    assert values([flat(0.04, friday)], [friday, holiday])[1] == pytest.approx(0.04 / 252)


def test_at_most_five_sessions_in_a_row_take_the_curve_before() -> None:
    curves = [flat(0.04, date(2026, 1, 5)), flat(0.04, date(2026, 1, 20))]
    found = values(curves, days(5, 6, 7, 8, 9, 12, 13, 14, 20))
    assert [value is None for value in found] == [True, False, False, False, False, False, True, True, True]
