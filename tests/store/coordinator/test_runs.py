"""Runs: what is found or raised, who may join whom, and a status that is derived."""

from __future__ import annotations

from datetime import date
from typing import Any
from uuid import UUID, uuid4

import pytest

from shared.market.calendar import calendar
from tests.store.coordinator.conftest import AS_OF, PREFIX, Api

RUN = f"{PREFIX}/admin/batch/run"


async def run_of(api: Api, answer: Any) -> dict[str, Any]:
    assert answer.status_code == 202, answer.text
    return dict((await api.client.get(f"{PREFIX}/admin/runs/{answer.json()['run_id']}")).json())


async def test_missing_finds_holes_as_runs_of_consecutive_sessions(api: Api) -> None:
    identity = (await api.create())["id"]
    await api.complete(identity)
    await api.run(
        """
        UPDATE ledger.units SET completed_revision = 0
        WHERE phase = 'risk' AND session IN ('2020-12-22', '2020-12-23', '2020-12-29')
        """
    )
    run = await run_of(api, await api.client.post(RUN, params={"portfolio_id": identity}))
    assert (run["source"], run["scope"]["what"], run["units"], run["state"]) == ("admin", "missing", 3, "running")
    spans = await api.rows(
        "SELECT first, last, units FROM coordinator.run_units WHERE run_id = :id ORDER BY 1", id=UUID(run["id"])
    )
    assert [tuple(span) for span in spans] == [
        (date(2020, 12, 22), date(2020, 12, 23), 2),
        (date(2020, 12, 29), date(2020, 12, 29), 1),
    ]
    events = await api.rows("SELECT payload FROM bus.outbox WHERE type = 'leadline.PhaseRequested.v1' ORDER BY id")
    assert len(events) == 2
    assert all('"phase":"risk"' in event.payload for event in events)


async def test_an_unfinished_run_is_joined_and_a_finished_one_is_not(api: Api) -> None:
    identity = (await api.create())["id"]
    first = await run_of(api, await api.client.post(RUN, params={"portfolio_id": identity}))
    second = await run_of(api, await api.client.post(RUN, params={"portfolio_id": identity}))
    other_source = await run_of(api, await api.client.post(RUN, params={"portfolio_id": identity, "source": "cli"}))
    settings = await run_of(api, await api.client.post(f"{PREFIX}/portfolios/{identity}/calculate"))
    assert first["id"] == second["id"]
    assert len({first["id"], other_source["id"], settings["id"]}) == 3
    assert (other_source["source"], settings["source"]) == ("cli", "settings")
    await api.complete(identity)
    third = await run_of(api, await api.client.post(RUN, params={"portfolio_id": identity}))
    assert third["id"] != first["id"]
    assert (third["units"], third["state"]) == (0, "complete")


async def test_a_forced_run_raises_only_its_scope_and_what_follows(api: Api) -> None:
    one, other = (await api.create())["id"], (await api.create())["id"]
    await api.complete(one)
    await api.complete(other)
    parameters = {"portfolio_id": one, "start_date": "2020-12-23", "end_date": "2020-12-23", "force_rerun": "true"}
    run = await run_of(api, await api.client.post(RUN, params=parameters))
    assert await api.missing(other) == set()
    later = calendar().between(date(2020, 12, 23), AS_OF)
    assert await api.missing(one) == (
        {("ingest", later[0]), ("factors", later[0])}
        | {(phase, day) for phase in ("snapshots", "risk") for day in later}
    )
    assert (run["units"], run["scope"]["what"]) == (2 + 2 * len(later), "all")
    await api.client.delete(f"{PREFIX}/portfolios/{one}")
    gone = (await api.client.get(f"{PREFIX}/admin/runs/{run['id']}")).json()
    assert (gone["state"], gone["done"]) == ("complete", gone["units"])


async def test_failed_runs_what_is_blocked_again(api: Api) -> None:
    identity = (await api.create())["id"]
    await api.complete(identity, phase="ingest")
    await api.run("UPDATE ledger.units SET blocked_reason = 'boom' WHERE phase = 'factors'")
    before = await run_of(api, await api.client.post(RUN, params={"portfolio_id": identity}))
    assert "factors" not in before["phases"]
    run = await run_of(api, await api.client.post(RUN, params={"portfolio_id": identity, "what": "failed"}))
    assert set(run["phases"]) == {"factors"}
    assert run["state"] == "running"
    assert await api.rows("SELECT 1 FROM ledger.units WHERE blocked_reason IS NOT NULL") == []


