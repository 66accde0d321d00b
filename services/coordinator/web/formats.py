"""Numbers and dates as text, by the server, in the reader's language. Unknown is a dash, never a zero."""

from __future__ import annotations

from datetime import UTC, date, datetime

from babel.dates import format_date, format_datetime
from babel.numbers import format_decimal, format_percent

from services.coordinator.web.texts import locale

UNKNOWN = "–"


def money(value: float | None, *, signed: bool = False) -> str:
    """1,234.56; with `signed` a plus before what is above zero."""
    return _decimal(value, "#,##0.00", signed=signed)


def whole(value: float | None, *, signed: bool = False) -> str:
    return _decimal(value, "#,##0", signed=signed)


def quantity(value: float | None) -> str:
    """As many decimals as there are, up to ten."""
    return _decimal(value, "#,##0.##########")


def price(value: float | None) -> str:
    """Two decimals at least, four at most: prices of cheap securities need them."""
    return _decimal(value, "#,##0.00##")


def number(value: float | None, digits: int = 2, *, signed: bool = False) -> str:
    return _decimal(value, f"#,##0.{'0' * digits}" if digits else "#,##0", signed=signed)


def percent(value: float | None, digits: int = 2, *, signed: bool = False) -> str:
    """A decimal as a percentage: 0.0163 is 1.63%."""
    if value is None:
        return UNKNOWN
    text = format_percent(_no_minus_zero(value, digits + 2), f"#,##0.{'0' * digits}%" if digits else "#,##0%", locale())
    return f"+{text}" if signed and round(value, digits + 2) > 0 else text


def day(value: str | date | None) -> str:
    """A session in a sentence: 31 Dec 2020. Tables keep YYYY-MM-DD, which sorts and lines up."""
    if value is None:
        return UNKNOWN
    of = date.fromisoformat(value) if isinstance(value, str) else value
    return str(format_date(of, "d MMM yyyy", locale()))


def instant(value: str | datetime | None) -> str:
    """To the minute, in UTC, and saying so."""
    return _in_utc(value, "d MMM yyyy, HH:mm")


def second(value: str | datetime | None) -> str:
    """To the second, where several things happen within a minute."""
    return _in_utc(value, "d MMM yyyy, HH:mm:ss")


def clock(value: str | datetime | None) -> str:
    return _in_utc(value, "HH:mm")


def _in_utc(value: str | datetime | None, pattern: str) -> str:
    if value is None:
        return UNKNOWN
    of = datetime.fromisoformat(value) if isinstance(value, str) else value
    return str(format_datetime(of.astimezone(UTC), pattern, locale=locale())) + " UTC"


def _decimal(value: float | None, pattern: str, *, signed: bool = False) -> str:
    if value is None:
        return UNKNOWN
    digits = len(pattern.partition(".")[2])
    text = str(format_decimal(_no_minus_zero(value, digits), pattern, locale()))
    return f"+{text}" if signed and round(value, digits) > 0 else text


def _no_minus_zero(value: float, digits: int) -> float:
    """What rounds to nothing has no sign."""
    return 0.0 if round(value, digits) == 0 else value
