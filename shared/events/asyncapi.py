"""What a service reads and what it sends, as an AsyncAPI document.

What is read is derived from the broker's subscriptions. What is sent goes through the outbox, where no broker's publisher is declared,
so it stands here by event.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from faststream.kafka import KafkaBroker
from faststream.specification import AsyncAPI

from shared.events.envelope import Event
from shared.events.topics import EVENT_TYPES, TOPIC_OF

SENDS: Mapping[str, tuple[str, ...]] = {
    "coordinator": ("PortfolioCreated", "PortfolioChanged", "PortfolioDeleted", "DateDue", "PhaseRequested"),
    # A run past its time leaves the rest to the next one by `PhaseRequested`.
    "ingest": ("PricesIngested", "PricesRestated", "PhaseRequested"),
    "factors": ("FactorsComputed", "PhaseRequested"),
    "snapshots": ("SnapshotsBuilt", "PhaseRequested"),
    "risk": ("RiskComputed", "PhaseRequested"),
}


def topics_sent(service: str) -> tuple[str, ...]:
    """Topics of what the service announces; of what others announce, its relay may send more."""
    return tuple(TOPIC_OF[EVENT_TYPES[name]] for name in SENDS.get(service, ()))


def describe(service: str, broker: KafkaBroker, namespace: str = "") -> dict[str, Any]:
    """The document of one service. `namespace` stands in front of its topics, as the broker's own have it."""
    document: dict[str, Any] = (
        AsyncAPI(broker, title=f"Leadline {service}", version="1").to_specification().to_jsonable()
    )
    components = document.setdefault("components", {})
    for name in SENDS.get(service, ()):
        _add_send(document, components, EVENT_TYPES[name], namespace)
    return document


def _add_send(document: dict[str, Any], components: dict[str, Any], kind: type[Event], namespace: str) -> None:
    channel, message = f"send.{TOPIC_OF[kind]}", f"{kind.name}.v{kind.version}"
    schema = kind.model_json_schema(by_alias=True, ref_template="#/components/schemas/{model}")
    schemas = components.setdefault("schemas", {})
    schemas.update(schema.pop("$defs", {}))
    schemas[f"{kind.name}Body"] = schema
    components.setdefault("messages", {})[message] = {
        "name": kind.name,
        "title": kind.name,
        "summary": (kind.__doc__ or kind.name).strip().splitlines()[0],
        "contentType": "application/json",
        "payload": {"$ref": f"#/components/schemas/{kind.name}Body"},
    }
    document.setdefault("channels", {})[channel] = {
        "address": f"{namespace}{TOPIC_OF[kind]}",
        "messages": {message: {"$ref": f"#/components/messages/{message}"}},
    }
    document.setdefault("operations", {})[f"send{kind.name}"] = {
        "action": "send",
        "summary": f"Through the outbox, in the transaction that it reports: {kind.name}",
        "channel": {"$ref": f"#/channels/{channel}"},
        "messages": [{"$ref": f"#/channels/{channel}/messages/{message}"}],
    }
