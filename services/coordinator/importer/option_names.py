"""Options as brokers spell them, as OCC symbols.

Fidelity      -AAPL210115C130
Schwab        AAPL 01/15/2021 130.00 C
IBKR          AAPL  210115C00130000 (the OCC form, padded), AAPL 15JAN21 130 C
Robinhood     AAPL 1/15/2021 Call $130.00
E*TRADE       AAPL Jan 15 '21 $130 Call
thinkorswim   .AAPL210115C130, AAPL_011521C130
in words      AAPL Jan 15 2021 $130 Call, AAPL 15 Jan 2021 130 Call, AAPL 2021-01-15 130 C, CALL AAPL 01/15/21 130.000
"""

from __future__ import annotations

import re
from datetime import date
from decimal import Decimal

from shared.market.symbols import normalise, occ_symbol, parse_occ

_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
# BRK/B, BRK.B and "BRK B" are written as they are for the share.
_ROOT = r"(?P<root>[A-Z]{1,5}(?:[./ ][A-Z]|[A-Z0-9])?)"
_STRIKE = r"(?P<strike>[0-9]{1,5}(?:\.[0-9]{1,3})?)"
_SPELLINGS = tuple(
    re.compile(pattern)
    for pattern in (
        rf"[-.]?{_ROOT}(?P<yy>\d\d)(?P<mm>\d\d)(?P<dd>\d\d)(?P<side>[CP]){_STRIKE}",
        rf"{_ROOT} (?P<mm>\d\d?)/(?P<dd>\d\d?)/(?:20)?(?P<yy>\d\d) \$?{_STRIKE} (?P<side>[CP])(?:ALL|UT)?",
        rf"{_ROOT} (?P<dd>\d\d?)(?P<month>[A-Z]{{3}})(?P<yy>\d\d) {_STRIKE} (?P<side>[CP])",
        rf"{_ROOT} (?P<mm>\d\d?)/(?P<dd>\d\d?)/(?:20)?(?P<yy>\d\d) (?P<side>[CP])(?:ALL|UT) \$?{_STRIKE}",
        rf"{_ROOT} (?P<month>[A-Z]{{3}}) (?P<dd>\d\d?) (?:'|20)?(?P<yy>\d\d) \$?{_STRIKE} (?P<side>[CP])(?:ALL|UT)?",
        rf"{_ROOT}_(?P<mm>\d\d)(?P<dd>\d\d)(?P<yy>\d\d)(?P<side>[CP]){_STRIKE}",
        rf"{_ROOT} (?P<mm>\d\d?)/(?P<dd>\d\d?)/(?:20)?(?P<yy>\d\d) (?P<side>[CP])\$?{_STRIKE}",
        rf"{_ROOT} (?P<dd>\d\d?) (?P<month>[A-Z]{{3}}) (?:20)?(?P<yy>\d\d) \$?{_STRIKE} (?P<side>[CP])(?:ALL|UT)?",
        rf"(?P<side>[CP])(?:ALL|UT) {_ROOT} (?P<mm>\d\d?)/(?P<dd>\d\d?)/(?:20)?(?P<yy>\d\d) \$?{_STRIKE}(?: EXP)?",
        rf"{_ROOT} 20(?P<yy>\d\d)-?(?P<mm>\d\d)-?(?P<dd>\d\d) \$?{_STRIKE} (?P<side>[CP])(?:ALL|UT)?",
    )
)
_PREFIX = re.compile(r"OPTION (?:EXPIRATION|ASSIGNMENT|EXERCISE) FOR ")

# Letters, a date, a side and a number: no ticker is built so.
_OPTION_LIKE = re.compile(r"[-._]*\d?[A-Z]{1,6}\d?[-._]*(?:\d{6}|\d{8})[-._]*[CP](?:ALL|UT)?[-._]*\d[\d.]*")


def looks_like_option(symbol: str) -> bool:
    """Whether a symbol is built as an option's is, and is no OCC symbol."""
    return parse_occ(symbol) is None and _OPTION_LIKE.fullmatch(symbol.upper()) is not None


def occ_of(text: str) -> str | None:
    """The OCC symbol that a broker's spelling means; None where it is no option."""
    spelled = _PREFIX.sub("", " ".join(text.upper().replace(",", "").split()))
    plain = normalise(spelled.removeprefix("-"))
    if parse_occ(plain) is not None:
        return plain
    for pattern in _SPELLINGS:
        found = pattern.fullmatch(spelled)
        if found is None:
            continue
        parts = found.groupdict()
        month = parts.get("mm") or (str(_MONTHS.index(parts["month"]) + 1) if parts.get("month") in _MONTHS else "0")
        try:
            expiration = date(2000 + int(parts["yy"]), int(month), int(parts["dd"]))
            return occ_symbol(
                parts["root"], expiration, "CALL" if parts["side"] == "C" else "PUT", Decimal(parts["strike"])
            )
        except ValueError:
            return None
    return None
