"""Forms of a portfolio: its name, its lots, its flows, and asking for work again. After each a redirect."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Literal
from uuid import UUID

from fastapi import Form, Request
from fastapi.responses import Response
from sqlalchemy.ext.asyncio import AsyncConnection

from services.coordinator.context import Ctx
from services.coordinator.errors import InstallationOnly, Invalid, NotFound
from services.coordinator.portfolios import service
from services.coordinator.runs import requests
from services.coordinator.runs import store as runs
from services.coordinator.runs.requests import Scope
from services.coordinator.web import sign_in
from services.coordinator.web.routes.common import Day, apply_change, back
from services.coordinator.web.routes.common import router as made
from services.coordinator.web.texts import gettext as _
from shared.work import Phase

router = made()
Text = Annotated[str, Form()]
# What a form leaves empty is not given; of a lot an empty optional field is cleared.
_LOT = ("symbol", "quantity", "entry_date", "entry_price", "exit_date", "exit_price")


@router.post("/p/{portfolio_id}/edit")
async def edit(portfolio_id: UUID, context: Ctx, name: Text = "", equity_balance: Text = "") -> Response:
    given = {key: value for key, value in (("name", name), ("equity_balance", equity_balance)) if value.strip()}
    await apply_change(context, lambda conn: service.edit(conn, context.clock, portfolio_id, given))
    return back(f"/p/{portfolio_id}/data", _("Saved."))


@router.post("/p/{portfolio_id}/delete")
async def delete(portfolio_id: UUID, context: Ctx, sure: Text = "") -> Response:
    if sure != "yes":
        raise Invalid(_("Nothing was deleted: tick the box that says you are sure."))
    await apply_change(context, lambda conn: service.delete(conn, portfolio_id))
    return back("/", _("The portfolio is deleted."))


@router.post("/p/{portfolio_id}/lots")
async def add_lot(request: Request, portfolio_id: UUID, context: Ctx) -> Response:
    form = await request.form()
    given = {key: str(form[key]) for key in _LOT if str(form.get(key, "")).strip()}
    await apply_change(context, lambda conn: service.add_position(conn, context.clock, portfolio_id, given))
    return back(f"/p/{portfolio_id}/positions", _("The lot is added; what depends on it is computed again."))


@router.post("/p/{portfolio_id}/lots/{lot}")
async def edit_lot(request: Request, portfolio_id: UUID, lot: UUID, context: Ctx) -> Response:
    form = await request.form()
    given = {key: str(form[key]).strip() or None for key in _LOT if key in form}
    await apply_change(context, lambda conn: service.edit_position(conn, context.clock, portfolio_id, lot, given))
    return back(f"/p/{portfolio_id}/positions", _("The lot is changed; what depends on it is computed again."))


@router.post("/p/{portfolio_id}/lots/{lot}/delete")
async def delete_lot(portfolio_id: UUID, lot: UUID, context: Ctx) -> Response:
    await apply_change(context, lambda conn: service.remove_position(conn, context.clock, portfolio_id, lot))
    return back(f"/p/{portfolio_id}/positions", _("The lot is gone, as if it had never been."))


@router.post("/p/{portfolio_id}/flows")
async def add_flow(
    portfolio_id: UUID,
    context: Ctx,
    date: Text = "",
    amount: Text = "",
    note: Annotated[str, Form(max_length=500)] = "",
) -> Response:
    given = {"date": date, "amount": amount, "note": note or None}
    await apply_change(context, lambda conn: service.add_flows(conn, context.clock, portfolio_id, [given]))
    return back(f"/p/{portfolio_id}/positions", _("The flow is added."))


@router.post("/p/{portfolio_id}/flows/{flow}/delete")
async def delete_flow(portfolio_id: UUID, flow: UUID, context: Ctx) -> Response:
    await apply_change(context, lambda conn: service.remove_flow(conn, context.clock, portfolio_id, flow))
    return back(f"/p/{portfolio_id}/positions", _("The flow is gone."))


@router.post("/rerun")
async def rerun(
    request: Request,
    context: Ctx,
    what: Annotated[Literal["missing", "failed", "all"], Form()] = "missing",
    portfolio: Annotated[list[UUID] | None, Form()] = None,
    phase: Annotated[Literal["", "ingest", "factors", "snapshots", "risk"], Form()] = "",
    first: Annotated[Day, Form()] = None,
    last: Annotated[Day, Form()] = None,
    then: Annotated[str, Form(max_length=200)] = "/ops#runs",
) -> Response:
    """Ask for work again: one cell, a rectangle of the grid, or everything. The same request twice is one run."""
    whole = sign_in.see_installation(request)
    if not portfolio and not whole:
        raise InstallationOnly(
            _("Everything is for an operator of the installation to ask for again. Choose portfolios.")
        )
    wanted = Scope(tuple(portfolio) if portfolio else None, first, last, Phase(phase) if phase else None)
    requests.check(wanted, context.clock, what=what, force=None)

    async def act(conn: AsyncConnection) -> UUID:
        known = await runs.find_portfolios(conn, portfolio) if portfolio else []
        if portfolio and not known:
            raise NotFound(_("None of these portfolios is there. They may have been deleted."))
        scope = replace(wanted, portfolios=tuple(known) if portfolio else None)
        return await requests.request(conn, context.clock, scope, source="admin", what=what)

    run = await apply_change(context, act)
    # Only ways into this server: an address that a form brings along must not lead elsewhere.
    safe = then if then.startswith("/") and not then.startswith(("//", "/\\")) else "/ops#runs"
    return back(safe, _("Asked for. Run {id} says how far it is.").format(id=run))
