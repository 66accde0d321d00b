"""The guard around every handler: what to do with each kind of failure, decided in one place.

Unreadable or permanently failing messages are put aside and acknowledged, so poison never blocks a partition. Transient errors
are retried with full jitter inside the handler's budget; after that the message is acknowledged and the unit stays missing: the
ledger knows, the reconciler has it. Nothing is ever negatively acknowledged in a loop, because that has no delay and starves
the partition.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Awaitable, Callable
from typing import Any

from faststream import BaseMiddleware
from pydantic import ValidationError
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from shared.db.engine import is_transient
from shared.errors import TransientError, UnreadableMessage
from shared.events.envelope import major_of
from shared.events.topics import EVENT_TYPES
from shared.messaging import dead_letters
from shared.messaging.failpoints import failpoint
from shared.messaging.outbox import causation, correlation
from shared.telemetry import DEAD_LETTERS, HANDLE_SECONDS, HANDLED, consumer_span, log_context, logger

log = logger(__name__)

# Half the broker's poll interval: a handler that is still trying then has a problem retrying will not solve.
BUDGET_SECONDS = 120.0
FIRST_DELAY_SECONDS = 0.2
MAX_DELAY_SECONDS = 10.0
MAX_BODY_BYTES = 1024 * 1024


def read(headers: dict[str, str], body: bytes | None) -> tuple[str, dict[str, Any]]:
    """The message's type name and its JSON object. Raises `UnreadableMessage` with a code that says what is wrong."""
    declared = headers.get("ce_type")
    if declared is None:
        raise UnreadableMessage("the message has no ce_type header", code="no_type")
    parsed = major_of(declared)
    if parsed is None or parsed[0] not in EVENT_TYPES:
        raise UnreadableMessage(f"unknown message type {declared[:100]!r}", code="unknown_type")
    name, version = parsed
    if version != EVENT_TYPES[name].version:
        raise UnreadableMessage(
            f"{name} has major version {version}; this service reads {EVENT_TYPES[name].version}", code="unknown_version"
        )
    if not body:
        raise UnreadableMessage("the message has no body (a tombstone)", code="empty_body")
    if len(body) > MAX_BODY_BYTES:
        raise UnreadableMessage(f"the body has {len(body)} bytes, more than {MAX_BODY_BYTES}", code="oversized")
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise UnreadableMessage(f"the body is not JSON: {str(error)[:200]}", code="not_json") from error
    if not isinstance(document, dict):
        raise UnreadableMessage("the body is not a JSON object", code="not_an_object")
    return name, document


def guard(*, service: str, engine: AsyncEngine, stopping: asyncio.Event) -> type[BaseMiddleware]:
    """A FastStream middleware class bound to one service's database."""

    class Guard(BaseMiddleware[Any, Any]):
        async def consume_scope(self, call_next: Callable[[Any], Awaitable[Any]], msg: Any) -> Any:
            failpoint("H1")
            headers: dict[str, str] = dict(msg.headers)
            record = msg.raw_message
            place = {"topic": record.topic, "partition": record.partition, "offset": record.offset}
            kind = "unreadable"
            try:
                kind, document = read(headers, record.value)
            except UnreadableMessage as error:
                await self._set_aside(msg, error.code, str(error))
                return None
            msg.body = document
            token_correlation = correlation.set(headers.get("correlation_id"))
            token_causation = causation.set(headers.get("ce_id"))
            try:
                with (
                    log_context(event=None, message_type=kind, **place),
                    consumer_span(f"{service} {kind}", headers, {"messaging.system": "kafka", **place}),
                    HANDLE_SECONDS.labels(service, kind).time(),
                ):
                    return await self._persist(call_next, msg, kind)
            finally:
                correlation.reset(token_correlation)
                causation.reset(token_causation)

        async def _persist(self, call_next: Callable[[Any], Awaitable[Any]], msg: Any, kind: str) -> Any:
            loop = asyncio.get_running_loop()
            deadline = loop.time() + BUDGET_SECONDS
            attempt = 0
            while True:
                try:
                    result = await call_next(msg)
                except Exception as error:
                    if isinstance(error, ValidationError):
                        await self._set_aside(msg, "invalid_body", str(error))
                        return None
                    if not (isinstance(error, TransientError) or is_transient(error)):
                        await self._set_aside(msg, "handler_failed", f"{type(error).__name__}: {error}")
                        log.exception("handler_failed")
                        return None
                    if loop.time() > deadline or stopping.is_set():
                        # Not lost: the unit is still missing in the ledger, and the reconciler will ask again.
                        HANDLED.labels(service, kind, "given_up").inc()
                        log.error("handler_gave_up", attempts=attempt + 1, error=str(error)[:300])
                        return None
                    await self._wait(attempt, error)
                    attempt += 1
                else:
                    HANDLED.labels(service, kind, "done").inc()
                    failpoint("H7")
                    return result

        @staticmethod
        async def _wait(attempt: int, error: BaseException) -> None:
            delay = random.uniform(0, min(MAX_DELAY_SECONDS, FIRST_DELAY_SECONDS * 2**attempt))  # noqa: S311
            log.warning("handler_retries", attempt=attempt + 1, delay=round(delay, 2), error=str(error)[:300])
            try:
                await asyncio.wait_for(stopping.wait(), delay)
            except TimeoutError:
                return

        async def _set_aside(self, msg: Any, reason: str, error: str) -> None:
            """Record the dead letter in its own transaction; wait for the database if it is away, however long that takes."""
            record = msg.raw_message
            attempt = 0
            while True:
                try:
                    failpoint("H9")
                    async with engine.begin() as conn:
                        await dead_letters.record(
                            conn,
                            consumer=service,
                            topic=record.topic,
                            partition=record.partition,
                            offset=record.offset,
                            key=record.key,
                            headers=dict(msg.headers),
                            body=record.value,
                            reason=reason,
                            error=error,
                        )
                except (DBAPIError, OSError, TimeoutError) as problem:
                    if not is_transient(problem) or stopping.is_set():
                        raise
                    await self._wait(attempt, problem)
                    attempt += 1
                else:
                    DEAD_LETTERS.labels(service, reason).inc()
                    HANDLED.labels(service, "unreadable", "set_aside").inc()
                    log.error("message_set_aside", reason=reason, error=error[:300], topic=record.topic, offset=record.offset)
                    return

    return Guard
