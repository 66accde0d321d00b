"""Why a snapshot falls short, in words: the reasons beside its figures."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import TypedDict

import numpy as np

from services.snapshots.compute.model import GAP_REASONS, NEVER, Inputs, LotTable, Reason, Snapshots
from shared.market.reasons import ReasonCode
from shared.market.registry import XIRR_YEAR_DAYS
from shared.market.symbols import parse_occ


class Shortfall(TypedDict):
    figure: str | None
    symbol: str | None
    reason: str


_CHAINED = ("daily_return", "mtd_return", "ytd_return", "cumulative_return", "drawdown")


@lru_cache(maxsize=10_000)
def _expiry(symbol: str) -> int:
    """The last day of an option's contract, as days since 1970; NEVER for everything else. Every option has its OCC symbol."""
    contract = parse_occ(symbol)
    return NEVER if contract is None else int(np.datetime64(contract.expiration, "D").astype(np.int64))


def lot_reasons(inputs: Inputs, table: LotTable, row: int, lots: slice) -> list[Shortfall]:
    """What the lots of one portfolio lack on one session, each symbol once, by symbol. Empty means `complete`."""
    found: set[tuple[str, str, str]] = set()
    for lot in np.nonzero(table.reason[row, lots])[0] + lots.start:
        symbol, reason = inputs.lots.symbol[lot], Reason(table.reason[row, lot])
        found.add((symbol, "dividends" if reason is Reason.NO_DIVIDENDS else "", reason.name.lower()))
        if reason in {Reason.STALE, Reason.UNPRICEABLE} and inputs.market.days[row + 1] > _expiry(symbol):
            found.add((symbol, "price", ReasonCode.EXPIRED.value))
        cause = GAP_REASONS[table.gap[row, lot]]
        # The word of whoever was asked for the price: what would heal it.
        if cause and reason in {Reason.STALE, Reason.UNPRICEABLE}:
            found.add((symbol, "price", cause))
    return [Shortfall(figure=figure or None, symbol=symbol, reason=reason) for symbol, figure, reason in sorted(found)]


def figure_reasons(snapshots: Snapshots, row: int, portfolio: int) -> list[Shortfall]:
    """Why figures of the portfolio are null. They take nothing from its quality: there is nothing to heal."""
    return [
        Shortfall(figure=figure, symbol=None, reason=reason) for figure, reason in _nulls(snapshots, row, portfolio)
    ]


def _nulls(snapshots: Snapshots, row: int, portfolio: int) -> Iterator[tuple[str, str]]:
    for figure in _CHAINED:
        if np.isnan(getattr(snapshots, figure)[row, portfolio]):
            yield figure, ReasonCode.NO_CAPITAL.value
    if np.isnan(snapshots.xirr[row, portfolio]):
        young = snapshots.days_at_work[row, portfolio] < XIRR_YEAR_DAYS
        yield "xirr", ReasonCode.SHORT_HISTORY.value if young else ReasonCode.NO_ROOT.value
