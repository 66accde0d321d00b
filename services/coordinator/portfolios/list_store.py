"""SQL of what a line of the list says of its portfolio itself."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.statements import statement
from shared.db.tenancy import only_own, tenant_filter
from shared.ledger.among import AMONG, among


async def find_ids(conn: AsyncConnection, *, limit: int, after: UUID | None) -> list[UUID]:
    """Portfolios in order of creation, as their ids are."""
    rows = await conn.scalars(
        statement(f"""
            SELECT id FROM coordinator.portfolios
            WHERE deleted_at IS NULL AND {only_own()} AND id > coalesce(CAST(:after AS uuid), CAST(:none AS uuid)) ORDER BY id LIMIT :limit
        """),
        {"limit": limit, "after": after, "none": UUID(int=0), "tenant": tenant_filter()},
    )
    return list(rows)


async def read_headers(conn: AsyncConnection, portfolios: Collection[UUID]) -> dict[UUID, dict[str, Any]]:
    """Portfolios, each with its number of lots. Numbers, days and instants as JSON has them."""
    rows = await conn.execute(
        statement(f"""
            SELECT portfolio_id AS id, name, account_type, currency, CAST(equity_balance AS double precision) AS equity_balance,
                   CAST(first_session AS text) AS first_session,
                   to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS created_at,
                   to_char(updated_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS updated_at,
                   (SELECT count(*) FROM coordinator.positions x
                    WHERE x.portfolio_id = p.portfolio_id AND x.deleted_at IS NULL) AS positions
            FROM (SELECT *, id AS portfolio_id FROM coordinator.portfolios) p
            WHERE deleted_at IS NULL AND {AMONG}
        """),
        among(portfolios),
    )
    names = tuple(rows.keys())
    return {row[0]: dict(zip(names, row, strict=True)) for row in rows.all()}
