"""Thin out risk of old sessions, where a setting says so: month ends stay, and each portfolio's first and last session.

Of the others the figures go and the row stays, at its revision: nothing is missing, and a session that is asked for again comes back to
the same digits. What a row keeps, and why: docs/decisions/0093-thinned-results.md.
"""

from __future__ import annotations

import asyncio
from datetime import date
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from services.coordinator.runs import store as runs
from shared.clock import Clock
from shared.db.closures import load_closures

PORTFOLIOS = 20
# Rows in a transaction: nobody waits for them, but what is not vacuumed yet waits for it.
SLICE = 1_000

_THIN = "SELECT ledger.thin_results(CAST(:portfolios AS uuid[]), CAST(:before AS date), :most)"


async def thin_results(engine: AsyncEngine, clock: Clock, sessions: int, *, size: int = SLICE) -> int:
    """Thin out what is older than so many sessions; returns how many sessions of portfolios were."""
    async with engine.connect() as conn:
        await load_closures(conn)
        portfolios = await runs.find_portfolios(conn, None)
    before = clock.calendar().back(clock.last_due(), sessions)
    thinned = 0
    for top in range(0, len(portfolios), PORTFOLIOS):
        thinned += await _thin(engine, portfolios[top : top + PORTFOLIOS], before, size)
    return thinned


async def _thin(engine: AsyncEngine, portfolios: list[UUID], before: date, size: int) -> int:
    thinned = 0
    while True:
        async with engine.begin() as conn:
            rows = int(await conn.scalar(text(_THIN), {"portfolios": portfolios, "before": before, "most": size}) or 0)
        thinned += rows
        await asyncio.sleep(0)
        if rows < size:
            return thinned
