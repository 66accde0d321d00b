"""Bugs 14, 15, 33, 34, 37 and 40: what a kill leaves behind, and what somebody else may see or touch."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from datetime import date
from typing import Any
from uuid import UUID, uuid4

import httpx2
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from services.coordinator.runs import requests, store
from services.coordinator.runs.requests import Scope
from services.coordinator.runs.store import Run
from shared import ledger
from shared.clock import Clock
from shared.db.engine import acquire_commit_order_lock, create_engine
from shared.ledger import MAX_RUNS
from shared.market.calendar import calendar
from shared.messaging import dead_letters
from shared.settings import ServiceSettings
from shared.work import MAX_UNITS, Phase
from tests.flow import toy
from tests.flow.toy import Wire, Worker
from tests.store.coordinator.conftest import AS_OF, CSV, PREFIX, make_app
from tests.support.brokers import TestBroker
from tests.support.databases import Database
from tests.support.ledger import SESSIONS

SECRET = "a reason that is nobody else's business"


@pytest.fixture
async def admin(database: Database) -> AsyncIterator[AsyncEngine]:
    engine = create_engine(database.admin_url, application="test", pool_size=4)
    yield engine
    await engine.dispose()


@pytest.fixture
def settings(database: Database, broker: TestBroker) -> ServiceSettings:
    return toy.settings_for(database, broker)


@pytest.fixture
async def wire(settings: ServiceSettings) -> AsyncIterator[Wire]:
    async with toy.wire(settings) as connected:
        yield connected


async def asked(admin: AsyncEngine, portfolio: UUID) -> UUID:
    """A run of the portfolio's ingest, as somebody asks for one."""
    async with admin.begin() as conn:
        await acquire_commit_order_lock(conn)
        await conn.execute(
            text("""INSERT INTO coordinator.portfolios (id, name, account_type, equity_balance)
                    VALUES (:p, 'bug', 'taxable', 1)"""),
            {"p": portfolio},
        )
        scope = Scope((portfolio,), phase=Phase.INGEST)
        return await requests.request(conn, Clock(SESSIONS[-1]), scope, source="admin", what="missing")


async def read(admin: AsyncEngine, run: UUID) -> Run:
    async with admin.connect() as conn:
        found = await store.read(conn, run)
    assert found is not None
    return found


async def written(admin: AsyncEngine) -> dict[UUID, list[int]]:
    """How often each session of each portfolio was written."""
    async with admin.connect() as conn:
        rows = await conn.execute(text("SELECT portfolio_id, array_agg(times) FROM ingest.toy GROUP BY 1"))
        return {portfolio: list(times) for portfolio, times in rows}


async def count(admin: AsyncEngine, statement: str) -> int:
    async with admin.connect() as conn:
        return int(await conn.scalar(text(statement)) or 0)


@pytest.mark.kafka
async def test_bug_14_whoever_is_killed_in_a_phase_leaves_no_run_that_runs_for_ever(
    admin: AsyncEngine, settings: ServiceSettings, wire: Wire
) -> None:
    """What a run is doing is read from the units: no column says it, so nothing that died can have left one behind."""
    [portfolio] = await toy.prepare(admin, 1)
    run = await asked(admin, portfolio)
    await wire.announce(portfolio)
    await toy.killed(settings, "H3")
    dead = await read(admin, run)
    assert (dead.state, dead.done, dead.units) == ("running", 0, 2), (
        "because two units are missing, and for no other reason"
    )
    await toy.forget_leases(admin)
    async with toy.running(settings, Worker()):
        await wire.drained()
    assert (await read(admin, run)).state == "complete"
    async with admin.begin() as conn:
        await conn.execute(
            text("UPDATE ledger.units SET required_revision = nextval('ledger.change') WHERE phase <> 'ingest'")
        )
    assert (await read(admin, run)).state == "complete", "of what others require since, the run knows nothing"
    columns = (
        "SELECT count(*) FROM information_schema.columns WHERE table_schema = 'coordinator' AND table_name = 'runs'"
    )
    assert await count(admin, f"{columns} AND column_name IN ('state', 'status', 'finished_at', 'completed_at')") == 0


@pytest.mark.kafka
@pytest.mark.parametrize(("point", "state"), [("H6", "running"), ("H7", "complete")])
async def test_bug_15_a_finish_is_there_whole_or_not_at_all_when_the_process_ends_at_once(
    admin: AsyncEngine, settings: ServiceSettings, wire: Wire, point: str, state: str
) -> None:
    """H6: everything is written, nothing committed. H7: committed, and the next thing the process does is die."""
    [portfolio] = await toy.prepare(admin, 1)
    run = await asked(admin, portfolio)
    await wire.announce(portfolio)
    await toy.killed(settings, point)
    told = "SELECT count(*) FROM bus.outbox WHERE type LIKE '%PricesIngested%'"
    assert (await read(admin, run)).state == state
    assert (len(await written(admin)), await count(admin, told)) == ((1, 1) if state == "complete" else (0, 0))


