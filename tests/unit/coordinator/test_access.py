"""Which requests are refused before anything reads them: by the name they were sent to, the page they come from, the token."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from pydantic import ValidationError
from starlette.types import Message, Receive, Scope, Send
from structlog.testing import capture_logs

from services.coordinator.api.access import LOG_EVERY_SECONDS, AccessControl, RefusalLog
from services.coordinator.api.access_rules import Access
from services.coordinator.api.login import Login
from services.coordinator.errors import Refused, Unavailable
from services.coordinator.settings import CoordinatorSettings
from services.coordinator.tokens import brake, rate
from services.coordinator.tokens.authenticator import MOST_STALE_SECONDS, REFRESH_SECONDS, Authenticator, Known
from services.coordinator.tokens.brake import Brake
from services.coordinator.tokens.model import Role, Token, digest
from services.coordinator.tokens.rate import RateLimit
from shared.db.tenancy import HOUSE

OPEN = Access()


async def no_tokens(_: frozenset[UUID]) -> Known:
    return Known()


LOCKED = Authenticator("s3cret-ü", no_tokens)


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


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "TRACE"])
def test_a_server_that_only_reads_refuses_changes(method: str) -> None:
    reads = Access.of((), reads=True)
    for path in ("/api/v1/portfolios", "/p/new", "/sign-in/more", "/ops/reconcile"):
        assert code(reads, request(method, path)) == "read_only"
        assert code(OPEN, request(method, path)) is None
    assert code(reads, request("POST", "/api/v1/portfolios/x/what-if")) is None, "a question with a body"
    assert code(reads, request(method, "/x/sign-in", root="/x")) is None, "signing in changes nothing"


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_a_server_that_only_reads_answers_reads(method: str) -> None:
    assert code(Access.of((), reads=True), request(method)) is None


def test_a_question_with_a_body_is_a_read() -> None:
    assert code(Access.of((), reads=True), request("POST", "/api/v1/portfolios/x/what-if")) is None


async def login(scope: Scope, authenticator: Authenticator = LOCKED, access: Access = OPEN) -> str | None:
    """The code of the refusal, or the role of whoever is let in; None where nobody is asked."""
    try:
        identity = await Login(access, authenticator).admit(scope)
    except Refused as refusal:
        return refusal.code
    return None if identity is None else identity.role.value


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "127.0.0.1:8000", "localhost:1", "LOCALHOST.", "[::1]", "[::1]:8000", "leadline.example.org:443"],
)
def test_a_name_of_this_server_passes_with_any_port(host: str) -> None:
    assert code(Access.of(("leadline.example.org",)), request(host=host)) is None


@pytest.mark.parametrize(
    "host",
    [
        "evil.example", "evil.example:8000", "127.0.0.1.evil.example", "localhost.evil.example", "127.0.0.2", "::1", "",
        "localhost:8000@evil.example", "localhost, evil.example", "localhost:", "localhost/evil", ["localhost", "evil.example"], [],
        "sub.leadline.example.org", "leadline.example.org.evil.example",
    ],
)  # fmt: skip
def test_another_name_is_refused_whatever_it_looks_like(host: str | list[str]) -> None:
    refusal = Access.of(("leadline.example.org",)).refusal(request(host=host))
    assert refusal is not None
    assert (refusal.status, refusal.code) == (421, "unknown_host")
    assert "LEADLINE_HOSTS" in str(refusal)


def test_a_star_is_every_name_and_probes_need_none() -> None:
    assert code(Access.of(("*",)), request(host="evil.example")) is None
    for path in ("/livez", "/readyz", "/metrics"):
        assert code(OPEN, request(path=path, host="10.1.2.3:8000")) is None
        assert code(OPEN, request("POST", path, host="10.1.2.3:8000")) == "unknown_host"
    for path in ("/livez", "/readyz"):
        assert code(OPEN, request(path=path, host="evil.example")) is None
    for path in ("/docs", "/openapi.json", "/asyncapi", "/livez/../api/v1/portfolios"):
        assert code(OPEN, request(path=path, host="10.1.2.3:8000")) == "unknown_host"


@pytest.mark.parametrize(
    "host", ["coordinator:8000", "leadline-coordinator", "[fd00::7]:8000", "127.0.0.2", "localhost."]
)
def test_metrics_are_scraped_by_an_address_or_by_the_name_of_a_container(host: str) -> None:
    assert code(OPEN, request(path="/metrics", host=host)) is None
    assert code(OPEN, request("HEAD", "/metrics", host=host)) is None


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "coordinator.evil.example.", "évil", "", []]
)
def test_no_name_that_a_stranger_can_own_reads_the_metrics(host: str | list[str]) -> None:
    """A page whose owner lets its name point here would be of the same origin: what is measured is the operator's."""
    assert code(OPEN, request(path="/metrics", host=host)) == "unknown_host"
    assert code(Access.of(("*",)), request(path="/metrics", host=host)) is None


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
    assert code(Access.of(("leadline.example.org",)), request("POST", **headers)) is None


