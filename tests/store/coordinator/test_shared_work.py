"""What the coordinator announces is cut by partitions: what fell due, what is asked for again, what a person wants anew."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import cast
from uuid import UUID

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from services.coordinator.control.reconciler import Reconciler
from services.coordinator.control.scheduler import add_due
from services.coordinator.runs import requests
from services.coordinator.runs.store import Span
from shared.buckets import bucket_of
from shared.clock import Clock
from shared.ledger.schedule import Candidate
from shared.messaging import partitions
from shared.messaging.partitions import Partitions, attach
from shared.work import MAX_PORTFOLIOS, Phase
from tests.store.coordinator.conftest import AS_OF, Api
from tests.store.coordinator.test_reconciler import PACE

PARTITIONS = 2
IDS = sorted(UUID(int=number) for number in range(1, 301))


class Known:
    def count(self, topic: str) -> int:
        return PARTITIONS


@pytest.fixture(autouse=True)
async def engine(api: Api) -> AsyncIterator[AsyncEngine]:
    """That of a service whose topics have two partitions. Other tests use it after these."""
    attach(api.context.engine, cast("Partitions", Known()))
    yield api.context.engine
    del partitions._of_engine[api.context.engine.sync_engine]


async def announced(api: Api, kind: str) -> list[tuple[set[UUID], set[UUID]]]:
    """Portfolios of each event of this kind, and those beside."""
    rows = await api.rows("SELECT payload FROM bus.outbox WHERE type = :kind ORDER BY id", kind=f"leadline.{kind}.v1")
    works = [json.loads(payload)["work"] for (payload,) in rows]
    return [({*map(UUID, work["portfolios"])}, {*map(UUID, work.get("beside", []))}) for work in works]


def of(bucket: int, portfolios: list[UUID]) -> set[UUID]:
    return {portfolio for portfolio in portfolios if bucket_of(portfolio, PARTITIONS) == bucket}


async def insert(api: Api, portfolios: list[UUID]) -> None:
    await api.run(
        """INSERT INTO coordinator.portfolios (id, name, account_type, equity_balance, first_session)
           SELECT id, 'Night ' || id, 'taxable', 100000, :day FROM unnest(CAST(:ids AS uuid[])) id""",
        ids=portfolios,
        day=AS_OF,
    )


@pytest.mark.parametrize(("number", "events", "runs"), [(30, 1, 1), (130, 2, 1), (300, 3, 2)])
async def test_what_falls_due_is_announced_by_partition_and_added_in_no_more_steps(
    api: Api, number: int, events: int, runs: int
) -> None:
    portfolios = IDS[:number]
    await insert(api, portfolios)
    assert await add_due(api.context.engine, Clock(AS_OF), source="cron", wake=lambda: None) == 4 * number
    found = await announced(api, "DateDue")
    assert len(found) == events
    assert set().union(*(own for own, _ in found)) == set(portfolios)
    assert await api.rows("SELECT count(*) FROM coordinator.runs") == [(runs,)]
    if events == 2:
        first, second = of(0, portfolios), of(1, portfolios)
        assert found == [(first, second), (second, first)]
    if events > 1:
        assert all(len({bucket_of(portfolio, PARTITIONS) for portfolio in own}) == 1 for own, _ in found)


async def test_what_is_wanted_anew_is_announced_by_partition(api: Api) -> None:
    await insert(api, IDS[:130])
    async with api.context.engine.begin() as conn:
        assert await requests.announce(conn, [Span(id_, Phase.RISK, AS_OF, AS_OF, 1) for id_ in IDS[:130]]) == 2
    first, second = of(0, IDS[:130]), of(1, IDS[:130])
    assert await announced(api, "PhaseRequested") == [(first, second), (second, first)]


def test_what_is_asked_for_again_is_shared_where_that_leaves_nobody_out() -> None:
    clock = Clock(AS_OF)
    candidates = [Candidate(id_, AS_OF, AS_OF, clock.now()) for id_ in IDS]
    made = Reconciler(None, clock, wake=lambda: None, pace=PACE)  # type: ignore[arg-type]
    shared = made.rectangles(Phase.RISK, candidates, 2, PARTITIONS)
    assert [set(work.portfolios) for work in shared] == [of(0, IDS), of(1, IDS)]
    # One event is all that may be sent: as many as possible, of those who have waited longest.
    [only] = made.rectangles(Phase.RISK, candidates, 1, PARTITIONS)
    assert only.portfolios == tuple(IDS[:MAX_PORTFOLIOS])
