"""Forms of limits and webhooks in settings: a limit is set, a webhook made and tried, both deleted."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import Form, Request
from fastapi.responses import Response

from services.coordinator.context import Ctx
from services.coordinator.errors import Invalid
from services.coordinator.notifications import service
from services.coordinator.notifications.model import Op
from services.coordinator.web.routes.common import apply_change, back
from services.coordinator.web.routes.common import router as made
from services.coordinator.web.routes.settings import settings_page
from services.coordinator.web.texts import gettext as _
from shared.text import unprintable

router = made()
_SECTION = "/settings#notifications"


@router.post("/settings/limits")
async def create_limit(
    context: Ctx,
    op: Annotated[Op, Form()],
    value: Annotated[float, Form(allow_inf_nan=False)],
    figure: Annotated[str, Form(max_length=200)],
    name: Annotated[str, Form(max_length=100)] = "",
    portfolio: Annotated[str, Form()] = "",
) -> Response:
    called = _check_name(name.strip() or f"{figure.strip()} {op.value} {value:g}"[:100])
    only = UUID(portfolio) if portfolio else None
    await apply_change(
        context, lambda conn: service.add_limit(conn, called, only, _check_name(figure.strip()), op, value)
    )
    return back(_SECTION, _("It is watched from now on."))


@router.post("/settings/limits/{limit_id}/delete")
async def delete_limit(limit_id: UUID, context: Ctx) -> Response:
    await apply_change(context, lambda conn: service.delete_limit(conn, limit_id))
    return back(_SECTION, _("Deleted."))


@router.post("/settings/webhooks")
async def create_webhook(
    request: Request,
    context: Ctx,
    name: Annotated[str, Form(max_length=100)],
    url: Annotated[str, Form(max_length=2000)],
) -> Response:
    """Answered with the page and not with a redirect: the secret stands on it, and nowhere else and never again."""
    async with context.engine.begin() as conn:
        webhook, secret = await service.add_webhook(
            conn, _check_name(name.strip()), url, private=context.settings.webhook_private
        )
    return await settings_page(request, context, signing=(webhook.name, secret))


@router.post("/settings/webhooks/{webhook_id}/test")
async def test(webhook_id: UUID, context: Ctx) -> Response:
    async with context.engine.begin() as conn:
        await service.send_test(conn, webhook_id)
    return back(_SECTION, _("A test is on its way. Load the page again in a few seconds to see whether it arrived."))


@router.post("/settings/webhooks/{webhook_id}/delete")
async def delete_webhook(webhook_id: UUID, context: Ctx) -> Response:
    async with context.engine.begin() as conn:
        await service.delete_webhook(conn, webhook_id)
    return back(_SECTION, _("Deleted."))


def _check_name(name: str) -> str:
    if not name:
        raise Invalid(_("Give it a name."))
    if (found := unprintable(name, lines=False)) is not None:
        raise Invalid(_("The name holds the control or invisible character {found}. Remove it.").format(found=found))
    return name