async def test_the_token_is_wanted_once_under_api_and_nowhere_else() -> None:
    for given in ("Bearer s3cret-ü", "bearer  s3cret-ü "):
        assert await login(request(authorization=given)) == "operator"
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
        assert await login(request(authorization=wrong)) == "unauthorised", wrong
    for path, root in (
        ("/api/v1/x", ""),
        ("/api", ""),
        ("/leadline/api/v1/x", "/leadline"),
        ("/api/v1/x", "/leadline"),
        ("/api/v1/x", "/api"),
    ):
        assert await login(request(path=path, root=root)) == "unauthorised"
    for path in ("/livez", "/docs", "/openapi.json", "/apiary"):
        assert await login(request(path=path)) is None
    assert await login(request(), Authenticator("", no_tokens)) == "operator"


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

    guarded = AccessControl(app, access=OPEN, authenticator=LOCKED, refusals=RefusalLog(clock=lambda: now[0]))
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
    assert (lines[0]["client"], lines[0]["path"], lines[0]["status"]) == ("10.0.0.9", "unknown", 401)
    assert "guess-1" not in str(lines)
    start = sent[0]
    assert start["status"] == 401
    assert {(b"www-authenticate", b"Bearer"), (b"connection", b"close")} <= set(start["headers"])


@pytest.mark.parametrize("given", [None, "", " \n"])
def test_a_provider_without_the_clients_secret_is_refused_at_the_start(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, given: str | None
) -> None:
    """An empty file is what a container finds where nobody mounted one."""
    monkeypatch.setenv("LEADLINE_OIDC_ISSUER", "https://login.example.org")
    place = tmp_path / "secret"
    if given is not None:
        place.write_text(given)
        monkeypatch.setenv("LEADLINE_OIDC_CLIENT_SECRET_FILE", str(place))
    with pytest.raises(ValueError, match="LEADLINE_OIDC_CLIENT_SECRET_FILE"):
        CoordinatorSettings()
    place.write_text("the-clients-own-secret\n")
    monkeypatch.setenv("LEADLINE_OIDC_CLIENT_SECRET_FILE", str(place))
    assert CoordinatorSettings().oidc_issuer == "https://login.example.org"


def test_the_setting_takes_names_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEADLINE_HOSTS", " Leadline.example.org., [FD00::1],10.0.0.7 ,")
    assert CoordinatorSettings().hosts == ("leadline.example.org", "[fd00::1]", "10.0.0.7")
    monkeypatch.setenv("LEADLINE_HOSTS", "")
    assert CoordinatorSettings().hosts == ()
    for wrong in ("https://leadline.example.org", "leadline.example.org:8000", "*.example.org", "a b"):
        monkeypatch.setenv("LEADLINE_HOSTS", wrong)
        with pytest.raises(ValidationError, match="LEADLINE_HOSTS"):
            CoordinatorSettings()


def test_a_token_of_the_server_is_long_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEADLINE_TOKEN", "fifteen-letters")
    with pytest.raises(ValidationError, match="LEADLINE_TOKEN must have at least 16 characters") as said:
        CoordinatorSettings()
    assert "token_urlsafe(32)" in str(said.value)
    assert "fifteen-letters" not in str(said.value)
    monkeypatch.setenv("LEADLINE_TOKEN", "sixteen-letters!")
    assert CoordinatorSettings().token is not None
    monkeypatch.setenv("LEADLINE_TOKEN", "")
    assert CoordinatorSettings().token is None


class Table:
    """A table of tokens, a clock that stands, and a database that may be away."""

    def __init__(self) -> None:
        self.now, self.reads, self.away = 100.0, 0, False
        self.tokens: dict[bytes, Token] = {}
        self.closed = True
        self.brake = Brake(clock=lambda: self.now)
        self.authenticator = Authenticator(None, self.read, brake=self.brake, clock=lambda: self.now)

    async def read(self, _: frozenset[UUID]) -> Known:
        self.reads += 1
        if self.away:
            raise ConnectionRefusedError("away")
        return Known(dict(self.tokens), self.closed)

    def add(self, secret: str, role: Role, expires: datetime | None = None, tenant: UUID = HOUSE) -> None:
        token = Token(uuid4(), secret, role, datetime.now(UTC), expires, None, None, tenant)
        self.tokens[digest(secret.encode())] = token

    async def login(
        self, secret: str | None, method: str = "GET", path: str = "/api/v1/portfolios", **more: Any
    ) -> str | None:
        headers = {} if secret is None else {"authorization": f"Bearer {secret}"}
        return await login({**request(method, path, **headers), **more}, self.authenticator)


