"""Time that passes for everything that the product wrote down, so that nobody has to live through an hour of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

# Moments that somebody waits for or counts from, by what they stand in. A lease is not among them: who holds it is alive in our time.
PASSES = (
    # Ingest writes these rows in an order of its own: who waits for none of them is in nobody's deadlock.
    """UPDATE ingest.gaps SET retry_at = retry_at - CAST(:time AS interval)
       WHERE ctid = ANY (ARRAY (SELECT ctid FROM ingest.gaps WHERE retry_at IS NOT NULL FOR UPDATE SKIP LOCKED))""",
    """UPDATE ingest.providers SET closed_until = closed_until - CAST(:time AS interval), probe_until = NULL
       WHERE closed_until IS NOT NULL""",
    "UPDATE ingest.quota_uses SET at = at - CAST(:time AS interval)",
    "UPDATE ingest.profile_schedule SET next_at = next_at - CAST(:time AS interval)",
    """UPDATE ledger.units SET required_at = required_at - CAST(:time AS interval)
       WHERE phase = 'ingest' AND completed_revision < required_revision""",
    """UPDATE ledger.schedule SET next_at = next_at - CAST(:time AS interval),
                                  withheld_until = withheld_until - CAST(:time AS interval)""",
)
# Seconds to the next of them; null if there is none.
NEXT = """
    SELECT extract(epoch FROM min(at) - clock_timestamp()) FROM (
        SELECT retry_at AS at FROM ingest.gaps
        UNION ALL SELECT closed_until FROM ingest.providers
        UNION ALL SELECT s.next_at FROM ledger.schedule s WHERE s.phase = 'ingest' AND EXISTS (
            SELECT 1 FROM ledger.units u WHERE u.portfolio_id = s.portfolio_id AND u.phase = 'ingest'
                                           AND u.completed_revision < u.required_revision)
    ) moments WHERE at > clock_timestamp()
"""
Execute = Callable[..., Awaitable[Any]]


async def let_pass(execute: Execute, seconds: float) -> None:
    """So many seconds more, for whoever looks at a clock."""
    for statement in PASSES:
        await execute(statement, time=timedelta(seconds=seconds))
