"""The primary down for an hour, at nine hundred times the speed: nobody intervenes, the fallback serves, the run ends by itself."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from services.ingest.providers.transport.http import Bounds
from services.ingest.workflow.quotas import Breaker
from shared import ledger
from shared.work import Phase
from tests.store.ingest.conftest import DAYS, LAST, Ingest
from tests.store.ingest.test_vendors import COMMON, DOWN, busiest, quote, worker
from tests.support.markets import World
from tests.support.vendors import Reply, VendorServer, serving

ENTRY = DAYS.back(LAST, 9)
NAMES = [f"A{index}" for index in range(6)]
# An hour of outage in four seconds; the breaker's minute and quarter of an hour with it.
HOUR = 4.0
QUICK = Breaker(pause=timedelta(seconds=0.1), longest=timedelta(seconds=1.0))


@dataclass
class Outage:
    ingest: Ingest
    world: World
    massive: VendorServer
    fmp: VendorServer

    async def complete(self, portfolio: UUID, seconds: float = 60.0) -> float:
        """Seconds until nothing of the portfolio is missing. Nothing is done but waiting."""
        started = time.monotonic()
        async with asyncio.timeout(seconds):
            while await self.ingest.missing(portfolio):  # noqa: ASYNC110 - the database has no event for it
                await asyncio.sleep(0.05)
        return time.monotonic() - started

    async def providers_of(self, symbol: str) -> set[str]:
        return {row.provider for row in (await self.ingest.prices(symbol)).values()}


@pytest.fixture
async def outage(ingest: Ingest) -> AsyncIterator[Outage]:
    """The proxies are known. The service's own loop runs; FMP, the fallback, allows 9 calls a second."""
    await ingest.execute("DELETE FROM ingest.quota_uses")
    await ingest.execute("DELETE FROM ingest.providers")
    await ingest.run(await ingest.portfolio(("SPY", ENTRY)))
    world = World()
    quote(world, *COMMON, *NAMES, "BACK")
    with serving(world.massive) as massive, serving(world.fmp) as fmp:
        ingest.worker = worker(
            ingest, QUICK, providers="massive,fmp", massive_url=massive.url, fmp_url=f"{fmp.url}/stable",
            massive_quota="unlimited", fmp_quota="9/1s",
        )  # fmt: skip

        async def retries() -> None:
            while True:
                if not await ingest.worker.retry_due():
                    await asyncio.sleep(0.05)

        loop = asyncio.create_task(retries())
        try:
            yield Outage(ingest, world, massive, fmp)
        finally:
            loop.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await loop


@pytest.mark.parametrize(
    "failure",
    [DOWN, Reply(b"{}", 503, {"Retry-After": "2"}), Reply(b"<html>", content_type="text/html")],
    ids=["500", "503", "HTML"],
)
async def test_bug_23_the_primary_is_down_for_an_hour_and_the_run_finishes_by_itself(
    outage: Outage, failure: Reply
) -> None:
    ingest = outage.ingest
    outage.massive.fail(failure)
    fell = time.monotonic()
    portfolio = await ingest.portfolio(*((name, ENTRY) for name in NAMES))
    await ingest.run(portfolio)
    await outage.complete(portfolio)
    # And the primary is still down.
    for name in NAMES:
        assert await outage.providers_of(name) == {"fmp"}
        found = await ingest.prices(name)
        assert {day: row.close for day, row in found.items() if day >= ENTRY} == pytest.approx(
            {day: close for day, close in outage.world.closes[name].items() if day >= ENTRY}
        )
    assert {unit.quality for unit in (await ingest.units(portfolio)).values()} == {"complete"}
    assert busiest(outage.world.called["fmp"], 1.0) <= 9
    assert len(outage.massive.calls) <= 15, "three failures, and one probe a pause: not one a symbol and try"
    rows = await ingest.rows("SELECT provider, failures, closed_by FROM ingest.providers ORDER BY provider")
    assert [row.provider for row in rows if row.failures] == ["massive"], "a breaker each"

    await asyncio.sleep(max(0.0, HOUR - (time.monotonic() - fell)))
    outage.massive.fail(None)
    await asyncio.sleep(QUICK.longest.total_seconds() + 0.6)
    later = await ingest.portfolio(("BACK", ENTRY))
    await ingest.run(later)
    await outage.complete(later)
    assert await outage.providers_of("BACK") == {"massive"}, "it is back by itself"
    [health] = await ingest.rows("SELECT failures FROM ingest.providers WHERE provider = 'massive'")
    assert health.failures == 0


