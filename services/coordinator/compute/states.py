"""How complete a portfolio is, in a word, and what needs its owner. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Final, Literal, NamedTuple

from shared.market.reasons import ReasonCode, Severity, colours_state

State = Literal["complete", "partial", "healing", "blocked"]

# How heavy a reason can be in a phase: what a price does to NAV is said by ingest and snapshots, not again by what rests on them.
REACH: Final[dict[str, Severity]] = {"ingest": "nav", "snapshots": "nav", "factors": "risk", "risk": "risk"}
_COLOURING = {
    phase: frozenset(code.value for code in ReasonCode if colours_state(code, within=within))
    for phase, within in REACH.items()
}
# While a price is waited for, nobody needs to look for another source of it.
_WAITED_FOR = frozenset({ReasonCode.RATE_LIMITED, ReasonCode.PROVIDER_DOWN, ReasonCode.LATE})


class Shortfall(NamedTuple):
    """What a completed unit of a phase lacks."""

    phase: str
    symbol: str | None
    reason: str


class Need(NamedTuple):
    """A reason that only the reader can mend. Without a symbol it is about the whole portfolio."""

    symbol: str | None
    reason: str


class Completeness(NamedTuple):
    """What the ledger says of one portfolio.

    missing, blocked : whether any unit is not complete, and any of these blocked
    provisional      : something was computed while prices were waited for, and will be computed again
    coverage         : lowest share of gross value with good prices of any snapshot in the window; None without a snapshot
    needs            : what needs the reader within the window
    """

    missing: bool
    blocked: bool
    provisional: bool
    coverage: float | None
    needs: tuple[Need, ...]

    @property
    def state(self) -> State:
        """Blocked comes first because it needs a person, then what will still change, then what stays short."""
        if self.blocked:
            return "blocked"
        if self.missing or self.provisional:
            return "healing"
        return "partial" if self.needs else "complete"


def needs_you(shortfalls: Iterable[Shortfall]) -> tuple[Need, ...]:
    """What needs the reader, by symbol. A lot without a price is told by its cause where that is known.

    Only reasons that touch value or risk and that the reader can act on: neither what fills up with time nor a figure alone.
    """
    of_symbol: dict[str | None, set[str]] = defaultdict(set)
    needed: dict[str | None, set[str]] = defaultdict(set)
    for phase, symbol, reason in shortfalls:
        of_symbol[symbol].add(reason)
        if reason in _COLOURING[phase]:
            needed[symbol].add(reason)
    for symbol, reasons in needed.items():
        cause = reasons - {ReasonCode.UNPRICEABLE}
        if symbol is not None and (cause or of_symbol[symbol] & _WAITED_FOR):
            reasons.discard(ReasonCode.UNPRICEABLE)
    pairs = ((symbol, reason) for symbol, reasons in needed.items() for reason in reasons)
    return tuple(Need(*pair) for pair in sorted(pairs, key=lambda pair: (pair[0] or "", pair[1])))
