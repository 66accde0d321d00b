"""What a list of a fund's holdings must be. Pure; everything that is wrong is found at once, with row and remedy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from services.coordinator.errors import Invalid
from services.coordinator.importer import cells
from services.coordinator.importer.model import Issues
from services.coordinator.importer.parse import cell_text
from shared.market.sectors import GICS, gics
from shared.market.symbols import normalise

# Published weights are rounded: a sum this little above 1 is rescaled, a larger one is a mistake. Below 1 is what is not told: money,
# derivatives, a list of the largest ten alone.
TOLERANCE = Decimal("0.01")
MOST_SYMBOL = 32


@dataclass(frozen=True, slots=True)
class FundHoldings:
    """Sorted by symbol; weights sum to at most 1."""

    symbol: str
    date: date
    holdings: tuple[str, ...]
    weights: tuple[float, ...]
    sectors: tuple[str, ...]
    """GICS names; empty where none is said."""


def symbol_of(text: str) -> str:
    """The one spelling of a symbol. Raises `Invalid`."""
    symbol = normalise(text)
    if not symbol or len(symbol) > MOST_SYMBOL or not symbol.isprintable() or " " in symbol:
        raise Invalid(f"{text[:100]!r} is no symbol of a fund: write its ticker, such as SPY.")
    return symbol


def check(symbol: str, day: date, rows: Sequence[Mapping[str, object]], today: date) -> FundHoldings:
    """The list as it will be stored. Raises `Invalid` with every fault.

    rows  : symbol, weight of the fund's value as a decimal (0.07 is 7 %), sector or none. Rows of one symbol are added up
    today : the newest date that is not in the future
    """
    fund = symbol_of(symbol)
    issues = Issues()
    if day > today:
        message = f"date {day} is in the future; today is {today} in New York."
        issues.error(None, "date", "ERR_FUND_001", message, str(day))
    if not rows:
        message = "There are no holdings. Give each symbol its weight, such as 0.07."
        issues.error(None, "holdings", "ERR_FUND_002", message)
    weights: dict[str, Decimal] = {}
    sectors: dict[str, str] = {}
    for number, row in enumerate(rows, 1):
        name, weight, sector = (
            _name(row, fund, number, issues),
            _weight(row, number, issues),
            _sector(row, number, issues),
        )
        if name is not None and weight is not None and sector is not None:
            weights[name] = weights.get(name, Decimal(0)) + weight
            sectors[name] = sectors.get(name) or sector
    total = sum(weights.values(), Decimal(0))
    # Of weights that are wrong one by one the sum says nothing.
    if not issues.refused and total > 1 + TOLERANCE:
        remedy = "Write decimals: 0.07 is 7 %." if total > 2 else "Is a holding there twice?"
        message = f"The weights sum to {total.normalize():f}, more than 1. {remedy}"
        issues.error(None, "weight", "ERR_FUND_006", message, str(total))
    if not issues.refused and total == 0:
        issues.error(None, "weight", "ERR_FUND_006", "The weights are all 0: nothing would be looked through.", "0")
    if issues.refused:
        raise Invalid(
            f"Holdings of {fund} of {day}: {issues.total} error{'s' if issues.total > 1 else ''}; nothing was saved.",
            errors=[issue.document() for issue in issues.errors],
        )
    names = tuple(sorted(weights))
    whole = max(total, Decimal(1))
    return FundHoldings(
        fund, day, names, tuple(float(weights[name] / whole) for name in names), tuple(sectors[name] for name in names)
    )


def _name(row: Mapping[str, object], fund: str, number: int, issues: Issues) -> str | None:
    text = cell_text(row.get("symbol"))
    name = normalise(text)
    if not name or len(name) > MOST_SYMBOL or not name.isprintable() or " " in name:
        message = f"{text[:100]!r} is no symbol. Write a ticker; leave out money and what has none."
        issues.error(number, "symbol", "ERR_FUND_003", message, text)
        return None
    if name == fund:
        issues.error(number, "symbol", "ERR_FUND_003", f"{fund} holds itself. Leave the row out.", text)
        return None
    return name


def _weight(row: Mapping[str, object], number: int, issues: Issues) -> Decimal | None:
    text = cell_text(row.get("weight")).strip()
    value = cells.number(text)
    if value is None:
        said = f"{text[:100]!r} is not a number" if text else "is not there"
        message = f"The weight {said}. Write a decimal, such as 0.07 for 7 %."
        issues.error(number, "weight", "ERR_FUND_004", message, text)
        return None
    if value < 0:
        message = f"The weight is {text[:100]}, below 0. Leave short positions out: they stay the fund's own."
        issues.error(number, "weight", "ERR_FUND_004", message, text)
        return None
    return value


def _sector(row: Mapping[str, object], number: int, issues: Issues) -> str | None:
    """Empty where none is said; None where what is said is no sector."""
    text = cell_text(row.get("sector")).strip()
    if not text:
        return ""
    name = gics(text)
    if name in GICS:
        return name
    message = (
        f"{text[:100]!r} is no GICS sector, nor a vendor's name of one. There are {', '.join(GICS)}. Or leave it empty."
    )
    issues.error(number, "sector", "ERR_FUND_005", message, text)
    return None
