"""`make load`: readers, streams, uploads and an onboarding at once on a server of its own; what it took and what it shed.

Writes docs/load.md with --document. Exit code 1 if the server did not come through: a probe without an answer, an answer that is
neither a success nor a refusal, or an onboarding that did not end.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import NamedTuple

import psutil

from deploy.embedded import demo, state
from tests.bench import prices
from tests.bench.memory import Peak
from tests.load.clients import API, Answers, Server, probe, read, running, upload, watch
from tests.load.every_answer import Asked, ask_every_answer, table
from tests.load.lock import LockWatch
from tests.support import markdown

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "load.md"
SYMBOLS = sorted(
    {line.split(",")[0] for line in demo.PORTFOLIO.read_text().splitlines() if not line.startswith(("#", "symbol,"))}
)
LARGE = "POST import of the large portfolio"
HEAD = "symbol,quantity,entry_date,entry_price\n"
ONBOARDING_SECONDS = 1800.0
LOAD = os.getloadavg()[0]
INTRODUCTION = """# {title}

Written by the run that it reports: `{command}` on {date}, commit {commit}, {cores} cores, {memory:.0f} GB, {system}.
A load average of {load:.1f} before it began: what else the machine did is in all figures.

One server as `leadline up` starts it. At once, {time}: {readers} readers who never pause, {streams}
open status streams, {uploads} people who import a file of {upload_lots} lots and delete it, over and over, a probe every 50 ms, and one
portfolio of {lots:,} lots of {symbols:,} {kind}symbols over {sessions} sessions that is being computed. The clients run on the same machine
and take their share of it. Seconds unless said. *Shed* are refusals by 503 with `Retry-After`, and *told within* is
the longest that one of them took.

"""

EVERY_ANSWER = """Once it was complete, every answer about it, one after another with nobody else there but the probe. Peak memory by
then: {memory}.

