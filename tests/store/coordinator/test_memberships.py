"""A person who is a member of several tenants: what one of them does reaches no other, and no link leads where nobody agreed to go."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from tests.store.coordinator.conftest import PREFIX, SERVER, Api, make_app
from tests.store.coordinator.provider import recognised
from tests.store.coordinator.test_people import client_of, made, operator_of

PERSON = "person@example.org"


async def tenant_of(http: httpx2.AsyncClient, name: str) -> tuple[str, dict[str, str]]:
    """Id, and the head of an operator."""
    tenant = (await made(http, "admin/tenants", {"name": name}))["id"]
    return tenant, await operator_of(http, tenant)


async def join(
    browser: httpx2.AsyncClient, head: dict[str, str], name: str, role: str = "reader", leave: str = "1"
) -> httpx2.Response:
    """Be invited and accept."""
    code = (await made(browser, "admin/invitations", {"name": name, "role": role}, head))["code"]
    return await browser.get(await recognised(browser, PERSON, code, leave))


async def people(browser: httpx2.AsyncClient, head: dict[str, str]) -> list[dict[str, Any]]:
    listed = (await browser.get(f"{PREFIX}/admin/users", headers=head)).json()["items"]
    return [each for each in listed if each["kind"] == "person"]


async def test_each_tenant_has_its_own_name_of_a_person_and_ends_its_own_sessions(browser: httpx2.AsyncClient) -> None:
    (a, of_a), (_b, of_b) = await tenant_of(browser, "a"), await tenant_of(browser, "b")
    await join(browser, of_b, "the man from B", "editor")
    await join(browser, of_a, "our clever friend")
    assert [each["name"] for each in await people(browser, of_a)] == ["our clever friend"]
    [seen] = await people(browser, of_b)
    assert (seen["name"], seen["role"]) == ("the man from B", "editor")
    signed_out = await browser.post(f"{PREFIX}/admin/users/{seen['id']}/sign-out", headers=of_b)
    assert (signed_out.status_code, (await browser.get("/")).status_code) == (204, 200)
    assert [each["signed_out_at"] for each in await people(browser, of_a)] == [None]
    back = await browser.post("/settings/tenant", data={"tenant": seen["tenant_id"]})
    assert back.status_code == 401, "the session is older than what ended those of B"
    [seen] = await people(browser, of_b)
    # One's own wish is about all.
    assert (await browser.post("/settings/sign-out-everywhere")).status_code == 303
    for head in (of_a, of_b):
        assert (await people(browser, head))[0]["signed_out_at"] > seen["signed_out_at"]
    own = (await browser.get(f"{PREFIX}/admin/audit-log", headers=of_a)).json()["items"][0]
    assert (own["path"], own["tenant_id"]) == ("/settings/sign-out-everywhere", a)


async def test_a_new_membership_revives_no_session_of_an_old_one(browser: httpx2.AsyncClient) -> None:
    _, head = await tenant_of(browser, "a")
    await join(browser, head, "friend", "operator")
    old = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
    [user] = await people(browser, head)
    await browser.delete(f"{PREFIX}/admin/users/{user['id']}", headers=head)
    assert (await join(browser, head, "friend")).status_code == 303
    assert (await browser.get("/")).status_code == 200
    browser.cookies.clear()
    assert (await browser.get("/", headers={"Cookie": old})).status_code == 303


async def test_an_older_link_lowers_no_role_and_accepting_is_in_the_audit_log(browser: httpx2.AsyncClient) -> None:
    tenant, head = await tenant_of(browser, "a")
    for role in ("editor", "operator", "reader"):
        await join(browser, head, role, role)
    [user] = await people(browser, head)
    assert user["role"] == "operator"
    log = (await browser.get(f"{PREFIX}/admin/audit-log", headers=head)).json()["items"]
    accepted = [each for each in log if each["path"] == "/sign-in/openid/callback"]
    assert [(each["user_id"], each["tenant_id"]) for each in accepted] == [(user["id"], tenant)] * 3


async def test_accepting_without_a_provider_is_in_the_audit_log(api: Api) -> None:
    async with client_of(make_app(api.context.engine, [], token=SERVER)) as http:
        tenant, head = await tenant_of(http, "a")
        code = (await made(http, "admin/invitations", {"name": "guest", "role": "reader"}, head))["code"]
        assert (await http.post("/invitation", data={"code": code})).status_code == 200
        [user] = await people(http, head)
        newest = (await http.get(f"{PREFIX}/admin/audit-log", headers=head)).json()["items"][0]
    assert (newest["method"], newest["path"], newest["user_id"], newest["tenant_id"]) == (
        "POST", "/invitation", user["id"], tenant,
    )  # fmt: skip


async def test_no_link_takes_a_reader_to_another_tenant(browser: httpx2.AsyncClient) -> None:
    (_a, of_a), (_b, of_b) = await tenant_of(browser, "a"), await tenant_of(browser, "b")
    await join(browser, of_a, "member of A")
    lure = (await made(browser, "admin/invitations", {"name": "lure", "role": "editor"}, of_b))["code"]
    elsewhere = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    # A link alone begins a sign-in without any invitation.
    await browser.get(f"/sign-in/openid?invitation={lure}", headers=elsewhere)
    sessions = browser._transport.app.state.page_sessions  # type: ignore[attr-defined]
    begun = browser.cookies["leadline_80_openid"]
    assert sessions.unseal(begun).invitation == ""
    sent = await browser.post("/invitation", data={"code": lure, "leave": "1"}, headers=elsewhere)
    assert (sent.status_code, "set-cookie" in sent.headers) == (403, False)
    # And the page of the invitation asks.
    assert 'name="leave"' in (await browser.get(f"/invitation?code={lure}")).text
    asked = await browser.post("/invitation", data={"code": lure})
    assert (asked.status_code, "another tenant" in asked.text, "set-cookie" in asked.headers) == (409, True, False)
    assert await people(browser, of_b) == []


async def test_pages_count_against_the_tenants_calls_a_second(api: Api) -> None:
    async with client_of(make_app(api.context.engine, [], token=SERVER)) as http:
        tenant = (await made(http, "admin/tenants", {"name": "slow", "calls_per_second": 0.3}))["id"]
        own = await operator_of(http, tenant)
        await http.post("/sign-in", data={"token": own["Authorization"].removeprefix("Bearer ")})
        # The sign-in was one of the three that may come at once.
        answers = [await http.get("/") for _ in range(4)]
        assert [each.status_code for each in answers] == [200, 200, 429, 429]
        assert int(answers[-1].headers["retry-after"]) >= 1
        assert (await http.get(f"{PREFIX}/portfolios", headers=own)).status_code == 429, "one bucket for both"


@pytest.mark.parametrize("called", ["p\u00e9rson@example.org", "u" * 256, "u\x00x"])
async def test_a_provider_that_calls_a_person_something_impossible_is_not_believed(
    browser: httpx2.AsyncClient, called: str
) -> None:
    answer = await browser.get(await recognised(browser, called))
    assert (answer.status_code, "does not hold" in answer.text) == (401, True)
