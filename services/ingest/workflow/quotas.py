"""A provider's quota and breaker in the database, for adapters that run in threads.

Pyrate-limiter was looked at and not taken: see docs/decisions/0018.
"""

import asyncio
import hashlib
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.ingest.model.market import NoDataReason, ProviderErrorKind, Request
from services.ingest.model.stored import Health, Link, Standing
from services.ingest.providers.base import Provider
from services.ingest.providers.errors import (
    AddressRefused,
    AuthRefused,
    PlanLimited,
    ProviderDown,
    ProviderError,
    RateLimited,
    SchemaChanged,
    TodayRefused,
    refusal,
)
from services.ingest.providers.quota.limits import Permit, Priority, Window
from services.ingest.providers.quota.rate_limited import RateLimitedProvider
from services.ingest.store import chain, prices, quotas
from shared.errors import TransientError
from shared.market.reasons import info

# The database answers within this, or the batch is tried again later.
ANSWER_SECONDS = 30.0
# Longer than any closure of the exchange.
RECENT = timedelta(days=10)
Answered = TypeVar("Answered")


@dataclass(frozen=True, slots=True)
class Breaker:
    """Open after `trip` failures in a row, for `pause`, doubled with each probe that fails, up to `longest`."""

    trip: int = 3
    pause: timedelta = timedelta(minutes=1)
    longest: timedelta = timedelta(minutes=15)
    refused: timedelta = timedelta(hours=1)


