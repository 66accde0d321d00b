"""A jump without an action, through the vendors' adapters over HTTP: believed when a second provider says the same, held back with
what both said while it does not, or says nothing; and what the user sees of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import date
from uuid import UUID

import pytest

from services.coordinator.results import identities, quarantine
from shared.work import Phase
from tests.store.ingest.conftest import DAYS, LAST, Ingest
from tests.store.ingest.test_refresh import settle
from tests.store.ingest.test_vendors import COMMON, DOWN, quote, worker
from tests.support.markets import World
from tests.support.vendors import VendorServer, serving

ENTRY = DAYS.back(LAST, 9)
DAY = DAYS.previous(LAST)
EVE = DAYS.previous(DAY)
CRASH = 0.6


@dataclass
class Two:
    """Massive and FMP, each with a market of its own."""

    ingest: Ingest
    first: World
    second: World
    fmp: VendorServer

    async def eve(self) -> UUID:
        portfolio = await self.ingest.portfolio(("AAA", ENTRY))
        await self.ingest.run(portfolio, last=EVE)
        await settle(self.ingest)
        return portfolio

    async def look_again(self) -> None:
        await self.ingest.execute("UPDATE ingest.gaps SET retry_at = now()")
        await self.ingest.execute("UPDATE ingest.providers SET closed_until = now(), probe_until = NULL, failures = 0")
        await self.ingest.worker.retry_due()

    async def close(self, day: date = DAY) -> float | None:
        found = await self.ingest.prices("AAA")
        return found[day].close if day in found else None


def crash(world: World) -> None:
    world.closes["AAA"] |= {day: close * CRASH for day, close in world.closes["AAA"].items() if day >= DAY}


@pytest.fixture
async def two(ingest: Ingest) -> AsyncIterator[Two]:
    await ingest.execute("DELETE FROM ingest.quota_uses")
    await ingest.execute("DELETE FROM ingest.providers")
    first, second = World(), World()
    for world in (first, second):
        quote(world, *COMMON, "AAA")
    with serving(first.massive) as massive, serving(second.fmp) as fmp:
        ingest.worker = worker(
            ingest, providers="massive,fmp", massive_url=massive.url, fmp_url=f"{fmp.url}/stable",
            massive_quota="unlimited", fmp_quota="unlimited",
        )  # fmt: skip
        yield Two(ingest, first, second, fmp)


async def test_what_a_second_provider_confirms_is_stored_at_once(two: Two) -> None:
    portfolio = await two.eve()
    crash(two.first)
    crash(two.second)
    await two.ingest.run(portfolio, first=DAY, last=DAY)
    assert await two.close() == pytest.approx(two.first.closes["AAA"][DAY])
    assert DAY not in await two.ingest.missing(portfolio)
    [jump] = await two.ingest.rows("SELECT session, released_by, second FROM ingest.quarantine")
    assert tuple(jump) == (DAY, "confirmed", "fmp")


@pytest.mark.parametrize("second", ["says otherwise", "is silent"])
async def test_what_nobody_confirms_is_held_shown_and_released_by_itself(two: Two, second: str) -> None:
    portfolio = await two.eve()
    crash(two.first)
    if second == "is silent":
        two.fmp.fail(DOWN)
    await two.ingest.run(portfolio, first=DAY, last=DAY)
    assert await two.close() is None
    async with two.ingest.admin.connect() as conn:
        [held] = (await quarantine.page(conn, state="held", limit=10, cursor=None))["items"]
        facts = await identities.describe(conn, "AAA")
    assert (held["symbol"], held["session"], held["state"]) == ("AAA", DAY.isoformat(), "held")
    stored = dict((await two.ingest.rows("SELECT * FROM ingest.quarantine"))[0]._mapping)
    assert stored["return"] == pytest.approx(two.first.closes["AAA"][DAY] / two.first.closes["AAA"][EVE] - 1)
    said = two.second.closes["AAA"][DAY] / two.second.closes["AAA"][EVE] - 1
    assert stored["second_return"] == (pytest.approx(said) if second == "says otherwise" else None)
    assert [gap["reason"] for gap in facts["gaps"]] == ["quarantined"]
    if second == "is silent":
        assert DAY in await two.ingest.missing(portfolio), "it may still be confirmed"
        two.fmp.fail(None)
        await two.look_again()
    # Both have spoken: nobody is waited for, and the unit is done without the price, and says so.
    assert await two.close() is None
    assert DAY not in await two.ingest.missing(portfolio)
    unit = (await two.ingest.units(portfolio))[DAY]
    assert (unit.quality, [reason["reason"] for reason in unit.reasons]) == ("partial", ["quarantined"])
    await settle(two.ingest)

    two.fmp.fail(None)
    crash(two.second)
    await two.look_again()
    assert await two.close() == pytest.approx(two.first.closes["AAA"][DAY])
    assert await two.ingest.gaps("AAA") == []
    [freed] = await two.ingest.rows("SELECT released_by FROM ingest.quarantine")
    assert freed.released_by == "confirmed"
    again = {phase: set(await two.ingest.missing(portfolio, phase)) for phase in (Phase.FACTORS, Phase.SNAPSHOTS)}
    assert DAY in again[Phase.FACTORS] & again[Phase.SNAPSHOTS]
    assert min(again[Phase.FACTORS] | again[Phase.SNAPSHOTS]) == DAY, "nothing before it"