async def test_a_revoked_token_works_for_five_seconds_at_most_and_an_expired_one_not_at_all() -> None:
    table = Table()
    table.add("one", Role.READER)
    table.add("old", Role.READER, datetime.now(UTC) - timedelta(seconds=1))
    assert await table.login("one") == "reader"
    assert await table.login("old") == "unauthorised"
    table.tokens.clear()
    table.now += REFRESH_SECONDS - 0.1
    assert await table.login("one") == "reader"
    assert table.reads == 1, "the table is not read at every call"
    table.now += 0.2
    assert await table.login("one") == "unauthorised"
    # Nor where the database is away: what was known is believed for a moment, then nobody is let in.
    table.add("two", Role.READER)
    table.authenticator.forget()
    assert await table.login("two") == "reader"
    table.away = True
    table.now += MOST_STALE_SECONDS - 0.1
    assert await table.login("two") == "reader"
    table.now += 0.2
    assert await table.login("two") == "database_unavailable"
    assert await table.login(None) == "database_unavailable", "it is not known that no token is needed"
    with pytest.raises(Unavailable):
        await table.authenticator.requires_token()


async def test_where_there_was_never_a_token_none_is_needed_on_the_loopback_and_nobody_is_answered_beyond_it() -> None:
    table = Table()
    table.closed = False
    assert await table.login(None, "POST") == "operator"
    assert await table.login("whatever") == "operator"
    for server in (("127.0.0.1", 8000), ("::1", 8000), ("/run/leadline.sock", None), ("test", None)):
        assert await table.login(None, server=server) == "operator"
    for path in ("/api/v1/portfolios", "/", "/static/leadline.css", "/docs"):
        assert await table.login(None, path=path, server=("10.0.0.1", 8000)) == "unauthorised"
    assert await table.login(None, path="/readyz", server=("10.0.0.1", 8000)) is None
    scope = {**request(), "server": ("10.0.0.1", 8000)}
    assert await login(scope, table.authenticator, Access.of((), alone=False)) == "operator"
    assert await login(scope) == "unauthorised"


async def test_the_reference_and_the_metrics_can_be_closed() -> None:
    for path in ("/docs", "/openapi.json", "/asyncapi", "/metrics"):
        assert await login(request(path=path)) is None
        closed = Access.of((), open_docs=False, open_metrics=False)
        assert await login(request(path=path), access=closed) == "unauthorised"
        assert await login(request(path=path, authorization="Bearer s3cret-ü"), access=closed) == "operator"
    for path in ("/livez", "/readyz"):
        assert await login(request(path=path), access=closed) is None


async def test_guesses_are_slowed_and_those_who_are_in_go_on() -> None:
    table = Table()
    table.add("right", Role.READER)
    table.add("other", Role.READER)
    assert await table.login("right") == "reader"
    for guess in range(brake.BURST):
        assert await table.login(f"guess-{guess}") == "unauthorised"
    # Not even a right one is looked at, or a guess could be told from it; what was right from here before goes on.
    assert await table.login("guess-x") == "too_many_guesses"
    assert await table.login("other") == "too_many_guesses"
    assert await table.login("right") == "reader"
    assert await table.login(None) == "unauthorised", "no token is no guess"
    assert await table.login("other", client=("10.0.0.10", 1)) == "reader"
    table.now += brake.SECONDS_PER_GUESS
    assert await table.login("other") == "reader"


