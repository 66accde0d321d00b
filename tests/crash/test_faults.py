"""Servers that go away, answers that are lost, processes that sleep and clocks that are wrong: nothing is lost, no digit differs.

Each fault meets portfolios in the middle of their lives. `LEADLINE_FAULT_SECONDS=60` is the long run (`make faults`): broker and
database stay away for that long.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

from deploy.embedded import postgres
from deploy.kafka import kafka
from shared.db.roles import SERVICES
from tests.crash import checks
from tests.crash.matrix import undisturbed
from tests.crash.story import FIRST, LAST, Story
from tests.crash.world import World, Zygote, running
from tests.support import databases, proxy
from tests.support.brokers import TestBroker
from tests.support.databases import Server
from tests.support.proxy import Proxy

AWAY_SECONDS = float(os.environ.get("LEADLINE_FAULT_SECONDS", "5"))
CUTS = int(os.environ.get("LEADLINE_FAULT_CUTS", "15"))

pytestmark = [pytest.mark.apache_kafka, pytest.mark.long, pytest.mark.timeout(300 + 4 * AWAY_SECONDS + 2 * CUTS)]


@dataclass
class Plant:
    """A world on servers of its own, which may be stopped, and what its portfolios should look like."""

    state: Path
    world: World
    proxy: Proxy
    oracle: Mapping[str, str]
    bus: kafka.Kafka
    database: postgres.Postgres

    def story(self) -> Story:
        self.world.slots += 1
        return Story(self.world, self.world.slots - 1)

    async def stop_bus(self) -> None:
        await asyncio.to_thread(self.bus.kill)

    async def start_bus(self) -> None:
        self.bus = await asyncio.to_thread(kafka.serve, self.state / "kafka", port=self.bus.port)

    async def stop_database(self) -> None:
        """`pg_ctl stop -m immediate`: no checkpoint, no goodbye; the next start replays the journal."""
        await asyncio.to_thread(self.database.kill)

    async def start_database(self) -> None:
        self.database = await asyncio.to_thread(postgres.serve, self.state / "postgres", port=self.database.port)

    async def check(self, *stories: Story) -> None:
        """All quiet, nothing lost, no digit different."""
        for story in stories:
            assert await story.quiet(hurry=True), f"{story.portfolio} is stranded"
        for name in self.world.processes:
            await self.world.ready(name)
        for story in stories:
            assert await checks.violations(self.world, story.portfolio, FIRST, LAST) == []
            assert await checks.digest(self.world, story.portfolio, story.symbols) == self.oracle


@contextlib.asynccontextmanager
async def plant_of(zygote: Zygote, state: Path, prices: Path) -> AsyncIterator[Plant]:
    await asyncio.to_thread(state.mkdir, parents=True, exist_ok=True)
    bus = await asyncio.to_thread(kafka.serve, state / "kafka")
    server = await asyncio.to_thread(postgres.serve, state / "postgres")
    made: Plant | None = None
    try:
        # Not the throw-away kind: what it has committed must survive it.
        described = Server(server.url("postgres"), "PostgreSQL that is stopped", lambda: None)
        await asyncio.to_thread(databases.make_template, described)
        database = await databases.create(described)
        broker = TestBroker(bus.bootstrap, "kafka", "Apache Kafka that is stopped", lambda: None)
        async with proxy.proxy("127.0.0.1", server.port) as between:
            urls = {
                service: make_url(url).set(port=between.listening).render_as_string(hide_password=False)
                for service, url in database.urls.items()
            }
            world = running(zygote, database, broker, state / "world", prices=prices, urls=urls)
            async with world as started:
                made = Plant(state, started, between, await undisturbed(started), bus, server)
                yield made
    finally:
        bus, server = (made.bus, made.database) if made is not None else (bus, server)
        await asyncio.to_thread(bus.stop)
        await asyncio.to_thread(server.kill)


@pytest.fixture(scope="module")
async def plant(
    zygote: Zygote, apache_kafka: TestBroker, scratch_directory: Path, prices: Path
) -> AsyncIterator[Plant]:
    if apache_kafka.kind != "kafka":
        pytest.skip("a broker that somebody else runs is not stopped: needs Java and Maven")
    async with plant_of(zygote, scratch_directory / "faults", prices) as made:
        yield made


@pytest.mark.parametrize("what", ["bus", "database", "both"])
async def test_servers_that_stop_and_come_back(plant: Plant, what: str) -> None:
    stories = [plant.story(), plant.story()]
    telling = asyncio.gather(*(story.tell() for story in stories))
    await asyncio.sleep(1.0)
    if what in {"bus", "both"}:
        await plant.stop_bus()
    if what in {"database", "both"}:
        await plant.stop_database()
    await asyncio.sleep(AWAY_SECONDS)
    if what in {"database", "both"}:
        await plant.start_database()
    if what in {"bus", "both"}:
        await plant.start_bus()
    await telling
    await plant.check(*stories)


async def test_the_database_stops_in_the_middle_of_a_reconcile(plant: Plant) -> None:
    """The leader stands still between the events it has written and its commit; the database goes, and comes back."""
    world, story = plant.world, plant.story()
    await story.import_file()
    await story.drop_events(on=True)
    await story.rerun()
    world.arm("coordinator", "X5:1:STOP")
    until = time.monotonic() + 30
    while not _stopped(world, "coordinator"):
        assert time.monotonic() < until, "the reconciler did not get there"
        await story.hurry()
        await asyncio.sleep(0.1)
    await plant.stop_database()
    world.send("coordinator", signal.SIGCONT)
    await asyncio.sleep(1.0)
    await plant.start_database()
    await story.drop_events(on=False)
    for step in list(story.steps.values())[1:]:
        await step()
    await plant.check(story)


async def test_answers_to_commits_that_are_lost(plant: Plant) -> None:
    """Committed, and nobody was told: whoever asks again, or is handed the message again, does no harm."""
    before = plant.proxy.cuts
    plant.proxy.to_cut = CUTS
    stories = [plant.story() for _ in range(2)]
    await asyncio.gather(*(story.tell() for story in stories))
    for _ in range(20 + CUTS):
        if not plant.proxy.to_cut:
            break
        await stories[0].rerun()
        await asyncio.sleep(1.0)
    assert plant.proxy.to_cut == 0
    assert plant.proxy.cuts - before == CUTS
    await plant.check(*stories)


async def test_two_coordinators_do_no_harm(plant: Plant) -> None:
    """Both schedule, both reconcile, both answer; the bus loses events meanwhile, so that they have something to do."""
    world = plant.world
    world.start("coordinator", name="second")
    await world.ready("second")
    stories = [plant.story() for _ in range(2)]
    await asyncio.gather(*(story.tell() for story in stories))
    for story in stories:
        await story.drop_events(on=True)
        await story.rerun()
        await story.date_due()
        await story.hurry()
    await asyncio.sleep(2.0)
    for story in stories:
        await story.drop_events(on=False)
    await plant.check(*stories)
    await world.dismiss("second")


async def test_a_sleeper_that_wakes_after_its_lease_lands_nowhere_and_clocks_do_not_matter(plant: Plant) -> None:
    """One worker sleeps in the middle of computing, holding a lease. Another, whose clock is ten minutes ahead, leaves the lease
    alone until the database says that it has run out; then it does the work, and the sleeper wakes too late."""
    world, story = plant.world, plant.story()
    await story.import_file()
    assert await story.quiet(hurry=False)
    world.arm("risk", "H3:1:STOP")
    await story.rerun()
    until = time.monotonic() + 30
    while not _stopped(world, "risk"):
        assert time.monotonic() < until, "the worker did not get there"
        await asyncio.sleep(0.05)
    [(fence,)] = await _risk(story, "fence")
    world.start("risk", name="ahead", LEADLINE_TEST_SKEW="600")
    await world.ready("ahead")
    while (await _risk(story, "lease_until > clock_timestamp()"))[0][0]:
        assert (await _risk(story, "fence"))[0] == (fence,), "the lease was taken before the database's clock let it"
        await story.hurry()
        await asyncio.sleep(0.1)
    assert await story.quiet(hurry=True), "nobody took over from the sleeper"
    assert (await _risk(story, "fence"))[0][0] > fence
    completions = "SELECT count(*) FROM crash.history WHERE portfolio_id = :p AND what = 'completed'"
    before = await world.rows(completions, p=story.portfolio)
    world.send("risk", signal.SIGCONT)
    await asyncio.sleep(2.0)
    assert await world.rows(completions, p=story.portfolio) == before, "the sleeper's results land nowhere"
    await world.dismiss("ahead")
    for step in list(story.steps.values())[1:]:
        await step()
    await plant.check(story)


async def test_every_service_is_restarted_under_load(plant: Plant) -> None:
    """A rolling deploy: SIGTERM, drain, start, one service after the other, while portfolios live."""
    world = plant.world
    stories = [plant.story() for _ in range(3)]
    telling = asyncio.gather(*(story.tell() for story in stories))
    for service in SERVICES:
        since = len(world.deaths)
        world.send(service, signal.SIGTERM)
        death = await world.died(service, since, within=60)
        assert death is not None
        assert death.code in {0, -signal.SIGTERM}, f"{service} did not drain: {death.code}"
        await world.ready(service)
    await telling
    await plant.check(*stories)


async def test_services_whose_clocks_disagree_by_twenty_minutes(plant: Plant) -> None:
    """Ten minutes ahead here, ten behind there: leases, backoff and claims go by the database's clock, sessions by the calendar."""
    skews = {"coordinator": -600.0, "ingest": 600.0, "factors": -600.0, "snapshots": 600.0, "risk": -600.0}
    for service, seconds in skews.items():
        plant.world.send(service, signal.SIGKILL)
        plant.world.processes[service].environment["LEADLINE_TEST_SKEW"] = str(seconds)
    await asyncio.sleep(1.0)
    for service in SERVICES:
        await plant.world.ready(service)
    story = plant.story()
    await story.tell()
    since = len(plant.world.deaths)
    plant.world.send("snapshots", signal.SIGKILL)
    assert await plant.world.died("snapshots", since, within=10)
    await story.rerun()
    await plant.check(story)


async def _risk(story: Story, column: str) -> list[tuple[int, ...]]:
    rows = await story.world.rows(
        f"SELECT {column} FROM ledger.schedule WHERE portfolio_id = :p AND phase = 'risk'", p=story.portfolio
    )
    return [tuple(row) for row in rows]


def _stopped(world: World, name: str) -> bool:
    status = Path(f"/proc/{world.processes[name].pid}/stat").read_text(encoding="ascii")
    return status.rpartition(")")[2].split()[0] == "T"
