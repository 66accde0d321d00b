"""What a symbol is and which sector it is in goes into risk: whoever learns of it requires anew what that changes."""

from collections.abc import Sequence
from datetime import date
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from services.ingest.model.stored import Affected, ProfileRow
from services.ingest.store import profiles, readiness
from shared import ledger
from shared.db.engine import assert_commit_order_lock, next_change_seq
from shared.market.sectors import gics
from shared.work import Phase


async def record_profiles(
    conn: AsyncConnection, rows: Sequence[ProfileRow], statements: Sequence[dict[str, Any]] = ()
) -> list[Affected]:
    """Write profiles; answers whose risk they change, from the day on that they count from. Needs the commit-order lock."""
    if not rows:
        return []
    await assert_commit_order_lock(conn)
    asked = [(row.symbol_id, row.as_of) for row in rows]
    before = await profiles.classes(conn, asked)
    await profiles.write(conn, rows, statements)
    after = await profiles.classes(conn, asked)
    # Another vendor's name of the same sector changes nothing.
    return [
        Affected(symbol, Phase.RISK, day, date.max)
        for (id_, day), (symbol, asset_type, sector) in sorted(after.items())
        if (asset_type, gics(sector)) != (before[id_, day][1], gics(before[id_, day][2]))
    ]


async def restate(conn: AsyncConnection, affected: Sequence[Affected]) -> int:
    """Require anew the risk of sessions that are complete already; of the others nothing is said yet. Returns how many."""
    demands = await readiness.affected_units(conn, affected, ())
    return len(await ledger.require(conn, demands, await next_change_seq(conn))) if demands else 0
