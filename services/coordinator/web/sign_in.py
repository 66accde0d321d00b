"""Who is signed in: a random session id in a cookie, which stands for a token that was checked once. The token itself is not kept."""

from __future__ import annotations

from datetime import timedelta

from fastapi import Request
from fastapi.responses import Response

from services.coordinator.errors import InstallationOnly, RoleTooSmall, Unauthorised, Unavailable
from services.coordinator.tokens.authenticator import EVERYBODY, authenticator_of, identity_of
from services.coordinator.tokens.model import Identity, Member, page_concerns_installation, role_for_page
from services.coordinator.tokens.rate import RateLimit, over_quota
from services.coordinator.tokens.requests import bearer_of, client_of, sight_of
from services.coordinator.web.sessions import SESSION_SECONDS, Sessions
from shared.db.tenancy import see


async def identity_of_token(request: Request, given: str) -> Identity | None:
    """Whose token this is; None for nobody's. Where nobody has to sign in, nothing fits."""
    if not given.strip() or not await requires_sign_in(request):
        return None
    try:
        return await authenticator_of(request).identify(given.strip(), client_of(request.scope))
    except Unauthorised:
        return None


async def requires_sign_in(request: Request) -> bool:
    return await authenticator_of(request).requires_token()


def identity_of_member(member: Member) -> Identity:
    """Of a session without a token: what the member may do is looked up each time."""
    known = max(member.created_at, member.signed_out_at or member.created_at) + timedelta(microseconds=1)
    return Identity(member.role, member.name, None, member.tenant, member.user_id, known)


def sessions_of(request: Request) -> Sessions:
    found = request.app.state.page_sessions
    assert isinstance(found, Sessions)
    return found


class SignInNeeded(Unauthorised):
    """Answered with the sign-in form rather than with a problem document."""


async def require(request: Request) -> None:
    """A dependency of every page: lets through whose role allows it, and everybody where no token is needed."""
    request.state.signed_in = False
    counted = getattr(request.state, "identity", None) is not None
    if not await requires_sign_in(request):
        _see(request, EVERYBODY, counted=counted)
        return
    found = await _identity(request)
    if found is None:
        raise SignInNeeded("Sign in with a token of this server.")
    # An open stream is looked after by whose it is.
    request.state.identity = found
    wanted = role_for_page(request.method, request.scope["route"].path)
    if not found.role.includes(wanted):
        raise RoleTooSmall(
            f"The token {found.name!r} is a {found.role.value}'s, and this needs the role {wanted.value}. Nothing was done. "
            f"Sign in with a token of that role; an operator can create one: leadline token create --role {wanted.value}."
        )
    _see(request, found, counted=counted)


async def note_reader(request: Request) -> None:
    """A dependency of pages that everybody may open: their head leads to the installation's own pages whoever operates it alone."""
    try:
        found = EVERYBODY if not await requires_sign_in(request) else await find_signed_in(request)
    except Unavailable:
        found = None
    request.state.operates = found is not None and found.operates_installation


def see_installation(request: Request) -> bool:
    """From here on the rows of every tenant, where an operator of the installation sent a form about them; whether that is so."""
    identity = identity_of(request)
    if identity.operates_installation:
        quotas = authenticator_of(request).quotas_of(identity.tenant)
        see(sight_of(identity, request.scope, request.url.path, everything=True, quotas=quotas))
    return identity.operates_installation


def _see(request: Request, identity: Identity, *, counted: bool) -> None:
    """Whose rows the page is about. Raises `InstallationOnly` for a page about more than the reader's own tenant, `TooManyRequests`
    where the tenant asks more often than its quota is."""
    everything = page_concerns_installation(request.method, request.scope["route"].path)
    if everything and not identity.operates_installation:
        raise InstallationOnly(
            "This page is about the whole installation, and you are signed in to one tenant of it. An operator of the installation "
            "can open it."
        )
    request.state.operates = identity.operates_installation
    quotas = authenticator_of(request).quotas_of(identity.tenant)
    # What `AccessControl` let in by a token it has counted.
    if not counted:
        count_call(request, identity)
    see(sight_of(identity, request.scope, request.url.path, everything=everything, quotas=quotas))


def count_call(request: Request, identity: Identity) -> None:
    """Raises `TooManyRequests` where the tenant asks more often than its quota is."""
    rate = request.app.state.rate
    assert isinstance(rate, RateLimit)
    quotas = authenticator_of(request).quotas_of(identity.tenant)
    if (refusal := over_quota(rate, identity.tenant, quotas.calls_per_second)) is not None:
        raise refusal


async def _identity(request: Request) -> Identity | None:
    """Whoever sent the request: by a token, as a program that saves a report has it, or by the cookie of a session."""
    if (given := bearer_of(request.scope)) is not None:
        return await identity_of_token(request, given)
    request.state.signed_in = _find_session(request) is not None
    return await find_signed_in(request)


async def find_signed_in(request: Request) -> Identity | None:
    """Whose session this browser is in."""
    found = _find_session(request)
    return None if found is None else await authenticator_of(request).refresh_identity(found)


def _find_session(request: Request) -> Identity | None:
    return sessions_of(request).find_identity(request.cookies.get(cookie_name(request), ""))


def has_provider(request: Request) -> bool:
    """Whether people sign in by OpenID Connect."""
    return getattr(request.app.state, "openid", None) is not None


def cookie_name(request: Request, suffix: str = "") -> str:
    """Browsers refuse `__Host-` without TLS; and cookies ignore ports, so two servers on one machine need two names."""
    name = "__Host-leadline" if request.url.scheme == "https" else f"leadline_{request.url.port or 80}"
    return f"{name}_{suffix}" if suffix else name


def set_cookie(
    request: Request, response: Response, value: str, *, suffix: str = "", seconds: float = SESSION_SECONDS
) -> None:
    response.set_cookie(
        cookie_name(request, suffix),
        value,
        max_age=int(seconds),
        path="/",
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="lax",
    )


def clear_cookie(request: Request, response: Response, suffix: str = "") -> None:
    """With all that it was set with: a browser ends no `__Host-` cookie for an answer that leaves `Secure` out."""
    response.delete_cookie(
        cookie_name(request, suffix), path="/", secure=request.url.scheme == "https", httponly=True, samesite="lax"
    )
