"""docker-compose.yml under a name of its own, and what is asked of the servers that it starts."""

from __future__ import annotations

import json
import secrets
import sys
import time
from typing import Any

import httpx2

from deploy import env_file
from deploy.embedded.process import free_port
from tests.containers import engine
from tests.containers.engine import ROOT
from tests.flow.holdings import book

PROJECT = "leadline-test"
PROFILES = ("--profile", "kafka-ui", "--profile", "observability")
COMPLETE_SECONDS = 300.0


def variables(port: int) -> dict[str, str]:
    """What a person writes into .env: passwords, a token, a port, and the day on which the bundled prices end."""
    drawn = {name: secrets.token_urlsafe(16) for name in env_file.NAMES}
    drawn |= {name: str(free_port()) for name in ("KAFKA_UI_PORT", "PROMETHEUS_PORT", "GRAFANA_PORT")}
    return drawn | {"LEADLINE_PORT": str(port), "LEADLINE_AS_OF": "2020-12-31", "LEADLINE_WITHOUT_TOKEN": "false"}


class Stack:
    """The compose file, under a name of its own."""

    def __init__(self) -> None:
        port = free_port()
        self._environment = variables(port)
        self._command = [*engine.compose(), "-p", PROJECT, "-f", str(ROOT / "docker-compose.yml")]
        self.server = Server(port, self._environment["LEADLINE_TOKEN"])

    def beside(self, service: str) -> httpx2.Client:
        """Bring up what a profile adds; a client of its port on this machine."""
        self(*PROFILES, "up", "-d", "--no-build", "--no-deps", "--wait", "--wait-timeout", "300", service)
        port = self._environment[f"{service.upper().replace('-', '_')}_PORT"]
        return httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=90)

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


def same(first: dict[str, Any], second: dict[str, Any]) -> str:
    def clean(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: clean(v) for k, v in value.items() if k not in _OWN and not k.endswith("_id")}
        return [clean(v) for v in value] if isinstance(value, list) else value

    assert clean(first) == clean(second)
    return "the same risk, to the last digit"
