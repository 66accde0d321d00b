"""What A could try with something of B's in hand: ids beside its own, keys, tags of answers, cursors, names; and whether what B does
shows in anything that A is answered."""

from __future__ import annotations

import asyncio
import re
from typing import Any
from uuid import UUID

import httpx2
import pytest
from sqlalchemy import text

from tests.store.coordinator.conftest import PREFIX, make_app
from tests.store.coordinator.test_tenants import BODIES, world
from tests.store.coordinator.two_tenants import SECRET, World, concrete, page_routes_of, upload

__all__ = ["world"]

# What differs from one call to the next by itself.
MOMENTS = re.compile(
    r'"(instance|request_id|trace_id|last_used_at|updated_at)": ?("[^"]*"|null)|\d{2}:\d{2}:\d{2}[.\d]*'
)


@pytest.fixture(scope="module")
async def own(world: World) -> str:
    """A portfolio of A's."""
    return str((await upload(world, world.a, "A's own"))["id"])


async def test_ids_of_another_tenant_are_unknown_beneath_ones_own_portfolio(world: World, own: str) -> None:
    tried = set()
    ids = world.theirs | {"portfolio_id": own}
    for method, path in world.operations:
        others = set(re.findall(r"\{([a-z_]+)\}", path)) - {"portfolio_id"}
        if "{portfolio_id}" not in path or not others & set(ids):
            continue
        body = BODIES.get(path.removeprefix(PREFIX)) if method in ("PUT", "PATCH", "POST") else None
        answer = await world.call(method, concrete(path, ids), world.a, json=body)
        assert answer.status_code == 404, (method, path, answer.text)
        assert SECRET not in answer.text
        tried.add((method, path.removeprefix(f"{PREFIX}/portfolios/{{portfolio_id}}")))
    assert tried >= {
        ("PATCH", "/positions/{position_id}"), ("DELETE", "/positions/{position_id}"), ("DELETE", "/flows/{flow_id}"),
        ("DELETE", "/imports/{import_id}"),
    }  # fmt: skip
    theirs = (await world.call("GET", f"portfolios/{world.theirs['portfolio_id']}", world.b)).json()
    assert world.theirs["position_id"] in {lot["id"] for lot in theirs["positions"]}


async def test_what_was_answered_to_anothers_key_is_not_replayed(world: World, own: str) -> None:
    """The same request, to the letter, under the same key."""
    theirs = world.theirs["portfolio_id"]
    flow = {"date": "2020-12-29", "amount": 7}
    limit = {"name": "keyed", "figure": "status.missing", "op": ">", "value": 1}
    asked: list[tuple[str, dict[str, Any], int]] = [
        (f"portfolios/{theirs}/flows", {"json": flow}, 404),
        (f"portfolios/{theirs}/calculate", {}, 404),
        (f"admin/batch/run?what=missing&portfolio_id={theirs}", {}, 422),
        ("limits", {"json": limit}, 201),
    ]
    for number, (path, more, expected) in enumerate(asked):
        key = {"Idempotency-Key": f"key-{number}"}
        first = await world.call("POST", path, world.b | key, **more)
        again = await world.call("POST", path, world.b | key, **more)
        assert first.status_code in (201, 202), (path, first.text)
        assert (again.json(), again.headers.get("idempotency-replayed")) == (first.json(), "true"), path
        answer = await world.call("POST", path, world.a | key, **more)
        assert answer.status_code == expected, (path, answer.text)
        assert "idempotency-replayed" not in answer.headers
        assert not set(re.findall(r"[0-9a-f-]{36}", first.text)) & set(re.findall(r"[0-9a-f-]{36}", answer.text)) - {
            theirs
        }
    assert own


async def test_a_tag_of_anothers_answer_is_no_ones_own(world: World, own: str) -> None:
    """Not modified would say that the answer is there, and what it is."""
    held = 0
    for method, path in world.operations:
        if method != "GET" or path.endswith("/stream"):
            continue
        there = await world.call("GET", concrete(path, world.theirs), world.b)
        if there.status_code != 200 or "etag" not in there.headers:
            continue
        plain = await world.call("GET", concrete(path, world.theirs), world.a)
        for known in (there.headers["etag"], "*"):
            answer = await world.call("GET", concrete(path, world.theirs), world.a | {"If-None-Match": known})
            same = plain.status_code == 200 and (known == "*" or plain.headers.get("etag") == known)
            assert answer.status_code == (304 if same else plain.status_code), (path, known)
        held += plain.status_code != 200
    assert held >= 8
    assert own


async def test_a_cursor_of_anothers_list_leads_to_ones_own(world: World, own: str) -> None:
    """Those that lists gave to B, and ids that B has."""
    for _ in range(2):
        await upload(world, world.b, f"{SECRET} again {_}")
        await world.made(f"portfolios/{world.theirs['portfolio_id']}/calculate", world.b, 202)
    document = world.app.openapi()["paths"]
    paged = [
        path
        for path, methods in document.items()
        if any(of["name"] == "cursor" for of in methods.get("get", {}).get("parameters", ()))
    ]
    given = set()
    for path in paged:
        here = concrete(path, world.theirs | {"portfolio_id": own})
        first = await world.call("GET", concrete(path, world.theirs) + "?limit=1", world.b)
        following = first.json().get("next") if first.status_code == 200 else None
        given |= {path.removeprefix(PREFIX)} if following else set()
        cursors = [str(following)] if following else []
        for cursor in [
            *cursors,
            world.theirs["portfolio_id"],
            world.theirs["run_id"],
            str(UUID(int=0)),
            "1",
            "2020-12-29",
        ]:
            answer = await world.call("GET", f"{here}?cursor={cursor}", world.a)
            assert answer.status_code in (200, 403, 404, 422), (path, cursor, answer.text)
            for needle in (SECRET, *world.theirs.values()):
                assert needle == cursor or needle not in answer.text, (path, cursor, needle)
    assert given >= {"/portfolios", "/admin/runs", "/admin/audit-log"}