def test_the_brake_remembers_a_bounded_number_and_takes_an_ipv6_network_for_one() -> None:
    held = Brake(clock=lambda: 0.0)
    for number in range(brake.MOST + 100):
        held.note_wrong(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", b"x")
        held.note_right(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", b"x")
    assert (len(held._debts), len(held._right)) == (brake.MOST, brake.MOST)
    for number in range(brake.BURST):
        held.note_wrong(f"2001:db8::{number:x}", b"x")
    assert held.seconds_to_wait("2001:db8::ffff", b"y") > 0
    assert held.seconds_to_wait("2001:db8:0:1::1", b"y") == 0


@pytest.mark.parametrize(
    ("method", "path", "root", "smallest"),
    [
        ("GET", "/api/v1/portfolios", "", "reader"),
        ("HEAD", "/api/v1/providers", "", "reader"),
        ("GET", "/api/v1/admin/users", "", "operator"),
        ("POST", "/api/v1/portfolios/import", "", "editor"),
        ("DELETE", "/api/v1/portfolios/x", "", "editor"),
        ("DELETE", "/leadline/api/v1/portfolios/x", "/leadline", "editor"),
        ("POST", "/api/v1/portfoliosx", "", "operator"),
        ("POST", "/api/v1/admin/reconcile", "", "operator"),
        ("PUT", "/api/v1/calendar/closures/2020-01-02", "", "operator"),
        ("PROPFIND", "/api/v1/symbols/X", "", "operator"),
        ("GET", "/api/v1/admin/tokens", "", "operator"),
        ("GET", "/leadline/api/v1/admin/tokens", "/leadline", "operator"),
    ],
)
async def test_each_call_has_a_smallest_role(method: str, path: str, root: str, smallest: str) -> None:
    table = Table()
    for role in Role:
        table.add(role.value, role)
    for role in Role:
        expected = role.value if role.includes(Role(smallest)) else "role_too_small"
        assert await table.login(role.value, method, path, root_path=root) == expected


@pytest.mark.parametrize(
    ("method", "path", "query"),
    [
        ("GET", "/api/v1/admin/dead-letters", b""),
        ("GET", "/api/v1/admin/tenants", b""),
        ("GET", "/api/v1/calendar/closures", b""),
        ("PUT", "/api/v1/calendar/closures/2020-01-02", b""),
        ("GET", "/api/v1/benchmarks", b""),
        ("POST", "/api/v1/symbols/X/resolve", b""),
        ("GET", "/api/v1/symbols/quarantined", b""),
        ("POST", "/api/v1/admin/batch/run", b"what=all"),
        ("POST", "/api/v1/admin/batch/run", b"what=portfolio_id"),
        ("GET", "/api/v1/admin/audit", b""),
    ],
)
async def test_what_concerns_the_whole_installation_is_its_operators_alone(
    method: str, path: str, query: bytes
) -> None:
    """An operator of another tenant than the first is none of the installation, whatever the path is written like."""
    table = Table()
    table.add("own", Role.OPERATOR, tenant=uuid4())
    table.add("house", Role.OPERATOR)
    for shape in (path, path.replace("/api", "/leadline/api", 1)):
        root = "" if shape == path else "/leadline"
        assert await table.login("own", method, shape, root_path=root, query_string=query) == "installation_only", shape
        assert await table.login("house", method, shape, root_path=root, query_string=query) == "operator", shape
    if b"what=all" in query:
        assert await table.login("own", method, path, query_string=query + b"&portfolio_id=x") == "operator"


async def test_who_asks_too_often_waits_and_nobody_else_does() -> None:
    """By token, whatever the address; without one by address. Probes are not counted, and what is refused costs nothing."""
    now = [1_000.0]
    passed: list[str] = []

    async def served(scope: Scope, receive: Receive, send: Send) -> None:
        passed.append(scope["path"])

    control = AccessControl(served, access=OPEN, authenticator=LOCKED, rate=RateLimit(2.0, clock=lambda: now[0]))

    async def ask(path: str = "/api/v1/portfolios", address: str = "10.0.0.9") -> Message | None:
        answers: list[Message] = []

        async def receive() -> Message:
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            answers.append(message)

        await control({**request(path=path, authorization="Bearer s3cret-ü"), "client": (address, 5)}, receive, send)
        return answers[0] if answers else None

    for _ in range(20):
        assert await ask() is None
    refused = await ask()
    assert refused is not None
    assert refused["status"] == 429
    assert dict(refused["headers"])[b"retry-after"] == b"1"
    assert await ask("/livez") is None
    assert await ask(address="10.0.0.10") is None, "the server's own token is known by address"
    now[0] += 1.0
    assert [await ask() is None for _ in range(3)] == [True, True, False]
    now[0] += 3_600.0
    assert [await ask() is None for _ in range(21)] == [True] * 20 + [False]


def test_the_limit_remembers_a_bounded_number_of_callers_and_can_be_off() -> None:
    limit = RateLimit(1.0, clock=lambda: 0.0)
    for number in range(rate.MOST + 10):
        limit.seconds_to_wait(str(number))
    assert len(limit._used) == rate.MOST
    assert {RateLimit(0.0).seconds_to_wait("a") for _ in range(10_000)} == {0.0}


async def test_the_span_of_a_request_says_whose_it_is_by_ids() -> None:
    async def served(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(_: Message) -> None:
        pass

    asked = request(authorization="Bearer s3cret-ü")
    with TracerProvider().get_tracer("test").start_as_current_span("GET") as span:
        await AccessControl(served, access=OPEN, authenticator=LOCKED)(asked, receive, send)
    assert isinstance(span, ReadableSpan)
    assert dict(span.attributes or {}) == {"tenant": str(HOUSE)}, "the server's own token is of no account"
