"""Apache Kafka without Docker: the project's own jars, one KRaft node on 127.0.0.1, data kept between starts.

`python -m deploy.kafka.kafka` (that is `make kafka`) serves until Ctrl-C. Maven fetches the jars pinned in `pom.xml` once.
"""

from __future__ import annotations

import argparse
import base64
import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from deploy.embedded.process import Child, free_port, start, stop_orphan, wait_for_port
from shared.errors import ConfigurationError

log = logging.getLogger(__name__)

HERE = Path(__file__).parent
POM = HERE / "pom.xml"
# A machine may have Maven and no way out: an answer is due before a person gives up.
FETCH_SECONDS = 240
START_SECONDS = 60.0
# Half of what Kafka's own script asks for; one node with a few topics of small messages lives in a third of this.
HEAP = "384m"


@dataclass(frozen=True)
class Listener:
    """An address for clients, and how they speak there: PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL."""

    protocol: str
    port: int


@dataclass(frozen=True)
class Kafka:
    """A running node."""

    child: Child
    port: int
    controller_port: int
    state: Path

    @property
    def bootstrap(self) -> str:
        return f"127.0.0.1:{self.port}"

    def stop(self) -> None:
        """Controlled shutdown: logs are flushed, the next start replays nothing."""
        self.child.stop(within=30.0)

    def kill(self) -> None:
        """As a power cut would. For tests."""
        self.child.stop(how=signal.SIGKILL, within=5.0)


