"""How every client of Kafka connects and proves who it is: one place, so that consumers, relay, topic job, monitor and doctor agree.

Certificates are read again when their files change: an authority that renews them every few weeks needs no restart. A connection
that is open keeps what it was opened with.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from aiokafka.abc import AbstractTokenProvider
from faststream.security import BaseSecurity, SASLOAuthBearer, SASLPlaintext, SASLScram256, SASLScram512
from pydantic import SecretStr

from shared.errors import ConfigurationError, TransientError
from shared.settings import ServiceSettings

TOKEN_SECONDS = 10.0
# A token is asked for anew so long before it ends that a connection made with it is accepted for sure.
RENEW_BEFORE_SECONDS = 60.0
# Who issues a token need not say how long it is good for.
UNTOLD_LIFETIME_SECONDS = 300.0


def bootstrap(settings: ServiceSettings) -> list[str]:
    return [server.strip() for server in settings.kafka.split(",")]


def client_options(settings: ServiceSettings) -> dict[str, Any]:
    """What every client of the library is made with: addresses, protocol, certificates, credentials.

    Raises `ConfigurationError` for a certificate file that cannot be used.
    """
    options: dict[str, Any] = {
        "bootstrap_servers": bootstrap(settings),
        "security_protocol": settings.kafka_security_protocol,
    }
    if settings.kafka_security_protocol.endswith("SSL"):
        options["ssl_context"] = tls_context(settings)
    if settings.kafka_security_protocol.startswith("SASL"):
        options["sasl_mechanism"] = settings.kafka_sasl_mechanism
        if settings.kafka_sasl_mechanism == "OAUTHBEARER":
            options["sasl_oauth_token_provider"] = _tokens(_OAuth.of(settings))
        else:
            options["sasl_plain_username"], options["sasl_plain_password"] = _credentials(settings)
    return options


def broker_options(settings: ServiceSettings) -> dict[str, Any]:
    """The same in the framework's words, for its broker; without security nothing at all."""
    context = tls_context(settings) if settings.kafka_security_protocol.endswith("SSL") else None
    if settings.kafka_security_protocol == "PLAINTEXT":
        return {}
    if settings.kafka_security_protocol == "SSL":
        return {"security": BaseSecurity(context)}
    if settings.kafka_sasl_mechanism == "OAUTHBEARER":
        return {"security": SASLOAuthBearer(context), "sasl_oauth_token_provider": _tokens(_OAuth.of(settings))}
    kinds = {"PLAIN": SASLPlaintext, "SCRAM-SHA-256": SASLScram256, "SCRAM-SHA-512": SASLScram512}
    assert settings.kafka_sasl_mechanism is not None
    return {"security": kinds[settings.kafka_sasl_mechanism](*_credentials(settings), ssl_context=context)}


def _credentials(settings: ServiceSettings) -> tuple[str, str]:
    assert settings.kafka_username is not None
    assert settings.kafka_password is not None
    return settings.kafka_username, settings.kafka_password.get_secret_value()


@dataclass
class _Certificates:
    """One context for all clients of a process that use the same files."""

    authorities: Path | None
    certificate: Path | None
    key: Path | None
    password: str | None
    check_hostname: bool
    context: ssl.SSLContext = field(init=False)
    _seen: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        self.context = ssl.create_default_context()
        if self.authorities is not None:
            # Our own authority instead of the system's, not beside them.
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.context.check_hostname = self.check_hostname

    def refresh(self) -> ssl.SSLContext:
        """The context, with its files read again if one of them was written since."""
        try:
            seen = tuple(
                (found.st_mtime_ns, found.st_size)
                for path in (self.authorities, self.certificate, self.key)
                if path is not None
                for found in [path.stat()]
            )
        except OSError as error:
            raise ConfigurationError(f"{error.filename} cannot be read: {error.strerror}") from error
        if seen != self._seen:
            self._load()
            self._seen = seen
        return self.context

    def _load(self) -> None:
        if self.authorities is not None:
            try:
                self.context.load_verify_locations(cafile=self.authorities)
            except (OSError, ssl.SSLError) as error:
                raise ConfigurationError(
                    f"LEADLINE_KAFKA_SSL_CA names {self.authorities}, which holds no certificates in PEM: {error}"
                ) from error
        if self.certificate is not None:
            try:
                # Without a password of its own OpenSSL would ask on the terminal.
                self.context.load_cert_chain(self.certificate, self.key, password=lambda: self.password or "")
            except (OSError, ssl.SSLError) as error:
                raise ConfigurationError(
                    f"LEADLINE_KAFKA_SSL_CERT names {self.certificate}, with the key in {self.key or self.certificate}: "
                    f"they are not a pair in PEM, or LEADLINE_KAFKA_SSL_KEY_PASSWORD is wrong: {error}"
                ) from error


