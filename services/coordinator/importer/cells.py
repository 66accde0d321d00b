"""One cell to one value. Each function returns the value, or None after reporting what is wrong and how to put it right."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal

from services.coordinator.importer import dialects
from services.coordinator.importer.model import Issues
from shared.market.symbols import normalise
from shared.text import printable, unprintable

MAX_DECIMALS = 10
# Far above any holding, far below what the columns and the 64-bit money arrays can hold.
MAX_QUANTITY = Decimal(10) ** 12
MAX_PRICE = Decimal(10) ** 9
MAX_VALUE = Decimal(10) ** 13
MAX_SYMBOL = 100
# A broker's name of a security is not longer.
_NAME = 30

# A letter or a digit among them: brokers write a lone dash or dot where there is nothing.
_SYMBOL = re.compile(r"(?=[._-]*[A-Za-z0-9])[A-Za-z0-9._-]+")
# Digits are ASCII on purpose, and an exponent has two at most: `Decimal` would take both further than a column can.
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,2})?")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_DAY_AND_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ;,]+[0-9]{1,2}:[0-9]{2}.*")


@dataclass(frozen=True, slots=True)
class NumberCodes:
    """The codes of one numeric column: missing, not a number, sign or zero, too many decimals."""

    missing: str
    not_a_number: str
    sign: str
    decimals: str


QUANTITY = NumberCodes("ERR_POS_004", "ERR_POS_005", "ERR_POS_006", "ERR_POS_007")
PRICE = NumberCodes("ERR_POS_008", "ERR_POS_009", "ERR_POS_010", "ERR_POS_011")
STRIKE = NumberCodes("ERR_POS_020", "ERR_POS_020", "ERR_POS_020", "ERR_POS_020")
OUT_OF_RANGE = "ERR_POS_024"
UNPRINTABLE = "ERR_TEXT_001"
# What the signs mean, where a number may be negative.
LONG_OR_SHORT = "a positive number for long, a negative one for short"
IN_OR_OUT = "a positive amount for money in, a negative one for money out"


@dataclass(frozen=True, slots=True)
class DateCodes:
    """The codes of one date column: missing, not a date, in the future, before the calendar begins."""

    missing: str
    not_a_date: str
    future: str
    too_old: str


DATE = DateCodes("ERR_POS_012", "ERR_POS_013", "ERR_POS_014", "ERR_POS_015")
EXPIRY = DateCodes("ERR_POS_021", "ERR_POS_021", "ERR_POS_021", "ERR_POS_021")


def number(text: str) -> Decimal | None:
    """A finite decimal, or None. Thousands separators, currency signs, NaN and infinity are not numbers here."""
    # The Unicode minus means one thing, and spreadsheets write it.
    text = text.replace(dialects.MINUS, "-")
    return Decimal(text) if _NUMBER.fullmatch(text) else None


def decimals(value: Decimal) -> int:
    """Digits after the point that carry information."""
    # Not `normalize()`: it rounds to the context's 28 digits, and so hides what lies beyond them.
    _, digits, exponent = value.as_tuple()
    assert isinstance(exponent, int)
    zeros = next((index for index, digit in enumerate(reversed(digits)) if digit), len(digits))
    return max(0, -exponent - zeros)


def plain_text(value: object, *, none: str = "") -> str:
    """A value as a cell says it, equal ones alike: 100 and 100.0 are "100". `none`: where there is no value."""
    if isinstance(value, Decimal):
        return format(value.normalize(), "f")
    return none if value is None else str(value)


def words(text: str, row: int | None, column: str, issues: Issues, *, lines: bool = True) -> str | None:
    """A name, label or note; None where it is empty, or holds a character that acts on what shows it.

    lines : it may have tabs and several lines
    """
    found = unprintable(text, lines=lines)
    if found is None:
        return text or None
    # Without it in the value: an answer is read on terminals too.
    issues.error(
        row,
        column,
        UNPRINTABLE,
        f"{column} holds the control or invisible character {found}. Remove it.",
        printable(text),
    )
    return None


def symbol(text: str, row: int, column: str, issues: Issues) -> str | None:
    """The symbol in its one stored spelling, so `BRK/B` and a padded OCC symbol pass as what they mean."""
    symbol = normalise(text)
    # With a slash in it, it would be a class of share.
    if not text or text.casefold() == "n/a":
        issues.error(row, column, "ERR_POS_001", "There is no symbol. Write the ticker, such as AAPL.")
    elif len(text) > MAX_SYMBOL:
        issues.error(row, column, "ERR_POS_002", f"The symbol is over {MAX_SYMBOL} characters.", text)
    elif not _SYMBOL.fullmatch(symbol):
        issues.error(
            row,
            column,
            "ERR_POS_003",
            f"Symbol {text!r} may hold only letters, digits, dot, hyphen and underscore, and at least one letter or digit. "
            f"{_ticker_remedy(text)}; a row that is no position, delete.",
            text,
        )
    else:
        return symbol
    return None


def _ticker_remedy(text: str) -> str:
    """Brokers mark money market funds with stars."""
    fund = re.fullmatch(r"([A-Za-z]{3,5})\*+", text)
    if fund is None:
        named = (
            f", or name it for the whole file: symbols {text}=TICKER (--symbol)"
            if " " in text and len(text) <= _NAME
            else ""
        )
        return f"Write the ticker alone, such as AAPL{named}"
    return f"Write {fund[1].upper()} with investment_subtype MONEY_MARKET if it is a money market fund"


def amount(
    text: str,
    row: int,
    column: str,
    codes: NumberCodes,
    limit: Decimal,
    issues: Issues,
    *,
    signed: str | None = None,
    zero: bool = False,
) -> Decimal | None:
    """A number of up to ten decimals within the limit; positive, or not zero where `signed`, which says what the signs mean.

    zero : it may be zero, too: what expired or was cancelled is closed for nothing, what was granted is entered for nothing
    """
    if not text:
        issues.error(row, column, codes.missing, f"There is no {column}. Write a number, such as 12.50.")
        return None
    value = number(text)
    if value is None:
        issues.error(
            row,
            column,
            codes.not_a_number,
            f"{column} {text!r} is not a number{_because(text)}. Write digits, with a point in decimals"
            f"{' and a minus for negative' if signed is not None else ''}, such as 1234.50"
            f"{dialects.readings(text, dialects.plain_number, issues.dialect)}.",
            text,
        )
    elif signed is not None and value == 0:
        issues.error(
            row,
            column,
            codes.sign,
            f"{column} is zero. Use {signed}.",
            text,
        )
    elif signed is None and (value < 0 or (value == 0 and not zero)):
        least = "must not be negative" if zero else "must be above zero"
        issues.error(
            row,
            column,
            codes.sign,
            f"{column} {text} {least}. A short position has a negative quantity, not a negative price."
            if value < 0 and column.endswith("price")
            else f"{column} {text} {least}. Correct it.",
            text,
        )
    elif decimals(value) > MAX_DECIMALS:
        issues.error(row, column, codes.decimals, f"{column} {text} has over {MAX_DECIMALS} decimals. Round it.", text)
    elif abs(value) > limit:
        issues.error(row, column, OUT_OF_RANGE, f"{column} {text} is beyond {limit:,f}. Check its unit.", text)
    else:
        return value
    return None


def day(
    text: str, row: int, column: str, codes: DateCodes, issues: Issues, *, first: date, last: date | None
) -> date | None:
    """A date as YYYY-MM-DD in [first, last]; `last` None allows the future."""
    if not text:
        issues.error(row, column, codes.missing, f"There is no {column}. Write it as YYYY-MM-DD.")
        return None
    value = iso_date(text)
    if value is None:
        issues.error(
            row,
            column,
            codes.not_a_date,
            f"{column} {text!r} is not a date{_serial(text) or _time_remark(text) or _because(text, dates=True)}. Write it as YYYY-MM-DD"
            f"{dialects.readings(text, dialects.plain_date, issues.dialect)}.",
            text,
        )
    elif last is not None and value > last:
        issues.error(
            row,
            column,
            codes.future,
            f"{column} {text} is in the future; today is {last} in New York. Correct it.",
            text,
        )
    elif value < first:
        issues.error(
            row,
            column,
            codes.too_old,
            f"{column} {text} is before {first}, where the exchange calendar begins. Enter it on that day, at its "
            "value then.",
            text,
        )
    else:
        return value
    return None


def _because(text: str, *, dates: bool = False) -> str:
    """Which character is in the way."""
    found = dialects.wrong_character(text, dates=dates)
    return "" if found is None else f": it holds {found}"


def _time_remark(text: str) -> str:
    """A time beside the day."""
    return ": a time stands beside it, which is read under a dialect" if _DAY_AND_TIME.fullmatch(text) else ""


def _serial(text: str) -> str:
    """A spreadsheet's number of a day, which a column without a date format is saved as."""
    if re.fullmatch(r"[0-9]{5}", text) and 20_000 <= int(text) <= 80_000:
        day = date(1899, 12, 30) + timedelta(days=int(text))
        return f": a spreadsheet counts {day} so; give the column a date format before saving"
    return ""


def iso_date(text: str) -> date | None:
    if not _DATE.fullmatch(text):
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None
