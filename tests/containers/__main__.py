"""`make containers`: build the images, bring docker-compose.yml up, put a portfolio through, kill and replace a service, take it down.

Writes docs/containers.md. Leaves nothing running; what was built is kept in build/containers for the next time.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TypeVar

import httpx2

from deploy import env_file
from deploy.embedded.process import free_port
from tests.containers import engine
from tests.containers.engine import ROOT
from tests.flow.holdings import book
from tests.support import markdown

PROJECT = "leadline-test"
HOME = "leadline-test-home"
REPORT = ROOT / "docs" / "containers.md"
COMPLETE_SECONDS = 300.0
T = TypeVar("T")


class Steps:
    """What was done, how long it took and what was seen."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, float, str]] = []

    def take(self, what: str, do: Callable[[], T], seen: Callable[[T], str] = str) -> T:
        print(f"{what} …", flush=True)
        began = time.monotonic()
        found = do()
        self.rows.append((what, time.monotonic() - began, seen(found)))
        print(f"  {self.rows[-1][1]:.0f} s: {self.rows[-1][2]}", flush=True)
        return found


def variables(port: int) -> dict[str, str]:
    """What a person writes into .env: passwords, a token, a port, and the day on which the bundled prices end."""
    drawn = {name: secrets.token_urlsafe(16) for name in env_file.NAMES}
    return drawn | {"LEADLINE_PORT": str(port), "LEADLINE_AS_OF": "2020-12-31", "LEADLINE_WITHOUT_TOKEN": "false"}


class Stack:
    """The compose file, under a name of its own."""

    def __init__(self) -> None:
        port = free_port()
        self._environment = variables(port)
        self._command = [*engine.compose(), "-p", PROJECT, "-f", str(ROOT / "docker-compose.yml")]
        self.server = Server(port, self._environment["LEADLINE_TOKEN"])

    def __call__(self, *command: str) -> str:
        return engine.run([*self._command, *command], environment=self._environment)

    def up(self) -> str:
        try:
            self("up", "-d", "--no-build", "--wait", "--wait-timeout", "300")
        except AssertionError:
            print(self("logs", "--tail", "40"), file=sys.stderr)
            raise
        return self.states()

    def states(self) -> str:
        found = [json.loads(line) for line in self("ps", "--format", "json").splitlines() if line.startswith("{")]
        return ", ".join(sorted(f"{one['Service']} {one.get('Health') or one['State']}" for one in found))


class Server:
    """A coordinator at a port of this machine."""

    def __init__(self, port: int, token: str) -> None:
        self.client = httpx2.Client(
            base_url=f"http://127.0.0.1:{port}", headers={"Authorization": f"Bearer {token}"}, timeout=30
        )

    def create(self, name: str) -> str:
        body = {"name": name, "account_type": "taxable", "currency": "USD", "equity_balance": 100_000, "flows": []}
        made = self.client.post("/api/v1/portfolios", json=body | {"positions": book("2020-06-01")})
        assert made.status_code == 201, made.text
        return str(made.json()["id"])

    def portfolio(self, name: str) -> dict[str, Any]:
        """Create one, wait until it is computed; its newest risk, without what names it."""
        return self.computed(self.create(name))

    def computed(self, portfolio: str) -> dict[str, Any]:
        until = time.monotonic() + COMPLETE_SECONDS
        while True:
            status = self.client.get(f"/api/v1/portfolios/{portfolio}/status").json()
            if status["state"] in ("complete", "partial"):
                break
            assert time.monotonic() < until, status
            time.sleep(0.3)
        assert status["completed"] == status["expected"] > 0
        risk: dict[str, Any] = self.client.get(f"/api/v1/portfolios/{portfolio}/risk").json()
        return {"units": status["completed"], "risk": {k: v for k, v in risk.items() if k not in _OWN}}


_OWN = ("portfolio", "portfolio_id", "id", "name", "revision", "computed_at")


def _inside(stack: Stack) -> str:
    """Who runs in a container, and what it may write."""
    user = stack("exec", "-T", "risk", "id", "-u").strip()
    done = stack("exec", "-T", "risk", "sh", "-c", "touch /venv/x 2>&1 || true; touch /tmp/x && echo written")
    assert user == "10001"
    assert "Read-only file system" in done
    assert done.strip().endswith("written")
    return f"user {user}; the root is read-only, /tmp is not"


def _sizes() -> str:
    found = engine.run(["docker", "image", "ls", "--format", "{{.Repository}} {{.Size}}"])
    return ", ".join(sorted(line for line in found.splitlines() if line.startswith("leadline-co")))


