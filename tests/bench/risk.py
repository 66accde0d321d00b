"""`python -m tests.bench.risk`: what risk costs by the shape of the batch: one unit, 500 sessions of it, 250 portfolios.

Seconds of processor for the computation (other work on the machine does not count), seconds of the clock for the writing;
each as a multiple of one unit computed alone in the same run.
"""

from __future__ import annotations

import asyncio
import random
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from services.risk.workflow import RiskResults, RiskWorker
from services.risk.workflow.assemble import Inputs
from shared.db.engine import create_engine
from shared.ledger import Raised
from tests.support import databases
from tests.unit.risk import cases
from tests.unit.risk.cases import Lot, Unit

SYMBOLS = [f"S{number:02d}" for number in range(60)]


@dataclass(frozen=True)
class Shape:
    title: str
    inputs: Inputs
    against: int
    """Position of the single unit that it is a multiple of."""


def lots(symbols: list[str]) -> tuple[Lot, ...]:
    return tuple(Lot(symbol, (100.0 + i * 7) * (-1 if i % 5 == 0 else 1)) for i, symbol in enumerate(symbols))


def history(sessions: int) -> Inputs:
    """13 positions over the sessions."""
    panel = cases.panel(SYMBOLS[:13], sessions)
    units = [Unit(3000.0, lots(SYMBOLS[:13]), session=session) for session in range(sessions)]
    return Inputs(panel, cases.book(panel, units))


def night(portfolios: int) -> Inputs:
    """Portfolios of 30 positions out of 60 on one session."""
    panel, draw = cases.panel(SYMBOLS, 1), random.Random(1)
    units = [Unit(9000.0, lots(draw.sample(SYMBOLS, 30)), portfolio=number) for number in range(portfolios)]
    return Inputs(panel, cases.book(panel, units))


def shapes() -> list[Shape]:
    return [
        Shape("13 positions x 1 session", history(1), 0),
        Shape("13 positions x 500 sessions", history(500), 0),
        Shape("30 positions x 1 session, 1 portfolio", night(1), 2),
        Shape("30 positions x 1 session, 250 portfolios", night(250), 2),
    ]


def processor_seconds(work: Callable[[], object], times: int) -> float:
    """Median of several runs, after one that fills caches."""
    work()
    spent = []
    for _ in range(times):
        start = time.process_time()
        work()
        spent.append(time.process_time() - start)
    return median(spent)


async def written(worker: RiskWorker, server: databases.Server, results: RiskResults) -> tuple[float, float]:
    """(seconds, kilobytes a unit) of writing the results into an empty database."""
    database = await databases.create(server)
    engine = create_engine(database.url("risk"), application="bench", pool_size=1)
    try:
        async with engine.connect() as conn:
            await conn.exec_driver_sql("SELECT 1")
        start = time.perf_counter()
        async with engine.begin() as conn:
            await worker.save(conn, results, Raised(dict.fromkeys(results.rows, 1)))
        seconds = time.perf_counter() - start
        async with engine.connect() as conn:
            size = (await conn.exec_driver_sql("SELECT pg_table_size('risk.results')")).scalar_one()
    finally:
        await engine.dispose()
        await databases.drop(database)
    return seconds, size / len(results.rows) / 1024


def main() -> int:
    worker = RiskWorker(cases.SCENARIOS)
    with tempfile.TemporaryDirectory(prefix="leadline-bench-") as directory:
        folder = Path(directory)
        folder.chmod(0o755)
        server = databases.start(folder)
        try:
            databases.make_template(server)
            costs: list[float] = []
            for shape in shapes():
                costs.append(processor_seconds(lambda inputs=shape.inputs: worker.compute(inputs), 5))  # type: ignore[misc]
                seconds, kilobytes = asyncio.run(written(worker, server, worker.compute(shape.inputs)))
                sys.stdout.write(
                    f"risk, {shape.title}: compute {costs[-1] * 1000:.1f} ms ({costs[-1] / costs[shape.against]:.1f} times one), "
                    f"save {seconds * 1000:.0f} ms, {kilobytes:.1f} KB a unit\n"
                )
        finally:
            server.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
