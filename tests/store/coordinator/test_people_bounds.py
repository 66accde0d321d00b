"""Limits on people hold under parallel calls, a tenant keeps an operator, and who signs in asks like anybody else."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import httpx2
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from services.coordinator.tokens import people
from services.coordinator.tokens.rate import RateLimit
from tests.store.coordinator.conftest import PREFIX, SERVER, Api, make_app
from tests.store.coordinator.provider import recognised
from tests.store.coordinator.test_memberships import PERSON, join, tenant_of
from tests.store.coordinator.test_people import HEAD, client_of, made, operator_of

LAST = (409, "last_operator")


async def at_once(*calls: Any) -> Counter[int]:
    return Counter(answer.status_code for answer in await asyncio.gather(*calls))


async def removed(http: httpx2.AsyncClient, user: str, head: dict[str, str], query: str = "") -> tuple[int, str | None]:
    answer = await http.delete(f"{PREFIX}/admin/users/{user}{query}", headers=head)
    return answer.status_code, answer.json()["code"] if answer.content else None


async def users_of(http: httpx2.AsyncClient, head: dict[str, str]) -> list[dict[str, Any]]:
    return list((await http.get(f"{PREFIX}/admin/users", headers=head)).json()["items"])


@pytest.fixture(params=["policies and statements", "statements alone"])
async def http(request: pytest.FixtureRequest, api: Api, engines: tuple[AsyncEngine, AsyncEngine]) -> Any:
    engine = engines[0] if request.param.startswith("policies") else api.context.engine
    async with client_of(make_app(engine, [], token=SERVER)) as client:
        yield client


async def test_of_eight_users_of_one_name_at_once_there_is_one(http: httpx2.AsyncClient) -> None:
    _, own = await tenant_of(http, "a")
    body = {"name": "desk", "role": "reader"}
    told = await at_once(*(http.post(f"{PREFIX}/admin/users", json=body, headers=own) for _ in range(8)))
    assert told == {201: 1, 409: 7}
    assert [of["name"] for of in await users_of(http, own)].count("desk") == 1
    # And a token that makes an account by its own name makes one too.
    calls = (("admin/users", body | {"name": "night"}), ("admin/tokens", {"name": "night", "role": "reader"})) * 3
    await at_once(*(http.post(f"{PREFIX}/{path}", json=given, headers=own) for path, given in calls))
    assert [of["name"] for of in await users_of(http, own)].count("night") == 1


@pytest.mark.parametrize(
    ("path", "most", "body"),
    [
        ("admin/users", "services.coordinator.tokens.people.MOST_USERS", {"role": "reader"}),
        ("admin/invitations", "services.coordinator.tokens.people.MOST_INVITATIONS", {"role": "reader"}),
        ("admin/tokens", "services.coordinator.tokens.service.MOST", {"role": "reader"}),
        (
            "admin/webhooks",
            "services.coordinator.notifications.service.MOST_WEBHOOKS",
            {"url": "https://example.org/hook"},
        ),
        (
            "limits",
            "services.coordinator.notifications.service.MOST_LIMITS",
            {"figure": "status.missing", "op": ">", "value": 1},
        ),
        ("admin/tenants", "services.coordinator.tokens.people.MOST_TENANTS", {}),
    ],
)
async def test_no_limit_is_passed_by_calls_at_once(
    http: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch, path: str, most: str, body: dict[str, Any]
) -> None:
    _, own = await tenant_of(http, "a")
    head = HEAD if path == "admin/tenants" else own
    there = len((await http.get(f"{PREFIX}/{path}", headers=head)).json()["items"])
    monkeypatch.setattr(most, there + 2)
    told = await at_once(
        *(http.post(f"{PREFIX}/{path}", json=body | {"name": f"n{number}"}, headers=head) for number in range(8))
    )
    assert told == {201: 2, 409: 6}
    assert len((await http.get(f"{PREFIX}/{path}", headers=head)).json()["items"]) == there + 2


async def test_accepting_passes_no_limit_of_users(http: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    _, own = await tenant_of(http, "a")
    codes = [
        (await made(http, "admin/invitations", {"name": f"n{number}", "role": "reader"}, own))["code"]
        for number in range(4)
    ]
    monkeypatch.setattr(people, "MOST_USERS", len(await users_of(http, own)) + 1)
    assert await at_once(*(http.post("/invitation", data={"code": code}) for code in codes)) == {200: 1, 409: 3}


async def test_a_token_of_an_account_of_its_own_passes_no_limit_of_users(
    http: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The account stays when its token is revoked."""
    _, own = await tenant_of(http, "a")
    monkeypatch.setattr(people, "MOST_USERS", len(await users_of(http, own)))
    refused = await http.post(f"{PREFIX}/admin/tokens", json={"name": "one more", "role": "reader"}, headers=own)
    assert (refused.status_code, refused.json()["code"]) == (409, "too_many_users")


