"""The four computing services of `leadline up`, in a process of their own.

What computes holds the interpreter for itself now and then, and takes memory: neither keeps the API from answering here. A process
that dies of a portfolio is started again by the supervisor, and its work is taken up by the ledger's rules.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
import threading
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
# Secrets that it has no use for.
OF_THE_API = ("token", "api_database_url")


@dataclass(frozen=True)
class Computation:
    """The running process; what it says of itself is at `port` of 127.0.0.1: `/livez` and `/metrics`."""

    child: Child
    port: int

    def stop(self) -> None:
        self.child.stop(within=3.0)


def serve(
    state: Path,
    urls: Mapping[str, str],
    values: Mapping[str, Any],
    log_limit: int,
    *,
    port: int | None = None,
    give_up: threading.Event | None = None,
) -> Computation:
    """Start the process and wait until its services are ready. Raises `ConfigurationError` if they do not become so.

    urls      : database address of each service
    values    : settings that all services share; they go by a file of the state directory, which only its owner reads
    log_limit : bytes of `computation.log`, and of what was before it
    """
    pid_file, given = state / "computation.pid", state / "computation.json"
    stop_orphan(pid_file, within=5.0)
    given.unlink(missing_ok=True)
    given.touch(mode=0o600)
    said = {name: str(value) for name, value in values.items() if name not in OF_THE_API}
    log = {"path": str(state / "computation.log"), "limit": log_limit}
    given.write_text(json.dumps({"urls": {name: urls[name] for name in PHASE_SERVICES}, "values": said, "log": log}))
    for attempt in range(PORT_ATTEMPTS):
        chosen = port or free_port()
        command = [sys.executable, "-m", "deploy.embedded.computation", str(given), str(chosen), str(os.getpid())]
        child = start(
            "the process of the computing services",
            command,
            pid_file=pid_file,
            # What it says before it has a log, or after: why it did not start.
            log=state / "computation.err",
            env=_environment(),
        )
        # Before it has a thread: those that it starts take it over.
        priority.lower(child.process.pid)
        try:
            wait_for_port(child, chosen, within=HEALTHY_SECONDS)
        except ConfigurationError:
            if port is not None or attempt == PORT_ATTEMPTS - 1 or (give_up is not None and give_up.is_set()):
                raise
            continue
        return Computation(child, chosen)
    raise AssertionError("unreachable")


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


def main(path: str, port: str, parent: str) -> None:
    given = json.loads(Path(path).read_text())
    with RotatingLog(Path(given["log"]["path"]), given["log"]["limit"]) as log, contextlib.redirect_stderr(log):
        asyncio.run(_run(given, int(port), int(parent)))


if __name__ == "__main__":
    main(*sys.argv[1:])
