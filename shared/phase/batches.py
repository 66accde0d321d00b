"""Which batch comes next, and what of it is still to be done."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import NamedTuple

from sqlalchemy.ext.asyncio import AsyncConnection

from shared import ledger
from shared.db import sizes
from shared.market.calendar import Calendar
from shared.phase.selection import select
from shared.work import (
    CHAINED,
    MAX_ROWS,
    MAX_UNITS,
    Batch,
    Phase,
    RowsPerSession,
    UnitKey,
    UnitsOf,
    cut,
    group_units,
    rows_per_session,
)

# Of a portfolio alone facts of so many sessions are computed at a time: risk begins with them while those of the next are computed.
FACTS_AT_A_TIME = 256


class NextBatch(NamedTuple):
    """What a run does next.

    share    : of what a batch may cost
    is_whole : it is all there was to do
    """

    batch: Batch
    share: float
    is_whole: bool


async def next_batch(
    conn: AsyncConnection,
    phase: Phase,
    ready: Sequence[UnitsOf],
    days: Calendar,
    attempted: Sequence[Batch],
    deaths: int,
) -> NextBatch | None:
    """The first batch of the ready units that were not attempted; half as large for each death in a row, because most die of
    memory."""
    if ready and attempted:
        tried = {unit for batch in attempted for unit in batch.units}
        ready = group_units(select(phase, ledger.units_of(ready), lambda unit: unit not in tried))
    if not ready:
        return None
    sessions = days.between(min(units.sessions[0] for units in ready), max(units.sessions[-1] for units in ready))
    most_units, most_rows = max(1, MAX_UNITS >> deaths), max(1, MAX_ROWS[phase] >> deaths)
    if phase is Phase.FACTORS and len(ready) == 1:
        most_units = min(most_units, max(1, FACTS_AT_A_TIME >> deaths))
    rows = await _read_costs(conn, phase, ready, sessions, most_rows // len(sessions))
    batch = cut(ready, sessions, max_units=most_units, rows=rows, max_rows=most_rows)[0]
    share = rows(batch.portfolios) * len(batch.sessions) / MAX_ROWS[phase]
    return NextBatch(batch, share, len(batch) == sum(len(units.sessions) for units in ready))


async def _read_costs(
    conn: AsyncConnection, phase: Phase, ready: Sequence[UnitsOf], sessions: Sequence[date], most: int
) -> RowsPerSession:
    """What a session of portfolios costs. Prices are looked for only if more than `most` would come of it that everything held has
    one: a night's batch is a fifth of that."""
    portfolios = [units.portfolio_id for units in ready]
    reach = sessions[0], sessions[-1]
    rows = rows_per_session(phase, await sizes.read(conn, phase, portfolios, *reach, all_priced=True))
    if phase is not Phase.RISK or rows(portfolios) <= most:
        return rows
    return rows_per_session(phase, await sizes.read(conn, phase, portfolios, *reach))


async def current_batch(conn: AsyncConnection, phase: Phase, batch: Batch, days: Calendar) -> Batch | None:
    """What of the batch is missing and ready in this snapshot: revisions may have risen, units may be complete or deleted."""
    ready = await ledger.find_ready(conn, phase, batch.portfolios, batch.first, batch.last)
    # A day that is a session since the batch was cut lies between two of its neighbours.
    sessions = days.between(batch.first, batch.last)
    if tuple(sessions) == batch.sessions and _are_those_of(ready, batch, phase):
        return batch
    wanted = {UnitKey(unit.portfolio_id, unit.session) for unit in batch.units}
    units = select(phase, ledger.units_of(ready), lambda unit: UnitKey(unit.portfolio_id, unit.session) in wanted)
    found = cut(group_units(units), sessions)
    return found[0] if found else None


def _are_those_of(ready: Sequence[UnitsOf], batch: Batch, phase: Phase) -> bool:
    """Whether the ready units are the batch's. What follows its sessions in a chain is ready, too, and of another batch."""
    reach = len(batch.sessions) if phase in CHAINED else None
    return [(p, sessions[:reach], revisions[:reach]) for p, sessions, revisions in sorted(ready)] == [
        (portfolio, batch.sessions, revisions)
        for portfolio, revisions in zip(batch.portfolios, batch.revisions, strict=True)
    ]
