"""Dead letters: messages and blocked units that could not be handled, kept whole until somebody replays or purges them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID, uuid4

from pydantic import ValidationError
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from shared import ledger
from shared.errors import PermanentError, sanitize_text
from shared.events.coordinator import PhaseRequested
from shared.events.envelope import Envelope, WorkBody
from shared.events.topics import PHASE_REQUESTED
from shared.messaging.letter_bounds import MAX_HEADER_CHARACTERS, MAX_PAYLOAD_BYTES, bounded_body, bounded_headers
from shared.messaging.replays import REPLAY_FOR
from shared.work import Phase, Work

BLOCKED = "blocked"
# A letter about units came from no partition.
NO_PARTITION = -1
_OPEN = "replayed_at IS NULL AND purged_at IS NULL AND resolved_at IS NULL"
# Open letters about blocked units, each with the units' rectangle as it was recorded, whatever was edited since.
ABOUT_UNITS = f"""
    SELECT id, CAST(event #>> '{{work,portfolios,0}}' AS uuid) AS portfolio_id, CAST(event ->> 'phase' AS ledger.phase) AS phase,
           CAST(event #>> '{{work,from}}' AS date) AS first, CAST(event #>> '{{work,to}}' AS date) AS last
    FROM (SELECT id, CAST(convert_from(coalesce(original_body, body), 'UTF8') AS jsonb) AS event FROM bus.dead_letters
          WHERE reason = '{BLOCKED}' AND partition = {NO_PARTITION} AND {_OPEN}) letters
"""
_UNITS = """
    SELECT 1 FROM ledger.units u
    WHERE u.portfolio_id = a.portfolio_id AND u.phase = a.phase AND u.session BETWEEN a.first AND a.last
"""


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
    resolved_at: datetime | None
    edited_at: datetime | None
    replay_event_id: UUID | None

    @property
    def about_units(self) -> bool:
        """Whether it is about units that failed too often, and not a message that was received."""
        return self.reason == BLOCKED and self.partition == NO_PARTITION


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
    """Record a dead letter. Idempotent per delivery: the same message delivered again is the same dead letter.

    Bounded, whoever sent it (`letter_bounds`)."""
    kept, error = bounded_body(body, sanitize_text(error, 3800))
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
            "key": None if key is None else key[:MAX_HEADER_CHARACTERS],
            "headers": json.dumps(bounded_headers(headers)),
            "body": kept,
            "hash": hashlib.sha256(body or b"").hexdigest(),
            "reason": reason,
            "error": sanitize_text(error, 4000),
        },
    )


async def record_blocked(
    conn: AsyncConnection, phase: Phase, portfolio: UUID, first: date, last: date, error: str
) -> None:
    """Record a dead letter about blocked units, whose replay requests them again. At most one is open."""
    event = PhaseRequested(work=WorkBody.of(Work((portfolio,), first, last)), phase=phase)
    body = event.body().encode()
    await conn.execute(
        text(f"""
            INSERT INTO bus.dead_letters (consumer, topic, partition, "offset", headers, body, body_hash, reason, error)
            SELECT :consumer, :topic, :partition, CAST(extract(epoch FROM clock_timestamp()) * 1000 AS bigint),
                   CAST(:headers AS jsonb), :body, :hash, :reason, :error
            WHERE NOT EXISTS (
                SELECT 1 FROM bus.dead_letters
                WHERE consumer = :consumer AND reason = :reason AND body_hash = :hash AND {_OPEN})
            ON CONFLICT DO NOTHING
        """),
        {
            "consumer": phase.value,
            "topic": PHASE_REQUESTED,
            "partition": NO_PARTITION,
            "headers": json.dumps(Envelope.new(event, source=phase.value).headers()),
            "body": body,
            "hash": hashlib.sha256(body).hexdigest(),
            "reason": BLOCKED,
            "error": sanitize_text(error, 4000),
        },
    )


async def resolve_blocked(conn: AsyncConnection) -> int:
    """Resolve dead letters whose units are all complete; returns how many."""
    result = await conn.execute(
        text(f"""
            WITH about AS MATERIALIZED ({ABOUT_UNITS})
            UPDATE bus.dead_letters d SET resolved_at = clock_timestamp() FROM about a
            WHERE d.id = a.id AND NOT EXISTS ({_UNITS} AND u.completed_revision < u.required_revision)
        """)
    )
    return int(result.rowcount)


async def still_blocked(conn: AsyncConnection, letters: Sequence[int]) -> set[int]:
    """Those of the letters that are about units of which some are blocked now."""
    rows = await conn.scalars(
        text(f"""
            WITH about AS MATERIALIZED ({ABOUT_UNITS})
            SELECT id FROM about a
            WHERE id = ANY (CAST(:letters AS bigint[])) AND EXISTS ({_UNITS} AND u.blocked_reason IS NOT NULL)
        """),
        {"letters": list(letters)},
    )
    return set(rows)


def _as_text(body: bytes | None) -> str | None:
    if not body or b"\x00" in body or len(body) > MAX_PAYLOAD_BYTES:
        return None
    try:
        return body.decode()
    except UnicodeDecodeError:
        return None


_COLUMNS = (
    'id, consumer, topic, partition, "offset", headers, body, reason, error, received_at, replayed_at, purged_at, resolved_at, '
    "edited_at, replay_event_id"
)


async def page(
    conn: AsyncConnection,
    *,
    limit: int = 100,
    before: int | None = None,
    reason: str | None = None,
    consumer: str | None = None,
    topic: str | None = None,
) -> Sequence[DeadLetter]:
    """Open dead letters, newest first; of one reason, consumer or topic."""
    rows = await conn.execute(
        text(f"""
            SELECT {_COLUMNS} FROM bus.dead_letters
            WHERE {_OPEN} AND (CAST(:before AS bigint) IS NULL OR id < :before)
              AND (CAST(:reason AS text) IS NULL OR reason = :reason)
              AND (CAST(:consumer AS text) IS NULL OR consumer = :consumer)
              AND (CAST(:topic AS text) IS NULL OR topic = :topic)
            ORDER BY id DESC LIMIT :limit
        """),
        {"limit": limit, "before": before, "reason": reason, "consumer": consumer, "topic": topic},
    )
    return [DeadLetter(*row) for row in rows]


async def get(conn: AsyncConnection, letter_id: int) -> DeadLetter | None:
    rows = await conn.execute(text(f"SELECT {_COLUMNS} FROM bus.dead_letters WHERE id = :id"), {"id": letter_id})
    row = rows.one_or_none()
    return DeadLetter(*row) if row else None


async def edit(
    conn: AsyncConnection, letter_id: int, *, body: str | None = None, headers: Mapping[str, str] | None = None
) -> bool:
    """Edit an open dead letter before replay; the original is kept beside. False if there is no open one.

    The hash stays that of what came, so that the message delivered again is still this letter. Raises `PermanentError` for the
    body of a letter about blocked units: it says which they are.
    """
    letter = await get(conn, letter_id)
    if body is not None and letter is not None and letter.about_units:
        raise PermanentError(
            f"dead letter {letter_id} says which units are blocked: replay it as it is", code="not_editable"
        )
    result = await conn.execute(
        text(f"""
            UPDATE bus.dead_letters
            SET original_body = CASE WHEN edited_at IS NULL THEN body ELSE original_body END,
                original_headers = CASE WHEN edited_at IS NULL THEN headers ELSE original_headers END,
                body = coalesce(CAST(:body AS bytea), body), headers = coalesce(CAST(:headers AS jsonb), headers),
                edited_at = clock_timestamp()
            WHERE id = :id AND {_OPEN}
        """),
        {
            "id": letter_id,
            "body": None if body is None else body.encode(),
            "headers": None if headers is None else json.dumps(dict(headers)),
        },
    )
    return bool(result.rowcount)


def replayable(letter: DeadLetter) -> bool:
    """Whether the outbox can carry the letter's body as it is."""
    return _as_text(letter.body) is not None


async def replay(conn: AsyncConnection, letter_id: int) -> bool:
    """Send the message again, once, for the consumer that had it (`REPLAY_FOR`). False if none, replayed or purged before.

    A letter about blocked units frees them too; only the coordinator's role may. Raises `PermanentError` for a body that the
    outbox cannot carry (none, binary, or too large): it would be a different message.
    """
    event_id = uuid4()
    row: Any = (
        await conn.execute(
            text("""
                UPDATE bus.dead_letters SET replayed_at = clock_timestamp(), replay_event_id = :event_id
                WHERE id = :id AND replayed_at IS NULL AND purged_at IS NULL AND resolved_at IS NULL
                RETURNING consumer, topic, headers, body, reason, partition
            """),
            {"id": letter_id, "event_id": event_id},
        )
    ).one_or_none()
    if row is None:
        return False
    payload = _as_text(row.body)
    if payload is None:
        why = "has a body that cannot be sent again (none, binary or too large): purge it"
        raise PermanentError(f"dead letter {letter_id} {why}", code="not_replayable")
    if row.reason == BLOCKED and row.partition == NO_PARTITION:
        try:
            event = PhaseRequested.model_validate_json(payload)
        except ValidationError as error:
            raise PermanentError(f"dead letter {letter_id} does not say which units", code="not_replayable") from error
        await ledger.unblock(conn, event.work.portfolios, event.work.first, event.work.last, event.phase)
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
            "headers": json.dumps(dict(row.headers) | {REPLAY_FOR: row.consumer}),
        },
    )
    return True


async def purge(conn: AsyncConnection, letter_id: int) -> bool:
    """Purge a dead letter: delete its body, keep the row. False if there is none, or it was settled before.

    Raises `PermanentError` while units that it is about are blocked: they are called for, and nothing else would tell of them.
    """
    if await still_blocked(conn, [letter_id]):
        why = "is about units that are blocked: fix the cause and replay it"
        raise PermanentError(f"dead letter {letter_id} {why}", code="still_blocked")
    result = await conn.execute(
        text("""
            UPDATE bus.dead_letters SET purged_at = clock_timestamp(), body = NULL, original_body = NULL
            WHERE id = :id AND replayed_at IS NULL AND purged_at IS NULL AND resolved_at IS NULL
        """),
        {"id": letter_id},
    )
    return bool(result.rowcount)
