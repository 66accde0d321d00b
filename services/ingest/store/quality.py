"""What the portfolios of ingest units lack, and whether what is still waited for is little enough to go on without."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import date
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.ingest.model.stored import Absence, Affected, LotCost
from services.ingest.store.universe import REQUIRED_COVERAGE
from shared.market.registry import COVERAGE_GATE
from shared.work import MissingUnit, UnitKey

# What a lot cost, without sign.
_COST = "CAST(abs(quantity) * entry_price * CASE investment_class WHEN 'OPTIONS' THEN 100 ELSE 1 END AS float8)"


# A row an absence of a lot, not one a session. From the gaps on: where no symbol has one, no lot is looked at.
_ABSENCES = f"""
    WITH gaps AS MATERIALIZED (
        SELECT s.symbol, g.reason, g.terminal, g.first, g.last
        FROM ingest.gaps g JOIN ingest.symbols s ON s.id = g.symbol_id
        WHERE g.first <= :last AND g.last >= CASE WHEN g.terminal THEN CAST(:first AS date) ELSE :start END
    )
    SELECT n.portfolio_id, n.lot_id, n.symbol, g.reason, NOT g.terminal,
           greatest(n.entry_session, g.first), n.exit_session, g.last
    FROM gaps g JOIN ({REQUIRED_COVERAGE}) n ON n.symbol = g.symbol
    WHERE n.portfolio_id = ANY (CAST(:portfolios AS uuid[]))
      AND n.entry_session <= :last AND (n.exit_session IS NULL OR n.exit_session >= :first)
"""


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


async def find_absences(
    conn: AsyncConnection, portfolios: Collection[UUID], windows: Sequence[tuple[date, date]]
) -> dict[UUID, list[Absence]]:
    """What has no price within the windows of (session, its first session), ascending; an absence of a lot, not one a session."""
    rows = await conn.execute(text(_ABSENCES), _absences_of(portfolios, windows))
    found: dict[UUID, list[Absence]] = defaultdict(list)
    for portfolio, *absence in rows:
        found[portfolio].append(Absence(*absence))
    return found


def _absences_of(portfolios: Collection[UUID], windows: Sequence[tuple[date, date]]) -> dict[str, Any]:
    return {"portfolios": list(portfolios), "first": windows[0][0], "last": windows[-1][0], "start": windows[0][1]}


async def version(conn: AsyncConnection, portfolios: Collection[UUID], windows: Sequence[tuple[date, date]]) -> str:
    """Another one whenever `find_absences`, or `find_lots` of who has absences, answers something else."""
    found = await conn.scalar(
        text(f"""
            WITH absences AS MATERIALIZED (SELECT * FROM ({_ABSENCES}) a)
            SELECT concat_ws(' ', (SELECT concat_ws(' ', count(*), sum(hashtextextended(CAST(a AS text), 0))) FROM absences a),
                             (SELECT concat_ws(' ', count(*), sum(hashtextextended(id::text, xmin::text::bigint)))
                              FROM coordinator.positions
                              WHERE portfolio_id = ANY (CAST(:portfolios AS uuid[])) AND deleted_at IS NULL
                                AND portfolio_id IN (SELECT portfolio_id FROM absences)))
        """),
        _absences_of(portfolios, windows),
    )
    return str(found)


async def find_lots(conn: AsyncConnection, portfolios: Collection[UUID]) -> dict[UUID, list[LotCost]]:
    """Lots of the portfolios with what they cost, without sign; in the order of their ids."""
    if not portfolios:
        return {}
    rows = await conn.execute(
        text(f"""
            SELECT portfolio_id, id, entry_session, exit_session, {_COST}
            FROM coordinator.positions
            WHERE portfolio_id = ANY (CAST(:portfolios AS uuid[])) AND deleted_at IS NULL ORDER BY id
        """),
        {"portfolios": list(portfolios)},
    )
    lots: dict[UUID, list[LotCost]] = defaultdict(list)
    for portfolio, *lot in rows:
        lots[portfolio].append(LotCost(*lot))
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