def work(steps: Steps) -> None:
    steps.take("base images", engine.base_images, lambda found: ", ".join(f"{k}: {v}" for k, v in found.items()))
    for tag, extras in (("leadline-coordinator", "server"), ("leadline-compute", "server,compute")):
        options = ("-f", "deploy/Dockerfile", "--build-arg", f"EXTRAS={extras}")
        steps.take(f"build {tag}", lambda tag=tag, options=options: engine.build(".", tag, *options), lambda _: "built")  # type: ignore[misc]
    steps.take("images", _sizes)
    stack = Stack()
    steps.take("the compose file is read", lambda: stack("config", "-q"), lambda _: "valid")
    try:
        steps.take("up, until all are healthy", stack.up)
        steps.take("inside a container", lambda: _inside(stack))
        first = steps.take(
            "a portfolio goes through", lambda: stack.server.portfolio("First"), lambda it: f"{it['units']} units"
        )
        steps.take("risk is killed", lambda: stack("kill", "risk"), lambda _: "gone")
        made = steps.take(
            "meanwhile another portfolio is created", lambda: stack.server.create("Second"), lambda _: "accepted"
        )
        steps.take(
            "risk is replaced",
            lambda: stack("up", "-d", "--no-build", "--no-deps", "--force-recreate", "--wait", "risk"),
            lambda _: "healthy",
        )
        second = steps.take(
            "the second is computed", lambda: stack.server.computed(made), lambda it: f"{it['units']} units"
        )
        steps.take("both are compared", lambda: _same(first, second))
        steps.take("up once more changes nothing", stack.up)
    finally:
        steps.take("down", lambda: stack("down", "-v", "--timeout", "60"), lambda _: "nothing is left")
    assert not engine.run(["docker", "ps", "-aq", "--filter", f"label=com.docker.compose.project={PROJECT}"]).strip()
    at_home(steps)
    steps.take("tests on a broker that testcontainers starts", _tests, lambda said: said.splitlines()[-1].strip("= "))


def _tests() -> str:
    """The tests of delivery; the whole suite runs so with LEADLINE_TEST_BROKER=docker where there is an engine."""
    chosen = {"LEADLINE_TEST_BROKER": "docker", "TESTCONTAINERS_RYUK_DISABLED": "true"}
    return engine.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-n", "0", "tests/flow/test_guard.py", "tests/flow/test_relay.py"],
        environment=chosen,
    )


def at_home(steps: Steps) -> None:
    """The image that has everything: as docs/configuration.md runs it, restarted, and with what it had before."""
    options = ("-f", "deploy/Dockerfile", "--target", "home", "--build-arg", "EXTRAS=server,compute,embedded")
    steps.take(f"build {HOME}", lambda: engine.build(".", HOME, *options), lambda _: "built")
    port = free_port()
    confined = ("--read-only", "--tmpfs=/tmp:size=256m,mode=1777", "--cap-drop=ALL", "--security-opt=no-new-privileges")
    prices = ("-v", f"{ROOT}/deploy/embedded/data:/bundled:ro", "-e", "LEADLINE_DATA=/bundled/prices.parquet")
    command = ["docker", "run", "-d", "--name", HOME, *confined, "--shm-size", "256m", "-v", f"{HOME}:/data", *prices]
    command += ["-e", "LEADLINE_AS_OF=2020-12-31", "-p", f"127.0.0.1:{port}:8000", HOME]
    try:
        engine.run(command)
        steps.take("home: up, until it is healthy", lambda: _healthy(HOME))
        server = Server(port, engine.run(["docker", "exec", HOME, "cat", "/data/token"]).strip())
        first = steps.take(
            "home: a portfolio goes through", lambda: server.portfolio("Home"), lambda it: f"{it['units']} units"
        )
        engine.run(["docker", "restart", "-t", "60", HOME])
        steps.take("home: restarted", lambda: _healthy(HOME))
        [listed] = server.client.get("/api/v1/portfolios").json()["items"]
        steps.take("home: what was computed is there", lambda: _same(first, server.computed(listed["id"])))
    except AssertionError:
        print(engine.run(["docker", "logs", "--tail", "40", HOME]), file=sys.stderr)
        raise
    finally:
        engine.run(["docker", "rm", "-f", "-v", HOME])
        engine.run(["docker", "volume", "rm", "-f", HOME])


def _healthy(name: str) -> str:
    until = time.monotonic() + COMPLETE_SECONDS
    while (seen := engine.run(["docker", "inspect", "-f", "{{.State.Health.Status}}", name]).strip()) != "healthy":
        assert time.monotonic() < until, seen
        time.sleep(0.5)
    return seen


def _same(first: dict[str, Any], second: dict[str, Any]) -> str:
    def clean(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: clean(v) for k, v in value.items() if k not in _OWN and not k.endswith("_id")}
        return [clean(v) for v in value] if isinstance(value, list) else value

    assert clean(first) == clean(second)
    return "the same risk, to the last digit"


def report(steps: Steps) -> str:
    version = engine.run(["docker", "version", "--format", "{{.Server.Version}}"]).strip()
    compose = engine.run([*engine.compose(), "version", "--short"]).strip()
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False, cwd=ROOT
    )
    when = f"{datetime.now(UTC):%Y-%m-%d}, commit {commit.stdout.strip() or 'unknown'}"
    when += f", Docker {version}, Compose {compose}, {os.cpu_count()} processors."
    lines = [
        "# Containers",
        "",
        "What `make containers` did, written by it: the images of `deploy/Dockerfile` and `docker-compose.yml`, run for real. Base images",
        "that cannot be pulled are replaced by stand-ins made of Debian's packages (`tests/containers/`): they show that our files are",
        "right, not that the official images are. The machine is shared, so seconds are upper bounds.",
        "",
        when,
        "",
        "| step | seconds | seen |",
        "|---|---|---|",
        *(f"| {what} | {seconds:.0f} | {seen} |" for what, seconds, seen in steps.rows),
    ]
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description="Image and compose file, run for real")
    parser.add_argument("--no-report", action="store_true", help="leave docs/containers.md as it is")
    asked = parser.parse_args()
    steps = Steps()
    try:
        with engine.engine():
            work(steps)
            if not asked.no_report:
                REPORT.write_text(markdown.wrap(report(steps)))
    except engine.Missing as reason:
        print(f"not run: {reason}", file=sys.stderr)
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
