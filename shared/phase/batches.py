"""Which batch comes next, and what of it is still to be done."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sqlalchemy.ext.asyncio import AsyncConnection

from shared import ledger
from shared.db import sizes
from shared.market.calendar import Calendar
from shared.phase.selection import select
from shared.work import MAX_ROWS, MAX_UNITS, Batch, MissingUnit, Phase, RowsPerSession, UnitKey, cut, rows_per_session

# Of a portfolio alone facts of so many sessions are computed at a time: risk begins with them while those of the next are computed.
FACTS_AT_A_TIME = 256


async def next_batch(
    conn: AsyncConnection,
    phase: Phase,
    ready: Sequence[MissingUnit],
    days: Calendar,
    attempted: Collection[MissingUnit],
    deaths: int,
) -> tuple[Batch, float] | None:
    """The first batch of the ready units that were not attempted, and its share of what a batch may cost; half as large for each
    death in a row, because most die of memory."""
    units = select(phase, ready, lambda unit: unit not in attempted)
    if not units:
        return None
    sessions = days.between(min(u.session for u in units), max(u.session for u in units))
    most_units, most_rows = max(1, MAX_UNITS >> deaths), max(1, MAX_ROWS[phase] >> deaths)
    if phase is Phase.FACTORS and len({unit.portfolio_id for unit in units}) == 1:
        most_units = min(most_units, FACTS_AT_A_TIME)
    rows = await _read_costs(conn, phase, units, most_rows // len(sessions))
    batch = cut(units, sessions, max_units=most_units, rows=rows, max_rows=most_rows)[0]
    return batch, rows(batch.portfolios) * len(batch.sessions) / MAX_ROWS[phase]


async def _read_costs(conn: AsyncConnection, phase: Phase, units: Sequence[MissingUnit], most: int) -> RowsPerSession:
    """What a session of portfolios costs. Prices are looked for only if more than `most` would come of it that everything held has
    one: a night's batch is a fifth of that."""
    rows = rows_per_session(phase, await sizes.read(conn, phase, units, all_priced=True))
    if phase is not Phase.RISK or rows(list({unit.portfolio_id for unit in units})) <= most:
        return rows
    return rows_per_session(phase, await sizes.read(conn, phase, units))


async def current_batch(conn: AsyncConnection, phase: Phase, batch: Batch, days: Calendar) -> Batch | None:
    """What of the batch is missing and ready in this snapshot: revisions may have risen, units may be complete or deleted."""
    units = await ledger.ready(conn, phase, batch.portfolios, batch.first, batch.last)
    wanted = {UnitKey(unit.portfolio_id, unit.session) for unit in batch.units}
    units = select(phase, units, lambda unit: UnitKey(unit.portfolio_id, unit.session) in wanted)
    # A day that is a session since the batch was cut lies between two of its neighbours.
    found = cut(units, days.between(batch.first, batch.last))
    return found[0] if found else None
