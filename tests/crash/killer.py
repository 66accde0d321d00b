"""Arms one process at its crash point, helps it to get there, and knows whether it died."""

from __future__ import annotations

import asyncio
import random
import signal
import time

import psutil
from aiokafka import AIOKafkaProducer

from services.coordinator import handlers
from shared.db.roles import role_of
from shared.phase.topics import TOPICS_OF_PHASE
from shared.work import Phase
from tests.crash.story import Story
from tests.crash.world import World

# Longer than a dead holder's lease and the reconciler's turn after it.
RECOVERY_SECONDS = 45.0
# What is all quiet after so long has been recovered.
SETTLING_SECONDS = 8.0


class Killer:
    """Arms one process, helps it to its point, and knows whether it died there."""

    def __init__(
        self, world: World, point: str, service: str, spec: str, rng: random.Random, *, then: str = ""
    ) -> None:
        self.world, self.point, self.service, self.spec, self.rng, self.then = world, point, service, spec, rng, then
        self.armed = False
        self.at = 0.0
        self.again_at = 0.0
        self._since = 0
        self._losing = False
        self._recovered = False
        self._poison: tuple[str, int] | None = None
        self._later: asyncio.Task[None] | None = None

    async def arm(self, story: Story) -> None:
        world = self.world
        self._since = len(world.deaths)
        if self.then and self.point != "X5":
            world.crash_when_back[self.service] = self.then
        world.arm(self.service, self.spec)
        self.armed = True
        if self.point == "R6":
            await world.execute(
                """INSERT INTO bus.outbox (event_id, topic, type, payload, created_at, sent_at, written_by)
                   SELECT gen_random_uuid(), 'leadline.old', 'old', '{}', now() - interval '9 days', now() - interval '8 days', :role
                   FROM generate_series(1, 50)""",
                role=role_of(self.service),
            )
        elif self.point == "H9":
            await self._send_poison(story)
        elif self.point == "X5":
            self._later = asyncio.create_task(self._watch_the_leader())
        elif self.point == "H10":
            self._later = asyncio.create_task(self._ask_to_stop(self.rng.uniform(0, 2.0)))

    async def _ask_to_stop(self, delay: float) -> None:
        await asyncio.sleep(delay)
        self.world.send(self.service, signal.SIGTERM)

    async def _send_poison(self, story: Story) -> None:
        producer = AIOKafkaProducer(bootstrap_servers=self.world.settings.kafka)
        await producer.start()
        try:
            # Whoever listens to prices and dates gets one; each service hears at least one of the two.
            for topic in _topics_of(self.service):
                sent = await producer.send_and_wait(
                    f"{self.world.settings.kafka_namespace}{topic}",
                    f"not json {story.slot}".encode(),
                    key=b"poison",
                    headers=[("ce_type", b"leadline.DateDue.v1")],
                )
                self._poison = (topic, sent.offset)
        finally:
            await producer.stop()

    async def lose_events(self, story: Story) -> None:
        """The reconciler has something to do only if the bus lost something."""
        if not self._losing:
            self._losing = True
            await story.drop_events(on=True)
            await story.rerun()
        await story.hurry()

    async def struck(self, within: float) -> bool:
        """Whether the process died, or froze, at its point."""
        if self.at:
            return True
        if self.point == "X5":
            await asyncio.sleep(within)
            return self.at > 0
        death = await self.world.died(self.service, self._since, within=within)
        if death is not None:
            assert death.code == -signal.SIGKILL, f"{self.service} ended with {death.code}, not at {self.spec}"
            self.at = death.at
        return death is not None

    async def struck_in_recovery(self, story: Story) -> bool:
        """Whether the second death came before what the first left undone was done. Nothing else happens while this waits."""
        if not self.then or not self.at or self._recovered:
            return False
        self._recovered = True
        began = time.monotonic()
        while time.monotonic() < began + RECOVERY_SECONDS:
            if await self.struck_again(story, 0.5):
                return True
            if time.monotonic() > began + SETTLING_SECONDS and await story.undone() == (0, 0):
                return False
        return False

    async def struck_again(self, story: Story, within: float) -> bool:
        """Whether the process, started again, died at its second point."""
        if self.again_at:
            return True
        if self.point == "X5" and self._later is not None:
            # It did not die but sleeps: it is armed anew once it is awake beside its successor.
            await self._later
            self._later, self._since = None, len(self.world.deaths)
            self.world.arm(self.service, self.then)
        until = time.monotonic() + within
        while time.monotonic() < until and not self.again_at:
            mine = [death for death in self.world.deaths[self._since :] if death.name == self.service]
            if len(mine) > (self.point != "X5"):
                assert mine[-1].code == -signal.SIGKILL, (
                    f"{self.service} ended with {mine[-1].code}, not at {self.then}"
                )
                self.again_at = mine[-1].at
            elif self.world.quick or self._losing:
                await story.hurry()
            await asyncio.sleep(0.1)
        return self.again_at > 0

    async def done(self, story: Story) -> None:
        """Take back what helped; wake the frozen leader beside its successor."""
        if self._losing:
            await story.drop_events(on=False)
            await story.hurry()
        self.world.crash_when_back.pop(self.service, None)
        if not self.at or (self.then and not self.again_at):
            self.world.arm(self.service, "")
        if self._later is not None:
            if not self.at:
                self._later.cancel()
            await asyncio.gather(self._later, return_exceptions=not self.at)

    async def _watch_the_leader(self) -> None:
        """Once it is frozen: end its transaction, let another lead, and wake it."""
        world = self.world
        leader = psutil.Process(world.processes[self.service].pid)
        while leader.status() != psutil.STATUS_STOPPED:  # noqa: ASYNC110 (a process)
            await asyncio.sleep(0.05)
        self.at = time.monotonic()
        # The server notices that the leader is gone: its transaction, and the lock with it, ends.
        await world.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'leadline-coordinator'"
            " AND datname = current_database() AND state = 'idle in transaction'"
        )
        world.start("coordinator", name="successor")
        await world.ready("successor")
        world.send("coordinator", signal.SIGCONT)
        await world.ready("coordinator")
        await asyncio.sleep(1.0)
        await world.dismiss("successor")

    async def own_violations(self) -> list[str]:
        """What this point is about beyond what all are about."""
        if self.point == "R6":
            [(old,)] = await self.world.rows("SELECT count(*) FROM bus.outbox WHERE topic = 'leadline.old'")
            until = time.monotonic() + 10
            while old and time.monotonic() < until:
                await asyncio.sleep(0.3)
                [(old,)] = await self.world.rows("SELECT count(*) FROM bus.outbox WHERE topic = 'leadline.old'")
            return [f"{old} old rows are still there"] if old else []
        if self._poison is not None:
            until = time.monotonic() + 15
            while (letters := await self._letters()) < 1 and time.monotonic() < until:  # noqa: ASYNC110 (a row)
                await asyncio.sleep(0.2)
            return [] if letters == 1 else [f"{letters} dead letters of one bad message"]
        return []

    async def _letters(self) -> int:
        assert self._poison is not None
        topic, offset = self._poison
        [(count,)] = await self.world.rows(
            'SELECT count(*) FROM bus.dead_letters WHERE consumer = :c AND topic = :t AND "offset" = :o AND body IS NOT NULL',
            c=self.service,
            t=topic,
            o=offset,
        )
        return int(count)


def _topics_of(service: str) -> tuple[str, ...]:
    topics = handlers.TOPICS if service == "coordinator" else TOPICS_OF_PHASE[Phase(service)]
    return topics[:1]
