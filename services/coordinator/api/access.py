"""Who may call, decided from the request's head alone: in front of everything that reads a body.

A browser is somebody else's tool: any page that is open in it can send requests to this machine, and a name that its owner turns
to 127.0.0.1 makes such a page one of ours. So a request must have been sent to a name of this server, and a change must not come
from another site's page. Clients that are no browsers send neither `Origin` nor `Sec-Fetch-Site` and are not concerned.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from starlette.types import ASGIApp, Receive, Scope, Send

from services.coordinator.api.open_streams import OpenStream
from services.coordinator.api.origins import HOST, is_nobodys, is_own, on_loopback
from services.coordinator.api.problems import problem
from services.coordinator.errors import (
    ForeignOrigin,
    Misdirected,
    ReadOnly,
    Refused,
    RoleTooSmall,
    TooManyRequests,
    Unauthorised,
)
from services.coordinator.tokens.authenticator import Authenticator
from services.coordinator.tokens.model import SAFE_METHODS, Identity, is_read, role_for_call
from services.coordinator.tokens.rate import RateLimit
from services.coordinator.tokens.requests import bearer_of, client_of
from shared.telemetry import logger
from shared.text import printable

log = logger(__name__)

PROTECTED = "/api"
LOOPBACK = frozenset({"127.0.0.1", "localhost", "[::1]"})
ANY_HOST = "*"
# A probe calls a container by whatever address it has; nothing can be changed by these.
METRICS = "/metrics"
PROBED = frozenset({"/livez", "/readyz", METRICS})
DOCUMENTS = frozenset({"/docs", "/docs/problems", "/openapi.json", "/asyncapi"})
# Changes nothing but the cookie and what this process remembers of it.
SIGNING = frozenset({"/sign-in", "/sign-out"})
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
        # Neither query nor headers: a token may stand there.
        log.warning(
            "request_refused",
            status=refusal.status,
            code=code,
            method=scope["method"],
            path=printable(scope["path"])[:200],
            client=client_of(scope),
            unlogged_before=self._unsaid.pop(code, 0),
        )


@dataclass(frozen=True)
class Access:
    """The rules of one server.

    hosts  : names it may be called by beside the loopback ones, lower case and without port; `*` for every name
    closed : paths outside the API that need a token too
    alone  : whether, without a token, it answers on the loopback alone
    reads  : whether it answers nothing but reads
    """

    hosts: frozenset[str] = frozenset()
    closed: frozenset[str] = frozenset()
    alone: bool = True
    reads: bool = False

    @classmethod
    def of(
        cls,
        hosts: Collection[str],
        *,
        open_docs: bool = True,
        open_metrics: bool = True,
        alone: bool = True,
        reads: bool = False,
    ) -> Access:
        closed = (frozenset() if open_docs else DOCUMENTS) | (frozenset() if open_metrics else frozenset({METRICS}))
        return cls(frozenset(hosts), closed, alone, reads)

    def refusal(self, scope: Scope) -> Refused | None:
        """Why a request is refused before its body is read; None where it may pass."""
        return self._host(scope) or self._page(scope) or self._change(scope)

    def is_protected(self, scope: Scope) -> bool:
        """Whether a call needs a token, where any does.

        Either reading of the path: one that the router would not take costs a login, the other way round it would save one.
        """
        return any(_is_api(path) or path in self.closed for path in _paths(scope))

    def _host(self, scope: Scope) -> Refused | None:
        probe = _is_probe(scope)
        # Ready or not is nobody's secret; how many units wait and why is, and a name that points here could read it.
        if ANY_HOST in self.hosts or (probe and _path_in_app(scope) != METRICS):
            return None
        given = _headers(scope, b"host")
        found = HOST.fullmatch(given[0]) if len(given) == 1 else None
        name = "" if found is None else found["name"].lower().rstrip(".")
        if name in LOOPBACK | self.hosts or (probe and is_nobodys(name)):
            return None
        said = repr(printable(given[0])[:100]) if given else "no host"
        return Misdirected(
            f"The request was sent to {said}, which is not a name of this server. Call it by 127.0.0.1 or localhost, or list the name "
            "in LEADLINE_HOSTS and start the server again."
        )

    def _change(self, scope: Scope) -> Refused | None:
        if not self.reads or is_read(scope["method"], _path_in_app(scope)) or _path_in_app(scope) in SIGNING:
            return None
        return ReadOnly(
            f"This server only reads (LEADLINE_READ_ONLY), and {scope['method']} is a change. Nothing was done. "
            "Send it to the coordinator that takes changes."
        )

    @staticmethod
    def _page(scope: Scope) -> Refused | None:
        """A change that a page of another site asks for. A page of the same site, on another port or name, is another too."""
        if scope["method"] in SAFE_METHODS:
            return None
        origins, sites = _headers(scope, b"origin"), {site.lower() for site in _headers(scope, b"sec-fetch-site")}
        own = len(origins) == 1 and is_own(origins[0], _headers(scope, b"host"))
        if (origins and not own) or "cross-site" in sites or ("same-site" in sites and not own):
            said = repr(printable(origins[0])[:100]) if origins else "another site"
            return ForeignOrigin(
                f"A page of {said} asked for a change, and only pages of this server may. Nothing was done. Behind a proxy, let it "
                "pass the Host header on as it came."
            )
        return None


class Login:
    """Whom a call is from, and whether that role may do what it asks for."""

    def __init__(self, access: Access, authenticator: Authenticator) -> None:
        self._access = access
        self._authenticator = authenticator

    async def admit(self, scope: Scope) -> Identity | None:
        """None where nobody has to say who it is. Raises what `Authenticator.identify` does, and `RoleTooSmall`."""
        if (
            self._access.alone
            and not _is_probe(scope)
            and not on_loopback(scope)
            and not await self._authenticator.requires_token()
        ):
            raise Unauthorised(
                "This server can be reached from beyond its own machine and has no token, so it answers nobody. "
                "Set LEADLINE_TOKEN, or LEADLINE_WITHOUT_TOKEN=true where something else authenticates callers."
            )
        if not self._access.is_protected(scope):
            return None
        found = await self._authenticator.identify(bearer_of(scope), client_of(scope))
        readings = [path for path in _paths(scope) if _is_api(path)] or [_path_in_app(scope)]
        needed = max((role_for_call(scope["method"], path) for path in readings), key=lambda role: role.rank)
        if not found.role.includes(needed):
            raise RoleTooSmall(
                f"The token {found.name!r} is a {found.role.value}'s, and this call needs the role {needed.value}. "
                f"Nothing was done. An operator can create such a token: leadline token create --role {needed.value}."
            )
        return found


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
        refusal = await self._refusal(scope) if scope["type"] == "http" else None
        if refusal is None:
            if scope["type"] != "http":
                await self._app(scope, receive, send)
                return
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
        if _is_probe(scope):
            return None
        named = None if identity is None else identity.token_id
        wait = self._rate.seconds_to_wait(client_of(scope) if named is None else str(named))
        if wait <= 0:
            return None
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


def _headers(scope: Scope, name: bytes) -> list[str]:
    return [value.decode("latin-1").strip() for key, value in scope["headers"] if key == name]


def _path_in_app(scope: Scope) -> str:
    """The path without what a proxy put before it, as the router sees it."""
    path, root = str(scope["path"]), str(scope.get("root_path", "")).rstrip("/")
    return path[len(root) :] if root and path.startswith(root + "/") else path


def _is_probe(scope: Scope) -> bool:
    return scope["method"] in ("GET", "HEAD") and _path_in_app(scope) in PROBED


def _is_api(path: str) -> bool:
    return path == PROTECTED or path.startswith(PROTECTED + "/")


def _paths(scope: Scope) -> tuple[str, str]:
    return str(scope["path"]), _path_in_app(scope)
