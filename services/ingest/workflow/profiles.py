"""Profiles and fundamentals, in the background: nothing waits for them, and prices have the quota first."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Generic, TypeVar

from sqlalchemy.ext.asyncio import AsyncEngine

from services.ingest.model.market import NoData, Profile, ProviderErrorKind
from services.ingest.model.stored import ProfileRow
from services.ingest.providers.base import Provider
from services.ingest.providers.network import Described, Fundamentals, NetworkProvider
from services.ingest.providers.quota.rate_limited import RateLimitedProvider
from services.ingest.store import profiles
from services.ingest.workflow import instrument_class
from shared.db.engine import acquire_commit_order_lock
from shared.telemetry import logger

log = logger(__name__)

# Statements are complete at the vendors some days after the announcement.
AFTER_EARNINGS = timedelta(days=3)
# Where they are not, the vendor is asked daily for so long after the announcement; then something else is wrong.
UNTIL_POSTED = timedelta(days=30)
# A quarter is announced within 90 days of its end, and the one before it ended 90 days earlier still.
ANNOUNCED_WITHIN = timedelta(days=90)
# Without a date of earnings (funds, vendors that tell none): a beta or a market cap of last month.
LONGEST = timedelta(days=30)
SHORTEST = timedelta(days=1)
# A symbol somebody has begun is his for so long; he keeps it by going on.
LEASE = timedelta(minutes=10)
Asked = TypeVar("Asked", Described, Fundamentals)


@dataclass(frozen=True, slots=True)
class Learned(Generic[Asked]):
    """found : of the first vendor that knew; failed : somebody could not answer, who may some other time."""

    found: Asked | None = None
    provider: str = ""
    failed: bool = False


@dataclass(slots=True)
class _Begun:
    symbol_id: int
    symbol: str
    described: bool = False
    failed: bool = False


class Profiles:
    """One symbol after the other, a question at a time: its profile, then its statements.

    A question is asked only if nobody waits for a price and its calls are to be had at once, so a small quota is never held
    while waiting for more of it, and prices wait for at most one question.
    """

    def __init__(self, engine: AsyncEngine, providers: Sequence[Provider], bind: Callable[[], None]) -> None:
        self._engine = engine
        self._vendors = [provider for provider in providers if isinstance(provider, RateLimitedProvider)]
        self._bind = bind
        self._begun: _Begun | None = None

    async def refresh_one(self, today: date) -> bool:
        """Ask one question; False if there is none, or it has to wait. What nobody can tell is asked again tomorrow."""
        if not self._vendors:
            return False
        async with self._engine.begin() as conn:
            if await profiles.prices_wait(conn):
                return False
            if self._begun is None:
                due = await profiles.claim(conn, LEASE)
                self._begun = None if due is None else _Begun(*due)
            else:
                await profiles.schedule(conn, self._begun.symbol_id, LEASE)
        of = self._begun
        if of is None:
            return False
        self._bind()
        return await self._statements(of, today) if of.described else await self._profile(of, today)

    async def _profile(self, of: _Begun, today: date) -> bool:
        learned = await asyncio.to_thread(
            self._ask, lambda vendor: vendor.profile_calls, lambda vendor: vendor.profiles([of.symbol]), Described
        )
        if learned is None:
            return False
        if learned.found is not None:
            row = _profile_row(of.symbol_id, learned.provider, learned.found.profile, today)
            async with self._engine.begin() as conn:
                await acquire_commit_order_lock(conn)
                if restated := await instrument_class.restate(
                    conn, await instrument_class.record_profiles(conn, [row])
                ):
                    log.info("sector_restates", symbol=of.symbol, units=restated)
        of.described, of.failed = True, learned.failed
        return True

    async def _statements(self, of: _Begun, today: date) -> bool:
        learned = await asyncio.to_thread(
            self._ask,
            lambda vendor: vendor.statement_calls,
            lambda vendor: vendor.fundamentals([of.symbol]),
            Fundamentals,
        )
        if learned is None:
            return False
        wait = SHORTEST if of.failed or learned.failed else _wait(learned.found, today)
        async with self._engine.begin() as conn:
            if learned.found is not None:
                row = _value_row(of.symbol_id, learned.provider, learned.found, today)
                await acquire_commit_order_lock(conn)
                await profiles.write(conn, [row], _statements(learned.found))
            await profiles.schedule(conn, of.symbol_id, wait)
        self._begun = None
        return True

    def _ask(
        self,
        cost: Callable[[NetworkProvider], int],
        question: Callable[[NetworkProvider], Iterable[Asked | NoData]],
        kind: type[Asked],
    ) -> Learned[Asked] | None:
        """The first vendor in the user's order that knows; None if none has the calls to spare now, or tells of companies."""
        asked = failed = False
        for vendor in self._vendors:
            with vendor.background(cost(vendor.provider)) as refused:
                if refused is not None:
                    failed = True
                    continue
                (answer,) = question(vendor.provider)
            if isinstance(answer, kind):
                return Learned(answer, vendor.name)
            failed |= isinstance(answer, NoData) and answer.reason.transient
            # One that refuses all profiles has said nothing of this symbol: it keeps its turn until they are told again.
            asked |= isinstance(answer, NoData) and answer.fault is not ProviderErrorKind.PROFILES_REFUSED
        return Learned(failed=failed) if asked else None


def _profile_row(symbol_id: int, provider: str, profile: Profile, today: date) -> ProfileRow:
    asset_type = profile.asset_type if profile.asset_type != "unknown" else None
    return ProfileRow(
        symbol_id, today, provider, profile.beta, profile.sector, profile.industry, profile.name, None, None, asset_type
    )


def _value_row(symbol_id: int, provider: str, found: Fundamentals, today: date) -> ProfileRow:
    return ProfileRow(symbol_id, today, provider, None, None, None, None, found.market_cap, found.pe_ratio)


def _statements(fundamentals: Fundamentals) -> list[dict[str, object]]:
    return [
        {
            "kind": statement.kind.value,
            "period_end": statement.period_end.isoformat(),
            "figures": dict(statement.values),
            "currency": statement.currency,
            "filed_on": statement.filed_on.isoformat() if statement.filed_on else None,
        }
        for statement in fundamentals.statements
    ]


def _wait(fundamentals: Fundamentals | None, today: date) -> timedelta:
    """Until three days after the next earnings known, or after the last ones if those days are not over; a month at most.

    A day if the last ones are announced and their quarter is not among the statements.
    """
    if fundamentals is None:
        return LONGEST
    if _is_awaited(fundamentals, today):
        return SHORTEST
    days = [day + AFTER_EARNINGS for day in (fundamentals.last_earnings, fundamentals.next_earnings) if day]
    return min([LONGEST, *(max(SHORTEST, day - today) for day in days if day > today)])


def _is_awaited(fundamentals: Fundamentals, today: date) -> bool:
    """Whether the quarter announced last should have been posted by now, and is not. Of a vendor that posts none, never."""
    # The vendor's next date is the last one once it has passed, also before the vendor says so.
    told = (fundamentals.last_earnings, fundamentals.next_earnings)
    last = max((day for day in told if day is not None and day + AFTER_EARNINGS <= today), default=None)
    newest = max((statement.period_end for statement in fundamentals.statements), default=None)
    if last is None or newest is None or today >= last + UNTIL_POSTED:
        return False
    return newest < last - ANNOUNCED_WITHIN
