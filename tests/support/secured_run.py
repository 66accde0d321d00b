"""Two replicas of each service as separate processes, with compose's commands, environments and roles, on secured servers that know
rights: for the tests of `make secured`, the flow tests among them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from pydantic import SecretStr

from deploy import acls
from shared.db.roles import role_of
from shared.settings import ServiceSettings
from tests.support import compose, databases
from tests.support.brokers import TestBroker
from tests.support.compose import Process
from tests.support.databases import Database, in_thread
from tests.support.secured import ADMIN, PASSWORDS, SecuredKafka

ASKED = "LEADLINE_TEST_SECURED"
TOKEN = "a token of the test's own"
BEARER = {"Authorization": f"Bearer {TOKEN}"}


def asked() -> bool:
    return os.environ.get(ASKED) == "1"


def administrator(kafka: SecuredKafka, namespace: str) -> ServiceSettings:
    """Settings of who may do everything at the brokers."""
    return ServiceSettings(
        kafka=kafka.sasl,
        kafka_namespace=namespace,
        kafka_security_protocol="SASL_SSL",
        kafka_sasl_mechanism="SCRAM-SHA-512",
        kafka_username=ADMIN,
        kafka_password=SecretStr(PASSWORDS[ADMIN]),
        kafka_ssl_ca=kafka.authority.certificate,
    )


@contextmanager
def processes(
    database: Database, kafka: SecuredKafka, directory: Path, **variables: str
) -> Iterator[dict[str, Process]]:
    """Rights by the list that `deploy.acls` prints; each service signs in as itself, with a password from a file."""
    namespace = f"{database.name}."
    in_thread(lambda: acls.apply(administrator(kafka, namespace)))
    given = {f"LEADLINE_{name.upper()}_PASSWORD": password for name, password in databases.PASSWORDS.items()}
    given |= {"LEADLINE_MIGRATOR_PASSWORD": "test-migrator", "POSTGRES_PASSWORD": "unused", "LEADLINE_TOKEN": TOKEN}
    given |= {"LEADLINE_AS_OF": "2020-12-31", "LEADLINE_KAFKA_NAMESPACE": namespace}
    broker = _broker(kafka, directory / "secrets")
    state = directory / f"secured-{database.name}"
    with compose.up(state, variables=given | variables, database=database, broker=broker, replicas=2) as running:
        yield running


def _broker(kafka: SecuredKafka, secrets: Path) -> TestBroker:
    secrets.mkdir(exist_ok=True)
    for user, password in PASSWORDS.items():
        (secrets / user).write_text(password + "\n")
    common = {
        "LEADLINE_KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
        "LEADLINE_KAFKA_SASL_MECHANISM": "SCRAM-SHA-512",
        "LEADLINE_KAFKA_SSL_CA": str(kafka.authority.certificate),
    }

    def variables(service: str) -> Mapping[str, str]:
        user = acls.TOPIC_JOB if service == "topics" else role_of(service)
        return common | {"LEADLINE_KAFKA_USERNAME": user, "LEADLINE_KAFKA_PASSWORD_FILE": str(secrets / user)}

    return TestBroker(kafka.sasl, "kafka", "Apache Kafka with SASL_SSL", lambda: None, None, variables)
