"""What every service is made of: an engine, a broker, a relay and loops; how they start, are watched, and stop."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from faststream.kafka import KafkaBroker
from sqlalchemy.ext.asyncio import AsyncEngine

from shared.clock import Clock
from shared.db.engine import create_engine
from shared.errors import LeadlineError
from shared.events.asyncapi import topics_sent
from shared.market.calendar import set_calendar
from shared.messaging.broker import create_broker, create_producer
from shared.messaging.drain import drain_on_signal, exit_process
from shared.messaging.failpoints import failpoint
from shared.messaging.monitor import ConsumerMonitor
from shared.messaging.partitions import Partitions, attach
from shared.messaging.relay import Relay
from shared.messaging.retry_middleware import RetryDeadLetterMiddleware
from shared.settings import ServiceSettings
from shared.telemetry import logger

log = logger(__name__)

START_ATTEMPTS_SECONDS = 60.0
# A statement may take two minutes, a send nine seconds.
RELAY_SILENT_SECONDS = 300.0
# A problem seen this many times in a row, this far apart, does not go away by itself.
SUPERVISION_SECONDS = 5.0
SUPERVISION_PATIENCE = 6
FINAL_LOG_SECONDS = 10.0
EXIT_STUCK = 70


@dataclass
class Service:
    """The running parts of one service. Built without connecting; `lifespan` connects and cleans up."""

    name: str
    settings: ServiceSettings
    engine: AsyncEngine
    clock: Clock
    broker: KafkaBroker
    stopping: asyncio.Event
    guard: RetryDeadLetterMiddleware
    watch: ConsumerMonitor
    messaging: bool = True
    """Whether it connects to the broker: to send the outbox and to read messages."""
    relay: Relay | None = None
    failed: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once the process cannot recover by itself; `failure` says why."""
    failure: str = ""
    engines: list[AsyncEngine] = field(default_factory=list)
    """Others than `engine` that are closed with the service."""
    tasks: list[asyncio.Task[None]] = field(default_factory=list)
    background: list[Callable[[], Awaitable[None]]] = field(default_factory=list)
    """Coroutine functions that run until `stopping` is set: a scheduler, a reconciler."""

    @classmethod
    def build(cls, name: str, settings: ServiceSettings, *, read_only: bool = False) -> Service:
        """read_only : its database connections refuse writes, and it knows no broker"""
        engine = create_engine(
            settings.database_address, application=f"leadline-{name}", pool_size=settings.pool_size, read_only=read_only
        )
        stopping = asyncio.Event()
        guard = RetryDeadLetterMiddleware(
            service=name, engine=engine, stopping=stopping, namespace=settings.kafka_namespace
        )
        broker = create_broker(settings, service=name, guard=guard)
        watch = ConsumerMonitor(name, settings, broker, guard, stopping=stopping)
        return cls(
            name, settings, engine, Clock(settings.as_of), broker, stopping, guard, watch, messaging=not read_only
        )

    def wake_relay(self) -> None:
        """Send now what was just committed, rather than at the next poll."""
        if self.relay is not None:
            self.relay.wake()

    @contextlib.asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        """Start the relay, the consumers and the background loops; on the way out drain, in the reverse order."""
        producer = create_producer(self.settings, service=self.name) if self.messaging else None
        try:
            if producer is not None:
                await _retry_start(producer.start, "producer")
                partitions = Partitions(producer, self.settings.kafka_namespace)
                self.relay = Relay(
                    self.engine,
                    producer,
                    service=self.name,
                    namespace=self.settings.kafka_namespace,
                    keep_days=self.settings.keep_outbox_days,
                    partitions=partitions,
                )
                self._start(self.relay.run(), "relay")
                await partitions.learn(topics_sent(self.name))
                for engine in (self.engine, *self.engines):
                    attach(engine, partitions)
                await _retry_start(self.broker.start, "consumers")
                self._start(self.watch.run(), "watch-loop")
            for loop in self.background:
                self._start(_until_stopped(loop), "loop")
            self._start(self._exit_when_stuck(), "supervision-loop")
            log.info("service_started", service=self.name)
            with drain_on_signal(self.stopping, self.settings.drain_seconds):
                yield
        finally:
            log.info("service_stopping", service=self.name)
            self.stopping.set()
            failpoint("service.during_drain")
            # Consumers first: a handler that is running finishes and its offset is committed.
            with contextlib.suppress(Exception):
                await self.broker.stop()
            failpoint("service.during_drain")
            if self.relay is not None:
                with contextlib.suppress(Exception):
                    await self.relay.send_some()
                self.relay.stop()
            for task in self.tasks:
                if task.get_name().endswith("-loop"):
                    task.cancel()
            await asyncio.gather(*self.tasks, return_exceptions=True)
            if producer is not None:
                with contextlib.suppress(Exception):
                    await producer.stop()
            for engine in (self.engine, *self.engines):
                await engine.dispose()

    def problems(self) -> list[str]:
        """What only a restart would mend. Empty before the start and while stopping."""
        if self.stopping.is_set():
            return []
        found = self.ended_tasks()
        if self.relay is None:
            return found
        silent = time.monotonic() - self.relay.last_turn
        if silent > RELAY_SILENT_SECONDS:
            found.append(f"the relay has not looked for {silent:.0f} s")
        return found + self.watch.problems()

    def ended_tasks(self) -> list[str]:
        """The tasks that should run until the stop and do not, each with what ended it: nobody starts them again."""
        if self.stopping.is_set():
            return []
        return [_task_result(task) for task in self.tasks if task.done()]

    def _start(self, work: Coroutine[Any, Any, None], name: str) -> None:
        # Each turn reads the closures it computes under, whatever the service was started under.
        context = contextvars.copy_context()
        context.run(set_calendar, None)
        task = asyncio.create_task(work, name=f"{self.name}-{name}", context=context)
        task.add_done_callback(self._note_end)
        self.tasks.append(task)

    def _note_end(self, task: asyncio.Task[None]) -> None:
        """Log what ended a task when it happens: whoever gathers the tasks at the stop would drop it."""
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("task_ended", service=self.name, task=task.get_name(), error=str(error), exc_info=error)
        elif not self.stopping.is_set():
            log.error("task_ended", service=self.name, task=task.get_name(), error=_task_result(task))

    async def _exit_when_stuck(self) -> None:
        """A problem that stays is one this process does not get over: end it, for whoever started it to start it anew.

        Everything is safe to lose: what was not committed is done again.
        """
        seen = 0
        while not self.stopping.is_set():
            await asyncio.sleep(SUPERVISION_SECONDS)
            problems = self.problems()
            seen = seen + 1 if problems else 0
            if seen < SUPERVISION_PATIENCE:
                continue
            self.failure = "; ".join(problems)
            log.critical("service_cannot_recover", service=self.name, problems=problems)
            self.failed.set()
            if not self.settings.exit_when_stuck:
                await self.stopping.wait()
                return
            self.stopping.set()
            with contextlib.suppress(Exception):
                await asyncio.wait_for(self.broker.stop(), FINAL_LOG_SECONDS)
            exit_process(EXIT_STUCK)


async def _retry_start(start: Callable[[], Awaitable[object]], what: str) -> None:
    """Start something that may have to wait for the broker to come up."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + START_ATTEMPTS_SECONDS
    while True:
        try:
            await start()
        except Exception as error:
            if loop.time() > deadline:
                raise
            log.warning("waiting_for_broker", what=what, error=str(error)[:200])
            await asyncio.sleep(1.0)
        else:
            return


def _task_result(task: asyncio.Task[None]) -> str:
    said = f"task {task.get_name()} ended"
    if task.cancelled():
        return f"{said}: it was cancelled"
    error = task.exception()
    if error is None:
        return said
    # Ours are written to be read alone; of others the class is half of what they say.
    return f"{said}: {error if isinstance(error, LeadlineError) else f'{type(error).__name__}: {error}'}"


async def _until_stopped(loop: Callable[[], Awaitable[None]]) -> None:
    await loop()
