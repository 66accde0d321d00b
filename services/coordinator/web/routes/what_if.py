"""What trades would do. A form that is sent by GET: nothing is stored, so a reader may, and the answer has an address."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Annotated, Any
from uuid import UUID

from fastapi import Query, Request
from fastapi.responses import Response
from pydantic import Field
from sqlalchemy.ext.asyncio import AsyncConnection

from services.coordinator.context import Ctx
from services.coordinator.errors import NotFetched
from services.coordinator.importer import cells
from services.coordinator.results import what_if as what_ifs
from services.coordinator.results.what_if import Trade
from services.coordinator.web.routes.common import Session, runs_up_to_date
from services.coordinator.web.routes.common import router as made
from services.coordinator.web.routes.parts import part_page
from services.coordinator.web.texts import gettext as _
from services.coordinator.web.views import what_if as views
from shared.text import printable

router = made(runs_up_to_date)
MOST, SPARE = 200, 3
LARGEST = 1e12
Cells = Annotated[list[Annotated[str, Field(max_length=100)]], Query(max_length=MOST)]


@router.get("/p/{portfolio_id}/what-if")
async def what_if(
    request: Request,
    portfolio_id: UUID,
    context: Ctx,
    session: Session = None,
    symbol: Cells = [],  # noqa: B006 (read only)
    quantity: Cells = [],  # noqa: B006 (read only)
) -> Response:
    """A line of the form is a symbol and a change of its quantity. What is wrong is said above the form, which keeps its lines."""
    given = rows(symbol, quantity)
    trades, problems = read(given)

    async def view(conn: AsyncConnection, on: date) -> dict[str, Any]:
        said, result = list(problems), None
        if trades and not said:
            try:
                result = views.view(str(portfolio_id), await what_ifs.read(conn, portfolio_id, trades, on))
            except NotFetched as refused:
                said = [str(refused)]
        return {"rows": [*given, *[("", "")] * max(1, SPARE - len(given))], "problems": said, "result": result}

    return await part_page(request, context, portfolio_id, session, "what-if", view)


def rows(symbols: Sequence[str], quantities: Sequence[str]) -> list[tuple[str, str]]:
    """The lines that say anything."""
    width = max(len(symbols), len(quantities))
    filled = [[cell.strip() for cell in column] + [""] * (width - len(column)) for column in (symbols, quantities)]
    return [(name, change) for name, change in zip(*filled, strict=True) if name or change]


def read(given: Sequence[tuple[str, str]]) -> tuple[list[Trade], list[str]]:
    """(trades, what is wrong with each line that is none)."""
    trades, problems = [], []
    for name, change in given:
        value = cells.number(change)
        if not name:
            problems.append(_("The change {change} has no symbol. Name one.").format(change=printable(change)))
        elif value is None:
            problems.append(
                _("{symbol}: {change} is not a quantity. Write a number such as 100 or -12.5.").format(
                    symbol=printable(name), change=repr(printable(change))
                )
            )
        elif value == 0:
            problems.append(_("{symbol}: a change of 0 is not a trade. Leave it out.").format(symbol=printable(name)))
        elif abs(value) > LARGEST:
            problems.append(_("{symbol}: the quantity is too large.").format(symbol=printable(name)))
        else:
            trades.append(Trade(name, float(value)))
    return trades, problems
