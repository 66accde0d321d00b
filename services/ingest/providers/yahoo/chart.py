"""Yahoo's chart document: bars and events of one symbol, read here and not by the libraries.

Both lose what matters: yfinance drops a payment's currency and cannot read a capital gain that has one, and moves a payment dated on a
Saturday to the Friday; yahooquery loses that payment, never asks for capital gains, and keeps the first of two rows of one day.
"""

import logging
from collections.abc import Iterator, Mapping
from datetime import date, datetime
from math import isnan
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from services.ingest.model.market import Action, LeftOut
from services.ingest.providers.errors import SchemaChanged
from services.ingest.providers.normalise import NAN, Row
from services.ingest.providers.transport.payload import Record
from services.ingest.providers.yahoo.events import read_events

URL = "https://query2.finance.yahoo.com/v8/finance/chart/"
EVENTS = "div,splits,capitalGains"
_NEW_YORK = "America/New_York"

log = logging.getLogger(__name__)


class Chart(NamedTuple):
    """`rows` in the vendor's order, perhaps several of one day; actions on the vendor's own dates, whether sessions or not."""

    meta: Record
    rows: list[Row]
    actions: list[Action]
    left_out: tuple[LeftOut, ...]


def parameters(range_: str) -> dict[str, str]:
    return {"range": range_, "interval": "1d", "events": EVENTS, "includePrePost": "false"}


def read(provider: str, result: Mapping[str, Any] | None) -> Chart:
    """One `result` of a chart. Raises `SchemaChanged` for what is not as Yahoo answers."""
    chart = Record(provider, "chart", result)
    meta = chart.record("meta")
    zone = _zone(provider, meta)
    rows = list(_rows(provider, chart, zone))
    actions, left_out = read_events(
        provider, chart, meta.opt_text("symbol") or "", rows, lambda one: _day(provider, one.number("date"), zone)
    )
    return Chart(meta, rows, actions, tuple(left_out))


def _zone(provider: str, meta: Record) -> ZoneInfo:
    """The exchange's: a day of a coin begins at midnight in London, which is yesterday in New York."""
    name = meta.opt_text("exchangeTimezoneName") or _NEW_YORK
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        raise SchemaChanged(provider, f"chart.meta.exchangeTimezoneName {name[:40]!r} is not a time zone") from None


def _rows(provider: str, chart: Record, zone: ZoneInfo) -> Iterator[Row]:
    if not chart.has("timestamp") or not (times := chart.numbers("timestamp")):
        return  # known, and not traded in the range
    indicators = chart.record("indicators")
    quote = next(indicators.records("quote"), None)
    if quote is None:
        raise SchemaChanged(provider, "chart.indicators.quote holds nothing")
    if quote.is_empty:
        return
    adjusted = next(indicators.records("adjclose", missing_is_empty=True), None)
    nothing = [NAN] * len(times)
    columns = [
        quote.numbers(name, length=len(times)) if name == "close" or quote.has(name) else nothing
        for name in ("open", "high", "low", "close")
    ]
    columns.append(
        adjusted.numbers("adjclose", length=len(times)) if adjusted and adjusted.has("adjclose") else nothing
    )
    columns.append(quote.numbers("volume", length=len(times)) if quote.has("volume") else nothing)
    timed = [(time, values) for time, *values in zip(times, *columns, strict=True) if not isnan(time)]
    if not timed:
        raise SchemaChanged(provider, "chart.timestamp holds no instants")
    for time, values in timed:  # a bar of no instant is nobody's
        yield Row(_day(provider, time, zone), *values)


def _day(provider: str, seconds: float, zone: ZoneInfo) -> date:
    try:
        return datetime.fromtimestamp(seconds, zone).date()
    except (ArithmeticError, OSError, ValueError):
        raise SchemaChanged(provider, f"chart: {seconds:g} is not an instant of a calendar year") from None
