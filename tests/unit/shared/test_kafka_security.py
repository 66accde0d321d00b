"""Settings of secured brokers: what fits together is handed to every client alike, what does not is refused by name."""

from __future__ import annotations

import asyncio
import http.server
import json
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from faststream.kafka.security import parse_security
from pydantic import ValidationError

from shared.errors import ConfigurationError, TransientError
from shared.messaging.security import broker_options, client_options, tls_context
from shared.settings import ServiceSettings, is_secret, read_secret
from tests.support import certificates
from tests.support.certificates import Authority

SCRAM = {
    "kafka_security_protocol": "SASL_SSL",
    "kafka_sasl_mechanism": "SCRAM-SHA-512",
    "kafka_username": "leadline_risk",
    "kafka_password": "secret",
}
OAUTH = {
    "kafka_security_protocol": "SASL_PLAINTEXT",
    "kafka_sasl_mechanism": "OAUTHBEARER",
    "kafka_oauth_client_id": "leadline",
    "kafka_oauth_client_secret": "secret",
}


def settings(**values: Any) -> ServiceSettings:
    return ServiceSettings(**values)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    if (reason := certificates.missing()) is not None:
        pytest.skip(reason)
    return Authority.create(tmp_path_factory.mktemp("authority"))


def test_without_security_nothing_but_the_address_and_the_protocol_is_said() -> None:
    assert client_options(settings(kafka="a:1, b:2")) == {
        "bootstrap_servers": ["a:1", "b:2"],
        "security_protocol": "PLAINTEXT",
    }
    assert broker_options(settings()) == {}


@pytest.mark.parametrize("protocol", ["SASL_SSL", "SASL_PLAINTEXT"])
@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
def test_the_framework_is_told_what_the_library_is_told(protocol: str, mechanism: str) -> None:
    chosen = settings(**SCRAM | {"kafka_security_protocol": protocol, "kafka_sasl_mechanism": mechanism})
    ours = client_options(chosen)
    ours.pop("bootstrap_servers")
    theirs = parse_security(broker_options(chosen)["security"])
    assert {name: value for name, value in theirs.items() if value is not None} == ours


def test_names_are_read_in_any_case(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SCRAM.items():
        monkeypatch.setenv(f"LEADLINE_{name.upper()}", value.lower())
    assert client_options(settings())["sasl_mechanism"] == "SCRAM-SHA-512"


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"kafka_username": "x"}, "LEADLINE_KAFKA_USERNAME need LEADLINE_KAFKA_SECURITY_PROTOCOL=SASL_SSL"),
        ({"kafka_security_protocol": "SASL_SSL"}, "LEADLINE_KAFKA_SASL_MECHANISM is missing"),
        (SCRAM | {"kafka_password": None}, "SCRAM-SHA-512 needs LEADLINE_KAFKA_PASSWORD"),
        ({"kafka_ssl_ca": "ca.pem"}, "LEADLINE_KAFKA_SSL_CA need LEADLINE_KAFKA_SECURITY_PROTOCOL=SSL or SASL_SSL"),
        (
            {"kafka_security_protocol": "SSL", "kafka_ssl_key": "k"},
            "LEADLINE_KAFKA_SSL_KEY need LEADLINE_KAFKA_SSL_CERT",
        ),
        (OAUTH, "OAUTHBEARER needs LEADLINE_KAFKA_OAUTH_TOKEN_URL, or LEADLINE_KAFKA_OAUTH_TOKEN_PATH"),
        (OAUTH | {"kafka_oauth_token_path": "t"}, "keep one way to a token"),
        (OAUTH | {"kafka_oauth_token_url": "u", "kafka_username": "x"}, "are for PLAIN and SCRAM"),
        (
            SCRAM | {"kafka_oauth_scope": "x"},
            "LEADLINE_KAFKA_OAUTH_SCOPE need LEADLINE_KAFKA_SASL_MECHANISM=OAUTHBEARER",
        ),
        ({"kafka_security_protocol": "TLS"}, "kafka_security_protocol"),
    ],
)
def test_what_does_not_fit_together_is_refused_by_name(values: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError) as refused:
        settings(**values)
    assert said in str(refused.value)


def test_a_refused_password_is_not_shown() -> None:
    with pytest.raises(ValidationError) as refused:
        settings(kafka_password="open sesame")
    assert "sesame" not in str(refused.value)


def test_our_own_authority_stands_instead_of_the_systems(authority: Authority) -> None:
    context = tls_context(settings(kafka_security_protocol="SSL", kafka_ssl_ca=authority.certificate))
    assert [dict(part[0] for part in one["subject"]) for one in context.get_ca_certs()] == [  # type: ignore[misc]
        {"commonName": "Leadline test authority"}
    ]
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)


