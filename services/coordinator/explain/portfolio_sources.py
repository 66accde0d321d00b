"""User-entered data behind a figure, the portfolio's own earlier rows, and what results were compared with."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.coordinator.explain.formulas.model import Source
from services.coordinator.explain.market_sources import par_bond_of, yields
from services.coordinator.explain.sources import Entry, Scope, entry, rows
from services.coordinator.results.values import document, to_json

_DAY = timedelta(days=1)
_LOTS = """
    FROM coordinator.positions
    WHERE portfolio_id = :id AND deleted_at IS NULL AND entry_session <= :session
      AND CASE WHEN CAST(:lot AS text) IS NULL THEN symbol = ANY (CAST(:symbols AS text[])) ELSE id = CAST(:lot AS uuid) END
"""


async def _snapshots(conn: AsyncConnection, source: Source, scope: Scope, first: date, last: date) -> list[Entry]:
    return await rows(
        conn,
        source,
        """
            SELECT min(session) AS "from", max(session) AS "to", 'snapshots' AS provider, max(computed_at) AS fetched_at,
                   max(revision) AS revision
            FROM snapshots.snapshots WHERE portfolio_id = :id AND session BETWEEN :first AND :last HAVING count(*) > 0
        """,
        id=scope.portfolio,
        first=first,
        last=last,
    )


async def snapshot(conn: AsyncConnection, scope: Scope) -> list[Entry]:
    return await _snapshots(conn, Source.SNAPSHOT, scope, scope.session, scope.session)


async def earlier(conn: AsyncConnection, scope: Scope) -> list[Entry]:
    return await _snapshots(conn, Source.EARLIER, scope, scope.first, scope.session - _DAY)


async def history(conn: AsyncConnection, scope: Scope) -> list[Entry]:
    return await _snapshots(conn, Source.HISTORY, scope, scope.first, scope.session)


async def results(conn: AsyncConnection, scope: Scope) -> list[Entry]:
    return await rows(
        conn,
        Source.RESULTS,
        """
            SELECT min(session) AS "from", max(session) AS "to", 'risk' AS provider, max(computed_at) AS fetched_at,
                   max(revision) AS revision
            FROM risk.results WHERE portfolio_id = :id AND session BETWEEN :first AND :last HAVING count(*) > 0
        """,
        id=scope.portfolio,
        first=scope.first,
        last=scope.session,
    )


async def lots(conn: AsyncConnection, scope: Scope, most: int | None = None) -> list[Entry]:
    """As the user stated them last. most : the first ones alone"""
    return await rows(
        conn,
        Source.LOTS,
        f"""
            SELECT symbol, entry_date AS "from", exit_date AS "to", 'user' AS provider,
                   coalesce(updated_at, created_at) AS fetched_at
            {_LOTS} ORDER BY symbol, entry_session, id LIMIT :most
        """,
        **_about_lots(scope),
        most=most,
    )


async def count_lots(conn: AsyncConnection, scope: Scope) -> int:
    """How many `lots` there are in all."""
    return int(await conn.scalar(text(f"SELECT count(*) {_LOTS}"), _about_lots(scope)) or 0)


def _about_lots(scope: Scope) -> dict[str, Any]:
    about = {"id": scope.portfolio, "session": scope.session, "lot": scope.lot}
    return about | {"symbols": list(scope.symbols)}


async def flows(conn: AsyncConnection, scope: Scope) -> list[Entry]:
    return await rows(
        conn,
        Source.FLOWS,
        """
            SELECT date AS "from", date AS "to", 'user' AS provider, created_at AS fetched_at FROM coordinator.flows
            WHERE portfolio_id = :id AND deleted_at IS NULL AND session > :after AND session <= :session ORDER BY session, id
        """,
        id=scope.portfolio,
        after=scope.after,
        session=scope.session,
    )


async def benchmark(conn: AsyncConnection, scope: Scope) -> list[Entry]:
    """The table that the result was compared with, as it was then: of those of its date the last one that the result could know."""
    return await rows(
        conn,
        Source.BENCHMARK,
        """
            SELECT b.code AS symbol, b.date AS "from", b.date AS "to", 'user' AS provider, b.loaded_at AS fetched_at,
                   b.change AS revision
            FROM risk.results r JOIN coordinator.benchmarks b
                ON b.code = r.risk ->> 'benchmark' AND b.date = CAST(r.risk ->> 'benchmark_date' AS date) AND b.change <= r.revision
            WHERE r.portfolio_id = :id AND r.session = :session ORDER BY b.change DESC LIMIT 1
        """,
        id=scope.portfolio,
        session=scope.session,
    )


async def fund_lists(conn: AsyncConnection, scope: Scope) -> list[Entry]:
    """Of each fund among the symbols the newest list dated by the session."""
    return await rows(
        conn,
        Source.FUND_LISTS,
        """
            SELECT DISTINCT ON (symbol) symbol, date AS "from", date AS "to", 'user' AS provider, loaded_at AS fetched_at
            FROM coordinator.fund_holdings WHERE symbol = ANY (CAST(:symbols AS text[])) AND date <= :session ORDER BY symbol, date DESC
        """,
        symbols=list(scope.symbols),
        session=scope.session,
    )


async def equity(conn: AsyncConnection, scope: Scope) -> list[Entry]:
    return await rows(
        conn,
        Source.EQUITY,
        """
            SELECT first_session AS "from", 'user' AS provider, updated_at AS fetched_at FROM coordinator.portfolios
            WHERE id = :id
        """,
        id=scope.portfolio,
    )


async def scenario(conn: AsyncConnection, scope: Scope) -> list[Entry]:
    """The script as the result was computed with it."""
    of = await script(conn, scope)
    if of is None:
        return []
    day = of["parameters"].get("duration_as_of")
    told = [entry(Source.SCENARIO, **of["input"], **{"from": day, "to": day})]
    return told + (await yields(conn, scope) if of["of_curve"] else [])


async def script(conn: AsyncConnection, scope: Scope) -> dict[str, Any] | None:
    """What the scenario of a figure says of rates, and where that was read; None where the session has no such scenario."""
    row = (
        await conn.execute(
            text("""
                SELECT CAST(c.scenarios AS text) AS scenarios, CAST(c.durations AS text) AS durations, r.computed_at, r.revision,
                       r.duration_as_of
                FROM risk.results r JOIN risk.scenario_sets c ON c.digest = r.scenario_set
                WHERE r.portfolio_id = :id AND r.session = :session
            """),
            {"id": scope.portfolio, "session": scope.session},
        )
    ).one_or_none()
    of = next((of for of in document(row.scenarios) if of["id"] == scope.scenario), None) if row else None
    if row is None or of is None:
        return None
    parameters: dict[str, Any] = {}
    points = of.get("rates_bp")
    of_curve = False
    if points is not None:
        day = to_json(row.duration_as_of)
        stated: dict[str, Any] | None = next((each for each in document(row.durations) if each["as_of"] == day), None)
        bond = await par_bond_of(conn, row.duration_as_of) if day is not None and stated is None else None
        of_curve = bond is not None
        duration, convexity = (
            (bond.duration, bond.convexity)
            if bond
            else (stated["duration"], stated["convexity"])
            if stated
            else (None, None)
        )
        parameters = {"rates_bp": points, "duration": duration, "convexity": convexity, "duration_as_of": day}
    read = {"symbol": of["id"], "provider": "scenarios", "fetched_at": row.computed_at, "revision": row.revision}
    return {"parameters": parameters, "input": read, "of_curve": of_curve}
