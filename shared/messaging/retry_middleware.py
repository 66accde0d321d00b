"""Retry and dead-letter middleware around every handler: what to do with each kind of failure, in one place.

Unreadable or permanently failing messages are put aside and acknowledged, so poison never blocks a partition. Transient errors
are retried with full jitter inside the handler's budget; after that the message is acknowledged and the unit stays missing: the
ledger knows, the reconciler has it. Nothing is ever negatively acknowledged in a loop, because that has no delay and starves
the partition.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any
from uuid import UUID

from fast_depends.exceptions import ValidationError as DependencyError
from faststream import BaseMiddleware
from pydantic import ValidationError
from sqlalchemy.ext.asyncio import AsyncEngine

from shared.db.engine import is_transient
from shared.errors import TransientError, UnreadableMessage
from shared.events.envelope import TENANT, major_of
from shared.events.topics import EVENT_TYPES
from shared.messaging import dead_letters, outbox
from shared.messaging.breaker import DeadLetterBreaker
from shared.messaging.failpoints import failpoint
from shared.messaging.outbox import causation, correlation
from shared.messaging.records import UndecodableBatch
from shared.messaging.replays import REPLAY_FOR
from shared.progress import Progress, track_progress
from shared.telemetry import DEAD_LETTERS, HANDLE_SECONDS, HANDLED, RETRIES, consumer_span, log_context, logger

log = logger(__name__)

# Half the broker's poll interval: a handler that is still trying then has a problem retrying will not solve.
BUDGET_SECONDS = 120.0
FIRST_DELAY_SECONDS = 0.2
MAX_DELAY_SECONDS = 10.0
MAX_BODY_BYTES = 1024 * 1024
MAX_IDENTIFIER = 128
INVALID = (ValidationError, DependencyError)


def _refuse_constant(name: str) -> Any:
    """NaN and Infinity are Python's idea of JSON, nobody else's."""
    raise ValueError(f"{name} is not JSON")


def _tenant(given: str | None) -> str | None:
    """For logs and traces alone: whose the work is, its rows say."""
    try:
        return None if given is None else str(UUID(given))
    except ValueError:
        return None


def _printable_identifier(value: str | None) -> str | None:
    """An identifier from a header as far as it can be passed on: the outbox's headers are jsonb, which takes no NUL."""
    return value if value and len(value) <= MAX_IDENTIFIER and value.isascii() and value.isprintable() else None


