"""Who is told when a limit is breached or kept again. For operators alone, reading included."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response
from pydantic import Field

from services.coordinator.api.bodies import Body, Line
from services.coordinator.api.context import Ctx
from services.coordinator.api.models import common
from services.coordinator.api.models import notifications as models
from services.coordinator.api.representation import DocumentRoute
from services.coordinator.notifications import service, webhook_store
from services.coordinator.notifications.model import Webhook
from services.coordinator.results.values import to_json
from shared.db.engine import snapshot
from shared.telemetry import logger

log = logger(__name__)

router = APIRouter(route_class=DocumentRoute, prefix="/admin/webhooks", tags=["notifications"])


class WebhookBody(Body):
    """An https address that takes a POST with a JSON body; http to the server's own machine."""

    name: Line = Field(min_length=1, max_length=100, examples=["risk desk"])
    url: Line = Field(min_length=1, max_length=2000, examples=["https://example.org/leadline"])


@router.get("", summary="Webhooks, and whether their messages arrive", response_model=models.Webhooks)
async def listed(context: Ctx) -> dict[str, Any]:
    async with snapshot(context.engine) as conn:
        return {"items": [_document(each) for each in await webhook_store.all_webhooks(conn)]}


@router.post(
    "",
    status_code=201,
    summary="Create a webhook; its secret is answered here and never again",
    response_model=models.WebhookMade,
)
async def create(body: WebhookBody, context: Ctx) -> Response:
    """What is breached now it is told at once. Sent again it is refused for its name: no answer with a secret in it is kept."""
    async with context.engine.begin() as conn:
        made, secret = await service.add_webhook(conn, body.name, body.url, private=context.settings.webhook_private)
    log.info("webhook_created", id=str(made.id))
    return JSONResponse(_document(made) | {"secret": secret}, status_code=201)


@router.post(
    "/{webhook_id}/test", status_code=202, summary="Send a message that says nothing", response_model=common.Accepted
)
async def test(webhook_id: UUID, context: Ctx) -> Response:
    """It goes out in its turn within seconds; the list says whether it arrived. What waits for another attempt is tried at once."""
    async with context.engine.begin() as conn:
        await service.send_test(conn, webhook_id)
    return JSONResponse({"accepted": True}, status_code=202)


@router.delete("/{webhook_id}", status_code=204, summary="Delete a webhook, and what it has not been told")
async def delete(webhook_id: UUID, context: Ctx) -> Response:
    async with context.engine.begin() as conn:
        await service.delete_webhook(conn, webhook_id)
    log.info("webhook_deleted", id=str(webhook_id))
    return Response(status_code=204)


def _document(webhook: Webhook) -> dict[str, Any]:
    return {
        "id": str(webhook.id),
        "name": webhook.name,
        "url": webhook.url,
        "created_at": to_json(webhook.created_at),
        "pending": webhook.pending,
        "delivered_at": to_json(webhook.delivered_at),
        "last_error": webhook.last_error,
    }
