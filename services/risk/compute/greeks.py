"""How a batch's options move with their underlyings (docs/methods.md §5), by the greeks of `shared.market.option_greeks`.

A contract at whose price no volatility arrives has no delta, and without one a holding is uncovered, which is not an exposure of zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from services.risk.compute.inputs import Book, Deltas, Panel
from shared.arrays import IntVector
from shared.market import option_greeks
from shared.market.option_greeks import Greeks
from shared.market.option_terms import Terms
from shared.market.symbols import parse_occ


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
                else option_greeks.greeks(
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
            contract = parse_occ(panel.symbols[row])
            assert contract is not None, "a contract with a volatility has been parsed before"
            terms[holding] = option_greeks.terms(
                contract, panel.close_days[column], price, spot, of.volatility, panel.curves
            )
    return Deltas(source, leverage, known, terms)
