"""The four computing services of `leadline up`, in a process of their own.

What computes holds the interpreter for itself now and then, and takes memory: neither keeps the API from answering here. A process
that dies of a portfolio is started again by the supervisor, and its work is taken up by the ledger's rules.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import json
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI
from fastapi.responses import JSONResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from deploy.embedded import priority
from deploy.embedded.composition import HEALTHY_SECONDS, Composition, InnerServer, composition
from deploy.embedded.process import Child, free_port, start, stop_orphan, wait_for_port
from deploy.embedded.rotating_log import RotatingLog
from shared.db.roles import PHASE_SERVICES
from shared.errors import ConfigurationError

PORT_ATTEMPTS = 5
# It is started again after each of these: one that a portfolio kills needs eight deaths until that portfolio is blocked.
PAUSES_SECONDS = (1.0,) * 30
PARENT_SECONDS = 1.0
INSTRUCTION_SECONDS = 0.02
# Secrets that it has no use for.
OF_THE_API = ("token", "api_database_url")


@dataclass(frozen=True)
class Computation:
    """The running process; what it says of itself is at `port` of 127.0.0.1: `/livez` and `/metrics`."""

    child: Child
    port: int

    def stop(self) -> None:
        self.child.stop(within=3.0)


def start_early(state: Path) -> Computation:
    """Start the process before there is anything for it to work with: it imports, and waits for what `serve` tells it.

    One that a killed run left behind is stopped first.
    """
    stop_orphan(state / "computation.pid", within=5.0)
    _instructions(state).unlink(missing_ok=True)
    return _start(state, free_port())


def serve(
    state: Path,
    urls: Mapping[str, str],
    values: Mapping[str, Any],
    log_limit: int,
    *,
    port: int | None = None,
    give_up: threading.Event | None = None,
    early: Computation | None = None,
) -> Computation:
    """Start the process and wait until its services are ready. Raises `ConfigurationError` if they do not become so.

    urls      : database address of each service
    values    : settings that all services share; they go by a file of the state directory, which only its owner reads
    log_limit : bytes of `computation.log`, and of what was before it
    early     : what `start_early` started, for the first attempt; without it, what is left of an earlier run is stopped
    """
    if early is None:
        stop_orphan(state / "computation.pid", within=5.0)
    said = {name: str(value) for name, value in values.items() if name not in OF_THE_API}
    log = {"path": str(state / "computation.log"), "limit": log_limit}
    _tell(state, {"urls": {name: urls[name] for name in PHASE_SERVICES}, "values": said, "log": log})
    for attempt in range(PORT_ATTEMPTS):
        started = early if early is not None and attempt == 0 else _start(state, port or free_port())
        try:
            wait_for_port(started.child, started.port, within=HEALTHY_SECONDS)
        except ConfigurationError:
            if port is not None or attempt == PORT_ATTEMPTS - 1 or (give_up is not None and give_up.is_set()):
                raise
            continue
        return started
    raise AssertionError("unreachable")


def _instructions(state: Path) -> Path:
    return state / "computation.json"


def _tell(state: Path, instructions: Mapping[str, Any]) -> None:
    """All at once: the process may be waiting for them already."""
    draft = _instructions(state).with_suffix(".new")
    draft.unlink(missing_ok=True)
    draft.touch(mode=0o600)
    draft.write_text(json.dumps(instructions))
    draft.rename(_instructions(state))


def _start(state: Path, port: int) -> Computation:
    child = start(
        "the process of the computing services",
        [sys.executable, "-m", "deploy.embedded.computation", _instructions(state), str(port), str(os.getpid())],
        pid_file=state / "computation.pid",
        # What it says before it has a log, or after: why it did not start.
        log=state / "computation.err",
        env=_environment(),
    )
    # Before it has a thread: those that it starts take it over.
    priority.lower(child.process.pid)
    return Computation(child, port)


def _environment() -> dict[str, str]:
    """Ours, and where this tree is: the process may be started in any directory."""
    root = str(Path(__file__).parents[2])
    paths = [root, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths))}


def _application(running: Composition) -> FastAPI:
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)

    @app.get("/livez")
    async def livez() -> JSONResponse:
        problems = [problem for each in running.apps.values() for problem in each.state.service.problems()]
        return JSONResponse({"live": not problems, "problems": problems}, status_code=503 if problems else 200)

    @app.get("/metrics")
    async def metrics() -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    return app


async def _run(given: Mapping[str, Any], port: int, parent: int) -> None:
    """Until a signal, the end of a service, or the end of whoever started us."""
    asked_to_stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(name, asked_to_stop.set)
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        starting = asyncio.create_task(_through(given, listener, asked_to_stop))
        orphaned = asyncio.create_task(_until_orphaned(parent, asked_to_stop))
        try:
            await starting
        finally:
            orphaned.cancel()


async def _through(given: Mapping[str, Any], listener: socket.socket, asked_to_stop: asyncio.Event) -> None:
    async with composition(given["urls"], None, values=given["values"], services=PHASE_SERVICES) as running:
        # Not before: that it listens is how whoever started us learns that everything is ready.
        listener.listen(16)
        server = InnerServer(uvicorn.Config(_application(running), log_config=None, access_log=False, lifespan="off"))
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        waits = [asyncio.create_task(event.wait()) for event in (asked_to_stop, running.stopped)]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
        server.should_exit = True
        await serving


async def _until_orphaned(parent: int, asked_to_stop: asyncio.Event) -> None:
    """Nobody stops what a killed run left behind."""
    while os.getppid() == parent:  # noqa: ASYNC110 (nobody tells)
        await asyncio.sleep(PARENT_SECONDS)
    asked_to_stop.set()


def _wait_for_instructions(path: Path, parent: int) -> Any:
    """Until they are there; ends the process with whoever started it."""
    while not path.exists():
        if os.getppid() != parent:
            sys.exit()
        time.sleep(INSTRUCTION_SECONDS)
    return json.loads(path.read_text())


def main(path: str, port: str, parent: str) -> None:
    # While the database and the broker start: it takes longer than either.
    for service in PHASE_SERVICES:
        importlib.import_module(f"services.{service}.app")
    given = _wait_for_instructions(Path(path), int(parent))
    with RotatingLog(Path(given["log"]["path"]), given["log"]["limit"]) as log, contextlib.redirect_stderr(log):
        asyncio.run(_run(given, int(port), int(parent)))


if __name__ == "__main__":
    main(*sys.argv[1:])
