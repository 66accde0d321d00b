"""How a file writes numbers and dates. Nothing but the plain notation is read unless a dialect is named: `1.000` is one
thousand in Berlin and one in Boston, and 03/04 is two different days."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date


@dataclass(frozen=True, slots=True)
class Dialect:
    """decimal: the decimal mark; dates: order of day and month in 03/04/2020, iso where such a date is refused;
    grouped: whether currency signs, thousands separators and negative numbers in parentheses are read."""

    name: str
    decimal: str
    dates: str
    grouped: bool
    means: str
    """For people: what is read."""


DIALECTS = {
    found.name: found
    for found in (
        Dialect("iso", ".", "iso", grouped=False, means="numbers as 1234.50, dates as YYYY-MM-DD"),
        Dialect("us", ".", "mdy", grouped=True, means="numbers as $1,234.50, (100) for -100, dates as MM/DD/YYYY"),
        Dialect("uk", ".", "dmy", grouped=True, means="numbers as 1,234.50, (100) for -100, dates as DD/MM/YYYY"),
        Dialect("eu", ",", "dmy", grouped=True, means="numbers as 1.234,50, (100) for -100, dates as DD.MM.YYYY"),
    )
}
PLAIN = DIALECTS["iso"]
MINUS = "\N{MINUS SIGN}"
_CURRENCIES = {
    "$": frozenset({"USD", "CAD", "AUD", "NZD", "HKD", "SGD", "MXN"}),
    "€": frozenset({"EUR"}),
    "£": frozenset({"GBP"}),
}

_PLAIN_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,2})?")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_ISO = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})(?:[ T;,].*)?", re.DOTALL)
_COMPACT = re.compile(r"([0-9]{4})([0-9]{2})([0-9]{2})(?:[ ;,T]\s*[0-9:]+(?: [A-Z]{2,4})?)?")
_YEAR_FIRST = re.compile(r"([0-9]{4})/([0-9]{1,2})/([0-9]{1,2})(?: .*)?")
_PARTS = re.compile(r"([0-9]{1,2})[/.-]([0-9]{1,2})[/.-]([0-9]{4}|[0-9]{2})(?:[ ,;T].*)?")
_NAMED = re.compile(r"([A-Za-z]{3})[a-z]*[- .]+([0-9]{1,2})[-, ]+([0-9]{4})(?: .*)?")
_NAMED_DAY_FIRST = re.compile(r"([0-9]{1,2})[- ]([A-Za-z]{3})[A-Za-z]*[- ]([0-9]{4}|[0-9]{2})(?:[ ,;].*)?")
_CLOCK = re.compile(
    r"[ ;,T]\s*([0-9]{1,2}):([0-9]{2})(?::([0-9]{2}))?(?:[.,][0-9]+)?\s*(?:([AP])\.?M\b)?", re.IGNORECASE
)
# Without colons: a year stands behind a blank too, and has four digits.
_COMPACT_CLOCK = re.compile(r"[ ;,T]\s*([0-9]{2})([0-9]{2})([0-9]{2})(?![0-9])|[;,T]\s*([0-9]{2})([0-9]{2})(?![0-9])")
_AS_OF = re.compile(r".+ as of (.+)", re.IGNORECASE)


def _pattern(group: str, mark: str) -> re.Pattern[str]:
    # Nobody groups after a leading 0: `0.123` is no thousands in Berlin either, and not read at all beats a thousandfold.
    number = rf"[1-9][0-9]{{0,2}}(?:{group}[0-9]{{3}})+(?:{mark}[0-9]*)?|[0-9]+(?:{mark}[0-9]*)?|{mark}[0-9]+"
    return re.compile(rf"([+-]?)\s*(?:US)?[$€£]?\s*([+-]?)\s*({number})\s*[$€£]?")


_GROUPED = {".": _pattern(",", r"\."), ",": _pattern(r"[. '\u00a0\u202f]", ",")}


def has_money_sign(text: str) -> bool:
    return any(sign in text for sign in _CURRENCIES)


def other_currency(text: str, currency: str) -> str | None:
    """The sign of money in a number that is none of a currency's; None where there is no such sign."""
    return next((sign for sign, own in _CURRENCIES.items() if sign in text and currency not in own), None)


