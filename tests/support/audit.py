"""What the auditor finds when a test is over: whatever a test did, the ledger that it leaves is consistent.

A ledger of real portfolios is audited whole. One of toy portfolios, which have no lots and write no results, is asked what can be
asked of a ledger alone. A test that plants what must not be there says so: `@pytest.mark.leaves_drift("why")`.
"""

from __future__ import annotations

from datetime import date, timedelta
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from services.coordinator.control.audit_checks import CHECKS, TYPES
from services.coordinator.control.auditor import audit
from shared.clock import Clock
from shared.db.engine import create_engine, snapshot
from tests.support.databases import Database

OF_THE_LEDGER_ALONE = ("impossible_revision", "not_closed", "no_event", "no_letter")
RECENT = timedelta(hours=3)
MARKER = "leaves_drift"
# No lots, or not entered as a portfolio is.
_TOYS = """
    SELECT DISTINCT u.portfolio_id FROM ledger.units u
    LEFT JOIN coordinator.portfolios p ON p.id = u.portfolio_id AND p.first_session IS NOT NULL
    WHERE p.id IS NULL OR NOT EXISTS (SELECT 1 FROM coordinator.positions x WHERE x.portfolio_id = u.portfolio_id)
"""
_UNSCHEDULED = """
    SELECT u.portfolio_id, CAST(u.phase AS text), min(u.session), count(*) FROM ledger.units u
    LEFT JOIN ledger.schedule s ON s.portfolio_id = u.portfolio_id AND s.phase = u.phase
    WHERE s.portfolio_id IS NULL GROUP BY 1, 2
"""


async def drift(engine: AsyncEngine, as_of: date | None = None, portfolio: UUID | None = None) -> list[str]:
    """What is wrong with the ledger, or with a (real) portfolio of it, in words. Empty is well.

    as_of : the last session that is due; where it is not given, the last one of which there is a unit
    """
    async with snapshot(engine) as conn:
        last = as_of or await conn.scalar(text("SELECT max(session) FROM ledger.units"))
        if last is None:
            return []
        toys = [] if portfolio else list(await conn.scalars(text(_TOYS)))
        if not toys:
            report = await audit(engine, Clock(last), portfolio=portfolio, events_within=RECENT)
            return [
                f"{found.kind} {found.portfolio_id} {found.phase} {found.session} {found.detail}"
                for found in report.drift
            ]
        found = [f"no_schedule {tuple(row)}" for row in await conn.execute(text(_UNSCHEDULED))]
        for kind in OF_THE_LEDGER_ALONE:
            rows = await conn.execute(text(CHECKS[kind]), {"portfolios": toys, "within": RECENT, **TYPES})
            found += [f"{kind} {tuple(row)}" for row in rows]
        return found


async def check(database: Database, node: pytest.Item) -> None:
    """Fail a test that leaves drift behind, and one that says that it does and does not."""
    engine = create_engine(database.admin_url, application="leadline-audit", pool_size=2)
    try:
        found = await drift(engine)
    finally:
        await engine.dispose()
    judge(found, node)


def judge(found: list[str], node: pytest.Item) -> None:
    planted = node.get_closest_marker(MARKER)
    if planted is None:
        assert not found, "the test leaves an inconsistent ledger: " + "; ".join(found[:10])
    else:
        assert planted.args, f"{MARKER} wants a reason"
        assert found, f"nothing is wrong with the ledger: {MARKER} is not needed"
