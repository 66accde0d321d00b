"""Consumer groups of the embedded broker, opened before their consumers come.

This broker lets a group's first member wait in case others come: a second, as often as half of the session timeout is not over. It
looks at that for the first time when a joining member has waited for no millisecond yet; and a group keeps the timeout of its first
member, also once that has left. So a member with a timeout of one millisecond joins each group and leaves it while the schema is looked
at; neither it nor those that follow wait. Only where no group has two members, as in `leadline up`: the broker would take each of two
for dead between its heartbeats. One that is alone is not, however late its heartbeat: the heartbeat itself says that it lives.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Sequence

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError

from deploy.embedded.composition import create_topics
from deploy.embedded.rotating_log import RotatingLog
from shared.db.roles import SERVICES
from shared.events.topics import TOPICS
from shared.messaging.consumer import group_id
from shared.messaging.security import client_options
from shared.settings import ServiceSettings

log = logging.getLogger(__name__)

# Half of it is no whole millisecond: nobody has waited for less. And the member counts as dead at once, should it not have left.
SESSION_TIMEOUT_MS = 1
# Longer than the member lives: it sends none.
HEARTBEAT_MS = 1_000
OPENING_SECONDS = 10.0


@contextlib.asynccontextmanager
async def opening_groups(settings: ServiceSettings, stream: RotatingLog) -> AsyncIterator[None]:
    """Make the topics and open the consumers' groups beside what the block does; both are done when it ends.

    stream : what the client library says of a busy machine is none of the terminal's
    """

    async def work() -> None:
        await create_topics(settings)
        await open_groups(settings, SERVICES)

    handler = logging.StreamHandler(stream)
    loggers = [logging.getLogger("aiokafka"), log]
    for logger in loggers:
        logger.addHandler(handler)
    opening = asyncio.create_task(work())
    try:
        yield
        await opening
    finally:
        opening.cancel()
        await asyncio.gather(opening, return_exceptions=True)
        for logger in loggers:
            logger.removeHandler(handler)


async def open_groups(settings: ServiceSettings, services: Sequence[str]) -> None:
    """Open the group of each service. The topics must be there. What fails costs time and nothing else, so it is logged."""
    found = await asyncio.gather(*(_open(settings, service) for service in services), return_exceptions=True)
    for service, error in zip(services, found, strict=True):
        if isinstance(error, KafkaError | OSError | TimeoutError):
            log.warning("the group of %s was not opened early: %s", service, error or type(error).__name__)
        elif isinstance(error, BaseException):
            raise error


async def _open(settings: ServiceSettings, service: str) -> None:
    consumer = AIOKafkaConsumer(
        # Any one of the topics: nothing is read.
        f"{settings.kafka_namespace}{next(iter(TOPICS))}",
        **client_options(settings),
        client_id="leadline-groups",
        group_id=group_id(service, settings.kafka_namespace),
        session_timeout_ms=SESSION_TIMEOUT_MS,
        heartbeat_interval_ms=HEARTBEAT_MS,
        enable_auto_commit=False,
    )
    try:
        async with asyncio.timeout(OPENING_SECONDS):
            await consumer.start()
    finally:
        await consumer.stop()
