"""`python -m tests.bench.ranges`: how long the answers take that are worked out when they are asked for.

One portfolio of 13 symbols over 504 sessions, with prices of three years. Through the whole application, in process: the least and the
median of several calls, in milliseconds, with the process's own processor time and the size of the answer.
"""

from __future__ import annotations

import asyncio
import sys
import time
from datetime import date
from typing import Any

import httpx2
import numpy as np
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from services.coordinator.results.performance import FIGURES
from shared.db.engine import create_engine
from shared.market.calendar import calendar
from shared.market.layouts import EXPOSURES
from shared.market.registry import FACTOR_NAMES, MODEL_VERSION
from tests.bench import servers
from tests.bench.answers import CALLS, timed
from tests.store.coordinator.conftest import AS_OF, PREFIX, make_app
from tests.support import curves, databases

SYMBOLS = tuple(f"S{n:02}" for n in range(13))
SESSIONS = 504


async def load(admin: AsyncEngine) -> str:
    """The portfolio's id."""
    days = calendar().between(calendar().back(AS_OF, SESSIONS - 1), AS_OF)
    earlier = calendar().between(calendar().back(AS_OF, SESSIONS + 252), AS_OF)
    chance = np.random.default_rng(1)
    names = ("SPY", "MTUM", *SYMBOLS)
    async with admin.begin() as conn:
        identity = await conn.scalar(
            text("""INSERT INTO coordinator.portfolios (name, account_type, equity_balance, first_session)
                    VALUES ('bench', 'taxable', 1000000, :first) RETURNING id"""),
            {"first": days[0]},
        )
        for phase in ("snapshots", "risk"):
            await conn.execute(
                text("""INSERT INTO ledger.units (portfolio_id, session, phase, required_revision, completed_revision, quality, coverage,
                                                  completed_at)
                        SELECT :id, unnest(CAST(:days AS date[])), CAST(CAST(:phase AS text) AS ledger.phase), 1, 1, 'complete', 1,
                               now()"""),
                {"id": identity, "days": days, "phase": phase},
            )  # fmt: skip
        for symbol in names:
            moved = chance.normal(0.0004, 0.012, len(earlier))
            await conn.execute(
                text("""WITH s AS (INSERT INTO ingest.symbols (symbol) VALUES (:symbol) RETURNING id)
                        INSERT INTO ingest.prices (symbol_id, session, close, adj_close, volume, total_return, return_basis, basis,
                                                   provider, fetched_at, change)
                        SELECT s.id, v.session, v.close, v.close, 1e6, v.moved, 'adjusted', 'as_traded', 'file', now(), 1
                        FROM s, unnest(CAST(:days AS date[]), CAST(:close AS float8[]), CAST(:moved AS float8[]))
                             AS v (session, close, moved)"""),
                {"symbol": symbol, "days": earlier, "close": (100 * np.cumprod(1 + moved)).tolist(), "moved": moved.tolist()},
            )  # fmt: skip
        await curves.store(conn, curves.walk(earlier))
        await _figures(conn, identity, days, chance)
    return str(identity)


