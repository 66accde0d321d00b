"""The whole ingest phase on vendors' adapters: outages, quotas, dead symbols, and what is asked for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache

import numpy as np
import pytest

from deploy.doctor import check_providers
from services.ingest.model.market import Answer, NoData, NoDataReason, Request
from services.ingest.providers.chain import Chain
from services.ingest.providers.quota.limits import Quota, Window
from services.ingest.providers.registry import create_providers
from services.ingest.settings import IngestSettings
from services.ingest.workflow import IngestWorker
from services.ingest.workflow.quotas import Breaker, DatabaseQuota, Loop, account_of
from shared.clock import Clock
from shared.market.calendar import exchange_calendar
from shared.market.registry import PROXY_SYMBOLS, REFERENCE_ETFS
from tests.store.ingest.conftest import DAYS, LAST, Ingest, Market
from tests.support.markets import World
from tests.support.vendors import Reply, VendorServer, serving

ENTRY = DAYS.back(LAST, 9)
COMMON = {*PROXY_SYMBOLS, *REFERENCE_ETFS}
DOWN = Reply(b"{}", 500)


@dataclass
class Vendors:
    """An ingest worker on Massive and FMP, whose servers answer about one world."""

    ingest: Ingest
    world: World
    massive: VendorServer
    fmp: VendorServer

    async def until_quiet(self, seconds: float = 40.0) -> None:
        """What the service's background loop does, until nothing waits."""
        async with asyncio.timeout(seconds):
            while await self.ingest.rows("SELECT 1 FROM ingest.gaps WHERE NOT terminal LIMIT 1"):
                if not await self.ingest.worker.retry_due():
                    await asyncio.sleep(0.05)

    async def hour_passes(self) -> None:
        await self.ingest.execute(
            "UPDATE ingest.providers SET closed_until = closed_until - interval '1 hour', probe_until = NULL"
        )
        await self.ingest.execute("UPDATE ingest.gaps SET retry_at = retry_at - interval '1 hour'")


def quote(world: World, *symbols: str, first: date = date(2018, 1, 2)) -> None:
    for symbol in symbols:
        world.closes[symbol] = dict(_path(symbol, first))


@cache
def _path(symbol: str, first: date) -> Mapping[date, float]:
    sessions = DAYS.between(first, LAST)
    steps = np.random.default_rng(sum(map(ord, symbol))).normal(0, 0.01, len(sessions))
    path = np.round(100 * np.cumprod(1 + steps), 4)
    return dict(zip(sessions, path.tolist(), strict=True))


def worker(ingest: Ingest, breaker: Breaker | None = None, **values: str) -> IngestWorker:
    keys = {"massive_api_key": "m", "fmp_api_key": "f", "tiingo_api_key": "t"}
    settings = IngestSettings(provider_loopback=True, **keys, **values)  # type: ignore[arg-type]
    engine, loop = ingest.worker._engine, Loop()

    def quota(provider: str, counted: str, key: str, windows: tuple[Window, ...]) -> Quota:
        return DatabaseQuota(engine, loop, provider, account_of(counted, key), windows, breaker)

    return IngestWorker(
        engine,
        Chain(create_providers(settings, exchange_calendar, quota, lambda: LAST), exchange_calendar),
        Clock(LAST),
        bind=loop.bind,
    )


@pytest.fixture
async def vendors(ingest: Ingest) -> AsyncIterator[Vendors]:
    await ingest.execute("DELETE FROM ingest.quota_uses")
    await ingest.execute("DELETE FROM ingest.providers")
    world = World()
    quote(world, *COMMON)
    with serving(world.massive) as massive, serving(world.fmp) as fmp:
        ingest.worker = worker(
            ingest,
            providers="massive,fmp",
            massive_url=massive.url,
            fmp_url=f"{fmp.url}/stable",
            massive_quota="12/1s",
            fmp_quota="60/1s",
        )
        yield Vendors(ingest, world, massive, fmp)


