"""What is left of the quotas, who is not asked, and how old the newest price is: gauges, for alerts."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from sqlalchemy.ext.asyncio import AsyncEngine

from services.ingest.providers.base import Provider
from services.ingest.providers.quota.rate_limited import RateLimitedProvider
from services.ingest.store.measures import newest_price
from services.ingest.workflow.quotas import DatabaseQuota
from shared.telemetry import PRICES_UNTIL, PROVIDER_CLOSED, QUOTA_LEFT


async def measure(engine: AsyncEngine, providers: Iterable[Provider]) -> None:
    """Set the gauges. Every replica sees the same: all of it is in the database."""
    for provider in providers:
        if not isinstance(provider, RateLimitedProvider) or not isinstance(provider.quota, DatabaseQuota):
            continue
        health, standings = await provider.quota.standing()
        closed = health is not None and health.closed_until is not None and health.closed_until > datetime.now(UTC)
        PROVIDER_CLOSED.labels(provider.name).set(int(closed))
        for one in standings:
            QUOTA_LEFT.labels(provider.name, f"{one.seconds:g}").set(max(0, one.calls - one.used))
    async with engine.connect() as conn:
        newest = await newest_price(conn)
    if newest is not None:
        PRICES_UNTIL.set(datetime(newest.year, newest.month, newest.day, tzinfo=UTC).timestamp())
