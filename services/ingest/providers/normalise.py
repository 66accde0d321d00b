"""From a vendor's rows to `Bars`, and from our spelling of a symbol to the vendor's and back."""

import logging
import math
import re
from collections.abc import Iterable
from dataclasses import replace
from datetime import date, datetime
from typing import NamedTuple
from urllib.parse import quote
from zoneinfo import ZoneInfo

import numpy as np

from services.ingest.model.market import CURRENCY, Action, Bars, NoData, NoDataReason, ProviderErrorKind
from services.ingest.providers.errors import ForeignCurrency, SchemaChanged
from shared.market.calendar import Calendar
from shared.market.symbols import SymbolKind, classify, normalise

# Every spelling a vendor of ours uses; what does not match is never put into a URL.
_SYMBOL = re.compile(r"[A-Z0-9^][A-Z0-9.\-=^]{0,29}")
# Letters of share classes. Others are exchanges: VOD.L is London's, not a class of VOD; nor is BMW.F (Frankfurt) one.
_SHARE_CLASS = re.compile(r"([A-Z]{1,5})\.([A-EG-K])")
NAN = math.nan
_NEW_YORK = ZoneInfo("America/New_York")
# Prices of before many reverse splits are large on today's basis. Far below what overflows when it is converted.
PRICE_AT_MOST = 1e18

log = logging.getLogger(__name__)


class Row(NamedTuple):
    """One day as delivered; NaN or null where the vendor has no value."""

    day: date
    open: float | None
    high: float | None
    low: float | None
    close: float | None
    adj_close: float | None
    volume: float | None


def market_day(instant: datetime) -> date:
    """The exchange's date at an instant (aware): what a vendor says of today it says of this one."""
    return instant.astimezone(_NEW_YORK).date()


def bars(rows: Iterable[Row], first: date, last: date, calendar: Calendar, *, split_adjusted: bool) -> Bars:
    """Rows within [first, last] on sessions, ascending, the last of several for one day, each with a close or adjusted close.

    A price of zero or below is no price: a vendor that has none writes 0, and a zero would be a loss of everything. Nor is one
    that no conversion could hold.
    """
    kept: dict[date, tuple[float, ...]] = {}
    elsewhere: list[date] = []
    for row in rows:
        if first <= row.day <= last:
            prices = [_positive(value) for value in (row.open, row.high, row.low, row.close, row.adj_close)]
            if not calendar.is_session(row.day):
                elsewhere.append(row.day)
            elif not (math.isnan(prices[3]) and math.isnan(prices[4])):
                kept[row.day] = (*prices, _volume(row.volume))
    if elsewhere:  # one line: a coin has a bar on each day of each weekend
        log.warning(
            "%d bars on days that are no sessions were dropped, from %s to %s",
            len(elsewhere), min(elsewhere), max(elsewhere),
        )  # fmt: skip
    days = sorted(kept)
    columns = np.array([kept[day] for day in days], dtype=np.float64).reshape(len(days), 6)
    open_, high, low, close, adj_close, volume = (np.ascontiguousarray(columns[:, index]) for index in range(6))
    return Bars(
        sessions=np.array(days, dtype="datetime64[D]"),
        open=open_,
        high=high,
        low=low,
        close=close,
        adj_close=adj_close,
        volume=volume,
        split_adjusted=split_adjusted,
    )


def unadjust_dividends(actions: Iterable[Action]) -> tuple[Action, ...]:
    """Actions whose dividends a vendor states on today's shares, with dividends as paid on the shares of their day.

    A split on the ex-date itself is not after it: on that day both are in the price.
    """
    listed = sorted(actions, key=lambda action: (action.ex_date, action.type))
    splits = [action for action in listed if action.type == "split"]
    return tuple(
        replace(action, value=action.value * math.prod(s.value for s in splits if s.ex_date > action.ex_date))
        if action.type == "dividend"
        else action
        for action in listed
    )


def to_vendor(symbol: str, separator: str) -> str | None:
    """A vendor's spelling of a stored symbol, whose class shares have a dot; None if it is no symbol a market could know."""
    name = normalise(symbol)
    if not _SYMBOL.fullmatch(name) or classify(name) is SymbolKind.PRIVATE:
        return None
    return _SHARE_CLASS.sub(rf"\1{separator}\2", name) if _SHARE_CLASS.fullmatch(name) else name


def from_vendor(vendor_symbol: str) -> str:
    """Our spelling of what a vendor calls a symbol."""
    return normalise(vendor_symbol)


def encode_path_segment(vendor_symbol: str) -> str:
    """For one segment of a URL path: `^` and the like percent-encoded, a slash impossible."""
    return quote(vendor_symbol, safe="")


def is_ours(currency: str) -> bool:
    """Whether prices in `currency` are in dollars, however it is written. A small letter at the end is a hundredth: GBp, USd."""
    name = currency.strip()
    return name.upper() == CURRENCY and name[:-1].isupper() <= name[-1:].isupper()


def assert_currency(provider: str, symbol: str, currency: str | None) -> None:
    """Raises `ForeignCurrency` unless prices in `currency` are ours; one that a vendor does not tell is its market's, ours."""
    if currency is not None and not is_ours(currency):
        raise ForeignCurrency(provider, f"{symbol} is priced in {currency}; nothing is converted to {CURRENCY}")


def check_listing_date(provider: str, first: date, today: date) -> date:
    """The first day of trading, as told on `today`. Raises `SchemaChanged` for one that has not come."""
    if first > today:
        raise SchemaChanged(provider, f"trading that began on {first} can not be")
    return first


def is_foreign_listing(vendor_symbol: str) -> bool:
    """Whether the symbol names an exchange abroad by its suffix, as VOD.L or 7203.T do; a share class is no such suffix."""
    return "." in vendor_symbol and not _SHARE_CLASS.fullmatch(vendor_symbol)


def invalid_symbol(symbol: str) -> NoData:
    return NoData(
        symbol,
        NoDataReason.NOT_FOUND,
        fault=ProviderErrorKind.BAD_SYMBOL,
        detail=f"{symbol[:40]!r} is not a symbol that a vendor could know",
    )


def _positive(value: float | None) -> float:
    return float(value) if value is not None and 0 < value <= PRICE_AT_MOST else NAN


def _volume(value: float | None) -> float:
    return float(value) if value is not None and math.isfinite(value) and value >= 0 else NAN
