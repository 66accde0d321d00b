"""Refuses, from a request's head alone, whoever may not call: in front of everything that reads a body."""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from opentelemetry import trace
from starlette.types import ASGIApp, Receive, Scope, Send

from services.coordinator.api.access_rules import Access
from services.coordinator.api.heads import is_probe
from services.coordinator.api.login import Login
from services.coordinator.api.open_streams import OpenStream
from services.coordinator.api.problems import problem
from services.coordinator.api.templates import template_of
from services.coordinator.errors import Refused, TooManyRequests
from services.coordinator.tokens.authenticator import Authenticator
from services.coordinator.tokens.model import Identity
from services.coordinator.tokens.rate import RateLimit, over_quota
from services.coordinator.tokens.requests import client_of
from shared.db.tenancy import quotas, use_sight
from shared.telemetry import log_context, logger

log = logger(__name__)

# Whoever guesses tokens must not fill the disk.
LOG_EVERY_SECONDS = 10.0
LINGER_SECONDS = 2.0


@dataclass
class RefusalLog:
    """One line for the first refusal of a kind, then at most one in `LOG_EVERY_SECONDS`, which counts those between."""

    clock: Callable[[], float] = time.monotonic
    _last: dict[str, float] = field(default_factory=dict)
    _unsaid: dict[str, int] = field(default_factory=dict)

    def note(self, scope: Scope, refusal: Refused) -> None:
        now, code = self.clock(), refusal.code
        if now - self._last.get(code, -LOG_EVERY_SECONDS) < LOG_EVERY_SECONDS:
            self._unsaid[code] = self._unsaid.get(code, 0) + 1
            return
        self._last[code] = now
        # Neither query nor headers, where a token may stand; of the path no more than the audit log has, as the rest may be names.
        log.warning(
            "request_refused",
            status=refusal.status,
            code=code,
            method=scope["method"],
            path=template_of(scope),
            client=client_of(scope),
            unlogged_before=self._unsaid.pop(code, 0),
        )


class AccessControl:
    """Answers what `Access` refuses before any of the body is read, and closes the connection."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        access: Access,
        authenticator: Authenticator,
        refusals: RefusalLog | None = None,
        rate: RateLimit | None = None,
    ) -> None:
        self._app = app
        self._access = access
        self._authenticator = authenticator
        self._login = Login(access, authenticator)
        self._refusals = refusals or RefusalLog()
        self._rate = rate or RateLimit(0.0)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # Of whose rows a request is, it says itself, or it is of nobody's.
        with use_sight(None):
            await self._answer(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal = await self._refusal(scope) if scope["type"] == "http" else None
        if refusal is None:
            if scope["type"] != "http":
                await self._app(scope, receive, send)
                return
            identity = scope.get("state", {}).get("identity")
            # Ids, never names: lines of a log and traces go where its reader may know nobody.
            who = {} if identity is None else {"tenant": identity.tenant, "user": identity.user_id}
            trace.get_current_span().set_attributes({name: str(found) for name, found in who.items() if found})
            with log_context(**who):
                await OpenStream(scope, receive, send, self._authenticator).run(self._app)
            return
        self._refusals.note(scope, refusal)
        headers = {"Connection": "close"} | ({"WWW-Authenticate": "Bearer"} if refusal.status == 401 else {})
        if (wait := getattr(refusal, "retry_after", None)) is not None:
            headers["Retry-After"] = str(math.ceil(wait))
        answer = problem(refusal.status, refusal.title, str(refusal), code=refusal.code, headers=headers)
        await send({"type": "http.response.start", "status": answer.status_code, "headers": answer.raw_headers})
        await send({"type": "http.response.body", "body": bytes(answer.body), "more_body": True})
        await _discard(receive)
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _refusal(self, scope: Scope) -> Refused | None:
        if (refusal := self._access.refusal(scope)) is not None:
            return refusal
        try:
            identity = await self._login.admit(scope)
        except Refused as refused:
            return refused
        if identity is not None:
            scope.setdefault("state", {})["identity"] = identity
        return self._too_often(scope, identity)

    def _too_often(self, scope: Scope, identity: Identity | None) -> Refused | None:
        """A probe is asked for by whoever watches, at a pace of its own."""
        if is_probe(scope):
            return None
        named = None if identity is None else identity.token_id
        wait = self._rate.seconds_to_wait(client_of(scope) if named is None else str(named))
        if wait <= 0:
            return None if identity is None else over_quota(self._rate, identity.tenant, quotas().calls_per_second)
        return TooManyRequests(
            f"More than {self._rate.per_second:g} requests a second came from {client_of(scope)} for long. Nothing was done. "
            f"Wait {math.ceil(wait)} s and ask less often; LEADLINE_RATE_LIMIT sets how often one may.",
            retry_after=wait,
        )


async def _discard(receive: Receive) -> None:
    """Let what is on its way run out, unlooked at and for a moment only: a connection that is closed on a client in the middle of
    sending is reset, and takes the answer with it before most clients have read it."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LINGER_SECONDS):
            while (message := await receive())["type"] == "http.request" and message.get("more_body", False):
                pass
