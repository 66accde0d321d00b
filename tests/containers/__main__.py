"""`make containers`: build the images, bring docker-compose.yml up, put a portfolio through, kill and replace a service, take it down.

Writes docs/containers.md. Leaves nothing running; what was built is kept in build/containers for the next time.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeVar

from deploy.embedded.process import free_port
from shared.db.roles import SERVICES
from shared.events.topics import TOPICS
from tests.containers import engine
from tests.containers.engine import ROOT
from tests.containers.stack import COMPLETE_SECONDS, PROFILES, PROJECT, Server, Stack, same
from tests.support import markdown

HOME = "leadline-test-home"
REPORT = ROOT / "docs" / "containers.md"
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


def _inside(stack: Stack) -> str:
    """Who runs in a container, and what it may write."""
    user = stack("exec", "-T", "risk", "id", "-u").strip()
    done = stack("exec", "-T", "risk", "sh", "-c", "touch /venv/x 2>&1 || true; touch /tmp/x && echo written")
    assert user == "10001"
    assert "Read-only file system" in done
    assert done.strip().endswith("written")
    return f"user {user}; the root is read-only, /tmp is not"


def _topics(stack: Stack) -> str:
    """What the look into the topics shows, from the broker that asks who is there."""
    shown = stack.beside("kafka-ui").get("/").raise_for_status().text
    assert all(topic in shown for topic in TOPICS), shown
    return f"healthy; it shows all {len(TOPICS)} topics"


def _watched(stack: Stack) -> str:
    """Every service is scraped, by its name in the network, and our alerts are loaded and can be evaluated."""
    client = stack.beside("prometheus")
    until = time.monotonic() + COMPLETE_SECONDS
    while True:
        found = client.get("/api/v1/targets").raise_for_status().json()["data"]["activeTargets"]
        up = sorted(one["labels"]["instance"] for one in found if one["health"] == "up")
        if len(up) == len(SERVICES):
            break
        assert time.monotonic() < until, found
        time.sleep(1.0)
    query = {"query": "sum(leadline_units_completed_total)"}
    [units] = client.get("/api/v1/query", params=query).raise_for_status().json()["data"]["result"]
    groups = client.get("/api/v1/rules").raise_for_status().json()["data"]["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert rules
    assert all(rule["health"] != "err" for rule in rules), rules
    return f"healthy; scraped: {', '.join(up)}; {units['value'][1]} units; {len(rules)} alerts loaded"


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
    steps.take("the compose file is read", lambda: stack(*PROFILES, "config", "-q"), lambda _: "valid")
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
        steps.take("both are compared", lambda: same(first, second))
        steps.take("up once more changes nothing", stack.up)
        steps.take("profile kafka-ui: topics, by its own password", lambda: _topics(stack))
        steps.take("profile observability: Prometheus alone", lambda: _watched(stack))
    finally:
        steps.take("down", lambda: stack(*PROFILES, "down", "-v", "--timeout", "60"), lambda _: "nothing is left")
    assert not engine.run(["docker", "ps", "-aq", "--filter", f"label=com.docker.compose.project={PROJECT}"]).strip()
    at_home(steps)
    steps.take("tests on a broker that testcontainers starts", _tests, lambda said: said.splitlines()[-1].strip("= "))


IN_DOCKER = {"LEADLINE_TEST_BROKER": "docker", "TESTCONTAINERS_RYUK_DISABLED": "true"}


DELIVERY = ("tests/deploy/test_brokers.py", "tests/flow/test_guard.py", "tests/flow/test_relay.py")


def _tests() -> str:
    """The tests of delivery, over a broker that is killed too. `--suite` runs all."""
    return engine.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-n", "0", *DELIVERY],
        environment=IN_DOCKER,
    )


def suite() -> str:
    """The whole suite, its database and its broker started by testcontainers; its last line. Raises `AssertionError` if it fails."""
    engine.base_images("KAFKA_IMAGE", "POSTGRES_IMAGE")
    workers = os.environ.get("LEADLINE_TEST_WORKERS", "2")
    command = [sys.executable, "-m", "pytest", "-n", workers, "--dist", "loadfile", "--no-loadscope-reorder"]
    log = engine.MADE / "suite.log"
    print(f"the suite, on testcontainers: {log} …", flush=True)
    with log.open("w") as written:
        done = subprocess.run(
            command, check=False, env=os.environ | IN_DOCKER, cwd=ROOT, stdout=written, stderr=written
        )
    said = log.read_text().splitlines()
    assert done.returncode == 0, "\n".join(said[-60:])
    return said[-1].strip("= ")


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
        steps.take("home: what was computed is there", lambda: same(first, server.computed(listed["id"])))
        steps.take("home: backed up, and restored into an empty server", _backed_up)
    except AssertionError:
        print(engine.run(["docker", "logs", "--tail", "40", HOME]), file=sys.stderr)
        raise
    finally:
        engine.run(["docker", "rm", "-f", "-v", HOME])
        engine.run(["docker", "volume", "rm", "-f", HOME])


def _backed_up() -> str:
    """As docs/configuration.md does it; the restored server is told apart by its directory in the same volume."""
    engine.run(["docker", "exec", HOME, "leadline", "backup", "/data/backup", "--state", "/data"])
    said = engine.run(["docker", "exec", HOME, "leadline", "restore", "/data/backup", "--state", "/data/restored"])
    return " ".join(said.split())


def _healthy(name: str) -> str:
    until = time.monotonic() + COMPLETE_SECONDS
    while (seen := engine.run(["docker", "inspect", "-f", "{{.State.Health.Status}}", name]).strip()) != "healthy":
        assert time.monotonic() < until, seen
        time.sleep(0.5)
    return seen


def report(steps: Steps) -> str:
    compose = engine.run([*engine.compose(), "version", "--short"]).strip()
    lines = [
        "# Containers",
        "",
        "What `make containers` did, written by it: the images of `deploy/Dockerfile` and `docker-compose.yml`, run for real. Base images",
        "that cannot be pulled are replaced by stand-ins made of Debian's packages (`tests/containers/`): they show that our files are",
        "right, not that the official images are. The machine is shared, so seconds are upper bounds.",
        "",
        f"{_when()}, Compose {compose}.",
        "",
        "| step | seconds | seen |",
        "|---|---|---|",
        *(f"| {what} | {seconds:.0f} | {seen} |" for what, seconds, seen in steps.rows),
    ]
    return "\n".join(lines) + "\n\n" + _kept()


SUITE = "## The suite on testcontainers"


def _kept() -> str:
    """What the last run of the suite left in the report."""
    return "".join(REPORT.read_text().partition(SUITE)[1:]) if REPORT.exists() else ""


def report_suite(said: str) -> str:
    text = f"{SUITE}\n\n`make containers ARGS=--suite` ran all tests, on databases and brokers of testcontainers.\n\n{_when()}: {said}.\n"
    return REPORT.read_text().partition(SUITE)[0].rstrip() + "\n\n" + text


def _when() -> str:
    version = engine.run(["docker", "version", "--format", "{{.Server.Version}}"]).strip()
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False, cwd=ROOT
    )
    name = commit.stdout.strip() or "unknown"
    return f"{datetime.now(UTC):%Y-%m-%d}, commit {name}, Docker {version}, {os.cpu_count()} processors"


def main() -> int:
    parser = argparse.ArgumentParser(description="Image and compose file, run for real")
    parser.add_argument("--no-report", action="store_true", help="leave docs/containers.md as it is")
    parser.add_argument("--suite", action="store_true", help="only the suite, all of it, on testcontainers")
    asked = parser.parse_args()
    steps = Steps()
    try:
        with engine.engine():
            if asked.suite:
                text = report_suite(suite())
            else:
                work(steps)
                text = report(steps)
            if not asked.no_report:
                REPORT.write_text(markdown.wrap(text))
    except engine.Missing as reason:
        print(f"not run: {reason}", file=sys.stderr)
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
