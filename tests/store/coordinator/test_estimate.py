"""What the import preview says of the cost: symbols to fetch, calls, seconds."""

from __future__ import annotations

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.coordinator.portfolios.estimate import _cost, backfill_share
from services.ingest.providers.quota.limits import Priority
from tests.store.coordinator.conftest import Api


async def test_a_preview_says_what_would_be_fetched(api: Api) -> None:
    body = await api.create(dry_run="true")
    estimate = body["estimate"]
    assert estimate["symbols"] + estimate["known"] > 0
    assert (estimate["calls"], estimate["provider"]) == (0, None), "no vendor is enabled here"


async def test_calls_and_seconds_are_those_of_the_first_vendor_and_what_is_left_of_its_quota(
    db: AsyncConnection,
) -> None:
    await db.execute(text("DELETE FROM ingest.chain"))
    await db.execute(
        text("""
            INSERT INTO ingest.chain VALUES
                (0, 'file', NULL, '{}', '{}', 0, 0), (1, 'massive', 'a', '{5}', '{60}', 1, 2), (2, 'fmp', 'b', '{250}', '{86400}', 3, 0)
        """)
    )
    found = await _cost(db, 13, 4)
    assert (found.symbols, found.known, found.calls, found.provider) == (13, 4, 15, "massive")
    # An onboarding has four of the five calls of a window: four at once, and eleven in three windows.
    assert found.seconds == 3 * 60 + 15 * 0.5
    await db.execute(text("INSERT INTO ingest.quota_uses (account, calls, at) VALUES ('a', 5, clock_timestamp())"))
    assert (await _cost(db, 13, 4)).seconds == 4 * 60 + 15 * 0.5
    assert (await _cost(db, 0, 17)).calls == 0


def test_an_onboarding_has_of_a_window_what_a_backfill_may_use() -> None:
    for limit in (1, 2, 5, 50, 250, 2000):
        assert backfill_share(limit) == max(1, int(limit * Priority.HISTORY.value))