@pytest.mark.parametrize(
    ("headers", "wait"), [({"Retry-After": "30"}, 30.0), ({}, 60.0)], ids=["Retry-After", "without"]
)
async def test_a_429_delays_its_provider_and_nobody_else(outage: Outage, headers: dict[str, str], wait: float) -> None:
    ingest = outage.ingest
    outage.massive.fail(Reply(b"{}", 429, headers))
    portfolio = await ingest.portfolio(*((name, ENTRY) for name in NAMES))
    await ingest.run(portfolio)
    took = await outage.complete(portfolio)
    assert took < wait / 2, "nobody waited for the limit to pass"
    assert len(outage.massive.calls) == 1, "a limit is not tried again"
    for name in NAMES:
        assert await outage.providers_of(name) == {"fmp"}
    [massive] = await ingest.rows("SELECT closed_until, closed_by FROM ingest.providers WHERE provider = 'massive'")
    assert massive.closed_by == "rate_limited"
    left = (massive.closed_until - datetime.now(UTC)).total_seconds()
    assert wait - took - 10 < left <= wait
    [fmp] = await ingest.rows("SELECT closed_until, failures FROM ingest.providers WHERE provider = 'fmp'")
    assert (fmp.closed_until, fmp.failures) == (None, 0)


async def test_bug_35_a_provider_that_hangs_ends_the_call_and_holds_back_what_is_built_on_it(
    ingest: Ingest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within its bounds the call ends; the unit stays missing, and nothing downstream goes on with the prices of yesterday."""
    await ingest.execute("DELETE FROM ingest.quota_uses")
    await ingest.execute("DELETE FROM ingest.providers")
    yesterday = DAYS.previous(LAST)
    portfolio = await ingest.portfolio(("SPY", ENTRY))
    await ingest.run(portfolio, last=yesterday)
    bounds = Bounds(connect=0.3, read=0.3, deadline=0.5, attempts=2, wait_initial=0.01, wait_max=0.02)
    for module in ("massive", "fmp"):
        # They name the class that is replaced next.
        importlib.import_module(f"services.ingest.providers.{module}.provider")
    monkeypatch.setattr("services.ingest.providers.transport.http.Bounds", lambda: bounds)
    world = World()
    quote(world, *COMMON)
    with serving(world.massive) as massive, serving(world.fmp) as fmp:
        for server in (massive, fmp):
            server.fail(Reply(delay=3.0))
        ingest.worker = worker(
            ingest, QUICK, providers="massive,fmp", massive_url=massive.url, fmp_url=f"{fmp.url}/stable",
            massive_quota="unlimited", fmp_quota="unlimited",
        )  # fmt: skip
        started = time.monotonic()
        await ingest.run(portfolio)
        assert time.monotonic() - started < 30, "some tries at half a second, for a batch of 23 symbols"
        assert [gap[2:] for gap in await ingest.gaps("SPY")] == [("provider_down", False)]
        assert await ingest.missing(portfolio) == [LAST]
        async with ingest.admin.connect() as conn:
            for phase in (Phase.FACTORS, Phase.SNAPSHOTS):
                ready = await ledger.ready(conn, phase, [portfolio], None, None)
                assert {unit.session for unit in ready} == set(DAYS.between(ENTRY, yesterday)), phase
