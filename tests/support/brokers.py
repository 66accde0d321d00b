"""Which Kafka-protocol broker the tests run on. The order is the contract's: an address given, a kind asked for, Docker,
Apache Kafka from Maven Central, and the embedded broker where nothing else can be had."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from deploy.embedded import broker as embedded
from deploy.embedded.process import free_port
from deploy.kafka import kafka as apache
from shared.errors import ConfigurationError
from tests.support import scratch

KINDS = ("docker", "kafka", "embedded")
DOCKER_IMAGE = "apache/kafka:4.3.1"


@dataclass(frozen=True)
class TestBroker:
    """A running broker and what it can do."""

    __test__ = False

    bootstrap: str
    kind: str  # given | docker | kafka | embedded
    described: str
    stop: Callable[[], None]
    # Stop it hard and start it on the same address with what it had written; None where that is not possible.
    restart: Callable[[], None] | None = None
    # What a client of this name is told beside the address: how it signs in.
    variables: Callable[[str], Mapping[str, str]] = lambda _: {}

    @property
    def idempotence(self) -> bool:
        """Whether idempotent producers start (the embedded broker refuses them)."""
        return self.kind != "embedded"


@dataclass
class Choice:
    """What was decided, and every reason met on the way: printed, so that nobody wonders what was tested."""

    given: str = ""
    kinds: tuple[str, ...] = ()
    notes: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        first = f"given, {self.given}" if self.given else " then ".join(self.kinds)
        return "; ".join([first, *self.notes])


chosen = pytest.StashKey[Choice]()


def choose() -> Choice:
    """Decide without starting or fetching anything. A later kind is tried only if an earlier one turns out not to work."""
    given = os.environ.get("LEADLINE_TEST_KAFKA", "")
    if given:
        return Choice(given=given)
    asked = os.environ.get("LEADLINE_TEST_BROKER", "")
    if asked:
        if asked not in KINDS:
            raise ConfigurationError(f"LEADLINE_TEST_BROKER is {asked!r}; it may be one of {', '.join(KINDS)}")
        # What was asked for by name is not quietly replaced by something else.
        return Choice(kinds=(asked,))
    choice = Choice()
    if docker_works():
        return Choice(kinds=("docker",))
    choice.notes.append("no Docker daemon")
    missing = [program for program in ("java", "mvn") if shutil.which(program) is None]
    if missing:
        choice.notes.append(f"no {' and no '.join(missing)} for Apache Kafka")
        choice.kinds = ("embedded",)
    else:
        choice.kinds = ("kafka", "embedded")
    return choice


def docker_works() -> bool:
    if shutil.which("docker") is None:
        return False
    try:
        done = subprocess.run(["docker", "info"], capture_output=True, check=False, timeout=15)
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def start(choice: Choice, state: Path) -> TestBroker:
    """Start the first kind of the choice that works. Why an earlier one did not is added to the choice's notes."""
    if choice.given:
        return TestBroker(choice.given, "given", f"given, at {choice.given}", lambda: None)
    starters = {"docker": _docker, "kafka": _apache, "embedded": _embedded}
    for kind in choice.kinds:
        try:
            return starters[kind](state)
        except ConfigurationError as error:
            if kind == choice.kinds[-1]:
                raise
            choice.notes.append(f"{kind}: {str(error).splitlines()[0]}")
    raise AssertionError("a choice has at least one kind")


def _apache(state: Path) -> TestBroker:
    # The first to come fetches the jars; the others of the suite's processes wait for them.
    with scratch.one_at_a_time("kafka-jars"):
        apache.jars()
    running = [apache.serve(state / "kafka")]

    def restart() -> None:
        port = running[-1].port
        running[-1].kill()
        running.append(apache.serve(state / "kafka", port=port))

    def stop() -> None:
        running[-1].stop()

    version = next(iter((apache.jars()).glob("kafka-clients-*.jar"))).stem.rpartition("-")[2]
    described = f"Apache Kafka {version} (KRaft, local Java) at {running[0].bootstrap}"
    return TestBroker(running[0].bootstrap, "kafka", described, stop, restart)


