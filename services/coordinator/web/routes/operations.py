"""Operations: the grid of everything, what is missing and why, and what an operator can do about it."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, date, datetime, timedelta
from datetime import time as clock_time
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import Form, Request
from fastapi.responses import JSONResponse, Response
from sqlalchemy.ext.asyncio import AsyncConnection
from sse_starlette.sse import EventSourceResponse

from services.coordinator import serializers
from services.coordinator.context import Context, Ctx
from services.coordinator.control import auditor
from services.coordinator.errors import Conflict, NotFound
from services.coordinator.reference import symbols
from services.coordinator.reference.closures import service as closures
from services.coordinator.reference.closures import store as closure_store
from services.coordinator.results import grid as completeness
from services.coordinator.results import providers, quarantine
from services.coordinator.results.values import document
from services.coordinator.runs import events
from services.coordinator.runs import store as runs
from services.coordinator.web.rendering import HEADERS, live_part, page, text_of
from services.coordinator.web.routes.common import Day, apply_change, back, changes, runs_up_to_date
from services.coordinator.web.routes.common import router as made
from services.coordinator.web.texts import gettext as _
from services.coordinator.web.views import operations as views
from shared.db.closures import load_closures
from shared.db.engine import snapshot
from shared.ledger import schedule
from shared.market.calendar import EXCHANGE, HORIZON_ALARM_DAYS, HORIZON_REMEDY
from shared.messaging import dead_letters
from shared.messaging import outbox as outbox_
from shared.work import Phase

router = made(runs_up_to_date)
RUNS, LETTERS, HELD, SESSIONS, EVENTS = 20, 50, 50, 5, 200
Text = Annotated[str, Form(max_length=500)]


@router.get("/ops")
async def operations(
    request: Request,
    context: Ctx,
    phase: Literal["", "ingest", "factors", "snapshots", "risk"] = "",
    first: Day = None,
    last: Day = None,
) -> Response:
    async with snapshot(context.engine) as conn:
        grid = await completeness.read(
            conn, context.clock, first=first, last=last, phase=Phase(phase) if phase else None
        )
        moving = live_part("_operations.html", **await _state(conn))
        view: dict[str, Any] = {
            "letters": [
                serializers.dead_letter(letter, document(letter.headers))
                for letter in await dead_letters.page(conn, limit=LETTERS, before=None)
            ],
            "held": views.held_prices(await quarantine.page(conn, state=None, limit=HELD, cursor=None)),
            "providers": views.providers(await providers.chain(conn)),
            "calendar": _calendar(context, await closure_store.find_active(conn)),
        }
    return page(
        request,
        "operations.html",
        grid=grid,
        lines=views.lines(grid),
        portfolios=len(grid["portfolios"]),
        totals=views.totals(grid),
        states=views.state_names(),
        phase=phase,
        first=first,
        last=last,
        **view,
        **moving,
    )


@router.get("/ops/grid")
async def grid(
    context: Ctx,
    phase: Literal["", "ingest", "factors", "snapshots", "risk"] = "",
    first: Day = None,
    last: Day = None,
) -> Response:
    """The ranges that the canvas paints."""
    async with snapshot(context.engine) as conn:
        found = await completeness.read(
            conn, context.clock, first=first, last=last, phase=Phase(phase) if phase else None
        )
    return JSONResponse(found, headers=HEADERS)


@router.get("/ops/live")
async def live(context: Ctx, seen: str = "") -> EventSourceResponse:
    async def read() -> str:
        async with snapshot(context.engine) as conn:
            await load_closures(conn)
            view = await _state(conn)
        return text_of("_operations.html", **view)

    return context.streams.respond(changes(context, "operations", read, seen))


async def _state(conn: AsyncConnection) -> dict[str, Any]:
    """What moves while one watches: what is missing, runs, and what waits to be sent."""
    recent = [serializers.run(run) for run in await runs.page(conn, limit=RUNS, before=None, source=None)]
    listed = await completeness.names(conn)
    outbox = await outbox_.outbox_depth(conn)
    return {
        "holes": views.holes(await schedule.holes(conn)),
        "runs": views.runs(recent, listed),
        "outbox": asdict(outbox) | {"age": views.age(outbox.oldest_seconds)},
    }


def _calendar(context: Context, entered: list[Any]) -> dict[str, Any]:
    days, last_due = context.clock.calendar(), context.clock.last_due()
    left = days.days_to_horizon(datetime.now(UTC))
    return {
        "exchange": EXCHANGE,
        "last_due": last_due.isoformat(),
        "sessions": [
            {"session": day.isoformat(), "due_at": days.due_at(day)}
            for day in days.between(last_due + timedelta(days=1), days.horizon)[:SESSIONS]
        ],
        "closures": [
            {"day": of.closure.day.isoformat(), "close_at": of.closure.close_at, "reason": of.closure.reason}
            for of in entered
        ],
        "left": left,
        "alarm": HORIZON_REMEDY if left < HORIZON_ALARM_DAYS else "",
    }


@router.post("/ops/reconcile")
async def reconcile(context: Ctx) -> Response:
    context.wake_reconciler()
    return back("/ops#holes", _("Looking for what is missing now."))


@router.get("/ops/audit")
async def audit(request: Request, context: Ctx) -> Response:
    report = await auditor.audit(context.engine, context.clock)
    if context.measures:
        auditor.publish(report)
    return page(request, "audit.html", report=report.document())


@router.get("/ops/runs/{run_id}")
async def run(request: Request, run_id: UUID, context: Ctx) -> Response:
    async with snapshot(context.engine) as conn:
        found = await runs.read(conn, run_id)
        listed = await completeness.names(conn)
        happened, total = await events.read(conn, run_id, EVENTS)
    if found is None:
        raise NotFound(_("There is no run {id}.").format(id=run_id))
    shown = serializers.run(found)
    return page(
        request,
        "run.html",
        run=shown,
        line=views.runs([shown], listed)[0],
        events=views.run_events(happened, listed),
        total=total,
    )


@router.get("/ops/dead-letters/{letter_id}")
async def letter(request: Request, letter_id: int, context: Ctx) -> Response:
    async with snapshot(context.engine) as conn:
        found = await dead_letters.get(conn, letter_id)
    if found is None:
        raise NotFound(_("There is no dead letter {id}.").format(id=letter_id))
    body = None if found.body is None else found.body.decode("utf-8", errors="replace")
    shown = serializers.dead_letter(found, document(found.headers))
    return page(request, "dead_letter.html", letter=shown, body=body, replayable=dead_letters.replayable(found))


@router.post("/ops/dead-letters/{letter_id}")
async def settle_letter(
    letter_id: int,
    context: Ctx,
    action: Annotated[Literal["edit", "replay", "purge"], Form()],
    body: Annotated[str, Form()] = "",
) -> Response:
    """Mend it, send it again, or give it up. A body that was changed is saved before it is sent."""

    async def act(conn: AsyncConnection) -> bool:
        found = await dead_letters.get(conn, letter_id)
        if found is None:
            raise NotFound(_("There is no dead letter {id}.").format(id=letter_id))
        if action == "purge":
            return await dead_letters.purge(conn, letter_id)
        was = None if found.body is None else found.body.decode("utf-8", errors="replace")
        sent = body.replace("\r\n", "\n")
        done = True
        if sent and sent != was:
            done = await dead_letters.edit(conn, letter_id, body=sent, headers=None)
        return await dead_letters.replay(conn, letter_id) if action == "replay" else done

    if not await apply_change(context, act):
        raise Conflict(_("Dead letter {id} was already replayed, purged or resolved.").format(id=letter_id))
    said = {"edit": _("Saved."), "replay": _("Sent again."), "purge": _("Given up for good.")}[action]
    return back(f"/ops/dead-letters/{letter_id}" if action == "edit" else "/ops#dead-letters", said)


@router.post("/ops/held/{symbol}/{session}")
async def decide_price(
    symbol: str,
    session: date,
    context: Ctx,
    decision: Annotated[Literal["release", "reject"], Form()],
    reason: Text = "",
    by: Annotated[str, Form(max_length=100)] = "operator",
) -> Response:
    """Accept a price that was held back, or leave it out."""
    await apply_change(
        context, lambda conn: symbols.decide(conn, symbol, session, decision, reason=reason, by=by or "operator")
    )
    said = _("Released: the price counts at ingest's next look.") if decision == "release" else _("Rejected.")
    return back("/ops#held", said)


@router.post("/ops/closures")
async def close_day(
    context: Ctx,
    day: Annotated[date, Form()],
    reason: Text = "",
    close_at: Annotated[str, Form(pattern=r"^$|^([01][0-9]|2[0-3]):[0-5][0-9]$")] = "",
) -> Response:
    at = clock_time.fromisoformat(close_at) if close_at else None
    await apply_change(context, lambda conn: closures.add(conn, context.clock, day, at, reason))
    return back("/ops#calendar", _("Entered."))


@router.post("/ops/closures/{day}/delete")
async def open_day(day: date, context: Ctx) -> Response:
    await apply_change(context, lambda conn: closures.remove(conn, context.clock, day))
    return back("/ops#calendar", _("Taken back: the day is a session again."))
