"""What an operator of the installation is shown of other tenants, what the audit log tells of, and which plans are kept."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import asyncpg
import httpx2
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from services.coordinator.portfolios import lookups
from shared.db.engine import snapshot
from shared.db.tenancy import HOUSE, Sight, use_sight
from shared.events.services import COMPLETION
from shared.work import Phase
from tests.store.coordinator.conftest import CSV, PREFIX, SERVER, Api, make_app
from tests.store.coordinator.test_people import HEAD, client_of, made, operator_of, upload
from tests.store.coordinator.test_reads import complete_with_results


@pytest.fixture
async def http(api: Api, engines: tuple[AsyncEngine, AsyncEngine]) -> AsyncIterator[httpx2.AsyncClient]:
    """As the role of the HTTP side, which the policies confine."""
    async with client_of(make_app(engines[0], [], token=SERVER)) as made:
        yield made


async def test_pages_of_the_installation_show_others_portfolios_by_id_and_lead_nowhere(
    http: httpx2.AsyncClient,
) -> None:
    tenant = (await made(http, "admin/tenants", {"name": "family"}))["id"]
    own = await operator_of(http, tenant)
    theirs = (await upload(http, own, "Stillwater")).json()["id"]
    ours = (await upload(http, HEAD, "Harbour")).json()["id"]
    asked = await http.post(f"{PREFIX}/portfolios/{theirs}/calculate", headers=own)
    await http.post("/sign-in", data={"token": SERVER})
    pages = {path: (await http.get(path)).text for path in ("/ops", "/ops/grid", f"/ops/runs/{asked.json()['run_id']}")}
    assert [path for path, shown in pages.items() if "Stillwater" in shown] == []
    assert all(theirs in shown for shown in pages.values())
    assert (f"/p/{theirs}" in pages["/ops"], f"/p/{ours}/data" in pages["/ops"]) == (False, True)
    assert "Harbour" in pages["/ops/grid"]


async def test_an_audit_of_one_portfolio_knows_the_outbox_and_no_other_tenants_portfolio(
    api: Api, http: httpx2.AsyncClient
) -> None:
    tenant = (await made(http, "admin/tenants", {"name": "family"}))["id"]
    own = await operator_of(http, tenant)
    theirs, ours = [(await upload(http, head, "A")).json()["id"] for head in (own, HEAD)]

    async def audit(portfolio: str, head: dict[str, str]) -> tuple[int, Any]:
        answer = await http.get(f"{PREFIX}/admin/audit?portfolio_id={portfolio}", headers=head)
        return answer.status_code, answer.json()

    for portfolio in (theirs, ours):
        await api.complete(portfolio, phase="ingest")
        work = {"portfolios": [portfolio], "from": "2020-01-02", "to": "2020-12-30"}
        await api.run(
            """INSERT INTO bus.outbox (event_id, topic, type, payload, written_by)
               VALUES (gen_random_uuid(), 'leadline.prices-ingested', :type, :payload, 'leadline_ingest')""",
            type=COMPLETION[Phase.INGEST].type_name(),
            payload=json.dumps({"work": work}),
        )
    whole = (await http.get(f"{PREFIX}/admin/audit", headers=HEAD)).json()["drift"]
    assert "no_event" not in {each["kind"] for each in whole}
    for portfolio, head in ((theirs, own), (ours, HEAD)):
        status, found = await audit(portfolio, head)
        assert (status, found["drift"]) == (200, [each for each in whole if each["portfolio_id"] == portfolio])
    for portfolio, head in ((ours, own), (theirs, HEAD), (f"{theirs}&portfolio_id={ours}", own)):
        assert (await audit(portfolio, head))[0] == 404, portfolio


def dry_runs(document: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Path and method of every operation that can be tried without doing it."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            forms = [
                content["schema"].get("$ref", "")
                for content in operation.get("requestBody", {}).get("content", {}).values()
            ]
            named = [parameter["name"] for parameter in operation.get("parameters", [])]
            for form in filter(None, forms):
                named += document["components"]["schemas"][form.rsplit("/", 1)[1]].get("properties", {})
            if "dry_run" in named:
                yield path, method.upper()


async def test_a_dry_run_is_no_change_that_the_audit_log_tells_of(
    api: Api, http: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even where it puts questions to the price sources, which it commits."""
    monkeypatch.setattr(lookups, "SECONDS", 0.0)
    portfolio = (await upload(http, HEAD, "A")).json()["id"]
    files = {"file": ("p.csv", CSV.encode(), "text/csv")}
    more = {"file": ("more.csv", b"symbol,quantity,entry_date,entry_price\nKO,10,2020-12-22,52\n", "text/csv")}
    dry: dict[str, dict[str, Any]] = {
        "/portfolios/import": {"data": {"name": "B", "equity_balance": "100000", "dry_run": "true"}, "files": files},
        "/portfolios/{portfolio_id}/import": {"data": {"dry_run": "true"}, "files": more},
        "/portfolios/{portfolio_id}/price-basis": {},
        "/benchmarks/{code}/{date}": {"json": {"weights": {"Technology": 1}}},
        "/funds/{symbol}/holdings/{date}": {"json": {"holdings": [{"symbol": "AAPL", "weight": 1}]}},
        "/admin/dead-letters/replay": {},
        "/admin/dead-letters/purge": {},
    }
    routes = dict(dry_runs(make_app(api.context.engine, []).openapi()))
    assert {path.removeprefix(PREFIX) for path in routes} == set(dry)
    log = "SELECT method, path FROM coordinator.audit_log ORDER BY id"
    noted = await api.rows(log)
    assert [tuple(row) for row in noted] == [("POST", f"{PREFIX}/portfolios/import")]
    await api.run(
        "INSERT INTO ingest.chain (rank, provider, limits, seconds, calls_each, calls_fifty) VALUES (0, 'file', '{}', '{}', 0, 0)"
    )
    try:
        for path, method in routes.items():
            given, asked = dry[path.removeprefix(PREFIX)], "import" in path
            where = path.format(portfolio_id=portfolio, code="SP500", symbol="SPY", date="2020-12-29")
            await api.run("DELETE FROM coordinator.lookups")
            answer = await http.request(
                method, where, headers=HEAD, params={} if asked else {"dry_run": "true"}, **given
            )
            assert answer.status_code in (200, 202), (path, answer.text)
            assert bool(await api.rows("SELECT symbol FROM coordinator.lookups")) == asked, path
            assert await api.rows(log) == noted, path
    finally:
        await api.run("DELETE FROM ingest.chain")
    assert (await upload(http, HEAD, "B")).status_code == 201
    assert len(await api.rows(log)) == len(noted) + 1


