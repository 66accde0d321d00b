"""One way to change anything: one transaction, the commit-order lock first, the answer kept under its idempotency key."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import Request
from fastapi.responses import Response
from sqlalchemy.ext.asyncio import AsyncConnection

from services.coordinator.api import idempotency
from services.coordinator.api.representation import JSON, encode
from services.coordinator.context import Context, Preparation, ordered_change
from services.coordinator.errors import Conflict, Invalid, Refused
from shared.messaging.failpoints import failpoint

MAX_KEY = 255

Operation = Callable[[AsyncConnection], Awaitable[tuple[int, Any]]]
"""Does the change on the connection; returns the status and the body to answer."""


async def idempotent_write(
    request: Request, context: Context, operation: Operation, *parts: bytes | str, prepare: Preparation | None = None
) -> Response:
    """Run `operation` once. With `Idempotency-Key`, a repeated request is answered as the first one was, and changes nothing.

    parts   : what makes the request what it is; the same key with other parts is refused
    prepare : what `operation` needs and can be done before the lock; not for a request that was answered before
    """
    failpoint("request.before_transaction")
    key = request.headers.get("idempotency-key")
    if key is not None and not 0 < len(key) <= MAX_KEY:
        raise Invalid(f"Idempotency-Key must have 1 to {MAX_KEY} characters.")
    endpoint = f"{request.method} {request.url.path}"
    digest = _digest(parts)
    waits = [] if prepare is None else [prepare]

    async def first(conn: AsyncConnection) -> None:
        if waits and (key is None or await idempotency.find_answer(conn, key, endpoint) is None):
            try:
                await waits.pop()(conn)
            except Refused:
                # Perhaps because the same request, sent twice, was done meanwhile: then its answer is this one's.
                if key is None or await idempotency.find_answer(conn, key, endpoint) is None:
                    raise

    # The lock is also what makes two requests with one key wait for each other.
    try:
        async with ordered_change(context, first) as conn:
            known = None if key is None else await idempotency.find_answer(conn, key, endpoint)
            if known is not None:
                if known.request_hash != digest:
                    raise Invalid(
                        f"Idempotency-Key {key!r} was used for a different request. Use a new key for a new request.",
                        code="idempotency_key_reused",
                    )
                if known.forgotten:
                    raise Conflict(
                        f"The request with Idempotency-Key {key!r} was done and answered with {known.status}; that answer was large and "
                        "is not kept any more. Nothing was done now: read what the request was about.",
                        code="answer_forgotten",
                    )
                # What was prepared meanwhile is rolled back.
                raise _AnsweredBefore(_answer(known.status, known.response, {"Idempotency-Replayed": "true"}))
            if waits:  # what was answered before is forgotten since
                await waits.pop()(conn)
            status, body = await operation(conn)
            if key is not None:
                packed = await asyncio.to_thread(idempotency.pack, body)
                await idempotency.insert_answer(conn, key, endpoint, request_hash=digest, status=status, packed=packed)
            failpoint("request.before_commit")
    except _AnsweredBefore as before:
        return before.answer
    failpoint("request.after_commit")
    context.wake_relay()
    # An import answers what it noticed of each lot: megabytes to encode.
    return await asyncio.to_thread(_answer, status, body, {})


class _AnsweredBefore(Exception):
    def __init__(self, answer: Response) -> None:
        super().__init__()
        self.answer = answer


def _answer(status: int, body: Any, headers: dict[str, str]) -> Response:
    if status == 204:
        return Response(status_code=204, headers=headers)
    return Response(encode(body), status_code=status, headers=headers, media_type=JSON)


def _digest(parts: tuple[bytes | str, ...]) -> str:
    """Length before content, so that the border between two parts counts."""
    digest = hashlib.sha256()
    for part in parts:
        raw = part.encode() if isinstance(part, str) else part
        digest.update(len(raw).to_bytes(8, "big"))
        digest.update(raw)
    return digest.hexdigest()
