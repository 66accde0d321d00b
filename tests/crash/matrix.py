"""The crash matrix: 27 named points, any number of seeds, each a process killed at that point in the life of a portfolio."""

from __future__ import annotations

import asyncio
import importlib
import random
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import psutil
from aiokafka import AIOKafkaProducer

from shared.db.roles import SERVICES
from shared.work import Phase
from tests.crash import checks
from tests.crash.story import FIRST, LAST, QUIET_SECONDS, Story
from tests.crash.world import World

PHASES = tuple(phase.value for phase in Phase)
EVERY_STEP = ("import", "due", "edit", "correct", "flow", "rerun")
# A point that was not reached in the whole story is driven to by reruns, up to this many.
MORE_DRIVES = 12


@dataclass(frozen=True)
class Point:
    """Where to die, who dies, from which step of the story on, and how many times the point may be passed before."""

    what: str
    services: tuple[str, ...] = PHASES
    steps: tuple[str, ...] = EVERY_STEP
    passes: int = 3
    drive: str = "rerun"


COORDINATOR = ("coordinator",)
POINTS: Mapping[str, Point] = {
    "C1": Point("a request came, before its transaction", COORDINATOR, ("import", "edit", "flow", "rerun"), 1),
    "C2": Point("portfolio written, before the outbox", COORDINATOR, ("import", "edit", "flow"), 1),
    "C3": Point("request done, before its commit", COORDINATOR, ("import", "edit", "flow", "rerun"), 1),
    "C4": Point("request committed, before the answer", COORDINATOR, ("import", "edit", "flow", "rerun"), 1),
    "C5": Point("units of a due date added, before the commit", COORDINATOR, ("import", "due"), 1, "due"),
    "C6": Point("due date committed", COORDINATOR, ("import", "due"), 1, "due"),
    "R1": Point("outbox rows claimed, before they are sent", SERVICES),
    "R2": Point("sent, before the broker confirms", SERVICES),
    "R3": Point("confirmed, before the rows are marked", SERVICES),
    "R4": Point("marked, before the commit", SERVICES),
    "R5": Point("rows committed as sent", SERVICES),
    "R6": Point("in the middle of the outbox's cleaning", SERVICES, passes=1),
    "H1": Point("message fetched, before its handler"),
    "H2": Point("lease taken and committed"),
    "H3": Point("in the middle of computing, or of asking a provider", passes=1),
    "H4": Point("completed revision raised", passes=2),
    "H5": Point("results written", passes=2),
    "H6": Point("outbox row inserted, before the commit", passes=2),
    "H7": Point("committed, before the offset is"),
    "H8": Point("offset committed"),
    "H9": Point("a bad message put aside, before and after the commit", passes=2),
    "H10": Point("while draining after SIGTERM", passes=2),
    "X1": Point("elected", COORDINATOR),
    "X2": Point("missing units selected", COORDINATOR, ("import", "edit"), 1),
    "X3": Point("emits counted, before the commit", COORDINATOR, ("import", "edit"), 1),
    "X4": Point("events committed", COORDINATOR, ("import", "edit"), 1),
    "X5": Point("frozen mid-batch, lock lost, awake beside a new leader", COORDINATOR, ("import", "edit"), 1),
}


@dataclass(frozen=True)
class Case:
    point: str
    seed: int


@dataclass
class Result:
    """What became of a case."""

    case: Case
    service: str
    spec: str
    injected: bool = False
    stranded: bool = False
    differing: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    # Seconds from the end of the story, or the death if that came later, until all was quiet.
    healed: float = 0.0
    seconds: float = 0.0

    @property
    def good(self) -> bool:
        return self.injected and not (self.stranded or self.differing or self.lost)

    def __str__(self) -> str:
        problems = [*self.lost[:8], *(f"differs: {table}" for table in self.differing)]
        if not self.injected:
            problems.append("the crash did not happen")
        if self.stranded:
            problems.append(f"not quiet after {QUIET_SECONDS:.0f} s")
        return f"{self.case.point} seed {self.case.seed} {self.service} {self.spec}: {'; '.join(problems) or 'well'}"


