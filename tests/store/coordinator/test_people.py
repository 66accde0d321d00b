"""Accounts, invitations, quotas and sign-in of a tenant, through the interface and its pages; OpenID Connect against a provider."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest
from fastapi import FastAPI

from tests.store.coordinator.conftest import CSV, PREFIX, SERVER, Api, make_app
from tests.store.coordinator.provider import Provider, recognised

HEAD = {"Authorization": f"Bearer {SERVER}"}


def client_of(app: FastAPI) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://test")


@pytest.fixture
async def http(api: Api) -> AsyncIterator[httpx2.AsyncClient]:
    async with client_of(make_app(api.context.engine, [], token=SERVER)) as made:
        yield made


async def made(
    http: httpx2.AsyncClient, path: str, body: dict[str, Any], head: dict[str, str] = HEAD
) -> dict[str, Any]:
    answer = await http.post(f"{PREFIX}/{path}", json=body, headers=head)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


async def operator_of(http: httpx2.AsyncClient, tenant: str) -> dict[str, str]:
    token = await made(http, f"admin/tokens?tenant_id={tenant}", {"name": "first", "role": "operator"})
    return {"Authorization": f"Bearer {token['token']}"}


async def upload(http: httpx2.AsyncClient, head: dict[str, str], name: str) -> httpx2.Response:
    form = {"name": name, "equity_balance": "100000"}
    files = {"file": ("p.csv", CSV.encode(), "text/csv")}
    return await http.post(f"{PREFIX}/portfolios/import", data=form, files=files, headers=head)


async def test_a_token_does_at_most_what_its_user_may_and_ends_with_the_membership(http: httpx2.AsyncClient) -> None:
    user = await made(http, "admin/users", {"name": "desk", "role": "editor"})
    refused = await http.post(
        f"{PREFIX}/admin/tokens", json={"name": "t", "role": "operator", "user_id": user["id"]}, headers=HEAD
    )
    assert (refused.status_code, refused.json()["code"]) == (409, "role_above_users")
    token = await made(http, "admin/tokens", {"name": "t", "role": "editor", "user_id": user["id"]})
    own = {"Authorization": f"Bearer {token['token']}"}
    assert (await upload(http, own, "mine")).status_code == 201
    changed = await http.patch(f"{PREFIX}/admin/users/{user['id']}", json={"role": "reader"}, headers=HEAD)
    assert changed.json()["role"] == "reader"
    assert (await upload(http, own, "another")).json()["code"] == "role_too_small"
    assert (await http.delete(f"{PREFIX}/admin/users/{user['id']}", headers=HEAD)).status_code == 204
    assert (await http.get(f"{PREFIX}/portfolios", headers=own)).status_code == 401
    again = await http.post(f"{PREFIX}/admin/users/{user['id']}/sign-out", headers=HEAD)
    assert again.status_code == 404


async def test_a_closed_tenant_lets_nobody_in_and_an_open_one_again(http: httpx2.AsyncClient) -> None:
    tenant = (await made(http, "admin/tenants", {"name": "family"}))["id"]
    own = await operator_of(http, tenant)
    assert (await http.get(f"{PREFIX}/portfolios", headers=own)).status_code == 200
    for closed, status in ((True, 401), (False, 200)):
        answer = await http.patch(f"{PREFIX}/admin/tenants/{tenant}", json={"closed": closed}, headers=HEAD)
        assert (answer.json()["closed_at"] is not None) is closed
        assert (await http.get(f"{PREFIX}/portfolios", headers=own)).status_code == status
    house = (await http.get(f"{PREFIX}/admin/tenants", headers=HEAD)).json()["items"][0]
    refused = await http.patch(f"{PREFIX}/admin/tenants/{house['id']}", json={"closed": True}, headers=HEAD)
    assert refused.json()["code"] == "first_tenant_stays"
    assert (await http.get(f"{PREFIX}/admin/tenants", headers=own)).json()["code"] == "installation_only"


async def test_quotas_of_a_tenant_are_its_own(http: httpx2.AsyncClient) -> None:
    quotas = {"max_portfolios": 1, "max_lots": 3, "max_streams": 0}
    tenant = (await made(http, "admin/tenants", {"name": "small"} | quotas))["id"]
    own = await operator_of(http, tenant)
    first = await upload(http, own, "one")
    assert first.status_code == 201, first.text
    second = await upload(http, own, "two")
    assert (second.status_code, second.json()["code"]) == (409, "over_quota")
    lot = {"symbol": "AAPL", "quantity": 1, "entry_date": "2020-12-21", "entry_price": 128.23}
    of = f"{PREFIX}/portfolios/{first.json()['id']}"
    assert (await http.post(f"{of}/positions", json=lot, headers=own)).status_code in (200, 201)
    over = await http.post(f"{of}/positions", json=lot, headers=own)
    assert (over.status_code, over.json()["code"]) == (409, "over_quota")
    assert len((await http.get(of, headers=own)).json()["positions"]) == 3
    stream = await http.get(f"{of}/status/stream", headers=own)
    assert (stream.status_code, "quota" in stream.json()["detail"]) == (503, True)
    await http.patch(f"{PREFIX}/admin/tenants/{tenant}", json={"calls_per_second": 0.5}, headers=HEAD)
    codes = {(await http.get(f"{PREFIX}/portfolios", headers=own)).status_code for _ in range(8)}
    assert codes == {200, 429}
    assert (await http.get(f"{PREFIX}/portfolios", headers=HEAD)).status_code == 200, "nobody else waits"
    for name in ("a", "b"):
        assert (await upload(http, HEAD, name)).status_code == 201


async def test_an_invitation_lets_one_in_once(http: httpx2.AsyncClient) -> None:
    tenant = (await made(http, "admin/tenants", {"name": "guests"}))["id"]
    invited = await made(http, f"admin/invitations?tenant_id={tenant}", {"name": "the guest", "role": "editor"})
    shown = await http.get(invited["page"])
    assert (shown.status_code, "editor" in shown.text) == (200, True)
    accepted = await http.post("/invitation", data={"code": invited["code"]})
    [secret] = re.findall(r"<code>(leadline_[^<]+)</code>", accepted.text)
    own = {"Authorization": f"Bearer {secret}"}
    assert (await upload(http, own, "mine")).status_code == 201
    assert (await http.get(f"{PREFIX}/portfolios", headers=HEAD)).json()["items"] == []
    assert (await http.post("/invitation", data={"code": invited["code"]})).status_code == 404
    listed = (await http.get(f"{PREFIX}/admin/invitations?tenant_id={tenant}", headers=HEAD)).json()["items"]
    assert [(item["state"], invited["code"] in str(item)) for item in listed] == [("accepted", False)]
    other = await made(http, "admin/invitations", {"name": "nobody", "role": "reader"})
    assert (await http.delete(f"{PREFIX}/admin/invitations/{other['id']}", headers=HEAD)).status_code == 204
    assert (await http.get(other["page"])).status_code == 404


async def test_signed_out_everywhere_ends_sessions_of_every_process_and_no_token(
    api: Api, http: httpx2.AsyncClient
) -> None:
    token = await made(http, "admin/tokens", {"name": "mine", "role": "reader"})
    replica = make_app(api.context.engine, [], token=SERVER)
    async with client_of(replica) as browser:
        await browser.post("/sign-in", data={"token": token["token"]})
        assert (await browser.get("/")).status_code == 200
        answer = await http.post(f"{PREFIX}/admin/users/{token['user_id']}/sign-out", headers=HEAD)
        assert answer.status_code == 204, answer.text
        replica.state.authenticator.forget()
        assert (await browser.get("/")).status_code == 303
        own = {"Authorization": f"Bearer {token['token']}"}
        assert (await browser.get(f"{PREFIX}/portfolios", headers=own)).status_code == 200
        await browser.post("/sign-in", data={"token": token["token"]})
        assert (await browser.get("/")).status_code == 200
        assert (await browser.post("/settings/sign-out-everywhere")).status_code in (303, 403)


async def test_people_sign_in_by_openid_connect_and_are_whom_they_were_invited_as(
    browser: httpx2.AsyncClient, provider: Provider
) -> None:
    assert "/sign-in/openid" in (await browser.get("/sign-in")).text
    stranger = await browser.get(await recognised(browser, "stranger@example.org"))
    assert (stranger.status_code, "member of no tenant" in stranger.text) == (403, True)
    tenant = (await made(browser, "admin/tenants", {"name": "office"}))["id"]
    invited = await made(browser, f"admin/invitations?tenant_id={tenant}", {"name": "colleague", "role": "reader"})
    assert "Accept by signing in" in (await browser.get(invited["page"])).text
    back = await recognised(browser, "colleague@example.org", invited["code"])
    answer = await browser.get(back)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert (await browser.get("/")).status_code == 200
    assert (await browser.get("/ops")).status_code == 403
    assert (await browser.get(back)).status_code == 401, "an answer counts once"
    # Again, without an invitation: the same person.
    await browser.post("/sign-out")
    assert (await browser.get("/")).status_code == 303
    assert (await browser.get(await recognised(browser, "colleague@example.org"))).status_code == 303
    assert "colleague" in (await browser.get("/settings")).text
    users = (await browser.get(f"{PREFIX}/admin/users?tenant_id={tenant}", headers=HEAD)).json()["items"]
    [user] = [each for each in users if each["kind"] == "person"]
    assert (user["name"], user["role"]) == ("colleague", "reader")
    # Two tenants: one acts for one of them at a time.
    second = await made(browser, "admin/invitations", {"name": "colleague", "role": "editor"})
    await browser.get(await recognised(browser, "colleague@example.org", second["code"], leave="1"))
    assert "Act for" in (await browser.get("/settings")).text
    assert (await browser.post("/settings/tenant", data={"tenant": tenant})).status_code == 303
    assert (await browser.post("/import", data={"text": CSV, "name": "A", "equity_balance": "1000"})).status_code == 403
    assert (await browser.post("/settings/sign-out-everywhere")).status_code == 303
    assert (await browser.get("/")).status_code == 303
    assert provider.refused == 0


async def test_an_answer_of_the_provider_must_be_to_this_browsers_own_question(
    api: Api, browser: httpx2.AsyncClient, provider: Provider
) -> None:
    given: Any = {"oidc_issuer": provider.issuer, "oidc_client_secret": "the-clients-own-secret"}
    back = await recognised(browser, "somebody@example.org")
    async with client_of(make_app(api.context.engine, [], token=SERVER, limits=given)) as other:
        assert (await other.get(back)).status_code == 401, "begun elsewhere"
        await other.get("/sign-in/openid")
        assert (await other.get(back)).status_code == 401, "another state"
    changed = re.sub(r"code=[^&]+", "code=forged", back)
    assert (await browser.get(changed)).status_code == 401
    assert provider.refused == 1
    # Of another nonce: an answer to a question that somebody else asked.
    begun = await browser.get("/sign-in/openid")
    sessions = browser._transport.app.state.page_sessions  # type: ignore[attr-defined]
    attempt = sessions.unseal(browser.cookies["leadline_80_openid"])
    browser.cookies.set("leadline_80_openid", sessions.seal(replace(attempt, nonce="another")), domain="test.local")
    async with httpx2.AsyncClient() as elsewhere:
        answer = await elsewhere.post(begun.headers["location"], data={"sub": "x@example.org"})
    sent = urlsplit(answer.headers["location"])
    refused = await browser.get(f"{sent.path}?{sent.query}")
    assert (refused.status_code, "does not hold" in refused.text) == (401, True)


async def test_without_the_provider_tokens_still_sign_in(api: Api) -> None:
    given: Any = {"oidc_issuer": "http://127.0.0.1:9", "oidc_client_secret": "the-clients-own-secret"}
    async with client_of(make_app(api.context.engine, [], token=SERVER, limits=given)) as browser:
        assert (await browser.get("/sign-in/openid")).status_code == 503
        assert (await browser.post("/sign-in", data={"token": SERVER})).status_code == 303
        assert (await browser.get("/")).status_code == 200
    async with client_of(make_app(api.context.engine, [], token=SERVER)) as browser:
        assert (await browser.get("/sign-in/openid")).status_code == 404
