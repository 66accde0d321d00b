"""Names of sectors: the eleven of GICS, and what vendors call them. One table for what is held and for what it is compared with."""

from __future__ import annotations

from functools import lru_cache

UNCLASSIFIED = "Unclassified"
ETF = "ETF"
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


# Asked once for each holding and session, of few names.
@lru_cache(maxsize=4096)
def gics(name: str | None) -> str | None:
    """The GICS name of a vendor's sector; an unknown name stays as it is, since it still tells holdings apart."""
    if name is None or not name.strip():
        return None
    return _BY_KEY.get(_key(name), name.strip())
