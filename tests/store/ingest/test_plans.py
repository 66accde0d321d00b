"""What a key's plan covers, over restarts and with another key; and what the doctor reads of a service that runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextvars import Context
from datetime import timedelta

import pytest

from deploy import doctor
from services.ingest.model.stored import Link
from services.ingest.providers.errors import PlanLimited, RateLimited, TodayRefused
from services.ingest.providers.quota.limits import Priority, Window
from services.ingest.settings import IngestSettings
from services.ingest.store import chain
from services.ingest.workflow.quotas import DatabaseQuota, Loop, check_running, nothing_priced
from tests.store.ingest.conftest import DAYS, LAST, Ingest
from tests.support.databases import Database

WINDOWS = (Window(5, 60.0),)


@pytest.fixture
async def clean(ingest: Ingest) -> AsyncIterator[Ingest]:
    for table in ("quota_uses", "providers", "chain"):
        await ingest.execute(f"DELETE FROM ingest.{table}")
    yield ingest
    await ingest.execute("DELETE FROM ingest.chain")


def quota(ingest: Ingest, account: str = "a") -> DatabaseQuota:
    loop = Loop()
    loop.bind()
    return DatabaseQuota(ingest.worker._engine, loop, "massive", account, WINDOWS)


async def test_a_plan_is_remembered_by_key_for_a_week(clean: Ingest) -> None:
    assert await asyncio.to_thread(quota(clean).plan_years) is None
    await asyncio.to_thread(quota(clean).learn_plan, 2)
    assert await asyncio.to_thread(quota(clean).plan_years) == 2, "in another process too"
    assert await asyncio.to_thread(quota(clean, "another key").plan_years) is None
    await clean.execute("UPDATE ingest.providers SET plan_learnt_at = now() - interval '8 days'")
    assert await asyncio.to_thread(quota(clean).plan_years) is None, "the plan may have been changed"


async def test_another_key_is_asked_for_what_the_last_ones_plan_did_not_cover(clean: Ingest) -> None:
    clean.market.quote("AAA")
    await clean.run(await clean.portfolio(("AAA", LAST)))
    [(id_,)] = await clean.rows("SELECT id FROM ingest.symbols WHERE symbol = 'AAA'")
    day = DAYS.back(LAST, 3)
    for reason, first in (("plan_limit", day), ("not_found", LAST)):
        await clean.execute(
            "INSERT INTO ingest.gaps VALUES (:id, :first, :first, :reason, true, 'massive', now(), now() + interval '9 days')",
            id=id_, first=first, reason=reason,
        )  # fmt: skip

    async def start(account: str) -> dict[str, bool]:
        async with clean.admin.begin() as conn:
            await chain.write_chain(conn, [Link("massive", account, WINDOWS, 1.0, 2.0)])
        rows = await clean.rows("SELECT reason, retry_at <= now() AS due FROM ingest.gaps")
        return {row.reason: row.due for row in rows}

    assert await start("a") == {"plan_limit": False, "not_found": False}
    assert await start("a") == {"plan_limit": False, "not_found": False}
    assert await start("b") == {"plan_limit": True, "not_found": False}


async def test_the_doctor_reads_what_the_running_service_recorded(clean: Ingest) -> None:
    async with clean.admin.begin() as conn:
        await chain.write_chain(conn, [Link("file", None, (), 0, 0), Link("massive", "a", WINDOWS, 1.0, 2.0)])
    file, unasked = await check_running(clean.worker._engine)
    assert (file.provider, file.answers, unasked.said) == ("file", True, "was not asked yet")

    mine = quota(clean)
    permit = await asyncio.to_thread(mine.reserve, 2, 1, Priority.TODAY)
    await asyncio.to_thread(mine.record_success)
    assert permit.calls == 2
    _, answered = await check_running(clean.worker._engine)
    assert answered.answers
    assert answered.said.startswith("last answered 2")
    assert answered.left == ((WINDOWS[0], 3),)

    await asyncio.to_thread(mine.record_failure, PlanLimited("massive", "the plan does not cover /v2/aggs. Upgrade"))
    await asyncio.to_thread(mine.record_failure, TodayRefused("massive", "the day has not ended"))
    _, refused = await check_running(clean.worker._engine)
    assert refused.answers
    assert "the plan does not cover /v2/aggs. Upgrade" in refused.said

    async with clean.admin.connect() as conn:
        now = (await conn.exec_driver_sql("SELECT now()")).scalar_one()
    await asyncio.to_thread(
        mine.record_failure, RateLimited("massive", "limit reached", retry_at=now + timedelta(minutes=9))
    )
    _, closed = await check_running(clean.worker._engine)
    assert not closed.answers
    assert "is not asked until" in closed.said
    assert "limit reached" in closed.said


async def test_the_doctor_says_when_nothing_is_priced_and_why(clean: Ingest) -> None:
    assert await nothing_priced(clean.worker._engine) is None, "nothing was asked for"
    await clean.execute(
        "INSERT INTO ingest.symbols (symbol, covered_from, covered_to) VALUES ('ABA', :first, :last), ('ABB', :first, :last)",
        first=DAYS.back(LAST, 3), last=LAST,
    )  # fmt: skip
    for reason, first, last in (
        ("plan_limit", DAYS.back(LAST, 3), DAYS.previous(LAST)),
        ("late", LAST, LAST),  # the newest session of each, beside the years that the plan leaves out
    ):
        await clean.execute(
            "INSERT INTO ingest.gaps SELECT id, :first, :last, :reason, true, 'massive', now(), NULL FROM ingest.symbols",
            first=first, last=last, reason=reason,
        )  # fmt: skip
    said = await nothing_priced(clean.worker._engine)
    assert said is not None
    assert said.startswith("nothing is priced: plan. None of 2 symbols")
    assert "larger plan" in said
    clean.market.quote("AAA")
    await clean.run(await clean.portfolio(("AAA", LAST)))
    assert await nothing_priced(clean.worker._engine) is None


async def test_the_doctor_says_how_old_the_yields_are_where_nobody_has_chosen_a_calendar(
    clean: Ingest, committed: Database
) -> None:
    settings = IngestSettings(providers=("yahoo",), reference_providers=("fred",), as_of=LAST)
    asking = doctor._yields(settings, ingest=committed.url("ingest"))
    assert await asyncio.create_task(asking, context=Context()) == "no curve was asked for yet"
