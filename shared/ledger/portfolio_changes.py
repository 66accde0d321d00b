"""Which portfolios were changed since somebody last looked: what a list shows of the others is what it showed then."""

from __future__ import annotations

from typing import NamedTuple
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.statements import statement

# A night of a thousand portfolios notes some ten thousand.
MOST = 20_000


class Seen(NamedTuple):
    """What a snapshot saw.

    source   : the server and the table, as they were made and started: of another one nothing can be said
    snapshot : the first transaction that had not begun and those that ran. Whatever commits later is one of these, so two that are
               equal see the same rows. None on a standby, which does not know those that ran
    oldest   : the oldest transaction that still ran
    noted    : changes of it and of younger ones that had been committed all the same
    """

    source: str
    snapshot: str | None
    oldest: str
    noted: frozenset[int]

    def sees_the_same(self, other: Seen | None) -> bool:
        """Whether it is known that nothing was committed in between."""
        return other is not None and self.snapshot is not None and self[:2] == other[:2]


async def read(conn: AsyncConnection, since: Seen | None) -> tuple[Seen, frozenset[UUID] | None]:
    """(what this snapshot sees; the portfolios that transactions changed which it sees and `since` does not, None for any).

    `conn` reads in one snapshot, which is not older than `since`. A change that is seen now is either of a transaction as young as
    the oldest that ran then, or was seen. Transactions that ran are not asked for by number: a standby does not know them.
    """
    rows = (
        await conn.execute(
            statement("""
                SELECT concat_ws(' ', pg_postmaster_start_time(), CAST(CAST('ledger.portfolio_changes' AS regclass) AS oid)) AS source,
                       CASE WHEN NOT pg_is_in_recovery() THEN CAST(pg_current_snapshot() AS text) END AS snapshot,
                       CAST(now.oldest AS text) AS oldest, c.id, c.portfolio_id, c.xid >= now.oldest AS young
                FROM (SELECT pg_snapshot_xmin(pg_current_snapshot()) AS oldest) AS now
                LEFT JOIN ledger.portfolio_changes c ON c.xid >= coalesce(CAST(CAST(:since AS text) AS xid8), now.oldest)
            """),
            {"since": None if since is None else since.oldest},
        )
    ).all()
    seen = Seen(rows[0].source, rows[0].snapshot, rows[0].oldest, frozenset(row.id for row in rows if row.young))
    if since is None or since.source != seen.source:
        return seen, None
    changed = {row.portfolio_id for row in rows if row.id is not None and row.id not in since.noted}
    return seen, None if None in changed else frozenset(changed)


async def forget(conn: AsyncConnection, most: int = MOST) -> int:
    """Forget all changes where there are more; whoever has looked before reads everything again. Returns how many."""
    gone = await conn.scalar(statement("SELECT ledger.forget_portfolio_changes(:most)"), {"most": most})
    return int(gone or 0)