def busiest(times: list[float], seconds: float) -> int:
    """The most calls in a window. They are counted where they arrive: a fifth of the window is allowed for the way there."""
    return max(sum(1 for call in times if start <= call < start + 0.8 * seconds) for start in times)


async def test_a_run_over_its_quota_finishes_by_itself_and_never_exceeds_it(vendors: Vendors) -> None:
    quote(vendors.world, "AAA", "BBB")
    portfolio = await vendors.ingest.portfolio(("AAA", ENTRY), ("BBB", ENTRY))
    vendors.fmp.fail(DOWN)
    await vendors.ingest.run(portfolio)
    assert await vendors.ingest.missing(portfolio), "more was to be asked for than one window has room for"
    await vendors.until_quiet()
    assert await vendors.ingest.missing(portfolio) == []
    assert {unit.quality for unit in (await vendors.ingest.units(portfolio)).values()} == {"complete"}
    assert busiest(vendors.world.called["massive"], 1.0) <= 12
    for symbol in ("AAA", "BBB"):
        found = await vendors.ingest.prices(symbol)
        assert {row.provider for row in found.values()} == {"massive"}
        assert {day: row.close for day, row in found.items() if day >= ENTRY} == pytest.approx(
            {day: close for day, close in vendors.world.closes[symbol].items() if day >= ENTRY}
        )


async def test_bug_23_with_the_primary_down_for_an_hour_the_fallback_serves_and_the_primary_comes_back(
    vendors: Vendors,
) -> None:
    quote(vendors.world, "AAA")
    portfolio = await vendors.ingest.portfolio(("AAA", ENTRY))
    vendors.massive.fail(DOWN)
    yesterday = DAYS.previous(LAST)
    await vendors.ingest.run(portfolio, last=yesterday)
    await vendors.until_quiet()
    assert await vendors.ingest.missing(portfolio) == [LAST]
    found = await vendors.ingest.prices("AAA")
    assert {row.provider for row in found.values()} == {"fmp"}
    assert len(vendors.massive.calls) <= 5, "the breaker spared it the rest"

    await vendors.hour_passes()
    vendors.massive.fail(None)
    await vendors.ingest.run(portfolio)
    await vendors.until_quiet()
    assert await vendors.ingest.missing(portfolio) == []
    found = await vendors.ingest.prices("AAA")
    assert (found[yesterday].provider, found[LAST].provider) == ("fmp", "massive")
    closes = vendors.world.closes["AAA"]
    assert found[LAST].total_return == pytest.approx(closes[LAST] / closes[yesterday] - 1, abs=1e-12)
    [health] = await vendors.ingest.rows("SELECT failures, closed_by FROM ingest.providers WHERE provider = 'massive'")
    assert health.failures == 0


async def test_bug_35_all_down_is_waited_for_and_never_taken_for_a_price_or_an_absence(vendors: Vendors) -> None:
    quote(vendors.world, "AAA")
    portfolio = await vendors.ingest.portfolio(("AAA", ENTRY))
    vendors.massive.fail(DOWN)
    vendors.fmp.fail(DOWN)
    await vendors.ingest.run(portfolio)
    assert await vendors.ingest.missing(portfolio) == DAYS.between(ENTRY, LAST)
    assert {gap[2:] for gap in await vendors.ingest.gaps("AAA")} == {("provider_down", False)}
    vendors.massive.fail(None)
    vendors.fmp.fail(None)
    await vendors.hour_passes()
    await vendors.until_quiet()
    assert await vendors.ingest.missing(portfolio) == []


class Asked(Market):
    """A vendor that counts; what it does not quote it does not know."""

    def fetch(self, requests: Sequence[Request]) -> Iterator[Answer]:
        for request, answer in zip(requests, super().fetch(requests), strict=True):
            yield NoData(request.symbol, NoDataReason.NOT_FOUND) if request.symbol == "DEAD" else answer


