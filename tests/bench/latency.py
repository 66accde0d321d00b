"""A morning on which many portfolios come at once, with symbols nobody held before, and a vendor who takes his time over each.

One replica of ingest asks about one symbol after the other, so its time is the vendor's; replicas ask side by side, each about the
portfolios of its partitions. The vendor is a server of this process that answers as Tiingo's documentation says, a call a symbol, and
lets each wait. What every portfolio needs (factors' proxies) is there before. A symbol must be asked for once, whoever needs it.
"""

from __future__ import annotations

import asyncio
import random
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import Any

import httpx2
import numpy as np

from shared.market.calendar import calendar
from shared.market.registry import PROXY_SYMBOLS, REFERENCE_ETFS
from shared.telemetry import configure_logging
from tests.bench import processes, steps
from tests.bench.measured import Found, Measured
from tests.bench.pipeline import LAST, PACE, wait_complete
from tests.bench.processes import Administrator, Site, busiest, completed, told
from tests.support import databases, pipeline
from tests.support.brokers import TestBroker
from tests.support.databases import Database
from tests.support.markets import World
from tests.support.vendors import Call, Reply, VendorServer, serving

REPLICAS = (1, 2, 4)
HELD, CREATED_AT_ONCE = 6, 8
WITHIN_SECONDS = 600.0
# Hashes of ids share out portfolios: of twenty-four the busiest of two has fourteen as a rule, of four nine.
GOALS: Mapping[int, float] = {2: 0.7, 4: 0.5}


@dataclass
class Vendor:
    """A market behind Tiingo's interface. seconds: how long each answer takes."""

    world: World
    seconds: float = 0.0
    _calls: Counter[str] = field(default_factory=Counter)

    def answer(self, call: Call) -> Reply:
        self._calls[call.path] += 1
        return replace(self.world.tiingo(call), delay=self.seconds)

    def calls(self) -> Counter[str]:
        """By what was asked for, since the last time."""
        found, self._calls = self._calls, Counter()
        return found


@dataclass(frozen=True)
class Morning:
    """Seconds until the last price was there, and until everything was complete; what each replica of ingest completed; calls."""

    prices: float
    everything: float
    shares: Mapping[str, int]
    calls: Counter[str]


def market(symbols: Sequence[str]) -> World:
    """Closes of three years of the symbols and of what every portfolio needs."""
    days = calendar().between(calendar().back(LAST, 800), LAST)
    names = [*symbols, *sorted({*PROXY_SYMBOLS, *REFERENCE_ETFS})]
    moves = np.random.default_rng(7).normal(0, 0.01, (len(names), len(days)))
    paths = np.round(100 * np.cumprod(1 + moves, axis=1), 4).tolist()
    return World(closes={name: dict(zip(days, path, strict=True)) for name, path in zip(names, paths, strict=True)})


def lots(world: World, symbols: Sequence[str], entry: date) -> list[dict[str, object]]:
    return [
        {"symbol": symbol, "quantity": 10, "entry_date": entry.isoformat(), "entry_price": world.closes[symbol][entry]}
        for symbol in symbols
    ]


async def prepare(server: databases.Server, broker: TestBroker, vendor: Vendor, url: str) -> Database:
    """One portfolio, so that what everybody needs is stored."""
    database = await databases.create(server)
    values: dict[str, Any] = {
        "providers": "tiingo", "tiingo_api_key": "t", "tiingo_url": url, "tiingo_quota": "unlimited",
        "reference_providers": "none", "provider_loopback": True,
    }  # fmt: skip
    async with pipeline.running(database, broker, as_of=LAST, **(PACE | values)) as leadline:
        first = await leadline.create(lots(vendor.world, [PROXY_SYMBOLS[0]], LAST))
        await leadline.complete(first, within=WITHIN_SECONDS)
        await leadline.quiet()
    return database


