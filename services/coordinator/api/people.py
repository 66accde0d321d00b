"""Users and service accounts of a tenant, invitations to it, and who changed what. For operators alone, reading included."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse, Response
from pydantic import Field

from services.coordinator.api.acting import Acting
from services.coordinator.api.bodies import Body, Line
from services.coordinator.api.context import Ctx
from services.coordinator.api.models import people as models
from services.coordinator.api.representation import DocumentRoute
from services.coordinator.results.values import to_json
from services.coordinator.tokens import audit_store, invitation_store, people, people_store
from services.coordinator.tokens.authenticator import authenticator_of
from services.coordinator.tokens.invitation_store import Invitation
from services.coordinator.tokens.model import Member, Role
from services.coordinator.tokens.operators import operator_stays
from shared.db.engine import snapshot

router = APIRouter(route_class=DocumentRoute, prefix="/admin", tags=["people"])


class UserBody(Body):
    """A service account, or a person who is let in by tokens alone; people who sign in themselves are invited."""

    name: Line = Field(min_length=1, max_length=100, examples=["night report"])
    role: Role
    kind: Literal["person", "service"] = "service"


class RoleBody(Body):
    role: Role


class InvitationBody(Body):
    name: Line = Field(min_length=1, max_length=100, examples=["the new colleague"])
    role: Role


@router.get("/users", summary="Users and service accounts, by name", response_model=models.Users)
async def users(context: Ctx, _: Acting) -> dict[str, Any]:
    async with snapshot(context.engine) as conn:
        return {"items": [_user(each) for each in await people_store.members(conn)]}


@router.post("/users", status_code=201, summary="Create a user or service account", response_model=models.User)
async def create_user(body: UserBody, request: Request, context: Ctx, _: Acting) -> Response:
    """It has no way in yet: create a token of it."""
    async with context.engine.begin() as conn:
        made = await people.add_user(conn, body.kind, body.name, body.role)
    authenticator_of(request).forget()
    return JSONResponse(_user(made), status_code=201)


@router.patch("/users/{user_id}", summary="Give a user another role", response_model=models.User)
async def change_user(user_id: UUID, body: RoleBody, request: Request, context: Ctx, _: Acting) -> dict[str, Any]:
    """Tokens of the user do at most what the user may, from then on. The last operator stays one."""
    stays = await operator_stays(request)
    async with context.engine.begin() as conn:
        changed = await people.set_role(conn, user_id, body.role, stays)
    authenticator_of(request).forget()
    return _user(changed)


@router.delete("/users/{user_id}", status_code=204, summary="Remove a user: none of their tokens works here any more")
async def remove_user(user_id: UUID, request: Request, context: Ctx, _: Acting) -> Response:
    """The last operator cannot be removed: nobody could make another."""
    stays = await operator_stays(request)
    async with context.engine.begin() as conn:
        await people.remove_user(conn, user_id, stays)
    authenticator_of(request).forget()
    return Response(status_code=204)


@router.post("/users/{user_id}/sign-out", status_code=204, summary="Sign a user out of every browser")
async def sign_out(user_id: UUID, request: Request, context: Ctx, _: Acting) -> Response:
    """Within five seconds, in every process. Tokens stay: they are revoked one by one."""
    async with context.engine.begin() as conn:
        await people.sign_out(conn, user_id)
    authenticator_of(request).forget()
    return Response(status_code=204)


@router.get("/invitations", summary="Invitations, newest first", response_model=models.Invitations)
async def invitations(context: Ctx, _: Acting) -> dict[str, Any]:
    async with snapshot(context.engine) as conn:
        return {"items": [_invitation(each) for each in await invitation_store.invitations(conn)]}


@router.post(
    "/invitations",
    status_code=201,
    summary="Invite somebody; the link's secret is answered here and never again",
    response_model=models.InvitationMade,
)
async def invite(body: InvitationBody, context: Ctx, _: Acting) -> Response:
    """Whoever opens `page` first becomes a member, within seven days."""
    async with context.engine.begin() as conn:
        made, secret = await people.invite(conn, body.name, body.role)
    answer = _invitation(made) | {"code": secret, "page": f"/invitation?code={secret}"}
    return JSONResponse(answer, status_code=201)


@router.delete("/invitations/{invitation_id}", status_code=204, summary="Withdraw an invitation")
async def withdraw(invitation_id: UUID, context: Ctx, _: Acting) -> Response:
    async with context.engine.begin() as conn:
        await people.withdraw(conn, invitation_id)
    return Response(status_code=204)


@router.get("/audit-log", summary="Who changed what, newest first", response_model=models.AuditLog)
async def audit_log(
    context: Ctx,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    cursor: Annotated[int | None, Query(ge=1, le=2**63 - 1, description="`next` of the page before")] = None,
) -> dict[str, Any]:
    """Of the tenant; for the installation's operator of all. Ids alone: names are in `/admin/users` and `/admin/tokens`."""
    async with snapshot(context.engine) as conn:
        found = await audit_store.page(conn, limit=limit + 1, before=cursor)
    items = [to_json(dict(row)) for row in found[:limit]]
    return {"items": items, "next": items[-1]["id"] if len(found) > limit else None}


def _user(member: Member) -> dict[str, Any]:
    return {
        "id": str(member.user_id),
        "name": member.name,
        "kind": member.kind,
        "role": member.role.value,
        "tenant_id": str(member.tenant),
        "created_at": to_json(member.created_at),
        "signed_out_at": to_json(member.signed_out_at),
    }


def _invitation(of: Invitation) -> dict[str, Any]:
    """`state` is open, accepted, withdrawn or expired."""
    expired = of.expires_at <= datetime.now(UTC)
    return {
        "id": str(of.id),
        "name": of.name,
        "role": of.role.value,
        "tenant_id": str(of.tenant),
        "state": "accepted" if of.accepted_at else "withdrawn" if of.revoked_at else "expired" if expired else "open",
        "created_at": to_json(of.created_at),
        "expires_at": to_json(of.expires_at),
        "accepted_by": to_json(of.accepted_by),
    }