def parse_message(headers: dict[str, str], body: bytes | None) -> tuple[str, dict[str, Any]]:
    """The message's type name and its JSON object. Raises `UnreadableMessage` with a code that says what is wrong."""
    if isinstance(body, UndecodableBatch):
        raise UnreadableMessage(body.reason, code="undecodable_batch")
    declared = headers.get("ce_type")
    if declared is None:
        raise UnreadableMessage("the message has no ce_type header", code="no_type")
    parsed = major_of(declared)
    if parsed is None or parsed[0] not in EVENT_TYPES:
        raise UnreadableMessage(f"unknown message type {declared[:100]!r}", code="unknown_type")
    name, version = parsed
    if version != EVENT_TYPES[name].version:
        raise UnreadableMessage(
            f"{name} has major version {version}; this service reads {EVENT_TYPES[name].version}",
            code="unknown_version",
        )
    if not body:
        raise UnreadableMessage("the message has no body (a tombstone)", code="empty_body")
    if len(body) > MAX_BODY_BYTES:
        raise UnreadableMessage(f"the body has {len(body)} bytes, more than {MAX_BODY_BYTES}", code="oversized")
    try:
        document = json.loads(body, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise UnreadableMessage(f"the body is not JSON: {str(error)[:200]}", code="not_json") from error
    if not isinstance(document, dict):
        raise UnreadableMessage("the body is not a JSON object", code="not_an_object")
    return name, document


class ConsumerStopped(TransientError):
    """The process stops while its consumer is stopped; the message at hand stays where it is."""

    code = "consumer_stopped"


class RetryDeadLetterMiddleware:
    """Makes the middleware of one message; knows the service's name, its database, and whether it is stopping."""

    def __init__(self, *, service: str, engine: AsyncEngine, stopping: asyncio.Event, namespace: str = "") -> None:
        self.service = service
        self.engine = engine
        self.stopping = stopping
        self.namespace = namespace
        self.limit = DeadLetterBreaker()
        self.last_handled = 0.0
        """When a message was last dealt with, by the monotonic clock."""
        self._running: dict[int, Progress] = {}
        self._messages = 0

    def __call__(self, msg: Any | None, /, *, context: Any) -> _MessageMiddleware:
        return _MessageMiddleware(msg, context=context, guard=self)

    def poll_age(self) -> float:
        """Seconds since the consumer last asked for messages: it does not while a handler runs, and always does else."""
        return max((time.monotonic() - running.since for running in self._running.values()), default=0.0)

    def idle_age(self) -> float:
        """Seconds since the running handler that has been silent longest began or last got on."""
        return max((time.monotonic() - running.at for running in self._running.values()), default=0.0)

    @contextlib.contextmanager
    def track_message(self) -> Iterator[None]:
        """Around each message."""
        self._messages += 1
        key = self._messages
        with track_progress() as self._running[key]:
            try:
                yield
            finally:
                del self._running[key]
                self.last_handled = time.monotonic()

    async def hold(self, seconds: float) -> None:
        """Hold the message before it is tried: neither handled, dead-lettered nor acknowledged meanwhile.

        Raises `ConsumerStopped` if the process stops first; the message comes again after the restart.
        """
        log.critical("consumer_stopped", reason=self.limit.tripped, next_try_in_seconds=round(seconds))
        try:
            await asyncio.wait_for(self.stopping.wait(), seconds)
        except TimeoutError:
            return
        raise ConsumerStopped(str(self.limit.tripped))

    async def pause(self, attempt: int, error: BaseException) -> None:
        """Sleep with full jitter: two services that failed together do not come back together."""
        delay = random.uniform(0, min(MAX_DELAY_SECONDS, FIRST_DELAY_SECONDS * 2 ** min(attempt, 10)))
        RETRIES.labels(self.service).inc()
        log.warning("handler_retries", attempt=attempt + 1, delay=round(delay, 2), error=str(error)[:300])
        try:
            await asyncio.wait_for(self.stopping.wait(), delay)
        except TimeoutError:
            return

    async def dead_letter(self, msg: Any, reason: str, error: str) -> None:
        """Record the dead letter in its own transaction; wait for the database if it is away, however long that takes.

        Whatever it answers: an error that left here would be a negative acknowledgement, and the message would come again at once
        and for ever, without a pause.
        """
        record = msg.raw_message
        attempt = 0
        while True:
            try:
                async with self.engine.begin() as conn:
                    ours = await outbox.has_sent(conn, msg.headers.get("ce_id"), record.value)
                    await dead_letters.record(
                        conn,
                        consumer=self.service,
                        topic=record.topic.removeprefix(self.namespace),
                        partition=record.partition,
                        offset=record.offset,
                        key=record.key,
                        headers=dict(msg.headers),
                        body=record.value,
                        reason=reason,
                        error=error,
                    )
                    failpoint("dead_letter.around_commit")
            except Exception as problem:
                if self.stopping.is_set():
                    raise
                await self.pause(attempt, problem)
                attempt += 1
            else:
                failpoint("dead_letter.around_commit")
                DEAD_LETTERS.labels(self.service, reason).inc()
                self.limit.record(reason, sent_by_us=ours)
                log.error(
                    "message_dead_lettered", reason=reason, error=error[:300], topic=record.topic, offset=record.offset
                )
                return


class _MessageMiddleware(BaseMiddleware[Any, Any]):
    def __init__(self, msg: Any | None, /, *, context: Any, guard: RetryDeadLetterMiddleware) -> None:
        super().__init__(msg, context=context)
        self._guard = guard

    async def consume_scope(self, call_next: Callable[[Any], Awaitable[Any]], msg: Any) -> Any:
        if (seconds := self._guard.limit.seconds_to_next_try()) > 0:
            await self._guard.hold(seconds)
        with self._guard.track_message():
            return await self._consume(call_next, msg)

    async def _consume(self, call_next: Callable[[Any], Awaitable[Any]], msg: Any) -> Any:
        failpoint("message.before_handler")
        headers: dict[str, str] = dict(msg.headers)
        record = msg.raw_message
        service = self._guard.service
        if headers.get(REPLAY_FOR, service) != service:
            # Whoever may write to the topic could say so of any message, and could as well not have sent it.
            HANDLED.labels(service, "replay", "for_another").inc()
            return None
        try:
            kind, msg.body = parse_message(headers, record.value)
        except UnreadableMessage as error:
            HANDLED.labels(service, "unreadable", "dead_letter").inc()
            await self._guard.dead_letter(msg, error.code, str(error))
            return None
        place = {"topic": record.topic, "partition": record.partition, "offset": record.offset}
        tenant = _tenant(headers.get(TENANT))
        whose = {} if tenant is None else {"tenant": tenant}
        tokens = (
            correlation.set(_printable_identifier(headers.get("correlation_id"))),
            causation.set(_printable_identifier(headers.get("ce_id"))),
        )
        try:
            with (
                log_context(message_type=kind, **place, **whose),
                consumer_span(f"{service} {kind}", headers, {"messaging.system": "kafka", **place, **whose}),
                HANDLE_SECONDS.labels(service, kind).time(),
            ):
                result = await self._handle(call_next, msg)
            HANDLED.labels(service, kind, result).inc()
            if result != "dead_letter":
                self._guard.limit.record(None)
            failpoint("message.before_offset")
        finally:
            correlation.reset(tokens[0])
            causation.reset(tokens[1])

    async def _handle(self, call_next: Callable[[Any], Awaitable[Any]], msg: Any) -> str:
        """Run the handler until success, permanent failure or the end of its budget; returns which."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + BUDGET_SECONDS
        attempt = 0
        while True:
            try:
                await call_next(msg)
            except INVALID as error:
                await self._guard.dead_letter(msg, "invalid_body", str(error))
                return "dead_letter"
            except Exception as error:
                if not is_transient(error):
                    log.exception("handler_failed")
                    await self._guard.dead_letter(msg, "handler_failed", f"{type(error).__name__}: {error}")
                    return "dead_letter"
                if loop.time() > deadline or self._guard.stopping.is_set():
                    # Not lost: the unit is still missing in the ledger, and the reconciler will ask again.
                    log.exception("handler_gave_up", attempts=attempt + 1)
                    return "given_up"
                await self._guard.pause(attempt, error)
                attempt += 1
            else:
                return "done"
