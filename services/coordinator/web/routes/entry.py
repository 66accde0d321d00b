"""Signing in and out."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response

from services.coordinator.tokens.authenticator import SERVER
from services.coordinator.tokens.model import Identity
from services.coordinator.web import sign_in
from services.coordinator.web.rendering import page
from services.coordinator.web.routes.common import PageRoute
from services.coordinator.web.texts import gettext as _

router = APIRouter(route_class=PageRoute, include_in_schema=False)


@router.get("/sign-in")
async def form(request: Request, code: str = "", next: str = "/") -> Response:  # noqa: A002 (the parameter's name in the address)
    """The form; with a one-time code, the cookie at once."""
    if code and sign_in.sessions_of(request).redeem(code):
        return signed_in(request, next, SERVER)
    wrong = _("The link is used or too old: it works once, within two minutes.") if code else ""
    return page(
        request,
        "sign_in.html",
        status=401 if code else 200,
        wrong=wrong,
        go_on=own_address(next),
        needed=await sign_in.requires_sign_in(request),
        openid=sign_in.has_provider(request),
    )


@router.post("/sign-in")
async def sign(
    request: Request,
    token: Annotated[str, Form(max_length=500)] = "",
    next: Annotated[str, Form(max_length=500)] = "/",  # noqa: A002 (the field's name in the form)
) -> Response:
    found = await sign_in.identity_of_token(request, token)
    if found is None:
        return page(
            request,
            "sign_in.html",
            status=401,
            wrong=_("That is not a token of this server, or it is expired or revoked."),
            go_on=own_address(next),
            needed=await sign_in.requires_sign_in(request),
            openid=sign_in.has_provider(request),
        )
    return signed_in(request, next, found)


@router.post("/sign-out")
async def out(request: Request) -> Response:
    sign_in.sessions_of(request).end(request.cookies.get(sign_in.cookie_name(request), ""))
    answer = RedirectResponse("/sign-in", status_code=303)
    sign_in.clear_cookie(request, answer)
    return answer


def signed_in(request: Request, wanted: str, identity: Identity) -> RedirectResponse:
    """On to the page that was wanted, with the cookie of a new session.

    Raises `TooManyRequests` where the tenant asks more often than its quota is: a sign-in is a call like any other.
    """
    sign_in.count_call(request, identity)
    answer = RedirectResponse(own_address(wanted), status_code=303)
    sign_in.set_cookie(request, answer, sign_in.sessions_of(request).begin(identity))
    return answer


def own_address(address: str) -> str:
    """Only ways into this server: a link that somebody sends must not lead elsewhere after signing in."""
    return address if address.startswith("/") and not address.startswith(("//", "/\\")) else "/"
