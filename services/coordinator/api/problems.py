"""Errors as problem details (RFC 9457). A 422 lists every bad field at once."""

from __future__ import annotations

import asyncio
import math
import re
import time
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.coordinator.api import validation_errors
from services.coordinator.api.context import PREFIX
from services.coordinator.api.problem_codes import type_of
from services.coordinator.api.representation import STREAMS, Representation
from services.coordinator.errors import Busy, Refused, TooLarge
from shared.answers import ALWAYS, NO_STORE
from shared.db.engine import is_transient
from shared.telemetry import logger

log = logger(__name__)

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_SECONDS = "5"
LOCK_NOT_AVAILABLE = "55P03"
# Seen by nobody but the count of answers, under the number that proxies give it.
CLIENT_LEFT = 499
# A body arrives within the first, and never pauses for the second.
BODY_SECONDS, SILENT_SECONDS = 300.0, 30.0
TOO_SLOW = (
    f"The body did not arrive: nothing for {SILENT_SECONDS:.0f} s, or not all of it within {BODY_SECONDS:.0f} s. Nothing was done; "
    "send it again."
)
# Where a word stands that routes with an id in its place would take for one.
NAMED = {
    re.compile(PREFIX + path): methods
    for path, methods in (
        ("/portfolios/import", ["POST"]),
        ("/portfolios/[^/]+/positions/range", ["GET"]),
        ("/admin/dead-letters/(replay|purge)", ["POST"]),
    )
}
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


