"""Quotas and breakers in the database: several windows, several processes, the vendor's word, half-open probes (bug 21)."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from services.ingest.providers.errors import (
    AuthRefused,
    PlanLimited,
    ProviderDown,
    ProviderError,
    QuotaUsedUp,
    RateLimited,
    SchemaChanged,
)
from services.ingest.providers.quota.limits import Permit, Priority, Window
from services.ingest.providers.quota.patience import PATIENCE_SECONDS
from services.ingest.providers.quota.rate_limited import SharedRateLimiter
from services.ingest.store import quotas
from services.ingest.workflow.quotas import Breaker, DatabaseQuota, Loop, account_of
from shared.db.engine import create_engine
from tests.store.ingest.test_vendors import busiest
from tests.support.databases import Database

MINUTE = Window(5, 60.0)


@pytest.fixture
async def engine(committed: Database) -> AsyncIterator[AsyncEngine]:
    made = create_engine(committed.url("ingest"), application="test-quotas", pool_size=4)
    async with made.begin() as conn:
        await conn.execute(text("DELETE FROM ingest.quota_uses"))
        await conn.execute(text("DELETE FROM ingest.providers"))
    yield made
    await made.dispose()


class Quota:
    """A quota asked from a thread, as adapters do."""

    def __init__(
        self,
        engine: AsyncEngine,
        *windows: Window,
        provider: str = "massive",
        key: str = "k",
        of: str | None = None,
        **breaker: object,
    ):
        loop = Loop()
        loop.bind()
        made = Breaker(**breaker) if breaker else None  # type: ignore[arg-type]
        self.of = DatabaseQuota(engine, loop, provider, account_of(of or provider, key), windows, made)

    async def take(self, wanted: int = 1, least: int = 1, priority: Priority = Priority.TODAY) -> Permit:
        return await asyncio.to_thread(self.of.reserve, wanted, least, priority)

    async def settle(self, grant: Permit, unused: int = 0) -> None:
        assert grant.reservation is not None
        await asyncio.to_thread(self.of.release, [grant.reservation], unused)

    async def failed(self, error: ProviderError) -> ProviderError | None:
        return await asyncio.to_thread(self.of.record_failure, error)

    async def succeeded(self) -> None:
        await asyncio.to_thread(self.of.record_success)


async def age(engine: AsyncEngine, seconds: float) -> None:
    """Time passes: everything in the tables is so much older."""
    async with engine.begin() as conn:
        for table, column in (("quota_uses", "at"), ("providers", "closed_until"), ("providers", "probe_until")):
            await conn.execute(
                text(f"UPDATE ingest.{table} SET {column} = {column} - make_interval(secs => :s)"), {"s": seconds}
            )


async def test_the_sixth_call_of_a_minute_is_refused_with_its_time(engine: AsyncEngine) -> None:
    quota = Quota(engine, MINUTE)
    for _ in range(5):
        await quota.settle(await quota.take())
    refused = (await quota.take()).refused
    assert isinstance(refused, QuotaUsedUp)
    assert refused.retry_at is not None
    assert timedelta(seconds=55) < refused.retry_at - datetime.now(UTC) <= timedelta(seconds=61)
    await age(engine, 60)
    assert (await quota.take(9)).calls == 5


async def test_all_windows_hold_at_once(engine: AsyncEngine) -> None:
    quota = Quota(engine, MINUTE, Window(7, 86400.0))
    await quota.settle(await quota.take(5))
    await age(engine, 61)
    await quota.settle(await quota.take(5))
    await age(engine, 61)
    refused = (await quota.take()).refused
    assert refused is not None
    assert refused.retry_at is not None
    assert refused.retry_at - datetime.now(UTC) > timedelta(hours=23)


async def test_calls_being_made_count_and_unused_ones_do_not(engine: AsyncEngine) -> None:
    quota = Quota(engine, MINUTE)
    grant = await quota.take(4)
    assert (await quota.take(4)).calls == 1
    await age(engine, 60)
    assert (await quota.take(1)).refused is not None, "a lease is no call made a minute ago"
    await quota.settle(grant, unused=3)
    assert (await quota.take(9)).calls == 3


async def test_who_is_refused_because_of_calls_being_made_comes_back_after_a_window_and_not_after_a_lease(
    engine: AsyncEngine,
) -> None:
    quota = Quota(engine, MINUTE)
    await quota.take(5)
    refused = (await quota.take()).refused
    assert refused is not None
    assert refused.retry_at is not None
    assert refused.retry_at - datetime.now(UTC) <= timedelta(seconds=61)


async def test_a_call_beyond_those_reserved_is_made_when_the_window_has_passed(engine: AsyncEngine) -> None:
    """The portion's own calls, counted as being made, must not keep it waiting for ever."""
    quota = Quota(engine, Window(5, 0.3)).of

    def spend() -> tuple[float, int]:
        gate = SharedRateLimiter(quota)
        with gate.batch(Priority.HISTORY, 4, 1) as grant:
            for _ in range(grant.calls + 1):
                gate.acquire()
        with gate.batch(Priority.HISTORY, 3, 1) as grant:
            return gate.patience.left, grant.calls

    left, next_portion = await asyncio.wait_for(asyncio.to_thread(spend), 5)
    assert PATIENCE_SECONDS - left < 0.6
    assert next_portion == 3


