"""How far an edit of a lot reaches: from which session on, and from which phase. Pure; exactly what differs is computed again."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

from services.coordinator.importer.basis_model import DOUBTFUL
from shared.market.symbols import is_cash_like
from shared.work import Phase

# No number depends on these but where the functions below say so; the effective quantity and prices stand beside what was stated.
_LABELS = frozenset({
    "name", "investment_subtype", "basis_reason", "stated_quantity", "stated_entry_price", "stated_exit_price",
})  # fmt: skip
# The date itself counts, too: a dividend belongs to who held the lot on its ex-date.
_EXIT = frozenset({"exit_date", "exit_session", "exit_price"})


def edit_scope(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[date, Phase] | None:
    """The first session and phase whose inputs differ between two states of a lot; None if no number does.

    A closed lot stays in the book, so its exit price matters from the exit on. When it is held matters to what is fetched and
    to the coverage of ingest; a sector only to risk. Whatever is not known to be harmless counts from the entry, from the start.
    """
    differing = {column for column in before if before[column] != after[column]}
    money = is_cash_like(before["investment_subtype"]) is not is_cash_like(after["investment_subtype"])
    # Whether the numbers are doubtful is said beside every snapshot of the lot.
    doubted = "basis_reason" in differing and not DOUBTFUL.isdisjoint((before["basis_reason"], after["basis_reason"]))
    differing -= _LABELS
    if money:
        differing.add("investment_subtype")
    if not differing:
        return (min(before["entry_session"], after["entry_session"]), Phase.SNAPSHOTS) if doubted else None
    if differing <= _EXIT and not doubted:
        exits = [lot["exit_session"] for lot in (before, after) if lot["exit_session"] is not None]
        return min(exits), Phase.INGEST if "exit_session" in differing else Phase.SNAPSHOTS
    entry = min(before["entry_session"], after["entry_session"])
    return entry, Phase.RISK if differing == {"sector"} and not doubted else Phase.INGEST
