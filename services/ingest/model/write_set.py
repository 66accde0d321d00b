"""What one write transaction is about."""

from dataclasses import dataclass, field
from datetime import date
from typing import Any

from services.ingest.model.market import Request
from services.ingest.model.stored import ActionRow, Candidate, Described, Found, PriceGap, PriceOutlier, SymbolRow


@dataclass(frozen=True, slots=True)
class FetchRequest:
    """One range of a claimed symbol.

    first, last : what is fetched; reaches into what is known by one priced session, so that a return over the seam and the
                  level of adjusted closes come from one vintage
    checked     : the ranges of ordinals that the answer decides; the sessions that only join are not among them
    known       : coverage before, if any
    wide        : asked over all that is known, because an answer did not fit what is stored
    """

    symbol_id: int
    symbol: str
    first: date
    last: date
    checked: tuple[tuple[int, int], ...]
    known: tuple[date, date] | None
    wide: bool = False

    @property
    def request(self) -> Request:
        return Request(self.symbol, self.first, self.last)


@dataclass(frozen=True, slots=True)
class CarriedForwardGap:
    """Sessions [first, last] to which a known absence next to them is presumed to extend, until it is asked for again."""

    ask: FetchRequest
    gap: PriceGap


@dataclass(frozen=True, slots=True)
class WriteSet:
    """Everything one transaction writes about some symbols."""

    prices: list[tuple[Any, ...]]
    actions: list[ActionRow]
    symbols: list[SymbolRow]
    checked: dict[int, list[tuple[int, int]]]
    gaps: dict[int, list[PriceGap]]
    listed: list[tuple[int, date, date, str]] = field(default_factory=list)
    """(symbol id, first, last, provider): actions of that time are all listed; one that is not was withdrawn."""
    jumps: list[PriceOutlier] = field(default_factory=list)
    decided: dict[tuple[int, date], int] = field(default_factory=dict)
    """by (symbol id, session) an operator's decision that these rows follow"""
    renames: list[Found] = field(default_factory=list)
    candidates: list[Candidate] = field(default_factory=list)
    described: list[Described] = field(default_factory=list)
    """what came with the prices of what the symbols are"""
    chosen: dict[int, str | None] = field(default_factory=dict)
    """by symbol id what the user said it is, as it was when it was asked for"""
