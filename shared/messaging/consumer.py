"""How a service subscribes: explicit group, from the earliest message, one message at a time."""

from __future__ import annotations

from typing import Any, Protocol

from faststream.kafka import KafkaBroker

from shared.messaging.broker import MAX_POLL_INTERVAL_MS

# A long poll returns as soon as there is a message; the wait only bounds how long an idle one hangs. The embedded broker
# answers no sooner than this, so it is also that broker's latency.
FETCH_MAX_WAIT_MS = 100
# A consumer that died is missed after this long, and its partitions go to another.
SESSION_TIMEOUT_MS = 10_000


class Subscribe(Protocol):
    """What a service registers its handlers with."""

    def __call__(self, *topics: str, group: str) -> Any: ...


def group_id(group: str, namespace: str = "") -> str:
    """The name that the broker knows a consumer group by."""
    return f"{namespace}leadline-{group}"


def subscribe(broker: KafkaBroker, *topics: str, group: str, namespace: str = "") -> Any:
    """A decorator for a handler of these topics. A new group starts at the earliest message, so nothing is missed."""
    return broker.subscriber(
        *(f"{namespace}{topic}" for topic in topics),
        group_id=group_id(group, namespace),
        auto_offset_reset="earliest",
        max_poll_interval_ms=MAX_POLL_INTERVAL_MS,
        session_timeout_ms=SESSION_TIMEOUT_MS,
        heartbeat_interval_ms=SESSION_TIMEOUT_MS // 3,
        fetch_max_wait_ms=FETCH_MAX_WAIT_MS,
        # A `reply_to` header would make the framework publish what the handler returns, and we consume only.
        no_reply=True,
    )
