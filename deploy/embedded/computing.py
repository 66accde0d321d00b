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
import threading
import time
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx2
import uvicorn
from fastapi import FastAPI
from fastapi.responses import JSONResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from deploy.embedded import beside, prices
from deploy.embedded.choices import settings_of
from deploy.embedded.composition import Composition, InnerServer, composition
from deploy.embedded.computation import LOOK_SECONDS, instructions_file, verdict_file, write_whole
from deploy.embedded.merged_metrics import merge
from deploy.embedded.rotating_log import RotatingLog
from shared.collection import collect_from_now_on
from shared.db.roles import PHASE_SERVICES
from shared.errors import ConfigurationError

PARENT_SECONDS = 1.0
# By libraries, at the first application, engine or server (`tests/deploy/test_memory.py` finds more).
LOADED_BY_A_START = (
    "pydantic.v1",
    "sqlalchemy.dialects.postgresql.asyncpg",
    "uvicorn.lifespan.off",
    "uvicorn.protocols.http.auto",
    "uvicorn.protocols.websockets.auto",
)


def _application(running: Composition, forked: beside.Beside | None) -> FastAPI:
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)

    @app.get("/livez")
    async def livez() -> JSONResponse:
        problems = [problem for each in running.apps.values() for problem in each.state.service.problems()]
        if forked is not None:
            try:
                problems += (await forked.get("/livez")).json()["problems"]
            except httpx2.HTTPError as error:
                problems.append(_does_not_answer(error))
        return JSONResponse({"live": not problems, "problems": problems}, status_code=503 if problems else 200)

    @app.get("/metrics")
    async def metrics() -> Response:
        found = generate_latest()
        if forked is not None:
            try:
                found = merge(found, (await forked.get("/metrics")).text, "+".join(beside.SERVICES))
            except httpx2.HTTPError as error:
                # Half of a sum would be taken for a process that has begun anew, and what risk says of itself for nothing to say.
                return Response(_does_not_answer(error), status_code=503, media_type="text/plain")
        return Response(found, media_type=CONTENT_TYPE_LATEST)

    return app


def _does_not_answer(error: httpx2.HTTPError) -> str:
    return f"the process of {', '.join(beside.SERVICES)} does not answer: {type(error).__name__} {error}".rstrip()


async def _run(
    given: Mapping[str, Any],
    services: Sequence[str],
    listener: socket.socket,
    parent: int,
    forked: beside.Beside | None = None,
) -> None:
    """Until a signal, the end of a service or of the forked process, or the end of whoever started us."""
    asked_to_stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(name, asked_to_stop.set)
    orphaned = asyncio.create_task(_until_orphaned(parent, asked_to_stop))
    try:
        with listener:
            await _through(given, services, listener, asked_to_stop, forked)
    finally:
        orphaned.cancel()


async def _through(
    given: Mapping[str, Any],
    services: Sequence[str],
    listener: socket.socket,
    asked_to_stop: asyncio.Event,
    forked: beside.Beside | None,
) -> None:
    async with contextlib.AsyncExitStack() as stack:
        if forked is not None:
            stack.push_async_callback(forked.stop)
        running = await stack.enter_async_context(
            composition(given["urls"], None, values=given["values"], services=services)
        )
        events: list[Coroutine[Any, Any, object]] = [asked_to_stop.wait(), running.stopped.wait()]
        if forked is not None:
            # It stops while our own do, and is waited for after them.
            stack.callback(forked.ask_to_stop)
            if not await _ready(forked, asked_to_stop):
                return
            events.append(forked.until_ended())
            silence = asyncio.create_task(forked.end_when_silent())
            stack.callback(silence.cancel)
        beside.give_back_memory()
        collect_from_now_on()
        # Not before: that it listens is how whoever started us learns that everything is ready.
        listener.listen(16)
        config = uvicorn.Config(_application(running, forked), log_config=None, access_log=False, lifespan="off")
        server = InnerServer(config)
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        waits = [asyncio.create_task(event) for event in events]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
        server.should_exit = True
        await serving
        if forked is not None and forked.ended and not asked_to_stop.is_set():
            _end_within(beside.STOP_SECONDS)
            raise ConfigurationError(f"the process of {', '.join(beside.SERVICES)} ended; its log says why, if it does")


async def _ready(forked: beside.Beside, asked_to_stop: asyncio.Event) -> bool:
    """Wait until the forked process is ready; False if we are asked to stop before that."""
    waiting = [asyncio.create_task(of) for of in (forked.until_ready(), asked_to_stop.wait())]
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    for wait in waiting:
        wait.cancel()
    if asked_to_stop.is_set():
        return False
    await waiting[0]
    return True


def _end_within(seconds: float) -> None:
    """However long the stop would take: until we are started again, nobody computes risk."""
    ending = threading.Timer(seconds, os._exit, [1])
    ending.daemon = True
    ending.start()


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


def load() -> None:
    """What the services need, and what else they would load when they start: after the fork each process would do it for itself."""
    for service in PHASE_SERVICES:
        importlib.import_module(f"services.{service}.app")
    for name in LOADED_BY_A_START:
        with contextlib.suppress(ImportError):  # their own affair, and of another version they may be elsewhere
            importlib.import_module(name)


def main(directory: str, port: str, parent: str, check: str = "") -> None:
    """Import while the database and the broker start: it takes longer than either."""
    gc.disable()  # as in the first process (`deploy.embedded.run`)
    state = Path(directory)
    load()

    def compute_beside(own: socket.socket, forked_from: int) -> None:
        given = _wait_for_instructions(instructions_file(state), forked_from)
        with _log(state, given["log_limit"], "-".join(beside.SERVICES)):
            asyncio.run(_run(given, beside.SERVICES, own, forked_from))

    # Before the prices are looked at, which takes memory that the forked process has no use for and could not give back.
    forked = beside.fork(compute_beside) if beside.SERVICES else None
    if check:
        _check(state, json.loads(check))
    given = _wait_for_instructions(instructions_file(state), int(parent))
    # After the verdict: of a port that was taken meanwhile whoever started us makes another try, of an end before the verdict none.
    listener = beside.listen_later(int(port))
    here = [service for service in PHASE_SERVICES if service not in beside.SERVICES]
    with _log(state, given["log_limit"], "computation"):
        asyncio.run(_run(given, here, listener, int(parent), forked))


@contextlib.contextmanager
def _log(state: Path, limit: int, name: str) -> Iterator[None]:
    with RotatingLog(state / f"{name}.log", limit) as log, contextlib.redirect_stderr(log):
        yield


if __name__ == "__main__":
    main(*sys.argv[1:])