async def test_answers_of_one_session_are_read_with_plans_that_are_kept_and_nothing_else_is(
    api: Api, engines: tuple[AsyncEngine, AsyncEngine], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What policies add is planning: a statement that reads a few rows by key is planned once a connection. For its transaction alone."""
    identity = await complete_with_results(api)
    engine, _ = engines
    kept_of: list[bool] = []
    execute = asyncpg.Connection.execute

    async def note(conn: Any, query: str, *given: Any, **named: Any) -> Any:
        if "leadline.tenant" in query:
            kept_of.append("force_generic_plan" in query)
        return await execute(conn, query, *given, **named)

    monkeypatch.setattr(asyncpg.Connection, "execute", note)
    once = "risk", "factor-exposures", "correlations", "stress", "scorecard", "positions", "snapshots", "status"
    for path in once:
        kept_of.clear()
        await api.client.get(f"{PREFIX}/portfolios/{identity}/{path}")
        assert kept_of == [True], (path, "what every request looks up, and the answer, are one transaction")
    kept_of.clear()
    assert (await api.client.get(f"{PREFIX}/portfolios/{identity}")).status_code == 200
    assert kept_of == [True, False]
    kept_of.clear()
    assert (await api.client.get(f"{PREFIX}/portfolios")).status_code == 200
    assert kept_of
    assert not any(kept_of)
    with use_sight(Sight(HOUSE)):
        for kept in (True, False):
            async with snapshot(engine, keep_plans=kept) as conn:
                mode, tenant = (
                    await conn.execute(
                        text("SELECT current_setting('plan_cache_mode'), current_setting('leadline.tenant')")
                    )
                ).one()
            assert (mode, tenant) == ("force_generic_plan" if kept else "auto", str(HOUSE))
