"""Dead letters that are sent again: to whom, and what becomes of those that could not be."""

from __future__ import annotations

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

# Header of a replay: the service that could not handle the message. The others of its topic have handled it, and pass it by.
REPLAY_FOR = "replay_for"


async def reopen_failed(conn: AsyncConnection) -> int:
    """Open letters again whose replay the broker refused for good; returns how many. Only the coordinator's role may."""
    result = await conn.execute(
        text("""
            UPDATE bus.dead_letters d SET replayed_at = NULL, replay_event_id = NULL FROM bus.outbox o
            WHERE o.failed_at IS NOT NULL AND d.replay_event_id = o.event_id
        """)
    )
    return int(result.rowcount)
