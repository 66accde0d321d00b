"""What completed units lack, by portfolio, phase and quarter: a projection of the units, brought up to date where they changed."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from datetime import date
from functools import lru_cache
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.statements import statement
from shared.ledger.among import AMONG, among

# Of each portfolio and phase in `scope`, its partial units from `low` on and before `high`: by quarter, equal shortfalls once.
# Reasons are told apart by what they are and of which symbol; which figure falls short is the session's own to say.
# As bytes they are compared in a fifth of the time that documents take.
_GROUPED = """
    equal AS (
        SELECT m.portfolio_id, m.phase, min(u.session) AS first, max(u.session) AS last, CAST(u.reasons AS jsonb) AS reasons,
               min(u.coverage) AS coverage
        FROM scope m CROSS JOIN LATERAL (
            SELECT session, coverage, CAST(reasons AS text) COLLATE "C" AS reasons FROM ledger.units
            -- As rows, which only the index by portfolio has in this order: by the one of sessions all portfolios' would be read. Beside
            -- them without the phase: where policies stand, no comparison of phases may go by an index, for it might tell of rows.
            WHERE portfolio_id = m.portfolio_id AND session >= m.low AND session < m.high
              AND (portfolio_id, phase, session) >= (m.portfolio_id, m.phase, m.low)
              AND (portfolio_id, phase, session) < (m.portfolio_id, m.phase, m.high)
              AND quality = 'partial' AND completed_revision >= required_revision OFFSET 0
        ) u
        GROUP BY m.portfolio_id, m.phase, date_trunc('quarter', CAST(u.session AS timestamp)), u.reasons
    ), told AS (
        SELECT e.*, (SELECT coalesce(jsonb_agg(DISTINCT jsonb_build_array(each -> 'symbol', each -> 'reason')), '[]')
                     FROM jsonb_array_elements(e.reasons) AS each) AS lacks
        FROM equal e
    ), grouped AS MATERIALIZED (
        SELECT portfolio_id, phase, min(first) AS first, max(last) AS last, lacks, min(coverage) AS coverage
        FROM told GROUP BY portfolio_id, phase, date_trunc('quarter', CAST(first AS timestamp)), lacks
    )
"""


class Lacks(NamedTuple):
    """What the units of a portfolio lack.

    shortfalls : (phase, reasons as text); `reasons_of` reads them. Portfolios that hold the same symbols lack the same
    coverage   : lowest share of gross value with good prices of a snapshot that is partial; None where none says
    """

    shortfalls: tuple[tuple[str, str], ...]
    coverage: float | None


@lru_cache(maxsize=2048)
def reasons_of(lacks: str) -> tuple[tuple[str | None, str], ...]:
    """(symbol, code), the symbol None where the whole portfolio is meant."""
    return tuple((symbol, reason) for symbol, reason in json.loads(lacks))


async def mend(conn: AsyncConnection, marks: Sequence[Any]) -> None:
    """Group the units of each quarter that a mark touches anew. A mark has a portfolio, a phase, and its first and last session; of
    a portfolio's phase there is one at most."""
    await conn.execute(
        text(f"""
            WITH scope AS MATERIALIZED (
                SELECT portfolio_id, CAST(phase AS ledger.phase) AS phase,
                       CAST(date_trunc('quarter', CAST(first AS timestamp)) AS date) AS low,
                       CAST(date_trunc('quarter', CAST(last AS timestamp)) + interval '3 months' AS date) AS high
                FROM unnest(CAST(:portfolios AS uuid[]), CAST(:phases AS text[]), CAST(:firsts AS date[]), CAST(:lasts AS date[]))
                    AS m (portfolio_id, phase, first, last)
            ), {_GROUPED}, dropped AS (
                DELETE FROM ledger.unit_shortfalls o USING scope m
                WHERE o.portfolio_id = m.portfolio_id AND o.phase = m.phase AND o.first >= m.low AND o.first < m.high
                  AND NOT EXISTS (SELECT 1 FROM grouped n
                                  WHERE n.portfolio_id = o.portfolio_id AND n.phase = o.phase AND n.first = o.first)
            )
            INSERT INTO ledger.unit_shortfalls AS o (portfolio_id, phase, first, last, lacks, coverage)
            SELECT portfolio_id, phase, first, last, lacks, coverage FROM grouped
            ON CONFLICT (portfolio_id, first, phase)
                DO UPDATE SET last = excluded.last, lacks = excluded.lacks, coverage = excluded.coverage
            WHERE (o.last, o.lacks, o.coverage) IS DISTINCT FROM (excluded.last, excluded.lacks, excluded.coverage)
        """),
        {
            "portfolios": [mark.portfolio_id for mark in marks],
            "phases": [mark.phase for mark in marks],
            "firsts": [mark.first for mark in marks],
            "lasts": [mark.last for mark in marks],
        },
    )


