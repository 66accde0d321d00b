"""Which requests are refused before anything reads them: by the name they were sent to, the page they come from, the token."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import SecretStr, ValidationError
from starlette.types import Message, Receive, Scope, Send
from structlog.testing import capture_logs

from services.coordinator.api.access import LOG_EVERY_SECONDS, Access, AccessControl, RefusalLog
from services.coordinator.settings import CoordinatorSettings

OPEN = Access()
LOCKED = Access.of((), SecretStr("s3cret-ü"))


def request(method: str = "GET", path: str = "/api/v1/portfolios", root: str = "", **headers: str | list[str]) -> Scope:
    """The head of a request to 127.0.0.1:8000; a header of several values is sent several times."""
    given: dict[str, str | list[str]] = {"host": "127.0.0.1:8000", **headers}
    raw = [
        (name.replace("_", "-").encode(), value.encode())
        for name, values in given.items()
        for value in ([values] if isinstance(values, str) else values)
    ]
    return {
        "type": "http",
        "method": method,
        "path": path,
        "root_path": root,
        "headers": raw,
        "client": ("10.0.0.9", 5),
    }


def code(access: Access, scope: Scope) -> str | None:
    refusal = access.refusal(scope)
    return None if refusal is None else refusal.code


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "127.0.0.1:8000", "localhost:1", "LOCALHOST.", "[::1]", "[::1]:8000", "leadline.example.org:443"],
)
def test_a_name_of_this_server_passes_with_any_port(host: str) -> None:
    assert code(Access.of(("leadline.example.org",), None), request(host=host)) is None


@pytest.mark.parametrize(
    "host",
    [
        "evil.example", "evil.example:8000", "127.0.0.1.evil.example", "localhost.evil.example", "127.0.0.2", "::1", "",
        "localhost:8000@evil.example", "localhost, evil.example", "localhost:", "localhost/evil", ["localhost", "evil.example"], [],
        "sub.leadline.example.org", "leadline.example.org.evil.example",
    ],
)  # fmt: skip
def test_another_name_is_refused_whatever_it_looks_like(host: str | list[str]) -> None:
    refusal = Access.of(("leadline.example.org",), None).refusal(request(host=host))
    assert refusal is not None
    assert (refusal.status, refusal.code) == (421, "unknown_host")
    assert "LEADLINE_HOSTS" in str(refusal)


def test_a_star_is_every_name_and_probes_need_none() -> None:
    assert code(Access.of(("*",), None), request(host="evil.example")) is None
    for path in ("/livez", "/readyz", "/metrics"):
        assert code(OPEN, request(path=path, host="10.1.2.3:8000")) is None
        assert code(OPEN, request("POST", path, host="10.1.2.3:8000")) == "unknown_host"
    for path in ("/docs", "/openapi.json", "/asyncapi", "/livez/../api/v1/portfolios"):
        assert code(OPEN, request(path=path, host="10.1.2.3:8000")) == "unknown_host"


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "PROPFIND"])
@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": ""},
        {"origin": "http://127.0.0.1:3000", "sec_fetch_site": "same-site"},
        {"origin": "http://localhost:8000"},
        {"origin": "http://127.0.0.1:8000.evil.example"},
        {"origin": "http://127.0.0.1:8000/"},
        {"origin": "http://127.0.0.1"},
        {"origin": ["http://127.0.0.1:8000", "https://evil.example"]},
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "Cross-Site", "origin": "http://127.0.0.1:8000"},
        {"sec_fetch_site": "same-site"},
        {"sec_fetch_site": ["same-origin", "cross-site"]},
        {"sec_fetch_site": "same-origin", "origin": "https://evil.example"},
    ],
)
def test_a_change_that_another_sites_page_asks_for_is_refused(method: str, headers: dict[str, Any]) -> None:
    assert code(OPEN, request(method, **headers)) == "foreign_origin"
    assert code(OPEN, request("GET", **headers)) is None, "reads answer no page of another origin"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"sec_fetch_site": "none"},
        {"sec_fetch_site": "same-origin", "origin": "http://127.0.0.1:8000"},
        {"sec_fetch_site": "same-site", "origin": "http://127.0.0.1:8000"},
        {"origin": "https://leadline.example.org", "host": "leadline.example.org"},
        {"origin": "https://leadline.example.org", "host": "leadline.example.org:443"},
        {"origin": "http://[::1]:8000", "host": "[::1]:8000"},
    ],
)
def test_own_pages_and_programs_that_are_no_browsers_may_change(headers: dict[str, Any]) -> None:
    assert code(Access.of(("leadline.example.org",), None), request("POST", **headers)) is None


def test_the_token_is_wanted_once_under_api_and_nowhere_else() -> None:
    for given in ("Bearer s3cret-ü", "bearer  s3cret-ü "):
        assert code(LOCKED, request(authorization=given)) is None
    for wrong in (
        [],
        "",
        "Bearer",
        "Bearer ",
        "Bearer wrong",
        "Basic s3cret-ü",
        "s3cret-ü",
        ["Bearer s3cret-ü", "Bearer s3cret-ü"],
    ):
        assert code(LOCKED, request(authorization=wrong)) == "unauthorised", wrong
    for path, root in (
        ("/api/v1/x", ""),
        ("/api", ""),
        ("/leadline/api/v1/x", "/leadline"),
        ("/api/v1/x", "/leadline"),
        ("/api/v1/x", "/api"),
    ):
        assert code(LOCKED, request(path=path, root=root)) == "unauthorised"
    for path in ("/livez", "/docs", "/openapi.json", "/apiary"):
        assert code(LOCKED, request(path=path)) is None
    assert code(Access.of((), SecretStr("")), request()) is None


async def test_refusals_are_logged_a_line_in_ten_seconds_without_what_was_sent() -> None:
    now = [100.0]
    sent: list[Message] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise AssertionError("a refused request must not come through")

    async def receive() -> Message:
        assert sent[-1]["type"] == "http.response.body", "the answer comes before anything of the body is taken"
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    guarded = AccessControl(app, access=LOCKED, refusals=RefusalLog(clock=lambda: now[0]))
    with capture_logs() as lines:
        for _ in range(5):
            scope = request(path="/api/v1/\x1b[2Jrisk", authorization="Bearer guess-1")
            scope["query_string"] = b"token=guess-1"
            await guarded(scope, receive, send)
        await guarded(request(host="evil.example"), receive, send)
        now[0] += LOG_EVERY_SECONDS
        await guarded(request(), receive, send)
    assert [(line["code"], line["unlogged_before"]) for line in lines] == [
        ("unauthorised", 0), ("unknown_host", 0), ("unauthorised", 4),
    ]  # fmt: skip
    assert (lines[0]["client"], lines[0]["path"], lines[0]["status"]) == ("10.0.0.9", "/api/v1/[2Jrisk", 401)
    assert "guess-1" not in str(lines)
    start = sent[0]
    assert start["status"] == 401
    assert {(b"www-authenticate", b"Bearer"), (b"connection", b"close")} <= set(start["headers"])


def test_the_setting_takes_names_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEADLINE_HOSTS", " Leadline.example.org., [FD00::1],10.0.0.7 ,")
    assert CoordinatorSettings().hosts == ("leadline.example.org", "[fd00::1]", "10.0.0.7")
    monkeypatch.setenv("LEADLINE_HOSTS", "")
    assert CoordinatorSettings().hosts == ()
    for wrong in ("https://leadline.example.org", "leadline.example.org:8000", "*.example.org", "a b"):
        monkeypatch.setenv("LEADLINE_HOSTS", wrong)
        with pytest.raises(ValidationError, match="LEADLINE_HOSTS"):
            CoordinatorSettings()


def test_a_wrong_token_is_told_apart_from_none() -> None:
    wrong, none = LOCKED.refusal(request(authorization="Bearer other")), LOCKED.refusal(request())
    assert str(wrong).startswith("The token is not this server's")
    assert str(none).startswith("This server wants a bearer token")