async def _figures(conn: Any, identity: Any, days: list[date], chance: np.random.Generator) -> None:
    k, count = len(SYMBOLS), len(days)
    pnl = np.rint(chance.normal(0.0, 5e6, (count, k))).astype(int)
    nav = 1_000_000 + np.cumsum(pnl.sum(axis=1) / 10_000)
    daily = pnl.sum(axis=1) / 10_000 / np.append(1_000_000, nav[:-1])
    await conn.execute(
        text("""INSERT INTO snapshots.snapshots (portfolio_id, session, revision, model_version, nav, cash, long_value, short_value,
                    gross_exposure, net_exposure, daily_pnl, daily_return, cumulative_pnl, realized_pnl, unrealized_pnl, dividends,
                    flow, cumulative_flow, positions, long_positions, short_positions, coverage, quality)
                SELECT :id, v.session, 1, '1', v.nav, v.nav, 0, 0, 0, 0, v.pnl, v.r, 0, 0, 0, 0, 0, 0, 13, 13, 0, 1, 'complete'
                FROM unnest(CAST(:days AS date[]), CAST(:nav AS numeric[]), CAST(:pnl AS numeric[]), CAST(:r AS float8[]))
                     AS v (session, nav, pnl, r)"""),
        {"id": identity, "days": days, "nav": nav.tolist(), "pnl": (pnl.sum(axis=1) / 10_000).tolist(), "r": daily.tolist()},
    )  # fmt: skip
    symbols, same = list(SYMBOLS), [10.0] * k
    await conn.execute(
        text(f"""INSERT INTO snapshots.holdings
                SELECT :id, v.session, 1, ARRAY(SELECT gen_random_uuid() FROM generate_series(1, {k})), CAST(:symbols AS text[]),
                       CAST(:same AS float8[]), CAST(:same AS float8[]), array_fill(v.session, ARRAY[{k}]),
                       array_fill(CAST('close' AS text), ARRAY[{k}]), array_fill(CAST(0 AS smallint), ARRAY[{k}]),
                       array_fill(CAST(500000000 AS bigint), ARRAY[{k}]), CAST(v.pnl AS bigint[]),
                       array_fill(CAST(0 AS bigint), ARRAY[{k}]), array_fill(CAST(0 AS bigint), ARRAY[{k}]),
                       array_fill(CAST(0 AS bigint), ARRAY[{k}]), array_fill(CAST('' AS text), ARRAY[{k}])
                FROM unnest(CAST(:days AS date[]), CAST(:pnl AS text[])) AS v (session, pnl)"""),
        {"id": identity, "symbols": symbols, "same": same, "days": days,
         "pnl": ["{" + ",".join(map(str, row)) + "}" for row in pnl.tolist()]},
    )  # fmt: skip
    proxies = [{0: "SPY", FACTOR_NAMES.index("momentum"): "MTUM"}.get(n) for n in range(len(FACTOR_NAMES))]
    await conn.execute(
        text("""INSERT INTO factors.proxies (session, model_version, price_version, proxies, slopes, sigmas)
                SELECT unnest(CAST(:days AS date[])), '1', 1, CAST(:proxies AS text[]), array_fill(1::float8, '{8}'),
                       array_fill(0.01::float8, '{8}')"""),
        {"days": days, "proxies": proxies},
    )
    await conn.execute(
        text(f"""INSERT INTO risk.results (portfolio_id, session, revision, model_version, quality, coverage, risk, symbols, weights,
                    exposure_values, betas, proxies, exposures)
                SELECT :id, unnest(CAST(:days AS date[])), 1, :model, 'complete', 1, '{{}}', CAST(:symbols AS text[]),
                       CAST(:same AS float8[]),
                       array_fill(50000::float8, ARRAY[{k}]), array_fill(0.9::float8, ARRAY[{8 * k}]), CAST(:proxies AS text[]),
                       array_fill(10000::float8, ARRAY[{3 * len(EXPOSURES)}])"""),
        {"id": identity, "days": days, "model": MODEL_VERSION, "symbols": symbols, "same": same, "proxies": proxies},
    )  # fmt: skip


async def measure(engine: AsyncEngine, portfolio: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    transport = httpx2.ASGITransport(app=make_app(engine, []))
    figures = ",".join(f"performance.{name}" for name in FIGURES)
    trades = {"trades": [{"symbol": "SPY", "quantity": -100}]}
    asked: dict[str, tuple[str, str, Any]] = {
        "performance": ("GET", "performance?benchmark=SPY", None),
        "attribution": ("GET", "attribution", None),
        "replay": ("GET", "stress/replay?from=2020-02-19&to=2020-03-23", None),
        "liquidity": ("GET", "liquidity", None),
        "what-if": ("POST", "what-if", trades),
        "series of every performance figure": ("GET", f"risk/series?figures={figures}", None),
        "series of the days to sell": ("GET", "risk/series?figures=liquidity.days", None),
        "series of an attribution": ("GET", "risk/series?figures=attribution.factors.market.pnl", None),
    }
    async with httpx2.AsyncClient(transport=transport, base_url="http://test", timeout=60) as client:
        for title, (method, path, body) in asked.items():

            async def call(method: str = method, path: str = path, body: Any = body) -> bytes:
                answer = await client.request(method, f"{PREFIX}/portfolios/{portfolio}/{path}", json=body)
                assert answer.status_code == 200, answer.text
                return answer.content

            size = len(await call())
            began = time.process_time()
            taken = await timed(call)
            # Of this process, whatever else the machine does meanwhile; the database's own is not in it.
            own = 1000 * (time.process_time() - began) / CALLS
            found[title] = taken | {"processor_ms": round(own, 1), "bytes": size}
    return found


async def run(server: databases.Server) -> dict[str, Any]:
    database = await databases.create(server)
    engine = create_engine(database.url("coordinator"), application="bench", pool_size=4)
    admin = create_engine(database.admin_url, application="bench-admin", pool_size=2)
    try:
        portfolio = await load(admin)
        return await measure(engine, portfolio)
    finally:
        await engine.dispose()
        await admin.dispose()
        await databases.drop(database)


def main() -> None:
    with servers.postgres() as server:
        found = asyncio.run(run(server))
    for title, figures in found.items():
        sys.stdout.write(f"{title:36} {figures}\n")


if __name__ == "__main__":
    main()
