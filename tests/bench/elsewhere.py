"""The services of a benchmark that compute, in processes as `leadline up` has them, and what only those can be told and asked.

In lines of JSON over pipes: a benchmark moves the clocks of running services, which no service lets others do.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, TextIO

from prometheus_client import REGISTRY

from deploy.embedded import beside, computing
from deploy.embedded.composition import Composition, composition
from shared.collection import collect_from_now_on
from shared.db.roles import PHASE_SERVICES
from tests.bench import counts
from tests.support.pipeline import move_clocks, unread

# Before what is an answer: services log to the same place.
MARK = "answer "
ENDING_SECONDS = 60.0


def steps_here() -> dict[tuple[str, str], float]:
    """Seconds spent so far in each phase and step, from the metrics of the services in this process."""
    found = {}
    for metric in REGISTRY.collect():
        if metric.name == "leadline_batch_seconds":
            for sample in metric.samples:
                if sample.name.endswith("_sum"):
                    found[sample.labels["phase"], sample.labels["step"]] = sample.value
    return found


class Elsewhere:
    """The process, as the benchmark sees it."""

    services: Sequence[str] = PHASE_SERVICES

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def start(self, urls: Mapping[str, str], values: Mapping[str, Any]) -> None:
        """Start it; it begins to work at once."""
        # Named as that of `leadline up` is, so that its memory and its time are told as of what computes.
        command = [sys.executable, "-m", "tests.bench.elsewhere", "deploy.embedded.computing"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        told = {name: value for name, value in values.items() if name != "api_database_url"}
        self._say({"urls": {name: urls[name] for name in self.services}, "values": told})

    def wait(self) -> None:
        """Until its services are ready."""
        self._answer()

    def ask(self, question: str, value: str = "") -> Any:
        """Its answer. Raises `RuntimeError` if it has ended."""
        self._say([question, value])
        return self._answer()

    def stop(self) -> None:
        if self._process is not None:
            assert self._process.stdin is not None
            self._process.stdin.close()
            self._process.wait(ENDING_SECONDS)

    def _say(self, what: object) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(what, default=str) + "\n")
        self._process.stdin.flush()

    def _answer(self) -> Any:
        assert self._process is not None
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith(MARK):
                return json.loads(line.removeprefix(MARK))
        raise RuntimeError(f"the process of {', '.join(self.services)} has ended")


async def _find(running: Composition, statements: counts.Statements, question: str, value: str) -> list[Any]:
    match question:
        case "as_of":
            move_clocks(running, date.fromisoformat(value))
            return []
        case "statements":
            return [statements.count]
        case "steps":
            return [[*key, seconds] for key, seconds in steps_here().items()]
        case "unread":
            return await unread(running)
    raise ValueError(question)


@dataclass(frozen=True)
class _Forked:
    """The process of the services that are beside the others, and its ends of two pipes."""

    process: beside.Beside
    asked: TextIO
    told: TextIO

    def say(self, line: str) -> None:
        self.asked.write(line)
        self.asked.flush()

    def answer(self) -> list[Any]:
        return list(json.loads(self.told.readline().removeprefix(MARK)))

    async def end(self) -> None:
        self.asked.close()
        await self.process.until_ended()


def _fork(given: Mapping[str, Any]) -> _Forked:
    ask_there, asked_here = os.pipe()
    told_here, tell_there = os.pipe()

    def work(listener: socket.socket, _: int) -> None:
        listener.close()
        os.close(asked_here)
        with os.fdopen(ask_there) as asked, os.fdopen(tell_there, "w") as told:
            asyncio.run(_serve(given, beside.SERVICES, asked, told))

    process = beside.fork(work)
    os.close(ask_there)
    os.close(tell_there)
    return _Forked(process, os.fdopen(asked_here, "w"), os.fdopen(told_here))


async def _serve(
    given: Mapping[str, Any], services: Sequence[str], asked: TextIO, told: TextIO, forked: _Forked | None = None
) -> None:
    """Until nothing more is asked. What the forked process answers is told with our own."""
    try:
        async with composition(given["urls"], None, values=given["values"], services=services) as running:
            beside.give_back_memory()
            collect_from_now_on()
            with counts.Statements() as statements:
                answer = list(services)
                while True:
                    answer += [] if forked is None else await asyncio.to_thread(forked.answer)
                    told.write(f"{MARK}{json.dumps(answer)}\n")
                    told.flush()
                    if not (line := await asyncio.to_thread(asked.readline)):
                        return
                    if forked is not None:
                        forked.say(line)
                    answer = await _find(running, statements, *json.loads(line))
    finally:
        if forked is not None:
            await forked.end()


def main() -> None:
    given = json.loads(sys.stdin.readline())
    computing.load()
    forked = _fork(given) if beside.SERVICES else None
    here = [service for service in PHASE_SERVICES if service not in beside.SERVICES]
    asyncio.run(_serve(given, here, sys.stdin, sys.stdout, forked))


if __name__ == "__main__":
    main()
