"""The process of `leadline up` that computes risk beside the others: killed, it comes back; its figures are told with theirs."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import httpx2
import psutil
import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from deploy.embedded import beside, computing
from deploy.embedded.composition import Composition
from deploy.embedded.merged_metrics import merge
from deploy.embedded.process import free_port
from tests.deploy.test_embedded_run import servers_of, up
from tests.deploy.test_supervised_run import figures, import_sample, niceness, pid_of, until_back, until_complete

pytestmark = [
    pytest.mark.timeout(400),
    pytest.mark.skipif(not beside.SERVICES, reason="all compute in one process on this system"),
]


def forked_from(pid: int) -> psutil.Process:
    [child] = psutil.Process(pid).children()
    return child


async def _until_leased(state: Path, within: float) -> None:
    conn = await asyncpg.connect(json.loads((state / "running.json").read_text())["database"].replace("+asyncpg", ""))
    try:
        until = time.monotonic() + within
        held = "SELECT EXISTS (SELECT 1 FROM ledger.schedule WHERE phase = 'risk' AND lease_until > clock_timestamp())"
        while not await conn.fetchval(held):
            assert time.monotonic() < until, "risk took no portfolio"
            await asyncio.sleep(0.01)
    finally:
        await conn.close()


def until_gone(*processes: psutil.Process) -> None:
    """A zombie is gone: its parent may be about to look."""
    until = time.monotonic() + 5
    while any(one.is_running() and one.status() != psutil.STATUS_ZOMBIE for one in processes):
        assert time.monotonic() < until, processes
        time.sleep(0.05)


def value(text: str, name: str, **labels: str) -> float:
    return sum(
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )


def told(state: Path, path: str) -> httpx2.Response:
    return httpx2.get(json.loads((state / "running.json").read_text())["computation"] + path, timeout=20)


def test_risk_that_is_killed_in_the_middle_of_its_work_comes_back_and_nothing_is_lost(scratch_directory: Path) -> None:
    state = scratch_directory / "beside"
    process, url = up(state)
    try:
        undisturbed = import_sample(url, "undisturbed")
        until_complete(url, undisturbed)
        expected = figures(url, undisturbed)
        metrics = told(state, "/metrics").text
        for phase in ("factors", "snapshots", "risk"):
            assert value(metrics, "leadline_batch_seconds_count", phase=phase, step="compute") >= 1, phase
        assert value(metrics, "process_resident_memory_bytes", process="risk") > 1e6
        assert told(state, "/livez").json() == {"live": True, "problems": []}
        for name in ("the forked", "the other"):
            others = pid_of(state, "computation")
            risk = forked_from(others)
            assert niceness(risk.pid) == niceness(others) > niceness(process.pid)
            disturbed = import_sample(url, name)
            asyncio.run(_until_leased(state, within=60))
            both = risk, psutil.Process(others)
            os.kill(risk.pid if name == "the forked" else others, signal.SIGKILL)
            until_gone(*both)
            until_back(url, state, "computation", others)
            until_complete(url, disturbed)
            assert figures(url, disturbed) == expected, name
        last = forked_from(pid_of(state, "computation"))
    finally:
        asked = time.monotonic()
        process.terminate()
        _, err = process.communicate(timeout=60)
    assert time.monotonic() - asked < 10
    assert process.returncode == 0
    until_gone(last)
    assert servers_of(state) == []
    said = [line for line in err.splitlines() if line.startswith("leadline: ")]
    assert [line.partition("; ")[0] for line in said] == [
        "leadline: the process of the computing services ended (code 1)",
        said[1],
        "leadline: the process of the computing services ended (SIGKILL)",
        said[3],
    ]


ANSWERS = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"{\\"problems\\": []}")
    def log_message(self, *_): pass
server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
"""