async def morning(site: Site, url: str, books: Sequence[list[dict[str, object]]]) -> tuple[float, float]:
    """Seconds from the first portfolio until the last price, and until everything is complete."""
    admin = Administrator(site.database.admin_url)
    turns = asyncio.Semaphore(CREATED_AT_ONCE)
    headers = {"Authorization": f"Bearer {processes.TOKEN}"}
    try:
        async with httpx2.AsyncClient(base_url=f"{url}/api/v1", timeout=60, headers=headers) as client:

            async def create(number: int, book: list[dict[str, object]]) -> None:
                body = {
                    "name": f"Morning {number}", "account_type": "taxable", "currency": "USD", "equity_balance": 100_000,
                    "flows": [], "positions": book,
                }  # fmt: skip
                async with turns:
                    answer = await client.post("/portfolios", json=body)
                assert answer.status_code == 201, answer.text

            [(began,)] = await admin.query("SELECT clock_timestamp()")
            await asyncio.gather(*(create(number, book) for number, book in enumerate(books)))
        # With the portfolio that was there before.
        await wait_complete(admin, LAST, 4 * (len(books) + 1), within=WITHIN_SECONDS)
        [(prices, everything)] = await admin.query(
            """SELECT extract(epoch FROM max(completed_at) FILTER (WHERE phase = 'ingest') - CAST(:began AS timestamptz)),
                      extract(epoch FROM max(completed_at) - CAST(:began AS timestamptz)) FROM ledger.units""",
            began=began,
        )
    finally:
        await admin.engine.dispose()
    return float(prices), float(everything)


def one_run(
    prepared: Database,
    broker: TestBroker,
    vendor: Vendor,
    server: VendorServer,
    replicas: int,
    books: Sequence[list[dict[str, object]]],
) -> Morning:
    database = databases.in_thread(lambda: processes.copy(prepared))
    with tempfile.TemporaryDirectory(prefix="leadline-bench-") as folder:
        of_file = {
            "LEADLINE_PROVIDERS": "tiingo", "LEADLINE_TIINGO_API_KEY": "t", "LEADLINE_TIINGO_QUOTA": "unlimited",
            "LEADLINE_REFERENCE_PROVIDERS": "none",
        }  # fmt: skip
        beside = {"LEADLINE_TIINGO_URL": server.url, "LEADLINE_PROVIDER_LOOPBACK": "true"}
        site = Site.of(database, broker, Path(folder), LAST, beside, **of_file)
        counts = dict.fromkeys(processes.COMPUTING, 1) | {"ingest": replicas}
        try:
            with site.computing(counts), site.coordinator() as coordinator:
                vendor.calls()
                prices, everything = asyncio.run(morning(site, coordinator.url, books))
        finally:
            databases.in_thread(lambda: databases.drop(database))
        return Morning(prices, everything, completed(site.folder)["ingest"], vendor.calls())


def run(portfolios: int, milliseconds: int) -> Found:
    configure_logging("bench", level="WARNING")
    symbols = [f"N{number:04d}" for number in range(HELD * portfolios)]
    random.Random(1).shuffle(symbols)
    vendor = Vendor(market(symbols))
    books = [lots(vendor.world, symbols[first : first + HELD], LAST) for first in range(0, len(symbols), HELD)]
    with steps.servers() as (server, broker), serving(vendor.answer) as stand_in:
        if broker.kind == "embedded":
            return Found([Measured("latency", "a vendor's answers, by replicas", None, note=processes.NEEDS_KAFKA)])
        prepared = asyncio.run(prepare(server, broker, vendor, stand_in.url))
        vendor.seconds = milliseconds / 1e3
        found = {replicas: one_run(prepared, broker, vendor, stand_in, replicas, books) for replicas in REPLICAS}
    return Found(figures(found, len(symbols), milliseconds / 1e3))


def figures(found: Mapping[int, Morning], symbols: int, seconds: float) -> list[Measured]:
    """Raises `AssertionError` where a symbol was asked for twice."""
    for count, each in found.items():
        again = {path: calls for path, calls in each.calls.items() if calls > 1}
        assert not again, f"with {count} replicas of ingest these were asked for again: {again}"
        assert len(each.calls) == symbols, f"{len(each.calls)} questions about {symbols} symbols"
    alone = found[min(found)]
    return [
        Measured(
            "latency", f"{symbols} symbols of {seconds:.1f} s each, {count} of ingest", each.prices, "s",
            note=f"{symbols * seconds:.0f} s of answers; everything complete after {each.everything:.1f} s;"
            f" {told({'ingest': each.shares})}, the busiest {busiest(each.shares):.0%}",
        )
        for count, each in found.items()
    ] + [
        Measured("latency", f"{count} of ingest against one", each.prices / alone.prices, "", GOALS[count])
        for count, each in found.items() if count in GOALS
    ]  # fmt: skip
