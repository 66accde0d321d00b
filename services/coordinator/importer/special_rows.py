"""Rows of a broker's file that are no position: totals, cash, pending, footers. Each is named to the user, none is dropped
silently."""

from __future__ import annotations

import re
from collections.abc import Sequence

from services.coordinator.importer.model import Issues
from services.coordinator.importer.presets import Preset

_TOTAL = re.compile(
    r"(?:grand |sub ?|account |positions |portfolio |transactions )*totals?(?: .*)?|.* totals?"
    r"|(?:gesamt|zwischen)?summe|gesamt(?:wert)?|totaal|totale|somme|suma",
    re.IGNORECASE,
)
_CASH = re.compile(
    r"(?:(?:free|available|settled|unsettled|uninvested|core) )?"
    r"cash(?: ?(?:&|and) .+| balances?| sweep.*| position| equivalents?| held.*| ?\(.+\))?"
    r"|(?:core|sweep|settlement) (?:account|fund|position)|(?:bank )?sweep|us dollars?|money market",
    re.IGNORECASE,
)
_PENDING = re.compile(r"(?:pending|unsettled)(?: activity| transactions?| trades?| orders?)?", re.IGNORECASE)
_FOOTER = re.compile(
    r"date downloaded .*|generated (?:at|on) .*|exported .*|downloaded .*|\*+.*|disclaimer.*|.*\bfor informational purposes\b.*",
    re.IGNORECASE | re.DOTALL,
)
# BRK B.
_TICKER_WORDS = 2
# A sentence: nobody's ticker has six words.
_WORDS = 6
_NUMBER = re.compile(r"[-+($ ]*[0-9][0-9.,]*\)?")


def say_no_class(row: int, symbol: str, kind: str, issues: Issues) -> None:
    issues.warn(
        row, "symbol", "not_placed",
        f"Row {row} is left out: {symbol or 'it'} is of the kind {kind!r}, which is neither a share nor a listed option. Enter it as "
        "investment_class PRIVATE, at the value you state, if it is to count.", symbol,
    )  # fmt: skip


def _is_prose(told: Sequence[str], symbol: str, *, own: bool) -> bool:
    """Whether cells are a sentence, which commas without quotes may have cut: a position has two numbers at least.

    own : the columns are Leadline's own, of which none holds long words but the name
    """
    cut = not own or " " in symbol
    numbers = sum(_NUMBER.fullmatch(cell) is not None for cell in told[1:])
    long = len(told[0].split()) >= _WORDS or (own and cut and sum(len(cell.split()) for cell in told) > 2 * _WORDS)
    return long and numbers < (2 if cut else 1)


def reason(cells: Sequence[str], symbol: str, preset: Preset | None, filled: int) -> str | None:
    """What a row is instead of a position, for "row 9: a total"; None where it may be one.

    symbol : the cell of the symbol; filled: how many of the cells that a position needs it has
    """
    told = [cell for cell in cells if cell]
    if not told:
        return "an empty row"
    # Where there is no symbol, the first cell in words: cash may stand in columns of its own.
    said = symbol or next((cell for cell in told if not _NUMBER.fullmatch(cell)), told[0])
    first = " ".join(said.rstrip(":").replace("-", " ").split())
    if (len(told) == 1 and _FOOTER.fullmatch(told[0])) or _is_prose(told, symbol, own=preset is None):
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
    return "a footer" if len(told) == 1 and len(told[0].split()) > _TICKER_WORDS else None