@pytest.fixture
def answering() -> Iterator[beside.Beside]:
    child = subprocess.Popen([sys.executable, "-c", ANSWERS], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    yield beside.Beside(child.pid, int(child.stdout.readline()))
    child.kill()
    child.stdout.close()
    # Whoever looks after the process has mostly taken note of its end.
    with contextlib.suppress(ChildProcessError):
        child.wait()


async def test_a_forked_process_that_hangs_is_ended_and_one_that_answers_is_not(
    answering: beside.Beside, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(beside, "PATIENT_SECONDS", 0.3)
    watch = asyncio.create_task(answering.end_when_silent(every=0.05, most=3))
    await asyncio.sleep(1.0)
    assert answering.look()
    assert not watch.done()
    os.kill(answering.pid, signal.SIGSTOP)
    async with asyncio.timeout(20):
        await answering.until_ended()
    await watch


async def test_who_cannot_even_ask_has_no_answer_either(
    answering: beside.Beside, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The watch goes on, whatever keeps it from asking."""

    async def get(*_: object, **__: object) -> httpx2.Response:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(beside.Beside, "get", get)
    async with asyncio.timeout(20):
        await answering.end_when_silent(every=0.01, most=3)
        await answering.until_ended()


async def test_a_stop_does_not_wait_for_a_forked_process_that_hangs(
    answering: beside.Beside, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(beside, "STOP_SECONDS", 0.3)
    os.kill(answering.pid, signal.SIGSTOP)
    async with asyncio.timeout(20):
        await answering.stop()
    assert answering.ended


async def test_half_of_the_figures_are_not_told_and_who_is_silent_is_named(answering: beside.Beside) -> None:
    answering.kill()
    await answering.until_ended()
    transport = httpx2.ASGITransport(app=computing._application(Composition(port=0), answering))
    async with httpx2.AsyncClient(transport=transport, base_url="http://computing") as client:
        metrics, lives = await client.get("/metrics"), await client.get("/livez")
    assert metrics.status_code == 503
    assert metrics.text.startswith("the process of risk does not answer: ConnectError")
    assert lives.status_code == 503
    assert lives.json()["problems"] == [metrics.text]


async def test_a_stop_is_not_kept_waiting_by_a_forked_process_that_never_gets_ready(answering: beside.Beside) -> None:
    os.kill(answering.pid, signal.SIGSTOP)
    silent = beside.Beside(answering.pid, free_port())
    asked_to_stop = asyncio.Event()
    asyncio.get_running_loop().call_later(0.3, asked_to_stop.set)
    async with asyncio.timeout(20):
        assert not await computing._ready(silent, asked_to_stop)


def _metrics(batches: float, memory: float, phase: str) -> bytes:
    registry = CollectorRegistry()
    counter = Counter("leadline_batches", "Batches", ["phase"], registry=registry)
    counter.labels("all").inc(batches)
    counter.labels(phase).inc()
    Gauge("process_memory_bytes", "Memory", registry=registry).set(memory)
    return generate_latest(registry)


def test_figures_of_two_processes_are_added_up_and_what_is_of_a_process_is_told_of_each() -> None:
    merged = merge(_metrics(2, 10, "factors"), _metrics(3, 20, "risk").decode(), "risk").decode()
    found: dict[Any, float] = {}
    for family in text_string_to_metric_families(merged):
        for sample in family.samples:
            assert (sample.name, tuple(sample.labels.values())) not in found, "told twice"
            found[sample.name, tuple(sample.labels.values())] = sample.value
    assert {key: number for key, number in found.items() if not key[0].endswith("_created")} == {
        ("leadline_batches_total", ("all",)): 5,
        ("leadline_batches_total", ("factors",)): 1,
        ("leadline_batches_total", ("risk",)): 1,
        ("process_memory_bytes", ()): 10,
        ("process_memory_bytes", ("risk",)): 20,
    }
    assert merged.count("# TYPE leadline_batches_total ") == 1
    assert time.time() - 60 < found["leadline_batches_created", ("all",)] <= time.time()