def _embedded(state: Path) -> TestBroker:
    running = embedded.serve(state / "broker")
    return TestBroker(
        running.bootstrap, "embedded", f"the embedded broker (Tansu, in memory) at {running.bootstrap}", running.stop
    )


def _docker(state: Path) -> TestBroker:
    # The module for Kafka knows one vendor's images only; this one is started as docker-compose.yml starts it.
    from testcontainers.core.container import DockerContainer

    port, host = free_port(), _docker_host()
    container = None
    try:
        container = DockerContainer(DOCKER_IMAGE).with_bind_ports(9092, port)
        for name, value in _docker_variables(f"{host}:{port}").items():
            container.with_env(f"KAFKA_{name}", value)
        container.start()
        _wait_until_it_answers(host, port)
    except Exception as error:  # Docker fails in as many ways as it has parts
        if container is not None:
            container.stop()
        raise ConfigurationError(f"Docker could not run {DOCKER_IMAGE}: {error}") from error
    address, running = f"{host}:{port}", container

    def restart() -> None:
        # The container stays, and with it its port and what the broker had written.
        running.get_wrapped_container().kill()
        running.get_wrapped_container().start()
        _wait_until_it_answers(host, port)

    described = f"Apache Kafka in Docker ({DOCKER_IMAGE}) at {address}"
    return TestBroker(address, "docker", described, running.stop, restart)


def _docker_host() -> str:
    """Where ports of containers are. The broker has to be told before it is started, so the container cannot be asked."""
    given = urlsplit(os.environ.get("DOCKER_HOST", ""))
    remote = given.hostname if given.scheme in ("tcp", "ssh", "http", "https") else None
    return os.environ.get("TESTCONTAINERS_HOST_OVERRIDE") or remote or "127.0.0.1"


def _docker_variables(address: str) -> dict[str, str]:
    return {
        "NODE_ID": "1",
        "PROCESS_ROLES": "broker,controller",
        "CONTROLLER_QUORUM_VOTERS": "1@localhost:9093",
        "LISTENERS": "PLAINTEXT://:9092,CONTROLLER://:9093",
        "ADVERTISED_LISTENERS": f"PLAINTEXT://{address}",
        "CONTROLLER_LISTENER_NAMES": "CONTROLLER",
        "LISTENER_SECURITY_PROTOCOL_MAP": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "LOG_DIRS": "/var/lib/kafka/data",
        "AUTO_CREATE_TOPICS_ENABLE": "false",
        "NUM_PARTITIONS": "6",
        "OFFSETS_TOPIC_REPLICATION_FACTOR": "1",
        "OFFSETS_TOPIC_NUM_PARTITIONS": "5",
        "TRANSACTION_STATE_LOG_REPLICATION_FACTOR": "1",
        "TRANSACTION_STATE_LOG_MIN_ISR": "1",
        "TRANSACTION_STATE_LOG_NUM_PARTITIONS": "5",
        "SHARE_COORDINATOR_STATE_TOPIC_REPLICATION_FACTOR": "1",
        "SHARE_COORDINATOR_STATE_TOPIC_MIN_ISR": "1",
        "GROUP_INITIAL_REBALANCE_DELAY_MS": "0",
        "GROUP_MIN_SESSION_TIMEOUT_MS": "1000",
    }


def _wait_until_it_answers(host: str, port: int, within: float = 240.0) -> None:
    """Until it says which versions of its protocol it speaks: the port itself is Docker's, and open at once. Raises `TimeoutError`."""
    asked = struct.pack(">hhih", 18, 0, 7, -1)
    until = time.monotonic() + within
    while time.monotonic() < until:
        with contextlib.suppress(OSError), socket.create_connection((host, port), timeout=5) as connection:
            connection.sendall(struct.pack(">i", len(asked)) + asked)
            if len(connection.recv(10)) == 10:
                return
        time.sleep(0.3)
    raise TimeoutError(f"it does not answer at {host}:{port} after {within:.0f} s")