async def read_lacks(conn: AsyncConnection, portfolios: Collection[UUID], since: date) -> dict[UUID, Lacks]:
    """What completed units from a session on lack, by portfolio, as the units have it in this snapshot: of quarters in which they
    changed since the projection was last brought up to date, the units are read themselves."""
    rows = await conn.execute(
        statement(f"""
            WITH scope AS MATERIALIZED (
                SELECT portfolio_id, phase, quarter, greatest(quarter, CAST(:since AS date)) AS low, high FROM (
                    SELECT portfolio_id, phase, CAST(date_trunc('quarter', CAST(min(first) AS timestamp)) AS date) AS quarter,
                           CAST(date_trunc('quarter', CAST(max(last) AS timestamp)) + interval '3 months' AS date) AS high
                    FROM ledger.shortfall_changes WHERE {AMONG} GROUP BY portfolio_id, phase
                ) marked
            ), {_GROUPED}, lately AS (
                SELECT portfolio_id, phase, first, lacks, coverage FROM ledger.unit_shortfalls o
                WHERE {AMONG} AND last >= :since
                  AND first >= CAST(date_trunc('quarter', CAST(CAST(:since AS date) AS timestamp)) AS date)
                  AND NOT EXISTS (SELECT FROM scope m WHERE m.portfolio_id = o.portfolio_id AND m.phase = o.phase
                                                        AND o.first >= m.quarter AND o.first < m.high)
                UNION ALL
                SELECT portfolio_id, phase, first, lacks, coverage FROM grouped
            ), lacking AS (
                SELECT portfolio_id, phase, lacks, min(coverage) FILTER (WHERE phase = 'snapshots' AND first >= :since) AS coverage,
                       min(coverage) FILTER (WHERE phase = 'snapshots' AND first < :since) AS cut
                FROM lately GROUP BY portfolio_id, lately.phase, lately.lacks
            )
            SELECT portfolio_id, array_agg(CAST(phase AS text)), array_agg(CAST(lacks AS text)), min(coverage), min(cut)
            FROM lacking GROUP BY portfolio_id
        """),
        among(portfolios) | {"since": since},
    )
    found, unsure = {}, []
    for portfolio, phases, lacks, coverage, cut in rows.all():
        found[portfolio] = Lacks(tuple(zip(phases, lacks, strict=True)), coverage)
        # The quarter that `since` cuts is known as a whole. Only where it may decide the lowest, its units are looked at.
        if cut is not None and (coverage is None or cut < coverage):
            unsure.append(portfolio)
    for portfolio, low in (await _since(conn, unsure, since)).items():
        known = found[portfolio].coverage
        found[portfolio] = found[portfolio]._replace(coverage=low if known is None else min(low, known))
    return found


async def _since(conn: AsyncConnection, portfolios: Sequence[UUID], since: date) -> dict[UUID, float]:
    """The lowest coverage of partial snapshots from a session to the end of its quarter."""
    if not portfolios:
        return {}
    rows = await conn.execute(
        statement("""
            SELECT u.portfolio_id, min(u.coverage) FROM ledger.units u
            WHERE u.portfolio_id = ANY (CAST(:ids AS uuid[])) AND u.phase = 'snapshots' AND u.quality = 'partial'
              AND u.completed_revision >= u.required_revision AND u.session >= :since
              AND u.session < date_trunc('quarter', CAST(CAST(:since AS date) AS timestamp)) + interval '3 months'
            GROUP BY u.portfolio_id
        """),
        {"ids": list(portfolios), "since": since},
    )
    return {portfolio: float(low) for portfolio, low in rows.all() if low is not None}
