"""The parts about replicas: what they compare and tell, and, as small as it goes, that they run."""

from __future__ import annotations

import asyncio
import json
import signal
from collections import Counter
from pathlib import Path
from typing import Any, cast

import pytest

from tests.bench import latency, processes, replicas
from tests.bench.latency import Morning, Vendor
from tests.bench.pipeline import LAST, SYMBOLS, market
from tests.bench.processes import Administrator
from tests.bench.replicas import Night
from tests.support.brokers import TestBroker
from tests.support.compose import Process
from tests.support.databases import Server, drop
from tests.support.vendors import Call, serving

DONE: dict[str, object] = {"event": "batch_done", "phase": "risk"}


def test_units_of_each_replica_are_read_from_its_log(tmp_path: Path) -> None:
    """In the order of their numbers; a line that a killed process left unfinished is none."""
    logs: dict[str, list[dict[str, object]]] = {
        "risk": [DONE | {"raised": 250}, {"event": "ready"}, DONE | {"raised": 50}],
        "risk-2": [DONE | {"raised": 200}],
        "ingest": [],
        "coordinator": [DONE | {"raised": 7}],
    }
    for name, lines in logs.items():
        (tmp_path / f"{name}.log").write_text("".join(f"{json.dumps(line)}\n" for line in lines) + '{"event": "batch_')
    found = processes.completed(tmp_path)
    assert found == {"risk": {"risk": 300, "risk-2": 200}, "ingest": {"ingest": 0}}
    assert processes.told({"risk": found["risk"]}) == "risk 300 + 200"
    assert processes.busiest(found["risk"]) == 0.6
    assert processes.busiest(found["ingest"]) == 0.0


def _night(digest: str = "1") -> Night:
    shares = {phase: {f"{phase}-{number}": 250 for number in range(4)} for phase in processes.COMPUTING}
    return Night(2.0, {"risk.results": digest}, shares, {"list of 50": [0.01, 0.02]})


def test_a_night_that_differs_in_a_digit_is_told() -> None:
    found = replicas.figures(1000, {1: _night(), 4: _night()}, _night())
    verdicts = {one.what: one.verdict for one in found if one.goal is not None}
    assert verdicts == {
        "runs that differ from the first in any digit": "reached", "share of the busiest of 4 in snapshots": "reached",
        "share of the busiest of 4 in risk": "reached", "list of 50, of a process that answers alone": "reached",
    }  # fmt: skip
    with pytest.raises(AssertionError, match=r"results with 4 differ: risk\.results: 1 / 2"):
        replicas.figures(1000, {1: _night(), 4: _night("2")}, _night())
    with pytest.raises(AssertionError, match="results with one killed differ"):
        replicas.figures(1000, {1: _night(), 4: _night()}, _night("2"))


class Looks:
    """Answers what is asked for owners of leases and missing units, one look after the other."""

    def __init__(self, *found: tuple[int, bool]) -> None:
        self._found = list(found)

    @property
    def left(self) -> int:
        return len(self._found)

    async def query(self, statement: str, **parameters: Any) -> list[Any]:
        return [self._found.pop(0)]


class Killed:
    """A worker that notes how it is stopped."""

    def __init__(self) -> None:
        self.child = self
        self.how: list[signal.Signals] = []

    def stop(self, *, how: signal.Signals, within: float) -> None:
        self.how.append(how)


async def test_one_of_each_is_killed_as_soon_as_two_work() -> None:
    workers = {name: Killed() for service in processes.COMPUTING for name in (service, f"{service}-2")}
    looks = Looks((0, False), (1, True), (2, True), (2, True))
    await replicas.kill_one_of_each(cast("Administrator", looks), cast("dict[str, Process]", workers))
    assert looks.left == 1, "one of them was killed although the other had nothing in hand"
    assert [name for name, worker in workers.items() if worker.how == [signal.SIGKILL]] == list(processes.COMPUTING)


async def test_a_night_in_which_nobody_could_be_killed_is_told_at_once() -> None:
    with pytest.raises(RuntimeError, match="nobody was killed"):
        await replicas.kill_one_of_each(cast("Administrator", Looks((0, False), (1, True), (0, False))), {})


def test_a_symbol_that_is_asked_for_twice_is_told() -> None:
    once = Counter({"/tiingo/daily/A/prices": 1, "/tiingo/daily/B/prices": 1})
    shares = {"ingest": 1, "ingest-2": 1}
    found = latency.figures({1: Morning(4.0, 5.0, shares, once), 2: Morning(2.0, 3.0, shares, once)}, 2, 2.0)
    assert [(one.value, one.verdict) for one in found] == [(4.0, ""), (2.0, ""), (0.5, "reached")]
    twice = once + Counter({"/tiingo/daily/A/prices": 1})
    with pytest.raises(AssertionError, match="asked for again"):
        latency.figures({1: Morning(4.0, 5.0, shares, twice)}, 2, 2.0)
    with pytest.raises(AssertionError, match="2 questions about 3 symbols"):
        latency.figures({1: Morning(4.0, 5.0, shares, once)}, 3, 2.0)


def test_the_vendor_counts_what_it_is_asked_and_lets_wait() -> None:
    vendor = Vendor(latency.market(["N0000"]), 0.25)
    reply = vendor.answer(Call("/tiingo/daily/N0000/prices", {"startDate": "2020-12-01", "endDate": "2020-12-31"}, {}))
    assert (reply.status, reply.delay, len(json.loads(reply.body))) == (200, 0.25, 21)
    assert vendor.calls() == {"/tiingo/daily/N0000/prices": 1}
    assert not vendor.calls()


@pytest.mark.long
@pytest.mark.timeout(600)
async def test_two_replicas_compute_what_one_does(server: Server, apache_kafka: TestBroker, tmp_path: Path) -> None:
    data = market(tmp_path, SYMBOLS)
    prepared = await replicas.prepare(server, apache_kafka, data, 3)
    nights = {
        count: await asyncio.to_thread(replicas.one_run, prepared, apache_kafka, data, count, 3, disturbed=False)
        for count in (1, 2)
    }
    found = replicas.figures(3, nights, nights[1])
    assert found[0].value is not None
    assert found[0].value > 0
    for night in nights.values():
        assert {phase: sum(of.values()) for phase, of in night.shares.items()} == dict.fromkeys(processes.COMPUTING, 3)
    await drop(prepared)


@pytest.mark.long
@pytest.mark.timeout(600)
async def test_a_vendor_is_asked_once_by_two_replicas(server: Server, apache_kafka: TestBroker) -> None:
    vendor = Vendor(latency.market(["N0000", "N0001", "N0002"]))
    books = [latency.lots(vendor.world, [name], LAST) for name in ("N0000", "N0001", "N0002")]
    with serving(vendor.answer) as stand_in:
        prepared = await latency.prepare(server, apache_kafka, vendor, stand_in.url)
        vendor.seconds = 0.05
        found = await asyncio.to_thread(latency.one_run, prepared, apache_kafka, vendor, stand_in, 2, books)
    [figure, *_] = latency.figures({2: found}, 3, 0.05)
    assert figure.value is not None
    assert figure.value >= 0.05
    await drop(prepared)
