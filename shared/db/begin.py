"""What a transaction is told as it begins goes to the server in the message that begins it: a message less, and its answer."""

from __future__ import annotations

from typing import Any

import asyncpg

_BEGINS = "BEGIN"


class Connection(asyncpg.Connection):  # type: ignore[misc]
    """A connection of the driver whose next transaction may be told something.

    at_begin : SQL without values of users, for the next transaction that begins; each that does not begin leaves it to be replaced
    """

    __slots__ = ("at_begin",)

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self.at_begin = ""

    async def execute(self, query: str, *args: Any, timeout: float | None = None) -> str:  # noqa: ASYNC109 (the driver's signature)
        """As the driver does. It begins, commits and rolls back by this, in the protocol that takes several statements at once."""
        if self.at_begin and query.startswith(_BEGINS):
            query, self.at_begin = query + self.at_begin, ""
        done: str = await super().execute(query, *args, timeout=timeout)
        return done


def say_at_begin(connection: Any, sql: str) -> None:
    """Let the server be told with the beginning of the transaction that SQLAlchemy's connection is about to begin, and of no other."""
    connection.connection.driver_connection.at_begin = sql
