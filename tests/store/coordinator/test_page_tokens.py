"""Tokens in the page's settings: listed for operators, made with a secret that is shown once, revoked."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from uuid import uuid4

import httpx2
import pytest

from tests.store.coordinator.conftest import PREFIX, Api, make_app
from tests.store.coordinator.test_reads import complete_with_results
from tests.store.coordinator.two_tenants import concrete, page_routes_of

SERVER = "the-token-of-the-server"


@pytest.fixture
async def browser(api: Api) -> AsyncIterator[httpx2.AsyncClient]:
    """Signed in with the server's own token."""
    app = make_app(api.context.engine, [], token=SERVER)
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://test") as made:
        assert (await made.post("/sign-in", data={"token": SERVER})).status_code == 303
        yield made


async def create(browser: httpx2.AsyncClient, **form: str) -> str:
    answer = await browser.post("/settings/tokens", data={"name": "night report", "role": "reader"} | form)
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    [secret] = re.findall(r"<code>(leadline_[^<]+)</code>", answer.text)
    return str(secret)


async def test_a_secret_is_shown_once_and_works_until_it_is_revoked(api: Api, browser: httpx2.AsyncClient) -> None:
    secret = await create(browser, expires="2099-12-31")
    head = {"Authorization": f"Bearer {secret}"}
    assert (await browser.get(f"{PREFIX}/portfolios", headers=head)).status_code == 200
    page = (await browser.get("/settings")).text
    assert secret not in page
    for said in ("night report", "in force", "never", "1 Jan 2100, 00:00 UTC", "Sign out of this browser"):
        assert said in page, said
    [token] = re.findall(r"/settings/tokens/([0-9a-f-]{36})/revoke", page)
    answer = await browser.post(f"/settings/tokens/{token}/revoke")
    assert (answer.status_code, answer.headers["location"].partition("?")[0]) == (303, "/settings")
    assert (await browser.get(f"{PREFIX}/portfolios", headers=head)).status_code == 401
    page = (await browser.get("/settings")).text
    assert "revoked " in page
    assert f"/settings/tokens/{token}/revoke" not in page
    assert (await browser.post(f"/settings/tokens/{token}/revoke")).status_code == 404


async def test_others_than_operators_neither_see_nor_make_tokens(api: Api, browser: httpx2.AsyncClient) -> None:
    for role in ("reader", "editor"):
        head = {"Authorization": f"Bearer {await create(browser, name=role, role=role)}"}
        page = await browser.get("/settings", headers=head)
        assert page.status_code == 200
        assert "Only an operator sees the tokens" in page.text
        assert "/settings/tokens" not in page.text
        form = {"name": "mine", "role": "operator"}
        assert (await browser.post("/settings/tokens", data=form, headers=head)).status_code == 403
    assert [row[0] for row in await api.rows("SELECT name FROM coordinator.tokens ORDER BY name")] == [
        "editor",
        "reader",
    ]


async def test_what_cannot_be_a_token_is_refused_with_what_to_do(browser: httpx2.AsyncClient) -> None:
    await create(browser, name="one")
    for form, status, said in (
        ({"name": "one", "role": "reader"}, 409, "Choose another name"),
        ({"name": " ", "role": "reader"}, 422, "needs a name"),
        ({"name": "a\x1b[2Jb", "role": "reader"}, 422, "Remove it"),
        ({"name": "two", "role": "king"}, 422, "role"),
        ({"name": "two", "role": "reader", "expires": "2020-01-02"}, 422, "cannot expire on 2020-01-02"),
    ):
        answer = await browser.post("/settings/tokens", data=form)
        assert (answer.status_code, said in answer.text) == (status, True), form


async def test_the_first_token_of_an_open_server_is_an_operators(api: Api) -> None:
    page = (await api.client.get("/settings")).text
    assert "From the first token on every call needs one" in page
    refused = await api.client.post("/settings/tokens", data={"name": "mine", "role": "reader"})
    assert refused.status_code == 409
    secret = await create(api.client, name="mine", role="operator")
    assert (await api.client.get("/settings")).status_code == 303
    signed = await api.client.post("/sign-in", data={"token": secret})
    assert signed.status_code == 303
    assert "mine" in (await api.client.get("/settings")).text


async def test_every_page_wants_its_reader_signed_in_and_every_form_the_role_for_it(
    api: Api, browser: httpx2.AsyncClient
) -> None:
    """Made from what is served, so that a page cannot be added without a lock."""
    reader = await create(browser)
    app = make_app(api.context.engine, [], token=SERVER)
    entrances = ("/sign-in", "/sign-out", "/invitation", "/docs")
    # What is one's own to do: in which tenant one reads, and when one leaves.
    own = {"/settings/sign-out-everywhere", "/settings/tenant"}
    ids = re.compile(r"\{[^}]*\}")
    routes = [
        (method, route.path)
        for route in page_routes_of()
        for method in sorted(route.methods or ())
        if not route.path.startswith(entrances)
    ]
    assert {path for method, path in routes if method == "POST"} > own
    assert len(routes) > 45
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://test") as nobody:
        for method, path in routes:
            answer = await nobody.request(method, ids.sub(str(uuid4()), path))
            turned_away = answer.headers.get("location", "").startswith("/sign-in") or answer.status_code == 401
            assert turned_away, (method, path, answer.status_code)
        assert (await nobody.post("/sign-in", data={"token": reader})).status_code == 303
        for method, path in routes:
            if method != "GET" and path not in own:
                answer = await nobody.request(method, ids.sub(str(uuid4()), path))
                assert (answer.status_code, "needs the role" in answer.text) == (403, True), (method, path)


async def test_who_is_alone_on_an_installation_reads_of_no_tenant(api: Api) -> None:
    identity = await complete_with_results(api)
    read = 0
    for route in page_routes_of():
        if "GET" not in (route.methods or ()) or route.path.startswith(("/sign", "/invitation", "/docs")):
            continue
        if route.path.endswith("/live"):
            continue
        answer = await api.client.get(concrete(route.path, {"portfolio_id": identity}))
        words = re.sub(r"<(script|style)\b.*?</\1>|<[^>]*>", " ", answer.text, flags=re.DOTALL)
        assert not re.search("tenant|house", words, re.IGNORECASE), route.path
        read += answer.status_code == 200
    assert read > 15
