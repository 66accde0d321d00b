"""Two tenants on one installation: neither sees, guesses, counts or touches what is the other's. Every operation that is served is
tried, and each wall alone: the statements' own conditions as the coordinator's role, which no row policy confines, and the policies
as the API's role."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import httpx2
import pytest
from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from services.coordinator.web import routes as page_routes
from tests.store.coordinator.conftest import CSV, PREFIX, client, make_app

SERVER = "the-token-of-the-server"
# What no answer to anybody else may hold.
SECRET = "Stillwater"
# Facts of the market, of everybody and of nobody.
SHARED = tuple(
    f"{PREFIX}/{of}" for of in ("symbols", "funds", "calendar", "benchmarks", "providers", "imports/presets")
)
# Never ends.
ENDLESS = "/status/stream"
BODIES: dict[str, Any] = {
    "/admin/users/{user_id}": {"role": "reader"},
    "/admin/tenants/{tenant_id}": {"closed": True},
    "/imports/mappings/{name}": {"dialect": "us"},
}
# By address one cannot tell whose a name is: saved under a name that another tenant has, it is the saver's own.
OWN_NAMES = {("PUT", f"{PREFIX}/imports/mappings/{{name}}")}


def bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


@dataclass
class World:
    """A client without a token, heads of both tenants' operators and of the server, and the ids of everything that is B's."""

    http: httpx2.AsyncClient
    app: FastAPI
    admin: AsyncEngine
    server: dict[str, str]
    a: dict[str, str]
    b: dict[str, str]
    tenants: dict[str, UUID]
    theirs: dict[str, str] = field(default_factory=dict)

    async def call(self, method: str, path: str, head: dict[str, str], **more: Any) -> httpx2.Response:
        return await self.http.request(
            method, path if path.startswith("/") else f"{PREFIX}/{path}", headers=head, **more
        )

    async def made(self, path: str, head: dict[str, str], status: int = 201, **more: Any) -> Any:
        answer = await self.call("POST", path, head, **more)
        assert answer.status_code == status, (path, answer.text)
        return answer.json()

    @property
    def operations(self) -> list[tuple[str, str]]:
        return [
            (method.upper(), path)
            for path, methods in self.app.openapi()["paths"].items()
            if path.startswith("/api")
            for method in methods
        ]


async def _upload(world: World, head: dict[str, str], name: str) -> dict[str, Any]:
    form = {"name": name, "equity_balance": "100000"}
    made = await world.made("portfolios/import", head, data=form, files={"file": ("p.csv", CSV.encode(), "text/csv")})
    return dict(made)


async def _settle(world: World) -> None:
    """B has something of each kind."""
    portfolio = (await _upload(world, world.b, SECRET))["id"]
    document = (await world.call("GET", f"portfolios/{portfolio}", world.b)).json()
    flow = await world.made(f"portfolios/{portfolio}/flows", world.b, json={"date": "2020-12-29", "amount": 5})
    limit = await world.made(
        "limits", world.b, json={"name": SECRET, "figure": "status.missing", "op": ">", "value": 1}
    )
    webhook = await world.made(
        "admin/webhooks", world.b, json={"name": SECRET, "url": "https://example.org/stillwater"}
    )
    token = await world.made("admin/tokens", world.b, json={"name": SECRET, "role": "reader"})
    user = await world.made("admin/users", world.b, json={"name": f"{SECRET} desk", "role": "reader"})
    invitation = await world.made("admin/invitations", world.b, json={"name": SECRET, "role": "reader"})
    run = await world.made(f"portfolios/{portfolio}/calculate", world.b, 202)
    saved = await world.call("PUT", f"imports/mappings/{SECRET}", world.b, json={"dialect": "us"})
    assert saved.status_code == 200, saved.text
    async with world.admin.connect() as conn:
        imported = await conn.scalar(text("SELECT id FROM coordinator.imports LIMIT 1"))
        flow_id = await conn.scalar(text("SELECT id FROM coordinator.flows LIMIT 1"))
    assert flow
    world.theirs = {
        "portfolio_id": portfolio,
        "position_id": document["positions"][0]["id"],
        "flow_id": str(flow_id),
        "import_id": str(imported),
        "limit_id": limit["id"],
        "webhook_id": webhook["id"],
        "token_id": token["id"],
        "user_id": user["id"],
        "invitation_id": invitation["id"],
        "run_id": run["run_id"],
        "name": SECRET,
        "tenant_id": str(world.tenants["b"]),
    }


@pytest.fixture(scope="module", params=["policies and statements", "statements alone"])
async def world(
    request: pytest.FixtureRequest, engines: tuple[AsyncEngine, AsyncEngine], loops: AsyncEngine
) -> AsyncIterator[World]:
    engine, admin = engines
    async with client(engines, loops):
        app = make_app(engine if request.param.startswith("policies") else loops, [], token=SERVER)
        transport = httpx2.ASGITransport(app=app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://test") as http:
            made = World(http, app, admin, bearer(SERVER), {}, {}, {})
            for name in ("a", "b"):
                tenant = (await made.made("admin/tenants", made.server, json={"name": name}))["id"]
                secret = await made.made(
                    f"admin/tokens?tenant_id={tenant}", made.server, json={"name": f"of {name}", "role": "operator"}
                )
                setattr(made, name, bearer(secret["token"]))
                made.tenants[name] = UUID(tenant)
            await _settle(made)
            yield made


def concrete(path: str, ids: dict[str, str]) -> str:
    path = re.sub(r"\{[a-z_]*(day|date|session)\}", "2020-12-29", path)
    return re.sub(r"\{([a-z_]+)\}", lambda found: ids.get(found[1], "AAPL"), path)


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
    listed = 0
    for method, path in world.operations:
        if method != "GET" or "{portfolio_id}" in path:
            continue
        for query in ("", f"?portfolio_id={world.theirs['portfolio_id']}", f"?cursor={UUID(int=0)}", "?limit=1"):
            answer = await world.call("GET", concrete(path, {}) + query, world.a)
            for needle in needles:
                if needle not in query:
                    assert needle not in answer.text.replace(query[14:], "") or query, (path, query, needle)
        listed += 1
    assert listed > 20
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
    routers = [
        found
        for module in vars(page_routes).values()
        if isinstance(found := getattr(module, "router", None), APIRouter)
    ]
    routes = [route for router in routers for route in router.routes]
    tried = 0
    for route in routes:
        assert isinstance(route, APIRoute)
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
    own = await _upload(world, world.a, SECRET)
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
    await _upload(world, world.a, "another")
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
