"""`leadline up` when its database or its broker dies or does not answer: started again, or ended with a line, and stopped in time."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import httpx2
import psutil
import pytest

from deploy.embedded import demo, priority
from leadline.cli import Client, Failed
from shared.db.roles import role_of
from tests.deploy.test_embedded_run import servers_of, up

pytestmark = pytest.mark.timeout(400)
NAMES = {
    "broker": "the embedded broker",
    "postgres": "PostgreSQL",
    "computation": "the process of the computing services",
}


@pytest.fixture
def state(scratch_directory: Path) -> Path:
    """One directory for all: a database that is there is started in a third of the time, and each test ends what it started."""
    return scratch_directory / "supervised"


def pid_of(state: Path, server: str) -> int:
    return int(json.loads((state / f"{server}.pid").read_text())["pid"])


def until_second(state: Path, behind: int) -> None:
    """What computes comes after the API: the process, and the database's processes that work for it."""
    deadline = time.monotonic() + 3 * priority.LOOK_SECONDS
    while True:
        backends = [
            one.pid
            for one in psutil.Process(pid_of(state, "postgres")).children()
            if " ".join(one.cmdline()).startswith(f"postgres: {role_of('risk')} ")
        ]
        computing = [pid_of(state, "computation"), *backends]
        if backends and all(niceness(pid) > niceness(behind) for pid in computing):
            return
        assert time.monotonic() < deadline, (niceness(behind), [niceness(pid) for pid in computing])
        time.sleep(0.2)


def niceness(pid: int) -> int:
    return os.getpriority(os.PRIO_PROCESS, pid)


def import_sample(url: str, name: str) -> str:
    form = {"name": name, "account_type": "taxable", "equity_balance": str(demo.EQUITY)}
    file = (demo.PORTFOLIO.name, demo.PORTFOLIO.read_bytes(), "text/csv")
    with Client(url) as api:
        return str(api.post("/portfolios/import", data=form, files={"file": file})["id"])


def until_complete(url: str, portfolio: str, within: float = 200.0) -> None:
    deadline = time.monotonic() + within
    status: Any = None
    with Client(url) as api:
        while time.monotonic() < deadline:
            try:
                status = api.get(f"/portfolios/{portfolio}/status")
                if status["state"] in ("complete", "partial"):
                    return
            except Failed as error:
                status = error
            time.sleep(0.2)
    raise AssertionError(f"not complete: {str(status)[:1000]}")


def until_back(url: str, state: Path, server: str, dead: int, within: float = 60.0) -> None:
    """Until another process is in the place of the dead one, and everything works."""
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError, ValueError, KeyError, httpx2.TransportError):
            if pid_of(state, server) != dead and httpx2.get(f"{url}/readyz", timeout=20).status_code == 200:
                return
        time.sleep(0.1)
    raise AssertionError(f"{server} is not back")


def figures(url: str, portfolio: str) -> list[Any]:
    """Snapshots of the whole life and the last risk, without what names the portfolio or the time of computing."""
    with Client(url) as api:
        found = [api.get(f"/portfolios/{portfolio}/risk"), *api.get(f"/portfolios/{portfolio}/snapshots")["items"]]
    own = {"portfolio_id", "portfolio", "id", "name", "revision", "computed_at", "created_at", "updated_at"}
    return [{key: value for key, value in item.items() if key not in own} for item in found]


def test_what_is_killed_while_a_portfolio_is_computed_is_started_again(state: Path) -> None:
    """A newcomer's path too: start, sign in by the link, bring a file, read its risk on the page, kill a service, watch it heal."""
    process, url = up(state)
    browser = httpx2.Client(timeout=20, follow_redirects=True)
    try:
        assert process.stdout is not None
        assert "<h1>Portfolios</h1>" in browser.get(process.stdout.readline().split()[-1]).text
        undisturbed = import_sample(url, "undisturbed")
        until_complete(url, undisturbed)
        with Client(url) as api:
            volatility = api.get(f"/portfolios/{undisturbed}/risk")["volatility"]["realized_252"]
        assert f'<data value="{volatility}"' in browser.get(f"{url}/p/{undisturbed}/risk").text
        expected = figures(url, undisturbed)
        assert len(expected) > 400
        disturbed = {}
        for server in NAMES:
            disturbed[server] = import_sample(url, f"disturbed: {server}")
            dead = pid_of(state, server)
            os.kill(dead, signal.SIGKILL)
            until_back(url, state, server, dead)
        for server, portfolio in disturbed.items():
            until_complete(url, portfolio)
            assert figures(url, portfolio) == expected, server
            assert "complete to" in browser.get(f"{url}/p/{portfolio}").text
            until_second(state, behind=process.pid)
    finally:
        browser.close()
        asked = time.monotonic()
        process.terminate()
        _, err = process.communicate(timeout=60)
    assert time.monotonic() - asked < 10
    said = [line for line in err.splitlines() if line.startswith("leadline: ")]
    assert len(said) == 2 * len(NAMES)
    for name, ended, back in zip(NAMES.values(), said[::2], said[1::2], strict=True):
        assert f"leadline: {name} ended (SIGKILL); starting it again" in ended
        assert back.startswith(f"leadline: {name} is back on port")
    assert process.returncode == 0
    assert servers_of(state) == []


@pytest.mark.long
@pytest.mark.parametrize("server", ["broker", "postgres"])
def test_a_stop_takes_no_more_than_ten_seconds_whatever_does_not_answer(state: Path, server: str) -> None:
    """Stopped rather than killed: a dead server would be started again, and this one takes connections and says nothing."""
    process, url = up(state)
    import_sample(url, f"under way as {server} is silent")
    silent = psutil.Process(pid_of(state, server))
    frozen = [silent, *silent.children(recursive=True)]
    for one in frozen:
        one.suspend()
    try:
        time.sleep(1)
        asked = time.monotonic()
        process.terminate()
        process.communicate(timeout=60)
        assert time.monotonic() - asked < 10
    finally:
        for one in frozen:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.resume()
    assert process.returncode == 0
    deadline = time.monotonic() + 10
    while servers_of(state) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert servers_of(state) == []


def test_a_stop_right_after_the_broker_died_takes_no_more_than_ten_seconds(state: Path) -> None:
    process, url = up(state)
    import_sample(url, "under way as the broker dies")
    os.kill(pid_of(state, "broker"), signal.SIGKILL)
    asked = time.monotonic()
    process.terminate()
    process.communicate(timeout=60)
    assert time.monotonic() - asked < 10
    assert process.returncode == 0
    assert servers_of(state) == []


@pytest.mark.long
def test_a_server_that_does_not_stay_up_ends_the_run_with_a_line(state: Path) -> None:
    process, _ = up(state)
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(ProcessLookupError, OSError, ValueError, KeyError):
            os.kill(pid_of(state, "broker"), signal.SIGKILL)
        time.sleep(0.2)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 1, out + err
    assert "leadline: the embedded broker ended" in err
    assert "does not stay up" in err
    assert "Traceback" not in err
    assert servers_of(state) == []