def problem(
    status: int,
    title: str,
    detail: str,
    *,
    code: str,
    errors: Sequence[Mapping[str, object]] | None = None,
    errors_total: int | None = None,
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    body: dict[str, Any] = {"type": type_of(code), "title": title, "status": status, "detail": detail, "code": code}
    if errors is not None:
        body["errors"] = [dict(error) for error in errors]
        body["errors_total"] = len(errors) if errors_total is None else errors_total
    return JSONResponse(body, status_code=status, media_type=MEDIA_TYPE, headers=dict(headers or {}))


def _refusal_response(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, Refused)
    errors = error.errors if error.errors or error.status == 422 else None
    wait = getattr(error, "retry_after", None)
    headers = None if wait is None else {"Retry-After": str(math.ceil(wait))}
    return problem(
        error.status,
        error.title,
        str(error),
        code=error.code,
        errors=errors,
        errors_total=error.errors_total,
        headers=headers,
    )


def _invalid(request: Request, error: Exception) -> JSONResponse:
    """FastAPI's own findings (wrong types, unknown fields), in the shape of ours, with whatever else is wrong."""
    assert isinstance(error, RequestValidationError)
    if (said := _not_declared_as_json(request, error)) is not None:
        fault = {"row": None, "column": "Content-Type", "code": "content_type", "message": said, "value": None}
        return problem(422, "Invalid", said, code="invalid", errors=[fault])
    if any(found["loc"][0] == "path" for found in error.errors()) and request.method not in allowed_methods(request):
        return _http(request, HTTPException(405, "Method Not Allowed"))
    errors = validation_errors.validation_errors(request, error)
    detail = f"{len(errors)} field{'s' if len(errors) != 1 else ''} cannot be read or used: " + "; ".join(
        f"{'' if found['row'] is None else str(found['row']) + ': '}{found['column']}: {found['message']}"
        for found in errors[:5]
    )
    cursor = all(found["code"] == validation_errors.CURSOR for found in errors)
    return problem(422, "Invalid", detail, code=validation_errors.CURSOR if cursor else "invalid", errors=errors)


def _not_declared_as_json(request: Request, error: RequestValidationError) -> str | None:
    """What to do where a body was sent as something else than JSON, and so read as one text."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    whole = any(tuple(found["loc"]) == ("body",) for found in error.errors())
    if not whole or kind == "application/json" or kind.endswith("+json") or kind.startswith("multipart/"):
        return None
    named = f"as {kind[:100]!r}" if kind else "without a Content-Type"
    return f"The body was sent {named}, and this path takes JSON. Send 'Content-Type: application/json'."


def _http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    headers, detail = dict(error.headers or {}), str(error.detail)
    if error.status_code == 405:
        # The framework names the methods of the first route that has the path, and a path may have several.
        headers["Allow"] = ", ".join(allowed_methods(request))
        detail = f"{request.method} is not known here. {request.url.path} takes {headers['Allow']}."
    return problem(error.status_code, str(error.detail), detail, code="http", headers=headers)


def allowed_methods(request: Request) -> list[str]:
    """The methods that a path takes, of all its routes; HEAD wherever GET is, but for streams, which have no end."""
    path = request.url.path
    found = next((methods for named, methods in NAMED.items() if named.fullmatch(path)), None) or [
        method
        for method in METHODS
        if any(
            route.matches({**request.scope, "method": method})[0] is Match.FULL for route in request.app.router.routes
        )
    ]
    if not found:
        # No route's: a file.
        return ["HEAD", "GET"]
    return ["HEAD", *found] if "GET" in found and not path.endswith(STREAMS) else found


def _database(_: Request, error: Exception) -> JSONResponse:
    """A database that is away is not the caller's fault and not for long."""
    if not is_transient(error):
        log.error("database_error", error=str(error)[:500])
        return problem(500, "Internal error", "The request failed; the server's log says why.", code="internal")
    if getattr(getattr(error, "orig", None), "sqlstate", None) == LOCK_NOT_AVAILABLE:
        log.warning("request_waited_for_a_lock", error=str(error)[:300])
        return busy(
            "Another change takes long, and this one has waited for it in vain. Nothing was changed; send it again."
        )
    log.warning("database_unavailable", error=str(error)[:300])
    detail = "The database is not reachable. Nothing was changed; try again."
    headers = {"Retry-After": RETRY_AFTER_SECONDS}
    return problem(503, "Unavailable", detail, code="database_unavailable", headers=headers)


def busy(detail: str) -> JSONResponse:
    """503: the server has as much to do as it takes on. Said at once, so that nobody waits for what will not come."""
    return problem(503, Busy.title, detail, code=Busy.code, headers={"Retry-After": RETRY_AFTER_SECONDS})


def _unexpected_response(_: Request, error: Exception) -> JSONResponse:
    log.error("unexpected_error", error=f"{type(error).__name__}: {error}"[:500])
    # Sent by the framework itself, from outside of everything that adds headers.
    headers = {**ALWAYS, **NO_STORE}
    return problem(
        500, "Internal error", "The request failed; the server's log says why.", code="internal", headers=headers
    )


def _client_left_response(request: Request, _: Exception) -> Response:
    """Whoever sent it is gone before the body was there: nobody reads the answer, and nothing is wrong here."""
    log.debug("client_left", method=request.method)
    return Response(status_code=CLIENT_LEFT)


class BodyLimit:
    """Refuses a body that is too large while it arrives, so that it is never held in memory or on disk whole; and one that does not
    arrive, so that what did is not held for ever."""

    def __init__(self, app: ASGIApp, *, limit: int) -> None:
        self._app = app
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        declared = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
        if declared.isdigit() and int(declared) > self._limit:
            await self._refuse(scope, receive, send)
            return
        seen, whole, until = 0, False, time.monotonic() + BODY_SECONDS

        async def counted() -> Message:
            nonlocal seen, whole
            if whole:
                return await receive()
            try:
                async with asyncio.timeout(min(SILENT_SECONDS, max(0.0, until - time.monotonic()))):
                    message = await receive()
            except TimeoutError:
                raise HTTPException(408, TOO_SLOW) from None
            whole = not message.get("more_body", False)
            seen += len(message.get("body", b""))
            if seen > self._limit:
                # The framework passes its own exception on, and would make a 400 of any other.
                raise HTTPException(413, f"The request is over {self._limit:,} bytes.")
            return message

        await self._app(scope, counted, send)

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = problem(413, TooLarge.title, f"The request is over {self._limit:,} bytes.", code=TooLarge.code)
        await answer(scope, receive, send)


def install(app: FastAPI, *, body_limit: int) -> None:
    """Make every error of the application a problem document."""
    app.add_exception_handler(Refused, _refusal_response)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(DBAPIError, _database)
    app.add_exception_handler(PoolTimeout, _database)
    app.add_exception_handler(OSError, _database)
    app.add_exception_handler(ClientDisconnect, _client_left_response)
    app.add_exception_handler(Exception, _unexpected_response)
    app.add_middleware(BodyLimit, limit=body_limit)
    app.add_middleware(Representation)
