"""How long anybody holds the commit-order lock at a time, and who: seen from outside, by a look every few milliseconds."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import text

from shared.db import locks
from tests.bench.embedded import administrator

PAUSE_SECONDS = 0.01
SHOWN = 60
# A lock of two keys: `objsubid` 2 says so. Time is the database's: a busy client reads an answer late.
HOLDERS = text("""
    SELECT CAST(extract(epoch FROM clock_timestamp()) AS float8), h.virtualtransaction, h.application_name, h.query, h.began
    FROM (VALUES (1)) AS once LEFT JOIN (
        SELECT l.virtualtransaction, a.application_name, a.query, CAST(extract(epoch FROM a.xact_start) AS float8) AS began
        FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
        WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 2
          AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
          AND l.classid = CAST(:first AS bigint) AND l.objid = CAST(:second AS bigint)) h ON true
""")


class Look(NamedTuple):
    """What one look found: when, and the transaction that held the lock, if any did, with its statement and when it began."""

    at: float
    transaction: str | None = None
    application: str | None = None
    query: str | None = None
    began: float | None = None


@dataclass
class LockWatch:
    """`longest`: seconds between the first and the last look that found one transaction holding it, and of the pause before what
    the transaction was there for. `holder`: who that was, and the statement that most looks found."""

    state: Path
    longest: float = 0.0
    holder: str = "nobody"
    times: int = 0
    _before: float | None = None
    _since: dict[str, float] = field(default_factory=dict)
    _queries: Counter[str] = field(default_factory=Counter)

    async def run(self) -> None:
        """Until cancelled."""
        # Others see of a statement only that there is one.
        engine = administrator(self.state).engine
        try:
            async with engine.connect() as conn:
                await conn.execution_options(isolation_level="AUTOCOMMIT")
                while True:
                    rows = await conn.execute(HOLDERS, dict(zip(("first", "second"), locks.COMMIT_ORDER, strict=True)))
                    self.note(Look(*row) for row in rows)
                    await asyncio.sleep(PAUSE_SECONDS)
        finally:
            await engine.dispose()

    def note(self, looks: Iterable[Look]) -> None:
        """Take down what a look found: one row, without a transaction where nobody holds the lock."""
        for look in looks:
            if look.transaction not in self._since:
                began = look.at if look.began is None else look.began
                before = look.at if self._before is None else self._before
                self._queries = Counter()
                self._since = {} if look.transaction is None else {look.transaction: min(look.at, max(before, began))}
                self.times += len(self._since)
            self._before = look.at
            self._queries[" ".join((look.query or "").split())[:SHOWN]] += 1
            for since in self._since.values():
                if look.at - since > self.longest:
                    self.longest = look.at - since
                    self.holder = f"{look.application} (`{self._queries.most_common(1)[0][0]}`)"
