"""One symbol classifier for every service: what a symbol is, whatever the day and whoever asks.

Pure: nothing here knows a date of today, a price or a provider. An expired option is still an option.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import StrEnum
from types import MappingProxyType


class SymbolKind(StrEnum):
    PUBLIC = "PUBLIC"
    OPTION = "OPTION"
    PRIVATE = "PRIVATE"


# Holdings in older files that look like tickers and are none: they have a stated value and no market.
SYNTHETIC = frozenset(
    {
        "HOME_EQUITY", "TREASURY_BILLS", "CRYPTO_BTC_ETH", "TWO_SIGMA_FUND", "A16Z_VC_FUND", "STARWOOD_REIT",
        "BX_PRIVATE_EQUITY", "RENTAL_SFH", "ART_COLLECTIBLES", "RENTAL_CONDO", "MONEY_MARKET", "EQ5D6A2D8F",
    }
)  # fmt: skip

# EQ_ and FO_ mark private holdings. A bare EQ does not: EQIX, EQT, EQR and EQH are listed companies, so a generated
# name must be EQ and exactly eight hexadecimal digits, which is longer than any listed ticker.
_PRIVATE_PREFIXES = ("FO_", "EQ_", "CASH_")
_GENERATED = re.compile(r"EQ[0-9A-F]{8}")
# The root may end in a digit (an adjusted contract); then YYMMDD, C or P, and the strike in thousandths.
_OCC = re.compile(r"([A-Z]{1,5}[A-Z0-9]?)(\d{2})(\d{2})(\d{2})([CP])(\d{8})")
_TERMS_LENGTH = len("YYMMDDC00000000")
# An OCC root has no dot; that these are classes of share with listed options is known, and of no other root can it be told.
_CLASS_ROOTS = {
    "BRKB": "BRK.B",
    "BFA": "BF.A",
    "BFB": "BF.B",
    "HEIA": "HEI.A",
    "LENB": "LEN.B",
    "RDSA": "RDS.A",
    "RDSB": "RDS.B",
}
# BRK.B, BRK-B, BRK/B and "BRK B" are one share class. One letter only: BTC-USD and BF.PR.A are left alone.
_SHARE_CLASS = re.compile(r"([A-Z]{1,5})[.\-/ ]([A-Z])")
# A sweep account or a money market fund keeps its price: what it earns comes as new shares or as money in.
CASH_SUBTYPES = ("CASH", "MONEY_MARKET")
CASH_SYMBOL = "CASH"
_INVESTMENT_CLASSES: Mapping[str, SymbolKind] = MappingProxyType(
    {
        "PUBLIC": SymbolKind.PUBLIC,
        "OPTION": SymbolKind.OPTION,
        "OPTIONS": SymbolKind.OPTION,
        "PRIVATE": SymbolKind.PRIVATE,
    }
)


@dataclass(frozen=True, slots=True)
class Occ:
    """An option contract as its OCC symbol names it. `strike` is in money per share."""

    underlying: str
    expiration: date
    option_type: str  # CALL | PUT
    strike: Decimal


def normalise(text: str) -> str:
    """The one spelling under which a symbol is stored: upper case, class shares with a dot, OCC without blanks.

    >>> normalise(" brk-b "), normalise("O:AAPL201218C00120000"), normalise("AAPL  201218C00120000")
    ('BRK.B', 'AAPL201218C00120000', 'AAPL201218C00120000')
    """
    symbol = text.strip().upper()
    option = symbol.removeprefix("O:").replace(" ", "")
    if _OCC.fullmatch(option):
        return option
    share_class = _SHARE_CLASS.fullmatch(symbol)
    return f"{share_class[1]}.{share_class[2]}" if share_class else symbol


def parse_occ(symbol: str) -> Occ | None:
    """The contract of a normalised OCC symbol; None if it is not one (an impossible date is not one either)."""
    # Most symbols are shorter than any contract's.
    match = _OCC.fullmatch(symbol) if len(symbol) > _TERMS_LENGTH else None
    if match is None:
        return None
    root, year, month, day, side, strike = match.groups()
    try:
        expiration = date(2000 + int(year), int(month), int(day))
    except ValueError:
        return None
    # The digit of an adjusted contract is not part of the underlying's name.
    name = root.rstrip("0123456789")
    return Occ(_CLASS_ROOTS.get(name, name), expiration, "CALL" if side == "C" else "PUT", Decimal(strike) / 1000)


def occ_symbol(underlying: str, expiration: date, option_type: str, strike: Decimal) -> str:
    """The OCC symbol of a contract, without padding. `ValueError` where the contract has none.

    An option must never be stored under its underlying's symbol: it would be valued at the share's price.
    """
    thousandths = strike * 1000
    if thousandths != thousandths.to_integral_value() or not 0 < thousandths < 10**8:
        raise ValueError(f"strike {strike} has no OCC form")
    if option_type.upper() not in ("CALL", "PUT"):
        raise ValueError(f"option type {option_type!r} is neither CALL nor PUT")
    root = normalise(underlying).replace(".", "")
    symbol = f"{root}{expiration:%y%m%d}{option_type.upper()[0]}{int(thousandths):08d}"
    if parse_occ(symbol) is None:
        raise ValueError(f"{underlying!r} {expiration} has no OCC form")
    return symbol


def classify(symbol: str, investment_class: str | None = None) -> SymbolKind:
    """What a symbol is. `investment_class` is what the user stated: PUBLIC, OPTIONS, PRIVATE or nothing.

    A stated PRIVATE stands. Otherwise a pattern that can mean one thing only (names reserved for private holdings, OCC) decides
    over what was stated, so that every service sees the same kind; and a symbol without such a pattern is what was stated, else
    public. An underscore is no such pattern: brokers write them into tickers.
    """
    stated = _INVESTMENT_CLASSES.get((investment_class or "").strip().upper())
    if stated is SymbolKind.PRIVATE:
        return SymbolKind.PRIVATE
    name = normalise(symbol)
    if parse_occ(name) is not None:
        return SymbolKind.OPTION
    if name in SYNTHETIC or name.startswith(_PRIVATE_PREFIXES) or _GENERATED.fullmatch(name):
        return SymbolKind.PRIVATE
    return stated or SymbolKind.PUBLIC


def is_cash_like(subtype: str | None) -> bool:
    """Whether a lot of this subtype is money, worth its stated price on every session: never asked for, covered, beta 0."""
    return subtype in CASH_SUBTYPES
