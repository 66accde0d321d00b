"""The relay: sends what the outbox holds. Selected by state, never by a cursor, because ids are not commit order."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import (
    InvalidTopicError,
    KafkaError,
    MessageSizeTooLargeError,
    RecordListTooLargeError,
    TopicAuthorizationFailedError,
)
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from shared.db.engine import is_transient, limit_idle
from shared.errors import sanitize_text
from shared.messaging.failpoints import failpoint
from shared.telemetry import OUTBOX_AGE, OUTBOX_FAILED, RELAYED, logger

log = logger(__name__)

BATCH = 200
# Fallback only: a service wakes its own relay right after a commit.
POLL_SECONDS = 0.25
# Rows are locked while they are sent, so sending must give up well before anybody minds.
SEND_TIMEOUT_SECONDS = 9.0
BACKOFF_SECONDS = (0.5, 1.0, 2.0, 5.0)
KEEP_SENT_DAYS = 2
CLEANUP_SECONDS = 600.0
# The broker says no to the message itself: no retry will change its mind.
PERMANENT = (
    MessageSizeTooLargeError,
    RecordListTooLargeError,
    InvalidTopicError,
    TopicAuthorizationFailedError,
    ValueError,
)


class Relay:
    """Sends outbox rows in short transactions until stopped. Any number may run; rows are skipped while another has them.

    Which rows it sees is the database's to say (row policies of `bus.outbox`): those its role wrote; the coordinator's also the API's,
    and what any role left unsent for 30 seconds.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        producer: AIOKafkaProducer,
        *,
        service: str,
        namespace: str = "",
        keep_days: int = KEEP_SENT_DAYS,
    ) -> None:
        self._engine = engine
        self._producer = producer
        self._service = service
        self._namespace = namespace
        self._keep_days = keep_days
        self._wake = asyncio.Event()
        self._stop = asyncio.Event()
        self.last_turn = time.monotonic()
        """When it last looked, by the monotonic clock; successes and failures count alike."""

    def wake(self) -> None:
        """There is something to send, now."""
        self._wake.set()

    def stop(self) -> None:
        self._stop.set()
        self._wake.set()

    async def run(self) -> None:
        """Until stopped. Errors of broker and database are waited out; they never end the relay."""
        failures = 0
        next_cleanup = asyncio.get_running_loop().time() + CLEANUP_SECONDS
        while not self._stop.is_set():
            self._wake.clear()
            try:
                while await self.send_some() == BATCH:
                    pass
                failures = 0
                if asyncio.get_running_loop().time() >= next_cleanup:
                    next_cleanup += CLEANUP_SECONDS
                    await self.clean_up()
            except Exception as error:
                if not is_transient(error) and not isinstance(error, KafkaError):
                    log.exception("relay_error")
                else:
                    log.warning("relay_waits", error=str(error)[:300])
                delay = BACKOFF_SECONDS[min(failures, len(BACKOFF_SECONDS) - 1)]
                failures += 1
                await self._pause(delay, ignore_wake=True)
                continue
            await self._pause(POLL_SECONDS)

    async def _pause(self, seconds: float, *, ignore_wake: bool = False) -> None:
        event = self._stop if ignore_wake else self._wake
        try:
            await asyncio.wait_for(event.wait(), seconds)
        except TimeoutError:
            return

    async def send_some(self) -> int:
        """Send one batch: claim, send, mark, commit. Returns how many rows were dealt with."""
        self.last_turn = time.monotonic()
        async with self._engine.begin() as conn:
            rows = (
                await conn.execute(
                    text("""
                        SELECT id, topic, key, payload, headers, extract(epoch FROM clock_timestamp() - created_at) AS age
                        FROM bus.outbox WHERE sent_at IS NULL AND failed_at IS NULL
                        ORDER BY id LIMIT :batch FOR UPDATE SKIP LOCKED
                    """),
                    {"batch": BATCH},
                )
            ).all()
            OUTBOX_AGE.labels(self._service).set(max((float(row.age) for row in rows), default=0.0))
            if not rows:
                return 0
            # A process that is stopped here would keep the rows from every other relay.
            await limit_idle(conn)
            failpoint("relay.before_send")
            results = await asyncio.gather(*(self._send(row) for row in rows), return_exceptions=True)
            failpoint("relay.before_mark")
            sent = [row.id for row, result in zip(rows, results, strict=True) if result is None]
            await self._mark(conn, sent)
            for row, result in zip(rows, results, strict=True):
                if isinstance(result, PERMANENT):
                    await self._fail(conn, row.id, row.topic, result)
            failpoint("relay.before_commit")
        failpoint("relay.after_commit")
        RELAYED.labels(self._service).inc(len(sent))
        for result in results:
            if isinstance(result, BaseException) and not isinstance(result, PERMANENT):
                raise result
        return len(rows)

    async def _send(self, row: Any) -> None:
        headers = [(name, str(value).encode()) for name, value in row.headers.items()]
        key = row.key.encode() if row.key is not None else None
        async with asyncio.timeout(SEND_TIMEOUT_SECONDS):
            future = await self._producer.send(
                f"{self._namespace}{row.topic}", row.payload.encode(), key=key, headers=headers
            )
            failpoint("relay.before_confirmation")
            await future

    @staticmethod
    async def _mark(conn: AsyncConnection, ids: list[int]) -> None:
        if ids:
            await conn.execute(
                text("UPDATE bus.outbox SET sent_at = clock_timestamp() WHERE id = ANY (CAST(:ids AS bigint[]))"),
                {"ids": ids},
            )

    async def _fail(self, conn: AsyncConnection, row_id: int, topic: str, error: BaseException) -> None:
        OUTBOX_FAILED.labels(self._service).inc()
        log.error("outbox_row_cannot_be_sent", outbox_id=row_id, topic=topic, error=str(error)[:300])
        await conn.execute(
            text("UPDATE bus.outbox SET failed_at = clock_timestamp(), error = :error WHERE id = :id"),
            {"id": row_id, "error": sanitize_text(f"{type(error).__name__}: {error}", 1000)},
        )

    async def clean_up(self) -> int:
        """Drop rows sent long ago, a slice at a time."""
        async with self._engine.begin() as conn:
            result = await conn.execute(
                text("""
                    DELETE FROM bus.outbox WHERE id IN (
                        SELECT id FROM bus.outbox WHERE sent_at < now() - make_interval(days => :days)
                        LIMIT 10000 FOR UPDATE SKIP LOCKED)
                """),
                {"days": self._keep_days},
            )
            failpoint("relay.during_cleaning")
            return int(result.rowcount)
