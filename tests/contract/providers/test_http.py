"""The hardened client: addresses, proxies, bounds, Retry-After."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from services.ingest.model.market import ProviderErrorKind
from services.ingest.providers.errors import AddressRefused, ProviderDown, ProviderError, SchemaChanged
from services.ingest.providers.normalise import encode_path_segment, to_vendor
from services.ingest.providers.transport.address import environment_proxy, is_allowed_address, public_address
from services.ingest.providers.transport.gate import LocalRateLimiter
from services.ingest.providers.transport.http import Bounds, ProviderHttp, retry_at
from services.ingest.providers.transport.refusals import VendorErrorRules
from services.ingest.providers.yahoo.session import YahooSession
from tests.contract.providers.conftest import QUICK
from tests.support.vendors import Reply, VendorServer, serving

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
DIALECT = VendorErrorRules("vendor", "LEADLINE_VENDOR_API_KEY")


@contextmanager
def client(
    reply: Reply, *, allow_loopback: bool = True, bounds: Bounds = QUICK
) -> Iterator[tuple[ProviderHttp, VendorServer]]:
    with serving(lambda _call: reply) as server:
        http = ProviderHttp(
            DIALECT,
            server.url,
            {"X-Key": "secret"},
            LocalRateLimiter(),
            allow_loopback=allow_loopback,
            bounds=bounds,
            now=lambda: NOW,
        )
        yield http, server
        http.close()


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "::1", "10.0.0.5", "172.16.0.1", "192.168.1.1", "169.254.169.254", "fe80::1", "fe80::1%eth0", "fc00::1", "100.64.0.1",
        "0.0.0.0", "::", "224.0.0.1", "ff02::1", "255.255.255.255", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe",
        "fd00:ec2::254", "192.0.2.1", "240.0.0.1",
        "2002:7f00:1::", "2002:a9fe:a9fe::", "2002:a00:1::1", "::127.0.0.1", "::10.0.0.1", "::169.254.169.254",
        "64:ff9b:1::a9fe:a9fe", "64:ff9b:1::808:808", "2001:0:7f00:1::", "2001:0:808:808::f7f7:f7f7",
        "168.63.129.16", "::ffff:168.63.129.16", "192.0.0.8", "192.88.99.1", "fec0::1", "::ffff:0:127.0.0.1", "3fff::1", "5f00::1",
    ],
)  # fmt: skip
def test_addresses_that_are_not_public_are_refused(address: str) -> None:
    assert not is_allowed_address(address)


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "2606:4700::1111", "64:ff9b::808:808", "::ffff:8.8.8.8", "2002:808:808::"]
)
def test_public_addresses_are_allowed(address: str) -> None:
    assert is_allowed_address(address)


def test_loopback_needs_to_be_asked_for_and_opens_nothing_else() -> None:
    assert is_allowed_address("127.0.0.1", allow_loopback=True)
    assert not is_allowed_address("10.0.0.1", allow_loopback=True)
    assert not is_allowed_address("169.254.169.254", allow_loopback=True)


def _resolving_to(monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> list[str]:
    asked: list[str] = []
    left = list(answers)

    real = socket.getaddrinfo

    def lookup(host: str, port: int, *arguments: Any, **named: Any) -> Any:
        if host[0].isdigit():
            return real(host, port, *arguments, **named)  # an address: nothing to look up
        asked.append(host)
        found = left.pop(0) if len(left) > 1 else left[0]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in found]

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    return asked


def test_one_private_address_among_public_ones_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    _resolving_to(monkeypatch, ["8.8.8.8", "10.0.0.1"])
    with pytest.raises(AddressRefused, match=r"10\.0\.0\.1"):
        public_address("vendor", "api.vendor.example", 443)


def test_a_name_is_resolved_once_and_the_connection_goes_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second lookup could be answered otherwise (DNS rebinding): there is none."""
    with client(Reply(b'{"a": 1}')) as (http, server):
        http._base = f"http://api.vendor.example:{server.server_address[1]}"
        asked = _resolving_to(monkeypatch, ["127.0.0.1"], ["10.9.9.9"])
        assert http.get("/v1") == {"a": 1}
        assert asked.count("api.vendor.example") == 1
        assert server.calls[0].headers["host"].startswith("api.vendor.example:")


