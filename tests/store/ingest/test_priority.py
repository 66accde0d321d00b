"""Prices first: several processes on one small key, each with its background work, keep the window and the order."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from services.ingest.store import profiles as store
from services.ingest.store import universe
from services.ingest.workflow.profiles import LEASE, Profiles
from tests.store.ingest.conftest import DAYS, LAST, Ingest
from tests.store.ingest.test_profiles import TODAY, refresher
from tests.store.ingest.test_vendors import busiest, quote
from tests.support import vendors
from tests.support.databases import Database
from tests.support.markets import World
from tests.support.vendors import VendorServer, serving

SECONDS = 1.5
NAMES = [f"P{index}" for index in range(9)]
ENTRY = DAYS.back(LAST, 4)

# One process as a replica of the service: its share of the portfolios, its retries, its background work.
REPLICA = """
import asyncio, json, sys
from datetime import date
from pathlib import Path
from uuid import UUID
from services.ingest.providers.chain import Chain
from services.ingest.providers.registry import create_providers
from services.ingest.settings import IngestSettings
from services.ingest.workflow import IngestWorker
from services.ingest.workflow.profiles import Profiles
from services.ingest.workflow.quotas import DatabaseQuota, Loop, account_of
from shared.clock import Clock
from shared.db.engine import create_engine
from shared.market.calendar import NO_CLOSURES, set_calendar
from shared.phase.runner import PhaseRunner
from shared.work import Work

async def main(url, vendor, quota, last, portfolio, stop):
    set_calendar(NO_CLOSURES)
    clock, loop, engine = Clock(date.fromisoformat(last)), Loop(), create_engine(url, application="replica", pool_size=4)
    days = clock.calendar()
    settings = IngestSettings(provider_loopback=True, massive_api_key="m", providers="massive", massive_url=vendor, massive_quota=quota)
    counted = lambda provider, who, key, windows: DatabaseQuota(engine, loop, provider, account_of(who, key), windows)
    providers = create_providers(settings, clock.calendar, counted, clock.last_due)
    worker = IngestWorker(engine, Chain(providers, clock.calendar), clock, bind=loop.bind)
    background = Profiles(engine, providers, loop.bind)

    async def prices():
        await PhaseRunner(engine, worker, clock).run(Work((UUID(portfolio),), days.first, clock.last_due()))
        while True:
            await worker.retry_due()
            await asyncio.sleep(0.05)

    async def profiles():
        while True:
            await background.refresh_one(clock.last_due())
            await asyncio.sleep(0.05)

    running = [asyncio.create_task(prices()), asyncio.create_task(profiles())]
    while not Path(stop).exists():
        done, _ = await asyncio.wait(running, timeout=0.1, return_when=asyncio.FIRST_EXCEPTION)
        for task in done:
            task.result()
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    await engine.dispose()

asyncio.run(main(**json.loads(sys.argv[1])))
"""


async def test_bug_21_three_services_with_one_key_keep_the_window_and_fetch_prices_first(
    ingest: Ingest, committed: Database, tmp_path: Path
) -> None:
    """5 a minute with a window of 1.5 s: nine holdings' prices take several windows, and all the background waits for them."""
    # The proxies are known, and held by nobody: what they cost would only make this longer.
    await ingest.run(await ingest.portfolio(("SPY", ENTRY)))
    await ingest.execute("UPDATE coordinator.positions SET deleted_at = now()")
    world, stop = World(), tmp_path / "stop"
    quote(world, *NAMES)
    portfolios = [
        await ingest.portfolio(*((name, ENTRY) for name in NAMES[start : start + 3])) for start in range(0, 9, 3)
    ]
    with serving(world.massive) as server:
        running = []
        for portfolio in portfolios:
            choices = {
                "url": committed.url("ingest"), "vendor": server.url, "quota": f"5/{SECONDS}s", "last": LAST.isoformat(),
                "portfolio": str(portfolio), "stop": str(stop),
            }  # fmt: skip
            running.append(await asyncio.create_subprocess_exec(sys.executable, "-c", REPLICA, json.dumps(choices)))
        try:
            async with asyncio.timeout(90):
                while len([call for call in server.calls if _in_background(call.path)]) < 4:  # noqa: ASYNC110 - HTTP calls
                    await asyncio.sleep(0.1)
        finally:
            stop.touch()
            codes = [await asyncio.wait_for(process.wait(), 60) for process in running]
    assert codes == [0, 0, 0]
    for portfolio in portfolios:
        assert await ingest.missing(portfolio) == []
    assert busiest(world.called["massive"], SECONDS) <= 5
    prices = [index for index, call in enumerate(server.calls) if call.path.startswith("/v2/aggs/")]
    background = [index for index, call in enumerate(server.calls) if _in_background(call.path)]
    assert len(prices) == 9, "each symbol once, whoever needs it"
    assert background[0] > prices[-1], "prices first"
    described = [server.calls[index].path for index in background if "/v3/" in server.calls[index].path]
    assert len(described) == len(set(described)), "no two replicas describe one symbol"


def _in_background(path: str) -> bool:
    return path.startswith(("/v3/reference/tickers/", "/stocks/financials"))


