"""Who may call, what is refused and how, and what operators can do."""

from __future__ import annotations

from uuid import uuid4

import httpx2
import pytest

from tests.store.coordinator.conftest import AS_OF, PREFIX, Api, make_app


async def test_a_token_is_wanted_where_one_is_set(api: Api) -> None:
    app = make_app(api.context.engine, [], as_of=AS_OF, token="s3cret-of-the-server")
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://test") as client:
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic s3cret-of-the-server"}):
            answer = await client.get(f"{PREFIX}/portfolios", headers=headers)
            assert (answer.status_code, answer.json()["code"]) == (401, "unauthorised")
            assert answer.headers["www-authenticate"] == "Bearer"
        good = await client.get(f"{PREFIX}/portfolios", headers={"Authorization": "Bearer s3cret-of-the-server"})
        assert good.status_code == 200


async def test_what_cannot_be_read_is_a_problem_document(api: Api) -> None:
    portfolio = (await api.create())["id"]
    for method, path, arguments, status in (
        ("GET", f"{PREFIX}/portfolios/not-a-uuid", {}, 422),
        ("GET", f"{PREFIX}/portfolios/{portfolio}/risk?session=soon", {}, 422),
        ("POST", f"{PREFIX}/portfolios", {"json": {"name": "x", "equity": 3}}, 422),
        ("POST", f"{PREFIX}/portfolios", {"content": b"{not json"}, 422),
        ("POST", f"{PREFIX}/portfolios/import", {"data": {"name": "x"}}, 422),
        ("GET", f"{PREFIX}/nothing", {}, 404),
        ("POST", f"{PREFIX}/admin/batch/run?what=H2³", {}, 422),
        ("PUT", f"{PREFIX}/portfolios", {}, 405),
        ("POST", f"{PREFIX}/portfolios", {"content": b'{"name": "a\\u0000b", "equity_balance": 3}'}, 422),
        ("POST", f"{PREFIX}/portfolios", {"content": b'{"name": "\\ud800", "equity_balance": 3}'}, 422),
        ("POST", f"{PREFIX}/portfolios", {"content": b'{"name": "a", "equity_balance": "\\ud800"}'}, 422),
        ("POST", f"{PREFIX}/portfolios", {"content": b'{"\\ud800": 3}'}, 422),
        ("PATCH", f"{PREFIX}/admin/dead-letters/1", {"content": b'{"headers": {"a": "\\ud800"}}'}, 422),
        ("POST", f"{PREFIX}/portfolios", {"content": b'{"name": "a", "equity_balance": NaN}'}, 422),
        ("POST", f"{PREFIX}/portfolios", {"content": b'{"name": "a", "equity_balance": true}'}, 422),
        ("POST", f"{PREFIX}/portfolios", {"content": b'{"name": "a", "equity_balance": ' + b"9" * 4000 + b"}"}, 422),
        ("POST", f"{PREFIX}/portfolios", {"content": b"[" * 500 + b"]" * 500}, 422),
        ("POST", f"{PREFIX}/portfolios", {"content": b"[" * 100_000 + b"]" * 100_000}, 400),
        ("POST", f"{PREFIX}/portfolios", {"content": b'{"positions": ' + b"[" * 100_000}, 400),
        ("POST", f"{PREFIX}/portfolios", {"content": b'{"name": ' + b'{"a":' * 900 + b"1" + b"}" * 901}, 422),
        ("GET", f"{PREFIX}/symbols/%00/prices", {}, 404),
        ("GET", f"{PREFIX}/symbols/AAPL%0A/prices", {}, 404),
        ("GET", f"{PREFIX}/admin/dead-letters/99999999999999999999", {}, 422),
        ("GET", f"{PREFIX}/portfolios/{uuid4()}/snapshots?from=0001-01-01&to=9999-12-31", {}, 404),
        ("POST", f"{PREFIX}/portfolios", {"content": b"x" * (25 * 1024 * 1024)}, 413),
    ):
        # Without its type a body is not read as JSON, and its faults would not be met.
        headers = {"content-type": "application/json"} if "content" in arguments else {}
        answer = await api.client.request(method, path, headers=headers, **arguments)
        assert answer.status_code == status, (path, answer.text)
        assert answer.headers["content-type"] == "application/problem+json"
        body = answer.json()
        assert {"type", "title", "status", "detail"} <= set(body)
        assert ("errors" in body) == (status == 422)


async def test_dead_letters_are_shown_replayed_once_and_purged(api: Api) -> None:
    for offset in (1, 2):
        await api.run(
            """
            INSERT INTO bus.dead_letters (consumer, topic, partition, "offset", headers, body, body_hash, reason, error)
            VALUES ('risk', 'leadline.date-due', 0, :offset, '{"ce_type": "leadline.DateDue.v1"}', '{"a": 1', 'h', 'malformed', 'no')
            """,
            offset=offset,
        )
    items = (await api.client.get(f"{PREFIX}/admin/dead-letters")).json()["items"]
    assert [item["offset"] for item in items] == [2, 1]
    assert (items[0]["body"], items[0]["headers"]) == ('{"a": 1', {"ce_type": "leadline.DateDue.v1"})
    replay = f"{PREFIX}/admin/dead-letters/{items[0]['id']}/replay"
    assert (await api.client.post(replay)).status_code == 202
    assert (await api.client.post(replay)).json()["sent"] is False
    assert (await api.client.post(f"{PREFIX}/admin/dead-letters/{items[1]['id']}/purge")).status_code == 200
    assert (await api.client.post(f"{PREFIX}/admin/dead-letters/999999/replay")).status_code == 404
    assert (await api.client.get(f"{PREFIX}/admin/dead-letters")).json()["items"] == []
    assert [row.topic for row in await api.rows("SELECT topic FROM bus.outbox")] == ["leadline.date-due"]