def serve(
    state: Path,
    *,
    port: int | None = None,
    heap: str = HEAP,
    listeners: Mapping[str, Listener] | None = None,
    properties: Mapping[str, str] | None = None,
    scram: Mapping[str, str] | None = None,
) -> Kafka:
    """Start a node on `state`, formatting it the first time; blocks until it answers.

    The same state keeps topics, messages and offsets. `port` pins the address, so that clients find a restarted node again.
    `listeners` are further addresses by name, `properties` stand beside ours or instead of them (certificates, an authoriser),
    `scram` are users with their passwords, written when the state is formatted. Raises `ConfigurationError` with the reason: no
    Java, no jars, or the end of Kafka's own log.
    """
    classpath = jars()
    state = state.resolve()
    state.mkdir(parents=True, exist_ok=True)
    pid_file, output = state / "kafka.pid", state / "kafka.log"
    if stop_orphan(pid_file, within=30.0):
        log.warning("stopped the Apache Kafka that an earlier run left in %s", state)
    chosen, controller = port or free_port(), free_port()
    file = _configure(state, chosen, controller, listeners or {}, properties or {})
    java = [
        "java",
        f"-Xmx{heap}",
        f"-Xms{heap}",
        "-XX:+UseSerialGC",
        "-XX:TieredStopAtLevel=1",
        "-Djava.awt.headless=true",
    ]
    java += [f"-Dlog4j2.configurationFile={HERE / 'log4j2.xml'}", "-cp", str(classpath / "*")]
    if not (state / "data" / "meta.properties").exists():
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=").lstrip("-")
        users = [
            part
            for name, password in (scram or {}).items()
            for part in ("--add-scram", f"SCRAM-SHA-512=[name={name},password={password}]")
        ]
        form = ["kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(file), "--ignore-formatted"]
        _run([*java, *form, *users])
    child = start("Apache Kafka", [*java, "kafka.Kafka", file], pid_file=pid_file, log=output, cwd=state)
    # With an authoriser one listener opens after the other.
    for there in (chosen, *(listener.port for listener in (listeners or {}).values())):
        wait_for_port(child, there, within=START_SECONDS)
    return Kafka(child, chosen, controller, state)


def jars() -> Path:
    """Directory of the jars that `pom.xml` pins; fetched the first time, and again when the pins change.

    Raises `ConfigurationError` if there is no Java or Maven, or Maven cannot fetch.
    """
    for program in ("java", "mvn"):
        if shutil.which(program) is None:
            raise ConfigurationError(f"Apache Kafka needs `{program}` on PATH")
    cache = Path(os.environ.get("LEADLINE_KAFKA_JARS", HERE / ".cache"))
    wanted = POM.read_text()
    stamp = cache / "pom.xml"
    if stamp.exists() and stamp.read_text() == wanted:
        return cache / "jars"
    print("fetching Apache Kafka's jars with Maven (once, 45 MB) ...", file=sys.stderr, flush=True)
    shutil.rmtree(cache, ignore_errors=True)
    cache.mkdir(parents=True)
    goal = ["dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={cache / 'jars'}"]
    _run(["mvn", "-q", "-B", "-f", str(POM), *goal], within=FETCH_SECONDS)
    stamp.write_text(wanted)
    return cache / "jars"


def _run(command: list[str], *, within: float = 60.0) -> None:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=within, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired as error:
        raise ConfigurationError(f"`{command[0]}` did not end within {within:.0f} s") from error
    if done.returncode != 0:
        raise ConfigurationError(f"`{' '.join(command[:4])} …` failed:\n{(done.stdout + done.stderr)[-1500:]}")


def _configure(
    state: Path, port: int, controller: int, listeners: Mapping[str, Listener], properties: Mapping[str, str]
) -> Path:
    # The node speaks to itself over the first.
    ours = {"PLAINTEXT": Listener("PLAINTEXT", port), **listeners}
    clients = ",".join(f"{name}://127.0.0.1:{there.port}" for name, there in ours.items())
    protocols = ",".join(f"{name}:{there.protocol}" for name, there in ours.items())
    lines = {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.voters": f"1@127.0.0.1:{controller}",
        "listeners": f"{clients},CONTROLLER://127.0.0.1:{controller}",
        "advertised.listeners": clients,
        "controller.listener.names": "CONTROLLER",
        "listener.security.protocol.map": f"{protocols},CONTROLLER:PLAINTEXT",
        "inter.broker.listener.name": "PLAINTEXT",
        "log.dirs": str(state / "data"),
        "num.partitions": "6",
        # Topics are declared, with their partitions; a typo must not create one.
        "auto.create.topics.enable": "false",
        # One node: its own topics cannot have more replicas, and fifty partitions for offsets cost start time.
        "offsets.topic.replication.factor": "1",
        "offsets.topic.num.partitions": "5",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "transaction.state.log.num.partitions": "5",
        "share.coordinator.state.topic.replication.factor": "1",
        "share.coordinator.state.topic.min.isr": "1",
        # A killed node's session must end before its successor may register: 9 s by default, measured as an 11.7 s restart.
        "broker.session.timeout.ms": "2000",
        "broker.heartbeat.interval.ms": "500",
        # The group of a first consumer need not wait three seconds for others to come.
        "group.initial.rebalance.delay.ms": "0",
        # Tests that kill consumers do not wait six seconds each time until their death is noticed.
        "group.min.session.timeout.ms": "1000",
        "log.segment.bytes": str(64 * 1024 * 1024),
        "log.cleaner.dedupe.buffer.size": str(8 * 1024 * 1024),
        **properties,
    }
    path = state / "server.properties"
    # A password may be among them.
    path.touch(mode=0o600)
    path.write_text("".join(f"{name}={value}\n" for name, value in lines.items()))
    return path


def main() -> None:
    """Serve until SIGINT or SIGTERM; print the address once it answers."""
    parser = argparse.ArgumentParser(description="Apache Kafka on 127.0.0.1, without Docker")
    parser.add_argument("--state", type=Path, default=Path(".leadline/kafka"), help="where its data is kept")
    parser.add_argument("--port", type=int, default=9092)
    parser.add_argument("--fetch-only", action="store_true", help="fetch the jars and end")
    asked = parser.parse_args()
    try:
        if asked.fetch_only:
            print(jars())
            return
        kafka = serve(asked.state, port=asked.port)
    except ConfigurationError as error:
        sys.exit(str(error))
    stop = threading.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, lambda *_: stop.set())
    print(f"ready {kafka.bootstrap}", flush=True)
    while not stop.wait(1.0):
        if not kafka.child.running:
            sys.exit(f"Apache Kafka ended by itself; end of {kafka.child.log}:\n{kafka.child.log_tail()}")
    kafka.stop()


if __name__ == "__main__":
    main()
