"""What every request asks before anything else: under which closures it computes, and whether what it names is its tenant's."""

from __future__ import annotations

from collections.abc import Collection
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db import closures
from shared.db.statements import statement
from shared.db.tenancy import only_own, tenant_filter
from shared.market.calendar import Closures


async def find_closures_and_own(conn: AsyncConnection, named: Collection[UUID]) -> tuple[Closures, frozenset[UUID]]:
    """(all closures; of the portfolios that are named those that the tenant has or had: they may be deleted). In one
    statement."""
    if not named:
        return await closures.find_closures(conn), frozenset()
    rows = await conn.execute(
        statement(f"""
            SELECT own.ids, {closures.COLUMNS}
            FROM (SELECT ARRAY(SELECT id FROM coordinator.portfolios
                               WHERE id = ANY (CAST(:ids AS uuid[])) AND {only_own()}) AS ids) own
            LEFT JOIN coordinator.closures ON true ORDER BY day
        """),
        {"ids": list(named), "tenant": tenant_filter()},
    )
    found = rows.all()
    return closures.of_rows([row for row in found if row.day is not None]), frozenset(found[0].ids)
