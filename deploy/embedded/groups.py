"""Consumer groups of the embedded broker, opened before their consumers come.

This broker lets a group's first member wait for half of its session timeout, five seconds with ours, in case others come; and a group
keeps the timeout of its first member, also once that has left. So a member with a short one joins each group and leaves it while the
schema is looked at, and those that follow wait for a second. Only where no group has two members, as in `leadline up`: the broker
would take each of two for dead between its heartbeats.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError

from shared.events.topics import TOPICS
from shared.messaging.consumer import group_id
from shared.messaging.security import client_options
from shared.settings import ServiceSettings

log = logging.getLogger(__name__)

# The broker answers after a second at the earliest; the member must count as dead by then, or who follows waits for three more.
SESSION_TIMEOUT_MS = 500
OPENING_SECONDS = 10.0


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
        heartbeat_interval_ms=SESSION_TIMEOUT_MS // 3,
        enable_auto_commit=False,
    )
    try:
        async with asyncio.timeout(OPENING_SECONDS):
            await consumer.start()
    finally:
        await consumer.stop()