@pytest.mark.kafka
async def test_bug_34_a_kill_in_a_long_history_costs_one_batch_and_not_the_history(
    admin: AsyncEngine, settings: ServiceSettings, wire: Wire
) -> None:
    """254 sessions of forty portfolios are three batches. Killed in the second: the first is not computed again."""
    sessions = calendar().between(date(2023, 1, 3), SESSIONS[-1])[-254:]
    portfolios = await toy.prepare(admin, 40, sessions)
    await wire.announce(*portfolios, sessions=sessions)
    await toy.killed(settings, "H3:2")
    done = await written(admin)
    assert len(done) == MAX_UNITS // len(sessions), "as many portfolios as fit into a batch"
    await toy.forget_leases(admin)
    worker = Worker()
    async with toy.running(settings, worker):
        await wire.drained(within=60)
    assert sum(len(batch) for batch in worker.batches) == (len(portfolios) - len(done)) * len(sessions)
    assert not {portfolio for batch in worker.batches for portfolio in batch.portfolios} & set(done)
    assert await written(admin) == {portfolio: [1] * len(sessions) for portfolio in portfolios}


@pytest.mark.kafka
async def test_bug_37_fifty_one_onboardings_survive_a_restart(
    admin: AsyncEngine, settings: ServiceSettings, wire: Wire
) -> None:
    """No queue in a process: what was waiting when it died waits still, however much it was."""
    portfolios = await toy.prepare(admin, 51)
    for portfolio in portfolios:
        await wire.announce(portfolio)
    await toy.killed(settings, "H7:20")
    assert len(await written(admin)) == 20
    await toy.forget_leases(admin)
    async with toy.running(settings, Worker()):
        assert await wire.drained() == 51
    assert await written(admin) == {portfolio: [1, 1] for portfolio in portfolios}


@pytest.fixture
async def engine(database: Database) -> AsyncIterator[AsyncEngine]:
    created = create_engine(database.url("coordinator"), application="test-coordinator", pool_size=4)
    yield created
    await created.dispose()


def client_of(engine: AsyncEngine, token: str | None = None) -> httpx2.AsyncClient:
    """A coordinator that has just started."""
    app = make_app(engine, [], token=token)
    return httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://test")


async def entered(client: httpx2.AsyncClient, csv: str = CSV) -> str:
    answer = await client.post(
        f"{PREFIX}/portfolios/import",
        data={"name": "Test", "equity_balance": "100000", "allow_duplicate_name": "true"},
        files={"file": ("p.csv", csv.encode(), "text/csv")},
    )
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


async def everything(admin: AsyncEngine) -> dict[str, tuple[int, int]]:
    """Number of rows, and a hash of them, of every table."""
    async with admin.connect() as conn:
        tables = await conn.scalars(
            text("""SELECT quote_ident(schemaname) || '.' || quote_ident(tablename) FROM pg_tables
                    WHERE schemaname NOT IN ('pg_catalog', 'information_schema') ORDER BY 1""")
        )
        found = {}
        for table in tables.all():
            row = (
                await conn.execute(text(f"SELECT count(*), coalesce(sum(hashtext(CAST(t AS text))), 0) FROM {table} t"))
            ).one()
            found[table] = (int(row[0]), int(row[1]))
    return found


LOT = {"symbol": "AAPL", "quantity": 1, "entry_date": "2020-12-21", "entry_price": 128.23}
FLOW = {"date": "2020-12-24", "amount": 100, "note": None}
# Every operation that changes a portfolio, with what would be accepted of its owner.
CHANGES: Mapping[tuple[str, str], dict[str, Any]] = {
    ("post", "/import"): {"files": {"file": ("p.csv", CSV.encode(), "text/csv")}},
    ("patch", ""): {"json": {"name": "mine now"}},
    ("delete", ""): {},
    ("post", "/calculate"): {},
    ("post", "/price-basis"): {},
    ("post", "/positions"): {"json": LOT},
    ("patch", "/positions/{position_id}"): {"json": {"quantity": 7}},
    ("delete", "/positions/{position_id}"): {},
    ("post", "/flows"): {"json": FLOW},
    ("delete", "/flows/{flow_id}"): {},
    ("delete", "/imports/{import_id}"): {},
    ("post", "/what-if"): {"json": {"trades": [{"symbol": "AAPL", "quantity": 1}]}},
}
ROOT = f"{PREFIX}/portfolios/{{portfolio_id}}"


