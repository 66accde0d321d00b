"""SQL of `coordinator.idempotency`: what was answered to a key, so that a repeated request changes nothing."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection


@dataclass(frozen=True, slots=True)
class Answer:
    """A stored answer, and the digest of the request it was given to."""

    request_hash: str
    status: int
    response: Any


async def find_answer(conn: AsyncConnection, key: str, endpoint: str) -> Answer | None:
    row = (
        await conn.execute(
            text("""
                SELECT request_hash, status, CAST(response AS text) FROM coordinator.idempotency
                WHERE key = :key AND endpoint = :endpoint
            """),
            {"key": key, "endpoint": endpoint},
        )
    ).one_or_none()
    return Answer(row[0], row[1], json.loads(row[2])) if row else None


async def insert_answer(conn: AsyncConnection, key: str, endpoint: str, answer: Answer) -> None:
    """Store an answer, in the transaction of the change it reports. Keys are kept for good: they are small."""
    await conn.execute(
        text("""
            INSERT INTO coordinator.idempotency (key, endpoint, request_hash, status, response)
            VALUES (:key, :endpoint, :hash, :status, CAST(:response AS jsonb))
        """),
        {
            "key": key,
            "endpoint": endpoint,
            "hash": answer.request_hash,
            "status": answer.status,
            "response": json.dumps(answer.response, allow_nan=False),
        },
    )
