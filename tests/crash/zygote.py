"""Starts the services as processes of their own, quickly: everything is imported once, and each service is a fork of that.

Reads one JSON command a line and answers with one. A service is `uvicorn --factory services.NAME.app:create_app` with an
environment and a log of its own; SIGUSR1 makes it read its crash point from the file that LEADLINE_ARM names. When the standard
input closes, all services are killed.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import json
import os
import signal
import sys
import threading
import time
import traceback
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any, Self

import uvicorn

from shared.db.roles import SERVICES
from shared.ledger import leases
from shared.market.calendar import calendar
from shared.messaging import consumer, failpoints, relay
from shared.phase import runner


def main() -> None:
    for service in SERVICES:
        importlib.import_module(f"services.{service}.app")
    calendar()
    assert threading.active_count() == 1, "a fork takes only the thread that forks"
    children: set[int] = set()
    _say({"ready": True})
    for line in sys.stdin:
        command = json.loads(line)
        if command["do"] == "start":
            children.add(pid := _fork(command))
            answer: dict[str, Any] = {"pid": pid}
        else:
            done, status = os.waitpid(command["pid"], os.WNOHANG)
            if done:
                children.discard(done)
            answer = {"status": os.waitstatus_to_exitcode(status) if done else None}
        _say(answer)
    for pid in children:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _say(answer: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


def _fork(command: dict[str, Any]) -> int:
    pid = os.fork()
    if pid:
        return pid
    try:
        os.setsid()
        die_with_parent()
        output = os.open(command["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        silence = os.open(os.devnull, os.O_RDONLY)
        os.dup2(silence, 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.environ.clear()
        os.environ.update(command["env"])
        _serve(command["service"], command["port"])
    except BaseException:  # noqa: BLE001 (a fork must never return into its parent's loop)
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def die_with_parent() -> None:
    """Whoever kills a test run kills the zygote; what it started must not live on."""
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)


def _serve(service: str, port: int) -> None:
    failpoints.arm(os.environ.get("LEADLINE_CRASH_AT", ""))
    arm = Path(os.environ["LEADLINE_ARM"])
    signal.signal(signal.SIGUSR1, lambda *_: failpoints.arm(arm.read_text().strip()))
    _skew(float(os.environ.get("LEADLINE_TEST_SKEW", "0")))
    _patience(json.loads(os.environ.get("LEADLINE_TEST_PATIENCE", "{}")))
    uvicorn.run(
        f"services.{service}.app:create_app",
        factory=True,
        host="127.0.0.1",
        port=port,
        log_level="warning",
        timeout_graceful_shutdown=10,
    )


def _skew(seconds: float) -> None:
    """Let this process believe that it is later, or earlier, than it is."""
    if not seconds:
        return
    real = time.time
    time.time = lambda: real() + seconds

    class AnyDatetime(type):
        def __instancecheck__(cls, value: object) -> bool:
            return isinstance(value, datetime)

    class Skewed(datetime, metaclass=AnyDatetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Self:
            return super().now(tz) + timedelta(seconds=seconds)

    for name, module in list(sys.modules.items()):
        if name.startswith(("services.", "shared.")) and getattr(module, "datetime", None) is datetime:
            module.datetime = Skewed  # type: ignore[attr-defined]


def _patience(seconds: dict[str, float]) -> None:
    """Production waits half a minute for a dead holder and ten seconds for a dead consumer; a test may say less."""
    if "lease" in seconds:
        leases.LEASE = timedelta(seconds=seconds["lease"])
        runner.RENEW_SECONDS = seconds["lease"] / 3
        universe: Any = importlib.import_module("services.ingest.store.universe")
        symbol_lease: Any = importlib.import_module("services.ingest.workflow.symbol_lease")
        universe.CLAIM = timedelta(seconds=seconds["lease"])
        symbol_lease.RENEW_SECONDS = seconds["lease"] / 3
    if "session" in seconds:
        consumer.SESSION_TIMEOUT_MS = round(seconds["session"] * 1000)
    if "cleanup" in seconds:
        relay.CLEANUP_SECONDS = seconds["cleanup"]


if __name__ == "__main__":
    main()
