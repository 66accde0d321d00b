"""Every client of ours on Apache Kafka that asks who is there: each mechanism, our own authority, and rights by the list we print."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from pathlib import Path
from typing import Any

import pytest
from aiokafka.errors import KafkaError
from pydantic import SecretStr

from deploy import acls, doctor, env_file
from deploy.embedded.process import free_port
from deploy.kafka import kafka as apache
from deploy.kafka.kafka import Listener
from services.ingest.settings import IngestSettings
from shared.db.roles import SERVICES, role_of
from shared.events.topics import PORTFOLIO_CREATED, RISK_COMPUTED, TOPICS
from shared.messaging.broker import add_partitions, create_producer, ensure_topics
from shared.settings import ServiceSettings
from tests.support import compose
from tests.support.certificates import Authority
from tests.support.secured import ADMIN, PASSWORDS, SecuredKafka

# The first of a module waits for a node to start.
pytestmark = pytest.mark.timeout(600)


def _unsigned_token(subject: str) -> str:
    """A token as the node's own check for tests takes it: without a signature."""
    now = int(time.time())
    parts = ({"alg": "none"}, {"sub": subject, "iat": now, "exp": now + 600, "scope": "kafka"})
    return ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts) + "."


def sasl(kafka: SecuredKafka, user: str, *, mechanism: str = "SCRAM-SHA-512", **values: Any) -> IngestSettings:
    return IngestSettings.model_validate(
        {
            "kafka": kafka.sasl,
            "kafka_security_protocol": "SASL_SSL",
            "kafka_sasl_mechanism": mechanism,
            "kafka_username": user,
            "kafka_password": PASSWORDS[user],
            "kafka_ssl_ca": kafka.authority.certificate,
        }
        | values
    )


def signed_in(kafka: SecuredKafka, way: str, directory: Path) -> IngestSettings:
    """The administrator's settings, by the way it proves who it is."""
    if way == "certificate":
        mine = kafka.authority.issue(ADMIN)
        return IngestSettings(
            kafka=kafka.tls,
            kafka_security_protocol="SSL",
            kafka_ssl_ca=kafka.authority.certificate,
            kafka_ssl_cert=mine.certificate,
            kafka_ssl_key=mine.key,
        )
    if way == "OAUTHBEARER":
        path = directory / "token"
        path.write_text(_unsigned_token(ADMIN))
        return sasl(kafka, ADMIN, mechanism=way, kafka_username=None, kafka_password=None, kafka_oauth_token_path=path)
    return sasl(kafka, ADMIN, mechanism=way)


@pytest.mark.parametrize("way", ["SCRAM-SHA-512", "PLAIN", "OAUTHBEARER", "certificate"])
async def test_topics_are_made_and_found(secured_kafka: SecuredKafka, way: str, tmp_path: Path) -> None:
    settings = signed_in(secured_kafka, way, tmp_path).model_copy(update={"kafka_namespace": f"{way}."})
    assert len(await ensure_topics(settings)) == len(TOPICS)
    assert await ensure_topics(settings) == []
    assert await _once_known(settings) == f"all {len(TOPICS)} are there"
    producer = create_producer(settings, service="ingest")
    await producer.start()
    await producer.send_and_wait(f"{way}.{RISK_COMPUTED}", b"{}")
    await producer.stop()


async def _once_known(settings: IngestSettings) -> str:
    """A broker tells of new topics a moment after it made them."""
    until = time.monotonic() + 10
    while True:
        try:
            return await doctor._topics(settings)
        except doctor.CheckFailed:
            if time.monotonic() > until:
                raise
            await asyncio.sleep(0.1)


async def test_partitions_are_added_and_never_taken(secured_kafka: SecuredKafka) -> None:
    settings = sasl(secured_kafka, ADMIN, kafka_namespace="more.", kafka_partitions=2)
    await ensure_topics(settings)
    await _once_known(settings)
    assert await add_partitions(settings) == []
    more = settings.model_copy(update={"kafka_partitions": 3})
    assert len(await add_partitions(more)) == len(TOPICS)
    assert await add_partitions(more) == []
    assert await add_partitions(settings) == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"kafka_password": "guess"},
        {"kafka_ssl_ca": None},
        {"kafka_security_protocol": "SASL_PLAINTEXT", "kafka_ssl_ca": None},
    ],
    ids=["password", "authority", "no TLS"],
)
async def test_who_does_not_prove_itself_or_does_not_trust_is_out(secured_kafka: SecuredKafka, wrong: Any) -> None:
    with pytest.raises(KafkaError):
        await ensure_topics(sasl(secured_kafka, ADMIN, **wrong))


async def test_composes_broker_lets_in_whom_its_file_names(authority: Authority, scratch_directory: Path) -> None:
    """The listener of docker-compose.yml, its variables as the image reads them, and the clients' settings from there."""
    drawn = {name: f"drawn-{name.lower()}" for name in env_file.NAMES}
    prefix = "KAFKA_LISTENER_NAME_"
    properties = {
        name.removeprefix("KAFKA_").lower().replace("_", "."): compose.interpolate(value, drawn)
        for name, value in compose.load()["kafka"]["environment"].items()
        if name.startswith(prefix)
    }
    clients = Listener("SASL_PLAINTEXT", free_port())
    node = apache.serve(scratch_directory / "compose-kafka", listeners={"CLIENTS": clients}, properties=properties)
    try:
        given = {
            name.removeprefix("LEADLINE_").lower(): compose.interpolate(value, drawn)
            for name, value in compose.load()["topics"]["environment"].items()
            if value is not None
        }
        settings = ServiceSettings.model_validate(given | {"kafka": f"127.0.0.1:{clients.port}"})
        assert len(await ensure_topics(settings)) == len(TOPICS)
        with pytest.raises(KafkaError):
            await ensure_topics(settings.model_copy(update={"kafka_password": SecretStr("guess")}))
        with pytest.raises(KafkaError):
            await ensure_topics(ServiceSettings(kafka=settings.kafka))
    finally:
        node.stop()


async def test_the_list_of_rights_is_enough_and_no_more(restricted_kafka: SecuredKafka) -> None:
    """Writing is tried here; reading, committing and measuring the lag by the five processes of the other module."""
    admin = sasl(restricted_kafka, ADMIN)
    assert await acls.apply(admin) == len(acls.rules())
    await ensure_topics(sasl(restricted_kafka, acls.TOPIC_JOB))
    for service in SERVICES:
        mine = sasl(restricted_kafka, role_of(service))
        for topic in TOPICS:
            if topic in acls.SENDS[service]:
                await _send(mine, topic)
            else:
                with pytest.raises(KafkaError):
                    await _send(mine, topic)
    with pytest.raises(KafkaError):
        await ensure_topics(sasl(restricted_kafka, role_of("risk"), kafka_namespace="other."))
    with pytest.raises(KafkaError):
        await _send(sasl(restricted_kafka, acls.TOPIC_JOB), PORTFOLIO_CREATED)


async def _send(settings: ServiceSettings, topic: str) -> None:
    producer = create_producer(settings, service="test")
    await producer.start()
    try:
        await producer.send_and_wait(topic, b"{}")
    finally:
        await producer.stop()
