"""The long crash matrix: `make crash SEEDS=10`. Production's leases and session timeouts; writes docs/crash-matrix.md.

Exit code 1 if anything was stranded, lost or different, or a crash did not happen.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import shutil
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from shared.messaging.failpoints import FAIL_POINTS, NAME_OF
from tests.crash.matrix import PAIRS, POINTS, Case, Result, run_matrix, undisturbed
from tests.crash.story import price_file
from tests.crash.waiting import environment, vendor
from tests.crash.world import PRODUCTION, QUICK, ROOT, World, Zygote, running
from tests.support import brokers, databases, markdown, scratch
from tests.support.brokers import TestBroker
from tests.support.databases import Server

DOCUMENT = ROOT / "docs" / "crash-matrix.md"

INTRODUCTION = """# Crash matrix

Written by the run that it reports: `{command}` on {date}, {cores} cores, {broker}, {database}.

Each case is a portfolio's life in five separate processes: its file is imported, a date falls due, a lot is edited, a vendor
corrects a price, money comes in, everything from a session on is asked for anew. At `D1`, `L1` and `L2` it is another life: one of
four holdings is not in the file but at a vendor, which refuses; patience ends, everything is computed without, and the price comes
late. One process dies by SIGKILL at the named point (`X5` freezes, loses its lock and wakes beside its successor) and a supervisor
starts it again. After that:

- **stranded**: not quiet within 60 s: a unit missing or an event unsent;
- **lost**: a unit not completed, or completed twice at one revision; a completion without its outbox row in the same transaction;
  an outbox row not sent; a completion before what it depends on; a result of somebody else's (V1, V2, V3, V5, V7 of
  `tests/crash/checks.py`); anything that the auditor finds;
- **differing**: snapshots, holdings, risk results or the symbols' facts that are not, digit for digit, those of a life without a
  crash (V4).

*Healed* is the time from the end of the life, or from the death if that came later, until all was quiet: median and longest, in
seconds. {patience}

What this does not show: {pace} At `X1` to `X5` the portfolio's next turn is brought forward by the
test, which also lets the bus lose every event but the reconciler's so that there is something to do. The corrected price is
written by the test with the statements ingest uses, not fetched by ingest; the late one of `L1` and `L2` is fetched, by ingest, from
a vendor of the test's. At `D1` it is the ingest phase that puts a unit off; the factors phase does it with the same function.

| point | name | where | seeds | injected | stranded | lost | differing | healed |
|---|---|---|---:|---:|---:|---:|---:|---:|
"""
TWICE = """
## Two deaths

The process that was started again dies once more, at the point under *then*. *Recovering*: so early that what the first death had
left undone was not done yet; life is held still meanwhile. Where it is fewer than injected, the second point lies behind that work.

