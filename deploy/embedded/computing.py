"""`python -m deploy.embedded.computing`: the four computing services of `leadline up`, started by `deploy.embedded.computation`."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import importlib
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI
from fastapi.responses import JSONResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from deploy.embedded import prices
from deploy.embedded.choices import settings_of
from deploy.embedded.composition import Composition, InnerServer, composition
from deploy.embedded.computation import LOOK_SECONDS, instructions_file, verdict_file, write_whole
from deploy.embedded.rotating_log import RotatingLog
from shared.collection import collect_from_now_on
from shared.db.roles import PHASE_SERVICES
from shared.errors import ConfigurationError

PARENT_SECONDS = 1.0


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
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
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
        collect_from_now_on()
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
        time.sleep(LOOK_SECONDS)
    return json.loads(path.read_text())


def _check(state: Path, values: Mapping[str, Any]) -> None:
    """Look at the prices and leave word; ends the process where they cannot be read."""
    try:
        prices.check(settings_of("ingest", **values))
    except ConfigurationError as error:
        write_whole(verdict_file(state), str(error))
        sys.exit(1)
    write_whole(verdict_file(state), "")


def main(directory: str, port: str, parent: str, check: str = "") -> None:
    """Import while the database and the broker start: it takes longer than either."""
    gc.disable()  # as in the first process (`deploy.embedded.run`)
    state = Path(directory)
    for service in PHASE_SERVICES:
        importlib.import_module(f"services.{service}.app")
    if check:
        _check(state, json.loads(check))
    given = _wait_for_instructions(instructions_file(state), int(parent))
    with RotatingLog(Path(given["log"]["path"]), given["log"]["limit"]) as log, contextlib.redirect_stderr(log):
        asyncio.run(_run(given, int(port), int(parent)))


if __name__ == "__main__":
    main(*sys.argv[1:])
