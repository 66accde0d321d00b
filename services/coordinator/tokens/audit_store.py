"""SQL of `coordinator.audit_log`; its rows are written as transactions are committed (`shared/db/tenancy.py`)."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import RowMapping, text
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.tenancy import only_own, tenant_filter


async def page(conn: AsyncConnection, *, limit: int, before: int | None) -> Sequence[RowMapping]:
    """The tenant's, or all; newest first. `before` is the last id of the page before."""
    rows = await conn.execute(
        text(f"""
            SELECT id, at, tenant_id, user_id, token_id, method, path FROM coordinator.audit_log
            WHERE (CAST(:before AS bigint) IS NULL OR id < :before) AND {only_own()} ORDER BY id DESC LIMIT :limit
        """),
        {"limit": limit, "before": before, "tenant": tenant_filter()},
    )
    return rows.mappings().all()