async def undisturbed(world: World) -> dict[str, str]:
    """The digest of the story when nothing goes wrong."""
    world.slots += 1
    story = Story(world, world.slots - 1)
    await story.tell()
    assert await story.quiet(hurry=False), "the undisturbed story does not end"
    found = await checks.violations(world, story.portfolio, FIRST, LAST)
    assert not found, found
    assert not world.deaths, world.deaths
    return await checks.digest(world, story.portfolio, story.symbols)


async def run_case(world: World, case: Case, oracle: Mapping[str, str]) -> Result:
    """One life with one death in it."""
    began = time.monotonic()
    rng = random.Random(f"{case.point}:{case.seed}")
    point = POINTS[case.point]
    # All services of a point have their turn as the seeds go by, beginning with another one at each point.
    turn = case.seed + list(POINTS).index(case.point)
    service = point.services[turn % len(point.services)]
    spec = f"{case.point}:{rng.randint(1, point.passes)}" + (":STOP" if case.point == "X5" else "")
    result = Result(case, service, spec)
    world.slots += 1
    story = Story(world, world.slots - 1)
    killer = _Killer(world, case.point, service, spec, rng)
    # Ingest asks a provider for what is not known yet, and after the import all is.
    asks = case.point == "H3" and service == "ingest"
    step_of_arming = "import" if asks else rng.choice(point.steps)
    for name, step in story.steps.items():
        if name == step_of_arming:
            await killer.arm(story)
        await step()
        if killer.armed and case.point.startswith("X") and not await killer.struck(0):
            await killer.lose_events(story)
        await asyncio.sleep(rng.uniform(0, 0.4))
    for _ in range(MORE_DRIVES):
        if await killer.struck(1.5):
            break
        await (story.date_due if point.drive == "due" else story.rerun)()
    result.injected = await killer.struck(0.5)
    await killer.done(story)
    ended = max(time.monotonic(), killer.at)
    result.stranded = not await story.quiet(hurry=world.quick)
    result.healed = time.monotonic() - ended
    for name in world.processes:
        await world.ready(name)
    result.lost = await checks.violations(world, story.portfolio, FIRST, LAST)
    result.lost += await killer.own_violations()
    found = await checks.digest(world, story.portfolio, story.symbols)
    result.differing = [table for table, digest in found.items() if digest != oracle[table]]
    result.seconds = time.monotonic() - began
    return result


class _Killer:
    """Arms one process, helps it to its point, and knows whether it died there."""

    def __init__(self, world: World, point: str, service: str, spec: str, rng: random.Random) -> None:
        self.world, self.point, self.service, self.spec, self.rng = world, point, service, spec, rng
        self.armed = False
        self.at = 0.0
        self._since = 0
        self._losing = False
        self._poison: tuple[str, int] | None = None
        self._later: asyncio.Task[None] | None = None

    async def arm(self, story: Story) -> None:
        world = self.world
        self._since = len(world.deaths)
        world.arm(self.service, self.spec)
        self.armed = True
        if self.point == "R6":
            await world.execute(
                """INSERT INTO bus.outbox (event_id, topic, type, payload, created_at, sent_at)
                   SELECT gen_random_uuid(), 'leadline.old', 'old', '{}', now() - interval '9 days', now() - interval '8 days'
                   FROM generate_series(1, 50)"""
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

    async def done(self, story: Story) -> None:
        """Take back what helped; wake the frozen leader beside its successor."""
        if self._losing:
            await story.drop_events(on=False)
            await story.hurry()
        if not self.at:
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
    topics: tuple[str, ...] = importlib.import_module(f"services.{service}.handlers").TOPICS
    return topics[:1]


async def run_matrix(
    worlds: Sequence[World],
    cases: Sequence[Case],
    oracle: Mapping[str, str],
    results: Mapping[Case, asyncio.Future[Result]],
) -> None:
    """Deal the cases to the worlds; each world lives one at a time."""
    queue = list(cases)

    async def live(world: World) -> None:
        while queue:
            case = queue.pop(0)
            try:
                results[case].set_result(await run_case(world, case, oracle))
            except Exception as error:  # noqa: BLE001 - a case that cannot be told is that case's failure
                results[case].set_exception(error)

    await asyncio.gather(*(live(world) for world in worlds))
