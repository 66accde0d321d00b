"""Who is signed in: a random session id in a cookie, which stands for a token that was checked once. The token itself is not kept."""

from __future__ import annotations

import hashlib
import secrets
import time
from dataclasses import dataclass, field

from fastapi import Request
from fastapi.responses import Response

from services.coordinator.context import Context, context_of
from services.coordinator.errors import Unauthorised

SESSION_SECONDS = 30 * 86_400.0
CODE_SECONDS = 120.0
# Of sessions in memory: the oldest go first. A browser that is turned away signs in again.
MOST = 10_000


def token_fits(context: Context, given: str) -> bool:
    """Compared in constant time. Without a token set nobody has to sign in, and nothing fits."""
    token = context.settings.token
    return bool(token and token.get_secret_value()) and secrets.compare_digest(
        given.strip().encode(),
        token.get_secret_value().encode(),  # type: ignore[union-attr]
    )


def needed(context: Context) -> bool:
    return bool(context.settings.token and context.settings.token.get_secret_value())


@dataclass
class Sessions:
    """Sessions and one-time codes of this process. Only digests are held: what is read out of memory signs nobody in."""

    until: dict[str, float] = field(default_factory=dict)
    codes: dict[str, float] = field(default_factory=dict)

    def begin(self) -> str:
        session = secrets.token_urlsafe(32)
        while len(self.until) >= MOST:
            del self.until[next(iter(self.until))]
        self.until[_digest(session)] = time.monotonic() + SESSION_SECONDS
        return session

    def known(self, session: str) -> bool:
        return self.until.get(_digest(session), 0.0) > time.monotonic()

    def end(self, session: str) -> None:
        self.until.pop(_digest(session), None)

    def issue_code(self) -> str:
        """A code that signs one browser in, once, within two minutes."""
        code = secrets.token_urlsafe(24)
        self.codes[_digest(code)] = time.monotonic() + CODE_SECONDS
        return code

    def redeem(self, code: str) -> bool:
        return self.codes.pop(_digest(code), 0.0) > time.monotonic()


def sessions_of(request: Request) -> Sessions:
    """Made with the first use and kept in the application's state."""
    state = request.app.state
    if not hasattr(state, "page_sessions"):
        state.page_sessions = Sessions()
    found = state.page_sessions
    assert isinstance(found, Sessions)
    return found


class SignInNeeded(Unauthorised):
    """Answered with the sign-in form rather than with a problem document."""


async def require(request: Request) -> None:
    """A dependency of every page: lets through who is signed in, and everybody where no token is set."""
    context = context_of(request)
    request.state.signed_in = False
    if not needed(context):
        return
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token_fits(context, given):
        # A program that saves a report has the token and no cookie.
        return
    session = request.cookies.get(cookie_name(request), "")
    if not session or not sessions_of(request).known(session):
        raise SignInNeeded("Sign in with the server's token.")
    request.state.signed_in = True


def cookie_name(request: Request) -> str:
    """Browsers refuse `__Host-` without TLS; and cookies ignore ports, so two servers on one machine need two names."""
    return "__Host-leadline" if request.url.scheme == "https" else f"leadline_{request.url.port or 80}"


def set_cookie(request: Request, response: Response, session: str) -> None:
    response.set_cookie(
        cookie_name(request),
        session,
        max_age=int(SESSION_SECONDS),
        path="/",
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="lax",
    )


def clear_cookie(request: Request, response: Response) -> None:
    response.delete_cookie(
        cookie_name(request), path="/", secure=request.url.scheme == "https", httponly=True, samesite="lax"
    )


def _digest(value: str) -> str:
    return hashlib.sha256(value.encode()).hexdigest()