class Loop:
    """The event loop whose connections the quotas use; threads hand their questions over to it."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None

    def bind(self) -> None:
        """Called on the loop, before a thread asks."""
        self._loop = asyncio.get_running_loop()

    def run(self, coroutine: Coroutine[Any, Any, Answered]) -> Answered:
        if self._loop is None:
            coroutine.close()
            raise TransientError("the quota was asked before the service ran")
        future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return future.result(ANSWER_SECONDS)
        except TimeoutError:
            future.cancel()
            raise TransientError(f"the database did not tell the quota within {ANSWER_SECONDS:g} s") from None


class DatabaseQuota:
    """Implements `providers.quota.Quota`."""

    def __init__(
        self,
        engine: AsyncEngine,
        loop: Loop,
        provider: str,
        account: str,
        windows: tuple[Window, ...],
        breaker: Breaker | None = None,
    ) -> None:
        self.windows = windows
        self.provider = provider
        self.account = account
        self._engine = engine
        self._loop = loop
        self._breaker = breaker or Breaker()

    def reserve(self, wanted: int, least: int, priority: Priority) -> Permit:
        taken = self._run(
            lambda conn: quotas.reserve_calls(
                conn,
                self.provider,
                self.account,
                self.windows,
                wanted=wanted,
                least=least,
                share=priority.value,
                trip=self._breaker.trip,
            )
        )
        if taken.retry_at is not None:
            return Permit(0, refused=refusal(self.provider, taken.reason, taken.fault, taken.retry_at))
        return Permit(taken.granted, taken.use_id, probe=taken.probe)

    def renew(self, uses: Sequence[int]) -> None:
        self._run(lambda conn: quotas.renew(conn, uses))

    def release(self, uses: Sequence[int], unused: int) -> None:
        self._run(lambda conn: quotas.release(conn, uses, unused))

    def record_success(self) -> None:
        self._run(lambda conn: quotas.record_success(conn, self.provider, self.account))

    def record_failure(self, error: ProviderError, *, confirmed: bool = False) -> ProviderError | None:
        until = self._run(lambda conn: self._record_failure(conn, error, confirmed=confirmed))
        if until is None:
            return None
        if isinstance(error, RateLimited) or error.fault.permanent:
            error.retry_at = until
            return error
        return refusal(self.provider, "provider_down", str(error), until)

    async def _record_failure(self, conn: AsyncConnection, error: ProviderError, *, confirmed: bool) -> datetime | None:
        """Plan limits are about the question, and change nothing for the next one."""
        breaker, fault = self._breaker, str(error)[:500]
        # A wait, not an instant: the vendor's time to come back was told on our clock, and is kept on the database's.
        wait = None if error.retry_at is None else max(error.retry_at - datetime.now(UTC), timedelta(0))
        if isinstance(error, RateLimited):
            return await quotas.record_limit(conn, self.provider, self.account, wait or timedelta(minutes=1), fault)
        if isinstance(error, AuthRefused | AddressRefused):
            return await quotas.record_refusal(
                conn, self.provider, self.account, fault, trip=breaker.trip, wait=breaker.refused
            )
        if isinstance(error, ProviderDown | SchemaChanged):
            return await quotas.record_failure(
                conn, self.provider, self.account, fault,
                trip=breaker.trip, pause=breaker.pause, longest=breaker.longest, wait=wait,
                # An answer one adapter cannot read another may: that is no fault of the vendor's.
                shared=isinstance(error, ProviderDown), confirmed=confirmed,
            )  # fmt: skip
        # That the day has not ended is no news, and every evening's.
        if isinstance(error, PlanLimited) and not isinstance(error, TodayRefused):
            await quotas.record_fault(conn, self.provider, self.account, fault)
        return None

    def plan_years(self) -> int | None:
        return self._run(lambda conn: chain.plan_years(conn, self.provider, self.account))

    def learn_plan(self, years: int) -> None:
        self._run(lambda conn: chain.learn_plan(conn, self.provider, self.account, years))

    def bind(self) -> None:
        self._loop.bind()

    async def standing(self) -> tuple[Health | None, list[Standing]]:
        async with self._engine.connect() as conn:
            return await quotas.standing(conn, self.provider, self.account, self.windows)

    def _run(self, ask: Callable[[AsyncConnection], Coroutine[Any, Any, Answered]]) -> Answered:
        async def in_transaction() -> Answered:
            async with self._engine.begin() as conn:
                return await ask(conn)

        return self._loop.run(in_transaction())


@dataclass(frozen=True, slots=True)
class ProviderCheck:
    """How one provider is doing: whether it answered just now, and what is left of its windows."""

    provider: str
    answers: bool
    said: str
    left: tuple[tuple[Window, int], ...]


async def check_provider(provider: RateLimitedProvider, quota: DatabaseQuota) -> ProviderCheck:
    """Ask a provider one question, through its gate and quota like every other; what is left is of after that."""
    quota.bind()
    found = await asyncio.to_thread(_one_question, provider)
    health, standing = await quota.standing()
    left = tuple((Window(one.calls, one.seconds), max(0, one.calls - one.used)) for one in standing)
    if found is None:
        return ProviderCheck(provider.name, answers=True, said="answers", left=left)
    since = f"; last answered {health.last_success_at:%Y-%m-%d %H:%M} UTC" if health and health.last_success_at else ""
    return ProviderCheck(provider.name, answers=False, said=found + since, left=left)


async def check_running(engine: AsyncEngine) -> list[ProviderCheck]:
    """How the providers of the running service are doing, as it recorded that: nobody is asked, and no key is needed."""
    found = []
    async with engine.connect() as conn:
        now = await prices.database_time(conn)
        for link in await chain.read_chain(conn):
            if link.account is None:
                found.append(ProviderCheck(link.provider, answers=True, said="needs no network", left=()))
                continue
            health, standing = await quotas.standing(conn, link.provider, link.account, link.windows)
            left = tuple((Window(one.calls, one.seconds), max(0, one.calls - one.used)) for one in standing)
            answers, said = _health_text(health, now)
            found.append(ProviderCheck(link.provider, answers, said, left))
    return found


def _health_text(health: Health | None, now: datetime) -> tuple[bool, str]:
    if health is None or (health.last_success_at is None and health.last_fault_at is None):
        return True, "was not asked yet"
    when = f"{health.last_success_at:%Y-%m-%d %H:%M} UTC" if health.last_success_at else "never"
    refusal = f"{health.last_fault_at:%Y-%m-%d %H:%M} UTC: {health.last_fault}" if health.last_fault_at else ""
    if health.closed_until is not None and health.closed_until > now:
        until = f"{health.closed_until:%Y-%m-%d %H:%M:%S} UTC"
        return False, f"is not asked until {until} ({health.closed_by}), after {refusal}; last answered {when}"
    newer = health.last_fault_at is not None and (
        health.last_success_at is None or health.last_fault_at > health.last_success_at
    )
    return True, f"last answered {when}" + (f"; refused something at {refusal}" if newer else "")


async def nothing_priced(engine: AsyncEngine) -> str | None:
    """That no symbol has a price of late, why, and what to do; None if one has."""
    async with engine.connect() as conn:
        found = await chain.find_unpriced(conn, RECENT)
    if found is None:
        return None
    kind = "plan" if found.reason == NoDataReason.PLAN_LIMIT else found.reason
    reason = info(found.reason)
    return f"nothing is priced: {kind}. None of {found.symbols} symbols has a price since {found.since}: {reason.meaning}. {reason.remedy}"


async def announce(engine: AsyncEngine, providers: Sequence[Provider], newest: date) -> None:
    """Leave word of who is enabled and what a symbol costs there, for the estimate before an onboarding."""
    links = []
    for provider in providers:
        if isinstance(provider, RateLimitedProvider) and isinstance(provider.quota, DatabaseQuota):
            # A backfill's question: a night's may cost the same for one and for all.
            question = Request("A", newest - timedelta(days=730), newest)
            one, fifty = (provider.provider.calls([question] * count) for count in (1, 50))
            each = (fifty - one) / 49
            links.append(Link(provider.name, provider.quota.account, provider.quota.windows, each, one - each))
        else:
            links.append(Link(provider.name, None, (), 0.0, 0.0))
    async with engine.begin() as conn:
        await chain.write_chain(conn, links)


def _one_question(provider: RateLimitedProvider) -> str | None:
    """None if it was answered."""
    with provider.background(1) as refused:
        if refused is not None:
            return str(refused)
        failed = provider.provider.answers()
        if failed is None or failed.fault in {None, ProviderErrorKind.PLAN}:
            return None
        return failed.detail or failed.reason.value


def account_of(counted: str, key: str) -> str:
    """Who a vendor counts: a hash of the key, or of the vendor's name where it counts by address. Never the key."""
    return hashlib.sha256(f"{counted}\0{key}".encode()).hexdigest()[:32]
