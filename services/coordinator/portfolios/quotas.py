"""What a tenant may have in all: portfolios, and lots of them together. Looked at behind the commit-order lock."""

from __future__ import annotations

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.coordinator.errors import Conflict
from shared.db.tenancy import own_tenant, quotas

_HELD = """
    SELECT (SELECT count(*) FROM coordinator.portfolios WHERE tenant_id = :tenant AND deleted_at IS NULL) AS portfolios,
           (SELECT count(*) FROM coordinator.positions x JOIN coordinator.portfolios p ON p.id = x.portfolio_id
            WHERE p.tenant_id = :tenant AND p.deleted_at IS NULL AND x.deleted_at IS NULL) AS lots
"""


async def refuse_excess(conn: AsyncConnection) -> None:
    """To be called after what is added was added. Raises `Conflict` where the tenant has more than its quota: nothing is saved."""
    allowed = quotas()
    if allowed.portfolios is None and allowed.lots is None:
        return
    held = (await conn.execute(text(_HELD), {"tenant": own_tenant()})).one()
    for what, most, has in (("portfolios", allowed.portfolios, held.portfolios), ("lots", allowed.lots, held.lots)):
        if most is not None and has > most:
            raise Conflict(
                f"The tenant would have {has:,} {what}, and its quota is {most:,}. Nothing was saved. Delete what is not needed; an "
                "operator of the installation sets the quota.",
                code="over_quota",
            )
