"""How long anybody holds the commit-order lock at a time: seen from outside, by a look every few milliseconds."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import text

from shared.db import locks
from shared.db.engine import create_engine

PAUSE_SECONDS = 0.01
# A lock of two keys: `objsubid` 2 says so.
HOLDERS = text("""
    SELECT virtualtransaction FROM pg_locks
    WHERE locktype = 'advisory' AND granted AND objsubid = 2
      AND classid = CAST(:first AS bigint) AND objid = CAST(:second AS bigint)
""")


@dataclass
class LockWatch:
    """`longest`: seconds between the first and the last look that found one transaction holding it, and the pause before each."""

    state: Path
    longest: float = 0.0
    times: int = 0
    _since: dict[str, float] = field(default_factory=dict)

    async def run(self) -> None:
        """Until cancelled."""
        url = json.loads((self.state / "running.json").read_text())["database"]
        engine = create_engine(url, application="leadline-load", pool_size=1)
        try:
            async with engine.connect() as conn:
                await conn.execution_options(isolation_level="AUTOCOMMIT")
                before = time.monotonic()
                while True:
                    held = set(
                        await conn.scalars(HOLDERS, dict(zip(("first", "second"), locks.COMMIT_ORDER, strict=True)))
                    )
                    self._note(held, before, time.monotonic())
                    before = time.monotonic()
                    await asyncio.sleep(PAUSE_SECONDS)
        finally:
            await engine.dispose()

    def _note(self, held: set[str], before: float, now: float) -> None:
        self.times += len(held - self._since.keys())
        self._since = {holder: self._since.get(holder, before) for holder in held}
        self.longest = max([self.longest, *(now - since for since in self._since.values())])
