"""Messages that cannot be handled: kept whole, with the reason, until a person replays or purges them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import uuid4

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.errors import PermanentError

# What the outbox takes.
MAX_PAYLOAD_BYTES = 65_536


@dataclass(frozen=True)
class DeadLetter:
    id: int
    consumer: str
    topic: str
    partition: int
    offset: int
    headers: Mapping[str, str]
    body: bytes | None
    reason: str
    error: str
    received_at: datetime
    replayed_at: datetime | None
    purged_at: datetime | None


async def record(
    conn: AsyncConnection,
    *,
    consumer: str,
    topic: str,
    partition: int,
    offset: int,
    key: bytes | None,
    headers: Mapping[str, str],
    body: bytes | None,
    reason: str,
    error: str,
) -> None:
    """Put a message aside. The same message delivered again is the same dead letter."""
    await conn.execute(
        text("""
            INSERT INTO bus.dead_letters (consumer, topic, partition, "offset", key, headers, body, body_hash, reason, error)
            VALUES (:consumer, :topic, :partition, :offset, :key, CAST(:headers AS jsonb), :body, :hash, :reason, :error)
            ON CONFLICT DO NOTHING
        """),
        {
            "consumer": consumer,
            "topic": topic,
            "partition": partition,
            "offset": offset,
            "key": key,
            # A NUL is valid UTF-8 and not valid in jsonb.
            "headers": json.dumps({k.replace("\x00", "\\0"): v.replace("\x00", "\\0") for k, v in headers.items()}),
            "body": body,
            "hash": hashlib.sha256(body or b"").hexdigest(),
            "reason": reason,
            "error": error.replace("\x00", "\\0")[:4000],
        },
    )


def _as_text(body: bytes | None) -> str | None:
    if not body or b"\x00" in body or len(body) > MAX_PAYLOAD_BYTES:
        return None
    try:
        return body.decode()
    except UnicodeDecodeError:
        return None


_COLUMNS = 'id, consumer, topic, partition, "offset", headers, body, reason, error, received_at, replayed_at, purged_at'


async def page(conn: AsyncConnection, *, limit: int = 100, before: int | None = None) -> Sequence[DeadLetter]:
    """Open dead letters, newest first."""
    rows = await conn.execute(
        text(f"""
            SELECT {_COLUMNS} FROM bus.dead_letters
            WHERE replayed_at IS NULL AND purged_at IS NULL AND (CAST(:before AS bigint) IS NULL OR id < :before)
            ORDER BY id DESC LIMIT :limit
        """),
        {"limit": limit, "before": before},
    )
    return [DeadLetter(*row) for row in rows]


async def get(conn: AsyncConnection, letter_id: int) -> DeadLetter | None:
    row = (
        await conn.execute(text(f"SELECT {_COLUMNS} FROM bus.dead_letters WHERE id = :id"), {"id": letter_id})
    ).one_or_none()
    return DeadLetter(*row) if row else None


async def replay(conn: AsyncConnection, letter_id: int) -> bool:
    """Send the message again, through the outbox, once. False if there is none, or it was replayed or purged before.

    Raises `PermanentError` for a body that the outbox cannot carry (none, binary, or too large): it would be a different message.
    """
    event_id = uuid4()
    row: Any = (
        await conn.execute(
            text("""
                UPDATE bus.dead_letters SET replayed_at = clock_timestamp(), replay_event_id = :event_id
                WHERE id = :id AND replayed_at IS NULL AND purged_at IS NULL
                RETURNING topic, headers, body
            """),
            {"id": letter_id, "event_id": event_id},
        )
    ).one_or_none()
    if row is None:
        return False
    payload = _as_text(row.body)
    if payload is None:
        raise PermanentError(
            f"dead letter {letter_id} has a body that cannot be sent again (none, binary or too large): purge it",
            code="not_replayable",
        )
    await conn.execute(
        text("""
            INSERT INTO bus.outbox (event_id, topic, type, payload, headers)
            VALUES (:event_id, :topic, :type, :payload, CAST(:headers AS jsonb))
        """),
        {
            "event_id": event_id,
            "topic": row.topic,
            "type": row.headers.get("ce_type", ""),
            "payload": payload,
            "headers": json.dumps(dict(row.headers)),
        },
    )
    return True


async def purge(conn: AsyncConnection, letter_id: int) -> bool:
    """Give a message up for good. The row stays; its body goes."""
    result = await conn.execute(
        text("""
            UPDATE bus.dead_letters SET purged_at = clock_timestamp(), body = NULL
            WHERE id = :id AND replayed_at IS NULL AND purged_at IS NULL
        """),
        {"id": letter_id},
    )
    return bool(result.rowcount)