def operations(engine: AsyncEngine) -> dict[tuple[str, str], set[str]]:
    """Method and path of everything that is served, and the names of what may be asked with it."""
    paths = make_app(engine, []).openapi()["paths"]
    return {
        (method, path): {named["name"] for named in operation.get("parameters", ()) if named["in"] == "query"}
        for path, methods in paths.items()
        for method, operation in methods.items()
    }


async def test_bug_33_a_foreign_id_changes_nothing_and_a_stranger_is_not_let_in(
    admin: AsyncEngine, engine: AsyncEngine
) -> None:
    """Before anything is prepared, begun or written, it is looked whether the portfolio is there and the caller may."""
    writes = [(m, path) for m, path in operations(engine) if m != "get" and path.startswith(ROOT)]
    assert {(method, path.removeprefix(ROOT)) for method, path in writes} == set(CHANGES), (
        "a new operation needs its line"
    )
    async with client_of(engine) as client, client_of(engine, token="s3cret-of-the-server") as stranger:
        mine, other = await entered(client), await entered(client)
        assert (await client.post(f"{PREFIX}/portfolios/{mine}/flows", json=FLOW)).status_code == 201
        async with admin.connect() as conn:
            inner = {
                f"{what}_id": await conn.scalar(
                    text(f"SELECT id FROM coordinator.{what}s WHERE portfolio_id = :p"), {"p": mine}
                )
                for what in ("position", "flow", "import")
            }
        before = await everything(admin)
        for method, path in writes:
            values = CHANGES[method, path.removeprefix(ROOT)]
            # Nobody's portfolio; and where there is something inside one, mine under another's.
            for portfolio in (uuid4(), other)[: 2 if "_id}" in path.removeprefix(ROOT) else 1]:
                answer = await client.request(method, path.format(portfolio_id=portfolio, **inner), **values)
                assert answer.status_code == 404, (method, path, answer.text)
            refused = await stranger.request(method, path.format(portfolio_id=mine, **inner), **values)
            assert refused.status_code == 401, (method, path)
        unknown = await client.post(f"{PREFIX}/admin/batch/run", params={"portfolio_id": [str(uuid4())]})
        assert unknown.status_code == 422
        assert await everything(admin) == before
        accepted = await client.request("patch", f"{PREFIX}/portfolios/{mine}", json={"name": "mine now"})
        assert accepted.status_code == 200
        assert await everything(admin) != before, "or the comparison sees nothing"


async def test_bug_40_what_went_wrong_with_one_portfolio_is_told_of_no_other_and_after_a_restart_still(
    admin: AsyncEngine, engine: AsyncEngine
) -> None:
    async with client_of(engine) as client:
        mine, other = await entered(client), await entered(client, CSV.replace("AAPL", "JPM").replace("MSFT", "KO"))
        first = (await client.get(f"{PREFIX}/portfolios/{mine}/status")).json()["first_session"]
        span = (date.fromisoformat(first), AS_OF)
        async with admin.begin() as conn:
            for _ in range(MAX_RUNS):
                await ledger.record_failure(conn, Phase.INGEST, UUID(mine), {span: SECRET})
            await dead_letters.record_blocked(conn, Phase.INGEST, UUID(mine), *span, SECRET)
        asked = {"figure": "nav", "figures": "nav", "session": str(AS_OF)}
        stretch = {"from": "2020-12-01", "to": "2020-12-15"}
        reads = {
            path: {
                name: value
                for name, value in (asked | (stretch if path.endswith("/replay") else {})).items()
                if name in names
            }
            for (method, path), names in operations(engine).items()
            if method == "get" and path.startswith(ROOT)
        }
        for path, parameters in reads.items():
            nobody = await client.get(path.format(portfolio_id=uuid4()), params=parameters)
            assert nobody.status_code == 404, path
            if not path.endswith("/stream"):
                told = (await client.get(path.format(portfolio_id=other), params=parameters)).text
                assert [word for word in (SECRET, mine, "AAPL", "MSFT") if word in told] == [], path
        history = [f"{PREFIX}/portfolios/{mine}/status", f"{PREFIX}/admin/runs", f"{PREFIX}/admin/dead-letters"]
        before = [(await client.get(path)).json() for path in history]
        assert SECRET in str(before[0])
        assert SECRET in str(before[2])
        assert len(before[1]["items"]) == 2
    await engine.dispose()
    async with client_of(engine) as restarted:
        assert [(await restarted.get(path)).json() for path in history] == before
