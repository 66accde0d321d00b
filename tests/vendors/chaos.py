"""Every fault of the provider matrix, on one symbol of thirty, on the profile path and on a whole vendor; what became of the others.

Time is jumped over, from one moment that somebody waits for to the next; the product's own windows and pauses are as long as ever.
"""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any
from uuid import UUID

import numpy as np
from yfinance.data import YfData

from services.ingest.model.market import Request
from services.ingest.providers.chain import Chain
from services.ingest.providers.fmp.provider import Fmp
from services.ingest.providers.massive.provider import Massive
from services.ingest.providers.network import NetworkProvider
from services.ingest.providers.quota.rate_limited import RateLimitedProvider, SharedRateLimiter
from services.ingest.providers.tiingo.provider import Tiingo
from services.ingest.providers.transport.http import Bounds
from services.ingest.providers.yahoo.yahooquery import YahooQuery
from services.ingest.providers.yahoo.yfinance import Yahoo
from services.ingest.workflow import IngestWorker
from services.ingest.workflow.profiles import Profiles
from services.ingest.workflow.quotas import DatabaseQuota, Loop, account_of
from shared.clock import Clock
from shared.market.calendar import exchange_calendar
from tests.contract.providers.test_faults import FAILURES
from tests.store.ingest.conftest import DAYS, LAST, Ingest
from tests.support import vendors
from tests.support.markets import World
from tests.support.vendors import Call, Reply, document, reply, serving
from tests.vendors.passing import NEXT, let_pass

SYMBOLS, ODD = 30, 7
ENTRY = DAYS.back(LAST, 4)
SCOPES = ("symbol", "profiles", "vendor")
# Timeouts of a second, and retries without waiting.
QUICK = Bounds(connect=1.0, read=0.6, deadline=1.5, max_bytes=2_000_000, attempts=2, wait_initial=0.01, wait_max=0.02)
# Whoever is refused waits an hour at most, and looks again within a few minutes of it. An unknown symbol is asked for again in three days.
HOUR, THREE_DAYS = 75.0, 3 * 1440 + 75.0
UNKNOWN = {"404"}


@dataclass(frozen=True)
class Vendor:
    """Where it answers about prices and about profiles (empty: nothing), and its adapter at an address."""

    name: str
    prices: str
    profiles: str
    make: Callable[[str, SharedRateLimiter], NetworkProvider]


VENDORS = {
    vendor.name: vendor
    for vendor in (
        Vendor("yahoo", "/v8/finance/chart/", "^/(v10|v7|ws)/", lambda url, gate: Yahoo(
            exchange_calendar, gate=gate, endpoint=url, allow_loopback=True, bounds=QUICK)),
        Vendor("yahooquery", "/v8/finance/chart/", "^/(v10|v7|ws)/", lambda url, gate: YahooQuery(
            exchange_calendar, gate=gate, endpoint=url, allow_loopback=True, bounds=QUICK)),
        Vendor("massive", "/v2/aggs/", "/v3/reference/tickers/|/stocks/financials/", lambda url, gate: Massive(
            "good", exchange_calendar, gate=gate, base_url=url, allow_loopback=True, bounds=QUICK)),
        Vendor("fmp", "/historical-price-eod/", "/profile|-statement|/quote|/earnings", lambda url, gate: Fmp(
            "good", exchange_calendar, gate=gate, base_url=f"{url}/stable", allow_loopback=True, bounds=QUICK)),
        Vendor("tiingo", "/tiingo/daily/", "", lambda url, gate: Tiingo(
            "good", exchange_calendar, gate=gate, base_url=url, allow_loopback=True, bounds=QUICK)),
    )
}  # fmt: skip


@dataclass
class StandIn:
    """The vendor, with a fault where the scope says, while it lasts."""

    vendor: Vendor
    world: World
    scope: str
    fault: Reply
    odd: str
    lasts: bool = True
    calls: int = 0

    def __call__(self, call: Call) -> Reply:
        self.calls += 1
        return self.fault if self.lasts and self._meets(call) else self._answer(call)

    def _meets(self, call: Call) -> bool:
        if self.scope == "profiles":
            return re.search(self.vendor.profiles, call.path) is not None
        about = self.scope == "vendor" or self.odd in call.path or call.query.get("symbol") == self.odd
        return about and re.search(self.vendor.prices, call.path) is not None

    def _answer(self, call: Call) -> Reply:
        name = call.path.rsplit("/", 1)[1]
        if self.vendor.name == "massive":
            if call.path == f"/v3/reference/tickers/{name}":
                body = document("massive", "ticker_details")
                body["results"]["ticker"] = name
                return reply(body)
            return self.world.massive(call)
        if self.vendor.name == "fmp":
            if name == "profile":
                return reply([document("fmp", "profile")[0] | {"symbol": call.query["symbol"]}])
            return self.world.fmp(call)
        if self.vendor.name == "tiingo":
            return self.world.tiingo(call)
        if "/quoteSummary/" in call.path:
            known = Call(call.path.replace(name, "AAPL"), call.query, call.headers)
            body = json.loads(vendors.yahoo(known).body)
            body["quoteSummary"]["result"][0]["quoteType"]["symbol"] = name
            return reply(body)
        return self.world.yahoo(call)


