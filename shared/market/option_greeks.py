"""Options by Black and Scholes: the volatility that their price implies, and how they move with their underlying (docs/methods.md §5).

Without dividends and early exercise; what a price holds of either ends up in the volatility. Where an input lacks there are no greeks and
a holding is uncovered, which is not an exposure of zero.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from shared.market.curve import Curve, before, continuous_rate
from shared.market.option_terms import Terms
from shared.market.registry import (
    OPTION_DAYS_A_YEAR,
    OPTION_DEEP,
    OPTION_LEAST_VOLATILITY,
    OPTION_MOST_VOLATILITY,
    OPTION_PARITY,
    OPTION_RATE,
)
from shared.market.symbols import Occ


@dataclass(frozen=True, slots=True)
class Greeks:
    """Of one share of an option: implied volatility and delta a year, vega a point of volatility, theta a calendar day."""

    volatility: float
    delta: float
    gamma: float
    vega: float
    theta: float


def option_rate(curves: Sequence[Curve], session: date, years: float) -> float:
    """Rate to an option's expiry, a year, continuous; without a curve `OPTION_RATE`. curves: ascending by date."""
    curve = before(curves, session)
    return OPTION_RATE if curve is None else continuous_rate(curve, years)


def greeks(
    contract: Occ, session: date, price: float, underlying: float, curves: Sequence[Curve] = ()
) -> Greeks | None:
    """Greeks of one share of the contract at the closes of a session, money per share.

    curves : by date, ascending; the rate to expiry is of the newest one before the session
    None where an input lacks, on the day of expiry and after it, and where the price is not between the contract's bounds. A price
    that has no time value left is at the lower one, give or take a hundredth of the underlying, where exercise is worth a tenth of it.
    """
    days = (contract.expiration - session).days
    strike, flag = float(contract.strike), "c" if contract.option_type == "CALL" else "p"
    if days <= 0 or not (price > 0.0 and underlying > 0.0 and strike > 0.0):
        return None
    years = days / OPTION_DAYS_A_YEAR
    rate = option_rate(curves, session, years)
    # The bounds are checked here, since what the library does at their edge is a matter of its version.
    least = max(0.0, (1.0 if flag == "c" else -1.0) * (underlying - strike * math.exp(-rate * years)))
    most = underlying if flag == "c" else strike * math.exp(-rate * years)
    deep = least >= OPTION_DEEP * underlying
    parity = deep and least - OPTION_PARITY * underlying <= price <= least
    if not (least < price or parity) or not price < most:
        return None
    # It brings scipy along: only who has an option pays for it.
    from vollib.black_scholes.greeks import analytical  # type: ignore[import-untyped]
    from vollib.black_scholes.implied_volatility import implied_volatility  # type: ignore[import-untyped]

    try:
        implied = 0.0 if parity else float(implied_volatility(price, underlying, strike, years, rate, flag))
    except (ArithmeticError, ValueError):
        return None
    # So near to the bound that the inversion says less than the least is without time value too.
    volatility = max(implied, OPTION_LEAST_VOLATILITY) if deep else implied
    if not 0.0 < volatility <= OPTION_MOST_VOLATILITY:
        return None
    at = flag, underlying, strike, years, rate, volatility
    found = Greeks(
        volatility,
        *(float(figure(*at)) for figure in (analytical.delta, analytical.gamma, analytical.vega, analytical.theta)),
    )
    known = (found.delta, found.gamma, found.vega, found.theta)
    return found if all(math.isfinite(figure) for figure in known) else None


def terms(
    contract: Occ, session: date, price: float, underlying: float, volatility: float, curves: Sequence[Curve] = ()
) -> Terms:
    """What it takes to revalue one share of the contract at the closes of a session. Arguments as in `greeks`."""
    years = (contract.expiration - session).days / OPTION_DAYS_A_YEAR
    sign = 1 if contract.option_type == "CALL" else -1
    rate = option_rate(curves, session, years)
    return Terms(sign, underlying, float(contract.strike), years, rate, volatility, price)
