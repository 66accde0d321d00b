"""Forms of access tokens in settings: one is made, and its secret shown once; one is revoked."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import Form, Request
from fastapi.responses import Response

from services.coordinator.context import Ctx
from services.coordinator.errors import Invalid
from services.coordinator.tokens import service
from services.coordinator.tokens.authenticator import authenticator_of, identity_of
from services.coordinator.tokens.model import Role
from services.coordinator.web.routes.common import Day, back
from services.coordinator.web.routes.common import router as made
from services.coordinator.web.routes.settings import settings_page
from services.coordinator.web.texts import gettext as _
from shared.telemetry import logger
from shared.text import unprintable

log = logger(__name__)
router = made()


@router.post("/settings/tokens")
async def create(
    request: Request,
    context: Ctx,
    role: Annotated[Role, Form()],
    name: Annotated[str, Form(max_length=100)] = "",
    expires: Annotated[Day, Form()] = None,
) -> Response:
    """Answered with the page and not with a redirect: the secret stands on it, and nowhere else and never again."""
    called = name.strip()
    if not called:
        raise Invalid(_("A token needs a name that says what it is for."))
    if (found := unprintable(called, lines=False)) is not None:
        raise Invalid(_("The name holds the control or invisible character {found}. Remove it.").format(found=found))
    authenticator = authenticator_of(request)
    async with context.engine.begin() as conn:
        token, secret = await service.create(
            conn, called, role, expires, server_has_token=authenticator.server_has_token
        )
    authenticator.forget()
    log.info(
        "token_created", id=str(token.id), role=token.role.value, by=str(identity_of(request).token_id or "server")
    )
    return await settings_page(request, context, fresh=(token.name, secret))


@router.post("/settings/tokens/{token_id}/revoke")
async def revoke(request: Request, token_id: UUID, context: Ctx) -> Response:
    async with context.engine.begin() as conn:
        await service.revoke(conn, token_id)
    authenticator_of(request).forget()
    log.info("token_revoked", id=str(token_id), by=str(identity_of(request).token_id or "server"))
    return back("/settings#tokens", _("Revoked: within five seconds it works nowhere."))
