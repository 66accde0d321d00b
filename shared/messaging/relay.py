"""The relay: sends what the outbox holds. Selected by state, never by a cursor, because ids are not commit order.

A topic whose rows the broker does not take waits by itself, apart from the others: a topic that is not there, or that we may not
write to, must not stand before the rest.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import (
    InvalidTopicError,
    KafkaError,
    MessageSizeTooLargeError,
    RecordListTooLargeError,
)
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from shared.db.engine import UNHURRIED, is_transient, limit_idle
from shared.db.statements import statement
from shared.errors import sanitize_text
from shared.messaging.failpoints import failpoint
from shared.messaging.partitions import Partitions
from shared.telemetry import OUTBOX_AGE, OUTBOX_FAILED, RELAYED, logger

log = logger(__name__)

BATCH = 200
# Fallback only: a service wakes its own relay right after a commit, and each look is three messages to the database, of five services.
POLL_SECONDS = 1.0
# The topics that rest are looked at by their own times.
RESTING_POLL_SECONDS = 0.25
# Rows are locked while they are sent, so sending must give up well before anybody minds.
SEND_TIMEOUT_SECONDS = 9.0
BACKOFF_SECONDS = (0.5, 1.0, 2.0, 5.0)
KEEP_SENT_DAYS = 2
CLEANUP_SECONDS = 600.0
# The broker says no to the message itself: no retry will change its mind. Whether we may write to a topic, it may change.
PERMANENT = (MessageSizeTooLargeError, RecordListTooLargeError, InvalidTopicError, ValueError)


@dataclass
class _Resting:
    """A topic that could not be sent to: how often in a row, until when it rests, and the age of its oldest row."""

    failures: int = 0
    until: float = 0.0
    oldest: float = 0.0


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
        partitions: Partitions | None = None,
    ) -> None:
        """partitions : told of the topics that were sent to, which may have been given more"""
        self._partitions = partitions
        self._engine = engine
        self._producer = producer
        self._service = service
        self._namespace = namespace
        self._keep_days = keep_days
        self._wake = asyncio.Event()
        self._stop = asyncio.Event()
        self.last_turn = time.monotonic()
        """When it last looked, by the monotonic clock; successes and failures count alike."""
        self._resting: dict[str, _Resting] = {}

    def wake(self) -> None:
        """There is something to send, now."""
        self._wake.set()

    def stop(self) -> None:
        self._stop.set()
        self._wake.set()

    async def run(self) -> None:
        """Until stopped. Errors of broker and database are waited out; they never end the relay."""
        apart = asyncio.create_task(self._retry_resting())
        try:
            await self._run()
        finally:
            apart.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await apart

    async def _run(self) -> None:
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
            except Exception as error:  # noqa: BLE001 (told; nothing ends the relay)
                _note(error)
                delay = BACKOFF_SECONDS[min(failures, len(BACKOFF_SECONDS) - 1)]
                failures += 1
                await self._pause(delay, ignore_wake=True)
                continue
            await self._pause(POLL_SECONDS)

    async def _retry_resting(self) -> None:
        """Send to the topics that rest when their time comes. Until cancelled; like the relay itself, no error ends it."""
        while True:
            await asyncio.sleep(min(RESTING_POLL_SECONDS, *BACKOFF_SECONDS))
            for topic in [name for name, resting in self._resting.items() if resting.until <= time.monotonic()]:
                try:
                    sent = await self._send_batch(only=topic)
                except Exception as error:  # noqa: BLE001 (as above)
                    _note(error)
                    self._rest(topic, self._resting[topic].oldest)
                    continue
                if sent:
                    # If it was the broker that was away, the others wait for nothing either.
                    self._resting.clear()
                    self.wake()
                    break
                # Sent by others, or in their hands: that says nothing of the broker.
                self._resting[topic].until = time.monotonic() + BACKOFF_SECONDS[-1]

    def _rest(self, topic: str, oldest: float) -> None:
        resting = self._resting.setdefault(topic, _Resting())
        seconds = BACKOFF_SECONDS[min(resting.failures, len(BACKOFF_SECONDS) - 1)]
        resting.failures, resting.until, resting.oldest = resting.failures + 1, time.monotonic() + seconds, oldest

    async def _pause(self, seconds: float, *, ignore_wake: bool = False) -> None:
        event = self._stop if ignore_wake else self._wake
        try:
            await asyncio.wait_for(event.wait(), seconds)
        except TimeoutError:
            return

    async def send_some(self) -> int:
        """Send one batch of the topics that do not rest: claim, send, mark, commit. Returns how many rows were dealt with.

        Raises what kept a row from being sent, after the others were; its topic rests then.
        """
        self.last_turn = time.monotonic()
        return await self._send_batch()

    async def _send_batch(self, only: str | None = None) -> int:
        """Of one topic that rests, or of all that do not."""
        async with self._engine.begin() as conn:
            rows = (
                await conn.execute(
                    statement("""
                        SELECT id, topic, key, payload, headers, extract(epoch FROM clock_timestamp() - created_at) AS age
                        FROM bus.outbox WHERE sent_at IS NULL AND failed_at IS NULL
                          AND (topic = CAST(:only AS text) OR CAST(:only AS text) IS NULL AND topic <> ALL (CAST(:resting AS text[])))
                        ORDER BY id LIMIT :batch FOR UPDATE SKIP LOCKED
                    """),
                    {"batch": BATCH, "only": only, "resting": list(self._resting)},
                )
            ).all()
            self._tell_age(rows, only)
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
        if self._partitions is not None:
            await self._partitions.learn(
                {row.topic for row, result in zip(rows, results, strict=True) if result is None}
            )
        unsent = [
            (row, result)
            for row, result in zip(rows, results, strict=True)
            if isinstance(result, BaseException) and not isinstance(result, PERMANENT)
        ]
        for topic in {row.topic for row, _ in unsent} - {only}:
            self._rest(topic, max(float(row.age) for row, _ in unsent if row.topic == topic))
        if unsent:
            raise unsent[0][1]
        return len(rows)

    def _tell_age(self, rows: Sequence[Any], only: str | None) -> None:
        oldest = max((float(row.age) for row in rows), default=0.0)
        if only in self._resting:
            self._resting[only].oldest = oldest
        resting = (topic.oldest for topic in self._resting.values())
        OUTBOX_AGE.labels(self._service).set(max(oldest, *resting, 0.0))

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
                # Whoever waits for the disk here holds up the next batch; what a server that dies forgets is sent again.
                statement(f"""
                    UPDATE bus.outbox SET sent_at = clock_timestamp() WHERE id = ANY (CAST(:ids AS bigint[]))
                    RETURNING {UNHURRIED}
                """),
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
                statement("""
                    DELETE FROM bus.outbox WHERE id IN (
                        SELECT id FROM bus.outbox WHERE sent_at < now() - make_interval(days => :days)
                        LIMIT 10000 FOR UPDATE SKIP LOCKED)
                """),
                {"days": self._keep_days},
            )
            failpoint("relay.during_cleaning")
            return int(result.rowcount)


def _note(error: Exception) -> None:
    if not is_transient(error) and not isinstance(error, KafkaError):
        log.error("relay_error", error=str(error)[:300], exc_info=error)
    else:
        log.warning("relay_waits", error=str(error)[:300])
