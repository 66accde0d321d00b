"""`leadline up` as users run it, on a state that exists: how long until it is ready, its memory, and its answers while a night runs.

Processes of their own, as in life: what answers is not what computes. The portfolios are computed for one session and have the
sessions before it as copies of that one; then the server is started again with the clock on the next session, and computes it while
four readers ask without a pause. The readers run on the same machine and take their share of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import text

from deploy.embedded import state
from shared.market.calendar import calendar
from tests.bench.measured import Found, Measured, of_repetitions, percentile
from tests.bench.memory import Peak, total
from tests.bench.pipeline import HELD_AT_NIGHT, LAST, NIGHT, SYMBOLS, insert_portfolios, market, wait_complete
from tests.bench.processes import Administrator
from tests.load.clients import API, Answers, Server, running

ROOT = Path(__file__).parents[2]
STARTS, HELPS, READERS, REST_SECONDS = 3, 9, 4, 10.0
START_SECONDS, WITHIN_SECONDS = 180.0, 1800.0
GOALS = {"ready": 3.0, "help": 0.25, "read": 50.0, "rest": 450.0, "night": 1500.0}
COPIED = ("snapshots.snapshots", "snapshots.holdings", "risk.results", "ledger.units")


@dataclass(frozen=True)
class Run:
    """A server that is ready: where it is, how long that took in seconds, and its first process."""

    server: Server
    seconds: float
    pid: int


def administrator(directory: Path) -> Administrator:
    """Of the server's database."""
    secret = quote((directory / "postgres.password").read_text().strip(), safe="")
    port = (directory / "postgres" / "postmaster.pid").read_text().splitlines()[3].strip()
    return Administrator(f"postgresql://postgres:{secret}@127.0.0.1:{port}/leadline")


