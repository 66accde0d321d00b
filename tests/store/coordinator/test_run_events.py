"""What happened in a run is readable; and who asks again wakes the work, even if the run is joined."""

from __future__ import annotations

import html
import re
from datetime import date, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest

from services.coordinator.web.routes import operations
from shared import ledger
from shared.work import Phase
from tests.store.coordinator.conftest import PREFIX, Api

FIRST, SECOND = date(2020, 12, 21), date(2020, 12, 22)


async def events(api: Api, run: str, **parameters: Any) -> dict[str, Any]:
    answer = await api.client.get(f"{PREFIX}/admin/runs/{run}/events", params=parameters)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def fail(api: Api, identity: str, phase: Phase, error: str, times: int = 1) -> None:
    for _ in range(times):
        async with api.admin.begin() as conn:
            await ledger.record_failure(conn, phase, UUID(identity), {(FIRST, SECOND): error})


async def test_a_run_tells_what_was_completed_what_failed_and_what_waits(api: Api) -> None:
    created = await api.create()
    await api.complete(created["id"], phase="ingest")
    await fail(api, created["id"], Phase.SNAPSHOTS, "ValueError: boom\nand more of it")
    await api.run("UPDATE ledger.schedule SET last_error = 'waiting for a provider' WHERE phase = 'factors'")
    answer = await events(api, created["run_id"])
    told = [(e["event"], e["phase"], e["from"], e["to"], e["units"], e["message"]) for e in answer["events"]]
    assert told[0] == ("requested", None, "2020-12-21", "2020-12-30", 28, None)
    assert ("completed", "ingest", "2020-12-21", "2020-12-30", 7, None) in told
    assert ("failed", "snapshots", "2020-12-21", "2020-12-22", 2, "ValueError: boom") in told
    assert ("waiting", "factors", "2020-12-21", "2020-12-30", 7, "waiting for a provider") in told
    assert answer["events_total"] == len(told)
    instants = [e["at"] for e in answer["events"] if e["at"]]
    assert instants == sorted(instants), "in the order they happened"
    assert all(e["at"] is None for e in answer["events"] if e["event"] == "waiting")
    assert len((await events(api, created["run_id"], limit=2))["events"]) == 2


async def test_the_run_after_which_units_are_blocked_says_so(api: Api) -> None:
    created = await api.create()
    await fail(api, created["id"], Phase.RISK, "ValueError: boom", times=ledger.MAX_RUNS)
    told = [e["event"] for e in (await events(api, created["run_id"]))["events"] if e["phase"] == "risk"]
    assert told.count("failed") == ledger.MAX_RUNS - 1
    assert told.count("blocked") == 1


async def test_failures_of_before_the_run_and_of_others_are_not_its_own(api: Api) -> None:
    created, other = await api.create(), await api.create()
    await fail(api, other["id"], Phase.RISK, "ValueError: of another portfolio")
    await fail(api, created["id"], Phase.RISK, "ValueError: of long ago")
    await api.run(
        "UPDATE ledger.failures SET at = now() - interval '1 day' WHERE portfolio_id = :id", id=UUID(created["id"])
    )
    assert "failed" not in [e["event"] for e in (await events(api, created["run_id"]))["events"]]


async def test_failures_are_kept_for_thirty_days(api: Api) -> None:
    created = await api.create()
    await fail(api, created["id"], Phase.RISK, "old")
    await api.run("UPDATE ledger.failures SET at = now() - interval '31 days'")
    await fail(api, created["id"], Phase.RISK, "new")
    assert [row.error for row in await api.rows("SELECT error FROM ledger.failures")] == ["new"]


async def test_a_run_that_is_not_there(api: Api) -> None:
    answer = await api.client.get(f"{PREFIX}/admin/runs/{uuid4()}/events")
    assert answer.status_code == 404


async def test_the_page_of_a_run_shows_its_events(api: Api) -> None:
    created = await api.create()
    await api.complete(created["id"], phase="ingest")
    await fail(api, created["id"], Phase.SNAPSHOTS, "ValueError: <b>boom</b>\nand more of it")
    told = (await events(api, created["run_id"]))["events"]
    page = (await api.client.get(f"/ops/runs/{created['run_id']}")).text
    table = page.partition('<table id="events">')[2].partition("</table>")[0]
    rows = [re.findall(r"<t[hd].*?</t[hd]>", row) for row in re.findall(r"<tr>(.*?)</tr>", table, re.DOTALL)[1:]]
    shown = [[html.unescape(re.sub(r"<[^>]+>", "", cell)) for cell in row] for row in rows]
    words = {"requested": "asked for", "completed": "completed", "failed": "failed", "waiting": "waiting"}
    phases = {"ingest": "Prices", "factors": "Factors", "snapshots": "Values", "risk": "Risk", None: "–"}
    assert [(row[1], row[2], row[5], row[6]) for row in shown] == [
        (words[event["event"]], phases[event["phase"]], str(event["units"]), event["message"] or "") for event in told
    ]
    assert {row[4] for row in shown} == {"2020-12-21 – 2020-12-30", "2020-12-21 – 2020-12-22"}
    [name] = [row.name for row in await api.rows("SELECT name FROM coordinator.portfolios")]
    assert {row[3] for row in shown if row[1] == "failed"} == {name}
    assert shown[0][0].startswith(datetime.fromisoformat(told[0]["at"]).strftime("%-d %b %Y, %H:%M:%S"))
    assert {row[0] for row in shown if row[1] == "waiting"} == {"now"}


async def test_of_many_events_the_page_says_that_it_shows_the_newest(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    created = await api.create()
    monkeypatch.setattr(operations, "EVENTS", 2)
    total = (await events(api, created["run_id"]))["events_total"]
    page = (await api.client.get(f"/ops/runs/{created['run_id']}")).text
    assert f"The newest 2 of {total}." in page
    assert (await api.client.get(f"/ops/runs/{uuid4()}")).status_code == 404


@pytest.mark.parametrize("what", ["calculate", "rerun"])
async def test_who_joins_a_run_wakes_its_work(api: Api, what: str) -> None:
    identity = str((await api.create())["id"])

    async def ask() -> str:
        if what == "calculate":
            answer = await api.client.post(f"{PREFIX}/portfolios/{identity}/calculate")
        else:
            answer = await api.client.post(f"{PREFIX}/admin/batch/run", params={"portfolio_id": identity})
        assert answer.status_code == 202
        return str(answer.json()["run_id"])

    first = await ask()
    await api.complete(identity, phase="ingest")
    await api.run("DELETE FROM bus.outbox")
    await api.run("UPDATE ledger.schedule SET next_at = now() + interval '15 minutes', emits = 9, runs = 3")
    assert await ask() == first
    asked = await api.rows("SELECT payload FROM bus.outbox WHERE type = 'leadline.PhaseRequested.v1'")
    assert len(asked) == 3
    assert not any('"phase":"ingest"' in event.payload for event in asked), "that is done"
    rows = await api.rows(
        "SELECT CAST(phase AS text) AS phase, next_at <= now() AS soon, emits, runs FROM ledger.schedule ORDER BY phase"
    )
    assert {row.phase: (row.soon, row.emits, row.runs) for row in rows} == {
        "ingest": (False, 9, 3),
        **dict.fromkeys(("factors", "snapshots", "risk"), (True, 0, 3)),
    }