"""


def lots_file(count: int, symbols: Sequence[str] = SYMBOLS, *, first: int = 0) -> bytes:
    """So many lots, all different."""
    rows = [f"{symbols[n % len(symbols)]},{first + n + 1},2019-01-02,100\n" for n in range(count)]
    return (HEAD + "".join(rows)).encode()


def _parser() -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(prog="python -m tests.load")
    found.add_argument("--seconds", type=float, default=60.0)
    found.add_argument("--readers", type=int, default=100)
    found.add_argument("--streams", type=int, default=250)
    found.add_argument("--uploads", type=int, default=4)
    found.add_argument("--upload-lots", type=int, default=500)
    found.add_argument("--lots", type=int, default=20_000, help="of the portfolio that is computed meanwhile")
    found.add_argument(
        "--symbols", type=int, default=len(SYMBOLS), help="of that portfolio; synthetic ones beyond the bundled"
    )
    found.add_argument(
        "--throughout",
        action="store_true",
        help="clients ask from before that portfolio's import until it is complete, however long it takes, instead of --seconds",
    )
    found.add_argument(
        "--unknown", action="store_true", help="no prices of that portfolio's symbols, but of the bundled ones"
    )
    found.add_argument(
        "--every-answer",
        action="store_true",
        help="about that portfolio in the end, one after another, and its deletion",
    )
    found.add_argument("--title", default="Load", help="of the document")
    found.add_argument("--document", nargs="?", type=Path, const=DOCUMENT, help="write it, by default docs/load.md")
    return found


def _symbols(count: int, *, unknown: bool = False) -> list[str]:
    bundled = [] if unknown else SYMBOLS[:count]
    return bundled + [f"L{number:04d}" for number in range(count - len(bundled))]


def _prices(directory: Path, count: int, *, unknown: bool) -> Path:
    """The bundled ones, or synthetic ones of so many symbols since 2016."""
    if unknown or count <= len(SYMBOLS):
        return demo.PRICES
    file = directory / "prices.parquet"
    prices.write(file, _symbols(count), date(2016, 1, 4), demo.AS_OF)
    return file


async def _complete(server: Server, portfolio: str, within: float) -> float:
    """Seconds until nothing of a portfolio is missing. Raises `TimeoutError`."""
    began = time.monotonic()
    async with server.client(1) as client, asyncio.timeout(within):
        while True:
            answer = await client.get(f"{API}/portfolios/{portfolio}/status")
            if answer.status_code == 200:
                status = answer.json()
                if status["completed"] == status["expected"] and status["expected"]:
                    return time.monotonic() - began
            elif answer.status_code != 503:
                raise AssertionError(answer.text)
            await asyncio.sleep(0.5)


async def _import(server: Server, name: str, file: bytes) -> str:
    async with server.client(1) as client:
        form = {"name": name, "account_type": "taxable", "equity_balance": "1000000"}
        sent = {"file": ("f.csv", file, "text/csv")}
        answer = await client.post(f"{API}/portfolios/import", data=form, files=sent, timeout=ONBOARDING_SECONDS)
        if answer.status_code != 201:
            raise AssertionError(f"the import of {name} was answered {answer.status_code}: {answer.text[:1000]}")
        return str(answer.json()["id"])


class Outcome(NamedTuple):
    """What was answered, how long the onboarding took in all, None if it did not end, the memory until then, and what was asked
    about it in the end."""

    answers: Answers
    onboarded: float | None
    memory: str
    asked: list[Asked]


async def _load(server: Server, given: argparse.Namespace, lock: LockWatch, peak: Peak) -> Outcome:
    answers = Answers()
    sample = await _import(server, "Sample", demo.PORTFOLIO.read_bytes())
    await _complete(server, sample, 300.0)
    watching = asyncio.create_task(lock.run())
    try:
        large, onboarded = await _work(server, given, sample, answers)
        memory = _told(peak)
        asked = await ask_every_answer(server, large) if large and given.every_answer else []
        return Outcome(answers, onboarded, memory, asked)
    finally:
        watching.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watching


async def _work(
    server: Server, given: argparse.Namespace, sample: str, answers: Answers
) -> tuple[str | None, float | None]:
    """The large portfolio, and how long it took."""
    began = time.monotonic()
    file = lots_file(given.lots, _symbols(given.symbols, unknown=given.unknown))
    large = await _import(server, "Large", file) if given.lots and not given.throughout else None
    connections = given.readers + given.uploads + 2
    async with server.client(connections) as client, server.client(given.streams + 1) as streaming:
        work = [read(client, sample, answers) for _ in range(given.readers)]
        work += [watch(streaming, sample, answers) for _ in range(given.streams)]
        work += [
            upload(client, lots_file(given.upload_lots, first=1000 * n), f"Upload {n}", answers)
            for n in range(given.uploads)
        ]
        work += [probe(client, answers)]
        async with running(work):
            if given.throughout:
                large = await _import(server, "Large", file)
                answers.seconds[LARGE].append(time.monotonic() - began)
                answers.statuses[LARGE]["201"] += 1
                return large, await _ended(server, large, began)
            await asyncio.sleep(given.seconds)
    return large, 0.0 if large is None else await _ended(server, large, began)


async def _ended(server: Server, portfolio: str, began: float) -> float | None:
    try:
        await _complete(server, portfolio, ONBOARDING_SECONDS)
    except TimeoutError:
        return None
    return time.monotonic() - began


def _told(peak: Peak) -> str:
    """The most memory until now."""
    parts = ", ".join(f"{part} {size:,.0f}" for part, size in peak.parts.items())
    return "not known here" if peak.megabytes is None else f"{peak.megabytes:,.0f} MB ({parts})"


def _report(
    given: argparse.Namespace,
    command: str,
    outcome: Outcome,
    peak: Peak,
    lock: LockWatch,
) -> str:
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    words = INTRODUCTION.format(
        command=command, date=f"{datetime.now(UTC):%Y-%m-%d}", commit=commit.stdout.strip() or "unknown", cores=os.cpu_count(),
        load=LOAD, memory=psutil.virtual_memory().total / 1e9, system=platform.system(), sessions=505,
        kind="unknown " if given.unknown else "",
        time="from before its import until it was complete" if given.throughout else f"for {given.seconds:.0f} s", **vars(given),
    )  # fmt: skip
    end = "did not end" if outcome.onboarded is None else f"complete {outcome.onboarded:.0f} s after its file was sent"
    asked = f"\n{EVERY_ANSWER.format(memory=_told(peak))}{table(outcome.asked)}\n" if outcome.asked else ""
    return (
        f"{words}{outcome.answers.table()}\n\nThe portfolio that was computed meanwhile: {end}. Peak memory of all processes of the "
        f"server, the database's among them: {outcome.memory}. The commit-order lock was held {lock.times:,} times, for "
        f"{lock.longest:.2f} s at most, by {lock.holder}.\n{asked}"
    )


def main(arguments: Sequence[str]) -> int:
    given = _parser().parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="leadline-load-") as scratch:
        directory = Path(scratch) / "state"
        command = [sys.executable, "-m", "deploy.cli", "up", "--state", str(directory), "--port", "0"]
        command += [
            "--data",
            str(_prices(Path(scratch), given.symbols, unknown=given.unknown)),
            "--as-of",
            demo.AS_OF.isoformat(),
        ]
        # All clients come from one address with one token: what one caller may ask for is not what is measured.
        environment = {**os.environ, "LEADLINE_RATE_LIMIT": "0"}
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment)
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            if not line.startswith("ready "):
                sys.stderr.write(f"the server did not start: {line}\n")
                return 1
            lock = LockWatch(directory)
            with Peak(process.pid) as peak:
                server = Server(line.split()[1], state.token(directory))
                outcome = asyncio.run(_load(server, given, lock, peak))
        except BaseException:
            sys.stderr.write((directory / "leadline.log").read_text(errors="replace")[-3000:])
            raise
        finally:
            process.terminate()
            process.wait(60)
    shown = " ".join(["python -m tests.load", *arguments])
    report = _report(given, shown, outcome, peak, lock)
    sys.stdout.write(report + "\n")
    if given.document:
        given.document.write_text(markdown.wrap(report), encoding="utf-8")
    unanswered = [
        status
        for path in ("/livez", "/readyz")
        for status in outcome.answers.statuses[f"GET {path}"]
        if status != "200"
    ]
    wrong = [
        status
        for counted in outcome.answers.statuses.values()
        for status in counted
        if status[0] != "2" and status != "503"
    ]
    wrong += [each.what for each in outcome.asked if each.status >= 300]
    return 1 if outcome.onboarded is None or unanswered or wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
