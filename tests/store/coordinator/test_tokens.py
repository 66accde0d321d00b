"""Tokens of the table: made, used, refused, revoked; every operation of the interface against every role."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx2
import pytest
import structlog
from fastapi import FastAPI
from structlog.testing import LogCapture

from services.coordinator.api import tokens as token_api
from services.coordinator.tokens.authenticator import reader_of
from services.coordinator.tokens.model import digest
from tests.store.coordinator.conftest import CSV, PREFIX, Api, make_app

SERVER = "the-token-of-the-server"
ROLES = ("reader", "editor", "operator")
TOKENS = f"{PREFIX}/admin/tokens"


def bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


def client_of(app: FastAPI) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://test")


@pytest.fixture
def app(api: Api) -> FastAPI:
    return make_app(api.context.engine, [], token=SERVER)


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx2.AsyncClient]:
    async with client_of(app) as made:
        yield made


async def create(client: httpx2.AsyncClient, role: str, name: str | None = None, **more: Any) -> dict[str, Any]:
    body = {"name": name or role, "role": role} | more
    answer = await client.post(TOKENS, json=body, headers=bearer(SERVER))
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


# Who may call, and what may hold secrets.
OPERATORS = tuple(f"{PREFIX}/admin/{of}" for of in ("tokens", "webhooks", "users", "invitations", "audit-log"))
# Of the whole installation.
INSTALLATION = (
    *(
        f"{PREFIX}/{of}"
        for of in ("admin/dead-letters", "admin/reconcile", "admin/tenants", "admin/audit", "admin/batch/run")
    ),
    *(f"{PREFIX}/{of}" for of in ("calendar/closures", "benchmarks", "symbols/quarantined")),
)
# They have a body and change nothing.
QUESTIONS = {("POST", f"{PREFIX}/portfolios/{{portfolio_id}}/what-if")}


async def test_every_operation_wants_a_token_and_every_change_the_role_for_it(
    app: FastAPI, client: httpx2.AsyncClient
) -> None:
    """Made from what is served, so that an operation cannot be added without a lock."""
    secrets = {role: (await create(client, role))["token"] for role in ROLES}
    operations = [
        (method.upper(), path)
        for path, methods in app.openapi()["paths"].items()
        if path.startswith("/api")
        for method in methods
    ]
    assert len(operations) > 40
    changes = 0
    for method, path in operations:
        # Of nothing that exists: what is let through finds nothing, or something wrong with what was sent.
        concrete = re.sub(r"\{[a-z_]*(day|date|session)\}", "2020-12-30", path)
        concrete = re.sub(r"\{[^}]*\}", str(uuid4()), concrete)
        said = (method, path)
        for headers in ({}, bearer("wrong")):
            answer = await client.request(method, concrete, headers=headers)
            assert answer.status_code == 401 or (headers and answer.status_code == 429), said
            assert answer.headers["content-type"] == "application/problem+json"
        changed, tokens = (method != "GET" and said not in QUESTIONS, path.startswith(OPERATORS))
        allowed = {
            "reader": not changed and not tokens,
            "editor": (not changed and not tokens) or path.startswith(f"{PREFIX}/portfolios"),
            "operator": True,
        }
        whole = path.startswith(INSTALLATION) and not path.startswith(f"{PREFIX}/admin/audit-log")
        changes += changed
        for role, may in allowed.items():
            if may and path.endswith(("/stream", "/audit")):
                continue
            answer = await client.request(method, concrete, headers=bearer(secrets[role]))
            if may and whole and role != "operator":
                assert (answer.status_code, answer.json()["code"]) == (403, "installation_only"), (said, role)
            elif may:
                assert answer.status_code not in (401, 403, 429), (said, role, answer.text)
            else:
                assert (answer.status_code, answer.json()["code"]) == (403, "role_too_small"), (said, role)
    assert changes > 15


async def test_a_reader_changes_nothing_an_editor_portfolios_and_an_operator_the_rest(
    api: Api, client: httpx2.AsyncClient
) -> None:
    secrets = {role: bearer((await create(client, role))["token"]) for role in ROLES}
    form: dict[str, Any] = {
        "data": {"name": "Test", "equity_balance": "100000"},
        "files": {"file": ("p.csv", CSV.encode(), "text/csv")},
    }
    refused = await client.post(f"{PREFIX}/portfolios/import", headers=secrets["reader"], **form)
    assert refused.status_code == 403
    assert "needs the role editor" in refused.json()["detail"]
    assert (await api.rows("SELECT count(*) FROM coordinator.portfolios"))[0][0] == 0
    made = await client.post(f"{PREFIX}/portfolios/import", headers=secrets["editor"], **form)
    assert made.status_code == 201
    portfolio = made.json()["id"]
    assert (await client.get(f"{PREFIX}/portfolios/{portfolio}", headers=secrets["reader"])).status_code == 200
    rerun = f"{PREFIX}/admin/batch/run?what=missing&portfolio_id={portfolio}"
    assert (await client.post(rerun, headers=secrets["editor"])).status_code == 403
    assert (await client.post(rerun, headers=secrets["operator"])).status_code == 202


async def test_a_token_is_told_once_and_only_its_digest_is_stored(
    api: Api, client: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    tomorrow = datetime.now(UTC).date() + timedelta(days=1)
    # A logger of its own: what other tests of this process have configured (a level, a cached logger) does not reach it.
    captured = LogCapture()
    own = structlog.wrap_logger(None, processors=[captured], wrapper_class=structlog.BoundLogger)
    monkeypatch.setattr(token_api, "log", own)
    made = await create(client, "reader", "night report", expires=tomorrow.isoformat())
    lines = captured.entries
    secret = made["token"]
    assert len(secret) > 40
    assert secret not in str(lines)
    [line] = [line for line in lines if line["event"] == "token_created"]
    assert (line["id"], line["role"], line["by"]) == (made["id"], "reader", "server")
    assert "night report" not in str(lines), "names are nothing for a log"
    [row] = await api.rows("SELECT * FROM coordinator.tokens")
    assert bytes(row.digest) == digest(secret.encode())
    assert secret not in str(row)
    # To the end of that day.
    assert row.expires_at == datetime.combine(tomorrow + timedelta(days=1), datetime.min.time(), UTC)
    listed = (await client.get(TOKENS, headers=bearer(SERVER))).json()["items"]
    assert secret not in str(listed)
    assert [(item["id"], item["name"], item["state"], item["last_used_at"]) for item in listed] == [
        (made["id"], "night report", "active", None)
    ]


async def test_what_cannot_be_a_token_is_refused(client: httpx2.AsyncClient) -> None:
    await create(client, "reader", "one")
    for body, status, code in (
        ({"name": "one", "role": "editor"}, 409, "name_taken"),
        ({"name": "two", "role": "king"}, 422, "invalid"),
        ({"name": "", "role": "reader"}, 422, "invalid"),
        ({"name": "a\x1b[2Jb", "role": "reader"}, 422, "invalid"),
        ({"name": "two", "role": "reader", "expires": "2020-01-02"}, 422, "invalid"),
        ({"name": "two", "role": "reader", "expires": "9999-12-31"}, 422, "invalid"),
    ):
        answer = await client.post(TOKENS, json=body, headers=bearer(SERVER))
        assert (answer.status_code, answer.json()["code"]) == (status, code), body
    assert (await client.delete(f"{TOKENS}/{uuid4()}", headers=bearer(SERVER))).status_code == 404


async def test_a_revoked_token_works_no_more_and_its_name_is_free(api: Api, client: httpx2.AsyncClient) -> None:
    made = await create(client, "operator", "leaked")
    head = bearer(made["token"])
    assert (await client.get(TOKENS, headers=head)).status_code == 200
    assert (await client.delete(f"{TOKENS}/{made['id']}", headers=head)).status_code == 204
    answer = await client.get(TOKENS, headers=head)
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthorised")
    assert (await client.delete(f"{TOKENS}/{made['id']}", headers=bearer(SERVER))).status_code == 404
    await create(client, "operator", "leaked")
    # When it was used is noted with the next look at the table.
    used = await api.rows("SELECT name, last_used_at IS NOT NULL FROM coordinator.tokens WHERE revoked_at IS NOT NULL")
    assert [tuple(row) for row in used] == [("leaked", True)]


async def test_only_a_server_that_writes_notes_when_a_token_was_used(api: Api, client: httpx2.AsyncClient) -> None:
    made = UUID((await create(client, "reader"))["id"])
    for notes in (False, True):
        known = await reader_of(api.context.engine, notes_use=notes)(frozenset({made}))
        assert made in {token.id for token in known.tokens.values()}
        used = await api.rows("SELECT last_used_at IS NOT NULL FROM coordinator.tokens")
        assert [tuple(row) for row in used] == [(notes,)]


async def test_a_replica_learns_of_a_revocation(api: Api, client: httpx2.AsyncClient) -> None:
    made = await create(client, "reader")
    other = make_app(api.context.engine, [], token=SERVER)
    async with client_of(other) as replica:
        assert (await replica.get(f"{PREFIX}/portfolios", headers=bearer(made["token"]))).status_code == 200
        await client.delete(f"{TOKENS}/{made['id']}", headers=bearer(SERVER))
        other.state.authenticator._read_at -= 2.0
        assert (await replica.get(f"{PREFIX}/portfolios", headers=bearer(made["token"]))).status_code == 401


async def test_the_first_token_ends_open_access_and_revoking_it_does_not_bring_it_back(api: Api) -> None:
    app = make_app(api.context.engine, [])
    async with client_of(app) as client:
        assert (await client.get(f"{PREFIX}/portfolios")).status_code == 200
        first = await client.post(TOKENS, json={"name": "mine", "role": "reader"})
        assert (first.status_code, first.json()["code"]) == (409, "operator_first")
        assert (await client.get(f"{PREFIX}/portfolios")).status_code == 200
        made = (await client.post(TOKENS, json={"name": "mine", "role": "operator"})).json()
        assert (await client.get(f"{PREFIX}/portfolios")).status_code == 401
        assert (await client.get("/ops")).status_code == 303
        assert (await client.get(f"{PREFIX}/portfolios", headers=bearer(made["token"]))).status_code == 200
        await client.delete(f"{TOKENS}/{made['id']}", headers=bearer(made["token"]))
        assert (await client.get(f"{PREFIX}/portfolios")).status_code == 401
    # LEADLINE_TOKEN still wins.
    async with client_of(make_app(api.context.engine, [], token=SERVER)) as client:
        assert (await client.get(TOKENS, headers=bearer(SERVER))).status_code == 200


async def test_pages_know_the_roles_too_and_a_session_ends_with_its_token(api: Api, client: httpx2.AsyncClient) -> None:
    made = await create(client, "reader")
    answer = await client.post("/sign-in", data={"token": made["token"]})
    assert answer.status_code == 303
    assert (await client.get("/")).status_code == 200
    whole = await client.get("/ops")
    assert (whole.status_code, "whole installation" in whole.text) == (403, True)
    refused = await client.post("/ops/reconcile")
    assert refused.status_code == 403
    assert "needs the role operator" in refused.text.replace("&#39;", "'")
    assert (await client.post("/import", data={"text": CSV, "name": "A", "equity_balance": "1"})).status_code == 403
    await client.delete(f"{TOKENS}/{made['id']}", headers=bearer(SERVER))
    assert (await client.get("/ops")).status_code == 303
    editor = await create(client, "editor")
    await client.post("/sign-in", data={"token": editor["token"]})
    assert (
        await client.post("/import", data={"text": CSV, "name": "A", "equity_balance": "100000"})
    ).status_code == 200
    assert (await client.post("/ops/reconcile")).status_code == 403
    wrong = await client.post("/sign-in", data={"token": made["token"]})
    assert wrong.status_code == 401


async def test_whoever_guesses_at_the_form_is_slowed_too(client: httpx2.AsyncClient) -> None:
    codes = [(await client.post("/sign-in", data={"token": f"guess-{n}"})).status_code for n in range(12)]
    assert codes == [401] * 10 + [429] * 2
    answer = await client.get(f"{PREFIX}/portfolios", headers=bearer("guess-12"))
    assert (answer.status_code, answer.json()["code"]) == (429, "too_many_guesses")
    assert 0 < int(answer.headers["retry-after"]) <= 12


async def test_every_answer_has_security_headers_and_no_cache_keeps_the_interfaces(api: Api) -> None:
    app = make_app(api.context.engine, [], token=SERVER)

    @app.get("/api/broken")
    async def broken() -> None:
        raise RuntimeError("a fault of ours")

    transport = httpx2.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx2.AsyncClient(transport=transport, base_url="http://test", headers=bearer(SERVER)) as client:
        answers = {
            "read": await client.get(f"{PREFIX}/portfolios"),
            "created": await client.post(TOKENS, json={"name": "x", "role": "reader"}),
            "refused at the door": await client.get(f"{PREFIX}/portfolios", headers=bearer("wrong")),
            "another host": await client.get(f"{PREFIX}/portfolios", headers={"Host": "evil.example"}),
            "not found": await client.get(f"{PREFIX}/portfolios/{uuid4()}"),
            "no such path": await client.get("/api/nothing"),
            "invalid": await client.post(TOKENS, json={}),
            "too large": await client.post(TOKENS, content=b"x" * 26_000_000),
            "our fault": await client.get("/api/broken"),
        }
        expected = (200, 201, 401, 421, 404, 404, 422, 413, 500)
        assert tuple(answer.status_code for answer in answers.values()) == expected
        for name, answer in answers.items():
            assert answer.headers["cache-control"] == "no-store", name
        # A page says more exactly what it may load; a file of ours, which has a digest in its address, may be kept.
        answers |= {
            "page": await client.get("/"),
            "sign-in": await client.get("/sign-in"),
            "file": await client.get("/static/leadline.css"),
            "reference": await client.get("/openapi.json"),
        }
        for name, answer in answers.items():
            assert answer.headers["x-content-type-options"] == "nosniff", name
            assert answer.headers["x-frame-options"] == "DENY", name
            assert answer.headers["referrer-policy"] in ("no-referrer", "same-origin"), name
            policies = answer.headers.get_list("content-security-policy")
            assert len(policies) == 1, name
            assert policies[0].startswith("default-src 'none'"), name
            assert "frame-ancestors 'none'" in policies[0], name
        assert answers["file"].headers.get("cache-control") != "no-store"
        schemes = answers["reference"].json()["components"]["securitySchemes"]
        assert [scheme["scheme"] for scheme in schemes.values()] == ["bearer"]
        for path, methods in answers["reference"].json()["paths"].items():
            for method, operation in methods.items():
                assert not path.startswith(PREFIX) or operation["security"], (method, path)
