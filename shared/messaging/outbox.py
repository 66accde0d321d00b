"""Announce in the same transaction as the change: the event is a row, and a relay sends it after the commit."""

from __future__ import annotations

import contextvars
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.statements import statement
from shared.events.coordinator import PhaseRequested
from shared.events.envelope import TENANT, Envelope, Event, WorkBody, WorkEvent
from shared.events.services import COMPLETION
from shared.events.topics import TOPIC_OF
from shared.messaging.partitions import count_partitions
from shared.telemetry import traceparent
from shared.work import Phase, UnitKey, Work, portfolio_slices, rectangles

# Set while a message is handled, so that what it causes can be traced back to it.
correlation: contextvars.ContextVar[str | None] = contextvars.ContextVar("correlation", default=None)
causation: contextvars.ContextVar[str | None] = contextvars.ContextVar("causation", default=None)


async def publish(conn: AsyncConnection, events: Sequence[Event], *, source: str) -> list[UUID]:
    """Insert events into the outbox, inside the caller's transaction; returns their ids. Nothing is sent unless it commits."""
    if not events:
        return []
    trace = traceparent()
    envelopes = [
        Envelope.new(
            event, source=source, correlation_id=correlation.get(), causation_id=causation.get(), traceparent=trace
        )
        for event in events
    ]
    await conn.execute(
        statement("""
            INSERT INTO bus.outbox (event_id, topic, key, type, payload, headers)
            -- Whose it is, the portfolios' own rows say, and only where it is of one tenant: batches span several.
            SELECT e.id, e.topic, e.key, e.type, e.payload, CAST(e.headers AS jsonb) || coalesce((
                SELECT jsonb_build_object(CAST(:tenant AS text), min(CAST(p.tenant_id AS text))) FROM coordinator.portfolios p
                WHERE p.id = ANY (CAST(e.portfolios AS uuid[])) HAVING count(DISTINCT p.tenant_id) = 1), '{}')
            FROM unnest(CAST(:ids AS uuid[]), CAST(:topics AS text[]), CAST(:keys AS text[]), CAST(:types AS text[]),
                        CAST(:payloads AS text[]), CAST(:headers AS text[]), CAST(:portfolios AS text[]))
                AS e (id, topic, key, type, payload, headers, portfolios)
        """),
        {
            "ids": [envelope.id for envelope in envelopes],
            "topics": [TOPIC_OF[type(event)] for event in events],
            "keys": [event.subject() for event in events],
            "types": [envelope.type for envelope in envelopes],
            "payloads": [event.body() for event in events],
            "tenant": TENANT,
            "headers": [json.dumps(envelope.headers()) for envelope in envelopes],
            "portfolios": ["{" + ",".join(map(str, event.about())) + "}" for event in events],
        },
    )
    return [envelope.id for envelope in envelopes]


async def publish_work(
    conn: AsyncConnection,
    kind: type[WorkEvent],
    keys: Collection[UnitKey],
    sessions: Sequence[date],
    *,
    source: str,
    phase: Phase | None = None,
) -> int:
    """Announce units as rectangles of one event type, shared among its topic's partitions; returns how many events that took."""
    works = rectangles(keys, sessions, count_partitions(conn, TOPIC_OF[kind]))
    events = [kind(work=WorkBody.of(work), phase=phase) for work in works]
    await publish(conn, events, source=source)
    return len(events)


async def publish_completions(
    conn: AsyncConnection, phase: Phase, raised: Collection[UnitKey], sessions: Sequence[date]
) -> int:
    """Announce completed units. `sessions` are all exchange sessions: consecutive ones share an event."""
    return await publish_work(conn, COMPLETION[phase], raised, sessions, source=phase.value)


async def publish_request(conn: AsyncConnection, phase: Phase, work: Work) -> None:
    """Publish requests for a phase of some work: what a run past its time leaves to the next one."""
    parts = [Work(tuple(part), work.first, work.last) for part in portfolio_slices(work.portfolios, 1)]
    events = [PhaseRequested(work=WorkBody.of(part), phase=phase) for part in parts]
    await publish(conn, events, source=phase.value)


async def has_sent(conn: AsyncConnection, event_id: str | None, body: bytes | None) -> bool:
    """Whether a message is one of ours: what it says of itself anybody can say, so it is compared with what was to be sent.

    Of the last days only: older rows are gone.
    """
    try:
        known = UUID(event_id or "")
    except ValueError:
        return False
    return bool(
        await conn.scalar(
            text(
                "SELECT EXISTS (SELECT 1 FROM bus.outbox WHERE event_id = :id AND convert_to(payload, 'UTF8') = :body)"
            ),
            {"id": known, "body": body},
        )
    )


@dataclass(frozen=True, slots=True)
class Outbox:
    """Rows waiting to be sent, and the age of the oldest in seconds."""

    unsent: int
    oldest_seconds: float


async def oldest_unsent(conn: AsyncConnection, topic: str) -> float:
    """Seconds for which the oldest row of a topic has waited to be sent; 0 if none does."""
    age = await conn.scalar(
        statement("""
            SELECT coalesce(max(extract(epoch FROM clock_timestamp() - created_at)), 0) FROM bus.outbox
            WHERE sent_at IS NULL AND failed_at IS NULL AND topic = :topic
        """),
        {"topic": topic},
    )
    return float(age or 0.0)


async def outbox_depth(conn: AsyncConnection) -> Outbox:
    row = (
        await conn.execute(
            statement("""
                SELECT count(*), coalesce(max(extract(epoch FROM clock_timestamp() - created_at)), 0) FROM bus.outbox
                WHERE sent_at IS NULL AND failed_at IS NULL
            """)
        )
    ).one()
    return Outbox(int(row[0]), float(row[1]))