@lru_cache(maxsize=16)
def _certificates(
    authorities: Path | None, certificate: Path | None, key: Path | None, password: str | None, *, check_hostname: bool
) -> _Certificates:
    return _Certificates(authorities, certificate, key, password, check_hostname)


def tls_context(settings: ServiceSettings) -> ssl.SSLContext:
    """The context of connections to brokers. Raises `ConfigurationError` for a file that cannot be used."""
    secret = settings.kafka_ssl_key_password
    return _certificates(
        settings.kafka_ssl_ca,
        settings.kafka_ssl_cert,
        settings.kafka_ssl_key,
        None if secret is None else secret.get_secret_value(),
        check_hostname=settings.kafka_ssl_check_hostname,
    ).refresh()


@dataclass(frozen=True)
class _OAuth:
    """Where a token is had from."""

    path: Path | None
    url: str | None
    client: str | None
    secret: SecretStr | None
    scope: str | None

    @classmethod
    def of(cls, settings: ServiceSettings) -> _OAuth:
        return cls(
            settings.kafka_oauth_token_path,
            settings.kafka_oauth_token_url,
            settings.kafka_oauth_client_id,
            settings.kafka_oauth_client_secret,
            settings.kafka_oauth_scope,
        )


class TokenProvider(AbstractTokenProvider):  # type: ignore[misc]
    """Tokens of OAuth 2: from a file that somebody else renews, or asked for with client credentials and kept while they are good.

    All clients of a process share one, so a broker's restart costs one question and not six.
    """

    def __init__(self, source: _OAuth) -> None:
        self._source = source
        self._token = ""
        self._until = 0.0
        self._lock: asyncio.Lock | None = None

    async def token(self) -> str:
        """A token that is good for a while. Raises `TransientError` if none is to be had now."""
        if self._source.path is not None:
            return await asyncio.to_thread(self._read, self._source.path)
        if self._lock is None:
            self._lock = asyncio.Lock()
        async with self._lock:
            if time.monotonic() >= self._until:
                self._token, lifetime = await self._ask()
                self._until = time.monotonic() + max(0.0, lifetime - min(RENEW_BEFORE_SECONDS, lifetime / 2))
            return self._token

    @staticmethod
    def _read(path: Path) -> str:
        try:
            found = path.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise TransientError(
                f"LEADLINE_KAFKA_OAUTH_TOKEN_PATH names {path}, which cannot be read: {error}"
            ) from error
        if not found:
            raise TransientError(f"LEADLINE_KAFKA_OAUTH_TOKEN_PATH names {path}, which is empty")
        return found

    async def _ask(self) -> tuple[str, float]:
        # Only installations with such a broker need it.
        import httpx2

        source = self._source
        assert source.url is not None
        assert source.client is not None
        assert source.secret is not None
        form = {"grant_type": "client_credentials"} | ({"scope": source.scope} if source.scope else {})
        try:
            async with httpx2.AsyncClient(timeout=TOKEN_SECONDS) as client:
                answer = await client.post(
                    source.url, data=form, auth=(source.client, source.secret.get_secret_value())
                )
        except httpx2.HTTPError as error:
            raise TransientError(f"no token from {source.url}: {type(error).__name__}: {error}") from error
        if answer.status_code != 200:
            raise TransientError(f"no token from {source.url}: status {answer.status_code}")
        try:
            found = answer.json()
            return str(found["access_token"]), float(found.get("expires_in", UNTOLD_LIFETIME_SECONDS))
        except (ValueError, KeyError, TypeError) as error:
            raise TransientError(f"no token from {source.url}: the answer has no access_token") from error


@lru_cache(maxsize=16)
def _tokens(source: _OAuth) -> TokenProvider:
    return TokenProvider(source)
