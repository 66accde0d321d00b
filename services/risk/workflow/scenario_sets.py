"""Which set of scenarios is in force: that of the service that started last. What another one computed is computed anew.

A set is a file beside the service, so no other service can tell that it was changed. Without this a portfolio would answer for one
session with the old script and for the next with the new one, under the same names.
"""

from __future__ import annotations

from datetime import date

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.risk.compute.scenarios import Scenarios
from services.risk.store import results as store
from shared import ledger
from shared.db.engine import acquire_commit_order_lock, next_change_seq
from shared.errors import TransientError
from shared.telemetry import logger
from shared.work import Phase

log = logger(__name__)


class OtherScenarios(TransientError):
    """A service with other scenarios started after this one. Nothing is computed here until this one is started anew."""

    code = "other_scenarios"


async def assert_active_scenarios(conn: AsyncConnection, digest: str) -> None:
    """Raises `OtherScenarios` where another set than ours is in force in this snapshot."""
    chosen = await store.chosen_scenarios(conn)
    if chosen is not None and chosen != digest:
        raise OtherScenarios(
            f"scenario set {chosen} is in force and this service has {digest}: give all risk services the same "
            "LEADLINE_RISK_SCENARIOS and start them anew"
        )


async def activate_scenarios(engine: AsyncEngine, scenarios: Scenarios) -> int:
    """Put our set in force, and require anew all risk if another one was; returns how many units. The same set again does nothing.

    All of it, not what is complete: a unit in flight would otherwise be completed with the old set at the revision it was begun with.
    """
    digest = scenarios.digest()
    async with engine.begin() as conn:
        await acquire_commit_order_lock(conn)
        known = await store.chosen_scenarios(conn)
        if known == digest:
            return 0
        await store.save_scenarios(conn, digest, scenarios.described(), scenarios.dated())
        await store.choose_scenarios(conn, digest)
        if known is None and not await store.with_other_scenarios(conn, digest):
            return 0
        portfolios = await store.portfolios(conn)
        units = 0
        if portfolios:
            revision = await next_change_seq(conn)
            units = await ledger.require_all(conn, portfolios, date.min, date.max, Phase.RISK, revision)
    log.info("new_scenarios_restate", scenarios=digest, before=known, units=units)
    return units
