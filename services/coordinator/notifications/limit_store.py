"""SQL of `coordinator.limits` and `limit_states`."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.coordinator.notifications.model import Limit, LimitState, Op, Reading, Standing
from shared.db.tenancy import only_own, own_tenant, tenant_filter

_COLUMNS = "l.id, l.name, l.portfolio_id, l.figure, l.op, l.value, l.created_at, l.tenant_id"


async def insert(conn: AsyncConnection, name: str, portfolio: UUID | None, figure: str, op: Op, value: float) -> Limit:
    row = (
        await conn.execute(
            text(f"""
                INSERT INTO coordinator.limits AS l (tenant_id, name, portfolio_id, figure, op, value)
                VALUES (:tenant, :name, :portfolio, :figure, :op, :value) RETURNING {_COLUMNS}
            """),
            {
                "tenant": own_tenant(),
                "name": name,
                "portfolio": portfolio,
                "figure": figure,
                "op": op.value,
                "value": value,
            },
        )
    ).one()
    return _limit(row)


async def count(conn: AsyncConnection) -> int:
    """Of the tenant."""
    found = await conn.scalar(
        text(f"SELECT count(*) FROM coordinator.limits WHERE {only_own()}"), {"tenant": tenant_filter()}
    )
    return int(found or 0)


async def all_limits(conn: AsyncConnection) -> list[Limit]:
    """Of the tenant, or of all; oldest first."""
    rows = await conn.execute(
        text(f"SELECT {_COLUMNS} FROM coordinator.limits l WHERE {only_own('l')} ORDER BY l.created_at, l.id"),
        {"tenant": tenant_filter()},
    )
    return [_limit(row) for row in rows]


async def delete(conn: AsyncConnection, limit: UUID) -> bool:
    """With its states and what was told of them. Messages that are on their way stay."""
    result = await conn.execute(
        text(f"DELETE FROM coordinator.limits WHERE id = :id AND {only_own()}"),
        {"id": limit, "tenant": tenant_filter()},
    )
    return bool(result.rowcount)


async def standings(conn: AsyncConnection, limits: Collection[UUID] | None = None) -> list[Standing]:
    """Of portfolios that were not deleted; breached ones first, the newest change first."""
    rows = await conn.execute(
        text(f"""
            SELECT s.limit_id, s.portfolio_id, s.state, s.since, s.value, s.detail, s.session, s.seen
            FROM coordinator.limit_states s JOIN coordinator.portfolios p ON p.id = s.portfolio_id
            WHERE p.deleted_at IS NULL AND {only_own("p")}
              AND (CAST(:limits AS uuid[]) IS NULL OR s.limit_id = ANY (CAST(:limits AS uuid[])))
            ORDER BY s.state, s.since DESC, s.limit_id, s.portfolio_id
        """),
        {"limits": None if limits is None else list(limits), "tenant": tenant_filter()},
    )
    return [
        Standing(
            row.limit_id,
            row.portfolio_id,
            LimitState(row.state),
            row.since,
            Reading(row.value, row.detail, row.session, row.seen),
        )
        for row in rows
    ]


async def record(
    conn: AsyncConnection, limit: UUID, portfolio: UUID, reading: Reading, state: LimitState | None
) -> None:
    """What was read now. `state` is None where the figure is unknown: the state is then what it was, at first `kept`.

    A limit that was deleted meanwhile is passed over.
    """
    await conn.execute(
        text("""
            INSERT INTO coordinator.limit_states AS s (limit_id, portfolio_id, state, value, detail, session, seen)
            SELECT l.id, :portfolio, coalesce(CAST(:state AS text), 'kept'), :value, :detail, :session, :seen
            FROM coordinator.limits l WHERE l.id = :limit FOR KEY SHARE
            ON CONFLICT (limit_id, portfolio_id) DO UPDATE
            SET state = coalesce(CAST(:state AS text), s.state), value = excluded.value, detail = excluded.detail,
                session = excluded.session, seen = excluded.seen,
                since = CASE WHEN s.state = coalesce(CAST(:state AS text), s.state) THEN s.since ELSE clock_timestamp() END
        """),
        {
            "limit": limit,
            "portfolio": portfolio,
            "state": None if state is None else state.value,
            "value": reading.value,
            "detail": reading.detail,
            "session": reading.session,
            "seen": reading.seen,
        },
    )


async def newest_results(conn: AsyncConnection) -> Sequence[Row[Any]]:
    """Of each portfolio that was not deleted its first and last session, and the revision of the snapshot and risk it has there; null
    where they are missing.

    Only the last session counts. While a history is being computed, what is newest for a moment is not how things stand.
    """
    rows = await conn.execute(
        text("""
            SELECT p.id, p.tenant_id, p.first_session, newest.session, newest.snapshots, newest.risk
            FROM coordinator.portfolios p
            LEFT JOIN LATERAL (
                SELECT u.session,
                       max(u.completed_revision) FILTER (WHERE u.phase = 'snapshots' AND u.completed_revision >= u.required_revision
                                                           AND u.completed_revision > 0) AS snapshots,
                       max(u.completed_revision) FILTER (WHERE u.phase = 'risk' AND u.completed_revision >= u.required_revision
                                                           AND u.completed_revision > 0) AS risk
                FROM ledger.units u
                WHERE u.portfolio_id = p.id AND u.session = (
                    SELECT l.session FROM ledger.units l WHERE l.portfolio_id = p.id ORDER BY l.session DESC LIMIT 1)
                GROUP BY u.session
            ) newest ON true
            WHERE p.deleted_at IS NULL
            ORDER BY p.id
        """)
    )
    return rows.all()


def _limit(row: Row[Any]) -> Limit:
    return Limit(row.id, row.name, row.portfolio_id, row.figure, Op(row.op), row.value, row.created_at, row.tenant_id)
