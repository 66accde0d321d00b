"""Numbers that name a security and are no ticker: no price source answers to them, so they are told apart before one is asked."""

from __future__ import annotations

import re

_ISIN = re.compile(r"[A-Z]{2}[A-Z0-9]{9}[0-9]")
_FIGI = re.compile(r"BBG[A-Z0-9]{8}[0-9]")
_CUSIP = re.compile(r"[A-Z0-9]{8}[0-9]")
# No listing without a suffix has seven digits and no letter.
_SEDOL = re.compile(r"[0-9]{7}")
_SEDOL_WEIGHTS = (1, 3, 1, 7, 3, 9, 1)
# Fewer, and it may be a name of the user's own that passes the check by chance.
_DIGITS = 4


def identifier_of(symbol: str) -> str | None:
    """What kind of number a symbol is, as `an ISIN`; None where it may be a ticker.

    symbol : as `normalise` leaves it
    """
    if _FIGI.fullmatch(symbol):
        return "a FIGI"
    if _ISIN.fullmatch(symbol):
        if _isin_digit(symbol[:11]) == symbol[11]:
            return "an ISIN"
        return "an ISIN with a wrong check digit" if _digits(symbol) >= _DIGITS else None
    if _CUSIP.fullmatch(symbol) and _digits(symbol[:8]) >= _DIGITS and _cusip_digit(symbol[:8]) == symbol[8]:
        return "a CUSIP"
    # A spreadsheet takes a leading zero from what it holds for a number.
    if symbol.isdecimal() and len(symbol) == 8 and _cusip_digit(f"0{symbol[:7]}") == symbol[7]:
        return "a CUSIP that lost its leading zero"
    if _SEDOL.fullmatch(symbol) and sum(int(d) * w for d, w in zip(symbol, _SEDOL_WEIGHTS, strict=True)) % 10 == 0:
        return "a SEDOL"
    return None


def no_ticker(symbol: str, kind: str) -> str:
    """What to say of such a symbol, as a sentence and its remedy."""
    return (
        f"{symbol} is {kind}, not a ticker. Write the ticker, or name it for the whole file: symbols {symbol}=TICKER (--symbol). "
        "What has no ticker is investment_class PRIVATE, at the value you state."
    )


def _digits(text: str) -> int:
    return sum(character.isdecimal() for character in text)


def _isin_digit(body: str) -> str:
    """Luhn's digit over the characters as numbers, a letter as two digits."""
    digits = [int(digit) for character in body for digit in str(int(character, 36))]
    doubled = [digit * 2 if place % 2 == 0 else digit for place, digit in enumerate(reversed(digits))]
    return str(-sum(digit // 10 + digit % 10 for digit in doubled) % 10)


def _cusip_digit(body: str) -> str:
    """Every second value doubled, digits of the products added up."""
    values = [int(character, 36) * (1 + place % 2) for place, character in enumerate(body)]
    return str(-sum(value // 10 + value % 10 for value in values) % 10)
