"""Nothing lost: whatever does not arrive is asked for again, and the auditor finds nothing afterwards."""

from __future__ import annotations

import asyncio
from datetime import date

import pytest

from services.coordinator.control.auditor import audit
from shared.clock import Clock
from tests.flow.holdings import book, lot
from tests.support.pipeline import DONE, Pipeline

pytestmark = pytest.mark.kafka


async def impatient(leadline: Pipeline) -> None:
    """As if the half minute that new work is given had passed."""
    await leadline.execute("UPDATE ledger.schedule SET next_at = now() WHERE next_at > now()")
    assert (await leadline.api.post("/admin/reconcile")).status_code == 202


async def heal(leadline: Pipeline, portfolio: str, within: float = 60.0) -> None:
    until = asyncio.get_running_loop().time() + within
    while (await leadline.status(portfolio))["state"] not in DONE:
        assert asyncio.get_running_loop().time() < until, await leadline.status(portfolio)
        await impatient(leadline)
        await asyncio.sleep(0.5)


async def drift(leadline: Pipeline) -> list[str]:
    report = await audit(leadline.admin, Clock(date(2020, 12, 31)))
    return [f"{found.kind} {found.phase} {found.detail}" for found in report.drift]


async def test_a_day_of_all_kinds_of_changes_leaves_no_drift(leadline: Pipeline) -> None:
    portfolio = await leadline.create(book())
    await leadline.complete(portfolio)
    await leadline.api.post(f"/portfolios/{portfolio}/flows", json={"date": "2020-11-03", "amount": 100})
    body = lot("GE", 10, "2020-08-27", price_basis="as_traded")
    assert (await leadline.api.post(f"/portfolios/{portfolio}/positions", json=body)).status_code == 201
    await leadline.complete(portfolio)
    params = {"portfolio_id": portfolio, "phase": "ingest", "what": "all", "start_date": "2020-12-01"}
    assert (await leadline.api.post("/admin/batch/run", params=params)).status_code == 202
    await leadline.complete(portfolio)
    deleted = await leadline.create([lot("AAPL", 1, "2020-12-01")])
    assert (await leadline.api.delete(f"/portfolios/{deleted}")).status_code == 204
    await leadline.quiet()
    assert await drift(leadline) == []
    assert (await leadline.api.get("/admin/audit", params={"portfolio_id": portfolio})).json()["ok"] is True


async def test_lost_completions_are_made_good_in_the_same_digits(leadline: Pipeline) -> None:
    """Bugs 6, 17 and 19: results are there of one phase and not of the next, in the middle of the history."""
    portfolio = await leadline.create(book())
    await leadline.complete(portfolio)
    await leadline.quiet()
    before = await leadline.digest(portfolio)
    for phase, session in (("factors", "2020-10-05"), ("risk", "2020-11-20"), ("ingest", "2020-12-30")):
        await leadline.execute(
            """UPDATE ledger.units SET completed_revision = 0, completed_at = NULL
               WHERE portfolio_id = :id AND session = :day AND phase = CAST(:phase AS ledger.phase)""",
            id=portfolio, day=date.fromisoformat(session), phase=phase,
        )  # fmt: skip
    await heal(leadline, portfolio)
    assert await leadline.digest(portfolio) == before


async def test_a_portfolio_whose_creation_nobody_heard_of_is_completed(leadline: Pipeline) -> None:
    """Bugs 9, 37 and 46: no second call, no memory of a queue; the rows are the demand."""
    twin = await leadline.create(book())
    await leadline.complete(twin)
    async with leadline.admin.begin() as conn:
        await conn.exec_driver_sql(
            "CREATE FUNCTION bus.lose() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.sent_at := now(); RETURN NEW; END $$"
        )
        await conn.exec_driver_sql(
            "CREATE TRIGGER lose BEFORE INSERT ON bus.outbox FOR EACH ROW "
            "WHEN (NEW.type LIKE '%PortfolioCreated%') EXECUTE FUNCTION bus.lose()"
        )
    try:
        portfolio = await leadline.create(book())
    finally:
        await leadline.execute("DROP FUNCTION bus.lose CASCADE")
    assert (await leadline.status(portfolio))["completed"] == 0
    await heal(leadline, portfolio)
    figures = (
        "SELECT session, nav, daily_pnl, cumulative_return FROM snapshots.snapshots WHERE portfolio_id = :id ORDER BY 1"
    )
    assert await leadline.query(figures, id=portfolio) == await leadline.query(figures, id=twin)