def two(ingest: Ingest) -> tuple[Asked, Asked]:
    first, second = Asked("yahoo"), Asked("fmp")
    for vendor in (first, second):
        vendor.quote(*COMMON, "AAA")
    ingest.worker = IngestWorker(ingest.worker._engine, Chain([first, second], exchange_calendar), Clock(LAST))
    return first, second


async def test_bug_22_a_dead_symbol_costs_one_chain_of_attempts_a_window_over_135_sessions(ingest: Ingest) -> None:
    first, second = two(ingest)
    start = DAYS.back(LAST, 134)
    portfolio = await ingest.portfolio(("AAA", start), ("DEAD", start))
    await ingest.run_by_fives(portfolio, start)
    assert await ingest.missing(portfolio) == []
    for vendor in (first, second):
        assert len([request for request in vendor.asked if request.symbol == "DEAD"]) == 1
    assert [gap[2:] for gap in await ingest.gaps("DEAD")] == [("not_found", True)]
    units = await ingest.units(portfolio)
    assert {(unit.quality, unit.coverage) for unit in units.values()} == {("partial", 0.5)}

    another = await ingest.portfolio(("DEAD", DAYS.back(start, 20)))
    await ingest.run(another)
    for vendor in (first, second):
        assert len([request for request in vendor.asked if request.symbol == "DEAD"]) == 1

    await ingest.execute("UPDATE ingest.gaps SET retry_at = now() WHERE reason = 'not_found'")
    await ingest.worker.retry_due()
    await ingest.worker.retry_due()
    for vendor in (first, second):
        assert len([request for request in vendor.asked if request.symbol == "DEAD"]) == 2
    [retry] = await ingest.rows(
        "SELECT retry_at - now() > interval '2 days' AS later FROM ingest.gaps g JOIN ingest.symbols s ON s.id = g.symbol_id"
        " WHERE s.symbol = 'DEAD'"
    )
    assert retry.later


async def test_a_symbol_that_was_dead_and_is_not_any_more_is_priced_in_full(ingest: Ingest) -> None:
    first, _ = two(ingest)
    before = DAYS.back(LAST, 3)
    portfolio = await ingest.portfolio(("NEW", before))
    for session in DAYS.between(before, LAST):
        await ingest.run(portfolio, first=session, last=session)
    first.quote("NEW")
    await ingest.execute("UPDATE ingest.gaps SET retry_at = now()")
    await ingest.worker.retry_due()
    assert await ingest.gaps("NEW") == []
    assert set(DAYS.between(before, LAST)) <= (await ingest.prices("NEW")).keys()


async def test_thirteen_new_holdings_fetch_thirteen_symbols_and_the_missing_proxies(ingest: Ingest) -> None:
    """Bug 11 fetched 1,193."""
    names = [f"H{index:02d}" for index in range(13)]
    ingest.market.quote("AAA", *names)
    await ingest.run(await ingest.portfolio(("AAA", ENTRY)))
    ingest.market.asked.clear()
    portfolio = await ingest.portfolio(*((name, ENTRY) for name in names))
    await ingest.run(portfolio)
    assert sorted(request.symbol for request in ingest.market.asked) == names
    assert await ingest.missing(portfolio) == []
    ingest.market.asked.clear()
    await ingest.run(await ingest.portfolio(*((name, ENTRY) for name in names)))
    assert ingest.market.asked == []


async def test_the_doctor_says_who_answers_and_what_is_left(vendors: Vendors) -> None:
    vendors.fmp.fail(DOWN)
    settings = IngestSettings(
        provider_loopback=True, massive_api_key="m", fmp_api_key="f", providers="massive,fmp",  # type: ignore[arg-type]
        massive_url=vendors.massive.url, fmp_url=vendors.fmp.url, massive_quota="5/minute,100/day",
    )  # fmt: skip
    massive, fmp = await check_providers(settings, vendors.ingest.worker._engine)
    assert (massive.provider, massive.answers) == ("massive", True)
    assert massive.left == ((Window(5, 60.0), 4), (Window(100, 86400.0), 99))
    assert (fmp.provider, fmp.answers) == ("fmp", False)
    assert "500" in fmp.said
