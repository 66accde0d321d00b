"""Which ingest units are complete now, and which other units a changed price concerns."""

from collections.abc import Collection, Mapping, Sequence
from datetime import date
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.ingest.model.stored import Affected
from services.ingest.store.universe import REQUIRED_COVERAGE
from shared.work import MissingUnit, Phase


async def portfolios_holding(
    conn: AsyncConnection, symbols: Collection[str], sessions: Sequence[date], limit: int
) -> list[UUID]:
    """At most `limit` portfolios that hold one of the symbols and miss an ingest unit on one of the sessions."""
    if limit <= 0:
        return []
    rows = await conn.execute(
        text("""
            SELECT h.portfolio_id FROM (
                SELECT portfolio_id FROM coordinator.positions
                WHERE deleted_at IS NULL AND symbol = ANY (CAST(:symbols AS text[]))
                UNION
                SELECT portfolio_id FROM coordinator.positions
                WHERE deleted_at IS NULL AND investment_class = 'OPTIONS' AND underlying_symbol = ANY (CAST(:symbols AS text[]))
            ) h
            WHERE EXISTS (
                SELECT 1 FROM ledger.units u
                WHERE u.portfolio_id = h.portfolio_id AND u.phase = 'ingest' AND u.session BETWEEN :first AND :last
                  AND u.completed_revision < u.required_revision AND u.blocked_reason IS NULL
            )
            LIMIT :limit
        """),
        {"symbols": list(symbols), "first": min(sessions), "last": max(sessions), "limit": limit},
    )
    return [row[0] for row in rows]


async def count_lots(conn: AsyncConnection, portfolios: Sequence[UUID]) -> int:
    """Lots of the portfolios."""
    return int(
        await conn.scalar(
            text("""
                SELECT count(*) FROM coordinator.positions
                WHERE portfolio_id = ANY (CAST(:portfolios AS uuid[])) AND deleted_at IS NULL
            """),
            {"portfolios": list(portfolios)},
        )
        or 0
    )


async def count_absences(
    conn: AsyncConnection, portfolios: Sequence[UUID], first: date, last: date
) -> Mapping[UUID, int]:
    """By portfolio, how many of its lots have no price on some session of [first, last]; those with none are left out."""
    rows = await conn.execute(
        text(f"""
            WITH gaps AS MATERIALIZED (
                SELECT s.symbol, g.first FROM ingest.gaps g JOIN ingest.symbols s ON s.id = g.symbol_id
                WHERE g.first <= :last AND g.last >= :first
            )
            SELECT n.portfolio_id, count(DISTINCT n.lot_id) FROM gaps g JOIN ({REQUIRED_COVERAGE}) n ON n.symbol = g.symbol
            WHERE n.portfolio_id = ANY (CAST(:portfolios AS uuid[]))
              AND n.entry_session <= :last AND (n.exit_session IS NULL OR n.exit_session >= g.first)
            GROUP BY n.portfolio_id
        """),
        {"portfolios": list(portfolios), "first": first, "last": last},
    )
    return {portfolio: int(count) for portfolio, count in rows}


class Readiness(NamedTuple):
    """Missing units whose symbols are covered over their whole window.

    known   : nothing is waited for
    overdue : something is waited for, and has been for longer than patience lasts
    """

    known: list[MissingUnit]
    overdue: list[MissingUnit]


