"""Which Kafka-protocol broker the tests run on. The order is the contract's: an address given, a kind asked for, Docker,
Apache Kafka from Maven Central, and the embedded broker where nothing else can be had."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from deploy.embedded import broker as embedded
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
    from testcontainers.kafka import KafkaContainer

    container = KafkaContainer(DOCKER_IMAGE).with_kraft()
    try:
        container.start()
    except Exception as error:  # Docker fails in as many ways as it has parts
        raise ConfigurationError(f"Docker could not run {DOCKER_IMAGE}: {error}") from error
    address = container.get_bootstrap_server()
    return TestBroker(address, "docker", f"Apache Kafka in Docker ({DOCKER_IMAGE}) at {address}", container.stop)
