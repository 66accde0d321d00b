"""What a portfolio-session of risk takes in bytes, as PostgreSQL stores it: the same on every machine, so it is bounded to the figure."""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.risk.store.results import FIGURE_COLUMNS, KEY_COLUMNS, WHOLE
from services.risk.workflow import RiskWorker, load_scenarios
from shared.db.engine import create_engine
from shared.ledger import Completed
from shared.work import Batch, UnitKey
from tests.bench import world
from tests.support import databases
from tests.support.databases import Server

# Bytes of each group of columns in a row of 13 and of 30 positions. What a new figure takes belongs here, and in
# docs/decisions/0087-less-of-a-row.md.
BUDGET: Mapping[tuple[str, ...], tuple[int, int]] = {
    ("risk", "reasons"): (2_850, 2_900),
    ("stress_direct", "stress_propagated"): (0, 0),
    ("stress_reasons", "stress_capped", "duration_as_of", "uncovered_value", "nav", "shocks_id"): (60, 60),
    ("betas", "beta_reasons"): (900, 2_050),
    ("correlations", "correlation_n_obs", "clusters", "excluded", "shrinkage", "mean_correlation"): (730, 3_650),
    ("exposures", "exposure_errors", "exposure_limited", "exposure_reasons", "proxies"): (610, 610),
    ("factor_shares",): (80, 80),
    ("forecasts", "realized_return"): (170, 170),
    ("tail_parts",): (240, 510),
    ("contributions", "contribution_shares", "tilts"): (130, 265),
    ("weights", "exposure_values", "greeks", "symbols"): (240, 560),
    ("realized_252", "forecast_21", "har", "series_reasons"): (320, 600),
    ("quality", "coverage", "scenario_set", "provisional", *KEY_COLUMNS): (80, 80),
}
ROW = (6_300, 11_000)
SHARED_BY_A_SESSION = 2_800
# Whatever it holds: nothing of a holding is left.
THINNED_OUT = 1_300
SESSIONS = 3


async def sizes(conn: AsyncConnection, expression: str, portfolios: tuple[object, ...]) -> float:
    found = await conn.scalar(
        text(f"SELECT max({expression}) FROM risk.results r WHERE portfolio_id = ANY (CAST(:of AS uuid[]))"),
        {"of": list(portfolios)},
    )
    return float(found)


async def thin_middle_session(conn: AsyncConnection, portfolio: UUID) -> float:
    """Bytes of the row that is left."""
    await conn.execute(text("UPDATE risk.results SET computed_at = computed_at - interval '8 days'"))
    await conn.execute(
        text("""INSERT INTO ledger.units (portfolio_id, session, phase, required_revision, completed_revision)
                SELECT portfolio_id, session, 'risk', 1, 1 FROM risk.results""")
    )
    thin = text("SELECT ledger.thin_results(ARRAY[CAST(:of AS uuid)], '2020-12-30', 10)")
    assert await conn.scalar(thin, {"of": portfolio}) == 1
    return await sizes(conn, "pg_column_size(r) * CAST(thinned_revision IS NOT NULL AS int)", (portfolio,))


def test_every_column_has_a_budget() -> None:
    assert sorted(name for group in BUDGET for name in group) == sorted({*KEY_COLUMNS, *WHOLE, *FIGURE_COLUMNS})


async def test_a_portfolio_session_stays_within_its_bytes(server: Server) -> None:
    database = await databases.create(server)
    admin = create_engine(database.admin_url, application="sizes", pool_size=1)
    try:
        of = await world.build(admin, SESSIONS, 2)
        worker = RiskWorker(load_scenarios())
        for portfolios, sessions in (((of.steady,), of.sessions), (of.night, of.sessions[-1:])):
            batch = Batch(portfolios, sessions, ((1,) * len(sessions),) * len(portfolios))
            keys = [UnitKey(portfolio, session) for portfolio in portfolios for session in sessions]
            async with admin.begin() as conn:
                results = worker.compute(await worker.load(conn, batch))
                await worker.save(conn, results, Completed(dict.fromkeys(keys, 1)))
        async with admin.begin() as conn:
            for which, portfolios in enumerate(((of.steady,), of.night)):
                assert await sizes(conn, "pg_column_size(r)", portfolios) <= ROW[which]
                for group, budget in BUDGET.items():
                    taken = await sizes(
                        conn, " + ".join(f"coalesce(pg_column_size({name}), 0)" for name in group), portfolios
                    )
                    assert taken <= budget[which], (group, taken)
            shocks = (
                await conn.execute(text("SELECT count(*), max(pg_column_size(s)) FROM risk.stress_shocks s"))
            ).one()
            assert shocks[0] == SESSIONS, "portfolios of one session share one row"
            assert shocks[1] <= SHARED_BY_A_SESSION
            assert await thin_middle_session(conn, of.steady) <= THINNED_OUT
    finally:
        await admin.dispose()
        await databases.drop(database)
