"""Profiles and fundamentals, in the background: nothing waits for them, and prices have the quota first."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from sqlalchemy.ext.asyncio import AsyncEngine

from services.ingest.providers.base import Profile, Provider
from services.ingest.providers.metered import Metered
from services.ingest.providers.vendor import Described, Fundamentals
from services.ingest.store import profiles
from services.ingest.store.profiles import ProfileRow

# Statements are complete at the vendors some days after the announcement.
AFTER_EARNINGS = timedelta(days=3)
# Without a date of earnings (funds, vendors that tell none): a beta or a market cap of last month.
LONGEST = timedelta(days=30)
SHORTEST = timedelta(days=1)
# A profile, a quote, three kinds of statement, earnings.
CALLS = 6


@dataclass(frozen=True, slots=True)
class Learned:
    provider: str
    profile: Profile | None
    fundamentals: Fundamentals | None


class Profiles:
    def __init__(self, engine: AsyncEngine, providers: Sequence[Provider], bind: Callable[[], None]) -> None:
        self._engine = engine
        self._vendors = [provider for provider in providers if isinstance(provider, Metered)]
        self._bind = bind

    async def refresh_one(self, today: date) -> bool:
        """Ask for one symbol whose time has come; whether there was one. A symbol nobody can tell about has its turn tomorrow."""
        if not self._vendors:
            return False
        async with self._engine.connect() as conn:
            due = await profiles.due(conn, 1)
        if not due:
            return False
        [(symbol_id, symbol)] = due
        self._bind()
        learned = await asyncio.to_thread(self._ask, symbol)
        async with self._engine.begin() as conn:
            if learned is not None:
                await profiles.write(conn, _row(symbol_id, learned, today), _statements(learned.fundamentals))
            await profiles.schedule(
                conn, symbol_id, SHORTEST if learned is None else _wait(learned.fundamentals, today)
            )
        return True

    def _ask(self, symbol: str) -> Learned | None:
        """The first vendor in the user's order that knows anything of it."""
        for vendor in self._vendors:
            with vendor.background(CALLS) as refused:
                if refused is not None:
                    continue
                (described,) = vendor.vendor.profiles([symbol])
                (found,) = vendor.vendor.fundamentals([symbol])
            profile = described.profile if isinstance(described, Described) else None
            fundamentals = found if isinstance(found, Fundamentals) else None
            if profile is not None or fundamentals is not None:
                return Learned(vendor.name, profile, fundamentals)
        return None


def _row(symbol_id: int, learned: Learned, today: date) -> ProfileRow:
    profile, fundamentals = learned.profile or Profile(), learned.fundamentals
    return ProfileRow(
        symbol_id,
        today,
        learned.provider,
        profile.beta,
        profile.sector,
        profile.industry,
        profile.name,
        fundamentals.market_cap if fundamentals else None,
        fundamentals.pe_ratio if fundamentals else None,
    )


def _statements(fundamentals: Fundamentals | None) -> list[dict[str, object]]:
    return [
        {
            "kind": statement.kind.value,
            "period_end": statement.period_end.isoformat(),
            "figures": dict(statement.values),
            "currency": statement.currency,
            "filed_on": statement.filed_on.isoformat() if statement.filed_on else None,
        }
        for statement in (fundamentals.statements if fundamentals else ())
    ]


def _wait(fundamentals: Fundamentals | None, today: date) -> timedelta:
    """Until three days after the next earnings known, or after the last ones if those days are not over; a month at most."""
    days = (
        [day + AFTER_EARNINGS for day in (fundamentals.last_earnings, fundamentals.next_earnings) if day]
        if fundamentals
        else []
    )
    return min([LONGEST, *(max(SHORTEST, day - today) for day in days if day > today)])
