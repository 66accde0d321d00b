"""Consumer liveness: task state, poll age, lag. Asking the broker for its metadata says nothing about it: a consumer whose task
has ended, or that reads nothing although messages wait, answers as before.

Known from inside: tasks that run, the age of the last poll, the relay's last turn. Known from outside, over a connection of its
own: how far the group's committed offsets are behind the topics' ends, and whether that falls.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from faststream.kafka import KafkaBroker

from shared.messaging.broker import MAX_POLL_INTERVAL_MS, METADATA_MAX_AGE_MS
from shared.messaging.retry_middleware import RetryDeadLetterMiddleware
from shared.messaging.security import client_options
from shared.settings import ServiceSettings
from shared.telemetry import CONSUMER_LAG, POLL_AGE, logger

log = logger(__name__)

PERIOD_SECONDS = 15.0
PROBE_TIMEOUT_SECONDS = 10.0
# Messages wait, nothing is handled and nothing committed for so long: the client is stuck (aiokafka has such reports after a
# broker's restart). A handler may take two minutes, a rebalance half of one.
STALL_SECONDS = 180.0
# Messages wait, and the group's only member has none of their partitions: it joined when the topics were not there, and has not
# learnt that they are. Twice the age at which it asks for what there is.
UNASSIGNED_SECONDS = 2 * METADATA_MAX_AGE_MS / 1000
# No step of a handler takes as long as this: batches are bounded by what they cost. It may take longer as a whole. A poll later
# than this, and the broker has given the partitions to somebody else; what was done by then stays done.
MAX_IDLE_SECONDS = MAX_POLL_INTERVAL_MS / 1000

Offsets = Mapping[TopicPartition, int]


class ConsumerMonitor:
    """Looks at one service's consumers every few seconds, and remembers what it saw."""

    def __init__(
        self,
        service: str,
        settings: ServiceSettings,
        broker: KafkaBroker,
        guard: RetryDeadLetterMiddleware,
        *,
        stopping: asyncio.Event,
    ) -> None:
        self._service = service
        self._settings = settings
        self._broker = broker
        self._guard = guard
        self._stopping = stopping
        self._since: dict[str, tuple[int, float]] = {}
        self._unassigned: dict[str, float] = {}
        self._stalled: dict[str, str] = {}
        self.unknown: str | None = None
        """Why the lag cannot be told; the broker is away, most likely. No reason to restart: a new process has no other broker."""

    async def run(self) -> None:
        """Until the service stops."""
        while not self._stopping.is_set():
            try:
                async with asyncio.timeout(PROBE_TIMEOUT_SECONDS):
                    await self._look()
                self.unknown = None
            except Exception as error:  # noqa: BLE001 (whatever ails the probe, it is not the consumer's illness)
                self.unknown = f"{type(error).__name__}: {error}"[:200]
                self._since.clear()
                self._unassigned.clear()
            POLL_AGE.labels(self._service).set(self._guard.poll_age())
            try:
                await asyncio.wait_for(self._stopping.wait(), PERIOD_SECONDS)
            except TimeoutError:
                continue

    async def _look(self) -> None:
        """Measure lag: committed offsets against the ends of the assigned partitions, over fresh connections.

        Of a group that has none assigned here, those of all its topics' partitions.
        """
        assigned: dict[str, list[TopicPartition]] = {}
        topics: dict[str, list[str]] = {}
        for subscriber in self._broker.subscribers:
            consumer, group = getattr(subscriber, "consumer", None), getattr(subscriber, "group_id", None)
            if consumer is not None and group is not None:
                assigned[group] = sorted(consumer.assignment())
                topics[group] = list(getattr(subscriber, "topic_names", ()))
        if not assigned:
            return
        options = client_options(self._settings) | {"client_id": f"leadline-{self._service}-watch"}
        admin, reader = AIOKafkaAdminClient(**options), AIOKafkaConsumer(**options)
        total = 0
        try:
            await admin.start()
            await reader.start()
            for group, partitions in assigned.items():
                if not partitions:
                    total += await self._look_at_unassigned(admin, reader, group, topics[group])
                    continue
                self._unassigned.pop(group, None)
                committed, ends = await _offsets(admin, reader, group, partitions)
                total += self.judge(group, committed, ends, now=time.monotonic())
        finally:
            await reader.stop()
            await admin.close()
        CONSUMER_LAG.labels(self._service).set(total)

    async def _look_at_unassigned(
        self, admin: AIOKafkaAdminClient, reader: AIOKafkaConsumer, group: str, topics: Sequence[str]
    ) -> int:
        known = await reader.topics()
        partitions = [
            TopicPartition(topic, number)
            for topic in topics
            if topic in known
            for number in sorted(reader.partitions_for_topic(topic) or ())
        ]
        waiting = 0
        if partitions:
            committed, ends = await _offsets(admin, reader, group, partitions)
            starts: Offsets = await reader.beginning_offsets(partitions)
            waiting = sum(max(0, ends[p] - max(committed[p], starts[p])) for p in partitions)
        members = await _members(admin, group) if waiting else 0
        return self.judge_unassigned(group, waiting, members, now=time.monotonic())

    def judge_unassigned(self, group: str, waiting: int, members: int, *, now: float) -> int:
        """Update the state of a group that has no partition here; returns its lag, as far as it is ours.

        waiting : messages of its topics that the group has not read; with other members they are theirs
        """
        self._since.pop(group, None)
        if waiting == 0 or members != 1:
            self._unassigned.pop(group, None)
            self._stalled.pop(group, None)
            return 0
        seconds = now - self._unassigned.setdefault(group, now)
        if seconds >= UNASSIGNED_SECONDS:
            self._stalled[group] = (
                f"{group} has had no partition for {seconds:.0f} s although it is alone in its group, and {waiting} messages wait"
            )
        return waiting

    def judge(self, group: str, committed: Offsets, ends: Offsets, *, now: float) -> int:
        """Update a group's state; returns its lag. Stalled: behind, idle, and not a message further for a long time."""
        lag = sum(max(0, ends[partition] - committed[partition]) for partition in committed)
        position = sum(committed.values())
        before = self._since.get(group)
        moving = (
            before is None
            or before[0] != position
            or self._guard.poll_age() > 0
            or self._guard.last_handled > before[1]
        )
        if lag == 0 or moving:
            self._since[group] = (position, now)
            self._stalled.pop(group, None)
        elif now - self._since[group][1] >= STALL_SECONDS:
            self._stalled[group] = (
                f"{group} reads nothing for {now - self._since[group][1]:.0f} s, and {lag} messages wait"
            )
        return lag

    def problems(self) -> list[str]:
        """Problems that a restart would fix."""
        found = list(self._stalled.values())
        if self._guard.limit.tripped is None and (idle := self._guard.idle_age()) > MAX_IDLE_SECONDS:
            found.append(
                f"a handler has run for {self._guard.poll_age():.0f} s and got no further in the last {idle:.0f} s, "
                "and nothing is polled meanwhile"
            )
        found += [
            f"no task reads {getattr(subscriber, 'group_id', subscriber)}"
            for subscriber in self._broker.subscribers
            if not _reads(getattr(subscriber, "tasks", ()))
        ]
        return found


def _reads(tasks: Sequence[asyncio.Task[Any]]) -> bool:
    return any(not task.done() for task in tasks)


async def _offsets(
    admin: AIOKafkaAdminClient, reader: AIOKafkaConsumer, group: str, partitions: Sequence[TopicPartition]
) -> tuple[Offsets, Offsets]:
    """Committed by the group, 0 where it never did; and the ends."""
    ends: Offsets = await reader.end_offsets(partitions)
    found = await admin.list_consumer_group_offsets(group, partitions=partitions)
    return {p: max(0, found[p].offset) if p in found else 0 for p in partitions}, ends


async def _members(admin: AIOKafkaAdminClient, group: str) -> int:
    """How many are in the group."""
    [answer] = await admin.describe_consumer_groups([group])
    [described] = answer.groups
    # (error, group, state, protocol type, protocol, members, …); a broker that does not say who is in it has one client: us.
    error, members = described[0], described[5]
    return 1 if error else len(members)
