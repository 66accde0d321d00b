"""Child processes that may outlive us: started apart from our terminal, found again by their pid file, stopped for sure."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from shared.errors import ConfigurationError

# The tail of a log that is worth showing when a process does not start.
LOG_TAIL = 2_000
# For services to become ready, on a machine that is busy with other things.
HEALTHY_SECONDS = 90.0


@dataclass(frozen=True)
class Child:
    """A process we started, and where its pid and log are."""

    name: str
    process: subprocess.Popen[bytes]
    pid_file: Path
    log: Path

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    def log_tail(self) -> str:
        return tail(self.log)

    def stop(self, *, how: signal.Signals = signal.SIGTERM, within: float = 30.0) -> None:
        """Ask with `how`, insist with SIGKILL after `within` seconds. Idempotent."""
        if self.running:
            self.process.send_signal(how)
            try:
                self.process.wait(within)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(10)
        self.pid_file.unlink(missing_ok=True)


def start(
    name: str,
    command: Sequence[str | Path],
    *,
    pid_file: Path,
    log: Path,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    uid: int | None = None,
    gid: int | None = None,
) -> Child:
    """Start `command` in a session of its own.

    Ctrl-C reaches every process of the terminal's group; the database must not go before those who still write to it.
    """
    with os.fdopen(os.open(log, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600), "ab") as output:
        os.fchmod(output.fileno(), 0o600)
        process = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=dict(env) if env is not None else None,
            cwd=cwd,
            user=uid,
            group=gid,
            extra_groups=[] if uid is not None else None,
            start_new_session=True,
        )
    with contextlib.suppress(psutil.Error):
        born = psutil.Process(process.pid).create_time()
        pid_file.write_text(json.dumps({"pid": process.pid, "born": born}))
    return Child(name, process, pid_file, log)


def orphan(pid_file: Path) -> psutil.Process | None:
    """The process that a killed run left behind, if it still runs. A pid that was given to somebody else is not it."""
    try:
        noted = json.loads(pid_file.read_text())
        process = psutil.Process(int(noted["pid"]))
        if abs(process.create_time() - float(noted["born"])) < 1.0 and process.status() != psutil.STATUS_ZOMBIE:
            return process
    except (OSError, ValueError, KeyError, psutil.Error):
        pass
    return None


def stop_orphan(pid_file: Path, *, how: signal.Signals = signal.SIGTERM, within: float = 30.0) -> bool:
    """Stop what a killed run left behind. True if there was something."""
    process = orphan(pid_file)
    if process is not None:
        stop_process(process, how=how, within=within)
    pid_file.unlink(missing_ok=True)
    return process is not None


def stop_process(process: psutil.Process, *, how: signal.Signals, within: float) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        process.send_signal(how)
        try:
            process.wait(within)
        except psutil.TimeoutExpired:
            process.kill()
            process.wait(10)


def free_port() -> int:
    """A port of 127.0.0.1 that is free now. Whoever starts a server on it must be ready to try another."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    assert isinstance(port, int)
    return port


def wait_for_port(child: Child, port: int, *, within: float) -> None:
    """Return when something accepts connections; raise `ConfigurationError` with the log's end if the process dies or time is up."""
    until = time.monotonic() + within
    while time.monotonic() < until:
        if not child.running:
            break
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1.0):
                return
        except OSError:
            time.sleep(0.05)
    what = "is not answering" if child.running else f"ended with code {child.process.returncode}"
    child.stop(within=5)
    raise ConfigurationError(f"{child.name} {what} on 127.0.0.1:{port}; end of {child.log}:\n{child.log_tail()}")


def tail(log: Path) -> str:
    """The end of a log file, decoded leniently."""
    try:
        with log.open("rb") as stream:
            stream.seek(max(0, os.fstat(stream.fileno()).st_size - LOG_TAIL))
            return stream.read().decode(errors="replace")
    except OSError:
        return ""