async def test_a_dead_process_gives_its_calls_back_when_its_lease_and_the_window_have_passed(
    engine: AsyncEngine,
) -> None:
    quota = Quota(engine, MINUTE)
    await quota.take(5)
    await age(engine, quotas.LEASE.total_seconds() + 59)
    assert (await quota.take()).refused is not None
    await age(engine, 1)
    assert (await quota.take(5)).calls == 5


async def test_a_reserve_is_kept_for_today(engine: AsyncEngine) -> None:
    quota = Quota(engine, Window(250, 86400.0))
    assert (await quota.take(1000, 3, Priority.BACKGROUND)).calls == 100
    assert (await quota.take(1, 1, Priority.BACKGROUND)).refused is not None
    assert (await quota.take(1000, 3, Priority.HISTORY)).calls == 100
    assert (await quota.take(3, 3, Priority.HISTORY)).refused is not None
    assert (await quota.take(1000, 3, Priority.TODAY)).calls == 50


async def test_a_429_delays_only_its_provider_and_every_replica_of_it(engine: AsyncEngine) -> None:
    massive, replica, fmp = Quota(engine, MINUTE), Quota(engine, MINUTE), Quota(engine, MINUTE, provider="fmp")
    await massive.settle(await massive.take())
    told = await massive.failed(RateLimited("massive", "429", retry_at=datetime.now(UTC) + timedelta(minutes=10)))
    assert isinstance(told, RateLimited)
    refused = (await replica.take()).refused
    assert isinstance(refused, RateLimited)
    assert not isinstance(refused, QuotaUsedUp), "not waited for in place"
    assert (await fmp.take()).refused is None
    await massive.succeeded()
    assert (await replica.take()).refused is not None, "an answer to an earlier call does not lift it"
    await age(engine, 601)
    assert (await replica.take()).refused is None


@pytest.mark.parametrize("asked_before", [True, False])
async def test_a_429_closes_the_vendor_for_every_adapter_that_asks_it(engine: AsyncEngine, asked_before: bool) -> None:
    yahoo, other = Quota(engine, MINUTE, provider="yahoo"), Quota(engine, MINUTE, provider="yahooquery", of="yahoo")
    await yahoo.settle(await yahoo.take())
    if asked_before:
        await other.settle(await other.take())
    await yahoo.failed(RateLimited("yahoo", "429", retry_at=datetime.now(UTC) + timedelta(minutes=10)))
    refused = (await other.take()).refused
    assert isinstance(refused, RateLimited)
    assert not isinstance(refused, QuotaUsedUp)
    await age(engine, 601)
    assert (await other.take()).refused is None


async def test_an_outage_is_the_vendors_and_an_answer_nobody_reads_the_adapters(engine: AsyncEngine) -> None:
    yahoo, other = Quota(engine, provider="yahoo"), Quota(engine, provider="yahooquery", of="yahoo")
    await yahoo.take()
    await other.take()
    for _ in range(3):
        await yahoo.failed(SchemaChanged("yahoo", "no such field"))
    assert (await yahoo.take()).refused is not None
    assert (await other.take()).refused is None
    for _ in range(3):
        await yahoo.failed(ProviderDown("yahoo", "503"))
    assert (await other.take()).refused is not None


