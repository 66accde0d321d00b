"""Options by Black and Scholes: the volatility that their price implies, and how they move with their underlying (docs/methods.md §5).

The formulas and the inversion are vollib's. No dividends and no early exercise, as in the formula; a contract at whose price no
volatility arrives has no delta, and without one a holding is uncovered, which is not an exposure of zero.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date

import numpy as np

from services.risk.compute.curve import option_rate
from services.risk.compute.inputs import Book, Deltas, Greeks, Panel
from shared.arrays import IntVector
from shared.market.curve import Curve
from shared.market.option_terms import Terms
from shared.market.registry import OPTION_DAYS_A_YEAR, OPTION_MOST_VOLATILITY
from shared.market.symbols import Occ, parse_occ


def greeks(
    contract: Occ, session: date, price: float, underlying: float, curves: Sequence[Curve] = ()
) -> Greeks | None:
    """Greeks of one share of the contract at the closes of a session, money per share.

    curves : by date, ascending; the rate to expiry is of the newest one before the session
    None where an input lacks, on the day of expiry and after it, and where the price is not between the contract's bounds.
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
    if not least < price < most:
        return None
    # The library brings scipy.stats, a second of every start: whoever holds no option never waits for it.
    from vollib.black_scholes.greeks import analytical  # type: ignore[import-untyped]
    from vollib.black_scholes.implied_volatility import implied_volatility  # type: ignore[import-untyped]

    try:
        volatility = float(implied_volatility(price, underlying, strike, years, rate, flag))
    except (ArithmeticError, ValueError):
        return None
    if not 0.0 < volatility <= OPTION_MOST_VOLATILITY:
        return None
    at = flag, underlying, strike, years, rate, volatility
    found = Greeks(
        volatility,
        *(float(figure(*at)) for figure in (analytical.delta, analytical.gamma, analytical.vega, analytical.theta)),
    )
    known = (found.delta, found.gamma, found.vega, found.theta)
    return found if all(math.isfinite(figure) for figure in known) else None


@dataclass(slots=True)
class _Contracts:
    """Greeks by option, underlying and column of the closes, each computed once."""

    panel: Panel
    found: dict[tuple[int, int, int], Greeks | None]

    def at(self, row: int, underlying: int, column: int) -> Greeks | None:
        key = row, underlying, column
        if key not in self.found:
            contract = parse_occ(self.panel.symbols[row])
            price, spot = self.panel.closes.get(row), self.panel.closes.get(underlying)
            self.found[key] = (
                None
                if contract is None or price is None or spot is None
                else greeks(
                    contract,
                    self.panel.close_days[column],
                    float(price[column]),
                    float(spot[column]),
                    self.panel.curves,
                )
            )
        return self.found[key]


def with_deltas(panel: Panel, book: Book) -> Book:
    """The book with its options' deltas: those that have one are described by their underlyings from here on."""
    if not book.underlying_rows:
        return book
    owner = np.repeat(np.arange(len(book.nav)), np.diff(book.starts))
    return replace(book, deltas=deltas(panel, book.rows, book.underlying_rows, book.session[owner] + 1))


def deltas(panel: Panel, rows: IntVector, underlying_rows: Mapping[int, int], columns: IntVector) -> Deltas:
    """Of flat holdings (H,): `columns` (H,) say which of `Panel.close_days` each stands at, `underlying_rows` which are options."""
    contracts = _Contracts(panel, {})
    source, leverage = rows.copy(), np.ones(len(rows))
    known: dict[int, Greeks] = {}
    terms: dict[int, Terms] = {}
    for holding, underlying in sorted(underlying_rows.items()):
        row, column = int(rows[holding]), int(columns[holding])
        of = contracts.at(row, underlying, column)
        if of is not None:
            known[holding] = of
            source[holding] = underlying
            spot, price = float(panel.closes[underlying][column]), float(panel.closes[row][column])
            leverage[holding] = of.delta * (spot / price)
            terms[holding] = _terms(panel, row, column, spot, price, of.volatility)
    return Deltas(source, leverage, known, terms)


def _terms(panel: Panel, row: int, column: int, spot: float, price: float, volatility: float) -> Terms:
    contract, session = parse_occ(panel.symbols[row]), panel.close_days[column]
    assert contract is not None, "a contract with a volatility has been parsed before"
    years = (contract.expiration - session).days / OPTION_DAYS_A_YEAR
    rate = option_rate(panel.curves, session, years)
    sign = 1 if contract.option_type == "CALL" else -1
    return Terms(sign, spot, float(contract.strike), years, rate, volatility, price)
