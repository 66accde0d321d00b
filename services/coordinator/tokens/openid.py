"""Sign-in by OpenID Connect: the code flow with PKCE. Authlib knows the protocol; what is fetched is fetched here.

The provider says who somebody is, never what they may do: that is a membership's to say.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast
from urllib.parse import urlsplit

import httpx2

from services.coordinator.errors import Unauthorised, Unavailable
from shared.telemetry import logger

log = logger(__name__)

TIMEOUT_SECONDS = 10.0
MOST_BYTES = 1_000_000
METADATA_SECONDS = 3_600.0
CLOCKS_APART = 60
# Never `none`, and nothing that a client's secret could forge.
ALGORITHMS = ("RS256", "PS256", "ES256")
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


@dataclass(frozen=True, slots=True)
class Attempt:
    """What one sign-in must come back with, and where it goes on."""

    state: str
    nonce: str
    redirect: str
    go_on: str = "/"
    invitation: str = ""


@dataclass(frozen=True, slots=True)
class Vouched:
    """Whom the provider has recognised: its own name, and its name of the person."""

    issuer: str
    subject: str


@dataclass
class OpenId:
    """One provider, as this server is its client.

    transport : for tests; how the provider is reached
    """

    issuer: str
    client_id: str
    client_secret: str
    transport: httpx2.AsyncBaseTransport | None = None
    _key: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)
    _metadata: Mapping[str, Any] = field(default_factory=dict)
    _read_at: float = float("-inf")

    async def begin(self, redirect: str, *, go_on: str = "/", invitation: str = "") -> tuple[str, Attempt]:
        """The address to send the browser to, and what to remember meanwhile. Raises `Unavailable`."""
        from authlib.oauth2.rfc6749.parameters import prepare_grant_uri
        from authlib.oauth2.rfc7636 import create_s256_code_challenge

        attempt = Attempt(secrets.token_urlsafe(32), secrets.token_urlsafe(32), redirect, go_on, invitation)
        address = prepare_grant_uri(
            (await self._provider())["authorization_endpoint"],
            self.client_id,
            "code",
            redirect_uri=redirect,
            scope="openid",
            state=attempt.state,
            nonce=attempt.nonce,
            code_challenge=create_s256_code_challenge(self._verifier(attempt)),
            code_challenge_method="S256",
        )
        return str(address), attempt

    async def finish(self, attempt: Attempt, code: str) -> Vouched:
        """Whom the provider vouches for. Raises `Unauthorised` where it does not, `Unavailable` where it cannot be asked."""
        from authlib.oauth2.rfc6749.parameters import prepare_token_request

        provider = await self._provider()
        body = prepare_token_request(
            "authorization_code", redirect_uri=attempt.redirect, code=code, code_verifier=self._verifier(attempt)
        )
        answer = await self._ask("POST", provider["token_endpoint"], content=body)
        keys = await self._ask("GET", provider["jwks_uri"])
        return self._check(attempt, answer, keys)

    def _verifier(self, attempt: Attempt) -> str:
        """What proves to the provider that this server began the sign-in: it never leaves for the browser, and is not kept."""
        return hmac.new(self._key, attempt.state.encode(), hashlib.sha256).hexdigest()

    def _check(self, attempt: Attempt, answer: Mapping[str, Any], keys: Mapping[str, Any]) -> Vouched:
        from authlib.oidc.core import CodeIDToken
        from joserfc import jwt
        from joserfc.errors import JoseError
        from joserfc.jwk import KeySet

        try:
            token = jwt.decode(
                str(answer.get("id_token", "")), KeySet.import_key_set(cast("Any", keys)), algorithms=list(ALGORITHMS)
            )
            claims = CodeIDToken(
                token.claims,
                token.header,
                options={
                    "iss": {"essential": True, "value": self.issuer},
                    "aud": {"essential": True, "value": self.client_id},
                },
                params={
                    "nonce": attempt.nonce,
                    "client_id": self.client_id,
                    "access_token": answer.get("access_token"),
                },
            )
            claims.validate(leeway=CLOCKS_APART)
            subject = _subject(claims["sub"])
        except (JoseError, ValueError, TypeError, KeyError) as error:
            log.warning("openid_answer_refused", error=f"{type(error).__name__}: {error}"[:300])
            raise Unauthorised(
                "The sign-in provider's answer does not hold: its signature, its time, or whom it is for. Sign in again; if that "
                "does not help, the server's log says why."
            ) from None
        return Vouched(self.issuer, subject)

    async def _provider(self) -> Mapping[str, Any]:
        """Where the provider has what, as it says itself; kept for an hour."""
        if time.monotonic() - self._read_at < METADATA_SECONDS:
            return self._metadata
        found = await self._ask("GET", f"{self.issuer.rstrip('/')}/.well-known/openid-configuration")
        needed = ("authorization_endpoint", "token_endpoint", "jwks_uri")
        if found.get("issuer") != self.issuer or not all(_is_safe(str(found.get(name, ""))) for name in needed):
            log.warning("openid_metadata_refused", issuer=str(found.get("issuer"))[:200])
            raise Unavailable(
                "The sign-in provider calls itself by another name than LEADLINE_OIDC_ISSUER, or is not reached by https. Sign in "
                "with a token, and tell an operator of the server."
            )
        self._metadata, self._read_at = found, time.monotonic()
        return found

    async def _ask(self, method: str, address: str, content: str | None = None) -> Mapping[str, Any]:
        """A JSON object from the provider; no redirect is followed. Raises `Unauthorised` for a refusal, `Unavailable` for no answer."""
        headers = {"Content-Type": "application/x-www-form-urlencoded"} if content is not None else {}
        own = httpx2.BasicAuth(self.client_id, self.client_secret) if content is not None else None
        try:
            async with httpx2.AsyncClient(transport=self.transport, timeout=TIMEOUT_SECONDS) as http:
                answer = await http.request(method, address, content=content, headers=headers, auth=own)
            document = answer.json() if len(answer.content) <= MOST_BYTES else None
        except (httpx2.HTTPError, ValueError) as error:
            log.warning("openid_unreachable", address=address, error=str(error)[:300])
            raise Unavailable(
                "The sign-in provider does not answer. Try again in a moment, or sign in with a token."
            ) from None
        if answer.is_success and isinstance(document, dict):
            return document
        log.warning("openid_refused", address=address, status=answer.status_code, error=str(document)[:300])
        if answer.status_code < 500:
            raise Unauthorised("The sign-in provider refused. Sign in again: the link works once, and for minutes.")
        raise Unavailable("The sign-in provider fails. Try again in a moment, or sign in with a token.")


def _subject(given: object) -> str:
    """As OpenID Connect wants it: at most 255 characters of ASCII. Raises `ValueError`."""
    if not isinstance(given, str) or not 1 <= len(given) <= 255 or not (given.isascii() and given.isprintable()):
        raise ValueError("sub is not 1 to 255 printable characters of ASCII")
    return given


def _is_safe(address: str) -> bool:
    """https; on this machine http too."""
    parts = urlsplit(address)
    return parts.scheme == "https" or (parts.scheme == "http" and (parts.hostname or "") in LOOPBACK)
