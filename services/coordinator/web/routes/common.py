"""What the handlers of the page share: how a refusal looks, days in a query, reads in one snapshot, writes and redirects."""

from __future__ import annotations

import math
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Hashable
from contextlib import aclosing
from datetime import date
from typing import Annotated, Any, TypeVar
from urllib.parse import urlencode
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import RedirectResponse, Response
from fastapi.routing import APIRoute
from pydantic import BeforeValidator
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.exceptions import HTTPException

from services.coordinator.context import Context, Preparation, context_of, on_trading_days, ordered_change
from services.coordinator.control.unit_runs import refresh_all
from services.coordinator.errors import NotFound, Refused
from services.coordinator.portfolios import service
from services.coordinator.portfolios.store import Portfolio
from services.coordinator.results import completeness, portfolios, sessions, snapshot_rows
from services.coordinator.web import sign_in, texts
from services.coordinator.web.rendering import digest, page
from services.coordinator.web.texts import gettext as _
from services.coordinator.web.texts import locale
from services.coordinator.web.views.header import Header, header
from shared.db.engine import is_transient
from shared.errors import PermanentError
from shared.work import Phase

_ISO = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
T = TypeVar("T")


def _iso(value: object) -> object:
    if value == "":
        return None
    if isinstance(value, str) and not _ISO.fullmatch(value):
        raise ValueError("a date is written YYYY-MM-DD")
    return value


Day = Annotated[date | None, BeforeValidator(_iso)]
Session = Annotated[Day, Query(description="An exchange session; without it the newest completed one")]


class PageRoute(APIRoute):
    """A refusal on a page is a page: what is wrong, and what to do."""

    def get_route_handler(self) -> Callable[[Request], Awaitable[Response]]:  # type: ignore[override]
        inner = super().get_route_handler()

        async def handler(request: Request) -> Response:
            try:
                return await inner(request)
            except sign_in.SignInNeeded:
                return RedirectResponse(f"/sign-in?{urlencode({'next': _return_address(request)})}", status_code=303)
            except Refused as error:
                answer = refusal(request, error.status, error.title, str(error), errors=error.errors)
                if (wait := getattr(error, "retry_after", None)) is not None:
                    answer.headers["Retry-After"] = str(math.ceil(wait))
                return answer
            except PermanentError as error:
                return refusal(request, 422, _("Not possible"), str(error))
            except RequestValidationError as error:
                said = "; ".join(f"{found['loc'][-1]}: {found['msg']}" for found in error.errors()[:5])
                return refusal(request, 422, _("Cannot be read"), said)
            except HTTPException as error:
                return refusal(request, error.status_code, str(error.detail), "")
            except (DBAPIError, PoolTimeout, OSError) as error:
                if not is_transient(error):
                    raise
                said = _("The database is not reachable. Nothing was changed; try again in a moment.")
                return refusal(request, 503, _("Not reachable"), said)

        return handler


async def set_language(request: Request) -> None:
    """Streams write texts too, long after the request: the language is chosen before anything else."""
    texts.speak(request.headers.get("accept-language", ""))


def refusal(
    request: Request, code: int, title: str, detail: str, errors: list[dict[str, object]] | None = None
) -> Response:
    return page(request, "refused.html", status=code, code=code, what=title, detail=detail, errors=errors or [])


def _return_address(request: Request) -> str:
    """Where to go on after signing in; a form that was sent is filled in again from its page."""
    if request.method != "GET":
        return "/"
    query = request.url.query
    return request.url.path + (f"?{query}" if query else "")


async def runs_up_to_date(request: Request) -> None:
    """A dependency of pages that show completeness: before they open their snapshot, as the API does."""
    await refresh_all(context_of(request).engine)


def router(*further: Callable[[Request], Awaitable[None]]) -> APIRouter:
    """further : what else is done before a page of these, after the reader was let in"""
    return APIRouter(
        route_class=PageRoute,
        dependencies=[Depends(each) for each in (set_language, sign_in.require, on_trading_days, *further)],
        include_in_schema=False,
    )


async def portfolio_header(
    conn: AsyncConnection, context: Context, portfolio: UUID, session: date | None
) -> tuple[Portfolio, Header, dict[str, Any]]:
    """The portfolio, the head of its pages on the session, and its status. `NotFound` for a day that can have no values."""
    found = await service.get_existing(conn, portfolio)
    await sessions.check_of(conn, context.clock, portfolio, session)
    document = await completeness.read(conn, context.clock, portfolio)
    if document is None:
        raise NotFound(f"There is no portfolio {portfolio}. It may have been deleted.")
    row = None
    try:
        chosen = await portfolios.choose(conn, portfolio, Phase.SNAPSHOTS, session)
        rows = (await snapshot_rows.read(conn, portfolio, chosen.session, chosen.session))["items"]
        row = rows[0] if rows else None
    except NotFound:
        # Nothing is computed yet: the page says how far it is, and fills while one watches.
        row = None
    about = {"id": str(portfolio), "name": found.name, "currency": found.currency}
    return found, header(about, document, row, context.clock.calendar()), document


async def apply_change(
    context: Context, act: Callable[[AsyncConnection], Awaitable[T]], prepare: Preparation | None = None
) -> T:
    """Do a change as the API does: in one transaction that takes the commit-order lock, and send at once what it announces."""
    async with ordered_change(context, prepare) as conn:
        result = await act(conn)
    context.wake_relay()
    return result


async def changes(
    context: Context, key: Hashable, read: Callable[[], Awaitable[str]], seen: str
) -> AsyncGenerator[dict[str, str], None]:
    """A piece of a page whenever it says something new, until the reader leaves or the server stops.

    seen : digest of what the page shows already
    """
    async with aclosing(context.streams.follow((key, str(locale())), read)) as followed:
        async for text in followed:
            if digest(text) != seen:
                yield {"data": text}
                seen = digest(text)


def back(path: str, notice: str = "") -> RedirectResponse:
    """After a form: to a page that can be loaded again without doing it twice."""
    if notice:
        path, _hash, fragment = path.partition("#")
        path += ("&" if "?" in path else "?") + urlencode({"notice": notice}) + (f"#{fragment}" if fragment else "")
    return RedirectResponse(path, status_code=303)
