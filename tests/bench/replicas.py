"""A night that several replicas of each computing service share, as processes of their own on Apache Kafka; one is killed on the way.

Each run begins with a copy of one database, complete up to the session before, and with processes that have joined their groups and
wait. Then the coordinator is started, finds the next session due, and the time counts from its first event to the last unit. What
comes out must be equal to the last digit, however many shared the work and whoever died of it.

Replicas share what processors there are: where one process of each service keeps two cores busy, more of them finish no sooner. What is
shown is that work is split by partition, and what a death costs. Pages and interfaces are asked meanwhile of a process that answers
alone (`create_api`).
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from deploy.embedded.process import free_port, start
from shared.telemetry import configure_logging
from tests.bench import processes, steps
from tests.bench.embedded import read
from tests.bench.measured import Found, Measured, percentile
from tests.bench.pipeline import (
    HELD_AT_NIGHT,
    LAST,
    NIGHT,
    PACE,
    SYMBOLS,
    fall_due,
    insert_portfolios,
    market,
    wait_complete,
)
from tests.bench.processes import COMPUTING, Administrator, Site, busiest, completed, told
from tests.load.clients import Answers, Server, running
from tests.support import compose, databases, pipeline
from tests.support.brokers import TestBroker
from tests.support.compose import Process
from tests.support.databases import Database

REPLICAS = (1, 2, 4)
DISTURBED, READERS = 2, 2
WITHIN_SECONDS, LOOK_SECONDS = 600.0, 0.01
# A quarter, and what chance puts on top: buckets are of a hash.
MOST_OF_ONE = 0.3
# Ids decide who does what: the same in every run.
IDS = 4
READ_GOAL = 50.0
PHASES_BY_PORTFOLIO = ("snapshots", "risk")


@dataclass(frozen=True)
class Night:
    """How long it took, what came out of it, and what each replica completed. Reads as seconds by kind, if there were readers."""

    seconds: float
    digests: Mapping[str, str]
    shares: Mapping[str, Mapping[str, int]]
    reads: Mapping[str, Sequence[float]]


async def prepare(server: databases.Server, broker: TestBroker, data: Path, portfolios: int) -> Database:
    """Portfolios of thirty, complete for the session before the night."""
    draw = random.Random(1)
    database = await databases.create(server)
    async with pipeline.running(database, broker, as_of=LAST, data=data, **PACE) as leadline:
        books = [sorted(draw.sample(SYMBOLS, HELD_AT_NIGHT)) for _ in range(portfolios)]
        await insert_portfolios(leadline, data, books, draw=random.Random(IDS))
        await fall_due(leadline, LAST)
        await wait_complete(leadline, LAST, portfolios * len(COMPUTING), within=WITHIN_SECONDS)
        await leadline.quiet(within=WITHIN_SECONDS)
    return database


def night(site: Site, replicas: int, portfolios: int, *, disturbed: bool = False) -> Night:
    """Processes are started, share the night, and are stopped. disturbed: one of each is killed while both work; readers ask."""
    with (
        site.computing(dict.fromkeys(COMPUTING, replicas)) as workers,
        api_alone(site, wanted=disturbed) as url,
        site.coordinator(),
    ):
        seconds, digests, reads = asyncio.run(_watch(site, workers if disturbed else {}, url, portfolios))
    return Night(seconds, digests, completed(site.folder), reads)


async def _watch(
    site: Site, killed: Mapping[str, Process], url: str | None, portfolios: int
) -> tuple[float, Mapping[str, str], Mapping[str, Sequence[float]]]:
    """Until everything is complete: seconds, digests and what readers waited."""
    admin, answers = Administrator(site.database.admin_url), Answers()
    try:
        async with asking(admin, url, answers):
            if killed:
                await kill_one_of_each(admin, killed)
            await wait_complete(admin, NIGHT, portfolios * len(COMPUTING), within=WITHIN_SECONDS, appears=True)
        [(seconds,)] = await admin.query(
            """SELECT extract(epoch FROM (SELECT max(completed_at) FROM ledger.units WHERE session = :night)
                                       - (SELECT min(created_at) FROM bus.outbox
                                          WHERE topic = 'leadline.date-due' AND payload LIKE :of_the_night))""",
            night=NIGHT,
            of_the_night=f"%{NIGHT}%",
        )
        digests = await processes.digests(admin)
    finally:
        await admin.engine.dispose()
    for kind, statuses in answers.statuses.items():
        assert set(statuses) == {"200"}, (kind, statuses)
    return float(seconds), digests, dict(answers.seconds)


async def kill_one_of_each(admin: Administrator, workers: Mapping[str, Process]) -> None:
    """As soon as two replicas of a phase are in the middle of a batch, so that one that is killed had work in hand.

    Raises `RuntimeError` if the night is over before that.
    """
    until, begun = time.monotonic() + WITHIN_SECONDS, False
    while True:
        [(owners, missing)] = await admin.query(
            """SELECT coalesce(max(owners), 0), EXISTS (SELECT 1 FROM ledger.units WHERE completed_revision < required_revision)
               FROM (SELECT count(DISTINCT lease_owner) AS owners FROM ledger.schedule
                     WHERE lease_until > clock_timestamp() AND CAST(phase AS text) = ANY (CAST(:phases AS text[]))
                     GROUP BY phase) AS found""",
            phases=list(PHASES_BY_PORTFOLIO),
        )
        if owners >= DISTURBED:
            break
        if begun > missing or time.monotonic() > until:
            raise RuntimeError(
                "no two replicas of a phase worked at once, so nobody was killed: are there enough portfolios?"
            )
        begun = missing
        await asyncio.sleep(LOOK_SECONDS)
    for service in COMPUTING:
        workers[service].child.stop(how=signal.SIGKILL, within=5.0)


@contextmanager
def api_alone(site: Site, *, wanted: bool) -> Iterator[str | None]:
    """The address of a process that answers reads and does nothing else, without a broker."""
    if not wanted:
        yield None
        return
    port = free_port()
    variables = compose.environment(
        "coordinator", variables=site.variables, database=site.database, broker=site.broker
    ) | {"LEADLINE_READ_ONLY": "true", "PYTHONPATH": str(compose.ROOT), "PATH": os.defpath}
    command = [sys.executable, "-m", "uvicorn", "services.coordinator.app:create_api", "--factory", "--port", str(port)]
    child = start(
        "api", command, pid_file=site.folder / "api.pid", log=site.folder / "api.log", env=variables, cwd=compose.ROOT
    )
    try:
        compose.wait_until_ready(Process("api", child, f"http://127.0.0.1:{port}"))
        yield f"http://127.0.0.1:{port}"
    finally:
        child.stop()


@asynccontextmanager
async def asking(admin: Administrator, url: str | None, answers: Answers) -> AsyncIterator[None]:
    """Readers without a pause, of the process at the address, if there is one."""
    if url is None:
        yield
        return
    portfolios = [str(row[0]) for row in await admin.query("SELECT id FROM coordinator.portfolios")]
    server = Server(url, processes.TOKEN)
    async with running([read(server, portfolios, answers, seed) for seed in range(READERS)]):
        yield


def one_run(
    prepared: Database, broker: TestBroker, data: Path, replicas: int, portfolios: int, *, disturbed: bool
) -> Night:
    """On a copy of the prepared database, which is dropped again."""
    database = databases.in_thread(lambda: processes.copy(prepared))
    with tempfile.TemporaryDirectory(prefix="leadline-bench-") as folder:
        of_file = {"LEADLINE_DATA_DIRECTORY": str(data.parent), "LEADLINE_DATA_FILE": data.name}
        site = Site.of(database, broker, Path(folder), NIGHT, {}, **of_file)
        try:
            return night(site, replicas, portfolios, disturbed=disturbed)
        finally:
            databases.in_thread(lambda: databases.drop(database))


def run(portfolios: int) -> Found:
    configure_logging("bench", level="WARNING")
    with steps.servers() as (server, broker), tempfile.TemporaryDirectory(prefix="leadline-bench-") as folder:
        if broker.kind == "embedded":
            return Found([Measured("replicas", "a night shared by replicas", None, note=processes.NEEDS_KAFKA)])
        data = market(Path(folder), SYMBOLS)
        prepared = asyncio.run(prepare(server, broker, data, portfolios))
        undisturbed = {
            replicas: one_run(prepared, broker, data, replicas, portfolios, disturbed=False) for replicas in REPLICAS
        }
        disturbed = one_run(prepared, broker, data, DISTURBED, portfolios, disturbed=True)
    return Found(figures(portfolios, undisturbed, disturbed))


def figures(portfolios: int, undisturbed: Mapping[int, Night], disturbed: Night) -> list[Measured]:
    """Raises `AssertionError` where two runs differ in a digit."""
    first = undisturbed[min(undisturbed)]
    for what, other in [
        *((f"results with {count}", night) for count, night in undisturbed.items()),
        ("results with one killed", disturbed),
    ]:
        processes.assert_equal(first.digests, other.digests, what)
    found = [
        Measured(
            "replicas", f"{portfolios:,} portfolios, {count} of each computing service", night.seconds, "s",
            note=f"units by replica: {told(night.shares)}",
        )
        for count, night in undisturbed.items()
    ]  # fmt: skip
    widest = undisturbed[max(undisturbed)]
    found += [
        Measured(
            "replicas", f"the same, {DISTURBED} of each, one of each killed at work", disturbed.seconds, "s",
            note=f"complete; units by replica, the first ones killed: {told(disturbed.shares)}",
        ),
        Measured("replicas", "runs that differ from the first in any digit", 0.0, "", 0.0, note=f"of {len(undisturbed) + 1}"),
        *(
            Measured(
                "replicas", f"share of the busiest of {max(undisturbed)} in {phase}", busiest(widest.shares[phase]), "", MOST_OF_ONE
            )
            for phase in PHASES_BY_PORTFOLIO
        ),
        *(
            Measured(
                "replicas", f"{kind}, of a process that answers alone", percentile(took, 0.99) * 1e3, "ms", READ_GOAL,
                low=min(took) * 1e3, high=max(took) * 1e3,
                note=f"p99 of {len(took)}, median {percentile(took, 0.5) * 1e3:.0f}; {READERS} readers in the night with deaths",
            )
            for kind, took in disturbed.reads.items()
        ),
    ]  # fmt: skip
    return found
