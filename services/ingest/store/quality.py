"""What an ingest unit says of itself, and whether what is still waited for is little enough to go on without."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import date
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.ingest.model.stored import Affected
from services.ingest.store.universe import REQUIRED_COVERAGE
from shared.ledger import Outcome
from shared.market.registry import COVERAGE_GATE
from shared.work import MissingUnit, UnitKey

# What a lot cost, without sign.
_COST = "CAST(abs(quantity) * entry_price * CASE investment_class WHEN 'OPTIONS' THEN 100 ELSE 1 END AS float8)"


async def within_gate(
    conn: AsyncConnection, units: Sequence[MissingUnit], lookbacks: Mapping[date, date]
) -> list[MissingUnit]:
    """Those of the units of which what is waited for is less of the gross cost than a figure may lack (1 - COVERAGE_GATE).

    Above it the value of the portfolio itself is not known well enough to be published, however long the wait.
    """
    if not units:
        return []
    rows = await conn.execute(
        text(f"""
            WITH keys AS (
                SELECT * FROM unnest(CAST(:portfolios AS uuid[]), CAST(:sessions AS date[]), CAST(:starts AS date[]))
                    AS k (portfolio_id, session, start)
            ), waits AS MATERIALIZED (
                SELECT n.lot_id, min(g.first) AS first, max(g.last) AS last
                FROM ({REQUIRED_COVERAGE}) n JOIN ingest.symbols s ON s.symbol = n.symbol
                JOIN ingest.gaps g ON g.symbol_id = s.id AND NOT g.terminal
                WHERE n.portfolio_id IN (SELECT portfolio_id FROM keys) GROUP BY n.lot_id
            ), lots AS MATERIALIZED (
                SELECT p.portfolio_id, p.entry_session, p.exit_session, w.first, w.last, {_COST} AS cost
                FROM coordinator.positions p LEFT JOIN waits w ON w.lot_id = p.id
                WHERE p.portfolio_id IN (SELECT portfolio_id FROM keys) AND p.deleted_at IS NULL
            )
            SELECT k.portfolio_id, k.session FROM keys k JOIN lots l ON l.portfolio_id = k.portfolio_id
                AND l.entry_session <= k.session AND (l.exit_session IS NULL OR l.exit_session >= k.session)
            GROUP BY k.portfolio_id, k.session
            HAVING coalesce(sum(l.cost) FILTER (WHERE l.first <= k.session AND l.last >= k.start), 0) < :most * sum(l.cost)
        """),
        {
            "portfolios": [unit.portfolio_id for unit in units],
            "sessions": [unit.session for unit in units],
            "starts": [lookbacks[unit.session] for unit in units],
            "most": 1.0 - COVERAGE_GATE,
        },
    )
    passed = {UnitKey(*row) for row in rows}
    return [unit for unit in units if UnitKey(unit.portfolio_id, unit.session) in passed]


async def assess(
    conn: AsyncConnection, units: Sequence[MissingUnit], lookbacks: Mapping[date, date]
) -> dict[MissingUnit, Outcome]:
    """Partial, with (symbol, reason), where a symbol held on the session has no price on it, or one in its window is waited for.

    lookbacks : by session, the first session of its window
    Coverage is the share of the portfolio's gross cost whose symbols have a price; what the price is worth is known later.
    A private holding stands at its stated value and is covered. A proxy without a price is not the portfolio's fault.
    """
    if not units:
        return {}
    missing = await conn.execute(
        text(f"""
            WITH keys AS (
                SELECT * FROM unnest(CAST(:portfolios AS uuid[]), CAST(:sessions AS date[]), CAST(:starts AS date[]))
                    AS k (portfolio_id, session, start)
            ), absent AS MATERIALIZED (
                SELECT n.*, g.reason, g.terminal, g.first, g.last
                FROM ({REQUIRED_COVERAGE}) n
                JOIN ingest.symbols s ON s.symbol = n.symbol
                JOIN ingest.gaps g ON g.symbol_id = s.id
                WHERE n.portfolio_id IN (SELECT portfolio_id FROM keys)
            )
            SELECT k.portfolio_id, k.session, a.lot_id, a.symbol, a.reason, NOT a.terminal
            FROM keys k JOIN absent a ON a.portfolio_id = k.portfolio_id
                AND k.session >= a.entry_session AND (a.exit_session IS NULL OR k.session <= a.exit_session)
                AND a.first <= k.session AND (a.last >= k.session OR NOT a.terminal AND a.last >= k.start)
        """),
        {
            "portfolios": [unit.portfolio_id for unit in units],
            "sessions": [unit.session for unit in units],
            "starts": [lookbacks[unit.session] for unit in units],
        },
    )
    fell_short: dict[UnitKey, list[Any]] = defaultdict(list)
    for portfolio, session, lot, symbol, reason, waits in missing:
        fell_short[UnitKey(portfolio, session)].append((lot, symbol, reason, waits))
    gross = await _gross(conn, {key.portfolio_id for key in fell_short})
    return {
        unit: _assess(absent, gross[unit.portfolio_id], unit.session)
        if (absent := fell_short.get(UnitKey(unit.portfolio_id, unit.session)))
        else Outcome()
        for unit in units
    }


def _assess(absent: Sequence[Any], lots: Sequence[Any], session: date) -> Outcome:
    held = {lot: cost for lot, entry, exit_, cost in lots if entry <= session and (exit_ is None or exit_ >= session)}
    lost = {lot for lot, _, _, _ in absent}
    waits = {lot for lot, _, _, waiting in absent if waiting}
    # In one order whatever the database's: the sum is stored.
    total = sum(cost for _, cost in sorted(held.items()))
    backed = sum(cost for lot, cost in sorted(held.items()) if lot not in lost)
    reasons = sorted({(symbol, reason) for _, symbol, reason, _ in absent})
    return Outcome(
        quality="partial",
        coverage=min(1.0, backed / total) if total > 0 else 0.0,
        reasons=[{"figure": None, "symbol": symbol, "reason": reason} for symbol, reason in reasons],
        provisional=bool(waits),
    )


async def _gross(conn: AsyncConnection, portfolios: Collection[UUID]) -> dict[UUID, list[Any]]:
    """Lots of the portfolios with what they cost, without sign."""
    if not portfolios:
        return {}
    rows = await conn.execute(
        text(f"""
            SELECT portfolio_id, id, entry_session, exit_session,
                   {_COST}
            FROM coordinator.positions
            WHERE portfolio_id = ANY (CAST(:portfolios AS uuid[])) AND deleted_at IS NULL
        """),
        {"portfolios": list(portfolios)},
    )
    lots: dict[UUID, list[Any]] = defaultdict(list)
    for portfolio, *lot in rows:
        lots[portfolio].append(lot)
    return lots


async def find_short_units(conn: AsyncConnection, changed: Sequence[Affected]) -> list[MissingUnit]:
    """Completed ingest units that fell short, with the revision they have, on sessions that see a symbol whose absences changed."""
    if not changed:
        return []
    rows = await conn.execute(
        text(f"""
            SELECT DISTINCT u.portfolio_id, u.session, u.completed_revision
            FROM unnest(CAST(:symbols AS text[]), CAST(:firsts AS date[]), CAST(:lasts AS date[])) AS c (symbol, first, last)
            JOIN ({REQUIRED_COVERAGE}) n ON n.symbol = c.symbol
            JOIN ledger.units u ON u.portfolio_id = n.portfolio_id AND u.phase = 'ingest' AND u.quality = 'partial'
                AND u.session BETWEEN greatest(c.first, n.entry_session) AND least(c.last, n.exit_session)
            WHERE u.completed_revision >= u.required_revision
        """),
        {
            "symbols": [change.symbol for change in changed],
            "firsts": [change.first for change in changed],
            "lasts": [change.last for change in changed],
        },
    )
    return [MissingUnit(*row) for row in rows]
