"""Rows of a broker's file that are no position: totals, cash, pending, footers. Each is named to the user, none is dropped
silently."""

from __future__ import annotations

import re
from collections.abc import Sequence

from services.coordinator.importer.presets import Preset

_TOTAL = re.compile(
    r"(?:grand |sub ?|account |positions |portfolio |transactions )*totals?(?: .*)?|.* totals?", re.IGNORECASE
)
_CASH = re.compile(r"cash(?: ?(?:&|and) cash investments?| balance| sweep)?|(?:core|sweep) account", re.IGNORECASE)
_PENDING = re.compile(r"pending(?: activity| transactions?)?", re.IGNORECASE)
_FOOTER = re.compile(
    r"date downloaded .*|generated (?:at|on) .*|exported .*|downloaded .*|\*+.*|disclaimer.*|.*\bfor informational purposes\b.*",
    re.IGNORECASE | re.DOTALL,
)
# A sentence: nobody's ticker has six words.
_WORDS = 6


def reason(cells: Sequence[str], symbol: str, preset: Preset | None, filled: int) -> str | None:
    """What a row is instead of a position, for "row 9: a total"; None where it may be one.

    symbol : the cell of the symbol; filled: how many of the cells that a position needs it has
    """
    told = [cell for cell in cells if cell]
    if not told:
        return "an empty row"
    first = symbol or told[0]
    if len(told) == 1 and (_FOOTER.fullmatch(told[0]) or len(told[0].split()) >= _WORDS):
        return "a footer"
    if _PENDING.fullmatch(first):
        return "pending activity"
    # `TOTAL` and `CASH` with a quantity, a date and a price are what the user says they are.
    if filled >= 4 and preset is None:
        return None
    if _TOTAL.fullmatch(first):
        return "a total"
    if _CASH.fullmatch(first):
        return "cash"
    if preset is not None and any(pattern.fullmatch(first) for pattern in preset.skip):
        return "cash" if "total" not in first.casefold() else "a total"
    return None
