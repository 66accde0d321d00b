"""`leadline up` and `leadline demo` as a person runs them: processes, signals, output, a second start."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import psutil
import pytest

from deploy.embedded import demo
from deploy.embedded.stopping import unless_stopped
from leadline.http import Client, Failed
from leadline.servers import find_token, servers_directory

# Most of it is interpreters that import, on two cores perhaps.
pytestmark = pytest.mark.timeout(400)
ROOT = Path(__file__).parents[2]
CLEAN = {name: value for name, value in os.environ.items() if not name.startswith(("LEADLINE_", "OTEL_", "SERVE"))}


def leadline(*arguments: str | Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "deploy.cli", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=CLEAN,
    )


def up(state: Path) -> tuple[subprocess.Popen[str], str]:
    """Start, and wait for the address it prints."""
    process = leadline("up", "--state", state, "--port", "0", "--data", demo.PRICES, "--as-of", "2020-12-31")
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line.startswith("ready http://127.0.0.1:"), line + process.communicate()[1]
    return process, line.split()[1]


def servers_of(state: Path) -> list[int]:
    """Databases and brokers that run on the directory."""
    running = [(process.pid, process.info["cwd"]) for process in psutil.process_iter(["cwd"])]
    return [pid for pid, directory in running if directory and Path(directory).is_relative_to(state)]


@pytest.fixture
def state(scratch_directory: Path, request: pytest.FixtureRequest) -> Path:
    return scratch_directory / str(request.node.name)[:40]


@pytest.fixture(scope="module")
def running(scratch_directory: Path) -> Iterator[tuple[subprocess.Popen[str], str, Path]]:
    """One life, which two tests share: the second ends it."""
    state = scratch_directory / "shared-life"
    process, url = up(state)
    yield process, url, state
    if process.poll() is None:
        process.terminate()
        process.communicate(timeout=60)


def test_a_second_start_says_what_is_in_use(running: tuple[subprocess.Popen[str], str, Path]) -> None:
    process, url, state = running
    same_state = leadline("up", "--state", state, "--port", "0", "--data", demo.PRICES)
    same_port = leadline(
        "up", "--state", state.with_name("other"), "--port", url.rpartition(":")[2], "--data", demo.PRICES
    )
    for second, said in ((same_state, f"is in use by another Leadline (process {process.pid})"), (same_port, "--port")):
        out, err = second.communicate(timeout=60)
        assert second.returncode == 1
        assert out == ""
        assert said in err
        assert "Traceback" not in err


def test_up_says_ready_once_serves_and_stops_cleanly(running: tuple[subprocess.Popen[str], str, Path]) -> None:
    process, url, state = running
    assert httpx2.get(f"{url}/readyz").json() == {"ready": True}, "what is checked is told to those with a token"
    _let_in_by_its_link_and_its_token(process, url, state)
    assert servers_of(state)
    doctor = leadline("doctor", "--state", state)
    said = doctor.communicate(timeout=60)[0]
    assert doctor.returncode == 0, said
    # Piped, a line a check.
    assert [line.split()[:2] for line in said.splitlines()[1:]] == [
        ["ok", f"{name}:"]
        for name in ("database", "migrations", "clock", "broker", "topics", "providers", "prices", "yields", "calendar")
    ]
    assert "standing at 2020-12-31" in said
    assert "prices.parquet" in said

    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)

    assert (process.returncode, out) == (0, "")
    # What began, what can be done next, and that it ends; a line each, and nothing else.
    told = [line.partition(" s  ")[2] for line in err.splitlines()]
    begun = ["the broker", "PostgreSQL", "the schema", "the five services"]
    assert told[:4] == [f"starting {part} …" for part in begun]
    assert told[4].startswith("next: leadline import FILE.csv")
    assert told[5:] == ["stopping the services, PostgreSQL, the broker …"]
    assert servers_of(state) == []


def _let_in_by_its_link_and_its_token(process: subprocess.Popen[str], url: str, state: Path) -> None:
    assert httpx2.get(f"{url}/api/v1/portfolios").status_code == 401
    assert httpx2.get(f"{url}/").status_code == 303
    # The line after the address is there at once, although it goes to no terminal.
    assert process.stdout is not None
    link = process.stdout.readline().split()[-1]
    assert link.startswith(f"{url}/sign-in?code=")
    with httpx2.Client() as browser:
        assert browser.get(link).status_code == 303
        assert browser.get(f"{url}/ops").status_code == 200
    assert httpx2.get(link).status_code == 401, "the link works once"
    # The command line of the same user finds the token by the address, also by another name of this machine.
    kept = state / "token"
    assert kept.stat().st_mode & 0o777 == 0o600
    assert find_token(url) == find_token(url.replace("127.0.0.1", "localhost")) == kept.read_text().strip()
    with Client(url) as api:
        made = api.post("/admin/tokens", json={"name": "reports", "role": "reader"})
    with Client(url, made["token"]) as reader:
        assert reader.get("/portfolios")["items"] == []
        with pytest.raises(Failed, match="needs the role operator"):
            reader.post("/admin/reconcile")
    with httpx2.Client(headers={"Authorization": f"Bearer {made['token']}"}) as told:
        assert told.get(f"{url}/readyz").json()["checks"]["database"] == "ok"


def test_what_a_killed_run_left_behind_is_taken_over(running: tuple[subprocess.Popen[str], str, Path]) -> None:
    """In the directory of the shared life, which need not be made again."""
    ended, _, state = running
    if ended.poll() is None:
        ended.terminate()
        ended.communicate(timeout=60)
    killed, first = up(state)
    assert find_token(first) is not None
    left = servers_of(state)
    killed.kill()
    killed.communicate()
    assert find_token(first) is None, "whoever listens there now is not told the token"
    token = (state / "token").read_text()
    assert [pid for pid in left if psutil.pid_exists(pid)], (
        "the database ended with its parent: there is nothing to take over"
    )

    again, url = up(state)
    try:
        assert httpx2.get(f"{url}/readyz").status_code == 200
        assert not set(left) & set(servers_of(state))
        assert (state / "token").read_text() == token
    finally:
        again.terminate()
        again.communicate(timeout=60)
    assert not (servers_directory() / f"{url.rpartition(':')[2]}.json").exists()


def test_the_demo_completes_and_its_second_run_recomputes_nothing(state: Path) -> None:
    first = leadline("demo", "--state", state, "--port", "0")
    out, err = first.communicate(timeout=300)
    assert first.returncode == 0, out + err
    for expected in (
        "NAV",
        "P&L",
        "Volatility and beta",
        "Sectors",
        "Completeness: 100 %",
        "No proxy in the bundled prices: ",
    ):
        assert expected in out, expected
    assert "Nothing was recomputed" not in out

    second = leadline("demo", "--state", state, "--port", "0")
    again, err = second.communicate(timeout=300)
    assert second.returncode == 0, again + err
    assert "Nothing was recomputed: all 2,020 units were complete since" in again
    # The same figures to the last digit shown.
    assert again[again.index("NAV") : again.index("Completeness")] == out[out.index("NAV") : out.index("Completeness")]


def test_a_price_file_that_is_not_there_is_named(state: Path) -> None:
    process = leadline("up", "--state", state, "--port", "0", "--data", "nowhere.parquet")
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (1, "")
    assert "there is no price file nowhere.parquet" in err


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "LEADLINE_PROVIDERS=yahoo leadline up"),
        ("symbol,date,close\nAAPL,2020-12-31,1\nAAPL,soon,1\n", "bad.csv, column date, row 3: 'soon' is not a date"),
    ],
)
def test_prices_that_cannot_be_read_are_refused_at_once_and_say_why(
    state: Path, tmp_path: Path, content: str | None, said: str
) -> None:
    arguments: list[str | Path] = []
    if content is not None:
        (tmp_path / "bad.csv").write_text(content)
        arguments = ["--data", tmp_path / "bad.csv"]
    process = leadline("up", "--state", state, "--port", "0", *arguments)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (1, "")
    assert said in err
    assert "Traceback" not in err
    assert err.count("row 3") <= 1
    assert not (state / "postgres").exists(), "told before anything was started"


@pytest.mark.parametrize(
    ("command", "until"),
    [
        pytest.param("up", "postgres.new", marks=pytest.mark.long),
        ("up", "broker.pid"),
        pytest.param("up", "roles.json", marks=pytest.mark.long),
        pytest.param("demo", "leadline.log", marks=pytest.mark.long),
    ],
)
def test_a_signal_during_the_start_stops_it_within_seconds_and_leaves_nothing(
    state: Path, command: str, until: str
) -> None:
    state = state.with_name(f"start-{command}-{until}")
    data: list[str | Path] = ["--data", demo.PRICES, "--as-of", "2020-12-31"] if command == "up" else []
    process = leadline(command, "--state", state, "--port", "0", *data)
    deadline = time.monotonic() + 60
    while not (state / until).exists():
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.02)

    asked = time.monotonic()
    process.send_signal(signal.SIGINT if command == "demo" else signal.SIGTERM)
    out, err = process.communicate(timeout=60)

    assert time.monotonic() - asked < 20, "it went on starting"
    assert "ready" not in out
    if command == "up":
        assert process.returncode == 0
        assert all(line.endswith("…") for line in err.splitlines()), err
    else:
        assert (process.returncode, err) == (1, "leadline: stopped before everything had started\n")
    assert servers_of(state) == []


async def test_a_connection_cut_off_by_a_stop_prints_nothing_and_other_errors_do(
    caplog: pytest.LogCaptureFixture,
) -> None:
    loop, asked = asyncio.get_running_loop(), asyncio.Event()

    async def start() -> bool:
        asked.set()
        try:
            return await asyncio.Event().wait()
        finally:
            for error in (ConnectionError("connection lost"), ValueError("a mistake of ours")):
                loop.create_future().set_exception(error)  # and nobody waits for it

    assert await unless_stopped(start(), asked) is None
    gc.collect()
    assert "connection lost" not in caplog.text
    assert "a mistake of ours" in caplog.text


@pytest.mark.long
def test_a_signal_while_services_wait_for_a_broker_stops_them(state: Path) -> None:
    """Their start would go on for a minute."""
    process = leadline("up", "--state", state, "--port", "0", "--data", demo.PRICES, "--as-of", "2020-12-31")
    deadline = time.monotonic() + 60
    while not (state / "roles.json").exists():
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.02)
    broker = json.loads((state / "broker.pid").read_text())["pid"]
    psutil.Process(broker).suspend()
    try:
        time.sleep(3)
        process.terminate()
        out, err = process.communicate(timeout=40)
    finally:
        with contextlib.suppress(psutil.NoSuchProcess):
            psutil.Process(broker).resume()
    assert (process.returncode, out) == (0, "")
    told = [line.partition(" s  ")[2] for line in err.splitlines()]
    assert [line for line in told if not line.startswith(("starting ", "stopping "))] == []
    assert servers_of(state) == []


def test_a_state_directory_that_cannot_be_is_named() -> None:
    process = leadline("up", "--state", "/dev/null/x", "--port", "0", "--data", demo.PRICES)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (1, "")
    assert err == "leadline: /dev/null/x cannot be the state directory: Not a directory; choose another with --state\n"