async def test_reconcile_wakes_the_reconciler(api: Api) -> None:
    assert (await api.client.post(f"{PREFIX}/admin/reconcile")).status_code == 202
    assert api.woken == ["reconciler"]


@pytest.mark.parametrize(
    ("path", "close"),
    [
        ("/admin/batch/run?portfolio_ids={id}", "portfolio_id"),
        ("/admin/batch/run?portfolio_id={id}&star_date=2020-12-29", "start_date"),
        ("/portfolios/{id}/calculate?phase=risk", "none here"),
        ("/admin/dead-letters/purge?reasn=malformed&dry_run=false", "reason"),
        ("/portfolios/{id}/price-basis?bases=as_traded", "basis"),
    ],
)
async def test_a_mistyped_query_parameter_never_widens_the_scope(api: Api, path: str, close: str) -> None:
    identity = str((await api.create())["id"])
    before = await api.rows("SELECT count(*) FROM coordinator.runs")
    answer = await api.client.post(PREFIX + path.format(id=identity))
    assert (answer.status_code, answer.json()["code"]) == (422, "unknown_parameter")
    assert close in answer.json()["errors"][0]["message"]
    assert answer.json()["errors"][0]["column"] in path
    assert await api.rows("SELECT count(*) FROM coordinator.runs") == before


async def test_every_read_refuses_a_parameter_it_does_not_know(api: Api) -> None:
    identity = str((await api.create())["id"])
    for path in (f"/portfolios/{identity}/snapshots", f"/portfolios/{identity}/risk", "/portfolios", "/admin/runs"):
        answer = await api.client.get(f"{PREFIX}{path}?sesion=2020-12-30")
        assert (answer.status_code, answer.json()["errors"][0]["column"]) == (422, "sesion"), path
    known = await api.client.get(f"{PREFIX}/portfolios/{identity}/snapshots?from=2020-12-29&to=2020-12-30")
    assert known.status_code == 200
    twice = await api.client.get(f"{PREFIX}/portfolios/{identity}/snapshots?from=2020-12-29&from=2020-12-30")
    assert (twice.status_code, twice.json()["code"]) == (422, "repeated_parameter")
    many = await api.client.get(f"{PREFIX}/completeness?portfolio_id={identity}&portfolio_id={identity}")
    assert many.status_code == 200


async def test_a_body_that_nobody_reads_is_refused(api: Api) -> None:
    identity = str((await api.create())["id"])
    before = await api.rows("SELECT count(*) FROM coordinator.runs")
    for path in (f"/portfolios/{identity}/calculate", "/admin/batch/run"):
        answer = await api.client.post(PREFIX + path, json={"what": "all", "portfolio_id": identity})
        assert (answer.status_code, answer.json()["code"]) == (422, "unexpected_body"), path
    assert await api.rows("SELECT count(*) FROM coordinator.runs") == before
    assert (await api.client.post(f"{PREFIX}/portfolios/{identity}/calculate", json={})).status_code == 202


async def test_every_bad_field_is_named_at_once_whoever_finds_it(api: Api) -> None:
    lot = {"symbol": "AAPL", "quantity": 5, "entry_date": "2020-12-21", "entry_price": 128.23}
    body = {
        "name": "",
        "equity_balance": True,
        "colour": "red",
        "positions": [
            lot,
            lot | {"quantity": [1], "entry_price": -1, "strike": 5},
            lot | {"symbol": 7, "entry_date": "soon"},
            "AAPL",
        ],
        "flows": [{"date": 5, "amount": 0}],
    }
    answer = await api.client.post(f"{PREFIX}/portfolios", json=body)
    assert answer.status_code == 422
    found = {(error["row"], error["column"], error["code"]) for error in answer.json()["errors"]}
    assert found == {
        (None, "name", "ERR_PORT_002"),
        (None, "equity_balance", "number_type"),
        (None, "colour", "extra_forbidden"),
        (2, "quantity", "number_type"),
        (2, "entry_price", "ERR_POS_010"),
        (2, "strike", "extra_forbidden"),
        (3, "symbol", "string_type"),
        (3, "entry_date", "ERR_POS_013"),
        (4, "positions", "model_attributes_type"),
        (1, "date", "string_type"),
        (1, "amount", "ERR_FLOW_004"),
    }
    assert len(answer.json()["errors"]) == len(found)
    assert "11 fields" in answer.json()["detail"]


async def test_a_single_lot_and_flow_are_told_all_at_once_too(api: Api) -> None:
    url = f"{PREFIX}/portfolios/{(await api.create())['id']}"
    lot = await api.client.post(f"{url}/positions", json={"symbol": "-", "quantity": {}, "note": ""})
    assert {(error["column"], error["code"]) for error in lot.json()["errors"]} == {
        ("symbol", "ERR_POS_003"), ("quantity", "number_type"), ("note", "extra_forbidden"),
        ("entry_date", "ERR_POS_012"), ("entry_price", "ERR_POS_008"),
    }  # fmt: skip
    assert "ow 1" not in lot.text
    flow = await api.client.post(f"{url}/flows", json={"date": "2020-12-28", "amount": "0", "currency": "USD"})
    assert {error["column"] for error in flow.json()["errors"]} == {"amount", "currency"}
