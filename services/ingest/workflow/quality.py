"""What an ingest unit says of itself when it is completed, and later, when a price is there after all."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from services.ingest.compute.gap_changes import GapChange
from services.ingest.compute.shortfalls import fall_short
from services.ingest.model.stored import Absence, Affected, LotCost
from services.ingest.store import quality
from shared import ledger
from shared.ledger import Outcome
from shared.market.calendar import Calendar
from shared.market.registry import LOOKBACK
from shared.work import MissingUnit, Phase, UnitKey


@dataclass(frozen=True)
class Ahead:
    """What units will say of themselves, worked out before the commit-order lock.

    version : of what it was worked out from; behind the lock it holds only while this is the same
    """

    portfolios: frozenset[UUID]
    windows: Sequence[tuple[date, date]]
    version: str
    outcomes: Mapping[UnitKey, Outcome]
    reasons: ledger.EncodedReasons

    async def find_outcomes(
        self, conn: AsyncConnection, units: Sequence[MissingUnit]
    ) -> dict[MissingUnit, Outcome] | None:
        """Of the units; None where one is not among these, or a lot or an absence has changed. Needs the commit-order lock."""
        found = {unit: self.outcomes.get(UnitKey(unit.portfolio_id, unit.session)) for unit in units}
        known = {unit: outcome for unit, outcome in found.items() if outcome is not None}
        if len(known) < len(found) or await quality.version(conn, self.portfolios, self.windows) != self.version:
            return None
        return known


async def assess_ahead(conn: AsyncConnection, units: Sequence[MissingUnit], lookbacks: Mapping[date, date]) -> Ahead:
    """As `assess`, and encoded, with what tells later whether it still holds. In a snapshot: what is read belongs together."""
    portfolios = frozenset(unit.portfolio_id for unit in units)
    windows = [(session, lookbacks[session]) for session in sorted({unit.session for unit in units})]
    version = await quality.version(conn, portfolios, windows)
    outcomes = await assess(conn, units, lookbacks)
    return Ahead(
        portfolios,
        windows,
        version,
        {UnitKey(unit.portfolio_id, unit.session): outcome for unit, outcome in outcomes.items()},
        await ledger.encode_reasons(outcomes.values()),
    )


async def assess(
    conn: AsyncConnection, units: Sequence[MissingUnit], lookbacks: Mapping[date, date], ahead: Ahead | None = None
) -> dict[MissingUnit, Outcome]:
    """Partial, with (symbol, reason), where a symbol held on the session has no price on it, or one in its window is waited for.

    lookbacks : by session, the first session of its window
    ahead     : what was worked out before the lock; used where it still holds
    Coverage is the share of the portfolio's gross cost whose symbols have a price; what the price is worth is known later.
    A private holding stands at its stated value and is covered. A proxy without a price is not the portfolio's fault.
    """
    if not units:
        return {}
    if ahead is not None and (found := await ahead.find_outcomes(conn, units)) is not None:
        return found
    sessions = sorted({unit.session for unit in units})
    windows = [(session, lookbacks[session]) for session in sessions]
    absences = await quality.find_absences(conn, {unit.portfolio_id for unit in units}, windows)
    lots = await quality.find_lots(conn, absences)
    # Of thousands of lots on hundreds of sessions it takes a while: not on the event loop.
    short = await asyncio.to_thread(
        lambda: {portfolio: _outcomes(lacked, lots[portfolio], windows) for portfolio, lacked in absences.items()}
    )
    return {unit: short.get(unit.portfolio_id, {}).get(unit.session) or Outcome() for unit in units}


def _outcomes(
    absences: Sequence[Absence], lots: Sequence[LotCost], windows: Sequence[tuple[date, date]]
) -> dict[date, Outcome]:
    """By session; sessions that lack the same share one object."""
    found: dict[date, Outcome] = {}
    for sessions, short in fall_short(absences, lots, windows):
        reasons = [{"figure": None, "symbol": symbol, "reason": reason} for symbol, reason in short.reasons]
        found |= dict.fromkeys(sessions, Outcome("partial", short.coverage, reasons, short.waits))
    return found


async def restate_quality(conn: AsyncConnection, ended: Mapping[str, Sequence[GapChange]], calendar: Calendar) -> None:
    """What completed units of this phase say of themselves is what is known now; their results are nobody's but the prices."""
    seen = [
        Affected(
            symbol, Phase.INGEST, calendar.session(span.first), calendar.forward(calendar.session(span.last), LOOKBACK)
        )
        for symbol, spans in ended.items()
        for span in spans
    ]
    units = await quality.find_short_units(conn, seen)
    if units:
        outcomes = await assess(conn, units, lookbacks_of({unit.session for unit in units}, calendar))
        await ledger.restate_quality(conn, Phase.INGEST, outcomes)


def lookbacks_of(sessions: Iterable[date], calendar: Calendar) -> dict[date, date]:
    """By session, ascending, the first one of its window."""
    return {session: calendar.back(session, LOOKBACK) for session in sorted(sessions)}