async def test_a_run_whose_open_units_are_all_blocked_is_blocked(api: Api) -> None:
    answer = await api.create()
    await api.complete(answer["id"], phase="ingest")
    await api.run("UPDATE ledger.units SET blocked_reason = 'boom' WHERE completed_revision < required_revision")
    run = (await api.client.get(f"{PREFIX}/admin/runs/{answer['run_id']}")).json()
    assert (run["state"], run["done"], run["blocked"]) == ("blocked", 7, 21)
    status = (await api.client.get(f"{PREFIX}/portfolios/{answer['id']}/status")).json()
    assert status["state"] == "blocked"
    assert {(hole["state"], hole["reason"]) for hole in status["holes"]} == {("blocked", "boom")}


async def test_a_run_is_blocked_when_all_else_waits_for_what_is_blocked(api: Api) -> None:
    """One snapshot is blocked: those after it, and the risk of all of them, cannot come. Before that, the run still moves."""
    answer = await api.create()
    for phase in ("ingest", "factors"):
        await api.complete(answer["id"], phase=phase)
    await api.run(
        "UPDATE ledger.units SET blocked_reason = 'boom' WHERE phase = 'snapshots' AND session ="
        " (SELECT session FROM ledger.units WHERE phase = 'snapshots' ORDER BY session OFFSET 2 LIMIT 1)"
    )
    path = f"{PREFIX}/admin/runs/{answer['run_id']}"
    run = (await api.client.get(path)).json()
    assert (run["state"], run["done"], run["blocked"]) == ("running", 14, 10), (
        "two snapshots, and their risk, can be done"
    )
    await api.run(
        "UPDATE ledger.units SET completed_revision = required_revision WHERE phase IN ('snapshots', 'risk') AND session <"
        " (SELECT session FROM ledger.units WHERE blocked_reason IS NOT NULL)"
    )
    run = (await api.client.get(path)).json()
    assert (run["state"], run["done"], run["blocked"]) == ("blocked", 18, 10)
    await api.run("UPDATE ledger.units SET blocked_reason = NULL")
    assert (await api.client.get(path)).json()["state"] == "running"


@pytest.mark.parametrize(
    "parameters",
    [
        {"start_date": "2020-12-30", "end_date": "2020-12-21"},
        {"force_rerun": "true"},
        {"force_rerun": "true", "start_date": "2020-12-21", "what": "missing"},
        {"force_rerun": "false", "what": "all", "start_date": "2020-12-21"},
        {"start_date": "2021-06-01"},
    ],
)
async def test_contradictory_arguments_are_refused(api: Api, parameters: dict[str, str]) -> None:
    identity = (await api.create())["id"]
    runs = await api.rows("SELECT 1 FROM coordinator.runs")
    answer = await api.client.post(RUN, params={"portfolio_id": identity} | parameters)
    assert (answer.status_code, answer.json()["code"]) == (400, "contradictory_arguments")
    assert await api.rows("SELECT 1 FROM coordinator.runs") == runs


async def test_unknown_portfolios_are_listed_and_never_mean_all(api: Api) -> None:
    identity = (await api.create())["id"]
    unknown = str(uuid4())
    refused = await api.client.post(RUN, params={"portfolio_id": [unknown, "x", ""]})
    assert refused.status_code == 422
    assert [error["value"] for error in refused.json()["errors"]] == ["x", "", unknown]
    assert len(await api.rows("SELECT 1 FROM coordinator.runs")) == 1
    mixed = await api.client.post(RUN, params={"portfolio_id": [identity, "x"]})
    assert [error["value"] for error in mixed.json()["rejected"]] == ["x"]
    run = await run_of(api, mixed)
    assert run["scope"]["portfolio_ids"] == [identity]


async def test_without_a_portfolio_a_run_is_about_all(api: Api) -> None:
    one, other = (await api.create())["id"], (await api.create())["id"]
    run = await run_of(api, await api.client.post(RUN))
    assert run["scope"]["portfolio_ids"] is None
    spans = await api.rows(
        "SELECT DISTINCT portfolio_id FROM coordinator.run_units WHERE run_id = :id", id=UUID(run["id"])
    )
    assert {str(span[0]) for span in spans} == {one, other}
    # Both have the same range: one event per phase is enough for them.
    assert len(await api.rows("SELECT 1 FROM bus.outbox WHERE type = 'leadline.PhaseRequested.v1'")) == 4


async def test_runs_are_listed_newest_first_in_pages(api: Api) -> None:
    ids = [(await api.create())["run_id"] for _ in range(3)]
    page = (await api.client.get(f"{PREFIX}/admin/runs", params={"limit": 2})).json()
    assert [item["id"] for item in page["items"]] == [ids[2], ids[1]]
    rest = (await api.client.get(f"{PREFIX}/admin/runs", params={"limit": 2, "cursor": page["next"]})).json()
    assert ([item["id"] for item in rest["items"]], rest["next"]) == ([ids[0]], None)
    assert (await api.client.get(f"{PREFIX}/admin/runs", params={"source": "cron"})).json()["items"] == []
    assert (await api.client.get(f"{PREFIX}/admin/runs/{uuid4()}")).status_code == 404