def test_a_renewed_certificate_is_read_again(authority: Authority) -> None:
    mine = authority.issue("client")
    values = {"kafka_security_protocol": "SSL", "kafka_ssl_ca": authority.certificate, "kafka_ssl_cert": mine.both}
    context = tls_context(settings(**values))
    mine.both.write_text("no certificate")
    with pytest.raises(ConfigurationError, match=r"LEADLINE_KAFKA_SSL_CERT names .*client\.both\.pem"):
        tls_context(settings(**values))
    authority.issue("client")
    assert tls_context(settings(**values)) is context


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"nowhere\.pem cannot be read"):
        client_options(settings(kafka_security_protocol="SSL", kafka_ssl_ca=tmp_path / "nowhere.pem"))


@pytest.fixture
def issuer() -> Iterator[tuple[str, list[str]]]:
    """A server that issues tokens, and what it was asked."""
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            asked.append(f"{self.headers['Authorization']} {body}")
            answer = json.dumps({"access_token": f"token-{len(asked)}", "expires_in": 3600}).encode()
            self.send_response(200 if "refuse" not in self.path else 401)
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            """Not on the terminal."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    thread.join()
    server.server_close()


async def test_a_token_is_asked_for_once_and_shared(issuer: tuple[str, list[str]]) -> None:
    url, asked = issuer
    chosen = settings(**OAUTH, kafka_oauth_token_url=f"{url}/token", kafka_oauth_scope="kafka")
    provider = client_options(chosen)["sasl_oauth_token_provider"]
    assert broker_options(chosen)["sasl_oauth_token_provider"] is provider
    assert await asyncio.gather(*(provider.token() for _ in range(3))) == ["token-1"] * 3
    assert asked == ["Basic bGVhZGxpbmU6c2VjcmV0 grant_type=client_credentials&scope=kafka"]


async def test_a_token_that_is_not_to_be_had_is_waited_for(issuer: tuple[str, list[str]]) -> None:
    chosen = settings(**OAUTH, kafka_oauth_token_url=f"{issuer[0]}/refuse")
    with pytest.raises(TransientError, match="status 401"):
        await client_options(chosen)["sasl_oauth_token_provider"].token()


async def test_a_token_in_a_file_is_read_each_time(tmp_path: Path) -> None:
    path = tmp_path / "token"
    values = {"kafka_security_protocol": "SASL_PLAINTEXT", "kafka_sasl_mechanism": "OAUTHBEARER"}
    provider = client_options(settings(**values, kafka_oauth_token_path=path))["sasl_oauth_token_provider"]
    for token in ("one", "two"):
        path.write_text(f"{token}\n")
        assert await provider.token() == token
    path.write_text("")
    with pytest.raises(TransientError, match="is empty"):
        await provider.token()


def test_a_secret_may_stand_in_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SCRAM.items():
        monkeypatch.setenv(f"LEADLINE_{name.upper()}", value)
    monkeypatch.delenv("LEADLINE_KAFKA_PASSWORD")
    path = tmp_path / "secret"
    path.write_text(" s p a c e \n")
    monkeypatch.setenv("LEADLINE_KAFKA_PASSWORD_FILE", str(path))
    assert client_options(settings())["sasl_plain_password"] == " s p a c e "

    monkeypatch.setenv("LEADLINE_KAFKA_PASSWORD", "another")
    with pytest.raises(ConfigurationError, match="are both set"):
        settings()
    monkeypatch.delenv("LEADLINE_KAFKA_PASSWORD")
    monkeypatch.setenv("LEADLINE_KAFKA_PASSWORD_FILE", str(tmp_path / "nowhere"))
    with pytest.raises(ConfigurationError, match=r"LEADLINE_KAFKA_PASSWORD_FILE names .*nowhere, which cannot be read"):
        settings()


def test_only_secrets_are_looked_for_in_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`LEADLINE_DATA_FILE` is compose's name of the price file, not a file that names it."""
    fields = ServiceSettings.model_fields
    assert {name for name, field in fields.items() if is_secret(field)} == {
        *("database_url", "database_password", "kafka_password", "kafka_ssl_key_password", "kafka_oauth_client_secret")
    }
    monkeypatch.setenv("LEADLINE_KAFKA_FILE", str(tmp_path / "nowhere"))
    assert settings().kafka == "localhost:9092"


def test_neither_variable_is_no_secret() -> None:
    assert read_secret("X", {}) is None
    assert read_secret("X", {"X": "value", "X_FILE": ""}) == "value"


def test_a_database_password_needs_no_quoting() -> None:
    chosen = settings(database_url="postgresql://risk@host:5432/db?sslmode=require", database_password="a/b@c:d%")
    assert chosen.database_address == "postgresql://risk:a%2Fb%40c%3Ad%25@host:5432/db?sslmode=require"
    for address in ("postgresql://host/db", "postgresql://risk:one@host/db"):
        with pytest.raises(ValidationError, match="LEADLINE_DATABASE_PASSWORD goes with an address"):
            settings(database_url=address, database_password="two")
