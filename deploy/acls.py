"""What each service may do on a broker that asks: `python -m deploy.acls` prints the rules, `--apply` writes them.

They follow from the code: what a service reads is what its broker subscribes, what it sends is what its relay finds in the outbox.
A principal is named as the service's database role is: `User:leadline_risk`.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import for_code
from aiokafka.protocol.admin import CreateAclsRequest

from deploy.embedded.choices import settings_of
from deploy.embedded.composition import create_app
from shared.db.roles import SERVICES, role_of
from shared.errors import ConfigurationError
from shared.events import asyncapi
from shared.events.topics import TOPICS
from shared.messaging.security import client_options
from shared.service import Service
from shared.settings import ServiceSettings

TOPIC_JOB = "leadline_topics"
# What a relay finds in the outbox and has to send: what its own role wrote. The coordinator's also finds what the API's role
# wrote, and what any role has left for half a minute, so that a service that is away holds up nobody's.
SENDS = {service: asyncapi.topics_sent(service) for service in SERVICES}
SENDS["coordinator"] = TOPICS
_RESOURCES = {"topic": 2, "group": 3, "cluster": 4}
_OPERATIONS = {"Read": 3, "Write": 4, "Create": 5, "Alter": 7, "Describe": 8}
_PATTERNS = {"literal": 3, "prefixed": 4}
_ALLOW = 3


@dataclass(frozen=True, order=True)
class Rule:
    """One thing that one principal may do."""

    principal: str
    resource: str  # topic | group
    name: str
    operation: str  # Read | Write | Create | Alter | Describe
    pattern: str = "literal"

    def command(self, server: str) -> str:
        """As Apache Kafka's own tool is called for it."""
        return (
            f"kafka-acls.sh --bootstrap-server {server} --command-config admin.properties --add"
            f" --allow-principal {self.principal} --operation {self.operation}"
            f" --{self.resource} {self.name} --resource-pattern-type {self.pattern}"
        )


def rules(namespace: str = "") -> list[Rule]:
    """Every rule of the five services and of the topic job, in order. Reading and writing include describing."""
    found = {rule for service in SERVICES for rule in _service_rules(service, namespace)}
    # Prefixed: a topic that a later version adds is created by the same principal.
    found |= {
        Rule(f"User:{TOPIC_JOB}", "topic", f"{namespace}leadline.", operation, "prefixed")
        for operation in ("Create", "Describe", "Alter")
    }
    return sorted(found)


def _service_rules(service: str, namespace: str) -> Iterator[Rule]:
    principal = f"User:{role_of(service)}"
    app = create_app(service, settings_of(service, kafka_namespace=namespace))
    made = app.state.service
    assert isinstance(made, Service)
    for subscriber in made.broker.subscribers:
        group = getattr(subscriber, "group_id", None)
        assert isinstance(group, str), f"a subscriber of {service} has no group"
        yield Rule(principal, "group", group, "Read")
        for topic in getattr(subscriber, "topics", ()):
            yield Rule(principal, "topic", str(getattr(topic, "name", topic)), "Read")
    for topic in SENDS[service]:
        yield Rule(principal, "topic", f"{namespace}{topic}", "Write")


def markdown() -> str:
    """The rules as a page for people."""
    lines = [
        "# Kafka rights",
        "",
        "Written by `python -m deploy.export_docs`, from the subscriptions of the services and the registry of topics.",
        "`python -m deploy.acls` prints these rules as commands, with the namespace of `LEADLINE_KAFKA_NAMESPACE`; with `--apply`",
        "it writes them itself, as the administrator that the `LEADLINE_KAFKA_…` variables name. Each service signs in as the",
        "principal of its name; `python -m deploy.topics` as `leadline_topics`. Consumers commit to their group with `Read`, and",
        "`Read` and `Write` include `Describe`. Nobody needs a right on the cluster.",
        "",
        "| principal | on | name | may |",
        "|---|---|---|---|",
    ]
    allowed: dict[tuple[str, str, str], list[str]] = {}
    for rule in rules():
        name = f"`{rule.name}`" + (" and what begins so" if rule.pattern == "prefixed" else "")
        allowed.setdefault((rule.principal, rule.resource, name), []).append(rule.operation)
    lines += [
        f"| `{principal}` | {resource} | {name} | {', '.join(operations)} |"
        for (principal, resource, name), operations in allowed.items()
    ]
    return "\n".join(lines) + "\n"


async def apply(settings: ServiceSettings) -> int:
    """Write the rules, as the administrator the settings name; what is there stays. Returns how many were sent.

    Raises the broker's error for a rule that it refuses.
    """
    admin = AIOKafkaAdminClient(**client_options(settings), client_id="leadline-acls")
    await admin.start()
    try:
        wanted = rules(settings.kafka_namespace)
        for rule in wanted:
            # The library has the message and no method for it.
            answer = await admin._send_request(  # noqa: SLF001
                CreateAclsRequest(
                    _RESOURCES[rule.resource],
                    rule.name,
                    _PATTERNS[rule.pattern],
                    rule.principal,
                    "*",
                    _OPERATIONS[rule.operation],
                    _ALLOW,
                )
            )
            for code, message in answer.creation_responses:
                if code:
                    raise ConfigurationError(f"{rule.command(settings.kafka)}: {for_code(code).__name__}: {message}")
    finally:
        await admin.close()
    return len(wanted)


def main() -> None:
    parser = argparse.ArgumentParser(description="Rights of the services on a Kafka that asks for them")
    parser.add_argument("--apply", action="store_true", help="write them, rather than print commands that do")
    asked = parser.parse_args()
    settings = ServiceSettings()
    if asked.apply:
        print(f"{asyncio.run(apply(settings))} rules are in force on {settings.kafka}")
        return
    sys.stdout.writelines(f"{rule.command(settings.kafka)}\n" for rule in rules(settings.kafka_namespace))


if __name__ == "__main__":
    main()
