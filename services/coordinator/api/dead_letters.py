"""Dead letters: messages and units that could not be handled. Looked at, mended, sent again or given up, one or many."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, TypedDict

from fastapi import APIRouter, Depends, Path, Query, Request
from fastapi.responses import JSONResponse, Response
from sqlalchemy.ext.asyncio import AsyncConnection

from services.coordinator import serializers
from services.coordinator.api.bodies import LetterBody
from services.coordinator.api.context import Ctx
from services.coordinator.api.idempotent_writes import idempotent_write
from services.coordinator.api.models import admin as admin_models
from services.coordinator.api.representation import DocumentRoute
from services.coordinator.errors import Conflict, Invalid, NotFound
from services.coordinator.results.values import document
from shared import ledger
from shared.db.engine import snapshot
from shared.errors import PermanentError
from shared.messaging import dead_letters
from shared.messaging.dead_letters import DeadLetter

router = APIRouter(route_class=DocumentRoute, prefix="/admin/dead-letters", tags=["admin"])

BIGINT_MAX = 2**63 - 1
# Of a bulk call: more are settled by calling again, and no transaction is long.
MOST = 500
LetterId = Annotated[int, Path(ge=1, le=BIGINT_MAX)]
DryRun = Annotated[bool, Query(description="Only say which; the default, because many are meant")]
Word = Annotated[str | None, Query(max_length=100)]


class Which(TypedDict):
    """What limits a list, or a bulk call."""

    reason: str | None
    consumer: str | None
    topic: str | None


def _which(reason: Word = None, consumer: Word = None, topic: Word = None) -> Which:
    return Which(reason=reason, consumer=consumer, topic=topic)


Filters = Annotated[Which, Depends(_which)]


@router.get(
    "", summary="What could not be handled and is not settled, newest first", response_model=admin_models.DeadLetters
)
async def letters(
    context: Ctx,
    filters: Filters,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: Annotated[int | None, Query(ge=1, le=BIGINT_MAX)] = None,
) -> dict[str, Any]:
    async with snapshot(context.engine) as conn:
        found = await dead_letters.page(conn, limit=limit + 1, before=cursor, **filters)
    items = [serializers.dead_letter(letter, document(letter.headers)) for letter in found[:limit]]
    return {"items": items, "next": items[-1]["id"] if len(found) > limit else None}


@router.get("/{letter_id}", summary="One of them", response_model=admin_models.DeadLetter)
async def letter(letter_id: LetterId, context: Ctx) -> dict[str, Any]:
    async with snapshot(context.engine) as conn:
        found = await _get_existing(conn, letter_id)
    return serializers.dead_letter(found, document(found.headers))


@router.patch(
    "/{letter_id}",
    summary="Mend body or headers before sending it again; what came is kept",
    response_model=admin_models.DeadLetter,
)
async def edit(request: Request, letter_id: LetterId, body: LetterBody, context: Ctx) -> Response:
    async def act(conn: AsyncConnection) -> tuple[int, Any]:
        try:
            edited = await dead_letters.edit(conn, letter_id, body=body.body, headers=body.headers)
        except PermanentError as error:
            raise Invalid(f"{error}.", code=error.code) from error
        if not edited:
            await _refuse_settled(conn, letter_id)
        found = await _get_existing(conn, letter_id)
        return 200, serializers.dead_letter(found, document(found.headers))

    return await idempotent_write(request, context, act, json.dumps(body.given_fields(), sort_keys=True))


@router.post(
    "/{letter_id}/replay",
    status_code=202,
    summary="Send it again, once however often this is called",
    response_model=admin_models.Replayed,
)
async def replay(request: Request, letter_id: LetterId, context: Ctx) -> Response:
    """A letter that was replayed before is answered with the event it was replayed as, and nothing is sent."""

    async def act(conn: AsyncConnection) -> tuple[int, Any]:
        sent = await _replay(conn, letter_id)
        found = await _get_existing(conn, letter_id)
        if found.replayed_at is None:
            await _refuse_settled(conn, letter_id)
        return 202, {"id": letter_id, "replayed": True, "sent": sent, "event_id": str(found.replay_event_id)}

    return await idempotent_write(request, context, act)


@router.post(
    "/{letter_id}/purge",
    summary="Give it up for good; not while units that it is about are blocked",
    response_model=admin_models.Purged,
)
async def purge(request: Request, letter_id: LetterId, context: Ctx) -> Response:
    async def act(conn: AsyncConnection) -> tuple[int, Any]:
        try:
            purged = await dead_letters.purge(conn, letter_id)
        except PermanentError as error:
            raise Conflict(f"{error}.", code=error.code) from error
        if not purged:
            await _refuse_settled(conn, letter_id)
        return 200, {"id": letter_id, "purged": True}

    return await idempotent_write(request, context, act)


@router.post(
    "/replay",
    status_code=202,
    summary="Send many again; without dry_run=false only say which",
    response_model=admin_models.ManySettled,
)
async def replay_many(request: Request, context: Ctx, filters: Filters, dry_run: DryRun = True) -> Response:  # noqa: FBT002
    return await _many(request, context, filters, dead_letters.replay, "replayed", dry_run=dry_run)


@router.post(
    "/purge", summary="Give many up; without dry_run=false only say which", response_model=admin_models.ManySettled
)
async def purge_many(request: Request, context: Ctx, filters: Filters, dry_run: DryRun = True) -> Response:  # noqa: FBT002
    return await _many(request, context, filters, dead_letters.purge, "purged", dry_run=dry_run)


async def _many(
    request: Request,
    context: Ctx,
    filters: Which,
    settle: Callable[[AsyncConnection, int], Awaitable[bool]],
    word: str,
    *,
    dry_run: bool,
) -> Response:
    """The open letters that fit, at most `MOST`; those that cannot be sent again, or given up, are listed and left as they are."""

    async def act(conn: AsyncConnection) -> tuple[int, Any]:
        found = await dead_letters.page(conn, limit=MOST + 1, **filters)
        if word == "replayed":
            refused = {item.id for item in found if not dead_letters.replayable(item)}
        else:
            refused = await dead_letters.still_blocked(conn, [item.id for item in found])
        if not dry_run:
            await ledger.lock_blocked(conn)
        settled = []
        for item in found[:MOST]:
            if item.id in refused:
                continue
            try:
                # One that cannot be settled after all takes nothing back of the others.
                async with conn.begin_nested():
                    if dry_run or await settle(conn, item.id):
                        settled.append(item.id)
            except PermanentError:
                refused.add(item.id)
        listed = [item.id for item in found[:MOST] if item.id in refused]
        body = {"dry_run": dry_run, word: settled, "refused": listed, "more": len(found) > MOST}
        return (202 if word == "replayed" else 200), body

    if dry_run:
        async with snapshot(context.engine) as conn:
            status, body = await act(conn)
        return JSONResponse(body, status_code=status)
    return await idempotent_write(request, context, act, json.dumps(filters, sort_keys=True))


async def _get_existing(conn: AsyncConnection, letter_id: int) -> DeadLetter:
    found = await dead_letters.get(conn, letter_id)
    if found is None:
        raise NotFound(f"There is no dead letter {letter_id}.")
    return found


async def _replay(conn: AsyncConnection, letter_id: int) -> bool:
    try:
        return await dead_letters.replay(conn, letter_id)
    except PermanentError as error:
        raise Invalid(f"{error} Or mend its body first.", code=error.code) from error


async def _refuse_settled(conn: AsyncConnection, letter_id: int) -> None:
    await _get_existing(conn, letter_id)
    raise Conflict(f"Dead letter {letter_id} was already replayed, purged or resolved.")