async def test_another_key_has_a_quota_of_its_own_and_no_key_is_stored(engine: AsyncEngine) -> None:
    one, other = Quota(engine, MINUTE, key="sesame"), Quota(engine, MINUTE, key="other")
    await one.take(5)
    assert (await other.take(5)).calls == 5
    async with engine.connect() as conn:
        rows = (await conn.execute(text("SELECT CAST(p AS text) FROM ingest.providers p"))).scalars().all()
    assert len(rows) == 2
    assert not any("sesame" in row for row in rows)


async def test_the_breaker_opens_after_failures_in_a_row_and_one_probe_closes_it(engine: AsyncEngine) -> None:
    quota = Quota(engine, provider="yahoo")
    down = ProviderDown("yahoo", "500")
    assert await quota.failed(down) is None, "nobody has asked yet: there is no row"
    await quota.take()
    assert await quota.failed(down) is None
    await quota.succeeded()
    assert [await quota.failed(down), await quota.failed(down)] == [None, None]
    closed = await quota.failed(down)
    assert isinstance(closed, ProviderDown)
    assert (await quota.take()).refused is not None
    await age(engine, 61)
    probe = await quota.take(50, 3)
    assert probe.calls == 3, "half open: one question"
    assert (await quota.take()).refused is not None, "and nobody else's"
    longer = await quota.failed(down)
    assert longer is not None
    assert longer.retry_at is not None
    assert longer.retry_at - datetime.now(UTC) > timedelta(seconds=100), "twice as long"
    await age(engine, 121)
    await quota.take(50, 3)
    await quota.succeeded()
    assert (await quota.take(50, 3)).calls == 50


async def test_a_refused_key_closes_for_an_hour_and_a_plan_limit_does_not(engine: AsyncEngine) -> None:
    quota = Quota(engine)
    await quota.take()
    assert await quota.failed(PlanLimited("massive", "upgrade")) is None
    assert (await quota.take()).refused is None
    assert isinstance(await quota.failed(AuthRefused("massive", "401")), AuthRefused)
    refused = (await quota.take()).refused
    assert refused is not None
    assert "401" in str(refused)
    await age(engine, 3601)
    assert (await quota.take(50)).calls == 1


# One process as a replica: takes what it can get, notes when it made each call, and settles.
REPLICA = """
import asyncio, sys, time
from services.ingest.providers.quota.rate_limited import SharedRateLimiter
from services.ingest.providers.quota.limits import Priority, Window
from services.ingest.providers.errors import ProviderError
from services.ingest.workflow.quotas import DatabaseQuota, Loop, account_of
from shared.db.engine import create_engine

async def main(url, calls, seconds, lasting, out):
    until = time.time() + lasting
    engine, loop = create_engine(url, application="replica", pool_size=4), Loop()
    loop.bind()
    limiter = SharedRateLimiter(DatabaseQuota(engine, loop, "massive", account_of("massive", "k"), (Window(calls, seconds),)))
    def work():
        with open(out, "w") as log:
            while time.time() < until:
                with limiter.batch(Priority.TODAY, 3, 2) as grant:
                    if grant.refused is not None:
                        time.sleep(0.02)
                        continue
                    for _ in range(2):
                        try:
                            limiter.acquire()
                        except ProviderError:
                            break
                        log.write(f"{time.time()}\\n")
                        time.sleep(0.01)
    await asyncio.to_thread(work)
    await engine.dispose()

url, calls, seconds, lasting, out = sys.argv[1:]
asyncio.run(main(url, int(calls), float(seconds), float(lasting), out))
"""


async def test_bug_21_three_processes_with_one_key_never_exceed_the_window(
    engine: AsyncEngine, committed: Database, tmp_path: Path
) -> None:
    """The rule of 5 a minute with a window of 1.5 s, so that several pass while the test runs."""
    seconds, lasting = 1.5, 6.0
    logs = [tmp_path / f"{index}.log" for index in range(3)]
    running = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", REPLICA, committed.url("ingest"), "5", str(seconds), str(lasting), str(log)
        )
        for log in logs
    ]
    codes = [await asyncio.wait_for(process.wait(), 60) for process in running]
    assert codes == [0, 0, 0]
    made = sorted(float(line) for log in logs for line in log.read_text().splitlines())
    assert len(made) >= 10, "and they did get on"
    assert busiest(made, seconds) <= 5
