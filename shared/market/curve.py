"""The US Treasury's par yield curve: what a bond at par, a bill and a day's return of long bonds are on it (docs/methods.md §9). Pure.

Yields are decimal a year, bond-equivalent (compounded twice a year); tenors and maturities in years.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final, NamedTuple

# An older curve is none: within a month a 25-year duration moves by a few hundredths of itself.
CURVE_MOST_DAYS: Final = 31
# Of the fund that stands for rates (TLT, bonds of 20 years and more): the mean of the 20- and the 30-year yield.
RATES_MATURITY: Final = 25.0
LONG_TENOR: Final = 20.0  # a curve without a tenor this long says nothing of long bonds
BILL: Final = 0.25  # the risk-free rate is the 3-month bill's
SESSIONS_A_YEAR: Final = 252
# A session whose curve is not published takes the previous one: bank holidays on which the exchange is open, two a year.
MOST_SESSIONS_WITHOUT: Final = 5


@dataclass(frozen=True, slots=True)
class Curve:
    """Par yields of one day. `tenors` ascending and distinct, `yields` of the same length. Raises `ValueError` for what can not be."""

    date: date
    tenors: tuple[float, ...]
    yields: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.tenors or len(self.tenors) != len(self.yields) or list(self.tenors) != sorted(set(self.tenors)):
            raise ValueError(
                f"the curve of {self.date} has {len(self.yields)} yields of {len(self.tenors)} ascending tenors"
            )
        for tenor, value in zip(self.tenors, self.yields, strict=True):
            # Short bills were below nought in 2015 and 2020, by hundredths; no yield of a Treasury was ever beyond 20 %.
            if not (0 < tenor <= 30 and -0.02 < value < 0.25):
                raise ValueError(f"a yield of {value:g} for {tenor:g} years on {self.date} can not be")

    def at(self, years: float) -> float:
        """The yield at a tenor, linear between those there are and flat beyond them."""
        place = bisect_left(self.tenors, years)
        if place == 0:
            return self.yields[0]
        if place == len(self.tenors):
            return self.yields[-1]
        low, high = self.tenors[place - 1], self.tenors[place]
        share = (years - low) / (high - low)
        return self.yields[place - 1] + share * (self.yields[place] - self.yields[place - 1])

    @property
    def has_long_bonds(self) -> bool:
        return self.tenors[-1] >= LONG_TENOR

    @property
    def has_bills(self) -> bool:
        """Whether the 3-month yield is known, by itself or between two others."""
        return self.tenors[0] <= BILL <= self.tenors[-1]


class ParBond(NamedTuple):
    """duration : modified, in years; convexity : in years², not divided by 100; yield_ : decimal a year."""

    duration: float
    convexity: float
    yield_: float


def par_bond(yield_: float, maturity: float = RATES_MATURITY) -> ParBond:
    """A bond at par with half-yearly coupons: P = Σ c/(1+y/2)^k + 1/(1+y/2)^n, duration -P'/P and convexity P''/P in y.

    maturity : in years, a multiple of a half.
    """
    periods, half = round(2 * maturity), yield_ / 2.0
    first = second = price = 0.0
    for k in range(1, periods + 1):
        payment = (half + (1.0 if k == periods else 0.0)) * (1.0 + half) ** -k
        price += payment
        first += payment * k
        second += payment * k * (k + 1)
    return ParBond(first / (2.0 * price * (1.0 + half)), second / (4.0 * price * (1.0 + half) ** 2), yield_)


def long_bond(curve: Curve) -> ParBond | None:
    """The par bond that stands for the rates proxy on a curve; None where it has no long tenor."""
    return par_bond(curve.at(RATES_MATURITY)) if curve.has_long_bonds else None


def long_bond_return(before: Curve, after: Curve) -> float | None:
    """A session's return of long bonds from the curve of the session before: -D·Δy + ½C·Δy² + y/252, decimal."""
    bond = long_bond(before)
    if bond is None or not after.has_long_bonds:
        return None
    dy = after.at(RATES_MATURITY) - bond.yield_
    return -bond.duration * dy + 0.5 * bond.convexity * dy * dy + bond.yield_ / SESSIONS_A_YEAR


class SessionReturn(NamedTuple):
    """A session's return of long bonds, None where it is unknown, and the places of the curves that it rests on, in their list."""

    value: float | None
    curves: tuple[int, ...]


def long_bond_returns(curves: Sequence[Curve], sessions: Sequence[date]) -> list[SessionReturn]:
    """Returns of consecutive sessions, each from the curves of the session before and of its own.

    A session without a curve takes the previous one, at most five in a row, where none is published that day (bank holidays) or a later
    one is there already. Until then the session's return is unknown: its curve may still come.

    curves : ascending by date, from before the first session on
    """
    place = {curve.date: i for i, curve in enumerate(curves)}
    newest = curves[-1].date if curves else date.min
    found: list[SessionReturn] = []
    held: int | None = None
    carried = 0
    for session in sessions:
        own = place.get(session)
        proof: tuple[int, ...] = ()
        if own is None and held is not None and carried < MOST_SESSIONS_WITHOUT:
            if not is_bank_holiday(session) and session < newest:
                # That there is a later one is what tells that this one does not come.
                proof = (bisect_left([curve.date for curve in curves], session),)
            if proof or is_bank_holiday(session):
                own, carried = held, carried + 1
        elif own is not None:
            carried = 0
        value = None if own is None or held is None else long_bond_return(curves[held], curves[own])
        rests = tuple(i for i in (held, own) if i is not None) + proof
        found.append(SessionReturn(value, rests if value is not None else ()))
        held = own
    return found


def before(curves: Sequence[Curve], session: date) -> Curve | None:
    """The newest of ascending curves dated before the session, at most a month old.

    Before, not on: a session's curve is published after its close, and a figure must not depend on whether it was there already.
    """
    place = bisect_left([curve.date for curve in curves], session)
    found = curves[place - 1] if place else None
    return found if found is not None and session - found.date <= timedelta(days=CURVE_MOST_DAYS) else None


def risk_free(curves: Sequence[Curve], session: date) -> float | None:
    """A session's risk-free return, (1 + y)^(1/252) - 1 of the 3-month yield dated before it; None without one."""
    curve = before(curves, session)
    return math.expm1(math.log1p(curve.at(BILL)) / SESSIONS_A_YEAR) if curve is not None and curve.has_bills else None


def continuous_rate(curve: Curve, years: float) -> float:
    """The rate to a time, compounded continuously: 2 ln(1 + y/2)."""
    return 2.0 * math.log1p(curve.at(years) / 2.0)


def is_bank_holiday(day: date) -> bool:
    """Columbus Day and Veterans Day: the exchange is open and no curve is published."""
    veterans = date(day.year, 11, 11)
    observed = veterans + timedelta(days={5: -1, 6: 1}.get(veterans.weekday(), 0))
    return day == observed or (day.month == 10 and day.weekday() == 0 and 8 <= day.day <= 14)