@dataclass(frozen=True)
class Outcome:
    """Minutes of the product's time until the others were priced, and after the fault until all were; what was said meanwhile."""

    vendor: str
    scope: str
    fault: str
    others: float
    named: str
    healed: float
    calls: int
    seconds: float
    problems: tuple[str, ...] = ()


@dataclass
class Trial:
    """One fault in one place. `number` makes symbols that nobody asked for before."""

    ingest: Ingest
    vendor: Vendor
    scope: str
    fault: str
    number: int
    symbols: int = SYMBOLS
    problems: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.names = [f"N{self.number:03d}S{index:02d}" for index in range(self.symbols)]
        self.odd = self.names[min(ODD, self.symbols - 1)]
        self.truth = dict(zip(self.names, series(self.symbols), strict=True))

    async def run(self) -> Outcome:
        began = time.perf_counter()
        await self._clear()
        world = World(closes=self.truth | dict.fromkeys(("SPY", "QQQ"), next(iter(self.truth.values()))))
        stand_in = StandIn(self.vendor, world, self.scope, FAILURES[self.fault][0], self.odd)
        with serving(stand_in) as server, self._asked(server.url) as profiles:
            portfolio = await self.ingest.portfolio(*((name, ENTRY) for name in self.names))
            await self.ingest.run(portfolio)
            others = (
                [] if self.scope == "vendor" else [n for n in self.names if n != self.odd or self.scope == "profiles"]
            )
            early = 0.0 if self.scope == "profiles" else HOUR
            waited = await self._until(lambda: self._right(others), portfolio, early, "the others are not priced")
            if self.scope == "profiles":
                await self._profiles_fail(profiles)
            named = await self._named(portfolio)
            stand_in.lasts = False
            bound = THREE_DAYS if self.fault in UNKNOWN else HOUR
            healed = await self._until(lambda: self._whole(portfolio), portfolio, bound, "not all are priced")
            if self.scope == "profiles":
                healed += await self._profiles_come(profiles, portfolio)
        return Outcome(
            self.vendor.name, self.scope, self.fault, waited, named, healed, stand_in.calls, time.perf_counter() - began,
            tuple(self.problems),
        )  # fmt: skip

    @contextmanager
    def _asked(self, url: str) -> Iterator[Profiles]:
        """The ingest phase on that vendor alone, under a quota that is not what this is about."""
        YfData._instances.clear()
        engine, loop = self.ingest.worker._engine, Loop()
        counted = "yahoo" if self.vendor.name == "yahooquery" else self.vendor.name
        quota = DatabaseQuota(engine, loop, self.vendor.name, account_of(counted, ""), ())
        gate = SharedRateLimiter(quota)
        adapter = self.vendor.make(url, gate)
        provider = RateLimitedProvider(adapter, gate, quota, _of_today, counted)
        self.adapter, self.gate = adapter, gate
        self.ingest.worker = IngestWorker(engine, Chain([provider], exchange_calendar), Clock(LAST), bind=loop.bind)
        try:
            yield Profiles(engine, [provider], loop.bind)
        finally:
            adapter.close()

    async def _clear(self) -> None:
        """Everything but the proxies, which are known."""
        for table in (
            "ingest.quota_uses", "ingest.providers", "ingest.profile_schedule", "ingest.symbol_profiles", "ledger.units",
            "ledger.schedule", "coordinator.positions", "coordinator.portfolios", "bus.outbox",
        ):  # fmt: skip
            await self.ingest.execute(f"DELETE FROM {table}")
        await self.ingest.execute(
            "DELETE FROM ingest.gaps WHERE symbol_id IN (SELECT id FROM ingest.symbols WHERE symbol LIKE 'N%S%')"
        )

    # --- time

    async def _until(self, well: Callable[[], Any], portfolio: UUID, bound: float, problem: str) -> float:
        """Minutes until it is well; noted as a problem where that takes longer than it may."""
        minutes = 0.0
        while not await well():
            if minutes >= bound:
                self.problems.append(f"{problem} after {minutes:.0f} minutes")
                return minutes
            minutes += await self._next_moment(portfolio)
        if minutes > bound:
            self.problems.append(f"{problem} before {minutes:.0f} minutes")
        return minutes

    async def _next_moment(self, portfolio: UUID) -> float:
        """Go to the next moment that somebody waits for, and let everybody do what is due then."""
        [(seconds,)] = await self.ingest.rows(NEXT)
        ahead = max(1.0, 0.05 + float(60.0 if seconds is None else seconds))
        await self._pass(ahead)
        for _ in range(20):
            if not await self.ingest.worker.retry_due():
                break
        await self.ingest.run(portfolio)
        return ahead / 60

    async def _pass(self, seconds: float) -> None:
        """For what is written down, and for what adapter and gate keep in memory."""
        await let_pass(self.ingest.execute, seconds)
        time = timedelta(seconds=seconds)
        refused = self.gate.companies._refused
        if refused is not None and refused.retry_at is not None:
            refused.retry_at -= time
        session = getattr(self.adapter, "_session", None)
        if session is not None:
            if session._profiles._until is not None:
                session._profiles._until -= time
            if session._crumbs._kept is not None:
                session._crumbs._kept = (session._crumbs._kept[0] - time, session._crumbs._kept[1])

    # --- what is there

    async def _right(self, names: Sequence[str]) -> bool:
        """Whether all of them are priced, on every session held, as the market was."""
        found: dict[str, dict[date, float]] = {}
        for symbol, session, close in await self.ingest.rows(
            "SELECT s.symbol, p.session, p.close FROM ingest.prices p JOIN ingest.symbols s ON s.id = p.symbol_id"
            " WHERE s.symbol = ANY (CAST(:names AS text[])) AND p.session >= :entry",
            names=list(names),
            entry=ENTRY,
        ):
            found.setdefault(symbol, {})[session] = close
        sessions = DAYS.between(ENTRY, LAST)
        for name, closes in found.items():
            wrong = [day for day, close in closes.items() if not math.isclose(close, self.truth[name][day])]
            if wrong:
                self.problems.append(f"{name} has a wrong price on {wrong[0]}")
        return all(found.get(name, {}).keys() >= set(sessions) for name in names)

    async def _whole(self, portfolio: UUID) -> bool:
        units = await self.ingest.units(portfolio)
        done = all(u.completed_revision >= u.required_revision and not u.provisional for u in units.values())
        return done and {u.quality for u in units.values()} == {"complete"} and await self._right(self.names)

    async def _named(self, portfolio: UUID) -> str:
        """What a person is told of what waits: by the unit that went on without it, or by the phase that waits for it."""
        if self.scope == "profiles":
            return ""
        units = await self.ingest.units(portfolio)
        reasons = {(r["symbol"], r["reason"]) for u in units.values() for r in u.reasons if r["symbol"] in self.names}
        [(waits,)] = await self.ingest.rows("SELECT last_error FROM ledger.schedule WHERE phase = 'ingest'")
        if await self.ingest.missing(portfolio):
            named = waits or ""
            expected = self.odd if self.scope == "symbol" else f"({self.vendor.name})"
            if expected not in named:
                self.problems.append(f"what waits is not named: {named!r}")
            return str(named)
        wanted = {self.odd} if self.scope == "symbol" else set(self.names)
        if {symbol for symbol, _ in reasons} != wanted:
            self.problems.append(f"what is lacking is not named: {sorted(reasons)}")
        return ", ".join(sorted({reason for _, reason in reasons})) + f": {len(reasons)}"

    # --- profiles

    async def _profiles_fail(self, profiles: Profiles) -> None:
        """They are asked for in vain; then prices are asked for and come all the same. A limit of a key is on its prices too."""
        await self.ingest.execute("UPDATE ingest.quota_uses SET at = at - interval '1 hour'")
        for _ in range(6):
            await profiles.refresh_one(LAST)
        another = await self.ingest.portfolio((self.names[0], DAYS.back(LAST, 30)))
        await self.ingest.run(another)
        limited = self.fault.startswith("429") and not self.vendor.name.startswith("yahoo")
        await self._until(
            lambda: self._done(another),
            another,
            HOUR if limited else 0.0,
            "prices that are asked for while profiles fail are not there",
        )

    async def _done(self, portfolio: UUID) -> bool:
        return not await self.ingest.missing(portfolio)

    async def _profiles_come(self, profiles: Profiles, portfolio: UUID) -> float:
        minutes = 0.0
        while minutes < THREE_DAYS:
            for _ in range(6):
                await profiles.refresh_one(LAST)
            if await self.ingest.rows("SELECT 1 FROM ingest.symbol_profiles LIMIT 1"):
                return minutes
            await self._pass(1800.0)
            minutes += 30 + await self._next_moment(portfolio)
        self.problems.append("no profile came")
        return minutes


def _of_today(request: Request) -> bool:
    return (request.last - request.first).days < 14


def series(count: int) -> list[dict[date, float]]:
    """So many paths of closes, long enough for the window of the first session."""
    sessions = DAYS.between(date(2018, 6, 1), LAST)
    steps = np.random.default_rng(7).normal(0, 0.01, (count, len(sessions)))
    paths = np.round(100 * np.cumprod(1 + steps, axis=1), 4)
    return [dict(zip(sessions, path, strict=True)) for path in paths.tolist()]
