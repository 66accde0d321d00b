"""Leases on portfolios: they avoid duplicate work; correctness rests on the completed revision.

A lease that is further away than a lease lasts is free: the database's clock was ahead when it was taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.engine import UNHURRIED
from shared.db.statements import statement
from shared.ledger.model import Lease
from shared.work import Phase

LEASE = timedelta(seconds=30)
# What only leases are written in need not be on the disk before anybody goes on: a server that dies within the second forgets who held
# what, which is as if the holder had died. Two waits for the disk a run less.


async def acquire(conn: AsyncConnection, phase: Phase, portfolios: Sequence[UUID], owner: str) -> list[Lease]:
    """Acquire the free portfolios for `owner`; raise the wake-up counter (`wanted`) of the others.

    A lease that ran out without being released counts as a death of its holder, and the first in a row as a run.
    """
    rows = await conn.execute(
        statement(f"""
            WITH k AS (
                SELECT portfolio_id, phase, coalesce(lease_until < clock_timestamp(), false) AS died,
                       lease_owner IS NULL
                           OR lease_until NOT BETWEEN clock_timestamp() AND clock_timestamp() + CAST(:lease AS interval) AS free
                FROM ledger.schedule
                WHERE portfolio_id = ANY (CAST(:portfolios AS uuid[])) AND phase = CAST(:phase AS ledger.phase)
                ORDER BY portfolio_id
                FOR NO KEY UPDATE
            )
            UPDATE ledger.schedule s
            SET lease_owner = CASE WHEN k.free THEN :owner ELSE s.lease_owner END,
                lease_until = CASE WHEN k.free THEN clock_timestamp() + CAST(:lease AS interval) ELSE s.lease_until END,
                fence = s.fence + k.free::int,
                wanted = s.wanted + (NOT k.free)::int,
                deaths = s.deaths + k.died::int,
                runs = s.runs + (k.died AND s.deaths = 0)::int
            FROM k WHERE s.portfolio_id = k.portfolio_id AND s.phase = k.phase
            RETURNING s.portfolio_id, s.fence, s.wanted, s.deaths, k.free, {UNHURRIED}
        """),
        {"phase": phase.value, "portfolios": list(portfolios), "owner": owner, "lease": LEASE},
    )
    return [Lease(portfolio, fence, wanted, deaths) for portfolio, fence, wanted, deaths, free, _ in rows if free]


async def find_scheduled(conn: AsyncConnection, phase: Phase, portfolios: Sequence[UUID]) -> set[UUID]:
    """Those of the portfolios that still have a schedule: deleted ones, and those without sessions, have none."""
    rows = await conn.scalars(
        statement("""
            SELECT portfolio_id FROM ledger.schedule
            WHERE portfolio_id = ANY (CAST(:portfolios AS uuid[])) AND phase = CAST(:phase AS ledger.phase)
        """),
        {"phase": phase.value, "portfolios": list(portfolios)},
    )
    return set(rows)


async def renew(conn: AsyncConnection, phase: Phase, owner: str) -> int:
    """Extend every lease of `owner`; returns how many it still holds."""
    result = await conn.execute(
        statement("""
            WITH k AS (
                SELECT portfolio_id, phase FROM ledger.schedule
                WHERE phase = CAST(:phase AS ledger.phase) AND lease_owner = :owner
                ORDER BY portfolio_id
                FOR NO KEY UPDATE
            )
            UPDATE ledger.schedule s SET lease_until = clock_timestamp() + CAST(:lease AS interval)
            FROM k WHERE s.portfolio_id = k.portfolio_id AND s.phase = k.phase
        """),
        {"phase": phase.value, "owner": owner, "lease": LEASE},
    )
    return int(result.rowcount)


async def release(
    conn: AsyncConnection, phase: Phase, leases: Sequence[Lease], owner: str, *, unconditionally: bool = False
) -> list[Lease]:
    """Release the leases whose wake-up counter did not move; the others stay held and are returned, to be read again.

    The comparison and the release are one statement, so no wake-up falls between them. A caller that lets go unconditionally may write
    what is left into the same transaction, which then waits for the disk.
    """
    rows = await conn.execute(
        statement(f"""
            WITH k AS (
                SELECT s.portfolio_id, s.phase, s.wanted <> held.wanted AND NOT CAST(:let_go AS boolean) AS again
                FROM ledger.schedule s
                -- By subqueries, as in `ledger.complete`.
                JOIN unnest((SELECT CAST(:portfolios AS uuid[])), (SELECT CAST(:fences AS bigint[])), (SELECT CAST(:wanted AS bigint[])))
                    AS held (portfolio_id, fence, wanted)
                  ON s.portfolio_id = held.portfolio_id AND s.fence = held.fence
                WHERE s.phase = CAST(:phase AS ledger.phase) AND s.lease_owner = :owner
                ORDER BY s.portfolio_id
                FOR NO KEY UPDATE OF s
            )
            UPDATE ledger.schedule s
            SET lease_owner = CASE WHEN k.again THEN s.lease_owner END,
                lease_until = CASE WHEN k.again THEN clock_timestamp() + CAST(:lease AS interval) END,
                deaths = 0
            FROM k WHERE s.portfolio_id = k.portfolio_id AND s.phase = k.phase
            RETURNING s.portfolio_id, s.fence, s.wanted, k.again, {"NULL" if unconditionally else UNHURRIED}
        """),
        {
            "phase": phase.value,
            "portfolios": [lease.portfolio_id for lease in leases],
            "fences": [lease.fence for lease in leases],
            "wanted": [lease.pending_wakeups for lease in leases],
            "owner": owner,
            "lease": LEASE,
            "let_go": unconditionally,
        },
    )
    return [Lease(portfolio, fence, wanted) for portfolio, fence, wanted, again, _ in rows if again]
