"""`python -m tests.bench risk`: what risk costs by the shape of the batch: 500 sessions of a portfolio, 250 portfolios of a session.

Beside one another, in one run: one unit alone, the batch, and the same units computed one by one. Seconds of processor for the
computation, the least of several runs taken in turn (other work on the machine can only add), and of the bare matrix work in it;
seconds of the clock for whole units, which are loaded, computed and saved through the phase's worker against PostgreSQL.
"""

from __future__ import annotations

import asyncio
import random
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from services.risk.workflow import RiskWorker
from services.risk.workflow.assemble import Inputs
from shared.db.engine import create_engine
from shared.ledger import Completed
from shared.work import Batch
from tests.bench import servers, world
from tests.bench.measured import Found
from tests.support import databases
from tests.unit.risk import cases
from tests.unit.risk.cases import Lot, Unit

SESSIONS, PORTFOLIOS, ALONE = 500, 250, 25
SYMBOLS = [f"S{number:02d}" for number in range(60)]


@dataclass(frozen=True)
class Shape:
    title: str
    batch: Inputs
    units: tuple[Inputs, ...]
    """The batch's units, each with its own panel as a loop would load it."""
    holdings: int


def lots(symbols: Sequence[str]) -> tuple[Lot, ...]:
    return tuple(Lot(symbol, (100.0 + i * 7) * (-1 if i % 5 == 0 else 1)) for i, symbol in enumerate(symbols))


def shapes() -> list[Shape]:
    """13 positions over 500 sessions, and 250 portfolios of 30 positions out of 60 on one."""
    panel = cases.panel(SYMBOLS[:13], SESSIONS)
    history = [Unit(3000.0, lots(SYMBOLS[:13]), session=session) for session in range(SESSIONS)]
    one_by_one = []
    for session in range(SESSIONS):
        alone = cases.one_session(panel, session)
        one_by_one.append(Inputs(alone, cases.book(alone, [Unit(3000.0, lots(SYMBOLS[:13]))])))
    draw, night = random.Random(1), cases.panel(SYMBOLS, 1)
    units = [Unit(9000.0, lots(draw.sample(SYMBOLS, 30)), portfolio=number) for number in range(PORTFOLIOS)]
    return [
        Shape(f"{SESSIONS} sessions of 13 positions", Inputs(panel, cases.book(panel, history)), tuple(one_by_one), 13),
        Shape(
            f"{PORTFOLIOS} portfolios of 30 positions",
            Inputs(night, cases.book(night, units)),
            tuple(Inputs(night, cases.book(night, [unit])) for unit in units),
            30,
        ),
    ]


def processor_seconds(*work: Callable[[], object], times: int = 5) -> list[float]:
    """The least of several runs of each, in turn, after one that fills caches."""
    spent: list[list[float]] = [[] for _ in work]
    for _ in range(times + 1):
        for seconds, run in zip(spent, work, strict=True):
            start = time.process_time()
            run()
            seconds.append(time.process_time() - start)
    return [min(seconds[1:]) for seconds in spent]


def bare(units: int, holdings: int) -> dict[str, float]:
    """Seconds of the products and decompositions that each unit needs of its own, on data that lies ready; nothing else."""
    rng = np.random.default_rng(0)
    window = rng.normal(size=(units, holdings, 252))
    covariance = window @ window.transpose(0, 2, 1)
    series, design = rng.normal(size=(units, 504)), rng.normal(size=(units, 4, 462))
    weights, returns = rng.normal(size=(units, 1, holdings)), rng.normal(size=(units, holdings, 504))
    parts: dict[str, Callable[[], object]] = {
        "eigenvalues": lambda: np.linalg.eigh(covariance),
        "covariances": lambda: window @ window.transpose(0, 2, 1),
        "weights x returns": lambda: weights @ returns,
        "HAR products": lambda: design @ design.transpose(0, 2, 1),
        "sorting": lambda: np.sort(series, axis=1),
    }
    return dict(zip(parts, processor_seconds(*parts.values()), strict=True))