def test_without_leave_a_loopback_vendor_is_refused_before_any_call() -> None:
    with client(Reply(b"{}"), allow_loopback=False) as (http, server):
        with pytest.raises(AddressRefused):
            http.get("/v1")
        assert server.calls == []


def test_the_metadata_address_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    _resolving_to(monkeypatch, ["169.254.169.254"])
    http = ProviderHttp(DIALECT, "https://api.vendor.example", {}, LocalRateLimiter())
    with pytest.raises(AddressRefused, match="not a public address"):
        http.get("/v1")


def test_a_name_without_address_is_an_outage(monkeypatch: pytest.MonkeyPatch) -> None:
    def lookup(*_: Any, **__: Any) -> list[Any]:
        raise socket.gaierror("no such name")

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    with pytest.raises(ProviderDown) as raised:
        public_address("vendor", "api.vendor.example", 443)
    assert raised.value.fault is ProviderErrorKind.OUTAGE


def test_a_redirect_is_not_followed() -> None:
    with client(Reply(b"", 302, {"Location": "/elsewhere"})) as (http, server):
        with pytest.raises(SchemaChanged, match="redirect"):
            http.get("/v1")
        assert [call.path for call in server.calls] == ["/v1"]


def test_a_body_that_drips_ends_at_the_deadline() -> None:
    bounds = Bounds(read=0.5, deadline=0.4, attempts=1)
    with client(Reply(b"[" + b" " * 400 + b"]", drip=0.02), bounds=bounds) as (http, _server):
        started = time.monotonic()
        with pytest.raises(ProviderDown) as raised:
            http.get("/v1")
        assert raised.value.fault is ProviderErrorKind.TIMEOUT
        assert time.monotonic() - started < 4, "half of what the whole body takes"


def test_yahoos_session_ends_at_the_deadline_too() -> None:
    bounds = Bounds(read=0.4, deadline=0.4, attempts=1)
    with serving(lambda _call: Reply(b"{" + b" " * 400 + b"}", drip=0.02)) as server:
        session = YahooSession("yahoo", LocalRateLimiter(), endpoint=server.url, allow_loopback=True, bounds=bounds)
        with pytest.raises(ProviderDown) as raised:
            session.get("https://query2.finance.yahoo.com/v8/finance/chart/AAPL")
        assert raised.value.fault is ProviderErrorKind.TIMEOUT


@pytest.mark.parametrize(
    "url",
    [
        "http://query2.finance.yahoo.com/x",
        "https://yahoo.com.evil.example/x",
        "https://169.254.169.254/",
        "file:///etc/passwd",
    ],
)
def test_yahoos_session_calls_yahoo_only(url: str) -> None:
    session = YahooSession("yahoo", LocalRateLimiter())
    with pytest.raises(AddressRefused):
        session.get(url)


def test_yahoos_session_refuses_a_private_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    _resolving_to(monkeypatch, ["10.0.0.1"])
    session = YahooSession("yahoo", LocalRateLimiter())
    with pytest.raises(AddressRefused):
        session.get("https://query2.finance.yahoo.com/v8/finance/chart/AAPL")


