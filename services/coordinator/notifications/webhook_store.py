"""SQL of `coordinator.webhooks`, of what each was told, and of the messages it gets."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from urllib.parse import quote
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.coordinator.notifications.model import LATE, Message, Webhook
from services.coordinator.results.values import document, to_json
from shared.db.tenancy import only_own, own_tenant, tenant_filter

_COLUMNS = """
    w.id, w.name, w.url, w.created_at,
    (SELECT count(*) FROM coordinator.notifications n
     WHERE n.webhook_id = w.id AND n.delivered_at IS NULL AND n.gave_up_at IS NULL) AS pending,
    (SELECT max(n.delivered_at) FROM coordinator.notifications n WHERE n.webhook_id = w.id) AS delivered_at,
    (SELECT n.last_error FROM coordinator.notifications n WHERE n.webhook_id = w.id AND n.attempts > 0
     ORDER BY n.id DESC LIMIT 1) AS last_error
"""


async def insert(conn: AsyncConnection, name: str, url: str, secret: str) -> UUID | None:
    """None if there is one of that name."""
    made: UUID | None = await conn.scalar(
        text("""
            INSERT INTO coordinator.webhooks (tenant_id, name, url, secret) VALUES (:tenant, :name, :url, :secret)
            ON CONFLICT (tenant_id, name) DO NOTHING RETURNING id
        """),
        {"tenant": own_tenant(), "name": name, "url": url, "secret": secret},
    )
    return made


async def count(conn: AsyncConnection) -> int:
    """Of the tenant."""
    found = await conn.scalar(
        text(f"SELECT count(*) FROM coordinator.webhooks WHERE {only_own()}"), {"tenant": tenant_filter()}
    )
    return int(found or 0)


async def all_webhooks(conn: AsyncConnection) -> list[Webhook]:
    """Of the tenant, or of all; oldest first."""
    rows = await conn.execute(
        text(f"SELECT {_COLUMNS} FROM coordinator.webhooks w WHERE {only_own('w')} ORDER BY w.created_at, w.id"),
        {"tenant": tenant_filter()},
    )
    return [_webhook(row) for row in rows]


async def find(conn: AsyncConnection, webhook: UUID) -> Webhook | None:
    row = (
        await conn.execute(
            text(f"SELECT {_COLUMNS} FROM coordinator.webhooks w WHERE w.id = :id AND {only_own('w')}"),
            {"id": webhook, "tenant": tenant_filter()},
        )
    ).one_or_none()
    return None if row is None else _webhook(row)


async def delete(conn: AsyncConnection, webhook: UUID) -> bool:
    """With the messages it would have got."""
    result = await conn.execute(
        text(f"DELETE FROM coordinator.webhooks WHERE id = :id AND {only_own()}"),
        {"id": webhook, "tenant": tenant_filter()},
    )
    return bool(result.rowcount)


async def enqueue_test(conn: AsyncConnection, webhook: UUID, lease: timedelta) -> bool:
    """A message that says nothing; and what waits for its next attempt waits no longer than one that is under way may take."""
    await conn.execute(
        text(f"""
            UPDATE coordinator.notifications SET due_at = least(due_at, clock_timestamp() + CAST(:lease AS interval))
            WHERE webhook_id = (SELECT id FROM coordinator.webhooks WHERE id = :id AND {only_own()})
              AND delivered_at IS NULL AND gave_up_at IS NULL
        """),
        {"id": webhook, "lease": lease, "tenant": tenant_filter()},
    )
    result = await conn.execute(
        text(f"""
            INSERT INTO coordinator.notifications (webhook_id, event, body)
            SELECT id, 'test', jsonb_build_object('webhook', jsonb_build_object('id', id, 'name', name))
            FROM coordinator.webhooks WHERE id = :id AND {only_own()}
        """),
        {"id": webhook, "tenant": tenant_filter()},
    )
    return bool(result.rowcount)


async def enqueue_changes(conn: AsyncConnection) -> int:
    """A message to each webhook of each state that it was not told of, and a note that it is. Returns how many messages.

    One statement, so that the note and the message are there together or not at all. Who comes second to the note of a subscription
    waits for the first, then finds it made, and writes no message.
    """
    result = await conn.execute(
        text("""
            WITH due AS (
                SELECT w.id AS webhook_id, s.limit_id, s.portfolio_id, s.state
                FROM coordinator.limit_states s
                JOIN coordinator.portfolios p ON p.id = s.portfolio_id AND p.deleted_at IS NULL
                -- Nobody is told of what is another's.
                JOIN coordinator.limits l ON l.id = s.limit_id AND l.tenant_id = p.tenant_id
                JOIN coordinator.webhooks w ON w.tenant_id = p.tenant_id
                -- Once it is open again, a closed one is told how things stand by then.
                JOIN coordinator.tenants o ON o.id = w.tenant_id AND o.closed_at IS NULL
                LEFT JOIN coordinator.subscriptions t
                    ON t.webhook_id = w.id AND t.limit_id = s.limit_id AND t.portfolio_id = s.portfolio_id
                WHERE s.state <> coalesce(t.state, 'kept')
            ), told AS (
                INSERT INTO coordinator.subscriptions AS t (webhook_id, limit_id, portfolio_id, state)
                SELECT webhook_id, limit_id, portfolio_id, state FROM due ORDER BY webhook_id, limit_id, portfolio_id
                ON CONFLICT (webhook_id, limit_id, portfolio_id) DO UPDATE SET state = excluded.state
                    WHERE t.state <> excluded.state
                RETURNING webhook_id, limit_id, portfolio_id, state
            )
            INSERT INTO coordinator.notifications (webhook_id, event, body)
            SELECT t.webhook_id, 'limit.' || t.state, jsonb_build_object(
                'state', t.state, 'since', s.since, 'value', s.value, 'session', s.session,
                'limit', jsonb_build_object('id', l.id, 'name', l.name, 'figure', l.figure, 'op', l.op, 'value', l.value),
                'portfolio', jsonb_build_object('id', p.id, 'name', p.name))
            FROM told t
            JOIN coordinator.limit_states s ON s.limit_id = t.limit_id AND s.portfolio_id = t.portfolio_id
            JOIN coordinator.limits l ON l.id = t.limit_id
            JOIN coordinator.portfolios p ON p.id = t.portfolio_id
            ORDER BY s.since, t.webhook_id
        """)
    )
    return int(result.rowcount)


async def claim(conn: AsyncConnection, lease: timedelta) -> list[Message]:
    """The next message of each webhook that may be tried now; nobody else tries it for the time of the lease.

    One of a webhook at a time, in order: "breached" never comes after the "kept" that followed it. Those of a closed tenant wait.
    """
    rows = await conn.execute(
        text("""
            UPDATE coordinator.notifications n SET attempts = n.attempts + 1, due_at = clock_timestamp() + CAST(:lease AS interval)
            FROM coordinator.webhooks w JOIN coordinator.tenants c ON c.id = w.tenant_id AND c.closed_at IS NULL
            WHERE w.id = n.webhook_id AND n.due_at <= clock_timestamp() AND n.delivered_at IS NULL AND n.gave_up_at IS NULL
              AND n.id IN (
                  SELECT min(o.id) FROM coordinator.notifications o
                  WHERE o.delivered_at IS NULL AND o.gave_up_at IS NULL GROUP BY o.webhook_id)
            RETURNING n.id, n.delivery, n.event, CAST(n.body AS text) AS body, n.created_at, n.attempts, w.url, w.secret,
                      w.tenant_id
        """),
        {"lease": lease},
    )
    return [_message(row) for row in rows]


async def record_delivered(conn: AsyncConnection, message: int) -> None:
    await conn.execute(
        text("""
            UPDATE coordinator.notifications SET delivered_at = clock_timestamp(), last_error = NULL
            WHERE id = :id AND delivered_at IS NULL
        """),
        {"id": message},
    )


async def record_failure(conn: AsyncConnection, message: int, error: str, wait: timedelta) -> bool:
    """Try again after `wait`, or give up what is too old. Returns whether it was given up."""
    gave_up = await conn.scalar(
        text("""
            UPDATE coordinator.notifications
            SET last_error = :error, due_at = clock_timestamp() + CAST(:wait AS interval),
                gave_up_at = CASE WHEN created_at < clock_timestamp() - CAST(:oldest AS interval) THEN clock_timestamp() END
            WHERE id = :id AND delivered_at IS NULL RETURNING gave_up_at IS NOT NULL
        """),
        {"id": message, "error": error[:500], "wait": wait, "oldest": LATE},
    )
    return bool(gave_up)


async def forget_delivered(conn: AsyncConnection, keep: timedelta) -> None:
    """Messages that came, or were given up, longer ago; the newest of each webhook stays, because it says how the webhook is."""
    await conn.execute(
        text("""
            DELETE FROM coordinator.notifications n
            WHERE coalesce(n.delivered_at, n.gave_up_at) < clock_timestamp() - CAST(:keep AS interval)
              AND n.id < (SELECT max(m.id) FROM coordinator.notifications m WHERE m.webhook_id = n.webhook_id)
        """),
        {"keep": keep},
    )


def _webhook(row: Row[Any]) -> Webhook:
    return Webhook(row.id, row.name, row.url, row.created_at, row.pending, row.delivered_at, row.last_error)


def _message(row: Row[Any]) -> Message:
    body = {"id": str(row.delivery), "event": row.event, "created_at": to_json(row.created_at), **document(row.body)}
    if row.event != "test":
        figure = body["limit"]["figure"]
        rest = "/data" if figure.startswith("status.") else f"/explain?figure={quote(figure)}"
        body["page"] = f"/p/{body['portfolio']['id']}{rest}"
    return Message(row.id, row.delivery, row.url, row.secret, row.event, body, row.attempts, row.tenant_id)
