"""What is missing and can be worked on.

Of many units a portfolio's come as one row of arrays: read one by one, they cost the runner more than anything else did.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.statements import statement
from shared.work import CHAINED, UPSTREAM, MissingUnit, Phase, UnitsOf


class Look(NamedTuple):
    """What a run finds before it takes leases.

    ready      : whether any unit is ready
    unreleased : deaths in a row, of each portfolio that is held, or whose last holder did not give it back
    """

    ready: bool
    unreleased: dict[UUID, int]


async def look(
    conn: AsyncConnection, phase: Phase, portfolios: Sequence[UUID], first: date | None, last: date | None
) -> Look:
    """Whether there is anything to do within the portfolios and sessions, and who holds any of the portfolios: in one statement."""
    found, parameters = _ready(phase, portfolios, first, last)
    row = (
        await conn.execute(
            statement(f"""
                WITH open AS MATERIALIZED (
                    SELECT portfolio_id, deaths + coalesce(lease_until < clock_timestamp(), false)::int AS deaths
                    FROM ledger.schedule WHERE portfolio_id = ANY (CAST(:portfolios AS uuid[]))
                        AND phase = CAST(:phase AS ledger.phase) AND (lease_owner IS NOT NULL OR deaths > 0)
                )
                SELECT EXISTS ({found}) AS ready, (SELECT array_agg(portfolio_id) FROM open) AS portfolios,
                       (SELECT array_agg(deaths) FROM open) AS deaths
            """),
            parameters,
        )
    ).one()
    return Look(row.ready, dict(zip(row.portfolios or (), row.deaths or (), strict=True)))


async def find_ready(
    conn: AsyncConnection, phase: Phase, portfolios: Sequence[UUID], first: date | None, last: date | None
) -> list[UnitsOf]:
    """Missing units of the phase, within the portfolios and sessions, whose upstream units are complete.

    `None` bounds mean all sessions. For a chained phase the range is ignored: ready is the longest consecutive run from the
    portfolio's oldest missing session on, because a later session cannot be computed before an earlier one.
    """
    found, parameters = _ready(phase, portfolios, first, last)
    rows = await conn.execute(
        statement(f"""
            SELECT portfolio_id, array_agg(session ORDER BY session), array_agg(required_revision ORDER BY session)
            FROM ({found}) found GROUP BY portfolio_id
        """),
        parameters,
    )
    return [UnitsOf(portfolio, tuple(sessions), tuple(revisions)) for portfolio, sessions, revisions in rows]


async def ready(
    conn: AsyncConnection, phase: Phase, portfolios: Sequence[UUID], first: date | None, last: date | None
) -> list[MissingUnit]:
    """What `find_ready` finds, one by one."""
    return units_of(await find_ready(conn, phase, portfolios, first, last))


def units_of(found: Iterable[UnitsOf]) -> list[MissingUnit]:
    return [
        MissingUnit(portfolio, session, revision)
        for portfolio, sessions, revisions in found
        for session, revision in zip(sessions, revisions, strict=True)
    ]


def _ready(
    phase: Phase, portfolios: Sequence[UUID], first: date | None, last: date | None
) -> tuple[str, dict[str, Any]]:
    """The statement that finds ready units, and its parameters."""
    parameters: dict[str, Any] = {"phase": phase.value, "portfolios": list(portfolios)}
    missing = """u.portfolio_id = ANY (CAST(:portfolios AS uuid[])) AND u.phase = CAST(:phase AS ledger.phase)
                 AND u.completed_revision < u.required_revision"""
    if phase in CHAINED:
        return (
            f"""
                SELECT portfolio_id, session, required_revision FROM (
                    SELECT *, bool_and(ok) OVER (PARTITION BY portfolio_id ORDER BY session) AS chained FROM (
                        -- Two, for what is missing has an index of its own, and so has what is blocked: of both together the units
                        -- of every session would be read, after years a thousand for one.
                        SELECT u.portfolio_id, u.session, u.required_revision, true {_upstream_complete(phase)} AS ok
                        FROM ledger.units u WHERE {missing} AND u.blocked_reason IS NULL
                        UNION ALL
                        SELECT u.portfolio_id, u.session, u.required_revision, false
                        FROM ledger.units u WHERE {missing} AND u.blocked_reason IS NOT NULL
                    ) missing
                ) m WHERE chained
            """,
            parameters,
        )
    bounds = ""
    if first is not None and last is not None:
        bounds = "AND u.session BETWEEN :first AND :last"
        parameters |= {"first": first, "last": last}
    return (
        f"""
            SELECT u.portfolio_id, u.session, u.required_revision FROM ledger.units u
            WHERE {missing} {bounds} AND u.blocked_reason IS NULL {_upstream_complete(phase)}
        """,
        parameters,
    )


def _upstream_complete(phase: Phase) -> str:
    """Conditions that a unit's upstream units are complete. Each is a look-up by key, as a scalar subquery stays one: of a join the
    planner, which row policies keep from the statistics of phases, would compare all pairs."""
    return "".join(
        f"""
            AND coalesce((SELECT up.completed_revision >= up.required_revision FROM ledger.units up
                          WHERE up.portfolio_id = u.portfolio_id AND up.session = u.session AND up.phase = '{up.value}'), false)
        """
        for up in UPSTREAM[phase]
    )
