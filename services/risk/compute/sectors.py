"""Sectors of holdings and of portfolios (docs/methods.md §10)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from services.risk.compute.inputs import Kind

UNCLASSIFIED = "Unclassified"
ETF = "ETF"
FUND_TYPES = frozenset({"etf", "etn", "fund", "mutual_fund", "mutualfund"})
GICS = (
    "Communication Services",
    "Consumer Discretionary",
    "Consumer Staples",
    "Energy",
    "Financials",
    "Health Care",
    "Industrials",
    "Information Technology",
    "Materials",
    "Real Estate",
    "Utilities",
)
# What vendors call the GICS sectors; compared without regard to case, spaces and punctuation.
VENDOR_NAMES = {
    "Technology": "Information Technology",
    "Tech": "Information Technology",
    "Healthcare": "Health Care",
    "Financial Services": "Financials",
    "Financial": "Financials",
    "Consumer Cyclical": "Consumer Discretionary",
    "Consumer Defensive": "Consumer Staples",
    "Basic Materials": "Materials",
    "Communications": "Communication Services",
    "Communication": "Communication Services",
    "Telecommunication Services": "Communication Services",
    "Telecommunications": "Communication Services",
    "Realestate": "Real Estate",
    "Industrial": "Industrials",
    "Utility": "Utilities",
    "ETFs": ETF,
}


def _key(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())


_BY_KEY = {_key(name): name for name in (*GICS, ETF, UNCLASSIFIED)} | {_key(k): v for k, v in VENDOR_NAMES.items()}


def gics(name: str | None) -> str | None:
    """The GICS name of a vendor's sector; an unknown name stays as it is, since it still tells holdings apart."""
    if name is None or not name.strip():
        return None
    return _BY_KEY.get(_key(name), name.strip())


@dataclass(frozen=True, slots=True)
class SymbolSector:
    """What is known of a symbol: its type, and its sector with the date from which it was known (None: always)."""

    asset_type: str
    sector: str | None
    as_of: date | None


def sector_on(session: date, kind: Kind, symbol: SymbolSector | None, stated: str | None) -> str:
    """Sector of a holding as known on `session`: a fund is `ETF`, else the symbol's, else the user's, else `Unclassified`.

    For an option pass what is known of its underlying: a sector's money is where the risk is.
    """
    if kind != Kind.PRIVATE and symbol is not None:
        if symbol.asset_type.lower() in FUND_TYPES:
            return ETF
        known = gics(symbol.sector)
        if known is not None and (symbol.as_of is None or symbol.as_of <= session):
            return known
    return gics(stated) or UNCLASSIFIED


@dataclass(frozen=True, slots=True)
class SectorWeight:
    """Fractions of NAV, None where NAV is not positive."""

    sector: str
    long: float | None
    short: float | None
    net: float | None
    gross: float | None


def sector_weights(
    sectors: Sequence[str], long: Sequence[float], short: Sequence[float], nav: float
) -> list[SectorWeight]:
    """Long, short (<= 0), net and gross of each sector over NAV, by name. Arguments run over the holdings in their sorted order."""
    totals: dict[str, list[float]] = {}
    for sector, up, down in zip(sectors, long, short, strict=True):
        total = totals.setdefault(sector, [0.0, 0.0])
        total[0] += up
        total[1] += down
    if not nav > 0.0:
        return [SectorWeight(sector, None, None, None, None) for sector in sorted(totals)]
    return [
        SectorWeight(sector, up / nav, down / nav, (up + down) / nav, (up - down) / nav)
        for sector, (up, down) in sorted(totals.items())
    ]
