"""`python -m tests.bench.answers`: how long the list of portfolios and the completeness of everything take.

1,000 portfolios of 30 lots, five years, four phases; 60 % of the portfolios are partial in snapshots and risk on every session, with
reasons and a coverage that differs by the session, and of the others some are cut into many ranges. Through the whole application, in
process: the least and the median of several calls, in milliseconds, with the processor time of this process (PostgreSQL's is not in
it) and the size of the answer. The list is asked for again and again while nothing is written, as by those who watch it; after a
commit each time, which changed one portfolio, or completed a session of 50 or of 250 with new results; and by a process that has kept
nothing. Also what a mark costs: completing a night of all portfolios with the
triggers that note changes and without them, and bringing the ranges and shortfalls up to date afterwards.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import date
from functools import partial
from statistics import median
from typing import Any

import httpx2
from fastapi import FastAPI
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.coordinator.control.unit_runs import refresh_all
from shared.db.engine import create_engine
from shared.market.calendar import calendar
from tests.bench import servers
from tests.store.coordinator.conftest import PREFIX, make_app
from tests.support import databases

PORTFOLIOS, FIRST, LAST, CALLS = 1000, date(2016, 1, 4), date(2020, 12, 30), 25
NIGHT = "UPDATE ledger.units SET completed_revision = completed_revision + 1 WHERE session = :s AND phase = 'risk'"
SOME = "portfolio_id IN (SELECT id FROM coordinator.portfolios ORDER BY md5(CAST(id AS text)) LIMIT :some)"
REASONS = """[{"figure": null, "symbol": "S%s", "reason": "no_dividends"}, {"figure": "beta", "symbol": "S%s", "reason": "short_history"},
              {"figure": "risk", "symbol": null, "reason": "short_history"}]"""
RISK = {
    "volatility": {"realized_21": 0.2, "realized_252": 0.3, "forecast_21": {"value": 0.25, "low": 0.1, "high": 0.4}},
    "var": [{"method": m, "level": v, "var": 0.02, "es": 0.03, "n_obs": 504} for m in ("historical", "normal") for v in (0.95, 0.99)],
    "sectors": [{"sector": f"Sector {n}", "long": 0.1, "short": 0, "net": 0.1, "gross": 0.1} for n in range(12)],
}  # fmt: skip


async def load(admin: AsyncEngine, portfolios: int) -> None:
    """The units of everything, and results of the newest sessions and of a year before."""
    sessions = calendar().between(FIRST, LAST)
    async with admin.begin() as conn:
        await conn.execute(
            text("""INSERT INTO coordinator.portfolios (name, account_type, equity_balance, first_session)
                    SELECT 'Portfolio ' || n, 'taxable', 100000, :first FROM generate_series(1, :n) n"""),
            {"n": portfolios, "first": sessions[0]},
        )
        await _lots(conn, sessions[0])
        for phase in ("ingest", "factors", "snapshots", "risk"):
            await conn.execute(
                text("""INSERT INTO ledger.units (portfolio_id, session, phase, required_revision, completed_revision, quality, coverage,
                                                  reasons, completed_at)
                        SELECT p.id, s, CAST(CAST(:phase AS text) AS ledger.phase), 1, 1,
                               CASE WHEN lacks OR p.n % 10 = 9 AND extract(doy FROM s) < 5 THEN 'partial' ELSE 'complete' END,
                               CASE WHEN lacks THEN 0.9 + 0.1 * random() ELSE 1 END,
                               CASE WHEN lacks THEN CAST(format(CAST(:reasons AS text), p.n % 500, p.n % 499) AS jsonb) ELSE '[]' END,
                               now()
                        FROM (SELECT id, row_number() OVER (ORDER BY id) AS n FROM coordinator.portfolios) p
                        CROSS JOIN unnest(CAST(:sessions AS date[])) s
                        CROSS JOIN LATERAL (SELECT :phase IN ('snapshots', 'risk') AND p.n % 10 < 6 AS lacks) l ORDER BY 1, 2"""),
                {"phase": phase, "sessions": sessions, "reasons": REASONS},
            )
        recent = [sessions[-253], *sessions[-5:]]
        await conn.execute(
            text("""INSERT INTO snapshots.snapshots (portfolio_id, session, revision, model_version, nav, cash, long_value, short_value,
                        gross_exposure, net_exposure, daily_pnl, daily_return, cumulative_return, cumulative_pnl, realized_pnl,
                        unrealized_pnl, dividends, flow, cumulative_flow, positions, long_positions, short_positions, coverage, quality)
                    SELECT p.id, s, 1, '1', 100, 100, 0, 0, 0, 0, 0, 0.001, 0.2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 'complete'
                    FROM coordinator.portfolios p CROSS JOIN unnest(CAST(:sessions AS date[])) s"""),
            {"sessions": recent},
        )
        await conn.execute(
            # With as many numbers beside the document as make the server store it out of line, as it does with thirty positions.
            text("""INSERT INTO risk.results (portfolio_id, session, revision, model_version, quality, coverage, risk, betas, correlations)
                    SELECT p.id, s, 1, '1', 'complete', 1, CAST(:risk AS jsonb), ARRAY(SELECT random() FROM generate_series(1, 240)),
                           ARRAY(SELECT random() + 0 * extract(doy FROM s) FROM generate_series(1, 435))
                    FROM coordinator.portfolios p CROSS JOIN unnest(CAST(:sessions AS date[])) s"""),
            {"sessions": recent, "risk": json.dumps(RISK)},
        )
    async with admin.connect() as conn:
        await conn.execution_options(isolation_level="AUTOCOMMIT")
        await conn.execute(text("VACUUM ANALYZE"))


async def _lots(conn: AsyncConnection, entered: date) -> None:
    """30 of 500 symbols in each portfolio; of three symbols the price is waited for, or held back."""
    await conn.execute(
        text("INSERT INTO ingest.symbols (symbol) SELECT 'S' || n FROM generate_series(0, 499) n"),
    )
    await conn.execute(
        text("""INSERT INTO coordinator.positions (portfolio_id, symbol, quantity, entry_date, entry_session, entry_price,
                    investment_class, stated_quantity, stated_entry_price)
                SELECT p.id, 'S' || (p.n * 7 + lot * 11) % 500, 1, :day, :day, 10, 'PUBLIC', 1, 10
                FROM (SELECT id, row_number() OVER (ORDER BY id) AS n FROM coordinator.portfolios) p
                CROSS JOIN generate_series(1, 30) lot"""),
        {"day": entered},
    )
    await conn.execute(
        text("""INSERT INTO ingest.gaps (symbol_id, first, last, reason, terminal, provider, checked_at)
                SELECT id, :day, :day, CASE symbol WHEN 'S3' THEN 'late' ELSE 'quarantined' END, false, 'file', now()
                FROM ingest.symbols WHERE symbol IN ('S1', 'S2', 'S3')"""),
        {"day": entered},
    )


async def timed(
    call: Callable[[], Awaitable[Any]], calls: int = CALLS, *, before: Callable[[], Awaitable[Any]] | None = None
) -> dict[str, float]:
    """before : done before each call, and not measured"""
    took, own = [], []
    for _ in range(calls):
        if before is not None:
            await before()
        began, spent = time.perf_counter(), time.process_time()
        await call()
        took.append((time.perf_counter() - began) * 1000)
        own.append((time.process_time() - spent) * 1000)
    return {"least_ms": round(min(took), 1), "median_ms": round(median(took), 1), "processor_ms": round(median(own), 1)}


async def _rename(admin: AsyncEngine) -> None:
    async with admin.begin() as conn:
        await conn.execute(text("UPDATE coordinator.portfolios SET name = name || '' WHERE name = 'Portfolio 1'"))


async def _complete(admin: AsyncEngine, some: int) -> None:
    """As risk and snapshots do it, of portfolios here and there."""
    async with admin.begin() as conn:
        await conn.execute(text(f"{NIGHT} AND {SOME}"), {"s": LAST, "some": some})
        values = {"s": LAST, "some": some}
        await conn.execute(
            text(f"UPDATE snapshots.snapshots SET drawdown = -random() WHERE session = :s AND {SOME}"), values
        )
        await conn.execute(text(f"UPDATE risk.results SET coverage = random() WHERE session = :s AND {SOME}"), values)


async def _forget(app: FastAPI) -> None:
    vars(app.state.context).pop("lists", None)


async def measure(engine: AsyncEngine, admin: AsyncEngine) -> dict[str, Any]:
    found: dict[str, Any] = {}
    began = time.perf_counter()
    await refresh_all(engine)
    found["first refresh of everything"] = {"ms": round((time.perf_counter() - began) * 1000)}

    app = make_app(engine, [])
    async with httpx2.AsyncClient(
        transport=httpx2.ASGITransport(app=app), base_url="http://test", timeout=60
    ) as client:
        for title, path, before in (
            ("list, nothing written since", "/portfolios?limit=1000", None),
            ("list, one changed", "/portfolios?limit=1000", partial(_rename, admin)),
            ("list, 50 completed", "/portfolios?limit=1000", partial(_complete, admin, 50)),
            ("list, 250 completed", "/portfolios?limit=1000", partial(_complete, admin, 250)),
            ("list, nothing kept", "/portfolios?limit=1000", partial(_forget, app)),
            ("completeness", "/completeness", None),
        ):

            async def call(path: str = path) -> None:
                answer = await client.get(PREFIX + path)
                assert answer.status_code == 200, answer.text

            size = len((await client.get(PREFIX + path)).content)
            found[title] = await timed(call, before=before) | {"bytes": size}
    async with admin.connect() as conn:
        for title, prepare in (
            ("a night with notes", ""),
            ("a night without", "ALTER TABLE ledger.units DISABLE TRIGGER USER"),
        ):

            async def night() -> None:
                await conn.execute(text(NIGHT), {"s": LAST})

            transaction = await conn.begin()
            if prepare:
                await conn.execute(text(prepare))
            found[title] = await timed(night, 9)
            await transaction.rollback()

    refreshed = []
    for _ in range(5):
        async with admin.begin() as conn:
            await conn.execute(text(NIGHT), {"s": LAST})
        began = time.perf_counter()
        await refresh_all(engine)
        refreshed.append((time.perf_counter() - began) * 1000)
    found["refresh after a night"] = {"least_ms": round(min(refreshed), 1), "median_ms": round(median(refreshed), 1)}
    return found


async def run(server: databases.Server, portfolios: int) -> dict[str, Any]:
    database = await databases.create(server)
    engine = create_engine(database.url("coordinator"), application="bench", pool_size=4)
    admin = create_engine(database.admin_url, application="bench-admin", pool_size=2)
    try:
        await load(admin, portfolios)
        return await measure(engine, admin)
    finally:
        await engine.dispose()
        await admin.dispose()
        await databases.drop(database)


def main() -> None:
    with servers.postgres() as server:
        found = asyncio.run(run(server, int(sys.argv[1]) if len(sys.argv) > 1 else PORTFOLIOS))
    for title, figures in found.items():
        sys.stdout.write(f"{title:32} {figures}\n")


if __name__ == "__main__":
    main()
