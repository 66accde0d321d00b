"""Errors as problem details (RFC 9457). A 422 lists every bad field at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.coordinator.api import validation_errors
from services.coordinator.errors import Refused, TooLarge
from shared.answers import ALWAYS, NO_STORE
from shared.db.engine import is_transient
from shared.telemetry import logger

log = logger(__name__)

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_SECONDS = "5"


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
    body: dict[str, Any] = {"type": "about:blank", "title": title, "status": status, "detail": detail, "code": code}
    if errors is not None:
        body["errors"] = [dict(error) for error in errors]
        body["errors_total"] = len(errors) if errors_total is None else errors_total
    return JSONResponse(body, status_code=status, media_type=MEDIA_TYPE, headers=dict(headers or {}))


def _refused(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, Refused)
    errors = error.errors if error.errors or error.status == 422 else None
    return problem(
        error.status, error.title, str(error), code=error.code, errors=errors, errors_total=error.errors_total
    )


def _invalid(request: Request, error: Exception) -> JSONResponse:
    """FastAPI's own findings (wrong types, unknown fields), in the shape of ours, with whatever else is wrong."""
    assert isinstance(error, RequestValidationError)
    errors = validation_errors.validation_errors(request, error)
    detail = f"{len(errors)} field{'s' if len(errors) != 1 else ''} cannot be read or used: " + "; ".join(
        f"{'' if found['row'] is None else str(found['row']) + ': '}{found['column']}: {found['message']}"
        for found in errors[:5]
    )
    return problem(422, "Invalid", detail, code="invalid", errors=errors)


def _http(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    return problem(error.status_code, str(error.detail), str(error.detail), code="http", headers=error.headers)


def _database(_: Request, error: Exception) -> JSONResponse:
    """A database that is away is not the caller's fault and not for long."""
    if not is_transient(error):
        log.error("database_error", error=str(error)[:500])
        return problem(500, "Internal error", "The request failed; the server's log says why.", code="internal")
    log.warning("database_unavailable", error=str(error)[:300])
    detail = "The database is not reachable. Nothing was changed; try again."
    headers = {"Retry-After": RETRY_AFTER_SECONDS}
    return problem(503, "Unavailable", detail, code="database_unavailable", headers=headers)


def _unexpected(_: Request, error: Exception) -> JSONResponse:
    log.error("unexpected_error", error=f"{type(error).__name__}: {error}"[:500])
    # Sent by the framework itself, from outside of everything that adds headers.
    headers = {**ALWAYS, **NO_STORE}
    return problem(
        500, "Internal error", "The request failed; the server's log says why.", code="internal", headers=headers
    )


class BodyLimit:
    """Refuses a body that is too large while it arrives, so that it is never held in memory or on disk whole."""

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
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
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
    app.add_exception_handler(Refused, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(DBAPIError, _database)
    app.add_exception_handler(PoolTimeout, _database)
    app.add_exception_handler(OSError, _database)
    app.add_exception_handler(Exception, _unexpected)
    app.add_middleware(BodyLimit, limit=body_limit)
