"""Services of a benchmark in a process of their own, as `leadline up` has risk, and what only that process can be told and asked.

In lines of JSON over pipes: a benchmark moves the clocks of running services, which no service lets others do.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from prometheus_client import REGISTRY

from deploy.embedded import beside
from deploy.embedded.composition import Composition, composition
from shared.collection import collect_from_now_on
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

    services: Sequence[str] = beside.SERVICES

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def start(self, urls: Mapping[str, str], values: Mapping[str, Any]) -> None:
        """Start it, if there is anything for it to run."""
        if not self.services:
            return
        # Named as that of `leadline up` is, so that its memory and its time are told as of what computes.
        command = [sys.executable, "-m", "tests.bench.elsewhere", "deploy.embedded.computing"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        told = {name: value for name, value in values.items() if name != "api_database_url"}
        self._say({"urls": {name: urls[name] for name in self.services}, "values": told})

    def wait(self) -> None:
        """Until its services are ready."""
        if self._process is not None:
            self._answer()

    def ask(self, question: str, value: str = "") -> Any:
        """Its answer; an empty list if there is no such process. Raises `RuntimeError` if it has ended."""
        if self._process is None:
            return []
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


async def _find(running: Composition, statements: counts.Statements, question: str, value: str) -> Any:
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


async def _serve() -> None:
    """Until nothing more is asked."""
    given = json.loads(await asyncio.to_thread(sys.stdin.readline))
    services = list(given["urls"])
    async with composition(given["urls"], None, values=given["values"], services=services) as running:
        collect_from_now_on()
        with counts.Statements() as statements:
            answer: Any = services
            while True:
                sys.stdout.write(f"{MARK}{json.dumps(answer)}\n")
                sys.stdout.flush()
                if not (line := await asyncio.to_thread(sys.stdin.readline)):
                    return
                answer = await _find(running, statements, *json.loads(line))


if __name__ == "__main__":
    asyncio.run(_serve())
