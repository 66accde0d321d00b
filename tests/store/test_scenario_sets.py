"""Which set of scenarios is in force, and what another one does to what was computed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import date
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.risk.compute.scenario_file import parse
from services.risk.workflow import RiskWorker, load_scenarios
from services.risk.workflow.scenario_sets import OtherScenarios, activate_scenarios, refresh_windows, scenarios_in_force
from shared import ledger
from shared.db.engine import acquire_commit_order_lock, create_engine, next_change_seq
from shared.work import Batch
from tests.support import databases
from tests.support.databases import Database, Server
from tests.support.ledger import SESSIONS


@pytest.fixture
async def restartable(server: Server) -> AsyncIterator[Database]:
    """A database in which services commit, of units without a story."""
    created = await databases.create(server)
    yield created
    await databases.drop(created)


async def finished(conn: AsyncConnection, count: int) -> list[UUID]:
    """Portfolios whose units are all complete."""
    portfolios = [uuid4() for _ in range(count)]
    for portfolio in portfolios:
        await conn.execute(
            text("""INSERT INTO coordinator.portfolios (id, name, account_type, equity_balance)
                    VALUES (:id, 'x', 'taxable', 1000)"""),
            {"id": portfolio},
        )
    await acquire_commit_order_lock(conn)
    await ledger.add_units(conn, portfolios, SESSIONS, await next_change_seq(conn))
    await conn.execute(text("UPDATE ledger.units SET completed_revision = required_revision"))
    return portfolios


OWN = load_scenarios().extend(parse({"scenarios": [{"id": "market_down_10", "shocks": {"market": -0.12}}]}))


async def test_another_script_restates_what_the_old_one_computed(restartable: Database) -> None:
    """The same set again is nothing; another restates every session, and who still has the old one computes no more."""
    risk = create_engine(restartable.url("risk"), application="test-risk", pool_size=2)
    admin = create_engine(restartable.admin_url, application="test", pool_size=2)
    try:
        async with admin.begin() as conn:
            await finished(conn, 2)
        assert await activate_scenarios(risk, load_scenarios()) == 0, "nothing was computed before"
        assert await activate_scenarios(risk, load_scenarios()) == 0
        assert await activate_scenarios(risk, OWN) == 2 * len(SESSIONS)
        assert await activate_scenarios(risk, OWN) == 0
        async with admin.connect() as conn:
            missing = await conn.execute(
                text("SELECT DISTINCT phase::text FROM ledger.units WHERE completed_revision < required_revision")
            )
            assert missing.scalars().all() == ["risk"]
            kept = await conn.execute(text("SELECT digest, jsonb_array_length(durations) FROM risk.scenario_sets"))
            assert {row.digest: row[1] for row in kept} == {load_scenarios().digest(): 9, OWN.digest(): 9}
        batch = Batch((uuid4(),), (SESSIONS[0],), ((1,),))
        async with risk.connect() as conn:
            with pytest.raises(OtherScenarios, match="start them anew"):
                await RiskWorker(load_scenarios()).load(conn, batch)
            await RiskWorker(OWN).load(conn, batch)
    finally:
        await risk.dispose()
        await admin.dispose()


async def test_results_of_an_unrecorded_set_are_restated_at_the_first_start(restartable: Database) -> None:
    risk = create_engine(restartable.url("risk"), application="test-risk", pool_size=2)
    admin = create_engine(restartable.admin_url, application="test", pool_size=2)
    try:
        async with admin.begin() as conn:
            [portfolio] = await finished(conn, 1)
            await conn.execute(
                text("""INSERT INTO risk.results (portfolio_id, session, revision, model_version, quality, coverage, risk, scenario_set)
                        VALUES (:id, :session, 1, '1', 'complete', 1, '{}', 'unrecorded')"""),
                {"id": portfolio, "session": SESSIONS[0]},
            )
        assert await activate_scenarios(risk, load_scenarios()) == len(SESSIONS)
    finally:
        await risk.dispose()
        await admin.dispose()


WINDOW = load_scenarios().extend(
    parse({"scenarios": [{"id": "february", "replay": {"from": date(2020, 2, 19), "to": date(2020, 2, 25)}}]})
)


async def test_a_window_takes_stored_prices_once_they_are_there_and_all_services_the_same(
    restartable: Database,
) -> None:
    """A service that started before the prices came computes with what the set in force says, not with what it saw."""
    risk = create_engine(restartable.url("risk"), application="test-risk", pool_size=2)
    admin = create_engine(restartable.admin_url, application="test", pool_size=2)

    async def returns() -> dict[str, float]:
        async with risk.connect() as conn:
            of = (await scenarios_in_force(conn, WINDOW)).scenarios[-1].replay
        assert of is not None
        return dict(of.returns)

    try:
        async with admin.begin() as conn:
            await finished(conn, 1)
        assert await activate_scenarios(risk, WINDOW) == 0
        assert await returns() == {}
        assert await refresh_windows(risk, WINDOW) == 0, "nothing is stored yet"
        async with admin.begin() as conn:
            await conn.execute(
                text("""
                    WITH spy AS (INSERT INTO ingest.symbols (symbol) VALUES ('SPY') RETURNING id)
                    INSERT INTO ingest.prices (symbol_id, session, close, total_return, return_basis, basis, provider, fetched_at, change)
                    SELECT id, day, 300, -0.02, 'adjusted', 'as_traded', 'file', now(), 1
                    FROM spy, unnest(CAST(:days AS date[])) day
                """),
                {"days": [date(2020, 2, day) for day in (19, 20, 21, 24, 25)]},
            )
        assert await refresh_windows(risk, WINDOW) == len(SESSIONS)
        assert await refresh_windows(risk, WINDOW) == 0
        assert await returns() == {"SPY": round(0.98**4 - 1, 4)}
        batch = Batch((uuid4(),), (SESSIONS[0],), ((1,),))
        async with risk.connect() as conn:
            inputs = await RiskWorker(WINDOW).load(conn, batch)
        assert inputs.scenarios is not None
        assert inputs.scenarios.digest() != WINDOW.digest()
        # Another file was started since: who still has this one neither computes nor takes it back.
        assert await activate_scenarios(risk, OWN) == len(SESSIONS)
        assert await refresh_windows(risk, WINDOW) == 0
        async with risk.connect() as conn:
            with pytest.raises(OtherScenarios):
                await scenarios_in_force(conn, WINDOW)
    finally:
        await risk.dispose()
        await admin.dispose()
