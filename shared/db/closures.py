"""Closures of the exchange that users entered, read beside whatever is computed under them.

They change only under the commit-order lock, together with everything that depends on them. So who reads them in the snapshot of
its inputs has the calendar that belongs to these inputs, and who reads them under the lock has the calendar there is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.statements import statement
from shared.errors import TransientError
from shared.market.calendar import Closure, Closures, closures, set_calendar

COLUMNS = "day, close_at, reason, change, withdrawn_at"


class CalendarMoved(TransientError):
    """The calendar changed while something was computed from it; done again, it comes out right."""

    code = "calendar_moved"


async def find_closures(conn: AsyncConnection) -> Closures:
    """All closures as this transaction sees them."""
    return of_rows((await conn.execute(statement(f"SELECT {COLUMNS} FROM coordinator.closures ORDER BY day"))).all())


def of_rows(rows: Sequence[Row[Any]]) -> Closures:
    """From the `COLUMNS` of all closures, ascending by day."""
    return Closures(
        tuple(Closure(row.day, row.close_at, row.reason) for row in rows if row.withdrawn_at is None),
        tuple((row.day, row.change) for row in rows if row.change is not None),
    )


async def load_closures(conn: AsyncConnection) -> None:
    """From here on the task computes under the closures there are: a loop's turn, a request, whatever comes after the lock."""
    set_calendar(await find_closures(conn))


async def assert_calendar_current(conn: AsyncConnection) -> None:
    """Under the commit-order lock: raises `CalendarMoved` if the closures are not those the caller computed under."""
    if await find_closures(conn) != closures():
        raise CalendarMoved("the exchange calendar changed during the computation; it is retried with the new one")
