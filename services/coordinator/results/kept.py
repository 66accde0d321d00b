"""Answers that are read once and hold for as long as nothing was committed."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

Answer = TypeVar("Answer")
MOST = 4


class Kept(Generic[Answer]):
    """The last answers, each with the snapshot that it was read in.

    A snapshot names the first transaction that had not begun and those that were running: whatever commits later is one of these, and
    the next snapshot says something else. Equal ones see the same rows, so what is read in the one is true in the other. Only for what
    depends on rows and on `key`, not on the time of day.

    A standby's snapshot does not name those that were running, so there nothing is kept.
    """

    def __init__(self) -> None:
        self._answers: OrderedDict[Hashable, tuple[str, Answer]] = OrderedDict()

    async def get(self, conn: AsyncConnection, key: Hashable, read: Callable[[], Awaitable[Answer]]) -> Answer:
        """What is kept under the key, if nothing was committed since; else what `read` says. `conn` reads in one snapshot."""
        seen = await conn.scalar(
            text(
                "SELECT CASE WHEN NOT pg_is_in_recovery() THEN pg_current_snapshot() || ' ' || pg_postmaster_start_time() END"
            )
        )
        known = self._answers.get(key)
        if seen is not None and known is not None and known[0] == seen:
            return known[1]
        answer = await read()
        if seen is not None:
            self._answers[key] = (str(seen), answer)
            self._answers.move_to_end(key)
        while len(self._answers) > MOST:
            self._answers.popitem(last=False)
        return answer
