"""The broker, with its acknowledgement policy set once, and the topics it expects."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

from aiokafka import AIOKafkaProducer, ConsumerRecord
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from aiokafka.errors import InvalidPartitionsError, TopicAlreadyExistsError, for_code
from faststream import AckPolicy
from faststream.kafka import KafkaBroker

from shared.events.topics import TOPICS
from shared.messaging.failpoints import failpoint
from shared.messaging.partitions import choose_partition
from shared.messaging.records import install_lenient_decoder
from shared.messaging.retry_middleware import RetryDeadLetterMiddleware
from shared.messaging.security import bootstrap, broker_options, client_options
from shared.settings import ServiceSettings

MAX_POLL_INTERVAL_MS = 300_000
# Above the handler's budget, below the orchestrator's patience.
GRACEFUL_TIMEOUT_SECONDS = 45.0
# Topics that come back after their broker lost them are seen this soon; until then a consumer has no partitions.
METADATA_MAX_AGE_MS = 15_000
RETENTION_MS = 7 * 24 * 3600 * 1000


async def _tolerant_parser(message: Any, original: Any) -> Any:
    """Parse even a message whose headers are not UTF-8, or null.

    The framework's parser raises on such a header before any middleware runs, and the message is skipped with a log line: lost.
    Undecodable bytes are replaced instead, a null becomes empty; if the envelope needed them its check fails, and the message
    reaches the dead letters.
    """
    failpoint("message.after_offset")  # the one before is committed: its offset is, when the next is looked at
    try:
        return await original(message)
    except (UnicodeDecodeError, AttributeError):
        headers = [(name, (value or b"").decode("utf-8", errors="replace").encode()) for name, value in message.headers]
        sane: ConsumerRecord[Any, Any] = replace(message, headers=headers)
        return await original(sane)


async def _raw_decoder(message: Any) -> Any:
    """Hand over what the guard has parsed. Asynchronous because a synchronous decoder costs a thread per message."""
    return message.body


def create_broker(settings: ServiceSettings, *, service: str, guard: RetryDeadLetterMiddleware) -> KafkaBroker:
    """A broker that never loses a message: negative acknowledgement on error, and a guard that leaves no error to see."""
    install_lenient_decoder()
    return KafkaBroker(
        bootstrap(settings),
        client_id=f"leadline-{service}",
        ack_policy=AckPolicy.NACK_ON_ERROR,
        allow_auto_create_topics=False,
        metadata_max_age_ms=METADATA_MAX_AGE_MS,
        consumer_only=True,
        graceful_timeout=GRACEFUL_TIMEOUT_SECONDS,
        parser=_tolerant_parser,
        decoder=_raw_decoder,
        middlewares=[guard],
        logger=logging.getLogger("faststream"),
        log_level=logging.DEBUG,
        **broker_options(settings),
    )


def create_producer(settings: ServiceSettings, *, service: str) -> AIOKafkaProducer:
    """The relay's producer. Idempotent unless the broker rejects it; correctness never rests on that."""
    return AIOKafkaProducer(
        **client_options(settings),
        client_id=f"leadline-{service}-relay",
        acks="all",
        enable_idempotence=settings.kafka_idempotence,
        linger_ms=0,
        partitioner=choose_partition,
        request_timeout_ms=8_000,
        max_request_size=256 * 1024,
    )


async def ensure_topics(settings: ServiceSettings) -> list[str]:
    """Create the topics that are missing, with explicit partitions; returns their names. Idempotent."""
    admin = AIOKafkaAdminClient(**client_options(settings), client_id="leadline-topics")
    await admin.start()
    try:
        existing = set(await admin.list_topics())
        names = [f"{settings.kafka_namespace}{name}" for name in TOPICS]
        wanted = [
            NewTopic(
                name=name,
                num_partitions=settings.kafka_partitions,
                replication_factor=settings.kafka_replication,
                topic_configs={"retention.ms": str(RETENTION_MS)},
            )
            for name in names
            if name not in existing
        ]
        if not wanted:
            return []
        try:
            answer = await admin.create_topics(wanted)
        except TopicAlreadyExistsError:
            return []
        created = []
        for topic, code, *_ in answer.topic_errors:
            error = for_code(code)
            if code and error is not TopicAlreadyExistsError:
                raise error(f"topic {topic} could not be created")
            if not code:
                created.append(topic)
        return created
    finally:
        await admin.close()


async def add_partitions(settings: ServiceSettings) -> list[str]:
    """Raise our topics to `kafka_partitions` where they have fewer; returns their names. Never lowered: Kafka cannot.

    A portfolio's later messages may go to another partition than its earlier ones. Nothing rests on their order: what is to be done
    is read from the ledger. Who announces shares a night among the new ones once its producer knows them (five minutes).
    """
    admin = AIOKafkaAdminClient(**client_options(settings), client_id="leadline-topics")
    await admin.start()
    try:
        names = [f"{settings.kafka_namespace}{name}" for name in TOPICS]
        described = await admin.describe_topics(names)
        few = [one["topic"] for one in described if 0 < len(one["partitions"]) < settings.kafka_partitions]
        raised = []
        for name in few:
            try:
                await admin.create_partitions({name: NewPartitions(settings.kafka_partitions)})
            except InvalidPartitionsError:
                # Another job was first; brokers tell of it a moment later.
                continue
            raised.append(name)
        return raised
    finally:
        await admin.close()