_READY = f"""
    WITH look AS (
        SELECT * FROM unnest(CAST(:sessions AS date[]), CAST(:lookbacks AS date[])) AS l (session, start)
    ), lots AS MATERIALIZED (
        SELECT n.*, s.id AS symbol_id, s.covered_from, s.covered_to
        FROM ({REQUIRED_COVERAGE}) n LEFT JOIN ingest.symbols s ON s.symbol = n.symbol
        WHERE n.portfolio_id = ANY (CAST(:portfolios AS uuid[]))
    ), short AS MATERIALIZED (
        -- Lots not known over the whole rectangle. When all is well there is none, and what follows costs nothing.
        SELECT * FROM lots
        WHERE covered_from IS NULL OR covered_from > :first_start OR covered_to < :last_session
    ), unsettled AS MATERIALIZED (
        SELECT l.portfolio_id, l.entry_session, l.exit_session, g.first, g.last
        FROM lots l JOIN ingest.gaps g ON g.symbol_id = l.symbol_id WHERE NOT g.terminal
    ), candidates AS (
        SELECT u.portfolio_id, u.session, u.required_revision, u.required_at,
               EXISTS (
                   SELECT 1 FROM unsettled w
                   WHERE w.portfolio_id = u.portfolio_id AND w.entry_session <= look.session
                     AND (w.exit_session IS NULL OR w.exit_session >= look.session)
                     AND w.first <= look.session AND w.last >= look.start) AS waits
        FROM look JOIN ledger.units u ON u.session = look.session
        WHERE u.portfolio_id = ANY (CAST(:portfolios AS uuid[])) AND u.phase = 'ingest'
          AND u.completed_revision < u.required_revision
          AND NOT EXISTS (
              SELECT 1 FROM short x
              WHERE x.portfolio_id = u.portfolio_id AND x.entry_session <= look.session
                AND (x.exit_session IS NULL OR x.exit_session >= look.session)
                AND (x.covered_from IS NULL OR x.covered_from > look.start OR x.covered_to < look.session))
    )
    SELECT portfolio_id, session, required_revision, waits FROM candidates
    WHERE NOT waits OR required_at <= clock_timestamp() - make_interval(secs => :patience)
"""


async def ready(
    conn: AsyncConnection,
    portfolios: Sequence[UUID],
    sessions: Sequence[date],
    lookbacks: Sequence[date],
    patience: float,
) -> Readiness:
    """Missing ingest units whose holdings are known from the session's lookback to the session.

    sessions, lookbacks : the sessions in question, ascending, and for each the first session of its window.
    patience            : seconds, from when a unit became required
    An absence that may still pass (`terminal` false) holds back every unit whose window it touches, while patience lasts. Factor
    proxies hold back nobody here: only their own factor looks at them.
    """
    rows = await conn.execute(
        text(_READY),
        {
            "portfolios": list(portfolios),
            "sessions": list(sessions),
            "lookbacks": list(lookbacks),
            "first_start": lookbacks[0],
            "last_session": sessions[-1],
            "patience": patience,
        },
    )
    known: list[MissingUnit] = []
    overdue: list[MissingUnit] = []
    for portfolio, session, revision, waits in rows:
        (overdue if waits else known).append(MissingUnit(portfolio, session, revision))
    return Readiness(known, overdue)


async def affected_units(
    conn: AsyncConnection, affected: Sequence[Affected], proxies: Collection[str]
) -> list[tuple[UUID, date, date, Phase]]:
    """What a changed price demands anew, as arguments of `ledger.require`.

    Only units whose ingest is complete: the others have not used the price, and cannot be in flight.
    """
    if not affected:
        return []
    rows = await conn.execute(
        text(f"""
            WITH affected AS (
                SELECT * FROM unnest(CAST(:symbols AS text[]), CAST(:phases AS text[]), CAST(:firsts AS date[]),
                                     CAST(:lasts AS date[])) AS a (symbol, phase, first, last)
            ), looking AS (
                SELECT n.portfolio_id, a.phase, greatest(a.first, n.entry_session) AS first,
                       least(a.last, n.exit_session) AS last
                FROM affected a JOIN ({REQUIRED_COVERAGE}) n ON n.symbol = a.symbol
                UNION ALL
                SELECT p.id, a.phase, a.first, a.last
                FROM affected a JOIN coordinator.portfolios p ON p.deleted_at IS NULL
                WHERE a.phase = 'factors' AND a.symbol = ANY (CAST(:proxies AS text[]))
            ), merged AS (
                SELECT portfolio_id, phase, min(first) AS first, max(last) AS last
                FROM looking WHERE first <= last GROUP BY portfolio_id, phase
            )
            SELECT m.portfolio_id, min(u.session), max(u.session), m.phase
            FROM merged m JOIN ledger.units u ON u.portfolio_id = m.portfolio_id AND u.phase = 'ingest'
                AND u.session BETWEEN m.first AND m.last AND u.completed_revision >= u.required_revision
            GROUP BY m.portfolio_id, m.phase
        """),
        {
            "symbols": [a.symbol for a in affected],
            "phases": [a.phase.value for a in affected],
            "firsts": [a.first for a in affected],
            "lasts": [a.last for a in affected],
            "proxies": list(proxies),
        },
    )
    return [(portfolio, first, last, Phase(phase)) for portfolio, first, last, phase in rows]
