"""How large a portfolio may become. Checked before anything is stored: what is stored is computed, at every session."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from services.coordinator.errors import Invalid
from services.coordinator.importer.model import Position
from shared.clock import Clock


@dataclass(frozen=True, slots=True)
class Limits:
    """The most a portfolio may have; sessions without a limit reach back to the calendar's first."""

    lots: int = 50_000
    symbols: int = 2_000
    sessions: int | None = None
    lot_sessions: int = 50_000_000


@dataclass(frozen=True, slots=True)
class Extent:
    """What a portfolio holds: its lots, the symbols and underlyings of all of them, and the session it begins on."""

    lots: int = 0
    symbols: frozenset[str] = frozenset()
    first: date | None = None

    @classmethod
    def of(cls, positions: Iterable[Position]) -> Extent:
        lots = list(positions)
        names = {name for lot in lots for name in (lot.symbol, lot.underlying_symbol) if name}
        return cls(len(lots), frozenset(names), min((lot.entry_session for lot in lots), default=None))

    def __add__(self, other: Extent) -> Extent:
        firsts = [first for first in (self.first, other.first) if first is not None]
        return Extent(self.lots + other.lots, self.symbols | other.symbols, min(firsts, default=None))


# Code, what there is too much of, the setting, and what the user can do about it.
_RULES = (
    ("too_many_lots", "lots", "LEADLINE_MAX_LOTS", "Split it into several portfolios"),
    ("too_many_symbols", "distinct symbols (underlyings counted)", "LEADLINE_MAX_SYMBOLS",
     "Split it into several portfolios"),
    ("too_many_sessions", "sessions from its first entry to the last session due", "LEADLINE_MAX_SESSIONS",
     "Leave out the earliest lots"),
    ("too_many_lot_sessions", "lots times sessions", "LEADLINE_MAX_LOT_SESSIONS",
     "Split it into several portfolios, or leave out the earliest lots"),
)  # fmt: skip


def refuse_growth(before: Extent, after: Extent, limits: Limits, clock: Clock) -> None:
    """Refuse a change that makes a portfolio larger than a limit allows, with every limit that it passes.

    One that is over a limit already (it was lowered, or a session fell due) may still be changed, as long as it does not grow.
    """
    bounds = (limits.lots, limits.symbols, limits.sessions, limits.lot_sessions)
    was, found = _measures(before, clock), _measures(after, clock)
    errors: list[Mapping[str, Any]] = []
    for (code, what, setting, remedy), limit, old, new in zip(_RULES, bounds, was, found, strict=True):
        if limit is not None and new > max(limit, old):
            message = (
                f"The portfolio would have {new:,} {what}; at most {limit:,} are allowed. {remedy}, or raise {setting} "
                "where the server runs."
            )
            errors.append({"row": None, "column": None, "code": code, "message": message, "value": str(new)})
    if errors:
        raise Invalid(
            " ".join(str(error["message"]) for error in errors) + " Nothing was saved.",
            code=str(errors[0]["code"]),
            errors=errors,
        )


def _measures(extent: Extent, clock: Clock) -> tuple[int, int, int, int]:
    last = clock.last_due()
    sessions = 0
    if extent.first is not None and extent.first <= last:
        sessions = len(clock.calendar().between(extent.first, last))
    return extent.lots, len(extent.symbols), sessions, extent.lots * sessions
