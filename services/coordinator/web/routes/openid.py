"""Signing in by OpenID Connect, accepting an invitation, and signing out of every browser."""

from __future__ import annotations

import secrets
from functools import partial
from typing import Annotated, Literal
from uuid import UUID, uuid4

from fastapi import APIRouter, Depends, Form, Query, Request
from fastapi.responses import RedirectResponse, Response

from services.coordinator.context import Context, Ctx
from services.coordinator.errors import NotFound, RoleTooSmall, Unauthorised
from services.coordinator.tokens import people, people_store, service
from services.coordinator.tokens.authenticator import authenticator_of, identity_of
from services.coordinator.tokens.invitation_store import Invitation
from services.coordinator.tokens.model import Identity
from services.coordinator.tokens.openid import Attempt, OpenId, Vouched
from services.coordinator.tokens.requests import audited_path, sight_of
from services.coordinator.web import sign_in
from services.coordinator.web.rendering import page
from services.coordinator.web.routes.common import PageRoute, back
from services.coordinator.web.routes.common import router as made
from services.coordinator.web.routes.entry import own_address, signed_in
from services.coordinator.web.sessions import ATTEMPT_SECONDS
from services.coordinator.web.texts import gettext as _
from shared.db.tenancy import WHOLE_INSTALLATION, Deed, Sight, quotas, see, use_sight

router = APIRouter(route_class=PageRoute, dependencies=[Depends(sign_in.note_reader)], include_in_schema=False)
settings_router = made()
Secret = Annotated[str, Query(max_length=200)]


@router.get("/sign-in/openid")
async def begin(
    request: Request,
    next: Annotated[str, Query(max_length=500)] = "/",  # noqa: A002 (the parameter's name in the address)
) -> Response:
    address, attempt = await _provider(request).begin(_redirect(request), go_on=own_address(next))
    return _remember(request, attempt, RedirectResponse(address, status_code=303))


def _remember(request: Request, attempt: Attempt, answer: Response) -> Response:
    # The answer must come to the browser that asked: a link with somebody else's code signs nobody in.
    sealed = sign_in.sessions_of(request).seal(attempt)
    sign_in.set_cookie(request, answer, sealed, suffix="openid", seconds=ATTEMPT_SECONDS)
    return answer


@router.get("/sign-in/openid/callback")
async def finish(
    request: Request,
    context: Ctx,
    code: Annotated[str, Query(max_length=4000)] = "",
    state: Secret = "",
) -> Response:
    provider, sessions = _provider(request), sign_in.sessions_of(request)
    attempt = sessions.unseal(request.cookies.get(sign_in.cookie_name(request, "openid"), ""))
    if attempt is None or not secrets.compare_digest(attempt.state.encode(), state.encode()) or not code:
        raise Unauthorised(_("This sign-in was not begun in this browser, is too old, or was refused. Begin again."))
    vouched = await provider.finish(attempt, code)
    identity = await _member(request, context, vouched, attempt.invitation)
    answer = signed_in(request, attempt.go_on, identity)
    sign_in.clear_cookie(request, answer, "openid")
    return answer


async def _member(request: Request, context: Context, vouched: Vouched, invitation: str) -> Identity:
    """As whom the person acts; with an invitation for its tenant. Raises `RoleTooSmall` for somebody who is no member anywhere."""
    see(WHOLE_INSTALLATION)
    name = (vouched.issuer, vouched.subject)
    async with context.engine.begin() as conn:
        wanted = await people.find_invitation(conn, invitation) if invitation else None
        if wanted is None:
            user = await people_store.find_vouched(conn, *name)
        else:
            user = await people.accept(conn, wanted, vouched=name)
            _note(request, wanted, user)
    authenticator = authenticator_of(request)
    authenticator.forget()
    found = [] if user is None else await authenticator.tenants_of(user)
    if wanted is not None:
        found.sort(key=lambda member: member.tenant != wanted.tenant)
    if not found:
        raise RoleTooSmall(
            _(
                "You are recognised, and a member of no tenant here. Ask an operator for an invitation, and open its link."
            )
        )
    return sign_in.identity_of_member(found[0])


@router.get("/invitation")
async def invitation(request: Request, context: Ctx, code: Secret = "") -> Response:
    """What one is invited to; accepting is a step of its own, because mail programs open links."""
    found = await _invitation(context, code)
    return _page(request, found, code=code, elsewhere=await _acts_elsewhere(request, found))


