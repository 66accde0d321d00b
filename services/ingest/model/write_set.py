"""What one write transaction is about."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from services.ingest.compute.requests import Presumed
from services.ingest.compute.returns import Gap
from services.ingest.store.aliases import Candidate, Found
from services.ingest.store.prices import ActionRow, SymbolRow
from services.ingest.store.profiles import Described
from services.ingest.store.quarantine import Jump


@dataclass(frozen=True, slots=True)
class Rows:
    """Everything one transaction writes about some symbols."""

    prices: list[tuple[Any, ...]]
    actions: list[ActionRow]
    symbols: list[SymbolRow]
    checked: dict[int, list[tuple[int, int]]]
    gaps: dict[int, list[Gap]]
    listed: list[tuple[int, date, date, str]] = field(default_factory=list)
    """(symbol id, first, last, provider): actions of that time are all listed; one that is not was withdrawn."""
    jumps: list[Jump] = field(default_factory=list)
    decided: dict[tuple[int, date], int] = field(default_factory=dict)
    """by (symbol id, session) an operator's decision that these rows follow"""
    renames: list[Found] = field(default_factory=list)
    candidates: list[Candidate] = field(default_factory=list)
    described: list[Described] = field(default_factory=list)
    """what came with the prices of what the symbols are"""
    chosen: dict[int, str | None] = field(default_factory=dict)
    """by symbol id what the user said it is, as it was when it was asked for"""


def without_asking(absent: Sequence[Presumed]) -> Rows:
    """Rows of absences that are known to go on."""
    checked: dict[int, list[tuple[int, int]]] = {}
    gaps: dict[int, list[Gap]] = {}
    symbols: dict[int, SymbolRow] = {}
    for known in absent:
        ask = known.ask
        checked.setdefault(ask.symbol_id, []).extend(ask.checked)
        gaps.setdefault(ask.symbol_id, []).append(known.gap)
        row = symbols.get(ask.symbol_id) or SymbolRow(ask.symbol_id, ask.first, ask.last)
        symbols[ask.symbol_id] = row._replace(first=min(row.first, ask.first), last=max(row.last, ask.last))
    return Rows([], [], list(symbols.values()), checked, gaps)