@pytest.fixture
async def described(ingest: Ingest) -> AsyncIterator[tuple[Profiles, VendorServer]]:
    await ingest.execute("DELETE FROM ingest.quota_uses")
    await ingest.execute("DELETE FROM ingest.providers")
    ingest.market.quote("AAPL")
    await ingest.run(await ingest.portfolio(("AAPL", ENTRY)))
    with serving(vendors.massive) as massive, serving(vendors.fmp) as fmp:
        yield refresher(ingest, massive, fmp, quota="5/minute"), massive


@pytest.mark.parametrize(
    "waiting",
    [
        "UPDATE ingest.symbols SET claim_owner = 'somebody', claim_until = now() + interval '20 seconds' WHERE symbol = 'SPY'",
        """INSERT INTO ingest.gaps SELECT id, '2020-12-30', '2020-12-30', 'rate_limited', false, 'massive', now(),
           now() + interval '1 minute' FROM ingest.symbols WHERE symbol = 'SPY'""",
        """INSERT INTO ingest.gaps SELECT id, '2020-12-30', '2020-12-30', 'not_found', true, 'massive', now(), now()
           FROM ingest.symbols WHERE symbol = 'SPY'""",
    ],
)
async def test_nothing_is_asked_in_the_background_while_prices_wait(
    ingest: Ingest, described: tuple[Profiles, VendorServer], waiting: str
) -> None:
    profiles, massive = described
    await ingest.execute(waiting)
    assert not await profiles.refresh_one(TODAY)
    assert massive.calls == []
    await ingest.execute("UPDATE ingest.symbols SET claim_owner = NULL, claim_until = NULL")
    await ingest.execute("DELETE FROM ingest.gaps")
    assert await profiles.refresh_one(TODAY)
    assert len(massive.calls) == 1


async def test_a_price_that_waits_for_hours_does_not_stop_the_profiles(
    ingest: Ingest, described: tuple[Profiles, VendorServer]
) -> None:
    profiles, massive = described
    await ingest.execute(
        """INSERT INTO ingest.gaps SELECT id, '2020-12-30', '2020-12-30', 'provider_down', false, 'fmp', now(),
           now() + interval '1 hour' FROM ingest.symbols WHERE symbol = 'SPY'"""
    )
    assert await profiles.refresh_one(TODAY)
    assert len(massive.calls) == 1


async def test_a_question_that_the_quota_cannot_pay_is_not_begun_and_not_given_up(
    ingest: Ingest, described: tuple[Profiles, VendorServer]
) -> None:
    """Five a minute: the profile costs one, the statements up to five. They wait for a whole window, the profile is not asked twice."""
    profiles, massive = described
    fmp = profiles._vendors.pop()
    assert [await profiles.refresh_one(TODAY) for _ in range(3)] == [True, False, False]
    assert len(massive.calls) == 1
    await ingest.execute("UPDATE ingest.quota_uses SET at = at - interval '1 minute'")
    assert await profiles.refresh_one(TODAY)
    assert len(massive.calls) == 1 + 4
    [row] = await ingest.rows("SELECT provider, name, market_cap FROM ingest.symbol_profiles")
    assert (row.provider, row.name) == ("massive", "Apple Inc.")
    assert row.market_cap is not None
    assert fmp.name == "fmp"


async def test_statements_that_could_not_be_had_are_asked_for_tomorrow_and_not_next_month(
    ingest: Ingest, described: tuple[Profiles, VendorServer]
) -> None:
    profiles, massive = described
    profiles._vendors.pop()
    massive.fail(vendors.Reply(b"{}", 500), "/stocks/financials")
    assert await profiles.refresh_one(TODAY)
    await ingest.execute("UPDATE ingest.quota_uses SET at = at - interval '1 minute'")
    assert await profiles.refresh_one(TODAY)
    [schedule] = await ingest.rows("SELECT next_at - now() AS wait FROM ingest.profile_schedule")
    assert timedelta(hours=23) < schedule.wait <= timedelta(days=1)


async def test_a_symbol_is_one_replicas_until_its_lease_ends(ingest: Ingest) -> None:
    ingest.market.quote("AAPL")
    await ingest.run(await ingest.portfolio(("AAPL", ENTRY)))
    async with ingest.worker._engine.begin() as conn:
        taken = await store.claim(conn, LEASE)
        assert taken is not None
        assert taken[1] == "AAPL"
        assert await store.claim(conn, LEASE) is None
    await ingest.execute("UPDATE ingest.profile_schedule SET next_at = now()")
    async with ingest.worker._engine.begin() as conn:
        assert await store.claim(conn, LEASE) == taken


async def test_an_absence_that_somebody_else_has_just_asked_about_is_not_asked_about_again(
    ingest: Ingest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two replicas look, one claims, asks and lets go; the other's look is old by the time it gets the claim."""
    ingest.market.name = "vendor"
    await ingest.run(await ingest.portfolio(("DEAD", ENTRY)))
    await ingest.execute("UPDATE ingest.gaps SET retry_at = now()")
    look = universe.due_retries
    async with ingest.admin.connect() as conn:
        stale = await look(conn, 500)
    assert set(stale) == {"DEAD"}
    assert await ingest.worker.retry_due() == 1

    async def late(conn: AsyncConnection, limit: int, symbols: Sequence[str] | None = None) -> Any:
        return stale if symbols is None else await look(conn, limit, symbols)

    monkeypatch.setattr(universe, "due_retries", late)
    ingest.market.asked.clear()
    assert await ingest.worker.retry_due() == 0
    assert ingest.market.asked == []
