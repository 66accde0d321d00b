"""Everybody locks units before the schedule, so that nobody deadlocks with a completion."""

from __future__ import annotations

import asyncio
from uuid import UUID

import pytest
from sqlalchemy import text

from services.coordinator.importer import basis
from services.coordinator.importer.basis import Decision
from services.coordinator.portfolios import price_basis, service, store
from services.coordinator.portfolios.price_basis import Lot
from shared import ledger
from shared.clock import Clock
from shared.db.engine import acquire_commit_order_lock
from shared.ledger import MAX_RUNS, Outcome, schedule
from shared.market.calendar import calendar
from shared.messaging import dead_letters
from shared.work import MissingUnit, Phase
from tests.store.coordinator.conftest import AS_OF, PREFIX, Api
from tests.support.waiting import until_blocked

LOTS = "symbol,quantity,entry_date,entry_price\nAAPL,1,2020-12-{day},130\n"


async def act(api: Api, who: str, portfolio: UUID) -> None:
    first = calendar().back(AS_OF, 3)
    if who == "replays":
        answer = await api.client.post(f"{PREFIX}/admin/dead-letters/replay", params={"dry_run": False})
        assert len(answer.json()["replayed"]) == 2, answer.text
        return
    async with api.context.engine.begin() as conn:
        if who == "probe":
            await acquire_commit_order_lock(conn)
            await schedule.retry_blocked(conn)
        elif who == "failure":
            await ledger.record_failure(conn, Phase.SNAPSHOTS, portfolio, {(first, AS_OF): "no"})
        else:
            await acquire_commit_order_lock(conn)
            [row] = await store.positions(conn, portfolio)
            quantity, price = row["quantity"] * 2, row["entry_price"]
            doubled = Decision(1, row["price_basis"], quantity, price, None, None, None, True, basis.COMPARED)
            lot = Lot(row, price_basis._stated_position(1, row), doubled)
            before = await service.get_existing(conn, portfolio)
            assert await price_basis.apply(conn, Clock(AS_OF), before, [lot], source="settings"), "a number moved"


@pytest.mark.parametrize("who", ["probe", "failure", "settlement", "replays"])
async def test_whoever_meets_a_completion_waits_for_its_units_with_the_schedule_untouched(api: Api, who: str) -> None:
    portfolios = sorted([UUID((await api.create(LOTS.format(day=day)))["id"]) for day in (23, 28)])
    for portfolio in portfolios:
        await api.complete(str(portfolio), phase="ingest")
        for _ in range(MAX_RUNS if who in ("probe", "replays") else 1):
            async with api.admin.begin() as conn:
                span = (calendar().back(AS_OF, 1), AS_OF)
                if await ledger.record_failure(conn, Phase.SNAPSHOTS, portfolio, {span: "no"}):
                    await dead_letters.record_blocked(conn, Phase.SNAPSHOTS, portfolio, *span, "no")
    await api.run("UPDATE ledger.schedule SET probe_at = now() WHERE probe_at IS NOT NULL")
    # The last replayed is the one that is held: whoever frees them one by one has the others' schedule by then.
    held = portfolios[0] if who == "replays" else portfolios[-1]
    rows = await api.rows(
        "SELECT session, required_revision FROM ledger.units WHERE portfolio_id = :p AND phase = 'snapshots'", p=held
    )
    async with api.admin.begin() as conn:
        await ledger.complete(conn, Phase.SNAPSHOTS, {MissingUnit(held, *row): Outcome() for row in rows})
        other = asyncio.create_task(act(api, who, held))
        await until_blocked(api.admin, other)
        assert not other.done(), "it wants the units too"
        free = await conn.execute(text("SELECT 1 FROM ledger.schedule FOR NO KEY UPDATE SKIP LOCKED"))
        assert len(free.all()) == len(portfolios) * len(Phase)
        await ledger.record_progress(conn, Phase.SNAPSHOTS, portfolios)
    await other
