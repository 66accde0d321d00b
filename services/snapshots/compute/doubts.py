"""What is doubtful about lots that have a price: how their numbers were understood, and what happened to their security."""

from __future__ import annotations

import numpy as np

from services.snapshots.compute.model import Inputs, LotTable, Reason
from services.snapshots.compute.quality import Shortfall
from shared.market.reasons import ReasonCode
from shared.market.symbols import parse_occ

MISMATCH, AMBIGUOUS = ReasonCode.PRICE_BASIS_MISMATCH.value, ReasonCode.PRICE_BASIS_AMBIGUOUS.value
ASSIGNMENT = ReasonCode.ASSIGNMENT.value
EXIT_MISMATCH = ReasonCode.EXIT_PRICE_MISMATCH.value
OPTION_OVER_SPLIT, PRICED_AFTER_GAP = ReasonCode.OPTION_OVER_SPLIT.value, ReasonCode.PRICED_AFTER_GAP.value
# The bounds within which a price may be of its session; those of entries (docs/methods.md §6).
_LOW, _HIGH = 0.5, 2.0
_PRICED = (Reason.NONE, Reason.NO_DIVIDENDS)


class Doubts:
    """The few lots of a batch that need a look on any of its sessions; found once, for a batch may have fifty thousand."""

    def __init__(self, inputs: Inputs, table: LotTable) -> None:
        lots, market = inputs.lots, inputs.market
        self._inputs, self._table = inputs, table
        self._splits = {
            lot: market.underlying_splits.get(contract.underlying, ())
            for lot in (np.nonzero(lots.multiplier != 1)[0].tolist() if market.underlying_splits else ())
            if (contract := parse_occ(lots.symbol[lot]))
        }
        absent = np.array([bool(of) for of in market.absences], dtype=np.bool_)
        resumed = np.nonzero(absent[lots.column])[0].tolist() if absent.any() else []
        doubted = [lot for lot, doubt in enumerate(lots.doubt) if doubt]
        self._exits = self._far_exits()
        self._lots = np.array(sorted({*doubted, *resumed, *self._splits}), dtype=np.int64)

    def shortfalls(self, row: int, lots: slice) -> list[Shortfall]:
        """Of one portfolio's open lots on one session, by symbol: those whose value is not to be trusted. They make it partial."""
        day = self._inputs.market.days[row + 1]
        found: set[tuple[str, str, str]] = set()
        for lot in self._open(row, lots):
            symbol = self._inputs.lots.symbol[lot]
            if self._doubt(lot) == MISMATCH:
                found.add((symbol, "entry_price", MISMATCH))
            if any(self._inputs.lots.entry_day[lot] < ex <= day for ex in self._splits.get(lot, ())):
                found.add((symbol, "price", OPTION_OVER_SPLIT))
        for lot in self._exits.get(int(day), ()):
            if lots.start <= lot < lots.stop:
                found.add((self._inputs.lots.symbol[lot], "exit_price", EXIT_MISMATCH))
        return [Shortfall(figure=figure, symbol=symbol, reason=reason) for symbol, figure, reason in sorted(found)]

    def remarks(self, row: int, lots: slice) -> list[Shortfall]:
        """The same, of what only deserves a look: it takes nothing from the unit's quality."""
        day, market = self._inputs.market.days[row + 1], self._inputs.market
        found: set[tuple[str, str, str]] = set()
        for lot in self._open(row, lots):
            symbol, entered = self._inputs.lots.symbol[lot], self._inputs.lots.entry_session[lot]
            if (doubt := self._doubt(lot)) in (AMBIGUOUS, ASSIGNMENT):
                found.add((symbol, "entry_price", doubt))
            absences = market.absences[self._inputs.lots.column[lot]] if market.absences else ()
            if self._table.reason[row, lot] in _PRICED and any(
                entered < first and last < day for first, last in absences
            ):
                found.add((symbol, "price", PRICED_AFTER_GAP))
        return [Shortfall(figure=figure, symbol=symbol, reason=reason) for symbol, figure, reason in sorted(found)]

    def _far_exits(self) -> dict[int, list[int]]:
        """Lots that leave at a price far from the close, by session. A day without a session has no close to compare with, an
        option's may be a week old, and what leaves for nothing is meant so."""
        lots, market = self._inputs.lots, self._inputs.market
        leaving = (lots.exit_session == lots.exit_day) & (lots.multiplier == 1) & ~lots.private
        leaving &= (lots.exit_session >= market.days[1]) & (lots.exit_session <= market.days[-1])
        found: dict[int, list[int]] = {}
        for lot in np.nonzero(leaving)[0].tolist():
            day = int(lots.exit_session[lot])
            close = float(market.close[np.searchsorted(market.days, day), lots.column[lot]])
            price = float(lots.exit_price[lot] or 0)
            # False for NaN: no close, nothing to say.
            if price and not (close * _LOW <= price <= close * _HIGH) and close > 0:
                found.setdefault(day, []).append(lot)
        return found

    def _doubt(self, lot: int) -> str:
        return self._inputs.lots.doubt[lot] if self._inputs.lots.doubt else ""

    def _open(self, row: int, lots: slice) -> list[int]:
        first, end = np.searchsorted(self._lots, (lots.start, lots.stop))
        mine = self._lots[first:end]
        found: list[int] = mine[self._table.live[row, mine]].tolist()
        return found