@pytest.mark.timeout(400)
async def test_what_another_tenant_does_shows_in_no_answer(world: World, own: str) -> None:
    """Every answer and every page that A can have is the same, to the letter, before B makes more of each kind, and after."""
    await world.http.post("/sign-in", data={"token": world.a["Authorization"].removeprefix("Bearer ")})
    ids = {"portfolio_id": own}

    async def seen() -> dict[str, str]:
        found = {}
        for method, path in world.operations:
            if method == "GET" and not path.endswith("/stream"):
                found[path] = (await world.call("GET", concrete(path, ids), world.a)).text
        for route in page_routes_of():
            once = not route.path.startswith(("/sign", "/invitation")) and not route.path.endswith("/live")
            if "GET" in (route.methods or ()) and once:
                found[route.path] = (await world.http.get(concrete(route.path, ids))).text
        return {path: MOMENTS.sub("", said) for path, said in found.items()}

    async with world.admin.begin() as conn:
        await conn.execute(text("UPDATE coordinator.tokens SET last_used_at = clock_timestamp()"))
    await seen()  # what the first to look brings up to date
    before, same = await seen(), await seen()
    assert {path for path in before if before[path] != same[path]} == set(), "nothing happened"
    made = (await upload(world, world.b, f"{SECRET} more"))["id"]
    await world.made("limits", world.b, json={"name": "more", "figure": "status.missing", "op": ">", "value": 0})
    await world.made("admin/webhooks", world.b, json={"name": "more", "url": "https://example.org/more"})
    await world.made("admin/users", world.b, json={"name": "more", "role": "reader"})
    await world.made("admin/invitations", world.b, json={"name": "more", "role": "reader"})
    await world.made("admin/tokens", world.b, json={"name": "more", "role": "reader"})
    await world.made(f"portfolios/{made}/calculate", world.b, 202)
    await world.call("PUT", "imports/mappings/more", world.b, json={"dialect": "us"})
    after = await seen()
    assert {path for path in before if before[path] != after[path]} == set()
    assert len(before) > 70


async def test_pages_take_no_change_of_what_is_anothers(world: World, own: str) -> None:
    """Every form of every page, with B's ids in its address and its fields, and B's beneath a portfolio of A's."""
    await world.http.post("/sign-in", data={"token": world.a["Authorization"].removeprefix("Bearer ")})
    before = await _rows_of(world)
    fields = {
        "portfolio": world.theirs["portfolio_id"], "portfolio_id": world.theirs["portfolio_id"], "into": world.theirs["portfolio_id"],
        "name": "taken", "equity_balance": "5", "symbol": "AAPL", "quantity": "1", "entry_date": "2020-12-21", "entry_price": "128.23",
        "date": "2020-12-29", "amount": "9", "what": "missing", "confirm": "yes", "role": "reader", "figure": "status.missing", "op": ">",
        "value": "1", "tenant": world.theirs["tenant_id"], "tenant_id": world.theirs["tenant_id"],
    }  # fmt: skip
    ids = world.theirs | {"lot": world.theirs["position_id"], "flow": world.theirs["flow_id"], "letter_id": "1"}
    tried = set()
    for route in page_routes_of():
        if "POST" not in (route.methods or ()) or route.path.startswith(("/sign", "/invitation", "/settings/sign-out")):
            continue
        for given in (ids, ids | {"portfolio_id": own}):
            answer = await world.http.post(concrete(route.path, given), data=fields)
            assert SECRET not in answer.text, route.path
            if "{" in route.path and (given is ids or "{lot}" in route.path or "{flow}" in route.path):
                assert answer.status_code in (403, 404, 422), (route.path, answer.status_code)
                tried.add(route.path)
    assert len(tried) > 10
    assert await _rows_of(world) == before


async def _rows_of(world: World) -> list[str]:
    async with world.admin.connect() as conn:
        tables = await conn.scalars(
            text("SELECT CAST(polrelid AS regclass)::text FROM pg_policy WHERE polname = 'own_tenant'")
        )
        found = []
        for table in sorted(tables):
            rows = await conn.scalars(text(f"SELECT CAST(to_jsonb(t) - 'last_used_at' AS text) FROM {table} t"))
            found += sorted(f"{table} {row}" for row in rows if any(of in row for of in world.theirs.values()))
    return found


async def test_what_a_page_streams_is_of_its_reader(world: World, own: str) -> None:
    """The stream of the list, while B changes what it has; it ends as its server stops."""
    app = make_app(world.app.state.context.engine, [], token="the-token-of-the-server")
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://test") as http:
        await http.post("/sign-in", data={"token": world.a["Authorization"].removeprefix("Bearer ")})
        assert (await http.get(f"/p/{world.theirs['portfolio_id']}/live")).status_code == 404
        assert (await http.get("/ops/live")).status_code == 403
        streams = [asyncio.create_task(http.get(path)) for path in ("/live", f"/p/{own}/live")]
        for number in range(3):
            await upload(world, world.b, f"{SECRET} {number} while A listens")
            await world.call("PATCH", f"portfolios/{own}", world.a, json={"name": f"A's own {number}"})
            await asyncio.sleep(0.3)
        app.state.context.stopping.set()
        told = [(await asyncio.wait_for(each, 30)).text for each in streams]
    assert all("data:" in each for each in told), told
    assert own in told[0]
    for each in told:
        assert not any(needle in each for needle in (SECRET, *world.theirs.values())), each[:500]