class Closed:
    """A gate that lets nobody through, and remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[ProviderError] = []

    def acquire(self) -> None:
        raise ProviderDown("yahoo", "not asked", retry_at=datetime(2020, 9, 3, tzinfo=UTC))

    def record_success(self) -> None: ...

    def record_failure(self, error: ProviderError) -> None:
        self.told.append(error)


def test_yahoos_session_does_not_tell_the_gate_of_its_own_refusals() -> None:
    gate = Closed()
    with serving(lambda _call: Reply(b"{}")) as server:
        session = YahooSession("yahoo", gate, endpoint=server.url, allow_loopback=True)
        for _ in range(5):
            with pytest.raises(ProviderDown):
                session.get("https://query2.finance.yahoo.com/v8/finance/chart/AAPL")
        assert server.calls == []
    assert gate.told == []
    assert session.journal.last_fault is None
    assert str(session.fault()) == "yahoo: not asked", "whatever the library makes of it"


def test_yahoos_session_refuses_loopback_without_leave() -> None:
    with serving(lambda _call: Reply(b"{}")) as server:
        session = YahooSession("yahoo", LocalRateLimiter(), endpoint=server.url)
        with pytest.raises(AddressRefused):
            session.get("https://query2.finance.yahoo.com/v8/finance/chart/AAPL")
        assert server.calls == []


def test_no_message_holds_the_key() -> None:
    for status in (401, 402, 403, 404, 422, 429, 500):
        with client(Reply(b'{"error": "no"}', status)) as (http, _server):
            with pytest.raises(ProviderError) as raised:
                http.get("/v1", {"symbol": "AAPL"})
            assert "secret" not in str(raised.value)


def test_a_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(lambda _call: Reply(b'{"through": "proxy"}')) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        http = ProviderHttp(
            DIALECT, "http://api.vendor.example", {}, LocalRateLimiter(), allow_loopback=True, bounds=QUICK
        )
        assert http.get("/v1") == {"through": "proxy"}
        assert proxy.calls[0].headers["host"] == "api.vendor.example"


def test_yahoos_session_goes_through_the_proxy_too_and_leaves_the_name_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def proxy() -> None:
            connection, _ = server.accept()
            with connection:
                asked.append(connection.recv(4096).split(b"\r\n")[0])
                connection.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")

        answering = threading.Thread(target=proxy, daemon=True)
        answering.start()
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{server.getsockname()[1]}")
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        session = YahooSession("yahoo", LocalRateLimiter(), bounds=Bounds(read=5, deadline=5, attempts=1))
        with monkeypatch.context() as nobody_resolves:
            nobody_resolves.setattr("services.ingest.providers.yahoo.session.public_address", None)
            with pytest.raises(ProviderDown) as raised:
                session.get("https://query2.finance.yahoo.com/v8/finance/chart/AAPL")
        answering.join(5)
    assert asked == [b"CONNECT query2.finance.yahoo.com:443 HTTP/1.1"]
    assert raised.value.fault is ProviderErrorKind.OUTAGE


def test_no_proxy_is_honoured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://proxy.example:3128")
    monkeypatch.setenv("no_proxy", "vendor.example")
    assert environment_proxy("https", "api.vendor.example") is None
    assert environment_proxy("https", "api.other.example") == "http://proxy.example:3128"


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("30", 30), ("0", 1),
        ("-5", 1), ("1.5", 1.5), ("999999999", 86400), ("inf", 86400), ("nan", 60), ("soon", 60), ("", 60), (None, 60),
        ("Sat, 21 Nov 2026 12:02:00 GMT", 120), ("Sat, 21 Nov 2020 12:02:00 GMT", 1), ("Sat, 21 Nov 2099 12:02:00 GMT", 86400),
    ],
)  # fmt: skip
def test_retry_after_in_all_its_forms(header: str | None, seconds: float) -> None:
    assert retry_at(header, NOW) == NOW + timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("symbol", "dash", "dot"),
    [
        ("BRK.B", "BRK-B", "BRK.B"), ("brk/b", "BRK-B", "BRK.B"), ("AAPL", "AAPL", "AAPL"), ("^GSPC", "^GSPC", "^GSPC"),
        ("BTC-USD", "BTC-USD", "BTC-USD"),
        ("EQIX", "EQIX", "EQIX"), ("FO_X", None, None), ("EQ5D6A2D8F", None, None), ("a b c", None, None),
    ],
)  # fmt: skip
def test_spelling(symbol: str, dash: str | None, dot: str | None) -> None:
    assert (to_vendor(symbol, "-"), to_vendor(symbol, ".")) == (dash, dot)


def test_encoding_leaves_no_way_out_of_the_path() -> None:
    assert encode_path_segment("^A/../B?x=1#y") == "%5EA%2F..%2FB%3Fx%3D1%23y"


@pytest.mark.parametrize(
    ("base", "proxy", "read"),
    [
        ("https://api.vendor.example", "", True),
        ("http://127.0.0.1:9", "", False),
        # What is said to a proxy may be encrypted whatever is asked for through it.
        ("http://api.vendor.example", "https://proxy.example:3128", True),
    ],
)
def test_certificates_are_verified_wherever_something_is_encrypted(
    monkeypatch: pytest.MonkeyPatch, base: str, proxy: str, read: bool
) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    if proxy:
        monkeypatch.setenv("http_proxy", proxy)
    http = ProviderHttp(DIALECT, base, {}, LocalRateLimiter(), allow_loopback=True)
    found = http._certificates()
    http.close()
    assert isinstance(found, ssl.SSLContext) == read
    if isinstance(found, ssl.SSLContext):
        assert (found.verify_mode, found.check_hostname) == (ssl.CERT_REQUIRED, True)
