"""The exchange calendar: sessions and when they are due, and the closures that users enter."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from pydantic import Field
from sqlalchemy.ext.asyncio import AsyncConnection

from services.coordinator.api.bodies import Body, Text, Words
from services.coordinator.api.context import Ctx
from services.coordinator.api.idempotent_writes import idempotent_write
from services.coordinator.api.models import admin as admin_models
from services.coordinator.api.query_dates import Day
from services.coordinator.api.representation import DocumentRoute
from services.coordinator.reference.closures import service, store
from services.coordinator.reference.closures.rules import NEW_YORK
from services.coordinator.reference.closures.service import Outcome
from services.coordinator.reference.closures.store import ActiveClosure
from services.coordinator.results.values import to_json
from shared.db.engine import snapshot
from shared.market.calendar import ANNOUNCED_UNTIL, EXCHANGE, HORIZON_ALARM_DAYS, HORIZON_REMEDY, Calendar

router = APIRouter(route_class=DocumentRoute, prefix="/calendar", tags=["calendar"])

FULL_DAY = time(16, 0)


class ClosureBody(Body):
    """Why, which readers of the day are told; and for an early close the hour, in New York time."""

    reason: Words = Field(min_length=1, max_length=500, examples=["Day of mourning"])
    close_at: Annotated[Text, Field(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$", examples=["13:00"])] = None


@router.get(
    "",
    summary="The next sessions and when each is due, closures, and how far the calendar reaches",
    response_model=admin_models.TradingCalendar,
)
async def shown(
    context: Ctx, sessions: Annotated[int, Query(ge=1, le=300, description="How many to list")] = 5
) -> dict[str, Any]:
    async with snapshot(context.engine) as conn:
        entered = await store.find_active(conn)
    days, last_due, now = context.clock.calendar(), context.clock.last_due(), context.clock.now()
    left = days.days_to_horizon(datetime.now(UTC))
    return {
        "exchange": EXCHANGE,
        "now": to_json(now),
        "last_due": last_due.isoformat(),
        "sessions": [
            _session(days, day) for day in days.between(last_due + timedelta(days=1), days.horizon)[:sessions]
        ],
        "closures": [_closure(each) for each in entered],
        "horizon": {
            "last_session": days.horizon.isoformat(),
            "announced_until": ANNOUNCED_UNTIL.isoformat(),
            "days_left": left,
            "alarm": left < HORIZON_ALARM_DAYS,
            "remedy": HORIZON_REMEDY if left < HORIZON_ALARM_DAYS else None,
        },
    }


@router.get(
    "/closures",
    summary="Days the exchange stays closed or closes early that its calendar does not know",
    response_model=admin_models.Closures,
)
async def listed(context: Ctx) -> dict[str, Any]:
    async with snapshot(context.engine) as conn:
        return {"items": [_closure(each) for each in await store.find_active(conn)]}


@router.get("/closures/{day}", summary="One of them", response_model=admin_models.Closure)
async def read(day: Day, context: Ctx) -> dict[str, Any]:
    async with snapshot(context.engine) as conn:
        return _closure(await service.require_active(conn, day))


@router.put(
    "/closures/{day}",
    summary="Say that the exchange stays closed on a session, or closes early",
    response_model=admin_models.ClosureOutcome,
)
async def enter(day: Day, body: ClosureBody, request: Request, context: Ctx) -> Response:
    """Every later session of every portfolio is required anew; what was said of the day itself stays readable as a restatement.
    An early close only moves when the session is due. The same again changes nothing."""
    at = None if body.close_at is None else time.fromisoformat(body.close_at)

    async def act(conn: AsyncConnection) -> tuple[int, Any]:
        done = await service.add(conn, context.clock, day, at, body.reason)
        return 200, _closure(await service.require_active(conn, day)) | _outcome(done)

    return await idempotent_write(request, context, act, json.dumps(body.given_fields(), sort_keys=True))


@router.delete(
    "/closures/{day}",
    summary="Take a closure back: the day is a session again",
    response_model=admin_models.ClosureOutcome,
)
async def take_back(day: Day, request: Request, context: Ctx) -> Response:
    async def act(conn: AsyncConnection) -> tuple[int, Any]:
        done = await service.remove(conn, context.clock, day)
        return 200, {"day": day.isoformat()} | _outcome(done)

    return await idempotent_write(request, context, act)


def _session(days: Calendar, day: date) -> dict[str, Any]:
    _, closes = days.hours(day)
    due, entered = days.due_at(day), days.closure(day)
    local = closes.astimezone(NEW_YORK)
    return {
        "session": day.isoformat(),
        "close_at": to_json(closes),
        "due_at": to_json(due),
        "due_at_new_york": due.astimezone(NEW_YORK).isoformat(),
        "early": local.time() != FULL_DAY,
        "reason": None if entered is None else entered.reason,
    }


def _closure(entered: ActiveClosure) -> dict[str, Any]:
    closure = entered.closure
    local = None if closure.close_at is None else closure.close_at.astimezone(NEW_YORK)
    return {
        "day": closure.day.isoformat(),
        "closed": closure.close_at is None,
        "close_at": to_json(closure.close_at),
        "close_at_new_york": None if local is None else local.isoformat(),
        "reason": closure.reason,
        "entered_at": to_json(entered.entered_at),
    }


def _outcome(done: Outcome) -> dict[str, Any]:
    return {
        "changed": done.changed,
        "withdrawn_units": done.withdrawn,
        "required_units": done.required,
        "run_id": to_json(done.run_id),
    }
