"""How the server runs a statement that the code sent: counted by itself, with the rights of whoever sent it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncConnection

Sent = list[tuple[str, Sequence[Any]]]


@contextmanager
def sent(db: AsyncConnection, containing: str = "") -> Iterator[Sent]:
    """The statements with these words in them that are sent while the block runs, and their parameters."""
    found: Sent = []

    def note(_conn: object, _cursor: object, statement: str, parameters: Sequence[Any], *_: object) -> None:
        if containing in statement:
            found.append((statement, parameters))

    event.listen(db.sync_connection, "before_cursor_execute", note)
    try:
        yield found
    finally:
        event.remove(db.sync_connection, "before_cursor_execute", note)


async def plan_of(db: AsyncConnection, statements: Sent) -> dict[str, Any]:
    """The plan of the one statement, which is run once more for it."""
    ((statement, parameters),) = statements
    plans = (await db.exec_driver_sql(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", tuple(parameters))).scalar_one()
    return dict(plans[0]["Plan"])
