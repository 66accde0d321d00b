"""Two tenants on one installation: neither sees, guesses, counts or touches what is the other's. Every operation that is served is
tried, and each wall alone: the statements' own conditions as the coordinator's role, which no row policy confines, and the policies
as the API's role."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from tests.store.coordinator.conftest import PREFIX
from tests.store.coordinator.two_tenants import SECRET, World, concrete, page_routes_of, two_tenants, upload

# Facts of the market, of everybody and of nobody.
SHARED = tuple(
    f"{PREFIX}/{of}" for of in ("symbols", "funds", "calendar", "benchmarks", "providers", "imports/presets")
)
BODIES: dict[str, Any] = {
    "/admin/users/{user_id}": {"role": "reader"},
    "/admin/tenants/{tenant_id}": {"closed": True},
    "/imports/mappings/{name}": {"dialect": "us"},
    "/portfolios/{portfolio_id}/positions/{position_id}": {"quantity": 5},
}
# By address one cannot tell whose a name is: saved under a name that another tenant has, it is the saver's own.
OWN_NAMES = {("PUT", f"{PREFIX}/imports/mappings/{{name}}")}


@pytest.fixture(scope="module", params=["policies and statements", "statements alone"])
async def world(
    request: pytest.FixtureRequest, engines: tuple[AsyncEngine, AsyncEngine], loops: AsyncEngine
) -> AsyncIterator[World]:
    engine = engines[0] if request.param.startswith("policies") else loops
    async with two_tenants(engine, engines, loops) as made:
        yield made


async def test_nothing_of_another_tenant_is_found_by_any_operation_that_names_it(world: World) -> None:
    tried = 0
    for method, path in world.operations:
        if "{" not in path or path.startswith(SHARED) or (method, path) in OWN_NAMES:
            continue
        body = BODIES.get(path.removeprefix(PREFIX)) if method in ("PUT", "PATCH", "POST") else None
        answer = await world.call(method, concrete(path, world.theirs), world.a, json=body)
        said = (method, path, answer.text[:300])
        assert answer.status_code in (403, 404), said
        assert answer.status_code == 404 or answer.json()["code"] == "installation_only", said
        # And what nobody has is refused alike: an answer that differs would tell what is there.
        nothing = {key: str(uuid4()) for key in world.theirs}
        other = await world.call(method, concrete(path, nothing), world.a, json=body)
        assert (other.status_code, other.json()["code"]) == (answer.status_code, answer.json()["code"]), said
        tried += 1
    assert tried > 45
    # It is all still there.
    found = await world.call("GET", f"portfolios/{world.theirs['portfolio_id']}/status", world.b)
    assert (found.status_code, found.json()["expected"] > 0) == (200, True)
    assert len((await world.call("GET", "limits", world.b)).json()["items"]) == 1


async def test_no_list_holds_anything_of_another_tenant(world: World) -> None:
    """Nor a count: what A is answered is what it is answered where B has nothing."""
    needles = [SECRET, "stillwater", *world.theirs.values()]
    listed, held = 0, set()
    for method, path in world.operations:
        if method != "GET" or "{portfolio_id}" in path:
            continue
        for query in ("", f"?portfolio_id={world.theirs['portfolio_id']}", f"?cursor={UUID(int=0)}", "?limit=1"):
            answer = await world.call("GET", concrete(path, {}) + query, world.a)
            for needle in needles:
                assert needle in query or needle not in answer.text, (path, query, needle)
        own = await world.call("GET", concrete(path, {}), world.b)
        if any(needle in own.text for needle in needles):
            held.add(path.removeprefix(PREFIX))
        listed += 1
    assert listed > 20
    assert held >= {
        "/portfolios", "/limits", "/completeness", "/imports/mappings", "/admin/runs", "/admin/tokens", "/admin/users",
        "/admin/invitations", "/admin/webhooks", "/admin/audit-log",
    }, "what B itself is shown holds what is looked for"  # fmt: skip
    seen = {
        "portfolios": (await world.call("GET", "portfolios", world.a)).json()["items"],
        "runs": (await world.call("GET", "admin/runs", world.a)).json()["items"],
        "limits": (await world.call("GET", "limits", world.a)).json()["items"],
        "webhooks": (await world.call("GET", "admin/webhooks", world.a)).json()["items"],
        "mappings": (await world.call("GET", "imports/mappings", world.a)).json()["items"],
        "grid": (await world.call("GET", "completeness", world.a)).json()["portfolios"],
    }
    assert seen == {key: [] for key in seen}
    assert [item["name"] for item in (await world.call("GET", "admin/tokens", world.a)).json()["items"]] == ["of a"]
    assert [item["name"] for item in (await world.call("GET", "admin/users", world.a)).json()["items"]] == ["of a"]


async def test_pages_are_a_tenants_own(world: World) -> None:
    await world.http.post("/sign-in", data={"token": world.a["Authorization"].removeprefix("Bearer ")})
    of = world.theirs["portfolio_id"]
    tried = 0
    for route in page_routes_of():
        if (
            "GET" not in (route.methods or ())
            or route.path.startswith(("/sign", "/invitation"))
            or route.path.endswith("/live")
        ):
            continue
        answer = await world.http.get(concrete(route.path, world.theirs))
        assert SECRET not in answer.text, route.path
        if "{portfolio_id}" in route.path:
            assert answer.status_code == 404, route.path
            tried += 1
        elif route.path.startswith("/ops"):
            assert answer.status_code == 403, route.path
    assert tried > 8
    assert of not in (await world.http.get("/")).text
    assert (await world.http.post(f"/p/{of}/delete")).status_code == 404
    assert (await world.http.post("/rerun", data={"portfolio": of})).status_code == 404
    assert (await world.http.post("/rerun", data={"what": "missing"})).status_code == 403


async def test_names_keys_and_scopes_are_within_a_tenant(world: World) -> None:
    """A name that B has is free for A; B's answer is never replayed to A; A's run is of A's portfolios."""
    own = await upload(world, world.a, SECRET)
    assert own["id"] != world.theirs["portfolio_id"]
    key = {"Idempotency-Key": "same"}
    body = {"name": "over", "figure": "status.missing", "op": ">", "value": 1}
    first = await world.call("POST", "limits", world.b | key, json=body)
    second = await world.call("POST", "limits", world.a | key, json=body)
    assert (first.status_code, second.status_code) == (201, 201)
    assert first.json()["id"] != second.json()["id"]
    assert "Idempotency-Replayed" not in second.headers
    both = f"admin/batch/run?what=missing&portfolio_id={own['id']}&portfolio_id={world.theirs['portfolio_id']}"
    asked = await world.call("POST", both, world.a)
    assert [each["value"] for each in asked.json()["rejected"]] == [world.theirs["portfolio_id"]]
    alone = await world.call(
        "POST", f"admin/batch/run?what=missing&portfolio_id={world.theirs['portfolio_id']}", world.a
    )
    assert alone.status_code == 422
    whole = await world.call("POST", "admin/batch/run?what=missing", world.a)
    assert (whole.status_code, whole.json()["code"]) == (403, "installation_only")
    limit = await world.call("POST", "limits", world.a, json=body | {"portfolio_id": world.theirs["portfolio_id"]})
    assert limit.status_code == 404


