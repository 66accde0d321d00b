"""`make bench`, the pipeline: how long until every phase of a portfolio, or of a night, is complete. Embedded, 2 cores.

Prints what it measured, one line a figure; fails if a figure misses its goal.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from datetime import date
from pathlib import Path
from typing import Any

from prometheus_client import REGISTRY

from shared.market.calendar import calendar
from tests.bench import prices
from tests.support import brokers, databases, pipeline
from tests.support.pipeline import Pipeline

LAST = date(2020, 12, 30)
NIGHT = date(2020, 12, 31)
SYMBOLS = [f"S{number:03d}" for number in range(60)]
GOALS = {"onboarding": 10.0, "night": 10.0}


def positions(count: int, offset: int, entry: date) -> list[dict[str, Any]]:
    return [
        {
            "symbol": SYMBOLS[(offset + number) % len(SYMBOLS)],
            "quantity": 10 + number if number % 5 else -10,
            "entry_date": entry.isoformat(),
            "entry_price": 50,
        }
        for number in range(count)
    ]


def steps() -> dict[tuple[str, str], float]:
    """Seconds spent so far in each phase and step, from the services' own metrics."""
    found = {}
    for metric in REGISTRY.collect():
        if metric.name == "leadline_batch_seconds":
            for sample in metric.samples:
                if sample.name.endswith("_sum"):
                    found[sample.labels["phase"], sample.labels["step"]] = sample.value
    return found


def report(title: str, seconds: float, before: dict[tuple[str, str], float], goal: float) -> bool:
    parts = ", ".join(
        f"{phase} {step} {value - before.get((phase, step), 0.0):.2f}"
        for (phase, step), value in sorted(steps().items())
        if value - before.get((phase, step), 0.0) > 0.005
    )
    verdict = "ok" if seconds <= goal else "MISSED"
    sys.stdout.write(f"{title}: {seconds:.2f} s (goal {goal:.0f} s: {verdict})\n    of which {parts}\n")
    return seconds <= goal


async def onboarding(leadline: Pipeline) -> bool:
    """13 positions over 500 sessions, prices already stored."""
    entry = calendar().back(LAST, 499)
    first = await leadline.create(positions(13, 0, entry), name="stores the prices")
    await leadline.complete(first, within=300)
    await leadline.quiet()
    # Facts are shared and would be there already; the goal is for prices only.
    await leadline.execute("TRUNCATE factors.exposures, factors.metrics, factors.proxies")
    before, start = steps(), time.perf_counter()
    portfolio = await leadline.create(positions(13, 0, entry), name="measured")
    await leadline.complete(portfolio, within=300)
    seconds = time.perf_counter() - start
    return report("onboarding, 13 positions x 500 sessions, all four phases", seconds, before, GOALS["onboarding"])


async def settle(leadline: Pipeline) -> list[str]:
    """250 portfolios of 30 positions, complete up to the session before the night."""
    created = [
        await leadline.create(positions(30, number, calendar().back(LAST, 2)), name=f"Night {number}")
        for number in range(250)
    ]
    await leadline.complete(*created, within=600)
    await leadline.quiet()
    return created


async def all_complete(leadline: Pipeline) -> None:
    statement = "SELECT max(session), count(*) FILTER (WHERE completed_revision < required_revision) FROM ledger.units"
    while await leadline.query(statement) != [(NIGHT, 0)]:  # noqa: ASYNC110 - the database does not call back
        await asyncio.sleep(0.05)


def market(folder: Path) -> Path:
    """A price file for the benchmark. PostgreSQL may run as another user, which must be let through the folder."""
    folder.chmod(0o755)
    data = folder / "prices.parquet"
    prices.write(data, SYMBOLS, calendar().back(LAST, 1100), NIGHT)
    return data


async def main() -> int:
    with tempfile.TemporaryDirectory(prefix="leadline-bench-") as directory:
        folder = Path(directory)
        data = market(folder)
        server = databases.start(folder)
        databases.make_template(server)
        broker = brokers.start(brokers.Choice(kinds=("embedded",)), folder)
        try:
            database = await databases.create(server)
            async with pipeline.running(database, broker, as_of=LAST, data=data) as leadline:
                good = await onboarding(leadline)
                await settle(leadline)
            async with pipeline.running(database, broker, as_of=NIGHT, data=data) as leadline:
                # Everything is up; the clock starts when the session falls due.
                before, start = steps(), time.perf_counter()
                await asyncio.wait_for(all_complete(leadline), 300)
                seconds = time.perf_counter() - start
                good &= report("a night, 250 portfolios x 30 positions x 1 session", seconds, before, GOALS["night"])
        finally:
            broker.stop()
            server.stop()
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