| point | then | seeds | injected | recovering | stranded | lost | differing | healed |
|---|---|---:|---:|---:|---:|---:|---:|---:|
"""
PATIENCE = {
    "production": "A dead holder's lease (30 s) and a dead consumer's session (10 s) are waited out as in production.",
    "quick": "Leases last 4 s and consumers' sessions 2 s, and the reconciler's backoff is cut short, as in CI.",
}
# Variables of the reconciler's pace, and what is said of it. At production's a case takes minutes, so it is run with a seed or two.
PACE: dict[str, tuple[dict[str, str], str]] = {
    "quick": (
        {},
        (
            "the reconciler is not waited for as long as in production. It runs every second instead of every 15, with a grace period "
            "of one second instead of 30 (`--pace=production` takes those)."
        ),
    ),
    "production": (
        {"LEADLINE_RECONCILE_SECONDS": "15", "LEADLINE_GRACE_SECONDS": "30"},
        (
            "many moments of each death: [those](crash-matrix.md), at a quicker pace. The reconciler runs every 15 seconds with a grace "
            "period of 30, as in production."
        ),
    ),
}
DOCUMENTS = {"quick": DOCUMENT, "production": DOCUMENT.with_name("crash-matrix-pace.md")}


async def run(
    cases: list[Case], worlds: int, patience: str, pace: str
) -> tuple[list[Result | BaseException], str, str]:
    state = scratch.create()
    server = databases.start(state)
    broker = None
    try:
        databases.make_template(server)
        broker = brokers.start(brokers.choose(), state)
        if broker.restart is None and broker.kind == "embedded":
            sys.exit("the crash matrix needs Apache Kafka: Java and Maven, Docker, or LEADLINE_TEST_KAFKA")
        return await _run(state, server, broker, cases, worlds, patience, pace), broker.described, server.described
    finally:
        if broker is not None:
            broker.stop()
        server.stop()
        shutil.rmtree(state, ignore_errors=True)


async def _run(
    state: Path, server: Server, broker: TestBroker, cases: list[Case], worlds: int, patience: str, pace: str
) -> list[Result | BaseException]:
    waiting = [case for case in cases if POINTS[case.point].waits]
    plain = [case for case in cases if not POINTS[case.point].waits]
    prices = price_file(state / "prices.parquet", len(cases) + 2)
    zygote = Zygote()
    results = {case: asyncio.get_running_loop().create_future() for case in cases}
    for case, future in results.items():
        future.add_done_callback(partial(_tell, case))
    try:
        async with contextlib.AsyncExitStack() as stack:
            made: list[World] = []
            # One world is enough for the lives in which a price is waited for: they are a tenth of all.
            count = worlds if plain else 0
            clones, server_ = stack.enter_context(vendor(len(waiting) + 2))
            for number in range(count + bool(waiting)):
                waits = number == count
                context = running(
                    zygote,
                    await databases.create(server),
                    broker,
                    state / f"world{number}",
                    prices=prices,
                    patience=PRODUCTION if patience == "production" else QUICK,
                    vendor=clones if waits else None,
                    variables=PACE[pace][0] | (environment(server_) if waits else {}),
                )
                made.append(await stack.enter_async_context(context))
            oracles = await asyncio.gather(*(undisturbed(world) for world in made))
            assert all(oracle == oracles[0] for oracle in oracles[:count]), "undisturbed runs do not agree"
            await asyncio.gather(
                run_matrix(made[:count], plain, oracles[0], results),
                run_matrix(made[count:], waiting, oracles[-1], results),
            )
    finally:
        zygote.close()
    return [future.exception() or future.result() for future in results.values()]


def _tell(case: Case, done: asyncio.Future[Result]) -> None:
    error = done.exception()
    sys.stdout.write(f"{case}: {error!r}\n" if error else f"{done.result()}\n")
    sys.stdout.flush()


def table(results: Sequence[Result], points: Sequence[str]) -> str:
    """The rows of the document: one death, by its point."""
    rows = [(f"{point} | {described(point)}", [r for r in results if r.case.point == point]) for point in points]
    return _rows([*rows, ("**all** | |", results)], ("injected", "stranded", "lost", "differing"))


def described(letter: str) -> str:
    """Name and place of a fail point, as cells."""
    name = NAME_OF[letter]
    return f"`{name}` | {FAIL_POINTS[name].where}"


def table_of_pairs(results: Sequence[Result], points: Sequence[str]) -> str:
    """Two deaths, by the point of the first."""
    rows = [(f"{point} | {PAIRS[point]}", [r for r in results if r.case.point == point]) for point in points]
    return _rows([*rows, ("**all** |", results)], ("injected", "recovering", "stranded", "lost", "differing"))


def _rows(rows: Sequence[tuple[str, Sequence[Result]]], columns: Sequence[str]) -> str:
    lines = []
    for name, mine in rows:
        healed = sorted(result.healed for result in mine)
        times = f"{healed[len(healed) // 2]:.0f} / {healed[-1]:.0f}" if healed else "–"
        counts = " | ".join(str(_count(mine, what)) for what in columns)
        lines.append(f"| {name} | {len(mine)} | {counts} | {times} |")
    return "\n".join(lines) + "\n"


def _count(results: Sequence[Result], what: str) -> int:
    return sum(bool(getattr(result, what)) for result in results)


def main() -> None:
    parser = argparse.ArgumentParser(description="Kill a process at each of the 34 points, once a seed; then twice")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--pairs", type=int, help="seeds of the second deaths; a third of the seeds if not said")
    parser.add_argument("--worlds", type=int, default=4, help="Leadlines side by side")
    parser.add_argument("--patience", choices=sorted(PATIENCE), default="production")
    parser.add_argument("--pace", choices=sorted(PACE), default="quick", help="of the reconciler")
    parser.add_argument("--points", default=",".join(POINTS), help="some points only; nothing is written then")
    asked = parser.parse_args()
    points = asked.points.split(",")
    pairs = max(1, asked.seeds // 3) if asked.pairs is None else asked.pairs
    cases = [Case(point, seed) for seed in range(asked.seeds) for point in points]
    cases += [Case(point, seed, PAIRS[point]) for seed in range(pairs) for point in points]
    began, date = time.monotonic(), datetime.now(UTC).date()
    found, broker, database = asyncio.run(run(cases, asked.worlds, asked.patience, asked.pace))
    results = [result for result in found if isinstance(result, Result)]
    bad = [str(result) for result in found if not isinstance(result, Result) or not result.good]
    minutes = (time.monotonic() - began) / 60
    rows = table([result for result in results if not result.case.then], points)
    twice = table_of_pairs([result for result in results if result.case.then], points)
    sys.stdout.write(f"\n{rows}\n{twice}\n{len(found)} cases in {minutes:.1f} minutes\n")
    if list(POINTS) == points and len(results) == len(found):
        options = " ".join(
            [f"--patience={asked.patience}"] * (asked.patience == "quick")
            + [f"--pace={asked.pace}"] * (asked.pace != "quick")
        )
        command = f"make crash SEEDS={asked.seeds}" + (f' ARGS="{options}"' if options else "")
        introduction = INTRODUCTION.format(
            command=command,
            date=date,
            cores=os.cpu_count(),
            broker=broker.partition(" at ")[0],
            database=database.partition(",")[0],
            patience=PATIENCE[asked.patience],
            pace=PACE[asked.pace][1],
        )
        whole = f"{introduction}{rows}{TWICE}{twice}\n{len(found)} cases in {minutes:.0f} minutes.\n"
        DOCUMENTS[asked.pace].write_text(markdown.wrap(whole))
    if bad:
        sys.exit("\n".join(bad))


if __name__ == "__main__":
    main()