async def test_the_installations_operator_sees_runs_of_all_and_portfolios_of_their_own(world: World) -> None:
    runs = (await world.call("GET", "admin/runs", world.server)).json()["items"]
    assert world.theirs["run_id"] in {run["id"] for run in runs}
    assert (await world.call("GET", "portfolios", world.server)).json()["items"] == []
    assert (await world.call("POST", "admin/batch/run?what=missing", world.server)).status_code == 202
    assert (await world.call("GET", f"admin/runs/{world.theirs['run_id']}", world.server)).status_code == 200
    newest = (await world.call("GET", "admin/runs", world.server)).json()["items"][0]
    assert (await world.call("GET", f"admin/runs/{newest['id']}", world.b)).status_code == 404, "one without a scope"


async def test_events_carry_the_tenant_and_batches_over_tenants_none(world: World) -> None:
    async def told() -> list[Any]:
        async with world.admin.connect() as conn:
            rows = await conn.execute(
                text("SELECT headers ->> 'ce_tenant' AS tenant, payload, headers FROM bus.outbox ORDER BY id")
            )
            return list(rows.all())

    before = len(await told())
    await upload(world, world.a, "another")
    assert {event.tenant for event in (await told())[before:]} == {str(world.tenants["a"])}
    before = len(await told())
    await world.call("POST", "admin/batch/run?what=all&start_date=2020-12-28", world.server)
    assert {event.tenant for event in (await told())[before:]} == {None}, "of both"
    assert SECRET not in json.dumps([(event.payload, event.headers) for event in await told()])


async def test_who_did_what_is_told_to_the_operator_by_ids(world: World) -> None:
    own = (await world.call("GET", "admin/audit-log", world.b)).json()["items"]
    token = next(
        item for item in (await world.call("GET", "admin/tokens", world.b)).json()["items"] if item["name"] == "of b"
    )
    assert {item["tenant_id"] for item in own} == {str(world.tenants["b"])}
    by_token = [item for item in own if item["token_id"] == token["id"]]
    assert {(item["method"], item["path"]) for item in by_token} >= {
        ("POST", f"{PREFIX}/portfolios/import"), ("POST", f"{PREFIX}/portfolios/{world.theirs['portfolio_id']}/flows"),
        ("POST", f"{PREFIX}/limits"), ("PUT", f"{PREFIX}/imports/mappings/{{name}}"),
    }  # fmt: skip
    assert {item["user_id"] for item in by_token} == {token["user_id"]}
    assert (await world.call("GET", "admin/audit-log", world.a)).json()["items"] == [
        item
        for item in (await world.call("GET", "admin/audit-log", world.server)).json()["items"]
        if item["tenant_id"] == str(world.tenants["a"])
    ]
    refused = await world.call(
        "POST", "limits", world.b, json={"name": "no", "figure": "nothing", "op": ">", "value": 1}
    )
    assert refused.status_code == 404
    assert len((await world.call("GET", "admin/audit-log", world.b)).json()["items"]) == len(own), "nothing was changed"
