"""Access tokens: made, listed, revoked. For operators alone, reading included."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from pydantic import Field

from services.coordinator.api.acting import Acting
from services.coordinator.api.bodies import Body, Line
from services.coordinator.api.context import Ctx
from services.coordinator.api.models import tokens as models
from services.coordinator.api.query_dates import Day
from services.coordinator.api.representation import DocumentRoute
from services.coordinator.results.values import to_json
from services.coordinator.tokens import service, store
from services.coordinator.tokens.authenticator import authenticator_of, identity_of
from services.coordinator.tokens.model import Role, Token
from shared.db.engine import snapshot
from shared.telemetry import logger

log = logger(__name__)

router = APIRouter(route_class=DocumentRoute, prefix="/admin/tokens", tags=["tokens"])


class TokenBody(Body):
    """What it is for, what its holder may do, and the last day, in UTC, on which it works."""

    name: Line = Field(min_length=1, max_length=100, examples=["nightly report"])
    role: Role
    expires: Annotated[Day | None, Field(examples=["2027-12-31"])] = None
    user_id: Annotated[UUID | None, Field(description="Whose it is; without it a service account of its own")] = None


@router.post(
    "",
    status_code=201,
    summary="Create a token; its secret is answered here and never again",
    response_model=models.TokenMade,
)
async def create(body: TokenBody, request: Request, context: Ctx, _: Acting) -> Response:
    """Sent again it is refused for its name: no answer with a secret in it is kept, so `Idempotency-Key` does nothing here."""
    authenticator = authenticator_of(request)
    async with context.engine.begin() as conn:
        made, secret = await service.create(
            conn,
            body.name,
            body.role,
            body.expires,
            server_has_token=authenticator.server_has_token,
            user=body.user_id,
        )
    authenticator.forget()
    log.info("token_created", id=str(made.id), role=made.role.value, by=caller(request))
    return JSONResponse({"id": str(made.id), "token": secret} | _document(made), status_code=201)


@router.get("", summary="Tokens, newest first, also those that are expired or revoked", response_model=models.Tokens)
async def listed(context: Ctx, _: Acting) -> dict[str, Any]:
    async with snapshot(context.engine) as conn:
        return {"items": [_document(each) for each in await store.all_tokens(conn)]}


@router.delete("/{token_id}", status_code=204, summary="Revoke a token: within five seconds it works nowhere")
async def revoke(token_id: UUID, request: Request, context: Ctx, _: Acting) -> Response:
    async with context.engine.begin() as conn:
        await service.revoke(conn, token_id)
    authenticator_of(request).forget()
    log.info("token_revoked", id=str(token_id), by=caller(request))
    return Response(status_code=204)


def caller(request: Request) -> str:
    """By id: a name is nothing for a log."""
    return str(identity_of(request).token_id or "server")


def _document(token: Token) -> dict[str, Any]:
    """`state` is active, expired or revoked; `last_used_at` is true to the hour."""
    expired = token.expires_at is not None and token.expires_at <= datetime.now(UTC)
    return {
        "id": str(token.id),
        "name": token.name,
        "role": token.role.value,
        "state": "revoked" if token.revoked_at else "expired" if expired else "active",
        "created_at": to_json(token.created_at),
        "expires_at": to_json(token.expires_at),
        "last_used_at": to_json(token.last_used_at),
        "revoked_at": to_json(token.revoked_at),
        "user_id": to_json(token.user_id),
        "tenant_id": str(token.tenant),
    }
