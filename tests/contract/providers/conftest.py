"""Each vendor behind one shape, so that one case is asked of all of them."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import Any

import pytest

from services.ingest.providers.fmp.provider import Fmp
from services.ingest.providers.massive.provider import Massive
from services.ingest.providers.network import NetworkProvider
from services.ingest.providers.tiingo.provider import Tiingo
from services.ingest.providers.transport.gate import LocalRateLimiter, RateLimiter
from services.ingest.providers.transport.http import Bounds
from services.ingest.providers.yahoo.yahooquery import YahooQuery
from services.ingest.providers.yahoo.yfinance import Yahoo
from shared.market.calendar import exchange_calendar
from tests.support import vendors
from tests.support.vendors import VendorServer, serving

NOW = datetime(2020, 9, 3, 1, 0, tzinfo=UTC)
FIRST, LAST = date(2020, 8, 5), date(2020, 9, 2)
# Short, so that a timeout is a matter of a second; retries without waiting.
QUICK = Bounds(connect=1.0, read=0.6, deadline=1.5, max_bytes=2_000_000, attempts=2, wait_initial=0.01, wait_max=0.02)
# For what is expected to hang: whatever else it is asked for may come late as well, and says the same then.
IMPATIENT = replace(QUICK, read=0.15, deadline=0.5)
needs_yahooquery = pytest.mark.skipif(
    importlib.util.find_spec("yahooquery") is None, reason="the extra `yahooquery` is not installed"
)


@dataclass
class Case:
    """A vendor's adapter and the server it talks to. `data` matches the path of prices."""

    name: str
    server: VendorServer
    make: Callable[..., NetworkProvider]
    data: str
    vendor: NetworkProvider

    def lose_patience(self) -> None:
        """Who is about to be kept waiting need not wait long."""
        self.vendor.close()
        self.vendor = self.make(self.server, LocalRateLimiter(now=lambda: NOW, trip_after=1000), IMPATIENT, "good", NOW)


def _massive(
    server: VendorServer, gate: RateLimiter | None, bounds: Bounds, key: str, now: datetime
) -> NetworkProvider:
    return Massive(
        key, exchange_calendar, gate=gate, base_url=server.url, allow_loopback=True, bounds=bounds, now=lambda: now
    )


def _fmp(server: VendorServer, gate: RateLimiter | None, bounds: Bounds, key: str, now: datetime) -> NetworkProvider:
    url = f"{server.url}/stable"
    return Fmp(key, exchange_calendar, gate=gate, base_url=url, allow_loopback=True, bounds=bounds, now=lambda: now)


def _tiingo(server: VendorServer, gate: RateLimiter | None, bounds: Bounds, key: str, now: datetime) -> NetworkProvider:
    return Tiingo(
        key, exchange_calendar, gate=gate, base_url=server.url, allow_loopback=True, bounds=bounds, now=lambda: now
    )


def _yahoo(server: VendorServer, gate: RateLimiter | None, bounds: Bounds, key: str, now: datetime) -> NetworkProvider:
    return Yahoo(exchange_calendar, gate=gate, endpoint=server.url, allow_loopback=True, bounds=bounds, now=lambda: now)


def _yahooquery(
    server: VendorServer, gate: RateLimiter | None, bounds: Bounds, key: str, now: datetime
) -> NetworkProvider:
    return YahooQuery(
        exchange_calendar, gate=gate, endpoint=server.url, allow_loopback=True, bounds=bounds, now=lambda: now
    )


_MAKERS: dict[str, tuple[Any, Any, str]] = {
    "massive": (_massive, vendors.massive, "/v2/aggs/"),
    "fmp": (_fmp, vendors.fmp, "/historical-price-eod/"),
    "yahoo": (_yahoo, vendors.yahoo, "/v8/finance/chart/"),
    "yahooquery": (_yahooquery, vendors.yahoo, "/v8/finance/chart/"),
    "tiingo": (_tiingo, vendors.tiingo, "/tiingo/daily/"),
}
# What has prices and neither profiles nor statements is asked in a module of its own.
PRICES_ONLY = {"tiingo"}
ALL = [
    pytest.param(name, marks=needs_yahooquery if name == "yahooquery" else ())
    for name in _MAKERS
    if name not in PRICES_ONLY
]


@contextmanager
def running(
    name: str, *, gate: RateLimiter | None = None, bounds: Bounds = QUICK, key: str = "good", now: datetime = NOW
) -> Iterator[Case]:
    maker, answer, data = _MAKERS[name]
    with serving(answer) as server:
        # Without a breaker: each question of a test is really asked.
        vendor = maker(server, gate or LocalRateLimiter(now=lambda: now, trip_after=1000), bounds, key, now)
        made = Case(name, server, maker, data, vendor)
        try:
            yield made
        finally:
            made.vendor.close()


@pytest.fixture(params=ALL)
def case(request: pytest.FixtureRequest) -> Iterator[Case]:
    with running(request.param) as made:
        yield made


@pytest.fixture
def massive() -> Iterator[Case]:
    with running("massive") as made:
        yield made


@pytest.fixture
def fmp() -> Iterator[Case]:
    with running("fmp") as made:
        yield made


@pytest.fixture
def yahoo() -> Iterator[Case]:
    with running("yahoo") as made:
        yield made


@pytest.fixture
def tiingo() -> Iterator[Case]:
    with running("tiingo") as made:
        yield made