@router.post("/invitation")
async def accept(
    request: Request,
    context: Ctx,
    code: Annotated[str, Form(max_length=200)] = "",
    leave: Annotated[Literal["", "1"], Form()] = "",
) -> Response:
    """On to the provider that recognises people; without one the link makes an account and a token, which is shown once.

    By a form of this server's page alone: another site's link must not make the reader act for a tenant of its choice.

    leave : whoever is signed in to another tenant agrees to leave it
    """
    found = await _invitation(context, code)
    if sign_in.has_provider(request):
        if not leave and await _acts_elsewhere(request, found):
            return _page(request, found, code=code, elsewhere=True, status=409)
        address, attempt = await _provider(request).begin(_redirect(request), invitation=code)
        # A form may lead to this server alone, redirects included: the page that answers it leads on.
        return _remember(request, attempt, _page(request, found, address=address))
    see(WHOLE_INSTALLATION)
    async with context.engine.begin() as conn:
        user = await people.accept(conn, found)
        with use_sight(Sight(found.tenant, everything=True)):
            name = f"{found.name[:80]} {secrets.token_hex(4)}"
            _token, secret = await service.create(conn, name, found.role, None, server_has_token=True, user=user)
        _note(request, found, user)
    authenticator_of(request).forget()
    return _page(request, found, secret=secret)


def _page(
    request: Request,
    of: Invitation,
    *,
    code: str = "",
    secret: str = "",
    address: str = "",
    elsewhere: bool = False,
    status: int = 200,
) -> Response:
    """address : of the provider, where the reader is to go on"""
    return page(
        request,
        "invitation.html",
        status=status,
        invitation=of,
        code=code,
        secret=secret,
        address=address,
        elsewhere=elsewhere,
        openid=sign_in.has_provider(request),
        needed=True,
    )


async def _acts_elsewhere(request: Request, invitation: Invitation) -> bool:
    """Whether somebody is signed in in this browser, to another tenant, which signing in by the invitation would leave."""
    found = await sign_in.find_signed_in(request) if sign_in.has_provider(request) else None
    return found is not None and found.tenant != invitation.tenant


def _note(request: Request, invitation: Invitation, user: UUID) -> None:
    """For the audit log: who accepts is known from here on, before the transaction is committed."""
    deed = Deed(uuid4(), user, None, request.method, partial(audited_path, request.scope))
    see(Sight(invitation.tenant, everything=True, deed=deed))


async def _invitation(context: Context, code: str) -> Invitation:
    see(WHOLE_INSTALLATION)
    async with context.engine.connect() as conn:
        return await people.find_invitation(conn, code)


@settings_router.post("/settings/sign-out-everywhere")
async def out_everywhere(request: Request, context: Ctx) -> Response:
    """Of one's own account, in every browser and process."""
    identity = identity_of(request)
    if identity.user_id is None:
        raise NotFound(_("The server's own token is no account. Sign out here, or set another LEADLINE_TOKEN."))
    # Of every tenant: it is the person's own wish.
    see(sight_of(identity, request.scope, request.url.path, everything=True, quotas=quotas()))
    async with context.engine.begin() as conn:
        await people.sign_out(conn, identity.user_id)
    authenticator_of(request).forget()
    return back("/sign-in")


@settings_router.post("/settings/tenant")
async def switch(request: Request, tenant: Annotated[UUID, Form()]) -> Response:
    """Act for another tenant of which one is a member, from here on in this browser."""
    identity = identity_of(request)
    members = [] if identity.user_id is None else await authenticator_of(request).tenants_of(identity.user_id)
    found = next((member for member in members if member.tenant == tenant), None)
    if found is None or identity.token_id is not None:
        raise NotFound(_("You are no member of that tenant, or signed in by a token, which is of one."))
    if identity.is_signed_out_of(found):
        raise Unauthorised(_("You were signed out of that tenant. Sign in again."))
    return signed_in(request, "/", sign_in.identity_of_member(found))


def _provider(request: Request) -> OpenId:
    found = getattr(request.app.state, "openid", None)
    if not isinstance(found, OpenId):
        raise NotFound(_("No sign-in provider is set up here (LEADLINE_OIDC_ISSUER). Sign in with a token."))
    return found


def _redirect(request: Request) -> str:
    given: str | None = request.app.state.context.settings.oidc_redirect_url
    return given or str(request.url_for("finish"))