@contextlib.contextmanager
def up(directory: Path, data: Path, as_of: date) -> Iterator[Run]:
    """`leadline up` until the block ends. Raises `RuntimeError` with the end of its log where it does not come up."""
    command = [sys.executable, "-m", "deploy.cli", "up", "--state", str(directory), "--port", "0", "--data", str(data)]
    began = time.perf_counter()
    process = subprocess.Popen(
        [*command, "--as-of", as_of.isoformat()],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=ROOT,
        env={**os.environ, "LEADLINE_RATE_LIMIT": "0"},
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        seconds = time.perf_counter() - began
        if not line.startswith("ready "):
            log = directory / "leadline.log"
            end = log.read_text(errors="replace")[-2000:] if log.exists() else ""
            raise RuntimeError(f"the server did not start: {line}{end}")
        yield Run(Server(line.split()[1], state.token(directory)), seconds, process.pid)
    finally:
        process.terminate()
        process.wait(120)


async def _prepare(directory: Path, data: Path, portfolios: int, sessions: int) -> None:
    """Portfolios of thirty, computed for the last session; the sessions before it are copies of it."""
    draw = random.Random(1)
    admin = administrator(directory)
    try:
        await insert_portfolios(admin, data, [sorted(draw.sample(SYMBOLS, HELD_AT_NIGHT)) for _ in range(portfolios)])
        await wait_complete(admin, LAST, 4 * portfolios, within=WITHIN_SECONDS, appears=True)
        days = calendar().between(calendar().back(LAST, sessions - 1), calendar().back(LAST, 1)) if sessions > 1 else []
        async with admin.engine.begin() as conn:
            await conn.execute(text("SELECT ledger.order_lock()"))
            await conn.execute(
                text("UPDATE coordinator.portfolios SET first_session = :first"), {"first": days[0] if days else LAST}
            )
            for table in COPIED:
                names = await conn.scalar(
                    text("""SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) FROM pg_attribute
                            WHERE attrelid = to_regclass(:table) AND attnum > 0 AND NOT attisdropped AND attname <> 'session'"""),
                    {"table": table},
                )
                await conn.execute(text(f"ALTER TABLE {table} DISABLE TRIGGER USER"))
                for day in days:
                    await conn.execute(
                        text(
                            f"INSERT INTO {table} (session, {names}) SELECT :day, {names} FROM {table} WHERE session = :last"
                        ),
                        {"day": day, "last": LAST},
                    )
                await conn.execute(text(f"ALTER TABLE {table} ENABLE TRIGGER USER"))
            await conn.execute(text("UPDATE ledger.unit_runs SET first = :first"), {"first": days[0] if days else LAST})
        async with admin.engine.connect() as conn:
            await (await conn.execution_options(isolation_level="AUTOCOMMIT")).execute(text("VACUUM ANALYZE"))
    finally:
        await admin.engine.dispose()


async def read(server: Server, portfolios: list[str], answers: Answers, seed: int) -> None:
    """A reader who never pauses: risk, a year of snapshots, positions, the list; another portfolio each time.

    The first round is not told: the server was started for this night, and opens connections and plans statements then.
    """
    draw, told = random.Random(seed), Answers()
    year = f"from={calendar().back(LAST, 251)}&to={LAST}"
    async with server.client(1) as client:
        while True:
            one = draw.choice(portfolios)
            for kind, path in (
                ("risk", f"/portfolios/{one}/risk"),
                ("snapshots of a year", f"/portfolios/{one}/snapshots?{year}"),
                ("positions", f"/portfolios/{one}/positions"),
                ("list of 50", "/portfolios?limit=50"),
            ):
                await told.ask(kind, lambda path=path: client.get(API + path))  # type: ignore[misc]
            told = answers


async def _night(directory: Path, run: Run, units: int) -> tuple[Answers, float]:
    """What four readers were told while the new session was computed, and how long that took from the server's being ready."""
    admin, answers = administrator(directory), Answers()
    began = time.perf_counter()
    try:
        portfolios = [str(row[0]) for row in await admin.query("SELECT id FROM coordinator.portfolios")]
        async with running([read(run.server, portfolios, answers, seed) for seed in range(READERS)]):
            await wait_complete(admin, NIGHT, units, within=WITHIN_SECONDS, appears=True)
    finally:
        await admin.engine.dispose()
    for kind, statuses in answers.statuses.items():
        assert set(statuses) == {"200"}, (kind, statuses)
    return answers, time.perf_counter() - began


def _help() -> list[float]:
    """Seconds of `leadline --help`, each in a process of its own."""
    command = [sys.executable, "-m", "deploy.cli", "--help"]
    found = []
    for _ in range(HELPS):
        began = time.perf_counter()
        subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
        found.append(time.perf_counter() - began)
    return found


def run(portfolios: int, sessions: int) -> Found:
    size = f"{portfolios:,} portfolios × {sessions} sessions"
    with tempfile.TemporaryDirectory(prefix="leadline-bench-") as scratch:
        directory = Path(scratch) / "state"
        data = market(Path(scratch), SYMBOLS)
        with up(directory, data, LAST):
            asyncio.run(_prepare(directory, data, portfolios, sessions))
        seconds, at_rest = [], None
        for _ in range(STARTS):
            with up(directory, data, LAST) as started:
                seconds.append(started.seconds)
                if len(seconds) == STARTS:
                    time.sleep(REST_SECONDS)
                    at_rest = total([started.pid])
        with up(directory, data, NIGHT) as started, Peak(started.pid) as peak:
            answers, night = asyncio.run(_night(directory, started, 4 * portfolios))
    parts = ", ".join(f"{part} {megabytes:,.0f}" for part, megabytes in peak.parts.items())
    found = [
        of_repetitions(
            "embedded", "`leadline up` on a state that exists, to ready", seconds, "s", goal=GOALS["ready"], note=size
        ),
        of_repetitions("embedded", "`leadline --help`", _help(), "s", goal=GOALS["help"]),
        Measured("embedded", "memory at rest", at_rest and at_rest / 1e6, "MB", GOALS["rest"], note=size),
        Measured("embedded", "memory in a night with readers", peak.megabytes, "MB", GOALS["night"], note=parts),
    ]
    for kind, took in answers.seconds.items():
        note = f"p99 of {len(took)}, median {percentile(took, 0.5) * 1e3:.0f}; {size}; {READERS} readers in a night of {night:.0f} s"
        found.append(
            Measured(
                "embedded", f"{kind}, while a night runs", percentile(took, 0.99) * 1e3, "ms", GOALS["read"],
                low=min(took) * 1e3, high=max(took) * 1e3, note=note,
            )
        )  # fmt: skip
    return Found(found)
