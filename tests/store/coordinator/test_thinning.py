"""Which sessions' risk is thinned out, what of a row stays, and that nothing is by default."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from datetime import date
from itertools import pairwise
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from services.coordinator.control import retention
from services.coordinator.control.retention import Keep, Retention, forget
from services.coordinator.control.thinning import thin_results
from services.coordinator.settings import CoordinatorSettings
from shared.clock import Clock
from shared.market.calendar import calendar
from tests.store.coordinator.conftest import AS_OF, PREFIX, Api

SESSIONS = 100
CSV = "symbol,quantity,entry_date,entry_price\nAAPL,1,2020-03-12,60\n"
# What is said of a row, and what later sessions and ranges are made of.
STAYS = {
    "portfolio_id", "session", "revision", "model_version", "quality", "coverage", "reasons", "risk", "scenario_set", "computed_at",
    "provisional", "forecasts", "realized_return", "proxies", "exposures", "exposure_errors", "exposure_limited", "exposure_reasons",
    "thinned_revision",
}  # fmt: skip


async def made(api: Api, name: str = "Test") -> str:
    """A portfolio that is complete since March, with whole risk on every session, computed long ago."""
    identity = str((await api.create(CSV, name=name))["id"])
    await api.complete(identity)
    columns = await api.rows(
        """SELECT column_name, data_type, udt_name FROM information_schema.columns
           WHERE table_schema = 'risk' AND table_name = 'results' ORDER BY ordinal_position"""
    )
    fixed = {
        "portfolio_id": "u.portfolio_id", "session": "u.session", "revision": "u.completed_revision", "quality": "'complete'",
        "coverage": "1", "reasons": "'[]'", "risk": """'{"volatility": {"realized_252": 0.2}}'""", "provisional": "false",
        "computed_at": "now() - interval '8 days'", "thinned_revision": "NULL", "scenario_set": "NULL", "shocks_id": "gen_random_uuid()",
        "duration_as_of": "'2020-01-02'",
    }  # fmt: skip
    of_type = {
        "_float8": "ARRAY[0.5]", "_text": "ARRAY['x']", "_bool": "ARRAY[true]", "_int2": "ARRAY[1]", "float8": "0.5", "text": "'x'",
    }  # fmt: skip
    values = [fixed.get(row.column_name) or of_type[row.udt_name] for row in columns]
    listed = ", ".join(row.column_name for row in columns)
    await api.run(
        f"""INSERT INTO risk.results ({listed}) SELECT {", ".join(values)} FROM ledger.units u
            WHERE u.portfolio_id = :id AND u.phase = 'risk'""",
        id=UUID(identity),
    )
    return identity


async def thinned(api: Api, portfolio: str | None = None) -> list[date]:
    rows = await api.rows(
        """SELECT session FROM risk.results WHERE thinned_revision = revision AND (CAST(:id AS uuid) IS NULL OR portfolio_id = :id)
           ORDER BY session""",
        id=None if portfolio is None else UUID(portfolio),
    )
    return [session for (session,) in rows]


def due(sessions: Sequence[date], newest: int = SESSIONS) -> list[date]:
    """Those that are neither the first nor a month's last nor among the newest."""
    before = calendar().back(AS_OF, newest)
    ends = {session for session, later in pairwise(sessions) if session.month != later.month}
    return [session for session in sessions[1:] if session < before and session not in ends]


async def sessions_of(api: Api, portfolio: str) -> list[date]:
    rows = await api.rows(
        "SELECT session FROM risk.results WHERE portfolio_id = :id ORDER BY session", id=UUID(portfolio)
    )
    return [session for (session,) in rows]


async def test_nothing_is_thinned_by_default(api: Api, loops: AsyncEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Keep.of(CoordinatorSettings(database_url="postgresql://unused")) == Keep()
    await made(api)
    assert await forget(loops, Keep()) == {}
    monkeypatch.setattr(retention, "FIRST_SECONDS", 0.0)
    for keep, expected in ((Keep(), False), (Keep(risk_sessions=SESSIONS), True)):
        loop = asyncio.create_task(Retention(loops, Clock(AS_OF), keep).run())
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(loop), 1.0)
        loop.cancel()
        assert bool(await thinned(api)) is expected


async def test_first_and_last_sessions_month_ends_and_the_newest_stay(api: Api, loops: AsyncEngine) -> None:
    identity = await made(api)
    sessions = await sessions_of(api, identity)
    expected = due(sessions)
    assert len(sessions) - SESSIONS > len(expected) > 90
    assert date(2020, 3, 31) not in expected
    assert await thin_results(loops, Clock(AS_OF), SESSIONS) == len(expected)
    assert await thinned(api) == expected
    assert await sessions_of(api, identity) == sessions, "no row goes"
    assert await thin_results(loops, Clock(AS_OF), SESSIONS) == 0
    # What another day makes old, and the end of a month that had not ended.
    assert await thin_results(loops, Clock(AS_OF), SESSIONS - 30) == len(due(sessions, SESSIONS - 30)) - len(expected)
    assert await thinned(api) == due(sessions, SESSIONS - 30)


async def test_the_last_session_of_a_portfolio_that_ended_stays(api: Api, loops: AsyncEngine) -> None:
    identity = await made(api)
    await api.run("DELETE FROM risk.results WHERE session > '2020-05-14'")
    assert await thin_results(loops, Clock(AS_OF), SESSIONS) > 0
    assert (await thinned(api, identity))[-1] == date(2020, 5, 13)


