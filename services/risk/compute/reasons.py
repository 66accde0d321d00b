"""Why a figure is withheld, and how arrays leave: with NaN or null for what is unknown."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.risk.compute.inputs import OPTION, Panel
from services.risk.compute.inputs import PRIVATE as PRIVATE_KIND
from shared.market.reasons import ReasonCode
from shared.market.registry import LOOKBACK

NAV_NOT_POSITIVE = ReasonCode.NAV_NOT_POSITIVE.value
NO_PROXY = ReasonCode.NO_PROXY.value
NO_DURATION = ReasonCode.NO_DURATION.value
BEYOND_HOLDINGS = ReasonCode.BEYOND_HOLDINGS.value
IMPLAUSIBLE = ReasonCode.IMPLAUSIBLE.value
NOT_REPLAYED = ReasonCode.NOT_REPLAYED.value
NOT_FETCHED = ReasonCode.NOT_FETCHED.value
STALE_DURATION = ReasonCode.STALE_DURATION.value
LOW_COVERAGE = ReasonCode.LOW_COVERAGE.value
SHORT_HISTORY = ReasonCode.SHORT_HISTORY.value
ZERO_VARIANCE = ReasonCode.ZERO_VARIANCE.value
ONE_LEG = ReasonCode.ONE_LEG.value
NO_HOLDINGS = ReasonCode.NO_HOLDINGS.value
UNPRICEABLE = ReasonCode.UNPRICEABLE.value
PRIVATE = ReasonCode.PRIVATE.value
NO_DELTA = ReasonCode.NO_DELTA.value
NO_SERIES = ReasonCode.NO_SERIES.value
TOO_MANY = ReasonCode.TOO_MANY.value
WITH_UNDERLYING = ReasonCode.WITH_UNDERLYING.value
BROKEN_CHAIN = ReasonCode.BROKEN_CHAIN.value
NO_BENCHMARK = ReasonCode.NO_BENCHMARK.value
NO_CAPITAL = ReasonCode.NO_CAPITAL.value
PRICE_SPIKE = ReasonCode.PRICE_SPIKE.value
SPLIT_NOT_LISTED = ReasonCode.SPLIT_NOT_LISTED.value

Document = dict[str, Any]
Columns = dict[str, list[Any]]
"""By column of `risk.results`, one value for each unit of a stack."""


class Reasons:
    """What fell short in one unit, each once, in the order found."""

    def __init__(self) -> None:
        self._entries: dict[tuple[str | None, str | None, str], None] = {}
        self._remarks: dict[tuple[str | None, str | None, str], None] = {}

    def add(self, reason: str, *, figure: str | None = None, symbol: str | None = None) -> None:
        self._entries[figure, symbol, reason] = None

    def remark(self, reason: str, *, symbol: str) -> None:
        """Something about a holding that deserves a look and takes nothing from the figures."""
        self._remarks[None, symbol, reason] = None

    @property
    def short_of_holdings(self) -> bool:
        """Whether a holding falls short, which makes the unit partial."""
        return any(symbol is not None for _, symbol, _ in self._entries)

    def to_documents(self) -> list[Document]:
        return [
            {"figure": figure, "symbol": symbol, "reason": reason}
            for figure, symbol, reason in (*self._entries, *self._remarks)
        ]


def nullable(values: NDArray[np.float64]) -> Any:
    """The array as (nested) lists, None where it is not finite; a negative zero is a zero."""
    finite = np.isfinite(values)
    if finite.all():
        return (values + 0.0).tolist()
    boxed = (values + 0.0).astype(object)
    boxed[~finite] = None
    return boxed.tolist()


def to_rows(values: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """The array's rows, NaN where they are not finite; a negative zero is a zero."""
    return list(np.where(np.isfinite(values), values + 0.0, np.nan))


def texts(units: int, length: int) -> list[list[str | None]]:
    """A list of texts for each unit, none there yet."""
    return [[None] * length for _ in range(units)]


def symbol_reason(panel: Panel, s: int, row: int, window: int, *, unpriceable: bool) -> str:
    """Why the symbol of `row` falls short on session s: its kind, its price, or what most of its missing sessions are.

    Ties between gaps of equal length go to the later one, which is nearer to the session.
    """
    kind = int(panel.kinds[row])
    if kind == PRIVATE_KIND:
        return PRIVATE
    if kind == OPTION:
        return NO_DELTA
    if unpriceable:
        return UNPRICEABLE
    last = s + LOOKBACK - 1
    best, found = 0, SHORT_HISTORY
    for gap in panel.gaps.get(row, ()):
        overlap = min(gap.last, last) - max(gap.first, last - window + 1) + 1
        if overlap >= max(best, 1):
            best, found = overlap, gap.reason
    return found