def readings(text: str, read: Callable[[str, Dialect], str | None], chosen: str) -> str:
    """Which dialects beside the chosen one read a text, and as what, for a message; '' where none does."""
    found: dict[str, list[str]] = {}
    for dialect in DIALECTS.values():
        value = read(text, dialect) if dialect.grouped and dialect.name != chosen else None
        if value is not None:
            found.setdefault(value, []).append(f"dialect={dialect.name}")
    told = [
        f"{', '.join(names[:-1])}{' and ' if names[:-1] else ''}{names[-1]} read{'' if names[:-1] else 's'} it as {value}"
        for value, names in found.items()
    ]
    if chosen == PLAIN.name:
        return f"; in a file, {', '.join(told)}" if told else ""
    return "".join(f"; {each}" for each in (f"the file is read as dialect={chosen} ({DIALECTS[chosen].means})", *told))


def plain_number(text: str, dialect: Dialect) -> str | None:
    """The number in plain notation, or None where it is none of this dialect.

    The Unicode minus is read everywhere: it has one meaning, and spreadsheets write it.
    """
    text = text.strip().replace(MINUS, "-")
    if dialect.decimal == "." and _PLAIN_NUMBER.fullmatch(text):
        return text
    if not dialect.grouped:
        return None
    negative = text.startswith("(") and text.endswith(")")
    found = _GROUPED[dialect.decimal].fullmatch(text[1:-1].strip() if negative else text)
    if found is None:
        return None
    before, after, digits = found.groups()
    if (before and after) or (negative and (before or after)):
        return None
    mark = dialect.decimal
    whole, _, fraction = digits.partition(mark)
    plain = re.sub(r"[^0-9]", "", whole) or "0"
    if fraction:
        plain += "." + fraction
    return ("-" if negative or "-" in (before, after) else "") + plain


def plain_date(text: str, dialect: Dialect) -> str | None:
    """The date as YYYY-MM-DD, or None where it is none of this dialect. A time beside it is left away."""
    text = text.strip()
    if dialect.dates == "iso":
        return None
    later = _AS_OF.fullmatch(text)
    if later:
        # "11/16/2020 as of 11/13/2020": entered on the one, in force on the other.
        text = later[1].strip()
    for pattern in (_ISO, _COMPACT, _YEAR_FIRST):
        if found := pattern.fullmatch(text):
            return _day(*found.groups())
    if (found := _PARTS.fullmatch(text)) and not (dialect.dates == "mdy" and "." in text[: found.start(3)]):
        one, two, year = found.groups()
        month, day = (one, two) if dialect.dates == "mdy" else (two, one)
        return _day(_whole_year(year), month, day)
    if found := _NAMED.fullmatch(text):
        return _day_with_month_name(found[3], found[1], found[2])
    if found := _NAMED_DAY_FIRST.fullmatch(text):
        return _day_with_month_name(_whole_year(found[3]), found[2], found[1])
    return None


def time_of(text: str) -> str:
    """The time of day beside a date as six digits, '' where there is none: what orders the trades of one day."""
    if found := _CLOCK.search(text):
        hour = int(found[1])
        if found[4]:
            hour = hour % 12 + (12 if found[4] in "pP" else 0)
        return f"{hour:02d}{found[2]}{found[3] or '00'}"
    if found := _COMPACT_CLOCK.search(text):
        parts = [part for part in found.groups() if part]
        return "".join(parts).ljust(6, "0")
    return ""


def _whole_year(year: str) -> str:
    return year if len(year) == 4 else "20" + year


def _day_with_month_name(year: str, month: str, day: str) -> str | None:
    name = month.lower()
    return _day(year, str(_MONTHS.index(name) + 1), day) if name in _MONTHS else None


def _day(year: str, month: str, day: str) -> str | None:
    try:
        return date(int(year), int(month), int(day)).isoformat()
    except ValueError:
        return None


def wrong_character(text: str, *, dates: bool = False) -> str | None:
    """The first character that has no place in a plain number or date, for a message; None where the order is what is wrong."""
    allowed = "0123456789-" if dates else "0123456789.+-eE"
    for at, character in enumerate(text):
        # An exponent follows a digit: `EUR 50` holds a letter.
        if character not in allowed or (character in "eE" and not text[:at][-1:].isdecimal()):
            name = {" ": "a blank", "\u00a0": "a no-break blank", ",": "a comma", "/": "a slash"}.get(character)
            return name or f"{character!r} (U+{ord(character):04X})"
    return None
