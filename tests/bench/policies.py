"""`python -m tests.bench.policies`: what the row policies of the API's role cost.

1,000 portfolios of the first tenant and as many of another, of a year: the list of 1,000 after a commit, and the risk of one, through
the whole application as the API's role, with the policies and without them in turn in one run. The least and the median of many calls,
in milliseconds, and their ratios, which may be 1.2 at most; exits with 1 where the ratio of the least is more. Beside it the processor
time of this process and of the server's for it, which tells more than time where the machine does other things too (Linux alone).
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from statistics import median
from typing import Any
from uuid import uuid4

import httpx2
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from services.coordinator.control.unit_runs import refresh_all
from shared.db.engine import create_engine
from tests.bench import answers, servers
from tests.store.coordinator.conftest import PREFIX, make_app
from tests.support import databases

PORTFOLIOS, FIRST, ROUNDS, CALLS, MOST = 1000, date(2019, 10, 1), 5, 8, 1.2
# Whether the system says what a process has used.
ACCOUNTED = Path("/proc/self/schedstat").exists()
# The server plans a statement anew the first five times, and keeps the plan from then on, as in a process that serves.
WARM = 7
# Of thirty positions, as the risk phase stores it.
RISK_OF_ONE = """
    UPDATE risk.results SET symbols = ARRAY(SELECT 'S' || n FROM generate_series(1, 30) n), weights = array_fill(0.03::float8, '{30}'),
        exposure_values = array_fill(60::float8, '{30}'), betas = array_fill(0.5::float8, '{240}'),
        beta_reasons = array_fill(NULL::text, '{30}'), realized_252 = array_fill(0.3::float8, '{30}'),
        forecast_21 = array_fill(0.3::float8, '{30}'), har = array_fill(true, '{30}'), series_reasons = array_fill(NULL::text, '{30}'),
        excluded = array_fill(NULL::text, '{30}'), contributions = array_fill(0.2::float8, '{30}'),
        contribution_shares = array_fill(0.03::float8, '{30}'), model_factors = '{market}', factor_shares = '{0.9}',
        risk = risk || '{"benchmark_date": null, "decomposition": {"volatility": 0.25}}'
    WHERE portfolio_id = CAST(:one AS uuid)
"""
SWITCH = """
    DO $$ DECLARE each regclass; BEGIN
        FOR each IN SELECT DISTINCT polrelid FROM pg_policy WHERE polname = 'own_tenant' LOOP
            EXECUTE format('ALTER TABLE %s {} ROW LEVEL SECURITY', each);
        END LOOP;
    END $$
"""


def processor_ms(backends: Sequence[int]) -> float:
    """What this process and those have used of the processors."""
    used = sum(int(Path(f"/proc/{each}/schedstat").read_text(encoding="ascii").split()[0]) for each in backends)
    return used / 1e6 + time.process_time() * 1000


async def backends_of(admin: AsyncEngine) -> list[int]:
    """Process ids of the server's that answer the engine under test; none where the system does not say what they use."""
    if not ACCOUNTED:
        return []
    async with admin.connect() as conn:
        found = await conn.scalars(text("SELECT pid FROM pg_stat_activity WHERE application_name = 'bench-api'"))
        return list(found)


async def measure(engine: AsyncEngine, admin: AsyncEngine) -> dict[str, Any]:
    async with admin.connect() as conn:
        one = await conn.scalar(text("SELECT max(CAST(id AS text)) FROM coordinator.portfolios"))
    async with admin.begin() as conn:
        await conn.execute(text(RISK_OF_ONE), {"one": one})
    paths = {"list of 1,000": "/portfolios?limit=1000", "risk of one": f"/portfolios/{one}/risk"}
    took: dict[tuple[str, bool], list[float]] = {(name, walled): [] for name in paths for walled in (True, False)}
    used: dict[tuple[str, bool], list[float]] = {each: [] for each in took}
    transport = httpx2.ASGITransport(app=make_app(engine, []))
    async with httpx2.AsyncClient(transport=transport, base_url="http://test", timeout=60) as client:
        for turn in range(2 * ROUNDS):
            walled = turn % 2 == 0
            async with admin.begin() as conn:
                await conn.execute(text(SWITCH.format("ENABLE" if walled else "DISABLE")))
            for name, path in paths.items():
                backends: list[int] = []
                for call in range(WARM + CALLS):
                    if call == WARM:
                        backends = await backends_of(admin)
                    async with admin.begin() as conn:  # so that nothing of the answer before is kept
                        await conn.execute(
                            text("UPDATE coordinator.portfolios SET updated_at = updated_at WHERE id = :id"),
                            {"id": one},
                        )
                    before, began = processor_ms(backends), time.perf_counter()
                    answer = await client.get(PREFIX + path)
                    if call >= WARM:
                        took[name, walled].append((time.perf_counter() - began) * 1000)
                        used[name, walled].append(processor_ms(backends) - before)
                    assert answer.status_code == 200, answer.text
                    assert name != "list of 1,000" or len(answer.json()["items"]) == PORTFOLIOS
    found: dict[str, Any] = {}
    for name in paths:
        with_them, without = took[name, True], took[name, False]
        busy, free = used[name, True], used[name, False]
        found[name] = {
            "least_ms": (round(min(with_them), 1), round(min(without), 1)),
            "median_ms": (round(median(with_them), 1), round(median(without), 1)),
            "ratio_of_least": round(min(with_them) / min(without), 2),
            "ratio_of_median": round(median(with_them) / median(without), 2),
            "processor_ms": (round(min(busy), 1), round(min(free), 1)),
            "ratio_of_processor": round(min(busy) / min(free), 2),
            "ratio_of_median_processor": round(median(busy) / median(free), 2),
        }
    return found


async def run(server: databases.Server) -> dict[str, Any]:
    database = await databases.create(server)
    loops = create_engine(database.url("coordinator"), application="bench", pool_size=2)
    engine = create_engine(database.url("api"), application="bench-api", pool_size=4)
    admin = create_engine(database.admin_url, application="bench-admin", pool_size=2)
    try:
        answers.FIRST = FIRST
        await answers.load(admin, 2 * PORTFOLIOS)
        async with admin.begin() as conn:
            other = uuid4()
            await conn.execute(
                text("INSERT INTO coordinator.tenants (id, name) VALUES (:id, 'another')"), {"id": other}
            )
            await conn.execute(text("SELECT ledger.order_lock()"))
            await conn.execute(
                text("""UPDATE coordinator.portfolios SET tenant_id = :id
                        WHERE id IN (SELECT id FROM coordinator.portfolios ORDER BY id LIMIT :n)"""),
                {"id": other, "n": PORTFOLIOS},
            )
        await refresh_all(loops)
        async with admin.connect() as conn:
            await conn.execution_options(isolation_level="AUTOCOMMIT")
            await conn.execute(text("VACUUM ANALYZE"))
        return await measure(engine, admin)
    finally:
        for each in (engine, admin, loops):
            await each.dispose()
        await databases.drop(database)


def main() -> None:
    with servers.postgres() as server:
        found = asyncio.run(run(server))
    for title, figures in found.items():
        sys.stdout.write(f"{title:16} {figures}\n")
    sys.exit(any(figures["ratio_of_least"] > MOST for figures in found.values()))


if __name__ == "__main__":
    main()
