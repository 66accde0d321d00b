"""SQL of `coordinator.idempotency`: what was answered to a key, so that a repeated request changes nothing.

A row is small and stays for days (`control.retention`). An answer that is large, as the documents of portfolios with thousands of
lots are, is packed, kept for an hour or two, and counted: retries come within minutes, and the thing itself can be read again.
"""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.tenancy import own_tenant

MOST_BYTES = 16_384
"""Of an answer that is kept as it is."""
MOST_LARGE = 50
"""Large answers of a tenant at a time; the oldest go first."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A stored answer, and the digest of the request it was given to."""

    request_hash: str
    status: int
    response: Any
    forgotten: bool = False
    """It was large, and is not kept any more; that the request was done is."""


@dataclass(frozen=True, slots=True)
class Packed:
    """An answer as it is stored: JSON if it is small, else compressed."""

    response: str | None
    large: bytes | None


def pack(response: Any) -> Packed:
    """Takes some tenths of a second for tens of megabytes: not for the event loop."""
    document = json.dumps(response, allow_nan=False)
    if len(document) <= MOST_BYTES:
        return Packed(document, None)
    return Packed(None, zlib.compress(document.encode(), level=3))


async def find_answer(conn: AsyncConnection, key: str, endpoint: str) -> Answer | None:
    row = (
        await conn.execute(
            text("""
                SELECT request_hash, status, CAST(response AS text), large FROM coordinator.idempotency
                WHERE tenant_id = :tenant AND key = :key AND endpoint = :endpoint
            """),
            {"tenant": own_tenant(), "key": key, "endpoint": endpoint},
        )
    ).one_or_none()
    if row is None:
        return None
    request_hash, status, response, large = row
    if response is None and large is None:
        return Answer(request_hash, status, None, forgotten=True)
    return Answer(request_hash, status, json.loads(response if large is None else zlib.decompress(large)))


async def insert_answer(
    conn: AsyncConnection, key: str, endpoint: str, *, request_hash: str, status: int, packed: Packed
) -> None:
    """Store an answer, in the transaction of the change it reports."""
    await conn.execute(
        text("""
            INSERT INTO coordinator.idempotency (tenant_id, key, endpoint, request_hash, status, response, large)
            VALUES (:tenant, :key, :endpoint, :hash, :status, CAST(:response AS jsonb), :large)
        """),
        {
            "tenant": own_tenant(),
            "key": key,
            "endpoint": endpoint,
            "hash": request_hash,
            "status": status,
            "response": packed.response,
            "large": packed.large,
        },
    )
    if packed.large is not None:
        await forget_large(conn)


async def forget_large(conn: AsyncConnection, most: int = MOST_LARGE) -> int:
    """Drop the oldest large answers beyond `most`; returns how many. Their keys stay."""
    result = await conn.execute(
        text("""
            UPDATE coordinator.idempotency SET large = NULL
            WHERE (tenant_id, key, endpoint) IN (SELECT tenant_id, key, endpoint FROM coordinator.idempotency
                                                 WHERE large IS NOT NULL AND tenant_id = :tenant
                                                 ORDER BY created_at DESC, key OFFSET :most)
        """),
        {"most": most, "tenant": own_tenant()},
    )
    return int(result.rowcount)