def print_computation(worker: RiskWorker, shape: Shape) -> None:
    count = len(shape.units)
    single, batch = processor_seconds(
        lambda: worker.compute(shape.units[0]), lambda: worker.compute(shape.batch), times=9
    )
    [loop] = processor_seconds(lambda: [worker.compute(unit) for unit in shape.units], times=1)
    floor = bare(count, shape.holdings)
    sys.stdout.write(
        f"risk, {shape.title}, compute: one {single * 1e3:.1f} ms, batch {batch * 1e3:.0f} ms = {batch / single:.1f} x one, "
        f"loop {loop * 1e3:.0f} ms = {loop / single:.0f} x one; loop / batch {loop / batch:.0f}\n"
        f"    bare matrix work of the batch {sum(floor.values()) * 1e3:.1f} ms = {sum(floor.values()) / single:.1f} x one: "
        f"{', '.join(f'{name} {seconds * 1e3:.1f}' for name, seconds in floor.items())}\n"
    )


async def unit(worker: RiskWorker, engine: AsyncEngine, batch: Batch) -> tuple[float, float, float]:
    """Seconds of (load, compute, save) of one batch, saved for good."""
    start = time.perf_counter()
    async with engine.begin() as conn:
        inputs = await worker.load(conn, batch)
    loaded = time.perf_counter()
    results = worker.compute(inputs)
    computed = time.perf_counter()
    async with engine.begin() as conn:
        await worker.save(conn, results, Completed(dict.fromkeys(results.rows, 1)))
    assert len(results.rows) == len(batch)
    return loaded - start, computed - loaded, time.perf_counter() - computed


async def print_units(worker: RiskWorker, server: databases.Server) -> None:
    """One by one, then together, into the same database; what was saved is taken away in between."""
    database = await databases.create(server)
    admin = create_engine(database.admin_url, application="bench", pool_size=1)
    engine = create_engine(database.url("risk"), application="bench", pool_size=1)
    try:
        of = await world.build(admin, SESSIONS, PORTFOLIOS)
        history = [Batch((of.steady,), (session,), ((1,),)) for session in of.sessions]
        night = [Batch((portfolio,), of.sessions[-1:], ((1,),)) for portfolio in of.night]
        for title, alone, together in (
            (f"{SESSIONS} sessions", history, Batch((of.steady,), of.sessions, ((1,) * SESSIONS,))),
            (f"{PORTFOLIOS} portfolios", night, Batch(of.night, of.sessions[-1:], ((1,),) * PORTFOLIOS)),
        ):
            singles = [await unit(worker, engine, batch) for batch in alone[-ALONE:]]
            async with admin.begin() as conn:
                size = (await conn.exec_driver_sql("SELECT avg(pg_column_size(r)) FROM risk.results r")).scalar_one()
                await conn.execute(text("TRUNCATE risk.results"))
            one = [median(parts) for parts in zip(*singles, strict=True)]
            batch = await unit(worker, engine, together)
            sys.stdout.write(
                f"risk, {title}, whole units: one {_parts(one)}; batch {_parts(batch)} = {sum(batch) / sum(one):.1f} x one, "
                f"{sum(batch) / len(together) * 1e3:.2f} ms a unit; loop / batch {sum(one) * len(together) / sum(batch):.0f} "
                f"(loop: {len(together)} x the median of {ALONE}); {float(size) / 1024:.0f} KB a unit\n"
            )
    finally:
        await engine.dispose()
        await admin.dispose()
        await databases.drop(database)


def _parts(seconds: Sequence[float]) -> str:
    load, compute, save = (second * 1e3 for second in seconds)
    return f"{load + compute + save:.0f} ms (load {load:.0f}, compute {compute:.0f}, save {save:.0f})"


def run() -> Found:
    """What it finds are comparisons in words, with no goal: it prints them."""
    worker = RiskWorker(cases.SCENARIOS)
    for shape in shapes():
        print_computation(worker, shape)
    with servers.postgres() as server:
        asyncio.run(print_units(worker, server))
    return Found([])