async def test_some_at_a_time_of_every_portfolio(api: Api, loops: AsyncEngine) -> None:
    several = [await made(api, f"Test {number}") for number in range(3)]
    expected = due(await sessions_of(api, several[0]))
    async with loops.begin() as conn:
        first = await conn.scalar(
            text("SELECT ledger.thin_results(CAST(:ids AS uuid[]), '2020-08-03', 7)"),
            {"ids": [UUID(of) for of in several]},
        )
    assert first == len(await thinned(api)) == 7, "as many as a transaction may have"
    assert await thin_results(loops, Clock(AS_OF), SESSIONS, size=7) == 3 * len(expected) - 7
    for identity in several:
        assert await thinned(api, identity) == expected


async def test_what_stays_of_a_row(api: Api, loops: AsyncEngine) -> None:
    """A new column is thinned out, or named here with who needs it of an old session."""
    identity = await made(api)
    kept = ", ".join(sorted(STAYS - {"risk", "thinned_revision"}))
    before = await api.rows(f"SELECT {kept} FROM risk.results ORDER BY session")
    await thin_results(loops, Clock(AS_OF), SESSIONS)
    assert await api.rows(f"SELECT {kept} FROM risk.results ORDER BY session") == before
    [(row,)] = await api.rows(
        "SELECT jsonb_strip_nulls(to_jsonb(r)) FROM risk.results r WHERE thinned_revision = revision ORDER BY session LIMIT 1"
    )
    assert set(row) - {"scenario_set"} == STAYS - {"scenario_set"}
    assert row["risk"] == {}
    assert await api.missing(identity) == set()
    report = (await api.client.get(f"{PREFIX}/admin/audit", params={"portfolio_id": identity})).json()
    assert [item["kind"] for item in report["drift"] if item["phase"] == "risk" and item["kind"] == "no_result"] == []


async def test_what_may_still_change_or_was_just_computed_is_left_alone(api: Api, loops: AsyncEngine) -> None:
    identity = await made(api)
    expected = due(await sessions_of(api, identity))
    provisional, behind, empty, young, other, old = expected[:6]
    await api.run("UPDATE risk.results SET provisional = true WHERE session = :day", day=provisional)
    await api.run(
        "UPDATE ledger.units SET required_revision = required_revision + 1 WHERE phase = 'risk' AND session = :day",
        day=behind,
    )
    await api.run("UPDATE risk.results SET symbols = '{}' WHERE session = :day", day=empty)
    await api.run(
        "UPDATE risk.results SET computed_at = now() - interval '6 days 23 hours' WHERE session = :day", day=young
    )
    await api.run("UPDATE risk.results SET revision = revision - 1 WHERE session = :day", day=other)
    await api.run("UPDATE risk.results SET exposures = NULL WHERE session = :day", day=old)
    assert await thin_results(loops, Clock(AS_OF), SESSIONS) == len(expected) - 6
    assert await thinned(api) == expected[6:]


async def test_a_row_that_is_being_written_is_not_waited_for(api: Api, loops: AsyncEngine) -> None:
    identity = await made(api)
    expected = due(await sessions_of(api, identity))
    async with api.admin.begin() as conn:
        await conn.execute(text("SELECT FROM risk.results WHERE session = :day FOR UPDATE"), {"day": expected[3]})
        thinning = thin_results(loops, Clock(AS_OF), SESSIONS)
        assert await asyncio.wait_for(thinning, 10.0) == len(expected) - 1
    assert await thin_results(loops, Clock(AS_OF), SESSIONS) == 1


async def test_what_replaces_a_thinned_row_is_whole_and_leaves_no_trace_of_it(api: Api, loops: AsyncEngine) -> None:
    identity = await made(api)
    await thin_results(loops, Clock(AS_OF), SESSIONS)
    first, second, *_ = await thinned(api)
    count = "SELECT count(*) FROM risk.results_history WHERE portfolio_id = :id"
    [(before,)] = await api.rows(count, id=UUID(identity))
    # As a process of before this setting writes, which knows nothing of it.
    replace = (
        "UPDATE risk.results SET revision = revision + 1, symbols = '{AAPL}', computed_at = now() WHERE session = :day"
    )
    await api.run(replace, day=first)
    assert first not in await thinned(api)
    await api.run("DELETE FROM risk.results WHERE session = :day", day=second)
    assert await api.rows(count, id=UUID(identity)) == [(before,)], "nothing was said there that could be read again"
    await api.run(replace, day=first)
    assert await api.rows(count, id=UUID(identity)) == [(before + 1,)]


async def test_the_database_refuses_to_thin_what_is_young(api: Api, loops: AsyncEngine) -> None:
    with pytest.raises(DBAPIError, match="sixty days at least"):
        async with loops.begin() as conn:
            await conn.execute(text("SELECT ledger.thin_results('{}', CURRENT_DATE - 59, 10)"))
    for statement in ("UPDATE risk.results SET risk = '{}'", "DELETE FROM risk.results"):
        with pytest.raises(DBAPIError, match="permission denied"):
            async with loops.begin() as conn:
                await conn.execute(text(statement))