async def test_a_tenant_keeps_its_last_operator(http: httpx2.AsyncClient) -> None:
    tenant, own = await tenant_of(http, "a")
    [first] = await users_of(http, own)
    path = f"{PREFIX}/admin/users/{first['id']}"
    demoted = await http.patch(path, json={"role": "editor"}, headers=own)
    assert (demoted.status_code, demoted.json()["code"]) == LAST
    assert "ask an operator of the installation" in demoted.json()["detail"]
    assert await removed(http, first["id"], own) == LAST
    # An operator without a way in is none.
    second = await made(http, "admin/users", {"name": "second", "role": "operator"}, own)
    assert await removed(http, first["id"], own) == LAST
    small = await made(http, "admin/tokens", {"name": "small", "role": "reader", "user_id": second["id"]}, own)
    assert await removed(http, first["id"], own) == LAST
    await made(http, "admin/tokens", {"name": "big", "role": "operator", "user_id": second["id"]}, own)
    assert await removed(http, first["id"], own) == (204, None)
    # The installation's operator may do it all the same.
    assert await removed(http, second["id"], HEAD, f"?tenant_id={tenant}") == (204, None)
    assert small["user_id"] == second["id"]


async def test_two_operators_who_leave_at_once_do_not_both_leave(http: httpx2.AsyncClient) -> None:
    _, own = await tenant_of(http, "a")
    for number in range(3):
        user = await made(http, "admin/users", {"name": f"n{number}", "role": "operator"}, own)
        await made(http, "admin/tokens", {"name": f"n{number}", "role": "operator", "user_id": user["id"]}, own)
    operators = [of["id"] for of in await users_of(http, own)]
    calls = [http.patch(f"{PREFIX}/admin/users/{of}", json={"role": "reader"}, headers=own) for of in operators]
    told = await at_once(*calls)
    assert (told[200], told[409] + told[403]) == (3, 1)


async def test_the_last_operator_of_the_installation_stays_where_no_token_of_the_server_lets_one_in(api: Api) -> None:
    async with client_of(make_app(api.context.engine, [])) as http:
        first = await made(http, "admin/tokens", {"name": "first", "role": "operator"}, {})
        own = {"Authorization": f"Bearer {first['token']}"}
        refused = await http.delete(f"{PREFIX}/admin/users/{first['user_id']}", headers=own)
        assert (refused.status_code, refused.json()["code"]) == LAST
        assert "ask an operator" not in refused.json()["detail"]
        assert (await http.get(f"{PREFIX}/admin/users", headers=own)).status_code == 200
    # LEADLINE_TOKEN is an operator of the first tenant.
    async with client_of(make_app(api.context.engine, [], token=SERVER)) as http:
        assert await removed(http, first["user_id"], own) == (204, None)


async def test_a_person_whom_the_provider_knows_is_an_operator_with_a_way_in(
    api: Api, browser: httpx2.AsyncClient
) -> None:
    _, own = await tenant_of(browser, "a")
    await join(browser, own, "colleague", "operator")
    [first, *_] = [of for of in await users_of(browser, own) if of["kind"] == "service"]
    # To a server with another provider, or none, the person is nobody.
    async with client_of(make_app(api.context.engine, [], token=SERVER)) as elsewhere:
        assert await removed(elsewhere, first["id"], own) == LAST
    assert await removed(browser, first["id"], own) == (204, None)


async def test_signing_in_counts_against_the_tenants_calls_a_second(
    http: httpx2.AsyncClient, browser: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = RateLimit.seconds_to_wait

    def at_one_moment(rate: RateLimit, *given: Any, **named: Any) -> float:
        """However long a busy machine takes for the calls."""
        rate.clock = lambda: 1.0
        return count(rate, *given, **named)

    monkeypatch.setattr(RateLimit, "seconds_to_wait", at_one_moment)
    tenant = (await made(http, "admin/tenants", {"name": "slow", "calls_per_second": 0.2}))["id"]
    secret = (await operator_of(http, tenant))["Authorization"].removeprefix("Bearer ")
    answers = [await http.post("/sign-in", data={"token": secret}) for _ in range(4)]
    assert [each.status_code for each in answers] == [303, 303, 429, 429]
    assert int(answers[-1].headers["retry-after"]) >= 1
    assert "set-cookie" not in answers[-1].headers
    assert (await http.post("/sign-in", data={"token": SERVER})).status_code == 303, "nobody else waits"
    # And by the provider.
    code = (await made(browser, f"admin/invitations?tenant_id={tenant}", {"name": "x", "role": "reader"}))["code"]
    told = [(await browser.get(await recognised(browser, PERSON, code))).status_code]
    told += [(await browser.get(await recognised(browser, PERSON))).status_code for _ in range(3)]
    assert told == [303, 303, 429, 429]


async def test_only_whoever_operates_the_installation_is_led_to_its_pages(api: Api, http: httpx2.AsyncClient) -> None:
    _, own = await tenant_of(http, "a")
    code = (await made(http, "admin/invitations", {"name": "guest", "role": "reader"}, own))["code"]
    pages = [f"/invitation?code={code}", "/sign-in", "/invitation?code=wrong"]
    secret = own["Authorization"].removeprefix("Bearer ")
    for token in ("", secret):
        if token:
            await http.post("/sign-in", data={"token": token})
        assert [path for path in pages if 'href="/ops"' in (await http.get(path)).text] == [], token[:3]
    await http.post("/sign-in", data={"token": SERVER})
    assert [path for path in pages if 'href="/ops"' in (await http.get(path)).text] == [pages[0], pages[2]]
    # Where nobody signs in, everybody operates it.
    async with client_of(make_app(api.context.engine, [])) as everybody:
        await api.run("DELETE FROM coordinator.tokens")
        assert 'href="/ops"' in (await everybody.get(pages[0])).text
