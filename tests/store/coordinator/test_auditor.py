"""The auditor finds every kind of drift that is planted, and nothing where nothing is wrong."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from services.coordinator.control.auditor import KINDS, audit
from shared import ledger
from shared.clock import Clock
from shared.market import registry
from shared.market.calendar import calendar
from shared.messaging import outbox
from shared.telemetry import AUDIT_DRIFT
from shared.work import MissingUnit, Phase
from tests.store.coordinator.conftest import AS_OF, PREFIX, Api

SESSIONS = calendar().between(date(2020, 12, 21), AS_OF)
EARLIER = calendar().between(date(2020, 12, 1), AS_OF)

# Result rows as the phases write them, as little as the tables take.
RESULTS = {
    "snapshots": (
        """
        INSERT INTO snapshots.snapshots (portfolio_id, session, revision, model_version, nav, cash, long_value, short_value,
            gross_exposure, net_exposure, daily_pnl, cumulative_pnl, realized_pnl, unrealized_pnl, dividends, flow,
            cumulative_flow, positions, long_positions, short_positions, coverage, quality)
        SELECT portfolio_id, session, completed_revision, :model, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 'complete'
        FROM ledger.units WHERE phase = 'snapshots' AND completed_revision > 0
        ON CONFLICT (portfolio_id, session) DO UPDATE SET revision = excluded.revision, model_version = excluded.model_version
        """,
        """
        INSERT INTO snapshots.holdings (portfolio_id, session, revision, position_ids, symbols, quantity, price, price_session,
            price_basis, stale, market_value, daily_pnl, cumulative_pnl, realized_pnl, dividends, reason)
        SELECT portfolio_id, session, completed_revision, '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}'
        FROM ledger.units WHERE phase = 'snapshots' AND completed_revision > 0
        ON CONFLICT (portfolio_id, session) DO UPDATE SET revision = excluded.revision
        """,
    ),
}


async def risk_rows(api: Api, model: str = registry.MODEL_VERSION) -> None:
    """Rows of `risk.results` at the completed revisions, every column that must be there filled with what its type allows."""
    columns = await api.rows(
        """
        SELECT column_name, data_type FROM information_schema.columns
        WHERE table_schema = 'risk' AND table_name = 'results' AND is_nullable = 'NO' AND column_default IS NULL
          AND column_name NOT IN ('portfolio_id', 'session', 'revision', 'model_version', 'quality')
        """
    )
    fill = {
        "jsonb": "'{}'",
        "ARRAY": "'{}'",
        "double precision": "1",
        "text": "'x'",
        "smallint": "0",
        "integer": "0",
        "bytea": "''",
    }
    names = "".join(f", {row.column_name}" for row in columns)
    values = "".join(f", {fill[row.data_type]}" for row in columns)
    await api.run("INSERT INTO risk.scenario_sets (digest, scenarios) VALUES ('x', '[]') ON CONFLICT DO NOTHING")
    await api.run(
        f"""
        INSERT INTO risk.results (portfolio_id, session, revision, model_version, quality{names})
        SELECT portfolio_id, session, completed_revision, :model, 'complete'{values}
        FROM ledger.units WHERE phase = 'risk' AND completed_revision > 0
        ON CONFLICT (portfolio_id, session) DO UPDATE SET revision = excluded.revision, model_version = excluded.model_version
        """,
        model=model,
    )


async def finish(api: Api, portfolio: str, model: str = registry.MODEL_VERSION) -> None:
    """Complete everything as the phases do: through the ledger, with events and results."""
    async with api.admin.begin() as conn:
        for phase in Phase:
            rows = await conn.execute(
                text("""SELECT session, required_revision FROM ledger.units
                        WHERE portfolio_id = :id AND phase = CAST(:phase AS ledger.phase)
                          AND completed_revision < required_revision"""),
                {"id": UUID(portfolio), "phase": phase.value},
            )
            outcomes = {MissingUnit(UUID(portfolio), session, revision): ledger.Outcome() for session, revision in rows}
            raised = await ledger.complete(conn, phase, outcomes)
            if raised:
                await outbox.publish_completions(conn, phase, raised.keys, EARLIER)
    for statement in RESULTS["snapshots"]:
        await api.run(statement, **({"model": model} if ":model" in statement else {}))
    await risk_rows(api, model)


async def kinds(api: Api, **options: Any) -> dict[str, int]:
    report = await audit(api.context.engine, Clock(AS_OF), **options)
    assert report.ok is (report.drift == [])
    return {drift.kind: drift.units for drift in report.drift}


async def test_nothing_wrong_is_nothing_found(api: Api) -> None:
    portfolio = (await api.create(price_basis="as_traded"))["id"]
    assert await kinds(api) == {}, "missing is not wrong"
    await finish(api, portfolio)
    assert await kinds(api) == {}
    report = await audit(api.context.engine, Clock(AS_OF))
    assert (report.portfolios, report.units) == (1, 4 * len(SESSIONS))
    await api.client.patch(f"{PREFIX}/portfolios/{portfolio}", json={"equity_balance": 5})
    body = {"symbol": "AAPL", "quantity": 1, "entry_date": "2020-12-16", "entry_price": 127, "price_basis": "as_traded"}
    assert (await api.client.post(f"{PREFIX}/portfolios/{portfolio}/positions", json=body)).status_code == 201
    assert await kinds(api) == {}, "earlier sessions were added, later ones raised"
    await finish(api, portfolio)
    await api.client.post(
        f"{PREFIX}/admin/batch/run",
        params={"portfolio_id": portfolio, "phase": "snapshots", "what": "all", "start_date": "2020-12-28"},
    )
    assert await kinds(api) == {}


PLANTED = {
    "missing_units": ("DELETE FROM ledger.units WHERE phase = 'risk' AND session = '2020-12-23'", 1),
    "surplus_units": (
        """INSERT INTO ledger.units (portfolio_id, session, phase, required_revision)
           SELECT id, '2020-12-18', 'factors', 1 FROM coordinator.portfolios""",
        1,
    ),
    "wrong_first_session": ("UPDATE coordinator.portfolios SET first_session = '2020-12-22'", 0),
    "no_schedule": ("DELETE FROM ledger.schedule WHERE phase = 'ingest'", 7),
    "impossible_revision": ("UPDATE ledger.units SET completed_revision = required_revision + 1 WHERE phase = 'factors'", 7),
    "not_closed": (
        "UPDATE ledger.units SET required_revision = required_revision + 1 WHERE phase = 'ingest' AND session > '2020-12-24'",
        3,
    ),
    "no_result": ("DELETE FROM snapshots.holdings WHERE session > '2020-12-28'", 2),
    "no_event": ("DELETE FROM bus.outbox WHERE type LIKE '%FactorsComputed%'", 7),
    "no_letter": ("UPDATE ledger.units SET blocked_reason = 'x', completed_revision = 0 WHERE phase = 'factors'", 7),
    "other_model": ("UPDATE risk.results SET model_version = '0' WHERE session = '2020-12-21'", 1),
}  # fmt: skip


@pytest.mark.parametrize("kind", PLANTED)
async def test_what_is_planted_is_found(api: Api, kind: str) -> None:
    portfolio = (await api.create(price_basis="as_traded"))["id"]
    await finish(api, portfolio)
    await api.run("SELECT nextval('ledger.change') FROM generate_series(1, 5)")
    statement, units = PLANTED[kind]
    await api.run(statement)
    found = await kinds(api)
    assert kind in found
    # A schedule is missed once for its phase; a raise that is not closed reaches factors and snapshots.
    assert found[kind] == units
    assert set(found) <= {kind, "wrong_first_session", "surplus_units"}, found


async def test_units_of_a_deleted_portfolio_are_found(api: Api) -> None:
    """Bug 4."""
    nobody = uuid4()
    await api.run(
        """INSERT INTO ledger.units (portfolio_id, session, phase, required_revision) VALUES (:id, '2020-12-21', 'risk', 1)""",
        id=nobody,
    )
    assert await kinds(api) == {"deleted_portfolio": 1}
    assert await kinds(api, portfolio=nobody) == {"deleted_portfolio": 1}
    assert await kinds(api, portfolio=uuid4()) == {}


async def test_old_completions_need_no_event_any_more(api: Api) -> None:
    """The outbox keeps what was sent for two days."""
    portfolio = (await api.create(price_basis="as_traded"))["id"]
    await finish(api, portfolio)
    await api.run("DELETE FROM bus.outbox")
    assert "no_event" in await kinds(api)
    assert await kinds(api, events_within=timedelta(0)) == {}


async def test_the_report_is_answered_counted_and_explained(api: Api) -> None:
    portfolio = (await api.create(price_basis="as_traded"))["id"]
    await api.run("DELETE FROM ledger.units WHERE phase = 'risk'")
    answer = (await api.client.get(f"{PREFIX}/admin/audit")).json()
    assert (answer["ok"], answer["portfolios"], answer["drift_total"]) == (False, 1, 1)
    [drift] = answer["drift"]
    assert (drift["kind"], drift["portfolio_id"], drift["phase"], drift["units"]) == (
        "missing_units",
        portfolio,
        "risk",
        7,
    )
    assert drift["detail"].startswith(KINDS["missing_units"])
    assert AUDIT_DRIFT.labels("missing_units")._value.get() == 7
    assert AUDIT_DRIFT.labels("no_result")._value.get() == 0
    nothing = await api.client.get(f"{PREFIX}/admin/audit", params={"portfolio_id": str(uuid4())})
    assert nothing.status_code == 404
